//! What is in a block: which labels it has many of, which series come and go, how full its chunks
//! are. The figures of `promtool tsdb analyze`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use narthex_block_format::{ReadError, SeriesEntry};
use narthex_chunk::{Encoding, sample_count};
use narthex_model::{METRIC_NAME, Matcher};

use crate::{Block, Error};

/// A name with its figure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    pub name: String,
    pub value: u64,
}

/// Lists are sorted, the largest figure first, and cut at the limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Analysis {
    pub duration_ms: i64,
    pub series: u64,
    pub label_names: u64,
    /// How many different pairs of name and value there are.
    pub label_pairs: u64,
    /// How many pairs all series have together.
    pub label_pair_uses: u64,
    /// In series that were missing for the whole time of the block.
    pub churning_label_pairs: Vec<Figure>,
    pub churning_label_names: Vec<Figure>,
    /// In series.
    pub common_label_pairs: Vec<Figure>,
    /// In bytes.
    pub long_label_values: Vec<Figure>,
    /// In values.
    pub cardinal_labels: Vec<Figure>,
    /// In series.
    pub cardinal_metrics: Vec<Figure>,
}

/// Looks at the series that meet the matchers.
pub fn analyze(block: &Block, matchers: &[Matcher], limit: usize) -> Result<Analysis, Error> {
    let all = match matchers.is_empty() {
        true => block.all_series()?,
        false => block.matching(matchers)?,
    };
    let mut count = Count::default();
    let reading = count.read(block, &all);
    reading.map_err(Error::block(&block.index_path()))?;
    Ok(count.analysis(block, all.len() as u64, limit))
}

/// What is counted of a label pair.
#[derive(Clone, Copy, Default)]
struct Pair {
    series: u64,
    missing_ms: u64,
}

#[derive(Default)]
struct Count {
    /// By symbols.
    pairs: BTreeMap<(u32, u32), Pair>,
    uses: u64,
    /// By symbol, as text.
    texts: BTreeMap<u32, String>,
}

impl Count {
    fn read(&mut self, block: &Block, all: &[u32]) -> Result<(), ReadError> {
        let index = block.index();
        let duration_ms = block.max_ms().saturating_sub(block.min_ms());
        let mut entry = SeriesEntry::default();
        for series in all {
            index.series(*series, &mut entry)?;
            let present_ms = match (entry.chunks.first(), entry.chunks.last()) {
                (Some(first), Some(last)) => last.max_ms.saturating_sub(first.min_ms),
                _ => 0,
            };
            let missing_ms = u64::try_from(duration_ms.saturating_sub(present_ms)).unwrap_or(0);
            for labels in &entry.labels {
                let pair = self.pairs.entry(*labels).or_default();
                pair.series += 1;
                pair.missing_ms = pair.missing_ms.saturating_add(missing_ms);
                self.uses += 1;
            }
        }
        for symbol in self.pairs.keys().flat_map(|(name, value)| [*name, *value]) {
            if let Entry::Vacant(missing) = self.texts.entry(symbol) {
                missing.insert(index.symbol(symbol)?.to_owned());
            }
        }
        Ok(())
    }

    fn analysis(&self, block: &Block, series: u64, limit: usize) -> Analysis {
        let duration_ms = block.max_ms().saturating_sub(block.min_ms());
        let missing = |missing_ms: u64| missing_ms / u64::try_from(duration_ms.max(1)).unwrap_or(1);
        let by_pair = |figure: &dyn Fn(&Pair) -> u64| {
            let figures = self.pairs.iter().map(|((name, value), pair)| Figure {
                name: format!("{}={}", self.text(*name), self.text(*value)),
                value: figure(pair),
            });
            largest(figures.collect(), limit)
        };
        let churning = self.by_name(|sum, _, pair| sum.saturating_add(pair.missing_ms));
        let churning = churning.into_iter().map(|(name, sum)| (name, missing(sum)));
        let named = |sums: BTreeMap<u32, u64>| {
            let figures = sums.into_iter().map(|(name, value)| Figure {
                name: self.text(name).to_owned(),
                value,
            });
            largest(figures.collect(), limit)
        };
        let names = self.by_name(|sum, _, _| sum + 1);
        let metrics = self
            .pairs
            .iter()
            .filter(|((name, _), _)| self.text(*name) == METRIC_NAME);
        Analysis {
            duration_ms,
            series,
            label_names: names.len() as u64,
            label_pairs: self.pairs.len() as u64,
            label_pair_uses: self.uses,
            churning_label_pairs: by_pair(&|pair| missing(pair.missing_ms)),
            churning_label_names: named(churning.collect()),
            common_label_pairs: by_pair(&|pair| pair.series),
            long_label_values: named(self.by_name(|sum, text, _| sum + text.len() as u64)),
            cardinal_labels: named(names),
            cardinal_metrics: named(
                metrics
                    .map(|((_, value), pair)| (*value, pair.series))
                    .collect(),
            ),
        }
    }

    /// Sums something up over the values of each label name.
    fn by_name(&self, add: impl Fn(u64, &str, &Pair) -> u64) -> BTreeMap<u32, u64> {
        let mut sums = BTreeMap::new();
        for ((name, value), pair) in &self.pairs {
            let sum = sums.entry(*name).or_default();
            *sum = add(*sum, self.text(*value), pair);
        }
        sums
    }

    fn text(&self, symbol: u32) -> &str {
        self.texts.get(&symbol).map_or("", String::as_str)
    }
}

fn largest(mut figures: Vec<Figure>, limit: usize) -> Vec<Figure> {
    figures.sort_by(|a, b| b.value.cmp(&a.value).then_with(|| a.name.cmp(&b.name)));
    figures.truncate(limit);
    figures
}

/// How full the chunks of one encoding are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChunkFigures {
    pub chunks: u64,
    pub samples: u64,
    pub size_bytes: u64,
    /// Chunks with at most 30, 60, 120, 240, 480, 960 and more samples.
    pub by_samples: [u64; 7],
}

/// How full the chunks are, by encoding. Chunks that cannot be read are left out.
pub fn analyze_chunks(block: &Block) -> BTreeMap<u8, ChunkFigures> {
    const BOUNDS: [usize; 6] = [30, 60, 120, 240, 480, 960];
    let mut found: BTreeMap<u8, ChunkFigures> = BTreeMap::new();
    for segment in block.segments().iter().flatten() {
        for (_, chunk) in narthex_block_format::segment::walk(segment).flatten() {
            let encoding = Encoding::from_code(chunk.encoding);
            let Ok(samples) = encoding.and_then(|encoding| sample_count(encoding, chunk.data))
            else {
                continue;
            };
            let figures = found.entry(chunk.encoding).or_default();
            figures.chunks += 1;
            figures.samples += samples as u64;
            figures.size_bytes += chunk.data.len() as u64;
            let bucket = BOUNDS.partition_point(|bound| *bound < samples);
            if let Some(count) = figures.by_samples.get_mut(bucket) {
                *count += 1;
            }
        }
    }
    found
}
