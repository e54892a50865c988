//! Where windows lie in event time: number <-> bounds, which of them cover a time, and when one closes.
//!
//! ```text
//!   hopping (tumbling: ADVANCE = SIZE)          cumulating, 3 steps
//!   n  |--------------|                         n      |----|
//!   n+1     |--------------|                    n+1    |---------|
//!   n+2          |--------------|               n+2    |--------------|
//!                                               n+3                   |----|
//! ```
//!
//! Laws: windows are numbered in the order in which they close, and those that cover a time have numbers in a row. Numbers are
//! found by floor division, also before 1970. Bounds that an `i64` of microseconds cannot hold (before the year -290308, after
//! 294247) saturate: the window at the edge is shorter, and one whose end plus grace lies past the edge closes at the end of
//! input only.

use std::ops::RangeInclusive;

use crate::plan::WindowSpec;
use crate::time::{EventTime, Watermark};

/// Windows of one kind. Window `n` begins with the cycle `n / steps`, and ends `n % steps + 1` steps later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spans {
    /// From cycle to cycle, microseconds.
    advance_us: i64,
    /// Length of the first window of a cycle, and by how much each is longer than the one before.
    step_us: i64,
    /// Windows in a cycle.
    steps: i64,
    /// Where cycle 0 begins.
    offset_us: i64,
    /// How long after its end a window accepts records.
    grace_us: i64,
}

impl Spans {
    /// The spans of a planned window.
    pub fn of(window: &WindowSpec) -> Spans {
        match *window {
            WindowSpec::Tumbling {
                size_us,
                offset_us,
                grace_us,
            } => Spans::hopping(size_us, size_us, offset_us, grace_us),
            WindowSpec::Hopping {
                size_us,
                advance_us,
                offset_us,
                grace_us,
            } => Spans::hopping(size_us, advance_us, offset_us, grace_us),
            // What closes is a time: no record of it is accepted any more. Which session it is in, its owner knows (`sessions.rs`).
            WindowSpec::Session { grace_us, .. } => Spans::hopping(1, 1, 0, grace_us),
            WindowSpec::Cumulate {
                size_us,
                step_us,
                grace_us,
            } => Spans::cumulating(size_us, step_us, grace_us),
        }
    }

    fn hopping(size_us: i64, advance_us: i64, offset_us: i64, grace_us: i64) -> Spans {
        assert!(
            (1..=size_us).contains(&advance_us),
            "windows leave no time between them"
        );
        Spans::checked(Spans {
            advance_us,
            step_us: size_us,
            steps: 1,
            offset_us,
            grace_us,
        })
    }

    fn cumulating(size_us: i64, step_us: i64, grace_us: i64) -> Spans {
        assert!(
            step_us > 0 && size_us % step_us == 0,
            "a cycle is a number of steps"
        );
        Spans::checked(Spans {
            advance_us: size_us,
            step_us,
            steps: size_us / step_us,
            offset_us: 0,
            grace_us,
        })
    }

    fn checked(self) -> Spans {
        assert!(self.advance_us > 0, "a window has a length");
        assert!(
            (0..self.advance_us).contains(&self.offset_us),
            "an offset is below the advance"
        );
        assert!(self.grace_us >= 0, "a window does not close before its end");
        self
    }

    /// Whether each time is a window of its own, whose number is that time.
    pub fn are_times(&self) -> bool {
        (self.advance_us, self.step_us, self.offset_us) == (1, 1, 0)
    }

    /// The windows that cover `time`, by number: at least one.
    pub fn covering(&self, time: EventTime) -> RangeInclusive<i64> {
        let (advance, step) = (i128::from(self.advance_us), i128::from(self.step_us));
        let steps = i128::from(self.steps);
        let time = i128::from(time.0) - i128::from(self.offset_us);
        let cycle = time.div_euclid(advance);
        let first = match self.steps {
            1 => (time - step).div_euclid(advance) + 1,
            _ => cycle * steps + time.rem_euclid(advance) / step,
        };
        let last = cycle * steps + steps - 1;
        saturated(first)..=saturated(last)
    }

    /// Start and end of window `number`, microseconds, half-open.
    pub fn bounds(&self, number: i64) -> (i64, i64) {
        let cycle = i128::from(number.div_euclid(self.steps));
        let steps = i128::from(number.rem_euclid(self.steps)) + 1;
        let start = cycle * i128::from(self.advance_us) + i128::from(self.offset_us);
        (
            saturated(start),
            saturated(start + steps * i128::from(self.step_us)),
        )
    }

    /// The watermark at which window `number` closes: its end plus grace.
    pub fn closing(&self, number: i64) -> Watermark {
        Watermark(self.bounds(number).1.saturating_add(self.grace_us))
    }

    /// The first window that is open at `watermark`.
    pub fn first_open(&self, watermark: Watermark) -> i64 {
        if watermark == Watermark::NONE {
            return i64::MIN;
        }
        let closed = EventTime(watermark.0.saturating_sub(self.grace_us));
        *self.covering(closed).start()
    }

    /// The start of the first window that is open at `watermark`: no record before it falls into a window that is.
    pub fn open_from(&self, watermark: Watermark) -> i64 {
        match watermark {
            Watermark::NONE => i64::MIN,
            _ => self.bounds(self.first_open(watermark)).0,
        }
    }

    /// By how many `first ..= last`, the windows that cover a time, are more than the fewest that cover one: 0 or 1. Of cumulating
    /// windows `first` says all.
    pub fn more_than_fewest(&self, first: i64, last: i64) -> i64 {
        match self.steps {
            1 => last - first + 1 - self.step_us / self.advance_us,
            _ => 0,
        }
    }

    /// The last of the windows that cover a time of which `first` is the first, and which are so many more than the fewest.
    pub fn last_beside(&self, first: i64, more: i64) -> i64 {
        match self.steps {
            1 => first + self.step_us / self.advance_us + more - 1,
            steps => first.div_euclid(steps) * steps + steps - 1,
        }
    }

    /// Whether windows that overlap begin at other times, so that one holds what another does not.
    pub fn slide(&self) -> bool {
        self.steps == 1
    }
}

fn saturated(time: i128) -> i64 {
    time.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tumbling(size_us: i64, offset_us: i64, grace_us: i64) -> Spans {
        Spans::hopping(size_us, size_us, offset_us, grace_us)
    }

    #[test]
    fn windows_before_1970_are_found_by_floor_division() {
        let spans = tumbling(10, 3, 0);
        for (time, window) in [(3, 0), (2, -1), (-7, -1), (-8, -2)] {
            assert_eq!(spans.covering(EventTime(time)), window..=window);
        }
        assert_eq!(spans.bounds(-1), (-7, 3));
        assert_eq!(spans.closing(-1), Watermark(3));
    }

    #[test]
    fn an_advance_need_not_divide_the_size() {
        let spans = Spans::hopping(25, 10, 0, 0);
        assert_eq!(spans.covering(EventTime(24)), 0..=2);
        assert_eq!(spans.covering(EventTime(25)), 1..=2);
        assert_eq!(spans.bounds(2), (20, 45));
    }

    #[test]
    fn cumulating_windows_begin_together_and_end_a_step_apart() {
        let spans = Spans::cumulating(30, 10, 0);
        assert_eq!(spans.covering(EventTime(9)), 0..=2);
        assert_eq!(spans.covering(EventTime(10)), 1..=2);
        assert_eq!(spans.covering(EventTime(-1)), -1..=-1);
        let bounds: Vec<_> = (-1..4).map(|number| spans.bounds(number)).collect();
        assert_eq!(bounds, [(-30, 0), (0, 10), (0, 20), (0, 30), (30, 40)]);
    }

    #[test]
    fn no_window_before_the_first_open_one_is_open() {
        for spans in [
            tumbling(10, 3, 4),
            Spans::hopping(25, 10, 3, 4),
            Spans::cumulating(30, 10, 4),
        ] {
            for watermark in -90..90 {
                let from = spans.open_from(Watermark(watermark));
                let open = |time| {
                    let mut windows = spans.covering(EventTime(time));
                    windows.any(|number| spans.closing(number) > Watermark(watermark))
                };
                assert!(open(from) && !open(from - 1), "{watermark}: {from}");
            }
            assert_eq!(spans.open_from(Watermark::NONE), i64::MIN);
        }
    }

    #[test]
    fn at_the_edges_of_time_bounds_saturate_and_still_hold_their_times() {
        let far = i64::MAX;
        for spans in [
            tumbling(1, 0, far),
            tumbling(2, 1, far),
            tumbling(1_000, 999, far),
            tumbling(i64::MAX, 0, far),
            tumbling(i64::MAX, i64::MAX - 1, far),
            Spans::hopping(25, 10, 9, far),
            Spans::hopping(i64::MAX, 1 << 60, 7, far),
            Spans::cumulating(1_000, 1, far),
        ] {
            for time in [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX] {
                for number in spans.covering(EventTime(time)) {
                    let (start, end) = spans.bounds(number);
                    assert!(start <= time, "{time} in [{start}, {end})");
                    assert!(time < end || end == i64::MAX, "{time} in [{start}, {end})");
                }
            }
        }
    }

    #[test]
    fn what_closes_past_the_edge_of_time_closes_at_the_end_of_input() {
        let spans = tumbling(10, 0, 5);
        let windows = spans.covering(EventTime(i64::MAX));
        assert_eq!(spans.closing(*windows.end()), Watermark::END);
    }

    proptest! {
        #[test]
        fn the_windows_that_cover_a_time_are_those_whose_bounds_do(
            time in -500i64..500,
            advance in 1i64..40,
            more in 0i64..100,
            offset in 0i64..40,
            step in 1i64..20,
            steps in 1i64..9,
        ) {
            for spans in [
                Spans::hopping(advance + more, advance, offset % advance, 0),
                Spans::cumulating(step * steps, step, 0),
            ] {
                let covers = |number: &i64| {
                    let (start, end) = spans.bounds(*number);
                    start <= time && time < end
                };
                let expected: Vec<i64> = (-6_000..6_000).filter(covers).collect();
                prop_assert_eq!(spans.covering(EventTime(time)).collect::<Vec<_>>(), expected);
                for number in -50..50 {
                    prop_assert!(spans.closing(number) < spans.closing(number + 1));
                }
            }
        }
    }
}
