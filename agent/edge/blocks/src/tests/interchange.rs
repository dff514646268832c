//! Blocks that go to and come from Prometheus's own tools.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use narthex_model::histogram::CounterReset;
use narthex_model::{Labels, METRIC_NAME, SampleValue};
use narthex_storage::Queryable;

use super::common::*;
use super::measure::START_MS;
use crate::{Blocks, NewBlock, Options, steady, verify};

/// Where promtool and prometheus are.
pub(crate) struct Tools(PathBuf);

impl Tools {
    pub(crate) fn find() -> Option<Self> {
        let Some(folder) = std::env::var_os("NARTHEX_TEST_TOOLS") else {
            println!("skipped: NARTHEX_TEST_TOOLS is not set");
            return None;
        };
        let tools = Tools(folder.into());
        if !tools.0.join("promtool").exists() || !tools.0.join("prometheus").exists() {
            println!("skipped: no promtool and prometheus in NARTHEX_TEST_TOOLS");
            return None;
        }
        Some(tools)
    }

    fn promtool(&self, arguments: &[&str], path: &[&Path]) -> String {
        let mut command = Command::new(self.0.join("promtool"));
        let output = command
            .arg("tsdb")
            .args(arguments)
            .args(path)
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "promtool {arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn create_blocks(&self, text: &Path, data: &Path) {
        self.promtool(&["create-blocks-from", "openmetrics"], &[text, data]);
    }

    /// The floats of a data folder.
    fn dump(&self, data: &Path) -> Content {
        // It wants the folder of the log.
        fs::create_dir_all(data.join("wal")).unwrap();
        let mut found = Content::new();
        let names: std::collections::HashMap<String, Labels> = everything(data)
            .keys()
            .map(|labels| (labels.to_string(), labels.clone()))
            .collect();
        for line in self.promtool(&["dump"], &[data]).lines() {
            let mut parts = line.rsplitn(3, ' ');
            let time_ms = parts.next().unwrap().parse().unwrap();
            let value: f64 = parts.next().unwrap().parse().unwrap();
            let labels = names.get(parts.next().unwrap());
            let labels = labels.unwrap_or_else(|| panic!("unknown series: {line}"));
            let samples = found.entry(labels.clone()).or_default();
            samples.insert(time_ms, SampleValue::Float(value));
        }
        found
    }
}

fn everything(data: &Path) -> Content {
    let blocks = Blocks::open_read_only(data, metrics()).unwrap();
    assert!(blocks.unreadable().is_empty(), "{:?}", blocks.unreadable());
    content(&blocks.select(&select(&[], i64::MIN, i64::MAX)).unwrap())
}

/// The floats of `content`, with one NaN for all.
fn plain_floats(content: &Content) -> Content {
    let plain = |(time_ms, value): (&i64, &SampleValue)| {
        let value = value.as_float()?;
        let value = if value.is_nan() { f64::NAN } else { value };
        Some((*time_ms, SampleValue::Float(value)))
    };
    let series = content.iter().map(|(labels, samples)| {
        (
            labels.clone(),
            samples.iter().filter_map(plain).collect::<Samples>(),
        )
    });
    series.filter(|(_, samples)| !samples.is_empty()).collect()
}

pub(crate) fn write_open_metrics(content: &Content, path: &Path) {
    let mut text = String::new();
    let mut family = String::new();
    for (labels, samples) in content {
        let name = labels.metric_name().unwrap();
        if name != family {
            name.clone_into(&mut family);
            writeln!(text, "# TYPE {name} unknown").unwrap();
        }
        let pair = |label: &narthex_model::Label| {
            format!(
                "{}={}",
                label.name,
                narthex_model::labels::quoted(&label.value)
            )
        };
        let pairs: Vec<String> = labels.without(METRIC_NAME).iter().map(pair).collect();
        let pairs = pairs.join(",");
        for (time_ms, value) in samples {
            let value = value.as_float().unwrap();
            let (seconds, rest) = (time_ms / 1000, time_ms % 1000);
            writeln!(text, "{name}{{{pairs}}} {value} {seconds}.{rest:03}").unwrap();
        }
    }
    text.push_str("# EOF\n");
    fs::write(path, text).unwrap();
}

fn sample_content() -> Content {
    let mut content = Content::new();
    for (number, name) in ["requests_total", "temperature", "überlauf\"\\"]
        .iter()
        .enumerate()
    {
        let times = (0..700i64).map(|scrape| START_MS + scrape * 10_000 + number as i64);
        let samples = floats(times.map(|t| (t, ((t % 86_400_000) as f64).sin() * number as f64)));
        content.insert(labels(&[("__name__", "a_metric"), ("of", name)]), samples);
    }
    let special = [f64::NAN, f64::INFINITY, -0.0, f64::MAX, 1e-310, 0.1 + 0.2];
    let special = special.iter().enumerate();
    let special = floats(special.map(|(i, v)| (START_MS + i as i64 * 1_000_000, *v)));
    content.insert(labels(&[("__name__", "special")]), special);
    for number in ["1", "2", "3"] {
        let labels = labels(&[("__name__", "short"), ("number", number)]);
        content.insert(labels, floats([(START_MS + 60_000, 1.0)]));
    }
    content
}

#[test]
fn what_promtool_wrote_is_read_whole() {
    let Some(tools) = Tools::find() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (text, data) = (folder.path().join("in.om"), folder.path().join("data"));
    let written = sample_content();
    write_open_metrics(&written, &text);
    tools.create_blocks(&text, &data);
    assert_same(
        &plain_floats(&everything(&data)),
        &plain_floats(&written),
        "promtool's",
    );
    let blocks = Blocks::open_read_only(&data, metrics()).unwrap();
    for block in blocks.loaded().iter() {
        assert_eq!(verify::verify(block, &steady).unwrap().problems, [""; 0]);
    }
    // And compacted.
    let count = blocks.loaded().len();
    let blocks = Blocks::open(&data, Options::default(), metrics()).unwrap();
    let merged = blocks.compact(&[1, 100 * 7_200_000], &steady).unwrap();
    assert!(count < 3 || !merged.is_empty());
    assert_same(
        &plain_floats(&everything(&data)),
        &plain_floats(&written),
        "compacted",
    );
}

fn write_ours(data: &Path, content: &Content) -> Blocks {
    let blocks = Blocks::open(data, Options::default(), metrics()).unwrap();
    let new = NewBlock::first_level(START_MS, START_MS + 7_200_000, &[]);
    let series = content.iter().map(|(l, s)| Ok(TestSeries::boxed(l, s)));
    blocks.write(&new, series, &steady).unwrap();
    blocks
}

#[test]
fn what_we_wrote_promtool_dumps() {
    let Some(tools) = Tools::find() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let written = sample_content();
    let blocks = write_ours(folder.path(), &written);
    assert_same(&tools.dump(folder.path()), &plain_floats(&written), "ours");
    let listed = tools.promtool(&["list"], &[folder.path()]);
    let meta = blocks.loaded()[0].meta();
    assert!(listed.contains(&meta.ulid.to_string()), "{listed}");
    assert!(
        listed.contains(&meta.stats.num_samples.to_string()),
        "{listed}"
    );
    check_analysis(&tools, &blocks, folder.path());
    // With deletions, then without what was deleted.
    let (from, to) = (START_MS + 1_000_000, START_MS + 3_000_000);
    blocks
        .delete(
            &[vec![narthex_model::Matcher::equal("of", "temperature")]],
            from,
            to,
        )
        .unwrap();
    let mut expected = written;
    let temperature = labels(&[("__name__", "a_metric"), ("of", "temperature")]);
    expected
        .get_mut(&temperature)
        .unwrap()
        .retain(|t, _| *t < from || to < *t);
    assert_same(
        &tools.dump(folder.path()),
        &plain_floats(&expected),
        "with tombstones",
    );
    blocks.clean_tombstones(&steady).unwrap();
    assert_same(
        &tools.dump(folder.path()),
        &plain_floats(&expected),
        "cleaned",
    );
}

/// Our figures are in what promtool prints.
fn check_analysis(tools: &Tools, blocks: &Blocks, data: &Path) {
    let printed = tools.promtool(&["analyze", "--limit=1"], &[data]);
    let analysis = crate::analyze::analyze(&blocks.loaded()[0], &[], 100).unwrap();
    let expected = format!(
        "Series: {}\nLabel names: {}\nPostings (unique label pairs): {}\nPostings entries (total label pairs): {}\n",
        analysis.series, analysis.label_names, analysis.label_pairs, analysis.label_pair_uses,
    );
    let lists = [
        (
            "Label pairs most involved in churning",
            analysis.churning_label_pairs,
        ),
        (
            "Label names most involved in churning",
            analysis.churning_label_names,
        ),
        ("Most common label pairs", analysis.common_label_pairs),
        (
            "Label names with highest cumulative label value length",
            analysis.long_label_values,
        ),
        ("Highest cardinality labels", analysis.cardinal_labels),
        (
            "Highest cardinality metric names",
            analysis.cardinal_metrics,
        ),
    ];
    let printed: Vec<&str> = printed.lines().filter(|line| !line.is_empty()).collect();
    let contains = |lines: &[&str]| printed.windows(lines.len()).any(|window| window == lines);
    assert!(
        contains(&expected.lines().collect::<Vec<_>>()),
        "{printed:#?}\n{expected}"
    );
    for (title, figures) in lists {
        // Which one comes first of some with one figure is chance there.
        let found = printed
            .iter()
            .skip_while(|line| !line.starts_with(title))
            .nth(1)
            .unwrap();
        let (value, name) = found.split_once(' ').unwrap();
        let value = value.parse::<u64>().unwrap();
        let is_there = figures
            .iter()
            .any(|figure| figure.name == name && figure.value == value);
        assert!(
            value == figures[0].value && is_there,
            "{title}: {found}, ours: {figures:?}"
        );
    }
}

/// The real server on a folder of ours.
struct Server {
    process: Child,
    address: String,
    _folder: tempfile::TempDir,
}

impl Server {
    fn start(tools: &Tools, data: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("prometheus.yml");
        fs::write(&config, "global: {}\n").unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let process = Command::new(tools.0.join("prometheus"))
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", data.display()))
            .arg("--storage.tsdb.retention.time=100y")
            .arg(format!("--web.listen-address={address}"))
            .current_dir(folder.path())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Server {
            process,
            address,
            _folder: folder,
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        while !server
            .get("/-/ready")
            .is_some_and(|answer| answer.contains("Ready"))
        {
            assert!(Instant::now() < deadline, "prometheus did not get ready");
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        write!(
            stream,
            "GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n",
            self.address
        )
        .ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let answer = String::from_utf8(answer).ok()?;
        Some(answer.split_once("\r\n\r\n")?.1.to_owned())
    }

    /// The samples of a range selector.
    fn samples(&self, query: &str, time_ms: i64) -> Vec<(Labels, Vec<(i64, f64)>)> {
        let escaped: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let time = time_ms / 1000;
        let path = format!("/api/v1/query?query={escaped}&time={time}");
        let answer: serde_json::Value = serde_json::from_str(&self.get(&path).unwrap()).unwrap();
        assert_eq!(answer["status"], "success", "{answer}");
        let series = answer["data"]["result"].as_array().unwrap().iter();
        let read = series.map(|series| {
            let labels = series["metric"].as_object().unwrap().iter();
            let labels = labels.map(|(n, v)| (n.as_str(), v.as_str().unwrap()));
            let sample = |sample: &serde_json::Value| {
                let time_ms = (sample[0].as_f64().unwrap() * 1000.0).round() as i64;
                (time_ms, sample[1].as_str().unwrap().parse().unwrap())
            };
            let values = series["values"].as_array().or(series["value"].as_array());
            let values = match &series["value"] {
                serde_json::Value::Null => values.unwrap().iter().map(sample).collect(),
                value => vec![sample(value)],
            };
            (Labels::from_pairs(labels), values)
        });
        read.collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn the_real_server_answers_from_our_blocks() {
    let Some(tools) = Tools::find() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let mut written = sample_content();
    let counts = |scrape: i64| (scrape * 3) as u32;
    let times = (0..470i64).map(|scrape| (scrape, START_MS + scrape * 15_000));
    let native = times.map(|(scrape, time_ms)| {
        let value = histogram(counts(scrape), CounterReset::Unknown);
        (time_ms, SampleValue::Histogram(value))
    });
    written.insert(labels(&[("__name__", "native")]), native.collect());
    drop(write_ours(folder.path(), &written));
    let server = Server::start(&tools, folder.path());
    let end_ms = START_MS + 7_200_000;
    let found = server.samples("{__name__=~\"a_metric|special|short\"}[3h]", end_ms);
    let floats: Content = found.into_iter().map(|(l, s)| (l, floats(s))).collect();
    assert_same(&floats, &plain_floats(&written), "answered");
    for scrape in [0, 119, 300, 469] {
        let time_ms = START_MS + scrape * 15_000;
        let count = server.samples("histogram_count(native)", time_ms);
        let expected = histogram(counts(scrape), CounterReset::Unknown).count;
        assert_eq!(count[0].1[0].1, expected, "scrape {scrape}");
    }
}
