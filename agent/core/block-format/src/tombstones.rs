//! Tombstones: which times of which series are deleted, although the chunks still have them.
//!
//! The file is a header of 5 bytes, then per interval the series, the first and the last time, all
//! three of variable length, and a CRC over those.

use std::collections::BTreeMap;

use crate::bytes::{CHECKSUM_BYTES, Cursor, put_uvarint, put_varint};
use crate::{Part, ReadError};

const MAGIC: u32 = 0x0130_BA30;
const VERSION: u8 = 1;

/// A span of time, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval {
    pub min_ms: i64,
    pub max_ms: i64,
}

impl Interval {
    pub fn contains(self, time_ms: i64) -> bool {
        self.min_ms <= time_ms && time_ms <= self.max_ms
    }
}

/// Intervals in ascending order with at least a millisecond between one and the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Intervals(Vec<Interval>);

impl Intervals {
    pub fn as_slice(&self) -> &[Interval] {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Unites the interval with those it meets. A reversed one is empty and changes nothing.
    pub fn add(&mut self, added: Interval) {
        if added.min_ms > added.max_ms {
            return;
        }
        let before = added.min_ms.saturating_sub(1);
        let after = added.max_ms.saturating_add(1);
        let first = self.0.partition_point(|known| known.max_ms < before);
        let end = self.0.partition_point(|known| known.min_ms <= after);
        let met = self.0.get(first..end).unwrap_or_default();
        let united = met.iter().fold(added, |united, known| Interval {
            min_ms: united.min_ms.min(known.min_ms),
            max_ms: united.max_ms.max(known.max_ms),
        });
        self.0.splice(first..end.max(first), [united]);
    }

    pub fn contains(&self, time_ms: i64) -> bool {
        let at = self.0.partition_point(|known| known.max_ms < time_ms);
        self.0.get(at).is_some_and(|known| known.contains(time_ms))
    }

    /// Whether every time of the span is deleted.
    pub fn covers(&self, span: Interval) -> bool {
        let at = self.0.partition_point(|known| known.max_ms < span.min_ms);
        let known = self.0.get(at);
        known.is_some_and(|known| known.contains(span.min_ms) && known.contains(span.max_ms))
    }

    /// Whether some time of the span is deleted.
    pub fn overlaps(&self, span: Interval) -> bool {
        let at = self.0.partition_point(|known| known.max_ms < span.min_ms);
        self.0
            .get(at)
            .is_some_and(|known| known.min_ms <= span.max_ms)
    }
}

/// The deleted intervals of a block by series reference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tombstones {
    by_series: BTreeMap<u32, Intervals>,
}

impl Tombstones {
    /// Reads a whole file.
    pub fn read(bytes: &[u8]) -> Result<Self, ReadError> {
        let mut entries = checked_entries(bytes)?;
        let mut tombstones = Tombstones::default();
        while !entries.is_empty() {
            let start = entries;
            let series = entries.uvarint_u32()?;
            let interval = Interval {
                min_ms: entries.varint()?,
                max_ms: entries.varint()?,
            };
            if interval.min_ms > interval.max_ms {
                return Err(start.malformed("an interval ends before it starts"));
            }
            tombstones.add(series, interval);
        }
        Ok(tombstones)
    }

    /// The whole file. One without tombstones has 9 bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&MAGIC.to_be_bytes());
        out.push(VERSION);
        let checked = out.len();
        for (series, intervals) in self.iter() {
            for interval in intervals.as_slice() {
                put_uvarint(&mut out, u64::from(series));
                put_varint(&mut out, interval.min_ms);
                put_varint(&mut out, interval.max_ms);
            }
        }
        let checksum = crc32c::crc32c(out.get(checked..).unwrap_or_default());
        out.extend_from_slice(&checksum.to_be_bytes());
        out
    }

    pub fn add(&mut self, series: u32, interval: Interval) {
        if interval.min_ms <= interval.max_ms {
            self.by_series.entry(series).or_default().add(interval);
        }
    }

    pub fn get(&self, series: u32) -> Option<&Intervals> {
        self.by_series.get(&series)
    }

    pub fn iter(&self) -> impl Iterator<Item = (u32, &Intervals)> {
        self.by_series
            .iter()
            .map(|(&series, intervals)| (series, intervals))
    }

    pub fn is_empty(&self) -> bool {
        self.by_series.is_empty()
    }

    /// How many intervals there are: `numTombstones` of meta.json.
    pub fn count(&self) -> u64 {
        let lengths = self.by_series.values().map(|known| known.0.len() as u64);
        lengths.sum()
    }
}

/// Checks header and CRC and gives what is between.
fn checked_entries(bytes: &[u8]) -> Result<Cursor<'_>, ReadError> {
    let part = Part::TombstonesHeader;
    let mut header = Cursor::after_magic(bytes, part, MAGIC)?;
    let found = header.u8()?;
    if found != VERSION {
        return Err(ReadError::UnknownVersion {
            part,
            found,
            newest: VERSION,
        });
    }
    let start = header.position();
    let end = bytes.len().saturating_sub(CHECKSUM_BYTES);
    if end < start {
        return Err(header.truncated());
    }
    let entries = Cursor::new(bytes, start, end, Part::Tombstones)?;
    let mut trailer = Cursor::new(bytes, end, bytes.len(), Part::Tombstones)?;
    if trailer.u32()? != crc32c::crc32c(entries.rest()) {
        return Err(ReadError::Checksum {
            part: Part::Tombstones,
            offset: start as u64,
        });
    }
    Ok(entries)
}
