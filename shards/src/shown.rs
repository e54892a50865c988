//! What other threads may see of a running shard: how hard it is pressed, how busy it is, how often it stalled.
//!
//! ```text
//!   the shard, once a millisecond ── relaxed stores ──> cells of its own cache lines ── relaxed loads ──> who asks: the job
//! ```
//!
//! The law: one writer, the shard's loop, and no order between the cells. Each is true of some moment of
//! the last millisecond, or of the last turn of a shard that is parked; nothing is decided by them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use crate::backpressure::Backpressure;
use crate::stage::STAGES_MAX;

/// What other threads may see of one shard. Clones show the same shard.
#[derive(Clone, Debug, Default)]
pub struct Shown(Arc<Cells>);

/// Two cache lines at least, so that whoever looks disturbs no other shard.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Cells {
    backpressure: AtomicU8,
    /// The bits of an `f64`.
    busy_ratio: AtomicU64,
    safety_tick_found_work: AtomicU64,
    stalls: [AtomicU64; STAGES_MAX],
}

impl Shown {
    /// How hard the shard is pressed.
    pub fn backpressure(&self) -> Backpressure {
        Backpressure::ALL[usize::from(self.0.backpressure.load(Ordering::Relaxed))]
    }

    /// The share of the last whole second that the shard spent in busy turns, 0 to 1; 0 in its first second.
    pub fn busy_ratio(&self) -> f64 {
        f64::from_bits(self.0.busy_ratio.load(Ordering::Relaxed))
    }

    /// How often its safety tick found work for which nobody had rung.
    pub fn safety_tick_found_work(&self) -> u64 {
        self.0.safety_tick_found_work.load(Ordering::Relaxed)
    }

    /// Turns of more CPU time than the budget, by the [`index`](crate::Stage::index) of the stage that took
    /// the most of them.
    pub fn stalls(&self) -> [u64; STAGES_MAX] {
        std::array::from_fn(|index| self.0.stalls[index].load(Ordering::Relaxed))
    }

    pub(crate) fn show_backpressure(&self, state: Backpressure) {
        self.0.backpressure.store(state as u8, Ordering::Relaxed);
    }

    pub(crate) fn show_busy_ratio(&self, ratio: f64) {
        self.0.busy_ratio.store(ratio.to_bits(), Ordering::Relaxed);
    }

    pub(crate) fn show_counts(
        &self,
        safety_tick_found_work: u64,
        stalls: impl Iterator<Item = u64>,
    ) {
        self.0
            .safety_tick_found_work
            .store(safety_tick_found_work, Ordering::Relaxed);
        for (cell, count) in self.0.stalls.iter().zip(stalls) {
            cell.store(count, Ordering::Relaxed);
        }
    }
}

/// How busy a shard was, second by second. Times in nanoseconds of one clock.
#[derive(Debug)]
pub(crate) struct BusyRatio {
    since_ns: u64,
    busy_before: u64,
}

/// Over how long the ratio is taken.
const SECOND_NS: u64 = 1_000_000_000;

impl BusyRatio {
    /// Before the first turn, at this moment.
    pub(crate) fn new(now_ns: u64) -> BusyRatio {
        BusyRatio {
            since_ns: now_ns,
            busy_before: 0,
        }
    }

    /// The shard has spent `busy_ns` in busy turns until now; the ratio, if a second is over.
    pub(crate) fn at(&mut self, now_ns: u64, busy_ns: u64) -> Option<f64> {
        let elapsed = now_ns - self.since_ns;
        if elapsed < SECOND_NS {
            return None;
        }
        let busy = busy_ns - self.busy_before;
        *self = BusyRatio {
            since_ns: now_ns,
            busy_before: busy_ns,
        };
        // A busy turn may have begun before the second.
        Some((busy as f64 / elapsed as f64).min(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_clone_shows_what_the_shard_said() {
        let shown = Shown::default();
        let seen = shown.clone();
        assert_eq!(seen.backpressure(), Backpressure::Healthy);
        shown.show_backpressure(Backpressure::Saturated);
        shown.show_busy_ratio(0.25);
        shown.show_counts(3, [0, 0, 7].into_iter());
        assert_eq!(seen.backpressure().to_string(), "saturated");
        assert_eq!(
            (seen.busy_ratio(), seen.safety_tick_found_work()),
            (0.25, 3)
        );
        assert_eq!((seen.stalls()[2], seen.stalls()[3]), (7, 0));
    }

    #[test]
    fn the_ratio_is_of_the_last_second_and_not_since_the_start() {
        let mut ratio = BusyRatio::new(5 * SECOND_NS);
        assert_eq!(ratio.at(6 * SECOND_NS - 1, SECOND_NS / 2), None);
        assert_eq!(ratio.at(6 * SECOND_NS, SECOND_NS / 2), Some(0.5));
        assert_eq!(ratio.at(8 * SECOND_NS, SECOND_NS), Some(0.25));
        assert_eq!(ratio.at(9 * SECOND_NS, SECOND_NS), Some(0.0));
        // A turn of three seconds that ended just now.
        assert_eq!(ratio.at(10 * SECOND_NS, 4 * SECOND_NS), Some(1.0));
    }
}
