//! Metrics of a Linux machine, under node_exporter's names, labels, types and units, so that its
//! dashboards and alerts work as they are.
//!
//! Each collector reads one part of the machine. Keeps true: a collector that fails takes nothing
//! from the others; what it gave before it failed stays; `node_scrape_collector_success` says how
//! it went. Reading is apart from parsing: the parsers are pure functions of a file's text.

mod collectors;
mod descriptor;
mod failure;
mod filter;
mod machine;
mod options;
mod spelling;
mod text;

use std::collections::{BTreeMap, HashSet};

use narthex_plugin_sdk::{
    ConfigError, Error, Exporter, Family, Manifest, Metrics, clock, system, tracing,
};

use collectors::{Chosen, Collector};
use descriptor::{Descriptor, gauge};
use failure::Failure;
use machine::Machine;
pub use options::Config;
use options::Options;

narthex_plugin_sdk::exporter!(Node);

pub struct Node {
    machine: Machine,
    collectors: Chosen,
    /// As uname(2) names it, in lower case; asked for once.
    system: Option<String>,
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
            // Text files, and where a container sees the machine, are what the configuration names.
            .may_read("/")
            .knows_system()
            .every_ms(15_000)
    }

    fn new(config: Config) -> Result<Self, ConfigError> {
        let options = Options::new(config)?;
        let machine = Machine::new(&options)?;
        let collectors = Chosen::new(&options)?;
        options.finish()?;
        Ok(Node {
            machine,
            collectors,
            system: None,
            told: BTreeMap::new(),
        })
    }

    fn collect(&mut self, metrics: &mut Metrics) -> Result<(), Error> {
        let system = self.system.get_or_insert_with(system_name);
        let build = [system.as_str(), env!("CARGO_PKG_VERSION")];
        BUILD_INFO.add(metrics, ["goos", "version"], build, 1.0);
        let collectors = match system.as_str() {
            LINUX => &mut self.collectors.linux,
            _ => &mut self.collectors.portable,
        };
        self.machine.forget();
        let mut seen = HashSet::new();
        for (name, collector) in collectors {
            let began = clock::monotonic_ns();
            let (families, outcome) = run(&mut **collector, &self.machine);
            let seconds = clock::monotonic_ns().saturating_sub(began) as f64 / 1e9;
            DURATION.add(metrics, ["collector"], [name], seconds);
            let succeeded = f64::from(outcome.is_ok());
            SUCCESS.add(metrics, ["collector"], [name], succeeded);
            tell(&mut self.told, name, outcome);
            metrics.extend(first_of_their_names(families, &mut seen));
        }
        Ok(())
    }
}

const DURATION: Descriptor = gauge(
    "node_scrape_collector_duration_seconds",
    "node_exporter: Duration of a collector scrape.",
);
const SUCCESS: Descriptor = gauge(
    "node_scrape_collector_success",
    "node_exporter: Whether a collector succeeded.",
);

/// Dashboards take their list of machines from this.
const BUILD_INFO: Descriptor = gauge(
    "node_exporter_build_info",
    "A metric with a constant '1' value labeled by version and goos from which node_exporter was built.",
);

/// What a collector gives, as far as it got.
fn run(collector: &mut dyn Collector, machine: &Machine) -> (Vec<Family>, Result<(), Failure>) {
    let mut own = Metrics::new();
    let outcome = collector.collect(machine, &mut own);
    match own.finish() {
        Ok(families) => (families, outcome),
        Err(error) => (Vec::new(), outcome.and(Err(error.into()))),
    }
}

/// Text files may hold any names, those of other collectors too.
fn first_of_their_names(mut families: Vec<Family>, seen: &mut HashSet<String>) -> Vec<Family> {
    let own = [DURATION.name, SUCCESS.name, BUILD_INFO.name];
    families.retain(|family| {
        let name = &family.name;
        !own.contains(&name.as_str()) && seen.insert(name.clone())
    });
    families
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
        Failure::NoData(_) => tracing::debug!("collector {name}: no data: {text}"),
        Failure::Failed(_) => tracing::error!("collector {name}: {text}"),
    }
    told.insert(name, text);
}

const LINUX: &str = "linux";

/// Who does not say what he is, is a Linux with a narrow grant.
fn system_name() -> String {
    let identity = system::identify().map(|identity| identity.sysname.to_lowercase());
    identity.unwrap_or_else(|_| LINUX.to_owned())
}

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod side_by_side;
