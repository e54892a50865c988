//! The contract between the SQL front end and the pipeline: what a query reads, computes, keeps and emits.
//!
//! ```text
//!   StreamSpec --projection--> filter --> Shape::Project ------------------------------> output columns --> SinkSpec
//!                                    \--> Shape::Aggregate: keys, arguments | exchange | window, aggregates, HAVING --/
//! ```
//!
//! Law: a plan is complete. Nothing in the pipeline looks at SQL text, a catalog or an option string; what may be chosen
//! has been chosen here, with the reason beside it (`ExchangeSpec::reason`).
//!
//! A `Plan` is one query; `JobPlan` is all queries of a file, with what they share.

pub mod clock;
mod dealing;
mod emit;
pub mod explain;
mod hidden;
pub mod in_memory;
mod job;
pub mod long_text;
mod replay;
pub mod required;
pub mod typed;
mod types;
mod watermark_emit;

use std::sync::Arc;

use datafusion_common::arrow::datatypes::{DataType, SchemaRef};
use datafusion_physical_expr::PhysicalExpr;

pub use dealing::Dealing;
pub use emit::{Emission, EmitPolicy};
pub use hidden::{HIDDEN_NAMES, Hidden};
pub use job::{Input, JobPlan, JobQuery, JobSink, Link, Target};
pub use types::sql_type;
pub use watermark_emit::{Punctuation, WatermarkEmit};

use self::in_memory::{Checksum, MemoryInput};
use crate::config::Property;
use crate::config::options::{
    DatagenSpec, DeadLetterTarget, End, FileOptions, KafkaSinkOptions, KafkaSourceOptions,
    KeyFormat, Late, OnError, TimeOptions, TimeUnit,
};

/// One query of a file, ready to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The query's name, one of its own in a file: the stream that it creates, `query` for a bare SELECT.
    pub name: String,
    /// The query's text as written.
    pub sql: String,
    /// What it reads.
    pub source: SourceSpec,
    /// WHERE, over the source's projected columns.
    pub filter: Option<PlannedExpr>,
    /// What it computes.
    pub shape: Shape,
    /// The columns of its rows, in SELECT order.
    pub output: SchemaRef,
    /// When rows leave.
    pub emit: EmitPolicy,
    /// How records reach the shard that owns their key.
    pub exchange: ExchangeSpec,
    /// What becomes of its late records.
    pub late: Late,
    /// The fraction of late records above which is warned, millionths.
    pub late_warn: Option<u32>,
    /// Where its rows go.
    pub sink: SinkSpec,
}

/// An expression together with its text, for EXPLAIN and for messages.
#[derive(Clone, Debug)]
pub struct PlannedExpr {
    /// The compiled, vectorised expression; integer arithmetic in it is checked.
    pub expr: Arc<dyn PhysicalExpr>,
    /// How a person would write it.
    pub text: String,
}

/// A declared stream.
#[derive(Clone, Debug)]
pub struct StreamSpec {
    /// Its name.
    pub name: String,
    /// Its columns as declared. A field that is not nullable was declared NOT NULL: a NULL there makes a bad record.
    pub columns: SchemaRef,
    /// Its event time, if it has one.
    pub event_time: Option<EventTimeSpec>,
    /// What to do with a record that cannot be decoded, or for which an expression fails.
    pub on_error: OnError,
    /// Where bad and late records go; there is one under `OnError::DeadLetter`. An in-memory stream has that of whoever writes
    /// it.
    pub dead_letter: Option<DeadLetterSpec>,
    /// What a bare number in a TIMESTAMP column counts.
    pub event_time_unit: TimeUnit,
    /// What it says of silence, and of times that lie ahead.
    pub time: TimeOptions,
    /// What moves its watermarks.
    pub watermark_emit: WatermarkEmit,
    /// Where its records come from.
    pub connector: SourceConnector,
}

/// Where the bad and late records of a stream go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterSpec {
    /// The file or topic.
    pub target: DeadLetterTarget,
    /// librdkafka properties of the stream, for the topic; none of a stream that is not in Kafka.
    pub properties: Vec<Property>,
}

/// The event time of a stream and how far out of order its records may stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventTimeSpec {
    /// Where the event time is found.
    pub column: EventTimeColumn,
    /// Bounded out-of-orderness in microseconds; zero for an ascending stream.
    pub bound_us: i64,
}

/// Where a record's event time is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventTimeColumn {
    /// A declared TIMESTAMP column, by its index in `StreamSpec::columns`.
    Declared(usize),
    /// The timestamp of the Kafka message.
    Message,
    /// The event time of the row as the query that made it has it: that of its record, or its window's end - 1 us.
    Row,
}

/// Where a stream's records come from.
#[derive(Clone, Debug)]
pub enum SourceConnector {
    /// A file.
    File(FileOptions),
    /// A Kafka topic.
    Kafka(KafkaSourceOptions),
    /// Drawn from a seed.
    Datagen(DatagenSpec),
    /// Partitions in memory.
    Memory(MemoryOptions),
    /// Queries of the same job: the stream is in memory.
    Queries(Written),
}

/// Partitions in memory as a source; their records are JSON.
#[derive(Clone, Debug)]
pub struct MemoryOptions {
    /// The records.
    pub input: Arc<MemoryInput>,
    /// Whether they are decoded before the run starts.
    pub decoded: bool,
}

/// What is known of an in-memory stream by the queries that write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// How many.
    pub queries: usize,
    /// Whether the inputs of all of them have an end.
    pub bounded: bool,
    /// The query whose rows are updates of earlier rows, not records; `None` when every row is a record.
    pub updates: Option<String>,
}

/// A stream as one query reads it.
#[derive(Clone, Debug)]
pub struct SourceSpec {
    /// The stream.
    pub stream: Arc<StreamSpec>,
    /// The columns that the query needs, as indexes into `StreamSpec::columns`, ascending. Only these, and the event
    /// time's, are decoded.
    pub projection: Vec<usize>,
    /// The schema of the projected columns: what the source delivers and what `filter` and the shape's expressions see.
    pub projected: SchemaRef,
    /// Whether the records of a file are dealt to all shards; `None` for what is no file.
    pub dealing: Option<Dealing>,
}

/// What a query computes.
#[derive(Clone, Debug)]
pub enum Shape {
    /// A row out for each record in: the output columns over the projected columns.
    Project(Vec<PlannedExpr>),
    /// Groups.
    Aggregate(AggregatePlan),
}

/// A grouping: what is computed where the record is read, and what is computed where its key lives.
#[derive(Clone, Debug)]
pub struct AggregatePlan {
    /// Group key, over the projected columns, without the window's bounds; empty for one global group.
    pub keys: Vec<PlannedExpr>,
    /// The distinct arguments of the aggregates, over the projected columns.
    pub arguments: Vec<PlannedExpr>,
    /// The aggregates, each over at most one of `arguments`.
    pub aggregates: Vec<AggregateSpec>,
    /// The window, if there is one.
    pub window: Option<WindowSpec>,
    /// Whether its rows say whether they are final.
    pub is_final: bool,
    /// The schema that `having` and `rows` see: keys, then (when windowed) `window_start`, `window_end`, then `is_final` if there is
    /// one, then aggregates.
    pub grouped: SchemaRef,
    /// HAVING, over `grouped`.
    pub having: Option<PlannedExpr>,
    /// The output columns, over `grouped`.
    pub rows: Vec<PlannedExpr>,
}

/// One aggregate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AggregateSpec {
    /// Which.
    pub kind: AggregateKind,
    /// Index into `AggregatePlan::arguments`; `None` for COUNT(*).
    pub argument: Option<usize>,
    /// Type of the argument; `Null` for COUNT(*).
    pub argument_type: DataType,
    /// Type of the result.
    pub result_type: DataType,
    /// How a person would write it, such as `sum(distance)`.
    pub text: String,
}

impl AggregateSpec {
    /// COUNT(*).
    pub fn count_of_records() -> AggregateSpec {
        AggregateSpec {
            kind: AggregateKind::Count,
            argument: None,
            argument_type: DataType::Null,
            result_type: DataType::Int64,
            text: "count(*)".to_owned(),
        }
    }
}

/// The built-in aggregates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AggregateKind {
    /// COUNT(*) and COUNT(x): the records, or those whose argument is not NULL.
    Count,
    /// SUM; integers accumulate in 128 bits, decimals in 256, and are checked when the value leaves.
    Sum,
    /// AVG, as a double; of decimals as a decimal.
    Avg,
    /// MIN.
    Min,
    /// MAX.
    Max,
}

impl AggregateKind {
    /// Whether what parts of a group were aggregated to can be merged, in any order, to what the whole group is.
    pub fn is_mergeable(self) -> bool {
        match self {
            AggregateKind::Count
            | AggregateKind::Sum
            | AggregateKind::Avg
            | AggregateKind::Min
            | AggregateKind::Max => true,
        }
    }
}

/// A window. Spans are half-open, aligned to the epoch plus the offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowSpec {
    /// TUMBLING.
    Tumbling {
        /// Length, microseconds, above zero.
        size_us: i64,
        /// Shift of the alignment, microseconds, `0 <= offset < size`.
        offset_us: i64,
        /// How long after its end the window still accepts records, microseconds.
        grace_us: i64,
    },
    /// HOPPING: a window of `size_us` begins with each advance.
    Hopping {
        /// Length, microseconds, above zero.
        size_us: i64,
        /// From one window's start to the next one's, microseconds, `0 < advance <= size`.
        advance_us: i64,
        /// Shift of the alignment, microseconds, `0 <= offset < advance`.
        offset_us: i64,
        /// As of TUMBLING.
        grace_us: i64,
    },
    /// SESSION: the records of a key with no more than a gap between them.
    Session {
        /// The longest silence within a session, microseconds, above zero; its window ends so long after its last record.
        gap_us: i64,
        /// As of TUMBLING.
        grace_us: i64,
    },
    /// CUMULATE: windows that begin together, each a step longer than the one before.
    Cumulate {
        /// Length of the longest, microseconds, a multiple of the step.
        size_us: i64,
        /// Length of the shortest, microseconds, above zero.
        step_us: i64,
        /// As of TUMBLING.
        grace_us: i64,
    },
}

impl WindowSpec {
    /// How long after its end the window still accepts records, microseconds.
    pub fn grace_us(&self) -> i64 {
        match *self {
            WindowSpec::Tumbling { grace_us, .. }
            | WindowSpec::Hopping { grace_us, .. }
            | WindowSpec::Session { grace_us, .. }
            | WindowSpec::Cumulate { grace_us, .. } => grace_us,
        }
    }

    /// How far behind the query's watermark a row may stand that is still to come, microseconds: a session fires when the
    /// watermark is beyond its end plus grace, the others when it has reached that.
    pub fn behind_us(&self) -> i64 {
        let strictly = matches!(self, WindowSpec::Session { .. });
        self.grace_us() + i64::from(strictly)
    }

    /// Length of the longest window, microseconds: how far back a record may lie that counts in an open one; of a session the
    /// gap, for it has no longest.
    pub fn size_us(&self) -> i64 {
        match *self {
            WindowSpec::Tumbling { size_us, .. }
            | WindowSpec::Hopping { size_us, .. }
            | WindowSpec::Cumulate { size_us, .. } => size_us,
            WindowSpec::Session { gap_us, .. } => gap_us,
        }
    }

    /// How far event time goes until another window ends, microseconds; of sessions at least so far within a key.
    pub fn advance_us(&self) -> i64 {
        match *self {
            WindowSpec::Tumbling { size_us, .. } => size_us,
            WindowSpec::Hopping { advance_us, .. } => advance_us,
            WindowSpec::Cumulate { step_us, .. } => step_us,
            WindowSpec::Session { gap_us, .. } => gap_us,
        }
    }

    /// In how many windows a record counts, at most.
    pub fn windows_a_record(&self) -> i64 {
        match *self {
            WindowSpec::Tumbling { .. } | WindowSpec::Session { .. } => 1,
            WindowSpec::Hopping {
                size_us,
                advance_us,
                ..
            } => size_us / advance_us + i64::from(size_us % advance_us != 0),
            WindowSpec::Cumulate {
                size_us, step_us, ..
            } => size_us / step_us,
        }
    }
}

/// How records reach the shard that owns their key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeSpec {
    /// What was asked for.
    pub requested: ExchangeStrategy,
    /// What was chosen.
    pub strategy: ExchangeStrategy,
    /// What crosses the lanes.
    pub send: ExchangeSend,
    /// Why, in one sentence.
    pub reason: String,
}

/// The ways of partitioning a query's records over shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeStrategy {
    /// Choose: smart for keyed queries, fan-in for a global group, none for stateless ones.
    Auto,
    /// Choose: sticky where that is right, else hash.
    Smart,
    /// By the group key.
    Hash,
    /// Each record stays on the shard of its partition, for all records of a group are there; watermarks alone travel.
    Sticky,
    /// Spread evenly, whatever the key.
    RoundRobin,
    /// All to one shard.
    FanIn,
    /// No exchange: each record is finished where it was read.
    None,
}

impl ExchangeStrategy {
    /// As it is written in options, EXPLAIN and reports.
    pub fn name(self) -> &'static str {
        match self {
            ExchangeStrategy::Auto => "auto",
            ExchangeStrategy::Smart => "smart",
            ExchangeStrategy::Hash => "hash",
            ExchangeStrategy::Sticky => "sticky",
            ExchangeStrategy::RoundRobin => "round_robin",
            ExchangeStrategy::FanIn => "fan_in",
            ExchangeStrategy::None => "none",
        }
    }
}

/// What crosses the lanes of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeSend {
    /// Nothing.
    None,
    /// Rows: the needed columns of every record.
    Rows,
    /// Partials: what the records of a group and pane were aggregated to where they were read.
    Partials,
}

impl ExchangeSend {
    /// As it is written in EXPLAIN.
    pub fn name(self) -> &'static str {
        match self {
            ExchangeSend::None => "none",
            ExchangeSend::Rows => "rows",
            ExchangeSend::Partials => "partials",
        }
    }
}

impl ExchangeSpec {
    /// Whether shards tell each other anything when there are so many of them: rows, partials, or watermarks alone.
    pub fn needs_lanes(&self, shards: usize) -> bool {
        shards > 1 && self.strategy != ExchangeStrategy::None
    }
}

/// Where a query's rows go.
#[derive(Clone, Debug)]
pub enum SinkSpec {
    /// Standard output.
    Stdout,
    /// A file.
    File(FileOptions),
    /// A Kafka topic.
    Kafka(KafkaSink),
    /// A checksum, for whoever runs the plan.
    Checksum(Arc<Checksum>),
    /// The in-memory stream of that name.
    Stream(String),
}

/// A Kafka sink with its key resolved.
#[derive(Clone, Debug)]
pub struct KafkaSink {
    /// Topic, format and properties.
    pub options: KafkaSinkOptions,
    /// The message key, over what the output columns are computed from; empty for no key.
    pub key: Vec<PlannedExpr>,
    /// The names and types of the key's columns, as long as `key`.
    pub key_columns: SchemaRef,
    /// How the key is written.
    pub key_format: KeyFormat,
}

impl SourceConnector {
    /// Whether the input has an end.
    pub fn is_bounded(&self) -> bool {
        match self {
            SourceConnector::File(_) | SourceConnector::Memory(_) => true,
            SourceConnector::Datagen(datagen) => datagen.rows.is_some(),
            SourceConnector::Kafka(kafka) => kafka.end != End::Never,
            SourceConnector::Queries(written) => written.bounded,
        }
    }

    /// The query whose rows in it are updates of earlier rows, not records, if there is one.
    pub fn updates(&self) -> Option<&str> {
        match self {
            SourceConnector::File(_)
            | SourceConnector::Kafka(_)
            | SourceConnector::Datagen(_)
            | SourceConnector::Memory(_) => None,
            SourceConnector::Queries(written) => written.updates.as_deref(),
        }
    }
}

impl SinkSpec {
    /// How EXPLAIN and reports call it: `stdout`, `file:PATH`, `kafka:TOPIC` or `stream:NAME`.
    pub fn name(&self) -> String {
        match self {
            SinkSpec::Stdout => "stdout".to_owned(),
            SinkSpec::File(file) => format!("file:{}", file.path.display()),
            SinkSpec::Kafka(kafka) => format!("kafka:{}", kafka.options.topic),
            SinkSpec::Checksum(_) => "checksum".to_owned(),
            SinkSpec::Stream(stream) => format!("stream:{stream}"),
        }
    }

    /// Whether rows of both go to the same place in the same way, whatever the message key is made of.
    pub fn is_same_target(&self, other: &SinkSpec) -> bool {
        match (self, other) {
            (SinkSpec::Stdout, SinkSpec::Stdout) => true,
            (SinkSpec::File(one), SinkSpec::File(other)) => one == other,
            (SinkSpec::Kafka(one), SinkSpec::Kafka(other)) => one.options == other.options,
            (SinkSpec::Stream(one), SinkSpec::Stream(other)) => one == other,
            (SinkSpec::Checksum(one), SinkSpec::Checksum(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}
