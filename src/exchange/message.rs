//! What crosses a lane: rows or partials, watermarks, and the end.
//!
//! Law: a block carries key columns, never ids that mean something to one shard only. All columns of `KeyedRows` have the
//! same length (`assert_consistent`). What is taken out of rows shares no memory with them: the receiver owns it.

use std::sync::Arc;

use datafusion_common::arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use datafusion_common::arrow::compute::take;
use datafusion_common::arrow::datatypes::{DataType, Int64Type};

use crate::time::{Idle, Watermark};

/// Accepted records on their way to the state of their groups.
#[derive(Clone, Debug, Default)]
pub struct KeyedRows {
    /// Number of rows: there may be no column to tell it.
    pub rows: usize,
    /// The key columns, normalised (`KeyForm`).
    pub keys: Vec<ArrayRef>,
    /// The stable hash of each row's key, while it is not yet known who owns it; else empty.
    pub hashes: Vec<u64>,
    /// The number of the pane that each row falls into; of sessions, which are known to the owner of the key alone, the row's event
    /// time. Empty when the query has no window.
    pub panes: Vec<i64>,
    /// The arguments of the aggregates, in the order of `AggregatePlan::arguments`.
    pub arguments: Vec<ArrayRef>,
    /// When the rows were due, wall clock, microseconds since the epoch.
    pub due_us: i64,
}

/// Groups of one pane on their way to the shards that own their keys: what their records were aggregated to by the shard that
/// read them. A group may come several times, and from several shards.
#[derive(Clone, Debug)]
pub struct Partials {
    /// The pane; `None` when the query has no window.
    pub pane: Option<i64>,
    /// A row for each group: its key, and in `arguments` the columns of its state, aggregate by aggregate. `panes` is empty.
    pub groups: KeyedRows,
    /// Which of the columns counts the records of a group, as `Int64`.
    pub records: usize,
}

/// What one shard tells another over a lane.
#[derive(Clone, Debug)]
pub enum Block {
    /// Rows whose keys the receiver owns.
    Rows(KeyedRows),
    /// Groups whose keys the receiver owns.
    Partials(Partials),
    /// The sender's promise, after all rows and partials that it covers. It goes back when an input of the sender speaks again
    /// that was idle, and then comes before the first of its rows.
    Watermark {
        /// The promise.
        time: Watermark,
        /// When the record that moved it was due, wall clock, microseconds since the epoch.
        due_us: i64,
    },
    /// The sender has no input that could speak and must not hold back the others, until it promises again.
    Idle(Idle),
    /// The marker of an epoch: what the sender had read before the epoch's cut is before it, and what it reads after is behind.
    Barrier {
        /// The epoch's number.
        epoch: u64,
    },
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

    /// The least of the rows' panes; `None` without rows or without a window.
    pub fn least_pane(&self) -> Option<i64> {
        self.panes.iter().copied().min()
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

impl Partials {
    /// Number of groups.
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether there is no group.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Number of records that were aggregated to these groups.
    pub fn records(&self) -> u64 {
        let counts = self.groups.arguments[self.records].as_primitive::<Int64Type>();
        counts.values().iter().map(|&count| count as u64).sum()
    }

    /// Checks the laws of lengths: a group has its state, and the pane of all of them.
    pub fn assert_consistent(&self) {
        self.groups.assert_consistent();
        assert!(
            self.groups.panes.is_empty(),
            "the groups of a block have one pane"
        );
        assert!(
            self.records < self.groups.arguments.len(),
            "the records of a group are counted"
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

    #[test]
    fn the_least_pane_is_that_of_any_row() {
        let mut rows = three_rows();
        rows.panes = vec![5, -7, 0];
        assert_eq!(rows.least_pane(), Some(-7));
        rows.panes.clear();
        assert_eq!(rows.least_pane(), None);
    }

    #[test]
    fn partials_know_how_many_records_they_stand_for() {
        let mut groups = three_rows();
        groups.panes.clear();
        groups
            .arguments
            .push(Arc::new(Int64Array::from(vec![4, 1, 2])));
        let partials = Partials {
            pane: Some(3),
            groups,
            records: 2,
        };
        partials.assert_consistent();
        assert_eq!((partials.len(), partials.records()), (3, 7));
    }
}
