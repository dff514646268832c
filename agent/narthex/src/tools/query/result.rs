//! Results of queries as the API's JSON has them, read and written.

use std::collections::BTreeMap;

use narthex_model::number::{format_plain, parse_float};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Names and values of labels.
pub(super) type Texts = BTreeMap<String, String>;

#[derive(Debug, Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
pub(super) enum QueryResult {
    Scalar((Time, Figure)),
    String((Time, String)),
    Vector(Vec<Sample>),
    Matrix(Vec<Series>),
}

#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Sample {
    pub(super) metric: Texts,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) value: Option<(Time, Figure)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) histogram: Option<(Time, Histogram)>,
}

#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Series {
    pub(super) metric: Texts,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) values: Vec<(Time, Figure)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) histograms: Vec<(Time, Histogram)>,
}

#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Histogram {
    pub(super) count: Figure,
    pub(super) sum: Figure,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) buckets: Vec<Bucket>,
}

/// Which borders belong to it, lower and upper border, count.
pub(super) type Bucket = (u8, Figure, Figure, Figure);

/// Seconds since 1970, to the millisecond.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Time(pub(super) f64);

/// A value, which JSON has as text, as it may be NaN.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figure(pub(super) f64);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.fract() == 0.0 && self.0.abs() < 1e15 {
            true => serializer.serialize_i64(self.0 as i64),
            false => serializer.serialize_f64(self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Figure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let value = parse_float(&text);
        value
            .map(Figure)
            .ok_or_else(|| D::Error::custom(format!("{text:?} is no number")))
    }
}

impl Serialize for Figure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_plain(self.0))
    }
}
