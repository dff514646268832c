//! What every file of the store's own begins with: who wrote it, in which version, and its number,
//! so that a file under a wrong name is not taken for another.

/// Magic, version, number, checksum of these.
pub(crate) const HEADER_BYTES: usize = 24;

/// A kind of file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileKind {
    pub(crate) magic: [u8; 8],
    /// What this program writes, and the newest it reads.
    pub(crate) version: u32,
}

/// What a file's beginning says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderState {
    Good,
    /// Good, and of this older version.
    Older(u32),
    /// Good, and of this newer version.
    Newer(u32),
    /// The file ends inside the header.
    Short,
    Damaged,
}

impl FileKind {
    pub(crate) fn header(self, number: u64) -> [u8; HEADER_BYTES] {
        header_of(self.magic, self.version, number)
    }

    pub(crate) fn check(self, bytes: &[u8], number: u64) -> HeaderState {
        let Some(found) = bytes.first_chunk::<HEADER_BYTES>() else {
            return HeaderState::Short;
        };
        let version = found.get(8..).and_then(|rest| rest.first_chunk());
        let version = version.map_or(0, |four| u32::from_le_bytes(*four));
        if *found != header_of(self.magic, version, number) || version == 0 {
            return HeaderState::Damaged;
        }
        match version.cmp(&self.version) {
            std::cmp::Ordering::Less => HeaderState::Older(version),
            std::cmp::Ordering::Equal => HeaderState::Good,
            std::cmp::Ordering::Greater => HeaderState::Newer(version),
        }
    }
}

fn header_of(magic: [u8; 8], version: u32, number: u64) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&magic);
    header[8..12].copy_from_slice(&version.to_le_bytes());
    header[12..20].copy_from_slice(&number.to_le_bytes());
    let checksum = crc32c::crc32c(&header[..20]);
    header[20..].copy_from_slice(&checksum.to_le_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_checked() {
        let kind = FileKind {
            magic: *b"SOMEFILE",
            version: 2,
        };
        let good = kind.header(7);
        assert_eq!(kind.check(&good, 7), HeaderState::Good);
        assert_eq!(kind.check(&good, 8), HeaderState::Damaged);
        assert_eq!(kind.check(&good[..23], 7), HeaderState::Short);
        for (version, state) in [
            (0, HeaderState::Damaged),
            (1, HeaderState::Older(1)),
            (3, HeaderState::Newer(3)),
        ] {
            assert_eq!(kind.check(&header_of(kind.magic, version, 7), 7), state);
        }
        for at in 0..good.len() {
            let mut bad = good;
            bad[at] ^= 0x10;
            assert_eq!(kind.check(&bad, 7), HeaderState::Damaged, "{at}");
        }
    }
}
