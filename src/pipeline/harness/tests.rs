//! Every kind of window under every emission, in slices of one group, with an output that is full every other turn, whatever the
//! order of the records within their bound and the shard count: held to a list of windows and the records that count in each.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::pipeline::window_aggregate::tests::{model_row, plan};
use crate::plan::WindowSpec;

/// How far records may stand behind those that came before, microseconds.
const BOUND: i64 = 25;

/// What the rows are of, without what they say: group, start and end.
fn identity(row: &str) -> String {
    row.split('|').take(3).collect::<Vec<_>>().join("|")
}

/// The windows that cover `time`, found by looking at all that might.
fn covering(window: &WindowSpec, time: i64) -> Vec<(i64, i64)> {
    let starting = |size: i64, advance: i64, offset: i64| {
        let starts = (time - size..=time)
            .filter(move |start| (start - offset).rem_euclid(advance) == 0 && *start > time - size);
        starts.map(move |start| (start, start + size))
    };
    match *window {
        WindowSpec::Tumbling {
            size_us, offset_us, ..
        } => starting(size_us, size_us, offset_us).collect(),
        WindowSpec::Hopping {
            size_us,
            advance_us,
            offset_us,
            ..
        } => starting(size_us, advance_us, offset_us).collect(),
        WindowSpec::Cumulate {
            size_us, step_us, ..
        } => {
            let cycles = starting(size_us, size_us, 0);
            let steps = |(start, end): (i64, i64)| {
                (start + 1..=end)
                    .filter(move |end| (end - start) % step_us == 0 && time < *end)
                    .map(move |end| (start, end))
            };
            cycles.flat_map(steps).collect()
        }
        WindowSpec::Session { .. } => panic!("a session is made of records"),
    }
}

/// The final row of every window.
fn model(window: &WindowSpec, records: &[Record]) -> BTreeMap<String, String> {
    let mut groups: BTreeMap<(Option<String>, i64, i64), Vec<Record>> = BTreeMap::new();
    let mut file = |record: &Record, start: i64, end: i64| {
        let group = groups.entry((record.key.clone(), start, end)).or_default();
        group.push(record.clone());
    };
    if let WindowSpec::Session { gap_us, .. } = *window {
        let mut by_key: BTreeMap<Option<String>, Vec<Record>> = BTreeMap::new();
        for record in records {
            let of_key = by_key.entry(record.key.clone()).or_default();
            of_key.push(record.clone());
        }
        for mut of_key in by_key.into_values() {
            of_key.sort_by_key(|record| record.time);
            for session in of_key.chunk_by(|one, next| next.time - one.time <= gap_us) {
                let (first, last) = (session[0].time, session[session.len() - 1].time);
                for record in session {
                    file(record, first, last + gap_us);
                }
            }
        }
    } else {
        for record in records {
            for (start, end) in covering(window, record.time) {
                file(record, start, end);
            }
        }
    }
    let rows = groups.iter().map(|((key, start, end), records)| {
        let row = model_row(key.as_deref(), Some((*start, *end)), records);
        row.expect("numbers so small that their sums are in range")
    });
    rows.map(|row| (identity(&row), row)).collect()
}

/// The records in an order in which none is further behind another than the bound.
fn within_bound(records: &[Record], mut delay: impl FnMut(&Record) -> i64) -> Vec<Record> {
    let mut delayed: Vec<(i64, Record)> = records
        .iter()
        .map(|record| (record.time + delay(record), record.clone()))
        .collect();
    delayed.sort_by_key(|(at, _)| *at);
    delayed.into_iter().map(|(_, record)| record).collect()
}

/// The records dealt to `shards` in blocks of up to `block`, each followed by the promise that it allows.
fn dealt(records: &[Record], shards: usize, block: usize) -> Vec<Vec<Read>> {
    let mut inputs = vec![Vec::new(); shards];
    let mut greatest = vec![i64::MIN; shards];
    for (number, records) in records.chunks(block).enumerate() {
        let shard = number % shards;
        let times = records.iter().map(|record| record.time);
        greatest[shard] = times.fold(greatest[shard], i64::max);
        inputs[shard].push(Read {
            wake: 0,
            records: records.to_vec(),
            promise: greatest[shard] - BOUND,
            idle: false,
        });
    }
    inputs
}

fn any_window() -> impl Strategy<Value = WindowSpec> {
    let grace_us = prop_oneof![Just(0i64), 1i64..9];
    prop_oneof![
        (5i64..60, 0i64..60, grace_us.clone()).prop_map(|(size_us, offset, grace_us)| {
            WindowSpec::Tumbling {
                size_us,
                offset_us: offset % size_us,
                grace_us,
            }
        }),
        (4i64..30, 0i64..60, 0i64..30, grace_us.clone()).prop_map(
            |(advance_us, more, offset, grace_us)| WindowSpec::Hopping {
                size_us: advance_us + more,
                advance_us,
                offset_us: offset % advance_us,
                grace_us,
            }
        ),
        (4i64..30, 1i64..7, grace_us.clone()).prop_map(|(step_us, steps, grace_us)| {
            WindowSpec::Cumulate {
                size_us: step_us * steps,
                step_us,
                grace_us,
            }
        }),
        (1i64..30, grace_us)
            .prop_map(|(gap_us, grace_us)| WindowSpec::Session { gap_us, grace_us }),
    ]
}

fn any_record() -> impl Strategy<Value = Record> {
    let key = prop_oneof![1 => Just(None), 5 => "[a-d]".prop_map(Some)];
    let text = prop::option::of("[xyz]{0,20}");
    let numbers = (prop::option::of(-9i64..9), prop::option::of(-8i8..8));
    (key, -100i64..300, numbers, text).prop_map(|(key, time, (x, f), t)| Record {
        key,
        time,
        x,
        // Doubles that add up exactly in any order.
        f: f.map(f64::from),
        t,
    })
}

/// What is asked of the records, how they come, and who has a turn when.
#[derive(Clone, Debug)]
struct Trial {
    window: WindowSpec,
    records: Vec<Record>,
    delays: Vec<i64>,
    block: usize,
    turns: Vec<usize>,
    slice_groups: usize,
}

impl Trial {
    /// The records as time, as chance and as malice order them: those of a key together, and the youngest first.
    fn orders(&self) -> [Vec<Record>; 4] {
        let chance = |record: &Record| {
            let place = record.time.rem_euclid(self.delays.len() as i64);
            self.delays[place as usize]
        };
        let of_key = |record: &Record| {
            let key = record
                .key
                .as_deref()
                .map_or(0, |key| i64::from(key.as_bytes()[0] - b'a'));
            key * BOUND / 4
        };
        let youngest_first = |record: &Record| BOUND - 2 * record.time.rem_euclid(BOUND / 2);
        [
            within_bound(&self.records, |_| 0),
            within_bound(&self.records, chance),
            within_bound(&self.records, of_key),
            within_bound(&self.records, youngest_first),
        ]
    }

    fn run(&self, records: &[Record], shards: usize, wiring: &Wiring) -> Outcome {
        let course = Course {
            inputs: dealt(records, shards, self.block),
            turns: self.turns.clone(),
            slice_groups: self.slice_groups,
        };
        run(&course, wiring)
    }
}

fn any_trial() -> impl Strategy<Value = Trial> {
    (
        any_window(),
        prop::collection::vec(any_record(), 0..60),
        prop::collection::vec(0..=BOUND, 1..20),
        1usize..9,
        prop::collection::vec(0usize..7, 0..60),
        prop_oneof![3 => Just(1usize), 1 => 2usize..5],
    )
        .prop_map(
            |(window, records, delays, block, turns, slice_groups)| Trial {
                window,
                records,
                delays,
                block,
                turns,
                slice_groups,
            },
        )
}

/// Every emission; `CHANGES EVERY d` lets go every few turns.
const EMISSIONS: [EmitPolicy; 5] = {
    let every_us = 3 * TURN_NS as i64 / 1_000;
    [
        EmitPolicy::Final,
        EmitPolicy::Changes,
        EmitPolicy::ChangesEvery { every_us },
        EmitPolicy::ChangesEveryRows { rows: 3 },
        EmitPolicy::FinalAndChanges { every_us },
    ]
};

proptest! {
    #[test]
    fn every_window_under_every_emission_ends_in_the_models_rows(trial in any_trial()) {
        let expected = model(&trial.window, &trial.records);
        let is_session = matches!(trial.window, WindowSpec::Session { .. });
        for emit in EMISSIONS {
            for (order, records) in trial.orders().iter().enumerate() {
                for (shards, partials, is_full) in [(1, false, true), (2, false, true), (3, true, true), (7, false, false)] {
                    let wiring = Wiring {
                        emit,
                        is_full,
                        partials: partials && emit == EmitPolicy::Final && !is_session,
                        ..Wiring::of(AggregatePlan { window: Some(trial.window), ..plan(true) })
                    };
                    let found = trial.run(records, shards, &wiring);
                    let said = format!("{emit:?} in order {order} at {shards} shards");
                    prop_assert_eq!((found.bad, found.late_records, found.late_after_idle), (0, 0, 0), "{}", &said);
                    let mut last: BTreeMap<String, String> = found.rows.iter().map(|row| (identity(row), row.clone())).collect();
                    if is_session && emit.updates() {
                        // What became a part of another session is withdrawn by a tombstone, which is no row.
                        last.retain(|identity, _| expected.contains_key(identity));
                    }
                    prop_assert_eq!(&last, &expected, "{}", &said);
                    let records = trial.records.len();
                    match emit {
                        EmitPolicy::Final => prop_assert_eq!(found.rows.len(), expected.len(), "{}", &said),
                        EmitPolicy::Changes if is_session => prop_assert_eq!(found.rows.len(), records, "{}", &said),
                        EmitPolicy::Changes => {
                            let windows = trial.records.iter().map(|record| covering(&trial.window, record.time).len());
                            prop_assert_eq!(found.rows.len(), windows.sum::<usize>(), "{}", &said);
                        }
                        _ => {}
                    }
                }
            }
        }
    }
}
