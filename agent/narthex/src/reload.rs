//! Reading the configuration and handing it to the parts.
//!
//! The files are read and checked whole before any part sees them. Each part compares its new plain
//! configuration with the old one and restarts only what differs.

use std::sync::Arc;

use narthex_config::{ConfigError, Loaded, Overrides, Paths, PrometheusConfig};
use narthex_promql::syntax::ParserOptions;
use narthex_promql::{Engine, EngineOptions};

use crate::cli::Flags;
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

/// 0 means the default, on either side, as Prometheus has it.
pub(crate) fn retention_ms(flags: &Flags, config: &PrometheusConfig) -> u64 {
    let given = config.storage.retention_ms.or(flags.retention_ms);
    given.filter(|ms| *ms > 0).unwrap_or(RETENTION_MS_DEFAULT)
}

pub(crate) fn parser_options(flags: &Flags) -> ParserOptions {
    ParserOptions {
        experimental_functions: flags.has_feature("promql-experimental-functions"),
        ..ParserOptions::default()
    }
}

pub(crate) fn engine(flags: &Flags, config: &PrometheusConfig) -> Arc<Engine> {
    let ms = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    Arc::new(Engine::new(EngineOptions {
        lookback_delta_ms: ms(flags.query_lookback_ms),
        max_samples: flags.query_samples,
        default_subquery_step_ms: ms(config.global.evaluation_interval_ms),
        delayed_name_removal: flags.has_feature("promql-delayed-name-removal"),
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
                retention_ms: retention_ms(flags, &loaded.prometheus),
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

/// Hands every part its configuration. Scraping and notifying go first, as they alone can refuse
/// (a client that cannot be built).
pub(crate) async fn apply(
    loaded: &Loaded,
    flags: &Flags,
    external_url: &str,
    parts: &Parts,
) -> anyhow::Result<()> {
    let config = &loaded.prometheus;
    parts.scrape.apply_config(config.scrape.clone())?;
    parts.notify.apply(notify_config(loaded))?;
    parts.store.set_retention_ms(retention_ms(flags, config));
    parts.state.set_engine(engine(flags, config));
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
        engine: parts.state.engine(),
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
