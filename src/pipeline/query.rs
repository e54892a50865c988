//! One query on one shard: its operators, from a batch to the rows that come of it.
//!
//! ```text
//!   Batch --FilterProject--> Stateless (rows at once) -----------> OutputRows
//!                        \-> Grouping (exchange, state, emission) --/
//! ```
//!
//! Laws: a watermark follows the batches that it covers; after the input is closed neither follows. What the query promises
//! to whoever reads its rows (`standing`) covers only rows that it has given away: for a window its watermark minus the
//! grace, once all that has fired is emitted, so that windows may be chained.
//!
//! It does not know where its rows go, nor whether there is room for them: `flow` does.

use velostream_shards::{MemoryRange, ShardId};

use super::build::RowShape;
use super::exchange_edge::ExchangeEdge;
use super::filter_project::FilterProject;
use super::grouping::{Grouping, LateCounts};
use super::ingest::Ingest;
use super::standing::Held;
use crate::batch::{Batch, DeadLetter};
use crate::emit::OutputRows;
use crate::error::Result;
use crate::time::{Idle, Standing, Watermark};

/// The operators of one query on one shard.
pub struct QueryPipeline {
    filter_project: FilterProject,
    stage: Stage,
    /// Whether batches may still come.
    open: bool,
    /// Whether they were read before.
    reads_again: bool,
}

/// What follows WHERE and the computed columns.
pub enum Stage {
    /// The computed columns are the row.
    Stateless(Stateless),
    /// The computed columns are keys and arguments.
    Grouping(Box<Grouping>),
}

/// A query without groups: a row is finished where its record is.
pub struct Stateless {
    shape: RowShape,
    /// Where the input stands, and so do the rows.
    standing: Standing,
    /// The last epoch to whose cut the input has come, and the last that was told.
    passed: u64,
    told: u64,
}

impl Stateless {
    /// A query that has seen nothing, whose rows `shape` makes.
    pub fn new(shape: RowShape) -> Stateless {
        Stateless {
            shape,
            standing: Standing::Promises(Watermark::NONE, 0),
            passed: 0,
            told: 0,
        }
    }
}

impl QueryPipeline {
    /// A query that has seen nothing.
    pub fn new(filter_project: FilterProject, stage: Stage) -> QueryPipeline {
        QueryPipeline {
            filter_project,
            stage,
            open: true,
            reads_again: false,
        }
    }

    /// Starts where an earlier run had come to: windows that close at or below `done` are done. With `rebuilds`, what comes
    /// was read before, up to the first barrier.
    pub fn start_at(&mut self, done: Watermark, rebuilds: bool) {
        self.reads_again = rebuilds;
        self.filter_project.reads_again(rebuilds);
        if let Stage::Grouping(grouping) = &mut self.stage {
            grouping.start_at(done, rebuilds);
        }
    }

    /// The input has come to the cut of `epoch`; what was read before is behind it.
    pub fn barrier(&mut self, epoch: u64) {
        assert!(self.open, "no barrier follows the end of the input");
        self.reads_again = false;
        self.filter_project.reads_again(false);
        match &mut self.stage {
            Stage::Stateless(stateless) => stateless.passed = epoch,
            Stage::Grouping(grouping) => grouping.barrier(epoch),
        }
    }

    /// The epoch that has come through here from every shard, if that is news, and the watermark up to which all windows of
    /// the keys owned here have fired and left; the end, where there is no window.
    pub fn passed(&mut self) -> Option<(u64, Watermark)> {
        match &mut self.stage {
            Stage::Stateless(stateless) => {
                let news = stateless.passed != stateless.told;
                stateless.told = stateless.passed;
                news.then_some((stateless.passed, Watermark::END))
            }
            Stage::Grouping(grouping) => grouping.passed(),
        }
    }

    /// Moves held blocks into the lanes to its peers; whether any moved.
    pub fn flush(&mut self) -> bool {
        match &mut self.stage {
            Stage::Stateless(_) => false,
            Stage::Grouping(grouping) => grouping.flush(),
        }
    }

    /// Fires what is closed, and what is let go, a slice of groups; whether there was anything.
    pub fn fire(&mut self, made: &mut Vec<OutputRows>) -> bool {
        match &mut self.stage {
            Stage::Stateless(_) => false,
            Stage::Grouping(grouping) => grouping.fire(made),
        }
    }

    /// Sends what may leave of a first phase, a slice of groups, and the promises that it allows; whether there was any.
    pub fn send_partials(&mut self, made: &mut Vec<OutputRows>) -> bool {
        match &mut self.stage {
            Stage::Stateless(_) => false,
            Stage::Grouping(grouping) => grouping.send_partials(made),
        }
    }

    /// Takes one block of what the peers sent: how many rows or groups it held; `None` if there was none.
    pub fn drain(&mut self, made: &mut Vec<OutputRows>) -> Option<usize> {
        match &mut self.stage {
            Stage::Stateless(_) => None,
            Stage::Grouping(grouping) => grouping.drain(made),
        }
    }

    /// Whether a batch may be taken, as far as this query's own lanes are concerned.
    pub fn has_room(&self) -> bool {
        match &self.stage {
            Stage::Stateless(_) => true,
            Stage::Grouping(grouping) => grouping.has_room(),
        }
    }

    /// How full the fullest of its lanes to peers is, 0 to 1, and how many blocks are held for want of room.
    pub fn fill_and_held(&self) -> (f64, usize) {
        match &self.stage {
            Stage::Stateless(_) => (0.0, 0),
            Stage::Grouping(grouping) => grouping.edge.fill_and_held(),
        }
    }

    /// How many blocks lie in its lane to each peer, or are held for it.
    pub fn lane_depths(&self) -> impl Iterator<Item = (ShardId, usize)> {
        let edge = match &self.stage {
            Stage::Stateless(_) => None,
            Stage::Grouping(grouping) => Some(&grouping.edge),
        };
        edge.into_iter().flat_map(ExchangeEdge::depths)
    }

    /// Takes a batch.
    pub fn take(&mut self, batch: Batch, made: &mut Vec<OutputRows>) -> Result<()> {
        assert!(self.open, "no batch follows the end of the input");
        if self.reads_again && matches!(self.stage, Stage::Stateless(_)) {
            return Ok(());
        }
        let evaluated = self.filter_project.apply(batch)?;
        match &mut self.stage {
            Stage::Stateless(stateless) => made.push(stateless.shape.rows(evaluated)),
            Stage::Grouping(grouping) => grouping.take(evaluated, made),
        }
        Ok(())
    }

    /// The input's watermark stands at `time`, moved there by a record that was due at `due_us` (wall clock,
    /// microseconds).
    pub fn watermark(&mut self, time: Watermark, due_us: i64, made: &mut Vec<OutputRows>) {
        match &mut self.stage {
            Stage::Stateless(stateless) => {
                stateless.standing = Standing::Promises(time, due_us);
            }
            Stage::Grouping(grouping) => grouping.watermark(time, due_us, made),
        }
    }

    /// The input holds nobody back until it promises again.
    pub fn idle(&mut self, idle: Idle, made: &mut Vec<OutputRows>) {
        match &mut self.stage {
            Stage::Stateless(stateless) => stateless.standing = Standing::Idle(idle),
            Stage::Grouping(grouping) => grouping.idle(idle, made),
        }
    }

    /// It is `now_ns` on the monotonic clock, and `wall_us` on the wall clock, microseconds: a watermark that no input holds
    /// runs on. Whether it moved.
    pub fn step(&mut self, now_ns: u64, wall_us: i64, made: &mut Vec<OutputRows>) -> bool {
        match &mut self.stage {
            Stage::Stateless(_) => false,
            Stage::Grouping(grouping) => grouping.step(now_ns, wall_us, made),
        }
    }

    /// The least watermark of its inputs on all shards, as far as is known here; of a query that groups.
    pub fn reached(&self) -> Watermark {
        match &self.stage {
            Stage::Stateless(_) => panic!("a query without groups has no watermark of all shards"),
            Stage::Grouping(grouping) => grouping.edge.watermarks().current(),
        }
    }

    /// When the clock alone closes the next window, as `Grouping::fires_ns`.
    pub fn fires_ns(&self) -> Option<u64> {
        match &self.stage {
            Stage::Stateless(_) => None,
            Stage::Grouping(grouping) => grouping.fires_ns(),
        }
    }

    /// When the clock lets go what is held back, as `Grouping::lets_go_ns`.
    pub fn lets_go_ns(&self) -> Option<u64> {
        match &self.stage {
            Stage::Stateless(_) => None,
            Stage::Grouping(grouping) => grouping.lets_go_ns(),
        }
    }

    /// No batch follows. May be said again.
    pub fn close_input(&mut self) {
        if std::mem::take(&mut self.open) {
            match &mut self.stage {
                Stage::Stateless(stateless) => stateless.passed = u64::MAX,
                Stage::Grouping(grouping) => grouping.close_input(),
            }
        }
    }

    /// Where this shard's rows of the query stand for their readers.
    pub fn standing(&mut self) -> Standing {
        match &mut self.stage {
            Stage::Stateless(stateless) => stateless.standing,
            Stage::Grouping(grouping) => grouping.standing(),
        }
    }

    /// Whether nothing is left to do and nothing can come.
    pub fn is_finished(&self) -> bool {
        !self.open
            && match &self.stage {
                Stage::Stateless(_) => true,
                Stage::Grouping(grouping) => grouping.is_finished(),
            }
    }

    /// How long records took until they were applied.
    pub fn ingest(&mut self) -> &mut Ingest {
        match &mut self.stage {
            Stage::Stateless(stateless) => stateless.shape.ingest(),
            Stage::Grouping(grouping) => &mut grouping.ingest,
        }
    }

    /// The memory that holds its state.
    pub fn ranges(&self) -> Vec<MemoryRange> {
        match &self.stage {
            Stage::Stateless(_) => Vec::new(),
            Stage::Grouping(grouping) => grouping.ranges(),
        }
    }

    /// Most bytes of state at once, and searches in it that took long.
    pub fn state(&self) -> (u64, u64) {
        match &self.stage {
            Stage::Stateless(_) => (0, 0),
            Stage::Grouping(grouping) => grouping.state(),
        }
    }

    /// What it holds now.
    pub fn held(&self) -> Held {
        match &self.stage {
            Stage::Stateless(_) => Held::default(),
            Stage::Grouping(grouping) => grouping.held(),
        }
    }

    /// Records for which an expression failed.
    pub fn bad_records(&self) -> u64 {
        self.filter_project.bad_records()
    }

    /// The records left out, and the late ones, for the dead letter.
    pub fn take_letters(&mut self) -> Vec<DeadLetter> {
        let mut letters = self.filter_project.take_letters();
        if let Stage::Grouping(grouping) = &mut self.stage
            && let Some(late) = &mut grouping.late_letters
        {
            letters.append(&mut late.take_letters());
        }
        letters
    }

    /// What became of records that came late.
    pub fn late(&self) -> LateCounts {
        match &self.stage {
            Stage::Stateless(_) => LateCounts::default(),
            Stage::Grouping(grouping) => grouping.late(),
        }
    }
}
