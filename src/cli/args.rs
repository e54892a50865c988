//! What was typed, and nothing about what it means beyond its shape.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args as Arguments, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::bench::kafka::Part;
use crate::bench::{Input, Scenario};
use crate::config::limits;
use crate::config::options::Tier;

/// Streaming SQL for Kafka on a thread-per-core runtime.
#[derive(Debug, Parser)]
#[command(name = "velo", version, about, max_term_width = 100)]
pub struct Args {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the query until its input ends, a signal comes or the duration is over
    Run(RunArgs),
    /// Parse, plan and validate without touching a broker
    Check(CheckArgs),
    /// Show the plan, the exchange and why, and what is pushed into the source
    Explain(ExplainArgs),
    /// Show the core map that the configuration gives on this machine
    Topology(TopologyArgs),
    /// Measure, through the shipped pipeline and beside a plain loop
    Bench(BenchArgs),
    /// Check this host, with the command that mends what is wrong
    Doctor(DoctorArgs),
    /// See real flights stream through an in-process broker and a windowed query
    Demo(DemoArgs),
    /// Show what is configured
    Config(ConfigCommandArgs),
    /// Print a script that completes the commands in a shell
    Completions(CompletionsArgs),
}

/// `velo run`.
#[derive(Debug, Arguments)]
pub struct RunArgs {
    #[command(flatten)]
    pub sql: SqlArgs,
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Stop after this time, as a signal would: 500ms, 30s, 5m, 1h
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,
    /// Write a report of the run to this file, as JSON
    #[arg(long, value_name = "PATH")]
    pub report: Option<PathBuf>,
    /// Start over at the oldest records where offsets were committed, such as after a query was changed; rows repeat
    #[arg(long)]
    pub discard_commits: bool,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `velo check`.
#[derive(Debug, Arguments)]
pub struct CheckArgs {
    #[command(flatten)]
    pub sql: SqlArgs,
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// `velo explain`.
#[derive(Debug, Arguments)]
pub struct ExplainArgs {
    #[command(flatten)]
    pub sql: SqlArgs,
    #[command(flatten)]
    pub config: ConfigArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `velo topology`.
#[derive(Debug, Arguments)]
pub struct TopologyArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Print a [shards] section that names the cpus of this core map
    #[arg(long, conflicts_with = "format")]
    pub suggest: bool,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `velo doctor`.
#[derive(Debug, Arguments)]
pub struct DoctorArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `velo bench`.
#[derive(Debug, Arguments)]
pub struct BenchArgs {
    /// What is measured.
    #[command(subcommand)]
    pub bench: BenchCommand,
}

/// What can be measured.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// A query over generated orders in memory, beside a hand-written loop over the same bytes
    Scenario(ScenarioArgs),
    /// The runtime without a query: a turn, a block over a lane, a wake of a parked shard
    Runtime(RuntimeArgs),
    /// The consumer tiers on a real broker: records/s, CPU, memory and latencies
    Kafka(KafkaArgs),
    /// One process of `bench kafka`, which starts it
    #[command(hide = true)]
    KafkaPart(KafkaPartArgs),
}

/// `velo bench kafka`.
#[derive(Debug, Arguments)]
pub struct KafkaArgs {
    /// Which tiers
    #[arg(
        long,
        value_name = "TIER",
        value_delimiter = ',',
        default_value = "standard,buffered,dedicated"
    )]
    pub tier: Vec<TierName>,
    /// By which query: see bench scenario --explain. `count` does next to nothing with a record
    #[arg(long, value_name = "SCENARIO", default_value = "count")]
    pub scenario: ScenarioName,
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Records of a run
    #[arg(long, value_name = "N", default_value_t = limits::BENCH_KAFKA_RECORDS_DEFAULT, value_parser = bench_records)]
    pub records: u64,
    /// Runs of each tier, in turn; the one that took the least CPU counts
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = repeats)]
    pub repeat: usize,
    /// Records a second of the feed by which latencies are measured
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(limits::DATAGEN_RATE))]
    pub rate: u64,
    /// How long that feed lasts, seconds; 0 for no latencies
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(limits::BENCH_SECONDS))]
    pub seconds: u64,
    /// Keep the lines below this folder, by date and cores
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `velo bench kafka-part`.
#[derive(Debug, Arguments)]
pub struct KafkaPartArgs {
    /// What is measured
    pub part: PartName,
    /// Of which tier
    #[arg(long)]
    pub tier: TierName,
    /// By which query
    #[arg(long)]
    pub scenario: ScenarioName,
    /// The topic
    #[arg(long)]
    pub topic: String,
    /// Where the read ends, as the option end takes it
    #[arg(long)]
    pub end: String,
    /// How many records there are
    #[arg(long)]
    pub records: u64,
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// The consumer tiers as they are typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TierName {
    /// A call for each record
    Standard,
    /// A call for each batch
    Buffered,
    /// A thread of its own takes batches
    Dedicated,
}

impl From<TierName> for Tier {
    fn from(name: TierName) -> Tier {
        match name {
            TierName::Standard => Tier::Standard,
            TierName::Buffered => Tier::Buffered,
            TierName::Dedicated => Tier::Dedicated,
        }
    }
}

/// The parts of `velo bench kafka`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PartName {
    /// The query over a filled topic
    Read,
    /// Taking records alone
    Client,
    /// The query while the topic is fed
    Live,
}

impl From<PartName> for Part {
    fn from(name: PartName) -> Part {
        match name {
            PartName::Read => Part::Read,
            PartName::Client => Part::Client,
            PartName::Live => Part::Live,
        }
    }
}

/// `velo bench runtime`.
#[derive(Debug, Arguments)]
pub struct RuntimeArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Messages along a chain of shards that rest at random
    #[arg(long, value_name = "N", default_value_t = limits::BENCH_MESSAGES_DEFAULT, value_parser = bench_messages)]
    pub messages: u64,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `velo bench scenario`.
#[derive(Debug, Arguments)]
pub struct ScenarioArgs {
    /// Which query: see --explain
    #[arg(value_name = "SCENARIO")]
    pub scenario: ScenarioName,
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Records of a run
    #[arg(long, value_name = "N", default_value_t = limits::BENCH_RECORDS_DEFAULT, value_parser = bench_records)]
    pub records: u64,
    /// About how many different keys; by default the scenario's own number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=limits::BENCH_GROUPS_MAX))]
    pub groups: Option<u64>,
    /// What the engine starts from
    #[arg(long, value_name = "INPUT", default_value = "json")]
    pub input: InputName,
    /// Pairs of runs, engine and loop; the median of their ratios counts
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = repeats)]
    pub repeat: usize,
    /// Keep the line below this folder, by date and cores
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Show the SQL and its plan instead
    #[arg(long)]
    pub explain: bool,
    /// Write the records here as JSON lines too, and beside them the SQL that reads them
    #[arg(long, value_name = "PATH")]
    pub dump: Option<PathBuf>,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// The scenarios as they are typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ScenarioName {
    /// Filter: half of the records pass
    #[value(name = "0")]
    Filter,
    /// A count a minute, without groups
    Count,
    /// Groups without a window, 200 of them
    #[value(name = "2")]
    BySymbol,
    /// Groups in a tumbling window, 5,000 of them
    #[value(name = "3a")]
    ByMinute,
    /// The same with a row for every record
    #[value(name = "3b")]
    ByMinuteChanges,
}

impl From<ScenarioName> for Scenario {
    fn from(name: ScenarioName) -> Scenario {
        match name {
            ScenarioName::Filter => Scenario::Filter,
            ScenarioName::Count => Scenario::Count,
            ScenarioName::BySymbol => Scenario::BySymbol,
            ScenarioName::ByMinute => Scenario::ByMinute,
            ScenarioName::ByMinuteChanges => Scenario::ByMinuteChanges,
        }
    }
}

/// What a benchmark starts from, as it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum InputName {
    /// JSON bytes
    Json,
    /// Decoded columns
    Columns,
}

impl From<InputName> for Input {
    fn from(name: InputName) -> Input {
        match name {
            InputName::Json => Input::Json,
            InputName::Columns => Input::Columns,
        }
    }
}

/// `velo demo`.
#[derive(Debug, Arguments)]
pub struct DemoArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Records a second that are due, whether or not the run keeps up
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: u32,
}

/// `velo config`.
#[derive(Debug, Arguments)]
pub struct ConfigCommandArgs {
    /// What is done with it.
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// What can be done with the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Every key with its value; secrets are not shown
    Show(ConfigShowArgs),
}

/// `velo config show`.
#[derive(Debug, Arguments)]
pub struct ConfigShowArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Say where each value was written
    #[arg(long)]
    pub origin: bool,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `velo completions`.
#[derive(Debug, Arguments)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// Where the SQL text comes from.
#[derive(Debug, Arguments)]
#[group(required = true, multiple = false)]
pub struct SqlArgs {
    /// The SQL file
    #[arg(value_name = "FILE.sql")]
    pub file: Option<PathBuf>,
    /// The SQL text itself
    #[arg(short, long, value_name = "SQL")]
    pub execute: Option<String>,
}

/// What is configured beside the SQL text.
#[derive(Debug, Arguments)]
pub struct ConfigArgs {
    /// The configuration; without it ./velostream.toml, if it is there
    #[arg(short, long, value_name = "FILE.toml")]
    pub config: Option<PathBuf>,
    /// Set one key over the configuration, such as batch.max=64; may be repeated
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
    /// How many shards to run (shards.cores)
    #[arg(long, value_name = "N")]
    pub shards: Option<usize>,
}

/// How data is written.
#[derive(Debug, Arguments)]
pub struct OutputArgs {
    /// How data is written: by default a table on a terminal, else json
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<OutputFormat>,
}

/// The formats of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For a person
    Table,
    /// One object a line
    Json,
    /// Comma-separated values
    Csv,
}

fn bench_messages(text: &str) -> Result<u64, String> {
    number_in(text, &limits::BENCH_MESSAGES)
}

fn bench_records(text: &str) -> Result<u64, String> {
    number_in(text, &limits::BENCH_RECORDS)
}

fn repeats(text: &str) -> Result<usize, String> {
    number_in(text, &limits::BENCH_REPEATS)
}

/// Reads a number within `range`.
fn number_in<N: PartialOrd + Display + FromStr>(
    text: &str,
    range: &RangeInclusive<N>,
) -> Result<N, String> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("write a number from {} to {}", range.start(), range.end()))
}

/// Reads `500ms`, `30s`, `5m`, `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    const SPELLING: &str = "write a whole number and a unit: 500ms, 30s, 5m, 1h";
    let unit_at = text
        .find(|letter: char| !letter.is_ascii_digit())
        .ok_or(SPELLING)?;
    let (count, unit) = text.split_at(unit_at);
    let count: u64 = count.parse().map_err(|_| SPELLING)?;
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(SPELLING.into()),
    };
    let most_ms = limits::DURATION_SECONDS_MAX * 1_000;
    match count.checked_mul(unit_ms) {
        Some(0) => Err("a run lasts longer than no time".into()),
        Some(ms) if ms <= most_ms => Ok(Duration::from_millis(ms)),
        _ => Err(format!(
            "a run lasts at most {} hours",
            limits::DURATION_SECONDS_MAX / 3_600
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_flags_do_not_contradict_each_other() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        for wrong in [
            "",
            "30",
            "s",
            "-1s",
            "1.5s",
            "1d",
            "1 s",
            "0s",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
