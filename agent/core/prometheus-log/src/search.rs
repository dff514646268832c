//! The search for the next readable piece after a damaged one.

/// How many bytes of sums one file is worth: about a second. Bytes that are made to look like pieces
/// everywhere would take hours; then reading goes on at the next page, or not at all.
const SUMMED_BYTES_LIMIT: u64 = 4 << 30;

/// Compares checksums until it has summed enough.
#[derive(Clone, Debug, Default)]
pub(crate) struct Search {
    summed_bytes: u64,
}

impl Search {
    pub(crate) fn is_exhausted(&self) -> bool {
        self.summed_bytes > SUMMED_BYTES_LIMIT
    }

    #[cfg(test)]
    pub(crate) fn exhausted() -> Self {
        let mut search = Search {
            summed_bytes: SUMMED_BYTES_LIMIT,
        };
        search.matches(b"one more", 0);
        assert!(search.is_exhausted());
        search
    }

    pub(crate) fn matches(&mut self, bytes: &[u8], sum: u32) -> bool {
        self.summed_bytes = self.summed_bytes.saturating_add(bytes.len() as u64);
        crc32c::crc32c(bytes) == sum
    }
}

/// Whether nothing but zeros is there.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    // Whole blocks are or-ed together, which the compiler makes wide instructions of.
    bytes
        .chunks(4096)
        .all(|block| block.iter().fold(0, |all, byte| all | byte) == 0)
}
