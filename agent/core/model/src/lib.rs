//! The words every other part speaks: labels, matchers, samples, histograms, metric families,
//! target groups, durations and how numbers are written.
//!
//! Keeps true: a [`Labels`] is sorted by name, holds each name once and no empty value; times are
//! milliseconds since 1970 (`_ms` last in the name). Knows nothing of files, networks, clocks or
//! YAML.

pub mod binary_logarithm;
pub mod cancel;
pub mod duration;
pub mod family;
pub mod float_text;
pub mod histogram;
pub mod histogram_arithmetic;
pub mod histogram_bounds;
mod histogram_buckets;
mod histogram_check;
mod histogram_layout;
mod histogram_reset;
pub mod histogram_trim;
pub mod kahan;
pub mod labels;
pub mod matcher;
pub mod number;
mod plain_pattern;
pub mod regexp;
pub mod sample;
pub mod target;

pub use cancel::{CancelReason, CancelToken};
pub use family::{Metadata, Metric, MetricFamily, MetricType, MetricValue};
pub use histogram::Histogram;
pub use histogram_buckets::Bucket;
pub use labels::{Label, Labels, LabelsBuilder};
pub use matcher::{MatchOp, Matcher};
pub use regexp::Regexp;
pub use sample::{Exemplar, STALE_NAN, Sample, SampleValue, is_stale_nan};
pub use target::TargetGroup;

/// The label that holds a series' metric name.
pub const METRIC_NAME: &str = "__name__";
