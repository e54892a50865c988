//! Where records enter: files, Kafka topics, generators and memory, one `Source` a shard and stream.
//!
//! ```text
//!   bytes --Decoder--> columns --PartitionClock (one a partition)--> Batch { columns, event times, watermarks before }
//! ```
//!
//! Law: every record whose event time decodes advances its own partition's clock, in offset order, also when the record itself
//! is bad, and is stamped with its partition's watermark as it stood just before it. What moves that watermark besides records
//! is in `watermark_steps`.

mod bad_records;
pub mod datagen;
pub mod dealt;
pub mod file;
mod file_records;
pub mod kafka;
pub mod memory;
mod watermark_steps;

pub use bad_records::BadRecords;
pub use watermark_steps::{PartitionClocks, WatermarkSteps};

use std::iter::Sum;

use velostream_shards::Ringer;

use crate::batch::{Batch, DeadLetter};
use crate::error::Result;
use crate::time::{Ahead, Idle, Watermark};

/// What a poll brought.
#[derive(Debug)]
pub enum Polled {
    /// Records.
    Batch(Batch),
    /// Bytes were read, but no good record among them; or nothing is there yet (`progressed` tells which).
    Nothing {
        /// Whether something was consumed, so that polling again at once is worth while.
        progressed: bool,
    },
    /// The bounded input has ended; every partition's watermark is at the end.
    Ended,
    /// It was stopped before its end, and nothing is under way any more.
    Stopped,
}

/// A shard's share of one stream.
///
/// # Contract
/// 1. `poll` never blocks and takes at most `max` records, or one block that another shard has dealt (the implementation; the
///    turn's budget depends on it).
/// 2. After `poll`, `watermark` covers exactly the records delivered so far (the implementation; the driver sends it
///    only after the batch).
/// 3. After `Ended`, `watermark` is `Some(Watermark::END)` and every further poll is `Ended` (the driver asserts it).
/// 4. After `Nothing` without progress, whatever makes the next poll bring something rings by the ringer of `ring_by`, or is
///    a time that `next_due_us` tells (the implementation; the shard's safety tick counts what was forgotten).
/// 5. A bad record ends in an error under `fail` and in a count under `skip` and `dead_letter`, never in both (`BadRecords`).
/// 6. After a `stop` that said so, `poll` brings what is under way between shards and then `Stopped` for ever (or `Ended`, if the
///    end was under way); `deal` is called until then (the implementation; a shard is not done before).
/// 7. `watermark` goes back only when a part that was idle speaks again or a part is added, and then `take_wake` says so before the
///    first record of that part is delivered (the implementation; the lanes assert it).
/// 8. `deal` never blocks, and deals at most `max` records, only while there is room in its lanes (the implementation; the turn's
///    budget and the memory behind the lanes depend on it).
/// 8. Letters are taken after every `poll` and `deal`, and neither is called where there is no room for them (the driver). So what
///    waits here is bounded by the bad records of a batch and of a dealt block.
pub trait Source {
    /// Takes up to `max` records.
    fn poll(&mut self, max: usize) -> Result<Polled>;

    /// Deals up to `max` records to the shares of other shards, if this source is the one that does. Asked every turn until it
    /// is over, also while there is no room for a batch here: the other shards may have some. Whether anything was done.
    fn deal(&mut self, _max: usize) -> bool {
        false
    }

    /// Takes no more from outside. Whether something may be under way between shards, which is then still to be polled.
    fn stop(&mut self) -> bool {
        false
    }

    /// Says by which ringer the shard that polls is woken. For a source that waits for others; one that always has something
    /// until it has ended needs none.
    fn ring_by(&mut self, _ringer: Ringer) {}

    /// When the next record is due, wall clock, microseconds since the epoch, for a source to which time alone brings records;
    /// asked after `Nothing` without progress.
    fn next_due_us(&self) -> Option<i64> {
        None
    }

    /// The least watermark over this source's partitions that are not idle; when all are, over those that fell idle last. `None`
    /// when it owns none.
    fn watermark(&self) -> Option<Watermark>;

    /// If a part of the source spoke in the last poll that was idle before, or was added: what the source promises from just
    /// before that poll's records on. Told once.
    fn take_wake(&mut self) -> Option<Watermark> {
        None
    }

    /// If no part of the source speaks: since when. For a source that may be silent for ever; one that has an end never is.
    fn idle(&self) -> Option<Idle> {
        None
    }

    /// When a poll may find something although nothing rings, on the monotonic clock, nanoseconds: that a partition has fallen
    /// idle, or that there are more of them.
    fn looks_ns(&self) -> Option<u64> {
        None
    }

    /// Its inputs may go `ahead` so far (`watermark.max_drift`), told before every poll of a source that is held to that. Whether
    /// it is to be polled; one of several parts pauses those that are further, and is.
    fn hold(&mut self, ahead: Ahead, paused: bool) -> bool {
        self.watermark().is_none_or(|own| ahead.admits(own, paused))
    }

    /// When the record was due that moved the watermark to where it stands, wall clock, microseconds since the epoch;
    /// `None` when all records of a batch are due together.
    fn watermark_due_us(&self) -> Option<i64> {
        None
    }

    /// Records taken so far, bad ones included.
    fn records_in(&self) -> u64;

    /// Where a source stands whose offsets are committed; `None` for one of which nothing is.
    fn restart(&self) -> Option<Restart> {
        None
    }

    /// Begins normal work, after `Restart::Rebuilt`: every shard has rebuilt what was open.
    fn go_on(&mut self) -> Result<()> {
        Ok(())
    }

    /// What a commit must know of each partition, as it stands between two polls. Only of a source whose offsets are committed.
    fn cut(&mut self) -> Vec<PartitionCut> {
        Vec::new()
    }

    /// What this source has counted.
    fn figures(&self) -> SourceFigures;

    /// How far this shard is with its share, if that has an end which is known. For whoever watches; nothing is decided by it.
    fn extent(&self) -> Option<Extent> {
        None
    }

    /// How full the queue is in which records wait for `poll`, 0 to 1; 0 for a source without one.
    fn fill(&self) -> f64 {
        0.0
    }

    /// Takes what the operator should be told meanwhile, such as a broker that is away. Seldom anything.
    fn take_notices(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// Takes the records that could not be decoded, where the stream sends them to a dead letter.
    fn take_letters(&mut self) -> Vec<DeadLetter> {
        Vec::new()
    }
}

/// How far a bounded input has been read, in a unit of its own: bytes of a file, offsets of a topic, rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Read so far.
    pub read: u64,
    /// All there is to read.
    pub whole: u64,
}

impl Extent {
    /// The share that is read, 0 to 1; `None` of nothing.
    pub fn share(self) -> Option<f64> {
        (self.whole > 0).then(|| (self.read as f64 / self.whole as f64).min(1.0))
    }
}

impl Sum for Extent {
    fn sum<I: Iterator<Item = Extent>>(extents: I) -> Extent {
        extents.fold(Extent::default(), |sum, extent| Extent {
            read: sum.read + extent.read,
            whole: sum.whole + extent.whole,
        })
    }
}

/// Where a source stands whose offsets are committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// It reads again what open windows need; nothing of it counts or makes rows.
    Rebuilding,
    /// That is done, and it waits for `go_on`.
    Rebuilt,
    /// It takes records.
    Running,
}

/// Where one partition stands at a batch boundary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionCut {
    /// Partition.
    pub partition: i32,
    /// The next offset: all records below it were delivered, or are bad ones that were dealt with.
    pub next: i64,
    /// Its own watermark just before `next`; never that of an end.
    pub watermark: Watermark,
    /// No record below `next` is later than this, microseconds; `i64::MIN` before the first.
    pub highest_us: i64,
    /// Whether its read has an end: what is promised there is no promise of an event time.
    pub bounded: bool,
    /// Where it would have to be read again for an event time, as far as that is news.
    pub rungs: Vec<kafka::Rung>,
}

/// Counts of one source on one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceFigures {
    /// Records taken, bad ones included.
    pub records_in: u64,
    /// Bad records left out.
    pub bad_records: u64,
    /// Records that a restart read again; not among `records_in`.
    pub replayed_records: u64,
    /// For each partition: its number, the next offset (line), and its watermark.
    pub partitions: Vec<PartitionFigures>,
}

/// Where one partition stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionFigures {
    /// Partition; 0 for a file.
    pub partition: i32,
    /// The next offset (line) to be read.
    pub next_offset: i64,
    /// Its watermark.
    pub watermark: Watermark,
}
