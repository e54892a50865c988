//! How errors look, on standard error: an SQL error with its code, the line it stands in, carets under the span and what to
//! do about it; any other as `velo: message`.
//!
//! ```text
//! error[V0102]: there is no column carier in flights
//!  --> flights.sql:2:8
//!   |
//! 2 | SELECT carier
//!   |        ^^^^^^
//!   = did you mean carrier?
//! ```
//! Colour only on a terminal, and never with NO_COLOR. Ariadne, tried first, draws carets only beside a second message,
//! and leaves out the hint of an error that has no span.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};

use crate::error::{Error, Span, SqlError};

const RED: &str = "\x1b[1;31m";
const BLUE: &str = "\x1b[1;34m";
const PLAIN: &str = "\x1b[0m";

/// Writes `error` to standard error.
pub fn error(error: &Error) {
    let mut output = std::io::stderr().lock();
    let colour =
        output.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let text = text_of(error, colour);
    // When standard error is gone there is nowhere left to say so; the exit code still tells.
    let _ = output.write_all(text.as_bytes());
}

/// An error, or several with an empty line between them.
fn text_of(error: &Error, colour: bool) -> String {
    match error {
        Error::Sql(error) => sql(error, colour),
        Error::Several(errors) => {
            let texts: Vec<String> = errors.iter().map(|error| text_of(error, colour)).collect();
            texts.join("\n")
        }
        other => format!("velo: {other}\n"),
    }
}

/// An SQL error with the line it stands in.
fn sql(error: &SqlError, colour: bool) -> String {
    let [red, blue, plain] = if colour { [RED, BLUE, PLAIN] } else { [""; 3] };
    let place = error.span.map(|span| Excerpt::of(&error.source_text, span));
    let line_number = place
        .as_ref()
        .map(|place| place.line.to_string())
        .unwrap_or_default();
    let gutter = " ".repeat(line_number.len());
    let mut page = format!("{red}error[{}]{plain}: {}\n", error.code, error.message);
    let mut put = |line: std::fmt::Arguments<'_>| {
        page.write_fmt(line)
            .expect("writing to a string does not fail");
        page.push('\n');
    };
    match &place {
        None => put(format_args!(
            "{gutter} {blue}-->{plain} {}",
            error.source_name
        )),
        Some(Excerpt {
            line,
            column,
            text,
            before,
            carets,
        }) => {
            put(format_args!(
                "{gutter}{blue}-->{plain} {}:{line}:{column}",
                error.source_name
            ));
            put(format_args!("{gutter} {blue}|{plain}"));
            put(format_args!("{blue}{line_number} |{plain} {text}"));
            put(format_args!(
                "{gutter} {blue}|{plain} {before}{red}{}{plain}",
                "^".repeat(*carets)
            ));
        }
    }
    if let Some(hint) = &error.hint {
        put(format_args!("{gutter} {blue}={plain} {hint}"));
    }
    page
}

/// The line that a span starts in.
struct Excerpt<'a> {
    /// Its number, from 1.
    line: usize,
    /// The span's first character in it, from 1.
    column: usize,
    /// Its text.
    text: &'a str,
    /// What stands below the characters before the span: a tab below a tab, else a space.
    before: String,
    /// How many characters of it the span covers, at least one.
    carets: usize,
}

impl Excerpt<'_> {
    /// A span behind the text's last character, where something is missing, stands just behind that; one that runs over the
    /// end of its line is cut there.
    fn of(text: &str, span: Span) -> Excerpt<'_> {
        let start = text.floor_char_boundary(span.start.min(text.trim_end().len()));
        let end = text.ceil_char_boundary(span.end.clamp(start, text.len()));
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line = text[line_start..].lines().next().unwrap_or_default();
        let covered = &text[start..end];
        let before = &text[line_start..start];
        Excerpt {
            line: 1 + text[..start].matches('\n').count(),
            column: 1 + before.chars().count(),
            text: line,
            before: before
                .chars()
                .map(|one| if one == '\t' { '\t' } else { ' ' })
                .collect(),
            carets: covered
                .lines()
                .next()
                .map_or(0, |line| line.chars().count())
                .max(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, span: Option<(usize, usize)>, hint: Option<&str>) -> String {
        let error = SqlError {
            code: "V0102",
            message: "there is no column carier in flights".into(),
            span: span.map(|(start, end)| Span { start, end }),
            hint: hint.map(str::to_owned),
            source_text: text.into(),
            source_name: "flights.sql".into(),
        };
        sql(&error, false)
    }

    #[test]
    fn carets_stand_under_the_span_and_the_hint_below() {
        let text = "-- hourly\nSELECT\t'é', carier\nFROM flights";
        insta::assert_snapshot!(shown(text, Some((23, 29)), Some("did you mean carrier?")), @r"
        error[V0102]: there is no column carier in flights
         --> flights.sql:2:13
          |
        2 | SELECT	'é', carier
          |       	     ^^^^^^
          = did you mean carrier?
        ");
    }

    #[test]
    fn an_error_of_the_whole_statement_has_no_caret() {
        insta::assert_snapshot!(shown("SELECT 1", None, Some("add a FROM")), @r"
        error[V0102]: there is no column carier in flights
         --> flights.sql
         = add a FROM
        ");
    }

    #[test]
    fn something_missing_at_the_end_is_shown_at_the_end() {
        insta::assert_snapshot!(shown("SELECT a\nFROM\n\n", Some((15, 15)), None), @r"
        error[V0102]: there is no column carier in flights
         --> flights.sql:2:5
          |
        2 | FROM
          |     ^
        ");
    }

    #[test]
    fn a_span_over_several_lines_is_shown_in_its_first() {
        insta::assert_snapshot!(shown("SELECT (\n1\n)", Some((7, 12)), None), @r"
        error[V0102]: there is no column carier in flights
         --> flights.sql:1:8
          |
        1 | SELECT (
          |        ^
        ");
    }

    #[test]
    fn any_span_can_be_shown() {
        for text in ["", "é\té", "a\r\nb\n", "\n\n"] {
            for (start, end) in [(0, 0), (0, 1), (1, 1), (3, 2), (4, 99), (99, 99)] {
                assert!(
                    shown(text, Some((start, end)), None).contains('^'),
                    "{text:?} {start} {end}"
                );
            }
        }
    }
}
