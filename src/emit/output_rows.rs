//! What leaves a query: rows, what is withdrawn between them, and what was withheld.
//!
//! ```text
//!   batch        row 0   row 1           row 2           columns for every sink, with a message key for a keyed one
//!   tombstones                  key, key         key     before = [2, 2, 3]
//! ```
//!
//! Law: what concerns one identity (a message key) stands in the order in which it happened, rows and tombstones together. A
//! tombstone is for a sink that keeps the last row of each key: others never see one, and it counts as a row nowhere.

use datafusion_common::arrow::array::RecordBatch;

use crate::batch::{take_columns, under};
use crate::format::{RowFormat, encoder};
use crate::time::Watermark;

/// Rows of a query's result.
#[derive(Clone, Debug)]
pub struct OutputRows {
    /// The rows, with the schema of `Plan::output`.
    pub batch: RecordBatch,
    /// The message key of each row, with the schema of `KafkaSink::key_columns`; `None` when rows have no key.
    pub key: Option<RecordBatch>,
    /// Event time of each row, microseconds: that of its record, or its window's end - 1. Empty where there is none.
    pub event_times_us: Vec<i64>,
    /// For a row that is one record, the watermark of the record's partition just before it; empty where the lateness of what
    /// the row was made of is decided already.
    pub watermarks_before: Vec<Watermark>,
    /// What is withdrawn between the rows; `None` when nothing is, as for most.
    pub tombstones: Option<Tombstones>,
    /// The rows that were withheld.
    pub bad: Vec<Withheld>,
    /// When the record that caused the rows was due, wall clock, microseconds since the epoch.
    pub due_us: i64,
    /// When there was reason to make the rows, monotonic clock, nanoseconds: for the rows of a window, when the query's
    /// watermark passed its end and grace; else, when their record had been applied. Set by whoever makes them.
    pub ready_ns: u64,
}

impl OutputRows {
    /// Whether nothing leaves and nothing was withheld.
    pub fn is_nothing(&self) -> bool {
        self.leaves_nothing() && self.bad.is_empty()
    }

    /// Whether there is neither a row nor a tombstone.
    pub fn leaves_nothing(&self) -> bool {
        self.batch.num_rows() == 0 && self.tombstones.is_none()
    }

    /// The rows `rows`, ascending, with all tombstones between them; nothing is withheld.
    pub fn take(&self, rows: &[u32]) -> OutputRows {
        fn pick<T: Copy>(values: &[T], rows: &[u32]) -> Vec<T> {
            match values.is_empty() {
                true => Vec::new(),
                false => rows.iter().map(|row| values[*row as usize]).collect(),
            }
        }
        let of = |batch: &RecordBatch| {
            let columns = take_columns(batch.columns(), rows);
            under(batch.schema_ref(), columns, rows.len())
        };
        OutputRows {
            batch: of(&self.batch),
            key: self.key.as_ref().map(of),
            event_times_us: pick(&self.event_times_us, rows),
            watermarks_before: pick(&self.watermarks_before, rows),
            tombstones: self.tombstones.as_ref().map(|tombstones| Tombstones {
                before: tombstones
                    .before
                    .iter()
                    .map(|&row| rows.partition_point(|taken| *taken < row) as u32)
                    .collect(),
                ..tombstones.clone()
            }),
            bad: Vec::new(),
            due_us: self.due_us,
            ready_ns: self.ready_ns,
        }
    }
}

/// Identities whose last row holds no more.
#[derive(Clone, Debug)]
pub struct Tombstones {
    /// The message key of each, with the schema of `OutputRows::key`.
    pub key: RecordBatch,
    /// Before which row each stands, ascending; the number of rows for those that stand behind all.
    pub before: Vec<u32>,
    /// Event time of each, as `OutputRows::event_times_us`.
    pub event_times_us: Vec<i64>,
}

/// A row that could not be computed, or is larger than its sink takes.
#[derive(Clone, Debug)]
pub struct Withheld {
    /// Why.
    pub reason: String,
    /// Its group key and its window's bounds: one row.
    keys: RecordBatch,
}

impl Withheld {
    /// The row whose key and bounds are row `row` of `keys`.
    pub fn new(reason: String, keys: &RecordBatch, row: u32) -> Withheld {
        Withheld {
            reason,
            keys: keys.slice(row as usize, 1),
        }
    }

    /// Its key and bounds as a JSON object.
    pub fn keys_as_json(&self) -> Vec<u8> {
        encoder(&RowFormat::Json, self.keys.schema_ref())
            .encode(&self.keys)
            .bytes
    }
}
