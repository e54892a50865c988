//! Grouping, with a window or without: keyed rows (or partials) in, result rows (or partials) out.
//!
//! ```text
//!   rows(KeyedRows) --by pane--> Groups --EMIT CHANGES: a row after each record-----------------> out
//!                                       --.. EVERY: held back, let go by the clock (early.rs)---> out
//!   merge(Partials) ------------/
//!   watermark(..)   --close----> Panes --fire_slice: a pane after the other, at most n groups---> out (EMIT FINAL)
//!                                            \--release, reset, recycle: the next pane's memory
//! ```
//!
//! Under EMIT FINAL a pane of windows that overlap is a slice of them, and each window that fires is combined of its slices
//! (`combined_windows.rs`); what crosses between shards are slices. A slice that is closed, because the first of its windows is, may
//! yet have open windows: its records then count in each of those singly.
//!
//! What is made of a group that leaves is `M`'s: rows of the result, or partials for the shard that owns its key. The first
//! phase of a two-phase exchange is this same operator (`partial_aggregate.rs`).
//!
//! Laws: a window fires exactly once, when the watermark reaches its end plus grace; without a window everything is one
//! pane that fires at the end of input. The rows do not depend on where a block ends or on how a close is sliced. A
//! record whose window is closed already is left out and counted (`late_after_idle`), also when it comes as a part of a
//! partial; it cannot happen to a record that was accepted by a partition which was never idle.
//!
//! A synchronous state machine: no I/O, and a bounded piece of work a call, also when a watermark closes a thousand panes
//! or a pane of a million groups. The clock that it is given says when rows could be made, for the latency figures; nothing
//! is decided by it.

mod corrections;
mod early;
mod owned;

use std::collections::VecDeque;

use datafusion_common::arrow::datatypes::DataType;
use velostream_shards::{MemoryRange, NodeMemory};

use self::corrections::Corrections;
use self::early::Early;
use super::combined_windows::{Combined, CombinedWindows};
use super::standing::Held;
use crate::emit::{Closing, Maker, PartialMaker, RowMaker};
use crate::error::Result;
use crate::exchange::{KeyForm, KeyedRows, Partials};
use crate::group::{Groups, KeySpace};
use crate::plan::{AggregatePlan, AggregateSpec, Emission, EmitPolicy};
use crate::time::Watermark;
use crate::window::{PaneNumbers, Panes};

/// A block with rows of more panes than this is sorted by pane; with fewer it is read once for each of them.
const PANES_A_BLOCK: usize = 16;

/// The state of one grouping query on one shard.
#[derive(Debug)]
pub struct WindowAggregate<M = RowMaker> {
    form: GroupForm,
    emit: EmitPolicy,
    /// Whether groups leave as rows when their pane has closed; else their rows have left before.
    closes_with_rows: bool,
    maker: M,
    space: KeySpace,
    /// How panes are numbered; `None` without a window.
    numbers: Option<PaneNumbers>,
    state: State,
    /// The watermarks that closed panes which have not fired yet, ascending.
    released: VecDeque<Released>,
    /// The pane that is leaving.
    closing: Option<Closing>,
    /// Open panes leave too, because of a record that was due then.
    letting_go: Option<i64>,
    /// Groups of the pane that retired last: so many are expected in the next.
    expected: usize,
    /// What is held back.
    early: Early,
    /// What fires before it closes, if anything does.
    corrections: Option<Corrections>,
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

/// The rows of a block that fall into one pane.
struct InPane<'p> {
    /// `None` without a window.
    pane: Option<i64>,
    /// The bounds of its window.
    window: Option<(i64, i64)>,
    /// Their places in the block.
    picked: &'p [u32],
}

/// What is kept of groups.
#[derive(Debug)]
struct GroupForm {
    aggregates: Vec<AggregateSpec>,
    /// Whether each group has a mark.
    marked: bool,
}

/// Where groups are kept.
#[derive(Debug)]
enum State {
    /// By pane.
    Windowed(Panes<Box<Groups>>),
    /// By slice of windows that overlap.
    Combined(Box<CombinedWindows>),
    /// All together; `None` after the end of input.
    Whole(Option<Box<Groups>>),
}

impl WindowAggregate<RowMaker> {
    /// An operator with no groups, whose rows `maker` makes, and whose tables hash under `seed`;
    /// `monotonic_ns` is the monotonic clock, nanoseconds. State is kept on `node`, or wherever the system puts it.
    ///
    /// # Errors
    /// `Error::Config` names a key column whose type cannot be a group key, or an aggregate that cannot be computed over
    /// its argument's type, and what to do instead.
    pub fn new(
        plan: &AggregatePlan,
        emit: impl Into<Emission>,
        maker: RowMaker,
        seed: u64,
        monotonic_ns: fn() -> u64,
        node: Option<NodeMemory>,
    ) -> Result<WindowAggregate> {
        let emission: Emission = emit.into();
        let Emission { policy, corrects } = emission;
        let holds_back = policy.updates() && policy != EmitPolicy::Changes;
        let form = GroupForm {
            aggregates: plan.aggregates.clone(),
            marked: holds_back || maker.withdraws() && (policy.updates() || corrects),
        };
        let mut whole =
            WindowAggregate::over(plan, form, emission, maker, seed, monotonic_ns, node)?;
        if let Some(numbers) = whole.numbers.filter(PaneNumbers::is_sliced) {
            let groups = whole.form.made(&whole.space, 0);
            whole.state = State::Combined(Box::new(CombinedWindows::new(numbers, groups)));
        }
        Ok(whole)
    }

    /// Starts where an earlier run had come to: windows that close at or below `done` are done.
    pub fn start_at(&mut self, done: Watermark) {
        self.number_from(done);
        self.watermark(done, 0);
    }

    /// Merges what other shards, or this one, aggregated of groups that live here.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "partials end here: nobody may use them again"
    )]
    pub fn merge(&mut self, partials: Partials) {
        assert_eq!(
            self.emit,
            EmitPolicy::Final,
            "a change is of a record, and partials have none"
        );
        partials.assert_consistent();
        let records = partials.records();
        self.with_groups(partials.pane, records, |groups, space, _, _| {
            groups.merge(space, &partials.groups);
        });
        self.note_state_bytes();
    }
}

impl WindowAggregate<PartialMaker> {
    /// The first phase of `plan`: an operator of which partials leave, and whose tables hash under `seed`.
    ///
    /// # Errors
    /// As `WindowAggregate::new`.
    pub fn first_phase(
        plan: &AggregatePlan,
        seed: u64,
        monotonic_ns: fn() -> u64,
        node: Option<NodeMemory>,
    ) -> Result<WindowAggregate<PartialMaker>> {
        let (maker, aggregates) = PartialMaker::new(&plan.aggregates)?;
        let emit = Emission::from(EmitPolicy::Final);
        let form = GroupForm {
            aggregates,
            marked: false,
        };
        WindowAggregate::over(plan, form, emit, maker, seed, monotonic_ns, node)
    }

    /// Lets everything leave now, whatever the watermark, and closes nothing: groups whose records follow leave again.
    pub fn let_go(&mut self, due_us: i64) {
        self.letting_go = Some(due_us);
    }

    /// The watermark is taken back to `time`: an input that was idle speaks again. Panes that close behind it accept records,
    /// which leave as further partials.
    pub fn reopen(&mut self, time: Watermark) {
        if let State::Windowed(panes) = &mut self.state {
            panes.reopen(time);
            // What still fires was released by the first that reached `time`.
            let reached = self
                .released
                .partition_point(|released| released.time < time);
            self.released.truncate(reached + 1);
            if let Some(last) = self.released.get_mut(reached) {
                last.time = time;
            }
            if !panes.has_fired() {
                self.released.clear();
            }
        }
    }

    /// The watermark that may not be promised while what has fired is leaving: the first closing time of its panes; `None`
    /// when nothing waits to leave.
    pub fn leaving(&self) -> Option<Watermark> {
        let letting_go = self.letting_go.is_some();
        match &self.state {
            State::Windowed(panes) => {
                let now = self.closing.as_ref().and_then(Closing::pane);
                let next = panes.first().filter(|_| letting_go || panes.has_fired());
                let first = now.into_iter().chain(next).min()?;
                Some(panes.closing(first))
            }
            State::Whole(whole) => {
                let waits = letting_go && whole.as_ref().is_some_and(|groups| !groups.is_empty());
                let fired = self.closing.is_some() || !self.released.is_empty();
                (fired || waits).then_some(Watermark::END)
            }
            State::Combined(_) => panic!("a first phase combines nothing"),
        }
    }
}

impl<M: Maker> WindowAggregate<M> {
    fn over(
        plan: &AggregatePlan,
        form: GroupForm,
        emission: Emission,
        maker: M,
        seed: u64,
        monotonic_ns: fn() -> u64,
        node: Option<NodeMemory>,
    ) -> Result<WindowAggregate<M>> {
        let space = key_space(plan, seed, node)?;
        let groups = form.first(&space, 0)?;
        let window = plan.window.as_ref();
        let numbers = window.map(|window| PaneNumbers::of(window, emission));
        let state = match numbers {
            None => State::Whole(Some(groups)),
            Some(numbers) => {
                let mut panes = Panes::new(numbers);
                let kept = panes.recycle(groups);
                assert!(kept.is_none(), "the first store is kept");
                State::Windowed(panes)
            }
        };
        Ok(WindowAggregate {
            form,
            emit: emission.policy,
            closes_with_rows: emission.policy.ends() && !emission.corrects,
            early: Early::new(emission.policy),
            corrections: emission.corrects.then(Corrections::new),
            maker,
            space,
            numbers,
            state,
            released: VecDeque::new(),
            closing: None,
            letting_go: None,
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

    /// Windows that close at or below `done` were emitted by an earlier run.
    pub fn number_from(&mut self, done: Watermark) {
        if let Some(numbers) = &mut self.numbers {
            numbers.start_at(done);
        }
        match &mut self.state {
            State::Windowed(panes) => panes.start_at(done),
            State::Combined(windows) => windows.start_at(done),
            State::Whole(_) => {}
        }
    }

    /// Adds accepted rows to their groups.
    pub fn update(&mut self, rows: &KeyedRows) {
        self.each_pane(rows, |groups, space, _, at| {
            groups.update(space, rows, at.picked);
        });
    }

    /// Calls `add` for each pane of `rows` with its groups and the rows that fall into it, in their order.
    fn each_pane(
        &mut self,
        rows: &KeyedRows,
        mut add: impl FnMut(&mut Groups, &mut KeySpace, &M, InPane<'_>),
    ) {
        rows.assert_consistent();
        if rows.is_empty() {
            return;
        }
        let all = 0..rows.len() as u32;
        let mut picked = std::mem::take(&mut self.picked);
        picked.clear();
        if rows.panes.is_empty() {
            picked.extend(all);
            self.add_to(None, &picked, &mut add);
        } else {
            let mut panes = std::mem::take(&mut self.panes);
            distinct(&rows.panes, &mut panes);
            if let [pane] = panes[..] {
                picked.extend(all);
                self.add_to(Some(pane), &picked, &mut add);
            } else if panes.is_empty() {
                picked.extend(all);
                picked.sort_unstable_by_key(|&row| (rows.panes[row as usize], row));
                let same = |&a: &u32, &b: &u32| rows.panes[a as usize] == rows.panes[b as usize];
                for of_pane in picked.chunk_by(same) {
                    self.add_to(Some(rows.panes[of_pane[0] as usize]), of_pane, &mut add);
                }
            } else {
                for &pane in &panes {
                    picked.clear();
                    picked.extend(all.clone().filter(|&row| rows.panes[row as usize] == pane));
                    self.add_to(Some(pane), &picked, &mut add);
                }
            }
            self.panes = panes;
        }
        self.picked = picked;
        self.note_state_bytes();
    }

    fn add_to(
        &mut self,
        pane: Option<i64>,
        picked: &[u32],
        add: &mut impl FnMut(&mut Groups, &mut KeySpace, &M, InPane<'_>),
    ) {
        let records = picked.len() as u64;
        self.with_groups(pane, records, |groups, space, window, maker| {
            let at = InPane {
                pane,
                window,
                picked,
            };
            add(groups, space, maker, at);
        });
    }

    /// Calls `add` with the groups of `pane`. Of a slice that is closed, with those of each of its windows that is open; if there is
    /// none, the `records` come too late.
    fn with_groups(
        &mut self,
        pane: Option<i64>,
        records: u64,
        mut add: impl FnMut(&mut Groups, &mut KeySpace, Option<(i64, i64)>, &M),
    ) {
        if self.add_to_open(pane, &mut add) {
            return;
        }
        let (Some(pane), Some(numbers)) = (pane, self.numbers) else {
            panic!("only a pane of a window closes");
        };
        let mut are_too_late = numbers.is_last_of_a_record(pane);
        for single in numbers.singles(pane) {
            are_too_late &= !self.add_to_open(Some(single), &mut add);
        }
        if are_too_late {
            self.late_after_idle += records;
        }
    }

    /// Calls `add` with the groups of `pane`; whether it is open.
    fn add_to_open(
        &mut self,
        pane: Option<i64>,
        add: &mut impl FnMut(&mut Groups, &mut KeySpace, Option<(i64, i64)>, &M),
    ) -> bool {
        let (form, space) = (&self.form, &mut self.space);
        let found = groups_of(&mut self.state, form, space, self.expected, pane);
        let Some((groups, window)) = found else {
            return false;
        };
        add(groups, space, window, &self.maker);
        self.pane_bytes += groups.grown_bytes();
        true
    }

    fn note_state_bytes(&mut self) {
        self.state_bytes_max = self.state_bytes_max.max(self.state_bytes());
    }

    fn state_bytes(&self) -> u64 {
        self.pane_bytes as u64 + self.space.bytes() as u64
    }

    /// The query's watermark on this shard stands at `time`, moved there by a record that was due at `due_us` (wall
    /// clock, microseconds). What fires is emitted by `fire_slice`. `Watermark::END` is the end of input.
    pub fn watermark(&mut self, time: Watermark, due_us: i64) {
        let now = self.monotonic_ns;
        match &mut self.state {
            State::Windowed(panes) => {
                panes.close(time);
                if let Some(corrections) = &mut self.corrections {
                    corrections.reach(time, due_us, now, |pane| panes.bounds(pane).1);
                }
                let last = self.released.back().map(|last| last.time);
                if panes.has_fired() && last.is_none_or(|last| last < time) {
                    self.released.push_back(Released {
                        time,
                        due_us,
                        ready_ns: now(),
                    });
                }
            }
            State::Combined(windows) => {
                windows.close(time);
                let last = self.released.back().map(|last| last.time);
                if windows.has_fired() && last.is_none_or(|last| last < time) {
                    self.released.push_back(Released {
                        time,
                        due_us,
                        ready_ns: now(),
                    });
                }
            }
            State::Whole(whole) if time == Watermark::END => match self.emit {
                // Its rows have left, each with its record.
                EmitPolicy::Changes => *whole = None,
                _ if whole.is_some() && self.released.is_empty() => {
                    self.released.push_back(Released {
                        time,
                        due_us,
                        ready_ns: now(),
                    });
                }
                _ => {}
            },
            State::Whole(_) => {}
        }
    }

    /// The watermark at which the next pane fires; `None` where none is open.
    pub fn closes_next(&self) -> Option<Watermark> {
        match &self.state {
            State::Windowed(panes) => {
                let corrections = self.corrections.as_ref();
                let fires = corrections.and_then(Corrections::next);
                let fires = fires.map(|pane| Watermark(panes.bounds(pane).1));
                fires.into_iter().chain(panes.next_closing()).min()
            }
            State::Combined(windows) => windows.next_closing(),
            State::Whole(_) => None,
        }
    }

    /// Lets at most `max_groups` groups of the next pane that has fired leave, and says how many; `None` if there is no such
    /// pane. Nothing is made of them where their rows have left before.
    pub fn fire_first(&mut self, max_groups: usize) -> Option<(usize, Option<M::Made>)> {
        assert!(max_groups > 0, "a slice of nothing would never end");
        match self.next_closing(max_groups) {
            Next::Nothing => return None,
            Next::Worked(groups) => return Some((groups, None)),
            Next::Leaves => {}
        }
        let closing = self.closing.as_mut().expect("a pane is leaving");
        let groups = closing.remaining().min(max_groups);
        let made = match self.closes_with_rows {
            true => Some(closing.slice(groups, &mut self.space, &self.maker)),
            false => {
                closing.skip(groups, &mut self.space);
                None
            }
        };
        if closing.remaining() == 0 {
            self.retire();
        }
        Some((groups, made))
    }

    /// Number of records left out because the query had closed their window although their own partition accepted them.
    pub fn late_after_idle(&self) -> u64 {
        self.late_after_idle
    }

    /// Forgets them: what was read again had been counted before.
    pub fn forget_late(&mut self) {
        self.late_after_idle = 0;
    }

    /// The memory that holds its state.
    pub fn ranges(&self) -> Vec<MemoryRange> {
        let mut ranges: Vec<MemoryRange> = self.space.ranges().collect();
        match &self.state {
            State::Windowed(panes) => {
                ranges.extend(panes.stores().flat_map(|groups| groups.ranges()));
            }
            State::Combined(windows) => ranges.extend(windows.ranges()),
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

    /// What it holds now. Looks at every open pane: for whoever asks, not for a turn.
    pub fn held(&self) -> Held {
        let (open, stores): (usize, u64) = match &self.state {
            State::Windowed(panes) => (
                panes.open(),
                panes.stores().map(|groups| groups.held() as u64).sum(),
            ),
            State::Combined(windows) => (
                windows.open(),
                windows.stores().map(|groups| groups.held() as u64).sum(),
            ),
            State::Whole(whole) => (0, whole.iter().map(|groups| groups.held() as u64).sum()),
        };
        let leaving = self.closing.as_ref();
        let windows_leaving = leaving.is_some_and(|closing| closing.pane().is_some());
        Held {
            groups: stores + leaving.map_or(0, |closing| closing.remaining() as u64),
            open_windows: (open + usize::from(windows_leaving)) as u64,
            state_bytes: self.state_bytes(),
        }
    }

    /// Searches for a group or a dictionary entry that went past many others, in panes that have left and dictionaries.
    pub fn long_probes(&self) -> u64 {
        self.long_probes
    }

    /// Whether a closed pane waits that is not leaving yet. Whoever brings rows holds them back then: a turn brings more rows
    /// than it lets groups leave, and closed panes would pile up.
    pub fn is_behind(&self) -> bool {
        match &self.state {
            State::Windowed(panes) => panes.has_fired() || self.firing() > 1,
            State::Combined(windows) => windows.has_fired(),
            State::Whole(_) => !self.released.is_empty(),
        }
    }

    /// Whether nothing that has fired or was let go waits to leave.
    pub fn is_idle(&self) -> bool {
        let leaving = self.firing() > 0 || self.early.is_leaving();
        self.closing.is_none() && !leaving && !self.is_behind()
    }

    /// How many windows are firing that stay open.
    fn firing(&self) -> usize {
        self.corrections.as_ref().map_or(0, Corrections::firing)
    }

    /// Makes sure that a pane is leaving, or works towards it: on about `max_groups` groups.
    fn next_closing(&mut self, max_groups: usize) -> Next {
        if self.closing.is_some() {
            return Next::Leaves;
        }
        let (groups, window, closed_at) = match &mut self.state {
            State::Whole(_) => return self.next_whole(),
            State::Windowed(panes) => {
                let Some((pane, groups)) = panes.fire() else {
                    return self.next_let_go();
                };
                (groups, (pane, panes.bounds(pane)), panes.closing(pane))
            }
            State::Combined(windows) => {
                let make = |space: &KeySpace, expected| self.form.made(space, expected);
                let combined = windows.combine(max_groups, &mut self.space, &make);
                self.pane_bytes += windows.take_grown_bytes();
                match combined {
                    Combined::Nothing => return Next::Nothing,
                    Combined::Worked(groups) => return Next::Worked(groups),
                    Combined::Window(window, groups) => {
                        let spans = self.numbers.expect("there are windows");
                        let spans = spans.spans();
                        let bounds = spans.bounds(window);
                        (groups, (window, bounds), spans.closing(window))
                    }
                }
            }
        };
        let is_of_another = |released: &Released| released.time < closed_at;
        while self.released.front().is_some_and(is_of_another) {
            self.released.pop_front();
        }
        let released = self
            .released
            .front()
            .expect("a pane fires when a watermark has closed it");
        let (due_us, ready_ns) = (released.due_us, released.ready_ns);
        self.closing = Some(Closing::new(groups, Some(window), due_us, ready_ns));
        Next::Leaves
    }

    /// The next open pane leaves, if all are let go.
    fn next_let_go(&mut self) -> Next {
        let (State::Windowed(panes), Some(due_us)) = (&mut self.state, self.letting_go) else {
            return Next::Nothing;
        };
        let Some((pane, groups)) = panes.take_first() else {
            self.letting_go = None;
            return Next::Nothing;
        };
        let window = Some((pane, panes.bounds(pane)));
        let ready_ns = (self.monotonic_ns)();
        self.closing = Some(Closing::new(groups, window, due_us, ready_ns));
        Next::Leaves
    }

    /// Without a window everything leaves at the end, or when it is let go.
    fn next_whole(&mut self) -> Next {
        let State::Whole(whole) = &mut self.state else {
            return Next::Nothing;
        };
        let (groups, due_us, ready_ns) = if let Some(released) = self.released.pop_front() {
            (whole.take(), released.due_us, released.ready_ns)
        } else if let Some(due_us) = self.letting_go.take() {
            let groups = whole.take_if(|groups| !groups.is_empty());
            if let Some(groups) = &groups {
                *whole = Some(self.form.made(&self.space, groups.len()));
            }
            (groups, due_us, (self.monotonic_ns)())
        } else {
            return Next::Nothing;
        };
        self.closing = groups.map(|groups| Closing::new(groups, None, due_us, ready_ns));
        match self.closing {
            Some(_) => Next::Leaves,
            None => Next::Nothing,
        }
    }

    /// The pane that has left gives its memory to the next.
    fn retire(&mut self) {
        let done = self.closing.take().expect("a pane has left");
        self.early.forget(done.pane());
        let (mut groups, left) = done.retire();
        self.expected = left;
        self.long_probes += groups.take_long_probes() + self.space.take_long_probes();
        self.pane_bytes += groups.grown_bytes();
        let given_back = match &mut self.state {
            State::Windowed(panes) => panes.recycle(groups),
            State::Combined(windows) => windows.recycle(groups),
            State::Whole(_) => Some(groups),
        };
        if let Some(given_back) = given_back {
            self.pane_bytes -= given_back.told_bytes();
        }
        let has_fired = match &self.state {
            State::Windowed(panes) => panes.has_fired(),
            State::Combined(windows) => windows.has_fired(),
            State::Whole(_) => true,
        };
        if !has_fired {
            self.released.clear();
        }
    }
}

/// What is next of what has fired.
enum Next {
    /// Nothing has.
    Nothing,
    /// So many groups were worked on towards it.
    Worked(usize),
    /// It is leaving.
    Leaves,
}

/// The groups of a pane and its window's bounds; `None` if the pane is closed.
fn groups_of<'s>(
    state: &'s mut State,
    form: &GroupForm,
    space: &KeySpace,
    expected: usize,
    pane: Option<i64>,
) -> Option<(&'s mut Groups, Option<(i64, i64)>)> {
    match (state, pane) {
        (State::Windowed(panes), Some(pane)) => {
            let window = Some(panes.bounds(pane));
            let groups = panes.get_or_open(pane, || form.made(space, expected))?;
            Some((groups.as_mut(), window))
        }
        (State::Combined(windows), Some(pane)) => {
            let groups = windows.get_or_open(pane, |expected| form.made(space, expected))?;
            Some((groups, None))
        }
        (State::Whole(whole), None) => {
            let groups = whole.as_mut().expect("no rows follow the end of input");
            Some((groups.as_mut(), None))
        }
        (State::Windowed(_) | State::Combined(_), None) => panic!("a windowed row has a pane"),
        (State::Whole(_), Some(_)) => panic!("a row has a pane only in a window"),
    }
}

impl GroupForm {
    /// No groups yet, with room for about `expected`.
    ///
    /// # Errors
    /// As `Groups::new`.
    fn first(&self, space: &KeySpace, expected: usize) -> Result<Box<Groups>> {
        let groups = Groups::new(&self.aggregates, space, expected)?;
        Ok(Box::new(if self.marked { groups.marked() } else { groups }))
    }

    /// The same, when groups of this form have been made before.
    fn made(&self, space: &KeySpace, expected: usize) -> Box<Groups> {
        let groups = self.first(space, expected);
        groups.expect("the aggregates were accepted when the operator was made")
    }
}

/// How the keys of a plan are kept.
pub(super) fn key_space(
    plan: &AggregatePlan,
    seed: u64,
    node: Option<NodeMemory>,
) -> Result<KeySpace> {
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

#[cfg(test)]
pub(super) mod tests;
