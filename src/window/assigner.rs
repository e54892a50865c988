//! Event times to pane numbers, and which records are late.
//!
//! Law: a record is late iff the end of its pane plus grace is at or below its partition's watermark just before it; one of a
//! pane that an earlier run has emitted (`start_at`) is passed over instead. The answer depends on nothing else, so it is the same at any number of shards, batch size or timing.
//!
//! The bounds of the last pane are kept, so that a record of the same pane as the one before costs a compare, not a
//! division.

use super::Spans;
use crate::plan::WindowSpec;
use crate::time::{EventTime, Watermark};

/// Assigns records to tumbling windows: each falls into one pane, and a pane is a window.
#[derive(Clone, Debug)]
pub struct TumblingAssigner {
    spans: Spans,
    /// Panes that close at or below it are done: an earlier run has emitted them.
    done: Watermark,
    last: Pane,
}

/// A pane with what a record is compared with.
#[derive(Clone, Copy, Debug)]
struct Pane {
    number: i64,
    start: i64,
    end: i64,
    /// When it closes; `Watermark::NONE` for one that is done, so that every record of it takes the cold branch.
    closing: Watermark,
    is_done: bool,
}

impl TumblingAssigner {
    /// An assigner for a planned window.
    pub fn of(window: &WindowSpec) -> TumblingAssigner {
        TumblingAssigner::over(Spans::of(window))
    }

    fn over(spans: Spans) -> TumblingAssigner {
        TumblingAssigner {
            spans,
            done: Watermark::NONE,
            last: Pane::number(&spans, 0, Watermark::NONE),
        }
    }

    /// From now on, panes that close at or below `done` are done.
    pub fn start_at(&mut self, done: Watermark) {
        self.done = done;
        self.last = Pane::number(&self.spans, 0, done);
    }

    /// Whether a record of `time` falls into a pane that is done.
    pub fn is_done(&self, time: EventTime) -> bool {
        self.spans.closing(self.spans.pane(time)) <= self.done
    }

    /// Whether pane number `pane` is closed at `watermark`.
    pub fn is_closed(&self, pane: i64, watermark: Watermark) -> bool {
        self.spans.closing(pane) <= watermark
    }

    /// Judges the records of a batch: appends the row of each accepted record to `accepted`, its pane to `panes`, and
    /// returns how many were late. A record of a pane that is done is neither.
    pub fn assign(
        &mut self,
        times: &[EventTime],
        watermarks_before: &[Watermark],
        panes: &mut Vec<i64>,
        accepted: &mut Vec<u32>,
    ) -> u64 {
        assert_eq!(
            times.len(),
            watermarks_before.len(),
            "a watermark before every record"
        );
        panes.reserve(times.len());
        accepted.reserve(times.len());
        let mut last = self.last;
        let mut late = 0;
        for (row, (&time, &before)) in times.iter().zip(watermarks_before).enumerate() {
            if time.0 < last.start || time.0 >= last.end {
                last = Pane::number(&self.spans, self.spans.pane(time), self.done);
            }
            if last.closing <= before {
                late += u64::from(!last.is_done);
            } else {
                panes.push(last.number);
                accepted.push(row as u32);
            }
        }
        self.last = last;
        late
    }
}

impl Pane {
    fn number(spans: &Spans, number: i64, done: Watermark) -> Pane {
        let (start, end) = spans.bounds(number);
        let closing = spans.closing(number);
        let is_done = closing <= done;
        Pane {
            number,
            start,
            end,
            closing: if is_done { Watermark::NONE } else { closing },
            is_done,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_record_is_late_once_its_partition_has_reached_end_plus_grace() {
        let mut assigner = TumblingAssigner::over(Spans::new(10, 0, 5));
        let (mut panes, mut accepted) = (Vec::new(), Vec::new());
        let times = [EventTime(9), EventTime(9), EventTime(10)];
        let before = [Watermark(14), Watermark(15), Watermark(15)];
        assert_eq!(
            assigner.assign(&times, &before, &mut panes, &mut accepted),
            1
        );
        assert_eq!(panes, [0, 1]);
        assert_eq!(accepted, [0, 2]);
    }

    #[test]
    fn nothing_is_late_before_the_first_record() {
        let mut assigner = TumblingAssigner::over(Spans::new(10, 0, 0));
        let (mut panes, mut accepted) = (Vec::new(), Vec::new());
        let times = [EventTime(i64::MIN), EventTime(i64::MAX)];
        assert_eq!(
            assigner.assign(&times, &[Watermark::NONE; 2], &mut panes, &mut accepted),
            0
        );
        assert_eq!(accepted, [0, 1]);
    }

    #[test]
    fn a_record_of_a_pane_that_is_done_is_neither_late_nor_accepted() {
        let mut assigner = TumblingAssigner::over(Spans::new(10, 0, 5));
        assigner.start_at(Watermark(25));
        let (mut panes, mut accepted) = (Vec::new(), Vec::new());
        let times = [9, 19, 20, 29].map(EventTime);
        let before = [Watermark::NONE, Watermark(30), Watermark(34), Watermark(35)];
        assert_eq!(
            assigner.assign(&times, &before, &mut panes, &mut accepted),
            1
        );
        assert_eq!((panes, accepted), (vec![2], vec![2]));
        let done = times.map(|time| assigner.is_done(time));
        assert_eq!(done, [true, true, false, false]);
    }

    /// Times near each other, near zero and near both edges.
    fn any_time() -> impl Strategy<Value = i64> {
        prop_oneof![-100i64..100, Just(i64::MIN), Just(i64::MAX), any::<i64>()]
    }

    proptest! {
        #[test]
        fn the_kept_bounds_never_change_the_answer(
            records in prop::collection::vec((any_time(), any_time()), 0..50),
            size in 1i64..40,
            shift in 0i64..40,
            grace in 0i64..20,
        ) {
            let spans = Spans::new(size, shift % size, grace);
            let mut assigner = TumblingAssigner::over(spans);
            let times: Vec<EventTime> = records.iter().map(|&(time, _)| EventTime(time)).collect();
            let before: Vec<Watermark> = records.iter().map(|&(_, before)| Watermark(before)).collect();
            let (mut panes, mut accepted) = (Vec::new(), Vec::new());
            let late = assigner.assign(&times, &before, &mut panes, &mut accepted);
            let expected: Vec<(u32, i64)> = (0..records.len())
                .map(|row| (row as u32, spans.pane(times[row])))
                .filter(|&(row, pane)| spans.closing(pane) > before[row as usize])
                .collect();
            let found: Vec<(u32, i64)> = accepted.into_iter().zip(panes).collect();
            prop_assert_eq!(late as usize, records.len() - expected.len());
            prop_assert_eq!(found, expected);
        }
    }
}
