//! Segments of the log: pages of fragments, put together to records.
//!
//! A segment is a row of pages of 32 KiB. A fragment is seven bytes of header (kind and
//! compression, length, checksum of the data) and data; none crosses the end of a page, and zeros
//! fill what is left of one. A record is one fragment, or a first, any number of middle ones and a
//! last. No record crosses the end of a segment.
//!
//! After a damaged place, reading goes on at the next fragment whose checksum is right, within the
//! page if there is one, else from the next page.

use crate::inflate::{Compression, Inflater};
use crate::search::{Search, is_zero};
use crate::{Cause, Damage, LogFile};

pub const PAGE_BYTES: usize = 32 * 1024;

/// No record may be larger than this once it is decompressed. The largest that Prometheus writes
/// are the series of one scrape, all at once.
pub const MAX_RECORD_BYTES: usize = 512 << 20;

const HEADER_BYTES: usize = 7;
const KIND_MASK: u8 = 0b111;
const SNAPPY_FLAG: u8 = 1 << 3;
const ZSTD_FLAG: u8 = 1 << 4;
/// What a segment began with before Prometheus 2.3.
const OLD_FORMAT_MAGIC: [u8; 4] = [0x43, 0xaf, 0x00, 0xef];

/// Gives the records of one segment, in order.
pub struct SegmentReader<'a> {
    bytes: &'a [u8],
    number: u32,
    last: bool,
    at: usize,
    pending: Pending,
    /// The fragments of the record that is being put together.
    assembled: Vec<u8>,
    inflater: Inflater,
    torn_at: Option<u64>,
    search: Search,
}

/// A record, decompressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawRecord<'r> {
    /// Where its first fragment begins in the segment.
    pub offset: u64,
    pub bytes: &'r [u8],
}

impl<'a> SegmentReader<'a> {
    /// `bytes` is all of the file. A record that the end of the last segment cuts off is no damage,
    /// but one that was being written when Prometheus was killed.
    pub fn new(file: &LogFile, bytes: &'a [u8]) -> Self {
        SegmentReader {
            bytes,
            number: file.number,
            last: file.last,
            at: usize::try_from(file.from_offset)
                .unwrap_or(usize::MAX)
                .min(bytes.len()),
            pending: Pending::None,
            assembled: Vec::new(),
            inflater: Inflater::new(MAX_RECORD_BYTES),
            torn_at: None,
            search: Search::default(),
        }
    }

    /// With another limit than [`MAX_RECORD_BYTES`].
    pub fn with_max_record_bytes(mut self, limit_bytes: usize) -> Self {
        self.inflater = Inflater::new(limit_bytes);
        self
    }

    /// How far it has read.
    pub fn offset(&self) -> u64 {
        self.at as u64
    }

    /// Where the record begins that the end of the last segment cuts off. Known after the last
    /// record.
    pub fn torn_at(&self) -> Option<u64> {
        self.torn_at
    }

    /// The next record, or the next place where one could not be read; None after the last.
    pub fn next_record(&mut self) -> Option<Result<RawRecord<'_>, Damage>> {
        if self.at == 0 && self.bytes.starts_with(&OLD_FORMAT_MAGIC) {
            self.at = self.bytes.len();
            return Some(Err(self.damage(0, Cause::OldFormat)));
        }
        loop {
            let start = self.at;
            let step = match self.piece_at(start) {
                Piece::End => return self.finish().map(Err),
                Piece::Padding { end } => {
                    self.at = end;
                    continue;
                }
                Piece::Unreadable(cause) => return self.skip_damage(start, cause).map(Err),
                Piece::Fragment(fragment) => self.take(start, &fragment),
            };
            match step {
                Step::GoOn => {}
                Step::Damage(damage) => return Some(Err(damage)),
                Step::Record(record) => return Some(self.inflate(&record)),
            }
        }
    }

    fn piece_at(&self, at: usize) -> Piece<'a> {
        let page_end = self.page_end(at);
        let page = self.bytes.get(at..page_end).unwrap_or(&[]);
        let page_bytes = PAGE_BYTES - at % PAGE_BYTES;
        match page.first() {
            None => Piece::End,
            Some(_) if page_bytes < HEADER_BYTES && is_zero(page) => {
                Piece::Padding { end: page_end }
            }
            Some(_) if page_bytes < HEADER_BYTES => Piece::Unreadable(Cause::Padding),
            // Prometheus ends a page early only where it ends the segment. Before 2.11 it went on
            // in a segment after a restart; then this is reported though nothing is lost.
            Some(0) if self.bytes.get(at..).is_some_and(is_zero) => Piece::End,
            Some(0) => Piece::Unreadable(Cause::Hole),
            Some(_) => match Fragment::parse(page, page_bytes) {
                Ok((fragment, sum)) if crc32c::crc32c(fragment.data) == sum => {
                    Piece::Fragment(fragment)
                }
                Ok(_) => Piece::Unreadable(Cause::Checksum),
                Err(cause) => Piece::Unreadable(cause),
            },
        }
    }

    /// The end of the page that `at` lies in, or of the file.
    fn page_end(&self, at: usize) -> usize {
        (at - at % PAGE_BYTES)
            .saturating_add(PAGE_BYTES)
            .min(self.bytes.len())
    }

    /// Adds a fragment to what is there of its record.
    fn take(&mut self, start: usize, fragment: &Fragment<'a>) -> Step<'a> {
        let part = fragment.part;
        if part.begins()
            && let Pending::Record { offset, .. } = self.pending
        {
            // The fragment itself is fine and is read next.
            self.pending = Pending::None;
            return Step::Damage(self.damage(offset, Cause::NoEnd));
        }
        self.at = start + HEADER_BYTES + fragment.data.len();
        match (part, self.pending) {
            (Part::Full, _) => {
                self.pending = Pending::None;
                Step::Record(Whole {
                    offset: start,
                    compression: fragment.compression,
                    data: Some(fragment.data),
                })
            }
            (Part::First, _) => {
                self.assembled.clear();
                self.assembled.extend_from_slice(fragment.data);
                self.pending = Pending::Record {
                    offset: start,
                    compression: fragment.compression,
                };
                Step::GoOn
            }
            (_, Pending::None) => {
                self.pending = part.after_loss();
                Step::Damage(self.damage(start, Cause::NoBeginning))
            }
            (_, Pending::Lost) => {
                self.pending = part.after_loss();
                Step::GoOn
            }
            (
                _,
                Pending::Record {
                    offset,
                    compression,
                },
            ) => self.continue_record(offset, compression, fragment),
        }
    }

    fn continue_record(
        &mut self,
        offset: usize,
        compression: Compression,
        fragment: &Fragment<'a>,
    ) -> Step<'a> {
        if compression != fragment.compression {
            self.pending = fragment.part.after_loss();
            return Step::Damage(self.damage(offset, Cause::NoEnd));
        }
        self.assembled.extend_from_slice(fragment.data);
        if fragment.part != Part::Last {
            return Step::GoOn;
        }
        self.pending = Pending::None;
        Step::Record(Whole {
            offset,
            compression,
            data: None,
        })
    }

    fn inflate(&mut self, record: &Whole<'a>) -> Result<RawRecord<'_>, Damage> {
        let offset = record.offset as u64;
        let end = self.at as u64;
        let data = record.data.unwrap_or(&self.assembled);
        match self.inflater.inflate(record.compression, data) {
            Ok(bytes) => Ok(RawRecord { offset, bytes }),
            Err(cause) => Err(Damage {
                file: self.number,
                offset,
                passed_over_bytes: end - offset,
                cause,
            }),
        }
    }

    fn finish(&mut self) -> Option<Damage> {
        self.at = self.bytes.len();
        let Pending::Record { offset, .. } = self.pending else {
            return None;
        };
        self.pending = Pending::None;
        self.cut_off(offset)
    }

    /// The file ends within the record that begins at `offset`.
    fn cut_off(&mut self, offset: usize) -> Option<Damage> {
        self.at = self.bytes.len();
        if self.last {
            self.torn_at = Some(offset as u64);
            return None;
        }
        Some(self.damage(offset, Cause::Cut))
    }

    /// Moves to where reading can go on.
    fn skip_damage(&mut self, start: usize, cause: Cause) -> Option<Damage> {
        let begun = self.pending;
        self.pending = Pending::Lost;
        match self.next_fragment(start) {
            Some(next) => self.at = next,
            None if cause == Cause::Cut => {
                let offset = match begun {
                    Pending::Record { offset, .. } => offset,
                    _ => start,
                };
                return self.cut_off(offset);
            }
            None => self.at = self.next_page(start),
        }
        Some(self.damage(start, cause))
    }

    /// The next page that is not empty.
    fn next_page(&self, at: usize) -> usize {
        let page_end = self.page_end(at);
        let pages = self.bytes.get(page_end..).unwrap_or(&[]).chunks(PAGE_BYTES);
        let empty: usize = pages
            .take_while(|page| is_zero(page))
            .map(<[u8]>::len)
            .sum();
        page_end + empty
    }

    /// Searches the rest of the page. An empty fragment has the checksum zero and would be seen
    /// everywhere; it is looked for only where Prometheus has to write one, at the end of a page
    /// that has room for nothing but a header.
    fn next_fragment(&mut self, damaged: usize) -> Option<usize> {
        let page_end = self.page_end(damaged);
        for at in damaged + 1..page_end {
            if self.search.is_exhausted() {
                break;
            }
            let page = self.bytes.get(at..page_end).unwrap_or(&[]);
            let Ok((fragment, sum)) = Fragment::parse(page, PAGE_BYTES - at % PAGE_BYTES) else {
                continue;
            };
            let at_end = fragment.part == Part::First && page.len() == HEADER_BYTES;
            let expected = at_end || !fragment.data.is_empty();
            if expected && self.search.matches(fragment.data, sum) {
                return Some(at);
            }
        }
        None
    }

    fn damage(&self, offset: usize, cause: Cause) -> Damage {
        Damage {
            file: self.number,
            offset: offset as u64,
            passed_over_bytes: self.at.saturating_sub(offset) as u64,
            cause,
        }
    }
}

/// What is known of the record before the place that is being read.
#[derive(Clone, Copy)]
enum Pending {
    None,
    Record {
        offset: usize,
        compression: Compression,
    },
    /// It is damaged: what is left of it is passed over.
    Lost,
}

enum Piece<'a> {
    Fragment(Fragment<'a>),
    Padding { end: usize },
    Unreadable(Cause),
    End,
}

enum Step<'a> {
    GoOn,
    Record(Whole<'a>),
    Damage(Damage),
}

/// All fragments of a record.
struct Whole<'a> {
    offset: usize,
    compression: Compression,
    /// None: it was put together.
    data: Option<&'a [u8]>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Full,
    First,
    Middle,
    Last,
}

impl Part {
    fn begins(self) -> bool {
        matches!(self, Part::Full | Part::First)
    }

    /// What comes after this part of a record that is lost.
    fn after_loss(self) -> Pending {
        match self {
            Part::Last => Pending::None,
            _ => Pending::Lost,
        }
    }
}

struct Fragment<'a> {
    part: Part,
    compression: Compression,
    data: &'a [u8],
}

impl<'a> Fragment<'a> {
    /// Also gives the checksum that the data should have. `page` ends where the page or the file
    /// does; `page_bytes` is how much there would be up to the end of the page.
    fn parse(page: &'a [u8], page_bytes: usize) -> Result<(Self, u32), Cause> {
        let &kind = page.first().ok_or(Cause::Cut)?;
        let part = match kind & KIND_MASK {
            1 => Part::Full,
            2 => Part::First,
            3 => Part::Middle,
            4 => Part::Last,
            other => return Err(Cause::FragmentKind(other)),
        };
        let compression = match kind & !KIND_MASK {
            0 => Compression::None,
            SNAPPY_FLAG => Compression::Snappy,
            ZSTD_FLAG => Compression::Zstd,
            flags => return Err(Cause::UnknownFlags(flags)),
        };
        if page_bytes < HEADER_BYTES {
            return Err(Cause::Length);
        }
        let (header, rest) = page.split_first_chunk::<HEADER_BYTES>().ok_or(Cause::Cut)?;
        let &[_, high, low, sum @ ..] = header;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > page_bytes - HEADER_BYTES {
            return Err(Cause::Length);
        }
        let data = rest.get(..length).ok_or(Cause::Cut)?;
        let fragment = Fragment {
            part,
            compression,
            data,
        };
        Ok((fragment, u32::from_be_bytes(sum)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_it_has_searched_enough_it_goes_on_at_the_next_page() {
        // 0x364b3fb7 is the checksum of "abc".
        let good = [&[1, 0, 3, 0x36, 0x4b, 0x3f, 0xb7][..], b"abc"].concat();
        let mut bytes = [&[7][..], &good].concat();
        bytes.resize(PAGE_BYTES, 0);
        bytes.extend_from_slice(&good);
        let file = LogFile {
            path: "wal/00000000".to_owned(),
            number: 0,
            from_offset: 0,
            last: false,
        };
        for (search, found) in [
            (Search::default(), vec![1, PAGE_BYTES as u64]),
            (Search::exhausted(), vec![PAGE_BYTES as u64]),
        ] {
            let mut reader = SegmentReader::new(&file, &bytes);
            reader.search = search;
            let mut offsets = Vec::new();
            while let Some(record) = reader.next_record() {
                offsets.extend(record.map(|record| record.offset));
            }
            assert_eq!(offsets, found);
        }
    }
}
