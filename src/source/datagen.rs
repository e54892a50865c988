//! A shard's share of a generated stream.
//!
//! ```text
//!   row i --(seed, column, i)--> values          partition i mod 8, offset i / 8; partitions dealt to shards as a topic's
//!   due at start + i / rate: taken no earlier, and however late, dated by when it was due
//! ```
//!
//! Law, beside those of `Source`: a row's values depend on seed and number alone, so every share of every number of shards
//! holds the same rows in the same partitions. With a rate the loop is open: a run that cannot keep up sees rows come late,
//! and not fewer of them. No number wraps: a sequence that has left its column's range ends the run.

use std::sync::Arc;

use datafusion_common::arrow::array::builder::{BinaryViewBuilder, StringViewBuilder};
use datafusion_common::arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int8Array,
    Int16Array, Int32Array, Int64Array, RecordBatch, RecordBatchOptions, Time64MicrosecondArray,
    TimestampMicrosecondArray,
};
use datafusion_common::arrow::datatypes::{DataType, SchemaRef};
use rand_core::{RngCore, SeedableRng};
use rand_xoshiro::SplitMix64;

use super::{Extent, PartitionFigures, Polled, Source, SourceFigures};
use super::{PartitionClocks, WatermarkSteps};
use crate::batch::{Batch, Origin};
use crate::config::options::{ColumnSpec, DatagenSpec, Generator, singles};
use crate::error::{Error, Result};
use crate::plan::{EventTimeColumn, SourceSpec};
use crate::time::{EventTime, PartitionClock, Watermark};

/// Partitions of a generated stream, whatever the number of shards.
pub const PARTITIONS: usize = 8;

/// Draws a share of a stream's rows.
pub struct DatagenSource {
    stream: String,
    rows: u64,
    /// The first row for which a column that is read has no value, and that column.
    exhausted: Option<(u64, String)>,
    rate: Option<u64>,
    /// When the run started: row 0 is due, and a time that starts now does so. Wall clock, microseconds since the epoch.
    started_us: i64,
    schema: SchemaRef,
    /// The projected columns.
    columns: Vec<Column>,
    event_time: Option<Column>,
    /// By number, ascending.
    partitions: Vec<Partition>,
    /// `None` where every record moves its watermark.
    steps: Option<WatermarkSteps>,
    /// The place in `partitions` of the next row, and its offset there.
    place: usize,
    offset: u64,
    wall_us: fn() -> i64,
    records_in: u64,
    ended: bool,
    /// Scratch: the rows of the batch in the making.
    taken: Vec<u64>,
}

struct Partition {
    number: usize,
    next_offset: i64,
    clock: PartitionClock,
}

impl PartitionClocks for Vec<Partition> {
    fn clock(&mut self, partition: i32) -> &mut PartitionClock {
        let is_it = |one: &&mut Partition| one.number as i32 == partition;
        let found = self.iter_mut().find(is_it);
        &mut found
            .expect("a row of a partition that is drawn here")
            .clock
    }
}

/// One column, and what its rows are drawn from.
struct Column {
    spec: ColumnSpec,
    data_type: DataType,
    seed: u64,
    started_us: i64,
}

impl DatagenSource {
    /// The partitions `share` of the stream of `source`, which is drawn as `spec` says and starts at `started_us` (wall
    /// clock, microseconds since the epoch, the same for all shards).
    pub fn new(
        source: &SourceSpec,
        spec: &DatagenSpec,
        share: &[usize],
        started_us: i64,
        wall_us: fn() -> i64,
    ) -> DatagenSource {
        assert!(share.is_sorted_by(|a, b| a < b), "rows come in order");
        let stream = &source.stream;
        let column = |declared: usize| Column {
            spec: spec.columns[declared].clone(),
            data_type: stream.columns.field(declared).data_type().clone(),
            seed: mixed(spec.seed ^ mixed(declared as u64)),
            started_us,
        };
        let event_time = stream.event_time.as_ref().map(|time| match time.column {
            EventTimeColumn::Declared(declared) => column(declared),
            EventTimeColumn::Message | EventTimeColumn::Row => {
                panic!("a generated row has no time of its own")
            }
        });
        let bound_us = stream.event_time.as_ref().map_or(0, |time| time.bound_us);
        let exhausted = source.decoded().iter().filter_map(|&declared| {
            let Generator::Sequence { rows, .. } = spec.columns[declared].generator else {
                return None;
            };
            Some((rows, stream.columns.field(declared).name().clone()))
        });
        let steps = WatermarkSteps::of(source);
        let moves = steps
            .as_ref()
            .map_or_else(Default::default, |steps| steps.moves());
        DatagenSource {
            steps,
            stream: stream.name.clone(),
            exhausted: exhausted.min(),
            rows: spec.rows.unwrap_or(u64::MAX),
            rate: spec.rate,
            started_us,
            schema: Arc::new(
                stream
                    .columns
                    .project(source.decoded())
                    .expect("the indexes come from this schema"),
            ),
            columns: source
                .decoded()
                .iter()
                .map(|&index| column(index))
                .collect(),
            event_time,
            partitions: share
                .iter()
                .map(|&number| Partition {
                    number,
                    next_offset: 0,
                    clock: PartitionClock::new(bound_us).moving(moves),
                })
                .collect(),
            place: 0,
            offset: 0,
            wall_us,
            records_in: 0,
            ended: share.is_empty(),
            taken: Vec::new(),
        }
    }

    /// The number of the next row.
    fn next_row(&self) -> u64 {
        self.offset * PARTITIONS as u64 + self.partitions[self.place].number as u64
    }

    /// Below this row, which is behind the next one, every column has its values. Only a stream without an end comes to a row
    /// where that is not so: for another it is known when it is planned.
    fn drawable(&self) -> Result<u64> {
        match &self.exhausted {
            Some((row, column)) if *row <= self.next_row() => Err(Error::Config(format!(
                "stream {}: the sequence of column {column} leaves its range after {row} rows; set rows = '{row}', or \
                 declare the column as a wider type",
                self.stream
            ))),
            Some((row, _)) => Ok(self.rows.min(*row)),
            None => Ok(self.rows),
        }
    }

    /// When row `row` is due.
    fn due_us(&self, row: u64, now_us: i64) -> i64 {
        match self.rate {
            None => now_us,
            Some(rate) => {
                let after = u128::from(row) * 1_000_000 / u128::from(rate);
                let after = i64::try_from(after).unwrap_or(i64::MAX);
                self.started_us.saturating_add(after)
            }
        }
    }
}

impl Source for DatagenSource {
    fn poll(&mut self, max: usize) -> Result<Polled> {
        assert!(max > 0, "a poll for nothing");
        if self.ended || self.next_row() >= self.rows {
            self.ended = true;
            return Ok(Polled::Ended);
        }
        let drawable = self.drawable()?;
        let now_us = (self.wall_us)();
        let due_us = self.due_us(self.next_row(), now_us);
        let mut moved = false;
        if let Some(steps) = &mut self.steps
            && steps.tick(now_us)
        {
            for partition in &mut self.partitions {
                moved |= partition.clock.follow();
            }
        }
        let mut event_times = Vec::new();
        let mut watermarks_before = Vec::new();
        let mut origins = Vec::new();
        self.taken.clear();
        while self.taken.len() < max {
            let row = self.next_row();
            if row >= drawable || self.due_us(row, now_us) > now_us {
                break;
            }
            self.taken.push(row);
            let partition = &mut self.partitions[self.place];
            if let Some(column) = &self.event_time {
                let event_time = EventTime(column.whole(row));
                event_times.push(event_time);
                watermarks_before.push(partition.clock.advance(event_time));
            }
            origins.push(Origin {
                partition: partition.number as i32,
                offset: partition.next_offset,
            });
            partition.next_offset += 1;
            self.place += 1;
            if self.place == self.partitions.len() {
                self.place = 0;
                self.offset += 1;
            }
        }
        if self.taken.is_empty() {
            return Ok(Polled::Nothing { progressed: moved });
        }
        self.records_in += self.taken.len() as u64;
        let columns = self.columns.iter().map(|column| column.draw(&self.taken));
        let options = RecordBatchOptions::new().with_row_count(Some(self.taken.len()));
        let columns = RecordBatch::try_new_with_options(
            Arc::clone(&self.schema),
            columns.collect(),
            &options,
        )
        .expect("every column has its declared type, and NULL only where it may");
        if let Some(steps) = &self.steps {
            let partitions = &mut self.partitions;
            steps.stamp(&columns, &origins, &mut watermarks_before, partitions);
        }
        let batch = Batch {
            columns,
            event_times,
            watermarks_before,
            origins,
            due_us,
            originals: None,
        };
        batch.assert_consistent();
        Ok(Polled::Batch(batch))
    }

    fn next_due_us(&self) -> Option<i64> {
        self.rate?;
        let row = self.next_row();
        if self.ended || row >= self.rows {
            return None;
        }
        let mut clocks = self.partitions.iter().map(|partition| &partition.clock);
        let steps = self
            .steps
            .as_ref()
            .filter(|_| clocks.any(PartitionClock::is_behind));
        let tick_us = steps.and_then(WatermarkSteps::next_tick_us);
        tick_us.into_iter().chain([self.due_us(row, 0)]).min()
    }

    fn watermark(&self) -> Option<Watermark> {
        if self.ended {
            return Some(Watermark::END);
        }
        let watermarks = self.partitions.iter().map(|one| one.clock.watermark());
        watermarks.min()
    }

    fn records_in(&self) -> u64 {
        self.records_in
    }

    fn extent(&self) -> Option<Extent> {
        let bounded = self.rows != u64::MAX;
        let of_partition = |partition: &Partition| {
            let before = self.rows.saturating_sub(partition.number as u64);
            before.div_ceil(PARTITIONS as u64)
        };
        bounded.then(|| Extent {
            read: self.records_in,
            whole: self.partitions.iter().map(of_partition).sum(),
        })
    }

    fn figures(&self) -> SourceFigures {
        let of = |partition: &Partition| PartitionFigures {
            partition: partition.number as i32,
            next_offset: partition.next_offset,
            watermark: match self.ended {
                true => Watermark::END,
                false => partition.clock.watermark(),
            },
        };
        SourceFigures {
            records_in: self.records_in,
            bad_records: 0,
            replayed_records: 0,
            partitions: self.partitions.iter().map(of).collect(),
        }
    }
}

impl Column {
    /// The generator of one row's value; the first number it gives decides about NULL.
    fn random(&self, row: u64) -> SplitMix64 {
        SplitMix64::seed_from_u64(mixed(self.seed ^ row))
    }

    fn is_null(&self, random: &mut SplitMix64) -> bool {
        let drawn = random.next_u64();
        self.spec.null_rate > 0.0 && unit(drawn) < self.spec.null_rate
    }

    /// The value of `row` where that is a whole number.
    fn whole(&self, row: u64) -> i64 {
        let mut random = self.random(row);
        self.is_null(&mut random);
        self.whole_of(row, &mut random)
    }

    fn whole_of(&self, row: u64, random: &mut SplitMix64) -> i64 {
        match &self.spec.generator {
            // In range where it ends, though `step * row` alone may not be.
            Generator::Sequence { start, step, rows } => {
                debug_assert!(
                    row < *rows,
                    "`drawable` lets no row behind the range be drawn"
                );
                start.wrapping_add(step.wrapping_mul(row as i64))
            }
            Generator::Integer { min, max } => {
                let span = max.wrapping_sub(*min) as u64;
                let drawn = match span.checked_add(1) {
                    Some(values) => below(random, values),
                    None => random.next_u64(),
                };
                min.wrapping_add(drawn as i64)
            }
            Generator::Time {
                start_us,
                step_ns,
                max_past_us,
            } => {
                let after = u128::from(*step_ns) * u128::from(row) / 1_000;
                let after = i64::try_from(after).unwrap_or(i64::MAX);
                let past = below(random, max_past_us.unsigned_abs() + 1) as i64;
                let start_us = start_us.unwrap_or(self.started_us);
                start_us.saturating_add(after).saturating_sub(past)
            }
            other => unreachable!("{other:?} is no whole number"),
        }
    }

    /// The values of `rows`.
    fn draw(&self, rows: &[u64]) -> ArrayRef {
        macro_rules! numbers {
            ($array:ty, $number:ty) => {
                self.each(rows, |row, random| self.whole_of(row, random) as $number)
                    .collect::<$array>()
            };
        }
        match &self.data_type {
            DataType::Int8 => Arc::new(numbers!(Int8Array, i8)),
            DataType::Int16 => Arc::new(numbers!(Int16Array, i16)),
            DataType::Int32 => Arc::new(numbers!(Int32Array, i32)),
            DataType::Int64 => Arc::new(numbers!(Int64Array, i64)),
            DataType::Date32 => Arc::new(numbers!(Date32Array, i32)),
            DataType::Time64(_) => Arc::new(numbers!(Time64MicrosecondArray, i64)),
            DataType::Timestamp(..) => Arc::new(numbers!(TimestampMicrosecondArray, i64)),
            DataType::Decimal128(precision, scale) => {
                let units = numbers!(Decimal128Array, i128);
                let typed = units.with_precision_and_scale(*precision, *scale);
                Arc::new(typed.expect("the plan's precision and scale go together"))
            }
            DataType::Float32 => {
                let (min, max) = self.bounds();
                let (least, most) = singles(min, max);
                // The nearest single of a double below `max` may be `max`.
                let single = |random: &mut SplitMix64| {
                    let nearest = self.double(random) as f32;
                    nearest.clamp(least, most)
                };
                Arc::new(
                    self.each(rows, |_, random| single(random))
                        .collect::<Float32Array>(),
                )
            }
            DataType::Float64 => Arc::new(
                self.each(rows, |_, random| self.double(random))
                    .collect::<Float64Array>(),
            ),
            DataType::Boolean => Arc::new(
                self.each(rows, |_, random| random.next_u64() >> 63 == 1)
                    .collect::<BooleanArray>(),
            ),
            DataType::Utf8View => {
                let mut texts = StringViewBuilder::with_capacity(rows.len());
                let mut scratch = String::new();
                for drawn in self.each(rows, |_, random| random.clone()) {
                    texts.append_option(drawn.map(|mut random| {
                        self.text(&mut random, &mut scratch);
                        scratch.as_str()
                    }));
                }
                Arc::new(texts.finish())
            }
            DataType::BinaryView => {
                let Generator::Letters { length } = self.spec.generator else {
                    unreachable!("bytes have a length")
                };
                let mut bytes = BinaryViewBuilder::with_capacity(rows.len());
                let mut scratch = vec![0; length];
                for drawn in self.each(rows, |_, random| random.clone()) {
                    bytes.append_option(drawn.map(|mut random| {
                        random.fill_bytes(&mut scratch);
                        scratch.as_slice()
                    }));
                }
                Arc::new(bytes.finish())
            }
            other => unreachable!("{other} was refused when the options were read"),
        }
    }

    /// `value` of each row that is not NULL.
    fn each<'r, V>(
        &'r self,
        rows: &'r [u64],
        value: impl Fn(u64, &mut SplitMix64) -> V + 'r,
    ) -> impl Iterator<Item = Option<V>> + 'r {
        rows.iter().map(move |&row| {
            let mut random = self.random(row);
            match self.is_null(&mut random) {
                true => None,
                false => Some(value(row, &mut random)),
            }
        })
    }

    fn bounds(&self) -> (f64, f64) {
        let Generator::Double { min, max } = self.spec.generator else {
            unreachable!("a double has bounds")
        };
        (min, max)
    }

    fn double(&self, random: &mut SplitMix64) -> f64 {
        let (min, max) = self.bounds();
        // The width of the widest range is more than a double holds.
        let share = unit(random.next_u64());
        let value = min * (1.0 - share) + max * share;
        value.clamp(min, max.next_down())
    }

    /// Leaves a text in `text`.
    fn text(&self, random: &mut SplitMix64, text: &mut String) {
        text.clear();
        match &self.spec.generator {
            Generator::OneOf(values) => {
                text.push_str(&values[below(random, values.len() as u64) as usize]);
            }
            Generator::Named {
                prefix,
                cardinality,
            } => {
                text.push_str(prefix);
                text.push_str(itoa::Buffer::new().format(below(random, *cardinality)));
            }
            Generator::Letters { length } => {
                let mut word = 0;
                for place in 0..*length {
                    if place % 16 == 0 {
                        word = random.next_u64();
                    }
                    text.push(char::from(b"0123456789abcdef"[(word & 15) as usize]));
                    word >>= 4;
                }
            }
            other => unreachable!("{other:?} gives no text"),
        }
    }
}

/// One well mixed number for each `number`.
fn mixed(number: u64) -> u64 {
    SplitMix64::seed_from_u64(number).next_u64()
}

/// From 0 on and below `bound`.
fn below(random: &mut SplitMix64, bound: u64) -> u64 {
    ((u128::from(random.next_u64()) * u128::from(bound)) >> 64) as u64
}

/// From 0 on and below 1.
fn unit(drawn: u64) -> f64 {
    (drawn >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use datafusion_common::arrow::compute::concat_batches;
    use datafusion_common::arrow::datatypes::{Field, Schema, TimeUnit};

    use super::*;
    use crate::config::options::{OnError, TimeUnit as Unit};
    use crate::plan::{EventTimeSpec, SourceConnector, StreamSpec};

    thread_local! {
        static NOW_US: Cell<i64> = const { Cell::new(0) };
    }

    fn source(rows: u64, rate: Option<u64>, share: &[usize]) -> DatagenSource {
        let plain = |generator| ColumnSpec {
            generator,
            null_rate: 0.0,
        };
        let spec = DatagenSpec {
            rows: Some(rows),
            rate,
            seed: 7,
            columns: vec![
                plain(Generator::Sequence {
                    start: 1,
                    step: 1,
                    rows: i64::MAX as u64,
                }),
                ColumnSpec {
                    generator: Generator::Named {
                        prefix: "k".into(),
                        cardinality: 5,
                    },
                    null_rate: 0.25,
                },
                plain(Generator::Double {
                    min: -1.0,
                    max: 3.0,
                }),
                plain(Generator::Time {
                    start_us: Some(1_000_000),
                    step_ns: 1_000_000,
                    max_past_us: 5_000,
                }),
            ],
        };
        let timestamp = DataType::Timestamp(TimeUnit::Microsecond, None);
        let columns: SchemaRef = Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("k", DataType::Utf8View, true),
            Field::new("x", DataType::Float64, false),
            Field::new("ts", timestamp, true),
        ]));
        let stream = StreamSpec {
            name: "g".into(),
            columns: Arc::clone(&columns),
            event_time: Some(EventTimeSpec {
                column: EventTimeColumn::Declared(3),
                bound_us: 5_000,
            }),
            on_error: OnError::Fail,
            dead_letter: None,
            event_time_unit: Unit::Milliseconds,
            time: Default::default(),
            watermark_emit: Default::default(),
            connector: SourceConnector::Datagen(spec.clone()),
        };
        let described = SourceSpec {
            stream: Arc::new(stream),
            projection: vec![0, 1, 2, 3],
            projected: columns,
            dealing: None,
        };
        DatagenSource::new(&described, &spec, share, 1_000, || NOW_US.get())
    }

    /// All rows of a share, in the order of their ids, and whether one of them was late.
    fn drawn(share: &[usize], max: usize) -> (Vec<String>, bool) {
        let mut source = source(1_000, None, share);
        let mut batches = Vec::new();
        let mut late = false;
        while let Polled::Batch(batch) = source.poll(max).expect("it refuses nothing") {
            late |= std::iter::zip(&batch.event_times, &batch.watermarks_before)
                .any(|(time, watermark)| time.0 < watermark.0);
            batches.push(batch.columns);
        }
        assert_eq!(source.watermark(), Some(Watermark::END));
        let whole = concat_batches(&source.schema, &batches).expect("one schema");
        assert_eq!(source.records_in(), whole.num_rows() as u64);
        let rows = (0..whole.num_rows()).map(|row| format!("{:?}", whole.slice(row, 1)));
        (rows.collect(), late)
    }

    #[test]
    fn the_rows_are_the_same_however_they_are_dealt() {
        let (mut whole, late) = drawn(&[0, 1, 2, 3, 4, 5, 6, 7], 64);
        assert_eq!(whole.len(), 1_000);
        assert!(!late, "the bound is as long as the longest past");
        let mut dealt: Vec<String> = [&[0, 3, 6][..], &[1, 4, 7], &[2, 5]]
            .iter()
            .flat_map(|share| drawn(share, 7).0)
            .collect();
        whole.sort();
        dealt.sort();
        assert_eq!(whole, dealt);
        let nulls = whole.iter().filter(|row| row.contains("  null,")).count();
        assert!((200..300).contains(&nulls), "a quarter of 1,000: {nulls}");
    }

    #[test]
    fn a_row_comes_when_it_is_due_and_says_when_that_was() {
        let mut source = source(1_000, Some(1_000), &[0, 1, 2, 3, 4, 5, 6, 7]);
        let mut poll = |now_us| {
            NOW_US.set(now_us);
            match source.poll(100).expect("it refuses nothing") {
                Polled::Batch(batch) => Some((batch.len(), batch.due_us)),
                Polled::Nothing { progressed: false } => None,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(poll(999), None);
        assert_eq!(poll(1_000), Some((1, 1_000)));
        assert_eq!(poll(1_999), None);
        assert_eq!(poll(4_500), Some((3, 2_000)));
        // Late, and dated by when it was due all the same.
        assert_eq!(poll(1_000_000), Some((100, 5_000)));
        assert_eq!(source.next_due_us(), Some(105_000));
    }

    /// Regression: it went on at the other end of the range.
    #[test]
    fn a_sequence_that_leaves_its_range_ends_the_run() {
        for share in [&[0, 1, 2, 3, 4, 5, 6, 7][..], &[3]] {
            let mut source = source(1_000, None, share);
            source.exhausted = Some((20, "id".into()));
            let taken = match source.poll(1_024).expect("these rows there are") {
                Polled::Batch(batch) => batch.len(),
                other => panic!("{other:?}"),
            };
            assert_eq!(taken, if share.len() == 1 { 3 } else { 20 });
            let error = source.poll(1_024).expect_err("no value").to_string();
            assert_eq!(
                error,
                "stream g: the sequence of column id leaves its range after 20 rows; set rows = '20', or declare the column \
                 as a wider type"
            );
        }
    }

    /// Regression: the nearest single of a double just below `max` is often `max` itself.
    #[test]
    fn a_real_stays_below_its_maximum() {
        let column = Column {
            spec: ColumnSpec {
                generator: Generator::Double {
                    min: 16_777_216.0,
                    max: 16_777_218.0,
                },
                null_rate: 0.0,
            },
            data_type: DataType::Float32,
            seed: 7,
            started_us: 0,
        };
        let rows: Vec<u64> = (0..100).collect();
        let drawn = column.draw(&rows);
        let drawn = drawn
            .as_any()
            .downcast_ref::<Float32Array>()
            .expect("singles");
        let values: Vec<f32> = drawn.iter().flatten().collect();
        assert_eq!(values.len(), 100);
        assert!(values.iter().all(|value| *value == 16_777_216.0));
    }
}
