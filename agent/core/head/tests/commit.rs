//! What a commit takes and refuses, case by case.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test may fail")]

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use common::{TestLog, head, labels, read, samples, select};
use narthex_head::{Head, Options};
use narthex_model::histogram::Span;
use narthex_model::{Exemplar, Histogram, Labels, Metadata, MetricType, STALE_NAN, SampleValue};
use narthex_storage::AppendError::{
    DuplicateTimestamp, InvalidExemplar, InvalidHistogram, NoLabels, OutOfBounds, OutOfOrder,
    TooOld, UnknownSeries,
};
use narthex_storage::{AppendError, CommitReport, LabelQuery};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

fn histogram(count: f64) -> Arc<Histogram> {
    Arc::new(Histogram {
        schema: 1,
        count,
        sum: count * 2.0,
        positive_spans: vec![Span {
            offset: 0,
            length: 1,
        }],
        positive_buckets: vec![count],
        ..Histogram::default()
    })
}

/// Commits one sample; gives what it was refused for.
fn put(head: &Head, log: &TestLog, time: i64, value: SampleValue) -> Result<u64, AppendError> {
    let mut batch = head.batch();
    match value {
        SampleValue::Float(value) => batch.append(&labels("a"), time, value)?,
        SampleValue::Histogram(value) => batch.append_histogram(&labels("a"), time, value)?,
    };
    let report = batch.commit(log).unwrap();
    match report.refused.first() {
        Some(refused) => Err(refused.error),
        None => Ok(report.stored),
    }
}

fn float(value: f64) -> SampleValue {
    SampleValue::Float(value)
}

fn hist(count: f64) -> SampleValue {
    SampleValue::Histogram(histogram(count))
}

#[test]
fn samples_are_judged_in_turn() {
    let nan = f64::from_bits(0x7ff8_0000_0000_0001);
    // Out-of-order window, then samples with what becomes of them.
    type Steps = Vec<(i64, SampleValue, Result<u64, AppendError>)>;
    let cases: Vec<(i64, Steps)> = vec![
        (
            0,
            vec![
                (10 * HOUR, float(1.0), Ok(1)),
                (10 * HOUR, float(1.0), Ok(0)),
                (10 * HOUR, float(2.0), Err(DuplicateTimestamp)),
                (10 * HOUR, hist(2.0), Err(DuplicateTimestamp)),
                (10 * HOUR - 1, float(2.0), Err(OutOfOrder)),
                (9 * HOUR, float(2.0), Err(OutOfOrder)),
                (9 * HOUR - 1, float(2.0), Err(OutOfBounds)),
                (10 * HOUR + 1, float(nan), Ok(1)),
                (10 * HOUR + 1, float(nan), Ok(0)),
                (10 * HOUR + 1, float(f64::NAN), Err(DuplicateTimestamp)),
                (10 * HOUR + 2, float(0.0), Ok(1)),
                (10 * HOUR + 2, float(-0.0), Err(DuplicateTimestamp)),
                (10 * HOUR + 3, hist(3.0), Ok(1)),
                (10 * HOUR + 3, hist(3.0), Ok(0)),
                (10 * HOUR + 3, hist(4.0), Err(DuplicateTimestamp)),
                (10 * HOUR + 3, float(3.0), Err(DuplicateTimestamp)),
                // The end of a series of histograms comes as a float.
                (10 * HOUR + 4, float(STALE_NAN), Ok(1)),
                (10 * HOUR + 4, float(STALE_NAN), Ok(0)),
                (10 * HOUR + 5, hist(3.0), Ok(1)),
                (10 * HOUR + 6, float(3.0), Ok(1)),
                // Far ahead; from then on what was in time is out of bounds.
                (1000 * HOUR, float(3.0), Ok(1)),
                (10 * HOUR + 7, float(3.0), Err(OutOfBounds)),
            ],
        ),
        (
            2 * HOUR,
            vec![
                (10 * HOUR, float(1.0), Ok(1)),
                (10 * HOUR, float(1.0), Ok(0)),
                (10 * HOUR, float(2.0), Err(DuplicateTimestamp)),
                (9 * HOUR, float(2.0), Ok(1)),
                (9 * HOUR, float(2.0), Ok(0)),
                (9 * HOUR, float(3.0), Err(DuplicateTimestamp)),
                (9 * HOUR, hist(3.0), Err(DuplicateTimestamp)),
                (8 * HOUR, hist(3.0), Ok(1)),
                (8 * HOUR, hist(3.0), Ok(0)),
                (8 * HOUR - 1, float(3.0), Err(TooOld)),
                (10 * HOUR + 1, float(3.0), Ok(1)),
                (8 * HOUR, float(3.0), Err(TooOld)),
            ],
        ),
        (
            0,
            vec![
                (i64::MIN, float(1.0), Ok(1)),
                (i64::MIN + 1, float(1.0), Ok(1)),
                (-1, float(1.0), Ok(1)),
                (0, hist(1.0), Ok(1)),
                (i64::MAX, float(1.0), Ok(1)),
                (i64::MAX, float(1.0), Ok(0)),
                (i64::MIN, float(1.0), Err(OutOfBounds)),
            ],
        ),
        (
            i64::MAX,
            vec![
                (i64::MAX, float(1.0), Ok(1)),
                (0, float(1.0), Ok(1)),
                (i64::MIN, float(1.0), Err(TooOld)),
            ],
        ),
    ];
    for (window_ms, steps) in cases {
        let (head, log) = (head(Options::default()), TestLog::default());
        head.set_out_of_order_window_ms(window_ms);
        let mut stored = Vec::new();
        for (time, value, expected) in steps {
            let name = format!("window {window_ms}, {value:?} at {time}");
            let result = put(&head, &log, time, value);
            assert_eq!(result, expected, "{name}");
            if result == Ok(1) {
                stored.push(time);
            }
        }
        stored.sort_unstable();
        let there = read(&head, i64::MIN, i64::MAX);
        let times: Vec<i64> = there[&labels("a")].keys().copied().collect();
        assert_eq!(times, stored);
        assert_eq!(head.times_ms(), Some((stored[0], stored[stored.len() - 1])));
    }
}

#[test]
fn a_batch_is_judged_by_itself_too() {
    let (head, log) = (head(Options::default()), TestLog::default());
    let mut batch = head.batch();
    let a = batch.append(&labels("a"), 10, 1.0).unwrap();
    let b = batch.append(&labels("b"), 10, 1.0).unwrap();
    for (series, time, value) in [
        (a, 20, 2.0),
        (a, 20, 2.0),
        (b, 5, 1.0),
        (a, 20, 3.0),
        (a, 15, 3.0),
        (b, 11, 7.0),
    ] {
        batch.append_known(series, time, value).unwrap();
    }
    batch.append_known_histogram(a, 20, histogram(1.0)).unwrap();
    batch.append_known_histogram(a, 30, histogram(1.0)).unwrap();
    batch.append_known(a, 40, 9.0).unwrap();
    batch.append_known_histogram(a, 50, histogram(2.0)).unwrap();
    batch.append_known_histogram(a, 50, histogram(2.0)).unwrap();
    let report = batch.commit(&log).unwrap();
    assert_eq!(report.stored, 7);
    let refused = report.refused.iter().map(|r| (r.index, r.error));
    let expected = [
        (4, OutOfOrder),
        (5, DuplicateTimestamp),
        (6, OutOfOrder),
        (8, DuplicateTimestamp),
    ];
    assert_eq!(refused.collect::<Vec<_>>(), expected);
    let there = read(&head, i64::MIN, i64::MAX);
    let times = |name: &str| there[&labels(name)].keys().copied().collect::<Vec<_>>();
    assert_eq!(
        (times("a"), times("b")),
        (vec![10, 20, 30, 40, 50], vec![10, 11])
    );

    let again = common::head(Options::default());
    assert_eq!(common::replay(&again, &log.take(), 1), (0, 0));
    common::assert_same(&read(&again, i64::MIN, i64::MAX), &there);
}

#[test]
fn what_is_wrong_in_itself_is_refused_at_once() {
    let (head, log) = (head(Options::default()), TestLog::default());
    let mut batch = head.batch();
    assert_eq!(batch.append(&Labels::empty(), 1, 1.0), Err(NoLabels));
    let wrong = Arc::new(Histogram {
        count: -1.0,
        ..(*histogram(3.0)).clone()
    });
    let refused = batch.append_histogram(&labels("a"), 1, wrong);
    assert!(matches!(refused, Err(InvalidHistogram(_))));
    let unknown = narthex_storage::SeriesRef(77 << 32);
    assert_eq!(batch.append_known(unknown, 1, 1.0), Err(UnknownSeries));
    let far = narthex_storage::SeriesRef(u64::from(u32::MAX));
    assert_eq!(batch.append_known(far, 1, 1.0), Err(UnknownSeries));

    // No name, and a name and a value that are very long.
    let long = "x".repeat(1 << 20);
    let odd = Labels::from_pairs([("", "a"), (&*long, &*long)]);
    let series = batch.append(&odd, 1, 1.0).unwrap();
    let exemplar = |characters: usize| Exemplar {
        labels: Labels::from_pairs([("t", "é".repeat(characters - 1))]),
        value: 1.0,
        timestamp_ms: 1,
    };
    assert_eq!(batch.append_exemplar(series, &exemplar(128)), Ok(()));
    assert!(matches!(
        batch.append_exemplar(series, &exemplar(129)),
        Err(InvalidExemplar(_))
    ));
    let report = batch.commit(&log).unwrap();
    assert_eq!(report.stored, 1);
    let again = common::head(Options::default());
    assert_eq!(common::replay(&again, &log.take(), 2), (0, 0));
    assert!(read(&again, 0, 2).contains_key(&odd));
}

#[test]
fn a_failing_log_changes_nothing() {
    let (head, log) = (head(Options::default()), TestLog::default());
    put(&head, &log, 1, float(1.0)).unwrap();
    let before = read(&head, i64::MIN, i64::MAX);
    log.fails.store(true, Ordering::SeqCst);
    let mut batch = head.batch();
    let a = batch.append(&labels("a"), 2, 2.0).unwrap();
    batch.append(&labels("b"), 2, 2.0).unwrap();
    batch.append_known_histogram(a, 3, histogram(1.0)).unwrap();
    let error = batch.commit(&log).unwrap_err();
    assert!(error.to_string().contains("the disk is full"), "{error}");
    assert_eq!(read(&head, i64::MIN, i64::MAX), before);
    assert_eq!(head.times_ms(), Some((1, 1)));

    log.fails.store(false, Ordering::SeqCst);
    log.cuts.store(true, Ordering::SeqCst);
    let mut batch = head.batch();
    batch.append_known(a, 2, 2.5).unwrap();
    batch.append(&labels("b"), 2, 2.5).unwrap();
    assert_eq!(batch.commit(&log).unwrap().stored, 2);
    let records = log.take();
    assert_eq!(records.last().unwrap().0, 1);
    let again = common::head(Options::default());
    common::replay(&again, &records, 1);
    let there = read(&again, i64::MIN, i64::MAX);
    common::assert_same(&there, &read(&head, i64::MIN, i64::MAX));
    assert_eq!(there.len(), 2);
}

#[test]
fn chunks_are_cut_as_prometheus_cuts_them() {
    // Interval, samples, and the first times of the chunks in intervals.
    for (interval_ms, count, expected) in [
        // 15 s: 480 to 2 h, in four equal parts.
        (15_000, 961, vec![0, 120, 240, 360, 480, 600, 720, 840, 960]),
        // 1 s: 29 s are a quarter, so 62 parts of 116 s.
        (1_000, 301, vec![0, 117, 234]),
        // 50 s: 144 to 2 h; one chunk, as two would be too small.
        (50_000, 200, vec![0, 144]),
    ] {
        let (head, log) = (head(Options::default()), TestLog::default());
        let mut starts = Vec::new();
        for i in 0..count {
            put(&head, &log, i * interval_ms, float(1.0)).unwrap();
        }
        let mut sink = |chunk: narthex_head::SealedChunk<'_>| {
            starts.push(chunk.start_ms / interval_ms);
            Ok(narthex_head::ChunkRef { file: 0, offset: 0 })
        };
        head.flush_sealed(&mut sink).unwrap();
        let last = expected[expected.len() - 1];
        let sealed = &expected[..expected.len() - 1];
        assert_eq!(starts, sealed, "{interval_ms}");
        assert_eq!(head.stats().chunks, expected.len() as u64, "{last}");
    }
}

#[test]
fn full_precision_cuts_by_size() {
    let (head, log) = (head(Options::default()), TestLog::default());
    let mut random = 1u64;
    for i in 0..1000 {
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1);
        put(&head, &log, i * 1000, float(f64::from_bits(random >> 2))).unwrap();
    }
    let mut sizes = Vec::new();
    let mut sink = |chunk: narthex_head::SealedChunk<'_>| {
        sizes.push(chunk.bytes.len());
        Ok(narthex_head::ChunkRef { file: 0, offset: 0 })
    };
    head.flush_sealed(&mut sink).unwrap();
    assert!(sizes.len() > 7, "{sizes:?}");
    assert!(sizes.iter().all(|size| *size <= 1024), "{sizes:?}");
}

#[test]
fn empty_series_go_in_two_steps() {
    let (head, log) = (head(Options::default()), TestLog::default());
    let mut batch = head.batch();
    let a = batch.append(&labels("a"), 10, 1.0).unwrap();
    let b = batch.append(&labels("b"), 10, 1.0).unwrap();
    batch.append(&labels("c"), 5000, 1.0).unwrap();
    batch.commit(&log).unwrap();
    assert_eq!(head.truncate(100, &log).unwrap().chunks, 2);
    let old = head.batch();
    assert_eq!(head.collect_garbage().marked, 2);

    // Known references are no longer good, labels bring the series back.
    let mut batch = head.batch();
    assert_eq!(batch.append_known(a, 6000, 1.0), Err(UnknownSeries));
    let again = batch.append(&labels("a"), 6000, 2.0).unwrap();
    assert_ne!(again, a);
    // A batch from before might hold them still.
    assert_eq!(head.collect_garbage().removed, 0);
    drop(old);
    assert_eq!(head.collect_garbage().removed, 1);
    assert_eq!(batch.commit(&log).unwrap().stored, 1);
    assert_eq!(head.stats().series, 2);

    // Another series gets the number, under another generation.
    let mut batch = head.batch();
    let d = batch.append(&labels("d"), 6000, 4.0).unwrap();
    assert_eq!(d.0 as u32, b.0 as u32);
    assert_eq!(batch.append_known(b, 6001, 1.0), Err(UnknownSeries));
    assert_eq!(batch.append_known(d, 6001, 5.0), Ok(()));
    batch.commit(&log).unwrap();

    let replayed = common::head(Options::default());
    assert_eq!(common::replay(&replayed, &log.take(), 3), (0, 0));
    let there = read(&replayed, i64::MIN, i64::MAX);
    common::assert_same(&there, &read(&head, i64::MIN, i64::MAX));
    assert_eq!(there.len(), 3);
    assert_eq!(replayed.min_valid_ms(), 100);
}

#[test]
fn a_reader_keeps_what_it_saw() {
    let (head, log) = (head(Options::default()), TestLog::default());
    head.set_out_of_order_window_ms(HOUR);
    put(&head, &log, 1000, float(1.0)).unwrap();
    let before = select(&head, &[], 0, i64::MAX);
    for i in 1..400 {
        put(&head, &log, 1000 + i * 1000, float(i as f64)).unwrap();
        put(&head, &log, 500 - i, float(i as f64)).unwrap();
    }
    let between = select(&head, &[], 0, i64::MAX);
    put(&head, &log, 1_000_000, hist(3.0)).unwrap();
    let times = |all: &[Box<dyn narthex_storage::Series>]| samples(&*all[0]).len();
    assert_eq!((times(&before), times(&between)), (1, 400 + 399));
    assert_eq!(read(&head, 0, i64::MAX)[&labels("a")].len(), 800);
    assert!(head.readers_below(1));
    drop((before, between));
    assert!(!head.readers_below(i64::MAX));
}

#[test]
fn deletions_hide_what_is_there() {
    let (head, log) = (head(Options::default()), TestLog::default());
    for i in 0..10 {
        put(&head, &log, i, float(i as f64)).unwrap();
    }
    let all = [narthex_model::Matcher::equal("__name__", "test")];
    assert_eq!(head.delete(&[all.to_vec()], 3, 5, &log).unwrap(), 1);
    assert_eq!(head.delete(&[all.to_vec()], 8, 99, &log).unwrap(), 1);
    assert_eq!(head.delete(&[all.to_vec()], 50, 99, &log).unwrap(), 0);
    // What comes later is not concerned, though its time was named.
    put(&head, &log, 50, float(50.0)).unwrap();
    let expected: Vec<i64> = vec![0, 1, 2, 6, 7, 50];
    let times = |head: &Arc<Head>| {
        let there = read(head, i64::MIN, i64::MAX);
        there[&labels("a")].keys().copied().collect::<Vec<_>>()
    };
    assert_eq!(times(&head), expected);
    let again = common::head(Options::default());
    common::replay(&again, &log.take(), 1);
    assert_eq!(times(&again), expected);
    let mut bytes = Vec::new();
    head.write_snapshot(&mut bytes).unwrap();
    let again = common::head(Options::default());
    again.read_snapshot(&bytes).unwrap();
    assert_eq!(times(&again), expected);
}

#[test]
fn exemplars_and_metadata_come_back() {
    let options = Options {
        exemplar_limit: 3,
        ..Options::default()
    };
    let (head, log) = (head(options), TestLog::default());
    let exemplar = |timestamp_ms: i64| Exemplar {
        labels: Labels::from_pairs([("trace", "1")]),
        value: timestamp_ms as f64,
        timestamp_ms,
    };
    let metadata = Metadata {
        kind: MetricType::Counter,
        help: "Helps.".to_owned(),
        unit: "seconds".to_owned(),
    };
    for time in [5, 6, 6, 4, 7, 8] {
        let mut batch = head.batch();
        let series = batch.append(&labels("a"), time, 1.0).unwrap();
        batch.append_exemplar(series, &exemplar(time)).unwrap();
        batch.set_metadata("test", &metadata);
        batch.commit(&log).unwrap();
    }
    let check = |head: &Head| {
        let found = head.exemplars(&[], i64::MIN, 7).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].labels, labels("a"));
        assert_eq!(found[0].exemplars, [exemplar(6), exemplar(7)]);
        assert_eq!(head.exemplar_figures(), (3, 1, Some(8)));
        assert_eq!(head.metadata(), [("test".into(), metadata.clone())]);
    };
    check(&head);
    assert_eq!(head.counters().exemplars_out_of_order.get(), 1);
    let again = common::head(options);
    common::replay(&again, &log.take(), 1);
    check(&again);
    let mut bytes = Vec::new();
    head.write_snapshot(&mut bytes).unwrap();
    let again = common::head(options);
    again.read_snapshot(&bytes).unwrap();
    check(&again);
}

#[test]
fn labels_are_found_by_range() {
    let (head, log) = (head(Options::default()), TestLog::default());
    let mut batch = head.batch();
    let early = Labels::from_pairs([("a", "1"), ("b", "2")]);
    batch.append(&early, 10, 1.0).unwrap();
    batch
        .append(&Labels::from_pairs([("a", "3"), ("c", "4")]), 100, 1.0)
        .unwrap();
    assert_eq!(
        batch.commit(&log).unwrap(),
        CommitReport {
            stored: 2,
            refused: Vec::new()
        }
    );
    let query = |start_ms, end_ms| LabelQuery {
        matcher_sets: &[],
        start_ms,
        end_ms,
        limit: 0,
        cancel: Default::default(),
    };
    let texts = |names: Vec<Arc<str>>| names.iter().map(|n| n.to_string()).collect::<Vec<_>>();
    assert_eq!(
        texts(head.label_names(&query(0, 500)).unwrap()),
        ["a", "b", "c"]
    );
    assert_eq!(texts(head.label_names(&query(0, 50)).unwrap()), ["a", "b"]);
    assert_eq!(
        texts(head.label_values("a", &query(50, 500)).unwrap()),
        ["3"]
    );
    assert_eq!(head.series(&query(0, 10)).unwrap(), [early]);
    assert!(head.series(&query(10, 0)).unwrap().is_empty());
    for (limit, expected) in [(0, 2), (1, 1), (2, 2), (9, 2)] {
        let limited = LabelQuery {
            limit,
            ..query(0, 500)
        };
        assert_eq!(head.series(&limited).unwrap().len(), expected);
    }
}
