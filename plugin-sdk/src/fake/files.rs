//! The fake host's files: those that a test writes, and folders of the real machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::World;
use crate::bindings::host::narthex::plugin::files::{
    Entry, ErrorCode, FileError, FileKind, Metadata,
};
use crate::glob;

pub(super) enum Node {
    File { content: Vec<u8>, modified_ms: i64 },
    Link(String),
    Fault(FileError),
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
            Some(Node::File { content, .. }) => Ok(content.clone()),
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
            let modified = metadata.modified().map_err(|error| io_error(&error))?;
            let since_1970 = modified.duration_since(std::time::UNIX_EPOCH);
            return Ok(Metadata {
                kind: real_kind(metadata.file_type()),
                size_bytes: metadata.len(),
                modified_ms: since_1970.map_or(0, |since| since.as_millis() as i64),
            });
        }
        let path = self.follow(path)?;
        match self.files.get(&path) {
            Some(Node::File {
                content,
                modified_ms,
            }) => Ok(Metadata {
                kind: FileKind::File,
                size_bytes: content.len() as u64,
                modified_ms: *modified_ms,
            }),
            Some(Node::Fault(error)) => Err(error.clone()),
            _ if self.is_folder(&path) => Ok(Metadata {
                kind: FileKind::Directory,
                size_bytes: 0,
                modified_ms: 0,
            }),
            _ => Err(not_found()),
        }
    }

    /// What a watch compares: the file's content, or that of the folder's entries, or of whatever a
    /// pattern matches.
    pub(super) fn fingerprint(&self, path: &str) -> BTreeMap<String, Vec<u8>> {
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

pub(super) fn file_error(code: ErrorCode, message: &str) -> FileError {
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

/// As wit-bindgen writes them for WebAssembly.
pub(crate) mod backend {
    use super::super::current;
    use super::{Node, file_error, io_error, not_found};
    use crate::bindings::host::narthex::plugin::files::{Entry, ErrorCode, FileError, Metadata};

    pub(crate) fn read(path: &str) -> Result<Vec<u8>, FileError> {
        current().0.borrow().read(path)
    }

    pub(crate) fn read_many(paths: &[String]) -> Vec<Result<Vec<u8>, FileError>> {
        paths.iter().map(|path| read(path)).collect()
    }

    pub(crate) fn entries(path: &str) -> Result<Vec<Entry>, FileError> {
        current().0.borrow().entries(path)
    }

    pub(crate) fn stat(path: &str) -> Result<Metadata, FileError> {
        current().0.borrow().stat(path)
    }

    pub(crate) fn read_link(path: &str) -> Result<String, FileError> {
        let host = current();
        let world = host.0.borrow();
        if let Some(real) = world.real(path) {
            let target = std::fs::read_link(real).map_err(|error| io_error(&error))?;
            return Ok(target.to_string_lossy().into_owned());
        }
        match world.files.get(path) {
            Some(Node::Link(to)) => Ok(to.clone()),
            Some(_) => Err(file_error(ErrorCode::Invalid, "not a symbolic link")),
            None => Err(not_found()),
        }
    }

    pub(crate) fn real_path(path: &str) -> Result<String, FileError> {
        let host = current();
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
