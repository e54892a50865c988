//! Grouping, with a window or without: keyed rows in, result rows out.
//!
//! ```text
//!   rows(KeyedRows) --by pane--> Groups --EMIT CHANGES: a row after each record---------------------> out
//!   watermark(..)   --fire-----> queue of closing panes --fire_slice: EMIT FINAL, at most n groups--> out
//! ```
//!
//! Laws: a window fires exactly once, when the watermark reaches its end plus grace; without a window everything is one
//! pane that fires at the end of input. The rows do not depend on where a block ends or on how a close is sliced. A
//! record whose window is closed already is left out and counted (`late_after_idle`); it cannot happen to a record that
//! was accepted by a partition which was never idle.
//!
//! A synchronous state machine: no I/O, and a bounded piece of work a call. The clock that it is given says when rows could
//! be made, for the latency figures; nothing is decided by it.

use std::collections::VecDeque;

use crate::emit::{Closing, OutputRows, RowMaker, changes};
use crate::error::Result;
use crate::exchange::KeyedRows;
use crate::group::Groups;
use crate::plan::{AggregatePlan, AggregateSpec, EmitPolicy};
use crate::time::Watermark;
use crate::window::{Panes, Spans};

/// The state of one grouping query on one shard.
#[derive(Debug)]
pub struct WindowAggregate {
    aggregates: Vec<AggregateSpec>,
    emit: EmitPolicy,
    maker: RowMaker,
    state: State,
    /// Panes that have fired and are being emitted, in the order in which they fired.
    closing: VecDeque<Closing>,
    late_after_idle: u64,
    /// The rows of a block, by pane; kept for its capacity.
    order: Vec<u32>,
    /// The monotonic clock, nanoseconds.
    monotonic_ns: fn() -> u64,
}

/// Where groups are kept.
#[derive(Debug)]
enum State {
    /// By pane.
    Windowed(Panes<Groups>),
    /// All together; `None` after the end of input.
    Whole(Option<Groups>),
}

impl WindowAggregate {
    /// An operator with no groups, whose rows `maker` makes; `monotonic_ns` is the monotonic clock, nanoseconds.
    ///
    /// # Errors
    /// `Error::Config` names an aggregate that cannot be computed over its argument's type, and what to do instead.
    pub fn new(
        plan: &AggregatePlan,
        emit: EmitPolicy,
        maker: RowMaker,
        monotonic_ns: fn() -> u64,
    ) -> Result<WindowAggregate> {
        let groups = Groups::new(&plan.aggregates)?;
        let state = match &plan.window {
            None => State::Whole(Some(groups)),
            Some(window) => {
                let mut panes = Panes::new(Spans::of(window));
                panes.recycle(groups);
                State::Windowed(panes)
            }
        };
        Ok(WindowAggregate {
            aggregates: plan.aggregates.clone(),
            emit,
            maker,
            state,
            closing: VecDeque::new(),
            late_after_idle: 0,
            order: Vec::new(),
            monotonic_ns,
        })
    }

    /// Adds accepted rows to their groups, and under EMIT CHANGES appends the rows that they cause to `out`.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "rows end here: nobody may use them again"
    )]
    pub fn rows(&mut self, rows: KeyedRows, out: &mut Vec<OutputRows>) {
        rows.assert_consistent();
        if rows.is_empty() {
            return;
        }
        let mut order = std::mem::take(&mut self.order);
        order.clear();
        order.extend(0..rows.len() as u32);
        match self.state {
            State::Whole(_) => self.whole_rows(&rows, &order, out),
            State::Windowed(_) => {
                assert_eq!(rows.panes.len(), rows.len(), "a windowed row has a pane");
                // Stable, so that the rows of a pane stay in their order; a block of one pane is found sorted.
                order.sort_by_key(|&row| rows.panes[row as usize]);
                for picked in
                    order.chunk_by(|&a, &b| rows.panes[a as usize] == rows.panes[b as usize])
                {
                    self.pane_rows(rows.panes[picked[0] as usize], &rows, picked, out);
                }
            }
        }
        self.order = order;
    }

    /// The query's watermark on this shard stands at `time`, moved there by a record that was due at `due_us` (wall
    /// clock, microseconds). What fires is emitted by `fire_slice`. `Watermark::END` is the end of input.
    pub fn watermark(&mut self, time: Watermark, due_us: i64) {
        let now = self.monotonic_ns;
        match &mut self.state {
            State::Windowed(panes) => {
                while let Some((pane, mut groups)) = panes.fire(time) {
                    match self.emit {
                        EmitPolicy::Final => {
                            let window = Some(panes.bounds(pane));
                            let closing = Closing::new(groups, window, due_us, now());
                            self.closing.push_back(closing);
                        }
                        // Its rows have left, each with its record.
                        EmitPolicy::Changes => {
                            groups.clear();
                            panes.recycle(groups);
                        }
                    }
                }
            }
            State::Whole(groups) => {
                if time == Watermark::END
                    && let Some(groups) = groups.take()
                    && self.emit == EmitPolicy::Final
                {
                    let closing = Closing::new(groups, None, due_us, now());
                    self.closing.push_back(closing);
                }
            }
        }
    }

    /// Emits at most `max_groups` groups of what has fired, and returns whether there is more.
    pub fn fire_slice(&mut self, max_groups: usize, out: &mut Vec<OutputRows>) -> bool {
        assert!(max_groups > 0, "a slice of nothing would never end");
        let mut budget = max_groups;
        while budget > 0
            && let Some(closing) = self.closing.front_mut()
        {
            let groups = closing.remaining().min(budget);
            push(closing.slice(groups, &self.maker), out);
            budget -= groups;
            if closing.remaining() == 0 {
                let done = self
                    .closing
                    .pop_front()
                    .expect("the front was just emitted");
                let groups = done.retire();
                if let State::Windowed(panes) = &mut self.state {
                    panes.recycle(groups);
                }
            }
        }
        !self.closing.is_empty()
    }

    /// Number of records left out because the query had closed their window although their own partition accepted them.
    pub fn late_after_idle(&self) -> u64 {
        self.late_after_idle
    }

    /// Whether nothing that has fired waits to be emitted.
    pub fn is_idle(&self) -> bool {
        self.closing.is_empty()
    }

    fn whole_rows(&mut self, rows: &KeyedRows, picked: &[u32], out: &mut Vec<OutputRows>) {
        assert!(rows.panes.is_empty(), "a row has a pane only in a window");
        let State::Whole(Some(groups)) = &mut self.state else {
            panic!("no rows follow the end of input");
        };
        match self.emit {
            EmitPolicy::Final => groups.update(rows, picked),
            EmitPolicy::Changes => push(
                changes(groups, rows, picked, None, &self.maker, self.monotonic_ns),
                out,
            ),
        }
    }

    fn pane_rows(
        &mut self,
        pane: i64,
        rows: &KeyedRows,
        picked: &[u32],
        out: &mut Vec<OutputRows>,
    ) {
        let State::Windowed(panes) = &mut self.state else {
            panic!("only a windowed query has panes");
        };
        let window = panes.bounds(pane);
        let aggregates = &self.aggregates;
        let make = || {
            Groups::new(aggregates)
                .expect("the aggregates were accepted when the operator was made")
        };
        match (panes.get_or_open(pane, make), self.emit) {
            (None, _) => self.late_after_idle += picked.len() as u64,
            (Some(groups), EmitPolicy::Final) => groups.update(rows, picked),
            (Some(groups), EmitPolicy::Changes) => {
                let (maker, now) = (&self.maker, self.monotonic_ns);
                push(changes(groups, rows, picked, Some(window), maker, now), out);
            }
        }
    }
}

/// Appends rows unless there is nothing in them: HAVING may have kept none.
fn push(rows: OutputRows, out: &mut Vec<OutputRows>) {
    if rows.batch.num_rows() > 0 || !rows.bad.is_empty() {
        out.push(rows);
    }
}

#[cfg(test)]
mod tests;
