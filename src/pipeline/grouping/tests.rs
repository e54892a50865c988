//! Grouping on several shards at any order of turns, in the harness. Rows and partials are held to the same model.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::harness::{Course, Outcome, Read, Wiring, run as run_in_order};
use super::super::window_aggregate::tests::{
    GRACE, Record, SIZE, any_record, bounds, model_row, pane, plan,
};
use crate::plan::ExchangeStrategy;

/// What came of a run, in any order.
fn run(course: &Course, wiring: &Wiring) -> Outcome {
    let mut outcome = run_in_order(course, wiring);
    outcome.rows.sort();
    outcome
}

#[test]
fn a_record_whose_window_silence_had_closed_is_told_where_its_bytes_are() {
    let read = |wake, times: &[i64], promise, idle| Read {
        wake,
        records: times
            .iter()
            .map(|&time| Record {
                key: Some("k".to_owned()),
                time,
                x: Some(1),
                f: None,
                t: None,
            })
            .collect(),
        promise,
        idle,
    };
    let course = Course {
        inputs: vec![
            vec![read(0, &[1], 50, true), read(5, &[5, 60, 2], 5, false)],
            vec![read(0, &[], 50, false); 4],
        ],
        // The second shard has told its promise before the first wakes.
        turns: vec![0, 1, 1, 1, 0],
        slice_groups: 2,
    };
    for partials in [true, false] {
        let wiring = Wiring {
            partials,
            told: true,
            ..Wiring::of(plan(true))
        };
        let outcome = run(&course, &wiring);
        assert_eq!((outcome.late_records, outcome.late_after_idle), (0, 2));
        assert_eq!(outcome.rows.len(), 2, "{:?}", outcome.rows);
        assert_eq!(outcome.told.len(), 2);
        let reason = "it is late: its event time is 1970-01-01T00:00:00.000005Z, and the watermark of the query stood at ";
        assert!(outcome.told[0].starts_with(reason), "{}", outcome.told[0]);
    }
}

/// The groups of the records that their own shard accepts, whatever the others do.
fn model(course: &Course, windowed: bool) -> Outcome {
    let mut outcome = Outcome::default();
    let mut groups: BTreeMap<(Option<String>, Option<i64>), Vec<Record>> = BTreeMap::new();
    for input in &course.inputs {
        let mut promised = i64::MIN;
        for read in input {
            for record in &read.records {
                let window = windowed.then(|| pane(record));
                if window.is_some_and(|pane| (pane + 1) * SIZE + GRACE <= promised) {
                    outcome.late_records += 1;
                } else {
                    let group = groups.entry((record.key.clone(), window)).or_default();
                    group.push(record.clone());
                }
            }
            promised = promised.max(read.promise);
        }
    }
    for ((key, window), records) in &groups {
        match model_row(key.as_deref(), window.map(bounds), records) {
            Some(line) => outcome.rows.push(line),
            None => outcome.bad += 1,
        }
    }
    outcome.rows.sort();
    outcome
}

fn any_course(idle: bool) -> impl Strategy<Value = Course> {
    let read = (
        -60i64..90,
        prop::collection::vec(any_record(), 0..8),
        prop_oneof![2 => Just(i64::MIN), 4 => -60i64..90],
        if idle {
            any::<bool>().boxed()
        } else {
            Just(false).boxed()
        },
    )
        .prop_map(|(wake, records, promise, idle)| Read {
            wake,
            records,
            promise,
            idle,
        })
        .boxed();
    let shards = prop_oneof![Just(2usize), Just(3), Just(7)];
    shards.prop_flat_map(move |shards| {
        (
            prop::collection::vec(prop::collection::vec(read.clone(), 0..6), shards),
            prop::collection::vec(0..shards, 0..120),
            1usize..4,
        )
            .prop_map(|(inputs, turns, slice_groups)| Course {
                inputs,
                turns,
                slice_groups,
            })
    })
}

proptest! {
    #[test]
    fn rows_and_partials_give_the_models_rows_whatever_the_timing(course in any_course(false)) {
        for windowed in [true, false] {
            let expected = model(&course, windowed);
            for strategy in [ExchangeStrategy::Hash, ExchangeStrategy::FanIn] {
                for partials in [true, false] {
                    let wiring = Wiring { strategy, partials, ..Wiring::of(plan(windowed)) };
                    prop_assert_eq!(&run(&course, &wiring), &expected, "{:?}", wiring);
                }
            }
        }
    }

    #[test]
    fn groups_that_live_where_they_are_read_need_no_exchange_of_rows(course in any_course(false)) {
        let mut course = course;
        for (shard, input) in course.inputs.iter_mut().enumerate() {
            for record in input.iter_mut().flat_map(|read| &mut read.records) {
                record.key = record.key.take().map(|key| format!("{shard}{key}"));
                record.key.get_or_insert_with(|| shard.to_string());
            }
        }
        for windowed in [true, false] {
            let wiring = Wiring { strategy: ExchangeStrategy::Sticky, ..Wiring::of(plan(windowed)) };
            prop_assert_eq!(run(&course, &wiring), model(&course, windowed));
        }
    }

    #[test]
    fn what_comes_after_a_window_closed_without_an_idle_shard_is_counted_by_record(course in any_course(true)) {
        let total: usize = course.inputs.iter().flatten().map(|read| read.records.len()).sum();
        for (partials, told) in [(true, false), (true, true), (false, false), (false, true)] {
            let wiring = Wiring { partials, told, ..Wiring::of(plan(true)) };
            let outcome = run(&course, &wiring);
            prop_assume!(outcome.bad == 0);
            // Of `k, window_start, window_end, count(*), ..`.
            let counted: u64 = outcome.rows.iter()
                .map(|line| line.split('|').nth(3).and_then(|count| count.parse::<u64>().ok()).expect("a count"))
                .sum();
            prop_assert_eq!(counted + outcome.late_records + outcome.late_after_idle, total as u64, "{:?}", wiring);
            let of_partitions = outcome.told.iter().filter(|reason| reason.contains("of its partition")).count() as u64;
            let of_query = outcome.told.len() as u64 - of_partitions;
            prop_assert_eq!(of_partitions, if told { outcome.late_records } else { 0 });
            let most = if told { outcome.late_after_idle } else { 0 };
            prop_assert!(of_query <= most, "{}", of_query);
        }
    }
}
