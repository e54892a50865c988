//! Words of eight bytes, on every machine: the portable twin of the vector kernels.
//!
//! Law: a byte's answer does not reach into its neighbour's: no sum leaves its byte.

use super::Vector;

/// Eight bytes.
#[derive(Clone, Copy)]
pub(in crate::format) struct Portable(u64);

const LOW_BITS: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x80 * LOW_BITS;

/// The high bit of every byte that is zero.
#[inline(always)]
fn zero_bytes(word: u64) -> u64 {
    !(((word & !HIGH_BITS) + !HIGH_BITS) | word | !HIGH_BITS)
}

impl Portable {
    /// The high bit of every byte from `first` to `last`, both below 0x80.
    #[inline(always)]
    fn between(self, first: u8, last: u8) -> u64 {
        let low = self.0 & !HIGH_BITS;
        let from_first = low + LOW_BITS * u64::from(0x80 - first);
        let behind_last = low + LOW_BITS * u64::from(0x7f - last);
        from_first & !behind_last & !self.0 & HIGH_BITS
    }
}

impl Vector for Portable {
    const WIDTH: usize = 8;
    const SCALE: u32 = 8;

    #[inline(always)]
    fn load(bytes: &[u8]) -> Portable {
        let word = bytes.first_chunk().expect("a whole vector");
        Portable(u64::from_le_bytes(*word))
    }

    #[inline(always)]
    fn string_stop(self) -> u64 {
        self.quote_stop() | zero_bytes(self.0 & (0xe0 * LOW_BITS))
    }

    #[inline(always)]
    fn quote_stop(self) -> u64 {
        self.equal(b'"') | self.equal(b'\\')
    }

    #[inline(always)]
    fn nesting_stop(self) -> u64 {
        let upper = Portable(self.0 | (0x20 * LOW_BITS));
        self.equal(b'"') | upper.equal(b'{') | upper.equal(b'}')
    }

    #[inline(always)]
    fn scalar_stop(self) -> u64 {
        let letters = Portable(self.0 | (0x20 * LOW_BITS)).between(b'a', b'z');
        !(letters | self.between(b'-', b'9') | self.equal(b'+')) & HIGH_BITS
    }

    #[inline(always)]
    fn equal(self, byte: u8) -> u64 {
        zero_bytes(self.0 ^ (LOW_BITS * u64::from(byte)))
    }
}
