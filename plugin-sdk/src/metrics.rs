//! Building metric families.
//!
//! Keeps true: what [`Metrics::finish`] gives is valid, so the host takes it. The number of label
//! values is held against the label names by the compiler; names, types and repeated labels are
//! checked as they come, and the first fault is what the collection fails with.

use std::collections::{HashMap, HashSet};

use crate::Error;
pub use crate::bindings::exporter::exports::narthex::plugin::metrics::{
    Family, Histogram, Metric, MetricType, Summary, Value,
};

/// The families of one collection.
///
/// ```ignore
/// metrics.gauge("pool_temperature_celsius", "Temperature of the water.").set(21.5);
/// metrics
///     .counter("pool_visits_total", "Visits, by day.")
///     .labels(["day"])
///     .add(["monday"], 3.0)
///     .add(["sunday"], 112.0);
/// ```
#[derive(Default)]
pub struct Metrics {
    families: Vec<Family>,
    by_name: HashMap<String, usize>,
    fault: Option<String>,
}

impl Metrics {
    pub fn new() -> Self {
        Metrics::default()
    }

    /// A family whose value goes up and down. A family that is there already is continued.
    pub fn gauge(&mut self, name: &str, help: &str) -> FamilyBuilder<'_, 0> {
        self.family(name, help, MetricType::Gauge)
    }

    /// A family that only counts up; its name ends in `_total`.
    pub fn counter(&mut self, name: &str, help: &str) -> FamilyBuilder<'_, 0> {
        self.family(name, help, MetricType::Counter)
    }

    /// A family of [`Histogram`]s.
    pub fn histogram(&mut self, name: &str, help: &str) -> FamilyBuilder<'_, 0> {
        self.family(name, help, MetricType::Histogram)
    }

    /// A family of [`Summary`]s.
    pub fn summary(&mut self, name: &str, help: &str) -> FamilyBuilder<'_, 0> {
        self.family(name, help, MetricType::Summary)
    }

    /// A family of any type.
    pub fn family(&mut self, name: &str, help: &str, kind: MetricType) -> FamilyBuilder<'_, 0> {
        let at = match self.by_name.get(name) {
            Some(&at) => at,
            None => self.start_family(name, help, kind),
        };
        let (family, fault) = (&mut self.families[at], &mut self.fault);
        if family.kind != kind {
            fault.get_or_insert_with(|| format!("metric {name} is given with two types"));
        }
        FamilyBuilder { family, fault }
    }

    fn start_family(&mut self, name: &str, help: &str, kind: MetricType) -> usize {
        if !is_metric_name(name) {
            self.fault
                .get_or_insert_with(|| format!("invalid metric name {name:?}"));
        }
        let at = self.families.len();
        self.by_name.insert(name.to_owned(), at);
        self.families.push(Family {
            name: name.to_owned(),
            kind,
            help: help.to_owned(),
            unit: String::new(),
            label_names: Vec::new(),
            metrics: Vec::new(),
        });
        at
    }

    /// Adds whole families, as another [`Metrics`] has finished them.
    pub fn extend(&mut self, families: Vec<Family>) {
        for family in families {
            let at = self.families.len();
            if self.by_name.insert(family.name.clone(), at).is_some() {
                let fault = || format!("the family {} is given twice", family.name);
                self.fault.get_or_insert_with(fault);
            }
            self.families.push(family);
        }
    }

    /// The families that have metrics, or the first fault.
    pub fn finish(mut self) -> Result<Vec<Family>, Error> {
        if let Some(fault) = self.fault {
            return Err(Error::new(fault));
        }
        self.families.retain(|family| !family.metrics.is_empty());
        for family in &self.families {
            if let Some(labels) = repeated_labels(family) {
                return Err(Error::new(format!(
                    "metric {} is given twice with the labels {labels}",
                    family.name
                )));
            }
        }
        Ok(self.families)
    }
}

/// Adds metrics to a family. `N` is the number of labels.
pub struct FamilyBuilder<'a, const N: usize> {
    family: &'a mut Family,
    fault: &'a mut Option<String>,
}

impl<'a> FamilyBuilder<'a, 0> {
    /// Names the labels. A family that is continued must have the same ones.
    pub fn labels<const N: usize>(self, names: [&str; N]) -> FamilyBuilder<'a, N> {
        let FamilyBuilder { family, fault } = self;
        if family.metrics.is_empty() {
            check_label_names(&family.name, &names, fault);
            family.label_names = names.iter().map(|&name| name.to_owned()).collect();
        }
        FamilyBuilder { family, fault }.with_same_names(&names)
    }

    /// The one metric of a family without labels.
    pub fn set(self, value: impl Into<Value>) {
        self.with_same_names(&[]).add([], value);
    }
}

impl<const N: usize> FamilyBuilder<'_, N> {
    /// A metric with a value for each label.
    pub fn add(self, labels: [&str; N], value: impl Into<Value>) -> Self {
        self.push(labels, value.into(), None)
    }

    /// As [`FamilyBuilder::add`], with the source's own time.
    pub fn add_at(self, labels: [&str; N], value: impl Into<Value>, timestamp_ms: i64) -> Self {
        self.push(labels, value.into(), Some(timestamp_ms))
    }

    fn push(self, labels: [&str; N], value: Value, timestamp_ms: Option<i64>) -> Self {
        let fits = match (&value, self.family.kind) {
            (Value::Histogram(_), kind) => {
                matches!(kind, MetricType::Histogram | MetricType::GaugeHistogram)
            }
            (Value::Summary(_), kind) => kind == MetricType::Summary,
            (Value::Number(_), kind) => !matches!(
                kind,
                MetricType::Histogram | MetricType::GaugeHistogram | MetricType::Summary
            ),
        };
        if !fits {
            self.fault.get_or_insert_with(|| {
                format!(
                    "metric {} has a value that is not of its type",
                    self.family.name
                )
            });
        }
        self.family.metrics.push(Metric {
            label_values: labels.iter().map(|&value| value.to_owned()).collect(),
            value,
            timestamp_ms,
        });
        self
    }

    fn with_same_names(self, names: &[&str]) -> Self {
        if self.family.label_names != names {
            self.fault.get_or_insert_with(|| {
                format!(
                    "metric {} is given with the labels {:?} and {:?}",
                    self.family.name, self.family.label_names, names
                )
            });
        }
        self
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Value::Number(number)
    }
}

impl From<Histogram> for Value {
    fn from(histogram: Histogram) -> Self {
        Value::Histogram(histogram)
    }
}

impl From<Summary> for Value {
    fn from(summary: Summary) -> Self {
        Value::Summary(summary)
    }
}

/// `[a-zA-Z_:][a-zA-Z0-9_:]*`: what every reader of metrics understands.
pub fn is_metric_name(name: &str) -> bool {
    is_name(name, |c| c == b':')
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`, not starting with the two underscores that are Prometheus's own.
pub fn is_label_name(name: &str) -> bool {
    !name.starts_with("__") && is_name(name, |_| false)
}

fn is_name(name: &str, also: impl Fn(u8) -> bool) -> bool {
    let letter = |c: u8| c.is_ascii_alphabetic() || c == b'_' || also(c);
    match name.as_bytes().split_first() {
        Some((&first, rest)) => {
            letter(first) && rest.iter().all(|&c| letter(c) || c.is_ascii_digit())
        }
        None => false,
    }
}

fn check_label_names(metric: &str, names: &[&str], fault: &mut Option<String>) {
    for (at, name) in names.iter().enumerate() {
        if !is_label_name(name) {
            fault.get_or_insert_with(|| format!("metric {metric}: invalid label name {name:?}"));
        }
        if names[..at].contains(name) {
            fault.get_or_insert_with(|| format!("metric {metric}: label {name:?} is named twice"));
        }
    }
}

/// The labels that two metrics of the family share, if any do.
fn repeated_labels(family: &Family) -> Option<String> {
    let mut seen = HashSet::with_capacity(family.metrics.len());
    let twice = family
        .metrics
        .iter()
        .find(|metric| !seen.insert(&metric.label_values))?;
    Some(label_text(family, twice))
}

/// `{name="value",…}`, empty where there are no labels.
pub(crate) fn label_text(family: &Family, metric: &Metric) -> String {
    let pairs: Vec<String> = family
        .label_names
        .iter()
        .zip(&metric.label_values)
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}={value:?}"))
        .collect();
    match pairs.is_empty() {
        true => String::new(),
        false => format!("{{{}}}", pairs.join(",")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn builds_and_continues_families() {
        let mut metrics = Metrics::new();
        metrics.gauge("a", "A.").set(1.0);
        metrics.gauge("empty", "Nothing.").labels(["x"]);
        for device in ["sda", "sdb"] {
            metrics
                .counter("b_total", "B.")
                .labels(["device", "mode"])
                .add([device, "r"], 2.5)
                .add([device, ""], 3.0);
        }
        metrics.histogram("h", "H.").set(Histogram {
            buckets: vec![(0.1, 2.0), (1.0, 3.0)],
            sum: 1.5,
            count: 4.0,
        });
        let families = metrics.finish().unwrap();
        assert_eq!(
            testing::lines(&families),
            [
                "a 1",
                "b_total{device=\"sda\",mode=\"r\"} 2.5",
                "b_total{device=\"sda\"} 3",
                "b_total{device=\"sdb\",mode=\"r\"} 2.5",
                "b_total{device=\"sdb\"} 3",
                "h_bucket{le=\"0.1\"} 2",
                "h_bucket{le=\"1\"} 3",
                "h_bucket{le=\"+Inf\"} 4",
                "h_sum 1.5",
                "h_count 4",
            ]
        );
    }

    #[test]
    fn faults_are_named() {
        type Build = fn(&mut Metrics);
        let cases: [(Build, &str); 8] = [
            (
                |m| m.gauge("a-b", "").set(1.0),
                "invalid metric name \"a-b\"",
            ),
            (|m| m.gauge("", "").set(1.0), "invalid metric name \"\""),
            (
                |m| {
                    m.gauge("a", "").labels(["x y"]).add(["1"], 1.0);
                },
                "metric a: invalid label name \"x y\"",
            ),
            (
                |m| {
                    m.gauge("a", "").labels(["x", "x"]).add(["1", "2"], 1.0);
                },
                "metric a: label \"x\" is named twice",
            ),
            (
                |m| {
                    m.gauge("a", "").labels(["__name__"]).add(["1"], 1.0);
                },
                "metric a: invalid label name \"__name__\"",
            ),
            (
                |m| {
                    m.gauge("a", "").set(1.0);
                    m.counter("a", "").set(1.0);
                },
                "metric a is given with two types",
            ),
            (
                |m| {
                    m.gauge("a", "")
                        .labels(["x"])
                        .add(["1"], 1.0)
                        .add(["1"], 2.0);
                },
                "metric a is given twice with the labels {x=\"1\"}",
            ),
            (
                |m| m.histogram("a", "").set(1.0),
                "metric a has a value that is not of its type",
            ),
        ];
        for (build, expected) in cases {
            let mut metrics = Metrics::new();
            build(&mut metrics);
            assert_eq!(metrics.finish().unwrap_err().to_string(), expected);
        }
        let mut metrics = Metrics::new();
        metrics.gauge("a", "").labels(["x"]).add(["1"], 1.0);
        metrics.gauge("a", "").labels(["y"]).add(["1"], 1.0);
        assert!(metrics.finish().is_err());
    }
}
