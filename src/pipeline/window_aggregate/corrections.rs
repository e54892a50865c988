//! `late = update`: a window fires at its end, and records that come until its grace is over correct its rows.
//!
//! ```text
//!   watermark:  .. | end                                | end + grace
//!   records:       | accepted, no row                   | accepted: the corrected row at once       | late
//!                  ^ fires: a row for each group        ^ closes: nothing leaves, memory is reused
//! ```
//!
//! Laws: a window fires once. A record that finds its window fired, or whose window would have fired had it been open, gives the
//! row of its group just after it; so the last row of each group and window is that of all its accepted records. A window that
//! closes has fired before, though in slices.

use std::collections::{BTreeSet, VecDeque};

use super::WindowAggregate;
use super::early::open_groups;
use crate::emit::{Cause, OutputRows, range_rows};
use crate::time::Watermark;

/// Which windows have fired.
#[derive(Debug)]
pub(super) struct Corrections {
    /// Windows that end at or below it have fired, or are firing.
    fired: Watermark,
    /// Open panes that end above it.
    unfired: BTreeSet<i64>,
    firing: VecDeque<Firing>,
    /// Corrected rows.
    count: u64,
}

/// A window whose end has been reached.
#[derive(Debug)]
struct Firing {
    pane: i64,
    /// The first of its groups that has not left.
    next: usize,
    due_us: i64,
    ready_ns: u64,
}

impl Corrections {
    /// Nothing has fired.
    pub(super) fn new() -> Corrections {
        Corrections {
            fired: Watermark::NONE,
            unfired: BTreeSet::new(),
            firing: VecDeque::new(),
            count: 0,
        }
    }

    /// Whether a window that ends at `end_us` has fired.
    pub(super) fn has_fired(&self, end_us: i64) -> bool {
        Watermark(end_us) <= self.fired
    }

    /// A pane was opened that has not fired.
    pub(super) fn opened(&mut self, pane: i64) {
        self.unfired.insert(pane);
    }

    /// So many corrected rows left.
    pub(super) fn corrected(&mut self, rows: usize) {
        self.count += rows as u64;
    }

    /// The watermark stands at `time`, because of a record due at `due_us`: what ends there fires.
    pub(super) fn reach(
        &mut self,
        time: Watermark,
        due_us: i64,
        ready_ns: impl Fn() -> u64,
        end_us: impl Fn(i64) -> i64,
    ) {
        self.fired = self.fired.max(time);
        while let Some(&pane) = self.unfired.first()
            && self.has_fired(end_us(pane))
        {
            self.unfired.pop_first();
            self.firing.push_back(Firing {
                pane,
                next: 0,
                due_us,
                ready_ns: ready_ns(),
            });
        }
    }

    /// The first pane that has not fired.
    pub(super) fn next(&self) -> Option<i64> {
        self.unfired.first().copied()
    }

    /// How many panes fire.
    pub(super) fn firing(&self) -> usize {
        self.firing.len()
    }
}

impl WindowAggregate {
    /// Corrected rows so far, before HAVING.
    pub fn corrections(&self) -> u64 {
        self.corrections
            .as_ref()
            .map_or(0, |corrections| corrections.count)
    }

    /// The rows of the next groups of a window whose end has been reached, at most `max_groups`, and how many groups.
    pub(super) fn fire_at_end(&mut self, max_groups: usize) -> Option<(usize, Option<OutputRows>)> {
        let firing = &mut self.corrections.as_mut()?.firing;
        let first = firing.front_mut()?;
        let (groups, window) = open_groups(&mut self.state, Some(first.pane))
            .expect("a window closes when it has fired");
        let ids = first.next..groups.len().min(first.next + max_groups);
        first.next = ids.end;
        let cause = Cause {
            window,
            is_final: true,
            due_us: first.due_us,
            ready_ns: first.ready_ns,
        };
        if ids.end == groups.len() {
            firing.pop_front();
        }
        let looked = ids.len();
        let made = range_rows(groups, &self.space, ids, cause, &self.maker);
        Some((looked, Some(made)))
    }
}
