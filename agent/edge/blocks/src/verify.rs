//! Reads everything in a block and says what is wrong with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use narthex_block_format::{ChunkMeta, ReadError, SeriesEntry, segment};
use narthex_chunk::{Encoding, decode_floats, decode_histograms};
use narthex_model::Histogram;

use crate::{Block, Error, folder};

/// What is told of a block, at most.
const PROBLEMS_MAX: usize = 100;

/// What was read, and what was wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    pub series: u64,
    pub chunks: u64,
    pub samples: u64,
    pub problems: Vec<String>,
    /// Problems that are not in the list, as there were too many.
    pub problems_left_out: u64,
}

impl Verified {
    pub fn is_good(&self) -> bool {
        self.problems.is_empty()
    }

    fn problem(&mut self, problem: &dyn ToString) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem.to_string());
        } else {
            self.problems_left_out += 1;
        }
    }
}

/// Checks every checksum, every order and every sample. `pace` says whether to go on.
pub fn verify(block: &Block, pace: crate::Pace<'_>) -> Result<Verified, Error> {
    let mut verified = Verified::default();
    check_segments(block, &mut verified);
    let mut pairs = BTreeMap::new();
    check_series(block, &mut verified, &mut pairs, pace)?;
    if let Err(error) = check_postings(block, &mut verified, &pairs) {
        verified.problem(&Error::block(&block.index_path())(error));
    }
    check_meta(block, &mut verified);
    Ok(verified)
}

fn check_segments(block: &Block, verified: &mut Verified) {
    for (number, segment) in (0..).zip(block.segments()) {
        let path = folder::segment_path(block.path(), number);
        match segment {
            None => verified.problem(&Error::block(&path)(crate::Problem::NoSegment(number + 1))),
            Some(bytes) => {
                for error in segment::walk(bytes).filter_map(Result::err) {
                    verified.problem(&Error::block(&path)(error));
                }
            }
        }
    }
}

fn check_series(
    block: &Block,
    verified: &mut Verified,
    pairs: &mut BTreeMap<(String, String), u64>,
    pace: crate::Pace<'_>,
) -> Result<(), Error> {
    let index = block.index();
    let path = block.index_path();
    let mut entry = SeriesEntry::default();
    let mut columns = Columns::default();
    let mut previous: Vec<(String, String)> = Vec::new();
    for series in block.all_series()? {
        crate::write::go_on(pace)?;
        verified.series += 1;
        let labels = index.series(series, &mut entry).and_then(|()| {
            let texts = index.labels(&entry);
            texts
                .map(|pair| pair.map(|(name, value)| (name.to_owned(), value.to_owned())))
                .collect::<Result<Vec<_>, ReadError>>()
        });
        let labels = match labels {
            Ok(labels) => labels,
            Err(error) => {
                verified.problem(&Error::block(&path)(error));
                continue;
            }
        };
        if verified.series > 1 && previous >= labels {
            verified.problem(&format!(
                "{}: series {series} is not in the order of labels",
                path.display()
            ));
        }
        for pair in &labels {
            *pairs.entry(pair.clone()).or_default() += 1;
        }
        check_chunks(block, &entry.chunks, &mut columns, verified);
        previous = labels;
    }
    Ok(())
}

#[derive(Default)]
struct Columns {
    times_ms: Vec<i64>,
    floats: Vec<f64>,
    histograms: Vec<Arc<Histogram>>,
}

impl Columns {
    fn decode(&mut self, block: &Block, meta: &ChunkMeta) -> Result<(), Error> {
        self.times_ms.clear();
        self.floats.clear();
        self.histograms.clear();
        let chunk = block.chunk(meta.chunk_ref)?;
        let encoding = Encoding::from_code(chunk.encoding);
        let decoded = encoding.and_then(|encoding| match encoding.is_floats() {
            true => decode_floats(encoding, chunk.data, &mut self.times_ms, &mut self.floats),
            false => decode_histograms(
                encoding,
                chunk.data,
                &mut self.times_ms,
                &mut self.histograms,
            ),
        });
        let path = folder::segment_path(block.path(), meta.chunk_ref.segment());
        decoded.map_err(Error::block(&path))
    }
}

fn check_chunks(
    block: &Block,
    chunks: &[ChunkMeta],
    columns: &mut Columns,
    verified: &mut Verified,
) {
    let mut last_ms = None;
    for meta in chunks {
        verified.chunks += 1;
        if let Err(error) = columns.decode(block, meta) {
            verified.problem(&error);
            continue;
        }
        let times = &columns.times_ms;
        verified.samples += times.len() as u64;
        let path = folder::segment_path(block.path(), meta.chunk_ref.segment());
        let at = format!(
            "{}: chunk at offset {}",
            path.display(),
            meta.chunk_ref.offset()
        );
        if !times.is_sorted_by(|a, b| a < b) {
            verified.problem(&format!("{at}: times do not ascend"));
        }
        if (times.first(), times.last()) != (Some(&meta.min_ms), Some(&meta.max_ms)) {
            verified.problem(&format!("{at}: the index has another range of time"));
        }
        if last_ms.is_some_and(|last_ms| meta.min_ms <= last_ms) {
            verified.problem(&format!("{at}: overlaps with the chunk before it"));
        }
        if meta.min_ms < block.min_ms() || block.max_ms() <= meta.max_ms {
            verified.problem(&format!("{at}: lies outside the block's range of time"));
        }
        last_ms = Some(meta.max_ms);
    }
}

/// Compares the list of each label pair with how many series have it.
fn check_postings(
    block: &Block,
    verified: &mut Verified,
    pairs: &BTreeMap<(String, String), u64>,
) -> Result<(), ReadError> {
    let index = block.index();
    let path = block.index_path();
    let mut listed = 0;
    for name in index.label_names() {
        let name = name?;
        for value in index.label_values(name)? {
            let value = value?;
            let postings = index.postings(name, value)?;
            let expected = pairs.get(&(name.to_owned(), value.to_owned()));
            listed += 1;
            if expected != Some(&(postings.len() as u64)) || !postings.is_sorted_by(|a, b| a < b) {
                verified.problem(&format!(
                    "{}: the list of series with {name}={value} is not what the series say",
                    path.display()
                ));
            }
        }
    }
    if listed != pairs.len() {
        verified.problem(&format!("{}: lists of series are missing", path.display()));
    }
    Ok(())
}

fn check_meta(block: &Block, verified: &mut Verified) {
    let stats = block.meta().stats.clone();
    let path = block.path().join(folder::META);
    for (what, said, found) in [
        ("series", stats.num_series, verified.series),
        ("chunks", stats.num_chunks, verified.chunks),
        ("samples", stats.num_samples, verified.samples),
        (
            "tombstones",
            stats.num_tombstones,
            block.tombstones().count(),
        ),
    ] {
        if said != found {
            verified.problem(&format!(
                "{}: says {said} {what}, there are {found}",
                path.display()
            ));
        }
    }
}
