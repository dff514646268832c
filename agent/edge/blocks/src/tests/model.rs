//! Random writes, deletions, compactions and restarts against a plain map.

use narthex_model::histogram::CounterReset;
use narthex_model::sample::STALE_NAN;
use narthex_model::{MatchOp, Matcher, SampleValue};
use narthex_storage::Queryable;
use proptest::prelude::*;

use super::common::*;
use crate::{Blocks, Limits, Usage, steady};

const RANGES_MS: [i64; 3] = [1000, 3000, 9000];
const SERIES: usize = 12;
const END_MS: i64 = 20_000;

#[derive(Clone, Debug)]
enum Step {
    /// From a series to a series, in some thousands of milliseconds, one sample in so many.
    Write {
        series: (usize, usize),
        range_ms: (i64, i64),
        every_ms: i64,
    },
    Delete {
        matcher: Matcher,
        range_ms: (i64, i64),
    },
    Compact,
    Clean,
    Reopen,
    Retain {
        time_ms: i64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let write = (0..SERIES, 1..SERIES, 0..18i64, 1..4i64, 5..90i64, 0..3i64).prop_map(
        |(first, count, start, length, every_ms, skew)| Step::Write {
            series: (first, (first + count).min(SERIES)),
            range_ms: (start * 1000 + skew * 300, (start + length) * 1000),
            every_ms,
        },
    );
    let value = prop_oneof!["[0-3]", Just(".*".to_owned()), Just("1|2".to_owned())];
    let op = prop_oneof![Just(MatchOp::Regex), Just(MatchOp::NotRegex)];
    let delete =
        (value, op, 0..END_MS, 1..8000i64).prop_map(|(value, op, start, length)| Step::Delete {
            matcher: Matcher::new("number", op, value).unwrap(),
            range_ms: (start, start + length),
        });
    prop_oneof![
        5 => write,
        3 => delete,
        3 => Just(Step::Compact),
        1 => Just(Step::Clean),
        1 => Just(Step::Reopen),
        1 => (4000..40_000i64).prop_map(|time_ms| Step::Retain { time_ms }),
    ]
}

fn series_labels(series: usize) -> narthex_model::Labels {
    let number = (series / 3).to_string();
    let name = ["a_metric", "b_metric", "é"][series % 3];
    match series % 2 {
        0 => labels(&[("__name__", name), ("number", &number)]),
        _ => labels(&[("__name__", name), ("number", &number), ("z", "x")]),
    }
}

/// What a series has at a time; the same whenever it is written.
fn value(series: usize, time_ms: i64) -> SampleValue {
    let count = (time_ms / 10) as u32 + series as u32;
    let is_histogram = match series % 4 {
        0 | 1 => false,
        2 => true,
        _ => (time_ms / 700) % 2 == 0,
    };
    match (is_histogram, series % 5) {
        (true, _) => SampleValue::Histogram(histogram(count, CounterReset::Unknown)),
        (false, 0) => SampleValue::Float((time_ms as f64 * 0.37).sin()),
        (false, 1) if time_ms % 97 == 0 => SampleValue::Float(STALE_NAN),
        (false, 2) => SampleValue::Float(4.0),
        (false, _) => SampleValue::Float(f64::from(count)),
    }
}

fn apply(data: &std::path::Path, blocks: &mut Blocks, model: &mut Content, step: &Step) {
    match step {
        Step::Write {
            series,
            range_ms,
            every_ms,
        } => {
            let mut new = Content::new();
            for number in series.0..series.1 {
                let times = (range_ms.0..range_ms.1).step_by(*every_ms as usize);
                let samples: Samples = times
                    .map(|time_ms| (time_ms, value(number, time_ms)))
                    .collect();
                model
                    .entry(series_labels(number))
                    .or_default()
                    .extend(samples.clone());
                new.insert(series_labels(number), samples);
            }
            write(blocks, &new, *range_ms);
        }
        Step::Delete { matcher, range_ms } => {
            let sets = [vec![matcher.clone()]];
            blocks.delete(&sets, range_ms.0, range_ms.1).unwrap();
            for (labels, samples) in model.iter_mut() {
                if matcher.matches_labels(labels) {
                    samples.retain(|time_ms, _| *time_ms < range_ms.0 || range_ms.1 < *time_ms);
                }
            }
        }
        Step::Compact => {
            blocks.compact(&RANGES_MS, &steady).unwrap();
            assert_eq!(blocks.plan(&RANGES_MS), None);
        }
        Step::Clean => {
            blocks.clean_tombstones(&steady).unwrap();
            assert!(
                blocks
                    .loaded()
                    .iter()
                    .all(|block| block.tombstones().is_empty())
            );
        }
        Step::Reopen => *blocks = open(data),
        Step::Retain { time_ms } => retain(blocks, model, *time_ms),
    }
}

/// Removes old blocks; what they alone had is gone.
fn retain(blocks: &Blocks, model: &mut Content, time_ms: i64) {
    let limits = Limits {
        time_ms: Some(time_ms),
        ..Limits::default()
    };
    let expired = blocks.expired(&limits, &Usage::default());
    blocks.remove_expired(&expired).unwrap();
    let kept = content(&blocks.select(&select(&[], i64::MIN, i64::MAX)).unwrap());
    for (labels, samples) in model.iter_mut() {
        let kept = kept.get(labels);
        if !expired.is_empty() {
            samples.retain(|time_ms, _| kept.is_some_and(|kept| kept.contains_key(time_ms)));
        }
    }
}

fn check(blocks: &Blocks, model: &Content, what: &str) {
    for (start_ms, end_ms) in [
        (i64::MIN, i64::MAX),
        (2500, 7321),
        (3000, 2999),
        (9000, 9000),
    ] {
        let matchers = [
            vec![],
            vec![Matcher::new("z", MatchOp::Equal, "x").unwrap()],
            vec![
                Matcher::new("number", MatchOp::NotRegex, "1|3").unwrap(),
                Matcher::new("z", MatchOp::Equal, "").unwrap(),
            ],
        ];
        for matchers in &matchers {
            let query = select(matchers, start_ms, end_ms);
            let found = content(&blocks.select(&query).unwrap());
            let mut expected = model.clone();
            expected.retain(|labels, samples| {
                samples.retain(|time_ms, _| start_ms <= *time_ms && *time_ms <= end_ms);
                !samples.is_empty() && narthex_model::matcher::all_match(matchers, labels)
            });
            let what = format!("{what}, {start_ms} to {end_ms}, {matchers:?}");
            assert_same(&found, &expected, &what);
            check_shown(blocks, &query);
            check_labels(blocks, &expected, matchers, (start_ms, end_ms));
        }
    }
}

/// Where labels are left out, series and their order stay.
fn check_shown(blocks: &Blocks, query: &narthex_storage::SelectQuery<'_>) {
    let names = ["number".into(), "nobody".into()];
    let shown = |labels: &narthex_model::Labels| labels.filtered(|l| names.contains(&l.name));
    let all = blocks.select(query).unwrap();
    let some = blocks.select_labels(query, &names).unwrap();
    assert_eq!(some.len(), all.len());
    for (some, all) in some.iter().zip(&all) {
        assert_eq!(shown(some.labels()), shown(all.labels()));
        assert_eq!(
            format!("{:?}", samples(some.as_ref())),
            format!("{:?}", samples(all.as_ref()))
        );
    }
}

/// Label queries may tell of series that have no sample left, but must tell of all that have.
fn check_labels(blocks: &Blocks, expected: &Content, matchers: &[Matcher], range_ms: (i64, i64)) {
    let sets = [matchers.to_vec()];
    let query = label_query(&sets, range_ms.0, range_ms.1);
    let series = blocks.series(&query).unwrap();
    assert!(series.is_sorted_by(|a, b| a < b));
    assert!(expected.keys().all(|labels| series.contains(labels)));
    assert!(
        series
            .iter()
            .all(|l| narthex_model::matcher::all_match(matchers, l))
    );
    let names = blocks.label_names(&query).unwrap();
    assert!(names.is_sorted_by(|a, b| a < b));
    let numbers = blocks.label_values("number", &query).unwrap();
    assert!(numbers.is_sorted_by(|a, b| a < b));
    for labels in expected.keys() {
        assert!(labels.iter().all(|label| names.contains(&label.name)));
        assert!(numbers.contains(labels.get_shared("number").unwrap()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn blocks_are_as_a_plain_map(steps in proptest::collection::vec(step(), 1..10)) {
        let folder = tempfile::tempdir().unwrap();
        let mut blocks = open(folder.path());
        let mut model = Content::new();
        for step in &steps {
            apply(folder.path(), &mut blocks, &mut model, step);
            check(&blocks, &model, &format!("after {step:?}"));
        }
        prop_assert!(blocks.unreadable().is_empty());
        for block in blocks.loaded().iter() {
            let verified = crate::verify::verify(block, &steady).unwrap();
            prop_assert!(verified.is_good(), "{:?}", verified.problems);
        }
    }
}
