//! Looks things up in an index.

use crate::bytes::Cursor;
use crate::index::layout::{IndexLayout, NameEntries, SYMBOLS_PER_SAMPLE, TableEntry};
use crate::index::postings::Postings;
use crate::index::{ALL_POSTINGS, SERIES_ALIGNMENT};
use crate::{ChunkRef, IndexVersion, Part, ReadError};

/// An index's bytes with their layout. Cheap to copy.
#[derive(Clone, Copy)]
pub struct IndexReader<'a> {
    pub(super) layout: &'a IndexLayout,
    pub(super) bytes: &'a [u8],
}

/// A chunk as the index knows it: from its first sample to its last, and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChunkMeta {
    pub min_ms: i64,
    pub max_ms: i64,
    pub chunk_ref: ChunkRef,
}

/// A series as the index has it. Made to be used again for the next series.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeriesEntry {
    /// Symbols of each label's name and value, in ascending order of the names.
    pub labels: Vec<(u32, u32)>,
    /// In the order of the file: ascending and disjoint in what Prometheus writes today; in old
    /// blocks, chunks may overlap.
    pub chunks: Vec<ChunkMeta>,
}

impl<'a> IndexReader<'a> {
    pub fn symbol_count(&self) -> u32 {
        self.layout.symbols.count
    }

    pub fn symbol(&self, symbol: u32) -> Result<&'a str, ReadError> {
        self.symbol_cursor(symbol)?.string()
    }

    /// All symbols in ascending order, with what refers to them.
    pub fn symbols(&self) -> impl Iterator<Item = Result<(u32, &'a str), ReadError>> + use<'a> {
        let reader = *self;
        let mut cursor = reader.all_symbols();
        let mut rank = 0;
        std::iter::from_fn(move || {
            if rank == reader.symbol_count() {
                return None;
            }
            let read = cursor.as_mut().map_err(|error| *error);
            let read = read.and_then(|cursor| {
                let symbol = match reader.layout.version {
                    IndexVersion::V1 => cursor.position() as u32,
                    IndexVersion::V2 => rank,
                };
                Ok((symbol, cursor.string()?))
            });
            rank = match read {
                Ok(_) => rank + 1,
                Err(_) => reader.symbol_count(),
            };
            Some(read)
        })
    }

    /// What refers to `text`, if it is a symbol.
    pub fn find_symbol(&self, text: &str) -> Result<Option<u32>, ReadError> {
        let sampled = &self.layout.symbols.sampled;
        let mut failed = None;
        let above = sampled.partition_point(|&place| {
            let symbol = self
                .sampled_symbol(place)
                .and_then(|mut c| c.string_bytes());
            symbol
                .map_err(|error| failed = Some(error))
                .is_ok_and(|symbol| symbol <= text.as_bytes())
        });
        if let Some(error) = failed {
            return Err(error);
        }
        let Some(sample) = above.checked_sub(1) else {
            return Ok(None);
        };
        let Some(&place) = sampled.get(sample) else {
            return Ok(None);
        };
        let mut cursor = self.sampled_symbol(place)?;
        let first_rank = sample as u32 * SYMBOLS_PER_SAMPLE;
        for rank in first_rank..self.symbol_count().min(first_rank + SYMBOLS_PER_SAMPLE) {
            let place = cursor.position() as u32;
            if cursor.string_bytes()? == text.as_bytes() {
                return Ok(Some(match self.layout.version {
                    IndexVersion::V1 => place,
                    IndexVersion::V2 => rank,
                }));
            }
        }
        Ok(None)
    }

    /// Reads a series into `entry`, its CRC checked.
    pub fn series(&self, series: u32, entry: &mut SeriesEntry) -> Result<(), ReadError> {
        entry.chunks.clear();
        let mut body = self.series_labels(series, &mut entry.labels)?;
        read_chunks(&mut body, &mut entry.chunks)
    }

    /// The series' label names and values.
    pub fn labels(
        &self,
        entry: &SeriesEntry,
    ) -> impl Iterator<Item = Result<(&'a str, &'a str), ReadError>> {
        let pairs = entry.labels.iter();
        pairs.map(|&(name, value)| Ok((self.symbol(name)?, self.symbol(value)?)))
    }

    /// Names of all labels, sorted.
    pub fn label_names(&self) -> impl Iterator<Item = Result<&'a str, ReadError>> + use<'a> {
        let reader = *self;
        let names = reader.layout.table.names.iter();
        names
            .map(move |name| {
                let entry = TableEntry::read(&mut reader.sampled_entry(name.first_sample)?)?;
                reader.table_text(entry.name)
            })
            .filter(|name| *name != Ok(ALL_POSTINGS.0))
    }

    /// The values of a label, sorted; none if there is no such label.
    pub fn label_values(&self, name: &str) -> Result<LabelValues<'a>, ReadError> {
        self.label_values_with_prefix(name, "")
    }

    /// The values of a label that begin with `prefix`, sorted.
    pub fn label_values_with_prefix(
        &self,
        name: &str,
        prefix: &str,
    ) -> Result<LabelValues<'a>, ReadError> {
        let entries = self.find_name(name)?.unwrap_or_default();
        let prefix = prefix.as_bytes();
        let (next, end) = if prefix.is_empty() {
            (0, entries.values)
        } else {
            let upto = |value: &[u8]| value < prefix || value.starts_with(prefix);
            let next = self.values_below(entries, |value| value < prefix)?;
            (next, self.values_below(entries, upto)?)
        };
        Ok(LabelValues {
            reader: *self,
            entries,
            next,
            end,
            cursor: None,
        })
    }

    /// The series that have this label. Empty if none has.
    pub fn postings(&self, name: &str, value: &str) -> Result<Postings<'a>, ReadError> {
        match self.find_entry(name, value)? {
            Some(entry) => self.postings_at(entry.postings_offset),
            None => Ok(Postings::default()),
        }
    }

    /// All series.
    pub fn all_postings(&self) -> Result<Postings<'a>, ReadError> {
        self.postings(ALL_POSTINGS.0, ALL_POSTINGS.1)
    }

    /// Reads the labels of a series and gives what comes after them.
    pub(super) fn series_labels(
        &self,
        series: u32,
        labels: &mut Vec<(u32, u32)>,
    ) -> Result<Cursor<'a>, ReadError> {
        labels.clear();
        let mut body = self.series_body(series)?;
        for _ in 0..body.uvarint()? {
            let pair = (body.uvarint_u32()?, body.uvarint_u32()?);
            if labels.last().is_some_and(|last| last.0 >= pair.0) {
                return Err(ReadError::Unsorted {
                    part: Part::Series,
                    offset: body.position() as u64,
                });
            }
            labels.push(pair);
        }
        Ok(body)
    }

    fn series_body(&self, series: u32) -> Result<Cursor<'a>, ReadError> {
        let part = Part::Series;
        let offset = match self.layout.version {
            IndexVersion::V1 => u64::from(series),
            IndexVersion::V2 => u64::from(series) * SERIES_ALIGNMENT,
        };
        let range = &self.layout.series;
        if offset < range.start as u64 || offset >= range.end as u64 {
            return Err(ReadError::OutOfBounds { part, offset });
        }
        let mut entry = Cursor::new(self.bytes, offset as usize, range.end, part)?;
        let length = entry.uvarint_u32()? as usize;
        let start = entry.position();
        let body = entry.take(length)?;
        if entry.u32()? != crc32c::crc32c(body) {
            return Err(ReadError::Checksum { part, offset });
        }
        Cursor::new(self.bytes, start, start + body.len(), part)
    }

    pub(super) fn postings_at(&self, offset: u64) -> Result<Postings<'a>, ReadError> {
        let mut section = Cursor::section(self.bytes, offset, Part::Postings)?;
        let count = section.u32()?;
        let postings = Postings::new(section.rest())
            .filter(|postings| postings.len() == count as usize)
            .ok_or_else(|| section.malformed("the list isn't as long as it says"))?;
        let range = &self.layout.series;
        let unit = match self.layout.version {
            IndexVersion::V1 => 1,
            IndexVersion::V2 => SERIES_ALIGNMENT,
        };
        let outside = |series: &u32| {
            let offset = u64::from(*series) * unit;
            offset < range.start as u64 || offset >= range.end as u64
        };
        let ends = [postings.peek(), postings.highest()];
        match ends.into_iter().flatten().find(outside) {
            Some(series) => Err(ReadError::OutOfBounds {
                part: Part::Series,
                offset: u64::from(series) * unit,
            }),
            None => Ok(postings),
        }
    }

    fn all_symbols(&self) -> Result<Cursor<'a>, ReadError> {
        let range = &self.layout.symbols.range;
        Cursor::new(self.bytes, range.start, range.end, Part::Symbols)
    }

    fn sampled_symbol(&self, place: u32) -> Result<Cursor<'a>, ReadError> {
        let range = &self.layout.symbols.range;
        let at = range.start + place as usize;
        Cursor::new(self.bytes, at, range.end, Part::Symbols)
    }

    /// A cursor before the symbol.
    fn symbol_cursor(&self, symbol: u32) -> Result<Cursor<'a>, ReadError> {
        let symbols = &self.layout.symbols;
        let unknown = ReadError::Malformed {
            part: Part::Symbols,
            offset: symbols.range.start as u64,
            what: "a label refers to a symbol that doesn't exist",
        };
        if self.layout.version == IndexVersion::V1 {
            let at = symbol as usize;
            if !symbols.range.contains(&at) {
                return Err(unknown);
            }
            return Cursor::new(self.bytes, at, symbols.range.end, Part::Symbols);
        }
        if symbol >= symbols.count {
            return Err(unknown);
        }
        let sampled = symbols.sampled.get((symbol / SYMBOLS_PER_SAMPLE) as usize);
        let mut cursor = self.sampled_symbol(*sampled.ok_or(unknown)?)?;
        for _ in 0..symbol % SYMBOLS_PER_SAMPLE {
            cursor.string_bytes()?;
        }
        Ok(cursor)
    }

    fn sampled_entry(&self, sample: u32) -> Result<Cursor<'a>, ReadError> {
        let table = &self.layout.table;
        let place = table.sampled.get(sample as usize);
        let out_of_bounds = ReadError::OutOfBounds {
            part: Part::PostingsTable,
            offset: table.range.end as u64,
        };
        let at = table.range.start + *place.ok_or(out_of_bounds)? as usize;
        Cursor::new(self.bytes, at, table.range.end, Part::PostingsTable)
    }

    fn table_text(&self, bytes: &'a [u8]) -> Result<&'a str, ReadError> {
        std::str::from_utf8(bytes).map_err(|_| ReadError::NotUtf8 {
            part: Part::PostingsTable,
            offset: self.layout.table.range.start as u64,
        })
    }

    fn find_name(&self, name: &str) -> Result<Option<NameEntries>, ReadError> {
        let names = &self.layout.table.names;
        let at = partition_point(names.len(), |at| {
            let Some(entries) = names.get(at) else {
                return Ok(false);
            };
            let entry = TableEntry::read(&mut self.sampled_entry(entries.first_sample)?)?;
            Ok(entry.name < name.as_bytes())
        })?;
        let Some(&entries) = names.get(at) else {
            return Ok(None);
        };
        let entry = TableEntry::read(&mut self.sampled_entry(entries.first_sample)?)?;
        Ok((entry.name == name.as_bytes()).then_some(entries))
    }

    pub(super) fn find_entry(
        &self,
        name: &str,
        value: &str,
    ) -> Result<Option<TableEntry<'a>>, ReadError> {
        let Some(entries) = self.find_name(name)? else {
            return Ok(None);
        };
        let value = value.as_bytes();
        let rank = self.values_below(entries, |known| known < value)?;
        if rank == entries.values {
            return Ok(None);
        }
        let found = TableEntry::read(&mut self.entry_cursor(entries, rank)?)?;
        Ok((found.value == value).then_some(found))
    }

    /// How many values of a label there are for which `below` holds, which are the first ones.
    fn values_below(
        &self,
        entries: NameEntries,
        below: impl Fn(&[u8]) -> bool,
    ) -> Result<u32, ReadError> {
        let stride = self.layout.table.stride.max(1);
        let samples = entries.values.div_ceil(stride);
        let above = partition_point(samples as usize, |sample| {
            let mut cursor = self.sampled_entry(entries.first_sample + sample as u32)?;
            Ok(below(TableEntry::read(&mut cursor)?.value))
        })? as u32;
        let Some(sample) = above.checked_sub(1) else {
            return Ok(0);
        };
        let mut cursor = self.sampled_entry(entries.first_sample + sample)?;
        let first = sample * stride;
        for rank in first..entries.values.min(first + stride) {
            if !below(TableEntry::read(&mut cursor)?.value) {
                return Ok(rank);
            }
        }
        Ok(entries.values.min(first + stride))
    }

    /// A cursor before the entry of a label's value of this rank.
    fn entry_cursor(&self, entries: NameEntries, rank: u32) -> Result<Cursor<'a>, ReadError> {
        let stride = self.layout.table.stride.max(1);
        let mut cursor = self.sampled_entry(entries.first_sample + rank / stride)?;
        for _ in 0..rank % stride {
            TableEntry::read(&mut cursor)?;
        }
        Ok(cursor)
    }
}

/// Values of one label in ascending order.
#[derive(Clone)]
pub struct LabelValues<'a> {
    reader: IndexReader<'a>,
    entries: NameEntries,
    next: u32,
    end: u32,
    /// Before the next entry, if that isn't the first of a sampled run.
    cursor: Option<Cursor<'a>>,
}

impl<'a> LabelValues<'a> {
    /// How many values are to come.
    pub fn len(&self) -> usize {
        self.end.saturating_sub(self.next) as usize
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next value and where its postings are.
    pub(super) fn next_entry(&mut self) -> Option<Result<(&'a str, u64), ReadError>> {
        if self.is_empty() {
            return None;
        }
        let read = self.read_entry();
        self.next = match read {
            Ok(_) => self.next + 1,
            Err(_) => self.end,
        };
        Some(read)
    }

    fn read_entry(&mut self) -> Result<(&'a str, u64), ReadError> {
        let stride = self.reader.layout.table.stride.max(1);
        let mut cursor = match self.cursor {
            Some(cursor) if !self.next.is_multiple_of(stride) => cursor,
            _ => self.reader.entry_cursor(self.entries, self.next)?,
        };
        let entry = TableEntry::read(&mut cursor)?;
        self.cursor = Some(cursor);
        let value = self.reader.table_text(entry.value)?;
        Ok((value, entry.postings_offset))
    }
}

impl<'a> Iterator for LabelValues<'a> {
    type Item = Result<&'a str, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.next_entry()?.map(|(value, _)| value))
    }

    /// An error ends it early.
    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.len()))
    }
}

fn read_chunks(body: &mut Cursor<'_>, chunks: &mut Vec<ChunkMeta>) -> Result<(), ReadError> {
    let mut previous: Option<ChunkMeta> = None;
    for _ in 0..body.uvarint()? {
        let start = *body;
        // Differences are of 64 bits that wrap, as an old block's chunk may start before the
        // end of the one before it.
        let min_ms = match previous {
            None => body.varint()?,
            Some(previous) => previous.max_ms.wrapping_add(body.uvarint()? as i64),
        };
        let max_ms = min_ms.wrapping_add(body.uvarint()? as i64);
        let chunk_ref = match previous {
            None => body.uvarint()?,
            Some(previous) => previous.chunk_ref.0.wrapping_add(body.varint()? as u64),
        };
        if max_ms < min_ms {
            return Err(start.malformed("a chunk ends before it starts"));
        }
        let chunk = ChunkMeta {
            min_ms,
            max_ms,
            chunk_ref: ChunkRef(chunk_ref),
        };
        chunks.push(chunk);
        previous = Some(chunk);
    }
    Ok(())
}

/// The first of `0..length` for which `below` doesn't hold.
fn partition_point(
    length: usize,
    mut below: impl FnMut(usize) -> Result<bool, ReadError>,
) -> Result<usize, ReadError> {
    let (mut start, mut end) = (0, length);
    while start < end {
        let middle = start.midpoint(end);
        if below(middle)? {
            start = middle + 1;
        } else {
            end = middle;
        }
    }
    Ok(start)
}
