//! The file `queries.active`: which queries run, so that the next start can tell what ran when the
//! process ended.
//!
//! It is laid out as Prometheus does it: `[`, then slots of one size, each either zeros or a JSON
//! object, zeros, and a comma at its end. A slot is written before its query runs and cleared
//! after; nothing is synced, as the system keeps what was written when the process dies.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

const FILE_NAME: &str = "queries.active";
const SLOT_BYTES: usize = 1000;
/// What is read at most of a former list.
const FORMER_BYTES_MAX: u64 = 16 << 20;

/// A query that ran when the process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfinished {
    /// Its beginning, where it is long.
    pub query: String,
    #[serde(rename = "timestamp_sec")]
    pub started_seconds: i64,
}

impl Unfinished {
    pub fn started(&self) -> String {
        match jiff::Timestamp::from_second(self.started_seconds) {
            Ok(time) => time.to_string(),
            Err(_) => self.started_seconds.to_string(),
        }
    }
}

pub(crate) struct ActiveQueries {
    file: File,
    /// Places of free slots.
    free: Mutex<Vec<u64>>,
    failure_is_told: AtomicBool,
}

impl ActiveQueries {
    pub(crate) fn open(folder: &Path, slots: usize) -> io::Result<(Self, Vec<Unfinished>)> {
        fs::create_dir_all(folder)?;
        let path = folder.join(FILE_NAME);
        let unfinished = match File::open(&path) {
            Ok(file) => read_former(file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)?;
        let places: Vec<u64> = (0..slots)
            .rev()
            .map(|slot| 1 + (slot * SLOT_BYTES) as u64)
            .collect();
        file.set_len(1 + (slots * SLOT_BYTES) as u64)?;
        file.write_all_at(b"[", 0)?;
        let active = ActiveQueries {
            file,
            free: Mutex::new(places),
            failure_is_told: AtomicBool::new(false),
        };
        Ok((active, unfinished))
    }

    /// Notes the query. None if no slot is free: it runs all the same.
    pub(crate) fn enter(&self, query: &str, started_seconds: i64) -> Option<u64> {
        let place = self.free().pop()?;
        self.write(place, &entry(query, started_seconds));
        Some(place)
    }

    pub(crate) fn leave(&self, place: u64) {
        self.write(place, &[0; SLOT_BYTES]);
        self.free().push(place);
    }

    fn write(&self, place: u64, slot: &[u8; SLOT_BYTES]) {
        if let Err(error) = self.file.write_all_at(slot, place)
            && !self.failure_is_told.swap(true, Ordering::Relaxed)
        {
            tracing::error!("writing {FILE_NAME}: {error}; queries go on without it");
        }
    }

    fn free(&self) -> MutexGuard<'_, Vec<u64>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A slot; of a long query as much as has room with its escapes.
fn entry(query: &str, started_seconds: i64) -> [u8; SLOT_BYTES] {
    let mut slot = [0; SLOT_BYTES];
    slot[SLOT_BYTES - 1] = b',';
    let room = SLOT_BYTES - 1;
    let mut length = query.len().min(room);
    loop {
        while !query.is_char_boundary(length) {
            length -= 1;
        }
        let cut = Unfinished {
            query: query.get(..length).unwrap_or_default().to_owned(),
            started_seconds,
        };
        let json = serde_json::to_vec(&cut).unwrap_or_default();
        if let Some(target) = slot.get_mut(..json.len())
            && json.len() <= room
        {
            target.copy_from_slice(&json);
            return slot;
        }
        length -= (json.len() - room).min(length).div_ceil(6).max(1);
    }
}

fn read_former(file: File) -> io::Result<Vec<Unfinished>> {
    let mut bytes = Vec::new();
    file.take(FORMER_BYTES_MAX).read_to_end(&mut bytes)?;
    let slots = bytes.get(1..).unwrap_or_default().chunks(SLOT_BYTES);
    Ok(slots.filter_map(read_slot).collect())
}

/// A slot that was half written when the power went says nothing.
fn read_slot(slot: &[u8]) -> Option<Unfinished> {
    let end = slot.iter().position(|byte| *byte == 0);
    let json = slot.get(..end.unwrap_or(slot.len()))?;
    serde_json::from_slice(json.strip_suffix(b",").unwrap_or(json)).ok()
}
