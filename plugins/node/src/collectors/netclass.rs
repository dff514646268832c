//! Network interfaces as /sys/class/net describes them.

use narthex_plugin_sdk::{ConfigError, Metrics};

use super::Collector;
use crate::descriptor::{Descriptor, counter, gauge};
use crate::failure::{At, Failure};
use crate::filter::Filter;
use crate::machine::Machine;
use crate::options::Options;
use crate::text::{attributes, folders_where, whole};

const NUMBERS: [(&str, Descriptor); 16] = [
    (
        "addr_assign_type",
        gauge(
            "node_network_address_assign_type",
            "Network device property: address_assign_type",
        ),
    ),
    (
        "carrier",
        gauge("node_network_carrier", "Network device property: carrier"),
    ),
    (
        "carrier_changes",
        counter(
            "node_network_carrier_changes_total",
            "Network device property: carrier_changes_total",
        ),
    ),
    (
        "carrier_up_count",
        counter(
            "node_network_carrier_up_changes_total",
            "Network device property: carrier_up_changes_total",
        ),
    ),
    (
        "carrier_down_count",
        counter(
            "node_network_carrier_down_changes_total",
            "Network device property: carrier_down_changes_total",
        ),
    ),
    (
        "dev_id",
        gauge(
            "node_network_device_id",
            "Network device property: device_id",
        ),
    ),
    (
        "dormant",
        gauge("node_network_dormant", "Network device property: dormant"),
    ),
    (
        "flags",
        gauge("node_network_flags", "Network device property: flags"),
    ),
    (
        "ifindex",
        gauge("node_network_iface_id", "Network device property: iface_id"),
    ),
    (
        "iflink",
        gauge(
            "node_network_iface_link",
            "Network device property: iface_link",
        ),
    ),
    (
        "link_mode",
        gauge(
            "node_network_iface_link_mode",
            "Network device property: iface_link_mode",
        ),
    ),
    (
        "mtu",
        gauge(
            "node_network_mtu_bytes",
            "Network device property: mtu_bytes",
        ),
    ),
    (
        "name_assign_type",
        gauge(
            "node_network_name_assign_type",
            "Network device property: name_assign_type",
        ),
    ),
    (
        "netdev_group",
        gauge(
            "node_network_net_dev_group",
            "Network device property: net_dev_group",
        ),
    ),
    (
        "tx_queue_len",
        gauge(
            "node_network_transmit_queue_length",
            "Network device property: transmit_queue_length",
        ),
    ),
    (
        "type",
        gauge(
            "node_network_protocol_type",
            "Network device property: protocol_type",
        ),
    ),
];

/// The place of the flags among these numbers.
const FLAGS: usize = 7;

const TEXTS: [&str; 6] = [
    "address",
    "broadcast",
    "duplex",
    "ifalias",
    "operstate",
    "speed",
];
const FILES: usize = NUMBERS.len() + TEXTS.len();

const UP: Descriptor = gauge(
    "node_network_up",
    "Value is 1 if operstate is 'up', 0 otherwise.",
);
const SPEED: Descriptor = gauge(
    "node_network_speed_bytes",
    "Network device property: speed_bytes",
);
const INFO: Descriptor = gauge(
    "node_network_info",
    "Non-numeric data from /sys/class/net/<iface>, value is always 1.",
);

pub(crate) struct NetClass {
    devices: Filter,
    ignore_invalid_speed: bool,
}

impl NetClass {
    pub(crate) fn new(options: &Options) -> Result<Self, ConfigError> {
        Ok(NetClass {
            devices: Filter::ignoring(options, "collector.netclass.ignored-devices")?,
            ignore_invalid_speed: options.flag("collector.netclass.ignore-invalid-speed", false)?,
        })
    }
}

impl Collector for NetClass {
    fn collect(&mut self, machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
        let folder = machine.sys("class/net");
        // bonding_masters is a file among the interfaces.
        let devices = folders_where(&folder, |device| self.devices.takes(device));
        let devices = devices.at_if_there(&folder)?;
        let files = || NUMBERS.iter().map(|(file, _)| *file).chain(TEXTS);
        let paths: Vec<String> = devices
            .iter()
            .flat_map(|device| {
                let folder = format!("{folder}/{device}");
                files().map(move |file| [&folder, "/", file].concat())
            })
            .collect();
        let values = attributes(&paths);
        let of_devices = || devices.iter().zip(values.chunks(FILES));
        for (column, (_, family)) in NUMBERS.iter().enumerate() {
            let mut family = family.family(metrics).labels(["device"]);
            for (device, values) in of_devices() {
                if let Some(value) = values.get(column).and_then(whole) {
                    family = family.add([device], value);
                }
            }
        }
        for (device, values) in of_devices() {
            self.describe(device, values, metrics);
        }
        Ok(())
    }
}

impl NetClass {
    fn describe(&self, device: &str, values: &[Option<String>], metrics: &mut Metrics) {
        let text = |at: usize| {
            let value = values.get(NUMBERS.len() + at);
            value.and_then(Option::as_deref).unwrap_or("")
        };
        let [address, broadcast, duplex, ifalias, operstate] = [0, 1, 2, 3, 4].map(text);
        if let Some(megabits) = values.last().and_then(whole)
            && (megabits >= 0.0 || !self.ignore_invalid_speed)
        {
            SPEED.add(metrics, ["device"], [device], megabits * 1e6 / 8.0);
        }
        UP.add(metrics, ["device"], [device], f64::from(operstate == "up"));
        let adminstate = match values.get(FLAGS).and_then(whole) {
            Some(flags) if flags as u64 & 1 == 1 => "up",
            Some(_) => "down",
            None => "unknown",
        };
        let labels = [
            ("address", address),
            ("adminstate", adminstate),
            ("broadcast", broadcast),
            ("device", device),
            ("duplex", duplex),
            ("ifalias", ifalias),
            ("operstate", operstate),
        ];
        INFO.add(
            metrics,
            labels.map(|(name, _)| name),
            labels.map(|(_, value)| value),
            1.0,
        );
    }
}
