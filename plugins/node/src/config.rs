//! What stands under `config:` of the exporter's entry. The fields are node_exporter's flags, their
//! dots as nesting and their dashes as underscores.

use narthex_plugin_sdk::Duration;
use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Only these collectors; all where empty.
    pub(crate) collectors: Vec<String>,
    /// All collectors but these.
    pub(crate) no_collectors: Vec<String>,
    pub(crate) cpu: Cpu,
    pub(crate) diskstats: Devices,
    pub(crate) filesystem: FileSystem,
    pub(crate) netclass: NetClass,
    pub(crate) netdev: Devices,
    pub(crate) arp: Devices,
    pub(crate) netstat: Fields,
    pub(crate) vmstat: Fields,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Cpu {
    /// `node_cpu_guest_seconds_total`.
    pub(crate) guest: bool,
}

impl Default for Cpu {
    fn default() -> Self {
        Cpu { guest: true }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Devices {
    pub(crate) device_include: Option<String>,
    pub(crate) device_exclude: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FileSystem {
    pub(crate) mount_points_include: Option<String>,
    pub(crate) mount_points_exclude: Option<String>,
    pub(crate) fs_types_include: Option<String>,
    pub(crate) fs_types_exclude: Option<String>,
    pub(crate) mount_timeout: Option<Duration>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NetClass {
    pub(crate) ignored_devices: Option<String>,
    pub(crate) ignore_invalid_speed: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Fields {
    pub(crate) fields: Option<String>,
}
