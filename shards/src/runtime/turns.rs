//! The loop of one shard, one turn at a time, and what it counts.
//!
//! The law: no panic of a shard leaves [`Turns::next`]. It raises the failure flag, and the loop
//! ends; the loops of the other shards see the flag before their next turn. Time is read twice a
//! turn, never within one.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::figures::ShardFigures;
use super::panic_message;
use crate::clock::{Clock, SystemClock, thread_cpu_ns};
use crate::control::{FailureFlag, ShardFailure, StopHandle};
use crate::core_map::Placement;
use crate::memory::{NodeMemory, Pages};
use crate::reactor::{Idle, Next, Turns};
use crate::shard::{Context, Progress, Shard};

/// A shard and its place in the runtime.
pub(super) struct ShardLoop<S> {
    shard: S,
    placement: Placement,
    memory: NodeMemory,
    stop: StopHandle,
    failure: FailureFlag,
    idle: Idle,
    clock: SystemClock,
    counts: Counts,
    done: bool,
}

/// Times in nanoseconds.
struct Counts {
    started_ns: u64,
    turns: u64,
    busy_turns: u64,
    turn_max: u64,
    busy: u64,
    parked: u64,
    parked_at: Option<u64>,
}

impl<S: Shard> ShardLoop<S> {
    pub(super) fn new(
        shard: S,
        placement: Placement,
        memory: NodeMemory,
        idle: Idle,
        stop: StopHandle,
        failure: FailureFlag,
    ) -> ShardLoop<S> {
        let clock = SystemClock;
        ShardLoop {
            shard,
            placement,
            memory,
            stop,
            failure,
            idle,
            clock,
            counts: Counts {
                started_ns: clock.monotonic_ns(),
                turns: 0,
                busy_turns: 0,
                turn_max: 0,
                busy: 0,
                parked: 0,
                parked_at: None,
            },
            done: false,
        }
    }

    /// The shard's remains, if it was done and not cut off by a failure.
    pub(super) fn finish(self) -> Option<(S::Summary, ShardFigures)> {
        self.done.then(|| {
            let figures = self.figures();
            (self.shard.finish(), figures)
        })
    }

    fn figures(&self) -> ShardFigures {
        let mut pages = Pages::default();
        for range in self.shard.memory() {
            pages.add(self.memory.count(range.start, range.bytes));
        }
        let counts = &self.counts;
        let elapsed_ns = self.clock.monotonic_ns() - counts.started_ns;
        let share = |ns: u64| ns as f64 / elapsed_ns.max(1) as f64;
        ShardFigures {
            shard: self.placement.shard,
            placement: self.placement.clone(),
            turns: counts.turns,
            busy_turns: counts.busy_turns,
            turn_ns_max: counts.turn_max,
            busy_ratio: share(counts.busy),
            parked_ratio: share(counts.parked),
            cpu_s: thread_cpu_ns() as f64 / 1e9,
            elapsed_s: elapsed_ns as f64 / 1e9,
            pages,
            memory_refused: self.memory.refused(),
        }
    }
}

impl<S: Shard> Turns for ShardLoop<S> {
    fn next(&mut self) -> Next {
        assert!(!self.done, "after Done there is no further turn");
        if self.failure.raised() {
            return Next::End;
        }
        let begun_ns = self.clock.monotonic_ns();
        if let Some(parked_at) = self.counts.parked_at.take() {
            self.counts.parked += begun_ns - parked_at;
        }

        let mut cx = Context::new(
            self.placement.shard,
            self.counts.turns,
            self.stop.requested(),
        );
        let shard = &mut self.shard;
        // The shard is dropped after a panic and never turned again, so nobody sees what the panic
        // left half done.
        let turn = catch_unwind(AssertUnwindSafe(|| shard.turn(&mut cx)));
        let ended_ns = self.clock.monotonic_ns();
        let turn_ns = ended_ns - begun_ns;
        self.counts.turns += 1;
        self.counts.turn_max = self.counts.turn_max.max(turn_ns);

        match turn {
            Ok(Progress::Busy) => {
                self.counts.busy_turns += 1;
                self.counts.busy += turn_ns;
                self.idle.end();
                Next::Turn
            }
            Ok(Progress::Idle) => {
                let next = self.idle.next(ended_ns);
                if let Next::Park(_) = next {
                    self.counts.parked_at = Some(ended_ns);
                }
                next
            }
            Ok(Progress::Done) => {
                self.done = true;
                Next::End
            }
            Err(panic) => {
                self.failure.raise(ShardFailure {
                    shard: self.placement.shard,
                    message: panic_message(&*panic),
                });
                Next::End
            }
        }
    }
}
