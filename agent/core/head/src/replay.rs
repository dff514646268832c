//! Bringing the head back from the records of its commits.

use crate::Head;

/// A record that is not what a commit wrote. What stood before the damage was taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("damaged record at byte {offset}: {reason}")]
pub struct DamagedRecord {
    pub offset: usize,
    pub reason: &'static str,
}

/// What one worker took from one record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Samples that were added.
    pub stored: u64,
    /// Samples that were there already, or that are older than the head's border.
    pub passed_over: u64,
    /// Samples that cannot be told because a record before this one is missing.
    pub lost: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplayEnd {
    pub series: u64,
    /// Places with samples whose labels are not known; the samples were dropped.
    pub without_labels: u64,
}

impl Head {
    /// Takes what belongs to no page: labels, exemplars, metadata. One thread gives every record,
    /// in order.
    pub fn replay_definitions(&self, record: &[u8]) -> Result<(), DamagedRecord> {
        let _ = record;
        unimplemented!()
    }

    /// Takes the samples, histograms, deletions and truncations of every `parts`-th page, beginning
    /// with number `part`. For each part one thread gives every record, in order.
    pub fn replay_samples(
        &self,
        record: &[u8],
        part: usize,
        parts: usize,
    ) -> Result<Replayed, DamagedRecord> {
        let _ = (record, part, parts);
        unimplemented!()
    }

    /// To be called once, after the last record and before the first batch.
    pub fn finish_replay(&self) -> ReplayEnd {
        unimplemented!()
    }
}
