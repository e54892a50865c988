//! A column of any type, as an encoder reads it.
//!
//! Law: the type is looked at once a batch. The common types are read where they lie; the rare ones are brought to a
//! common one of the same value, and what has none (lists, structs, intervals ..) to its text.

use std::sync::Arc;

use datafusion_common::arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array,
    Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, StringArray,
    StringViewArray, Time64MicrosecondArray, TimestampMicrosecondArray, UInt64Array,
};
use datafusion_common::arrow::buffer::NullBuffer;
use datafusion_common::arrow::compute::cast;
use datafusion_common::arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::format::iso8601::{LastDay, write_date, write_time, write_timestamp_near};
use crate::format::number::{
    write_decimal, write_double, write_integer, write_single, write_unsigned,
};
use crate::plan::typed::converted;

/// A column and its NULLs.
pub(super) struct Column {
    nulls: Option<NullBuffer>,
    pub(super) cells: Cells,
}

/// The values of a column, by how they are written.
pub(super) enum Cells {
    /// Nothing but NULL.
    Null,
    Boolean(BooleanArray),
    Int8(Int8Array),
    Int16(Int16Array),
    Int32(Int32Array),
    Integer(Int64Array),
    Unsigned(UInt64Array),
    Single(Float32Array),
    Double(Float64Array),
    Decimal(Decimal128Array, usize),
    /// Numbers too wide for the rest, as text.
    Digits(StringArray),
    Text(StringArray),
    TextView(StringViewArray),
    Bytes(BinaryViewArray),
    Date(Date32Array),
    Time(Time64MicrosecondArray),
    Timestamp(TimestampMicrosecondArray, LastDay),
}

impl Column {
    pub(super) fn new(array: &ArrayRef) -> Column {
        let array = decoded(array);
        let cells = Cells::new(&array);
        Column {
            nulls: array.logical_nulls(),
            cells,
        }
    }

    #[inline]
    pub(super) fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }
}

/// The same column without a dictionary or runs.
fn decoded(array: &ArrayRef) -> ArrayRef {
    let values = match array.data_type() {
        DataType::Dictionary(_, values) => values.as_ref(),
        DataType::RunEndEncoded(_, values) => values.data_type(),
        _ => return Arc::clone(array),
    };
    match cast(array, values) {
        Ok(plain) => decoded(&plain),
        Err(_) => Arc::clone(array),
    }
}

impl Cells {
    fn new(array: &ArrayRef) -> Cells {
        let plain = match array.data_type() {
            DataType::UInt8 | DataType::UInt16 | DataType::UInt32 => Some(DataType::UInt64),
            DataType::Float16 => Some(DataType::Float32),
            DataType::LargeUtf8 => Some(DataType::Utf8View),
            DataType::Binary | DataType::LargeBinary => Some(DataType::BinaryView),
            DataType::FixedSizeBinary(_) => Some(DataType::Binary),
            DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
                Some(DataType::Decimal128(*precision, *scale))
            }
            DataType::Date64 => Some(DataType::Date32),
            DataType::Time32(_) | DataType::Time64(TimeUnit::Nanosecond) => {
                Some(DataType::Time64(TimeUnit::Microsecond))
            }
            _ => None,
        };
        if let Some(plain) = plain
            && let Ok(array) = cast(array, &plain)
        {
            return Cells::new(&array);
        }
        match array.data_type() {
            DataType::Null => Cells::Null,
            DataType::Boolean => Cells::Boolean(array.as_boolean().clone()),
            DataType::Int8 => Cells::Int8(array.as_primitive().clone()),
            DataType::Int16 => Cells::Int16(array.as_primitive().clone()),
            DataType::Int32 => Cells::Int32(array.as_primitive().clone()),
            DataType::Int64 => Cells::Integer(array.as_primitive().clone()),
            DataType::UInt64 => Cells::Unsigned(array.as_primitive().clone()),
            DataType::Float32 => Cells::Single(array.as_primitive().clone()),
            DataType::Float64 => Cells::Double(array.as_primitive().clone()),
            DataType::Decimal128(_, scale) if *scale >= 0 => {
                Cells::Decimal(array.as_primitive().clone(), scale.unsigned_abs().into())
            }
            DataType::Decimal128(..) | DataType::Decimal256(..) => Cells::Digits(displayed(array)),
            DataType::Utf8 => Cells::Text(array.as_string().clone()),
            DataType::Utf8View => Cells::TextView(array.as_string_view().clone()),
            DataType::BinaryView => Cells::Bytes(array.as_binary_view().clone()),
            DataType::Date32 => Cells::Date(array.as_primitive().clone()),
            DataType::Time64(TimeUnit::Microsecond) => Cells::Time(array.as_primitive().clone()),
            DataType::Timestamp(..) => {
                let micros = converted(array, &DataType::Timestamp(TimeUnit::Microsecond, None))
                    .expect("what computes a TIMESTAMP refuses what is none");
                Cells::Timestamp(micros.as_primitive().clone(), LastDay::default())
            }
            _ => Cells::Text(displayed(array)),
        }
    }

    /// Whether the values are text, which may hold any character, or bytes, which may be none.
    #[inline]
    pub(super) fn is_text(&self) -> bool {
        matches!(self, Cells::Text(_) | Cells::TextView(_) | Cells::Bytes(_))
    }

    /// Whether the values are counted, and so read best from the right.
    pub(super) fn is_number(data_type: &DataType) -> bool {
        match data_type {
            DataType::Dictionary(_, values) => Cells::is_number(values),
            other => other.is_numeric(),
        }
    }

    /// Appends the value of `row`, which is not NULL, without any quoting.
    #[inline]
    pub(super) fn write(&mut self, row: usize, out: &mut Vec<u8>) {
        match self {
            Cells::Null => unreachable!("a column of NULLs has no value"),
            Cells::Boolean(cells) => {
                out.extend_from_slice(if cells.value(row) { b"true" } else { b"false" });
            }
            Cells::Int8(cells) => write_integer(out, cells.value(row).into()),
            Cells::Int16(cells) => write_integer(out, cells.value(row).into()),
            Cells::Int32(cells) => write_integer(out, cells.value(row).into()),
            Cells::Integer(cells) => write_integer(out, cells.value(row)),
            Cells::Unsigned(cells) => write_unsigned(out, cells.value(row)),
            Cells::Single(cells) => write_single(out, cells.value(row)),
            Cells::Double(cells) => write_double(out, cells.value(row)),
            Cells::Decimal(cells, scale) => write_decimal(out, cells.value(row), *scale),
            Cells::Digits(cells) | Cells::Text(cells) => {
                out.extend_from_slice(cells.value(row).as_bytes());
            }
            Cells::TextView(cells) => out.extend_from_slice(cells.value(row).as_bytes()),
            Cells::Bytes(cells) => write_base64(out, cells.value(row)),
            Cells::Date(cells) => write_date(out, cells.value(row)),
            Cells::Time(cells) => write_time(out, cells.value(row)),
            Cells::Timestamp(cells, last) => write_timestamp_near(out, cells.value(row), last),
        }
    }
}

/// Appends bytes as base64.
fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let start = out.len();
    let length = base64::encoded_len(bytes.len(), true).expect("a value that fits in memory");
    out.resize(start + length, 0);
    let written = STANDARD
        .encode_slice(bytes, &mut out[start..])
        .expect("as long as computed");
    debug_assert_eq!(written, length);
}

/// The text that Arrow gives each value; for a value that it cannot show, the text of its complaint.
fn displayed(array: &ArrayRef) -> StringArray {
    let options = FormatOptions::default();
    match ArrayFormatter::try_new(array.as_ref(), &options) {
        Ok(formatter) => (0..array.len())
            .map(|row| {
                let text = formatter.value(row).try_to_string();
                array
                    .is_valid(row)
                    .then(|| text.unwrap_or_else(|error| error.to_string()))
            })
            .collect(),
        Err(error) => (0..array.len()).map(|_| Some(error.to_string())).collect(),
    }
}
