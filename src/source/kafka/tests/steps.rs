//! Watermarks that the clock moves, and punctuations, on a real protocol: the mock broker.

use std::cell::Cell;

use datafusion_common::ScalarValue;
use datafusion_common::arrow::datatypes::{DataType, Field, Schema};
use datafusion_expr::Operator;
use datafusion_physical_expr::expressions::{BinaryExpr, Column, Literal};

use super::idle::{ENDLESS, LONG};
use super::*;
use crate::plan::{
    PlannedExpr, Punctuation, SourceConnector, SourceSpec, StreamSpec, WatermarkEmit,
};

thread_local! {
    static WALL_US: Cell<i64> = const { Cell::new(0) };
}

const STEPPED: Clocks = Clocks {
    wall_us: || WALL_US.get(),
    monotonic_ns,
};

/// What moves the watermarks of a stream of numbers.
fn steps(watermark_emit: WatermarkEmit) -> WatermarkSteps {
    let columns = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
    let stream = StreamSpec {
        name: "s".to_owned(),
        columns: Arc::clone(&columns),
        event_time: Some(BY_COLUMN),
        on_error: OnError::Skip,
        dead_letter: None,
        event_time_unit: crate::config::options::TimeUnit::Microseconds,
        time: Default::default(),
        watermark_emit,
        connector: SourceConnector::Kafka(options(Start::Earliest, End::Never)),
    };
    let spec = SourceSpec {
        stream: Arc::new(stream),
        projection: vec![0],
        projected: columns,
        dealing: None,
    };
    WatermarkSteps::of(&spec).expect("not by record")
}

/// A source of topic `t` whose watermarks move by `steps`.
fn source(broker: &Broker, steps: &WatermarkSteps, end: End) -> KafkaSource<Numbers> {
    let settings = broker.consumer(&[]);
    let endless = (end == End::Never).then_some(ENDLESS);
    let ranges = ranges(&options(Start::Earliest, end), &settings).expect("answered");
    let stream = Stream {
        endless,
        steps: Some(steps),
        ..stream(&BY_COLUMN, OnError::Skip)
    };
    let numbers = Numbers::default();
    KafkaSource::new(&stream, &settings, &ranges, numbers, fetching(), STEPPED).expect("a source")
}

pub(super) fn the_clock_moves_a_watermark_also_when_nothing_comes() {
    let broker = mock::broker(&[("t", 1)]);
    write(&broker, 0, ["100", "200"].map(String::from));
    WALL_US.set(10_000_500);
    let steps = steps(WatermarkEmit {
        interval_us: Some(1_000),
        punctuation: None,
    });
    let mut source = source(&broker, &steps, End::Never);
    let begun = Instant::now();
    let mut stamps = Vec::new();
    let mut poll_for = |source: &mut KafkaSource<Numbers>, records: u64| {
        while source.records_in() < records {
            assert!(begun.elapsed() < LONG);
            if let Polled::Batch(batch) = source.poll(1).expect("read") {
                stamps.extend(batch.watermarks_before);
            }
        }
    };
    poll_for(&mut source, 2);
    assert_eq!(source.watermark(), Some(Watermark::NONE));
    WALL_US.set(10_000_999);
    assert!(!matches!(source.poll(1), Ok(Polled::Batch(_))));
    assert_eq!(
        source.watermark(),
        Some(Watermark::NONE),
        "no step has passed"
    );
    let soon = source.looks_ns().expect("there is something to follow");
    assert!(soon <= monotonic_ns() + 1_000, "a microsecond ahead");
    WALL_US.set(10_001_000);
    let polled = source.poll(1).expect("read");
    assert!(
        matches!(polled, Polled::Nothing { progressed: true }),
        "{polled:?}"
    );
    assert_eq!(source.watermark(), Some(Watermark(200)));
    write(&broker, 0, ["150", "300", "250"].map(String::from));
    poll_for(&mut source, 5);
    let (none, at) = (Watermark::NONE, Watermark(200));
    assert_eq!(stamps, [none, none, at, at, at]);
    assert_eq!(source.watermark(), Some(at));
}

pub(super) fn a_punctuation_moves_the_watermark_of_its_partition_behind_itself() {
    let broker = mock::broker(&[("t", 2)]);
    write(
        &broker,
        0,
        ["100", "bad:250", "7", "150", "7", "300"].map(String::from),
    );
    write(&broker, 1, ["40", "7", "30"].map(String::from));
    let equals_7 = BinaryExpr::new(
        Arc::new(Column::new("n", 0)),
        Operator::Eq,
        Arc::new(Literal::new(ScalarValue::Int64(Some(7)))),
    );
    let steps = steps(WatermarkEmit {
        interval_us: None,
        punctuation: Some(Punctuation {
            expr: PlannedExpr {
                expr: Arc::new(equals_7),
                text: "n = 7".to_owned(),
            },
            columns: vec![0],
        }),
    });
    for max in [1, 2, 100] {
        let mut source = source(&broker, &steps, End::Latest);
        let batches = drain(&mut source, max).expect("read");
        let mut stamps = [Vec::new(), Vec::new()];
        for batch in &batches {
            for (origin, before) in batch.origins.iter().zip(&batch.watermarks_before) {
                stamps[origin.partition as usize].push(before.0);
            }
        }
        let none = Watermark::NONE.0;
        assert_eq!(stamps[0], [none, none, 250, 250, 250], "batches of {max}");
        assert_eq!(stamps[1], [none, none, 40], "batches of {max}");
    }
}
