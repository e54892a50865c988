//! Grouping on several shards, over real lanes of one block, in one thread: the order of turns is part of the input, so that a
//! failure replays. Rows and partials are held to the same model.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use datafusion_common::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion_common::arrow::datatypes::{DataType, Schema};
use proptest::prelude::*;
use velostream_shards::{Doorbells, ShardId, mesh};

use super::*;
use crate::batch::{Batch, Origin};
use crate::config::limits::INBOX_BLOCKS_MAX;
use crate::config::options::{OnError, TimeOptions, TimeUnit};
use crate::emit::RowMaker;
use crate::pipeline::exchange_edge::Lanes;
use crate::pipeline::window_aggregate::tests::{
    GRACE, Record, SIZE, any_record, bounds, key_column, keyed, lines, model_row, output, pane,
    plan,
};
use crate::plan::{
    AggregatePlan, EmitPolicy, ExchangeStrategy, SourceConnector, StreamSpec, Written,
};
use crate::time::EventTime;
use crate::window::PaneNumbers;

/// Turns after which a run is taken for one that never ends.
const TURNS_MAX: usize = 200_000;

/// What a shard reads: some records, then a promise (which may fall back), then perhaps a pause in which it is idle. Where it was
/// idle before, it wakes: its promise falls back to `wake`, if that is less.
#[derive(Clone, Debug)]
struct Read {
    wake: i64,
    records: Vec<Record>,
    promise: i64,
    idle: bool,
}

/// How far the clock goes from one turn to the next, microseconds.
const TURN_US: u64 = 2;

/// How a run goes.
#[derive(Clone, Debug)]
struct Course {
    inputs: Vec<Vec<Read>>,
    /// Which shard has its turn; when they are used up, one after the other.
    turns: Vec<usize>,
    slice_groups: usize,
}

/// What came of a run.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    rows: Vec<String>,
    bad: usize,
    late_records: u64,
    late_after_idle: u64,
    /// Reasons of the letters.
    told: Vec<String>,
}

/// One shard with its input.
struct Seat {
    grouping: Grouping,
    /// What has left, as text, and how many rows were withheld.
    rows: Vec<String>,
    bad: usize,
    /// The most that the readers of the rows were promised.
    said: Watermark,
    input: VecDeque<Read>,
    promised: Watermark,
    idle: bool,
    now_ns: u64,
    closed: bool,
    made: Vec<OutputRows>,
}

impl Seat {
    fn turn(&mut self) {
        self.grouping.flush();
        self.grouping.fire(&mut self.made);
        self.grouping.send_partials(&mut self.made);
        for _ in 0..INBOX_BLOCKS_MAX {
            if self.grouping.drain(&mut self.made).is_none() {
                break;
            }
        }
        self.now_ns += TURN_US * 1_000;
        self.grouping.step(self.now_ns, 0, &mut self.made);
        self.give_away();
        if !self.grouping.has_room() || self.closed {
            return;
        }
        match self.input.pop_front() {
            Some(read) => {
                if std::mem::take(&mut self.idle) {
                    self.promised = self.promised.min(Watermark(read.wake));
                    self.grouping.watermark(self.promised, 0, &mut self.made);
                }
                let batch = evaluated(&read.records, self.promised);
                self.grouping.take(batch, &mut self.made);
                self.promised = self.promised.max(Watermark(read.promise));
                self.grouping.watermark(self.promised, 0, &mut self.made);
                if read.idle {
                    let idle = Idle {
                        since_ns: self.now_ns,
                        advances: true,
                    };
                    self.grouping.idle(idle, &mut self.made);
                    self.idle = true;
                }
            }
            None => {
                self.grouping.watermark(Watermark::END, 0, &mut self.made);
                self.grouping.close_input();
                self.closed = true;
            }
        }
        self.give_away();
    }

    /// What was made leaves; nothing of it may stand below what was promised before.
    fn give_away(&mut self) {
        for rows in self.made.drain(..) {
            let said = self.said;
            assert!(
                rows.event_times_us
                    .iter()
                    .all(|&time| Watermark(time) >= said),
                "a row below the promise {said:?}"
            );
            self.bad += rows.bad.len();
            self.rows.extend(lines(&rows.batch));
        }
        if let Standing::Promises(time, _) = self.grouping.standing() {
            assert!(time >= self.said, "what its rows promise goes back");
            self.said = time;
        }
    }

    fn is_finished(&self) -> bool {
        self.closed && self.grouping.is_finished()
    }
}

fn evaluated(records: &[Record], promised: Watermark) -> Evaluated {
    let rows = keyed(records, false);
    let options = RecordBatchOptions::new().with_row_count(Some(records.len()));
    let mut columns = vec![key_column(records)];
    columns.extend(rows.arguments);
    Evaluated {
        records: Batch {
            columns: RecordBatch::try_new_with_options(
                Arc::new(Schema::empty()),
                Vec::new(),
                &options,
            )
            .expect("no columns"),
            event_times: records.iter().map(|one| EventTime(one.time)).collect(),
            watermarks_before: vec![promised; records.len()],
            origins: vec![
                Origin {
                    partition: 0,
                    offset: 0
                };
                records.len()
            ],
            due_us: 0,
            originals: None,
        },
        columns,
    }
}

/// How the shards are connected.
#[derive(Clone, Copy, Debug)]
struct Wiring {
    windowed: bool,
    strategy: ExchangeStrategy,
    partials: bool,
    /// Whether late records go to a dead letter.
    told: bool,
}

fn seats(course: &Course, wiring: Wiring) -> Vec<Seat> {
    let plan: AggregatePlan = plan(wiring.windowed);
    let shards = course.inputs.len();
    let doorbells = Doorbells::open(shards).expect("an eventfd a shard");
    mesh(&doorbells, 1, 1)
        .into_iter()
        .zip(&course.inputs)
        .enumerate()
        .map(|(shard, (mut endpoint, input))| {
            let lanes = Lanes {
                outbox: endpoint.outboxes.remove(0),
                inbox: endpoint.inboxes.remove(0),
            };
            let shard = ShardId::from_index(shard);
            let window = plan.window.as_ref();
            let numbers = window.map(|window| PaneNumbers::of(window, EmitPolicy::Final));
            let maker = RowMaker::new(&plan, &output(&plan), &[], &Arc::new(Schema::empty()));
            let first_phase = || {
                PartialAggregate::new(&plan, 7, || 0, None)
                    .expect("aggregates that can be computed")
            };
            Seat {
                grouping: Grouping {
                    keys: 1,
                    form: KeyForm::new(&[DataType::Utf8View]).expect("a plain type"),
                    assigner: numbers.map(Assigner::of),
                    first_phase: wiring.partials.then(first_phase),
                    edge: ExchangeEdge::new(shard, shards, wiring.strategy, numbers, Some(lanes)),
                    owned: Owned::new(&plan, EmitPolicy::Final.into(), maker, 7, || 0, None)
                        .expect("aggregates that can be computed"),
                    ingest: Ingest::new(|| 0),
                    judged_records: 0,
                    late_records: 0,
                    late_letters: wiring.told.then(|| LateLetters::of(&stream())),
                    behind_us: window.map(|window| window.behind_us()),
                    reached: (Watermark::NONE, 0),
                    told: (Watermark::NONE, 0),
                    slice_groups: course.slice_groups,
                    epochs: Epochs::default(),
                },
                rows: Vec::new(),
                bad: 0,
                said: Watermark::NONE,
                input: input.clone().into(),
                promised: Watermark::NONE,
                idle: false,
                now_ns: 0,
                closed: false,
                made: Vec::new(),
            }
        })
        .collect()
}

fn stream() -> Arc<StreamSpec> {
    Arc::new(StreamSpec {
        name: "s".to_owned(),
        columns: Arc::new(Schema::empty()),
        event_time: None,
        on_error: OnError::DeadLetter,
        dead_letter: None,
        event_time_unit: TimeUnit::Milliseconds,
        time: TimeOptions::default(),
        watermark_emit: Default::default(),
        connector: SourceConnector::Queries(Written {
            queries: 1,
            bounded: true,
            updates: None,
        }),
    })
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
            windowed: true,
            strategy: ExchangeStrategy::Hash,
            partials,
            told: true,
        };
        let outcome = run(&course, wiring);
        assert_eq!((outcome.late_records, outcome.late_after_idle), (0, 2));
        assert_eq!(outcome.rows.len(), 2, "{:?}", outcome.rows);
        assert_eq!(outcome.told.len(), 2);
        let reason = "it is late: its event time is 1970-01-01T00:00:00.000005Z, and the watermark of the query stood at ";
        assert!(outcome.told[0].starts_with(reason), "{}", outcome.told[0]);
    }
}

fn run(course: &Course, wiring: Wiring) -> Outcome {
    let mut seats = seats(course, wiring);
    let shards = seats.len();
    let in_turn = (0..TURNS_MAX).map(|turn| turn % shards);
    let mut outcome = Outcome::default();
    for shard in course.turns.iter().map(|turn| turn % shards).chain(in_turn) {
        seats[shard].turn();
        if seats.iter().all(Seat::is_finished) {
            break;
        }
    }
    assert!(
        seats.iter().all(Seat::is_finished),
        "the run ends: nothing waits for ever"
    );
    for seat in &mut seats {
        outcome.rows.append(&mut seat.rows);
        let LateCounts {
            late,
            after_idle,
            judged: _,
            corrections: _,
        } = seat.grouping.late();
        outcome.late_records += late;
        outcome.late_after_idle += after_idle;
        outcome.bad += seat.bad;
        let letters = seat.grouping.late_letters.iter_mut();
        let letters = letters.flat_map(LateLetters::take_letters);
        outcome.told.extend(letters.map(|letter| letter.reason));
    }
    outcome.rows.sort();
    outcome
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
                    let wiring = Wiring { windowed, strategy, partials, told: false };
                    prop_assert_eq!(&run(&course, wiring), &expected, "{:?}", wiring);
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
            let wiring = Wiring { windowed, strategy: ExchangeStrategy::Sticky, partials: false, told: false };
            prop_assert_eq!(run(&course, wiring), model(&course, windowed));
        }
    }

    #[test]
    fn what_comes_after_a_window_closed_without_an_idle_shard_is_counted_by_record(course in any_course(true)) {
        let total: usize = course.inputs.iter().flatten().map(|read| read.records.len()).sum();
        for (partials, told) in [(true, false), (true, true), (false, false), (false, true)] {
            let wiring = Wiring { windowed: true, strategy: ExchangeStrategy::Hash, partials, told };
            let outcome = run(&course, wiring);
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
