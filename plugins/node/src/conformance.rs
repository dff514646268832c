//! Against upstream's own fixtures: what upstream prints for them, we give.
//!
//! A family that upstream's default collectors print and we don't is either of a collector that we
//! don't have yet, which this test lists, or a fault.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use narthex_plugin_sdk::fake::{Host, Zone};
use narthex_plugin_sdk::{Family, MetricType, Value, testing};

use super::*;

/// Upstream's default collectors that we don't have yet.
const NOT_YET: [&str; 26] = [
    "bcache",
    "bcachefs",
    "bonding",
    "btrfs",
    "dmi",
    "dmmultipath",
    "edac",
    "fibrechannel",
    "hwmon",
    "infiniband",
    "ipvs",
    "kernel_hung",
    "mdadm",
    "nfs",
    "nfsd",
    "nvme",
    "powersupplyclass",
    "rapl",
    "selinux",
    "tapestats",
    "textfile",
    "thermal_zone",
    "timex",
    "watchdog",
    "xfs",
    "zfs",
];

/// Families of collectors that we have, which upstream prints only where a flag asks for it.
const NEEDS_FLAG: [&str; 4] = [
    "node_cpu_bug_info",
    "node_cpu_flag_info",
    "node_cpu_frequency_hertz",
    "node_cpu_info",
];

type Series = BTreeSet<(BTreeMap<String, String>, String)>;

#[derive(Debug, Default)]
struct Expected {
    kind: String,
    series: Series,
}

fn conformance() -> Option<String> {
    let folder = std::env::var("CONFORMANCE_DIR").ok();
    if folder.is_none() {
        println!("skipped: CONFORMANCE_DIR is not set");
    }
    folder
}

/// Upstream's text. Labels that are empty are left out: they are the same as none.
fn expected(text: &str) -> BTreeMap<String, Expected> {
    let mut families: BTreeMap<String, Expected> = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            families.entry(name.to_owned()).or_default().kind = kind.to_owned();
        } else if !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let value: f64 = value.parse().unwrap();
            let labels = parse_labels(labels);
            let family = families.entry(name.to_owned()).or_default();
            family.series.insert((labels, value.to_string()));
        }
    }
    families
}

fn parse_labels(text: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once("=\"") {
        let mut value = String::new();
        let mut chars = after.char_indices();
        let mut end = after.len();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    end = at + 1;
                    break;
                }
                '\\' => match chars.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, c)) => value.push(c),
                    None => {}
                },
                c => value.push(c),
            }
        }
        if !value.is_empty() {
            labels.insert(name.trim_start_matches(',').to_owned(), value);
        }
        rest = &after[end..];
    }
    labels
}

fn given(families: &[Family]) -> BTreeMap<String, Expected> {
    let series = |family: &Family| -> Series {
        let metrics = family.metrics.iter().map(|metric| {
            let labels = family.label_names.iter().zip(&metric.label_values);
            let labels = labels.filter(|(_, value)| !value.is_empty());
            let Value::Number(value) = metric.value else {
                panic!("{} is no number", family.name);
            };
            let labels = labels.map(|(n, v)| (n.clone(), v.clone())).collect();
            (labels, value.to_string())
        });
        metrics.collect()
    };
    families
        .iter()
        .map(|family| {
            let kind = match family.kind {
                MetricType::Counter => "counter",
                MetricType::Gauge => "gauge",
                _ => "untyped",
            };
            let expected = Expected {
                kind: kind.to_owned(),
                series: series(family),
            };
            (family.name.clone(), expected)
        })
        .collect()
}

/// The fixtures as /proc and /sys.
fn host_with_fixtures(archive: &Path, folder: &Path) -> Host {
    let status = Command::new("tar")
        .args([
            "xzf",
            archive.to_str().unwrap(),
            "-C",
            folder.to_str().unwrap(),
        ])
        .status()
        .unwrap();
    assert!(status.success());
    let fixtures = folder.join("collector/fixtures");
    let host = Host::install();
    host.mount("/proc", fixtures.join("proc"))
        .mount("/sys", fixtures.join("sys"))
        .mount("/run/udev/data", fixtures.join("udev/data"))
        .mount("/usr/lib", fixtures.join("usr/lib"))
        .set_page_bytes(4096)
        .set_time_zone(Zone {
            abbreviation: "UTC".to_owned(),
            offset_seconds: 0,
        });
    host
}

/// As upstream's test is configured, as far as we have it.
const CONFIG: &str = r#"{
    "no_collectors": ["filesystem", "uname", "netdev"],
    "arp": {"device_exclude": "nope"},
    "netclass": {"ignored_devices": "(dmz|int)", "ignore_invalid_speed": true}
}"#;

#[test]
fn gives_what_upstream_gives() {
    let Some(conformance) = conformance() else {
        return;
    };
    let data = Path::new(&conformance).join("node_exporter");
    let folder = tempfile::tempdir().unwrap();
    let _host = host_with_fixtures(&data.join("fixtures.tar.gz"), folder.path());
    let mut node: Node = testing::exporter(CONFIG).unwrap();
    let given = given(&testing::collect(&mut node).unwrap());
    assert_eq!(node.told, BTreeMap::new(), "every collector succeeds");

    let expected = expected(&std::fs::read_to_string(data.join("expected-default.txt")).unwrap());
    let collectors = collectors_of(&data.join("families.tsv"));
    let mut compared = 0;
    for (name, expected) in &expected {
        let collector = collectors.get(name).map_or("", String::as_str);
        let ours = !NOT_YET.contains(&collector) && collector != "netdev";
        if !ours || NEEDS_FLAG.contains(&name.as_str()) || name == "node_softirqs_total" {
            continue;
        }
        // Of the exporter itself, or of the machine that it ran on.
        if collector.starts_with('(') || collector.is_empty() || expected.series.is_empty() {
            continue;
        }
        if name.starts_with("node_scrape_collector") {
            continue;
        }
        let given = given.get(name);
        let given = given.unwrap_or_else(|| panic!("{name} of {collector} is missing"));
        assert_eq!(given.kind, expected.kind, "{name}");
        assert_eq!(given.series, expected.series, "{name}");
        compared += 1;
    }
    assert!(compared > 150, "only {compared} families compared");
    for name in given.keys() {
        let own = name.starts_with("node_scrape_collector") || name == "node_exporter_build_info";
        assert!(own || expected.contains_key(name), "upstream has no {name}");
    }
}

/// Family to collector.
fn collectors_of(path: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().skip(1).map(|line| {
        let mut columns = line.split('\t');
        let name = columns.next().unwrap().to_owned();
        (name, columns.next().unwrap().to_owned())
    });
    rows.collect()
}

#[test]
fn netdev_has_upstreams_names_and_types() {
    let Some(conformance) = conformance() else {
        return;
    };
    let data = Path::new(&conformance).join("node_exporter");
    let host = Host::install();
    let zeros = "0 ".repeat(16);
    host.write("/proc/net/dev", format!("\n\n    lo: {zeros}\n"));
    host.write("/sys/class/net/lo/statistics/rx_nohandler", "0\n");
    let mut node: Node = testing::exporter(r#"{"collectors": ["netdev"]}"#).unwrap();
    let given = given(&testing::collect(&mut node).unwrap());
    let expected = expected(&std::fs::read_to_string(data.join("expected-default.txt")).unwrap());
    let collectors = collectors_of(&data.join("families.tsv"));
    let names: Vec<&String> = expected
        .keys()
        .filter(|name| collectors.get(*name).is_some_and(|c| c == "netdev"))
        .collect();
    assert_eq!(names.len(), 17);
    for name in names {
        let given = given
            .get(name)
            .unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(given.kind, expected[name].kind, "{name}");
    }
}

#[test]
fn a_machine_without_anything_gives_failures_and_not_an_error() {
    let host = Host::install();
    let mut node: Node = testing::exporter("{}").unwrap();
    let given = given(&testing::collect(&mut node).unwrap());
    let success = &given["node_scrape_collector_success"].series;
    let of = |name: &str| {
        let has = |labels: &BTreeMap<String, String>| labels.values().any(|value| value == name);
        let found = success.iter().find(|(labels, _)| has(labels));
        found.map(|(_, value)| value.as_str())
    };
    assert_eq!(of("cpu"), Some("0"));
    assert_eq!(of("arp"), Some("0"));
    let warnings = host.logged().len();
    testing::collect(&mut node).unwrap();
    assert_eq!(host.logged().len(), warnings, "each failure is logged once");
}

#[test]
fn configurations_are_checked() {
    for (json, expected) in [
        (r#"{"collectors": ["cpu"]}"#, ""),
        (
            r#"{"collectors": ["cpu", "gpu"]}"#,
            "collectors[1]: no collector \"gpu\"; there are arp, conntrack, cpu,",
        ),
        (
            r#"{"filesystem": {"fs_types_exclude": "("}}"#,
            "filesystem.fs_types_exclude: invalid regular expression \"(\"",
        ),
        (
            r#"{"filesystem": {"fs_type_exclude": "a"}}"#,
            "filesystem.fs_type_exclude: unknown field `fs_type_exclude`",
        ),
    ] {
        let error = testing::exporter::<Node>(json).err();
        let error = error.map(|error| error.to_string()).unwrap_or_default();
        assert!(error.starts_with(expected), "{json}: {error}");
        assert_eq!(error.is_empty(), expected.is_empty(), "{json}: {error}");
    }
}
