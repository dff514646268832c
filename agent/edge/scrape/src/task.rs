//! The loop of one target: waits for its ticks, scrapes, and ends its series when told to.
//!
//! It keeps its memory while its settings change, so a reload misses no scrape and leaves no gap.
//! It holds no queue: it reads the latest directive and nothing before that.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use narthex_extension::Exporter;
use narthex_model::{Labels, duration};
use narthex_storage::Appendable;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::direct::Kept;
use crate::error::ScrapeError;
use crate::fetch::Fetcher;
use crate::ingest::{Answer, Batch, Counts, ExtraReport, Memory, Report, Rules};
use crate::metadata::{Families, MetadataCache};
use crate::metrics::Metrics;
use crate::schedule::Schedule;
use crate::status::{Health, TargetStatus};

/// All that a loop has to know about its target and its job.
pub(crate) struct Settings {
    pub pool: String,
    pub discovered: Labels,
    pub labels: Labels,
    pub url: String,
    pub interval_ms: u64,
    pub timeout_ms: u64,
    pub spread: u64,
    pub timestamp_tolerance_ms: u64,
    pub rules: Arc<Rules>,
    pub extra_metrics: bool,
    pub source: Source,
}

#[derive(Clone)]
pub(crate) enum Source {
    Http(Fetcher),
    Exporter(Arc<dyn Exporter>),
    /// More targets than allowed: none of them is scraped.
    TargetLimit {
        targets: usize,
        limit: u64,
    },
}

#[derive(Clone)]
pub(crate) enum Directive {
    Run(Arc<Settings>),
    /// The target has gone: end its series at the next tick, unless it comes back before.
    Leave,
    /// End its series now.
    Stop,
}

/// What all loops of a manager use.
pub(crate) struct Common {
    pub store: Arc<dyn Appendable>,
    pub metrics: Metrics,
    pub families: Arc<Families>,
}

/// The manager's side of a loop. Dropping it ends the loop and leaves its series as they are.
pub(crate) struct Handle {
    pub settings: Arc<Settings>,
    pub shared: Arc<Shared>,
    directives: watch::Sender<Directive>,
    task: tokio::task::JoinHandle<()>,
}

/// What a loop shows to the outside.
pub(crate) struct Shared {
    last: Mutex<LastScrape>,
    metadata: Mutex<MetadataCache>,
    /// Set once, when a loop that was told to leave does so.
    ended: Mutex<bool>,
}

#[derive(Clone, Default)]
struct LastScrape {
    health: Health,
    error: String,
    at_ms: Option<i64>,
    duration_seconds: f64,
}

pub(crate) struct Loop {
    settings: Arc<Settings>,
    directives: watch::Receiver<Directive>,
    shared: Arc<Shared>,
    common: Arc<Common>,
    memory: Memory,
    schedule: Schedule,
    last_start: Option<Instant>,
    body_size_bytes: usize,
    /// The connection to the target.
    kept: Option<Kept>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The time since 1970.
fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

pub(crate) fn now_ms() -> i64 {
    i64::try_from(now().as_millis()).unwrap_or(i64::MAX)
}

impl Handle {
    /// Starts a loop; `at_once` lets the first scrape not wait for its tick.
    pub(crate) fn start(settings: Arc<Settings>, common: Arc<Common>, at_once: bool) -> Self {
        let (sender, directives) = watch::channel(Directive::Run(settings.clone()));
        let shared = Arc::new(Shared {
            last: Mutex::default(),
            metadata: Mutex::new(MetadataCache::new(common.families.clone())),
            ended: Mutex::default(),
        });
        let looping = Loop {
            schedule: Schedule::new(settings.interval_ms, settings.spread),
            settings: settings.clone(),
            directives,
            shared: shared.clone(),
            common,
            memory: Memory::default(),
            last_start: None,
            body_size_bytes: 0,
            kept: None,
        };
        Handle {
            settings,
            shared,
            directives: sender,
            task: tokio::spawn(looping.run(at_once)),
        }
    }

    /// Goes on under new settings. False if the loop has ended.
    pub(crate) fn resume(&mut self, settings: Arc<Settings>) -> bool {
        let ended = lock(&self.shared.ended);
        if *ended || self.task.is_finished() {
            return false;
        }
        self.settings = settings.clone();
        self.directives.send_replace(Directive::Run(settings));
        true
    }

    pub(crate) fn leave(&self) {
        self.directives.send_replace(Directive::Leave);
    }

    pub(crate) fn stop(&self) {
        self.directives.send_replace(Directive::Stop);
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Ends the loop without ending its series, and waits for it.
    pub(crate) async fn abandon(self) {
        drop(self.directives);
        // An error says that it panicked or was cancelled: it has ended all the same.
        let _ = self.task.await;
    }

    pub(crate) fn status(&self) -> TargetStatus {
        let last = lock(&self.shared.last).clone();
        let settings = &self.settings;
        TargetStatus {
            discovered_labels: settings.discovered.clone(),
            labels: settings.labels.clone(),
            scrape_pool: settings.pool.clone(),
            scrape_url: settings.url.clone(),
            last_error: last.error,
            last_scrape_ms: last.at_ms,
            last_scrape_duration_seconds: last.duration_seconds,
            health: last.health,
            scrape_interval_ms: settings.interval_ms,
            scrape_timeout_ms: settings.timeout_ms,
        }
    }

    pub(crate) fn metadata(&self) -> Vec<(String, narthex_model::family::Metadata)> {
        lock(&self.shared.metadata).list()
    }
}

enum Next {
    Tick,
    Leave,
    Stop,
    Changed,
    Abandon,
}

impl Loop {
    async fn run(mut self, at_once: bool) {
        let mut tick_ms = if at_once {
            now_ms()
        } else {
            self.schedule.first(now_ms())
        };
        loop {
            match self.wait(tick_ms).await {
                Next::Tick => {
                    let Some(()) = self.scrape(tick_ms).await else {
                        continue;
                    };
                    let due = self.schedule.after(tick_ms, now_ms());
                    self.common.metrics.scrapes_skipped.inc_by(due.skipped);
                    tick_ms = due.tick_ms;
                }
                Next::Changed => {
                    if self.take_settings() {
                        tick_ms = self.schedule.first(now_ms());
                    }
                }
                Next::Leave => {
                    if self.may_leave() {
                        self.end_series(tick_ms.max(now_ms()));
                        return;
                    }
                }
                Next::Stop => {
                    self.end_series(now_ms());
                    return;
                }
                Next::Abandon => return,
            }
        }
    }

    /// Waits for the tick, or for a directive that doesn't wait for it.
    async fn wait(&mut self, tick_ms: i64) -> Next {
        loop {
            let directive = self.directives.borrow_and_update().clone();
            let at_tick = match directive {
                Directive::Stop => return Next::Stop,
                Directive::Run(settings) if !Arc::ptr_eq(&settings, &self.settings) => {
                    return Next::Changed;
                }
                Directive::Run(_) => Next::Tick,
                Directive::Leave => Next::Leave,
            };
            tokio::select! {
                biased;
                changed = self.directives.changed() => {
                    if changed.is_err() {
                        return Next::Abandon;
                    }
                }
                () = sleep_until(tick_ms) => return at_tick,
            }
        }
    }

    /// Takes up new settings. True if the ticks are other ones now.
    fn take_settings(&mut self) -> bool {
        let Directive::Run(settings) = self.directives.borrow_and_update().clone() else {
            return false;
        };
        let rules = (&settings.rules, &self.settings.rules);
        if !Arc::ptr_eq(rules.0, rules.1) && rules.0 != rules.1 {
            self.memory.series.forget_raw();
        }
        let schedule = Schedule::new(settings.interval_ms, settings.spread);
        // Its address may have changed, but not when it is scraped.
        let keeps_ticks = settings.interval_ms == self.settings.interval_ms;
        self.settings = settings;
        if keeps_ticks {
            return false;
        }
        self.schedule = schedule;
        true
    }

    /// Whether nobody has called the target back. After that nobody can.
    fn may_leave(&mut self) -> bool {
        let mut ended = lock(&self.shared.ended);
        *ended = matches!(*self.directives.borrow(), Directive::Leave);
        *ended
    }

    /// Scrapes and stores. None if the loop was told to end meanwhile; nothing was stored then.
    async fn scrape(&mut self, tick_ms: i64) -> Option<()> {
        let started_ms = now_ms();
        let started = Instant::now();
        self.observe_interval(started);
        let settings = self.settings.clone();
        let time_ms = self
            .schedule
            .timestamp(tick_ms, started_ms, settings.timestamp_tolerance_ms);
        // On the heap, so that it takes no room while the loop waits.
        let asked = Box::pin(ask(&settings, self.body_size_bytes, &mut self.kept));
        let answer = tokio::select! {
            biased;
            () = told_to_end(self.directives.clone()) => return None,
            answer = asked => answer,
        };
        let result = off_the_async_threads(size_of(&answer), || {
            self.store_answer(&settings, answer, time_ms, started)
        });
        let duration = started.elapsed();
        self.common
            .metrics
            .scrape_duration
            .observe(duration.as_secs_f64());
        self.note(&settings, result, started_ms, duration);
        Some(())
    }

    fn observe_interval(&mut self, started: Instant) {
        if let Some(last) = self.last_start.replace(started) {
            let seconds = (started - last).as_secs_f64();
            let interval = duration::format_ms(self.settings.interval_ms);
            self.common
                .metrics
                .interval_length
                .observe(&interval, seconds);
        }
    }

    fn store_answer(
        &mut self,
        settings: &Settings,
        answer: Result<Answer, ScrapeError>,
        time_ms: i64,
        started: Instant,
    ) -> Result<(), ScrapeError> {
        let common = self.common.clone();
        let mut batch = Batch::new(
            common.store.as_ref(),
            &mut self.memory,
            &settings.rules,
            &settings.labels,
            time_ms,
        );
        let body_size_bytes = size_of(&answer);
        let result =
            answer.and_then(|answer| batch.fill(&answer, &mut lock(&self.shared.metadata)));
        let counts = batch.counts();
        if let Err(error) = &result {
            let (failed, emptied) = batch.fail();
            batch = failed;
            self.common
                .metrics
                .cache_flush_forced
                .inc_by(u64::from(emptied));
            count_limit(&self.common.metrics, error);
        } else {
            self.body_size_bytes = body_size_bytes;
        }
        batch.report(&Report {
            up: result.is_ok(),
            duration_seconds: started.elapsed().as_secs_f64(),
            counts,
            extra: settings.extra_metrics.then(|| ExtraReport {
                timeout_seconds: Duration::from_millis(settings.timeout_ms).as_secs_f64(),
                sample_limit: settings.rules.limits.samples as f64,
                body_size_bytes: match &result {
                    Err(ScrapeError::BodySizeLimit { .. }) => -1.0,
                    _ => body_size_bytes as f64,
                },
            }),
        });
        match batch.commit() {
            Ok(counts) => count_refused(&self.common.metrics, settings, counts),
            Err(error) => {
                lock(&self.shared.metadata).forget_told();
                return Err(error);
            }
        }
        result
    }

    fn note(
        &self,
        settings: &Settings,
        result: Result<(), ScrapeError>,
        started_ms: i64,
        duration: Duration,
    ) {
        let (health, error) = match result {
            Ok(()) => (Health::Up, String::new()),
            Err(error) => (Health::Down, error.to_string()),
        };
        if health == Health::Down {
            tracing::debug!(
                scrape_pool = settings.pool,
                target = settings.url,
                error,
                "scrape failed"
            );
        }
        *lock(&self.shared.last) = LastScrape {
            health,
            error,
            at_ms: Some(started_ms),
            duration_seconds: duration.as_secs_f64(),
        };
    }

    fn end_series(&mut self, time_ms: i64) {
        let settings = self.settings.clone();
        let mut batch = Batch::new(
            self.common.store.as_ref(),
            &mut self.memory,
            &settings.rules,
            &settings.labels,
            time_ms,
        );
        batch.end_all();
        if let Err(error) = batch.commit() {
            tracing::warn!(
                scrape_pool = settings.pool,
                target = settings.url,
                %error,
                "the ends of a target's series are lost"
            );
        }
    }
}

async fn sleep_until(tick_ms: i64) {
    let tick = Duration::from_millis(u64::try_from(tick_ms).unwrap_or(0));
    tokio::time::sleep(tick.saturating_sub(now())).await;
}

/// Returns when there is no point in going on with a scrape.
async fn told_to_end(mut directives: watch::Receiver<Directive>) {
    loop {
        if matches!(*directives.borrow_and_update(), Directive::Stop) {
            return;
        }
        if directives.changed().await.is_err() {
            return;
        }
    }
}

async fn ask(
    settings: &Settings,
    size_hint_bytes: usize,
    kept: &mut Option<Kept>,
) -> Result<Answer, ScrapeError> {
    let timeout = Duration::from_millis(settings.timeout_ms);
    match &settings.source {
        Source::Http(fetcher) => {
            let fetched = fetcher.fetch(&settings.url, timeout, size_hint_bytes, kept);
            fetched.await
        }
        Source::Exporter(exporter) => {
            match tokio::time::timeout(timeout, exporter.collect()).await {
                Ok(families) => Ok(Answer::Families(families?)),
                Err(_) => Err(ScrapeError::ExporterTimeout(timeout)),
            }
        }
        Source::TargetLimit { targets, limit } => Err(ScrapeError::TargetLimit {
            targets: *targets,
            limit: *limit,
        }),
    }
}

fn size_of(answer: &Result<Answer, ScrapeError>) -> usize {
    match answer {
        Ok(Answer::Page { body, .. }) => body.len(),
        _ => 0,
    }
}

/// Pages above this take long enough to read that other tasks would wait for it.
const LARGE_BYTES: usize = 1 << 20;

/// Does the work here; if it is large, after the runtime has moved its other tasks to another
/// thread.
fn off_the_async_threads<T>(size_bytes: usize, work: impl FnOnce() -> T) -> T {
    let flavor = tokio::runtime::Handle::current().runtime_flavor();
    if size_bytes > LARGE_BYTES && flavor == tokio::runtime::RuntimeFlavor::MultiThread {
        tokio::task::block_in_place(work)
    } else {
        work()
    }
}

fn count_limit(metrics: &Metrics, error: &ScrapeError) {
    match error {
        ScrapeError::BodySizeLimit { .. } => metrics.exceeded_body_size_limit.inc(),
        ScrapeError::SampleLimit { .. } => metrics.exceeded_sample_limit.inc(),
        ScrapeError::LabelLimit(_) => metrics.pool_exceeded_label_limits.inc(),
        _ => {}
    }
}

fn count_refused(metrics: &Metrics, settings: &Settings, counts: Counts) {
    let exemplars = counts.exemplars_out_of_order;
    metrics.exemplar_out_of_order.inc_by(exemplars);
    for (count, counter, what) in [
        (
            counts.out_of_order,
            &metrics.sample_out_of_order,
            "samples are out of order",
        ),
        (
            counts.duplicates,
            &metrics.sample_duplicate_timestamp,
            "samples have the series and time of another one",
        ),
        (
            counts.out_of_bounds,
            &metrics.sample_out_of_bounds,
            "samples are too old or too far in the future",
        ),
    ] {
        if count > 0 {
            counter.inc_by(count);
            tracing::warn!(
                scrape_pool = settings.pool,
                target = settings.url,
                count,
                "{what} and were not stored"
            );
        }
    }
}
