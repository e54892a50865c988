//! One partition as its source reads it: where the read stands, and its own watermark.
//!
//! Law: offsets only go on, and so does the watermark, which follows event times in the order of the offsets.

use super::quiet::Still;
use super::{Climb, Range};
use crate::error::{Error, Result};
use crate::kafka::KafkaRecord;
use crate::time::{EventTime, PartitionClock, Watermark};

/// Where one partition is read, and what has come of it.
pub(super) struct Partition {
    pub(super) partition: i32,
    /// Where reading began.
    pub(super) begun: i64,
    pub(super) next_offset: i64,
    /// Where normal work begins: what stands before is read again.
    pub(super) normal_from: i64,
    /// The watermark with which it begins.
    pub(super) normal_watermark: Watermark,
    /// Whether it begins with the oldest record, wherever that stands then.
    pub(super) from_oldest: bool,
    pub(super) end: Option<i64>,
    pub(super) ended: bool,
    pub(super) clock: PartitionClock,
    /// The watermark before the end.
    pub(super) watermark_before_end: Watermark,
    /// Where it would have to be read again; `None` where it never is.
    pub(super) climb: Option<Climb>,
    /// When the record that moved the clock last was due, if it said so.
    pub(super) moved_us: Option<i64>,
    /// The poll that last brought a record, and whether the first one of it said when it was due.
    pub(super) poll: u64,
    pub(super) says_due: bool,
    /// The watermark as it stood after the last poll.
    pub(super) settled: Watermark,
    pub(super) still: Still,
    /// Whether it is not fetched, for it is too far ahead of others.
    pub(super) paused: bool,
    /// Where the client was told to go on after the last pause: what stands from there on may come twice.
    pub(super) repeats_from: Option<i64>,
}

/// What is at an offset that the read has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// What follows.
    New,
    /// What was there before.
    Again,
}

impl Partition {
    /// One that is read as `range` says, with `clock`, which has seen nothing.
    pub(super) fn new(range: &Range, mut clock: PartitionClock, step_us: Option<i64>) -> Partition {
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
            still: Still::default(),
            paused: false,
            repeats_from: None,
        }
    }

    /// When a record of poll number `poll` was due, if it says so.
    #[inline]
    pub(super) fn due_us(&mut self, record: &KafkaRecord<'_>, poll: u64) -> Option<i64> {
        if self.poll == poll {
            return if self.says_due { record.due_us() } else { None };
        }
        let due_us = record.due_us();
        (self.poll, self.says_due) = (poll, due_us.is_some());
        due_us
    }

    /// Ends the partition if it stands at or behind its end. True if it has just ended.
    pub(super) fn settle(&mut self) -> bool {
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
    pub(super) fn advance(
        &mut self,
        time: EventTime,
        offset: i64,
        due_us: Option<i64>,
    ) -> Watermark {
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
    pub(super) fn go_to(
        &mut self,
        offset: i64,
        gaps_are_errors: bool,
        topic: &str,
    ) -> Result<Came> {
        if offset < self.next_offset {
            if self.repeats_from.is_some_and(|from| from <= offset) {
                return Ok(Came::Again);
            }
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
        Ok(Came::New)
    }
}

/// The least watermark over the partitions that speak; when all are idle, over those that fell idle last. One from which nothing ever
/// came has no value to leave behind.
pub(super) fn least(partitions: &[Partition]) -> Option<Watermark> {
    let all_are_idle = idle_since_ns(partitions).is_some();
    let spoke = |partition: &&Partition| partition.clock.watermark() > Watermark::NONE;
    let idle_ns = |partition: &Partition| partition.still.idle_since_ns();
    let last_ns = partitions.iter().filter(spoke).filter_map(idle_ns).max();
    let counts = |partition: &&Partition| match (all_are_idle, last_ns) {
        (false, _) => idle_ns(partition).is_none(),
        (true, None) => true,
        (true, last_ns) => spoke(partition) && idle_ns(partition) == last_ns,
    };
    let counting = partitions.iter().filter(counts);
    counting.map(|partition| partition.clock.watermark()).min()
}

/// Since when all of `partitions` are idle, monotonic clock, nanoseconds; `None` while one speaks.
pub(super) fn idle_since_ns(partitions: &[Partition]) -> Option<u64> {
    let idle = partitions
        .iter()
        .map(|partition| partition.still.idle_since_ns());
    idle.reduce(|one, other| Some(one?.max(other?))).flatten()
}

/// The least watermark over `partitions` and when the record was due that moved it there, from what they were after the last
/// poll: of the partitions that held it back, the one whose mover was due last. What did not say so was due at `taken_at_us`.
pub(super) fn settle(
    partitions: &mut [Partition],
    settled: (Watermark, i64),
    taken_at_us: i64,
) -> (Watermark, i64) {
    let least = least(partitions).unwrap_or(Watermark::END);
    let mut released_us = None;
    for partition in partitions {
        let moved_us = partition.moved_us.take();
        if least > settled.0 && partition.settled < least {
            released_us = released_us.max(Some(moved_us.unwrap_or(taken_at_us)));
        }
        partition.settled = partition.clock.watermark();
    }
    match released_us {
        Some(due_us) => (least, due_us),
        None if least == settled.0 => settled,
        // One that held the others back fell idle, or one of them woke.
        None => (least, taken_at_us),
    }
}
