//! Several threads commit while others read: each batch is seen whole or not at all, in the order
//! of the commits.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test may fail")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;

use common::{TestLog, head, labels, replay, samples, select};
use narthex_head::{Head, Options};
use narthex_model::{Labels, Matcher, SampleValue};

const WRITERS: usize = 3;
const SERIES: usize = 40;
const ROUNDS: i64 = 400;

/// Series of one writer only, which get a sample each round.
fn own(writer: usize, series: usize) -> Labels {
    Labels::from_pairs([
        ("__name__".to_owned(), "own".to_owned()),
        ("writer".to_owned(), writer.to_string()),
        ("series".to_owned(), series.to_string()),
    ])
}

/// Series that all writers append to; whoever has the later time is taken.
fn shared(series: usize) -> Labels {
    labels(&format!("shared {series}"))
}

fn write(head: &Head, log: &TestLog, writer: usize, clock: &AtomicI64) {
    for round in 0..ROUNDS {
        let mut batch = head.batch();
        for series in 0..SERIES {
            batch
                .append(&own(writer, series), round, round as f64)
                .unwrap();
        }
        let time = clock.fetch_add(1, Ordering::SeqCst);
        for series in 0..SERIES {
            batch.append(&shared(series), time, writer as f64).unwrap();
        }
        let report = batch.commit(log).unwrap();
        // Refused are, if any, those of all the shared series.
        assert!(matches!(report.refused.len(), 0 | SERIES));
    }
}

/// The samples by series of a writer, or of the shared ones.
fn counts(head: &Arc<Head>, matcher: Matcher) -> Vec<Vec<i64>> {
    let series = select(head, &[matcher], i64::MIN, i64::MAX);
    let times = series.iter().map(|series| {
        let all = samples(&**series);
        all.keys().copied().collect::<Vec<_>>()
    });
    times.collect()
}

fn check(head: &Arc<Head>) {
    for writer in 0..WRITERS {
        let all = counts(head, Matcher::equal("writer", writer.to_string()));
        if let Some(first) = all.first() {
            assert_eq!(all.len(), SERIES);
            let expected: Vec<i64> = (0..first.len() as i64).collect();
            assert!(all.iter().all(|times| *times == expected), "{all:?}");
        }
    }
    let all = counts(head, Matcher::equal("__name__", "test"));
    assert!(all.is_empty() || all.len() == SERIES);
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "{all:?}");
}

#[test]
fn batches_are_seen_whole() {
    let (head, log) = (head(Options::default()), TestLog::default());
    let clock = AtomicI64::new(0);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    check(&head);
                }
            });
        }
        // Upkeep goes on beside.
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                head.collect_garbage();
                log.next_epoch();
                head.write_snapshot(&mut std::io::sink()).unwrap();
                thread::yield_now();
            }
        });
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (head, log, clock) = (&head, &log, &clock);
                scope.spawn(move || write(head, log, writer, clock))
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::SeqCst);
    });
    check(&head);
    let whole = common::read(&head, i64::MIN, i64::MAX);
    assert_eq!(whole.len(), (WRITERS + 1) * SERIES);

    let again = common::head(Options::default());
    assert_eq!(replay(&again, &log.take(), 2), (0, 0));
    common::assert_same(&common::read(&again, i64::MIN, i64::MAX), &whole);
}

#[test]
fn parts_are_replayed_side_by_side() {
    let (head, log) = (head(Options::default()), TestLog::default());
    for round in 0..50 {
        let mut batch = head.batch();
        for series in 0..2000 {
            let value = f64::from(series % 7 * round);
            batch
                .append(&labels(&series.to_string()), i64::from(round), value)
                .unwrap();
        }
        batch.commit(&log).unwrap();
    }
    let records = log.take();
    let again = common::head(Options::default());
    thread::scope(|scope| {
        for part in 0..3 {
            let (records, again) = (&records, &again);
            scope.spawn(move || {
                for (_, record) in records {
                    assert_eq!(again.replay_samples(record, part, 3).unwrap().lost, 0);
                }
            });
        }
        for (_, record) in &records {
            again.replay_definitions(record).unwrap();
        }
    });
    assert_eq!(again.finish_replay().without_labels, 0);
    let there = common::read(&again, i64::MIN, i64::MAX);
    common::assert_same(&there, &common::read(&head, i64::MIN, i64::MAX));
    let floats = |samples: &common::Samples| {
        samples
            .values()
            .all(|value| matches!(value, SampleValue::Float(_)))
    };
    assert!(there.values().all(floats));
}
