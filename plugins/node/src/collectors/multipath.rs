//! Disks that are reached over several paths.

use narthex_plugin_sdk::{Metrics, files};

use crate::descriptor::{Descriptor, gauge};
use crate::failure::{At, Failure};
use crate::machine::Machine;
use crate::text::{attributes, attributes_of, folders_where, is_denied, parse};

const INFO: Descriptor = gauge(
    "node_dmmultipath_device_info",
    "Non-numeric information about a DM-multipath device.",
);
const ACTIVE: Descriptor = gauge(
    "node_dmmultipath_device_active",
    "Whether the multipath device-mapper device is active (1) or suspended (0).",
);
const SIZE: Descriptor = gauge(
    "node_dmmultipath_device_size_bytes",
    "Size of the multipath device in bytes, read from /sys/block/<dm>/size.",
);
const PATHS: Descriptor = gauge(
    "node_dmmultipath_device_paths",
    "Number of paths for a multipath device.",
);
const PATHS_ACTIVE: Descriptor = gauge(
    "node_dmmultipath_device_paths_active",
    "Number of paths in active state (SCSI running or NVMe live) for a multipath device.",
);
const PATHS_FAILED: Descriptor = gauge(
    "node_dmmultipath_device_paths_failed",
    "Number of paths not in active state for a multipath device.",
);
const PATH_STATE: Descriptor = gauge(
    "node_dmmultipath_path_state",
    "Reports the underlying device state for a multipath path, as read from /sys/block/<dev>/device/state.",
);

const SECTOR_BYTES: f64 = 512.0;

pub(crate) fn collect(machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    let block = machine.sys("block");
    let names = folders_where(&block, |name| name.starts_with("dm-"));
    let names = match names {
        Err(error) if is_denied(&error) => return Err(Failure::no_data(&block, &error)),
        names => names.at_if_there(&block)?,
    };
    for name in names {
        let folder = format!("{block}/{name}");
        let files = ["dm/uuid", "dm/name", "dm/suspended", "size"];
        let [uuid, device, suspended, size] = attributes_of(&folder, files);
        let Some(uuid) = uuid.filter(|uuid| uuid.starts_with("mpath-")) else {
            continue;
        };
        let device = device.ok_or("no dm/name".to_owned()).at(&folder)?;
        let labels = [device.as_str(), name.as_str()];
        INFO.add(
            metrics,
            ["device", "sysfs_name", "uuid"],
            [&device, &name, &uuid],
            1.0,
        );
        let sectors: f64 = size.as_deref().and_then(parse).unwrap_or(0.0);
        let (active, all) = paths(&block, &folder, &device, metrics)?;
        for (family, value) in [
            (ACTIVE, f64::from(suspended.as_deref() != Some("1"))),
            (SIZE, sectors * SECTOR_BYTES),
            (PATHS, all),
            (PATHS_ACTIVE, active),
            (PATHS_FAILED, all - active),
        ] {
            family.add(metrics, ["device", "sysfs_name"], labels, value);
        }
    }
    Ok(())
}

/// Gives the state of each path; counts those that work, and all.
fn paths(
    block: &str,
    folder: &str,
    device: &str,
    metrics: &mut Metrics,
) -> Result<(f64, f64), Failure> {
    let slaves = format!("{folder}/slaves");
    let names = files::entries(&slaves).at(&slaves)?;
    let files: Vec<String> = names
        .iter()
        .map(|path| format!("{block}/{}/device/state", path.name))
        .collect();
    let mut active = 0;
    for (path, state) in names.iter().zip(attributes(&files)) {
        let state = state.as_deref().unwrap_or("unknown");
        // As SCSI says it, and as NVMe does.
        active += u32::from(state == "running" || state == "live");
        let values = [device, &path.name, state];
        PATH_STATE.add(metrics, ["device", "path", "state"], values, 1.0);
    }
    Ok((f64::from(active), names.len() as f64))
}
