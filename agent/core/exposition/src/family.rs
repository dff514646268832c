//! Taking a metric family apart into series: a histogram is several of them.

use narthex_model::{Labels, MetricFamily, MetricType, MetricValue, number};

/// One sample of a family. The series' name is the family's name with `suffix`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FamilySample<'a> {
    pub suffix: &'static str,
    pub labels: &'a Labels,
    /// `le` or `quantile` with its number.
    pub bound: Option<(&'static str, f64)>,
    pub value: f64,
    pub timestamp_ms: Option<i64>,
}

/// Calls `visit` for every series that the family stands for, in the order of the text format.
pub fn for_each_sample<'a>(family: &'a MetricFamily, mut visit: impl FnMut(FamilySample<'a>)) {
    let (sum_suffix, count_suffix) = match family.metadata.kind {
        MetricType::GaugeHistogram => ("_gsum", "_gcount"),
        _ => ("_sum", "_count"),
    };
    for metric in &family.metrics {
        let mut give = |suffix, bound, value| {
            visit(FamilySample {
                suffix,
                labels: &metric.labels,
                bound,
                value,
                timestamp_ms: metric.timestamp_ms,
            });
        };
        match &metric.value {
            MetricValue::Float(value) => give("", None, *value),
            MetricValue::Histogram {
                buckets,
                sum,
                count,
            } => {
                for (bound, value) in buckets.iter().filter(|(bound, _)| *bound != f64::INFINITY) {
                    give("_bucket", Some(("le", *bound)), *value);
                }
                give("_bucket", Some(("le", f64::INFINITY)), *count);
                give(sum_suffix, None, *sum);
                give(count_suffix, None, *count);
            }
            MetricValue::Summary {
                quantiles,
                sum,
                count,
            } => {
                for (quantile, value) in quantiles {
                    give("", Some(("quantile", *quantile)), *value);
                }
                give(sum_suffix, None, *sum);
                give(count_suffix, None, *count);
            }
        }
    }
}

/// A bound as the labels `le` and `quantile` have it in the store: `1.0`, `0.5`, `1e+06`, `+Inf`.
pub fn format_bound(value: f64) -> String {
    let mut text = number::format_general(value);
    if value.is_finite() && !text.contains(['.', 'e']) {
        text.push_str(".0");
    }
    text
}
