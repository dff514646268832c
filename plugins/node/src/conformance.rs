//! Against upstream's own fixtures: what upstream prints for them, we give, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use narthex_plugin_sdk::fake::{Host, Zone};
use narthex_plugin_sdk::{Family, MetricType, testing};

use super::*;

/// Of the machine that the test runs on, so not among the fixtures.
const LIVE: [&str; 5] = ["filesystem", "netdev", "selinux", "timex", "uname"];

/// What upstream's test leaves out of its comparison, as it is another with every run.
const UNSTABLE: [&str; 4] = [
    "node_scrape_collector_duration_seconds",
    "node_textfile_mtime_seconds",
    "node_time_seconds",
    "node_time_zone_offset_seconds",
];

/// A family as both sides have it. Labels that are empty are left out: they are the same as none.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Expected {
    pub(crate) kind: String,
    pub(crate) help: String,
    /// Name and labels of each sample, and its value.
    pub(crate) series: BTreeSet<(String, BTreeMap<String, String>, String)>,
}

pub(crate) struct Fixtures {
    pub(crate) folder: tempfile::TempDir,
    data: PathBuf,
}

impl Fixtures {
    /// None, with a line that says so, where the fixtures are not given.
    pub(crate) fn unpack() -> Option<Fixtures> {
        let Some(conformance) = std::env::var_os("CONFORMANCE_DIR") else {
            println!("skipped: CONFORMANCE_DIR is not set");
            return None;
        };
        let data = PathBuf::from(conformance).join("node_exporter");
        let folder = tempfile::tempdir().unwrap();
        let status = Command::new("tar")
            .arg("xzf")
            .arg(data.join("fixtures.tar.gz"))
            .arg("-C")
            .arg(folder.path())
            .status()
            .unwrap();
        assert!(status.success());
        Some(Fixtures { folder, data })
    }

    fn expected(&self, file: &str) -> BTreeMap<String, Expected> {
        let text = std::fs::read_to_string(self.data.join(file)).unwrap();
        // Upstream's test runs below its sources.
        expected(&text.replace("collector/fixtures/", "/collector/fixtures/"))
    }

    /// Family to collector.
    fn collectors(&self) -> BTreeMap<String, String> {
        let text = std::fs::read_to_string(self.data.join("families.tsv")).unwrap();
        let rows = text.lines().skip(1).map(|line| {
            let mut columns = line.split('\t');
            let name = columns.next().unwrap().to_owned();
            (name, columns.next().unwrap().to_owned())
        });
        rows.collect()
    }

    /// A machine that is made of the fixtures.
    fn host(&self) -> Host {
        let host = Host::install();
        host.mount("/collector", self.folder.path().join("collector"))
            .set_page_bytes(4096)
            .set_time_zone(Zone {
                abbreviation: "UTC".to_owned(),
                offset_seconds: 0,
            });
        host
    }
}

/// Upstream's text.
pub(crate) fn expected(text: &str) -> BTreeMap<String, Expected> {
    let mut families: BTreeMap<String, Expected> = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            families.entry(name.to_owned()).or_default().help =
                help.replace("\\n", "\n").replace("\\\\", "\\");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            name.clone_into(&mut current);
            families.entry(name.to_owned()).or_default().kind = kind.to_owned();
        } else {
            let family = families.entry(current.clone()).or_default();
            family.series.insert(sample(line));
        }
    }
    families
}

fn sample(line: &str) -> (String, BTreeMap<String, String>, String) {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let value: f64 = value.parse().unwrap();
    (name.to_owned(), parse_labels(labels), value.to_string())
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
                    // As our own lines have what can't be printed.
                    Some((_, 'u')) => {
                        let code = chars.by_ref().map(|(_, c)| c).take_while(|c| *c != '}');
                        let digits: String = code.skip(1).collect();
                        let code = u32::from_str_radix(&digits, 16).unwrap();
                        value.push(char::from_u32(code).unwrap());
                    }
                    Some((_, c)) => value.push(c),
                    None => {}
                },
                c => value.push(c),
            }
        }
        let name = name.trim_start_matches(',');
        if name == "le" || name == "quantile" {
            let bound: f64 = value.parse().unwrap();
            value = bound.to_string();
        }
        if !value.is_empty() {
            labels.insert(name.to_owned(), value);
        }
        rest = &after[end..];
    }
    labels
}

pub(crate) fn given(families: &[Family]) -> BTreeMap<String, Expected> {
    let kind = |kind: MetricType| match kind {
        MetricType::Counter => "counter",
        MetricType::Gauge => "gauge",
        MetricType::Histogram => "histogram",
        MetricType::Summary => "summary",
        _ => "untyped",
    };
    families
        .iter()
        .map(|family| {
            let lines = testing::lines(std::slice::from_ref(family));
            let expected = Expected {
                kind: kind(family.kind).to_owned(),
                help: family.help.clone(),
                series: lines.iter().map(|line| sample(line)).collect(),
            };
            (family.name.clone(), expected)
        })
        .collect()
}

/// The arguments of upstream's test.
const CONFIG: &str = r#"{
    "path": {
        "rootfs": "/collector/fixtures",
        "procfs": "/collector/fixtures/proc",
        "sysfs": "/collector/fixtures/sys",
        "udev.data": "/collector/fixtures/udev/data"
    },
    "no-collector.filesystem": true,
    "no-collector.netdev": true,
    "no-collector.selinux": true,
    "no-collector.uname": true,
    "collector.arp.device-exclude": "nope",
    "no-collector.arp.netlink": true,
    "collector.bcache.priorityStats": true,
    "collector.cpu": {
        "info": true,
        "info.bugs-include": "^(cpu_meltdown|spectre_.*|mds)$",
        "info.flags-include": "^(aes|avx.?|constant_tsc)$"
    },
    "collector.hwmon.chip-include": "(applesmc|asus_nb_wmi|coretemp|hwmon4|ieee80211|nct6779)",
    "collector.netclass": {"ignored-devices": "(dmz|int)", "ignore-invalid-speed": true},
    "collector.netdev.device-include": "lo",
    "collector.stat.softirq": true,
    "collector.textfile.directory": "/collector/fixtures/textfile/two_metric_files/"
}"#;

#[test]
fn gives_what_upstream_gives() {
    let Some(fixtures) = Fixtures::unpack() else {
        return;
    };
    let _host = fixtures.host();
    let mut node: Node = testing::exporter(CONFIG).unwrap();
    let given = given(&testing::collect(&mut node).unwrap());
    assert_eq!(node.told, BTreeMap::new(), "every collector succeeds");

    let expected = fixtures.expected("expected-default.txt");
    let collectors = fixtures.collectors();
    let mut differences = Vec::new();
    let mut compared = 0;
    for (name, expected) in &expected {
        let collector = collectors.get(name).map_or("", String::as_str);
        // What stands in brackets is of upstream's program itself.
        let unstable = UNSTABLE.contains(&name.as_str()) || collector.starts_with('(');
        if unstable || LIVE.contains(&collector) {
            continue;
        }
        compared += 1;
        match given.get(name) {
            None => differences.push(format!("{name} of {collector} is missing")),
            Some(given) if given != expected => {
                differences.push(difference(name, given, expected));
            }
            Some(_) => {}
        }
    }
    let live = |name: &str| {
        collectors
            .get(name)
            .is_some_and(|c| LIVE.contains(&c.as_str()))
    };
    for name in given.keys().filter(|name| !live(name)) {
        let of_runs = [
            "node_exporter_build_info",
            "node_scrape_collector_duration_seconds",
        ];
        if !expected.contains_key(name) && !of_runs.contains(&name.as_str()) {
            differences.push(format!("upstream has no {name}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(compared > 890, "only {compared} families compared");
    let success = &given["node_scrape_collector_success"].series;
    assert!(
        success.iter().all(|(_, _, value)| value == "1"),
        "{success:?}"
    );
}

fn difference(name: &str, given: &Expected, expected: &Expected) -> String {
    let lacking: Vec<_> = expected.series.difference(&given.series).collect();
    let surplus: Vec<_> = given.series.difference(&expected.series).collect();
    format!(
        "{name}: {} {:?} for {} {:?}\n  lacking {lacking:?}\n  surplus {surplus:?}",
        given.kind, given.help, expected.kind, expected.help
    )
}

#[test]
fn netdev_has_upstreams_names_and_types() {
    let Some(fixtures) = Fixtures::unpack() else {
        return;
    };
    let host = Host::install();
    let zeros = "0 ".repeat(16);
    host.write("/proc/net/dev", format!("\n\n    lo: {zeros}\n"));
    host.write("/sys/class/net/lo/statistics/rx_nohandler", "0\n");
    let json = r#"{"collector.disable-defaults": true, "collector.netdev": true}"#;
    let mut node: Node = testing::exporter(json).unwrap();
    let given = given(&testing::collect(&mut node).unwrap());
    let expected = fixtures.expected("expected-default.txt");
    let collectors = fixtures.collectors();
    let names: Vec<&String> = expected
        .keys()
        .filter(|name| collectors.get(*name).is_some_and(|c| c == "netdev"))
        .collect();
    assert_eq!(names.len(), 17);
    for name in names {
        let given = given
            .get(name)
            .unwrap_or_else(|| panic!("{name} is missing"));
        let expected = &expected[name];
        assert_eq!((&given.kind, &given.help), (&expected.kind, &expected.help));
    }
}

#[test]
fn a_machine_without_anything_gives_failures_and_not_an_error() {
    let host = Host::install();
    let mut node: Node = testing::exporter("{}").unwrap();
    let given = given(&testing::collect(&mut node).unwrap());
    let success = &given["node_scrape_collector_success"].series;
    let of = |name: &str| {
        let found = success
            .iter()
            .find(|(_, labels, _)| labels["collector"] == name);
        found.map(|(_, _, value)| value.as_str())
    };
    for (name, expected) in [
        ("cpu", "0"),
        ("arp", "0"),
        ("hwmon", "0"),
        ("zfs", "0"),
        ("bcache", "1"),
        ("btrfs", "1"),
        ("edac", "1"),
        ("selinux", "1"),
        ("textfile", "1"),
        ("thermal_zone", "1"),
        ("xfs", "1"),
    ] {
        assert_eq!(of(name), Some(expected), "{name}");
    }
    let told = host.logged().len();
    testing::collect(&mut node).unwrap();
    assert_eq!(host.logged().len(), told, "each failure is logged once");
}

#[test]
fn configurations_are_checked() {
    for (json, expected) in [
        (
            r#"{"collector.disable-defaults": true, "collector.cpu": true}"#,
            "",
        ),
        (
            r#"{"collector.gpu": true}"#,
            "collector.gpu: there is no such option; did you mean collector.cpu?",
        ),
        (
            r#"{"collector.filesystem.fs-types-exclude": "("}"#,
            "collector.filesystem.fs-types-exclude: invalid regular expression \"(\"",
        ),
        (
            r#"{"collector": {"filesystem": {"fs-type-exclude": "a"}}}"#,
            "collector.filesystem.fs-type-exclude: there is no such option; did you mean \
             collector.filesystem.fs-types-exclude?",
        ),
    ] {
        let error = testing::exporter::<Node>(json).err();
        let error = error.map(|error| error.to_string()).unwrap_or_default();
        assert!(error.starts_with(expected), "{json}: {error}");
        assert_eq!(error.is_empty(), expected.is_empty(), "{json}: {error}");
    }
}

#[test]
fn only_what_is_chosen_runs() {
    let _host = Host::install();
    let names = |json: &str| -> Vec<&'static str> {
        let node: Node = testing::exporter(json).unwrap();
        node.collectors.iter().map(|(name, _)| *name).collect()
    };
    let json = r#"{"collector.disable-defaults": true, "collector": {"stat": true, "cpu": true}}"#;
    assert_eq!(names(json), ["cpu", "stat"]);
    let all = names("{}").len();
    let json = r#"{"no-collector.arp": true, "collector.zfs": false}"#;
    assert_eq!(names(json).len(), all - 2);
}
