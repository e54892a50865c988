//! Event time: one unit, one type, and what is promised about it.
//!
//! ```text
//!   record --event time--> PartitionClock --watermark--> Coalescer (minimum over inputs) --> windows fire and close
//! ```
//!
//! Law: a watermark never goes back. Lateness is decided against the record's own partition (`PartitionClock`), firing
//! against the minimum over all inputs (`Coalescer`), which never exceeds a partition's own; so an accepted record always
//! finds its window open, whatever the shard count or the timing.

mod coalescer;
mod partition_clock;

pub use coalescer::Coalescer;
pub use partition_clock::PartitionClock;

/// When something happened: microseconds since 1970-01-01 UTC, negative before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct EventTime(pub i64);

/// The promise that no event time below it follows. `Watermark::NONE` promises nothing, `Watermark::END` everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(transparent)]
pub struct Watermark(pub i64);

impl Watermark {
    /// Before the first record: minus infinity.
    pub const NONE: Watermark = Watermark(i64::MIN);
    /// After the last record of a bounded input: plus infinity.
    pub const END: Watermark = Watermark(i64::MAX);
}
