//! The numbers of panes: one a window, or, of windows that overlap, one a slice.
//!
//! ```text
//!   SIZE 25, ADVANCE 10    n    |------------------------|
//!                          n+1            |------------------------|
//!                          n+2                      |------------------------|
//!   slices                      |    :    |    :    |    :    |    :    |        they end where a window begins or ends
//! ```
//!
//! A slice is the longest span of time in which the same windows cover every record. Its pane is known by the first of them and by
//! whether they are one more than the fewest that cover a record: `4 x first + 0 or 1`. A record that is late for some of its windows
//! is in no slice but in the single panes of the others, `4 x window + 2`, or `+ 3` for the last of them.
//!
//! Laws: the numbers ascend with time and with the moments at which panes close, which is when the first of their windows closes
//! (those that an earlier run has emitted do not count). The panes of a window are exactly those whose windows it is among.

use std::ops::RangeInclusive;

use super::Spans;
use crate::config::limits::SLICED_ADVANCE_US_MIN;
use crate::plan::{Emission, EmitPolicy, WindowSpec};
use crate::time::{EventTime, Watermark};

/// Panes that have the same first window.
const KINDS: i64 = 4;
/// The kinds of single panes; those below are slices.
const SINGLE: i64 = 2;
const LAST_SINGLE: i64 = 3;

/// How the panes of a query are numbered.
#[derive(Clone, Copy, Debug)]
pub struct PaneNumbers {
    spans: Spans,
    is_sliced: bool,
    /// The first window that no earlier run has emitted.
    first_open: i64,
}

impl PaneNumbers {
    /// The numbers for a planned window: of slices where windows overlap and rows leave once, when they close; else of windows.
    pub fn of(window: &WindowSpec, emit: impl Into<Emission>) -> PaneNumbers {
        let Emission { policy, corrects } = emit.into();
        let is_sliced = policy == EmitPolicy::Final
            && !corrects
            && window.windows_a_record() > 1
            && window.advance_us() >= SLICED_ADVANCE_US_MIN;
        PaneNumbers {
            spans: Spans::of(window),
            is_sliced,
            first_open: i64::MIN,
        }
    }

    /// Windows that close at or below `done` have been emitted by an earlier run.
    pub fn start_at(&mut self, done: Watermark) {
        self.first_open = self.spans.first_open(done);
    }

    /// Where the windows lie.
    pub fn spans(&self) -> &Spans {
        &self.spans
    }

    /// Whether panes are slices.
    pub fn is_sliced(&self) -> bool {
        self.is_sliced
    }

    /// The first window that no earlier run has emitted.
    pub fn first_open(&self) -> i64 {
        self.first_open
    }

    /// The pane of a record that counts in all of the windows that cover `time`, which an earlier run has not emitted.
    pub fn pane(&self, time: EventTime) -> i64 {
        let (first, last) = self.spans.covering(time).into_inner();
        match self.is_sliced {
            true => KINDS * first + self.spans.more_than_fewest(first, last),
            false => first,
        }
    }

    /// The pane of a record in `window` alone, the last in which it counts or not.
    pub fn single(&self, window: i64, is_last: bool) -> i64 {
        match self.is_sliced {
            true => KINDS * window + if is_last { LAST_SINGLE } else { SINGLE },
            false => window,
        }
    }

    /// Whether records are in `pane` for one window alone.
    pub fn is_single(&self, pane: i64) -> bool {
        !self.is_sliced || pane.rem_euclid(KINDS) >= SINGLE
    }

    /// Whether a record in `pane` is in no pane of a later window.
    pub fn is_last_of_a_record(&self, pane: i64) -> bool {
        !self.is_sliced || pane.rem_euclid(KINDS) != SINGLE
    }

    /// The windows in which the records of `pane` count; those that an earlier run has emitted are among them only if all are.
    pub fn windows(&self, pane: i64) -> RangeInclusive<i64> {
        if !self.is_sliced {
            return pane..=pane;
        }
        let (first, kind) = (pane.div_euclid(KINDS), pane.rem_euclid(KINDS));
        let last = match kind {
            SINGLE | LAST_SINGLE => first,
            more => self.spans.last_beside(first, more),
        };
        first.max(self.first_open).min(last)..=last
    }

    /// The watermark at which `pane` takes no more records: when the first of its windows closes.
    pub fn closing(&self, pane: i64) -> Watermark {
        self.spans.closing(*self.windows(pane).start())
    }

    /// Whether all windows of `pane` are closed at `watermark`.
    pub fn is_closed(&self, pane: i64, watermark: Watermark) -> bool {
        self.spans.closing(*self.windows(pane).end()) <= watermark
    }

    /// The single panes, one a window, that records of the slice `pane` are in where it is closed; none of what is no slice.
    pub fn singles(&self, pane: i64) -> impl Iterator<Item = i64> + use<> {
        let windows = match self.is_single(pane) {
            true => RangeInclusive::new(1, 0),
            false => self.windows(pane),
        };
        let (numbers, last) = (*self, *windows.end());
        windows.map(move |window| numbers.single(window, window == last))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hopping(size_us: i64, advance_us: i64, offset_us: i64) -> WindowSpec {
        WindowSpec::Hopping {
            size_us,
            advance_us,
            offset_us,
            grace_us: 0,
        }
    }

    #[test]
    fn windows_that_do_not_overlap_are_panes_themselves() {
        let tumbling = WindowSpec::Tumbling {
            size_us: 10,
            offset_us: 0,
            grace_us: 0,
        };
        for (window, emit) in [
            (tumbling, EmitPolicy::Final),
            (hopping(10, 10, 0), EmitPolicy::Final),
            (hopping(40, 1, 0), EmitPolicy::Final),
            (hopping(40, 20, 0), EmitPolicy::Changes),
        ] {
            let numbers = PaneNumbers::of(&window, emit);
            assert!(!numbers.is_sliced() && numbers.windows(7) == (7..=7));
            assert_eq!(numbers.singles(7).count(), 0);
        }
    }

    #[test]
    fn slices_end_where_a_window_begins_or_ends() {
        let numbers = PaneNumbers::of(&hopping(25, 10, 0), EmitPolicy::Final);
        let panes: Vec<i64> = (0..20).map(|time| numbers.pane(EventTime(time))).collect();
        let slices: Vec<_> = panes.chunk_by(|a, b| a == b).map(<[i64]>::len).collect();
        assert_eq!(slices, [5, 5, 5, 5]);
        assert_eq!(numbers.windows(panes[0]), -2..=0);
        assert_eq!(numbers.windows(panes[5]), -1..=0);
    }

    #[test]
    fn what_an_earlier_run_has_emitted_closes_nothing() {
        let mut numbers = PaneNumbers::of(&hopping(30, 10, 0), EmitPolicy::Final);
        let pane = numbers.pane(EventTime(5));
        assert_eq!(numbers.closing(pane), Watermark(10));
        numbers.start_at(Watermark(15));
        assert_eq!(numbers.closing(pane), Watermark(20));
        assert_eq!(numbers.windows(pane), -1..=0);
        numbers.start_at(Watermark(99));
        assert!(numbers.is_closed(pane, Watermark(99)));
    }

    proptest! {
        #[test]
        fn a_pane_has_the_windows_that_cover_its_records(
            time in prop_oneof![-500i64..500, Just(i64::MIN), Just(i64::MAX), any::<i64>()],
            advance in 8i64..40,
            more in 1i64..100,
            offset in 0i64..40,
            step in 8i64..20,
            steps in 2i64..9,
        ) {
            let cumulate = WindowSpec::Cumulate { size_us: step * steps, step_us: step, grace_us: 0 };
            for window in [hopping(advance + more, advance, offset % advance), cumulate] {
                let numbers = PaneNumbers::of(&window, EmitPolicy::Final);
                let at = EventTime(time);
                let pane = numbers.pane(at);
                prop_assert!(numbers.is_sliced() && !numbers.is_single(pane));
                prop_assert_eq!(numbers.windows(pane), numbers.spans().covering(at));
                let next = numbers.pane(EventTime(time.saturating_add(1)));
                prop_assert!(next >= pane && numbers.closing(next) >= numbers.closing(pane));
                let singles: Vec<_> = numbers.singles(pane).map(|single| numbers.windows(single)).collect();
                let expected: Vec<_> = numbers.spans().covering(at).map(|window| window..=window).collect();
                prop_assert_eq!(singles, expected);
                let lasts = numbers.singles(pane).filter(|&single| numbers.is_last_of_a_record(single));
                prop_assert_eq!(lasts.count(), 1);
            }
        }
    }
}
