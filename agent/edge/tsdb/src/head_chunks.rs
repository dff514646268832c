//! Full chunks of the head, in files that are mapped for reading.
//!
//! Keeps true: a place that [`HeadChunks::add`] gave can be read at once and until its file is
//! dropped; what was added is on the disk when [`HeadChunks::sync`] returns. Files are appended to,
//! never changed. `FORMAT.md` draws them. Which chunks are needed the head knows.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use narthex_head::{ChunkRef, ChunkSource, SealedChunk};
use narthex_mapped_file::MappedFile;
use narthex_storage::StorageError;
use prometheus::IntCounter;

use crate::disk::{Disk, DiskFile, with_path};
use crate::file_header::{FileKind, HEADER_BYTES};

/// The folder of head chunks below the data folder.
pub(crate) const FOLDER: &str = "narthex-chunks";

pub(crate) const KIND: FileKind = FileKind {
    magic: *b"NARTHEXC",
    version: 1,
};

/// A new file is begun when one has reached this size.
const FILE_BYTES: u64 = 128 << 20;

/// Chunks are written when so much has come together.
const BUFFER_BYTES: usize = 256 << 10;

/// Length, series, start, end, encoding.
const FRAME_HEADER_BYTES: usize = 25;

const CHECKSUM_BYTES: usize = 4;

/// In the byte of the encoding: the samples came late.
const OUT_OF_ORDER: u8 = 0x80;

/// The head keeps file numbers in 24 bits, of which one value is taken.
const LAST_FILE: u32 = (1 << 24) - 2;

pub(crate) struct HeadChunks {
    folder: PathBuf,
    disk: Arc<dyn Disk>,
    file_bytes: u64,
    /// Chunks that could not be read.
    damaged: Option<IntCounter>,
    /// Those that are counted and told already.
    reported: Mutex<BTreeSet<ChunkRef>>,
    maps: RwLock<BTreeMap<u32, Arc<MappedFile>>>,
    writer: Mutex<Writer>,
}

struct Writer {
    current: Option<Current>,
    next_number: u32,
    /// Names in the folder may not be on the disk yet.
    folder_is_dirty: bool,
}

/// The file that is appended to.
struct Current {
    number: u32,
    file: Box<dyn DiskFile>,
    written: u64,
    /// Follows what is written.
    buffer: Vec<u8>,
    dirty: bool,
}

impl HeadChunks {
    /// Finds the files that are there. Nothing is added to them any more.
    pub(crate) fn open(folder: &Path, disk: Arc<dyn Disk>) -> io::Result<Self> {
        fs::create_dir_all(folder).map_err(|e| with_path(&e, folder))?;
        let newest = list(folder)?.last().copied().unwrap_or(0);
        Ok(HeadChunks {
            folder: folder.to_owned(),
            disk,
            file_bytes: FILE_BYTES,
            damaged: None,
            reported: Mutex::default(),
            maps: RwLock::default(),
            writer: Mutex::new(Writer {
                current: None,
                next_number: newest.saturating_add(1),
                folder_is_dirty: false,
            }),
        })
    }

    /// Counts chunks that cannot be read.
    pub(crate) fn counting(mut self, damaged: IntCounter) -> Self {
        self.damaged = Some(damaged);
        self
    }

    #[cfg(test)]
    pub(crate) fn with_file_bytes(mut self, file_bytes: u64) -> Self {
        self.file_bytes = file_bytes;
        self
    }

    /// Takes a chunk and tells where it is from now on.
    pub(crate) fn add(&self, chunk: &SealedChunk<'_>) -> io::Result<ChunkRef> {
        let mut writer = self.writer();
        let current = self.current(&mut writer)?;
        let before = current.buffer.len();
        let offset = current.written + before as u64;
        let at = ChunkRef {
            file: current.number,
            offset: u32::try_from(offset).map_err(io::Error::other)?,
        };
        write_chunk(&mut current.buffer, at, chunk);
        if current.buffer.len() >= BUFFER_BYTES
            && let Err(error) = current.write_buffer()
        {
            // The chunks before have their places already and are tried again later.
            current.buffer.truncate(before);
            return Err(error);
        }
        Ok(at)
    }

    /// What was added survives power loss when this returns.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let mut writer = self.writer();
        if let Some(current) = &mut writer.current {
            current.sync()?;
        }
        if writer.folder_is_dirty {
            self.disk.sync_folder(&self.folder)?;
            writer.folder_is_dirty = false;
        }
        Ok(())
    }

    /// Removes the files that are not among these and that nothing is added to.
    pub(crate) fn retain(&self, needed: &BTreeSet<u32>) -> io::Result<()> {
        let current = self.writer().current.as_ref().map(|file| file.number);
        for number in list(&self.folder)? {
            if !needed.contains(&number) && Some(number) != current {
                self.maps_mut().remove(&number);
                self.disk.remove(&file_path(&self.folder, number))?;
            }
        }
        Ok(())
    }

    /// Removes all files.
    pub(crate) fn remove_all(&self) -> io::Result<()> {
        self.writer().current = None;
        self.retain(&BTreeSet::new())?;
        self.disk.sync_folder(&self.folder)
    }

    /// Of all files, without what waits to be written.
    pub(crate) fn size_bytes(&self) -> u64 {
        let numbers = list(&self.folder).unwrap_or_default();
        let sizes = numbers
            .iter()
            .filter_map(|number| fs::metadata(file_path(&self.folder, *number)).ok());
        sizes.map(|metadata| metadata.len()).sum()
    }

    /// The file to add to; a new one if there is none or it is full.
    fn current<'a>(&self, writer: &'a mut Writer) -> io::Result<&'a mut Current> {
        if let Some(current) = &mut writer.current
            && current.written + current.buffer.len() as u64 >= self.file_bytes
        {
            current.sync()?;
            writer.current = None;
        }
        if writer.current.is_none() {
            let number = writer.next_number;
            if number > LAST_FILE {
                return Err(io::Error::other(
                    "all numbers of head chunk files are used up: seal the head and start anew",
                ));
            }
            let file = self.disk.create(&file_path(&self.folder, number))?;
            file.write_at(&KIND.header(u64::from(number)), 0)?;
            writer.next_number = number + 1;
            writer.folder_is_dirty = true;
            writer.current = Some(Current {
                number,
                file,
                written: HEADER_BYTES as u64,
                buffer: Vec::new(),
                dirty: true,
            });
        }
        let none = || io::Error::other("no head chunk file");
        writer.current.as_mut().ok_or_else(none)
    }

    /// The bytes of the frame at this place, whatever they are.
    fn with_frame<R>(&self, at: ChunkRef, read: impl FnOnce(&[u8]) -> R) -> io::Result<R> {
        let offset = at.offset as usize;
        let mapped = self.map(at.file);
        // The file may have grown since it was mapped, in the middle of a frame even.
        if let Some(frame) = mapped
            .as_ref()
            .and_then(|map| first_frame(map.get(offset..)?))
        {
            return Ok(read(frame));
        }
        if let Some(frame) = self.waiting_frame(at) {
            return Ok(read(&frame));
        }
        let path = file_path(&self.folder, at.file);
        let map = MappedFile::open(&path).map_err(|e| with_path(&e, &path))?;
        map.read_scattered();
        let map = Arc::new(map);
        self.maps_mut().insert(at.file, map.clone());
        let frame = map.get(offset..).and_then(first_frame);
        Ok(read(frame.unwrap_or_default()))
    }

    fn report(&self, at: ChunkRef, reason: &str) {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        if !reported.insert(at) {
            return;
        }
        drop(reported);
        if let Some(damaged) = &self.damaged {
            damaged.inc();
        }
        tracing::error!(
            file = %file_path(&self.folder, at.file).display(), offset = at.offset, reason,
            "a chunk of the head cannot be read and is passed over"
        );
    }

    /// A frame that has not been written yet: a copy, so that nothing foreign runs under the lock.
    fn waiting_frame(&self, at: ChunkRef) -> Option<Vec<u8>> {
        let writer = self.writer();
        let current = writer.current.as_ref()?;
        let offset = u64::from(at.offset).checked_sub(current.written)?;
        let waiting = current.buffer.get(usize::try_from(offset).ok()?..)?;
        let frame = first_frame(waiting).filter(|_| current.number == at.file);
        frame.map(<[u8]>::to_vec)
    }

    fn map(&self, number: u32) -> Option<Arc<MappedFile>> {
        let maps = self.maps.read().unwrap_or_else(PoisonError::into_inner);
        maps.get(&number).cloned()
    }

    fn maps_mut(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<u32, Arc<MappedFile>>> {
        self.maps.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ChunkSource for HeadChunks {
    /// A chunk that cannot be read costs itself: it is reported and passed over.
    fn read(&self, at: ChunkRef, read: &mut dyn FnMut(&[u8])) -> Result<(), StorageError> {
        let found = self.with_frame(at, |bytes| {
            chunk_at(bytes, at).map(|chunk| read(chunk.bytes))
        });
        match found {
            Ok(Some(())) => {}
            Ok(None) => self.report(at, "its checksum is wrong"),
            Err(error) => self.report(at, &error.to_string()),
        }
        Ok(())
    }
}

impl Current {
    fn write_buffer(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            self.file.write_at(&self.buffer, self.written)?;
            self.written += self.buffer.len() as u64;
            self.buffer.clear();
            self.dirty = true;
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.write_buffer()?;
        if self.dirty {
            self.file.sync()?;
            self.dirty = false;
        }
        Ok(())
    }
}

fn write_chunk(out: &mut Vec<u8>, at: ChunkRef, chunk: &SealedChunk<'_>) {
    let start = out.len();
    let late = if chunk.out_of_order { OUT_OF_ORDER } else { 0 };
    out.extend_from_slice(&(chunk.bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(&chunk.series.to_le_bytes());
    out.extend_from_slice(&chunk.start_ms.to_le_bytes());
    out.extend_from_slice(&chunk.end_ms.to_le_bytes());
    out.push(chunk.encoding | late);
    out.extend_from_slice(chunk.bytes);
    let checksum = checksum_at(at, out.get(start..).unwrap_or_default());
    out.extend_from_slice(&checksum.to_le_bytes());
}

/// The frame that these bytes begin with, if they reach to its end.
fn first_frame(bytes: &[u8]) -> Option<&[u8]> {
    let length = u32::from_le_bytes(*bytes.first_chunk()?) as usize;
    bytes.get(..length.checked_add(FRAME_HEADER_BYTES + CHECKSUM_BYTES)?)
}

/// The chunk whose frame these bytes begin with, if it is whole.
fn chunk_at(bytes: &[u8], at: ChunkRef) -> Option<SealedChunk<'_>> {
    let length = u32::from_le_bytes(*bytes.first_chunk()?) as usize;
    let end = FRAME_HEADER_BYTES.checked_add(length)?;
    let (frame, rest) = bytes.split_at_checked(end)?;
    let checksum = rest.first_chunk::<CHECKSUM_BYTES>()?;
    if u32::from_le_bytes(*checksum) != checksum_at(at, frame) {
        return None;
    }
    let (header, chunk) = frame.split_at_checked(FRAME_HEADER_BYTES)?;
    let encoding = header.get(24).copied()?;
    Some(SealedChunk {
        series: u32::from_le_bytes(*header.get(4..)?.first_chunk()?),
        start_ms: i64::from_le_bytes(*header.get(8..)?.first_chunk()?),
        end_ms: i64::from_le_bytes(*header.get(16..)?.first_chunk()?),
        encoding: encoding & !OUT_OF_ORDER,
        out_of_order: encoding & OUT_OF_ORDER != 0,
        bytes: chunk,
    })
}

/// Covers the place too, so that no chunk is taken for another.
fn checksum_at(at: ChunkRef, frame: &[u8]) -> u32 {
    let place = crc32c::crc32c(&at.file.to_le_bytes());
    let place = crc32c::crc32c_append(place, &at.offset.to_le_bytes());
    crc32c::crc32c_append(place, frame)
}

/// Numbers of the files in the folder, ascending.
fn list(folder: &Path) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| with_path(&e, folder))? {
        let name = entry.map_err(|e| with_path(&e, folder))?.file_name();
        let name = name.to_string_lossy();
        let number = name.parse().ok();
        numbers.extend(number.filter(|number| file_name(*number) == name));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn file_path(folder: &Path, number: u32) -> PathBuf {
    folder.join(file_name(number))
}

fn file_name(number: u32) -> String {
    format!("{number:08}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;
    use crate::disk::faulty::FaultyDisk;
    use std::sync::atomic::Ordering::SeqCst;

    fn chunk(series: u32, bytes: &[u8]) -> SealedChunk<'_> {
        SealedChunk {
            series,
            start_ms: -5,
            end_ms: i64::from(series),
            encoding: 1,
            out_of_order: series % 2 == 1,
            bytes,
        }
    }

    fn read(chunks: &HeadChunks, at: ChunkRef) -> Option<Vec<u8>> {
        let mut found = None;
        chunks
            .read(at, &mut |bytes| found = Some(bytes.to_vec()))
            .unwrap();
        found
    }

    #[test]
    fn chunks_are_read_wherever_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let open = || HeadChunks::open(folder.path(), Arc::new(RealDisk)).unwrap();
        let chunks = open().with_file_bytes(600_000);
        let body = |n: u32| vec![n as u8; 1000];
        let mut places = Vec::new();
        for n in 0..2000 {
            places.push(chunks.add(&chunk(n, &body(n))).unwrap());
            let at = n as usize / 2;
            assert_eq!(read(&chunks, places[at]), Some(body(at as u32)));
        }
        assert!(list(folder.path()).unwrap().len() >= 3);
        chunks.sync().unwrap();
        drop(chunks);
        let chunks = open();
        for (n, at) in (0..).zip(&places) {
            assert_eq!(read(&chunks, *at), Some(body(n)));
        }
        let newest = places[1999].file;
        chunks.retain(&BTreeSet::from([newest])).unwrap();
        assert_eq!(list(folder.path()).unwrap(), [newest]);
        assert_eq!(read(&chunks, places[0]), None);
        assert_eq!(chunks.add(&chunk(1, &[])).unwrap().file, newest + 1);
    }

    #[test]
    fn a_file_that_was_mapped_in_the_middle_of_a_write_is_mapped_again() {
        let folder = tempfile::tempdir().unwrap();
        let chunks = HeadChunks::open(folder.path(), Arc::new(RealDisk)).unwrap();
        let first = chunks.add(&chunk(1, b"first")).unwrap();
        chunks.sync().unwrap();
        let mut next = Vec::new();
        let at = ChunkRef {
            file: first.file,
            offset: fs::metadata(file_path(folder.path(), 1)).unwrap().len() as u32,
        };
        write_chunk(&mut next, at, &chunk(2, b"second"));
        for part in [1, 4, 10, FRAME_HEADER_BYTES, next.len() - 1] {
            chunks.maps_mut().clear();
            let file = RealDisk.open(&file_path(folder.path(), 1)).unwrap();
            file.write_at(&next[..part], u64::from(at.offset)).unwrap();
            assert_eq!(read(&chunks, first), Some(b"first".to_vec()));
            if part == next.len() - 1 {
                assert_eq!(chunks.add(&chunk(2, b"second")).unwrap(), at);
                assert_eq!(read(&chunks, at), Some(b"second".to_vec()));
                chunks.sync().unwrap();
                assert_eq!(read(&chunks, at), Some(b"second".to_vec()));
            }
        }
    }

    #[test]
    fn a_damaged_chunk_costs_itself() {
        let folder = tempfile::tempdir().unwrap();
        let chunks = HeadChunks::open(folder.path(), Arc::new(RealDisk)).unwrap();
        let bodies = [b"one".as_slice(), b"two", b"three"];
        let places = bodies.map(|body| chunks.add(&chunk(7, body)).unwrap());
        chunks.sync().unwrap();
        drop(chunks);
        let path = file_path(folder.path(), 1);
        let good = fs::read(&path).unwrap();
        for at in places[1].offset..places[2].offset {
            let mut bad = good.clone();
            bad[at as usize] ^= 0x40;
            fs::write(&path, &bad).unwrap();
            let chunks = HeadChunks::open(folder.path(), Arc::new(RealDisk)).unwrap();
            let found = places.map(|at| read(&chunks, at));
            let expected = [Some(b"one".to_vec()), None, Some(b"three".to_vec())];
            assert_eq!(found, expected, "{at}");
        }
        for length in 0..good.len() {
            fs::write(&path, &good[..length]).unwrap();
            let chunks = HeadChunks::open(folder.path(), Arc::new(RealDisk)).unwrap();
            let whole = places.iter().filter(|at| read(&chunks, **at).is_some());
            let ends = [places[1].offset, places[2].offset, good.len() as u32];
            let expected = ends.iter().filter(|end| **end as usize <= length).count();
            assert_eq!(whole.count(), expected, "{length}");
        }
    }

    #[test]
    fn a_full_disk_loses_no_place_that_was_given() {
        let folder = tempfile::tempdir().unwrap();
        let (disk, faults) = FaultyDisk::new();
        let chunks = HeadChunks::open(folder.path(), Arc::new(disk)).unwrap();
        faults.room_bytes.store(300_000, SeqCst);
        let body = |n: u32| vec![n as u8; 50_000];
        let mut places = Vec::new();
        let mut refused = 0;
        for n in 0..40 {
            match chunks.add(&chunk(n, &body(n))) {
                Ok(at) => places.push((n, at)),
                Err(error) => {
                    assert!(error.to_string().contains("00000001"), "{error}");
                    refused += 1;
                }
            }
        }
        assert!(refused > 20, "{refused}");
        chunks.sync().unwrap_err();
        faults.room_bytes.store(u64::MAX, SeqCst);
        places.push((99, chunks.add(&chunk(99, &body(99))).unwrap()));
        chunks.sync().unwrap();
        for (n, at) in places {
            assert_eq!(read(&chunks, at), Some(body(n)));
        }
    }
}
