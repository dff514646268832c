//! Columns of floats, written in both ways and read again.

use narthex_chunk::{
    ChunkError, Encoding, MAX_SAMPLES, XOR_STATE_BYTES, XorState, decode_floats,
    decode_floats_until, decode_floats_with_starts, encode_xor, sample_count,
};
use narthex_model::STALE_NAN;
use proptest::prelude::*;

type Samples = Vec<(i64, u64)>;

fn columns(samples: &[(i64, u64)]) -> (Vec<i64>, Vec<f64>) {
    let samples = samples.iter();
    samples
        .map(|(time, bits)| (*time, f64::from_bits(*bits)))
        .unzip()
}

/// The words spilled and the state.
fn appended(samples: &[(i64, u64)]) -> (Vec<u8>, XorState) {
    let (mut spilled, mut state) = (Vec::new(), XorState::default());
    append(&mut state, &mut spilled, samples);
    (spilled, state)
}

fn append(state: &mut XorState, spilled: &mut Vec<u8>, samples: &[(i64, u64)]) {
    for (time, bits) in samples {
        let value = f64::from_bits(*bits);
        assert!(state.append(*time, value, &mut |word| spilled.extend(word)));
    }
}

fn by_sample(samples: &[(i64, u64)]) -> Vec<u8> {
    let (spilled, state) = appended(samples);
    state.assemble([spilled.as_slice()])
}

fn by_column(samples: &[(i64, u64)]) -> Vec<u8> {
    let (times, values) = columns(samples);
    encode_xor(&times, &values).unwrap()
}

fn decoded(chunk: &[u8]) -> Result<Samples, ChunkError> {
    let (mut times, mut values) = (Vec::new(), Vec::new());
    decode_floats(Encoding::Xor, chunk, &mut times, &mut values)?;
    let bits = values.iter().map(|value| value.to_bits());
    Ok(times.into_iter().zip(bits).collect())
}

/// Every kind of bits: ordinary numbers, integers, infinities, NaNs of any payload.
fn value_bits() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        any::<f64>().prop_map(f64::to_bits),
        (-1000i32..1000).prop_map(|value| f64::from(value).to_bits()),
        Just(STALE_NAN.to_bits()),
        (0u64..1 << 52).prop_map(|payload| 0x7ff0_0000_0000_0000 | payload),
        Just((-0.0f64).to_bits()),
        Just(0),
    ]
}

fn timestamps() -> impl Strategy<Value = Vec<i64>> {
    let extremes = prop_oneof![
        any::<i64>(),
        Just(i64::MIN),
        Just(i64::MAX),
        -20_000i64..20_000
    ];
    let extremes = prop::collection::vec(extremes, 0..120);
    let steps = prop_oneof![3 => Just(15_000i64), 1 => 14_000i64..1_100_000];
    let regular =
        (any::<i32>(), prop::collection::vec(steps, 0..200)).prop_map(|(start, steps)| {
            let mut now = i64::from(start);
            let step = |step: i64| {
                now += step;
                now
            };
            steps.into_iter().map(step).collect()
        });
    prop_oneof![extremes, regular].prop_map(|mut times: Vec<i64>| {
        times.sort_unstable();
        times.dedup();
        times
    })
}

fn samples() -> impl Strategy<Value = Samples> {
    timestamps().prop_flat_map(|times| {
        let runs = prop::collection::vec((value_bits(), 1usize..40), times.len());
        runs.prop_map(move |runs| {
            let mixed = runs.iter().enumerate().flat_map(|(at, (bits, length))| {
                // Some values stay for long.
                vec![*bits; if at % 3 == 0 { *length } else { 1 }]
            });
            times.clone().into_iter().zip(mixed).collect()
        })
    })
}

proptest! {
    #[test]
    fn both_ways_give_the_samples_back_to_the_bit(samples in samples()) {
        let (sample_wise, column_wise) = (by_sample(&samples), by_column(&samples));
        prop_assert_eq!(sample_count(Encoding::Xor, &sample_wise), Ok(samples.len()));
        prop_assert!(column_wise.len() <= sample_wise.len());
        prop_assert_eq!(decoded(&sample_wise), Ok(samples.clone()));
        prop_assert_eq!(decoded(&column_wise), Ok(samples));
    }

    #[test]
    fn reading_may_end_early(samples in samples(), at in 0usize..200) {
        let chunk = by_column(&samples);
        let until_ms = samples.get(at).map_or(i64::MAX, |sample| sample.0);
        let (mut times, mut values) = (vec![7], vec![7.0]);
        decode_floats_until(Encoding::Xor, &chunk, until_ms, &mut times, &mut values).unwrap();
        let read = times.iter().copied().zip(values.iter().map(|value| value.to_bits()));
        let read: Samples = read.skip(1).collect();
        prop_assert!(read.len() > at.min(samples.len().saturating_sub(1)) || samples.is_empty());
        prop_assert_eq!(&read, &samples[..read.len()]);
    }

    #[test]
    fn reopened_anywhere_it_goes_on(samples in samples(), at in 1usize..200, column_wise: bool) {
        prop_assume!(!samples.is_empty());
        let at = at.min(samples.len());
        let chunk = if column_wise { by_column(&samples[..at]) } else { by_sample(&samples[..at]) };
        let reopened = XorState::reopen(&chunk).unwrap();
        prop_assert_eq!(reopened.start_ms, samples[0].0);
        prop_assert_eq!(reopened.spilled.len() % 8, 0);
        let (mut state, mut spilled) = (reopened.state, reopened.spilled.to_vec());
        prop_assert_eq!((state.last_ms(), state.last_bits()), samples[at - 1]);
        prop_assert_eq!(&state.assemble([spilled.as_slice()]), &chunk);
        append(&mut state, &mut spilled, &samples[at..]);
        prop_assert_eq!(decoded(&state.assemble([spilled.as_slice()])), Ok(samples));
    }

    #[test]
    fn a_state_kept_as_bytes_goes_on(samples in samples(), at in 0usize..200) {
        let at = at.min(samples.len());
        let (mut spilled, state) = appended(&samples[..at]);
        let mut kept = XorState::from_bytes(&state.to_bytes()).unwrap();
        append(&mut kept, &mut spilled, &samples[at..]);
        prop_assert_eq!(kept.assemble([spilled.as_slice()]), by_sample(&samples));
    }

    #[test]
    fn any_bytes_are_a_state_or_none(bytes: [u8; 32], ends in any::<[u8; 5]>(), samples in samples()) {
        let mut state = [0; XOR_STATE_BYTES];
        state[..32].copy_from_slice(&bytes);
        // Of these some are often good: count, waiting bits, window.
        state[32..].copy_from_slice(&[ends[0], 0, ends[2] & 127, ends[3] & 63, ends[4] & 63]);
        if let Some(mut state) = XorState::from_bytes(&state) {
            append(&mut state, &mut Vec::new(), &samples);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for encoding in [Encoding::Xor, Encoding::Xor2] {
            let (mut times, mut values, mut starts) = (vec![1], vec![2.0], vec![3]);
            let result = decode_floats_with_starts(
                encoding, &bytes, &mut times, &mut values, &mut starts,
            );
            let read = match result {
                Ok(()) => sample_count(encoding, &bytes).unwrap(),
                Err(_) => 0,
            };
            prop_assert_eq!((times.len(), values.len(), starts.len()), (1 + read, 1 + read, 1 + read));
            prop_assert!(times.capacity() <= 8 * bytes.len() + 8);
        }
        let _ = XorState::reopen(&bytes);
    }

    #[test]
    fn a_cut_chunk_is_refused(samples in samples(), cut in 1usize..50, column_wise: bool) {
        prop_assume!(!samples.is_empty());
        let bytes = if column_wise { by_column(&samples) } else { by_sample(&samples) };
        let kept = bytes.len().saturating_sub(cut);
        let refused = decoded(&bytes[..kept]);
        // Zeros behind the end read as a window's length stand for 64 bits.
        prop_assert!(matches!(refused, Err(ChunkError::TooShort | ChunkError::Window)));
    }
}

#[test]
fn every_prefix_of_the_distance_is_used_at_its_borders() {
    for (change, bits) in [
        (0, 1),
        (1, 16),
        (8192, 16),
        (-8191, 16),
        (8193, 20),
        (-8192, 20),
        (65_536, 20),
        (-65_535, 20),
        (65_537, 24),
        (-65_536, 24),
        (524_288, 24),
        (-524_287, 24),
        (524_289, 68),
        (-524_288, 68),
        (1 << 40, 68),
    ] {
        let step = 1i64 << 41;
        let times = [0, step, 2 * step + change];
        let samples: Samples = times.iter().map(|time| (*time, 0)).collect();
        let chunk = by_sample(&samples);
        assert_eq!(decoded(&chunk), Ok(samples.clone()), "{change}");
        assert_eq!(by_column(&samples), chunk);
        // Count; 0 and 0.0; six bytes of distance and a bit; the change and a bit.
        assert_eq!(
            chunk.len(),
            2 + 9 + (6 * 8 + 1 + bits + 1usize).div_ceil(8),
            "{change}"
        );
    }
}

/// The bytes were worked out by hand from the description of the encoding.
#[test]
fn the_bytes_are_prometheus_s() {
    let samples = [
        (1000, 1.0f64.to_bits()),
        (2000, 1.0f64.to_bits()),
        (3000, 2.0f64.to_bits()),
        (4001, 1.0f64.to_bits()),
    ];
    #[rustfmt::skip]
    let expected = [
        0, 4, // count
        0xd0, 0x0f, // 1000 zigzagged
        0x3f, 0xf0, 0, 0, 0, 0, 0, 0, // 1.0
        0xe8, 0x07, // 1000
        // `0` value unchanged; `0` distance unchanged; `11`, 1 leading zero, 11 bits, all ones;
        // `10` and 1 in 14 bits; `10` and the eleven bits again
        0b0011_0000, 0b1001_0111, 0b1111_1111, 0b1110_0000,
        0b0000_0000, 0b0110_1111, 0b1111_1110,
    ];
    assert_eq!(by_sample(&samples), expected);
    assert_eq!(by_column(&samples), expected);
    assert_eq!(decoded(&expected), Ok(samples.to_vec()));
}

#[test]
fn decoding_appends() {
    let chunk = by_column(&[(1, 0), (2, 0)]);
    let (mut times, mut values) = (vec![0], vec![7.0]);
    decode_floats(Encoding::Xor, &chunk, &mut times, &mut values).unwrap();
    assert_eq!((times, values), (vec![0, 1, 2], vec![7.0, 0.0, 0.0]));
}

#[test]
fn the_count_is_the_limit() {
    let samples: Samples = (0..MAX_SAMPLES as i64)
        .map(|at| (at * 7, at as u64))
        .collect();
    let (spilled, mut state) = appended(&samples);
    assert!(!state.append(i64::MAX, 0.0, &mut |_| panic!("nothing is to be written")));
    assert_eq!(state.count(), u16::MAX);
    assert_eq!(
        decoded(&state.assemble([spilled.as_slice()])),
        Ok(samples.clone())
    );
    assert_eq!(decoded(&by_column(&samples)), Ok(samples.clone()));
    let (mut times, mut values) = columns(&samples);
    times.push(i64::MAX);
    values.push(0.0);
    assert_eq!(encode_xor(&times, &values), Err(ChunkError::TooManySamples));
}

#[test]
fn an_empty_chunk_has_no_samples_and_is_not_reopened() {
    assert_eq!(by_column(&[]), [0, 0]);
    assert_eq!(decoded(&[0, 0]), Ok(vec![]));
    assert_eq!(decoded(&[0]), Err(ChunkError::TooShort));
    assert_eq!(XorState::reopen(&[0, 0]).err(), Some(ChunkError::Empty));
}

#[test]
fn a_chunk_that_does_not_rise_is_not_reopened() {
    let chunk = by_sample(&[(5, 0), (5, 0)]);
    assert_eq!(XorState::reopen(&chunk).err(), Some(ChunkError::NotRising));
    assert!(decoded(&chunk).is_ok());
}

#[test]
fn histograms_are_no_floats() {
    let (mut times, mut values) = (Vec::new(), Vec::new());
    for encoding in [Encoding::Histogram, Encoding::FloatHistogramStart] {
        let result = decode_floats(encoding, &[0, 0, 0], &mut times, &mut values);
        assert_eq!(result, Err(ChunkError::NotFloats(encoding)));
    }
    for code in 1..=6 {
        assert_eq!(Encoding::from_code(code).unwrap().code(), code);
    }
    assert_eq!(Encoding::from_code(0), Err(ChunkError::UnknownEncoding(0)));
    assert_eq!(Encoding::from_code(7), Err(ChunkError::UnknownEncoding(7)));
}
