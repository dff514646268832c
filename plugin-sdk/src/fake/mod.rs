//! A host for tests: files, clock, HTTP servers, names and the rest, from memory.
//!
//! [`Host::install`] gives the calling thread a fresh world, which ends with the value. Folders
//! are there as soon as something lies in them. Grants are not part of it: here, everything is
//! allowed.
//!
//! Keeps true: a test gives the same result each time. Time stands still but where the test's script
//! lets it pass; only [`crate::block_on`], when nothing else can happen, goes on to the next moment
//! for which something is due.

mod events;
mod files;
mod http;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::rc::Rc;

use crate::bindings::host::narthex::plugin as raw;
use crate::bindings::host::narthex::plugin::files::ErrorCode;
pub use crate::host::dns::{Answer, RecordType, Service};
pub use crate::host::log::Level;
pub use crate::host::publisher::TargetGroup;
pub use crate::host::query::Series;
pub use crate::host::system::{ClockState, Disk, Identity, Memory, Network, Usage, Zone};
use crate::{CallError, DnsErrorCode};
pub use events::Patience;
pub(crate) use events::wait;
use files::{Node, file_error};
pub use http::{Asked, Reply};

thread_local! {
    static CURRENT: RefCell<Rc<RefCell<World>>> = RefCell::default();
}

fn current() -> Host {
    Host(CURRENT.with_borrow(Clone::clone))
}

/// The world of one test. Clones are the same world.
#[derive(Clone)]
pub struct Host(Rc<RefCell<World>>);

impl Host {
    /// Makes a fresh world and gives it to this thread; a later one takes its place.
    pub fn install() -> Host {
        crate::logging::install();
        let world = Rc::new(RefCell::new(World::default()));
        CURRENT.set(world.clone());
        Host(world)
    }

    /// Writes a file. It was modified now, by the clock that [`Host::set_now_ns`] sets.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        let content = content.as_ref().to_vec();
        self.edit(|world| {
            let modified_ms = (world.now_ns / 1_000_000) as i64;
            let file = Node::File {
                content,
                modified_ms,
            };
            world.files.insert(path.to_owned(), file)
        })
    }

    /// Makes a symbolic link at `path` that leads to the absolute path `to`.
    pub fn link(&self, path: &str, to: &str) -> &Self {
        self.edit(|world| {
            world
                .files
                .insert(path.to_owned(), Node::Link(to.to_owned()))
        })
    }

    /// Reading this path fails.
    pub fn fail(&self, path: &str, code: ErrorCode, message: &str) -> &Self {
        let error = file_error(code, message);
        self.edit(|world| world.files.insert(path.to_owned(), Node::Fault(error)))
    }

    pub fn remove(&self, path: &str) -> &Self {
        self.edit(|world| world.files.remove(path))
    }

    /// Shows a folder of the real machine at `path`, as a test's fixtures.
    pub fn mount(&self, path: &str, real: impl Into<PathBuf>) -> &Self {
        let real = real.into();
        self.edit(|world| world.mounts.push((path.to_owned(), real)))
    }

    pub fn set_environment(&self, name: &str, value: &str) -> &Self {
        self.edit(|world| world.environment.insert(name.to_owned(), value.to_owned()))
    }

    pub fn set_now_ns(&self, now_ns: u64) -> &Self {
        self.edit(|world| world.now_ns = now_ns)
    }

    /// Moves both clocks at once; timers that this skips fire afterwards, all together. See
    /// [`Host::then_pass_ms`].
    pub fn advance_ms(&self, ms: u64) -> &Self {
        self.edit(|world| world.advance_ns(ms * 1_000_000))
    }

    /// The next random numbers; after them come those of a fixed sequence.
    pub fn set_random(&self, numbers: &[u64]) -> &Self {
        self.edit(|world| world.random = numbers.iter().copied().collect())
    }

    pub fn set_identity(&self, identity: Identity) -> &Self {
        self.edit(|world| world.identity = Some(identity))
    }

    pub fn set_cpu_count(&self, count: u32) -> &Self {
        self.edit(|world| world.cpu_count = count)
    }

    pub fn set_boot_time_seconds(&self, seconds: u64) -> &Self {
        self.edit(|world| world.boot_time_seconds = seconds)
    }

    pub fn set_page_bytes(&self, bytes: u32) -> &Self {
        self.edit(|world| world.page_bytes = bytes)
    }

    pub fn set_time_zone(&self, zone: Zone) -> &Self {
        self.edit(|world| world.time_zone = Some(zone))
    }

    pub fn set_clock_state(&self, state: ClockState) -> &Self {
        self.edit(|world| world.clock_state = Some(state))
    }

    pub fn set_memory(&self, memory: Memory) -> &Self {
        self.edit(|world| world.memory = Some(memory))
    }

    pub fn set_disks(&self, disks: Vec<Disk>) -> &Self {
        self.edit(|world| world.disks = disks)
    }

    pub fn set_networks(&self, networks: Vec<Network>) -> &Self {
        self.edit(|world| world.networks = networks)
    }

    /// What the file system at a mount point answers.
    pub fn set_usage(&self, mount_point: &str, usage: Result<Usage, String>) -> &Self {
        self.edit(|world| world.usages.insert(mount_point.to_owned(), usage))
    }

    /// What a name's records of one type are. Of a name of which the test says nothing, the answer
    /// is that it is not there.
    pub fn set_dns(&self, name: &str, kind: RecordType, answers: Vec<Answer>) -> &Self {
        self.edit(|world| {
            world
                .names
                .insert((name.to_owned(), kind as u8), Ok(answers))
        })
    }

    /// Looking up a name's records of one type fails.
    pub fn fail_dns(
        &self,
        name: &str,
        kind: RecordType,
        code: DnsErrorCode,
        message: &str,
    ) -> &Self {
        let error = dns_error(code, message);
        self.edit(|world| {
            world
                .names
                .insert((name.to_owned(), kind as u8), Err(error))
        })
    }

    /// What a PromQL expression gives, at whatever time.
    pub fn set_query(&self, expr: &str, answer: Result<Vec<Series>, CallError>) -> &Self {
        self.edit(|world| world.queries.insert(expr.to_owned(), answer))
    }

    /// Publishing fails from now on, until this is called with none.
    pub fn fail_publishing(&self, error: Option<CallError>) -> &Self {
        self.edit(|world| world.publishing_fails = error)
    }

    /// What was logged so far.
    pub fn logged(&self) -> Vec<(Level, String)> {
        self.0.borrow().logged.clone()
    }

    /// Each call of `publish`, in order.
    pub fn published(&self) -> Vec<Vec<TargetGroup>> {
        self.0.borrow().published.clone()
    }

    /// What the discovery tells of its own work, by `name{label="value"}`.
    pub fn telemetry(&self) -> BTreeMap<String, f64> {
        self.0.borrow().telemetry.clone()
    }

    fn edit<R>(&self, change: impl FnOnce(&mut World) -> R) -> &Self {
        change(&mut self.0.borrow_mut());
        self
    }
}

#[derive(Default)]
struct World {
    files: BTreeMap<String, Node>,
    mounts: Vec<(String, PathBuf)>,
    environment: BTreeMap<String, String>,
    now_ns: u64,
    monotonic_ns: u64,
    random: VecDeque<u64>,
    random_state: u64,
    identity: Option<Identity>,
    cpu_count: u32,
    boot_time_seconds: u64,
    page_bytes: u32,
    time_zone: Option<Zone>,
    clock_state: Option<ClockState>,
    memory: Option<Memory>,
    disks: Vec<Disk>,
    networks: Vec<Network>,
    usages: BTreeMap<String, Result<Usage, String>>,
    names: BTreeMap<(String, u8), Result<Vec<Answer>, raw::dns::DnsError>>,
    queries: BTreeMap<String, Result<Vec<Series>, CallError>>,
    servers: http::Servers,
    steps: VecDeque<events::Step>,
    next_subscription: u64,
    subscriptions: BTreeMap<u64, events::Awaited>,
    /// What has changed since it was told last.
    changed_paths: BTreeSet<u64>,
    logged: Vec<(Level, String)>,
    publishing_fails: Option<CallError>,
    published: Vec<Vec<TargetGroup>>,
    /// By the metric and its labels, as text.
    telemetry: BTreeMap<String, f64>,
}

impl World {
    fn advance_ns(&mut self, ns: u64) {
        self.now_ns += ns;
        self.monotonic_ns += ns;
    }
}

fn dns_error(code: DnsErrorCode, message: &str) -> raw::dns::DnsError {
    raw::dns::DnsError {
        code,
        message: message.to_owned(),
    }
}

fn not_set(what: &str) -> raw::plugin::CallError {
    raw::plugin::CallError::Failed(format!("the test has set no {what}"))
}

impl From<CallError> for raw::plugin::CallError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::NotGranted(message) => raw::plugin::CallError::NotGranted(message),
            CallError::Limit(message) => raw::plugin::CallError::Limit(message),
            CallError::Invalid(message) => raw::plugin::CallError::Invalid(message),
            CallError::Failed(message) => raw::plugin::CallError::Failed(message),
        }
    }
}

/// The functions of the contract, as wit-bindgen writes them for WebAssembly.
pub(crate) mod backend {
    pub(crate) use super::events::backend as events;
    pub(crate) use super::files::backend as files;
    pub(crate) use super::http::backend as http;

    pub(crate) mod log {
        use crate::fake::current;
        use crate::host::log::Level;

        pub(crate) fn write(level: Level, message: &str) {
            current().edit(|world| world.logged.push((level, message.to_owned())));
        }
    }

    pub(crate) mod clock {
        use crate::fake::current;

        pub(crate) fn now_ns() -> u64 {
            current().0.borrow().now_ns
        }

        pub(crate) fn monotonic_ns() -> u64 {
            current().0.borrow().monotonic_ns
        }
    }

    pub(crate) mod random {
        use crate::fake::current;

        pub(crate) fn next() -> u64 {
            let host = current();
            let mut world = host.0.borrow_mut();
            if let Some(number) = world.random.pop_front() {
                return number;
            }
            // SplitMix64: well spread, and the same in every run.
            world.random_state = world.random_state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = world.random_state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }
    }

    pub(crate) mod environment {
        use crate::bindings::host::narthex::plugin::plugin::CallError;
        use crate::fake::current;

        pub(crate) fn get(name: &str) -> Result<Option<String>, CallError> {
            Ok(current().0.borrow().environment.get(name).cloned())
        }
    }

    pub(crate) mod dns {
        use crate::bindings::host::narthex::plugin::dns::{
            Answer, DnsError, ErrorCode, RecordType,
        };
        use crate::fake::{current, dns_error};

        pub(crate) fn lookup(name: &str, kind: RecordType) -> Result<Vec<Answer>, DnsError> {
            let host = current();
            let world = host.0.borrow();
            if let Some(answer) = world.names.get(&(name.to_owned(), kind as u8)) {
                return answer.clone();
            }
            match world.names.keys().any(|(known, _)| known == name) {
                true => Ok(Vec::new()),
                false => Err(dns_error(
                    ErrorCode::NotFound,
                    &format!("there is no name {name}"),
                )),
            }
        }
    }

    pub(crate) mod query {
        use crate::bindings::host::narthex::plugin::plugin::CallError;
        use crate::bindings::host::narthex::plugin::query::Series;
        use crate::fake::current;

        pub(crate) fn instant(expr: &str, _time_ms: i64) -> Result<Vec<Series>, CallError> {
            match current().0.borrow().queries.get(expr) {
                Some(answer) => answer.clone().map_err(CallError::from),
                None => Err(CallError::Failed(format!(
                    "the test has set no answer for {expr}"
                ))),
            }
        }

        pub(crate) fn range(
            expr: &str,
            start_ms: i64,
            _end_ms: i64,
            _step_ms: u64,
        ) -> Result<Vec<Series>, CallError> {
            instant(expr, start_ms)
        }
    }

    pub(crate) mod system {
        use crate::bindings::host::narthex::plugin::plugin::CallError;
        use crate::fake::{current, not_set};
        use crate::host::system::{ClockState, Disk, Identity, Memory, Network, Usage, Zone};

        pub(crate) fn cpu_count() -> Result<u32, CallError> {
            Ok(current().0.borrow().cpu_count)
        }

        pub(crate) fn boot_time_seconds() -> Result<u64, CallError> {
            Ok(current().0.borrow().boot_time_seconds)
        }

        pub(crate) fn page_bytes() -> Result<u32, CallError> {
            Ok(current().0.borrow().page_bytes)
        }

        pub(crate) fn time_zone() -> Result<Zone, CallError> {
            let zone = current().0.borrow().time_zone.clone();
            zone.ok_or_else(|| not_set("time zone"))
        }

        pub(crate) fn identify() -> Result<Identity, CallError> {
            let identity = current().0.borrow().identity.clone();
            identity.ok_or_else(|| not_set("identity"))
        }

        pub(crate) fn clock_adjustment() -> Result<ClockState, CallError> {
            let state = current().0.borrow().clock_state;
            state.ok_or_else(|| not_set("clock state"))
        }

        pub(crate) fn memory_usage() -> Result<Memory, CallError> {
            let memory = current().0.borrow().memory;
            memory.ok_or_else(|| not_set("memory"))
        }

        pub(crate) fn disks() -> Result<Vec<Disk>, CallError> {
            Ok(current().0.borrow().disks.clone())
        }

        pub(crate) fn networks() -> Result<Vec<Network>, CallError> {
            Ok(current().0.borrow().networks.clone())
        }

        pub(crate) fn file_system_usage(
            mount_points: &[String],
            _timeout_ms: u64,
        ) -> Result<Vec<Result<Usage, String>>, CallError> {
            let host = current();
            let world = host.0.borrow();
            Ok(mount_points
                .iter()
                .map(|mount_point| match world.usages.get(mount_point) {
                    Some(answer) => answer.clone(),
                    None => Err("no such file or directory".to_owned()),
                })
                .collect())
        }
    }

    pub(crate) mod telemetry {
        use crate::bindings::discovery::narthex::plugin::telemetry::Metric;
        use crate::bindings::host::narthex::plugin::plugin::CallError;
        use crate::fake::current;
        use crate::metrics::label_text;

        pub(crate) fn add(metric: &Metric, value: f64) -> Result<(), CallError> {
            let key = key(metric);
            current().edit(|world| *world.telemetry.entry(key).or_default() += value);
            Ok(())
        }

        pub(crate) fn set(metric: &Metric, value: Option<f64>) -> Result<(), CallError> {
            let key = key(metric);
            current().edit(|world| match value {
                Some(value) => world.telemetry.insert(key, value),
                None => world.telemetry.remove(&key),
            });
            Ok(())
        }

        fn key(metric: &Metric) -> String {
            let (names, values): (Vec<String>, Vec<String>) = metric.labels.iter().cloned().unzip();
            format!("{}{}", metric.name, label_text(&names, &values))
        }
    }

    pub(crate) mod publisher {
        use crate::bindings::host::narthex::plugin::plugin::CallError;
        use crate::fake::current;
        use crate::host::publisher::TargetGroup;

        pub(crate) fn publish(groups: &[TargetGroup]) -> Result<(), CallError> {
            let host = current();
            let mut world = host.0.borrow_mut();
            if let Some(error) = world.publishing_fails.clone() {
                return Err(error.into());
            }
            world.published.push(groups.to_vec());
            Ok(())
        }
    }
}
