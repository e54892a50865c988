//! Consumer tiers: how a consumer's records come off its queue, chosen by the stream's option `tier`.
//!
//! ```text
//!   standard    queue --one call a record--> shard
//!   buffered    queue --one call a batch---> shard
//!   dedicated   queue --one call a batch---> helper's thread --lane of batches--> shard, which gives spent batches back
//! ```
//!
//! Law: what a shard sees is the same by each: all that came by the queue, once, and in its order. Which one costs what, and
//! which to choose when: docs/OPERATIONS.md.

mod buffered;
mod dedicated;
mod standard;

use velostream_shards::{HelperSeat, Ringer};

use super::batch_consume::Taken;
use super::consumer_queue::ConsumerQueue;
use crate::error::Result;

use buffered::Buffered;
use dedicated::Dedicated;
use standard::Standard;

/// A tier, and what it needs.
pub enum Fetching {
    /// A call for each record.
    Standard,
    /// A call for each batch, in the shard's turn.
    Buffered,
    /// A thread that takes batches ahead of the shard, which has this seat.
    Dedicated(HelperSeat),
}

/// How one consumer's records are taken. Called once a batch, never once a record.
///
/// # Contract
/// 1. `take` never waits, and takes at most `max` events (the tier; `Consumer::take` asserts the second).
/// 2. Between all calls of `take` the queue's events come once and in the queue's order (the tier; the tests of
///    `source/kafka` run on each).
/// 3. After a `take` that brought nothing, whatever makes the next one bring something, or has made the client hear
///    something, rings the shard: by the ringer of `ring_by`, or by its own way (the tier).
/// 4. Every record is destroyed before the tier's drop returns, but for those of a `Taken` that lives, which borrows it (the
///    tier).
pub(super) trait Fetch: Send {
    /// Takes up to `max` events that are there.
    fn take(&mut self, max: usize) -> Taken<'_>;

    /// Rings when there is something to take.
    fn ring_by(&mut self, ringer: Ringer);

    /// Events that librdkafka keeps waiting.
    fn waiting(&self) -> usize;

    /// The most events that may lie between what librdkafka keeps and what the next `take` brings.
    fn between_max(&self) -> usize {
        0
    }
}

/// The tier that `fetching` says, over references to one consumer's queue.
pub(super) fn open(
    fetching: Fetching,
    queue: impl Fn() -> ConsumerQueue,
) -> Result<Box<dyn Fetch>> {
    Ok(match fetching {
        Fetching::Standard => Box::new(Standard::new(queue())),
        Fetching::Buffered => Box::new(Buffered::new(queue())),
        Fetching::Dedicated(seat) => Box::new(Dedicated::start(seat, queue(), queue())?),
    })
}
