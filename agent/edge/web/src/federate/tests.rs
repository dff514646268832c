//! Over a small store, as text and as protobuf.

use std::sync::Arc;

use narthex_model::histogram::{CUSTOM_BOUNDS_SCHEMA, CounterReset, Span};
use narthex_model::sample::STALE_NAN;
use narthex_promql::syntax;
use narthex_storage::Appendable;
use narthex_storage::memory::MemoryStore;

use super::names::Escaping;
use super::*;

fn spans(length: u32) -> Vec<Span> {
    vec![Span { offset: 0, length }]
}

fn exponential() -> Histogram {
    Histogram {
        schema: -1,
        zero_threshold: 0.5,
        count: 3.0,
        sum: 4.0,
        positive_spans: spans(2),
        positive_buckets: vec![1.0, 2.0],
        ..Histogram::default()
    }
}

fn custom() -> Histogram {
    Histogram {
        schema: CUSTOM_BOUNDS_SCHEMA,
        count: 6.0,
        sum: 2.5,
        positive_spans: spans(4),
        positive_buckets: vec![1.0, 0.0, 2.0, 3.0],
        custom_values: vec![0.1, 1.0, 2.0],
        ..Histogram::default()
    }
}

fn store() -> MemoryStore {
    let store = MemoryStore::default();
    let mut appender = store.appender();
    let mut float = |pairs: &[(&str, &str)], ms: i64, value: f64| {
        let labels = Labels::from_pairs(pairs.iter().copied());
        appender.append(&labels, ms, value).unwrap();
    };
    float(&[("__name__", "b"), ("instance", "i")], 1000, 1.0);
    float(&[("__name__", "b"), ("instance", "i")], 2000, 2e6);
    float(
        &[("__name__", "a"), ("zone", "own"), ("x", "q\"\n")],
        1500,
        0.5,
    );
    float(&[("__name__", "too_old")], 999, 1.0);
    float(&[("__name__", "ended")], 1000, 1.0);
    float(&[("__name__", "ended")], 2000, STALE_NAN);
    float(&[("job", "nameless")], 2000, 1.0);
    float(&[("__name__", "µ.s")], 2000, f64::NAN);
    let mut histogram = |name: &str, histogram: Histogram| {
        let labels = Labels::from_pairs([("__name__", name)]);
        appender
            .append_histogram(&labels, 2000, Arc::new(histogram))
            .unwrap();
    };
    histogram("c", custom());
    histogram("n", exponential());
    histogram(
        "g",
        Histogram {
            counter_reset: CounterReset::Gauge,
            ..exponential()
        },
    );
    appender.commit().unwrap();
    store
}

fn federated(selectors: &[&str], encoding: Encoding, escaping: Escaping) -> Vec<u8> {
    let sets: Vec<Vec<Matcher>> = selectors
        .iter()
        .map(|text| syntax::parse_selector(text).unwrap())
        .collect();
    let cancel = CancelToken::default();
    let newest = newest_samples(&store(), &sets, 1000, 2000, &cancel).unwrap();
    let external = Labels::from_pairs([("zone", "external"), ("region", "eu")]);
    let mut out = Out::collecting();
    let accepted = Accepted { encoding, escaping };
    write(&mut out, &newest, &added_labels(&external), accepted).unwrap();
    out.buffer
}

#[test]
fn newest_samples_as_text() {
    let all = r#"{__name__=~".+"}"#;
    for (selectors, escaping, expected) in [
        (&[][..], Escaping::Utf8, ""),
        (&["none"], Escaping::Utf8, ""),
        (
            &["b", "a", r#"{instance="i"}"#],
            Escaping::Utf8,
            "# TYPE a untyped\n\
             a{x=\"q\\\"\\n\",zone=\"own\",instance=\"\",region=\"eu\"} 0.5 1500\n\
             # TYPE b untyped\n\
             b{instance=\"i\",region=\"eu\",zone=\"external\"} 2e+06 2000\n",
        ),
        (
            &["c", "n", "g"],
            Escaping::Utf8,
            "# TYPE c histogram\n\
             c_bucket{instance=\"\",region=\"eu\",zone=\"external\",le=\"0.1\"} 1 2000\n\
             c_bucket{instance=\"\",region=\"eu\",zone=\"external\",le=\"1\"} 1 2000\n\
             c_bucket{instance=\"\",region=\"eu\",zone=\"external\",le=\"2\"} 3 2000\n\
             c_bucket{instance=\"\",region=\"eu\",zone=\"external\",le=\"+Inf\"} 6 2000\n\
             c_sum{instance=\"\",region=\"eu\",zone=\"external\"} 2.5 2000\n\
             c_count{instance=\"\",region=\"eu\",zone=\"external\"} 6 2000\n",
        ),
        (
            &[r#"{"µ.s"}"#, "ended", "too_old", r#"{job="nameless"}"#],
            Escaping::Utf8,
            "# TYPE \"µ.s\" untyped\n\
             {\"µ.s\",instance=\"\",region=\"eu\",zone=\"external\"} NaN 2000\n",
        ),
        (
            &[r#"{"µ.s"}"#],
            Escaping::Underscores,
            "# TYPE __s untyped\n\
             __s{instance=\"\",region=\"eu\",zone=\"external\"} NaN 2000\n",
        ),
    ] {
        let written = federated(selectors, Encoding::Text, escaping);
        assert_eq!(String::from_utf8(written).unwrap(), expected);
    }
    let text = String::from_utf8(federated(&[all], Encoding::Text, Escaping::Utf8)).unwrap();
    let families = text.lines().filter(|line| line.starts_with("# TYPE"));
    assert_eq!(families.count(), 4, "{text}");
}

/// A message as field numbers with their contents.
fn fields(mut message: &[u8]) -> Vec<(u64, Field<'_>)> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message);
        let field = match key & 7 {
            0 => Field::Number(varint(&mut message)),
            1 => {
                let (bytes, rest) = message.split_first_chunk().unwrap();
                message = rest;
                Field::Double(f64::from_le_bytes(*bytes))
            }
            2 => {
                let length = varint(&mut message) as usize;
                let (bytes, rest) = message.split_at(length);
                message = rest;
                Field::Bytes(bytes)
            }
            other => panic!("wire type {other}"),
        };
        fields.push((key >> 3, field));
    }
    fields
}

fn varint(message: &mut &[u8]) -> u64 {
    let (mut number, mut shift) = (0, 0);
    loop {
        let (byte, rest) = message.split_first().unwrap();
        *message = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return number;
        }
        shift += 7;
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Field<'a> {
    Number(u64),
    Double(f64),
    Bytes(&'a [u8]),
}

fn bytes<'a>(fields: &[(u64, Field<'a>)], number: u64) -> Vec<&'a [u8]> {
    let of_number = fields.iter().filter(|field| field.0 == number);
    let as_bytes = |field: &(u64, Field<'a>)| match field.1 {
        Field::Bytes(bytes) => bytes,
        other => panic!("{other:?}"),
    };
    of_number.map(as_bytes).collect()
}

#[test]
fn newest_samples_as_protobuf() {
    let written = federated(&["a", "c", "n", "g"], Encoding::Protobuf, Escaping::Utf8);
    let mut rest = &written[..];
    let mut families = Vec::new();
    while !rest.is_empty() {
        let length = varint(&mut rest) as usize;
        let (message, after) = rest.split_at(length);
        rest = after;
        let family = fields(message);
        let name = std::str::from_utf8(bytes(&family, 1)[0]).unwrap();
        let kind = family.iter().find(|field| field.0 == 3).unwrap().1;
        let metric = fields(bytes(&family, 4)[0]);
        families.push((name, kind, metric));
    }
    let kinds: Vec<(&str, Field<'_>)> = families.iter().map(|f| (f.0, f.1)).collect();
    assert_eq!(
        kinds,
        [
            ("a", Field::Number(3)),
            ("c", Field::Number(4)),
            ("g", Field::Number(5)),
            ("n", Field::Number(4)),
        ]
    );
    let untyped = &families[0].2;
    assert_eq!(bytes(untyped, 1).len(), 4);
    assert!(untyped.contains(&(6, Field::Number(1500))));
    assert_eq!(fields(bytes(untyped, 5)[0]), [(1, Field::Double(0.5))]);
    let classic = fields(bytes(&families[1].2, 7)[0]);
    assert_eq!(
        fields(bytes(&classic, 3)[2]),
        [(2, Field::Double(2.0)), (4, Field::Double(3.0))]
    );
    let native = fields(bytes(&families[3].2, 7)[0]);
    for field in [
        (2, Field::Double(4.0)),
        (4, Field::Double(3.0)),
        (5, Field::Number(1)),
        (6, Field::Double(0.5)),
        (8, Field::Double(0.0)),
        (14, Field::Double(2.0)),
    ] {
        assert!(native.contains(&field), "{field:?} in {native:?}");
    }
    assert_eq!(
        fields(bytes(&native, 12)[0]),
        [(1, Field::Number(0)), (2, Field::Number(2))]
    );
}
