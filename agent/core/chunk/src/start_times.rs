//! Start timestamps: when the counting of each sample began.
//!
//! A byte in the chunk's header says whether the first sample has one (top bit) and from which
//! sample on they differ (the others; 0 for never). The first is written as its distance before
//! its sample, a zigzag varint; those from the change on as their distance before the sample
//! *before* theirs: the first of them whole, later ones as the change of that. Between, it stays.

use crate::bits::BitReader;
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
