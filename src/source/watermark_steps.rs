//! What moves the watermarks of a stream where not every record does: the clock, punctuations, or both (`plan::WatermarkEmit`).
//!
//! ```text
//!   before a batch:   tick(wall clock) --passed a multiple--> every partition's watermark follows what its records have reached
//!   its records:      PartitionClock::advance --> by punctuation: what was reached with each record, in place of its stamp
//!   decoded:          stamp --expression over the columns--> stamps as they shall be, and the watermarks behind them
//! ```
//!
//! Laws: the clock is read once a batch, so all its records see the same step. A punctuation moves the watermark behind its own
//! record. A record for which the expression is NULL, or cannot be computed, is none.

use std::sync::Arc;

use datafusion_common::arrow::array::{
    Array, AsArray, BooleanArray, RecordBatch, RecordBatchOptions,
};
use datafusion_common::arrow::datatypes::{DataType, SchemaRef};
use datafusion_physical_expr::PhysicalExpr;

use crate::batch::Origin;
use crate::plan::SourceSpec;
use crate::time::{Moves, PartitionClock, Watermark};

/// The clocks of a source's partitions, by partition number.
pub trait PartitionClocks {
    /// That of `partition`, which the source reads.
    fn clock(&mut self, partition: i32) -> &mut PartitionClock;
}

/// A file is one partition.
impl PartitionClocks for PartitionClock {
    fn clock(&mut self, _partition: i32) -> &mut PartitionClock {
        self
    }
}

/// What moves the watermarks of one shard's share of a stream.
#[derive(Clone, Debug)]
pub struct WatermarkSteps {
    interval_us: Option<i64>,
    /// The last multiple of the interval that the clock has passed; `None` before it was read first.
    passed: Option<i64>,
    punctuation: Option<Marks>,
}

/// The expression, and where its columns stand among those that are decoded.
#[derive(Clone, Debug)]
struct Marks {
    expr: Arc<dyn PhysicalExpr>,
    places: Vec<usize>,
    schema: SchemaRef,
}

impl WatermarkSteps {
    /// What `spec` says; `None` where every record moves its watermark.
    pub fn of(spec: &SourceSpec) -> Option<WatermarkSteps> {
        let emit = &spec.stream.watermark_emit;
        if emit.is_by_record() {
            return None;
        }
        let decoded = spec.decoded();
        let punctuation = emit.punctuation.as_ref().map(|punctuation| Marks {
            expr: Arc::clone(&punctuation.expr.expr),
            places: punctuation
                .columns
                .iter()
                .map(|column| {
                    let place = decoded.binary_search(column);
                    place.expect("the job decodes what its watermarks need")
                })
                .collect(),
            schema: Arc::new(
                spec.stream
                    .columns
                    .project(&punctuation.columns)
                    .expect("the indexes come from this schema"),
            ),
        });
        Some(WatermarkSteps {
            interval_us: emit.interval_us,
            passed: None,
            punctuation,
        })
    }

    /// How the clock of a partition moves.
    pub fn moves(&self) -> Moves {
        match &self.punctuation {
            Some(_) => Moves::ByPunctuation,
            None => Moves::ByClock,
        }
    }

    /// It is `wall_us`, microseconds since the epoch. Whether the clock has passed a multiple of the interval since it was told
    /// last; the watermarks then follow.
    pub fn tick(&mut self, wall_us: i64) -> bool {
        let Some(interval_us) = self.interval_us else {
            return false;
        };
        let passed = wall_us.div_euclid(interval_us);
        let before = self.passed.replace(passed);
        before.is_some_and(|before| before != passed)
    }

    /// When the clock passes the next multiple, microseconds since the epoch; `None` where it moves nothing.
    pub fn next_tick_us(&self) -> Option<i64> {
        let (interval_us, passed) = (self.interval_us?, self.passed?);
        Some((passed + 1).saturating_mul(interval_us))
    }

    /// Whether records move watermarks by what they hold: whether `stamp` is to be called, before a partition ends.
    pub fn are_in_records(&self) -> bool {
        self.punctuation.is_some()
    }

    /// Makes `stamps`, which say what was reached with each of the records in `columns`, say the watermark just before it, and
    /// moves the watermarks of their partitions.
    pub fn stamp(
        &self,
        columns: &RecordBatch,
        origins: &[Origin],
        stamps: &mut [Watermark],
        clocks: &mut impl PartitionClocks,
    ) {
        let Some(marks) = &self.punctuation else {
            return;
        };
        let marked = marks.of(columns);
        for (row, (origin, stamp)) in origins.iter().zip(stamps).enumerate() {
            let clock = clocks.clock(origin.partition);
            let reached = std::mem::replace(stamp, clock.watermark());
            if marked.is_valid(row) && marked.value(row) {
                clock.move_to(reached);
            }
        }
    }
}

impl Marks {
    /// For each of the records in `decoded`, whether it is a punctuation.
    fn of(&self, decoded: &RecordBatch) -> BooleanArray {
        let columns = self.places.iter();
        let columns = columns.map(|&place| Arc::clone(decoded.column(place)));
        let rows = decoded.num_rows();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let schema = Arc::clone(&self.schema);
        let columns = RecordBatch::try_new_with_options(schema, columns.collect(), &options)
            .expect("the columns are the stream's");
        if let Some(marked) = self.evaluated(&columns) {
            return marked;
        }
        // One of them fails: the others are what they are.
        let each = (0..rows).map(|row| {
            let marked = self.evaluated(&columns.slice(row, 1));
            marked.is_some_and(|marked| marked.is_valid(0) && marked.value(0))
        });
        each.map(Some).collect()
    }

    /// The expression over `columns`; `None` if it fails for one of the rows.
    fn evaluated(&self, columns: &RecordBatch) -> Option<BooleanArray> {
        let values = self.expr.evaluate(columns).ok()?;
        let values = values.into_array(columns.num_rows()).ok()?;
        match values.data_type() {
            DataType::Boolean => Some(values.as_boolean().clone()),
            // NULL alone has a type of its own.
            _ => Some(BooleanArray::new_null(columns.num_rows())),
        }
    }
}

#[cfg(test)]
mod tests {
    use datafusion_common::arrow::array::ArrayRef;
    use datafusion_common::arrow::datatypes::{Field, Schema};
    use datafusion_physical_expr::expressions::Column;

    use super::*;
    use crate::time::EventTime;

    fn by_clock(interval_us: i64) -> WatermarkSteps {
        WatermarkSteps {
            interval_us: Some(interval_us),
            passed: None,
            punctuation: None,
        }
    }

    #[test]
    fn the_clock_steps_at_multiples_of_the_interval_whichever_way_it_is_set() {
        let mut steps = by_clock(100);
        assert_eq!(steps.next_tick_us(), None);
        let told = [250, 299, 300, 301, 1_000, 950, 950, -1];
        let ticks = told.map(|wall_us| steps.tick(wall_us));
        assert_eq!(
            ticks,
            [false, false, true, false, true, true, false, true],
            "the first look is no step"
        );
        assert_eq!(steps.next_tick_us(), Some(0));
        assert_eq!(steps.moves(), Moves::ByClock);
    }

    struct Both([PartitionClock; 2]);

    impl PartitionClocks for Both {
        fn clock(&mut self, partition: i32) -> &mut PartitionClock {
            &mut self.0[partition as usize]
        }
    }

    #[test]
    fn a_stamp_is_the_watermark_that_the_last_punctuation_of_its_partition_has_left() {
        let schema = Arc::new(Schema::new(vec![Field::new("m", DataType::Boolean, true)]));
        let steps = WatermarkSteps {
            interval_us: None,
            passed: None,
            punctuation: Some(Marks {
                expr: Arc::new(Column::new("m", 0)),
                places: vec![0],
                schema: Arc::clone(&schema),
            }),
        };
        let marks = [None, Some(true), Some(false), Some(true), Some(true)];
        let column: ArrayRef = Arc::new(BooleanArray::from(marks.to_vec()));
        let columns = RecordBatch::try_new(schema, vec![column]).expect("one column");
        // The second and the last record are of partition 1.
        let records = [(0, 10), (1, 70), (0, 30), (0, 20), (1, 60)];
        let mut clocks = [0, 1].map(|_| PartitionClock::new(1).moving(steps.moves()));
        let mut stamps = records
            .map(|(partition, time): (usize, i64)| clocks[partition].advance(EventTime(time)));
        let origins = records.map(|(partition, offset)| Origin {
            partition: partition as i32,
            offset,
        });
        let mut clocks = Both(clocks);
        steps.stamp(&columns, &origins, &mut stamps, &mut clocks);
        let none = Watermark::NONE;
        assert_eq!(stamps, [none, none, none, none, Watermark(69)]);
        // The highest of partition 0 stood before its punctuation.
        let behind = clocks.0.map(|clock| clock.watermark());
        assert_eq!(behind, [Watermark(29), Watermark(69)]);
    }
}
