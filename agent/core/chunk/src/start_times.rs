//! Start timestamps: when the counting of each sample began.
//!
//! A byte in the chunk's header says whether the first sample has one (top bit) and from which
//! sample on they differ (the others; 0 for never). The first is written as its distance before
//! its sample, a zigzag varint; those from the change on as their distance before the sample
//! *before* theirs: the first of them whole, later ones as the change of that. Between, it stays.

use crate::bits::{BitReader, BitWriter, varint_bytes};
use crate::varbit;

#[derive(Clone, Copy, Debug)]
pub(crate) struct StartTimes {
    first_known: bool,
    change_on: u16,
    distance: i64,
    /// 0 if it is not known.
    pub(crate) start_ms: i64,
}

impl StartTimes {
    pub(crate) fn new(header: u8) -> Self {
        StartTimes {
            first_known: header & 0x80 != 0,
            change_on: u16::from(header & 0x7f),
            distance: 0,
            start_ms: 0,
        }
    }

    /// Reads what follows the sample with this index.
    pub(crate) fn read(
        &mut self,
        reader: &mut BitReader<'_>,
        index: usize,
        before_ms: i64,
        timestamp_ms: i64,
    ) {
        if index == 0 {
            if self.first_known {
                self.start_ms = timestamp_ms.wrapping_sub(reader.read_varint());
            }
            return;
        }
        let change_on = usize::from(self.change_on);
        if change_on == 0 || index < change_on {
            return;
        }
        let change = varbit::read_signed(reader);
        self.distance = match index == change_on {
            true => change,
            false => self.distance.wrapping_add(change),
        };
        self.start_ms = before_ms.wrapping_sub(self.distance);
    }
}

/// Samples before the last one from which on starts can differ.
const MOST_BEFORE_CHANGE: usize = 0x7f;

/// Writes the starts of a chunk whose samples are all known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StartWriter {
    first_known: bool,
    change_on: usize,
    distance: i64,
}

impl StartWriter {
    pub(crate) fn new(starts_ms: &[i64]) -> Self {
        let first_ms = starts_ms.first().copied().unwrap_or(0);
        let change = starts_ms.iter().position(|start_ms| *start_ms != first_ms);
        StartWriter {
            first_known: first_ms != 0,
            change_on: change.map_or(0, |index| index.min(MOST_BEFORE_CHANGE)),
            distance: 0,
        }
    }

    pub(crate) fn header(&self) -> u8 {
        u8::from(self.first_known) << 7 | self.change_on as u8
    }

    /// Writes what follows the sample with this index.
    pub(crate) fn write(
        &mut self,
        writer: &mut BitWriter,
        index: usize,
        before_ms: i64,
        timestamp_ms: i64,
        start_ms: i64,
    ) {
        if index == 0 {
            if self.first_known {
                let distance = timestamp_ms.wrapping_sub(start_ms);
                varint_bytes(distance, |byte| writer.write_byte(byte));
            }
        } else if self.change_on != 0 && index >= self.change_on {
            let distance = before_ms.wrapping_sub(start_ms);
            varbit::write_signed(writer, distance.wrapping_sub(self.distance));
            self.distance = distance;
        }
    }
}
