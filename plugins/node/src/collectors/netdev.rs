//! Network traffic: /proc/net/dev, and the one count that it lacks.

use narthex_plugin_sdk::{ConfigError, Metrics};

use super::Collector;
use crate::config;
use crate::failure::{At, Failure};
use crate::filter::Filter;
use crate::text::{attributes, integer, number, read};

const PATH: &str = "/proc/net/dev";

/// In the order of the columns.
const COUNTERS: [(&str, &str); 16] = [
    ("receive_bytes", "Bytes received."),
    ("receive_packets", "Packets received."),
    ("receive_errs", "Packets received with an error."),
    ("receive_drop", "Packets received and dropped."),
    ("receive_fifo", "Packets lost because a buffer was full."),
    (
        "receive_frame",
        "Packets received that were no whole frame.",
    ),
    ("receive_compressed", "Compressed packets received."),
    ("receive_multicast", "Packets to many received."),
    ("transmit_bytes", "Bytes sent."),
    ("transmit_packets", "Packets sent."),
    ("transmit_errs", "Packets that could not be sent."),
    ("transmit_drop", "Packets dropped instead of being sent."),
    (
        "transmit_fifo",
        "Packets not sent because a buffer was full.",
    ),
    ("transmit_colls", "Collisions."),
    (
        "transmit_carrier",
        "Packets not sent for want of a carrier and the like.",
    ),
    ("transmit_compressed", "Compressed packets sent."),
];

pub(crate) struct NetDev {
    devices: Filter,
}

impl NetDev {
    pub(crate) fn new(config: &config::Devices) -> Result<Self, ConfigError> {
        let devices = Filter::new(
            "netdev",
            "device",
            config.device_include.as_deref(),
            config.device_exclude.as_deref(),
            None,
        )?;
        Ok(NetDev { devices })
    }
}

impl Collector for NetDev {
    fn collect(&mut self, metrics: &mut Metrics) -> Result<(), Failure> {
        let mut devices = parse(&read(PATH)?).at(PATH)?;
        devices.retain(|(device, _)| self.devices.takes(device));
        for (device, counts) in &devices {
            for ((name, help), count) in COUNTERS.iter().zip(counts) {
                give(metrics, name, help, device, *count);
            }
        }
        let paths: Vec<String> = devices
            .iter()
            .map(|(device, _)| format!("/sys/class/net/{device}/statistics/rx_nohandler"))
            .collect();
        for ((device, _), count) in devices.iter().zip(attributes(&paths)) {
            if let Some(count) = count.as_deref().and_then(integer) {
                let help = "Packets received that nobody wanted.";
                give(metrics, "receive_nohandler", help, device, count);
            }
        }
        Ok(())
    }
}

fn give(metrics: &mut Metrics, name: &str, help: &str, device: &str, count: f64) {
    metrics
        .counter(&format!("node_network_{name}_total"), help)
        .labels(["device"])
        .add([device], count);
}

/// Two lines of headings, then `device: counts`.
fn parse(text: &str) -> Result<Vec<(String, Vec<f64>)>, String> {
    let mut devices = Vec::new();
    for line in text.lines().skip(2) {
        // An alias has a colon in its name.
        let Some((device, counts)) = line.rsplit_once(':') else {
            continue;
        };
        let counts = counts
            .split_ascii_whitespace()
            .map(number)
            .collect::<Result<Vec<f64>, String>>()?;
        if counts.len() < COUNTERS.len() {
            return Err(format!("too few columns in {line:?}"));
        }
        devices.push((device.trim().to_owned(), counts));
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

    #[test]
    fn reads_counts_by_column() {
        let host = fake::Host::install();
        host.write("/proc/net/dev", DEV);
        host.write("/sys/class/net/lo/statistics/rx_nohandler", "17\n");
        let mut collector = NetDev::new(&config::Devices::default()).unwrap();
        let mut metrics = Metrics::new();
        collector.collect(&mut metrics).unwrap();
        let lines = testing::lines(&metrics.finish().unwrap());
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
}
