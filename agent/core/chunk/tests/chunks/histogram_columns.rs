//! Columns of histograms, from a seed.

use std::collections::BTreeMap;
use std::sync::Arc;

use narthex_model::histogram::{CUSTOM_BOUNDS_SCHEMA, CounterReset, Span};
use narthex_model::{Histogram, STALE_NAN};

use crate::columns::Random;

type Buckets = BTreeMap<i32, f64>;

/// A series of histograms that grows, and now and then is reset, loses buckets, changes its schema,
/// pauses or goes stale. Gauges go up and down.
pub(crate) fn histogram_column(
    samples: usize,
    random: &mut Random,
) -> (Vec<i64>, Vec<Arc<Histogram>>) {
    let is_gauge = random.below(4) == 0;
    let scale = [1.0, 1.0, 0.3][random.below(3) as usize];
    let width = 1 + random.below(30) as i32;
    let mut timestamp_ms = 1_700_000_000_000 + random.below(15_000) as i64;
    let mut shape = shape(random);
    let (mut positive, mut negative) = (Buckets::new(), Buckets::new());
    let (mut times, mut values) = (Vec::new(), Vec::new());
    for _ in 0..samples {
        timestamp_ms += 15_000 + [0, 0, 0, 1, -7, 90_000][random.below(6) as usize];
        match random.below(40) {
            0 => positive.clear(),
            1 => shape = self::shape(random),
            2 => shape.sum = STALE_NAN,
            3 if is_gauge => positive.values_mut().for_each(|count| *count = 0.0),
            _ => shape.sum = 1.5 * shape.count,
        }
        for _ in 0..random.below(4) {
            let bucket = random.below(width as u64) as i32;
            let most = 1 << random.below(20);
            let more = scale * random.below(most) as f64;
            *positive.entry(bucket).or_default() += more;
            if shape.schema != CUSTOM_BOUNDS_SCHEMA {
                *negative.entry(bucket - 40).or_default() += scale;
                shape.zero_count += scale;
            }
        }
        shape.count = shape.zero_count + positive.values().chain(negative.values()).sum::<f64>();
        let mut histogram = shape.clone();
        if is_gauge {
            histogram.counter_reset = CounterReset::Gauge;
        }
        (histogram.positive_spans, histogram.positive_buckets) = spans(&positive);
        if shape.schema != CUSTOM_BOUNDS_SCHEMA {
            (histogram.negative_spans, histogram.negative_buckets) = spans(&negative);
        }
        times.push(timestamp_ms);
        values.push(Arc::new(histogram));
    }
    (times, values)
}

/// Everything but the buckets.
fn shape(random: &mut Random) -> Histogram {
    let thresholds = [0.0, 2f64.powi(-128), 0.001, 1024.0];
    if random.below(3) == 0 {
        let bounds =
            (1..=40).map(|bound| f64::from(bound) * [0.005, 1.0 / 3.0][bound as usize % 2]);
        let mut bounds: Vec<f64> = bounds.collect();
        bounds.sort_by(f64::total_cmp);
        return Histogram {
            schema: CUSTOM_BOUNDS_SCHEMA,
            custom_values: bounds,
            ..Histogram::default()
        };
    }
    Histogram {
        schema: random.below(13) as i32 - 4,
        zero_threshold: thresholds[random.below(4) as usize],
        ..Histogram::default()
    }
}

fn spans(buckets: &Buckets) -> (Vec<Span>, Vec<f64>) {
    let mut spans: Vec<Span> = Vec::new();
    let mut end = 0;
    for index in buckets.keys() {
        match spans.last_mut() {
            Some(span) if *index == end => span.length += 1,
            _ => spans.push(Span {
                offset: index - end,
                length: 1,
            }),
        }
        end = index + 1;
    }
    (spans, buckets.values().copied().collect())
}
