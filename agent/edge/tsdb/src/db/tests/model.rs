//! The store against a plain map: whatever is appended, deleted, compacted, restarted or lost, it
//! holds what the map holds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use narthex_model::{Labels, MatchOp};
use narthex_storage::{Appendable, SeriesRef, StoreAdmin};
use proptest::prelude::*;

use super::{
    Content, HOUR_MS, MINUTE_MS, START_MS, config, content, content_in, copy, matcher, names, open,
    open_faulty,
};
use crate::config::Config;
use crate::db::Db;
use crate::disk::faulty::Faults;

const SERIES: u8 = 6;

#[derive(Clone, Debug)]
enum Step {
    /// Samples so much later than the newest, or earlier; and whether they are committed.
    Batch(Vec<(u8, i64)>, bool),
    /// Minute by minute.
    Hours(u8),
    /// From so much before the newest sample, for so long, of some series.
    Delete(i64, i64, u8),
    CleanTombstones,
    Maintain,
    Sync,
    Restart,
    Kill,
    PowerLoss(u64),
    Snapshot,
    Seal,
}

fn step() -> impl Strategy<Value = Step> {
    let later = prop_oneof![1i64..15_000, Just(15_000), 15_000i64..40 * MINUTE_MS];
    let earlier = (0i64..5 * HOUR_MS).prop_map(|earlier| -earlier);
    let sample = prop_oneof![
        6 => (0..SERIES, later),
        2 => (0..SERIES, earlier),
    ];
    let batch = prop::collection::vec(sample, 1..12);
    prop_oneof![
        8 => (batch, prop::bool::weighted(0.9)).prop_map(|(samples, commit)| Step::Batch(samples, commit)),
        4 => (1u8..5).prop_map(Step::Hours),
        2 => (0i64..6 * HOUR_MS, 0i64..3 * HOUR_MS, 0u8..4)
            .prop_map(|(before, long, which)| Step::Delete(before, long, which)),
        1 => Just(Step::CleanTombstones),
        4 => Just(Step::Maintain),
        2 => Just(Step::Sync),
        2 => Just(Step::Restart),
        2 => Just(Step::Kill),
        2 => any::<u64>().prop_map(Step::PowerLoss),
        1 => Just(Step::Snapshot),
        1 => Just(Step::Seal),
    ]
}

fn labels_of(series: u8) -> Labels {
    let name = if series < 3 { "a" } else { "b" };
    Labels::from_pairs([("__name__", name), ("n", &series.to_string())])
}

/// The same for a sample whenever it comes, so that a second one is no other.
fn value_at(series: u8, time_ms: i64) -> f64 {
    match series % 3 {
        0 => (time_ms / 60_000) as f64,
        1 => (time_ms as f64).sin(),
        _ => f64::from(series),
    }
}

struct Run {
    root: tempfile::TempDir,
    db: Db,
    faults: Arc<Faults>,
    config: Config,
    folders: u32,
    content: Content,
    /// What was there after each change since the last sync, the present state last.
    states: Vec<Content>,
    newest_ms: i64,
    /// Samples that come into these are left out: whether they are deleted too is not defined.
    deleted: Vec<(i64, i64)>,
    /// Kept from batch to batch while the store is open.
    references: BTreeMap<u8, SeriesRef>,
}

impl Run {
    fn new(window_ms: i64, wal_segment_bytes: u64) -> Self {
        let root = tempfile::tempdir().unwrap();
        let config = Config {
            out_of_order_window_ms: window_ms,
            wal_segment_bytes,
            ..config(&root.path().join("0"))
        };
        let (db, faults) = open_faulty(config.clone());
        Run {
            root,
            db,
            faults,
            config,
            folders: 0,
            content: Content::new(),
            states: vec![Content::new()],
            newest_ms: START_MS,
            deleted: Vec::new(),
            references: BTreeMap::new(),
        }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Batch(samples, commit) => self.batch(samples, *commit),
            Step::Hours(hours) => {
                for _ in 0..i64::from(*hours) * 60 {
                    let all: Vec<(u8, i64)> = (0..SERIES).map(|n| (n, MINUTE_MS)).collect();
                    self.batch(&all, true);
                }
            }
            Step::Delete(before_ms, long_ms, which) => self.delete(*before_ms, *long_ms, *which),
            Step::CleanTombstones => self.db.clean_tombstones().unwrap(),
            Step::Maintain => self.db.maintain(self.newest_ms),
            Step::Sync => {
                self.db.log.log.sync().unwrap();
                self.synced();
            }
            Step::Restart => {
                self.db.close().unwrap();
                self.reopen();
            }
            Step::Kill => {
                let from = self.next_folder();
                copy(&from, &self.config.path);
                self.reopen();
            }
            Step::PowerLoss(seed) => self.power_loss(*seed),
            Step::Snapshot => self.snapshot(),
            Step::Seal => {
                self.db.seal().unwrap();
                assert_same(&content(&self.db), &self.content);
                let mut log = names(&self.config.path.join("narthex-wal"));
                log.retain(|name| name != "damaged");
                assert_eq!(log, [""; 0]);
                assert!(names(&self.config.path.join("narthex-chunks")).is_empty());
                self.reopen();
            }
        }
    }

    fn batch(&mut self, samples: &[(u8, i64)], commit: bool) {
        let newest_ms = self.newest_ms;
        let mut batch = self.db.appender();
        let mut taken = Vec::new();
        for (series, step_ms) in samples {
            let time_ms = newest_ms + step_ms;
            let is_deleted = |(start, end): &(i64, i64)| (*start..=*end).contains(&time_ms);
            if self.deleted.iter().any(is_deleted) {
                continue;
            }
            let value = value_at(*series, time_ms);
            let known = self.references.get(series).copied();
            let appended = known.map(|known| batch.append_known(known, time_ms, value));
            if !matches!(appended, Some(Ok(()))) {
                let reference = batch.append(&labels_of(*series), time_ms, value).unwrap();
                self.references.insert(*series, reference);
            }
            taken.push((*series, time_ms, value));
        }
        if !commit {
            return;
        }
        let report = batch.commit().unwrap();
        let refused: Vec<u32> = report.refused.iter().map(|refused| refused.index).collect();
        for (index, (series, time_ms, value)) in (0..).zip(taken) {
            if !refused.contains(&index) {
                let samples = self.content.entry(labels_of(series)).or_default();
                samples.insert(time_ms, value.to_bits());
                self.newest_ms = self.newest_ms.max(time_ms);
            }
        }
        self.states.push(self.content.clone());
    }

    fn delete(&mut self, before_ms: i64, long_ms: i64, which: u8) {
        let start_ms = self.newest_ms - before_ms;
        let end_ms = start_ms + long_ms;
        let set = match which {
            0 => vec![matcher("__name__", MatchOp::Equal, "a")],
            1 => vec![matcher("n", MatchOp::Regex, "[135]")],
            2 => vec![matcher("n", MatchOp::Equal, "2")],
            _ => vec![matcher("nothing", MatchOp::Equal, "x")],
        };
        let hits = |labels: &Labels| set.iter().all(|m| m.matches_labels(labels));
        self.db
            .delete_series(std::slice::from_ref(&set), start_ms, end_ms)
            .unwrap();
        for (labels, samples) in &mut self.content {
            if hits(labels) {
                samples.retain(|time_ms, _| !(start_ms..=end_ms).contains(time_ms));
            }
        }
        self.content.retain(|_, samples| !samples.is_empty());
        self.deleted.push((start_ms, end_ms.min(self.newest_ms)));
        self.synced();
    }

    /// What is there now is safe.
    fn synced(&mut self) {
        self.states = vec![self.content.clone()];
    }

    fn power_loss(&mut self, seed: u64) {
        let from = self.next_folder();
        self.faults.lose_power(&from, &self.config.path, seed);
        let (db, faults) = open_faulty(self.config.clone());
        let found = content(&db);
        if !self.states.contains(&found) {
            let counts = |content: &Content| -> Vec<usize> {
                content.values().map(|samples| samples.len()).collect()
            };
            let newest = self.states.last().map(counts);
            let oldest = self.states.first().map(counts);
            let found = counts(&found);
            panic!(
                "power loss with seed {seed}: samples of each series {found:?}, which is no state \
                 between {oldest:?} and {newest:?}"
            );
        }
        self.content = found;
        (self.db, self.faults) = (db, faults);
        self.references.clear();
        self.synced();
    }

    fn snapshot(&mut self) {
        let name = self.db.snapshot(false).unwrap();
        let folder = self.config.path.join("snapshots").join(name);
        let copied = open(&folder);
        assert_same(&content(&copied), &self.content);
        drop(copied);
        std::fs::remove_dir_all(folder).unwrap();
    }

    fn reopen(&mut self) {
        (self.db, self.faults) = open_faulty(self.config.clone());
        assert_eq!(self.db.corruption_count(), 0);
        self.references.clear();
        self.synced();
    }

    /// Gives the present folder.
    fn next_folder(&mut self) -> PathBuf {
        self.folders += 1;
        let next = self.root.path().join(self.folders.to_string());
        std::mem::replace(&mut self.config.path, next)
    }

    fn compare(&self) {
        assert_same(&content(&self.db), &self.content);
        let (start_ms, end_ms) = (self.newest_ms - 3 * HOUR_MS, self.newest_ms - HOUR_MS / 2);
        let matchers = [matcher("n", MatchOp::NotEqual, "1")];
        let mut expected = self.content.clone();
        expected.retain(|labels, samples| {
            samples.retain(|time_ms, _| (start_ms..=end_ms).contains(time_ms));
            labels.get("n") != Some("1") && !samples.is_empty()
        });
        assert_same(
            &content_in(&self.db, &matchers, start_ms, end_ms),
            &expected,
        );
    }
}

/// Shows the first differences only.
fn assert_same(found: &Content, expected: &Content) {
    if found == expected {
        return;
    }
    let flat = |content: &Content| -> BTreeSet<(Labels, i64, u64)> {
        let series = content.iter();
        series
            .flat_map(|(labels, samples)| samples.iter().map(|(t, v)| (labels.clone(), *t, *v)))
            .collect()
    };
    let (found, expected) = (flat(found), flat(expected));
    let surplus: Vec<_> = found.difference(&expected).take(5).collect();
    let missing: Vec<_> = expected.difference(&found).take(5).collect();
    panic!("surplus: {surplus:?}, missing: {missing:?}");
}

fn run(steps: &[Step], window_ms: i64, segment_bytes: u64) {
    let mut run = Run::new(window_ms, segment_bytes);
    for step in steps {
        run.take(step);
        run.compare();
    }
    for step in [Step::Kill, Step::Maintain, Step::Restart] {
        run.take(&step);
        run.compare();
    }
}

/// What random steps have found.
#[test]
fn a_deletion_outlives_the_truncation_of_the_head() {
    // A late sample stays in the head because another came after a snapshot was made.
    let steps = [
        Step::Batch(vec![(1, 1_808_310), (1, 1)], true),
        Step::Hours(2),
        Step::Snapshot,
        Step::Batch(vec![(0, 2_586_362), (1, -75_677)], true),
        Step::Delete(7_200_000 + 2_586_362 + 1_808_309, 0, 0),
        Step::Maintain,
    ];
    run(&steps, HOUR_MS, 1);
}

#[test]
fn a_segment_that_lost_its_end_without_a_trace_ends_the_log() {
    let steps = [
        Step::Hours(3),
        Step::Restart,
        Step::Hours(1),
        Step::Batch(vec![(0, 1)], true),
        Step::PowerLoss(11_215_989_172_770_653_452),
    ];
    run(&steps, 0, 1);
}

proptest! {
    #![proptest_config(ProptestConfig {
        // More when they are asked for, as a night's work.
        cases: match std::env::var_os("PROPTEST_CASES") {
            Some(_) => ProptestConfig::default().cases,
            None => 12,
        },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn holds_what_was_committed(
        steps in prop::collection::vec(step(), 1..40),
        window_ms in prop_oneof![Just(0), Just(HOUR_MS), Just(8 * HOUR_MS)],
        segment_bytes in prop_oneof![Just(1u64), Just(500), Just(4096), Just(1 << 20)],
    ) {
        run(&steps, window_ms, segment_bytes);
    }
}
