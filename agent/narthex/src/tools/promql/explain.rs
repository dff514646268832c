//! `narthex promql explain`: the plan of an expression; with a server, also what each part of it cost
//! there.

use std::io::Write;

use anyhow::{bail, ensure};
use clap::Args;
use narthex_promql::engine::{
    Engine, EvaluationTimes, ExplainedNode, Explanation, Measured, QueryContext, QueryStats,
    RangeParams, Totals,
};
use narthex_promql::syntax::ast::{Span, ValueType};
use serde::Deserialize;

use super::text;
use crate::machine;
use crate::tools::query::{seconds, step_ms, time_ms, told};
use crate::tools::server::{Connection, Server};

#[derive(Args, Debug)]
pub(crate) struct Explain {
    /// The expression; - reads it from standard input.
    expr: String,
    /// A Narthex that evaluates it and measures what each part costs; else the plan alone is shown.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    #[command(flatten)]
    connection: Connection,
    /// When, as RFC 3339 or in seconds since 1970 [default: now].
    #[arg(long, allow_hyphen_values = true, conflicts_with_all = ["start", "end", "step"])]
    time: Option<String>,
    /// From when on, for a range; likewise.
    #[arg(long, allow_hyphen_values = true, requires = "step")]
    start: Option<String>,
    /// Until when [default: now].
    #[arg(long, allow_hyphen_values = true, requires = "start")]
    end: Option<String>,
    /// From one value to the next, as in 30s.
    #[arg(long, value_parser = step_ms, requires = "start")]
    step: Option<i64>,
}

pub(super) fn run(explain: &Explain, out: &mut dyn Write) -> anyhow::Result<()> {
    let times = explain.times()?;
    let explanation = match &explain.server {
        Some(address) => explain.ask(address, times)?,
        None => explain.plan(times)?,
    };
    Ok(out.write_all(explanation.text().as_bytes())?)
}

impl Explain {
    fn times(&self) -> anyhow::Result<EvaluationTimes> {
        let given = |name, text: &Option<String>| match text {
            Some(text) => time_ms(name, text),
            None => Ok(machine::now_ms()),
        };
        let (Some(start), Some(step_ms)) = (&self.start, self.step) else {
            return given("time", &self.time).map(EvaluationTimes::Instant);
        };
        let range = RangeParams {
            start_ms: time_ms("start", start)?,
            end_ms: given("end", &self.end)?,
            step_ms,
        };
        ensure!(range.start_ms <= range.end_ms, "--start is after --end");
        Ok(EvaluationTimes::Range(range))
    }

    fn plan(&self, times: EvaluationTimes) -> anyhow::Result<Explanation> {
        let (text, expr) = text::parse(&self.expr)?;
        let is_range = matches!(times, EvaluationTimes::Range(_));
        let has_steps = matches!(
            expr.value_type(),
            ValueType::Scalar | ValueType::InstantVector
        );
        if is_range && !has_steps {
            let kind = expr.value_type().documented();
            bail!("a {kind} can't be evaluated over a range, only a scalar or an instant vector");
        }
        let context = QueryContext {
            text,
            ..QueryContext::default()
        };
        Ok(Engine::default().plan(&expr, times, &context)?)
    }

    fn ask(&self, address: &str, times: EvaluationTimes) -> anyhow::Result<Explanation> {
        let mut parameters = vec![("query", text::given(&self.expr)?)];
        match times {
            EvaluationTimes::Instant(time_ms) => parameters.push(("time", seconds(time_ms))),
            EvaluationTimes::Range(range) => parameters.extend([
                ("start", seconds(range.start_ms)),
                ("end", seconds(range.end_ms)),
                ("step", seconds(range.step_ms)),
            ]),
        }
        let pairs = parameters.iter();
        let pairs: Vec<(&str, &str)> = pairs.map(|(name, text)| (*name, text.as_str())).collect();
        let server = Server::new(address, &self.connection)?;
        let answer: Answered = told(server.post(&["narthex", "explain"], &pairs)?);
        Ok(answer.into())
    }
}

/// What a server answers.
#[derive(Deserialize)]
struct Answered {
    totals: Option<AnsweredTotals>,
    nodes: Vec<AnsweredNode>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnsweredTotals {
    seconds: f64,
    samples_read: u64,
    total_queryable_samples: u64,
    peak_samples: u64,
    peak_bytes: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnsweredNode {
    id: usize,
    inputs: Vec<usize>,
    operation: String,
    position: AnsweredPosition,
    steps: usize,
    once: bool,
    consumers: usize,
    same_as: Option<usize>,
    measured: Option<AnsweredMeasured>,
}

#[derive(Deserialize)]
struct AnsweredPosition {
    start: usize,
    end: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnsweredMeasured {
    series_in: u64,
    series: u64,
    values: u64,
    samples_read: u64,
    peak_bytes: u64,
    own_seconds: f64,
    total_seconds: f64,
}

impl From<Answered> for Explanation {
    fn from(answered: Answered) -> Self {
        let mut nodes: Vec<ExplainedNode> = answered.nodes.into_iter().map(Into::into).collect();
        nodes.sort_by_key(|node| node.id);
        Explanation {
            nodes,
            totals: answered.totals.map(|totals| Totals {
                time_ns: nanoseconds(totals.seconds),
                stats: QueryStats {
                    samples_read: totals.samples_read,
                    total_queryable_samples: totals.total_queryable_samples,
                    peak_samples: totals.peak_samples,
                },
                peak_bytes: totals.peak_bytes,
            }),
        }
    }
}

impl From<AnsweredNode> for ExplainedNode {
    fn from(node: AnsweredNode) -> Self {
        ExplainedNode {
            id: node.id,
            operation: node.operation,
            span: Span::new(node.position.start, node.position.end),
            inputs: node.inputs,
            steps: node.steps,
            once: node.once,
            same_as: node.same_as,
            consumers: node.consumers,
            measured: node.measured.map(|measured| Measured {
                series_in: measured.series_in,
                series: measured.series,
                values: measured.values,
                samples_read: measured.samples_read,
                peak_bytes: measured.peak_bytes,
                own_ns: nanoseconds(measured.own_seconds),
                total_ns: nanoseconds(measured.total_seconds),
            }),
        }
    }
}

fn nanoseconds(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}
