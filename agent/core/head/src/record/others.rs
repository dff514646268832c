//! The sections of which there is little: histograms, late floats, exemplars, metadata, deletions,
//! starts.

use std::sync::Arc;

use narthex_chunk::{Encoding, HistogramEncoder, counter_reset, decode_histograms};
use narthex_model::histogram::CounterReset;
use narthex_model::{Exemplar, Histogram, Labels, Metadata, MetricType};

use crate::DamagedRecord;
use crate::bytes::{Reader, put_bytes, put_signed, put_varint};

/// Marks a histogram that came late.
const LATE: u8 = 0x80;

const KINDS: [MetricType; 8] = [
    MetricType::Unknown,
    MetricType::Counter,
    MetricType::Gauge,
    MetricType::Histogram,
    MetricType::GaugeHistogram,
    MetricType::Summary,
    MetricType::Info,
    MetricType::StateSet,
];

/// A histogram of the log.
pub(crate) struct HistogramEntry {
    pub(crate) id: u32,
    pub(crate) birth: u8,
    pub(crate) late: bool,
    pub(crate) timestamp_ms: i64,
    pub(crate) histogram: Arc<Histogram>,
}

/// A histogram as a chunk of one sample; `None` if it contradicts itself.
pub(crate) fn encode_histogram(
    timestamp_ms: i64,
    histogram: &Histogram,
) -> Option<(Encoding, Vec<u8>)> {
    let unknown = CounterReset::Unknown;
    let encoder = HistogramEncoder::begin(timestamp_ms, histogram, unknown).ok()?;
    Some(encoder.finish())
}

pub(crate) fn put_histogram(
    body: &mut Vec<u8>,
    previous: &mut u32,
    (id, birth): (u32, u8),
    late: bool,
    (encoding, bytes): (Encoding, &[u8]),
) {
    put_id(body, previous, id);
    let late = if late { LATE } else { 0 };
    body.extend_from_slice(&[birth, encoding.code() | late]);
    put_bytes(body, bytes);
}

/// Calls `read` with the histograms of ids that are `wanted`.
pub(crate) fn each_histogram(
    mut body: Reader<'_>,
    wanted: impl Fn(u32) -> bool,
    mut read: impl FnMut(HistogramEntry) -> Result<(), DamagedRecord>,
) -> Result<(), DamagedRecord> {
    let mut previous = 0;
    while !body.is_empty() {
        let id = read_id(&mut body, &mut previous)?;
        let [birth, encoding] = body.array()?;
        let chunk = body.part()?;
        if !wanted(id) {
            continue;
        }
        let histogram = decode_histogram(encoding & !LATE, chunk.rest());
        let (timestamp_ms, histogram) =
            histogram.ok_or_else(|| chunk.damaged("a histogram can't be decoded"))?;
        read(HistogramEntry {
            id,
            birth,
            late: encoding & LATE != 0,
            timestamp_ms,
            histogram,
        })?;
    }
    Ok(())
}

pub(crate) fn decode_histogram(encoding: u8, chunk: &[u8]) -> Option<(i64, Arc<Histogram>)> {
    let encoding = Encoding::from_code(encoding).ok()?;
    let (mut times, mut values) = (Vec::new(), Vec::new());
    decode_histograms(encoding, chunk, &mut times, &mut values).ok()?;
    let (&[timestamp_ms], Some(mut histogram)) = (&*times, values.pop()) else {
        return None;
    };
    // What the target said of a reset is not in decoded histograms, but it belongs to this sample.
    if counter_reset(encoding, chunk).ok()? == CounterReset::Reset {
        Arc::make_mut(&mut histogram).counter_reset = CounterReset::Reset;
    }
    Some((timestamp_ms, histogram))
}

/// A float that came late.
pub(crate) struct LateEntry {
    pub(crate) id: u32,
    pub(crate) birth: u8,
    pub(crate) timestamp_ms: i64,
    pub(crate) bits: u64,
}

pub(crate) fn put_late(body: &mut Vec<u8>, previous: &mut u32, entry: &LateEntry) {
    put_id(body, previous, entry.id);
    body.push(entry.birth);
    put_signed(body, entry.timestamp_ms);
    body.extend_from_slice(&entry.bits.to_le_bytes());
}

pub(crate) fn each_late(
    mut body: Reader<'_>,
    mut read: impl FnMut(LateEntry) -> Result<(), DamagedRecord>,
) -> Result<(), DamagedRecord> {
    let mut previous = 0;
    while !body.is_empty() {
        read(LateEntry {
            id: read_id(&mut body, &mut previous)?,
            birth: body.byte()?,
            timestamp_ms: body.signed()?,
            bits: u64::from_le_bytes(body.array()?),
        })?;
    }
    Ok(())
}

pub(crate) fn put_exemplar(body: &mut Vec<u8>, id: u32, exemplar: &Exemplar) {
    put_varint(body, u64::from(id));
    put_exemplar_body(body, exemplar);
}

/// Time, value and labels.
pub(crate) fn put_exemplar_body(body: &mut Vec<u8>, exemplar: &Exemplar) {
    put_signed(body, exemplar.timestamp_ms);
    body.extend_from_slice(&exemplar.value.to_bits().to_le_bytes());
    put_labels(body, &exemplar.labels);
}

pub(crate) fn read_exemplar_body(body: &mut Reader<'_>) -> Result<Exemplar, DamagedRecord> {
    Ok(Exemplar {
        timestamp_ms: body.signed()?,
        value: f64::from_bits(u64::from_le_bytes(body.array()?)),
        labels: read_labels(body)?,
    })
}

pub(crate) fn each_exemplar(
    mut body: Reader<'_>,
    mut read: impl FnMut(u32, &Exemplar),
) -> Result<(), DamagedRecord> {
    while !body.is_empty() {
        let id = body.u32()?;
        read(id, &read_exemplar_body(&mut body)?);
    }
    Ok(())
}

pub(crate) fn put_labels(body: &mut Vec<u8>, labels: &Labels) {
    put_varint(body, labels.len() as u64);
    for label in labels.iter() {
        put_bytes(body, label.name.as_bytes());
        put_bytes(body, label.value.as_bytes());
    }
}

pub(crate) fn read_labels(body: &mut Reader<'_>) -> Result<Labels, DamagedRecord> {
    let count = body.count(2)?;
    let mut pairs = Vec::with_capacity(count);
    for _ in 0..count {
        pairs.push((body.text()?, body.text()?));
    }
    Ok(Labels::from_pairs(pairs))
}

pub(crate) fn put_metadata(body: &mut Vec<u8>, family: &str, metadata: &Metadata) {
    put_bytes(body, family.as_bytes());
    let kind = KINDS.iter().position(|kind| *kind == metadata.kind);
    body.push(kind.unwrap_or(0) as u8);
    put_bytes(body, metadata.help.as_bytes());
    put_bytes(body, metadata.unit.as_bytes());
}

pub(crate) fn each_metadata(
    mut body: Reader<'_>,
    mut read: impl FnMut(&str, Metadata),
) -> Result<(), DamagedRecord> {
    while !body.is_empty() {
        let family = body.text()?;
        // A type that a later version knows.
        let kind = KINDS.get(usize::from(body.byte()?)).copied();
        let metadata = Metadata {
            kind: kind.unwrap_or_default(),
            help: body.text()?.to_owned(),
            unit: body.text()?.to_owned(),
        };
        read(family, metadata);
    }
    Ok(())
}

pub(crate) struct Deletion {
    pub(crate) id: u32,
    pub(crate) birth: u8,
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
}

pub(crate) fn put_deletion(body: &mut Vec<u8>, deletion: &Deletion) {
    put_varint(body, u64::from(deletion.id));
    body.push(deletion.birth);
    put_signed(body, deletion.start_ms);
    put_signed(body, deletion.end_ms);
}

pub(crate) fn each_deletion(
    mut body: Reader<'_>,
    mut read: impl FnMut(Deletion) -> Result<(), DamagedRecord>,
) -> Result<(), DamagedRecord> {
    while !body.is_empty() {
        read(Deletion {
            id: body.u32()?,
            birth: body.byte()?,
            start_ms: body.signed()?,
            end_ms: body.signed()?,
        })?;
    }
    Ok(())
}

/// From which sample on the counter of a series has started when.
pub(crate) struct StartEntry {
    pub(crate) id: u32,
    pub(crate) birth: u8,
    /// It is of this sample alone.
    pub(crate) late: bool,
    pub(crate) timestamp_ms: i64,
    /// 0 if it is not known.
    pub(crate) start_ms: i64,
}

pub(crate) fn put_start(body: &mut Vec<u8>, previous: &mut u32, entry: &StartEntry) {
    let distance = u64::from(entry.id.wrapping_sub(*previous));
    *previous = entry.id;
    put_varint(body, distance << 1 | u64::from(entry.late));
    body.push(entry.birth);
    put_signed(body, entry.timestamp_ms);
    put_signed(body, entry.timestamp_ms.wrapping_sub(entry.start_ms));
}

pub(crate) fn each_start(
    mut body: Reader<'_>,
    mut read: impl FnMut(StartEntry) -> Result<(), DamagedRecord>,
) -> Result<(), DamagedRecord> {
    let mut previous = 0u32;
    while !body.is_empty() {
        let first = body.varint()?;
        let distance = u32::try_from(first >> 1).ok();
        let id = distance.and_then(|distance| previous.checked_add(distance));
        previous = id.ok_or_else(|| body.damaged("an id is too large"))?;
        let birth = body.byte()?;
        let timestamp_ms = body.signed()?;
        let start_ms = timestamp_ms.wrapping_sub(body.signed()?);
        read(StartEntry {
            id: previous,
            birth,
            late: first & 1 != 0,
            timestamp_ms,
            start_ms,
        })?;
    }
    Ok(())
}

fn put_id(body: &mut Vec<u8>, previous: &mut u32, id: u32) {
    put_varint(body, u64::from(id.wrapping_sub(*previous)));
    *previous = id;
}

fn read_id(body: &mut Reader<'_>, previous: &mut u32) -> Result<u32, DamagedRecord> {
    let id = previous.checked_add(body.u32()?);
    *previous = id.ok_or_else(|| body.damaged("an id is too large"))?;
    Ok(*previous)
}
