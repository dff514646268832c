//! Where things are in an index: read once when it is opened, with the checksums of all that is
//! read here, and kept beside the bytes. Takes 4 bytes per 8 symbols and per 32 label pairs.

use std::ops::Range;

use crate::bytes::{CHECKSUM_BYTES, Cursor};
use crate::index::reader::IndexReader;
use crate::index::{HEADER_BYTES, MAGIC, SERIES_ALIGNMENT};
use crate::{Part, ReadError};

const TOC_BYTES: usize = 6 * 8 + CHECKSUM_BYTES;
const NEWEST_VERSION: u8 = 3;
/// Of so many symbols, the first one's place is kept.
pub(super) const SYMBOLS_PER_SAMPLE: u32 = 8;
/// Of so many values of a label, the first one's place in the postings table is kept.
const VALUES_PER_SAMPLE: u32 = 32;

/// What tells the two ways of reading an index apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexVersion {
    /// Symbols and series are referred to by their offsets, the postings table is in any order.
    V1,
    /// Symbols are referred to by their rank, series by a sixteenth of their offset, the postings
    /// table is sorted. Version 3 differs from 2 only in parts that nobody reads.
    V2,
}

/// What has to be remembered of an index to find things in its bytes.
#[derive(Clone, Debug)]
pub struct IndexLayout {
    pub(super) version: IndexVersion,
    /// The range of the file that holds the series.
    pub(super) series: Range<usize>,
    pub(super) symbols: SymbolLayout,
    pub(super) table: TableLayout,
}

#[derive(Clone, Debug, Default)]
pub(super) struct SymbolLayout {
    /// From the first symbol to behind the last.
    pub(super) range: Range<usize>,
    pub(super) count: u32,
    /// Places of every 8th symbol, counted from the first.
    pub(super) sampled: Vec<u32>,
}

/// The postings table: for each label name, the places of some of its values' entries.
#[derive(Clone, Debug, Default)]
pub(super) struct TableLayout {
    /// From the first entry to behind the last.
    pub(super) range: Range<usize>,
    pub(super) names: Vec<NameEntries>,
    /// Places of entries, counted from the first.
    pub(super) sampled: Vec<u32>,
    /// How many entries of a name follow each other from one sampled place on: 1 if the table
    /// isn't sorted, every entry is sampled then, in label order.
    pub(super) stride: u32,
}

/// The entries of one label name.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct NameEntries {
    pub(super) first_sample: u32,
    pub(super) values: u32,
}

/// One entry of the postings table.
#[derive(Clone, Copy)]
pub(super) struct TableEntry<'a> {
    pub(super) name: &'a [u8],
    pub(super) value: &'a [u8],
    pub(super) postings_offset: u64,
}

/// The table of contents; 0 says that there is no such section.
struct Contents {
    symbols: u64,
    series: u64,
    label_indices: u64,
    label_indices_table: u64,
    postings: u64,
    postings_table: u64,
}

impl IndexLayout {
    /// Checks and reads what finding things takes.
    pub fn open(bytes: &[u8]) -> Result<Self, ReadError> {
        Self::open_as(bytes, header_version(bytes)?)
    }

    /// As [`IndexLayout::open`], but whatever version the header says: see
    /// [`crate::BlockMeta::has_mislabelled_index`].
    pub fn open_as(bytes: &[u8], version: IndexVersion) -> Result<Self, ReadError> {
        header_version(bytes)?;
        let limit_bytes = match version {
            IndexVersion::V1 => 1 << 32,
            IndexVersion::V2 => SERIES_ALIGNMENT << 32,
        };
        if bytes.len() as u64 > limit_bytes {
            return Err(ReadError::TooLarge {
                part: Part::Series,
                size_bytes: bytes.len() as u64,
                limit_bytes,
            });
        }
        let contents = Contents::read(bytes)?;
        Ok(IndexLayout {
            version,
            series: contents.series_range(bytes),
            symbols: SymbolLayout::read(bytes, contents.symbols)?,
            table: TableLayout::read(bytes, contents.postings_table, version)?,
        })
    }

    /// `bytes` are those the layout was opened with.
    pub fn reader<'a>(&'a self, bytes: &'a [u8]) -> IndexReader<'a> {
        IndexReader {
            layout: self,
            bytes,
        }
    }

    pub fn version(&self) -> IndexVersion {
        self.version
    }

    /// What this takes of memory.
    pub fn memory_bytes(&self) -> usize {
        let sampled = self.symbols.sampled.capacity() + self.table.sampled.capacity();
        size_of::<Self>()
            + sampled * size_of::<u32>()
            + self.table.names.capacity() * size_of::<NameEntries>()
    }
}

fn header_version(bytes: &[u8]) -> Result<IndexVersion, ReadError> {
    let part = Part::IndexHeader;
    let mut cursor = Cursor::after_magic(bytes, part, MAGIC)?;
    match cursor.u8()? {
        1 => Ok(IndexVersion::V1),
        2 | NEWEST_VERSION => Ok(IndexVersion::V2),
        found => Err(ReadError::UnknownVersion {
            part,
            found,
            newest: NEWEST_VERSION,
        }),
    }
}

impl Contents {
    fn read(bytes: &[u8]) -> Result<Self, ReadError> {
        let part = Part::TableOfContents;
        let start = bytes.len().checked_sub(TOC_BYTES);
        let start = start.filter(|&start| start >= HEADER_BYTES);
        let start = start.ok_or(ReadError::Truncated {
            part,
            offset: bytes.len() as u64,
        })?;
        let mut cursor = Cursor::new(bytes, start, bytes.len(), part)?;
        let checked = *cursor
            .rest()
            .first_chunk::<{ TOC_BYTES - CHECKSUM_BYTES }>()
            .ok_or_else(|| cursor.truncated())?;
        let mut offset = || {
            let place = cursor.position() as u64;
            match cursor.u64()? {
                offset if offset > start as u64 => Err(ReadError::OutOfBounds {
                    part,
                    offset: place,
                }),
                offset => Ok(offset),
            }
        };
        let fields = [offset(), offset(), offset(), offset(), offset(), offset()];
        if cursor.u32()? != crc32c::crc32c(&checked) {
            return Err(ReadError::Checksum {
                part,
                offset: start as u64,
            });
        }
        let [
            symbols,
            series,
            label_indices,
            label_indices_table,
            postings,
            postings_table,
        ] = fields;
        Ok(Contents {
            symbols: symbols?,
            series: series?,
            label_indices: label_indices?,
            label_indices_table: label_indices_table?,
            postings: postings?,
            postings_table: postings_table?,
        })
    }

    /// The series end where the next section starts.
    fn series_range(&self, bytes: &[u8]) -> Range<usize> {
        if self.series == 0 {
            return 0..0;
        }
        let others = [
            self.symbols,
            self.label_indices,
            self.label_indices_table,
            self.postings,
            self.postings_table,
        ];
        let next = others
            .into_iter()
            .filter(|&other| other > self.series)
            .min();
        let contents = bytes.len() - TOC_BYTES;
        let end = next.map_or(contents, |next| next as usize);
        self.series as usize..end
    }
}

impl SymbolLayout {
    fn read(bytes: &[u8], offset: u64) -> Result<Self, ReadError> {
        if offset == 0 {
            return Ok(SymbolLayout::default());
        }
        let mut section = Cursor::section(bytes, offset, Part::Symbols)?;
        let count = section.u32()?;
        let first = section.position();
        let mut sampled = Vec::new();
        let mut previous: Option<&[u8]> = None;
        for rank in 0..count {
            let place = section.position();
            let symbol = section.string_bytes()?;
            if previous.is_some_and(|previous| previous >= symbol) {
                return Err(ReadError::Unsorted {
                    part: Part::Symbols,
                    offset: place as u64,
                });
            }
            previous = Some(symbol);
            if rank % SYMBOLS_PER_SAMPLE == 0 {
                sampled.push(relative(place, first, &section)?);
            }
        }
        sampled.shrink_to_fit();
        Ok(SymbolLayout {
            range: first..section.position(),
            count,
            sampled,
        })
    }
}

impl TableLayout {
    fn read(bytes: &[u8], offset: u64, version: IndexVersion) -> Result<Self, ReadError> {
        if offset == 0 {
            return Ok(TableLayout::default());
        }
        let mut section = Cursor::section(bytes, offset, Part::PostingsTable)?;
        let count = section.u32()?;
        let table = match version {
            IndexVersion::V1 => None,
            IndexVersion::V2 => Self::sample(section, count)?,
        };
        match table {
            Some(table) => Ok(table),
            None => Self::sort(section, count),
        }
    }

    /// Keeps the places of some entries; none if the table isn't sorted.
    fn sample(mut section: Cursor<'_>, count: u32) -> Result<Option<Self>, ReadError> {
        let first = section.position();
        let mut table = TableLayout {
            stride: VALUES_PER_SAMPLE,
            ..TableLayout::default()
        };
        let mut previous: Option<TableEntry<'_>> = None;
        for _ in 0..count {
            let place = relative(section.position(), first, &section)?;
            let entry = TableEntry::read(&mut section)?;
            if previous.is_some_and(|previous| previous.key() >= entry.key()) {
                return Ok(None);
            }
            table.push(place, previous.is_none_or(|p| p.name != entry.name));
            previous = Some(entry);
        }
        table.sampled.shrink_to_fit();
        table.names.shrink_to_fit();
        table.range = first..section.position();
        Ok(Some(table))
    }

    /// Keeps the places of all entries, sorted by label.
    fn sort(mut section: Cursor<'_>, count: u32) -> Result<Self, ReadError> {
        let first = section.position();
        let mut entries = Vec::new();
        for _ in 0..count {
            let place = relative(section.position(), first, &section)?;
            entries.push((TableEntry::read(&mut section)?, place));
        }
        entries.sort_by_key(|(entry, _)| entry.key());
        let mut table = TableLayout {
            range: first..section.position(),
            stride: 1,
            ..TableLayout::default()
        };
        let mut previous: Option<TableEntry<'_>> = None;
        for (entry, place) in entries {
            if previous.is_some_and(|previous| previous.key() == entry.key()) {
                return Err(ReadError::Malformed {
                    part: Part::PostingsTable,
                    offset: first as u64 + u64::from(place),
                    what: "a label pair is listed twice",
                });
            }
            table.push(place, previous.is_none_or(|p| p.name != entry.name));
            previous = Some(entry);
        }
        Ok(table)
    }

    /// Counts an entry and keeps its place if it is one to sample.
    fn push(&mut self, place: u32, new_name: bool) {
        if new_name {
            self.names.push(NameEntries {
                first_sample: self.sampled.len() as u32,
                values: 0,
            });
        }
        if let Some(name) = self.names.last_mut() {
            if name.values % self.stride == 0 {
                self.sampled.push(place);
            }
            name.values += 1;
        }
    }
}

impl<'a> TableEntry<'a> {
    pub(super) fn read(cursor: &mut Cursor<'a>) -> Result<Self, ReadError> {
        let start = *cursor;
        if cursor.uvarint()? != 2 {
            return Err(start.malformed("an entry that isn't of one name and one value"));
        }
        Ok(TableEntry {
            name: cursor.string_bytes()?,
            value: cursor.string_bytes()?,
            postings_offset: cursor.uvarint()?,
        })
    }

    fn key(&self) -> (&'a [u8], &'a [u8]) {
        (self.name, self.value)
    }
}

fn relative(place: usize, first: usize, section: &Cursor<'_>) -> Result<u32, ReadError> {
    u32::try_from(place - first).map_err(|_| section.truncated())
}
