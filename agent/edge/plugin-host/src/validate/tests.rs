//! Families as plugins give them, right and wrong.

use super::*;

fn gauge(name: &str, label_names: &[&str], metrics: &[&[&str]]) -> raw::Family {
    raw::Family {
        name: name.to_owned(),
        kind: raw::MetricType::Gauge,
        help: "Help.".to_owned(),
        unit: String::new(),
        label_names: label_names.iter().map(|&n| n.to_owned()).collect(),
        label_values: metrics.concat().iter().map(|&v| v.to_owned()).collect(),
        values: raw::Values::Numbers(vec![1.0; metrics.len()]),
        timestamps_ms: vec![],
        start_timestamps_ms: vec![],
    }
}

fn histogram(buckets: &[f64]) -> raw::Family {
    raw::Family {
        kind: raw::MetricType::Histogram,
        values: raw::Values::Histograms(vec![raw::Histogram {
            buckets: buckets.iter().map(|&bound| (bound, 1.0)).collect(),
            sum: 1.0,
            count: 1.0,
        }]),
        ..gauge("h", &[], &[])
    }
}

fn native(schema: i32) -> raw::Family {
    raw::Family {
        kind: raw::MetricType::Histogram,
        values: raw::Values::NativeHistograms(vec![raw::NativeHistogram {
            schema,
            count: 3.0,
            sum: narthex_model::STALE_NAN,
            zero_threshold: 0.001,
            zero_count: 0.0,
            positive_spans: vec![raw::Span {
                offset: 1,
                length: 2,
            }],
            positive_counts: vec![1.0, 2.0],
            negative_spans: vec![],
            negative_counts: vec![],
            custom_bounds: vec![],
        }]),
        ..gauge("n", &[], &[])
    }
}

#[test]
fn sorts_labels_and_drops_empty_ones() {
    let family = gauge("m", &["z", "a", "e"], &[&["1", "2", ""], &["3", "", "4"]]);
    let (families, series) = families(vec![family], &Limits::default()).unwrap();
    let labels: Vec<String> = families[0]
        .metrics
        .iter()
        .map(|metric| metric.labels.to_string())
        .collect();
    assert_eq!(labels, [r#"{a="2", z="1"}"#, r#"{e="4", z="3"}"#]);
    assert_eq!((families[0].name.as_str(), series), ("m", 2));
}

#[test]
fn names_what_is_wrong() {
    let limits = Limits {
        series: 4,
        labels: 2,
        label_name_bytes: 8,
        label_value_bytes: 8,
        ..Limits::default()
    };
    let cases = [
        (
            vec![gauge("1-a", &[], &[&[]])],
            "invalid metric name \"1-a\"",
        ),
        (vec![gauge("", &[], &[&[]])], "invalid metric name \"\""),
        (
            vec![gauge("m", &["a-b"], &[&["1"]])],
            "metric m: invalid label name \"a-b\"",
        ),
        (
            vec![gauge("m", &["__name__"], &[&["1"]])],
            "metric m: invalid label name \"__name__\"",
        ),
        (
            vec![gauge("m", &["a", "a"], &[&["1", "2"]])],
            "metric m: label a is named twice",
        ),
        (
            vec![gauge("m", &["a"], &[&["1", "2"]])],
            "metric m: 2 label values for 1 metrics of 1 label names",
        ),
        (
            vec![raw::Family {
                timestamps_ms: vec![1, 2],
                ..gauge("m", &["a"], &[&["1"]])
            }],
            "metric m: 2 timestamps-ms for 1 metrics",
        ),
        (
            vec![raw::Family {
                start_timestamps_ms: vec![1],
                ..gauge("m", &["a"], &[&["1"], &["2"]])
            }],
            "metric m: 1 start-timestamps-ms for 2 metrics",
        ),
        (
            vec![gauge("m", &["a"], &[&["1"], &["1"]])],
            "metric m is given twice with the labels {a=\"1\"}",
        ),
        (
            vec![gauge("m", &["a", "b"], &[&["1", ""], &["1", ""]])],
            "metric m is given twice with the labels {a=\"1\"}",
        ),
        (
            vec![gauge("m", &[], &[&[]]), gauge("m", &[], &[&[]])],
            "the family m is given twice",
        ),
        (
            vec![gauge(
                "m",
                &["a"],
                &[&["1"], &["2"], &["3"], &["4"], &["5"]],
            )],
            "5 series, and the limit plugins.limits.series is 4",
        ),
        (
            vec![histogram(&[1.0, 2.0])],
            "5 series, and the limit plugins.limits.series is 4",
        ),
        (
            vec![gauge("m", &["a", "b", "c"], &[])],
            "3 labels, and the limit plugins.limits.labels is 2 (metric m)",
        ),
        (
            vec![gauge("m_and_more", &[], &[])],
            "10 label_name_bytes, and the limit plugins.limits.label_name_bytes is 8",
        ),
        (
            vec![gauge("m", &["a"], &[&["123456789"]])],
            "9 label_value_bytes, and the limit plugins.limits.label_value_bytes is 8 (metric \
             m, label a)",
        ),
    ];
    for (given, expected) in cases {
        let error = families(given, &limits).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn histograms_must_ascend_and_values_fit_their_type() {
    let limits = Limits::default();
    let check = |family| families(vec![family], &limits).map(|(_, series)| series);
    assert_eq!(check(histogram(&[0.5, 1.0])), Ok(5));
    for buckets in [&[1.0, 0.5][..], &[1.0, 1.0], &[f64::NAN], &[f64::INFINITY]] {
        assert!(check(histogram(buckets)).is_err(), "{buckets:?}");
    }
    let mut gauge_of_buckets = histogram(&[1.0]);
    gauge_of_buckets.kind = raw::MetricType::Gauge;
    assert!(check(gauge_of_buckets).is_err());
    let mut with_le = histogram(&[1.0]);
    with_le.label_names = vec!["le".to_owned()];
    with_le.label_values = vec!["1".to_owned()];
    assert!(check(with_le).is_err());
}

#[test]
fn native_histograms_and_times_come_through() {
    let mut given = native(3);
    given.timestamps_ms = vec![NO_TIME];
    given.start_timestamps_ms = vec![7];
    let (out, series) = families(vec![given], &Limits::default()).unwrap();
    let metric = &out[0].metrics[0];
    assert_eq!(
        (metric.timestamp_ms, metric.start_timestamp_ms),
        (None, Some(7))
    );
    // Two buckets and their span count, too.
    assert_eq!(series, 4);
    let MetricValue::NativeHistogram(histogram) = &metric.value else {
        panic!("{metric:?}");
    };
    assert_eq!((histogram.schema, histogram.count), (3, 3.0));
    assert!(histogram.sum.is_nan() && !is_stale_nan(histogram.sum));
    let error = families(vec![native(9)], &Limits::default()).unwrap_err();
    let error = error.to_string();
    assert_eq!(
        error,
        "metric n: invalid native histogram: the schema is not known"
    );
}
