//! The host as the agent uses it: a folder, a configuration, a handle.

mod discoveries;
mod exporters;
mod files;
mod golden;
mod guest;
mod hostile;
mod replays;
mod requests;
mod shipped;
mod swaps;
mod wasi;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use narthex_extension::{
    Capabilities, Exporter, ExporterError, FileAccess, Queries, Query, QuerySeries,
};
use narthex_http_client::{Authorization, HttpClientConfig, SecretSource};
use narthex_model::{CancelToken, Labels, MetricFamily, MetricValue};
use prometheus::Registry;
use prometheus::proto::MetricType;
use tempfile::TempDir;

use crate::{Config, FieldFault, Handle, Outside, PluginState, PluginStatus, start};

/// For what happens by itself. Far more than it takes, as the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running host on folders of its own.
struct Bench {
    folder: TempDir,
    config: Config,
    handle: Handle,
    registry: Registry,
}

impl Bench {
    fn start() -> Bench {
        Bench::start_with(|_| {})
    }

    fn start_with(change: impl FnOnce(&mut Config)) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("plugins")).unwrap();
        let mut config = Config::new(folder.path().join("plugins"), folder.path().join("cache"));
        change(&mut config);
        let registry = Registry::new();
        let handle = start(config.clone(), outside(), &registry).unwrap();
        Bench {
            folder,
            config,
            handle,
            registry,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a plugin into the folder, as `mv` does.
    fn install(&self, name: &str, content: &[u8]) {
        let new = self.path("new");
        std::fs::write(&new, content).unwrap();
        std::fs::rename(new, self.plugin_path(name)).unwrap();
    }

    fn plugin_path(&self, name: &str) -> PathBuf {
        self.path("plugins").join(format!("{name}.wasm"))
    }

    async fn apply(&mut self, change: impl FnOnce(&mut Config)) {
        change(&mut self.config);
        self.handle.apply(self.config.clone()).await;
    }

    fn status(&self, name: &str) -> Option<PluginStatus> {
        self.handle
            .status()
            .into_iter()
            .find(|status| status.name == name)
    }

    async fn until_status(
        &self,
        name: &str,
        what: &str,
        is_so: impl Fn(&PluginStatus) -> bool,
    ) -> PluginStatus {
        until(what, || self.status(name).filter(|status| is_so(status))).await
    }

    async fn until_state(&self, name: &str, state: PluginState) -> PluginStatus {
        let what = format!("{name} is {state}");
        self.until_status(name, &what, |status| status.state == state)
            .await
    }

    fn exporter(&self, job: &str) -> Option<Arc<dyn Exporter>> {
        let plugins = self.handle.plugins();
        let set = plugins.borrow();
        let handle = set.exporters.iter().find(|handle| handle.job == job)?;
        Some(handle.exporter.clone())
    }

    async fn until_exporter(&self, job: &str) -> Arc<dyn Exporter> {
        until(&format!("job {job}"), || self.exporter(job)).await
    }

    async fn collect(&self, job: &str) -> Result<Vec<MetricFamily>, ExporterError> {
        self.until_exporter(job).await.collect().await
    }

    /// Collects until the one gauge has this value.
    async fn until_value(&self, job: &str, expected: f64) {
        let patience = Instant::now() + PATIENCE;
        loop {
            let last = self.collect(job).await;
            if value_of(&last) == Some(expected) {
                return;
            }
            assert!(Instant::now() < patience, "{expected} of {job}: {last:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A sample of the host's own metrics.
    fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name)?;
        let metric = family.get_metric().iter().find(|metric| {
            labels.iter().all(|(name, value)| {
                metric
                    .get_label()
                    .iter()
                    .any(|label| label.name() == *name && label.value() == *value)
            })
        })?;
        Some(match family.get_field_type() {
            MetricType::COUNTER => metric.get_counter().get_value(),
            _ => metric.get_gauge().get_value(),
        })
    }
}

impl Bench {
    /// How often calls failed by what is to blame.
    fn failures(&self, plugin: &str, reason: &str) -> Option<f64> {
        let labels = [("plugin", plugin), ("reason", reason)];
        self.metric("narthex_plugin_failures_total", &labels)
    }
}

fn value_of(answer: &Result<Vec<MetricFamily>, ExporterError>) -> Option<f64> {
    match &answer.as_ref().ok()?.first()?.metrics.first()?.value {
        MetricValue::Float(value) => Some(*value),
        _ => None,
    }
}

async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let patience = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < patience, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// An agent that knows one option for requests, `token_file`.
fn outside() -> Outside {
    let read = |json: &str, directory: &Path| {
        let options: serde_json::Value = serde_json::from_str(json).unwrap();
        match options["token_file"].as_str() {
            Some(file) => Ok(HttpClientConfig {
                authorization: Some(Authorization {
                    kind: "Bearer".to_owned(),
                    credentials: SecretSource::File(directory.join(file)),
                }),
                ..HttpClientConfig::default()
            }),
            None => Err(FieldFault {
                field: "token_file".to_owned(),
                message: "is missing".to_owned(),
            }),
        }
    };
    Outside {
        http_config: Arc::new(read),
        queries: Some(Arc::new(Store)),
    }
}

/// Gives one series, which says what was asked; `forever` takes until nobody wants it any longer.
struct Store;

struct Asked {
    plugin: String,
    cancel: CancelToken,
}

impl Queries for Store {
    fn for_plugin(&self, plugin: &str, cancel: CancelToken) -> Arc<dyn Query> {
        let plugin = plugin.to_owned();
        Arc::new(Asked { plugin, cancel })
    }
}

impl Query for Asked {
    fn instant(&self, expr: &str, at_ms: i64) -> Result<Vec<QuerySeries>, String> {
        if expr == "broken" {
            return Err("parse error".to_owned());
        }
        let patience = Instant::now() + PATIENCE;
        while expr == "forever" && self.cancel.reason().is_none() {
            assert!(Instant::now() < patience, "it was not cancelled");
            std::thread::sleep(Duration::from_millis(5));
        }
        let text = format!("{} asked {expr} at {at_ms}", self.plugin);
        Ok(vec![QuerySeries {
            labels: Labels::from_pairs([("a", text)]),
            samples: vec![(at_ms, 1.0)],
        }])
    }

    fn range(&self, _: &str, _: i64, _: i64, _: i64) -> Result<Vec<QuerySeries>, String> {
        Ok(Vec::new())
    }
}

fn reading(paths: &[&Path]) -> Capabilities {
    Capabilities {
        files: paths
            .iter()
            .map(|path| FileAccess {
                path: path.to_str().unwrap().to_owned(),
            })
            .collect(),
        ..Capabilities::default()
    }
}
