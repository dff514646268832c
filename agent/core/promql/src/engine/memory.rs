//! What all queries together may hold in memory, with a share that only rules may use, so that no
//! dashboard can stop alerting.
//!
//! Bytes are those of samples and of series; what labels and buffers take beside is estimated.

use std::sync::atomic::{AtomicU64, Ordering};

use super::error::QueryError;

/// A time and a value.
pub(super) const SAMPLE_BYTES: u64 = 16;

/// A selected series: its labels, where its chunks are.
pub(super) const SERIES_BYTES: u64 = 256;

/// Shared by all engines that shall share it. Its limits may change while memory is held.
#[derive(Debug)]
pub struct QueryMemory {
    query_bytes: AtomicU64,
    total_bytes: AtomicU64,
    /// Not more than `total_bytes`.
    for_queries_bytes: AtomicU64,
    held_by_queries: AtomicU64,
    held: AtomicU64,
}

/// Who holds memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Holder {
    #[default]
    Query,
    Rule,
}

impl QueryMemory {
    /// `query_bytes`: for one query or rule; `total_bytes`: for all of them; `rules_bytes`: the part
    /// of the latter that is kept for rules.
    pub fn new(query_bytes: u64, total_bytes: u64, rules_bytes: u64) -> Self {
        let memory = QueryMemory {
            query_bytes: AtomicU64::new(0),
            total_bytes: AtomicU64::new(0),
            for_queries_bytes: AtomicU64::new(0),
            held_by_queries: AtomicU64::new(0),
            held: AtomicU64::new(0),
        };
        memory.set_limits(query_bytes, total_bytes, rules_bytes);
        memory
    }

    /// As for [`QueryMemory::new`]. What is held by then stays held, also where that is more.
    pub fn set_limits(&self, query_bytes: u64, total_bytes: u64, rules_bytes: u64) {
        let for_queries_bytes = total_bytes.saturating_sub(rules_bytes);
        self.query_bytes.store(query_bytes, Ordering::Relaxed);
        self.total_bytes.store(total_bytes, Ordering::Relaxed);
        self.for_queries_bytes
            .store(for_queries_bytes, Ordering::Relaxed);
    }

    pub fn unlimited() -> Self {
        QueryMemory::new(u64::MAX, u64::MAX, 0)
    }

    /// What is held now.
    pub fn held_bytes(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// `own` counts what this query holds. Nothing is taken if there is no room.
    pub(super) fn take(
        &self,
        holder: Holder,
        own: &AtomicU64,
        bytes: u64,
    ) -> Result<(), QueryError> {
        let limit = self.query_bytes.load(Ordering::Relaxed);
        take(own, bytes, limit)
            .map_err(|held| refused("the query would hold", held, "one query", limit))?;
        let all = |held, limit| refused("all queries would hold", held, "all of them", limit);
        if holder == Holder::Query {
            let limit = self.for_queries_bytes.load(Ordering::Relaxed);
            take(&self.held_by_queries, bytes, limit).map_err(|held| {
                give_back(own, bytes);
                all(held, limit)
            })?;
        }
        let limit = self.total_bytes.load(Ordering::Relaxed);
        take(&self.held, bytes, limit).map_err(|held| {
            give_back(own, bytes);
            if holder == Holder::Query {
                give_back(&self.held_by_queries, bytes);
            }
            all(held, limit)
        })
    }

    pub(super) fn give_back(&self, holder: Holder, own: &AtomicU64, bytes: u64) {
        give_back(own, bytes);
        if holder == Holder::Query {
            give_back(&self.held_by_queries, bytes);
        }
        give_back(&self.held, bytes);
    }
}

/// The sum that would be too large as an error.
fn take(held: &AtomicU64, bytes: u64, limit: u64) -> Result<(), u64> {
    let grow = |held: u64| held.checked_add(bytes).filter(|sum| *sum <= limit);
    match held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grow) {
        Ok(_) => Ok(()),
        Err(held) => Err(held.saturating_add(bytes)),
    }
}

fn give_back(held: &AtomicU64, bytes: u64) {
    held.fetch_sub(bytes, Ordering::Relaxed);
}

fn refused(who: &str, bytes: u64, whose: &str, limit: u64) -> QueryError {
    QueryError::execution(format!(
        "{who} {bytes} bytes in memory, but the limit of {whose} is {limit} bytes: \
         ask for fewer series, a shorter range or a longer step"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_have_a_share_that_queries_leave_alone() {
        let memory = QueryMemory::new(80, 100, 30);
        let (query, other, rule) = Default::default();
        let take = |holder, own: &AtomicU64, bytes| memory.take(holder, own, bytes);
        assert!(take(Holder::Query, &query, 60).is_ok());
        let error = take(Holder::Query, &query, 30).unwrap_err().to_string();
        assert!(error.contains("hold 90 bytes"), "{error}");
        assert!(error.contains("one query is 80 bytes"), "{error}");
        let error = take(Holder::Query, &other, 20).unwrap_err().to_string();
        assert!(error.contains("hold 80 bytes"), "{error}");
        assert!(error.contains("all of them is 70 bytes"), "{error}");
        assert!(take(Holder::Rule, &rule, 40).is_ok());
        assert!(take(Holder::Rule, &rule, 1).is_err());
        assert!(take(Holder::Query, &other, 1).is_err());
        assert!(take(Holder::Query, &other, u64::MAX).is_err());
        assert_eq!(memory.held_bytes(), 100);
        memory.give_back(Holder::Rule, &rule, 40);
        assert!(take(Holder::Query, &other, 10).is_ok());
        memory.give_back(Holder::Query, &query, 60);
        memory.give_back(Holder::Query, &other, 10);
        assert_eq!(memory.held_bytes(), 0);
    }

    #[test]
    fn new_limits_know_of_what_is_held() {
        let memory = QueryMemory::new(80, 100, 30);
        let (first, second) = Default::default();
        let take = |own: &AtomicU64, bytes| memory.take(Holder::Query, own, bytes);
        assert!(take(&first, 60).is_ok());
        memory.set_limits(50, 60, 10);
        // The first may hold on to what it has, and nobody gets more.
        assert!(take(&first, 1).is_err());
        assert!(take(&second, 1).is_err());
        memory.give_back(Holder::Query, &first, 60);
        assert!(take(&second, 50).is_ok());
        memory.set_limits(80, 100, 30);
        assert!(take(&second, 20).is_ok());
        memory.give_back(Holder::Query, &second, 70);
        assert_eq!(memory.held_bytes(), 0);
    }
}
