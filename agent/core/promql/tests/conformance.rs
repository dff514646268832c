//! Prometheus's own PromQL test scripts, each evaluation in all the ways Prometheus runs it, and
//! once more without delayed name removal, as it is off in production; and scripts of our own.
//!
//! What the engine doesn't do yet stands in `not-yet.txt`: how many evaluations are refused for
//! which reason, and single evaluations that fail for another one. The test fails if that list and
//! the truth differ in either direction, so it can only get shorter.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test: what fails must stop it"
)]

#[path = "conformance/compare.rs"]
mod compare;
#[path = "conformance/load.rs"]
mod load;
#[path = "conformance/not_yet.rs"]
mod not_yet;
#[path = "conformance/rewrite.rs"]
mod rewrite;

use std::path::{Path, PathBuf};

use narthex_promql::syntax::ParserOptions;
use narthex_promql::syntax::ast::Expr;
use narthex_promql::testlang::{Command, Eval, EvalTimes, Expected, parse_script};
use narthex_promql::{
    Engine, EngineOptions, QueryContext, QueryError, QueryOutput, RangeParams, syntax,
};
use narthex_storage::memory::MemoryStore;

use not_yet::{Mode, NotYet};

/// How one evaluation went.
#[derive(Debug)]
enum Outcome {
    Passed,
    /// The engine said that it lacks this.
    Refused(String),
    Failed(String),
}

#[test]
fn prometheus_test_scripts() {
    let Some(dir) = std::env::var_os("CONFORMANCE_DIR") else {
        println!("skipped: CONFORMANCE_DIR is not set");
        return;
    };
    let files = script_files(&PathBuf::from(dir).join("promql"));
    assert_eq!(files.len(), 21, "scripts in the corpus");
    let mut found = NotYet::default();
    let mut evaluations = 0;
    for mode in Mode::ALL {
        for file in &files {
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            for (line, outcome) in run_script(file, mode) {
                evaluations += 1;
                match outcome {
                    Outcome::Passed => {}
                    Outcome::Refused(reason) => found.refused(mode, &reason),
                    Outcome::Failed(reason) => found.failed(mode, &name, line, &reason),
                }
            }
        }
    }
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/not-yet.txt");
    let known = NotYet::read(&list);
    println!("{evaluations} evaluations, {} not yet", found.total());
    if let Some(difference) = found.difference(&known) {
        panic!("{difference}");
    }
}

/// What Prometheus's scripts leave out.
#[test]
fn own_test_scripts() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut failures = Vec::new();
    for file in script_files(&dir) {
        for (line, outcome) in run_script(&file, Mode::Delayed) {
            if !matches!(outcome, Outcome::Passed) {
                failures.push(format!("{}:{line}: {outcome:?}", file.display()));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn script_files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "test"))
        .collect();
    files.sort();
    files
}

/// Each evaluation's line and how it went.
fn run_script(file: &Path, mode: Mode) -> Vec<(usize, Outcome)> {
    let text = std::fs::read_to_string(file).unwrap();
    let commands = parse_script(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let engine = Engine::new(EngineOptions {
        max_samples: 10_000,
        delayed_name_removal: mode == Mode::Delayed,
        use_start_timestamps: true,
        ..EngineOptions::default()
    });
    let store = MemoryStore::default();
    let mut outcomes = Vec::new();
    for command in &commands {
        match command {
            Command::Clear => store.clear(),
            Command::Load(load) => {
                load::load(&store, load)
                    .unwrap_or_else(|e| panic!("{}:{}: {e}", file.display(), load.line));
            }
            Command::Eval(eval) => {
                let outcome = Runner {
                    engine: &engine,
                    store: &store,
                    eval,
                }
                .run();
                outcomes.push((eval.line, outcome));
            }
        }
    }
    outcomes
}

struct Runner<'a> {
    engine: &'a Engine,
    store: &'a MemoryStore,
    eval: &'a Eval,
}

/// One way to run an evaluation.
struct Run {
    expr: Expr,
    text: String,
    at_ms: i64,
}

impl Runner<'_> {
    fn run(&self) -> Outcome {
        match self.eval.times {
            EvalTimes::Range(times) => {
                let params = RangeParams {
                    start_ms: times.start_ms,
                    end_ms: times.end_ms,
                    step_ms: times.step_ms,
                };
                let run = self.original(times.start_ms);
                let result = self.range(&run, params);
                self.judge(&run, result, |output| {
                    compare::range(output, params, &self.eval.expected)
                })
            }
            EvalTimes::Instant { at_ms } => self.instants(at_ms),
        }
    }

    fn original(&self, at_ms: i64) -> Run {
        Run {
            expr: self.eval.expr.clone(),
            text: self.eval.text.clone(),
            at_ms,
        }
    }

    /// The original, the rewritten ones at other times, and each of them as a range query.
    fn instants(&self, at_ms: i64) -> Outcome {
        let mut runs = vec![self.original(at_ms)];
        if let Some(expr) = rewrite::pinned(&self.eval.expr, at_ms) {
            let text = expr.to_string();
            let expr = syntax::parse(&text, &ParserOptions::everything());
            let expr = match expr {
                Ok(expr) => expr,
                Err(error) => return Outcome::Failed(format!("{text}: {error}")),
            };
            runs.extend(rewrite::times(at_ms).into_iter().map(|at_ms| Run {
                expr: expr.clone(),
                text: text.clone(),
                at_ms,
            }));
        }
        for run in &runs {
            let outcome = self.instant_and_range(run);
            if !matches!(outcome, Outcome::Passed) {
                return outcome;
            }
        }
        Outcome::Passed
    }

    fn instant_and_range(&self, run: &Run) -> Outcome {
        let result = self
            .engine
            .instant(self.store, &run.expr, run.at_ms, &self.context(run));
        let outcome = self.judge(run, result, |output| {
            compare::instant(output, &self.eval.expected, self.eval.ordered)
        });
        if !matches!(outcome, Outcome::Passed) || !self.has_range_run(run) {
            return outcome;
        }
        let params = RangeParams {
            start_ms: run.at_ms - 60_000,
            end_ms: run.at_ms + 60_000,
            step_ms: 60_000,
        };
        match self.range(run, params) {
            Err(QueryError::NotSupported(what)) => Outcome::Refused(what),
            Err(error) => Outcome::Failed(format!("as a range query: {error}")),
            Ok(_) if self.eval.ordered => Outcome::Passed,
            Ok(output) => match compare::at_time(&output, run.at_ms, &self.eval.expected) {
                Ok(()) => Outcome::Passed,
                Err(why) => Outcome::Failed(format!("{} as a range query: {why}", run.text)),
            },
        }
    }

    fn has_range_run(&self, run: &Run) -> bool {
        let range_type = matches!(
            self.eval.expected,
            Expected::RangeVector(..) | Expected::String(_)
        );
        let text = &run.text;
        let depends = ["start()", "end()", "range()", "step()"]
            .iter()
            .any(|call| text.contains(call));
        self.eval.fail.is_none() && !range_type && !depends
    }

    fn range(&self, run: &Run, params: RangeParams) -> Result<QueryOutput, QueryError> {
        self.engine
            .range(self.store, &run.expr, params, &self.context(run))
    }

    fn context(&self, run: &Run) -> QueryContext {
        QueryContext {
            text: run.text.clone(),
            ..QueryContext::default()
        }
    }

    fn judge(
        &self,
        run: &Run,
        result: Result<QueryOutput, QueryError>,
        compare: impl Fn(&QueryOutput) -> Result<(), String>,
    ) -> Outcome {
        let at = run.at_ms;
        let failed = |why: String| Outcome::Failed(format!("{} at {at}: {why}", run.text));
        let output = match (result, &self.eval.fail) {
            (Err(QueryError::NotSupported(what)), _) => return Outcome::Refused(what),
            (Err(error), None) => return failed(error.to_string()),
            (Err(error), Some(expected)) if expected.matches(&error.to_string()) => {
                return Outcome::Passed;
            }
            (Err(error), Some(expected)) => {
                return failed(format!("the error is {error}, expected {expected}"));
            }
            (Ok(_), Some(_)) => return failed("it should fail".to_owned()),
            (Ok(output), None) => output,
        };
        let checked = compare::annotations(&output, self.eval).and_then(|()| compare(&output));
        match checked {
            Ok(()) => Outcome::Passed,
            Err(why) => failed(why),
        }
    }
}
