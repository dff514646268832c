//! `narthex query` and `narthex promql`, side by side with promtool where that is installed.

use std::process::Command;

use serde_json::Value;

use crate::agent::Agent;
use crate::server::{Answer, Target};
use crate::tools::{run, tool};

/// Whether it went well, and what was printed, then what was said beside.
fn narthex(arguments: &[&str], input: &str) -> (bool, String, String) {
    let program = env!("CARGO_BIN_EXE_narthex").into();
    run(&program, arguments, input)
}

/// An agent that has scraped and scrapes no more, so that each answer is the same.
fn settled() -> (Agent, String) {
    let page = "# TYPE a counter\na{x=\"1\"} 0.1\na{x=\"é\\\"\\\\\\n\"} 1e300\nb 12345678901234\nc NaN\nd -Inf\n";
    let target = Target::start(Answer::Metrics(page.to_owned()));
    let agent = Agent::new()
        .with(
            "prometheus.yml",
            &format!(
                "global: {{ scrape_interval: 200ms, scrape_timeout: 200ms }}\n\
                 scrape_configs:\n- job_name: app\n  static_configs: [{{ targets: [\"{}\"] }}]\n",
                target.address()
            ),
        )
        .start();
    agent.until("some scrapes", |a| {
        a.value("count_over_time(b[1h])").is_some_and(|n| n >= 5.0)
    });
    let time = format!("{:.3}", agent.value("timestamp(b)").unwrap());
    agent.write("prometheus.yml", "scrape_configs: []\n");
    agent.until("no scrapes", |a| a.query("up").is_empty());
    (agent, time)
}

#[test]
fn queries_print_what_promtool_prints() {
    let (agent, time) = settled();
    let url = agent.url("");
    let start = format!("{:.3}", time.parse::<f64>().unwrap() - 0.7);
    let instant = |query: &'static str| vec!["query", "instant", &url, query, "--time", &time];
    let cases = [
        instant("a"),
        instant("{__name__=~'.+'}"),
        instant("b[1s]"),
        instant("1 / 3"),
        instant("vector(-0)"),
        instant("nothing"),
        instant("nothing[5m]"),
        vec![
            "query", "range", &url, "a", "--start", &start, "--end", &time, "--step", "100ms",
        ],
        vec![
            "query", "range", &url, "b + 1", "--start", &start, "--end", &time,
        ],
        vec![
            "query",
            "series",
            "--match",
            "a",
            "--match",
            "{job='app'}",
            &url,
        ],
        vec!["query", "series", "--match=nothing", &url],
        vec!["query", "labels", &url, "x"],
        vec![
            "query", "labels", &url, "__name__", "--match", "a", "--end", &time,
        ],
        vec!["query", "labels", &url, "none"],
    ];
    for case in &cases {
        for format in ["promql", "json"] {
            let arguments: Vec<&str> = case.iter().copied().chain(["-o", format]).collect();
            let (good, printed, said) = narthex(&arguments, "");
            assert!(good, "{arguments:?}: {said}");
            assert_eq!(said, "", "{arguments:?}");
            let Some(promtool) = tool("promtool") else {
                continue;
            };
            let (good, expected, said) = run(&promtool, &arguments, "");
            assert!(good, "{arguments:?}: {said}");
            if format == "json" {
                let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
                assert_eq!(json(&printed), json(&expected), "{arguments:?}");
            } else {
                // Series have no order of their own here.
                let lines = |text: &str| {
                    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
                    if case[1] == "series" {
                        lines.sort();
                    }
                    lines
                };
                assert_eq!(lines(&printed), lines(&expected), "{arguments:?}");
            }
        }
    }
    let (good, printed, _) = narthex(&["query", "instant", &url, "\"a\\tb\""], "");
    assert!(good);
    assert_eq!(printed, "a\tb\n");
}

#[test]
fn a_query_that_fails_says_why() {
    let agent = Agent::new()
        .with(
            "http.yml",
            "basic_auth: { username: me, password: secret }\n",
        )
        .with("bad.yml", "basic_auth: { usernam: me }\n")
        .start();
    let url = agent.url("");
    let (good, bad) = (agent.path("http.yml"), agent.path("bad.yml"));
    let (good, bad) = (good.to_str().unwrap(), bad.to_str().unwrap());
    for (arguments, expected) in [
        (
            vec!["query", "instant", &url, "rate(x"],
            "bad_data: invalid parameter \"query\": 1:7: parse error: unclosed left parenthesis",
        ),
        (
            vec!["query", "instant", "http://127.0.0.1:1", "up"],
            "asking http://127.0.0.1:1/api/v1/query: cannot connect to 127.0.0.1:1: connection \
             refused",
        ),
        (
            vec!["query", "instant", &format!("{url}/nowhere"), "up"],
            "/nowhere/api/v1/query: the server answered 404 Not Found: 404 page not found",
        ),
        (
            vec!["query", "instant", &url, "up", "--time", "x"],
            "--time: cannot parse \"x\" to a valid timestamp",
        ),
        (
            vec!["query", "range", &url, "up", "--start", "5", "--end", "5"],
            "--start is not before --end",
        ),
        (
            vec![
                "query", "range", &url, "up[5m]", "--start", "1", "--end", "5",
            ],
            "bad_data: invalid parameter \"query\": invalid expression type",
        ),
        (
            vec!["query", "series", &url, "--match", "{}"],
            "must contain at least one non-empty matcher",
        ),
        (
            vec!["query", "labels", &url, ""],
            "the label's name is empty",
        ),
        (
            vec!["query", "labels", &url, "x", "--http.config.file", bad],
            "bad.yml:1:15: basic_auth.usernam: unknown field",
        ),
        (
            vec![
                "query",
                "labels",
                "http://a:b@127.0.0.1",
                "x",
                "--http.config.file",
                good,
            ],
            "exclude each other",
        ),
    ] {
        let (good, printed, said) = narthex(&arguments, "");
        assert!(!good, "{arguments:?}: {printed}");
        assert_eq!(printed, "");
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
    for arguments in [
        &["query", "labels", &url, "job", "--http.config.file", good][..],
        &[
            "query",
            "labels",
            &agent.address(),
            "job",
            "--header",
            "x-scope=a",
        ],
    ] {
        let (good, _, said) = narthex(arguments, "");
        assert!(good, "{said}");
    }
    // Wrong arguments are told as such.
    let series = Command::new(env!("CARGO_BIN_EXE_narthex"))
        .args(["query", "series", &url])
        .output()
        .unwrap();
    assert_eq!(series.status.code(), Some(2));
    let said = String::from_utf8_lossy(&series.stderr).into_owned();
    assert!(said.contains("--match"), "{said}");
}

#[test]
fn expressions_are_formatted_and_changed() {
    for (arguments, input, expected) in [
        (
            &["promql", "format", "sum by(job)(rate(x[5m]))>1"][..],
            "",
            "sum by (job) (rate(x[5m])) > 1\n",
        ),
        (&["promql", "format", "-"], "up  +\n1\n", "up + 1\n"),
        (
            &[
                "promql",
                "label-matchers",
                "set",
                "rate(x{a='b'}[5m]) / y",
                "a",
                "c",
            ],
            "",
            "rate(x{a=\"c\"}[5m]) / y{a=\"c\"}\n",
        ),
        (
            &[
                "promql",
                "label-matchers",
                "set",
                "-t",
                "!~",
                "-",
                "a",
                "c|d",
            ],
            "x",
            "x{a!~\"c|d\"}\n",
        ),
        (
            &["promql", "label-matchers", "delete", "x{a='b',c='d'}", "a"],
            "",
            "x{c=\"d\"}\n",
        ),
    ] {
        let (good, printed, said) = narthex(arguments, input);
        assert!(good, "{arguments:?}: {said}");
        assert_eq!(printed, expected, "{arguments:?}");
    }
    let (good, _, said) = narthex(&["promql", "format", "sum(\n  rate(x)\n)"], "");
    assert!(!good);
    assert_eq!(
        said,
        "error: 2:8: parse error: expected type range vector in call to function \"rate\", got \
         instant vector\n    rate(x)\n         ^\n"
    );
}

#[test]
fn expressions_are_explained() {
    let query = "sum by (job) (rate(a[5m])) / sum by (job) (rate(a[5m]))";
    let (good, printed, said) = narthex(&["promql", "explain", query, "--time", "5"], "");
    assert!(good, "{said}");
    let plan: Vec<&str> = printed.lines().collect();
    assert!(
        plan[0].starts_with("node ") && !plan[0].contains("samples"),
        "{printed}"
    );
    assert!(printed.contains("same as"), "{printed}");

    let (agent, time) = settled();
    let url = agent.url("");
    let at = [
        "promql", "explain", query, "--server", &url, "--time", &time,
    ];
    let (good, measured, said) = narthex(&at, "");
    assert!(good, "{said}");
    let lines: Vec<&str> = measured.lines().collect();
    assert!(lines[0].contains("own ms"), "{measured}");
    // The same nodes, with figures, and the totals after them.
    for (of_plan, of_server) in plan.iter().zip(&lines) {
        let operation = |line: &str| line.split_whitespace().take(2).collect::<String>();
        assert_eq!(operation(of_plan), operation(of_server), "{measured}");
    }
    assert!(lines.last().unwrap().contains("samples read"), "{measured}");

    let start = format!("{:.3}", time.parse::<f64>().unwrap() - 60.0);
    let range = [
        &at[..5],
        &["--start", &start, "--end", &time, "--step", "10s"],
    ]
    .concat();
    let (good, measured, said) = narthex(&range, "");
    assert!(good && measured.contains(" 7 "), "{measured}{said}");
    for (arguments, expected) in [
        (
            vec!["a[5m]", "--start", "1", "--end", "5", "--step", "1s"],
            "range vector",
        ),
        (
            vec!["a", "--start", "5", "--end", "1", "--step", "1s"],
            "--start is after --end",
        ),
        (vec!["a", "--start", "5"], "--step"),
        (vec!["rate(a"], "1:7: parse error"),
        (
            vec!["rate(a", "--server", &url],
            "bad_data: invalid parameter \"query\": 1:7",
        ),
    ] {
        let arguments = [vec!["promql", "explain"], arguments].concat();
        let (good, _, said) = narthex(&arguments, "");
        assert!(!good && said.contains(expected), "{arguments:?}: {said}");
    }
}
