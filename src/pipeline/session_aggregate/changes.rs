//! Rows of sessions that leave with their records.
//!
//! ```text
//!   block: r r r | b r r r r | b r      a piece ends before each record that bridges two sessions
//!   piece: join what is taken in, add all, and of each that is due the row of its session just after it
//!            \--EMIT CHANGES: all; EVERY n ROWS: n-th ones; late = 'update': behind an end; the others are held back, or wait
//! ```
//!
//! Laws: a row knows its record and those before it, so the rows do not depend on where a block ends. A row that is out under a start
//! which its session has no more is withdrawn with the record that moved it, whether or not that record gives a row: what stands is at
//! any time what was said last of sessions that there are.

use super::{Block, SessionAggregate, marked, push};
use crate::batch::take_columns;
use crate::emit::{Cause, GroupValues, Moved, MovedSessions, OutputRows};
use crate::exchange::KeyedRows;
use crate::group::Marks;
use crate::plan::{Emission, EmitPolicy};
use crate::time::EventTime;

/// Rows of a block, of which the first alone may take in another session.
#[derive(Debug, Default)]
struct Piece {
    /// The first of them, among the picked ones.
    begin: usize,
    /// The window of each, just after it.
    windows: Vec<(i64, i64)>,
    moved: Vec<Start>,
    /// Which slot takes in which.
    takes: Option<(u32, u32)>,
}

/// Where the session of a row began before it.
#[derive(Debug)]
struct Start {
    /// The row, of those of its piece.
    row: u32,
    start: i64,
    took_in: Option<u32>,
}

impl SessionAggregate {
    /// Adds accepted rows to their sessions, with the rows that leave after them.
    pub(super) fn changes(&mut self, rows: &KeyedRows, out: &mut Vec<OutputRows>) {
        rows.assert_consistent();
        let mut block = std::mem::take(&mut self.block);
        self.pick(rows, &mut block);
        let mut piece = Piece::default();
        for number in 0..block.picked.len() {
            let time = EventTime(rows.panes[block.picked[number] as usize]);
            let joined = self.sessions.join(block.keys[number], time);
            // What was made so far knows nothing of what is taken in now.
            if joined.took_in.is_some() {
                self.piece(rows, &block, &mut piece, out);
            }
            if let Some(start) = joined.withdrawn
                && self.maker.withdraws_moved()
            {
                piece.moved.push(Start {
                    row: piece.windows.len() as u32,
                    start,
                    took_in: joined.took_in,
                });
            }
            piece.takes = joined
                .took_in
                .map(|taken| (joined.slot, taken))
                .or(piece.takes);
            piece.windows.push(self.sessions.window(joined.slot));
            block.slots.push(joined.slot);
        }
        self.piece(rows, &block, &mut piece, out);
        self.block = block;
        if self.groups.is_holding() {
            self.hold.held(rows.due_us, self.monotonic_ns);
        }
        self.state_bytes_max = self.state_bytes_max.max(self.state_bytes());
    }

    /// Adds the rows of a piece of a block, and makes those that leave with them.
    fn piece(
        &mut self,
        rows: &KeyedRows,
        block: &Block,
        piece: &mut Piece,
        out: &mut Vec<OutputRows>,
    ) {
        let Piece {
            begin,
            mut windows,
            moved,
            takes,
        } = std::mem::take(piece);
        if windows.is_empty() {
            return;
        }
        let end = begin + windows.len();
        piece.begin = end;
        let (mut picked, mut slots) = (&block.picked[begin..end], &block.slots[begin..end]);
        self.groups.grow(self.sessions.slots());
        if let Some((slot, taken)) = takes {
            self.groups.join(&[slot], &[taken]);
        }
        let due = self.due(slots, &windows, takes);
        let leave_none = due.as_ref().is_some_and(Vec::is_empty);
        if leave_none && moved.is_empty() {
            return self.groups.update(slots, rows, picked);
        }
        let moved = moved_sessions(moved, rows, picked, slots, &windows, due.as_deref());
        let mut aggregates = if leave_none {
            self.groups.update(slots, rows, picked);
            self.groups.finish(&[])
        } else {
            self.groups.update_running(slots, rows, picked)
        };
        let (of_due, due_slots): (Vec<u32>, Vec<u32>);
        if let Some(due) = due {
            windows = due.iter().map(|&row| windows[row as usize]).collect();
            of_due = due.iter().map(|&row| picked[row as usize]).collect();
            due_slots = due.iter().map(|&row| slots[row as usize]).collect();
            (picked, slots) = (&of_due, &due_slots);
            if !leave_none {
                aggregates = aggregates.iter().map(|one| one.take(&due)).collect();
            }
        }
        let cause = Cause {
            window: None,
            is_final: self.emission.policy.ends(),
            due_us: rows.due_us,
            ready_ns: (self.monotonic_ns)(),
        };
        let values = GroupValues {
            rows: picked.len(),
            keys: take_columns(&rows.keys, picked),
            aggregates,
            cause,
        };
        let marked = marked(&mut self.groups, self.knows_standing, slots);
        push(
            out,
            self.maker.make_of_sessions(windows, values, marked, moved),
        );
    }

    /// Which rows of a piece leave at once, by their places in it; `None` if all do. The sessions of the others are held back, or
    /// wait for their end.
    fn due(
        &mut self,
        slots: &[u32],
        windows: &[(i64, i64)],
        takes: Option<(u32, u32)>,
    ) -> Option<Vec<u32>> {
        let mut due = Vec::new();
        let Emission { policy, corrects } = self.emission;
        if corrects {
            let mut took_in = takes.map(|(_, taken)| taken);
            for ((place, &slot), &(_, end)) in (0..).zip(slots).zip(windows) {
                if self.sessions.corrects(slot, end, took_in.take()) {
                    due.push(place);
                } else if policy.updates() {
                    self.marks().changed(&[slot]);
                }
            }
            self.corrections += due.len() as u64;
            return Some(due);
        }
        match policy {
            EmitPolicy::Changes => return None,
            EmitPolicy::ChangesEveryRows { rows } => self.marks().counted(slots, rows, &mut due),
            EmitPolicy::ChangesEvery { .. } | EmitPolicy::FinalAndChanges { .. } => {
                self.marks().changed(slots);
            }
            EmitPolicy::Final => panic!("rows of EMIT FINAL leave when their session fires"),
        }
        Some(due)
    }

    fn marks(&mut self) -> &mut Marks {
        self.groups.marks().expect("what holds back has marks")
    }
}

/// The sessions that moved with rows of a piece, of which those `due` leave (`None`: all).
fn moved_sessions(
    moved: Vec<Start>,
    rows: &KeyedRows,
    picked: &[u32],
    slots: &[u32],
    windows: &[(i64, i64)],
    due: Option<&[u32]>,
) -> MovedSessions {
    if moved.is_empty() {
        return MovedSessions::default();
    }
    let of_moved: Vec<u32> = moved.iter().map(|one| picked[one.row as usize]).collect();
    let each = moved.into_iter().map(|one| Moved {
        before: due.map_or(one.row, |due| {
            due.partition_point(|&row| row < one.row) as u32
        }),
        group: slots[one.row as usize],
        start: one.start,
        end: windows[one.row as usize].1,
        took_in: one.took_in,
    });
    MovedSessions {
        each: each.collect(),
        keys: take_columns(&rows.keys, &of_moved),
    }
}
