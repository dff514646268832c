//! Bringing the head back at start: the newest snapshot, then the log after it.
//!
//! What blocks hold already is not left out: if the last run ended between writing a block and
//! dropping its samples from the head, the next block has them once more, and the two are merged.
//! To trust the end of the newest block instead would cost samples where a block came from
//! elsewhere.
//!
//! The records go to several threads: one takes definitions, each other its part of the samples.
//! They are read from mapped files, and chunks that fill meanwhile go to the head's chunk files, so
//! that a replay needs no more memory than the store had before.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use narthex_head::{DamagedRecord, Head, SnapshotError};
use narthex_mapped_file::MappedFile;
use narthex_storage::ReplayProgress;

use crate::config::OpenError;
use crate::disk::{Disk, with_path};
use crate::file_header::HeaderState;
use crate::head_chunks::HeadChunks;
use crate::log::files::{self, segment_path, snapshot_path};
use crate::log::read::{Cut, Damage, LogEnd, Segment, scan};
use crate::log::segment;
use crate::snapshot_file;

/// What the start needs to know.
pub(crate) struct Replay<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) disk: &'a dyn Disk,
    pub(crate) chunks: &'a HeadChunks,
    /// Makes an empty head.
    pub(crate) new_head: &'a dyn Fn() -> Head,
    pub(crate) progress: &'a ReplayProgress,
    /// Threads that take samples.
    pub(crate) parts: usize,
}

/// The head as it was, and where the log goes on.
pub(crate) struct Restored {
    pub(crate) head: Arc<Head>,
    pub(crate) end: LogEnd,
    pub(crate) report: Report,
}

#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) segments: usize,
    pub(crate) records: u64,
    pub(crate) samples: u64,
    /// Samples that could not be told or whose series is not known.
    pub(crate) lost_samples: u64,
    /// Places of the log or the snapshot that could not be read.
    pub(crate) damages: u64,
    pub(crate) snapshot_damages: u64,
    /// The number of the snapshot that the replay began with.
    pub(crate) snapshot: Option<u64>,
    /// Size of that snapshot.
    pub(crate) snapshot_bytes: u64,
}

/// Records that are handed on together.
type Records<'a> = Arc<Vec<Found<'a>>>;

#[derive(Clone, Copy)]
struct Found<'a> {
    /// Index of the segment.
    segment: usize,
    offset: usize,
    bytes: &'a [u8],
}

/// How much of the log is handed on at once, and how often a thread may lag behind by that much.
/// Little in tests, so that they have many batches.
const BATCH_BYTES: usize = if cfg!(test) { 500 } else { 1 << 20 };
const BATCH_RECORDS: usize = 4096;
const BATCHES_WAITING: usize = 4;

/// Full chunks leave the memory after so much of the log.
const FLUSH_BYTES: usize = if cfg!(test) { 2000 } else { 32 << 20 };

const REPORT_INTERVAL: Duration = Duration::from_secs(5);

impl Replay<'_> {
    pub(crate) fn run(&self) -> Result<Restored, OpenError> {
        let files = files::list(self.folder, self.disk).map_err(OpenError::Log)?;
        for path in &files.foreign {
            tracing::warn!(
                file = %path.display(),
                "a file that is none of the log's lies in its folder and is left alone"
            );
        }
        let mut report = Report::default();
        let head = Arc::new(self.snapshot(&files.snapshots, &mut report)?);
        let first = report.snapshot.unwrap_or(0);
        let (old, new): (Vec<u64>, Vec<u64>) =
            files.segments.iter().partition(|number| **number < first);
        // Nothing is changed before it is sure that all can be read.
        let segments = self.open_segments(&new)?;
        let gone = old.iter().map(|number| segment_path(self.folder, *number));
        let others = files.snapshots.iter().filter(|number| **number != first);
        for path in gone.chain(others.map(|number| snapshot_path(self.folder, *number))) {
            self.disk.remove(&path).map_err(OpenError::Log)?;
        }
        // Without a snapshot the log begins with segment 1.
        let end = self.segments(&head, &segments, first.max(1), &mut report)?;
        let finished = head.finish_replay();
        report.lost_samples += finished.without_labels;
        Ok(Restored { head, end, report })
    }

    /// The head of the newest snapshot that is whole; if none is, of the newest that can be read.
    fn snapshot(&self, numbers: &[u64], report: &mut Report) -> Result<Head, OpenError> {
        let mut in_part = None;
        for number in numbers.iter().rev() {
            let path = snapshot_path(self.folder, *number);
            let bytes = MappedFile::open(&path);
            let bytes = bytes.map_err(|e| OpenError::Log(with_path(&e, &path)))?;
            bytes.read_ahead();
            if let HeaderState::Newer(found) = snapshot_file::KIND.check(&bytes, *number) {
                return Err(newer(path, found, snapshot_file::KIND.version));
            }
            let head = (self.new_head)();
            let read = head.read_snapshot(snapshot_file::body(&bytes));
            let taken = (*number, bytes.len() as u64);
            match read {
                Ok(read) if read.damaged_pages == 0 => {
                    (report.snapshot, report.snapshot_bytes) = (Some(taken.0), taken.1);
                    return Ok(head);
                }
                Ok(read) => {
                    let reason = format!("{} pages are damaged", read.damaged_pages);
                    self.damaged_snapshot(&path, &reason, report);
                    in_part = in_part.or(Some((head, taken)));
                }
                Err(SnapshotError::Newer(found)) => {
                    return Err(newer(path, found, snapshot_file::KIND.version));
                }
                Err(error) => self.damaged_snapshot(&path, &error.to_string(), report),
            }
        }
        // What the log still has is read in any case, so that only what the snapshot held is lost.
        let (head, taken) = in_part.unwrap_or_else(|| {
            let newest = numbers.last().copied().unwrap_or(0);
            ((self.new_head)(), (newest, 0))
        });
        report.snapshot = Some(taken.0).filter(|number| *number > 0);
        report.snapshot_bytes = taken.1;
        Ok(head)
    }

    fn damaged_snapshot(&self, path: &Path, reason: &str, report: &mut Report) {
        report.snapshot_damages += 1;
        tracing::error!(
            file = %path.display(), reason,
            "a part of the head's snapshot cannot be read and is passed over; the file is kept aside"
        );
        self.keep(path);
    }

    fn open_segments(&self, numbers: &[u64]) -> Result<Vec<Segment>, OpenError> {
        let mut segments = Vec::with_capacity(numbers.len());
        for number in numbers {
            let segment = Segment::open(self.folder, *number).map_err(OpenError::Log)?;
            if let HeaderState::Newer(found) = segment.header() {
                return Err(newer(segment.path, found, segment::KIND.version));
            }
            segments.push(segment);
        }
        Ok(segments)
    }

    fn segments(
        &self,
        head: &Head,
        segments: &[Segment],
        first: u64,
        report: &mut Report,
    ) -> Result<LogEnd, OpenError> {
        if let (Some(oldest), Some(newest)) = (segments.first(), segments.last()) {
            self.progress.begin(oldest.number, newest.number);
        }
        let results = Results::default();
        let scanned = std::thread::scope(|scope| {
            let mut senders = Vec::new();
            for worker in self.workers() {
                let (sender, receiver) = sync_channel(BATCHES_WAITING);
                senders.push(sender);
                let results = &results;
                let named = std::thread::Builder::new().name("tsdb-replay".to_owned());
                named.spawn_scoped(scope, move || worker.work(head, &receiver, results))?;
            }
            let mut feeder = Feeder::new(self, head, segments, senders);
            let scanned = scan(segments, first, &mut |segment, offset, bytes| {
                feeder.take(Found {
                    segment,
                    offset,
                    bytes,
                });
            });
            report.records = feeder.finish();
            Ok(scanned)
        });
        let scanned = scanned.map_err(OpenError::Log)?;
        if let Some(newest) = segments.last() {
            self.progress.advance(newest.number);
        }
        let mut damages = scanned.damages;
        let (samples, lost, unreadable) = results.into_parts();
        damages.extend(unreadable.iter().filter_map(|(place, reason)| {
            let segment = segments.get(place.0)?;
            Some(Damage {
                path: segment.path.clone(),
                offset: place.1 as u64,
                length_bytes: place.2 as u64,
                reason: reason.clone(),
            })
        }));
        report.segments = segments.len();
        report.samples = samples;
        report.lost_samples = lost;
        self.report_damages(&damages, report);
        if let Some(cut) = &scanned.cut {
            self.report_cut(cut, report).map_err(OpenError::Log)?;
        }
        Ok(scanned.end)
    }

    fn workers(&self) -> impl Iterator<Item = Worker> {
        let parts = self.parts.max(1);
        let samples = (0..parts).map(move |part| Worker::Samples { part, parts });
        std::iter::once(Worker::Definitions).chain(samples)
    }

    fn report_damages(&self, damages: &[Damage], report: &mut Report) {
        let mut kept: Option<&Path> = None;
        for damage in damages {
            report.damages += 1;
            tracing::error!(
                file = %damage.path.display(), offset = damage.offset,
                length_bytes = damage.length_bytes, reason = damage.reason,
                "a part of the log cannot be read and is passed over; the file is kept aside"
            );
            if kept != Some(&damage.path) {
                self.keep(&damage.path);
                kept = Some(&damage.path);
            }
        }
    }

    /// Takes away what is no longer part of the log.
    fn report_cut(&self, cut: &Cut, report: &mut Report) -> io::Result<()> {
        report.damages += 1;
        let file = cut.path.display();
        if cut.loses_frames || !cut.gone.is_empty() {
            tracing::error!(
                file = %file, offset = cut.offset, cut_bytes = cut.cut_bytes,
                "the log has a hole where it was never synced, as after a power failure: it ends \
                 there, and the files are kept aside"
            );
        } else if cut.cut_bytes > 0 {
            tracing::warn!(
                file = %file, offset = cut.offset, cut_bytes = cut.cut_bytes,
                "the log ends inside a record that was never committed; it is cut off"
            );
        }
        if cut.loses_frames {
            self.keep(&cut.path);
        }
        for path in &cut.gone {
            self.keep(path);
            self.disk.remove(path)?;
        }
        Ok(())
    }

    fn keep(&self, path: &Path) {
        if let Err(error) = files::keep_aside(self.folder, path) {
            tracing::warn!(file = %path.display(), %error, "the damaged file could not be kept aside");
        }
    }

    fn flush(&self, head: &Head) {
        // Without room on the disk the chunks stay in memory.
        if let Err(error) = head.flush_sealed(&mut |chunk| self.chunks.add(&chunk)) {
            tracing::warn!(%error, "full chunks stay in memory");
        }
    }
}

/// Hands the records on to the workers.
struct Feeder<'a, 'r> {
    replay: &'r Replay<'r>,
    head: &'r Head,
    segments: &'a [Segment],
    senders: Vec<SyncSender<Records<'a>>>,
    waiting: Vec<Found<'a>>,
    waiting_bytes: usize,
    unflushed_bytes: usize,
    records: u64,
    reported: Instant,
}

impl<'a, 'r> Feeder<'a, 'r> {
    fn new(
        replay: &'r Replay<'r>,
        head: &'r Head,
        segments: &'a [Segment],
        senders: Vec<SyncSender<Records<'a>>>,
    ) -> Self {
        Feeder {
            replay,
            head,
            segments,
            senders,
            waiting: Vec::new(),
            waiting_bytes: 0,
            unflushed_bytes: 0,
            records: 0,
            reported: Instant::now(),
        }
    }

    fn take(&mut self, found: Found<'a>) {
        if let Some(segment) = self.segments.get(found.segment) {
            self.replay.progress.advance(segment.number);
        }
        self.waiting_bytes += found.bytes.len();
        self.records += 1;
        self.waiting.push(found);
        if self.waiting_bytes >= BATCH_BYTES || self.waiting.len() >= BATCH_RECORDS {
            self.hand_on();
            self.report(found.segment);
        }
    }

    fn hand_on(&mut self) {
        let records = Arc::new(std::mem::take(&mut self.waiting));
        for sender in &self.senders {
            // A worker ends before its time only by a panic, which the scope hands on.
            let _ = sender.send(records.clone());
        }
        self.unflushed_bytes += std::mem::take(&mut self.waiting_bytes);
        if self.unflushed_bytes >= FLUSH_BYTES {
            self.unflushed_bytes = 0;
            self.replay.flush(self.head);
        }
    }

    fn report(&mut self, index: usize) {
        let Some(segment) = self.segments.get(index) else {
            return;
        };
        if self.reported.elapsed() >= REPORT_INTERVAL {
            self.reported = Instant::now();
            tracing::info!(
                file = %segment.path.display(), done = index, of = self.segments.len(),
                "replaying the log"
            );
        }
    }

    /// Gives the number of records.
    fn finish(mut self) -> u64 {
        self.hand_on();
        self.records
    }
}

#[derive(Clone, Copy)]
enum Worker {
    Definitions,
    Samples { part: usize, parts: usize },
}

impl Worker {
    fn work(self, head: &Head, records: &Receiver<Records<'_>>, results: &Results) {
        for batch in records {
            for found in batch.iter() {
                self.take(head, found, results);
            }
        }
    }

    fn take(self, head: &Head, found: &Found<'_>, results: &Results) {
        let taken = match self {
            Worker::Definitions => head.replay_definitions(found.bytes),
            Worker::Samples { part, parts } => head
                .replay_samples(found.bytes, part, parts)
                .map(|replayed| results.count(replayed.stored, replayed.lost)),
        };
        if let Err(damaged) = taken {
            results.unreadable(found, &damaged);
        }
    }
}

/// What the workers found, together.
#[derive(Default)]
struct Results {
    samples: AtomicU64,
    lost: AtomicU64,
    unreadable: Mutex<BTreeMap<Place, String>>,
}

/// Index of the segment, offset and length of a record.
type Place = (usize, usize, usize);

impl Results {
    fn count(&self, samples: u64, lost: u64) {
        let order = Ordering::Relaxed;
        self.samples.fetch_add(samples, order);
        self.lost.fetch_add(lost, order);
    }

    /// Several workers may find the same record unreadable; it counts once.
    fn unreadable(&self, found: &Found<'_>, damaged: &DamagedRecord) {
        let place = (found.segment, found.offset, found.bytes.len());
        let mut unreadable = self
            .unreadable
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        unreadable.insert(place, damaged.to_string());
    }

    fn into_parts(self) -> (u64, u64, BTreeMap<Place, String>) {
        let unreadable = self.unreadable.into_inner();
        (
            self.samples.into_inner(),
            self.lost.into_inner(),
            unreadable.unwrap_or_else(PoisonError::into_inner),
        )
    }
}

fn newer(file: PathBuf, found: u32, supported: u32) -> OpenError {
    OpenError::NewerFormat {
        file,
        found,
        supported,
    }
}
