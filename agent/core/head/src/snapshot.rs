//! The head as bytes.

use std::io;

use crate::Head;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    #[error("this is no snapshot of a head")]
    Foreign,
    #[error("the snapshot has version {0}, which is newer than this program; use a newer one")]
    Newer(u32),
    #[error("the snapshot's {part} is damaged at byte {offset}")]
    Damaged { part: &'static str, offset: usize },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotRead {
    pub series: u64,
    pub chunks: u64,
    /// Pages (of up to 256 series) whose samples could not be read; their labels are there.
    pub damaged_pages: u64,
}

impl Head {
    /// Writes all that is in the head, page by page while commits go on. What is committed from
    /// the call on may be missing: the log's epoch is to be begun before.
    pub fn write_snapshot(&self, to: &mut dyn io::Write) -> io::Result<()> {
        let _ = to;
        unimplemented!()
    }

    /// Fills an empty head.
    pub fn read_snapshot(&self, bytes: &[u8]) -> Result<SnapshotRead, SnapshotError> {
        let _ = bytes;
        unimplemented!()
    }
}
