//! The operator against a naive model: a list of values a group, folded anew for every row.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion_common::arrow::array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, StringViewArray,
};
use datafusion_common::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion_common::arrow::util::display::array_value_to_string;
use datafusion_expr::Operator;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{BinaryExpr, Column, lit};
use proptest::prelude::*;

use super::*;
use crate::emit::OutputRows;
use crate::exchange::{split, stable_hashes};
use crate::plan::{AggregateKind, ExchangeStrategy, PlannedExpr, WindowSpec};
use crate::time::EventTime;
use crate::window::Spans;

mod corrections;
mod early;
mod withdrawn;

pub(in crate::pipeline) const SIZE: i64 = 10;
pub(in crate::pipeline) const GRACE: i64 = 3;

fn planned(expr: Arc<dyn PhysicalExpr>) -> PlannedExpr {
    PlannedExpr {
        text: expr.to_string(),
        expr,
    }
}

fn column(schema: &Schema, name: &str) -> PlannedExpr {
    planned(Arc::new(
        Column::new_with_schema(name, schema).expect("a column of the schema"),
    ))
}

fn spec(
    kind: AggregateKind,
    argument: Option<(usize, DataType)>,
    result_type: DataType,
    text: &str,
) -> AggregateSpec {
    let (argument, argument_type) =
        argument.map_or((None, DataType::Null), |(index, of)| (Some(index), of));
    AggregateSpec {
        kind,
        argument,
        argument_type,
        result_type,
        text: String::from(text),
    }
}

/// `SELECT k, [window_start, window_end,] count(*), count(x), sum(x), min(x), max(x), avg(f), min(t) GROUP BY k`.
pub(in crate::pipeline) fn plan(windowed: bool) -> AggregatePlan {
    let aggregates = vec![
        spec(AggregateKind::Count, None, DataType::Int64, "count(*)"),
        spec(
            AggregateKind::Count,
            Some((0, DataType::Int64)),
            DataType::Int64,
            "count(x)",
        ),
        spec(
            AggregateKind::Sum,
            Some((0, DataType::Int64)),
            DataType::Int64,
            "sum(x)",
        ),
        spec(
            AggregateKind::Min,
            Some((0, DataType::Int64)),
            DataType::Int64,
            "min(x)",
        ),
        spec(
            AggregateKind::Max,
            Some((0, DataType::Int64)),
            DataType::Int64,
            "max(x)",
        ),
        spec(
            AggregateKind::Avg,
            Some((1, DataType::Float64)),
            DataType::Float64,
            "avg(f)",
        ),
        spec(
            AggregateKind::Min,
            Some((2, DataType::Utf8View)),
            DataType::Utf8View,
            "min(t)",
        ),
    ];
    let mut fields = vec![Field::new("k", DataType::Utf8View, true)];
    if windowed {
        let time = DataType::Timestamp(TimeUnit::Microsecond, None);
        fields.push(Field::new("window_start", time.clone(), false));
        fields.push(Field::new("window_end", time, false));
    }
    for aggregate in &aggregates {
        fields.push(Field::new(
            &aggregate.text,
            aggregate.result_type.clone(),
            true,
        ));
    }
    let grouped = Schema::new(fields);
    AggregatePlan {
        keys: vec![planned(Arc::new(Column::new("k", 0)))],
        arguments: Vec::new(),
        aggregates,
        window: windowed.then_some(WindowSpec::Tumbling {
            size_us: SIZE,
            offset_us: 0,
            grace_us: GRACE,
        }),
        is_final: false,
        having: None,
        rows: grouped
            .fields()
            .iter()
            .map(|field| column(&grouped, field.name()))
            .collect(),
        grouped: Arc::new(grouped),
    }
}

pub(in crate::pipeline) fn operator(
    plan: &AggregatePlan,
    emit: impl Into<Emission>,
) -> WindowAggregate {
    let nothing: SchemaRef = Arc::new(Schema::empty());
    let output = output(plan);
    let maker = RowMaker::new(plan, &output, &[], &nothing);
    WindowAggregate::new(plan, emit, maker, 7, || 7, None).expect("supported aggregates")
}

/// The schema of the plan's output columns.
pub(in crate::pipeline) fn output(plan: &AggregatePlan) -> SchemaRef {
    let fields: Vec<Field> = plan
        .rows
        .iter()
        .map(|row| {
            let typed = row
                .expr
                .data_type(&plan.grouped)
                .expect("a typed expression");
            Field::new(&row.text, typed, true)
        })
        .collect();
    Arc::new(Schema::new(fields))
}

#[derive(Clone, Debug)]
pub(in crate::pipeline) struct Record {
    pub key: Option<String>,
    pub time: i64,
    pub x: Option<i64>,
    pub f: Option<f64>,
    pub t: Option<String>,
}

pub(in crate::pipeline) fn pane(record: &Record) -> i64 {
    record.time.div_euclid(SIZE)
}

/// Start and end of a pane.
pub(in crate::pipeline) fn bounds(pane: i64) -> (i64, i64) {
    (pane * SIZE, (pane + 1) * SIZE)
}

pub(in crate::pipeline) fn key_column(records: &[Record]) -> ArrayRef {
    Arc::new(StringViewArray::from_iter(
        records.iter().map(|record| record.key.as_deref()),
    ))
}

pub(in crate::pipeline) fn keyed(records: &[Record], windowed: bool) -> KeyedRows {
    let keys = vec![key_column(records)];
    KeyedRows {
        rows: records.len(),
        hashes: stable_hashes(&keys, records.len()),
        keys,
        panes: if windowed {
            records.iter().map(pane).collect()
        } else {
            Vec::new()
        },
        arguments: vec![
            Arc::new(Int64Array::from_iter(records.iter().map(|record| record.x))),
            Arc::new(Float64Array::from_iter(
                records.iter().map(|record| record.f),
            )),
            Arc::new(StringViewArray::from_iter(
                records.iter().map(|record| record.t.as_deref()),
            )),
        ],
        due_us: 0,
    }
}

/// Rows as text, one line a row.
pub(in crate::pipeline) fn lines(batch: &RecordBatch) -> Vec<String> {
    let line = |row| {
        let values = batch
            .columns()
            .iter()
            .map(|column| match column.is_null(row) {
                true => String::from("NULL"),
                false => array_value_to_string(column, row).expect("a printable value"),
            });
        values.collect::<Vec<_>>().join("|")
    };
    (0..batch.num_rows()).map(line).collect()
}

/// What a group of these records gives; `None` if its sum is out of range.
pub(in crate::pipeline) fn model_row(
    key: Option<&str>,
    window: Option<(i64, i64)>,
    records: &[Record],
) -> Option<String> {
    fn text<T: ToString>(value: Option<T>) -> String {
        value.map_or_else(|| String::from("NULL"), |value| value.to_string())
    }
    let numbers: Vec<i64> = records.iter().filter_map(|record| record.x).collect();
    let doubles: Vec<f64> = records.iter().filter_map(|record| record.f).collect();
    let total: i128 = numbers.iter().copied().map(i128::from).sum();
    let sum = match numbers.is_empty() {
        true => None,
        false => Some(i64::try_from(total).ok()?),
    };
    let mean = match doubles.is_empty() {
        true => None,
        false => Some(doubles.iter().sum::<f64>() / doubles.len() as f64),
    };
    let mean: ArrayRef = Arc::new(Float64Array::from(vec![mean]));
    let mean_batch = RecordBatch::try_from_iter([("mean", mean)]).expect("one column");
    let mut values = vec![text(key)];
    if let Some((start, end)) = window {
        let bounds: ArrayRef = Arc::new(
            datafusion_common::arrow::array::TimestampMicrosecondArray::from(vec![start, end]),
        );
        values.extend((0..2).map(|row| array_value_to_string(&bounds, row).expect("a time")));
    }
    values.extend([
        records.len().to_string(),
        numbers.len().to_string(),
        text(sum),
        text(numbers.iter().min()),
        text(numbers.iter().max()),
        lines(&mean_batch).remove(0),
        text(
            records
                .iter()
                .filter_map(|record| record.t.as_deref())
                .min(),
        ),
    ]);
    Some(values.join("|"))
}

/// One step of a run: a block of records, then a watermark (which may fall back), then some slices.
#[derive(Clone, Debug)]
struct Step {
    records: Vec<Record>,
    watermark: i64,
    /// Whether what is held back is let go.
    lets_go: bool,
    slices: Vec<usize>,
}

#[derive(Debug, Default, PartialEq)]
struct Outcome {
    /// The rows of each group and window in the order in which they left.
    rows: BTreeMap<String, Vec<String>>,
    bad: usize,
    late_after_idle: u64,
}

impl Outcome {
    /// Files a row under its group and window: the first columns.
    fn file(&mut self, line: String, windowed: bool) {
        let columns = if windowed { 3 } else { 1 };
        let identity = line.split('|').take(columns).collect::<Vec<_>>().join("|");
        self.rows.entry(identity).or_default().push(line);
    }
}

fn run(steps: &[Step], emit: impl Into<Emission> + Copy, windowed: bool, shards: usize) -> Outcome {
    let plan = plan(windowed);
    let mut operators: Vec<WindowAggregate> = (0..shards).map(|_| operator(&plan, emit)).collect();
    let mut outcome = Outcome::default();
    let mut out = Vec::new();
    for step in steps {
        let parts = split(
            keyed(&step.records, windowed),
            shards,
            ExchangeStrategy::Hash,
        );
        for (operator, part) in operators.iter_mut().zip(parts) {
            if let Some(part) = part {
                operator.rows(part, &mut out);
            }
            operator.watermark(Watermark(step.watermark), 0);
            if step.lets_go {
                operator.let_held_go();
            }
            for &groups in &step.slices {
                operator.fire_slice(groups, &mut out);
            }
        }
    }
    for operator in &mut operators {
        operator.watermark(Watermark::END, 0);
        operator.watermark(Watermark::END, 0);
        while operator.fire_slice(3, &mut out) {}
        assert!(operator.is_idle());
        outcome.late_after_idle += operator.late_after_idle();
    }
    for rows in out {
        outcome.bad += rows.bad.len();
        assert_eq!(
            rows.event_times_us.len(),
            if windowed { rows.batch.num_rows() } else { 0 }
        );
        for line in lines(&rows.batch) {
            outcome.file(line, windowed);
        }
    }
    outcome
}

fn model(steps: &[Step], emit: EmitPolicy, windowed: bool) -> Outcome {
    let mut outcome = Outcome::default();
    let mut groups: BTreeMap<(Option<String>, Option<i64>), Vec<Record>> = BTreeMap::new();
    let mut watermark = i64::MIN;
    for step in steps {
        for record in &step.records {
            let window = windowed.then(|| pane(record));
            if window.is_some_and(|pane| (pane + 1) * SIZE + GRACE <= watermark) {
                outcome.late_after_idle += 1;
                continue;
            }
            let group = groups.entry((record.key.clone(), window)).or_default();
            group.push(record.clone());
            if emit == EmitPolicy::Changes {
                match model_row(record.key.as_deref(), window.map(bounds), group) {
                    Some(line) => outcome.file(line, windowed),
                    None => outcome.bad += 1,
                }
            }
        }
        watermark = watermark.max(step.watermark);
    }
    if emit == EmitPolicy::Final {
        for ((key, window), records) in &groups {
            match model_row(key.as_deref(), window.map(bounds), records) {
                Some(line) => outcome.file(line, windowed),
                None => outcome.bad += 1,
            }
        }
    }
    outcome
}

pub(in crate::pipeline) fn any_record() -> impl Strategy<Value = Record> {
    let key = prop_oneof![
        Just(None),
        "[abc]{0,1}".prop_map(Some),
        Just(Some("k".repeat(40)))
    ];
    let x = prop_oneof![
        2 => Just(None),
        4 => (-3i64..4).prop_map(Some),
        1 => Just(Some(i64::MAX)),
        1 => Just(Some(i64::MIN)),
        1 => Just(Some(i64::MAX - 1)),
    ];
    let f = prop::option::of((-8i32..8).prop_map(|quarters| f64::from(quarters) / 4.0));
    let t = prop::option::of("[xyz]{0,20}");
    (key, -40i64..60, x, f, t).prop_map(|(key, time, x, f, t)| Record { key, time, x, f, t })
}

fn any_steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (
        prop::collection::vec(any_record(), 0..12),
        prop_oneof![4 => Just(i64::MIN), 3 => -60i64..80],
        any::<bool>(),
        prop::collection::vec(1usize..4, 0..3),
    );
    prop::collection::vec(
        step.prop_map(|(records, watermark, lets_go, slices)| Step {
            records,
            watermark,
            lets_go,
            slices,
        }),
        1..10,
    )
}

/// The same records in the same order and the same watermarks after the same records, in blocks of one.
fn in_blocks_of_one(steps: &[Step]) -> Vec<Step> {
    let mut single = Vec::new();
    for step in steps {
        for record in &step.records {
            single.push(Step {
                records: vec![record.clone()],
                watermark: i64::MIN,
                lets_go: false,
                slices: Vec::new(),
            });
        }
        single.push(Step {
            records: Vec::new(),
            watermark: step.watermark,
            lets_go: step.lets_go,
            slices: vec![1],
        });
    }
    single
}

proptest! {
    #[test]
    fn rows_are_those_of_the_model_whatever_the_blocks_slices_and_shards(steps in any_steps()) {
        for emit in [EmitPolicy::Changes, EmitPolicy::Final] {
            for windowed in [true, false] {
                let expected = model(&steps, emit, windowed);
                for shards in [1, 2, 7] {
                    prop_assert_eq!(&run(&steps, emit, windowed, shards), &expected);
                }
                prop_assert_eq!(&run(&in_blocks_of_one(&steps), emit, windowed, 1), &expected);
            }
        }
    }

    #[test]
    fn the_last_change_of_a_window_is_its_final_row(steps in any_steps()) {
        let changes = run(&steps, EmitPolicy::Changes, true, 1);
        let finals = run(&steps, EmitPolicy::Final, true, 1);
        let records: usize = steps.iter().map(|step| step.records.len()).sum();
        let left: usize = changes.rows.values().map(Vec::len).sum();
        prop_assert_eq!(left + changes.bad + changes.late_after_idle as usize, records);
        for (identity, rows) in &finals.rows {
            prop_assert_eq!(rows.len(), 1);
            prop_assert_eq!(changes.rows[identity].last(), rows.last());
        }
    }
}

fn record(key: &str, time: i64, x: i64) -> Record {
    Record {
        key: Some(String::from(key)),
        time,
        x: Some(x),
        f: None,
        t: None,
    }
}

#[test]
fn a_close_is_emitted_in_slices_with_the_due_time_of_what_released_it() {
    let mut operator = operator(&plan(true), EmitPolicy::Final);
    let mut out = Vec::new();
    let records: Vec<Record> = (0..5)
        .map(|key| record(&key.to_string(), 1, 1))
        .chain([record("a", 15, 1)])
        .collect();
    operator.rows(keyed(&records, true), &mut out);
    operator.watermark(Watermark(SIZE + GRACE - 1), 1);
    assert!(operator.is_idle());
    assert!(!operator.fire_slice(2, &mut out));
    operator.watermark(Watermark(SIZE + GRACE), 2);
    operator.watermark(Watermark(100), 3);
    assert!(out.is_empty() && !operator.is_idle());

    let mut slices = Vec::new();
    loop {
        let more = operator.fire_slice(2, &mut out);
        slices.push(
            out.drain(..)
                .map(|rows| (rows.batch.num_rows(), rows.due_us))
                .collect::<Vec<_>>(),
        );
        if !more {
            break;
        }
    }
    assert_eq!(slices, [vec![(2, 2)], vec![(2, 2)], vec![(1, 2), (1, 3)]]);
    assert!(operator.is_idle());
}

#[test]
fn the_event_time_of_a_windowed_row_is_just_before_its_windows_end() {
    let mut operator = operator(&plan(true), EmitPolicy::Changes);
    let mut out = Vec::new();
    operator.rows(
        keyed(
            &[record("a", -1, 1), record("a", 3, 1), record("b", -7, 1)],
            true,
        ),
        &mut out,
    );
    let times: Vec<Vec<i64>> = out.iter().map(|rows| rows.event_times_us.clone()).collect();
    assert_eq!(times, [vec![-1, -1], vec![9]]);
}

/// `HAVING count(*) > 1` and an output column `10 / sum(x)`.
fn guarded_plan() -> AggregatePlan {
    let mut plan = plan(false);
    let grouped = Arc::clone(&plan.grouped);
    let binary = |left: PlannedExpr, op, right| {
        planned(Arc::new(
            BinaryExpr::new(left.expr, op, right).with_fail_on_overflow(true),
        ))
    };
    plan.having = Some(binary(
        column(&grouped, "count(*)"),
        Operator::Gt,
        lit(1i64),
    ));
    let quotient = BinaryExpr::new(
        lit(10i64),
        Operator::Divide,
        column(&grouped, "sum(x)").expr,
    );
    plan.rows = vec![
        column(&grouped, "k"),
        planned(Arc::new(quotient.with_fail_on_overflow(true))),
    ];
    plan
}

#[test]
fn having_filters_and_a_failing_output_column_withholds_its_row_only() {
    let plan = guarded_plan();
    let mut operator = operator(&plan, EmitPolicy::Final);
    let mut out = Vec::new();
    let records = [
        record("once", 0, 0),
        record("zero", 0, 1),
        record("zero", 0, -1),
        record("five", 0, 2),
        record("five", 0, 3),
        record("huge", 0, i64::MAX),
        record("huge", 0, 1),
    ];
    operator.rows(keyed(&records, false), &mut out);
    assert!(
        !operator.fire_slice(10, &mut out),
        "nothing fires before the end of input"
    );
    operator.watermark(Watermark::END, 0);
    assert!(!operator.fire_slice(10, &mut out));
    assert_eq!(out.len(), 1);
    assert_eq!(lines(&out[0].batch), ["five|2"]);
    assert_eq!(out[0].bad.len(), 2, "{:?}", out[0].bad);
    assert!(
        out[0].bad[0]
            .reason
            .contains("sum(x) is out of the range of"),
        "{}",
        out[0].bad[0].reason
    );
    let second = &out[0].bad[1].reason;
    assert!(second.contains("ivide by zero"), "{second}");
}

#[test]
fn rows_that_having_removes_are_no_rows_at_all() {
    let mut operator = operator(&guarded_plan(), EmitPolicy::Changes);
    let mut out = Vec::new();
    operator.rows(keyed(&[record("a", 0, 5)], false), &mut out);
    assert!(out.is_empty());
    operator.rows(keyed(&[record("a", 0, 5)], false), &mut out);
    assert_eq!(lines(&out[0].batch), ["a|1"]);
}

#[test]
fn the_message_key_stands_beside_its_row() {
    let plan = plan(true);
    let grouped = &plan.grouped;
    let key = [column(grouped, "window_start"), column(grouped, "k")];
    let key_columns: SchemaRef = Arc::new(grouped.project(&[1, 0]).expect("columns of the schema"));
    let maker = RowMaker::new(&plan, &output(&plan), &key, &key_columns);
    let mut operator = WindowAggregate::new(&plan, EmitPolicy::Changes, maker, 7, || 7, None)
        .expect("supported aggregates");
    let mut out = Vec::new();
    operator.rows(
        keyed(
            &[
                record("a", 0, i64::MAX),
                record("a", 1, 1),
                record("b", 2, 1),
            ],
            true,
        ),
        &mut out,
    );
    let key = out[0].key.as_ref().expect("a key");
    assert_eq!(out[0].bad.len(), 1);
    assert_eq!(
        lines(key),
        ["1970-01-01T00:00:00|a", "1970-01-01T00:00:00|b"]
    );
    assert_eq!(key.schema(), key_columns);
}

#[test]
fn one_global_group_needs_no_key_and_no_records_give_no_row() {
    let mut global = plan(false);
    global.keys.clear();
    let fields: Vec<_> = global.grouped.fields().iter().skip(1).cloned().collect();
    global.grouped = Arc::new(Schema::new(fields));
    global.rows = global
        .grouped
        .fields()
        .iter()
        .map(|field| column(&global.grouped, field.name()))
        .collect();

    let mut silent = operator(&global, EmitPolicy::Final);
    let mut out = Vec::new();
    silent.watermark(Watermark::END, 0);
    assert!(!silent.fire_slice(1, &mut out));
    assert!(out.is_empty());

    let mut operator = operator(&global, EmitPolicy::Final);
    let mut rows = keyed(&[record("a", 0, 5), record("b", 0, 6)], false);
    rows.keys.clear();
    operator.rows(rows, &mut out);
    operator.watermark(Watermark::END, 0);
    operator.fire_slice(1, &mut out);
    assert_eq!(lines(&out[0].batch), ["2|2|11|5|6|NULL|NULL"]);
}

#[test]
fn the_edges_of_time_are_windows_like_any_other() {
    let spans = Spans::of(&WindowSpec::Tumbling {
        size_us: SIZE,
        offset_us: 0,
        grace_us: GRACE,
    });
    let times = [i64::MIN, i64::MAX];
    let mut rows = keyed(&[record("a", 0, 1), record("b", 0, 1)], true);
    rows.panes = times
        .iter()
        .map(|&time| *spans.covering(EventTime(time)).end())
        .collect();
    let mut operator = operator(&plan(true), EmitPolicy::Final);
    let mut out = Vec::new();
    operator.rows(rows, &mut out);
    operator.watermark(Watermark(i64::MAX - 1), 0);
    assert!(!operator.fire_slice(10, &mut out));
    assert_eq!(
        out.len(),
        1,
        "the last window of all waits for the end of input"
    );
    operator.watermark(Watermark::END, 0);
    operator.fire_slice(10, &mut out);
    assert_eq!(
        out.iter()
            .map(|rows| rows.event_times_us[0])
            .collect::<Vec<_>>(),
        [
            spans.bounds(*spans.covering(EventTime(i64::MIN)).end()).1 - 1,
            i64::MAX - 1
        ]
    );
}

/// Regression: rows were taken 64 blocks a turn while closed panes left 4,096 groups a turn, and state grew without end.
#[test]
fn a_closed_pane_that_is_not_leaving_yet_holds_back_rows() {
    let mut operator = operator(&plan(true), EmitPolicy::Final);
    let mut out = Vec::new();
    let records = [record("a", 1, 1), record("b", 1, 1), record("a", 11, 1)];
    operator.rows(keyed(&records, true), &mut out);
    assert!(!operator.is_behind());
    operator.watermark(Watermark(100), 1);
    assert!(operator.is_behind());
    assert!(operator.fire_slice(1, &mut out));
    assert!(operator.is_behind(), "the second pane waits for the first");
    assert!(operator.fire_slice(2, &mut out) || operator.is_idle());
    while operator.fire_slice(1, &mut out) {
        assert!(!operator.is_behind(), "the last pane is leaving");
    }
    assert!(operator.is_idle());
}
