//! What discoveries tell of their own work, for the agent's page of metrics.
//!
//! Keeps true: each plugin has names of its own, so that none meets the agent's or a neighbour's;
//! there are no more series than the limit allows; a gauge ends with the instance that has set it
//! last, a counter with the plugin.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use narthex_model::labels::{is_legacy_label_name, is_legacy_metric_name};
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

use crate::Limits;
use crate::bindings::plugin::CallError;
use crate::bindings::telemetry::{Host, Metric as Told};
use crate::validate::{self, Fault};

use super::State;

/// Its label `mechanism` tells plugins apart, not its name.
const COMMON: &str = "prometheus_sd_refresh_";

/// Plugins of these names would meet the agent's own metrics.
const AGENTS: [&str; 5] = ["discovered", "failed", "last", "received", "updates"];

/// What all discoveries tell.
#[derive(Default)]
pub(crate) struct Telemetry {
    next_instance: AtomicU64,
    /// By plugin and metric.
    told: Mutex<BTreeMap<String, BTreeMap<String, Family>>>,
}

#[derive(Default)]
struct Family {
    help: String,
    series: BTreeMap<BTreeMap<String, String>, Series>,
}

struct Series {
    value: f64,
    /// Who has told it last.
    instance: u64,
}

/// One instance's part; what it has set ends with it.
pub(crate) struct Teller {
    instance: u64,
    plugin: String,
    telemetry: Arc<Telemetry>,
}

impl Telemetry {
    pub(crate) fn teller(self: &Arc<Self>, plugin: &str) -> Teller {
        Teller {
            instance: self.next_instance.fetch_add(1, Ordering::Relaxed),
            plugin: plugin.to_owned(),
            telemetry: self.clone(),
        }
    }

    /// The plugin is gone.
    pub(crate) fn remove(&self, plugin: &str) {
        self.lock().remove(plugin);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, BTreeMap<String, Family>>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of metrics that several plugins have there is one family, as on any page of metrics.
    fn families(&self) -> Vec<MetricFamily> {
        let mut families: BTreeMap<String, MetricFamily> = BTreeMap::new();
        for plugin in self.lock().values() {
            for (name, family) in plugin {
                let shown = families.entry(name.clone()).or_insert_with(|| {
                    let mut shown = MetricFamily::default();
                    shown.set_name(name.clone());
                    shown.set_help(family.help.clone());
                    shown.set_field_type(match is_counter(name) {
                        true => MetricType::COUNTER,
                        false => MetricType::GAUGE,
                    });
                    shown
                });
                let series = family.series.iter();
                let series = series.map(|(labels, series)| metric(name, labels, series.value));
                shown.mut_metric().extend(series);
            }
        }
        families.into_values().collect()
    }
}

fn is_counter(name: &str) -> bool {
    name.ends_with("_total")
}

fn metric(name: &str, labels: &BTreeMap<String, String>, value: f64) -> Metric {
    let labels = labels.iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.clone());
        pair.set_value(value.clone());
        pair
    });
    let mut metric = Metric::from_label(labels.collect());
    if is_counter(name) {
        let mut counter = Counter::default();
        counter.set_value(value);
        metric.set_counter(counter);
    } else {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
    }
    metric
}

impl Teller {
    /// `change` gets the value there is and gives the one that is to be; none ends the series.
    fn tell(
        &self,
        told: Told,
        limits: &Limits,
        change: impl FnOnce(Option<f64>) -> Option<f64>,
    ) -> Result<(), Fault> {
        let labels = labels(&self.plugin, &told, limits)?;
        let mut all = self.telemetry.lock();
        let plugin = all.entry(self.plugin.clone()).or_default();
        let count: usize = plugin.values().map(|family| family.series.len()).sum();
        let family = plugin.entry(told.name).or_default();
        family.help = told.help;
        let known = family.series.get(&labels).map(|series| series.value);
        if known.is_none() {
            validate::limit("series", count + 1, limits.series)?;
        }
        match change(known) {
            Some(value) => {
                let instance = self.instance;
                family.series.insert(labels, Series { value, instance });
            }
            None => {
                family.series.remove(&labels);
            }
        }
        plugin.retain(|_, family| !family.series.is_empty());
        Ok(())
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        let mut all = self.telemetry.lock();
        let Some(plugin) = all.get_mut(&self.plugin) else {
            return;
        };
        plugin.retain(|name, family| {
            if !is_counter(name) {
                family
                    .series
                    .retain(|_, series| series.instance != self.instance);
            }
            !family.series.is_empty()
        });
    }
}

/// The labels, if all that is told is in order.
fn labels(plugin: &str, told: &Told, limits: &Limits) -> Result<BTreeMap<String, String>, Fault> {
    let name = &told.name;
    let own = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let own: String = plugin.chars().map(own).collect();
    let invalid = |text: String| Err(Fault::Invalid(text));
    let begins = |start: String| name.starts_with(&start);
    let is_prometheus = !AGENTS.contains(&own.as_str()) && begins(format!("prometheus_sd_{own}_"));
    let is_own = is_prometheus || begins(format!("narthex_sd_{own}_"));
    let is_common = name.starts_with(COMMON);
    if !is_legacy_metric_name(name) || !(is_own || is_common) {
        return invalid(format!(
            "telemetry of {name:?}: names begin with prometheus_sd_{own}_, narthex_sd_{own}_ or \
             {COMMON}"
        ));
    }
    validate::limit("label_name_bytes", name.len(), limits.label_name_bytes)?;
    validate::limit(
        "label_value_bytes",
        told.help.len(),
        limits.label_value_bytes,
    )?;
    validate::limit("labels", told.labels.len(), limits.labels)?;
    let mut labels = BTreeMap::new();
    for (label, value) in &told.labels {
        validate::limit("label_name_bytes", label.len(), limits.label_name_bytes)?;
        validate::limit("label_value_bytes", value.len(), limits.label_value_bytes)?;
        let known = labels.insert(label.clone(), value.clone());
        if !is_legacy_label_name(label) || known.is_some() {
            return invalid(format!("telemetry of {name}: the label {label:?}"));
        }
    }
    if is_common {
        labels.insert("mechanism".to_owned(), own);
    }
    Ok(labels)
}

impl Host for State {
    fn add(&mut self, metric: Told, value: f64) -> Result<(), CallError> {
        let name = &metric.name;
        if !is_counter(name) || !value.is_finite() || value < 0.0 {
            return Err(CallError::Invalid(format!(
                "adding {value} to {name:?}: names of counters end in _total, and they only grow"
            )));
        }
        self.tell(metric, |known| Some(known.unwrap_or(0.0) + value))
    }

    fn set(&mut self, metric: Told, value: Option<f64>) -> Result<(), CallError> {
        if is_counter(&metric.name) {
            let name = metric.name;
            let text = format!("{name:?} is set, and names that end in _total are counters'");
            return Err(CallError::Invalid(text));
        }
        self.tell(metric, |_| value)
    }
}

impl State {
    fn tell(
        &mut self,
        metric: Told,
        change: impl FnOnce(Option<f64>) -> Option<f64>,
    ) -> Result<(), CallError> {
        let shared = self.shared.clone();
        let teller = self.teller.get_or_insert_with(|| shared.metrics.teller());
        let told = teller.tell(metric, &shared.limits.load(), change);
        told.map_err(|fault| {
            let text = shared.note_fault(&fault);
            shared.health.note(&text);
            match fault {
                Fault::Limit { .. } => CallError::Limit(text),
                Fault::Invalid(_) => CallError::Invalid(text),
            }
        })
    }
}

/// Reads what was told when someone asks.
pub(crate) struct Page(pub(crate) Arc<Telemetry>);

impl Collector for Page {
    /// Which there are, plugins say.
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.0.families()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str, labels: &[(&str, &str)]) -> Told {
        let labels = labels.iter();
        Told {
            name: name.to_owned(),
            help: "Help.".to_owned(),
            labels: labels
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    fn shown(telemetry: &Telemetry) -> String {
        let mut lines = Vec::new();
        for family in telemetry.families() {
            for metric in family.get_metric() {
                let labels = metric.get_label().iter();
                let labels: Vec<String> = labels
                    .map(|label| format!("{}={}", label.name(), label.value()))
                    .collect();
                let value = match family.get_field_type() {
                    MetricType::COUNTER => metric.get_counter().get_value(),
                    _ => metric.get_gauge().get_value(),
                };
                lines.push(format!("{} {} {value}", family.name(), labels.join(",")));
            }
        }
        lines.join("; ")
    }

    #[test]
    fn gauges_end_with_their_instance_and_counters_with_the_plugin() {
        let telemetry = Arc::new(Telemetry::default());
        let limits = Limits::default();
        let (a, b) = (telemetry.teller("my-shop"), telemetry.teller("other"));
        let count = |teller: &Teller, name: &str| {
            let told = told(name, &[]);
            teller.tell(told, &limits, |known| Some(known.unwrap_or(0.0) + 1.0))
        };
        for _ in 0..2 {
            count(&a, "prometheus_sd_refresh_failures_total").unwrap();
            count(&a, "prometheus_sd_my_shop_lookups_total").unwrap();
        }
        count(&b, "prometheus_sd_refresh_failures_total").unwrap();
        let gauge = told("prometheus_sd_my_shop_age", &[("x", "1")]);
        a.tell(gauge, &limits, |_| Some(7.0)).unwrap();
        let counters = "prometheus_sd_my_shop_lookups_total  2; \
                        prometheus_sd_refresh_failures_total mechanism=my_shop 2; \
                        prometheus_sd_refresh_failures_total mechanism=other 1";
        assert_eq!(
            shown(&telemetry),
            format!("prometheus_sd_my_shop_age x=1 7; {counters}")
        );
        // A later instance has it now, so it does not end with the first.
        let later = telemetry.teller("my-shop");
        let gauge = told("prometheus_sd_my_shop_age", &[("x", "1")]);
        later.tell(gauge, &limits, |_| Some(8.0)).unwrap();
        drop(a);
        assert!(shown(&telemetry).starts_with("prometheus_sd_my_shop_age x=1 8; "));
        drop(later);
        assert_eq!(shown(&telemetry), counters);
        telemetry.remove("my-shop");
        assert_eq!(
            shown(&telemetry),
            "prometheus_sd_refresh_failures_total mechanism=other 1"
        );
    }

    #[test]
    fn others_names_and_too_many_series_are_refused() {
        let telemetry = Arc::new(Telemetry::default());
        let teller = telemetry.teller("shop");
        let limits = Limits {
            series: 2,
            ..Limits::default()
        };
        let tell = |told: Told| {
            let told = teller.tell(told, &limits, |_| Some(1.0));
            told.err().map_or(String::new(), |fault| fault.to_string())
        };
        for (name, labels, expected) in [
            ("prometheus_sd_shop_a", &[][..], ""),
            ("narthex_sd_shop_b", &[("x", "1")], ""),
            ("prometheus_sd_shop_a", &[], ""),
            (
                "prometheus_sd_shop_c",
                &[],
                "3 series, and the limit plugins.limits.series is 2",
            ),
            ("up", &[], "telemetry of \"up\": names begin with "),
            ("prometheus_sd_file_mtime", &[], "telemetry of "),
            ("prometheus_sd_discovered_targets", &[], "telemetry of "),
            ("prometheus_sd_shop_-", &[], "telemetry of "),
            ("prometheus_sd_shop_a", &[("-", "1")], "telemetry of "),
            (
                "prometheus_sd_shop_a",
                &[("x", "1"), ("x", "2")],
                "telemetry of ",
            ),
        ] {
            let said = tell(told(name, labels));
            assert!(said.starts_with(expected), "{name}: {said}");
            assert_eq!(said.is_empty(), expected.is_empty(), "{name}: {said}");
        }
    }
}
