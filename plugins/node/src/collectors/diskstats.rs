//! Disks: /proc/diskstats, and what udev knows of them.

use std::collections::{BTreeMap, BTreeSet};

use narthex_plugin_sdk::{ConfigError, Metrics};

use super::Collector;
use crate::descriptor::{Descriptor, counter, gauge};
use crate::failure::{At, Failure};
use crate::filter::Filter;
use crate::machine::Machine;
use crate::options::Options;
use crate::text::{number, numbers, read, read_many};

const SECTOR_BYTES: f64 = 512.0;

/// Partitions, memory and floppy disks.
pub(crate) const DEFAULT_EXCLUDE: &str = r"^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$";

pub(crate) struct DiskStats {
    devices: Filter,
}

impl DiskStats {
    pub(crate) fn new(options: &Options) -> Result<Self, ConfigError> {
        let what = "collector.diskstats.device";
        Ok(DiskStats {
            devices: Filter::new(options, what, Some(DEFAULT_EXCLUDE))?,
        })
    }
}

impl Collector for DiskStats {
    fn collect(&mut self, machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
        let path = machine.proc("diskstats");
        let disks = parse(&read(&path)?, |device| self.devices.takes(device)).at(&path)?;
        counters(&disks, metrics);
        info(machine, &disks, metrics);
        Ok(())
    }
}

#[derive(Debug, PartialEq)]
struct Disk {
    major: String,
    minor: String,
    device: String,
    /// As many as the kernel writes: 11, 15 or 17.
    counts: Vec<f64>,
}

/// Shorter lines are of old kernels' partitions, and left out.
fn parse(text: &str, takes: impl Fn(&str) -> bool) -> Result<Vec<Disk>, String> {
    let mut seen = BTreeSet::new();
    let mut disks: Vec<Disk> = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [major, minor, device, counts @ ..] = words.as_slice() else {
            continue;
        };
        if counts.len() < 11 || !takes(device) || !seen.insert(*device) {
            continue;
        }
        disks.push(Disk {
            major: (*major).to_owned(),
            minor: (*minor).to_owned(),
            device: (*device).to_owned(),
            counts: numbers(counts.iter().copied())?,
        });
    }
    Ok(disks)
}

/// In the order of the columns, with that by which a count is multiplied.
const COUNTERS: [(Descriptor, f64); 17] = [
    (
        counter(
            "node_disk_reads_completed_total",
            "The total number of reads completed successfully.",
        ),
        1.0,
    ),
    (
        counter(
            "node_disk_reads_merged_total",
            "The total number of reads merged.",
        ),
        1.0,
    ),
    (
        counter(
            "node_disk_read_bytes_total",
            "The total number of bytes read successfully.",
        ),
        SECTOR_BYTES,
    ),
    (
        counter(
            "node_disk_read_time_seconds_total",
            "The total number of seconds spent by all reads.",
        ),
        0.001,
    ),
    (
        counter(
            "node_disk_writes_completed_total",
            "The total number of writes completed successfully.",
        ),
        1.0,
    ),
    (
        counter(
            "node_disk_writes_merged_total",
            "The number of writes merged.",
        ),
        1.0,
    ),
    (
        counter(
            "node_disk_written_bytes_total",
            "The total number of bytes written successfully.",
        ),
        SECTOR_BYTES,
    ),
    (
        counter(
            "node_disk_write_time_seconds_total",
            "This is the total number of seconds spent by all writes.",
        ),
        0.001,
    ),
    (
        gauge(
            "node_disk_io_now",
            "The number of I/Os currently in progress.",
        ),
        1.0,
    ),
    (
        counter(
            "node_disk_io_time_seconds_total",
            "Total seconds spent doing I/Os.",
        ),
        0.001,
    ),
    (
        counter(
            "node_disk_io_time_weighted_seconds_total",
            "The weighted # of seconds spent doing I/Os.",
        ),
        0.001,
    ),
    (
        counter(
            "node_disk_discards_completed_total",
            "The total number of discards completed successfully.",
        ),
        1.0,
    ),
    (
        counter(
            "node_disk_discards_merged_total",
            "The total number of discards merged.",
        ),
        1.0,
    ),
    (
        counter(
            "node_disk_discarded_sectors_total",
            "The total number of sectors discarded successfully.",
        ),
        1.0,
    ),
    (
        counter(
            "node_disk_discard_time_seconds_total",
            "This is the total number of seconds spent by all discards.",
        ),
        0.001,
    ),
    (
        counter(
            "node_disk_flush_requests_total",
            "The total number of flush requests completed successfully",
        ),
        1.0,
    ),
    (
        counter(
            "node_disk_flush_requests_time_seconds_total",
            "This is the total number of seconds spent by all flush requests.",
        ),
        0.001,
    ),
];

fn counters(disks: &[Disk], metrics: &mut Metrics) {
    for (column, (family, factor)) in COUNTERS.iter().enumerate() {
        let mut family = family.family(metrics).labels(["device"]);
        for disk in disks {
            if let Some(count) = disk.counts.get(column).filter(|_| disk.has(column)) {
                family = family.add([&disk.device], count * factor);
            }
        }
    }
}

impl Disk {
    /// A kernel that writes more writes whole groups: discards, then flushes.
    fn has(&self, column: usize) -> bool {
        column
            < match self.counts.len() {
                0..15 => 11,
                15..17 => 15,
                _ => 17,
            }
    }
}

/// What udev has written down of a device: lines `E:KEY=VALUE`.
struct Udev<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Udev<'a> {
    fn parse(text: &'a str) -> Udev<'a> {
        let pairs = text
            .lines()
            .filter_map(|line| line.strip_prefix("E:")?.split_once('='));
        Udev(pairs.collect())
    }

    fn get(&self, key: &str) -> &'a str {
        self.0.get(key).copied().unwrap_or_default()
    }

    /// The first of these that is not empty.
    fn first(&self, keys: &[&str]) -> &'a str {
        let mut values = keys.iter().map(|key| self.get(key));
        values.find(|value| !value.is_empty()).unwrap_or("")
    }
}

fn info(machine: &Machine, disks: &[Disk], metrics: &mut Metrics) {
    let paths: Vec<String> = disks
        .iter()
        .flat_map(|disk| {
            [
                machine.udev(&format!("b{}:{}", disk.major, disk.minor)),
                machine.sys(&format!("block/{}/queue/rotational", disk.device)),
            ]
        })
        .collect();
    for (disk, texts) in disks.iter().zip(read_many(&paths).chunks(2)) {
        let [udev, rotational] = texts else {
            continue;
        };
        let udev = udev.as_ref().map_or("", String::as_str);
        let rotational = match rotational.as_deref().map(str::trim) {
            Ok("1") => "1",
            _ => "0",
        };
        info_of(disk, &Udev::parse(udev), rotational, metrics);
    }
}

const INFO: Descriptor = gauge("node_disk_info", "Info of /sys/block/<block_device>.");
const FILE_SYSTEM: Descriptor = gauge("node_disk_filesystem_info", "Info about disk filesystem.");
const DEVICE_MAPPER: Descriptor = gauge(
    "node_disk_device_mapper_info",
    "Info about disk device mapper.",
);
const ATA: [(&str, Descriptor); 3] = [
    (
        "ID_ATA_WRITE_CACHE",
        gauge("node_disk_ata_write_cache", "ATA disk has a write cache."),
    ),
    (
        "ID_ATA_WRITE_CACHE_ENABLED",
        gauge(
            "node_disk_ata_write_cache_enabled",
            "ATA disk has its write cache enabled.",
        ),
    ),
    (
        "ID_ATA_ROTATION_RATE_RPM",
        gauge(
            "node_disk_ata_rotation_rate_rpm",
            "ATA disk rotation rate in RPMs (0 for SSDs).",
        ),
    ),
];

fn info_of(disk: &Disk, udev: &Udev<'_>, rotational: &str, metrics: &mut Metrics) {
    let device = disk.device.as_str();
    let labels = [
        ("device", device),
        ("major", &disk.major),
        ("minor", &disk.minor),
        ("model", udev.get("ID_MODEL")),
        ("path", udev.get("ID_PATH")),
        ("revision", udev.get("ID_REVISION")),
        ("rotational", rotational),
        (
            "serial",
            udev.first(&["SCSI_IDENT_SERIAL", "ID_SERIAL_SHORT", "ID_SERIAL"]),
        ),
        ("wwn", udev.get("ID_WWN")),
    ];
    add_info(&INFO, metrics, labels);
    if !udev.get("ID_FS_TYPE").is_empty() {
        let labels = [
            ("device", device),
            ("type", udev.get("ID_FS_TYPE")),
            ("usage", udev.get("ID_FS_USAGE")),
            ("uuid", udev.get("ID_FS_UUID")),
            ("version", udev.get("ID_FS_VERSION")),
        ];
        add_info(&FILE_SYSTEM, metrics, labels);
    }
    if !udev.get("DM_NAME").is_empty() {
        let labels = [
            ("device", device),
            ("lv_layer", udev.get("DM_LV_LAYER")),
            ("lv_name", udev.get("DM_LV_NAME")),
            ("name", udev.get("DM_NAME")),
            ("uuid", udev.get("DM_UUID")),
            ("vg_name", udev.get("DM_VG_NAME")),
        ];
        add_info(&DEVICE_MAPPER, metrics, labels);
    }
    if !udev.get("ID_ATA").is_empty() {
        for (key, family) in ATA {
            if let Ok(value) = number(udev.get(key)) {
                family.add(metrics, ["device"], [device], value);
            }
        }
    }
}

fn add_info<const N: usize>(family: &Descriptor, metrics: &mut Metrics, labels: [(&str, &str); N]) {
    let names = labels.map(|(name, _)| name);
    family.add(metrics, names, labels.map(|(_, value)| value), 1.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_left_out_by_default() {
        let options = Options::new(crate::Config::default()).unwrap();
        let stats = DiskStats::new(&options).unwrap();
        for (device, taken) in [
            ("sda", true),
            ("sda1", false),
            ("vda", true),
            ("xvda1", false),
            ("nvme0n1", true),
            ("nvme0n1p2", false),
            ("mmcblk0p1", true),
            ("dm-0", true),
            ("zram0", false),
            ("loop7", false),
            ("sr0", true),
        ] {
            assert_eq!(stats.devices.takes(device), taken, "{device}");
        }
    }

    #[test]
    fn gives_as_much_as_the_kernel_writes() {
        let line = |counts: usize| {
            let counts: Vec<String> = (1..=counts).map(|n| n.to_string()).collect();
            format!("8 0 sda {0}\n8 0 sda {0}\n", counts.join(" "))
        };
        for (columns, expected) in [(4, 0), (11, 11), (15, 15), (16, 15), (17, 17), (20, 17)] {
            let mut metrics = Metrics::new();
            counters(&parse(&line(columns), |_| true).unwrap(), &mut metrics);
            assert_eq!(metrics.finish().unwrap().len(), expected, "{columns}");
        }
        assert!(parse("8 0 sda 1 2 3 4 5 6 7 8 9 10 x", |_| true).is_err());
    }
}
