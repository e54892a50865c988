//! The plan as a person reads it (`Explanation::text`) and as a script does (the struct itself, as JSON).
//!
//! Law: everything here is taken from the plan; nothing is decided or looked up again. Windows are spelled the canonical
//! way, whichever way they were written.

use std::fmt::{self, Write};
use std::path::Path;

use serde::Serialize;

use super::{
    AggregatePlan, EventTimeColumn, ExchangeSend, ExchangeStrategy, Plan, PlannedExpr, Shape,
    SinkSpec, SourceConnector, WindowSpec,
};
use crate::config::options::{Format, Tier};

/// What EXPLAIN says of one query.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// Version of this document.
    pub schema: u32,
    /// The query's name.
    pub query: String,
    /// Its text as written.
    pub sql: String,
    /// Where its rows go: `stdout`, `file:PATH`, `kafka:TOPIC` or `stream:NAME`.
    pub sink: String,
    /// How many shards it runs on.
    pub shards: usize,
    /// What it reads.
    pub sources: Vec<ExplainedSource>,
    /// Its window; `None` without one.
    pub window: Option<ExplainedWindow>,
    /// When its rows leave.
    pub emit: ExplainedEmit,
    /// The event time's promise; `None` when the stream has no event time.
    pub watermark: Option<ExplainedWatermark>,
    /// How records reach the shard that owns their key.
    pub exchange: ExplainedExchange,
    /// Whether the query can be restarted by replay from committed offsets.
    pub replayable: bool,
    /// Why, in one clause.
    pub replayable_reason: &'static str,
    /// Its steps, in the order of a record's journey.
    pub stages: Vec<ExplainedStage>,
}

/// A stream, and what of the query was pushed into its source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExplainedSource {
    /// The stream.
    pub stream: String,
    /// The columns that are decoded.
    pub columns: Vec<String>,
    /// The conditions that are applied where the record is read.
    pub filters: Vec<String>,
    /// Whether the records of a file are dealt to all shards, which decode them.
    pub dealt: bool,
    /// Why, or why not; `None` for what is no file.
    pub dealt_reason: Option<String>,
}

/// A window. A part that its kind does not have is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ExplainedWindow {
    /// Such as `tumbling`.
    pub kind: &'static str,
    /// Length.
    pub size_us: Option<i64>,
    /// From start to start.
    pub advance_us: Option<i64>,
    /// Shift of the alignment.
    pub offset_us: Option<i64>,
    /// Silence that ends a session.
    pub gap_us: Option<i64>,
    /// Growth of a cumulating window.
    pub step_us: Option<i64>,
    /// How long it accepts records after its end.
    pub grace_us: i64,
}

/// When rows leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ExplainedEmit {
    /// `changes`, `final` or `final_and_changes`.
    pub policy: &'static str,
    /// At most one row per group in this time; `None` for no such limit.
    pub every_us: Option<i64>,
    /// One row on every so many records of a group; `None` where that is not asked.
    pub every_rows: Option<u32>,
    /// Whether records behind the end of a window correct its row (`late = 'update'`).
    pub corrects: bool,
}

/// What is promised about event times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExplainedWatermark {
    /// `bounded`, `ascending`, or `from_writers` for an in-memory stream: the least of those of its writers.
    pub kind: &'static str,
    /// How far out of order records may stand; 0 for `from_writers`.
    pub bound_us: i64,
    /// What moves it: `record`, `interval`, `punctuated` or `hybrid`.
    pub emit: &'static str,
    /// The steps of the clock that move it; `None` where the clock does not.
    pub interval_us: Option<i64>,
    /// What is true of a record that moves it; `None` where that is not asked.
    pub punctuation: Option<String>,
    /// How far it may run ahead of the slowest input; `None` for as far as it likes.
    pub max_drift_us: Option<i64>,
}

/// The exchange and why it was chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExplainedExchange {
    /// What was asked for.
    pub requested: &'static str,
    /// What was chosen.
    pub strategy: &'static str,
    /// What crosses the lanes: `none`, `rows` or `partials`.
    pub send: &'static str,
    /// Why.
    pub reason: String,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExplainedStage {
    /// Where it runs: `read` (where the record is read), `exchange`, `group` (where its key lives), `write`.
    pub stage: &'static str,
    /// The operator.
    pub operator: &'static str,
    /// What it does here.
    pub detail: String,
}

impl fmt::Display for ExplainedWatermark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind.replace('_', " "))?;
        if self.bound_us > 0 {
            write!(f, ", {} behind", duration(self.bound_us))?;
        }
        if let Some(interval_us) = self.interval_us {
            write!(f, ", moved every {}", duration(interval_us))?;
        }
        match (&self.punctuation, self.interval_us) {
            (Some(punctuation), Some(_)) => write!(f, " and where {punctuation}")?,
            (Some(punctuation), None) => write!(f, ", moved where {punctuation}")?,
            (None, _) => {}
        }
        match self.max_drift_us {
            Some(drift_us) => write!(f, ", at most {} ahead of others", duration(drift_us)),
            None => Ok(()),
        }
    }
}

impl Explanation {
    /// Explains `plan` as it would run on `shards` shards.
    pub fn of(plan: &Plan, shards: usize) -> Explanation {
        let stream = &plan.source.stream;
        let aggregate = match &plan.shape {
            Shape::Project(_) => None,
            Shape::Aggregate(aggregate) => Some(aggregate),
        };
        let window = aggregate.and_then(|aggregate| aggregate.window);
        let (replayable, replayable_reason) = plan.replayable();
        let dealing = plan.source.dealing.as_ref();
        Explanation {
            schema: 1,
            query: plan.name.clone(),
            sql: plan.sql.clone(),
            sink: plan.sink.name(),
            shards,
            sources: vec![ExplainedSource {
                stream: stream.name.clone(),
                columns: plan
                    .source
                    .projected
                    .fields()
                    .iter()
                    .map(|field| field.name().clone())
                    .collect(),
                filters: plan
                    .filter
                    .iter()
                    .map(|filter| filter.text.clone())
                    .collect(),
                dealt: dealing.is_some_and(|dealing| dealing.deals(shards)),
                dealt_reason: dealing.map(|dealing| match shards {
                    1 => "there is one shard".to_owned(),
                    _ => dealing.reason.clone(),
                }),
            }],
            window: window.map(ExplainedWindow::of),
            emit: ExplainedEmit {
                policy: plan.emit.word(),
                every_us: plan.emit.every_us(),
                every_rows: plan.emit.every_rows(),
                corrects: plan.corrects(),
            },
            watermark: stream.event_time.as_ref().map(|time| ExplainedWatermark {
                kind: match (time.column, time.bound_us) {
                    (EventTimeColumn::Row, _) => "from_writers",
                    (_, 0) => "ascending",
                    _ => "bounded",
                },
                bound_us: time.bound_us,
                emit: stream.watermark_emit.kind(),
                interval_us: stream.watermark_emit.interval_us,
                punctuation: stream
                    .watermark_emit
                    .punctuation
                    .as_ref()
                    .map(|punctuation| punctuation.expr.text.clone()),
                max_drift_us: stream.time.max_drift_us,
            }),
            exchange: ExplainedExchange {
                requested: plan.exchange.requested.name(),
                strategy: plan.exchange.strategy.name(),
                send: plan.exchange.send.name(),
                reason: plan.exchange.reason.clone(),
            },
            replayable,
            replayable_reason,
            stages: stages(plan),
        }
    }

    /// The explanation as a page of text.
    pub fn text(&self) -> String {
        let mut page = String::new();
        let mut line = |name: &str, text: &str| {
            writeln!(page, "  {name:<10}{text}").expect("writing to a string does not fail");
        };
        for source in &self.sources {
            line("source", &source.stream);
            line("", &format!("columns: {}", listed(&source.columns)));
            line("", &format!("filters: {}", listed(&source.filters)));
            if let Some(reason) = &source.dealt_reason {
                let dealt = if source.dealt { "yes" } else { "no" };
                line("", &format!("dealt: {dealt}, {reason}"));
            }
        }
        match &self.watermark {
            Some(watermark) => line("watermark", &watermark.to_string()),
            None => line("watermark", "none: the stream has no event time"),
        }
        let exchange = &self.exchange;
        line(
            "exchange",
            &format!(
                "{} (asked for: {}), sends {}",
                exchange.strategy, exchange.requested, exchange.send
            ),
        );
        line("", &exchange.reason);
        if let Some(window) = self.window {
            line("window", &window.to_string());
        }
        line("emit", &self.emit.to_string());
        line("sink", &self.sink);
        line(
            "replay",
            &format!(
                "{}: {}",
                if self.replayable { "yes" } else { "no" },
                self.replayable_reason
            ),
        );
        let operators = self
            .stages
            .iter()
            .map(|stage| stage.operator.len())
            .max()
            .unwrap_or(0);
        for (place, stage) in self.stages.iter().enumerate() {
            let name = if place == 0 { "stages" } else { "" };
            line(
                name,
                &format!(
                    "{:<10}{:<operators$}  {}",
                    stage.stage, stage.operator, stage.detail
                ),
            );
        }
        let shards = if self.shards == 1 {
            "1 shard".to_owned()
        } else {
            format!("{} shards", self.shards)
        };
        format!("query {} on {shards}\n{page}", self.query)
    }
}

fn stages(plan: &Plan) -> Vec<ExplainedStage> {
    let stage = |stage, operator, detail| ExplainedStage {
        stage,
        operator,
        detail,
    };
    let mut stages = vec![stage("read", "source", source_detail(plan))];
    if let Some(filter) = &plan.filter {
        stages.push(stage("read", "filter", filter.text.clone()));
    }
    match &plan.shape {
        Shape::Project(columns) => stages.push(stage("read", "project", expressions(columns))),
        Shape::Aggregate(aggregate) => {
            let evaluated: Vec<&str> = aggregate
                .keys
                .iter()
                .chain(&aggregate.arguments)
                .map(|expr| expr.text.as_str())
                .collect();
            if !evaluated.is_empty() {
                stages.push(stage("read", "project", evaluated.join(", ")));
            }
            if plan.exchange.send == ExchangeSend::Partials {
                let detail = aggregate_detail(aggregate);
                stages.push(stage("read", "partial_aggregate", detail));
            }
            if plan.exchange.send != ExchangeSend::None {
                let by = match plan.exchange.strategy {
                    ExchangeStrategy::FanIn => "to one shard".into(),
                    _ => format!("by {}", expressions(&aggregate.keys)),
                };
                stages.push(stage("exchange", plan.exchange.strategy.name(), by));
            }
            let operator = match aggregate.window {
                Some(WindowSpec::Session { .. }) => "session_aggregate",
                Some(_) => "window_aggregate",
                None => "aggregate",
            };
            stages.push(stage("group", operator, aggregate_detail(aggregate)));
            if let Some(having) = &aggregate.having {
                stages.push(stage("group", "filter", having.text.clone()));
            }
            stages.push(stage("group", "project", expressions(&aggregate.rows)));
        }
    }
    stages.push(stage("write", "sink", sink_detail(&plan.sink)));
    stages
}

fn source_detail(plan: &Plan) -> String {
    let stream = &plan.source.stream;
    let mut detail = match &stream.connector {
        SourceConnector::File(file) => {
            format!("{} from {}", format_name(file.format), file.path.display())
        }
        SourceConnector::Kafka(kafka) => {
            let tier = match kafka.tier {
                Tier::Buffered => String::new(),
                other => format!(", tier {}", other.name()),
            };
            format!(
                "{} from topic {}{tier}",
                format_name(kafka.format),
                kafka.topic
            )
        }
        SourceConnector::Datagen(datagen) => match datagen.rate {
            Some(rate) => format!("datagen, {rate} rows a second"),
            None => "datagen".to_owned(),
        },
        SourceConnector::Memory(memory) => match memory.decoded {
            true => "columns in memory".to_owned(),
            false => "json in memory".to_owned(),
        },
        SourceConnector::Queries(_) => format!("rows of the in-memory stream {}", stream.name),
    };
    if let Some(time) = &stream.event_time {
        let column = match time.column {
            EventTimeColumn::Declared(index) => stream.columns.field(index).name().as_str(),
            EventTimeColumn::Message => "_timestamp",
            EventTimeColumn::Row => "of the rows",
        };
        detail.push_str(&format!(", event time {column}"));
    }
    detail
}

fn aggregate_detail(aggregate: &AggregatePlan) -> String {
    let computed: Vec<&str> = aggregate
        .aggregates
        .iter()
        .map(|one| one.text.as_str())
        .collect();
    let mut detail = if computed.is_empty() {
        "groups".to_owned()
    } else {
        computed.join(", ")
    };
    if !aggregate.keys.is_empty() {
        detail.push_str(&format!(" by {}", expressions(&aggregate.keys)));
    }
    if let Some(window) = aggregate.window {
        detail.push_str(&format!(" {window}"));
    }
    detail
}

fn sink_detail(sink: &SinkSpec) -> String {
    match sink {
        SinkSpec::Stdout => "rows to standard output".into(),
        SinkSpec::Checksum(_) => "rows to a checksum".into(),
        SinkSpec::Stream(stream) => format!("rows to the in-memory stream {stream}"),
        SinkSpec::File(file) => format!(
            "{} to {}",
            format_name(file.format),
            Path::display(&file.path)
        ),
        SinkSpec::Kafka(kafka) => {
            let key = match kafka.key.as_slice() {
                [] => "no key".to_owned(),
                key => format!("key {}", expressions(key)),
            };
            format!(
                "{} to topic {}, {key}",
                format_name(kafka.options.format),
                kafka.options.topic
            )
        }
    }
}

fn expressions(expressions: &[PlannedExpr]) -> String {
    expressions
        .iter()
        .map(|expr| expr.text.as_str())
        .collect::<Vec<_>>()
        .join(", ")
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        "none".into()
    } else {
        names.join(", ")
    }
}

fn format_name(format: Format) -> &'static str {
    match format {
        Format::Json => "json",
        Format::Csv => "csv",
    }
}

impl ExplainedWindow {
    fn of(window: WindowSpec) -> ExplainedWindow {
        match window {
            WindowSpec::Tumbling {
                size_us,
                offset_us,
                grace_us,
            } => ExplainedWindow {
                kind: "tumbling",
                size_us: Some(size_us),
                advance_us: None,
                offset_us: Some(offset_us),
                gap_us: None,
                step_us: None,
                grace_us,
            },
            WindowSpec::Hopping {
                size_us,
                advance_us,
                offset_us,
                grace_us,
            } => ExplainedWindow {
                kind: "hopping",
                size_us: Some(size_us),
                advance_us: Some(advance_us),
                offset_us: Some(offset_us),
                gap_us: None,
                step_us: None,
                grace_us,
            },
            WindowSpec::Session { gap_us, grace_us } => ExplainedWindow {
                kind: "session",
                size_us: None,
                advance_us: None,
                offset_us: None,
                gap_us: Some(gap_us),
                step_us: None,
                grace_us,
            },
            WindowSpec::Cumulate {
                size_us,
                step_us,
                grace_us,
            } => ExplainedWindow {
                kind: "cumulate",
                size_us: Some(size_us),
                advance_us: None,
                offset_us: None,
                gap_us: None,
                step_us: Some(step_us),
                grace_us,
            },
        }
    }
}

/// The canonical spelling.
impl fmt::Display for ExplainedWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        let mut part = |name: &str, length: Option<i64>| {
            if let Some(length) = length {
                parts.push(format!("{name} {}", duration(length)));
            }
        };
        part("SIZE", self.size_us);
        part("GAP", self.gap_us);
        part("ADVANCE BY", self.advance_us);
        part("STEP", self.step_us);
        part("OFFSET", self.offset_us.filter(|offset| *offset != 0));
        part(
            "GRACE PERIOD",
            Some(self.grace_us).filter(|grace| *grace != 0),
        );
        write!(
            f,
            "WINDOW {} ({})",
            self.kind.to_uppercase(),
            parts.join(", ")
        )
    }
}

/// The canonical spelling, and what `late = 'update'` adds.
impl fmt::Display for ExplainedEmit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EMIT {}", self.policy.replace('_', " ").to_uppercase())?;
        if let Some(every_us) = self.every_us {
            write!(f, " EVERY {}", duration(every_us))?;
        }
        if let Some(rows) = self.every_rows {
            write!(
                f,
                " EVERY {rows} {}",
                if rows == 1 { "ROW" } else { "ROWS" }
            )?;
        }
        match self.corrects {
            true => {
                f.write_str(", at a window's end; late records within the grace period correct it")
            }
            false => Ok(()),
        }
    }
}

/// The canonical spelling.
impl fmt::Display for WindowSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ExplainedWindow::of(*self).fmt(f)
    }
}

/// A length of time in the largest unit that divides it: `1 HOUR`, `90 MINUTES`.
pub(super) fn duration(length_us: i64) -> String {
    const UNITS: [(i64, &str); 6] = [
        (86_400_000_000, "DAY"),
        (3_600_000_000, "HOUR"),
        (60_000_000, "MINUTE"),
        (1_000_000, "SECOND"),
        (1_000, "MILLISECOND"),
        (1, "MICROSECOND"),
    ];
    let (unit_us, name) = UNITS
        .into_iter()
        .find(|(unit_us, _)| length_us != 0 && length_us % unit_us == 0)
        .unwrap_or((1_000_000, "SECOND"));
    let count = length_us / unit_us;
    format!("{count} {name}{}", if count == 1 { "" } else { "S" })
}

#[cfg(test)]
mod tests;
