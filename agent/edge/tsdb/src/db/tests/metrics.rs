//! What the store tells of itself.

use std::collections::BTreeSet;

use narthex_storage::StoreAdmin;
use prometheus::Registry;

use super::{HOUR_MS, MINUTE_MS, START_MS, config, fill, series, write};
use crate::db::Db;

/// Upstream's names, as far as each has a meaning here.
const NAMES: &str = "head_series head_series_created_total head_series_removed_total \
    head_series_not_found_total head_chunks head_chunks_created_total head_chunks_removed_total \
    head_chunks_storage_size_bytes head_min_time head_max_time head_min_time_seconds \
    head_max_time_seconds head_samples_appended_total head_out_of_order_samples_appended_total \
    head_active_appenders head_appenders_created_total head_gc_duration_seconds \
    head_truncations_total head_truncations_failed_total blocks_loaded storage_blocks_bytes \
    symbol_table_size_bytes lowest_timestamp lowest_timestamp_seconds retention_limit_bytes \
    retention_limit_percentage retention_limit_seconds size_retentions_total \
    time_retentions_total compactions_total compactions_failed_total compactions_skipped_total \
    compactions_triggered_total compaction_chunk_range_seconds compaction_chunk_samples \
    compaction_chunk_size_bytes compaction_duration_seconds compaction_populating_block \
    vertical_compactions_total reloads_total reloads_failures_total tombstone_cleanup_seconds \
    wal_corruptions_total wal_replay_unknown_refs_total wal_truncate_duration_seconds \
    wal_fsync_duration_seconds wal_segment_current wal_storage_size_bytes wal_truncations_total \
    wal_truncations_failed_total wal_writes_failed_total checkpoint_creations_total \
    checkpoint_creations_failed_total checkpoint_deletions_total \
    checkpoint_deletions_failed_total out_of_order_samples_total out_of_bound_samples_total \
    too_old_samples_total mmap_chunks_total mmap_chunk_corruptions_total \
    data_replay_duration_seconds snapshot_replay_error_total clean_start \
    exemplar_exemplars_appended_total exemplar_exemplars_in_storage \
    exemplar_series_with_exemplars_in_storage exemplar_last_exemplars_timestamp_seconds \
    exemplar_max_exemplars exemplar_out_of_order_exemplars_total";

fn value(registry: &Registry, name: &str) -> f64 {
    let families = registry.gather();
    let family = families.iter().find(|family| family.name() == name);
    let family = family.unwrap_or_else(|| panic!("no {name}"));
    let values = family
        .get_metric()
        .iter()
        .map(|metric| metric.get_gauge().get_value() + metric.get_counter().get_value());
    values.sum()
}

#[test]
fn names_and_figures() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::new();
    let db = Db::open(config(folder.path()), &registry).unwrap();
    fill(&db, 3, START_MS, START_MS + 5 * HOUR_MS);
    let end_ms = START_MS + 5 * HOUR_MS;
    write(&db, &[(&series(0), end_ms - 2 * MINUTE_MS, 0.0)]).unwrap();
    write(&db, &[(&series(0), START_MS, 0.0)]).unwrap();
    let open_batch = narthex_storage::Appendable::appender(&db);
    let at = |name: &str| value(&registry, &format!("prometheus_tsdb_{name}"));
    for (name, expected) in [
        ("head_series", 3.0),
        ("head_series_created_total", 3.0),
        ("head_samples_appended_total", 900.0),
        ("head_min_time", START_MS as f64),
        (
            "head_max_time_seconds",
            ((end_ms - MINUTE_MS) / 1000) as f64,
        ),
        ("head_active_appenders", 1.0),
        ("out_of_order_samples_total", 1.0),
        ("out_of_bound_samples_total", 1.0),
        ("clean_start", 1.0),
        ("exemplar_max_exemplars", 100_000.0),
        ("wal_segment_current", db.log.log.current_number() as f64),
    ] {
        assert_eq!(at(name), expected, "{name}");
    }
    drop(open_batch);
    db.maintain(end_ms);
    assert_eq!(at("head_active_appenders"), 0.0);
    assert_eq!(at("blocks_loaded"), db.block_metas().len() as f64);
    assert_eq!(at("lowest_timestamp"), START_MS as f64);
    assert!(at("head_truncations_total") >= 1.0);
    assert!(at("checkpoint_creations_total") >= 1.0);
    assert!(at("storage_blocks_bytes") > 0.0);

    let there: BTreeSet<String> = registry
        .gather()
        .iter()
        .map(|family| family.name().to_owned())
        .collect();
    for name in NAMES.split_whitespace() {
        assert!(there.contains(&format!("prometheus_tsdb_{name}")), "{name}");
    }
}
