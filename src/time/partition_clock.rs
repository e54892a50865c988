//! The watermark of one partition (or file): bounded out-of-orderness, advanced record by record in offset order.
//!
//! ```text
//!   record --advance--> reached: the highest event time so far minus the bound
//!                          |   by record: at once;  by the clock: when a step passes;  by punctuation: when a record says so
//!                          v
//!                       watermark: what is promised
//! ```
//!
//! Law: the watermark is minus infinity before the first record, never beyond `reached` before the end, and never goes back.
//! An ascending stream is one whose bound is zero. It reads no clock and no record: it is told (`source::WatermarkSteps`).

use super::{EventTime, Watermark};

/// What moves the watermark to what event times have reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Moves {
    /// Every record, at once.
    #[default]
    ByRecord,
    /// `follow`, when the clock has passed a step.
    ByClock,
    /// `move_to`, behind a record that says so, and `follow`. Whether a record does is known once its batch is decoded, so
    /// `advance` returns what it has reached with it instead of the watermark before it.
    ByPunctuation,
}

/// Follows the event times of one partition.
#[derive(Clone, Debug)]
pub struct PartitionClock {
    bound_us: i64,
    moves: Moves,
    watermark: Watermark,
    reached: Watermark,
}

impl PartitionClock {
    /// A partition that has seen nothing. `bound_us` is how far out of order its records may stand, in microseconds.
    pub fn new(bound_us: i64) -> PartitionClock {
        assert!(bound_us >= 0, "a bound below zero would promise the future");
        PartitionClock {
            bound_us,
            moves: Moves::ByRecord,
            watermark: Watermark::NONE,
            reached: Watermark::NONE,
        }
    }

    /// The same, whose watermark `moves` otherwise.
    #[must_use]
    pub fn moving(self, moves: Moves) -> PartitionClock {
        PartitionClock { moves, ..self }
    }

    /// The watermark as it stands: for a record, just before it, if `advance` has not yet been called for that record.
    #[inline]
    pub fn watermark(&self) -> Watermark {
        self.watermark
    }

    /// Takes note of a record's event time and returns the watermark just before it; under `ByPunctuation`, what is reached with
    /// it.
    #[inline]
    pub fn advance(&mut self, time: EventTime) -> Watermark {
        let before = self.watermark;
        // Saturating, so that a time at the edge of the range is not the end of input and never wraps.
        let after = time.0.saturating_sub(self.bound_us).min(i64::MAX - 1);
        if after > self.reached.0 {
            self.reached = Watermark(after);
            if self.moves == Moves::ByRecord {
                self.watermark = self.reached;
            }
        }
        match self.moves {
            Moves::ByRecord | Moves::ByClock => before,
            Moves::ByPunctuation => self.reached,
        }
    }

    /// The watermark moves to what event times have reached. Whether that is further.
    pub fn follow(&mut self) -> bool {
        let moves = self.reached > self.watermark;
        self.watermark = self.watermark.max(self.reached);
        moves
    }

    /// The watermark moves to `reached`, which event times had reached behind some record.
    pub fn move_to(&mut self, reached: Watermark) {
        debug_assert!(reached <= self.reached, "no more than was reached");
        self.watermark = self.watermark.max(reached);
    }

    /// Whether `follow` would move it.
    pub fn is_behind(&self) -> bool {
        self.reached > self.watermark
    }

    /// An earlier run had come to `watermark` here.
    pub fn restore(&mut self, watermark: Watermark) {
        self.watermark = self.watermark.max(watermark);
        self.reached = self.reached.max(watermark);
    }

    /// No event time seen so far is later than this, microseconds; `i64::MIN` before the first.
    pub fn highest_us(&self) -> i64 {
        match self.reached {
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
    fn by_the_clock_it_stands_until_it_is_told_to_follow() {
        let mut clock = PartitionClock::new(10).moving(Moves::ByClock);
        assert!(!clock.follow() && !clock.is_behind());
        assert_eq!(clock.advance(EventTime(100)), Watermark::NONE);
        assert_eq!(clock.advance(EventTime(200)), Watermark::NONE);
        assert!(clock.is_behind() && clock.follow() && !clock.follow());
        assert_eq!(clock.advance(EventTime(150)), Watermark(190));
        assert_eq!(clock.highest_us(), 200);
    }

    #[test]
    fn by_punctuation_it_says_how_far_each_record_has_come_and_goes_where_it_is_told() {
        let mut clock = PartitionClock::new(10).moving(Moves::ByPunctuation);
        assert_eq!(clock.advance(EventTime(100)), Watermark(90));
        assert_eq!(clock.advance(EventTime(50)), Watermark(90));
        assert_eq!(clock.advance(EventTime(120)), Watermark(110));
        assert_eq!(clock.watermark(), Watermark::NONE);
        clock.move_to(Watermark(90));
        assert_eq!(clock.watermark(), Watermark(90));
        clock.move_to(Watermark(80));
        assert_eq!(clock.watermark(), Watermark(90), "it never goes back");
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
