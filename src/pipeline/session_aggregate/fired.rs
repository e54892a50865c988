//! Sessions whose end has been reached: their rows, and their leave.
//!
//! ```text
//!   ended (late = 'update'): a row each, they stay open --> held: what was let go --> fired: a row if one is due, then gone
//! ```
//!
//! Law: a session that fires under `late = 'update'` has ended before, so its last row is out.

use super::{SessionAggregate, marked, push};
use crate::emit::{Cause, GroupValues, MovedSessions, OutputRows};
use crate::group::SlotGroups;
use crate::plan::{Emission, EmitPolicy};
use crate::window::Fired;

impl SessionAggregate {
    /// Lets what has ended, what was let go and what has fired leave, in this order, and looks at no more than `max_sessions`;
    /// whether there is more. Sessions whose rows have left leave without one.
    pub fn fire_slice(&mut self, max_sessions: usize, out: &mut Vec<OutputRows>) -> bool {
        let mut budget = max_sessions;
        budget -= self.end_slice(budget, out);
        budget -= self.held_slice(budget, out);
        if budget > 0 && !self.sessions.has_ended() {
            self.close_slice(budget, out);
        }
        if self.sessions.slots() == 0 {
            self.groups.clear();
        }
        if !self.groups.is_holding() {
            self.hold.rest();
        }
        if !self.is_behind() {
            self.released = None;
        }
        !self.is_idle()
    }

    /// The rows of sessions that have ended and stay open. Returns how many were looked at, at most `max_sessions`.
    fn end_slice(&mut self, max_sessions: usize, out: &mut Vec<OutputRows>) -> usize {
        let mut slots = std::mem::take(&mut self.slots);
        slots.clear();
        let looked = self.sessions.end(max_sessions, &mut slots);
        if !slots.is_empty() {
            if let Some(marks) = self.groups.marks() {
                marks.left(&slots);
            }
            let cause = self.released(true);
            push(out, self.rows_of_open(&slots, cause));
        }
        self.slots = slots;
        looked
    }

    /// Lets sessions that have fired leave, and looks at no more than `max_sessions`.
    fn close_slice(&mut self, max_sessions: usize, out: &mut Vec<OutputRows>) {
        let mut fired = std::mem::take(&mut self.fired);
        fired.clear();
        self.sessions.fire(max_sessions, &mut fired);
        if !fired.is_empty() {
            self.rows_of_fired(&fired, out);
            let slots: Vec<u32> = fired.iter().map(|one| one.slot).collect();
            self.groups.reset(&slots);
            for gone in fired.iter().filter(|one| one.was_last) {
                self.groups.remove_key(&mut self.space, gone.key);
            }
            self.long_probes += self.groups.take_long_probes() + self.space.take_long_probes();
        }
        self.fired = fired;
    }

    /// The rows that leave with sessions that have fired.
    fn rows_of_fired(&mut self, fired: &[Fired], out: &mut Vec<OutputRows>) {
        let Emission { policy, corrects } = self.emission;
        let leaves = |one: &&Fired, groups: &mut SlotGroups| match policy {
            EmitPolicy::Changes => false,
            // They left at their end, or behind it.
            _ if corrects => false,
            EmitPolicy::Final | EmitPolicy::FinalAndChanges { .. } => true,
            EmitPolicy::ChangesEvery { .. } | EmitPolicy::ChangesEveryRows { .. } => {
                let marks = groups.marks().expect("what holds back has marks");
                marks.take_changed(one.slot)
            }
        };
        let leaving = fired.iter().filter(|one| leaves(one, &mut self.groups));
        let leaving: Vec<&Fired> = leaving.collect();
        if !leaving.is_empty() {
            let slots: Vec<u32> = leaving.iter().map(|one| one.slot).collect();
            let keys: Vec<u32> = leaving.iter().map(|one| one.key).collect();
            let windows = leaving.iter().map(|one| one.window).collect();
            let cause = self.released(policy.ends());
            push(out, self.rows_of(&slots, &keys, windows, cause));
        }
    }

    /// Why what a watermark has passed leaves.
    fn released(&self, is_final: bool) -> Cause {
        let (due_us, ready_ns) = self
            .released
            .expect("sessions fire when a watermark has passed them");
        Cause {
            window: None,
            is_final,
            due_us,
            ready_ns,
        }
    }

    /// The rows of these sessions, which are open.
    pub(super) fn rows_of_open(&mut self, slots: &[u32], cause: Cause) -> OutputRows {
        let keys: Vec<u32> = slots.iter().map(|&slot| self.sessions.key(slot)).collect();
        let windows = slots.iter().map(|&slot| self.sessions.window(slot));
        let windows = windows.collect();
        self.rows_of(slots, &keys, windows, cause)
    }

    /// The rows of these sessions as they are now.
    fn rows_of(
        &mut self,
        slots: &[u32],
        keys: &[u32],
        windows: Vec<(i64, i64)>,
        cause: Cause,
    ) -> OutputRows {
        let values = GroupValues {
            rows: slots.len(),
            keys: self.groups.keys(&self.space, keys),
            aggregates: self.groups.finish(slots),
            cause,
        };
        let marked = marked(&mut self.groups, self.knows_standing, slots);
        let moved = MovedSessions::default();
        self.maker.make_of_sessions(windows, values, marked, moved)
    }
}
