//! Grouping, with a window or without: keyed rows in, result rows out.
//!
//! ```text
//!   rows(KeyedRows) --by pane--> Groups --EMIT CHANGES: a row after each record-----------------> out
//!   watermark(..)   --close----> Panes --fire_slice: a pane after the other, at most n groups---> out (EMIT FINAL)
//!                                            \--release, reset, recycle: the next pane's memory
//! ```
//!
//! Laws: a window fires exactly once, when the watermark reaches its end plus grace; without a window everything is one
//! pane that fires at the end of input. The rows do not depend on where a block ends or on how a close is sliced. A
//! record whose window is closed already is left out and counted (`late_after_idle`); it cannot happen to a record that
//! was accepted by a partition which was never idle.
//!
//! A synchronous state machine: no I/O, and a bounded piece of work a call, also when a watermark closes a thousand panes
//! or a pane of a million groups. The clock that it is given says when rows could be made, for the latency figures; nothing
//! is decided by it.

use std::collections::VecDeque;

use datafusion_common::arrow::datatypes::DataType;
use velostream_shards::{MemoryRange, NodeMemory};

use crate::config::limits::FIRE_PANES_MAX;
use crate::emit::{Closing, OutputRows, RowMaker, changes};
use crate::error::Result;
use crate::exchange::{KeyForm, KeyedRows};
use crate::group::{Groups, KeySpace};
use crate::plan::{AggregatePlan, AggregateSpec, EmitPolicy};
use crate::time::Watermark;
use crate::window::{Panes, Spans};

/// A block with rows of more panes than this is sorted by pane; with fewer it is read once for each of them.
const PANES_A_BLOCK: usize = 16;

/// The state of one grouping query on one shard.
#[derive(Debug)]
pub struct WindowAggregate {
    aggregates: Vec<AggregateSpec>,
    emit: EmitPolicy,
    maker: RowMaker,
    space: KeySpace,
    state: State,
    /// The watermarks that closed panes which have not fired yet, ascending.
    released: VecDeque<Released>,
    /// The pane that is leaving.
    closing: Option<Closing>,
    /// Groups of the pane that retired last: so many are expected in the next.
    expected: usize,
    late_after_idle: u64,
    /// The monotonic clock, nanoseconds.
    monotonic_ns: fn() -> u64,
    /// Bytes that the panes take, without the dictionaries.
    pane_bytes: i64,
    state_bytes_max: u64,
    long_probes: u64,
    /// The rows of a block that fall into one pane, and the panes of a block; kept for their capacity.
    picked: Vec<u32>,
    panes: Vec<i64>,
}

/// A watermark that closed panes which have not fired yet.
#[derive(Debug)]
struct Released {
    time: Watermark,
    /// When the record that moved it was due, wall clock, microseconds.
    due_us: i64,
    /// When it came, monotonic clock, nanoseconds.
    ready_ns: u64,
}

/// Where groups are kept.
#[derive(Debug)]
enum State {
    /// By pane.
    Windowed(Panes<Box<Groups>>),
    /// All together; `None` after the end of input.
    Whole(Option<Box<Groups>>),
}

impl WindowAggregate {
    /// An operator with no groups, whose rows `maker` makes, and whose tables hash under `seed`;
    /// `monotonic_ns` is the monotonic clock, nanoseconds. State is kept on `node`, or wherever the system puts it.
    ///
    /// # Errors
    /// `Error::Config` names a key column whose type cannot be a group key, or an aggregate that cannot be computed over
    /// its argument's type, and what to do instead.
    pub fn new(
        plan: &AggregatePlan,
        emit: EmitPolicy,
        maker: RowMaker,
        seed: u64,
        monotonic_ns: fn() -> u64,
        node: Option<NodeMemory>,
    ) -> Result<WindowAggregate> {
        let space = key_space(plan, seed, node)?;
        let groups = Box::new(Groups::new(&plan.aggregates, &space, 0)?);
        let state = match &plan.window {
            None => State::Whole(Some(groups)),
            Some(window) => {
                let mut panes = Panes::new(Spans::of(window));
                let kept = panes.recycle(groups);
                assert!(kept.is_none(), "the first store is kept");
                State::Windowed(panes)
            }
        };
        Ok(WindowAggregate {
            aggregates: plan.aggregates.clone(),
            emit,
            maker,
            space,
            state,
            released: VecDeque::new(),
            closing: None,
            expected: 0,
            late_after_idle: 0,
            pane_bytes: 0,
            state_bytes_max: 0,
            long_probes: 0,
            picked: Vec::new(),
            panes: Vec::new(),
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
        let all = 0..rows.len() as u32;
        let mut picked = std::mem::take(&mut self.picked);
        picked.clear();
        if let State::Whole(_) = self.state {
            picked.extend(all);
            self.whole_rows(&rows, &picked, out);
        } else {
            assert_eq!(rows.panes.len(), rows.len(), "a windowed row has a pane");
            let mut panes = std::mem::take(&mut self.panes);
            distinct(&rows.panes, &mut panes);
            if let [pane] = panes[..] {
                picked.extend(all);
                self.pane_rows(pane, &rows, &picked, out);
            } else if panes.is_empty() {
                picked.extend(all);
                picked.sort_unstable_by_key(|&row| (rows.panes[row as usize], row));
                let same = |&a: &u32, &b: &u32| rows.panes[a as usize] == rows.panes[b as usize];
                for of_pane in picked.chunk_by(same) {
                    self.pane_rows(rows.panes[of_pane[0] as usize], &rows, of_pane, out);
                }
            } else {
                for &pane in &panes {
                    picked.clear();
                    picked.extend(all.clone().filter(|&row| rows.panes[row as usize] == pane));
                    self.pane_rows(pane, &rows, &picked, out);
                }
            }
            self.panes = panes;
        }
        self.picked = picked;
        let state_bytes = self.pane_bytes as u64 + self.space.bytes() as u64;
        self.state_bytes_max = self.state_bytes_max.max(state_bytes);
    }

    /// The query's watermark on this shard stands at `time`, moved there by a record that was due at `due_us` (wall
    /// clock, microseconds). What fires is emitted by `fire_slice`. `Watermark::END` is the end of input.
    pub fn watermark(&mut self, time: Watermark, due_us: i64) {
        let now = self.monotonic_ns;
        match &mut self.state {
            State::Windowed(panes) => {
                panes.close(time);
                let last = self.released.back().map(|last| last.time);
                if panes.has_fired() && last.is_none_or(|last| last < time) {
                    self.released.push_back(Released {
                        time,
                        due_us,
                        ready_ns: now(),
                    });
                }
            }
            State::Whole(groups) => {
                if time == Watermark::END
                    && let Some(groups) = groups.take()
                    && self.emit == EmitPolicy::Final
                {
                    self.closing = Some(Closing::new(groups, None, due_us, now()));
                }
            }
        }
    }

    /// Lets at most `max_groups` groups of what has fired leave, of at most `FIRE_PANES_MAX` panes, and returns whether
    /// there is more. Under EMIT CHANGES they leave without a row.
    pub fn fire_slice(&mut self, max_groups: usize, out: &mut Vec<OutputRows>) -> bool {
        assert!(max_groups > 0, "a slice of nothing would never end");
        let mut budget = max_groups;
        for _ in 0..FIRE_PANES_MAX {
            if budget == 0 || !self.next_closing() {
                break;
            }
            let closing = self.closing.as_mut().expect("a pane is leaving");
            let groups = closing.remaining().min(budget);
            match self.emit {
                EmitPolicy::Final => {
                    push(closing.slice(groups, &mut self.space, &self.maker), out);
                }
                EmitPolicy::Changes => closing.skip(groups, &mut self.space),
            }
            budget -= groups;
            if closing.remaining() == 0 {
                self.retire();
            }
        }
        !self.is_idle()
    }

    /// Number of records left out because the query had closed their window although their own partition accepted them.
    pub fn late_after_idle(&self) -> u64 {
        self.late_after_idle
    }

    /// The memory that holds its state.
    pub fn ranges(&self) -> Vec<MemoryRange> {
        let mut ranges: Vec<MemoryRange> = self.space.ranges().collect();
        match &self.state {
            State::Windowed(panes) => {
                ranges.extend(panes.stores().flat_map(|groups| groups.ranges()));
            }
            State::Whole(groups) => {
                ranges.extend(groups.iter().flat_map(|groups| groups.ranges()));
            }
        }
        ranges.extend(self.closing.iter().flat_map(Closing::ranges));
        ranges
    }

    /// Most bytes that groups and dictionaries have taken at once.
    pub fn state_bytes_max(&self) -> u64 {
        self.state_bytes_max
    }

    /// Searches for a group or a dictionary entry that went past many others, in panes that have left and dictionaries.
    pub fn long_probes(&self) -> u64 {
        self.long_probes
    }

    /// Whether a closed pane waits that is not leaving yet. Whoever brings rows holds them back then: a turn brings more rows
    /// than it lets groups leave, and closed panes would pile up.
    pub fn is_behind(&self) -> bool {
        match &self.state {
            State::Windowed(panes) => panes.has_fired(),
            State::Whole(_) => false,
        }
    }

    /// Whether nothing that has fired waits to leave.
    pub fn is_idle(&self) -> bool {
        self.closing.is_none() && !self.is_behind()
    }

    /// Makes sure that a pane is leaving; whether there is one.
    fn next_closing(&mut self) -> bool {
        if self.closing.is_some() {
            return true;
        }
        let State::Windowed(panes) = &mut self.state else {
            return false;
        };
        let Some((pane, groups)) = panes.fire() else {
            return false;
        };
        let closed_at = panes.closing(pane);
        while self
            .released
            .front()
            .is_some_and(|released| released.time < closed_at)
        {
            self.released.pop_front();
        }
        let released = self
            .released
            .front()
            .expect("a pane fires when a watermark has closed it");
        let window = Some(panes.bounds(pane));
        self.closing = Some(Closing::new(
            groups,
            window,
            released.due_us,
            released.ready_ns,
        ));
        true
    }

    /// The pane that has left gives its memory to the next.
    fn retire(&mut self) {
        let done = self.closing.take().expect("a pane has left");
        let (mut groups, left) = done.retire();
        self.expected = left;
        self.long_probes += groups.take_long_probes() + self.space.take_long_probes();
        self.pane_bytes += groups.grown_bytes();
        if let State::Windowed(panes) = &mut self.state {
            if let Some(given_back) = panes.recycle(groups) {
                self.pane_bytes -= given_back.told_bytes();
            }
            if !panes.has_fired() {
                self.released.clear();
            }
        }
    }

    fn whole_rows(&mut self, rows: &KeyedRows, picked: &[u32], out: &mut Vec<OutputRows>) {
        assert!(rows.panes.is_empty(), "a row has a pane only in a window");
        let State::Whole(Some(groups)) = &mut self.state else {
            panic!("no rows follow the end of input");
        };
        let space = &mut self.space;
        match self.emit {
            EmitPolicy::Final => groups.update(space, rows, picked),
            EmitPolicy::Changes => {
                let (maker, now) = (&self.maker, self.monotonic_ns);
                push(changes(groups, space, rows, picked, None, maker, now), out);
            }
        }
        self.pane_bytes += groups.grown_bytes();
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
        let (aggregates, expected, space) = (&self.aggregates, self.expected, &mut self.space);
        let make = || {
            let groups = Groups::new(aggregates, space, expected);
            Box::new(groups.expect("the aggregates were accepted when the operator was made"))
        };
        let Some(groups) = panes.get_or_open(pane, make) else {
            self.late_after_idle += picked.len() as u64;
            return;
        };
        match self.emit {
            EmitPolicy::Final => groups.update(space, rows, picked),
            EmitPolicy::Changes => {
                let (maker, now) = (&self.maker, self.monotonic_ns);
                let made = changes(groups, space, rows, picked, Some(window), maker, now);
                push(made, out);
            }
        }
        self.pane_bytes += groups.grown_bytes();
    }
}

/// How the keys of a plan are kept.
fn key_space(plan: &AggregatePlan, seed: u64, node: Option<NodeMemory>) -> Result<KeySpace> {
    let fields = &plan.grouped.fields()[..plan.keys.len()];
    let types: Vec<DataType> = fields
        .iter()
        .map(|field| field.data_type().clone())
        .collect();
    let form = KeyForm::new(&types)?;
    let nullable = fields.iter().map(|field| field.is_nullable());
    let columns: Vec<(DataType, bool)> = form.types().iter().cloned().zip(nullable).collect();
    Ok(KeySpace::new(&columns, seed, node))
}

/// Leaves the panes that occur in `distinct`, ascending; none if there are more than `PANES_A_BLOCK`.
fn distinct(panes: &[i64], distinct: &mut Vec<i64>) {
    distinct.clear();
    let mut last = None;
    for &pane in panes {
        if last == Some(pane) {
            continue;
        }
        last = Some(pane);
        if !distinct.contains(&pane) {
            if distinct.len() == PANES_A_BLOCK {
                distinct.clear();
                return;
            }
            distinct.push(pane);
        }
    }
    distinct.sort_unstable();
}

/// Appends rows unless there is nothing in them: HAVING may have kept none.
fn push(rows: OutputRows, out: &mut Vec<OutputRows>) {
    if rows.batch.num_rows() > 0 || !rows.bad.is_empty() {
        out.push(rows);
    }
}

#[cfg(test)]
mod tests;
