//! What `evaluate(ctx)` is given: the time, queries, parameters, and what the script remembers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use narthex_extension::Query;
use narthex_model::Labels;
use rhai::{Dynamic, Engine, EvalAltResult, Map};

use crate::series::{OneSeries, SeriesSet, duration_ms, number};

type Result<T> = std::result::Result<T, Box<EvalAltResult>>;

/// Marks an error that came from a query, so that it can be told from the script's own faults.
pub(crate) const QUERY_ERROR: &str = "query failed: ";

/// What a script remembers from one evaluation to the next.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    /// `ctx.state`: the script's own.
    pub(crate) state: Map,
    /// For each name given to `ctx.hysteresis`, the series that are in the state now.
    pub(crate) held: BTreeMap<String, BTreeSet<Labels>>,
}

/// Handed to the script; clones share the memory.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) now_ms: i64,
    pub(crate) query: Arc<dyn Query>,
    pub(crate) params: Map,
    pub(crate) memory: Arc<Mutex<Memory>>,
}

impl Context {
    fn with_memory<T>(&self, act: impl FnOnce(&mut Memory) -> T) -> T {
        act(&mut self.memory.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn instant(&self, expr: &str) -> Result<SeriesSet> {
        let result = self.query.instant(expr, self.now_ms);
        result
            .map(SeriesSet::from)
            .map_err(|e| query_error(expr, &e))
    }

    fn range(&self, expr: &str, range: &str, step: &str) -> Result<SeriesSet> {
        let range_ms = i64::try_from(duration_ms(range)?).unwrap_or(i64::MAX);
        let step_ms = i64::try_from(duration_ms(step)?).unwrap_or(i64::MAX);
        if step_ms == 0 || range_ms / step_ms > 11_000 {
            return Err(format!("query_range: {range} in steps of {step} is more than 11000 points; take a longer step").into());
        }
        let start_ms = self.now_ms.saturating_sub(range_ms);
        let result = self.query.range(expr, start_ms, self.now_ms, step_ms);
        result
            .map(SeriesSet::from)
            .map_err(|e| query_error(expr, &e))
    }

    /// The series that are in the state called `name`: a series enters above `enter` and leaves
    /// below `leave` (the other way round where `enter` is the lower one). A series that is not in
    /// `set` any more leaves too.
    fn hysteresis(&self, name: &str, set: &SeriesSet, enter: f64, leave: f64) -> SeriesSet {
        self.with_memory(|memory| {
            let held = memory.held.entry(name.to_owned()).or_default();
            let rising = enter >= leave;
            let stays = |series: &&OneSeries| {
                let bound = if held.contains(&series.labels) {
                    leave
                } else {
                    enter
                };
                let value = series.value();
                if rising { value > bound } else { value < bound }
            };
            let active: Arc<[OneSeries]> = set.0.iter().filter(stays).cloned().collect();
            *held = active.iter().map(|series| series.labels.clone()).collect();
            SeriesSet(active)
        })
    }
}

pub(crate) fn register(engine: &mut Engine) {
    engine
        .register_type_with_name::<Context>("Context")
        .register_get("now", |ctx: &mut Context| ctx.now_ms as f64 / 1000.0)
        .register_get("params", |ctx: &mut Context| ctx.params.clone())
        .register_get("state", |ctx: &mut Context| {
            ctx.with_memory(|m| m.state.clone())
        })
        .register_set("state", |ctx: &mut Context, state: Map| {
            ctx.with_memory(|m| m.state = state);
        })
        .register_fn("query", |ctx: &mut Context, expr: &str| ctx.instant(expr))
        .register_fn(
            "query_range",
            |ctx: &mut Context, expr: &str, range: &str, step: &str| ctx.range(expr, range, step),
        )
        .register_fn(
            "hysteresis",
            |ctx: &mut Context,
             name: &str,
             set: SeriesSet,
             enter: Dynamic,
             leave: Dynamic|
             -> Result<SeriesSet> {
                let enter = number(&enter, "hysteresis")?;
                let leave = number(&leave, "hysteresis")?;
                Ok(ctx.hysteresis(name, &set, enter, leave))
            },
        );
}

fn query_error(expr: &str, error: &str) -> Box<EvalAltResult> {
    format!("{QUERY_ERROR}{error} (in {expr:?})").into()
}
