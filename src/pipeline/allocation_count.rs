//! How much a shard allocates once it runs steadily: the figure that says whether anything allocates per record.
//!
//! Law: what comes before `STEADY_AFTER_TURNS` busy turns is left out: opening, growing to size, the first of everything.

use velostream_shards::allocations::Allocations;

use crate::config::limits::STEADY_AFTER_TURNS;

/// Counts the batches and allocations of the thread that it lives on.
#[derive(Debug, Default)]
pub struct AllocationCount {
    busy_turns: u64,
    batches: u64,
    /// When the steady state began: batches and allocations until then.
    steady: Option<(u64, Allocations)>,
}

/// What one shard allocated in its steady state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AllocationFigures {
    /// Batches taken from its source.
    pub batches: u64,
    /// Allocations.
    pub all: u64,
    /// Those while groups and windows were updated.
    pub in_updates: u64,
}

impl AllocationCount {
    /// A batch was taken.
    #[inline]
    pub fn batch(&mut self) {
        self.batches += 1;
    }

    /// A turn that did something has ended.
    #[inline]
    pub fn busy_turn(&mut self) {
        self.busy_turns += 1;
        if self.busy_turns == STEADY_AFTER_TURNS {
            self.steady = Some((self.batches, Allocations::of_this_thread()));
        }
    }

    /// What was counted; nothing if the steady state was never reached.
    pub fn figures(&self) -> AllocationFigures {
        let Some((batches, earlier)) = self.steady else {
            return AllocationFigures::default();
        };
        let allocations = Allocations::of_this_thread().since(earlier);
        AllocationFigures {
            batches: self.batches - batches,
            all: allocations.all,
            in_updates: allocations.in_updates,
        }
    }
}

impl AllocationFigures {
    /// Allocations of all shards for each batch that was read; `None` when no batch was read in a steady state.
    pub fn per_batch(shards: impl Iterator<Item = AllocationFigures>) -> Option<f64> {
        let sum = shards.fold((0, 0), |(batches, all), shard| {
            (batches + shard.batches, all + shard.all)
        });
        match sum {
            (0, _) => None,
            (batches, all) => Some(all as f64 / batches as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_turns_do_not_count() {
        let mut count = AllocationCount::default();
        let mut kept = Vec::new();
        for turn in 1..STEADY_AFTER_TURNS + 10 {
            kept.push(Box::new(turn));
            count.batch();
            count.busy_turn();
            if turn < STEADY_AFTER_TURNS {
                assert_eq!(count.figures(), AllocationFigures::default());
            }
        }
        let figures = count.figures();
        assert_eq!(figures.batches, 9);
        // The boxes, and the growth of what keeps them.
        assert!((9..=11).contains(&figures.all), "{figures:?}");
        assert_eq!(figures.in_updates, 0);
    }

    #[test]
    fn a_shard_that_reads_nothing_allocates_for_the_batches_of_others() {
        let reader = AllocationFigures {
            batches: 10,
            all: 100,
            in_updates: 0,
        };
        let owner = AllocationFigures {
            batches: 0,
            all: 50,
            in_updates: 0,
        };
        let shards = [reader, owner].into_iter();
        assert_eq!(AllocationFigures::per_batch(shards), Some(15.0));
        assert_eq!(AllocationFigures::per_batch([owner].into_iter()), None);
    }
}
