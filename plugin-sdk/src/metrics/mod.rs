//! Building metric families.
//!
//! Keeps true: what [`Metrics::finish`] gives is valid, so the host takes it. The number of label
//! values is held against the label names, and the values against the family's type, by the
//! compiler; names too where they are described by a constant [`Metric`]. The rest is checked as it
//! comes, and the first fault is what the collection fails with.

mod describe;
pub(crate) mod names;
mod recorder;
mod values;

use std::collections::{HashMap, HashSet};
use std::marker::PhantomData;

use crate::Error;
pub use crate::bindings::exporter::exports::narthex::plugin::metrics::{
    Family, Histogram, MetricType, NativeHistogram, Span, Summary, Values,
};
pub use describe::Metric;
pub(crate) use names::label_text;
pub use names::{is_label_name, is_metric_name};
pub use recorder::NativeRecorder;
pub use values::{Info, Sample, Value};

/// The families of one collection.
///
/// ```ignore
/// const VISITS: Metric<f64, 1> = Metric::counter("pool_visits_total", "Visits, by day.", ["day"]);
///
/// metrics.gauge("pool_temperature_celsius", "Temperature of the water.").set(21.5);
/// metrics.of(&VISITS).add(["monday"], 3.0).add(["sunday"], 112.0);
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

    /// A family that is described by a constant.
    pub fn of<V, const N: usize>(&mut self, metric: &Metric<V, N>) -> FamilyBuilder<'_, V, N> {
        let builder = self.typed(metric.name, metric.help, metric.kind);
        builder.unit(metric.unit).labels(metric.labels)
    }

    /// A family whose value goes up and down. A family that is there already is continued.
    pub fn gauge(&mut self, name: &str, help: &str) -> FamilyBuilder<'_, f64, 0> {
        self.typed(name, help, MetricType::Gauge)
    }

    /// A family that only counts up; its name should end in `_total`.
    pub fn counter(&mut self, name: &str, help: &str) -> FamilyBuilder<'_, f64, 0> {
        self.typed(name, help, MetricType::Counter)
    }

    /// A family of which nobody knows whether it only counts up.
    pub fn unknown(&mut self, name: &str, help: &str) -> FamilyBuilder<'_, f64, 0> {
        self.typed(name, help, MetricType::Unknown)
    }

    /// A family of [`Histogram`]s.
    pub fn histogram(&mut self, name: &str, help: &str) -> FamilyBuilder<'_, Histogram, 0> {
        self.typed(name, help, MetricType::Histogram)
    }

    /// A family of [`Histogram`]s of which values may leave again: of what waits, say.
    pub fn gauge_histogram(&mut self, name: &str, help: &str) -> FamilyBuilder<'_, Histogram, 0> {
        self.typed(name, help, MetricType::GaugeHistogram)
    }

    /// A family of [`NativeHistogram`]s.
    pub fn native_histogram(
        &mut self,
        name: &str,
        help: &str,
    ) -> FamilyBuilder<'_, NativeHistogram, 0> {
        self.typed(name, help, MetricType::Histogram)
    }

    /// A family of [`Summary`]s.
    pub fn summary(&mut self, name: &str, help: &str) -> FamilyBuilder<'_, Summary, 0> {
        self.typed(name, help, MetricType::Summary)
    }

    /// A family whose labels say something and whose value is 1; its name should end in `_info`.
    pub fn info(&mut self, name: &str, help: &str) -> FamilyBuilder<'_, Info, 0> {
        self.typed(name, help, MetricType::Info)
    }

    /// A family that says which of some states things are in. Each becomes a metric a state, 1 for
    /// the one that holds, with the state in a label of the family's own name.
    pub fn state_set<'a>(
        &'a mut self,
        name: &str,
        help: &str,
        states: &'a [&'a str],
    ) -> StateSetBuilder<'a, 0> {
        let FamilyBuilder { family, fault, .. } =
            self.typed::<f64>(name, help, MetricType::StateSet);
        StateSetBuilder {
            family,
            fault,
            states,
        }
    }

    /// A family whose type is known only at run time.
    pub fn family(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
    ) -> FamilyBuilder<'_, Value, 0> {
        self.typed(name, help, kind)
    }

    fn typed<V>(&mut self, name: &str, help: &str, kind: MetricType) -> FamilyBuilder<'_, V, 0> {
        let at = match self.by_name.get(name) {
            Some(&at) => at,
            None => self.start_family(name, help, kind),
        };
        let (family, fault) = (&mut self.families[at], &mut self.fault);
        if family.kind != kind {
            fault.get_or_insert_with(|| format!("metric {name} is given with two types"));
        }
        FamilyBuilder {
            family,
            fault,
            value: PhantomData,
        }
    }

    fn start_family(&mut self, name: &str, help: &str, kind: MetricType) -> usize {
        names::check_metric(name, &mut self.fault);
        let at = self.families.len();
        self.by_name.insert(name.to_owned(), at);
        let family = Family::new(name, help, kind, Vec::new());
        self.families.push(family);
        at
    }

    /// Adds whole families: what another [`Metrics`] has finished, or [`Family::new`] has begun.
    pub fn extend(&mut self, families: Vec<Family>) {
        for family in families {
            names::check_metric(&family.name, &mut self.fault);
            let labels: Vec<&str> = family.label_names.iter().map(String::as_str).collect();
            names::check_labels(&family.name, &labels, &mut self.fault);
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
        self.families.retain(|family| !family.is_empty());
        for family in &self.families {
            if let Some(fault) = fault_of(family) {
                return Err(Error::new(format!("metric {} {fault}", family.name)));
            }
        }
        Ok(self.families)
    }
}

/// Adds metrics to a family. `V` is what its values are, `N` the number of labels.
pub struct FamilyBuilder<'a, V, const N: usize> {
    family: &'a mut Family,
    fault: &'a mut Option<String>,
    value: PhantomData<V>,
}

/// When a metric's value was true, and since when it counts, as far as its source knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    pub timestamp_ms: Option<i64>,
    pub start_timestamp_ms: Option<i64>,
}

impl<'a, V> FamilyBuilder<'a, V, 0> {
    /// Names the labels. A family that is continued must have the same ones.
    pub fn labels<const N: usize>(self, names: [&str; N]) -> FamilyBuilder<'a, V, N> {
        let FamilyBuilder { family, fault, .. } = self;
        name_labels(family, fault, &names);
        FamilyBuilder {
            family,
            fault,
            value: PhantomData,
        }
    }

    /// Says in what unit the values are; the name must end in it.
    pub fn unit(self, unit: &str) -> Self {
        let stem = self.family.name.strip_suffix("_total");
        let stem = stem.unwrap_or(&self.family.name);
        if !unit.is_empty() && !stem.strip_suffix(unit).is_some_and(|s| s.ends_with('_')) {
            self.fault.get_or_insert_with(|| {
                format!(
                    "metric {} is given with the unit {unit:?}, in which its name does not end",
                    self.family.name
                )
            });
        }
        unit.clone_into(&mut self.family.unit);
        self
    }

    /// The one metric of a family without labels.
    pub fn set(self, value: impl Into<V>)
    where
        V: Sample,
    {
        self.labels([]).add([], value);
    }
}

impl<V: Sample, const N: usize> FamilyBuilder<'_, V, N> {
    /// A metric with a value for each label.
    pub fn add(self, labels: [&str; N], value: impl Into<V>) -> Self {
        self.add_timed(labels, value, Times::default())
    }

    /// As [`FamilyBuilder::add`], with the source's own time.
    pub fn add_at(self, labels: [&str; N], value: impl Into<V>, timestamp_ms: i64) -> Self {
        let times = Times {
            timestamp_ms: Some(timestamp_ms),
            start_timestamp_ms: None,
        };
        self.add_timed(labels, value, times)
    }

    /// As [`FamilyBuilder::add`], with the time at which it began to count.
    pub fn add_since(
        self,
        labels: [&str; N],
        value: impl Into<V>,
        start_timestamp_ms: i64,
    ) -> Self {
        let times = Times {
            timestamp_ms: None,
            start_timestamp_ms: Some(start_timestamp_ms),
        };
        self.add_timed(labels, value, times)
    }

    /// As [`FamilyBuilder::add`], with what is known of times. All the metrics of a family must
    /// have one, or none.
    pub fn add_timed(self, labels: [&str; N], value: impl Into<V>, times: Times) -> Self {
        let labels = labels.iter().map(|&value| value.to_owned());
        push(
            self.family,
            self.fault,
            labels,
            value.into().into_value(),
            times,
        );
        self
    }
}

impl<const N: usize> FamilyBuilder<'_, Info, N> {
    /// A metric with these label values; its value is 1.
    pub fn mark(self, labels: [&str; N]) -> Self {
        self.add(labels, Info)
    }
}

/// Adds things and the states they are in to a family.
pub struct StateSetBuilder<'a, const N: usize> {
    family: &'a mut Family,
    fault: &'a mut Option<String>,
    states: &'a [&'a str],
}

impl<'a> StateSetBuilder<'a, 0> {
    /// Names the labels that tell things apart.
    pub fn labels<const N: usize>(self, names: [&str; N]) -> StateSetBuilder<'a, N> {
        let StateSetBuilder {
            family,
            fault,
            states,
        } = self;
        let own = family.name.clone();
        let names: Vec<&str> = names.into_iter().chain([own.as_str()]).collect();
        name_labels(family, fault, &names);
        StateSetBuilder {
            family,
            fault,
            states,
        }
    }

    /// The state of the one thing there is.
    pub fn set(self, state: &str) {
        self.add([], state);
    }
}

impl<const N: usize> StateSetBuilder<'_, N> {
    /// The state that a thing is in.
    pub fn add(self, labels: [&str; N], state: &str) -> Self {
        if self.family.label_names.is_empty() {
            let own = self.family.name.clone();
            name_labels(self.family, self.fault, &[&own]);
        }
        if !self.states.contains(&state) {
            self.fault.get_or_insert_with(|| {
                format!("metric {} has no state {state:?}", self.family.name)
            });
        }
        for known in self.states {
            let labels = labels.iter().chain([known]).map(|&value| value.to_owned());
            let value = Value::Number(f64::from(*known == state));
            push(self.family, self.fault, labels, value, Times::default());
        }
        self
    }
}

fn name_labels(family: &mut Family, fault: &mut Option<String>, names: &[&str]) {
    if family.is_empty() {
        names::check_labels(&family.name, names, fault);
        family.label_names = names.iter().map(|&name| name.to_owned()).collect();
    }
    if family.label_names != names {
        fault.get_or_insert_with(|| {
            format!(
                "metric {} is given with the labels {:?} and {:?}",
                family.name, family.label_names, names
            )
        });
    }
}

fn push(
    family: &mut Family,
    fault: &mut Option<String>,
    labels: impl Iterator<Item = String>,
    value: Value,
    times: Times,
) {
    let count = family.values.len();
    let wrong = match value.fault() {
        None if !family.values.push(value, family.kind) => {
            Some("has a value that is not of its type")
        }
        wrong => wrong,
    };
    if let Some(wrong) = wrong {
        fault.get_or_insert_with(|| format!("metric {} {wrong}", family.name));
        return;
    }
    family.label_values.extend(labels);
    if family.label_values.len() != (count + 1) * family.label_names.len() {
        fault.get_or_insert_with(|| {
            format!(
                "metric {} is given with the labels {:?} and with others",
                family.name, family.label_names
            )
        });
    }
    for (column, time, what) in [
        (&mut family.timestamps_ms, times.timestamp_ms, "times"),
        (
            &mut family.start_timestamps_ms,
            times.start_timestamp_ms,
            "start times",
        ),
    ] {
        if time.is_some() != (column.len() == count) && count > 0 {
            fault.get_or_insert_with(|| {
                format!("metric {} is given with {what} and without", family.name)
            });
        }
        column.extend(time);
    }
}

/// What is wrong with a family as a whole.
fn fault_of(family: &Family) -> Option<String> {
    let labels = repeated_labels(family)?;
    Some(match labels.as_str() {
        "" => "is given twice".to_owned(),
        labels => format!("is given twice with the labels {labels}"),
    })
}

/// The labels that two metrics of the family share, if any do.
fn repeated_labels(family: &Family) -> Option<String> {
    if family.label_names.is_empty() {
        return (family.values.len() > 1).then(String::new);
    }
    let mut seen = HashSet::with_capacity(family.values.len());
    let mut metrics = family.label_values.chunks(family.label_names.len());
    let twice = metrics.find(|labels| !seen.insert(*labels))?;
    Some(label_text(&family.label_names, twice))
}

#[cfg(test)]
mod tests;
