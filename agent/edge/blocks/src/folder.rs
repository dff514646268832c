//! Names in a data folder, and every step that changes what is in it.
//!
//! A block appears and disappears by one renaming: it is made in a folder with the ending
//! `.tmp-for-creation`, and gets `.tmp-for-deletion` before its files go. Whatever has such an
//! ending is a leftover and is removed when the data folder is opened. Files of a block that change
//! later (meta.json, tombstones) are written beside and renamed over the old one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::{Error, Ulid};

pub(crate) const META: &str = "meta.json";
pub(crate) const INDEX: &str = "index";
pub(crate) const TOMBSTONES: &str = "tombstones";
pub(crate) const CHUNKS: &str = "chunks";

const FOR_CREATION: &str = "tmp-for-creation";
const FOR_DELETION: &str = "tmp-for-deletion";
/// As older versions of Prometheus named both.
const TEMPORARY: &str = "tmp";
/// The rest of a block of which some chunks could not be read when it was compacted.
const DAMAGED: &str = "damaged";

pub(crate) fn block_path(data: &Path, ulid: Ulid) -> PathBuf {
    data.join(ulid.to_string())
}

/// Where a new block is made.
pub(crate) fn creation_path(data: &Path, ulid: Ulid) -> PathBuf {
    data.join(format!("{ulid}.{FOR_CREATION}"))
}

pub(crate) fn segment_path(block: &Path, segment: u32) -> PathBuf {
    let number = u64::from(segment) + 1;
    block.join(CHUNKS).join(format!("{number:06}"))
}

/// Blocks in a data folder, ascending by name. What has another name is not looked at.
pub(crate) fn blocks(data: &Path) -> Result<Vec<(Ulid, PathBuf)>, Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir(data).map_err(Error::io(data))? {
        let path = entry.map_err(Error::io(data))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let ulid = name.and_then(|name| name.parse::<Ulid>().ok());
        if let Some(ulid) = ulid.filter(|_| path.is_dir()) {
            found.push((ulid, path));
        }
    }
    found.sort();
    Ok(found)
}

/// Removes what an interrupted creation or deletion left.
pub(crate) fn remove_leftovers(data: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(data).map_err(Error::io(data))? {
        let path = entry.map_err(Error::io(data))?.path();
        if path.is_dir() && is_leftover(&path) {
            tracing::info!(folder = %path.display(), "removing what an interrupted task left");
            remove_folder(&path)?;
        }
    }
    Ok(())
}

fn is_leftover(path: &Path) -> bool {
    let text = |part: Option<&std::ffi::OsStr>| part.and_then(|p| p.to_str()).map(str::to_owned);
    let is_block = text(path.file_stem()).is_some_and(|stem| stem.parse::<Ulid>().is_ok());
    let ending = text(path.extension());
    let endings = [FOR_CREATION, FOR_DELETION, TEMPORARY];
    is_block && ending.is_some_and(|ending| endings.contains(&ending.as_str()))
}

/// Size of all files below a folder.
pub(crate) fn size_bytes(folder: &Path) -> io::Result<u64> {
    let mut total = 0u64;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        total = total.saturating_add(if metadata.is_dir() {
            size_bytes(&entry.path())?
        } else {
            metadata.len()
        });
    }
    Ok(total)
}

/// Deletes a block. Who has it open goes on reading.
pub(crate) fn delete_block(data: &Path, ulid: Ulid) -> Result<(), Error> {
    let path = block_path(data, ulid);
    let doomed = data.join(format!("{ulid}.{FOR_DELETION}"));
    if doomed.exists() {
        remove_folder(&doomed)?;
    }
    rename(&path, &doomed)?;
    sync_folder(data)?;
    remove_folder(&doomed)
}

/// Takes blocks out of use that another block replaces: one that is marked as damaged is set aside,
/// others are deleted.
pub(crate) fn retire_block(data: &Path, ulid: Ulid, is_damaged: bool) -> Result<(), Error> {
    if !is_damaged {
        return delete_block(data, ulid);
    }
    let aside = set_aside(data, ulid)?;
    tracing::warn!(
        folder = %aside.display(),
        "a block of which parts could not be read was set aside; what could be read is in another block"
    );
    Ok(())
}

/// Takes a block out of use without deleting it; gives its new name.
fn set_aside(data: &Path, ulid: Ulid) -> Result<PathBuf, Error> {
    let path = block_path(data, ulid);
    let aside = data.join(format!("{ulid}.{DAMAGED}"));
    rename(&path, &aside)?;
    sync_folder(data)?;
    Ok(aside)
}

/// Replaces a file's content, so that after a crash it is the old one or the new one.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<(), Error> {
    let temporary = path.with_extension("tmp");
    write_new(&temporary, content)?;
    rename(&temporary, path)?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Writes a file that is on disk when this returns.
pub(crate) fn write_new(path: &Path, content: &[u8]) -> Result<(), Error> {
    let mut file = create(path)?;
    file.write_all(content).map_err(Error::io(path))?;
    file.sync().map_err(Error::io(path))
}

/// A file that is being written.
pub(crate) struct NewFile {
    file: File,
    path: PathBuf,
}

impl NewFile {
    /// Waits until what was written is on disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        change(&Change::Sync(&self.path), || sync(&self.file))
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        change(&Change::Write, || self.file.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) fn create(path: &Path) -> Result<NewFile, Error> {
    let created = change(&Change::Create(path), || File::create(path));
    let file = created.map_err(Error::io(path))?;
    Ok(NewFile {
        file,
        path: path.to_owned(),
    })
}

pub(crate) fn create_folder(path: &Path) -> Result<(), Error> {
    let created = change(&Change::Folder(path), || fs::create_dir_all(path));
    created.map_err(Error::io(path))
}

pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    let renamed = change(&Change::Rename(from, to), || fs::rename(from, to));
    renamed.map_err(Error::io(from))
}

pub(crate) fn hard_link(from: &Path, to: &Path) -> Result<(), Error> {
    let linked = change(&Change::Link(from, to), || fs::hard_link(from, to));
    linked.map_err(Error::io(from))
}

pub(crate) fn remove_file(path: &Path) -> Result<(), Error> {
    change(&Change::Remove(path), || fs::remove_file(path)).map_err(Error::io(path))
}

/// Removes a folder with all that is in it.
pub(crate) fn remove_folder(path: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(path).map_err(Error::io(path))? {
        let entry = entry.map_err(Error::io(path))?;
        let kind = entry.file_type().map_err(Error::io(path))?;
        if kind.is_dir() {
            remove_folder(&entry.path())?;
        } else {
            remove_file(&entry.path())?;
        }
    }
    change(&Change::Remove(path), || fs::remove_dir(path)).map_err(Error::io(path))
}

/// Makes sure that what was created, renamed or removed in a folder stays so.
pub(crate) fn sync_folder(path: &Path) -> Result<(), Error> {
    let synced = change(&Change::SyncFolder(path), || sync(&File::open(path)?));
    synced.map_err(Error::io(path))
}

/// Waits until what was written is on disk. Tests end no more than the process, and don't wait.
fn sync(file: &File) -> io::Result<()> {
    match cfg!(test) {
        true => Ok(()),
        false => file.sync_all(),
    }
}

/// A step that changes the disk, or makes a change stay.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(test), expect(dead_code, reason = "tests look at it"))]
pub(crate) enum Change<'a> {
    Create(&'a Path),
    Write,
    Sync(&'a Path),
    Folder(&'a Path),
    SyncFolder(&'a Path),
    Rename(&'a Path, &'a Path),
    Link(&'a Path, &'a Path),
    Remove(&'a Path),
}

/// All changes go through here: a test makes them fail, or remembers them.
#[cfg(not(test))]
#[inline]
fn change<T>(_: &Change<'_>, make: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    make()
}

#[cfg(test)]
fn change<T>(change: &Change<'_>, make: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    crate::tests::disk::before()?;
    let made = make()?;
    crate::tests::disk::after(change);
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_leftovers_of_blocks_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path();
        let ulid = "01BZJ9WJQPWHGNC2W4J9TA62KC";
        let names = [
            (format!("{ulid}.tmp-for-creation"), false),
            (format!("{ulid}.tmp-for-deletion"), false),
            (format!("{ulid}.tmp"), false),
            (ulid.to_owned(), true),
            (format!("{ulid}.damaged"), true),
            ("wal".to_owned(), true),
            ("other.tmp".to_owned(), true),
        ];
        for (name, _) in &names {
            fs::create_dir_all(data.join(name).join("inside")).unwrap();
        }
        remove_leftovers(data).unwrap();
        for (name, stays) in &names {
            assert_eq!(data.join(name).exists(), *stays, "{name}");
        }
        let found = blocks(data).unwrap();
        assert_eq!(found, [(ulid.parse().unwrap(), data.join(ulid))]);
    }
}
