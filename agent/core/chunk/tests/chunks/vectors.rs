//! Chunks written down bit by bit from the description of the encodings, above all of those that
//! are only read.

use std::sync::Arc;

use narthex_chunk::{
    ChunkError, Encoding, HistogramEncoder, counter_reset, decode_floats_with_starts,
    decode_histograms_with_starts, encode_xor2, sample_count,
};
use narthex_model::histogram::{CounterReset, Span};
use narthex_model::{Histogram, STALE_NAN, is_stale_nan};

/// Bytes from words of ones and zeros; `#` begins a word of hexadecimal digits, `--` a remark.
fn bits(text: &str) -> Vec<u8> {
    let mut digits = String::new();
    let lines = text.lines().filter_map(|line| line.split("--").next());
    for word in lines.flat_map(str::split_whitespace) {
        match word.strip_prefix('#') {
            Some(hex) => {
                let nibbles = hex.chars().map(|digit| digit.to_digit(16).unwrap());
                digits.extend(nibbles.map(|nibble| format!("{nibble:04b}")));
            }
            None => digits.push_str(word),
        }
    }
    while !digits.len().is_multiple_of(8) {
        digits.push('0');
    }
    let bytes = digits.as_bytes().chunks(8);
    let bytes = bytes.map(|byte| u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 2));
    bytes.map(Result::unwrap).collect()
}

fn float(value: f64) -> String {
    format!("#{:016x}", value.to_bits())
}

fn number(value: i64) -> String {
    format!("{value:064b}")
}

type Floats = Vec<(i64, i64, u64)>;

fn floats(chunk: &[u8]) -> Result<Floats, ChunkError> {
    let (mut times, mut values, mut starts) = (Vec::new(), Vec::new(), Vec::new());
    let encoding = Encoding::Xor2;
    decode_floats_with_starts(encoding, chunk, &mut times, &mut values, &mut starts)?;
    let samples = times.iter().zip(&starts).zip(&values);
    Ok(samples
        .map(|((time, start), value)| (*time, *start, value.to_bits()))
        .collect())
}

#[test]
fn xor2_has_a_mark_for_every_case() {
    let chunk = bits(&format!(
        "#000a #00
         #d00f {one} -- 1000 as a zigzag varint, 1.0
         #e807 0 -- 1000 later, the same
         0 -- the same
         10 1 00001 001011 11111111111 -- 2.0: one leading zero, eleven bits
         11111 -- stale
         0 -- 2.0 is the value before
         110 0000000000001 10 11111111111 -- 1 ms later, 1.0 in the same window
         110 1111111111110 0 -- 2 ms earlier
         1110 00011000011010100001 111 -- 100001 ms later, stale
         11110 {far} 110 00001 001010 1111111111 -- far later, 4.0",
        one = float(1.0),
        far = number(999_999_790_000),
    ));
    let (one, two, stale) = (1.0f64.to_bits(), 2.0f64.to_bits(), STALE_NAN.to_bits());
    let expected = vec![
        (1000, 0, one),
        (2000, 0, one),
        (3000, 0, one),
        (4000, 0, two),
        (5000, 0, stale),
        (6000, 0, two),
        (7001, 0, one),
        (8000, 0, one),
        (109_000, 0, stale),
        (1_000_000_000_000, 0, 4.0f64.to_bits()),
    ];
    assert_eq!(floats(&chunk), Ok(expected));
    for length in 0..chunk.len() {
        assert!(floats(&chunk[..length]).is_err(), "{length}");
    }
}

#[test]
fn xor2_start_times_begin_where_the_header_says() {
    let (one, bit) = (1.0f64.to_bits(), "0");
    let chunk = |header: &str, first: &str, third: &str, fourth: &str, fifth: &str| {
        bits(&format!(
            "#0005 {header} #d00f {} {first} #e807 {bit} {bit} {third} {bit} {fourth} {bit} {fifth}",
            float(1.0)
        ))
    };
    // 600 ms before the first sample; from the third on 500, 400, 400 ms before the sample before.
    let both = chunk("#82", "#b009", "11110 000111110100", "1110 110011100", "0");
    let times = [1000, 2000, 3000, 4000, 5000];
    let expected = |starts: [i64; 5]| -> Floats {
        let samples = times.iter().zip(starts);
        samples.map(|(time, start)| (*time, start, one)).collect()
    };
    assert_eq!(floats(&both), Ok(expected([400, 400, 1500, 2600, 3600])));
    let first_only = chunk("#80", "#b009", "", "", "");
    assert_eq!(floats(&first_only), Ok(expected([400; 5])));
    let later_only = chunk("#02", "", "11110 000111110100", "1110 110011100", "0");
    assert_eq!(floats(&later_only), Ok(expected([0, 0, 1500, 2600, 3600])));
    let none = chunk("#00", "", "", "", "");
    assert_eq!(floats(&none), Ok(expected([0; 5])));
    for (chunk, starts) in [
        (both, [400, 400, 1500, 2600, 3600]),
        (first_only, [400; 5]),
        (later_only, [0, 0, 1500, 2600, 3600]),
        (none, [0; 5]),
    ] {
        let mut written = Vec::new();
        encode_xor2(&times, &[1.0; 5], &starts, &mut written).unwrap();
        assert_eq!(written, chunk, "{starts:?}");
    }
}

/// 2^-128; schema 3; one span of two at offset -1; no negative span.
const LAYOUT: &str = "#74 10011 10001 10010 10111 0";

fn whole_samples() -> String {
    [
        // 100 ms; count 3; zero count 1; sum; buckets 1 and no more than that
        &format!("1110 001100100 10011 10001 {} 10001 0", float(1.5)),
        // 100 ms more; count 2 more; the same zero count and sum; buckets 1 more each
        "1110 001100100 10010 0 0 10001 0",
        // As far again; counts go on; 1.5 to stale: one leading zero, 62 bits
        "0 0 0 11 00001 111110",
        &format!("{:062b}", (STALE_NAN.to_bits() ^ 1.5f64.to_bits()) >> 1),
    ]
    .join(" ")
}

fn float_samples() -> String {
    let [one, three, sum] = [1.0, 3.0, 1.5].map(float);
    [
        &format!("1110 001100100 {three} {one} {sum} {one} {one}"),
        // 3.0 to 5.0: eleven leading zeros, two bits; 1.0 to 2.0: one leading zero, eleven bits
        "1110 001100100 11 01011 000011 111 0 0",
        "11 00001 001011 11111111111 11 00001 001011 11111111111",
        "0 0 0 11 00001 111110",
        &format!("{:062b}", (STALE_NAN.to_bits() ^ 1.5f64.to_bits()) >> 1),
    ]
    .join(" ")
}

fn expected_histograms() -> [Histogram; 3] {
    let first = Histogram {
        schema: 3,
        zero_threshold: 2f64.powi(-128),
        zero_count: 1.0,
        count: 3.0,
        sum: 1.5,
        positive_spans: vec![Span {
            offset: -1,
            length: 2,
        }],
        positive_buckets: vec![1.0, 1.0],
        ..Histogram::default()
    };
    let second = Histogram {
        counter_reset: CounterReset::NotReset,
        count: 5.0,
        positive_buckets: vec![2.0, 2.0],
        ..first.clone()
    };
    let stale = Histogram {
        sum: STALE_NAN,
        ..Histogram::default()
    };
    [first, second, stale]
}

struct Read {
    times: Vec<i64>,
    histograms: Vec<Arc<Histogram>>,
    starts: Vec<i64>,
}

fn read(encoding: Encoding, chunk: &[u8]) -> Result<Read, ChunkError> {
    let (mut times, mut histograms, mut starts) = (Vec::new(), Vec::new(), Vec::new());
    decode_histograms_with_starts(encoding, chunk, &mut times, &mut histograms, &mut starts)?;
    assert_eq!(sample_count(encoding, chunk), Ok(times.len()));
    Ok(Read {
        times,
        histograms,
        starts,
    })
}

fn assert_expected(read: &Read) {
    let [first, second, stale] = expected_histograms();
    assert_eq!(read.times, [100, 200, 300]);
    assert_eq!(
        (&*read.histograms[0], &*read.histograms[1]),
        (&first, &second)
    );
    assert!(is_stale_nan(read.histograms[2].sum));
    let zeroed = Histogram {
        sum: 0.0,
        ..(*read.histograms[2]).clone()
    };
    assert_eq!(zeroed, Histogram { sum: 0.0, ..stale });
}

#[test]
fn histograms_are_read_and_written() {
    for (encoding, samples) in [
        (Encoding::Histogram, whole_samples()),
        (Encoding::FloatHistogram, float_samples()),
    ] {
        let chunk = bits(&format!("#0003 #40 {LAYOUT} {samples}"));
        let read = read(encoding, &chunk).unwrap();
        assert_expected(&read);
        assert_eq!(read.starts, [0, 0, 0]);
        assert_eq!(counter_reset(encoding, &chunk), Ok(CounterReset::NotReset));
        if encoding == Encoding::Histogram {
            let [first, second, stale] = expected_histograms();
            let mut encoder = HistogramEncoder::begin(100, &first, CounterReset::NotReset).unwrap();
            encoder.append(200, &second).unwrap();
            encoder.append(300, &stale).unwrap();
            assert_eq!(encoder.finish(), (encoding, chunk));
        }
    }
}

#[test]
fn histograms_with_starts_have_another_header() {
    for (encoding, samples) in [
        (Encoding::HistogramStart, whole_samples()),
        (Encoding::FloatHistogramStart, float_samples()),
    ] {
        // `10` for a reset and 3 in 14 bits; no starts
        let chunk = bits(&format!("#8003 #00 {LAYOUT} {samples}"));
        let read = read(encoding, &chunk).unwrap();
        assert_expected(&read);
        assert_eq!(read.starts, [0, 0, 0]);
        assert_eq!(counter_reset(encoding, &chunk), Ok(CounterReset::Reset));
    }
}

#[test]
fn start_times_follow_each_histogram() {
    // A layout without buckets; 60 ms before the first; from the second on 20 ms before the former.
    let chunk = bits(&format!(
        "#c003 #81 #00 0 0 0
         1110 001100100 0 0 {} #78
         1110 001100100 0 0 0 110 010100
         0 0 0 0 0",
        float(0.0)
    ));
    let read = read(Encoding::HistogramStart, &chunk).unwrap();
    assert_eq!(read.times, [100, 200, 300]);
    assert_eq!(read.starts, [40, 80, 180]);
    let gauges = read
        .histograms
        .iter()
        .map(|histogram| histogram.counter_reset);
    assert!(gauges.into_iter().all(|reset| reset == CounterReset::Gauge));
}

#[test]
fn equal_histograms_that_follow_each_other_are_one() {
    let chunk = bits(&format!(
        "#0004 #00 {LAYOUT}
         1110 001100100 10011 10001 {} 10001 0
         1110 001100100 0 0 0 0 0
         0 0 0 0 0 0
         0 0 0 0 10001 0",
        float(1.5)
    ));
    let read = read(Encoding::Histogram, &chunk).unwrap().histograms;
    // The first has another hint.
    assert!(!Arc::ptr_eq(&read[0], &read[1]));
    assert!(Arc::ptr_eq(&read[1], &read[2]));
    assert_eq!(read[3].positive_buckets, [2.0, 2.0]);
}

#[test]
fn a_schema_too_fine_is_coarsened() {
    // Schema 9; four buckets from -1 on, of 1, 2, 3, 4.
    let chunk = bits(&format!(
        "#0001 #00 #00 110 001001 10001 10100 10111 0
         0 1100 01010 0 {} 10001 10001 10001 10001",
        float(1.5)
    ));
    let read = read(Encoding::Histogram, &chunk).unwrap().histograms;
    assert_eq!((read[0].schema, read[0].count), (8, 10.0));
    assert_eq!(read[0].positive_buckets, [3.0, 7.0]);
    assert_eq!(
        read[0].positive_spans,
        [Span {
            offset: 0,
            length: 2
        }]
    );
}

#[test]
fn what_would_exhaust_memory_is_refused() {
    // Two spans of a billion buckets; 60,000 samples of 600 custom bounds.
    let length = format!("11111110 {:056b}", 1_000_000_000);
    let spans = format!(
        "#0001 #00 #00 0 10010 {length} 0 {length} 0 0 #{}",
        "00".repeat(20)
    );
    assert_eq!(
        read(Encoding::Histogram, &bits(&spans)).err(),
        Some(ChunkError::Spans)
    );
    let bounds = format!(
        "#ea60 #00 #00 1110 111001011 0 0 11110 001001011000 {} #{}",
        "10001 ".repeat(600),
        "00".repeat(40_000)
    );
    let refused = read(Encoding::Histogram, &bits(&bounds)).err();
    assert!(
        matches!(refused, Some(ChunkError::TooLarge { .. })),
        "{refused:?}"
    );
    let lies = read(Encoding::Histogram, &[0xff, 0xff, 0, 0, 0]).err();
    assert_eq!(lies, Some(ChunkError::TooShort));
}
