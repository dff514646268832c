//! Families of several files become one of each name.

use std::collections::{BTreeMap, HashMap, HashSet};

use narthex_plugin_sdk::metrics::Times;
use narthex_plugin_sdk::{Error, Family, MetricType, Metrics, Value};

use super::parse;

#[derive(Default)]
pub(super) struct Merged {
    /// In the order in which they come.
    families: Vec<Together>,
    by_name: HashMap<String, usize>,
}

struct Together {
    name: String,
    kind: MetricType,
    help: Option<String>,
    /// Two files disagree about the help text: only what came before counts.
    is_closed: bool,
    paths: Vec<String>,
    metrics: Vec<parse::Metric>,
}

impl Merged {
    /// Adds what a file gives, but for the families that don't agree with those of an earlier file.
    pub(super) fn add(
        &mut self,
        path: &str,
        families: Vec<parse::Family>,
        errors: &mut BTreeMap<String, String>,
    ) {
        for family in families {
            if let Err(error) = self.add_family(path, family) {
                errors.insert(path.to_owned(), error);
            }
        }
    }

    fn add_family(&mut self, path: &str, family: parse::Family) -> Result<(), String> {
        let name = family.name.clone();
        let at = *self.by_name.entry(name).or_insert_with(|| {
            self.families.push(Together {
                name: family.name.clone(),
                kind: family.kind,
                help: None,
                is_closed: false,
                paths: Vec::new(),
                metrics: Vec::new(),
            });
            self.families.len() - 1
        });
        match self.families.get_mut(at) {
            Some(together) => together.add(path, family),
            None => Ok(()),
        }
    }

    /// Gives them all but those of the reserved names. Metrics with the same labels are given once.
    pub(super) fn give(
        self,
        reserved: &[&str],
        metrics: &mut Metrics,
        errors: &mut BTreeMap<String, String>,
    ) {
        let mut families = Vec::new();
        for together in self.families {
            match reserved.contains(&together.name.as_str()) {
                true => {
                    let error = format!("{} is node_exporter's own", together.name);
                    errors.insert(together.paths.join(", "), error);
                }
                false => {
                    let paths = together.paths.join(", ");
                    match together.into_family() {
                        Ok(family) => families.push(family),
                        Err(error) => {
                            errors.insert(paths, error.to_string());
                        }
                    }
                }
            }
        }
        metrics.extend(families);
    }
}

impl Together {
    fn add(&mut self, path: &str, family: parse::Family) -> Result<(), String> {
        let agrees = match (&self.help, &family.help) {
            (Some(first), Some(help)) => first == help,
            _ => true,
        };
        let disagrees = |what: &str| {
            let (name, first) = (&family.name, self.paths.join(", "));
            Err(format!("{name} has another {what} than in {first}"))
        };
        if !agrees || self.is_closed {
            let told = disagrees("help text");
            self.is_closed = true;
            return told;
        }
        if self.kind != family.kind {
            return disagrees("type");
        }
        if self.help.is_none() {
            self.help = family.help;
        }
        self.paths.push(path.to_owned());
        self.metrics.extend(family.metrics);
        Ok(())
    }

    /// Labels that some of the metrics lack are empty there.
    fn into_family(self) -> Result<Family, Error> {
        let mut names: Vec<String> = Vec::new();
        for (name, _) in self.metrics.iter().flat_map(|metric| &metric.labels) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names.sort();
        let help = self
            .help
            .unwrap_or_else(|| format!("Metric read from {}", self.paths.join(", ")));
        let mut seen = HashSet::new();
        let mut family = Family::new(self.name, help, self.kind, names.clone());
        for metric in self.metrics {
            let mut labels: HashMap<String, String> = metric.labels.into_iter().collect();
            let values = names
                .iter()
                .map(|name| labels.remove(name).unwrap_or_default());
            let label_values: Vec<String> = values.collect();
            if seen.insert(label_values.clone()) {
                let value = match metric.value {
                    parse::Value::Number(value) => Value::Number(value),
                    parse::Value::Histogram(histogram) => Value::Histogram(histogram),
                    parse::Value::Summary(summary) => Value::Summary(summary),
                };
                family.push(label_values, value, Times::default())?;
            }
        }
        Ok(family)
    }
}
