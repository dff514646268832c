//! Metric families as an exporter gives them: a name, a type, help, and the metrics.

use std::sync::Arc;

use crate::{Histogram, Labels};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MetricType {
    Counter,
    Gauge,
    Histogram,
    GaugeHistogram,
    Summary,
    Info,
    StateSet,
    #[default]
    Unknown,
}

impl MetricType {
    /// The word the metadata API uses.
    pub fn as_str(self) -> &'static str {
        match self {
            MetricType::Counter => "counter",
            MetricType::Gauge => "gauge",
            MetricType::Histogram => "histogram",
            MetricType::GaugeHistogram => "gaugehistogram",
            MetricType::Summary => "summary",
            MetricType::Info => "info",
            MetricType::StateSet => "stateset",
            MetricType::Unknown => "unknown",
        }
    }
}

/// What is known of a metric besides its samples.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Metadata {
    pub kind: MetricType,
    pub help: String,
    pub unit: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct MetricFamily {
    pub name: String,
    pub metadata: Metadata,
    pub metrics: Vec<Metric>,
}

/// One metric of a family: its labels (without the name) and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    pub labels: Labels,
    pub value: MetricValue,
    /// Where the exporter gives its own time.
    pub timestamp_ms: Option<i64>,
    /// When it began to count, where the exporter knows.
    pub start_timestamp_ms: Option<i64>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum MetricValue {
    /// Counter, gauge, info, unknown.
    Float(f64),
    /// Cumulative counts per upper bound, ascending; `count` stands for the +Inf bucket.
    Histogram {
        buckets: Vec<(f64, f64)>,
        sum: f64,
        count: f64,
    },
    NativeHistogram(Arc<Histogram>),
    Summary {
        quantiles: Vec<(f64, f64)>,
        sum: f64,
        count: f64,
    },
}
