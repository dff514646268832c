//! `info()`: adds labels of info metrics to the series of the same target.
//!
//! An info series belongs to a base series if both have the same identifying labels. Which info
//! series those are may change from step to step, so a base series may come out under several
//! label sets, each at other steps.

use std::collections::{HashMap, HashSet};

use narthex_model::{Labels, LabelsBuilder, METRIC_NAME, MatchOp, Matcher};

use crate::engine::column::Column;
use crate::engine::error::QueryError;
use crate::engine::merge::{Collision, merge_same_labels};
use crate::engine::operator::{Ready, SeriesInfo, Vector, collect};
use crate::engine::query::Query;
use crate::engine::selector::{Give, instant_selector};
use crate::engine::statistics::Use;
use crate::engine::steps::{Shift, Steps};
use crate::syntax::ast::{Expr, ExprKind, TimeModifiers};

const IDENTIFYING_LABELS: [&str; 2] = ["instance", "job"];
const TARGET_INFO: &str = "target_info";

/// Which info series are asked for.
pub(in crate::engine) struct InfoSelection<'m> {
    name_matchers: Vec<Matcher>,
    /// On labels of the info series; if there are any, only these labels are added.
    data_matchers: Vec<&'m Matcher>,
}

impl<'m> InfoSelection<'m> {
    /// Of the second argument's matchers, if there is one.
    pub(in crate::engine) fn new(matchers: &'m [Matcher]) -> Self {
        let (names, data_matchers): (Vec<&Matcher>, Vec<&Matcher>) = matchers
            .iter()
            .partition(|matcher| &*matcher.name == METRIC_NAME);
        let mut name_matchers: Vec<Matcher> = names.into_iter().cloned().collect();
        let positive = |m: &Matcher| matches!(m.op, MatchOp::Equal | MatchOp::Regex);
        if name_matchers.is_empty() {
            name_matchers.push(Matcher::equal(METRIC_NAME, TARGET_INFO));
        } else if !name_matchers.iter().any(positive)
            && let Ok(any_info) = Matcher::new(METRIC_NAME, MatchOp::Regex, ".+_info")
        {
            name_matchers.insert(0, any_info);
        }
        InfoSelection {
            name_matchers,
            data_matchers,
        }
    }

    /// An info series is not enriched itself.
    fn is_info(&self, labels: &Labels) -> bool {
        let name = labels.metric_name().unwrap_or_default();
        self.name_matchers.iter().all(|m| m.matches(name))
    }

    fn adds(&self, label: &str) -> bool {
        let mut matchers = self.data_matchers.iter();
        self.data_matchers.is_empty() || matchers.any(|m| &*m.name == label)
    }

    /// Whether base series without info series are wanted.
    fn allows_nothing(&self) -> bool {
        self.data_matchers.iter().all(|m| m.matches_empty())
    }
}

/// When the info series are looked at: at the same times as the first selector of the expression.
pub(in crate::engine) fn info_shift(query: &Query<'_>, expr: &Expr) -> Result<Shift, QueryError> {
    let mut shift = Shift {
        at_ms: None,
        offset_ms: 0,
    };
    for time in modifiers_of_first_selector(expr).unwrap_or_default() {
        let inner = query.times.shift(time)?;
        shift.offset_ms = shift.offset_ms.saturating_add(inner.offset_ms);
        shift.at_ms = inner.at_ms;
        // Pinned, so that what lies further out doesn't matter.
        if shift.at_ms.is_some() {
            break;
        }
    }
    Ok(shift)
}

/// Of the selector and the subqueries around it, from the inside out.
fn modifiers_of_first_selector(expr: &Expr) -> Option<Vec<&TimeModifiers>> {
    match &expr.kind {
        ExprKind::VectorSelector(selector) => Some(vec![&selector.time]),
        ExprKind::MatrixSelector(matrix) => Some(vec![&matrix.selector.time]),
        ExprKind::Subquery(subquery) => {
            let mut found = modifiers_of_first_selector(&subquery.expr)?;
            found.push(&subquery.time);
            Some(found)
        }
        ExprKind::Binary(_) => {
            let (first, links) = expr.chain();
            let sides = links.into_iter().map(|link| &link.right);
            std::iter::once(first)
                .chain(sides)
                .find_map(modifiers_of_first_selector)
        }
        _ => {
            let mut children = expr.children().into_iter();
            children.find_map(modifiers_of_first_selector)
        }
    }
}

pub(in crate::engine) fn info<'q>(
    query: &'q Query<'q>,
    steps: Steps,
    base: Vector<'q>,
    selection: &InfoSelection<'_>,
    shift: Shift,
) -> Result<Vector<'q>, QueryError> {
    let base = collect(base)?;
    let infos = read_infos(query, steps, &base, selection, shift)?;
    let newest = Newest::of(&base, &infos, steps)?;
    let mut out = Vec::new();
    for (info, column) in base {
        if selection.is_info(&info.labels) {
            out.push((info, column));
        } else {
            enrich(query, steps, &info, &column, &newest, selection, &mut out)?;
        }
    }
    Ok(merge_same_labels(Ready::boxed(out), Collision::Merge))
}

/// An info series with the times of its samples, in seconds.
struct InfoSeries {
    labels: Labels,
    times: Column,
}

/// The info series that may belong to any of the base series.
fn read_infos<'q>(
    query: &'q Query<'q>,
    steps: Steps,
    base: &[(SeriesInfo, Column)],
    selection: &InfoSelection<'_>,
    shift: Shift,
) -> Result<Vec<InfoSeries>, QueryError> {
    let identities = Identities::of(base, selection);
    if identities.is_empty() {
        return Ok(Vec::new());
    }
    let mut matchers = selection.name_matchers.clone();
    matchers.extend(selection.data_matchers.iter().copied().cloned());
    matchers.extend(identities.matchers());
    let mut found = instant_selector(
        query,
        steps,
        matchers[..].into(),
        shift,
        Give::InfoTime,
        Use::Anything,
    )?;
    let mut infos = Vec::new();
    for index in 0..found.series().len() {
        let labels = found.series().get(index).map(|info| info.labels.clone());
        match labels.filter(|labels| identities.fit(labels)) {
            Some(labels) => infos.push(InfoSeries {
                labels,
                times: found.next()?,
            }),
            None => found.skip()?,
        }
    }
    Ok(infos)
}

/// The values of the identifying labels that base series have.
struct Identities<'b>(Vec<(&'static str, HashSet<&'b str>)>);

impl<'b> Identities<'b> {
    fn of(base: &'b [(SeriesInfo, Column)], selection: &InfoSelection<'_>) -> Self {
        let enriched = || base.iter().filter(|(i, _)| !selection.is_info(&i.labels));
        let values = |label| {
            let values = enriched().filter_map(move |(info, _)| info.labels.get(label));
            (label, values.collect::<HashSet<_>>())
        };
        let mut found = IDENTIFYING_LABELS.map(values).to_vec();
        found.retain(|(_, values)| !values.is_empty());
        Identities(found)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn fit(&self, labels: &Labels) -> bool {
        let mut wanted = self.0.iter();
        wanted.all(|(name, values)| values.contains(labels.value_or_empty(name)))
    }

    /// They spare the store what [`Identities::fit`] would refuse; of more values than an
    /// expression may have there are none.
    fn matchers(&self) -> Vec<Matcher> {
        let matcher = |(name, values): &(&'static str, HashSet<&str>)| {
            let mut words: Vec<String> = values.iter().map(|value| literal(value)).collect();
            words.sort_unstable();
            Matcher::new(*name, MatchOp::Regex, words.join("|")).ok()
        };
        self.0.iter().filter_map(matcher).collect()
    }
}

/// An expression that matches just this text.
fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_punctuation() && !matches!(c, '_' | '-' | ':' | '/') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn identity(labels: &Labels) -> Labels {
    labels.filtered(|label| IDENTIFYING_LABELS.contains(&&*label.name))
}

/// For each info metric and target the info series that has the newest sample, step by step.
struct Newest<'i> {
    infos: &'i [InfoSeries],
    /// By metric, then by target: the number of its row in `rows`.
    metrics: Vec<HashMap<Labels, usize>>,
    rows: Vec<Vec<Option<usize>>>,
}

impl<'i> Newest<'i> {
    fn of(
        base: &[(SeriesInfo, Column)],
        infos: &'i [InfoSeries],
        steps: Steps,
    ) -> Result<Self, QueryError> {
        let mut newest = Newest {
            infos,
            metrics: Vec::new(),
            rows: Vec::new(),
        };
        let mut metric_of: HashMap<&str, usize> = HashMap::new();
        for (index, info) in infos.iter().enumerate() {
            let name = info.labels.metric_name().unwrap_or_default();
            let metric = *metric_of.entry(name).or_insert(newest.metrics.len());
            if metric == newest.metrics.len() {
                newest.metrics.push(HashMap::new());
            }
            newest.add(base, metric, index, steps)?;
        }
        Ok(newest)
    }

    fn add(
        &mut self,
        base: &[(SeriesInfo, Column)],
        metric: usize,
        index: usize,
        steps: Steps,
    ) -> Result<(), QueryError> {
        let (Some(info), Some(targets)) = (self.infos.get(index), self.metrics.get_mut(metric))
        else {
            return Ok(());
        };
        let row = *targets
            .entry(identity(&info.labels))
            .or_insert(self.rows.len());
        if row == self.rows.len() {
            self.rows.push(vec![None; steps.count]);
        }
        let Some(row) = self.rows.get_mut(row) else {
            return Ok(());
        };
        for (step, time) in info.times.iter() {
            let Some(slot) = row.get_mut(step) else {
                continue;
            };
            let known = slot.and_then(|known| self.infos.get(known));
            let known_time = known.and_then(|known| known.times.get(step));
            match known.zip(known_time) {
                Some((_, known_time)) if known_time > time => {}
                Some((known, known_time)) if known_time == time => {
                    // Without anything to enrich nobody is harmed.
                    if base.iter().any(|(_, column)| column.value(step).is_some()) {
                        return Err(duplicate(known, info, time));
                    }
                }
                _ => *slot = Some(index),
            }
        }
        Ok(())
    }

    /// The rows of one base series, one for each metric that has its target.
    fn rows_of(&self, labels: &Labels) -> Vec<&[Option<usize>]> {
        let target = identity(labels);
        let rows = self.metrics.iter().filter_map(|targets| {
            let row = targets.get(&target)?;
            self.rows.get(*row).map(Vec::as_slice)
        });
        rows.collect()
    }
}

fn duplicate(known: &InfoSeries, new: &InfoSeries, time: f64) -> QueryError {
    let time_ms = (time * 1000.0).round() as i64;
    QueryError::execution(format!(
        "found duplicate series for info metric: existing {} @ {time_ms}, new {} @ {time_ms}",
        known.labels, new.labels
    ))
}

/// Adds to `out` the base series under each label set that it has at any step.
fn enrich(
    query: &Query<'_>,
    steps: Steps,
    base: &SeriesInfo,
    column: &Column,
    newest: &Newest<'_>,
    selection: &InfoSelection<'_>,
    out: &mut Vec<(SeriesInfo, Column)>,
) -> Result<(), QueryError> {
    let rows = newest.rows_of(&base.labels);
    let mut known: HashMap<Vec<usize>, usize> = HashMap::new();
    for step in column.present().iter() {
        let Some(value) = column.value(step) else {
            continue;
        };
        let at_step = |row: &&[Option<usize>]| row.get(step).copied().flatten();
        let chosen: Vec<usize> = rows.iter().filter_map(at_step).collect();
        if chosen.is_empty() && !selection.allows_nothing() {
            continue;
        }
        let output = match known.get(&chosen) {
            Some(output) => *output,
            None => {
                let infos = chosen.iter().filter_map(|index| newest.infos.get(*index));
                let labels = with_data_labels(&base.labels, infos, selection)?;
                let info = SeriesInfo {
                    labels,
                    ..base.clone()
                };
                out.push((info, query.column(&steps)?));
                known.insert(chosen, out.len() - 1);
                out.len() - 1
            }
        };
        if let Some((_, enriched)) = out.get_mut(output) {
            enriched.set_value(step, value.owned())?;
        }
    }
    Ok(())
}

/// Labels that the base series has stay as they are.
fn with_data_labels<'i>(
    base: &Labels,
    infos: impl Iterator<Item = &'i InfoSeries>,
    selection: &InfoSelection<'_>,
) -> Result<Labels, QueryError> {
    let mut builder = LabelsBuilder::from(base);
    let mut added: HashMap<&str, &str> = HashMap::new();
    for label in infos.flat_map(|info| info.labels.iter()) {
        let taken = &*label.name == METRIC_NAME || base.get(&label.name).is_some();
        if taken || !selection.adds(&label.name) {
            continue;
        }
        let value = *added.entry(&label.name).or_insert(&label.value);
        if value != &*label.value {
            return Err(QueryError::execution(format!(
                "conflicting label: {}",
                label.name
            )));
        }
        builder.set(label.name.clone(), label.value.clone());
    }
    Ok(builder.build())
}
