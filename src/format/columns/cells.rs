//! The values of a column, by type.
//!
//! Law: a token that is no value of the type appends nothing and says why. Numbers and short texts, nearly all that there
//! is, have ways of their own past the token: they give the same values, or leave the field to it.

use std::sync::Arc;

use datafusion_common::arrow::array::ArrayRef;
use datafusion_common::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, Time64MicrosecondType, TimeUnit as ArrowUnit, TimestampMicrosecondType,
};

use super::fixed::{Fixed, Truths};
use super::views::{ByteStrings, ShortText, Texts};
use crate::config::options::TimeUnit;
use crate::error::{Error, Result};
use crate::format::plain::Plain;
use crate::format::token::{
    Token, Wrong, boolean, bytes, date, decimal, double, integer, micros, narrow, single, text,
    time, timestamp,
};
use crate::plan::sql_type;
use crate::time::EventTime;

pub(super) const TIMESTAMP: DataType = DataType::Timestamp(ArrowUnit::Microsecond, None);

/// The values of a column.
pub(super) enum Cells {
    Boolean(Truths),
    Int8(Fixed<Int8Type>),
    Int16(Fixed<Int16Type>),
    Int32(Fixed<Int32Type>),
    Int64(Fixed<Int64Type>),
    Float32(Fixed<Float32Type>),
    Float64(Fixed<Float64Type>),
    Decimal {
        cells: Fixed<Decimal128Type>,
        precision: u8,
        scale: i8,
    },
    Text(Texts),
    Bytes(ByteStrings),
    Date(Fixed<Date32Type>),
    Time(Fixed<Time64MicrosecondType>),
    Timestamp(Fixed<TimestampMicrosecondType>),
    /// An event time that no query needs as a column: only the last one is known.
    TimeOnly {
        last: i64,
    },
    /// What the format asks of a wanted value has been asked, and the value is dropped.
    Checked,
}

/// What a column takes without a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::format) enum Takes {
    /// `Plain` numbers.
    Numbers,
    /// `ShortText`.
    Texts,
    /// Neither.
    Others,
}

impl Cells {
    /// No values yet, of the column's type.
    pub(super) fn new(field: &Field) -> Result<Cells> {
        Ok(match *field.data_type() {
            DataType::Boolean => Cells::Boolean(Truths::default()),
            DataType::Int8 => Cells::Int8(Fixed::new()),
            DataType::Int16 => Cells::Int16(Fixed::new()),
            DataType::Int32 => Cells::Int32(Fixed::new()),
            DataType::Int64 => Cells::Int64(Fixed::new()),
            DataType::Float32 => Cells::Float32(Fixed::new()),
            DataType::Float64 => Cells::Float64(Fixed::new()),
            DataType::Decimal128(precision, scale) => Cells::Decimal {
                cells: Fixed::new(),
                precision,
                scale,
            },
            DataType::Utf8View => Cells::Text(Texts::new()),
            DataType::BinaryView => Cells::Bytes(ByteStrings::new()),
            DataType::Date32 => Cells::Date(Fixed::new()),
            DataType::Time64(ArrowUnit::Microsecond) => Cells::Time(Fixed::new()),
            TIMESTAMP => Cells::Timestamp(Fixed::new()),
            ref other => {
                return Err(Error::Config(format!(
                    "column {}: {} cannot be read from text; declare it as VARCHAR and convert it in the query",
                    field.name(),
                    sql_type(other)
                )));
            }
        })
    }

    /// What `append_plain` and `append_short` may take.
    pub(super) fn takes(&self) -> Takes {
        match self {
            Cells::Int32(_)
            | Cells::Int64(_)
            | Cells::Float64(_)
            | Cells::Timestamp(_)
            | Cells::TimeOnly { .. } => Takes::Numbers,
            Cells::Text(_) => Takes::Texts,
            _ => Takes::Others,
        }
    }

    /// Appends the value of a token that is not NULL, or appends nothing and says why.
    #[inline]
    pub(super) fn append(
        &mut self,
        token: Token<'_>,
        unit: TimeUnit,
        scratch: &mut Vec<u8>,
    ) -> Result<(), Wrong> {
        match self {
            Cells::Boolean(cells) => cells.push(boolean(token)?),
            Cells::Int8(cells) => cells.push(narrow(integer(token)?)?),
            Cells::Int16(cells) => cells.push(narrow(integer(token)?)?),
            Cells::Int32(cells) => cells.push(narrow(integer(token)?)?),
            Cells::Int64(cells) => cells.push(integer(token)?),
            Cells::Float32(cells) => cells.push(single(token)?),
            Cells::Float64(cells) => cells.push(double(token)?),
            Cells::Decimal {
                cells,
                precision,
                scale,
            } => cells.push(decimal(token, *precision, *scale)?),
            Cells::Text(cells) => cells.push(text(token)?),
            Cells::Bytes(cells) => cells.push(bytes(token, scratch)?),
            Cells::Date(cells) => cells.push(date(token)?),
            Cells::Time(cells) => cells.push(time(token)?),
            Cells::Timestamp(cells) => cells.push(timestamp(token, unit)?),
            Cells::TimeOnly { last } => *last = timestamp(token, unit)?,
            Cells::Checked => {}
        }
        Ok(())
    }

    /// Appends a plain number, if that is all it takes. False, and nothing is appended, if the type or the value wants more
    /// than that.
    #[inline]
    pub(super) fn append_plain(&mut self, number: Plain, unit: TimeUnit) -> bool {
        match self {
            Cells::Int64(cells) => match number.integer() {
                Some(value) => cells.push(value),
                None => return false,
            },
            Cells::Int32(cells) => match number.integer().map(i32::try_from) {
                Some(Ok(value)) => cells.push(value),
                _ => return false,
            },
            Cells::Float64(cells) => match number.double() {
                Some(value) => cells.push(value),
                None => return false,
            },
            Cells::Timestamp(cells) => match number.integer().map(|value| micros(value, unit)) {
                Some(Ok(value)) => cells.push(value),
                _ => return false,
            },
            Cells::TimeOnly { last } => match number.integer().map(|value| micros(value, unit)) {
                Some(Ok(value)) => *last = value,
                _ => return false,
            },
            Cells::Checked => {}
            _ => return false,
        }
        true
    }

    /// Appends a short text to a column of text; false if it is none.
    #[inline]
    pub(super) fn append_short(&mut self, text: ShortText) -> bool {
        match self {
            Cells::Text(cells) => cells.push_short(text),
            Cells::Checked => {}
            _ => return false,
        }
        true
    }

    #[inline]
    pub(super) fn append_null(&mut self) {
        match self {
            Cells::Boolean(cells) => cells.push_null(),
            Cells::Int8(cells) => cells.push_null(),
            Cells::Int16(cells) => cells.push_null(),
            Cells::Int32(cells) => cells.push_null(),
            Cells::Int64(cells) => cells.push_null(),
            Cells::Float32(cells) => cells.push_null(),
            Cells::Float64(cells) => cells.push_null(),
            Cells::Decimal { cells, .. } => cells.push_null(),
            Cells::Text(cells) => cells.push_null(),
            Cells::Bytes(cells) => cells.push_null(),
            Cells::Date(cells) => cells.push_null(),
            Cells::Time(cells) => cells.push_null(),
            Cells::Timestamp(cells) => cells.push_null(),
            Cells::TimeOnly { .. } | Cells::Checked => {}
        }
    }

    /// Takes the last value back, or the last NULL.
    pub(super) fn pop(&mut self) {
        match self {
            Cells::Boolean(cells) => cells.pop(),
            Cells::Int8(cells) => cells.pop(),
            Cells::Int16(cells) => cells.pop(),
            Cells::Int32(cells) => cells.pop(),
            Cells::Int64(cells) => cells.pop(),
            Cells::Float32(cells) => cells.pop(),
            Cells::Float64(cells) => cells.pop(),
            Cells::Decimal { cells, .. } => cells.pop(),
            Cells::Text(cells) => cells.pop(),
            Cells::Bytes(cells) => cells.pop(),
            Cells::Date(cells) => cells.pop(),
            Cells::Time(cells) => cells.pop(),
            Cells::Timestamp(cells) => cells.pop(),
            Cells::TimeOnly { .. } | Cells::Checked => {}
        }
    }

    /// The event time that was appended last.
    #[inline]
    pub(super) fn last_time(&self) -> EventTime {
        match self {
            Cells::Timestamp(cells) => EventTime(cells.last().expect("a time was appended")),
            Cells::TimeOnly { last } => EventTime(*last),
            _ => unreachable!("the event time is a TIMESTAMP"),
        }
    }

    /// Takes the values and makes room for `capacity` more.
    pub(super) fn finish(&mut self, capacity: usize) -> Option<ArrayRef> {
        Some(match self {
            Cells::Boolean(cells) => Arc::new(cells.finish()),
            Cells::Int8(cells) => Arc::new(cells.finish(capacity)),
            Cells::Int16(cells) => Arc::new(cells.finish(capacity)),
            Cells::Int32(cells) => Arc::new(cells.finish(capacity)),
            Cells::Int64(cells) => Arc::new(cells.finish(capacity)),
            Cells::Float32(cells) => Arc::new(cells.finish(capacity)),
            Cells::Float64(cells) => Arc::new(cells.finish(capacity)),
            Cells::Decimal {
                cells,
                precision,
                scale,
            } => {
                let decimals = cells.finish(capacity);
                Arc::new(decimals.with_data_type(DataType::Decimal128(*precision, *scale)))
            }
            Cells::Text(cells) => Arc::new(cells.finish(capacity)),
            Cells::Bytes(cells) => Arc::new(cells.finish(capacity)),
            Cells::Date(cells) => Arc::new(cells.finish(capacity)),
            Cells::Time(cells) => Arc::new(cells.finish(capacity)),
            Cells::Timestamp(cells) => Arc::new(cells.finish(capacity)),
            Cells::TimeOnly { .. } | Cells::Checked => return None,
        })
    }
}
