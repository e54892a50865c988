//! The clauses that are ours: WATERMARK and durations. Those of a query: `window_clause.rs`, `emit_clause.rs`.
//!
//! Law: each is read from the tokens it stands in and cut out whole, so that what goes to sqlparser is plain SQL.

use datafusion_sql::sqlparser::tokenizer::Token;

use super::diagnose::Code;
use super::tokens::Tokens;
use crate::config::limits::WATERMARK_BOUND_US;
use crate::error::{Result, Span};

/// Microseconds in a second.
const SECOND_US: i64 = 1_000_000;

/// Units of a duration: every accepted spelling and its length in microseconds.
const UNITS: &[(&str, i64)] = &[
    ("us", 1),
    ("microsecond", 1),
    ("microseconds", 1),
    ("ms", 1_000),
    ("millisecond", 1_000),
    ("milliseconds", 1_000),
    ("s", SECOND_US),
    ("sec", SECOND_US),
    ("second", SECOND_US),
    ("seconds", SECOND_US),
    ("m", 60 * SECOND_US),
    ("min", 60 * SECOND_US),
    ("minute", 60 * SECOND_US),
    ("minutes", 60 * SECOND_US),
    ("h", 3_600 * SECOND_US),
    ("hour", 3_600 * SECOND_US),
    ("hours", 3_600 * SECOND_US),
    ("d", 86_400 * SECOND_US),
    ("day", 86_400 * SECOND_US),
    ("days", 86_400 * SECOND_US),
    ("week", 7 * 86_400 * SECOND_US),
    ("weeks", 7 * 86_400 * SECOND_US),
];

/// The body of `WATERMARK FOR column AS expression`, behind `WATERMARK FOR`: the column, its place, and the bound.
pub(super) fn watermark(clause: &mut Tokens<'_>) -> Result<(String, Span, i64)> {
    let span = clause.span();
    let column = clause.expect_identifier("a column")?;
    clause.expect_word("as")?;
    let again = clause.span();
    let named = clause.expect_identifier("the same column")?;
    if named != column {
        return Err(clause.place().error(
            Code::BadWatermark,
            format!("the watermark of {column} goes by {named}"),
            Some(again),
            Some(format!(
                "write WATERMARK FOR {column} AS {column} - INTERVAL '5' SECOND"
            )),
        ));
    }
    let bound_us = if clause.take_token(&Token::Minus) {
        let at = clause.span();
        let bound_us = duration(clause)?;
        if !WATERMARK_BOUND_US.contains(&bound_us) {
            return Err(clause.place().error(
                Code::BadWatermark,
                "the bound must not be negative and at most a hundred years",
                Some(at),
                Some(format!("write {column} - INTERVAL '5' SECOND")),
            ));
        }
        bound_us
    } else {
        0
    };
    if !clause.is_at_end() {
        return Err(clause.place().error(
            Code::BadWatermark,
            "a watermark is the column itself or the column minus an interval",
            Some(clause.span()),
            Some(format!(
                "write {column} - INTERVAL '5' SECOND, or {column} alone"
            )),
        ));
    }
    Ok((column, span, bound_us))
}

/// A duration in microseconds: `5m`, `500ms`, `5 MINUTES`, `INTERVAL '5' MINUTE`, `INTERVAL '1 hour'`, `'90 seconds'`.
pub(super) fn duration(tokens: &mut Tokens<'_>) -> Result<i64> {
    let start = tokens.span();
    let is_interval = tokens.take_word("interval");
    let negative = tokens.take_token(&Token::Minus);
    let (mut number, mut unit) = match tokens.peek().cloned() {
        Some(Token::Number(number, _)) => {
            tokens.take();
            (number, String::new())
        }
        Some(Token::SingleQuotedString(text)) if is_interval => {
            tokens.take();
            let text = text.trim().to_owned();
            let digits = text
                .find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-'))
                .unwrap_or(text.len());
            (text[..digits].to_owned(), text[digits..].trim().to_owned())
        }
        _ => return Err(tokens.expected("a duration such as 5 MINUTES, 5m or INTERVAL '5' MINUTE")),
    };
    let negative = negative != number.starts_with('-');
    number = number.trim_start_matches('-').to_owned();
    let unit_span = tokens.span();
    if unit.is_empty() {
        if !matches!(tokens.peek(), Some(Token::Word(_))) {
            return Err(tokens.place().error(
                Code::Syntax,
                format!(
                    "expected a unit of time behind {number}, {}",
                    tokens.found()
                ),
                Some(Span {
                    start: start.start,
                    end: unit_span.end.max(start.end),
                }),
                Some(format!(
                    "write {number} SECONDS, {number} MINUTES or {number}m"
                )),
            ));
        }
        unit = tokens.expect_identifier("a unit such as MINUTES")?;
    }
    let place = tokens.place();
    let Some((_, unit_us)) = UNITS
        .iter()
        .find(|(name, _)| unit.eq_ignore_ascii_case(name))
    else {
        return Err(place.error(
            Code::BadWindow,
            format!("{unit} is not a unit of time"),
            Some(unit_span),
            Some(
                "the units are ms, SECOND, MINUTE, HOUR, DAY and WEEK; months have no fixed length"
                    .to_owned(),
            ),
        ));
    };
    let value = exact_product(&number, *unit_us).ok_or_else(|| {
        place.error(
            Code::BadWindow,
            format!("{number} {unit} is not a whole number of microseconds within range"),
            Some(start),
            Some("a microsecond is the least, 292,000 years are the most".to_owned()),
        )
    })?;
    Ok(if negative { -value } else { value })
}

/// The decimal `number` times `factor`, if that is a whole number that fits.
fn exact_product(number: &str, factor: i64) -> Option<i64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.len() > 18 || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let scale = 10i128.pow(fraction.len() as u32);
    let product = digits.checked_mul(i128::from(factor))?;
    if product % scale != 0 {
        return None;
    }
    i64::try_from(product / scale).ok()
}
