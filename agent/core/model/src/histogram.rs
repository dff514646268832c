//! Native histograms: sparse buckets at exponential or custom bounds.
//!
//! Counts are floats here; integer histograms are converted where they enter. Layout as in
//! Prometheus: spans of (gap to the former span, length) say which buckets are populated, the
//! bucket list holds their absolute counts.

/// The schema that says the bounds are given in `custom_values`.
pub const CUSTOM_BOUNDS_SCHEMA: i32 = -53;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub offset: i32,
    pub length: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CounterReset {
    #[default]
    Unknown,
    Reset,
    NotReset,
    Gauge,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    pub counter_reset: CounterReset,
    /// −4 to 8 (growth of 2^(2^−schema) per bucket), or [`CUSTOM_BOUNDS_SCHEMA`].
    pub schema: i32,
    pub zero_threshold: f64,
    pub zero_count: f64,
    pub count: f64,
    pub sum: f64,
    pub positive_spans: Vec<Span>,
    pub positive_buckets: Vec<f64>,
    pub negative_spans: Vec<Span>,
    pub negative_buckets: Vec<f64>,
    /// Upper bounds of the buckets under the custom schema, ascending, without +Inf.
    pub custom_values: Vec<f64>,
}
