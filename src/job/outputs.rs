//! The sinks of a job and the encoders that its shards use.
//!
//! Law: a sink that cannot be opened is found out before a shard starts.

use std::sync::Arc;

use super::{RowFormat, wall_us};
use crate::config::options::{
    CsvOptions, DeadLetterTarget, FileOptions, Format, KafkaSinkOptions, KeyFormat,
};
use crate::config::{Config, Property};
use crate::error::Result;
use crate::format;
use crate::kafka::{Layers, RecordLimit, Settings};
use crate::pipeline::{LetterTarget, RowEncoder};
use crate::plan::{DeadLetterSpec, JobSink, KafkaSink as KafkaSinkSpec, Plan, SinkSpec};
use crate::sink::Sink;
use crate::sink::checksum::ChecksumSink;
use crate::sink::dead_letter::LetterForm;
use crate::sink::file::FileSink;
use crate::sink::kafka::{KafkaSink, KeyEncoder};
use crate::sink::stdout::StdoutSink;

/// How standard output writes CSV: a header, commas, NULL as the empty field.
fn plain_csv() -> CsvOptions {
    CsvOptions {
        header: true,
        delimiter: b',',
        null: String::new(),
    }
}

/// Refuses what a sink's properties must not be. Touches no broker.
pub(super) fn check(sink: &JobSink, config: &Config) -> Result<()> {
    match &sink.spec {
        SinkSpec::Kafka(kafka) => settings(&kafka.options, config).map(|_| ()),
        SinkSpec::Stdout | SinkSpec::File(_) | SinkSpec::Checksum(_) | SinkSpec::Stream(_) => {
            Ok(())
        }
    }
}

fn settings(options: &KafkaSinkOptions, config: &Config) -> Result<Settings> {
    producer(&options.properties, config)
}

fn producer(properties: &[Property], config: &Config) -> Result<Settings> {
    Settings::producer(&Layers {
        every: &config.kafka.every,
        kind: &config.kafka.producer,
        stream: properties,
    })
}

/// Refuses what the properties of a dead letter must not be. Touches no broker.
pub(super) fn check_letters(spec: &DeadLetterSpec, config: &Config) -> Result<()> {
    match &spec.target {
        DeadLetterTarget::Topic(_) => producer(&spec.properties, config).map(|_| ()),
        DeadLetterTarget::File(_) => Ok(()),
    }
}

/// Opens a dead letter of the job, and says how its letters are written.
pub(super) fn open_letters(
    spec: &DeadLetterSpec,
    config: &Config,
) -> Result<(Box<dyn Sink>, LetterTarget)> {
    let (sink, form): (Box<dyn Sink>, LetterForm) = match &spec.target {
        DeadLetterTarget::File(path) => (Box::new(FileSink::go_on(path)?), LetterForm::Lines),
        DeadLetterTarget::Topic(topic) => {
            let settings = producer(&spec.properties, config)?;
            let sink = KafkaSink::open(&settings, topic, wall_us)?;
            (Box::new(sink), LetterForm::Messages)
        }
    };
    let limit = sink.row_limit();
    Ok((sink, LetterTarget { form, limit }))
}

/// Opens a sink of the job. `rows` is how standard output is written; `is_feed` whether generated rows go to it; `continues`
/// whether the job goes on from a commit, so that what earlier runs have written stays.
pub(super) fn open(
    sink: &JobSink,
    config: &Config,
    rows: RowFormat,
    is_feed: bool,
    continues: bool,
) -> Result<Box<dyn Sink>> {
    let header = format::header(&row_format(&sink.spec, rows), &sink.columns);
    Ok(match &sink.spec {
        SinkSpec::Stdout => Box::new(StdoutSink::new(header.as_deref())?),
        SinkSpec::File(options) if continues && options.can_be_continued() => {
            Box::new(FileSink::go_on(&options.path)?)
        }
        SinkSpec::File(options) => Box::new(FileSink::create(options, header.as_deref())?),
        SinkSpec::Kafka(KafkaSinkSpec { options, .. }) => {
            let settings = settings(options, config)?;
            let sink = KafkaSink::open(&settings, &options.topic, wall_us)?;
            Box::new(match is_feed {
                true => sink.with_due_header(),
                false => sink,
            })
        }
        SinkSpec::Checksum(checksum) => Box::new(ChecksumSink::new(checksum)),
        SinkSpec::Stream(_) => panic!("an in-memory stream is no sink of the job"),
    })
}

/// An encoder for one shard's rows, for a sink that takes rows up to `limit`.
pub(super) fn encoder(plan: &Plan, rows: RowFormat, limit: Option<RecordLimit>) -> RowEncoder {
    let keys = match &plan.sink {
        SinkSpec::Kafka(kafka) if !kafka.key.is_empty() => Some(match kafka.key_format {
            KeyFormat::Raw => KeyEncoder::Raw,
            KeyFormat::Json => {
                let schema = Arc::clone(&kafka.key_columns);
                KeyEncoder::Json(format::encoder(&format::RowFormat::Json, &schema))
            }
        }),
        _ => None,
    };
    RowEncoder {
        values: format::encoder(&row_format(&plan.sink, rows), &plan.output),
        keys,
        limit,
    }
}

fn row_format(sink: &SinkSpec, stdout: RowFormat) -> format::RowFormat {
    let of = |format: Format, csv: &CsvOptions| match format {
        Format::Json => format::RowFormat::Json,
        Format::Csv => format::RowFormat::Csv(csv.clone()),
    };
    match sink {
        SinkSpec::Stdout => match stdout {
            RowFormat::Table => format::RowFormat::Table,
            RowFormat::Json => format::RowFormat::Json,
            RowFormat::Csv => format::RowFormat::Csv(plain_csv()),
        },
        SinkSpec::File(FileOptions { format, csv, .. }) => of(*format, csv),
        SinkSpec::Checksum(_) => format::RowFormat::Json,
        SinkSpec::Kafka(kafka) => of(kafka.options.format, &kafka.options.csv),
        SinkSpec::Stream(_) => panic!("rows of an in-memory stream are not encoded"),
    }
}
