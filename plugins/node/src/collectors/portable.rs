//! What the agent's library knows of a machine that is no Linux, under node_exporter's names.

use narthex_plugin_sdk::{ConfigError, Metrics, system};

use super::{Collector, Entry, boxed, os, plain, time};
use crate::descriptor::{Descriptor, counter, gauge};
use crate::failure::Failure;
use crate::filter::Filter;
use crate::machine::Machine;
use crate::options::Options;

pub(super) const COLLECTORS: [Entry; 6] = [
    ("boottime", true, |_| plain(boot_time)),
    ("filesystem", true, |options| {
        boxed(FileSystem::new(options))
    }),
    ("meminfo", true, |_| plain(memory)),
    ("netdev", true, |options| boxed(NetDev::new(options))),
    ("time", true, |_| plain(now)),
    ("uname", true, |_| plain(os::uname)),
];

const BOOT_TIME: Descriptor = gauge("node_boot_time_seconds", "Node boot time, in unixtime.");

fn boot_time(_: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    BOOT_TIME.set(metrics, system::boot_time_seconds()? as f64);
    Ok(())
}

fn now(_: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    time::now(metrics)
}

const TOTAL: Descriptor = gauge(
    "node_memory_total_bytes",
    "Memory information field total_bytes.",
);
const FREE: Descriptor = gauge(
    "node_memory_free_bytes",
    "Memory information field free_bytes.",
);
const SWAP_TOTAL: Descriptor = gauge(
    "node_memory_swap_total_bytes",
    "Memory information field swap_total_bytes.",
);
const SWAP_USED: Descriptor = gauge(
    "node_memory_swap_used_bytes",
    "Memory information field swap_used_bytes.",
);

fn memory(_: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    let memory = system::memory_usage()?;
    let swap_used_bytes = memory
        .swap_total_bytes
        .saturating_sub(memory.swap_free_bytes);
    for (family, bytes) in [
        (TOTAL, memory.total_bytes),
        (FREE, memory.free_bytes),
        (SWAP_TOTAL, memory.swap_total_bytes),
        (SWAP_USED, swap_used_bytes),
    ] {
        family.set(metrics, bytes as f64);
    }
    Ok(())
}

const SIZE: Descriptor = gauge("node_filesystem_size_bytes", "Filesystem size in bytes.");
const FILE_SYSTEM_FREE: Descriptor = gauge(
    "node_filesystem_free_bytes",
    "Filesystem free space in bytes.",
);
const AVAILABLE: Descriptor = gauge(
    "node_filesystem_avail_bytes",
    "Filesystem space available to non-root users in bytes.",
);
const READ_ONLY: Descriptor = gauge("node_filesystem_readonly", "Filesystem read-only status.");

struct FileSystem {
    mount_points: Filter,
    types: Filter,
}

impl FileSystem {
    fn new(options: &Options) -> Result<Self, ConfigError> {
        let filter = |what: &str, default| Filter::new(options, what, Some(default));
        Ok(FileSystem {
            mount_points: filter("collector.filesystem.mount-points", "^/(dev)($|/)")?,
            types: filter("collector.filesystem.fs-types", "^devfs$")?,
        })
    }
}

impl Collector for FileSystem {
    fn collect(&mut self, _: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
        let mut disks = system::disks()?;
        disks.sort_by(|a, b| a.mount_point.cmp(&b.mount_point));
        disks.dedup_by(|a, b| a.mount_point == b.mount_point);
        for disk in disks {
            if !self.mount_points.takes(&disk.mount_point) || !self.types.takes(&disk.file_system) {
                continue;
            }
            let values = [&disk.name, &disk.file_system, &disk.mount_point].map(|v| v.as_str());
            // The library tells only what is free for those who are not root.
            let available = disk.available_bytes as f64;
            for (family, value) in [
                (SIZE, disk.total_bytes as f64),
                (FILE_SYSTEM_FREE, available),
                (AVAILABLE, available),
                (READ_ONLY, f64::from(disk.read_only)),
            ] {
                family.add(metrics, ["device", "fstype", "mountpoint"], values, value);
            }
        }
        Ok(())
    }
}

const RECEIVED_BYTES: Descriptor = counter(
    "node_network_receive_bytes_total",
    "Network device statistic receive_bytes.",
);
const RECEIVED_PACKETS: Descriptor = counter(
    "node_network_receive_packets_total",
    "Network device statistic receive_packets.",
);
const RECEIVED_ERRORS: Descriptor = counter(
    "node_network_receive_errs_total",
    "Network device statistic receive_errs.",
);
const SENT_BYTES: Descriptor = counter(
    "node_network_transmit_bytes_total",
    "Network device statistic transmit_bytes.",
);
const SENT_PACKETS: Descriptor = counter(
    "node_network_transmit_packets_total",
    "Network device statistic transmit_packets.",
);
const SENT_ERRORS: Descriptor = counter(
    "node_network_transmit_errs_total",
    "Network device statistic transmit_errs.",
);

struct NetDev {
    devices: Filter,
}

impl NetDev {
    fn new(options: &Options) -> Result<Self, ConfigError> {
        Ok(NetDev {
            devices: Filter::new(options, "collector.netdev.device", None)?,
        })
    }
}

impl Collector for NetDev {
    fn collect(&mut self, _: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
        let mut networks = system::networks()?;
        networks.sort_by(|a, b| a.name.cmp(&b.name));
        networks.dedup_by(|a, b| a.name == b.name);
        for network in networks
            .iter()
            .filter(|network| self.devices.takes(&network.name))
        {
            for (family, count) in [
                (RECEIVED_BYTES, network.received_bytes),
                (RECEIVED_PACKETS, network.received_packets),
                (RECEIVED_ERRORS, network.received_errors),
                (SENT_BYTES, network.transmitted_bytes),
                (SENT_PACKETS, network.transmitted_packets),
                (SENT_ERRORS, network.transmitted_errors),
            ] {
                family.add(metrics, ["device"], [&network.name], count as f64);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use narthex_plugin_sdk::fake::{Disk, Host, Identity, Memory, Network, Zone};
    use narthex_plugin_sdk::testing;

    use crate::Node;

    #[test]
    fn another_system_gives_what_the_library_knows() {
        let host = Host::install();
        host.set_identity(Identity {
            sysname: "Darwin".to_owned(),
            release: "24.0".to_owned(),
            version: "v".to_owned(),
            machine: "arm64".to_owned(),
            nodename: "mac".to_owned(),
            domainname: String::new(),
        })
        .set_boot_time_seconds(1000)
        .set_now_ns(2_500_000_000)
        .set_time_zone(Zone {
            abbreviation: "CET".to_owned(),
            offset_seconds: 3600,
        })
        .set_memory(Memory {
            total_bytes: 100,
            available_bytes: 60,
            free_bytes: 40,
            swap_total_bytes: 20,
            swap_free_bytes: 5,
        })
        .set_disks(vec![Disk {
            name: "disk1".to_owned(),
            mount_point: "/".to_owned(),
            file_system: "apfs".to_owned(),
            total_bytes: 1000,
            available_bytes: 300,
            removable: false,
            read_only: true,
        }])
        .set_networks(vec![Network {
            name: "en0".to_owned(),
            received_bytes: 1,
            received_packets: 2,
            received_errors: 3,
            transmitted_bytes: 4,
            transmitted_packets: 5,
            transmitted_errors: 6,
        }]);
        let mut node: Node = testing::exporter("{}").unwrap();
        let lines = testing::lines(&testing::collect(&mut node).unwrap());
        for expected in [
            "node_boot_time_seconds 1000",
            "node_filesystem_size_bytes{device=\"disk1\",fstype=\"apfs\",mountpoint=\"/\"} 1000",
            "node_filesystem_avail_bytes{device=\"disk1\",fstype=\"apfs\",mountpoint=\"/\"} 300",
            "node_filesystem_readonly{device=\"disk1\",fstype=\"apfs\",mountpoint=\"/\"} 1",
            "node_memory_total_bytes 100",
            "node_memory_swap_used_bytes 15",
            "node_network_receive_packets_total{device=\"en0\"} 2",
            "node_network_transmit_errs_total{device=\"en0\"} 6",
            "node_time_seconds 2.5",
            "node_time_zone_offset_seconds{time_zone=\"CET\"} 3600",
            "node_scrape_collector_success{collector=\"meminfo\"} 1",
        ] {
            assert!(
                lines.iter().any(|line| line == expected),
                "{expected}\n{lines:#?}"
            );
        }
        assert!(
            lines[0].starts_with("node_exporter_build_info{goos=\"darwin\""),
            "{}",
            lines[0]
        );
        assert!(
            !lines.iter().any(|line| line.contains("collector=\"cpu\"")),
            "{lines:#?}"
        );
    }
}
