//! Opening the store: the folder's lock, the blocks, the head, and what others left in the folder.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64};
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use narthex_blocks::Blocks;
use narthex_head::{Head, Options};
use narthex_storage::ReplayProgress;
use prometheus::Registry;

use super::upkeep::Upkeep;
use super::{Db, log_folder};
use crate::commit_log::CommitLog;
use crate::config::{Config, OpenError};
use crate::disk::{Disk, with_path};
use crate::head_chunks::{self, HeadChunks};
use crate::lock::{FolderLock, LockError};
use crate::log::Log;
use crate::metrics::{Metrics, Shown, sources};
use crate::replay::{Replay, Report};
use crate::set_aside::set_aside;
use crate::sync_thread::SyncThread;
use crate::{former, prometheus_folder};

/// What the log of the first release is named while it waits to be taken over.
const FORMER_FOLDER: &str = "narthex-wal.former";

pub(super) fn open(
    config: Config,
    registry: &Registry,
    progress: &ReplayProgress,
    disk: Arc<dyn Disk>,
) -> Result<Db, OpenError> {
    let start = Instant::now();
    let lock = lock_folder(&config)?;
    let metrics = Arc::new(Metrics::new(registry)?);
    metrics.clean_start.set(i64::from(lock.was_clean()));
    move_former_log(&config.path, &*disk).map_err(OpenError::Log)?;
    let log_folder = log_folder(&config.path);
    std::fs::create_dir_all(&log_folder).map_err(|e| OpenError::Log(with_path(&e, &log_folder)))?;

    let block_metrics = narthex_blocks::Metrics::new(registry)?;
    let blocks = Blocks::open(
        &config.path,
        narthex_blocks::Options::default(),
        block_metrics.clone(),
    )?;
    let chunks = HeadChunks::open(&config.path.join(head_chunks::FOLDER), disk.clone())
        .map_err(OpenError::Log)?
        .counting(metrics.chunk_corruptions.clone());
    let chunks = Arc::new(chunks);
    let replay = Replay {
        folder: &log_folder,
        disk: &*disk,
        chunks: &chunks,
        new_head: &|| new_head(&config, &chunks),
        progress,
        parts: std::thread::available_parallelism().map_or(1, usize::from),
    };
    let restored = replay.run()?;
    show_replay(&metrics, &restored.head, &restored.report, start);

    let log = Log::resume(&log_folder, disk.clone(), restored.end).map_err(OpenError::Log)?;
    let log = Arc::new(log.with_segment_bytes(config.wal_segment_bytes));
    let head = restored.head;
    // What the replay did not need is left from a run that was killed.
    let chunk_files = head.chunk_files();
    chunks.retain(&chunk_files).map_err(OpenError::Log)?;
    Shown::register(registry, sources(&head, &log, &chunks))?;
    let sync_thread = SyncThread::start(log.clone(), metrics.clone(), config.sync_interval)
        .map_err(OpenError::Log)?;
    let db = Db {
        head,
        log: CommitLog::new(log, metrics.clone()),
        chunks,
        blocks,
        block_metrics,
        metrics,
        disk,
        limits: Mutex::default(),
        upkeep: Mutex::new(Upkeep::after(&restored.report, chunk_files)),
        head_floor_ms: AtomicI64::new(i64::MIN),
        sync_thread,
        lock,
        closed: AtomicBool::new(false),
        config,
    };
    db.set_retention(
        db.config.retention_ms,
        db.config.retention_bytes,
        db.config.retention_percent,
    );
    db.set_exemplar_limit(db.config.exemplar_limit);
    db.take_over();
    db.replace_damaged();
    Ok(db)
}

fn lock_folder(config: &Config) -> Result<FolderLock, OpenError> {
    let unusable = |reason| OpenError::Folder {
        folder: config.path.clone(),
        reason,
    };
    std::fs::create_dir_all(&config.path).map_err(unusable)?;
    FolderLock::take(&config.path).map_err(|error| match error {
        LockError::Io(source) => unusable(source),
        LockError::Taken(pid) => OpenError::Locked {
            folder: config.path.clone(),
            pid,
        },
    })
}

fn new_head(config: &Config, chunks: &Arc<HeadChunks>) -> Head {
    let options = Options {
        chunk_range_ms: config.range_ms(),
        out_of_order_window_ms: config.out_of_order_window_ms,
        exemplar_limit: config.exemplar_limit,
    };
    Head::new(options, chunks.clone())
}

/// Where the blocks end that were not made of late samples.
fn in_order_end_ms(blocks: &Blocks) -> Option<i64> {
    let loaded = blocks.loaded();
    let in_order = loaded.iter().filter(|block| {
        let meta = block.meta();
        let hints = &meta.compaction.hints;
        !hints.iter().any(|hint| hint == super::upkeep::LATE_HINT)
    });
    in_order.map(|block| block.max_ms()).max()
}

/// The log of the first release makes room for ours, which has its name.
fn move_former_log(data: &Path, disk: &dyn Disk) -> io::Result<()> {
    let folder = log_folder(data);
    let waiting = data.join(FORMER_FOLDER);
    if !waiting.exists() && folder.exists() && former::is_former(&folder)? {
        std::fs::rename(&folder, &waiting).map_err(|e| with_path(&e, &folder))?;
        disk.sync_folder(data)?;
    }
    Ok(())
}

fn show_replay(metrics: &Metrics, head: &Head, report: &Report, start: Instant) {
    let seconds = start.elapsed().as_secs_f64();
    let stats = head.stats();
    metrics.replay_seconds.set(seconds);
    metrics.replay_unknown.inc_by(report.lost_samples);
    metrics.wal_corruptions.inc_by(report.damages);
    metrics
        .snapshot_replay_errors
        .inc_by(report.snapshot_damages);
    metrics
        .snapshot_size_bytes
        .set(report.snapshot_bytes as i64);
    tracing::info!(
        segments = report.segments,
        records = report.records,
        samples = report.samples,
        series = stats.series,
        chunks = stats.chunks,
        snapshot_bytes = report.snapshot_bytes,
        seconds,
        "replayed the log"
    );
    if report.lost_samples > 0 {
        tracing::warn!(
            samples = report.lost_samples,
            "samples were passed over because the definition of their series, or what their values \
             are told by, is lost"
        );
    }
}

impl Db {
    /// Takes into the head what Prometheus or the first release left, and sets it aside. If that
    /// fails it is left where it is, and tried again at the next start.
    fn take_over(&self) {
        match self.try_take_over() {
            Ok(None) => {}
            Ok(Some(aside)) => tracing::info!(
                folder = %aside.display(),
                "what was taken over is set aside, and may be deleted once it is sure that it is not \
                 needed; to go back to the program that wrote it with all samples, seal the store \
                 (`narthex tsdb seal`), to go back without those since now, stop it and move the \
                 folders from there into the data folder"
            ),
            Err(error) => tracing::error!(
                %error,
                "taking over what another program left failed; it stays and is tried again at the \
                 next start"
            ),
        }
    }

    fn try_take_over(&self) -> io::Result<Option<PathBuf>> {
        let data = &self.config.path;
        let mut entries = prometheus_folder::entries(data)?;
        if !entries.is_empty() {
            self.take_over_prometheus()?;
        }
        let former_log = data.join(FORMER_FOLDER);
        if former_log.exists() {
            let mut between = || self.flush_sealed();
            let taken = former::take_over(&former_log, &self.head.import(), &mut between)?;
            tracing::info!(
                series = taken.series,
                samples = taken.samples,
                damages = taken.damages,
                unknown = taken.unknown,
                "took over the log of the first release"
            );
            entries.push(former_log);
        }
        if entries.is_empty() {
            return Ok(None);
        }
        // From here on our own files have it.
        self.write_snapshot(&mut self.upkeep())?;
        set_aside(data, &entries, SystemTime::now(), &*self.disk).map(Some)
    }

    fn take_over_prometheus(&self) -> io::Result<()> {
        let start = Instant::now();
        tracing::info!("taking over the log and the head of Prometheus");
        let taken = prometheus_folder::take_over(
            &self.config.path,
            in_order_end_ms(&self.blocks),
            &self.head.import(),
            &mut || self.flush_sealed(),
        )?;
        self.metrics.wal_corruptions.inc_by(taken.damages);
        self.metrics.replay_unknown.inc_by(taken.unknown);
        tracing::info!(
            series = taken.series,
            samples = taken.samples,
            damages = taken.damages,
            unknown = taken.unknown,
            seconds = start.elapsed().as_secs_f64(),
            "took over the log and the head of Prometheus"
        );
        Ok(())
    }

    /// Writes the head anew if parts of the log or of its snapshot could not be read.
    fn replace_damaged(&self) {
        let mut upkeep = self.upkeep();
        if upkeep.wants_snapshot() {
            self.snapshot_head(&mut upkeep);
        }
    }
}
