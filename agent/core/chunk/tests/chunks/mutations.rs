//! Chunks that were damaged: whatever is done to their bytes, they are read or refused, and what
//! was read can be written. `CHUNK_MUTATIONS` says how many are tried, `CHUNK_SEED` from where on.

use crate::columns::{MIX, Random, column};
use crate::histogram_columns::histogram_column;
use narthex_chunk::{
    ChunkLimits, Encoding, HistogramEncoder, XorState, decode_floats, decode_floats_with_starts,
    decode_histograms, decode_histograms_with_starts, encode_histograms, encode_xor,
};

const ENCODINGS: [Encoding; 6] = [
    Encoding::Xor,
    Encoding::Histogram,
    Encoding::FloatHistogram,
    Encoding::Xor2,
    Encoding::HistogramStart,
    Encoding::FloatHistogramStart,
];

fn number_from(variable: &str, default: u64) -> u64 {
    let value = std::env::var(variable).ok();
    value.map_or(default, |text| text.parse().unwrap())
}

#[test]
fn damaged_chunks_are_read_or_refused() {
    let seed = number_from("CHUNK_SEED", 1);
    let tries = number_from("CHUNK_MUTATIONS", 3000);
    println!("CHUNK_SEED={seed} CHUNK_MUTATIONS={tries}");
    for seed in seed..seed + tries {
        let mut random = Random::new(seed);
        let (encoding, mut chunk) = whole_chunk(&mut random);
        for _ in 0..=random.below(4) {
            damage(&mut chunk, &mut random);
        }
        let encoding = match random.below(4) {
            0 => ENCODINGS[random.below(6) as usize],
            _ => encoding,
        };
        let result = std::panic::catch_unwind(|| try_chunk(encoding, &chunk));
        assert!(result.is_ok(), "CHUNK_SEED={seed}, {encoding:?}: {chunk:?}");
    }
}

/// A chunk as it should be, of any encoding.
fn whole_chunk(random: &mut Random) -> (Encoding, Vec<u8>) {
    let samples = 1 + random.below(150) as usize;
    if random.below(2) == 0 {
        let kind = MIX[random.below(MIX.len() as u64) as usize].0;
        let (times, values) = column(kind, samples, random);
        let mut chunk = encode_xor(&times, &values).unwrap();
        if random.below(2) == 0 {
            return (Encoding::Xor, chunk);
        }
        // The first two samples mean nearly the same in XOR2, behind a header byte more.
        chunk.insert(2, random.next() as u8);
        return (Encoding::Xor2, chunk);
    }
    let (times, values) = histogram_column(samples.min(40), random);
    let limits = ChunkLimits {
        samples: 100,
        bytes: 4000,
    };
    let mut chunks = encode_histograms(&times, &values, limits).unwrap();
    let chunk = chunks.swap_remove(random.below(chunks.len() as u64) as usize);
    if random.below(2) == 0 {
        return (chunk.encoding, chunk.bytes);
    }
    // With start timestamps the header says the same in another order.
    let mut bytes = chunk.bytes;
    bytes[0] |= bytes[2];
    bytes[2] = [0, 0x80, 1, 0x85, 3][random.below(5) as usize];
    match chunk.encoding {
        Encoding::Histogram => (Encoding::HistogramStart, bytes),
        _ => (Encoding::FloatHistogramStart, bytes),
    }
}

fn damage(chunk: &mut Vec<u8>, random: &mut Random) {
    if chunk.is_empty() {
        return;
    }
    let at = random.below(chunk.len() as u64) as usize;
    let near_start = random.below(24.min(chunk.len() as u64)) as usize;
    match random.below(8) {
        0 => chunk[at] ^= 1 << random.below(8),
        1 | 2 => chunk[near_start] ^= 1 << random.below(8),
        3 => chunk[near_start] = random.next() as u8,
        4 => chunk.truncate(at),
        5 => {
            chunk.remove(at);
        }
        6 => chunk.insert(at, random.next() as u8),
        _ => {
            let end = (at + random.below(16) as usize).min(chunk.len());
            chunk[at..end].fill([0, 0xff][random.below(2) as usize]);
        }
    }
}

fn try_chunk(encoding: Encoding, chunk: &[u8]) {
    if encoding.is_floats() {
        try_floats(encoding, chunk);
    } else {
        try_histograms(encoding, chunk);
    }
}

fn try_floats(encoding: Encoding, chunk: &[u8]) {
    let (mut times, mut values, mut starts) = (vec![7], vec![7.0], vec![7]);
    let result = decode_floats_with_starts(encoding, chunk, &mut times, &mut values, &mut starts);
    assert!(times.len() == values.len() && times.len() == starts.len());
    // A bit is the least that a sample takes.
    assert!(times.len() <= 1 + 8 * chunk.len());
    assert!(times.capacity() <= 8 + 16 * chunk.len());
    assert!(result.is_ok() || times == [7]);
    let again = encode_xor(&times, &values).unwrap();
    let (mut same_times, mut same_values) = (Vec::new(), Vec::new());
    decode_floats(Encoding::Xor, &again, &mut same_times, &mut same_values).unwrap();
    let bits =
        |values: &[f64]| -> Vec<u64> { values.iter().map(|value| value.to_bits()).collect() };
    assert_eq!((same_times, bits(&same_values)), (times, bits(&values)));
    if let Ok(reopened) = XorState::reopen(chunk) {
        let assembled = reopened.state.assemble([reopened.spilled]);
        assert!(chunk.len() >= assembled.len());
        let (mut times, mut same_times) = (Vec::new(), Vec::new());
        decode_floats(Encoding::Xor, chunk, &mut times, &mut values).unwrap();
        decode_floats(Encoding::Xor, &assembled, &mut same_times, &mut same_values).unwrap();
        assert_eq!(times, same_times);
    }
}

fn try_histograms(encoding: Encoding, chunk: &[u8]) {
    let (mut times, mut values, mut starts) = (Vec::new(), Vec::new(), Vec::new());
    let result =
        decode_histograms_with_starts(encoding, chunk, &mut times, &mut values, &mut starts);
    assert!(times.len() == values.len() && times.len() == starts.len());
    assert!(result.is_ok() || times.is_empty());
    // Time, both counts and sum take a bit each, and each bucket one in each sample.
    assert!(4 * times.len() <= 8 * chunk.len());
    let buckets = values
        .iter()
        .map(|value| value.positive_buckets.len() + value.negative_buckets.len());
    assert!(buckets.sum::<usize>() <= 8 * chunk.len());
    let limits = ChunkLimits {
        samples: 50,
        bytes: 1000,
    };
    let chunks = encode_histograms(&times, &values, limits).unwrap();
    let mut same_times = Vec::new();
    for chunk in &chunks {
        let mut read = Vec::new();
        decode_histograms(chunk.encoding, &chunk.bytes, &mut same_times, &mut read).unwrap();
    }
    assert_eq!(same_times, times);
    let _ = HistogramEncoder::reopen(encoding, chunk);
}
