//! The records of the first release: series definitions, samples, whole chunks.
//!
//! A record begins with its kind. Numbers are LEB128 varints, signed ones in zigzag; ids and times
//! are written as distances to the one before. No record leans on another one's samples, so a lost
//! record costs only what it held.

const SERIES: u8 = 1;
const SAMPLES: u8 = 2;
const CHUNKS: u8 = 3;

/// In a sample's first byte: its id is the former id plus one, and no distance follows.
const NEXT_ID: u8 = 0x80;
/// In a sample's first byte: its time is the record's, and no distance follows.
const SAME_TIME: u8 = 0x40;
/// The rest of a sample's first byte: how the value is written. Up to 8 it is the number of its
/// leading bytes that follow, the others being zero.
const FORM: u8 = 0x3f;
const FORM_INTEGER: u8 = 9;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LoggedSample {
    pub(crate) log_id: u64,
    pub(crate) timestamp_ms: i64,
    pub(crate) value: f64,
}

/// A series with its labels, sorted by name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LoggedSeries<'a> {
    pub(crate) log_id: u64,
    pub(crate) labels: Vec<(&'a str, &'a str)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LoggedChunk<'a> {
    pub(crate) log_id: u64,
    pub(crate) bytes: &'a [u8],
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Record<'a> {
    Series(Vec<LoggedSeries<'a>>),
    Samples(Vec<LoggedSample>),
    Chunks(Vec<LoggedChunk<'a>>),
}

/// Why a record whose checksum is right cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("unknown record kind {0}")]
    Kind(u8),
    #[error("the record ends too early")]
    TooShort,
    #[error("the record goes on behind its end")]
    TooLong,
    #[error("a label is not UTF-8")]
    NotUtf8,
    #[error("a number is out of range")]
    Number,
    #[error("the labels of a series are unsorted, repeated or empty")]
    Labels,
    #[error("unknown form of value {0}")]
    Form(u8),
}

pub(crate) fn read(record: &[u8]) -> Result<Record<'_>, RecordError> {
    let mut input = Input(record);
    let read = match input.byte()? {
        SERIES => Record::Series(read_series(&mut input)?),
        SAMPLES => Record::Samples(read_samples(&mut input)?),
        CHUNKS => Record::Chunks(read_chunks(&mut input)?),
        kind => return Err(RecordError::Kind(kind)),
    };
    if !input.0.is_empty() {
        return Err(RecordError::TooLong);
    }
    Ok(read)
}

fn read_series<'a>(input: &mut Input<'a>) -> Result<Vec<LoggedSeries<'a>>, RecordError> {
    let count = input.count()?;
    let mut symbols = Vec::with_capacity(count);
    for _ in 0..count {
        let length = input.count()?;
        let text = std::str::from_utf8(input.bytes(length)?);
        symbols.push(text.map_err(|_| RecordError::NotUtf8)?);
    }
    let symbol = |index: u64| {
        let index = usize::try_from(index).ok();
        let found = index.and_then(|index| symbols.get(index)).copied();
        found.ok_or(RecordError::Number)
    };
    let count = input.count()?;
    let mut series = Vec::with_capacity(count);
    let mut log_id = 0u64;
    for _ in 0..count {
        log_id = log_id.wrapping_add(input.signed()? as u64);
        let label_count = input.count()?;
        let mut labels = Vec::with_capacity(label_count);
        for _ in 0..label_count {
            labels.push((symbol(input.unsigned()?)?, symbol(input.unsigned()?)?));
        }
        check_labels(&labels)?;
        series.push(LoggedSeries { log_id, labels });
    }
    Ok(series)
}

fn check_labels(labels: &[(&str, &str)]) -> Result<(), RecordError> {
    let rising = labels.is_sorted_by(|a, b| a.0 < b.0);
    let full = labels.iter().all(|(_, value)| !value.is_empty());
    if labels.is_empty() || !rising || !full {
        return Err(RecordError::Labels);
    }
    Ok(())
}

fn read_samples(input: &mut Input<'_>) -> Result<Vec<LoggedSample>, RecordError> {
    let base_ms = input.signed()?;
    let count = input.count()?;
    let mut samples = Vec::with_capacity(count);
    let mut log_id = 0u64;
    for _ in 0..count {
        let first = input.byte()?;
        let id_step = match first & NEXT_ID {
            0 => input.signed()?,
            _ => 1,
        };
        log_id = log_id.wrapping_add(id_step as u64);
        let time_step_ms = match first & SAME_TIME {
            0 => input.signed()?,
            _ => 0,
        };
        samples.push(LoggedSample {
            log_id,
            timestamp_ms: base_ms.wrapping_add(time_step_ms),
            value: read_value(input, first & FORM)?,
        });
    }
    Ok(samples)
}

fn read_value(input: &mut Input<'_>, form: u8) -> Result<f64, RecordError> {
    match form {
        0..=8 => {
            let mut bits = [0; 8];
            let leading = input.bytes(usize::from(form))?;
            for (to, from) in bits.iter_mut().zip(leading) {
                *to = *from;
            }
            Ok(f64::from_bits(u64::from_be_bytes(bits)))
        }
        FORM_INTEGER => Ok(input.signed()? as f64),
        form => Err(RecordError::Form(form)),
    }
}

fn read_chunks<'a>(input: &mut Input<'a>) -> Result<Vec<LoggedChunk<'a>>, RecordError> {
    let count = input.count()?;
    let mut chunks = Vec::with_capacity(count);
    let mut log_id = 0u64;
    for _ in 0..count {
        log_id = log_id.wrapping_add(input.signed()? as u64);
        let length = input.count()?;
        let bytes = input.bytes(length)?;
        chunks.push(LoggedChunk { log_id, bytes });
    }
    Ok(chunks)
}

/// What is left to read of a record.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> Result<u8, RecordError> {
        let (byte, rest) = self.0.split_first().ok_or(RecordError::TooShort)?;
        self.0 = rest;
        Ok(*byte)
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8], RecordError> {
        let (bytes, rest) = self
            .0
            .split_at_checked(count)
            .ok_or(RecordError::TooShort)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn unsigned(&mut self) -> Result<u64, RecordError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(RecordError::Number)
    }

    fn signed(&mut self) -> Result<i64, RecordError> {
        let value = self.unsigned()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A number of things that follow, each at least a byte long.
    fn count(&mut self) -> Result<usize, RecordError> {
        let count = usize::try_from(self.unsigned()?).map_err(|_| RecordError::Number)?;
        if count > self.0.len() {
            return Err(RecordError::TooShort);
        }
        Ok(count)
    }
}

/// As the first release wrote them.
#[cfg(test)]
pub(crate) mod write {
    use std::collections::HashMap;

    use narthex_model::Labels;

    use super::*;

    pub(crate) fn write_series<'a>(
        out: &mut Vec<u8>,
        series: impl IntoIterator<Item = (u64, &'a Labels)>,
    ) {
        let mut symbols: HashMap<&str, u64> = HashMap::new();
        let mut texts: Vec<&str> = Vec::new();
        let mut body = Vec::new();
        let (mut count, mut before) = (0, 0);
        for (log_id, labels) in series {
            write_signed(&mut body, log_id.wrapping_sub(before) as i64);
            before = log_id;
            count += 1;
            write_unsigned(&mut body, labels.len() as u64);
            for text in labels.iter().flat_map(|label| [&label.name, &label.value]) {
                let index = *symbols.entry(text).or_insert_with(|| {
                    texts.push(text);
                    texts.len() as u64 - 1
                });
                write_unsigned(&mut body, index);
            }
        }
        out.push(SERIES);
        write_unsigned(out, texts.len() as u64);
        for text in texts {
            write_unsigned(out, text.len() as u64);
            out.extend_from_slice(text.as_bytes());
        }
        write_unsigned(out, count);
        out.append(&mut body);
    }

    pub(crate) fn write_samples(
        out: &mut Vec<u8>,
        samples: impl ExactSizeIterator<Item = LoggedSample>,
    ) {
        let mut samples = samples.peekable();
        let base_ms = samples.peek().map_or(0, |sample| sample.timestamp_ms);
        out.push(SAMPLES);
        write_signed(out, base_ms);
        write_unsigned(out, samples.len() as u64);
        let mut before = 0;
        for sample in samples {
            write_sample(out, before, base_ms, sample);
            before = sample.log_id;
        }
    }

    pub(crate) fn write_chunks(out: &mut Vec<u8>, chunks: &[(u64, &[u8])]) {
        out.push(CHUNKS);
        write_unsigned(out, chunks.len() as u64);
        let mut before = 0;
        for (log_id, bytes) in chunks {
            write_signed(out, log_id.wrapping_sub(before) as i64);
            before = *log_id;
            write_unsigned(out, bytes.len() as u64);
            out.extend_from_slice(bytes);
        }
    }

    fn write_sample(out: &mut Vec<u8>, before: u64, base_ms: i64, sample: LoggedSample) {
        let at = out.len();
        out.push(0);
        let mut first = 0;
        let id_step = sample.log_id.wrapping_sub(before);
        if id_step == 1 {
            first |= NEXT_ID;
        } else {
            write_signed(out, id_step as i64);
        }
        let time_step_ms = sample.timestamp_ms.wrapping_sub(base_ms);
        if time_step_ms == 0 {
            first |= SAME_TIME;
        } else {
            write_signed(out, time_step_ms);
        }
        first |= write_value(out, sample.value);
        if let Some(to) = out.get_mut(at) {
            *to = first;
        }
    }

    /// Gives the form in which the value was written: the shorter one.
    fn write_value(out: &mut Vec<u8>, value: f64) -> u8 {
        let bits = value.to_bits();
        let leading_bytes = 8 - bits.trailing_zeros() as usize / 8;
        if let Some(integer) = as_integer(value)
            && unsigned_length(zigzag(integer)) < leading_bytes
        {
            write_signed(out, integer);
            return FORM_INTEGER;
        }
        out.extend_from_slice(bits.to_be_bytes().get(..leading_bytes).unwrap_or_default());
        leading_bytes as u8
    }

    /// The integer that this value is to the bit, if it is one.
    fn as_integer(value: f64) -> Option<i64> {
        let integer = value as i64;
        (integer as f64)
            .to_bits()
            .eq(&value.to_bits())
            .then_some(integer)
    }

    fn write_unsigned(out: &mut Vec<u8>, mut value: u64) {
        while value >= 0x80 {
            out.push(value as u8 | 0x80);
            value >>= 7;
        }
        out.push(value as u8);
    }

    fn write_signed(out: &mut Vec<u8>, value: i64) {
        write_unsigned(out, zigzag(value));
    }

    fn zigzag(value: i64) -> u64 {
        ((value << 1) ^ (value >> 63)) as u64
    }

    fn unsigned_length(value: u64) -> usize {
        (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
    }
}

#[cfg(test)]
mod tests {
    use narthex_model::{Labels, STALE_NAN};
    use proptest::prelude::*;

    use super::write::*;
    use super::*;

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<u64>().prop_map(f64::from_bits),
            any::<i64>().prop_map(|v| v as f64),
            (-300i32..300).prop_map(f64::from),
            Just(STALE_NAN),
            Just(-0.0),
            Just(f64::INFINITY),
            Just(9_007_199_254_740_993.0),
        ]
    }

    fn bits(samples: &[LoggedSample]) -> Vec<(u64, i64, u64)> {
        let parts = |s: &LoggedSample| (s.log_id, s.timestamp_ms, s.value.to_bits());
        samples.iter().map(parts).collect()
    }

    proptest! {
        #[test]
        fn samples_round(parts in prop::collection::vec((any::<u64>(), any::<i64>(), value()), 0..50)) {
            let sample = |(log_id, timestamp_ms, value)| LoggedSample { log_id, timestamp_ms, value };
            let samples: Vec<LoggedSample> = parts.into_iter().map(sample).collect();
            let mut out = Vec::new();
            write_samples(&mut out, samples.iter().copied());
            let Ok(Record::Samples(read)) = read(&out) else {
                panic!("no samples: {out:?}");
            };
            prop_assert_eq!(bits(&read), bits(&samples));
        }

        #[test]
        fn series_and_chunks_round(
            sets in prop::collection::vec(
                (any::<u64>(), prop::collection::vec(("[a-c]{1,2}", "[^a]{1,3}"), 1..4)), 0..20),
            chunks in prop::collection::vec((any::<u64>(), prop::collection::vec(any::<u8>(), 0..30)), 0..20),
        ) {
            let sets: Vec<(u64, Labels)> =
                sets.into_iter().map(|(id, pairs)| (id, Labels::from_pairs(pairs))).collect();
            let mut out = Vec::new();
            write_series(&mut out, sets.iter().map(|(id, labels)| (*id, labels)));
            let expected: Vec<LoggedSeries<'_>> = sets
                .iter()
                .map(|(log_id, labels)| LoggedSeries {
                    log_id: *log_id,
                    labels: labels.iter().map(|l| (&*l.name, &*l.value)).collect(),
                })
                .collect();
            prop_assert_eq!(read(&out), Ok(Record::Series(expected)));

            let chunks: Vec<(u64, &[u8])> = chunks.iter().map(|(id, b)| (*id, b.as_slice())).collect();
            let mut out = Vec::new();
            write_chunks(&mut out, &chunks);
            let expected = chunks.iter().map(|(log_id, bytes)| LoggedChunk { log_id: *log_id, bytes });
            prop_assert_eq!(read(&out), Ok(Record::Chunks(expected.collect())));
        }

        #[test]
        fn any_bytes_are_read_or_refused(kind in 0u8..5, bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = read(&bytes);
            let _ = read(&[&[kind], bytes.as_slice()].concat());
        }
    }

    #[test]
    fn refuses() {
        for (record, expected) in [
            (&[][..], RecordError::TooShort),
            (&[9], RecordError::Kind(9)),
            (&[SAMPLES, 0, 0, 0], RecordError::TooLong),
            (&[SAMPLES, 0, 1, 0xc0 | 10], RecordError::Form(10)),
            (
                &[SAMPLES, 0, 0xff, 0xff, 0xff, 0xff, 0x7f],
                RecordError::TooShort,
            ),
            (&[SERIES, 1, 1, 0xff, 0], RecordError::NotUtf8),
            (&[SERIES, 1, 1, b'a', 1, 2, 1, 0, 1], RecordError::Number),
            (&[SERIES, 1, 1, b'a', 1, 2, 0], RecordError::Labels),
            (
                &[SERIES, 1, 1, b'a', 1, 2, 2, 0, 0, 0, 0],
                RecordError::Labels,
            ),
            (&[SERIES, 2, 1, b'a', 0, 1, 2, 1, 0, 1], RecordError::Labels),
        ] {
            assert_eq!(read(record), Err(expected), "{record:?}");
        }
    }
}
