//! Energy that the processor's parts have used.

use std::collections::BTreeMap;

use narthex_plugin_sdk::{ConfigError, Metrics};

use super::Collector;
use crate::descriptor::{Descriptor, counter};
use crate::failure::{At, Failure};
use crate::machine::Machine;
use crate::options::Options;
use crate::text::{as_name, folders_where, is_denied, number, parse, read_attributes};

const JOULES: Descriptor = counter("node_rapl_joules_total", "Current RAPL value in joules");

pub(crate) struct Rapl {
    /// One family for all zones, instead of one for each.
    zone_label: bool,
}

impl Rapl {
    pub(crate) fn new(options: &Options) -> Result<Self, ConfigError> {
        Ok(Rapl {
            zone_label: options.flag("collector.rapl.enable-zone-label", false)?,
        })
    }
}

impl Collector for Rapl {
    fn collect(&mut self, machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
        let class = machine.sys("class/powercap");
        let folders = match folders_where(&class, |_| true) {
            Err(error) if is_denied(&error) => return Err(Failure::no_data(&class, &error)),
            folders => folders.at_if_there(&class)?,
        };
        let files = |file: &str| -> Vec<String> {
            folders
                .iter()
                .map(|folder| format!("{class}/{folder}/{file}"))
                .collect()
        };
        let (names, energies) = (read_attributes(&files("name")), files("energy_uj"));
        let mut zones = Zones::default();
        let values = read_attributes(&energies);
        for (name, (path, value)) in names.into_iter().zip(energies.iter().zip(values)) {
            let Ok(name) = name else {
                continue;
            };
            let (zone, index) = zones.place(&name);
            let value = match value {
                // As a rule only root may see them.
                Err(error) if is_denied(&error) => return Err(Failure::no_data(path, &error)),
                value => number(&value.at_if_there(path)?).at(path)?,
            };
            let folder = path.trim_end_matches("/energy_uj");
            self.give(&zone, &index, folder, value / 1_000_000.0, metrics);
        }
        Ok(())
    }
}

impl Rapl {
    fn give(&self, zone: &str, index: &str, path: &str, joules: f64, metrics: &mut Metrics) {
        if self.zone_label {
            let labels = ["index", "path", "rapl_zone"];
            JOULES.add(metrics, labels, [index, path, zone], joules);
            return;
        }
        metrics
            .counter(
                &format!("node_rapl_{}_joules_total", as_name(zone)),
                &format!("Current RAPL {zone} value in joules"),
            )
            .labels(["index", "path"])
            .add([index, path], joules);
    }
}

/// How often each name was there.
#[derive(Default)]
struct Zones(BTreeMap<String, u64>);

impl Zones {
    /// The zone's name and number: `package-1` has its number, others are counted.
    fn place(&mut self, name: &str) -> (String, String) {
        let own = name.split_once('-').and_then(|(zone, number)| {
            let number: u64 = parse(number)?;
            Some((zone.to_owned(), number))
        });
        let (zone, index) = own.unwrap_or_else(|| {
            let next = self.0.get(name).copied().unwrap_or(0);
            (name.to_owned(), next)
        });
        self.0.insert(zone.clone(), index.saturating_add(1));
        (zone, index.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_numbered() {
        let mut zones = Zones::default();
        for (name, zone, index) in [
            ("package-0", "package", "0"),
            ("core", "core", "0"),
            ("package-1", "package", "1"),
            ("core", "core", "1"),
            ("psys", "psys", "0"),
            ("dram-x", "dram-x", "0"),
        ] {
            assert_eq!(zones.place(name), (zone.to_owned(), index.to_owned()));
        }
    }
}
