//! The hidden columns that only a record itself can tell: its timestamp, its key, its topic.
//!
//! Law: one value for each record that the decoder has appended, in the same order.

use std::sync::Arc;

use datafusion_common::arrow::array::{
    ArrayRef, BinaryViewBuilder, RecordBatch, StringViewArray, TimestampMicrosecondBuilder,
};
use datafusion_common::arrow::datatypes::{FieldRef, Schema};

use crate::batch::under;
use crate::kafka::KafkaRecord;
use crate::plan::Hidden;

/// Columns in the making, those that are wanted.
#[derive(Debug)]
pub(super) struct HiddenColumns {
    wanted: Vec<Hidden>,
    timestamps: TimestampMicrosecondBuilder,
    keys: BinaryViewBuilder,
    topic: String,
    rows: usize,
}

impl HiddenColumns {
    /// Those of `wanted` that are of a record of `topic`; `None` if there are none.
    pub(super) fn new(wanted: &[Hidden], topic: &str) -> Option<HiddenColumns> {
        let of_record = |hidden: &Hidden| match hidden {
            Hidden::Timestamp | Hidden::Key | Hidden::Topic => true,
            Hidden::Partition | Hidden::Offset => false,
        };
        let wanted: Vec<Hidden> = wanted.iter().copied().filter(of_record).collect();
        (!wanted.is_empty()).then(|| HiddenColumns {
            wanted,
            timestamps: TimestampMicrosecondBuilder::new(),
            keys: BinaryViewBuilder::new(),
            topic: topic.to_owned(),
            rows: 0,
        })
    }

    /// Appends what `record` has.
    pub(super) fn push(&mut self, record: &KafkaRecord<'_>) {
        self.rows += 1;
        for hidden in &self.wanted {
            match hidden {
                Hidden::Timestamp => {
                    let milliseconds = record.timestamp_ms();
                    let micros = milliseconds.map(|time| time.saturating_mul(1_000));
                    self.timestamps.append_option(micros);
                }
                Hidden::Key => self.keys.append_option(record.key()),
                Hidden::Topic | Hidden::Partition | Hidden::Offset => {}
            }
        }
    }

    /// The decoded columns with these behind them.
    pub(super) fn behind(&mut self, decoded: &RecordBatch) -> RecordBatch {
        assert_eq!(decoded.num_rows(), self.rows, "a value for each record");
        let rows = std::mem::take(&mut self.rows);
        let mut fields: Vec<FieldRef> = decoded.schema().fields().iter().cloned().collect();
        let mut columns: Vec<ArrayRef> = decoded.columns().to_vec();
        for hidden in &self.wanted {
            fields.push(Arc::new(hidden.field()));
            columns.push(match hidden {
                Hidden::Timestamp => Arc::new(self.timestamps.finish()),
                Hidden::Key => Arc::new(self.keys.finish()),
                Hidden::Topic => {
                    let topic = std::iter::repeat_n(self.topic.as_str(), rows);
                    Arc::new(StringViewArray::from_iter_values(topic)) as ArrayRef
                }
                Hidden::Partition | Hidden::Offset => {
                    unreachable!("they are made of a batch's origins")
                }
            });
        }
        under(&Arc::new(Schema::new(fields)), columns, rows)
    }
}
