//! All samples of a data folder, those that are not in blocks yet included, whether or not a server
//! is using the folder, and without changing anything in it.
//!
//! Blocks are read where they are. The log and the files of the head are copied first, because a
//! start works on them; where a server runs, the copy ends where its log was at that moment.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use narthex_blocks::{Blocks, Metrics, merge};
use narthex_storage::{Queryable, SelectQuery, Series};
use narthex_tsdb::{Config, Db};
use prometheus::Registry;
use tempfile::TempDir;

/// What is not in blocks: our own files, and Prometheus's where they were not taken over yet.
const HEAD_FILES: [&str; 5] = ["narthex-", "wal", "wbl", "chunks_head", "chunk_snapshot."];

pub(super) struct WholeFolder {
    blocks: Blocks,
    head: Arc<Db>,
    _copy: TempDir,
}

impl WholeFolder {
    /// `scratch` is where the copy goes, the system's folder for temporary files if it is not given.
    pub(super) fn open(data: &Path, scratch: Option<&Path>) -> anyhow::Result<Self> {
        let copy = match scratch {
            Some(scratch) => TempDir::new_in(scratch),
            None => TempDir::new(),
        };
        let copy = copy.context("making a folder for temporary files")?;
        for entry in fs::read_dir(data).with_context(|| format!("reading {}", data.display()))? {
            let entry = entry?;
            let name = entry.file_name();
            let is_of_head = name.to_str().is_some_and(is_of_head);
            if is_of_head {
                copy_all(&entry.path(), &copy.path().join(name))?;
            }
        }
        let config = Config {
            retention_ms: 0,
            out_of_order_window_ms: i64::MAX,
            ..Config::new(copy.path())
        };
        let metrics = Metrics::new(&Registry::new())?;
        Ok(WholeFolder {
            blocks: Blocks::open_read_only(data, metrics)?,
            head: Arc::new(Db::open(config, &Registry::new())?),
            _copy: copy,
        })
    }

    pub(super) fn select(&self, query: &SelectQuery<'_>) -> anyhow::Result<Vec<Box<dyn Series>>> {
        Ok(merge(vec![
            self.blocks.select(query)?,
            self.head.select(query)?,
        ]))
    }
}

fn is_of_head(name: &str) -> bool {
    let is_exact = |file: &str| !file.ends_with(['-', '.']);
    HEAD_FILES.iter().any(|file| match is_exact(file) {
        true => name == *file,
        false => name.starts_with(file),
    })
}

/// What vanishes meanwhile was replaced by something that is copied, or was not needed.
fn copy_all(from: &Path, to: &Path) -> anyhow::Result<()> {
    if !from.is_dir() {
        return match fs::copy(from, to) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("copying {}", from.display()))
            }
            _ => Ok(()),
        };
    }
    fs::create_dir_all(to).with_context(|| format!("creating {}", to.display()))?;
    let entries = fs::read_dir(from).with_context(|| format!("reading {}", from.display()))?;
    for entry in entries {
        let entry = entry?;
        copy_all(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_the_head() {
        for (name, expected) in [
            ("wal", true),
            ("chunk_snapshot.000003.0000001", true),
            ("narthex-log", true),
            ("01ARZ3NDEKTSV4RRFFQ69G5FAV", false),
            ("walk", false),
            ("lock", false),
            ("snapshots", false),
        ] {
            assert_eq!(is_of_head(name), expected, "{name}");
        }
    }
}
