//! Folders of blocks with known samples, for servers that are compared on what is stored.
//!
//! They are written with Narthex's own block writer: it is fast enough for a hundred million samples,
//! and text formats cannot say that a series ended. Chunks are of 120 samples, as Prometheus's are.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use narthex_blocks::{NewBlock, WriteOptions, steady, write_block};
use narthex_model::Labels;
use narthex_storage::{Column, Series, StorageError};

/// A border of two hours: 2023-11-14 20:00 UTC.
pub(crate) const START_MS: i64 = 1_699_992_000_000;

const CHUNK_SAMPLES: usize = 120;

/// A series whose samples are computed when they are asked for.
pub(crate) struct Computed<F> {
    pub(crate) labels: Labels,
    pub(crate) samples: F,
}

impl<F> Series for Computed<F>
where
    F: Fn() -> (Vec<i64>, Vec<f64>) + Send + Sync,
{
    fn labels(&self) -> &Labels {
        &self.labels
    }

    fn visit(&self, visit: &mut dyn FnMut(Column<'_>)) -> Result<(), StorageError> {
        let (timestamps_ms, values) = (self.samples)();
        if !values.is_empty() {
            visit(Column::Floats {
                timestamps_ms: &timestamps_ms,
                values: &values,
            });
        }
        Ok(())
    }
}

/// Writes one block of series that come sorted by labels. It is there whole or not at all.
pub(crate) fn write<F>(
    folder: &Path,
    range_ms: (i64, i64),
    series: impl Iterator<Item = Computed<F>>,
) -> Result<()>
where
    F: Fn() -> (Vec<i64>, Vec<f64>) + Send + Sync + 'static,
{
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let options = WriteOptions {
        chunk_samples: CHUNK_SAMPLES,
        ..WriteOptions::default()
    };
    let new = NewBlock::first_level(range_ms.0, range_ms.1, &[]);
    let series = series.map(|series| Ok(Box::new(series) as Box<dyn Series>));
    let written = write_block(folder, &new, series, &options, None, &steady)?;
    ensure!(written.is_some(), "no samples to write");
    Ok(())
}

/// The same files in another folder without their bytes twice, as each server locks its own.
pub(crate) fn link(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| to.display().to_string())?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            link(&source, &target)?;
        } else {
            fs::hard_link(&source, &target)
                .with_context(|| format!("linking {} to {}", source.display(), target.display()))?;
        }
    }
    Ok(())
}
