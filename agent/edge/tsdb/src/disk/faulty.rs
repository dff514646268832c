//! A disk that fails on request and remembers what it has not made safe yet.
//!
//! It writes to the real disk and keeps beside that what a power loss would leave: of every file
//! the bytes of its last sync, and the writes since then, of which any may be lost, and any may
//! have come through in part; and the same of names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, DiskFile, Path, PathBuf, RealDisk, io, with_path};

#[derive(Clone)]
pub(crate) struct FaultyDisk(Arc<Faults>);

pub(crate) struct Faults {
    /// The disk is full after so many bytes more.
    pub(crate) room_bytes: AtomicU64,
    pub(crate) cutting_fails: AtomicBool,
    pub(crate) syncing_fails: AtomicBool,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    contents: Vec<Content>,
    safe_names: BTreeMap<PathBuf, usize>,
    names: BTreeMap<PathBuf, usize>,
    /// In their order; a rename is one change.
    name_changes: Vec<Vec<(PathBuf, Option<usize>)>>,
    known: BTreeSet<PathBuf>,
}

#[derive(Default)]
struct Content {
    safe: Vec<u8>,
    since: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write(u64, Vec<u8>),
    Length(u64),
}

impl FaultyDisk {
    pub(crate) fn new() -> (Self, Arc<Faults>) {
        let faults = Arc::new(Faults {
            room_bytes: AtomicU64::new(u64::MAX),
            cutting_fails: AtomicBool::new(false),
            syncing_fails: AtomicBool::new(false),
            memory: Mutex::default(),
        });
        (FaultyDisk(faults.clone()), faults)
    }

    fn file(&self, file: Box<dyn DiskFile>, path: &Path, content: usize) -> Box<dyn DiskFile> {
        Box::new(FaultyFile {
            file,
            path: path.to_owned(),
            content,
            faults: self.0.clone(),
        })
    }
}

impl Faults {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lays down in `to` what a power loss at this moment could leave of the folder `from`; the
    /// seed decides what is lost.
    pub(crate) fn lose_power(&self, from: &Path, to: &Path, seed: u64) {
        let memory = self.memory();
        copy_unknown(from, to, &memory.known);
        let mut random = Random(seed | 1);
        let mut names = memory.safe_names.clone();
        for change in &memory.name_changes {
            if random.below(2) == 0 {
                apply_names(&mut names, change);
            }
        }
        for (path, content) in names {
            if let Ok(inside) = path.strip_prefix(from) {
                let target = to.join(inside);
                std::fs::create_dir_all(target.parent().unwrap()).unwrap();
                let bytes = memory.contents[content].after_power_loss(&mut random);
                std::fs::write(target, bytes).unwrap();
            }
        }
    }
}

impl Content {
    fn after_power_loss(&self, random: &mut Random) -> Vec<u8> {
        let mut bytes = self.safe.clone();
        for change in &self.since {
            match (random.below(3), change) {
                (0, _) => {}
                (1, Change::Write(offset, written)) => {
                    let part = random.below(written.len() as u64 + 1) as usize;
                    Change::Write(*offset, written[..part].to_vec()).apply(&mut bytes);
                }
                (_, change) => change.apply(&mut bytes),
            }
        }
        bytes
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Change::Length(length) => bytes.resize(*length as usize, 0),
            Change::Write(offset, written) => {
                let end = *offset as usize + written.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[*offset as usize..end].copy_from_slice(written);
            }
        }
    }
}

impl Memory {
    fn change_names(&mut self, change: Vec<(PathBuf, Option<usize>)>) {
        apply_names(&mut self.names, &change);
        self.known
            .extend(change.iter().map(|(path, _)| path.clone()));
        self.name_changes.push(change);
    }

    /// A file that was there before this disk is safe as it is.
    fn content_of(&mut self, path: &Path) -> usize {
        if let Some(content) = self.names.get(path) {
            return *content;
        }
        self.contents.push(Content {
            safe: std::fs::read(path).unwrap_or_default(),
            since: Vec::new(),
        });
        let content = self.contents.len() - 1;
        self.names.insert(path.to_owned(), content);
        self.safe_names.insert(path.to_owned(), content);
        self.known.insert(path.to_owned());
        content
    }
}

fn apply_names(names: &mut BTreeMap<PathBuf, usize>, change: &[(PathBuf, Option<usize>)]) {
    for (path, content) in change {
        match content {
            Some(content) => names.insert(path.clone(), *content),
            None => names.remove(path),
        };
    }
}

fn copy_unknown(from: &Path, to: &Path, known: &BTreeSet<PathBuf>) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_unknown(&path, &target, known);
        } else if !known.contains(&path) {
            std::fs::copy(&path, target).unwrap();
        }
    }
}

struct FaultyFile {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    content: usize,
    faults: Arc<Faults>,
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = RealDisk.create(path)?;
        let mut memory = self.0.memory();
        let content = match memory.names.get(path).copied() {
            Some(content) => {
                memory.contents[content].since.push(Change::Length(0));
                content
            }
            None => {
                memory.contents.push(Content::default());
                let content = memory.contents.len() - 1;
                memory.change_names(vec![(path.to_owned(), Some(content))]);
                content
            }
        };
        drop(memory);
        Ok(self.file(file, path, content))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = RealDisk.open(path)?;
        let content = self.0.memory().content_of(path);
        Ok(self.file(file, path, content))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let content = self.0.memory().content_of(from);
        RealDisk.rename(from, to)?;
        let change = vec![(from.to_owned(), None), (to.to_owned(), Some(content))];
        self.0.memory().change_names(change);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if !path.exists() {
            return Ok(());
        }
        let mut memory = self.0.memory();
        memory.content_of(path);
        memory.change_names(vec![(path.to_owned(), None)]);
        drop(memory);
        RealDisk.remove(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        if self.0.syncing_fails.load(Ordering::SeqCst) {
            return Err(with_path(&io::Error::other("syncing fails"), folder));
        }
        let mut memory = self.0.memory();
        let changes = std::mem::take(&mut memory.name_changes);
        for change in changes {
            if change.iter().any(|(path, _)| path.parent() == Some(folder)) {
                apply_names(&mut memory.safe_names, &change);
            } else {
                memory.name_changes.push(change);
            }
        }
        drop(memory);
        RealDisk.sync_folder(folder)
    }
}

impl DiskFile for FaultyFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let room = self.faults.room_bytes.load(Ordering::SeqCst);
        let fitting = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
        let written = &bytes[..fitting];
        self.file.write_at(written, offset)?;
        let mut memory = self.faults.memory();
        let change = Change::Write(offset, written.to_vec());
        memory.contents[self.content].since.push(change);
        drop(memory);
        let left = room - fitting as u64;
        self.faults.room_bytes.store(left, Ordering::SeqCst);
        if fitting < bytes.len() {
            let full = io::Error::from(io::ErrorKind::StorageFull);
            return Err(with_path(&full, &self.path));
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        if self.faults.cutting_fails.load(Ordering::SeqCst) {
            return Err(with_path(&io::Error::other("cutting fails"), &self.path));
        }
        let mut memory = self.faults.memory();
        memory.contents[self.content]
            .since
            .push(Change::Length(length));
        drop(memory);
        self.file.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        let mut memory = self.faults.memory();
        let content = &mut memory.contents[self.content];
        if self.faults.syncing_fails.load(Ordering::SeqCst) {
            // As Linux does: what could not be written counts as written from now on, and is lost.
            content.since.clear();
            return Err(with_path(&io::Error::other("syncing fails"), &self.path));
        }
        for change in std::mem::take(&mut content.since) {
            change.apply(&mut content.safe);
        }
        Ok(())
    }
}

/// Small and the same everywhere, so that a seed tells all.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit.max(1)
    }
}
