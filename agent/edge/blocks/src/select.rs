//! Reading one block: which series meet matchers, and what labels they have.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use narthex_block_format::{
    ChunkMeta, ChunkRef, IndexReader, Interval, ReadError, SeriesEntry, Tombstones, matching,
};
use narthex_model::{CancelToken, Label, Labels, Matcher};
use narthex_storage::{LabelQuery, SelectQuery, Series, StorageError};

use crate::series::{BlockSeries, Chunks};
use crate::texts::{SharedTexts, Texts};
use crate::{Block, Error, folder, merge};

/// So many series are read between two looks at whether to go on.
const SERIES_PER_LOOK: usize = 256;
/// With so many series for each value of a label, values are looked for in the lists of series that
/// have them; else the series are read to see which they have.
const SERIES_PER_VALUE: usize = 64;

impl Block {
    /// The matching series that have samples in the range, sorted by labels.
    pub fn select(
        self: &Arc<Self>,
        query: &SelectQuery<'_>,
    ) -> Result<Vec<Box<dyn Series>>, Error> {
        self.select_sharing(query, None, &Texts::default().shared())
    }

    /// As [`Block::select`], with the labels of these names alone, if there are any names; texts of
    /// labels are taken of those that others use.
    pub(crate) fn select_sharing(
        self: &Arc<Self>,
        query: &SelectQuery<'_>,
        names: Option<&[Arc<str>]>,
        texts: &SharedTexts,
    ) -> Result<Vec<Box<dyn Series>>, Error> {
        if !self.overlaps(query.start_ms, query.end_ms) {
            return Ok(Vec::new());
        }
        let references = self.matching(query.matchers)?;
        let range = (query.start_ms, query.end_ms);
        let mut reader = SeriesReader::new(self.clone(), range, texts.clone());
        if let Some(names) = names {
            reader.shown =
                Some(Shown::new(names, &self.index()).map_err(Error::block(&self.index_path()))?);
        }
        let mut found: Vec<Box<dyn Series>> = Vec::with_capacity(references.len());
        for some in references.chunks(SERIES_PER_LOOK) {
            look(&query.cancel)?;
            found.extend(some.iter().filter_map(|series| reader.read_boxed(*series)));
        }
        Ok(found)
    }

    /// All series that have samples in the range (both inclusive), sorted by labels, each made when
    /// it is asked for.
    pub(crate) fn stream(
        self: &Arc<Self>,
        range_ms: (i64, i64),
        texts: &SharedTexts,
    ) -> Result<BlockStream, Error> {
        let references = self.all_series()?;
        Ok(BlockStream {
            references: references.into_iter(),
            reader: SeriesReader::new(self.clone(), range_ms, texts.clone()),
            rest: Vec::new(),
        })
    }

    /// Names of the labels that matching series have, sorted.
    pub fn label_names(&self, query: &LabelQuery<'_>) -> Result<Vec<Arc<str>>, Error> {
        if !self.overlaps(query.start_ms, query.end_ms) {
            return Ok(Vec::new());
        }
        if self.meets_all(query) {
            let names: Result<Vec<Arc<str>>, ReadError> = self
                .index()
                .label_names()
                .map(|name| Ok(name?.into()))
                .collect();
            return names.map_err(Error::block(&self.index_path()));
        }
        let mut symbols = BTreeSet::new();
        let matching = self.matching_any(query.matcher_sets)?;
        self.each_entry(&matching, query, |entry| {
            symbols.extend(entry.labels.iter().map(|(name, _)| *name));
        })?;
        self.texts(symbols)
    }

    /// Values of one label that matching series have, sorted.
    pub fn label_values(&self, name: &str, query: &LabelQuery<'_>) -> Result<Vec<Arc<str>>, Error> {
        if !self.overlaps(query.start_ms, query.end_ms) {
            return Ok(Vec::new());
        }
        let path = self.index_path();
        if self.meets_all(query) {
            let values = self.index().label_values(name);
            let values: Result<Vec<Arc<str>>, ReadError> = values
                .map_err(Error::block(&path))?
                .map(|value| Ok(value?.into()))
                .collect();
            return values.map_err(Error::block(&path));
        }
        let matching = self.matching_any(query.matcher_sets)?;
        let values = self.index().label_values(name);
        let values = values.map_err(Error::block(&path))?.count();
        if values <= matching.len() / SERIES_PER_VALUE {
            return self.values_of_some(name, &matching, query);
        }
        let name = self
            .index()
            .find_symbol(name)
            .map_err(Error::block(&path))?;
        let Some(name) = name else {
            return Ok(Vec::new());
        };
        let mut symbols = BTreeSet::new();
        self.each_entry(&matching, query, |entry| {
            let pair = entry.labels.iter().find(|(label, _)| *label == name);
            symbols.extend(pair.map(|(_, value)| *value));
        })?;
        self.texts(symbols)
    }

    /// The values of a label with few values: each is there as soon as one series has it.
    fn values_of_some(
        &self,
        name: &str,
        matching: &[u32],
        query: &LabelQuery<'_>,
    ) -> Result<Vec<Arc<str>>, Error> {
        let (index, path) = (self.index(), self.index_path());
        let values = index.label_values(name).map_err(Error::block(&path))?;
        let mut found = Vec::new();
        let mut entries = Entries::new(self, (query.start_ms, query.end_ms));
        for value in values {
            look(&query.cancel)?;
            let value = value.map_err(Error::block(&path))?;
            let having = index.postings(name, value);
            let mut having = having.map_err(Error::block(&path))?;
            let mut rest = matching;
            while let (Some(series), Some(&wanted)) = (having.peek(), rest.first()) {
                if series < wanted {
                    having.seek(wanted);
                } else if wanted < series {
                    let skipped = rest.partition_point(|wanted| *wanted < series);
                    rest = rest.get(skipped..).unwrap_or_default();
                } else if entries.read(series).is_some() {
                    found.push(value.into());
                    break;
                } else {
                    having.next();
                }
            }
        }
        Ok(found)
    }

    /// Label sets of the matching series, sorted.
    pub fn series(self: &Arc<Self>, query: &LabelQuery<'_>) -> Result<Vec<Labels>, Error> {
        if !self.overlaps(query.start_ms, query.end_ms) {
            return Ok(Vec::new());
        }
        let range = (query.start_ms, query.end_ms);
        let mut reader = SeriesReader::new(self.clone(), range, Texts::default().shared());
        let mut found = Vec::new();
        for chunk in self
            .matching_any(query.matcher_sets)?
            .chunks(SERIES_PER_LOOK)
        {
            look(&query.cancel)?;
            found.extend(
                chunk
                    .iter()
                    .filter_map(|series| reader.read_labels(*series)),
            );
        }
        Ok(found)
    }

    pub(crate) fn matching(&self, matchers: &[Matcher]) -> Result<Vec<u32>, Error> {
        matching(&self.index(), matchers).map_err(Error::block(&self.index_path()))
    }

    /// The series that meet any of the sets, ascending; all if there is none.
    pub(crate) fn matching_any(&self, sets: &[Vec<Matcher>]) -> Result<Vec<u32>, Error> {
        let [first, others @ ..] = sets else {
            return self.matching(&[]);
        };
        let mut found = self.matching(first)?;
        for set in others {
            found.extend(self.matching(set)?);
        }
        if !others.is_empty() {
            found.sort_unstable();
            found.dedup();
        }
        Ok(found)
    }

    /// All series, ascending. The oldest indexes have no list of them; then it is put together of
    /// the lists that there are.
    pub(crate) fn all_series(&self) -> Result<Vec<u32>, Error> {
        let index = self.index();
        let collect = || -> Result<Vec<u32>, ReadError> {
            let mut found: Vec<u32> = index.all_postings()?.collect();
            if !found.is_empty() {
                return Ok(found);
            }
            for name in index.label_names() {
                let name = name?;
                for value in index.label_values(name)? {
                    found.extend(index.postings(name, value?)?);
                }
            }
            found.sort_unstable();
            found.dedup();
            Ok(found)
        };
        collect().map_err(Error::block(&self.index_path()))
    }

    pub(crate) fn index_path(&self) -> std::path::PathBuf {
        self.path().join(folder::INDEX)
    }

    /// Whether every series of the block is meant, so that nothing has to be looked at but the
    /// index's tables.
    fn meets_all(&self, query: &LabelQuery<'_>) -> bool {
        let whole =
            query.start_ms <= self.min_ms() && self.max_ms() <= query.end_ms.saturating_add(1);
        let all = query.matcher_sets.is_empty() || query.matcher_sets.iter().any(Vec::is_empty);
        whole && all && self.tombstones().is_empty()
    }

    /// Calls `visit` with each of the series that has samples in the query's range.
    fn each_entry(
        &self,
        series: &[u32],
        query: &LabelQuery<'_>,
        mut visit: impl FnMut(&SeriesEntry),
    ) -> Result<(), Error> {
        let mut entries = Entries::new(self, (query.start_ms, query.end_ms));
        for some in series.chunks(SERIES_PER_LOOK) {
            look(&query.cancel)?;
            for series in some {
                if let Some(entry) = entries.read(*series) {
                    visit(entry);
                }
            }
        }
        Ok(())
    }

    /// The texts of symbols, sorted.
    fn texts(&self, symbols: BTreeSet<u32>) -> Result<Vec<Arc<str>>, Error> {
        let index = self.index();
        let texts = symbols
            .into_iter()
            .map(|symbol| Ok(index.symbol(symbol)?.into()));
        let texts: Result<Vec<Arc<str>>, ReadError> = texts.collect();
        texts.map_err(Error::block(&self.index_path()))
    }
}

/// Reads what the index has of one series after another.
struct Entries<'b> {
    block: &'b Block,
    index: IndexReader<'b>,
    tombstones: Arc<Tombstones>,
    range_ms: (i64, i64),
    entry: SeriesEntry,
}

impl<'b> Entries<'b> {
    fn new(block: &'b Block, range_ms: (i64, i64)) -> Self {
        Entries {
            index: block.index(),
            tombstones: block.tombstones(),
            range_ms,
            entry: SeriesEntry::default(),
            block,
        }
    }

    /// If the series has samples in the range.
    fn read(&mut self, series: u32) -> Option<&SeriesEntry> {
        if !read_entry(self.block, &self.index, series, &mut self.entry) {
            return None;
        }
        let wanted = |chunk: &ChunkMeta| is_wanted(chunk, self.range_ms, &self.tombstones, series);
        self.entry.chunks.iter().any(wanted).then_some(&self.entry)
    }
}

fn look(cancel: &CancelToken) -> Result<(), Error> {
    match cancel.reason() {
        Some(_) => Err(Error::Source(StorageError::Canceled)),
        None => Ok(()),
    }
}

/// Reads what the index has of a series; false if it cannot be read, which is reported.
fn read_entry(
    block: &Block,
    index: &IndexReader<'_>,
    series: u32,
    entry: &mut SeriesEntry,
) -> bool {
    match index.series(series, entry) {
        Ok(()) => true,
        Err(error) => {
            let error = Error::block(&block.index_path())(error);
            block.report_damage(Some(series), ChunkRef::default(), &error);
            false
        }
    }
}

/// Whether a chunk may have samples in the range that are not deleted.
fn is_wanted(
    chunk: &ChunkMeta,
    range_ms: (i64, i64),
    tombstones: &Tombstones,
    series: u32,
) -> bool {
    let (start_ms, end_ms) = range_ms;
    let span = Interval {
        min_ms: chunk.min_ms.max(start_ms),
        max_ms: chunk.max_ms.min(end_ms),
    };
    let deleted = tombstones.get(series);
    span.min_ms <= span.max_ms && !deleted.is_some_and(|deleted| deleted.covers(span))
}

/// Makes series from what the index has of them.
struct SeriesReader {
    block: Arc<Block>,
    range_ms: (i64, i64),
    tombstones: Arc<Tombstones>,
    /// By the symbols of name and value.
    labels: HashMap<(u32, u32), Arc<Label>, BySymbol>,
    texts: SharedTexts,
    entry: SeriesEntry,
    /// Symbols and labels of the series before, most of which the next one has, too.
    symbols_before: Vec<(u32, u32)>,
    labels_before: Vec<Arc<Label>>,
    /// If not all labels are shown.
    shown: Option<Shown>,
}

/// Symbols of name and value of some labels.
type Pairs = Vec<(u32, u32)>;

/// The labels that are shown, where not all are. Many series have the same ones.
struct Shown {
    /// Symbols.
    names: Vec<u32>,
    known: HashMap<Pairs, Labels, BySymbol>,
    /// Those of one series.
    pairs: Pairs,
}

impl Shown {
    fn new(names: &[Arc<str>], index: &IndexReader<'_>) -> Result<Self, ReadError> {
        let names = names.iter().map(|name| index.find_symbol(name));
        let names: Result<Vec<Option<u32>>, ReadError> = names.collect();
        Ok(Shown {
            names: names?.into_iter().flatten().collect(),
            known: HashMap::default(),
            pairs: Vec::new(),
        })
    }

    /// What is known of the labels of an entry, or which of them are to be shown.
    fn find(&mut self, entry: &SeriesEntry) -> Option<Labels> {
        let pairs = entry.labels.iter().copied();
        self.pairs.clear();
        self.pairs
            .extend(pairs.filter(|(name, _)| self.names.contains(name)));
        self.known.get(&self.pairs).cloned()
    }
}

impl SeriesReader {
    fn new(block: Arc<Block>, range_ms: (i64, i64), texts: SharedTexts) -> Self {
        SeriesReader {
            range_ms,
            tombstones: block.tombstones(),
            labels: HashMap::default(),
            texts,
            entry: SeriesEntry::default(),
            symbols_before: Vec::new(),
            labels_before: Vec::new(),
            shown: None,
            block,
        }
    }

    /// The series, if it has samples in the range.
    fn read_boxed(&mut self, series: u32) -> Option<Box<dyn Series>> {
        let labels = self.read_labels(series)?;
        if let Some(chunks) = self.chunks_in_order() {
            let chunks = chunks.into();
            return Some(Box::new(self.with_chunks(series, labels, chunks)));
        }
        let lanes = self.lanes(series, &labels).into_iter();
        let lanes = lanes.map(|lane| Box::new(lane) as Box<dyn Series>);
        Some(merge::join(lanes.collect()))
    }

    /// The series as one or, where chunks of it overlap, several that don't overlap in themselves.
    fn read(&mut self, series: u32) -> Vec<BlockSeries> {
        match self.read_labels(series) {
            Some(labels) => self.lanes(series, &labels),
            None => Vec::new(),
        }
    }

    fn lanes(&self, series: u32, labels: &Labels) -> Vec<BlockSeries> {
        let (start_ms, end_ms) = self.range_ms;
        let chunks = self.entry.chunks.iter().copied();
        let chunks = chunks.filter(|chunk| chunk.min_ms <= end_ms && start_ms <= chunk.max_ms);
        let lanes = lanes(chunks).into_iter();
        let lanes = lanes.map(|lane| self.with_chunks(series, labels.clone(), lane[..].into()));
        lanes.collect()
    }

    fn with_chunks(&self, series: u32, labels: Labels, chunks: Chunks) -> BlockSeries {
        let deleted = self.tombstones.get(series);
        BlockSeries {
            block: self.block.clone(),
            labels,
            chunks,
            range_ms: self.range_ms,
            deleted: deleted.map(|deleted| deleted.as_slice().into()),
        }
    }

    /// The chunks in the range, if those of the entry follow one another, as is usual.
    fn chunks_in_order(&self) -> Option<&[ChunkMeta]> {
        let (start_ms, end_ms) = self.range_ms;
        let chunks = &self.entry.chunks;
        if !are_in_order(chunks) {
            return None;
        }
        let start = chunks.partition_point(|chunk| chunk.max_ms < start_ms);
        let end = chunks.partition_point(|chunk| chunk.min_ms <= end_ms);
        chunks.get(start..end)
    }

    /// The labels of a series that has samples in the range. Leaves its entry behind.
    fn read_labels(&mut self, series: u32) -> Option<Labels> {
        let index = self.block.index();
        if !read_entry(&self.block, &index, series, &mut self.entry) {
            return None;
        }
        let (range_ms, tombstones) = (self.range_ms, &self.tombstones);
        let wanted = |chunk: &ChunkMeta| is_wanted(chunk, range_ms, tombstones, series);
        if !self.entry.chunks.iter().any(wanted) {
            return None;
        }
        let labels = match self.shown.take() {
            None => self.entry_labels(),
            Some(mut shown) => {
                let labels = self.shown_labels(&mut shown);
                self.shown = Some(shown);
                labels
            }
        };
        match labels {
            Ok(labels) => Some(labels),
            Err(error) => {
                let error = Error::block(&self.block.index_path())(error);
                self.block
                    .report_damage(Some(series), ChunkRef::default(), &error);
                None
            }
        }
    }

    /// The labels of the entry.
    fn entry_labels(&mut self) -> Result<Labels, ReadError> {
        self.symbols_before.truncate(self.entry.labels.len());
        self.labels_before.truncate(self.entry.labels.len());
        for place in 0..self.entry.labels.len() {
            let Some(&symbols) = self.entry.labels.get(place) else {
                break;
            };
            if self.symbols_before.get(place) == Some(&symbols) {
                continue;
            }
            let label = self.label(symbols)?;
            let slots = self.symbols_before.get_mut(place);
            match slots.zip(self.labels_before.get_mut(place)) {
                Some(slots) => (*slots.0, *slots.1) = (symbols, label),
                None => {
                    self.symbols_before.push(symbols);
                    self.labels_before.push(label);
                }
            }
        }
        // An empty value is as no label; no block of ours has one.
        let is_empty = |label: &Arc<Label>| label.value.is_empty();
        if self.labels_before.iter().any(is_empty) {
            let labels = self.labels_before.iter();
            let labels = labels.filter(|label| !is_empty(label)).cloned();
            return Ok(Labels::from_sorted(labels));
        }
        Ok(Labels::from_sorted(self.labels_before.iter().cloned()))
    }

    fn shown_labels(&mut self, shown: &mut Shown) -> Result<Labels, ReadError> {
        if let Some(known) = shown.find(&self.entry) {
            return Ok(known);
        }
        let mut labels = Vec::with_capacity(shown.pairs.len());
        for symbols in &shown.pairs {
            labels.push(self.label(*symbols)?);
        }
        labels.retain(|label| !label.value.is_empty());
        let labels = Labels::from_sorted(labels);
        shown.known.insert(shown.pairs.clone(), labels.clone());
        Ok(labels)
    }

    fn label(&mut self, symbols: (u32, u32)) -> Result<Arc<Label>, ReadError> {
        if let Some(label) = self.labels.get(&symbols) {
            return Ok(label.clone());
        }
        let index = self.block.index();
        let text = |symbol| Ok(self.texts.borrow_mut().get(index.symbol(symbol)?));
        let label = Arc::new(Label::new(text(symbols.0)?, text(symbols.1)?));
        self.labels.insert(symbols, label.clone());
        Ok(label)
    }
}

fn are_in_order(chunks: &[ChunkMeta]) -> bool {
    chunks.is_sorted_by(|a, b| a.max_ms < b.min_ms)
}

/// Spreads symbols, which are small numbers that nobody chooses, faster than what is safe for texts.
#[derive(Clone, Copy, Default)]
struct BySymbol(u64);

impl BuildHasher for BySymbol {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        *self
    }
}

impl Hasher for BySymbol {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, symbol: u32) {
        /// 2^64 divided by the golden ratio.
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        self.0 = (self.0 ^ u64::from(symbol)).wrapping_mul(SPREAD);
    }
}

/// Chunks as lists in which none overlaps with another: one list, save in old blocks.
fn lanes(chunks: impl Iterator<Item = ChunkMeta>) -> Vec<Vec<ChunkMeta>> {
    let mut chunks: Vec<ChunkMeta> = chunks.collect();
    if are_in_order(&chunks) {
        return vec![chunks];
    }
    chunks.sort_by_key(|chunk| (chunk.min_ms, chunk.chunk_ref));
    let mut lanes: Vec<Vec<ChunkMeta>> = Vec::new();
    for chunk in chunks {
        let is_free =
            |lane: &&mut Vec<ChunkMeta>| lane.last().is_none_or(|last| last.max_ms < chunk.min_ms);
        match lanes.iter_mut().find(is_free) {
            Some(lane) => lane.push(chunk),
            None => lanes.push(vec![chunk]),
        }
    }
    lanes
}

/// All series of a block, one after another.
pub(crate) struct BlockStream {
    references: std::vec::IntoIter<u32>,
    reader: SeriesReader,
    /// Further lanes of the series given last, the next one at the end.
    rest: Vec<BlockSeries>,
}

impl Iterator for BlockStream {
    type Item = Result<BlockSeries, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(lane) = self.rest.pop() {
                return Some(Ok(lane));
            }
            self.rest = self.reader.read(self.references.next()?);
            self.rest.reverse();
        }
    }
}
