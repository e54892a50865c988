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
use crate::emit::{OutputRows, Tombstones, Withheld};
use crate::error::Error;
use crate::format::{EncodedRows, Encoder};
use crate::kafka::RecordLimit;
use crate::sink::RowBlock;
use crate::sink::kafka::{Envelope, KeyEncoder, MessageKeys};
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
    /// How large a row the sink takes; `None` if any.
    pub limit: Option<RecordLimit>,
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

    /// Encodes `rows`, but for those that are larger than the sink takes, which are `withheld`. A block that as a whole is not,
    /// which is nearly every one, costs a compare.
    pub fn encode(&mut self, mut rows: OutputRows, withheld: &mut Vec<Withheld>) -> RowBlock {
        let block = self.encode_rows(&mut rows, withheld);
        match (&rows.tombstones, &mut self.encoder.keys) {
            (Some(tombstones), Some(encoder)) => {
                let keys = encoder.encode(&tombstones.key);
                with_tombstones(&block, &keys, tombstones)
            }
            // For a sink without keys they are nothing.
            _ => block,
        }
    }

    fn encode_rows(&mut self, rows: &mut OutputRows, withheld: &mut Vec<Withheld>) -> RowBlock {
        let block = self.encode_all(rows);
        let Some(limit) = &self.encoder.limit else {
            return block;
        };
        let key_bytes = block.keys.as_ref().map_or(0, |keys| keys.rows.bytes.len());
        if block.values.bytes.len() + key_bytes <= limit.bytes {
            return block;
        }
        let size = |row| {
            let key = block
                .keys
                .as_ref()
                .map_or(0, |keys| keys.rows.row(row).len());
            block.values.row(row).len() + key
        };
        let (kept, large): (Vec<u32>, Vec<u32>) =
            (0..block.values.len() as u32).partition(|&row| size(row as usize) <= limit.bytes);
        if large.is_empty() {
            return block;
        }
        let nothing = rows.batch.project(&[]).expect("no column");
        let keys = rows.key.as_ref().unwrap_or(&nothing);
        withheld.extend(large.into_iter().map(|row| {
            let reason = format!(
                "a row of {} bytes does not fit topic {}, which takes {}: {}",
                size(row as usize),
                limit.topic,
                limit.bytes,
                limit.remedy
            );
            Withheld::new(reason, keys, row)
        }));
        rows.event_times_us = block.event_times_us;
        *rows = rows.take(&kept);
        self.encode_all(rows)
    }

    fn encode_all(&mut self, rows: &mut OutputRows) -> RowBlock {
        let keys = match (&mut self.encoder.keys, &rows.key) {
            (Some(encoder), Some(key)) => Some(encoder.encode(key)),
            _ => None,
        };
        RowBlock {
            envelopes: Vec::new(),
            query: self.query,
            epoch: 0,
            values: self.encoder.values.encode(&rows.batch),
            keys,
            event_times_us: std::mem::take(&mut rows.event_times_us),
            due_us: rows.due_us,
            ready_ns: rows.ready_ns,
        }
    }
}

/// `block`, with `tombstones` between its rows, whose message keys are `keys`. One that has no key says nothing.
fn with_tombstones(block: &RowBlock, keys: &MessageKeys, tombstones: &Tombstones) -> RowBlock {
    let row_keys = block.keys.as_ref().expect("a sink with keys");
    let timed = !tombstones.event_times_us.is_empty();
    let mut all = RowBlock {
        query: block.query,
        epoch: block.epoch,
        values: EncodedRows::default(),
        keys: None,
        envelopes: Vec::new(),
        event_times_us: Vec::new(),
        due_us: block.due_us,
        ready_ns: block.ready_ns,
    };
    let mut all_keys = MessageKeys::default();
    let mut add = |key: Option<&[u8]>, value: Option<&[u8]>, times: &[i64], place: usize| {
        all_keys.push(key);
        all.values.push(value.unwrap_or_default());
        all.envelopes.push(Envelope {
            headers: Vec::new(),
            is_tombstone: value.is_none(),
        });
        if timed {
            all.event_times_us.push(times[place]);
        }
    };
    let mut next = 0;
    for row in 0..=block.values.len() {
        while tombstones
            .before
            .get(next)
            .is_some_and(|&before| before as usize == row)
        {
            if let Some(key) = keys.key(next) {
                add(Some(key), None, &tombstones.event_times_us, next);
            }
            next += 1;
        }
        if row < block.values.len() {
            let value = Some(block.values.row(row));
            add(row_keys.key(row), value, &block.event_times_us, row);
        }
    }
    assert_eq!(
        next,
        keys.len(),
        "every tombstone stands before a row or behind all"
    );
    all.keys = Some(all_keys);
    all
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion_common::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringViewArray};

    use super::*;
    use crate::format::{RowFormat, encoder};

    #[test]
    fn a_row_that_is_too_large_is_withheld_with_its_key_and_the_others_leave() {
        let large = "x".repeat(100);
        let texts: ArrayRef = Arc::new(StringViewArray::from(vec!["a", &large, "c"]));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let batch = RecordBatch::try_from_iter([("t", texts)]).expect("a column");
        let key = RecordBatch::try_from_iter([("n", numbers)]).expect("a column");
        let egress = |bytes| {
            let limit = RecordLimit {
                bytes,
                topic: "out".to_owned(),
                remedy: "make it larger",
            };
            let encoder = RowEncoder {
                values: encoder(&RowFormat::Json, batch.schema_ref()),
                keys: Some(KeyEncoder::Json(encoder(
                    &RowFormat::Json,
                    key.schema_ref(),
                ))),
                limit: Some(limit),
            };
            Egress::new(3, encoder)
        };
        let rows = || OutputRows {
            batch: batch.clone(),
            key: Some(key.clone()),
            event_times_us: vec![10, 20, 30],
            watermarks_before: Vec::new(),
            tombstones: None,
            bad: Vec::new(),
            due_us: 5,
            ready_ns: 6,
        };
        let mut withheld = Vec::new();
        let block = egress(60).encode(rows(), &mut withheld);
        let values: Vec<_> = (0..block.values.len())
            .map(|row| block.values.row(row))
            .collect();
        assert_eq!(values, [b"{\"t\":\"a\"}", b"{\"t\":\"c\"}"]);
        let keys = block.keys.expect("rows have keys");
        assert_eq!(
            (keys.len(), keys.key(1)),
            (2, Some(b"{\"n\":3}".as_slice()))
        );
        assert_eq!(
            (block.event_times_us, block.due_us, block.query),
            (vec![10, 30], 5, 3)
        );
        assert_eq!(withheld.len(), 1);
        assert_eq!(withheld[0].keys_as_json(), b"{\"n\":2}");
        assert_eq!(
            withheld[0].reason,
            "a row of 115 bytes does not fit topic out, which takes 60: make it larger"
        );
        withheld.clear();
        let block = egress(115).encode(rows(), &mut withheld);
        assert_eq!((block.values.len(), withheld.len()), (3, 0));
        assert_eq!(block.event_times_us, [10, 20, 30]);
    }

    #[test]
    fn tombstones_stand_between_the_rows_and_say_nothing_without_a_key() {
        let texts = |texts: &[Option<&str>]| {
            let column: ArrayRef = Arc::new(StringViewArray::from(texts.to_vec()));
            RecordBatch::try_from_iter([("k", column)]).expect("a column")
        };
        let batch = texts(&[Some("a"), Some("b")]);
        let mut egress = Egress::new(
            0,
            RowEncoder {
                values: encoder(&RowFormat::Json, batch.schema_ref()),
                keys: Some(KeyEncoder::Raw),
                limit: None,
            },
        );
        let rows = OutputRows {
            key: Some(batch.clone()),
            batch,
            event_times_us: vec![1, 2],
            watermarks_before: Vec::new(),
            tombstones: Some(Tombstones {
                key: texts(&[Some("x"), None, Some("y"), Some("z")]),
                before: vec![0, 1, 1, 2],
                event_times_us: vec![7, 7, 8, 9],
            }),
            bad: Vec::new(),
            due_us: 5,
            ready_ns: 6,
        };
        let block = egress.encode(rows, &mut Vec::new());
        let keys = block.keys.as_ref().expect("rows have keys");
        let all: Vec<_> = (0..block.values.len())
            .map(|row| {
                let key = String::from_utf8_lossy(keys.key(row).expect("a key")).into_owned();
                (key, block.envelopes[row].is_tombstone)
            })
            .collect();
        let named = |name: &str, is_tombstone| (name.to_owned(), is_tombstone);
        assert_eq!(
            all,
            [
                named("x", true),
                named("a", false),
                named("y", true),
                named("b", false),
                named("z", true)
            ]
        );
        assert_eq!(block.event_times_us, [7, 1, 8, 2, 9]);
        assert_eq!(
            (block.rows(), block.values.row(1)),
            (2, &b"{\"k\":\"a\"}"[..])
        );
    }
}
