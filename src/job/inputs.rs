//! The sources of a job: which shard reads what.
//!
//! Law: every partition is read by exactly one shard, a file by one, which deals its records where the plan says
//! so. Where a bounded read of a topic ends is decided once for the whole job, before it starts. The threads of a shard's
//! client run on the node of the shard, on cores that are kept for them if there are any.

use velostream_shards::{CoreMap, Doorbells, HelperSeat};

use crate::config::Config;
use crate::config::options::{DatagenSpec, End, Format, KafkaSourceOptions, Tier};
use crate::error::Result;
use crate::format::Kernel;
use crate::format::csv::CsvDecoder;
use crate::format::json::JsonDecoder;
use crate::kafka::{Fetching, Layers, Settings};
use crate::plan::{EventTimeColumn, MemoryOptions, SourceConnector, SourceSpec, StreamSpec};
use crate::source::datagen::{self, DatagenSource};
use crate::source::dealt;
use crate::source::file::FileSource;
use crate::source::kafka::{Clocks, KafkaSource, QuietRules, Share, Stream, deal, ranges};
use crate::source::memory::MemorySource;
use crate::source::{Source, WatermarkSteps};

use super::clock::polled_us;
use super::housekeeping::stand_on;
use super::latency::monotonic_ns;
use super::restart::Restart;

/// How many helper threads the sources of a job need beside each shard.
pub(super) fn helpers<'s>(sources: impl Iterator<Item = &'s SourceSpec>) -> usize {
    sources.filter(|spec| has_helper(spec)).count()
}

fn has_helper(spec: &SourceSpec) -> bool {
    match &spec.stream.connector {
        SourceConnector::Kafka(options) => options.tier == Tier::Dedicated,
        _ => false,
    }
}

/// How the topics of a job are read.
#[derive(Clone, Copy)]
pub(super) struct Reading<'r> {
    /// Whether a missing offset is an error, for a broker that may drop records silently.
    pub(super) gaps_are_errors: bool,
    /// Where the stream goes on, if its offsets are committed.
    pub(super) restart: Option<&'r Restart>,
    /// Whether anything of the job is read again.
    pub(super) rebuilds: bool,
}

/// One source a shard; `None` for a shard with nothing to read. `helpers` are seats for helper threads, by shard.
pub(super) fn open(
    spec: &SourceSpec,
    config: &Config,
    job: &str,
    core_map: &CoreMap,
    doorbells: &Doorbells,
    helpers: &mut [Vec<HelperSeat>],
    reading: Reading<'_>,
) -> Result<Vec<Option<Box<dyn Source + Send>>>> {
    match &spec.stream.connector {
        SourceConnector::File(_) => open_file(spec, config, doorbells),
        SourceConnector::Kafka(options) => {
            let place = Place { core_map, helpers };
            open_topic(spec, options, config, job, place, reading)
        }
        SourceConnector::Memory(options) => open_memory(spec, options, config, core_map.shards()),
        SourceConnector::Datagen(datagen) => Ok(open_datagen(spec, datagen, core_map.shards())),
        SourceConnector::Queries(_) => panic!("an in-memory stream is no source of the job"),
    }
}

/// Refuses what a source's properties must not be. Touches no broker.
pub(super) fn check(spec: &SourceSpec, config: &Config, job: &str) -> Result<()> {
    match &spec.stream.connector {
        SourceConnector::Kafka(options) => settings(&spec.stream, options, config, job).map(|_| ()),
        SourceConnector::File(_)
        | SourceConnector::Datagen(_)
        | SourceConnector::Memory(_)
        | SourceConnector::Queries(_) => Ok(()),
    }
}

/// The properties of the clients that read `stream`.
pub(super) fn settings(
    stream: &StreamSpec,
    options: &KafkaSourceOptions,
    config: &Config,
    job: &str,
) -> Result<Settings> {
    let layers = Layers {
        every: &config.kafka.every,
        kind: &config.kafka.consumer,
        stream: &options.properties,
    };
    let group = options
        .group
        .clone()
        .unwrap_or_else(|| format!("velo-{job}-{}", stream.name));
    Settings::consumer(&layers, &group)
}

fn open_file(
    spec: &SourceSpec,
    config: &Config,
    doorbells: &Doorbells,
) -> Result<Vec<Option<Box<dyn Source + Send>>>> {
    let shards = doorbells.shards();
    let kernel = Kernel::detect(config.batch.simd);
    let dealing = spec.dealing.as_ref();
    if dealing.is_some_and(|dealing| dealing.deals(shards)) {
        let lane_blocks = config.shards.lane_blocks;
        let shares = dealt::open(spec, kernel, polled_us, doorbells, lane_blocks)?;
        let boxed = |share| Some(Box::new(share) as Box<dyn Source + Send>);
        return Ok(shares.into_iter().map(boxed).collect());
    }
    let mut sources: Vec<Option<Box<dyn Source + Send>>> = Vec::new();
    sources.push(Some(Box::new(FileSource::open(spec, kernel, polled_us)?)));
    sources.resize_with(shards, || None);
    Ok(sources)
}

fn open_memory(
    spec: &SourceSpec,
    options: &MemoryOptions,
    config: &Config,
    shards: usize,
) -> Result<Vec<Option<Box<dyn Source + Send>>>> {
    let stream = &spec.stream;
    let event_time = declared_event_time(stream);
    let (columns, projection) = (&stream.columns, spec.decoded());
    let partitions: Vec<usize> = (0..options.input.partitions.len()).collect();
    deal(&partitions, shards)
        .iter()
        .map(|share| {
            if share.is_empty() {
                return Ok(None);
            }
            let unit = stream.event_time_unit;
            let decoder = JsonDecoder::new(columns, projection, event_time, unit)?
                .on(Kernel::detect(config.batch.simd));
            let mut source = MemorySource::new(stream, &options.input, share, decoder, polled_us);
            if options.decoded {
                source.decode_all(config.batch.max)?;
            }
            let source: Box<dyn Source + Send> = Box::new(source);
            Ok(Some(source))
        })
        .collect()
}

fn open_datagen(
    spec: &SourceSpec,
    generated: &DatagenSpec,
    shards: usize,
) -> Vec<Option<Box<dyn Source + Send>>> {
    let partitions: Vec<usize> = (0..datagen::PARTITIONS).collect();
    let started_us = polled_us();
    deal(&partitions, shards)
        .iter()
        .map(|share| {
            if share.is_empty() {
                return None;
            }
            let source = DatagenSource::new(spec, generated, share, started_us, polled_us);
            let source: Box<dyn Source + Send> = Box::new(source);
            Some(source)
        })
        .collect()
}

/// The column that a record's event time is in, if it is in one.
fn declared_event_time(stream: &StreamSpec) -> Option<usize> {
    let event_time = stream.event_time.as_ref()?;
    match event_time.column {
        EventTimeColumn::Declared(column) => Some(column),
        EventTimeColumn::Message | EventTimeColumn::Row => None,
    }
}

/// Where the sources of a topic are to run.
struct Place<'p> {
    core_map: &'p CoreMap,
    /// Seats for helper threads, by shard.
    helpers: &'p mut [Vec<HelperSeat>],
}

/// How a source of this tier takes its records, on the shard that has these seats for helpers.
fn fetching(tier: Tier, helpers: &mut Vec<HelperSeat>) -> Fetching {
    match tier {
        Tier::Standard => Fetching::Standard,
        Tier::Buffered => Fetching::Buffered,
        Tier::Dedicated => {
            Fetching::Dedicated(helpers.pop().expect("a seat for each source with helpers"))
        }
    }
}

fn open_topic(
    spec: &SourceSpec,
    options: &KafkaSourceOptions,
    config: &Config,
    job: &str,
    place: Place<'_>,
    reading: Reading<'_>,
) -> Result<Vec<Option<Box<dyn Source + Send>>>> {
    let stream = &spec.stream;
    let Place { core_map, helpers } = place;
    let settings = settings(stream, options, config, job)?;
    let ranges = match reading.restart {
        Some(restart) => restart.resumed.ranges.clone(),
        None => ranges(options, &settings)?,
    };
    let event_time = declared_event_time(stream);
    let hidden = spec.hidden();
    let steps = WatermarkSteps::of(spec);
    let described = Stream {
        name: &stream.name,
        topic: &options.topic,
        event_time: stream.event_time.as_ref(),
        on_error: stream.on_error,
        gaps_are_errors: reading.gaps_are_errors,
        replay: reading
            .restart
            .map(|restart| restart.replay(reading.rebuilds)),
        skew_us: stream.time.skew_us,
        endless: None,
        hidden: &hidden,
        steps: steps.as_ref(),
    };
    let clocks = Clocks {
        wall_us: polled_us,
        monotonic_ns,
    };
    let rules = QuietRules {
        timeout_ns: stream.time.idle_timeout_us.unsigned_abs() * 1_000,
        advances: stream.time.idle_advances,
    };
    let (columns, projection) = (&stream.columns, spec.decoded());
    deal(&ranges, core_map.shards())
        .iter()
        .zip(core_map.placements())
        .zip(helpers)
        .map(|((share, placement), helpers)| {
            if share.is_empty() {
                return Ok(None);
            }
            let (shard, shards) = (placement.shard.index(), core_map.shards());
            let described = Stream {
                endless: (options.end == End::Never)
                    .then(|| (rules, Share::of(shard, shards, ranges.len()))),
                ..described
            };
            let _beside_its_shard = stand_on(&core_map.client_cpus(placement.node))?;
            let unit = stream.event_time_unit;
            let kernel = Kernel::detect(config.batch.simd);
            let fetching = fetching(options.tier, helpers);
            let source: Box<dyn Source + Send> = match options.format {
                Format::Json => {
                    let decoder = JsonDecoder::new(columns, projection, event_time, unit)?
                        .validating(options.json_validate)
                        .on(kernel);
                    Box::new(KafkaSource::new(
                        &described, &settings, share, decoder, fetching, clocks,
                    )?)
                }
                Format::Csv => {
                    let decoder =
                        CsvDecoder::new(columns, projection, event_time, unit, &options.csv, None)?
                            .on(kernel);
                    Box::new(KafkaSource::new(
                        &described, &settings, share, decoder, fetching, clocks,
                    )?)
                }
            };
            Ok(Some(source))
        })
        .collect()
}
