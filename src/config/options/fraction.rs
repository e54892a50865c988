//! Fractions as options write them: `0.01`, `1`.
//!
//! Law: a fraction is above zero, at most one, and exact in millionths.

/// Millionths of `text`; `None` if it is no such fraction.
pub(super) fn millionths(text: &str) -> Option<u32> {
    let (whole, behind) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > 1 || behind.len() > 6 || !digits(whole) || !digits(behind)
    {
        return None;
    }
    let all: u32 = format!("{whole}{behind:0<6}").parse().ok()?;
    (1..=1_000_000).contains(&all).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_is_above_zero_and_at_most_one() {
        for (text, millions) in [
            ("0.05", 50_000),
            ("1", 1_000_000),
            ("1.0", 1_000_000),
            ("0.000001", 1),
        ] {
            assert_eq!(millionths(text), Some(millions), "{text}");
        }
        for text in [
            "0",
            "0.0",
            "1.1",
            "5%",
            "-0.1",
            "",
            ".5",
            "0.0000001",
            "10",
            "a",
        ] {
            assert_eq!(millionths(text), None, "{text}");
        }
    }
}
