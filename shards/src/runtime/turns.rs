//! The loop of one shard, one turn at a time, and what it counts.
//!
//! The law: no panic of a shard leaves [`Turns::next`]. It raises the failure flag, and the loop
//! ends; the loops of the other shards see the flag before their next turn. Time is read twice a
//! turn, and within it when the shard enters a stage.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::figures::ShardFigures;
use super::panic_message;
use super::stall::StallDetector;
use crate::backpressure::{Gauge, Shown};
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
    stalls: StallDetector,
    gauge: Gauge,
    counts: Counts,
    done: bool,
}

/// Times in nanoseconds.
struct Counts {
    started_ns: u64,
    turns: u64,
    busy_turns: u64,
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
        watched: Watched,
    ) -> ShardLoop<S> {
        let clock = SystemClock;
        let now_ns = clock.monotonic_ns();
        let budget_ns = watched.turn_budget_us * 1_000;
        ShardLoop {
            shard,
            placement,
            memory,
            stop,
            failure,
            idle,
            clock,
            stalls: StallDetector::new(budget_ns, now_ns),
            gauge: Gauge::new(budget_ns, now_ns, watched.shown),
            counts: Counts {
                started_ns: now_ns,
                turns: 0,
                busy_turns: 0,
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
            turn_ns_max: self.stalls.turn_max(),
            turn_cpu_ns_max: self.stalls.turn_cpu_max(),
            stalls: self.stalls.by_stage(),
            backpressure: self.gauge.state(),
            backpressure_worst: self.gauge.worst(),
            busy_ratio: share(counts.busy),
            parked_ratio: share(counts.parked),
            cpu_s: thread_cpu_ns() as f64 / 1e9,
            elapsed_s: elapsed_ns as f64 / 1e9,
            pages,
            memory_refused: self.memory.refused(),
        }
    }
}

/// What is watched of a shard while it runs.
pub(super) struct Watched {
    /// A turn that takes longer is a stall.
    pub(super) turn_budget_us: u64,
    /// By this other threads see how hard the shard is pressed.
    pub(super) shown: Shown,
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
        self.stalls.turn(begun_ns, ended_ns, cx.stages());

        let turn = match self.gauge.turn(turn_ns, ended_ns) && turn.is_ok() {
            true => catch_unwind(AssertUnwindSafe(|| self.shard.load())).and_then(|load| {
                self.gauge.sample(&load, ended_ns);
                turn
            }),
            false => turn,
        };

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
