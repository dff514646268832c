//! The head as a file, which replaces the log before it.
//!
//! It is written under a temporary name and renamed when all of it is on the disk, so it is there
//! whole or not at all.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, DiskFile};
use crate::file_header::{FileKind, HEADER_BYTES};
use crate::log::files::{TEMPORARY_SUFFIX, snapshot_path};

pub(crate) const KIND: FileKind = FileKind {
    magic: *b"NARTHEXS",
    version: 1,
};

const BUFFER_BYTES: usize = 256 << 10;

/// A snapshot that is being written. Unless it is finished it is removed.
pub(crate) struct SnapshotWriter {
    path: PathBuf,
    temporary: PathBuf,
    disk: Arc<dyn Disk>,
    file: Box<dyn DiskFile>,
    written: u64,
    buffer: Vec<u8>,
    finished: bool,
}

impl SnapshotWriter {
    /// For a snapshot on top of which the log is replayed from this segment on.
    pub(crate) fn create(folder: &Path, disk: Arc<dyn Disk>, segment: u64) -> io::Result<Self> {
        let path = snapshot_path(folder, segment);
        let mut temporary = path.clone().into_os_string();
        temporary.push(TEMPORARY_SUFFIX);
        let temporary = PathBuf::from(temporary);
        let file = disk.create(&temporary)?;
        Ok(SnapshotWriter {
            path,
            temporary,
            disk,
            file,
            written: 0,
            buffer: KIND.header(segment).to_vec(),
            finished: false,
        })
    }

    /// What was written is on the disk when this returns, but not in use yet.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        io::Write::flush(self)?;
        self.file.sync()
    }

    /// From here on a replay begins with this snapshot. Gives its size.
    pub(crate) fn finish(mut self) -> io::Result<u64> {
        self.sync()?;
        self.disk.rename(&self.temporary, &self.path)?;
        self.finished = true;
        if let Some(folder) = self.path.parent() {
            self.disk.sync_folder(folder)?;
        }
        Ok(self.written)
    }
}

impl io::Write for SnapshotWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_at(&self.buffer, self.written)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        if !self.finished {
            // If this fails it is done at the next start.
            let _ = self.disk.remove(&self.temporary);
        }
    }
}

/// What follows the header.
pub(crate) fn body(bytes: &[u8]) -> &[u8] {
    bytes.get(HEADER_BYTES..).unwrap_or_default()
}
