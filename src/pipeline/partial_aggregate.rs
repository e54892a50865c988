//! The first phase of a two-phase exchange: a shard aggregates what it reads, and what leaves it are partials.
//!
//! ```text
//!   rows(KeyedRows) ----> WindowAggregate (panes of this shard's own)
//!   watermark(promise) -> fires the panes that the promise closes --leave(..): Partials, slice by slice --> owners
//!                                                                 --leave(..): the promise, capped -------> every shard
//! ```
//!
//! A pane fires here by the shard's own promise: once that reaches the pane's end plus grace, no accepted record of this shard
//! can fall into it any more, whatever the other shards promise.
//!
//! Laws, asserted here and again by the receiver (`exchange_edge.rs`):
//! 1. No watermark leaves before the partials it covers: a partial of a pane goes out only while less than the pane's closing
//!    time (its end plus grace) has been promised.
//! 2. No promise would let an owner close a pane whose partials are unsent: it stays below the closing time of the first pane
//!    that waits to leave. A pane that is still open closes after the promise anyway.
//!
//! Why below the closing time, and not below the pane's start: a receiver does two things with a watermark. It closes panes,
//! by their closing time; and after the rows of what closed it passes the watermark on, less the grace, where a row stands at
//! its window's end - 1 us. A promise below `end + grace` is passed on below `end`, so it is not later than any row that a
//! partial of the pane may still change. Capped at the start of the first unsent pane, the promise could never close the pane
//! before it where there is grace: every result would wait for one window more.
//!
//! A shard that goes idle holds nobody back, so it first lets all its groups go, also of open panes; records that follow make
//! groups again, which leave again. When an input wakes that was idle, the promise goes back to that input's; that leaves before
//! anything else, and panes which had left by the higher promise take records again. Whether those are too late is not known
//! here, but by the owner, who has closed the pane or not: what comes too late is counted there as `late_after_idle`, record by
//! record.
//!
//! A synchronous state machine: no lane, no clock, and a bounded piece of work a call.

use velostream_shards::{MemoryRange, NodeMemory};

use super::standing::Held;
use super::window_aggregate::WindowAggregate;
use crate::emit::PartialMaker;
use crate::error::Result;
use crate::exchange::{KeyedRows, Partials};
use crate::plan::AggregatePlan;
use crate::time::{Idle, Watermark};

/// The groups of what one shard reads, on their way to their owners.
#[derive(Debug)]
pub struct PartialAggregate {
    groups: WindowAggregate<PartialMaker>,
    /// What the shard's input promises, and when the record that moved it was due.
    promise: (Watermark, i64),
    /// What has been promised to the owners, and whether they were told that this shard is idle.
    sent: Watermark,
    sent_idle: bool,
    /// The least that was promised below that, and the owners do not know.
    lowered: Option<Watermark>,
    /// The closing time of the pane that a partial was sent of last.
    left: Watermark,
    /// The input holds nobody back; to be told when all groups have left.
    idle: Option<Idle>,
    end: End,
}

/// Where the shard stands with the end of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Something may follow.
    Open,
    /// Nothing follows; the peers do not know.
    Told,
    /// The peers know.
    Passed,
}

/// What may leave next.
#[derive(Debug)]
pub enum Leaves {
    /// Groups, for the shards that own them.
    Partials(Partials),
    /// A promise, for every shard.
    Watermark {
        /// The promise.
        time: Watermark,
        /// When the record that moved it was due, wall clock, microseconds since the epoch.
        due_us: i64,
    },
    /// This shard holds nobody back.
    Idle(Idle),
    /// Nothing follows.
    End,
}

impl PartialAggregate {
    /// A first phase with no groups, whose tables hash under `seed`; `monotonic_ns` is the monotonic clock, nanoseconds.
    /// State is kept on `node`, or wherever the system puts it.
    ///
    /// # Errors
    /// `Error::Config` names an aggregate that cannot be computed over its argument's type, and what to do instead.
    pub fn new(
        plan: &AggregatePlan,
        seed: u64,
        monotonic_ns: fn() -> u64,
        node: Option<NodeMemory>,
    ) -> Result<PartialAggregate> {
        Ok(PartialAggregate {
            groups: WindowAggregate::first_phase(plan, seed, monotonic_ns, node)?,
            promise: (Watermark::NONE, 0),
            sent: Watermark::NONE,
            sent_idle: false,
            lowered: None,
            left: Watermark::NONE,
            idle: None,
            end: End::Open,
        })
    }

    /// Windows that close at or below `done` were emitted by an earlier run.
    pub fn start_at(&mut self, done: Watermark) {
        self.groups.number_from(done);
    }

    /// Adds accepted rows to their groups.
    pub fn rows(&mut self, rows: &KeyedRows) {
        assert_eq!(self.end, End::Open, "nothing follows the end of input");
        assert!(self.idle.is_none(), "who wakes promises before it speaks");
        self.groups.update(rows);
    }

    /// The shard's input promises `time`, moved there by a record due at `due_us` (wall clock, microseconds). Less than before
    /// when an input speaks again that was idle.
    pub fn watermark(&mut self, time: Watermark, due_us: i64) {
        self.idle = None;
        if time < self.promise.0 {
            self.groups.reopen(time);
        } else {
            self.groups.watermark(time, due_us);
        }
        if time < self.sent {
            self.lowered = Some(self.lowered.map_or(time, |lowered| lowered.min(time)));
        }
        self.promise = (time, due_us);
    }

    /// The shard's input holds nobody back until it promises again.
    pub fn idle(&mut self, idle: Idle) {
        self.groups.let_go(self.promise.1);
        self.idle = Some(idle);
    }

    /// Nothing follows. What has not fired stays: a stop is not an end of input.
    pub fn end(&mut self) {
        if self.end == End::Open {
            self.end = End::Told;
        }
    }

    /// What may leave next, at most `max_groups` groups of it; `None` until something comes in.
    pub fn leave(&mut self, max_groups: usize) -> Option<Leaves> {
        let (promised, due_us) = self.promise;
        let leaving = self.groups.leaving();
        let wakes = self.sent_idle && (self.idle.is_none() || leaving.is_some());
        // Before all else: what follows may be of panes that the owners take for done, as far as this shard goes.
        if let Some(lowered) = self.lowered.take() {
            return Some(self.promised(lowered, due_us));
        }
        if wakes {
            return Some(self.promised(self.sent, due_us));
        }
        if let Some(closing) = leaving {
            assert!(
                self.sent < closing,
                "no watermark leaves before the partials that it covers"
            );
            // Only where it lets a pane close that has left.
            let capped = promised.min(Watermark(closing.0.saturating_sub(1)));
            if self.sent < self.left && self.left <= capped {
                return Some(self.promised(capped, due_us));
            }
            self.left = closing;
            let (_, partials) = self
                .groups
                .fire_first(max_groups)
                .expect("a pane waits to leave");
            return Some(Leaves::Partials(
                partials.expect("partials are made of what leaves"),
            ));
        }
        if promised > self.sent {
            return Some(self.promised(promised, due_us));
        }
        if let Some(idle) = self.idle.filter(|_| !self.sent_idle) {
            self.sent_idle = true;
            return Some(Leaves::Idle(idle));
        }
        (self.end == End::Told).then(|| {
            self.end = End::Passed;
            Leaves::End
        })
    }

    /// Whether nothing waits to leave, and nothing can come.
    pub fn is_finished(&self) -> bool {
        self.end == End::Passed
    }

    /// Most bytes of state at once, and searches in it that took long.
    pub fn state(&self) -> (u64, u64) {
        (self.groups.state_bytes_max(), self.groups.long_probes())
    }

    /// What it holds now.
    pub fn held(&self) -> Held {
        self.groups.held()
    }

    /// The memory that holds its state.
    pub fn ranges(&self) -> Vec<MemoryRange> {
        self.groups.ranges()
    }

    /// Records whose pane had fired here though their partition accepted them.
    pub fn late_after_idle(&self) -> u64 {
        self.groups.late_after_idle()
    }

    /// Forgets them: what was read again had been counted before.
    pub fn forget_late(&mut self) {
        self.groups.forget_late();
    }

    fn promised(&mut self, time: Watermark, due_us: i64) -> Leaves {
        let unsent = self.groups.leaving();
        assert!(
            unsent.is_none_or(|closing| time < closing),
            "no promise closes a pane whose partials are unsent"
        );
        (self.sent, self.sent_idle) = (time, false);
        Leaves::Watermark { time, due_us }
    }
}

#[cfg(test)]
mod tests;
