//! A host for tests: files, clock, random numbers and the rest, from memory.
//!
//! [`Host::install`] gives the calling thread a fresh world, which ends with the value. Folders
//! are there as soon as something lies in them. Grants are not part of it: here, everything is
//! allowed.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::bindings::exporter::narthex::plugin::files::{
    Entry, ErrorCode, FileError, FileKind, Metadata,
};
use crate::glob;
pub use crate::host::log::Level;
use crate::host::publisher::TargetGroup;
pub use crate::host::system::{Disk, Identity, Memory, Network, Usage, Zone};

thread_local! {
    static CURRENT: RefCell<Rc<RefCell<World>>> = RefCell::default();
}

/// The world of one test. Clones are the same world.
#[derive(Clone)]
pub struct Host(Rc<RefCell<World>>);

impl Host {
    /// Makes a fresh world and gives it to this thread; a later one takes its place.
    pub fn install() -> Host {
        let world = Rc::new(RefCell::new(World::default()));
        CURRENT.set(world.clone());
        Host(world)
    }

    /// Writes a file.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        let content = content.as_ref().to_vec();
        self.edit(|world| world.files.insert(path.to_owned(), Node::File(content)))
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

    /// Moves both clocks.
    pub fn advance_ms(&self, ms: u64) -> &Self {
        self.edit(|world| {
            world.now_ns += ms * 1_000_000;
            world.monotonic_ns += ms * 1_000_000;
        })
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

    /// What happens at the next `events::wait` for which nothing is scripted yet. Watches whose
    /// path a step changes fire, as do timers whose time it lets pass; if nothing fires, the next
    /// step follows. When the script is over, `wait` fails, which ends a discovery's run.
    pub fn then(&self, step: impl FnOnce(&Host) + 'static) -> &Self {
        self.edit(|world| world.steps.push_back(Box::new(step)))
    }

    /// What was logged so far.
    pub fn logged(&self) -> Vec<(Level, String)> {
        self.0.borrow().logged.clone()
    }

    /// Each call of `publish`, in order.
    pub fn published(&self) -> Vec<Vec<TargetGroup>> {
        self.0.borrow().published.clone()
    }

    fn edit<R>(&self, change: impl FnOnce(&mut World) -> R) -> &Self {
        change(&mut self.0.borrow_mut());
        self
    }
}

type Step = Box<dyn FnOnce(&Host)>;

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
    memory: Option<Memory>,
    disks: Vec<Disk>,
    networks: Vec<Network>,
    usages: BTreeMap<String, Result<Usage, String>>,
    steps: VecDeque<Step>,
    next_subscription: u64,
    subscriptions: BTreeMap<u64, Awaited>,
    logged: Vec<(Level, String)>,
    published: Vec<Vec<TargetGroup>>,
}

enum Node {
    File(Vec<u8>),
    Link(String),
    Fault(FileError),
}

enum Awaited {
    Path(String),
    Timer { at_ns: u64 },
}

impl World {
    fn real(&self, path: &str) -> Option<PathBuf> {
        self.mounts.iter().find_map(|(at, real)| {
            let below = path.strip_prefix(at.as_str())?;
            match below.strip_prefix('/') {
                Some(below) => Some(real.join(below)),
                None if below.is_empty() => Some(real.clone()),
                None => None,
            }
        })
    }

    /// Follows links that stand at exactly this path.
    fn follow(&self, path: &str) -> Result<String, FileError> {
        let mut path = path.to_owned();
        for _ in 0..40 {
            match self.files.get(&path) {
                Some(Node::Link(to)) => path.clone_from(to),
                _ => return Ok(path),
            }
        }
        Err(file_error(ErrorCode::Other, "too many symbolic links"))
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, FileError> {
        if let Some(real) = self.real(path) {
            return std::fs::read(real).map_err(|error| io_error(&error));
        }
        let path = self.follow(path)?;
        match self.files.get(&path) {
            Some(Node::File(content)) => Ok(content.clone()),
            Some(Node::Fault(error)) => Err(error.clone()),
            _ if self.is_folder(&path) => {
                Err(file_error(ErrorCode::IsADirectory, "is a directory"))
            }
            _ => Err(not_found()),
        }
    }

    fn is_folder(&self, path: &str) -> bool {
        path == "/" || self.below(path).next().is_some()
    }

    /// What lies below a folder, with the path relative to it.
    fn below<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = (&'a str, &'a Node)> {
        let folder = folder.strip_suffix('/').unwrap_or(folder);
        self.files.iter().filter_map(move |(path, node)| {
            let rest = path.strip_prefix(folder)?.strip_prefix('/')?;
            Some((rest, node))
        })
    }

    fn entries(&self, path: &str) -> Result<Vec<Entry>, FileError> {
        if let Some(real) = self.real(path) {
            return real_entries(&real);
        }
        let path = self.follow(path)?;
        match self.files.get(&path) {
            Some(Node::Fault(error)) => return Err(error.clone()),
            Some(_) => return Err(file_error(ErrorCode::NotADirectory, "not a directory")),
            None if !self.is_folder(&path) => return Err(not_found()),
            None => {}
        }
        let mut entries: BTreeMap<String, FileKind> = BTreeMap::new();
        for (rest, node) in self.below(&path) {
            match (rest.split_once('/'), node) {
                (Some((folder, _)), _) => {
                    entries.insert(folder.to_owned(), FileKind::Directory);
                }
                (None, Node::Link(_)) => {
                    entries.insert(rest.to_owned(), FileKind::Symlink);
                }
                (None, _) => {
                    entries.insert(rest.to_owned(), FileKind::File);
                }
            }
        }
        Ok(entries
            .into_iter()
            .map(|(name, kind)| Entry { name, kind })
            .collect())
    }

    fn stat(&self, path: &str) -> Result<Metadata, FileError> {
        if let Some(real) = self.real(path) {
            let metadata = std::fs::metadata(real).map_err(|error| io_error(&error))?;
            return Ok(Metadata {
                kind: real_kind(metadata.file_type()),
                size_bytes: metadata.len(),
                modified_ms: 0,
            });
        }
        let (kind, size_bytes) = match self.read(path) {
            Ok(content) => (FileKind::File, content.len() as u64),
            Err(error) if error.code == ErrorCode::IsADirectory => (FileKind::Directory, 0),
            Err(error) => return Err(error),
        };
        Ok(Metadata {
            kind,
            size_bytes,
            modified_ms: 0,
        })
    }

    /// What a watch compares: the file's content, or that of the folder's entries, or of whatever a
    /// pattern matches.
    fn fingerprint(&self, path: &str) -> BTreeMap<String, Vec<u8>> {
        if let Ok(content) = self.read(path) {
            return BTreeMap::from([(String::new(), content)]);
        }
        let (folder, pattern) = match path.rsplit_once('/') {
            Some((folder, last)) if last.contains('*') => (folder, last),
            _ => (path.trim_end_matches('/'), "*"),
        };
        self.entries(if folder.is_empty() { "/" } else { folder })
            .unwrap_or_default()
            .into_iter()
            .filter(|entry| glob::matches(pattern, &entry.name))
            .map(|entry| {
                let content = self.read(&format!("{folder}/{}", entry.name));
                (entry.name, content.unwrap_or_default())
            })
            .collect()
    }

    fn fingerprints(&self) -> BTreeMap<u64, BTreeMap<String, Vec<u8>>> {
        self.subscriptions
            .iter()
            .filter_map(|(id, awaited)| match awaited {
                Awaited::Path(path) => Some((*id, self.fingerprint(path))),
                Awaited::Timer { .. } => None,
            })
            .collect()
    }

    fn take_due_timers(&mut self) -> BTreeSet<u64> {
        let now_ns = self.monotonic_ns;
        let due: BTreeSet<u64> = self
            .subscriptions
            .iter()
            .filter(|(_, awaited)| matches!(awaited, Awaited::Timer { at_ns } if *at_ns <= now_ns))
            .map(|(id, _)| *id)
            .collect();
        self.subscriptions.retain(|id, _| !due.contains(id));
        due
    }

    fn subscribe(&mut self, awaited: Awaited) -> u64 {
        self.next_subscription += 1;
        self.subscriptions.insert(self.next_subscription, awaited);
        self.next_subscription
    }
}

fn real_entries(folder: &Path) -> Result<Vec<Entry>, FileError> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| io_error(&error))? {
        let entry = entry.map_err(|error| io_error(&error))?;
        entries.push(Entry {
            name: entry.file_name().to_string_lossy().into_owned(),
            kind: real_kind(entry.file_type().map_err(|error| io_error(&error))?),
        });
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

fn real_kind(kind: std::fs::FileType) -> FileKind {
    if kind.is_file() {
        FileKind::File
    } else if kind.is_dir() {
        FileKind::Directory
    } else if kind.is_symlink() {
        FileKind::Symlink
    } else {
        FileKind::Other
    }
}

fn file_error(code: ErrorCode, message: &str) -> FileError {
    FileError {
        code,
        message: message.to_owned(),
    }
}

fn not_found() -> FileError {
    file_error(ErrorCode::NotFound, "no such file or directory")
}

fn io_error(error: &std::io::Error) -> FileError {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::NotFound => not_found(),
        ErrorKind::PermissionDenied => file_error(ErrorCode::PermissionDenied, "permission denied"),
        ErrorKind::NotADirectory => file_error(ErrorCode::NotADirectory, "not a directory"),
        ErrorKind::IsADirectory => file_error(ErrorCode::IsADirectory, "is a directory"),
        ErrorKind::InvalidInput => file_error(ErrorCode::Invalid, "invalid argument"),
        _ => file_error(ErrorCode::Other, &error.to_string()),
    }
}

/// The functions of the contract, as wit-bindgen writes them for WebAssembly.
pub(crate) mod backend {
    use super::{CURRENT, Host};

    fn host() -> Host {
        Host(CURRENT.with_borrow(Clone::clone))
    }

    pub(crate) mod log {
        use crate::host::log::Level;

        pub(crate) fn write(level: Level, message: &str) {
            super::host().edit(|world| world.logged.push((level, message.to_owned())));
        }
    }

    pub(crate) mod clock {
        pub(crate) fn now_ns() -> u64 {
            super::host().0.borrow().now_ns
        }

        pub(crate) fn monotonic_ns() -> u64 {
            super::host().0.borrow().monotonic_ns
        }
    }

    pub(crate) mod random {
        pub(crate) fn next() -> u64 {
            let host = super::host();
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
        pub(crate) fn get(name: &str) -> Result<Option<String>, String> {
            Ok(super::host().0.borrow().environment.get(name).cloned())
        }
    }

    pub(crate) mod files {
        use super::super::{Node, file_error, io_error};
        use crate::bindings::exporter::narthex::plugin::files::{
            Entry, ErrorCode, FileError, Metadata,
        };

        pub(crate) fn read(path: &str) -> Result<Vec<u8>, FileError> {
            super::host().0.borrow().read(path)
        }

        pub(crate) fn read_many(paths: &[String]) -> Vec<Result<Vec<u8>, FileError>> {
            paths.iter().map(|path| read(path)).collect()
        }

        pub(crate) fn entries(path: &str) -> Result<Vec<Entry>, FileError> {
            super::host().0.borrow().entries(path)
        }

        pub(crate) fn stat(path: &str) -> Result<Metadata, FileError> {
            super::host().0.borrow().stat(path)
        }

        pub(crate) fn read_link(path: &str) -> Result<String, FileError> {
            let host = super::host();
            let world = host.0.borrow();
            if let Some(real) = world.real(path) {
                let target = std::fs::read_link(real).map_err(|error| io_error(&error))?;
                return Ok(target.to_string_lossy().into_owned());
            }
            match world.files.get(path) {
                Some(Node::Link(to)) => Ok(to.clone()),
                Some(_) => Err(file_error(ErrorCode::Invalid, "not a symbolic link")),
                None => Err(super::super::not_found()),
            }
        }

        pub(crate) fn real_path(path: &str) -> Result<String, FileError> {
            let host = super::host();
            let world = host.0.borrow();
            for (at, folder) in &world.mounts {
                let Some(below) = path.strip_prefix(at.as_str()) else {
                    continue;
                };
                let root = folder.canonicalize().map_err(|error| io_error(&error))?;
                let real = root
                    .join(below.trim_start_matches('/'))
                    .canonicalize()
                    .map_err(|error| io_error(&error))?;
                return Ok(match real.strip_prefix(&root) {
                    Ok(below) => format!("{at}/{}", below.display()),
                    Err(_) => real.display().to_string(),
                });
            }
            world.stat(path)?;
            world.follow(path)
        }
    }

    pub(crate) mod system {
        use crate::host::system::{Disk, Identity, Memory, Network, Usage, Zone};

        pub(crate) fn cpu_count() -> Result<u32, String> {
            Ok(super::host().0.borrow().cpu_count)
        }

        pub(crate) fn boot_time_seconds() -> Result<u64, String> {
            Ok(super::host().0.borrow().boot_time_seconds)
        }

        pub(crate) fn page_bytes() -> Result<u32, String> {
            Ok(super::host().0.borrow().page_bytes)
        }

        pub(crate) fn time_zone() -> Result<Zone, String> {
            let zone = super::host().0.borrow().time_zone.clone();
            zone.ok_or_else(|| "the test has set no time zone".to_owned())
        }

        pub(crate) fn identify() -> Result<Identity, String> {
            let identity = super::host().0.borrow().identity.clone();
            identity.ok_or_else(|| "the test has set no identity".to_owned())
        }

        pub(crate) fn memory_usage() -> Result<Memory, String> {
            let memory = super::host().0.borrow().memory;
            memory.ok_or_else(|| "the test has set no memory".to_owned())
        }

        pub(crate) fn disks() -> Result<Vec<Disk>, String> {
            Ok(super::host().0.borrow().disks.clone())
        }

        pub(crate) fn networks() -> Result<Vec<Network>, String> {
            Ok(super::host().0.borrow().networks.clone())
        }

        pub(crate) fn file_system_usage(
            mount_points: &[String],
            _timeout_ms: u64,
        ) -> Result<Vec<Result<Usage, String>>, String> {
            let host = super::host();
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

    pub(crate) mod events {
        use super::super::Awaited;
        use crate::bindings::exporter::narthex::plugin::files::FileError;

        pub(crate) fn watch(path: &str) -> Result<u64, FileError> {
            let host = super::host();
            let mut world = host.0.borrow_mut();
            Ok(world.subscribe(Awaited::Path(path.to_owned())))
        }

        pub(crate) fn timer(after_ms: u64) -> Result<u64, String> {
            let host = super::host();
            let mut world = host.0.borrow_mut();
            let at_ns = world.monotonic_ns + after_ms * 1_000_000;
            Ok(world.subscribe(Awaited::Timer { at_ns }))
        }

        pub(crate) fn close(subscription: u64) {
            super::host().edit(|world| world.subscriptions.remove(&subscription));
        }

        pub(crate) fn wait() -> Result<Vec<u64>, String> {
            let host = super::host();
            loop {
                let before = host.0.borrow().fingerprints();
                let step = host.0.borrow_mut().steps.pop_front();
                let Some(step) = step else {
                    return Err("the test's script is over".to_owned());
                };
                step(&host);
                let mut world = host.0.borrow_mut();
                let mut fired = world.take_due_timers();
                for (id, after) in world.fingerprints() {
                    if before.get(&id) != Some(&after) {
                        fired.insert(id);
                    }
                }
                if !fired.is_empty() {
                    return Ok(fired.into_iter().collect());
                }
            }
        }
    }

    pub(crate) mod publisher {
        use crate::host::publisher::TargetGroup;

        pub(crate) fn publish(groups: &[TargetGroup]) -> Result<(), String> {
            super::host().edit(|world| world.published.push(groups.to_vec()));
            Ok(())
        }
    }
}
