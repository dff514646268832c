//! Which series have a label: name → value → ids.
//!
//! Keeps true: a value without series is not listed, nor a name without values. Knows ids only;
//! what a matcher means stands in `matching`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use narthex_model::Labels;

pub(crate) type Values = HashMap<Arc<str>, IdList>;

#[derive(Default)]
pub(crate) struct Postings {
    names: HashMap<Arc<str>, Values>,
}

impl Postings {
    /// Lists a series under each of its labels.
    pub(crate) fn insert(&mut self, id: u32, labels: &Labels) {
        for label in labels.iter() {
            let values = match self.names.get_mut(&label.name) {
                Some(values) => values,
                None => self.names.entry(label.name.clone()).or_default(),
            };
            match values.get_mut(&label.value) {
                Some(ids) => ids.insert(id),
                None => values.entry(label.value.clone()).or_default().insert(id),
            }
        }
    }

    /// Takes series out, given with their labels. Each list is gone through once, however many of
    /// its series go.
    pub(crate) fn remove(&mut self, series: &[(u32, Labels)]) {
        let gone: HashSet<u32> = series.iter().map(|(id, _)| *id).collect();
        let labels: HashSet<_> = series.iter().flat_map(|(_, l)| l.iter()).collect();
        for label in labels {
            let Some(values) = self.names.get_mut(&label.name) else {
                continue;
            };
            if let Some(ids) = values.get_mut(&label.value) {
                ids.retain(|id| !gone.contains(&id));
                if ids.len() == 0 {
                    values.remove(&label.value);
                }
            }
            if values.is_empty() {
                self.names.remove(&label.name);
            }
        }
    }

    pub(crate) fn values(&self, name: &str) -> Option<&Values> {
        self.names.get(name)
    }

    pub(crate) fn ids(&self, name: &str, value: &str) -> Option<&IdList> {
        self.names.get(name)?.get(value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Values)> {
        self.names.iter()
    }
}

/// A set of ids. New ids are mostly the highest and go to the end; ids that are used again are
/// collected in a second short list first, so that a long list is not moved for each of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct IdList {
    /// Sorted.
    main: Vec<u32>,
    /// Sorted, shares no id with `main`, at most [`RECENT_LIMIT`] long.
    recent: Vec<u32>,
}

const RECENT_LIMIT: usize = 1024;

impl IdList {
    pub(crate) fn insert(&mut self, id: u32) {
        if self.main.last().is_none_or(|last| *last < id) {
            return self.main.push(id);
        }
        if self.main.binary_search(&id).is_ok() {
            return;
        }
        if let Err(at) = self.recent.binary_search(&id) {
            self.recent.insert(at, id);
        }
        if self.recent.len() > RECENT_LIMIT {
            self.main.append(&mut self.recent);
            // Two sorted runs: this merges them.
            self.main.sort();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.main.len() + self.recent.len()
    }

    pub(crate) fn contains(&self, id: u32) -> bool {
        self.main.binary_search(&id).is_ok() || self.recent.binary_search(&id).is_ok()
    }

    /// In no certain order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        self.main.iter().chain(&self.recent).copied()
    }

    fn retain(&mut self, keep: impl Fn(u32) -> bool) {
        self.main.retain(|id| keep(*id));
        self.recent.retain(|id| keep(*id));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_list_is_a_set(
            ids in prop::collection::vec(0u32..5000, 0..3000),
            removed in prop::collection::btree_set(0u32..5000, 0..1000),
        ) {
            let mut list = IdList::default();
            let mut model = BTreeSet::new();
            for id in ids {
                list.insert(id);
                model.insert(id);
            }
            list.retain(|id| !removed.contains(&id));
            model.retain(|id| !removed.contains(id));
            prop_assert_eq!(list.len(), model.len());
            prop_assert_eq!(list.iter().collect::<BTreeSet<_>>(), model.clone());
            for id in 0..5000 {
                prop_assert_eq!(list.contains(id), model.contains(&id));
            }
        }
    }

    #[test]
    fn what_has_no_series_is_not_listed() {
        let mut postings = Postings::default();
        let labels = |v: &str| Labels::from_pairs([("job", "a"), ("instance", v)]);
        postings.insert(0, &labels("x"));
        postings.insert(1, &labels("y"));
        postings.remove(&[(1, labels("y"))]);
        assert_eq!(postings.ids("job", "a").map(IdList::len), Some(1));
        assert!(postings.ids("instance", "y").is_none());
        postings.remove(&[(0, labels("x"))]);
        assert_eq!(postings.iter().count(), 0);
    }
}
