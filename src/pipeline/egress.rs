//! The way out of a shard: rows are encoded here and handed over the exit lane to the job's sinks.
//!
//! ```text
//!   query 0 rows --Egress (encode)--\
//!   query 1 rows --Egress (encode)---+--> Exit ~~one exit lane a shard~~> the job: sinks
//! ```
//!
//! Law: encoding is the shard's work, writing the job's; a block once posted is never taken back, and says whose rows it
//! holds.

use velostream_shards::{ExitOutbox, Recorder};

use super::standing::Counts;
use crate::emit::OutputRows;
use crate::error::Error;
use crate::format::Encoder;
use crate::sink::RowBlock;
use crate::sink::kafka::KeyEncoder;
use crate::source::PartitionCut;
use crate::time::Watermark;

/// What a shard hands to its job.
pub enum ToJob {
    /// Rows for a sink; they say of which query they are.
    Rows(RowBlock),
    /// Something the operator should know.
    Notice(String),
    /// More records were taken from a source.
    Taken {
        /// How many more.
        records: u64,
        /// Where the least watermark of the shard's inputs stands.
        watermark: Watermark,
    },
    /// What the shard has counted so far, and what it holds: instead of what it told before.
    Counts(Box<Counts>),
    /// Where the sources of the shard stood at the cut of an epoch. Behind everything that the shard posted before.
    Cut {
        /// The epoch; `u64::MAX` at the end of the shard.
        epoch: u64,
        /// For each source of the job its partitions on this shard; none where nothing is committed.
        sources: Vec<Vec<PartitionCut>>,
    },
    /// An epoch has come through a query from every shard. Behind all rows of the query on this shard that it covers.
    Passed {
        /// The query, by its index in the job.
        query: usize,
        /// The epoch; `u64::MAX` when nothing can come any more.
        epoch: u64,
        /// Windows that close at or below it have fired and left, as far as this shard owns their keys.
        fired: Watermark,
    },
    /// How long records took until they were applied: what the shard has recorded since it last said so.
    Ingest(Box<Recorder>),
    /// The shard cannot go on; the run ends with this error.
    Failed(Error),
}

/// Encodes rows for one sink.
pub struct RowEncoder {
    /// The rows' values.
    pub values: Box<dyn Encoder + Send>,
    /// The rows' message keys; `None` when the sink has none.
    pub keys: Option<KeyEncoder>,
}

/// Makes one query's rows into blocks for its sink.
pub struct Egress {
    query: u16,
    encoder: RowEncoder,
}

impl Egress {
    /// For the rows of the query of that index in `JobPlan::queries`.
    pub fn new(query: usize, encoder: RowEncoder) -> Egress {
        Egress {
            query: u16::try_from(query).expect("limits::QUERIES_MAX fits"),
            encoder,
        }
    }

    /// Encodes `rows`.
    pub fn encode(&mut self, rows: OutputRows) -> RowBlock {
        let keys = match (&mut self.encoder.keys, &rows.key) {
            (Some(encoder), Some(key)) => Some(encoder.encode(key)),
            _ => None,
        };
        RowBlock {
            query: self.query,
            epoch: 0,
            values: self.encoder.values.encode(&rows.batch),
            keys,
            event_times_us: rows.event_times_us,
            due_us: rows.due_us,
            ready_ns: rows.ready_ns,
        }
    }
}

/// A shard's end of its exit lane, for all its queries.
pub struct Exit {
    lane: ExitOutbox<ToJob>,
}

impl Exit {
    /// The sending end `lane`.
    pub fn new(lane: ExitOutbox<ToJob>) -> Exit {
        Exit { lane }
    }

    /// Whether more rows may be made.
    pub fn has_room(&self) -> bool {
        self.lane.has_room()
    }

    /// How full the lane is, 0 to 1, and how many blocks are held for want of room.
    pub fn fill_and_held(&self) -> (f64, usize) {
        (self.lane.fill(), self.lane.held())
    }

    /// Moves held blocks into the lane; whether any moved.
    pub fn flush(&mut self) -> bool {
        self.lane.flush() > 0
    }

    /// Whether all that was posted is in the lane.
    pub fn is_flushed(&self) -> bool {
        self.lane.held() == 0
    }

    /// Hands `message` to the job.
    pub fn post(&mut self, message: ToJob) {
        self.lane.post(message);
    }
}
