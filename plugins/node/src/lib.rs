//! Metrics of a Linux machine, under node_exporter's names, labels, types and units, so that its
//! dashboards and alerts work as they are.
//!
//! Each collector reads one part of the machine. Keeps true: a collector that fails takes nothing
//! from the others; what it gave before it failed stays; `node_scrape_collector_success` says how
//! it went. Reading is apart from parsing: the parsers are pure functions of a file's text.

mod collectors;
mod config;
mod failure;
mod filter;
mod text;

use std::collections::BTreeMap;

use narthex_plugin_sdk::{ConfigError, Error, Exporter, Manifest, Metrics, clock, log};

use collectors::Collector;
pub use config::Config;
use failure::Failure;

narthex_plugin_sdk::exporter!(Node);

pub struct Node {
    collectors: Vec<(&'static str, Box<dyn Collector>)>,
    /// What was logged last of each collector that fails, so that it is logged once.
    told: BTreeMap<&'static str, String>,
}

impl Exporter for Node {
    type Config = Config;

    fn manifest() -> Manifest {
        Manifest::new("the machine: CPU, memory, load, file systems, network, disks")
            .reads("/proc")
            .reads("/sys")
            .may_read("/etc/os-release")
            .may_read("/usr/lib/os-release")
            .may_read("/run/udev/data")
            .knows_system()
            .every_ms(15_000)
    }

    fn new(config: Config) -> Result<Self, ConfigError> {
        Ok(Node {
            collectors: collectors::chosen(&config)?,
            told: BTreeMap::new(),
        })
    }

    fn collect(&mut self, metrics: &mut Metrics) -> Result<(), Error> {
        build_info(metrics);
        for (name, collector) in &mut self.collectors {
            let began = clock::monotonic_ns();
            let outcome = run(&mut **collector, metrics);
            let seconds = clock::monotonic_ns().saturating_sub(began) as f64 / 1e9;
            metrics
                .gauge(
                    "node_scrape_collector_duration_seconds",
                    "How long each collector took.",
                )
                .labels(["collector"])
                .add([name], seconds);
            metrics
                .gauge(
                    "node_scrape_collector_success",
                    "1 where the collector succeeded, 0 where it failed or found nothing to read.",
                )
                .labels(["collector"])
                .add([name], f64::from(outcome.is_ok()));
            tell(&mut self.told, name, outcome);
        }
        Ok(())
    }
}

/// One collector's families become part of all, unless they contradict themselves.
fn run(collector: &mut dyn Collector, metrics: &mut Metrics) -> Result<(), Failure> {
    let mut own = Metrics::new();
    let outcome = collector.collect(&mut own);
    metrics.extend(own.finish()?);
    outcome
}

fn tell(
    told: &mut BTreeMap<&'static str, String>,
    name: &'static str,
    outcome: Result<(), Failure>,
) {
    let failure = match outcome {
        Ok(()) => {
            told.remove(name);
            return;
        }
        Err(failure) => failure,
    };
    let text = failure.to_string();
    if told.get(name) == Some(&text) {
        return;
    }
    match failure {
        Failure::NoData(_) => log::debug(format!("collector {name}: no data: {text}")),
        Failure::Failed(_) => log::warn(format!("collector {name}: {text}")),
    }
    told.insert(name, text);
}

/// Dashboards take their list of machines from this.
fn build_info(metrics: &mut Metrics) {
    metrics
        .gauge(
            "node_exporter_build_info",
            "1, labelled with the version of what gives the node metrics.",
        )
        .labels(["goos", "version"])
        .add(["linux", env!("CARGO_PKG_VERSION")], 1.0);
}

#[cfg(test)]
mod conformance;
