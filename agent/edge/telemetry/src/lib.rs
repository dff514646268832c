//! Summaries: quantiles over the latest observations. Dashboards for Prometheus expect that type
//! for some of its own metrics, and the `prometheus` crate has none.
//!
//! Where Prometheus's quantiles are of a sliding ten minutes, these are of the latest 500
//! observations; count and sum are of all.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType, Quantile, Summary as Proto};
use prometheus::{Error, Registry};

/// A summary without labels.
#[derive(Clone)]
pub struct Summary(SummaryVec);

/// A summary for each value of one label.
#[derive(Clone)]
pub struct SummaryVec {
    desc: Desc,
    /// None: there is one summary, without a label.
    label: Option<String>,
    quantiles: &'static [f64],
    /// By the label's value.
    observations: Arc<Mutex<BTreeMap<String, Observations>>>,
}

impl Summary {
    pub fn register(
        registry: &Registry,
        name: &str,
        help: &str,
        quantiles: &'static [f64],
    ) -> Result<Self, Error> {
        let summary = SummaryVec::new(name, help, None, quantiles)?;
        // It is shown from the start on, also before the first observation.
        summary.lock().entry(String::new()).or_default();
        registry.register(Box::new(summary.clone()))?;
        Ok(Summary(summary))
    }

    pub fn observe(&self, value: f64) {
        self.0.observe("", value);
    }
}

impl SummaryVec {
    pub fn register(
        registry: &Registry,
        name: &str,
        help: &str,
        label: &str,
        quantiles: &'static [f64],
    ) -> Result<Self, Error> {
        let summary = SummaryVec::new(name, help, Some(label), quantiles)?;
        registry.register(Box::new(summary.clone()))?;
        Ok(summary)
    }

    fn new(
        name: &str,
        help: &str,
        label: Option<&str>,
        quantiles: &'static [f64],
    ) -> Result<Self, Error> {
        let labels = label.into_iter().map(str::to_owned).collect();
        Ok(SummaryVec {
            desc: Desc::new(name.to_owned(), help.to_owned(), labels, Default::default())?,
            label: label.map(str::to_owned),
            quantiles,
            observations: Arc::default(),
        })
    }

    pub fn observe(&self, label: &str, value: f64) {
        let mut all = self.lock();
        match all.get_mut(label) {
            Some(observations) => observations.add(value),
            None => all.entry(label.to_owned()).or_default().add(value),
        }
    }

    /// Shows it no longer for this value of the label.
    pub fn remove(&self, label: &str) {
        self.lock().remove(label);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Observations>> {
        self.observations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

const KEPT_OBSERVATIONS: usize = 500;

#[derive(Default)]
struct Observations {
    count: u64,
    sum: f64,
    latest: VecDeque<f64>,
}

impl Observations {
    fn add(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        self.latest.push_back(value);
        if self.latest.len() > KEPT_OBSERVATIONS {
            self.latest.pop_front();
        }
    }

    fn summary(&self, quantiles: &[f64]) -> Proto {
        let mut sorted: Vec<f64> = self.latest.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let quantiles = quantiles.iter().map(|&q| {
            let rank = (q * sorted.len() as f64).ceil() as usize;
            let value = sorted.get(rank.saturating_sub(1)).copied();
            let mut quantile = Quantile::default();
            quantile.set_quantile(q);
            quantile.set_value(value.unwrap_or(f64::NAN));
            quantile
        });
        let mut summary = Proto::default();
        summary.set_quantile(quantiles.collect());
        summary.set_sample_count(self.count);
        summary.set_sample_sum(self.sum);
        summary
    }
}

impl Collector for SummaryVec {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let all = self.lock();
        let metrics = all.iter().map(|(value, observations)| {
            let labels = self.label.iter().map(|name| {
                let mut label = LabelPair::default();
                label.set_name(name.clone());
                label.set_value(value.clone());
                label
            });
            let mut metric = Metric::from_label(labels.collect());
            metric.set_summary(observations.summary(self.quantiles));
            metric
        });
        let mut family = MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(MetricType::SUMMARY);
        family.set_metric(metrics.collect());
        vec![family]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_up_per_label() {
        let registry = Registry::new();
        let register = || SummaryVec::register(&registry, "s", "Help.", "job", &[0.01, 0.5, 0.99]);
        let summary = register().unwrap();
        for value in 1..=100 {
            summary.observe("a", f64::from(value));
        }
        summary.observe("b", 7.0);
        summary.remove("b");
        let family = &registry.gather()[0];
        assert_eq!(family.get_metric().len(), 1);
        let shown = family.get_metric()[0].get_summary();
        assert_eq!((shown.sample_count(), shown.sample_sum()), (100, 5050.0));
        let values: Vec<f64> = shown.get_quantile().iter().map(Quantile::value).collect();
        assert_eq!(values, [1.0, 50.0, 99.0]);
        assert!(register().is_err(), "registered twice");
    }

    #[test]
    fn a_summary_without_labels_is_shown_before_its_first_observation() {
        let registry = Registry::new();
        Summary::register(&registry, "s", "Help.", &[0.5]).unwrap();
        let family = &registry.gather()[0];
        assert_eq!(family.get_metric()[0].get_summary().sample_count(), 0);
        assert!(family.get_metric()[0].get_label().is_empty());
    }
}
