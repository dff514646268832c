//! One file of the log: a header, then framed records.
//!
//! A frame tells its length and checksums; the header's checksum also covers the place where the
//! frame stands, so that bytes that were once a frame elsewhere are not taken for one. That is what
//! allows reading on behind damage: the next place where a frame is whole is one.

const MAGIC: [u8; 8] = *b"NARTHEXL";

/// What this program writes, and the newest it reads.
pub(crate) const VERSION: u32 = 1;

/// Magic, version, number, checksum of these.
pub(crate) const HEADER_BYTES: u64 = 24;

/// Length, checksum of the record, checksum of these with the place.
const FRAME_HEADER_BYTES: usize = 12;

pub(crate) fn header(number: u64) -> [u8; HEADER_BYTES as usize] {
    header_of(VERSION, number)
}

/// Collects frames that will stand at a certain place of a certain segment.
pub(crate) struct FrameWriter<'a> {
    buffer: &'a mut Vec<u8>,
    segment: u64,
    offset: u64,
    longest_record_bytes: u64,
}

impl<'a> FrameWriter<'a> {
    /// `buffer` is empty and will be written at `offset`.
    pub(crate) fn new(buffer: &'a mut Vec<u8>, segment: u64, offset: u64) -> Self {
        FrameWriter {
            buffer,
            segment,
            offset,
            longest_record_bytes: 0,
        }
    }

    pub(crate) fn longest_record_bytes(&self) -> u64 {
        self.longest_record_bytes
    }

    /// Adds the record that `write` appends.
    pub(crate) fn record(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.buffer.len();
        let body = start + FRAME_HEADER_BYTES;
        self.buffer.resize(body, 0);
        write(self.buffer);
        let record = self.buffer.get(body..).unwrap_or_default();
        let length = record.len() as u64;
        self.longest_record_bytes = self.longest_record_bytes.max(length);
        let place = Place {
            segment: self.segment,
            offset: self.offset + start as u64,
        };
        // A longer record is refused by its length before anything is written.
        let header = frame_header(place, length as u32, crc32c::crc32c(record));
        if let Some(to) = self.buffer.get_mut(start..body) {
            to.copy_from_slice(&header);
        }
    }
}

/// What a segment's beginning says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderState {
    Good,
    /// The file ends inside the header.
    Short,
    Newer(u32),
    Damaged,
}

pub(crate) fn check_header(bytes: &[u8], number: u64) -> HeaderState {
    let Some(found) = bytes.first_chunk::<{ HEADER_BYTES as usize }>() else {
        return HeaderState::Short;
    };
    let version = u32_at(found, 8);
    if *found != header_of(version, number) || version == 0 {
        return HeaderState::Damaged;
    }
    if version > VERSION {
        return HeaderState::Newer(version);
    }
    HeaderState::Good
}

/// What stands at a place of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    Record {
        offset: usize,
        record: &'a [u8],
    },
    /// Bytes that are no frame, up to the next frame or the end of the file.
    Unreadable {
        offset: usize,
        length: usize,
    },
    /// The file ends inside a frame that was being written, or in zeros.
    Torn {
        offset: usize,
    },
}

/// Goes through the frames of a segment.
pub(crate) struct FrameReader<'a> {
    bytes: &'a [u8],
    segment: u64,
    offset: usize,
}

impl<'a> FrameReader<'a> {
    /// `bytes` is the whole file.
    pub(crate) fn new(bytes: &'a [u8], segment: u64) -> Self {
        FrameReader {
            bytes,
            segment,
            offset: (HEADER_BYTES as usize).min(bytes.len()),
        }
    }

    fn frame_at(&self, offset: usize) -> Frame<'a> {
        let rest = self.bytes.get(offset..).unwrap_or_default();
        let Some((header, rest)) = rest.split_first_chunk::<FRAME_HEADER_BYTES>() else {
            return Frame::Cut;
        };
        let (length, checksum) = (u32_at(header, 0), u32_at(header, 4));
        let place = Place {
            segment: self.segment,
            offset: offset as u64,
        };
        if *header != frame_header(place, length, checksum) {
            return Frame::Bad;
        }
        match rest.get(..length as usize) {
            None => Frame::Cut,
            Some(record) if crc32c::crc32c(record) != checksum => Frame::Bad,
            Some(record) => Frame::Whole(record),
        }
    }

    fn next_whole_after(&self, offset: usize) -> Option<usize> {
        let last = self.bytes.len().checked_sub(FRAME_HEADER_BYTES)?;
        (offset + 1..=last).find(|at| matches!(self.frame_at(*at), Frame::Whole(_)))
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
        if let Frame::Whole(record) = frame {
            self.offset += FRAME_HEADER_BYTES + record.len();
            return Some(Item::Record { offset, record });
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
    Whole(&'a [u8]),
    /// Begins well, or is too short to tell, and the file ends inside.
    Cut,
    Bad,
}

#[derive(Clone, Copy)]
struct Place {
    segment: u64,
    offset: u64,
}

fn header_of(version: u32, number: u64) -> [u8; HEADER_BYTES as usize] {
    let mut header = [0; HEADER_BYTES as usize];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&version.to_le_bytes());
    header[12..20].copy_from_slice(&number.to_le_bytes());
    let checksum = crc32c::crc32c(&header[..20]);
    header[20..].copy_from_slice(&checksum.to_le_bytes());
    header
}

fn frame_header(place: Place, length: u32, checksum: u32) -> [u8; FRAME_HEADER_BYTES] {
    let mut covered = [0; 24];
    covered[..8].copy_from_slice(&place.segment.to_le_bytes());
    covered[8..16].copy_from_slice(&place.offset.to_le_bytes());
    covered[16..20].copy_from_slice(&length.to_le_bytes());
    covered[20..].copy_from_slice(&checksum.to_le_bytes());
    let mut header = [0; FRAME_HEADER_BYTES];
    header[..8].copy_from_slice(&covered[16..]);
    header[8..].copy_from_slice(&crc32c::crc32c(&covered).to_le_bytes());
    header
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
        let mut file = header(7).to_vec();
        let mut buffer = Vec::new();
        let mut frames = FrameWriter::new(&mut buffer, 7, HEADER_BYTES);
        for record in records {
            frames.record(|out| out.extend_from_slice(record));
        }
        file.append(&mut buffer);
        file
    }

    fn read(file: &[u8]) -> Vec<Item<'_>> {
        FrameReader::new(file, 7).collect()
    }

    fn records<'a>(items: &[Item<'a>]) -> Vec<&'a [u8]> {
        let record = |item: &Item<'a>| match item {
            Item::Record { record, .. } => Some(*record),
            _ => None,
        };
        items.iter().filter_map(record).collect()
    }

    #[test]
    fn the_header_is_checked() {
        let good = header(7);
        assert_eq!(check_header(&good, 7), HeaderState::Good);
        assert_eq!(check_header(&good, 8), HeaderState::Damaged);
        assert_eq!(check_header(&good[..23], 7), HeaderState::Short);
        assert_eq!(check_header(&header_of(2, 7), 7), HeaderState::Newer(2));
        for at in 0..good.len() {
            let mut bad = good;
            bad[at] ^= 0x10;
            assert_eq!(check_header(&bad, 7), HeaderState::Damaged, "{at}");
        }
    }

    #[test]
    fn a_segment_cut_anywhere_gives_the_whole_records_before() {
        let file = segment(&[b"one", b"", b"three"]);
        let ends = [24 + 15, 24 + 15 + 12, file.len()];
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
        for at in 24 + 15..24 + 30 {
            let mut bad = file.clone();
            bad[at] ^= 0x40;
            let items = read(&bad);
            assert_eq!(records(&items), [b"one".as_slice(), b"three"], "{at}");
            let unreadable = Item::Unreadable {
                offset: 24 + 15,
                length: 15,
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

        let mut buffer = Vec::new();
        let place = file.len() as u64;
        FrameWriter::new(&mut buffer, 7, place).record(|out| out.push(9));
        file.append(&mut buffer);
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
            FrameReader::new(&outer, 8).find(|i| matches!(i, Item::Record { .. })),
            None
        );
    }
}
