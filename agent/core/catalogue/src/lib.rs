//! Which series there are: labels to ids, matchers to ids.
//!
//! A [`Catalogue`] keeps, for each series, its label set under a number its owner chose (dense
//! `u32`s; the number of a removed series may come back for other labels), finds the number of a
//! label set, and the numbers that meet matchers. Many may read it or one may change it: its owner
//! puts it behind a lock. It knows nothing of samples, files or time.

mod errors;
mod figures;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::Arc;

use narthex_model::matcher::all_match;
use narthex_model::{CancelToken, Labels, Matcher};

pub use errors::{Canceled, ImportError, InsertError};
pub use figures::{Cardinality, Figure, Sizes};

/// The series of a store: see the module's page.
#[derive(Default)]
pub struct Catalogue {
    by_id: BTreeMap<u32, Labels>,
    by_labels: HashMap<Labels, u32>,
}

/// The labels that the series of one log record are made of; a series names them by index. It
/// remembers what the catalogue calls them, so that each is looked up once for all its series.
pub struct LabelTable<'a> {
    labels: Vec<(&'a str, &'a str)>,
}

impl<'a> LabelTable<'a> {
    /// From pairs of name and value in any order.
    pub fn new(labels: Vec<(&'a str, &'a str)>) -> Self {
        LabelTable { labels }
    }
}

impl Catalogue {
    /// The series of exactly these labels.
    pub fn find(&self, labels: &Labels) -> Option<u32> {
        self.by_labels.get(labels).copied()
    }

    /// Adds a series. Refused, without any change, if the id or the labels are in use.
    pub fn insert(&mut self, id: u32, labels: &Labels) -> Result<(), InsertError> {
        if labels.is_empty() {
            return Err(InsertError::NoLabels);
        }
        if self.by_id.contains_key(&id) {
            return Err(InsertError::IdInUse(id));
        }
        if let Some(existing) = self.find(labels) {
            return Err(InsertError::LabelsInUse(existing));
        }
        self.by_id.insert(id, labels.clone());
        self.by_labels.insert(labels.clone(), id);
        Ok(())
    }

    /// As [`Catalogue::insert`], from text that was read back: names and values, sorted by name.
    pub fn insert_text(&mut self, id: u32, labels: &[(&str, &str)]) -> Result<(), InsertError> {
        let sorted = labels.windows(2).all(|w| w[0].0 < w[1].0);
        if !sorted || labels.iter().any(|(_, value)| value.is_empty()) {
            return Err(InsertError::NotALabelSet);
        }
        self.insert(id, &Labels::from_pairs(labels.iter().copied()))
    }

    /// As [`Catalogue::insert_text`], for many series that share labels: `indexes` are places in
    /// `table`, in the order of the names.
    pub fn insert_indexed(
        &mut self,
        id: u32,
        table: &mut LabelTable<'_>,
        indexes: &[u32],
    ) -> Result<(), InsertError> {
        let labels: Option<Vec<_>> = indexes
            .iter()
            .map(|&at| table.labels.get(at as usize).copied())
            .collect();
        self.insert_text(id, &labels.ok_or(InsertError::NotALabelSet)?)
    }

    /// Removes series; ids that are not in use are passed over. Cheaper a series the more are
    /// removed at once.
    pub fn remove(&mut self, ids: &[u32]) {
        for id in ids {
            if let Some(labels) = self.by_id.remove(id) {
                self.by_labels.remove(&labels);
            }
        }
    }

    pub fn contains(&self, id: u32) -> bool {
        self.by_id.contains_key(&id)
    }

    pub fn series_count(&self) -> usize {
        self.by_id.len()
    }

    /// The label set of a series, made of the strings the catalogue shares.
    pub fn labels(&self, id: u32) -> Option<Labels> {
        self.by_id.get(&id).cloned()
    }

    /// Name and value of each label of a series, sorted by name, without making a [`Labels`].
    pub fn each_label(&self, id: u32) -> Option<impl Iterator<Item = (&Arc<str>, &Arc<str>)>> {
        let labels = self.by_id.get(&id)?;
        Some(labels.iter().map(|label| (&label.name, &label.value)))
    }

    /// Orders two series by their labels, as `Labels: Ord` does; ids not in use come first.
    pub fn compare(&self, a: u32, b: u32) -> Ordering {
        self.by_id.get(&a).cmp(&self.by_id.get(&b))
    }

    /// Sorts series by their labels. Much faster than sorting with [`Catalogue::compare`].
    pub fn sort_by_labels(&self, ids: &mut [u32]) {
        ids.sort_by(|&a, &b| self.compare(a, b));
    }

    /// Whether a series meets every matcher; false for an id that is not in use.
    pub fn matches(&self, id: u32, matchers: &[Matcher]) -> bool {
        self.by_id
            .get(&id)
            .is_some_and(|labels| all_match(matchers, labels))
    }

    /// The series that meet every matcher (all series, where there is none), ascending.
    pub fn matching(
        &self,
        matchers: &[Matcher],
        cancel: &CancelToken,
    ) -> Result<Vec<u32>, Canceled> {
        if let Some(reason) = cancel.reason() {
            return Err(Canceled(reason));
        }
        let series = self.by_id.iter();
        let hits = series.filter(|(_, labels)| all_match(matchers, labels));
        Ok(hits.map(|(&id, _)| id).collect())
    }

    /// The names of the labels that these series have (all series, where `ids` is `None`), sorted.
    pub fn label_names(&self, ids: Option<&[u32]>) -> Vec<Arc<str>> {
        let names: BTreeSet<Arc<str>> = self
            .chosen(ids)
            .flat_map(|labels| labels.iter().map(|label| label.name.clone()))
            .collect();
        names.into_iter().collect()
    }

    /// The values that these series (all, where `ids` is `None`) have for a label, sorted.
    pub fn label_values(&self, name: &str, ids: Option<&[u32]>) -> Vec<Arc<str>> {
        let values: BTreeSet<Arc<str>> = self
            .chosen(ids)
            .filter_map(|labels| labels.get_shared(name).cloned())
            .collect();
        values.into_iter().collect()
    }

    fn chosen<'a>(&'a self, ids: Option<&'a [u32]>) -> impl Iterator<Item = &'a Labels> {
        let all = self.by_id.iter();
        all.filter(move |(id, _)| ids.is_none_or(|ids| ids.contains(id)))
            .map(|(_, labels)| labels)
    }

    /// The `limit` largest of each kind, largest first.
    pub fn cardinality(&self, limit: usize) -> Cardinality {
        let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for label in self.by_id.values().flat_map(Labels::iter) {
            *counts.entry((&label.name, &label.value)).or_default() += 1;
        }
        figures::cardinality(&counts, limit)
    }

    /// How much there is of each thing, and the memory it takes.
    pub fn sizes(&self) -> Sizes {
        Sizes {
            series: self.by_id.len(),
            ..Sizes::default()
        }
    }

    /// Writes the whole catalogue, for [`Catalogue::import`].
    pub fn export(&self, out: &mut dyn io::Write) -> io::Result<()> {
        for (id, labels) in &self.by_id {
            for label in labels.iter() {
                for text in [&label.name, &label.value] {
                    out.write_all(&id.to_le_bytes())?;
                    out.write_all(&(text.len() as u32).to_le_bytes())?;
                    out.write_all(text.as_bytes())?;
                }
            }
        }
        Ok(())
    }

    /// Reads what [`Catalogue::export`] wrote. Whatever the bytes, it gives a sound catalogue or an
    /// error; it does not notice every damage, so keep a checksum beside them.
    pub fn import(bytes: &[u8]) -> Result<Self, ImportError> {
        let mut catalogue = Catalogue::default();
        let mut sets: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let number = |at: usize| -> Option<u32> {
                let bytes = rest.get(at..at + 4)?;
                Some(u32::from_le_bytes(bytes.try_into().ok()?))
            };
            let damaged = ImportError::Damaged("a label");
            let (Some(id), Some(length)) = (number(0), number(4)) else {
                return Err(damaged);
            };
            let text = rest.get(8..8 + length as usize);
            let text = text.and_then(|text| str::from_utf8(text).ok());
            let Some(text) = text else {
                return Err(damaged);
            };
            sets.entry(id).or_default().push(text);
            rest = &rest[8 + text.len()..];
        }
        for (id, texts) in sets {
            let labels: Vec<_> = texts.chunks_exact(2).map(|c| (c[0], c[1])).collect();
            let inserted = catalogue.insert_text(id, &labels);
            inserted.map_err(|_| ImportError::Damaged("a label set"))?;
        }
        Ok(catalogue)
    }
}
