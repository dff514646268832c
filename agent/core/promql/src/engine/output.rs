//! What a query gives back.

use std::sync::Arc;

use narthex_model::{Histogram, Labels, SampleValue};

/// The result of one query with what is to be said about it.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryOutput {
    pub value: QueryValue,
    /// "PromQL warning: …", sorted, each text once.
    pub warnings: Vec<String>,
    /// "PromQL info: …", sorted, each text once.
    pub infos: Vec<String>,
    pub stats: QueryStats,
    /// Of the samples that were looked at, those of each step, if that was asked for.
    pub queryable_per_step: Option<Vec<u64>>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum QueryValue {
    Scalar {
        timestamp_ms: i64,
        value: f64,
    },
    String {
        timestamp_ms: i64,
        value: String,
    },
    /// Of an instant query; in the order of a sort function if there was one.
    Vector(Vec<VectorSample>),
    /// Of a range query (sorted by labels) or an instant query for a range vector.
    Matrix(Vec<MatrixSeries>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct VectorSample {
    pub labels: Labels,
    pub timestamp_ms: i64,
    pub value: SampleValue,
}

/// Points and histograms of one series, each ascending in time; a time is in only one of them.
#[derive(Clone, Debug, PartialEq)]
pub struct MatrixSeries {
    pub labels: Labels,
    pub points: Vec<(i64, f64)>,
    pub histograms: Vec<(i64, Arc<Histogram>)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueryStats {
    /// Samples read from the store, each once per selector; selectors that are evaluated once count
    /// as one.
    pub samples_read: u64,
    /// Samples that the steps looked at; overlapping ranges count a sample again, and so does each
    /// place of a selector that is evaluated once.
    pub total_queryable_samples: u64,
    /// The most samples that were held at one time.
    pub peak_samples: u64,
}
