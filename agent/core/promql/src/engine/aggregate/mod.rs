//! Aggregations: many series to one per group, or the best of each group.
//!
//! Those that give one series per group fold each input series into its group as it passes by, and
//! give a group out, freeing its memory, as soon as its last series has been seen.

use std::sync::Arc;

use hashbrown::HashMap;
use narthex_model::{Labels, METRIC_NAME};

use super::merge::FanIn;
use super::operator::SeriesInfo;

pub(super) mod count_values;
pub(super) mod fold;
mod histograms;
pub(super) mod limit;
pub(super) mod rank;

/// `by (…)` or `without (…)`.
pub(super) struct Grouping<'g> {
    pub labels: &'g [Arc<str>],
    pub without: bool,
}

impl Grouping<'_> {
    /// The labels of the group that a series belongs to.
    pub(super) fn of(&self, labels: &Labels) -> Labels {
        if self.labels.is_empty() && !self.without {
            return Labels::empty();
        }
        labels.filtered(|label| {
            let named = self.labels.contains(&label.name);
            if self.without {
                !named && &*label.name != METRIC_NAME
            } else {
                named
            }
        })
    }

    /// Which series go into which group, and the labels of the groups.
    pub(super) fn of_all(&self, series: &[SeriesInfo]) -> (FanIn, Vec<Labels>) {
        let mut known: HashMap<Labels, usize> = HashMap::new();
        let mut known_by_address: HashMap<Addresses, usize> = HashMap::new();
        let keys = series.iter().map(|info| {
            let address = self.addresses(&info.labels);
            if let Some(key) = address.and_then(|address| known_by_address.get(&address)) {
                return *key;
            }
            let new_key = known.len();
            let key = *known.entry(self.of(&info.labels)).or_insert(new_key);
            if let Some(address) = address {
                known_by_address.insert(address, key);
            }
            key
        });
        let fan_in = FanIn::by_key(keys);
        let firsts = fan_in.first_input_of.iter();
        let labels = firsts.filter_map(|first| Some(self.of(&series.get(*first)?.labels)));
        let labels = labels.collect();
        (fan_in, labels)
    }

    /// Where the values of the grouping labels lie. A store shares strings, so that most series of
    /// a group need not be compared by text. None: there are too many labels for that.
    fn addresses(&self, labels: &Labels) -> Option<Addresses> {
        if self.without {
            return None;
        }
        let mut addresses = Addresses::default();
        if self.labels.len() > addresses.len() {
            return None;
        }
        for (address, name) in addresses.iter_mut().zip(self.labels) {
            if let Some(value) = labels.get_shared(name) {
                *address = value.as_ptr().addr();
            }
        }
        Some(addresses)
    }
}

/// Zero where there is no such label.
type Addresses = [usize; 4];
