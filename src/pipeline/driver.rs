//! The shard's turn: one bounded run through everything a shard owns.
//!
//! ```text
//!   1. flush what is held        4. read a batch, compute, exchange
//!   2. fire windows, a slice     5. send the watermark that covers it
//!   3. drain the inbox           6. end, when nothing can come any more
//! ```
//!
//! Law: nothing is produced unless there is room behind it, so a slow sink holds back the source through every stage and no
//! queue grows. A turn is bounded: at most one batch, `INBOX_BLOCKS_MAX` blocks and one slice of groups.

use velostream_shards::{Context, Progress, Shard};

use super::egress::Egress;
use super::exchange_edge::{Arrived, ExchangeEdge};
use super::filter_project::{Evaluated, FilterProject};
use super::window_aggregate::WindowAggregate;
use crate::config::limits::{FIRE_GROUPS_MAX, INBOX_BLOCKS_MAX, UNTOLD_RECORDS_MAX};
use crate::emit::OutputRows;
use crate::error::{Error, Result};
use crate::exchange::{KeyCodec, KeyedRows};
use crate::plan::clock::set_batch_time;
use crate::source::{Polled, Source, SourceFigures};
use crate::time::Watermark;
use crate::window::TumblingAssigner;

/// Everything one shard owns of a running query.
pub struct ShardPipeline {
    source: Option<Box<dyn Source>>,
    batch_max: usize,
    filter_project: FilterProject,
    stage: Stage,
    egress: Egress,
    /// The wall clock, microseconds since the epoch.
    wall_us: fn() -> i64,
    input: Input,
    /// Records taken of which the job has been told.
    told: u64,
    /// Scratch: rows made and not yet posted.
    made: Vec<OutputRows>,
}

/// What follows WHERE and the computed columns.
pub enum Stage {
    /// The computed columns are the row.
    Stateless(super::build::RowShape),
    /// The computed columns are keys and arguments.
    Grouping(Box<Grouping>),
}

/// A grouping stage: exchange, state, emission.
pub struct Grouping {
    /// How many of the computed columns are keys; the rest are arguments.
    pub keys: usize,
    /// Keys to bytes.
    pub codec: KeyCodec,
    /// Event times to panes; `None` without a window.
    pub assigner: Option<TumblingAssigner>,
    /// The way to the owners of the keys.
    pub edge: ExchangeEdge,
    /// State and emission of the keys that this shard owns.
    pub owned: WindowAggregate,
    /// Late records so far.
    pub late_records: u64,
}

/// Where the shard stands with its own input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Input {
    /// Not yet begun.
    Opening,
    /// Records may come.
    Open,
    /// None will; the peers know.
    Closed,
}

/// What a shard has to tell when it has ended.
#[derive(Debug)]
pub struct ShardOutcome {
    /// Its source's counts; `None` if it read nothing.
    pub source: Option<SourceFigures>,
    /// Records for which an expression failed, and rows with a value out of range.
    pub bad_records: u64,
    /// Records whose window was closed by their own partition's watermark.
    pub late_records: u64,
    /// Records whose window the query had closed though their partition had not.
    pub late_after_idle: u64,
}

impl ShardPipeline {
    /// A shard that has not begun.
    pub fn new(
        source: Option<Box<dyn Source>>,
        batch_max: usize,
        filter_project: FilterProject,
        stage: Stage,
        egress: Egress,
        wall_us: fn() -> i64,
    ) -> ShardPipeline {
        assert!(batch_max > 0, "a batch holds records");
        ShardPipeline {
            source,
            batch_max,
            filter_project,
            stage,
            egress,
            wall_us,
            input: Input::Opening,
            told: 0,
            made: Vec::new(),
        }
    }

    fn run_turn(&mut self, stopping: bool) -> Result<bool> {
        let mut progressed = self.egress.flush();
        if let Stage::Grouping(grouping) = &mut self.stage {
            progressed |= grouping.edge.flush();
            progressed |= grouping.fire(&mut self.egress, &mut self.made)?;
            progressed |= grouping.drain(&mut self.egress, &mut self.made)?;
        }
        match self.input {
            Input::Opening => {
                self.input = Input::Open;
                progressed = true;
                if self.source.is_none() {
                    self.open_without_source();
                }
            }
            Input::Open if stopping => self.close_input(),
            Input::Open if self.has_room() => progressed |= self.take_records()?,
            Input::Open | Input::Closed => {}
        }
        self.tell(progressed);
        Ok(progressed)
    }

    /// Tells the job what was taken: now and then while there is more to do, else at once, as nothing may follow for long.
    fn tell(&mut self, progressed: bool) {
        let Some(source) = &self.source else { return };
        let taken = source.records_in();
        let untold = taken - self.told;
        let due = untold >= UNTOLD_RECORDS_MAX || (untold > 0 && !progressed);
        if due && self.egress.has_room() {
            self.egress.taken(untold);
            self.told = taken;
        }
    }

    /// A shard that reads nothing is idle at once, and its input closed.
    fn open_without_source(&mut self) {
        if let Stage::Grouping(grouping) = &mut self.stage {
            // A peer may have been quicker, and this input all that held its promise back.
            let advanced = grouping.edge.send_idle();
            grouping.apply(advanced, &mut self.made);
        }
        self.close_input();
    }

    fn has_room(&self) -> bool {
        self.egress.has_room()
            && match &self.stage {
                Stage::Stateless(_) => true,
                Stage::Grouping(grouping) => grouping.edge.has_room(),
            }
    }

    fn take_records(&mut self) -> Result<bool> {
        let source = self.source.as_mut().expect("an open input has a source");
        let polled = source.poll(self.batch_max)?;
        let watermark = source.watermark();
        for notice in source.take_notices() {
            self.egress.notice(notice);
        }
        let (progressed, due_us) = match polled {
            Polled::Batch(batch) => {
                let due_us = batch.due_us;
                set_batch_time((self.wall_us)());
                let evaluated = self.filter_project.apply(batch)?;
                match &mut self.stage {
                    Stage::Stateless(shape) => self.egress.post(shape.rows(evaluated))?,
                    Stage::Grouping(grouping) => {
                        grouping.take(evaluated, &mut self.made);
                        post_all(&mut self.egress, &mut self.made)?;
                    }
                }
                (true, due_us)
            }
            Polled::Nothing { progressed } => (progressed, (self.wall_us)()),
            Polled::Ended => {
                assert_eq!(
                    watermark,
                    Some(Watermark::END),
                    "an ended source has promised the end"
                );
                self.close_after(Watermark::END);
                return Ok(true);
            }
        };
        if let (Stage::Grouping(grouping), Some(time)) = (&mut self.stage, watermark) {
            let advanced = grouping.edge.send_watermark(time, due_us);
            grouping.apply(advanced, &mut self.made);
        }
        Ok(progressed)
    }

    fn close_after(&mut self, time: Watermark) {
        let now = (self.wall_us)();
        if let Stage::Grouping(grouping) = &mut self.stage {
            let advanced = grouping.edge.send_watermark(time, now);
            grouping.apply(advanced, &mut self.made);
        }
        self.close_input();
    }

    fn close_input(&mut self) {
        if let Stage::Grouping(grouping) = &mut self.stage {
            grouping.edge.send_end();
        }
        self.input = Input::Closed;
    }

    fn is_finished(&self) -> bool {
        self.input == Input::Closed
            && self.egress.is_flushed()
            && match &self.stage {
                Stage::Stateless(_) => true,
                Stage::Grouping(grouping) => {
                    grouping.edge.is_finished() && grouping.owned.is_idle()
                }
            }
    }

    fn fail(&mut self, error: Error) {
        self.egress.fail(error);
        if self.input != Input::Closed {
            self.close_input();
        }
    }
}

impl Grouping {
    /// Late records are counted and left out; the others go to the owners of their keys, this shard's own are applied.
    fn take(&mut self, evaluated: Evaluated, made: &mut Vec<OutputRows>) {
        let Evaluated {
            mut records,
            mut columns,
        } = evaluated;
        let mut panes = Vec::new();
        if let Some(assigner) = &mut self.assigner {
            let mut accepted = Vec::new();
            let late = assigner.assign(
                &records.event_times,
                &records.watermarks_before,
                &mut panes,
                &mut accepted,
            );
            self.late_records += late;
            if accepted.len() < records.len() {
                records = records.take(&accepted);
                columns = super::build::take_columns(&columns, &accepted);
            }
        }
        if records.is_empty() {
            return;
        }
        let arguments = columns.split_off(self.keys);
        let rows = KeyedRows {
            keys: self.codec.encode(&columns, records.len()),
            panes,
            arguments,
            due_us: records.due_us,
        };
        if let Some(own) = self.edge.send(rows) {
            self.owned.rows(own, made);
        }
    }

    /// Takes what the peers sent, as long as there is room for what comes of it.
    fn drain(&mut self, egress: &mut Egress, made: &mut Vec<OutputRows>) -> Result<bool> {
        let mut progressed = false;
        for _ in 0..INBOX_BLOCKS_MAX {
            if !egress.has_room() {
                break;
            }
            let Some(arrived) = self.edge.take() else {
                break;
            };
            progressed = true;
            self.apply(arrived, made);
            post_all(egress, made)?;
        }
        Ok(progressed)
    }

    fn apply(&mut self, arrived: Option<Arrived>, made: &mut Vec<OutputRows>) {
        match arrived {
            None => {}
            Some(Arrived::Rows(rows)) => self.owned.rows(rows, made),
            Some(Arrived::Watermark { time, due_us }) => self.owned.watermark(time, due_us),
        }
    }

    /// Fires what the watermark has closed, one slice of groups.
    fn fire(&mut self, egress: &mut Egress, made: &mut Vec<OutputRows>) -> Result<bool> {
        if !egress.has_room() || self.owned.is_idle() {
            return Ok(false);
        }
        self.owned.fire_slice(FIRE_GROUPS_MAX, made);
        post_all(egress, made)?;
        Ok(true)
    }
}

fn post_all(egress: &mut Egress, made: &mut Vec<OutputRows>) -> Result<()> {
    made.drain(..).try_for_each(|rows| egress.post(rows))
}

impl Shard for ShardPipeline {
    type Summary = ShardOutcome;

    fn turn(&mut self, cx: &mut Context) -> Progress {
        plant_panic(cx);
        let progressed = match self.run_turn(cx.stopping()) {
            Ok(progressed) => progressed,
            Err(error) => {
                self.fail(error);
                true
            }
        };
        match (self.is_finished(), progressed) {
            (true, _) => Progress::Done,
            (false, true) => Progress::Busy,
            (false, false) => Progress::Idle,
        }
    }

    fn finish(self) -> ShardOutcome {
        let (late_records, late_after_idle) = match &self.stage {
            Stage::Stateless(_) => (0, 0),
            Stage::Grouping(grouping) => (grouping.late_records, grouping.owned.late_after_idle()),
        };
        ShardOutcome {
            source: self.source.as_ref().map(|source| source.figures()),
            bad_records: self.filter_project.bad_records() + self.egress.bad_rows(),
            late_records,
            late_after_idle,
        }
    }
}

/// The fault that tests plant: `VELO_PLANT_PANIC=1` makes shard 1 panic in its hundredth turn.
#[cfg(feature = "checks")]
fn plant_panic(cx: &Context) {
    let planted = std::env::var("VELO_PLANT_PANIC")
        .ok()
        .and_then(|shard| shard.parse().ok());
    if planted == Some(cx.shard().index()) && cx.turn() == 100 {
        panic!("planted by VELO_PLANT_PANIC");
    }
}

#[cfg(not(feature = "checks"))]
fn plant_panic(_cx: &Context) {}
