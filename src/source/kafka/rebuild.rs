//! Reading again what open windows need, before normal work begins.
//!
//! ```text
//!   Rebuilding: partitions with something to read again, up to where normal work begins --all there--> Rebuilt
//!   Rebuilt:    nothing is taken, until every shard has come so far        --go_on: all partitions--> Running
//! ```
//!
//! Laws:
//! 1. What is read again goes the same way as at first: the same columns, event times and watermarks before. It does not count
//!    among `records_in`, and a bad record is passed over, whatever the policy: it was dealt with when it was read first. One
//!    that was bad for its event time lay too far ahead of the clock then, and may not any more: what lies beyond the highest
//!    event time that the partition had come to is bad still.
//! 2. Nothing at or behind the place where normal work begins is delivered before `go_on`. The rows of EMIT CHANGES are made of
//!    all that came before, so no shard may be ahead of another here.

use crate::error::Result;
use crate::format::Decoder;
use crate::kafka::{Event, Position};
use crate::time::{EventTime, Watermark};

use super::{
    Climb, KafkaSource, NOT_OURS, Partition, PartitionCut, Polled, Restart, Stamps, accept,
    event_partition, failed, settle,
};

impl<D: Decoder> KafkaSource<D> {
    /// Takes up to `max` records that are read again.
    pub(super) fn rebuild(&mut self, max: usize) -> Result<Polled> {
        let consumer = self.again.as_mut();
        let consumer = consumer.expect("there is something to read again");
        let taken_at_us = (self.clocks.wall_us)();
        let taken = consumer.take(max);
        let progressed = !taken.is_empty();
        self.polls += 1;
        let mut stamps = Stamps::new(taken.len(), taken_at_us, self.polls);
        let mut rebuilt = Vec::new();
        for event in taken.events() {
            let place = self.places.get(event_partition(&event) as usize);
            let place = place.copied().unwrap_or(NOT_OURS);
            let Some(partition) = self.partitions.get_mut(place as usize) else {
                failed(&self.topic, &event)?;
                continue;
            };
            if !partition.is_rebuilding() {
                continue;
            }
            match event {
                Event::Record(record) => {
                    partition.go_to(record.offset(), false, &self.topic)?;
                    if partition.is_rebuilding() {
                        partition.next_offset = record.offset() + 1;
                        self.replayed_records += 1;
                        let limit = partition.highest_before_normal(self.bound_us);
                        self.decoder.limit_event_time(limit);
                        // A bad one leaves nothing but its event time, as at first.
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
                    }
                }
                Event::End { offset, .. } => {
                    partition.go_to(offset, false, &self.topic)?;
                }
                Event::Failed { .. } => failed(&self.topic, &event)?,
            }
            if !partition.is_rebuilding() {
                partition.next_offset = partition.normal_from;
                partition.clock.restore(partition.normal_watermark);
                self.rebuilding -= 1;
                rebuilt.push(partition.partition);
            }
        }
        drop(taken);
        // What follows in it is for normal work, and would only be passed over here.
        for partition in rebuilt {
            consumer.stop(partition);
        }
        if let Some(error) = consumer.fatal() {
            return Err(error);
        }
        if progressed {
            self.settled = settle(&mut self.partitions, self.settled, taken_at_us);
        }
        if self.rebuilding == 0 {
            self.phase = Some(Restart::Rebuilt);
        }
        if self.decoder.is_empty() {
            return Ok(Polled::Nothing { progressed });
        }
        Ok(Polled::Batch(stamps.batch(
            &mut self.decoder,
            self.hidden.as_mut(),
            self.steps.as_ref(),
            &mut self.partitions,
            &self.places,
        )))
    }

    /// Reads all partitions from where normal work begins.
    pub(super) fn begin_normal_work(&mut self) -> Result<()> {
        assert_eq!(
            self.phase,
            Some(Restart::Rebuilt),
            "normal work begins once, behind what was rebuilt"
        );
        self.phase = Some(Restart::Running);
        for partition in &mut self.partitions {
            assert!(!partition.is_rebuilding(), "it was rebuilt");
            self.reading -= usize::from(partition.settle());
        }
        let open: Vec<_> = self
            .partitions
            .iter()
            .filter(|partition| !partition.ended)
            .map(|partition| (partition.partition, partition.position()))
            .collect();
        // It stays, with nothing to read: to end a client may take a while.
        let Some(again) = &self.again else {
            return Ok(());
        };
        again.assign(&[])?;
        match &self.consumer {
            Some(consumer) if !open.is_empty() => consumer.assign(&open),
            _ => Ok(()),
        }
    }
}

impl Partition {
    /// Whether what comes next is read again.
    fn is_rebuilding(&self) -> bool {
        self.next_offset < self.normal_from
    }

    /// The latest event time that was taken before normal work begins.
    fn highest_before_normal(&self, bound_us: i64) -> EventTime {
        EventTime(match self.normal_watermark {
            Watermark::NONE => i64::MIN,
            Watermark(time_us) => time_us.saturating_add(bound_us),
        })
    }

    /// Where it is read from next.
    fn position(&self) -> Position {
        match self.from_oldest {
            true => Position::Oldest,
            false => Position::Offset(self.next_offset),
        }
    }

    /// What a commit must know of it.
    pub(super) fn cut(&mut self) -> PartitionCut {
        PartitionCut {
            partition: self.partition,
            next: self.next_offset,
            watermark: match self.ended {
                true => self.watermark_before_end,
                false => self.clock.watermark(),
            },
            highest_us: self.climb.as_ref().map_or(i64::MIN, Climb::highest_us),
            bounded: self.end.is_some(),
            rungs: self.climb.as_mut().map_or_else(Vec::new, Climb::take),
        }
    }
}
