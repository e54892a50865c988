//! Rows as bytes: what every encoder makes.
//!
//! ```text
//!   RecordBatch --Cells (one a column, once a batch)--> json: {"carrier":"AA","n":7}      for programs
//!                                                       csv:  AA,7                        for programs and sheets
//!                                                       table: AA            7            for people
//! ```
//!
//! Law: an encoder takes every type that an expression can yield and refuses nothing. JSON and CSV hold exactly the value
//! (what a decoder of the same type reads back is the same); a table may round a double.

mod cells;
mod csv;
mod json;
mod table;

use datafusion_common::arrow::array::RecordBatch;
use datafusion_common::arrow::datatypes::SchemaRef;

use crate::config::options::CsvOptions;

/// The rows of a batch, encoded one behind the other, without separators.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncodedRows {
    /// All rows' bytes.
    pub bytes: Vec<u8>,
    /// Where each row ends in `bytes`; row `i` starts where row `i - 1` ends.
    pub ends: Vec<usize>,
}

impl EncodedRows {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Appends a row.
    pub fn push(&mut self, row: &[u8]) {
        self.bytes.extend_from_slice(row);
        self.ends.push(self.bytes.len());
    }

    /// The bytes of row `row`.
    pub fn row(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.bytes[start..self.ends[row]]
    }
}

/// Encodes rows of one schema.
pub trait Encoder {
    /// Encodes every row of `rows`, in order.
    fn encode(&mut self, rows: &RecordBatch) -> EncodedRows;
}

/// How rows are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowFormat {
    /// One flat JSON object a row, NULL always present.
    Json,
    /// Comma-separated values.
    Csv(CsvOptions),
    /// Columns of fixed width, for people.
    Table,
}

/// The encoder for rows of `schema`.
pub fn encoder(format: &RowFormat, schema: &SchemaRef) -> Box<dyn Encoder + Send> {
    match format {
        RowFormat::Json => Box::new(json::JsonEncoder::new(schema)),
        RowFormat::Csv(options) => Box::new(csv::CsvEncoder::new(options)),
        RowFormat::Table => Box::new(table::TableEncoder::new(schema)),
    }
}

/// What stands above the rows, once: whole lines, without the last newline; `None` where nothing does.
pub fn header(format: &RowFormat, schema: &SchemaRef) -> Option<Vec<u8>> {
    match format {
        RowFormat::Json => None,
        RowFormat::Csv(options) => options.header.then(|| csv::header(options, schema)),
        RowFormat::Table => Some(table::header(schema)),
    }
}

/// Encodes row by row into one buffer, made large enough by what the rows before took.
struct RowBuffer {
    bytes_per_row: usize,
}

impl RowBuffer {
    fn new() -> RowBuffer {
        RowBuffer { bytes_per_row: 64 }
    }

    /// `write` appends one row's bytes.
    #[inline]
    fn fill(&mut self, rows: usize, mut write: impl FnMut(&mut Vec<u8>, usize)) -> EncodedRows {
        let mut encoded = EncodedRows {
            bytes: Vec::with_capacity(rows * self.bytes_per_row),
            ends: Vec::with_capacity(rows),
        };
        for row in 0..rows {
            write(&mut encoded.bytes, row);
            encoded.ends.push(encoded.bytes.len());
        }
        if let Some(mean) = encoded.bytes.len().checked_div(rows) {
            // An eighth more than the mean, so that a batch a little above it needs no second allocation.
            self.bytes_per_row = mean + mean / 8 + 1;
        }
        encoded
    }
}

#[cfg(test)]
mod tests;
