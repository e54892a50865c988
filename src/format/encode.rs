//! Rows as bytes: what every encoder makes.

use datafusion_common::arrow::array::RecordBatch;

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
