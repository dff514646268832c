//! Writes an index of version 2.
//!
//! Symbols come first, then the series in label order; the postings follow at the end. Until then
//! their content is kept as one list of bytes per label name, in which each series that has the
//! label takes about two bytes: the distance from the series before and the difference of the
//! value's symbol. Ten million label pairs take about 25 MB so, and no pass over what was written
//! is needed: it can go to anything that takes bytes. The symbols' text is kept as well.

use std::collections::BTreeMap;
use std::io::Write;

use crate::bytes::{CHECKSUM_BYTES, Cursor, put_string, put_uvarint, put_varint, uvarint_bytes};
use crate::index::reader::ChunkMeta;
use crate::index::{ALL_POSTINGS, HEADER_BYTES, MAGIC, SERIES_ALIGNMENT};
use crate::{Part, WriteError};

const VERSION: u8 = 2;
/// References to series are of 32 bits and count units of 16 bytes.
const MAX_INDEX_BYTES: u64 = SERIES_ALIGNMENT << 32;

pub struct IndexWriter<W> {
    out: Counted<W>,
    symbols: SymbolTable,
    /// By name symbol, which is in label order.
    columns: BTreeMap<u32, Column>,
    all: Column,
    previous: Vec<(u32, u32)>,
    series_start: u64,
    stats: IndexStats,
    body: Vec<u8>,
    length: Vec<u8>,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexStats {
    pub series: u64,
    pub chunks: u64,
    pub symbols: u64,
    pub label_pairs: u64,
    pub size_bytes: u64,
}

impl<W: Write> IndexWriter<W> {
    /// Writes header and symbols. The symbols ascend and hold every name and value of the series;
    /// series refer to them by their rank.
    pub fn new<S: AsRef<str>>(
        out: W,
        symbols: impl IntoIterator<Item = S>,
    ) -> Result<Self, WriteError> {
        let mut out = Counted { out, position: 0 };
        let mut header = MAGIC.to_be_bytes().to_vec();
        header.push(VERSION);
        out.write(&header)?;
        let symbols = SymbolTable::collect(symbols)?;
        out.write_section(Part::Symbols, &symbols.body)?;
        Ok(IndexWriter {
            stats: IndexStats {
                symbols: u64::from(symbols.count()),
                ..IndexStats::default()
            },
            series_start: out.position,
            out,
            symbols,
            columns: BTreeMap::new(),
            all: Column::default(),
            previous: Vec::new(),
            body: Vec::new(),
            length: Vec::new(),
        })
    }

    /// The rank of a symbol.
    pub fn symbol(&self, text: &str) -> Option<u32> {
        self.symbols.find(text)
    }

    /// Adds a series with the symbols of its labels, sorted by name, and its chunks in ascending
    /// time. Series come in the order of their labels. Gives what refers to the series.
    pub fn add_series(
        &mut self,
        labels: &[(u32, u32)],
        chunks: &[ChunkMeta],
    ) -> Result<u32, WriteError> {
        self.check_labels(labels)?;
        self.out.align(SERIES_ALIGNMENT)?;
        let series = u32::try_from(self.out.position / SERIES_ALIGNMENT);
        let series = series.map_err(|_| index_too_large())?;
        self.body.clear();
        put_labels(&mut self.body, labels);
        let position = self.stats.series;
        put_chunks(&mut self.body, chunks).map_err(|what| invalid_series(position, what))?;
        self.length.clear();
        put_uvarint(&mut self.length, self.body.len() as u64);
        let checksum = crc32c::crc32c(&self.body);
        self.out.write(&self.length)?;
        self.out.write(&self.body)?;
        self.out.write(&checksum.to_be_bytes())?;
        for &(name, value) in labels {
            self.columns.entry(name).or_default().push(series, value);
        }
        self.all.push(series, 0);
        self.previous.clear();
        self.previous.extend_from_slice(labels);
        self.stats.series += 1;
        self.stats.chunks += chunks.len() as u64;
        Ok(series)
    }

    /// What this takes of memory: it grows with every label of every series.
    pub fn memory_bytes(&self) -> usize {
        let columns = self.columns.values().chain([&self.all]);
        let columns: usize = columns.map(|column| column.bytes.capacity()).sum();
        let starts = self.symbols.starts.capacity() * size_of::<u32>();
        columns + starts + self.symbols.body.capacity()
    }

    /// Writes postings, their table and the table of contents, and gives the output back.
    pub fn finish(mut self) -> Result<(W, IndexStats), WriteError> {
        let series_end = self.out.position;
        let mut table = PostingsTable::default();
        let all = std::mem::take(&mut self.all);
        table.write_lists(&mut self.out, None, &all)?;
        while let Some((name, column)) = self.columns.pop_first() {
            table.write_lists(&mut self.out, Some(name), &column)?;
        }
        self.stats.label_pairs = table.entries.len().saturating_sub(1) as u64;
        let table_start = self.out.position;
        table.write(&mut self.out, &self.symbols)?;
        let contents = [
            HEADER_BYTES as u64,
            self.series_start,
            series_end,
            table_start,
            series_end,
            table_start,
        ];
        let contents: Vec<u8> = contents.into_iter().flat_map(u64::to_be_bytes).collect();
        self.out.write(&contents)?;
        self.out.write(&crc32c::crc32c(&contents).to_be_bytes())?;
        self.out.out.flush()?;
        self.stats.size_bytes = self.out.position;
        Ok((self.out.out, self.stats))
    }

    fn check_labels(&self, labels: &[(u32, u32)]) -> Result<(), WriteError> {
        let position = self.stats.series;
        let invalid = |what| Err(invalid_series(position, what));
        let count = self.symbols.count();
        if labels.iter().any(|&(name, value)| name.max(value) >= count) {
            return invalid("a label's symbol doesn't exist");
        }
        if !labels.is_sorted_by(|a, b| a.0 < b.0) {
            return invalid("its labels aren't sorted");
        }
        // The empty text is the first symbol if it is one.
        let is_empty = |symbol| symbol == 0 && self.symbols.first_is_empty;
        if labels
            .iter()
            .any(|&(name, value)| is_empty(name) || is_empty(value))
        {
            return invalid("a label's name or value is empty");
        }
        if position > 0 && self.previous.as_slice() >= labels {
            return Err(WriteError::Unsorted {
                part: Part::Series,
                position,
            });
        }
        Ok(())
    }
}

fn put_labels(out: &mut Vec<u8>, labels: &[(u32, u32)]) {
    put_uvarint(out, labels.len() as u64);
    for &(name, value) in labels {
        put_uvarint(out, u64::from(name));
        put_uvarint(out, u64::from(value));
    }
}

fn put_chunks(out: &mut Vec<u8>, chunks: &[ChunkMeta]) -> Result<(), &'static str> {
    put_uvarint(out, chunks.len() as u64);
    let mut previous: Option<&ChunkMeta> = None;
    for chunk in chunks {
        if chunk.max_ms < chunk.min_ms {
            return Err("a chunk ends before it starts");
        }
        match previous {
            None => put_varint(out, chunk.min_ms),
            Some(previous) if chunk.min_ms <= previous.max_ms => {
                return Err("a chunk starts before the one before it ends");
            }
            Some(previous) => put_uvarint(out, chunk.min_ms.wrapping_sub(previous.max_ms) as u64),
        }
        put_uvarint(out, chunk.max_ms.wrapping_sub(chunk.min_ms) as u64);
        match previous {
            None => put_uvarint(out, chunk.chunk_ref.0),
            Some(previous) => {
                let step = chunk.chunk_ref.0.wrapping_sub(previous.chunk_ref.0);
                put_varint(out, step as i64);
            }
        }
        previous = Some(chunk);
    }
    Ok(())
}

fn invalid_series(position: u64, what: &'static str) -> WriteError {
    WriteError::Invalid {
        part: Part::Series,
        position,
        what,
    }
}

fn index_too_large() -> WriteError {
    WriteError::TooLarge {
        part: Part::Series,
        limit_bytes: MAX_INDEX_BYTES,
    }
}

/// The symbols' section as it is written, and where each one starts in it.
struct SymbolTable {
    body: Vec<u8>,
    starts: Vec<u32>,
    first_is_empty: bool,
}

impl SymbolTable {
    fn collect<S: AsRef<str>>(symbols: impl IntoIterator<Item = S>) -> Result<Self, WriteError> {
        let part = Part::Symbols;
        let mut table = SymbolTable {
            body: vec![0; size_of::<u32>()],
            starts: Vec::new(),
            first_is_empty: false,
        };
        for (position, symbol) in (0..).zip(symbols) {
            let symbol = symbol.as_ref();
            let last = table
                .count()
                .checked_sub(1)
                .and_then(|last| table.get(last));
            if last.is_some_and(|last| last >= symbol.as_bytes()) {
                return Err(WriteError::Unsorted { part, position });
            }
            let start = u32::try_from(table.body.len());
            table
                .starts
                .push(start.map_err(|_| section_too_large(part))?);
            put_string(&mut table.body, symbol);
        }
        table.first_is_empty = table.get(0) == Some(b"");
        let count = u32::try_from(table.starts.len()).map_err(|_| section_too_large(part))?;
        if let Some(head) = table.body.first_chunk_mut() {
            *head = count.to_be_bytes();
        }
        Ok(table)
    }

    fn count(&self) -> u32 {
        self.starts.len() as u32
    }

    fn get(&self, rank: u32) -> Option<&[u8]> {
        let start = *self.starts.get(rank as usize)? as usize;
        let mut cursor = Cursor::new(&self.body, start, self.body.len(), Part::Symbols).ok()?;
        cursor.string_bytes().ok()
    }

    fn find(&self, text: &str) -> Option<u32> {
        let start_of = |start: &u32| {
            let start = *start as usize;
            let cursor = Cursor::new(&self.body, start, self.body.len(), Part::Symbols);
            cursor.and_then(|mut cursor| cursor.string_bytes()).ok()
        };
        let found = self
            .starts
            .binary_search_by(|start| start_of(start).cmp(&Some(text.as_bytes())));
        found.ok().map(|rank| rank as u32)
    }
}

/// The values of one label by series, as differences.
#[derive(Default)]
struct Column {
    bytes: Vec<u8>,
    count: usize,
    last_series: u32,
    last_value: u32,
}

impl Column {
    fn push(&mut self, series: u32, value: u32) {
        put_uvarint(
            &mut self.bytes,
            u64::from(series.wrapping_sub(self.last_series)),
        );
        put_varint(
            &mut self.bytes,
            i64::from(value) - i64::from(self.last_value),
        );
        self.count += 1;
        self.last_series = series;
        self.last_value = value;
    }

    /// Value and series of each entry as one number, so that sorting them groups them by value
    /// and leaves the series of each value in order.
    fn by_value(&self) -> Vec<u64> {
        let mut entries = Vec::with_capacity(self.count);
        let (mut series, mut value) = (0u32, 0i64);
        let cursor = Cursor::new(&self.bytes, 0, self.bytes.len(), Part::Postings);
        let Ok(mut cursor) = cursor else {
            return entries;
        };
        while let (Ok(step), Ok(difference)) = (cursor.uvarint(), cursor.varint()) {
            series = series.wrapping_add(step as u32);
            value += difference;
            entries.push((value as u64) << 32 | u64::from(series));
        }
        entries.sort_unstable();
        entries
    }
}

/// What the postings table needs to know of each list written.
#[derive(Default)]
struct PostingsTable {
    entries: Vec<TableEntry>,
    /// Where the first list is; the others follow each other without gaps.
    first_offset: u64,
}

struct TableEntry {
    /// Name and value; none for the list of all series.
    label: Option<(u32, u32)>,
    series: u32,
}

impl PostingsTable {
    fn write_lists<W: Write>(
        &mut self,
        out: &mut Counted<W>,
        name: Option<u32>,
        column: &Column,
    ) -> Result<(), WriteError> {
        if self.entries.is_empty() {
            out.align(4)?;
            self.first_offset = out.position;
        }
        let entries = column.by_value();
        let mut body = Vec::new();
        for group in entries.chunk_by(|a, b| a >> 32 == b >> 32) {
            let value = group.first().map_or(0, |entry| (entry >> 32) as u32);
            self.write_list(out, name.map(|name| (name, value)), group, &mut body)?;
        }
        if entries.is_empty() {
            self.write_list(out, None, &[], &mut body)?;
        }
        Ok(())
    }

    /// The low halves of `group` are the series.
    fn write_list<W: Write>(
        &mut self,
        out: &mut Counted<W>,
        label: Option<(u32, u32)>,
        group: &[u64],
        body: &mut Vec<u8>,
    ) -> Result<(), WriteError> {
        let count = u32::try_from(group.len());
        let series = count.map_err(|_| section_too_large(Part::Postings))?;
        body.clear();
        body.extend_from_slice(&series.to_be_bytes());
        for entry in group {
            body.extend_from_slice(&(*entry as u32).to_be_bytes());
        }
        out.write_section(Part::Postings, body)?;
        self.entries.push(TableEntry { label, series });
        Ok(())
    }

    fn write<W: Write>(
        &self,
        out: &mut Counted<W>,
        symbols: &SymbolTable,
    ) -> Result<(), WriteError> {
        let part = Part::PostingsTable;
        let entries = u32::try_from(self.entries.len()).map_err(|_| section_too_large(part))?;
        let text_bytes = |symbol: &[u8]| uvarint_bytes(symbol.len() as u64) + symbol.len() as u64;
        let mut length = size_of::<u32>() as u64;
        self.visit(symbols, |name, value, offset| {
            length += 1 + text_bytes(name) + text_bytes(value) + uvarint_bytes(offset);
            Ok(())
        })?;
        let length = u32::try_from(length).map_err(|_| section_too_large(part))?;
        out.write(&length.to_be_bytes())?;
        out.write(&entries.to_be_bytes())?;
        let mut checksum = crc32c::crc32c(&entries.to_be_bytes());
        let mut entry = Vec::new();
        self.visit(symbols, |name, value, offset| {
            entry.clear();
            put_uvarint(&mut entry, 2);
            for symbol in [name, value] {
                put_uvarint(&mut entry, symbol.len() as u64);
                entry.extend_from_slice(symbol);
            }
            put_uvarint(&mut entry, offset);
            checksum = crc32c::crc32c_append(checksum, &entry);
            out.write(&entry)
        })?;
        out.write(&checksum.to_be_bytes())
    }

    /// Gives name, value and offset of each list.
    fn visit(
        &self,
        symbols: &SymbolTable,
        mut entry: impl FnMut(&[u8], &[u8], u64) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        const FRAMING_BYTES: u64 = 4 + 4 + CHECKSUM_BYTES as u64;
        let mut offset = self.first_offset;
        for TableEntry { label, series } in &self.entries {
            let (name, value) = match label {
                None => (ALL_POSTINGS.0.as_bytes(), ALL_POSTINGS.1.as_bytes()),
                Some((name, value)) => (
                    symbols.get(*name).unwrap_or_default(),
                    symbols.get(*value).unwrap_or_default(),
                ),
            };
            entry(name, value, offset)?;
            offset += FRAMING_BYTES + 4 * u64::from(*series);
        }
        Ok(())
    }
}

fn section_too_large(part: Part) -> WriteError {
    WriteError::TooLarge {
        part,
        limit_bytes: u64::from(u32::MAX),
    }
}

/// Counts what goes to the output.
struct Counted<W> {
    out: W,
    position: u64,
}

impl<W: Write> Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.out.write_all(bytes)?;
        self.position += bytes.len() as u64;
        if self.position > MAX_INDEX_BYTES {
            return Err(index_too_large());
        }
        Ok(())
    }

    /// Length, body, CRC.
    fn write_section(&mut self, part: Part, body: &[u8]) -> Result<(), WriteError> {
        let length = u32::try_from(body.len()).map_err(|_| section_too_large(part))?;
        self.write(&length.to_be_bytes())?;
        self.write(body)?;
        self.write(&crc32c::crc32c(body).to_be_bytes())
    }

    fn align(&mut self, unit: u64) -> Result<(), WriteError> {
        const ZEROS: [u8; SERIES_ALIGNMENT as usize] = [0; SERIES_ALIGNMENT as usize];
        let missing = self.position.next_multiple_of(unit) - self.position;
        self.write(ZEROS.get(..missing as usize).unwrap_or_default())
    }
}
