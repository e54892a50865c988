//! The loop of one shard, one turn at a time, and what it counts.
//!
//! ```text
//!            busy                      idle, and looked long enough              idle
//!   Awake ────────> Awake      Awake ──────── arm the doorbell ────────> Armed ────────> Asleep ──> (woken) a turn
//!     <───────────────── a busy turn disarms ────────────────────────────┘ <── rung ─────┘ <── not rung: sleeps on
//! ```
//!
//! Two laws. No panic of a shard leaves [`Turns::next`]: it raises the failure flag, and the loop
//! ends; the loops of the other shards see the flag before their next turn. And no shard sleeps over
//! work: between arming and sleeping there is one more turn. Time is read twice a turn, and within it when
//! the shard enters a stage.
//!
//! Work that the safety tick finds was forgotten by whoever should have rung, and is counted. Three
//! things are not that: work that time itself brought, as the shard said by
//! [`Context::wake_at`]; a stop, which is not work; and work whose ring is on its way, because the
//! tick came between another thread's post and the end of that thread's turn.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::figures::ShardFigures;
use super::panic_message;
use super::stall::StallDetector;
use crate::backpressure::Gauge;
use crate::clock::{SystemClock, thread_cpu_ns};
use crate::control::{FailureFlag, ShardFailure, StopHandle};
use crate::core_map::Placement;
use crate::memory::{NodeMemory, Pages};
use crate::mesh::Doorbell;
use crate::reactor::{Idle, Next, Rest, Turns};
use crate::shard::{Context, Progress, Shard};
use crate::shown::{BusyRatio, Shown};

/// A shard and its place in the runtime.
pub(super) struct ShardLoop<S> {
    shard: S,
    placement: Placement,
    memory: NodeMemory,
    stop: StopHandle,
    failure: FailureFlag,
    doorbell: Doorbell,
    idle: Idle,
    state: State,
    /// Whether the last turn was told to stop.
    stopping: bool,
    clock: SystemClock,
    stalls: StallDetector,
    gauge: Gauge,
    busy_ratio: BusyRatio,
    shown: Shown,
    counts: Counts,
    done: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The doorbell is not armed.
    Awake,
    /// The doorbell is armed; one more turn, then sleep.
    Armed,
    /// Asleep since then, until rung or until this moment, which the shard asked for.
    Asleep {
        since_ns: u64,
        wake_at_ns: Option<u64>,
    },
}

/// Times in nanoseconds.
struct Counts {
    started_ns: u64,
    turns: u64,
    busy_turns: u64,
    busy: u64,
    parks: u64,
    parked: u64,
    safety_tick_found_work: u64,
}

impl<S: Shard> ShardLoop<S> {
    pub(super) fn new(
        shard: S,
        placement: Placement,
        memory: NodeMemory,
        rests: Rests,
        ends: Ends,
        watched: Watched,
    ) -> ShardLoop<S> {
        let Rests { doorbell, idle } = rests;
        let Ends { stop, failure } = ends;
        let clock = SystemClock;
        let now_ns = clock.monotonic_ns();
        let budget_ns = watched.turn_budget_us * 1_000;
        ShardLoop {
            shard,
            placement,
            memory,
            stop,
            failure,
            doorbell,
            idle,
            state: State::Awake,
            stopping: false,
            clock,
            stalls: StallDetector::new(budget_ns, now_ns),
            gauge: Gauge::new(budget_ns, now_ns, watched.shown.clone()),
            busy_ratio: BusyRatio::new(now_ns),
            shown: watched.shown,
            counts: Counts {
                started_ns: now_ns,
                turns: 0,
                busy_turns: 0,
                busy: 0,
                parks: 0,
                parked: 0,
                safety_tick_found_work: 0,
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
            parks: counts.parks,
            parked_ratio: share(counts.parked),
            safety_tick_found_work: counts.safety_tick_found_work,
            cpu_s: thread_cpu_ns() as f64 / 1e9,
            elapsed_s: elapsed_ns as f64 / 1e9,
            pages,
            memory_refused: self.memory.refused(),
        }
    }

    /// Shows other threads what was counted until `now_ns`. Called once a millisecond.
    fn show(&mut self, now_ns: u64) {
        let counts = &self.counts;
        self.shown
            .show_counts(counts.safety_tick_found_work, self.stalls.counts());
        if let Some(ratio) = self.busy_ratio.at(now_ns, counts.busy) {
            self.shown.show_busy_ratio(ratio);
        }
    }

    /// A turn that ended at `ended_ns` found work: the shard is awake, whatever woke it. Time may have brought the work while
    /// the turn ran, which is why its end is compared with the moment that the shard asked for.
    fn wake(&mut self, ended_ns: u64, newly_stopping: bool) {
        self.idle.end();
        let by_itself = match self.state {
            State::Awake => return,
            State::Armed => true,
            State::Asleep { wake_at_ns, .. } => wake_at_ns.is_some_and(|at_ns| ended_ns >= at_ns),
        };
        // In this order: a ring that was made between the two is seen by the second.
        let on_its_way = self.doorbell.is_owed();
        let rung = self.doorbell.disarm();
        if !(by_itself || newly_stopping || on_its_way || rung) {
            self.counts.safety_tick_found_work += 1;
        }
        self.state = State::Awake;
    }

    /// A turn that ended at `ended_ns` found nothing.
    fn rest(&mut self, ended_ns: u64, wake_at_ns: Option<u64>) -> Next {
        let tick = match self.idle.next(ended_ns) {
            Rest::Look(how) => return how,
            Rest::Park(tick) => tick,
        };
        if self.state == State::Awake || !self.doorbell.is_armed() {
            self.doorbell.arm();
            self.state = State::Armed;
            return Next::Turn;
        }
        let at_most = match wake_at_ns {
            Some(at_ns) if at_ns <= ended_ns => {
                self.state = State::Armed;
                return Next::Turn;
            }
            Some(at_ns) => tick.min(Duration::from_nanos(at_ns - ended_ns)),
            None => tick,
        };
        self.counts.parks += 1;
        self.state = State::Asleep {
            since_ns: ended_ns,
            wake_at_ns,
        };
        Next::Park(at_most)
    }
}

/// How a shard rests.
pub(super) struct Rests {
    /// By this it is woken.
    pub(super) doorbell: Doorbell,
    /// When it parks.
    pub(super) idle: Idle,
}

/// What ends a shard before it is done by itself.
pub(super) struct Ends {
    /// It was asked to stop.
    pub(super) stop: StopHandle,
    /// Another has failed.
    pub(super) failure: FailureFlag,
}

/// What is watched of a shard while it runs.
pub(super) struct Watched {
    /// A turn that takes longer is a stall.
    pub(super) turn_budget_us: u64,
    /// By this other threads see how the shard fares.
    pub(super) shown: Shown,
}

impl<S: Shard> Turns for ShardLoop<S> {
    fn next(&mut self) -> Next {
        assert!(!self.done, "after Done there is no further turn");
        if self.failure.raised() {
            return Next::End;
        }
        let begun_ns = self.clock.monotonic_ns();
        if let State::Asleep { since_ns, .. } = self.state {
            self.counts.parked += begun_ns - since_ns;
        }

        let stopping = self.stop.requested();
        let newly_stopping = stopping && !self.stopping;
        self.stopping = stopping;
        let mut cx = Context::begun_at(begun_ns, self.placement.shard, self.counts.turns, stopping);
        let shard = &mut self.shard;
        // The shard is dropped after a panic and never turned again, so nobody sees what the panic
        // left half done.
        let turn = catch_unwind(AssertUnwindSafe(|| shard.turn(&mut cx)));
        self.doorbell.ring_owed();
        let ended_ns = self.clock.monotonic_ns();
        let turn_ns = ended_ns - begun_ns;
        self.counts.turns += 1;
        let wakes_at_ns = cx.wakes_at();
        self.stalls.turn(begun_ns, ended_ns, cx.stages());

        let turn = match self.gauge.turn(turn_ns, ended_ns) && turn.is_ok() {
            true => {
                self.show(ended_ns);
                catch_unwind(AssertUnwindSafe(|| self.shard.load())).and_then(|load| {
                    self.gauge.sample(&load, ended_ns);
                    turn
                })
            }
            false => turn,
        };

        match turn {
            Ok(Progress::Busy) => {
                self.counts.busy_turns += 1;
                self.counts.busy += turn_ns;
                self.wake(ended_ns, newly_stopping);
                Next::Turn
            }
            Ok(Progress::Idle) => self.rest(ended_ns, wakes_at_ns),
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

    fn doorbell(&self) -> &Doorbell {
        &self.doorbell
    }
}
