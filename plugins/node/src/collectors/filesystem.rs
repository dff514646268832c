//! File systems: what is mounted, and how full it is.

use std::collections::BTreeSet;

use narthex_plugin_sdk::system::Usage;
use narthex_plugin_sdk::{ConfigError, Metrics, files, system};

use super::Collector;
use crate::config;
use crate::failure::{At, Failure};
use crate::filter::Filter;

const MOUNT_POINTS_EXCLUDE: &str =
    r"^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)";
const FS_TYPES_EXCLUDE: &str = "^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|iso9660|mqueue|nsfs|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|erofs|sysfs|tracefs)$";

const DEFAULT_TIMEOUT_MS: u64 = 5000;

pub(crate) struct FileSystem {
    mount_points: Filter,
    types: Filter,
    timeout_ms: u64,
}

impl FileSystem {
    pub(crate) fn new(config: &config::FileSystem) -> Result<Self, ConfigError> {
        Ok(FileSystem {
            mount_points: Filter::new(
                "filesystem",
                "mount_points",
                config.mount_points_include.as_deref(),
                config.mount_points_exclude.as_deref(),
                Some(MOUNT_POINTS_EXCLUDE),
            )?,
            types: Filter::new(
                "filesystem",
                "fs_types",
                config.fs_types_include.as_deref(),
                config.fs_types_exclude.as_deref(),
                Some(FS_TYPES_EXCLUDE),
            )?,
            timeout_ms: config
                .mount_timeout
                .map_or(DEFAULT_TIMEOUT_MS, |time| time.ms),
        })
    }
}

impl Collector for FileSystem {
    fn collect(&mut self, metrics: &mut Metrics) -> Result<(), Failure> {
        let mut mounts = read_mounts()?;
        // What is mounted over another one hides it: one of each name is enough.
        let mut seen = BTreeSet::new();
        mounts.retain(|mount| {
            self.mount_points.takes(&mount.mount_point)
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
            give(mount, usage, metrics);
        }
        Ok(())
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Mount {
    device: String,
    mount_point: String,
    kind: String,
    major: String,
    minor: String,
    read_only: bool,
}

/// The mounts of the first process are the machine's; those of our own serve where we may not see
/// the first's.
fn read_mounts() -> Result<Vec<Mount>, Failure> {
    const FIRST: &str = "/proc/1/mountinfo";
    const OWN: &str = "/proc/self/mountinfo";
    let (path, text) = match files::read_text(FIRST) {
        Ok(text) => (FIRST, text),
        Err(_) => (OWN, files::read_text(OWN).at(OWN)?),
    };
    let mounts: Result<Vec<Mount>, String> = text.lines().map(parse).collect();
    mounts.at(path)
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

fn give(mount: &Mount, usage: &Result<Usage, String>, metrics: &mut Metrics) {
    let error = usage.as_ref().err().map_or("", String::as_str);
    let labels = [&*mount.device, error, &*mount.kind, &*mount.mount_point];
    let mut gauge = |name: &str, help: &str, value: f64| {
        metrics
            .gauge(name, help)
            .labels(["device", "device_error", "fstype", "mountpoint"])
            .add(labels, value);
    };
    gauge(
        "node_filesystem_device_error",
        "1 where the file system could not be asked, else 0.",
        f64::from(usage.is_err()),
    );
    gauge(
        "node_filesystem_readonly",
        "1 where the file system can only be read, else 0.",
        f64::from(mount.read_only),
    );
    let Ok(usage) = usage else {
        return;
    };
    let bytes = |blocks: u64| blocks as f64 * usage.block_bytes as f64;
    gauge("node_filesystem_size_bytes", "Size.", bytes(usage.blocks));
    gauge(
        "node_filesystem_free_bytes",
        "Free space.",
        bytes(usage.blocks_free),
    );
    gauge(
        "node_filesystem_avail_bytes",
        "Free space for those who are not root.",
        bytes(usage.blocks_available),
    );
    gauge(
        "node_filesystem_files",
        "Files that it can hold.",
        usage.files as f64,
    );
    gauge(
        "node_filesystem_files_free",
        "Files that it can still hold.",
        usage.files_free as f64,
    );
    gauge(
        "node_filesystem_purgeable_bytes",
        "Space that the system would free if asked; 0 on Linux.",
        0.0,
    );
    metrics
        .gauge(
            "node_filesystem_mount_info",
            "1, labelled with the device's numbers.",
        )
        .labels(["device", "major", "minor", "mountpoint"])
        .add(
            [
                &mount.device,
                &mount.major,
                &mount.minor,
                &mount.mount_point,
            ],
            1.0,
        );
}

#[cfg(test)]
mod tests {
    use narthex_plugin_sdk::{fake, testing};

    use super::*;

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
        let mut collector = FileSystem::new(&config::FileSystem::default()).unwrap();
        let mut metrics = Metrics::new();
        collector.collect(&mut metrics).unwrap();
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
        let collector = FileSystem::new(&config::FileSystem::default()).unwrap();
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
        let mut collector = FileSystem::new(&config::FileSystem::default()).unwrap();
        let failure = collector.collect(&mut Metrics::new()).unwrap_err();
        assert_eq!(
            failure.to_string(),
            "/proc/self/mountinfo: no such file or directory"
        );
    }
}
