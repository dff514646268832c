//! Which buckets a histogram has: spans, the buckets' indexes, and bringing two histograms to the
//! buckets of both.

use narthex_model::histogram::Span;

use crate::ChunkError;

/// No bucket of any schema that Prometheus knows lies beyond this, and gaps between buckets within
/// it fit a span.
const MAX_INDEX: i64 = 1 << 30;

/// Counts the buckets, and refuses spans that overlap or lie out of bounds.
pub(super) fn checked_bucket_count(spans: &[Span]) -> Result<u64, ChunkError> {
    let (mut index, mut buckets) = (0i64, 0u64);
    for (place, span) in spans.iter().enumerate() {
        if place > 0 && span.offset < 0 {
            return Err(ChunkError::Spans);
        }
        index += i64::from(span.offset);
        let first = index;
        index += i64::from(span.length);
        buckets += u64::from(span.length);
        if first < -MAX_INDEX || index > MAX_INDEX {
            return Err(ChunkError::Spans);
        }
    }
    Ok(buckets)
}

/// The index behind the last bucket; 0 without buckets.
pub(super) fn end_index(spans: &[Span]) -> i64 {
    let lengths = spans
        .iter()
        .map(|span| i64::from(span.offset) + i64::from(span.length));
    lengths.sum()
}

/// The same buckets without empty spans.
pub(super) fn without_empty(spans: &[Span]) -> Vec<Span> {
    let mut gap = 0i32;
    let mut kept = Vec::with_capacity(spans.len());
    for span in spans {
        gap = gap.saturating_add(span.offset);
        if span.length > 0 {
            kept.push(Span {
                offset: gap,
                length: span.length,
            });
            gap = 0;
        }
    }
    kept
}

/// The buckets' indexes, ascending.
fn indexes(spans: &[Span]) -> impl Iterator<Item = i64> {
    let mut index = 0;
    spans.iter().flat_map(move |span| {
        let first = index + i64::from(span.offset);
        index = first + i64::from(span.length);
        first..index
    })
}

/// Collects ascending indexes to spans.
#[derive(Default)]
struct SpanBuilder {
    spans: Vec<Span>,
    end: i64,
}

impl SpanBuilder {
    fn push(&mut self, index: i64) {
        match self.spans.last_mut() {
            Some(span) if index == self.end => span.length += 1,
            _ => self.spans.push(Span {
                // Indexes within the bounds above are never further apart.
                offset: i32::try_from(index - self.end).unwrap_or(i32::MAX),
                length: 1,
            }),
        }
        self.end = index + 1;
    }
}

/// The buckets that either has.
pub(super) fn union(left: &[Span], right: &[Span]) -> Vec<Span> {
    let mut union = SpanBuilder::default();
    let (mut left, mut right) = (indexes(left).peekable(), indexes(right).peekable());
    loop {
        let next = match (left.peek(), right.peek()) {
            (Some(a), Some(b)) => *a.min(b),
            (Some(only), None) | (None, Some(only)) => *only,
            (None, None) => return union.spans,
        };
        left.next_if_eq(&next);
        right.next_if_eq(&next);
        union.push(next);
    }
}

/// Each bucket of `to` with its count from `counts`, which are those of `from`; 0 for buckets that
/// `from` lacks. Buckets that `to` lacks are left out.
pub(super) fn spread(counts: &[f64], from: &[Span], to: &[Span]) -> Vec<f64> {
    let mut known = indexes(from).zip(counts).peekable();
    let mut spread = Vec::new();
    for index in indexes(to) {
        while known.next_if(|(before, _)| *before < index).is_some() {}
        let count = known.next_if(|(same, _)| *same == index);
        spread.push(count.map_or(0.0, |(_, count)| *count));
    }
    spread
}

/// Whether any bucket with a count became smaller, or went.
pub(super) fn any_reset(
    before: impl Iterator<Item = f64>,
    before_spans: &[Span],
    after: &[f64],
    after_spans: &[Span],
) -> bool {
    if before_spans == after_spans {
        return before.zip(after).any(|(before, after)| before > *after);
    }
    let mut after = indexes(after_spans).zip(after).peekable();
    indexes(before_spans).zip(before).any(|(index, before)| {
        while after.next_if(|(earlier, _)| *earlier < index).is_some() {}
        match after.next_if(|(same, _)| *same == index) {
            Some((_, after)) => before > *after,
            None => before != 0.0,
        }
    })
}

/// The buckets of a schema that is finer by `by` doublings brought to the coarser one.
pub(super) fn coarsen(spans: &[Span], counts: &[f64], by: u32) -> (Vec<Span>, Vec<f64>) {
    let mut coarse = SpanBuilder::default();
    let mut sums: Vec<f64> = Vec::new();
    for (index, count) in indexes(spans).zip(counts) {
        // Bucket i of the coarser schema ends where bucket i·2^by of the finer one does.
        let index = ((index - 1) >> by.min(63)) + 1;
        match sums.last_mut() {
            Some(sum) if coarse.end == index + 1 => *sum += count,
            _ => {
                coarse.push(index);
                sums.push(*count);
            }
        }
    }
    (coarse.spans, sums)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(spans: &[(i32, u32)]) -> Vec<Span> {
        let span = |(offset, length): &(i32, u32)| Span {
            offset: *offset,
            length: *length,
        };
        spans.iter().map(span).collect()
    }

    #[test]
    fn indexes_of_both_are_joined() {
        for (left, right, both) in [
            (&[][..], &[][..], &[][..]),
            (&[(1, 2)], &[], &[(1, 2)]),
            (&[(-3, 2)], &[(-1, 1)], &[(-3, 3)]),
            (&[(0, 1), (4, 1)], &[(2, 1)], &[(0, 1), (1, 1), (2, 1)]),
            (&[(0, 2), (1, 2)], &[(2, 1)], &[(0, 5)]),
            (&[(5, 0), (0, 3)], &[(6, 1)], &[(5, 3)]),
        ] {
            let (left, right, both) = (spans(left), spans(right), spans(both));
            assert_eq!(union(&left, &right), both);
            assert_eq!(union(&right, &left), both);
        }
    }

    #[test]
    fn counts_go_to_their_buckets() {
        let (narrow, wide) = (spans(&[(0, 1), (2, 2)]), spans(&[(-1, 3), (1, 3)]));
        assert_eq!(
            spread(&[1.0, 2.0, 3.0], &narrow, &wide),
            [0.0, 1.0, 0.0, 2.0, 3.0, 0.0]
        );
        assert_eq!(
            spread(&[0.0, 1.0, 0.0, 2.0, 3.0, 0.0], &wide, &narrow),
            [1.0, 2.0, 3.0]
        );
    }

    #[test]
    fn a_bucket_that_shrinks_or_goes_is_a_reset() {
        let (before, more, other) = (spans(&[(0, 2)]), spans(&[(0, 3)]), spans(&[(1, 2)]));
        let reset = |before_counts: [f64; 2], after: &[f64], after_spans: &[Span]| {
            any_reset(before_counts.into_iter(), &before, after, after_spans)
        };
        assert!(!reset([1.0, 2.0], &[1.0, 2.0], &before));
        assert!(reset([1.0, 2.0], &[1.0, 1.0], &before));
        assert!(!reset([1.0, 2.0], &[1.0, 2.0, 0.0], &more));
        assert!(reset([1.0, 2.0], &[1.0, 1.0, 9.0], &more));
        assert!(reset([1.0, 2.0], &[2.0, 2.0], &other));
        assert!(!reset([0.0, 2.0], &[2.0, 2.0], &other));
    }

    #[test]
    fn spans_out_of_bounds_are_refused() {
        for bad in [
            &[(0, 1), (-1, 1)][..],
            &[(i32::MIN, 1)],
            &[(i32::MAX, 1)],
            &[(0, u32::MAX)],
        ] {
            assert_eq!(checked_bucket_count(&spans(bad)), Err(ChunkError::Spans));
        }
        assert_eq!(checked_bucket_count(&spans(&[(-5, 3), (0, 4)])), Ok(7));
    }

    #[test]
    fn finer_buckets_are_summed_up() {
        // At half the resolution buckets -1 and 0 become 0, 1 and 2 become 1, 3 and 4 become 2.
        let (coarse, sums) = coarsen(&spans(&[(-1, 4), (1, 1)]), &[1.0, 2.0, 4.0, 8.0, 16.0], 1);
        assert_eq!((coarse, sums), (spans(&[(0, 3)]), vec![3.0, 12.0, 16.0]));
    }
}
