//! What it costs a shard's thread to take records, where it does nothing with them.
//!
//! ```text
//!   topic --> Consumer of the tier --take--> a shard that looks at each record's place and length and gives it back
//! ```
//!
//! Law: the CPU time between the call for a batch and the end of giving it back is counted, on the shard's own thread and by
//! its own clock, of every batch that held something. The shard waits until a full batch is there, as one finds that has more
//! to do, so that it is not the broker's speed which decides how many records a call brings; a tier whose records wait in
//! batches already is taken from as they come.

use std::time::Duration;

use velostream_shards::pin::confine_current_thread;
use velostream_shards::{
    Context, CoreMap, Progress, Runtime, RuntimeOptions, Shard, ShardId, StopHandle, SystemClock,
    thread_cpu_ns,
};

use super::part::PartRequest;
use crate::config::Config;
use crate::config::options::Tier;
use crate::error::{Error, Result};
use crate::job::{open_doorbells, start_error};
use crate::kafka::{Consumer, Event, Fetching, Layers, Position, Settings, inspect};

/// How long a shard waits for a full batch before it looks again.
const WAIT: Duration = Duration::from_micros(500);

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// CPU time on a shard's thread to take a record of the topic and to give it back, nanoseconds. The first shard of the core
/// map takes all of them.
pub(super) fn ns_per_record(
    config: &Config,
    core_map: &CoreMap,
    request: &PartRequest,
) -> Result<f64> {
    let layers = Layers {
        every: &config.kafka.every,
        kind: &config.kafka.consumer,
        stream: &[],
    };
    let settings = Settings::consumer(&layers, "velo-bench")?;
    let helpers = usize::from(request.tier == Tier::Dedicated);
    let (doorbells, mut seats) = open_doorbells(core_map.shards(), helpers)?;
    let fetching = match request.tier {
        Tier::Standard => Fetching::Standard,
        Tier::Buffered => Fetching::Buffered,
        Tier::Dedicated => Fetching::Dedicated(seats[0].pop().expect("a seat was asked for")),
    };
    let partitions: Vec<_> = inspect(&settings, &request.topic)?
        .iter()
        .map(|span| (span.partition, Position::Oldest))
        .collect();
    let cpus = core_map.client_cpus(core_map.placements()[0].node);
    let beside = (!cpus.is_empty()).then(|| confine_current_thread(&cpus));
    let beside = beside.transpose();
    let _beside_its_shard = beside.map_err(|cause| Error::Config(cause.to_string()))?;
    let mut consumer = Consumer::new(&settings, &request.topic, &partitions, fetching)?;
    consumer.ring_by(doorbells.ringer(ShardId(0)));
    let mut taker = Some(Taker {
        consumer,
        batch_max: config.batch.max,
        waits_for_full_batches: request.tier != Tier::Dedicated,
        records: request.records,
        taken: 0,
        cpu_ns: 0,
        failed: None,
        deadline_ns: SystemClock.monotonic_ns() + PATIENCE.as_nanos() as u64,
    });
    let options = RuntimeOptions {
        stop: StopHandle::new(&doorbells),
        reactor: config.shards.reactor,
        profile: config.shards.profile,
        ..RuntimeOptions::new(core_map.clone(), &doorbells)
    };
    let seats = (0..core_map.shards()).map(|_| {
        let taker = taker.take();
        move |_: &_, _: &_| Taking(taker)
    });
    let runtime = Runtime::start(options, seats.collect()).map_err(|error| start_error(&error))?;
    let ends = runtime
        .join()
        .map_err(|failure| Error::Runtime(failure.to_string()))?;
    let first = ends.into_iter().next().and_then(|end| end.summary);
    let taker = first.expect("the first shard takes");
    match taker.failed {
        Some(error) => Err(error),
        None => Ok(taker.cpu_ns as f64 / taker.taken as f64),
    }
}

/// A shard that only takes; none where there is nothing to take.
struct Taking(Option<Taker>);

struct Taker {
    consumer: Consumer,
    batch_max: usize,
    waits_for_full_batches: bool,
    /// How many there are.
    records: u64,
    taken: u64,
    cpu_ns: u64,
    failed: Option<Error>,
    deadline_ns: u64,
}

/// What is left of a taker.
struct Took {
    taken: u64,
    cpu_ns: u64,
    failed: Option<Error>,
}

impl Shard for Taking {
    type Summary = Option<Took>;

    fn turn(&mut self, cx: &mut Context) -> Progress {
        match &mut self.0 {
            Some(taker) => taker.turn(cx),
            None => Progress::Done,
        }
    }

    fn finish(self) -> Option<Took> {
        self.0.map(|taker| Took {
            taken: taker.taken,
            cpu_ns: taker.cpu_ns,
            failed: taker.failed,
        })
    }
}

impl Taker {
    fn turn(&mut self, cx: &mut Context) -> Progress {
        if self.taken == self.records || self.failed.is_some() {
            return Progress::Done;
        }
        if SystemClock.monotonic_ns() > self.deadline_ns {
            self.failed = Some(Error::Connector(format!(
                "{} of {} records came within {} s",
                self.taken,
                self.records,
                PATIENCE.as_secs()
            )));
        }
        if self.waits_for_full_batches {
            let waiting = self.consumer.waiting();
            if waiting < self.batch_max && self.taken + (waiting as u64) < self.records {
                cx.wake_at(SystemClock.monotonic_ns() + WAIT.as_nanos() as u64);
                return Progress::Idle;
            }
        }
        match self.take() {
            true => Progress::Busy,
            false => Progress::Idle,
        }
    }

    /// Whether anything was there.
    fn take(&mut self) -> bool {
        let begun_ns = thread_cpu_ns();
        let taken = self.consumer.take(self.batch_max);
        let found = !taken.is_empty();
        let mut bytes = 0;
        for event in taken.events() {
            match event {
                Event::Record(record) => {
                    self.taken += 1;
                    bytes += record.value().map_or(0, <[u8]>::len) + record.offset() as usize;
                }
                Event::End { .. } => {}
                Event::Failed { code, reason, .. } if code.ends_a_read() => {
                    self.failed = Some(Error::Connector(format!("{code} ({reason})")));
                }
                Event::Failed { .. } => {}
            }
        }
        std::hint::black_box(bytes);
        drop(taken);
        if found {
            self.cpu_ns += thread_cpu_ns() - begun_ns;
        }
        found
    }
}
