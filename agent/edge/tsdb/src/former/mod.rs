//! Takes over the log of the first release (format 1): segments of series, samples and chunks, and
//! checkpoints, which are folders of such segments.

mod record;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use narthex_head::{Import, ImportError};
use narthex_mapped_file::MappedFile;
use narthex_model::Labels;

use crate::disk::with_path;
use crate::file_header::HeaderState;
use crate::log::segment::{FORMER_VERSION, FrameReader, Item, KIND};
use record::{LoggedChunk, LoggedSample, LoggedSeries, Record};

/// Prometheus's XOR encoding, which its chunks have.
const XOR: u8 = 1;

/// What was taken over.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) series: u64,
    pub(crate) samples: u64,
    /// Places that could not be read.
    pub(crate) damages: u64,
    /// Samples and chunks whose series' definition is lost.
    pub(crate) unknown: u64,
}

/// Whether a folder holds the log of the first release.
pub(crate) fn is_former(folder: &Path) -> io::Result<bool> {
    let files = list(folder)?;
    if files.checkpoint.is_some() {
        return Ok(true);
    }
    for number in files.segments {
        let path = segment_path(folder, number);
        let bytes = MappedFile::open(&path).map_err(|e| with_path(&e, &path))?;
        if KIND.check(&bytes, number) == HeaderState::Older(FORMER_VERSION) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Reads the log in `folder` into the head. `between` is called now and then.
pub(crate) fn take_over(
    folder: &Path,
    import: &Import<'_>,
    between: &mut dyn FnMut(),
) -> io::Result<Taken> {
    let files = list(folder)?;
    let mut taker = Taker {
        import,
        ids: HashMap::new(),
        taken: Taken::default(),
    };
    if let Some(number) = files.checkpoint {
        let checkpoint = folder.join(checkpoint_name(number));
        for part in list(&checkpoint)?.segments {
            taker.segment(&checkpoint, part, false)?;
            between();
        }
    }
    for number in &files.segments {
        let is_last = files.segments.last() == Some(number);
        taker.segment(folder, *number, is_last)?;
        between();
    }
    Ok(taker.taken)
}

#[derive(Default)]
struct Files {
    /// The newest.
    checkpoint: Option<u64>,
    /// After the checkpoint, ascending.
    segments: Vec<u64>,
}

fn list(folder: &Path) -> io::Result<Files> {
    let mut files = Files::default();
    for entry in fs::read_dir(folder).map_err(|e| with_path(&e, folder))? {
        let name = entry.map_err(|e| with_path(&e, folder))?.file_name();
        let name = name.to_string_lossy();
        if let Some(number) = number_in(&name, checkpoint_name) {
            files.checkpoint = files.checkpoint.max(Some(number));
        } else if let Some(number) = number_in(&name, segment_name) {
            files.segments.push(number);
        }
    }
    let covered = files.checkpoint.unwrap_or(0);
    files.segments.retain(|number| *number > covered);
    files.segments.sort_unstable();
    Ok(files)
}

fn segment_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(segment_name(number))
}

fn segment_name(number: u64) -> String {
    format!("{number:08}")
}

fn checkpoint_name(number: u64) -> String {
    format!("checkpoint.{number:08}")
}

/// The number that gives this name.
fn number_in(name: &str, name_of: fn(u64) -> String) -> Option<u64> {
    let number = name.rsplit('.').next()?.parse().ok()?;
    (name_of(number) == name).then_some(number)
}

struct Taker<'a, 'h> {
    import: &'a Import<'h>,
    ids: HashMap<u64, u32>,
    taken: Taken,
}

impl Taker<'_, '_> {
    fn segment(&mut self, folder: &Path, number: u64, is_last: bool) -> io::Result<()> {
        let path = segment_path(folder, number);
        let bytes = MappedFile::open(&path).map_err(|e| with_path(&e, &path))?;
        bytes.read_ahead();
        match KIND.check(&bytes, number) {
            HeaderState::Older(FORMER_VERSION) => {}
            HeaderState::Short if is_last => {}
            _ => self.damage(&path, 0, "the header is wrong"),
        }
        for item in FrameReader::former(&bytes, number) {
            match item {
                Item::Frame { offset, record, .. } => {
                    let read = record::read(record).map_err(|error| error.to_string());
                    if let Err(reason) = read.and_then(|record| self.take(record)) {
                        self.damage(&path, offset, &reason);
                    }
                }
                Item::Torn { .. } if is_last => {}
                Item::Torn { offset } => {
                    self.damage(&path, offset, "the file ends inside a record");
                }
                Item::Unreadable { offset, .. } => {
                    self.damage(&path, offset, "a checksum is wrong");
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, record: Record<'_>) -> Result<(), String> {
        let error = |error: ImportError| error.to_string();
        match record {
            Record::Series(series) => {
                for series in &series {
                    self.define(series).map_err(error)?;
                }
            }
            Record::Samples(samples) => samples.iter().for_each(|sample| self.sample(sample)),
            Record::Chunks(chunks) => {
                let results: Vec<_> = chunks.iter().map(|chunk| self.chunk(chunk)).collect();
                results
                    .into_iter()
                    .collect::<Result<(), _>>()
                    .map_err(error)?;
            }
        }
        Ok(())
    }

    fn define(&mut self, series: &LoggedSeries<'_>) -> Result<(), ImportError> {
        if !self.ids.contains_key(&series.log_id) {
            let labels = Labels::from_pairs(series.labels.iter().copied());
            let id = self.import.series(&labels)?;
            self.ids.insert(series.log_id, id);
            self.taken.series += 1;
        }
        Ok(())
    }

    fn sample(&mut self, sample: &LoggedSample) {
        let Some(id) = self.ids.get(&sample.log_id) else {
            self.taken.unknown += 1;
            return;
        };
        self.import.float(*id, sample.timestamp_ms, sample.value);
        self.taken.samples += 1;
    }

    fn chunk(&mut self, chunk: &LoggedChunk<'_>) -> Result<(), ImportError> {
        let Some(id) = self.ids.get(&chunk.log_id) else {
            self.taken.unknown += 1;
            return Ok(());
        };
        self.taken.samples += self.import.chunk(*id, XOR, chunk.bytes)?;
        Ok(())
    }

    fn damage(&mut self, path: &Path, offset: usize, reason: &str) {
        self.taken.damages += 1;
        tracing::error!(
            file = %path.display(), offset, reason,
            "a part of the former log cannot be read and is passed over"
        );
    }
}
