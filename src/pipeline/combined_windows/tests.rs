//! Windows that overlap, through the operator, against a map from key and window to the records that count in it.

use std::collections::BTreeMap;

use datafusion_common::arrow::array::AsArray;
use datafusion_common::arrow::datatypes::TimestampMicrosecondType;
use proptest::prelude::*;

use super::*;
use crate::emit::OutputRows;
use crate::pipeline::window_aggregate::tests::{
    Record, any_record, keyed, lines, model_row, operator, plan,
};
use crate::plan::{EmitPolicy, WindowSpec};
use crate::time::EventTime;
use crate::window::{Assigner, Spans};

/// Records, each with the watermark of its partition just before it; then the query's watermark; then slices of so many groups.
type Step = (Vec<(Record, i64)>, i64, Vec<usize>);

/// By key and window the row, without the bounds; how many records were late, and how many came after their windows had closed.
type Answer = (BTreeMap<(String, i64, i64), String>, u64, u64);

fn file(rows: Vec<OutputRows>, found: &mut Answer) {
    for rows in rows {
        let bound = |column: usize, row: usize| {
            let times = rows.batch.column(column);
            times.as_primitive::<TimestampMicrosecondType>().value(row)
        };
        for (row, line) in lines(&rows.batch).into_iter().enumerate() {
            let columns: Vec<&str> = line.split('|').collect();
            let identity = (columns[0].to_owned(), bound(1, row), bound(2, row));
            let again = found.0.insert(identity, columns[3..].join("|"));
            assert!(again.is_none(), "a group leaves once: {line}");
        }
    }
}

fn run(window: WindowSpec, steps: &[Step], done: Option<i64>) -> Answer {
    let mut plan = plan(true);
    plan.window = Some(window);
    let mut operator = operator(&plan, EmitPolicy::Final);
    let mut assigner = Assigner::of(PaneNumbers::of(&window, EmitPolicy::Final));
    if let Some(done) = done {
        operator.start_at(Watermark(done));
        assigner.start_at(Watermark(done));
    }
    let (mut found, mut out) = (Answer::default(), Vec::new());
    for (records, watermark, slices) in steps {
        let times: Vec<EventTime> = records.iter().map(|(one, _)| EventTime(one.time)).collect();
        let before: Vec<Watermark> = records.iter().map(|&(_, at)| Watermark(at)).collect();
        let (mut panes, mut accepted) = (Vec::new(), Vec::new());
        let assigned = assigner.assign(&times, &before, &mut panes, &mut accepted);
        found.1 += assigned.late;
        let taken = accepted.iter().map(|&row| records[row as usize].0.clone());
        let mut rows = keyed(&taken.collect::<Vec<_>>(), true);
        rows.panes = panes;
        if !rows.is_empty() {
            operator.rows(rows, &mut out);
        }
        operator.watermark(Watermark(*watermark), 0);
        for &groups in slices {
            operator.fire_slice(groups, &mut out);
        }
    }
    operator.watermark(Watermark::END, 0);
    while operator.fire_slice(3, &mut out) {}
    assert!(operator.is_idle());
    assert_eq!(operator.held().groups, 0, "everything has left");
    found.2 = operator.late_after_idle();
    file(out, &mut found);
    found
}

fn model(window: WindowSpec, steps: &[Step], done: Option<i64>) -> Answer {
    let spans = Spans::of(&window);
    let mut found = Answer::default();
    let mut groups: BTreeMap<(String, i64), Vec<Record>> = BTreeMap::new();
    let mut closed = done.unwrap_or(i64::MIN);
    for (records, watermark, _) in steps {
        for (record, before) in records {
            let covering = spans.covering(EventTime(record.time));
            let done = done.unwrap_or(i64::MIN);
            let mut windows: Vec<i64> = covering
                .filter(|&number| spans.closing(number).0 > done)
                .collect();
            let some = !windows.is_empty();
            windows.retain(|&number| spans.closing(number).0 > *before);
            if windows.is_empty() {
                found.1 += u64::from(some);
                continue;
            }
            windows.retain(|&number| spans.closing(number).0 > closed);
            found.2 += u64::from(windows.is_empty());
            let key = record.key.clone().unwrap_or_else(|| "NULL".to_owned());
            for number in windows {
                let group = groups.entry((key.clone(), number)).or_default();
                group.push(record.clone());
            }
        }
        closed = closed.max(*watermark);
    }
    for ((key, number), records) in groups {
        let (start, end) = spans.bounds(number);
        if let Some(row) = model_row(Some(&key), None, &records) {
            let (_, row) = row.split_once('|').expect("a key");
            found.0.insert((key, start, end), row.to_owned());
        }
    }
    found
}

fn any_window() -> impl Strategy<Value = WindowSpec> {
    prop_oneof![
        (8i64..20, 1i64..80, 0i64..20, 0i64..9).prop_map(|(advance_us, more, offset, grace_us)| {
            WindowSpec::Hopping {
                size_us: advance_us + more,
                advance_us,
                offset_us: offset % advance_us,
                grace_us,
            }
        }),
        (8i64..15, 2i64..7, 0i64..9).prop_map(|(step_us, steps, grace_us)| {
            WindowSpec::Cumulate {
                size_us: step_us * steps,
                step_us,
                grace_us,
            }
        }),
    ]
}

/// Times go on with the steps, so that windows fire all the while; a record's partition is ahead of the query.
fn any_steps() -> impl Strategy<Value = Vec<Step>> {
    let record = (any_record(), -60i64..40, -30i64..40);
    let step = (
        prop::collection::vec(record, 0..12),
        0i64..40,
        prop::collection::vec(1usize..9, 0..4),
    );
    prop::collection::vec(step, 0..25).prop_map(|steps| {
        let mut clock = -200;
        let steps = steps.into_iter().map(|(records, passes, slices)| {
            let at = clock;
            let records = records.into_iter().map(|(record, time, before)| {
                let time = at + time;
                (Record { time, ..record }, at + before)
            });
            clock += passes;
            (records.collect(), clock, slices)
        });
        steps.collect()
    })
}

proptest! {
    #[test]
    fn a_window_is_what_counts_in_it(
        window in any_window(),
        steps in any_steps(),
        done in prop::option::of(-300i64..100),
    ) {
        prop_assert_eq!(run(window, &steps, done), model(window, &steps, done));
    }
}

/// Of keys that live shorter than a window suffixes would be far larger than the slices.
#[test]
fn keys_that_come_and_go_take_memory_in_proportion() {
    let window = WindowSpec::Hopping {
        size_us: 1_000,
        advance_us: 10,
        offset_us: 0,
        grace_us: 0,
    };
    let mut plan = plan(true);
    plan.window = Some(window);
    let mut operator = operator(&plan, EmitPolicy::Final);
    let numbers = PaneNumbers::of(&window, EmitPolicy::Final);
    let (mut rows_out, mut groups_most) = (0, 0);
    for slice in 0..400 {
        let time = slice * 10;
        let records = (0..20).map(|key| Record {
            key: Some(format!("{slice}-{key}")),
            time,
            x: None,
            f: None,
            t: None,
        });
        let mut rows = keyed(&records.collect::<Vec<_>>(), true);
        rows.panes = vec![numbers.pane(EventTime(time)); 20];
        let mut out = Vec::new();
        operator.rows(rows, &mut out);
        operator.watermark(Watermark(time), 0);
        while operator.fire_slice(500, &mut out) {}
        rows_out += out.iter().map(|rows| rows.batch.num_rows()).sum::<usize>();
        groups_most = groups_most.max(operator.held().groups);
    }
    assert!(rows_out > 500_000, "{rows_out}");
    // A window has 2,000 groups; the slices, the sum and the suffixes are a few times that, and not a hundred.
    assert!(groups_most < 12_000, "{groups_most}");
}
