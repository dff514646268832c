//! Deleting samples: they stay, and readers don't get them, until their chunks go.

use narthex_model::{CancelToken, Matcher};
use narthex_storage::CommitError;

use crate::maintain::write_plain;
use crate::page::{PageInner, page_of, slot_of};
use crate::record::others::{Deletion, put_deletion};
use crate::record::{self, put_section};
use crate::select::matching_any;
use crate::{Head, Log};

impl Head {
    /// Hides the samples of the series that meet any of the matcher sets (all series, if there is
    /// none), from the first to the last of these times, as far as there are samples now. Gives
    /// the number of series. After an error some may be done; calling again does the others.
    pub fn delete(
        &self,
        matcher_sets: &[Vec<Matcher>],
        start_ms: i64,
        end_ms: i64,
        log: &dyn Log,
    ) -> Result<u64, CommitError> {
        // While the catalogue is held, no id goes over to another series.
        let catalogue = self.catalogue();
        let ids = matching_any(&catalogue, matcher_sets, &CancelToken::default());
        let ids = ids.unwrap_or_default();
        let pages = self.pages();
        let mut count = 0;
        let (mut body, mut note) = (Vec::new(), Vec::new());
        for of_page in ids.chunk_by(|a, b| page_of(*a) == page_of(*b)) {
            let first = of_page.first().copied().unwrap_or_default();
            let Some(page) = pages.get(page_of(first)) else {
                continue;
            };
            let mut page = page.lock();
            let deletions = of_page.iter();
            let deletions = deletions.filter_map(|id| deletion(&page, *id, start_ms, end_ms));
            let deletions: Vec<Deletion> = deletions.collect();
            for deletion in &deletions {
                put_deletion(&mut body, deletion);
            }
            if deletions.is_empty() {
                continue;
            }
            note.clear();
            put_section(&mut note, record::DELETIONS, &mut body);
            write_plain(log, &note)?;
            for deletion in &deletions {
                let interval = (deletion.start_ms, deletion.end_ms);
                page.add_deletion(slot_of(deletion.id), interval);
            }
            count += deletions.len() as u64;
        }
        Ok(count)
    }
}

/// What is deleted of one series: the part of the interval in which it has samples.
pub(crate) fn deletion(page: &PageInner, id: u32, start_ms: i64, end_ms: i64) -> Option<Deletion> {
    let (first_ms, last_ms) = page.times_ms(slot_of(id))?;
    let (start_ms, end_ms) = (start_ms.max(first_ms), end_ms.min(last_ms));
    (start_ms <= end_ms).then(|| Deletion {
        id,
        birth: page.births[usize::from(slot_of(id))],
        start_ms,
        end_ms,
    })
}
