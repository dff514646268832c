//! By what bytes are recognised: their length and a hash of them.

use std::hash::{BuildHasher, Hasher, RandomState};

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Stands for bytes. Two that are equal stand for the same bytes, but for a chance of one in 2^64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub hash: u64,
    pub(super) length: u32,
}

impl Key {
    /// Of no bytes that can be found.
    pub(crate) const NONE: Key = Key {
        hash: 0,
        length: u32::MAX,
    };

    pub(crate) fn length(self) -> usize {
        self.length as usize
    }
}

/// Makes keys. Each one makes others, so that no target can prepare bytes whose keys are equal.
#[derive(Clone, Copy)]
pub(crate) struct Keys {
    seed: u64,
}

impl Default for Keys {
    fn default() -> Self {
        let seed = RandomState::new().build_hasher().finish();
        Keys { seed }
    }
}

impl Keys {
    /// The same bytes in another context have another key.
    #[inline]
    pub(crate) fn key(self, bytes: &[u8], context: u64) -> Key {
        Key {
            hash: xxh3_64_with_seed(bytes, self.seed.wrapping_add(context)),
            length: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_bytes_contexts_and_makers_apart() {
        let keys = Keys::default();
        let key = keys.key(b"a", 0);
        assert_eq!(key, keys.key(b"a", 0));
        assert_eq!(key.length(), 1);
        for other in [
            keys.key(b"b", 0),
            keys.key(b"a", 1),
            Keys::default().key(b"a", 0),
            Key::NONE,
        ] {
            assert_ne!(key, other);
        }
    }
}
