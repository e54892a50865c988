//! EMIT FINAL: the groups of a pane that has fired, one row each, slice by slice.
//!
//! Law: every group leaves exactly once, in the order of group ids, and a slice has at most the asked number of groups. A
//! group is released as it leaves, so that retiring the pane frees nothing one by one.

use velostream_shards::MemoryRange;

use super::{Cause, Maker};
use crate::group::{Groups, KeySpace};

/// A pane that has fired and is leaving.
#[derive(Debug)]
pub struct Closing {
    groups: Box<Groups>,
    pane: Option<i64>,
    window: Option<(i64, i64)>,
    due_us: i64,
    ready_ns: u64,
}

impl Closing {
    /// The groups of a pane and its window's bounds (microseconds, half-open); `None` without a window. They fired because
    /// of a record that was due at `due_us` (wall clock, microseconds), at `ready_ns` (monotonic clock).
    pub fn new(
        groups: Box<Groups>,
        pane: Option<(i64, (i64, i64))>,
        due_us: i64,
        ready_ns: u64,
    ) -> Closing {
        Closing {
            groups,
            pane: pane.map(|(pane, _)| pane),
            window: pane.map(|(_, window)| window),
            due_us,
            ready_ns,
        }
    }

    /// The groups.
    pub fn groups(&mut self) -> &mut Groups {
        &mut self.groups
    }

    /// The memory of the groups.
    pub fn ranges(&self) -> impl Iterator<Item = MemoryRange> {
        self.groups.ranges()
    }

    /// The pane; `None` without a window.
    pub fn pane(&self) -> Option<i64> {
        self.pane
    }

    /// When the record that made it fire was due, wall clock, microseconds since the epoch.
    pub fn due_us(&self) -> i64 {
        self.due_us
    }

    /// Why its rows leave.
    pub fn cause(&self) -> Cause {
        Cause {
            window: self.window,
            is_final: true,
            due_us: self.due_us,
            ready_ns: self.ready_ns,
        }
    }

    /// Number of groups that have not left yet.
    pub fn remaining(&self) -> usize {
        self.groups.held()
    }

    /// What `maker` makes of the next groups, at most `max_groups`.
    pub fn slice<M: Maker>(
        &mut self,
        max_groups: usize,
        space: &mut KeySpace,
        maker: &M,
    ) -> M::Made {
        let start = self.groups.len() - self.remaining();
        let ids = start..start + self.remaining().min(max_groups);
        let groups = ids.len();
        let made = maker.fired(self, ids, space);
        self.groups.release(space, groups);
        made
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
