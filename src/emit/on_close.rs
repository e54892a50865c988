//! EMIT FINAL: the groups of a pane that has fired, one row each, slice by slice.
//!
//! Law: every group leaves exactly once, in the order of group ids, and a slice has at most the asked number of groups. A
//! group is released as it leaves, so that retiring the pane frees nothing one by one.

use super::{OutputRows, RowMaker};
use crate::group::{Groups, KeySpace};

/// A pane that has fired and is leaving.
#[derive(Debug)]
pub struct Closing {
    groups: Box<Groups>,
    window: Option<(i64, i64)>,
    due_us: i64,
    ready_ns: u64,
}

impl Closing {
    /// The groups of the window with these bounds (microseconds, half-open; `None` without a window), which fired because
    /// of a record that was due at `due_us` (wall clock, microseconds), at `ready_ns` (monotonic clock).
    pub fn new(
        groups: Box<Groups>,
        window: Option<(i64, i64)>,
        due_us: i64,
        ready_ns: u64,
    ) -> Closing {
        Closing {
            groups,
            window,
            due_us,
            ready_ns,
        }
    }

    /// Number of groups that have not left yet.
    pub fn remaining(&self) -> usize {
        self.groups.held()
    }

    /// The rows of the next groups, at most `max_groups`.
    pub fn slice(
        &mut self,
        max_groups: usize,
        space: &mut KeySpace,
        maker: &RowMaker,
    ) -> OutputRows {
        let rows = self.remaining().min(max_groups);
        let start = self.groups.len() - self.remaining();
        let finished = self.groups.finish(start..start + rows);
        let keys = self.groups.keys(space, start..start + rows);
        self.groups.release(space, rows);
        maker.make(
            rows,
            keys,
            self.window,
            finished,
            self.due_us,
            self.ready_ns,
        )
    }

    /// Lets the next groups leave without a row, at most `max_groups`: their rows left with their records.
    pub fn skip(&mut self, max_groups: usize, space: &mut KeySpace) {
        self.groups.release(space, max_groups);
    }

    /// The groups, forgotten, with their memory, and how many there were. All must have left.
    pub fn retire(mut self) -> (Box<Groups>, usize) {
        assert_eq!(
            self.remaining(),
            0,
            "a pane retires when all its groups have left"
        );
        let left = self.groups.len();
        self.groups.clear();
        (self.groups, left)
    }
}
