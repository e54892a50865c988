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

use velostream_shards::{Context, MemoryRange, Progress, Recorder, Shard};

use super::allocation_count::{AllocationCount, AllocationFigures};
use super::query::{QueryCounts, QueryPipeline};
use crate::config::limits::{LATENCY_TOLD_EVERY_NS, UNTOLD_RECORDS_MAX};
use crate::error::{Error, Result};
use crate::plan::clock::set_batch_time;
use crate::source::{Polled, Source, SourceFigures};
use crate::time::Watermark;

/// Everything one shard owns of a running query.
pub struct ShardPipeline {
    source: Option<Box<dyn Source>>,
    batch_max: usize,
    query: QueryPipeline,
    /// The wall clock, microseconds since the epoch.
    wall_us: fn() -> i64,
    input: Input,
    /// The monotonic clock, nanoseconds.
    monotonic_ns: fn() -> u64,
    /// Records taken of which the job has been told.
    told: u64,
    /// When the job was last told of latencies, on the monotonic clock.
    latency_told_ns: u64,
    allocations: AllocationCount,
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
    /// What its share of the query counted.
    pub counts: QueryCounts,
    /// How long records took until they were applied here, as far as the job has not been told.
    pub ingest: Recorder,
    /// What it allocated once it ran steadily.
    pub allocations: AllocationFigures,
}

impl ShardPipeline {
    /// A shard that has not begun.
    pub fn new(
        source: Option<Box<dyn Source>>,
        batch_max: usize,
        query: QueryPipeline,
        wall_us: fn() -> i64,
        monotonic_ns: fn() -> u64,
    ) -> ShardPipeline {
        assert!(batch_max > 0, "a batch holds records");
        ShardPipeline {
            source,
            batch_max,
            query,
            wall_us,
            input: Input::Opening,
            monotonic_ns,
            told: 0,
            latency_told_ns: monotonic_ns(),
            allocations: AllocationCount::default(),
        }
    }

    fn run_turn(&mut self, stopping: bool) -> Result<bool> {
        let mut progressed = self.query.flush();
        progressed |= self.query.advance()?;
        match self.input {
            Input::Opening => {
                self.input = Input::Open;
                progressed = true;
                if self.source.is_none() {
                    // A shard that reads nothing is idle at once, and its input closed.
                    self.query.idle();
                    self.close_input();
                }
            }
            Input::Open if stopping => self.close_input(),
            Input::Open if self.query.has_room() => progressed |= self.take_records()?,
            Input::Open | Input::Closed => {}
        }
        Ok(progressed)
    }

    /// Tells the job what was taken: now and then while there is more to do, else at once, as nothing may follow for long.
    fn tell(&mut self, progressed: bool) {
        let Some(source) = &self.source else { return };
        let taken = source.records_in();
        let untold = taken - self.told;
        let pausing = !progressed || self.input == Input::Closed;
        let due = untold >= UNTOLD_RECORDS_MAX || (untold > 0 && pausing);
        let watermark = source.watermark().unwrap_or(Watermark::END);
        let egress = self.query.egress();
        if due && egress.has_room() {
            egress.taken(untold, watermark);
            self.told = taken;
        }
    }

    /// Tells the job of latencies now and then, for whoever watches. The rest leaves with the shard.
    fn tell_latency(&mut self) {
        if self.query.ingest().is_empty() || !self.query.egress().has_room() {
            return;
        }
        let now_ns = (self.monotonic_ns)();
        if now_ns - self.latency_told_ns >= LATENCY_TOLD_EVERY_NS {
            self.latency_told_ns = now_ns;
            let recorded = self.query.ingest().take();
            self.query.egress().ingest(recorded);
        }
    }

    /// Asks for a turn when time brings the next record. Where there is no room for it, whoever makes room rings.
    fn wake_when_due(&self, cx: &mut Context) {
        let source = self.source.as_ref().filter(|_| self.input == Input::Open);
        if let Some(due_us) = source.and_then(|source| source.next_due_us())
            && self.query.has_room()
        {
            let wait_us = due_us.saturating_sub((self.wall_us)()).max(0);
            let wait_ns = wait_us.unsigned_abs().saturating_mul(1_000);
            cx.wake_at((self.monotonic_ns)().saturating_add(wait_ns));
        }
    }

    /// Whether the job knows of every record that was taken.
    fn has_told(&self) -> bool {
        let source = self.source.as_ref();
        source.is_none_or(|source| source.records_in() == self.told)
    }

    fn take_records(&mut self) -> Result<bool> {
        let source = self.source.as_mut().expect("an open input has a source");
        let polled = source.poll(self.batch_max)?;
        let watermark = source.watermark();
        let moved_us = source.watermark_due_us();
        for notice in source.take_notices() {
            self.query.egress().notice(notice);
        }
        let (progressed, due_us) = match polled {
            Polled::Batch(batch) => {
                let due_us = batch.due_us;
                self.allocations.batch();
                set_batch_time((self.wall_us)());
                self.query.take(batch)?;
                (true, due_us)
            }
            Polled::Nothing { progressed } => (progressed, (self.wall_us)()),
            Polled::Ended => {
                assert_eq!(
                    watermark,
                    Some(Watermark::END),
                    "an ended source has promised the end"
                );
                self.query.watermark(Watermark::END, (self.wall_us)());
                self.close_input();
                return Ok(true);
            }
        };
        if let Some(time) = watermark {
            self.query.watermark(time, moved_us.unwrap_or(due_us));
        }
        Ok(progressed)
    }

    fn close_input(&mut self) {
        self.query.close_input();
        self.input = Input::Closed;
    }

    fn fail(&mut self, error: Error) {
        self.query.fail(error);
        self.input = Input::Closed;
    }
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
        self.tell(progressed);
        self.tell_latency();
        if progressed {
            self.allocations.busy_turn();
        }
        if !progressed {
            self.wake_when_due(cx);
        }
        let finished = self.input == Input::Closed && self.has_told() && self.query.is_finished();
        match (finished, progressed) {
            (true, _) => Progress::Done,
            (false, true) => Progress::Busy,
            (false, false) => Progress::Idle,
        }
    }

    fn memory(&self) -> Vec<MemoryRange> {
        self.query.ranges()
    }

    fn finish(mut self) -> ShardOutcome {
        ShardOutcome {
            source: self.source.as_ref().map(|source| source.figures()),
            counts: self.query.counts(),
            ingest: self.query.ingest().take(),
            allocations: self.allocations.figures(),
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
