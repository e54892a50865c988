use super::*;
use crate::plan::EmitPolicy;
use std::path::PathBuf;
use std::sync::Arc;

use datafusion_common::arrow::datatypes::{DataType, Field, Schema, TimeUnit as ArrowTimeUnit};
use datafusion_physical_expr::expressions::Column;

use crate::config::options::{
    Compression, CsvOptions, End, FileOptions, KafkaSinkOptions, KafkaSourceOptions, KeyFormat,
    Late, OnError, Start, TimeUnit,
};
use crate::plan::{
    AggregateKind, AggregateSpec, EventTimeSpec, ExchangeSpec, KafkaSink, SourceSpec, StreamSpec,
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
        json_validate: Default::default(),
        csv: csv(),
        key_columns: Vec::new(),
        group: None,
        start: Start::Earliest,
        start_written: false,
        end: End::Latest,
        tier: Default::default(),
        properties: Vec::new(),
    });
    Plan {
        name: "by_carrier".into(),
        sql: "SELECT ..".into(),
        source: SourceSpec {
            stream: Arc::new(StreamSpec {
                name: "flights".into(),
                columns: Arc::clone(&columns),
                event_time: Some(EventTimeSpec {
                    column: EventTimeColumn::Declared(1),
                    bound_us: 3 * 3_600_000_000,
                }),
                on_error: OnError::Fail,
                dead_letter: None,
                event_time_unit: TimeUnit::Milliseconds,
                time: Default::default(),
                watermark_emit: Default::default(),
                connector,
            }),
            projection: vec![0, 1],
            projected: columns,
            dealing: None,
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
            is_final: false,
            grouped: Arc::clone(&grouped),
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
        late: Late::Drop,
        late_warn: None,
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
              "filters": [],
              "dealt": false,
              "dealt_reason": null
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
            "every_us": null,
            "every_rows": null,
            "corrects": false
          },
          "watermark": {
            "kind": "bounded",
            "bound_us": 10800000000,
            "emit": "record",
            "interval_us": null,
            "punctuation": null,
            "max_drift_us": null
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
    assert!(windowed.replayable().0);
    let mut bare = windowed.clone();
    bare.sink = SinkSpec::Stdout;
    assert!(!bare.replayable().0);
    let mut unwindowed = windowed.clone();
    if let Shape::Aggregate(aggregate) = &mut unwindowed.shape {
        aggregate.window = None;
    }
    assert!(!unwindowed.replayable().0);
    let mut stateless = windowed.clone();
    stateless.shape = Shape::Project(vec![column("carrier", 0)]);
    assert!(stateless.replayable().0);
    let mut from_file = stateless;
    let stream = Arc::make_mut(&mut from_file.source.stream);
    stream.connector = SourceConnector::File(FileOptions {
        path: PathBuf::from("flights.csv"),
        format: Format::Csv,
        compression: Compression::None,
        json_validate: Default::default(),
        deal: true,
        csv: csv(),
    });
    assert!(!from_file.replayable().0);
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

#[test]
fn partials_are_made_where_the_record_is_read() {
    let mut plan = hourly();
    plan.exchange.send = ExchangeSend::Partials;
    let explained = Explanation::of(&plan, 4);
    assert_eq!(explained.exchange.send, "partials");
    let grouping: Vec<_> = explained
        .stages
        .iter()
        .map(|stage| (stage.stage, stage.operator))
        .filter(|(stage, operator)| *stage != "write" && !operator.ends_with("project"))
        .collect();
    assert_eq!(
        grouping,
        [
            ("read", "source"),
            ("read", "filter"),
            ("read", "partial_aggregate"),
            ("exchange", "hash"),
            ("group", "window_aggregate"),
        ]
    );
}

#[test]
fn a_session_is_spelled_with_its_gap_and_has_an_operator_of_its_own() {
    let mut plan = hourly();
    let Shape::Aggregate(aggregate) = &mut plan.shape else {
        panic!("a plan of groups");
    };
    aggregate.window = Some(WindowSpec::Session {
        gap_us: 1_800_000_000,
        grace_us: 5_000_000,
    });
    let explained = Explanation::of(&plan, 2);
    let window = explained.window.expect("it has one");
    assert_eq!(
        (window.kind, window.size_us, window.gap_us),
        ("session", None, Some(1_800_000_000))
    );
    assert_eq!(
        window.to_string(),
        "WINDOW SESSION (GAP 30 MINUTES, GRACE PERIOD 5 SECONDS)"
    );
    assert!(explained.text().contains("session_aggregate"));
    assert!(!explained.replayable);
}
