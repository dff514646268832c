//! File systems: what is mounted, and how full it is.

use std::collections::BTreeSet;

use narthex_plugin_sdk::system::Usage;
use narthex_plugin_sdk::{ConfigError, Metrics, files, system};

use super::Collector;
use crate::descriptor::{Descriptor, gauge};
use crate::failure::{At, Failure};
use crate::filter::Filter;
use crate::machine::Machine;
use crate::options::Options;

pub(crate) const MOUNT_POINTS_EXCLUDE: &str =
    r"^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)";
pub(crate) const FS_TYPES_EXCLUDE: &str = "^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|iso9660|mqueue|nsfs|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|erofs|sysfs|tracefs)$";

const DEFAULT_TIMEOUT_MS: u64 = 5000;

const SIZE: Descriptor = gauge("node_filesystem_size_bytes", "Filesystem size in bytes.");
const FREE: Descriptor = gauge(
    "node_filesystem_free_bytes",
    "Filesystem free space in bytes.",
);
const AVAILABLE: Descriptor = gauge(
    "node_filesystem_avail_bytes",
    "Filesystem space available to non-root users in bytes.",
);
const FILES: Descriptor = gauge("node_filesystem_files", "Filesystem total file nodes.");
const FILES_FREE: Descriptor = gauge(
    "node_filesystem_files_free",
    "Filesystem total free file nodes.",
);
const PURGEABLE: Descriptor = gauge(
    "node_filesystem_purgeable_bytes",
    "Filesystem space available including purgeable space (MacOS specific).",
);
const READ_ONLY: Descriptor = gauge("node_filesystem_readonly", "Filesystem read-only status.");
const DEVICE_ERROR: Descriptor = gauge(
    "node_filesystem_device_error",
    "Whether an error occurred while getting statistics for the given device.",
);
const MOUNT_INFO: Descriptor = gauge(
    "node_filesystem_mount_info",
    "Filesystem mount information.",
);

pub(crate) struct FileSystem {
    mount_points: Filter,
    types: Filter,
    timeout_ms: u64,
}

impl FileSystem {
    pub(crate) fn new(options: &Options) -> Result<Self, ConfigError> {
        let filter = |what: &str, default| {
            let what = format!("collector.filesystem.{what}");
            Filter::new(options, &what, Some(default))
        };
        let timeout = options.duration("collector.filesystem.mount-timeout")?;
        // Upstream's number of threads that wait; here the host waits.
        options.number("collector.filesystem.stat-workers")?;
        Ok(FileSystem {
            mount_points: filter("mount-points", MOUNT_POINTS_EXCLUDE)?,
            types: filter("fs-types", FS_TYPES_EXCLUDE)?,
            timeout_ms: timeout.map_or(DEFAULT_TIMEOUT_MS, |timeout| timeout.ms),
        })
    }
}

impl Collector for FileSystem {
    fn collect(&mut self, machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
        let mut mounts = read_mounts(machine)?;
        // What is mounted over another one hides it: one of each name is enough.
        let mut seen = BTreeSet::new();
        mounts.retain(|mount| {
            self.mount_points.takes(mount.name(machine))
                && self.types.takes(&mount.kind)
                && seen.insert((
                    mount.device.clone(),
                    mount.mount_point.clone(),
                    mount.kind.clone(),
                ))
        });
        let points: Vec<String> = mounts.iter().map(|m| m.mount_point.clone()).collect();
        let usages = system::file_system_usage(&points, self.timeout_ms)?;
        for (mount, usage) in mounts.iter().zip(&usages) {
            give(mount, mount.name(machine), usage, metrics);
        }
        Ok(())
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Mount {
    device: String,
    /// As the agent sees it.
    mount_point: String,
    kind: String,
    major: String,
    minor: String,
    read_only: bool,
}

impl Mount {
    /// The mount point as the machine sees it.
    fn name(&self, machine: &Machine) -> &str {
        machine.without_root(&self.mount_point)
    }
}

/// The mounts of the first process are the machine's; those of our own serve where we may not see
/// the first's.
fn read_mounts(machine: &Machine) -> Result<Vec<Mount>, Failure> {
    let (first, own) = (machine.proc("1/mountinfo"), machine.proc("self/mountinfo"));
    let (path, text) = match files::read_text(&first) {
        Ok(text) => (first, text),
        Err(_) => (own.clone(), files::read_text(&own).at(&own)?),
    };
    let mounts: Result<Vec<Mount>, String> = text.lines().map(parse).collect();
    mounts.at(&path)
}

/// A line of mountinfo: six fields, optional ones, a dash, three more.
fn parse(line: &str) -> Result<Mount, String> {
    let wrong = || format!("expected a mount, not {line:?}");
    let (front, back) = line.split_once(" - ").ok_or_else(wrong)?;
    let front: Vec<&str> = front.split(' ').collect();
    let back: Vec<&str> = back.split(' ').collect();
    let ([_, _, number, _, mount_point, options, ..], [kind, device, ..]) =
        (front.as_slice(), back.as_slice())
    else {
        return Err(wrong());
    };
    let super_options = back.get(2).copied().unwrap_or("");
    let (major, minor) = number.split_once(':').ok_or_else(wrong)?;
    let has = |options: &str, name: &str| options.split(',').any(|option| option == name);
    Ok(Mount {
        device: (*device).to_owned(),
        mount_point: mount_point.replace("\\040", " ").replace("\\011", "\t"),
        kind: (*kind).to_owned(),
        major: major.to_owned(),
        minor: minor.to_owned(),
        read_only: has(options, "ro")
            || has(super_options, "ro")
            || has(super_options, "emergency_ro"),
    })
}

fn give(mount: &Mount, name: &str, usage: &Result<Usage, String>, metrics: &mut Metrics) {
    const LABELS: [&str; 4] = ["device", "device_error", "fstype", "mountpoint"];
    let error = usage.as_ref().err().map_or("", String::as_str);
    let values = [&*mount.device, error, &*mount.kind, name];
    let read_only = f64::from(mount.read_only);
    DEVICE_ERROR.add(metrics, LABELS, values, f64::from(usage.is_err()));
    READ_ONLY.add(metrics, LABELS, values, read_only);
    let Ok(usage) = usage else {
        return;
    };
    let bytes = |blocks: u64| blocks as f64 * usage.block_bytes as f64;
    for (family, value) in [
        (SIZE, bytes(usage.blocks)),
        (FREE, bytes(usage.blocks_free)),
        (AVAILABLE, bytes(usage.blocks_available)),
        (FILES, usage.files as f64),
        (FILES_FREE, usage.files_free as f64),
        (PURGEABLE, 0.0),
    ] {
        family.add(metrics, LABELS, values, value);
    }
    MOUNT_INFO.add(
        metrics,
        ["device", "major", "minor", "mountpoint"],
        [&mount.device, &mount.major, &mount.minor, name],
        1.0,
    );
}

#[cfg(test)]
mod tests {
    use narthex_plugin_sdk::{fake, testing};

    use super::*;

    fn options(json: &str) -> Options {
        Options::new(narthex_plugin_sdk::config::parse(json).unwrap()).unwrap()
    }

    fn machine(json: &str) -> Machine {
        Machine::new(&options(json)).unwrap()
    }

    fn collector(json: &str) -> Result<FileSystem, ConfigError> {
        FileSystem::new(&options(json))
    }

    const MOUNTS: &str = "\
29 1 259:2 / / rw,relatime shared:1 - ext4 /dev/dm-2 rw,errors=remount-ro
25 29 0:23 / /proc rw,nosuid shared:13 - proc proc rw
40 29 0:40 / /mnt/a\\040b ro,relatime - nfs server:/x rw,vers=4
41 29 0:41 / /run rw shared:5 master:1 - tmpfs tmpfs rw,size=5120k
42 41 0:42 / /run rw shared:6 - tmpfs tmpfs rw
43 29 8:17 / /broken rw - ext4 /dev/sdb1 ro,emergency_ro
";

    #[test]
    fn reads_mounts() {
        let mount = parse(MOUNTS.lines().nth(2).unwrap()).unwrap();
        assert_eq!(
            mount,
            Mount {
                device: "server:/x".to_owned(),
                mount_point: "/mnt/a b".to_owned(),
                kind: "nfs".to_owned(),
                major: "0".to_owned(),
                minor: "40".to_owned(),
                read_only: true,
            }
        );
        for bad in [
            "",
            "1 2 3",
            "29 1 2592 / / rw - ext4 /dev/a rw",
            "29 1 8:1 / / rw - ext4",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn gives_what_can_be_asked_and_says_what_cannot() {
        let host = fake::Host::install();
        host.write("/proc/self/mountinfo", MOUNTS);
        let usage = Usage {
            block_bytes: 4096,
            blocks: 100,
            blocks_free: 50,
            blocks_available: 40,
            files: 10,
            files_free: 9,
        };
        for mount_point in ["/", "/run", "/mnt/a b"] {
            host.set_usage(mount_point, Ok(usage));
        }
        host.set_usage("/broken", Err("input/output error".to_owned()));
        let mut collector = collector("{}").unwrap();
        let mut metrics = Metrics::new();
        collector.collect(&machine("{}"), &mut metrics).unwrap();
        let lines = testing::lines(&metrics.finish().unwrap());
        for expected in [
            r#"node_filesystem_size_bytes{device="/dev/dm-2",fstype="ext4",mountpoint="/"} 409600"#,
            r#"node_filesystem_free_bytes{device="/dev/dm-2",fstype="ext4",mountpoint="/"} 204800"#,
            r#"node_filesystem_avail_bytes{device="/dev/dm-2",fstype="ext4",mountpoint="/"} 163840"#,
            r#"node_filesystem_readonly{device="server:/x",fstype="nfs",mountpoint="/mnt/a b"} 1"#,
            r#"node_filesystem_files{device="tmpfs",fstype="tmpfs",mountpoint="/run"} 10"#,
            r#"node_filesystem_device_error{device="/dev/sdb1",device_error="input/output error",fstype="ext4",mountpoint="/broken"} 1"#,
            r#"node_filesystem_readonly{device="/dev/sdb1",device_error="input/output error",fstype="ext4",mountpoint="/broken"} 1"#,
            r#"node_filesystem_mount_info{device="/dev/dm-2",major="259",minor="2",mountpoint="/"} 1"#,
        ] {
            assert!(
                lines.iter().any(|line| line == expected),
                "{expected}\n{lines:#?}"
            );
        }
        let has = |part: &str| lines.iter().any(|line| line.contains(part));
        assert!(
            !has("/proc") && !has("size_bytes{device=\"/dev/sdb1"),
            "{lines:#?}"
        );
    }

    #[test]
    fn leaves_out_what_upstream_leaves_out() {
        let collector = collector("{}").unwrap();
        for (mount_point, taken) in [
            ("/", true),
            ("/dev", false),
            ("/dev/shm", false),
            ("/device", true),
            ("/run", true),
            ("/run/credentials/x", false),
            ("/var/lib/docker", true),
            ("/var/lib/docker/overlay2/x", false),
        ] {
            assert_eq!(
                collector.mount_points.takes(mount_point),
                taken,
                "{mount_point}"
            );
        }
        for (kind, taken) in [
            ("ext4", true),
            ("tmpfs", true),
            ("cgroup2", false),
            ("overlay", false),
        ] {
            assert_eq!(collector.types.takes(kind), taken, "{kind}");
        }
    }

    #[test]
    fn without_any_mounts_it_fails() {
        let _host = fake::Host::install();
        let mut collector = collector("{}").unwrap();
        let failure = collector
            .collect(&machine("{}"), &mut Metrics::new())
            .unwrap_err();
        assert_eq!(
            failure.to_string(),
            "/proc/self/mountinfo: no such file or directory"
        );
    }

    #[test]
    fn mount_points_lose_the_root_that_is_not_the_machines() {
        let host = fake::Host::install();
        let mounts = "\
1 0 8:1 / /host rw - ext4 /dev/sda1 rw
2 1 8:2 / /host/home rw - ext4 /dev/sda2 rw
3 1 0:5 / /host/dev rw - tmpfs dev rw
";
        host.write("/host/proc/1/mountinfo", mounts);
        let json = r#"{"path": {"rootfs": "/host", "procfs": "/host/proc"}}"#;
        let mut metrics = Metrics::new();
        let mut collector = collector("{}").unwrap();
        collector.collect(&machine(json), &mut metrics).unwrap();
        let lines = testing::lines(&metrics.finish().unwrap());
        let points: Vec<&str> = lines
            .iter()
            .filter(|line| line.starts_with("node_filesystem_readonly"))
            .filter_map(|line| line.split("mountpoint=").nth(1))
            .collect();
        assert_eq!(points, ["\"/\"} 0", "\"/home\"} 0"]);
    }
}
