//! The shard's turn: one bounded run through everything a shard owns.
//!
//! ```text
//!   1. flush what is held, cut if an epoch was opened   3. let one source deal and poll it, give the batch to each reader,
//!   2. queries last to first: fire windows, a slice,       then the watermark that covers it
//!      drain the inbox, tell the readers               4. let the clock move what no input holds
//!                                                      5. end, when nothing can come any more
//! ```
//!
//! Law: nothing is produced unless there is room behind it, so a slow sink holds back the sources through every stage and no
//! queue grows. A turn is bounded: at most one batch taken and one dealt, and for each query `INBOX_BLOCKS_MAX` blocks, none
//! behind `INBOX_ROWS_MAX` rows, a slice of groups that fire, and a slice of partials, with another for each promise that it
//! hears.

use velostream_shards::{Context, Load, MemoryRange, Progress, Recorder, Shard};

use super::allocation_count::{AllocationCount, AllocationFigures};
use super::batch_size::BatchSize;
use super::egress::ToJob;
use super::epochs::Cuts;
use super::flow::{Flow, QueryCounts};
use super::source_port::SourcePort;
use super::stages;
use super::standing::Counts;
use crate::config::limits::{CLOCK_STEP_NS, FIGURES_TOLD_EVERY_NS, UNTOLD_RECORDS_MAX};
use crate::error::Result;
use crate::plan::clock::set_batch_time;
use crate::source::SourceFigures;
use crate::time::Watermark;

/// Everything one shard owns of a running job.
pub struct ShardPipeline {
    sources: Vec<SourcePort>,
    /// The source to poll first.
    next: usize,
    flow: Flow,
    cuts: Cuts,
    batch: BatchSize,
    /// The wall clock, microseconds since the epoch.
    wall_us: fn() -> i64,
    /// The monotonic clock, nanoseconds.
    monotonic_ns: fn() -> u64,
    /// Records taken of which the job has been told.
    told: u64,
    /// The watermark that it was told.
    told_watermark: Watermark,
    /// When the job was last told of latencies and counts, on the monotonic clock.
    figures_told_ns: u64,
    /// The counts that it was told of last.
    told_counts: Counts,
    /// When the clock last moved a watermark that no input holds, on the monotonic clock.
    stepped_ns: u64,
    allocations: AllocationCount,
}

/// What a shard has to tell when it has ended.
#[derive(Debug)]
pub struct ShardOutcome {
    /// The counts of each source of the job, in the order of `JobPlan::sources`; `None` where this shard read nothing.
    pub sources: Vec<Option<SourceFigures>>,
    /// Where the least watermark of its inputs stands that speak; at the end where there is nothing to read.
    pub watermark: Watermark,
    /// What its share of each query counted, in the order of `JobPlan::queries`.
    pub queries: Vec<QueryCounts>,
    /// How long records took until they were applied here, as far as the job has not been told.
    pub ingest: Recorder,
    /// What it allocated once it ran steadily.
    pub allocations: AllocationFigures,
}

impl ShardOutcome {
    /// Records taken from all sources, bad ones included.
    pub fn records_in(&self) -> u64 {
        let figures = self.sources.iter().flatten();
        figures.map(|source| source.records_in).sum()
    }
}

impl ShardPipeline {
    /// A shard that has not begun.
    pub fn new(
        sources: Vec<SourcePort>,
        flow: Flow,
        cuts: Cuts,
        batch: BatchSize,
        wall_us: fn() -> i64,
        monotonic_ns: fn() -> u64,
    ) -> ShardPipeline {
        ShardPipeline {
            sources,
            next: 0,
            flow,
            cuts,
            batch,
            wall_us,
            monotonic_ns,
            told: 0,
            told_watermark: Watermark::END,
            figures_told_ns: monotonic_ns(),
            told_counts: Counts::default(),
            stepped_ns: 0,
            allocations: AllocationCount::default(),
        }
    }

    fn run_turn(&mut self, cx: &mut Context) -> Result<bool> {
        cx.enter(stages::FLUSH);
        // What expressions call now: one instant for all that is evaluated in a turn.
        let wall_us = (self.wall_us)();
        set_batch_time(wall_us);
        let mut progressed = self.flow.flush();
        for source in &mut self.sources {
            progressed |= source.open(&mut self.flow);
        }
        progressed |= self.cuts.cross(&mut self.sources, &mut self.flow)?;
        progressed |= self.flow.advance(cx)?;
        if cx.stopping() {
            progressed |= self.stop_sources();
        }
        let taken = self.take_records(cx, wall_us)?;
        // What has come goes before the clock: it may speak against it. Only idle sources can: others hold the clock anyway.
        let mut idle = self.sources.iter().filter(|source| source.is_idle());
        if !cx.stopping() && idle.all(|source| source.was_empty()) {
            progressed |= self.step_clock(wall_us);
        }
        Ok(progressed || taken)
    }

    /// Lets the watermarks that no input holds run on, if it is time. Whether one moved.
    fn step_clock(&mut self, wall_us: i64) -> bool {
        let Some(at_ns) = self.steps_ns() else {
            return false;
        };
        let now_ns = (self.monotonic_ns)();
        if now_ns < at_ns {
            return false;
        }
        self.stepped_ns = now_ns;
        for source in &mut self.sources {
            source.look_again();
        }
        self.flow.step(now_ns, wall_us)
    }

    /// When the clock is to move the watermarks that no input holds, on the monotonic clock: when a window closes by that, and
    /// now and then for whoever reads its rows. `None` when inputs hold them.
    fn steps_ns(&self) -> Option<u64> {
        let fires_ns = self.flow.fires_ns()?;
        Some(fires_ns.min(self.stepped_ns.saturating_add(CLOCK_STEP_NS)))
    }

    /// Tells the job what was taken: now and then while there is more to do, else at once, as nothing may follow for long.
    fn tell(&mut self, progressed: bool) {
        let taken = self.records_in();
        let untold = taken - self.told;
        let pausing = !progressed || self.sources.iter().all(SourcePort::is_closed);
        if untold < UNTOLD_RECORDS_MAX && !pausing {
            return;
        }
        let watermark = self.least_watermark();
        // Silence is news too: a source that falls idle holds nobody back.
        let is_news = untold > 0 || watermark != self.told_watermark;
        if is_news && self.flow.exit().has_room() {
            self.told_watermark = watermark;
            self.flow.exit().post(ToJob::Taken {
                records: untold,
                watermark,
            });
            self.told = taken;
        }
    }

    /// Tells the job of latencies and counts now and then, for whoever watches. The rest leaves with the shard.
    fn tell_figures(&mut self) {
        let now_ns = (self.monotonic_ns)();
        let due = now_ns - self.figures_told_ns >= FIGURES_TOLD_EVERY_NS;
        if due && self.flow.exit().has_room() {
            self.figures_told_ns = now_ns;
            let recorded = self.take_ingest();
            if !recorded.is_empty() {
                self.flow.exit().post(ToJob::Ingest(Box::new(recorded)));
            }
            let counts = self.counts();
            if counts != self.told_counts {
                self.told_counts = counts.clone();
                self.flow.exit().post(ToJob::Counts(Box::new(counts)));
            }
        }
    }

    fn counts(&self) -> Counts {
        Counts {
            sources: self.sources.iter().map(SourcePort::counts).collect(),
            queries: self.flow.counts(),
            held: self.flow.held(),
            lanes: self.flow.lane_depths(),
        }
    }

    /// Asks for a turn when time brings the next record, or closes a window. Where there is no room for it, whoever makes room
    /// rings.
    fn wake_when_due(&self, cx: &mut Context) {
        let steps_ns = self.steps_ns().filter(|_| !cx.stopping());
        let looks = self.sources.iter();
        let looks = looks.filter_map(|source| source.looks_ns(&self.flow));
        let lets_go_ns = self.flow.lets_go_ns();
        if let Some(at_ns) = looks.chain(steps_ns).chain(lets_go_ns).min() {
            cx.wake_at(at_ns);
        }
        let sources = self.sources.iter();
        let dues = sources.filter_map(|source| source.next_due_us(&self.flow));
        if let Some(due_us) = dues.min() {
            let wait_us = due_us.saturating_sub((self.wall_us)()).max(0);
            let wait_ns = wait_us.unsigned_abs().saturating_mul(1_000);
            cx.wake_at((self.monotonic_ns)().saturating_add(wait_ns));
        }
    }

    /// What the queries that read from outside recorded since the last time.
    fn take_ingest(&mut self) -> Recorder {
        let mut all = Recorder::new();
        for query in self.sources.iter().flat_map(SourcePort::readers) {
            let ingest = self.flow.ingest(query);
            if !ingest.is_empty() {
                all.merge(&ingest.take());
            }
        }
        all
    }

    fn least_watermark(&self) -> Watermark {
        let watermarks = self.sources.iter().map(SourcePort::watermark);
        watermarks.min().unwrap_or(Watermark::END)
    }

    fn records_in(&self) -> u64 {
        self.sources.iter().map(SourcePort::records_in).sum()
    }

    /// Polls the sources in turn until one of them has done something.
    fn take_records(&mut self, cx: &mut Context, wall_us: i64) -> Result<bool> {
        let sources = self.sources.len();
        for place in (0..sources).map(|step| (self.next + step) % sources) {
            let (source, allocations) = (&mut self.sources[place], &mut self.allocations);
            let (begun_ns, taken) = ((self.monotonic_ns)(), source.records_in());
            if source.poll(cx, &mut self.flow, self.batch.now(), wall_us, allocations)? {
                let records = source.records_in() - taken;
                let took_ns = (self.monotonic_ns)() - begun_ns;
                self.batch.took(records as usize, took_ns);
                self.next = (place + 1) % sources;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes no more from outside. Whether a source was open.
    fn stop_sources(&mut self) -> bool {
        let mut stopped = false;
        for source in &mut self.sources {
            stopped |= source.stop(&mut self.flow);
        }
        stopped
    }

    fn is_finished(&self) -> bool {
        self.sources.iter().all(SourcePort::is_closed)
            && self.told == self.records_in()
            && self.cuts.is_finished()
            && self.flow.is_finished()
    }
}

impl Shard for ShardPipeline {
    type Summary = ShardOutcome;

    fn turn(&mut self, cx: &mut Context) -> Progress {
        plant_panic(cx);
        let progressed = match self.run_turn(cx) {
            Ok(progressed) => progressed,
            Err(error) => {
                self.flow.exit().post(ToJob::Failed(error));
                for source in &mut self.sources {
                    source.fail(&mut self.flow);
                }
                true
            }
        };
        cx.enter(stages::TELL);
        self.tell(progressed);
        self.tell_figures();
        if self.sources.iter().all(SourcePort::is_closed) && self.flow.is_drained() {
            self.cuts.finish(&mut self.sources, &mut self.flow);
        }
        match progressed {
            true => self.allocations.busy_turn(),
            false => self.wake_when_due(cx),
        }
        match (self.is_finished(), progressed) {
            (true, _) => Progress::Done,
            (false, true) => Progress::Busy,
            (false, false) => Progress::Idle,
        }
    }

    fn load(&self) -> Load {
        let fills = self.sources.iter().map(SourcePort::fill);
        Load {
            source_fill: fills.fold(0.0, f64::max),
            ..self.flow.load()
        }
    }

    fn memory(&self) -> Vec<MemoryRange> {
        self.flow.ranges()
    }

    fn finish(mut self) -> ShardOutcome {
        ShardOutcome {
            ingest: self.take_ingest(),
            allocations: self.allocations.figures(),
            watermark: self.least_watermark(),
            sources: self.sources.iter().map(SourcePort::figures).collect(),
            queries: self.flow.counts(),
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
