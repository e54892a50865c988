//! Event times to panes, and which records are late.
//!
//! Law: a record does not count in a window whose end plus grace is at or below its partition's watermark just before it, and is
//! late iff that holds of all windows that cover it. Windows that an earlier run has emitted (`start_at`) are passed over
//! instead. The answer depends on nothing else, so it is the same at any number of shards, batch size or timing.
//!
//! A record is in one pane, that of the window or of the slice of windows that cover it; it is in several only where panes are
//! windows that overlap, or where it is late for some of its windows. The last record's pane is kept, with the span of time for which it
//! is the same, so that a record of that span costs a compare, not a division.

use super::PaneNumbers;
use crate::time::{EventTime, Watermark};

/// Assigns records to panes.
#[derive(Clone, Debug)]
pub struct Assigner {
    numbers: PaneNumbers,
    /// Windows that close at or below it are done: an earlier run has emitted them.
    done: Watermark,
    last: Cell,
}

/// What became of the records of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// How many were late.
    pub late: u64,
    /// Whether every record is in one pane, so that rows and records are the same.
    pub one_each: bool,
}

/// A span of time in which the same windows cover every record.
#[derive(Clone, Copy, Debug)]
struct Cell {
    start: i64,
    end: i64,
    /// The pane of a record that counts in all of them.
    pane: i64,
    /// Those of the windows that are not done: the number of the first, and how many.
    first: i64,
    windows: i64,
    /// Below this a record is in that one pane; `Watermark::NONE` if it is in several or all windows are done, so that every record
    /// takes the cold branch.
    closing: Watermark,
}

impl Assigner {
    /// An assigner to panes of these numbers.
    pub fn of(numbers: PaneNumbers) -> Assigner {
        Assigner {
            numbers,
            done: Watermark::NONE,
            last: Cell::around(&numbers, EventTime(0), Watermark::NONE),
        }
    }

    /// From now on, windows that close at or below `done` are done.
    pub fn start_at(&mut self, done: Watermark) {
        self.done = done;
        self.numbers.start_at(done);
        self.last = Cell::around(&self.numbers, EventTime(0), done);
    }

    /// Whether all windows that cover `time` are done.
    pub fn is_done(&self, time: EventTime) -> bool {
        let spans = self.numbers.spans();
        spans.closing(*spans.covering(time).end()) <= self.done
    }

    /// Whether all windows of `pane` are closed at `watermark`.
    pub fn is_closed(&self, pane: i64, watermark: Watermark) -> bool {
        self.numbers.is_closed(pane, watermark)
    }

    /// Judges the records of a batch: appends to `panes` the number of each pane that a record is in, and its row to
    /// `accepted` beside it, in the order of rows, then of panes. A record whose windows are all done is neither accepted nor late.
    pub fn assign(
        &mut self,
        times: &[EventTime],
        watermarks_before: &[Watermark],
        panes: &mut Vec<i64>,
        accepted: &mut Vec<u32>,
    ) -> Assigned {
        assert_eq!(
            times.len(),
            watermarks_before.len(),
            "a watermark before every record"
        );
        panes.reserve(times.len());
        accepted.reserve(times.len());
        if self.numbers.spans().are_times() {
            return self.assign_times(times, watermarks_before, panes, accepted);
        }
        let mut cell = self.last;
        let mut assigned = Assigned {
            late: 0,
            one_each: true,
        };
        for (row, (&time, &before)) in times.iter().zip(watermarks_before).enumerate() {
            if time.0 < cell.start || time.0 >= cell.end {
                cell = Cell::around(&self.numbers, time, self.done);
            }
            if before < cell.closing {
                panes.push(cell.pane);
                accepted.push(row as u32);
                continue;
            }
            let found = self.each_pane(&cell, before, panes);
            accepted.extend(std::iter::repeat_n(row as u32, found));
            assigned.late += u64::from(found == 0 && cell.windows > 0);
            assigned.one_each &= found == 1;
        }
        self.last = cell;
        assigned
    }

    /// The same where each time is a window of its own, as of sessions: there is no span to keep.
    fn assign_times(
        &self,
        times: &[EventTime],
        watermarks_before: &[Watermark],
        panes: &mut Vec<i64>,
        accepted: &mut Vec<u32>,
    ) -> Assigned {
        let (spans, before, mut late) = (self.numbers.spans(), accepted.len(), 0);
        for (row, (&time, &before)) in times.iter().zip(watermarks_before).enumerate() {
            let closing = spans.closing(time.0);
            if closing > before.max(self.done) {
                panes.push(time.0);
                accepted.push(row as u32);
            } else {
                late += u64::from(closing > self.done);
            }
        }
        Assigned {
            late,
            one_each: accepted.len() - before == times.len(),
        }
    }

    /// Appends the panes of a record of `cell`, before which the watermark was `before`, to `panes`; how many there are.
    #[cold]
    fn each_pane(&self, cell: &Cell, before: Watermark, panes: &mut Vec<i64>) -> usize {
        let is_closed = |number: &i64| self.numbers.spans().closing(cell.first + number) <= before;
        let closed = (0..cell.windows).take_while(is_closed).count() as i64;
        if closed == 0 && cell.windows > 0 && self.numbers.is_sliced() {
            panes.push(cell.pane);
            return 1;
        }
        let open = closed..cell.windows;
        panes.extend(open.map(|number| {
            let is_last = number + 1 == cell.windows;
            self.numbers.single(cell.first + number, is_last)
        }));
        (cell.windows - closed) as usize
    }
}

impl Cell {
    fn around(numbers: &PaneNumbers, time: EventTime, done: Watermark) -> Cell {
        let spans = numbers.spans();
        let (first, last) = spans.covering(time).into_inner();
        // The windows change where the next one begins or the first one ends; before, where the last one began or the one
        // before the first ended.
        let start = spans
            .bounds(last)
            .0
            .max(spans.bounds(first.saturating_sub(1)).1);
        let end = spans
            .bounds(first)
            .1
            .min(spans.bounds(last.saturating_add(1)).0);
        let open = (first..=last).find(|&number| spans.closing(number) > done);
        let windows = open.map_or(0, |open| last - open + 1);
        let has_one_pane = windows == 1 || numbers.is_sliced();
        Cell {
            start,
            end,
            pane: match open {
                Some(open) if !numbers.is_sliced() => open,
                _ => numbers.pane(time),
            },
            first: open.unwrap_or(last),
            windows,
            closing: match open {
                Some(open) if has_one_pane => spans.closing(open),
                _ => Watermark::NONE,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Spans;
    use super::*;
    use crate::plan::{EmitPolicy, WindowSpec};

    /// With windows as panes.
    fn of_windows(window: &WindowSpec) -> Assigner {
        Assigner::of(PaneNumbers::of(window, EmitPolicy::Changes))
    }

    fn tumbling(grace_us: i64) -> WindowSpec {
        WindowSpec::Tumbling {
            size_us: 10,
            offset_us: 0,
            grace_us,
        }
    }

    /// Late records, rows that count, their windows.
    fn assign(assigner: &mut Assigner, records: &[(i64, i64)]) -> (u64, Vec<u32>, Vec<i64>) {
        let times: Vec<EventTime> = records.iter().map(|&(time, _)| EventTime(time)).collect();
        let before: Vec<Watermark> = records.iter().map(|&(_, at)| Watermark(at)).collect();
        let (mut windows, mut accepted) = (Vec::new(), Vec::new());
        let assigned = assigner.assign(&times, &before, &mut windows, &mut accepted);
        let each_once = accepted.iter().copied().eq(0..records.len() as u32);
        assert_eq!(assigned.one_each, each_once, "{records:?}");
        (assigned.late, accepted, windows)
    }

    #[test]
    fn a_record_is_late_once_its_partition_has_reached_end_plus_grace() {
        let mut assigner = of_windows(&tumbling(5));
        let records = [(9, 14), (9, 15), (10, 15)];
        assert_eq!(assign(&mut assigner, &records), (1, vec![0, 2], vec![0, 1]));
    }

    #[test]
    fn a_record_that_is_late_for_some_windows_counts_in_the_others() {
        let mut assigner = of_windows(&WindowSpec::Hopping {
            size_us: 20,
            advance_us: 10,
            offset_us: 0,
            grace_us: 0,
        });
        let records = [(15, 0), (15, 20), (15, 30)];
        assert_eq!(
            assign(&mut assigner, &records),
            (1, vec![0, 0, 1], vec![0, 1, 1])
        );
    }

    #[test]
    fn nothing_is_late_before_the_first_record() {
        let mut assigner = of_windows(&tumbling(0));
        let none = Watermark::NONE.0;
        let (late, accepted, _) = assign(&mut assigner, &[(i64::MIN, none), (i64::MAX, none)]);
        assert_eq!((late, accepted), (0, vec![0, 1]));
    }

    #[test]
    fn a_record_of_a_window_that_is_done_is_neither_late_nor_accepted() {
        let mut assigner = of_windows(&tumbling(5));
        assigner.start_at(Watermark(25));
        let records = [(9, Watermark::NONE.0), (19, 30), (20, 34), (29, 35)];
        assert_eq!(assign(&mut assigner, &records), (1, vec![2], vec![2]));
        let done = [9, 19, 20, 29].map(|time| assigner.is_done(EventTime(time)));
        assert_eq!(done, [true, true, false, false]);
    }

    /// Times near each other, near zero and near both edges.
    fn any_time() -> impl Strategy<Value = i64> {
        prop_oneof![-100i64..100, Just(i64::MIN), Just(i64::MAX), any::<i64>()]
    }

    fn any_window() -> impl Strategy<Value = WindowSpec> {
        let hopping = (1i64..20, 0i64..40, 0i64..20, 0i64..20);
        let cumulating = (1i64..8, 1i64..6, 0i64..20);
        prop_oneof![
            hopping.prop_map(|(advance_us, more, offset, grace_us)| WindowSpec::Hopping {
                size_us: advance_us + more,
                advance_us,
                offset_us: offset % advance_us,
                grace_us,
            }),
            cumulating.prop_map(|(step_us, steps, grace_us)| WindowSpec::Cumulate {
                size_us: step_us * steps,
                step_us,
                grace_us,
            }),
            (0i64..20).prop_map(tumbling),
            (1i64..20, 0i64..20)
                .prop_map(|(gap_us, grace_us)| WindowSpec::Session { gap_us, grace_us }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_kept_never_changes_the_answer(
            records in prop::collection::vec((any_time(), any_time()), 0..50),
            window in any_window(),
            done in any_time(),
        ) {
            let mut assigner = of_windows(&window);
            assigner.start_at(Watermark(done));
            let spans = Spans::of(&window);
            let (mut late, mut expected) = (0, Vec::new());
            for (row, &(time, before)) in records.iter().enumerate() {
                let open = spans.covering(EventTime(time)).filter(|&number| spans.closing(number).0 > done);
                let open: Vec<i64> = open.collect();
                let counts = open.iter().filter(|&&number| spans.closing(number).0 > before);
                let counts: Vec<(u32, i64)> = counts.map(|&number| (row as u32, number)).collect();
                late += u64::from(!open.is_empty() && counts.is_empty());
                expected.extend(counts);
            }
            let (found_late, rows, windows) = assign(&mut assigner, &records);
            prop_assert_eq!(found_late, late);
            prop_assert_eq!(rows.into_iter().zip(windows).collect::<Vec<_>>(), expected.clone());

            // The same windows by slices.
            let numbers = PaneNumbers::of(&window, EmitPolicy::Final);
            let mut assigner = Assigner::of(numbers);
            assigner.start_at(Watermark(done));
            let (found_late, rows, panes) = assign(&mut assigner, &records);
            let mut of_done = numbers;
            of_done.start_at(Watermark(done));
            let windows = rows.into_iter().zip(panes).flat_map(|(row, pane)| of_done.windows(pane).map(move |window| (row, window)));
            prop_assert_eq!(found_late, late);
            prop_assert_eq!(windows.collect::<Vec<_>>(), expected);
        }
    }
}
