//! When rows leave: the EMIT clause, and what follows from it.
//!
//! | clause                          | rows out                                                                                   |
//! | ------------------------------- | ------------------------------------------------------------------------------------------ |
//! | `CHANGES`                       | the updated row of its group for every record                                              |
//! | `CHANGES EVERY d`               | the latest row of each group that changed, at most once per `d` of the clock's time        |
//! | `CHANGES EVERY n ROWS`          | the updated row on every n-th record of its group                                          |
//! | `FINAL`                         | one row per group and window, when the window fires                                        |
//! | `FINAL AND CHANGES EVERY d`     | as `CHANGES EVERY d`, then as `FINAL`                                                      |
//!
//! Law: a row that may replace an earlier one is an update and no record: what is written so cannot be aggregated (`updates`).

use super::{Plan, Shape};
use crate::config::options::Late;

/// When rows leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmitPolicy {
    /// The updated row of its group for every accepted record; for a stateless query, its row.
    Changes,
    /// The latest row of each group that has changed, at most once in a while; what is held back leaves when its window closes,
    /// at the end of input, and before a commit or a stop.
    ChangesEvery {
        /// How long the clock goes on between two rows of a group at least, microseconds.
        every_us: i64,
    },
    /// The updated row on every n-th record of its group; what is held back leaves likewise.
    ChangesEveryRows {
        /// That n.
        rows: u32,
    },
    /// One row per group (and window) when it fires, or at the end of a bounded input without a window.
    Final,
    /// Early rows as under `ChangesEvery`, then the final one.
    FinalAndChanges {
        /// As of `ChangesEvery`.
        every_us: i64,
    },
}

impl EmitPolicy {
    /// Whether a row may be followed by another of its group and window.
    pub fn updates(self) -> bool {
        self != EmitPolicy::Final
    }

    /// Whether there is a final row of each group and window.
    pub fn ends(self) -> bool {
        matches!(self, EmitPolicy::Final | EmitPolicy::FinalAndChanges { .. })
    }

    /// Which it is in EXPLAIN, without its interval.
    pub fn word(self) -> &'static str {
        match self {
            EmitPolicy::Changes
            | EmitPolicy::ChangesEvery { .. }
            | EmitPolicy::ChangesEveryRows { .. } => "changes",
            EmitPolicy::Final => "final",
            EmitPolicy::FinalAndChanges { .. } => "final_and_changes",
        }
    }

    /// Which it is as it is written, without its interval.
    pub fn name(self) -> &'static str {
        match self {
            EmitPolicy::Changes => "CHANGES",
            EmitPolicy::ChangesEvery { .. } | EmitPolicy::ChangesEveryRows { .. } => {
                "CHANGES EVERY"
            }
            EmitPolicy::Final => "FINAL",
            EmitPolicy::FinalAndChanges { .. } => "FINAL AND CHANGES",
        }
    }

    /// The clock's time between two rows of a group, microseconds, where that decides.
    pub fn every_us(self) -> Option<i64> {
        match self {
            EmitPolicy::ChangesEvery { every_us } | EmitPolicy::FinalAndChanges { every_us } => {
                Some(every_us)
            }
            EmitPolicy::Changes | EmitPolicy::ChangesEveryRows { .. } | EmitPolicy::Final => None,
        }
    }

    /// Records between two rows of a group, where their number decides.
    pub fn every_rows(self) -> Option<u32> {
        match self {
            EmitPolicy::ChangesEveryRows { rows } => Some(rows),
            _ => None,
        }
    }
}

/// When the rows of a grouping leave, all told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Emission {
    /// The EMIT clause.
    pub policy: EmitPolicy,
    /// `Plan::corrects`.
    pub corrects: bool,
}

impl From<EmitPolicy> for Emission {
    fn from(policy: EmitPolicy) -> Emission {
        Emission {
            policy,
            corrects: false,
        }
    }
}

impl Plan {
    /// When its rows leave, all told.
    pub fn emission(&self) -> Emission {
        Emission {
            policy: self.emit,
            corrects: self.corrects(),
        }
    }

    /// Whether its rows are updates: one may replace an earlier one.
    pub fn updates(&self) -> bool {
        match &self.shape {
            Shape::Project(_) => false,
            Shape::Aggregate(_) => self.emit.updates() || self.corrects(),
        }
    }

    /// Whether records that come behind the end of their window correct its row.
    pub fn corrects(&self) -> bool {
        self.late == Late::Update && self.window().is_some()
    }
}
