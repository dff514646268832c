//! `global` and `scrape_configs`: the jobs, with the global defaults filled in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use narthex_model::{Labels, duration};
use narthex_scrape::config::{JobConfig, Limits, ScrapeProtocol};

use crate::error::Faults;
use crate::prometheus::{Global, relabel};
use crate::reading::{note, resolve};
use crate::yaml::Node;

const DEFAULT_INTERVAL_MS: u64 = 60_000;
const DEFAULT_TIMEOUT_MS: u64 = 10_000;

const DEFAULT_PROTOCOLS: [ScrapeProtocol; 4] = [
    ScrapeProtocol::OpenMetricsText1_0_0,
    ScrapeProtocol::OpenMetricsText0_0_1,
    ScrapeProtocol::PrometheusText1_0_0,
    ScrapeProtocol::PrometheusText0_0_4,
];

/// What a job takes over from `global` where it doesn't say otherwise.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Defaults {
    pub interval_ms: u64,
    pub timeout_ms: u64,
    pub legacy_names: bool,
    escaping: Option<String>,
    protocols: Option<Vec<ScrapeProtocol>>,
    limits: Limits,
    extra_scrape_metrics: bool,
    native_histograms: bool,
}

/// What has no function yet, for a job as for `global`.
const UNSUPPORTED: [(&str, &str); 6] = [
    (
        "scrape_native_histograms",
        "native histograms are not scraped yet: classic ones are",
    ),
    (
        "convert_classic_histograms_to_nhcb",
        "is not supported yet: classic histograms stay as they are",
    ),
    (
        "always_scrape_classic_histograms",
        "has no effect yet: classic histograms are always scraped",
    ),
    (
        "scrape_failure_log_file",
        "is not supported yet: failures are in the log and in `up`",
    ),
    (
        "native_histogram_min_bucket_factor",
        "native histograms are not scraped yet",
    ),
    (
        "native_histogram_bucket_limit",
        "native histograms are not scraped yet",
    ),
];

fn note_unsupported(node: &Node, notices: &mut Vec<String>) {
    for (name, text) in UNSUPPORTED {
        let is_off =
            matches!(node.string(name), None | Some("0")) || node.boolean(name) == Some(false);
        if let Some(field) = node.get(name).filter(|_| !is_off) {
            note(notices, field, text);
        }
    }
    let escaping = node.string("metric_name_escaping_scheme");
    if let Some(field) = node.get("metric_name_escaping_scheme")
        && escaping.is_some_and(|scheme| scheme != "allow-utf-8")
    {
        note(
            notices,
            field,
            "escaping is not supported yet: names are taken as the target gives them",
        );
    }
    let protocols = node.part("scrape_protocols").items();
    if let Some(item) = protocols
        .iter()
        .find(|item| item.text() == Some("PrometheusProto"))
    {
        note(
            notices,
            item,
            "the protobuf format is not read yet: the text formats are asked for",
        );
    }
}

/// Reads `global`; `environment` fills in the external labels, files are relative to `directory`.
pub(crate) fn global(
    node: &Node,
    directory: &Path,
    environment: fn(&str) -> Option<String>,
    faults: &mut Faults,
    notices: &mut Vec<String>,
) -> (Global, Defaults) {
    note_unsupported(node, notices);
    let interval_ms = positive(node.duration_ms("scrape_interval")).unwrap_or(DEFAULT_INTERVAL_MS);
    let timeout_ms = timeout(node, interval_ms, DEFAULT_TIMEOUT_MS, faults);
    let (legacy_names, escaping) = names(node, false, None, faults);
    let defaults = Defaults {
        interval_ms,
        timeout_ms,
        legacy_names,
        escaping,
        protocols: protocols(node, faults),
        limits: limits(node, &Limits::default()),
        extra_scrape_metrics: node.boolean("extra_scrape_metrics").unwrap_or(false),
        native_histograms: node.boolean("scrape_native_histograms").unwrap_or(false),
    };
    let global = Global {
        scrape_interval_ms: interval_ms,
        scrape_timeout_ms: timeout_ms,
        evaluation_interval_ms: positive(node.duration_ms("evaluation_interval"))
            .unwrap_or(DEFAULT_INTERVAL_MS),
        rule_query_offset_ms: node.duration_ms("rule_query_offset").unwrap_or(0),
        external_labels: external_labels(node, environment, notices),
        query_log_file: query_log_file(node, directory),
        legacy_names,
    };
    (global, defaults)
}

fn query_log_file(node: &Node, directory: &Path) -> Option<PathBuf> {
    let name = node.get("query_log_file")?.text()?;
    (!name.is_empty()).then(|| resolve(directory, name))
}

fn positive(duration_ms: Option<u64>) -> Option<u64> {
    duration_ms.filter(|ms| *ms > 0)
}

/// The values may name environment variables.
fn external_labels(
    node: &Node,
    environment: fn(&str) -> Option<String>,
    notices: &mut Vec<String>,
) -> Labels {
    let part = node.part("external_labels");
    let mut missing = Vec::new();
    let mut look_up = |name: &str| {
        environment(name).unwrap_or_else(|| {
            missing.push(name.to_owned());
            String::new()
        })
    };
    let pairs: Vec<(String, String)> = node
        .pairs("external_labels")
        .map(|(name, value)| (name.to_owned(), expand(value, &mut look_up)))
        .collect();
    for name in missing {
        note(
            notices,
            part,
            &format!("the environment variable {name} is not set: it stands for nothing"),
        );
    }
    Labels::from_pairs(pairs)
}

/// `$name` and `${name}` become what `look_up` says, `$$` one dollar.
fn expand(text: &str, look_up: &mut impl FnMut(&str) -> String) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let word = after.len()
            - after
                .trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_')
                .len();
        if let Some(stripped) = after.strip_prefix('$') {
            out.push('$');
            rest = stripped;
        } else if let Some((name, stripped)) = after
            .strip_prefix('{')
            .and_then(|inner| inner.split_once('}'))
        {
            out.push_str(&look_up(name));
            rest = stripped;
        } else if word > 0 {
            let (name, stripped) = after.split_at(word);
            out.push_str(&look_up(name));
            rest = stripped;
        } else {
            rest = after;
        }
    }
    out + rest
}

/// The explicit timeout, or the default where the interval leaves room for it.
fn timeout(node: &Node, interval_ms: u64, default_ms: u64, faults: &mut Faults) -> u64 {
    match positive(node.duration_ms("scrape_timeout")) {
        None => default_ms.min(interval_ms),
        Some(timeout_ms) => {
            if timeout_ms > interval_ms {
                faults.push(
                    node.place_of("scrape_timeout"),
                    &node.field_of("scrape_timeout"),
                    format!(
                        "scrape timeout greater than scrape interval ({} > {})",
                        duration::format_ms(timeout_ms),
                        duration::format_ms(interval_ms)
                    ),
                );
            }
            timeout_ms
        }
    }
}

/// The two fields on names; what `global` says of escaping holds only under its own scheme.
fn names(
    node: &Node,
    default_legacy: bool,
    default_escaping: Option<&str>,
    faults: &mut Faults,
) -> (bool, Option<String>) {
    let legacy = match node.string("metric_name_validation_scheme") {
        Some(scheme) => scheme == "legacy",
        None => default_legacy,
    };
    let own = node.string("metric_name_escaping_scheme");
    let conflict = legacy && own.or(default_escaping) == Some("allow-utf-8");
    if conflict {
        faults.push(
            node.place_of("metric_name_escaping_scheme"),
            &node.field_of("metric_name_escaping_scheme"),
            "utf8 metric names requested but validation scheme is not set to UTF8: `allow-utf-8` \
             and `legacy` exclude each other",
        );
    }
    (legacy, own.or(default_escaping).map(str::to_owned))
}

fn protocols(node: &Node, faults: &mut Faults) -> Option<Vec<ScrapeProtocol>> {
    let list = node
        .get("scrape_protocols")
        .filter(|list| !list.is_null())?;
    let mut found = Vec::new();
    for item in list.items() {
        let Some(protocol) = item.text().and_then(protocol) else {
            continue;
        };
        if found.contains(&protocol) {
            faults.push(
                item.at,
                &item.path,
                format!("duplicated protocol `{}`", item.text().unwrap_or_default()),
            );
        }
        found.push(protocol);
    }
    if found.is_empty() {
        faults.push(
            list.at,
            &list.path,
            "scrape_protocols cannot be empty: leave it out for the default",
        );
    }
    Some(found)
}

fn protocol(name: &str) -> Option<ScrapeProtocol> {
    Some(match name {
        "PrometheusProto" => ScrapeProtocol::PrometheusProto,
        "PrometheusText0.0.4" => ScrapeProtocol::PrometheusText0_0_4,
        "PrometheusText1.0.0" => ScrapeProtocol::PrometheusText1_0_0,
        "OpenMetricsText0.0.1" => ScrapeProtocol::OpenMetricsText0_0_1,
        "OpenMetricsText1.0.0" => ScrapeProtocol::OpenMetricsText1_0_0,
        _ => return None,
    })
}

fn limits(node: &Node, default: &Limits) -> Limits {
    // In the file 0 is "not set" as much as "none".
    let count = |name: &str, default: u64| positive(node.whole(name)).unwrap_or(default);
    Limits {
        body_size_bytes: positive(node.size_bytes("body_size_limit"))
            .unwrap_or(default.body_size_bytes),
        samples: count("sample_limit", default.samples),
        targets: count("target_limit", default.targets),
        labels: count("label_limit", default.labels),
        label_name_length: count("label_name_length_limit", default.label_name_length),
        label_value_length: count("label_value_length_limit", default.label_value_length),
        keep_dropped_targets: count("keep_dropped_targets", default.keep_dropped_targets),
    }
}

/// Limits of an exporter, which has fewer fields.
pub(crate) fn exporter_limits(node: &Node, defaults: &Defaults) -> Limits {
    limits(node, &defaults.limits)
}

/// One entry of `scrape_configs`.
pub(crate) fn job(
    node: &Node,
    defaults: &Defaults,
    directory: &Path,
    faults: &mut Faults,
    notices: &mut Vec<String>,
) -> JobConfig {
    note_unsupported(node, notices);
    let interval_ms = positive(node.duration_ms("scrape_interval")).unwrap_or(defaults.interval_ms);
    let inherited = defaults.escaping.as_deref();
    let (legacy_names, _) = names(node, defaults.legacy_names, inherited, faults);
    JobConfig {
        job_name: node.string("job_name").unwrap_or_default().to_owned(),
        scrape_interval_ms: interval_ms,
        scrape_timeout_ms: timeout(node, interval_ms, defaults.timeout_ms, faults),
        scrape_protocols: protocols(node, faults)
            .or_else(|| defaults.protocols.clone())
            .unwrap_or_else(|| DEFAULT_PROTOCOLS.to_vec()),
        fallback_scrape_protocol: node.string("fallback_scrape_protocol").and_then(protocol),
        metrics_path: node.string("metrics_path").unwrap_or("/metrics").to_owned(),
        scheme: node.string("scheme").unwrap_or("http").to_owned(),
        params: params(node),
        honor_labels: node.boolean("honor_labels").unwrap_or(false),
        honor_timestamps: node.boolean("honor_timestamps").unwrap_or(true),
        track_timestamps_staleness: node.boolean("track_timestamps_staleness").unwrap_or(false),
        enable_compression: node.boolean("enable_compression").unwrap_or(true),
        extra_scrape_metrics: node
            .boolean("extra_scrape_metrics")
            .unwrap_or(defaults.extra_scrape_metrics),
        legacy_names,
        limits: limits(node, &defaults.limits),
        relabel: relabel::rules(node, "relabel_configs", legacy_names, faults),
        metric_relabel: relabel::rules(node, "metric_relabel_configs", legacy_names, faults),
        http: crate::http::client(node, directory, notices),
    }
}

fn params(node: &Node) -> BTreeMap<String, Vec<String>> {
    let part = node.part("params");
    let entries = part.entries().iter();
    entries
        .map(|entry| (entry.key.clone(), part.strings(&entry.key)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_in_external_labels() {
        let mut look_up = |name: &str| match name {
            "A" => "a".to_owned(),
            "LONG_1" => "long".to_owned(),
            _ => String::new(),
        };
        for (text, expected) in [
            ("$A", "a"),
            ("x-${A}-y", "x-a-y"),
            ("$LONG_1.", "long."),
            ("$$A", "$A"),
            ("$B|", "|"),
            ("100%$", "100%"),
            ("${", "{"),
            ("plain", "plain"),
        ] {
            assert_eq!(expand(text, &mut look_up), expected, "{text}");
        }
    }
}
