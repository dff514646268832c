//! What one query took, as the API and the log show it.

use serde::Serialize;
use serde::ser::{SerializeTuple, Serializer};

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Statistics {
    pub timings: Timings,
    pub samples: Samples,
}

/// Seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Timings {
    /// Preparation and evaluation.
    pub eval_total_time: f64,
    /// Results come sorted out of the evaluation, so this is part of that.
    pub result_sort_time: f64,
    /// Finding the series.
    pub query_preparation_time: f64,
    pub inner_eval_time: f64,
    /// Waiting for other queries to end.
    pub exec_queue_time: f64,
    /// All of it.
    pub exec_total_time: f64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Samples {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub total_queryable_samples_per_step: Vec<StepCount>,
    pub total_queryable_samples: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub samples_read_per_step: Vec<StepCount>,
    pub samples_read: u64,
    pub peak_samples: u64,
}

/// Shown as `[seconds, count]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepCount {
    pub time_ms: i64,
    pub count: u64,
}

impl Serialize for StepCount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut pair = serializer.serialize_tuple(2)?;
        if self.time_ms % 1000 == 0 {
            pair.serialize_element(&(self.time_ms / 1000))?;
        } else {
            pair.serialize_element(&(self.time_ms as f64 / 1000.0))?;
        }
        pair.serialize_element(&self.count)?;
        pair.end()
    }
}
