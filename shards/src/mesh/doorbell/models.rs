//! The doorbell under a model checker, which tries every order of threads and every store that a
//! load may see: `scripts/loom`.
//!
//! The eventfd is a lock and a condition here, and there is no safety tick: a thread that sleeps over
//! its work sleeps for ever, and loom reports a deadlock. Without either fence of `flag.rs` the models
//! fail. Three threads are tried with up to three preemptions, two with any number.

use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use super::flag::{Flag, INPUT, ROOM, fence_before_ringing};
use crate::control::{FailureCell, ShardFailure, StopFlag};
use crate::shard::ShardId;

/// Tries three threads.
fn model_of_three(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// A flag with what stands for its eventfd.
struct Bell {
    flag: Flag,
    written: Mutex<bool>,
    wake: Condvar,
}

impl Bell {
    fn new() -> Bell {
        Bell {
            flag: Flag::new(),
            written: Mutex::new(false),
            wake: Condvar::new(),
        }
    }

    fn ring(&self, reason: u8) {
        fence_before_ringing();
        if self.flag.take(reason) {
            *self.written.lock().expect("no model panics") = true;
            self.wake.notify_one();
        }
    }

    fn sleep(&self) {
        let mut written = self.written.lock().expect("no model panics");
        while !*written {
            written = self.wake.wait(written).expect("no model panics");
        }
        *written = false;
    }

    /// The loop of a shard: turns until `turn` is done, asleep after a turn in vain that was taken
    /// with the bell armed for these reasons.
    fn run(&self, reasons: u8, mut turn: impl FnMut() -> Turned) {
        loop {
            match turn() {
                Turned::Done => return,
                Turned::Busy => {}
                Turned::Idle => {
                    if !self.flag.is_armed() {
                        self.flag.arm(reasons);
                        match turn() {
                            Turned::Done => return,
                            Turned::Busy => {
                                self.flag.disarm();
                                continue;
                            }
                            Turned::Idle => {}
                        }
                    }
                    self.sleep();
                }
            }
        }
    }
}

enum Turned {
    Busy,
    Idle,
    Done,
}

/// What one thread has posted and another takes.
#[derive(Default)]
struct Posted(AtomicUsize);

#[test]
fn loom_a_block_is_never_slept_over() {
    loom::model(|| {
        let shared = Arc::new((Bell::new(), AtomicBool::new(false)));
        let writer = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                shared.1.store(true, Ordering::Relaxed);
                shared.0.ring(INPUT);
            })
        };
        shared
            .0
            .run(INPUT, || match shared.1.load(Ordering::Relaxed) {
                true => Turned::Done,
                false => Turned::Idle,
            });
        writer.join().expect("no model panics");
    });
}

#[test]
fn loom_two_who_ring_at_once_are_both_heard() {
    model_of_three(|| {
        let shared = Arc::new((Bell::new(), [Posted::default(), Posted::default()]));
        let writers: Vec<_> = [0, 1]
            .into_iter()
            .map(|writer: usize| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    shared.1[writer].0.store(1, Ordering::Release);
                    shared.0.ring(INPUT);
                })
            })
            .collect();
        let mut taken = [0, 0];
        shared.0.run(INPUT, || {
            let seen = [0, 1].map(|writer: usize| shared.1[writer].0.load(Ordering::Acquire));
            let busy = seen != taken;
            taken = seen;
            match (taken, busy) {
                ([1, 1], _) => Turned::Done,
                (_, true) => Turned::Busy,
                (_, false) => Turned::Idle,
            }
        });
        for writer in writers {
            writer.join().expect("no model panics");
        }
    });
}

/// Two posts, each with its ring: the second may come while the first wakes the sleeper.
#[test]
fn loom_a_ring_during_a_wake_is_not_lost() {
    loom::model(|| {
        let shared = Arc::new((Bell::new(), Posted::default()));
        let writer = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                for posted in [1, 2] {
                    shared.1.0.store(posted, Ordering::Release);
                    shared.0.ring(INPUT);
                }
            })
        };
        let mut taken = 0;
        shared.0.run(INPUT, || {
            let seen = shared.1.0.load(Ordering::Acquire);
            let busy = seen > taken;
            taken = seen;
            match (taken, busy) {
                (2, _) => Turned::Done,
                (_, true) => Turned::Busy,
                (_, false) => Turned::Idle,
            }
        });
        writer.join().expect("no model panics");
    });
}

/// A lane of one block, two blocks to send: the writer sleeps for room, the reader for blocks.
#[test]
fn loom_a_full_lane_puts_neither_end_to_sleep_for_ever() {
    loom::model(|| {
        /// How many blocks were posted and taken; there is room while they are equal.
        struct Lane {
            posted: AtomicUsize,
            taken: AtomicUsize,
            writer: Bell,
            reader: Bell,
        }
        const BLOCKS: usize = 2;
        let lane = Arc::new(Lane {
            posted: AtomicUsize::new(0),
            taken: AtomicUsize::new(0),
            writer: Bell::new(),
            reader: Bell::new(),
        });
        let writer = {
            let lane = Arc::clone(&lane);
            thread::spawn(move || {
                let mut posted = 0;
                // It holds what it has not posted, so it waits for room as well.
                lane.writer.run(INPUT | ROOM, || {
                    if lane.taken.load(Ordering::Acquire) < posted {
                        return Turned::Idle;
                    }
                    posted += 1;
                    lane.posted.store(posted, Ordering::Release);
                    lane.reader.ring(INPUT);
                    match posted {
                        BLOCKS => Turned::Done,
                        _ => Turned::Busy,
                    }
                });
            })
        };
        let mut taken = 0;
        lane.reader.run(INPUT, || {
            if lane.posted.load(Ordering::Acquire) == taken {
                return Turned::Idle;
            }
            taken += 1;
            lane.taken.store(taken, Ordering::Release);
            lane.writer.ring(ROOM);
            match taken {
                BLOCKS => Turned::Done,
                _ => Turned::Busy,
            }
        });
        writer.join().expect("no model panics");
    });
}

#[test]
fn loom_a_stop_is_never_slept_over() {
    loom::model(|| {
        let shared = Arc::new((Bell::new(), StopFlag::new()));
        let stopper = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                shared.1.ask();
                shared.0.ring(INPUT | ROOM);
            })
        };
        shared.0.run(INPUT, || match shared.1.asked() {
            true => Turned::Done,
            false => Turned::Idle,
        });
        stopper.join().expect("no model panics");
    });
}

#[test]
fn loom_a_failure_wakes_a_sleeper_and_the_first_is_remembered() {
    model_of_three(|| {
        let shared = Arc::new((Bell::new(), FailureCell::new()));
        let failing: Vec<_> = [1, 2]
            .into_iter()
            .map(|shard| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    shared.1.raise(ShardFailure {
                        shard: ShardId(shard),
                        message: String::new(),
                    });
                    shared.0.ring(INPUT | ROOM);
                    shared.1.first().expect("it was raised above")
                })
            })
            .collect();
        shared.0.run(INPUT, || match shared.1.raised() {
            true => Turned::Done,
            false => Turned::Idle,
        });
        let first = shared.1.first().expect("what is raised has a reason");
        for shard in failing {
            assert_eq!(shard.join().expect("no model panics"), first);
        }
    });
}
