//! What the watched paths lead to at one moment, and how two moments differ.
//!
//! A fingerprint follows symlinks: whichever link on the way was re-pointed, it is the file at the
//! end that is compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata};
use std::hash::Hasher;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Larger files are compared by their metadata alone.
const HASHED_UP_TO_BYTES: u64 = 64 << 20;

/// File systems stamp times in steps of up to this; a younger file may change without its metadata
/// showing it, so it is read again.
const COARSEST_TIMESTAMP: Duration = Duration::from_secs(2);

/// By watched path, what it stands for: itself, or the entries of a folder, or a pattern's matches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    watched: BTreeMap<PathBuf, BTreeMap<PathBuf, Fingerprint>>,
}

#[derive(Clone, Debug)]
enum Fingerprint {
    Missing,
    Folder,
    File(FileFingerprint),
    Unreadable(ErrorKind),
}

#[derive(Clone, Debug)]
struct FileFingerprint {
    stamp: Stamp,
    /// None for a file too large to read.
    content_hash: Option<u64>,
    /// The file was old enough, when it was read, that its stamp tells of any later change.
    settled: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    size_bytes: u64,
    modified: Option<SystemTime>,
    /// Device, inode and change time, where the system has them.
    identity: (u64, u64, i64, i64),
}

impl Snapshot {
    /// Looks at everything `paths` stands for. Files whose metadata are as in `known` are not read
    /// again.
    pub(crate) fn take(paths: &[PathBuf], known: &Snapshot) -> Snapshot {
        let look = |path: &PathBuf| (path.clone(), look_at(path, known.watched.get(path)));
        Snapshot {
            watched: paths.iter().map(look).collect(),
        }
    }

    /// Cut down to `paths`, with `known` for those that it has.
    pub(crate) fn with_known(mut self, known: &Snapshot, paths: &[PathBuf]) -> Snapshot {
        let known = known.watched.iter();
        self.watched
            .extend(known.map(|(path, files)| (path.clone(), files.clone())));
        self.watched.retain(|path, _| paths.contains(path));
        self
    }

    /// The files whose content is another than in `earlier`. A file that only one of the two has
    /// counts as missing in the other.
    pub(crate) fn differences(&self, earlier: &Snapshot) -> BTreeSet<PathBuf> {
        let nothing = BTreeMap::new();
        let mut paths = BTreeSet::new();
        for (watched, files) in &self.watched {
            let earlier = earlier.watched.get(watched).unwrap_or(&nothing);
            for path in files.keys().chain(earlier.keys()) {
                let now = files.get(path).unwrap_or(&Fingerprint::Missing);
                let then = earlier.get(path).unwrap_or(&Fingerprint::Missing);
                if !now.same_content(then) {
                    paths.insert(path.clone());
                }
            }
        }
        paths
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        let files = self.watched.values().flat_map(BTreeMap::keys);
        files.map(PathBuf::as_path)
    }
}

fn look_at(
    path: &Path,
    known: Option<&BTreeMap<PathBuf, Fingerprint>>,
) -> BTreeMap<PathBuf, Fingerprint> {
    let fingerprint = |path: &Path| {
        let known = known.and_then(|known| known.get(path));
        Fingerprint::take(path, known.unwrap_or(&Fingerprint::Missing))
    };
    let mut files = BTreeMap::new();
    for path in expand(path) {
        let of_path = fingerprint(&path);
        if matches!(of_path, Fingerprint::Folder) {
            for entry in folder_entries(&path) {
                let of_entry = fingerprint(&entry);
                files.insert(entry, of_entry);
            }
        }
        files.insert(path, of_path);
    }
    files
}

impl Fingerprint {
    fn take(path: &Path, known: &Fingerprint) -> Fingerprint {
        match Self::try_take(path, known) {
            Ok(fingerprint) => fingerprint,
            Err(error) => match error.kind() {
                ErrorKind::NotFound | ErrorKind::NotADirectory => Fingerprint::Missing,
                kind => Fingerprint::Unreadable(kind),
            },
        }
    }

    fn try_take(path: &Path, known: &Fingerprint) -> io::Result<Fingerprint> {
        let metadata = fs::metadata(path)?;
        if metadata.is_dir() {
            return Ok(Fingerprint::Folder);
        }
        let stamp = Stamp::of(&metadata);
        if let Fingerprint::File(file) = known
            && file.settled
            && file.stamp == stamp
        {
            return Ok(known.clone());
        }
        // Reading a pipe or a device could block for ever.
        let content_hash = match metadata.is_file() && metadata.len() <= HASHED_UP_TO_BYTES {
            true => Some(hash_content(path)?),
            false => None,
        };
        let settled = stamp
            .modified
            .and_then(|modified| modified.elapsed().ok())
            .is_some_and(|age| age > COARSEST_TIMESTAMP);
        Ok(Fingerprint::File(FileFingerprint {
            stamp,
            content_hash,
            settled,
        }))
    }

    fn same_content(&self, other: &Fingerprint) -> bool {
        match (self, other) {
            (Fingerprint::Missing, Fingerprint::Missing)
            | (Fingerprint::Folder, Fingerprint::Folder) => true,
            (Fingerprint::Unreadable(a), Fingerprint::Unreadable(b)) => a == b,
            (Fingerprint::File(a), Fingerprint::File(b)) => {
                match (a.content_hash, b.content_hash) {
                    (Some(a), Some(b)) => a == b,
                    (None, None) => a.stamp == b.stamp,
                    _ => false,
                }
            }
            _ => false,
        }
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Stamp {
        Stamp {
            size_bytes: metadata.len(),
            modified: metadata.modified().ok(),
            identity: identity(metadata),
        }
    }
}

#[cfg(unix)]
fn identity(metadata: &Metadata) -> (u64, u64, i64, i64) {
    use std::os::unix::fs::MetadataExt;
    (
        metadata.dev(),
        metadata.ino(),
        metadata.ctime(),
        metadata.ctime_nsec(),
    )
}

#[cfg(not(unix))]
fn identity(_metadata: &Metadata) -> (u64, u64, i64, i64) {
    (0, 0, 0, 0)
}

fn hash_content(path: &Path) -> io::Result<u64> {
    let mut file = File::open(path)?;
    let mut hasher = std::hash::DefaultHasher::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(count) => hasher.write(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// What a path stands for: itself, or what it matches if it is a pattern and no file has that name.
fn expand(path: &Path) -> Vec<PathBuf> {
    match pattern_of(path) {
        Some(pattern) => match glob::glob(pattern) {
            Ok(matches) => matches.filter_map(Result::ok).collect(),
            // A pattern that can't be read matches nothing; who configured it says so.
            Err(_) => Vec::new(),
        },
        None => vec![path.to_owned()],
    }
}

/// The path as a pattern, if it is one.
pub(crate) fn pattern_of(path: &Path) -> Option<&str> {
    let text = path.to_str()?;
    let is_pattern = text.contains(['*', '?', '[']) && path.symlink_metadata().is_err();
    is_pattern.then_some(text)
}

fn folder_entries(folder: &Path) -> Vec<PathBuf> {
    match fs::read_dir(folder) {
        Ok(entries) => entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| !path.is_dir())
            .collect(),
        Err(_) => Vec::new(),
    }
}
