//! The task of one group: waits for its times and evaluates.
//!
//! A group is moved to a blocking thread for each rule and back, so nothing is locked while a
//! query runs; what the API shows is a copy that is renewed after each evaluation. Keeps true: a
//! group never overlaps itself, and one that is replaced hands its state over only once its last
//! evaluation has ended.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use narthex_extension::{AlertScript, EvaluateContext, ScriptError};
use narthex_model::{CancelReason, CancelToken, LabelsBuilder};
use narthex_rules::{AlertNotice, Failure, Group, GroupConfig, GroupStatus, RuleOutput, RuleQuery};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::account::Account;
use crate::append::{append, append_stale};
use crate::manager::{Settings, Shared};
use crate::metrics::GroupEvaluation;
use crate::schedule::Schedule;
use crate::script::EngineQuery;

/// What a worker evaluates.
#[derive(Clone)]
pub(crate) enum Source {
    Rules(GroupConfig),
    Script {
        script: Arc<dyn AlertScript>,
        interval_ms: u64,
    },
}

impl Source {
    /// The group without any state.
    fn group(&self, restores: bool) -> Group {
        match self {
            Source::Rules(config) => Group::new(config.clone(), restores),
            Source::Script {
                script,
                interval_ms,
            } => Group::for_script(script.name(), *interval_ms, restores),
        }
    }
}

/// The latest copy of a group's state.
#[derive(Clone)]
pub(crate) struct StatusCell(Arc<Mutex<Arc<GroupStatus>>>);

impl StatusCell {
    fn new(status: GroupStatus) -> StatusCell {
        StatusCell(Arc::new(Mutex::new(Arc::new(status))))
    }

    pub(crate) fn get(&self) -> Arc<GroupStatus> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, status: GroupStatus) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(status);
    }
}

/// A running worker, as the manager holds it.
pub(crate) struct Worker {
    pub(crate) status: StatusCell,
    stop: CancellationToken,
    /// Gives the group back when it has stopped.
    task: JoinHandle<Group>,
}

impl Worker {
    /// Starts evaluating. The state of `replaced` is taken over once that has stopped.
    pub(crate) fn start(
        shared: Arc<Shared>,
        source: Source,
        restores: bool,
        replaced: Option<Worker>,
    ) -> Worker {
        let mut group = source.group(restores);
        let key = group_key(&group);
        let interval_ms = group.config().interval_ms;
        let rules = group.rule_count();
        shared.metrics.worker_started(&key, interval_ms, rules);
        let status = StatusCell::new(group.status());
        let stop = CancellationToken::new();
        let task = Task {
            key,
            shared,
            source,
            status: status.clone(),
            stop: stop.clone(),
        };
        if let Some(replaced) = &replaced {
            replaced.stop.cancel();
            status.set((*replaced.status.get()).clone());
        }
        let task = tokio::spawn(async move {
            if let Some(replaced) = replaced
                && let Ok(old) = replaced.task.await
            {
                group.take_over(old);
            }
            let group = task.run(group).await;
            task.shared.metrics.worker_ended(&task.key);
            group
        });
        Worker { status, stop, task }
    }

    /// Stops for good. Two intervals later its series are ended, as of now: if by then a group of
    /// another name writes them, they go on.
    pub(crate) fn remove(self, shared: Arc<Shared>) {
        self.stop.cancel();
        let now_ms = (shared.clock)();
        tokio::spawn(async move {
            let Ok(group) = self.task.await else {
                return;
            };
            let wait = Duration::from_millis(group.config().interval_ms.saturating_mul(2));
            tokio::select! {
                () = shared.shutdown.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            let key = group_key(&group);
            let ended = tokio::task::spawn_blocking(move || {
                append_stale(&*shared.appendable, &group.end(now_ms))
            });
            if let Ok(Err(error)) = ended.await {
                warn!(
                    group = key,
                    error, "ending the series of a removed rule group failed"
                );
            }
        });
    }

    /// Waits until it has stopped.
    pub(crate) async fn join(self) {
        self.stop.cancel();
        // What it gives back is of no use any more.
        let _ = self.task.await;
    }
}

/// How metrics name a group.
pub(crate) fn group_key(group: &Group) -> String {
    format!("{};{}", group.config().file, group.config().name)
}

struct Task {
    key: String,
    shared: Arc<Shared>,
    source: Source,
    status: StatusCell,
    stop: CancellationToken,
}

/// What one rule's evaluation came to.
struct Evaluated {
    notices: Vec<AlertNotice>,
    failure: Option<Failure>,
    append_error: Option<String>,
    samples: usize,
    seconds: f64,
}

/// An evaluation panicked, and the group's state went with it.
struct Lost;

impl Task {
    async fn run(&self, mut group: Group) -> Group {
        let config = group.config();
        let schedule = Schedule::of_group(&config.file, &config.name, config.interval_ms);
        self.status.set(group.status());
        let mut tick_ms = schedule.first(self.now_ms());
        loop {
            if !self.wait_until(tick_ms).await {
                return group;
            }
            group = match self.evaluate(group, tick_ms).await {
                Ok(group) => group,
                Err(Lost) => {
                    let group = &self.key;
                    error!(group, "an evaluation panicked: its alerts begin anew");
                    self.source.group(false)
                }
            };
            self.status.set(group.status());
            let next = schedule.after(tick_ms, self.now_ms());
            self.shared.metrics.iterations(&self.key, next.missed);
            tick_ms = next.tick_ms;
        }
    }

    fn account(&self, group: &Group) -> Account {
        let config = group.config();
        Account {
            queries: self.shared.queries.get().cloned(),
            file: config.file.clone(),
            name: config.name.clone(),
        }
    }

    fn now_ms(&self) -> i64 {
        (self.shared.clock)()
    }

    /// Whether the time has come; otherwise the worker is to stop.
    async fn wait_until(&self, tick_ms: i64) -> bool {
        loop {
            let wait_ms = tick_ms.saturating_sub(self.now_ms());
            let Ok(wait_ms @ 1..) = u64::try_from(wait_ms) else {
                return !self.stop.is_cancelled() && !self.shared.shutdown.is_cancelled();
            };
            // Timers are coarse and clocks are set: look again before it counts.
            tokio::select! {
                () = self.stop.cancelled() => return false,
                () = self.shared.shutdown.cancelled() => return false,
                () = tokio::time::sleep(Duration::from_millis(wait_ms)) => {}
            }
        }
    }

    async fn evaluate(&self, mut group: Group, tick_ms: i64) -> Result<Group, Lost> {
        let started = Instant::now();
        let settings = self.shared.settings();
        let mut totals = GroupEvaluation {
            started_ms: tick_ms,
            ..GroupEvaluation::default()
        };
        for index in 0..group.rule_count() {
            let evaluated;
            (group, evaluated) = self.evaluate_rule(group, index, tick_ms, &settings).await?;
            totals.rule_seconds += evaluated.seconds;
            totals.samples += evaluated.samples;
            self.report(group.rule_name(index), evaluated, &settings);
            if self.shared.shutdown.is_cancelled() {
                return Ok(group);
            }
        }
        totals.seconds = started.elapsed().as_secs_f64();
        group = self.finish(group, tick_ms, totals.seconds).await?;
        self.shared.metrics.group_evaluated(&self.key, totals);
        if group.restoration_is_due() {
            group = self.restore(group, &settings).await?;
        }
        Ok(group)
    }

    async fn evaluate_rule(
        &self,
        group: Group,
        index: usize,
        tick_ms: i64,
        settings: &Arc<Settings>,
    ) -> Result<(Group, Evaluated), Lost> {
        let shared = self.shared.clone();
        let settings = settings.clone();
        let source = self.source.clone();
        let account = self.account(&group);
        let timeout_ms = match source {
            Source::Rules(_) => settings.query_timeout_ms,
            Source::Script { .. } => settings.script_timeout_ms,
        };
        self.blocking(group, timeout_ms, move |group, cancel| {
            let started = Instant::now();
            let output = match &source {
                Source::Rules(_) => {
                    let query = rule_query(&shared, &settings, &account, cancel);
                    group.evaluate_rule(index, tick_ms, &query, &settings.environment)
                }
                Source::Script { script, .. } => {
                    let result =
                        run_script(&**script, tick_ms, &shared, &settings, account, cancel);
                    group.evaluate_script(tick_ms, result, &settings.environment)
                }
            };
            finish_rule(group, index, output, &shared, started)
        })
        .await
    }

    async fn finish(&self, group: Group, tick_ms: i64, seconds: f64) -> Result<Group, Lost> {
        let shared = self.shared.clone();
        let (group, ended) = self
            .blocking(group, u64::MAX, move |group, _| {
                let markers = group.finish(tick_ms, seconds);
                append_stale(&*shared.appendable, &markers)
            })
            .await?;
        if let Err(error) = ended {
            warn!(
                group = self.key,
                error, "ending the series of removed rules failed"
            );
        }
        Ok(group)
    }

    /// Takes up the alerts from before a restart.
    async fn restore(&self, group: Group, settings: &Arc<Settings>) -> Result<Group, Lost> {
        let started = Instant::now();
        let shared = self.shared.clone();
        let settings = settings.clone();
        let account = self.account(&group);
        let timeout_ms = settings.query_timeout_ms;
        let now_ms = self.now_ms();
        let (group, restored) = self
            .blocking(group, timeout_ms, move |group, cancel| {
                let query = rule_query(&shared, &settings, &account, cancel);
                group.restore(now_ms, &query, &settings.environment)
            })
            .await?;
        if let Err(error) = restored {
            warn!(group = self.key, %error, "restoring the state of alerts failed");
        }
        let seconds = started.elapsed().as_secs_f64();
        self.shared.metrics.restored(&self.key, seconds);
        info!(group = self.key, seconds, "state of alerts restored");
        Ok(group)
    }

    /// Runs `work` on a blocking thread and sets its token when the time is up or the ruler shuts
    /// down. It is waited for in any case, so that a group never overlaps itself.
    async fn blocking<T: Send + 'static>(
        &self,
        mut group: Group,
        timeout_ms: u64,
        work: impl FnOnce(&mut Group, CancelToken) -> T + Send + 'static,
    ) -> Result<(Group, T), Lost> {
        let cancel = CancelToken::default();
        let token = cancel.clone();
        let mut running = tokio::task::spawn_blocking(move || {
            let result = work(&mut group, token);
            (group, result)
        });
        let timeout = Duration::from_millis(timeout_ms);
        let result = tokio::select! {
            result = &mut running => result,
            () = tokio::time::sleep(timeout) => {
                cancel.cancel(CancelReason::Timeout);
                running.await
            }
            () = self.shared.shutdown.cancelled() => {
                cancel.cancel(CancelReason::Canceled);
                running.await
            }
        };
        result.map_err(|_| Lost)
    }

    /// Sends alerts, counts and logs.
    fn report(&self, rule: &str, evaluated: Evaluated, settings: &Settings) {
        let metrics = &self.shared.metrics;
        metrics.rule_evaluated(&self.key, evaluated.seconds);
        if !evaluated.notices.is_empty() {
            let notices = evaluated.notices.into_iter();
            let complete = notices.map(|notice| with_external_labels(notice, settings));
            self.shared.sink.send(complete.collect());
        }
        match evaluated.failure {
            Some(failure) if failure.is_canceled => {}
            Some(failure) => {
                metrics.rule_failed(&self.key);
                let error = failure.message;
                warn!(group = self.key, rule, error, "evaluating a rule failed");
            }
            None => {}
        }
        if let Some(error) = evaluated.append_error {
            metrics.rule_failed(&self.key);
            warn!(
                group = self.key,
                rule, error, "storing the result of a rule failed"
            );
        }
    }
}

fn rule_query<'a>(
    shared: &'a Shared,
    settings: &'a Settings,
    account: &'a Account,
    cancel: CancelToken,
) -> RuleQuery<'a> {
    RuleQuery {
        engine: &settings.engine,
        store: &*shared.queryable,
        parser: settings.parser,
        cancel,
        account: Some(account),
    }
}

fn run_script(
    script: &dyn AlertScript,
    now_ms: i64,
    shared: &Shared,
    settings: &Settings,
    account: Account,
    cancel: CancelToken,
) -> Result<Vec<narthex_extension::ScriptAlert>, ScriptError> {
    let query = EngineQuery {
        engine: settings.engine.clone(),
        store: shared.queryable.clone(),
        parser: settings.parser,
        account,
        cancel: cancel.clone(),
    };
    script.evaluate(&EvaluateContext {
        now_ms,
        query: Arc::new(query),
        cancel,
    })
}

fn finish_rule(
    group: &mut Group,
    index: usize,
    output: RuleOutput,
    shared: &Shared,
    started: Instant,
) -> Evaluated {
    let report = append(&*shared.appendable, &output);
    let seconds = started.elapsed().as_secs_f64();
    let append_error = report.error.clone();
    group.finish_rule(index, report, seconds);
    Evaluated {
        notices: output.notices,
        failure: output.failure,
        append_error,
        samples: output.samples.len(),
        seconds,
    }
}

/// An alert's own labels go before those of the server.
fn with_external_labels(mut notice: AlertNotice, settings: &Settings) -> AlertNotice {
    let mut labels = LabelsBuilder::from(&notice.labels);
    for external in settings.environment.external_labels.iter() {
        if labels.get(&external.name).is_none() {
            labels.set(external.name.clone(), external.value.clone());
        }
    }
    notice.labels = labels.build();
    notice
}
