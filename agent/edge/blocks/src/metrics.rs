//! What block folders tell of themselves, under Prometheus's names where Prometheus has the metric.

use prometheus::core::Collector;
use prometheus::{
    Error, Histogram, HistogramOpts, IntCounter, IntGauge, Opts, Registry, exponential_buckets,
};

/// Cheap to clone; the clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// For whoever starts compactions: how often it did.
    pub compactions_triggered: IntCounter,
    /// For whoever starts compactions: how often it did not, as they are switched off.
    pub compactions_skipped: IntCounter,
    pub compactions: IntCounter,
    pub compactions_failed: IntCounter,
    pub vertical_compactions: IntCounter,
    pub compaction_seconds: Histogram,
    pub populating_block: IntGauge,
    pub chunk_range_seconds: Histogram,
    pub chunk_samples: Histogram,
    pub chunk_size_bytes: Histogram,
    pub reloads: IntCounter,
    pub reloads_failed: IntCounter,
    pub blocks_loaded: IntGauge,
    pub blocks_unreadable: IntGauge,
    pub blocks_size_bytes: IntGauge,
    pub symbols_size_bytes: IntGauge,
    pub time_retentions: IntCounter,
    pub size_retentions: IntCounter,
    pub tombstone_cleanup_seconds: Histogram,
    pub damaged_chunks: IntCounter,
}

impl Metrics {
    pub fn new(registry: &Registry) -> Result<Self, Error> {
        let r = Registrar(registry);
        Ok(Metrics {
            compactions_triggered: r.counter(
                "prometheus_tsdb_compactions_triggered_total",
                "Times that compactions were asked for.",
            )?,
            compactions_skipped: r.counter(
                "prometheus_tsdb_compactions_skipped_total",
                "Times that compactions were asked for while they were switched off.",
            )?,
            compactions: r.counter(
                "prometheus_tsdb_compactions_total",
                "Blocks written from the head or from other blocks.",
            )?,
            compactions_failed: r.counter(
                "prometheus_tsdb_compactions_failed_total",
                "Compactions that failed.",
            )?,
            vertical_compactions: r.counter(
                "prometheus_tsdb_vertical_compactions_total",
                "Compactions of blocks that overlap in time.",
            )?,
            compaction_seconds: r.histogram(
                "prometheus_tsdb_compaction_duration_seconds",
                "Time of a compaction.",
                exponential_buckets(1.0, 2.0, 14)?,
            )?,
            populating_block: r.gauge(
                "prometheus_tsdb_compaction_populating_block",
                "1 while a block is being written.",
            )?,
            chunk_range_seconds: r.histogram(
                "prometheus_tsdb_compaction_chunk_range_seconds",
                "Time between the first and the last sample of a chunk when it is written.",
                exponential_buckets(100.0, 4.0, 10)?,
            )?,
            chunk_samples: r.histogram(
                "prometheus_tsdb_compaction_chunk_samples",
                "Samples of a chunk when it is written.",
                exponential_buckets(4.0, 1.5, 12)?,
            )?,
            chunk_size_bytes: r.histogram(
                "prometheus_tsdb_compaction_chunk_size_bytes",
                "Size of a chunk when it is written.",
                exponential_buckets(32.0, 1.5, 12)?,
            )?,
            reloads: r.counter(
                "prometheus_tsdb_reloads_total",
                "Times that the blocks of the data folder were looked through.",
            )?,
            reloads_failed: r.counter(
                "prometheus_tsdb_reloads_failures_total",
                "Times that looking through the data folder failed, or a block in it could not be read.",
            )?,
            blocks_loaded: r.gauge("prometheus_tsdb_blocks_loaded", "Blocks that are open.")?,
            blocks_unreadable: r.gauge(
                "narthex_tsdb_blocks_unreadable",
                "Blocks in the data folder that cannot be read and are left out.",
            )?,
            blocks_size_bytes: r.gauge(
                "prometheus_tsdb_storage_blocks_bytes",
                "Bytes of the blocks on disk.",
            )?,
            symbols_size_bytes: r.gauge(
                "prometheus_tsdb_symbol_table_size_bytes",
                "Memory that the symbol tables of the open blocks take.",
            )?,
            time_retentions: r.counter(
                "prometheus_tsdb_time_retentions_total",
                "Times that blocks were deleted as they were too old.",
            )?,
            size_retentions: r.counter(
                "prometheus_tsdb_size_retentions_total",
                "Times that blocks were deleted as the store took too much room.",
            )?,
            tombstone_cleanup_seconds: r.histogram(
                "prometheus_tsdb_tombstone_cleanup_seconds",
                "Time of writing blocks without what was deleted from them.",
                prometheus::DEFAULT_BUCKETS.to_vec(),
            )?,
            damaged_chunks: r.counter(
                "narthex_tsdb_block_chunk_corruptions_total",
                "Chunks of blocks that could not be read, each counted once.",
            )?,
        })
    }
}

struct Registrar<'a>(&'a Registry);

impl Registrar<'_> {
    fn own<M: Collector + Clone + 'static>(&self, metric: M) -> Result<M, Error> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, Error> {
        self.own(IntCounter::with_opts(Opts::new(name, help))?)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, Error> {
        self.own(IntGauge::with_opts(Opts::new(name, help))?)
    }

    fn histogram(&self, name: &str, help: &str, buckets: Vec<f64>) -> Result<Histogram, Error> {
        let options = HistogramOpts::new(name, help).buckets(buckets);
        self.own(Histogram::with_opts(options)?)
    }
}
