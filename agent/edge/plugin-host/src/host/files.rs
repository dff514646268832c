//! Reading files, within what is granted.
//!
//! Keeps true: what is opened is what was judged. Between judging a path and opening it someone
//! may put a symbolic link in its way, so the real path is opened without following any.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use rustix::fd::OwnedFd;
use rustix::fs::{Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::bindings::files::{Entry, ErrorCode, FileError, FileKind, Host, Metadata};

use crate::grant::Permits;

use super::{State, file_error};

/// A folder with more entries is refused: /proc of a very large machine has some hundred thousand.
const MAX_ENTRIES: usize = 1_000_000;

/// Here lie the attributes of devices, a hundred and more in each collection, each as long as this
/// at most: the kernel gives one whole at the first reading. There are no files of other kinds.
const DEVICES: &str = "/sys/devices";
const ATTRIBUTE_BYTES: usize = 4096;

/// Of how many folders it is remembered during a call where they really lie.
const FOLDERS: usize = 1000;

impl Host for State {
    fn read(&mut self, path: String) -> Result<Vec<u8>, FileError> {
        self.read_file(&path)
    }

    fn read_many(&mut self, paths: Vec<String>) -> Vec<Result<Vec<u8>, FileError>> {
        // The files of one crossing share one allowance.
        let mut left = self.shared.limits.load().file_bytes;
        paths
            .iter()
            .map(|path| {
                if self.may_go_on().is_err() {
                    return Err(file_error(ErrorCode::Other, "the call has taken too long"));
                }
                let content = self.read_up_to(path, left)?;
                left -= content.len() as u64;
                Ok(content)
            })
            .collect()
    }

    fn entries(&mut self, path: String) -> Result<Vec<Entry>, FileError> {
        let (real, folder) = self.open(&path, Purpose::List)?;
        let failed = |error: Errno| io_error(&error.into());
        let mut entries = Vec::new();
        for entry in Dir::new(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            // A name that is no UTF-8 can't be asked for, so it is of no use.
            let Ok(name) = entry.file_name().to_str() else {
                continue;
            };
            if name == "." || name == ".." {
                continue;
            }
            if entries.len() == MAX_ENTRIES {
                return Err(file_error(ErrorCode::TooLarge, "too many entries"));
            }
            let kind = match entry.file_type() {
                FileType::RegularFile => FileKind::File,
                FileType::Directory => FileKind::Directory,
                FileType::Symlink => FileKind::Symlink,
                // Some file systems don't say it here.
                FileType::Unknown => fs::symlink_metadata(real.join(name))
                    .map_or(FileKind::Other, |metadata| kind(metadata.file_type())),
                _ => FileKind::Other,
            };
            let name = name.to_owned();
            entries.push(Entry { name, kind });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn stat(&mut self, path: String) -> Result<Metadata, FileError> {
        let (_, file) = self.open(&path, Purpose::Look)?;
        let file = File::from(file);
        let metadata = file.metadata().map_err(|error| io_error(&error))?;
        let modified = metadata
            .modified()
            .ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
            .unwrap_or_default();
        Ok(Metadata {
            kind: kind(metadata.file_type()),
            size_bytes: metadata.len(),
            modified_ms: i64::try_from(modified.as_millis()).unwrap_or(i64::MAX),
        })
    }

    fn read_link(&mut self, path: String) -> Result<String, FileError> {
        let link = self.judged(&path, Permits::resolve_link)?;
        let target = fs::read_link(link).map_err(|error| io_error(&error))?;
        Ok(target.to_string_lossy().into_owned())
    }

    fn real_path(&mut self, path: String) -> Result<String, FileError> {
        let real = self.judged(&path, Permits::resolve)?;
        let real = self.shared.permits.load().root.seen(real);
        real.into_os_string()
            .into_string()
            .map_err(|_| file_error(ErrorCode::Other, "the real path is not UTF-8"))
    }
}

impl State {
    /// What a path comes to by one of the ways to judge it; a refusal is counted.
    pub(super) fn judged(
        &self,
        path: &str,
        judge: fn(&Permits, &str) -> Result<PathBuf, FileError>,
    ) -> Result<PathBuf, FileError> {
        let judged = judge(&self.shared.permits.load(), path);
        judged.inspect_err(|error| {
            if error.code == ErrorCode::NotGranted {
                self.shared.metrics.note_refusal("files");
            }
        })
    }

    /// Opens what the plugin may read. Gives besides where it really lies.
    fn open(&self, path: &str, purpose: Purpose) -> Result<(PathBuf, OwnedFd), FileError> {
        if self.shared.replay.is_some() {
            return self.open_resolved(path, purpose);
        }
        let split = path.rsplit_once('/').filter(|(_, name)| is_name(name));
        let Some((folder, name)) = split.filter(|_| path.starts_with('/')) else {
            return self.open_resolved(path, purpose);
        };
        // Most paths hold no symbolic links, or only in the folder, which lately led elsewhere for
        // a neighbour. Opened without following any, they lie where they say, and no more is to be
        // found out: what changed meanwhile is not opened.
        let known = self.folders.borrow().get(folder).cloned();
        let likely = match &known {
            Some(real) => format!("{real}/{name}"),
            None => path.to_owned(),
        };
        if let Some(plain) = self.shared.permits.load().plain(&likely)
            && let Some(opened) = open_plain(&plain, purpose)
        {
            return Ok((plain, opened?));
        }
        if known.is_none()
            && let Ok(real) = real_path(Path::new(folder))
            && let Some(real) = real.to_str().filter(|real| *real != folder)
        {
            let mut folders = self.folders.borrow_mut();
            if folders.len() == FOLDERS {
                folders.clear();
            }
            folders.insert(folder.to_owned(), real.to_owned());
            drop(folders);
            return self.open(path, purpose);
        }
        self.open_resolved(path, purpose)
    }

    fn open_resolved(&self, path: &str, purpose: Purpose) -> Result<(PathBuf, OwnedFd), FileError> {
        let real = self.judged(path, Permits::resolve)?;
        let opened = open(&real, purpose)?;
        Ok((real, opened))
    }

    pub(super) fn read_file(&self, path: &str) -> Result<Vec<u8>, FileError> {
        self.read_up_to(path, self.shared.limits.load().file_bytes)
    }

    fn read_up_to(&self, path: &str, limit_bytes: u64) -> Result<Vec<u8>, FileError> {
        let (real, file) = self.open(path, Purpose::Read)?;
        let content = read(&real, File::from(file), limit_bytes)?;
        if content.len() as u64 > limit_bytes {
            self.shared.metrics.note_limit("file_bytes");
            return Err(file_error(
                ErrorCode::TooLarge,
                &format!("longer than {limit_bytes} bytes (plugins.limits.file_bytes)"),
            ));
        }
        Ok(content)
    }
}

/// The content, and where that is longer than the limit, somewhat more than the limit of it.
fn read(real: &Path, mut file: File, limit_bytes: u64) -> Result<Vec<u8>, FileError> {
    let failed = |error: io::Error| io_error(&error);
    let mut content = Vec::new();
    if real.starts_with(DEVICES) {
        let mut start = [0; ATTRIBUTE_BYTES];
        let count = file.read(&mut start).map_err(failed)?;
        content.extend_from_slice(start.get(..count).unwrap_or_default());
        if count < ATTRIBUTE_BYTES {
            return Ok(content);
        }
    } else {
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(file_error(ErrorCode::IsADirectory, "is a directory"));
        }
        if !metadata.is_file() {
            return Err(file_error(ErrorCode::Invalid, "not a regular file"));
        }
        // The kernel's own files say that they are empty, and most of them fit into this.
        content.reserve(1024);
    }
    let left = limit_bytes.saturating_add(1);
    file.take(left).read_to_end(&mut content).map_err(failed)?;
    Ok(content)
}

/// Whether the last part of a path is an entry of the folder that stands before it.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".."
}

/// What a path is opened for.
#[derive(Clone, Copy, Debug)]
enum Purpose {
    Read,
    List,
    /// To see what it is.
    Look,
}

impl Purpose {
    fn flags(self) -> OFlags {
        // Pipes and devices must not block.
        let read = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        match self {
            Purpose::Read => read,
            Purpose::List => read | OFlags::DIRECTORY,
            #[cfg(target_os = "linux")]
            Purpose::Look => OFlags::PATH,
            #[cfg(not(target_os = "linux"))]
            Purpose::Look => read,
        }
    }
}

/// Opens a path that holds no symbolic links, and fails if it holds one after all.
fn open(real: &Path, purpose: Purpose) -> Result<OwnedFd, FileError> {
    let opened = match open_following_none(real, purpose) {
        Some(opened) => opened,
        None => {
            let flags = purpose.flags() | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            rustix::fs::open(real, flags, Mode::empty())
        }
    };
    opened.map_err(|error| io_error(&error.into()))
}

/// Opens a path if it holds no symbolic links; none where it does, or where that cannot be known.
fn open_plain(path: &Path, purpose: Purpose) -> Option<Result<OwnedFd, FileError>> {
    match open_following_none(path, purpose)? {
        Err(Errno::LOOP) => None,
        opened => Some(opened.map_err(|error| io_error(&error.into()))),
    }
}

/// None where the system cannot: kernels before 5.6, and sandboxes that don't know the call.
#[cfg(target_os = "linux")]
fn open_following_none(path: &Path, purpose: Purpose) -> Option<rustix::io::Result<OwnedFd>> {
    use rustix::fs::{CWD, ResolveFlags, openat2};
    let flags = purpose.flags() | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match openat2(CWD, path, flags, Mode::empty(), resolve) {
        Err(Errno::NOSYS | Errno::PERM) => None,
        opened => Some(opened),
    }
}

/// Where a path really leads. The kernel is asked once, and not for each part of the path.
#[cfg(target_os = "linux")]
pub(crate) fn real_path(path: &Path) -> io::Result<PathBuf> {
    use rustix::fd::AsRawFd;
    let opened = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let own = format!("/proc/self/fd/{}", opened.as_raw_fd());
    let Ok(real) = rustix::fs::readlink(own, Vec::new()) else {
        // Without /proc.
        return path.canonicalize();
    };
    let real = PathBuf::from(OsString::from_vec(real.into_bytes()));
    match real.is_absolute() {
        true => Ok(real),
        // It leads to a pipe or a socket, to which no path leads.
        false => Err(io::ErrorKind::NotFound.into()),
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn real_path(path: &Path) -> io::Result<PathBuf> {
    path.canonicalize()
}

#[cfg(not(target_os = "linux"))]
fn open_following_none(_: &Path, _: Purpose) -> Option<rustix::io::Result<OwnedFd>> {
    None
}

fn kind(kind: fs::FileType) -> FileKind {
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

/// In the words of Prometheus's exporters, which dashboards know as label values.
pub(crate) fn io_error(error: &io::Error) -> FileError {
    let known = |code: ErrorCode, message: &str| file_error(code, message);
    match Errno::from_io_error(error) {
        Some(Errno::NOENT) => known(ErrorCode::NotFound, "no such file or directory"),
        Some(Errno::ACCESS) => known(ErrorCode::PermissionDenied, "permission denied"),
        Some(Errno::PERM) => known(ErrorCode::PermissionDenied, "operation not permitted"),
        Some(Errno::NOTDIR) => known(ErrorCode::NotADirectory, "not a directory"),
        Some(Errno::ISDIR) => known(ErrorCode::IsADirectory, "is a directory"),
        Some(Errno::INVAL) => known(ErrorCode::Invalid, "invalid argument"),
        Some(Errno::NODATA) => known(ErrorCode::NoData, "no data available"),
        Some(Errno::AGAIN) => known(ErrorCode::TryAgain, "resource temporarily unavailable"),
        Some(Errno::OPNOTSUPP) => known(ErrorCode::NotSupported, "operation not supported"),
        Some(Errno::IO) => known(ErrorCode::InputOutput, "input/output error"),
        _ => known(ErrorCode::Other, &system_message(error)),
    }
}

/// The system's message for an error, in lower case and without its number.
pub(crate) fn system_message(error: &io::Error) -> String {
    if Errno::from_io_error(error) == Some(Errno::STALE) {
        return "stale NFS file handle".to_owned();
    }
    let text = error.to_string();
    let text = text.split(" (os error ").next().unwrap_or_default();
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_put_in_the_way_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir(root.join("real")).unwrap();
        fs::write(root.join("real/a"), "a").unwrap();
        symlink(root.join("real"), root.join("link")).unwrap();
        symlink(root.join("real/a"), root.join("a")).unwrap();
        for purpose in [Purpose::Read, Purpose::Look] {
            assert!(open(&root.join("real/a"), purpose).is_ok());
            assert!(open(&root.join("a"), purpose).is_err());
            assert!(open(&root.join("link/a"), purpose).is_err());
        }
        assert!(open(&root.join("link"), Purpose::List).is_err());
        // These need the longer way.
        assert!(open_plain(&root.join("a"), Purpose::Read).is_none());
        assert!(open_plain(&root.join("link/a"), Purpose::Read).is_none());
        for (path, expected) in [
            ("link", Some("real")),
            ("real", Some("real")),
            ("a", Some("real/a")),
            ("link/a", Some("real/a")),
            ("link/../real/./a", Some("real/a")),
            ("missing", None),
            ("real/a/b", None),
        ] {
            let real = real_path(&root.join(path)).ok();
            assert_eq!(real, expected.map(|real| root.join(real)), "{path}");
        }
    }

    #[test]
    fn messages_are_plain() {
        for (code, expected) in [
            (2, "no such file or directory"),
            (13, "permission denied"),
            (5, "input/output error"),
            (116, "stale NFS file handle"),
            (107, "transport endpoint is not connected"),
        ] {
            assert_eq!(
                io_error(&io::Error::from_raw_os_error(code)).message,
                expected
            );
        }
    }
}
