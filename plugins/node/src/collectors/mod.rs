//! The collectors, by their upstream names.

mod bcache;
mod bcachefs;
mod bonding;
mod btrfs;
mod cpu;
mod cpufreq;
mod diskstats;
mod dmi;
mod drbd;
mod edac;
mod fibrechannel;
mod filesystem;
mod hwmon;
mod infiniband;
mod interrupts;
mod ipvs;
mod kernel;
mod lnstat;
mod mdadm;
mod memory;
mod multipath;
mod netclass;
mod netdev;
mod netstat;
mod network;
mod nfs;
mod numa;
mod nvme;
mod os;
mod pages;
mod portable;
mod power_supply;
mod processes;
mod rapl;
mod selinux;
mod sockets;
mod sysctl;
mod tape;
mod textfile;
mod thermal;
mod time;
mod vulnerabilities;
mod watchdog;
mod xfrm;
mod xfs;
mod zfs;

#[cfg(test)]
pub(crate) use diskstats::DEFAULT_EXCLUDE as DISKS_EXCLUDE;
#[cfg(test)]
pub(crate) use filesystem::{FS_TYPES_EXCLUDE, MOUNT_POINTS_EXCLUDE};
use narthex_plugin_sdk::{ConfigError, Metrics};

use crate::failure::Failure;
use crate::machine::Machine;
use crate::options::Options;

pub(crate) trait Collector {
    fn collect(&mut self, machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure>;
}

/// A collector that is on, with its name.
pub(crate) type Named = (&'static str, Box<dyn Collector>);

/// A collector that remembers nothing and has nothing to configure is a function.
struct Plain(fn(&Machine, &mut Metrics) -> Result<(), Failure>);

impl Collector for Plain {
    fn collect(&mut self, machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
        (self.0)(machine, metrics)
    }
}

type Make = fn(&Options) -> Result<Box<dyn Collector>, ConfigError>;

/// The name, whether it is on where nothing is said of it, and how it is made.
type Entry = (&'static str, bool, Make);

/// Text files come last: what the others give goes before what stands in a file.
const COLLECTORS: [Entry; 64] = [
    ("arp", true, |options| boxed(network::Arp::new(options))),
    ("bcache", true, |options| {
        boxed(bcache::Bcache::new(options))
    }),
    ("bcachefs", true, |_| plain(bcachefs::collect)),
    ("bonding", true, |_| plain(bonding::collect)),
    ("btrfs", true, |_| plain(btrfs::collect)),
    ("conntrack", true, |_| plain(network::conntrack)),
    ("cpu", true, |options| boxed(cpu::Cpu::new(options))),
    ("cpufreq", true, |_| plain(cpufreq::collect)),
    ("diskstats", true, |options| {
        boxed(diskstats::DiskStats::new(options))
    }),
    ("dmi", true, |_| boxed(Ok(dmi::Dmi::default()))),
    ("dmmultipath", true, |_| plain(multipath::collect)),
    ("edac", true, |_| plain(edac::collect)),
    ("entropy", true, |_| plain(kernel::entropy)),
    ("fibrechannel", true, |_| plain(fibrechannel::collect)),
    ("filefd", true, |_| plain(kernel::file_descriptors)),
    ("filesystem", true, |options| {
        boxed(filesystem::FileSystem::new(options))
    }),
    ("hwmon", true, |options| boxed(hwmon::HwMon::new(options))),
    ("infiniband", true, |options| {
        boxed(infiniband::InfiniBand::new(options))
    }),
    ("ipvs", true, |options| boxed(ipvs::Ipvs::new(options))),
    ("kernel_hung", true, |_| plain(kernel::hung_tasks)),
    ("loadavg", true, |_| plain(kernel::load)),
    ("mdadm", true, |_| plain(mdadm::collect)),
    ("meminfo", true, |_| plain(memory::meminfo)),
    ("netclass", true, |options| {
        boxed(netclass::NetClass::new(options))
    }),
    ("netdev", true, |options| {
        boxed(netdev::NetDev::new(options))
    }),
    ("netstat", true, |options| {
        boxed(netstat::NetStat::new(options))
    }),
    ("nfs", true, |_| plain(nfs::client)),
    ("nfsd", true, |_| plain(nfs::server)),
    ("nvme", true, |_| plain(nvme::collect)),
    ("os", true, |_| plain(os::collect)),
    ("powersupplyclass", true, |options| {
        boxed(power_supply::PowerSupply::new(options))
    }),
    ("pressure", true, |_| plain(kernel::pressure)),
    ("rapl", true, |options| boxed(rapl::Rapl::new(options))),
    ("schedstat", true, |_| plain(cpu::scheduler)),
    ("selinux", true, |_| plain(selinux::collect)),
    ("sockstat", true, |_| plain(sockets::sockstat)),
    ("softnet", true, |_| plain(network::softnet)),
    ("stat", true, |options| boxed(kernel::Stat::new(options))),
    ("tapestats", true, |options| boxed(tape::Tape::new(options))),
    ("thermal_zone", true, |_| plain(thermal::collect)),
    ("time", true, |_| plain(time::collect)),
    ("udp_queues", true, |_| plain(sockets::udp_queues)),
    ("uname", true, |_| plain(os::uname)),
    ("vmstat", true, |options| {
        boxed(memory::VmStat::new(options))
    }),
    ("watchdog", true, |_| plain(watchdog::collect)),
    ("xfs", true, |_| plain(xfs::collect)),
    ("zfs", true, |_| plain(zfs::collect)),
    ("buddyinfo", false, |_| plain(pages::buddies)),
    ("cgroups", false, |_| plain(kernel::control_groups)),
    ("cpu_vulnerabilities", false, |_| {
        plain(vulnerabilities::collect)
    }),
    ("drbd", false, |_| plain(drbd::collect)),
    ("interrupts", false, |options| {
        boxed(interrupts::Interrupts::new(options))
    }),
    ("ksmd", false, |_| plain(pages::shared)),
    ("lnstat", false, |_| plain(lnstat::collect)),
    ("meminfo_numa", false, |_| plain(numa::collect)),
    ("processes", false, |_| plain(processes::collect)),
    ("slabinfo", false, |options| {
        boxed(pages::Slabs::new(options))
    }),
    ("softirqs", false, |_| plain(interrupts::softirqs)),
    ("swap", false, |_| plain(memory::swap)),
    ("sysctl", false, |options| {
        boxed(sysctl::Sysctl::new(options))
    }),
    ("tcpstat", false, |_| plain(sockets::tcp_states)),
    ("xfrm", false, |_| plain(xfrm::collect)),
    ("zoneinfo", false, |_| plain(pages::zones)),
    ("textfile", true, |options| {
        boxed(textfile::TextFile::new(options))
    }),
];

fn plain(
    collect: fn(&Machine, &mut Metrics) -> Result<(), Failure>,
) -> Result<Box<dyn Collector>, ConfigError> {
    Ok(Box::new(Plain(collect)))
}

fn boxed<C: Collector + 'static>(
    made: Result<C, ConfigError>,
) -> Result<Box<dyn Collector>, ConfigError> {
    Ok(Box::new(made?))
}

/// The collectors that are on.
pub(crate) struct Chosen {
    pub(crate) linux: Vec<Named>,
    /// For any other system.
    pub(crate) portable: Vec<Named>,
}

impl Chosen {
    /// All are made, so that the options of each are known and checked.
    pub(crate) fn new(options: &Options) -> Result<Chosen, ConfigError> {
        Ok(Chosen {
            linux: choose(&COLLECTORS, options)?,
            portable: choose(&portable::COLLECTORS, options)?,
        })
    }
}

fn choose(entries: &[Entry], options: &Options) -> Result<Vec<Named>, ConfigError> {
    let defaults = !options.flag("collector.disable-defaults", false)?;
    let mut chosen = Vec::new();
    for (name, by_default, make) in entries {
        let collector = make(options)?;
        if options.flag(&format!("collector.{name}"), *by_default && defaults)? {
            chosen.push((*name, collector));
        }
    }
    Ok(chosen)
}
