//! The state of the keys that a shard owns: groups of windows, or sessions.
//!
//! Law: whoever drives it need not know which. The choice is made once, when the operators are built; a call costs a branch a
//! block.

use velostream_shards::{MemoryRange, NodeMemory};

use super::session_aggregate::SessionAggregate;
use super::standing::Held;
use super::window_aggregate::WindowAggregate;
use crate::emit::{OutputRows, RowMaker};
use crate::error::Result;
use crate::exchange::{KeyedRows, Partials};
use crate::plan::{AggregatePlan, Emission};
use crate::time::Watermark;
use crate::window::Sessions;

/// The state of one grouping query on one shard.
#[derive(Debug)]
pub enum Owned {
    /// Windows that the clock alone makes, or none.
    Windows(Box<WindowAggregate>),
    /// Windows that the records of a key make.
    Sessions(Box<SessionAggregate>),
}

/// Evaluates `$body` with `$one` bound to whichever it is.
macro_rules! either {
    ($owned:expr, $one:ident => $body:expr) => {
        match $owned {
            Owned::Windows($one) => $body,
            Owned::Sessions($one) => $body,
        }
    };
}

impl Owned {
    /// As `WindowAggregate::new`.
    ///
    /// # Errors
    /// As `WindowAggregate::new`.
    pub fn new(
        plan: &AggregatePlan,
        emit: Emission,
        maker: RowMaker,
        seed: u64,
        monotonic_ns: fn() -> u64,
        node: Option<NodeMemory>,
    ) -> Result<Owned> {
        let sessions = plan.window.as_ref().and_then(Sessions::of);
        Ok(match sessions {
            None => {
                let windows = WindowAggregate::new(plan, emit, maker, seed, monotonic_ns, node)?;
                Owned::Windows(Box::new(windows))
            }
            Some(sessions) => Owned::Sessions(Box::new(SessionAggregate::new(
                plan,
                sessions,
                emit,
                maker,
                seed,
                monotonic_ns,
                node,
            )?)),
        })
    }

    /// Starts where an earlier run had come to: windows that close at or below `done` are done.
    pub fn start_at(&mut self, done: Watermark) {
        match self {
            Owned::Windows(windows) => windows.start_at(done),
            Owned::Sessions(sessions) => sessions.watermark(done, 0),
        }
    }

    /// A life before this one may have written rows of groups of which nothing is known here.
    pub fn doubt(&mut self) {
        either!(self, owned => owned.doubt());
    }

    /// Adds accepted rows to their groups, and appends the rows that leave with them to `out`.
    pub fn rows(&mut self, rows: KeyedRows, out: &mut Vec<OutputRows>) {
        either!(self, owned => owned.rows(rows, out));
    }

    /// Adds rows to their groups that were read before, without a row.
    pub fn rebuild(&mut self, rows: &KeyedRows) {
        match self {
            Owned::Windows(windows) => windows.rebuild(rows),
            Owned::Sessions(_) => panic!("a query of sessions is not restarted by replay"),
        }
    }

    /// Lets go what is held back, whatever the clock says.
    pub fn let_held_go(&mut self) {
        either!(self, owned => owned.let_held_go());
    }

    /// Lets go what is held back, if it is time.
    pub fn look_at_clock(&mut self) {
        either!(self, owned => owned.look_at_clock());
    }

    /// Whether a row is held back.
    pub fn holds_back(&self) -> bool {
        either!(self, owned => owned.holds_back())
    }

    /// When the clock lets go what is held back, monotonic clock, nanoseconds.
    pub fn lets_go_ns(&self) -> Option<u64> {
        either!(self, owned => owned.lets_go_ns())
    }

    /// Rows that corrected one of a window which had fired.
    pub fn corrections(&self) -> u64 {
        either!(self, owned => owned.corrections())
    }

    /// Merges what other shards, or this one, aggregated of groups that live here.
    pub fn merge(&mut self, partials: Partials) {
        match self {
            Owned::Windows(windows) => windows.merge(partials),
            Owned::Sessions(_) => panic!("sessions are made of records, which are sent as rows"),
        }
    }

    /// The query's watermark on this shard stands at `time`, moved there by a record due at `due_us` (wall clock, microseconds).
    pub fn watermark(&mut self, time: Watermark, due_us: i64) {
        either!(self, owned => owned.watermark(time, due_us));
    }

    /// The watermark at which the next window may fire; `None` where none is open.
    pub fn closes_next(&self) -> Option<Watermark> {
        either!(self, owned => owned.closes_next())
    }

    /// Lets a slice of what has fired leave; whether there is more.
    pub fn fire_slice(&mut self, max_groups: usize, out: &mut Vec<OutputRows>) -> bool {
        either!(self, owned => owned.fire_slice(max_groups, out))
    }

    /// Records left out because the query had closed their window although their own partition accepted them.
    pub fn late_after_idle(&self) -> u64 {
        either!(self, owned => owned.late_after_idle())
    }

    /// Forgets them: what was read again had been counted before.
    pub fn forget_late(&mut self) {
        either!(self, owned => owned.forget_late());
    }

    /// The memory that holds its state.
    pub fn ranges(&self) -> Vec<MemoryRange> {
        either!(self, owned => owned.ranges())
    }

    /// Most bytes that it has taken at once.
    pub fn state_bytes_max(&self) -> u64 {
        either!(self, owned => owned.state_bytes_max())
    }

    /// What it holds now.
    pub fn held(&self) -> Held {
        either!(self, owned => owned.held())
    }

    /// Searches that took long.
    pub fn long_probes(&self) -> u64 {
        either!(self, owned => owned.long_probes())
    }

    /// Whether something has fired that is not leaving yet: whoever brings rows holds them back then.
    pub fn is_behind(&self) -> bool {
        either!(self, owned => owned.is_behind())
    }

    /// Whether nothing that has fired waits to leave.
    pub fn is_idle(&self) -> bool {
        either!(self, owned => owned.is_idle())
    }
}
