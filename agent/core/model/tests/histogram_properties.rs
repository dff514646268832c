//! What holds for any native histograms, sound ones and broken ones.

#![expect(clippy::unwrap_used, reason = "a test: what fails must stop it")]

use narthex_model::Histogram;
use narthex_model::histogram::{CUSTOM_BOUNDS_SCHEMA, CounterReset, Span};
use narthex_model::histogram_arithmetic::HistogramSum;
use narthex_model::histogram_bounds::bucket_bound;
use narthex_model::histogram_trim::Keep;
use proptest::collection::vec;
use proptest::prelude::*;

/// Spans, and a count for each of their buckets.
fn side() -> impl Strategy<Value = (Vec<Span>, Vec<f64>)> {
    vec((0_i32..3, 1_u32..4), 0..4).prop_flat_map(|spans| {
        let buckets: u32 = spans.iter().map(|(_, length)| length).sum();
        let spans: Vec<Span> = spans
            .into_iter()
            .map(|(offset, length)| Span { offset, length })
            .collect();
        let counts = vec((0_u32..6).prop_map(f64::from), buckets as usize);
        (Just(spans), counts)
    })
}

/// Counts are whole numbers, so that sums are exact.
fn exponential() -> impl Strategy<Value = Histogram> {
    (-2_i32..4, zero_threshold()).prop_flat_map(|(schema, threshold)| of_schema(schema, threshold))
}

fn zero_threshold() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.0), Just(0.25), Just(0.9), Just(3.0)]
}

fn of_schema(schema: i32, zero_threshold: f64) -> impl Strategy<Value = Histogram> {
    (0_u32..5, side(), side()).prop_map(move |(zero_count, positive, negative)| {
        let zero_count = f64::from(zero_count);
        let (positive_spans, positive_buckets) = outside(positive, schema, zero_threshold);
        let (negative_spans, negative_buckets) = outside(negative, schema, zero_threshold);
        let buckets = positive_buckets.iter().chain(&negative_buckets);
        Histogram {
            schema,
            zero_threshold,
            zero_count,
            count: zero_count + buckets.sum::<f64>(),
            sum: 1.0,
            positive_spans,
            positive_buckets,
            negative_spans,
            negative_buckets,
            ..Histogram::default()
        }
    })
}

fn custom() -> impl Strategy<Value = Histogram> {
    (
        vec(any::<bool>(), 6),
        vec((0_u32..6).prop_map(f64::from), 7),
    )
        .prop_map(|(bounds, counts)| {
            let bounds = (0..).zip(bounds).filter(|(_, present)| *present);
            let custom_values: Vec<f64> = bounds.map(|(at, _)| f64::from(at) - 2.0).collect();
            let length = custom_values.len() + 1;
            let positive_buckets = counts[..length].to_vec();
            Histogram {
                schema: CUSTOM_BOUNDS_SCHEMA,
                count: positive_buckets.iter().sum(),
                sum: 1.0,
                positive_spans: vec![Span {
                    offset: 0,
                    length: u32::try_from(length).unwrap(),
                }],
                positive_buckets,
                custom_values,
                ..Histogram::default()
            }
        })
}

/// Nothing is in buckets that begin in the zero bucket.
fn outside(
    (spans, mut counts): (Vec<Span>, Vec<f64>),
    schema: i32,
    zero_threshold: f64,
) -> (Vec<Span>, Vec<f64>) {
    let mut at = 0;
    let mut index = 0_i64;
    for span in &spans {
        index += i64::from(span.offset);
        for _ in 0..span.length {
            if bucket_bound(index - 1, schema) < zero_threshold {
                counts[at] = 0.0;
            }
            at += 1;
            index += 1;
        }
    }
    (spans, counts)
}

/// Zero buckets that end inside of the other schema's buckets are left out: what lies there is then
/// counted twice, as in Prometheus.
fn pair() -> impl Strategy<Value = (Histogram, Histogram)> {
    let same_schema = (-2_i32..4, zero_threshold(), zero_threshold())
        .prop_flat_map(|(schema, a, b)| (of_schema(schema, a), of_schema(schema, b)));
    // Bounds in all of these schemas.
    let bound = || prop_oneof![Just(0.0), Just(0.0625), Just(1.0)];
    let other = || (-2_i32..4, bound()).prop_flat_map(|(schema, bound)| of_schema(schema, bound));
    prop_oneof![same_schema, (other(), other()), (custom(), custom())]
}

/// Whatever may stand in a damaged file.
fn broken() -> impl Strategy<Value = Histogram> {
    let span = (any::<i32>(), any::<u32>()).prop_map(|(offset, length)| Span { offset, length });
    let spans = || vec(span.clone(), 0..4);
    let counts = || vec(any::<f64>(), 0..5);
    let hint = prop_oneof![Just(CounterReset::Unknown), Just(CounterReset::Gauge)];
    let schema = prop_oneof![Just(CUSTOM_BOUNDS_SCHEMA), -5_i32..10, any::<i32>()];
    let numbers = (any::<f64>(), any::<f64>(), any::<f64>(), any::<f64>());
    (
        (hint, schema, numbers),
        (spans(), counts()),
        (spans(), counts()),
        counts(),
    )
        .prop_map(
            |((counter_reset, schema, numbers), positive, negative, custom_values)| {
                let (zero_threshold, zero_count, count, sum) = numbers;
                Histogram {
                    counter_reset,
                    schema,
                    zero_threshold,
                    zero_count,
                    count,
                    sum,
                    positive_spans: positive.0,
                    positive_buckets: positive.1,
                    negative_spans: negative.0,
                    negative_buckets: negative.1,
                    custom_values,
                }
            },
        )
}

fn counted(histogram: &Histogram) -> f64 {
    histogram.buckets().iter().map(|bucket| bucket.count).sum()
}

proptest! {
    #[test]
    fn a_compensated_sum_of_whole_numbers_is_the_plain_one((a, b) in pair()) {
        let mut plain = a.clone();
        plain.add(&b).unwrap();
        let mut careful = HistogramSum::new(a);
        careful.add(&b).unwrap();
        prop_assert_eq!(careful.finish().compacted(), plain.compacted());
    }

    #[test]
    fn what_is_added_can_be_taken_away((a, b) in pair()) {
        let mut sum = a.clone();
        sum.add(&b).unwrap();
        prop_assert_eq!(sum.count, a.count + b.count);
        let mut rest = sum.clone();
        rest.subtract(&b).unwrap();
        prop_assert_eq!(rest.count, a.count);
        // Only a coarser layout can be left of it.
        prop_assert!(rest.schema <= a.schema && rest.zero_threshold >= a.zero_threshold);
        if a.schema == b.schema {
            prop_assert_eq!(counted(&sum), a.count + b.count);
            prop_assert_eq!(counted(&rest), a.count);
        }
    }

    #[test]
    fn a_counter_that_grew_was_not_reset((a, b) in pair()) {
        let mut later = a.clone();
        later.add(&b).unwrap();
        prop_assert!(!later.is_reset_after(&a));
        prop_assert!(!later.clone().compacted().is_reset_after(&a));
        if b.count > 0.0 {
            prop_assert!(a.is_reset_after(&later));
        }
    }

    #[test]
    fn the_two_parts_of_a_cut_make_the_whole(histogram in exponential(), at in -20.0..20.0) {
        let below = histogram.trimmed(Keep::Below, at);
        let above = histogram.trimmed(Keep::Above, at);
        let parts = below.count + above.count;
        prop_assert!((parts - histogram.count).abs() < 1e-9, "{below:?} {above:?}");
        prop_assert!((counted(&below) - below.count).abs() < 1e-9);
    }

    #[test]
    fn a_coarser_schema_holds_the_same_observations(histogram in exponential(), by in 1_i32..4) {
        let reduced = histogram.reduced_to(histogram.schema - by);
        prop_assert_eq!(counted(&reduced), counted(&histogram));
        for bucket in reduced.buckets() {
            prop_assert!(bucket.lower < bucket.upper || bucket.upper == histogram.zero_threshold);
        }
    }

    #[test]
    fn broken_histograms_do_no_harm(a in broken(), b in broken(), number in any::<f64>()) {
        let mut sum = a.clone();
        let added = sum.add(&b);
        prop_assert_eq!(sum.subtract(&b).is_ok(), added.is_ok());
        let mut careful = HistogramSum::new(a.clone());
        prop_assert_eq!(careful.add(&b).is_ok(), added.is_ok());
        careful.divide(3.0);
        careful.finish();
        a.is_reset_after(&b);
        a.is_same_as(&b);
        a.trimmed(Keep::Below, number);
        a.trimmed(Keep::Above, number);
        a.reduced_to(b.schema);
        a.buckets_around_zero();
        a.size_in_samples();
        prop_assert!(!a.to_string().is_empty());
        a.compacted();
    }

    #[test]
    fn bounds_never_fall(index in any::<i64>(), schema in any::<i32>()) {
        prop_assume!(index < i64::MAX);
        prop_assert!(bucket_bound(index, schema) <= bucket_bound(index + 1, schema));
    }
}
