//! The groups that a shard owns: records in, rows out.
//!
//! ```text
//!   rows --EMIT CHANGES------------------> a row after each record ----------------------------> out
//!        --.. EVERY n ROWS---------------> after each n-th record of its group; else held back
//!        --.. EVERY d-------------------->                                        held back
//!        --EMIT FINAL, the window fired--> a row after each record (late = update)
//!   fire_slice: windows whose end was reached (late = update), what was let go, panes that have closed
//! ```
//!
//! Law: what concerns a group and window leaves in the order in which it happened, on whatever turn.

use super::{InPane, WindowAggregate};
use crate::config::limits::FIRE_PANES_MAX;
use crate::emit::{Cause, Maker, OutputRows, RowMaker, changes, nth_changes};
use crate::exchange::KeyedRows;
use crate::plan::EmitPolicy;

impl WindowAggregate {
    /// A life before this one may have written rows of groups of which nothing is known here.
    pub fn doubt(&mut self) {
        self.maker.doubt();
    }

    /// Adds accepted rows to their groups, and appends the rows that leave with them to `out`.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "rows end here: nobody may use them again"
    )]
    pub fn rows(&mut self, rows: KeyedRows, out: &mut Vec<OutputRows>) {
        let (emit, now) = (self.emit, self.monotonic_ns);
        if emit == EmitPolicy::Final && self.corrections.is_none() {
            return self.update(&rows);
        }
        let mut early = std::mem::take(&mut self.early);
        let mut corrections = self.corrections.take();
        self.each_pane(&rows, |groups, space, maker, at| {
            let InPane {
                pane,
                window,
                picked,
            } = at;
            let mut cause = Cause {
                window,
                is_final: false,
                due_us: rows.due_us,
                ready_ns: 0,
            };
            if let (Some(corrections), Some((_, end_us)), Some(pane)) =
                (&mut corrections, window, pane)
            {
                if corrections.has_fired(end_us) {
                    cause.is_final = true;
                    corrections.corrected(picked.len());
                } else if groups.is_empty() {
                    corrections.opened(pane);
                }
            }
            let held = groups.is_holding();
            let made = match emit {
                EmitPolicy::Changes => {
                    Some(changes(groups, space, &rows, picked, cause, maker, now))
                }
                _ if cause.is_final => {
                    Some(changes(groups, space, &rows, picked, cause, maker, now))
                }
                EmitPolicy::Final => {
                    groups.update(space, &rows, picked);
                    None
                }
                EmitPolicy::ChangesEvery { .. } | EmitPolicy::FinalAndChanges { .. } => {
                    groups.update_holding(space, &rows, picked);
                    None
                }
                EmitPolicy::ChangesEveryRows { rows: every } => {
                    nth_changes(groups, space, &rows, picked, every, cause, maker, now)
                }
            };
            if !held && groups.is_holding() {
                early.hold(pane);
            }
            out.extend(made.filter(|made| !RowMaker::is_nothing(made)));
        });
        early.held(rows.due_us, now);
        self.early = early;
        self.corrections = corrections;
    }

    /// Adds rows whose records were read before: what left because of them has left.
    pub fn rebuild(&mut self, rows: &KeyedRows) {
        let emit = self.emit;
        let mut corrections = self.corrections.take();
        self.each_pane(rows, |groups, space, _, at| {
            if let (Some(corrections), Some((_, end_us)), Some(pane)) =
                (&mut corrections, at.window, at.pane)
                && groups.is_empty()
                && !corrections.has_fired(end_us)
            {
                corrections.opened(pane);
            }
            match emit {
                EmitPolicy::ChangesEveryRows { rows: every } => {
                    groups.update_counted(space, rows, at.picked, every);
                }
                _ => groups.update(space, rows, at.picked),
            }
        });
        self.corrections = corrections;
    }

    /// Lets at most `max_groups` groups of what has fired or was let go leave, of at most `FIRE_PANES_MAX` panes, and returns whether
    /// there is more. Groups whose rows have left leave without one.
    pub fn fire_slice(&mut self, max_groups: usize, out: &mut Vec<OutputRows>) -> bool {
        let mut budget = max_groups;
        for _ in 0..FIRE_PANES_MAX {
            if budget == 0 {
                break;
            }
            let next = self.fire_at_end(budget);
            let next = next.or_else(|| self.held_next(budget));
            let next = next.or_else(|| self.held_of_closing(budget));
            let Some((groups, made)) = next.or_else(|| self.fire_first(budget)) else {
                break;
            };
            budget = budget.saturating_sub(groups);
            out.extend(made.filter(|made| !RowMaker::is_nothing(made)));
        }
        !self.is_idle()
    }
}
