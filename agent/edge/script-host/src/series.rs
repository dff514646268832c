//! Series as scripts see them: handles to native data, with native helpers.
//!
//! A script never gets samples as an array: it filters, forecasts and compares through the helpers
//! here, and reads single values. That keeps scripts short and their cost small. `README.md` in the
//! scripts folder lists the helpers for users; a test holds the two against each other.

use std::sync::Arc;

use narthex_extension::QuerySeries;
use narthex_model::{Labels, duration};
use rhai::{Array, Dynamic, Engine, EvalAltResult, FnPtr, Map, NativeCallContext};

type Result<T> = std::result::Result<T, Box<EvalAltResult>>;

/// One series: labels and samples in ascending time.
#[derive(Clone)]
pub(crate) struct OneSeries {
    pub(crate) labels: Labels,
    pub(crate) samples: Arc<[(i64, f64)]>,
}

impl OneSeries {
    /// The newest value; NaN where there is none.
    pub(crate) fn value(&self) -> f64 {
        self.samples.last().map_or(f64::NAN, |(_, value)| *value)
    }

    /// The same labels with a single value at the time of the newest sample.
    fn with_value(&self, value: f64) -> OneSeries {
        let at_ms = self.samples.last().map_or(0, |(at_ms, _)| *at_ms);
        OneSeries {
            labels: self.labels.clone(),
            samples: Arc::from([(at_ms, value)]),
        }
    }

    fn values(&self) -> impl Iterator<Item = f64> + '_ {
        self.samples.iter().map(|(_, value)| *value)
    }

    fn mean(&self) -> f64 {
        self.values().sum::<f64>() / self.samples.len() as f64
    }

    /// Population standard deviation, as PromQL's `stddev_over_time`.
    fn standard_deviation(&self) -> f64 {
        let mean = self.mean();
        let squares: f64 = self.values().map(|value| (value - mean).powi(2)).sum();
        (squares / self.samples.len() as f64).sqrt()
    }

    /// Slope per second and value at the newest sample, by least squares as PromQL's
    /// `predict_linear` has it. None below two samples or when all have one time.
    fn regression(&self) -> Option<(f64, f64)> {
        let (last_ms, _) = *self.samples.last()?;
        let count = self.samples.len() as f64;
        if self.samples.len() < 2 {
            return None;
        }
        let seconds = |at_ms: i64| (at_ms - last_ms) as f64 / 1000.0;
        let mean_x = self.samples.iter().map(|(at, _)| seconds(*at)).sum::<f64>() / count;
        let mean_y = self.mean();
        let (mut covariance, mut variance) = (0.0, 0.0);
        for (at_ms, value) in self.samples.iter() {
            let x = seconds(*at_ms) - mean_x;
            covariance += x * (value - mean_y);
            variance += x * x;
        }
        if variance == 0.0 {
            return None;
        }
        let slope = covariance / variance;
        Some((slope, mean_y - slope * mean_x))
    }
}

/// The series of a query's result.
#[derive(Clone)]
pub(crate) struct SeriesSet(pub(crate) Arc<[OneSeries]>);

impl From<Vec<QuerySeries>> for SeriesSet {
    fn from(series: Vec<QuerySeries>) -> Self {
        let one = |s: QuerySeries| OneSeries {
            labels: s.labels,
            samples: s.samples.into(),
        };
        SeriesSet(series.into_iter().map(one).collect())
    }
}

impl SeriesSet {
    fn keep(&self, mut keep: impl FnMut(&OneSeries) -> bool) -> SeriesSet {
        SeriesSet(
            self.0
                .iter()
                .filter(|series| keep(series))
                .cloned()
                .collect(),
        )
    }

    /// A value for each series; those for which there is none are left out.
    fn derive(&self, value: impl Fn(&OneSeries) -> Option<f64>) -> SeriesSet {
        SeriesSet(
            self.0
                .iter()
                .filter_map(|s| Some(s.with_value(value(s)?)))
                .collect(),
        )
    }

    fn fold(&self, empty: f64, combine: impl Fn(f64, f64) -> f64) -> f64 {
        self.0
            .iter()
            .map(OneSeries::value)
            .reduce(combine)
            .unwrap_or(empty)
    }
}

pub(crate) fn register(engine: &mut Engine) {
    register_one(engine);
    register_set(engine);
    register_helpers(engine);
    register_formatting(engine);
}

fn register_one(engine: &mut Engine) {
    engine
        .register_type_with_name::<OneSeries>("Series")
        .register_get("value", |s: &mut OneSeries| s.value())
        .register_get("labels", |s: &mut OneSeries| label_map(&s.labels))
        .register_get("name", |s: &mut OneSeries| {
            s.labels.metric_name().unwrap_or_default().to_owned()
        })
        .register_fn("label", |s: &mut OneSeries, name: &str| {
            s.labels.value_or_empty(name).to_owned()
        })
        .register_fn("to_string", |s: &mut OneSeries| {
            format!("{} {}", s.labels, s.value())
        });
}

fn register_set(engine: &mut Engine) {
    engine
        .register_type_with_name::<SeriesSet>("SeriesSet")
        .register_iterator::<SeriesSet>()
        .register_fn("len", |set: &mut SeriesSet| set.0.len() as i64)
        .register_get("len", |set: &mut SeriesSet| set.0.len() as i64)
        .register_fn("is_empty", |set: &mut SeriesSet| set.0.is_empty())
        .register_fn("to_string", |set: &mut SeriesSet| {
            format!("{} series", set.0.len())
        })
        .register_indexer_get(|set: &mut SeriesSet, at: i64| -> Result<OneSeries> {
            let found = usize::try_from(at).ok().and_then(|at| set.0.get(at));
            found
                .cloned()
                .ok_or_else(|| format!("no series at index {at}: there are {}", set.0.len()).into())
        })
        .register_fn(
            "filter",
            |context: NativeCallContext<'_>, set: &mut SeriesSet, keep: FnPtr| {
                let mut kept = Vec::new();
                for series in set.0.iter() {
                    if keep.call_within_context::<bool>(&context, (series.clone(),))? {
                        kept.push(series.clone());
                    }
                }
                Ok::<_, Box<EvalAltResult>>(SeriesSet(kept.into()))
            },
        )
        .register_fn(
            "map",
            |context: NativeCallContext<'_>, set: &mut SeriesSet, to: FnPtr| {
                let mut mapped = Array::new();
                for series in set.0.iter() {
                    mapped.push(to.call_within_context::<Dynamic>(&context, (series.clone(),))?);
                }
                Ok::<_, Box<EvalAltResult>>(mapped)
            },
        )
        .register_fn(
            "with_label",
            |set: &mut SeriesSet, name: &str, value: &str| {
                let with = |s: &OneSeries| OneSeries {
                    labels: s.labels.with(name, value),
                    samples: s.samples.clone(),
                };
                SeriesSet(set.0.iter().map(with).collect())
            },
        );
}

fn register_helpers(engine: &mut Engine) {
    engine
        .register_fn(
            "above",
            |set: &mut SeriesSet, bound: Dynamic| -> Result<SeriesSet> {
                let bound = number(&bound, "above")?;
                Ok(set.keep(|s| s.value() > bound))
            },
        )
        .register_fn(
            "below",
            |set: &mut SeriesSet, bound: Dynamic| -> Result<SeriesSet> {
                let bound = number(&bound, "below")?;
                Ok(set.keep(|s| s.value() < bound))
            },
        )
        .register_fn("thresholds", thresholds)
        .register_fn(
            "forecast",
            |set: &mut SeriesSet, ahead: &str| -> Result<SeriesSet> {
                let ahead_seconds = duration_ms(ahead)? as f64 / 1000.0;
                Ok(set.derive(|s| {
                    s.regression()
                        .map(|(slope, now)| now + slope * ahead_seconds)
                }))
            },
        )
        .register_fn("slope", |set: &mut SeriesSet| {
            set.derive(|s| s.regression().map(|(slope, _)| slope))
        })
        .register_fn(
            "seconds_until",
            |set: &mut SeriesSet, bound: Dynamic| -> Result<SeriesSet> {
                let bound = number(&bound, "seconds_until")?;
                Ok(set.derive(|s| {
                    let (slope, now) = s.regression()?;
                    let seconds = (bound - now) / slope;
                    (seconds.is_finite() && seconds >= 0.0).then_some(seconds)
                }))
            },
        )
        .register_fn("zscore", |set: &mut SeriesSet| {
            set.derive(|s| {
                let deviation = s.standard_deviation();
                (deviation > 0.0).then(|| (s.value() - s.mean()) / deviation)
            })
        })
        .register_fn("mean_over_time", |set: &mut SeriesSet| {
            set.derive(|s| Some(s.mean()))
        })
        .register_fn("min_over_time", |set: &mut SeriesSet| {
            set.derive(|s| s.values().reduce(f64::min))
        })
        .register_fn("max_over_time", |set: &mut SeriesSet| {
            set.derive(|s| s.values().reduce(f64::max))
        })
        .register_fn("sum", |set: &mut SeriesSet| set.fold(0.0, |a, b| a + b))
        .register_fn("min", |set: &mut SeriesSet| set.fold(f64::NAN, f64::min))
        .register_fn("max", |set: &mut SeriesSet| set.fold(f64::NAN, f64::max))
        .register_fn("avg", |set: &mut SeriesSet| {
            set.fold(0.0, |a, b| a + b) / set.0.len() as f64
        });
}

/// `thresholds(#{warning: 80, critical: 90})`: each series above a threshold, once, with the label
/// `severity` naming the highest one.
#[expect(
    clippy::needless_pass_by_value,
    reason = "Rhai hands arguments over by value"
)]
fn thresholds(set: &mut SeriesSet, levels: Map) -> Result<SeriesSet> {
    let mut sorted = Vec::new();
    for (name, bound) in &levels {
        sorted.push((number(bound, name)?, name.as_str()));
    }
    sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
    let with_severity = |series: &OneSeries| {
        let (_, level) = sorted.iter().find(|(bound, _)| series.value() > *bound)?;
        Some(OneSeries {
            labels: series.labels.with("severity", *level),
            samples: series.samples.clone(),
        })
    };
    Ok(SeriesSet(set.0.iter().filter_map(with_severity).collect()))
}

fn register_formatting(engine: &mut Engine) {
    engine
        .register_fn("seconds", |text: &str| -> Result<f64> {
            Ok(duration_ms(text)? as f64 / 1000.0)
        })
        .register_fn("format_duration", |seconds: Dynamic| -> Result<String> {
            let seconds = number(&seconds, "format_duration")?;
            // Whole minutes from an hour on: "2h13m" says enough.
            let unit = if seconds >= 3600.0 { 60.0 } else { 1.0 };
            let rounded_ms = (seconds / unit).round() * unit * 1000.0;
            Ok(duration::format_ms(rounded_ms.max(0.0) as u64))
        })
        .register_fn("fixed", |value: Dynamic, digits: i64| -> Result<String> {
            let digits = usize::try_from(digits.clamp(0, 17)).unwrap_or(0);
            Ok(format!("{:.digits$}", number(&value, "fixed")?))
        });
}

impl IntoIterator for SeriesSet {
    type Item = OneSeries;
    type IntoIter = std::vec::IntoIter<OneSeries>;

    fn into_iter(self) -> Self::IntoIter {
        let series: Vec<OneSeries> = self.0.iter().cloned().collect();
        series.into_iter()
    }
}

/// A number, whether the script wrote `80` or `80.0`.
pub(crate) fn number(value: &Dynamic, what: &str) -> Result<f64> {
    if let Ok(float) = value.as_float() {
        return Ok(float);
    }
    match value.as_int() {
        Ok(int) => Ok(int as f64),
        Err(kind) => Err(format!("{what}: expected a number, got {kind}").into()),
    }
}

pub(crate) fn duration_ms(text: &str) -> std::result::Result<u64, String> {
    duration::parse_ms(text).map_err(|e| e.to_string())
}

fn label_map(labels: &Labels) -> Map {
    labels
        .iter()
        .map(|l| ((&*l.name).into(), Dynamic::from(l.value.to_string())))
        .collect()
}
