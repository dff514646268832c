//! Tables: what Go's own text/template gives for each template on the data of [`data`].

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::functions::{text, value};
use crate::literal::unquote;

/// Each record is a template after `T`, and what Go 1.26 gives: a text after `=`, an error
/// after `!`, all quoted as Go quotes them.
const GO_SEMANTICS: &str = include_str!("testdata/go_semantics.txt");

/// Templates whose result differs from Go's on purpose.
const DIFFERENT: &str = include_str!("testdata/go_semantics_different.txt");

fn data() -> Value {
    let any: BTreeMap<Arc<str>, Value> = [
        ("s", "x".into()),
        ("n", Value::Int(1)),
        ("f", Value::Float(2.5)),
        ("l", Value::string_list(["p", "q"])),
        ("nil", Value::Nil),
    ]
    .into_iter()
    .map(|(key, value)| (Arc::from(key), value))
    .collect();
    let labels = [("job", "node"), ("instance", "h:9100")];
    let maps = vec![
        Value::string_map([("a", "1")]),
        Value::string_map([("a", "2"), ("b", "3")]),
    ];
    let fields = vec![
        ("Labels", Value::string_map(labels)),
        ("Value", 3.25.into()),
        ("Big", 1_234_567.0.into()),
        ("Small", 0.00001.into()),
        ("NaN", f64::NAN.into()),
        ("Inf", f64::INFINITY.into()),
        ("NegInf", f64::NEG_INFINITY.into()),
        ("Int", Value::Int(42)),
        ("Zero", Value::Int(0)),
        ("Bool", true.into()),
        ("List", Value::string_list(["a", "b", "c"])),
        ("EmptyList", Value::string_list::<&str>([])),
        ("Nil", Value::Nil),
        ("Any", Value::map(any)),
        ("Maps", Value::typed_list("[]map[string]string", maps, None)),
        (
            "Time",
            Value::Time(Time::from_unix_ns(1_710_489_600_123_456_789).unwrap()),
        ),
        ("Dur", Value::DurationNs((90 * 60_000 + 1500) * 1_000_000)),
    ];
    Value::structure("main.data", fields, None)
}

fn functions() -> Functions<'static> {
    let mut functions = Functions::default();
    functions.add("strf", &[Param::String], |args| {
        Ok(format!("<{}>", text(args, 0)).into())
    });
    functions.add("intf", &[Param::Int], |args| Ok(value(args, 0).clone()));
    functions.add("floatf", &[Param::Float], |args| Ok(value(args, 0).clone()));
    functions.add("boolf", &[Param::Bool], |args| Ok(value(args, 0).clone()));
    functions.add("anyf", &[Param::Any], |args| Ok(value(args, 0).clone()));
    functions.add("failf", &[Param::String], |args| {
        Err(text(args, 0).to_owned())
    });
    functions.add_variadic("varf", &[], Param::String, |args| {
        let texts: Vec<&str> = args.iter().filter_map(Value::as_str).collect();
        Ok(texts.join("+").into())
    });
    functions
}

fn expand(source: &str, data: &Value, functions: &Functions<'_>) -> Result<String, String> {
    let mut set = TemplateSet::default();
    set.parse("t", source, &|name| functions.get(name).is_some())
        .map_err(|e| e.to_string())?;
    set.execute("t", data, functions).map_err(|e| e.to_string())
}

/// The records of a table: template and expected outcome.
fn records(table: &str) -> Vec<(String, Result<String, String>)> {
    let mut records = Vec::new();
    let mut template = String::new();
    for line in table.lines() {
        let (sign, quoted) = line.split_at(2);
        let text = unquote(quoted).unwrap_or_else(|| panic!("not quoted: {line}"));
        match sign {
            "T " => template = text,
            "= " => records.push((template.clone(), Ok(text))),
            "! " => records.push((template.clone(), Err(text))),
            _ => panic!("unknown record: {line}"),
        }
    }
    records
}

#[test]
fn means_what_go_means() {
    let (data, functions) = (data(), functions());
    let different: BTreeMap<_, _> = records(DIFFERENT).into_iter().collect();
    let mut wrong = Vec::new();
    for (template, go) in records(GO_SEMANTICS) {
        let ours = expand(&template, &data, &functions);
        let expected = different.get(&template).unwrap_or(&go);
        if ours != *expected {
            wrong.push(format!(
                "{template:?}\n  want {expected:?}\n  got  {ours:?}"
            ));
        }
        if expected == &go && different.contains_key(&template) {
            wrong.push(format!("{template:?} is listed as different, but is not"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

struct FakeQuery;

impl prometheus_functions::TemplateQuery for FakeQuery {
    fn query(&self, expr: &str) -> Result<Vec<prometheus_functions::QuerySample>, String> {
        let sample =
            |pairs: &[(&'static str, &'static str)], value| prometheus_functions::QuerySample {
                labels: narthex_model::Labels::from_pairs(pairs.iter().copied()),
                value,
            };
        match expr {
            "metric" => Ok(vec![
                sample(&[("__name__", "metric"), ("instance", "b")], 21.0),
                sample(&[("__name__", "metric"), ("instance", "a")], 11.0),
            ]),
            "empty" => Ok(Vec::new()),
            "text" => Ok(vec![sample(&[("__value__", "a")], 1.0)]),
            other => Err(format!("unknown expression {other}")),
        }
    }
}

/// Expands as alert annotations are expanded.
fn expand_alert(source: &str, value: f64) -> Result<String, String> {
    use prometheus_functions::{DEFINITIONS, Surroundings, alert_data, functions};
    let labels = narthex_model::Labels::from_pairs([("instance", "h:9100"), ("job", "node")]);
    let external = narthex_model::Labels::from_pairs([("cluster", "c1")]);
    let url = "http://testhost:9090/path/prefix";
    let surroundings = Surroundings {
        now_ms: 1_710_489_600_500,
        external_url: url,
        query: &FakeQuery,
    };
    let data = alert_data(&labels, &external, url, value.into());
    let functions = functions(surroundings);
    expand(&format!("{DEFINITIONS}{source}"), &data, &functions)
}

#[test]
fn alert_templates_have_prometheus_functions() {
    for (template, expected) in [
        (
            "{{ $labels.instance }} {{ .Labels.job }} {{ $labels.none }}|",
            "h:9100 node |",
        ),
        ("{{ $value }} {{ .Value }}", "3.25 3.25"),
        (
            "{{ $externalLabels.cluster }} {{ $externalURL }}",
            "c1 http://testhost:9090/path/prefix",
        ),
        (
            "{{ externalURL }} {{ pathPrefix }}",
            "http://testhost:9090/path/prefix /path/prefix",
        ),
        ("{{ query \"metric\" | first | value }}", "21"),
        ("{{ query \"metric\" | first | label \"instance\" }}", "b"),
        ("{{ (query \"metric\" | first).Value }}", "21"),
        ("{{ (query \"metric\" | first).Labels.instance }}", "b"),
        ("{{ query \"text\" | first | strvalue }}", "a"),
        (
            "{{ range query \"metric\" | sortByLabel \"instance\" }}{{.Labels.instance}}:{{.Value}}: {{end}}",
            "a:11: b:21: ",
        ),
        ("{{ range query \"empty\" }}x{{else}}none{{end}}", "none"),
        (
            "{{ with query \"metric\" }}{{ . | first | value }}{{ end }}",
            "21",
        ),
        (
            "{{ range $i, $s := query \"metric\" }}{{ $i }}={{ $s.Value }},{{ end }}",
            "0=21,1=11,",
        ),
        (
            "{{ define \"x\" }}{{ .arg0 }}-{{ .arg1 }}{{ end }}{{ template \"x\" (args 1 \"b\") }}",
            "1-b",
        ),
        ("{{ reReplaceAll \"(a)b\" \"x$1\" \"abab\" }}", "xaxa"),
        (
            "{{ match \"a+\" \"aa\" }} {{ match \"a+\" \"b\" }}",
            "true false",
        ),
        (
            "{{ \"foo bar_baz a.b\" | title }} {{ \"fOo\" | toUpper }} {{ \"FOo\" | toLower }}",
            "Foo Bar_baz A.B FOO foo",
        ),
        (
            "{{ graphLink \"a b\" }} {{ tableLink \"up{}\" }}",
            "/graph?g0.expr=a+b&g0.tab=0 /graph?g0.expr=up%7B%7D&g0.tab=1",
        ),
        (
            "{{ \"h:80\" | stripPort }} {{ \"h\" | stripPort }} {{ \"[::1]:80\" | stripPort }} {{ \"::1\" | stripPort }}",
            "h h ::1 ::1",
        ),
        (
            "{{ \"a.b.c\" | stripDomain }} {{ \"a.b.c:80\" | stripDomain }} {{ \"1.2.3.4:80\" | stripDomain }} {{ \"[::1]:80\" | stripDomain }}",
            "a a:80 1.2.3.4:80 [::1]:80",
        ),
        ("{{ now }}", "1.7104896005e+09"),
        (
            "{{ 1435065584.128 | toTime }} {{ (1435065584.128 | toTime).Year }}",
            "2015-06-23 13:19:44.128 +0000 UTC 2015",
        ),
        (
            "{{ toDuration 1800.5 }} {{ (toDuration 90).Minutes }}",
            "30m0.5s 1.5",
        ),
        (
            "{{ parseDuration \"1h2m10ms\" }} {{ parseDuration \"-5m\" }}",
            "3720.01 -300",
        ),
        (
            "{{ humanizeTimestamp 1435065584.128 }} {{ humanizeTimestamp \"-inf\" }}",
            "2015-06-23 13:19:44.128 +0000 UTC -Inf",
        ),
        (
            "{{ $value | humanize }} {{ $value | humanizePercentage }} {{ printf \"%.1f\" $value }}",
            "3.25 325% 3.2",
        ),
        (
            "{{ urlQueryEscape \"a b&c\" }} {{ safeHtml \"<b>\" }}",
            "a+b%26c <b>",
        ),
    ] {
        let expanded = expand_alert(template, 3.25);
        assert_eq!(expanded.as_deref(), Ok(expected), "{template}");
    }
}

#[test]
fn alert_templates_say_what_is_wrong() {
    let column = prometheus_functions::DEFINITIONS.len();
    for (template, expected) in [
        (
            "{{ query \"x\" }}",
            format!(
                "template: t:1:{}: executing \"t\" at <query \"x\">: error calling query: unknown expression x",
                column + 3
            ),
        ),
        (
            "{{ query \"empty\" | first }}",
            format!(
                "template: t:1:{}: executing \"t\" at <first>: error calling first: first() called on vector with no elements",
                column + 19
            ),
        ),
        (
            "{{ .Labels.a.b }}",
            format!(
                "template: t:1:{}: executing \"t\" at <.Labels.a.b>: can't evaluate field b in type string",
                column + 10
            ),
        ),
        (
            "{{ $labels.instance | first }}",
            format!(
                "template: t:1:{}: executing \"t\" at <first>: wrong type for value; expected template.queryResult; got string",
                column + 22
            ),
        ),
        (
            "{{ humanize \"one\" }}",
            format!(
                "template: t:1:{}: executing \"t\" at <humanize \"one\">: error calling humanize: strconv.ParseFloat: parsing \"one\": invalid syntax",
                column + 3
            ),
        ),
        (
            "{{ nofunc }}",
            "template: t:1: function \"nofunc\" not defined".to_owned(),
        ),
        (
            "{{ $nope }}",
            "template: t:1: undefined variable \"$nope\"".to_owned(),
        ),
    ] {
        assert_eq!(expand_alert(template, 1.0), Err(expected), "{template}");
    }
}

#[test]
fn humanized_numbers() {
    let inf = f64::INFINITY;
    for (function, value, expected) in [
        ("humanize", 0.0, "0"),
        ("humanize", 1.0, "1"),
        ("humanize", 1234567.0, "1.235M"),
        ("humanize", 999.95, "1000"),
        ("humanize", 1000.0, "1k"),
        ("humanize", -1500.0, "-1.5k"),
        ("humanize", 0.12, "120m"),
        ("humanize", 1e-5, "10u"),
        ("humanize", 1e27, "1000Y"),
        ("humanize", 1e30, "1e+06Y"),
        ("humanize", 1e-30, "1e-06y"),
        ("humanize", inf, "+Inf"),
        ("humanize", -inf, "-Inf"),
        ("humanize", f64::NAN, "NaN"),
        ("humanize1024", 0.0, "0"),
        ("humanize1024", 0.5, "0.5"),
        ("humanize1024", 1024.0, "1ki"),
        ("humanize1024", 1048576.0, "1Mi"),
        ("humanize1024", 1234567.0, "1.177Mi"),
        ("humanize1024", -2048.0, "-2ki"),
        ("humanize1024", f64::NAN, "NaN"),
        ("humanizePercentage", -0.22222, "-22.22%"),
        ("humanizePercentage", 0.0, "0%"),
        ("humanizePercentage", 0.1234567, "12.35%"),
        ("humanizePercentage", 1.23456, "123.5%"),
        ("humanizeDuration", 0.0, "0s"),
        ("humanizeDuration", 1.0, "1s"),
        ("humanizeDuration", 60.0, "1m 0s"),
        ("humanizeDuration", 3600.0, "1h 0m 0s"),
        ("humanizeDuration", 86400.0, "1d 0h 0m 0s"),
        ("humanizeDuration", 90000.0, "1d 1h 0m 0s"),
        ("humanizeDuration", -183845.0, "-2d 3h 4m 5s"),
        ("humanizeDuration", 899.99, "14m 59s"),
        ("humanizeDuration", 0.1, "100ms"),
        ("humanizeDuration", 0.0001, "100us"),
        ("humanizeDuration", 0.12345, "123.5ms"),
        ("humanizeDuration", 60.5, "1m 0s"),
        ("humanizeDuration", 1.2345, "1.234s"),
        ("humanizeDuration", 12.345, "12.35s"),
        ("humanizeDuration", 1234567.0, "14d 6h 56m 7s"),
        ("humanizeDuration", -1.0, "-1s"),
        ("humanizeDuration", inf, "+Inf"),
        ("humanizeTimestamp", inf, "+Inf"),
        ("humanizeTimestamp", 0.0, "1970-01-01 00:00:00 +0000 UTC"),
        ("humanizeTimestamp", -1.5, "1969-12-31 23:59:58.5 +0000 UTC"),
    ] {
        let template = format!("{{{{ $value | {function} }}}}");
        assert_eq!(
            expand_alert(&template, value).as_deref(),
            Ok(expected),
            "{function} {value}"
        );
    }
}

#[test]
fn a_number_in_a_text_is_humanized_too() {
    for (template, expected) in [
        ("{{ humanize \"1234\" }}", "1.234k"),
        ("{{ humanizeDuration \"3600\" }}", "1h 0m 0s"),
        ("{{ humanize1024 1024 }}", "1ki"),
    ] {
        assert_eq!(
            expand_alert(template, 0.0).as_deref(),
            Ok(expected),
            "{template}"
        );
    }
    assert!(expand_alert("{{ humanizeTimestamp 1e100 }}", 0.0).is_err());
}

fn notification() -> Value {
    let alert = |status: &'static str, name: &'static str| {
        let labels = alertmanager_functions::key_values([("alertname", name), ("a", "1")]);
        let fields = vec![("Status", status.into()), ("Labels", labels)];
        Value::structure("template.Alert", fields, None)
    };
    let alerts = vec![alert("firing", "A"), alert("resolved", "B")];
    let labels = [
        ("zone", "z"),
        ("key1", "v1"),
        ("alertname", "N"),
        ("key3", "v3"),
    ];
    let fields = vec![
        ("Alerts", alertmanager_functions::alerts(alerts)),
        ("CommonLabels", alertmanager_functions::key_values(labels)),
        (
            "StartsAt",
            Value::Time(Time::from_unix_ms(1_704_096_930_000).unwrap()),
        ),
    ];
    Value::structure("*template.Data", fields, None)
}

#[test]
fn notification_templates_have_alertmanager_functions() {
    let functions = alertmanager_functions::functions(1_704_100_530_000);
    for (template, expected) in [
        (
            "{{ \"abc\" | toUpper }} {{ \"ABC\" | toLower }} {{ \"abc DEF it's\" | title }}",
            "ABC abc Abc Def It's",
        ),
        ("{{ trimSpace \" a b c \" }}|", "a b c|"),
        ("{{ join \",\" (stringSlice \"a\" \"b\") }}", "a,b"),
        (
            "{{ match \"[a-z]+\" \"abc\" }}{{ if match \"abcd\" \"abc\" }}x{{ end }}",
            "true",
        ),
        (
            "{{ reReplaceAll \"ab\" \"AB\" \"abcdabcda\" }}",
            "ABcdABcda",
        ),
        (
            "{{ urlUnescape \"search?q=test%20foo\" }}",
            "search?q=test foo",
        ),
        (
            "{{ range .CommonLabels.SortedPairs }}{{ .Name }}={{ .Value }};{{ end }}",
            "alertname=N;key1=v1;key3=v3;zone=z;",
        ),
        (
            "{{ (.CommonLabels.Remove (stringSlice \"key1\" \"key3\")).Values }}",
            "[N z]",
        ),
        (
            "{{ .CommonLabels.Names | join \" \" }} {{ .CommonLabels.alertname }} {{ .CommonLabels.none }}|",
            "alertname key1 key3 zone N |",
        ),
        (
            "{{ .CommonLabels }}",
            "alertname=N, key1=v1, key3=v3, zone=z",
        ),
        (
            "{{ len .Alerts.Firing }}{{ range .Alerts.Resolved }}{{ .Labels.alertname }}{{ end }}",
            "1B",
        ),
        (
            "{{ toJson \"<test>\" }} {{ toJson 42 }} {{ toJson (dict \"key\" \"value\" \"number\" 123) }} {{ toJson nil }}",
            "\"\\u003ctest\\u003e\" 42 {\"key\":\"value\",\"number\":123} null",
        ),
        (
            "{{ index .Alerts 0 | toJson }}",
            "{\"status\":\"firing\",\"labels\":{\"a\":\"1\",\"alertname\":\"A\"}}",
        ),
        (
            "{{ base64encode \"test\" }} {{ base64encode \"flush>>\" }} {{ base64decode \"Zmx1c2g-Pg==\" }} {{ base64decode \"YWI=\" }}",
            "dGVzdA== Zmx1c2g-Pg== flush>> ab",
        ),
        (
            "{{ dict }} {{ dict \"b\" 2 \"a\" 1 }} {{ list }} {{ append (list \"a\") \"b\" }}",
            "map[] map[a:1 b:2] [] [a b]",
        ),
        (
            "{{ date \"2006-01-02\" .StartsAt }} {{ tz \"Europe/Paris\" .StartsAt }}",
            "2024-01-01 2024-01-01 09:15:30 +0100 CET",
        ),
        (
            "{{ toDate \"2006-01-02\" \"2024-03-15\" | date \"2 Jan 2006\" }} {{ (toDate \"2006\" \"x\").Year }}",
            "15 Mar 2024 1",
        ),
        ("{{ since .StartsAt | humanizeDuration }}", "1h 0m 0s"),
    ] {
        let expanded = expand(template, &notification(), &functions);
        assert_eq!(expanded.as_deref(), Ok(expected), "{template}");
    }
    for template in [
        "{{ dict \"a\" }}",
        "{{ dict 1 2 }}",
        "{{ tz \"Nowhere/Land\" .StartsAt }}",
        "{{ mustToDate \"2006\" \"x\" }}",
        "{{ base64decode \"a\" }}",
        "{{ ",
    ] {
        assert!(
            expand(template, &notification(), &functions).is_err(),
            "{template}"
        );
    }
}

#[test]
fn go_layouts_are_read_back() {
    for (layout, text) in [
        ("2006-01-02T15:04:05Z07:00", "2024-03-15T08:00:00+02:00"),
        ("Mon Jan _2 15:04:05 2006", "Fri Mar 15 08:00:00 2024"),
        ("3:04PM", "8:15AM"),
        ("2006-01-02 15:04:05.999", "2024-03-15 08:00:00.125"),
    ] {
        let time = Time::parse(layout, text).unwrap_or_else(|| panic!("{text} as {layout}"));
        assert_eq!(time.format(layout), text);
    }
    assert_eq!(Time::parse("2006-01-02", "2024-13-01"), None);
    assert_eq!(Time::parse("2006-01-02", "2024-01-01x"), None);
}

#[test]
fn sets_keep_templates_of_several_sources_apart() {
    let functions = Functions::default();
    let mut set = TemplateSet::default();
    let none = |_: &str| false;
    set.parse(
        "a.tmpl",
        "{{ define \"x\" }}one{{ end }}{{ define \"y\" }}{{ template \"x\" }}!{{ end }}",
        &none,
    )
    .unwrap();
    set.parse("b.tmpl", "\n{{ define \"x\" }}{{ .a.b }}{{ end }}", &none)
        .unwrap();
    assert_eq!(
        set.execute("y", &"text".into(), &functions).unwrap(),
        "<no value>!",
        "no data is given to x"
    );
    let error = set
        .execute("x", &Value::string_map([("a", "1")]), &functions)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "template: b.tmpl:2:21: executing \"x\" at <.a.b>: can't evaluate field b in type string"
    );
    let before: Vec<String> = set.names().map(str::to_owned).collect();
    assert!(
        set.parse("c.tmpl", "{{ define \"z\" }}{{ end }}{{ if }}", &none)
            .is_err()
    );
    assert_eq!(set.names().collect::<Vec<_>>(), before);
    assert!(set.execute("z", &Value::Nil, &functions).is_err());
}

#[test]
fn every_limit_holds() {
    let functions = alertmanager_functions::functions(0);
    let doubled =
        "{{ $x := \"0123456789abcdef\" }}{{ range 40 }}{{ $x = printf \"%s%s\" $x $x }}{{ end }}";
    let nested_lists = "{{ $x := list 1 }}{{ range 200 }}{{ $x = list $x $x }}{{ end }}";
    let wide_list = "{{ $x := list 1 }}{{ range 60 }}{{ $x = list $x $x }}{{ end }}{{ $x }}";
    for (template, reason) in [
        (doubled, "longer than 1048576 bytes"),
        ("{{ range 2000000 }}x{{ end }}", "more than 1000000 steps"),
        ("{{ range 2000000 }}{{ end }}", "more than 1000000 steps"),
        (
            "{{ range 1000 }}{{ printf \"%10000d\" 1 }}{{ end }}",
            "longer than 1048576 bytes",
        ),
        (
            "{{ printf \"%999999d%999999d\" 1 1 }}",
            "longer than 1048576 bytes",
        ),
        (
            "{{ define \"r\" }}{{ template \"r\" }}{{ end }}{{ template \"r\" }}",
            "exceeded maximum template depth",
        ),
        (nested_lists, "nested deeper than 100"),
        (wide_list, "longer than 1048576 bytes"),
        (
            "{{ $x := printf \"%099999d\" 0 }}{{ reReplaceAll \"0\" $x $x }}",
            "too long",
        ),
    ] {
        let error = expand(template, &Value::Nil, &functions).unwrap_err();
        assert!(error.contains(reason), "{template}: {error}");
    }
}

#[test]
fn nesting_is_bounded_before_the_stack_is() {
    let functions = Functions::default();
    let deep = |open: &str, close: &str, depth: usize| open.repeat(depth) + &close.repeat(depth);
    for (template, fits) in [
        (deep("{{if true}}", "{{end}}", 99), true),
        (deep("{{if true}}", "{{end}}", 100_000), false),
        (
            format!("{{{{{}1{}}}}}", "(".repeat(99), ")".repeat(99)),
            true,
        ),
        (format!("{{{{{}", "(".repeat(100_000)), false),
        (
            format!("{{{{if 0}}}}{}{{{{end}}}}", "{{else if 0}}".repeat(100_000)),
            false,
        ),
        (deep("{{define \"x\"}}", "{{end}}", 3), false),
    ] {
        let result = expand(&template, &Value::Nil, &functions);
        assert_eq!(result.is_ok(), fits, "{result:?}");
    }
    // Templates that are nested as deep as they may be, and call each other.
    let chain: String = (0..60)
        .map(|at| {
            let next = at + 1;
            let inside = format!("{{{{template \"t{next}\" .}}}}");
            let body = "{{if true}}".repeat(90) + &inside + &"{{end}}".repeat(90);
            format!("{{{{define \"t{at}\"}}}}{body}{{{{end}}}}")
        })
        .collect();
    let error = expand(
        &format!("{chain}{{{{template \"t0\"}}}}"),
        &Value::Nil,
        &functions,
    );
    assert!(
        error
            .unwrap_err()
            .contains("exceeded maximum nesting depth")
    );
}
