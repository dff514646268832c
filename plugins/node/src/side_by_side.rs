//! Beside a real node_exporter on the machine that the test runs on, over its real /proc and /sys.
//!
//! The one that is at hand is older than the one whose output we give. What its version lacks, or
//! has and 1.12 no longer, is listed here; all else must agree, and values must lie between what it
//! says before and after us.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use narthex_plugin_sdk::fake::{Host, Identity, Usage, Zone};
use narthex_plugin_sdk::testing;

use super::conformance::{Expected, expected, given};
use super::*;

/// Families of 1.5 that 1.12 has no more, and those of the program itself.
const NO_MORE: [&str; 12] = [
    "go_",
    "process_",
    "promhttp_",
    "node_exporter_build_info",
    "node_memory_KReclaimable_bytes",
    "node_memory_FileHugePages_bytes",
    "node_memory_FilePmdMapped_bytes",
    "node_memory_Hugetlb_bytes",
    "node_memory_SecPageTables_bytes",
    "node_memory_Balloon_bytes",
    "node_memory_Unaccepted_bytes",
    "node_scrape_collector_",
];

/// Collectors that are off by default, and that both have.
const ALSO: [&str; 11] = [
    "buddyinfo",
    "cgroups",
    "interrupts",
    "ksmd",
    "lnstat",
    "meminfo_numa",
    "processes",
    "slabinfo",
    "tcpstat",
    "zoneinfo",
    "drbd",
];

/// What needs adjtimex(2).
const NOT_HERE: [&str; 1] = ["node_timex_"];

/// Families of 1.12 that 1.5 does not have yet.
const NOT_YET: [&str; 25] = [
    "node_ksmd_general_profit_bytes",
    "node_bcachefs_",
    "node_cpu_isolated",
    "node_cpu_frequency_avg_hertz",
    "node_cpu_online",
    "node_disk_ata_rotation_rate_rpm",
    "node_disk_ata_write_cache",
    "node_dmmultipath_",
    "node_exporter_build_info",
    "node_filesystem_mount_info",
    "node_filesystem_purgeable_bytes",
    "node_hwmon_freq_",
    "node_kernel_hung_tasks_total",
    "node_netstat_TcpExt_TCPOFOQueue",
    "node_netstat_TcpExt_TCPRcvQDrop",
    "node_network_receive_nohandler_total",
    "node_pressure_irq_stalled_seconds_total",
    "node_scrape_collector_",
    "node_softnet_backlog_len",
    "node_softnet_cpu_collision_total",
    "node_softnet_flow_limit_count_total",
    "node_softnet_received_rps_total",
    "node_time_clocksource_",
    "node_watchdog_",
    "node_nvme_namespace_",
];

/// Labels of 1.12 that 1.5 does not have yet.
const NEW_LABELS: [(&str, &str); 4] = [
    ("node_disk_info", "rotational"),
    ("node_network_info", "adminstate"),
    ("node_nvme_info", "cntlid"),
    ("node_os_info", "version_codename"),
];

/// Gauges that go up and down within the time of a collection.
const RESTLESS: [&str; 14] = [
    "node_cgroups_cgroups",
    "node_slabinfo_",
    "node_buddyinfo_",
    "node_zoneinfo_",
    "node_entropy_available_bits",
    "node_filefd_allocated",
    "node_filesystem_",
    "node_load",
    "node_memory_",
    "node_procs_",
    "node_sockstat_",
    "node_netstat_Tcp_CurrEstab",
    "node_nf_conntrack_entries",
    // Which the fake host does not know.
    "node_textfile_mtime_seconds",
];

/// Of these even the labels come and go.
const FLEETING: [&str; 3] = [
    "node_arp_entries",
    "node_processes_",
    "node_tcp_connection_states",
];

fn starts(name: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| name.starts_with(prefix))
}

#[test]
fn agrees_with_node_exporter_on_this_machine() {
    let Some(tools) = std::env::var_os("NARTHEX_TEST_TOOLS") else {
        println!("skipped: NARTHEX_TEST_TOOLS is not set");
        return;
    };
    let program = PathBuf::from(tools).join("prometheus-node-exporter");
    if !program.exists() {
        println!("skipped: {} is not there", program.display());
        return;
    }
    let texts = tempfile::tempdir().unwrap();
    std::fs::write(
        texts.path().join("a.prom"),
        "# HELP beside A.\nbeside{x=\"y\"} 1\n",
    )
    .unwrap();
    let mut exporter = Exporter::start(&program, texts.path());
    let also = ALSO.map(|name| format!("\"collector.{name}\": true"));
    let json = format!(
        "{{\"collector.textfile.directory\": {:?}, {}}}",
        texts.path().to_str().unwrap(),
        also.join(", ")
    );
    let mut node: Node = testing::exporter(&json).unwrap();
    let host = this_machine(texts.path());
    testing::collect(&mut node).unwrap();

    // The machine goes on meanwhile: what differs, differs each time.
    let mut differences = Vec::new();
    for _ in 0..5 {
        let before = expected(&exporter.scrape());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        host.set_now_ns(now.as_nanos() as u64);
        let ours = given(&testing::collect(&mut node).unwrap());
        let after = expected(&exporter.scrape());
        differences = compare(&before, &ours, &after);
        if differences.is_empty() {
            break;
        }
    }
    exporter.stop();
    let began = Instant::now();
    for _ in 0..20 {
        testing::collect(&mut node).unwrap();
    }
    println!(
        "a collection of ours takes {:?} natively",
        began.elapsed() / 20
    );

    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

fn compare(
    before: &BTreeMap<String, Expected>,
    ours: &BTreeMap<String, Expected>,
    after: &BTreeMap<String, Expected>,
) -> Vec<String> {
    let mut differences = Vec::new();
    let mut compared = 0;
    for (name, theirs) in before {
        let known = starts(name, &NO_MORE) || starts(name, &NOT_HERE);
        if known || theirs.series.is_empty() {
            continue;
        }
        let (Some(ours), Some(after)) = (ours.get(name), after.get(name)) else {
            differences.push(format!("{name} is missing"));
            continue;
        };
        compared += 1;
        if (&ours.kind, &ours.help) != (&theirs.kind, &theirs.help) && !starts(name, &NEW_TEXTS) {
            let ours = (&ours.kind, &ours.help);
            differences.push(format!(
                "{name}: {ours:?} for {:?}",
                (&theirs.kind, &theirs.help)
            ));
        }
        differences.extend(compare_series(name, theirs, ours, after));
    }
    for name in ours.keys() {
        if !before.contains_key(name) && !starts(name, &NOT_YET) {
            differences.push(format!("node_exporter has no {name}"));
        }
    }
    println!("{compared} families of node_exporter compared");
    differences
}

/// Help texts that have changed since 1.5.
const NEW_TEXTS: [&str; 2] = ["node_ksmd_", "node_scrape_collector_"];

fn compare_series(
    name: &str,
    before: &Expected,
    ours: &Expected,
    after: &Expected,
) -> Option<String> {
    let values = |family: &Expected| -> BTreeMap<BTreeMap<String, String>, f64> {
        let series = family.series.iter().map(|(_, labels, value)| {
            let mut labels = labels.clone();
            for (family, label) in NEW_LABELS {
                if family == name {
                    labels.remove(label);
                }
            }
            (labels, value.parse().unwrap())
        });
        series.collect()
    };
    let (before, ours, after) = (values(before), values(ours), values(after));
    if starts(name, &FLEETING) {
        return None;
    }
    if before.keys().ne(ours.keys()) {
        return Some(format!(
            "{name}: {:?} for {:?}",
            ours.keys().collect::<Vec<_>>(),
            before.keys().collect::<Vec<_>>()
        ));
    }
    if starts(name, &RESTLESS) {
        return None;
    }
    ours.iter().find_map(|(labels, value)| {
        let (low, high) = (before[labels], *after.get(labels)?);
        let (low, high) = (low.min(high), low.max(high));
        let fits = (low..=high).contains(value) || value.is_nan() && low.is_nan();
        (!fits).then(|| format!("{name}{labels:?}: {value} and not {low} to {high}"))
    })
}

/// A node_exporter that runs for as long as the value lives, with the defaults of 1.12 where those
/// of the package are others.
struct Exporter {
    child: Child,
    port: u16,
}

impl Exporter {
    fn start(program: &Path, texts: &Path) -> Exporter {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let mounts = collectors::MOUNT_POINTS_EXCLUDE;
        let types = collectors::FS_TYPES_EXCLUDE;
        let disks = collectors::DISKS_EXCLUDE;
        let child = Command::new(program)
            .args([
                format!("--web.listen-address=127.0.0.1:{port}"),
                "--no-collector.systemd".to_owned(),
                "--collector.netdev.device-exclude=".to_owned(),
                format!("--collector.filesystem.mount-points-exclude={mounts}"),
                format!("--collector.filesystem.fs-types-exclude={types}"),
                format!("--collector.diskstats.device-exclude={disks}"),
                format!("--collector.textfile.directory={}", texts.display()),
            ])
            .args(ALSO.map(|name| format!("--collector.{name}")))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut exporter = Exporter { child, port };
        let until = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = exporter.child.try_wait().unwrap();
            assert!(ended.is_none(), "node_exporter has ended: {ended:?}");
            assert!(Instant::now() < until, "node_exporter does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        exporter
    }

    fn scrape(&self) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream
            .write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(" 200 "), "{head}");
        body.to_owned()
    }

    fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// The host as it would be in a running agent.
fn this_machine(texts: &Path) -> Host {
    let host = Host::install();
    for folder in ["/proc", "/sys", "/etc", "/usr/lib", "/run"] {
        host.mount(folder, folder);
    }
    host.mount(texts.to_str().unwrap(), texts);
    let output = |program: &str, arguments: &[&str]| -> String {
        let output = Command::new(program).args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let uname = |flag: &str| output("uname", &[flag]).trim().to_owned();
    let domain = std::fs::read_to_string("/proc/sys/kernel/domainname").unwrap();
    host.set_identity(Identity {
        sysname: uname("-s"),
        release: uname("-r"),
        version: uname("-v"),
        machine: uname("-m"),
        nodename: uname("-n"),
        domainname: domain.trim().to_owned(),
    });
    host.set_page_bytes(output("getconf", &["PAGESIZE"]).trim().parse().unwrap());
    let zone = output("date", &["+%Z"]).trim().to_owned();
    let offset: i32 = output("date", &["+%z"]).trim().parse().unwrap();
    host.set_time_zone(Zone {
        abbreviation: zone,
        offset_seconds: (offset / 100 * 60 + offset % 100) * 60,
    });
    set_usages(&host);
    host
}

/// What statfs(2) says of each mount point.
fn set_usages(host: &Host) {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    for mount_point in mounts.lines().filter_map(|line| line.split(' ').nth(4)) {
        let output = Command::new("stat")
            .args(["-f", "-c", "%s %b %f %a %c %d", mount_point])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let numbers: Vec<u64> = text.split_whitespace().flat_map(str::parse).collect();
        let usage = match numbers.as_slice() {
            &[
                block_bytes,
                blocks,
                blocks_free,
                blocks_available,
                files,
                files_free,
            ] => Ok(Usage {
                block_bytes,
                blocks,
                blocks_free,
                blocks_available,
                files,
                files_free,
            }),
            _ => Err("permission denied".to_owned()),
        };
        host.set_usage(mount_point, usage);
    }
}
