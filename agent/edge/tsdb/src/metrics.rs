//! What the store tells of itself, under Prometheus's names where Prometheus has the metric.
//!
//! What the head and the log count themselves is read when the metrics are gathered; the rest is
//! counted where it happens. The blocks have metrics of their own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use narthex_head::{Count, Delays, Head};
use narthex_telemetry::Summary;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Histogram, Metric, MetricFamily, MetricType};
use prometheus::{Error, Gauge, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::head_chunks::HeadChunks;
use crate::log::{Log, Written};

/// Of Prometheus's log; ours is measured by them.
const PAGE_BYTES: u64 = 32 << 10;

/// What Prometheus counts and can't happen here, with the reason. They stay 0, so that what asks
/// for them finds them.
const NEVER: [(&str, &str); 6] = [
    (
        "stale_series_compactions_triggered_total",
        "0: series that ended leave the head with their last sample, without a block of their own.",
    ),
    (
        "stale_series_compactions_failed_total",
        "0: there are no compactions of stale series.",
    ),
    (
        "selected_series_compactions_triggered_total",
        "0: nobody can ask for a block of chosen series.",
    ),
    (
        "selected_series_compactions_failed_total",
        "0: there are no compactions of chosen series.",
    ),
    (
        "wal_record_bytes_saved_total",
        "0: records of the log are not compressed once more, they are written small.",
    ),
    (
        "wbl_replay_unknown_refs_total",
        "0: samples that come late are in the one log; see wal_replay_unknown_refs_total.",
    ),
];

/// Counted where it happens.
pub(crate) struct Metrics {
    pub(crate) truncations: IntCounter,
    pub(crate) truncations_failed: IntCounter,
    pub(crate) gc_seconds: Summary,
    pub(crate) retention_seconds: IntGauge,
    pub(crate) retention_bytes: IntGauge,
    pub(crate) retention_percent: Gauge,
    pub(crate) replay_seconds: Gauge,
    pub(crate) replay_unknown: IntCounter,
    pub(crate) snapshot_replay_errors: IntCounter,
    pub(crate) clean_start: IntGauge,
    pub(crate) wal_corruptions: IntCounter,
    pub(crate) wal_fsync_seconds: Summary,
    pub(crate) wal_syncs_failed: IntCounter,
    pub(crate) wal_writes_failed: IntCounter,
    pub(crate) wal_failing: IntGauge,
    pub(crate) wal_truncations: IntCounter,
    pub(crate) wal_truncations_failed: IntCounter,
    pub(crate) wal_truncate_seconds: Summary,
    pub(crate) snapshot_size_bytes: IntGauge,
    pub(crate) checkpoints: IntCounter,
    pub(crate) checkpoints_failed: IntCounter,
    pub(crate) checkpoint_deletions: IntCounter,
    pub(crate) checkpoint_deletions_failed: IntCounter,
    pub(crate) chunk_corruptions: IntCounter,
    pub(crate) max_exemplars: IntGauge,
    pub(crate) lowest_ms: IntGauge,
    pub(crate) lowest_seconds: IntGauge,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, Error> {
        let r = Registrar(registry);
        for (name, help) in NEVER {
            r.counter(name, help)?;
        }
        Ok(Metrics {
            truncations: r.counter(
                "head_truncations_total",
                "Times that the head gave old samples to blocks.",
            )?,
            truncations_failed: r
                .counter("head_truncations_failed_total", "Times that this failed.")?,
            gc_seconds: r.summary(
                "head_gc_duration_seconds",
                "Time of a pass for old chunks and empty series.",
            )?,
            retention_seconds: r.gauge(
                "retention_limit_seconds",
                "How long blocks are kept; 0 is for ever.",
            )?,
            retention_bytes: r.gauge(
                "retention_limit_bytes",
                "How much room the store may take; 0 is any.",
            )?,
            retention_percent: r.float_gauge(
                "retention_limit_percentage",
                "How much of its disk the store may take; 0 is any.",
            )?,
            replay_seconds: r.float_gauge(
                "data_replay_duration_seconds",
                "Time of the replay at start.",
            )?,
            replay_unknown: r.counter(
                "wal_replay_unknown_refs_total",
                "Samples in the log whose series is not known, as its definition is lost.",
            )?,
            snapshot_replay_errors: r.counter(
                "snapshot_replay_error_total",
                "Snapshots of the head that had damaged parts.",
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
                .summary("wal_fsync_duration_seconds", "Time of a sync of the log.")?,
            wal_syncs_failed: r.own(IntCounter::new(
                "narthex_tsdb_wal_syncs_failed_total",
                "Syncs of the log that failed.",
            )?)?,
            wal_writes_failed: r
                .counter("wal_writes_failed_total", "Writes to the log that failed.")?,
            wal_failing: r.own(IntGauge::new(
                "narthex_tsdb_wal_failing",
                "1 while writes to the log fail and batches are refused.",
            )?)?,
            wal_truncations: r
                .counter("wal_truncations_total", "Attempts to replace old segments.")?,
            wal_truncations_failed: r.counter(
                "wal_truncations_failed_total",
                "Attempts to replace old segments that failed.",
            )?,
            wal_truncate_seconds: r
                .summary("wal_truncate_duration_seconds", "Time of such an attempt.")?,
            snapshot_size_bytes: r.own(IntGauge::new(
                "narthex_tsdb_head_snapshot_bytes",
                "Bytes of the snapshot of the head that replaces the log before it.",
            )?)?,
            checkpoints: r.counter(
                "checkpoint_creations_total",
                "Attempts to write a snapshot of the head.",
            )?,
            checkpoints_failed: r.counter(
                "checkpoint_creations_failed_total",
                "Attempts to write a snapshot of the head that failed.",
            )?,
            checkpoint_deletions: r.counter(
                "checkpoint_deletions_total",
                "Attempts to delete a former snapshot of the head.",
            )?,
            checkpoint_deletions_failed: r.counter(
                "checkpoint_deletions_failed_total",
                "Attempts to delete a former snapshot of the head that failed.",
            )?,
            chunk_corruptions: r.counter(
                "mmap_chunk_corruptions_total",
                "Chunks of the head that could not be read from their file.",
            )?,
            max_exemplars: r.gauge("exemplar_max_exemplars", "Exemplars that are kept at most.")?,
            lowest_ms: r.gauge(
                "lowest_timestamp",
                "Time of the oldest sample stored, in milliseconds.",
            )?,
            lowest_seconds: r.gauge(
                "lowest_timestamp_seconds",
                "Time of the oldest sample stored.",
            )?,
        })
    }
}

/// What the metrics of [`Shown`] are read from.
pub(crate) struct Sources {
    pub(crate) head: Weak<Head>,
    pub(crate) log: Weak<Log>,
    pub(crate) chunks: Weak<HeadChunks>,
}

/// Read from the head and the log when it is asked for.
pub(crate) struct Shown {
    sources: Sources,
    /// Gathering reads and sets them in one go.
    figures: Mutex<Figures>,
    descriptions: Vec<Desc>,
}

impl Shown {
    pub(crate) fn register(registry: &Registry, sources: Sources) -> Result<(), Error> {
        let figures = Figures::new()?;
        let descriptions = figures
            .collectors()
            .iter()
            .flat_map(|collector| collector.desc())
            .cloned()
            .collect();
        registry.register(Box::new(Shown {
            sources,
            figures: Mutex::new(figures),
            descriptions,
        }))
    }
}

impl Collector for Shown {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(head) = self.sources.head.upgrade() {
            figures.read_head(&head);
        }
        if let Some(log) = self.sources.log.upgrade() {
            let number = i64::try_from(log.current_number()).unwrap_or(i64::MAX);
            figures.wal_segment.set(number);
            figures.wal_size_bytes.set(signed(log.size_bytes()));
            figures.read_written(log.written());
        }
        if let Some(chunks) = self.sources.chunks.upgrade() {
            figures.chunks_size_bytes.set(signed(chunks.size_bytes()));
        }
        let collectors = figures.collectors();
        collectors.iter().flat_map(|c| c.collect()).collect()
    }
}

struct Figures {
    series: IntGauge,
    series_created: IntCounter,
    series_removed: IntCounter,
    series_not_found: IntCounter,
    chunks: IntGauge,
    chunks_created: IntCounter,
    chunks_removed: IntCounter,
    chunks_sealed: IntCounter,
    chunks_size_bytes: IntGauge,
    min_ms: IntGauge,
    max_ms: IntGauge,
    min_seconds: IntGauge,
    max_seconds: IntGauge,
    appended: IntCounterVec,
    late_appended: IntCounterVec,
    active_appenders: IntGauge,
    appenders_created: IntCounter,
    out_of_order: IntCounterVec,
    out_of_bounds: IntCounterVec,
    too_old: IntCounterVec,
    duplicates: IntCounter,
    exemplars_appended: IntCounter,
    exemplars: IntGauge,
    series_with_exemplars: IntGauge,
    last_exemplar_seconds: Gauge,
    exemplars_out_of_order: IntCounter,
    wal_segment: IntGauge,
    wal_size_bytes: IntGauge,
    wal_writes: IntCounter,
    wal_records: IntCounter,
    wal_bytes: IntCounter,
    wal_pages: IntCounter,
    stale_series: IntGauge,
    histogram_series: IntGauge,
    histogram_buckets: IntGauge,
    low_watermark: IntGauge,
    high_watermark: IntGauge,
    delays: DelayHistogram,
}

impl Figures {
    fn new() -> Result<Self, Error> {
        let gauge = |name, help| IntGauge::with_opts(options(name, help));
        let counter = |name, help| IntCounter::with_opts(options(name, help));
        let by_type = |name, help| IntCounterVec::new(options(name, help), &["type"]);
        Ok(Figures {
            series: gauge("head_series", "Series in the head.")?,
            series_created: counter("head_series_created_total", "Series created in the head.")?,
            series_removed: counter("head_series_removed_total", "Series removed from the head.")?,
            series_not_found: counter(
                "head_series_not_found_total",
                "References to series that are no longer there.",
            )?,
            chunks: gauge("head_chunks", "Chunks in the head.")?,
            chunks_created: counter("head_chunks_created_total", "Chunks begun in the head.")?,
            chunks_removed: counter("head_chunks_removed_total", "Chunks dropped from the head.")?,
            chunks_sealed: counter("mmap_chunks_total", "Chunks that became full.")?,
            chunks_size_bytes: gauge(
                "head_chunks_storage_size_bytes",
                "Bytes of the files with full chunks of the head.",
            )?,
            min_ms: gauge(
                "head_min_time",
                "Time of the oldest sample in the head, in milliseconds.",
            )?,
            max_ms: gauge(
                "head_max_time",
                "Time of the newest sample in the head, in milliseconds.",
            )?,
            min_seconds: gauge(
                "head_min_time_seconds",
                "Time of the oldest sample in the head.",
            )?,
            max_seconds: gauge(
                "head_max_time_seconds",
                "Time of the newest sample in the head.",
            )?,
            appended: by_type("head_samples_appended_total", "Samples appended.")?,
            late_appended: by_type(
                "head_out_of_order_samples_appended_total",
                "Samples appended that came late.",
            )?,
            active_appenders: gauge(
                "head_active_appenders",
                "Batches neither committed nor dropped.",
            )?,
            appenders_created: counter("head_appenders_created_total", "Batches begun.")?,
            out_of_order: by_type(
                "out_of_order_samples_total",
                "Samples refused for being older than their series' last.",
            )?,
            out_of_bounds: by_type(
                "out_of_bound_samples_total",
                "Samples refused for being too old for the head.",
            )?,
            too_old: by_type(
                "too_old_samples_total",
                "Samples refused for being older than late samples may be.",
            )?,
            duplicates: IntCounter::new(
                "narthex_tsdb_duplicate_samples_total",
                "Samples refused because their series has another value at the same time.",
            )?,
            exemplars_appended: counter(
                "exemplar_exemplars_appended_total",
                "Exemplars appended.",
            )?,
            exemplars: gauge("exemplar_exemplars_in_storage", "Exemplars that are kept.")?,
            series_with_exemplars: gauge(
                "exemplar_series_with_exemplars_in_storage",
                "Series with exemplars that are kept.",
            )?,
            last_exemplar_seconds: Gauge::with_opts(options(
                "exemplar_last_exemplars_timestamp_seconds",
                "Time of the newest exemplar.",
            ))?,
            exemplars_out_of_order: counter(
                "exemplar_out_of_order_exemplars_total",
                "Exemplars refused for being older than their series' last.",
            )?,
            wal_segment: gauge(
                "wal_segment_current",
                "Number of the segment that is written.",
            )?,
            wal_size_bytes: gauge("wal_storage_size_bytes", "Bytes of the log.")?,
            wal_writes: counter(
                "wal_page_flushes_total",
                "Writes to the file of the log. It has no pages: a record is one write.",
            )?,
            wal_records: counter(
                "wal_record_part_writes_total",
                "Records written to the log, none of which is divided.",
            )?,
            wal_bytes: counter(
                "wal_record_parts_bytes_written_total",
                "Bytes written to the log, checksums included.",
            )?,
            wal_pages: counter(
                "wal_completed_pages_total",
                "How often 32 KiB of the log were filled. It has no pages.",
            )?,
            stale_series: gauge(
                "head_stale_series",
                "Series in the head whose last sample is a stale marker.",
            )?,
            histogram_series: gauge(
                "head_native_histogram_series",
                "Series in the head whose last sample is a native histogram.",
            )?,
            histogram_buckets: gauge(
                "head_native_histogram_buckets",
                "Buckets of the last samples that are native histograms.",
            )?,
            low_watermark: gauge(
                "isolation_low_watermark",
                "Number of the last commit that all present readers see.",
            )?,
            high_watermark: gauge("isolation_high_watermark", "Number of the last commit.")?,
            delays: DelayHistogram::new()?,
        })
    }

    fn collectors(&self) -> [&dyn Collector; 38] {
        [
            &self.series,
            &self.series_created,
            &self.series_removed,
            &self.series_not_found,
            &self.chunks,
            &self.chunks_created,
            &self.chunks_removed,
            &self.chunks_sealed,
            &self.chunks_size_bytes,
            &self.min_ms,
            &self.max_ms,
            &self.min_seconds,
            &self.max_seconds,
            &self.appended,
            &self.late_appended,
            &self.active_appenders,
            &self.appenders_created,
            &self.out_of_order,
            &self.out_of_bounds,
            &self.too_old,
            &self.duplicates,
            &self.exemplars_appended,
            &self.exemplars,
            &self.series_with_exemplars,
            &self.last_exemplar_seconds,
            &self.exemplars_out_of_order,
            &self.wal_segment,
            &self.wal_size_bytes,
            &self.wal_writes,
            &self.wal_records,
            &self.wal_bytes,
            &self.wal_pages,
            &self.stale_series,
            &self.histogram_series,
            &self.histogram_buckets,
            &self.low_watermark,
            &self.high_watermark,
            &self.delays,
        ]
    }

    fn read_written(&self, written: Written) {
        raise_to(&self.wal_writes, written.frames);
        raise_to(&self.wal_records, written.frames);
        raise_to(&self.wal_bytes, written.bytes);
        raise_to(&self.wal_pages, written.bytes / PAGE_BYTES);
    }

    fn read_head(&self, head: &Head) {
        let stats = head.stats();
        self.series.set(signed(stats.series));
        self.chunks.set(signed(stats.chunks));
        self.min_ms.set(stats.min_time_ms);
        self.max_ms.set(stats.max_time_ms);
        self.min_seconds.set(stats.min_time_ms.div_euclid(1000));
        self.max_seconds.set(stats.max_time_ms.div_euclid(1000));
        self.active_appenders.set(signed(head.open_batches()));
        let counters = head.counters();
        raise(&self.series_created, &counters.series_created);
        raise(&self.series_removed, &counters.series_removed);
        raise(&self.series_not_found, &counters.series_not_found);
        raise(&self.chunks_created, &counters.chunks_created);
        raise(&self.chunks_removed, &counters.chunks_removed);
        raise(&self.chunks_sealed, &counters.chunks_sealed);
        raise(&self.appenders_created, &counters.batches_opened);
        raise(&self.duplicates, &counters.refused_duplicate);
        let float =
            |by_type: &IntCounterVec, count| raise(&by_type.with_label_values(&["float"]), count);
        float(&self.appended, &counters.floats_stored);
        float(&self.late_appended, &counters.out_of_order_stored);
        float(&self.out_of_order, &counters.refused_out_of_order);
        float(&self.out_of_bounds, &counters.refused_out_of_bounds);
        float(&self.too_old, &counters.refused_too_old);
        let histograms = self.appended.with_label_values(&["histogram"]);
        raise(&histograms, &counters.histograms_stored);
        raise(&self.exemplars_appended, &counters.exemplars_stored);
        raise(
            &self.exemplars_out_of_order,
            &counters.exemplars_out_of_order,
        );
        self.stale_series.set(signed(counters.stale_series()));
        let (series, buckets) = head.histogram_figures();
        self.histogram_series.set(signed(series));
        self.histogram_buckets.set(signed(buckets));
        let (low, high) = head.watermarks();
        self.low_watermark.set(signed(low));
        self.high_watermark.set(signed(high));
        self.delays.read(&counters.delays);
        let (exemplars, series, newest_ms) = head.exemplar_figures();
        self.exemplars.set(signed(exemplars));
        self.series_with_exemplars.set(signed(series));
        let seconds = newest_ms.map_or(0.0, |newest_ms| newest_ms as f64 / 1000.0);
        self.last_exemplar_seconds.set(seconds);
    }
}

fn raise(counter: &IntCounter, count: &Count) {
    raise_to(counter, count.get());
}

fn raise_to(counter: &IntCounter, count: u64) {
    counter.inc_by(count.saturating_sub(counter.get()));
}

/// The delays of late samples, which the head counts, as a histogram.
struct DelayHistogram {
    desc: Desc,
    figures: Mutex<Histogram>,
}

impl DelayHistogram {
    fn new() -> Result<Self, Error> {
        let help = "How far behind the newest sample late ones were, in seconds, taken or not.";
        let name = "prometheus_tsdb_sample_ooo_delta".to_owned();
        Ok(DelayHistogram {
            desc: Desc::new(name, help.to_owned(), Vec::new(), HashMap::new())?,
            figures: Mutex::default(),
        })
    }

    fn read(&self, delays: &Delays) {
        let (up_to, count, sum) = delays.get();
        let buckets = Delays::BOUNDS_SECONDS.iter().zip(up_to);
        let buckets = buckets.map(|(bound, count)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(f64::from(*bound));
            bucket.set_cumulative_count(count);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(count);
        histogram.set_sample_sum(sum);
        *self.figures.lock().unwrap_or_else(PoisonError::into_inner) = histogram;
    }
}

impl Collector for DelayHistogram {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        let mut metric = Metric::from_label(Vec::new());
        metric.set_histogram(figures.clone());
        let mut family = MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(MetricType::HISTOGRAM);
        family.set_metric(vec![metric]);
        vec![family]
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
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

    fn float_gauge(&self, name: &str, help: &str) -> Result<Gauge, Error> {
        self.own(Gauge::with_opts(options(name, help))?)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, Error> {
        self.own(IntCounter::with_opts(options(name, help))?)
    }

    fn summary(&self, name: &str, help: &str) -> Result<Summary, Error> {
        let name = format!("prometheus_tsdb_{name}");
        Summary::register(self.0, &name, help, &[0.5, 0.9, 0.99])
    }
}

fn options(name: &str, help: &str) -> Opts {
    Opts::new(format!("prometheus_tsdb_{name}"), help)
}

/// The sources of a store.
pub(crate) fn sources(head: &Arc<Head>, log: &Arc<Log>, chunks: &Arc<HeadChunks>) -> Sources {
    Sources {
        head: Arc::downgrade(head),
        log: Arc::downgrade(log),
        chunks: Arc::downgrade(chunks),
    }
}
