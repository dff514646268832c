//! A plugin's test case: a folder with a recorded world, the plugin's configuration, and what it is
//! expected to give.
//!
//! `case.yml` and `http.yml` may be missing; the folder `files` is what the plugin sees as `/`.

use std::path::Path;

use jiff::Timestamp;
use narthex_model::Labels;
use narthex_plugin_host::Grant;
use narthex_plugin_host::replay::{
    Answer, Exchange, Failure, Lookup, NameKind, NameRecord, RecordedQuery, Recording, SystemFacts,
};

use crate::error::{ConfigError, Faults, verdict};
use crate::narthex::grant;
use crate::reading::{Document, Reading};
use crate::scalar;
use crate::schema::{Kind, plugin_case, to_json};
use crate::yaml::Node;

/// What the recorded clock says at first: 2026-01-01T00:00:00Z.
const CLOCK_MS: i64 = 1_767_225_600_000;

const INTERVAL_MS: u64 = 15_000;

#[derive(Clone, Debug, PartialEq)]
pub struct PluginCase {
    pub recording: Recording,
    /// The plugin's configuration, an object.
    pub config: serde_json::Value,
    /// What relative paths in a discovery's configuration are relative to.
    pub base_directory: String,
    /// None: all that the plugin wants.
    pub grant: Option<Grant>,
    /// How often an exporter is collected, and how much time passes in between.
    pub collections: u64,
    pub interval_ms: u64,
}

/// Reads the case in this folder.
pub fn plugin_case(folder: &Path) -> Result<PluginCase, ConfigError> {
    let mut reading = Reading::default();
    let case = document(
        &mut reading,
        &folder.join("case.yml"),
        Kind::Object(&plugin_case::CASE),
    );
    let http = document(
        &mut reading,
        &folder.join("http.yml"),
        Kind::Objects(&plugin_case::EXCHANGE),
    );
    let exchanges = http.map(|http| {
        reading.build(&http.path, |faults, _| {
            let items = http.root.items().iter();
            items.map(|node| exchange(node, &http, faults)).collect()
        })
    });
    let case = case.map(|case| {
        let exchanges: Vec<Exchange> = exchanges.unwrap_or_default();
        reading.build(&case.path, |faults, notices| {
            build(&case.root, folder, exchanges, faults, notices)
        })
    });
    verdict(reading.take_faults())?;
    // Without a fault there is a case.
    case.ok_or_else(|| ConfigError { faults: Vec::new() })
}

/// What is not there is empty.
fn document(reading: &mut Reading, path: &Path, shape: Kind) -> Option<Document> {
    match path.exists() {
        true => reading.document(path, shape, ""),
        false => Some(Document::new(path, Node::default())),
    }
}

fn build(
    root: &Node,
    folder: &Path,
    http: Vec<Exchange>,
    faults: &mut Faults,
    notices: &mut Vec<String>,
) -> PluginCase {
    let clock = root.string("clock").and_then(|text| text.parse().ok());
    let config = match root.get("config").filter(|config| !config.is_null()) {
        Some(config) => to_json(config, Kind::Anything),
        None => serde_json::json!({}),
    };
    let slash = Path::new("/");
    PluginCase {
        recording: Recording {
            root: folder.join("files"),
            environment: root
                .pairs("environment")
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            clock_ms: clock.map_or(CLOCK_MS, Timestamp::as_millisecond),
            duration_ms: root.duration_ms("duration").unwrap_or(0),
            http,
            dns: items(root, "dns", |node| lookup(node, faults)),
            queries: items(root, "queries", query),
            system: system(root.part("system"), faults),
            records_http: false,
        },
        config,
        base_directory: root
            .string("base_directory")
            .unwrap_or("/etc/narthex")
            .to_owned(),
        grant: root.get("grant").map(|node| grant(node, slash, notices)),
        collections: root.whole("collections").unwrap_or(1),
        interval_ms: root.duration_ms("interval").unwrap_or(INTERVAL_MS),
    }
}

fn items<T>(node: &Node, name: &str, read: impl FnMut(&Node) -> T) -> Vec<T> {
    node.part(name).items().iter().map(read).collect()
}

fn exchange(node: &Node, document: &Document, faults: &mut Faults) -> Exchange {
    let url = node.string("url").unwrap_or_default();
    Exchange {
        method: node.string("method").unwrap_or("GET").to_owned(),
        // As requests have it, with a path in any case.
        url: url::Url::parse(url).map_or_else(|_| url.to_owned(), String::from),
        answer: match node.string("error").and_then(Failure::of) {
            Some(failure) => Answer::Failed(failure),
            None => Answer::Given {
                status: node
                    .whole("status")
                    .and_then(|status| u16::try_from(status).ok())
                    .unwrap_or(200),
                headers: node
                    .pairs("headers")
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect(),
                body: body(node, document, faults).into(),
                stays_open: node.boolean("stays_open").unwrap_or(false),
            },
        },
    }
}

fn body(node: &Node, document: &Document, faults: &mut Faults) -> Vec<u8> {
    let Some(file) = node.string("body_file") else {
        return node.written("body").unwrap_or_default().into();
    };
    std::fs::read(document.resolve(file)).unwrap_or_else(|error| {
        let field = node.field_of("body_file");
        let text = format!("`{file}` can't be read: {error}");
        faults.push(node.place_of("body_file"), &field, text);
        Vec::new()
    })
}

fn lookup(node: &Node, faults: &mut Faults) -> Lookup {
    let kind = node.string("type").and_then(NameKind::of);
    let kind = kind.unwrap_or(NameKind::A);
    let mut one = |text: &Node| {
        let words = text.text().unwrap_or_default();
        name_record(kind, words).or_else(|| {
            let expected =
                "expected priority, weight, port and target, as in `10 5 9100 a.example`";
            faults.push(text.at, &text.path, format!("{expected}, got `{words}`"));
            None
        })
    };
    let records = node.get("records").map(Node::items);
    Lookup {
        name: node.string("name").unwrap_or_default().to_owned(),
        kind,
        records: records.map(|records| records.iter().filter_map(&mut one).collect()),
    }
}

fn name_record(kind: NameKind, text: &str) -> Option<NameRecord> {
    Some(match kind {
        NameKind::A | NameKind::Aaaa => NameRecord::Address(text.to_owned()),
        NameKind::Mx | NameKind::Ns => NameRecord::Name(text.to_owned()),
        NameKind::Srv => {
            let words: Vec<&str> = text.split_whitespace().collect();
            let [priority, weight, port, target] = words[..] else {
                return None;
            };
            NameRecord::Service {
                priority: priority.parse().ok()?,
                weight: weight.parse().ok()?,
                port: port.parse().ok()?,
                target: target.to_owned(),
            }
        }
    })
}

fn query(node: &Node) -> RecordedQuery {
    RecordedQuery {
        expr: node.string("expr").unwrap_or_default().to_owned(),
        series: items(node, "series", |series| {
            let values = items(series, "values", |value| {
                value.text().and_then(scalar::float).unwrap_or(f64::NAN)
            });
            (Labels::from_pairs(series.pairs("labels")), values)
        }),
    }
}

fn system(node: &Node, faults: &mut Faults) -> SystemFacts {
    if node.is_null() {
        return SystemFacts::default();
    }
    SystemFacts::from_json(to_json(node, Kind::Anything)).unwrap_or_else(|(field, message)| {
        let field = match field.as_str() {
            "" => node.path.clone(),
            field => format!("{}.{field}", node.path),
        };
        faults.push(node.at, &field, message);
        SystemFacts::default()
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(case: &str, http: &str) -> Result<PluginCase, String> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("case.yml"), case).unwrap();
        fs::write(folder.path().join("http.yml"), http).unwrap();
        fs::write(folder.path().join("body.json"), "[1]").unwrap();
        let shown = format!("{}/", folder.path().display());
        plugin_case(folder.path()).map_err(|error| error.to_string().replace(&shown, ""))
    }

    #[test]
    fn a_case_is_read() {
        let case = read(
            "config: { url: 'http://a/', n: 3 }\n\
             clock: 2026-02-03T04:05:06Z\n\
             collections: 2\n\
             grant: { files: /proc }\n\
             environment: { A: 1 }\n\
             dns:\n- { name: a.test, type: SRV, records: [1 2 3 b.test] }\n- { name: n, type: A }\n\
             queries: [{ expr: up, series: [{ labels: { job: a }, values: [1, 2.5] }] }]\n\
             system: { cpu_count: 4 }\n",
            "- { url: 'http://a', headers: { X: y }, body_file: body.json }\n\
             - { url: 'http://a/b', method: POST, error: timeout }\n",
        );
        let case = case.unwrap();
        assert_eq!(
            case.config,
            serde_json::json!({ "url": "http://a/", "n": 3 })
        );
        assert_eq!(case.recording.clock_ms, 1_770_091_506_000);
        assert_eq!((case.collections, case.interval_ms), (2, 15_000));
        assert_eq!(case.recording.environment["A"], "1");
        let [first, second] = &case.recording.http[..] else {
            panic!("{case:?}");
        };
        assert_eq!(
            (first.method.as_str(), first.url.as_str()),
            ("GET", "http://a/")
        );
        let Answer::Given { status, body, .. } = &first.answer else {
            panic!("{first:?}");
        };
        assert_eq!((*status, &body[..]), (200, &b"[1]"[..]));
        assert_eq!(second.answer, Answer::Failed(Failure::Timeout));
        assert_eq!(case.recording.dns[1].records, None);
        assert_eq!(case.recording.queries[0].series[0].1, [1.0, 2.5]);
        assert_eq!(case.grant.unwrap().capabilities.files[0].path, "/proc");
    }

    #[test]
    fn nothing_there_is_an_empty_case() {
        let folder = tempfile::tempdir().unwrap();
        let case = plugin_case(folder.path()).unwrap();
        assert_eq!(case.config, serde_json::json!({}));
        assert_eq!(
            case,
            read("", "")
                .map(|read| PluginCase {
                    recording: Recording {
                        root: case.recording.root.clone(),
                        ..read.recording
                    },
                    ..read
                })
                .unwrap()
        );
    }

    #[test]
    fn faults_are_named_with_file_and_field() {
        for (case, http, expected) in [
            (
                "colections: 2",
                "",
                "case.yml:1:1: colections: unknown field; did you mean `collections`?",
            ),
            (
                "clock: noon",
                "",
                "case.yml:1:8: clock: expected a time as in 2026-01-01T00:00:00Z, got `noon`",
            ),
            (
                "dns: [{ name: a, type: SRV, records: [b] }]",
                "",
                "case.yml:1:39: dns[0].records[0]: expected priority, weight, port and target, as \
                 in `10 5 9100 a.example`, got `b`",
            ),
            (
                "system: { cpu_count: many }",
                "",
                "case.yml:1:9: system.cpu_count: invalid type: string \"many\", expected u32",
            ),
            (
                "",
                "- { url: nowhere }",
                "http.yml:1:10: [0].url: expected a URL as in http://host:9093/path, got \
                 `nowhere`: it must start with http:// or https://",
            ),
            (
                "",
                "- { url: 'http://a/', body: x, error: name }",
                "http.yml:1:39: [0]: at most one of `body`, `body_file`, `error` may be set, here \
                 are body and error",
            ),
            ("", "url: x", "http.yml:1:1: expected a list, got a mapping"),
        ] {
            assert_eq!(read(case, http).err().as_deref(), Some(expected));
        }
        let missing = read("", "- { url: 'http://a/', body_file: none.json }").unwrap_err();
        assert!(
            missing.starts_with("http.yml:1:34: [0].body_file: `none.json` can't be read"),
            "{missing}"
        );
    }
}
