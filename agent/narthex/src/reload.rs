//! Reading the configuration and handing it to the parts.
//!
//! The files are read and checked whole before any part sees them. Each part compares its new plain
//! configuration with the old one and restarts only what differs.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use narthex_config::{ConfigError, Loaded, Overrides, Paths, PrometheusConfig};
use narthex_model::duration;
use narthex_promql::syntax::ParserOptions;
use narthex_promql::{Engine, EngineOptions};
use narthex_query_log::Queries;
use narthex_tsdb::Db;

use crate::cli::Flags;
use crate::lending::Lending;
use crate::machine;
use crate::metrics::Metrics;
use crate::parts::{Parts, Status};

/// What stays when neither a flag nor the file says how long samples are kept.
const RETENTION_MS_DEFAULT: u64 = 15 * 24 * 3_600_000;

/// Where the configuration comes from: the same for every load.
#[derive(Clone)]
pub(crate) struct Source {
    paths: Paths,
    overrides: Overrides,
}

impl Source {
    pub(crate) fn new(flags: &Flags, external_url: &str, self_address: &str) -> Source {
        // The default name may be missing: then there is a configuration without a file.
        let is_default = flags.config_file.as_os_str() == "prometheus.yml";
        let given = !is_default || flags.config_file.exists();
        Source {
            paths: Paths {
                prometheus: given.then(|| flags.config_file.clone()),
                alertmanager: flags.alertmanager_config_file.clone(),
                narthex: flags.narthex_config_file.clone(),
            },
            overrides: Overrides {
                data_directory: flags.storage_path.clone(),
                external_url: external_url.to_owned(),
                self_address: self_address.to_owned(),
                instance: machine::hostname(),
                memory_bytes: machine::memory_bytes(),
                parser: parser_options(flags),
                ..Overrides::default()
            },
        }
    }

    pub(crate) fn external_url(&self) -> &str {
        &self.overrides.external_url
    }

    /// Reads and checks all files, on a blocking thread.
    pub(crate) async fn load(&self) -> anyhow::Result<Loaded> {
        let source = self.clone();
        let loaded = tokio::task::spawn_blocking(move || {
            narthex_config::load(&source.paths, &source.overrides)
        });
        Ok(loaded.await??)
    }
}

pub(crate) fn is_config_error(error: &anyhow::Error) -> bool {
    error.downcast_ref::<ConfigError>().is_some()
}

pub(crate) fn log_notices(loaded: &Loaded) {
    for notice in &loaded.notices {
        tracing::warn!("{notice}");
    }
}

/// How much the store keeps. 0 is no limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Retention {
    pub(crate) time_ms: u64,
    pub(crate) size_bytes: u64,
    pub(crate) disk_percent: f64,
}

impl Retention {
    /// The file goes before the flags. As Prometheus has it, 0 means that nothing is said, and
    /// where nothing is said at all the default is a time.
    pub(crate) fn of(flags: &Flags, config: &PrometheusConfig) -> Self {
        let storage = &config.storage;
        let given = |file: Option<u64>, flag: Option<u64>| file.or(flag).unwrap_or(0);
        let mut retention = Retention {
            time_ms: given(storage.retention_ms, flags.retention_ms),
            size_bytes: given(storage.retention_size_bytes, flags.retention_bytes),
            disk_percent: storage.retention_percentage.unwrap_or(0.0),
        };
        let nothing = Retention {
            time_ms: 0,
            size_bytes: 0,
            disk_percent: 0.0,
        };
        if retention == nothing {
            retention.time_ms = RETENTION_MS_DEFAULT;
        }
        retention
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = (self.time_ms > 0).then(|| duration::format_ms(self.time_ms));
        let size = (self.size_bytes > 0).then(|| format_size(self.size_bytes));
        let percent = (self.disk_percent > 0.0).then(|| format!("{}%", self.disk_percent));
        let limits: Vec<String> = [time, size, percent].into_iter().flatten().collect();
        f.write_str(&limits.join(" or "))
    }
}

/// In the largest unit that gives a whole number.
fn format_size(bytes: u64) -> String {
    let units = [
        ("EiB", 60),
        ("PiB", 50),
        ("TiB", 40),
        ("GiB", 30),
        ("MiB", 20),
        ("KiB", 10),
    ];
    let whole = units
        .iter()
        .find(|(_, shift)| bytes.trailing_zeros() >= *shift);
    whole.map_or_else(
        || format!("{bytes}B"),
        |(unit, shift)| format!("{}{unit}", bytes >> shift),
    )
}

pub(crate) fn parser_options(flags: &Flags) -> ParserOptions {
    ParserOptions {
        experimental_functions: flags.has_feature("promql-experimental-functions"),
        extended_range_selectors: flags.has_feature("promql-extended-range-selectors"),
        binop_fill_modifiers: flags.has_feature("promql-binop-fill-modifiers"),
        ..ParserOptions::default()
    }
}

pub(crate) fn engine(flags: &Flags, config: &PrometheusConfig, lending: &Lending) -> Arc<Engine> {
    let ms = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    Arc::new(lending.engine(EngineOptions {
        lookback_delta_ms: ms(flags.query_lookback_ms),
        max_samples: flags.query_samples,
        default_subquery_step_ms: ms(config.global.evaluation_interval_ms),
        delayed_name_removal: flags.has_feature("promql-delayed-name-removal"),
        use_start_timestamps: flags.has_feature("use-start-timestamps"),
        type_and_unit_labels: flags.has_feature("type-and-unit-labels"),
    }))
}

/// What the Alertmanager side runs with: its file, or nothing but the list of alerts.
pub(crate) fn notify_config(loaded: &Loaded) -> narthex_notify::Config {
    loaded
        .notify
        .clone()
        .unwrap_or_else(narthex_notify::Config::without_receivers)
}

/// Loads anew and, if all is well, puts it in force. A part that refuses what was loaded leaves
/// every part with `former`.
pub(crate) async fn reload(
    source: &Source,
    flags: &Flags,
    parts: &Parts,
    metrics: &Metrics,
    former: &Loaded,
) -> anyhow::Result<Loaded> {
    let result = async {
        let loaded = source.load().await?;
        if let Err(error) = apply(&loaded, flags, source.external_url(), parts).await {
            apply(former, flags, source.external_url(), parts).await?;
            return Err(error);
        }
        Ok(loaded)
    }
    .await;
    let status = parts.state.status();
    match &result {
        Ok(loaded) => {
            let now_ms = machine::now_ms();
            parts.state.set_status(Status {
                yaml: loaded.yaml.clone(),
                external_labels: loaded.prometheus.global.external_labels.clone(),
                retention: Retention::of(flags, &loaded.prometheus),
                last_reload_successful: true,
                last_success_ms: now_ms,
            });
            metrics.reload_successful.set(1);
            metrics.reload_success_seconds.set(now_ms as f64 / 1000.0);
            log_notices(loaded);
            tracing::info!("the configuration was reloaded");
        }
        Err(error) => {
            parts.state.set_status(Status {
                last_reload_successful: false,
                ..(*status).clone()
            });
            metrics.reload_successful.set(0);
            tracing::error!("the configuration was not reloaded, the last good one stays");
            log_error(error);
        }
    }
    result
}

/// One line of log per line of the error: a configuration can have many faults.
pub(crate) fn log_error(error: &anyhow::Error) {
    for line in format!("{error:#}").lines() {
        tracing::error!("{line}");
    }
}

fn apply_storage(flags: &Flags, config: &PrometheusConfig, store: &Db) {
    let retention = Retention::of(flags, config);
    let Retention {
        time_ms,
        size_bytes,
        disk_percent,
    } = retention;
    store.set_retention(time_ms, size_bytes, disk_percent);
    let limits = store_config(flags, config);
    store.set_out_of_order_window_ms(limits.out_of_order_window_ms);
    store.set_exemplar_limit(limits.exemplar_limit);
}

pub(crate) fn store_config(flags: &Flags, config: &PrometheusConfig) -> narthex_tsdb::Config {
    let storage = &config.storage;
    let retention = Retention::of(flags, config);
    let usual = narthex_tsdb::Config::new(&flags.storage_path);
    narthex_tsdb::Config {
        retention_ms: retention.time_ms,
        retention_bytes: retention.size_bytes,
        retention_percent: retention.disk_percent,
        out_of_order_window_ms: i64::try_from(storage.out_of_order_time_window_ms)
            .unwrap_or(i64::MAX),
        block_range_ms: i64::try_from(flags.min_block_ms).unwrap_or(i64::MAX),
        longest_block_ms: flags
            .max_block_ms
            .map(|ms| i64::try_from(ms).unwrap_or(i64::MAX)),
        exemplar_limit: storage.exemplar_limit.unwrap_or(usual.exemplar_limit),
        ..usual
    }
}

/// Opens the query log anew, as its file may have been moved away.
fn apply_query_log(config: &PrometheusConfig, queries: &Queries) -> anyhow::Result<()> {
    let path = config.global.query_log_file.as_deref();
    queries.set_log_file(path).with_context(|| {
        let path = path.unwrap_or(Path::new(""));
        format!("global.query_log_file: opening {}", path.display())
    })
}

/// Hands every part its configuration. The query log, scraping and notifying go first, as they
/// alone can refuse (a file that cannot be opened, a client that cannot be built).
pub(crate) async fn apply(
    loaded: &Loaded,
    flags: &Flags,
    external_url: &str,
    parts: &Parts,
) -> anyhow::Result<()> {
    let config = &loaded.prometheus;
    apply_query_log(config, &parts.queries)?;
    parts.scrape.apply_config(config.scrape.clone())?;
    parts.notify.apply(notify_config(loaded))?;
    apply_storage(flags, config, &parts.store);
    parts.lending.set_budget(&loaded.query);
    parts
        .state
        .set_engine(engine(flags, config, &parts.lending));
    parts.notify.set_labelling(narthex_notify::Labelling {
        external_labels: config.global.external_labels.clone(),
        relabel: config.alerting.relabel.clone(),
    });
    parts.ruler.apply(
        ruler_settings(loaded, flags, external_url, parts),
        config.rule_groups.clone(),
    );
    parts.discovery.apply(config.discovery.clone());
    parts.alertmanagers.apply(config.alerting.discovery.clone());
    parts.plugins.apply(loaded.plugin_host.clone()).await;
    Ok(())
}

fn ruler_settings(
    loaded: &Loaded,
    flags: &Flags,
    external_url: &str,
    parts: &Parts,
) -> narthex_ruler::Settings {
    narthex_ruler::Settings {
        engine: Arc::new(parts.state.engine().for_rules()),
        parser: parser_options(flags),
        environment: narthex_ruler::Environment {
            external_labels: loaded.prometheus.global.external_labels.clone(),
            external_url: external_url.to_owned(),
            ..Default::default()
        },
        query_timeout_ms: flags.query_timeout_ms,
        // Time for a script's queries besides its own operations.
        script_timeout_ms: loaded.script_host.limits.time_ms,
        script_interval_ms: loaded.script_interval_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_told_in_one_line() {
        for (time_ms, size_bytes, disk_percent, expected) in [
            (15 * 86_400_000, 0, 0.0, "15d"),
            (0, 512 << 20, 0.0, "512MiB"),
            (86_400_000, 1 << 30, 80.5, "1d or 1GiB or 80.5%"),
            (0, 1001, 0.0, "1001B"),
        ] {
            let retention = Retention {
                time_ms,
                size_bytes,
                disk_percent,
            };
            assert_eq!(retention.to_string(), expected);
        }
    }
}
