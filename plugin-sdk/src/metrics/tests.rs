//! What the builders make, and what they refuse.

use super::*;
use crate::testing;

#[test]
fn builds_and_continues_families() {
    let mut metrics = Metrics::new();
    metrics.gauge("a", "A.").set(1.0);
    metrics.gauge("empty", "Nothing.").labels(["x"]);
    for device in ["sda", "sdb"] {
        metrics
            .counter("b_total", "B.")
            .labels(["device", "mode"])
            .add([device, "r"], 2.5)
            .add([device, ""], 3.0);
    }
    metrics.histogram("h", "H.").set(Histogram {
        buckets: vec![(0.1, 2.0), (1.0, 3.0)],
        sum: 1.5,
        count: 4.0,
    });
    let families = metrics.finish().unwrap();
    assert_eq!(
        testing::lines(&families),
        [
            "a 1",
            "b_total{device=\"sda\",mode=\"r\"} 2.5",
            "b_total{device=\"sda\"} 3",
            "b_total{device=\"sdb\",mode=\"r\"} 2.5",
            "b_total{device=\"sdb\"} 3",
            "h_bucket{le=\"0.1\"} 2",
            "h_bucket{le=\"1\"} 3",
            "h_bucket{le=\"+Inf\"} 4",
            "h_sum 1.5",
            "h_count 4",
        ]
    );
}

#[test]
fn faults_are_named() {
    type Build = fn(&mut Metrics);
    let cases: [(Build, &str); 19] = [
        (
            |m| m.gauge("a-b", "").set(1.0),
            "invalid metric name \"a-b\"",
        ),
        (|m| m.gauge("", "").set(1.0), "invalid metric name \"\""),
        (
            |m| {
                m.gauge("a", "").labels(["x y"]).add(["1"], 1.0);
            },
            "metric a: invalid label name \"x y\"",
        ),
        (
            |m| {
                m.gauge("a", "").labels(["x", "x"]).add(["1", "2"], 1.0);
            },
            "metric a: label \"x\" is named twice",
        ),
        (
            |m| {
                m.gauge("a", "").labels(["__name__"]).add(["1"], 1.0);
            },
            "metric a: invalid label name \"__name__\"",
        ),
        (
            |m| {
                m.gauge("a", "").set(1.0);
                m.counter("a", "").set(1.0);
            },
            "metric a is given with two types",
        ),
        (
            |m| {
                m.gauge("a", "")
                    .labels(["x"])
                    .add(["1"], 1.0)
                    .add(["1"], 2.0);
            },
            "metric a is given twice with the labels {x=\"1\"}",
        ),
        (
            |m| m.family("a", "", MetricType::Histogram).set(1.0),
            "metric a has a value that is not of its type",
        ),
        (
            |m| {
                m.gauge("a", "").set(1.0);
                m.gauge("a", "").set(2.0);
            },
            "metric a is given twice",
        ),
        (
            |m| {
                m.gauge("a", "").labels(["x"]).add(["1"], 1.0);
                m.gauge("a", "").add([], 1.0);
            },
            "metric a is given with the labels [\"x\"] and with others",
        ),
        (
            |m| {
                let family = m.gauge("a", "").labels(["x"]);
                family.add(["1"], 1.0).add_at(["2"], 1.0, 7);
            },
            "metric a is given with times and without",
        ),
        (
            |m| {
                let family = m.gauge("a", "").labels(["x"]);
                family.add_since(["1"], 1.0, 7).add(["2"], 1.0);
            },
            "metric a is given with start times and without",
        ),
        (
            |m| m.gauge("a_meters", "").unit("seconds").set(1.0),
            "metric a_meters is given with the unit \"seconds\", in which its name does not end",
        ),
        (
            |m| {
                m.histogram("a", "").set(Histogram::new(&[2.0, 1.0]));
            },
            "metric a has a histogram whose bounds don't ascend",
        ),
        (
            |m| {
                m.histogram("a", "").set(Histogram {
                    buckets: vec![(1.0, 2.0)],
                    sum: 0.0,
                    count: 1.0,
                });
            },
            "metric a has a histogram whose counts are not cumulative",
        ),
        (
            |m| {
                let mut histogram = NativeRecorder::new(3).histogram();
                histogram.positive_counts.push(1.0);
                m.native_histogram("a", "").set(histogram);
            },
            "metric a has a native histogram whose spans don't fit its counts",
        ),
        (
            |m| {
                let family = m.family("a", "", MetricType::Histogram).labels(["x"]);
                let native = NativeRecorder::new(3).histogram();
                family.add(["1"], Histogram::new(&[])).add(["2"], native);
            },
            "metric a has a value that is not of its type",
        ),
        (
            |m| {
                m.summary("a", "").set(Summary {
                    quantiles: vec![(1.5, 2.0)],
                    sum: 0.0,
                    count: 1.0,
                });
            },
            "metric a has a quantile that is not from 0 to 1",
        ),
        (
            |m| m.state_set("a", "", &["on", "off"]).set("broken"),
            "metric a has no state \"broken\"",
        ),
    ];
    for (build, expected) in cases {
        let mut metrics = Metrics::new();
        build(&mut metrics);
        assert_eq!(metrics.finish().unwrap_err().to_string(), expected);
    }
    let mut metrics = Metrics::new();
    metrics.gauge("a", "").labels(["x"]).add(["1"], 1.0);
    metrics.gauge("a", "").labels(["y"]).add(["1"], 1.0);
    assert!(metrics.finish().is_err());
}

const WATER: Metric<f64, 1> =
    Metric::gauge("pool_water_celsius", "Temperature.", ["pool"]).in_unit("celsius");
const VISITS: Metric<f64, 0> = Metric::counter("pool_visits_total", "Visits.", []);
const BUILD: Metric<Info, 1> = Metric::info("pool_build_info", "What it is.", ["version"]);

#[test]
fn columns_hold_all_that_is_given() {
    let mut metrics = Metrics::new();
    metrics
        .of(&WATER)
        .add_at(["big"], 21.5, 1000)
        .add_at(["small"], 30.0, 2000);
    metrics.of(&VISITS).add_since([], 7.0, 500);
    metrics.of(&BUILD).mark(["1.2"]);
    metrics
        .state_set("pool_valve", "Valves.", &["open", "shut"])
        .labels(["valve"])
        .add(["in"], "open")
        .add(["out"], "shut");
    metrics
        .state_set("pool_pump", "The pump.", &["on", "off"])
        .set("off");
    let mut recorder = NativeRecorder::new(0);
    recorder.observe(1.0);
    recorder.observe(3.0);
    metrics
        .native_histogram("pool_visit_seconds", "How long.")
        .unit("seconds")
        .set(recorder.histogram());
    let mut depth = Histogram::new(&[1.0, 2.0]);
    depth.observe(1.0);
    depth.observe(9.0);
    metrics.histogram("pool_depth_meters", "").set(depth);
    let families = metrics.finish().unwrap();
    assert_eq!(
        testing::lines(&families),
        [
            "pool_water_celsius{pool=\"big\"} 21.5",
            "pool_water_celsius{pool=\"small\"} 30",
            "pool_visits_total 7",
            "pool_build_info{version=\"1.2\"} 1",
            "pool_valve{valve=\"in\",pool_valve=\"open\"} 1",
            "pool_valve{valve=\"in\",pool_valve=\"shut\"} 0",
            "pool_valve{valve=\"out\",pool_valve=\"open\"} 0",
            "pool_valve{valve=\"out\",pool_valve=\"shut\"} 1",
            "pool_pump{pool_pump=\"on\"} 0",
            "pool_pump{pool_pump=\"off\"} 1",
            "pool_visit_seconds_sum 4",
            "pool_visit_seconds_count 2",
            "pool_depth_meters_bucket{le=\"1\"} 1",
            "pool_depth_meters_bucket{le=\"2\"} 1",
            "pool_depth_meters_bucket{le=\"+Inf\"} 2",
            "pool_depth_meters_sum 10",
            "pool_depth_meters_count 2",
        ]
    );
    assert_eq!(families[0].timestamps_ms, [1000, 2000]);
    assert_eq!(families[0].unit, "celsius");
    assert_eq!(families[0].label_values, ["big", "small"]);
    assert_eq!(families[1].start_timestamps_ms, [500]);
    assert_eq!(families[1].timestamps_ms, [0i64; 0]);
    let visits = families[1].metrics().next().unwrap();
    assert_eq!(visits.times.start_timestamp_ms, Some(500));
    assert!(matches!(families[5].values, Values::NativeHistograms(_)));
}

#[test]
fn labels_may_be_known_late() {
    let mut family = Family::new("a", "A.", MetricType::Gauge, vec!["x".to_owned()]);
    let label = |value: &str| vec![value.to_owned()];
    family.push(label("1"), 2.0, Times::default()).unwrap();
    for (labels, value, expected) in [
        (
            label("2"),
            Value::Histogram(Histogram::new(&[])),
            "metric a has a value",
        ),
        (
            vec![],
            Value::Number(1.0),
            "metric a is given with the labels",
        ),
    ] {
        let error = family.clone().push(labels, value, Times::default());
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    let mut metrics = Metrics::new();
    metrics.extend(vec![family]);
    let families = metrics.finish().unwrap();
    assert_eq!(testing::lines(&families), ["a{x=\"1\"} 2"]);
    for (name, label) in [("a-b", "x"), ("a", "x y"), ("a", "__x")] {
        let mut metrics = Metrics::new();
        let labels = vec![label.to_owned()];
        metrics.extend(vec![Family::new(name, "", MetricType::Gauge, labels)]);
        assert!(metrics.finish().is_err(), "{name} {label}");
    }
}
