//! Which blocks a data folder has, without opening them.

use std::path::Path;

use crate::{BlockMeta, Error, Ulid, block, folder};

/// A block as its folder tells.
#[derive(Debug)]
pub struct Listed {
    pub ulid: Ulid,
    /// Of all its files.
    pub size_bytes: u64,
    pub meta: Result<BlockMeta, Error>,
}

/// The blocks of a data folder, ascending in time; those whose meta.json cannot be read last.
pub fn list(data: &Path) -> Result<Vec<Listed>, Error> {
    let listed = |(ulid, path): (Ulid, std::path::PathBuf)| Listed {
        ulid,
        // What cannot be read takes no room that matters here; what is wrong is told with `meta`.
        size_bytes: folder::size_bytes(&path).unwrap_or(0),
        meta: block::read_meta(&path),
    };
    let mut blocks: Vec<Listed> = folder::blocks(data)?.into_iter().map(listed).collect();
    blocks.sort_by_key(|block| {
        let time_ms = |meta: &BlockMeta| (meta.min_time_ms, meta.max_time_ms);
        (block.meta.is_err(), block.meta.as_ref().ok().map(time_ms))
    });
    Ok(blocks)
}
