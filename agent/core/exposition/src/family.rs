//! Taking a metric family apart into series: a histogram is several of them.

use std::sync::Arc;

use narthex_model::{Histogram, Labels, MetricFamily, MetricType, MetricValue, number};

/// One sample of a family. The series' name is the family's name with `suffix`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FamilySample<'a> {
    pub suffix: &'static str,
    pub labels: &'a Labels,
    /// `le` or `quantile` with its number.
    pub bound: Option<(&'static str, f64)>,
    /// Of a native histogram its count.
    pub value: f64,
    pub histogram: Option<&'a Arc<Histogram>>,
    pub timestamp_ms: Option<i64>,
    pub start_timestamp_ms: Option<i64>,
}

/// Calls `visit` for every series that the family stands for, in the order of the text format.
pub fn for_each_sample<'a>(family: &'a MetricFamily, visit: impl FnMut(FamilySample<'a>)) {
    for_each(family, true, visit);
}

/// As [`for_each_sample`], where native histograms can't be told: of one there are sum and count.
pub(crate) fn for_each_text_sample<'a>(
    family: &'a MetricFamily,
    visit: impl FnMut(FamilySample<'a>),
) {
    for_each(family, false, visit);
}

fn for_each<'a>(
    family: &'a MetricFamily,
    has_natives: bool,
    mut visit: impl FnMut(FamilySample<'a>),
) {
    let (sum_suffix, count_suffix) = match family.metadata.kind {
        MetricType::GaugeHistogram => ("_gsum", "_gcount"),
        _ => ("_sum", "_count"),
    };
    for metric in &family.metrics {
        let mut give_any = |suffix, bound, value, histogram| {
            visit(FamilySample {
                suffix,
                labels: &metric.labels,
                bound,
                value,
                histogram,
                timestamp_ms: metric.timestamp_ms,
                start_timestamp_ms: metric.start_timestamp_ms,
            });
        };
        if has_natives && let MetricValue::NativeHistogram(histogram) = &metric.value {
            give_any("", None, histogram.count, Some(histogram));
            continue;
        }
        let mut give = |suffix, bound, value| give_any(suffix, bound, value, None);
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
            MetricValue::NativeHistogram(histogram) => {
                give("_bucket", Some(("le", f64::INFINITY)), histogram.count);
                give(sum_suffix, None, histogram.sum);
                give(count_suffix, None, histogram.count);
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
