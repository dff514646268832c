//! File systems of type btrfs, as /sys describes them. What only ioctl(2) tells of their devices
//! (errors, unused space) is not given.

use narthex_plugin_sdk::{Metrics, files};

use crate::descriptor::{Descriptor, counter, gauge};
use crate::failure::{At, Failure};
use crate::machine::Machine;
use crate::text::{folders_if_there, folders_where, number, or_empty, parse, read_many, texts_of};

const INFO: Descriptor = gauge("node_btrfs_info", "Filesystem information");
const GLOBAL_RESERVE: Descriptor = gauge(
    "node_btrfs_global_rsv_size_bytes",
    "Size of global reserve.",
);
const DEVICE_SIZE: Descriptor = gauge(
    "node_btrfs_device_size_bytes",
    "Size of a device that is part of the filesystem.",
);
const RESERVED: Descriptor = gauge(
    "node_btrfs_reserved_bytes",
    "Amount of space reserved for a data type",
);
const USED: Descriptor = gauge(
    "node_btrfs_used_bytes",
    "Amount of used space by a layout/data type",
);
const SIZE: Descriptor = gauge(
    "node_btrfs_size_bytes",
    "Amount of space allocated for a layout/data type",
);
const RATIO: Descriptor = gauge(
    "node_btrfs_allocation_ratio",
    "Data allocation ratio for a layout/data type",
);

/// By the words of `commit_stats`, with that by which the value is divided.
const COMMITS: [(&str, Descriptor, f64); 4] = [
    (
        "commits",
        counter(
            "node_btrfs_commits_total",
            "The total number of commits that have occurred.",
        ),
        1.0,
    ),
    (
        "last_commit_ms",
        gauge(
            "node_btrfs_last_commit_seconds",
            "Duration of the most recent commit, in seconds.",
        ),
        1000.0,
    ),
    (
        "max_commit_ms",
        gauge(
            "node_btrfs_max_commit_seconds",
            "Duration of the slowest commit, in seconds.",
        ),
        1000.0,
    ),
    (
        "total_commit_ms",
        counter(
            "node_btrfs_commit_seconds_total",
            "Sum of the duration of all commits, in seconds.",
        ),
        1000.0,
    ),
];

const SECTOR_BYTES: f64 = 512.0;

pub(crate) fn collect(machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    let folder = machine.sys("fs/btrfs");
    for name in folders_if_there(&folder, |name| name.contains('-'))? {
        file_system(&format!("{folder}/{name}"), &name, metrics)?;
    }
    Ok(())
}

fn file_system(folder: &str, name: &str, metrics: &mut Metrics) -> Result<(), Failure> {
    let files = [
        "label",
        "metadata_uuid",
        "allocation/global_rsv_size",
        "commit_stats",
    ];
    let [label, uuid, reserve, commits] = texts_of(folder, files)?;
    let uuid = match uuid.trim() {
        "" => name,
        uuid => uuid,
    };
    INFO.add(metrics, ["label", "uuid"], [label.trim(), uuid], 1.0);
    GLOBAL_RESERVE.add(metrics, ["uuid"], [uuid], value(&reserve));
    for (word, family, divisor) in COMMITS {
        let mut lines = commits.lines().filter_map(|line| line.split_once(' '));
        let count = lines
            .find(|(key, _)| *key == word)
            .map_or("0", |(_, count)| count);
        let count = number(count.trim()).at(folder)?;
        family.add(metrics, ["uuid"], [uuid], count / divisor);
    }
    let devices = devices(folder)?;
    for (device, size_bytes) in &devices {
        DEVICE_SIZE.add(metrics, ["device", "uuid"], [device, uuid], *size_bytes);
    }
    for kind in ["data", "metadata", "system"] {
        allocation(folder, kind, uuid, devices.len() as f64, metrics)?;
    }
    Ok(())
}

/// The devices that the file system lies on, with their sizes.
fn devices(folder: &str) -> Result<Vec<(String, f64)>, Failure> {
    let folder = format!("{folder}/devices");
    let entries = files::entries(&folder).at(&folder)?;
    let path = |name: &str| format!("{folder}/{name}/size");
    let paths: Vec<String> = entries.iter().map(|entry| path(&entry.name)).collect();
    let mut devices = Vec::new();
    for ((entry, path), text) in entries.into_iter().zip(&paths).zip(read_many(&paths)) {
        let sectors = value(&or_empty(text).at(path)?);
        devices.push((entry.name, sectors * SECTOR_BYTES));
    }
    Ok(devices)
}

fn allocation(
    folder: &str,
    kind: &str,
    uuid: &str,
    devices: f64,
    metrics: &mut Metrics,
) -> Result<(), Failure> {
    let folder = format!("{folder}/allocation/{kind}");
    let [reserved] = texts_of(&folder, ["bytes_reserved"])?;
    RESERVED.add(
        metrics,
        ["block_group_type", "uuid"],
        [kind, uuid],
        value(&reserved),
    );
    for mode in folders_where(&folder, |_| true).at(&folder)? {
        let files = ["used_bytes", "total_bytes"];
        let [used, total] = texts_of(&format!("{folder}/{mode}"), files)?;
        let labels = ["block_group_type", "mode", "uuid"];
        for (family, value) in [
            (USED, value(&used)),
            (SIZE, value(&total)),
            (RATIO, ratio(&mode, devices)),
        ] {
            family.add(metrics, labels, [kind, &mode, uuid], value);
        }
    }
    Ok(())
}

/// How many bytes of the devices a byte of data takes.
fn ratio(mode: &str, devices: f64) -> f64 {
    match mode {
        "single" | "raid0" => 1.0,
        "dup" | "raid1" | "raid10" => 2.0,
        "raid1c3" => 3.0,
        "raid1c4" => 4.0,
        "raid5" => devices / (devices - 1.0),
        "raid6" => devices / (devices - 2.0),
        _ => 0.0,
    }
}

/// 0 for what is no number.
fn value(text: &str) -> f64 {
    parse(text.trim()).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_follow_from_the_layout() {
        for (mode, devices, expected) in [
            ("single", 1.0, 1.0),
            ("raid1", 2.0, 2.0),
            ("raid1c3", 3.0, 3.0),
            ("raid5", 4.0, 4.0 / 3.0),
            ("raid6", 4.0, 2.0),
            ("new", 4.0, 0.0),
        ] {
            assert_eq!(ratio(mode, devices), expected, "{mode}");
        }
    }
}
