//! Joining series of several sources.

use narthex_model::SampleValue;
use narthex_model::histogram::CounterReset::{self, Gauge, NotReset, Reset, Unknown};
use narthex_storage::Series;
use proptest::prelude::*;

use super::common::*;
use crate::merge;

fn series(samples: Samples, tells_range: bool) -> Box<dyn Series> {
    Box::new(TestSeries {
        labels: labels(&[("a", "b")]),
        samples: samples.into_iter().collect(),
        tells_range,
    })
}

#[test]
fn at_one_time_the_first_source_counts() {
    let first = floats([(1, 1.0), (3, 3.0), (5, 5.0)]);
    let second = floats([(1, 10.0), (2, 20.0), (5, 50.0), (6, 60.0)]);
    let joined = crate::join(vec![series(first, true), series(second, true)]);
    let expected = floats([(1, 1.0), (2, 20.0), (3, 3.0), (5, 5.0), (6, 60.0)]);
    assert_eq!(samples(joined.as_ref()), expected);
    // Also where nothing but the ends meet.
    let (first, second) = (floats([(1, 1.0), (5, 5.0)]), floats([(5, 50.0), (6, 60.0)]));
    let joined = crate::join(vec![series(first, true), series(second, true)]);
    assert_eq!(
        samples(joined.as_ref()),
        floats([(1, 1.0), (5, 5.0), (6, 60.0)])
    );
}

fn hints(series: &dyn Series) -> Vec<(i64, CounterReset)> {
    let hint = |(time_ms, value)| match value {
        SampleValue::Histogram(h) => (time_ms, h.counter_reset),
        SampleValue::Float(_) => (time_ms, Unknown),
    };
    samples(series).into_iter().map(hint).collect()
}

fn histograms(samples: &[(i64, CounterReset)]) -> Samples {
    let value = |(time_ms, hint): &(i64, CounterReset)| {
        (
            *time_ms,
            SampleValue::Histogram(histogram(*time_ms as u32, *hint)),
        )
    };
    samples.iter().map(value).collect()
}

#[test]
fn hints_of_another_predecessor_are_forgotten() {
    for (first, second, expected) in [
        // One after the other.
        (
            vec![(1, Reset), (2, NotReset)],
            vec![(3, NotReset), (4, NotReset)],
            vec![(1, Reset), (2, NotReset), (3, Unknown), (4, NotReset)],
        ),
        // Sample by sample.
        (
            vec![(1, NotReset), (3, NotReset), (4, Reset)],
            vec![(2, NotReset), (5, NotReset), (6, NotReset)],
            vec![
                (1, Unknown),
                (2, Unknown),
                (3, Unknown),
                (4, Reset),
                (5, Unknown),
                (6, NotReset),
            ],
        ),
        // A gauge stays one; what both have is taken of the first.
        (
            vec![(1, Gauge), (2, Gauge)],
            vec![(1, Gauge), (2, Gauge), (3, Gauge)],
            vec![(1, Gauge), (2, Gauge), (3, Gauge)],
        ),
    ] {
        let joined = crate::join(vec![
            series(histograms(&first), true),
            series(histograms(&second), true),
        ]);
        assert_eq!(hints(joined.as_ref()), expected);
    }
}

#[test]
fn floats_and_histograms_change_places() {
    let first = floats([(1, 1.0), (4, 4.0), (5, 5.0)]);
    let second = histograms(&[(2, Unknown), (3, Unknown), (4, Unknown), (6, Unknown)]);
    let mut expected = second.clone();
    expected.extend(first.clone());
    let joined = crate::join(vec![series(first, false), series(second, true)]);
    assert_eq!(samples(joined.as_ref()), expected);
}

proptest! {
    #[test]
    fn merged_sources_are_as_one_map(
        sources in proptest::collection::vec(
            proptest::collection::btree_map(
                0..6u8,
                (0..200i64, proptest::collection::btree_map(0..60i64, -2.0..2.0f64, 0..20), any::<bool>()),
                0..6,
            ),
            0..5,
        ),
    ) {
        let mut model = Content::new();
        let mut lists = Vec::new();
        for source in &sources {
            let mut list = Vec::new();
            for (number, (start, times, tells_range)) in source {
                let labels = labels(&[("n", &number.to_string())]);
                let samples = floats(times.iter().map(|(t, v)| (t + start, *v)));
                let known = model.entry(labels.clone()).or_default();
                for (time_ms, value) in &samples {
                    known.entry(*time_ms).or_insert_with(|| value.clone());
                }
                let samples = samples.into_iter().collect();
                list.push(Box::new(TestSeries { labels, samples, tells_range: *tells_range }) as Box<dyn Series>);
            }
            lists.push(list);
        }
        assert_same(&content(&merge(lists)), &model, "merged");
    }
}
