//! What crosses a lane: rows, watermarks, and the end.
//!
//! Law: a block carries key columns, never ids that mean something to one shard only. All columns of `KeyedRows` have the
//! same length (`assert_consistent`). What is taken out of rows shares no memory with them: the receiver owns it.

use std::sync::Arc;

use datafusion_common::arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use datafusion_common::arrow::compute::take;
use datafusion_common::arrow::datatypes::DataType;

use crate::time::Watermark;

/// Accepted records on their way to the state of their groups.
#[derive(Clone, Debug, Default)]
pub struct KeyedRows {
    /// Number of rows: there may be no column to tell it.
    pub rows: usize,
    /// The key columns, normalised (`KeyForm`).
    pub keys: Vec<ArrayRef>,
    /// The stable hash of each row's key, while it is not yet known who owns it; else empty.
    pub hashes: Vec<u64>,
    /// The number of the pane that each row falls into; empty when the query has no window.
    pub panes: Vec<i64>,
    /// The arguments of the aggregates, in the order of `AggregatePlan::arguments`.
    pub arguments: Vec<ArrayRef>,
    /// When the rows were due, wall clock, microseconds since the epoch.
    pub due_us: i64,
}

/// What one shard tells another over a lane.
#[derive(Clone, Debug)]
pub enum Block {
    /// Rows whose keys the receiver owns.
    Rows(KeyedRows),
    /// The sender's promise, after all rows that it covers.
    Watermark {
        /// The promise.
        time: Watermark,
        /// When the record that moved it was due, wall clock, microseconds since the epoch.
        due_us: i64,
    },
    /// The sender has no input that could speak and must not hold back the others, until it sends something else.
    Idle,
    /// Nothing follows.
    End,
}

impl KeyedRows {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The rows at `rows`, in that order, in memory of their own, and without hashes: their owner is known.
    pub fn take(&self, rows: &[u32]) -> KeyedRows {
        let indexes = UInt32Array::from(rows.to_vec());
        KeyedRows {
            rows: rows.len(),
            keys: self
                .keys
                .iter()
                .map(|column| owned(column, &indexes))
                .collect(),
            hashes: Vec::new(),
            panes: match self.panes.is_empty() {
                true => Vec::new(),
                false => rows.iter().map(|&row| self.panes[row as usize]).collect(),
            },
            arguments: self
                .arguments
                .iter()
                .map(|column| owned(column, &indexes))
                .collect(),
            due_us: self.due_us,
        }
    }

    /// Checks the law of equal lengths.
    pub fn assert_consistent(&self) {
        assert!(
            self.panes.is_empty() || self.panes.len() == self.len(),
            "a pane was lost or gained"
        );
        assert!(
            self.hashes.is_empty() || self.hashes.len() == self.len(),
            "a hash was lost or gained"
        );
        let mut columns = self.keys.iter().chain(&self.arguments);
        assert!(
            columns.all(|column| column.len() == self.len()),
            "a key or an argument was lost or gained"
        );
    }
}

/// The values of `column` at `rows`. Text and byte views would keep the whole batch alive, and would count their references
/// across shards, so they are packed anew.
fn owned(column: &ArrayRef, rows: &UInt32Array) -> ArrayRef {
    let taken = take(column, rows, None).expect("every index is a row of the column");
    match taken.data_type() {
        DataType::Utf8View => Arc::new(taken.as_string_view().gc()),
        DataType::BinaryView => Arc::new(taken.as_binary_view().gc()),
        _ => taken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion_common::arrow::array::{Int64Array, StringViewArray};

    fn three_rows() -> KeyedRows {
        let long = "text that is too long to be held inside a view";
        KeyedRows {
            rows: 3,
            keys: vec![Arc::new(Int64Array::from(vec![10, 11, 12]))],
            hashes: vec![5, 6, 7],
            panes: vec![0, 1, 2],
            arguments: vec![
                Arc::new(Int64Array::from(vec![Some(1), None, Some(3)])),
                Arc::new(StringViewArray::from(vec!["a", long, "c"])),
            ],
            due_us: 5,
        }
    }

    #[test]
    fn taking_rows_takes_every_column() {
        let rows = three_rows();
        let taken = rows.take(&[2, 1]);
        taken.assert_consistent();
        assert_eq!(taken.len(), 2);
        assert_eq!(taken.keys[0].as_ref(), &Int64Array::from(vec![12, 11]));
        assert!(taken.hashes.is_empty());
        assert_eq!(taken.panes, [2, 1]);
        assert_eq!(
            taken.arguments[0].as_ref(),
            &Int64Array::from(vec![Some(3), None])
        );
        assert_eq!(
            taken.arguments[1].as_string_view().value(1),
            rows.arguments[1].as_string_view().value(1)
        );
        assert_eq!(taken.due_us, 5);
    }

    #[test]
    fn taken_text_does_not_hold_the_batch_it_came_from() {
        let rows = three_rows();
        let taken = rows.take(&[0, 2]);
        assert!(
            taken.arguments[1]
                .as_string_view()
                .data_buffers()
                .is_empty()
        );
        let taken = rows.take(&[1]);
        let from = rows.arguments[1].as_string_view().data_buffers()[0].as_ptr();
        assert_ne!(
            taken.arguments[1].as_string_view().data_buffers()[0].as_ptr(),
            from
        );
    }

    #[test]
    fn rows_without_a_window_have_no_panes() {
        let mut rows = three_rows();
        rows.panes.clear();
        assert!(rows.take(&[0]).panes.is_empty());
    }
}
