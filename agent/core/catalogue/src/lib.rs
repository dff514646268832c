//! Which series there are: labels to ids, matchers to ids.
//!
//! A [`Catalogue`] keeps, for each series, its label set under a number its owner chose (dense
//! `u32`s; the number of a removed series may come back for other labels), finds the number of a
//! label set, and the numbers that meet matchers. Many may read it or one may change it: its owner
//! puts it behind a lock. It knows nothing of samples, files or time.
//!
//! Each label (a name with its value) is stored once, with the list of its series; a label set is a
//! list of label numbers. So a series of ten labels takes about a hundred bytes, and what a target's
//! series have in common costs almost nothing twice.

mod errors;
mod figures;
mod id_list;
mod id_set;
mod label_index;
mod label_sets;
mod matching;
mod runs;
mod set_table;
mod snapshot;
mod sorting;
mod tight;

use std::cmp::Ordering;
use std::io;
use std::sync::Arc;

use narthex_model::{CancelToken, Label, Labels, Matcher};

use crate::id_list::IdList;
use crate::id_set::IdSet;
use crate::label_index::{AsLabel, LabelIndex};
use crate::label_sets::{LabelSets, MAX_ID, MAX_LABELS};
use crate::matching::Search;
use crate::set_table::SetTable;

pub use errors::{Canceled, ImportError, InsertError};
pub use figures::{Cardinality, Figure, Sizes};

/// The series of a store: see the module's page.
#[derive(Default)]
pub struct Catalogue {
    index: LabelIndex,
    sets: LabelSets,
    /// From label sets to series.
    table: SetTable,
    /// All series.
    live: IdList,
    /// The labels of the series that is being added; before that, those of the last one, which
    /// the next one mostly shares.
    resolved: Vec<Resolved>,
    /// Counts removals.
    removals: u64,
}

/// The labels that the series of one log record are made of; a series names them by index. It
/// remembers what the catalogue calls them, so that each is looked up once for all its series.
pub struct LabelTable<'a> {
    labels: Vec<(&'a str, &'a str)>,
    /// The catalogue's number of each label, `UNKNOWN` where it was not needed yet.
    numbers: Vec<u32>,
    /// The catalogue's stamp when the numbers were noted.
    stamp: u64,
}

impl<'a> LabelTable<'a> {
    /// From pairs of name and value in any order.
    pub fn new(labels: Vec<(&'a str, &'a str)>) -> Self {
        LabelTable {
            numbers: vec![UNKNOWN; labels.len()],
            labels,
            stamp: 0,
        }
    }
}

impl Catalogue {
    /// The series of exactly these labels.
    pub fn find(&self, labels: &Labels) -> Option<u32> {
        let labels = labels.as_slice();
        let hashes = labels.iter().map(|l| self.index.hash(&l.name, &l.value));
        let hash = set_hash(hashes);
        self.table.find(hash, |id| self.has_labels(id, labels))
    }

    /// Adds a series. Refused, without any change, if the id or the labels are in use.
    pub fn insert(&mut self, id: u32, labels: &Labels) -> Result<(), InsertError> {
        let labels = labels.as_slice();
        self.check(id, labels.len())?;
        self.resolve(labels.len(), |at| &labels[at]);
        self.add_resolved(id, |at| &labels[at])
    }

    /// As [`Catalogue::insert`], from text that was read back: names and values, sorted by name.
    pub fn insert_text(&mut self, id: u32, labels: &[(&str, &str)]) -> Result<(), InsertError> {
        self.check(id, labels.len())?;
        let ascending = labels.windows(2).all(|pair| pair[0].0 < pair[1].0);
        if !ascending || labels.iter().any(|(_, value)| value.is_empty()) {
            return Err(InsertError::NotALabelSet);
        }
        self.resolve(labels.len(), |at| labels[at]);
        self.add_resolved(id, |at| labels[at])
    }

    /// As [`Catalogue::insert_text`], for many series that share labels: `indexes` are places in
    /// `table`, in the order of the names.
    pub fn insert_indexed(
        &mut self,
        id: u32,
        table: &mut LabelTable<'_>,
        indexes: &[u32],
    ) -> Result<(), InsertError> {
        self.check(id, indexes.len())?;
        let stamp = self.stamp();
        if table.stamp != stamp {
            table.numbers.fill(UNKNOWN);
            table.stamp = stamp;
        }
        self.resolve_indexed(table, indexes)?;
        let labels = &table.labels;
        self.add_resolved(id, |at| labels[indexes[at] as usize])?;
        for (&index, resolved) in indexes.iter().zip(&self.resolved) {
            table.numbers[index as usize] = resolved.number;
        }
        Ok(())
    }

    /// Removes series; ids that are not in use are passed over. Cheaper a series the more are
    /// removed at once.
    pub fn remove(&mut self, ids: &[u32]) {
        let mut gone = IdSet::default();
        let mut is_concerned = vec![false; self.index.label_bound()];
        let mut concerned = Vec::new();
        for &id in ids {
            if !self.sets.contains(id) {
                continue;
            }
            self.forget_place(id);
            for &label in self.sets.get(id) {
                let is_concerned = &mut is_concerned[label as usize];
                if !*is_concerned {
                    *is_concerned = true;
                    concerned.push(label);
                }
            }
            self.sets.remove(id);
            gone.insert(id);
        }
        self.live.remove(&gone);
        self.index.remove_series(&concerned, &gone);
        self.sets.compact();
        self.table.shrink();
        self.removals += 1;
    }

    pub fn contains(&self, id: u32) -> bool {
        self.sets.contains(id)
    }

    pub fn series_count(&self) -> usize {
        self.sets.count()
    }

    /// The label set of a series, made of the labels that the catalogue shares.
    pub fn labels(&self, id: u32) -> Option<Labels> {
        let labels = self.label_numbers(id)?.iter();
        let labels = labels.map(|&label| self.index.label(label).clone());
        Some(Labels::from_sorted(labels))
    }

    /// Name and value of each label of a series, sorted by name, without making a [`Labels`].
    pub fn each_label(&self, id: u32) -> Option<impl Iterator<Item = (&Arc<str>, &Arc<str>)>> {
        let labels = self.label_numbers(id)?;
        Some(labels.iter().map(|&label| self.index.text(label)))
    }

    /// The numbers of a series' labels, in the order of their names. They are good until the next
    /// removal, and dense enough to index a table with.
    pub fn label_numbers(&self, id: u32) -> Option<&[u32]> {
        self.contains(id).then(|| self.sets.get(id))
    }

    /// A label by its number, which is one that [`Catalogue::label_numbers`] gave since the last
    /// removal.
    pub fn label(&self, number: u32) -> Option<&Arc<Label>> {
        self.index.has(number).then(|| self.index.label(number))
    }

    /// Orders two series by their labels, as `Labels: Ord` does; ids not in use come first.
    pub fn compare(&self, a: u32, b: u32) -> Ordering {
        sorting::compare(&self.index, &self.sets, a, b)
    }

    /// Sorts series by their labels. Much faster than sorting with [`Catalogue::compare`].
    pub fn sort_by_labels(&self, ids: &mut [u32]) {
        sorting::sort(&self.index, &self.sets, ids);
    }

    /// Whether a series meets every matcher; false for an id that is not in use.
    pub fn matches(&self, id: u32, matchers: &[Matcher]) -> bool {
        let labels = self.sets.get(id);
        let value_of = |name: &str| {
            let mut labels = labels.iter().map(|&label| self.index.text(label));
            let label = labels.find(|(other, _)| ***other == *name);
            label.map_or("", |(_, value)| value)
        };
        let mut matchers = matchers.iter();
        self.contains(id) && matchers.all(|matcher| matcher.matches(value_of(&matcher.name)))
    }

    /// The series that meet every matcher (all series, where there is none), ascending.
    pub fn matching(
        &self,
        matchers: &[Matcher],
        cancel: &CancelToken,
    ) -> Result<Vec<u32>, Canceled> {
        Search::new(&self.index, &self.sets, &self.live, cancel).run(matchers)
    }

    /// The names of the labels that these series have (all series, where `ids` is `None`), sorted.
    pub fn label_names(&self, ids: Option<&[u32]>) -> Vec<Arc<str>> {
        let mut used = vec![ids.is_none(); self.index.name_bound()];
        for &label in ids
            .iter()
            .copied()
            .flatten()
            .flat_map(|&id| self.sets.get(id))
        {
            used[self.index.name_of(label) as usize] = true;
        }
        let names = self.index.names().filter(|&name| used[name as usize]);
        let mut names: Vec<Arc<str>> = names.map(|name| self.index.name(name).clone()).collect();
        names.sort_unstable();
        names
    }

    /// The values that these series (all, where `ids` is `None`) have for a label, sorted.
    pub fn label_values(&self, name: &str, ids: Option<&[u32]>) -> Vec<Arc<str>> {
        let Some(name) = self.index.find_name(name) else {
            return Vec::new();
        };
        let mut used = vec![ids.is_none(); self.index.label_bound()];
        for &label in ids
            .iter()
            .copied()
            .flatten()
            .flat_map(|&id| self.sets.get(id))
        {
            used[label as usize] = true;
        }
        let labels = self.index.labels_of(name).iter();
        let labels = labels.filter(|&&label| used[label as usize]);
        let mut values: Vec<Arc<str>> = labels
            .map(|&label| self.index.value(label).clone())
            .collect();
        values.sort_unstable();
        values
    }

    /// The `limit` largest of each kind, largest first.
    pub fn cardinality(&self, limit: usize) -> Cardinality {
        figures::cardinality(&self.index, limit)
    }

    /// How much there is of each thing, and the memory it takes. It looks at every label.
    pub fn sizes(&self) -> Sizes {
        Sizes {
            series: self.sets.count(),
            label_names: self.index.name_count(),
            label_pairs: self.index.label_count(),
            symbol_bytes: self.index.symbol_bytes(),
            label_set_bytes: self.sets.bytes(),
            table_bytes: self.table.bytes(),
            postings_bytes: self.index.postings_bytes() + self.live.heap_bytes(),
        }
    }

    /// Writes the whole catalogue, for [`Catalogue::import`]. The writer should have a buffer.
    pub fn export(&self, out: &mut dyn io::Write) -> io::Result<()> {
        snapshot::export(self, out)
    }

    /// Reads what [`Catalogue::export`] wrote. Whatever the bytes, it gives a sound catalogue or an
    /// error; it does not notice every damage, so keep a checksum beside them.
    pub fn import(bytes: &[u8]) -> Result<Self, ImportError> {
        snapshot::import(bytes)
    }

    /// Changes when a label's number may come to mean another label, and differs from that of any
    /// other catalogue, as it comes from the secret of its hashes.
    fn stamp(&self) -> u64 {
        self.index.hash("", "").wrapping_add(self.removals)
    }

    /// What can be told of a new series without looking at its labels.
    fn check(&self, id: u32, labels: usize) -> Result<(), InsertError> {
        if labels == 0 {
            return Err(InsertError::NoLabels);
        }
        if self.sets.contains(id) {
            return Err(InsertError::IdInUse(id));
        }
        if labels > MAX_LABELS {
            return Err(InsertError::TooManyLabels(labels));
        }
        let has_room = self.sets.has_room_for(labels) && self.index.has_room_for(labels);
        if id > MAX_ID || !has_room {
            return Err(InsertError::Full(id));
        }
        Ok(())
    }

    /// Looks up the labels of a new series.
    fn resolve<L: AsLabel>(&mut self, count: usize, label: impl Fn(usize) -> L) {
        let nothing = Resolved {
            hash: 0,
            number: UNKNOWN,
        };
        self.resolved.resize(count, nothing);
        for (at, resolved) in self.resolved.iter_mut().enumerate() {
            let label = label(at);
            let (name, value) = (label.name(), label.value());
            if self.index.is(resolved.number, name, value) {
                continue;
            }
            resolved.hash = self.index.hash(name, value);
            let found = self.index.find(resolved.hash, name, value);
            resolved.number = found.unwrap_or(UNKNOWN);
        }
    }

    /// Looks up the labels of a new series that the table does not know yet.
    fn resolve_indexed(
        &mut self,
        table: &LabelTable<'_>,
        indexes: &[u32],
    ) -> Result<(), InsertError> {
        self.resolved.clear();
        let mut before: Option<&str> = None;
        for &index in indexes {
            let Some(&(name, value)) = table.labels.get(index as usize) else {
                return Err(InsertError::NotALabelSet);
            };
            if before >= Some(name) || value.is_empty() {
                return Err(InsertError::NotALabelSet);
            }
            before = Some(name);
            let number = table.numbers[index as usize];
            let resolved = if number != UNKNOWN {
                let hash = self.index.hash_of(number);
                Resolved { hash, number }
            } else {
                let hash = self.index.hash(name, value);
                let number = self.index.find(hash, name, value).unwrap_or(UNKNOWN);
                Resolved { hash, number }
            };
            self.resolved.push(resolved);
        }
        Ok(())
    }

    /// Adds a series whose labels were looked up; those that are new are added.
    fn add_resolved<L: AsLabel>(
        &mut self,
        id: u32,
        label: impl Fn(usize) -> L,
    ) -> Result<(), InsertError> {
        let hash = set_hash(self.resolved.iter().map(|resolved| resolved.hash));
        let is_known = |resolved: &Resolved| resolved.number != UNKNOWN;
        if self.resolved.iter().all(is_known)
            && let Some(existing) = self.find_resolved(hash)
        {
            return Err(InsertError::LabelsInUse(existing));
        }
        for (at, resolved) in self.resolved.iter_mut().enumerate() {
            if resolved.number == UNKNOWN {
                resolved.number = self.index.add(resolved.hash, &label(at), id);
            } else {
                self.index.add_series(resolved.number, id);
            }
        }
        let labels = self.resolved.iter().map(|resolved| resolved.number);
        self.sets.insert(id, labels);
        self.live.insert(id);
        self.table.insert(hash, id);
        Ok(())
    }

    fn find_resolved(&self, hash: u32) -> Option<u32> {
        let labels = self.resolved.iter().map(|resolved| &resolved.number);
        self.table
            .find(hash, |id| self.sets.get(id).iter().eq(labels.clone()))
    }

    fn has_labels(&self, id: u32, labels: &[Arc<Label>]) -> bool {
        let numbers = self.sets.get(id);
        let mut pairs = numbers.iter().zip(labels);
        numbers.len() == labels.len()
            && pairs.all(|(&number, label)| self.index.is(number, &label.name, &label.value))
    }

    fn forget_place(&mut self, id: u32) {
        let labels = self.sets.get(id).iter();
        let hash = set_hash(labels.map(|&label| self.index.hash_of(label)));
        self.table.remove(hash, id);
    }
}

/// Stands for a label that was not found.
const UNKNOWN: u32 = u32::MAX;

/// A label of a new series.
#[derive(Clone, Copy)]
struct Resolved {
    hash: u64,
    number: u32,
}

/// The hash of a label set, from those of its labels.
fn set_hash(labels: impl Iterator<Item = u64>) -> u32 {
    let sum = labels.fold(0u64, u64::wrapping_add);
    (sum ^ sum >> 32) as u32
}
