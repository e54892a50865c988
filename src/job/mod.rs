//! One running job: from a plan and a core map to rows, figures and an exit code.
//!
//! ```text
//!   inputs (sources dealt to shards) --> runtime of pinned shards --exit lanes--> this thread: sinks, acknowledgements
//!                                              ^-- stop: end of input, signal, duration, error
//! ```
//!
//! This thread sleeps while nothing comes, and is rung by what does: a block from a shard, a shard's end, a
//! failure, an acknowledgement.
//!
//! Law: all queries of a file are one job. It ends when every shard has ended and every row is acknowledged, or with the first
//! error. A stop by signal or duration drains and flushes, but closes no window of an input that has not ended.

mod clock;
mod commits;
mod exposition;
mod figures;
mod files;
mod housekeeping;
mod inputs;
mod late_warnings;
mod latency;
mod ledger;
mod live_line;
mod outputs;
pub mod report;
mod request;
mod restart;
mod running;
mod service;
mod stop;
mod totals;
mod watch;

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use velostream_shards::pin::Confined;
use velostream_shards::{
    CoreMap, Doorbells, Endpoint, EpochHandle, HelperSeat, NodeMemory, Placement, Runtime,
    RuntimeOptions, ShardEnd, ShardFailure, ShardId, StartError, StopHandle, exit_lane, mesh,
};

pub use latency::Latency;
pub use request::{RowFormat, RunRequest};
pub use stop::Signals;
pub use watch::{Going, Standing};

use self::clock::wall_us;
use self::commits::Commits;
use self::housekeeping::stand_on;
use self::late_warnings::LateWatch;
use self::latency::monotonic_ns;
use self::ledger::Ledger;
use self::report::{End, Report};
use self::restart::Restart;
use self::running::Running;
use self::totals::Totals;
use self::watch::Watchers;
use crate::config::Config;
use crate::config::limits::EXIT_LANE_BLOCKS;
use crate::error::{Error, Result, exit};
use crate::exchange::Block;
use crate::kafka::RecordLimit;
use crate::pipeline::{
    BatchSize, Counts, Lanes, QueryParts, RestartAt, ShardOutcome, ShardParts, check_buildable,
    shard_pipeline,
};
use crate::plan::{JobPlan, JobQuery, Target};
use crate::sql::not_available;
use crate::time::Watermark;

/// How a run ended, and what it did until then.
pub struct Outcome {
    /// What ended it.
    pub end: End,
    /// What went wrong, if something did.
    pub result: Result<()>,
    /// What the shards left; empty when they could not be asked.
    pub shards: Vec<ShardEnd<ShardOutcome>>,
    /// Rows acknowledged by the sinks.
    pub rows_out: u64,
    /// Those of each query, in the order of `JobPlan::queries`; none for a query whose rows other queries read.
    pub rows_out_by_query: Vec<u64>,
    /// Tombstones handed to the sinks.
    pub tombstones: u64,
    /// Dead letters acknowledged by their sinks.
    pub dead_letters: u64,
    /// How long it took.
    pub latency: Latency,
    /// From the start of the shards to the last acknowledged row.
    pub elapsed: Duration,
}

/// Runs `plan` until its inputs end, a signal comes or the time is over, and writes the report.
pub fn run(
    plan: &JobPlan,
    config: &Config,
    core_map: &CoreMap,
    request: &RunRequest,
) -> Result<()> {
    check(plan, config)?;
    // Before anything is opened: neither the report nor a sink may empty what the job needs.
    files::refuse_shared(plan, request)?;
    let signals = Signals::catch()?;
    let job = Job {
        plan,
        config,
        core_map,
        rows: request.rows,
        gaps_are_errors: false,
        discard_commits: request.discard_commits,
    };
    let outcome = match Watchers::open(plan, config, core_map) {
        Ok(mut watchers) => job.run(&mut |standing| {
            watchers.look(&standing);
            if signals.asked() {
                return Some(End::Signal);
            }
            let over = request
                .duration
                .is_some_and(|duration| standing.elapsed >= duration);
            over.then_some(End::Duration)
        }),
        Err(error) => job.not_started(error),
    };
    let report = request.report.as_ref();
    let written = report.map_or(Ok(()), |path| Report::of(plan, &outcome).write(path));
    // What went wrong with the run comes before what went wrong with its report.
    outcome.result.and(written)
}

/// Holds against `plan` and `config` what can be known without a broker or a file: operators that cannot be built, properties
/// that librdkafka or the engine refuses. All that is wrong is returned.
pub fn check(plan: &JobPlan, config: &Config) -> Result<()> {
    let queries = plan.queries.iter().map(|query| &query.plan);
    let buildable = queries.map(|plan| {
        check_buildable(plan).map_err(|error| {
            // What the planner let through has no place in the text any more; it is the text that has to change all the
            // same.
            not_available(plan, error.to_string())
        })
    });
    let sources = plan.sources.iter();
    let readable = sources.map(|source| inputs::check(source, config, &plan.name));
    let sinks = plan.sinks.iter();
    let writable = sinks.map(|sink| outputs::check(sink, config));
    let letters = plan.dead_letters.iter();
    let tellable = letters.map(|spec| outputs::check_letters(spec, config));
    Error::all(
        buildable
            .chain(readable)
            .chain(writable)
            .chain(tellable)
            .filter_map(Result::err),
    )
}

/// Everything a run needs.
pub struct Job<'j> {
    /// What is computed.
    pub plan: &'j JobPlan,
    /// How it was configured.
    pub config: &'j Config,
    /// Where it runs.
    pub core_map: &'j CoreMap,
    /// How rows on standard output are written.
    pub rows: RowFormat,
    /// Whether a missing offset is an error, for a broker that may drop records silently.
    pub gaps_are_errors: bool,
    /// Whether streams start over, whatever their groups have committed.
    pub discard_commits: bool,
}

impl Job<'_> {
    /// Runs until the input ends or `watch`, which is called in every round, says why to stop. What it says of a run that stops
    /// already changes nothing.
    pub fn run(&self, watch: &mut dyn FnMut(Standing<'_>) -> Option<End>) -> Outcome {
        let kept = self.stand_aside();
        match kept.and_then(|kept| Ok((self.start()?, kept))) {
            Ok((running, _kept)) => running.watch(watch),
            Err(error) => self.not_started(error),
        }
    }

    /// What a run leaves that could not begin.
    fn not_started(&self, error: Error) -> Outcome {
        Outcome {
            end: End::Error,
            result: Err(error),
            shards: Vec::new(),
            rows_out: 0,
            rows_out_by_query: vec![0; self.plan.queries.len()],
            tombstones: 0,
            dead_letters: 0,
            latency: Latency::default(),
            elapsed: Duration::ZERO,
        }
    }

    /// Lets this thread, and those that it starts, run on the cores that are kept for them.
    fn stand_aside(&self) -> Result<Option<Confined>> {
        if self.core_map.foreign() {
            return Err(start_error(&StartError::ForeignMachine));
        }
        stand_on(&self.core_map.control_cpus())
    }

    /// Opens sources and sinks, then starts the shards: what is impossible is found out in that order.
    fn start(&self) -> Result<Running> {
        let Job {
            plan,
            config,
            core_map,
            ..
        } = *self;
        let shards = core_map.shards();
        check(plan, config)?;
        let (doorbells, mut helpers) =
            open_doorbells(shards, inputs::helpers(plan.sources.iter()))?;
        let restarts = restart::ask(plan, config, self.discard_commits)?;
        let rebuilds = restarts
            .iter()
            .any(|restart| restart.resumed.distance() > 0);
        let mut sources: Vec<_> = (0..shards).map(|_| Vec::new()).collect();
        for (index, source) in plan.sources.iter().enumerate() {
            let restart = restarts.iter().find(|restart| restart.source == index);
            if let Some(notice) = restart.and_then(|restart| restart.notice(&source.stream.name)) {
                tell(&notice);
            }
            let reading = inputs::Reading {
                gaps_are_errors: self.gaps_are_errors,
                restart,
                rebuilds,
            };
            let opened = inputs::open(
                source,
                config,
                &plan.name,
                core_map,
                &doorbells,
                &mut helpers,
                reading,
            )?;
            for (index, mut source) in opened.into_iter().enumerate() {
                if let Some(source) = &mut source {
                    source.ring_by(doorbells.ringer(ShardId::from_index(index)));
                }
                sources[index].push(source);
            }
        }
        let mut sinks = Vec::with_capacity(plan.sinks.len());
        for (index, sink) in plan.sinks.iter().enumerate() {
            // Rows that were written before stay where a query that writes goes on; else the output is made anew.
            let goes_on =
                |restart: &Restart| restart.resumed.found && plan.writes(restart.source, index);
            let continues = restarts.iter().any(goes_on);
            let mut sink = outputs::open(sink, config, self.rows, plan.is_feed(index), continues)?;
            sink.ring_by(doorbells.ringer_of_job());
            sinks.push(sink);
        }
        let limits: Vec<Option<RecordLimit>> = sinks.iter().map(|sink| sink.row_limit()).collect();
        let mut dead_letters = Vec::with_capacity(plan.dead_letters.len());
        for spec in &plan.dead_letters {
            let (mut sink, target) = outputs::open_letters(spec, config)?;
            sink.ring_by(doorbells.ringer_of_job());
            sinks.push(sink);
            dead_letters.push(target);
        }
        let lanes = self.lanes(&doorbells);
        let epochs = EpochHandle::new(&doorbells);
        let restart_of = |query: usize| {
            let reads = |restart: &&Restart| plan.queries[query].reads(restart.source);
            restarts.iter().find(reads).map(|restart| RestartAt {
                done: restart.resumed.done,
                rebuilds,
            })
        };
        let mut exits = Vec::new();
        let mut seats = Vec::new();
        for ((index, sources), lanes) in sources.into_iter().enumerate().zip(lanes) {
            let (exit, inbox) = exit_lane(&doorbells, ShardId::from_index(index), EXIT_LANE_BLOCKS);
            exits.push(inbox);
            let queries = plan.queries.iter().zip(lanes).enumerate();
            let queries: Vec<QueryParts> = queries
                .map(|(index, (query, lanes))| QueryParts {
                    lanes,
                    restart: restart_of(index),
                    encoder: match query.target {
                        Target::Sink(sink) => {
                            let limit = limits[sink].clone();
                            Some(outputs::encoder(&query.plan, self.rows, limit))
                        }
                        Target::Link(_) => None,
                    },
                })
                .collect();
            let dead_letters = dead_letters.clone();
            let plan = plan.clone();
            let budget_ns = config.shards.turn_budget_us * 1_000;
            let batch = BatchSize::new(config.batch.min, config.batch.max, budget_ns);
            let epochs = epochs.clone();
            seats.push(move |placement: &Placement, node: &NodeMemory| {
                assert_eq!(
                    placement.shard.index(),
                    index,
                    "a seat belongs to its shard"
                );
                let sources = sources.into_iter();
                let parts = ShardParts {
                    shard: placement.shard,
                    shards,
                    sources: sources
                        .map(|source| source.map(|source| source as _))
                        .collect(),
                    batch,
                    queries,
                    dead_letters,
                    exit,
                    epochs,
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
        let targets = plan.queries.iter().map(|query| match query.target {
            Target::Sink(sink) => Some(sink),
            Target::Link(_) => None,
        });
        Ok(Running {
            runtime,
            doorbell,
            stop,
            exits,
            sinks,
            commits: Commits::new(
                restarts,
                shards,
                plan.queries.len(),
                epochs,
                Duration::from_millis(config.commit_interval_ms),
                rebuilds,
            ),
            targets: targets.collect(),
            letters_from: plan.sinks.len(),
            started: Instant::now(),
            records_in: 0,
            watermarks: vec![Watermark::END; shards],
            counts: vec![Counts::default(); shards],
            totals: Totals {
                written: 0,
                acknowledged: vec![0; plan.queries.len()],
                tombstones: vec![0; plan.queries.len()],
                dead_letters: 0,
                ledger: Ledger::default(),
                latency: Latency::default(),
            },
            late_watch: LateWatch::of(plan),
        })
    }

    /// For each shard and query the lanes of its exchange, where it has one: an edge a query.
    fn lanes(&self, doorbells: &Doorbells) -> Vec<Vec<Option<Lanes>>> {
        let shards = self.core_map.shards();
        let queries = &self.plan.queries;
        let exchanges = |query: &JobQuery| query.plan.exchange.needs_lanes(shards);
        let edges = queries.iter().filter(|query| exchanges(query)).count();
        let endpoints = mesh::<Block>(doorbells, edges, self.config.shards.lane_blocks);
        let of_shard = |endpoint: Endpoint<Block>| {
            let mut ends = endpoint.outboxes.into_iter().zip(endpoint.inboxes);
            let mut lanes = |query: &JobQuery| {
                exchanges(query).then(|| {
                    let (outbox, inbox) = ends.next().expect("an edge for each exchange");
                    Lanes { outbox, inbox }
                })
            };
            queries.iter().map(&mut lanes).collect()
        };
        endpoints.into_iter().map(of_shard).collect()
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

/// Doorbells for so many shards, the thread that starts them, and so many helper threads of each shard, by shard.
pub(crate) fn open_doorbells(
    shards: usize,
    helpers: usize,
) -> Result<(Doorbells, Vec<Vec<HelperSeat>>)> {
    Doorbells::open_beside(shards, helpers).map_err(|cause| {
        Error::Config(format!(
            "{} descriptors are needed and cannot be had: {cause}; raise `ulimit -n`",
            shards * (1 + helpers) + 1
        ))
    })
}

/// Why the shards were not started, as the process says it.
pub(crate) fn start_error(error: &StartError) -> Error {
    match error {
        StartError::Panicked(failure) => Error::Runtime(failure_text(failure)),
        forbidden if forbidden.is_permission() => Error::Permission(forbidden.to_string()),
        other => Error::Config(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Regression: it was told as a wrong configuration, with 78.
    #[test]
    fn a_panic_while_a_shard_is_built_is_a_programmers_error() {
        let error = start_error(&StartError::Panicked(ShardFailure {
            shard: ShardId::from_index(1),
            message: "checked before the shards were started".to_owned(),
        }));
        assert_eq!(error.exit_code(), exit::INTERNAL);
        let says =
            "shard 1 panicked and every shard was stopped: checked before the shards were started";
        assert_eq!(error.to_string(), says);
    }
}
