//! The sources of a job: which shard reads what.
//!
//! Law: every partition is read by exactly one shard, a file by one. Where a bounded read of a topic ends is decided once for
//! the whole job, before it starts.

use crate::config::Config;
use crate::config::options::{Format, KafkaSourceOptions};
use crate::error::Result;
use crate::format::csv::CsvDecoder;
use crate::format::json::JsonDecoder;
use crate::kafka::{Layers, Settings};
use crate::plan::{EventTimeColumn, SourceConnector, SourceSpec, StreamSpec};
use crate::source::Source;
use crate::source::file::FileSource;
use crate::source::kafka::{KafkaSource, Stream, deal, ranges};

use super::wall_us;

/// One source a shard; `None` for a shard with nothing to read. `gaps_are_errors` is for a broker that may drop records
/// silently.
pub(super) fn open(
    spec: &SourceSpec,
    config: &Config,
    job: &str,
    shards: usize,
    gaps_are_errors: bool,
) -> Result<Vec<Option<Box<dyn Source + Send>>>> {
    match &spec.stream.connector {
        SourceConnector::File(_) => {
            let mut sources: Vec<Option<Box<dyn Source + Send>>> = Vec::new();
            sources.push(Some(Box::new(FileSource::open(spec, wall_us)?)));
            sources.resize_with(shards, || None);
            Ok(sources)
        }
        SourceConnector::Kafka(options) => {
            open_topic(spec, options, config, job, shards, gaps_are_errors)
        }
        SourceConnector::Queries(_) => panic!("an in-memory stream is no source of the job"),
    }
}

/// Refuses what a source's properties must not be. Touches no broker.
pub(super) fn check(spec: &SourceSpec, config: &Config, job: &str) -> Result<()> {
    match &spec.stream.connector {
        SourceConnector::Kafka(options) => settings(&spec.stream, options, config, job).map(|_| ()),
        SourceConnector::File(_) | SourceConnector::Queries(_) => Ok(()),
    }
}

fn settings(
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

fn open_topic(
    spec: &SourceSpec,
    options: &KafkaSourceOptions,
    config: &Config,
    job: &str,
    shards: usize,
    gaps_are_errors: bool,
) -> Result<Vec<Option<Box<dyn Source + Send>>>> {
    let stream = &spec.stream;
    let settings = settings(stream, options, config, job)?;
    let ranges = ranges(options, &settings)?;
    let event_time = stream
        .event_time
        .as_ref()
        .and_then(|spec| match spec.column {
            EventTimeColumn::Declared(column) => Some(column),
            EventTimeColumn::Message | EventTimeColumn::Row => None,
        });
    let described = Stream {
        name: &stream.name,
        topic: &options.topic,
        event_time: stream.event_time.as_ref(),
        on_error: stream.on_error,
        gaps_are_errors,
    };
    let (columns, projection) = (&stream.columns, spec.projection.as_slice());
    deal(&ranges, shards)
        .iter()
        .map(|share| {
            if share.is_empty() {
                return Ok(None);
            }
            let unit = stream.event_time_unit;
            let source: Box<dyn Source + Send> = match options.format {
                Format::Json => {
                    let decoder = JsonDecoder::new(columns, projection, event_time, unit)?;
                    Box::new(KafkaSource::new(
                        &described, &settings, share, decoder, wall_us,
                    )?)
                }
                Format::Csv => {
                    let decoder =
                        CsvDecoder::new(columns, projection, event_time, unit, &options.csv, None)?;
                    Box::new(KafkaSource::new(
                        &described, &settings, share, decoder, wall_us,
                    )?)
                }
            };
            Ok(Some(source))
        })
        .collect()
}
