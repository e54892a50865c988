//! What travels inside a shard: columns of records of one schema, and for each record its event time, the watermark of
//! its own partition just before it, and where it came from.
//!
//! Law: all columns of a batch have the same length. A batch is owned by one shard; nothing of it is shared.
//! It does not cross a lane: `exchange` says what does.

mod dead_letter;
mod isolate;
mod originals;
pub mod words;

use std::sync::Arc;

use datafusion_common::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use datafusion_common::arrow::compute::take_arrays;
use datafusion_common::arrow::datatypes::SchemaRef;

pub use dead_letter::{DeadLetter, LetterStage};
pub use isolate::{Isolated, evaluate_isolated};
pub use originals::{Header, Original, Originals, OwnedOriginal};

use crate::time::{EventTime, Watermark};

/// Records on their way through one shard.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The decoded columns: those that the query needs, in the order of the source's projection.
    pub columns: RecordBatch,
    /// Event time of each record; empty when the stream has none.
    pub event_times: Vec<EventTime>,
    /// Watermark of the record's own partition just before it; as long as `event_times`.
    pub watermarks_before: Vec<Watermark>,
    /// Where each record came from.
    pub origins: Vec<Origin>,
    /// When the batch was due, wall clock, microseconds since the epoch: the earliest due time of its records.
    pub due_us: i64,
    /// Its records as they came, and perhaps others: only where they may have to be told.
    pub originals: Option<Arc<Originals>>,
}

/// Where a record came from: the partition (0 for a file) and its offset there (the line number for a file).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Kafka's partition; 0 for a file.
    pub partition: i32,
    /// Kafka's offset; the line number, counted from 1, for a file.
    pub offset: i64,
}

/// The columns of `rows` rows under the schema that the plan says they have. Their number is said, because there may be no
/// column to tell it.
pub fn under(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .expect("columns have the types that were planned")
}

impl Batch {
    /// Number of records.
    pub fn len(&self) -> usize {
        self.origins.len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.origins.is_empty()
    }

    /// The records `rows`, in that order.
    pub fn take(&self, rows: &[u32]) -> Batch {
        fn pick<T: Copy>(values: &[T], rows: &[u32]) -> Vec<T> {
            match values.is_empty() {
                true => Vec::new(),
                false => rows.iter().map(|row| values[*row as usize]).collect(),
            }
        }
        let taken = take_columns(self.columns.columns(), rows);
        Batch {
            columns: under(self.columns.schema_ref(), taken, rows.len()),
            event_times: pick(&self.event_times, rows),
            watermarks_before: pick(&self.watermarks_before, rows),
            origins: pick(&self.origins, rows),
            due_us: self.due_us,
            originals: self.originals.clone(),
        }
    }

    /// Checks the law of equal lengths.
    pub fn assert_consistent(&self) {
        assert_eq!(
            self.columns.num_rows(),
            self.origins.len(),
            "a column lost or gained a record"
        );
        assert_eq!(
            self.event_times.len(),
            self.watermarks_before.len(),
            "event times without watermarks"
        );
        assert!(
            self.event_times.is_empty() || self.event_times.len() == self.origins.len(),
            "an event time was lost or gained"
        );
    }
}

/// The rows `rows` of each column.
pub fn take_columns(columns: &[ArrayRef], rows: &[u32]) -> Vec<ArrayRef> {
    let indices = UInt32Array::from(rows.to_vec());
    take_arrays(columns, &indices, None).expect("the rows are rows of these columns")
}

#[cfg(test)]
mod tests {
    use datafusion_common::arrow::datatypes::Schema;

    use super::*;

    /// Regression: a query that only counts records reads no column, and a late record among them was a panic.
    #[test]
    fn records_without_columns_can_be_taken() {
        let options = RecordBatchOptions::new().with_row_count(Some(3));
        let columns =
            RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)
                .expect("three rows");
        let origins = (1..4)
            .map(|offset| Origin {
                partition: 0,
                offset,
            })
            .collect();
        let batch = Batch {
            columns,
            event_times: Vec::new(),
            watermarks_before: Vec::new(),
            origins,
            due_us: 0,
            originals: None,
        };
        let taken = batch.take(&[0, 2]);
        taken.assert_consistent();
        assert_eq!(taken.origins[1].offset, 3);
    }
}
