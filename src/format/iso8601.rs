//! TIMESTAMP, DATE and TIME as ISO-8601 text, read and written by hand because every record has one.
//!
//! ```text
//!   2013-01-01T10:00:00.25+02:00      a zone or `Z`; none means UTC      a space may stand for the T
//!   2013-01-01                        midnight UTC                       +12013-01-01, -0044-03-15: years of any length
//! ```
//!
//! Law: what is written reads back as the same value, over the whole range of the type. Digits finer than a microsecond
//! are floored. There is no leap second and no hour 24.

use super::number::{Misfit, pair_of, write_pair, write_unsigned};

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
const MICROS_PER_DAY: i64 = SECONDS_PER_DAY * MICROS_PER_SECOND;

/// Reads a TIMESTAMP: microseconds since the epoch.
#[inline]
pub(super) fn parse_timestamp(text: &[u8]) -> Result<i64, Misfit> {
    let (days, rest) = split_date(text)?;
    let (micros, offset_seconds) = match rest.split_first() {
        None => (0, 0),
        Some((b'T' | b't' | b' ', rest)) => {
            let (micros, zone) = split_time(rest)?;
            (micros, parse_zone(zone)?)
        }
        Some(_) => return Err(Misfit::Malformed),
    };
    // In 128 bits: at the edges of the range the parts may lie outside it while the sum does not.
    let micros = i128::from(days) * i128::from(MICROS_PER_DAY) + i128::from(micros)
        - i128::from(offset_seconds) * i128::from(MICROS_PER_SECOND);
    i64::try_from(micros).map_err(|_| Misfit::OutOfRange)
}

/// Reads a DATE: days since the epoch.
pub(super) fn parse_date(text: &[u8]) -> Result<i32, Misfit> {
    match split_date(text)? {
        (days, []) => i32::try_from(days).map_err(|_| Misfit::OutOfRange),
        _ => Err(Misfit::Malformed),
    }
}

/// Reads a TIME: microseconds since midnight.
pub(super) fn parse_time(text: &[u8]) -> Result<i64, Misfit> {
    match split_time(text)? {
        (micros, []) => Ok(micros),
        _ => Err(Misfit::Malformed),
    }
}

/// Appends a TIMESTAMP as `YYYY-MM-DDTHH:MM:SS[.ffffff]Z`.
#[inline]
pub fn write_timestamp(out: &mut Vec<u8>, micros: i64) {
    write_timestamp_near(out, micros, &mut LastDay::default());
}

/// The day that was written last, as text: most timestamps of a column share their day with the one before.
#[derive(Clone, Copy, Default)]
pub(super) struct LastDay {
    /// Days since the epoch.
    day: i64,
    /// `YYYY-MM-DD`; zeros if there is none.
    text: [u8; 10],
}

/// Appends a TIMESTAMP, whose day may be `last`.
#[inline]
pub(super) fn write_timestamp_near(out: &mut Vec<u8>, micros: i64, last: &mut LastDay) {
    let day = micros.div_euclid(MICROS_PER_DAY);
    if last.day == day && last.text[0] != 0 {
        out.extend_from_slice(&last.text);
    } else {
        let start = out.len();
        write_civil(out, day);
        if let Some(text) = out[start..].as_array() {
            *last = LastDay { day, text: *text };
        }
    }
    let micros = micros.rem_euclid(MICROS_PER_DAY);
    let seconds = (micros / MICROS_PER_SECOND) as u32;
    let [h, i] = pair_of(seconds / 3600);
    let [m, n] = pair_of(seconds / 60 % 60);
    let [s, t] = pair_of(seconds % 60);
    out.extend_from_slice(&[b'T', h, i, b':', m, n, b':', s, t]);
    let fraction = (micros % MICROS_PER_SECOND) as u32;
    if fraction != 0 {
        write_fraction(out, fraction);
    }
    out.push(b'Z');
}

/// Appends a DATE as `YYYY-MM-DD`.
pub(super) fn write_date(out: &mut Vec<u8>, days: i32) {
    write_civil(out, i64::from(days));
}

/// Appends a TIME as `HH:MM:SS[.ffffff]`.
#[inline]
pub(super) fn write_time(out: &mut Vec<u8>, micros: i64) {
    debug_assert!(
        (0..MICROS_PER_DAY).contains(&micros),
        "a time of day lies within a day"
    );
    let seconds = (micros / MICROS_PER_SECOND) as u32;
    write_pair(out, seconds / 3600);
    out.push(b':');
    write_pair(out, seconds / 60 % 60);
    out.push(b':');
    write_pair(out, seconds % 60);
    let fraction = (micros % MICROS_PER_SECOND) as u32;
    if fraction != 0 {
        write_fraction(out, fraction);
    }
}

#[inline]
fn write_fraction(out: &mut Vec<u8>, micros: u32) {
    let [a, b] = pair_of(micros / 10_000);
    let [c, d] = pair_of(micros / 100 % 100);
    let [e, f] = pair_of(micros % 100);
    out.extend_from_slice(&[b'.', a, b, c, d, e, f]);
}

fn write_civil(out: &mut Vec<u8>, days: i64) {
    let (year, month, day) = civil(days);
    if (0..=9999).contains(&year) {
        write_pair(out, (year / 100) as u32);
        write_pair(out, (year % 100) as u32);
    } else {
        out.push(if year < 0 { b'-' } else { b'+' });
        let year = year.unsigned_abs();
        for power in [1000, 100, 10] {
            if year < power {
                out.push(b'0');
            }
        }
        write_unsigned(out, year);
    }
    out.push(b'-');
    write_pair(out, month);
    out.push(b'-');
    write_pair(out, day);
}

/// Takes `YYYY-MM-DD` off the front: days since the epoch, and the rest.
#[inline]
fn split_date(text: &[u8]) -> Result<(i64, &[u8]), Misfit> {
    let (year, rest) = match text.split_first() {
        Some((sign @ (b'+' | b'-'), digits)) => {
            let length = digits
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .count();
            if !(4..=YEAR_DIGITS_MAX).contains(&length) {
                return Err(Misfit::Malformed);
            }
            let (digits, rest) = digits.split_at(length);
            let year = digits
                .iter()
                .fold(0, |year, digit| year * 10 + i64::from(digit - b'0'));
            (if *sign == b'-' { -year } else { year }, rest)
        }
        _ => {
            let (year, rest) = text.split_at_checked(4).ok_or(Misfit::Malformed)?;
            (i64::from(two(&year[..2])? * 100 + two(&year[2..])?), rest)
        }
    };
    let (rest, after) = rest.split_at_checked(6).ok_or(Misfit::Malformed)?;
    if rest[0] != b'-' || rest[3] != b'-' {
        return Err(Misfit::Malformed);
    }
    let month = two(&rest[1..3])?;
    let day = two(&rest[4..6])?;
    if !(1..=12).contains(&month) || day == 0 || day > days_in_month(year, month) {
        return Err(Misfit::OutOfRange);
    }
    Ok((days(year, month, day), after))
}

/// Takes `HH:MM[:SS[.f..]]` off the front: microseconds since midnight, and the rest.
#[inline]
fn split_time(text: &[u8]) -> Result<(i64, &[u8]), Misfit> {
    let (clock, mut rest) = text.split_at_checked(5).ok_or(Misfit::Malformed)?;
    if clock[2] != b':' {
        return Err(Misfit::Malformed);
    }
    let hour = two(&clock[..2])?;
    let minute = two(&clock[3..])?;
    let mut second = 0;
    let mut fraction = 0;
    if let [b':', tens, units, after @ ..] = rest {
        second = two(&[*tens, *units])?;
        rest = after;
        if let [b'.', digits @ ..] = rest {
            let length = digits
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .count();
            if length == 0 {
                return Err(Misfit::Malformed);
            }
            // The first six digits, the missing ones as zeros; finer ones are floored.
            let six = digits[..length].iter().chain([b'0'; 6].iter()).take(6);
            fraction = six.fold(0, |micros, digit| micros * 10 + i64::from(digit - b'0'));
            rest = &digits[length..];
        }
    }
    if hour > 23 || minute > 59 || second > 59 {
        return Err(Misfit::OutOfRange);
    }
    let seconds = i64::from(hour * 3600 + minute * 60 + second);
    Ok((seconds * MICROS_PER_SECOND + fraction, rest))
}

/// Reads what follows the time: nothing, `Z`, `+HH`, `+HHMM` or `+HH:MM`; seconds east of UTC.
#[inline]
fn parse_zone(zone: &[u8]) -> Result<i64, Misfit> {
    let (sign, hour, minute) = match zone {
        [] | [b'Z' | b'z'] => return Ok(0),
        [sign @ (b'+' | b'-'), rest @ ..] => match rest {
            [_, _] => (sign, two(rest)?, 0),
            [_, _, _, _] => (sign, two(&rest[..2])?, two(&rest[2..])?),
            [_, _, b':', _, _] => (sign, two(&rest[..2])?, two(&rest[3..])?),
            _ => return Err(Misfit::Malformed),
        },
        _ => return Err(Misfit::Malformed),
    };
    if hour > 23 || minute > 59 {
        return Err(Misfit::OutOfRange);
    }
    let seconds = i64::from(hour * 3600 + minute * 60);
    Ok(if *sign == b'-' { -seconds } else { seconds })
}

#[inline]
fn two(digits: &[u8]) -> Result<u32, Misfit> {
    let tens = digits[0].wrapping_sub(b'0');
    let units = digits[1].wrapping_sub(b'0');
    if tens > 9 || units > 9 {
        return Err(Misfit::Malformed);
    }
    Ok(u32::from(tens * 10 + units))
}

/// Enough for every year that DATE holds.
const YEAR_DIGITS_MAX: usize = 7;

fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since the epoch of a date in the proleptic Gregorian calendar. Years are counted from March, so that the leap
/// day is the last of its year, and in eras of 400, which all have the same length.
#[inline]
fn days(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = i64::from((month + 9) % 12);
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * DAYS_PER_ERA + day_of_era - EPOCH_FROM_ERA_ZERO
}

/// The inverse of `days`: year, month, day.
#[inline]
fn civil(days: i64) -> (i64, u32, u32) {
    let days = days + EPOCH_FROM_ERA_ZERO;
    let era = days.div_euclid(DAYS_PER_ERA);
    let day_of_era = days.rem_euclid(DAYS_PER_ERA);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month as u32, day as u32)
}

const DAYS_PER_ERA: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const EPOCH_FROM_ERA_ZERO: i64 = 719_468;

#[cfg(test)]
mod tests {
    use datafusion_common::arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
    use proptest::prelude::*;

    use super::*;

    fn timestamp(text: &str) -> Result<i64, Misfit> {
        parse_timestamp(text.as_bytes())
    }

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn timestamps_of_every_spelling() {
        let ten_oclock = 1_357_034_400_000_000;
        for text in [
            "2013-01-01T10:00:00Z",
            "2013-01-01T10:00:00",
            "2013-01-01 10:00:00",
            "2013-01-01 10:00",
            "2013-01-01t10:00:00z",
            "2013-01-01T10:00:00.000000000Z",
            "2013-01-01T12:00:00+02:00",
            "2013-01-01T12:00:00+0200",
            "2013-01-01T08:00:00-02",
            "2012-12-31T23:30:00-10:30",
            "+2013-01-01T10:00:00Z",
        ] {
            assert_eq!(timestamp(text), Ok(ten_oclock), "{text}");
        }
        assert_eq!(timestamp("2013-01-01"), Ok(1_356_998_400_000_000));
        assert_eq!(timestamp("1970-01-01T00:00:00.5Z"), Ok(500_000));
        assert_eq!(timestamp("1969-12-31T23:59:59.9999999Z"), Ok(-1));
        assert_eq!(timestamp("2000-02-29"), Ok(951_782_400_000_000));
    }

    #[test]
    fn what_is_not_a_timestamp_is_refused() {
        for text in [
            "",
            "2013",
            "2013-1-1",
            "2013-01-01T",
            "2013-01-01T10",
            "2013-01-01T10:00:00.Z",
            "2013-01-01T10:00:00 Z",
            "2013-01-01T10:00:00+2",
            "2013-01-01T10:00:00ZZ",
            "2013/01/01",
            "20130101",
            " 2013-01-01",
            "2013-01-01 ",
            "x013-01-01",
            "+13-01-01",
        ] {
            assert_eq!(timestamp(text), Err(Misfit::Malformed), "{text}");
        }
        for text in [
            "2013-02-29",
            "1900-02-29",
            "2013-13-01",
            "2013-00-01",
            "2013-01-00",
            "2013-04-31",
            "2013-01-01T24:00:00",
            "2013-01-01T23:60:00",
            "2013-01-01T23:59:60",
            "2013-01-01T00:00:00+24:00",
            "+999999-01-01",
        ] {
            assert_eq!(timestamp(text), Err(Misfit::OutOfRange), "{text}");
        }
    }

    #[test]
    fn dates_and_times() {
        assert_eq!(parse_date(b"1970-01-02"), Ok(1));
        assert_eq!(parse_date(b"1970-01-02T00:00"), Err(Misfit::Malformed));
        assert_eq!(parse_time(b"00:00:01.25"), Ok(1_250_000));
        assert_eq!(parse_time(b"00:00:01Z"), Err(Misfit::Malformed));
        assert_eq!(written(|out| write_date(out, -1)), "1969-12-31");
        assert_eq!(
            written(|out| write_time(out, 36_000_000_001)),
            "10:00:00.000001"
        );
        assert_eq!(
            written(|out| write_timestamp(out, 1_357_034_400_000_000)),
            "2013-01-01T10:00:00Z"
        );
        assert_eq!(
            written(|out| write_timestamp(out, -1)),
            "1969-12-31T23:59:59.999999Z"
        );
    }

    #[test]
    fn the_edges_of_the_range_read_back() {
        for micros in [i64::MIN, i64::MAX] {
            let text = written(|out| write_timestamp(out, micros));
            assert_eq!(timestamp(&text), Ok(micros), "{text}");
        }
        for days in [i32::MIN, i32::MAX] {
            let text = written(|out| write_date(out, days));
            assert_eq!(parse_date(text.as_bytes()), Ok(days), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_timestamp_reads_back(micros: i64) {
            let text = written(|out| write_timestamp(out, micros));
            prop_assert_eq!(timestamp(&text), Ok(micros));
        }

        #[test]
        fn the_day_before_makes_no_difference(moments in prop::collection::vec(
            prop_oneof![any::<i64>(), -3 * MICROS_PER_DAY..3 * MICROS_PER_DAY], 0..20)) {
            let mut last = LastDay::default();
            for micros in moments {
                let near = written(|out| write_timestamp_near(out, micros, &mut last));
                prop_assert_eq!(near, written(|out| write_timestamp(out, micros)));
            }
        }

        #[test]
        fn arrow_reads_the_same(nanos: i64, zone in -14i64..=14) {
            // Arrow's range is that of nanoseconds in 64 bits; what we write there it reads as the same moment.
            let micros = nanos / 1000 / 2;
            let mut text = written(|out| write_timestamp(out, micros));
            prop_assert_eq!(string_to_timestamp_nanos(&text).expect("within its range"), micros * 1000);
            text.pop();
            text.push_str(&format!("{zone:+03}:30"));
            let theirs = string_to_timestamp_nanos(&text).expect("within its range");
            prop_assert_eq!(timestamp(&text), Ok(theirs / 1000));
        }

        #[test]
        fn no_text_panics(text in "[-+0-9:.TZ ]{0,30}") {
            let _ = timestamp(&text);
            let _ = parse_date(text.as_bytes());
            let _ = parse_time(text.as_bytes());
        }
    }
}
