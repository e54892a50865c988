//! Rows of sessions that EMIT .. EVERY holds back.
//!
//! ```text
//!   records --> slots, marked as changed    clock, commit, stop: let go --held_slice: at most n slots--> their rows
//!   a session that fires --> its row, if it has changed
//! ```
//!
//! Laws: as those of windows (`window_aggregate/early.rs`). What waits is a slot, so it moves with its session: the row that leaves
//! has the window of that moment. A session that was taken in is not waited for.
//!
//! One clock for all sessions of the query on the shard.

use super::{SessionAggregate, push};
use crate::emit::{Cause, OutputRows};
use crate::plan::EmitPolicy;

/// When what is held back leaves.
#[derive(Debug, Default)]
pub(super) struct Hold {
    /// For how long a changed session is held back, nanoseconds; `None` where no clock lets it go.
    every_ns: Option<u64>,
    /// When the clock lets them go, nanoseconds.
    due_ns: Option<u64>,
    /// When the last record was due that is held back, wall clock, microseconds.
    due_us: i64,
    let_go_ns: u64,
}

impl Hold {
    /// Nothing is held back.
    pub(super) fn new(emit: EmitPolicy) -> Hold {
        let every_ns = emit
            .every_us()
            .map(|every_us| every_us.unsigned_abs().saturating_mul(1_000));
        Hold {
            every_ns,
            ..Hold::default()
        }
    }

    /// The last record of what is held back was due at `due_us`. Sets the clock if it is not set yet.
    pub(super) fn held(&mut self, due_us: i64, monotonic_ns: fn() -> u64) {
        self.due_us = due_us;
        if let (Some(every_ns), None) = (self.every_ns, self.due_ns) {
            self.due_ns = Some(monotonic_ns().saturating_add(every_ns));
        }
    }

    /// Nothing is held back any more.
    pub(super) fn rest(&mut self) {
        self.due_ns = None;
    }
}

impl SessionAggregate {
    /// Whether rows are held back.
    pub fn holds_back(&self) -> bool {
        self.groups.holds()
    }

    /// When the clock lets go what is held back, nanoseconds; `None` if nothing is, or no clock does.
    pub fn lets_go_ns(&self) -> Option<u64> {
        self.hold.due_ns
    }

    /// Lets go what is held back, if the clock says so.
    pub fn look_at_clock(&mut self) {
        if let Some(due_ns) = self.hold.due_ns
            && (self.monotonic_ns)() >= due_ns
        {
            self.let_held_go();
        }
    }

    /// Lets go what is held back, whatever the clock says.
    pub fn let_held_go(&mut self) {
        self.hold.rest();
        if let Some(marks) = self.groups.marks()
            && marks.is_holding()
        {
            marks.let_go();
            self.hold.let_go_ns = (self.monotonic_ns)();
        }
    }

    /// The rows of the next sessions that were let go. Returns how many were looked at, at most `max_sessions`.
    pub(super) fn held_slice(&mut self, max_sessions: usize, out: &mut Vec<OutputRows>) -> usize {
        let Some(marks) = self.groups.marks().filter(|marks| marks.is_leaving()) else {
            return 0;
        };
        let mut slots = std::mem::take(&mut self.slots);
        slots.clear();
        let looked = marks.take_leaving(max_sessions, &mut slots);
        if !slots.is_empty() {
            let cause = Cause {
                window: None,
                is_final: false,
                due_us: self.hold.due_us,
                ready_ns: self.hold.let_go_ns,
            };
            push(out, self.rows_of_open(&slots, cause));
        }
        self.slots = slots;
        looked
    }
}
