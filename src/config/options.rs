//! The one table of stream and query options: what may stand in WITH and SET, from which the parser of options, its
//! messages and docs/SQL.md are made.

use std::path::PathBuf;

/// What is done with a bad record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// The run ends with 65, naming the record.
    Fail,
    /// The record is counted and left out.
    Skip,
}

/// How bytes hold a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a record.
    Json,
    /// Comma-separated values.
    Csv,
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
}

/// Where a read of a topic starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// The oldest record that the broker keeps.
    Earliest,
    /// Behind the newest record at the start.
    Latest,
    /// A given offset for each named partition, `offsets:0=17,1=4`; the others start at their oldest record.
    Offsets(Vec<(i32, i64)>),
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
    /// The columns that decide a record's partition: equal values are in one partition.
    pub key_columns: Vec<String>,
    /// Consumer group; `None` for `velo-<job>-<stream>`.
    pub group: Option<String>,
    /// Where to start.
    pub start: Start,
    /// Where to end.
    pub end: End,
    /// librdkafka properties, as `kafka.<property>` gave them.
    pub properties: Vec<(String, String)>,
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
    pub properties: Vec<(String, String)>,
}
