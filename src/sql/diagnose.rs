//! SQL errors as people can use them: a code, one sentence, the place, a hint.
//!
//! Law: every error of this module stands in the text it is about. What DataFusion says is kept where it says it well, put
//! in our words where it does not, and always given the span of the word it is about if that word can be found.

use datafusion_common::{Column, DataFusionError, SchemaError};
use datafusion_sql::sqlparser::tokenizer::Location;

use super::catalog::{NEGATIVE_SCALE, WINDOW_END, WINDOW_START};
use super::tokens::Tokens;
use crate::batch::words::sql_types;
use crate::config::Origin;
use crate::config::blot::blot;
use crate::config::nearest::nearest;
use crate::error::{Error, Span, SqlError};
use crate::plan::Plan;
use crate::plan::typed::OUT_OF_RANGE;

/// What is wrong, by kind. The code is stable: documentation and golden tests name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    /// The text does not read as a statement.
    Syntax,
    /// A column that does not exist, or that could be several.
    UnknownColumn,
    /// A function that does not exist.
    UnknownFunction,
    /// A stream that was not declared.
    UnknownStream,
    /// A name that is taken.
    DuplicateName,
    /// Types that do not go together.
    TypeMismatch,
    /// A column that is neither grouped nor aggregated.
    MissingGroupBy,
    /// A window without an event time to go by.
    MissingEventTime,
    /// A window whose numbers make no sense.
    BadWindow,
    /// An emission that the query cannot have.
    BadEmit,
    /// A watermark that cannot be understood.
    BadWatermark,
    /// An option that does not exist or has a wrong value.
    BadOption,
    /// A value that does not fit, already in the text of the query.
    OutOfRange,
    /// An exchange strategy that would give wrong groups.
    BadExchange,
    /// Records that would come back to where they were.
    Circle,
    /// Rows that do not fit the stream into which they go.
    BadTarget,
    /// Rows that cannot be aggregated, because they are not records.
    Updates,
    /// Valid SQL that this version does not run.
    NotAvailable,
    /// Anything else that the planner refused.
    Plan,
}

impl Code {
    /// The code as printed.
    pub fn text(self) -> &'static str {
        match self {
            Code::Syntax => "V0101",
            Code::UnknownColumn => "V0201",
            Code::UnknownFunction => "V0202",
            Code::UnknownStream => "V0203",
            Code::DuplicateName => "V0204",
            Code::TypeMismatch => "V0301",
            Code::OutOfRange => "V0302",
            Code::MissingGroupBy => "V0401",
            Code::MissingEventTime => "V0402",
            Code::BadWindow => "V0403",
            Code::BadEmit => "V0404",
            Code::BadWatermark => "V0405",
            Code::BadExchange => "V0406",
            Code::Circle => "V0407",
            Code::BadTarget => "V0408",
            Code::Updates => "V0409",
            Code::BadOption => "V0501",
            Code::NotAvailable => "V0601",
            Code::Plan => "V0701",
        }
    }
}

/// An error of a query that has been planned, and so has no place in the text any more: this version does not run it.
pub fn not_available(plan: &Plan, message: String) -> Error {
    Error::Sql(Box::new(SqlError {
        code: Code::NotAvailable.text(),
        message,
        span: None,
        hint: Some("write it in another way; docs/SQL.md says what can be written".to_owned()),
        source_text: plan.sql.clone(),
        source_name: plan.name.clone(),
    }))
}

/// A named SQL text whose lines can be found.
pub(super) struct Place {
    name: String,
    text: String,
    /// The text without its secrets, as long as it.
    shown: String,
    line_starts: Vec<usize>,
}

impl Place {
    /// The text `text` of the file `name`.
    pub fn new(name: &str, text: &str) -> Place {
        let mut line_starts = vec![0];
        line_starts.extend(text.match_indices('\n').map(|(at, _)| at + 1));
        Place {
            name: name.to_owned(),
            text: text.to_owned(),
            shown: blot(text),
            line_starts,
        }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text as it may be shown: its secrets are blotted out.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// The byte at which a line and column (both from 1, columns in characters) stand.
    pub fn offset(&self, location: Location) -> usize {
        let line = (location.line.max(1) as usize - 1).min(self.line_starts.len() - 1);
        let start = self.line_starts[line];
        let columns = location.column.max(1) as usize - 1;
        self.text[start..]
            .char_indices()
            .nth(columns)
            .map_or(self.text.len(), |(at, _)| start + at)
    }

    /// Where a span stands, for a message that is not about the text.
    pub fn origin(&self, span: Span) -> Origin {
        let line = self
            .line_starts
            .partition_point(|start| *start <= span.start);
        Origin::Sql {
            name: self.name.clone(),
            line,
        }
    }

    /// The bytes between two locations, the second exclusive.
    pub fn span(&self, start: Location, end: Location) -> Span {
        let start = self.offset(start);
        let end = self.offset(end).max(start + 1).min(self.text.len().max(1));
        Span { start, end }
    }

    /// An error in this text.
    pub fn error(
        &self,
        code: Code,
        message: impl Into<String>,
        span: Option<Span>,
        hint: Option<String>,
    ) -> Error {
        Error::Sql(Box::new(SqlError {
            code: code.text(),
            message: message.into(),
            span,
            hint,
            source_text: self.shown().to_owned(),
            source_name: self.name.clone(),
        }))
    }
}

/// An error that belongs at a word of the statement, with the hint that mends it.
pub(super) fn at_word(
    tokens: &Tokens<'_>,
    word: &str,
    code: Code,
    message: impl Into<String>,
    hint: Option<String>,
) -> Error {
    let span = tokens
        .find_word(word)
        .unwrap_or_else(|| tokens.whole_span());
    tokens.place().error(code, message, Some(span), hint)
}

/// What DataFusion refused, as an error in the statement `tokens`.
pub(super) fn planner_error(tokens: &Tokens<'_>, error: &DataFusionError) -> Error {
    let diagnosed = error.diagnostic().and_then(|diagnostic| {
        let span = diagnostic.span?;
        let location = |at: datafusion_common::Location| Location {
            line: at.line,
            column: at.column,
        };
        Some(
            tokens
                .place()
                .span(location(span.start), location(span.end)),
        )
    });
    let root = error.find_root();
    if let DataFusionError::SchemaError(schema_error, _) = root {
        return schema_problem(tokens, schema_error, diagnosed);
    }
    let message = plain_message(root);
    let place = tokens.place();
    let known = [
        name_problem,
        grouping_problem,
        scale_problem,
        literal_problem,
        type_problem,
    ]
    .iter()
    .find_map(|explain| explain(tokens, &message, diagnosed));
    known.unwrap_or_else(|| {
        let code = match root {
            DataFusionError::NotImplemented(_) => Code::NotAvailable,
            _ => Code::Plan,
        };
        let hint = "write it in another way; docs/SQL.md says what can be written";
        place.error(
            code,
            message,
            Some(diagnosed.unwrap_or_else(|| tokens.whole_span())),
            Some(hint.to_owned()),
        )
    })
}

/// What can be aggregated with.
pub(super) const AGGREGATES: &str = "the aggregates are COUNT, SUM, AVG, MIN and MAX";

/// What to write instead of a window function of another dialect.
fn window_habit(function: &str) -> Option<&'static str> {
    let name = function.to_lowercase();
    let (kind, part) = match name.split_once('_') {
        Some((kind, part)) => (kind, part),
        None => (name.as_str(), ""),
    };
    match (kind, part) {
        ("tumble", "") => Some("write WINDOW TUMBLING (SIZE 1 MINUTE) behind GROUP BY"),
        ("hop", "") => {
            Some("write WINDOW HOPPING (SIZE 1 HOUR, ADVANCE BY 10 MINUTES) behind GROUP BY")
        }
        ("session", "") => Some("write WINDOW SESSION (GAP 30 MINUTES) behind GROUP BY"),
        ("cumulate", "") => Some("write WINDOW CUMULATE (SIZE 1 DAY, STEP 1 HOUR) behind GROUP BY"),
        ("tumble" | "hop" | "session" | "cumulate", "start") => {
            Some("write window_start, with a WINDOW clause such as WINDOW TUMBLING (SIZE 1 MINUTE)")
        }
        ("tumble" | "hop" | "session" | "cumulate", "end") => {
            Some("write window_end, with a WINDOW clause such as WINDOW TUMBLING (SIZE 1 MINUTE)")
        }
        _ => None,
    }
}

/// Functions that do not exist and output columns of one name.
fn name_problem(tokens: &Tokens<'_>, message: &str, _: Option<Span>) -> Option<Error> {
    if let Some(name) = quoted_after(message, "Invalid function ") {
        let hint = match (window_habit(&name), quoted_after(message, "Did you mean ")) {
            (Some(hint), _) => hint.to_owned(),
            // What is near may be an aggregate that is not available.
            (None, _) if name.to_lowercase().starts_with("count") => AGGREGATES.to_owned(),
            (None, Some(found)) => format!("did you mean {found}?"),
            (None, None) => "the functions are those of DataFusion".to_owned(),
        };
        return Some(at_word(
            tokens,
            &name,
            Code::UnknownFunction,
            format!("there is no function {name}"),
            Some(hint),
        ));
    }
    if message.contains("require unique expression names") {
        let expression =
            quoted_after(message, "at position 0 and the expression ").or_else(|| {
                message
                    .split(" and \"")
                    .nth(1)?
                    .split("\" at position")
                    .next()
                    .map(str::to_owned)
            })?;
        let name = expression
            .rsplit(" AS ")
            .next()
            .unwrap_or(&expression)
            .to_owned();
        let is_call = name.contains('(');
        let name = match is_call {
            true => without_qualifiers(&name),
            false => last_part(&name),
        };
        let span = tokens
            .find_last_word(&name)
            .or_else(|| tokens.find_last_expression(&name))
            .unwrap_or_else(|| tokens.whole_span());
        return Some(tokens.place().error(
            Code::DuplicateName,
            format!("two output columns are called {name}"),
            Some(span),
            Some("give one of them a name of its own with AS".to_owned()),
        ));
    }
    None
}

/// Columns and aggregates where they may not stand.
fn grouping_problem(tokens: &Tokens<'_>, message: &str, diagnosed: Option<Span>) -> Option<Error> {
    let place = tokens.place();
    if message.contains("must be in GROUP BY") || message.contains("must appear in the GROUP BY") {
        let column = quoted_after(message, "Column in SELECT must be in GROUP BY or an aggregate function: While expanding wildcard, column ")
            .or_else(|| quoted_after(message, "column "))
            .map(|name| last_part(&name));
        let span = diagnosed
            .or_else(|| column.as_deref().and_then(|name| tokens.find_word(name)))
            .unwrap_or_else(|| tokens.whole_span());
        let named = column.unwrap_or_else(|| place.text()[span.start..span.end].to_owned());
        let hint =
            format!("add {named} to GROUP BY, or put it into an aggregate such as MAX({named})");
        return Some(place.error(
            Code::MissingGroupBy,
            format!("{named} is neither grouped nor aggregated"),
            Some(span),
            Some(hint),
        ));
    }
    if message.contains("not allowed in the WHERE clause") {
        let span = tokens
            .find_call_after("where")
            .unwrap_or_else(|| tokens.whole_span());
        return Some(place.error(
            Code::MissingGroupBy,
            "an aggregate may not stand in WHERE, which sees one record at a time",
            Some(span),
            Some("put the condition into HAVING".to_owned()),
        ));
    }
    if message.contains("function calls cannot be nested") {
        let inner = quoted_after(message, "nested: ")?;
        let name = inner.split('(').next().unwrap_or(&inner).to_owned();
        return Some(at_word(
            tokens,
            &name,
            Code::MissingGroupBy,
            "an aggregate may not stand inside another",
            Some("aggregate once; write the rows to a stream and aggregate that in a query of its own".to_owned()),
        ));
    }
    None
}

/// A DECIMAL that would count hundreds.
fn scale_problem(tokens: &Tokens<'_>, message: &str, diagnosed: Option<Span>) -> Option<Error> {
    let written = quoted_after(message, NEGATIVE_SCALE)?;
    let span = tokens
        .find_expression(&written)
        .or_else(|| tokens.find_string(&written))
        .or(diagnosed)
        .unwrap_or_else(|| tokens.whole_span());
    Some(tokens.place().error(
        Code::TypeMismatch,
        format!("a DECIMAL cannot have a negative scale, as {written} has"),
        Some(span),
        Some("round(x, -2) rounds to hundreds; write a scale of 0 or more".to_owned()),
    ))
}

/// Types that do not go together.
fn type_problem(tokens: &Tokens<'_>, message: &str, diagnosed: Option<Span>) -> Option<Error> {
    let place = tokens.place();
    let cast = "CAST one side to the type of the other".to_owned();
    if let Some(call) = quoted_after(message, "given name and argument types ") {
        let name = call.split('(').next().unwrap_or(&call).to_owned();
        let candidates: Vec<String> = match message.split_once("Candidate functions:") {
            Some((_, list)) => list
                .split('\t')
                .map(|one| sql_types(one.trim()))
                // Nobody can declare a column of these.
                .filter(|one| !one.is_empty() && !one.contains("UInt") && !one.contains("Duration"))
                .collect(),
            None => Vec::new(),
        };
        let hint = match candidates
            .iter()
            .any(|one| one.contains("UserDefined") || one.contains("Signature"))
        {
            false if !candidates.is_empty() => format!("there is {}", candidates.join(", ")),
            _ => "CAST the argument to another type".to_owned(),
        };
        return Some(at_word(
            tokens,
            &name,
            Code::TypeMismatch,
            format!("there is no {}", sql_types(&call)),
            Some(hint),
        ));
    }
    if let Some(predicate) = quoted_after(message, "filter with non-boolean predicate ") {
        let name = last_part(&predicate);
        let data_type = sql_types(message.rsplit(' ').next().unwrap_or_default());
        let span = tokens
            .find_last_word(&name)
            .unwrap_or_else(|| tokens.whole_span());
        return Some(place.error(
            Code::TypeMismatch,
            format!("WHERE and HAVING take a condition, and {name} is a {data_type}"),
            Some(span),
            Some(format!("compare it with something, such as {name} > 0")),
        ));
    }
    let arithmetic = message
        .strip_prefix("Cannot coerce arithmetic expression ")
        .and_then(|rest| rest.strip_suffix(" to valid types"))
        .map(|types| format!("{} cannot be computed", sql_types(types)));
    let comparison = message
        .strip_prefix("Cannot infer common argument type for comparison operation ")
        .map(|types| format!("{} cannot be compared", sql_types(types)));
    let words = ["coerce", "type", "signature", "arithmetic"];
    let other = || {
        words
            .iter()
            .any(|word| message.contains(word))
            .then(|| sql_types(message))
    };
    let sentence = arithmetic.or(comparison).or_else(other)?;
    let span = diagnosed
        .or_else(|| operator_span(tokens, message))
        .unwrap_or_else(|| tokens.whole_span());
    Some(place.error(Code::TypeMismatch, sentence, Some(span), Some(cast)))
}

/// Literals that are no value of their type.
fn literal_problem(tokens: &Tokens<'_>, message: &str, diagnosed: Option<Span>) -> Option<Error> {
    let rest = message
        .strip_prefix("Cast error: ")
        .or_else(|| message.strip_prefix("Parser error: "))
        .or_else(|| message.contains(OUT_OF_RANGE).then_some(message))?;
    let literal = rest.split('\'').nth(1).unwrap_or_default();
    let span = tokens
        .find_string(literal)
        .or(diagnosed)
        .unwrap_or_else(|| tokens.whole_span());
    let sentence = match rest.contains("parsing timestamp") {
        true => format!("'{literal}' is not a timestamp"),
        false => sql_types(rest).replacen("Cannot", "cannot", 1),
    };
    let hint = "write a value of that type: DATE '2013-01-31', TIMESTAMP '2013-01-31T10:00:00', 42";
    Some(tokens.place().error(
        Code::OutOfRange,
        sentence,
        Some(span),
        Some(hint.to_owned()),
    ))
}

fn schema_problem(tokens: &Tokens<'_>, error: &SchemaError, diagnosed: Option<Span>) -> Error {
    match error {
        SchemaError::FieldNotFound {
            field,
            valid_fields,
        } => {
            let span = diagnosed
                .or_else(|| tokens.find_word(field.name()))
                .unwrap_or_else(|| tokens.whole_span());
            let is_bound = WINDOW_START
                .iter()
                .chain(WINDOW_END)
                .any(|bound| *bound == field.name());
            let hint = match nearest_column(field, valid_fields) {
                // With a window they would be columns.
                _ if is_bound => "add a window: WINDOW TUMBLING (SIZE 1 HOUR)".to_owned(),
                Some(name) => format!("did you mean {name}?"),
                None => {
                    let names: Vec<&str> = valid_fields.iter().map(Column::name).collect();
                    format!("the columns are {}", names.join(", "))
                }
            };
            tokens.place().error(
                Code::UnknownColumn,
                format!("there is no column {}", field.flat_name()),
                Some(span),
                Some(hint),
            )
        }
        SchemaError::AmbiguousReference { field } => {
            let span = diagnosed
                .or_else(|| tokens.find_word(field.name()))
                .unwrap_or_else(|| tokens.whole_span());
            tokens.place().error(
                Code::UnknownColumn,
                format!("{} could be several columns", field.name()),
                Some(span),
                Some("put the stream's name before it".to_owned()),
            )
        }
        other => tokens.place().error(
            Code::DuplicateName,
            other.to_string(),
            Some(diagnosed.unwrap_or_else(|| tokens.whole_span())),
            Some("give one of them a name of its own with AS".to_owned()),
        ),
    }
}

fn nearest_column(field: &Column, valid: &[Column]) -> Option<String> {
    nearest(field.name(), valid.iter().map(Column::name)).map(str::to_owned)
}

/// DataFusion's words without its prefixes and without the back trace.
fn plain_message(error: &DataFusionError) -> String {
    let message = match error {
        DataFusionError::Plan(message)
        | DataFusionError::NotImplemented(message)
        | DataFusionError::Execution(message)
        | DataFusionError::Internal(message) => message.clone(),
        DataFusionError::ArrowError(cause, _) => cause.to_string(),
        other => other.strip_backtrace(),
    };
    let end = message.find("\n\nbacktrace").unwrap_or(message.len());
    let message = message[..end]
        .trim_start_matches("Error during planning: ")
        .trim_start_matches("Arithmetic overflow: ");
    message
        .lines()
        .collect::<Vec<_>>()
        .join(" ")
        .trim()
        .to_owned()
}

/// The quoted word behind `prefix`, quoted by ' or ".
fn quoted_after(message: &str, prefix: &str) -> Option<String> {
    let rest = &message[message.find(prefix)? + prefix.len()..];
    let quote = rest.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    rest[1..].split(quote).next().map(str::to_owned)
}

/// The text of an expression without the stream's name before each column.
fn without_qualifiers(text: &str) -> String {
    let is_part = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '"');
    let mut plain = String::new();
    for letter in text.chars() {
        let word = plain.trim_end_matches(is_part).len();
        let begins_a_name = plain[word..].starts_with(|c: char| !c.is_ascii_digit());
        match letter {
            '.' if begins_a_name => plain.truncate(word),
            _ => plain.push(letter),
        }
    }
    plain
}

fn last_part(name: &str) -> String {
    name.rsplit('.')
        .next()
        .unwrap_or(name)
        .trim_matches('"')
        .to_owned()
}

/// For "... expression Utf8View + Int64": the place of the only such operator in the statement, if there is only one.
fn operator_span(tokens: &Tokens<'_>, message: &str) -> Option<Span> {
    let operators = [
        "+", "-", "*", "/", "%", "=", "<>", "<=", ">=", "<", ">", "AND", "OR", "LIKE",
    ];
    let operator = operators
        .iter()
        .find(|operator| message.contains(&format!(" {operator} ")))?;
    let mut cursor = tokens.at(0);
    let mut found = None;
    while let Some(token) = cursor.peek() {
        let text = token.to_string();
        if text.eq_ignore_ascii_case(operator) || (*operator == "<>" && text == "!=") {
            if found.is_some() {
                return None;
            }
            found = Some(cursor.span());
        }
        cursor.take();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::without_qualifiers;

    #[test]
    fn the_streams_name_is_left_out_before_each_column_and_numbers_stay_whole() {
        for (text, plain) in [
            ("sum(s.qty)", "sum(qty)"),
            ("sum(s.qty * 1.5 + \"S\".\"a\")", "sum(qty * 1.5 + \"a\")"),
            ("count(*)", "count(*)"),
        ] {
            assert_eq!(without_qualifiers(text), plain);
        }
    }
}
