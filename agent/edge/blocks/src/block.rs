//! One block: a folder with an index, chunks, tombstones and a meta.json.
//!
//! Keeps true: index and chunks never change once the block has its name, so they are memory maps;
//! only tombstones and what meta.json says of compaction do, and both are replaced as a whole.
//! Whoever holds the block reads on after its folder was deleted. What cannot be read of it costs
//! no more than itself: a segment its chunks, a chunk its samples; it is reported and counted.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use narthex_block_format::{
    BlockMeta, Chunk, ChunkRef, IndexLayout, IndexReader, IndexVersion, Tombstones, segment,
};
use narthex_mapped_file::MappedFile;
use prometheus::IntCounter;

use crate::error::Problem;
use crate::{Error, Ulid, folder};

/// An open block.
pub struct Block {
    path: PathBuf,
    ulid: Ulid,
    min_ms: i64,
    max_ms: i64,
    meta: Mutex<Arc<BlockMeta>>,
    index: MappedFile,
    layout: IndexLayout,
    /// None for one that cannot be read.
    segments: Vec<Option<MappedFile>>,
    tombstones: RwLock<Arc<Tombstones>>,
    /// Held while tombstones or meta.json are changed.
    changing: Mutex<()>,
    size_bytes: u64,
    damage: Damage,
}

/// What could not be read so far.
#[derive(Default)]
struct Damage {
    reported: Mutex<HashSet<(Option<u32>, ChunkRef)>>,
    counter: Option<IntCounter>,
}

impl Block {
    /// Opens the block in a folder that has its name.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::open_counting(path, None)
    }

    /// As [`Block::open`]; what turns out to be damaged is counted.
    pub fn open_counting(path: &Path, damaged: Option<IntCounter>) -> Result<Self, Error> {
        let meta = read_meta(path)?;
        let index_path = path.join(folder::INDEX);
        let index = MappedFile::open(&index_path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::block(path)(Problem::NoIndex),
            _ => Error::io(&index_path)(error),
        })?;
        let layout = match meta.has_mislabelled_index() {
            true => IndexLayout::open_as(&index, IndexVersion::V2),
            false => IndexLayout::open(&index),
        };
        let layout = layout.map_err(Error::block(&index_path))?;
        let block = Block {
            path: path.to_owned(),
            ulid: meta.ulid,
            min_ms: meta.min_time_ms,
            max_ms: meta.max_time_ms,
            meta: Mutex::new(Arc::new(meta)),
            index,
            layout,
            segments: open_segments(path)?,
            tombstones: RwLock::new(Arc::new(read_tombstones(path)?)),
            changing: Mutex::new(()),
            size_bytes: folder::size_bytes(path).map_err(Error::io(path))?,
            damage: Damage {
                counter: damaged,
                ..Damage::default()
            },
        };
        Ok(block)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn ulid(&self) -> Ulid {
        self.ulid
    }

    /// Time of the oldest sample that the block may have.
    pub fn min_ms(&self) -> i64 {
        self.min_ms
    }

    /// The block's samples are older than this.
    pub fn max_ms(&self) -> i64 {
        self.max_ms
    }

    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// What meta.json says now.
    pub fn meta(&self) -> Arc<BlockMeta> {
        lock(&self.meta).clone()
    }

    /// What is deleted although the chunks have it.
    pub fn tombstones(&self) -> Arc<Tombstones> {
        let tombstones = self.tombstones.read();
        tombstones.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn index(&self) -> IndexReader<'_> {
        self.layout.reader(&self.index)
    }

    pub fn index_version(&self) -> IndexVersion {
        self.layout.version()
    }

    pub fn index_size_bytes(&self) -> u64 {
        self.index.len() as u64
    }

    /// Memory that finding things in the index takes.
    pub fn symbols_size_bytes(&self) -> u64 {
        self.layout.memory_bytes() as u64
    }

    /// Whether the block may have samples between two times, both inclusive.
    pub fn overlaps(&self, start_ms: i64, end_ms: i64) -> bool {
        self.min_ms <= end_ms && start_ms < self.max_ms && start_ms <= end_ms
    }

    /// A chunk, its CRC checked.
    pub fn chunk(&self, chunk_ref: ChunkRef) -> Result<Chunk<'_>, Error> {
        let number = chunk_ref.segment();
        let path = || folder::segment_path(&self.path, number);
        let segment = self.segments.get(number as usize).and_then(Option::as_ref);
        let Some(bytes) = segment else {
            return Err(Error::block(&path())(Problem::NoSegment(number + 1)));
        };
        segment::read_chunk(bytes, chunk_ref.offset())
            .map_err(|problem| Error::block(&path())(problem))
    }

    pub(crate) fn segments(&self) -> &[Option<MappedFile>] {
        &self.segments
    }

    /// Whether something of the block could not be read so far.
    pub fn has_damage(&self) -> bool {
        !lock(&self.damage.reported).is_empty()
    }

    /// Notes that a chunk, or the series' entry of the index, cannot be read. Said once of each.
    pub(crate) fn report_damage(&self, series: Option<u32>, chunk: ChunkRef, error: &Error) {
        if !lock(&self.damage.reported).insert((series, chunk)) {
            return;
        }
        if let Some(counter) = &self.damage.counter {
            counter.inc();
        }
        tracing::warn!(block = %self.ulid, %error, "part of a block cannot be read and is left out");
    }

    /// Adds to what is deleted, on disk and for those who read from now on.
    pub(crate) fn change_tombstones(
        &self,
        change: impl FnOnce(&mut Tombstones),
    ) -> Result<(), Error> {
        let _changing = lock(&self.changing);
        let before = self.tombstones();
        let mut tombstones = Tombstones::clone(&before);
        change(&mut tombstones);
        if tombstones == *before {
            return Ok(());
        }
        let count = tombstones.count();
        folder::replace(&self.path.join(folder::TOMBSTONES), &tombstones.to_bytes())?;
        let guard = self.tombstones.write();
        *guard.unwrap_or_else(PoisonError::into_inner) = Arc::new(tombstones);
        self.write_meta(|meta| meta.stats.num_tombstones = count)
    }

    /// Changes what meta.json says.
    pub(crate) fn change_meta(&self, change: impl FnOnce(&mut BlockMeta)) -> Result<(), Error> {
        let _changing = lock(&self.changing);
        self.write_meta(change)
    }

    fn write_meta(&self, change: impl FnOnce(&mut BlockMeta)) -> Result<(), Error> {
        let mut meta = BlockMeta::clone(&self.meta());
        change(&mut meta);
        write_meta(&self.path, &meta)?;
        *lock(&self.meta) = Arc::new(meta);
        Ok(())
    }
}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Block").field("path", &self.path).finish()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The meta.json of a block.
pub(crate) fn read_meta(block: &Path) -> Result<BlockMeta, Error> {
    let path = block.join(folder::META);
    let json = fs::read(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::block(block)(Problem::NoMeta),
        _ => Error::io(&path)(error),
    })?;
    BlockMeta::read(&json).map_err(Error::block(&path))
}

pub(crate) fn write_meta(block: &Path, meta: &BlockMeta) -> Result<(), Error> {
    let path = block.join(folder::META);
    let json = meta.to_json().map_err(Error::block(&path))?;
    folder::replace(&path, &json)
}

fn read_tombstones(block: &Path) -> Result<Tombstones, Error> {
    let path = block.join(folder::TOMBSTONES);
    match fs::read(&path) {
        Ok(bytes) => Tombstones::read(&bytes).map_err(Error::block(&path)),
        // Old blocks have no such file as long as nothing was deleted from them.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Tombstones::default()),
        Err(error) => Err(Error::io(&path)(error)),
    }
}

/// Opens the segments by their numbers. One that cannot be read is left out; if none can, that is
/// the block's end.
fn open_segments(block: &Path) -> Result<Vec<Option<MappedFile>>, Error> {
    let mut segments = Vec::new();
    let mut first_error = None;
    for number in 0..segment_count(block)? {
        match open_segment(block, number) {
            Ok(segment) => segments.push(Some(segment)),
            Err(error) => {
                tracing::warn!(%error, "a segment of a block cannot be read, its chunks are left out");
                first_error.get_or_insert(error);
                segments.push(None);
            }
        }
    }
    match first_error {
        Some(error) if segments.iter().all(Option::is_none) => Err(error),
        _ => Ok(segments),
    }
}

fn open_segment(block: &Path, number: u32) -> Result<MappedFile, Error> {
    let path = folder::segment_path(block, number);
    let segment = MappedFile::open(&path).map_err(Error::io(&path))?;
    segment::check_header(&segment).map_err(Error::block(&path))?;
    Ok(segment)
}

/// One more than the highest number that a segment has.
fn segment_count(block: &Path) -> Result<u32, Error> {
    let path = block.join(folder::CHUNKS);
    let entries = match fs::read_dir(&path) {
        Ok(entries) => entries,
        // A block without samples may have no such folder.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(Error::io(&path)(error)),
    };
    let mut count = 0;
    for entry in entries {
        let name = entry.map_err(Error::io(&path))?.file_name();
        let number = name.to_str().and_then(|name| name.parse::<u32>().ok());
        count = count.max(number.unwrap_or(0).min(SEGMENTS_MAX));
    }
    Ok(count)
}

/// More segments than the largest index can have chunks in.
const SEGMENTS_MAX: u32 = 1 << 16;
