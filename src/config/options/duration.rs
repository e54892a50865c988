//! Durations and moments as options write them: `500ms`, `10 SECONDS`, `2026-03-01T10:00:00Z`.

use datafusion_common::arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;

/// Units by their names, and how many microseconds they have. A plural adds an `s` to the last name.
const UNITS: &[(&[&str], i64)] = &[
    (&["ms", "millisecond"], 1_000),
    (&["s", "sec", "second"], 1_000_000),
    (&["m", "min", "minute"], 60_000_000),
    (&["h", "hour"], 3_600_000_000),
    (&["d", "day"], 86_400_000_000),
];

/// A whole number and a unit as microseconds; `None` for anything else, or more than fits.
pub(super) fn micros(text: &str) -> Option<i64> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    let is_unit = |names: &&[&str]| {
        let plural = names.last().map(|name| format!("{name}s"));
        names.contains(&unit) || plural.as_deref() == Some(unit)
    };
    let (_, unit_us) = UNITS.iter().find(|(names, _)| is_unit(names))?;
    number.parse::<i64>().ok()?.checked_mul(*unit_us)
}

/// A moment as milliseconds since the epoch: written so, or as ISO-8601 (UTC unless it names an offset). `None` for anything
/// else.
pub(super) fn moment_ms(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(milliseconds) = text.parse() {
        return Some(milliseconds);
    }
    let nanoseconds = string_to_timestamp_nanos(text).ok()?;
    Some(nanoseconds.div_euclid(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_whole_number_and_a_unit() {
        for (text, expected) in [
            ("500ms", Some(500_000)),
            ("10 SECONDS", Some(10_000_000)),
            ("1 h", Some(3_600_000_000)),
            (" 2m ", Some(120_000_000)),
            ("1 day", Some(86_400_000_000)),
            ("10", None),
            ("s", None),
            ("-1s", None),
            ("1.5s", None),
            ("3 weeks", None),
            ("9999999999999999d", None),
        ] {
            assert_eq!(micros(text), expected, "{text}");
        }
    }

    #[test]
    fn a_moment_is_milliseconds_or_iso_8601() {
        for (text, expected) in [
            ("1767225600000", Some(1_767_225_600_000)),
            ("-5", Some(-5)),
            ("2026-01-01T00:00:00Z", Some(1_767_225_600_000)),
            ("2026-01-01T02:00:00+02:00", Some(1_767_225_600_000)),
            ("2026-01-01T00:00:00.25", Some(1_767_225_600_250)),
            ("2026-01-01", Some(1_767_225_600_000)),
            ("2026-13-01", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(moment_ms(text), expected, "{text}");
        }
    }
}
