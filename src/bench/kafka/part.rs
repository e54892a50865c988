//! One part of `velo bench kafka`, measured in this process, which does nothing else.

use std::io::Write;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use velostream_shards::{CoreMap, peak_rss_bytes, process_cpu_ns, thread_cpu_ns};

use super::{READY, client, with_broker};
use crate::bench::scenario::{Scenario, planned};
use crate::config::Config;
use crate::config::options::Tier;
use crate::error::{Error, Result};
use crate::job::report::LatencyReport;
use crate::job::{Job, Outcome, RowFormat};
use crate::plan::in_memory::Checksum;
use crate::plan::{JobPlan, SinkSpec};

/// The parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The query over a filled topic.
    Read,
    /// A shard that takes the records of a filled topic and does nothing with them.
    Client,
    /// The query while the topic is fed.
    Live,
}

impl Part {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Part::Read => "read",
            Part::Client => "client",
            Part::Live => "live",
        }
    }
}

/// What one process measures.
#[derive(Clone, Debug)]
pub struct PartRequest {
    /// Which part.
    pub part: Part,
    /// Which tier.
    pub tier: Tier,
    /// By which query.
    pub scenario: Scenario,
    /// The topic.
    pub topic: String,
    /// Where the read ends, as the option `end` takes it.
    pub end: String,
    /// How many records the topic holds by then.
    pub records: u64,
}

/// Figures of `Part::Read`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ReadFigures {
    pub(super) records: u64,
    /// From the start of the shards to the last row.
    pub(super) elapsed_s: f64,
    /// CPU time of the shards' threads.
    pub(super) shard_cpu_s: f64,
    /// CPU time of all threads but the shards' and the job's: librdkafka's and the helpers'.
    pub(super) client_cpu_s: f64,
    /// CPU time of the process from the opening of the job to its end.
    pub(super) total_cpu_s: f64,
    pub(super) peak_rss_bytes: u64,
    pub(super) rows_out: u64,
    pub(super) checksum: String,
}

impl ReadFigures {
    pub(super) fn records_per_s(&self) -> f64 {
        self.records as f64 / self.elapsed_s
    }

    pub(super) fn millions(&self) -> f64 {
        self.records as f64 / 1e6
    }

    /// CPU seconds for a million records.
    pub(super) fn cpu_s(&self) -> f64 {
        self.total_cpu_s / self.millions()
    }
}

/// Figures of `Part::Client`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ClientFigures {
    /// CPU time on the shard's thread, nanoseconds.
    pub(super) ns_per_record: f64,
    /// CPU time of the whole process, seconds for a million records.
    pub(super) total_cpu_s: f64,
}

/// Figures of `Part::Live`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct LiveFigures {
    pub(super) latency_us: LatencyReport,
}

/// Measures a part. What it says on standard output is for the process that started this one.
pub fn measure(config: &Config, core_map: &CoreMap, request: &PartRequest) -> Result<()> {
    let config = with_broker(config)?;
    match request.part {
        Part::Read => say(&read(&config, core_map, request)?),
        Part::Client => say(&take(&config, core_map, request)?),
        Part::Live => say(&live(&config, core_map, request)?),
    }
}

fn say(figures: &impl Serialize) -> Result<()> {
    let json = serde_json::to_string(figures).expect("names and numbers are always JSON");
    say_line(&json)
}

fn say_line(line: &str) -> Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}")
        .and_then(|()| output.flush())
        .map_err(|cause| Error::Failed(format!("nobody listens: {cause}")))
}

fn take(config: &Config, core_map: &CoreMap, request: &PartRequest) -> Result<ClientFigures> {
    let begun = process_cpu_ns();
    let ns_per_record = client::ns_per_record(config, core_map, request)?;
    let total_cpu_s = (process_cpu_ns() - begun) as f64 / 1e9;
    Ok(ClientFigures {
        ns_per_record,
        total_cpu_s: total_cpu_s / (request.records as f64 / 1e6),
    })
}

fn read(config: &Config, core_map: &CoreMap, request: &PartRequest) -> Result<ReadFigures> {
    let (all, own) = (process_cpu_ns(), thread_cpu_ns());
    let (outcome, checksum) = run(config, core_map, request, &mut || Ok(()))?;
    let (all, own) = (process_cpu_ns() - all, thread_cpu_ns() - own);
    let shard_cpu_s: f64 = outcome.shards.iter().map(|shard| shard.figures.cpu_s).sum();
    let total_cpu_s = all as f64 / 1e9;
    Ok(ReadFigures {
        records: request.records,
        elapsed_s: outcome.elapsed.as_secs_f64(),
        shard_cpu_s,
        client_cpu_s: total_cpu_s - own as f64 / 1e9 - shard_cpu_s,
        total_cpu_s,
        peak_rss_bytes: peak_rss_bytes(),
        rows_out: outcome.rows_out,
        checksum: format!("{:016x}", checksum.sum()),
    })
}

fn live(config: &Config, core_map: &CoreMap, request: &PartRequest) -> Result<LiveFigures> {
    let (outcome, _) = run(config, core_map, request, &mut || say_line(READY))?;
    Ok(LiveFigures {
        latency_us: LatencyReport::of(&outcome.latency),
    })
}

/// Runs the query over the topic; `up` is called once, when its shards are.
fn run(
    config: &Config,
    core_map: &CoreMap,
    request: &PartRequest,
    up: &mut dyn FnMut() -> Result<()>,
) -> Result<(Outcome, Arc<Checksum>)> {
    let options = format!(
        "connector = 'kafka', format = 'json', topic = '{}', start = 'earliest', end = '{}', tier = '{}'",
        request.topic,
        request.end,
        request.tier.name()
    );
    let mut plan = planned(&request.scenario.sql_over(&options), core_map.shards())?;
    let checksum = Arc::new(Checksum::default());
    plan.sink = SinkSpec::Checksum(Arc::clone(&checksum));
    let plan = JobPlan::new("bench".into(), vec![plan]);
    let job = Job {
        plan: &plan,
        config,
        core_map,
        rows: RowFormat::Json,
        gaps_are_errors: true,
        discard_commits: false,
    };
    let mut told = None;
    let mut outcome = job.run(&mut |_| {
        told.get_or_insert_with(&mut *up);
        None
    });
    std::mem::replace(&mut outcome.result, Ok(()))?;
    told.unwrap_or(Ok(()))?;
    let records: u64 = outcome.shards.iter().map(|s| s.summary.records_in()).sum();
    match records == request.records {
        true => Ok((outcome, checksum)),
        false => Err(Error::Failed(format!(
            "{records} records were read, and topic {} holds {}",
            request.topic, request.records
        ))),
    }
}
