//! Disks: /proc/diskstats, and what udev knows of them.

use std::collections::BTreeMap;

use narthex_plugin_sdk::{ConfigError, Metrics};

use super::Collector;
use crate::config;
use crate::failure::{At, Failure};
use crate::filter::Filter;
use crate::text::{attributes, number, read};

const PATH: &str = "/proc/diskstats";
const SECTOR_BYTES: f64 = 512.0;

/// Partitions, memory and floppy disks.
const DEFAULT_EXCLUDE: &str = r"^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$";

pub(crate) struct DiskStats {
    devices: Filter,
}

impl DiskStats {
    pub(crate) fn new(config: &config::Devices) -> Result<Self, ConfigError> {
        let devices = Filter::new(
            "diskstats",
            "device",
            config.device_include.as_deref(),
            config.device_exclude.as_deref(),
            Some(DEFAULT_EXCLUDE),
        )?;
        Ok(DiskStats { devices })
    }
}

impl Collector for DiskStats {
    fn collect(&mut self, metrics: &mut Metrics) -> Result<(), Failure> {
        let mut disks = parse(&read(PATH)?).at(PATH)?;
        disks.retain(|disk| self.devices.takes(&disk.device));
        for disk in &disks {
            counters(disk, metrics);
        }
        info(&disks, metrics);
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
fn parse(text: &str) -> Result<Vec<Disk>, String> {
    let mut disks: Vec<Disk> = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [major, minor, device, counts @ ..] = words.as_slice() else {
            continue;
        };
        let twice = disks.iter().any(|disk| disk.device == *device);
        if counts.len() < 11 || twice {
            continue;
        }
        disks.push(Disk {
            major: (*major).to_owned(),
            minor: (*minor).to_owned(),
            device: (*device).to_owned(),
            counts: counts
                .iter()
                .map(|word| number(word))
                .collect::<Result<_, _>>()?,
        });
    }
    Ok(disks)
}

/// In the order of the columns: name, help, and by what a count is multiplied.
const COUNTERS: [(&str, &str, f64); 17] = [
    (
        "node_disk_reads_completed_total",
        "Reads that were completed.",
        1.0,
    ),
    (
        "node_disk_reads_merged_total",
        "Reads that were joined with a neighbour.",
        1.0,
    ),
    ("node_disk_read_bytes_total", "Bytes read.", SECTOR_BYTES),
    (
        "node_disk_read_time_seconds_total",
        "Time that all reads took together.",
        0.001,
    ),
    (
        "node_disk_writes_completed_total",
        "Writes that were completed.",
        1.0,
    ),
    (
        "node_disk_writes_merged_total",
        "Writes that were joined with a neighbour.",
        1.0,
    ),
    (
        "node_disk_written_bytes_total",
        "Bytes written.",
        SECTOR_BYTES,
    ),
    (
        "node_disk_write_time_seconds_total",
        "Time that all writes took together.",
        0.001,
    ),
    ("node_disk_io_now", "Requests that are under way.", 1.0),
    (
        "node_disk_io_time_seconds_total",
        "Time in which there was any request.",
        0.001,
    ),
    (
        "node_disk_io_time_weighted_seconds_total",
        "Time in which there was any request, multiplied by their number.",
        0.001,
    ),
    (
        "node_disk_discards_completed_total",
        "Discards that were completed.",
        1.0,
    ),
    (
        "node_disk_discards_merged_total",
        "Discards that were joined with a neighbour.",
        1.0,
    ),
    (
        "node_disk_discarded_sectors_total",
        "Sectors discarded.",
        1.0,
    ),
    (
        "node_disk_discard_time_seconds_total",
        "Time that all discards took together.",
        0.001,
    ),
    (
        "node_disk_flush_requests_total",
        "Flushes that were completed.",
        1.0,
    ),
    (
        "node_disk_flush_requests_time_seconds_total",
        "Time that all flushes took together.",
        0.001,
    ),
];

fn counters(disk: &Disk, metrics: &mut Metrics) {
    // A kernel that writes more writes whole groups: discards, then flushes.
    let complete = match disk.counts.len() {
        0..15 => 11,
        15..17 => 15,
        _ => 17,
    };
    for ((name, help, factor), count) in COUNTERS.iter().zip(&disk.counts).take(complete) {
        let value = count * factor;
        let family = match *name {
            "node_disk_io_now" => metrics.gauge(name, help),
            name => metrics.counter(name, help),
        };
        family.labels(["device"]).add([&disk.device], value);
    }
}

/// What udev has written down of a device: lines `E:KEY=VALUE`.
struct Udev(BTreeMap<String, String>);

impl Udev {
    fn parse(text: &str) -> Udev {
        let pairs = text
            .lines()
            .filter_map(|line| line.strip_prefix("E:")?.split_once('='));
        Udev(
            pairs
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
        )
    }

    fn get(&self, key: &str) -> &str {
        self.0.get(key).map_or("", String::as_str)
    }

    /// The first of these that is not empty.
    fn first(&self, keys: &[&str]) -> &str {
        let mut values = keys.iter().map(|key| self.get(key));
        values.find(|value| !value.is_empty()).unwrap_or("")
    }
}

fn info(disks: &[Disk], metrics: &mut Metrics) {
    let paths: Vec<String> = disks
        .iter()
        .flat_map(|disk| {
            [
                format!("/run/udev/data/b{}:{}", disk.major, disk.minor),
                format!("/sys/block/{}/queue/rotational", disk.device),
            ]
        })
        .collect();
    for (disk, texts) in disks.iter().zip(attributes(&paths).chunks(2)) {
        let [udev, rotational] = texts else {
            continue;
        };
        let udev = Udev::parse(udev.as_deref().unwrap_or_default());
        let rotational = match rotational.as_deref() {
            Some("1") => "1",
            _ => "0",
        };
        info_of(disk, &udev, rotational, metrics);
    }
}

fn info_of(disk: &Disk, udev: &Udev, rotational: &str, metrics: &mut Metrics) {
    let device = disk.device.as_str();
    metrics
        .gauge(
            "node_disk_info",
            "1, labelled with what is known of each disk.",
        )
        .labels([
            "device",
            "major",
            "minor",
            "model",
            "path",
            "revision",
            "rotational",
            "serial",
            "wwn",
        ])
        .add(
            [
                device,
                &disk.major,
                &disk.minor,
                udev.get("ID_MODEL"),
                udev.get("ID_PATH"),
                udev.get("ID_REVISION"),
                rotational,
                udev.first(&["SCSI_IDENT_SERIAL", "ID_SERIAL_SHORT", "ID_SERIAL"]),
                udev.get("ID_WWN"),
            ],
            1.0,
        );
    if !udev.get("ID_FS_TYPE").is_empty() {
        metrics
            .gauge(
                "node_disk_filesystem_info",
                "1, labelled with the file system that is on each disk.",
            )
            .labels(["device", "type", "usage", "uuid", "version"])
            .add(
                [
                    device,
                    udev.get("ID_FS_TYPE"),
                    udev.get("ID_FS_USAGE"),
                    udev.get("ID_FS_UUID"),
                    udev.get("ID_FS_VERSION"),
                ],
                1.0,
            );
    }
    if !udev.get("DM_NAME").is_empty() {
        metrics
            .gauge(
                "node_disk_device_mapper_info",
                "1, labelled with what the device mapper says of each disk.",
            )
            .labels(["device", "lv_layer", "lv_name", "name", "uuid", "vg_name"])
            .add(
                [
                    device,
                    udev.get("DM_LV_LAYER"),
                    udev.get("DM_LV_NAME"),
                    udev.get("DM_NAME"),
                    udev.get("DM_UUID"),
                    udev.get("DM_VG_NAME"),
                ],
                1.0,
            );
    }
    if !udev.get("ID_ATA").is_empty() {
        for (key, name, help) in [
            (
                "ID_ATA_WRITE_CACHE",
                "node_disk_ata_write_cache",
                "1 where the disk has a write cache.",
            ),
            (
                "ID_ATA_WRITE_CACHE_ENABLED",
                "node_disk_ata_write_cache_enabled",
                "1 where the disk's write cache is on.",
            ),
            (
                "ID_ATA_ROTATION_RATE_RPM",
                "node_disk_ata_rotation_rate_rpm",
                "How fast the disk turns; 0 where it does not.",
            ),
        ] {
            if let Ok(value) = number(udev.get(key)) {
                metrics
                    .gauge(name, help)
                    .labels(["device"])
                    .add([device], value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_left_out_by_default() {
        let stats = DiskStats::new(&config::Devices::default()).unwrap();
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
            format!("8 0 sda {}\n", counts.join(" "))
        };
        for (columns, expected) in [(4, 0), (11, 11), (15, 15), (16, 15), (17, 17), (20, 17)] {
            let mut metrics = Metrics::new();
            for disk in parse(&line(columns)).unwrap() {
                counters(&disk, &mut metrics);
            }
            assert_eq!(metrics.finish().unwrap().len(), expected, "{columns}");
        }
        assert!(parse("8 0 sda 1 2 3 4 5 6 7 8 9 10 x").is_err());
    }
}
