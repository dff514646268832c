//! Readers while blocks are written, compacted and deleted.

use std::sync::atomic::{AtomicBool, Ordering};

use narthex_storage::Queryable;

use super::common::*;
use crate::steady;

fn some(range_ms: (i64, i64)) -> Content {
    let series = ["a", "b"].map(|name| {
        let times = (range_ms.0..range_ms.1).step_by(10);
        (
            labels(&[("name", name)]),
            floats(times.map(|t| (t, t as f64))),
        )
    });
    series.into_iter().collect()
}

#[test]
fn readers_see_each_sample_once_whatever_happens_to_the_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let blocks = open(folder.path());
    write(&blocks, &some((0, 1000)), (0, 1000));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut newest = 0;
                while !done.load(Ordering::Relaxed) {
                    let found = content(&blocks.select(&select(&[], 0, i64::MAX)).unwrap());
                    let end = *found.values().next().unwrap().last_key_value().unwrap().0;
                    assert!(end >= newest, "what was there is gone");
                    newest = end;
                    let end = (end / 1000 + 1) * 1000;
                    assert_same(&found, &some((0, end)), "while blocks change");
                }
            });
        }
        for start in (1000..20_000).step_by(1000) {
            write(&blocks, &some((start, start + 1000)), (start, start + 1000));
            blocks.compact(&[1000, 3000, 9000], &steady).unwrap();
            blocks.reload().unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(blocks.loaded().len() < 8);
    let metrics = blocks.metrics();
    assert_eq!(metrics.blocks_loaded.get(), blocks.loaded().len() as i64);
    assert_eq!(metrics.blocks_size_bytes.get(), blocks.size_bytes() as i64);
    assert!(metrics.compactions.get() > 20 && metrics.compactions_failed.get() == 0);
    assert_eq!(metrics.reloads.get(), 20);
    assert_eq!(metrics.populating_block.get(), 0);
}

#[test]
fn the_metrics_have_the_upstream_names() {
    let registry = prometheus::Registry::new();
    crate::Metrics::new(&registry).unwrap();
    let names: Vec<String> = registry
        .gather()
        .iter()
        .map(|f| f.name().to_owned())
        .collect();
    for name in [
        "blocks_loaded",
        "compaction_chunk_range_seconds",
        "compaction_chunk_samples",
        "compaction_chunk_size_bytes",
        "compaction_duration_seconds",
        "compaction_populating_block",
        "compactions_failed_total",
        "compactions_skipped_total",
        "compactions_total",
        "compactions_triggered_total",
        "reloads_failures_total",
        "reloads_total",
        "size_retentions_total",
        "storage_blocks_bytes",
        "symbol_table_size_bytes",
        "time_retentions_total",
        "tombstone_cleanup_seconds",
        "vertical_compactions_total",
    ] {
        let name = format!("prometheus_tsdb_{name}");
        assert!(names.contains(&name), "{name} is missing");
    }
}

#[test]
fn labels_are_of_series_that_have_samples_in_the_range() {
    let folder = tempfile::tempdir().unwrap();
    let blocks = open(folder.path());
    let content: Content = [("a", "x", 0), ("b", "y", 500)]
        .map(|(name, other, start)| {
            let samples = floats((start..start + 500).map(|t| (t, 1.0)));
            (labels(&[("name", name), (other, "1")]), samples)
        })
        .into_iter()
        .collect();
    write(&blocks, &content, (0, 1000));
    let asked = |matchers: &[narthex_model::Matcher], start_ms, end_ms| {
        let sets = [matchers.to_vec()];
        let query = label_query(&sets, start_ms, end_ms);
        let text = |found: Vec<std::sync::Arc<str>>| found.join(" ");
        let names = text(blocks.label_names(&query).unwrap());
        let values = text(blocks.label_values("name", &query).unwrap());
        (names, values, blocks.series(&query).unwrap().len())
    };
    let expected = |names: &str, values: &str, series| (names.into(), values.into(), series);
    assert_eq!(asked(&[], 0, 999), expected("name x y", "a b", 2));
    assert_eq!(asked(&[], 0, 400), expected("name x", "a", 1));
    assert_eq!(asked(&[], 600, 5000), expected("name y", "b", 1));
    assert_eq!(asked(&[], 1000, 5000), expected("", "", 0));
    let b = [narthex_model::Matcher::equal("name", "b")];
    assert_eq!(asked(&b, 0, 999), expected("name y", "b", 1));
    assert_eq!(asked(&b, 0, 400), expected("", "", 0));
    // No set at all means all; several sets mean any.
    let query = label_query(&[], 0, 999);
    assert_eq!(blocks.series(&query).unwrap().len(), 2);
    let both = [
        b.to_vec(),
        vec![narthex_model::Matcher::equal("name", "a")],
        b.to_vec(),
    ];
    assert_eq!(blocks.series(&label_query(&both, 0, 999)).unwrap().len(), 2);
    blocks.delete(&[b.to_vec()], 0, 999).unwrap();
    assert_eq!(asked(&[], 0, 999), expected("name x", "a", 1));
}
