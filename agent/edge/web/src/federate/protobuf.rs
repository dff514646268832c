//! Families as protobuf: `io.prometheus.client.MetricFamily`, each after its length. Only what
//! federation sends is written.

use narthex_model::histogram::Span;
use narthex_model::{Histogram, Label, SampleValue};

use super::names::Escaping;
use super::{Kind, Newest, classic_buckets, shown_labels};

const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const BYTES: u64 = 2;

/// All samples are of one name and kind.
pub(super) fn write_family(
    out: &mut Vec<u8>,
    family: &[&Newest],
    added: &[Label],
    escaping: Escaping,
) {
    let Some(first) = family.first() else {
        return;
    };
    let kind = match Kind::of(&first.value) {
        Kind::Untyped => 3,
        Kind::Histogram => 4,
        Kind::GaugeHistogram => 5,
    };
    let mut message = Vec::new();
    push_bytes(&mut message, 1, escaping.escape(first.name()).as_bytes());
    push_number(&mut message, 3, kind);
    for sample in family {
        push_bytes(&mut message, 4, &metric(sample, added, escaping));
    }
    push_varint(out, message.len() as u64);
    out.append(&mut message);
}

fn metric(sample: &Newest, added: &[Label], escaping: Escaping) -> Vec<u8> {
    let mut message = Vec::new();
    for (name, value) in shown_labels(sample, added) {
        let mut pair = Vec::new();
        push_bytes(&mut pair, 1, escaping.escape(name).as_bytes());
        push_bytes(&mut pair, 2, value.as_bytes());
        push_bytes(&mut message, 1, &pair);
    }
    match &sample.value {
        SampleValue::Float(value) => {
            let mut untyped = Vec::new();
            push_double(&mut untyped, 1, *value);
            push_bytes(&mut message, 5, &untyped);
        }
        SampleValue::Histogram(histogram) => {
            let written = if histogram.uses_custom_bounds() {
                classic(histogram)
            } else {
                native(histogram)
            };
            push_bytes(&mut message, 7, &written);
        }
    }
    push_number(&mut message, 6, sample.timestamp_ms as u64);
    message
}

fn classic(histogram: &Histogram) -> Vec<u8> {
    let mut message = Vec::new();
    push_double(&mut message, 2, histogram.sum);
    for (bound, count) in classic_buckets(histogram) {
        let mut bucket = Vec::new();
        push_double(&mut bucket, 2, bound);
        push_double(&mut bucket, 4, count);
        push_bytes(&mut message, 3, &bucket);
    }
    push_double(&mut message, 4, histogram.count);
    message
}

fn native(histogram: &Histogram) -> Vec<u8> {
    let mut message = Vec::new();
    push_double(&mut message, 2, histogram.sum);
    push_double(&mut message, 4, histogram.count);
    push_number(&mut message, 5, zigzag(histogram.schema));
    push_double(&mut message, 6, histogram.zero_threshold);
    push_double(&mut message, 8, histogram.zero_count);
    push_side(
        &mut message,
        (9, &histogram.negative_spans),
        (11, &histogram.negative_buckets),
    );
    push_side(
        &mut message,
        (12, &histogram.positive_spans),
        (14, &histogram.positive_buckets),
    );
    message
}

fn push_side(out: &mut Vec<u8>, spans: (u64, &[Span]), counts: (u64, &[f64])) {
    for span in spans.1 {
        let mut message = Vec::new();
        push_number(&mut message, 1, zigzag(span.offset));
        push_number(&mut message, 2, u64::from(span.length));
        push_bytes(out, spans.0, &message);
    }
    for count in counts.1 {
        push_double(out, counts.0, *count);
    }
}

/// Small numbers of either sign as small numbers.
fn zigzag(number: i32) -> u64 {
    u64::from(((number << 1) ^ (number >> 31)) as u32)
}

fn push_number(out: &mut Vec<u8>, field: u64, number: u64) {
    push_varint(out, field << 3 | VARINT);
    push_varint(out, number);
}

fn push_double(out: &mut Vec<u8>, field: u64, value: f64) {
    push_varint(out, field << 3 | FIXED_64);
    out.extend_from_slice(&value.to_le_bytes());
}

fn push_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    push_varint(out, field << 3 | BYTES);
    push_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn push_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}
