//! Histograms of which only count and sum are looked at.
//!
//! Buckets that nothing will look at need not be added up. What they say of counter resets is put
//! into the hint while the samples pass by.

use std::sync::Arc;

use narthex_model::Histogram;
use narthex_model::histogram::CounterReset;

use crate::syntax::ast::{BinaryOp, Expr, ExprKind};

/// What is done further up with the histograms that a selector gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Use {
    #[default]
    Anything,
    /// Only count and sum are wanted.
    Statistics,
    /// Buckets are looked at on the way, whatever is wanted further up.
    Buckets,
}

impl Use {
    /// What is done with what stands inside of `expr`.
    pub(super) fn inside(self, expr: &Expr) -> Use {
        match &expr.kind {
            // What a subquery gives is no longer sample after sample.
            ExprKind::Subquery(_) => Use::Buckets,
            ExprKind::Binary(binary) => match binary.op {
                BinaryOp::TrimLower | BinaryOp::TrimUpper => Use::Buckets,
                _ => self,
            },
            ExprKind::Call(call) => match call.function.name {
                "histogram_quantile" | "histogram_quantiles" | "histogram_fraction" => Use::Buckets,
                "histogram_count" | "histogram_sum" | "histogram_avg" if self == Use::Anything => {
                    Use::Statistics
                }
                _ => self,
            },
            _ => self,
        }
    }
}

/// Passes on the histograms of one series, ascending in time.
pub(super) struct Reader {
    wanted: Use,
    before: Option<Arc<Histogram>>,
}

impl Reader {
    pub(super) fn new(wanted: Use) -> Self {
        Reader {
            wanted,
            before: None,
        }
    }

    /// Of a histogram that is no stale marker.
    pub(super) fn read(&mut self, histogram: &Arc<Histogram>) -> Arc<Histogram> {
        if self.wanted != Use::Statistics {
            return histogram.clone();
        }
        let before = self.before.replace(histogram.clone());
        let counter_reset = match (histogram.counter_reset, before) {
            (CounterReset::Unknown, Some(before)) if histogram.is_reset_after(&before) => {
                CounterReset::Reset
            }
            (CounterReset::Unknown, Some(_)) => CounterReset::NotReset,
            (known, _) => known,
        };
        Arc::new(Histogram {
            counter_reset,
            schema: histogram.schema,
            count: histogram.count,
            sum: histogram.sum,
            ..Histogram::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::{ParserOptions, parse};

    /// What becomes of the innermost expression.
    fn use_of(text: &str) -> Use {
        let expr = parse(text, &ParserOptions::everything()).unwrap();
        let mut found = Vec::new();
        descend(&expr, Use::default(), &mut found);
        found[0]
    }

    fn descend(expr: &Expr, found_use: Use, found: &mut Vec<Use>) {
        let inside = found_use.inside(expr);
        let before = found.len();
        for child in expr.clone().children_mut() {
            descend(child, inside, found);
        }
        let is_selector = matches!(
            expr.kind,
            ExprKind::VectorSelector(_) | ExprKind::MatrixSelector(_)
        );
        if is_selector && found.len() == before {
            found.push(found_use);
        }
    }

    #[test]
    fn buckets_are_needed_unless_only_statistics_are_asked_for() {
        for (text, expected) in [
            ("h", Use::Anything),
            ("sum(h)", Use::Anything),
            ("histogram_count(h)", Use::Statistics),
            ("histogram_sum(sum(rate(h[5m]) * 2))", Use::Statistics),
            ("histogram_count(h) > 1", Use::Statistics),
            ("histogram_count(increase(h[40m:9m]))", Use::Buckets),
            ("histogram_count(h </ 2)", Use::Buckets),
            ("histogram_avg(h </ 2)", Use::Buckets),
            ("histogram_quantile(0.5, h)", Use::Buckets),
            ("max_over_time(histogram_count(h)[5m:])", Use::Buckets),
            ("histogram_stddev(h)", Use::Anything),
        ] {
            assert_eq!(use_of(text), expected, "{text}");
        }
    }

    #[test]
    fn hints_say_what_buckets_said() {
        let histogram = |count, buckets: &[f64]| {
            Arc::new(Histogram {
                count,
                positive_buckets: buckets.to_vec(),
                positive_spans: vec![narthex_model::histogram::Span {
                    offset: 0,
                    length: u32::try_from(buckets.len()).unwrap(),
                }],
                ..Histogram::default()
            })
        };
        let mut reader = Reader::new(Use::Statistics);
        let hints: Vec<CounterReset> = [
            histogram(3.0, &[1.0, 2.0]),
            histogram(4.0, &[2.0, 2.0]),
            histogram(4.0, &[1.0, 3.0]),
        ]
        .iter()
        .map(|histogram| {
            let read = reader.read(histogram);
            assert!(read.positive_buckets.is_empty());
            read.counter_reset
        })
        .collect();
        use CounterReset::{NotReset, Reset, Unknown};
        assert_eq!(hints, [Unknown, NotReset, Reset]);
    }
}
