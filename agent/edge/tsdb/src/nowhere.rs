//! A log for what need not be logged, because the start finds it out again by itself.

use narthex_head::{Log, LogError};

pub(crate) struct Nowhere;

impl Log for Nowhere {
    fn epoch(&self) -> u32 {
        0
    }

    fn write(&self, _: u32, _: &[u8]) -> Result<(), LogError> {
        Ok(())
    }
}
