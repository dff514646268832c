//! `narthex.yml`: plugins, exporters, scripts, the store, what queries may take.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use narthex_extension::{Capabilities, FileAccess, HttpAccess};
use narthex_model::Labels;
use narthex_plugin_host::config::{ExporterInstance, Grant, Limits as PluginLimits};
use narthex_scrape::config::{ExporterConfig, ExporterJob};
use narthex_script_host::config::Limits as ScriptLimits;

use crate::error::Faults;
use crate::http;
use crate::prometheus::{Defaults, Global, relabel, scrape};
use crate::reading::{Document, Reading, absolute};
use crate::scalar::{self, Share};
use crate::schema::{Kind, narthex::NARTHEX, to_json};
use crate::yaml::Node;

pub(crate) const SHAPE: Kind = Kind::Object(&NARTHEX);

/// What the rest of the configuration and the command line add to this file.
pub(crate) struct Surroundings<'a> {
    pub global: &'a Global,
    pub defaults: &'a Defaults,
    /// The jobs of `prometheus.yml`.
    pub jobs: BTreeSet<String>,
    pub instance: &'a str,
    pub plugin_cache: PathBuf,
    /// Of the machine; None where it is not known.
    pub memory_bytes: Option<u64>,
}

pub(crate) struct Built {
    pub plugin_host: narthex_plugin_host::Config,
    pub script_host: narthex_script_host::config::Config,
    pub script_interval_ms: u64,
    pub exporters: ExporterConfig,
    /// All samples go into blocks at the end, for going on with Prometheus.
    pub seal_on_stop: bool,
    pub query: QueryBudget,
}

/// What queries may take of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryBudget {
    /// For all queries and rules together.
    pub memory_bytes: u64,
    /// For one of them.
    pub memory_per_query_bytes: u64,
    /// The part of all that only rules may take.
    pub memory_for_rules_bytes: u64,
    /// For one query. None: as many as there are cores.
    pub threads: Option<usize>,
}

pub(crate) fn build(
    document: &Document,
    surroundings: &Surroundings<'_>,
    reading: &mut Reading,
) -> Built {
    let root = &document.root;
    let directory = |section: &str| {
        let named = root.part(section).string("directory");
        document.resolve(named.unwrap_or(section))
    };
    let exporters = root.part("exporters").items();
    let jobs = reading.build(&document.path, |faults, notices| {
        check_exporters(exporters, surroundings, faults, notices);
        exporters
            .iter()
            .map(|node| {
                (
                    job_of(node).to_owned(),
                    exporter_job(node, surroundings, faults),
                )
            })
            .collect()
    });
    let query = reading.build(&document.path, |faults, _| {
        query_budget(root.part("query"), surroundings.memory_bytes, faults)
    });
    let plugins = root.part("plugins");
    let grants = reading.build(&document.path, |_, notices| {
        grants(plugins.part("grants"), &document.directory, notices)
    });
    let scripts = root.part("scripts");
    Built {
        plugin_host: narthex_plugin_host::Config {
            directory: directory("plugins"),
            cache_directory: surroundings.plugin_cache.clone(),
            limits: plugin_limits(plugins.part("limits")),
            grants,
            exporters: exporters.iter().map(exporter_instance).collect(),
            disabled: plugins.strings("disabled").into_iter().collect(),
            dns_servers: plugins
                .strings("dns_servers")
                .iter()
                .filter_map(|text| dns_server(text))
                .collect(),
        },
        script_host: narthex_script_host::config::Config {
            directory: directory("scripts"),
            limits: script_limits(scripts.part("limits")),
            params: params(scripts.part("params")),
        },
        script_interval_ms: scripts
            .duration_ms("interval")
            .unwrap_or(surroundings.global.evaluation_interval_ms),
        exporters: ExporterConfig {
            defaults: default_job(surroundings),
            jobs,
            instance: surroundings.instance.to_owned(),
        },
        seal_on_stop: root
            .part("storage")
            .boolean("seal_on_stop")
            .unwrap_or(false),
        query,
    }
}

/// By default a quarter of the machine's memory, half of that for one query, and a fifth of it kept
/// for rules.
fn query_budget(node: &Node, machine_bytes: Option<u64>, faults: &mut Faults) -> QueryBudget {
    let mut given = |name: &str| {
        let bytes = match scalar::share(node.string(name)?).ok()? {
            Share::Bytes(bytes) => bytes,
            Share::Percent(percent) => match machine_bytes {
                Some(bytes) => (bytes as f64 * percent / 100.0) as u64,
                None => {
                    let message = "the machine's memory is not known: give a size, as in 6GiB";
                    faults.push(node.place_of(name), &node.field_of(name), message);
                    return None;
                }
            },
        };
        Some(bytes)
    };
    let (all, one, rules) = (
        given("memory"),
        given("memory_per_query"),
        given("memory_for_rules"),
    );
    let memory_bytes = all
        .or(machine_bytes.map(|bytes| bytes / 4))
        .unwrap_or(u64::MAX);
    for (name, bytes) in [("memory_per_query", one), ("memory_for_rules", rules)] {
        if let Some(bytes) = bytes.filter(|bytes| *bytes > memory_bytes) {
            let message = format!(
                "{bytes} bytes are more than all queries together may take ({memory_bytes} bytes, \
                 `query.memory`)"
            );
            faults.push(node.place_of(name), &node.field_of(name), message);
        }
    }
    QueryBudget {
        memory_bytes,
        memory_per_query_bytes: one.unwrap_or(memory_bytes / 2),
        memory_for_rules_bytes: rules.unwrap_or(memory_bytes / 5),
        threads: size(node.whole("threads")),
    }
}

/// The exporter's job: its plugin's name where the file gives none.
fn job_of(node: &Node) -> &str {
    node.string("job")
        .or(node.string("plugin"))
        .unwrap_or_default()
}

fn check_exporters(
    exporters: &[Node],
    surroundings: &Surroundings<'_>,
    faults: &mut Faults,
    notices: &mut Vec<String>,
) {
    let mut seen = BTreeMap::new();
    for node in exporters {
        let job = job_of(node);
        let at = node.place_of(if node.is_set("job") { "job" } else { "plugin" });
        if let Some(first) = seen.insert(job, at.line) {
            faults.push(
                at,
                &node.path,
                format!(
                    "the job \"{job}\" is there already, in line {first}: give each exporter a \
                     `job` of its own"
                ),
            );
        }
        if surroundings.jobs.contains(job) {
            notices.push(format!(
                "{}: {}: the job \"{job}\" is also in prometheus.yml: their series differ in \
                 `instance` only",
                at.line, node.path
            ));
        }
        let interval_ms = node
            .duration_ms("interval")
            .unwrap_or(surroundings.global.scrape_interval_ms);
        let timeout_ms = node.duration_ms("timeout").unwrap_or(0);
        if node.is_set("interval") && timeout_ms > interval_ms {
            faults.push(
                node.place_of("timeout"),
                &node.field_of("timeout"),
                "is longer than the interval",
            );
        }
    }
}

fn default_job(surroundings: &Surroundings<'_>) -> ExporterJob {
    ExporterJob {
        interval_ms: None,
        timeout_ms: None,
        global_interval_ms: surroundings.global.scrape_interval_ms,
        global_timeout_ms: surroundings.global.scrape_timeout_ms,
        labels: Labels::empty(),
        limits: scrape::exporter_limits(&Node::default(), surroundings.defaults),
        metric_relabel: Vec::new(),
    }
}

fn exporter_job(node: &Node, surroundings: &Surroundings<'_>, faults: &mut Faults) -> ExporterJob {
    ExporterJob {
        interval_ms: node.duration_ms("interval"),
        timeout_ms: node.duration_ms("timeout"),
        labels: Labels::from_pairs(node.pairs("labels")),
        limits: scrape::exporter_limits(node, surroundings.defaults),
        metric_relabel: relabel::rules(
            node,
            "metric_relabel_configs",
            surroundings.global.legacy_names,
            faults,
        ),
        ..default_job(surroundings)
    }
}

fn exporter_instance(node: &Node) -> ExporterInstance {
    ExporterInstance {
        job: job_of(node).to_owned(),
        plugin: node.string("plugin").unwrap_or_default().to_owned(),
        interval_ms: node.duration_ms("interval"),
        config: match node.get("config").filter(|config| !config.is_null()) {
            Some(config) => to_json(config, Kind::Anything),
            None => serde_json::Value::Object(serde_json::Map::new()),
        },
    }
}

fn plugin_limits(node: &Node) -> PluginLimits {
    let default = PluginLimits::default();
    let count = |name: &str, default: usize| size(node.whole(name)).unwrap_or(default);
    let bytes = |name: &str, default: usize| size(node.bytes(name)).unwrap_or(default);
    PluginLimits {
        memory_bytes: node.bytes("memory").unwrap_or(default.memory_bytes),
        total_memory_bytes: node
            .bytes("total_memory")
            .unwrap_or(default.total_memory_bytes),
        call_timeout_ms: node
            .duration_ms("call_timeout")
            .unwrap_or(default.call_timeout_ms),
        series: count("series", default.series),
        targets: count("targets", default.targets),
        labels: count("labels", default.labels),
        label_name_bytes: bytes("label_name_bytes", default.label_name_bytes),
        label_value_bytes: bytes("label_value_bytes", default.label_value_bytes),
        transfer_bytes: bytes("transfer_bytes", default.transfer_bytes),
        file_bytes: node.bytes("file_bytes").unwrap_or(default.file_bytes),
        http_requests: count("http_requests", default.http_requests),
        http_bytes: bytes("http_bytes", default.http_bytes),
        subscriptions: count("subscriptions", default.subscriptions),
        log_lines_per_second: node
            .whole("log_lines")
            .and_then(|lines| u32::try_from(lines).ok())
            .unwrap_or(default.log_lines_per_second),
    }
}

fn script_limits(node: &Node) -> ScriptLimits {
    let default = ScriptLimits::default();
    let count = |name: &str, default: usize| size(node.whole(name)).unwrap_or(default);
    let bytes = |name: &str, default: usize| size(node.bytes(name)).unwrap_or(default);
    ScriptLimits {
        operations: node.whole("operations").unwrap_or(default.operations),
        time_ms: node.duration_ms("time").unwrap_or(default.time_ms),
        memory_bytes: bytes("memory", default.memory_bytes),
        string_bytes: bytes("string_bytes", default.string_bytes),
        array_items: count("array_items", default.array_items),
        map_items: count("map_items", default.map_items),
        call_depth: count("call_depth", default.call_depth),
        variables: count("variables", default.variables),
        alerts: count("alerts", default.alerts),
        state_bytes: bytes("state_bytes", default.state_bytes),
    }
}

fn size(value: Option<u64>) -> Option<usize> {
    value.map(|value| usize::try_from(value).unwrap_or(usize::MAX))
}

fn grants(node: &Node, directory: &Path, notices: &mut Vec<String>) -> BTreeMap<String, Grant> {
    node.entries()
        .iter()
        .map(|entry| (entry.key.clone(), grant(&entry.value, directory, notices)))
        .collect()
}

pub(crate) fn grant(node: &Node, directory: &Path, notices: &mut Vec<String>) -> Grant {
    Grant {
        http: one_or_many(node.part("http"))
            .filter(|entry| entry.is_set("url"))
            .map(|entry| (url_of(entry), http::client(entry, directory, notices)))
            .collect(),
        capabilities: capabilities(node, directory),
    }
}

fn capabilities(node: &Node, directory: &Path) -> Capabilities {
    let list = |name: &str| -> Vec<String> {
        match node.string(name) {
            Some(one) => vec![one.to_owned()],
            None => node.strings(name),
        }
    };
    Capabilities {
        files: list("files")
            .iter()
            .map(|path| FileAccess {
                path: absolute(directory, path).display().to_string(),
            })
            .collect(),
        http: one_or_many(node.part("http"))
            .map(|entry| HttpAccess {
                url: url_of(entry),
                methods: entry.strings("methods"),
            })
            .collect(),
        dns: list("dns"),
        env: node.strings("env"),
        system: node.boolean("system").unwrap_or(false),
        query: node.boolean("query").unwrap_or(false),
    }
}

/// The items of a list, or what stands in its place.
fn one_or_many(node: &Node) -> impl Iterator<Item = &Node> {
    let one = node.text().filter(|_| !node.is_null()).map(|_| node);
    one.into_iter().chain(node.items())
}

/// Of an entry that is a URL or has one.
fn url_of(entry: &Node) -> String {
    let text = entry.text().or(entry.string("url"));
    text.unwrap_or_default().to_owned()
}

/// As it stands in `dns_servers`.
pub(crate) fn dns_server(text: &str) -> Option<SocketAddr> {
    const PORT: u16 = 53;
    let with_port = text.parse().ok();
    with_port.or_else(|| Some(SocketAddr::new(text.parse::<IpAddr>().ok()?, PORT)))
}

fn params(node: &Node) -> BTreeMap<String, serde_json::Value> {
    node.entries()
        .iter()
        .map(|entry| (entry.key.clone(), to_json(&entry.value, Kind::Anything)))
        .collect()
}
