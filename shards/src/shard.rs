//! What a shard is: one core's thread and everything that thread owns.
//!
//! ```text
//!   runtime ── turn ──> Shard ──> Busy | Idle | Done
//!      └────── finish ──> Summary
//! ```
//!
//! The law: a shard is only ever touched by its own thread. It is built there, turned there,
//! finished and dropped there, so it need not be `Send`. What it does in a turn is its own affair;
//! this file knows nothing of records.

use std::fmt;

use crate::backpressure::Load;
use crate::clock::SystemClock;
use crate::memory::MemoryRange;
use crate::stage::{Stage, StageTimes};

/// The number of a shard, counted from zero in the order of the core map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

impl ShardId {
    /// The shard at this place in a list of shards.
    ///
    /// # Panics
    /// When `index` does not fit; the core map admits far fewer shards than that.
    pub fn from_index(index: usize) -> ShardId {
        ShardId(u16::try_from(index).expect("the core map admits at most MAX_SHARDS shards"))
    }

    /// Its place in any list kept by shard.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shard {}", self.0)
    }
}

/// What a turn returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Something was done, and there may be more at once.
    Busy,
    /// Nothing could be done: no input, or no room for the output.
    Idle,
    /// Nothing will ever be done again.
    Done,
}

/// One shard, as the runtime drives it.
///
/// # Contract
/// 1. `turn` is bounded: it takes a limited piece of work and returns. Checked by nobody while it
///    runs; a turn over budget is a stall, counted by the stage that the shard named
///    ([`Context::enter`]), and the longest turn stands in
///    [`ShardFigures::turn_cpu_ns_max`](crate::ShardFigures::turn_cpu_ns_max).
/// 2. `turn` never blocks: no lock, no sleep, no waiting for another shard. Checked by review; the
///    mesh offers nothing that blocks.
/// 3. `turn` returns `Idle` when it did nothing, and `Busy` only when it did something. What makes the
///    next turn do something rings the shard (a lane, the stop, a [`Ringer`](crate::Ringer)) or is a
///    time, told by [`Context::wake_at`]. Checked by nobody while it happens; a shard that lies burns
///    its core or sleeps over its work until the safety tick, which counts that
///    ([`ShardFigures::safety_tick_found_work`](crate::ShardFigures::safety_tick_found_work)).
/// 4. Once [`Context::stopping`] is true the shard takes no new input, drains what it holds and
///    returns `Done`. Checked by the caller of the stop, who waits for it.
/// 5. After `Done` there is no further turn. Checked by the runtime.
/// 6. `finish` is called once, after `Done` and on the same thread. A shard that a failure of another
///    one stopped before its `Done` is not finished. Checked by the runtime.
/// 7. A panic in any of this is the programmer's error: it stops every shard. Checked by the
///    runtime.
pub trait Shard {
    /// What remains of the shard when it is finished.
    type Summary: Send + 'static;

    /// Takes one bounded turn.
    fn turn(&mut self, cx: &mut Context) -> Progress;

    /// What waits before it and behind it. Asked about once a millisecond, between turns; must be
    /// cheap.
    fn load(&self) -> Load {
        Load::default()
    }

    /// The memory that holds its state, for the count of its pages. Asked once, before `finish`.
    fn memory(&self) -> Vec<MemoryRange> {
        Vec::new()
    }

    /// Ends the shard; its lanes are closed when this returns.
    fn finish(self) -> Self::Summary;
}

/// What a turn is told.
#[derive(Clone, Debug)]
pub struct Context {
    shard: ShardId,
    turn: u64,
    stopping: bool,
    wake_at_ns: Option<u64>,
    stages: StageTimes,
}

impl Context {
    /// The context of turn number `turn` (from zero) of `shard`. Public so that a test can drive a
    /// shard without a runtime.
    pub fn new(shard: ShardId, turn: u64, stopping: bool) -> Context {
        Context::begun_at(SystemClock.monotonic_ns(), shard, turn, stopping)
    }

    /// The same of a turn that began at this moment.
    pub(crate) fn begun_at(now_ns: u64, shard: ShardId, turn: u64, stopping: bool) -> Context {
        Context {
            shard,
            turn,
            stopping,
            wake_at_ns: None,
            stages: StageTimes::begin(now_ns),
        }
    }

    /// Says what the turn does from here on; a stall is then of the stage that took the most of it.
    pub fn enter(&mut self, stage: Stage) {
        self.stages.enter(stage);
    }

    /// The stages of the turn so far.
    pub(crate) fn stages(self) -> StageTimes {
        self.stages
    }

    /// The shard whose turn it is.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// The number of this turn, from zero.
    pub fn turn(&self) -> u64 {
        self.turn
    }

    /// A stop was asked for: drain what is held and return [`Progress::Done`].
    pub fn stopping(&self) -> bool {
        self.stopping
    }

    /// Says that time itself brings work: at this moment of the monotonic clock
    /// ([`SystemClock::monotonic_ns`](crate::SystemClock::monotonic_ns)) the shard is to have a turn, although
    /// nobody rings. Holds until the next turn; of several moments the earliest.
    pub fn wake_at(&mut self, monotonic_ns: u64) {
        let earlier = self.wake_at_ns.unwrap_or(monotonic_ns);
        self.wake_at_ns = Some(earlier.min(monotonic_ns));
    }

    /// The moment that [`wake_at`](Context::wake_at) was told.
    pub fn wakes_at(&self) -> Option<u64> {
        self.wake_at_ns
    }
}
