//! Network traffic: /proc/net/dev, and the one count that it lacks; or each count for itself.

use narthex_plugin_sdk::{ConfigError, Metrics};

use super::Collector;
use crate::descriptor::{Descriptor, counter};
use crate::failure::{At, Failure};
use crate::filter::Filter;
use crate::machine::Machine;
use crate::options::Options;
use crate::text::{attributes, numbers, read, whole};

/// In the order of the columns of /proc/net/dev.
const COLUMNS: [Descriptor; 16] = [
    counter(
        "node_network_receive_bytes_total",
        "Network device statistic receive_bytes.",
    ),
    counter(
        "node_network_receive_packets_total",
        "Network device statistic receive_packets.",
    ),
    counter(
        "node_network_receive_errs_total",
        "Network device statistic receive_errs.",
    ),
    counter(
        "node_network_receive_drop_total",
        "Network device statistic receive_drop.",
    ),
    counter(
        "node_network_receive_fifo_total",
        "Network device statistic receive_fifo.",
    ),
    counter(
        "node_network_receive_frame_total",
        "Network device statistic receive_frame.",
    ),
    counter(
        "node_network_receive_compressed_total",
        "Network device statistic receive_compressed.",
    ),
    counter(
        "node_network_receive_multicast_total",
        "Network device statistic receive_multicast.",
    ),
    counter(
        "node_network_transmit_bytes_total",
        "Network device statistic transmit_bytes.",
    ),
    counter(
        "node_network_transmit_packets_total",
        "Network device statistic transmit_packets.",
    ),
    counter(
        "node_network_transmit_errs_total",
        "Network device statistic transmit_errs.",
    ),
    counter(
        "node_network_transmit_drop_total",
        "Network device statistic transmit_drop.",
    ),
    counter(
        "node_network_transmit_fifo_total",
        "Network device statistic transmit_fifo.",
    ),
    counter(
        "node_network_transmit_colls_total",
        "Network device statistic transmit_colls.",
    ),
    counter(
        "node_network_transmit_carrier_total",
        "Network device statistic transmit_carrier.",
    ),
    counter(
        "node_network_transmit_compressed_total",
        "Network device statistic transmit_compressed.",
    ),
];
const NO_HANDLER: Descriptor = counter(
    "node_network_receive_nohandler_total",
    "Network device statistic receive_nohandler.",
);

/// The counts that make up those columns, by their files in the folder `statistics`.
const DETAILS: [(&str, Descriptor); 24] = [
    (
        "rx_packets",
        counter(
            "node_network_receive_packets_total",
            "Network device statistic receive_packets.",
        ),
    ),
    (
        "tx_packets",
        counter(
            "node_network_transmit_packets_total",
            "Network device statistic transmit_packets.",
        ),
    ),
    (
        "rx_bytes",
        counter(
            "node_network_receive_bytes_total",
            "Network device statistic receive_bytes.",
        ),
    ),
    (
        "tx_bytes",
        counter(
            "node_network_transmit_bytes_total",
            "Network device statistic transmit_bytes.",
        ),
    ),
    (
        "rx_errors",
        counter(
            "node_network_receive_errors_total",
            "Network device statistic receive_errors.",
        ),
    ),
    (
        "tx_errors",
        counter(
            "node_network_transmit_errors_total",
            "Network device statistic transmit_errors.",
        ),
    ),
    (
        "rx_dropped",
        counter(
            "node_network_receive_dropped_total",
            "Network device statistic receive_dropped.",
        ),
    ),
    (
        "tx_dropped",
        counter(
            "node_network_transmit_dropped_total",
            "Network device statistic transmit_dropped.",
        ),
    ),
    (
        "multicast",
        counter(
            "node_network_multicast_total",
            "Network device statistic multicast.",
        ),
    ),
    (
        "collisions",
        counter(
            "node_network_collisions_total",
            "Network device statistic collisions.",
        ),
    ),
    (
        "rx_length_errors",
        counter(
            "node_network_receive_length_errors_total",
            "Network device statistic receive_length_errors.",
        ),
    ),
    (
        "rx_over_errors",
        counter(
            "node_network_receive_over_errors_total",
            "Network device statistic receive_over_errors.",
        ),
    ),
    (
        "rx_crc_errors",
        counter(
            "node_network_receive_crc_errors_total",
            "Network device statistic receive_crc_errors.",
        ),
    ),
    (
        "rx_frame_errors",
        counter(
            "node_network_receive_frame_errors_total",
            "Network device statistic receive_frame_errors.",
        ),
    ),
    (
        "rx_fifo_errors",
        counter(
            "node_network_receive_fifo_errors_total",
            "Network device statistic receive_fifo_errors.",
        ),
    ),
    (
        "rx_missed_errors",
        counter(
            "node_network_receive_missed_errors_total",
            "Network device statistic receive_missed_errors.",
        ),
    ),
    (
        "tx_aborted_errors",
        counter(
            "node_network_transmit_aborted_errors_total",
            "Network device statistic transmit_aborted_errors.",
        ),
    ),
    (
        "tx_carrier_errors",
        counter(
            "node_network_transmit_carrier_errors_total",
            "Network device statistic transmit_carrier_errors.",
        ),
    ),
    (
        "tx_fifo_errors",
        counter(
            "node_network_transmit_fifo_errors_total",
            "Network device statistic transmit_fifo_errors.",
        ),
    ),
    (
        "tx_heartbeat_errors",
        counter(
            "node_network_transmit_heartbeat_errors_total",
            "Network device statistic transmit_heartbeat_errors.",
        ),
    ),
    (
        "tx_window_errors",
        counter(
            "node_network_transmit_window_errors_total",
            "Network device statistic transmit_window_errors.",
        ),
    ),
    (
        "rx_compressed",
        counter(
            "node_network_receive_compressed_total",
            "Network device statistic receive_compressed.",
        ),
    ),
    (
        "tx_compressed",
        counter(
            "node_network_transmit_compressed_total",
            "Network device statistic transmit_compressed.",
        ),
    ),
    (
        "rx_nohandler",
        counter(
            "node_network_receive_nohandler_total",
            "Network device statistic receive_nohandler.",
        ),
    ),
];

pub(crate) struct NetDev {
    devices: Filter,
    detailed: bool,
    aliases: bool,
}

/// A device with its alias, where that is asked for.
struct Device {
    name: String,
    alias: Option<String>,
    counts: Vec<f64>,
}

impl NetDev {
    pub(crate) fn new(options: &Options) -> Result<Self, ConfigError> {
        // Netlink gives the same as the files.
        options.flag("collector.netdev.netlink", true)?;
        Ok(NetDev {
            devices: Filter::new(options, "collector.netdev.device", None)?,
            detailed: options.flag("collector.netdev.enable-detailed-metrics", false)?,
            aliases: options.flag("collector.netdev.label-ifalias", false)?,
        })
    }
}

impl Collector for NetDev {
    fn collect(&mut self, machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
        let path = machine.proc("net/dev");
        let mut devices = parse(&read(&path)?).at(&path)?;
        devices.retain(|device| self.devices.takes(&device.name));
        if self.aliases {
            add_aliases(machine, &mut devices);
        }
        if self.detailed {
            let files = DETAILS.map(|(file, _)| file);
            let values = statistics(machine, &devices, files);
            for (place, (_, family)) in DETAILS.iter().enumerate() {
                let column = values.iter().skip(place).step_by(DETAILS.len());
                give(metrics, family, &devices, column.map(whole));
            }
            return Ok(());
        }
        for (column, family) in COLUMNS.iter().enumerate() {
            let counts = devices
                .iter()
                .map(|device| device.counts.get(column).copied());
            give(metrics, family, &devices, counts);
        }
        let values = statistics(machine, &devices, ["rx_nohandler"]);
        give(metrics, &NO_HANDLER, &devices, values.iter().map(whole));
        Ok(())
    }
}

fn give(
    metrics: &mut Metrics,
    family: &Descriptor,
    devices: &[Device],
    counts: impl Iterator<Item = Option<f64>>,
) {
    for (device, count) in devices.iter().zip(counts) {
        let Some(count) = count else {
            continue;
        };
        // An empty label is none.
        match &device.alias {
            None => family.add(metrics, ["device"], [&device.name], count),
            Some(alias) => {
                let labels = ["device", "ifalias"];
                family.add(metrics, labels, [&device.name, alias], count);
            }
        }
    }
}

fn statistics<const N: usize>(
    machine: &Machine,
    devices: &[Device],
    files: [&str; N],
) -> Vec<Option<String>> {
    let paths: Vec<String> = devices
        .iter()
        .flat_map(|device| {
            files.map(|file| machine.sys(&format!("class/net/{}/statistics/{file}", device.name)))
        })
        .collect();
    attributes(&paths)
}

fn add_aliases(machine: &Machine, devices: &mut [Device]) {
    let path = |device: &Device| machine.sys(&format!("class/net/{}/ifalias", device.name));
    let paths: Vec<String> = devices.iter().map(path).collect();
    for (device, alias) in devices.iter_mut().zip(attributes(&paths)) {
        device.alias = Some(alias.unwrap_or_default());
    }
}

/// Two lines of headings, then `device: counts`.
fn parse(text: &str) -> Result<Vec<Device>, String> {
    let mut devices = Vec::new();
    for line in text.lines().skip(2) {
        // An alias has a colon in its name.
        let Some((device, counts)) = line.rsplit_once(':') else {
            continue;
        };
        let counts = numbers(counts.split_ascii_whitespace())?;
        if counts.len() < COLUMNS.len() {
            return Err(format!("too few columns in {line:?}"));
        }
        devices.push(Device {
            name: device.trim().to_owned(),
            alias: None,
            counts,
        });
    }
    Ok(devices)
}

#[cfg(test)]
mod tests {
    use narthex_plugin_sdk::{fake, testing};

    use super::*;

    const DEV: &str = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:  100  1    0    0    0     0          0         0      100       1    0    0    0     0       0          0
eth0:1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16
";

    fn lines(json: &str) -> Vec<String> {
        let options = Options::new(narthex_plugin_sdk::config::parse(json).unwrap()).unwrap();
        let mut collector = NetDev::new(&options).unwrap();
        let mut metrics = Metrics::new();
        let machine = Machine::new(&options).unwrap();
        collector.collect(&machine, &mut metrics).unwrap();
        testing::lines(&metrics.finish().unwrap())
    }

    #[test]
    fn reads_counts_by_column() {
        let host = fake::Host::install();
        host.write("/proc/net/dev", DEV);
        host.write("/sys/class/net/lo/statistics/rx_nohandler", "17\n");
        let lines = lines("{}");
        assert_eq!(lines.len(), 33);
        for expected in [
            "node_network_receive_bytes_total{device=\"lo\"} 100",
            "node_network_receive_nohandler_total{device=\"lo\"} 17",
            "node_network_receive_multicast_total{device=\"eth0:1\"} 8",
            "node_network_transmit_bytes_total{device=\"eth0:1\"} 9",
            "node_network_transmit_carrier_total{device=\"eth0:1\"} 15",
            "node_network_transmit_compressed_total{device=\"eth0:1\"} 16",
        ] {
            assert!(lines.iter().any(|line| line == expected), "{expected}");
        }
        assert!(parse("\n\nlo: 1 2 3\n").is_err());
    }

    #[test]
    fn gives_details_and_aliases_where_asked() {
        let host = fake::Host::install();
        host.write("/proc/net/dev", DEV);
        host.write("/sys/class/net/lo/statistics/rx_over_errors", "3\n");
        host.write("/sys/class/net/lo/ifalias", "home\n");
        assert_eq!(
            lines(
                r#"{"collector.netdev": {"enable-detailed-metrics": true, "label-ifalias": true}}"#
            ),
            ["node_network_receive_over_errors_total{device=\"lo\",ifalias=\"home\"} 3"]
        );
    }
}
