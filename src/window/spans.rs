//! Where panes lie in event time: pane number <-> bounds, and when a pane closes.
//!
//! Law: pane `n` is `[n * size + offset, (n + 1) * size + offset)`, by floor division, also before 1970. Bounds that an
//! `i64` of microseconds cannot hold (before the year -290308, after 294247) saturate: the pane at the edge is shorter,
//! and one whose end plus grace lies past the edge closes at the end of input only.

use crate::plan::WindowSpec;
use crate::time::{EventTime, Watermark};

/// Panes of equal size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spans {
    size_us: i64,
    offset_us: i64,
    grace_us: i64,
}

impl Spans {
    /// Panes of `size_us` microseconds, shifted by `offset_us`, which accept records for `grace_us` after their end.
    pub fn new(size_us: i64, offset_us: i64, grace_us: i64) -> Spans {
        assert!(size_us > 0, "a pane has a length");
        assert!(
            (0..size_us).contains(&offset_us),
            "an offset is below the size"
        );
        assert!(grace_us >= 0, "a pane does not close before its end");
        Spans {
            size_us,
            offset_us,
            grace_us,
        }
    }

    /// The panes of a planned window.
    pub fn of(window: &WindowSpec) -> Spans {
        match *window {
            WindowSpec::Tumbling {
                size_us,
                offset_us,
                grace_us,
            } => Spans::new(size_us, offset_us, grace_us),
        }
    }

    /// The number of the pane that `time` falls into.
    pub fn pane(&self, time: EventTime) -> i64 {
        let since_offset = i128::from(time.0) - i128::from(self.offset_us);
        let pane = since_offset.div_euclid(i128::from(self.size_us));
        i64::try_from(pane)
            .expect("a shift by less than one pane does not leave the range of pane numbers")
    }

    /// Start and end of `pane`, microseconds, half-open.
    pub fn bounds(&self, pane: i64) -> (i64, i64) {
        let start = i128::from(pane) * i128::from(self.size_us) + i128::from(self.offset_us);
        (
            saturated(start),
            saturated(start + i128::from(self.size_us)),
        )
    }

    /// The watermark at which `pane` closes: its end plus grace.
    pub fn closing(&self, pane: i64) -> Watermark {
        Watermark(self.bounds(pane).1.saturating_add(self.grace_us))
    }

    /// The start of the first pane that is open at `watermark`: no record before it falls into a pane that is.
    pub fn open_from(&self, watermark: Watermark) -> i64 {
        if watermark == Watermark::NONE {
            return i64::MIN;
        }
        let closed = EventTime(watermark.0.saturating_sub(self.grace_us));
        self.bounds(self.pane(closed)).0
    }
}

fn saturated(time: i128) -> i64 {
    time.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panes_before_1970_are_found_by_floor_division() {
        let spans = Spans::new(10, 3, 0);
        assert_eq!(spans.pane(EventTime(3)), 0);
        assert_eq!(spans.pane(EventTime(2)), -1);
        assert_eq!(spans.pane(EventTime(-7)), -1);
        assert_eq!(spans.pane(EventTime(-8)), -2);
        assert_eq!(spans.bounds(-1), (-7, 3));
        assert_eq!(spans.closing(-1), Watermark(3));
    }

    #[test]
    fn no_pane_before_the_first_open_one_is_open() {
        let spans = Spans::new(10, 3, 4);
        for watermark in -50..50 {
            let from = spans.open_from(Watermark(watermark));
            let open = |time| spans.closing(spans.pane(EventTime(time))) > Watermark(watermark);
            assert!(open(from) && !open(from - 1), "{watermark}: {from}");
        }
        assert_eq!(spans.open_from(Watermark::NONE), i64::MIN);
    }

    #[test]
    fn at_the_edges_of_time_bounds_saturate_and_still_hold_their_times() {
        for (size, offset) in [
            (1, 0),
            (2, 1),
            (1_000, 999),
            (i64::MAX, 0),
            (i64::MAX, i64::MAX - 1),
        ] {
            let spans = Spans::new(size, offset, i64::MAX);
            for time in [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX] {
                let (start, end) = spans.bounds(spans.pane(EventTime(time)));
                assert!(start <= time, "{time} in [{start}, {end})");
                assert!(time < end || end == i64::MAX, "{time} in [{start}, {end})");
            }
        }
    }

    #[test]
    fn what_closes_past_the_edge_of_time_closes_at_the_end_of_input() {
        let spans = Spans::new(10, 0, 5);
        assert_eq!(
            spans.closing(spans.pane(EventTime(i64::MAX))),
            Watermark::END
        );
    }
}
