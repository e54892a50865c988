//! The stages of a turn: what a shard says it is doing, so that a stall has a name.
//!
//! ```text
//!   turn ── enter(A) ────── enter(B) ── enter(A) ─────────> end        A took the most: the stall is A's
//! ```
//!
//! The law: entering a stage costs one reading of the clock (23 ns), and none when the stage is the
//! same. A turn enters a handful of stages, never one a record.

use crate::clock::SystemClock;

/// How many stages a shard may name.
pub const STAGES_MAX: usize = 16;

/// A part of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    index: u8,
    name: &'static str,
}

impl Stage {
    /// What a turn does before it enters a stage.
    pub const TURN: Stage = Stage {
        index: 0,
        name: "turn",
    };

    /// Stage number `index`, from 1, by its name in figures. A shard gives each of its stages its
    /// own number.
    ///
    /// # Panics
    /// When the number is 0 or not below [`STAGES_MAX`]; at compile time in a `const`.
    pub const fn new(index: u8, name: &'static str) -> Stage {
        assert!(index > 0 && (index as usize) < STAGES_MAX);
        Stage { index, name }
    }

    /// Its name in figures.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// Its place in any list kept by stage.
    pub const fn index(self) -> usize {
        self.index as usize
    }
}

/// How long one turn spent in each stage, in nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct StageTimes {
    current: Stage,
    since_ns: u64,
    spent: [u64; STAGES_MAX],
    names: [&'static str; STAGES_MAX],
}

impl StageTimes {
    /// A turn that begins at this moment.
    pub(crate) fn begin(now_ns: u64) -> StageTimes {
        StageTimes {
            current: Stage::TURN,
            since_ns: now_ns,
            spent: [0; STAGES_MAX],
            names: [""; STAGES_MAX],
        }
    }

    pub(crate) fn enter(&mut self, stage: Stage) {
        self.enter_by(stage, || SystemClock.monotonic_ns());
    }

    /// The same by this clock, which is read only when the stage is another.
    fn enter_by(&mut self, stage: Stage, now_ns: impl FnOnce() -> u64) {
        if stage.index != self.current.index {
            self.leave(now_ns());
            self.current = stage;
        }
    }

    /// The turn ended at this moment: the stage in which it spent the most.
    pub(crate) fn longest(mut self, now_ns: u64) -> Stage {
        self.leave(now_ns);
        let longest = (0..STAGES_MAX).max_by_key(|index| self.spent[*index]);
        let index = longest.expect("there is a stage");
        match self.names[index] {
            "" => Stage::TURN,
            name => Stage {
                index: index as u8,
                name,
            },
        }
    }

    fn leave(&mut self, now_ns: u64) {
        let index = self.current.index();
        self.spent[index] += now_ns.saturating_sub(self.since_ns);
        self.names[index] = self.current.name;
        self.since_ns = now_ns;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: Stage = Stage::new(1, "read");
    const FIRE: Stage = Stage::new(2, "fire");

    #[test]
    fn the_stage_that_took_the_most_is_named_however_often_it_was_entered() {
        let mut times = StageTimes::begin(1_000);
        for round in 0..3 {
            times.enter_by(READ, || 1_000 + round * 500);
            times.enter_by(READ, || {
                panic!("the clock is not read: the stage is the same")
            });
            times.enter_by(FIRE, || 1_400 + round * 500);
        }
        // READ took three times 400, FIRE twice 100 and at the end 900.
        assert_eq!(times.clone().longest(3_300), READ);
        assert_eq!(times.longest(3_500), FIRE);
    }

    #[test]
    fn a_turn_that_names_nothing_is_called_a_turn() {
        assert_eq!(StageTimes::begin(10).longest(20), Stage::TURN);
        let mut late = StageTimes::begin(10);
        late.enter_by(FIRE, || 410);
        assert_eq!(late.longest(500), Stage::TURN);
    }
}
