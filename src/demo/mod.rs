//! The demo: real flights through an in-process broker and a windowed query on pinned shards, and back.
//!
//! ```text
//!   flights (in the binary) --deal--> feed, open loop --> topic flights --> the job, as in production
//!      |                               ^ records taken so far                    |
//!      |                               +-----------------------------------------+--> topic busy_hours
//!      +--> recompute: a plain map ---------------> comparison, row by row <--- read back <---+
//! ```
//!
//! Laws:
//! 1. The query is SQL text, planned and run as `velo run` plans and runs a file; only the broker's address is put in, and
//!    a missing offset is an error, because this broker drops what is not read in time.
//! 2. Nothing is called equal that was not compared: every row, by code that the engine does not share, each exactly once.
//! 3. Whichever thread fails, everything ends, with the exit code of the cause.
//!
//! It measures its own latency and nothing else: the broker and the feed share the shards' processors.

mod broker;
mod comparison;
mod feed;
mod flights;
mod progress;
mod query;
mod read_back;
mod recompute;
mod show;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use indicatif::HumanCount;
use velostream_shards::{CoreMap, SystemClock};

use self::broker::Broker;
use self::comparison::{Comparison, Ending};
use self::feed::{Fed, Feed, FeedRecord};
use self::progress::Progress;
use self::query::{INPUT, OUTPUT};
use self::read_back::ReadBack;
use self::recompute::Recomputation;
use self::show::Ended;
use crate::config::{Config, KafkaConfig, Property};
use crate::error::{Error, Result};
use crate::job::report::{End, Report};
use crate::job::{Going, Job, Outcome, RowFormat, Signals, Standing};
use crate::kafka::{Layers, Settings};
use crate::plan::JobPlan;
use crate::sql::{self, plan_script};

/// Partitions of either topic.
const PARTITIONS: i32 = 32;

/// What the demo was asked to do.
#[derive(Clone, Copy, Debug)]
pub struct DemoRequest {
    /// Records a second that are due, above zero.
    pub rate: u32,
}

/// Runs it. `print` writes text to standard output. `Error::Failed` if a row was not equal.
pub fn run(
    config: &Config,
    core_map: &CoreMap,
    request: &DemoRequest,
    print: &mut dyn FnMut(&str) -> Result<()>,
) -> Result<()> {
    let signals = Signals::catch()?;
    let flights = flights::read();
    let (records, counts) = flights::deal(&flights, PARTITIONS);
    let recomputation = Recomputation::of(&flights);
    drop(flights);
    let (records_all, rows_all) = (records.len() as u64, recomputation.rows());

    let text = query::text(&counts);
    let plan = planned(&text, config, core_map.shards())?;
    print(&text)?;
    eprintln!(
        "velo: {} flights at {} records/s take about {} s; {} rows are to come",
        HumanCount(records_all),
        HumanCount(request.rate.into()),
        records_all.div_ceil(request.rate.into()),
        HumanCount(rows_all),
    );

    let broker = Broker::start(&[INPUT, OUTPUT], PARTITIONS)?;
    let config = Config {
        kafka: kafka_of(&broker),
        ..config.clone()
    };
    let of_kind = |kind| Layers {
        every: &config.kafka.every,
        kind,
        ..Layers::default()
    };
    let reading = Settings::consumer(&of_kind(&config.kafka.consumer), "velo-demo-read-back")?;
    let writing = Settings::producer(&of_kind(&config.kafka.producer))?;
    let read_back = ReadBack::open(&reading, OUTPUT)?;
    let mut beside = Beside {
        comparison: Comparison::start(read_back, recomputation)?,
        feeding: Feeding::Waiting {
            settings: writing,
            records,
            rate: request.rate,
        },
        taken: Arc::new(AtomicU64::new(0)),
    };

    let job = Job {
        plan: &plan,
        config: &config,
        core_map,
        rows: RowFormat::Json,
        gaps_are_errors: true,
        discard_commits: false,
    };
    let mut progress = Progress::new(records_all);
    let mut failed = None;
    let outcome = job.run(&mut |standing| {
        if standing.going != Going::On {
            return None;
        }
        if signals.asked() {
            return Some(End::Signal);
        }
        if let Err(error) = beside.look(standing) {
            failed = Some(error);
            return Some(End::Error);
        }
        progress.show(
            standing.elapsed,
            standing.records_in,
            beside.comparison.rows(),
        );
        None
    });
    drop(progress);
    ended(&plan, outcome, failed, beside, print)
}

/// What there is to say when the job has ended.
fn ended(
    plan: &JobPlan,
    mut outcome: Outcome,
    failed: Option<Error>,
    beside: Beside,
    print: &mut dyn FnMut(&str) -> Result<()>,
) -> Result<()> {
    let result = std::mem::replace(&mut outcome.result, Ok(()));
    let ending = match (&result, &failed, outcome.end) {
        (Ok(()), None, End::Input) => Ending::Whole,
        (Ok(()), None, _) => Ending::Early,
        _ => Ending::Failed,
    };
    let fed = beside.feeding.end();
    let compared = beside.comparison.end(ending);
    // In this order: a shard's panic is the cause of whatever else went wrong.
    result?;
    let compared = compared?;
    failed.map_or(Ok(()), Err)?;
    let fed = fed?;
    if compared.rows != outcome.rows_out {
        return Err(Error::Failed(format!(
            "{} rows were acknowledged, but the topic holds {}",
            outcome.rows_out, compared.rows
        )));
    }
    let report = Report::of(plan, &outcome);
    if ending == Ending::Whole && report.records_in != fed.records {
        return Err(Error::Failed(format!(
            "{} records were fed, but the query took {}",
            fed.records, report.records_in
        )));
    }
    let page = Ended {
        ending,
        report: &report,
        latency: &outcome.latency,
        fed,
        compared: &compared,
    };
    print(&page.page())?;
    match compared.differences.count {
        0 => Ok(()),
        count => Err(Error::Failed(format!(
            "the rows are not those of the recomputation: {count} differences"
        ))),
    }
}

/// The plan of `text`, as `velo run` makes it.
fn planned(text: &str, config: &Config, shards: usize) -> Result<JobPlan> {
    let job_name = config.job_name.clone().or_else(|| Some("demo".into()));
    let settings = sql::Settings { shards, job_name };
    Ok(plan_script("demo.sql", text, &settings)?.job)
}

/// `[kafka]` for the demo's broker. What was configured is for another, and may hold what this one refuses.
fn kafka_of(broker: &Broker) -> KafkaConfig {
    let property = |name: &str, value: &str| vec![Property::built_in(name, value)];
    KafkaConfig {
        every: property("bootstrap.servers", &broker.bootstrap()),
        // A real broker answers when there is something to read; this one, once it had nothing, only after this time.
        consumer: property("fetch.wait.max.ms", "2"),
        ..KafkaConfig::default()
    }
}

/// What runs beside the job, on ordinary threads.
struct Beside {
    comparison: Comparison,
    feeding: Feeding,
    /// Records that the job has taken, for the feed.
    taken: Arc<AtomicU64>,
}

/// Where the feed stands.
enum Feeding {
    /// For the shards to be up.
    Waiting {
        settings: Settings,
        records: Vec<FeedRecord>,
        rate: u32,
    },
    /// It feeds.
    Running(Feed),
    /// It has ended.
    Ended(Fed),
}

impl Beside {
    /// Starts the feed when the shards are up, tells it how far they are, and sees whether anything has failed.
    fn look(&mut self, standing: Standing<'_>) -> Result<()> {
        self.taken.store(standing.records_in, Ordering::Relaxed);
        self.feeding = match std::mem::replace(&mut self.feeding, Feeding::Ended(Fed::NOTHING)) {
            Feeding::Waiting {
                settings,
                records,
                rate,
            } => {
                let taken = Arc::clone(&self.taken);
                let taken = move || taken.load(Ordering::Relaxed);
                let feed = Feed::start(&settings, INPUT, records, rate, taken, wall_us)?;
                Feeding::Running(feed)
            }
            Feeding::Running(feed) if feed.is_done() => Feeding::Ended(feed.join()?),
            other => other,
        };
        if self.comparison.is_done() {
            // It ends by itself only when it fails; the cause is told when it is joined.
            return Err(Error::Failed("the comparison ended early".into()));
        }
        Ok(())
    }
}

impl Feeding {
    /// Ends the feed, if it has not ended.
    fn end(self) -> Result<Fed> {
        match self {
            Feeding::Waiting { .. } => Ok(Fed::NOTHING),
            Feeding::Running(feed) => {
                feed.stop();
                feed.join()
            }
            Feeding::Ended(fed) => Ok(fed),
        }
    }
}

/// What a thread of the demo has to say. Its panic is an internal error, as that of a shard is.
fn joined<T>(thread: JoinHandle<Result<T>>, name: &str) -> Result<T> {
    thread.join().unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        Err(Error::Runtime(format!(
            "the demo's {name} panicked: {text}"
        )))
    })
}

fn wall_us() -> i64 {
    SystemClock.wall_us()
}
