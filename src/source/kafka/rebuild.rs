//! Reading again what open windows need, before normal work begins.
//!
//! ```text
//!   Rebuilding: partitions with something to read again, up to where normal work begins --all there--> Rebuilt
//!   Rebuilt:    nothing is taken, until every shard has come so far        --go_on: all partitions--> Running
//! ```
//!
//! Laws:
//! 1. What is read again goes the same way as at first: the same columns, event times and watermarks before. It does not count
//!    among `records_in`, and a bad record is passed over, whatever the policy: it was dealt with when it was read first.
//! 2. Nothing at or behind the place where normal work begins is delivered before `go_on`. The rows of EMIT CHANGES are made of
//!    all that came before, so no shard may be ahead of another here.

use crate::error::Result;
use crate::format::Decoder;
use crate::kafka::{Event, Position};

use super::{
    Climb, KafkaSource, NOT_OURS, Partition, PartitionCut, Polled, Restart, Stamps, accept,
    event_partition, failed, settle,
};

impl<D: Decoder> KafkaSource<D> {
    /// Takes up to `max` records that are read again.
    pub(super) fn rebuild(&mut self, max: usize) -> Result<Polled> {
        let consumer = self.again.as_mut();
        let consumer = consumer.expect("there is something to read again");
        let taken_at_us = (self.wall_clock_us)();
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
                        // A bad one leaves nothing but its event time, as at first.
                        let _ = accept(
                            &record,
                            partition,
                            &mut self.decoder,
                            self.event_time,
                            &mut stamps,
                        );
                    }
                }
                Event::End { offset, .. } => partition.go_to(offset, false, &self.topic)?,
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
        let batch = stamps.batch(self.decoder.finish());
        batch.assert_consistent();
        Ok(Polled::Batch(batch))
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
            idle: false,
            rungs: self.climb.as_mut().map_or_else(Vec::new, Climb::take),
        }
    }
}
