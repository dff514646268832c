//! Who reads and who commits, so that a reader sees each commit whole or not at all.
//!
//! Commits are numbered. A commit holds the gate shared from its first look at the series to its
//! last sample; a reader passes it alone for a moment, so it knows which commits are complete: all
//! up to the number it takes along, and none after. What is appended later a reader leaves out
//! when it reads a series, by the page's notes (see `history`), which commits write only while
//! there are readers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

/// Stands for no reader.
const NOBODY: u64 = u64::MAX;

#[derive(Debug)]
pub(crate) struct Isolation {
    gate: RwLock<()>,
    commits: AtomicU64,
    readers: Mutex<Readers>,
    /// The least of the readers' numbers.
    oldest: AtomicU64,
    /// The least that blocks were written from since the last truncation.
    written: AtomicU64,
}

#[derive(Debug, Default)]
struct Readers {
    next: u64,
    all: Vec<Reader>,
}

#[derive(Clone, Copy, Debug)]
struct Reader {
    ticket: u64,
    seen: u64,
    start_ms: i64,
}

/// A commit while it goes on.
pub(crate) struct Commit<'a> {
    _gate: RwLockReadGuard<'a, ()>,
    pub(crate) number: u64,
    /// What the oldest reader has seen; `None` if there is no reader.
    pub(crate) oldest_reader: Option<u64>,
}

/// What a reader got, to be given back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    number: u64,
    /// The last commit that it sees.
    pub(crate) seen: u64,
}

impl Default for Isolation {
    fn default() -> Self {
        Isolation {
            gate: RwLock::default(),
            commits: AtomicU64::new(0),
            readers: Mutex::default(),
            oldest: AtomicU64::new(NOBODY),
            written: AtomicU64::new(NOBODY),
        }
    }
}

impl Isolation {
    pub(crate) fn begin_commit(&self) -> Commit<'_> {
        let gate = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        let oldest = self.oldest.load(Ordering::Acquire);
        Commit {
            _gate: gate,
            number: self.commits.fetch_add(1, Ordering::AcqRel) + 1,
            oldest_reader: (oldest != NOBODY).then_some(oldest),
        }
    }

    pub(crate) fn begin_read(&self, start_ms: i64) -> Ticket {
        let _gate = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        let seen = self.commits.load(Ordering::Acquire);
        let mut readers = self.readers();
        let ticket = readers.next;
        readers.next += 1;
        readers.all.push(Reader {
            ticket,
            seen,
            start_ms,
        });
        self.oldest.fetch_min(seen, Ordering::AcqRel);
        Ticket {
            number: ticket,
            seen,
        }
    }

    pub(crate) fn end_read(&self, ticket: Ticket) {
        let mut readers = self.readers();
        readers.all.retain(|reader| reader.ticket != ticket.number);
        let oldest = readers.all.iter().map(|reader| reader.seen).min();
        self.oldest
            .store(oldest.unwrap_or(NOBODY), Ordering::Release);
    }

    /// The commit up to which all readers have seen everything, and the last commit.
    pub(crate) fn watermarks(&self) -> (u64, u64) {
        let commits = self.commits.load(Ordering::Acquire);
        (self.oldest.load(Ordering::Acquire).min(commits), commits)
    }

    pub(crate) fn reads_below(&self, border_ms: i64) -> bool {
        let readers = self.readers();
        readers.all.iter().any(|reader| reader.start_ms < border_ms)
    }

    /// Runs while no commit goes on.
    pub(crate) fn alone<T>(&self, run: impl FnOnce() -> T) -> T {
        let _gate = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        run()
    }

    /// Notes that blocks are written from what this reader sees.
    pub(crate) fn note_written(&self, ticket: Ticket) {
        self.written.fetch_min(ticket.seen, Ordering::AcqRel);
    }

    /// The last commit that is in all blocks written since the last call, or the last of all.
    pub(crate) fn take_written(&self) -> u64 {
        self.alone(|| {
            let commits = self.commits.load(Ordering::Acquire);
            self.written.swap(NOBODY, Ordering::AcqRel).min(commits)
        })
    }

    fn readers(&self) -> MutexGuard<'_, Readers> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_know_what_was_complete() {
        let isolation = Isolation::default();
        assert_eq!(isolation.begin_commit().oldest_reader, None);
        let first = isolation.begin_read(10);
        assert_eq!(isolation.begin_commit().oldest_reader, Some(1));
        let second = isolation.begin_read(20);
        assert_eq!((first.seen, second.seen), (1, 2));
        assert!(isolation.reads_below(11) && !isolation.reads_below(10));
        isolation.end_read(first);
        assert!(!isolation.reads_below(20));
        assert_eq!(isolation.begin_commit().oldest_reader, Some(2));
        isolation.end_read(second);
        assert_eq!(isolation.begin_commit().oldest_reader, None);
        isolation.note_written(second);
        isolation.note_written(first);
        assert_eq!((isolation.take_written(), isolation.take_written()), (1, 4));
    }
}
