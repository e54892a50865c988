//! EMIT FINAL: the groups of a pane that has fired, one row each, slice by slice.
//!
//! Law: every group leaves exactly once, in the order of group ids, and a slice has at most the asked number of groups.

use super::{OutputRows, RowMaker};
use crate::group::Groups;

/// A pane that has fired and is being emitted.
#[derive(Debug)]
pub struct Closing {
    groups: Groups,
    window: Option<(i64, i64)>,
    /// The first group that has not left yet.
    next: usize,
    due_us: i64,
    ready_ns: u64,
}

impl Closing {
    /// The groups of the window with these bounds (microseconds, half-open; `None` without a window), which fired because
    /// of a record that was due at `due_us` (wall clock, microseconds), at `ready_ns` (monotonic clock).
    pub fn new(groups: Groups, window: Option<(i64, i64)>, due_us: i64, ready_ns: u64) -> Closing {
        Closing {
            groups,
            window,
            next: 0,
            due_us,
            ready_ns,
        }
    }

    /// Number of groups that have not left yet.
    pub fn remaining(&self) -> usize {
        self.groups.len() - self.next
    }

    /// The rows of the next groups, at most `max_groups`.
    pub fn slice(&mut self, max_groups: usize, maker: &RowMaker) -> OutputRows {
        let rows = self.remaining().min(max_groups);
        let range = self.next..self.next + rows;
        self.next = range.end;
        let finished = self.groups.finish(range.clone());
        maker.make(
            rows,
            self.groups.keys(range),
            self.window,
            finished,
            self.due_us,
            self.ready_ns,
        )
    }

    /// The groups, forgotten, with their memory. All must have left.
    pub fn retire(mut self) -> Groups {
        assert_eq!(
            self.remaining(),
            0,
            "a pane retires when all its groups have left"
        );
        self.groups.clear();
        self.groups
    }
}
