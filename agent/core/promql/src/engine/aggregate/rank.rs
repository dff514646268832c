//! `topk` and `bottomk`: the series with the largest or smallest values of each group.

use super::Grouping;
use crate::engine::column::{Bitmap, Column};
use crate::engine::error::QueryError;
use crate::engine::merge::FanIn;
use crate::engine::operator::{Ready, SeriesInfo, Vector, collect, skip_all};
use crate::engine::quantile::nan_first;
use crate::engine::query::Query;
use crate::engine::scalar::Scalar;
use crate::engine::steps::Steps;
use crate::syntax::ast::Span;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Rank {
    Top,
    Bottom,
}

/// Checks the parameter of `topk`, `bottomk` and `limitk`. False: nothing is wanted at any step.
pub(super) fn wants_any(k: &Scalar) -> Result<bool, QueryError> {
    /// 2^63: floats from here on don't fit into a 64-bit integer.
    const BEYOND_INT64: f64 = 9_223_372_036_854_775_808.0;
    let bounds = k.bounds();
    if bounds.max < 1.0 {
        return Ok(false);
    }
    let fails = |what: &str, value: f64| {
        let shown = narthex_model::number::format_general(value);
        Err(QueryError::execution(format!(
            "Scalar value {shown} {what} int64"
        )))
    };
    if bounds.has_nan {
        return Err(QueryError::execution("Parameter value is NaN"));
    }
    if bounds.min <= -BEYOND_INT64 {
        return fails("underflows", bounds.min);
    }
    if bounds.max >= BEYOND_INT64 {
        return fails("overflows", bounds.max);
    }
    Ok(true)
}

/// How many series a group may give at a step.
pub(super) fn wanted(k: &Scalar, step: usize, series: usize) -> usize {
    let k = k.at(step).max(0.0) as usize;
    k.min(series)
}

/// `span` is that of the whole aggregation.
pub(in crate::engine) fn rank<'q>(
    query: &'q Query<'q>,
    steps: Steps,
    (rank, span): (Rank, Span),
    k: &Scalar,
    grouping: &Grouping<'_>,
    mut input: Vector<'q>,
) -> Result<Vector<'q>, QueryError> {
    if !wants_any(k)? {
        skip_all(&mut input)?;
        return Ok(Ready::boxed(Vec::new()));
    }
    let mut rows = collect(input)?;
    if rows.iter().any(|(_, column)| column.has_histograms()) {
        let name = match rank {
            Rank::Top => "topk",
            Rank::Bottom => "bottomk",
        };
        query.annotate(span, |annotations, span| {
            annotations.histogram_ignored_in(name, span);
        });
        for (_, column) in &mut rows {
            column.remove_histograms();
        }
    }
    let groups = FanIn::by_key(rows.iter().map(|(info, _)| grouping.of(&info.labels)));
    let mut heaps: Vec<Heap> = (0..groups.outputs()).map(|_| Heap::new(rank)).collect();
    let mut kept: Vec<Bitmap> = rows.iter().map(|_| Bitmap::new(steps.count)).collect();
    let mut order = Vec::new();
    for step in 0..steps.count {
        query.check_canceled()?;
        let k = wanted(k, step, rows.len());
        if k == 0 {
            continue;
        }
        for ((index, (_, column)), group) in rows.iter().enumerate().zip(&groups.output_of) {
            if let (Some(value), Some(heap)) = (column.get(step), heaps.get_mut(*group)) {
                heap.offer(index, value, k);
            }
        }
        for heap in &mut heaps {
            for (index, _) in heap.drain_sorted() {
                if let Some(kept) = kept.get_mut(index) {
                    kept.set(step);
                }
                order.push(index);
            }
        }
    }
    let rows = rows
        .into_iter()
        .zip(kept)
        .map(|((info, mut column), kept)| {
            column.keep_only(&kept);
            (info, column)
        });
    if !steps.instant {
        return Ok(Ready::boxed(rows.collect()));
    }
    Ok(Ready::boxed(in_order(rows.collect(), &order)))
}

/// The rows that `order` names, in that order.
fn in_order(rows: Vec<(SeriesInfo, Column)>, order: &[usize]) -> Vec<(SeriesInfo, Column)> {
    let mut rows: Vec<_> = rows.into_iter().map(Some).collect();
    let take = |index: &usize| rows.get_mut(*index)?.take();
    order.iter().filter_map(take).collect()
}

/// The best `k` of a group, the worst of them first. Which of equal values stays is decided by the
/// moves of a binary heap, as in Prometheus.
struct Heap {
    rank: Rank,
    items: Vec<(usize, f64)>,
}

impl Heap {
    fn new(rank: Rank) -> Self {
        Heap {
            rank,
            items: Vec::new(),
        }
    }

    fn offer(&mut self, index: usize, value: f64, k: usize) {
        if self.items.len() < k {
            self.items.push((index, value));
            self.up();
            return;
        }
        let Some((_, worst)) = self.items.first().copied() else {
            return;
        };
        let better = match self.rank {
            Rank::Top => worst < value,
            Rank::Bottom => worst > value,
        };
        if better || (worst.is_nan() && !value.is_nan()) {
            if let Some(root) = self.items.first_mut() {
                *root = (index, value);
            }
            self.down();
        }
    }

    /// Whether the item at `a` is worse than the one at `b`.
    fn is_worse(&self, a: usize, b: usize) -> bool {
        let (Some((_, a)), Some((_, b))) = (self.items.get(a), self.items.get(b)) else {
            return false;
        };
        a.is_nan()
            || match self.rank {
                Rank::Top => a < b,
                Rank::Bottom => a > b,
            }
    }

    fn up(&mut self) {
        let mut at = self.items.len() - 1;
        while at > 0 {
            let parent = (at - 1) / 2;
            if !self.is_worse(at, parent) {
                break;
            }
            self.items.swap(at, parent);
            at = parent;
        }
    }

    fn down(&mut self) {
        let mut at = 0;
        loop {
            let (left, right) = (2 * at + 1, 2 * at + 2);
            if left >= self.items.len() {
                break;
            }
            let mut child = left;
            if right < self.items.len() && self.is_worse(right, left) {
                child = right;
            }
            if !self.is_worse(child, at) {
                break;
            }
            self.items.swap(at, child);
            at = child;
        }
    }

    /// Empties the heap, best first, NaN last.
    fn drain_sorted(&mut self) -> Vec<(usize, f64)> {
        let mut items = std::mem::take(&mut self.items);
        items.sort_by(
            |(_, a), (_, b)| match (self.rank, a.is_nan() || b.is_nan()) {
                (_, true) => a.is_nan().cmp(&b.is_nan()),
                (Rank::Top, false) => nan_first(*b, *a),
                (Rank::Bottom, false) => nan_first(*a, *b),
            },
        );
        items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heaps_keep_the_best() {
        let nan = f64::NAN;
        for (rank, k, values, expected) in [
            (Rank::Top, 2, vec![1.0, 5.0, 3.0, nan], vec![1, 2]),
            (Rank::Bottom, 2, vec![1.0, 5.0, nan, 3.0], vec![0, 3]),
            (Rank::Top, 3, vec![nan, 1.0, nan], vec![1, 0, 2]),
            (Rank::Top, 5, vec![1.0], vec![0]),
            (Rank::Bottom, 1, vec![nan, nan, 7.0], vec![2]),
        ] {
            let mut heap = Heap::new(rank);
            for (index, value) in values.iter().enumerate() {
                heap.offer(index, *value, k);
            }
            let sorted = heap.drain_sorted();
            let mut got: Vec<usize> = sorted.iter().map(|(index, _)| *index).collect();
            // The order among NaN values means nothing.
            if values.iter().filter(|v| v.is_nan()).count() > 1 {
                got[1..].sort_unstable();
            }
            assert_eq!(got, expected, "{rank:?} {k} {values:?}");
        }
    }
}
