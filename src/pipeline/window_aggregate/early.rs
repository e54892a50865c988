//! Rows that leave before their window closes, and not with their record: those that EMIT .. EVERY holds back.
//!
//! ```text
//!   rows --> Groups, marked as changed --> holding: their panes
//!                clock, commit, stop, end of input: let go --> leaving --held_next: at most n groups--> out
//!   a pane that closes --> what it holds leaves first, then it is released
//! ```
//!
//! Laws: between two rows of a group the clock goes on by the interval at least, unless the rest is asked for: the window closes,
//! or whoever commits or stops needs every row that was caused. What is held back is always let go in the end, slice by slice.
//! On which turn it leaves decides how many rows there are, never what the last one says.
//!
//! The clock is the monotonic one that the operator was given; it is read once when the first group is held back, and once a turn
//! while one is.

use std::collections::{BTreeSet, VecDeque};

use super::{Next, State, WindowAggregate};
use crate::emit::{Cause, OutputRows, held_rows};
use crate::group::Groups;
use crate::plan::EmitPolicy;

/// What is held back, by pane.
#[derive(Debug, Default)]
pub(super) struct Early {
    /// For how long a changed group is held back, nanoseconds; `None` where no clock lets it go.
    every_ns: Option<u64>,
    /// Panes with groups that are held back; `None` for groups without a window.
    holding: BTreeSet<Option<i64>>,
    /// When the clock lets them go, nanoseconds.
    due_ns: Option<u64>,
    /// When the last record was due that is held back, wall clock, microseconds.
    due_us: i64,
    /// Panes of which groups were let go, and when.
    leaving: VecDeque<Option<i64>>,
    let_go_ns: u64,
    /// The groups of a slice; kept for their capacity.
    ids: Vec<u32>,
}

impl Early {
    /// Nothing is held back.
    pub(super) fn new(emit: EmitPolicy) -> Early {
        let every_ns = emit
            .every_us()
            .map(|every_us| every_us.unsigned_abs().saturating_mul(1_000));
        Early {
            every_ns,
            ..Early::default()
        }
    }

    /// Groups of `pane` are held back, of which none was before.
    pub(super) fn hold(&mut self, pane: Option<i64>) {
        self.holding.insert(pane);
    }

    /// `pane` is gone, and what it held back with it.
    pub(super) fn forget(&mut self, pane: Option<i64>) {
        self.holding.remove(&pane);
        if self.holding.is_empty() {
            self.due_ns = None;
        }
    }

    /// The last record of what is held back was due at `due_us`. Sets the clock if it is not set yet.
    pub(super) fn held(&mut self, due_us: i64, monotonic_ns: fn() -> u64) {
        if self.holding.is_empty() {
            return;
        }
        self.due_us = due_us;
        if let (Some(every_ns), None) = (self.every_ns, self.due_ns) {
            self.due_ns = Some(monotonic_ns().saturating_add(every_ns));
        }
    }

    /// Whether groups were let go that have not left.
    pub(super) fn is_leaving(&self) -> bool {
        !self.leaving.is_empty()
    }
}

impl WindowAggregate {
    /// Whether rows are held back.
    pub fn holds_back(&self) -> bool {
        !self.early.holding.is_empty() || self.early.is_leaving()
    }

    /// When the clock lets go what is held back, nanoseconds; `None` if nothing is, or no clock does.
    pub fn lets_go_ns(&self) -> Option<u64> {
        self.early.due_ns
    }

    /// Lets go what is held back, if the clock says so.
    pub fn look_at_clock(&mut self) {
        if let Some(due_ns) = self.early.due_ns
            && (self.monotonic_ns)() >= due_ns
        {
            self.let_held_go();
        }
    }

    /// Lets go what is held back, whatever the clock says.
    pub fn let_held_go(&mut self) {
        if self.early.holding.is_empty() {
            return;
        }
        self.early.due_ns = None;
        self.early.let_go_ns = (self.monotonic_ns)();
        for pane in std::mem::take(&mut self.early.holding) {
            if let Some((groups, _)) = open_groups(&mut self.state, pane)
                && let Some(marks) = groups.marks()
            {
                marks.let_go();
                self.early.leaving.push_back(pane);
            }
        }
    }

    /// The rows of the next groups that were let go, at most `max_groups`, and how many groups were looked at.
    pub(super) fn held_next(&mut self, max_groups: usize) -> Option<(usize, Option<OutputRows>)> {
        let early = &mut self.early;
        while let Some(&pane) = early.leaving.front() {
            // One that has closed meanwhile lets them leave as it does.
            let open = open_groups(&mut self.state, pane);
            if let Some((groups, window)) = open {
                early.ids.clear();
                let marks = groups.marks().expect("what holds back has marks");
                let looked = marks.take_leaving(max_groups, &mut early.ids);
                if !marks.is_leaving() {
                    early.leaving.pop_front();
                }
                if looked == 0 {
                    continue;
                }
                let cause = Cause {
                    window,
                    is_final: false,
                    due_us: early.due_us,
                    ready_ns: early.let_go_ns,
                };
                let made = held_rows(groups, &self.space, &early.ids, cause, &self.maker);
                return Some((looked, made));
            }
            early.leaving.pop_front();
        }
        None
    }

    /// The rows that the pane which is leaving holds back, of at most `max_groups` groups, and how many groups were looked at.
    pub(super) fn held_of_closing(
        &mut self,
        max_groups: usize,
    ) -> Option<(usize, Option<OutputRows>)> {
        let holds_back = matches!(
            self.emit,
            EmitPolicy::ChangesEvery { .. } | EmitPolicy::ChangesEveryRows { .. }
        );
        if !holds_back || !matches!(self.next_closing(max_groups), Next::Leaves) {
            return None;
        }
        let closing = self.closing.as_mut().expect("a pane is leaving");
        let cause = Cause {
            is_final: false,
            ..closing.cause()
        };
        let groups = closing.groups();
        let marks = groups.marks().filter(|marks| marks.holds())?;
        marks.let_go();
        self.early.ids.clear();
        let looked = marks.take_leaving(max_groups, &mut self.early.ids);
        let made = held_rows(groups, &self.space, &self.early.ids, cause, &self.maker);
        Some((looked, made))
    }
}

/// The groups of a pane that is open, and its window's bounds; `None` if it is not.
pub(super) fn open_groups(
    state: &mut State,
    pane: Option<i64>,
) -> Option<(&mut Groups, Option<(i64, i64)>)> {
    match (state, pane) {
        (State::Windowed(panes), Some(pane)) => {
            let window = Some(panes.bounds(pane));
            Some((panes.get_mut(pane)?.as_mut(), window))
        }
        (State::Whole(whole), None) => Some((whole.as_mut()?.as_mut(), None)),
        (State::Combined(_), _) => panic!("of windows that are combined nothing leaves early"),
        (State::Windowed(_), None) | (State::Whole(_), Some(_)) => {
            panic!("groups have a pane exactly in a window")
        }
    }
}
