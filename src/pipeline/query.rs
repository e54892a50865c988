//! One query on one shard: its operators and its way out.
//!
//! ```text
//!   Batch --FilterProject--> Stateless (rows at once) ---------------> Egress
//!                        \-> Grouping (exchange, state, emission) --/
//! ```
//!
//! Law: a batch is taken only while there is room behind it. A watermark follows the batches that it covers; after the
//! input is closed neither follows.

use velostream_shards::MemoryRange;

use super::build::RowShape;
use super::egress::Egress;
use super::filter_project::FilterProject;
use super::grouping::{Grouping, post_all};
use super::ingest::Ingest;
use crate::batch::Batch;
use crate::emit::OutputRows;
use crate::error::{Error, Result};
use crate::time::Watermark;

/// The operators of one query on one shard.
pub struct QueryPipeline {
    filter_project: FilterProject,
    stage: Stage,
    egress: Egress,
    /// Whether batches may still come.
    open: bool,
    /// Scratch: rows made and not yet posted.
    made: Vec<OutputRows>,
}

/// What follows WHERE and the computed columns.
pub enum Stage {
    /// The computed columns are the row.
    Stateless(RowShape),
    /// The computed columns are keys and arguments.
    Grouping(Box<Grouping>),
}

/// What a query has counted on one shard.
#[derive(Clone, Copy, Debug, Default)]
pub struct QueryCounts {
    /// Records for which an expression failed, and rows with a value out of range.
    pub bad_records: u64,
    /// Records whose window was closed by their own partition's watermark.
    pub late_records: u64,
    /// Records whose window the query had closed though their partition had not.
    pub late_after_idle: u64,
    /// Most bytes that its groups and dictionaries have taken at once.
    pub state_bytes_max: u64,
    /// Searches for a group or a dictionary entry that went past many others.
    pub long_probes: u64,
}

impl QueryPipeline {
    /// A query that has seen nothing.
    pub fn new(filter_project: FilterProject, stage: Stage, egress: Egress) -> QueryPipeline {
        QueryPipeline {
            filter_project,
            stage,
            egress,
            open: true,
            made: Vec::new(),
        }
    }

    /// Moves held blocks on; whether any moved.
    pub fn flush(&mut self) -> bool {
        let moved = self.egress.flush();
        match &mut self.stage {
            Stage::Stateless(_) => moved,
            Stage::Grouping(grouping) => grouping.flush() | moved,
        }
    }

    /// Fires what is closed, a slice, and takes what the peers sent; whether anything was done.
    pub fn advance(&mut self) -> Result<bool> {
        match &mut self.stage {
            Stage::Stateless(_) => Ok(false),
            Stage::Grouping(grouping) => grouping.advance(&mut self.egress, &mut self.made),
        }
    }

    /// Whether a batch may be taken.
    pub fn has_room(&self) -> bool {
        self.egress.has_room()
            && match &self.stage {
                Stage::Stateless(_) => true,
                Stage::Grouping(grouping) => grouping.has_room(),
            }
    }

    /// Takes a batch.
    pub fn take(&mut self, batch: Batch) -> Result<()> {
        let evaluated = self.filter_project.apply(batch)?;
        match &mut self.stage {
            Stage::Stateless(shape) => self.egress.post(shape.rows(evaluated)),
            Stage::Grouping(grouping) => {
                grouping.take(evaluated, &mut self.made);
                post_all(&mut self.egress, &mut self.made)
            }
        }
    }

    /// The input's watermark stands at `time`, moved there by a record that was due at `due_us` (wall clock,
    /// microseconds).
    pub fn watermark(&mut self, time: Watermark, due_us: i64) {
        if let Stage::Grouping(grouping) = &mut self.stage {
            grouping.watermark(time, due_us, &mut self.made);
        }
    }

    /// The input holds nobody back until it speaks.
    pub fn idle(&mut self) {
        if let Stage::Grouping(grouping) = &mut self.stage {
            grouping.idle(&mut self.made);
        }
    }

    /// No batch follows. May be said again.
    pub fn close_input(&mut self) {
        if !std::mem::take(&mut self.open) {
            return;
        }
        if let Stage::Grouping(grouping) = &mut self.stage {
            grouping.close_input();
        }
    }

    /// Whether nothing is left to do and nothing can come.
    pub fn is_finished(&self) -> bool {
        !self.open
            && self.egress.is_flushed()
            && match &self.stage {
                Stage::Stateless(_) => true,
                Stage::Grouping(grouping) => grouping.is_finished(),
            }
    }

    /// The way out, for what is not rows.
    pub fn egress(&mut self) -> &mut Egress {
        &mut self.egress
    }

    /// The query cannot go on: the job is told, and the peers.
    pub fn fail(&mut self, error: Error) {
        self.egress.fail(error);
        self.close_input();
    }

    /// How long records took until they were applied.
    pub fn ingest(&mut self) -> &mut Ingest {
        match &mut self.stage {
            Stage::Stateless(shape) => shape.ingest(),
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

    /// What was counted.
    pub fn counts(&self) -> QueryCounts {
        let (late_records, late_after_idle) = match &self.stage {
            Stage::Stateless(_) => (0, 0),
            Stage::Grouping(grouping) => grouping.late(),
        };
        let (state_bytes_max, long_probes) = match &self.stage {
            Stage::Stateless(_) => (0, 0),
            Stage::Grouping(grouping) => grouping.state(),
        };
        QueryCounts {
            bad_records: self.filter_project.bad_records() + self.egress.bad_rows(),
            late_records,
            late_after_idle,
            state_bytes_max,
            long_probes,
        }
    }
}
