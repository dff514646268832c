//! From a plan to the operators that evaluate it, node after node: inputs first, each in its turn.
//!
//! Keeps true: neither building nor asking operators for values takes stack for each level of an
//! expression; a node with several consumers is evaluated once, if there is room for what the later
//! ones want.

use std::rc::Rc;
use std::sync::Arc;

use super::budget::Spare;
use super::error::QueryError;
use super::meter::{Meter, Metered};
use super::operator::{Ready, Vector};
use super::plan::{Node, NodeId, Plan};
use super::query::Query;
use super::range::RangeVector;
use super::repeated::Repeated;
use super::scalar::Scalar;
use super::shared::Shared;
use super::steps::Steps;
use super::tally::Weight;
use crate::syntax::ast::{Expr, Span, ValueType};

mod aggregate;
mod binary;
mod call;
mod leaf;

use leaf::literal;
pub(super) use leaf::text;

type Result<T> = std::result::Result<T, QueryError>;

/// So many nodes' operators may stand within one another before their values are worked out and
/// kept: asking operator within operator takes stack for each.
const MAX_NESTED_NODES: usize = 24;

/// Builds operators.
#[derive(Clone, Copy)]
pub(super) struct Builder<'q> {
    pub plan: &'q Plan<'q>,
    pub queries: &'q Queries<'q>,
    pub meter: Option<&'q Meter<'q>>,
    /// What is built was built before: its annotations are told already.
    unheard: bool,
}

/// The query as nodes see it.
pub(super) struct Queries<'q> {
    main: &'q Query<'q>,
    /// For nodes that stand for others, whose annotations are told at several places, and those
    /// whose samples do not count as usual.
    of_node: Vec<Option<Query<'q>>>,
    /// Nobody looks at its annotations.
    unheard: Query<'q>,
}

impl<'q> Queries<'q> {
    pub(super) fn new(main: &'q Query<'q>, plan: &Plan<'_>) -> Self {
        let of_node = |node: &Node<'_>| {
            let weight = plan.weight(node);
            let is_usual = node.places.len() == 1 && weight == main.weight;
            (!is_usual).then(|| main.beside(weight))
        };
        Queries {
            main,
            of_node: plan.nodes.iter().map(of_node).collect(),
            unheard: main.beside(Weight::NOTHING),
        }
    }

    /// Brings together what was told, each at all its places.
    pub(super) fn gather_annotations(&self, plan: &Plan<'_>) {
        for (id, (node, query)) in plan.nodes.iter().zip(&self.of_node).enumerate() {
            let Some(query) = query else {
                continue;
            };
            let places = node.places.iter();
            let places: Vec<_> = places
                .map(|place| move |span: Span| plan.moved(span, id, *place))
                .collect();
            let told = query.take_annotations();
            self.main.annotate(node.expr.span, |annotations, _| {
                annotations.tell_again(told, &places);
            });
        }
    }

    fn of(&'q self, id: NodeId) -> &'q Query<'q> {
        let own = self.of_node.get(id).and_then(Option::as_ref);
        own.unwrap_or(self.main)
    }
}

/// What a node has become.
enum Built<'q> {
    Vector(Vector<'q>),
    Scalar(Scalar),
    Range(RangeVector<'q>),
    /// A text or labels, which are looked at where they are used.
    Nothing,
}

/// Where a node waits for what it goes into.
enum Slot<'q> {
    Empty,
    One(Built<'q>),
    Vector(Shared<'q>),
    Scalar(Scalar, usize),
}

/// A node that is being built.
struct Part<'q, 'i> {
    plan: &'q Plan<'q>,
    node: &'q Node<'q>,
    query: &'q Query<'q>,
    steps: Steps,
    inputs: &'i mut std::vec::IntoIter<Built<'q>>,
}

impl<'q> Builder<'q> {
    pub(super) fn new(
        plan: &'q Plan<'q>,
        queries: &'q Queries<'q>,
        meter: Option<&'q Meter<'q>>,
    ) -> Self {
        Builder {
            plan,
            queries,
            meter,
            unheard: false,
        }
    }

    pub(super) fn vector(self, root: NodeId) -> Result<Vector<'q>> {
        match self.build(root)? {
            Built::Vector(vector) => Ok(vector),
            _ => Err(self.wrong_type(root)),
        }
    }

    pub(super) fn scalar(self, root: NodeId) -> Result<Scalar> {
        match self.build(root)? {
            Built::Scalar(scalar) => Ok(scalar),
            _ => Err(self.wrong_type(root)),
        }
    }

    pub(super) fn range(self, root: NodeId) -> Result<RangeVector<'q>> {
        match self.build(root)? {
            Built::Range(range) => Ok(range),
            _ => Err(self.wrong_type(root)),
        }
    }

    fn wrong_type(self, id: NodeId) -> QueryError {
        self.plan
            .nodes
            .get(id)
            .map_or_else(no_such_node, |node| wrong_type(node.expr))
    }

    fn build(self, root: NodeId) -> Result<Built<'q>> {
        let root = self.plan.resolved(root);
        let live = self.plan.below(root);
        let mut work = Work {
            consumers: self.plan.consumers(&live),
            slots: live.iter().map(|_| Slot::Empty).collect(),
            depths: vec![0; live.len()],
            live,
            builder: self,
        };
        work.check_sizes()?;
        for at in 0..work.live.len() {
            self.queries.main.check_canceled()?;
            work.build(at)?;
        }
        work.take(root).map(|(built, _)| built)
    }

    fn query(self, id: NodeId) -> &'q Query<'q> {
        if self.unheard {
            &self.queries.unheard
        } else {
            self.queries.of(id)
        }
    }
}

/// The nodes of one build, and what has become of them.
struct Work<'q> {
    builder: Builder<'q>,
    /// Ascending.
    live: Vec<NodeId>,
    slots: Vec<Slot<'q>>,
    /// How many nodes' operators stand within one another in each slot.
    depths: Vec<usize>,
    consumers: Vec<usize>,
}

impl<'q> Work<'q> {
    /// A grid too large for a single series is too large to be walked over, too.
    fn check_sizes(&self) -> Result<()> {
        let budget = &self.builder.queries.main.budget;
        for node in self
            .live
            .iter()
            .filter_map(|id| self.builder.plan.nodes.get(*id))
        {
            if node.gives == ValueType::InstantVector {
                budget.check_size(node.result_steps().count)?;
            }
        }
        Ok(())
    }

    fn build(&mut self, at: usize) -> Result<()> {
        let builder = self.builder;
        let id = self.live.get(at).copied().ok_or_else(no_such_node)?;
        let node = builder.plan.nodes.get(id).ok_or_else(no_such_node)?;
        let mut inputs = Vec::with_capacity(node.inputs.len());
        let mut depth = 0;
        for input in &node.inputs {
            let (built, nested) = self.take(builder.plan.resolved(*input))?;
            depth = depth.max(nested + 1);
            inputs.push(built);
        }
        let before = builder.meter.map(|meter| meter.enter(Some(id)));
        let part = Part {
            plan: builder.plan,
            node,
            query: builder.query(id),
            steps: node.steps,
            inputs: &mut inputs.into_iter(),
        };
        let built = part
            .build()
            .and_then(|built| self.finished(id, node, built, &mut depth));
        if let (Some(meter), Some(before)) = (builder.meter, before) {
            meter.enter(before);
        }
        let slot = match built? {
            Built::Vector(vector) if self.is_shared(id) => Slot::Vector(self.shared(id, vector)),
            Built::Scalar(scalar) if self.is_shared(id) => {
                Slot::Scalar(scalar, self.consumers.get(id).copied().unwrap_or(0))
            }
            built => Slot::One(built),
        };
        if let (Some(known), Some(known_depth)) = (self.slots.get_mut(at), self.depths.get_mut(at))
        {
            *known = slot;
            *known_depth = depth;
        }
        Ok(())
    }

    /// What a node gives at all its steps, with a meter if it is to have one.
    fn finished(
        &self,
        id: NodeId,
        node: &'q Node<'q>,
        built: Built<'q>,
        depth: &mut usize,
    ) -> Result<Built<'q>> {
        let Builder { meter, .. } = self.builder;
        let mut vector = match built {
            Built::Vector(vector) => vector,
            Built::Range(range) => {
                if let Some(meter) = meter {
                    meter.count_series(id, range.source.series().len());
                }
                return Ok(Built::Range(range));
            }
            Built::Scalar(scalar) => {
                if let Some(meter) = meter {
                    meter.count_values(id, node.steps.count);
                }
                return Ok(Built::Scalar(scalar));
            }
            Built::Nothing => return Ok(Built::Nothing),
        };
        if let Some(steps) = node.repeated {
            vector = Repeated::boxed(self.builder.query(id), steps, vector);
        }
        if *depth >= MAX_NESTED_NODES {
            vector = Ready::collected(vector)?;
            *depth = 0;
        }
        Ok(Built::Vector(match meter {
            Some(meter) => Metered::boxed(meter, id, vector),
            None => vector,
        }))
    }

    fn is_shared(&self, id: NodeId) -> bool {
        self.consumers.get(id).is_some_and(|count| *count > 1)
    }

    fn shared(&self, id: NodeId, vector: Vector<'q>) -> Shared<'q> {
        let builder = self.builder;
        let alone = Builder {
            unheard: true,
            ..builder
        };
        let consumers = self.consumers.get(id).copied().unwrap_or(0);
        let again = Rc::new(move || alone.vector(id));
        let (shared, kept) = Shared::new(vector, consumers, again);
        let kept: Arc<dyn Spare> = kept;
        builder.queries.main.budget.add_spare(&kept);
        shared
    }

    /// What has become of a node, for one that it goes into.
    fn take(&mut self, id: NodeId) -> Result<(Built<'q>, usize)> {
        let at = self.live.binary_search(&id).map_err(|_| no_such_node())?;
        let depth = self.depths.get(at).copied().unwrap_or(0);
        let slot = self.slots.get_mut(at).ok_or_else(no_such_node)?;
        let built = match slot {
            Slot::Empty => return Err(no_such_node()),
            Slot::One(_) => match std::mem::replace(slot, Slot::Empty) {
                Slot::One(built) => built,
                _ => return Err(no_such_node()),
            },
            Slot::Vector(shared) => Built::Vector(match self.builder.meter {
                Some(meter) => Metered::of_consumer(meter, id, shared.consumer()),
                None => shared.consumer(),
            }),
            Slot::Scalar(scalar, uses) => {
                *uses = uses.saturating_sub(1);
                match uses {
                    0 => Built::Scalar(std::mem::replace(scalar, Scalar::Constant(f64::NAN))),
                    _ => Built::Scalar(scalar.copy(self.builder.queries.main)?),
                }
            }
        };
        Ok((built, depth))
    }
}

impl<'q> Part<'q, '_> {
    fn wrong_type(&self) -> QueryError {
        wrong_type(self.node.expr)
    }

    /// The next input, which is a vector.
    fn vector(&mut self) -> Result<Vector<'q>> {
        match self.inputs.next() {
            Some(Built::Vector(vector)) => Ok(vector),
            _ => Err(self.wrong_type()),
        }
    }

    /// The next input, which is a scalar.
    fn scalar(&mut self) -> Result<Scalar> {
        match self.inputs.next() {
            Some(Built::Scalar(scalar)) => Ok(scalar),
            _ => Err(self.wrong_type()),
        }
    }

    fn input(&self, index: usize) -> Option<&'q Node<'q>> {
        self.plan.nodes.get(*self.node.inputs.get(index)?)
    }

    /// Where an input stands in the query, without parentheses.
    fn span_of_input(&self, index: usize) -> Span {
        self.input(index)
            .map_or(self.node.expr.span, |input| input.expr.span)
    }

    /// The same with parentheses.
    fn outer_span_of_input(&self, index: usize) -> Span {
        self.input(index)
            .map_or(self.node.expr.span, |input| input.outer_span)
    }
}

/// The parser checks types, so this is met only if a tree was built by hand.
fn wrong_type(expr: &Expr) -> QueryError {
    QueryError::execution(format!(
        "unexpected {} in the expression",
        expr.value_type().documented()
    ))
}

/// A mistake of the engine itself.
fn no_such_node() -> QueryError {
    QueryError::execution("internal error: the plan lacks a node")
}
