//! The first byte of a class in a record: what the scanners of JSON and CSV and the encoders spend their time on.
//!
//! ```text
//!   record  ...,"symbol":"SYM0007","price":123.453125,...
//!                         ^ from   ^ string_stop       vectors of 32 or 16 bytes, or words of 8; the last one reaches
//!                                                      back over what was seen, so that nothing is read past the end
//! ```
//!
//! Law: every kernel gives the same answers; which one runs is decided once, when a decoder or an encoder is made.
//! Record by record there is no dispatch within a scan: a scan is compiled once for each kernel.

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(super) use portable::Portable;
#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Sse2};

/// Which kernel runs. There is none but what `detect` gives: code that was compiled for vectors of 32 bytes must not run
/// on a machine without them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel(pub(super) Width);

/// What a kernel looks at together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    /// Words of eight bytes, on every machine.
    Portable,
    /// Vectors of sixteen bytes, which every x86-64 has.
    #[cfg(target_arch = "x86_64")]
    Sse2,
    /// Vectors of thirty-two bytes.
    #[cfg(target_arch = "x86_64")]
    Avx2,
}

impl Kernel {
    /// The widest kernel of this machine; the portable one if `simd` is false.
    pub fn detect(simd: bool) -> Kernel {
        #[cfg(target_arch = "x86_64")]
        if simd {
            return Kernel(match is_avx2_there() {
                true => Width::Avx2,
                false => Width::Sse2,
            });
        }
        let _ = simd;
        Kernel(Width::Portable)
    }
}

/// Whether this machine has everything that code for [`Avx2`] is compiled with.
#[cfg(target_arch = "x86_64")]
fn is_avx2_there() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("lzcnt")
}

/// Bytes that are looked at together.
///
/// # Contract
/// 1. `load` takes exactly `WIDTH` bytes (it panics on fewer: who calls it slices).
/// 2. A class gives `SCALE` bits for each byte, the first byte's lowest; some are set for a byte of the class and none for
///    any other, whatever stands beside it (the implementation; the tests hold each kernel to a plain loop).
pub(super) trait Vector: Copy {
    /// Bytes of one vector.
    const WIDTH: usize;
    /// Bits of a mask for one byte.
    const SCALE: u32;
    /// The vector of the first `WIDTH` bytes.
    fn load(bytes: &[u8]) -> Self;
    /// A quote, a backslash or a control character: where a JSON string is no longer plain.
    fn string_stop(self) -> u64;
    /// A quote or a backslash.
    fn quote_stop(self) -> u64;
    /// A quote or a bracket of any kind.
    fn nesting_stop(self) -> u64;
    /// None of `A`-`Z` `a`-`z` `0`-`9` `+` `-` `.` `/`: where a JSON number or word has ended.
    fn scalar_stop(self) -> u64;
    /// A quote.
    #[inline(always)]
    fn quote(self) -> u64 {
        self.equal(b'"')
    }
    /// A given byte.
    fn equal(self, byte: u8) -> u64;
}

/// The same in less than a vector, from `at` on.
macro_rules! find_in_rest {
    ($record:expr, $at:expr, $class:ident) => {{
        let (record, at): (&[u8], usize) = ($record, $at);
        let rest = record.len() - at;
        // The last vector of the record, without what lies before `at`.
        let mask = if rest == 0 {
            0
        } else if record.len() >= V::WIDTH {
            let last = V::load(&record[record.len() - V::WIDTH..]).$class();
            last >> ((V::WIDTH - rest) as u32 * V::SCALE)
        } else {
            let mut padded = [0; WIDTH_MAX];
            padded[..rest].copy_from_slice(&record[at..]);
            V::load(&padded).$class() & ((1 << (rest as u32 * V::SCALE)) - 1)
        };
        match mask {
            0 => record.len(),
            mask => at + (mask.trailing_zeros() / V::SCALE) as usize,
        }
    }};
}

/// Where the first byte of a class stands, from `from` on; the record's length if none does.
macro_rules! find {
    ($record:expr, $from:expr, $class:ident) => {{
        let (record, from) = ($record, $from);
        debug_assert!(from <= record.len(), "a search starts within its record");
        let mut at = from;
        loop {
            if record.len() - at < V::WIDTH {
                break find_in_rest!(record, at, $class);
            }
            let mask = V::load(&record[at..]).$class();
            if mask != 0 {
                break at + (mask.trailing_zeros() / V::SCALE) as usize;
            }
            at += V::WIDTH;
        }
    }};
}

/// A class by its name, so that no function is passed: a call through one would not be compiled for the kernel's machine.
macro_rules! stop {
    ($about:literal, $name:ident) => {
        #[doc = $about]
        #[inline(always)]
        pub(super) fn $name<V: Vector>(record: &[u8], from: usize) -> usize {
            find!(record, from, $name)
        }
    };
}

stop!(
    "Where the first quote, backslash or control character stands, from `from` on; the record's length if none does.",
    string_stop
);
stop!("Where the first quote or backslash stands.", quote_stop);
stop!("Where the first quote stands.", quote);
stop!("Where the first quote or bracket stands.", nesting_stop);
stop!(
    "Where the first byte stands that no number or word has.",
    scalar_stop
);

/// Calls `each` with the position of every byte of `record` that equals `byte`, ascending.
#[inline(always)]
pub(super) fn each_equal<V: Vector>(record: &[u8], byte: u8, mut each: impl FnMut(usize)) {
    let mut take = |base: usize, mut mask: u64| {
        while mask != 0 {
            let bit = mask.trailing_zeros();
            each(base + (bit / V::SCALE) as usize);
            mask &= mask - 1;
        }
    };
    let mut at = 0;
    while record.len() - at >= V::WIDTH {
        take(at, V::load(&record[at..]).equal(byte));
        at += V::WIDTH;
    }
    let rest = record.len() - at;
    if rest > 0 {
        let mut padded = [0; WIDTH_MAX];
        padded[..rest].copy_from_slice(&record[at..]);
        take(
            at,
            V::load(&padded).equal(byte) & ((1 << (rest as u32 * V::SCALE)) - 1),
        );
    }
}

/// The widest vector of any kernel.
const WIDTH_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn positions<V: Vector>(record: &[u8], from: usize) -> [usize; 4] {
        [
            string_stop::<V>(record, from),
            quote_stop::<V>(record, from),
            nesting_stop::<V>(record, from),
            scalar_stop::<V>(record, from),
        ]
    }

    fn by_plain_loop(record: &[u8], from: usize) -> [usize; 4] {
        let first = |class: &dyn Fn(u8) -> bool| {
            let found = record[from..].iter().position(|&byte| class(byte));
            found.map_or(record.len(), |offset| from + offset)
        };
        [
            first(&|byte| byte < 0x20 || byte == b'"' || byte == b'\\'),
            first(&|byte| byte == b'"' || byte == b'\\'),
            first(&|byte| b"\"{}[]".contains(&byte)),
            first(&|byte| !byte.is_ascii_alphanumeric() && !b"+-./".contains(&byte)),
        ]
    }

    fn hold<V: Vector>(record: &[u8]) {
        for from in 0..=record.len() {
            assert_eq!(
                positions::<V>(record, from),
                by_plain_loop(record, from),
                "{record:?} from {from}"
            );
        }
        for byte in *b",\"\x80\x2d" {
            let mut found = Vec::new();
            each_equal::<V>(record, byte, |position| found.push(position));
            let expected: Vec<usize> = (0..record.len()).filter(|&i| record[i] == byte).collect();
            assert_eq!(found, expected, "{record:?}");
        }
    }

    fn hold_all(record: &[u8]) {
        hold::<Portable>(record);
        #[cfg(target_arch = "x86_64")]
        {
            hold::<Sse2>(record);
            if is_avx2_there() {
                hold::<Avx2>(record);
            }
        }
    }

    #[test]
    fn every_byte_is_classed_alike_wherever_it_stands() {
        for byte in 0..=u8::MAX {
            for length in [1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 40] {
                for place in [0, length / 2, length - 1] {
                    let mut record = vec![b'a'; length];
                    record[place] = byte;
                    hold_all(&record);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn every_kernel_finds_what_a_plain_loop_finds(
            record in prop::collection::vec(prop::sample::select(b"a0\"\\{}[],\x00\x1f\x20\x7f\x80\xa2\xff./:+-@`\xac".to_vec()), 0..80)
        ) {
            hold_all(&record);
        }
    }
}
