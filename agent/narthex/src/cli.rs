//! The command line: Prometheus's flags under their names, and Narthex's own.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser};
use narthex_model::{Regexp, duration};
use narthex_scrape::Features;
use narthex_tsdb::StartTimes;

use crate::tools::Tool;

/// Monitoring in one binary: scrapes, stores, queries, alerts and notifies; extended by WebAssembly
/// plugins and Rhai scripts.
#[derive(Parser, Debug)]
#[command(
    name = "narthex",
    version,
    disable_help_subcommand = true,
    args_conflicts_with_subcommands = true
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) tool: Option<Tool>,
    #[command(flatten)]
    pub(crate) flags: Flags,
    #[command(flatten)]
    ignored: IgnoredFlags,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Flags {
    /// Prometheus configuration file.
    #[arg(
        long = "config.file",
        value_name = "FILE",
        default_value = "prometheus.yml"
    )]
    pub(crate) config_file: PathBuf,

    /// Alertmanager configuration file [default: alertmanager.yml beside --config.file, if there].
    #[arg(long = "alertmanager.config.file", value_name = "FILE")]
    pub(crate) alertmanager_config_file: Option<PathBuf>,

    /// Narthex's own configuration file [default: narthex.yml beside --config.file, if there].
    #[arg(long = "narthex.config.file", value_name = "FILE")]
    pub(crate) narthex_config_file: Option<PathBuf>,

    /// Folder for the store.
    #[arg(
        long = "storage.tsdb.path",
        value_name = "FOLDER",
        default_value = "data/"
    )]
    pub(crate) storage_path: PathBuf,

    /// How long samples are kept [default: 15d].
    #[arg(long = "storage.tsdb.retention.time", value_name = "DURATION", value_parser = duration_ms)]
    pub(crate) retention_ms: Option<u64>,

    /// How much room the store may take, as in 512MB; the oldest blocks go [default: no limit].
    #[arg(long = "storage.tsdb.retention.size", value_name = "SIZE", value_parser = narthex_config::size_bytes)]
    pub(crate) retention_bytes: Option<u64>,

    /// The range of the smallest blocks.
    #[arg(long = "storage.tsdb.min-block-duration", value_name = "DURATION", default_value = "2h", value_parser = duration_ms, hide_short_help = true)]
    pub(crate) min_block_ms: u64,

    /// The longest block that compaction makes [default: a tenth of the retention time, at most
    /// 31d]. The same as the smallest range keeps blocks as they are, for those who ship them.
    #[arg(long = "storage.tsdb.max-block-duration", value_name = "DURATION", value_parser = duration_ms, hide_short_help = true)]
    pub(crate) max_block_ms: Option<u64>,

    /// Scrapes that start at most so late get the time they were due at; at most 1 % of the interval.
    #[arg(long = "scrape.timestamp-tolerance", value_name = "DURATION", default_value = "10ms", value_parser = duration_ms, hide_short_help = true)]
    pub(crate) timestamp_tolerance_ms: u64,
    #[arg(
        long = "scrape.adjust-timestamps",
        hide = true,
        overrides_with = "no_adjust_timestamps"
    )]
    adjust_timestamps: bool,
    #[arg(long = "no-scrape.adjust-timestamps", hide = true)]
    no_adjust_timestamps: bool,

    /// Address to listen on for the API; may be given several times.
    #[arg(
        long = "web.listen-address",
        value_name = "ADDRESS",
        default_value = "0.0.0.0:9090"
    )]
    pub(crate) listen_addresses: Vec<String>,

    /// The URL under which Narthex is reachable from outside: for links in notifications.
    #[arg(long = "web.external-url", value_name = "URL")]
    pub(crate) external_url: Option<String>,

    /// Allow reload and shutdown by HTTP request.
    #[arg(long = "web.enable-lifecycle", overrides_with = "no_enable_lifecycle")]
    pub(crate) enable_lifecycle: bool,
    #[arg(long = "no-web.enable-lifecycle", hide = true)]
    no_enable_lifecycle: bool,

    /// Allow the admin API.
    #[arg(long = "web.enable-admin-api", overrides_with = "no_enable_admin_api")]
    pub(crate) enable_admin_api: bool,
    #[arg(long = "no-web.enable-admin-api", hide = true)]
    no_enable_admin_api: bool,

    /// The origins whose pages may read the API, as a regular expression that matches all of one.
    #[arg(long = "web.cors.origin", value_name = "REGEX", default_value = ALL_ORIGINS, value_parser = regexp, hide_short_help = true)]
    pub(crate) cross_origin: Regexp,

    /// How far an instant query looks back for a sample.
    #[arg(long = "query.lookback-delta", value_name = "DURATION", default_value = "5m", value_parser = duration_ms)]
    pub(crate) query_lookback_ms: u64,

    /// How long a query may take.
    #[arg(long = "query.timeout", value_name = "DURATION", default_value = "2m", value_parser = duration_ms)]
    pub(crate) query_timeout_ms: u64,

    /// Queries that run at a time.
    #[arg(
        long = "query.max-concurrency",
        value_name = "COUNT",
        default_value_t = 20
    )]
    pub(crate) query_concurrency: usize,

    /// Samples that one query may load.
    #[arg(
        long = "query.max-samples",
        value_name = "COUNT",
        default_value_t = 50_000_000
    )]
    pub(crate) query_samples: u64,

    /// Features to switch on, separated by commas; may be given several times. Known here:
    /// promql-experimental-functions, promql-delayed-name-removal, promql-per-step-stats,
    /// promql-extended-range-selectors, promql-binop-fill-modifiers, use-start-timestamps,
    /// created-timestamp-zero-ingestion, st-storage, type-and-unit-labels, extra-scrape-metrics.
    #[arg(long = "enable-feature", value_name = "NAMES", value_delimiter = ',')]
    pub(crate) features: Vec<String>,

    /// Only log messages of this level or above: debug, info, warn, error.
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "info", value_parser = ["debug", "info", "warn", "error"])]
    pub(crate) log_level: String,

    /// How log messages are written: logfmt or json.
    #[arg(long = "log.format", value_name = "FORMAT", default_value = "logfmt", value_parser = ["logfmt", "json"])]
    pub(crate) log_format: String,
}

/// Flags of Prometheus that unit files pass and that have no effect here.
#[derive(Args, Clone, Debug)]
struct IgnoredFlags {
    #[arg(long = "storage.tsdb.wal-compression", hide = true, action = ArgAction::SetTrue)]
    wal_compression: bool,
    #[arg(long = "web.console.templates", hide = true)]
    console_templates: Option<String>,
    #[arg(long = "web.console.libraries", hide = true)]
    console_libraries: Option<String>,
    #[arg(long = "web.page-title", hide = true)]
    page_title: Option<String>,
    #[arg(long = "web.max-connections", hide = true)]
    max_connections: Option<String>,
    #[arg(long = "web.read-timeout", hide = true)]
    read_timeout: Option<String>,
    #[arg(long = "web.user-assets", hide = true)]
    user_assets: Option<String>,
    #[arg(long = "storage.remote.flush-deadline", hide = true)]
    remote_flush_deadline: Option<String>,
    #[arg(long = "alertmanager.notification-queue-capacity", hide = true)]
    notification_queue_capacity: Option<String>,
    #[arg(long = "rules.alert.for-outage-tolerance", hide = true)]
    for_outage_tolerance: Option<String>,
    #[arg(long = "rules.alert.for-grace-period", hide = true)]
    for_grace_period: Option<String>,
    #[arg(long = "rules.alert.resend-delay", hide = true)]
    resend_delay: Option<String>,
    #[arg(long = "storage.tsdb.no-lockfile", hide = true, action = ArgAction::SetTrue)]
    no_lockfile: bool,
}

impl Cli {
    /// Reads the command line; ends the process with code 2 where it is wrong.
    pub(crate) fn from_command_line() -> Self {
        let matches = Cli::command().get_matches();
        match Cli::from_arg_matches(&matches) {
            Ok(cli) => cli,
            Err(error) => error.exit(),
        }
    }

    /// What is to be said about flags that were given and do nothing.
    pub(crate) fn notices(&self) -> Vec<String> {
        let ignored = &self.ignored;
        let given = [
            ("storage.tsdb.wal-compression", ignored.wal_compression),
            ("web.console.templates", ignored.console_templates.is_some()),
            ("web.console.libraries", ignored.console_libraries.is_some()),
            ("web.page-title", ignored.page_title.is_some()),
            ("web.max-connections", ignored.max_connections.is_some()),
            ("web.read-timeout", ignored.read_timeout.is_some()),
            ("web.user-assets", ignored.user_assets.is_some()),
            (
                "storage.remote.flush-deadline",
                ignored.remote_flush_deadline.is_some(),
            ),
            (
                "alertmanager.notification-queue-capacity",
                ignored.notification_queue_capacity.is_some(),
            ),
            (
                "rules.alert.for-outage-tolerance",
                ignored.for_outage_tolerance.is_some(),
            ),
            (
                "rules.alert.for-grace-period",
                ignored.for_grace_period.is_some(),
            ),
            ("rules.alert.resend-delay", ignored.resend_delay.is_some()),
            ("storage.tsdb.no-lockfile", ignored.no_lockfile),
        ];
        let named = given.iter().filter(|(_, given)| *given);
        let mut notices: Vec<String> = named
            .map(|(name, _)| format!("the flag --{name} has no effect yet"))
            .collect();
        let unknown = self
            .flags
            .features
            .iter()
            .filter(|f| !KNOWN_FEATURES.contains(&f.as_str()));
        notices.extend(unknown.map(|name| format!("--enable-feature: {name:?} has no effect")));
        notices
    }
}

const KNOWN_FEATURES: [&str; 10] = [
    "created-timestamp-zero-ingestion",
    "st-storage",
    "promql-experimental-functions",
    "promql-delayed-name-removal",
    "promql-per-step-stats",
    "promql-extended-range-selectors",
    "promql-binop-fill-modifiers",
    "use-start-timestamps",
    "type-and-unit-labels",
    "extra-scrape-metrics",
];

const ALL_ORIGINS: &str = ".*";

impl Flags {
    /// None: all of them.
    pub(crate) fn allowed_origins(&self) -> Option<&Regexp> {
        let only_some = self.cross_origin.as_str() != ALL_ORIGINS;
        only_some.then_some(&self.cross_origin)
    }

    pub(crate) fn has_feature(&self, name: &str) -> bool {
        self.features.iter().any(|feature| feature == name)
    }

    /// What becomes of the times at which counters started, if targets tell them.
    pub(crate) fn start_times(&self) -> StartTimes {
        StartTimes {
            keep: self.has_feature("st-storage"),
            as_zeros: self.has_feature("created-timestamp-zero-ingestion"),
        }
    }

    /// What scraping does besides.
    pub(crate) fn scrape_features(&self) -> Features {
        let start_times = self.start_times();
        Features {
            start_timestamps: start_times.keep || start_times.as_zeros,
            type_and_unit_labels: self.has_feature("type-and-unit-labels"),
        }
    }

    /// How late a scrape may start and still get the time it was due at. 0 leaves all as they are.
    pub(crate) fn scrape_tolerance_ms(&self) -> u64 {
        match self.no_adjust_timestamps {
            true => 0,
            false => self.timestamp_tolerance_ms,
        }
    }

    /// For `/api/v1/status/flags`: every flag as text, under its name.
    pub(crate) fn as_texts(&self) -> BTreeMap<String, String> {
        let path = |path: &PathBuf| path.display().to_string();
        let optional = |file: &Option<PathBuf>| file.as_ref().map(path).unwrap_or_default();
        let retention = self
            .retention_ms
            .map(duration::format_ms)
            .unwrap_or_default();
        [
            ("config.file", path(&self.config_file)),
            (
                "alertmanager.config.file",
                optional(&self.alertmanager_config_file),
            ),
            ("narthex.config.file", optional(&self.narthex_config_file)),
            ("storage.tsdb.path", path(&self.storage_path)),
            ("storage.tsdb.retention.time", retention),
            (
                "storage.tsdb.min-block-duration",
                duration::format_ms(self.min_block_ms),
            ),
            (
                "storage.tsdb.max-block-duration",
                self.max_block_ms
                    .map(duration::format_ms)
                    .unwrap_or_default(),
            ),
            (
                "scrape.timestamp-tolerance",
                duration::format_ms(self.scrape_tolerance_ms()),
            ),
            (
                "storage.tsdb.retention.size",
                self.retention_bytes
                    .map(|bytes| format!("{bytes}B"))
                    .unwrap_or_default(),
            ),
            ("web.listen-address", self.listen_addresses.join(",")),
            (
                "web.external-url",
                self.external_url.clone().unwrap_or_default(),
            ),
            ("web.cors.origin", self.cross_origin.as_str().to_owned()),
            ("web.enable-lifecycle", self.enable_lifecycle.to_string()),
            ("web.enable-admin-api", self.enable_admin_api.to_string()),
            (
                "query.lookback-delta",
                duration::format_ms(self.query_lookback_ms),
            ),
            ("query.timeout", duration::format_ms(self.query_timeout_ms)),
            ("query.max-concurrency", self.query_concurrency.to_string()),
            ("query.max-samples", self.query_samples.to_string()),
            ("enable-feature", self.features.join(",")),
            ("log.level", self.log_level.clone()),
            ("log.format", self.log_format.clone()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    }
}

fn regexp(text: &str) -> Result<Regexp, String> {
    Regexp::anchored(text).map_err(|e| e.to_string())
}

fn duration_ms(text: &str) -> Result<u64, String> {
    duration::parse_ms(text).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("narthex").chain(args.iter().copied()))
    }

    #[test]
    fn start_times_are_asked_for_by_flags() {
        for (given, keep, as_zeros) in [
            ("use-start-timestamps", false, false),
            ("st-storage", true, false),
            ("created-timestamp-zero-ingestion", false, true),
            ("st-storage,created-timestamp-zero-ingestion", true, true),
        ] {
            let cli = parse(&[&format!("--enable-feature={given}")]).unwrap();
            assert_eq!(cli.flags.start_times(), StartTimes { keep, as_zeros });
            let features = cli.flags.scrape_features();
            assert_eq!(features.start_timestamps, keep || as_zeros);
            assert!(!features.type_and_unit_labels && cli.notices().is_empty());
        }
    }

    #[test]
    fn takes_prometheus_flags() {
        let cli = parse(&[
            "--config.file=a.yml",
            "--storage.tsdb.retention.time",
            "30d",
            "--web.listen-address=:9090",
            "--web.listen-address=127.0.0.1:9091",
            "--web.enable-lifecycle",
            "--web.console.libraries=/usr/share/prometheus",
            "--enable-feature=promql-experimental-functions,nonsense",
        ])
        .unwrap();
        assert_eq!(cli.flags.retention_ms, Some(30 * 24 * 3_600_000));
        assert_eq!(cli.flags.listen_addresses, [":9090", "127.0.0.1:9091"]);
        assert!(cli.flags.has_feature("promql-experimental-functions"));
        assert_eq!(cli.flags.as_texts()["web.enable-lifecycle"], "true");
        assert_eq!(
            cli.notices(),
            [
                "the flag --web.console.libraries has no effect yet",
                "--enable-feature: \"nonsense\" has no effect"
            ]
        );
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for args in [
            &["--no-such-flag"][..],
            &["--query.timeout=5x"],
            &["--log.level=loud"],
        ] {
            assert_eq!(parse(args).unwrap_err().exit_code(), 2, "{args:?}");
        }
        assert!(
            !parse(&["--web.enable-lifecycle", "--no-web.enable-lifecycle"])
                .unwrap()
                .flags
                .enable_lifecycle
        );
    }
}
