//! The store against a plain map: random batches, closed and killed processes, checkpoints and
//! retention. proptest prints the steps of a failure, shortened, and its seed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::common::{Content, config, content, content_in, copy, open_with};
use narthex_model::{Labels, STALE_NAN};
use narthex_storage::{AppendError, Appendable, SeriesRef};
use narthex_tsdb::{Config, Db};
use proptest::prelude::*;

const HOUR_MS: i64 = 3_600_000;

#[derive(Clone, Debug)]
enum Step {
    /// Samples as series, time relative to the newest, value; then whether it is committed.
    Batch(Vec<(u8, i64, f64)>, bool),
    /// Closed and opened.
    Restart,
    /// What a kill leaves is opened.
    Kill,
    Maintain,
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        (0u8..3).prop_map(f64::from),
        any::<f64>(),
        any::<u64>().prop_map(f64::from_bits),
        Just(STALE_NAN),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let time = prop_oneof![
        8 => 0i64..60_000,
        2 => -30_000i64..30_000,
        1 => -2 * HOUR_MS..2 * HOUR_MS,
        1 => -HOUR_MS - 2..-HOUR_MS + 2,
    ];
    let batch = prop::collection::vec((0u8..12, time, value()), 0..30);
    prop_oneof![
        20 => (batch, prop::bool::weighted(0.9)).prop_map(|(samples, commit)| Step::Batch(samples, commit)),
        1 => Just(Step::Restart),
        2 => Just(Step::Kill),
        3 => Just(Step::Maintain),
    ]
}

fn labels_of(series: u8) -> Labels {
    let (job, instance) = (series % 3, series.to_string());
    Labels::from_pairs([("job", format!("job-{job}")), ("instance", instance)])
}

/// What the store is to hold, by the rules of appending alone.
#[derive(Default)]
struct Model {
    content: Content,
    newest_ms: Option<i64>,
    /// What was refused so far for want of order, to see that such steps occur.
    refused: usize,
}

impl Model {
    fn check(
        &self,
        labels: &Labels,
        newest_ms: i64,
        time: i64,
        value: f64,
    ) -> Result<(), AppendError> {
        if time < newest_ms - HOUR_MS {
            return Err(AppendError::OutOfBounds);
        }
        let last = self.content.get(labels).and_then(BTreeMap::last_key_value);
        match last {
            Some((last_ms, _)) if time < *last_ms => Err(AppendError::OutOfOrder),
            Some((last_ms, bits)) if time == *last_ms && *bits != value.to_bits() => {
                Err(AppendError::DuplicateTimestamp)
            }
            _ => Ok(()),
        }
    }

    fn commit(&mut self, batch: Vec<(Labels, i64, f64)>) {
        for (labels, time, value) in batch {
            let samples = self.content.entry(labels).or_default();
            if samples
                .last_key_value()
                .is_none_or(|(last_ms, _)| *last_ms < time)
            {
                samples.insert(time, value.to_bits());
                self.newest_ms = Some(self.newest_ms.map_or(time, |newest| newest.max(time)));
            }
        }
    }
}

struct Run {
    db: Db,
    config: Config,
    root: tempfile::TempDir,
    folders: usize,
    model: Model,
    /// As a scrape would hold them, over restarts too, where they mean nothing.
    references: BTreeMap<u8, SeriesRef>,
    start_ms: i64,
}

impl Run {
    fn new(retention_ms: u64, wal_segment_bytes: u64) -> Self {
        let root = tempfile::tempdir().unwrap();
        let config = Config {
            retention_ms,
            wal_segment_bytes,
            ..config(&root.path().join("0"))
        };
        Run {
            db: open_with(config.clone()),
            config,
            root,
            folders: 0,
            model: Model::default(),
            references: BTreeMap::new(),
            start_ms: 1_700_000_000_000,
        }
    }

    fn newest_ms(&self) -> i64 {
        self.model.newest_ms.unwrap_or(self.start_ms)
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Batch(samples, commit) => self.batch(samples, commit),
            Step::Restart => {
                self.db.close().unwrap();
                self.db = self.reopened();
            }
            Step::Kill => {
                let from = self.config.path.clone();
                self.config.path = self.next_folder();
                copy(&from, &self.config.path);
                self.db = self.reopened();
            }
            Step::Maintain => self.db.maintain(self.newest_ms()),
        }
    }

    fn reopened(&mut self) -> Db {
        self.references.clear();
        let db = open_with(self.config.clone());
        assert_eq!(db.corruption_count(), 0);
        db
    }

    fn next_folder(&mut self) -> PathBuf {
        self.folders += 1;
        self.root.path().join(self.folders.to_string())
    }

    fn batch(&mut self, samples: Vec<(u8, i64, f64)>, commit: bool) {
        let newest_ms = self.newest_ms();
        let mut bound_ms = self.model.newest_ms;
        let mut batch = self.db.appender();
        let mut taken = Vec::new();
        for (series, step_ms, value) in samples {
            let (labels, time) = (labels_of(series), newest_ms + step_ms);
            let bound_ms = *bound_ms.get_or_insert(time);
            let expected = self.model.check(&labels, bound_ms, time, value);
            let known = self.references.get(&series).copied();
            let got = batch.append(known, &labels, time, value);
            assert_eq!(got.map(|_| ()), expected, "{labels} {time} {value}");
            match got {
                Ok(reference) => {
                    self.references.insert(series, reference);
                    taken.push((labels, time, value));
                }
                Err(_) => self.model.refused += 1,
            }
        }
        if commit {
            batch.commit().unwrap();
            self.model.commit(taken);
        }
    }

    /// All samples that the retention keeps are there, and none that was never committed.
    fn compare(&self) {
        if self.config.retention_ms == 0 {
            return assert_eq!(content(&self.db), self.model.content);
        }
        let start_ms = self.newest_ms() - self.config.retention_ms as i64;
        let mut expected = self.model.content.clone();
        expected.retain(|_, samples| {
            *samples = samples.split_off(&start_ms);
            !samples.is_empty()
        });
        assert_eq!(content_in(&self.db, &[], start_ms, i64::MAX), expected);
        for (labels, samples) in content(&self.db) {
            let committed = &self.model.content[&labels];
            assert!(
                samples
                    .iter()
                    .all(|(time, bits)| committed.get(time) == Some(bits))
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn holds_what_was_committed(
        steps in prop::collection::vec(step(), 1..60),
        retention_ms in prop_oneof![Just(0u64), Just(HOUR_MS as u64), Just(3 * HOUR_MS as u64)],
        segment_bytes in prop_oneof![Just(1u64), Just(500), Just(4096), Just(1 << 20)],
    ) {
        let mut run = Run::new(retention_ms, segment_bytes);
        for step in steps {
            run.take(step);
            run.compare();
        }
        run.take(Step::Kill);
        run.compare();
        run.take(Step::Maintain);
        run.take(Step::Restart);
        run.compare();
    }
}
