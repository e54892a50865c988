//! Event time: one unit, one type, and what is promised about it.
//!
//! ```text
//!   record --event time--> PartitionClock --watermark--> Coalescer (minimum over the inputs that speak)
//!                                                            |
//!                                          QueryClock (never back; the clock when none speaks) --> windows fire and close
//! ```
//!
//! Law: a partition's watermark never goes back, nor does a query's. Lateness is decided against the record's own partition
//! (`PartitionClock`), firing against the minimum over all inputs (`QueryClock`), which never exceeds that of a partition that
//! was never idle; so a record which such a partition accepts always finds its window open, whatever the shard count or the
//! timing.

mod ahead;
mod coalescer;
mod idle;
mod partition_clock;
mod query_clock;

pub use ahead::Ahead;
pub use coalescer::Coalescer;
pub use idle::{Idle, Standing};
pub use partition_clock::{Moves, PartitionClock};
pub use query_clock::QueryClock;

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

    /// So many microseconds later; at most the end.
    #[must_use]
    pub fn plus_us(self, us: i64) -> Watermark {
        Watermark(self.0.saturating_add(us))
    }
}
