//! Numbers as nearly all are written: up to sixteen characters, a sign, digits, perhaps a point among them.
//!
//! ```text
//!   ...,"price":1234.515625,"q..         the sixteen bytes that end with the number (eight, if it is that short) are
//!          <--------------->             one word: what stands before it is masked off, the point is squeezed out, and
//!           16 bytes                     the digits are added up in pairs, fours, eights at once, whatever their number
//! ```
//!
//! Law: a value is exact or there is none; what is refused here is for `number` to read, digit by digit. Nothing is read
//! behind the number's end.

/// A number of at most sixteen digits: `mantissa / 10^fraction`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plain {
    negative: bool,
    mantissa: u64,
    /// Digits behind the point.
    fraction: u32,
    /// Whether a zero stands before other digits of the whole part, which JSON forbids.
    pub(super) zero_led: bool,
}

/// Reading by words of eight bytes, for most numbers, and of sixteen.
macro_rules! read_word {
    ($name:ident, $word:ty) => {
        /// Reads the `length` digits, a point perhaps among them, that end at `end`.
        #[inline(always)]
        fn $name(bytes: &[u8], end: usize, length: usize) -> Option<Digits> {
            const WIDTH: usize = size_of::<$word>();
            const LOW_BITS: $word = <$word>::MAX / 255;
            const HIGH_BITS: $word = 0x80 * LOW_BITS;
            let word = match end.checked_sub(WIDTH) {
                Some(from) => *bytes[from..end].first_chunk().expect("a whole word"),
                None => {
                    let mut padded = [0; WIDTH];
                    padded[WIDTH - length..].copy_from_slice(&bytes[end - length..end]);
                    padded
                }
            };
            // Little-endian: the first character is the lowest byte that counts, the last the highest of all.
            let ahead = 8 * (WIDTH - length) as u32;
            let word = <$word>::from_le_bytes(word) & (<$word>::MAX << ahead);
            // The high bit of every byte that is a point.
            let other = word ^ (LOW_BITS * <$word>::from(b'.'));
            let points = !(((other & !HIGH_BITS) + !HIGH_BITS) | other | !HIGH_BITS);
            let (word, digits, fraction) = if points == 0 {
                (word, length, 0)
            } else {
                let place = points.trailing_zeros() / 8;
                let fraction = WIDTH as u32 - 1 - place;
                let whole = length as u32 - 1 - fraction;
                if fraction == 0 || whole == 0 {
                    return None;
                }
                let behind = <$word>::MAX << (8 * place) << 8;
                let below = ((1 as $word) << (8 * place)) - 1;
                (
                    (word & behind) | ((word & below) << 8),
                    length - 1,
                    fraction,
                )
            };
            let ahead = 8 * (WIDTH - digits) as u32;
            let values = word ^ ((LOW_BITS * <$word>::from(b'0')) & (<$word>::MAX << ahead));
            // No byte is above nine.
            const TO_HIGH_BIT: $word = (0x80 - 10) * LOW_BITS;
            if (((values & !HIGH_BITS) + TO_HIGH_BIT) | values) & HIGH_BITS != 0 {
                return None;
            }
            Some(Digits {
                values: u128::from(values) << (128 - 8 * WIDTH),
                whole: digits as u32 - fraction,
                fraction,
            })
        }
    };
}

read_word!(read_short, u64);
read_word!(read_long, u128);

/// Digits without their point.
struct Digits {
    /// The values of sixteen digits, the first in the lowest byte, zeros before them.
    values: u128,
    /// How many stand before the point, and how many behind it.
    whole: u32,
    fraction: u32,
}

impl Plain {
    /// Reads `bytes[start..end]`, which is not empty: `-`, digits, and a point with digits on both of its sides.
    #[inline]
    pub(super) fn read(bytes: &[u8], start: usize, end: usize) -> Option<Plain> {
        let negative = bytes[start] == b'-';
        let start = start + usize::from(negative);
        let (digits, mantissa) = match end - start {
            0 => return None,
            length @ 1..=8 => {
                let digits = read_short(bytes, end, length)?;
                let mantissa = eight((digits.values >> 64) as u64);
                (digits, mantissa)
            }
            length @ 9..=16 => {
                let digits = read_long(bytes, end, length)?;
                let high = eight(digits.values as u64) * 100_000_000;
                let mantissa = high + eight((digits.values >> 64) as u64);
                (digits, mantissa)
            }
            _ => return None,
        };
        Some(Plain {
            negative,
            mantissa,
            fraction: digits.fraction,
            zero_led: digits.whole > 1 && bytes[start] == b'0',
        })
    }

    /// The value of a number without a point.
    #[inline]
    pub(super) fn integer(self) -> Option<i64> {
        let value = self.mantissa.cast_signed();
        let value = if self.negative { -value } else { value };
        (self.fraction == 0).then_some(value)
    }

    /// The nearest double. Both parts are doubles themselves, so that one division rounds once (Clinger, "How to read
    /// floating point numbers accurately", 1990).
    #[inline]
    pub(super) fn double(self) -> Option<f64> {
        const EXACT_MAX: u64 = 1 << f64::MANTISSA_DIGITS;
        if self.mantissa > EXACT_MAX {
            return None;
        }
        let value = self.mantissa as f64 / POWERS_OF_TEN[self.fraction as usize];
        Some(if self.negative { -value } else { value })
    }
}

/// Exact doubles: 10^22 is the last there is.
const POWERS_OF_TEN: [f64; 16] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
];

/// Eight digits, the first in the lowest byte, as a number: in pairs, in fours, in eights.
#[inline]
fn eight(digits: u64) -> u64 {
    const EVERY_FOURTH: u64 = 0x0000_00ff_0000_00ff;
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let upper = (pairs & EVERY_FOURTH).wrapping_mul(100 + (1_000_000 << 32));
    let lower = ((pairs >> 16) & EVERY_FOURTH).wrapping_mul(1 + (10_000 << 32));
    upper.wrapping_add(lower) >> 32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The number at several places of a longer text.
    fn read(text: &str) -> Option<Plain> {
        let placed = |before: &str, behind: &str| {
            let whole = format!("{before}{text}{behind}");
            Plain::read(whole.as_bytes(), before.len(), before.len() + text.len())
        };
        let plain = placed("", "");
        assert_eq!(placed("\"a\":", ","), plain, "{text}");
        assert_eq!(placed("{\"name.09\":012345678", "9.9"), plain, "{text}");
        plain
    }

    #[test]
    fn digits_with_a_point_are_read_and_the_rest_is_left_to_others() {
        for (text, integer, double) in [
            ("0", Some(0), 0.0),
            ("-0", Some(0), -0.0),
            ("7", Some(7), 7.0),
            (
                "-1700000000123",
                Some(-1_700_000_000_123),
                -1_700_000_000_123.0,
            ),
            ("1234.515625", None, 1234.515625),
            ("-0.1", None, -0.1),
            ("0.10", None, 0.1),
            ("12345678.12345", None, 12_345_678.123_45),
        ] {
            let plain = read(text).expect(text);
            assert_eq!(plain.integer(), integer, "{text}");
            let bits = plain.double().map(f64::to_bits);
            assert_eq!(bits, Some(f64::to_bits(double)), "{text}");
            assert!(!plain.zero_led, "{text}");
        }
        for text in [
            "-",
            ".",
            "-.5",
            ".5",
            "5.",
            "1.2.3",
            "1..2",
            "1e5",
            "+1",
            "1-",
            "--1",
            "12345678901234567",
            "x",
            "1 ",
            " 1",
            "1\u{80}",
            "0x1",
            "1/2",
            "1:",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        for text in ["00", "01", "-01.5", "007"] {
            assert!(read(text).expect(text).zero_led, "{text}");
        }
        let wide = read("9007199254740993").expect("sixteen digits");
        assert_eq!(
            (wide.integer(), wide.double()),
            (Some(9_007_199_254_740_993), None)
        );
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_the_library_reads(text in "-?[0-9]{0,17}(\\.[0-9]{0,17})?") {
            if let Some(plain) = (!text.is_empty()).then(|| read(&text)).flatten() {
                if let Some(double) = plain.double() {
                    prop_assert_eq!(double.to_bits(), text.parse::<f64>().expect("a number").to_bits());
                }
                prop_assert_eq!(plain.integer(), text.parse::<i64>().ok());
            }
        }

        #[test]
        fn no_bytes_are_taken_for_a_number(bytes in prop::collection::vec(prop::sample::select(b"0919.-+e/:\x80\x00\xb0\xff ".to_vec()), 1..18)) {
            let plain = Plain::read(&bytes, 0, bytes.len());
            let is_plain = std::str::from_utf8(&bytes).is_ok_and(|text| {
                let digits = text.strip_prefix('-').unwrap_or(text);
                let parts: Vec<&str> = digits.split('.').collect();
                digits.len() <= 16 && parts.len() <= 2
                    && parts.iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
            });
            prop_assert_eq!(plain.is_some(), is_plain);
        }
    }
}
