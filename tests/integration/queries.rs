//! Queries that ask for too much: each is refused or bounded, and rules go on meanwhile.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::agent::{Agent, PATIENCE};
use crate::server::{Answer, Target};

const SERIES: usize = 1_000;

/// An agent that scrapes many series and evaluates two rules twice a second.
fn agent(narthex_yml: &str, flags: &[&str]) -> (Agent, Target) {
    let mut page = String::new();
    for number in 0..SERIES {
        writeln!(
            page,
            "m{{i=\"{number}\",group=\"{}\"}} {number}",
            number % 7
        )
        .unwrap();
    }
    let target = Target::start(Answer::Metrics(page));
    let mut agent = Agent::new();
    for flag in flags {
        agent = agent.flag(flag);
    }
    let agent = agent
        .with("narthex.yml", narthex_yml)
        .with(
            "prometheus.yml",
            &format!(
                "global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 500ms }}\n\
                 rule_files: [rules.yml]\n\
                 scrape_configs:\n- job_name: app\n  static_configs: [{{ targets: [\"{}\"] }}]\n",
                target.address()
            ),
        )
        .with(
            "rules.yml",
            "groups:\n- name: g\n  rules:\n  - record: m:sum\n    expr: sum by (group) (m)\n  \
             - alert: Many\n    expr: count(m) > 1\n",
        )
        .start();
    agent.until("samples and rules", |a| {
        a.value("count(count_over_time(m[1h]) > 3)") == Some(SERIES as f64)
            && a.value("count(m:sum)") == Some(7.0)
    });
    (agent, target)
}

fn nested(depth: usize, before: &str, inner: &str, after: &str) -> String {
    format!("{}{inner}{}", before.repeat(depth), after.repeat(depth))
}

/// What is asked, over how long, at which step, and of which the answer may be one: a part of an
/// error's text, or of a result's type.
fn exploding() -> Vec<(String, &'static str, &'static str, &'static [&'static str])> {
    let everything = r#"{__name__=~".+"}"#;
    let year = "31536000";
    let day = "86400";
    let doubled = nested(40, "label_join(", "m", r#", "i", "", "i", "i")"#);
    let product = format!("{everything} * on () group_left () {everything}");
    let any = vec![everything; 300].join(" or ");
    let text = |text: &str| text.to_owned();
    vec![
        (text(everything), year, "1", &["11,000 points"][..]),
        (text(everything), year, "3600", &["matrix", "limit"]),
        (
            product,
            day,
            "60",
            &["duplicate series", "multiple matches"],
        ),
        (any, day, "60", &["matrix", "limit", "timed out"]),
        (
            format!(r#"count_values("v", {everything})"#),
            day,
            "10",
            &["matrix", "limit"],
        ),
        (nested(10_000, "(", "m", ")"), day, "60", &["parse error"]),
        (nested(10_000, "-", "m", ""), day, "60", &["parse error"]),
        (
            format!("m{{i=~\"{}\"}}", "(a|b)*".repeat(180_000)),
            day,
            "60",
            &["parse error"],
        ),
        (
            text(r#"m{i=~"((a{1,100}){1,100}){1,100}"}"#),
            day,
            "60",
            &["parse error"],
        ),
        (
            text("max_over_time(sum_over_time(m[1d:1ms])[1d:1ms])"),
            day,
            "60",
            &["limit"],
        ),
        (
            nested(30, "max_over_time(", "m", "[1d:1s])"),
            day,
            "60",
            &["limit", "matrix", "timed out"],
        ),
        (
            text(r#"label_replace(m, "a", "$1", "i", "(.*)*(.*)*(.*)*x")"#),
            day,
            "60",
            &["matrix"],
        ),
        (doubled, day, "60", &["limit"]),
        (
            format!("topk(1e9, {everything})"),
            day,
            "10",
            &["matrix", "limit"],
        ),
        (
            format!("quantile(0.5, {everything})"),
            day,
            "10",
            &["matrix", "limit"],
        ),
        (format!("absent({everything})"), year, "3600", &["matrix"]),
        (
            format!("absent_over_time({everything}[1y:1s])"),
            year,
            "3600",
            &["matrix", "limit"],
        ),
        (
            vec!["m"; 10_000].join(" + "),
            day,
            "60",
            &["matrix", "limit", "timed out"],
        ),
    ]
}

/// The error's text, or the type of the result.
fn outcome(answer: &Value) -> String {
    let error = answer["error"].as_str();
    let kind = answer["data"]["resultType"].as_str();
    error.or(kind).unwrap_or("neither").to_owned()
}

#[test]
fn a_query_that_explodes_is_refused_or_bounded_and_rules_go_on() {
    const LIMIT: &str = "200MiB";
    const LIMIT_BYTES: u64 = 200 << 20;
    let timeout = Duration::from_secs(20);
    let (agent, _target) = agent(
        &format!(
            "query: {{ memory: {LIMIT}, memory_per_query: 100MiB, memory_for_rules: 20MiB }}\n"
        ),
        &["--query.timeout=20s"],
    );
    let before = agent.peak_memory_bytes();
    let rules = || agent.own_metric("prometheus_rule_evaluations_total");
    for (query, range, step, expected) in exploding() {
        let shown = &query[..query.len().min(60)];
        let rules_before = rules();
        let now = agent.value("vector(time())").unwrap();
        let start = (now - range.parse::<f64>().unwrap()).to_string();
        let end = now.to_string();
        let form = [
            ("query", query.as_str()),
            ("start", &start),
            ("end", &end),
            ("step", step),
        ];
        let started = Instant::now();
        let (status, answer) = agent.ask("/api/v1/query_range", &form);
        let taken = started.elapsed();
        println!("{status} {taken:?} {shown}: {}", outcome(&answer));
        assert!(matches!(status, 200 | 400 | 422 | 503), "{shown}: {status}");
        let outcome = outcome(&answer);
        let is_expected = expected.iter().any(|part| outcome.contains(part));
        assert!(is_expected, "{shown}: {outcome}");
        // A machine that is busy may be late, but a query does not run on.
        assert!(
            taken < timeout + Duration::from_secs(20),
            "{shown}: {taken:?}"
        );
        agent.until("rules go on", |_| rules() > rules_before);
    }
    let failures = agent.own_metric("prometheus_rule_evaluation_failures_total");
    assert_eq!(failures, 0.0);
    // What is counted is what queries hold; buffers and the allocator come on top.
    let grown = agent.peak_memory_bytes() - before;
    assert!(grown < 2 * LIMIT_BYTES, "{} MiB more", grown >> 20);
    assert_eq!(agent.value("count(m:sum)"), Some(7.0));
}

/// Takes minutes on any machine, with little memory: 360,000 windows of 360,000 values each, which no
/// scrape has to bring first.
const SLOW: &str = "max_over_time(quantile_over_time(0.5, vector(time())[30m:5ms])[1h:10ms])";

#[test]
fn a_query_ends_when_its_time_is_up() {
    let (agent, _target) = agent("", &["--query.timeout=3s"]);
    for (parameters, most) in [(&[][..], 3.0), (&[("timeout", "500ms")], 0.5)] {
        let started = Instant::now();
        let form = [&[("query", SLOW)], parameters].concat();
        let (status, answer) = agent.ask("/api/v1/query", &form);
        assert_eq!(
            (status, answer["errorType"].as_str()),
            (503, Some("timeout"))
        );
        let text = answer["error"].as_str().unwrap();
        assert!(text.contains("query timed out in "), "{text}");
        assert!(started.elapsed().as_secs_f64() > most * 0.9);
        agent.until("the query ends", |a| {
            a.own_metric("prometheus_engine_queries") < 1.0
        });
    }
}

#[test]
fn a_query_that_nobody_waits_for_is_cancelled() {
    let (agent, _target) = agent("", &["--query.timeout=10m", "--query.max-concurrency=1"]);
    let body = format!("query={}", SLOW.replace('[', "%5B").replace(']', "%5D"));
    let mut connection = TcpStream::connect(agent.address()).unwrap();
    write!(
        connection,
        "POST /api/v1/query HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\
         content-type: application/x-www-form-urlencoded\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let running = |a: &Agent| a.own_metric("prometheus_engine_queries");
    agent.until("the query runs", |a| running(a) >= 1.0);
    // It has the only place.
    let (status, answer) = agent.ask("/api/v1/query", &[("query", "1"), ("timeout", "300ms")]);
    assert_eq!(status, 503, "{answer}");
    assert_eq!(answer["error"], "query timed out in query queue");
    drop(connection);
    let started = Instant::now();
    let (status, answer) = agent.ask("/api/v1/query", &[("query", "1")]);
    assert_eq!(status, 200, "{answer}");
    assert!(started.elapsed() < PATIENCE / 2);
}

#[test]
fn the_flags_of_queries_act() {
    let (agent, target) = agent(
        "",
        &["--query.max-samples=500", "--query.lookback-delta=3s"],
    );
    let (status, answer) = agent.ask("/api/v1/query", &[("query", "m")]);
    assert_eq!(
        (status, answer["errorType"].as_str()),
        (422, Some("execution"))
    );
    let text = answer["error"].as_str().unwrap();
    let upstream = "query processing would load too many samples into memory in query execution: ";
    let figures = text.strip_prefix(upstream).unwrap();
    assert!(figures.ends_with("but the limit is 500"), "{text}");
    let held: u64 = figures.split(' ').next().unwrap().parse().unwrap();
    assert!(held > 500, "{text}");

    let last = agent.value("max(timestamp(m{i=\"1\"}))").unwrap();
    target.set(Answer::Never);
    let at = |seconds: f64, lookback: Option<&'static str>| {
        let time = format!("{:.3}", last + seconds);
        let mut form = vec![("query", "m{i=\"1\"} @ end()"), ("time", &time)];
        form.extend(lookback.map(|text| ("lookback_delta", text)));
        let (status, answer) = agent.ask("/api/v1/query", &form);
        assert_eq!(status, 200, "{answer}");
        answer["data"]["result"].as_array().unwrap().len()
    };
    assert_eq!(at(2.9, None), 1);
    // So far ahead that no scrape can have come meanwhile.
    assert_eq!(at(3600.0, None), 0);
    assert_eq!(at(3600.0, Some("2h")), 1);
    let (status, answer) = agent.ask("/api/v1/query", &[("query", "1"), ("lookback_delta", "x")]);
    assert_eq!(status, 400);
    assert!(answer["error"].as_str().unwrap().contains("lookback delta"));
}

#[test]
fn memory_for_queries_is_set_while_it_runs() {
    let (agent, _target) = agent("", &[]);
    let ask = || {
        let (status, answer) = agent.ask("/api/v1/query", &[("query", "sum(m)")]);
        (status, outcome(&answer))
    };
    assert_eq!(ask(), (200, "vector".to_owned()));
    agent.write(
        "narthex.yml",
        "query: { memory: 20MiB, memory_per_query: 20KiB, threads: 1 }\n",
    );
    agent.until("the smaller limit", |_| ask().0 == 422);
    let text = ask().1;
    assert!(
        text.contains("the limit of one query is 20480 bytes"),
        "{text}"
    );
    agent.write("narthex.yml", "query: { memory: 10%, threads: 2 }\n");
    agent.until("the larger limit", |_| ask().0 == 200);
    agent.write("narthex.yml", "query: { memory: 10 percent }\n");
    agent.until("the fault", |a| {
        a.log()
            .contains("narthex.yml:1:18: query.memory: expected a size")
    });
    assert_eq!(ask().0, 200);
}
