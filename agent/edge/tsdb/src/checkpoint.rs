//! Writing what the head holds as a checkpoint of the log.
//!
//! Appends go on meanwhile: the log is rolled to a new segment first, and every series is taken as
//! it is when its turn comes. What a series got since then is in the new segments too, and a replay
//! passes over what it knows.

use std::io;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, Ordering};

use narthex_model::Labels;

use crate::chunk::SealedChunk;
use crate::head::Head;
use crate::wal::record::{write_chunks, write_series};
use crate::wal::{CheckpointWriter, SegmentInfo};

/// Series taken under one lock.
const SERIES_AT_ONCE: u32 = 256;

/// A record of chunks is finished when it has this much.
const CHUNK_RECORD_BYTES: usize = 1 << 20;

/// Fails with [`io::ErrorKind::Interrupted`] when `stop` is set meanwhile.
pub(crate) fn write(
    head: &RwLock<Head>,
    mut out: CheckpointWriter,
    stop: &AtomicBool,
) -> io::Result<SegmentInfo> {
    let mut next = 0;
    while let Some(part) = take(head, next) {
        if stop.load(Ordering::Acquire) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        write_part(&mut out, &part)?;
        next += SERIES_AT_ONCE;
    }
    out.finish()
}

struct TakenSeries {
    log_id: u64,
    labels: Labels,
    chunks: Vec<SealedChunk>,
}

/// Series from this id on; nothing if there are no more ids. A series that the log does not know
/// has nothing committed.
fn take(head: &RwLock<Head>, from: u32) -> Option<Vec<TakenSeries>> {
    let head = crate::db::read(head);
    if from >= head.id_limit() {
        return None;
    }
    let series = (from..from.saturating_add(SERIES_AT_ONCE)).filter_map(|id| head.get(id));
    let known = series.filter(|series| series.log_id != 0);
    let taken = known.map(|series| TakenSeries {
        log_id: series.log_id,
        labels: series.labels.clone(),
        chunks: series.chunks_in(i64::MIN, i64::MAX),
    });
    Some(taken.collect())
}

fn write_part(out: &mut CheckpointWriter, part: &[TakenSeries]) -> io::Result<()> {
    if part.is_empty() {
        return Ok(());
    }
    out.record(|out| write_series(out, part.iter().map(|s| (s.log_id, &s.labels))))?;
    let mut waiting: Vec<(u64, &[u8])> = Vec::new();
    let mut waiting_bytes = 0;
    for series in part {
        for chunk in &series.chunks {
            waiting.push((series.log_id, &chunk.bytes));
            waiting_bytes += chunk.bytes.len();
            if waiting_bytes >= CHUNK_RECORD_BYTES {
                out.record(|out| write_chunks(out, &waiting))?;
                waiting.clear();
                waiting_bytes = 0;
            }
        }
    }
    if !waiting.is_empty() {
        out.record(|out| write_chunks(out, &waiting))?;
    }
    Ok(())
}
