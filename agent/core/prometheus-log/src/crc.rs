//! The search for the next readable piece after a damaged one.

/// How many bytes may be summed while searching: what makes the search linear even on bytes that
/// are made to look like pieces everywhere.
const SUMMED_BYTES_LIMIT: usize = 16 << 20;

/// Compares checksums until it has summed enough.
pub(crate) struct Search {
    summed_bytes: usize,
}

impl Search {
    pub(crate) fn new() -> Self {
        Search { summed_bytes: 0 }
    }

    pub(crate) fn is_exhausted(&self) -> bool {
        self.summed_bytes > SUMMED_BYTES_LIMIT
    }

    pub(crate) fn matches(&mut self, bytes: &[u8], sum: u32) -> bool {
        self.summed_bytes = self.summed_bytes.saturating_add(bytes.len());
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
