//! What callers of the engine rely on: shapes of results, errors and their texts, limits.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test: what fails must stop it"
)]

use std::sync::Arc;

use narthex_model::{CancelReason, CancelToken, Histogram, Labels, STALE_NAN, SampleValue};
use narthex_promql::syntax::{ParserOptions, parse};
use narthex_promql::{
    Engine, EngineOptions, QueryContext, QueryError, QueryMemory, QueryOutput, QueryValue,
    RangeParams,
};
use narthex_storage::memory::MemoryStore;
use narthex_storage::{Appendable, LabelQuery, Queryable, SelectQuery, Series, StorageError};

const MINUTE: RangeParams = RangeParams {
    start_ms: 0,
    end_ms: 60_000,
    step_ms: 30_000,
};

/// up{job="a"|"b"} every 30 s for 10 minutes, counting from 0; gone{} ends after a minute;
/// native{} has histograms; h_bucket has one bound that is none.
fn store() -> MemoryStore {
    let store = MemoryStore::default();
    let mut appender = store.appender();
    let labels = |pairs: &[(&str, &str)]| Labels::from_pairs(pairs.iter().copied());
    for step in 0..20_i32 {
        let time_ms = i64::from(step) * 30_000;
        let value = f64::from(step);
        for job in ["a", "b"] {
            let up = labels(&[("__name__", "up"), ("job", job)]);
            appender.append(&up, time_ms, value).unwrap();
            let total = labels(&[("__name__", "req_total"), ("job", job)]);
            appender.append(&total, time_ms, value).unwrap();
        }
        let gone = labels(&[("__name__", "gone")]);
        if step < 3 {
            let value = if step == 2 { STALE_NAN } else { value };
            appender.append(&gone, time_ms, value).unwrap();
        }
        let native = labels(&[("__name__", "native")]);
        appender
            .append_histogram(&native, time_ms, Arc::new(Histogram::default()))
            .unwrap();
        for le in ["1", "x", "+Inf"] {
            let bucket = labels(&[("__name__", "h_bucket"), ("le", le)]);
            appender.append(&bucket, time_ms, value).unwrap();
        }
    }
    appender.commit().unwrap();
    store
}

fn context(text: &str) -> QueryContext {
    QueryContext {
        text: text.to_owned(),
        ..QueryContext::default()
    }
}

fn instant_with(engine: &Engine, text: &str, time_ms: i64) -> Result<QueryOutput, QueryError> {
    let expr = parse(text, &ParserOptions::everything()).unwrap_or_else(|e| panic!("{text}: {e}"));
    engine.instant(&store(), &expr, time_ms, &context(text))
}

fn instant(text: &str, time_ms: i64) -> Result<QueryOutput, QueryError> {
    instant_with(&Engine::default(), text, time_ms)
}

fn range(text: &str, params: RangeParams) -> Result<QueryOutput, QueryError> {
    let expr = parse(text, &ParserOptions::everything()).unwrap_or_else(|e| panic!("{text}: {e}"));
    Engine::default().range(&store(), &expr, params, &context(text))
}

/// One line per series.
fn show(value: &QueryValue) -> String {
    match value {
        QueryValue::Scalar {
            timestamp_ms,
            value,
        } => format!("scalar {value} @{timestamp_ms}"),
        QueryValue::String {
            timestamp_ms,
            value,
        } => format!("string {value:?} @{timestamp_ms}"),
        QueryValue::Vector(samples) => samples
            .iter()
            .map(|s| {
                format!(
                    "{} {:?} @{}",
                    s.labels,
                    s.value.as_float().unwrap(),
                    s.timestamp_ms
                )
            })
            .collect::<Vec<_>>()
            .join("\n"),
        QueryValue::Matrix(series) => series
            .iter()
            .map(|s| format!("{} {:?}", s.labels, s.points))
            .collect::<Vec<_>>()
            .join("\n"),
    }
}

#[test]
fn results_have_the_type_of_the_expression() {
    for (text, expected) in [
        ("1 + 1", "scalar 2 @90000"),
        ("'a\"b'", r#"string "a\"b" @90000"#),
        ("time()", "scalar 90 @90000"),
        (
            "up > 2",
            "{__name__=\"up\", job=\"a\"} 3.0 @90000\n{__name__=\"up\", job=\"b\"} 3.0 @90000",
        ),
        (
            "up{job='a'}[1m]",
            "{__name__=\"up\", job=\"a\"} [(60000, 2.0), (90000, 3.0)]",
        ),
        ("sum(up)[1m:30s]", "{} [(60000, 4.0), (90000, 6.0)]"),
        (
            "sort_desc(up * on (job) up)",
            "{job=\"a\"} 9.0 @90000\n{job=\"b\"} 9.0 @90000",
        ),
        ("up{job='c'}", ""),
    ] {
        let output = instant(text, 90_000).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(show(&output.value), expected, "{text}");
    }
}

#[test]
fn range_queries_give_points_at_the_steps() {
    for (text, expected) in [
        ("1", "{} [(0, 1.0), (30000, 1.0), (60000, 1.0)]"),
        ("gone", "{__name__=\"gone\"} [(0, 0.0), (30000, 1.0)]"),
        ("absent(gone)", "{} [(60000, 1.0)]"),
        (
            "up{job='a'} @ 60",
            "{__name__=\"up\", job=\"a\"} [(0, 2.0), (30000, 2.0), (60000, 2.0)]",
        ),
        (
            "step() + range() + end()",
            "{} [(0, 150.0), (30000, 150.0), (60000, 150.0)]",
        ),
    ] {
        let output = range(text, MINUTE).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(show(&output.value), expected, "{text}");
    }
    let nothing = RangeParams {
        end_ms: -1,
        ..MINUTE
    };
    assert_eq!(show(&range("up", nothing).unwrap().value), "");
}

#[test]
fn native_histograms_are_values() {
    for (text, expected) in [
        ("native", "{__name__=\"native\"} {count:0, sum:0}"),
        ("count(native)", "{} 1"),
        ("native offset 1h", ""),
        ("timestamp(native)", "{} 90"),
        ("abs(native)", ""),
    ] {
        let QueryValue::Vector(samples) = instant(text, 90_000).unwrap().value else {
            panic!("{text}");
        };
        let shown: Vec<String> = samples
            .iter()
            .map(|sample| match &sample.value {
                SampleValue::Float(value) => format!("{} {value}", sample.labels),
                SampleValue::Histogram(value) => format!("{} {value}", sample.labels),
            })
            .collect();
        assert_eq!(shown.join("\n"), expected, "{text}");
    }
    let QueryValue::Matrix(series) = instant("native[5m]", 90_000).unwrap().value else {
        panic!("no matrix");
    };
    assert!(series[0].points.is_empty());
    let (last_ms, _) = series[0].histograms.last().unwrap();
    assert_eq!(*last_ms, 90_000);
}

#[test]
fn errors_of_evaluation_are_prometheus_own() {
    let duplicates = "found duplicate series for the match group {} on the right hand-side of the \
                      operation: [{__name__=\"up\", job=\"a\"}, {__name__=\"up\", job=\"b\"}]\
                      ;many-to-many matching not allowed: matching labels must be unique on one \
                      side";
    for (text, expected) in [
        (
            "{__name__=~'up|req_total'} * 2",
            "vector cannot contain metrics with the same labelset",
        ),
        (
            "rate({__name__=~'up|req_total'}[5m])",
            "vector cannot contain metrics with the same labelset",
        ),
        ("up + on () up", duplicates),
        (
            "up + on () sum(up)",
            "multiple matches for labels: many-to-one matching must be explicit \
             (group_left/group_right)",
        ),
        (
            "{__name__=~'up|req_total'} * on () group_left () sum(up)",
            "multiple matches for labels: grouping labels must ensure unique matches",
        ),
        ("topk(NaN, up)", "Parameter value is NaN"),
        ("topk(1e30, up)", "Scalar value 1e+30 overflows int64"),
        ("limit_ratio(NaN, up)", "Ratio value is NaN"),
        ("count_values('', up)", "invalid label name \"\""),
        (
            "label_replace(up, 'a', '', 'b', '(')",
            "invalid regular expression in label_replace(): (",
        ),
        (
            "label_replace(up, '', '', 'b', '')",
            "invalid destination label name in label_replace(): ",
        ),
        (
            "double_exponential_smoothing(up[5m], 2, 0.5)",
            "invalid smoothing factor. Expected: 0 < sf < 1, got: 2.000000",
        ),
        ("up[1m - 1m]", "duration must be greater than 0"),
    ] {
        let error = instant(text, 90_000).unwrap_err();
        assert_eq!(error.to_string(), expected, "{text}");
    }
}

#[test]
fn annotations_tell_what_and_where() {
    for (text, warnings, infos) in [
        (
            "rate(up[5m])",
            vec![],
            vec![
                "PromQL info: metric might not be a counter, name does not end in \
                 _total/_sum/_count/_bucket: \"up\" (1:6)",
            ],
        ),
        ("rate(req_total[5m])", vec![], vec![]),
        (
            "\n quantile(2, up)",
            vec!["PromQL warning: quantile value should be between 0 and 1, got 2 (2:11)"],
            vec![],
        ),
        (
            "histogram_quantile(-1, h_bucket)",
            vec![
                "PromQL warning: bucket label \"le\" is missing or has a malformed value of \"x\" \
                 (1:24)",
                "PromQL warning: quantile value should be between 0 and 1, got -1 (1:20)",
            ],
            vec![],
        ),
        (
            "limit_ratio(1.5, up)",
            vec![
                "PromQL warning: ratio value should be between -1 and 1, got 1.5, capping to 1 \
                 (1:13)",
            ],
            vec![],
        ),
        (
            "up </ 3",
            vec![],
            vec![
                "PromQL info: incompatible sample types encountered for binary operator \"</\": \
                 float </ float (1:1)",
            ],
        ),
    ] {
        let output = instant(text, 90_000).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(output.warnings, warnings, "{text}");
        assert_eq!(output.infos, infos, "{text}");
    }
    let sorted = range("sort(up)", MINUTE).unwrap();
    assert_eq!(
        sorted.warnings,
        [
            "PromQL warning: sort is ineffective for range queries since results are always ordered \
          by labels (1:1)"
        ]
    );
    let expr = parse("rate(up[5m])", &ParserOptions::default()).unwrap();
    let unplaced = Engine::default()
        .instant(&store(), &expr, 90_000, &QueryContext::default())
        .unwrap();
    assert!(
        unplaced.infos[0].ends_with("\"up\""),
        "{:?}",
        unplaced.infos
    );
}

#[test]
fn a_query_stops_when_it_is_told_to() {
    for (reason, error, text) in [
        (
            CancelReason::Timeout,
            QueryError::Timeout,
            "query timed out in expression evaluation",
        ),
        (
            CancelReason::Canceled,
            QueryError::Canceled,
            "query was canceled in expression evaluation",
        ),
    ] {
        let cancel = CancelToken::default();
        cancel.cancel(reason);
        let context = QueryContext {
            cancel,
            ..QueryContext::default()
        };
        for query in ["up", "rate(up[5m])", "sum(up)", "time()", "1"] {
            let expr = parse(query, &ParserOptions::default()).unwrap();
            let got = Engine::default().range(&store(), &expr, MINUTE, &context);
            assert_eq!(got.unwrap_err(), error, "{query}");
        }
        assert_eq!(error.to_string(), text);
    }
}

/// A store that cancels the query while its series are read, and counts how many are.
struct CancelsLater {
    inner: MemoryStore,
    cancel: CancelToken,
    after: usize,
    read: Arc<std::sync::atomic::AtomicUsize>,
}

struct Counted {
    inner: Box<dyn Series>,
    cancel: CancelToken,
    after: usize,
    read: Arc<std::sync::atomic::AtomicUsize>,
}

impl Series for Counted {
    fn labels(&self) -> &Labels {
        self.inner.labels()
    }

    fn visit(
        &self,
        visit: &mut dyn FnMut(narthex_storage::Column<'_>),
    ) -> Result<(), StorageError> {
        let read = self.read.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        if read == self.after {
            self.cancel.cancel(CancelReason::Timeout);
        }
        self.inner.visit(visit)
    }
}

impl Queryable for CancelsLater {
    fn select(&self, query: &SelectQuery<'_>) -> Result<Vec<Box<dyn Series>>, StorageError> {
        let series = self.inner.select(query)?;
        let counted = series.into_iter().map(|inner| {
            Box::new(Counted {
                inner,
                cancel: self.cancel.clone(),
                after: self.after,
                read: self.read.clone(),
            }) as Box<dyn Series>
        });
        Ok(counted.collect())
    }

    fn label_names(&self, query: &LabelQuery<'_>) -> Result<Vec<Arc<str>>, StorageError> {
        self.inner.label_names(query)
    }

    fn label_values(
        &self,
        name: &str,
        query: &LabelQuery<'_>,
    ) -> Result<Vec<Arc<str>>, StorageError> {
        self.inner.label_values(name, query)
    }

    fn series(&self, query: &LabelQuery<'_>) -> Result<Vec<Labels>, StorageError> {
        self.inner.series(query)
    }
}

#[test]
fn cancellation_is_seen_from_series_to_series() {
    for text in [
        "m",
        "sum(m)",
        "sum(rate(m[5m]))",
        "topk(3, m)",
        "m and m",
        "m + m",
    ] {
        let inner = MemoryStore::default();
        let mut appender = inner.appender();
        for series in 0..100 {
            let labels =
                Labels::from_pairs([("__name__", "m".to_owned()), ("i", format!("{series}"))]);
            appender.append(&labels, 1000, 1.0).unwrap();
        }
        appender.commit().unwrap();
        let cancel = CancelToken::default();
        let store = CancelsLater {
            inner,
            cancel: cancel.clone(),
            after: 10,
            read: Arc::default(),
        };
        let expr = parse(text, &ParserOptions::default()).unwrap();
        let context = QueryContext {
            cancel,
            ..QueryContext::default()
        };
        let got = Engine::default().range(&store, &expr, MINUTE, &context);
        assert_eq!(got.unwrap_err(), QueryError::Timeout, "{text}");
        let read = store.read.load(std::sync::atomic::Ordering::Relaxed);
        assert!(read <= 12, "{text}: {read} series were read");
    }
}

#[test]
fn memory_is_bounded_by_samples() {
    let engine = |max_samples| {
        Engine::new(EngineOptions {
            max_samples,
            ..EngineOptions::default()
        })
    };
    for (text, max_samples, fits) in [
        ("up", 100, true),
        ("up", 1, false),
        ("up[10m]", 1000, true),
        ("up[10m]", 30, false),
        ("sum_over_time(up[10m])", 30, true),
        ("sum_over_time(up[10m])", 10, false),
        ("sum_over_time(up[100y:1ms])", 1000, false),
        ("vector(1)", 0, false),
    ] {
        let result = instant_with(&engine(max_samples), text, 600_000);
        match result {
            Ok(output) => {
                assert!(fits, "{text} {max_samples}");
                assert!(output.stats.peak_samples <= max_samples, "{text}");
            }
            Err(error) => {
                assert!(!fits, "{text} {max_samples}: {error}");
                let QueryError::TooManySamples { samples, limit } = error else {
                    panic!("{text}: {error}");
                };
                assert_eq!(limit, max_samples);
                assert!(samples > limit, "{text}: {samples}");
                let text = error.to_string();
                let upstream = "query processing would load too many samples into memory in query \
                                execution";
                assert!(text.starts_with(upstream), "{text}");
                assert!(text.ends_with(&format!("the limit is {limit}")), "{text}");
            }
        }
    }
    // A grid of steps that no memory could hold is refused before any of it is made.
    let huge = RangeParams {
        start_ms: i64::MIN,
        end_ms: i64::MAX,
        step_ms: 1,
    };
    for text in [
        "up",
        "time()",
        "vector(1)",
        "count_over_time(up[1h:1s])",
        "absent(up)",
        "topk(1, none)",
        "scalar(none)",
        "none or none",
    ] {
        let error = range(text, huge).unwrap_err();
        let is_too_large = matches!(error, QueryError::TooManySamples { .. });
        assert!(is_too_large, "{text}: {error}");
    }
}

#[test]
fn labels_that_double_again_and_again_are_refused() {
    let memory = Arc::new(QueryMemory::new(1 << 22, 1 << 22, 0));
    let engine = Engine::default().with_memory(memory.clone());
    for (before, after) in [
        ("label_join(", r#", "a", "", "a", "a")"#),
        ("label_replace(", r#", "a", "$1$1", "a", "(.+)")"#),
    ] {
        let times = |depth: usize| {
            let first = r#"label_replace(up, "a", "0123456789", "", "")"#;
            format!("{}{first}{}", before.repeat(depth), after.repeat(depth))
        };
        let fits = instant_with(&engine, &times(10), 600_000).unwrap();
        assert!(show(&fits.value).contains("012345678901234567890"));
        let error = instant_with(&engine, &times(40), 600_000).unwrap_err();
        assert!(error.to_string().contains("limit"), "{error}");
        assert_eq!(memory.held_bytes(), 0);
    }
    let value = "x".repeat(60_000);
    let huge = format!(
        r#"label_replace(up, "a", "{}", "a", "(.*)")"#,
        "$1".repeat(20_000)
    );
    let huge = huge.replace(
        "up",
        &format!(r#"label_replace(up, "a", "{value}", "", "")"#),
    );
    let error = instant_with(&engine, &huge, 600_000)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("label_replace() would give a label value of"),
        "{error}"
    );
}

#[test]
fn statistics_count_what_was_read_and_looked_at() {
    let stats = |text| range(text, MINUTE).unwrap().stats;
    let up = stats("up");
    assert_eq!((up.samples_read, up.total_queryable_samples), (6, 6));
    // Windows of one minute hold 1, 2 and 2 samples of each series, read once.
    let windows = stats("count_over_time(up[1m])");
    assert_eq!(
        (windows.samples_read, windows.total_queryable_samples),
        (6, 10)
    );
    let nothing = stats("1 + 1");
    assert_eq!(
        (nothing.samples_read, nothing.total_queryable_samples),
        (0, 0)
    );
}

/// As Prometheus counts: what is evaluated once for several parts or steps counts for each.
#[test]
fn samples_are_counted_for_each_step() {
    for (text, expected) in [
        ("up", &[2, 2, 2][..]),
        ("up + up", &[4, 4, 4]),
        ("up @ 30", &[2, 2, 2]),
        ("sum(up @ 30) + sum(up)", &[4, 4, 4]),
        ("count_over_time(up[1m])", &[2, 4, 4]),
        ("count_over_time(up[1m] @ 30)", &[4, 4, 4]),
        (
            "count_over_time(up[1m]) / count_over_time(up[1m])",
            &[4, 8, 8],
        ),
        // What a subquery evaluates does not count, but what its windows hold.
        ("sum_over_time(up[1m:30s])", &[2, 4, 4]),
        (
            "sum_over_time(max_over_time(up[1m:30s])[1m:30s])",
            &[2, 4, 4],
        ),
        ("sum_over_time((up + up)[1m:30s] @ 60)", &[4, 4, 4]),
        ("1", &[0, 0, 0]),
    ] {
        let context = QueryContext {
            counts_steps: true,
            ..context(text)
        };
        let expr = parse(text, &ParserOptions::everything()).unwrap();
        let output = Engine::default().range(&store(), &expr, MINUTE, &context);
        let output = output.unwrap();
        let total: u64 = expected.iter().sum();
        assert_eq!(output.stats.total_queryable_samples, total, "{text}");
        assert_eq!(
            output.queryable_per_step.as_deref(),
            Some(expected),
            "{text}"
        );
    }
    for (text, expected) in [("up", 2), ("up[1m]", 4), ("up[1m:30s]", 4)] {
        let output = instant(text, 60_000).unwrap();
        assert_eq!(output.stats.total_queryable_samples, expected, "{text}");
        assert_eq!(output.queryable_per_step, None);
    }
}

#[test]
fn the_lookback_can_be_set_for_one_query() {
    let expr = parse("count(up)", &ParserOptions::default()).unwrap();
    let at = |lookback_delta_ms| {
        let context = QueryContext {
            lookback_delta_ms,
            ..QueryContext::default()
        };
        let output = Engine::default()
            .instant(&store(), &expr, 600_000, &context)
            .unwrap();
        show(&output.value)
    };
    assert_eq!(at(None), "{} 2.0 @600000");
    // The last sample is exactly 30 s old, and the window is open on the left.
    assert_eq!(at(Some(30_000)), "");
    assert_eq!(at(Some(30_001)), "{} 2.0 @600000");
}

/// Whatever the parser lets through is read and evaluated with the stack that threads have.
#[test]
fn deep_expressions_do_not_exhaust_the_stack() {
    // What a thread has, and a quarter of it where frames are as small as those that users get.
    let stack_bytes = match cfg!(debug_assertions) {
        true => 2 << 20,
        false => 512 << 10,
    };
    let small = std::thread::Builder::new().stack_size(stack_bytes);
    let evaluated = small.spawn(evaluate_deep_expressions).unwrap();
    evaluated.join().unwrap();
}

fn evaluate_deep_expressions() {
    let depth = narthex_promql::syntax::MAX_DEPTH - 3;
    for text in [
        vec!["up"; depth].join(" + "),
        vec!["up"; depth].join(" or "),
        format!("{}up", "-".repeat(depth)),
        format!("{}up{}", "(".repeat(depth), ")".repeat(depth)),
        format!("{}up{}", "abs(".repeat(depth), ")".repeat(depth)),
        format!("{}up{}", "sum(".repeat(depth), ")".repeat(depth)),
        format!("{}1{}", "max_of(1,".repeat(depth), ")".repeat(depth)),
        format!(
            "{}up{}",
            "sum_over_time(".repeat(depth / 2),
            "[1m:1m])".repeat(depth / 2)
        ),
        format!("{}up{}", "(up + ".repeat(depth / 2), ")".repeat(depth / 2)),
        vec!["1"; depth].join(" + "),
        // A chain is one level, whatever it is made of.
        vec!["up"; 10_000].join(" + "),
        vec!["up"; 10_000].join(" and "),
        vec!["up"; 10_000].join(" or "),
        format!("up{}", " + 1".repeat(10_000)),
        format!("info(up{})", " - up @ 0".repeat(10_000)),
        vec!["1"; 10_000].join(" + "),
    ] {
        let shown = &text[..text.len().min(40)];
        match range(&text, MINUTE) {
            Ok(_) | Err(QueryError::TooManySamples { .. }) => {}
            Err(error) => panic!("{shown}: {error}"),
        }
    }
    let parentheses = format!("{}up{}", "(".repeat(10_000), ")".repeat(10_000));
    let error = parse(&parentheses, &ParserOptions::default()).unwrap_err();
    assert!(error.to_string().contains("nested too deeply"), "{error}");
}
