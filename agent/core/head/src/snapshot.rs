//! The head as bytes.
//!
//! Eight bytes that say what it is, the version (four bytes), then sections: kind (one byte),
//! length (eight bytes), CRC-32C of the body (four bytes), body. Fixed numbers are little-endian,
//! the others as in the log's records (see `record`). Kinds: 1 the times, metadata and exemplars,
//! 2 the catalogue, 3 a page, 4 the end, which counts the pages, 5 the starts of the counters of a
//! page, if any is known. A page is its number, its births if there are any, and its series: see
//! `page`, as for starts.

mod page;

use std::io;

use narthex_catalogue::{Catalogue, ImportError};
use narthex_model::CancelToken;

use crate::bytes::{Reader, put_bytes, put_signed, put_varint};
use crate::counters::Tally;
use crate::record::others::{
    each_metadata, put_exemplar_body, put_labels, put_metadata, read_exemplar_body, read_labels,
};
use crate::{DamagedRecord, Head};

const MAGIC: &[u8; 8] = b"NXHEAD\r\n";

const VERSION: u32 = 1;

/// Bytes before a section's body.
const SECTION_HEAD: usize = 13;

const STATE: u8 = 1;
const CATALOGUE: u8 = 2;
const PAGE: u8 = 3;
const END: u8 = 4;
const STARTS: u8 = 5;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    #[error("this is no snapshot of a head")]
    Foreign,
    #[error("the snapshot has version {0}, which is newer than this program; use a newer one")]
    Newer(u32),
    #[error("the snapshot's {part} is damaged at byte {offset}")]
    Damaged { part: &'static str, offset: usize },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotRead {
    pub series: u64,
    pub chunks: u64,
    /// Pages (of up to 256 series) whose samples, or the starts of their counters, could not be
    /// read; their labels are there.
    pub damaged_pages: u64,
}

impl Head {
    /// Writes all that is in the head, page by page while commits go on. What is committed from
    /// the call on may be missing: the log's epoch is to be begun before.
    pub fn write_snapshot(&self, to: &mut dyn io::Write) -> io::Result<()> {
        to.write_all(MAGIC)?;
        to.write_all(&VERSION.to_le_bytes())?;
        write_section(to, STATE, &self.state_bytes())?;
        let mut body = Vec::new();
        self.catalogue().export(&mut body)?;
        write_section(to, CATALOGUE, &body)?;
        drop(body);
        let mut body = Vec::new();
        let mut pages = 0u64;
        for (number, page) in self.pages().iter().enumerate() {
            body.clear();
            put_varint(&mut body, number as u64);
            let page = page.lock();
            let mut starts = Vec::new();
            if page::write(&page, &mut body) {
                page::write_starts(&page, number, &mut starts);
                drop(page);
                write_section(to, PAGE, &body)?;
                pages += 1;
            }
            if !starts.is_empty() {
                write_section(to, STARTS, &starts)?;
            }
        }
        body.clear();
        put_varint(&mut body, pages);
        write_section(to, END, &body)
    }

    /// Fills an empty head. Where it fails, the head is to be thrown away.
    pub fn read_snapshot(&self, bytes: &[u8]) -> Result<SnapshotRead, SnapshotError> {
        let version = bytes.strip_prefix(MAGIC.as_slice());
        let version = version.and_then(|rest| rest.first_chunk().copied());
        match version.map(u32::from_le_bytes) {
            None => return Err(SnapshotError::Foreign),
            Some(VERSION) => {}
            Some(0) => return Err(SnapshotError::Foreign),
            Some(newer) => return Err(SnapshotError::Newer(newer)),
        }
        let mut read = SnapshotRead::default();
        let mut tally = Tally::default();
        let (mut pages, mut ended) = (0, false);
        let mut at = MAGIC.len() + 4;
        while let Some((kind, body, sound)) = section(bytes, at) {
            let from = at + SECTION_HEAD;
            match kind {
                STATE if sound => self.read_state(body).map_err(within("state", from))?,
                CATALOGUE if sound => self.read_catalogue(body, from)?,
                STATE => return Err(damaged("state", from)),
                CATALOGUE => return Err(damaged("catalogue", from)),
                PAGE => {
                    pages += 1;
                    let taken = sound && self.read_page(body, &mut tally);
                    read.damaged_pages += u64::from(!taken);
                }
                // Without them the samples are still good.
                STARTS => {
                    let taken = sound && self.read_starts(body).is_ok();
                    read.damaged_pages += u64::from(!taken);
                }
                END => ended = sound && Reader::new(body).varint() == Ok(pages),
                _ => return Err(damaged("row of sections", at)),
            }
            at = from + body.len();
        }
        if !ended {
            return Err(damaged("end", at));
        }
        read.series = self.catalogue().series_count() as u64;
        read.chunks = tally.chunks_created;
        self.add(&tally);
        Ok(read)
    }

    fn state_bytes(&self) -> Vec<u8> {
        let mut body = Vec::new();
        put_signed(&mut body, self.min_valid_ms());
        put_signed(&mut body, self.newest_ms());
        let mut metadata = Vec::new();
        for (family, known) in self.families().iter() {
            put_metadata(&mut metadata, family, known);
        }
        put_bytes(&mut body, &metadata);
        let exemplars = self.exemplar_ring();
        for (labels, exemplar) in exemplars.iter() {
            put_labels(&mut body, labels);
            put_exemplar_body(&mut body, exemplar);
        }
        body
    }

    fn read_state(&self, body: &[u8]) -> Result<(), DamagedRecord> {
        let mut body = Reader::new(body);
        self.raise_min_valid(body.signed()?);
        self.raise_newest(body.signed()?);
        each_metadata(body.part()?, |family, metadata| {
            self.keep_metadata(family, metadata);
        })?;
        let mut exemplars = self.exemplar_ring();
        while !body.is_empty() {
            let labels = read_labels(&mut body)?;
            exemplars.add(&labels, &read_exemplar_body(&mut body)?);
        }
        Ok(())
    }

    fn read_catalogue(&self, body: &[u8], offset: usize) -> Result<(), SnapshotError> {
        let catalogue = Catalogue::import(body).map_err(|error| match error {
            ImportError::Version(version) => SnapshotError::Newer(version),
            ImportError::Damaged(part) => damaged(part, offset),
        })?;
        let all = catalogue.matching(&[], &CancelToken::default());
        let ids = all.unwrap_or_default();
        self.ids().set_used(&ids);
        let pages = self.pages_up_to(ids.last().map_or(0, |id| (*id >> 8) as usize + 1));
        for id in ids {
            if let Some(page) = pages.get((id >> 8) as usize) {
                page.defined.insert(id as u8);
            }
        }
        *self.catalogue_mut() = catalogue;
        Ok(())
    }

    /// Of a page that was read before.
    fn read_starts(&self, body: &[u8]) -> Result<(), DamagedRecord> {
        let mut body = Reader::new(body);
        let number = body.varint()?;
        let pages = self.pages();
        let page = usize::try_from(number).ok().and_then(|at| pages.get(at));
        let page = page.ok_or_else(|| body.damaged("starts of a page that is not there"))?;
        page::read_starts(&mut page.lock(), &mut body)
    }

    /// False if the page is damaged; nothing of it is taken then.
    fn read_page(&self, body: &[u8], tally: &mut Tally) -> bool {
        let mut body = Reader::new(body);
        let Ok(number) = body.varint() else {
            return false;
        };
        // A page of series that the catalogue does not have is there for its births.
        let most = self.pages().len() as u64 + (1 << 14);
        if number > most {
            return false;
        }
        let number = number as usize;
        let pages = self.pages_up_to(number + 1);
        let Some(page) = pages.get(number) else {
            return false;
        };
        let mut page = page.lock();
        let mut added = Tally::default();
        if page::read(&mut page, &mut body, &mut added).is_err() {
            for slot in 0..=u8::MAX {
                page.clear(slot, &mut Tally::default());
            }
            return false;
        }
        tally.chunks_created += added.chunks_created;
        tally.stale_series += added.stale_series;
        if added.oldest_ms <= added.newest_ms {
            tally.stretch_to(added.oldest_ms);
            tally.stretch_to(added.newest_ms);
        }
        true
    }
}

fn write_section(to: &mut dyn io::Write, kind: u8, body: &[u8]) -> io::Result<()> {
    to.write_all(&[kind])?;
    to.write_all(&(body.len() as u64).to_le_bytes())?;
    to.write_all(&crc32c::crc32c(body).to_le_bytes())?;
    to.write_all(body)
}

/// Kind and body of the section at this place, and whether the checksum is right.
fn section(bytes: &[u8], at: usize) -> Option<(u8, &[u8], bool)> {
    let (head, rest) = bytes.get(at..)?.split_first_chunk::<SECTION_HEAD>()?;
    let (kind, head) = head.split_first()?;
    let length = u64::from_le_bytes(*head.first_chunk()?);
    let sum = u32::from_le_bytes(*head.last_chunk()?);
    let body = rest.get(..usize::try_from(length).ok()?)?;
    Some((*kind, body, crc32c::crc32c(body) == sum))
}

fn damaged(part: &'static str, offset: usize) -> SnapshotError {
    SnapshotError::Damaged { part, offset }
}

fn within(part: &'static str, from: usize) -> impl Fn(DamagedRecord) -> SnapshotError {
    move |error| damaged(part, from + error.offset)
}
