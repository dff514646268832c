//! Reading the log at start: the newest checkpoint, then the segments after it.
//!
//! A log that ends inside a record is cut there: that record was never committed. Bytes that cannot
//! be read elsewhere are reported and passed over; the file that has them is named, so that it is
//! kept. A file of a newer format is refused, because reading on would mean writing into it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::checkpoint::TEMPORARY_SUFFIX;
use super::record::{self, Record};
use super::segment::{FrameReader, HEADER_BYTES, HeaderState, Item, VERSION, check_header};
use super::{
    DAMAGED_FOLDER, SegmentInfo, checkpoint_name, remove_if_there, segment_name, with_path,
};

/// Takes what the log says, in its order.
pub(crate) trait Target {
    /// Fails with a reason if the record cannot be taken.
    fn take(&mut self, record: Record<'_>) -> Result<(), String>;

    /// How far the replay is, for people.
    fn progress(&mut self, file: &Path, done: usize, of: usize);
}

#[derive(Debug, Default)]
pub(crate) struct ReplayReport {
    pub(crate) checkpoint: Option<SegmentInfo>,
    /// After the checkpoint, ascending; the size of the last is where the log goes on.
    pub(crate) segments: Vec<SegmentInfo>,
    pub(crate) files: usize,
    /// Places that could not be read.
    pub(crate) damages: u64,
    /// Each once, in the log's order.
    pub(crate) damaged_files: Vec<PathBuf>,
    /// The log ended inside a record.
    pub(crate) was_torn: bool,
}

#[derive(Debug)]
pub(crate) enum ReplayError {
    /// A file of a format that this program does not know.
    Newer {
        file: PathBuf,
        found: u32,
        supported: u32,
    },
    Io(io::Error),
}

impl From<io::Error> for ReplayError {
    fn from(error: io::Error) -> Self {
        ReplayError::Io(error)
    }
}

/// Reads the log in `folder`, removes what a checkpoint made superfluous, and reports.
pub(crate) fn replay(folder: &Path, target: &mut dyn Target) -> Result<ReplayReport, ReplayError> {
    let files = list(folder)?;
    let mut replay = Replay {
        target,
        report: ReplayReport::default(),
        of: files.segments.len(),
    };
    if let Some(number) = files.checkpoint {
        let checkpoint = folder.join(checkpoint_name(number));
        let parts = list(&checkpoint)?.segments;
        replay.of += parts.len();
        replay.expect_gapless(&checkpoint, 0, &parts);
        let mut size_bytes = 0;
        for part in parts {
            size_bytes += replay.segment(&checkpoint, part, false)?;
        }
        replay.report.checkpoint = Some(SegmentInfo { number, size_bytes });
    }
    replay.expect_gapless(folder, files.checkpoint.unwrap_or(0), &files.segments);
    for number in &files.segments {
        let is_last = files.segments.last() == Some(number);
        let size_bytes = replay.segment(folder, *number, is_last)?;
        let info = SegmentInfo {
            number: *number,
            size_bytes,
        };
        replay.report.segments.push(info);
    }
    Ok(replay.report)
}

#[derive(Default)]
struct Files {
    /// The newest.
    checkpoint: Option<u64>,
    /// After the checkpoint, ascending.
    segments: Vec<u64>,
}

/// What a folder of the log holds. Removes unfinished checkpoints and what the newest replaces.
fn list(folder: &Path) -> io::Result<Files> {
    let (mut checkpoints, mut segments) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder).map_err(|e| with_path(&e, folder))? {
        let name = entry.map_err(|e| with_path(&e, folder))?.file_name();
        let name = name.to_string_lossy();
        if name.ends_with(TEMPORARY_SUFFIX) {
            let path = folder.join(&*name);
            fs::remove_dir_all(&path).map_err(|e| with_path(&e, &path))?;
        } else if let Some(number) = number_in(&name, checkpoint_name) {
            checkpoints.push(number);
        } else if let Some(number) = number_in(&name, segment_name) {
            segments.push(number);
        } else if name != DAMAGED_FOLDER {
            tracing::warn!(
                file = %folder.join(&*name).display(),
                "a file that is none of the log's lies in its folder and is left alone"
            );
        }
    }
    checkpoints.sort_unstable();
    segments.sort_unstable();
    let checkpoint = checkpoints.pop();
    for old in checkpoints {
        let path = folder.join(checkpoint_name(old));
        fs::remove_dir_all(&path).map_err(|e| with_path(&e, &path))?;
    }
    let covered = checkpoint.unwrap_or(0);
    let (old, segments) = segments.into_iter().partition(|number| *number <= covered);
    let old: Vec<u64> = old;
    for number in old {
        remove_if_there(&folder.join(segment_name(number)))?;
    }
    Ok(Files {
        checkpoint,
        segments,
    })
}

/// The number that gives this name.
fn number_in(name: &str, name_of: fn(u64) -> String) -> Option<u64> {
    let digits = name.rsplit('.').next()?;
    let number = digits.parse().ok()?;
    (name_of(number) == name).then_some(number)
}

struct Replay<'a> {
    target: &'a mut dyn Target,
    report: ReplayReport,
    of: usize,
}

impl Replay<'_> {
    /// Gives the size of the segment, up to where it is torn.
    fn segment(&mut self, folder: &Path, number: u64, is_last: bool) -> Result<u64, ReplayError> {
        let path = folder.join(segment_name(number));
        let bytes = fs::read(&path).map_err(|e| with_path(&e, &path))?;
        let mut size_bytes = bytes.len() as u64;
        match check_header(&bytes, number) {
            HeaderState::Good => {}
            HeaderState::Newer(found) => {
                return Err(ReplayError::Newer {
                    file: path,
                    found,
                    supported: VERSION,
                });
            }
            HeaderState::Short if is_last => self.torn(&path, 0, size_bytes),
            HeaderState::Short | HeaderState::Damaged => {
                self.damage(
                    &path,
                    0,
                    size_bytes.min(HEADER_BYTES),
                    "the header is wrong",
                );
            }
        }
        for item in FrameReader::new(&bytes, number) {
            match item {
                Item::Record { offset, record } => self.record(&path, offset, record),
                Item::Torn { offset } if is_last => {
                    self.torn(&path, offset as u64, size_bytes);
                    size_bytes = offset as u64;
                }
                Item::Torn { offset } => {
                    let rest = size_bytes - offset as u64;
                    self.damage(&path, offset as u64, rest, "the file ends inside a record");
                }
                Item::Unreadable { offset, length } => {
                    self.damage(&path, offset as u64, length as u64, "a checksum is wrong");
                }
            }
        }
        self.report.files += 1;
        self.target.progress(&path, self.report.files, self.of);
        Ok(size_bytes)
    }

    fn record(&mut self, path: &Path, offset: usize, bytes: &[u8]) {
        let read = record::read(bytes).map_err(|error| error.to_string());
        if let Err(reason) = read.and_then(|record| self.target.take(record)) {
            self.damage(path, offset as u64, bytes.len() as u64, &reason);
        }
    }

    fn torn(&mut self, path: &Path, offset: u64, size_bytes: u64) {
        self.report.was_torn = true;
        tracing::warn!(
            file = %path.display(), offset, cut_bytes = size_bytes - offset,
            "the log ends inside a record that was never committed; it is cut off"
        );
    }

    fn damage(&mut self, path: &Path, offset: u64, length_bytes: u64, reason: &str) {
        self.report.damages += 1;
        tracing::error!(
            file = %path.display(), offset, length_bytes, reason,
            "a part of the log cannot be read and is passed over; the file is kept aside"
        );
        if self
            .report
            .damaged_files
            .last()
            .is_none_or(|last| last != path)
        {
            self.report.damaged_files.push(path.to_owned());
        }
    }

    fn expect_gapless(&mut self, folder: &Path, before: u64, segments: &[u64]) {
        let mut expected = before + 1;
        for number in segments {
            if *number != expected {
                let missing = folder.join(segment_name(expected));
                let gap = format!("missing up to number {}", number - 1);
                self.damage(&missing, 0, 0, &gap);
            }
            expected = number + 1;
        }
    }
}
