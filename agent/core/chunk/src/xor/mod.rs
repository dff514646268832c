//! Prometheus's XOR encoding of float samples.
//!
//! A chunk is its sample count in two bytes, most significant first, then a stream of bits:
//!
//! - first sample: time as a zigzag varint, value as 64 bits;
//! - second: its time less the first as an unsigned varint, then the value's change;
//! - others: how much the distance in time changed, as `0` for not at all, `10` and 14 bits, `110`
//!   and 17 bits, `1110` and 20 bits, or `1111` and 64 bits, then the value's change.
//!
//! A value's change is its bits XOR those before: `0` for none; `10` and the bits of the window
//! that the change before lay in; `11`, five bits of leading zeros, six bits of length (0 stands for
//! 64) and that many bits, which are the new window. Before the first window it is the whole value.
//!
//! Times and distances wrap around, so that every pair of timestamps can be written.

mod column;
mod decode;
mod plan;
mod state;

pub use column::{XorEncoder, encode_xor};
pub(crate) use decode::decode;
pub use state::{Reopened, STATE_BYTES as XOR_STATE_BYTES, XorState};

/// Bytes of the sample count.
const COUNT_BYTES: usize = 2;

/// Ones in the prefix (a zero follows them) and bits of the number after it.
const DISTANCE_BITS: [(u32, u32); 3] = [(1, 14), (2, 17), (3, 20)];

/// Calls `write` with the bits that say how much the distance in time changed, and their number.
#[inline]
fn distance_change_bits(change: i64, mut write: impl FnMut(u64, u32)) {
    if change == 0 {
        return write(0, 1);
    }
    for (ones, bits) in DISTANCE_BITS {
        let highest = 1i64 << (bits - 1);
        if (1 - highest..=highest).contains(&change) {
            let mark = ((1u64 << ones) - 1) << 1;
            let low = change as u64 & ((1 << bits) - 1);
            return write(mark << bits | low, ones + 1 + bits);
        }
    }
    write(0b1111, 4);
    write(change as u64, 64);
}
