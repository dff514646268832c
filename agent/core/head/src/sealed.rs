//! Full chunks: where they lie, in lists from a series' newest to its oldest.

use std::sync::Arc;

use crate::ChunkRef;

/// Ends a list. Entries are counted from 1, so that a fresh series needs no setting up.
pub(crate) const END_OF_LIST: u32 = 0;

/// Stands for a chunk in memory.
const IN_MEMORY: u32 = 0xff_ffff;

/// What is known of a full chunk without reading it.
#[derive(Clone, Debug)]
pub(crate) struct SealedEntry {
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    pub(crate) encoding: u8,
    pub(crate) place: Place,
}

#[derive(Clone, Debug)]
pub(crate) enum Place {
    Memory(Arc<[u8]>),
    File(ChunkRef),
}

/// A chunk in memory.
pub(crate) struct InMemory {
    here: u32,
    pub(crate) bytes: Arc<[u8]>,
    pub(crate) entry: SealedEntry,
}

/// The full chunks of a page's series.
#[derive(Debug, Default)]
pub(crate) struct SealedChunks {
    entries: Vec<Stored>,
    free: u32,
    memory: Vec<Option<Arc<[u8]>>>,
    free_memory: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Stored {
    start_ms: i64,
    span_ms: u32,
    /// The offset in the file, or the index of the bytes in memory.
    at: u32,
    /// The file's number and, lowest byte, the encoding.
    file_encoding: u32,
    next: u32,
}

const _: () = assert!(size_of::<Stored>() == 24);

impl SealedChunks {
    /// Puts an entry in front of a list. The chunk spans less than 2^32 ms.
    pub(crate) fn push(&mut self, list: &mut u32, entry: SealedEntry) {
        let span_ms = entry.end_ms.wrapping_sub(entry.start_ms) as u32;
        let (file, at) = match entry.place {
            Place::Memory(bytes) => (IN_MEMORY, self.keep(bytes)),
            Place::File(at) => (at.file, at.offset),
        };
        let stored = Stored {
            start_ms: entry.start_ms,
            span_ms,
            at,
            file_encoding: file << 8 | u32::from(entry.encoding),
            next: *list,
        };
        *list = self.place(stored);
    }

    /// From the newest to the oldest.
    pub(crate) fn iter(&self, list: u32) -> impl Iterator<Item = SealedEntry> {
        self.raw(list).map(|stored| self.entry(stored))
    }

    /// First and last time of each chunk, from the newest to the oldest.
    pub(crate) fn times(&self, list: u32) -> impl Iterator<Item = (i64, i64)> {
        self.raw(list)
            .map(|stored| (stored.start_ms, stored.end_ms()))
    }

    /// Removes entries for which `gone` holds; gives their number.
    pub(crate) fn remove(&mut self, list: &mut u32, gone: impl Fn(i64, i64) -> bool) -> u64 {
        let mut removed = 0;
        let mut before = END_OF_LIST;
        let mut at = *list;
        while let Some(stored) = self.stored(at).copied() {
            if gone(stored.start_ms, stored.end_ms()) {
                match self.stored_mut(before) {
                    Some(before) => before.next = stored.next,
                    None => *list = stored.next,
                }
                self.release(at, stored);
                removed += 1;
            } else {
                before = at;
            }
            at = stored.next;
        }
        removed
    }

    /// The chunks in memory of a list, each with the place of its entry and its bytes.
    pub(crate) fn in_memory(&self, list: u32) -> impl Iterator<Item = InMemory> {
        let mut at = list;
        std::iter::from_fn(move || {
            loop {
                let stored = *self.stored(at)?;
                let here = at;
                at = stored.next;
                let entry = self.entry(stored);
                if let Place::Memory(bytes) = &entry.place {
                    let bytes = bytes.clone();
                    return Some(InMemory { here, bytes, entry });
                }
            }
        })
    }

    /// Keeps only the place of a chunk that was in memory, if it still is. False if it has gone.
    pub(crate) fn move_out(&mut self, moved: &InMemory, to: ChunkRef) -> bool {
        let Some(stored) = self.stored(moved.here).copied() else {
            return false;
        };
        let there = self.memory.get(stored.at as usize).and_then(Option::as_ref);
        let same = there.is_some_and(|bytes| Arc::ptr_eq(bytes, &moved.bytes));
        if stored.file_encoding >> 8 != IN_MEMORY || !same {
            return false;
        }
        self.forget(stored.at);
        if let Some(stored) = self.stored_mut(moved.here) {
            stored.at = to.offset;
            stored.file_encoding = to.file << 8 | stored.file_encoding & 0xff;
        }
        true
    }

    pub(crate) fn any_in_memory(&self) -> bool {
        self.memory.len() > self.free_memory.len()
    }

    /// Numbers of the files that hold chunks of a list.
    pub(crate) fn files(&self, list: u32) -> impl Iterator<Item = u32> {
        let files = self.raw(list).map(|stored| stored.file_encoding >> 8);
        files.filter(|file| *file != IN_MEMORY)
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let bytes: usize = self.memory.iter().flatten().map(|b| b.len() + 16).sum();
        bytes + self.entries.capacity() * size_of::<Stored>() + self.memory.capacity() * 16
    }

    fn raw(&self, list: u32) -> impl Iterator<Item = Stored> {
        let first = self.stored(list).copied();
        std::iter::successors(first, |stored| self.stored(stored.next).copied())
    }

    fn entry(&self, stored: Stored) -> SealedEntry {
        let file = stored.file_encoding >> 8;
        let offset = stored.at;
        let in_memory = self.memory.get(offset as usize).cloned().flatten();
        let place = match in_memory {
            Some(bytes) if file == IN_MEMORY => Place::Memory(bytes),
            _ => Place::File(ChunkRef { file, offset }),
        };
        SealedEntry {
            start_ms: stored.start_ms,
            end_ms: stored.end_ms(),
            encoding: stored.file_encoding as u8,
            place,
        }
    }

    fn stored(&self, at: u32) -> Option<&Stored> {
        self.entries.get((at as usize).checked_sub(1)?)
    }

    fn stored_mut(&mut self, at: u32) -> Option<&mut Stored> {
        self.entries.get_mut((at as usize).checked_sub(1)?)
    }

    fn place(&mut self, stored: Stored) -> u32 {
        let at = self.free;
        if let Some(free) = self.stored_mut(at) {
            let next = free.next;
            *free = stored;
            self.free = next;
            return at;
        }
        if self.entries.len() == self.entries.capacity() {
            // A little at a time: the lists of a million series shall not have room for two.
            self.entries.reserve_exact(64 + self.entries.len() / 8);
        }
        self.entries.push(stored);
        self.entries.len() as u32
    }

    fn release(&mut self, at: u32, stored: Stored) {
        if stored.file_encoding >> 8 == IN_MEMORY {
            self.forget(stored.at);
        }
        let free = self.free;
        if let Some(entry) = self.stored_mut(at) {
            entry.next = free;
            self.free = at;
        }
    }

    fn keep(&mut self, bytes: Arc<[u8]>) -> u32 {
        let Some(at) = self.free_memory.pop() else {
            self.memory.push(Some(bytes));
            return (self.memory.len() - 1) as u32;
        };
        if let Some(place) = self.memory.get_mut(at as usize) {
            *place = Some(bytes);
        }
        at
    }

    fn forget(&mut self, at: u32) {
        if let Some(place) = self.memory.get_mut(at as usize) {
            *place = None;
            self.free_memory.push(at);
        }
        if self.free_memory.len() == self.memory.len() {
            self.memory = Vec::new();
            self.free_memory = Vec::new();
        }
    }
}

impl Stored {
    fn end_ms(self) -> i64 {
        self.start_ms.wrapping_add(i64::from(self.span_ms))
    }
}

/// Whether a place can be kept.
pub(crate) fn is_valid(at: ChunkRef) -> bool {
    at.file < IN_MEMORY
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(start_ms: i64, byte: u8) -> SealedEntry {
        SealedEntry {
            start_ms,
            end_ms: start_ms + 9,
            encoding: 1,
            place: Place::Memory(Arc::from([byte])),
        }
    }

    fn starts(chunks: &SealedChunks, list: u32) -> Vec<i64> {
        chunks.times(list).map(|(start_ms, _)| start_ms).collect()
    }

    #[test]
    fn lists_share_the_memory_and_lose_their_ends() {
        let mut chunks = SealedChunks::default();
        let (mut a, mut b) = (END_OF_LIST, END_OF_LIST);
        for i in 0..5 {
            chunks.push(&mut a, entry(i * 10, 1));
            chunks.push(&mut b, entry(i * 10 + 5, 2));
        }
        assert_eq!(starts(&chunks, a), [40, 30, 20, 10, 0]);
        assert_eq!(chunks.remove(&mut a, |_, end_ms| end_ms < 20), 2);
        assert_eq!(starts(&chunks, a), [40, 30, 20]);
        chunks.push(&mut b, entry(55, 2));
        assert_eq!(chunks.entries.len(), 10);
        assert_eq!(starts(&chunks, b), [55, 45, 35, 25, 15, 5]);
        assert_eq!(chunks.remove(&mut b, |_, _| true), 6);
        assert_eq!((b, starts(&chunks, a).len()), (END_OF_LIST, 3));
    }

    #[test]
    fn bytes_go_and_the_place_stays() {
        let mut chunks = SealedChunks::default();
        let mut list = END_OF_LIST;
        chunks.push(&mut list, entry(0, 7));
        chunks.push(&mut list, entry(10, 8));
        let in_memory: Vec<InMemory> = chunks.in_memory(list).collect();
        for (moved, offset) in in_memory.iter().zip([100, 200]) {
            let start_ms = moved.entry.start_ms;
            assert_eq!(*moved.bytes, [if start_ms == 0 { 7 } else { 8 }]);
            let to = ChunkRef { file: 3, offset };
            assert!(chunks.move_out(moved, to));
            assert!(!chunks.move_out(moved, to));
        }
        assert!(!chunks.any_in_memory());
        assert_eq!(chunks.files(list).collect::<Vec<_>>(), [3, 3]);
        let places: Vec<_> = chunks.iter(list).map(|entry| entry.place).collect();
        assert!(
            matches!(places[..], [Place::File(a), Place::File(b)] if a.offset == 100 && b.offset == 200)
        );
    }
}
