//! What can be put right in blocks of old versions, as Prometheus does at its start.
//!
//! Prometheus 2.1 wrote indexes of version 2 that say 1, and noted a 2 as the version in meta.json.
//! The index gets the number that it should have, meta.json its 1 again.

use std::fs;
use std::io;
use std::path::Path;

use crate::{Error, block, folder};

/// Where the header of an index has its version.
const VERSION_AT: usize = 4;

/// Repairs a block if it needs it; tells whether it did.
pub fn repair(block: &Path) -> Result<bool, Error> {
    let mut meta = match block::read_meta(block) {
        Ok(meta) if meta.has_mislabelled_index() => meta,
        // What is wrong with others is said when they are opened.
        _ => return Ok(false),
    };
    let path = block.join(folder::INDEX);
    let mut index = match fs::read(&path) {
        Ok(index) => index,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(Error::io(&path)(error)),
    };
    tracing::info!(block = %block.display(), "repairing the version that the block's index tells");
    if let Some(version) = index.get_mut(VERSION_AT) {
        *version = 2;
    }
    folder::replace(&path, &index)?;
    meta.version = 1;
    block::write_meta(block, &meta)?;
    Ok(true)
}
