//! `prometheus.yml`, the files it names, and what Narthex does of it.
//!
//! Every field of Prometheus is taken. One whose function Narthex lacks is checked all the same,
//! and a notice says that nothing will come of it.

mod discovery;
pub(crate) mod relabel;
pub(crate) mod rules;
pub(crate) mod scrape;

use std::collections::BTreeMap;
use std::path::PathBuf;

use narthex_http_client::HttpClientConfig;
use narthex_model::Labels;
use narthex_relabel::RelabelRule;
use narthex_rules::GroupConfig;
use narthex_scrape::config::JobConfig;

use crate::Overrides;
use crate::error::{Faults, Position};
use crate::reading::{Document, Reading, note};
use crate::schema::{
    Kind,
    prometheus::{PROMETHEUS, SCRAPE_FILE},
};
use crate::yaml::Node;

pub(crate) use scrape::Defaults;

/// What `global` says, defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Global {
    pub scrape_interval_ms: u64,
    pub scrape_timeout_ms: u64,
    pub evaluation_interval_ms: u64,
    pub rule_query_offset_ms: u64,
    /// Environment variables filled in.
    pub external_labels: Labels,
    /// Where queries are logged, if they are.
    pub query_log_file: Option<PathBuf>,
    /// `metric_name_validation_scheme: legacy`.
    pub legacy_names: bool,
}

impl Default for Global {
    fn default() -> Self {
        Global {
            scrape_interval_ms: 60_000,
            scrape_timeout_ms: 10_000,
            evaluation_interval_ms: 60_000,
            rule_query_offset_ms: 0,
            external_labels: Labels::empty(),
            query_log_file: None,
            legacy_names: false,
        }
    }
}

/// `alerting`: where alerts go besides the receivers of our own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Alerting {
    pub relabel: Vec<RelabelRule>,
    pub alertmanagers: Vec<ExternalAlertmanagers>,
    /// Their addresses: a job per entry, of the name that stands there.
    pub discovery: narthex_discovery::Config,
}

/// An entry of `alertmanagers`.
#[derive(Clone, Debug, PartialEq)]
pub struct ExternalAlertmanagers {
    /// Its job in [`Alerting::discovery`], as `alertmanager/0`.
    pub job: String,
    pub scheme: String,
    /// Before `/api/v2/alerts`.
    pub path_prefix: String,
    pub timeout_ms: u64,
    /// On the targets.
    pub relabel: Vec<RelabelRule>,
    /// On the alerts, after [`Alerting::relabel`].
    pub alert_relabel: Vec<RelabelRule>,
    pub http: HttpClientConfig,
}

/// `storage`. What is `None` is left to the flags.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Storage {
    pub retention_ms: Option<u64>,
    pub retention_size_bytes: Option<u64>,
    pub retention_percentage: Option<f64>,
    pub out_of_order_time_window_ms: u64,
    /// How many exemplars are kept in all.
    pub exemplar_limit: Option<usize>,
}

/// All of `prometheus.yml` but scraping, which `narthex.yml` completes.
pub(crate) struct Built {
    pub global: Global,
    pub defaults: Defaults,
    pub jobs: Vec<JobConfig>,
    pub discovery: narthex_discovery::Config,
    pub rule_groups: Vec<GroupConfig>,
    pub alerting: Alerting,
    pub storage: Storage,
}

pub(crate) const SHAPE: Kind = Kind::Object(&PROMETHEUS);

pub(crate) fn build(main: &Document, overrides: &Overrides, reading: &mut Reading) -> Built {
    let root = &main.root;
    let (global, defaults) = reading.build(&main.path, |faults, notices| {
        let global = root.part("global");
        scrape::global(
            global,
            &main.directory,
            overrides.environment,
            faults,
            notices,
        )
    });
    let scraping = scraping(main, &defaults, reading);
    let rule_groups = rules::groups(main, &global, &overrides.parser, reading);
    let (alerting, storage) = reading.build(&main.path, |faults, notices| {
        check_remote(root, global.legacy_names, faults);
        check_otlp(root.part("otlp"), global.legacy_names, faults);
        note_unsupported(root, notices);
        (
            alerting(main, global.legacy_names, faults, notices),
            storage(root.part("storage")),
        )
    });
    Built {
        global,
        defaults,
        jobs: scraping.jobs,
        discovery: scraping.discovery,
        rule_groups,
        alerting,
        storage,
    }
}

#[derive(Default)]
struct Scraping {
    jobs: Vec<JobConfig>,
    discovery: narthex_discovery::Config,
    /// Where each job stands.
    places: BTreeMap<String, (PathBuf, Position)>,
}

/// The jobs of the main file and of all `scrape_config_files`.
fn scraping(main: &Document, defaults: &Defaults, reading: &mut Reading) -> Scraping {
    let mut scraping = Scraping::default();
    scraping.add(main, defaults, reading);
    for pattern in main.root.part("scrape_config_files").items() {
        for path in rules::matching(main, pattern, reading) {
            let shape = Kind::Object(&SCRAPE_FILE);
            if let Some(document) = reading.document(&path, shape, "") {
                scraping.add(&document, defaults, reading);
            }
        }
    }
    scraping
}

impl Scraping {
    fn add(&mut self, document: &Document, defaults: &Defaults, reading: &mut Reading) {
        reading.build(&document.path, |faults, notices| {
            for node in document.root.part("scrape_configs").items() {
                self.add_job(node, document, defaults, faults, notices);
            }
        });
    }

    fn add_job(
        &mut self,
        node: &Node,
        document: &Document,
        defaults: &Defaults,
        faults: &mut Faults,
        notices: &mut Vec<String>,
    ) {
        let job = scrape::job(node, defaults, &document.directory, faults, notices);
        let at = node.place_of("job_name");
        if let Some((path, first)) = self.places.get(&job.job_name) {
            faults.push(
                at,
                &node.field_of("job_name"),
                format!(
                    "found multiple scrape configs with job name \"{}\", the first in {}:{}",
                    job.job_name,
                    path.display(),
                    first.line
                ),
            );
            return;
        }
        let relabels = !job.relabel.is_empty();
        let entries = discovery::entries(node, &document.directory, relabels, faults, notices);
        let place = (document.path.clone(), at);
        self.places.insert(job.job_name.clone(), place);
        self.discovery.jobs.insert(job.job_name.clone(), entries);
        self.jobs.push(job);
    }
}

fn alerting(
    main: &Document,
    legacy_names: bool,
    faults: &mut Faults,
    notices: &mut Vec<String>,
) -> Alerting {
    let node = main.root.part("alerting");
    let mut alerting = Alerting {
        relabel: relabel::rules(node, "alert_relabel_configs", legacy_names, faults),
        ..Alerting::default()
    };
    for (index, node) in node.part("alertmanagers").items().iter().enumerate() {
        if let Some(field) = node.get("sigv4").filter(|part| !part.is_null()) {
            note(
                notices,
                field,
                "signing with AWS keys is not supported yet: requests go out unsigned",
            );
        }
        let relabel = relabel::rules(node, "relabel_configs", legacy_names, faults);
        let job = format!("alertmanager/{index}");
        let relabels = !relabel.is_empty();
        let entries = discovery::entries(node, &main.directory, relabels, faults, notices);
        alerting.discovery.jobs.insert(job.clone(), entries);
        alerting.alertmanagers.push(ExternalAlertmanagers {
            job,
            scheme: node.string("scheme").unwrap_or("http").to_owned(),
            path_prefix: node.string("path_prefix").unwrap_or("/").to_owned(),
            timeout_ms: node.duration_ms("timeout").unwrap_or(10_000),
            relabel,
            alert_relabel: relabel::rules(node, "alert_relabel_configs", legacy_names, faults),
            http: crate::http::client(node, &main.directory, notices),
        });
    }
    alerting
}

fn storage(node: &Node) -> Storage {
    let tsdb = node.part("tsdb");
    let retention = tsdb.part("retention");
    let exemplars = node.part("exemplars").float("max_exemplars");
    Storage {
        retention_ms: retention.duration_ms("time").filter(|ms| *ms > 0),
        retention_size_bytes: retention.size_bytes("size").filter(|bytes| *bytes > 0),
        retention_percentage: retention.float("percentage").filter(|share| *share > 0.0),
        out_of_order_time_window_ms: tsdb.duration_ms("out_of_order_time_window").unwrap_or(0),
        // As upstream: 0 and less keep none.
        exemplar_limit: exemplars.map(|limit| limit.max(0.0) as usize),
    }
}

/// What is checked although nothing is sent: a wrong file stays wrong.
fn check_remote(root: &Node, legacy_names: bool, faults: &mut Faults) {
    for section in ["remote_write", "remote_read"] {
        let mut names: BTreeMap<&str, Position> = BTreeMap::new();
        for node in root.part(section).items() {
            relabel::rules(node, "write_relabel_configs", legacy_names, faults);
            let Some(name) = node.string("name") else {
                continue;
            };
            let at = node.place_of("name");
            if let Some(first) = names.insert(name, at) {
                faults.push(
                    at,
                    &node.field_of("name"),
                    format!(
                        "found multiple entries of {section} with the name \"{name}\", the first \
                         in line {}",
                        first.line
                    ),
                );
            }
        }
    }
}

fn check_otlp(node: &Node, legacy_names: bool, faults: &mut Faults) {
    let strategy = node.string("translation_strategy").unwrap_or_default();
    let utf8 = matches!(strategy, "NoUTF8EscapingWithSuffixes" | "NoTranslation");
    if utf8 && legacy_names {
        faults.push(
            node.place_of("translation_strategy"),
            &node.field_of("translation_strategy"),
            format!("`{strategy}` keeps UTF-8 names, which the legacy validation scheme forbids"),
        );
    }
}

/// Parts of the file that nothing comes of yet.
fn note_unsupported(root: &Node, notices: &mut Vec<String>) {
    for (name, text) in [
        (
            "remote_write",
            "remote_write is not supported yet: nothing will be sent",
        ),
        (
            "remote_read",
            "remote_read is not supported yet: queries see local samples only",
        ),
        ("tracing", "tracing is not supported yet: no spans are sent"),
        ("otlp", "OTLP is not supported yet: nothing is received"),
    ] {
        let used = |part: &&Node| !part.items().is_empty() || !part.entries().is_empty();
        if let Some(part) = root.get(name).filter(used) {
            note(notices, part, text);
        }
    }
    if let Some(field) = root.part("runtime").get("gogc") {
        note(
            notices,
            field,
            "has no effect: there is no garbage collector to tune",
        );
    }
}
