//! The operator against a naive sessioniser, at several shard counts, in blocks of any size, fired in slices of any size.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion_common::arrow::datatypes::{Schema, SchemaRef};
use datafusion_expr::Operator;
use datafusion_physical_expr::expressions::{BinaryExpr, Column, lit};
use proptest::prelude::*;

use super::super::window_aggregate::tests::{
    Record, keyed, lines, model_row, output, plan as plan_of,
};
use super::*;
use crate::exchange::split;
use crate::plan::{AggregatePlan, ExchangeStrategy, PlannedExpr, WindowSpec};

mod early;

thread_local! {
    static NOW_NS: Cell<u64> = const { Cell::new(0) };
}

const GAP: i64 = 10;
const GRACE: i64 = 3;

fn plan() -> AggregatePlan {
    AggregatePlan {
        window: Some(WindowSpec::Session {
            gap_us: GAP,
            grace_us: GRACE,
        }),
        ..plan_of(true)
    }
}

fn operator(plan: &AggregatePlan, emit: impl Into<Emission>) -> SessionAggregate {
    let nothing: SchemaRef = Arc::new(Schema::empty());
    let maker = RowMaker::new(plan, &output(plan), &[], &nothing);
    let sessions = plan.window.as_ref().and_then(Sessions::of);
    let sessions = sessions.expect("the plan is one of sessions");
    let emission = emit.into();
    SessionAggregate::new(plan, sessions, emission, maker, 7, || NOW_NS.get(), None)
        .expect("supported aggregates")
}

fn rows_of(records: &[Record]) -> KeyedRows {
    KeyedRows {
        panes: records.iter().map(|record| record.time).collect(),
        ..keyed(records, false)
    }
}

/// One step of a run: a block of records, then a watermark (which may fall back), then some slices.
#[derive(Clone, Debug)]
struct Step {
    records: Vec<Record>,
    watermark: i64,
    slices: Vec<usize>,
}

/// All rows that left, and how many records were left out.
fn run(steps: &[Step], emit: EmitPolicy, shards: usize) -> (Vec<String>, u64) {
    let plan = plan();
    let mut operators: Vec<_> = (0..shards).map(|_| operator(&plan, emit)).collect();
    let mut out = Vec::new();
    for step in steps {
        let parts = split(rows_of(&step.records), shards, ExchangeStrategy::Hash);
        for (operator, part) in operators.iter_mut().zip(parts) {
            if let Some(part) = part {
                operator.rows(part, &mut out);
            }
            operator.watermark(Watermark(step.watermark), 0);
            for &sessions in &step.slices {
                operator.fire_slice(sessions, &mut out);
            }
        }
    }
    let mut late = 0;
    for operator in &mut operators {
        operator.watermark(Watermark::END, 0);
        while operator.fire_slice(2, &mut out) {}
        assert_eq!(
            operator.held(),
            Held {
                state_bytes: operator.held().state_bytes,
                ..Held::default()
            },
            "nothing is kept of what has left"
        );
        late += operator.late_after_idle();
    }
    let rows = out.iter().flat_map(|rows| {
        assert_eq!(rows.event_times_us.len(), rows.batch.num_rows());
        assert!(rows.bad.is_empty());
        lines(&rows.batch)
    });
    (rows.collect(), late)
}

/// The records that are accepted, and how many are not.
fn accepted(steps: &[Step]) -> (Vec<Record>, u64) {
    let (mut watermark, mut late) = (i64::MIN, 0);
    let mut kept = Vec::new();
    for step in steps {
        for record in &step.records {
            if record.time + GRACE < watermark {
                late += 1;
            } else {
                kept.push(record.clone());
            }
        }
        watermark = watermark.max(step.watermark);
    }
    (kept, late)
}

/// The rows of the sessions of these records, by the plainest means.
fn naive(records: &[Record]) -> Vec<String> {
    let mut by_key: BTreeMap<Option<String>, Vec<Record>> = BTreeMap::new();
    for record in records {
        by_key
            .entry(record.key.clone())
            .or_default()
            .push(record.clone());
    }
    let mut rows = Vec::new();
    for (key, mut of_key) in by_key {
        of_key.sort_by_key(|record| record.time);
        let near = |one: &Record, next: &Record| next.time - one.time <= GAP;
        for session in of_key.chunk_by(near) {
            let window = (session[0].time, session[session.len() - 1].time + GAP);
            let row = model_row(key.as_deref(), Some(window), session);
            rows.push(row.expect("small numbers"));
        }
    }
    rows
}

fn any_record() -> impl Strategy<Value = Record> {
    let key = prop_oneof![
        1 => Just(None),
        4 => "[ab]".prop_map(Some),
        1 => "a key that is longer than a view [ab]".prop_map(Some),
    ];
    let text = prop::option::of("[a-c]{0,20}");
    (
        key,
        -60i64..60,
        prop::option::of(-9i64..9),
        prop::option::of(-8i8..8),
        text,
    )
        .prop_map(|(key, time, x, f, t)| Record {
            key,
            time,
            x,
            // Doubles that add up exactly in any order.
            f: f.map(f64::from),
            t,
        })
}

fn any_steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (
        prop::collection::vec(any_record(), 0..25),
        -70i64..80,
        prop::collection::vec(1usize..4, 0..3),
    );
    let step = step.prop_map(|(records, watermark, slices)| Step {
        records,
        watermark,
        slices,
    });
    prop::collection::vec(step, 0..8)
}

fn sorted(mut rows: Vec<String>) -> Vec<String> {
    rows.sort();
    rows
}

/// Key and start: what tells one session from another.
fn identity(row: &str) -> String {
    row.split('|').take(2).collect::<Vec<_>>().join("|")
}

proptest! {
    #[test]
    fn final_rows_are_those_of_a_naive_sessioniser(steps in any_steps()) {
        let (kept, late) = accepted(&steps);
        let expected = sorted(naive(&kept));
        for shards in [1, 2, 3, 7] {
            let (rows, found_late) = run(&steps, EmitPolicy::Final, shards);
            prop_assert_eq!((sorted(rows), found_late), (expected.clone(), late), "{} shards", shards);
        }
    }

    #[test]
    fn every_record_changes_its_session_and_the_last_row_of_each_is_the_final_one(steps in any_steps()) {
        let (kept, late) = accepted(&steps);
        let expected = naive(&kept);
        // As the records come, each with the row of the session that it is in by then.
        let mut each = Vec::new();
        for count in 1..=kept.len() {
            let record = &kept[count - 1];
            let of_key: Vec<Record> = kept[..count].iter().filter(|one| one.key == record.key).cloned().collect();
            let before: BTreeSet<String> = naive(&of_key[..of_key.len() - 1]).into_iter().collect();
            let changed = naive(&of_key).into_iter().filter(|row| !before.contains(row));
            each.extend(changed);
        }
        for shards in [1, 2, 7] {
            let (rows, found_late) = run(&steps, EmitPolicy::Changes, shards);
            prop_assert_eq!(rows.len() as u64, kept.len() as u64);
            prop_assert_eq!(found_late, late);
            let last: BTreeMap<String, String> = rows.iter().map(|row| (identity(row), row.clone())).collect();
            for row in &expected {
                prop_assert_eq!(last.get(&identity(row)), Some(row), "{} shards", shards);
            }
            prop_assert_eq!(sorted(rows), sorted(each.clone()), "{} shards", shards);
        }
    }
}
