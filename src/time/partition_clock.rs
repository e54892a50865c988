//! The watermark of one partition (or file): bounded out-of-orderness, advanced record by record in offset order.
//!
//! Law: equal to the highest event time so far minus the bound, minus infinity before the first record; never goes back.
//! An ascending stream is one whose bound is zero.

use super::{EventTime, Watermark};

/// Follows the event times of one partition.
#[derive(Clone, Debug)]
pub struct PartitionClock {
    bound_us: i64,
    watermark: Watermark,
}

impl PartitionClock {
    /// A partition that has seen nothing. `bound_us` is how far out of order its records may stand, in microseconds.
    pub fn new(bound_us: i64) -> PartitionClock {
        assert!(bound_us >= 0, "a bound below zero would promise the future");
        PartitionClock {
            bound_us,
            watermark: Watermark::NONE,
        }
    }

    /// The watermark as it stands: for a record, just before it, if `advance` has not yet been called for that record.
    #[inline]
    pub fn watermark(&self) -> Watermark {
        self.watermark
    }

    /// Takes note of a record's event time and returns the watermark just before it.
    #[inline]
    pub fn advance(&mut self, time: EventTime) -> Watermark {
        let before = self.watermark;
        // Saturating, so that a time at the edge of the range is not the end of input and never wraps.
        let after = time.0.saturating_sub(self.bound_us).min(i64::MAX - 1);
        if after > before.0 {
            self.watermark = Watermark(after);
        }
        before
    }

    /// An earlier run had come to `watermark` here.
    pub fn restore(&mut self, watermark: Watermark) {
        self.watermark = self.watermark.max(watermark);
    }

    /// No event time seen so far is later than this, microseconds; `i64::MIN` before the first.
    pub fn highest_us(&self) -> i64 {
        match self.watermark {
            Watermark::NONE => i64::MIN,
            Watermark(time_us) => time_us.saturating_add(self.bound_us),
        }
    }

    /// The partition's bounded input has ended: nothing follows.
    pub fn end(&mut self) {
        self.watermark = Watermark::END;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watermark_is_the_highest_time_minus_the_bound_and_never_goes_back() {
        let mut clock = PartitionClock::new(10);
        assert_eq!(clock.advance(EventTime(100)), Watermark::NONE);
        assert_eq!(clock.advance(EventTime(50)), Watermark(90));
        assert_eq!(clock.advance(EventTime(101)), Watermark(90));
        assert_eq!(clock.watermark(), Watermark(91));
    }

    #[test]
    fn times_at_the_edges_of_the_range_neither_wrap_nor_end_the_input() {
        let mut clock = PartitionClock::new(10);
        clock.advance(EventTime(i64::MIN));
        assert_eq!(clock.watermark(), Watermark::NONE);
        let mut ascending = PartitionClock::new(0);
        ascending.advance(EventTime(i64::MAX));
        assert!(ascending.watermark() < Watermark::END);
    }
}
