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

/// Shared by all engines that shall share it.
#[derive(Debug)]
pub struct QueryMemory {
    query_bytes: u64,
    total_bytes: u64,
    /// Not more than `total_bytes`.
    for_queries_bytes: u64,
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
        QueryMemory {
            query_bytes,
            total_bytes,
            for_queries_bytes: total_bytes.saturating_sub(rules_bytes),
            held_by_queries: AtomicU64::new(0),
            held: AtomicU64::new(0),
        }
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
        take(own, bytes, self.query_bytes)
            .map_err(|held| refused("the query would hold", held, "one query", self.query_bytes))?;
        let all = |held, limit| refused("all queries would hold", held, "all of them", limit);
        if holder == Holder::Query {
            let limit = self.for_queries_bytes;
            take(&self.held_by_queries, bytes, limit).map_err(|held| {
                give_back(own, bytes);
                all(held, limit)
            })?;
        }
        take(&self.held, bytes, self.total_bytes).map_err(|held| {
            give_back(own, bytes);
            if holder == Holder::Query {
                give_back(&self.held_by_queries, bytes);
            }
            all(held, self.total_bytes)
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
}
