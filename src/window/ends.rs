//! `late = 'update'`: which sessions wait for their end, and which have been shown.
//!
//! ```text
//!   a record: the session ends beyond the watermark --> waits for its end ---reached---> fired: it leaves, and stays open
//!                             behind it ------------------------------------------------> fired: the record's row leaves at once
//!   a record that reaches one that has fired: its row leaves at once; ends beyond the watermark with it --> waits again
//! ```
//!
//! Laws: a session of which not every record is in a row that has left waits. A slot stands among the timers once, and is not given
//! to another session before it has come out of them.

use super::timers::Timers;
use crate::time::Watermark;

/// The ends of sessions.
#[derive(Debug)]
pub(super) struct Ends {
    timers: Timers,
    /// By slot.
    states: Vec<State>,
}

/// How far a session has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// It is new.
    #[default]
    New,
    /// It stands among the timers.
    Waits,
    /// A row of it has left.
    Fired,
}

impl Ends {
    /// No sessions; ends are told apart by pieces of `width_us` until they are near.
    pub(super) fn new(width_us: i64) -> Ends {
        Ends {
            timers: Timers::new(width_us),
            states: Vec::new(),
        }
    }

    /// A record has come to the session in `slot`, of which there are so many, which ends at `end` with it and took in `took_in`.
    /// Whether the record's row leaves at once.
    pub(super) fn record(
        &mut self,
        slot: u32,
        slots: usize,
        end: i64,
        took_in: Option<u32>,
        closed: Watermark,
    ) -> bool {
        if self.states.len() < slots {
            self.states.resize(slots, State::New);
        }
        let has_fired = |slot: u32| self.states[slot as usize] == State::Fired;
        let corrects = has_fired(slot) || took_in.is_some_and(has_fired);
        let has_ended = is_over(end, closed);
        let state = &mut self.states[slot as usize];
        if *state != State::Waits {
            *state = if has_ended {
                State::Fired
            } else {
                State::Waits
            };
            if !has_ended {
                self.timers.put(end, slot);
            }
        }
        corrects || has_ended
    }

    /// The slot of a session that may have ended; it is out of the timers.
    pub(super) fn take(&mut self, closed: Watermark) -> Option<u32> {
        let slot = self.timers.take(|end| is_over(end, closed))?;
        self.states[slot as usize] = State::Fired;
        Some(slot)
    }

    /// The session that was taken out of the timers ends later by now.
    pub(super) fn put_back(&mut self, slot: u32, end: i64) {
        self.states[slot as usize] = State::Waits;
        self.timers.put(end, slot);
    }

    /// The slot is free.
    pub(super) fn forget(&mut self, slot: u32) {
        debug_assert!(
            self.states[slot as usize] != State::Waits,
            "a session leaves before it closes"
        );
        self.states[slot as usize] = State::New;
    }

    /// No session is left.
    pub(super) fn clear(&mut self) {
        self.timers.clear();
        self.states = Vec::new();
    }

    /// Whether a session may have ended that has not fired.
    pub(super) fn has_ended(&self, closed: Watermark) -> bool {
        self.timers.first().is_some_and(|end| is_over(end, closed))
    }

    /// The least watermark at which a session may end.
    pub(super) fn next(&self) -> Option<Watermark> {
        let end = self.timers.first()?;
        Some(Watermark(end.saturating_add(1)))
    }

    /// Bytes taken from the system, about.
    pub(super) fn bytes(&self) -> usize {
        self.timers.bytes() + self.states.capacity() * size_of::<State>()
    }
}

/// At the end of input everything is.
fn is_over(end: i64, closed: Watermark) -> bool {
    closed == Watermark::END || end < closed.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_waits_until_its_end_and_what_comes_behind_leaves_at_once() {
        let mut ends = Ends::new(10);
        assert!(!ends.record(0, 2, 20, None, Watermark(5)));
        assert!(!ends.record(0, 2, 25, None, Watermark(5)));
        assert_eq!(ends.next(), Some(Watermark(21)), "where it stood first");
        assert_eq!(ends.take(Watermark(20)), None, "not at its end");
        assert_eq!(ends.take(Watermark(21)), Some(0));
        ends.put_back(0, 25);
        assert_eq!(ends.take(Watermark(26)), Some(0));
        assert!(ends.record(0, 2, 25, None, Watermark(26)), "a correction");
        assert!(!ends.has_ended(Watermark::END));
        assert!(ends.record(0, 2, 30, None, Watermark(26)), "one as well");
        assert!(ends.has_ended(Watermark(31)), "and it ends again");
    }

    #[test]
    fn one_that_takes_in_what_was_shown_corrects_it_and_waits_as_before() {
        let mut ends = Ends::new(10);
        assert!(ends.record(0, 2, 20, None, Watermark(21)), "new, and over");
        assert!(!ends.record(1, 2, 40, None, Watermark(21)));
        assert!(ends.record(1, 2, 40, Some(0), Watermark(21)));
        assert_eq!(ends.take(Watermark::END), Some(1));
        assert_eq!(ends.take(Watermark::END), None);
    }
}
