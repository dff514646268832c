//! Series that several selectors of a query ask for: looked up once, read by each of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use narthex_model::{Labels, Matcher};
use narthex_storage::{Column, Series, StorageError};

use super::error::QueryError;
use super::plan::Selected;

type Stored = Vec<Box<dyn Series>>;

/// What is asked for more than once, and what of it is there already.
#[derive(Default)]
pub(super) struct Selections(Mutex<HashMap<Selected, Selection>>);

struct Selection {
    /// How often it will be asked for yet.
    uses: usize,
    series: Option<Arc<Stored>>,
}

impl Selections {
    /// With how often each is asked for.
    pub(super) fn new(selected: &HashMap<Selected, usize>) -> Self {
        let selections = selected.iter().map(|(selected, uses)| {
            let selection = Selection {
                uses: *uses,
                series: None,
            };
            (selected.clone(), selection)
        });
        Selections(Mutex::new(selections.collect()))
    }

    /// The series after `after_ms` up to `last_ms`, by `look_up` if nobody asked for them before.
    pub(super) fn select(
        &self,
        matchers: &[Matcher],
        after_ms: i64,
        last_ms: i64,
        look_up: impl FnOnce() -> Result<Stored, QueryError>,
    ) -> Result<Stored, QueryError> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_empty() {
            return look_up();
        }
        let selected = Selected::new(matchers, after_ms, last_ms);
        let Some(selection) = known.get_mut(&selected) else {
            return look_up();
        };
        let series = match &selection.series {
            Some(series) => series.clone(),
            None => selection.series.insert(Arc::new(look_up()?)).clone(),
        };
        selection.uses = selection.uses.saturating_sub(1);
        if selection.uses == 0 {
            known.remove(&selected);
        }
        Ok(members(&series))
    }
}

fn members(series: &Arc<Stored>) -> Stored {
    let member = |index| {
        Box::new(Member {
            all: series.clone(),
            index,
        }) as Box<dyn Series>
    };
    (0..series.len()).map(member).collect()
}

/// One series of a list that several read. Whatever a series can do is passed on to it.
struct Member {
    all: Arc<Stored>,
    /// Below the length of `all`.
    index: usize,
}

impl Member {
    #[expect(
        clippy::indexing_slicing,
        reason = "a member is made only for an index that is there"
    )]
    fn series(&self) -> &dyn Series {
        &*self.all[self.index]
    }
}

impl Series for Member {
    fn labels(&self) -> &Labels {
        self.series().labels()
    }

    fn visit(&self, visit: &mut dyn FnMut(Column<'_>)) -> Result<(), StorageError> {
        self.series().visit(visit)
    }

    fn visit_newest(&self, visit: &mut dyn FnMut(Column<'_>)) -> Result<(), StorageError> {
        self.series().visit_newest(visit)
    }

    fn visit_with_starts(
        &self,
        visit: &mut dyn FnMut(Column<'_>, &[i64]),
    ) -> Result<(), StorageError> {
        self.series().visit_with_starts(visit)
    }

    fn time_range_ms(&self) -> Option<(i64, i64)> {
        self.series().time_range_ms()
    }

    fn place(&self) -> u64 {
        self.series().place()
    }
}
