//! One file of the log: a header, then frames.
//!
//! A frame tells its length, kind and checksums; the header's checksum also covers the place where
//! the frame stands, so that bytes that were once a frame elsewhere are not taken for one. That is
//! what allows reading on behind damage: the next place where a frame is whole is one.

use crate::file_header::{self, FileKind};

pub(crate) const KIND: FileKind = FileKind {
    magic: *b"NARTHEXL",
    version: 2,
};

/// What the first release wrote: frames without a kind, and other records.
pub(crate) const FORMER_VERSION: u32 = 1;

pub(crate) const HEADER_BYTES: u64 = file_header::HEADER_BYTES as u64;

/// Length, kind, checksum of the record, checksum of these with the place.
pub(crate) const FRAME_HEADER_BYTES: usize = 13;

/// Without the kind.
const FORMER_FRAME_HEADER_BYTES: usize = 12;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameKind {
    /// What a commit did, for the head to read.
    Record,
    /// How far the log was on the disk when this was written.
    SyncMark,
    /// Where the segment before ended; stands first.
    Continues,
}

impl FrameKind {
    fn code(self) -> u8 {
        match self {
            FrameKind::Record => 1,
            FrameKind::SyncMark => 2,
            FrameKind::Continues => 3,
        }
    }

    fn of(code: u8) -> Option<Self> {
        match code {
            1 => Some(FrameKind::Record),
            2 => Some(FrameKind::SyncMark),
            3 => Some(FrameKind::Continues),
            _ => None,
        }
    }
}

/// Appends a frame that will stand at `offset` of this segment.
pub(crate) fn write_frame(
    out: &mut Vec<u8>,
    segment: u64,
    offset: u64,
    kind: FrameKind,
    record: &[u8],
) {
    let place = Place { segment, offset };
    let checksum = crc32c::crc32c(record);
    // A longer record is refused by its length before anything is written.
    let length = record.len() as u32;
    out.extend_from_slice(&frame_header(place, length, kind.code(), checksum));
    out.extend_from_slice(record);
}

/// What stands at a place of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    Frame {
        offset: usize,
        kind: FrameKind,
        record: &'a [u8],
    },
    /// Bytes that are no frame, up to the next frame or the end of the file.
    Unreadable { offset: usize, length: usize },
    /// The file ends inside a frame that was being written, or in zeros.
    Torn { offset: usize },
}

/// Goes through the frames of a segment.
pub(crate) struct FrameReader<'a> {
    bytes: &'a [u8],
    segment: u64,
    offset: usize,
    is_former: bool,
}

impl<'a> FrameReader<'a> {
    /// `bytes` is the whole file.
    pub(crate) fn new(bytes: &'a [u8], segment: u64) -> Self {
        FrameReader {
            bytes,
            segment,
            offset: (HEADER_BYTES as usize).min(bytes.len()),
            is_former: false,
        }
    }

    /// For a segment of [`FORMER_VERSION`]; all its frames are records.
    pub(crate) fn former(bytes: &'a [u8], segment: u64) -> Self {
        FrameReader {
            is_former: true,
            ..FrameReader::new(bytes, segment)
        }
    }

    fn frame_at(&self, offset: usize) -> Frame<'a> {
        let rest = self.bytes.get(offset..).unwrap_or_default();
        let place = Place {
            segment: self.segment,
            offset: offset as u64,
        };
        let Some(header) = rest.get(..self.header_bytes()) else {
            return Frame::Cut;
        };
        let length = u32_at(header, 0);
        let (kind, checksum, expected) = if self.is_former {
            let checksum = u32_at(header, 4);
            let expected = former_frame_header(place, length, checksum);
            (Some(FrameKind::Record), checksum, header == expected)
        } else {
            let (code, checksum) = (header.get(4).copied().unwrap_or(0), u32_at(header, 5));
            let expected = frame_header(place, length, code, checksum);
            (FrameKind::of(code), checksum, header == expected)
        };
        let Some(kind) = kind.filter(|_| expected) else {
            return Frame::Bad;
        };
        match rest
            .get(header.len()..)
            .and_then(|rest| rest.get(..length as usize))
        {
            None => Frame::Cut,
            Some(record) if crc32c::crc32c(record) != checksum => Frame::Bad,
            Some(record) => Frame::Whole(kind, record),
        }
    }

    fn next_whole_after(&self, offset: usize) -> Option<usize> {
        let last = self.bytes.len().checked_sub(self.header_bytes())?;
        (offset + 1..=last).find(|at| matches!(self.frame_at(*at), Frame::Whole(..)))
    }

    fn header_bytes(&self) -> usize {
        match self.is_former {
            true => FORMER_FRAME_HEADER_BYTES,
            false => FRAME_HEADER_BYTES,
        }
    }
}

impl<'a> Iterator for FrameReader<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        let offset = self.offset;
        let rest = self.bytes.get(offset..).unwrap_or_default();
        if rest.is_empty() {
            return None;
        }
        let frame = self.frame_at(offset);
        if let Frame::Whole(kind, record) = frame {
            self.offset += self.header_bytes() + record.len();
            return Some(Item::Frame {
                offset,
                kind,
                record,
            });
        }
        let next = self.next_whole_after(offset);
        self.offset = next.unwrap_or(self.bytes.len());
        let torn = matches!(frame, Frame::Cut) || rest.iter().all(|byte| *byte == 0);
        if torn && next.is_none() {
            return Some(Item::Torn { offset });
        }
        Some(Item::Unreadable {
            offset,
            length: self.offset - offset,
        })
    }
}

enum Frame<'a> {
    Whole(FrameKind, &'a [u8]),
    /// Begins well, or is too short to tell, and the file ends inside.
    Cut,
    Bad,
}

#[derive(Clone, Copy)]
struct Place {
    segment: u64,
    offset: u64,
}

fn frame_header(place: Place, length: u32, kind: u8, checksum: u32) -> [u8; FRAME_HEADER_BYTES] {
    let mut header = [0; FRAME_HEADER_BYTES];
    header[..4].copy_from_slice(&length.to_le_bytes());
    header[4] = kind;
    header[5..9].copy_from_slice(&checksum.to_le_bytes());
    let sum = place.checksum_with(&header[..9]);
    header[9..].copy_from_slice(&sum.to_le_bytes());
    header
}

fn former_frame_header(
    place: Place,
    length: u32,
    checksum: u32,
) -> [u8; FORMER_FRAME_HEADER_BYTES] {
    let mut header = [0; FORMER_FRAME_HEADER_BYTES];
    header[..4].copy_from_slice(&length.to_le_bytes());
    header[4..8].copy_from_slice(&checksum.to_le_bytes());
    let sum = place.checksum_with(&header[..8]);
    header[8..].copy_from_slice(&sum.to_le_bytes());
    header
}

impl Place {
    fn checksum_with(self, header: &[u8]) -> u32 {
        let mut place = [0; 16];
        place[..8].copy_from_slice(&self.segment.to_le_bytes());
        place[8..].copy_from_slice(&self.offset.to_le_bytes());
        crc32c::crc32c_append(crc32c::crc32c(&place), header)
    }
}

/// The number at `at`, which lies within `bytes`.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk());
    found.map_or(0, |four| u32::from_le_bytes(*four))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(records: &[&[u8]]) -> Vec<u8> {
        let mut file = KIND.header(7).to_vec();
        for record in records {
            let offset = file.len() as u64;
            write_frame(&mut file, 7, offset, FrameKind::Record, record);
        }
        file
    }

    fn read(file: &[u8]) -> Vec<Item<'_>> {
        FrameReader::new(file, 7).collect()
    }

    fn records<'a>(items: &[Item<'a>]) -> Vec<&'a [u8]> {
        let record = |item: &Item<'a>| match item {
            Item::Frame { record, .. } => Some(*record),
            _ => None,
        };
        items.iter().filter_map(record).collect()
    }

    #[test]
    fn a_segment_cut_anywhere_gives_the_whole_records_before() {
        let file = segment(&[b"one", b"", b"three"]);
        let ends = [24 + 16, 24 + 16 + 13, file.len()];
        for length in 24..=file.len() {
            let items = read(&file[..length]);
            let whole = ends.iter().filter(|end| **end <= length).count();
            let expected: [&[u8]; 3] = [b"one", b"", b"three"];
            assert_eq!(records(&items), expected[..whole], "{length}");
            let torn = length != 24 && !ends.contains(&length);
            let is_torn = matches!(items.last(), Some(Item::Torn { .. }));
            assert_eq!(is_torn, torn, "{length}");
        }
    }

    #[test]
    fn reading_goes_on_behind_a_flipped_bit() {
        let file = segment(&[b"one", b"two", b"three"]);
        for at in 24 + 16..24 + 32 {
            let mut bad = file.clone();
            bad[at] ^= 0x40;
            let items = read(&bad);
            assert_eq!(records(&items), [b"one".as_slice(), b"three"], "{at}");
            let unreadable = Item::Unreadable {
                offset: 24 + 16,
                length: 16,
            };
            assert!(items.contains(&unreadable), "{at}: {items:?}");
        }
    }

    #[test]
    fn zeros_at_the_end_are_torn_and_in_the_middle_unreadable() {
        let mut file = segment(&[b"one"]);
        let end = file.len();
        file.resize(end + 100, 0);
        assert_eq!(read(&file).last(), Some(&Item::Torn { offset: end }));

        let place = file.len() as u64;
        write_frame(&mut file, 7, place, FrameKind::Record, &[9]);
        assert_eq!(records(&read(&file)), [b"one".as_slice(), &[9]]);
    }

    #[test]
    fn a_frame_elsewhere_is_none() {
        let inner = segment(&[b"inside"]);
        let outer = segment(&[&inner[24..], b"after"]);
        let mut bad = outer.clone();
        bad[24] ^= 1;
        assert_eq!(records(&read(&bad)), [b"after".as_slice()]);
        assert_eq!(
            FrameReader::new(&outer, 8).find(|i| matches!(i, Item::Frame { .. })),
            None
        );
    }
}
