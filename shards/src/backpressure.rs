//! Backpressure: how hard a shard is pressed by what waits before it and by what waits behind it.
//!
//! ```text
//!              half full, or turns of 10 budgets    nine tenths, or 50 budgets       blocks are held
//!   Healthy ───────────────────────────────> Warning ─────────────────> Critical ───────────────> Saturated
//!       <──────────── a step down after 200 ms below ──────────── .. ────────────────────────────────┘
//! ```
//!
//! The law: a state is what a shard was in for half of a window of 50 ms or more, not what it was in
//! at one moment: a lane that is full for a turn is normal. It rises at once with its window and
//! falls a step at a time, so that it does not flicker. Everything is passed in, the time too.

use std::fmt;

use crate::shown::Shown;

/// How hard a shard is pressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Backpressure {
    /// There is room everywhere.
    #[default]
    Healthy,
    /// Something is half full, or turns are long.
    Warning,
    /// Something is almost full, or turns are very long.
    Critical,
    /// The output has no room: the shard takes no input.
    Saturated,
}

impl Backpressure {
    /// All states, from the best to the worst.
    pub const ALL: [Backpressure; 4] = [
        Backpressure::Healthy,
        Backpressure::Warning,
        Backpressure::Critical,
        Backpressure::Saturated,
    ];

    /// Its name in figures and reports.
    pub fn name(self) -> &'static str {
        match self {
            Backpressure::Healthy => "healthy",
            Backpressure::Warning => "warning",
            Backpressure::Critical => "critical",
            Backpressure::Saturated => "saturated",
        }
    }

    fn below(self) -> Backpressure {
        Backpressure::ALL[(self as usize).saturating_sub(1)]
    }
}

impl fmt::Display for Backpressure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What waits before a shard and behind it, as the shard itself says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// How full the fullest of its outgoing lanes is, 0 to 1.
    pub lane_fill: f64,
    /// Blocks that wait because a lane is full.
    pub held_blocks: usize,
    /// How full the queue of its source is, 0 to 1; 0 for a source without one.
    pub source_fill: f64,
}

impl Load {
    /// How hard this presses, with turns that take so many times their budget.
    fn level(&self, budgets: u64) -> Backpressure {
        let fill = self.lane_fill.max(self.source_fill);
        if self.held_blocks > 0 {
            Backpressure::Saturated
        } else if fill >= 0.9 || budgets >= 50 {
            Backpressure::Critical
        } else if fill >= 0.5 || budgets >= 10 {
            Backpressure::Warning
        } else {
            Backpressure::Healthy
        }
    }
}

/// How often a shard is asked for its load.
const SAMPLE_NS: u64 = 1_000_000;

/// Over how long a state is decided.
const WINDOW_NS: u64 = 50_000_000;

/// How long a shard must be below its state before that falls by a step.
const FALL_NS: u64 = 200_000_000;

const _: () = assert!(SAMPLE_NS * 10 <= WINDOW_NS && WINDOW_NS < FALL_NS);

/// Decides the state of one shard. Times in nanoseconds of one clock.
#[derive(Debug)]
pub(crate) struct Gauge {
    budget_ns: u64,
    /// The longest turn since the load was last asked for.
    turn_max: u64,
    /// The level since the last sample.
    level: Backpressure,
    sampled_ns: u64,
    window_ns: u64,
    /// How long each level lasted in this window.
    lasted: [u64; Backpressure::ALL.len()],
    state: Backpressure,
    below_since_ns: Option<u64>,
    worst: Backpressure,
    shown: Shown,
}

impl Gauge {
    /// Before the first turn, at this moment.
    pub(crate) fn new(budget_ns: u64, now_ns: u64, shown: Shown) -> Gauge {
        Gauge {
            budget_ns,
            turn_max: 0,
            level: Backpressure::Healthy,
            sampled_ns: now_ns,
            window_ns: now_ns,
            lasted: [0; Backpressure::ALL.len()],
            state: Backpressure::Healthy,
            below_since_ns: None,
            worst: Backpressure::Healthy,
            shown,
        }
    }

    /// A turn ended, which took so long. Whether the load is to be told.
    pub(crate) fn turn(&mut self, turn_ns: u64, now_ns: u64) -> bool {
        self.turn_max = self.turn_max.max(turn_ns);
        now_ns - self.sampled_ns >= SAMPLE_NS
    }

    /// The load at this moment.
    pub(crate) fn sample(&mut self, load: &Load, now_ns: u64) {
        self.lasted[self.level as usize] += now_ns - self.sampled_ns;
        self.sampled_ns = now_ns;
        self.level = load.level(self.turn_max / self.budget_ns);
        self.turn_max = 0;
        if now_ns - self.window_ns >= WINDOW_NS {
            self.decide(now_ns);
        }
    }

    fn decide(&mut self, now_ns: u64) {
        let half = (now_ns - self.window_ns) / 2;
        let mut lasted = 0;
        let reached = Backpressure::ALL.into_iter().rev().find(|level| {
            lasted += self.lasted[*level as usize];
            lasted >= half
        });
        let reached = reached.expect("all levels together lasted the whole window");
        if reached >= self.state {
            self.state = reached;
            self.below_since_ns = None;
        } else {
            let mut since_ns = self.below_since_ns.unwrap_or(self.window_ns);
            while self.state > reached && now_ns - since_ns >= FALL_NS {
                self.state = self.state.below();
                since_ns += FALL_NS;
            }
            self.below_since_ns = Some(since_ns);
        }
        self.worst = self.worst.max(self.state);
        self.shown.show_backpressure(self.state);
        self.window_ns = now_ns;
        self.lasted = [0; Backpressure::ALL.len()];
    }

    /// The state now.
    pub(crate) fn state(&self) -> Backpressure {
        self.state
    }

    /// The worst state so far.
    pub(crate) fn worst(&self) -> Backpressure {
        self.worst
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: u64 = 1_000_000;
    const BUDGET: u64 = 100_000;

    fn held(blocks: usize) -> Load {
        Load {
            held_blocks: blocks,
            ..Load::default()
        }
    }

    struct Run {
        gauge: Gauge,
        now: u64,
    }

    impl Run {
        fn new() -> Run {
            Run {
                gauge: Gauge::new(BUDGET, 0, Shown::default()),
                now: 0,
            }
        }

        /// A sample each millisecond, for so long.
        fn samples(&mut self, count: u64, load: impl Fn(u64) -> Load) -> Backpressure {
            for index in 0..count {
                self.now += MS;
                assert!(self.gauge.turn(BUDGET / 2, self.now));
                self.gauge.sample(&load(index), self.now);
            }
            self.gauge.state()
        }
    }

    #[test]
    fn each_signal_presses_at_its_level() {
        let fill = |lane_fill, source_fill| Load {
            lane_fill,
            source_fill,
            held_blocks: 0,
        };
        for (load, budgets, level) in [
            (fill(0.49, 0.49), 9, Backpressure::Healthy),
            (fill(0.5, 0.0), 0, Backpressure::Warning),
            (fill(0.0, 0.5), 0, Backpressure::Warning),
            (fill(0.0, 0.0), 10, Backpressure::Warning),
            (fill(0.9, 0.0), 0, Backpressure::Critical),
            (fill(0.0, 1.0), 0, Backpressure::Critical),
            (fill(0.0, 0.0), 50, Backpressure::Critical),
            (held(1), 0, Backpressure::Saturated),
        ] {
            assert_eq!(load.level(budgets), level, "{load:?} {budgets}");
        }
    }

    #[test]
    fn what_lasts_for_half_a_window_is_the_state_and_what_does_not_is_not() {
        let mut run = Run::new();
        assert_eq!(run.samples(100, |_| held(0)), Backpressure::Healthy);
        assert_eq!(
            run.samples(100, |index| held(usize::from(index % 3 == 0))),
            Backpressure::Healthy
        );
        assert_eq!(
            run.samples(100, |index| held(usize::from(index % 3 > 0))),
            Backpressure::Saturated
        );
    }

    #[test]
    fn it_falls_a_step_at_a_time_and_only_after_a_while() {
        let mut run = Run::new();
        run.samples(100, |_| held(1));
        let mut fallen = Vec::new();
        for _ in 0..16 {
            fallen.push(run.samples(50, |_| held(0)));
        }
        fallen.dedup();
        let mut down = Backpressure::ALL.to_vec();
        down.reverse();
        assert_eq!(fallen, down);
        assert_eq!(run.gauge.worst(), Backpressure::Saturated);
    }

    #[test]
    fn a_shard_that_wakes_from_a_long_sleep_is_healthy_again() {
        let mut run = Run::new();
        run.samples(100, |_| held(1));
        run.samples(1, |_| held(0));
        run.now += 10_000 * MS;
        assert_eq!(run.samples(1, |_| held(0)), Backpressure::Healthy);
    }

    #[test]
    fn other_threads_see_the_state() {
        let shown = Shown::default();
        let mut run = Run::new();
        run.gauge = Gauge::new(BUDGET, 0, shown.clone());
        run.samples(100, |_| held(1));
        assert_eq!(shown.backpressure(), Backpressure::Saturated);
    }

    #[test]
    fn the_load_is_asked_for_once_a_millisecond_and_long_turns_are_remembered_until_then() {
        let mut gauge = Gauge::new(BUDGET, 0, Shown::default());
        assert!(!gauge.turn(60 * BUDGET, MS / 2));
        assert!(!gauge.turn(BUDGET, MS - 1));
        assert!(gauge.turn(BUDGET, MS));
        gauge.sample(&Load::default(), MS);
        assert_eq!(gauge.level, Backpressure::Critical);
        gauge.sample(&Load::default(), 2 * MS);
        assert_eq!(gauge.level, Backpressure::Healthy);
    }

    proptest! {
        #[test]
        fn it_is_never_worse_than_what_was_seen_and_never_falls_by_two(
            seen in prop::collection::vec((0usize..2, 0.0f64..1.0, 1u64..40), 1..400),
        ) {
            let mut gauge = Gauge::new(BUDGET, 0, Shown::default());
            let (mut now, mut worst) = (0, Backpressure::Healthy);
            for (held_blocks, lane_fill, ms) in seen {
                now += ms * MS;
                let load = Load { held_blocks, lane_fill, source_fill: 0.0 };
                let before = gauge.state();
                gauge.sample(&load, now);
                prop_assert!(gauge.state() >= before.below(), "no window is as long as two falls");
                prop_assert!(gauge.worst() <= worst);
                worst = worst.max(load.level(0));
            }
            prop_assert!(gauge.worst() >= gauge.state());
        }
    }
}
