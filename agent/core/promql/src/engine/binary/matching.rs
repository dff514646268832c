//! Arithmetic and comparison between two vectors, one-to-one or many-to-one.
//!
//! The "many" side passes by, series after series; the "one" side is read as far as it has to be
//! for that, and kept as long as it is needed. Labels don't change from step to step, so which
//! series meet and what comes of them is known beforehand; whether two series really meet depends
//! on the steps at which they have values. What meets nothing meets the value of `fill`, if there
//! is one.

use std::sync::Arc;

use hashbrown::HashMap;
use narthex_model::{Labels, LabelsBuilder, METRIC_NAME, SampleValue};

use super::scalar::truth;
use super::{Applied, Finding, LastFindings, Outcome, apply, apply_values, changes_meaning};
use crate::engine::column::{Bitmap, Column, Value};
use crate::engine::error::QueryError;
use crate::engine::merge::SAME_LABELSET;
use crate::engine::operator::{Ready, SeriesInfo, Vector, VectorOperator, exhausted};
use crate::engine::query::Query;
use crate::engine::steps::Steps;
use crate::syntax::ast::{BinaryOp, Cardinality, Span, VectorMatching};

const MUST_BE_EXPLICIT: &str = "multiple matches for labels: many-to-one matching must be \
                                explicit (group_left/group_right)";
const MUST_BE_UNIQUE: &str = "multiple matches for labels: grouping labels must ensure unique \
                              matches";

/// Numbers the label sets by which two vectors are matched.
pub(super) struct Signatures<'m> {
    matching: &'m VectorMatching,
    ids: HashMap<Labels, usize>,
}

impl<'m> Signatures<'m> {
    pub(super) fn new(matching: &'m VectorMatching) -> Self {
        Signatures {
            matching,
            ids: HashMap::new(),
        }
    }

    pub(super) fn of_all(&mut self, series: &[SeriesInfo]) -> Vec<usize> {
        let mut ids = Vec::with_capacity(series.len());
        if !self.matching.on {
            // Most series have a signature of their own.
            self.ids.reserve(series.len());
        }
        for info in series {
            let new_id = self.ids.len();
            let key = match_labels(&info.labels, self.matching);
            ids.push(*self.ids.entry(key).or_insert(new_id));
        }
        ids
    }

    pub(super) fn count(&self) -> usize {
        self.ids.len()
    }
}

fn match_labels(labels: &Labels, matching: &VectorMatching) -> Labels {
    labels.filtered(|label| {
        let named = matching.labels.contains(&label.name);
        if matching.on {
            named
        } else {
            !named && &*label.name != METRIC_NAME
        }
    })
}

pub(in crate::engine) struct Operation<'m> {
    pub op: BinaryOp,
    pub return_bool: bool,
    pub matching: &'m VectorMatching,
    /// Of the whole expression.
    pub span: Span,
}

pub(in crate::engine) fn vectors<'q>(
    query: &'q Query<'q>,
    steps: Steps,
    operation: Operation<'q>,
    left: Vector<'q>,
    right: Vector<'q>,
) -> Result<Vector<'q>, QueryError> {
    let swapped = operation.matching.cardinality == Cardinality::OneToMany;
    let (many, one) = if swapped {
        (right, left)
    } else {
        (left, right)
    };
    let mut signatures = Signatures::new(operation.matching);
    let many_of = signatures.of_all(many.series());
    let one_of = signatures.of_all(one.series());
    let plan = Plan::new(
        query,
        &operation,
        many.series(),
        &many_of,
        one.series(),
        &one_of,
    );
    let one_side = OneReader::new(one, one_of, &many_of, signatures.count());
    let mut join = Join {
        outputs: (0..plan.series.len()).map(|_| None).collect(),
        met: plan.shared.iter().map(|_| None).collect(),
        taken: plan.shared.iter().map(|_| None).collect(),
        one: (0..signatures.count())
            .map(|_| OneSide::default())
            .collect(),
        one_side,
        query,
        steps,
        operation,
        swapped,
        many,
        many_of,
        plan,
        findings: LastFindings::default(),
        next_many: 0,
        next_output: 0,
    };
    if join.one_side.has_several() {
        join.read_one_side_whole()?;
    }
    if join.plan.series.is_empty() {
        join.take_rest()?;
    }
    Ok(Box::new(join))
}

/// Which labels come out of which pair of series.
struct Plan {
    /// The results, in the order in which they are complete.
    series: Vec<SeriesInfo>,
    last_many_of: Vec<usize>,
    /// For each series of the many side and each of the one side that it may meet: the result.
    results: Vec<Vec<(usize, usize)>>,
    /// For each series of the many side: the result where it meets nothing, if that is filled in.
    alone: Vec<usize>,
    /// The same for each series of the one side. These are complete only at the end.
    missed: Vec<usize>,
    /// For each signature, whether more than one series of the many side has it.
    shared: Vec<bool>,
    /// For each result, whether more than one series of the many side may give it.
    crowded: Vec<bool>,
}

impl Plan {
    fn new(
        query: &Query<'_>,
        operation: &Operation<'_>,
        many: &[SeriesInfo],
        many_of: &[usize],
        one: &[SeriesInfo],
        one_of: &[usize],
    ) -> Self {
        let signatures = many_of.iter().chain(one_of).max().map_or(0, |max| max + 1);
        let mut ones: Vec<Vec<usize>> = vec![Vec::new(); signatures];
        for (index, signature) in one_of.iter().enumerate() {
            if let Some(members) = ones.get_mut(*signature) {
                members.push(index);
            }
        }
        let mut found = Results::default();
        let mut results = Vec::with_capacity(many.len());
        let mut alone = Vec::new();
        let mut seen = vec![0_usize; signatures];
        for (index, (info, signature)) in many.iter().zip(many_of).enumerate() {
            let members = ones.get(*signature).map_or(&[][..], Vec::as_slice);
            let mut of_this = Vec::with_capacity(members.len());
            for member in members {
                let Some(one_info) = one.get(*member) else {
                    continue;
                };
                let labels = result_labels(query, operation, &info.labels, &one_info.labels);
                of_this.push((*member, found.id(labels, index)));
            }
            if operation.matching.fill_right.is_some() {
                let one = match_labels(&info.labels, operation.matching);
                let labels = result_labels(query, operation, &info.labels, &one);
                alone.push(found.id(labels, index));
            }
            if let Some(count) = seen.get_mut(*signature) {
                *count += 1;
            }
            results.push(of_this);
        }
        let mut missed = Vec::new();
        if operation.matching.fill_left.is_some() {
            for info in one {
                let absent = match_labels(&info.labels, operation.matching);
                let labels = result_labels(query, operation, &absent, &info.labels);
                missed.push(found.id(labels, many.len()));
            }
        }
        let plan = Plan {
            series: Vec::new(),
            last_many_of: Vec::new(),
            results,
            alone,
            missed,
            shared: seen.iter().map(|count| *count > 1).collect(),
            crowded: Vec::new(),
        };
        plan.ordered(operation, found)
    }

    /// Numbers the results by when they are complete.
    fn ordered(mut self, operation: &Operation<'_>, found: Results) -> Self {
        let Results { ids, last } = found;
        let mut order: Vec<(usize, usize, Labels)> = ids
            .into_iter()
            .map(|(labels, id)| (last.get(id).copied().unwrap_or(0), id, labels))
            .collect();
        order.sort_by_key(|(last, id, _)| (*last, *id));
        let mut place = vec![0; order.len()];
        for (output, (_, id, _)) in order.iter().enumerate() {
            if let Some(slot) = place.get_mut(*id) {
                *slot = output;
            }
        }
        let renumber = |result: &mut usize| *result = place.get(*result).copied().unwrap_or(0);
        let met = self.results.iter_mut().flatten().map(|(_, result)| result);
        let filled = self.alone.iter_mut().chain(&mut self.missed);
        met.chain(filled).for_each(renumber);
        self.crowded = self.crowded(order.len());
        self.last_many_of = order.iter().map(|(last, _, _)| *last).collect();
        let info = |(_, _, labels)| SeriesInfo {
            labels,
            drop_name: operation.return_bool,
        };
        self.series = order.into_iter().map(info).collect();
        self
    }

    /// For each result, whether more than one series of the many side may give it.
    fn crowded(&self, results: usize) -> Vec<bool> {
        let mut crowded = vec![false; results];
        let mut first_many: Vec<Option<usize>> = vec![None; results];
        for (many, met) in self.results.iter().enumerate() {
            let met = met.iter().map(|(_, result)| *result);
            for result in met.chain(self.alone.get(many).copied()) {
                if let (Some(first), Some(crowded)) =
                    (first_many.get_mut(result), crowded.get_mut(result))
                {
                    *crowded |= *first.get_or_insert(many) != many;
                }
            }
        }
        crowded
    }
}

/// Numbers the label sets of the results.
#[derive(Default)]
struct Results {
    ids: HashMap<Labels, usize>,
    /// The last series of the many side that each needs.
    last: Vec<usize>,
}

impl Results {
    fn id(&mut self, labels: Labels, needs: usize) -> usize {
        let new_id = self.ids.len();
        let id = *self.ids.entry(labels).or_insert(new_id);
        if id == new_id {
            self.last.push(needs);
        } else if let Some(slot) = self.last.get_mut(id) {
            *slot = needs;
        }
        id
    }
}

fn result_labels(
    query: &Query<'_>,
    operation: &Operation<'_>,
    many: &Labels,
    one: &Labels,
) -> Labels {
    let matching = operation.matching;
    let drops_name =
        changes_meaning(operation.op) || (operation.return_bool && !query.delayed_name_removal);
    let mut builder = LabelsBuilder::from(many);
    if drops_name {
        builder.retain(|label| !matches!(&*label.name, METRIC_NAME | "__type__" | "__unit__"));
    }
    if matching.cardinality == Cardinality::OneToOne {
        let named = |name: &Arc<str>| matching.labels.contains(name);
        builder.retain(|label| named(&label.name) == matching.on);
    }
    for name in &matching.include {
        builder.set(name.clone(), one.value_or_empty(name));
    }
    builder.build()
}

/// What the one side has for one signature.
#[derive(Default)]
struct OneSide {
    /// The values, of whichever series has one.
    column: Option<Column>,
    /// Which series of the one side each value is of, where there are several.
    members: Vec<u32>,
    /// The only one, or the first.
    first_member: usize,
}

impl OneSide {
    fn member_at(&self, step: usize) -> usize {
        match self.members.get(step) {
            Some(member) => *member as usize,
            None => self.first_member,
        }
    }
}

/// Reads the one side as far as it is needed.
struct OneReader<'q> {
    input: Vector<'q>,
    signature_of: Vec<usize>,
    /// For each signature how many series of this side have it, and the last one.
    members: Vec<usize>,
    last: Vec<Option<usize>>,
    /// For each signature the last series of the many side that meets it.
    last_met_by: Vec<Option<usize>>,
    next: usize,
}

impl<'q> OneReader<'q> {
    fn new(
        input: Vector<'q>,
        signature_of: Vec<usize>,
        many_of: &[usize],
        signatures: usize,
    ) -> Self {
        let (mut members, mut last) = (vec![0; signatures], vec![None; signatures]);
        for (index, signature) in signature_of.iter().enumerate() {
            if let (Some(members), Some(last)) =
                (members.get_mut(*signature), last.get_mut(*signature))
            {
                *members += 1;
                *last = Some(index);
            }
        }
        let mut last_met_by = vec![None; signatures];
        for (index, signature) in many_of.iter().enumerate() {
            if let Some(slot) = last_met_by.get_mut(*signature) {
                *slot = Some(index);
            }
        }
        OneReader {
            input,
            signature_of,
            members,
            last,
            last_met_by,
            next: 0,
        }
    }

    /// Whether any signature is there more than once, which may be an error.
    fn has_several(&self) -> bool {
        self.members.iter().any(|members| *members > 1)
    }

    fn has_read(&self, signature: usize) -> bool {
        let last = self.last.get(signature).copied().flatten();
        last.is_none_or(|last| last < self.next)
    }

    /// The next series with its signature; no column if `is_filled` doesn't make it matter.
    fn next(&mut self, is_filled: bool) -> Result<Option<NextOne>, QueryError> {
        let index = self.next;
        let Some(signature) = self.signature_of.get(index).copied() else {
            return Ok(None);
        };
        self.next += 1;
        let several = self.members.get(signature).is_some_and(|count| *count > 1);
        let is_met = self.last_met_by.get(signature).is_some_and(Option::is_some);
        // A signature that nothing meets matters only if it is there twice, or filled in.
        let column = if is_met || several || is_filled {
            Some(self.input.next()?)
        } else {
            self.input.skip()?;
            None
        };
        Ok(Some(NextOne {
            index,
            signature,
            several,
            column,
        }))
    }
}

struct NextOne {
    index: usize,
    signature: usize,
    several: bool,
    column: Option<Column>,
}

struct Join<'q> {
    query: &'q Query<'q>,
    steps: Steps,
    operation: Operation<'q>,
    /// The many side stands on the right of the operator.
    swapped: bool,
    many: Vector<'q>,
    many_of: Vec<usize>,
    one: Vec<OneSide>,
    one_side: OneReader<'q>,
    plan: Plan,
    /// The unfinished results.
    outputs: Vec<Option<Unfinished>>,
    /// One-to-one: the steps at which a signature has met, where it might meet again.
    taken: Vec<Option<Bitmap>>,
    findings: LastFindings,
    /// If the many side is filled in: the steps at which a signature has met.
    met: Vec<Option<Bitmap>>,
    next_many: usize,
    next_output: usize,
}

struct Unfinished {
    column: Column,
    /// Many-to-one: the steps at which series met to give this, and by which signature.
    met: Vec<(usize, Bitmap)>,
}

/// Two series of the one side with the same signature at the same step.
struct Duplicate {
    step: usize,
    members: (usize, usize),
}

impl Join<'_> {
    /// Reads the one side until it has all of a signature.
    fn read_one_side(&mut self, signature: usize) -> Result<(), QueryError> {
        let is_filled = self.operation.matching.fill_left.is_some();
        while !self.one_side.has_read(signature) {
            if let Some(next) = self.one_side.next(is_filled)?
                && let Some(column) = next.column
            {
                let side = self.one.get_mut(next.signature).ok_or_else(exhausted)?;
                side.add(next.index, column, next.several, |_| {})?;
            }
        }
        Ok(())
    }

    /// Reads all of the one side. Two series of it with the same signature at the same step may be
    /// an error.
    fn read_one_side_whole(&mut self) -> Result<(), QueryError> {
        let is_filled = self.operation.matching.fill_left.is_some();
        let mut duplicates: HashMap<usize, Duplicate> = HashMap::new();
        while let Some(next) = self.one_side.next(is_filled)? {
            let Some(column) = next.column else {
                continue;
            };
            let side = self.one.get_mut(next.signature).ok_or_else(exhausted)?;
            side.add(next.index, column, next.several, |duplicate| {
                duplicates.entry(duplicate.step).or_insert(duplicate);
            })?;
        }
        if duplicates.is_empty() {
            return Ok(());
        }
        self.refuse_duplicates(&duplicates)
    }

    /// What of the one side no series of the many side needs any more goes.
    fn forget_one_side(&mut self, signature: usize, index: usize) {
        let last = self.one_side.last_met_by.get(signature).copied().flatten();
        if self.operation.matching.fill_left.is_none()
            && last == Some(index)
            && let Some(side) = self.one.get_mut(signature)
            && let Some(column) = std::mem::take(side).column
        {
            self.one_side.input.reuse(column);
        }
    }

    /// Duplicates on the one side are an error at the steps at which the many side has anything,
    /// or is filled in.
    fn refuse_duplicates(
        &mut self,
        duplicates: &HashMap<usize, Duplicate>,
    ) -> Result<(), QueryError> {
        if self.operation.matching.fills()
            && let Some(duplicate) = duplicates.values().min_by_key(|d| d.step)
        {
            return Err(self.duplicate_error(duplicate));
        }
        let mut present = Bitmap::new(self.steps.count);
        let mut columns = Vec::new();
        for index in 0..self.many.series().len() {
            let column = self.many.next()?;
            present.add_all(&column.present());
            if let Some(info) = self.many.series().get(index) {
                columns.push((info.clone(), column));
            }
        }
        let first = present.iter().find_map(|step| duplicates.get(&step));
        if let Some(duplicate) = first {
            return Err(self.duplicate_error(duplicate));
        }
        self.many = Box::new(Ready::new(columns));
        Ok(())
    }

    fn duplicate_error(&self, duplicate: &Duplicate) -> QueryError {
        let infos = self.one_side.input.series();
        let label = |member: usize| infos.get(member).map(|info| &info.labels);
        let (Some(known), Some(found)) = (label(duplicate.members.0), label(duplicate.members.1))
        else {
            return exhausted();
        };
        let group = match_labels(found, self.operation.matching);
        let (mut first, mut second) = (known.to_string(), found.to_string());
        if first > second {
            std::mem::swap(&mut first, &mut second);
        }
        let side = if self.swapped { "left" } else { "right" };
        QueryError::execution(format!(
            "found duplicate series for the match group {group} on the {side} hand-side of the \
             operation: [{first}, {second}];many-to-many matching not allowed: matching labels \
             must be unique on one side"
        ))
    }

    fn take_many(&mut self) -> Result<(), QueryError> {
        let index = self.next_many;
        self.next_many += 1;
        let results = std::mem::take(self.plan.results.get_mut(index).ok_or_else(exhausted)?);
        let alone = self.plan.alone.get(index).copied();
        if results.is_empty() && alone.is_none() {
            return self.many.skip();
        }
        let fill = self.operation.matching.fill_right.zip(alone);
        let signature = *self.many_of.get(index).ok_or_else(exhausted)?;
        self.read_one_side(signature)?;
        let many = self.many.next()?;
        for (step, value) in many.iter() {
            let Some((output, other)) = self.partner(step, signature, &results, fill)? else {
                continue;
            };
            match other {
                Value::Float(other) => self.meet_floats(step, signature, output, value, other)?,
                Value::Histogram(_) => {
                    let applied = self.apply(Value::Float(value), other);
                    self.meet(step, signature, output, applied)?;
                }
            }
        }
        for (step, histogram) in many.histograms() {
            let Some((output, other)) = self.partner(*step, signature, &results, fill)? else {
                continue;
            };
            let applied = self.apply(Value::Histogram(histogram), other);
            self.meet(*step, signature, output, applied)?;
        }
        self.many.reuse(many);
        self.forget_one_side(signature, index);
        Ok(())
    }

    /// What of the one side has met nothing meets the fill value, once all of the many side has
    /// passed by.
    fn take_missed(&mut self) -> Result<(), QueryError> {
        let Some(fill) = self.operation.matching.fill_left else {
            return Ok(());
        };
        for (signature, side) in std::mem::take(&mut self.one).into_iter().enumerate() {
            let Some(column) = &side.column else {
                continue;
            };
            for step in column.present().iter() {
                let met = self.met.get(signature).and_then(Option::as_ref);
                let Some(value) = column.value(step) else {
                    continue;
                };
                if met.is_some_and(|met| met.get(step)) {
                    continue;
                }
                let output = self.plan.missed.get(side.member_at(step));
                let output = *output.ok_or_else(exhausted)?;
                let applied = self.apply(Value::Float(fill), value);
                self.meet(step, signature, output, applied)?;
            }
        }
        Ok(())
    }

    /// What a value of the many side meets at a step, and the result that comes of it, which is one
    /// of `results`; or what is filled in where there is nothing, and the result of that.
    fn partner(
        &self,
        step: usize,
        signature: usize,
        results: &[(usize, usize)],
        fill: Option<(f64, usize)>,
    ) -> Result<Option<(usize, Value<'_>)>, QueryError> {
        let side = self.one.get(signature).ok_or_else(exhausted)?;
        let Some(value) = side.column.as_ref().and_then(|column| column.value(step)) else {
            return Ok(fill.map(|(fill, output)| (output, Value::Float(fill))));
        };
        let member = side.member_at(step);
        let output = results.iter().find(|(known, _)| *known == member);
        let (_, output) = *output.ok_or_else(exhausted)?;
        Ok(Some((output, value)))
    }

    /// A value of the many side and one of the one side, as they stand around the operator.
    fn in_order<T>(&self, many: T, one: T) -> (T, T) {
        if self.swapped {
            (one, many)
        } else {
            (many, one)
        }
    }

    fn apply(&self, many: Value<'_>, one: Value<'_>) -> Result<Applied, Finding> {
        let (left, right) = self.in_order(many, one);
        apply_values(self.operation.op, left, right)
    }

    /// Series of the many side that no result needs may still be an error.
    fn take_rest(&mut self) -> Result<(), QueryError> {
        while self.next_many < self.many_of.len() {
            self.take_many()?;
        }
        self.read_one_side_whole()?;
        self.take_missed()?;
        let Operation { op, span, .. } = self.operation;
        self.findings.tell(self.query, op, span);
        Ok(())
    }

    /// Two floats meet.
    fn meet_floats(
        &mut self,
        step: usize,
        signature: usize,
        output: usize,
        many: f64,
        one: f64,
    ) -> Result<(), QueryError> {
        let (left, right) = self.in_order(many, one);
        let Some(Outcome { value, keep }) = apply(self.operation.op, left, right) else {
            self.findings.add(step, Finding::Types("float", "float"));
            return Ok(());
        };
        self.note_met(step, signature);
        self.check_unique(step, signature, output)?;
        let value = if self.operation.return_bool {
            truth(keep)
        } else if keep {
            value
        } else {
            return Ok(());
        };
        self.free_column(step, output)?.set(step, value);
        Ok(())
    }

    /// Two samples met of which at least one is a histogram.
    fn meet(
        &mut self,
        step: usize,
        signature: usize,
        output: usize,
        applied: Result<Applied, Finding>,
    ) -> Result<(), QueryError> {
        let applied = match applied {
            Ok(applied) => applied,
            Err(finding) => {
                self.findings.add(step, finding);
                return Ok(());
            }
        };
        if let Some(during) = applied.reconciled {
            self.findings.add(step, Finding::BoundsReconciled(during));
        }
        self.note_met(step, signature);
        self.check_unique(step, signature, output)?;
        let value = if self.operation.return_bool {
            SampleValue::Float(truth(applied.keep))
        } else if applied.keep {
            applied.value
        } else {
            return Ok(());
        };
        self.free_column(step, output)?.set_value(step, value)
    }

    /// The column of a result that has nothing yet at this step.
    fn free_column(&mut self, step: usize, output: usize) -> Result<&mut Column, QueryError> {
        let unfinished = self.unfinished(output)?;
        if unfinished.column.has(step) {
            return Err(QueryError::execution(SAME_LABELSET));
        }
        Ok(&mut unfinished.column)
    }

    fn unfinished(&mut self, output: usize) -> Result<&mut Unfinished, QueryError> {
        let slot = self.outputs.get_mut(output).ok_or_else(exhausted)?;
        if slot.is_none() {
            *slot = Some(Unfinished {
                column: self.query.column(&self.steps)?,
                met: Vec::new(),
            });
        }
        slot.as_mut().ok_or_else(exhausted)
    }

    /// Notes that there is nothing to fill in.
    fn note_met(&mut self, step: usize, signature: usize) {
        if self.operation.matching.fill_left.is_some()
            && let Some(met) = self.met.get_mut(signature)
        {
            met.get_or_insert_with(|| Bitmap::new(self.steps.count))
                .set(step);
        }
    }

    /// Results must be unique even where a comparison then drops them.
    fn check_unique(
        &mut self,
        step: usize,
        signature: usize,
        output: usize,
    ) -> Result<(), QueryError> {
        if self.plan.shared.get(signature) != Some(&true) {
            return Ok(());
        }
        let steps = self.steps.count;
        if self.operation.matching.cardinality == Cardinality::OneToOne {
            let slot = self.taken.get_mut(signature).ok_or_else(exhausted)?;
            let taken = slot.get_or_insert_with(|| Bitmap::new(steps));
            if taken.get(step) {
                return Err(QueryError::execution(MUST_BE_EXPLICIT));
            }
            taken.set(step);
            return Ok(());
        }
        if self.plan.crowded.get(output) != Some(&true) {
            return Ok(());
        }
        let unfinished = self.unfinished(output)?;
        let known = unfinished.met.iter().position(|(by, _)| *by == signature);
        let at = known.unwrap_or_else(|| {
            unfinished.met.push((signature, Bitmap::new(steps)));
            unfinished.met.len() - 1
        });
        let Some((_, met)) = unfinished.met.get_mut(at) else {
            return Err(exhausted());
        };
        if met.get(step) {
            return Err(QueryError::execution(MUST_BE_UNIQUE));
        }
        met.set(step);
        Ok(())
    }
}

impl OneSide {
    /// Takes in one more series that has this signature.
    fn add(
        &mut self,
        member: usize,
        column: Column,
        several: bool,
        mut report: impl FnMut(Duplicate),
    ) -> Result<(), QueryError> {
        let id = u32::try_from(member).map_err(|_| QueryError::TooManySamples {
            samples: member as u64,
            limit: u64::from(u32::MAX),
        })?;
        let Some(known) = &mut self.column else {
            self.first_member = member;
            if several {
                self.members = vec![id; column.steps()];
            }
            self.column = Some(column);
            return Ok(());
        };
        for step in column.present().iter() {
            let Some(owner) = self.members.get_mut(step) else {
                continue;
            };
            if known.has(step) {
                report(Duplicate {
                    step,
                    members: (*owner as usize, member),
                });
            }
            *owner = id;
        }
        known.take_over(column)
    }
}

impl VectorOperator for Join<'_> {
    fn series(&self) -> &[SeriesInfo] {
        &self.plan.series
    }

    fn next(&mut self) -> Result<Column, QueryError> {
        let output = self.next_output;
        self.next_output += 1;
        let last = *self.plan.last_many_of.get(output).ok_or_else(exhausted)?;
        while self.next_many <= last && self.next_many < self.many_of.len() {
            self.take_many()?;
        }
        // The first result that needs more than the many side, or the last one of all.
        if last == self.many_of.len() || self.next_output == self.plan.series.len() {
            self.take_rest()?;
        }
        match self.outputs.get_mut(output).and_then(Option::take) {
            Some(unfinished) => Ok(unfinished.column),
            None => self.query.column(&self.steps),
        }
    }
}
