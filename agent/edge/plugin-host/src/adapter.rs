//! Version 0.1 of the contract in terms of the one that the host implements: old types become new
//! ones here, old calls are passed on. Nothing else knows that there is an old version.

use crate::bindings::v0_1::discovery::exports::narthex::plugin::targets as old_targets;
use crate::bindings::v0_1::discovery::narthex::plugin::{
    events as old_events, publisher as old_publisher,
};
use crate::bindings::v0_1::exporter::exports::narthex::plugin::metrics as old_metrics;
use crate::bindings::v0_1::exporter::narthex::plugin as old;
use crate::bindings::{
    clock, environment, events, files, log, metrics, plugin, publisher, random, system, targets,
};
use crate::host::{State, call_error_text};
use crate::validate::NO_TIME;

pub(crate) fn manifest(manifest: old::plugin::Manifest) -> plugin::Manifest {
    plugin::Manifest {
        description: manifest.description,
        version: manifest.version,
        wants: wants(manifest.wants),
        optional: wants(manifest.optional),
        interval_ms: manifest.interval_ms,
    }
}

fn wants(wants: old::plugin::Wants) -> plugin::Wants {
    plugin::Wants {
        files: wants.files,
        http: wants.http,
        dns: Vec::new(),
        environment: wants.environment,
        system: wants.system,
        query: wants.query,
    }
}

pub(crate) fn config_error(error: old::plugin::ConfigError) -> plugin::ConfigError {
    plugin::ConfigError {
        field: error.field,
        message: error.message,
    }
}

pub(crate) fn request(request: &targets::Request) -> old_targets::Request {
    old_targets::Request {
        config: request.config.clone(),
        base_directory: request.base_directory.clone(),
    }
}

/// From rows to columns.
pub(crate) fn families(families: Vec<old_metrics::Family>) -> Result<Vec<metrics::Family>, String> {
    families.into_iter().map(family).collect()
}

fn family(family: old_metrics::Family) -> Result<metrics::Family, String> {
    let name = &family.name;
    let mut label_values = Vec::with_capacity(family.metrics.len() * family.label_names.len());
    let mut timestamps_ms = Vec::new();
    let mut values = no_values(family.kind);
    for (row, metric) in family.metrics.into_iter().enumerate() {
        if metric.label_values.len() != family.label_names.len() {
            return Err(format!(
                "metric {name}: {} label values for {} label names",
                metric.label_values.len(),
                family.label_names.len()
            ));
        }
        label_values.extend(metric.label_values);
        match (&mut values, metric.value) {
            (metrics::Values::Numbers(all), old_metrics::Value::Number(number)) => all.push(number),
            (metrics::Values::Histograms(all), old_metrics::Value::Histogram(histogram)) => {
                all.push(metrics::Histogram {
                    buckets: histogram.buckets,
                    sum: histogram.sum,
                    count: histogram.count,
                });
            }
            (metrics::Values::Summaries(all), old_metrics::Value::Summary(summary)) => {
                all.push(metrics::Summary {
                    quantiles: summary.quantiles,
                    sum: summary.sum,
                    count: summary.count,
                });
            }
            _ => return Err(format!("metric {name} has a value that is not of its type")),
        }
        if let Some(time_ms) = metric.timestamp_ms {
            timestamps_ms.resize(row, NO_TIME);
            timestamps_ms.push(time_ms);
        } else if !timestamps_ms.is_empty() {
            timestamps_ms.push(NO_TIME);
        }
    }
    Ok(metrics::Family {
        name: family.name,
        kind: kind(family.kind),
        help: family.help,
        unit: family.unit,
        label_names: family.label_names,
        label_values,
        values,
        timestamps_ms,
        start_timestamps_ms: Vec::new(),
    })
}

fn no_values(kind: old_metrics::MetricType) -> metrics::Values {
    match kind {
        old_metrics::MetricType::Histogram | old_metrics::MetricType::GaugeHistogram => {
            metrics::Values::Histograms(Vec::new())
        }
        old_metrics::MetricType::Summary => metrics::Values::Summaries(Vec::new()),
        _ => metrics::Values::Numbers(Vec::new()),
    }
}

fn kind(kind: old_metrics::MetricType) -> metrics::MetricType {
    match kind {
        old_metrics::MetricType::Counter => metrics::MetricType::Counter,
        old_metrics::MetricType::Gauge => metrics::MetricType::Gauge,
        old_metrics::MetricType::Histogram => metrics::MetricType::Histogram,
        old_metrics::MetricType::Summary => metrics::MetricType::Summary,
        old_metrics::MetricType::Info => metrics::MetricType::Info,
        old_metrics::MetricType::StateSet => metrics::MetricType::StateSet,
        old_metrics::MetricType::GaugeHistogram => metrics::MetricType::GaugeHistogram,
        old_metrics::MetricType::Unknown => metrics::MetricType::Unknown,
    }
}

fn text(error: plugin::CallError) -> String {
    call_error_text(error)
}

fn file_error(error: files::FileError) -> old::files::FileError {
    use files::ErrorCode as New;
    use old::files::ErrorCode as Old;
    old::files::FileError {
        code: match error.code {
            New::NotFound => Old::NotFound,
            New::NotGranted => Old::NotGranted,
            New::PermissionDenied => Old::PermissionDenied,
            New::NotADirectory => Old::NotADirectory,
            New::IsADirectory => Old::IsADirectory,
            New::Invalid => Old::Invalid,
            New::NoData => Old::NoData,
            New::TryAgain => Old::TryAgain,
            New::NotSupported => Old::NotSupported,
            New::InputOutput => Old::InputOutput,
            New::TooLarge => Old::TooLarge,
            New::Limit => Old::Limit,
            New::Other => Old::Other,
        },
        message: error.message,
    }
}

fn file_kind(kind: files::FileKind) -> old::files::FileKind {
    match kind {
        files::FileKind::File => old::files::FileKind::File,
        files::FileKind::Directory => old::files::FileKind::Directory,
        files::FileKind::Symlink => old::files::FileKind::Symlink,
        files::FileKind::Other => old::files::FileKind::Other,
    }
}

impl old::plugin::Host for State {}

impl old::log::Host for State {
    fn write(&mut self, level: old::log::Level, message: String) {
        let level = match level {
            old::log::Level::Debug => log::Level::Debug,
            old::log::Level::Info => log::Level::Info,
            old::log::Level::Warn => log::Level::Warn,
            old::log::Level::Error => log::Level::Error,
        };
        log::Host::write(self, level, message);
    }
}

impl old::clock::Host for State {
    fn now_ns(&mut self) -> u64 {
        clock::Host::now_ns(self)
    }

    fn monotonic_ns(&mut self) -> u64 {
        clock::Host::monotonic_ns(self)
    }
}

impl old::random::Host for State {
    fn next(&mut self) -> u64 {
        random::Host::next(self)
    }
}

impl old::environment::Host for State {
    fn get(&mut self, name: String) -> Result<Option<String>, String> {
        environment::Host::get(self, name).map_err(text)
    }
}

impl old::files::Host for State {
    fn read(&mut self, path: String) -> Result<Vec<u8>, old::files::FileError> {
        files::Host::read(self, path).map_err(file_error)
    }

    fn read_many(&mut self, paths: Vec<String>) -> Vec<Result<Vec<u8>, old::files::FileError>> {
        let answers = files::Host::read_many(self, paths).into_iter();
        answers.map(|answer| answer.map_err(file_error)).collect()
    }

    fn entries(&mut self, path: String) -> Result<Vec<old::files::Entry>, old::files::FileError> {
        let entries = files::Host::entries(self, path).map_err(file_error)?;
        let entry = |entry: files::Entry| old::files::Entry {
            name: entry.name,
            kind: file_kind(entry.kind),
        };
        Ok(entries.into_iter().map(entry).collect())
    }

    fn stat(&mut self, path: String) -> Result<old::files::Metadata, old::files::FileError> {
        let metadata = files::Host::stat(self, path).map_err(file_error)?;
        Ok(old::files::Metadata {
            kind: file_kind(metadata.kind),
            size_bytes: metadata.size_bytes,
            modified_ms: metadata.modified_ms,
        })
    }

    fn read_link(&mut self, path: String) -> Result<String, old::files::FileError> {
        files::Host::read_link(self, path).map_err(file_error)
    }

    fn real_path(&mut self, path: String) -> Result<String, old::files::FileError> {
        files::Host::real_path(self, path).map_err(file_error)
    }
}

impl old::system::Host for State {
    fn cpu_count(&mut self) -> Result<u32, String> {
        system::Host::cpu_count(self).map_err(text)
    }

    fn page_bytes(&mut self) -> Result<u32, String> {
        system::Host::page_bytes(self).map_err(text)
    }

    fn time_zone(&mut self) -> Result<old::system::Zone, String> {
        let zone = system::Host::time_zone(self).map_err(text)?;
        Ok(old::system::Zone {
            abbreviation: zone.abbreviation,
            offset_seconds: zone.offset_seconds,
        })
    }

    fn boot_time_seconds(&mut self) -> Result<u64, String> {
        system::Host::boot_time_seconds(self).map_err(text)
    }

    fn identify(&mut self) -> Result<old::system::Identity, String> {
        let identity = system::Host::identify(self).map_err(text)?;
        Ok(old::system::Identity {
            sysname: identity.sysname,
            release: identity.release,
            version: identity.version,
            machine: identity.machine,
            nodename: identity.nodename,
            domainname: identity.domainname,
        })
    }

    fn memory_usage(&mut self) -> Result<old::system::Memory, String> {
        let memory = system::Host::memory_usage(self).map_err(text)?;
        Ok(old::system::Memory {
            total_bytes: memory.total_bytes,
            available_bytes: memory.available_bytes,
            free_bytes: memory.free_bytes,
            swap_total_bytes: memory.swap_total_bytes,
            swap_free_bytes: memory.swap_free_bytes,
        })
    }

    fn disks(&mut self) -> Result<Vec<old::system::Disk>, String> {
        let disks = system::Host::disks(self).map_err(text)?;
        let disk = |disk: system::Disk| old::system::Disk {
            name: disk.name,
            mount_point: disk.mount_point,
            file_system: disk.file_system,
            total_bytes: disk.total_bytes,
            available_bytes: disk.available_bytes,
            removable: disk.removable,
            read_only: disk.read_only,
        };
        Ok(disks.into_iter().map(disk).collect())
    }

    fn networks(&mut self) -> Result<Vec<old::system::Network>, String> {
        let networks = system::Host::networks(self).map_err(text)?;
        let network = |network: system::Network| old::system::Network {
            name: network.name,
            received_bytes: network.received_bytes,
            received_packets: network.received_packets,
            received_errors: network.received_errors,
            transmitted_bytes: network.transmitted_bytes,
            transmitted_packets: network.transmitted_packets,
            transmitted_errors: network.transmitted_errors,
        };
        Ok(networks.into_iter().map(network).collect())
    }

    fn file_system_usage(
        &mut self,
        mount_points: Vec<String>,
        timeout_ms: u64,
    ) -> Result<Vec<Result<old::system::Usage, String>>, String> {
        let answers = system::Host::file_system_usage(self, mount_points, timeout_ms);
        let usage = |usage: system::Usage| old::system::Usage {
            block_bytes: usage.block_bytes,
            blocks: usage.blocks,
            blocks_free: usage.blocks_free,
            blocks_available: usage.blocks_available,
            files: usage.files,
            files_free: usage.files_free,
        };
        let answers = answers.map_err(text)?.into_iter();
        Ok(answers.map(|answer| answer.map(usage)).collect())
    }
}

impl old_events::Host for State {
    fn watch(&mut self, path: String) -> Result<u64, old::files::FileError> {
        events::Host::watch(self, path).map_err(file_error)
    }

    fn timer(&mut self, after_ms: u64) -> Result<u64, String> {
        events::Host::timer(self, after_ms).map_err(text)
    }

    fn close(&mut self, subscription: u64) {
        events::Host::close(self, subscription);
    }

    fn wait(&mut self) -> wasmtime::Result<Vec<u64>> {
        events::Host::wait(self)
    }
}

impl old_publisher::Host for State {
    fn publish(
        &mut self,
        groups: Vec<old_publisher::TargetGroup>,
    ) -> wasmtime::Result<Result<(), String>> {
        let group = |group: old_publisher::TargetGroup| publisher::TargetGroup {
            source: group.source,
            targets: group.targets,
            labels: group.labels,
        };
        let groups = groups.into_iter().map(group).collect();
        Ok(publisher::Host::publish(self, groups)?.map_err(text))
    }
}
