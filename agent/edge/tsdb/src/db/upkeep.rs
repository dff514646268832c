//! What is done to the store once a minute: full chunks leave the memory, the head gives blocks,
//! blocks are compacted and dropped, and the head is written as a snapshot that shortens the log.
//!
//! Done on a thread of low priority, one step at a time, so that appends and queries go before.
//! What fails is logged and tried again the next time.

use std::collections::BTreeSet;
use std::io;
use std::ops::ControlFlow;
use std::sync::TryLockError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use narthex_blocks::plan::{block_ranges_ms, max_block_ms};
use narthex_blocks::{Error, NewBlock, Usage};

use super::Db;
use crate::log::files;
use crate::replay::Report;
use crate::snapshot_file::SnapshotWriter;
use crate::sync_thread;

/// Marks blocks of samples that came late, as Prometheus does.
pub(super) const LATE_HINT: &str = "from-out-of-order";

/// How long the truncation of the head waits for readers before it is put off.
const READERS_WAIT: Duration = Duration::from_secs(20);
const READERS_POLL: Duration = Duration::from_millis(5);

/// The niceness of the thread that does it.
const NICENESS: i32 = 10;

/// What upkeep remembers from one time to the next.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    /// The head has to be written for another reason than that the log is long.
    snapshot_is_due: bool,
    /// The newest snapshot.
    current: Generation,
    /// The one before: the start falls back on it if the newest has gone bad.
    previous: Option<Generation>,
    /// A block with the older samples is there, but the head still has them.
    truncate_to_ms: Option<i64>,
}

/// A snapshot of the head with what belongs to it.
#[derive(Clone, Debug, Default)]
struct Generation {
    /// The first segment that is to be replayed on top.
    segment: u64,
    size_bytes: u64,
    /// Files with chunks that it names.
    chunk_files: BTreeSet<u32>,
}

impl Upkeep {
    pub(super) fn after(report: &Report, chunk_files: BTreeSet<u32>) -> Self {
        Upkeep {
            snapshot_is_due: report.damages > 0 || report.snapshot_damages > 0,
            current: Generation {
                segment: report.snapshot.unwrap_or(0),
                size_bytes: report.snapshot_bytes,
                chunk_files,
            },
            previous: None,
            truncate_to_ms: None,
        }
    }

    fn snapshot_bytes(&self) -> u64 {
        let previous = self.previous.as_ref().map_or(0, |former| former.size_bytes);
        self.current.size_bytes + previous
    }

    pub(super) fn wants_snapshot(&self) -> bool {
        self.snapshot_is_due
    }
}

impl Db {
    /// Does what is due. To be called once a minute with the present time; returns when it is done,
    /// at once if it is being done already. Failures are logged, counted and tried again at the
    /// next call.
    pub fn maintain(&self, now_ms: i64) {
        let mut upkeep = match self.upkeep.try_lock() {
            Ok(upkeep) => upkeep,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let work = |upkeep: &mut Upkeep| self.run_upkeep(upkeep, now_ms);
        let done = std::thread::scope(|scope| {
            let named = std::thread::Builder::new().name("tsdb-upkeep".to_owned());
            let upkeep = &mut *upkeep;
            let spawned = named.spawn_scoped(scope, move || {
                lower_priority();
                work(upkeep);
            });
            spawned.map(|_| ())
        });
        if let Err(error) = done {
            tracing::warn!(%error, "upkeep of the store has no thread; it is tried again");
        }
    }

    fn run_upkeep(&self, upkeep: &mut Upkeep, now_ms: i64) {
        if self.is_closed() {
            return;
        }
        self.flush_sealed();
        if let Err(error) = self.compact_head(upkeep) {
            report(&error, "writing a block of the head failed");
        }
        if let Err(error) = self.compact_blocks() {
            report(&error, "compacting blocks failed");
        }
        if let Err(error) = self.drop_expired(upkeep, now_ms) {
            report(&error, "deleting old blocks failed");
        }
        self.collect_garbage();
        let log_bytes = self.log.log.size_bytes_from(upkeep.current.segment);
        let half_bytes = upkeep.current.size_bytes / 2;
        let limit_bytes = self.config.wal_segment_bytes.max(half_bytes);
        upkeep.snapshot_is_due |= log_bytes >= limit_bytes || self.log.log.is_suspect();
        if upkeep.snapshot_is_due && !self.is_closed() {
            self.snapshot_head(upkeep);
        }
        let lowest_ms = self.min_time_ms().unwrap_or(i64::MAX);
        self.metrics.lowest_ms.set(lowest_ms);
        self.metrics.lowest_seconds.set(lowest_ms.div_euclid(1000));
    }

    /// Moves full chunks from memory to their files. Without room on the disk they stay in memory.
    pub(super) fn flush_sealed(&self) {
        if let Err(error) = self.head.flush_sealed(&mut |chunk| self.chunks.add(&chunk)) {
            tracing::warn!(%error, "full chunks stay in memory");
        }
    }

    /// Writes blocks as long as the head holds more than one and a half of their range.
    fn compact_head(&self, upkeep: &mut Upkeep) -> Result<(), Error> {
        if self.log.log.is_suspect() {
            // A snapshot comes first.
            return Ok(());
        }
        if let Some(border_ms) = upkeep.truncate_to_ms
            && !self.truncate_head(upkeep, border_ms)
        {
            return Ok(());
        }
        while let Some(border_ms) = self.next_border_ms() {
            // After power loss the blocks must not have what the log before them has lost.
            if let Err(error) = self.sync() {
                tracing::warn!(%error, "no block is written of what the log may lose");
                break;
            }
            self.write_blocks_before(border_ms, border_ms)?;
            if !self.truncate_head(upkeep, border_ms) {
                break;
            }
        }
        Ok(())
    }

    /// Makes what was committed survive power loss.
    pub(super) fn sync(&self) -> io::Result<()> {
        sync_thread::sync(&self.log.log, &self.metrics)
    }

    /// Up to where the head is to be written as blocks, if it is.
    fn next_border_ms(&self) -> Option<i64> {
        let (oldest_ms, newest_ms) = self.head.times_ms()?;
        // What is older than the border came late.
        let oldest_ms = oldest_ms.max(self.head.min_valid_ms());
        let span_ms = newest_ms.saturating_sub(oldest_ms);
        let start_ms = self.range_start_ms(oldest_ms);
        let range_ms = self.config.range_ms();
        (span_ms > range_ms / 2 * 3).then(|| start_ms.saturating_add(range_ms))
    }

    /// The start of the block range that a time is in.
    fn range_start_ms(&self, time_ms: i64) -> i64 {
        let range_ms = self.config.range_ms();
        time_ms.div_euclid(range_ms).saturating_mul(range_ms)
    }

    /// Writes what the head has from before `border_ms` as blocks. The newest ends at `end_ms`.
    pub(super) fn write_blocks_before(&self, border_ms: i64, end_ms: i64) -> Result<(), Error> {
        let Some((oldest_ms, _)) = self.head.times_ms() else {
            return Ok(());
        };
        let late_before_ms = self.head.min_valid_ms();
        let mut start_ms = self.range_start_ms(oldest_ms);
        while start_ms < border_ms {
            let next_ms = start_ms.saturating_add(self.config.range_ms());
            let is_late = next_ms <= late_before_ms;
            let hints: &[&str] = if is_late { &[LATE_HINT] } else { &[] };
            let new = NewBlock::first_level(start_ms, next_ms.min(end_ms), hints);
            let series = self
                .head
                .series_sorted(start_ms, new.max_ms.saturating_sub(1));
            let written = self.blocks.write(&new, series, &|| self.pace())?;
            if let Some(meta) = written {
                tracing::info!(
                    block = %meta.ulid, start_ms, end_ms = new.max_ms,
                    series = meta.stats.num_series, samples = meta.stats.num_samples,
                    is_late, "wrote a block of the head"
                );
            }
            start_ms = next_ms;
        }
        Ok(())
    }

    /// Drops from the head what the blocks have; false if that has to wait.
    fn truncate_head(&self, upkeep: &mut Upkeep, border_ms: i64) -> bool {
        upkeep.truncate_to_ms = Some(border_ms);
        self.head_floor_ms.store(border_ms, Ordering::Release);
        let truncated =
            self.wait_for_readers(border_ms) && self.counted_truncation(border_ms).is_some();
        self.head_floor_ms.store(i64::MIN, Ordering::Release);
        if truncated {
            upkeep.truncate_to_ms = None;
            upkeep.snapshot_is_due = true;
        }
        truncated
    }

    fn counted_truncation(&self, border_ms: i64) -> Option<()> {
        self.metrics.truncations.inc();
        match self.head.truncate(border_ms, &self.log) {
            Ok(truncated) => {
                tracing::info!(border_ms, chunks = truncated.chunks, "truncated the head");
                Some(())
            }
            Err(_) if self.is_closed() => None,
            Err(error) => {
                self.metrics.truncations_failed.inc();
                tracing::error!(%error, "truncating the head failed; it is tried again");
                None
            }
        }
    }

    /// Waits until nobody reads from the head what is older; false if that takes too long.
    fn wait_for_readers(&self, border_ms: i64) -> bool {
        let start = Instant::now();
        while self.head.readers_below(border_ms) {
            if self.is_closed() || start.elapsed() > READERS_WAIT {
                tracing::warn!(
                    border_ms,
                    "the head cannot be truncated while long queries read it; it is tried again"
                );
                return false;
            }
            std::thread::sleep(READERS_POLL);
        }
        true
    }

    fn compact_blocks(&self) -> Result<(), Error> {
        self.block_metrics.compactions_triggered.inc();
        let range_ms = self.config.range_ms();
        let usual_ms = max_block_ms(range_ms, self.limits().time_ms);
        let longest_ms = self.config.longest_block_ms.unwrap_or(usual_ms);
        let ranges_ms = block_ranges_ms(range_ms, longest_ms);
        for compacted in self.blocks.compact(&ranges_ms, &|| self.pace())? {
            tracing::info!(
                parents = compacted.parents.len(),
                block = compacted.block.map(|meta| meta.ulid.to_string()),
                "compacted blocks"
            );
        }
        Ok(())
    }

    fn drop_expired(&self, upkeep: &Upkeep, now_ms: i64) -> Result<(), Error> {
        let mut limits = *self.limits();
        // Age counts from the newest block, so that a clock that runs ahead costs no data, but not
        // from the future, so that a sample from there does not either.
        let newest_ms = self.blocks.max_ms().unwrap_or(now_ms);
        let ahead_ms = newest_ms.saturating_sub(now_ms).max(0);
        limits.time_ms = limits
            .time_ms
            .map(|time_ms| time_ms.saturating_add(ahead_ms));
        let usage = Usage {
            other_bytes: self.log.log.size_bytes()
                + self.chunks.size_bytes()
                + upkeep.snapshot_bytes(),
            disk_bytes: narthex_blocks::retention::disk_size_bytes(&self.config.path).unwrap_or(0),
        };
        let expired = self.blocks.expired(&limits, &usage);
        if !expired.is_empty() {
            let (by_time, by_size) = (expired.by_time.len(), expired.by_size.len());
            tracing::info!(by_time, by_size, "deleting blocks that the retention drops");
            self.blocks.remove_expired(&expired)?;
        }
        Ok(())
    }

    fn collect_garbage(&self) {
        let start = Instant::now();
        let collected = self.head.collect_garbage();
        let seconds = start.elapsed().as_secs_f64();
        self.metrics.gc_seconds.observe(seconds);
        if collected.removed > 0 {
            tracing::debug!(series = collected.removed, "removed series without samples");
        }
    }

    /// Writes the head, so that the log before it is no longer needed.
    pub(super) fn snapshot_head(&self, upkeep: &mut Upkeep) {
        let start = Instant::now();
        self.metrics.checkpoints.inc();
        self.metrics.wal_truncations.inc();
        match self.write_snapshot(upkeep) {
            Ok(()) => {
                let seconds = start.elapsed().as_secs_f64();
                let size_bytes = upkeep.current.size_bytes;
                tracing::info!(size_bytes, seconds, "wrote a snapshot of the head");
            }
            Err(_) if self.is_closed() => {
                tracing::info!("the store is being closed, so no snapshot of the head was written");
            }
            Err(error) => {
                self.metrics.checkpoints_failed.inc();
                self.metrics.wal_truncations_failed.inc();
                upkeep.snapshot_is_due = true;
                tracing::error!(%error, "writing a snapshot of the head failed; the log stays as it is");
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        self.metrics.wal_truncate_seconds.observe(seconds);
    }

    /// Nothing is removed before all that replaces it is on the disk.
    pub(super) fn write_snapshot(&self, upkeep: &mut Upkeep) -> io::Result<()> {
        let (log, folder) = (&self.log.log, self.log_folder());
        let was_suspect = log.is_suspect();
        let segment = log.roll()?;
        self.head
            .flush_sealed(&mut |chunk| self.chunks.add(&chunk))?;
        let mut writer = SnapshotWriter::create(&folder, self.disk.clone(), segment)?;
        let mut stoppable = Stoppable {
            writer: &mut writer,
            db: self,
        };
        self.head.write_snapshot(&mut stoppable)?;
        self.chunks.sync()?;
        writer.sync()?;
        // What the snapshot has must not be missing from the log before it.
        log.sync()?;
        let new = Generation {
            segment,
            size_bytes: writer.finish()?,
            chunk_files: self.head.chunk_files(),
        };
        let size = i64::try_from(new.size_bytes).unwrap_or(i64::MAX);
        self.metrics.snapshot_size_bytes.set(size);
        let former = std::mem::replace(&mut upkeep.current, new);
        // On top of the former one, a log that may have lost something is of no use.
        upkeep.previous = (former.segment > 0 && !was_suspect).then_some(former);
        upkeep.snapshot_is_due = false;
        self.remove_replaced(upkeep)
    }

    /// Removes what neither the newest snapshot needs nor the one before.
    fn remove_replaced(&self, upkeep: &Upkeep) -> io::Result<()> {
        let folder = self.log_folder();
        let oldest = upkeep.previous.as_ref().unwrap_or(&upkeep.current);
        for old in files::list(&folder, &*self.disk)?.snapshots {
            if old < oldest.segment {
                self.metrics.checkpoint_deletions.inc();
                let removed = self.disk.remove(&files::snapshot_path(&folder, old));
                removed.inspect_err(|_| self.metrics.checkpoint_deletions_failed.inc())?;
            }
        }
        self.log.log.remove_before(oldest.segment)?;
        let mut needed = self.head.chunk_files();
        needed.extend(&oldest.chunk_files);
        self.chunks.retain(&needed)
    }

    /// Long work ends when the store is closed.
    pub(super) fn pace(&self) -> ControlFlow<()> {
        match self.is_closed() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

/// Ends the writing of a snapshot when the store is closed.
struct Stoppable<'a> {
    writer: &'a mut SnapshotWriter,
    db: &'a Db,
}

impl io::Write for Stoppable<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.db.is_closed() {
            return Err(io::Error::other("the store is being closed"));
        }
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

fn report(error: &Error, what: &str) {
    if !matches!(error, Error::Stopped) {
        tracing::error!(%error, "{what}; it is tried again");
    }
}

/// Of this thread alone.
fn lower_priority() {
    let thread = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(thread), NICENESS) {
        tracing::debug!(%error, "upkeep runs at the usual priority");
    }
}
