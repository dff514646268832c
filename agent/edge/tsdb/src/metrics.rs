//! What the store tells of itself, under Prometheus's names where Prometheus has the metric.

use prometheus::{
    Error, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    core::Collector,
};

use crate::head::Head;

pub(crate) struct Metrics {
    pub(crate) series: IntGauge,
    pub(crate) series_created: IntCounter,
    pub(crate) series_removed: IntCounter,
    pub(crate) chunks: IntGauge,
    pub(crate) chunks_created: IntCounter,
    pub(crate) chunks_removed: IntCounter,
    pub(crate) samples_appended: IntCounter,
    pub(crate) out_of_order: IntCounter,
    pub(crate) out_of_bounds: IntCounter,
    pub(crate) active_appenders: IntGauge,
    pub(crate) retention_passes: IntCounter,
    pub(crate) retention_pass_seconds: Histogram,
    pub(crate) retention_limit_seconds: IntGauge,
    pub(crate) replay_seconds: prometheus::Gauge,
    pub(crate) replay_unknown: IntCounter,
    pub(crate) clean_start: IntGauge,
    pub(crate) wal_corruptions: IntCounter,
    pub(crate) wal_fsync_seconds: Histogram,
    pub(crate) wal_writes_failed: IntCounter,
    pub(crate) wal_failing: IntGauge,
    pub(crate) wal_segment: IntGauge,
    pub(crate) wal_size_bytes: IntGauge,
    pub(crate) wal_truncations: IntCounter,
    pub(crate) wal_truncations_failed: IntCounter,
    pub(crate) wal_truncate_seconds: Histogram,
    pub(crate) checkpoints: IntCounter,
    pub(crate) checkpoints_failed: IntCounter,
    min_time_ms: IntGauge,
    max_time_ms: IntGauge,
    min_time_seconds: IntGauge,
    max_time_seconds: IntGauge,
    lowest_ms: IntGauge,
    lowest_seconds: IntGauge,
    symbols_size_bytes: IntGauge,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, Error> {
        let r = Registrar(registry);
        r.gauge(
            "storage_blocks_bytes",
            "Bytes of the blocks on disk; this store writes none.",
        )?;
        r.gauge(
            "blocks_loaded",
            "Blocks that are loaded; this store reads none.",
        )?;
        Ok(Metrics {
            series: r.gauge("head_series", "Series in the head.")?,
            series_created: r
                .counter("head_series_created_total", "Series created in the head.")?,
            series_removed: r
                .counter("head_series_removed_total", "Series removed from the head.")?,
            chunks: r.gauge("head_chunks", "Chunks in the head.")?,
            chunks_created: r.counter("head_chunks_created_total", "Chunks begun in the head.")?,
            chunks_removed: r
                .counter("head_chunks_removed_total", "Chunks dropped from the head.")?,
            samples_appended: r
                .float_counter("head_samples_appended_total", "Samples appended.")?,
            out_of_order: r.float_counter(
                "out_of_order_samples_total",
                "Samples refused for being older than their series' last, or other than it.",
            )?,
            out_of_bounds: r.float_counter(
                "out_of_bound_samples_total",
                "Samples refused for being too old for the head.",
            )?,
            active_appenders: r.gauge(
                "head_active_appenders",
                "Batches neither committed nor dropped.",
            )?,
            retention_passes: r
                .counter("head_truncations_total", "Passes that dropped old chunks.")?,
            retention_pass_seconds: r.seconds(
                "head_gc_duration_seconds",
                "Time of a pass for old chunks and empty series.",
            )?,
            retention_limit_seconds: r.gauge(
                "retention_limit_seconds",
                "How long samples are kept; 0 is for ever.",
            )?,
            replay_seconds: r.float_gauge(
                "data_replay_duration_seconds",
                "Time of the replay at start.",
            )?,
            replay_unknown: r.counter(
                "wal_replay_unknown_refs_total",
                "Samples and chunks in the log whose series' definition is lost.",
            )?,
            clean_start: r.gauge(
                "clean_start",
                "1 if the store was closed properly before, 0 if its lock was left behind.",
            )?,
            wal_corruptions: r.counter(
                "wal_corruptions_total",
                "Places in the log that could not be read.",
            )?,
            wal_fsync_seconds: r
                .seconds("wal_fsync_duration_seconds", "Time of a sync of the log.")?,
            wal_writes_failed: r
                .counter("wal_writes_failed_total", "Writes to the log that failed.")?,
            wal_failing: r.own(IntGauge::new(
                "narthex_tsdb_wal_failing",
                "1 while writes to the log fail and batches are refused.",
            )?)?,
            wal_segment: r.gauge(
                "wal_segment_current",
                "Number of the segment that is written.",
            )?,
            wal_size_bytes: r.gauge(
                "wal_storage_size_bytes",
                "Bytes of the log, checkpoint included.",
            )?,
            wal_truncations: r
                .counter("wal_truncations_total", "Attempts to replace old segments.")?,
            wal_truncations_failed: r.counter(
                "wal_truncations_failed_total",
                "Attempts to replace old segments that failed.",
            )?,
            wal_truncate_seconds: r
                .seconds("wal_truncate_duration_seconds", "Time of such an attempt.")?,
            checkpoints: r.counter(
                "checkpoint_creations_total",
                "Attempts to write a checkpoint.",
            )?,
            checkpoints_failed: r.counter(
                "checkpoint_creations_failed_total",
                "Attempts to write a checkpoint that failed.",
            )?,
            min_time_ms: r.gauge(
                "head_min_time",
                "Time of the oldest sample, in milliseconds.",
            )?,
            max_time_ms: r.gauge(
                "head_max_time",
                "Time of the newest sample, in milliseconds.",
            )?,
            min_time_seconds: r.gauge("head_min_time_seconds", "Time of the oldest sample.")?,
            max_time_seconds: r.gauge("head_max_time_seconds", "Time of the newest sample.")?,
            lowest_ms: r.gauge(
                "lowest_timestamp",
                "Time of the oldest sample stored, in milliseconds.",
            )?,
            lowest_seconds: r.gauge(
                "lowest_timestamp_seconds",
                "Time of the oldest sample stored.",
            )?,
            symbols_size_bytes: r
                .gauge("symbol_table_size_bytes", "Memory of the label strings.")?,
        })
    }

    /// Shows the head as it is now.
    pub(crate) fn show_head(&self, head: &Head) {
        let (min_ms, max_ms) = head.times_ms().unwrap_or((i64::MAX, i64::MIN));
        self.series.set(head.series_count() as i64);
        self.chunks.set(head.chunk_count() as i64);
        self.min_time_ms.set(min_ms);
        self.max_time_ms.set(max_ms);
        self.min_time_seconds.set(min_ms / 1000);
        self.max_time_seconds.set(max_ms / 1000);
        self.lowest_ms.set(min_ms);
        self.lowest_seconds.set(min_ms / 1000);
        self.symbols_size_bytes
            .set(head.symbols_size_bytes() as i64);
    }
}

/// Registers metrics under the store's prefix.
struct Registrar<'a>(&'a Registry);

impl Registrar<'_> {
    fn own<M: Collector + Clone + 'static>(&self, metric: M) -> Result<M, Error> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, Error> {
        self.own(IntGauge::with_opts(options(name, help))?)
    }

    fn float_gauge(&self, name: &str, help: &str) -> Result<prometheus::Gauge, Error> {
        self.own(prometheus::Gauge::with_opts(options(name, help))?)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, Error> {
        self.own(IntCounter::with_opts(options(name, help))?)
    }

    /// A counter by type of sample, of which there are floats here.
    fn float_counter(&self, name: &str, help: &str) -> Result<IntCounter, Error> {
        let by_type = self.own(IntCounterVec::new(options(name, help), &["type"])?)?;
        by_type.get_metric_with_label_values(&["float"])
    }

    fn seconds(&self, name: &str, help: &str) -> Result<Histogram, Error> {
        let options = HistogramOpts::from(options(name, help));
        let buckets = vec![0.0001, 0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0];
        self.own(Histogram::with_opts(options.buckets(buckets))?)
    }
}

fn options(name: &str, help: &str) -> Opts {
    Opts::new(format!("prometheus_tsdb_{name}"), help)
}
