//! Where the store writes its own files: behind traits, so that a disk that fills up, fails or loses
//! its power can be tested.
//!
//! Every error names the file it is about.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

pub(crate) trait Disk: Send + Sync {
    /// An empty file; one that is there is emptied.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// A file that is there, as it is.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Replaces what has the new name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// A file that is not there is removed already.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// When this returns, the names in the folder survive power loss.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
}

pub(crate) trait DiskFile: Send + Sync {
    /// Writes all bytes or fails; part of them may be written then.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    fn set_len(&self, length: u64) -> io::Result<()>;

    /// When this returns, what was written survives power loss.
    fn sync(&self) -> io::Result<()>;
}

pub(crate) struct RealDisk;

struct RealFile {
    file: File,
    path: PathBuf,
}

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(true);
        open_with(options, path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        open_with(OpenOptions::new().write(true), path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to).map_err(|e| with_path(&e, from))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(with_path(&error, path)),
            _ => Ok(()),
        }
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|e| with_path(&e, folder))
    }
}

impl DiskFile for RealFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let written = self.file.write_all_at(bytes, offset);
        written.map_err(|e| with_path(&e, &self.path))
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file
            .set_len(length)
            .map_err(|e| with_path(&e, &self.path))
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data().map_err(|e| with_path(&e, &self.path))
    }
}

pub(crate) fn with_path(error: &io::Error, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn open_with(options: &OpenOptions, path: &Path) -> io::Result<Box<dyn DiskFile>> {
    let file = options.open(path).map_err(|e| with_path(&e, path))?;
    Ok(Box::new(RealFile {
        file,
        path: path.to_owned(),
    }))
}

#[cfg(test)]
pub(crate) mod faulty;
