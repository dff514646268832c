//! The write-ahead log: numbered segment files of framed records.
//!
//! Keeps true: a record that was written survives a kill at once, and power loss after the
//! next [`Log::sync`]; a write that failed leaves nothing that a replay would read. After each
//! sync a mark in the log says how far it came, so that a replay can tell bytes that went bad on
//! the disk from bytes that a power loss kept from it. `FORMAT.md` draws the files. Knows neither
//! the records nor the head.

pub(crate) mod files;
pub(crate) mod read;
pub(crate) mod segment;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use narthex_head::LogError;

use crate::disk::{Disk, DiskFile};
use files::segment_path;
use read::LogEnd;
use segment::{FrameKind, HEADER_BYTES, write_frame};

/// The folder of the log below the data folder.
pub(crate) const FOLDER: &str = "narthex-wal";

/// How long a segment gets, unless told otherwise.
pub(crate) const SEGMENT_BYTES: u64 = 64 << 20;

/// A record above this is refused: its length has to fit the frame, and a replay has to hold it.
const RECORD_LIMIT_BYTES: u64 = 1 << 30;

/// A place in the log, between two frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

/// A file of the log with its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentInfo {
    pub(crate) number: u64,
    pub(crate) size_bytes: u64,
    /// Records or marks.
    pub(crate) has_records: bool,
}

/// The end of the log, where records are added. Any number of threads may write.
pub(crate) struct Log {
    folder: PathBuf,
    disk: Arc<dyn Disk>,
    tail: Mutex<Tail>,
    /// Held while the disk is synced, which is done once at a time.
    syncing: Mutex<()>,
    /// The newest segment of which a sync failed, or 0: what it was to make safe may be lost in
    /// silence, though it can be read now.
    suspect: AtomicU64,
    segment_bytes: u64,
    record_limit_bytes: u64,
}

/// What was written since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// Frames, each of which is one write.
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
}

struct Tail {
    current: Arc<OpenSegment>,
    length: u64,
    /// Where the records of the current one begin.
    begins_at: u64,
    /// Something behind `length` could not be cut off.
    torn: bool,
    /// Before the current one.
    older: Vec<SegmentInfo>,
    /// May have bytes that were not synced, oldest first; the current one is the last.
    unsynced: Vec<Arc<OpenSegment>>,
    /// Something was written since the last mark.
    unmarked: bool,
    /// Nothing is written any more.
    closed: bool,
    buffer: Vec<u8>,
    written: Written,
}

struct OpenSegment {
    number: u64,
    file: Box<dyn DiskFile>,
    /// Has bytes that were not synced.
    dirty: AtomicBool,
    /// Its name may not be on the disk yet.
    fresh: AtomicBool,
}

impl Log {
    /// Goes on where a replay ended, in a new segment.
    pub(crate) fn resume(folder: &Path, disk: Arc<dyn Disk>, end: LogEnd) -> io::Result<Self> {
        let mut older = end.segments;
        let mut unsynced = Vec::new();
        let mut number = end.first_number;
        // Without a single record there is nothing to keep.
        while older.pop_if(|last| !last.has_records).is_some() {}
        if let Some(last) = older.last() {
            let file = OpenSegment::open(folder, &*disk, last.number)?;
            file.file.set_len(last.size_bytes)?;
            unsynced.push(Arc::new(file));
            number = last.number + 1;
        }
        let end = older.last().map(|last| Position {
            segment: last.number,
            offset: last.size_bytes,
        });
        let (current, length) = OpenSegment::create(folder, &*disk, number, end)?;
        let current = Arc::new(current);
        unsynced.push(current.clone());
        Ok(Log {
            folder: folder.to_owned(),
            disk,
            tail: Mutex::new(Tail {
                current,
                length,
                begins_at: length,
                torn: false,
                older,
                unsynced,
                unmarked: true,
                closed: false,
                buffer: Vec::new(),
                written: Written::default(),
            }),
            syncing: Mutex::new(()),
            suspect: AtomicU64::new(0),
            segment_bytes: SEGMENT_BYTES,
            record_limit_bytes: RECORD_LIMIT_BYTES,
        })
    }

    /// A new segment is begun when one has reached this size.
    pub(crate) fn with_segment_bytes(mut self, segment_bytes: u64) -> Self {
        self.segment_bytes = segment_bytes;
        self
    }

    /// Adds a record to the segment of this number, whole or not at all.
    fn add(&self, number: u64, record: &[u8]) -> Result<(), LogError> {
        let limit = self.record_limit_bytes;
        if record.len() as u64 > limit {
            return Err(LogError::Io(io::Error::other(format!(
                "the batch takes more than {limit} bytes in the log: commit smaller batches"
            ))));
        }
        let mut tail = self.tail();
        if tail.closed {
            let closed = io::Error::new(io::ErrorKind::NotConnected, "the store is closed");
            return Err(LogError::Io(closed));
        }
        if tail.current.number != number {
            return Err(LogError::Stale(epoch_of(tail.current.number)));
        }
        tail.write(FrameKind::Record, record)?;
        tail.unmarked = true;
        tail.current.dirty.store(true, Ordering::Release);
        Ok(())
    }

    /// Begins a new segment; gives its number.
    pub(crate) fn roll(&self) -> io::Result<u64> {
        let mut tail = self.tail();
        self.roll_tail(&mut tail)
    }

    fn roll_tail(&self, tail: &mut Tail) -> io::Result<u64> {
        tail.repair()?;
        let finished = SegmentInfo {
            number: tail.current.number,
            size_bytes: tail.length,
            has_records: tail.length > tail.begins_at,
        };
        let end = Some(tail.position());
        let number = finished.number + 1;
        let (next, length) = OpenSegment::create(&self.folder, &*self.disk, number, end)?;
        let next = Arc::new(next);
        // A mark at its end has to come to the disk before anything after it counts as synced.
        tail.current.dirty.store(true, Ordering::Release);
        tail.older.push(finished);
        tail.unsynced.push(next.clone());
        tail.current = next;
        tail.length = length;
        tail.begins_at = length;
        Ok(number)
    }

    /// Sees to it that what was written until now survives power loss, and marks it. Tells whether
    /// there was something to do.
    pub(crate) fn sync(&self) -> io::Result<bool> {
        let _alone = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        let (position, segments) = {
            let tail = self.tail();
            (tail.position(), tail.unsynced.clone())
        };
        let mut any = false;
        for segment in &segments {
            let synced = self.sync_segment(segment);
            if let Ok(did) = synced {
                any |= did;
            } else if let Err(error) = synced {
                let newest = segments.last().map_or(0, |segment| segment.number);
                self.suspect.fetch_max(newest, Ordering::AcqRel);
                return Err(error);
            }
        }
        let mut tail = self.tail();
        // Finished segments get no more writes.
        let current = tail.current.number;
        tail.unsynced
            .retain(|segment| segment.number == current || segment.dirty.load(Ordering::Acquire));
        if tail.unmarked && !self.is_suspect() {
            // Without the mark the log is as good; it is tried again after the next sync.
            let marked = tail.write(FrameKind::SyncMark, &position.to_bytes());
            tail.unmarked = marked.is_err();
        }
        Ok(any)
    }

    /// Refuses every record from now on, and makes what is there survive power loss.
    pub(crate) fn close(&self) -> io::Result<()> {
        self.refuse();
        self.sync()?;
        // The mark of the first sync.
        self.tail().current.dirty.store(true, Ordering::Release);
        self.sync().map(|_| ())
    }

    /// Refuses every record from now on.
    pub(crate) fn refuse(&self) {
        self.tail().closed = true;
    }

    /// Removes all files, of a log that refuses every record.
    pub(crate) fn remove_all(&self) -> io::Result<()> {
        let last = self.current_number();
        self.remove_before(last)?;
        self.disk.remove(&segment_path(&self.folder, last))?;
        let mut tail = self.tail();
        tail.unsynced.clear();
        tail.unmarked = false;
        drop(tail);
        self.disk.sync_folder(&self.folder)
    }

    /// Removes the segments before this one, which something else has replaced. Stops at the first
    /// failure; what is left goes at the next call or start.
    pub(crate) fn remove_before(&self, number: u64) -> io::Result<()> {
        let gone: Vec<SegmentInfo> = {
            let tail = self.tail();
            let older = tail.older.iter().copied();
            older.filter(|info| info.number < number).collect()
        };
        for info in gone {
            self.disk.remove(&segment_path(&self.folder, info.number))?;
            self.tail().older.retain(|known| *known != info);
        }
        // What was suspect has been replaced, unless it is newer.
        let suspect = self.suspect.load(Ordering::Acquire);
        if suspect < number {
            let order = (Ordering::AcqRel, Ordering::Acquire);
            // A sync that failed meanwhile stays.
            let _ = self.suspect.compare_exchange(suspect, 0, order.0, order.1);
        }
        Ok(())
    }

    pub(crate) fn written(&self) -> Written {
        self.tail().written
    }

    /// Whether a sync failed and the log has not been replaced since.
    pub(crate) fn is_suspect(&self) -> bool {
        self.suspect.load(Ordering::Acquire) != 0
    }

    pub(crate) fn current_number(&self) -> u64 {
        self.tail().current.number
    }

    /// Of all segments.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.size_bytes_from(0)
    }

    /// Of the segments from this number on.
    pub(crate) fn size_bytes_from(&self, number: u64) -> u64 {
        let tail = self.tail();
        let older = tail.older.iter().filter(|info| info.number >= number);
        older.map(|info| info.size_bytes).sum::<u64>() + tail.length
    }

    #[cfg(test)]
    pub(crate) fn limit_records(&mut self, limit_bytes: u64) {
        self.record_limit_bytes = limit_bytes;
    }

    fn sync_segment(&self, segment: &OpenSegment) -> io::Result<bool> {
        // Cleared before the sync, so that a write meanwhile is not overlooked.
        let is_dirty = segment.dirty.swap(false, Ordering::AcqRel);
        if is_dirty {
            segment.file.sync()?;
        }
        if segment.fresh.swap(false, Ordering::AcqRel) {
            self.disk.sync_folder(&self.folder)?;
        }
        Ok(is_dirty)
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl narthex_head::Log for Log {
    fn epoch(&self) -> u32 {
        let mut tail = self.tail();
        if tail.length >= self.segment_bytes && tail.length > tail.begins_at {
            // If there is no room for a new segment there is hardly any in the old one: the commit
            // finds out.
            let _ = self.roll_tail(&mut tail);
        }
        epoch_of(tail.current.number)
    }

    fn write(&self, epoch: u32, record: &[u8]) -> Result<(), LogError> {
        self.add(u64::from(epoch), record)
    }
}

/// Segments are counted by restarts and tens of megabytes, so their numbers stay small.
fn epoch_of(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

impl Tail {
    fn position(&self) -> Position {
        Position {
            segment: self.current.number,
            offset: self.length,
        }
    }

    fn write(&mut self, kind: FrameKind, record: &[u8]) -> io::Result<()> {
        self.repair()?;
        self.buffer.clear();
        let segment = self.current.number;
        write_frame(&mut self.buffer, segment, self.length, kind, record);
        if let Err(error) = self.current.file.write_at(&self.buffer, self.length) {
            self.torn = true;
            // If this fails too it is tried again before the next write.
            let _ = self.repair();
            return Err(error);
        }
        self.length += self.buffer.len() as u64;
        self.written.frames += 1;
        self.written.bytes += self.buffer.len() as u64;
        Ok(())
    }

    /// Cuts off what a failed write left.
    fn repair(&mut self) -> io::Result<()> {
        if self.torn {
            self.current.file.set_len(self.length)?;
            self.torn = false;
        }
        Ok(())
    }
}

impl OpenSegment {
    fn open(folder: &Path, disk: &dyn Disk, number: u64) -> io::Result<Self> {
        let file = disk.open(&segment_path(folder, number))?;
        Ok(OpenSegment::new(number, file))
    }

    /// Begins an empty segment behind the one that ended there; whatever had its name is
    /// overwritten. Gives its length, too.
    fn create(
        folder: &Path,
        disk: &dyn Disk,
        number: u64,
        end: Option<Position>,
    ) -> io::Result<(Self, u64)> {
        let file = disk.create(&segment_path(folder, number))?;
        let mut bytes = segment::KIND.header(number).to_vec();
        if let Some(end) = end {
            let kind = FrameKind::Continues;
            write_frame(&mut bytes, number, HEADER_BYTES, kind, &end.to_bytes());
        }
        file.write_at(&bytes, 0)?;
        Ok((OpenSegment::new(number, file), bytes.len() as u64))
    }

    fn new(number: u64, file: Box<dyn DiskFile>) -> Self {
        OpenSegment {
            number,
            file,
            dirty: AtomicBool::new(true),
            fresh: AtomicBool::new(true),
        }
    }
}

impl Position {
    const BYTES: usize = 16;

    fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.segment.to_le_bytes());
        bytes[8..].copy_from_slice(&self.offset.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::BYTES] = bytes.try_into().ok()?;
        let (segment, offset) = bytes.split_at(8);
        Some(Position {
            segment: u64::from_le_bytes(segment.try_into().ok()?),
            offset: u64::from_le_bytes(offset.try_into().ok()?),
        })
    }
}
