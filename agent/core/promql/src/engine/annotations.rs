//! Warnings and infos of a query, in Prometheus's words.
//!
//! The same text is said once, however often and wherever it arose; of several places the last in
//! the query is told.

use std::collections::BTreeMap;

use narthex_model::labels::quoted;
use narthex_model::number::format_general;

use crate::syntax::ast::Span;

#[derive(Debug, Default)]
pub(super) struct Annotations {
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    span: Span,
    monotonicity: Option<Monotonicity>,
    /// Told if there are several.
    occurrences: u64,
}

/// How far classic histograms had to be corrected.
#[derive(Clone, Copy, Debug)]
pub(super) struct Monotonicity {
    pub first_ms: i64,
    pub last_ms: i64,
    pub lowest_bucket: f64,
    pub highest_bucket: f64,
    pub max_difference: f64,
    pub samples: u64,
}

/// What was done with histograms when something came to light.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HistogramOperation {
    Addition,
    Subtraction,
    Aggregation,
}

impl HistogramOperation {
    fn as_str(self) -> &'static str {
        match self {
            HistogramOperation::Addition => "addition",
            HistogramOperation::Subtraction => "subtraction",
            HistogramOperation::Aggregation => "aggregation",
        }
    }
}

/// What observations that are no numbers do to a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NanEffect {
    QuantileIsNan,
    QuantileIsHigher,
    ExcludedFromFraction,
}

const MIXED_VALUES: &str = "encountered a mix of histograms and floats for";

const WARNING: &str = "PromQL warning: ";
const INFO: &str = "PromQL info: ";

impl Annotations {
    fn add(&mut self, text: String, span: Span) {
        let entry = self.entries.entry(text).or_insert(Entry {
            span,
            monotonicity: None,
            occurrences: 0,
        });
        if span.start > entry.span.start {
            entry.span = span;
        }
    }

    pub(super) fn invalid_quantile(&mut self, quantile: f64, span: Span) {
        let got = format_general(quantile);
        self.add(
            format!("{WARNING}quantile value should be between 0 and 1, got {got}"),
            span,
        );
    }

    pub(super) fn invalid_ratio(&mut self, ratio: f64, capped_to: f64, span: Span) {
        let (got, to) = (format_general(ratio), format_general(capped_to));
        self.add(
            format!("{WARNING}ratio value should be between -1 and 1, got {got}, capping to {to}"),
            span,
        );
    }

    pub(super) fn bad_bucket_label(&mut self, metric_name: &str, value: &str, span: Span) {
        let text = format!(
            "{WARNING}bucket label \"le\" is missing or has a malformed value of {}{}",
            quoted(value),
            for_metric_name(metric_name)
        );
        self.add(text, span);
    }

    /// `windows` is in how many windows of a range function.
    pub(super) fn start_time_overlap(&mut self, metric_name: &str, windows: u64, span: Span) {
        let text = format!(
            "{WARNING}sample has start time that overlaps with previous sample timestamp for metric \
             {}",
            quoted(metric_name)
        );
        self.add(text.clone(), span);
        if let Some(entry) = self.entries.get_mut(&text) {
            entry.occurrences += windows;
        }
    }

    pub(super) fn sort_in_range_query(&mut self, span: Span) {
        self.add(
            format!(
                "{WARNING}sort is ineffective for range queries since results are always ordered \
                 by labels"
            ),
            span,
        );
    }

    pub(super) fn possible_non_counter(&mut self, metric_name: &str, span: Span) {
        let text = format!(
            "{INFO}metric might not be a counter, name does not end in \
             _total/_sum/_count/_bucket: {}",
            quoted(metric_name)
        );
        self.add(text, span);
    }

    pub(super) fn possible_non_counter_type(
        &mut self,
        metric_name: &str,
        type_label: &str,
        span: Span,
    ) {
        let text = format!(
            "{INFO}metric might not be a counter, __type__ label is not set to \"counter\" or \
             \"histogram\", got {}: {}",
            quoted(type_label),
            quoted(metric_name)
        );
        self.add(text, span);
    }

    /// An operator between two types of samples that it isn't made for.
    pub(super) fn incompatible_types(&mut self, left: &str, op: &str, right: &str, span: Span) {
        let text = format!(
            "{INFO}incompatible sample types encountered for binary operator {}: {left} {op} \
             {right}",
            quoted(op)
        );
        self.add(text, span);
    }

    pub(super) fn mixed_floats_and_histograms(&mut self, metric_name: &str, span: Span) {
        let name = quoted(metric_name);
        self.add(format!("{WARNING}{MIXED_VALUES} metric name {name}"), span);
    }

    pub(super) fn mixed_floats_and_histograms_in_aggregation(&mut self, span: Span) {
        self.add(format!("{WARNING}{MIXED_VALUES} aggregation"), span);
    }

    pub(super) fn mixed_classic_and_native(&mut self, metric_name: &str, span: Span) {
        let text = format!(
            "{WARNING}vector contains a mix of classic and native histograms{}",
            for_metric_name(metric_name)
        );
        self.add(text, span);
    }

    pub(super) fn histogram_is_no_counter(&mut self, metric_name: &str, span: Span) {
        let name = quoted(metric_name);
        self.add(
            format!("{WARNING}this native histogram metric is not a counter: {name}"),
            span,
        );
    }

    pub(super) fn histogram_is_no_gauge(&mut self, metric_name: &str, span: Span) {
        let name = quoted(metric_name);
        self.add(
            format!("{WARNING}this native histogram metric is not a gauge: {name}"),
            span,
        );
    }

    pub(super) fn mixed_exponential_and_custom(&mut self, metric_name: &str, span: Span) {
        let text = format!(
            "{WARNING}vector contains a mix of histograms with exponential and custom buckets \
             schemas for metric name {}",
            quoted(metric_name)
        );
        self.add(text, span);
    }

    pub(super) fn incompatible_bucket_layout(&mut self, op: &str, span: Span) {
        let text =
            format!("{WARNING}incompatible bucket layout encountered for binary operator {op}");
        self.add(text, span);
    }

    pub(super) fn counter_reset_collision(&mut self, during: HistogramOperation, span: Span) {
        let during = during.as_str();
        let text = format!("{WARNING}conflicting counter resets during histogram {during}");
        self.add(text, span);
    }

    pub(super) fn bounds_reconciled(&mut self, during: HistogramOperation, span: Span) {
        let during = during.as_str();
        let text = format!("{INFO}mismatched custom buckets were reconciled during {during}");
        self.add(text, span);
    }

    pub(super) fn histogram_ignored_in(&mut self, aggregation: &str, span: Span) {
        self.add(
            format!("{INFO}ignored histogram in {aggregation} aggregation"),
            span,
        );
    }

    pub(super) fn histograms_ignored_in_range(&mut self, metric_name: &str, span: Span) {
        let text = format!(
            "{INFO}ignored histograms in a range containing both floats and histograms for metric \
             name {}",
            quoted(metric_name)
        );
        self.add(text, span);
    }

    pub(super) fn nan_observations(&mut self, effect: NanEffect, metric_name: &str, span: Span) {
        let what = match effect {
            NanEffect::QuantileIsNan => "histogram_quantile has NaN observations, result is NaN",
            NanEffect::QuantileIsHigher => {
                "histogram_quantile has NaN observations, result is skewed higher"
            }
            NanEffect::ExcludedFromFraction => {
                "histogram_fraction has NaN observations, which are excluded from all fractions"
            }
        };
        let name = for_metric_name(metric_name);
        self.add(format!("{INFO}input to {what}{name}"), span);
    }

    pub(super) fn forced_monotonicity(
        &mut self,
        metric_name: &str,
        found: Monotonicity,
        span: Span,
    ) {
        let text = format!(
            "{INFO}input to histogram_quantile needed to be fixed for monotonicity (see \
             https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)\
             {}",
            for_metric_name(metric_name)
        );
        self.add(text.clone(), span);
        if let Some(entry) = self.entries.get_mut(&text) {
            entry.monotonicity = Some(match entry.monotonicity {
                Some(known) => known.merged(&found),
                None => found,
            });
        }
    }

    /// Tells what was told elsewhere, as if it had arisen at each of several places: each of
    /// `places` says where a span stands there.
    pub(super) fn tell_again(&mut self, told: Annotations, places: &[impl Fn(Span) -> Span]) {
        for (text, entry) in told.entries {
            for place in places {
                self.add(text.clone(), place(entry.span));
                let Some(known) = self.entries.get_mut(&text) else {
                    continue;
                };
                known.occurrences += entry.occurrences;
                known.monotonicity = match (known.monotonicity, entry.monotonicity) {
                    (Some(known), Some(more)) => Some(known.merged(&more)),
                    (known, more) => known.or(more),
                };
            }
        }
    }

    /// Warnings and infos, each sorted. Without `query` no places are told.
    pub(super) fn into_texts(self, query: &str) -> (Vec<String>, Vec<String>) {
        let texts = self.entries.into_iter().map(|(text, entry)| {
            if query.is_empty() {
                return text;
            }
            let details = match (entry.monotonicity, entry.occurrences) {
                (Some(monotonicity), _) => monotonicity.to_string(),
                (None, 0 | 1) => String::new(),
                (None, several) => format!(" ({several} occurrences)"),
            };
            let (line, column) = entry.span.line_and_column(query);
            format!("{text}{details} ({line}:{column})")
        });
        texts.partition(|text| text.starts_with(WARNING))
    }
}

impl Monotonicity {
    fn merged(&self, other: &Monotonicity) -> Monotonicity {
        Monotonicity {
            first_ms: self.first_ms.min(other.first_ms),
            last_ms: self.last_ms.max(other.last_ms),
            lowest_bucket: self.lowest_bucket.min(other.lowest_bucket),
            highest_bucket: self.highest_bucket.max(other.highest_bucket),
            max_difference: self.max_difference.max(other.max_difference),
            samples: self.samples + other.samples,
        }
    }
}

impl std::fmt::Display for Monotonicity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            ", from buckets {} to {}, with a max diff of {}, over {} samples from {} to {}",
            format_general(self.lowest_bucket),
            format_general(self.highest_bucket),
            two_digits(self.max_difference),
            self.samples,
            super::calendar::rfc3339(self.first_ms.div_euclid(1000).into()),
            super::calendar::rfc3339(self.last_ms.div_euclid(1000).into()),
        )
    }
}

fn for_metric_name(name: &str) -> String {
    if name.is_empty() {
        String::new()
    } else {
        format!(" for metric name {}", quoted(name))
    }
}

/// Go's `%.2g`: two significant digits, trailing zeros left out.
fn two_digits(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format_general(value);
    }
    let rounded = format!("{value:.1e}");
    let (mantissa, exponent) = rounded.split_once('e').unwrap_or((&rounded, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let mantissa = mantissa.strip_suffix(".0").unwrap_or(mantissa);
    if (-4..2).contains(&exponent) {
        // Reading the rounded number back gives its shortest plain form.
        let plain: f64 = rounded.parse().unwrap_or(value);
        return format!("{plain}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_digits_as_go_writes_them() {
        for (value, expected) in [
            (0.0, "0"),
            (1.0, "1"),
            (10.0, "10"),
            (0.125, "0.12"),
            (99.6, "1e+02"),
            (123.0, "1.2e+02"),
            (0.00001, "1e-05"),
            (0.00012, "0.00012"),
        ] {
            assert_eq!(two_digits(value), expected, "{value}");
        }
    }

    #[test]
    fn a_text_is_said_once_with_its_last_place() {
        let mut annotations = Annotations::default();
        annotations.possible_non_counter("x", Span { start: 1, end: 2 });
        annotations.possible_non_counter("x", Span { start: 5, end: 6 });
        annotations.invalid_quantile(f64::NAN, Span { start: 0, end: 1 });
        let (warnings, infos) = annotations.into_texts("0123456789");
        assert_eq!(
            warnings,
            ["PromQL warning: quantile value should be between 0 and 1, got NaN (1:1)"]
        );
        assert_eq!(infos.len(), 1);
        assert!(infos[0].ends_with(": \"x\" (1:6)"), "{infos:?}");
    }
}
