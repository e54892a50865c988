//! Options of streams and queries: what may stand in WITH and SET, and what it means.
//!
//! ```text
//!   WITH (key = 'value', ..) --WrittenOption--> admit.rs, by the one table (table.rs) --> read.rs --> StreamOptions | SinkOptions
//! ```
//!
//! Law: nothing that was written is ignored. An option is used, or it is refused with what to write instead: an unknown
//! one with the nearest known one, one of later work as not available yet.

mod admit;
mod datagen;
mod duration;
mod fraction;
mod read;
mod table;

use std::fmt;
use std::path::PathBuf;

use super::{Origin, Property};
use crate::config::limits::IDLE_TIMEOUT_US_DEFAULT;
use crate::error::Span;

pub use datagen::{ColumnSpec, DatagenOptions, DatagenSpec, Generator, singles};
pub use read::{query_options, sink_options, stream_options};
pub use table::{OPTIONS, OptionSpec, Scope, ValueKind, markdown};

/// One option as it stands in the text.
#[derive(Clone, PartialEq, Eq)]
pub struct WrittenOption {
    /// Its name, unquoted.
    pub key: String,
    /// Its value, unquoted.
    pub value: String,
    /// Where `key = 'value'` stands.
    pub span: Span,
    /// The same for messages that are not about the text.
    pub origin: Origin,
}

/// Its value may be a secret.
impl fmt::Debug for WrittenOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WrittenOption {
            key, span, origin, ..
        } = self;
        write!(f, "{key} = .. ({origin}, {span:?})")
    }
}

/// What is wrong with an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionError {
    /// The option's name, as written or as missed.
    pub option: String,
    /// Where it stands; `None` when it is missing.
    pub span: Option<Span>,
    /// One sentence: what is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// What WITH says of a declared stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamOptions {
    /// Where its records come from.
    pub connector: StreamConnector,
    /// What is done with a bad record.
    pub on_error: OnError,
    /// Where bad and late records go; exactly under `on_error = 'dead_letter'`.
    pub dead_letter: Option<DeadLetterTarget>,
    /// What a bare number in a TIMESTAMP column counts.
    pub event_time_unit: TimeUnit,
    /// What it says of silence, and of times that lie ahead.
    pub time: TimeOptions,
    /// `watermark.emit`: what moves its watermarks.
    pub watermark_emit: WrittenEmit,
}

/// `watermark.emit` as it was written: what moves a watermark to the highest event time so far minus the bound. Every record
/// where nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WrittenEmit {
    /// `interval` and `hybrid`: the clock, each time it passes a multiple of this, microseconds.
    pub interval_us: Option<i64>,
    /// `punctuated` and `hybrid`: a record for which this expression is true.
    pub punctuation: Option<String>,
}

/// What WITH says of silence, and of times that lie ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeOptions {
    /// `idle_timeout`: how long nothing comes from a partition before it holds the others back no more, microseconds.
    pub idle_timeout_us: i64,
    /// `idle_advance`: whether the watermark runs on with the clock when all partitions are idle.
    pub idle_advances: bool,
    /// `max_future_skew`: how far ahead of the clock an event time may be, microseconds; `None` for as far as it likes.
    pub skew_us: Option<i64>,
    /// `watermark.max_drift`: how far an input may run ahead of the slowest, microseconds; `None` for as far as it likes.
    pub max_drift_us: Option<i64>,
}

impl Default for TimeOptions {
    /// What holds where WITH says nothing, of an input that has an end.
    fn default() -> TimeOptions {
        TimeOptions {
            idle_timeout_us: IDLE_TIMEOUT_US_DEFAULT,
            idle_advances: true,
            skew_us: None,
            max_drift_us: None,
        }
    }
}

/// Where the records of a declared stream come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamConnector {
    /// `connector = 'file'`.
    File(FileOptions),
    /// `connector = 'kafka'`.
    Kafka(KafkaSourceOptions),
    /// `connector = 'datagen'`.
    Datagen(DatagenOptions),
}

/// What WITH of a CREATE STREAM AS says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkOptions {
    /// Where the query's rows go.
    pub connector: SinkConnector,
    /// What it says of the query.
    pub query: QueryOptions,
}

/// Where the rows of a query go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkConnector {
    /// `connector = 'file'`.
    File(FileOptions),
    /// `connector = 'kafka'`.
    Kafka(KafkaSinkOptions),
}

/// What WITH and SET say of a query; `None` where neither says anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryOptions {
    /// `exchange`.
    pub exchange: Option<RequestedExchange>,
    /// `late`.
    pub late: Option<Late>,
    /// `late.warn`, millionths.
    pub late_warn: Option<u32>,
    /// `job.name`.
    pub job_name: Option<String>,
}

impl QueryOptions {
    /// These options, and `before` (SET) where these (WITH) say nothing.
    pub fn or(self, before: QueryOptions) -> QueryOptions {
        QueryOptions {
            exchange: self.exchange.or(before.exchange),
            late: self.late.or(before.late),
            late_warn: self.late_warn.or(before.late_warn),
            job_name: self.job_name.or(before.job_name),
        }
    }
}

/// The exchange that a query asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestedExchange {
    /// The planner chooses.
    Auto,
    /// By the group key.
    Hash,
    /// The planner chooses: sticky where it is right, else by the group key.
    Smart,
    /// Each record stays on the shard of its partition.
    Sticky,
    /// Spread evenly.
    RoundRobin,
    /// All to one shard.
    FanIn,
}

/// What is done with a late record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// It is counted and left out.
    Drop,
    /// It is counted, left out, and sent to the dead letter of its stream.
    DeadLetter,
    /// It is counted and left out; one that comes within the grace period of its window corrects rows that have left.
    Update,
}

/// What is done with a bad record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// The run ends with 65, naming the record.
    Fail,
    /// The record is counted and left out.
    Skip,
    /// The record is counted, left out, and sent to the stream's dead letter.
    DeadLetter,
}

/// Where a stream's dead letters go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeadLetterTarget {
    /// `file:PATH`: a JSON object a line, behind what is there already.
    File(PathBuf),
    /// `kafka:TOPIC`: the records as they came, with headers that say why.
    Topic(String),
}

impl fmt::Display for DeadLetterTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeadLetterTarget::File(path) => write!(f, "file:{}", path.display()),
            DeadLetterTarget::Topic(topic) => write!(f, "kafka:{topic}"),
        }
    }
}

/// How bytes hold a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a record.
    Json,
    /// Comma-separated values.
    Csv,
}

/// How much of a JSON record is held against RFC 8259; `format::json` says it precisely.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JsonValidate {
    /// Its structure, its names, and the values that the query needs.
    #[default]
    Wanted,
    /// All of it.
    Strict,
}

/// What a bare number in a TIMESTAMP column counts since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeUnit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
    /// Nanoseconds.
    Nanoseconds,
}

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// Zstandard, `.zst`.
    Zstd,
    /// gzip, `.gz`.
    Gzip,
}

/// How CSV is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CsvOptions {
    /// The first line of a file names the columns, which then bind by name; otherwise they bind by position.
    pub header: bool,
    /// Between fields.
    pub delimiter: u8,
    /// The field that stands for NULL.
    pub null: String,
}

/// A file as a source or a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileOptions {
    /// Path, relative to the working directory.
    pub path: PathBuf,
    /// Format of its records.
    pub format: Format,
    /// Compression, by the extension.
    pub compression: Compression,
    /// Used when the format is CSV.
    pub csv: CsvOptions,
    /// Used when the format is JSON, of a source.
    pub json_validate: JsonValidate,
    /// Whether all shards shall decode its records where the order between them means nothing, of a source.
    pub deal: bool,
}

impl FileOptions {
    /// Whether a later run can tell the whole rows of a file that another was writing when it died, and write on behind them.
    pub fn can_be_continued(&self) -> bool {
        self.compression == Compression::None && self.format == Format::Json
    }
}

/// Where a read of a topic starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// Where the runs before have come to, as the group has committed; the oldest record where it has committed nothing.
    Committed,
    /// The oldest record that the broker keeps.
    Earliest,
    /// Behind the newest record at the start.
    Latest,
    /// A given offset for each named partition, `offsets:0=17,1=4`; the others start at their oldest record.
    Offsets(Vec<(i32, i64)>),
    /// In each partition the first record whose timestamp is not before this one, milliseconds since the epoch.
    Timestamp(i64),
}

/// Where a read of a topic ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Never: the input is unbounded.
    Never,
    /// Behind what was newest at the start; the run then ends as a file does.
    Latest,
    /// Before a given offset in each partition, `offsets:0=170,1=44`; every partition must be named.
    Offsets(Vec<(i32, i64)>),
    /// In each partition before the first record whose timestamp is not before this one, milliseconds since the epoch; behind
    /// what was newest at the start where there is none yet.
    Timestamp(i64),
}

/// How records come from librdkafka's queue to the shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tier {
    /// A call for each record.
    Standard,
    /// A call for each batch, in the shard's turn.
    #[default]
    Buffered,
    /// A thread off the shards' cores takes batches and hands them to the shard.
    Dedicated,
}

impl Tier {
    /// All of them.
    pub const ALL: [Tier; 3] = [Tier::Standard, Tier::Buffered, Tier::Dedicated];

    /// Its name in SQL, on the command line and in figures.
    pub fn name(self) -> &'static str {
        match self {
            Tier::Standard => "standard",
            Tier::Buffered => "buffered",
            Tier::Dedicated => "dedicated",
        }
    }
}

/// A Kafka topic as a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaSourceOptions {
    /// Topic.
    pub topic: String,
    /// Format of the message values.
    pub format: Format,
    /// Used when the format is CSV; a message has no header line.
    pub csv: CsvOptions,
    /// Used when the format is JSON.
    pub json_validate: JsonValidate,
    /// The columns that decide a record's partition: equal values are in one partition.
    pub key_columns: Vec<String>,
    /// Consumer group; `None` for `velo-<job>-<stream>`.
    pub group: Option<String>,
    /// Where to start. As read from WITH, the oldest record where nothing is written; what that means is decided with the queries.
    pub start: Start,
    /// Whether the text says where to start.
    pub start_written: bool,
    /// Where to end.
    pub end: End,
    /// How its records are taken.
    pub tier: Tier,
    /// librdkafka properties, as `kafka.<property>` gave them.
    pub properties: Vec<Property>,
}

/// How a message key is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFormat {
    /// The text of one VARCHAR column.
    Raw,
    /// A JSON object of the key columns.
    Json,
}

/// A Kafka topic as a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaSinkOptions {
    /// Topic.
    pub topic: String,
    /// Format of the message values.
    pub format: Format,
    /// Used when the format is CSV.
    pub csv: CsvOptions,
    /// `key.columns`: output columns that make the message key; `None` for the group columns (and the window's start).
    pub key_columns: Option<Vec<String>>,
    /// `key.format`; `None` for raw where the key is one VARCHAR, else json.
    pub key_format: Option<KeyFormat>,
    /// librdkafka properties, as `kafka.<property>` gave them.
    pub properties: Vec<Property>,
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for OptionError {}
