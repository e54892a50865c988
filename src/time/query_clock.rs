//! The query's watermark, as one shard knows it: the minimum over all inputs, and the clock when none of them speaks.
//!
//! ```text
//!   promise(input, ..) --\                            some input speaks:  the minimum, never below what it was
//!   idle(input, ..)    ---+--> Coalescer --> watermark
//!   step(now) -----------/                            all are idle:       what it was + (now - when the last fell idle)
//! ```
//!
//! Laws: it never goes back, whoever wakes. The clock moves it only while every input is idle and lets it (`idle_advance`), and
//! never one that has not been moved by a record before. It does not read a clock: it is told.

use super::{Coalescer, Idle, Watermark};

/// The watermark over a fixed number of inputs.
#[derive(Clone, Debug)]
pub struct QueryClock {
    inputs: Coalescer,
    current: Watermark,
    running: Option<Running>,
}

/// Every input is idle: the watermark was `from` at the moment `since_ns`, and goes with the clock.
#[derive(Clone, Copy, Debug)]
struct Running {
    from: Watermark,
    since_ns: u64,
}

impl QueryClock {
    /// `inputs` inputs, none of which has promised anything yet.
    pub fn new(inputs: usize) -> QueryClock {
        QueryClock {
            inputs: Coalescer::new(inputs),
            current: Watermark::NONE,
            running: None,
        }
    }

    /// The watermark starts at `watermark`, and says nothing new before it is beyond that.
    pub fn start_at(&mut self, watermark: Watermark) {
        self.current = self.current.max(watermark);
    }

    /// Input `input` promises `watermark`, moved by a record due at `due_us` (wall clock). Returns the new watermark and the due
    /// time of what released it, if it advanced.
    pub fn promise(
        &mut self,
        input: usize,
        watermark: Watermark,
        due_us: i64,
    ) -> Option<(Watermark, i64)> {
        self.running = None;
        let least = self.inputs.promise(input, watermark, due_us);
        self.advance(least)
    }

    /// Input `input` holds nobody back until it promises again. Returns as `promise` does.
    pub fn idle(&mut self, input: usize, idle: Idle) -> Option<(Watermark, i64)> {
        let least = self.inputs.idle(input, idle);
        let advanced = self.advance(least);
        if self.running.is_none() {
            let runs = self.inputs.idle_since().filter(|idle| idle.advances);
            let moved = self.current > Watermark::NONE && self.current < Watermark::END;
            self.running = runs.filter(|_| moved).map(|idle| Running {
                from: self.current,
                since_ns: idle.since_ns,
            });
        }
        advanced
    }

    /// It is `now_ns` on the monotonic clock. Returns the new watermark, if the clock has moved it.
    pub fn step(&mut self, now_ns: u64) -> Option<Watermark> {
        let Running { from, since_ns } = self.running?;
        let passed_us = now_ns.saturating_sub(since_ns) / 1_000;
        let passed_us = i64::try_from(passed_us).expect("a clock counts fewer than 2^63 us");
        // Never the end of input, which no clock brings.
        let reached = Watermark(from.0.saturating_add(passed_us).min(Watermark::END.0 - 1));
        (reached > self.current).then(|| {
            self.current = reached;
            reached
        })
    }

    /// The moment, monotonic clock, nanoseconds, at which `step` brings the watermark to `time`; `None` while the clock does not
    /// move it.
    pub fn reaches_ns(&self, time: Watermark) -> Option<u64> {
        let Running { from, since_ns } = self.running?;
        let ahead_us = time.0.saturating_sub(from.0).max(0).unsigned_abs();
        Some(since_ns.saturating_add(ahead_us.saturating_mul(1_000)))
    }

    /// The watermark.
    pub fn current(&self) -> Watermark {
        self.current
    }

    /// What input `input` has promised.
    pub fn promised(&self, input: usize) -> Watermark {
        self.inputs.promised(input)
    }

    /// If every input is idle and the clock does not move the watermark: since when.
    pub fn rests(&self) -> Option<Idle> {
        match self.running {
            Some(_) => None,
            None => self.inputs.idle_since(),
        }
    }

    fn advance(&mut self, least: Option<(Watermark, i64)>) -> Option<(Watermark, i64)> {
        let (time, due_us) = least.filter(|(time, _)| *time > self.current)?;
        self.current = time;
        Some((time, due_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;
    const SECOND_US: i64 = 1_000_000;

    fn since(seconds: u64) -> Idle {
        Idle {
            since_ns: seconds * SECOND_NS,
            advances: true,
        }
    }

    #[test]
    fn the_clock_runs_on_from_the_watermark_at_the_moment_when_the_last_input_fell_idle() {
        let mut clock = QueryClock::new(2);
        clock.promise(0, Watermark(100 * SECOND_US), 1);
        clock.promise(1, Watermark(50 * SECOND_US), 2);
        clock.idle(0, since(7));
        assert_eq!(clock.step(100 * SECOND_NS), None, "one of them speaks");
        assert_eq!(clock.idle(1, since(9)), None);
        assert_eq!(
            clock.reaches_ns(Watermark(53 * SECOND_US)),
            Some(12 * SECOND_NS)
        );
        assert_eq!(clock.step(9 * SECOND_NS), None);
        assert_eq!(
            clock.step(12 * SECOND_NS),
            Some(Watermark(53 * SECOND_US)),
            "the last one held it at 50"
        );
        assert_eq!(clock.step(11 * SECOND_NS), None, "it never goes back");
        assert_eq!(clock.current(), Watermark(53 * SECOND_US));
    }

    #[test]
    fn the_last_input_that_falls_idle_sets_the_value_also_when_it_was_ahead() {
        let mut clock = QueryClock::new(2);
        clock.promise(0, Watermark(100), 1);
        clock.promise(1, Watermark(50), 2);
        assert_eq!(clock.idle(1, since(1)), Some((Watermark(100), 1)));
        clock.idle(0, since(2));
        assert_eq!(clock.step(2 * SECOND_NS + 5_000), Some(Watermark(105)));
    }

    #[test]
    fn who_wakes_stops_the_clock_and_takes_nothing_back() {
        let mut clock = QueryClock::new(2);
        clock.promise(0, Watermark(100), 1);
        clock.idle(0, since(1));
        clock.idle(1, Idle::ALWAYS);
        assert_eq!(clock.step(SECOND_NS + 9_000), Some(Watermark(109)));
        assert_eq!(clock.promise(0, Watermark(90), 3), None);
        assert_eq!(clock.current(), Watermark(109));
        assert_eq!(clock.step(50 * SECOND_NS), None);
        assert_eq!(
            clock.promise(0, Watermark(120), 4),
            Some((Watermark(120), 4))
        );
        // Idle again: from where it stands, since that moment.
        clock.idle(0, since(60));
        assert_eq!(clock.step(60 * SECOND_NS + 1_000), Some(Watermark(121)));
    }

    #[test]
    fn a_watermark_that_starts_somewhere_says_nothing_until_it_is_beyond_and_the_clock_goes_on_from_there()
     {
        let mut clock = QueryClock::new(1);
        clock.start_at(Watermark(10));
        assert_eq!(clock.promise(0, Watermark(9), 1), None);
        assert_eq!(clock.promise(0, Watermark(11), 2), Some((Watermark(11), 2)));
        let mut silent = QueryClock::new(1);
        silent.start_at(Watermark(10));
        assert_eq!(silent.idle(0, since(3)), None);
        assert_eq!(silent.step(3 * SECOND_NS + 5_000), Some(Watermark(15)));
    }

    #[test]
    fn a_watermark_that_no_record_moved_and_one_that_may_not_run_stay_where_they_are() {
        let mut silent = QueryClock::new(1);
        silent.idle(0, since(1));
        assert_eq!(silent.step(50 * SECOND_NS), None);
        assert!(silent.rests().is_some());
        let mut held = QueryClock::new(1);
        held.promise(0, Watermark(100), 1);
        held.idle(
            0,
            Idle {
                since_ns: SECOND_NS,
                advances: false,
            },
        );
        assert_eq!(
            (held.step(50 * SECOND_NS), held.current()),
            (None, Watermark(100))
        );
        assert_eq!(held.rests().map(|idle| idle.since_ns), Some(SECOND_NS));
        let mut ended = QueryClock::new(2);
        ended.promise(0, Watermark::END, 1);
        assert_eq!(ended.idle(1, since(1)), None, "it may speak again");
        assert_eq!(ended.step(50 * SECOND_NS), None);
        assert_eq!(
            ended.promise(1, Watermark::END, 2),
            Some((Watermark::END, 2))
        );
    }
}
