//! The collectors, by their upstream names.

mod cpu;
mod diskstats;
mod filesystem;
mod kernel;
mod memory;
mod netclass;
mod netdev;
mod network;
mod system;

use narthex_plugin_sdk::{ConfigError, Metrics};

use crate::Config;
use crate::failure::Failure;

pub(crate) trait Collector {
    fn collect(&mut self, metrics: &mut Metrics) -> Result<(), Failure>;
}

/// A collector that remembers nothing and has nothing to configure is a function.
struct Plain(fn(&mut Metrics) -> Result<(), Failure>);

impl Collector for Plain {
    fn collect(&mut self, metrics: &mut Metrics) -> Result<(), Failure> {
        (self.0)(metrics)
    }
}

type Named = (&'static str, Box<dyn Collector>);

/// The collectors that the configuration leaves on.
pub(crate) fn chosen(config: &Config) -> Result<Vec<Named>, ConfigError> {
    let all = all(config)?;
    for (field, names) in [
        ("collectors", &config.collectors),
        ("no_collectors", &config.no_collectors),
    ] {
        for (at, name) in names.iter().enumerate() {
            if !all.iter().any(|(known, _)| known == name) {
                let known: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
                return Err(ConfigError::new(
                    format!("{field}[{at}]"),
                    format!("no collector {name:?}; there are {}", known.join(", ")),
                ));
            }
        }
    }
    let is_in = |names: &[String], name: &str| names.iter().any(|n| n == name);
    let wanted = |name: &str| config.collectors.is_empty() || is_in(&config.collectors, name);
    Ok(all
        .into_iter()
        .filter(|(name, _)| wanted(name) && !is_in(&config.no_collectors, name))
        .collect())
}

fn all(config: &Config) -> Result<Vec<Named>, ConfigError> {
    let plain = |collect| -> Box<dyn Collector> { Box::new(Plain(collect)) };
    Ok(vec![
        ("arp", Box::new(network::Arp::new(&config.arp)?)),
        ("conntrack", plain(network::conntrack)),
        ("cpu", Box::new(cpu::Cpu::new(&config.cpu))),
        ("cpufreq", plain(cpu::frequency)),
        (
            "diskstats",
            Box::new(diskstats::DiskStats::new(&config.diskstats)?),
        ),
        ("entropy", plain(kernel::entropy)),
        ("filefd", plain(kernel::file_descriptors)),
        (
            "filesystem",
            Box::new(filesystem::FileSystem::new(&config.filesystem)?),
        ),
        ("loadavg", plain(kernel::load)),
        ("meminfo", plain(memory::meminfo)),
        (
            "netclass",
            Box::new(netclass::NetClass::new(&config.netclass)?),
        ),
        ("netdev", Box::new(netdev::NetDev::new(&config.netdev)?)),
        ("netstat", Box::new(network::NetStat::new(&config.netstat)?)),
        ("os", plain(system::os)),
        ("pressure", plain(kernel::pressure)),
        ("schedstat", plain(cpu::scheduler)),
        ("sockstat", plain(network::sockets)),
        ("softnet", plain(network::softnet)),
        ("stat", plain(kernel::stat)),
        ("time", plain(system::time)),
        ("udp_queues", plain(network::udp_queues)),
        ("uname", plain(system::uname)),
        ("vmstat", Box::new(memory::VmStat::new(&config.vmstat)?)),
    ])
}
