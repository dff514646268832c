//! What must hold for any data and any expression. Each test prints the seed of what fails; set
//! PROMQL_SEED to run that one alone.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test: what fails must stop it"
)]

#[path = "properties/generate.rs"]
mod generate;
#[path = "properties/naive.rs"]
mod naive;

use std::collections::BTreeMap;
use std::sync::Arc;

use narthex_model::{Histogram, Labels, SampleValue};
use narthex_promql::syntax::ParserOptions;
use narthex_promql::{
    Clock, Engine, EngineOptions, EvaluationTimes, QueryContext, QueryError, QueryMemory,
    QueryOutput, QueryValue, RangeParams, Workers, syntax,
};
use narthex_storage::memory::MemoryStore;

use generate::Random;

const STEPS: RangeParams = RangeParams {
    start_ms: 100_000,
    end_ms: 700_000,
    step_ms: 37_000,
};

fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("PROMQL_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (0..count).collect(),
    }
}

type Values = BTreeMap<Labels, Bits>;

/// What a function gives for a window at a time.
type Defined<'d> = &'d dyn Fn(&[(i64, f64)], i64) -> Option<f64>;

/// A value that is equal only to the very same.
#[derive(Clone, Debug, PartialEq)]
enum Bits {
    Float(u64),
    Histogram(String),
}

impl From<f64> for Bits {
    fn from(value: f64) -> Self {
        Bits::Float(bits(value))
    }
}

impl From<&Histogram> for Bits {
    fn from(histogram: &Histogram) -> Self {
        Bits::Histogram(format!("{histogram:?}"))
    }
}

/// Bits, so that equal means equal; all NaN are one.
fn bits(value: f64) -> u64 {
    if value.is_nan() { 0 } else { value.to_bits() }
}

fn instant(
    engine: &Engine,
    store: &MemoryStore,
    text: &str,
    time_ms: i64,
) -> Result<Values, QueryError> {
    let expr =
        syntax::parse(text, &ParserOptions::everything()).unwrap_or_else(|e| panic!("{text}: {e}"));
    let output = engine.instant(store, &expr, time_ms, &QueryContext::default())?;
    Ok(match output.value {
        QueryValue::Scalar { value, .. } => BTreeMap::from([(Labels::empty(), value.into())]),
        QueryValue::Vector(samples) => samples
            .into_iter()
            .map(|sample| match sample.value {
                SampleValue::Float(value) => (sample.labels, value.into()),
                SampleValue::Histogram(histogram) => (sample.labels, (&*histogram).into()),
            })
            .collect(),
        other => panic!("{text}: {other:?}"),
    })
}

/// The values at each step.
fn range(
    engine: &Engine,
    store: &MemoryStore,
    text: &str,
) -> Result<BTreeMap<i64, Values>, QueryError> {
    let expr =
        syntax::parse(text, &ParserOptions::everything()).unwrap_or_else(|e| panic!("{text}: {e}"));
    let output = engine.range(store, &expr, STEPS, &QueryContext::default())?;
    let QueryValue::Matrix(series) = output.value else {
        panic!("{text}: no matrix");
    };
    let mut steps: BTreeMap<i64, Values> = BTreeMap::new();
    for series in series {
        for (time_ms, value) in series.points {
            let values = steps.entry(time_ms).or_default();
            values.insert(series.labels.clone(), value.into());
        }
        for (time_ms, histogram) in series.histograms {
            let values = steps.entry(time_ms).or_default();
            let before = values.insert(series.labels.clone(), (&*histogram).into());
            assert_eq!(before, None, "{text}: a float and a histogram at {time_ms}");
        }
    }
    Ok(steps)
}

fn times() -> impl Iterator<Item = i64> {
    (STEPS.start_ms..=STEPS.end_ms).step_by(usize::try_from(STEPS.step_ms).unwrap())
}

#[test]
fn a_range_query_gives_at_each_step_what_an_instant_query_gives() {
    let (mut compared, mut failing) = (0, 0);
    for seed in seeds(600) {
        let mut random = Random::new(seed);
        let store = generate::store(&mut random);
        let text = generate::expression(&mut random);
        let engine = Engine::new(EngineOptions {
            delayed_name_removal: random.chance(4),
            ..EngineOptions::default()
        });
        let whole = range(&engine, &store, &text);
        let single: Vec<_> = times()
            .map(|time_ms| (time_ms, instant(&engine, &store, &text, time_ms)))
            .collect();
        let whole = match whole {
            Ok(whole) => whole,
            // Series that never have a value at the same step may be alike over a range only.
            Err(error) => {
                assert!(matches!(error, QueryError::Execution(_)), "{text}: {error}");
                failing += 1;
                continue;
            }
        };
        for (time_ms, single) in single {
            let single = single
                .unwrap_or_else(|e| panic!("seed {seed}: {text} at {time_ms}: only instant: {e}"));
            let at_step = whole.get(&time_ms).cloned().unwrap_or_default();
            assert_eq!(at_step, single, "seed {seed}: {text} at {time_ms}");
            compared += single.len();
        }
    }
    println!("{compared} values, {failing} expressions failed");
    assert!(std::env::var("PROMQL_SEED").is_ok() || compared > 5_000);
}

#[test]
fn functions_of_ranges_agree_with_their_definitions() {
    let engine = Engine::new(EngineOptions::default());
    for seed in seeds(300) {
        let mut random = Random::new(seed);
        let store = MemoryStore::default();
        let mut samples = generate::samples(&mut random);
        // Whole numbers small and large: their sums are exact, or hardly not.
        let scale = [None, Some(1.0), Some(1e13)][usize::try_from(random.below(3)).unwrap()];
        for (_, value) in samples.iter_mut().filter(|(_, v)| v.is_finite()) {
            *value = scale.map_or(*value, |scale: f64| value.round() * scale);
        }
        generate::append(&store, &Labels::from_pairs([("__name__", "m")]), &samples);
        let range_ms = 1000 * (1 + random.below(200));
        let check = |text: &str, definition: Defined<'_>| {
            let got = range(&engine, &store, text).unwrap();
            for time_ms in times() {
                let window = naive::window(&samples, time_ms, i64::try_from(range_ms).unwrap());
                let expected = if window.is_empty() {
                    None
                } else {
                    definition(&window, time_ms).map(Bits::from)
                };
                let got = got.get(&time_ms).and_then(|values| values.values().next());
                assert_eq!(got.cloned(), expected, "seed {seed}: {text} at {time_ms}");
            }
        };
        for (name, definition) in naive::DEFINITIONS {
            let text = format!("{name}(m[{range_ms}ms])");
            check(&text, &|window, _| definition(window));
        }
        for (call, definition) in naive::DEFINITIONS_WITH {
            let text = call.replace("m)", &format!("m[{range_ms}ms])"));
            let text = text.replace("m,", &format!("m[{range_ms}ms],"));
            check(&text, definition);
        }
    }
}

/// Queries that ask for more than they may hold fail with that error and nothing else.
#[test]
fn the_sample_limit_holds() {
    for seed in seeds(300) {
        let mut random = Random::new(seed);
        let store = generate::store(&mut random);
        let text = generate::expression(&mut random);
        let limited = |max_samples| {
            Engine::new(EngineOptions {
                max_samples,
                ..EngineOptions::default()
            })
        };
        let Ok(expected) = range(&limited(1_000_000), &store, &text) else {
            continue;
        };
        match range(&limited(random.below(400)), &store, &text) {
            Ok(got) => assert_eq!(got, expected, "seed {seed}: {text}"),
            Err(QueryError::TooManySamples { .. }) => {}
            Err(error) => panic!("seed {seed}: {text}: {error}"),
        }
    }
}

/// Whatever a query asks for, it gets its result or a refusal that says why, and gives all back.
#[test]
fn the_memory_limits_hold() {
    let mut refused = 0;
    for seed in seeds(300) {
        let mut random = Random::new(seed);
        let store = generate::store(&mut random);
        let text = generate::expression(&mut random);
        let plain = Engine::new(EngineOptions::default());
        let Ok(expected) = range(&plain, &store, &text) else {
            continue;
        };
        let memory = Arc::new(QueryMemory::new(random.below(16_000), 8_000, 2_000));
        let limited = plain.with_memory(memory.clone());
        let of_query = range(&limited, &store, &text);
        let of_rule = range(&limited.for_rules(), &store, &text);
        assert!(of_query.is_err() || of_rule.is_ok(), "seed {seed}: {text}");
        for got in [of_query, of_rule] {
            match got {
                Ok(got) => assert_eq!(got, expected, "seed {seed}: {text}"),
                Err(error) => {
                    let error = error.to_string();
                    assert!(error.contains("bytes in memory"), "seed {seed}: {error}");
                    refused += 1;
                }
            }
        }
        assert_eq!(memory.held_bytes(), 0, "seed {seed}: {text}");
    }
    assert!(std::env::var("PROMQL_SEED").is_ok() || refused > 50);
}

/// All that a query says, its values to the last digit.
fn everything(
    engine: &Engine,
    store: &MemoryStore,
    text: &str,
    is_range: bool,
) -> Result<Said, QueryError> {
    let expr =
        syntax::parse(text, &ParserOptions::everything()).unwrap_or_else(|e| panic!("{text}: {e}"));
    let context = QueryContext {
        text: text.to_owned(),
        ..QueryContext::default()
    };
    let output = if is_range {
        engine.range(store, &expr, STEPS, &context)?
    } else {
        engine.instant(store, &expr, STEPS.end_ms, &context)?
    };
    Ok(said(output))
}

type Said = (String, Vec<String>, Vec<String>);

fn said(output: QueryOutput) -> Said {
    let value = format!("{:?}", output.value);
    (value, output.warnings, output.infos)
}

struct Stopped;

impl Clock for Stopped {
    fn now_ns(&self) -> u64 {
        0
    }
}

/// The same of a query that is explained.
fn explained(
    engine: &Engine,
    store: &MemoryStore,
    text: &str,
    is_range: bool,
) -> Result<Said, QueryError> {
    let expr = syntax::parse(text, &ParserOptions::everything()).unwrap();
    let context = QueryContext {
        text: text.to_owned(),
        ..QueryContext::default()
    };
    let times = match is_range {
        true => EvaluationTimes::Range(STEPS),
        false => EvaluationTimes::Instant(STEPS.end_ms),
    };
    let explained = engine.explain(store, &expr, times, &context, &Stopped)?;
    Ok(said(explained.output))
}

#[test]
fn what_is_evaluated_once_gives_what_it_gives_twice() {
    let (mut succeeded, mut told) = (0, 0);
    for seed in seeds(1500) {
        let mut random = Random::new(seed);
        let store = generate::store(&mut random);
        let text = match random.chance(5) {
            true => generate::expression(&mut random),
            false => generate::repetitive_expression(&mut random),
        };
        let optimised = Engine::new(EngineOptions {
            delayed_name_removal: random.chance(4),
            ..EngineOptions::default()
        });
        let plain = optimised.clone().without_optimiser();
        for is_range in [true, false] {
            let expected = everything(&plain, &store, &text, is_range);
            let got = everything(&optimised, &store, &text, is_range);
            assert_eq!(got, expected, "seed {seed}: {text}");
            if seed % 8 == 0 {
                let got = explained(&optimised, &store, &text, is_range);
                assert_eq!(got, expected, "seed {seed}, explained: {text}");
            }
            if let Ok((_, warnings, infos)) = expected {
                succeeded += 1;
                told += usize::from(!warnings.is_empty() || !infos.is_empty());
            }
        }
    }
    println!("{succeeded} succeeded, {told} told something");
    assert!(std::env::var("PROMQL_SEED").is_ok() || (succeeded > 1000 && told > 300));
}

/// What is kept to save work is given up before a query is refused.
#[test]
fn a_query_that_fits_is_not_refused_for_being_optimised() {
    let mut tight = 0;
    for seed in seeds(400) {
        let mut random = Random::new(seed);
        let store = generate::store(&mut random);
        let text = generate::repetitive_expression(&mut random);
        let max_samples = random.below(600);
        let optimised = Engine::new(EngineOptions {
            max_samples,
            ..EngineOptions::default()
        });
        let plain = optimised.clone().without_optimiser();
        let Ok(expected) = everything(&plain, &store, &text, true) else {
            continue;
        };
        let got = everything(&optimised, &store, &text, true);
        assert_eq!(got, Ok(expected), "seed {seed}, {max_samples}: {text}");
        tight += 1;
    }
    assert!(
        std::env::var("PROMQL_SEED").is_ok() || tight > 50,
        "{tight}"
    );
}

/// As many threads as there are tasks, the last task first.
#[derive(Debug)]
struct Threads;

impl Workers for Threads {
    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        std::thread::scope(|scope| {
            for number in (0..tasks).rev() {
                scope.spawn(move || task(number));
            }
        });
    }
}

#[test]
fn any_number_of_threads_gives_the_same() {
    let sequential = Engine::new(EngineOptions::default());
    let parallel = sequential.clone().with_workers(Arc::new(Threads));
    for seed in seeds(10) {
        let mut random = Random::new(seed);
        let store = MemoryStore::default();
        for series in 0..500 {
            let labels = Labels::from_pairs([
                ("__name__", "m".to_owned()),
                ("a", format!("{}", series % 7)),
                ("b", format!("{series}")),
            ]);
            generate::append(&store, &labels, &generate::samples(&mut random));
        }
        for text in [
            "m",
            "sum by (a) (m)",
            "sum(rate(m[2m]))",
            "avg without (b) (avg_over_time(m[90s]))",
            "stddev by (a) (quantile_over_time(0.3, m[3m]))",
            "topk by (a) (2, increase(m[3m]))",
            "limitk(70, m)",
            "max_over_time(sum by (a) (irate(m[2m]))[5m:30s])",
            "rate(m[1m]) / on (b) group_left m",
        ] {
            let expected = range(&sequential, &store, text);
            let got = range(&parallel, &store, text);
            assert_eq!(got, expected, "seed {seed}: {text}");
        }
    }
}
