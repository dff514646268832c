//! What the plan of a query saves, and how it is explained.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test: what fails must stop it"
)]

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use narthex_model::Labels;
use narthex_promql::syntax::ast::Expr;
use narthex_promql::syntax::{ParserOptions, parse};
use narthex_promql::{
    Clock, Engine, EngineOptions, EvaluationTimes, Explanation, QueryContext, QueryOutput,
    RangeParams,
};
use narthex_storage::memory::MemoryStore;
use narthex_storage::{
    Appendable, Column, LabelQuery, Queryable, SelectQuery, Series, StorageError,
};

const SERIES: usize = 100;

const STEPS: RangeParams = RangeParams {
    start_ms: 300_000,
    end_ms: 600_000,
    step_ms: 60_000,
};

const TIMES: EvaluationTimes = EvaluationTimes::Range(STEPS);

/// Counts how often series are looked up, and how many are read.
struct Counting {
    inner: MemoryStore,
    selects: AtomicUsize,
    reads: Arc<AtomicUsize>,
}

impl Counting {
    /// A sample of each series every 30 s for ten minutes.
    fn new() -> Self {
        let inner = MemoryStore::default();
        let mut appender = inner.appender();
        for series in 0..SERIES {
            for name in ["m_total", "n_total"] {
                let labels = Labels::from_pairs([
                    ("__name__", name.to_owned()),
                    ("i", series.to_string()),
                    ("half", (series % 2).to_string()),
                ]);
                for sample in 0..20_i32 {
                    let value = f64::from(sample) + series as f64;
                    let time_ms = i64::from(sample) * 30_000;
                    appender.append(&labels, time_ms, value).unwrap();
                }
            }
        }
        appender.commit().unwrap();
        Counting {
            inner,
            selects: AtomicUsize::new(0),
            reads: Arc::default(),
        }
    }

    /// How many since the last time.
    fn counts(&self) -> (usize, usize) {
        let take = |count: &AtomicUsize| count.swap(0, Ordering::Relaxed);
        (take(&self.selects), take(&self.reads))
    }
}

struct CountedSeries {
    inner: Box<dyn Series>,
    reads: Arc<AtomicUsize>,
}

impl Series for CountedSeries {
    fn labels(&self) -> &Labels {
        self.inner.labels()
    }

    fn visit(&self, visit: &mut dyn FnMut(Column<'_>)) -> Result<(), StorageError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.inner.visit(visit)
    }
}

impl Queryable for Counting {
    fn select(&self, query: &SelectQuery<'_>) -> Result<Vec<Box<dyn Series>>, StorageError> {
        self.selects.fetch_add(1, Ordering::Relaxed);
        let series = self.inner.select(query)?.into_iter().map(|inner| {
            Box::new(CountedSeries {
                inner,
                reads: self.reads.clone(),
            }) as Box<dyn Series>
        });
        Ok(series.collect())
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

fn parsed(text: &str) -> Expr {
    parse(text, &ParserOptions::everything()).unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn run(engine: &Engine, store: &Counting, text: &str) -> QueryOutput {
    let output = engine.range(store, &parsed(text), STEPS, &QueryContext::default());
    output.unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// In look-ups, and in readings of all series of a metric.
#[test]
fn what_is_asked_twice_is_read_once() {
    let store = Counting::new();
    let optimised = Engine::default();
    let plain = optimised.clone().without_optimiser();
    for (text, optimal, as_written) in [
        ("m_total / m_total", (1, 1), (2, 2)),
        (
            "sum(rate(m_total[5m])) / sum(rate(m_total[5m]))",
            (1, 1),
            (2, 2),
        ),
        (
            "sum by (half) (rate(m_total[5m])) / on () group_left () sum(rate(m_total[5m]))",
            (1, 1),
            (2, 2),
        ),
        ("m_total and m_total > 5", (1, 1), (2, 2)),
        ("m_total > 5 and on () sum(m_total) > 2", (1, 1), (2, 2)),
        ("m_total unless on () m_total > 1e9", (1, 1), (2, 2)),
        ("m_total * m_total + m_total", (1, 1), (3, 3)),
        (
            "scalar(sum(m_total)) + scalar(sum(m_total))",
            (1, 1),
            (2, 2),
        ),
        (
            "max_over_time(m_total[5m:1m]) - min_over_time(m_total[5m:1m])",
            (1, 1),
            (2, 2),
        ),
        // Looked up once, read for each function.
        ("rate(m_total[5m]) + increase(m_total[5m])", (1, 2), (2, 2)),
        ("m_total / n_total", (2, 2), (2, 2)),
        ("m_total - m_total offset 1m", (2, 2), (2, 2)),
    ] {
        let expected = run(&plain, &store, text);
        let (selects, reads) = store.counts();
        assert_eq!((selects, reads / SERIES), as_written, "{text}");
        let got = run(&optimised, &store, text);
        let (selects, reads) = store.counts();
        assert_eq!((selects, reads / SERIES), optimal, "{text}");
        assert_eq!(got.value, expected.value, "{text}");
    }
}

/// Where there is no room to keep anything it is read again, and not refused.
#[test]
fn what_can_not_be_kept_is_read_again() {
    let store = Counting::new();
    let text = "m_total > 100 and on () sum(m_total) > 2";
    let engine = |max_samples| {
        Engine::new(EngineOptions {
            max_samples,
            ..EngineOptions::default()
        })
    };
    let expected = run(&engine(1_000_000), &store, text);
    assert_eq!(store.counts(), (1, SERIES));
    // There is room for 50 of the 100 series.
    let got = run(&engine(300), &store, text);
    let (selects, reads) = store.counts();
    assert_eq!(selects, 2);
    assert!(reads > SERIES, "{reads}");
    assert_eq!(got.value, expected.value);
}

/// A microsecond passes whenever somebody looks.
struct Ticking(Cell<u64>);

impl Clock for Ticking {
    fn now_ns(&self) -> u64 {
        self.0.set(self.0.get() + 1000);
        self.0.get()
    }
}

fn explained(text: &str) -> (QueryOutput, Explanation) {
    let clock = Ticking(Cell::new(0));
    let (store, expr) = (Counting::new(), parsed(text));
    let explained =
        Engine::default().explain(&store, &expr, TIMES, &QueryContext::default(), &clock);
    let explained = explained.unwrap();
    (explained.output, explained.explanation)
}

#[test]
fn an_explained_query_says_what_each_part_cost() {
    let text = "sum by (half) (rate(m_total[5m])) / on (half) sum by (half) (rate(m_total[5m]))";
    let (output, explanation) = explained(text);
    let expected = run(&Engine::default(), &Counting::new(), text);
    assert_eq!(output.value, expected.value);

    let shown: Vec<_> = explanation
        .walk()
        .into_iter()
        .map(|(depth, node)| (depth, node.id, node.operation.as_str(), node.same_as))
        .collect();
    assert_eq!(
        shown,
        [
            (0, 6, "/ on (half)", None),
            (1, 2, "sum by (half)", None),
            (2, 1, "rate", None),
            (3, 0, "m_total over 5m", None),
            (1, 5, "sum by (half)", Some(2)),
        ]
    );
    let node = |id| explanation.node(id).unwrap();
    let measured = |id| node(id).measured.unwrap();
    assert_eq!(node(2).consumers, 2);
    assert_eq!((measured(0).series, measured(1).series_in), (100, 100));
    assert_eq!((measured(1).series, measured(2).series), (100, 2));
    assert_eq!((measured(6).series_in, measured(6).series), (4, 2));
    // Two series at six steps.
    assert_eq!((measured(2).values, measured(6).values), (12, 12));
    assert_eq!(node(5).measured, None);

    let totals = explanation.totals.unwrap();
    let nodes = explanation.nodes.iter().filter_map(|node| node.measured);
    let (mut samples, mut own_ns) = (0, 0);
    for measured in nodes {
        samples += measured.samples_read;
        own_ns += measured.own_ns;
        assert!(measured.own_ns > 0 && measured.total_ns >= measured.own_ns);
        assert!(measured.peak_bytes <= totals.peak_bytes);
    }
    assert_eq!(samples, totals.stats.samples_read);
    assert_eq!(measured(6).total_ns, own_ns);
    assert!(own_ns <= totals.time_ns);
    assert!(measured(1).peak_bytes > 0);
}

#[test]
fn a_plan_can_be_seen_without_a_store() {
    for (text, expected) in [
        (
            "m_total @ 5 > 1 + 1",
            "node               id  steps\n\
             >  [once]           4      1\n\
             \x20 m_total @ 5.000   0      1\n\
             \x20 2                 3      1\n",
        ),
        (
            "max_over_time(m_total[5m:30s]) and m_total",
            "node                            id  steps\n\
             and                              4      6\n\
             \x20 max_over_time                  2      6\n\
             \x20   subquery over 5m every 30s   1      6\n\
             \x20     m_total                    0     20\n\
             \x20 m_total                        3      6\n",
        ),
    ] {
        let expr = parsed(text);
        let plan = Engine::default().plan(&expr, TIMES, &QueryContext::default());
        let plan = plan.unwrap();
        assert_eq!(plan.text(), expected, "{text}");
        assert_eq!(plan.totals, None);
    }
    // The same plan as that of the query that ran.
    let text = "sum(m_total) / (sum(m_total) + 1)";
    let (_, mut explanation) = explained(text);
    for node in &mut explanation.nodes {
        node.measured = None;
    }
    let expr = parsed(text);
    let plan = Engine::default().plan(&expr, TIMES, &QueryContext::default());
    assert_eq!(plan.unwrap().nodes, explanation.nodes);
}
