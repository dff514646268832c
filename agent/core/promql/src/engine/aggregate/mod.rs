//! Aggregations: many series to one per group, or the best of each group.
//!
//! Those that give one series per group fold each input series into its group as it passes by, and
//! give a group out, freeing its memory, as soon as its last series has been seen.

use std::sync::Arc;

use narthex_model::{Labels, METRIC_NAME};

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
}
