//! The shape of `prometheus.yml` and of `scrape_config_files`.

use super::http::{HTTP_CLIENT, SIGV4, TLS, check_http_client, is_free_header};
use super::{
    Field, Kind, Object, TEXT_MAP, any_key, at_least_one, at_most_one, checked, choice, count,
    discovery, duration, field, flag, is_label_name, is_url, required, text, texts,
};
use crate::error::Faults;
use crate::yaml::Node;

pub(crate) static PROMETHEUS: Object = Object::new(
    "the configuration",
    &[
        &[
            field("global", Kind::Object(&GLOBAL)),
            field("runtime", Kind::Object(&RUNTIME)),
            field("alerting", Kind::Object(&ALERTING)),
            field("rule_files", Kind::List(&Kind::Checked(is_pattern))),
            field(
                "scrape_config_files",
                Kind::List(&Kind::Checked(is_pattern)),
            ),
            field("storage", Kind::Object(&STORAGE)),
            field("tracing", Kind::Object(&TRACING)),
            field("otlp", Kind::Object(&OTLP)),
            field("remote_write", Kind::Objects(&REMOTE_WRITE)),
            field("remote_read", Kind::Objects(&REMOTE_READ)),
        ],
        SCRAPE_CONFIGS,
    ],
);

/// A file that `scrape_config_files` names.
pub(crate) static SCRAPE_FILE: Object = Object::new("a scrape_config_file", &[SCRAPE_CONFIGS]);

const SCRAPE_CONFIGS: &[Field] = &[field("scrape_configs", Kind::Objects(&SCRAPE_CONFIG))];

pub(crate) const PROTOCOLS: &[&str] = &[
    "PrometheusProto",
    "PrometheusText0.0.4",
    "PrometheusText1.0.0",
    "OpenMetricsText0.0.1",
    "OpenMetricsText1.0.0",
];

/// What `global` sets for all jobs and a job may set for itself.
const SCRAPE_DEFAULTS: &[Field] = &[
    duration("scrape_interval"),
    duration("scrape_timeout"),
    field("scrape_protocols", Kind::List(&Kind::Choice(PROTOCOLS))),
    text("scrape_failure_log_file"),
    field("body_size_limit", Kind::Size),
    count("sample_limit"),
    count("target_limit"),
    count("label_limit"),
    count("label_name_length_limit"),
    count("label_value_length_limit"),
    count("keep_dropped_targets"),
    choice("metric_name_validation_scheme", &["utf8", "legacy"]),
    choice(
        "metric_name_escaping_scheme",
        &["allow-utf-8", "underscores", "dots", "values"],
    ),
    flag("scrape_native_histograms"),
    flag("convert_classic_histograms_to_nhcb"),
    flag("always_scrape_classic_histograms"),
    flag("extra_scrape_metrics"),
];

pub(crate) static GLOBAL: Object = Object::new(
    "global",
    &[
        SCRAPE_DEFAULTS,
        &[
            duration("evaluation_interval"),
            duration("rule_query_offset"),
            text("query_log_file"),
            field("external_labels", Kind::Map(is_external_label, &Kind::Text)),
        ],
    ],
);

fn is_external_label(name: &str) -> Result<(), String> {
    match name {
        "__name__" => Err("`__name__` can't be an external label".to_owned()),
        name => is_label_name(name),
    }
}

static RUNTIME: Object = Object::new("runtime", &[&[field("gogc", Kind::Whole(-1, 1_000_000))]]);

pub(crate) static SCRAPE_CONFIG: Object = Object::new(
    "scrape_config",
    &[
        &[required("job_name", Kind::Text)],
        SCRAPE_DEFAULTS,
        &[
            choice("fallback_scrape_protocol", PROTOCOLS),
            text("metrics_path"),
            choice("scheme", &["", "http", "https"]),
            field("params", Kind::Map(any_key, &Kind::ListOrOne(&Kind::Text))),
            flag("honor_labels"),
            flag("honor_timestamps"),
            flag("track_timestamps_staleness"),
            flag("enable_compression"),
            count("native_histogram_bucket_limit"),
            field(
                "native_histogram_min_bucket_factor",
                Kind::Number(0.0, f64::MAX),
            ),
            field("relabel_configs", Kind::Objects(&RELABEL)),
            field("metric_relabel_configs", Kind::Objects(&RELABEL)),
        ],
        STATIC_CONFIGS,
        HTTP_CLIENT,
    ],
)
.with(&[check_http_client])
.open(discovery::LISTS);

const STATIC_CONFIGS: &[Field] = &[field(
    "static_configs",
    Kind::Objects(&discovery::STATIC_CONFIG),
)];

pub(crate) static RELABEL: Object = Object::new(
    "a relabel rule",
    &[&[
        field("source_labels", Kind::List(&Kind::Checked(is_label_name))),
        text("separator"),
        text("regex"),
        count("modulus"),
        text("target_label"),
        text("replacement"),
        checked("action", is_action),
    ]],
);

pub(crate) const ACTIONS: &[&str] = &[
    "replace",
    "keep",
    "drop",
    "keepequal",
    "dropequal",
    "hashmod",
    "labelmap",
    "labeldrop",
    "labelkeep",
    "lowercase",
    "uppercase",
];

fn is_action(text: &str) -> Result<(), String> {
    let lower = text.to_lowercase();
    match ACTIONS.contains(&lower.as_str()) {
        true => Ok(()),
        false => Err(format!(
            "expected one of {}, got `{text}`{}",
            ACTIONS.join(", "),
            crate::error::did_you_mean(text, ACTIONS.iter().copied())
        )),
    }
}

static ALERTING: Object = Object::new(
    "alerting",
    &[&[
        field("alert_relabel_configs", Kind::Objects(&RELABEL)),
        field("alertmanagers", Kind::Objects(&ALERTMANAGER)),
    ]],
);

static ALERTMANAGER: Object = Object::new(
    "an entry of alertmanagers",
    &[
        &[
            choice("scheme", &["", "http", "https"]),
            text("path_prefix"),
            field("timeout", Kind::PositiveDuration),
            checked("api_version", is_api_version),
            field("sigv4", Kind::Object(&SIGV4)),
            field("relabel_configs", Kind::Objects(&RELABEL)),
            field("alert_relabel_configs", Kind::Objects(&RELABEL)),
        ],
        STATIC_CONFIGS,
        HTTP_CLIENT,
    ],
)
.with(&[check_http_client, |node, faults| {
    check_one_signature(node, &["sigv4"], faults);
}])
.open(discovery::LISTS);

fn is_api_version(text: &str) -> Result<(), String> {
    match text {
        "v2" => Ok(()),
        "v1" => Err("v1 of Alertmanager's API is gone: use v2, or leave the field out".to_owned()),
        _ => Err(format!("expected v2, got `{text}`")),
    }
}

/// Ways to sign or authenticate beside the HTTP client's exclude those and each other.
fn check_one_signature(node: &Node, names: &[&str], faults: &mut Faults) {
    at_most_one(node, names, faults);
    let plain = super::http::AUTHENTICATION
        .iter()
        .find(|name| node.is_set(name));
    if let Some(signature) = names.iter().find(|name| node.is_set(name))
        && let Some(plain) = plain
    {
        faults.push(
            node.place_of(plain),
            &node.field_of(plain),
            format!("excludes `{signature}`"),
        );
    }
}

/// Only the last part of a path may hold a `*`.
fn is_pattern(text: &str) -> Result<(), String> {
    let (folder, _) = text.rsplit_once(['/', '\\']).unwrap_or(("", text));
    if text.is_empty() {
        return Err("an empty path".to_owned());
    }
    if folder.contains('*') {
        return Err(format!(
            "`{text}` has a `*` before its last part: only file names may have one"
        ));
    }
    Ok(())
}

static STORAGE: Object = Object::new(
    "storage",
    &[&[
        field("tsdb", Kind::Object(&TSDB)),
        field("exemplars", Kind::Object(&EXEMPLARS)),
    ]],
);
static TSDB: Object = Object::new(
    "tsdb",
    &[&[
        duration("out_of_order_time_window"),
        field("stale_series_compaction_threshold", Kind::Number(0.0, 1.0)),
        field("chunk_encoding", Kind::Object(&CHUNK_ENCODING)),
        field("retention", Kind::Object(&RETENTION)),
    ]],
);
static CHUNK_ENCODING: Object =
    Object::new("chunk_encoding", &[&[choice("floats", &["xor", "xor2"])]]);
static RETENTION: Object = Object::new(
    "retention",
    &[&[
        duration("time"),
        field("size", Kind::Size),
        field("percentage", Kind::Number(0.0, 100.0)),
    ]],
);
static EXEMPLARS: Object = Object::new(
    "exemplars",
    &[&[field("max_exemplars", Kind::Whole(i64::MIN, i64::MAX))]],
);

static TRACING: Object = Object::new(
    "tracing",
    &[&[
        choice("client_type", &["grpc", "http"]),
        required("endpoint", Kind::Text),
        field("sampling_fraction", Kind::Number(0.0, 1.0)),
        flag("insecure"),
        field("tls_config", Kind::Object(&TLS)),
        field("headers", Kind::Map(is_free_header, &Kind::Secret)),
        choice("compression", &["", "gzip"]),
        duration("timeout"),
    ]],
);

static OTLP: Object = Object::new(
    "otlp",
    &[&[
        flag("promote_all_resource_attributes"),
        texts("promote_resource_attributes"),
        texts("ignore_resource_attributes"),
        choice(
            "translation_strategy",
            &[
                "UnderscoreEscapingWithSuffixes",
                "UnderscoreEscapingWithoutSuffixes",
                "NoUTF8EscapingWithSuffixes",
                "NoTranslation",
            ],
        ),
        flag("keep_identifying_resource_attributes"),
        flag("convert_histograms_to_nhcb"),
        flag("promote_scope_metadata"),
        flag("label_name_underscore_sanitization"),
        flag("label_name_preserve_multiple_underscores"),
    ]],
)
.with(&[check_otlp]);

fn check_otlp(node: &Node, faults: &mut Faults) {
    let all = node.boolean("promote_all_resource_attributes") == Some(true);
    if all && node.is_set("promote_resource_attributes") {
        faults.push(
            node.place_of("promote_resource_attributes"),
            &node.field_of("promote_resource_attributes"),
            "excludes `promote_all_resource_attributes`",
        );
    }
    if !all && node.is_set("ignore_resource_attributes") {
        faults.push(
            node.place_of("ignore_resource_attributes"),
            &node.field_of("ignore_resource_attributes"),
            "has a meaning only with `promote_all_resource_attributes: true`",
        );
    }
    for name in ["promote_resource_attributes", "ignore_resource_attributes"] {
        let mut seen = Vec::new();
        for item in node.part(name).items() {
            let attribute = item.text().unwrap_or_default().trim();
            if attribute.is_empty() {
                faults.push(item.at, &item.path, "an empty attribute name");
            } else if seen.contains(&attribute) {
                faults.push(item.at, &item.path, format!("`{attribute}` stands twice"));
            }
            seen.push(attribute);
        }
    }
}

static QUEUE: Object = Object::new(
    "queue_config",
    &[&[
        field("capacity", Kind::Whole(1, i64::MAX)),
        field("max_shards", Kind::Whole(1, i64::MAX)),
        field("min_shards", Kind::Whole(1, i64::MAX)),
        field("max_samples_per_send", Kind::Whole(1, i64::MAX)),
        field("batch_send_deadline", Kind::PositiveDuration),
        field("min_backoff", Kind::PositiveDuration),
        field("max_backoff", Kind::PositiveDuration),
        flag("retry_on_http_429"),
        duration("sample_age_limit"),
    ]],
)
.with(&[|node, faults| {
    let max_shards = node.whole("max_shards").unwrap_or(50);
    if max_shards > 0 && node.whole("min_shards").unwrap_or(1) > max_shards {
        faults.push(
            node.place_of("min_shards"),
            &node.field_of("min_shards"),
            "is larger than `max_shards`",
        );
    }
    let min_backoff = node.duration_ms("min_backoff").unwrap_or(30);
    let max_backoff = node.duration_ms("max_backoff").unwrap_or(5_000);
    if min_backoff > max_backoff {
        faults.push(
            node.place_of("max_backoff"),
            &node.field_of("max_backoff"),
            "is shorter than `min_backoff`",
        );
    }
}]);

static METADATA: Object = Object::new(
    "metadata_config",
    &[&[
        flag("send"),
        duration("send_interval"),
        field("max_samples_per_send", Kind::Whole(1, i64::MAX)),
    ]],
);

static CLIENT_ID: Object = Object::new("managed_identity", &[&[text("client_id")]]);
static WORKLOAD_IDENTITY: Object = Object::new(
    "workload_identity",
    &[&[
        text("client_id"),
        text("tenant_id"),
        text("token_file_path"),
    ]],
);
static AZURE_OAUTH: Object = Object::new(
    "oauth",
    &[&[
        required("client_id", Kind::Text),
        required("client_secret", Kind::Secret),
        required("tenant_id", Kind::Text),
    ]],
);
static AZURE_CERTIFICATE: Object = Object::new(
    "certificate",
    &[&[
        required("client_id", Kind::Text),
        required("tenant_id", Kind::Text),
        required("certificate_path", Kind::Text),
        text("certificate_key_path"),
        super::secret("certificate_password"),
        flag("send_certificate_chain"),
    ]],
);
static AZURE_SDK: Object = Object::new("sdk", &[&[text("tenant_id")]]);
static AZURE_AD: Object = Object::new(
    "azuread",
    &[&[
        choice("cloud", &["AzurePublic", "AzureChina", "AzureGovernment"]),
        field("managed_identity", Kind::Object(&CLIENT_ID)),
        field("workload_identity", Kind::Object(&WORKLOAD_IDENTITY)),
        field("oauth", Kind::Object(&AZURE_OAUTH)),
        field("certificate", Kind::Object(&AZURE_CERTIFICATE)),
        field("sdk", Kind::Object(&AZURE_SDK)),
        text("scope"),
    ]],
)
.with(&[|node, faults| {
    let ways = [
        "managed_identity",
        "workload_identity",
        "oauth",
        "certificate",
        "sdk",
    ];
    at_least_one(node, &ways, faults);
    at_most_one(node, &ways, faults);
}]);
static GOOGLE_IAM: Object =
    Object::new("google_iam", &[&[required("credentials_file", Kind::Text)]]);

static REMOTE_WRITE: Object = Object::new(
    "an entry of remote_write",
    &[
        &[
            required("url", Kind::Checked(is_url)),
            duration("remote_timeout"),
            field("headers", Kind::Map(is_free_header, &Kind::Secret)),
            field("write_relabel_configs", Kind::Objects(&RELABEL)),
            text("name"),
            flag("send_exemplars"),
            flag("send_native_histograms"),
            flag("round_robin_dns"),
            choice(
                "protobuf_message",
                &["prometheus.WriteRequest", "io.prometheus.write.v2.Request"],
            ),
            flag("failed_request_logging"),
            field("sigv4", Kind::Object(&SIGV4)),
            field("azuread", Kind::Object(&AZURE_AD)),
            field("google_iam", Kind::Object(&GOOGLE_IAM)),
            field("queue_config", Kind::Object(&QUEUE)),
            field("metadata_config", Kind::Object(&METADATA)),
        ],
        HTTP_CLIENT,
    ],
)
.with(&[check_http_client, |node, faults| {
    check_one_signature(node, &["sigv4", "azuread", "google_iam"], faults);
}]);

static REMOTE_READ: Object = Object::new(
    "an entry of remote_read",
    &[
        &[
            required("url", Kind::Checked(is_url)),
            duration("remote_timeout"),
            count("chunked_read_limit"),
            field("headers", Kind::Map(is_free_header, &Kind::Secret)),
            flag("read_recent"),
            text("name"),
            field("required_matchers", TEXT_MAP),
            flag("filter_external_labels"),
        ],
        HTTP_CLIENT,
    ],
)
.with(&[check_http_client]);
