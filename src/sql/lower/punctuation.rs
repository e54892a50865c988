//! The expression of `watermark.emit = 'punctuated:..'`: from its text to what a source evaluates over its batches.
//!
//! ```text
//!   the option's value --tokens, one expression--> SELECT 1 FROM stream WHERE <expression> --as any query--> Punctuation
//! ```
//!
//! Law: it sees the stream's declared columns and nothing else, and no clock: what a record says of time does not depend on when
//! it is read. An error stands under its own words in the text of the statement, as far as they stand there as they are meant.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion_sql::sqlparser::ast;
use datafusion_sql::sqlparser::parser::Parser;

use super::{Query, Reading};
use crate::error::{Error, Result, Span, SqlError};
use crate::plan::{Punctuation, StreamSpec};
use crate::sql::catalog::{Catalog, Functions};
use crate::sql::diagnose::{Code, Place};
use crate::sql::tokens::{DIALECT, Tokens};

/// Lowers `text`, which stands in the option at `span` of `place`, over the columns of `stream`.
pub(in crate::sql) fn punctuation(
    place: &Place,
    span: Span,
    text: &str,
    stream: &StreamSpec,
    functions: &Functions,
) -> Result<Punctuation> {
    let own = Place::new("watermark.emit", text);
    lower_alone(&own, stream, functions).map_err(|error| of_statement(error, place, span, text))
}

fn lower_alone(own: &Place, stream: &StreamSpec, functions: &Functions) -> Result<Punctuation> {
    let whole = Span {
        start: 0,
        end: own.text().len(),
    };
    let refuse = |message: &str, hint: &str| {
        own.error(
            Code::BadWatermark,
            message.to_owned(),
            Some(whole),
            Some(hint.to_owned()),
        )
    };
    let mut statements = Tokens::statements(own)?.into_iter();
    let (Some(mut tokens), None) = (statements.next(), statements.next()) else {
        return Err(refuse(
            "a punctuation is one boolean expression",
            "write it over the stream's columns, such as punctuated:is_last",
        ));
    };
    let query = Query {
        tokens: tokens.clone(),
        window: None,
        emit: None,
        into: None,
        is_final: false,
    };
    query.refuse_depth()?;
    let condition = tokens.parse(|parser| parser.parse_expr())?;
    tokens.expect_end()?;
    let stream = Arc::new(stream.clone());
    let streams = BTreeMap::from([(stream.name.clone(), Arc::clone(&stream))]);
    let catalog = Catalog {
        streams: &streams,
        outside: Vec::new(),
        functions,
        windowed: false,
        is_final: false,
        hidden: false,
    };
    let logical = query.plan_logically(where_alone(&stream.name, condition), &catalog)?;
    let filters = query.collapse(&logical)?.filters;
    for filter in &filters {
        query.refuse_subquery(filter)?;
        if filter.is_volatile() {
            return Err(refuse(
                "a punctuation is read off the record, and may not look at a clock or draw lots",
                "use the record's columns",
            ));
        }
    }
    // `WHERE true` is no filter.
    let filters = match filters.is_empty() {
        true => vec![datafusion_expr::lit(true)],
        false => filters,
    };
    let reading = Reading::new(&stream, filters.iter());
    let expr = query.conjunction(filters, &reading.schema)?;
    Ok(Punctuation {
        expr: expr.expect("a condition"),
        columns: reading.source.projection,
    })
}

/// `SELECT 1 FROM stream WHERE condition`.
fn where_alone(stream: &str, condition: ast::Expr) -> Box<ast::Query> {
    let text = format!("SELECT 1 FROM \"{}\"", stream.replace('"', "\"\""));
    let mut parsed = Parser::parse_sql(&DIALECT, &text).expect("a query of our own");
    let Some(ast::Statement::Query(mut query)) = parsed.pop() else {
        unreachable!("it is a query")
    };
    let ast::SetExpr::Select(select) = query.body.as_mut() else {
        unreachable!("it is a SELECT")
    };
    select.selection = Some(condition);
    query
}

/// `error`, which is about the expression `text` alone, as one about the statement in which it stands within `span`.
fn of_statement(error: Error, place: &Place, span: Span, text: &str) -> Error {
    let Error::Sql(error) = error else {
        return error;
    };
    // A quote within stands there twice: then the places differ.
    let written = place.text().get(span.start..span.end).unwrap_or_default();
    let verbatim = written.find(text).map(|at| span.start + at);
    let within = verbatim.zip(error.span).map(|(at, within)| Span {
        start: at + within.start,
        end: (at + within.end).min(span.end),
    });
    let SqlError {
        code,
        message,
        hint,
        ..
    } = *error;
    // What the planner says of WHERE and HAVING is said of the option.
    let (message, hint) = match code == Code::MissingGroupBy.text() {
        true => (
            "an aggregate may not stand in a punctuation, which is read off one record".to_owned(),
            Some("compare columns of the record, such as punctuated:is_last".to_owned()),
        ),
        false => (
            message.replace(
                "WHERE and HAVING take a condition",
                "a punctuation is a condition",
            ),
            hint,
        ),
    };
    let message = format!("watermark.emit: {message}");
    match place.error(Code::BadWatermark, message, within.or(Some(span)), hint) {
        Error::Sql(shown) => Error::Sql(Box::new(SqlError { code, ..*shown })),
        other => other,
    }
}
