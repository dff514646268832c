//! Network interfaces as /sys/class/net describes them.

use narthex_plugin_sdk::files::FileKind;
use narthex_plugin_sdk::{ConfigError, Metrics, files};
use regex_lite::Regex;

use super::Collector;
use crate::config;
use crate::failure::{At, Failure};
use crate::filter::regex;
use crate::text::{attributes, integer};

const FOLDER: &str = "/sys/class/net";

/// File, whether it only counts up, name, help.
const NUMBERS: [(&str, bool, &str, &str); 16] = [
    (
        "addr_assign_type",
        false,
        "node_network_address_assign_type",
        "How the address was assigned.",
    ),
    (
        "carrier",
        false,
        "node_network_carrier",
        "1 where there is a carrier, else 0.",
    ),
    (
        "carrier_changes",
        true,
        "node_network_carrier_changes_total",
        "How often the carrier came or went.",
    ),
    (
        "carrier_up_count",
        true,
        "node_network_carrier_up_changes_total",
        "How often the carrier came.",
    ),
    (
        "carrier_down_count",
        true,
        "node_network_carrier_down_changes_total",
        "How often the carrier went.",
    ),
    (
        "dev_id",
        false,
        "node_network_device_id",
        "Tells interfaces with one address apart.",
    ),
    (
        "dormant",
        false,
        "node_network_dormant",
        "1 where the interface waits for an event, else 0.",
    ),
    ("flags", false, "node_network_flags", "The kernel's flags."),
    (
        "ifindex",
        false,
        "node_network_iface_id",
        "The interface's number.",
    ),
    (
        "iflink",
        false,
        "node_network_iface_link",
        "The number of the interface below.",
    ),
    (
        "link_mode",
        false,
        "node_network_iface_link_mode",
        "The link's mode.",
    ),
    (
        "mtu",
        false,
        "node_network_mtu_bytes",
        "The largest packet.",
    ),
    (
        "name_assign_type",
        false,
        "node_network_name_assign_type",
        "How the name was assigned.",
    ),
    (
        "netdev_group",
        false,
        "node_network_net_dev_group",
        "The group that it belongs to.",
    ),
    (
        "tx_queue_len",
        false,
        "node_network_transmit_queue_length",
        "Packets that may wait to be sent.",
    ),
    (
        "type",
        false,
        "node_network_protocol_type",
        "The kind of hardware, by ARP's numbers.",
    ),
];

const TEXTS: [&str; 6] = [
    "address",
    "broadcast",
    "duplex",
    "ifalias",
    "operstate",
    "speed",
];

pub(crate) struct NetClass {
    ignored: Option<Regex>,
    ignore_invalid_speed: bool,
}

impl NetClass {
    pub(crate) fn new(config: &config::NetClass) -> Result<Self, ConfigError> {
        let ignored = config.ignored_devices.as_deref();
        Ok(NetClass {
            ignored: ignored
                .map(|pattern| regex("netclass.ignored_devices", pattern))
                .transpose()?,
            ignore_invalid_speed: config.ignore_invalid_speed,
        })
    }
}

impl Collector for NetClass {
    fn collect(&mut self, metrics: &mut Metrics) -> Result<(), Failure> {
        for entry in files::entries(FOLDER).at_if_there(FOLDER)? {
            let device = entry.name;
            let ignored = self
                .ignored
                .as_ref()
                .is_some_and(|regex| regex.is_match(&device));
            // bonding_masters is a file among the interfaces.
            if entry.kind != FileKind::File && !ignored {
                self.give(&device, metrics);
            }
        }
        Ok(())
    }
}

impl NetClass {
    fn give(&self, device: &str, metrics: &mut Metrics) {
        let paths: Vec<String> = NUMBERS
            .iter()
            .map(|(file, ..)| *file)
            .chain(TEXTS)
            .map(|file| format!("{FOLDER}/{device}/{file}"))
            .collect();
        let mut values = attributes(&paths);
        let texts = values.split_off(NUMBERS.len());
        let mut flags = None;
        for ((file, is_counter, name, help), value) in NUMBERS.iter().zip(values) {
            let Some(value) = value.as_deref().and_then(integer) else {
                continue;
            };
            if *file == "flags" {
                flags = Some(value as u64);
            }
            let family = match is_counter {
                true => metrics.counter(name, help),
                false => metrics.gauge(name, help),
            };
            family.labels(["device"]).add([device], value);
        }
        let text = |at: usize| texts.get(at).and_then(Option::as_deref).unwrap_or("");
        let [address, broadcast, duplex, ifalias, operstate, speed] = [0, 1, 2, 3, 4, 5].map(text);
        if let Some(megabits) = integer(speed)
            && (megabits >= 0.0 || !self.ignore_invalid_speed)
        {
            metrics
                .gauge(
                    "node_network_speed_bytes",
                    "Bytes that it can carry in a second.",
                )
                .labels(["device"])
                .add([device], megabits * 1e6 / 8.0);
        }
        metrics
            .gauge("node_network_up", "1 where the interface works, else 0.")
            .labels(["device"])
            .add([device], f64::from(operstate == "up"));
        let adminstate = match flags {
            Some(flags) if flags & 1 == 1 => "up",
            Some(_) => "down",
            None => "unknown",
        };
        metrics
            .gauge(
                "node_network_info",
                "1, labelled with what is known of each interface.",
            )
            .labels([
                "address",
                "adminstate",
                "broadcast",
                "device",
                "duplex",
                "ifalias",
                "operstate",
            ])
            .add(
                [
                    address, adminstate, broadcast, device, duplex, ifalias, operstate,
                ],
                1.0,
            );
    }
}
