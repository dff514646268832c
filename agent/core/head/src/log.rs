//! Where commits write their records.

use std::io;

/// The log as a commit sees it.
///
/// Values in a record are written against key values of the series, which are good within one
/// epoch: a reader that begins at the first record of an epoch can read all that follow. So a
/// record must land in the epoch that it was encoded for.
pub trait Log: Send + Sync {
    /// The epoch that a record written now would land in: the number of the log's file, say.
    fn epoch(&self) -> u32;

    /// Writes one record that was encoded for this epoch, or nothing of it. Called while pages of
    /// the head are locked: what it locks must not be held by a thread that calls the head.
    fn write(&self, epoch: u32, record: &[u8]) -> Result<(), LogError>;
}

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The log has begun another epoch meanwhile; the record is encoded anew.
    #[error("the log has gone on to epoch {0}")]
    Stale(u32),
    #[error(transparent)]
    Io(#[from] io::Error),
}
