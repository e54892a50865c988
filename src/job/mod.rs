//! One running job: from a plan and a core map to rows, figures and an exit code.
//!
//! ```text
//!   inputs (sources dealt to shards) --> runtime of pinned shards --exit lanes--> this thread: sink, acknowledgements
//!                                              ^-- stop: end of input, signal, duration, error
//! ```
//!
//! This thread sleeps while nothing comes, and is rung by what does: a block from a shard, a shard's end, a
//! failure, an acknowledgement.
//!
//! Law: the job ends when every shard has ended and every row is acknowledged, or with the first error. A stop by signal or
//! duration drains and flushes, but closes no window of an input that has not ended.

mod figures;
mod housekeeping;
mod inputs;
mod latency;
mod live_line;
mod outputs;
pub mod report;
mod request;
mod stop;

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use velostream_shards::pin::Confined;
use velostream_shards::{
    Backpressure, Clock, CoreMap, Doorbell, Doorbells, ExitInbox, NodeMemory, Placement, Runtime,
    RuntimeOptions, ShardEnd, ShardFailure, ShardId, StartError, StopHandle, SystemClock,
    exit_lane, mesh,
};

pub use latency::Latency;
pub use request::{RowFormat, RunRequest};
pub use stop::Signals;

use self::housekeeping::stand_on;
use self::latency::monotonic_ns;
use self::live_line::LiveLine;
use self::report::{End, Report};
use crate::config::Config;
use crate::config::limits::{EXIT_LANE_BLOCKS, JOB_SLEEP_US_MAX};
use crate::error::{Error, Result, SqlError, exit};
use crate::exchange::Block;
use crate::pipeline::{
    Lanes, ShardOutcome, ShardParts, ShardPipeline, ToJob, check_buildable, shard_pipeline,
};
use crate::plan::{Plan, SinkSpec};
use crate::sink::{Acknowledged, Sink};
use crate::time::Watermark;

/// How a run ended, and what it did until then.
pub struct Outcome {
    /// What ended it.
    pub end: End,
    /// What went wrong, if something did.
    pub result: Result<()>,
    /// What the shards left; empty when they could not be asked.
    pub shards: Vec<ShardEnd<ShardOutcome>>,
    /// Rows acknowledged by the sink.
    pub rows_out: u64,
    /// How long it took.
    pub latency: Latency,
    /// From the start of the shards to the last acknowledged row.
    pub elapsed: Duration,
}

/// What a watcher of a running job sees.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'s> {
    /// Records taken from the sources so far, as far as the shards have told; bad ones included.
    pub records_in: u64,
    /// Rows acknowledged so far.
    pub rows_out: u64,
    /// Since the shards were started.
    pub elapsed: Duration,
    /// The least watermark of the inputs of the shards, as far as they have told.
    pub watermark: Watermark,
    /// Whether a sink has no room, so that the shards wait for it.
    pub held_back: bool,
    /// How hard the shard is pressed that is pressed the most.
    pub backpressure: Backpressure,
    /// How long it took so far; `ingest` as far as the shards have told.
    pub latency: &'s Latency,
}

/// Runs `plan` until its input ends, a signal comes or the time is over, and writes the report.
pub fn run(plan: &Plan, config: &Config, core_map: &CoreMap, request: &RunRequest) -> Result<()> {
    let signals = Signals::catch()?;
    let mut live_line = LiveLine::on_terminal(matches!(plan.sink, SinkSpec::Stdout));
    let outcome = Job {
        plan,
        config,
        core_map,
        rows: request.rows,
        gaps_are_errors: false,
    }
    .run(&mut |standing| {
        if let Some(line) = &mut live_line {
            line.show(&standing);
        }
        if signals.asked() {
            return Some(End::Signal);
        }
        let over = request
            .duration
            .is_some_and(|duration| standing.elapsed >= duration);
        over.then_some(End::Duration)
    });
    drop(live_line);
    let report = request.report.as_ref();
    let written = report.map_or(Ok(()), |path| Report::of(plan, &outcome).write(path));
    // What went wrong with the run comes before what went wrong with its report.
    outcome.result.and(written)
}

/// Holds against `plan` and `config` what can be known without a broker or a file: operators that cannot be built, properties
/// that librdkafka or the engine refuses.
pub fn check(plan: &Plan, config: &Config) -> Result<()> {
    check_buildable(plan).map_err(|error| {
        // What the planner let through has no place in the text any more; it is the text that has to change all the same.
        Error::Sql(Box::new(SqlError {
            code: "V0601",
            message: error.to_string(),
            span: None,
            hint: None,
            source_text: plan.sql.clone(),
            source_name: plan.name.clone(),
        }))
    })?;
    inputs::check(plan, config)?;
    outputs::check(plan, config)
}

/// Everything a run needs.
pub struct Job<'j> {
    /// What is computed.
    pub plan: &'j Plan,
    /// How it was configured.
    pub config: &'j Config,
    /// Where it runs.
    pub core_map: &'j CoreMap,
    /// How rows on standard output are written.
    pub rows: RowFormat,
    /// Whether a missing offset is an error, for a broker that may drop records silently.
    pub gaps_are_errors: bool,
}

impl Job<'_> {
    /// Runs until the input ends or `watch`, which is called all the time, says why to stop.
    pub fn run(&self, watch: &mut dyn FnMut(Standing<'_>) -> Option<End>) -> Outcome {
        let kept = self.stand_aside();
        match kept.and_then(|kept| Ok((self.start()?, kept))) {
            Ok((running, _kept)) => running.watch(watch),
            Err(error) => Outcome {
                end: End::Error,
                result: Err(error),
                shards: Vec::new(),
                rows_out: 0,
                latency: Latency::default(),
                elapsed: Duration::ZERO,
            },
        }
    }

    /// Lets this thread, and those that it starts, run on the cores that are kept for them.
    fn stand_aside(&self) -> Result<Option<Confined>> {
        if self.core_map.foreign() {
            return Err(start_error(&StartError::ForeignMachine));
        }
        stand_on(&self.core_map.control_cpus())
    }

    /// Opens sources and sink, then starts the shards: what is impossible is found out in that order.
    fn start(&self) -> Result<Running> {
        let Job {
            plan,
            config,
            core_map,
            ..
        } = *self;
        let shards = core_map.shards();
        check(plan, config)?;
        let doorbells = Doorbells::open(shards).map_err(|cause| {
            Error::Config(format!(
                "{} descriptors are needed and cannot be had: {cause}; raise `ulimit -n`",
                shards + 1
            ))
        })?;
        let mut sources = inputs::open(
            &plan.source,
            config,
            &plan.job,
            core_map,
            self.gaps_are_errors,
        )?;
        for (index, source) in sources.iter_mut().enumerate() {
            if let Some(source) = source {
                source.ring_by(doorbells.ringer(ShardId::from_index(index)));
            }
        }
        let mut sink = outputs::open(plan, config, self.rows)?;
        sink.ring_by(doorbells.ringer_of_job());
        let mut lanes: Vec<Option<Lanes>> = match plan.exchange.needs_lanes(shards) {
            false => (0..shards).map(|_| None).collect(),
            true => mesh::<Block>(&doorbells, 1, config.shards.lane_blocks)
                .into_iter()
                .map(|mut endpoint| {
                    let outbox = endpoint.outboxes.pop().expect("one edge, one outbox");
                    let inbox = endpoint.inboxes.pop().expect("one edge, one inbox");
                    Some(Lanes { outbox, inbox })
                })
                .collect(),
        };
        let mut exits = Vec::new();
        let mut seats = Vec::new();
        for ((index, source), lanes) in sources.into_iter().enumerate().zip(lanes.drain(..)) {
            let (exit, inbox) = exit_lane(&doorbells, ShardId::from_index(index), EXIT_LANE_BLOCKS);
            exits.push(inbox);
            let plan = plan.clone();
            let encoder = outputs::encoder(&plan, self.rows);
            let batch_max = config.batch.max;
            seats.push(move |placement: &Placement, node: &NodeMemory| {
                assert_eq!(
                    placement.shard.index(),
                    index,
                    "a seat belongs to its shard"
                );
                let parts = ShardParts {
                    shard: placement.shard,
                    shards,
                    source: source.map(|source| source as _),
                    batch_max,
                    lanes,
                    encoder,
                    exit,
                    node: node.clone(),
                    wall_us,
                    monotonic_ns,
                };
                shard_pipeline(&plan, parts).expect("checked before the shards were started")
            });
        }
        let doorbell = doorbells.of_job();
        let stop = StopHandle::new(&doorbells);
        let options = RuntimeOptions {
            core_map: core_map.clone(),
            numa: config.shards.numa,
            doorbells,
            turn_budget_us: config.shards.turn_budget_us,
            stop: stop.clone(),
            reactor: config.shards.reactor,
            profile: config.shards.profile,
        };
        let runtime = Runtime::start(options, seats).map_err(|error| start_error(&error))?;
        for notice in runtime.notices() {
            tell(notice);
        }
        Ok(Running {
            runtime,
            doorbell,
            stop,
            exits,
            sink,
            started: Instant::now(),
            records_in: 0,
            watermarks: vec![Watermark::END; shards],
            totals: Totals::default(),
        })
    }
}

/// A job whose shards are up.
struct Running {
    runtime: Runtime<ShardPipeline>,
    doorbell: Doorbell,
    stop: StopHandle,
    exits: Vec<ExitInbox<ToJob>>,
    sink: Box<dyn Sink>,
    started: Instant,
    records_in: u64,
    /// By shard, where its input stood when it last told; at the end for one that has told nothing.
    watermarks: Vec<Watermark>,
    totals: Totals,
}

/// What has been handed over and acknowledged.
#[derive(Default)]
struct Totals {
    rows_written: u64,
    rows_out: u64,
    latency: Latency,
}

impl Totals {
    fn add(&mut self, acknowledged: Acknowledged) {
        self.rows_out += acknowledged.rows;
        self.latency.acknowledged(acknowledged);
    }
}

impl Running {
    fn watch(mut self, watch: &mut dyn FnMut(Standing<'_>) -> Option<End>) -> Outcome {
        let mut asked: Option<End> = None;
        let mut failed: Option<Error> = None;
        let mut sink_failed = false;
        loop {
            // Asked first: what the shards posted before they ended is then seen below.
            let finished = self.runtime.is_finished();
            if self.runtime.failure().is_some() {
                break;
            }
            let progressed = !sink_failed
                && self.drain(&mut failed).unwrap_or_else(|error| {
                    // Rows can go nowhere any more: the lanes are dropped, so that no shard waits for room.
                    failed.get_or_insert(error);
                    self.exits.clear();
                    sink_failed = true;
                    false
                });
            if failed.is_some() {
                self.stop.request();
            }
            if asked.is_none() {
                let standing = Standing {
                    records_in: self.records_in,
                    rows_out: self.totals.rows_out,
                    elapsed: self.started.elapsed(),
                    watermark: self
                        .watermarks
                        .iter()
                        .copied()
                        .min()
                        .unwrap_or(Watermark::END),
                    held_back: !self.sink.has_room(),
                    backpressure: self.runtime.backpressure().max().unwrap_or_default(),
                    latency: &self.totals.latency,
                };
                asked = watch(standing);
                if asked.is_some() {
                    self.stop.request();
                }
            }
            // Room was made for shards that hold blocks.
            self.doorbell.ring_owed();
            // A sink without room leaves what the shards posted in their lanes.
            if finished && !progressed && (sink_failed || self.sink.has_room()) {
                break;
            }
            self.rest(progressed);
        }
        self.end(asked, failed, sink_failed)
    }

    /// Sleeps when two rounds in a row found nothing, the second of them after the doorbell was armed.
    fn rest(&mut self, progressed: bool) {
        let Running { doorbell, .. } = self;
        match (progressed, doorbell.is_armed()) {
            (true, false) => {}
            (true, true) => {
                doorbell.disarm();
            }
            (false, false) => doorbell.arm(),
            (false, true) => doorbell.sleep(Duration::from_micros(JOB_SLEEP_US_MAX)),
        }
    }

    /// Writes what the shards handed over: at most a block of each, so that a sink which is slower than the shards keeps
    /// nobody from being heard. Whether there was anything.
    fn drain(&mut self, failed: &mut Option<Error>) -> Result<bool> {
        let Running {
            exits,
            sink,
            records_in,
            watermarks,
            totals,
            ..
        } = self;
        sink.poll(&mut |acknowledged| totals.add(acknowledged))?;
        for notice in sink.take_notices() {
            tell(&notice);
        }
        let mut progressed = false;
        for (exit, watermark) in exits.iter_mut().zip(watermarks) {
            if !sink.has_room() {
                break;
            }
            let Some(block) = exit.take() else { continue };
            progressed = true;
            match block {
                ToJob::Rows(rows) => {
                    totals.rows_written += rows.values.len() as u64;
                    totals.latency.handed_over(&rows);
                    sink.write(rows, &mut |acknowledged| totals.add(acknowledged))?;
                }
                ToJob::Taken {
                    records,
                    watermark: stands_at,
                } => {
                    *records_in += records;
                    *watermark = stands_at;
                }
                ToJob::Ingest(recorded) => totals.latency.ingest.merge(&recorded),
                ToJob::Notice(text) => tell(&text),
                ToJob::Failed(error) => {
                    failed.get_or_insert(error);
                }
            }
        }
        Ok(progressed)
    }

    fn end(self, asked: Option<End>, failed: Option<Error>, sink_failed: bool) -> Outcome {
        let Running {
            runtime,
            mut sink,
            mut totals,
            started,
            ..
        } = self;
        // A panic or a sink that has failed is told at once; what the sink still holds is not waited for.
        let flushed = match sink_failed || runtime.failure().is_some() {
            true => Ok(()),
            false => sink.flush(&mut |acknowledged| totals.add(acknowledged)),
        };
        if flushed.is_ok() && !sink_failed && runtime.failure().is_none() {
            assert_eq!(
                totals.rows_out, totals.rows_written,
                "a flushed sink has acknowledged every row, once"
            );
        }
        let elapsed = started.elapsed();
        let (shards, panicked) = match runtime.join() {
            Ok(shards) => (shards, None),
            Err(failure) => (Vec::new(), Some(failure)),
        };
        for shard in &shards {
            totals.latency.ingest.merge(&shard.summary.ingest);
        }
        let result = match (panicked, failed) {
            (Some(failure), _) => Err(Error::Runtime(failure_text(&failure))),
            (None, Some(error)) => Err(error),
            (None, None) => flushed,
        };
        let end = match (&result, asked) {
            // The reader of the rows has gone: as if it had asked to stop.
            (Err(Error::Closed(_)), _) => End::Signal,
            (Err(_), _) => End::Error,
            (Ok(()), Some(end)) => end,
            (Ok(()), None) => End::Input,
        };
        Outcome {
            end,
            result,
            shards,
            rows_out: totals.rows_out,
            latency: totals.latency,
            elapsed,
        }
    }
}

impl Outcome {
    /// The exit code of a process that ends with this run.
    pub fn exit_code(&self) -> u8 {
        match &self.result {
            Ok(()) => exit::OK,
            Err(error) => error.exit_code(),
        }
    }
}

/// Tells the operator something. On a terminal the live line may stand where it is to be written.
fn tell(text: &str) {
    const CLEAR_LINE: &str = "\r\x1b[2K";
    let clear = match std::io::stderr().is_terminal() {
        true => CLEAR_LINE,
        false => "",
    };
    eprintln!("{clear}velo: {text}");
}

fn failure_text(failure: &ShardFailure) -> String {
    format!(
        "{} panicked and every shard was stopped: {}",
        failure.shard, failure.message
    )
}

fn start_error(error: &StartError) -> Error {
    let message = error.to_string();
    if error.is_permission() {
        Error::Permission(message)
    } else {
        Error::Config(message)
    }
}

/// The wall clock, microseconds since the epoch.
fn wall_us() -> i64 {
    SystemClock.wall_us()
}
