//! A recorded world in the place of the real one: for the developer's tests, which give the same
//! result each time and everywhere.
//!
//! A [`Recording`] says what there is: files, answers to requests and look-ups, facts, the clock. A
//! [`Replay`] is one run through it, and keeps what the plugin said. Everything that judges a plugin
//! (grants, limits, deadlines) goes on judging it.
//!
//! Keeps true: time passes only where the plugin waits, and then at once; what is not recorded is
//! told as such, and is never asked of the world.

mod facts;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use narthex_model::{Labels, TargetGroup};

use crate::bindings::dns::{self, DnsError, RecordType};
use crate::bindings::http::{ErrorCode, HttpError};
use crate::bindings::log::Level;
use crate::bindings::plugin::CallError;
use crate::bindings::query::Series;
use crate::host::Stop;

pub(crate) use facts::Known;
pub use facts::SystemFacts;

/// A plugin that waits so often without any time passing would never come to an end.
const WAITS_AT_ONE_TIME: usize = 10_000;

/// What there is in a recorded world.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    /// The folder that the plugin sees as `/`. It need not be there: then there are no files.
    pub root: PathBuf,
    pub environment: BTreeMap<String, String>,
    /// What the clock says at first, in milliseconds since 1970.
    pub clock_ms: i64,
    /// For how long a discovery's run is watched, on that clock.
    pub duration_ms: u64,
    /// Answers to the same request are given in this order; the last one is given again.
    pub http: Vec<Exchange>,
    pub dns: Vec<Lookup>,
    pub queries: Vec<RecordedQuery>,
    pub system: SystemFacts,
    /// Requests go out into the world, and their answers are kept ([`Replay::exchanges`]).
    pub records_http: bool,
}

/// A request and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    pub method: String,
    pub url: String,
    pub answer: Answer,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Given {
        status: u16,
        headers: Vec<(String, String)>,
        body: Bytes,
        /// A stream that gives no more than this, and does not end.
        stays_open: bool,
    },
    Failed(Failure),
}

/// Why there was no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    Name,
    Connection,
    Tls,
    Timeout,
}

impl Failure {
    pub const NAMES: [&'static str; 4] = ["name", "connection", "tls", "timeout"];

    const ALL: [Failure; 4] = [
        Failure::Name,
        Failure::Connection,
        Failure::Tls,
        Failure::Timeout,
    ];

    pub fn of(name: &str) -> Option<Failure> {
        let at = Failure::NAMES.iter().position(|own| *own == name)?;
        Failure::ALL.get(at).copied()
    }

    pub fn as_str(self) -> &'static str {
        let at = Failure::ALL.iter().position(|own| *own == self);
        at.and_then(|at| Failure::NAMES.get(at).copied())
            .unwrap_or_default()
    }

    /// None where it says nothing of the server.
    pub(crate) fn by_code(code: ErrorCode) -> Option<Failure> {
        match code {
            ErrorCode::Name => Some(Failure::Name),
            ErrorCode::Connection => Some(Failure::Connection),
            ErrorCode::Tls => Some(Failure::Tls),
            ErrorCode::Timeout => Some(Failure::Timeout),
            _ => None,
        }
    }

    fn error(self, url: &str) -> HttpError {
        let (code, what) = match self {
            Failure::Name => (ErrorCode::Name, "the name of the server is not known"),
            Failure::Connection => (ErrorCode::Connection, "the connection was refused"),
            Failure::Tls => (ErrorCode::Tls, "the certificate is not trusted"),
            Failure::Timeout => (ErrorCode::Timeout, "no answer in time"),
        };
        HttpError {
            code,
            message: format!("{url}: {what}"),
        }
    }
}

/// What a server of names says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    pub name: String,
    pub kind: NameKind,
    /// None: there is no such name.
    pub records: Option<Vec<NameRecord>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameKind {
    A,
    Aaaa,
    Mx,
    Ns,
    Srv,
}

impl NameKind {
    pub const NAMES: [&'static str; 5] = ["A", "AAAA", "MX", "NS", "SRV"];
    const ALL: [NameKind; 5] = [
        NameKind::A,
        NameKind::Aaaa,
        NameKind::Mx,
        NameKind::Ns,
        NameKind::Srv,
    ];

    pub fn of(name: &str) -> Option<NameKind> {
        let at = NameKind::NAMES.iter().position(|own| *own == name)?;
        NameKind::ALL.get(at).copied()
    }

    fn asked(kind: RecordType) -> NameKind {
        match kind {
            RecordType::A => NameKind::A,
            RecordType::Aaaa => NameKind::Aaaa,
            RecordType::Mx => NameKind::Mx,
            RecordType::Ns => NameKind::Ns,
            RecordType::Srv => NameKind::Srv,
        }
    }

    fn as_str(self) -> &'static str {
        let at = NameKind::ALL.iter().position(|own| *own == self);
        at.and_then(|at| NameKind::NAMES.get(at).copied())
            .unwrap_or_default()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameRecord {
    Address(String),
    Name(String),
    Service {
        priority: u16,
        weight: u16,
        port: u16,
        target: String,
    },
}

/// What the store answers to an expression.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedQuery {
    pub expr: String,
    /// Each series with its values: the first at the start of what is asked, the next a step later.
    pub series: Vec<(Labels, Vec<f64>)>,
}

/// What a plugin said, and when, in the order in which it did.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Since the beginning, on the recorded clock.
    pub after_ms: u64,
    pub what: Said,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    Logged(LogLevel, String),
    Published(Vec<TargetGroup>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

/// One run through a recording.
pub(crate) struct Replay {
    recording: Recording,
    /// What the clock counts from; how far it has come lies in `run`.
    began: Instant,
    run: Mutex<Run>,
}

#[derive(Default)]
struct Run {
    elapsed: Duration,
    waits: usize,
    /// The plugin waits for what never comes, or until after the end.
    over: bool,
    said: Vec<Entry>,
    /// How often each request was answered.
    given: BTreeMap<(String, String), usize>,
    unknown: Vec<String>,
    recorded: Vec<Exchange>,
    random: u64,
}

impl Replay {
    pub(crate) fn new(recording: Recording) -> Replay {
        // Paths are judged by where they really lead, so the folder's own must be real.
        let root = recording.root.canonicalize();
        let root = root.unwrap_or_else(|_| recording.root.clone());
        Replay {
            recording: Recording { root, ..recording },
            began: Instant::now(),
            run: Mutex::default(),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.recording.root
    }

    pub(crate) fn records_http(&self) -> bool {
        self.recording.records_http
    }

    fn run(&self) -> MutexGuard<'_, Run> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.run().elapsed
    }

    pub(crate) fn now(&self) -> Instant {
        self.began + self.elapsed()
    }

    /// Since 1970.
    pub(crate) fn wall(&self) -> Duration {
        let began = Duration::from_millis(u64::try_from(self.recording.clock_ms).unwrap_or(0));
        began.saturating_add(self.elapsed())
    }

    pub(crate) fn pass(&self, time: Duration) {
        let mut run = self.run();
        run.elapsed += time;
        run.waits = 0;
    }

    /// The plugin waits, and nothing but a timer can wake it: the clock moves on to that. `limit`:
    /// the call's own, where it has one.
    pub(crate) fn wait_until(
        &self,
        timer: Option<Instant>,
        limit_ms: Option<u64>,
    ) -> Result<(), Stop> {
        let mut run = self.run();
        let now = self.began + run.elapsed;
        let end = match limit_ms {
            Some(limit_ms) => now + Duration::from_millis(limit_ms),
            None => self.began + Duration::from_millis(self.recording.duration_ms),
        };
        let timer = timer.filter(|timer| *timer <= end);
        run.waits += 1;
        match (timer, limit_ms) {
            (Some(_), _) if run.waits > WAITS_AT_ONE_TIME => {
                run.unknown.push(format!(
                    "it waited {WAITS_AT_ONE_TIME} times without any time passing"
                ));
                run.over = true;
                Err(Stop::Unwanted)
            }
            (Some(timer), _) => {
                if timer > now {
                    run.elapsed = timer - self.began;
                    run.waits = 0;
                }
                Ok(())
            }
            (None, Some(limit_ms)) => Err(Stop::Deadline(limit_ms)),
            (None, None) => {
                run.over = true;
                Err(Stop::Unwanted)
            }
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.run().over
    }

    pub(crate) fn publish(&self, groups: Vec<TargetGroup>) {
        self.say(Said::Published(groups));
    }

    pub(crate) fn log(&self, level: Level, message: &str) {
        let level = match level {
            Level::Debug => LogLevel::Debug,
            Level::Info => LogLevel::Info,
            Level::Warn => LogLevel::Warn,
            Level::Error => LogLevel::Error,
        };
        self.say(Said::Logged(level, message.to_owned()));
    }

    fn say(&self, what: Said) {
        let mut run = self.run();
        let after_ms = u64::try_from(run.elapsed.as_millis()).unwrap_or(u64::MAX);
        run.said.push(Entry { after_ms, what });
    }

    /// What was said since the last time someone asked.
    pub(crate) fn take_said(&self) -> Vec<Entry> {
        std::mem::take(&mut self.run().said)
    }

    /// What was asked for and is not recorded, each thing once.
    pub(crate) fn take_unknown(&self) -> Vec<String> {
        let mut unknown = std::mem::take(&mut self.run().unknown);
        unknown.sort();
        unknown.dedup();
        unknown
    }

    fn unknown(&self, what: String) {
        self.run().unknown.push(what);
    }

    /// The answers that came from the world.
    pub(crate) fn exchanges(&self) -> Vec<Exchange> {
        self.run().recorded.clone()
    }

    pub(crate) fn keep(&self, exchange: Exchange) {
        self.run().recorded.push(exchange);
    }

    /// The recorded answer to a request.
    pub(crate) fn answer(&self, method: &str, url: &str) -> Result<Answer, HttpError> {
        let is_meant = |exchange: &&Exchange| exchange.method == method && exchange.url == url;
        let meant: Vec<&Exchange> = self.recording.http.iter().filter(is_meant).collect();
        let Some(last) = meant.last() else {
            self.unknown(format!("http.yml has no answer to {method} {url}"));
            return Err(HttpError {
                code: ErrorCode::Other,
                message: format!("{url}: no answer is recorded"),
            });
        };
        let asked = (method.to_owned(), url.to_owned());
        let mut run = self.run();
        let given = run.given.entry(asked).or_default();
        let exchange = meant.get(*given).unwrap_or(last);
        *given += 1;
        match &exchange.answer {
            Answer::Failed(failure) => Err(failure.error(url)),
            answer => Ok(answer.clone()),
        }
    }

    pub(crate) fn lookup(
        &self,
        name: &str,
        kind: RecordType,
    ) -> Result<Vec<dns::Answer>, DnsError> {
        let kind = NameKind::asked(kind);
        let name = name.trim_end_matches('.').to_lowercase();
        let is_meant = |lookup: &&Lookup| {
            lookup.kind == kind && lookup.name.trim_end_matches('.').to_lowercase() == name
        };
        let found = self.recording.dns.iter().find(is_meant);
        if found.is_none() {
            let kind = kind.as_str();
            self.unknown(format!("case.yml has nothing under dns for {name}, {kind}"));
        }
        match found.and_then(|lookup| lookup.records.as_ref()) {
            Some(records) => Ok(records.iter().map(record).collect()),
            None => Err(DnsError {
                code: dns::ErrorCode::NotFound,
                message: "there is no such name".to_owned(),
            }),
        }
    }

    pub(crate) fn environment(&self, name: &str) -> Option<String> {
        self.recording.environment.get(name).cloned()
    }

    /// The values of an expression from `start_ms` to `end_ms`.
    pub(crate) fn query(
        &self,
        expr: &str,
        start_ms: i64,
        end_ms: i64,
        step_ms: i64,
    ) -> Result<Vec<Series>, CallError> {
        let recorded = &self.recording.queries;
        let Some(query) = recorded.iter().find(|query| query.expr == expr) else {
            self.unknown(format!("case.yml has nothing under queries for {expr}"));
            let text = "no answer is recorded".to_owned();
            return Err(CallError::Failed(text));
        };
        let time_ms = |at: usize| {
            let steps = i64::try_from(at).unwrap_or(i64::MAX);
            start_ms.saturating_add(step_ms.saturating_mul(steps))
        };
        let series = query.series.iter().map(|(labels, values)| Series {
            labels: labels
                .iter()
                .map(|label| (label.name.to_string(), label.value.to_string()))
                .collect(),
            samples: values
                .iter()
                .enumerate()
                .map(|(at, value)| (time_ms(at), *value))
                .take_while(|(time_ms, _)| *time_ms <= end_ms)
                .collect(),
        });
        Ok(series.collect())
    }

    /// A fact about the machine, if it is recorded.
    pub(crate) fn fact<T: Clone>(&self, name: &str, fact: &Option<T>) -> Result<T, CallError> {
        fact.clone().ok_or_else(|| {
            self.unknown(format!("case.yml has no system.{name}"));
            CallError::Failed("it is not recorded".to_owned())
        })
    }

    pub(crate) fn facts(&self) -> &SystemFacts {
        &self.recording.system
    }

    pub(crate) fn random_bytes(&self, count: usize) -> Vec<u8> {
        let numbers = std::iter::repeat_with(|| self.random().to_le_bytes());
        numbers.flatten().take(count).collect()
    }

    /// The same numbers in each run: those of the generator SplitMix64, from 0.
    pub(crate) fn random(&self) -> u64 {
        let mut run = self.run();
        run.random = run.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (run.random ^ (run.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

fn record(record: &NameRecord) -> dns::Answer {
    match record {
        NameRecord::Address(address) => dns::Answer::Address(address.clone()),
        NameRecord::Name(name) => dns::Answer::Name(name.clone()),
        NameRecord::Service {
            priority,
            weight,
            port,
            target,
        } => dns::Answer::Service(dns::Service {
            target: target.clone(),
            port: *port,
            priority: *priority,
            weight: *weight,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replay() -> Replay {
        Replay::new(Recording {
            duration_ms: 1000,
            clock_ms: 5000,
            ..Recording::default()
        })
    }

    #[test]
    fn time_passes_up_to_the_next_timer_and_the_end() {
        let replay = replay();
        let at = |ms: u64| Some(replay.began + Duration::from_millis(ms));
        for (timer, limit_ms, expected, elapsed_ms) in [
            (at(10), None, Ok(()), 10),
            (at(10), None, Ok(()), 10),
            (at(1000), None, Ok(()), 1000),
            (at(1500), Some(400), Err(Stop::Deadline(400)), 1000),
            (at(1300), Some(400), Ok(()), 1300),
            (None, Some(7), Err(Stop::Deadline(7)), 1300),
        ] {
            assert_eq!(replay.wait_until(timer, limit_ms), expected);
            assert_eq!(replay.elapsed(), Duration::from_millis(elapsed_ms));
            assert!(!replay.is_over());
        }
        assert_eq!(replay.wall(), Duration::from_millis(6300));
        assert_eq!(replay.wait_until(at(2000), None), Err(Stop::Unwanted));
        assert!(replay.is_over());
    }

    #[test]
    fn who_waits_without_end_is_stopped() {
        let replay = replay();
        let waits = (0..=WAITS_AT_ONE_TIME).map(|_| replay.wait_until(Some(replay.began), None));
        assert_eq!(waits.last(), Some(Err(Stop::Unwanted)));
        assert_eq!(
            replay.take_unknown(),
            ["it waited 10000 times without any time passing"]
        );
    }

    #[test]
    fn random_numbers_are_the_generators() {
        let replay = replay();
        let numbers: Vec<u64> = (0..2).map(|_| replay.random()).collect();
        assert_eq!(numbers, [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4]);
    }

    #[test]
    fn queries_give_their_values_step_by_step() {
        let replay = Replay::new(Recording {
            queries: vec![RecordedQuery {
                expr: "up".to_owned(),
                series: vec![(Labels::from_pairs([("a", "b")]), vec![1.0, 2.0, 3.0])],
            }],
            ..Recording::default()
        });
        let series = replay.query("up", 100, 110, 10).unwrap();
        assert_eq!(series[0].labels, [("a".to_owned(), "b".to_owned())]);
        assert_eq!(series[0].samples, [(100, 1.0), (110, 2.0)]);
        assert!(replay.query("down", 0, 0, 1).is_err());
        assert_eq!(
            replay.take_unknown(),
            ["case.yml has nothing under queries for down"]
        );
    }
}
