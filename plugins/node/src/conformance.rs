//! Against upstream's own fixtures: what upstream prints for them, we give, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use narthex_plugin_sdk::fake::{Host, Zone};
use narthex_plugin_sdk::{Family, MetricType, testing};

use super::*;

/// Of the machine that the test runs on, so not among the fixtures.
const LIVE: [&str; 5] = ["filesystem", "netdev", "selinux", "timex", "uname"];

/// Upstream's collectors that we don't have; none of them is on by default.
const LACKING: [&str; 4] = ["mountstats", "pcidevice", "qdisc", "wifi"];

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

/// Upstream's fixtures, and what it prints for them.
pub(crate) struct Fixtures {
    data: PathBuf,
}

impl Fixtures {
    /// None, with a line that says so, where they are not given.
    pub(crate) fn find() -> Option<Fixtures> {
        let Some(conformance) = std::env::var_os("CONFORMANCE_DIR") else {
            println!("skipped: CONFORMANCE_DIR is not set");
            return None;
        };
        Some(Fixtures {
            data: PathBuf::from(conformance).join("node_exporter"),
        })
    }

    /// Writes those below a path into a folder.
    pub(crate) fn unpack(&self, path: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let status = Command::new("tar")
            .arg("xzf")
            .arg(self.data.join("fixtures.tar.gz"))
            .arg("-C")
            .arg(folder.path())
            .arg(path)
            .status()
            .unwrap();
        assert!(status.success());
        folder
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
}

/// A machine that is made of the fixtures.
fn host_with(fixtures: &Path) -> Host {
    let host = Host::install();
    host.mount("/collector", fixtures.join("collector"))
        .set_page_bytes(4096)
        .set_time_zone(Zone {
            abbreviation: "UTC".to_owned(),
            offset_seconds: 0,
        });
    host
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
    "collector.sysctl.include": ["fs.file-nr", "fs.file-nr:total,current,max", "kernel.threads-max"],
    "collector.sysctl.include-info": ["kernel.seccomp.actions_avail"],
    "collector.textfile.directory": "/collector/fixtures/textfile/two_metric_files/",
    "collector": {
        "buddyinfo": true,
        "cgroups": true,
        "cpu_vulnerabilities": true,
        "drbd": true,
        "interrupts": true,
        "ksmd": true,
        "lnstat": true,
        "meminfo_numa": true,
        "processes": true,
        "slabinfo": true,
        "softirqs": true,
        "sysctl": true,
        "xfrm": true,
        "zoneinfo": true
    }
}"#;

#[test]
fn gives_what_upstream_gives() {
    let Some(fixtures) = Fixtures::find() else {
        return;
    };
    let folder = fixtures.unpack("collector/fixtures");
    let _host = host_with(folder.path());
    let mut node: Node = testing::exporter(CONFIG).unwrap();
    let given = given(&testing::collect(&mut node).unwrap());
    assert_eq!(node.told, BTreeMap::new(), "every collector succeeds");

    let expected = fixtures.expected("expected.txt");
    let collectors = fixtures.collectors();
    let mut differences = Vec::new();
    let mut compared = 0;
    for (name, expected) in &expected {
        let collector = collectors.get(name).map_or("", String::as_str);
        // What stands in brackets is of upstream's program itself.
        let unstable = UNSTABLE.contains(&name.as_str()) || collector.starts_with('(');
        if unstable || LIVE.contains(&collector) || LACKING.contains(&collector) {
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
        // The fixtures hold processes, but not their threads.
        let of_runs = [
            "node_processes_threads_state",
            "node_exporter_build_info",
            "node_scrape_collector_duration_seconds",
        ];
        if !expected.contains_key(name) && !of_runs.contains(&name.as_str()) {
            differences.push(format!("upstream has no {name}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(compared > 1050, "only {compared} families compared");
    println!("{compared} families compared");
    let success = &given["node_scrape_collector_success"].series;
    assert!(
        success.iter().all(|(_, _, value)| value == "1"),
        "{success:?}"
    );
}

/// Files that are cut off, empty, gone or full of nonsense: each collector may fail, and none takes
/// anything from the others or from itself the next time.
#[test]
fn mangled_files_never_fail_the_collection() {
    let Some(fixtures) = Fixtures::find() else {
        return;
    };
    let folder = fixtures.unpack("collector/fixtures");
    let _host = host_with(folder.path());
    let mut originals = Vec::new();
    for part in ["proc", "sys", "udev", "textfile/two_metric_files"] {
        read_all(
            &folder.path().join("collector/fixtures").join(part),
            &mut originals,
        );
    }
    assert!(originals.len() > 1500, "only {} files", originals.len());
    let mut node: Node = testing::exporter(CONFIG).unwrap();
    let healthy = given(&testing::collect(&mut node).unwrap()).len();
    let mut random = Random(0x5eed);
    for round in 0..4 {
        let mut mangled = Vec::new();
        for (path, content) in &originals {
            // From some files to all of them.
            if random.below(4) <= round {
                random.mangle(path, content);
                mangled.push((path, content));
            }
        }
        let families = testing::collect(&mut node);
        let families = families.unwrap_or_else(|error| panic!("round {round}: {error}"));
        let success = &given(&families)["node_scrape_collector_success"];
        assert_eq!(
            success.series.len(),
            node.collectors.linux.len(),
            "round {round}"
        );
        for (path, content) in mangled {
            std::fs::write(path, content).unwrap();
        }
    }
    assert_eq!(given(&testing::collect(&mut node).unwrap()).len(), healthy);
    assert_eq!(node.told, BTreeMap::new());
}

fn read_all(folder: &Path, out: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            read_all(&entry.path(), out);
        } else if kind.is_file() {
            out.push((entry.path(), std::fs::read(entry.path()).unwrap()));
        }
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    fn mangle(&mut self, path: &Path, content: &[u8]) {
        const NONSENSE: [&[u8]; 10] = [
            b"",
            b"\n",
            b" : \n",
            b"-1\n",
            b"99999999999999999999999999\n",
            b"nan inf 1e999 0x\n",
            b"\xff\xfe\x00\n",
            b"a b c d e f g h i j k l m n o p q r s t u v\n",
            "\u{e4}\u{fc}\u{1f600}[0](/)%\n".as_bytes(),
            b"name type data\nx 4 y\n",
        ];
        let mut bytes = content.to_vec();
        let at = self.below(bytes.len() as u64 + 1) as usize;
        match self.below(5) {
            0 => bytes.truncate(at),
            1 => bytes = NONSENSE[self.below(NONSENSE.len() as u64) as usize].to_vec(),
            2 => bytes.extend_from_slice(content),
            3 => bytes = bytes.split_off(at),
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = self.below(256) as u8;
                }
            }
        }
        std::fs::write(path, bytes).unwrap();
    }
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
    let Some(fixtures) = Fixtures::find() else {
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
        node.collectors
            .linux
            .iter()
            .map(|(name, _)| *name)
            .collect()
    };
    let json = r#"{"collector.disable-defaults": true, "collector": {"stat": true, "cpu": true}}"#;
    assert_eq!(names(json), ["cpu", "stat"]);
    let all = names("{}").len();
    let json = r#"{"no-collector.arp": true, "collector.zfs": false}"#;
    assert_eq!(names(json).len(), all - 2);
}

#[test]
fn the_readme_knows_every_option_and_collector() {
    let readme = include_str!("../README.md");
    let options = Options::new(Config::default()).unwrap();
    Machine::new(&options).unwrap();
    Chosen::new(&options).unwrap();
    for name in options.known() {
        let collector = name
            .strip_prefix("collector.")
            .filter(|rest| !rest.contains('.'));
        let short = ["-exclude", "bugs-include"]
            .iter()
            .any(|end| name.ends_with(end));
        let found = match collector {
            Some("disable-defaults") | None => short || readme.contains(&format!("`{name}`")),
            Some(collector) => readme.contains(collector),
        };
        assert!(found, "{name}");
    }
}
