//! What the store tells of itself.

use std::collections::BTreeSet;

use narthex_model::STALE_NAN;
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
    exemplar_max_exemplars exemplar_out_of_order_exemplars_total head_stale_series \
    head_native_histogram_series head_native_histogram_buckets isolation_low_watermark \
    isolation_high_watermark sample_ooo_delta wal_page_flushes_total wal_completed_pages_total \
    wal_record_part_writes_total wal_record_parts_bytes_written_total \
    wal_record_bytes_saved_total wbl_replay_unknown_refs_total \
    stale_series_compactions_triggered_total stale_series_compactions_failed_total \
    selected_series_compactions_triggered_total selected_series_compactions_failed_total";

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

#[test]
fn figures_of_the_head_and_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::new();
    let db = Db::open(config(folder.path()), &registry).unwrap();
    let at = |name: &str| value(&registry, &format!("prometheus_tsdb_{name}"));
    db.set_out_of_order_window_ms(HOUR_MS);
    fill(&db, 4, START_MS, START_MS + 10 * MINUTE_MS);
    let before = at("wal_record_parts_bytes_written_total");
    let commits = at("isolation_high_watermark");
    assert_eq!(at("isolation_low_watermark"), commits);
    let now_ms = START_MS + 10 * MINUTE_MS;
    let reader = content_of(&db);
    for number in 0..3 {
        write(&db, &[(&series(number), now_ms, STALE_NAN)]).unwrap();
    }
    assert_eq!(at("isolation_low_watermark"), commits);
    assert_eq!(at("isolation_high_watermark"), commits + 3.0);
    drop(reader);
    assert_eq!(at("isolation_low_watermark"), commits + 3.0);
    assert_eq!(at("head_stale_series"), 3.0);
    // One is there again; a late sample, and one that is refused for being too old.
    write(&db, &[(&series(0), now_ms + MINUTE_MS, 1.0)]).unwrap();
    write(&db, &[(&series(1), now_ms - 3 * MINUTE_MS - 500, 1.0)]).unwrap();
    write(&db, &[(&series(1), now_ms - 2 * HOUR_MS, 1.0)]).unwrap();
    assert_eq!(at("head_stale_series"), 2.0);
    let families = registry.gather();
    let delays = families
        .iter()
        .find(|f| f.name() == "prometheus_tsdb_sample_ooo_delta");
    let delays = delays.unwrap().get_metric()[0].get_histogram();
    assert_eq!(delays.get_sample_count(), 2);
    assert_eq!(delays.get_sample_sum(), 240.5 + 7260.0);
    let up_to: Vec<u64> = delays
        .get_bucket()
        .iter()
        .map(|b| b.cumulative_count())
        .collect();
    assert_eq!(up_to, [1, 1, 1, 1, 2, 2, 2]);

    let histogram = narthex_model::Histogram {
        count: 3.0,
        zero_count: 1.0,
        sum: 2.0,
        positive_spans: vec![narthex_model::histogram::Span {
            offset: 0,
            length: 2,
        }],
        positive_buckets: vec![1.0, 1.0],
        ..Default::default()
    };
    let mut batch = narthex_storage::Appendable::appender(&db);
    let labels = super::labels(&[("__name__", "h")]);
    batch
        .append_histogram(&labels, now_ms, histogram.into())
        .unwrap();
    batch.commit().unwrap();
    assert_eq!(at("head_native_histogram_series"), 1.0);
    assert_eq!(at("head_native_histogram_buckets"), 2.0);

    assert_eq!(
        at("wal_page_flushes_total"),
        at("wal_record_part_writes_total")
    );
    let bytes = at("wal_record_parts_bytes_written_total");
    assert!(bytes > before && at("wal_completed_pages_total") == (bytes / 32768.0).floor());
    // What came back from the log, and from a snapshot, is counted too.
    for snapshot in [false, true] {
        if snapshot {
            db.write_snapshot(&mut db.upkeep()).unwrap();
        }
        let root = tempfile::tempdir().unwrap();
        super::copy(folder.path(), &root.path().join("copy"));
        let registry = Registry::new();
        let again = Db::open(config(&root.path().join("copy")), &registry).unwrap();
        assert_eq!(
            value(&registry, "prometheus_tsdb_head_stale_series"),
            2.0,
            "{snapshot}"
        );
        drop(again);
    }
    db.head.truncate(now_ms + 2 * MINUTE_MS, &db.log).unwrap();
    for _ in 0..2 {
        db.head.collect_garbage();
    }
    assert_eq!(at("head_stale_series"), 0.0);
}

/// Someone who reads.
fn content_of(db: &Db) -> Vec<Box<dyn narthex_storage::Series>> {
    let query = narthex_storage::SelectQuery {
        matchers: &[],
        start_ms: i64::MIN,
        end_ms: i64::MAX,
        cancel: narthex_model::CancelToken::default(),
    };
    narthex_storage::Queryable::select(db, &query).unwrap()
}
