//! Floats of many series, a run for series that follow each other.
//!
//! Body: epoch, base time (signed), runs. A run, which stays within a page:
//!
//! - its first id, less that of the run before;
//! - its length less one, times four, plus 1 if the times stand there, plus 2 if births do;
//! - the bytes that follow (two bytes), so that others can pass over it:
//! - how many runs of its page wrote keys in this epoch before;
//! - if births: 16 bits made of them; they are all zero else;
//! - if times: those of its samples, less the base time (signed); all are the base time else;
//! - one bit a sample: whether the value is the series' key;
//! - the values that are not: see `value`.
//!
//! A reader that counts other runs with keys has missed one, and knows that it has no keys.

use crate::DamagedRecord;
use crate::bytes::{Reader, put_signed, put_varint};
use crate::page::PAGE;
use crate::value;

const HAS_TIMES: u64 = 1;
const HAS_BIRTHS: u64 = 2;

/// Writes runs. Samples are given page by page, ids not descending.
pub(crate) struct FloatWriter {
    /// The runs that are complete.
    out: Vec<u8>,
    base_ms: Option<i64>,
    previous: u32,
    key_runs: u32,
    run: Run,
}

struct Run {
    first: u32,
    count: usize,
    times: [i64; PAGE],
    any_off_base: bool,
    births: Births,
    is_key: [u8; PAGE / 8],
    values: Vec<u8>,
    sets_key: bool,
}

/// What a run says of the births of its series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Births {
    any: u8,
    mixed: u16,
}

impl Births {
    #[inline]
    pub(crate) fn add(&mut self, birth: u8) {
        self.any |= birth;
        self.mixed = self
            .mixed
            .wrapping_mul(0x6f4f)
            .wrapping_add(u16::from(birth) + 1);
    }
}

impl Default for FloatWriter {
    fn default() -> Self {
        FloatWriter {
            out: Vec::new(),
            base_ms: None,
            previous: 0,
            key_runs: 0,
            run: Run {
                first: 0,
                count: 0,
                times: [0; PAGE],
                any_off_base: false,
                births: Births::default(),
                is_key: [0; PAGE / 8],
                values: Vec::new(),
                sets_key: false,
            },
        }
    }
}

impl FloatWriter {
    /// Forgets what was written.
    pub(crate) fn clear(&mut self) {
        self.out.clear();
        self.base_ms = None;
        self.previous = 0;
        self.run.clear();
    }

    /// Begins a page, of which so many runs wrote keys.
    pub(crate) fn begin_page(&mut self, key_runs: u32) {
        self.key_runs = key_runs;
    }

    /// Ends a page; gives the number of its runs that wrote keys.
    pub(crate) fn end_page(&mut self) -> u32 {
        self.end_run();
        self.key_runs
    }

    #[inline]
    pub(crate) fn push_equal(&mut self, id: u32, timestamp_ms: i64, birth: u8) {
        let at = self.push(id, timestamp_ms, birth);
        self.run.is_key[at / 8] |= 1 << (at % 8);
    }

    #[inline]
    pub(crate) fn push_key(&mut self, id: u32, timestamp_ms: i64, birth: u8, bits: u64) {
        self.push(id, timestamp_ms, birth);
        self.run.sets_key = true;
        value::write_key(&mut self.run.values, bits);
    }

    #[inline]
    pub(crate) fn push_against(
        &mut self,
        id: u32,
        timestamp_ms: i64,
        birth: u8,
        bits: u64,
        key: u64,
    ) {
        self.push(id, timestamp_ms, birth);
        value::write_against(&mut self.run.values, bits, key);
    }

    pub(crate) fn push_stale(&mut self, id: u32, timestamp_ms: i64, birth: u8) {
        self.push(id, timestamp_ms, birth);
        value::write_stale(&mut self.run.values);
    }

    /// Puts the body together, and starts anew; a page goes on.
    pub(crate) fn take(&mut self, epoch: u32, body: &mut Vec<u8>) {
        self.end_run();
        if let Some(base_ms) = self.base_ms.take() {
            put_varint(body, u64::from(epoch));
            put_signed(body, base_ms);
            body.append(&mut self.out);
        }
        self.previous = 0;
    }

    /// Makes room for a sample; gives its place in the run.
    #[inline]
    fn push(&mut self, id: u32, timestamp_ms: i64, birth: u8) -> usize {
        if self.run.count == 0 || id.wrapping_sub(self.run.first) as usize != self.run.count {
            self.begin_run(id, timestamp_ms);
        }
        let base_ms = self.base_ms.unwrap_or(timestamp_ms);
        let run = &mut self.run;
        let at = run.count % PAGE;
        run.count += 1;
        run.times[at] = timestamp_ms;
        run.any_off_base |= timestamp_ms != base_ms;
        run.births.add(birth);
        at
    }

    fn begin_run(&mut self, id: u32, timestamp_ms: i64) {
        self.end_run();
        self.run.first = id;
        self.base_ms.get_or_insert(timestamp_ms);
    }

    fn end_run(&mut self) {
        let run = &mut self.run;
        if run.count == 0 {
            return;
        }
        let out = &mut self.out;
        put_varint(out, u64::from(run.first.wrapping_sub(self.previous)));
        self.previous = run.first;
        let has_births = run.births.any != 0;
        let flags = HAS_TIMES * u64::from(run.any_off_base) + HAS_BIRTHS * u64::from(has_births);
        put_varint(out, (run.count as u64 - 1) << 2 | flags);
        let length_at = out.len();
        out.extend_from_slice(&[0, 0]);
        put_varint(out, u64::from(self.key_runs));
        if has_births {
            out.extend_from_slice(&run.births.mixed.to_le_bytes());
        }
        if run.any_off_base {
            let base_ms = self.base_ms.unwrap_or_default();
            for time in run.times.iter().take(run.count) {
                put_signed(out, time.wrapping_sub(base_ms));
            }
        }
        out.extend_from_slice(&run.is_key[..run.count.div_ceil(8)]);
        out.append(&mut run.values);
        // 256 samples of at most 19 bytes each.
        let length = (out.len() - length_at - 2) as u16;
        out[length_at..length_at + 2].copy_from_slice(&length.to_le_bytes());
        self.key_runs += u32::from(run.sets_key);
        run.clear();
    }
}

impl Run {
    fn clear(&mut self) {
        self.count = 0;
        self.any_off_base = false;
        self.births = Births::default();
        self.is_key = [0; PAGE / 8];
        self.values.clear();
        self.sets_key = false;
    }
}

/// A run as it is read.
pub(crate) struct RunReader<'a> {
    pub(crate) first: u32,
    pub(crate) count: usize,
    flags: u64,
    body: Reader<'a>,
}

/// What stands before the samples of a run.
pub(crate) struct RunHead<'a> {
    pub(crate) key_runs: u32,
    births: Option<u16>,
    is_key: &'a [u8],
}

impl<'a> RunReader<'a> {
    /// The next run behind that which began with `previous`.
    pub(crate) fn next(body: &mut Reader<'a>, previous: u32) -> Result<Self, DamagedRecord> {
        let first = previous.checked_add(body.u32()?);
        let first = first.ok_or_else(|| body.damaged("an id is too large"))?;
        let length = body.varint()?;
        let count = (length >> 2) as usize + 1;
        if length >> 2 >= PAGE as u64 || first as usize % PAGE + count > PAGE {
            return Err(body.damaged("a run is longer than its page"));
        }
        let bytes = u16::from_le_bytes(body.array()?);
        Ok(RunReader {
            first,
            count,
            flags: length & 3,
            body: body.sub(usize::from(bytes))?,
        })
    }

    /// Reads up to the values; `times_ms` gets the times of the samples.
    pub(crate) fn head(
        &mut self,
        base_ms: i64,
        times_ms: &mut [i64; PAGE],
    ) -> Result<RunHead<'a>, DamagedRecord> {
        let key_runs = self.body.u32()?;
        let mut births = None;
        if self.flags & HAS_BIRTHS != 0 {
            births = Some(u16::from_le_bytes(self.body.array()?));
        }
        for time in times_ms.iter_mut().take(self.count) {
            let offset_ms = match self.flags & HAS_TIMES {
                0 => 0,
                _ => self.body.signed()?,
            };
            *time = base_ms.wrapping_add(offset_ms);
        }
        let is_key = self.body.take(self.count.div_ceil(8))?;
        Ok(RunHead {
            key_runs,
            births,
            is_key,
        })
    }

    /// The value that stands there next.
    #[inline]
    pub(crate) fn value(&mut self, key: Option<u64>) -> Result<value::Value, DamagedRecord> {
        value::read(&mut self.body, key)
    }
}

impl RunHead<'_> {
    pub(crate) fn fits(&self, births: Births) -> bool {
        match self.births {
            Some(mixed) => births.mixed == mixed,
            None => births.any == 0,
        }
    }

    #[inline]
    pub(crate) fn is_key(&self, at: usize) -> bool {
        let byte = self.is_key.get(at / 8).copied().unwrap_or(0);
        byte >> (at % 8) & 1 != 0
    }
}
