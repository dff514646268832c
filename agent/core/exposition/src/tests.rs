//! Both formats against tables, against the bodies of other projects, and against chance.

use std::path::PathBuf;

use narthex_model::family::Metadata;
use narthex_model::{Labels, Metric, MetricFamily, MetricType, MetricValue};
use proptest::prelude::*;

use crate::{Entry, Format, ParseError, parse, write_openmetrics, write_text};

/// Every entry as one line of text, labels read.
fn entries(format: Format, body: &[u8]) -> Result<Vec<String>, ParseError> {
    let mut lines = Vec::new();
    for entry in parse(format, body) {
        lines.push(match entry? {
            Entry::Series(series) => {
                let mut line = format!("{} {}", series.to_labels()?, series.value);
                if let Some(timestamp_ms) = series.timestamp_ms {
                    line += &format!(" @{timestamp_ms}");
                }
                if let Some(exemplar) = &series.exemplar {
                    let labels: Vec<String> = exemplar
                        .labels
                        .iter()
                        .map(|(name, value)| format!("{name}={value}"))
                        .collect();
                    line += &format!(" # {} {}", labels.join(","), exemplar.value);
                    if let Some(timestamp_ms) = exemplar.timestamp_ms {
                        line += &format!(" @{timestamp_ms}");
                    }
                }
                line
            }
            Entry::Type { name, kind } => format!("type {name} {}", kind.as_str()),
            Entry::Help { name, text } => format!("help {name} {text:?}"),
            Entry::Unit { name, unit } => format!("unit {name} {unit}"),
            Entry::Eof => "eof".to_owned(),
        });
    }
    Ok(lines)
}

#[test]
fn text_that_is_taken() {
    for (body, expected) in [
        ("", &[] as &[&str]),
        ("\n\n  \n", &[]),
        (
            "# a comment\n#\n#HELP a b\n# HELP\n# TYPES a b\n# Hrandom\n",
            &[],
        ),
        ("a 1", &[r#"{__name__="a"} 1"#]),
        ("  a{}\t1 \n", &[r#"{__name__="a"} 1"#]),
        ("a 1 123123", &[r#"{__name__="a"} 1 @123123"#]),
        (
            "a 1  \t 5 \nb 2",
            &[r#"{__name__="a"} 1 @5"#, r#"{__name__="b"} 2"#],
        ),
        ("a{b=\"c\"}1", &[r#"{__name__="a", b="c"} 1"#]),
        (
            "a { b = \"c\" , d= \"e\", } 8.3835e-05",
            &[r#"{__name__="a", b="c", d="e"} 0.000083835"#],
        ),
        (
            "a { b = \"c\" d = \"e\" } 1",
            &[r#"{__name__="a", b="c", d="e"} 1"#],
        ),
        (
            r#"a{b="} \" \\ \n \z",c=""} 1"#,
            &[r#"{__name__="a", b="} \" \\ \n \\z"} 1"#],
        ),
        ("a{b=\"x\ny\"} 1", &[r#"{__name__="a", b="x\ny"} 1"#]),
        (":a:b_9 +Inf", &[r#"{__name__=":a:b_9"} inf"#]),
        (
            "a NaN\na -inf\na .5e1",
            &[
                r#"{__name__="a"} NaN"#,
                r#"{__name__="a"} -inf"#,
                r#"{__name__="a"} 5"#,
            ],
        ),
        (
            r#"{"a.b",c="d","e f"="g"} 1"#,
            &[r#"{__name__="a.b", c="d", "e f"="g"} 1"#],
        ),
        (r#"{c="d","a.b"} 1"#, &[r#"{__name__="a.b", c="d"} 1"#]),
        (r#"{"a.b"} 1"#, &[r#"{__name__="a.b"} 1"#]),
        ("a{b=\"x\0y\"} 1", &["{__name__=\"a\", b=\"x\\x00y\"} 1"]),
        (
            "# HELP a  b\\\\c\\nd\\\"e \n# HELP b\n# HELP c \n# HELP \"d.e\" f",
            &[
                r#"help a " b\\c\nd\\\"e ""#,
                r#"help b """#,
                r#"help c """#,
                r#"help d.e "f""#,
            ],
        ),
        (
            " #\tTYPE  a\thistogram\na_bucket{le=\"1\"} 1\na{quantile=\"1\"} 1",
            &[
                "type a histogram",
                r#"{__name__="a_bucket", le="1.0"} 1"#,
                r#"{__name__="a", quantile="1"} 1"#,
            ],
        ),
        (
            "# TYPE a summary\na{quantile=\"1e6\"} 1\na{quantile=\"x\"} 1\na{le=\"1\"} 1",
            &[
                "type a summary",
                r#"{__name__="a", quantile="1e+06"} 1"#,
                r#"{__name__="a", quantile="x"} 1"#,
                r#"{__name__="a", le="1"} 1"#,
            ],
        ),
    ] {
        let expected: Vec<String> = expected.iter().map(|&line| line.to_owned()).collect();
        assert_eq!(
            entries(Format::Text, body.as_bytes()),
            Ok(expected),
            "{body:?}"
        );
    }
}

#[test]
fn text_that_is_refused() {
    for (body, error) in [
        (
            &b"a"[..],
            "line 1: expected a number, found the end of the body",
        ),
        (
            b"b 1\na\n",
            "line 2: expected a number, found the end of the line",
        ),
        (b"a true", "line 1: expected a number, found \"true\""),
        (b"a 1_2", "line 1: expected a number, found \"1_2\""),
        (b"a 0x1p-3", "line 1: expected a number, found \"0x1p-3\""),
        (b"a 1e999", "line 1: expected a number, found \"1e999\""),
        (
            b"a 1 -1",
            "line 1: expected a timestamp in milliseconds or the end of the line, found \"-1\"",
        ),
        (
            b"a 1 1_2",
            "line 1: expected the end of the line, found \"_2\"",
        ),
        (
            b"a 1 99999999999999999999",
            "line 1: the timestamp is out of range, at \"99999999999999999999\"",
        ),
        (
            b"a 1 # {} 1",
            "line 1: expected a timestamp in milliseconds or the end of the line, found \"# {} 1\"",
        ),
        (b"0a 1", "line 1: expected a metric name, found \"0a 1\""),
        (
            b"a.b 1",
            "line 1: expected '{' or a blank after the metric name, found \".b 1\"",
        ),
        (
            b"<html>",
            "line 1: expected a metric name, found \"<html>\"",
        ),
        (
            b"\n\na{b='c'} 1",
            "line 3: expected a label value in double quotes, found \"'c'} 1\"",
        ),
        (
            b"a{b=\n",
            "line 1: expected '}' after the labels, found the end of the line",
        ),
        (
            b"a{b=\"c",
            "line 1: a quoted string has no end, at \"\\\"c\"",
        ),
        (
            b"a{b=\"c\"",
            "line 1: expected '}' after the labels, found the end of the body",
        ),
        (
            b"a{b} 1",
            "line 1: expected '=' after the label name, found \"} 1\"",
        ),
        (
            b"a{=\"\"} 0",
            "line 1: expected a label name, found \"=\\\"\\\"} 0\"",
        ),
        (b"a{,} 0", "line 1: expected a label name, found \",} 0\""),
        (
            b"a{\xff=\"b\"} 1",
            "line 1: expected a label name, found \"\u{fffd}=\\\"b\\\"} 1\"",
        ),
        (
            b"a{b=\"\xff\"} 1",
            "line 1: the label value is not valid UTF-8, at \"\\\"\u{fffd}\\\"} 1\"",
        ),
        (
            b"a{b=\"1\",b=\"2\"} 1",
            "line 1: the label stands twice in one series, at \"b=\\\"2\\\"} 1\"",
        ),
        (
            b"a{__name__=\"b\"} 1",
            "line 1: the label stands twice in one series, at \"__name__=\\\"b\\\"} 1\"",
        ),
        (
            b"a{\"b\"} 1",
            "line 1: the metric name stands twice in one series, at \"\\\"b\\\"} 1\"",
        ),
        (
            b"{a=\"b\"} 1",
            "line 1: the series has no metric name, at \"{a=\\\"b\\\"} 1\"",
        ),
        (b"{\"\"} 1", "line 1: a name is empty, at \"\\\"\\\"} 1\""),
        (
            b"a\0 1",
            "line 1: expected '{' or a blank after the metric name, found \"\\0 1\"",
        ),
        (b"a 1\r\n", "line 1: expected a number, found \"1\\r\""),
        (
            b"# HELP 0a b",
            "line 1: expected a metric name, found \"0a b\"",
        ),
        (
            b"# HELP a \xff",
            "line 1: the help text is not valid UTF-8, at \"\u{fffd}\"",
        ),
        (
            b"# TYPE a meh",
            "line 1: expected a metric type (counter, gauge, histogram, summary or untyped), found \"meh\"",
        ),
    ] {
        let result = entries(Format::Text, body).map_err(|e| e.to_string());
        assert_eq!(
            result,
            Err(error.to_owned()),
            "{:?}",
            String::from_utf8_lossy(body)
        );
    }
}

#[test]
fn openmetrics_that_is_taken() {
    for (body, expected) in [
        ("# EOF", &["eof"] as &[&str]),
        (
            "# TYPE a_s histogram\n# UNIT a_s s\n# HELP a_s x\\\"y\na_s_bucket{le=\"1\"} 1 1.5 # {b=\"c\",d=\"e\"} 0.5 -2.5\n# EOF\n",
            &[
                "type a_s histogram",
                "unit a_s s",
                r#"help a_s "x\"y""#,
                r#"{__name__="a_s_bucket", le="1.0"} 1 @1500 # b=c,d=e 0.5 @-2500"#,
                "eof",
            ],
        ),
        (
            "{\"a.b\",c=\"d\",} 1 # {} 2\n# EOF",
            &[r#"{__name__="a.b", c="d"} 1 #  2"#, "eof"],
        ),
        (
            "a 1 1e300\n# EOF",
            &[r#"{__name__="a"} 1 @9223372036854775807"#, "eof"],
        ),
    ] {
        let expected: Vec<String> = expected.iter().map(|&line| line.to_owned()).collect();
        assert_eq!(
            entries(Format::OpenMetrics, body.as_bytes()),
            Ok(expected),
            "{body:?}"
        );
    }
}

#[test]
fn openmetrics_that_is_refused() {
    for (body, error) in [
        ("", "line 1: the body does not end with # EOF"),
        ("a 1\n", "line 2: the body does not end with # EOF"),
        ("a 1", "line 1: the body does not end with # EOF"),
        ("# HELP a b", "line 1: the body does not end with # EOF"),
        ("# EOF\nx", "line 1: there is text after # EOF"),
        ("a 1\n\n# EOF", "line 2: OpenMetrics allows no empty lines"),
        (
            "# HELP a\n# EOF",
            "line 1: expected a space, found the end of the line",
        ),
        ("a  1\n# EOF", "line 1: expected a number, found \" 1\""),
        (
            "a{b=\"c\" d=\"e\"} 1\n# EOF",
            "line 1: expected ',' or '}' after a label, found \" d=\\\"e\\\"} 1\"",
        ),
        (
            "a{b=\"c\nd\"} 1\n# EOF",
            "line 1: a quoted string has no end, at \"\\\"c\"",
        ),
        (
            "a 1 x\n# EOF",
            "line 1: expected a timestamp in seconds, \" # {\" or the end of the line, found \"x\"",
        ),
        (
            "a 1 Inf\n# EOF",
            "line 1: the timestamp is not a finite number, at \"Inf\"",
        ),
        (
            "a 1 # {b} 1\n# EOF",
            "line 1: expected '=' after the label name, found \"} 1\"",
        ),
        (
            "a 1 # {\"b\"} 1\n# EOF",
            "line 1: a label has no value, at \"\\\"b\\\"} 1\"",
        ),
        (
            "# UNIT a s\n# EOF",
            "line 1: the unit is not the ending of the metric name, at \"s\"",
        ),
        (
            "# comment\n# EOF",
            "line 1: expected \"# HELP \", \"# TYPE \", \"# UNIT \" or \"# EOF\", found \"# comment\"",
        ),
    ] {
        let result = entries(Format::OpenMetrics, body.as_bytes()).map_err(|e| e.to_string());
        let error = error.to_owned();
        assert!(
            result.as_ref().is_err_and(|e| e.starts_with(&error)),
            "{body:?}: {result:?}, expected {error:?}"
        );
    }
}

#[test]
fn a_series_knows_its_bytes_and_its_line() {
    let body = b"# TYPE a gauge\na { b=\"c\" } 1\n";
    let Some(Ok(Entry::Series(series))) = parse(Format::Text, body).nth(1) else {
        panic!("the second entry is a series");
    };
    assert_eq!(series.raw(), b"a { b=\"c\" }");
    assert_eq!(series.line(), 2);
}

fn conformance_directory(part: &str) -> Option<PathBuf> {
    let Some(root) = std::env::var_os("CONFORMANCE_DIR") else {
        println!("skipped: CONFORMANCE_DIR is not set");
        return None;
    };
    Some(PathBuf::from(root).join(part))
}

#[test]
fn large_bodies_parse_whole() {
    let Some(directory) = conformance_directory("exposition") else {
        return;
    };
    for (file, format, series, metadata) in [
        ("1histogram.om.txt", Format::OpenMetrics, 42, 2),
        ("alltypes.5mfs.om.txt", Format::OpenMetrics, 53, 10),
        ("alltypes.237mfs.prom.txt", Format::Text, 1857, 474),
        ("alltypes.237mfs.nometa.prom.txt", Format::Text, 1857, 0),
    ] {
        let body = std::fs::read(directory.join(file)).unwrap();
        let lines = entries(format, &body).unwrap_or_else(|e| panic!("{file}: {e}"));
        let counted = lines.iter().filter(|line| line.starts_with('{')).count();
        let eof = usize::from(format == Format::OpenMetrics);
        assert_eq!(
            (counted, lines.len() - counted - eof),
            (series, metadata),
            "{file}"
        );
    }
}

/// Bodies that OpenMetrics forbids and that are taken all the same, each with the reason.
const LENIENT: &str = include_str!("openmetrics_lenient.txt");

#[test]
fn openmetrics_suite() {
    let Some(directory) = conformance_directory("openmetrics/tests/testdata/parsers") else {
        return;
    };
    let lenient: Vec<&str> = LENIENT
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let mut seen = 0;
    let mut wrong = Vec::new();
    for case in std::fs::read_dir(&directory).unwrap() {
        let case = case.unwrap();
        let name = case.file_name().into_string().unwrap();
        let body = std::fs::read(case.path().join("metrics")).unwrap();
        let taken = entries(Format::OpenMetrics, &body).is_ok();
        let expected = !name.starts_with("bad_") || lenient.contains(&name.as_str());
        seen += 1;
        if taken != expected {
            wrong.push(format!("{name} taken: {taken}"));
        }
    }
    wrong.sort();
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(seen, 211);
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-zA-Z_:][a-zA-Z0-9_:]{0,8}", "[a-z\"\\\\\n{}=, ü.]{1,6}"]
}

fn labels() -> impl Strategy<Value = Labels> {
    let label = (
        prop_oneof!["[a-z_]{1,5}", "[a-z\"\\\\\n .ü]{1,4}"],
        ".{0,6}",
    );
    prop::collection::vec(label, 0..4).prop_map(|pairs| {
        // What the family itself writes.
        let reserved = |name: &str| ["le", "quantile", "__name__"].contains(&name);
        Labels::from_pairs(pairs.into_iter().filter(|(name, _)| !reserved(name)))
    })
}

fn families() -> impl Strategy<Value = Vec<MetricFamily>> {
    let number = prop_oneof![any::<f64>(), Just(f64::INFINITY), Just(f64::NAN)];
    let pairs = prop::collection::vec((-1e9..1e9f64, any::<f64>()), 0..4);
    let value = prop_oneof![
        number.clone().prop_map(MetricValue::Float),
        (pairs.clone(), number.clone(), number.clone()).prop_map(|(buckets, sum, count)| {
            MetricValue::Histogram {
                buckets,
                sum,
                count,
            }
        }),
        (pairs, number.clone(), number).prop_map(|(quantiles, sum, count)| {
            MetricValue::Summary {
                quantiles,
                sum,
                count,
            }
        }),
    ];
    // Whole seconds: a fraction of one may come back a millisecond less from OpenMetrics.
    let timestamp = prop::option::of((0..4_000_000_000i64).prop_map(|s| s * 1000));
    let metric = (labels(), value, timestamp).prop_map(|(labels, value, timestamp_ms)| Metric {
        labels,
        value,
        timestamp_ms,
        start_timestamp_ms: None,
    });
    let family = (name(), ".{0,10}", metric).prop_map(|(name, help, metric)| {
        let kind = match metric.value {
            MetricValue::Float(_) => MetricType::Gauge,
            MetricValue::Histogram { .. } | MetricValue::NativeHistogram(_) => {
                MetricType::Histogram
            }
            MetricValue::Summary { .. } => MetricType::Summary,
        };
        MetricFamily {
            name,
            metadata: Metadata {
                kind,
                help,
                unit: String::new(),
            },
            metrics: vec![metric],
        }
    });
    prop::collection::vec(family, 0..4)
}

/// What reading the written families must give.
fn expected(families: &[MetricFamily]) -> Vec<String> {
    let mut lines = Vec::new();
    for family in families {
        lines.push(format!("help {} {:?}", family.name, family.metadata.help));
        lines.push(format!(
            "type {} {}",
            family.name,
            family.metadata.kind.as_str()
        ));
        crate::for_each_sample(family, |sample| {
            let mut labels = sample
                .labels
                .with("__name__", family.name.clone() + sample.suffix);
            if let Some((name, bound)) = sample.bound {
                labels = labels.with(name, crate::format_bound(bound));
            }
            let mut line = format!("{labels} {}", sample.value);
            if let Some(timestamp_ms) = sample.timestamp_ms {
                line += &format!(" @{timestamp_ms}");
            }
            lines.push(line);
        });
    }
    lines
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        for format in [Format::Text, Format::OpenMetrics] {
            let _ = entries(format, &body);
        }
    }

    #[test]
    fn no_likely_text_makes_it_panic(body in "[a1{}\"\\\\\n\t #,=.eHELPTYOFé-]{0,60}") {
        for format in [Format::Text, Format::OpenMetrics] {
            let _ = entries(format, body.as_bytes());
        }
    }

    #[test]
    fn what_is_written_is_read_again(families in families()) {
        let mut text = String::new();
        write_text(&families, &mut text);
        let read = entries(Format::Text, text.as_bytes());
        prop_assert_eq!(read, Ok(expected(&families)), "{}", text);

        let mut text = String::new();
        write_openmetrics(&families, &mut text);
        let mut read = entries(Format::OpenMetrics, text.as_bytes()).map_err(|e| {
            TestCaseError::fail(format!("{e}\n{text}"))
        })?;
        let last = read.pop();
        prop_assert_eq!(last.as_deref(), Some("eof"));
        let mut expected = expected(&families);
        // Help and type stand the other way round.
        read.sort();
        expected.sort();
        prop_assert_eq!(read, expected);
    }
}

#[test]
fn writes_what_prometheus_writes() {
    let family = |name: &str, kind, value| MetricFamily {
        name: name.to_owned(),
        metadata: Metadata {
            kind,
            help: "Help\n\\\"".to_owned(),
            unit: "seconds".to_owned(),
        },
        metrics: vec![Metric {
            labels: Labels::from_pairs([("a", "b\"c")]),
            value,
            timestamp_ms: Some(1500),
            start_timestamp_ms: None,
        }],
    };
    let families = [
        family(
            "x_seconds_total",
            MetricType::Counter,
            MetricValue::Float(1e6),
        ),
        family("a.b", MetricType::Unknown, MetricValue::Float(0.5)),
        family(
            "h",
            MetricType::Histogram,
            MetricValue::Histogram {
                buckets: vec![(1.0, 2.0)],
                sum: 3.0,
                count: 4.0,
            },
        ),
    ];
    let mut text = String::new();
    write_text(&families, &mut text);
    assert_eq!(
        text,
        r#"# HELP x_seconds_total Help\n\\"
# TYPE x_seconds_total counter
x_seconds_total{a="b\"c"} 1e+06 1500
# HELP "a.b" Help\n\\"
# TYPE "a.b" untyped
{"a.b",a="b\"c"} 0.5 1500
# HELP h Help\n\\"
# TYPE h histogram
h_bucket{a="b\"c",le="1"} 2 1500
h_bucket{a="b\"c",le="+Inf"} 4 1500
h_sum{a="b\"c"} 3 1500
h_count{a="b\"c"} 4 1500
"#
    );
    let mut text = String::new();
    write_openmetrics(&families, &mut text);
    assert_eq!(
        text,
        r#"# TYPE x_seconds counter
# UNIT x_seconds seconds
# HELP x_seconds Help\n\\\"
x_seconds_total{a="b\"c"} 1e+06 1.500
# TYPE "a.b" unknown
# HELP "a.b" Help\n\\\"
{"a.b",a="b\"c"} 0.5 1.500
# TYPE h histogram
# HELP h Help\n\\\"
h_bucket{a="b\"c",le="1.0"} 2 1.500
h_bucket{a="b\"c",le="+Inf"} 4 1.500
h_sum{a="b\"c"} 3 1.500
h_count{a="b\"c"} 4 1.500
# EOF
"#
    );
}
