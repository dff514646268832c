//! Where in the 64 bits of a value its changes lie, and single floats written as changes.

use crate::ChunkError;
use crate::bits::{BitReader, BitWriter};

/// The bits of a change that are written: those between so many leading and trailing zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) leading: u8,
    pub(crate) trailing: u8,
}

impl Window {
    /// Contains no change. A reader takes it as the whole value, as Prometheus does.
    pub(crate) const NONE: Window = Window {
        leading: 0xff,
        trailing: 0,
    };

    /// What five bits can say.
    const MAX_LEADING: u32 = 31;

    /// How much too wide a window is kept. A new one costs eleven bits.
    const KEPT_SLACK_BITS: u32 = 9;

    /// How much wider than its change a window may become by growing.
    const GROWN_SLACK_BITS: u32 = 4;

    /// Bits that describe a window: five of leading zeros, six of length.
    pub(crate) const DESCRIPTION_BITS: u32 = 11;

    /// Bits before those of a change in a new window: two that say so, and its description.
    pub(crate) const NEW_BITS: u32 = 2 + Self::DESCRIPTION_BITS;

    /// The narrowest one for a change, which is not zero.
    #[inline]
    pub(crate) fn of(change: u64) -> Window {
        Window {
            leading: change.leading_zeros().min(Self::MAX_LEADING) as u8,
            trailing: change.trailing_zeros() as u8,
        }
    }

    #[inline]
    pub(crate) fn contains(self, other: Window) -> bool {
        other.leading >= self.leading && other.trailing >= self.trailing
    }

    /// The narrowest one that contains both.
    pub(crate) fn joined(self, other: Window) -> Window {
        Window {
            leading: self.leading.min(other.leading),
            trailing: self.trailing.min(other.trailing),
        }
    }

    /// The window to introduce for a change, which lies in `own`; `None` to go on with this one.
    ///
    /// A window stays while it is not much too wide for the change, and one that is too narrow grows
    /// rather than moves. Prometheus keeps a window while it contains the change, and moves it
    /// else, which takes 2 to 5 % more.
    #[inline]
    pub(crate) fn next(self, own: Window) -> Option<Window> {
        let most_bits = own.length() + Self::KEPT_SLACK_BITS;
        if self.contains(own) && self.length() <= most_bits {
            return None;
        }
        let joined = self.joined(own);
        let grows = !self.contains(own)
            && self != Window::NONE
            && joined.length() <= own.length() + Self::GROWN_SLACK_BITS;
        Some(if grows { joined } else { own })
    }

    /// Bits in it: 64 for `NONE`.
    #[inline]
    pub(crate) fn length(self) -> u32 {
        if self == Window::NONE {
            return 64;
        }
        64 - u32::from(self.leading) - u32::from(self.trailing)
    }

    /// What a new window begins with, as 13 bits with the mark `11` in front.
    #[inline]
    pub(crate) fn head(self) -> u64 {
        0b11 << Self::DESCRIPTION_BITS | self.description()
    }

    /// Five bits of leading zeros and six of length.
    #[inline]
    pub(crate) fn description(self) -> u64 {
        // 64 doesn't fit; 0 stands for it.
        u64::from(self.leading) << 6 | u64::from(self.length() & 63)
    }

    /// From the five bits of leading zeros and six of length.
    #[inline]
    pub(crate) fn parse(eleven_bits: u64) -> Result<Window, ChunkError> {
        let leading = (eleven_bits >> 6) as u8 & 31;
        let length = match eleven_bits as u8 & 63 {
            0 => 64,
            length => length,
        };
        match 64u8.checked_sub(leading + length) {
            Some(trailing) => Ok(Window { leading, trailing }),
            None => Err(ChunkError::Window),
        }
    }
}

/// A float of a histogram, written as the change since the former one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct XorValue {
    pub(crate) bits: u64,
    window: Window,
}

impl XorValue {
    pub(crate) fn new(bits: u64) -> Self {
        XorValue {
            bits,
            window: Window::NONE,
        }
    }

    pub(crate) fn value(self) -> f64 {
        f64::from_bits(self.bits)
    }

    /// Says whether the value changed.
    pub(crate) fn read(&mut self, reader: &mut BitReader<'_>) -> Result<bool, ChunkError> {
        let next = reader.peek();
        if next >> 63 == 0 {
            reader.skip(1);
            return Ok(false);
        }
        if next >> 62 == 0b10 {
            reader.skip(2);
        } else {
            self.window = Window::parse(next >> 51)?;
            reader.skip(Window::NEW_BITS);
        }
        let change = reader.read(self.window.length()) << self.window.trailing;
        self.bits ^= change;
        Ok(change != 0)
    }

    pub(crate) fn write(&mut self, bits: u64, writer: &mut BitWriter) {
        let change = bits ^ self.bits;
        self.bits = bits;
        if change == 0 {
            return writer.write(0, 1);
        }
        match self.window.next(Window::of(change)) {
            None => writer.write(0b10, 2),
            Some(window) => {
                self.window = window;
                writer.write(window.head(), Window::NEW_BITS);
            }
        }
        writer.write(change >> self.window.trailing, self.window.length());
    }
}
