//! Stalls: turns over their budget, counted by the stage that took the most of the turn.
//!
//! ```text
//!   wall time of the turn <= budget ──> no stall, and nothing more is read
//!                         >  budget ──> CPU time of the thread since it was last read ──> stall? of which stage?
//! ```
//!
//! The law: a stall is what the shard did, not what was done to it: it is CPU time that counts, so
//! that a thread which lost its cpu for a while has not stalled. Reading the CPU time of a thread is
//! a system call of 535 ns, wall time costs 23 ns. So CPU time is read only after a turn over budget,
//! and otherwise twice a budget, to know where the next one began. A turn's CPU time is then known up
//! to what the thread did since the last reading, and never more than its wall time.

use crate::clock::thread_cpu_ns;
use crate::stage::{STAGES_MAX, StageTimes};

/// The stalls of one shard, and its longest turn. Times in nanoseconds.
#[derive(Debug)]
pub(super) struct StallDetector {
    budget: u64,
    cpu_time: fn() -> u64,
    /// CPU time of the thread when it was last read, and the wall time of that moment.
    read_cpu: u64,
    read_at: u64,
    turn_cpu_max: u64,
    turn_max: u64,
    by_stage: [(&'static str, u64); STAGES_MAX],
}

impl StallDetector {
    /// Before the first turn of the calling thread, at this moment.
    pub(super) fn new(budget_ns: u64, now_ns: u64) -> StallDetector {
        StallDetector::reading(budget_ns, now_ns, thread_cpu_ns)
    }

    fn reading(budget_ns: u64, now_ns: u64, cpu_time: fn() -> u64) -> StallDetector {
        assert!(budget_ns > 0, "a turn takes some time");
        StallDetector {
            budget: budget_ns,
            cpu_time,
            read_cpu: cpu_time(),
            read_at: now_ns,
            turn_cpu_max: 0,
            turn_max: 0,
            by_stage: [("", 0); STAGES_MAX],
        }
    }

    /// A turn of the calling thread, from one moment to another.
    pub(super) fn turn(&mut self, begun_ns: u64, ended_ns: u64, times: StageTimes) {
        let wall = ended_ns - begun_ns;
        self.turn_max = self.turn_max.max(wall);
        if wall <= self.budget {
            self.turn_cpu_max = self.turn_cpu_max.max(wall);
            if ended_ns - self.read_at > self.budget / 2 {
                self.read(ended_ns);
            }
            return;
        }
        let cpu = self.read(ended_ns).min(wall);
        self.turn_cpu_max = self.turn_cpu_max.max(cpu);
        if cpu > self.budget {
            let stage = times.longest(ended_ns);
            let (name, stalls) = &mut self.by_stage[stage.index()];
            *name = stage.name();
            *stalls += 1;
        }
    }

    /// Reads the CPU time. Returns what was used since it was last read.
    fn read(&mut self, now_ns: u64) -> u64 {
        let cpu = (self.cpu_time)();
        let used = cpu - self.read_cpu;
        self.read_cpu = cpu;
        self.read_at = now_ns;
        used
    }

    /// The most CPU time that a turn took.
    pub(super) fn turn_cpu_max(&self) -> u64 {
        self.turn_cpu_max
    }

    /// The longest turn by the wall clock.
    pub(super) fn turn_max(&self) -> u64 {
        self.turn_max
    }

    /// How often each stage stalled, by its index.
    pub(super) fn counts(&self) -> impl Iterator<Item = u64> {
        self.by_stage.iter().map(|(_, stalls)| *stalls)
    }

    /// The stages that stalled, and how often.
    pub(super) fn by_stage(&self) -> Vec<(&'static str, u64)> {
        let stalled = self.by_stage.iter().filter(|(_, stalls)| *stalls > 0);
        stalled.copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::stage::Stage;

    const US: u64 = 1_000;
    const FIRE: Stage = Stage::new(3, "fire");

    thread_local! {
        static CPU: Cell<u64> = const { Cell::new(0) };
        static READINGS: Cell<u64> = const { Cell::new(0) };
    }

    fn detector() -> StallDetector {
        CPU.set(0);
        StallDetector::reading(100 * US, 0, || {
            READINGS.set(READINGS.get() + 1);
            CPU.get()
        })
    }

    /// A turn of so much wall time, in which the thread ran so long.
    fn turn(detector: &mut StallDetector, begun: u64, wall: u64, cpu: u64) {
        CPU.set(CPU.get() + cpu * US);
        let times = StageTimes::begin(begun * US);
        detector.turn(begun * US, (begun + wall) * US, times);
    }

    #[test]
    fn a_turn_over_budget_is_a_stall_and_one_within_it_is_not() {
        let mut detector = detector();
        turn(&mut detector, 0, 100, 100);
        assert!(detector.by_stage().is_empty());
        turn(&mut detector, 100, 150, 150);
        turn(&mut detector, 300, 101, 101);
        assert_eq!(detector.by_stage(), [("turn", 2)]);
        assert_eq!(detector.turn_cpu_max(), 150 * US);
    }

    #[test]
    fn a_thread_that_lost_its_cpu_has_not_stalled() {
        let mut detector = detector();
        turn(&mut detector, 0, 8_000, 40);
        assert!(detector.by_stage().is_empty());
        assert_eq!(
            (detector.turn_cpu_max(), detector.turn_max()),
            (40 * US, 8_000 * US)
        );
    }

    #[test]
    fn what_a_thread_did_before_is_not_this_turns() {
        let mut detector = detector();
        // A second of short turns, then one that the thread slept through.
        for index in 0..50_000 {
            turn(&mut detector, index * 20, 20, 20);
        }
        turn(&mut detector, 1_000_000, 5_000, 10);
        assert!(detector.by_stage().is_empty());
        assert!(
            detector.turn_cpu_max() <= 60 * US,
            "half a budget is not known"
        );
    }

    #[test]
    fn cpu_time_is_read_twice_a_budget() {
        let mut detector = detector();
        READINGS.set(0);
        for index in 0..10_000 {
            turn(&mut detector, index, 1, 1);
        }
        assert_eq!(READINGS.get(), 10_000 / 51);
    }

    #[test]
    fn a_stall_is_of_the_stage_that_took_the_most() {
        let mut detector = detector();
        CPU.set(700 * US);
        let mut times = StageTimes::begin(0);
        times.enter(FIRE);
        // The clock that `enter` read is long past these moments, so FIRE is told the rest.
        let end = u64::MAX / 2;
        detector.turn(end - 700 * US, end, times);
        assert_eq!(detector.by_stage(), [("fire", 1)]);
    }
}
