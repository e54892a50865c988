//! Whole jobs in one thread, on real shards and lanes of one block, that die at any moment and go on: every choice is drawn from
//! a seed, so that a failure replays.
//!
//! What the world keeps through a death: the topic, the rows that were written, and what the group has committed, of which the
//! last commit may have reached some partitions only.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, channel};

use velostream_shards::{
    Context, Doorbells, ExitInbox, NodeMemory, Numa, Progress, Shard, ShardId, exit_lane, mesh,
};

use super::super::restart::from_commits;
use super::*;
use crate::batch::{Batch, DeadLetter, LetterStage, Origin, Original, Originals};
use crate::error::Place;
use crate::exchange::Block;
use crate::format::json::JsonDecoder;
use crate::format::{Decoded, Decoder};
use crate::job::{RowFormat, outputs};
use crate::kafka::Span;
use crate::pipeline::{
    BatchSize, Lanes, LetterTarget, QueryParts, RestartAt, ShardParts, ShardPipeline, ToJob,
    shard_pipeline,
};
use crate::plan::{JobPlan, SourceSpec};
use crate::sink::dead_letter::LetterForm;
use crate::source::kafka::{Climb, Replay, deal};
use crate::source::{BadRecords, Polled, Restart as Phase, Source, SourceFigures};
use crate::sql::{Settings, plan_script};
use crate::time::PartitionClock;

/// Numbers that look like chance.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }
}

/// Records as JSON, by partition, in the order of their offsets.
type Topic = Rc<Vec<Vec<String>>>;

/// Time goes on, unevenly over the partitions and out of order; some records are late, some are bad.
fn topic(chance: &mut Chance) -> Topic {
    let partitions = 1 + chance.below(4) as usize;
    let mut topic = vec![Vec::new(); partitions];
    let mut number = 0;
    for records in &mut topic {
        let mut time = 100 + chance.below(10);
        for _ in 0..60 + chance.below(120) {
            time += chance.below(3);
            let behind = if chance.one_in(12) {
                chance.below(30)
            } else {
                chance.below(4)
            };
            number += 1;
            records.push(match chance.one_in(25) {
                true => format!(r#"{{"k":"x","v":"bad","ts":{time}}}"#),
                false => format!(
                    r#"{{"k":"{}","v":{number},"ts":{}}}"#,
                    ["a", "b", "c", "d", "e"][chance.below(5) as usize],
                    time - behind
                ),
            });
        }
    }
    Rc::new(topic)
}

/// Reads partitions of a topic as `KafkaSource` does.
struct TopicSource {
    topic: Topic,
    partitions: Vec<TopicPartition>,
    /// Partitions that it finds when normal work begins.
    grows_by: Vec<TopicPartition>,
    decoder: JsonDecoder,
    bad: BadRecords,
    phase: Option<Phase>,
    turn: usize,
    taken: Rc<Cell<u64>>,
    again: Rc<Cell<u64>>,
}

struct TopicPartition {
    range: Range,
    next: i64,
    clock: PartitionClock,
    climb: Climb,
}

impl TopicSource {
    fn new(
        spec: &SourceSpec,
        topic: &Topic,
        (share, grows_by): (&[Range], &[Range]),
        replay: Replay,
        counts: &(Rc<Cell<u64>>, Rc<Cell<u64>>),
    ) -> TopicSource {
        let stream = &spec.stream;
        let partition = |range: &Range| {
            let mut clock =
                PartitionClock::new(stream.event_time.as_ref().expect("timed").bound_us);
            if let Some(restored) = range.restored {
                clock.restore(match range.distance() {
                    0 => restored.watermark_at_next,
                    _ => restored.watermark_at_start,
                });
            }
            TopicPartition {
                range: *range,
                next: range.start,
                climb: Climb::new(clock.highest_us(), replay.step_us.expect("windows")),
                clock,
            }
        };
        let rebuilds = share.iter().any(|range| range.distance() > 0);
        TopicSource {
            topic: Rc::clone(topic),
            partitions: share.iter().map(partition).collect(),
            grows_by: grows_by.iter().map(partition).collect(),
            decoder: JsonDecoder::new(
                &stream.columns,
                &spec.projection,
                Some(2),
                stream.event_time_unit,
            )
            .expect("types"),
            bad: BadRecords::new(&stream.name, stream.on_error),
            phase: Some(match (replay.rebuilds, rebuilds) {
                (false, _) => Phase::Running,
                (true, false) => Phase::Rebuilt,
                (true, true) => Phase::Rebuilding,
            }),
            turn: 0,
            taken: Rc::clone(&counts.0),
            again: Rc::clone(&counts.1),
        }
    }
}

impl Source for TopicSource {
    fn poll(&mut self, max: usize) -> Result<Polled> {
        if self.phase == Some(Phase::Rebuilt) {
            return Ok(Polled::Nothing { progressed: false });
        }
        let rebuilding = self.phase == Some(Phase::Rebuilding);
        if !rebuilding {
            self.partitions.append(&mut self.grows_by);
        }
        let (mut event_times, mut watermarks_before, mut origins) =
            (Vec::new(), Vec::new(), Vec::new());
        let mut originals = Originals::default();
        let mut progressed = false;
        self.turn += 1;
        let place = self.turn % self.partitions.len();
        let partition = &mut self.partitions[place];
        let records = &self.topic[partition.range.partition as usize];
        let end = match rebuilding {
            true => partition.range.next(),
            false => records.len() as i64,
        };
        for _ in 0..max {
            if partition.next >= end {
                break;
            }
            progressed = true;
            let offset = partition.next;
            partition.next += 1;
            let count = if rebuilding { &self.again } else { &self.taken };
            count.set(count.get() + 1);
            let bytes = records[offset as usize].as_bytes();
            let origin = Origin {
                partition: partition.range.partition,
                offset,
            };
            let (decoded, is_good) = match self.decoder.decode(bytes) {
                Decoded::Record(time) => (time, true),
                Decoded::Bad(bad) => {
                    if !rebuilding {
                        let place = || Place::Offset {
                            topic: "t".to_owned(),
                            partition: origin.partition,
                            offset,
                        };
                        let original = || Original::line(bytes).to_owned();
                        self.bad
                            .take(LetterStage::Decode, place, &bad.reason, original)?;
                    }
                    (bad.event_time, false)
                }
            };
            let Some(time) = decoded else { continue };
            let before = partition.clock.advance(time);
            partition.climb.advance(time, offset, before);
            if is_good {
                event_times.push(time);
                watermarks_before.push(before);
                origins.push(origin);
                originals.push(origin, &Original::line(bytes));
            }
        }
        if rebuilding
            && self
                .partitions
                .iter()
                .all(|one| one.next >= one.range.next())
        {
            self.phase = Some(Phase::Rebuilt);
            for partition in &mut self.partitions {
                let restored = partition.range.restored;
                partition
                    .clock
                    .restore(restored.map_or(Watermark::NONE, |one| one.watermark_at_next));
            }
        }
        if origins.is_empty() {
            // Another partition may have something.
            let more = self
                .partitions
                .iter()
                .any(|one| one.next < self.topic[one.range.partition as usize].len() as i64);
            return Ok(Polled::Nothing {
                progressed: progressed || (more && self.phase != Some(Phase::Rebuilt)),
            });
        }
        Ok(Polled::Batch(Batch {
            columns: self.decoder.finish(),
            event_times,
            watermarks_before,
            origins,
            due_us: 0,
            // What is read again was told when it was read first.
            originals: (!rebuilding).then(|| originals.into()),
        }))
    }

    fn watermark(&self) -> Option<Watermark> {
        self.partitions
            .iter()
            .map(|one| one.clock.watermark())
            .min()
    }

    fn records_in(&self) -> u64 {
        0
    }

    fn figures(&self) -> SourceFigures {
        SourceFigures::default()
    }

    fn take_letters(&mut self) -> Vec<DeadLetter> {
        self.bad.take_letters()
    }

    fn restart(&self) -> Option<Phase> {
        self.phase
    }

    fn go_on(&mut self) -> Result<()> {
        assert_eq!(self.phase, Some(Phase::Rebuilt));
        self.phase = Some(Phase::Running);
        Ok(())
    }

    fn cut(&mut self) -> Vec<PartitionCut> {
        let cut = |one: &mut TopicPartition| PartitionCut {
            partition: one.range.partition,
            next: one.next,
            watermark: one.clock.watermark(),
            highest_us: one.climb.highest_us(),
            bounded: false,
            rungs: one.climb.take(),
        };
        self.partitions.iter_mut().map(cut).collect()
    }
}

/// The group's end in the job; the world holds the other ends.
struct WorldGroup {
    asked: Sender<Vec<Committed>>,
    answered: Receiver<()>,
}

impl Group for WorldGroup {
    fn commit(&mut self, offsets: &[Committed]) {
        self.asked.send(offsets.to_vec()).expect("the world lives");
    }

    fn poll(&mut self) -> Option<CommitOutcome> {
        self.answered.try_recv().ok().map(|()| CommitOutcome::Kept)
    }

    fn commit_now(&mut self, offsets: &[Committed]) -> Result<()> {
        self.commit(offsets);
        Ok(())
    }

    fn name(&self) -> &str {
        "g"
    }
}

const SQL: &str = "
    CREATE STREAM s (k VARCHAR, v BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
    WITH (connector = 'kafka', topic = 't', event_time.unit = 's', on_error = 'dead_letter', dead_letter = 'file:d.jsonl');
    CREATE STREAM f WITH (connector = 'file', path = 'f.json', late = 'dead_letter') AS
    SELECT 'final' AS q, k, window_start, COUNT(*) AS n, SUM(v) AS total, 6 / (COUNT(*) - 2) AS part FROM s GROUP BY k
    WINDOW TUMBLING (SIZE 10 SECONDS, GRACE PERIOD 2 SECONDS);
    CREATE STREAM c WITH (connector = 'file', path = 'c.json') AS
    SELECT 'changes' AS q, k, window_start, COUNT(*) AS n, SUM(v) AS total, 6 / (COUNT(*) - 1) AS part FROM s GROUP BY k
    WINDOW TUMBLING (SIZE 25 SECONDS) EMIT CHANGES;
    CREATE STREAM l WITH (connector = 'file', path = 'l.json') AS
    SELECT 'each' AS q, k, v, 1 / (v % 5) AS part FROM s WHERE v % 3 = 0;";

fn plan(shards: usize) -> JobPlan {
    let settings = Settings {
        shards,
        job_name: Some("j".to_owned()),
    };
    let plan = plan_script("test.sql", SQL, &settings)
        .expect("valid SQL")
        .job;
    assert!(plan.committed(0).is_some(), "every query is replayable");
    plan
}

/// How a life ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Death {
    /// A stop, after so many rounds; all rows leave, and the end is committed.
    Stop(u64),
    /// At once, after so many rounds.
    Kill(u64),
    /// A stop when all was read and all windows that can fire have.
    Whole,
}

/// What outlives a process.
struct World {
    topic: Topic,
    committed: BTreeMap<i32, Committed>,
    /// Partitions that the next life finds only while it runs.
    unknown: usize,
    rows: Vec<String>,
    records_in: u64,
    records_again: u64,
}

/// Rows that were handed over.
struct Handed {
    mark: u8,
    rows: Vec<String>,
}

/// The job's thread.
struct Life {
    commits: Commits,
    ledger: Ledger,
    exits: Vec<ExitInbox<ToJob>>,
    /// Not yet written, and written but not acknowledged.
    handed: VecDeque<Handed>,
    written: Vec<Handed>,
    asked: Receiver<Vec<Committed>>,
    answer: Sender<()>,
    /// A commit that the coordinator has not applied, and whether it owes an answer.
    pending: Option<Vec<Committed>>,
    owes: bool,
    now_ns: u64,
}

impl Life {
    /// The job's thread does one of the things that it does. Whether there was something.
    fn work(&mut self, world: &mut World, chance: &mut Chance) {
        match chance.below(6) {
            0 | 1 => {
                let shard = chance.below(self.exits.len() as u64) as usize;
                match self.exits[shard].take() {
                    Some(ToJob::Rows(block)) => {
                        let rows = (0..block.values.len()).map(|row| {
                            String::from_utf8(block.values.row(row).to_vec()).expect("JSON")
                        });
                        let rows: Vec<String> = rows.collect();
                        let mark = self.ledger.handed_over(rows.len() as u64);
                        self.handed.push_back(Handed { mark, rows });
                    }
                    Some(ToJob::Cut { epoch, sources }) => self.commits.cut(shard, epoch, sources),
                    Some(ToJob::Passed {
                        query,
                        epoch,
                        fired,
                    }) => {
                        self.commits.passed(shard, query, epoch, fired);
                    }
                    Some(ToJob::Failed(error)) => panic!("{error}"),
                    Some(
                        ToJob::Taken { .. }
                        | ToJob::Counts(_)
                        | ToJob::Ingest(_)
                        | ToJob::Notice(_),
                    )
                    | None => {}
                }
            }
            2 => {
                if let Some(block) = self.handed.pop_front() {
                    world.rows.extend(block.rows.iter().cloned());
                    self.written.push(block);
                }
            }
            3 => {
                if !self.written.is_empty() {
                    let place = chance.below(self.written.len() as u64) as usize;
                    let block = self.written.swap_remove(place);
                    self.ledger
                        .acknowledged(block.mark, block.rows.len() as u64);
                }
            }
            4 => {
                self.now_ns += 1_000;
                self.commits
                    .step(self.now_ns, &mut self.ledger, &mut |_| ())
                    .expect("nothing is refused");
            }
            _ => self.coordinate(world),
        }
    }

    /// The coordinator applies a commit, or answers.
    fn coordinate(&mut self, world: &mut World) {
        if std::mem::take(&mut self.owes) {
            self.answer.send(()).expect("the job lives");
        } else if let Some(commit) = self.pending.take() {
            world.keep(commit.into_iter());
            self.owes = true;
        } else {
            self.pending = self.asked.try_recv().ok();
        }
    }
}

impl World {
    fn keep(&mut self, commit: impl Iterator<Item = Committed>) {
        for committed in commit {
            self.committed.insert(committed.partition, committed);
        }
    }

    /// Runs the job until `death`, on so many shards.
    fn live(&mut self, shards: usize, death: Death, chance: &mut Chance) {
        let plan = plan(shards);
        let doorbells = Doorbells::open(shards).expect("there are descriptors");
        let known = self.topic.len() - std::mem::take(&mut self.unknown);
        let spans: Vec<Span> = (0..known)
            .map(|partition| Span {
                partition: partition as i32,
                oldest: 0,
                next: self.topic[partition].len() as i64,
            })
            .collect();
        let from_start = |partition: usize| Range {
            partition: partition as i32,
            start: 0,
            end: None,
            oldest: true,
            restored: None,
        };
        let ranges = (0..known).map(from_start);
        let committed: Vec<Committed> = self.committed.values().cloned().collect();
        let (ask, asked) = channel();
        let (answer, answered) = channel();
        let group = Box::new(WorldGroup {
            asked: ask,
            answered,
        });
        let restart =
            from_commits(&plan, 0, &spans, ranges.collect(), &committed, group).expect("it fits");
        let rebuilds = restart.resumed.distance() > 0;
        let at = RestartAt {
            done: restart.resumed.done,
            rebuilds,
        };
        let epochs = EpochHandle::new(&doorbells);
        let counts = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let endpoints = mesh::<Block>(&doorbells, plan.queries.len(), 1);
        let mut pipelines: Vec<Option<ShardPipeline>> = Vec::new();
        let mut exits = Vec::new();
        let shares = deal(&restart.resumed.ranges, shards);
        for ((index, endpoint), share) in endpoints.into_iter().enumerate().zip(shares) {
            let shard = ShardId::from_index(index);
            let (exit, inbox) = exit_lane(&doorbells, shard, 1);
            exits.push(inbox);
            let mut ends = endpoint.outboxes.into_iter().zip(endpoint.inboxes);
            let queries = plan.queries.iter().map(|query| {
                let (outbox, inbox) = ends.next().expect("an edge a query");
                QueryParts {
                    lanes: query
                        .plan
                        .exchange
                        .needs_lanes(shards)
                        .then_some(Lanes { outbox, inbox }),
                    encoder: Some(outputs::encoder(&query.plan, RowFormat::Json, None)),
                    restart: Some(at),
                }
            });
            // As `source::kafka::Share` has it.
            let grows_by = (known..self.topic.len())
                .filter(|partition| partition % shards.min(known) == index)
                .map(from_start);
            let grows_by: Vec<Range> = grows_by.collect();
            let source = (!share.is_empty()).then(|| {
                let replay = restart.replay(rebuilds);
                Box::new(TopicSource::new(
                    &plan.sources[0],
                    &self.topic,
                    (&share, &grows_by),
                    replay,
                    &counts,
                )) as Box<dyn Source>
            });
            let parts = ShardParts {
                dead_letters: vec![LetterTarget {
                    form: LetterForm::Lines,
                    limit: None,
                }],
                shard,
                shards,
                sources: vec![source],
                batch: {
                    let records = 1 + chance.below(9) as usize;
                    BatchSize::new(records, records, 0)
                },
                queries: queries.collect(),
                exit,
                epochs: epochs.clone(),
                node: NodeMemory::new(0, Numa::Off),
                wall_us: || 0,
                monotonic_ns: || 0,
            };
            pipelines.push(Some(shard_pipeline(&plan, parts).expect("it can be built")));
        }
        let interval = Duration::from_nanos(1_000 * (1 + chance.below(30)));
        let mut life = Life {
            commits: Commits::new(
                vec![restart],
                shards,
                plan.queries.len(),
                epochs,
                interval,
                rebuilds,
            ),
            ledger: Ledger::default(),
            exits,
            handed: VecDeque::new(),
            written: Vec::new(),
            asked,
            answer,
            pending: None,
            owes: false,
            now_ns: 0,
        };
        let total: u64 = self.topic.iter().map(|records| records.len() as u64).sum();
        let before: u64 = self
            .committed
            .values()
            .map(|one| read(one).next as u64)
            .sum();
        let (mut round, mut behind, mut stopping) = (0u64, 0u64, false);
        while pipelines.iter().any(Option::is_some) {
            assert!(round < 400_000, "a life without an end");
            round += 1;
            match death {
                Death::Kill(rounds) if round >= rounds => {
                    // What the coordinator had in hand reaches some partitions only.
                    let pending = life.pending.take().or_else(|| life.asked.try_recv().ok());
                    let reached = pending.into_iter().flatten().filter(|_| chance.one_in(2));
                    self.keep(reached.collect::<Vec<_>>().into_iter());
                    return;
                }
                Death::Stop(rounds) => stopping |= round >= rounds,
                Death::Kill(_) | Death::Whole => {}
            }
            let index = chance.below(shards as u64) as usize;
            if let Some(pipeline) = &mut pipelines[index] {
                let mut cx = Context::new(ShardId::from_index(index), round, stopping);
                if pipeline.turn(&mut cx) == Progress::Done {
                    let done = pipelines[index].take().expect("it had a turn");
                    drop(done.finish());
                }
            }
            for _ in 0..3 {
                life.work(self, chance);
            }
            // Time enough for all windows to fire that can.
            behind += u64::from(before + counts.0.get() == total);
            stopping |= death == Death::Whole && behind > 3_000;
        }
        while !life.is_drained(self, chance) {}
        life.commits.finish().expect("the coordinator answers");
        while let Ok(commit) = life.asked.try_recv() {
            self.keep(commit.into_iter());
        }
        self.records_in += counts.0.get();
        self.records_again += counts.1.get();
    }
}

impl Life {
    /// Works on what the shards left, until nothing has come for a while.
    fn is_drained(&mut self, world: &mut World, chance: &mut Chance) -> bool {
        for _ in 0..400 {
            self.work(world, chance);
        }
        self.pending
            .take()
            .into_iter()
            .for_each(|commit| world.keep(commit.into_iter()));
        self.handed.is_empty() && self.written.is_empty()
    }
}

fn read(committed: &Committed) -> PartitionCommit {
    PartitionCommit::read(committed.partition, committed.offset, &committed.metadata).expect("ours")
}

fn world(topic: &Topic) -> World {
    World {
        topic: Rc::clone(topic),
        committed: BTreeMap::new(),
        unknown: 0,
        rows: Vec::new(),
        records_in: 0,
        records_again: 0,
    }
}

/// The rows of one query.
fn of<'r>(rows: &'r [String], query: &str) -> Vec<&'r str> {
    let mark = format!(r#""q":"{query}""#);
    rows.iter()
        .map(String::as_str)
        .filter(|row| row.contains(&mark))
        .collect()
}

/// The dead letters of one stage.
fn told<'r>(rows: &'r [String], stage: &str) -> Vec<&'r str> {
    let mark = format!(r#""stage":"{stage}""#);
    let letters = rows.iter().map(String::as_str);
    let mut letters: Vec<&str> = letters.filter(|row| row.contains(&mark)).collect();
    letters.sort_unstable();
    letters
}

/// The same, each once.
fn once<'r>(letters: &[&'r str]) -> Vec<&'r str> {
    let mut once = letters.to_vec();
    once.dedup();
    once
}

/// Stages whose letters depend on nothing but the topic. A late record is passed over if its window was done before a restart.
const SURE_STAGES: [&str; 3] = ["decode", "expression", "output"];

/// The last row of each group of EMIT CHANGES: what stands before the count says which group it is.
fn last(rows: &[String]) -> BTreeMap<&str, &str> {
    of(rows, "changes")
        .into_iter()
        .map(|row| row.split_once(r#","n":"#).expect("a count"))
        .collect()
}

#[test]
fn a_run_that_is_stopped_and_goes_on_gives_each_row_and_each_dead_letter_once() {
    let (mut letters, mut late) = (0, 0);
    for seed in 0..40 {
        let mut chance = Chance(seed);
        let topic = topic(&mut chance);
        let mut whole = world(&topic);
        whole.live(1 + chance.below(3) as usize, Death::Whole, &mut chance);
        let mut parts = world(&topic);
        parts.unknown = chance.below(topic.len() as u64) as usize;
        for _ in 0..1 + chance.below(3) {
            let rounds = chance.below(400);
            parts.live(
                1 + chance.below(3) as usize,
                Death::Stop(rounds),
                &mut chance,
            );
        }
        parts.live(1 + chance.below(3) as usize, Death::Whole, &mut chance);
        for query in ["final", "each"] {
            let (mut expected, mut found) = (of(&whole.rows, query), of(&parts.rows, query));
            expected.sort_unstable();
            found.sort_unstable();
            assert_eq!(found, expected, "seed {seed}, {query}");
        }
        assert_eq!(
            of(&parts.rows, "changes").len(),
            of(&whole.rows, "changes").len(),
            "seed {seed}"
        );
        assert_eq!(last(&parts.rows), last(&whole.rows), "seed {seed}");
        for stage in SURE_STAGES {
            let expected = told(&whole.rows, stage);
            assert_eq!(told(&parts.rows, stage), expected, "seed {seed}, {stage}");
            letters += expected.len();
        }
        let (expected, found) = (told(&whole.rows, "late"), told(&parts.rows, "late"));
        assert_eq!(found, once(&found), "seed {seed}: a late record told twice");
        assert!(
            found.iter().all(|one| expected.contains(one)),
            "seed {seed}"
        );
        late += found.len();
        assert_eq!(parts.records_in, whole.records_in, "seed {seed}");
        assert_eq!(whole.records_again, 0);
    }
    assert!(
        letters > 1_000 && late > 100,
        "{letters} letters, {late} late"
    );
}

#[test]
fn a_run_that_is_killed_at_any_moment_loses_neither_rows_nor_dead_letters_and_gives_none_that_differs()
 {
    let mut again = 0;
    for seed in 1_000..1_120 {
        let mut chance = Chance(seed);
        let topic = topic(&mut chance);
        let mut whole = world(&topic);
        whole.live(1 + chance.below(3) as usize, Death::Whole, &mut chance);
        let mut parts = world(&topic);
        parts.unknown = chance.below(topic.len() as u64) as usize;
        for _ in 0..1 + chance.below(4) {
            let rounds = chance.below(1_500);
            let death = if chance.one_in(4) {
                Death::Stop(rounds)
            } else {
                Death::Kill(rounds)
            };
            parts.live(1 + chance.below(3) as usize, death, &mut chance);
        }
        parts.live(1 + chance.below(3) as usize, Death::Whole, &mut chance);
        for query in ["final", "each"] {
            let expected: BTreeSet<&str> = of(&whole.rows, query).into_iter().collect();
            let found: BTreeSet<&str> = of(&parts.rows, query).into_iter().collect();
            assert_eq!(found, expected, "seed {seed}, {query}");
        }
        for stage in SURE_STAGES {
            let (expected, found) = (told(&whole.rows, stage), told(&parts.rows, stage));
            assert_eq!(once(&found), once(&expected), "seed {seed}, {stage}");
        }
        let (expected, found) = (told(&whole.rows, "late"), told(&parts.rows, "late"));
        assert!(
            found.iter().all(|one| expected.contains(one)),
            "seed {seed}"
        );
        assert_eq!(last(&parts.rows), last(&whole.rows), "seed {seed}");
        again += parts.records_again;
    }
    assert!(again > 1_000, "something was rebuilt: {again}");
}

/// What is committed as `done` of one partition whose own watermark is 15, when windows up to 40 have fired.
fn done_behind(bounded: bool) -> Watermark {
    let settings = Settings {
        shards: 1,
        job_name: Some("j".to_owned()),
    };
    let plan = plan_script("test.sql", SQL, &settings).expect("valid").job;
    let span = Span {
        partition: 0,
        oldest: 0,
        next: 9,
    };
    let range = Range {
        partition: 0,
        start: 0,
        end: bounded.then_some(9),
        oldest: true,
        restored: None,
    };
    let (ask, asked) = channel();
    let (_answer, answered) = channel();
    let group = Box::new(WorldGroup {
        asked: ask,
        answered,
    });
    let restart = from_commits(&plan, 0, &[span], vec![range], &[], group).expect("it fits");
    let epochs = EpochHandle::new(&Doorbells::open(1).expect("there are descriptors"));
    let queries = plan.queries.len();
    let mut commits = Commits::new(vec![restart], 1, queries, epochs, Duration::ZERO, false);
    let cut = PartitionCut {
        partition: 0,
        next: 9,
        watermark: Watermark(15),
        highest_us: 20,
        bounded,
        rungs: Vec::new(),
    };
    commits.cut(0, u64::MAX, vec![vec![cut]]);
    for query in 0..queries {
        commits.passed(0, query, u64::MAX, Watermark(40));
    }
    commits.finish().expect("the coordinator keeps it");
    read(&asked.try_recv().expect("it was asked")[0]).done
}

#[test]
fn what_silence_closed_is_done_and_what_an_end_forced_out_is_not() {
    assert_eq!(done_behind(false), Watermark(40));
    assert_eq!(done_behind(true), Watermark(15));
}
