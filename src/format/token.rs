//! One field to one value: what each format may hold for each type, and what a message says when it does not.
//!
//! Law: a value is exactly what was written, or it is refused with a reason: no overflow, no rounding (a time is floored to
//! a microsecond), no number from a text and no text from a number. CSV has only text, so there the column's type decides.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use datafusion_common::arrow::datatypes::DataType;

use super::iso8601::{parse_date, parse_time, parse_timestamp};
use super::number::{Exact, Misfit, parse_integer, parse_not_finite};
use crate::config::options::TimeUnit;
use crate::plan::sql_type;

/// A field as a format holds it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Token<'a> {
    /// No value.
    Null,
    /// Text whose type the column decides, as CSV has it.
    Untyped(&'a [u8]),
    /// Text that says it is text, decoded.
    Text(&'a str),
    /// A number as written.
    Number(&'a str),
    /// True or false.
    Boolean(bool),
    /// An object or an array, as written.
    Nested(&'a str),
}

/// Why a token is no value of its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    Misfit(Misfit),
    /// NULL in a column that is NOT NULL.
    Null,
    /// NULL in the event time.
    NoEventTime,
    NotUtf8,
}

#[inline]
pub(super) fn boolean(token: Token<'_>) -> Result<bool, Wrong> {
    match token {
        Token::Boolean(value) => Ok(value),
        Token::Untyped(text) if text.eq_ignore_ascii_case(b"true") => Ok(true),
        Token::Untyped(text) if text.eq_ignore_ascii_case(b"false") => Ok(false),
        _ => Err(MALFORMED),
    }
}

#[inline]
pub(super) fn integer(token: Token<'_>) -> Result<i64, Wrong> {
    Ok(parse_integer(number(token)?)?)
}

#[inline]
pub(super) fn narrow<T: TryFrom<i64>>(value: i64) -> Result<T, Wrong> {
    T::try_from(value).map_err(|_| Wrong::Misfit(Misfit::OutOfRange))
}

#[inline]
pub(super) fn double(token: Token<'_>) -> Result<f64, Wrong> {
    if let Some(value) = not_finite(token) {
        return Ok(value);
    }
    let text = std::str::from_utf8(number(token)?).map_err(|_| MALFORMED)?;
    let value: f64 = text.parse().map_err(|_| MALFORMED)?;
    if value.is_finite() {
        Ok(value)
    } else {
        Err(infinite(text))
    }
}

#[inline]
pub(super) fn single(token: Token<'_>) -> Result<f32, Wrong> {
    if let Some(value) = not_finite(token) {
        return Ok(value as f32);
    }
    let text = std::str::from_utf8(number(token)?).map_err(|_| MALFORMED)?;
    let value: f32 = text.parse().map_err(|_| MALFORMED)?;
    if value.is_finite() {
        Ok(value)
    } else {
        Err(infinite(text))
    }
}

/// NaN and the infinities have no digits: JSON holds them as text, as we write them.
#[inline]
fn not_finite(token: Token<'_>) -> Option<f64> {
    match token {
        Token::Text(text) => parse_not_finite(text),
        Token::Untyped([b'N' | b'I' | b'-', ..]) => text(token).ok().and_then(parse_not_finite),
        _ => None,
    }
}

/// A parsed number that is not finite: one too large, or a word that the library knows and we do not.
#[cold]
fn infinite(text: &str) -> Wrong {
    if text.bytes().any(|byte| byte.is_ascii_digit()) {
        Wrong::Misfit(Misfit::OutOfRange)
    } else {
        MALFORMED
    }
}

pub(super) fn decimal(token: Token<'_>, precision: u8, scale: i8) -> Result<i128, Wrong> {
    let units = Exact::parse(number(token)?)?.units(i32::from(scale))?;
    let limit = 10u128.pow(u32::from(precision));
    if units.unsigned_abs() < limit {
        Ok(units)
    } else {
        Err(Wrong::Misfit(Misfit::OutOfRange))
    }
}

/// ISO-8601 text, or a number of `unit`s since the epoch, floored to a microsecond.
#[inline]
pub(super) fn timestamp(token: Token<'_>, unit: TimeUnit) -> Result<i64, Wrong> {
    let digits = match token {
        Token::Text(text) => return Ok(parse_timestamp(text.as_bytes())?),
        token => number(token)?,
    };
    match parse_integer(digits) {
        Ok(value) => micros(value, unit),
        Err(_) => match (token, parse_timestamp(digits)) {
            (Token::Untyped(_), Ok(micros)) => Ok(micros),
            (Token::Untyped(_), Err(Misfit::OutOfRange)) => Err(Wrong::Misfit(Misfit::OutOfRange)),
            _ => narrow_micros(Exact::parse(digits)?.units_floored(decimals(unit))?),
        },
    }
}

/// A whole number of `unit`s as microseconds, floored.
#[inline]
pub(super) fn micros(value: i64, unit: TimeUnit) -> Result<i64, Wrong> {
    let micros = match unit {
        TimeUnit::Seconds => value.checked_mul(1_000_000),
        TimeUnit::Milliseconds => value.checked_mul(1_000),
        TimeUnit::Microseconds => Some(value),
        TimeUnit::Nanoseconds => Some(value.div_euclid(1_000)),
    };
    micros.ok_or(Wrong::Misfit(Misfit::OutOfRange))
}

/// The power of ten of microseconds that a unit has.
#[inline]
fn decimals(unit: TimeUnit) -> i32 {
    match unit {
        TimeUnit::Seconds => 6,
        TimeUnit::Milliseconds => 3,
        TimeUnit::Microseconds => 0,
        TimeUnit::Nanoseconds => -3,
    }
}

fn narrow_micros(micros: i128) -> Result<i64, Wrong> {
    i64::try_from(micros).map_err(|_| Wrong::Misfit(Misfit::OutOfRange))
}

#[inline]
fn number(token: Token<'_>) -> Result<&[u8], Wrong> {
    match token {
        Token::Untyped(text) => Ok(text),
        Token::Number(text) => Ok(text.as_bytes()),
        _ => Err(MALFORMED),
    }
}

#[inline]
pub(super) fn text(token: Token<'_>) -> Result<&str, Wrong> {
    match token {
        Token::Text(text) => Ok(text),
        Token::Untyped(text) => std::str::from_utf8(text).map_err(|_| Wrong::NotUtf8),
        _ => Err(MALFORMED),
    }
}

/// Base64, decoded into `scratch`.
pub(super) fn bytes<'a>(token: Token<'_>, scratch: &'a mut Vec<u8>) -> Result<&'a [u8], Wrong> {
    scratch.clear();
    match BASE64.decode_vec(text_bytes(token)?, scratch) {
        Ok(()) => Ok(scratch),
        Err(_) => Err(MALFORMED),
    }
}

pub(super) fn date(token: Token<'_>) -> Result<i32, Wrong> {
    Ok(parse_date(text_bytes(token)?)?)
}

pub(super) fn time(token: Token<'_>) -> Result<i64, Wrong> {
    Ok(parse_time(text_bytes(token)?)?)
}

#[inline]
fn text_bytes(token: Token<'_>) -> Result<&[u8], Wrong> {
    match token {
        Token::Text(text) => Ok(text.as_bytes()),
        Token::Untyped(text) => Ok(text),
        _ => Err(MALFORMED),
    }
}

const MALFORMED: Wrong = Wrong::Misfit(Misfit::Malformed);

impl From<Misfit> for Wrong {
    fn from(misfit: Misfit) -> Wrong {
        Wrong::Misfit(misfit)
    }
}

impl Wrong {
    /// The reason, naming the column, the value (shortened) and the type.
    #[cold]
    pub(super) fn clause(self, name: &str, data_type: &DataType, token: Token<'_>) -> String {
        let type_name = sql_type(data_type);
        match self {
            Wrong::NoEventTime => format!("column {name} is NULL, but it is the event time"),
            Wrong::Null => format!("column {name} is NULL, but it is NOT NULL by declaration"),
            Wrong::NotUtf8 => format!("column {name}: {} is not UTF-8", shown(token)),
            Wrong::Misfit(Misfit::Malformed) => {
                let article = if type_name.starts_with('I') {
                    "an"
                } else {
                    "a"
                };
                format!(
                    "column {name}: {} is not {article} {type_name}",
                    shown(token)
                )
            }
            Wrong::Misfit(Misfit::OutOfRange) => {
                format!(
                    "column {name}: {} is out of range for {type_name}",
                    shown(token)
                )
            }
            Wrong::Misfit(Misfit::TooFine) => {
                format!(
                    "column {name}: {} has more fraction digits than {type_name}",
                    shown(token)
                )
            }
        }
    }
}

/// A token as a message shows it: shortened, on one line; text in quotes.
fn shown(token: Token<'_>) -> String {
    match token {
        Token::Null => "NULL".to_owned(),
        Token::Untyped(text) => format!("'{}'", shortened(&String::from_utf8_lossy(text))),
        Token::Text(text) => format!("\"{}\"", shortened(text)),
        Token::Number(text) | Token::Nested(text) => shortened(text),
        Token::Boolean(value) => value.to_string(),
    }
}

/// At most this many characters of a bad value are shown.
const SHOWN_CHARS_MAX: usize = 40;

/// The beginning of a text, with control characters escaped: what a message can hold on its one line.
pub(super) fn shortened(text: &str) -> String {
    let mut short = String::new();
    for (count, character) in text.chars().enumerate() {
        if count == SHOWN_CHARS_MAX {
            short.push('…');
            break;
        }
        if character.is_control() {
            short.extend(character.escape_default());
        } else {
            short.push(character);
        }
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(text: &str, unit: TimeUnit) -> Result<i64, ()> {
        timestamp(Token::Number(text), unit).map_err(|_| ())
    }

    #[test]
    fn a_number_in_a_timestamp_counts_its_unit_and_is_read_exactly() {
        assert_eq!(
            micros("1357034400", TimeUnit::Seconds),
            Ok(1_357_034_400_000_000)
        );
        assert_eq!(
            micros("1357034400.000001", TimeUnit::Seconds),
            Ok(1_357_034_400_000_001)
        );
        assert_eq!(
            micros("1357034400123.4569", TimeUnit::Milliseconds),
            Ok(1_357_034_400_123_456)
        );
        assert_eq!(
            micros("1.357034400123456e12", TimeUnit::Milliseconds),
            Ok(1_357_034_400_123_456)
        );
        assert_eq!(micros("-1", TimeUnit::Nanoseconds), Ok(-1));
        assert_eq!(micros("-0.1", TimeUnit::Microseconds), Ok(-1));
        // A double has 53 bits: this one would come out as ..993 through it.
        assert_eq!(
            micros("9007199254740993", TimeUnit::Microseconds),
            Ok(9_007_199_254_740_993)
        );
        assert_eq!(
            micros("9007199254740993.0", TimeUnit::Microseconds),
            Ok(9_007_199_254_740_993)
        );
        assert_eq!(
            micros("9223372036854775807", TimeUnit::Milliseconds),
            Err(())
        );
    }
}
