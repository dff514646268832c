//! Meters for a query that is to be explained: what each node of its plan costs.
//!
//! At any time one node is at work. Whatever passes between two changes of that node (time,
//! samples read, memory taken or given back) is counted for it, so everything is counted once.
//! Values that go from one node to another take their memory with them.

use std::cell::RefCell;

use super::column::Column;
use super::error::QueryError;
use super::explain::{Clock, Measured, Totals};
use super::operator::{SeriesInfo, Vector, VectorOperator};
use super::plan::{NodeId, Plan};
use super::query::Query;

pub(super) struct Meter<'q> {
    clock: &'q dyn Clock,
    query: &'q Query<'q>,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    /// Who is at work; None: what brings the result into its form.
    current: Option<NodeId>,
    started_ns: u64,
    peak_bytes: u64,
    seen: Reading,
    counts: Vec<Counts>,
}

/// What the meters show.
#[derive(Clone, Copy, Default)]
struct Reading {
    time_ns: u64,
    samples_read: u64,
    held_bytes: u64,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    own_ns: u64,
    samples_read: u64,
    /// Less than nothing if more was given on than was taken.
    held_bytes: i64,
    peak_bytes: u64,
    series: u64,
    values: u64,
}

impl<'q> Meter<'q> {
    pub(super) fn new(clock: &'q dyn Clock, query: &'q Query<'q>, nodes: usize) -> Self {
        let meter = Meter {
            clock,
            query,
            state: RefCell::default(),
        };
        let now = meter.read();
        meter.state.replace(State {
            current: None,
            started_ns: now.time_ns,
            peak_bytes: now.held_bytes,
            seen: now,
            counts: vec![Counts::default(); nodes],
        });
        meter
    }

    fn read(&self) -> Reading {
        Reading {
            time_ns: self.clock.now_ns(),
            samples_read: self.query.budget.samples_read(),
            held_bytes: self.query.budget.held_bytes(),
        }
    }

    /// `node` is at work from now on. Gives who was.
    pub(super) fn enter(&self, node: Option<NodeId>) -> Option<NodeId> {
        let now = self.read();
        let mut state = self.state.borrow_mut();
        let seen = std::mem::replace(&mut state.seen, now);
        state.peak_bytes = state.peak_bytes.max(now.held_bytes);
        let before = std::mem::replace(&mut state.current, node);
        if let Some(counts) = before.and_then(|node| state.counts.get_mut(node)) {
            counts.own_ns += now.time_ns.saturating_sub(seen.time_ns);
            counts.samples_read += now.samples_read.saturating_sub(seen.samples_read);
            counts.hold(signed(now.held_bytes).saturating_sub(signed(seen.held_bytes)));
        }
        before
    }

    /// Values went from one node to another.
    fn pass_on(&self, from: NodeId, to: Option<NodeId>, column: &Column) {
        let bytes = signed(column.charged_bytes());
        let mut state = self.state.borrow_mut();
        if let Some(counts) = state.counts.get_mut(from) {
            counts.hold(bytes.saturating_neg());
        }
        if let Some(counts) = to.and_then(|node| state.counts.get_mut(node)) {
            counts.hold(bytes);
        }
    }

    pub(super) fn count_series(&self, node: NodeId, series: usize) {
        if let Some(counts) = self.state.borrow_mut().counts.get_mut(node) {
            counts.series += series as u64;
        }
    }

    pub(super) fn count_values(&self, node: NodeId, values: usize) {
        if let Some(counts) = self.state.borrow_mut().counts.get_mut(node) {
            counts.values += values as u64;
        }
    }

    /// What each node of the plan cost.
    pub(super) fn measured(&self, plan: &Plan<'_>) -> Vec<Measured> {
        let counts = &self.state.borrow().counts;
        let mut measured: Vec<Measured> = Vec::with_capacity(counts.len());
        for (node, own) in plan.nodes.iter().zip(counts) {
            let series_in = node.inputs.iter().map(|input| {
                let counts = counts.get(plan.resolved(*input));
                counts.map_or(0, |counts| counts.series)
            });
            // A node that stands for others is counted where it stands.
            let below = node.inputs.iter().filter_map(|input| measured.get(*input));
            let below_ns: u64 = below.map(|input| input.total_ns).sum();
            measured.push(Measured {
                series_in: series_in.sum(),
                series: own.series,
                values: own.values,
                samples_read: own.samples_read,
                peak_bytes: own.peak_bytes,
                own_ns: own.own_ns,
                total_ns: own.own_ns.saturating_add(below_ns),
            });
        }
        measured
    }

    pub(super) fn totals(&self) -> Totals {
        let state = self.state.borrow();
        Totals {
            time_ns: self.clock.now_ns().saturating_sub(state.started_ns),
            stats: self.query.stats(),
            peak_bytes: state.peak_bytes,
        }
    }
}

impl Counts {
    fn hold(&mut self, more: i64) {
        self.held_bytes = self.held_bytes.saturating_add(more);
        let held = u64::try_from(self.held_bytes).unwrap_or(0);
        self.peak_bytes = self.peak_bytes.max(held);
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// A node's operator with a meter.
pub(super) struct Metered<'q> {
    meter: &'q Meter<'q>,
    node: NodeId,
    input: Vector<'q>,
    counts_values: bool,
}

impl<'q> Metered<'q> {
    /// All that the node gives.
    pub(super) fn boxed(meter: &'q Meter<'q>, node: NodeId, input: Vector<'q>) -> Vector<'q> {
        meter.count_series(node, input.series().len());
        Box::new(Metered {
            meter,
            node,
            input,
            counts_values: true,
        })
    }

    /// What one of several consumers takes of it.
    pub(super) fn of_consumer(meter: &'q Meter<'q>, node: NodeId, input: Vector<'q>) -> Vector<'q> {
        Box::new(Metered {
            meter,
            node,
            input,
            counts_values: false,
        })
    }
}

impl VectorOperator for Metered<'_> {
    fn series(&self) -> &[SeriesInfo] {
        self.input.series()
    }

    fn are_distinct(&self) -> bool {
        self.input.are_distinct()
    }

    fn next(&mut self) -> Result<Column, QueryError> {
        let before = self.meter.enter(Some(self.node));
        let column = self.input.next();
        self.meter.enter(before);
        let column = column?;
        if self.counts_values {
            let values = column.floats().count() + column.histograms().len();
            self.meter.count_values(self.node, values);
        }
        if before != Some(self.node) {
            self.meter.pass_on(self.node, before, &column);
        }
        Ok(column)
    }

    fn skip(&mut self) -> Result<(), QueryError> {
        let before = self.meter.enter(Some(self.node));
        let skipped = self.input.skip();
        self.meter.enter(before);
        skipped
    }

    fn reuse(&mut self, column: Column) {
        self.input.reuse(column);
    }
}
