//! A shard's share of a Kafka topic.
//!
//! ```text
//!   options --ranges (once a job)--> Range a partition --deal--> shares --> KafkaSource (a shard, a client)
//!   Consumer::take --record--> Decoder --> columns
//!                     |          PartitionClock (one a partition) --> event time, watermark just before
//!                     +--> origin (partition, offset), due time (header velo.due_us, else when the batch was taken)
//! ```
//!
//! Laws, beside those of `Source`:
//! 1. Every offset from a range's start to its end is taken once, in order; what is fetched beyond the end is dropped.
//! 2. A partition has ended when a record or the broker's end-of-partition stands at or behind its end. The end need not be
//!    a record: transaction markers and compaction leave offsets that never come.
//! 3. A broker that is away does not end a read: librdkafka connects again, and a notice says so once. What cannot come
//!    back does: lost offsets, a deleted topic, a refusal.
//! 4. A read without end may have partitions that are idle (`quiet.rs`); their watermarks hold nobody back until they speak, and
//!    then do again from what they were. It takes partitions up that are added (`growth.rs`).
//! 5. Whether a partition's records say when they were due is asked of the first of them in each poll: where that one does not,
//!    the others of the poll are taken not to. Asking each of a topic without such headers took a tenth of the shard's time.
//!
//! With `start = 'committed'` a run goes on where the last one came to (`resume`): first each partition is read again from the
//! offset that open windows need (`Phase::Rebuilding`), silently; when every shard has come so far, normal work begins. Nothing
//! is committed here: the job does, from what `cut` says.

mod alignment;
mod commit;
mod failure;
mod growth;
mod hidden;
mod ladder;
mod partition;
mod quiet;
mod range;
mod rebuild;
mod resume;

use std::sync::Arc;

use velostream_shards::Ringer;

use crate::batch::{Batch, DeadLetter, LetterStage, Origin, Originals};
use crate::config::limits::KAFKA_QUEUE_RECORDS;
use crate::config::options::OnError;
use crate::error::{Place, Result};
use crate::format::{Decoded, Decoder, too_far_ahead};
use crate::kafka::{Consumer, Event, Fetching, KafkaRecord, Settings};
use crate::plan::{EventTimeColumn, EventTimeSpec, Hidden};
use crate::time::{Ahead, EventTime, Idle, PartitionClock, Watermark};

use self::alignment::hold_back;
use self::failure::{event_partition, failed};
use self::growth::{Growth, take_up};
use self::hidden::HiddenColumns;
use self::partition::{Came, Partition, idle_since_ns, least, settle};
use self::quiet::{Found, Quiet};
use super::{
    BadRecords, Extent, PartitionClocks, PartitionCut, PartitionFigures, Polled, Restart, Source,
    SourceFigures, WatermarkSteps,
};

pub use commit::{Fingerprint, PartitionCommit};
pub use growth::Share;
pub use ladder::{Climb, Ladder, Rung};
pub use quiet::QuietRules;
pub use range::{Range, deal, ranges, ranges_of};
pub use resume::{Restored, Resumed, START_OVER_FLAG, resume};

/// What a source needs to know of its stream.
#[derive(Clone, Copy, Debug)]
pub struct Stream<'a> {
    /// Its name, for messages.
    pub name: &'a str,
    /// The topic.
    pub topic: &'a str,
    /// Its event time.
    pub event_time: Option<&'a EventTimeSpec>,
    /// What becomes of a bad record.
    pub on_error: OnError,
    /// Whether a missing offset is an error: for a broker that may drop records silently, such as the demo's. A compacted
    /// or transactional topic has gaps by right.
    pub gaps_are_errors: bool,
    /// For a stream whose offsets are committed, how it is read again.
    pub replay: Option<Replay>,
    /// How far ahead of the clock an event time may be, microseconds; `None` for as far as it likes.
    pub skew_us: Option<i64>,
    /// For a read without end: when partitions are idle, and which of those that are added are this shard's.
    pub endless: Option<(QuietRules, Share)>,
    /// The hidden columns that are wanted.
    pub hidden: &'a [Hidden],
    /// What moves its watermarks; `None` where every record does.
    pub steps: Option<&'a WatermarkSteps>,
}

/// The clocks of a source.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// The wall clock, microseconds since the epoch.
    pub wall_us: fn() -> i64,
    /// The monotonic clock, nanoseconds.
    pub monotonic_ns: fn() -> u64,
}

/// How a stream whose offsets are committed is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replay {
    /// Whether something is to be rebuilt, on any shard: normal work then waits for `go_on`.
    pub rebuilds: bool,
    /// How far event time goes from rung to rung of a ladder, microseconds; `None` where no record is ever read again.
    pub step_us: Option<i64>,
}

/// Reads a share of a topic's partitions.
pub struct KafkaSource<D> {
    topic: String,
    event_time: Option<EventTimeColumn>,
    gaps_are_errors: bool,
    decoder: D,
    /// `None` where none is wanted that only the record knows.
    hidden: Option<HiddenColumns>,
    bad_records: BadRecords,
    partitions: Vec<Partition>,
    /// What moves their watermarks; `None` where every record does.
    steps: Option<WatermarkSteps>,
    /// Partition number to its place in `partitions`; `NOT_OURS` where another shard has it.
    places: Vec<u32>,
    /// Partitions that have not ended.
    reading: usize,
    /// Where it stands after a restart; `None` where offsets are not committed.
    phase: Option<Restart>,
    /// Partitions that are still read again.
    rebuilding: usize,
    /// What they are read by; one of its own, so that nothing which it had fetched ahead comes twice.
    again: Option<Consumer>,
    records_in: u64,
    /// How often the consumer was asked.
    polls: u64,
    replayed_records: u64,
    /// The least watermark over the partitions, and when the record that moved it there was due.
    settled: (Watermark, i64),
    /// Since when all partitions are idle, if they are.
    idle: Option<Idle>,
    /// What is promised from before the last poll's records on, if a partition woke in it.
    wake: Option<Watermark>,
    /// For a read without end.
    quiet: Option<Quiet>,
    growth: Option<Growth>,
    bound_us: i64,
    /// That of a partition which has seen nothing.
    clock: PartitionClock,
    /// How far event time goes from rung to rung of a ladder; `None` where nothing is ever read again.
    step_us: Option<i64>,
    skew_us: Option<i64>,
    notices: Vec<String>,
    /// Whether `Ended` has been returned.
    ended: bool,
    clocks: Clocks,
    /// `None` when there was nothing to read from the start.
    consumer: Option<Consumer>,
}

const NOT_OURS: u32 = u32::MAX;

impl<D: Decoder> KafkaSource<D> {
    /// A source of `share` (from `ranges` and `deal`; may be empty), with a client of its own that fetches from now on and
    /// whose threads, the tier's helper among them, inherit this thread's CPU affinity.
    pub fn new(
        stream: &Stream<'_>,
        settings: &Settings,
        share: &[Range],
        decoder: D,
        fetching: Fetching,
        clocks: Clocks,
    ) -> Result<KafkaSource<D>> {
        let bound_us = stream.event_time.map_or(0, |spec| spec.bound_us);
        let moves = stream.steps.map(WatermarkSteps::moves);
        let clock = PartitionClock::new(bound_us).moving(moves.unwrap_or_default());
        let replay = stream.replay;
        let step_us = replay.and_then(|replay| replay.step_us);
        let partitions: Vec<Partition> = share
            .iter()
            .map(|range| Partition::new(range, clock.clone(), step_us))
            .collect();
        let highest = share
            .iter()
            .map(|range| range.partition + 1)
            .max()
            .unwrap_or(0);
        let mut places =
            vec![NOT_OURS; usize::try_from(highest).expect("a partition is not negative")];
        for (place, range) in share.iter().enumerate() {
            let entry = &mut places[range.partition as usize];
            assert_eq!(
                *entry, NOT_OURS,
                "partition {} was dealt twice",
                range.partition
            );
            *entry = place as u32;
        }
        let rebuilds = |range: &&Range| range.distance() > 0;
        let rebuilding = share.iter().filter(rebuilds).count();
        let phase = replay.map(|replay| match (replay.rebuilds, rebuilding) {
            (false, _) => Restart::Running,
            (true, 0) => Restart::Rebuilt,
            (true, _) => Restart::Rebuilding,
        });
        let reading = share.iter().filter(|range| !range.is_empty()).count();
        let positions = |reads: &dyn Fn(&Range) -> bool| -> Vec<_> {
            let ranges = share.iter().filter(|range| reads(range));
            ranges
                .map(|range| (range.partition, range.position()))
                .collect()
        };
        // Where something is read again, normal work has its place only when that is done (`begin_normal_work`).
        let open = match rebuilding {
            0 => positions(&|range| !range.is_empty()),
            _ => Vec::new(),
        };
        let consumer = match reading {
            0 => None,
            _ => Some(Consumer::new(settings, stream.topic, &open, fetching)?),
        };
        let again = match rebuilding {
            0 => None,
            _ => {
                let again = positions(&|range| range.distance() > 0);
                let standard = Fetching::Standard;
                Some(Consumer::new(settings, stream.topic, &again, standard)?)
            }
        };
        let settled = (least(&partitions).unwrap_or(Watermark::NONE), 0);
        Ok(KafkaSource {
            topic: stream.topic.to_owned(),
            event_time: stream.event_time.map(|spec| spec.column),
            gaps_are_errors: stream.gaps_are_errors,
            decoder,
            hidden: HiddenColumns::new(stream.hidden, stream.topic),
            bad_records: BadRecords::new(stream.name, stream.on_error),
            reading,
            phase,
            rebuilding,
            again,
            partitions,
            places,
            records_in: 0,
            polls: 0,
            replayed_records: 0,
            settled,
            idle: None,
            wake: None,
            quiet: stream.endless.map(|(rules, _)| Quiet::new(rules)),
            growth: stream
                .endless
                .map(|(_, share)| Growth::new(share, (clocks.monotonic_ns)())),
            bound_us,
            clock,
            steps: stream.steps.cloned(),
            step_us,
            skew_us: stream.skew_us,
            notices: Vec::new(),
            ended: false,
            clocks,
            consumer,
        })
    }
}

impl<D: Decoder> Source for KafkaSource<D> {
    fn poll(&mut self, max: usize) -> Result<Polled> {
        assert!(max > 0, "a poll for no records would never progress");
        match self.phase {
            Some(Restart::Rebuilding) => return self.rebuild(max),
            Some(Restart::Rebuilt) => return Ok(Polled::Nothing { progressed: false }),
            Some(Restart::Running) | None => {}
        }
        let Some(consumer) = self.consumer.as_mut().filter(|_| self.reading > 0) else {
            self.ended = true;
            return Ok(Polled::Ended);
        };
        let taken_at_us = (self.clocks.wall_us)();
        let now_ns = (self.clocks.monotonic_ns)();
        let before = (self.settled.0, self.idle);
        let mut grown = false;
        if let Some(growth) = &mut self.growth
            && let Some(change) = growth.look(now_ns, &self.topic, consumer)?
        {
            let known = consumer.client().contact().known();
            for partition in &mut self.partitions {
                if let Some(&leader) = change.leaders.get(partition.partition as usize) {
                    partition.still.led_by(leader, now_ns, &known);
                }
            }
            grown = take_up(
                &change,
                consumer,
                &mut self.partitions,
                &mut self.places,
                (&self.clock, self.step_us),
            )?;
            self.reading += change.added.len();
            self.notices.extend(change.notice);
        }
        let mut stepped = false;
        if let Some(steps) = &mut self.steps
            && steps.tick(taken_at_us)
        {
            for partition in self.partitions.iter_mut().filter(|one| !one.ended) {
                stepped |= partition.clock.follow();
            }
        }
        let mut changed = grown || stepped;
        // What the partitions that wake promise from just before their records on.
        let mut woken = grown.then_some(Watermark::NONE);
        if let Some(quiet) = &mut self.quiet {
            quiet.begin(now_ns, consumer);
        }
        let limit = match self.skew_us {
            Some(skew_us) => EventTime(taken_at_us.saturating_add(skew_us)),
            None => EventTime(i64::MAX),
        };
        self.decoder.limit_event_time(limit);
        let taken = consumer.take(max);
        let taken_count = taken.len();
        let progressed = !taken.is_empty();
        self.polls += 1;
        let mut stamps = Stamps::new(taken.len(), taken_at_us, self.polls);
        stamps.originals = self.bad_records.keeps_originals().then(Originals::default);
        // A partition's end goes behind its last record, whose watermark is known once it is decoded.
        let steps = self.steps.as_ref();
        let told_by_records = steps.is_some_and(WatermarkSteps::are_in_records);
        let mut ended = 0;
        for event in taken.events() {
            let place = self
                .places
                .get(event_partition(&event) as usize)
                .copied()
                .unwrap_or(NOT_OURS);
            let Some(partition) = self.partitions.get_mut(place as usize) else {
                assert!(
                    matches!(event, Event::Failed { .. }),
                    "records of a partition that was not assigned"
                );
                failed(&self.topic, &event)?;
                continue;
            };
            if partition.ended {
                continue;
            }
            match event {
                Event::Record(record) => {
                    let came =
                        partition.go_to(record.offset(), self.gaps_are_errors, &self.topic)?;
                    if came == Came::Again {
                        continue;
                    }
                    if partition.still.speak() {
                        let holds = partition.clock.watermark();
                        woken = Some(woken.map_or(holds, |least| least.min(holds)));
                    }
                    // A record may stand behind the end without one at it.
                    if partition.end.is_none_or(|end| record.offset() < end) {
                        partition.next_offset = record.offset() + 1;
                        self.records_in += 1;
                        let accepted = accept(
                            &record,
                            partition,
                            &mut self.decoder,
                            self.event_time,
                            limit,
                            &mut stamps,
                        );
                        if let (Ok(()), Some(hidden)) = (&accepted, &mut self.hidden) {
                            hidden.push(&record);
                        }
                        if let Err(reason) = accepted {
                            let place = || Place::Offset {
                                topic: self.topic.clone(),
                                partition: record.partition(),
                                offset: record.offset(),
                            };
                            let original = || record.original().to_owned();
                            self.bad_records
                                .take(LetterStage::Decode, place, &reason, original)?;
                        }
                    }
                }
                Event::End { offset, broker, .. } => {
                    let came = partition.go_to(offset, self.gaps_are_errors, &self.topic)?;
                    if came == Came::New
                        && let Some(quiet) = &mut self.quiet
                    {
                        partition.still.reach_end(now_ns, broker);
                        quiet.reached_end(now_ns);
                    }
                }
                Event::Failed { .. } => failed(&self.topic, &event)?,
            }
            if !told_by_records {
                ended += usize::from(partition.settle());
            }
        }
        drop(taken);
        let batch = match self.decoder.is_empty() {
            true => None,
            false => Some(stamps.batch(
                &mut self.decoder,
                self.hidden.as_mut(),
                self.steps.as_ref(),
                &mut self.partitions,
                &self.places,
            )),
        };
        if told_by_records {
            let partitions = self.partitions.iter_mut();
            ended += partitions
                .map(|one| usize::from(one.settle()))
                .sum::<usize>();
        }
        if let Some(quiet) = &mut self.quiet {
            if let Some(known) = quiet.end(now_ns, taken_count, max) {
                for partition in &mut self.partitions {
                    match quiet.judge(&mut partition.still, now_ns, &known) {
                        Found::Same => {}
                        Found::FellIdle => changed = true,
                        Found::Woke => {
                            changed = true;
                            let holds = partition.clock.watermark();
                            woken = Some(woken.map_or(holds, |least| least.min(holds)));
                        }
                    }
                }
            }
            if changed || woken.is_some() {
                let since_ns = idle_since_ns(&self.partitions);
                self.idle = since_ns.map(|since_ns| quiet.idle_since(since_ns));
            }
        }
        if let Some(woken) = woken {
            let (promised, idle) = before;
            let held = match idle {
                Some(_) => woken,
                None => woken.min(promised),
            };
            self.wake = (idle.is_some() || held < promised).then_some(held);
        }
        if progressed || changed {
            self.settled = settle(&mut self.partitions, self.settled, taken_at_us);
        }
        if let Some(error) = consumer.fatal() {
            return Err(error);
        }
        if ended > 0 {
            self.reading -= ended;
            for partition in self.partitions.iter().filter(|partition| partition.ended) {
                consumer.stop(partition.partition);
            }
        }
        Ok(match batch {
            Some(batch) => Polled::Batch(batch),
            None => Polled::Nothing {
                progressed: progressed || stepped,
            },
        })
    }

    fn ring_by(&mut self, ringer: Ringer) {
        for consumer in self.consumer.iter_mut().chain(&mut self.again) {
            consumer.ring_by(ringer.clone());
        }
    }

    fn watermark(&self) -> Option<Watermark> {
        if self.ended {
            return Some(Watermark::END);
        }
        least(&self.partitions)
    }

    fn take_wake(&mut self) -> Option<Watermark> {
        self.wake.take()
    }

    fn idle(&self) -> Option<Idle> {
        self.idle
    }

    fn looks_ns(&self) -> Option<u64> {
        if matches!(self.phase, Some(Restart::Rebuilding | Restart::Rebuilt)) {
            return None;
        }
        let steps = self.steps.as_ref().filter(|_| {
            let mut open = self.partitions.iter().filter(|one| !one.ended);
            open.any(|partition| partition.clock.is_behind())
        });
        let tick_us = steps.and_then(WatermarkSteps::next_tick_us);
        let tick = tick_us.map(|tick_us| {
            let wait_us = tick_us.saturating_sub((self.clocks.wall_us)()).max(0);
            (self.clocks.monotonic_ns)() + wait_us.unsigned_abs().saturating_mul(1_000)
        });
        let growth = self.growth.as_ref().map(Growth::looks_ns);
        let quiet = self.quiet.as_ref().and_then(Quiet::looks_ns);
        growth.into_iter().chain(quiet).chain(tick).min()
    }

    /// Polled in any case: the client is served by that, and other partitions may be behind.
    fn hold(&mut self, ahead: Ahead, _paused: bool) -> bool {
        if let Some(consumer) = &mut self.consumer
            && matches!(self.phase, None | Some(Restart::Running))
        {
            hold_back(&mut self.partitions, consumer, ahead);
        }
        true
    }

    fn watermark_due_us(&self) -> Option<i64> {
        Some(self.settled.1)
    }

    fn fill(&self) -> f64 {
        let waiting = self.consumer.as_ref().map_or(0, Consumer::waiting);
        let room = KAFKA_QUEUE_RECORDS * self.reading.max(1);
        (waiting as f64 / room as f64).min(1.0)
    }

    fn records_in(&self) -> u64 {
        self.records_in
    }

    fn extent(&self) -> Option<Extent> {
        let mut extent = Extent::default();
        for partition in &self.partitions {
            extent.read += (partition.next_offset - partition.begun).max(0) as u64;
            extent.whole += (partition.end? - partition.begun).max(0) as u64;
        }
        Some(extent)
    }

    fn restart(&self) -> Option<Restart> {
        self.phase
    }

    fn go_on(&mut self) -> Result<()> {
        self.begin_normal_work()
    }

    fn cut(&mut self) -> Vec<PartitionCut> {
        self.partitions.iter_mut().map(Partition::cut).collect()
    }

    fn figures(&self) -> SourceFigures {
        SourceFigures {
            records_in: self.records_in,
            bad_records: self.bad_records.left_out(),
            replayed_records: self.replayed_records,
            partitions: self
                .partitions
                .iter()
                .map(|partition| PartitionFigures {
                    partition: partition.partition,
                    next_offset: partition.next_offset,
                    watermark: partition.clock.watermark(),
                })
                .collect(),
        }
    }

    fn take_letters(&mut self) -> Vec<DeadLetter> {
        self.bad_records.take_letters()
    }

    fn take_notices(&mut self) -> Vec<String> {
        let mut notices = std::mem::take(&mut self.notices);
        let consumer = match self.phase {
            Some(Restart::Rebuilding) => &self.again,
            _ => &self.consumer,
        };
        if let Some(consumer) = consumer {
            notices.extend(consumer.client().take_notices());
        }
        notices
    }
}

/// The stamps of a batch's records, in the order in which they were appended.
struct Stamps {
    event_times: Vec<EventTime>,
    watermarks_before: Vec<Watermark>,
    origins: Vec<Origin>,
    due_us: i64,
    /// The number of the poll, from one.
    poll: u64,
    /// The records as they came, where they may have to be told.
    originals: Option<Originals>,
}

impl Stamps {
    fn new(records: usize, taken_at_us: i64, poll: u64) -> Stamps {
        Stamps {
            poll,
            event_times: Vec::with_capacity(records),
            watermarks_before: Vec::with_capacity(records),
            origins: Vec::with_capacity(records),
            due_us: taken_at_us,
            originals: None,
        }
    }

    /// The records of `partitions`, which have these `places`, that `decoder` holds, with these stamps; what they hold moves watermarks as `steps` say.
    fn batch<D: Decoder>(
        mut self,
        decoder: &mut D,
        hidden: Option<&mut HiddenColumns>,
        steps: Option<&WatermarkSteps>,
        partitions: &mut [Partition],
        places: &[u32],
    ) -> Batch {
        let decoded = decoder.finish();
        if let Some(steps) = steps {
            let mut clocks = OfPartitions(partitions, places);
            let stamps = &mut self.watermarks_before;
            steps.stamp(&decoded, &self.origins, stamps, &mut clocks);
        }
        let batch = Batch {
            columns: match hidden {
                Some(hidden) => hidden.behind(&decoded),
                None => decoded,
            },
            event_times: self.event_times,
            watermarks_before: self.watermarks_before,
            origins: self.origins,
            due_us: self.due_us,
            originals: self.originals.map(Arc::new),
        };
        batch.assert_consistent();
        batch
    }
}

/// Partitions, and their places by number.
struct OfPartitions<'p>(&'p mut [Partition], &'p [u32]);

impl PartitionClocks for OfPartitions<'_> {
    fn clock(&mut self, partition: i32) -> &mut PartitionClock {
        let place = self.1[partition as usize] as usize;
        &mut self.0[place].clock
    }
}

/// Decodes a record, advances its partition's clock and stamps it; or says why it is bad. A bad record whose event time is
/// known advances the clock too.
#[inline]
fn accept<D: Decoder>(
    record: &KafkaRecord<'_>,
    partition: &mut Partition,
    decoder: &mut D,
    column: Option<EventTimeColumn>,
    limit: EventTime,
    stamps: &mut Stamps,
) -> Result<(), String> {
    let due_us = partition.due_us(record, stamps.poll);
    if let Some(due_us) = due_us {
        stamps.due_us = stamps.due_us.min(due_us);
    }
    let by_record = match column {
        Some(EventTimeColumn::Message) => match record.timestamp_ms() {
            Some(milliseconds) => {
                let time = EventTime(milliseconds.saturating_mul(1000));
                if time > limit {
                    return Err(too_far_ahead("its timestamp", time));
                }
                Some(time)
            }
            None => {
                return Err(
                    "the record has no timestamp, and the stream's event time is taken from it"
                        .into(),
                );
            }
        },
        _ => None,
    };
    let decoded = match record.value() {
        Some(value) => decoder.decode(value),
        None => Decoded::Bad(crate::format::BadRecord {
            reason: "empty message (a tombstone)".into(),
            event_time: None,
        }),
    };
    match decoded {
        Decoded::Record(decoded_time) => {
            if column.is_some() {
                let time = by_record
                    .or(decoded_time)
                    .expect("a good record of a stream with an event time has one");
                stamps.event_times.push(time);
                let before = partition.advance(time, record.offset(), due_us);
                stamps.watermarks_before.push(before);
            }
            let origin = Origin {
                partition: record.partition(),
                offset: record.offset(),
            };
            stamps.origins.push(origin);
            if let Some(originals) = &mut stamps.originals {
                originals.push(origin, &record.original());
            }
            Ok(())
        }
        Decoded::Bad(bad) => {
            if let Some(time) = by_record.or(bad.event_time) {
                partition.advance(time, record.offset(), due_us);
            }
            Err(bad.reason)
        }
    }
}

#[cfg(test)]
mod tests;
