//! What encoding and decoding cost, printed: `cargo test --release -p narthex-chunk --test chunks
//! timing -- --ignored --nocapture`. What comes back is compared, so a fast wrong answer fails.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use crate::columns::{Kind, MIX, Random, column};
use narthex_chunk::{
    ChunkLimits, Encoding, XorEncoder, XorState, decode_floats, decode_histograms,
    encode_histograms,
};
use narthex_model::Histogram;
use narthex_model::histogram::Span;

const COLUMNS: usize = 200;

struct Measured {
    greedy_ns: f64,
    ahead_ns: f64,
    decode_ns: f64,
    greedy_bytes: usize,
    ahead_bytes: usize,
}

/// The least nanoseconds a sample of some rounds.
fn time(samples: usize, mut run: impl FnMut()) -> f64 {
    let rounds = (0..7).map(|_| {
        let begun = Instant::now();
        run();
        begun.elapsed().as_nanos() as f64 / samples as f64
    });
    rounds.fold(f64::INFINITY, f64::min)
}

fn greedy(times: &[i64], values: &[f64], spilled: &mut Vec<u8>) -> Vec<u8> {
    spilled.clear();
    let mut state = XorState::default();
    for (time, value) in times.iter().zip(values) {
        assert!(state.append(*time, *value, &mut |word| spilled.extend_from_slice(&word)));
    }
    state.assemble([spilled.as_slice()])
}

fn measure(columns: &[(Vec<i64>, Vec<f64>)]) -> Measured {
    let samples = columns.iter().map(|(times, _)| times.len()).sum();
    let mut spilled = Vec::new();
    let (mut encoder, mut out) = (XorEncoder::default(), Vec::new());
    let greedy_ns = time(samples, || {
        for (times, values) in columns {
            black_box(greedy(times, values, &mut spilled));
        }
    });
    let ahead_ns = time(samples, || {
        for (times, values) in columns {
            out.clear();
            encoder.encode(times, values, &mut out).unwrap();
            black_box(&out);
        }
    });
    let (mut chunks, mut greedy_bytes) = (Vec::new(), 0);
    for (times, values) in columns {
        let mut chunk = Vec::new();
        encoder.encode(times, values, &mut chunk).unwrap();
        let greedy = greedy(times, values, &mut spilled).len();
        assert!(chunk.len() <= greedy);
        greedy_bytes += greedy;
        chunks.push(chunk);
    }
    let (mut times, mut values) = (Vec::new(), Vec::new());
    let decode_ns = time(samples, || {
        for chunk in &chunks {
            times.clear();
            values.clear();
            decode_floats(Encoding::Xor, chunk, &mut times, &mut values).unwrap();
            black_box((&times, &values));
        }
    });
    for (chunk, column) in chunks.iter().zip(columns) {
        times.clear();
        values.clear();
        decode_floats(Encoding::Xor, chunk, &mut times, &mut values).unwrap();
        assert_eq!((&times, &values), (&column.0, &column.1));
    }
    Measured {
        greedy_ns,
        ahead_ns,
        decode_ns,
        greedy_bytes,
        ahead_bytes: chunks.iter().map(Vec::len).sum(),
    }
}

fn print(name: &str, length: usize, columns: &[(Vec<i64>, Vec<f64>)]) {
    let measured = measure(columns);
    let samples: usize = columns.iter().map(|(times, _)| times.len()).sum();
    let saved = 1.0 - measured.ahead_bytes as f64 / measured.greedy_bytes as f64;
    println!(
        "{name:>9} {length:>5}: decode {:5.2}, encode by sample {:5.2}, by column {:5.2} ns/sample; \
         {:6.3} B/sample, by column {:6.3} ({:4.1} % less)",
        measured.decode_ns,
        measured.greedy_ns,
        measured.ahead_ns,
        measured.greedy_bytes as f64 / samples as f64,
        measured.ahead_bytes as f64 / samples as f64,
        100.0 * saved,
    );
}

#[test]
#[ignore = "measures; run it in a release build"]
fn floats() {
    for length in [120, 480] {
        let mut random = Random::new(1);
        for (kind, _) in MIX {
            let columns: Vec<_> = (0..COLUMNS)
                .map(|_| column(kind, length, &mut random))
                .collect();
            print(&format!("{kind:?}"), length, &columns);
        }
        let mix = MIX.iter().flat_map(|(kind, share)| vec![*kind; *share]);
        let mixed: Vec<_> = mix
            .cycle()
            .take(COLUMNS * 2)
            .map(|kind: Kind| column(kind, length, &mut random))
            .collect();
        print("mixed", length, &mixed);
    }
}

#[test]
#[ignore = "measures; run it in a release build"]
fn histograms() {
    const BUCKETS: usize = 40;
    let mut random = Random::new(2);
    for (name, scale) in [("whole", 1.0), ("float", 1.0 / 3.0)] {
        let mut counts = vec![0.0; BUCKETS];
        let mut times = Vec::new();
        let mut values = Vec::new();
        for index in 0..120 {
            for _ in 0..20 {
                let bucket = (random.below(20) + random.below(21)) as usize;
                counts[bucket] += scale;
            }
            times.push(1_700_000_000_000 + index * 15_000);
            values.push(Arc::new(Histogram {
                schema: 3,
                zero_threshold: 2f64.powi(-128),
                count: counts.iter().sum(),
                sum: counts.iter().sum::<f64>() * 0.31,
                positive_spans: vec![Span {
                    offset: -10,
                    length: BUCKETS as u32,
                }],
                positive_buckets: counts.clone(),
                ..Histogram::default()
            }));
        }
        let limits = ChunkLimits {
            samples: 120,
            bytes: 1 << 20,
        };
        let encode_ns = time(times.len(), || {
            black_box(encode_histograms(&times, &values, limits).unwrap());
        });
        let chunks = encode_histograms(&times, &values, limits).unwrap();
        let chunk = &chunks[0];
        assert_eq!(chunks.len(), 1);
        let (mut read_times, mut read) = (Vec::new(), Vec::new());
        let decode_ns = time(times.len(), || {
            read_times.clear();
            read.clear();
            decode_histograms(chunk.encoding, &chunk.bytes, &mut read_times, &mut read).unwrap();
            black_box(&read);
        });
        assert_eq!(read_times, times);
        assert_eq!(read[119].positive_buckets, values[119].positive_buckets);
        println!(
            "{name} histograms of {BUCKETS} buckets: decode {decode_ns:.0}, encode {encode_ns:.0} ns each; {:.1} B each",
            chunk.bytes.len() as f64 / times.len() as f64
        );
    }
}
