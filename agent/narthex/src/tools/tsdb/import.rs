//! `narthex tsdb create-blocks-from openmetrics`: blocks from samples in a file.
//!
//! The file is read once to learn which blocks there will be and how many samples each gets, then
//! again for as many blocks at a time as fit into memory, since OpenMetrics sorts by series and
//! blocks are cut by time.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use narthex_blocks::list::Listed;
use narthex_blocks::plan::block_ranges_ms;
use narthex_blocks::{NewBlock, WriteOptions, steady, write_block};
use narthex_exposition::{Entry, Format, Series, parse};
use narthex_head::{Head, NoChunks, Options};
use narthex_mapped_file::MappedFile;

use crate::tools::progress::Progress;

/// The shortest block.
const BLOCK_MS: i64 = 2 * 3600 * 1000;
/// Samples in memory at a time: about 100 MB.
const SAMPLES_AT_ONCE: u64 = 20_000_000;

/// What of the file goes into one block.
#[derive(Clone, Copy)]
struct Share {
    samples: u64,
    first_ms: i64,
    last_ms: i64,
}

pub(super) fn openmetrics(
    input: &Path,
    output: &Path,
    max_block_ms: u64,
) -> anyhow::Result<Vec<Listed>> {
    let before = listed(output);
    let file = MappedFile::open(input).with_context(|| format!("reading {}", input.display()))?;
    let source = Source { path: input, file };
    let longest_ms = i64::try_from(max_block_ms)
        .unwrap_or(i64::MAX)
        .max(BLOCK_MS);
    let range_ms = block_ranges_ms(BLOCK_MS, longest_ms)
        .pop()
        .unwrap_or(BLOCK_MS);
    let shares = source.shares(range_ms)?;
    fs::create_dir_all(output).with_context(|| format!("creating {}", output.display()))?;
    for numbers in passes(&shares) {
        source.write_pass(&shares, &numbers, range_ms, output)?;
    }
    let is_new = |block: &Listed| !before.iter().any(|old| old.ulid == block.ulid);
    Ok(listed(output).into_iter().filter(is_new).collect())
}

/// None where the folder is not there yet.
fn listed(folder: &Path) -> Vec<Listed> {
    narthex_blocks::list::list(folder).unwrap_or_default()
}

/// Numbers of blocks that are written at one reading of the file.
fn passes(shares: &BTreeMap<i64, Share>) -> Vec<RangeInclusive<i64>> {
    let mut passes: Vec<RangeInclusive<i64>> = Vec::new();
    let mut samples = 0;
    for (number, share) in shares {
        match passes.last_mut() {
            Some(pass) if samples + share.samples <= SAMPLES_AT_ONCE => {
                *pass = *pass.start()..=*number;
            }
            _ => {
                passes.push(*number..=*number);
                samples = 0;
            }
        }
        samples += share.samples;
    }
    passes
}

struct Source<'a> {
    path: &'a Path,
    file: MappedFile,
}

impl Source<'_> {
    /// What each block will get, by the block's number counted from 1970.
    fn shares(&self, range_ms: i64) -> anyhow::Result<BTreeMap<i64, Share>> {
        let mut shares: BTreeMap<i64, Share> = BTreeMap::new();
        self.each_sample("reading", |_, time_ms| {
            let share = shares.entry(time_ms.div_euclid(range_ms)).or_insert(Share {
                samples: 0,
                first_ms: time_ms,
                last_ms: time_ms,
            });
            share.samples += 1;
            share.first_ms = share.first_ms.min(time_ms);
            share.last_ms = share.last_ms.max(time_ms);
            Ok(())
        })?;
        if shares.is_empty() {
            bail!("{}: no samples", self.path.display());
        }
        Ok(shares)
    }

    fn write_pass(
        &self,
        shares: &BTreeMap<i64, Share>,
        numbers: &RangeInclusive<i64>,
        range_ms: i64,
        output: &Path,
    ) -> anyhow::Result<()> {
        let options = Options {
            chunk_range_ms: range_ms,
            // Files need not be sorted by time.
            out_of_order_window_ms: i64::MAX,
            exemplar_limit: 0,
        };
        let head = Arc::new(Head::new(options, Arc::new(NoChunks)));
        let import = head.import();
        let mut known: HashMap<&[u8], u32> = HashMap::new();
        self.each_sample("collecting", |series, time_ms| {
            if !numbers.contains(&time_ms.div_euclid(range_ms)) {
                return Ok(());
            }
            let id = match known.get(series.raw()) {
                Some(id) => *id,
                None => {
                    let id = import.series(&series.to_labels()?)?;
                    known.insert(series.raw(), id);
                    id
                }
            };
            import.float(id, time_ms, series.value);
            Ok(())
        })?;
        for (_, share) in shares.range(numbers.clone()) {
            let new = NewBlock::first_level(share.first_ms, share.last_ms.saturating_add(1), &[]);
            let series = head.series_sorted(share.first_ms, share.last_ms);
            let options = WriteOptions::default();
            write_block(output, &new, series, &options, None, &steady)?;
        }
        Ok(())
    }

    fn each_sample<'s>(
        &'s self,
        what: &str,
        mut take: impl FnMut(&Series<'s>, i64) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let path = self.path.display();
        let mut progress = Progress::new(&format!("{what} {path}"), self.file.len() as u64);
        let mut parser = parse(Format::OpenMetrics, &self.file);
        let mut ended = false;
        while let Some(entry) = parser.next() {
            let entry = entry.with_context(|| format!("{path}"))?;
            match entry {
                Entry::Series(series) => {
                    let Some(time_ms) = series.timestamp_ms else {
                        bail!("{path}: line {}: the sample has no time", series.line());
                    };
                    take(&series, time_ms)
                        .with_context(|| format!("{path}: line {}", series.line()))?;
                }
                Entry::Eof => ended = true,
                _ => {}
            }
            progress.set((self.file.len() - parser.rest().len()) as u64);
        }
        if !ended {
            bail!("{path}: it does not end with # EOF; is it whole?");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_hold_what_fits_into_memory() {
        let share = |samples| Share {
            samples,
            first_ms: 0,
            last_ms: 0,
        };
        let half = SAMPLES_AT_ONCE / 2;
        let shares = [(1, half), (2, half), (5, 1), (6, 3 * half), (7, 1)];
        let shares = shares.map(|(number, samples)| (number, share(samples)));
        assert_eq!(
            passes(&BTreeMap::from(shares)),
            [1..=2, 5..=5, 6..=6, 7..=7]
        );
    }
}
