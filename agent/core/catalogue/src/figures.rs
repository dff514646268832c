//! What a catalogue tells of itself: where its series come from and what they take.

use std::collections::BTreeMap;

use narthex_model::METRIC_NAME;

/// A name and how much there is of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figure {
    pub name: String,
    pub value: u64,
}

/// The largest of each kind, largest first; equal ones by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cardinality {
    pub series_by_metric_name: Vec<Figure>,
    pub values_by_label_name: Vec<Figure>,
    /// The length of each value times the series that have it, as Prometheus counts it.
    pub value_bytes_by_label_name: Vec<Figure>,
    /// Named `label=value`.
    pub series_by_label_pair: Vec<Figure>,
    /// Different pairs of name and value.
    pub label_pairs: u64,
}

/// How much there is of each thing, and the memory each part takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    pub series: usize,
    pub label_names: usize,
    pub label_pairs: usize,
    /// The strings, and the tables that find them.
    pub symbol_bytes: usize,
    /// Which labels each series has.
    pub label_set_bytes: usize,
    /// From label sets to series.
    pub table_bytes: usize,
    /// From labels to series.
    pub postings_bytes: usize,
}

impl Sizes {
    pub fn total_bytes(&self) -> usize {
        self.symbol_bytes + self.label_set_bytes + self.table_bytes + self.postings_bytes
    }
}

pub(crate) fn cardinality(counts: &BTreeMap<(&str, &str), u64>, limit: usize) -> Cardinality {
    let mut values: BTreeMap<&str, u64> = BTreeMap::new();
    let mut bytes: BTreeMap<&str, u64> = BTreeMap::new();
    let mut series = BTreeMap::new();
    for ((name, value), count) in counts {
        *values.entry(name).or_default() += 1;
        *bytes.entry(name).or_default() += value.len() as u64 * count;
        if *name == METRIC_NAME {
            series.insert(*value, *count);
        }
    }
    let pairs = counts.iter().map(|((n, v), c)| (format!("{n}={v}"), *c));
    Cardinality {
        series_by_metric_name: largest(owned(series), limit),
        values_by_label_name: largest(owned(values), limit),
        value_bytes_by_label_name: largest(owned(bytes), limit),
        series_by_label_pair: largest(pairs.collect(), limit),
        label_pairs: counts.len() as u64,
    }
}

fn owned(counts: BTreeMap<&str, u64>) -> Vec<(String, u64)> {
    let counts = counts.into_iter();
    counts
        .map(|(name, count)| (name.to_owned(), count))
        .collect()
}

fn largest(mut counts: Vec<(String, u64)>, limit: usize) -> Vec<Figure> {
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let counts = counts.into_iter().take(limit);
    counts.map(|(name, value)| Figure { name, value }).collect()
}
