//! NVMe controllers and what lies on them.

use narthex_plugin_sdk::{FileError, Metrics};

use crate::descriptor::{Descriptor, gauge};
use crate::failure::{At, Failure};
use crate::machine::Machine;
use crate::text::{folders_where, numbered, parse, read_attributes};

const INFO: Descriptor = gauge(
    "node_nvme_info",
    "Non-numeric data from /sys/class/nvme/<device>, value is always 1.",
);
const NAMESPACE_INFO: Descriptor = gauge(
    "node_nvme_namespace_info",
    "Information about NVMe namespaces. Value is always 1",
);
const CAPACITY: Descriptor = gauge(
    "node_nvme_namespace_capacity_bytes",
    "Capacity of the NVMe namespace in bytes. Computed as namespace_size * namespace_logical_block_size",
);
const SIZE: Descriptor = gauge(
    "node_nvme_namespace_size_bytes",
    "Size of the NVMe namespace in bytes. Available in /sys/class/nvme/<device>/<namespace>/size",
);
const USED: Descriptor = gauge(
    "node_nvme_namespace_used_bytes",
    "Used space of the NVMe namespace in bytes. Available in /sys/class/nvme/<device>/<namespace>/nuse",
);
const BLOCK_SIZE: Descriptor = gauge(
    "node_nvme_namespace_logical_block_size_bytes",
    "Logical block size of the NVMe namespace in bytes. Usually 4Kb. Available in /sys/class/nvme/<device>/<namespace>/queue/logical_block_size",
);

pub(crate) fn collect(machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    let class = machine.sys("class/nvme");
    for device in folders_where(&class, |_| true).at_if_there(&class)? {
        let folder = format!("{class}/{device}");
        let files = ["cntlid", "firmware_rev", "model", "serial", "state"];
        let [id, firmware, model, serial, state] = texts(&folder, files)?.map(Required::text);
        let labels = [
            ("cntlid", id?),
            ("device", device.clone()),
            ("firmware_revision", firmware?),
            ("model", model?),
            ("serial", serial?),
            ("state", state?),
        ];
        let values = labels.each_ref().map(|(_, value)| value.as_str());
        INFO.add(
            metrics,
            labels.each_ref().map(|(name, _)| *name),
            values,
            1.0,
        );
        for name in folders_where(&folder, |_| true).at(&folder)? {
            if let Some(id) = namespace_id(&name) {
                namespace(&format!("{folder}/{name}"), &device, id, metrics)?;
            }
        }
    }
    Ok(())
}

fn namespace(folder: &str, device: &str, id: &str, metrics: &mut Metrics) -> Result<(), Failure> {
    let files = ["nuse", "size", "queue/logical_block_size", "ana_state"];
    let [used, size, block_size, state] = texts(folder, files)?;
    let [used, size, block_bytes] = [used, size, block_size].map(Required::number);
    let (used, size, block_bytes) = (used?, size?, block_bytes?);
    let state = state.content.unwrap_or_else(|_| "unknown".to_owned());
    let values = [&state, device, id];
    NAMESPACE_INFO.add(metrics, ["ana_state", "device", "nsid"], values, 1.0);
    for (family, value) in [
        (CAPACITY, size * block_bytes),
        (SIZE, size * block_bytes),
        (USED, used * block_bytes),
        (BLOCK_SIZE, block_bytes),
    ] {
        family.add(metrics, ["device", "nsid"], [device, id], value);
    }
    Ok(())
}

/// The number of `nvme0n1`, or of `nvme0c3n1`.
fn namespace_id(name: &str) -> Option<&str> {
    let rest = name.strip_prefix("nvme")?;
    let (controller, id) = rest.rsplit_once('n')?;
    let (device, path) = controller.split_once('c').unwrap_or((controller, "0"));
    numbered(device, "")?;
    numbered(path, "")?;
    numbered(id, "")
}

/// A file with its path, for errors about it.
struct Required {
    path: String,
    content: Result<String, FileError>,
}

impl Required {
    fn text(self) -> Result<String, Failure> {
        self.content.at(&self.path)
    }

    /// 0 for what is no number.
    fn number(self) -> Result<f64, Failure> {
        Ok(parse(&self.text()?).unwrap_or(0.0))
    }
}

fn texts<const N: usize>(folder: &str, names: [&str; N]) -> Result<[Required; N], Failure> {
    let paths = names.map(|name| format!("{folder}/{name}"));
    let contents = read_attributes(&paths);
    let mut files = paths.into_iter().zip(contents);
    let next = |_| {
        let (path, content) = files.next()?;
        Some(Required { path, content })
    };
    let found: Vec<Required> = names.iter().map_while(next).collect();
    let few = |_| Failure::new(format!("{folder}: too few files were read"));
    found.try_into().map_err(few)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_have_numbers() {
        for (name, expected) in [
            ("nvme0n1", Some("1")),
            ("nvme12c3n45", Some("45")),
            ("nvme0", None),
            ("nvmen1", None),
            ("nvme0cn1", None),
            ("power", None),
            ("hwmon1", None),
        ] {
            assert_eq!(namespace_id(name), expected, "{name}");
        }
    }
}
