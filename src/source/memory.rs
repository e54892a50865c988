//! A shard's share of partitions in memory: records as a client hands them over, without the client.
//!
//! ```text
//!   MemoryInput --deal--> shares --> MemorySource: a partition at a time, `max` records of it --Decoder--> columns
//!                                       PartitionClock (one a partition) --> event time, watermark just before
//! ```
//!
//! Laws, beside those of `Source`:
//! 1. Every record of the share is taken once, in the order of its partition; the partitions take turns, a batch each.
//! 2. Decoded beforehand (`decode_all`), a source delivers the same records, in the same batches or smaller ones.
//!
//! It frames nothing and copies nothing: a record is decoded where it lies.

use std::sync::Arc;

use datafusion_common::arrow::array::RecordBatch;

use super::{BadRecords, PartitionFigures, Polled, Source, SourceFigures};
use crate::batch::{Batch, DeadLetter, LetterStage, Origin, Original};
use crate::error::{Place, Result};
use crate::format::{Decoded, Decoder};
use crate::plan::StreamSpec;
use crate::plan::in_memory::MemoryInput;
use crate::time::{EventTime, PartitionClock, Watermark};

/// Reads a share of partitions in memory.
pub struct MemorySource<D> {
    input: Arc<MemoryInput>,
    stream: String,
    /// Whether records have an event time.
    timed: bool,
    partitions: Vec<Partition>,
    /// Place in `partitions` of the one whose turn it is.
    turn: usize,
    decoder: D,
    bad: BadRecords,
    wall_us: fn() -> i64,
    records_in: u64,
    ended: bool,
}

struct Partition {
    /// Its number in the input.
    number: usize,
    /// The next record to be decoded.
    next: usize,
    /// The next record to be delivered.
    delivered: usize,
    /// Of what was decoded.
    clock: PartitionClock,
    /// Covers what was delivered.
    watermark: Watermark,
    /// Decoded beforehand, the next last; empty when bytes are decoded as they are taken.
    decoded: Vec<DecodedBatch>,
}

/// Records of one partition.
struct DecodedBatch {
    columns: RecordBatch,
    event_times: Vec<EventTime>,
    watermarks_before: Vec<Watermark>,
    origins: Vec<Origin>,
    /// The partition's watermark just behind them.
    watermark_after: Watermark,
    /// The record behind the last of them, bad ones included.
    next: usize,
}

impl<D: Decoder> MemorySource<D> {
    /// A source of the partitions `share` of `input`, decoded by `decoder`. `wall_us` tells the wall clock's time,
    /// microseconds since the epoch: a batch is due when it was taken.
    pub fn new(
        stream: &StreamSpec,
        input: &Arc<MemoryInput>,
        share: &[usize],
        decoder: D,
        wall_us: fn() -> i64,
    ) -> MemorySource<D> {
        let bound_us = stream
            .event_time
            .as_ref()
            .map_or(0, |event_time| event_time.bound_us);
        let partition = |&number: &usize| Partition {
            number,
            next: 0,
            delivered: 0,
            clock: PartitionClock::new(bound_us),
            watermark: Watermark::NONE,
            decoded: Vec::new(),
        };
        MemorySource {
            input: Arc::clone(input),
            stream: stream.name.clone(),
            timed: stream.event_time.is_some(),
            partitions: share.iter().map(partition).collect(),
            turn: 0,
            decoder,
            bad: BadRecords::new(&stream.name, stream.on_error),
            wall_us,
            records_in: 0,
            ended: false,
        }
    }

    /// Decodes everything now, in batches of `max` records, so that polling only hands them out.
    pub fn decode_all(&mut self, max: usize) -> Result<()> {
        assert!(max > 0, "a batch holds records");
        for place in 0..self.partitions.len() {
            let mut decoded = Vec::new();
            while let Some(batch) = self.decode(place, max)? {
                decoded.push(batch);
            }
            decoded.reverse();
            self.partitions[place].decoded = decoded;
        }
        Ok(())
    }

    /// Decodes up to `max` records of the partition at `place`; `None` behind its last.
    fn decode(&mut self, place: usize, max: usize) -> Result<Option<DecodedBatch>> {
        let partition = &mut self.partitions[place];
        let source = &self.input.partitions[partition.number];
        let first = partition.next;
        let end = source.len().min(first + max);
        if first == end {
            return Ok(None);
        }
        let timed = if self.timed { end - first } else { 0 };
        let mut event_times = Vec::with_capacity(timed);
        let mut watermarks_before = Vec::with_capacity(timed);
        let mut origins = Vec::with_capacity(end - first);
        let mut start = source.start(first);
        for index in first..end {
            let record = &source.bytes[start..source.ends[index]];
            start = source.ends[index];
            let origin = Origin {
                partition: partition.number as i32,
                offset: index as i64,
            };
            match self.decoder.decode(record) {
                Decoded::Record(event_time) => {
                    if let Some(event_time) = event_time {
                        event_times.push(event_time);
                        watermarks_before.push(partition.clock.advance(event_time));
                    }
                    origins.push(origin);
                }
                Decoded::Bad(bad) => {
                    if let Some(event_time) = bad.event_time {
                        partition.clock.advance(event_time);
                    }
                    let stream = &self.stream;
                    let place = || Place::Offset {
                        topic: stream.clone(),
                        partition: origin.partition,
                        offset: origin.offset,
                    };
                    let original = || Original::line(record).to_owned();
                    self.bad
                        .take(LetterStage::Decode, place, &bad.reason, original)?;
                }
            }
        }
        partition.next = end;
        Ok(Some(DecodedBatch {
            columns: self.decoder.finish(),
            event_times,
            watermarks_before,
            origins,
            watermark_after: partition.clock.watermark(),
            next: end,
        }))
    }

    /// Up to `max` records of the partition at `place`, decoded now or beforehand; `None` behind its last.
    fn take(&mut self, place: usize, max: usize) -> Result<Option<DecodedBatch>> {
        let Some(whole) = self.partitions[place].decoded.pop() else {
            return self.decode(place, max);
        };
        let (batch, rest) = whole.split(max);
        self.partitions[place].decoded.extend(rest);
        Ok(Some(batch))
    }
}

impl DecodedBatch {
    /// The first `max` records, and the rest.
    fn split(mut self, max: usize) -> (DecodedBatch, Option<DecodedBatch>) {
        let rows = self.origins.len();
        if rows <= max {
            return (self, None);
        }
        let timed = max.min(self.event_times.len());
        let rest = DecodedBatch {
            columns: self.columns.slice(max, rows - max),
            event_times: self.event_times.split_off(timed),
            watermarks_before: self.watermarks_before.split_off(timed),
            origins: self.origins.split_off(max),
            watermark_after: self.watermark_after,
            next: self.next,
        };
        self.columns = self.columns.slice(0, max);
        self.next = rest.origins[0].offset as usize;
        if let Some(before) = rest.watermarks_before.first() {
            self.watermark_after = *before;
        }
        (self, Some(rest))
    }
}

impl<D: Decoder> Source for MemorySource<D> {
    fn poll(&mut self, max: usize) -> Result<Polled> {
        assert!(max > 0, "a poll for nothing");
        let due_us = (self.wall_us)();
        for _ in 0..self.partitions.len() {
            let place = self.turn;
            self.turn = (place + 1) % self.partitions.len();
            let Some(taken) = self.take(place, max)? else {
                self.partitions[place].watermark = Watermark::END;
                continue;
            };
            let partition = &mut self.partitions[place];
            self.records_in += (taken.next - partition.delivered) as u64;
            partition.delivered = taken.next;
            partition.watermark = taken.watermark_after;
            if taken.origins.is_empty() {
                return Ok(Polled::Nothing { progressed: true });
            }
            let batch = Batch {
                columns: taken.columns,
                event_times: taken.event_times,
                watermarks_before: taken.watermarks_before,
                origins: taken.origins,
                due_us,
                originals: None,
            };
            batch.assert_consistent();
            return Ok(Polled::Batch(batch));
        }
        self.ended = true;
        Ok(Polled::Ended)
    }

    fn watermark(&self) -> Option<Watermark> {
        if self.ended {
            return Some(Watermark::END);
        }
        self.partitions
            .iter()
            .map(|partition| partition.watermark)
            .min()
    }

    fn records_in(&self) -> u64 {
        self.records_in
    }

    fn take_letters(&mut self) -> Vec<DeadLetter> {
        self.bad.take_letters()
    }

    fn figures(&self) -> SourceFigures {
        let of = |partition: &Partition| PartitionFigures {
            partition: partition.number as i32,
            next_offset: partition.delivered as i64,
            watermark: partition.watermark,
        };
        SourceFigures {
            records_in: self.records_in,
            bad_records: self.bad.left_out(),
            replayed_records: 0,
            partitions: self.partitions.iter().map(of).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use datafusion_common::arrow::array::AsArray;
    use datafusion_common::arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit};

    use super::*;
    use crate::config::options::{OnError, TimeUnit as Unit};
    use crate::format::json::JsonDecoder;
    use crate::plan::in_memory::MemoryPartition;
    use crate::plan::{EventTimeColumn, EventTimeSpec, MemoryOptions, SourceConnector};

    /// Partitions of records `n, ts` (seconds; a bound of 2 s), or of whatever bytes.
    fn source(partitions: &[&[&str]], decoded: Option<usize>) -> MemorySource<JsonDecoder> {
        let mut input = MemoryInput::default();
        for records in partitions {
            let mut partition = MemoryPartition::default();
            for record in *records {
                partition.bytes.extend_from_slice(record.as_bytes());
                partition.ends.push(partition.bytes.len());
            }
            input.partitions.push(partition);
        }
        let share: Vec<usize> = (0..partitions.len()).collect();
        let input = Arc::new(input);
        let timestamp = DataType::Timestamp(TimeUnit::Microsecond, None);
        let columns = Arc::new(Schema::new(vec![
            Field::new("n", DataType::Int64, true),
            Field::new("ts", timestamp, true),
        ]));
        let decoder = JsonDecoder::new(&columns, &[0], Some(1), Unit::Seconds).expect("types");
        let stream = StreamSpec {
            name: "s".into(),
            columns,
            event_time: Some(EventTimeSpec {
                column: EventTimeColumn::Declared(1),
                bound_us: 2_000_000,
            }),
            on_error: OnError::Skip,
            dead_letter: None,
            event_time_unit: Unit::Seconds,
            time: Default::default(),
            watermark_emit: Default::default(),
            connector: SourceConnector::Memory(MemoryOptions {
                input: Arc::clone(&input),
                decoded: decoded.is_some(),
            }),
        };
        let mut source = MemorySource::new(&stream, &input, &share, decoder, || 7);
        if let Some(max) = decoded {
            source.decode_all(max).expect("bad records are skipped");
        }
        source
    }

    /// Of each batch: `n` with the watermark before it in seconds, and the source's watermark after it.
    fn polled(source: &mut MemorySource<JsonDecoder>, max: usize) -> Vec<(Vec<(i64, i64)>, i64)> {
        let seconds = |watermark: Watermark| match watermark {
            Watermark::NONE => -1,
            Watermark(us) => us / 1_000_000,
        };
        let mut batches = Vec::new();
        loop {
            match source.poll(max).expect("bad records are skipped") {
                Polled::Ended => return batches,
                Polled::Stopped => panic!("nobody stops it"),
                Polled::Nothing { .. } => {}
                Polled::Batch(batch) => {
                    let numbers = batch.columns.column(0).as_primitive::<Int64Type>().values();
                    let before = batch
                        .watermarks_before
                        .iter()
                        .map(|&before| seconds(before));
                    let after = source.watermark().expect("it has partitions");
                    batches.push((
                        numbers.iter().copied().zip(before).collect(),
                        seconds(after),
                    ));
                }
            }
        }
    }

    const FIRST: &[&str] = &[
        r#"{"n":1,"ts":10}"#,
        r#"{"n":"bad","ts":20}"#,
        r#"{"n":2,"ts":12}"#,
        r#"{"n":3,"ts":30}"#,
    ];
    const SECOND: &[&str] = &[r#"{"n":7,"ts":100}"#];

    #[test]
    fn partitions_take_turns_and_keep_their_own_watermark() {
        for decoded in [None, Some(2)] {
            let mut source = source(&[FIRST, SECOND], decoded);
            let batches = polled(&mut source, 2);
            let expected = [
                (vec![(1, -1)], -1),
                (vec![(7, -1)], 18),
                (vec![(2, 18), (3, 18)], 28),
            ];
            assert_eq!(batches, expected, "decoded {decoded:?}");
            assert_eq!(source.watermark(), Some(Watermark::END));
            let figures = source.figures();
            assert_eq!((figures.records_in, figures.bad_records), (5, 1));
            assert_eq!(figures.partitions[0].next_offset, 4);
        }
    }

    #[test]
    fn what_was_decoded_beforehand_comes_in_batches_of_any_size() {
        let mut source = source(&[FIRST], Some(100));
        let batches = polled(&mut source, 1);
        let expected = [
            (vec![(1, -1)], 18),
            (vec![(2, 18)], 18),
            (vec![(3, 18)], 28),
        ];
        assert_eq!(batches, expected);
        assert_eq!(source.figures().records_in, 4);
    }

    #[test]
    fn a_source_without_partitions_has_ended() {
        let mut source = source(&[], None);
        assert!(matches!(source.poll(1), Ok(Polled::Ended)));
    }
}
