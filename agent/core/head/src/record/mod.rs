//! The records of the log, as bytes.
//!
//! A record is a row of sections; a section is a kind (one byte), its length and its body. Lengths
//! and numbers are varints (7 bits a byte, least significant first), signed ones zigzag, texts
//! their length and UTF-8. Sections take effect in their order.
//!
//! | kind | section | body |
//! |---|---|---|
//! | 1 | definitions | which ids get series, and their labels: see `definitions` |
//! | 2 | floats | see `floats` |
//! | 3 | histograms | entries: id (less the one before), birth, encoding (+ 80 if it came late), length, a chunk of one sample |
//! | 4 | late floats | entries: id (less the one before), birth, time (signed), value (8 bytes) |
//! | 5 | exemplars | entries: id, time (signed), value (8 bytes), number of labels, name and value of each |
//! | 6 | metadata | entries: family, type (one byte), help, unit |
//! | 7 | deletions | entries: id, birth, first and last time (signed) |
//! | 8 | truncation | the border (signed), 0 or the number of the page that was truncated plus 1 |
//! | 9 | starts | entries: id (less the one before) times two, plus 1 if the sample came late, birth, time (signed), time less start (signed) |
//!
//! A birth is one byte: how often the id got a series. Where an id's birth is another than the
//! reader's, a definition is missing, and what was written for one series is not taken for another.

pub(crate) mod definitions;
pub(crate) mod floats;
pub(crate) mod others;

use crate::DamagedRecord;
use crate::bytes::{Reader, put_bytes};

pub(crate) const DEFINITIONS: u8 = 1;
pub(crate) const FLOATS: u8 = 2;
pub(crate) const HISTOGRAMS: u8 = 3;
pub(crate) const LATE_FLOATS: u8 = 4;
pub(crate) const EXEMPLARS: u8 = 5;
pub(crate) const METADATA: u8 = 6;
pub(crate) const DELETIONS: u8 = 7;
pub(crate) const TRUNCATION: u8 = 8;
pub(crate) const STARTS: u8 = 9;

/// Adds a section, if it has a body, which is emptied.
pub(crate) fn put_section(record: &mut Vec<u8>, kind: u8, body: &mut Vec<u8>) {
    if !body.is_empty() {
        record.push(kind);
        put_bytes(record, body);
        body.clear();
    }
}

/// Calls `read` with each section.
pub(crate) fn each_section(
    record: &[u8],
    mut read: impl FnMut(u8, Reader<'_>) -> Result<(), DamagedRecord>,
) -> Result<(), DamagedRecord> {
    let mut reader = Reader::new(record);
    while !reader.is_empty() {
        let kind = reader.byte()?;
        if !(DEFINITIONS..=STARTS).contains(&kind) {
            return Err(reader.damaged("a section of an unknown kind"));
        }
        read(kind, reader.part()?)?;
    }
    Ok(())
}
