//! `limitk` and `limit_ratio`: some series of each group, always the same ones.

use narthex_model::Labels;
use xxhash_rust::xxh64::xxh64;

use super::Grouping;
use super::rank::{wanted, wants_any};
use crate::engine::column::Column;
use crate::engine::error::QueryError;
use crate::engine::merge::FanIn;
use crate::engine::operator::{Ready, SeriesInfo, Vector, VectorOperator, exhausted, skip_all};
use crate::engine::query::Query;
use crate::engine::scalar::Scalar;
use crate::engine::steps::Steps;
use crate::syntax::ast::Span;

/// The first `k` series of each group that have a value.
pub(in crate::engine) fn limit_k<'q>(
    query: &'q Query<'q>,
    steps: Steps,
    k: Scalar,
    grouping: &Grouping<'_>,
    mut input: Vector<'q>,
) -> Result<Vector<'q>, QueryError> {
    if !wants_any(&k)? {
        skip_all(&mut input)?;
        return Ok(Ready::boxed(Vec::new()));
    }
    let keys = input.series().iter().map(|info| grouping.of(&info.labels));
    let groups = FanIn::by_key(keys);
    Ok(Box::new(LimitK {
        query,
        steps,
        k,
        given: (0..groups.outputs()).map(|_| Vec::new()).collect(),
        groups,
        input,
        next: 0,
    }))
}

struct LimitK<'q> {
    query: &'q Query<'q>,
    steps: Steps,
    k: Scalar,
    groups: FanIn,
    input: Vector<'q>,
    /// How many series each group has given at each step.
    given: Vec<Vec<u32>>,
    next: usize,
}

impl VectorOperator for LimitK<'_> {
    fn series(&self) -> &[SeriesInfo] {
        self.input.series()
    }

    fn next(&mut self) -> Result<Column, QueryError> {
        self.query.check_canceled()?;
        let mut column = self.input.next()?;
        let series = self.input.series().len();
        let group = self.groups.output_of.get(self.next).ok_or_else(exhausted)?;
        self.next += 1;
        let given = self.given.get_mut(*group).ok_or_else(exhausted)?;
        given.resize(self.steps.count, 0);
        let mut is_given = |step| {
            let given: Option<&mut u32> = given.get_mut(step);
            let free = given.filter(|given| (**given as usize) < wanted(&self.k, step, series));
            free.map(|given| *given += 1).is_some()
        };
        column.map(|step, value| is_given(step).then_some(value));
        column.retain_histograms(is_given);
        Ok(column)
    }
}

/// The series whose hash falls into the ratio; a negative ratio takes the others. Groups make no
/// difference. `span` is the ratio's.
pub(in crate::engine) fn limit_ratio<'q>(
    query: &'q Query<'q>,
    ratio: Scalar,
    input: Vector<'q>,
    span: Span,
) -> Result<Vector<'q>, QueryError> {
    let bounds = ratio.bounds();
    if bounds.has_nan {
        return Err(QueryError::execution("Ratio value is NaN"));
    }
    for (given, capped) in [(bounds.max.max(1.0), 1.0), (bounds.min.min(-1.0), -1.0)] {
        if given != capped {
            query.annotate(span, |annotations, span| {
                annotations.invalid_ratio(given, capped, span);
            });
        }
    }
    let offsets = input.series().iter().map(|info| offset(&info.labels));
    Ok(Box::new(LimitRatio {
        offsets: offsets.collect(),
        ratio,
        input,
        next: 0,
    }))
}

struct LimitRatio<'q> {
    ratio: Scalar,
    input: Vector<'q>,
    offsets: Vec<f64>,
    next: usize,
}

impl VectorOperator for LimitRatio<'_> {
    fn series(&self) -> &[SeriesInfo] {
        self.input.series()
    }

    fn next(&mut self) -> Result<Column, QueryError> {
        let mut column = self.input.next()?;
        let offset = *self.offsets.get(self.next).ok_or_else(exhausted)?;
        self.next += 1;
        let is_inside = |step| {
            let ratio = self.ratio.at(step).clamp(-1.0, 1.0);
            if ratio >= 0.0 {
                offset < ratio
            } else {
                offset >= 1.0 + ratio
            }
        };
        column.map(|step, value| is_inside(step).then_some(value));
        column.retain_histograms(is_inside);
        Ok(column)
    }

    fn skip(&mut self) -> Result<(), QueryError> {
        self.next += 1;
        self.input.skip()
    }
}

/// Where a series stands between 0 and 1, by the hash of its labels: names and values, each after
/// its length.
fn offset(labels: &Labels) -> f64 {
    let mut bytes = Vec::new();
    for label in labels.iter() {
        push_text(&mut bytes, &label.name);
        push_text(&mut bytes, &label.value);
    }
    let (hash, max) = (xxh64(&bytes, 0) as f64, u64::MAX as f64);
    hash / max
}

/// Lengths take one byte, or a marker and three bytes from 255 on.
fn push_text(bytes: &mut Vec<u8>, text: &str) {
    const LONG: u8 = 255;
    match u8::try_from(text.len()) {
        Ok(length) if length < LONG => bytes.push(length),
        _ => {
            bytes.push(LONG);
            bytes.extend(text.len().to_le_bytes().iter().take(3));
        }
    }
    bytes.extend(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_have_a_long_length() {
        let mut bytes = Vec::new();
        push_text(&mut bytes, "ab");
        push_text(&mut bytes, &"x".repeat(300));
        assert_eq!(bytes[..3], [2, b'a', b'b']);
        assert_eq!(bytes[3..7], [255, 44, 1, 0]);
    }

    #[test]
    fn offsets_spread() {
        let offsets = (0..1000).map(|i| offset(&Labels::from_pairs([("i", i.to_string())])));
        let low = offsets.filter(|offset| *offset < 0.3).count();
        assert!((250..350).contains(&low), "{low}");
    }
}
