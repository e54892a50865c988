//! Bytes to columns and columns to bytes.
//!
//! Law: decoding one record either appends exactly one value to every column or appends nothing and says why; the
//! records around a bad one are untouched. Only wanted columns are decoded.

mod columns;
pub mod csv;
mod encode;
pub mod framing;
mod iso8601;
pub mod json;
mod number;
mod plain;
mod search;
mod token;

use datafusion_common::arrow::array::RecordBatch;

use crate::time::EventTime;

pub use columns::ColumnBuilders;
pub use encode::{EncodedRows, Encoder, RowFormat, encoder, header};
pub use iso8601::write_timestamp;
pub use search::Kernel;

/// What became of one record.
#[derive(Clone, Debug, PartialEq)]
pub enum Decoded {
    /// It was appended. Its event time, if the stream takes it from a column.
    Record(Option<EventTime>),
    /// Nothing was appended.
    Bad(BadRecord),
}

/// Why a record could not be decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct BadRecord {
    /// One clause, naming the column if there is one: `column dep_delay: 'x7' is not a BIGINT`.
    pub reason: String,
    /// Its event time, if that much could be read: it still advances the watermark.
    pub event_time: Option<EventTime>,
}

/// Why a record is bad whose event time `time`, which `what` holds, is further ahead of the clock than the stream allows.
#[cold]
pub fn too_far_ahead(what: &str, time: EventTime) -> String {
    let mut shown = Vec::new();
    write_timestamp(&mut shown, time.0);
    let shown = String::from_utf8_lossy(&shown);
    format!("{what} is {shown}, further ahead of the clock than max_future_skew allows")
}

/// Decodes records of one format into columns.
///
/// # Contract
/// 1. `decode` returns `Record` and appends one value to each wanted column, or returns `Bad` and appends nothing
///    (the implementation; `finish` asserts equal lengths).
/// 2. `finish` gives all that was appended since the last `finish`, with the schema given at construction, and leaves the
///    decoder empty with its capacity kept (the implementation).
/// 3. A NULL in a field that is not nullable, or in the event time column, makes a bad record (the implementation).
pub trait Decoder: Send {
    /// Decodes one record.
    fn decode(&mut self, record: &[u8]) -> Decoded;

    /// From now on, an event time beyond `latest` makes a bad record, whose event time is not told.
    fn limit_event_time(&mut self, latest: EventTime);

    /// Number of records appended and not yet taken.
    fn len(&self) -> usize;

    /// Whether nothing is waiting to be taken.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes what was appended.
    fn finish(&mut self) -> RecordBatch;
}
