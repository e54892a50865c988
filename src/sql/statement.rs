//! Statements: which kind, and the parts that are not a query.
//!
//! ```text
//!   CREATE STREAM name (columns, WATERMARK ..) [WITH (..)]   Declare
//!   CREATE STREAM name [WITH (..)] AS query                  Write
//!   INSERT INTO name query                                   Insert
//!   query                                                    Print
//!   EXPLAIN statement                                        Explain
//!   SHOW STREAMS, DESCRIBE name                              ShowStreams, Describe
//!   SET 'key' = 'value'                                      Set
//! ```
//! Without WITH a stream is in memory.

use std::sync::Arc;

use datafusion_common::arrow::datatypes::{DataType, Field, Schema};
use datafusion_sql::sqlparser::tokenizer::Token;

use super::catalog::{TIMESTAMP, data_type};
use super::clause::watermark;
use super::diagnose::Code;
use super::tokens::Tokens;
use crate::config::options::WrittenOption;
use crate::error::{Result, Span};

/// One statement, read as far as its own words.
pub(super) enum Statement<'t> {
    /// A declared stream.
    Declare(Declaration),
    /// A query that makes a stream.
    Write {
        /// The stream's name.
        name: String,
        /// Where the name stands.
        span: Span,
        /// WITH; empty when the stream is in memory.
        options: Vec<WrittenOption>,
        /// The query.
        query: Tokens<'t>,
    },
    /// A query that writes into a stream which is there.
    Insert {
        /// The stream's name.
        name: String,
        /// Where the name stands.
        span: Span,
        /// The query.
        query: Tokens<'t>,
    },
    /// A query whose rows go to standard output.
    Print(Tokens<'t>),
    /// A statement that is planned and shown, not run.
    Explain(Box<Statement<'t>>),
    /// The streams are shown.
    ShowStreams,
    /// The columns of a stream are shown.
    Describe {
        /// The stream's name.
        name: String,
        /// Where the name stands.
        span: Span,
    },
    /// An option for the queries that follow.
    Set(WrittenOption),
}

/// The stream that a statement would have made, whether or not the rest of it can be read.
pub(super) fn name_made_by(tokens: &Tokens<'_>) -> Option<String> {
    let mut tokens = tokens.clone();
    let makes = tokens.take_words(&["create", "stream"]);
    makes.then(|| tokens.expect_identifier("a name").ok())?
}

/// CREATE STREAM with columns.
pub(super) struct Declaration {
    /// The stream's name.
    pub name: String,
    /// Where the name stands.
    pub span: Span,
    /// Its columns; not nullable where NOT NULL was written.
    pub columns: Arc<Schema>,
    /// The event time column, by index, and its bound in microseconds.
    pub watermark: Option<(usize, i64)>,
    /// Where the WATERMARK clause stands, if there is one.
    pub watermark_span: Option<Span>,
    /// WITH; empty when the stream is in memory.
    pub options: Vec<WrittenOption>,
}

/// Reads one statement.
pub(super) fn read<'t>(mut tokens: Tokens<'t>) -> Result<Statement<'t>> {
    let start = tokens.span();
    if tokens.take_word("explain") {
        if tokens.at_word("analyze") {
            return Err(tokens.place().error(
                Code::NotAvailable,
                "EXPLAIN ANALYZE is not available yet",
                Some(tokens.span()),
                Some("EXPLAIN shows the plan; velo run --report measures a run".to_owned()),
            ));
        }
        return match read(tokens.take_rest())? {
            Statement::Explain(_) => Err(tokens.place().error(
                Code::Syntax,
                "an EXPLAIN explains a query, not another EXPLAIN",
                Some(start),
                None,
            )),
            Statement::Set(_)
            | Statement::Declare(_)
            | Statement::ShowStreams
            | Statement::Describe { .. } => Err(tokens.place().error(
                Code::Syntax,
                "there is nothing to explain: this statement computes nothing",
                Some(start),
                Some("write EXPLAIN before a SELECT or a CREATE STREAM .. AS".to_owned()),
            )),
            query => Ok(Statement::Explain(Box::new(query))),
        };
    }
    if tokens.at_words(&["create", "stream"]) {
        tokens.take_words(&["create", "stream"]);
        return create(tokens);
    }
    if tokens.take_word("set") {
        return set(tokens);
    }
    if tokens.at_word("select") || tokens.at_word("with") {
        return Ok(Statement::Print(tokens.take_rest()));
    }
    if tokens.take_words(&["insert", "into"]) {
        return insert(tokens);
    }
    if tokens.take_word("show") {
        tokens.expect_word("streams")?;
        tokens.expect_end()?;
        return Ok(Statement::ShowStreams);
    }
    if tokens.take_word("describe") {
        let span = tokens.span();
        let name = tokens.expect_identifier("the name of the stream")?;
        tokens.expect_end()?;
        return Ok(Statement::Describe { name, span });
    }
    if tokens.at_word("drop") {
        return Err(tokens.place().error(
            Code::NotAvailable,
            "DROP is not available yet",
            Some(tokens.span()),
            Some(format!("the statements are {STATEMENTS}")),
        ));
    }
    if tokens.at_word("create") {
        let mut after = tokens.clone();
        after.take();
        if after.at_words(&["or", "replace"]) {
            return Err(tokens.place().error(
                Code::Syntax,
                "expected CREATE STREAM, and OR REPLACE has nothing to replace: a file declares its streams anew in each run",
                Some(after.span()),
                Some("leave OR REPLACE out".to_owned()),
            ));
        }
        return Err(tokens.place().error(
            Code::Syntax,
            "only streams can be created",
            Some(after.span()),
            Some("write CREATE STREAM name (columns) WITH (connector = ..)".to_owned()),
        ));
    }
    Err(tokens.expected(&STATEMENTS.replace(" and ", " or ")))
}

const STATEMENTS: &str =
    "CREATE STREAM, INSERT INTO, SELECT, EXPLAIN, SHOW STREAMS, DESCRIBE and SET";

fn insert<'t>(mut tokens: Tokens<'t>) -> Result<Statement<'t>> {
    let span = tokens.span();
    let name = tokens.expect_identifier("the name of the stream")?;
    if tokens.peek() == Some(&Token::LParen) {
        return Err(tokens.place().error(
            Code::NotAvailable,
            "INSERT INTO with a list of columns is not available yet",
            Some(tokens.span()),
            Some(
                "leave it out, and select every column in the order of the declaration".to_owned(),
            ),
        ));
    }
    if !tokens.at_word("select") && !tokens.at_word("with") {
        return Err(tokens.expected("a query: SELECT .."));
    }
    Ok(Statement::Insert {
        name,
        span,
        query: tokens.take_rest(),
    })
}

fn create<'t>(mut tokens: Tokens<'t>) -> Result<Statement<'t>> {
    if tokens.at_words(&["if", "not", "exists"]) {
        return Err(tokens.place().error(
            Code::Syntax,
            "expected the name of the stream, and IF NOT EXISTS has nothing to look for: a file declares its streams anew in each run",
            Some(tokens.span()),
            Some("leave IF NOT EXISTS out".to_owned()),
        ));
    }
    let span = tokens.span();
    let name = tokens.expect_identifier("the name of the stream")?;
    if tokens.take_token(&Token::LParen) {
        let columns_span = tokens.span();
        let body = tokens.take_to_closing()?;
        let Columns {
            schema,
            watermark,
            watermark_span,
        } = columns(body, columns_span)?;
        let options = with(&mut tokens)?;
        if tokens.at_word("as") {
            return Err(tokens.place().error(
                Code::Syntax,
                "a stream that is written by a query takes its columns from the query",
                Some(tokens.span()),
                Some("leave the column list out".to_owned()),
            ));
        }
        tokens.expect_end()?;
        return Ok(Statement::Declare(Declaration {
            name,
            span,
            columns: schema,
            watermark,
            watermark_span,
            options,
        }));
    }
    let options = with(&mut tokens)?;
    if !tokens.take_word("as") {
        return Err(tokens.expected("(columns), WITH (..) or AS"));
    }
    Ok(Statement::Write {
        name,
        span,
        options,
        query: tokens.take_rest(),
    })
}

/// What stands between the parentheses of a declaration.
struct Columns {
    schema: Arc<Schema>,
    /// The event time column, by index, and its bound in microseconds.
    watermark: Option<(usize, i64)>,
    /// Where the WATERMARK clause stands, if there is one.
    watermark_span: Option<Span>,
}

/// Column definitions and at most one WATERMARK clause.
fn columns(body: Tokens<'_>, span: Span) -> Result<Columns> {
    let place = body.place();
    let mut fields: Vec<Field> = Vec::new();
    let mut marked: Option<(String, Span, i64)> = None;
    let mut watermark_span = None;
    for mut part in body.split_commas() {
        let at = part.whole_span();
        if part.take_words(&["watermark", "for"]) {
            if marked.is_some() {
                let hint = "leave one of them out".to_owned();
                return Err(place.error(
                    Code::BadWatermark,
                    "a stream has one watermark",
                    Some(at),
                    Some(hint),
                ));
            }
            watermark_span = Some(at);
            marked = Some(watermark(&mut part)?);
            continue;
        }
        if part.at_words(&["primary", "key"]) {
            return Err(place.error(
                Code::Syntax,
                "expected a column or WATERMARK, and a stream has no PRIMARY KEY",
                Some(at),
                Some("leave it out; key.columns = '..' in WITH says that equal values are in one partition".to_owned()),
            ));
        }
        let field = column(&mut part)?;
        if fields.iter().any(|known| known.name() == field.name()) {
            return Err(place.error(
                Code::DuplicateName,
                format!("column {} is declared twice", field.name()),
                Some(at),
                Some("give one of them another name; only quoted names keep their case".to_owned()),
            ));
        }
        fields.push(field);
    }
    if fields.is_empty() {
        let hint = "write CREATE STREAM name (ts TIMESTAMP, ..)".to_owned();
        return Err(place.error(
            Code::Syntax,
            "a stream has at least one column",
            Some(span),
            Some(hint),
        ));
    }
    let watermark = match marked {
        None => None,
        Some((name, at, bound_us)) => {
            let Some(index) = fields.iter().position(|field| *field.name() == name) else {
                let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
                return Err(place.error(
                    Code::UnknownColumn,
                    format!("there is no column {name}"),
                    Some(at),
                    Some(format!("the columns are {}", names.join(", "))),
                ));
            };
            if *fields[index].data_type() != TIMESTAMP {
                return Err(place.error(
                    Code::BadWatermark,
                    format!("the event time {name} is not a TIMESTAMP"),
                    Some(at),
                    Some(format!(
                        "declare it as {name} TIMESTAMP; numbers count event_time.unit"
                    )),
                ));
            }
            Some((index, bound_us))
        }
    };
    Ok(Columns {
        schema: Arc::new(Schema::new(fields)),
        watermark,
        watermark_span,
    })
}

fn column(part: &mut Tokens<'_>) -> Result<Field> {
    let name = part.expect_identifier("a column name")?;
    let type_span = part.span();
    let sql_type = part.parse(|parser| parser.parse_data_type())?;
    let data_type: DataType = match data_type(&sql_type) {
        Some(data_type) => data_type,
        None => {
            return Err(part.place().error(
                Code::NotAvailable,
                format!("the type {sql_type} is not available"),
                Some(type_span),
                Some(
                    "the types are BOOLEAN, TINYINT, SMALLINT, INT, BIGINT, REAL, DOUBLE, DECIMAL(p, s), VARCHAR, BYTES, \
                     DATE, TIME and TIMESTAMP"
                        .to_owned(),
                ),
            ));
        }
    };
    let required = part.take_words(&["not", "null"]);
    if !required {
        part.take_word("null");
    }
    if part.at_words(&["primary", "key"]) || part.at_word("key") {
        return Err(part.place().error(
            Code::Syntax,
            format!("a stream has no PRIMARY KEY, and column {name} cannot be a KEY"),
            Some(part.span()),
            Some(format!(
                "leave it out; key.columns = '{name}' in WITH says that equal values are in one partition"
            )),
        ));
    }
    if !part.is_at_end() {
        return Err(part.expected("',' or ')' behind the column"));
    }
    Ok(Field::new(name, data_type, !required))
}

/// `WITH (key = value, ..)`, if it comes next.
fn with(tokens: &mut Tokens<'_>) -> Result<Vec<WrittenOption>> {
    if !tokens.take_word("with") {
        return Ok(Vec::new());
    }
    tokens.expect_token(&Token::LParen)?;
    let body = tokens.take_to_closing()?;
    if body.is_at_end() {
        return Err(body.expected("an option such as connector = 'file'"));
    }
    body.split_commas()
        .into_iter()
        .map(|mut part| {
            let option = option(&mut part)?;
            part.expect_end()?;
            Ok(option)
        })
        .collect()
}

fn set<'t>(mut tokens: Tokens<'t>) -> Result<Statement<'t>> {
    let option = option(&mut tokens)?;
    tokens.expect_end()?;
    Ok(Statement::Set(option))
}

/// `key = value`: the key is quoted or dotted words, the value a string, a number or a word.
fn option(part: &mut Tokens<'_>) -> Result<WrittenOption> {
    let span = part.whole_span();
    let key = match part.take() {
        Some(Token::SingleQuotedString(key)) => key,
        Some(Token::Word(word)) => {
            let mut key = match word.quote_style {
                Some(_) => word.value,
                None => word.value.to_lowercase(),
            };
            while part.take_token(&Token::Period) || part.take_token(&Token::Minus) {
                key.push('.');
                key.push_str(&part.expect_identifier("the rest of the option's name")?);
            }
            key
        }
        _ => {
            return Err(part.place().error(
                Code::Syntax,
                "expected an option such as connector = 'file'",
                Some(span),
                None,
            ));
        }
    };
    part.expect_token(&Token::Eq)?;
    let negative = part.take_token(&Token::Minus);
    let value = match part.take() {
        Some(Token::SingleQuotedString(value)) => value,
        Some(Token::Number(value, _)) => value,
        Some(Token::Word(word)) => word.value,
        _ => {
            return Err(part.place().error(
                Code::Syntax,
                format!("option {key} has no value"),
                Some(span),
                Some(format!("write {key} = '..'")),
            ));
        }
    };
    let value = if negative { format!("-{value}") } else { value };
    let origin = part.place().origin(span);
    Ok(WrittenOption {
        key,
        value,
        span,
        origin,
    })
}
