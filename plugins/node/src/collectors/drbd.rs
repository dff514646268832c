//! Disks that are mirrored over the network by DRBD, up to its version 8.4.

use narthex_plugin_sdk::Metrics;

use crate::descriptor::{Descriptor, counter, gauge};
use crate::failure::{At, Failure};
use crate::machine::Machine;
use crate::text::{number, numbered, read_if_there};

const KIBI: f64 = 1024.0;

/// By the letters before the colon, with that by which the value is multiplied.
const NUMBERS: [(&str, Descriptor, f64); 12] = [
    (
        "ns",
        counter(
            "node_drbd_network_sent_bytes_total",
            "Total number of bytes sent via the network.",
        ),
        KIBI,
    ),
    (
        "nr",
        counter(
            "node_drbd_network_received_bytes_total",
            "Total number of bytes received via the network.",
        ),
        1.0,
    ),
    (
        "dw",
        counter(
            "node_drbd_disk_written_bytes_total",
            "Net data written on local hard disk; in bytes.",
        ),
        KIBI,
    ),
    (
        "dr",
        counter(
            "node_drbd_disk_read_bytes_total",
            "Net data read from local hard disk; in bytes.",
        ),
        KIBI,
    ),
    (
        "al",
        counter(
            "node_drbd_activitylog_writes_total",
            "Number of updates of the activity log area of the meta data.",
        ),
        1.0,
    ),
    (
        "bm",
        counter(
            "node_drbd_bitmap_writes_total",
            "Number of updates of the bitmap area of the meta data.",
        ),
        1.0,
    ),
    (
        "lo",
        gauge(
            "node_drbd_local_pending",
            "Number of open requests to the local I/O sub-system.",
        ),
        1.0,
    ),
    (
        "pe",
        gauge(
            "node_drbd_remote_pending",
            "Number of requests sent to the peer, but that have not yet been answered by the latter.",
        ),
        1.0,
    ),
    (
        "ua",
        gauge(
            "node_drbd_remote_unacknowledged",
            "Number of requests received by the peer via the network connection, but that have not yet been answered.",
        ),
        1.0,
    ),
    (
        "ap",
        gauge(
            "node_drbd_application_pending",
            "Number of block I/O requests forwarded to DRBD, but not yet answered by DRBD.",
        ),
        1.0,
    ),
    (
        "ep",
        gauge("node_drbd_epochs", "Number of Epochs currently on the fly."),
        1.0,
    ),
    (
        "oos",
        gauge(
            "node_drbd_out_of_sync_bytes",
            "Amount of data known to be out of sync; in bytes.",
        ),
        KIBI,
    ),
];

/// By the letters before the colon, with the state that is good.
const STATES: [(&str, Descriptor, &str); 2] = [
    (
        "ro",
        gauge(
            "node_drbd_node_role_is_primary",
            "Whether the role of the node is in the primary state.",
        ),
        "Primary",
    ),
    (
        "ds",
        gauge(
            "node_drbd_disk_state_is_up_to_date",
            "Whether the disk of the node is up to date.",
        ),
        "UpToDate",
    ),
];
const CONNECTED: Descriptor = gauge(
    "node_drbd_connected",
    "Whether DRBD is connected to the peer.",
);

pub(crate) fn collect(machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    let path = machine.proc("drbd");
    let mut device = "unknown".to_owned();
    for word in read_if_there(&path)?.split_ascii_whitespace() {
        let Some((key, value)) = word.split_once(':').filter(|(_, v)| !v.contains(':')) else {
            continue;
        };
        if value.is_empty() && numbered(key, "").is_some() {
            device = format!("drbd{key}");
        } else if let Some((_, family, factor)) = NUMBERS.iter().find(|(k, ..)| *k == key) {
            let value = number(value).at(&path)?;
            family.add(metrics, ["device"], [&device], value * factor);
        } else if let Some((_, family, good)) = STATES.iter().find(|(k, ..)| *k == key) {
            let (local, remote) = value.split_once('/').unwrap_or((value, ""));
            for (node, state) in [("local", local), ("remote", remote)] {
                let is_good = f64::from(state == *good);
                family.add(metrics, ["device", "node"], [&device, node], is_good);
            }
        } else if key == "cs" {
            let connected = f64::from(value == "Connected");
            CONNECTED.add(metrics, ["device"], [&device], connected);
        }
    }
    Ok(())
}
