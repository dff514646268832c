//! Columns with start timestamps, written and read again.

use std::sync::Arc;

use narthex_chunk::{
    ChunkLimits, Encoding, counter_reset, decode_floats_with_starts, decode_histograms_with_starts,
    encode_histograms, encode_histograms_with_starts, encode_xor2,
};
use narthex_model::histogram::{CounterReset, Span};
use narthex_model::{Histogram, STALE_NAN};
use proptest::prelude::*;

/// Starts that stay for a while, or change each time, or are not known.
fn starts(count: usize) -> impl Strategy<Value = Vec<i64>> {
    let start = prop_oneof![
        2 => Just(0i64),
        3 => 0i64..2_000_000_000_000,
        1 => any::<i64>(),
    ];
    let runs = prop::collection::vec((start, prop_oneof![Just(1usize), 1usize..300]), 1..6);
    runs.prop_map(move |runs| {
        let runs = runs
            .into_iter()
            .flat_map(|(start, length)| std::iter::repeat_n(start, length));
        runs.chain(std::iter::repeat(0)).take(count).collect()
    })
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<u64>().prop_map(f64::from_bits),
        (0i32..5).prop_map(f64::from),
        Just(STALE_NAN),
    ]
}

fn samples() -> impl Strategy<Value = Vec<(i64, f64)>> {
    let step = prop_oneof![
        4 => Just(15_000i64),
        1 => 1i64..9000,
        1 => 1i64..2_000_000,
        1 => any::<i64>(),
    ];
    prop::collection::vec((step, value()), 0..400).prop_map(|samples| {
        let mut now = 1_700_000_000_000i64;
        let step = |(step, value): (i64, f64)| {
            now = now.wrapping_add(step);
            (now, value)
        };
        samples.into_iter().map(step).collect()
    })
}

fn histogram(count: u32, is_float: bool) -> Arc<Histogram> {
    let extra = if is_float { 0.5 } else { 0.0 };
    let buckets = [f64::from(count) + extra, 3.0];
    Arc::new(Histogram {
        count: buckets.iter().sum::<f64>() + 1.0,
        zero_count: 1.0,
        zero_threshold: 0.001,
        sum: f64::from(count) * 1.5,
        positive_spans: vec![Span {
            offset: -1,
            length: 2,
        }],
        positive_buckets: buckets.to_vec(),
        ..Histogram::default()
    })
}

proptest! {
    #[test]
    fn floats_come_back_with_their_starts(
        (samples, starts) in samples().prop_flat_map(|samples| {
            let count = samples.len();
            (Just(samples), starts(count))
        })
    ) {
        let (times, values): (Vec<i64>, Vec<f64>) = samples.into_iter().unzip();
        let mut chunk = Vec::new();
        encode_xor2(&times, &values, &starts, &mut chunk).unwrap();
        let mut read = (Vec::new(), Vec::new(), Vec::new());
        decode_floats_with_starts(Encoding::Xor2, &chunk, &mut read.0, &mut read.1, &mut read.2)
            .unwrap();
        let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        prop_assert_eq!(&read.0, &times);
        prop_assert_eq!(bits(&read.1), bits(&values));
        prop_assert_eq!(&read.2, &starts);
    }

    #[test]
    fn histograms_come_back_with_their_starts(
        counts in prop::collection::vec(0u32..1000, 1..200),
        starts in starts(200),
        is_float: bool,
        samples in 1u16..150,
    ) {
        let mut times = Vec::new();
        let mut values = Vec::new();
        let mut total = 0;
        for (time, count) in (1_700_000_000_000i64..).step_by(15_000).zip(&counts) {
            // Now and then a reset, and a stale marker.
            total = if *count > 900 { 0 } else { total + count };
            let stale = Arc::new(Histogram { sum: STALE_NAN, ..Histogram::default() });
            values.push(if *count == 5 { stale } else { histogram(total, is_float) });
            times.push(time);
        }
        let starts = &starts[..times.len()];
        let limits = ChunkLimits { samples, bytes: 4096 };
        let plain = encode_histograms(&times, &values, limits).unwrap();
        let chunks = encode_histograms_with_starts(&times, &values, starts, limits).unwrap();
        prop_assert_eq!(plain.len(), chunks.len());
        let mut read = (Vec::new(), Vec::new(), Vec::new());
        let mut expected = (Vec::new(), Vec::new(), Vec::new());
        for (plain, chunk) in plain.iter().zip(&chunks) {
            decode_histograms_with_starts(
                chunk.encoding, &chunk.bytes, &mut read.0, &mut read.1, &mut read.2,
            ).unwrap();
            decode_histograms_with_starts(
                plain.encoding, &plain.bytes, &mut expected.0, &mut expected.1, &mut expected.2,
            ).unwrap();
            let reset = |chunk: &narthex_chunk::EncodedChunk| {
                counter_reset(chunk.encoding, &chunk.bytes).unwrap()
            };
            prop_assert_eq!(reset(plain), reset(chunk));
            prop_assert!(reset(chunk) != CounterReset::Gauge);
        }
        prop_assert_eq!(&read.0, &expected.0);
        prop_assert_eq!(format!("{:?}", read.1), format!("{:?}", expected.1));
        prop_assert_eq!(read.2.as_slice(), starts);
    }
}

/// What one start costs: nothing for each sample but in its first chunk.
#[test]
fn a_start_that_stays_takes_no_room() {
    let times: Vec<i64> = (0..480).map(|i| 1_700_000_000_000 + i * 15_000).collect();
    let values: Vec<f64> = (0..480).map(f64::from).collect();
    let (mut with, mut without) = (Vec::new(), Vec::new());
    encode_xor2(&times, &values, &[1_690_000_000_000; 480], &mut with).unwrap();
    encode_xor2(&times, &values, &[0; 480], &mut without).unwrap();
    assert!(
        with.len() <= without.len() + 6,
        "{} {}",
        with.len(),
        without.len()
    );
}
