//! What `promql` asks: the queries of dashboards, alerts and people who search.

use crate::stored::START_MS;

pub(crate) struct Question {
    pub(crate) name: &'static str,
    kind: Kind,
    pub(crate) text: &'static str,
}

#[derive(Clone, Copy)]
enum Kind {
    Instant,
    /// Half an hour, a step a minute.
    Range,
    /// A path of the API with its parameters.
    Path,
}

use Kind::{Instant, Path, Range};

/// Times are counted from the start of the stored hour. They are whole seconds, which no sample is
/// at, and no whole half minutes, which the points of the subqueries are at: what lies exactly on a
/// window's left border, Prometheus 2 counts and its successor does not.
const INSTANT_SECONDS: i64 = 50 * 60 + 7;
const RANGE_SECONDS: (i64, i64) = (20 * 60 + 7, 50 * 60 + 7);
const STEP_SECONDS: i64 = 60;

pub(crate) const QUESTIONS: [Question; 25] = [
    ask(
        "one host",
        Range,
        r#"rate(app_requests_total{instance="target-17"}[5m])"#,
    ),
    ask(
        "sum by (rate), now",
        Instant,
        "sum by (code) (rate(app_requests_total[5m]))",
    ),
    ask(
        "sum by (rate)",
        Range,
        "sum by (code) (rate(app_requests_total[5m]))",
    ),
    ask(
        "histogram_quantile, now",
        Instant,
        "histogram_quantile(0.99, sum by (le, handler) (rate(app_request_duration_seconds_bucket[5m])))",
    ),
    ask(
        "histogram_quantile",
        Range,
        "histogram_quantile(0.9, sum by (le) (rate(app_request_duration_seconds_bucket[5m])))",
    ),
    ask(
        "topk of sums",
        Range,
        "topk(10, sum by (instance) (irate(app_request_duration_seconds_sum[2m])))",
    ),
    ask("topk of series", Instant, "topk(10, app_memory_bytes)"),
    ask(
        "regex over names",
        Instant,
        r#"sum by (__name__) ({__name__=~"app_(queue|memory)_.*"})"#,
    ),
    ask(
        "avg_over_time",
        Range,
        "avg by (zone) (avg_over_time(app_utilization_ratio[10m]))",
    ),
    ask(
        "quantile_over_time",
        Range,
        "max by (queue) (quantile_over_time(0.95, app_queue_length[10m]))",
    ),
    ask(
        "max_over_time",
        Range,
        r#"max_over_time(app_memory_bytes{kind="used"}[10m])"#,
    ),
    ask(
        "subquery of a sum",
        Instant,
        r#"max_over_time(sum by (handler) (rate(app_requests_total{code="500"}[5m]))[30m:1m])"#,
    ),
    ask(
        "subquery of series",
        Range,
        r#"avg_over_time(rate(app_requests_total{instance=~"target-1."}[2m])[10m:30s])"#,
    ),
    ask(
        "join, one to one",
        Instant,
        "rate(app_request_duration_seconds_sum[5m]) / rate(app_request_duration_seconds_count[5m])",
    ),
    ask(
        "join, group_left",
        Range,
        "avg by (pool) (app_memory_bytes / ignoring (kind) group_left () sum without (kind) (app_memory_bytes))",
    ),
    ask(
        "and, unless",
        Range,
        "count((app_queue_length > 100 and on (instance) load_sequence > 0) unless app_queue_length > 1000)",
    ),
    ask(
        "count_over_time of everything",
        Instant,
        r#"sum(count_over_time({__name__=~".+",__name__!~".+_sum"}[30m]))"#,
    ),
    ask("every element of a metric", Instant, "app_requests_total"),
    ask(
        "absent",
        Instant,
        r#"absent(app_requests_total{instance="target-none"})"#,
    ),
    ask(
        "label_replace",
        Range,
        r#"sum by (number) (label_replace(app_queue_length, "number", "$1", "queue", "queue-(.*)"))"#,
    ),
    ask(
        "stddev",
        Range,
        "stddev by (handler) (rate(app_request_duration_seconds_sum[5m]))",
    ),
    ask(
        "predict_linear, deriv",
        Range,
        r#"count(predict_linear(app_memory_bytes{kind="free"}[10m], 3600) < 0) + count(deriv(app_memory_bytes{kind="used"}[10m]) > 0)"#,
    ),
    ask(
        "offset",
        Range,
        "sum(rate(app_requests_total[5m])) / sum(rate(app_requests_total[5m] offset 10m))",
    ),
    ask("series", Path, r#"series?match[]=app_requests_total"#),
    ask(
        "labels and values",
        Path,
        r#"label/handler/values?match[]={zone="zone-1",code=~"2..|404"}"#,
    ),
];

const fn ask(name: &'static str, kind: Kind, text: &'static str) -> Question {
    Question { name, kind, text }
}

impl Question {
    pub(crate) fn kind(&self) -> &'static str {
        match self.kind {
            Instant => "instant",
            Range => "range",
            Path => "list",
        }
    }

    /// Path and parameters as they are sent.
    pub(crate) fn path(&self) -> String {
        let text = encoded(self.text);
        let at = |seconds: i64| START_MS / 1000 + seconds;
        match self.kind {
            Instant => format!("/api/v1/query?query={text}&time={}", at(INSTANT_SECONDS)),
            Range => format!(
                "/api/v1/query_range?query={text}&start={}&end={}&step={STEP_SECONDS}",
                at(RANGE_SECONDS.0),
                at(RANGE_SECONDS.1)
            ),
            Path => {
                let (path, selector) = self.text.split_once("match[]=").unwrap_or((self.text, ""));
                let selector = encoded(selector);
                format!(
                    "/api/v1/{path}match[]={selector}&start={}&end={}",
                    at(RANGE_SECONDS.0),
                    at(RANGE_SECONDS.1)
                )
            }
        }
    }
}

/// As a value of a URL's query.
pub(crate) fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
