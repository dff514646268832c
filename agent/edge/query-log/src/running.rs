//! One query from when it was asked until it has ended.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;

use crate::Queries;
use crate::metrics::Slice;
use crate::statistics::{Samples, Statistics, Timings};

/// What is asked, and by whom.
#[derive(Clone, Debug)]
pub struct Asked {
    pub query: String,
    pub start_ms: i64,
    pub end_ms: i64,
    /// 0 for an instant query.
    pub step_ms: i64,
    pub origin: Origin,
}

#[derive(Clone, Debug)]
pub enum Origin {
    Http {
        client_ip: String,
        method: String,
        path: String,
    },
    RuleGroup {
        file: String,
        name: String,
    },
}

impl Origin {
    pub fn rule_group(file: &Path, name: &str) -> Self {
        Origin::RuleGroup {
            file: file.display().to_string(),
            name: name.to_owned(),
        }
    }
}

/// A query that waits or runs. Dropped before its end, it counts as given up.
pub struct Running {
    queries: Arc<Queries>,
    asked: Asked,
    begun: Instant,
    /// None while it waits.
    started: Option<Instant>,
    slot: Option<u64>,
    ended: bool,
}

impl Running {
    pub(crate) fn new(queries: Arc<Queries>, asked: Asked) -> Self {
        queries.metrics.queries.inc();
        Running {
            queries,
            asked,
            begun: Instant::now(),
            started: None,
            slot: None,
            ended: false,
        }
    }

    /// The wait is over: it runs from now on.
    pub fn start(&mut self) {
        if self.started.is_some() {
            return;
        }
        let now = Instant::now();
        self.started = Some(now);
        self.queries.metrics.observe(Slice::Queue, now - self.begun);
        if let Some(active) = &self.queries.active {
            let now_seconds = Timestamp::now().as_second();
            self.slot = active.enter(&self.asked.query, now_seconds);
        }
    }

    /// It has ended, with the error or well; `preparing` of its time went into finding the series,
    /// where that is known.
    pub fn finish(
        mut self,
        preparing: Option<Duration>,
        samples: Samples,
        error: Option<&str>,
    ) -> Statistics {
        self.end(preparing, samples, error)
    }

    fn end(
        &mut self,
        preparing: Option<Duration>,
        samples: Samples,
        error: Option<&str>,
    ) -> Statistics {
        self.ended = true;
        let metrics = &self.queries.metrics;
        metrics.queries.dec();
        metrics.samples.inc_by(samples.total_queryable_samples);
        metrics.samples_read.inc_by(samples.samples_read);
        let evaluating = self.started.map(|started| started.elapsed());
        if let (Some(active), Some(slot)) = (&self.queries.active, self.slot.take()) {
            active.leave(slot);
        }
        match evaluating {
            Some(total) => {
                if let Some(preparing) = preparing {
                    metrics.observe(Slice::Prepare, preparing);
                }
                let inner = total.saturating_sub(preparing.unwrap_or_default());
                metrics.observe(Slice::InnerEvaluation, inner);
            }
            None => metrics.observe(Slice::Queue, self.begun.elapsed()),
        }
        let statistics = Statistics {
            timings: self.timings(evaluating, preparing.unwrap_or_default()),
            samples,
        };
        if self.queries.log.is_on() && !self.queries.log.write(&self.line(&statistics, error)) {
            self.queries.metrics.log_failures.inc();
        }
        statistics
    }

    fn timings(&self, evaluating: Option<Duration>, preparing: Duration) -> Timings {
        let total = self.begun.elapsed();
        let evaluated = evaluating.unwrap_or_default();
        Timings {
            eval_total_time: evaluated.as_secs_f64(),
            result_sort_time: 0.0,
            query_preparation_time: preparing.as_secs_f64(),
            inner_eval_time: evaluated.saturating_sub(preparing).as_secs_f64(),
            exec_queue_time: total.saturating_sub(evaluated).as_secs_f64(),
            exec_total_time: total.as_secs_f64(),
        }
    }

    fn line(&self, statistics: &Statistics, error: Option<&str>) -> Vec<u8> {
        let now = time_text(Timestamp::now());
        let asked = &self.asked;
        let (http_request, rule_group) = match &asked.origin {
            Origin::Http {
                client_ip,
                method,
                path,
            } => (
                Some(HttpRequest {
                    client_ip,
                    method,
                    path,
                }),
                None,
            ),
            Origin::RuleGroup { file, name } => (None, Some(RuleGroup { file, name })),
        };
        let line = Line {
            time: &now,
            level: "INFO",
            msg: "promql query logged",
            params: Params {
                end: time_text_ms(asked.end_ms),
                query: &asked.query,
                start: time_text_ms(asked.start_ms),
                step: asked.step_ms / 1000,
            },
            error,
            stats: statistics,
            http_request,
            rule_group,
            ts: &now,
        };
        // Nothing in it can fail to be written as JSON.
        let mut text = serde_json::to_vec(&line).unwrap_or_default();
        text.push(b'\n');
        text
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let error = match self.started {
            Some(_) => "the query was given up",
            None => "query was canceled in query queue",
        };
        self.end(None, Samples::default(), Some(error));
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    time: &'a str,
    level: &'a str,
    msg: &'a str,
    params: Params<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    stats: &'a Statistics,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_request: Option<HttpRequest<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule_group: Option<RuleGroup<'a>>,
    /// What `time` was called before Prometheus 3: readers written for that look for it.
    ts: &'a str,
}

#[derive(Serialize)]
struct Params<'a> {
    end: String,
    query: &'a str,
    start: String,
    /// Whole seconds.
    step: i64,
}

#[derive(Serialize)]
struct HttpRequest<'a> {
    #[serde(rename = "clientIP")]
    client_ip: &'a str,
    method: &'a str,
    path: &'a str,
}

#[derive(Serialize)]
struct RuleGroup<'a> {
    file: &'a str,
    name: &'a str,
}

fn time_text(time: Timestamp) -> String {
    format!("{time:.3}")
}

fn time_text_ms(time_ms: i64) -> String {
    match Timestamp::from_millisecond(time_ms) {
        Ok(time) => time_text(time),
        Err(_) => time_ms.to_string(),
    }
}
