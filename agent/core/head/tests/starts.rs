//! Samples with the times at which their counters started: stored, told back, and brought back.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{TestLog, head, labels, replay, select};
use narthex_chunk::{encode_histograms_with_starts, encode_xor2};
use narthex_head::{Head, Options, StartTimes};
use narthex_model::{Histogram, Labels, STALE_NAN};
use narthex_storage::Column;
use proptest::prelude::*;

/// Times with values and starts.
type Told = BTreeMap<i64, (f64, i64)>;

fn options() -> Options {
    Options {
        out_of_order_window_ms: 1 << 40,
        ..Options::default()
    }
}

fn histogram(count: f64) -> Arc<Histogram> {
    Arc::new(Histogram {
        count,
        zero_count: count,
        sum: count,
        ..Histogram::default()
    })
}

/// What is told of all series; the sum stands for a histogram.
fn told(head: &Arc<Head>) -> BTreeMap<Labels, Told> {
    let mut all = BTreeMap::new();
    for series in select(head, &[], i64::MIN, i64::MAX) {
        let mut samples = Told::new();
        let visited = series.visit_with_starts(&mut |column, starts| {
            let (times, values) = match column {
                Column::Floats {
                    timestamps_ms,
                    values,
                } => (timestamps_ms, values.to_vec()),
                Column::Histograms {
                    timestamps_ms,
                    values,
                } => (timestamps_ms, values.iter().map(|h| h.sum).collect()),
            };
            assert!(starts.is_empty() || starts.len() == times.len());
            for (at, (time, value)) in times.iter().zip(values).enumerate() {
                let start = starts.get(at).copied().unwrap_or(0);
                samples.insert(*time, (value, start));
            }
        });
        visited.unwrap();
        all.insert(series.labels().clone(), samples);
    }
    all
}

fn put(head: &Head, log: &TestLog, samples: &[(&str, i64, f64, i64)]) {
    let mut batch = head.batch();
    for (at, (name, time, value, start)) in (0..).zip(samples) {
        batch.append(&labels(name), *time, *value).unwrap();
        batch.set_start(at, *start);
    }
    batch.commit(log).unwrap();
}

fn again(log: &TestLog) -> Arc<Head> {
    let again = head(options());
    replay(&again, &log.records.lock().unwrap(), 2);
    again
}

fn from_snapshot(head: &Head) -> Arc<Head> {
    let mut bytes = Vec::new();
    head.write_snapshot(&mut bytes).unwrap();
    let copy = common::head(options());
    assert_eq!(copy.read_snapshot(&bytes).unwrap().damaged_pages, 0);
    copy.finish_replay();
    copy
}

#[test]
fn each_sample_is_told_with_its_start() {
    let (head, log) = (head(options()), TestLog::default());
    put(&head, &log, &[("a", 1000, 1.0, 900), ("b", 1000, 1.0, 0)]);
    put(&head, &log, &[("a", 2000, 2.0, 900), ("b", 2000, 2.0, 0)]);
    // A new start, no start, a late sample, one between that has none, a new series.
    put(
        &head,
        &log,
        &[("a", 3000, 0.5, 2900), ("b", 3000, 3.0, 2500)],
    );
    put(
        &head,
        &log,
        &[
            ("a", 4000, 0.75, 0),
            ("a", 1500, 1.5, 950),
            ("c", 4000, 1.0, 7),
        ],
    );
    put(
        &head,
        &log,
        &[
            ("a", 2500, 2.0, 0),
            ("b", 4000, STALE_NAN, 0),
            ("b", 5000, 4.0, 2500),
        ],
    );
    let expected = |name: &str| -> Vec<(i64, i64)> {
        let there = told(&head).remove(&labels(name)).unwrap();
        there
            .into_iter()
            .map(|(time, (_, start))| (time, start))
            .collect()
    };
    assert_eq!(
        expected("a"),
        [
            (1000, 900),
            (1500, 950),
            (2000, 900),
            (2500, 0),
            (3000, 2900),
            (4000, 0)
        ]
    );
    assert_eq!(
        expected("b"),
        [
            (1000, 0),
            (2000, 0),
            (3000, 2500),
            (4000, 2500),
            (5000, 2500)
        ]
    );
    assert_eq!(expected("c"), [(4000, 7)]);
    let there = format!("{:?}", told(&head));
    assert_eq!(format!("{:?}", told(&again(&log))), there);
    let copy = from_snapshot(&head);
    assert_eq!(format!("{:?}", told(&copy)), there);
    // The log once more, on top of a snapshot that has it.
    replay(&copy, &log.records.lock().unwrap(), 3);
    assert_eq!(format!("{:?}", told(&copy)), there);
}

#[test]
fn what_has_no_starts_costs_nothing() {
    let sizes = [0, 5].map(|start| {
        let (head, log) = (head(options()), TestLog::default());
        put(&head, &log, &[("a", 1000, 1.0, start)]);
        let first: usize = log.take().iter().map(|(_, record)| record.len()).sum();
        put(&head, &log, &[("a", 2000, 2.0, start)]);
        let next: usize = log.take().iter().map(|(_, record)| record.len()).sum();
        let mut snapshot = Vec::new();
        head.write_snapshot(&mut snapshot).unwrap();
        (first, next, head.memory().pages, snapshot.len())
    });
    let [without, with] = sizes;
    assert!(without.0 < with.0 && without.2 < with.2 && without.3 < with.3);
    // A start that stays is not written again.
    assert_eq!(without.1, with.1);
}

#[test]
fn starts_become_zeros_if_they_are_asked_for() {
    let (head, log) = (head(Options::default()), TestLog::default());
    head.set_start_times(StartTimes {
        keep: false,
        as_zeros: true,
    });
    let hour = 3_600_000;
    // Within the bounds, not newer than the last sample, as old as the sample, too old.
    put(
        &head,
        &log,
        &[
            ("a", 10 * hour, 5.0, 10 * hour - 500),
            ("b", 10 * hour, 1.0, 10 * hour),
        ],
    );
    put(
        &head,
        &log,
        &[("a", 10 * hour + 1000, 6.0, 10 * hour - 500)],
    );
    put(
        &head,
        &log,
        &[
            ("a", 10 * hour + 2000, 1.0, 10 * hour + 1500),
            ("c", 10 * hour, 1.0, hour),
        ],
    );
    // The last sample is where the counter started.
    put(
        &head,
        &log,
        &[
            ("b", 10 * hour + 9, 1.0, 10 * hour),
            ("b", 10 * hour + 20, STALE_NAN, 10 * hour + 15),
        ],
    );
    let mut batch = head.batch();
    batch
        .append_histogram(&labels("h"), 10 * hour, histogram(3.0))
        .unwrap();
    batch.set_start(0, 10 * hour - 7);
    assert_eq!(batch.commit(&log).unwrap().stored, 2);
    let there = told(&head);
    let of = |name: &str| -> Vec<(i64, f64)> {
        let samples = &there[&labels(name)];
        assert!(samples.values().all(|(_, start)| *start == 0));
        samples
            .iter()
            .map(|(time, (value, _))| (time - 10 * hour, *value))
            .collect()
    };
    assert_eq!(
        of("a"),
        [(-500, 0.0), (0, 5.0), (1000, 6.0), (1500, 0.0), (2000, 1.0)]
    );
    assert_eq!(of("c"), [(0, 1.0)]);
    assert_eq!(of("h"), [(-7, 0.0), (0, 3.0)]);
    let b: Vec<i64> = of("b").iter().map(|(time, _)| *time).collect();
    assert_eq!(b, [0, 9, 20]);
    assert_eq!(format!("{:?}", told(&again(&log))), format!("{there:?}"));
    // A zero is no sample of the batch: refusals are counted as they came.
    let mut batch = head.batch();
    for (at, (name, time)) in [("a", 10 * hour + 3000), ("a", 10 * hour + 3000)]
        .into_iter()
        .enumerate()
    {
        batch.append(&labels(name), time, at as f64).unwrap();
        batch.set_start(at as u32, 10 * hour + 2500);
    }
    let report = batch.commit(&log).unwrap();
    assert_eq!(
        report
            .refused
            .iter()
            .map(|refused| refused.index)
            .collect::<Vec<_>>(),
        [1]
    );
    assert_eq!(head.counters().refused_out_of_order.get(), 0);
}

#[test]
fn starts_go_with_their_samples() {
    let (head, log) = (head(options()), TestLog::default());
    let hour = 3_600_000;
    put(
        &head,
        &log,
        &[
            ("a", hour, 1.0, 5),
            ("b", hour, 1.0, 5),
            ("a", hour + 1, 2.0, 6),
        ],
    );
    put(
        &head,
        &log,
        &[
            ("a", 5 * hour, 1.0, 6),
            ("a", 2 * hour, 1.0, 7),
            ("c", 5 * hour, 1.0, 0),
        ],
    );
    head.truncate(4 * hour, &log).unwrap();
    let there = told(&head);
    assert_eq!(there[&labels("a")], Told::from([(5 * hour, (1.0, 6))]));
    for _ in 0..2 {
        head.collect_garbage();
    }
    // Another series in the place of the one that has gone.
    put(
        &head,
        &log,
        &[("d", 5 * hour, 1.0, 0), ("e", 5 * hour, 1.0, 0)],
    );
    let there = told(&head);
    assert_eq!(there[&labels("d")], Told::from([(5 * hour, (1.0, 0))]));
    assert_eq!(format!("{:?}", told(&again(&log))), format!("{there:?}"));
    assert_eq!(
        format!("{:?}", told(&from_snapshot(&head))),
        format!("{there:?}")
    );
    head.truncate(6 * hour, &log).unwrap();
    put(&head, &log, &[("c", 6 * hour, 1.0, 0)]);
    assert_eq!(told(&head).len(), 1);
}

#[test]
fn late_samples_that_outlive_a_truncation_keep_their_starts() {
    let (head, log) = (head(options()), TestLog::default());
    let hour = 3_600_000;
    put(&head, &log, &[("a", 10 * hour, 1.0, 5)]);
    let sorted = head.series_sorted(0, 8 * hour - 1);
    put(
        &head,
        &log,
        &[("a", 4 * hour, 2.0, 9), ("a", 5 * hour, 2.0, 0)],
    );
    drop(sorted);
    head.truncate(8 * hour, &log).unwrap();
    let expected = Told::from([
        (4 * hour, (2.0, 9)),
        (5 * hour, (2.0, 0)),
        (10 * hour, (1.0, 5)),
    ]);
    assert_eq!(told(&head)[&labels("a")], expected);
    assert_eq!(told(&again(&log))[&labels("a")], expected);
}

#[test]
fn imports_bring_their_starts() {
    let head = head(options());
    let import = head.import();
    let series = import.series(&labels("a")).unwrap();
    import.float_since(series, 1000, 1.0, 900);
    import.float_since(series, 2000, 2.0, 900);
    let times = [3000, 4000, 5000];
    let mut chunk = Vec::new();
    encode_xor2(&times, &[1.0, 2.0, 3.0], &[2900, 2900, 4500], &mut chunk).unwrap();
    assert_eq!(import.chunk(series, 4, &chunk), Ok(3));
    let values = [histogram(1.0), histogram(2.0)];
    let limits = narthex_chunk::ChunkLimits {
        samples: 9,
        bytes: 999,
    };
    let chunks = encode_histograms_with_starts(&[6000, 7000], &values, &[5500, 0], limits).unwrap();
    let chunk = &chunks[0];
    assert_eq!(
        import.chunk(series, chunk.encoding.code(), &chunk.bytes),
        Ok(2)
    );
    import
        .histogram_since(series, 8000, histogram(3.0), 7500)
        .unwrap();
    let plain = narthex_chunk::encode_xor(&[9000, 9500], &[1.0, 2.0]).unwrap();
    import.chunk(series, 1, &plain).unwrap();
    import.float_since(series, 500, 1.0, 400);
    let starts: Vec<(i64, i64)> = told(&head)[&labels("a")]
        .iter()
        .map(|(time, (_, start))| (*time, *start))
        .collect();
    assert_eq!(
        starts,
        [
            (500, 400),
            (1000, 900),
            (2000, 900),
            (3000, 2900),
            (4000, 2900),
            (5000, 4500),
            (6000, 5500),
            (7000, 0),
            (8000, 7500),
            (9000, 0),
            (9500, 0),
        ]
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 200, ..ProptestConfig::default() })]

    /// Any batches: what is read is what was put, from the head, its log and its snapshot.
    #[test]
    fn any_starts_come_back(
        batches in prop::collection::vec(
            prop::collection::vec((0u8..4, 0i64..200, 0i64..4, any::<bool>()), 1..8),
            1..25,
        ),
        parts in 1usize..4,
    ) {
        let (head, log) = (head(options()), TestLog::default());
        let mut expected: BTreeMap<Labels, Told> = BTreeMap::new();
        for samples in &batches {
            let mut batch = head.batch();
            let mut taken = 0;
            for (name, time, start, is_histogram) in samples {
                let labels = labels(&name.to_string());
                let there = expected.entry(labels.clone()).or_default();
                let value = (*time as f64, *start);
                if there.contains_key(time) {
                    continue;
                }
                there.insert(*time, value);
                match is_histogram {
                    true => batch.append_histogram(&labels, *time, histogram(value.0)).unwrap(),
                    false => batch.append(&labels, *time, value.0).unwrap(),
                };
                batch.set_start(taken, *start);
                taken += 1;
            }
            let report = batch.commit(&log).unwrap();
            prop_assert_eq!(report.stored, u64::from(taken));
        }
        prop_assert_eq!(&told(&head), &expected);
        let again = common::head(options());
        replay(&again, &log.records.lock().unwrap(), parts);
        prop_assert_eq!(&told(&again), &expected);
        prop_assert_eq!(&told(&from_snapshot(&head)), &expected);
    }
}
