//! Numbers as text: reading them exactly, writing them short.
//!
//! Law: what is read is exactly what the digits say, or it is refused; nothing goes through a double on its way to an
//! integer, a decimal or a time. What is written reads back as the same value.

use std::io::Write;

/// Why a text is no value of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Misfit {
    /// It is not written like one.
    Malformed,
    /// It is one, but too far out.
    OutOfRange,
    /// It has digits finer than the type holds.
    TooFine,
}

/// Reads `[+-]digits`; a fraction or an exponent makes it no integer, whatever its value.
#[inline]
pub(super) fn parse_integer(text: &[u8]) -> Result<i64, Misfit> {
    let (negative, digits) = split_sign(text);
    if digits.is_empty() {
        return Err(Misfit::Malformed);
    }
    let mut value: u64 = 0;
    // Eighteen digits cannot overflow; this is nearly every number there is.
    if digits.len() <= 18 {
        for &byte in digits {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                return Err(Misfit::Malformed);
            }
            value = value * 10 + u64::from(digit);
        }
        let value = value as i64;
        return Ok(if negative { -value } else { value });
    }
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(Misfit::Malformed);
    }
    for &byte in digits {
        value = value
            .checked_mul(10)
            .and_then(|tens| tens.checked_add(u64::from(byte - b'0')))
            .ok_or(Misfit::OutOfRange)?;
    }
    if negative {
        0i64.checked_sub_unsigned(value).ok_or(Misfit::OutOfRange)
    } else {
        i64::try_from(value).map_err(|_| Misfit::OutOfRange)
    }
}

/// A decimal number as written: `mantissa * 10^exponent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exact {
    negative: bool,
    mantissa: u128,
    exponent: i32,
}

impl Exact {
    /// Reads `[+-]digits[.digits][e[+-]digits]` with a digit on at least one side of the point.
    pub(super) fn parse(text: &[u8]) -> Result<Exact, Misfit> {
        let (negative, text) = split_sign(text);
        let whole = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (whole, rest) = text.split_at(whole);
        let (fraction, rest) = match rest.split_first() {
            Some((b'.', after)) => {
                let fraction = after
                    .iter()
                    .take_while(|byte| byte.is_ascii_digit())
                    .count();
                after.split_at(fraction)
            }
            _ => (&[][..], rest),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(Misfit::Malformed);
        }
        let exponent = match rest.split_first() {
            None => 0,
            Some((b'e' | b'E', digits)) => match parse_integer(digits) {
                Ok(exponent) => exponent.clamp(-EXPONENT_LIMIT, EXPONENT_LIMIT) as i32,
                Err(Misfit::OutOfRange) if digits.first() == Some(&b'-') => -EXPONENT_LIMIT as i32,
                Err(Misfit::OutOfRange) => EXPONENT_LIMIT as i32,
                Err(misfit) => return Err(misfit),
            },
            Some(_) => return Err(Misfit::Malformed),
        };

        // Zeros are carried into the mantissa only once a digit follows them, so that trailing ones cost no range.
        let mut mantissa: u128 = 0;
        let mut zeros: u32 = 0;
        let mut append = |byte: u8, misfit: Misfit| {
            if byte == b'0' {
                zeros += u32::from(mantissa != 0);
                return Ok(());
            }
            mantissa = 10u128
                .checked_pow(zeros + 1)
                .and_then(|power| mantissa.checked_mul(power))
                .and_then(|shifted| shifted.checked_add(u128::from(byte - b'0')))
                .ok_or(misfit)?;
            zeros = 0;
            Ok(())
        };
        for &byte in whole {
            append(byte, Misfit::OutOfRange)?;
        }
        for &byte in fraction {
            append(byte, Misfit::TooFine)?;
        }
        let point = i32::try_from(fraction.len()).map_err(|_| Misfit::TooFine)?;
        let zeros = i32::try_from(zeros).map_err(|_| Misfit::OutOfRange)?;
        Ok(Exact {
            negative,
            mantissa,
            exponent: exponent.saturating_add(zeros).saturating_sub(point),
        })
    }

    /// The number of units of `10^-scale`, if it is a whole number of them.
    pub(super) fn units(self, scale: i32) -> Result<i128, Misfit> {
        match self.divide(scale)? {
            (units, true) => Ok(units),
            (_, false) => Err(Misfit::TooFine),
        }
    }

    /// The number of whole units of `10^-scale`, towards minus infinity.
    pub(super) fn units_floored(self, scale: i32) -> Result<i128, Misfit> {
        match self.divide(scale)? {
            (units, false) if self.negative => Ok(units - 1),
            (units, _) => Ok(units),
        }
    }

    /// Units of `10^-scale` towards zero, and whether nothing was left over.
    fn divide(self, scale: i32) -> Result<(i128, bool), Misfit> {
        let shift = self.exponent.saturating_add(scale);
        let power = 10u128.checked_pow(shift.unsigned_abs());
        let (units, whole) = match power {
            _ if self.mantissa == 0 => (0, true),
            Some(power) if shift >= 0 => {
                let units = self.mantissa.checked_mul(power);
                (units.ok_or(Misfit::OutOfRange)?, true)
            }
            Some(power) => (self.mantissa / power, self.mantissa.is_multiple_of(power)),
            None if shift >= 0 => return Err(Misfit::OutOfRange),
            None => (0, false),
        };
        let units = i128::try_from(units).map_err(|_| Misfit::OutOfRange)?;
        Ok((if self.negative { -units } else { units }, whole))
    }
}

/// Beyond it no exponent makes a difference to any type.
const EXPONENT_LIMIT: i64 = 1 << 20;

#[inline]
fn split_sign(text: &[u8]) -> (bool, &[u8]) {
    match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, text),
    }
}

/// Appends the first `length` bytes of `padded`: a copy of a fixed size is a few moves, one of any size a call.
#[inline(always)]
pub(super) fn push_padded<const N: usize>(out: &mut Vec<u8>, padded: &[u8; N], length: usize) {
    debug_assert!(length <= N, "nothing is made up");
    let end = out.len() + length;
    out.extend_from_slice(padded);
    out.truncate(end);
}

/// Appends an integer.
#[inline]
pub(super) fn write_integer(out: &mut Vec<u8>, value: i64) {
    write_signed(out, value < 0, value.unsigned_abs());
}

/// Appends an unsigned integer.
#[inline]
pub(super) fn write_unsigned(out: &mut Vec<u8>, value: u64) {
    write_signed(out, false, value);
}

/// Digits of the longest integer and its sign.
const INTEGER_BYTES_MAX: usize = 20;

#[inline]
fn write_signed(out: &mut Vec<u8>, negative: bool, mut value: u64) {
    // Right to left, so that as many bytes as the longest takes can be copied from wherever the first digit is.
    let mut digits = [0u8; 2 * INTEGER_BYTES_MAX];
    let mut start = INTEGER_BYTES_MAX;
    while value >= 100 {
        start -= 2;
        digits[start..start + 2].copy_from_slice(&pair((value % 100) as usize));
        value /= 100;
    }
    if value >= 10 {
        start -= 2;
        digits[start..start + 2].copy_from_slice(&pair(value as usize));
    } else {
        start -= 1;
        digits[start] = b'0' + value as u8;
    }
    if negative {
        start -= 1;
        digits[start] = b'-';
    }
    let written: &[u8; INTEGER_BYTES_MAX] = digits[start..]
        .first_chunk()
        .expect("twice the room of an integer");
    push_padded(out, written, INTEGER_BYTES_MAX - start);
}

/// Appends `value`, which must be below 100, as two digits.
#[inline]
pub(super) fn write_pair(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&pair(value as usize));
}

/// Appends a number of `10^-scale` units, with exactly `scale` digits behind the point.
pub(super) fn write_decimal(out: &mut Vec<u8>, units: i128, scale: usize) {
    if units < 0 {
        out.push(b'-');
    }
    let start = out.len();
    match u64::try_from(units.unsigned_abs()) {
        Ok(units) => write_unsigned(out, units),
        Err(_) => write!(out, "{}", units.unsigned_abs()).expect("a Vec takes every byte"),
    }
    if scale > 0 {
        let digits = out.len() - start;
        if digits <= scale {
            out.splice(start..start, std::iter::repeat_n(b'0', scale + 1 - digits));
        }
        out.insert(out.len() - scale, b'.');
    }
}

/// Appends a double, the shortest text that reads back as the same value; NaN and the infinities as words.
#[inline]
pub(super) fn write_double(out: &mut Vec<u8>, value: f64) {
    if value.is_finite() {
        out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
    } else {
        out.extend_from_slice(not_finite(value).as_bytes());
    }
}

/// Appends a single, the shortest text that reads back as the same value; NaN and the infinities as words.
#[inline]
pub(super) fn write_single(out: &mut Vec<u8>, value: f32) {
    if value.is_finite() {
        out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
    } else {
        out.extend_from_slice(not_finite(f64::from(value)).as_bytes());
    }
}

/// The word for a value that has no digits.
fn not_finite(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

/// Reads one of the words of `not_finite`.
pub(super) fn parse_not_finite(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// `value`, which must be below 100, as two digits.
#[inline]
pub(super) fn pair_of(value: u32) -> [u8; 2] {
    pair(value as usize)
}

#[inline]
fn pair(value: usize) -> [u8; 2] {
    PAIRS[value]
}

/// "00" to "99".
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut value = 0;
    while value < 100 {
        pairs[value] = [b'0' + (value / 10) as u8, b'0' + (value % 10) as u8];
        value += 1;
    }
    pairs
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_integer_is_a_sign_and_digits_within_its_range() {
        for (text, value) in [
            ("0", 0),
            ("-0", 0),
            ("+7", 7),
            ("007", 7),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(parse_integer(text.as_bytes()), Ok(value), "{text}");
        }
        for text in [
            "",
            "-",
            "1.0",
            "1e3",
            " 1",
            "1 ",
            "x",
            "--1",
            "0x10",
            "123456789012345678x0",
        ] {
            assert_eq!(
                parse_integer(text.as_bytes()),
                Err(Misfit::Malformed),
                "{text}"
            );
        }
        for text in [
            "9223372036854775808",
            "-9223372036854775809",
            "99999999999999999999999",
        ] {
            assert_eq!(
                parse_integer(text.as_bytes()),
                Err(Misfit::OutOfRange),
                "{text}"
            );
        }
    }

    #[test]
    fn a_decimal_is_read_exactly_or_refused() {
        let units =
            |text: &str, scale| Exact::parse(text.as_bytes()).and_then(|exact| exact.units(scale));
        assert_eq!(units("1.10", 2), Ok(110));
        assert_eq!(units("-0.01", 2), Ok(-1));
        assert_eq!(
            units("1.2300000000000000000000000000000000000000000000", 2),
            Ok(123)
        );
        assert_eq!(units("1.234", 2), Err(Misfit::TooFine));
        assert_eq!(units("12e-1", 1), Ok(12));
        assert_eq!(units("1e3", 0), Ok(1000));
        assert_eq!(units("0e999999999999999999999", 2), Ok(0));
        assert_eq!(units("1e99", 0), Err(Misfit::OutOfRange));
        assert_eq!(units("1e-99", 2), Err(Misfit::TooFine));
        assert_eq!(units(".5", 1), Ok(5));
        assert_eq!(units("5.", 1), Ok(50));
        for text in ["", ".", "-", "e5", "1e", "1.2.3", "1,2", "NaN"] {
            assert_eq!(units(text, 2), Err(Misfit::Malformed), "{text}");
        }
    }

    #[test]
    fn a_remainder_is_floored_also_below_zero() {
        let floored =
            |text: &str| Exact::parse(text.as_bytes()).and_then(|exact| exact.units_floored(0));
        assert_eq!(floored("1.9"), Ok(1));
        assert_eq!(floored("-1.1"), Ok(-2));
        assert_eq!(floored("-1.0"), Ok(-1));
        assert_eq!(floored("-1e-99"), Ok(-1));
    }

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("ASCII")
    }

    proptest! {
        #[test]
        fn an_integer_reads_back(value: i64) {
            let text = written(|out| write_integer(out, value));
            prop_assert_eq!(&text, &value.to_string());
            prop_assert_eq!(parse_integer(text.as_bytes()), Ok(value));
        }

        #[test]
        fn a_decimal_reads_back(value in -(10i128.pow(38) - 1)..10i128.pow(38), scale in 0usize..38) {
            let text = written(|out| write_decimal(out, value, scale));
            prop_assert_eq!(Exact::parse(text.as_bytes()).and_then(|exact| exact.units(scale as i32)), Ok(value));
        }

        #[test]
        fn a_double_reads_back(bits: u64) {
            let value = f64::from_bits(bits);
            let text = written(|out| write_double(out, value));
            if value.is_finite() {
                // The spelling of rows is a promise: it is that of serde_json.
                prop_assert_eq!(&text, &serde_json::to_string(&value).expect("a number"));
            }
            match parse_not_finite(&text) {
                Some(word) => prop_assert!(word.is_nan() == value.is_nan() && (word == value || value.is_nan())),
                None => prop_assert_eq!(text.parse::<f64>().expect("a number").to_bits(), bits),
            }
        }
    }
}
