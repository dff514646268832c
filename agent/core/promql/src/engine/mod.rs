//! The engine: evaluates a type-checked expression over a store.
//!
//! Evaluation goes series by series over all steps of the query. An expression becomes a [`plan`],
//! in which parts that are the same are one, and the plan becomes operators, each of which first
//! knows the labels of its series and then gives their values one series at a time, so an
//! aggregation over many series holds its groups and one input series. Range functions slide a
//! window over the samples of one series.
//!
//! Keeps true: results, errors and annotations are Prometheus's; what is missing is refused with
//! [`QueryError::NotSupported`], never answered wrongly; memory is charged to the query's budget
//! and the cancel token is looked at for every series.
//!
//! Doesn't know: clocks (whoever runs a query sets its [`CancelToken`] when the time is up),
//! how threads are started (see [`Workers`]), the query log, or how results are written as JSON.

use std::sync::{Arc, Mutex};

use narthex_model::CancelToken;
use narthex_storage::Queryable;

use crate::syntax::ast::Expr;

mod aggregate;
mod annotations;
mod binary;
mod budget;
mod build;
mod calendar;
mod column;
mod durations;
mod error;
mod explain;
mod functions;
mod kahan;
mod memory;
mod merge;
mod meter;
mod operator;
mod output;
mod plan;
mod quantile;
mod query;
mod range;
mod repeated;
mod run;
mod scalar;
mod scan;
mod selections;
mod selector;
mod shared;
mod smoothed;
mod statistics;
mod steps;
mod tally;
mod workers;

pub use error::QueryError;
pub use explain::{
    Clock, EvaluationTimes, Explained, ExplainedNode, Explanation, Measured, Totals,
};
pub use memory::QueryMemory;
pub use output::{MatrixSeries, QueryOutput, QueryStats, QueryValue, VectorSample};
pub use workers::{Sequential, Workers};

use budget::Budget;
use memory::Holder;
use meter::Meter;
use plan::{Plan, Setting};
use query::{Query, QueryTimes};
use selections::Selections;
use steps::Steps;
use tally::{Tally, Weight};

#[derive(Clone, Debug, PartialEq)]
pub struct EngineOptions {
    /// How far an instant selector looks back for a sample.
    pub lookback_delta_ms: i64,
    /// Samples that one query may hold at a time.
    pub max_samples: u64,
    /// The step of subqueries that give none: the global evaluation interval.
    pub default_subquery_step_ms: i64,
    /// Metric names that a function drops go away only at the end of the query.
    pub delayed_name_removal: bool,
    /// `rate` and its kin look at when the store says that a counter started.
    pub use_start_timestamps: bool,
    /// Series have their type in the label `__type__`, and it tells what is a counter.
    pub type_and_unit_labels: bool,
}

impl Default for EngineOptions {
    fn default() -> Self {
        EngineOptions {
            lookback_delta_ms: 300_000,
            max_samples: 50_000_000,
            default_subquery_step_ms: 60_000,
            delayed_name_removal: false,
            use_start_timestamps: false,
            type_and_unit_labels: false,
        }
    }
}

/// What belongs to one query but not to its expression.
#[derive(Clone, Debug, Default)]
pub struct QueryContext {
    /// Set when the time is up or nobody wants the result any more.
    pub cancel: CancelToken,
    /// Instead of the engine's.
    pub lookback_delta_ms: Option<i64>,
    /// Whether it is counted for each step how many samples it looks at.
    pub counts_steps: bool,
    /// What was parsed: annotations tell line and column in it. Without it they tell none.
    pub text: String,
}

/// Steps from `start_ms` to `end_ms` inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeParams {
    pub start_ms: i64,
    pub end_ms: i64,
    /// More than zero.
    pub step_ms: i64,
}

/// Evaluates expressions; holds nothing but its options and what it works with.
#[derive(Clone, Debug)]
pub struct Engine {
    options: EngineOptions,
    workers: Arc<dyn Workers>,
    memory: Arc<QueryMemory>,
    holder: Holder,
    optimise: bool,
}

impl Default for Engine {
    fn default() -> Self {
        Engine::new(EngineOptions::default())
    }
}

impl Engine {
    pub fn new(options: EngineOptions) -> Self {
        Engine {
            options,
            workers: Arc::new(Sequential),
            memory: Arc::new(QueryMemory::unlimited()),
            holder: Holder::Query,
            optimise: true,
        }
    }

    /// Reads the series of a query on these. Results are the same to the last digit.
    pub fn with_workers(self, workers: Arc<dyn Workers>) -> Self {
        Engine { workers, ..self }
    }

    /// Takes memory out of this account, which other engines may share.
    pub fn with_memory(self, memory: Arc<QueryMemory>) -> Self {
        Engine { memory, ..self }
    }

    /// The same for rules: they may use the share of the memory that is kept for them.
    pub fn for_rules(&self) -> Self {
        Engine {
            holder: Holder::Rule,
            ..self.clone()
        }
    }

    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// Evaluates everything as often as it is written: slower, with the same results.
    pub fn without_optimiser(self) -> Self {
        Engine {
            optimise: false,
            ..self
        }
    }

    /// The value of `expr` at one time. Any type of expression will do.
    pub fn instant(
        &self,
        store: &dyn Queryable,
        expr: &Expr,
        time_ms: i64,
        context: &QueryContext,
    ) -> Result<QueryOutput, QueryError> {
        let times = EvaluationTimes::Instant(time_ms);
        self.evaluate(store, expr, times, context)
    }

    /// The values of `expr`, a scalar or an instant vector, at every step.
    pub fn range(
        &self,
        store: &dyn Queryable,
        expr: &Expr,
        params: RangeParams,
        context: &QueryContext,
    ) -> Result<QueryOutput, QueryError> {
        let times = EvaluationTimes::Range(params);
        self.evaluate(store, expr, times, context)
    }

    /// How `expr` would be evaluated. Nothing is read.
    pub fn plan(
        &self,
        expr: &Expr,
        times: EvaluationTimes,
        context: &QueryContext,
    ) -> Result<Explanation, QueryError> {
        let plan = self.plan_of(expr, times, context)?;
        Ok(Explanation {
            nodes: plan.explained(|_| None),
            totals: None,
        })
    }

    /// Evaluates `expr` and tells what each part of it cost.
    pub fn explain(
        &self,
        store: &dyn Queryable,
        expr: &Expr,
        times: EvaluationTimes,
        context: &QueryContext,
        clock: &dyn Clock,
    ) -> Result<Explained, QueryError> {
        let plan = self.plan_of(expr, times, context)?;
        let query = self.query(store, times, context, &plan);
        let meter = Meter::new(clock, &query, plan.nodes.len());
        let output = run::run(&query, &plan, times, &context.text, Some(&meter))?;
        let measured = meter.measured(&plan);
        Ok(Explained {
            output,
            explanation: Explanation {
                nodes: plan.explained(|id| measured.get(id).copied()),
                totals: Some(meter.totals()),
            },
        })
    }

    fn evaluate(
        &self,
        store: &dyn Queryable,
        expr: &Expr,
        times: EvaluationTimes,
        context: &QueryContext,
    ) -> Result<QueryOutput, QueryError> {
        let plan = self.plan_of(expr, times, context)?;
        let query = self.query(store, times, context, &plan);
        run::run(&query, &plan, times, &context.text, None)
    }

    fn plan_of<'e>(
        &self,
        expr: &'e Expr,
        times: EvaluationTimes,
        context: &QueryContext,
    ) -> Result<Plan<'e>, QueryError> {
        let setting = Setting {
            times: QueryTimes::of(times),
            steps: steps_of(times),
            lookback_ms: self.lookback_ms(context),
            default_subquery_step_ms: self.options.default_subquery_step_ms,
            optimise: self.optimise,
        };
        Plan::new(expr, &setting)
    }

    fn lookback_ms(&self, context: &QueryContext) -> i64 {
        let own = context.lookback_delta_ms;
        own.unwrap_or(self.options.lookback_delta_ms)
    }

    fn query<'q>(
        &'q self,
        store: &'q dyn Queryable,
        times: EvaluationTimes,
        context: &QueryContext,
        plan: &Plan<'_>,
    ) -> Query<'q> {
        let options = &self.options;
        Query {
            store,
            cancel: context.cancel.clone(),
            lookback_ms: self.lookback_ms(context),
            delayed_name_removal: options.delayed_name_removal,
            use_start_timestamps: options.use_start_timestamps,
            type_and_unit_labels: options.type_and_unit_labels,
            times: QueryTimes::of(times),
            budget: Budget::within(options.max_samples, self.memory.clone(), self.holder),
            annotations: Mutex::default(),
            workers: &*self.workers,
            selections: Arc::new(Selections::new(&plan.selected)),
            tally: Arc::new(Tally::new(steps_of(times).count, context.counts_steps)),
            weight: Weight::AT_STEP,
        }
    }
}

fn steps_of(times: EvaluationTimes) -> Steps {
    match times {
        EvaluationTimes::Instant(time_ms) => Steps::instant(time_ms),
        EvaluationTimes::Range(range) => Steps::range(range.start_ms, range.end_ms, range.step_ms),
    }
}
