//! The labels there are: each pair of name and value once, under a number, with the series that
//! have it.
//!
//! A label is here exactly as long as a series has it; its number may come back for another one.
//! Hashes are keyed by a secret that each index draws for itself, as those of the standard
//! library's maps are, and never leave it.

use std::cmp::Ordering;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashTable};
use narthex_model::Label;

use crate::id_list::IdList;
use crate::id_set::IdSet;
use crate::tight;

/// A label as a caller has it.
pub(crate) trait AsLabel {
    fn name(&self) -> &str;
    fn value(&self) -> &str;
    /// The label, with this text for its name.
    fn shared(&self, name: &Arc<str>) -> Arc<Label>;
    fn shared_name(&self) -> Arc<str>;
}

#[derive(Default)]
pub(crate) struct LabelIndex {
    hash_keys: DefaultHashBuilder,
    /// By name number; those in `free_names` have no text and no values.
    names: Vec<Name>,
    name_numbers: HashTable<u32>,
    free_names: Vec<u32>,
    /// By label number; those in `free` have no series.
    labels: Vec<Entry>,
    numbers: HashTable<u32>,
    free: Vec<u32>,
    empty: Arc<Label>,
    text_bytes: usize,
}

#[derive(Default)]
struct Name {
    text: Arc<str>,
    /// The labels of this name, in no order.
    labels: Vec<u32>,
}

struct Entry {
    hash: u64,
    name: u32,
    /// Of a number that is not in use, the index's empty one.
    label: Arc<Label>,
    series: IdList,
}

impl LabelIndex {
    pub(crate) fn hash(&self, name: &str, value: &str) -> u64 {
        let mut hasher = self.hash_keys.build_hasher();
        hasher.write(name.as_bytes());
        hasher.write(value.as_bytes());
        hasher.finish()
    }

    /// The number of a label, whose hash is given.
    pub(crate) fn find(&self, hash: u64, name: &str, value: &str) -> Option<u32> {
        let found = self.numbers.find(hash, |&number| {
            self.hash_of(number) == hash && self.is(number, name, value)
        });
        found.copied()
    }

    pub(crate) fn find_name(&self, name: &str) -> Option<u32> {
        let hash = self.hash_keys.hash_one(name);
        let found = self
            .name_numbers
            .find(hash, |&number| *self.names[number as usize].text == *name);
        found.copied()
    }

    pub(crate) fn has(&self, number: u32) -> bool {
        let label = self.labels.get(number as usize);
        label.is_some_and(|label| !label.series.is_empty())
    }

    /// Whether this is the text of a label; never for a number that is not in use.
    pub(crate) fn is(&self, number: u32, name: &str, value: &str) -> bool {
        self.labels.get(number as usize).is_some_and(|label| {
            *label.label.value == *value
                && !label.series.is_empty()
                && *self.names[label.name as usize].text == *name
        })
    }

    /// Room for one more label.
    pub(crate) fn has_room_for(&self, more: usize) -> bool {
        u32::try_from(self.labels.len() + more).is_ok()
    }

    /// Adds a label that is not here, with its first series.
    pub(crate) fn add(&mut self, hash: u64, label: &impl AsLabel, series: u32) -> u32 {
        let name = match self.find_name(label.name()) {
            Some(name) => name,
            None => self.add_name(label.shared_name()),
        };
        let mut list = IdList::default();
        list.insert(series);
        self.place(Entry {
            hash,
            name,
            label: label.shared(self.name(name)),
            series: list,
        })
    }

    /// Adds a name that is not here; it needs a label at once.
    pub(crate) fn add_name(&mut self, text: Arc<str>) -> u32 {
        let hash = self.hash_keys.hash_one(&*text);
        self.text_bytes += text_bytes(&text);
        let name = Name {
            text,
            labels: Vec::new(),
        };
        let number = match self.free_names.pop() {
            Some(number) => {
                self.names[number as usize] = name;
                number
            }
            None => {
                self.names.push(name);
                (self.names.len() - 1) as u32
            }
        };
        let (names, keys) = (&self.names, &self.hash_keys);
        self.name_numbers.insert_unique(hash, number, |&other| {
            keys.hash_one(&*names[other as usize].text)
        });
        number
    }

    /// Adds a label that has no series yet; false if it is here.
    pub(crate) fn add_bare(&mut self, name: u32, value: Arc<str>) -> bool {
        let hash = self.hash(self.name(name), &value);
        let labels = &self.labels;
        let is_same = |&number: &u32| {
            let label = &labels[number as usize];
            label.name == name && label.label.value == value
        };
        if self.numbers.find(hash, is_same).is_some() {
            return false;
        }
        let label = Label::new(self.name(name).clone(), value);
        self.place(Entry {
            hash,
            name,
            label: Arc::new(label),
            series: IdList::default(),
        });
        true
    }

    pub(crate) fn all_have_series(&self) -> bool {
        self.labels.iter().all(|label| !label.series.is_empty())
    }

    pub(crate) fn add_series(&mut self, number: u32, series: u32) {
        self.labels[number as usize].series.insert(series);
    }

    /// Takes series from the labels they have; labels that no series has any more go.
    pub(crate) fn remove_series(&mut self, labels: &[u32], gone: &IdSet) {
        let mut names = Vec::new();
        for &number in labels {
            let label = &mut self.labels[number as usize];
            label.series.remove(gone);
            if label.series.is_empty() {
                names.push(label.name);
                self.free_label(number);
            }
        }
        names.sort_unstable();
        names.dedup();
        for name in names {
            self.forget_free_labels_of(name);
        }
        if self.free.len() * 2 > self.labels.len() {
            self.give_back();
        }
    }

    pub(crate) fn hash_of(&self, number: u32) -> u64 {
        self.labels[number as usize].hash
    }

    pub(crate) fn name_of(&self, number: u32) -> u32 {
        self.labels[number as usize].name
    }

    pub(crate) fn name(&self, name: u32) -> &Arc<str> {
        &self.names[name as usize].text
    }

    pub(crate) fn value(&self, number: u32) -> &Arc<str> {
        &self.label(number).value
    }

    pub(crate) fn series(&self, number: u32) -> &IdList {
        &self.labels[number as usize].series
    }

    pub(crate) fn label(&self, number: u32) -> &Arc<Label> {
        &self.labels[number as usize].label
    }

    /// Name and value of a label.
    pub(crate) fn text(&self, number: u32) -> (&Arc<str>, &Arc<str>) {
        let label = self.label(number);
        (&label.name, &label.value)
    }

    pub(crate) fn compare(&self, a: u32, b: u32) -> Ordering {
        let (a, b) = (&self.labels[a as usize], &self.labels[b as usize]);
        if a.name == b.name {
            return a.label.value.cmp(&b.label.value);
        }
        self.name(a.name).cmp(self.name(b.name))
    }

    /// The numbers of the names in use, in no order.
    pub(crate) fn names(&self) -> impl Iterator<Item = u32> {
        let names = (0..).zip(&self.names);
        names.filter_map(|(number, name)| (!name.labels.is_empty()).then_some(number))
    }

    /// The labels of a name, in no order.
    pub(crate) fn labels_of(&self, name: u32) -> &[u32] {
        &self.names[name as usize].labels
    }

    /// One more than the highest number of a name.
    pub(crate) fn name_bound(&self) -> usize {
        self.names.len()
    }

    /// One more than the highest number of a label.
    pub(crate) fn label_bound(&self) -> usize {
        self.labels.len()
    }

    pub(crate) fn label_count(&self) -> usize {
        self.labels.len() - self.free.len()
    }

    pub(crate) fn name_count(&self) -> usize {
        self.names.len() - self.free_names.len()
    }

    /// Memory of the texts and of what finds them.
    pub(crate) fn symbol_bytes(&self) -> usize {
        let of_names: usize = self.names.iter().map(|n| tight::bytes(&n.labels)).sum();
        let lists = size_of::<IdList>() * self.labels.capacity();
        self.text_bytes + tight::bytes(&self.names) + of_names + tight::bytes(&self.labels) - lists
            + self.name_numbers.allocation_size()
            + self.numbers.allocation_size()
            + tight::bytes(&self.free)
            + tight::bytes(&self.free_names)
    }

    /// Memory of the lists of series.
    pub(crate) fn postings_bytes(&self) -> usize {
        let lists = self.labels.iter().map(|label| label.series.heap_bytes());
        lists.sum::<usize>() + size_of::<IdList>() * self.labels.capacity()
    }

    /// Room for this many labels and names more, without growing on the way.
    pub(crate) fn reserve(&mut self, labels: usize, names: usize) {
        self.labels.reserve_exact(labels);
        self.names.reserve_exact(names);
        let entries = &self.labels;
        self.numbers
            .reserve(labels, |&number| entries[number as usize].hash);
    }

    fn place(&mut self, label: Entry) -> u32 {
        let (hash, name) = (label.hash, label.name);
        self.text_bytes += label_bytes(&label.label);
        let number = match self.free.pop() {
            Some(number) => {
                self.labels[number as usize] = label;
                number
            }
            None => {
                tight::push(&mut self.labels, label);
                (self.labels.len() - 1) as u32
            }
        };
        tight::push(&mut self.names[name as usize].labels, number);
        let labels = &self.labels;
        self.numbers
            .insert_unique(hash, number, |&other| labels[other as usize].hash);
        number
    }

    fn free_label(&mut self, number: u32) {
        let entry = &mut self.labels[number as usize];
        let free = Entry {
            hash: 0,
            // Needed until the name's list is put right.
            name: entry.name,
            label: self.empty.clone(),
            series: IdList::default(),
        };
        let label = std::mem::replace(entry, free);
        self.text_bytes -= label_bytes(&label.label);
        if let Ok(entry) = self.numbers.find_entry(label.hash, |&n| n == number) {
            entry.remove();
        }
        self.free.push(number);
    }

    /// Gives the memory back that free numbers at the end take.
    fn give_back(&mut self) {
        let last = self.labels.iter().rposition(|l| !l.series.is_empty());
        let bound = last.map_or(0, |last| last + 1);
        self.labels.truncate(bound);
        self.labels.shrink_to_fit();
        self.free.retain(|&number| (number as usize) < bound);
        self.free.shrink_to_fit();
        let labels = &self.labels;
        self.numbers
            .shrink_to_fit(|&number| labels[number as usize].hash);
    }

    fn forget_free_labels_of(&mut self, name: u32) {
        let entry = &mut self.names[name as usize];
        let labels = &self.labels;
        entry
            .labels
            .retain(|&number| !labels[number as usize].series.is_empty());
        if entry.labels.len() * 2 < entry.labels.capacity() {
            entry.labels.shrink_to_fit();
        }
        if !entry.labels.is_empty() {
            return;
        }
        let hash = self.hash_keys.hash_one(&*entry.text);
        self.text_bytes -= text_bytes(&entry.text);
        *entry = Name::default();
        if let Ok(entry) = self.name_numbers.find_entry(hash, |&n| n == name) {
            entry.remove();
        }
        self.free_names.push(name);
    }
}

impl AsLabel for &Arc<Label> {
    fn name(&self) -> &str {
        &self.name
    }

    fn value(&self) -> &str {
        &self.value
    }

    fn shared(&self, name: &Arc<str>) -> Arc<Label> {
        if Arc::ptr_eq(&self.name, name) {
            return (*self).clone();
        }
        Arc::new(Label::new(name.clone(), self.value.clone()))
    }

    fn shared_name(&self) -> Arc<str> {
        self.name.clone()
    }
}

impl AsLabel for (&str, &str) {
    fn name(&self) -> &str {
        self.0
    }

    fn value(&self) -> &str {
        self.1
    }

    fn shared(&self, name: &Arc<str>) -> Arc<Label> {
        Arc::new(Label::new(name.clone(), self.1))
    }

    fn shared_name(&self) -> Arc<str> {
        self.0.into()
    }
}

/// A label with the text of its value, but without that of its name, which many have.
fn label_bytes(label: &Arc<Label>) -> usize {
    size_of::<Label>() + 2 * size_of::<usize>() + text_bytes(&label.value)
}

/// The text, and the two counters that lie before it.
fn text_bytes(text: &Arc<str>) -> usize {
    text.len() + 2 * size_of::<usize>()
}
