//! Reading the log at start.
//!
//! Where bytes are no frame there are two cases. If a later mark says that the place had been
//! synced, the disk has let it go bad: it costs what it held, is reported, and reading goes on
//! behind it. Otherwise the bytes never came to the disk whole, and the log ends there: what lies
//! behind was written later, in the same sync interval, and taking it would leave a hole.

use std::io;
use std::path::{Path, PathBuf};

use narthex_mapped_file::MappedFile;

use super::files::segment_path;
use super::segment::{self, FrameKind, FrameReader, HEADER_BYTES, Item};
use super::{Position, SegmentInfo};
use crate::disk::with_path;
use crate::file_header::HeaderState;

/// A segment that can be read.
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    bytes: MappedFile,
}

/// Where the log goes on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct LogEnd {
    /// Of the first segment, if there is none yet.
    pub(crate) first_number: u64,
    /// The size of the last is where the log goes on.
    pub(crate) segments: Vec<SegmentInfo>,
}

/// A part of the log that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    pub(crate) path: PathBuf,
    pub(crate) offset: u64,
    pub(crate) length_bytes: u64,
    pub(crate) reason: String,
}

/// What reading met.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) end: LogEnd,
    pub(crate) damages: Vec<Damage>,
    /// Where the log was cut, and how much lies behind.
    pub(crate) cut: Option<Cut>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) path: PathBuf,
    pub(crate) offset: u64,
    pub(crate) cut_bytes: u64,
    /// Whole frames lie behind the cut in its file.
    pub(crate) loses_frames: bool,
    /// Files after the cut, which are no longer part of the log.
    pub(crate) gone: Vec<PathBuf>,
}

impl Segment {
    pub(crate) fn open(folder: &Path, number: u64) -> io::Result<Self> {
        let path = segment_path(folder, number);
        let bytes = MappedFile::open(&path).map_err(|e| with_path(&e, &path))?;
        bytes.read_ahead();
        Ok(Segment {
            number,
            path,
            bytes,
        })
    }

    pub(crate) fn header(&self) -> HeaderState {
        segment::KIND.check(&self.bytes, self.number)
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn frames(&self) -> FrameReader<'_> {
        FrameReader::new(&self.bytes, self.number)
    }
}

/// Goes through the segments from number `first` on and gives each record with the index of its
/// segment and its offset. `first` is where the log has to begin.
pub(crate) fn scan<'a>(
    segments: &'a [Segment],
    first: u64,
    take: &mut dyn FnMut(usize, usize, &'a [u8]),
) -> Scan {
    let mut scanner = Scanner {
        segments,
        has_records: false,
        scan: Scan {
            end: LogEnd {
                first_number: first,
                ..LogEnd::default()
            },
            ..Scan::default()
        },
    };
    let mut expected = first;
    for (index, segment) in segments.iter().enumerate() {
        if !scanner.gap(index, expected) || !scanner.segment(index, take) {
            break;
        }
        expected = segment.number + 1;
    }
    scanner.scan
}

struct Scanner<'a> {
    segments: &'a [Segment],
    /// The segment that is read has some.
    has_records: bool,
    scan: Scan,
}

impl<'a> Scanner<'a> {
    /// Looks whether segments are missing before this one; false if the log ends there.
    fn gap(&mut self, index: usize, expected: u64) -> bool {
        let Some(segment) = self.segments.get(index) else {
            return false;
        };
        if segment.number == expected {
            return true;
        }
        let at = Position {
            segment: expected,
            offset: 0,
        };
        if !self.was_synced(index, at) {
            self.cut(index, segment.path.clone(), 0, 0);
            return false;
        }
        let missing = segment.path.with_file_name(format!("{expected:08}"));
        let reason = format!("missing up to number {}", segment.number - 1);
        self.damage(missing, 0, 0, reason);
        true
    }

    /// Gives false if the log ends in this segment.
    fn segment(&mut self, index: usize, take: &mut dyn FnMut(usize, usize, &'a [u8])) -> bool {
        let Some(segment) = self.segments.get(index) else {
            return false;
        };
        let size_bytes = segment.size_bytes();
        self.has_records = false;
        if segment.header() != HeaderState::Good
            && !self.bad(
                index,
                0,
                size_bytes.min(HEADER_BYTES),
                "the header is wrong",
            )
        {
            return false;
        }
        for item in segment.frames() {
            let good = match item {
                Item::Frame {
                    offset,
                    kind: FrameKind::Record,
                    record,
                } => {
                    self.has_records = true;
                    take(index, offset, record);
                    true
                }
                Item::Frame {
                    kind: FrameKind::Continues,
                    record,
                    ..
                } => self.joins(index, record),
                Item::Frame { .. } => {
                    self.has_records = true;
                    true
                }
                Item::Torn { offset } => {
                    let rest = size_bytes - offset as u64;
                    self.bad(index, offset, rest, "the file ends inside a record")
                }
                Item::Unreadable { offset, length } => {
                    self.bad(index, offset, length as u64, "a checksum is wrong")
                }
            };
            if !good {
                return false;
            }
        }
        self.scan.end.segments.push(SegmentInfo {
            number: segment.number,
            size_bytes,
            has_records: self.has_records,
        });
        true
    }

    /// Looks whether the segment before is as long as it was; false if the log ends there.
    fn joins(&mut self, index: usize, record: &[u8]) -> bool {
        let before = index.checked_sub(1).and_then(|at| self.segments.get(at));
        let (Some(before), Some(end)) = (before, Position::from_bytes(record)) else {
            return true;
        };
        let size_bytes = before.size_bytes();
        let is_known = self
            .scan
            .damages
            .last()
            .is_some_and(|last| last.path == before.path);
        if end.segment != before.number || end.offset <= size_bytes || is_known {
            return true;
        }
        // Its last records are missing without a trace.
        let info = self.scan.end.segments.pop();
        self.has_records = info.is_some_and(|info| info.has_records);
        let missing_bytes = end.offset - size_bytes;
        let joined = self.bad(
            index - 1,
            size_bytes as usize,
            missing_bytes,
            "the end of the file is missing",
        );
        if joined {
            self.scan.end.segments.extend(info);
            self.has_records = false;
        }
        joined
    }

    /// Judges bytes that are no frame; false if the log ends there.
    fn bad(&mut self, index: usize, offset: usize, length_bytes: u64, reason: &str) -> bool {
        let Some(segment) = self.segments.get(index) else {
            return false;
        };
        let at = Position {
            segment: segment.number,
            offset: offset as u64,
        };
        if self.was_synced(index, at) {
            let path = segment.path.clone();
            self.damage(path, offset as u64, length_bytes, reason.to_owned());
            return true;
        }
        self.scan.end.segments.push(SegmentInfo {
            number: segment.number,
            size_bytes: offset as u64,
            has_records: self.has_records,
        });
        let follows =
            |item: Item<'_>| matches!(item, Item::Frame { offset: at, .. } if at > offset);
        let loses_frames = segment.frames().any(follows);
        let rest = segment.size_bytes() - offset as u64;
        self.cut(index + 1, segment.path.clone(), offset as u64, rest);
        if let Some(cut) = &mut self.scan.cut {
            cut.loses_frames = loses_frames;
        }
        false
    }

    /// The log ends at this place of a file, and all segments from this one on go.
    fn cut(&mut self, gone_from: usize, path: PathBuf, offset: u64, rest_bytes: u64) {
        let gone = self.segments.get(gone_from..).unwrap_or_default();
        let behind: u64 = gone.iter().map(Segment::size_bytes).sum();
        self.scan.cut = Some(Cut {
            path,
            offset,
            cut_bytes: behind + rest_bytes,
            loses_frames: false,
            gone: gone.iter().map(|segment| segment.path.clone()).collect(),
        });
    }

    /// Whether a mark in this segment or a later one says that the place was on the disk.
    fn was_synced(&self, index: usize, place: Position) -> bool {
        let later = self.segments.get(index..).unwrap_or_default();
        let mut marks = later
            .iter()
            .flat_map(Segment::frames)
            .filter_map(|item| match item {
                Item::Frame {
                    kind: FrameKind::SyncMark,
                    record,
                    ..
                } => Position::from_bytes(record),
                _ => None,
            });
        marks.any(|synced| synced > place)
    }

    fn damage(&mut self, path: PathBuf, offset: u64, length_bytes: u64, reason: String) {
        self.scan.damages.push(Damage {
            path,
            offset,
            length_bytes,
            reason,
        });
    }
}
