//! `velo bench kafka`: the consumer tiers on a real broker, by the same query as in production.
//!
//! ```text
//!   orders --fill--> topic (8 partitions) --part read of each tier---> rows, checksum, CPU by thread, peak memory
//!                                         \-part client of each tier-> CPU of taking a record on the shard's thread
//!   orders --feed, open loop, due times--> topic of its own --part live of each tier--> latencies
//! ```
//!
//! Laws: what is measured runs in a process of its own each time, so that memory and threads are one tier's. Tiers take
//! turns, `repeat` times, because machines are noisy, and of each tier the run counts that took the least CPU: others on the
//! machine can only add to it. A figure
//! stands for an answer: rows and checksum of each run are those of the plain loop over the same records.

mod client;
mod feed;
mod line;
mod part;

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde::Deserialize;

use super::baseline;
use super::machine::Machine;
use super::orders::{Orders, PARTITIONS, generate};
use super::scenario::{Scenario, by_the_loop};
use crate::config::options::Tier;
use crate::config::{Config, Property};
use crate::error::{Error, Result};
use crate::kafka::{Layers, OwnTopic, Settings};

pub use line::Line;
pub use part::{Part, PartRequest, measure};

use feed::{feed, fill};
use line::CpuPerMillion;
use part::{ClientFigures, LiveFigures, ReadFigures};

/// What a part says when its consumers are up.
const READY: &str = "ready";

/// Names a broker where the configuration names none.
const BOOTSTRAP_VARIABLE: &str = "KAFKA_BOOTSTRAP";

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct KafkaRequest {
    /// Which tiers, in this order.
    pub tiers: Vec<Tier>,
    /// By which query. The less it does, the more of what is measured is the tier.
    pub scenario: Scenario,
    /// Over how many records, above zero.
    pub records: u64,
    /// Runs of each tier, above zero.
    pub repeat: usize,
    /// Records a second of the feed by which latencies are measured, above zero.
    pub rate: u64,
    /// How long that feed lasts, seconds; zero for no latencies.
    pub seconds: u64,
}

/// `config` with a broker: its own, else that of the environment.
///
/// # Errors
/// `Error::Connector` when neither names one.
pub fn with_broker(config: &Config) -> Result<Config> {
    const NAME: &str = "bootstrap.servers";
    let mut config = config.clone();
    if config
        .kafka
        .every
        .iter()
        .any(|property| property.name == NAME)
    {
        return Ok(config);
    }
    match std::env::var(BOOTSTRAP_VARIABLE) {
        Ok(servers) if !servers.trim().is_empty() => {
            config.kafka.every.push(Property::built_in(NAME, &servers));
            Ok(config)
        }
        _ => Err(Error::Connector(format!(
            "velo bench kafka measures on a real broker, and none is named: --set 'kafka.{NAME}=HOST:PORT', \"{NAME}\" under \
             [kafka], or {BOOTSTRAP_VARIABLE}; scripts/kafka up starts one"
        ))),
    }
}

/// Measures, a line a tier. `arguments` configure the processes that are started as this one was configured; `tell` says to a
/// person what is under way.
///
/// # Errors
/// `Error::Connector` when the broker is not there; `Error::Failed` when a run's rows are not the plain loop's.
pub fn run(
    config: &Config,
    shards: usize,
    request: &KafkaRequest,
    arguments: &[OsString],
    tell: &mut dyn FnMut(&str),
) -> Result<Vec<Line>> {
    assert!(
        request.records > 0 && request.repeat > 0 && !request.tiers.is_empty(),
        "something is to be measured"
    );
    let config = with_broker(config)?;
    let layers = Layers {
        every: &config.kafka.every,
        kind: &config.kafka.producer,
        stream: &[],
    };
    let settings = Settings::producer(&layers)?;
    let name = |what: &str| format!("velo-bench-{}-{what}", std::process::id());
    let topic = OwnTopic::create(&settings, &name("orders"), PARTITIONS)?;
    let keys = request.scenario.keys(None);
    tell(&format!(
        "writing {} records to topic {}",
        request.records,
        topic.name()
    ));
    let expected = {
        let orders = generate(request.records, keys);
        fill(&settings, topic.name(), &orders)?;
        baseline::run(
            request.scenario.baseline(),
            &by_the_loop(&orders.input),
            &orders.rounds,
        )
    };
    let mut measured: Vec<Measured> = request.tiers.iter().map(|_| Measured::default()).collect();
    for number in 1..=request.repeat {
        for (&tier, measured) in request.tiers.iter().zip(&mut measured) {
            let part = |part| PartRequest {
                part,
                tier,
                scenario: request.scenario,
                topic: topic.name().to_owned(),
                end: "latest".into(),
                records: request.records,
            };
            let read: ReadFigures = PartProcess::start(&part(Part::Read), arguments)?.result()?;
            if (read.rows_out, read.checksum.as_str())
                != (
                    expected.count,
                    format!("{:016x}", expected.checksum).as_str(),
                )
            {
                return Err(Error::Failed(format!(
                    "tier {}: the rows are not those of the plain loop: {} rows with checksum {}, and {} with {:016x}",
                    tier.name(),
                    read.rows_out,
                    read.checksum,
                    expected.count,
                    expected.checksum
                )));
            }
            let client: ClientFigures =
                PartProcess::start(&part(Part::Client), arguments)?.result()?;
            tell(&format!(
                "{number} of {}, {}: {:.2} million records a second, {:.3} CPU seconds a million, {:.1} ns to take a record",
                request.repeat,
                tier.name(),
                read.records_per_s() / 1e6,
                read.cpu_s(),
                client.ns_per_record
            ));
            measured.reads.push(read);
            measured.clients.push(client);
        }
    }
    drop(topic);
    if request.seconds > 0 {
        let records = request.rate * request.seconds;
        let orders = generate(records, keys);
        for (&tier, measured) in request.tiers.iter().zip(&mut measured) {
            tell(&format!(
                "{}: {} records a second for {} s",
                tier.name(),
                request.rate,
                request.seconds
            ));
            let topic = OwnTopic::create(&settings, &name(tier.name()), PARTITIONS)?;
            let live = PartRequest {
                part: Part::Live,
                tier,
                scenario: request.scenario,
                topic: topic.name().to_owned(),
                end: every_record(&orders),
                records,
            };
            let mut process = PartProcess::start(&live, arguments)?;
            process.wait_until_ready()?;
            feed(&settings, topic.name(), &orders, request.rate)?;
            let live: LiveFigures = process.result()?;
            measured.live = Some(live);
        }
    }
    let machine = Machine::read();
    let lines = request.tiers.iter().zip(measured);
    Ok(lines
        .map(|(&tier, measured)| measured.line(tier, shards, request, machine.clone()))
        .collect())
}

/// The end of a read of all of `orders`, as the option `end` takes it.
fn every_record(orders: &Orders) -> String {
    let partitions = orders.input.partitions.iter().enumerate();
    let counts: Vec<String> = partitions
        .map(|(number, partition)| format!("{number}={}", partition.len()))
        .collect();
    format!("offsets:{}", counts.join(","))
}

/// All runs of one tier.
#[derive(Default)]
struct Measured {
    reads: Vec<ReadFigures>,
    clients: Vec<ClientFigures>,
    live: Option<LiveFigures>,
}

impl Measured {
    fn line(mut self, tier: Tier, shards: usize, request: &KafkaRequest, machine: Machine) -> Line {
        self.reads
            .sort_by(|one, other| one.cpu_s().total_cmp(&other.cpu_s()));
        let read = &self.reads[0];
        let live = self.live.as_ref();
        Line {
            schema: 1,
            bench: "kafka",
            tier: tier.name(),
            scenario: request.scenario.name(),
            partitions: PARTITIONS,
            shards,
            records: read.records,
            elapsed_s: read.elapsed_s,
            records_per_s: read.records_per_s(),
            cpu_s_per_million: CpuPerMillion {
                shard: read.shard_cpu_s / read.millions(),
                client: read.client_cpu_s / read.millions(),
                total: read.cpu_s(),
            },
            client_ns_per_record: least(self.clients.iter().map(|run| run.ns_per_record)),
            client_cpu_s_per_million: least(self.clients.iter().map(|run| run.total_cpu_s)),
            peak_rss_bytes: read.peak_rss_bytes,
            latency_rate: live.map(|_| request.rate),
            latency_us: live.map(|live| live.latency_us),
            rows_out: read.rows_out,
            checksum: read.checksum.clone(),
            repeats: self.reads.len(),
            machine,
        }
    }
}

fn least(figures: impl Iterator<Item = f64>) -> f64 {
    figures.fold(f64::INFINITY, f64::min)
}

/// A process that measures one part.
struct PartProcess {
    child: Child,
    lines: BufReader<ChildStdout>,
    what: String,
}

impl PartProcess {
    fn start(request: &PartRequest, arguments: &[OsString]) -> Result<PartProcess> {
        let what = format!("{} of tier {}", request.part.name(), request.tier.name());
        let failed =
            |cause: std::io::Error| Error::Failed(format!("{what} could not be started: {cause}"));
        let binary = std::env::current_exe().map_err(failed)?;
        let mut child = Command::new(binary)
            .args(["bench", "kafka-part", request.part.name()])
            .args(["--tier", request.tier.name()])
            .args(["--scenario", request.scenario.name()])
            .args(["--topic", &request.topic])
            .args(["--end", &request.end])
            .args(["--records", &request.records.to_string()])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let lines = child.stdout.take().expect("it was asked for");
        Ok(PartProcess {
            child,
            lines: BufReader::new(lines),
            what,
        })
    }

    /// Waits until it says that it is ready, or ends.
    fn wait_until_ready(&mut self) -> Result<()> {
        match self.line()?.as_deref() {
            Some(READY) => Ok(()),
            _ => Err(self.end()),
        }
    }

    /// What it has measured.
    fn result<F: for<'de> Deserialize<'de>>(mut self) -> Result<F> {
        let line = self.line()?;
        let figures = line.and_then(|line| serde_json::from_str(&line).ok());
        figures.ok_or_else(|| self.end())
    }

    fn line(&mut self) -> Result<Option<String>> {
        let mut line = String::new();
        let read = self.lines.read_line(&mut line).map_err(|cause| {
            Error::Failed(format!("{} cannot be listened to: {cause}", self.what))
        })?;
        Ok((read > 0).then(|| line.trim_end().to_owned()))
    }

    /// It said nothing that it was to say.
    fn end(&mut self) -> Error {
        let how = self
            .child
            .wait()
            .map_or_else(|cause| cause.to_string(), |status| status.to_string());
        Error::Failed(format!("{} ended without figures: {how}", self.what))
    }
}

impl Drop for PartProcess {
    fn drop(&mut self) {
        // It has ended by itself unless this process fails; either may come first.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
