//! Where rows leave: standard output, files, Kafka topics, a checksum. The sink belongs to the job and runs on an ordinary thread;
//! shards encode their rows and hand the bytes over an exit lane. Several queries may write to one.
//!
//! ```text
//!   shard: rows --Encoder--> RowBlock --exit lane--> job thread: Sink::write ... Sink::poll (acknowledged) ... flush
//! ```
//!
//! Law: a row counts as out when the sink has acknowledged it, and its latency ends there.

pub mod checksum;
pub mod dead_letter;
pub mod file;
pub mod kafka;
mod lines;
pub mod stdout;

use velostream_shards::Ringer;

use crate::error::Result;
use crate::format::EncodedRows;
use crate::kafka::RecordLimit;

/// Rows on their way from a shard to the sink.
#[derive(Debug)]
pub struct RowBlock {
    /// The query whose rows they are, by its index in the job; given back with their acknowledgement. A number behind all queries
    /// stands for dead letters.
    pub query: u16,
    /// The mark of the epoch in which they are handed over, 0 or 1; given back with their acknowledgement. The job's to set.
    pub epoch: u8,
    /// The rows' values, encoded.
    pub values: EncodedRows,
    /// The rows' message keys, encoded; `None` when the sink has no key.
    pub keys: Option<kafka::MessageKeys>,
    /// What each row has beside key and bytes, for a topic; empty where no row has any of it.
    pub envelopes: Vec<kafka::Envelope>,
    /// Event time of each row, microseconds (window end - 1 us for a windowed row); empty when there is none.
    pub event_times_us: Vec<i64>,
    /// Due time of the record that caused the rows, wall clock, microseconds since the epoch.
    pub due_us: i64,
    /// When there was reason to make the rows, monotonic clock, nanoseconds.
    pub ready_ns: u64,
}

impl RowBlock {
    /// How many rows it holds that are no tombstones.
    pub fn rows(&self) -> u64 {
        let tombstones = self.envelopes.iter().filter(|one| one.is_tombstone).count();
        (self.values.len() - tombstones) as u64
    }

    /// Bytes of the largest row, its key and headers included; `None` without a row.
    pub fn largest(&self) -> Option<usize> {
        let size = |row: usize| {
            let key = self
                .keys
                .as_ref()
                .map_or(0, |keys| keys.rows.row(row).len());
            let envelope = self.envelopes.get(row);
            self.values.row(row).len() + key + envelope.map_or(0, kafka::Envelope::bytes)
        };
        (0..self.values.len()).map(size).max()
    }
}

/// A destination of rows.
///
/// # Contract
/// 1. `write` takes the whole block or fails. What cannot leave yet is kept, and until `poll` has moved it on `has_room` is
///    false; `write` is then not called, which holds the shards back through their lanes (the job).
/// 2. Rows of one block keep their order; rows of equal keys stay in the order in which they were written (the
///    implementation).
/// 3. Every row written is later given to `acknowledged` exactly once, or an error is returned (the implementation; the
///    job compares the totals at its end).
pub trait Sink: Send {
    /// Whether a block may be written.
    fn has_room(&self) -> bool {
        true
    }

    /// Takes a block.
    fn write(&mut self, block: RowBlock, acknowledged: &mut dyn FnMut(Acknowledged)) -> Result<()>;

    /// Moves on what was kept and serves acknowledgements, without waiting.
    fn poll(&mut self, acknowledged: &mut dyn FnMut(Acknowledged)) -> Result<()>;

    /// Says by which ringer the thread that polls is woken when there is something to acknowledge. For a sink that waits for
    /// others.
    fn ring_by(&mut self, _ringer: Ringer) {}

    /// Waits until all that was written is acknowledged.
    fn flush(&mut self, acknowledged: &mut dyn FnMut(Acknowledged)) -> Result<()>;

    /// How large a row it takes; `None` if any.
    fn row_limit(&self) -> Option<RecordLimit> {
        None
    }

    /// Takes what the operator should be told meanwhile, such as a broker that is away. Seldom anything.
    fn take_notices(&mut self) -> Vec<String> {
        Vec::new()
    }
}

/// Rows that have safely left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// The query whose rows they are.
    pub query: u16,
    /// The mark of their epoch.
    pub epoch: u8,
    /// How many.
    pub rows: u64,
    /// Due time of the record that caused them.
    pub due_us: i64,
}
