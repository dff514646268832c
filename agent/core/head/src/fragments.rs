//! Memory for the bytes of open chunks: pieces of 32 bytes, chained.
//!
//! A chunk grows by taking a piece and gives all of them back when it is full, so nothing is ever
//! copied to grow and there is one size only. Pieces come from blocks of 4 KiB, which stay until
//! no piece is in use.

use std::iter;

/// Stands for no piece.
pub(crate) const NO_FRAGMENT: u16 = u16::MAX;

/// Bytes of data in a piece.
const PAYLOAD: usize = 30;

const FRAGMENTS_PER_BLOCK: usize = 128;

/// The numbers are enough: a page's 256 open chunks have less than 1,100 bytes each, which is below
/// 10,000 pieces.
#[derive(Debug)]
pub(crate) struct Fragments {
    blocks: Vec<Box<[Fragment; FRAGMENTS_PER_BLOCK]>>,
    free: u16,
    used: usize,
}

#[derive(Clone, Copy, Debug)]
#[repr(C, align(32))]
struct Fragment {
    bytes: [u8; PAYLOAD],
    next: u16,
}

/// A chain of pieces.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chain {
    pub(crate) first: u16,
    pub(crate) last: u16,
    pub(crate) length_bytes: u16,
}

impl Default for Chain {
    fn default() -> Self {
        Chain {
            first: NO_FRAGMENT,
            last: NO_FRAGMENT,
            length_bytes: 0,
        }
    }
}

impl Default for Fragments {
    fn default() -> Self {
        Fragments {
            blocks: Vec::new(),
            free: NO_FRAGMENT,
            used: 0,
        }
    }
}

impl Fragments {
    pub(crate) fn append(&mut self, chain: &mut Chain, bytes: [u8; 8]) {
        let at = usize::from(chain.length_bytes) % PAYLOAD;
        chain.length_bytes += 8;
        if at != 0 && at + 8 <= PAYLOAD {
            self.fragment(chain.last).bytes[at..at + 8].copy_from_slice(&bytes);
        } else {
            self.append_across(chain, at, bytes);
        }
    }

    /// The bytes of a chain in pieces.
    pub(crate) fn bytes(&self, chain: Chain) -> impl Iterator<Item = &[u8]> {
        let mut next = chain.first;
        let mut left = usize::from(chain.length_bytes);
        iter::from_fn(move || {
            if left == 0 {
                return None;
            }
            let index = usize::from(next);
            let block = self.blocks.get(index / FRAGMENTS_PER_BLOCK)?;
            let fragment = &block[index % FRAGMENTS_PER_BLOCK];
            next = fragment.next;
            let here = left.min(PAYLOAD);
            left -= here;
            Some(&fragment.bytes[..here])
        })
    }

    /// Touches all pieces, for someone who will read many chains: in one go and in the order of the
    /// memory that takes far less than piece after piece along a chain.
    pub(crate) fn bring_near(&self) {
        // Two pieces lie in a line of the cache.
        let lines = self.blocks.iter().flat_map(|block| block.iter().step_by(2));
        std::hint::black_box(lines.fold(0, |sum, piece| sum ^ piece.bytes[0]));
    }

    /// Takes the pieces back.
    pub(crate) fn release(&mut self, chain: &mut Chain) {
        let count = usize::from(chain.length_bytes).div_ceil(PAYLOAD);
        if count > 0 {
            let free = self.free;
            self.fragment(chain.last).next = free;
            self.free = chain.first;
            self.used -= count;
        }
        *chain = Chain::default();
        if self.used == 0 {
            *self = Fragments::default();
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.blocks.len() * FRAGMENTS_PER_BLOCK * size_of::<Fragment>()
    }

    fn append_across(&mut self, chain: &mut Chain, at: usize, bytes: [u8; 8]) {
        let here = if at == 0 { 0 } else { PAYLOAD - at };
        let (head, tail) = bytes.split_at(here);
        if here > 0 {
            self.fragment(chain.last).bytes[at..].copy_from_slice(head);
        }
        let added = self.take();
        let fragment = self.fragment(added);
        fragment.bytes[..tail.len()].copy_from_slice(tail);
        fragment.next = NO_FRAGMENT;
        if chain.first == NO_FRAGMENT {
            chain.first = added;
        } else {
            self.fragment(chain.last).next = added;
        }
        chain.last = added;
    }

    fn take(&mut self) -> u16 {
        if self.free == NO_FRAGMENT {
            self.add_block();
        }
        self.used += 1;
        let taken = self.free;
        self.free = self.fragment(taken).next;
        taken
    }

    fn add_block(&mut self) {
        let first = (self.blocks.len() * FRAGMENTS_PER_BLOCK) as u16;
        let mut block = Box::new(
            [Fragment {
                bytes: [0; PAYLOAD],
                next: NO_FRAGMENT,
            }; FRAGMENTS_PER_BLOCK],
        );
        for (next, fragment) in (first + 1..).zip(block.iter_mut().rev().skip(1).rev()) {
            fragment.next = next;
        }
        self.free = first;
        self.blocks.push(block);
    }

    #[inline]
    fn fragment(&mut self, index: u16) -> &mut Fragment {
        let index = usize::from(index);
        &mut self.blocks[index / FRAGMENTS_PER_BLOCK][index % FRAGMENTS_PER_BLOCK]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_grow_side_by_side_and_come_back() {
        let mut fragments = Fragments::default();
        let mut chains = [Chain::default(); 256];
        let mut expected = vec![Vec::new(); 256];
        for round in 0..137u64 {
            for (i, chain) in chains.iter_mut().enumerate() {
                if (round + i as u64).is_multiple_of(3) {
                    continue;
                }
                let word = (round * 1000 + i as u64).to_be_bytes();
                fragments.append(chain, word);
                expected[i].extend(word);
            }
        }
        for (chain, expected) in chains.iter().zip(&expected) {
            let bytes: Vec<u8> = fragments.bytes(*chain).flatten().copied().collect();
            assert_eq!(&bytes, expected);
        }
        let before = fragments.memory_bytes();
        for chain in chains.iter_mut().take(255) {
            fragments.release(chain);
        }
        let mut again = Chain::default();
        for word in 0..100u64 {
            fragments.append(&mut again, word.to_be_bytes());
        }
        assert_eq!(fragments.memory_bytes(), before);
        let last: Vec<u8> = fragments.bytes(chains[255]).flatten().copied().collect();
        assert_eq!(last, expected[255]);
        fragments.release(&mut again);
        fragments.release(&mut chains[255]);
        assert_eq!(fragments.memory_bytes(), 0);
    }
}
