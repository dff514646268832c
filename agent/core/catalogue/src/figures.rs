//! What a catalogue tells of itself: where its series come from and what they take.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use narthex_model::METRIC_NAME;

use crate::label_index::LabelIndex;

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

pub(crate) fn cardinality(index: &LabelIndex, limit: usize) -> Cardinality {
    let mut metrics = Largest::new(limit);
    let mut values = Largest::new(limit);
    let mut bytes = Largest::new(limit);
    let mut pairs = Largest::new(limit);
    for number in index.names() {
        let name = &**index.name(number);
        let mut value_bytes = 0;
        for &label in index.labels_of(number) {
            let value = &**index.value(label);
            let series = index.series(label).len() as u64;
            value_bytes += value.len() as u64 * series;
            pairs.add(series, (name, value));
            if name == METRIC_NAME {
                metrics.add(series, (value, ""));
            }
        }
        values.add(index.labels_of(number).len() as u64, (name, ""));
        bytes.add(value_bytes, (name, ""));
    }
    let alone = |(name, _): (&str, &str)| name.to_owned();
    Cardinality {
        series_by_metric_name: metrics.figures(alone),
        values_by_label_name: values.figures(alone),
        value_bytes_by_label_name: bytes.figures(alone),
        series_by_label_pair: pairs.figures(|(name, value)| format!("{name}={value}")),
        label_pairs: index.label_count() as u64,
    }
}

/// Keeps the largest that it was given.
struct Largest<'a> {
    limit: usize,
    /// The least of them on top: of the smallest value, the last by name.
    heap: BinaryHeap<(Reverse<u64>, (&'a str, &'a str))>,
}

impl<'a> Largest<'a> {
    fn new(limit: usize) -> Self {
        Largest {
            limit,
            heap: BinaryHeap::new(),
        }
    }

    fn add(&mut self, value: u64, name: (&'a str, &'a str)) {
        let entry = (Reverse(value), name);
        if self.heap.len() < self.limit {
            self.heap.push(entry);
        } else if let Some(mut least) = self.heap.peek_mut()
            && entry < *least
        {
            *least = entry;
        }
    }

    fn figures(self, name_of: impl Fn((&str, &str)) -> String) -> Vec<Figure> {
        let sorted = self.heap.into_sorted_vec().into_iter();
        let figures = sorted.map(|(Reverse(value), name)| Figure {
            name: name_of(name),
            value,
        });
        figures.collect()
    }
}
