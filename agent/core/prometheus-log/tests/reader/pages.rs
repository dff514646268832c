//! Writes segments: fragments into pages.

use std::ops::Range;

use narthex_prometheus_log::{LogFile, PAGE_BYTES};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Snappy,
    Zstd,
}

pub(crate) const COMPRESSIONS: [Compression; 3] =
    [Compression::None, Compression::Snappy, Compression::Zstd];

impl Compression {
    fn flag(self) -> u8 {
        match self {
            Compression::None => 0,
            Compression::Snappy => 8,
            Compression::Zstd => 16,
        }
    }

    pub(crate) fn compress(self, record: &[u8]) -> Vec<u8> {
        match self {
            Compression::None => record.to_vec(),
            Compression::Snappy => snap::raw::Encoder::new().compress_vec(record).unwrap(),
            Compression::Zstd => zstd::bulk::compress(record, 3).unwrap(),
        }
    }
}

#[derive(Clone, Default)]
pub(crate) struct Segment {
    pub(crate) bytes: Vec<u8>,
    /// Where each record's fragments are, headers included.
    pub(crate) fragments: Vec<Vec<Range<usize>>>,
}

impl Segment {
    /// As Prometheus does: each fragment as long as the page allows.
    pub(crate) fn write(&mut self, record: &[u8], compression: Compression) {
        self.write_in_pieces(record, compression, |_| usize::MAX);
    }

    /// `piece` gives the length of the next fragment, which the page may make shorter.
    pub(crate) fn write_in_pieces(
        &mut self,
        record: &[u8],
        compression: Compression,
        mut piece: impl FnMut(usize) -> usize,
    ) {
        // Prometheus leaves a record as it is where compression doesn't make it shorter.
        let (compression, data) = match compression.compress(record) {
            shorter if shorter.len() < record.len() => (compression, shorter),
            _ => (Compression::None, record.to_vec()),
        };
        let mut fragments = Vec::new();
        let mut rest = &data[..];
        loop {
            self.make_room();
            let room = self.room() - 7;
            let length = piece(rest.len()).min(room).min(rest.len());
            let (part, after) = rest.split_at(length);
            let kind = match (fragments.is_empty(), after.is_empty()) {
                (true, true) => 1,
                (true, false) => 2,
                (false, false) => 3,
                (false, true) => 4,
            };
            fragments.push(self.fragment(kind | compression.flag(), part));
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        self.make_room();
        self.fragments.push(fragments);
    }

    /// A fragment as it is given, right or wrong.
    pub(crate) fn fragment(&mut self, kind: u8, data: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.push(kind);
        self.bytes
            .extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
        self.bytes
            .extend_from_slice(&crc32c::crc32c(data).to_be_bytes());
        self.bytes.extend_from_slice(data);
        start..self.bytes.len()
    }

    /// Leaves the rest of the page empty.
    pub(crate) fn end_page(&mut self) {
        self.bytes.resize(self.bytes.len() + self.room(), 0);
    }

    fn make_room(&mut self) {
        if self.room() < 7 {
            self.end_page();
        }
    }

    fn room(&self) -> usize {
        PAGE_BYTES - self.bytes.len() % PAGE_BYTES
    }
}

pub(crate) fn log_file(last: bool) -> LogFile {
    LogFile {
        path: "wal/00000007".to_owned(),
        number: 7,
        from_offset: 0,
        last,
    }
}
