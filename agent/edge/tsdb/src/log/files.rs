//! The names of the log's files, and what lies in its folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, with_path};

/// The folder below the log's where files with unreadable parts are put.
pub(crate) const DAMAGED_FOLDER: &str = "damaged";

/// What an unfinished file's name ends in.
pub(crate) const TEMPORARY_SUFFIX: &str = ".tmp";

/// What the folder of the log holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct LogFiles {
    /// By the number of the first segment that is to be replayed on top of it, ascending.
    pub(crate) snapshots: Vec<u64>,
    /// Ascending.
    pub(crate) segments: Vec<u64>,
    /// What is none of the log's.
    pub(crate) foreign: Vec<PathBuf>,
}

pub(crate) fn segment_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(segment_name(number))
}

pub(crate) fn snapshot_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(snapshot_name(number))
}

/// Lists the folder and removes what was never finished.
pub(crate) fn list(folder: &Path, disk: &dyn Disk) -> io::Result<LogFiles> {
    let mut files = LogFiles::default();
    for entry in fs::read_dir(folder).map_err(|e| with_path(&e, folder))? {
        let name = entry.map_err(|e| with_path(&e, folder))?.file_name();
        let name = name.to_string_lossy();
        let path = folder.join(&*name);
        if name.ends_with(TEMPORARY_SUFFIX) && path.is_file() {
            disk.remove(&path)?;
        } else if let Some(number) = number_in(&name, snapshot_name) {
            files.snapshots.push(number);
        } else if let Some(number) = number_in(&name, segment_name) {
            files.segments.push(number);
        } else if name != DAMAGED_FOLDER {
            files.foreign.push(path);
        }
    }
    files.snapshots.sort_unstable();
    files.segments.sort_unstable();
    Ok(files)
}

/// Gives a damaged file of the log a second name in the folder of damaged files.
pub(crate) fn keep_aside(folder: &Path, path: &Path) -> io::Result<()> {
    // A segment that was missing is reported as damaged too.
    if !path.exists() {
        return Ok(());
    }
    let aside = folder.join(DAMAGED_FOLDER);
    fs::create_dir_all(&aside).map_err(|e| with_path(&e, &aside))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let names = (1..).map(|n| aside.join(format!("{name}.{n}")));
    for kept in names {
        match copy_to_new(path, &kept) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(with_path(&error, path)),
            Ok(()) => {}
        }
        tracing::warn!(file = %kept.display(), "a damaged file of the log is kept here");
        break;
    }
    Ok(())
}

/// A copy, since the file itself may be cut or written on.
fn copy_to_new(from: &Path, to: &Path) -> io::Result<()> {
    let mut target = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(to)?;
    let copied = fs::File::open(from).and_then(|mut from| io::copy(&mut from, &mut target));
    if let Err(error) = copied {
        // Half a copy is no copy; that it stays is no second reason to fail.
        let _ = fs::remove_file(to);
        return Err(error);
    }
    Ok(())
}

fn segment_name(number: u64) -> String {
    format!("{number:08}")
}

fn snapshot_name(number: u64) -> String {
    format!("snapshot.{number:08}")
}

/// The number that gives this name.
fn number_in(name: &str, name_of: fn(u64) -> String) -> Option<u64> {
    let digits = name.rsplit('.').next()?;
    let number = digits.parse().ok()?;
    (name_of(number) == name).then_some(number)
}
