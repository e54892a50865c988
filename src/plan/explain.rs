//! The plan as a person reads it (`Explanation::text`) and as a script does (the struct itself, as JSON).
//!
//! Law: everything here is taken from the plan; nothing is decided or looked up again. Windows are spelled the canonical
//! way, whichever way they were written.

use std::fmt::{self, Write};
use std::path::Path;

use serde::Serialize;

use super::{
    AggregatePlan, EmitPolicy, EventTimeColumn, ExchangeSend, ExchangeStrategy, Plan, PlannedExpr,
    Shape, SinkSpec, SourceConnector, WindowSpec,
};
use crate::config::options::Format;

/// What EXPLAIN says of one query.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// Version of this document.
    pub schema: u32,
    /// The query's name.
    pub query: String,
    /// Its text as written.
    pub sql: String,
    /// Where its rows go: `stdout`, `file:PATH` or `kafka:TOPIC`.
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
    /// `changes` or `final`.
    pub policy: &'static str,
    /// At most one row per group in this time; `None` for no such limit.
    pub every_us: Option<i64>,
}

/// What is promised about event times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ExplainedWatermark {
    /// `bounded` or `ascending`.
    pub kind: &'static str,
    /// How far out of order records may stand.
    pub bound_us: i64,
}

/// The exchange and why it was chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExplainedExchange {
    /// What was asked for.
    pub requested: &'static str,
    /// What was chosen.
    pub strategy: &'static str,
    /// What crosses the lanes: `none` or `rows`.
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

impl Explanation {
    /// Explains `plan` as it would run on `shards` shards.
    pub fn of(plan: &Plan, shards: usize) -> Explanation {
        let stream = &plan.source.stream;
        let aggregate = match &plan.shape {
            Shape::Project(_) => None,
            Shape::Aggregate(aggregate) => Some(aggregate),
        };
        let window = aggregate.and_then(|aggregate| aggregate.window);
        let (replayable, replayable_reason) = replayable(plan);
        Explanation {
            schema: 1,
            query: plan.name.clone(),
            sql: plan.sql.clone(),
            sink: sink_name(&plan.sink),
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
            }],
            window: window.map(ExplainedWindow::of),
            emit: ExplainedEmit {
                policy: match plan.emit {
                    EmitPolicy::Changes => "changes",
                    EmitPolicy::Final => "final",
                },
                every_us: None,
            },
            watermark: stream.event_time.as_ref().map(|time| ExplainedWatermark {
                kind: if time.bound_us == 0 {
                    "ascending"
                } else {
                    "bounded"
                },
                bound_us: time.bound_us,
            }),
            exchange: ExplainedExchange {
                requested: plan.exchange.requested.name(),
                strategy: plan.exchange.strategy.name(),
                send: match plan.exchange.send {
                    ExchangeSend::None => "none",
                    ExchangeSend::Rows => "rows",
                },
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
        }
        match self.watermark {
            Some(watermark) if watermark.bound_us > 0 => {
                line(
                    "watermark",
                    &format!(
                        "{}, {} behind",
                        watermark.kind,
                        duration(watermark.bound_us)
                    ),
                );
            }
            Some(watermark) => line("watermark", watermark.kind),
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
        line("emit", &format!("EMIT {}", self.emit.policy.to_uppercase()));
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

/// By the rule for restart by replay: stateless queries and one event-time window stage, directly over Kafka, into a sink
/// that acknowledges.
fn replayable(plan: &Plan) -> (bool, &'static str) {
    if matches!(plan.source.stream.connector, SourceConnector::File(_)) {
        return (false, "a file keeps no committed offsets");
    }
    if matches!(plan.sink, SinkSpec::Stdout) {
        return (false, "a bare query has no sink that acknowledges its rows");
    }
    match &plan.shape {
        Shape::Project(_) => (true, "a stateless query directly over Kafka"),
        Shape::Aggregate(AggregatePlan {
            window: Some(_), ..
        }) => (true, "one event-time window directly over Kafka"),
        Shape::Aggregate(_) => (
            false,
            "groups without a window depend on every record since the first",
        ),
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
            if plan.exchange.send != ExchangeSend::None {
                let by = match plan.exchange.strategy {
                    ExchangeStrategy::FanIn => "to one shard".into(),
                    _ => format!("by {}", expressions(&aggregate.keys)),
                };
                stages.push(stage("exchange", plan.exchange.strategy.name(), by));
            }
            let operator = if aggregate.window.is_some() {
                "window_aggregate"
            } else {
                "aggregate"
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
            format!("{} from topic {}", format_name(kafka.format), kafka.topic)
        }
    };
    if let Some(time) = &stream.event_time {
        let column = match time.column {
            EventTimeColumn::Declared(index) => stream.columns.field(index).name().as_str(),
            EventTimeColumn::Message => "_timestamp",
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

fn sink_name(sink: &SinkSpec) -> String {
    match sink {
        SinkSpec::Stdout => "stdout".into(),
        SinkSpec::File(file) => format!("file:{}", file.path.display()),
        SinkSpec::Kafka(kafka) => format!("kafka:{}", kafka.options.topic),
    }
}

fn sink_detail(sink: &SinkSpec) -> String {
    match sink {
        SinkSpec::Stdout => "rows to standard output".into(),
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

/// The canonical spelling.
impl fmt::Display for WindowSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ExplainedWindow::of(*self).fmt(f)
    }
}

/// A length of time in the largest unit that divides it: `1 HOUR`, `90 MINUTES`.
fn duration(length_us: i64) -> String {
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
mod tests {
    use super::*;
    use std::path::PathBuf;
    use std::sync::Arc;

    use datafusion_common::arrow::datatypes::{DataType, Field, Schema, TimeUnit as ArrowTimeUnit};
    use datafusion_physical_expr::expressions::Column;

    use crate::config::options::{
        Compression, CsvOptions, End, FileOptions, KafkaSinkOptions, KafkaSourceOptions, KeyFormat,
        OnError, Start, TimeUnit,
    };
    use crate::plan::{
        AggregateKind, AggregateSpec, EventTimeSpec, ExchangeSpec, KafkaSink, SourceSpec,
        StreamSpec,
    };

    fn column(name: &str, index: usize) -> PlannedExpr {
        PlannedExpr {
            expr: Arc::new(Column::new(name, index)),
            text: name.into(),
        }
    }

    fn csv() -> CsvOptions {
        CsvOptions {
            header: false,
            delimiter: b',',
            null: String::new(),
        }
    }

    fn hourly() -> Plan {
        let time = DataType::Timestamp(ArrowTimeUnit::Microsecond, None);
        let columns = Arc::new(Schema::new(vec![
            Field::new("carrier", DataType::Utf8View, true),
            Field::new("sched_dep", time.clone(), true),
        ]));
        let grouped = Arc::new(Schema::new(vec![
            Field::new("carrier", DataType::Utf8View, true),
            Field::new("window_start", time.clone(), false),
            Field::new("window_end", time, false),
            Field::new("count(*)", DataType::Int64, false),
        ]));
        let connector = SourceConnector::Kafka(KafkaSourceOptions {
            topic: "flights".into(),
            format: Format::Json,
            csv: csv(),
            key_columns: Vec::new(),
            group: None,
            start: Start::Earliest,
            end: End::Latest,
            properties: Vec::new(),
        });
        Plan {
            job: "flights".into(),
            name: "by_carrier".into(),
            sql: "SELECT ..".into(),
            source: SourceSpec {
                stream: Arc::new(StreamSpec {
                    name: "flights".into(),
                    columns: columns.clone(),
                    event_time: Some(EventTimeSpec {
                        column: EventTimeColumn::Declared(1),
                        bound_us: 3 * 3_600_000_000,
                    }),
                    on_error: OnError::Fail,
                    event_time_unit: TimeUnit::Milliseconds,
                    connector,
                }),
                projection: vec![0, 1],
                projected: columns,
            },
            filter: Some(PlannedExpr {
                expr: Arc::new(Column::new("carrier", 0)),
                text: "carrier <> 'AA'".into(),
            }),
            shape: Shape::Aggregate(AggregatePlan {
                keys: vec![column("carrier", 0)],
                arguments: Vec::new(),
                aggregates: vec![AggregateSpec {
                    kind: AggregateKind::Count,
                    argument: None,
                    argument_type: DataType::Null,
                    result_type: DataType::Int64,
                    text: "count(*)".into(),
                }],
                window: Some(WindowSpec::Tumbling {
                    size_us: 3_600_000_000,
                    offset_us: 0,
                    grace_us: 10_000_000,
                }),
                grouped: grouped.clone(),
                having: None,
                rows: vec![column("carrier", 0), column("count(*)", 3)],
            }),
            output: grouped,
            emit: EmitPolicy::Final,
            exchange: ExchangeSpec {
                requested: ExchangeStrategy::Auto,
                strategy: ExchangeStrategy::Hash,
                send: ExchangeSend::Rows,
                reason: "a keyed query: each key lives on one shard".into(),
            },
            sink: SinkSpec::Kafka(KafkaSink {
                options: KafkaSinkOptions {
                    topic: "out".into(),
                    format: Format::Json,
                    csv: csv(),
                    key_columns: None,
                    key_format: None,
                    properties: Vec::new(),
                },
                key: vec![column("carrier", 0), column("window_start", 1)],
                key_columns: Arc::new(Schema::empty()),
                key_format: KeyFormat::Json,
            }),
        }
    }

    #[test]
    fn a_person_reads_the_plan_the_exchange_and_its_reason() {
        insta::assert_snapshot!(Explanation::of(&hourly(), 4).text(), @r"
        query by_carrier on 4 shards
          source    flights
                    columns: carrier, sched_dep
                    filters: carrier <> 'AA'
          watermark bounded, 3 HOURS behind
          exchange  hash (asked for: auto), sends rows
                    a keyed query: each key lives on one shard
          window    WINDOW TUMBLING (SIZE 1 HOUR, GRACE PERIOD 10 SECONDS)
          emit      EMIT FINAL
          sink      kafka:out
          replay    yes: one event-time window directly over Kafka
          stages    read      source            json from topic flights, event time sched_dep
                    read      filter            carrier <> 'AA'
                    read      project           carrier
                    exchange  hash              by carrier
                    group     window_aggregate  count(*) by carrier WINDOW TUMBLING (SIZE 1 HOUR, GRACE PERIOD 10 SECONDS)
                    group     project           carrier, count(*)
                    write     sink              json to topic out, key carrier, window_start
        ");
    }

    #[test]
    fn a_script_reads_the_keys_of_the_contract() {
        let mut plan = hourly();
        plan.filter = None;
        let json = serde_json::to_string_pretty(&Explanation::of(&plan, 1)).expect("it is plain");
        insta::assert_snapshot!(json, @r#"
        {
          "schema": 1,
          "query": "by_carrier",
          "sql": "SELECT ..",
          "sink": "kafka:out",
          "shards": 1,
          "sources": [
            {
              "stream": "flights",
              "columns": [
                "carrier",
                "sched_dep"
              ],
              "filters": []
            }
          ],
          "window": {
            "kind": "tumbling",
            "size_us": 3600000000,
            "advance_us": null,
            "offset_us": 0,
            "gap_us": null,
            "step_us": null,
            "grace_us": 10000000
          },
          "emit": {
            "policy": "final",
            "every_us": null
          },
          "watermark": {
            "kind": "bounded",
            "bound_us": 10800000000
          },
          "exchange": {
            "requested": "auto",
            "strategy": "hash",
            "send": "rows",
            "reason": "a keyed query: each key lives on one shard"
          },
          "replayable": true,
          "replayable_reason": "one event-time window directly over Kafka",
          "stages": [
            {
              "stage": "read",
              "operator": "source",
              "detail": "json from topic flights, event time sched_dep"
            },
            {
              "stage": "read",
              "operator": "project",
              "detail": "carrier"
            },
            {
              "stage": "exchange",
              "operator": "hash",
              "detail": "by carrier"
            },
            {
              "stage": "group",
              "operator": "window_aggregate",
              "detail": "count(*) by carrier WINDOW TUMBLING (SIZE 1 HOUR, GRACE PERIOD 10 SECONDS)"
            },
            {
              "stage": "group",
              "operator": "project",
              "detail": "carrier, count(*)"
            },
            {
              "stage": "write",
              "operator": "sink",
              "detail": "json to topic out, key carrier, window_start"
            }
          ]
        }
        "#);
    }

    #[test]
    fn only_stateless_and_windowed_queries_from_kafka_into_a_sink_are_replayable() {
        let windowed = hourly();
        assert!(replayable(&windowed).0);
        let mut bare = windowed.clone();
        bare.sink = SinkSpec::Stdout;
        assert!(!replayable(&bare).0);
        let mut unwindowed = windowed.clone();
        if let Shape::Aggregate(aggregate) = &mut unwindowed.shape {
            aggregate.window = None;
        }
        assert!(!replayable(&unwindowed).0);
        let mut stateless = windowed.clone();
        stateless.shape = Shape::Project(vec![column("carrier", 0)]);
        assert!(replayable(&stateless).0);
        let mut from_file = stateless;
        let stream = Arc::make_mut(&mut from_file.source.stream);
        stream.connector = SourceConnector::File(FileOptions {
            path: PathBuf::from("flights.csv"),
            format: Format::Csv,
            compression: Compression::None,
            csv: csv(),
        });
        assert!(!replayable(&from_file).0);
    }

    #[test]
    fn a_window_is_spelled_in_the_largest_unit_that_divides_its_lengths() {
        let spelled = |size_us, offset_us, grace_us| {
            WindowSpec::Tumbling {
                size_us,
                offset_us,
                grace_us,
            }
            .to_string()
        };
        assert_eq!(
            spelled(3_600_000_000, 0, 0),
            "WINDOW TUMBLING (SIZE 1 HOUR)"
        );
        assert_eq!(
            spelled(5_400_000_000, 500_000, 86_400_000_000),
            "WINDOW TUMBLING (SIZE 90 MINUTES, OFFSET 500 MILLISECONDS, GRACE PERIOD 1 DAY)"
        );
        assert_eq!(spelled(1, 0, 0), "WINDOW TUMBLING (SIZE 1 MICROSECOND)");
    }
}
