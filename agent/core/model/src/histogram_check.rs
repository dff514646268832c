//! What makes a native histogram invalid in itself.

use crate::histogram::{CUSTOM_BOUNDS_SCHEMA, Histogram, Span};
use crate::is_stale_nan;

impl Histogram {
    /// Says what is wrong, if something is. A stale marker is never wrong.
    pub fn check(&self) -> Result<(), &'static str> {
        if is_stale_nan(self.sum) {
            return Ok(());
        }
        if self.schema == CUSTOM_BOUNDS_SCHEMA {
            check_custom(self)?;
        } else {
            check_exponential(self)?;
        }
        check_spans(&self.positive_spans, &self.positive_buckets)?;
        check_spans(&self.negative_spans, &self.negative_buckets)?;
        check_counts(self)
    }
}

fn check_custom(histogram: &Histogram) -> Result<(), &'static str> {
    let bounds = &histogram.custom_values;
    if bounds.iter().any(|bound| bound.is_nan()) {
        return Err("a custom bound is not a number");
    }
    if bounds.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err("the custom bounds do not rise");
    }
    if bounds.last().is_some_and(|last| *last == f64::INFINITY) {
        return Err("the last custom bound is infinite");
    }
    if histogram.zero_count != 0.0 || histogram.zero_threshold != 0.0 {
        return Err("custom bounds and a zero bucket");
    }
    if !histogram.negative_spans.is_empty() || !histogram.negative_buckets.is_empty() {
        return Err("custom bounds and negative buckets");
    }
    let reach = histogram
        .positive_spans
        .iter()
        .map(|span| i64::from(span.offset).saturating_add(i64::from(span.length)));
    let reach = reach.fold(0, i64::saturating_add);
    if reach > bounds.len() as i64 + 1 {
        return Err("the spans reach over the custom bounds");
    }
    Ok(())
}

fn check_exponential(histogram: &Histogram) -> Result<(), &'static str> {
    if !(-4..=8).contains(&histogram.schema) {
        return Err("the schema is not known");
    }
    if !histogram.custom_values.is_empty() {
        return Err("custom bounds and an exponential schema");
    }
    Ok(())
}

fn check_spans(spans: &[Span], buckets: &[f64]) -> Result<(), &'static str> {
    let gaps = spans.iter().skip(1);
    if gaps.into_iter().any(|span| span.offset < 0) {
        return Err("a span begins before the former ends");
    }
    let length = spans.iter().map(|span| u64::from(span.length));
    let reach = spans.iter().map(|span| i64::from(span.offset));
    let reach = reach.zip(spans).try_fold(0i32, |at, (offset, span)| {
        let end = i64::from(at) + offset + i64::from(span.length);
        i32::try_from(end).ok()
    });
    if reach.is_none() {
        return Err("the spans reach too far");
    }
    if length.sum::<u64>() != buckets.len() as u64 {
        return Err("the spans count other than the buckets given");
    }
    Ok(())
}

fn check_counts(histogram: &Histogram) -> Result<(), &'static str> {
    let buckets = || {
        let both = histogram.positive_buckets.iter();
        both.chain(&histogram.negative_buckets)
            .chain([&histogram.zero_count])
    };
    if buckets().any(|count| *count < 0.0) {
        return Err("the count of a bucket is negative");
    }
    // Whether the count fits the buckets is not asked: upstream asks that of integer histograms
    // only, and rules give float histograms of whole numbers for which it does not hold.
    match histogram.count < 0.0 {
        true => Err("the count is negative"),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::STALE_NAN;

    fn histogram() -> Histogram {
        Histogram {
            schema: 3,
            count: 7.0,
            zero_count: 1.0,
            positive_spans: vec![
                Span {
                    offset: -2,
                    length: 1,
                },
                Span {
                    offset: 3,
                    length: 1,
                },
            ],
            positive_buckets: vec![2.0, 4.0],
            ..Histogram::default()
        }
    }

    fn custom() -> Histogram {
        Histogram {
            schema: CUSTOM_BOUNDS_SCHEMA,
            count: 3.0,
            positive_spans: vec![Span {
                offset: 1,
                length: 2,
            }],
            positive_buckets: vec![1.0, 2.0],
            custom_values: vec![0.5, 1.0],
            ..Histogram::default()
        }
    }

    #[test]
    fn what_is_valid() {
        assert_eq!(histogram().check(), Ok(()));
        assert_eq!(custom().check(), Ok(()));
        let stale = Histogram {
            sum: STALE_NAN,
            count: -1.0,
            schema: 99,
            ..histogram()
        };
        assert_eq!(stale.check(), Ok(()));
        for count in [6.0, 6.9] {
            let below_the_buckets = Histogram {
                count,
                ..histogram()
            };
            assert_eq!(below_the_buckets.check(), Ok(()));
        }
    }

    #[test]
    fn what_is_not() {
        type Change = fn(&mut Histogram);
        let changes: [(Change, &str); 8] = [
            (|h| h.schema = 9, "schema"),
            (|h| h.custom_values = vec![1.0], "custom bounds and"),
            (|h| h.positive_spans[1].offset = -1, "before the former"),
            (|h| h.positive_spans[0].length = 2, "other than the buckets"),
            (|h| h.positive_spans[0].offset = i32::MAX, "too far"),
            (|h| h.positive_buckets[0] = -1.0, "bucket is negative"),
            (|h| h.zero_count = -1.0, "bucket is negative"),
            (|h| h.count = -1.0, "the count is negative"),
        ];
        for (change, expected) in changes {
            let mut changed = histogram();
            change(&mut changed);
            let reason = changed.check().unwrap_err();
            assert!(reason.contains(expected), "{reason}");
        }
        let changes: [(Change, &str); 6] = [
            (|h| h.custom_values = vec![1.0, 1.0], "do not rise"),
            (|h| h.custom_values = vec![f64::NAN, 1.0], "not a number"),
            (|h| h.custom_values = vec![1.0, f64::INFINITY], "infinite"),
            (|h| h.zero_count = 1.0, "zero bucket"),
            (|h| h.negative_buckets = vec![1.0], "negative buckets"),
            (|h| h.custom_values = vec![1.0], "reach over"),
        ];
        for (change, expected) in changes {
            let mut changed = custom();
            change(&mut changed);
            let reason = changed.check().unwrap_err();
            assert!(reason.contains(expected), "{reason}");
        }
    }
}
