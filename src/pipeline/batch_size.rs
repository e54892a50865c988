//! How many records a turn takes from a source: as many as the turn's budget bears, between a floor and a ceiling.
//!
//! ```text
//!   a full batch in at most half of the budget ──> twice as many        a batch over the budget ──> half as many
//! ```
//!
//! Law: small batches make short turns and large ones cheap records, so the size follows what a batch was seen to take, by the
//! clock of the caller. It grows only where the next size is expected to stay within the budget, so that a steady load
//! comes to rest and does not swing. The answers do not depend on it.

/// The size of the next batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchSize {
    now: usize,
    min: usize,
    max: usize,
    budget_ns: u64,
}

impl BatchSize {
    /// A size that begins at `min` and stays within `min` and `max`, for turns of `budget_ns`.
    pub fn new(min: usize, max: usize, budget_ns: u64) -> BatchSize {
        assert!(0 < min && min <= max, "a batch of {min} to {max} records");
        BatchSize {
            now: min,
            min,
            max,
            budget_ns,
        }
    }

    /// Records at most.
    pub fn now(&self) -> usize {
        self.now
    }

    /// A batch of `records` took `ns` to be taken and applied.
    pub fn took(&mut self, records: usize, ns: u64) {
        if ns > self.budget_ns {
            self.now = (self.now / 2).max(self.min);
        } else if records >= self.now && ns <= self.budget_ns / 2 {
            self.now = (self.now * 2).min(self.max);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET_NS: u64 = 100_000;

    /// The sizes of `batches` batches, of which each record takes `ns`, while `waiting` records wait.
    fn sizes(size: &mut BatchSize, batches: usize, waiting: usize, ns: u64) -> Vec<usize> {
        let batch = |_| {
            let asked = size.now();
            let records = asked.min(waiting);
            size.took(records, records as u64 * ns);
            asked
        };
        (0..batches).map(batch).collect()
    }

    #[test]
    fn it_doubles_while_records_wait_and_stops_where_the_budget_ends() {
        let mut size = BatchSize::new(16, 1024, BUDGET_NS);
        assert_eq!(
            sizes(&mut size, 8, usize::MAX, 50),
            [16, 32, 64, 128, 256, 512, 1024, 1024]
        );
        let mut size = BatchSize::new(16, 1024, BUDGET_NS);
        assert_eq!(
            sizes(&mut size, 9, usize::MAX, 150),
            [16, 32, 64, 128, 256, 512, 512, 512, 512]
        );
    }

    #[test]
    fn it_stays_where_fewer_wait_than_it_would_take() {
        let mut size = BatchSize::new(16, 1024, BUDGET_NS);
        assert_eq!(sizes(&mut size, 4, 20, 1), [16, 32, 32, 32]);
    }

    #[test]
    fn a_batch_over_the_budget_halves_it_down_to_the_floor_and_no_further() {
        let mut size = BatchSize::new(16, 64, BUDGET_NS);
        sizes(&mut size, 4, usize::MAX, 1);
        assert_eq!(size.now(), 64);
        assert_eq!(sizes(&mut size, 4, usize::MAX, 50_000), [64, 32, 16, 16]);
        // A lone record that takes long halves it as well.
        let mut size = BatchSize::new(16, 64, BUDGET_NS);
        sizes(&mut size, 2, usize::MAX, 1);
        assert_eq!(sizes(&mut size, 2, 1, 200_000), [64, 32]);
    }

    #[test]
    fn whatever_happens_it_stays_within_its_bounds_and_a_steady_load_comes_to_rest() {
        for (min, max) in [(1, 1), (1, 7), (16, 1000), (1024, 1024)] {
            for ns in [0, 1, 90, 99, 101, 300, 100_001] {
                let mut size = BatchSize::new(min, max, BUDGET_NS);
                let seen = sizes(&mut size, 40, usize::MAX, ns);
                assert!(seen.iter().all(|size| (min..=max).contains(size)));
                assert!(seen[20..].iter().all(|size| *size == seen[20]), "{seen:?}");
            }
        }
    }
}
