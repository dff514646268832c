//! Whole files, good and mangled, and what they give.

use narthex_plugin_sdk::{Family, fake, testing};

use super::*;
use crate::conformance;

fn collector(directories: &str) -> TextFile {
    let json = format!("{{\"collector.textfile.directory\": {directories}}}");
    let config = narthex_plugin_sdk::config::parse(&json).unwrap();
    TextFile::new(&Options::new(config).unwrap()).unwrap()
}

fn collect(collector: &mut TextFile) -> Vec<Family> {
    let machine = Machine::new(&Options::new(crate::Config::default()).unwrap()).unwrap();
    let mut metrics = Metrics::new();
    collector.collect(&machine, &mut metrics).unwrap();
    metrics.finish().unwrap()
}

fn lines(directories: &str) -> Vec<String> {
    testing::lines(&collect(&mut collector(directories)))
}

/// Upstream's own cases, with what it gives for each.
#[test]
fn gives_what_upstream_gives() {
    let Some(fixtures) = conformance::Fixtures::find() else {
        return;
    };
    let unpacked = fixtures.unpack("collector/fixtures/textfile");
    let folder = unpacked.path().join("collector/fixtures/textfile");
    let host = fake::Host::install();
    host.mount("/fixtures/textfile", &folder);
    let mut cases = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let out = entry.unwrap().path();
        if out.extension().is_none_or(|extension| extension != "out") {
            continue;
        }
        let case = out.file_stem().unwrap().to_str().unwrap();
        let path = match case {
            "glob_extra_dimension" => "*_extra_dimension",
            case => case,
        };
        let mut collector = collector(&format!("[\"/fixtures/textfile/{path}\"]"));
        let given = conformance::given(&collect(&mut collector));
        let text = std::fs::read_to_string(&out).unwrap();
        let expected = conformance::expected(&text.replace(" fixtures/", " /fixtures/"));
        let names = |families: &BTreeMap<String, conformance::Expected>| -> Vec<String> {
            families.keys().cloned().collect()
        };
        assert_eq!(names(&given), names(&expected), "{case}");
        for (name, expected) in expected {
            // The fixtures' times are not told, and upstream's test sets its own.
            if name != "node_textfile_mtime_seconds" {
                assert_eq!(given[&name], expected, "{case}: {name}");
            }
        }
        cases += 1;
    }
    assert_eq!(cases, 15);
}

#[test]
fn a_file_that_is_wrong_gives_nothing() {
    for (text, expected) in [
        ("a 1", "line 1: the last line has no end"),
        ("a\n", "line 1: expected a value of a, not \"\""),
        ("a x\n", "line 1: expected a value of a, not \"x\""),
        ("a 1 2\n", "line 1: a has a time, which is not supported"),
        ("\n1a 1\n", "line 2: invalid metric name \"1a\""),
        ("a{b} 1\n", "line 1: expected a label or a closing brace"),
        ("a{b=\"1} 1\n", "line 1: expected a label's value in quotes"),
        ("a{b=1} 1\n", "line 1: expected a label's value in quotes"),
        ("a{b=\"\\t\"} 1\n", "line 1: invalid escape sequence \\t"),
        (
            "a{__name__=\"b\"} 1\n",
            "line 1: invalid label name \"__name__\"",
        ),
        ("a{b=\"1\",b=\"2\"} 1\n", "line 1: label b is given twice"),
        (
            "a{b=\"1\" c=\"2\"} 1\n",
            "line 1: expected a comma or a closing brace after a label",
        ),
        (
            "# TYPE a number\n",
            "line 1: unknown metric type \"number\"",
        ),
        (
            "a 1\n# TYPE a gauge\n",
            "line 2: a second type of a, or one after its metrics",
        ),
        (
            "# HELP a A.\n# HELP a A.\n",
            "line 2: a second help text of a",
        ),
        (
            "# TYPE a histogram\na_bucket{le=\"x\"} 1\n",
            "line 2: expected a number as the label le, not \"x\"",
        ),
        ("# HELP a\\ b\n", "line 1: invalid metric name \"a\\\\\""),
    ] {
        let host = fake::Host::install();
        host.write("/texts/bad.prom", text);
        host.write("/texts/good.prom", "good 1\n");
        assert_eq!(
            lines("\"/texts\""),
            [
                "good 1",
                "node_textfile_mtime_seconds{file=\"/texts/good.prom\"} 0",
                "node_textfile_scrape_error 1"
            ],
            "{text}"
        );
        let (_, logged) = &host.logged()[0];
        assert_eq!(
            *logged,
            format!("collector textfile: /texts/bad.prom: {expected}")
        );
    }
}

#[test]
fn all_that_the_format_has_is_read() {
    let host = fake::Host::install();
    let text = r#"# a comment
# HELP a Two\nlines and a \\.
# TYPE a counter
	a{ b = "x\"y\\z\n" , } +1e3
a {b="2"} NaN

# TYPE h histogram
h_bucket{le="+Inf"} 3
h_bucket{le="1"} 2
h_bucket{le="0.5"} 1
h_sum 4
h_count 3
# TYPE s summary
s{quantile="0.5"} 7
s_sum 8
s_count 9
s_bucket 10
"#;
    host.write("/texts/a.prom", text);
    let mut collector = collector("[\"/texts\"]");
    let families = collect(&mut collector);
    assert_eq!(families[0].help, "Two\nlines and a \\.");
    assert_eq!(
        testing::lines(&families)[..13],
        [
            "a{b=\"x\\\"y\\\\z\\n\"} 1000",
            "a{b=\"2\"} NaN",
            "h_bucket{le=\"0.5\"} 1",
            "h_bucket{le=\"1\"} 2",
            "h_bucket{le=\"+Inf\"} 3",
            "h_sum 4",
            "h_count 3",
            "s{quantile=\"0.5\"} 7",
            "s_sum 8",
            "s_count 9",
            "s_bucket 10",
            "node_textfile_mtime_seconds{file=\"/texts/a.prom\"} 0",
            "node_textfile_scrape_error 0",
        ]
    );
}

#[test]
fn what_does_not_fit_together_is_left_out_and_told_once() {
    let host = fake::Host::install();
    host.write("/texts/a.prom", "# TYPE x gauge\nx 1\nsame 1\nsame 2\n");
    host.write("/texts/b.prom", "# TYPE x counter\nx 2\nsame 3\nother 4\n");
    host.write("/texts/c.prom", "node_textfile_scrape_error 0\n");
    let mut collector = collector("[\"/texts/\", \"/nowhere\"]");
    let given = testing::lines(&collect(&mut collector));
    assert_eq!(
        given,
        [
            "x 1",
            "same 1",
            "other 4",
            "node_textfile_mtime_seconds{file=\"/texts/a.prom\"} 0",
            "node_textfile_mtime_seconds{file=\"/texts/b.prom\"} 0",
            "node_textfile_mtime_seconds{file=\"/texts/c.prom\"} 0",
            "node_textfile_scrape_error 1",
        ]
    );
    let logged = host.logged().len();
    assert_eq!(logged, 3);
    collect(&mut collector);
    assert_eq!(host.logged().len(), logged);
}
