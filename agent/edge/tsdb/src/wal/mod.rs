//! The write-ahead log: numbered segment files of framed records, and checkpoints that replace old
//! segments.
//!
//! Keeps true: what [`Wal::write`] wrote survives a kill when it returns, and power loss a second
//! later; a write that failed leaves nothing that a replay would read. No file is deleted before
//! what replaces it is on the disk. `FORMAT.md` draws the files. Knows nothing of the head.

mod checkpoint;
pub(crate) mod disk;
pub(crate) mod record;
mod replay;
mod segment;
mod sync;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) use checkpoint::CheckpointWriter;
pub(crate) use replay::{ReplayError, ReplayReport, Target, replay};
pub(crate) use segment::FrameWriter;
pub(crate) use sync::Syncer;

use disk::{Disk, LogFile};
use segment::HEADER_BYTES;

/// The folder of the log below the data folder.
pub(crate) const FOLDER: &str = "narthex-wal";

/// The folder below the log's where files with unreadable parts are put.
const DAMAGED_FOLDER: &str = "damaged";

/// A record above this is refused: its length has to fit the frame, and a replay has to hold it.
const RECORD_LIMIT_BYTES: u64 = 1 << 30;

#[derive(Clone, Copy, Debug)]
pub(crate) struct WalOptions {
    pub(crate) segment_bytes: u64,
    pub(crate) record_limit_bytes: u64,
}

impl WalOptions {
    pub(crate) fn new(segment_bytes: u64) -> Self {
        WalOptions {
            segment_bytes,
            record_limit_bytes: RECORD_LIMIT_BYTES,
        }
    }
}

/// The end of the log, where records are added.
pub(crate) struct Wal {
    folder: PathBuf,
    disk: Arc<dyn Disk>,
    options: WalOptions,
    syncer: Arc<Syncer>,
    current: Arc<OpenSegment>,
    length: u64,
    /// Something behind `length` could not be cut off.
    torn: bool,
    /// Before the current one.
    older: Vec<SegmentInfo>,
    checkpoint: Option<SegmentInfo>,
    /// Files with unreadable parts, to be kept aside before they are replaced.
    damaged: Vec<PathBuf>,
    buffer: Vec<u8>,
}

/// A file of the log, or a checkpoint with the number of the last segment that it replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentInfo {
    pub(crate) number: u64,
    pub(crate) size_bytes: u64,
}

/// The file that records go to, shared with the thread that syncs it.
pub(crate) struct OpenSegment {
    number: u64,
    path: PathBuf,
    file: Box<dyn LogFile>,
    /// Has bytes that were not synced.
    dirty: AtomicBool,
    /// Its name may not be on the disk yet.
    fresh: AtomicBool,
}

impl Wal {
    /// Goes on where a replay ended.
    pub(crate) fn resume(
        folder: &Path,
        disk: Arc<dyn Disk>,
        options: WalOptions,
        syncer: Arc<Syncer>,
        report: ReplayReport,
    ) -> io::Result<Self> {
        let mut older = report.segments;
        let is_damaged = |info: &SegmentInfo| {
            report
                .damaged_files
                .contains(&folder.join(segment_name(info.number)))
        };
        let (current, length) = match older.pop() {
            // Not even its header is whole, so there is nothing to keep.
            Some(last) if last.size_bytes < HEADER_BYTES => {
                let current = OpenSegment::create(folder, &*disk, last.number)?;
                (current, HEADER_BYTES)
            }
            Some(last) => {
                let current = OpenSegment::open(folder, &*disk, last.number)?;
                let cut = current.file.set_len(last.size_bytes);
                cut.map_err(|e| with_path(&e, &current.path))?;
                if is_damaged(&last) {
                    older.push(last);
                    let next = OpenSegment::create(folder, &*disk, last.number + 1)?;
                    (next, HEADER_BYTES)
                } else {
                    (current, last.size_bytes)
                }
            }
            None => {
                let covered = report.checkpoint.map_or(0, |info| info.number);
                let current = OpenSegment::create(folder, &*disk, covered + 1)?;
                (current, HEADER_BYTES)
            }
        };
        let current = Arc::new(current);
        syncer.watch(current.clone());
        Ok(Wal {
            folder: folder.to_owned(),
            disk,
            options,
            syncer,
            current,
            length,
            torn: false,
            older,
            checkpoint: report.checkpoint,
            damaged: report.damaged_files,
            buffer: Vec::new(),
        })
    }

    /// Adds the records that `build` writes, all or none.
    pub(crate) fn write(&mut self, build: impl FnOnce(&mut FrameWriter<'_>)) -> io::Result<()> {
        self.repair()?;
        if self.length >= self.options.segment_bytes {
            self.roll()?;
        }
        self.buffer.clear();
        let mut frames = FrameWriter::new(&mut self.buffer, self.current.number, self.length);
        build(&mut frames);
        if frames.longest_record_bytes() > self.options.record_limit_bytes {
            let limit = self.options.record_limit_bytes;
            return Err(io::Error::other(format!(
                "the batch takes more than {limit} bytes in the log: commit smaller batches"
            )));
        }
        let written = self.current.file.write_at(&self.buffer, self.length);
        if let Err(error) = written {
            self.torn = true;
            // If this fails too it is tried again before the next write.
            let _ = self.repair();
            return Err(with_path(&error, &self.current.path));
        }
        self.length += self.buffer.len() as u64;
        self.current.dirty.store(true, Ordering::Release);
        Ok(())
    }

    /// Sees to it that the present segment is empty, so that a checkpoint can replace all before
    /// it; gives the number of the last of those.
    pub(crate) fn finish_segment(&mut self) -> io::Result<u64> {
        let replaced = self.checkpoint.map_or(0, |info| info.number);
        // A checkpoint of the same number must not be written: it could not be put in place of the
        // old one in one step.
        if self.length > HEADER_BYTES || self.current.number == replaced + 1 {
            self.roll()?;
        }
        Ok(self.current.number - 1)
    }

    /// A checkpoint that is to replace the segments up to `covered`.
    pub(crate) fn new_checkpoint(&mut self, covered: u64) -> io::Result<CheckpointWriter> {
        while let Some(path) = self.damaged.last() {
            keep_aside(&self.folder, path).map_err(|e| with_path(&e, path))?;
            self.damaged.pop();
        }
        let disk = self.disk.clone();
        CheckpointWriter::create(&self.folder, disk, self.options.segment_bytes, covered)
    }

    /// Takes a finished checkpoint into account; gives what it replaces.
    pub(crate) fn adopt(&mut self, checkpoint: SegmentInfo) -> Replaced {
        let number = checkpoint.number;
        let old = self.checkpoint.replace(checkpoint);
        let (gone, kept) = self.older.iter().partition(|info| info.number <= number);
        self.older = kept;
        Replaced {
            folder: self.folder.clone(),
            segments: gone,
            checkpoint: old.filter(|old| old.number < number),
        }
    }

    #[cfg(test)]
    pub(crate) fn limit_records(&mut self, limit_bytes: u64) {
        self.options.record_limit_bytes = limit_bytes;
    }

    /// Whether there are files with unreadable parts that a checkpoint should replace.
    pub(crate) fn is_damaged(&self) -> bool {
        !self.damaged.is_empty()
    }

    pub(crate) fn current_number(&self) -> u64 {
        self.current.number
    }

    /// What a replay would read after the checkpoint.
    pub(crate) fn tail_bytes(&self) -> u64 {
        let older: u64 = self.older.iter().map(|info| info.size_bytes).sum();
        older + self.length
    }

    pub(crate) fn checkpoint_bytes(&self) -> u64 {
        self.checkpoint.map_or(0, |info| info.size_bytes)
    }

    fn roll(&mut self) -> io::Result<()> {
        self.repair()?;
        let finished = SegmentInfo {
            number: self.current.number,
            size_bytes: self.length,
        };
        let next = OpenSegment::create(&self.folder, &*self.disk, finished.number + 1)?;
        self.older.push(finished);
        self.current = Arc::new(next);
        self.length = HEADER_BYTES;
        self.syncer.watch(self.current.clone());
        Ok(())
    }

    /// Cuts off what a failed write left.
    fn repair(&mut self) -> io::Result<()> {
        if self.torn {
            let cut = self.current.file.set_len(self.length);
            cut.map_err(|e| with_path(&e, &self.current.path))?;
            self.torn = false;
        }
        Ok(())
    }
}

/// Files that a checkpoint made superfluous.
pub(crate) struct Replaced {
    folder: PathBuf,
    segments: Vec<SegmentInfo>,
    checkpoint: Option<SegmentInfo>,
}

impl Replaced {
    /// Stops at the first failure; what is left goes at the next start.
    pub(crate) fn delete(self) -> io::Result<()> {
        for info in &self.segments {
            remove_if_there(&self.folder.join(segment_name(info.number)))?;
        }
        if let Some(info) = self.checkpoint {
            let path = self.folder.join(checkpoint_name(info.number));
            fs::remove_dir_all(&path).map_err(|e| with_path(&e, &path))?;
        }
        Ok(())
    }
}

impl OpenSegment {
    fn open(folder: &Path, disk: &dyn Disk, number: u64) -> io::Result<Self> {
        let path = folder.join(segment_name(number));
        let file = disk.open(&path).map_err(|e| with_path(&e, &path))?;
        Ok(OpenSegment::new(number, path, file))
    }

    /// Begins an empty segment; whatever had its name is overwritten.
    fn create(folder: &Path, disk: &dyn Disk, number: u64) -> io::Result<Self> {
        let path = folder.join(segment_name(number));
        let file = disk.create(&path).map_err(|e| with_path(&e, &path))?;
        let header = segment::header(number);
        file.write_at(&header, 0)
            .map_err(|e| with_path(&e, &path))?;
        Ok(OpenSegment::new(number, path, file))
    }

    fn new(number: u64, path: PathBuf, file: Box<dyn LogFile>) -> Self {
        OpenSegment {
            number,
            path,
            file,
            dirty: AtomicBool::new(true),
            fresh: AtomicBool::new(true),
        }
    }
}

fn segment_name(number: u64) -> String {
    format!("{number:08}")
}

fn checkpoint_name(number: u64) -> String {
    format!("checkpoint.{number:08}")
}

fn with_path(error: &io::Error, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(with_path(&error, path)),
        _ => Ok(()),
    }
}

/// Gives a file of the log a second name in the folder of damaged files.
fn keep_aside(folder: &Path, path: &Path) -> io::Result<()> {
    // A segment that was missing is reported as damaged too.
    if !path.exists() {
        return Ok(());
    }
    let aside = folder.join(DAMAGED_FOLDER);
    fs::create_dir_all(&aside)?;
    let inside = path.strip_prefix(folder).unwrap_or(path);
    let name = inside
        .to_string_lossy()
        .replace(std::path::MAIN_SEPARATOR, "-");
    let names = (1..).map(|n| aside.join(format!("{name}.{n}")));
    for kept in names {
        match fs::hard_link(path, &kept) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(_) => fs::copy(path, &kept).map(|_| ())?,
            Ok(()) => {}
        }
        tracing::warn!(file = %kept.display(), "a damaged file of the log is kept here");
        break;
    }
    Ok(())
}
