//! The store: the head and the log held together.
//!
//! Keeps true: what is in the head and has a sample is in the log, and in the same order, so a
//! replay gives the head again. A commit holds `writer` from the log to the head; readers wait only
//! while it changes the head, not while it writes. Series are removed only by `maintain`, and none
//! that a batch holds. Locks are taken in the order `maintenance`, `writer`, `head`.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use narthex_model::Labels;
use narthex_storage::CommitError;
use prometheus::Registry;

use crate::appender::WaitingSample;
use crate::checkpoint;
use crate::head::Head;
use crate::lock::{FolderLock, LockError};
use crate::metrics::Metrics;
use crate::restore::Restore;
use crate::series::Appended;
use crate::wal::disk::{Disk, RealDisk};
use crate::wal::record::{write_samples, write_series};
use crate::wal::{self, ReplayError, ReplayReport, Syncer, Wal, WalOptions};

/// How the store is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The data folder; it is created if need be.
    pub path: PathBuf,
    /// Samples this much older than the newest go. 0 keeps all.
    pub retention_ms: u64,
    /// Size at which a new file of the log is begun. The log is rewritten when it has grown by
    /// that much, or by half of what it was.
    pub wal_segment_bytes: u64,
    /// How often the log is synced: what power loss may cost. A kill costs nothing.
    pub sync_interval: Duration,
}

impl Config {
    /// The usual settings: 15 days, segments of 64 MiB, a sync each second.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Config {
            path: path.into(),
            retention_ms: 15 * 24 * 3_600_000,
            wal_segment_bytes: 64 << 20,
            sync_interval: Duration::from_secs(1),
        }
    }
}

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the data folder {folder} cannot be used: {reason}", folder = folder.display())]
    Folder { folder: PathBuf, reason: io::Error },
    #[error(
        "the data folder {folder} is in use by another process{process}: stop it, or choose another \
         folder", folder = folder.display(), process = in_parentheses(*pid)
    )]
    Locked { folder: PathBuf, pid: Option<u32> },
    #[error(
        "{file}: written by a newer version (format {found}, this one reads up to {supported}): \
         start the version that wrote it, or move the file away", file = file.display()
    )]
    NewerFormat {
        file: PathBuf,
        found: u32,
        supported: u32,
    },
    #[error("the log cannot be opened: {0}")]
    Log(io::Error),
    #[error("the store's metrics cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// The store. Share it as `Arc<Db>`.
pub struct Db {
    head: RwLock<Head>,
    writer: Mutex<Writer>,
    maintenance: Mutex<Maintenance>,
    metrics: Metrics,
    retention_ms: AtomicU64,
    config: Config,
    syncer: Arc<Syncer>,
    sync_thread: Mutex<Option<JoinHandle<()>>>,
    lock: FolderLock,
    closed: AtomicBool,
}

impl Db {
    /// Locks the folder, replays the log and is ready. Call [`Db::maintain`] next: what the
    /// retention drops may be in the log still.
    pub fn open(config: Config, registry: &Registry) -> Result<Self, OpenError> {
        Db::open_on(config, registry, Arc::new(RealDisk))
    }

    pub(crate) fn open_on(
        config: Config,
        registry: &Registry,
        disk: Arc<dyn Disk>,
    ) -> Result<Self, OpenError> {
        let start = Instant::now();
        let lock = lock_folder(&config)?;
        warn_of_other_data(&config.path);
        let metrics = Metrics::new(registry)?;
        metrics.clean_start.set(i64::from(lock.was_clean()));
        let (restore, report) = replay(&config)?;
        show_replay(&metrics, &restore, &report, start);

        let syncer = Arc::new(Syncer::new(metrics.wal_fsync_seconds.clone()));
        let folder = config.path.join(wal::FOLDER);
        let options = WalOptions::new(config.wal_segment_bytes);
        let wal = Wal::resume(&folder, disk, options, syncer.clone(), report);
        let writer = Writer {
            wal: wal.map_err(OpenError::Log)?,
            next_log_id: restore.next_log_id(),
        };
        let sync_thread = syncer.start(config.sync_interval).map_err(OpenError::Log)?;
        let db = Db {
            head: RwLock::new(restore.head),
            writer: Mutex::new(writer),
            maintenance: Mutex::default(),
            metrics,
            retention_ms: AtomicU64::new(0),
            config,
            syncer,
            sync_thread: Mutex::new(Some(sync_thread)),
            lock,
            closed: AtomicBool::new(false),
        };
        db.set_retention_ms(db.config.retention_ms);
        db.replace_damaged();
        db.show_log();
        Ok(db)
    }

    /// Drops what the retention no longer covers and rewrites the log when it has grown. To be
    /// called once a minute with the present time. Failures are logged, counted and tried again
    /// at the next call.
    pub fn maintain(&self, now_ms: i64) {
        let mut maintenance = self.maintenance();
        if self.is_closed() {
            return;
        }
        maintenance.dropped_bytes += self.drop_old(now_ms);
        if self.checkpoint_is_due(&maintenance) {
            self.checkpoint(&mut maintenance);
        }
        self.show_log();
    }

    /// Takes effect at the next [`Db::maintain`]. 0 keeps all.
    pub fn set_retention_ms(&self, retention_ms: u64) {
        self.retention_ms.store(retention_ms, Ordering::Relaxed);
        let seconds = i64::try_from(retention_ms / 1000).unwrap_or(i64::MAX);
        self.metrics.retention_limit_seconds.set(seconds);
    }

    /// Time of the oldest sample.
    pub fn min_time_ms(&self) -> Option<i64> {
        self.head().times_ms().map(|(oldest_ms, _)| oldest_ms)
    }

    /// Time of the newest sample.
    pub fn max_time_ms(&self) -> Option<i64> {
        self.head().times_ms().map(|(_, newest_ms)| newest_ms)
    }

    /// Places in the log that could not be read at start.
    pub fn corruption_count(&self) -> u64 {
        self.metrics.wal_corruptions.get()
    }

    /// Syncs the log and releases the folder. Commits fail from now on; reading still works.
    pub fn close(&self) -> io::Result<()> {
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        // A commit that is under way is waited for; a checkpoint sees that it is to end.
        drop(self.maintenance());
        drop(self.writer());
        self.syncer.stop();
        let thread = self
            .sync_thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            // Its end is all that is waited for; what it met is logged.
            let _ = thread.join();
        }
        let synced = self.syncer.sync();
        synced.and(self.lock.release())
    }

    /// Stores the batch whole, or fails and stores nothing. The samples are taken out if they were
    /// stored, and their series released.
    pub(crate) fn commit(&self, samples: &mut Vec<WaitingSample>) -> Result<(), CommitError> {
        if samples.is_empty() {
            return Ok(());
        }
        let mut writer = self.writer();
        if self.is_closed() {
            return Err(CommitError::Log("the store is closed".to_owned()));
        }
        let new = self.name_series(writer.next_log_id, samples);
        let written = writer.wal.write(|frames| {
            if !new.is_empty() {
                let series = new.iter().map(|series| (series.log_id, &series.labels));
                frames.record(|out| write_series(out, series));
            }
            frames.record(|out| write_samples(out, samples.iter().map(WaitingSample::logged)));
        });
        self.show_written(&written);
        if let Err(error) = written {
            return Err(CommitError::Log(error.to_string()));
        }
        writer.next_log_id += new.len() as u64;
        self.apply(&new, samples);
        Ok(())
    }

    pub(crate) fn head(&self) -> RwLockReadGuard<'_, Head> {
        read(&self.head)
    }

    pub(crate) fn head_mut(&self) -> RwLockWriteGuard<'_, Head> {
        self.head.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Fills in the samples' ids in the log; gives the series that have to be defined there.
    fn name_series(&self, next_log_id: u64, samples: &mut [WaitingSample]) -> Vec<NewSeries> {
        let mut new: Vec<NewSeries> = Vec::new();
        let mut named: HashMap<u32, u64> = HashMap::new();
        let unnamed = samples.iter_mut().filter(|sample| sample.log_id == 0);
        let mut head = None;
        for sample in unnamed {
            let head = head.get_or_insert_with(|| self.head());
            let Some(series) = head.get(sample.id) else {
                continue;
            };
            sample.log_id = match (series.log_id, named.get(&sample.id)) {
                (0, Some(log_id)) => *log_id,
                (0, None) => {
                    let log_id = next_log_id + new.len() as u64;
                    named.insert(sample.id, log_id);
                    new.push(NewSeries {
                        id: sample.id,
                        log_id,
                        labels: series.labels.clone(),
                    });
                    log_id
                }
                (log_id, _) => log_id,
            };
        }
        new
    }

    /// Puts what was logged into the head.
    fn apply(&self, new: &[NewSeries], samples: &mut Vec<WaitingSample>) {
        let (mut added, mut chunks, mut refused) = (0, 0, 0);
        let mut head = self.head_mut();
        for series in new {
            if let Some(to) = head.get_mut(series.id) {
                to.log_id = series.log_id;
            }
        }
        for sample in samples.drain(..) {
            match head.append(sample.id, sample.timestamp_ms, sample.value) {
                Ok(Appended::Added { chunk_begun }) => {
                    added += 1;
                    chunks += u64::from(chunk_begun);
                }
                Ok(Appended::Known) => {}
                // Another batch, or this one, had a later sample of the series; a replay comes to
                // the same.
                Err(_) => refused += 1,
            }
            if let Some(series) = head.get(sample.id) {
                series.release();
            }
        }
        self.metrics.show_head(&head);
        drop(head);
        self.metrics.samples_appended.inc_by(added);
        self.metrics.chunks_created.inc_by(chunks);
        self.metrics.out_of_order.inc_by(refused);
    }

    /// Gives the bytes of the chunks that were dropped.
    fn drop_old(&self, now_ms: i64) -> u64 {
        let start = Instant::now();
        let limit_ms = self.retention_start_ms(now_ms);
        let mut head = self.head_mut();
        let mut pass = head.begin_pass();
        let mut next = 0;
        // The lock is given up in between, so that appends need not wait for the whole pass.
        while next < head.id_limit() {
            let end = head.id_limit().min(next.saturating_add(SERIES_AT_ONCE));
            head.drop_before(next..end, limit_ms, &mut pass);
            next = end;
            drop(head);
            head = self.head_mut();
        }
        let dropped = pass.dropped;
        let removed = head.end_pass(pass);
        self.metrics.show_head(&head);
        drop(head);
        self.metrics.chunks_removed.inc_by(dropped.chunks as u64);
        self.metrics.series_removed.inc_by(removed as u64);
        if dropped.chunks > 0 {
            self.metrics.retention_passes.inc();
        }
        self.metrics
            .retention_pass_seconds
            .observe(start.elapsed().as_secs_f64());
        dropped.size_bytes as u64
    }

    /// What ends before this is not kept. Counted from the newest sample, so that a clock that runs
    /// ahead costs no data, and from now, so that a sample from the future doesn't.
    fn retention_start_ms(&self, now_ms: i64) -> i64 {
        let retention_ms = self.retention_ms.load(Ordering::Relaxed);
        let newest_ms = self.max_time_ms();
        match (i64::try_from(retention_ms), newest_ms) {
            (Ok(1..), Some(newest_ms)) => {
                now_ms.min(newest_ms).saturating_sub_unsigned(retention_ms)
            }
            _ => i64::MIN,
        }
    }

    fn checkpoint_is_due(&self, maintenance: &Maintenance) -> bool {
        let writer = self.writer();
        let limit_bytes = self
            .config
            .wal_segment_bytes
            .max(writer.wal.checkpoint_bytes() / 2);
        writer.wal.tail_bytes() >= limit_bytes
            || maintenance.dropped_bytes >= limit_bytes
            || writer.wal.is_damaged()
            || self.syncer.take_suspect()
            || maintenance.failed
    }

    fn checkpoint(&self, maintenance: &mut Maintenance) {
        let start = Instant::now();
        self.metrics.wal_truncations.inc();
        self.metrics.checkpoints.inc();
        let written = self.write_checkpoint();
        maintenance.failed = written.is_err();
        match written {
            Ok(size_bytes) => {
                maintenance.dropped_bytes = 0;
                let seconds = start.elapsed().as_secs_f64();
                tracing::info!(size_bytes, seconds, "wrote a checkpoint of the log");
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                tracing::info!("the store is being closed, so no checkpoint was written");
            }
            Err(error) => {
                self.metrics.checkpoints_failed.inc();
                self.metrics.wal_truncations_failed.inc();
                tracing::error!(%error, "writing a checkpoint failed; the log stays as it is");
            }
        }
        self.metrics
            .wal_truncate_seconds
            .observe(start.elapsed().as_secs_f64());
    }

    fn write_checkpoint(&self) -> io::Result<u64> {
        let out = {
            let mut writer = self.writer();
            let covered = writer.wal.finish_segment()?;
            writer.wal.new_checkpoint(covered)?
        };
        let info = checkpoint::write(&self.head, out, &self.closed)?;
        let replaced = self.writer().wal.adopt(info);
        if let Err(error) = replaced.delete() {
            self.metrics.wal_truncations_failed.inc();
            tracing::warn!(%error, "an old file of the log stays; it goes at the next start");
        }
        Ok(info.size_bytes)
    }

    /// Writes the log anew if parts of it could not be read.
    fn replace_damaged(&self) {
        let mut maintenance = self.maintenance();
        let is_damaged = self.writer().wal.is_damaged();
        if is_damaged {
            self.checkpoint(&mut maintenance);
        }
    }

    fn show_written(&self, written: &io::Result<()>) {
        let was_failing = self.metrics.wal_failing.get() == 1;
        match written {
            Ok(()) if was_failing => {
                self.metrics.wal_failing.set(0);
                tracing::info!("writing the log works again");
            }
            Ok(()) => {}
            Err(error) => {
                self.metrics.wal_writes_failed.inc();
                self.metrics.wal_failing.set(1);
                if !was_failing {
                    tracing::error!(%error, "writing the log fails; batches are refused until it works");
                }
            }
        }
    }

    fn show_log(&self) {
        let writer = self.writer();
        let size_bytes = writer.wal.checkpoint_bytes() + writer.wal.tail_bytes();
        self.metrics.wal_size_bytes.set(size_bytes as i64);
        self.metrics
            .wal_segment
            .set(writer.wal.current_number() as i64);
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn maintenance(&self) -> MutexGuard<'_, Maintenance> {
        self.maintenance
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "closing the store failed");
        }
    }
}

pub(crate) fn read(head: &RwLock<Head>) -> RwLockReadGuard<'_, Head> {
    head.read().unwrap_or_else(PoisonError::into_inner)
}

/// Series that a pass for old chunks takes under one lock.
const SERIES_AT_ONCE: u32 = 4096;

struct Writer {
    wal: Wal,
    next_log_id: u64,
}

#[derive(Default)]
struct Maintenance {
    /// Bytes of dropped chunks that the log may still have.
    dropped_bytes: u64,
    /// The last checkpoint failed, so that the reason for it remains.
    failed: bool,
}

/// A series that a batch defines in the log.
struct NewSeries {
    id: u32,
    log_id: u64,
    labels: Labels,
}

fn lock_folder(config: &Config) -> Result<FolderLock, OpenError> {
    let unusable = |reason| OpenError::Folder {
        folder: config.path.clone(),
        reason,
    };
    std::fs::create_dir_all(config.path.join(wal::FOLDER)).map_err(unusable)?;
    FolderLock::take(&config.path).map_err(|error| match error {
        LockError::Io(source) => unusable(source),
        LockError::Taken(pid) => OpenError::Locked {
            folder: config.path.clone(),
            pid,
        },
    })
}

/// Says so if the folder has a history that this store does not show.
fn warn_of_other_data(folder: &Path) {
    let has_blocks = std::fs::read_dir(folder).is_ok_and(|entries| {
        let mut folders = entries.flatten().map(|entry| entry.path());
        folders.any(|path| path.join("meta.json").exists())
    });
    if has_blocks || folder.join("wal").exists() {
        tracing::warn!(
            folder = %folder.display(),
            "the data folder has blocks or a log of Prometheus, which this version does not read; \
             they are left as they are"
        );
    }
}

fn replay(config: &Config) -> Result<(Restore, ReplayReport), OpenError> {
    let mut restore = Restore::default();
    match wal::replay(&config.path.join(wal::FOLDER), &mut restore) {
        Ok(report) => Ok((restore, report)),
        Err(ReplayError::Io(error)) => Err(OpenError::Log(error)),
        Err(ReplayError::Newer {
            file,
            found,
            supported,
        }) => Err(OpenError::NewerFormat {
            file,
            found,
            supported,
        }),
    }
}

fn show_replay(metrics: &Metrics, restore: &Restore, report: &ReplayReport, start: Instant) {
    let seconds = start.elapsed().as_secs_f64();
    let (series, chunks) = (restore.head.series_count(), restore.head.chunk_count());
    metrics.replay_seconds.set(seconds);
    metrics.replay_unknown.inc_by(restore.unknown);
    metrics
        .wal_corruptions
        .inc_by(report.damages + u64::from(report.was_torn));
    metrics.series_created.inc_by(series as u64);
    metrics.chunks_created.inc_by(chunks as u64);
    metrics.show_head(&restore.head);
    tracing::info!(
        files = report.files,
        series,
        chunks,
        samples = restore.samples,
        seconds,
        "replayed the log"
    );
    if restore.unknown > 0 {
        tracing::warn!(
            samples = restore.unknown,
            "samples were passed over because the definition of their series is lost"
        );
    }
}

fn in_parentheses(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

#[cfg(test)]
mod tests;
