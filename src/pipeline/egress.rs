//! The way out of a shard: rows are encoded here and handed over the exit lane to the job's sink.
//!
//! Law: encoding is the shard's work, writing the job's; a block once posted is never taken back.

use velostream_shards::{ExitOutbox, Recorder};

use crate::emit::OutputRows;
use crate::error::{Error, Place, Result};
use crate::format::Encoder;
use crate::sink::RowBlock;
use crate::sink::kafka::KeyEncoder;
use crate::source::BadRecords;
use crate::time::Watermark;

/// What a shard hands to its job.
pub enum ToJob {
    /// Rows for the sink.
    Rows(RowBlock),
    /// Something the operator should know.
    Notice(String),
    /// More records were taken from the source.
    Taken {
        /// How many more.
        records: u64,
        /// Where the watermark of the shard's input stands.
        watermark: Watermark,
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

/// A shard's end of the exit lane, with the encoder before it.
pub struct Egress {
    query: String,
    encoder: RowEncoder,
    lane: ExitOutbox<ToJob>,
    bad: BadRecords,
}

impl Egress {
    /// The way out for the rows of `query`; `bad` says what is done with a row that has no value within range.
    pub fn new(
        query: &str,
        encoder: RowEncoder,
        lane: ExitOutbox<ToJob>,
        bad: BadRecords,
    ) -> Egress {
        Egress {
            query: query.to_owned(),
            encoder,
            lane,
            bad,
        }
    }

    /// Whether more rows may be made.
    pub fn has_room(&self) -> bool {
        self.lane.has_room()
    }

    /// Moves held blocks into the lane; whether any moved.
    pub fn flush(&mut self) -> bool {
        self.lane.flush() > 0
    }

    /// Whether all that was posted is in the lane.
    pub fn is_flushed(&self) -> bool {
        self.lane.held() == 0
    }

    /// Encodes and posts `rows`.
    pub fn post(&mut self, rows: OutputRows) -> Result<()> {
        for reason in &rows.bad {
            let query = &self.query;
            self.bad.take(
                || Place::Output {
                    query: query.clone(),
                },
                reason,
            )?;
        }
        if rows.batch.num_rows() == 0 {
            return Ok(());
        }
        let keys = match (&mut self.encoder.keys, &rows.key) {
            (Some(encoder), Some(key)) => Some(encoder.encode(key)),
            _ => None,
        };
        self.lane.post(ToJob::Rows(RowBlock {
            values: self.encoder.values.encode(&rows.batch),
            keys,
            event_times_us: rows.event_times_us,
            due_us: rows.due_us,
            ready_ns: rows.ready_ns,
        }));
        Ok(())
    }

    /// Tells the job that so many more records were taken from the source, whose watermark stands at `watermark`.
    pub fn taken(&mut self, records: u64, watermark: Watermark) {
        self.lane.post(ToJob::Taken { records, watermark });
    }

    /// Tells the job how long records took until they were applied.
    pub fn ingest(&mut self, recorded: Recorder) {
        self.lane.post(ToJob::Ingest(Box::new(recorded)));
    }

    /// Tells the operator something.
    pub fn notice(&mut self, text: String) {
        self.lane.post(ToJob::Notice(text));
    }

    /// Tells the job that this shard cannot go on.
    pub fn fail(&mut self, error: Error) {
        self.lane.post(ToJob::Failed(error));
    }

    /// Rows withheld because a value was out of range.
    pub fn bad_rows(&self) -> u64 {
        self.bad.skipped()
    }
}
