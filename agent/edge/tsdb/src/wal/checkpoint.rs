//! Writing a checkpoint: a folder of segments that holds what the log up to a segment amounts to.
//!
//! It is written under a temporary name and renamed when all of it is on the disk, so a checkpoint
//! is there whole or not at all. An unfinished one is removed when it is dropped, or at start.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{Disk, LogFile, sync_folder};
use super::segment::{FrameWriter, HEADER_BYTES, header};
use super::{SegmentInfo, checkpoint_name, segment_name, with_path};

/// What an unfinished checkpoint's name ends in.
pub(super) const TEMPORARY_SUFFIX: &str = ".tmp";

pub(crate) struct CheckpointWriter {
    folder: PathBuf,
    temporary: PathBuf,
    disk: Arc<dyn Disk>,
    segment_bytes: u64,
    covered: u64,
    file: Box<dyn LogFile>,
    number: u64,
    length: u64,
    total_bytes: u64,
    buffer: Vec<u8>,
    finished: bool,
}

impl CheckpointWriter {
    pub(super) fn create(
        folder: &Path,
        disk: Arc<dyn Disk>,
        segment_bytes: u64,
        covered: u64,
    ) -> io::Result<Self> {
        let name = checkpoint_name(covered) + TEMPORARY_SUFFIX;
        let temporary = folder.join(name);
        remove_folder_if_there(&temporary)?;
        fs::create_dir(&temporary).map_err(|e| with_path(&e, &temporary))?;
        let file = match create_segment(&temporary, &*disk, 1) {
            Ok(file) => file,
            Err(error) => {
                let _ = fs::remove_dir_all(&temporary);
                return Err(error);
            }
        };
        Ok(CheckpointWriter {
            folder: folder.to_owned(),
            temporary,
            disk,
            segment_bytes,
            covered,
            file,
            number: 1,
            length: HEADER_BYTES,
            total_bytes: HEADER_BYTES,
            buffer: Vec::new(),
            finished: false,
        })
    }

    /// Adds the record that `write` appends.
    pub(crate) fn record(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        if self.length >= self.segment_bytes {
            self.file.sync()?;
            self.number += 1;
            self.file = create_segment(&self.temporary, &*self.disk, self.number)?;
            self.length = HEADER_BYTES;
            self.total_bytes += HEADER_BYTES;
        }
        self.buffer.clear();
        FrameWriter::new(&mut self.buffer, self.number, self.length).record(write);
        let written = self.file.write_at(&self.buffer, self.length);
        written.map_err(|e| with_path(&e, &self.temporary))?;
        self.length += self.buffer.len() as u64;
        self.total_bytes += self.buffer.len() as u64;
        Ok(())
    }

    /// From here on a replay reads this checkpoint instead of what it replaces.
    pub(crate) fn finish(mut self) -> io::Result<SegmentInfo> {
        let path = self.folder.join(checkpoint_name(self.covered));
        self.file.sync()?;
        sync_folder(&self.temporary)?;
        fs::rename(&self.temporary, &path).map_err(|e| with_path(&e, &path))?;
        self.finished = true;
        sync_folder(&self.folder)?;
        Ok(SegmentInfo {
            number: self.covered,
            size_bytes: self.total_bytes,
        })
    }
}

impl Drop for CheckpointWriter {
    fn drop(&mut self) {
        if !self.finished {
            // If this fails it is done at the next attempt or start.
            let _ = fs::remove_dir_all(&self.temporary);
        }
    }
}

fn create_segment(folder: &Path, disk: &dyn Disk, number: u64) -> io::Result<Box<dyn LogFile>> {
    let path = folder.join(segment_name(number));
    let file = disk.create(&path).map_err(|e| with_path(&e, &path))?;
    file.write_at(&header(number), 0)
        .map_err(|e| with_path(&e, &path))?;
    Ok(file)
}

fn remove_folder_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(with_path(&error, path)),
        _ => Ok(()),
    }
}
