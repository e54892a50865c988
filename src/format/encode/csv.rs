//! Rows as CSV.
//!
//! Law: NULL is the null text, never quoted; a value that reads like it, or that holds a delimiter, a quote or the end of a
//! line, is quoted. So an empty text (`""`) and NULL stay apart.

use datafusion_common::arrow::array::RecordBatch;
use datafusion_common::arrow::datatypes::SchemaRef;
use memchr::{memchr, memchr3};

use super::cells::Column;
use super::{EncodedRows, Encoder, RowBuffer};
use crate::config::options::CsvOptions;

/// Encodes rows as CSV records.
pub(super) struct CsvEncoder {
    delimiter: u8,
    null: Vec<u8>,
    /// Whether the text of a number or a time can neither hold the delimiter nor be the text for NULL.
    digits_are_safe: bool,
    buffer: RowBuffer,
}

impl CsvEncoder {
    pub(super) fn new(options: &CsvOptions) -> CsvEncoder {
        CsvEncoder {
            delimiter: options.delimiter,
            null: options.null.as_bytes().to_vec(),
            digits_are_safe: b",;|\t ".contains(&options.delimiter) && options.null.is_empty(),
            buffer: RowBuffer::new(),
        }
    }
}

impl Encoder for CsvEncoder {
    fn encode(&mut self, rows: &RecordBatch) -> EncodedRows {
        let mut columns: Vec<Column> = rows.columns().iter().map(Column::new).collect();
        let (delimiter, null) = (self.delimiter, self.null.as_slice());
        let digits_are_safe = self.digits_are_safe;
        self.buffer.fill(rows.num_rows(), |out, row| {
            for (index, column) in columns.iter_mut().enumerate() {
                if index > 0 {
                    out.push(delimiter);
                }
                if column.is_null(row) {
                    out.extend_from_slice(null);
                } else {
                    let start = out.len();
                    column.cells.write(row, out);
                    if digits_are_safe && !column.cells.is_text() {
                        continue;
                    }
                    quote_if_needed(out, start, delimiter, null);
                }
            }
        })
    }
}

/// The line that names the columns.
pub(super) fn header(options: &CsvOptions, schema: &SchemaRef) -> Vec<u8> {
    let mut line = Vec::new();
    for (index, field) in schema.fields().iter().enumerate() {
        if index > 0 {
            line.push(options.delimiter);
        }
        let start = line.len();
        line.extend_from_slice(field.name().as_bytes());
        quote_if_needed(&mut line, start, options.delimiter, b"");
    }
    line
}

/// Quotes the field that was appended from `start` on, if it would not be read back as it is.
#[inline]
fn quote_if_needed(out: &mut Vec<u8>, start: usize, delimiter: u8, null: &[u8]) {
    let field = &out[start..];
    let special = memchr3(b'"', b'\n', delimiter, field).or_else(|| memchr(b'\r', field));
    if field != null && special.is_none() {
        return;
    }
    let field = out.split_off(start);
    out.push(b'"');
    for byte in field {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}
