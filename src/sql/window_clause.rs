//! The WINDOW clause, and windows as table functions.
//!
//! ```text
//!   WINDOW HOPPING (SIZE 1 HOUR, ADVANCE BY 10 MINUTES, GRACE PERIOD 5 SECONDS)      canonical
//!   WINDOW SLIDING (ts, 1h, 10m)                                                      in order, the time column first if named
//!   FROM TABLE(HOP(TABLE s, DESCRIPTOR(ts), INTERVAL '10' MINUTE, INTERVAL '1' HOUR)) GROUP BY window_start, window_end, ..
//!   FROM TABLE(SESSION(TABLE s PARTITION BY k, DESCRIPTOR(ts), INTERVAL '30' MINUTE)) GROUP BY window_start, window_end, k
//! ```
//!
//! Law: a clause is read from the tokens it stands in and cut out whole; of a table function the stream's name stays, so that what
//! goes to sqlparser is plain SQL. Which parts a kind has is said once, in `KINDS`.

use datafusion_sql::sqlparser::tokenizer::Token;

use super::clause::duration;
use super::clause_place::check_follower;
use super::diagnose::Code;
use super::tokens::Tokens;
use crate::config::limits::{GRACE_US, WINDOW_SIZE_US, WINDOWS_A_RECORD_MAX};
use crate::error::{Error, Result, Span};
use crate::plan::WindowSpec;

/// A WINDOW clause and where it stands.
pub(super) struct WindowClause {
    /// What it says.
    pub spec: WindowSpec,
    /// The whole clause.
    pub span: Span,
    /// The time column it names, if it names one, and where.
    pub time_column: Option<(String, Span)>,
    /// Whether it was a table function, of which the stream's name is left in its place.
    pub is_function: bool,
    /// Of a SESSION function the columns by which it parts the stream: those of GROUP BY must be the same.
    pub partition: Option<Vec<String>>,
}

/// What makes a window: lengths of time by their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Size,
    Advance,
    Step,
    Gap,
    Offset,
    Grace,
}

/// A kind of window.
struct Kind {
    name: &'static str,
    aliases: &'static [&'static str],
    /// The table function, and its lengths in their order; those behind the required ones may be left out.
    function: (&'static str, &'static [Part]),
    /// The parts that it must have, in the order in which they may stand without names.
    required: &'static [Part],
    optional: &'static [Part],
    example: &'static str,
}

const KINDS: &[Kind] = &[
    Kind {
        name: "tumbling",
        aliases: &[],
        function: ("tumble", &[Part::Size, Part::Offset]),
        required: &[Part::Size],
        optional: &[Part::Offset, Part::Grace],
        example: "WINDOW TUMBLING (SIZE 1 HOUR)",
    },
    Kind {
        name: "hopping",
        aliases: &["sliding"],
        function: ("hop", &[Part::Advance, Part::Size, Part::Offset]),
        required: &[Part::Size, Part::Advance],
        optional: &[Part::Offset, Part::Grace],
        example: "WINDOW HOPPING (SIZE 1 HOUR, ADVANCE BY 10 MINUTES)",
    },
    Kind {
        name: "session",
        aliases: &[],
        function: ("session", &[Part::Gap]),
        required: &[Part::Gap],
        optional: &[Part::Grace],
        example: "WINDOW SESSION (GAP 30 MINUTES)",
    },
    Kind {
        name: "cumulate",
        aliases: &[],
        function: ("cumulate", &[Part::Step, Part::Size]),
        required: &[Part::Size, Part::Step],
        optional: &[Part::Grace],
        example: "WINDOW CUMULATE (SIZE 1 DAY, STEP 1 HOUR)",
    },
];

impl Part {
    const ALL: [Part; 6] = [
        Part::Size,
        Part::Advance,
        Part::Step,
        Part::Gap,
        Part::Offset,
        Part::Grace,
    ];

    /// The words that stand before the length.
    fn words(self) -> &'static [&'static str] {
        match self {
            Part::Size => &["size"],
            Part::Advance => &["advance", "by"],
            Part::Step => &["step"],
            Part::Gap => &["gap"],
            Part::Offset => &["offset"],
            Part::Grace => &["grace", "period"],
        }
    }

    fn name(self) -> String {
        self.words().join(" ").to_uppercase()
    }
}

/// The lengths that were written.
#[derive(Default)]
struct Lengths(Vec<(Part, i64, Span)>);

impl Lengths {
    fn get(&self, part: Part) -> Option<(i64, Span)> {
        let mut lengths = self.0.iter();
        let found = lengths.find(|(written, _, _)| *written == part);
        found.map(|&(_, length, span)| (length, span))
    }
}

/// Cuts the window out of a query, if it has one. `WINDOW name AS (..)` is standard SQL and not meant.
pub(super) fn cut_window(query: &mut Tokens<'_>) -> Result<Option<WindowClause>> {
    let mut first = cut_function(query)?;
    while let Some(start) = query.find(at_window) {
        if first.is_some() {
            return Err(bad(
                query,
                "a query has one WINDOW clause",
                query.at(start).span(),
                "leave this one out",
            ));
        }
        first = Some(cut_clause(query, start)?);
    }
    Ok(first)
}

/// Whether a table function comes next: `TABLE(`.
pub(super) fn at_function(at: &Tokens<'_>) -> bool {
    at.at_word("table") && at.peek_at(1) == Some(&Token::LParen)
}

/// Whether a WINDOW clause comes next.
pub(super) fn at_window(at: &Tokens<'_>) -> bool {
    at.at_word("window")
        && matches!(at.peek_at(1), Some(Token::Word(_)))
        && at.peek_at(2) == Some(&Token::LParen)
}

fn cut_clause(query: &mut Tokens<'_>, start: usize) -> Result<WindowClause> {
    let mut cursor = query.at(start);
    let first = cursor.span();
    cursor.take();
    let kind_span = cursor.span();
    let name = cursor.expect_identifier("a window kind")?;
    cursor.expect_token(&Token::LParen)?;
    let arguments = cursor.take_to_closing()?;
    let end = cursor.position();
    let span = Span {
        start: first.start,
        end: query.at(end - 1).span().end,
    };
    let named = |kind: &&Kind| kind.name == name || kind.aliases.contains(&name.as_str());
    let Some(kind) = KINDS.iter().find(named) else {
        return Err(bad(
            query,
            format!("there is no window kind {}", name.to_uppercase()),
            kind_span,
            "the kinds are TUMBLING, HOPPING, SESSION and CUMULATE",
        ));
    };
    refuse_empty_slot(&arguments, query.at(end - 1).span(), kind)?;
    let mut lengths = Lengths::default();
    let mut time_column = None;
    for argument in arguments.split_commas() {
        if lengths.0.is_empty() && time_column.is_none() && is_name(&argument) {
            let mut argument = argument;
            let at = argument.whole_span();
            time_column = Some((argument.expect_identifier("a column")?, at));
            continue;
        }
        read_length(argument, kind, &mut lengths)?;
    }
    let spec = spec(query, kind, &lengths, span)?;
    check_follower(&cursor, "WINDOW", span)?;
    query.cut(start, end);
    Ok(WindowClause {
        spec,
        span,
        time_column,
        is_function: false,
        partition: None,
    })
}

/// How a part of two words is written.
fn example_of(part: Part, kind: &Kind) -> &'static str {
    match part {
        Part::Grace => "WINDOW TUMBLING (SIZE 1 HOUR, GRACE PERIOD 5 SECONDS)",
        _ => kind.example,
    }
}

/// Refuses a comma, or the parenthesis at `closing`, before which nothing stands.
fn refuse_empty_slot(arguments: &Tokens<'_>, closing: Span, kind: &Kind) -> Result<()> {
    let mut cursor = arguments.clone();
    let mut empty = true;
    loop {
        let at = match cursor.peek() {
            None => closing,
            Some(_) => cursor.span(),
        };
        let token = cursor.take();
        let is_comma = token == Some(Token::Comma);
        if empty && (is_comma || token.is_none()) {
            return Err(cursor.place().error(
                Code::Syntax,
                "expected a part of the window, such as its length, and there is none before this",
                Some(at),
                Some(format!("write {}", kind.example)),
            ));
        }
        if token.is_none() {
            return Ok(());
        }
        empty = is_comma;
    }
}

/// Reads `[NAME] length`; without a name it is the next of those that must be there.
fn read_length(mut argument: Tokens<'_>, kind: &Kind, lengths: &mut Lengths) -> Result<()> {
    let at = argument.whole_span();
    let known = || kind.required.iter().chain(kind.optional).copied();
    let named = Part::ALL
        .into_iter()
        .find(|part| known().any(|known| known == *part) && argument.take_words(part.words()));
    let missing = |part: &&Part| lengths.get(**part).is_none();
    let part = match named {
        Some(part) => part,
        None if matches!(argument.peek(), Some(Token::Word(_)))
            && !argument.at_word("interval") =>
        {
            if argument.at_word("retention") {
                return Err(bad(
                    &argument,
                    "RETENTION is no part of a window",
                    at,
                    "leave it out: a window is kept until it closes, which is at its end plus GRACE PERIOD",
                ));
            }
            // ADVANCE without BY, GRACE without PERIOD.
            let half = known().find(|part| {
                let words = part.words();
                words.len() > 1 && argument.at_word(words[0])
            });
            if let Some(part) = half {
                let name = part.name();
                argument.take();
                let message = format!("expected {name} and a length, {}", argument.found());
                let hint = format!("write {name}, as in {}", example_of(part, kind));
                return Err(argument
                    .place()
                    .error(Code::Syntax, message, Some(at), Some(hint)));
            }
            let names: Vec<String> = known().map(Part::name).collect();
            let (last, others) = names.split_last().expect("a window has a length");
            return Err(argument.expected(&format!("{} or {last}", others.join(", "))));
        }
        None => match kind.required.iter().find(missing) {
            Some(part) => *part,
            None => kind.required[0],
        },
    };
    if lengths.get(part).is_some() {
        let twice = format!("{} stands twice", part.name());
        return Err(bad(&argument, twice, at, "leave one of them out"));
    }
    let start = argument.span().start;
    let length = duration(&mut argument)?;
    lengths.0.push((part, length, Span { start, end: at.end }));
    argument.expect_end()
}

/// Cuts `TABLE( FUNCTION( TABLE stream, DESCRIPTOR(ts), length, .. ) )` down to the stream's name.
fn cut_function(query: &mut Tokens<'_>) -> Result<Option<WindowClause>> {
    let Some(start) = query.find(at_function) else {
        return Ok(None);
    };
    let mut cursor = query.at(start);
    let first = cursor.span();
    let is_source = start > 0
        && query.at(start - 1).at_word("from")
        && !(start > 1 && query.at(start - 2).at_word("distinct"));
    if !is_source {
        return Err(query.place().error(
            Code::Syntax,
            "a window's table function stands directly behind FROM",
            Some(first),
            Some("write SELECT .. FROM TABLE(TUMBLE(TABLE s, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end".to_owned()),
        ));
    }
    cursor.take();
    cursor.take();
    let name_span = cursor.span();
    let name = cursor.expect_identifier("TUMBLE, HOP, CUMULATE or SESSION")?;
    let Some(kind) = KINDS.iter().find(|kind| kind.function.0 == name) else {
        return Err(bad(
            query,
            format!("there is no window function {}", name.to_uppercase()),
            name_span,
            "the functions are TUMBLE, HOP, CUMULATE and SESSION",
        ));
    };
    cursor.expect_token(&Token::LParen)?;
    cursor.expect_word("table")?;
    let stream = cursor.position();
    cursor.expect_identifier("a stream")?;
    let behind = cursor.position();
    let is_session = name == "session";
    let partition = is_session.then(|| partition(&mut cursor)).transpose()?;
    cursor.expect_token(&Token::Comma)?;
    cursor.expect_word("descriptor")?;
    cursor.expect_token(&Token::LParen)?;
    let at = cursor.span();
    let time_column = Some((cursor.expect_identifier("a column")?, at));
    cursor.expect_token(&Token::RParen)?;
    let mut lengths = Lengths::default();
    let mut parts = kind.function.1.iter();
    while cursor.take_token(&Token::Comma) {
        let at = cursor.span();
        let Some(part) = parts.next() else {
            return Err(cursor.expected("')'"));
        };
        let length = duration(&mut cursor)?;
        lengths.0.push((*part, length, at));
    }
    cursor.expect_token(&Token::RParen)?;
    cursor.expect_token(&Token::RParen)?;
    let end = cursor.position();
    let span = Span {
        start: first.start,
        end: query.at(end - 1).span().end,
    };
    let spec = spec(query, kind, &lengths, span)?;
    query.cut(behind, end);
    query.cut(start, stream);
    Ok(Some(WindowClause {
        spec,
        span,
        time_column,
        is_function: true,
        partition,
    }))
}

/// Reads `PARTITION BY a, b` or `PARTITION BY (a, b)`, if it is there, up to the comma before DESCRIPTOR.
fn partition(cursor: &mut Tokens<'_>) -> Result<Vec<String>> {
    let mut columns = Vec::new();
    if !cursor.take_words(&["partition", "by"]) {
        return Ok(columns);
    }
    let in_brackets = cursor.take_token(&Token::LParen);
    loop {
        columns.push(cursor.expect_identifier("a column")?);
        let ends = cursor.peek_at(1).is_some_and(is_descriptor) && !in_brackets;
        if ends || !cursor.take_token(&Token::Comma) {
            break;
        }
    }
    if in_brackets {
        cursor.expect_token(&Token::RParen)?;
    }
    Ok(columns)
}

fn is_descriptor(token: &Token) -> bool {
    matches!(token, Token::Word(word) if word.value.eq_ignore_ascii_case("descriptor"))
}

/// The window of `kind` with these lengths, if they make one.
fn spec(query: &Tokens<'_>, kind: &Kind, lengths: &Lengths, span: Span) -> Result<WindowSpec> {
    let write = format!("write {}", kind.example);
    let bad = |message: String, at: Span| Err(bad(query, message, at, &write));
    for &part in kind.required {
        let Some((length, at)) = lengths.get(part) else {
            return bad(format!("the window has no {}", part.name()), span);
        };
        if length <= 0 {
            return bad(format!("{} must be above zero", part.name()), at);
        }
        if !WINDOW_SIZE_US.contains(&length) {
            let message = format!(
                "{} must be above zero and at most a hundred years",
                part.name()
            );
            return bad(message, span);
        }
    }
    let length = |part| lengths.get(part).map_or(0, |(length, _)| length);
    let (grace_us, size_us) = (length(Part::Grace), length(Part::Size));
    if grace_us < 0 {
        return Err(self::bad(
            query,
            "GRACE PERIOD must not be negative",
            lengths.get(Part::Grace).map_or(span, |(_, at)| at),
            "leave it out for a window that closes at its end",
        ));
    }
    if !GRACE_US.contains(&grace_us) {
        let message = "GRACE PERIOD must not be negative and at most a hundred years";
        return bad(message.to_owned(), span);
    }
    let spec = match kind.name {
        "tumbling" => WindowSpec::Tumbling {
            size_us,
            offset_us: length(Part::Offset).rem_euclid(size_us),
            grace_us,
        },
        "hopping" => {
            let advance_us = length(Part::Advance);
            if advance_us > size_us {
                return bad(
                    "ADVANCE BY is longer than SIZE: records between two windows would be in none"
                        .to_owned(),
                    span,
                );
            }
            WindowSpec::Hopping {
                size_us,
                advance_us,
                offset_us: length(Part::Offset).rem_euclid(advance_us),
                grace_us,
            }
        }
        "session" => WindowSpec::Session {
            gap_us: length(Part::Gap),
            grace_us,
        },
        "cumulate" => {
            let step_us = length(Part::Step);
            if size_us % step_us != 0 {
                return bad("SIZE must be a multiple of STEP".to_owned(), span);
            }
            WindowSpec::Cumulate {
                size_us,
                step_us,
                grace_us,
            }
        }
        other => unreachable!("{other} is no kind"),
    };
    if spec.windows_a_record() > WINDOWS_A_RECORD_MAX {
        return bad(
            format!(
                "a record would count in {} windows, and {WINDOWS_A_RECORD_MAX} are the most",
                spec.windows_a_record()
            ),
            span,
        );
    }
    Ok(spec)
}

/// A lone word that is no duration, such as the time column of `TUMBLING(ts, 5m)`.
fn is_name(argument: &Tokens<'_>) -> bool {
    matches!(argument.peek(), Some(Token::Word(_)))
        && !argument.at_word("interval")
        && argument.peek_at(1).is_none()
}

fn bad(tokens: &Tokens<'_>, message: impl Into<String>, span: Span, hint: &str) -> Error {
    let message = message.into();
    let place = tokens.place();
    place.error(Code::BadWindow, message, Some(span), Some(hint.to_owned()))
}
