//! What the operators that group are tested in, made to be hard on them as the test support of Hazelcast Jet is: a grouping stage a
//! shard, over real lanes of one block, in one thread, where the order of turns is part of the input, so that a failure replays.
//!
//! ```text
//!   input (blocks, promises, idle spells) --> Grouping --> output: a slice at a time, full every other turn
//!                                              |    ^
//!                                              v    |  lanes of one block
//!                                             the other shards
//! ```
//!
//! What it asserts in every turn, of any operator:
//! 1. No more leaves at a time than a slice.
//! 2. Nothing leaves below what the readers were promised, and that promise never goes back.
//! 3. Firing gets on: it ends after as much work as windows and groups are worth, and after it nothing is held.
//! 4. The run ends: nothing waits for ever.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;

use datafusion_common::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion_common::arrow::datatypes::{DataType, Schema};
use velostream_shards::{Doorbells, ShardId, mesh};

use super::exchange_edge::{ExchangeEdge, Lanes};
use super::filter_project::Evaluated;
use super::grouping::{Epochs, Grouping, LateCounts};
use super::ingest::Ingest;
use super::letters::LateLetters;
use super::owned::Owned;
use super::partial_aggregate::PartialAggregate;
use super::standing::Held;
use super::window_aggregate::tests::{Record, key_column, keyed, lines, output};
use crate::batch::{Batch, Origin};
use crate::config::limits::INBOX_BLOCKS_MAX;
use crate::config::options::{OnError, TimeOptions, TimeUnit};
use crate::emit::{OutputRows, RowMaker};
use crate::exchange::KeyForm;
use crate::plan::{
    AggregatePlan, EmitPolicy, ExchangeStrategy, SourceConnector, StreamSpec, Written,
};
use crate::time::{EventTime, Idle, Standing, Watermark};
use crate::window::{Assigner, PaneNumbers};

/// Turns after which a run is taken for one that never ends.
const TURNS_MAX: usize = 200_000;

/// Firings that a row which leaves and a record in a window are worth, and some for the start and the end. In 256 courses of slices of one
/// group it were 1.25 at most.
const FIRINGS_EACH: usize = 2;
const FIRINGS_FREE: usize = 50;

/// How far the clock goes from one turn to the next, nanoseconds.
const TURN_NS: u64 = 2_000;

thread_local! {
    /// The monotonic clock of the run, nanoseconds.
    static NOW_NS: Cell<u64> = const { Cell::new(0) };
}

/// What a shard reads: some records, then a promise (which may fall back), then perhaps a pause in which it is idle. Where it was
/// idle before, it wakes: its promise falls back to `wake`, if that is less.
#[derive(Clone, Debug)]
pub struct Read {
    pub wake: i64,
    pub records: Vec<Record>,
    pub promise: i64,
    pub idle: bool,
}

/// How a run goes.
#[derive(Clone, Debug)]
pub struct Course {
    pub inputs: Vec<Vec<Read>>,
    /// Which shard has its turn; when they are used up, one after the other.
    pub turns: Vec<usize>,
    pub slice_groups: usize,
}

/// What the shards do, and how they are connected.
#[derive(Clone, Debug)]
pub struct Wiring {
    pub plan: AggregatePlan,
    pub emit: EmitPolicy,
    pub strategy: ExchangeStrategy,
    pub partials: bool,
    /// Whether late records go to a dead letter.
    pub told: bool,
    /// Whether the output of a shard has no room in every other of its turns.
    pub is_full: bool,
}

impl Wiring {
    /// Rows by hash to their owners, which emit them when their windows fire into an output that has always room.
    pub fn of(plan: AggregatePlan) -> Wiring {
        Wiring {
            plan,
            emit: EmitPolicy::Final,
            strategy: ExchangeStrategy::Hash,
            partials: false,
            told: false,
            is_full: false,
        }
    }
}

/// What came of a run.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    /// The rows, in the order in which they left their shard, one shard after the other.
    pub rows: Vec<String>,
    pub bad: usize,
    pub late_records: u64,
    pub late_after_idle: u64,
    /// Reasons of the letters.
    pub told: Vec<String>,
}

/// One shard with its input and its output.
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
    closed: bool,
    /// Whether the output has no room in every other turn, and whether it is such a turn.
    is_full_at_times: bool,
    is_full: bool,
    firings: usize,
    made: Vec<OutputRows>,
}

impl Seat {
    fn turn(&mut self, now_ns: u64) {
        self.is_full = self.is_full_at_times && !self.is_full;
        self.grouping.flush();
        if !self.is_full {
            self.fire();
        }
        self.grouping.send_partials(&mut self.made);
        for _ in 0..INBOX_BLOCKS_MAX {
            if self.is_full || self.grouping.drain(&mut self.made).is_none() {
                break;
            }
        }
        self.grouping.step(now_ns, 0, &mut self.made);
        self.give_away();
        if self.is_full || !self.grouping.has_room() || self.closed {
            return;
        }
        match self.input.pop_front() {
            Some(read) => self.read(&read, now_ns),
            None => {
                self.grouping.watermark(Watermark::END, 0, &mut self.made);
                self.grouping.close_input();
                self.closed = true;
            }
        }
        self.give_away();
    }

    fn fire(&mut self) {
        self.firings += usize::from(self.grouping.fire(&mut self.made));
        let leaves: usize = self.made.iter().map(|rows| rows.batch.num_rows()).sum();
        let slice = self.grouping.slice_groups;
        assert!(leaves <= slice, "{leaves} rows in a slice of {slice}");
    }

    fn read(&mut self, read: &Read, now_ns: u64) {
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
                since_ns: now_ns,
                advances: true,
            };
            self.grouping.idle(idle, &mut self.made);
            self.idle = true;
        }
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

/// Does what `course` says.
pub fn run(course: &Course, wiring: &Wiring) -> Outcome {
    NOW_NS.set(0);
    let mut seats = seats(course, wiring);
    let shards = seats.len();
    let in_turn = (0..TURNS_MAX).map(|turn| turn % shards);
    for shard in course.turns.iter().map(|turn| turn % shards).chain(in_turn) {
        NOW_NS.set(NOW_NS.get() + TURN_NS);
        seats[shard].turn(NOW_NS.get());
        if seats.iter().all(Seat::is_finished) {
            break;
        }
    }
    assert!(
        seats.iter().all(Seat::is_finished),
        "the run ends: nothing waits for ever"
    );
    let mut outcome = Outcome::default();
    let mut firings = 0;
    for seat in &mut seats {
        let held = seat.grouping.held();
        let nothing = Held {
            state_bytes: held.state_bytes,
            ..Held::default()
        };
        assert_eq!(held, nothing, "nothing is kept of what has left");
        firings += seat.firings;
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
    let reads = course.inputs.iter().flatten();
    let records: usize = reads.map(|read| read.records.len()).sum();
    let window = wiring.plan.window.as_ref();
    let windows = window.map_or(1, |window| window.windows_a_record() as usize);
    let worth = outcome.rows.len() + outcome.bad + records * windows;
    let most = FIRINGS_EACH * worth + FIRINGS_FREE;
    assert!(firings <= most, "{firings} firings of {most}");
    outcome
}

fn seats(course: &Course, wiring: &Wiring) -> Vec<Seat> {
    let plan = &wiring.plan;
    let shards = course.inputs.len();
    let doorbells = Doorbells::open(shards).expect("an eventfd a shard");
    mesh(&doorbells, 1, 1)
        .into_iter()
        .zip(&course.inputs)
        .enumerate()
        .map(|(shard, (mut endpoint, input))| {
            let lanes = (shards > 1).then(|| Lanes {
                outbox: endpoint.outboxes.remove(0),
                inbox: endpoint.inboxes.remove(0),
            });
            let shard = ShardId::from_index(shard);
            let window = plan.window.as_ref();
            let numbers = window.map(|window| PaneNumbers::of(window, wiring.emit));
            let maker = RowMaker::new(plan, &output(plan), &[], &Arc::new(Schema::empty()));
            let clock = || NOW_NS.get();
            let first_phase = || {
                PartialAggregate::new(plan, 7, clock, None)
                    .expect("aggregates that can be computed")
            };
            Seat {
                grouping: Grouping {
                    keys: 1,
                    form: KeyForm::new(&[DataType::Utf8View]).expect("a plain type"),
                    assigner: numbers.map(Assigner::of),
                    first_phase: wiring.partials.then(first_phase),
                    edge: ExchangeEdge::new(shard, shards, wiring.strategy, numbers, lanes),
                    owned: Owned::new(plan, wiring.emit.into(), maker, 7, clock, None)
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
                closed: false,
                is_full_at_times: wiring.is_full,
                is_full: false,
                firings: 0,
                made: Vec::new(),
            }
        })
        .collect()
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

#[cfg(test)]
mod tests;
