//! Where the rows of a query go, and whether they fit there.
//!
//! Law: columns go by position. A value becomes one of the column's type by itself only where INSERT of Flink does it and the
//! order of magnitude stays: a wider integer, a float or a decimal of a number, a TIMESTAMP of a DATE. Else the query says CAST.

use std::sync::Arc;

use datafusion_common::arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion_expr::{Cast, Expr};

use super::diagnose::{Code, Place};
use super::lower::Lowered;
use super::planner::option_span;
use super::tokens::Tokens;
use crate::config::nearest::nearest;
use crate::config::options::{KafkaSinkOptions, KeyFormat, SinkConnector, WrittenOption};
use crate::error::{Result, Span};
use crate::plan::required::required;
use crate::plan::{KafkaSink, PlannedExpr, Shape, SinkSpec, sql_type};

/// Where the rows of a query go, as it was written.
pub(super) struct Written<'w> {
    /// The stream; `None` for standard output.
    pub(super) stream: Option<&'w str>,
    /// Its connector; `None` when it is in memory.
    pub(super) connector: Option<SinkConnector>,
    /// WITH of the query.
    pub(super) options: &'w [WrittenOption],
    /// Where the stream's name stands.
    pub(super) span: Span,
}

/// The stream of an INSERT INTO.
#[derive(Clone, Copy)]
pub(super) struct IntoStream<'i> {
    pub(super) stream: &'i str,
    pub(super) columns: &'i Arc<Schema>,
    /// Where its name stands.
    pub(super) span: Span,
}

impl Written<'_> {
    /// The sink of a query.
    pub(super) fn resolve(self, place: &Place, lowered: &Lowered) -> Result<SinkSpec> {
        Ok(match (self.connector, self.stream) {
            (None, None) => SinkSpec::Stdout,
            (None, Some(stream)) => SinkSpec::Stream(stream.to_owned()),
            (Some(SinkConnector::File(file)), _) => SinkSpec::File(file),
            (Some(SinkConnector::Kafka(kafka)), _) => {
                SinkSpec::Kafka(keyed(place, kafka, lowered, self.options, self.span)?)
            }
        })
    }
}

/// A Kafka sink with its message key.
fn keyed(
    place: &Place,
    kafka: KafkaSinkOptions,
    lowered: &Lowered,
    written: &[WrittenOption],
    span: Span,
) -> Result<KafkaSink> {
    let (key, key_columns) = message_key(place, &kafka.key_columns, lowered, written)?;
    let is_one_text = matches!(key_columns.fields().as_ref(), [only] if is_text(only.data_type()));
    let key_format = kafka.key_format.unwrap_or(match is_one_text {
        true => KeyFormat::Raw,
        false => KeyFormat::Json,
    });
    if key_format == KeyFormat::Raw && !is_one_text {
        return Err(place.error(
            Code::BadOption,
            "key.format = 'raw' needs a key of one VARCHAR column",
            Some(option_span(written, "key.format").unwrap_or(span)),
            Some("use key.format = 'json'".to_owned()),
        ));
    }
    Ok(KafkaSink {
        options: kafka,
        key,
        key_columns,
        key_format,
    })
}

/// The message key of a Kafka sink: `key.columns` of the output, else the group columns and the window's start.
fn message_key(
    place: &Place,
    named: &Option<Vec<String>>,
    lowered: &Lowered,
    written: &[WrittenOption],
) -> Result<(Vec<PlannedExpr>, Arc<Schema>)> {
    let Some(named) = named else {
        let (fields, key): (Vec<FieldRef>, Vec<PlannedExpr>) =
            lowered.group_key.iter().cloned().unzip();
        return Ok((key, Arc::new(Schema::new(fields))));
    };
    check_columns_exist(place, named, &lowered.output, written)?;
    let rows = match &lowered.shape {
        Shape::Project(rows) => rows,
        Shape::Aggregate(aggregate) => &aggregate.rows,
    };
    let mut key = Vec::new();
    let mut fields = Vec::new();
    for name in named {
        let index = lowered.output.index_of(name).expect("checked just before");
        key.push(rows[index].clone());
        let field: &Field = lowered.output.field(index);
        fields.push(Arc::new(field.clone()));
    }
    Ok((key, Arc::new(Schema::new(fields))))
}

/// Refuses a name in `key.columns` that is no column.
pub(super) fn check_columns_exist(
    place: &Place,
    named: &[String],
    columns: &Schema,
    written: &[WrittenOption],
) -> Result<()> {
    for name in named {
        if columns.index_of(name).is_err() {
            let known: Vec<&str> = columns
                .fields()
                .iter()
                .map(|field| field.name().as_str())
                .collect();
            return Err(place.error(
                Code::UnknownColumn,
                format!("key.columns names {name}, and there is no such column"),
                option_span(written, "key.columns"),
                Some(match nearest(name, known.iter().copied()) {
                    Some(found) => format!("did you mean {found}?"),
                    None => format!("the columns are {}", known.join(", ")),
                }),
            ));
        }
    }
    Ok(())
}

impl IntoStream<'_> {
    /// Refuses columns that do not fit: `output` is what the query `tokens` makes.
    pub(super) fn check(&self, tokens: &Tokens<'_>, output: &Schema) -> Result<()> {
        let (have, want) = (output.fields(), self.columns.fields());
        let refused = |span: Option<Span>, message: String, hint: String| {
            let span = span.unwrap_or(self.span);
            Err(tokens
                .place()
                .error(Code::BadTarget, message, Some(span), Some(hint)))
        };
        if have.len() != want.len() {
            let names: Vec<&str> = want.iter().map(|field| field.name().as_str()).collect();
            return refused(
                None,
                format!(
                    "stream {} has {}, and this query has {}",
                    self.stream,
                    columns(want.len()),
                    columns(have.len())
                ),
                format!("select, in this order: {}", names.join(", ")),
            );
        }
        let want_all = want.len();
        for (place, (have, want)) in have.iter().zip(want).enumerate() {
            if !fits(have.data_type(), want.data_type()) {
                return refused(
                    tokens.select_item(place, want_all),
                    format!(
                        "column {} of stream {} is {}, and this is {}",
                        want.name(),
                        self.stream,
                        sql_type(want.data_type()),
                        sql_type(have.data_type())
                    ),
                    format!(
                        "CAST it, and know what is lost: CAST(.. AS {})",
                        sql_type(want.data_type())
                    ),
                );
            }
        }
        Ok(())
    }

    /// `exprs`, of the types `output`, as the columns of the stream.
    pub(super) fn coerced(&self, exprs: Vec<Expr>, output: &Schema) -> Vec<Expr> {
        let fields = output.fields().iter().zip(self.columns.fields());
        let coerce = |(expr, (have, want)): (Expr, (&FieldRef, &FieldRef))| {
            let expr = match have.data_type() == want.data_type() {
                true => expr,
                false => Expr::Cast(Cast::new(Box::new(expr), want.data_type().clone())),
            };
            match have.is_nullable() && !want.is_nullable() {
                true => required(want.name(), expr),
                false => expr,
            }
        };
        exprs.into_iter().zip(fields).map(coerce).collect()
    }
}

fn columns(count: usize) -> String {
    match count {
        1 => "1 column".to_owned(),
        _ => format!("{count} columns"),
    }
}

/// Whether every value of `have` is a value of `want`. Decimals that are too large are found at run time.
fn fits(have: &DataType, want: &DataType) -> bool {
    use DataType::{Date32, Decimal128, Float32, Float64, Int8, Int16, Int32, Int64, Null};
    if have == want || (is_text(have) && is_text(want)) || (is_bytes(have) && is_bytes(want)) {
        return true;
    }
    matches!(
        (have, want),
        (Null, _)
            | (Int8, Int16 | Int32 | Int64)
            | (Int16, Int32 | Int64)
            | (Int32, Int64)
            | (
                Int8 | Int16 | Int32 | Int64 | Decimal128(..),
                Float32 | Float64 | Decimal128(..)
            )
            | (Float32, Float64)
            | (Date32, DataType::Timestamp(..))
    )
}

fn is_bytes(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView
    )
}

fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}
