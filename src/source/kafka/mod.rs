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
//! 4. Whether a partition's records say when they were due is asked of the first of them in each poll: where that one does not,
//!    the others of the poll are taken not to. Asking each of a topic without such headers took a tenth of the shard's time.
//!
//! With `start = 'committed'` a run goes on where the last one came to (`resume`): first each partition is read again from the
//! offset that open windows need (`Phase::Rebuilding`), silently; when every shard has come so far, normal work begins. Nothing
//! is committed here: the job does, from what `cut` says.

mod commit;
mod ladder;
mod range;
mod rebuild;
mod resume;

use velostream_shards::Ringer;

use crate::batch::{Batch, Origin};
use crate::config::limits::KAFKA_QUEUE_RECORDS;
use crate::config::options::OnError;
use crate::error::{Error, Place, Result};
use crate::format::{Decoded, Decoder};
use crate::kafka::{Code, Consumer, Event, Fetching, KafkaRecord, Settings};
use crate::plan::{EventTimeColumn, EventTimeSpec};
use crate::time::{EventTime, PartitionClock, Watermark};

use super::{
    BadRecords, Extent, PartitionCut, PartitionFigures, Polled, Restart, Source, SourceFigures,
};

pub use commit::{Fingerprint, PartitionCommit};
pub use ladder::{Climb, Ladder, Rung};
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
    bad_records: BadRecords,
    partitions: Vec<Partition>,
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
    /// Whether `Ended` has been returned.
    ended: bool,
    wall_clock_us: fn() -> i64,
    /// `None` when there was nothing to read from the start.
    consumer: Option<Consumer>,
}

const NOT_OURS: u32 = u32::MAX;

struct Partition {
    partition: i32,
    /// Where reading began.
    begun: i64,
    next_offset: i64,
    /// Where normal work begins: what stands before is read again.
    normal_from: i64,
    /// The watermark with which it begins.
    normal_watermark: Watermark,
    /// Whether it begins with the oldest record, wherever that stands then.
    from_oldest: bool,
    end: Option<i64>,
    ended: bool,
    clock: PartitionClock,
    /// The watermark before the end.
    watermark_before_end: Watermark,
    /// Where it would have to be read again; `None` where it never is.
    climb: Option<Climb>,
    /// When the record that moved the clock last was due, if it said so.
    moved_us: Option<i64>,
    /// The poll that last brought a record, and whether the first one of it said when it was due.
    poll: u64,
    says_due: bool,
    /// The watermark as it stood after the last poll.
    settled: Watermark,
}

impl<D: Decoder> KafkaSource<D> {
    /// A source of `share` (from `ranges` and `deal`; may be empty), with a client of its own that fetches from now on and
    /// whose threads, the tier's helper among them, inherit this thread's CPU affinity. `wall_clock_us` tells microseconds since the epoch.
    pub fn new(
        stream: &Stream<'_>,
        settings: &Settings,
        share: &[Range],
        decoder: D,
        fetching: Fetching,
        wall_clock_us: fn() -> i64,
    ) -> Result<KafkaSource<D>> {
        let bound_us = stream.event_time.map_or(0, |spec| spec.bound_us);
        let replay = stream.replay;
        let step_us = replay.and_then(|replay| replay.step_us);
        let partitions: Vec<Partition> = share
            .iter()
            .map(|range| Partition::new(range, bound_us, step_us))
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
        Ok(KafkaSource {
            topic: stream.topic.to_owned(),
            event_time: stream.event_time.map(|spec| spec.column),
            gaps_are_errors: stream.gaps_are_errors,
            decoder,
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
            settled: (Watermark::NONE, 0),
            ended: false,
            wall_clock_us,
            consumer,
        })
    }
}

/// The least watermark over `partitions` and when the record was due that moved it there, from what they were after the last
/// poll: of the partitions that held it back, the one whose mover was due last. What did not say so was due at `taken_at_us`.
fn settle(
    partitions: &mut [Partition],
    settled: (Watermark, i64),
    taken_at_us: i64,
) -> (Watermark, i64) {
    let watermarks = partitions
        .iter()
        .map(|partition| partition.clock.watermark());
    let least = watermarks.min().unwrap_or(Watermark::END);
    let mut released_us = None;
    for partition in partitions {
        let moved_us = partition.moved_us.take();
        if least > settled.0 && partition.settled < least {
            released_us = released_us.max(Some(moved_us.unwrap_or(taken_at_us)));
        }
        partition.settled = partition.clock.watermark();
    }
    released_us.map_or(settled, |due_us| (least, due_us))
}

impl Partition {
    fn new(range: &Range, bound_us: i64, step_us: Option<i64>) -> Partition {
        let mut clock = PartitionClock::new(bound_us);
        if let Some(restored) = range.restored {
            clock.restore(match range.distance() {
                0 => restored.watermark_at_next,
                _ => restored.watermark_at_start,
            });
        }
        let climb = step_us.map(|step_us| Climb::new(clock.highest_us(), step_us));
        let watermark_before_end = clock.watermark();
        if range.is_empty() {
            clock.end();
        }
        Partition {
            partition: range.partition,
            begun: range.start,
            next_offset: range.start,
            normal_from: range.next(),
            normal_watermark: range
                .restored
                .map_or(Watermark::NONE, |restored| restored.watermark_at_next),
            from_oldest: range.oldest,
            end: range.end.map(|end| end.max(range.next())),
            ended: range.is_empty(),
            clock,
            watermark_before_end,
            climb,
            moved_us: None,
            poll: 0,
            says_due: false,
            settled: Watermark::NONE,
        }
    }

    /// When a record of poll number `poll` was due, if it says so.
    #[inline]
    fn due_us(&mut self, record: &KafkaRecord<'_>, poll: u64) -> Option<i64> {
        if self.poll == poll {
            return if self.says_due { record.due_us() } else { None };
        }
        let due_us = record.due_us();
        (self.poll, self.says_due) = (poll, due_us.is_some());
        due_us
    }

    /// Ends the partition if it stands at or behind its end. True if it has just ended.
    fn settle(&mut self) -> bool {
        let Some(end) = self
            .end
            .filter(|end| self.next_offset >= *end && !self.ended)
        else {
            return false;
        };
        self.next_offset = end;
        self.ended = true;
        self.watermark_before_end = self.clock.watermark();
        self.clock.end();
        true
    }

    /// Takes note of the event time of the record at `offset`, due at `due_us`, and returns the watermark just before it.
    #[inline]
    fn advance(&mut self, time: EventTime, offset: i64, due_us: Option<i64>) -> Watermark {
        let before = self.clock.advance(time);
        if let Some(climb) = &mut self.climb {
            climb.advance(time, offset, before);
        }
        if self.clock.watermark() > before {
            self.moved_us = due_us;
        }
        before
    }

    /// The read has come to `offset`: what was left out on the way never comes, and is an error where gaps are.
    #[inline]
    fn go_to(&mut self, offset: i64, gaps_are_errors: bool, topic: &str) -> Result<()> {
        if offset < self.next_offset {
            return Err(Error::Connector(format!(
                "topic {topic} partition {} went back from offset {} to {offset}: the broker lost records, or the topic was \
                 made anew",
                self.partition, self.next_offset
            )));
        }
        if gaps_are_errors && offset != self.next_offset {
            return Err(Error::Connector(format!(
                "topic {topic} partition {}: offsets {} to {} are missing; the broker dropped records before they were read",
                self.partition,
                self.next_offset,
                offset - 1
            )));
        }
        self.next_offset = offset;
        Ok(())
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
        let taken_at_us = (self.wall_clock_us)();
        let taken = consumer.take(max);
        let progressed = !taken.is_empty();
        self.polls += 1;
        let mut stamps = Stamps::new(taken.len(), taken_at_us, self.polls);
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
                    partition.go_to(record.offset(), self.gaps_are_errors, &self.topic)?;
                    // A record may stand behind the end without one at it.
                    if partition.end.is_none_or(|end| record.offset() < end) {
                        partition.next_offset = record.offset() + 1;
                        self.records_in += 1;
                        let accepted = accept(
                            &record,
                            partition,
                            &mut self.decoder,
                            self.event_time,
                            &mut stamps,
                        );
                        if let Err(reason) = accepted {
                            let place = || Place::Offset {
                                topic: self.topic.clone(),
                                partition: record.partition(),
                                offset: record.offset(),
                            };
                            self.bad_records.take(place, &reason)?;
                        }
                    }
                }
                Event::End { offset, .. } => {
                    partition.go_to(offset, self.gaps_are_errors, &self.topic)?;
                }
                Event::Failed { .. } => failed(&self.topic, &event)?,
            }
            ended += usize::from(partition.settle());
        }
        drop(taken);
        if progressed {
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
        if self.decoder.is_empty() {
            return Ok(Polled::Nothing { progressed });
        }
        let batch = stamps.batch(self.decoder.finish());
        batch.assert_consistent();
        Ok(Polled::Batch(batch))
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
        self.partitions
            .iter()
            .map(|partition| partition.clock.watermark())
            .min()
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
            bad_records: self.bad_records.skipped(),
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

    fn take_notices(&mut self) -> Vec<String> {
        let consumer = match self.phase {
            Some(Restart::Rebuilding) => &self.again,
            _ => &self.consumer,
        };
        consumer
            .as_ref()
            .map(|consumer| consumer.client().take_notices())
            .unwrap_or_default()
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
}

impl Stamps {
    fn new(records: usize, taken_at_us: i64, poll: u64) -> Stamps {
        Stamps {
            poll,
            event_times: Vec::with_capacity(records),
            watermarks_before: Vec::with_capacity(records),
            origins: Vec::with_capacity(records),
            due_us: taken_at_us,
        }
    }

    fn batch(self, columns: datafusion_common::arrow::array::RecordBatch) -> Batch {
        Batch {
            columns,
            event_times: self.event_times,
            watermarks_before: self.watermarks_before,
            origins: self.origins,
            due_us: self.due_us,
        }
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
    stamps: &mut Stamps,
) -> Result<(), String> {
    let due_us = partition.due_us(record, stamps.poll);
    if let Some(due_us) = due_us {
        stamps.due_us = stamps.due_us.min(due_us);
    }
    let by_record = match column {
        Some(EventTimeColumn::Message) => match record.timestamp_ms() {
            Some(milliseconds) => Some(EventTime(milliseconds.saturating_mul(1000))),
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
            stamps.origins.push(Origin {
                partition: record.partition(),
                offset: record.offset(),
            });
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

/// The partition that an event concerns; -1, which is no place, when it concerns all.
fn event_partition(event: &Event<'_>) -> i32 {
    match event {
        Event::Record(record) => record.partition(),
        Event::End { partition, .. } | Event::Failed { partition, .. } => *partition,
    }
}

/// What a failure means: nothing where librdkafka goes on by itself, else the end of the run.
fn failed(topic: &str, event: &Event<'_>) -> Result<()> {
    let Event::Failed {
        partition,
        code,
        reason,
    } = event
    else {
        return Ok(());
    };
    if !code.ends_a_read() {
        return Ok(());
    }
    let place = if *partition < 0 {
        String::new()
    } else {
        format!(" partition {partition}")
    };
    Err(Error::Connector(format!(
        "reading topic {topic}{place} failed: {}{}",
        why(*code, reason),
        remedy(*code)
    )))
}

fn why(code: Code, reason: &str) -> String {
    if reason.is_empty() {
        code.to_string()
    } else {
        format!("{code} ({reason})")
    }
}

fn remedy(code: Code) -> &'static str {
    if code.is_offset_lost() {
        "; the broker no longer keeps that offset: give the topic a longer retention, or start at 'earliest'"
    } else if code.is_unknown_topic() {
        "; the topic was deleted while it was read"
    } else if code.is_refusal() {
        "; allow this client to read the topic"
    } else if code.is_damage() {
        "; the bytes are not those that were written: see the broker's log"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests;
