//! Fields to columns: what every decoder appends to.
//!
//! ```text
//!   decoder: put(slot, token) ... put(slot, token), close        slots: the projected columns, then the event time's
//!                                                                       if it is not among them
//! ```
//!
//! Law: a record is appended whole or not at all: what a bad one has appended is taken back when it ends. What a value may
//! be is for `token` to say, how a column keeps it for `cells`.
//!
//! Arrow's own builders stood here before: they cannot take a value back, write a bit for every value that is not NULL and
//! allocate their memory anew for each batch (docs/decisions/0015).

mod cells;
mod fixed;
mod views;

use std::sync::Arc;

use datafusion_common::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion_common::arrow::datatypes::{DataType, Field, SchemaRef};

use super::plain::Plain;
use super::token::{Token, Wrong};
use super::{BadRecord, Decoded, too_far_ahead};
use crate::config::options::TimeUnit;
use crate::error::Result;
use crate::time::EventTime;

pub(super) use cells::Takes;
use cells::{Cells, TIMESTAMP};
pub(super) use views::{SHORT_BYTES_MAX, ShortText};

/// Columns in the making.
pub struct ColumnBuilders {
    /// The projected columns.
    schema: SchemaRef,
    /// By slot.
    columns: Vec<Column>,
    /// Where the event time is found; `NO_SLOT` if in no column.
    event_time_slot: usize,
    unit: TimeUnit,
    /// Rows that are closed.
    rows: usize,
    /// Rows to make room for: the most that were ever taken at once.
    capacity: usize,
    /// The record in the making: how many slots it has filled, its event time, the first thing wrong with it.
    filled: usize,
    event_time: Option<EventTime>,
    wrong: Option<String>,
    /// Beyond it an event time makes a bad record.
    latest: EventTime,
    scratch: Vec<u8>,
}

const NO_SLOT: usize = usize::MAX;

impl ColumnBuilders {
    /// Columns `projection` of `columns`, and the event time's column, which is read even if it is not projected.
    /// `unit` is what a bare number in a TIMESTAMP counts since the epoch.
    ///
    /// Fails with [`Error::Config`](crate::error::Error::Config) for a type that cannot be read from text.
    pub fn new(
        columns: &SchemaRef,
        projection: &[usize],
        event_time: Option<usize>,
        unit: TimeUnit,
    ) -> Result<ColumnBuilders> {
        assert!(
            projection.is_sorted_by(|a, b| a < b),
            "a projection is ascending"
        );
        let schema = Arc::new(
            columns
                .project(projection)
                .expect("a projection lies within the schema"),
        );
        let mut slots = Vec::with_capacity(projection.len() + 1);
        for &index in projection {
            let field = columns.field(index);
            slots.push(Column::new(field, index, Cells::new(field)?));
        }
        let event_time_slot = event_time.map(|declared| {
            let field = columns.field(declared);
            assert_eq!(
                field.data_type(),
                &TIMESTAMP,
                "the event time is a TIMESTAMP"
            );
            let slot = projection.iter().position(|&index| index == declared);
            slot.unwrap_or_else(|| {
                slots.push(Column::new(field, declared, Cells::TimeOnly { last: 0 }));
                slots.len() - 1
            })
        });
        Ok(ColumnBuilders {
            schema,
            columns: slots,
            event_time_slot: event_time_slot.unwrap_or(NO_SLOT),
            unit,
            rows: 0,
            capacity: 0,
            filled: 0,
            event_time: None,
            wrong: None,
            latest: EventTime(i64::MAX),
            scratch: Vec::new(),
        })
    }

    /// The event time of records alone, from column `event_time`. The columns `projection` are held to what the format asks
    /// of a wanted value, so that the same records are broken as for `new`, and dropped.
    pub fn time_only(
        columns: &SchemaRef,
        projection: &[usize],
        event_time: usize,
        unit: TimeUnit,
    ) -> Result<ColumnBuilders> {
        let mut builders = ColumnBuilders::new(columns, &[], Some(event_time), unit)?;
        for &index in projection.iter().filter(|&&index| index != event_time) {
            let mut column = Column::new(columns.field(index), index, Cells::Checked);
            // A NULL breaks no record: whoever keeps the column refuses it.
            column.required = false;
            builders.columns.push(column);
        }
        Ok(builders)
    }

    /// The wanted columns' indexes in the declared schema, by slot.
    pub(super) fn wanted(&self) -> impl Iterator<Item = usize> {
        self.columns.iter().map(|column| column.declared)
    }

    /// What a column takes without a token.
    pub(super) fn takes(&self, slot: usize) -> Takes {
        self.columns[slot].cells.takes()
    }

    /// Whether there is such a slot and the record in the making has not filled it yet.
    #[inline]
    pub(super) fn awaits(&self, slot: usize) -> bool {
        let column = self.columns.get(slot);
        column.is_some_and(|column| column.len == self.rows)
    }

    /// Fills a slot of the record in the making. The first value of a slot counts, later ones are ignored.
    #[inline]
    pub(super) fn put(&mut self, slot: usize, token: Token<'_>) {
        if !self.awaits(slot) {
            return;
        }
        let is_event_time = self.event_time_slot == slot;
        let column = &mut self.columns[slot];
        let outcome = match token {
            Token::Null if is_event_time => Err(Wrong::NoEventTime),
            Token::Null if column.required => Err(Wrong::Null),
            Token::Null => {
                column.cells.append_null();
                Ok(())
            }
            token => column.cells.append(token, self.unit, &mut self.scratch),
        };
        if let Err(wrong) = outcome {
            column.cells.append_null();
            if self.wrong.is_none() {
                self.wrong = Some(wrong.clause(&column.name, &column.data_type, token));
            }
        }
        self.is_put(slot, outcome.is_ok());
    }

    /// Fills a slot that awaits a value with a plain number, if that is all it takes; false if nothing was put.
    #[inline]
    pub(super) fn put_plain(&mut self, slot: usize, number: Plain) -> bool {
        debug_assert!(self.awaits(slot), "the first value of a slot counts");
        let put = self.columns[slot].cells.append_plain(number, self.unit);
        if put {
            self.is_put(slot, true);
        }
        put
    }

    /// Fills a slot that awaits a value with a short text, if it is one of text; false if nothing was put.
    #[inline]
    pub(super) fn put_short(&mut self, slot: usize, text: ShortText) -> bool {
        debug_assert!(self.awaits(slot), "the first value of a slot counts");
        let put = self.columns[slot].cells.append_short(text);
        if put {
            self.is_put(slot, true);
        }
        put
    }

    #[inline]
    fn is_put(&mut self, slot: usize, right: bool) {
        self.columns[slot].len += 1;
        self.filled += 1;
        if slot == self.event_time_slot && right {
            self.event_time = Some(self.columns[slot].cells.last_time());
        }
    }

    /// Ends the record in the making: a slot that was not filled is NULL.
    #[inline]
    pub(super) fn close(&mut self) -> Decoded {
        if self.filled < self.columns.len() {
            for slot in 0..self.columns.len() {
                self.put(slot, Token::Null);
            }
        }
        debug_assert_eq!(self.filled, self.columns.len(), "a slot was left open");
        let event_time = match self.event_time.take() {
            Some(time) if time > self.latest => {
                self.wrong = Some(self.ahead(time));
                None
            }
            other => other,
        };
        match self.wrong.take() {
            None => {
                self.filled = 0;
                self.rows += 1;
                Decoded::Record(event_time)
            }
            Some(reason) => {
                self.take_back();
                Decoded::Bad(BadRecord { reason, event_time })
            }
        }
    }

    /// From now on, an event time beyond `latest` makes a bad record, whose event time is not told.
    pub(super) fn limit_event_time(&mut self, latest: EventTime) {
        self.latest = latest;
    }

    #[cold]
    fn ahead(&self, time: EventTime) -> String {
        let column = &self.columns[self.event_time_slot];
        too_far_ahead(&format!("column {}", column.name), time)
    }

    /// Ends the record in the making as a bad one of which nothing can be trusted, its event time included.
    #[cold]
    pub(super) fn discard(&mut self, reason: String) -> Decoded {
        self.take_back();
        self.event_time = None;
        self.wrong = None;
        Decoded::Bad(BadRecord {
            reason,
            event_time: None,
        })
    }

    /// Takes back what the record in the making has appended.
    #[cold]
    fn take_back(&mut self) {
        for column in &mut self.columns {
            if column.len > self.rows {
                column.cells.pop();
                column.len -= 1;
            }
        }
        self.filled = 0;
    }

    /// Number of records appended and not yet taken.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether nothing is waiting to be taken.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Takes what was appended: exactly the projected columns, which may be none.
    pub fn finish(&mut self) -> RecordBatch {
        assert_eq!(self.filled, 0, "a record is in the making");
        self.capacity = self.capacity.max(self.rows);
        let mut arrays = Vec::with_capacity(self.columns.len());
        for column in &mut self.columns {
            assert_eq!(column.len, self.rows, "a column lost or gained a record");
            column.len = 0;
            arrays.extend(column.cells.finish(self.capacity));
        }
        let records = std::mem::take(&mut self.rows);
        let options = RecordBatchOptions::new().with_row_count(Some(records));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)
            .expect("every column has its declared type and length, and NULL only where it may")
    }
}

/// One wanted column.
struct Column {
    /// Rows appended, that of the record in the making included.
    len: usize,
    required: bool,
    cells: Cells,
    name: String,
    /// Index in the declared schema.
    declared: usize,
    data_type: DataType,
}

impl Column {
    fn new(field: &Field, declared: usize, cells: Cells) -> Column {
        Column {
            len: 0,
            required: !field.is_nullable(),
            cells,
            name: field.name().clone(),
            declared,
            data_type: field.data_type().clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use datafusion_common::arrow::array::{Array, AsArray};
    use datafusion_common::arrow::datatypes::{Int64Type, Schema, TimestampMicrosecondType};

    use super::*;
    use crate::error::Error;

    fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
        let fields = columns
            .iter()
            .map(|(name, data_type)| Field::new(*name, data_type.clone(), true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// One column, one token: the reason for which it is refused.
    fn refusal(data_type: DataType, token: Token<'_>) -> String {
        let mut builders = ColumnBuilders::new(
            &schema(&[("c", data_type)]),
            &[0],
            None,
            TimeUnit::Milliseconds,
        )
        .expect("a readable type");
        builders.put(0, token);
        match builders.close() {
            Decoded::Bad(bad) => bad.reason,
            Decoded::Record(_) => panic!("accepted {token:?}"),
        }
    }

    #[test]
    fn a_refusal_names_the_column_the_value_and_the_type() {
        let long = "x".repeat(100);
        for (data_type, token, reason) in [
            (
                DataType::Int64,
                Token::Untyped(b"x7"),
                "column c: 'x7' is not a BIGINT",
            ),
            (
                DataType::Int64,
                Token::Text("7"),
                "column c: \"7\" is not a BIGINT",
            ),
            (
                DataType::Int64,
                Token::Number("1.0"),
                "column c: 1.0 is not a BIGINT",
            ),
            (
                DataType::Int32,
                Token::Boolean(true),
                "column c: true is not an INTEGER",
            ),
            (
                DataType::Int8,
                Token::Number("128"),
                "column c: 128 is out of range for TINYINT",
            ),
            (
                DataType::Int16,
                Token::Number("-32769"),
                "column c: -32769 is out of range for SMALLINT",
            ),
            (
                DataType::Int64,
                Token::Number("9223372036854775808"),
                "column c: 9223372036854775808 is out of range for BIGINT",
            ),
            (
                DataType::Float64,
                Token::Number("1e999"),
                "column c: 1e999 is out of range for DOUBLE",
            ),
            (
                DataType::Float64,
                Token::Untyped(b"inf"),
                "column c: 'inf' is not a DOUBLE",
            ),
            (
                DataType::Float32,
                Token::Number("1e39"),
                "column c: 1e39 is out of range for FLOAT",
            ),
            (
                DataType::Decimal128(5, 2),
                Token::Number("1000"),
                "column c: 1000 is out of range for DECIMAL(5,2)",
            ),
            (
                DataType::Decimal128(5, 2),
                Token::Number("1.001"),
                "column c: 1.001 has more fraction digits than DECIMAL(5,2)",
            ),
            (
                DataType::Utf8View,
                Token::Number("7"),
                "column c: 7 is not a VARCHAR",
            ),
            (
                DataType::Utf8View,
                Token::Untyped(b"\xff"),
                "column c: '\u{fffd}' is not UTF-8",
            ),
            (
                DataType::Utf8View,
                Token::Nested("[1,\n2]"),
                "column c: [1,\\n2] is not a VARCHAR",
            ),
            (
                DataType::BinaryView,
                Token::Text("*"),
                "column c: \"*\" is not a BYTES",
            ),
            (
                DataType::Boolean,
                Token::Untyped(b"yes"),
                "column c: 'yes' is not a BOOLEAN",
            ),
            (
                DataType::Date32,
                Token::Text("2013-02-29"),
                "column c: \"2013-02-29\" is out of range for DATE",
            ),
            (
                TIMESTAMP,
                Token::Text("1357034400000"),
                "column c: \"1357034400000\" is not a TIMESTAMP",
            ),
            (
                DataType::Int64,
                Token::Untyped(long.as_bytes()),
                "column c: 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…' is not a BIGINT",
            ),
        ] {
            assert_eq!(refusal(data_type, token), reason);
        }
    }

    #[test]
    fn a_bad_record_appends_nothing_and_its_neighbours_are_untouched() {
        let columns = schema(&[
            ("a", DataType::Int64),
            ("b", DataType::Utf8View),
            ("ts", TIMESTAMP),
        ]);
        let mut builders = ColumnBuilders::new(&columns, &[0, 1], Some(2), TimeUnit::Microseconds)
            .expect("readable");
        for (a, b) in [
            ("1", "one"),
            ("bad", "a text too long to stand in the view itself"),
            ("3", "three"),
        ] {
            builders.put(0, Token::Untyped(a.as_bytes()));
            builders.put(1, Token::Untyped(b.as_bytes()));
            builders.put(2, Token::Untyped(b"5"));
            match builders.close() {
                Decoded::Record(time) => assert_eq!((a != "bad", time), (true, Some(EventTime(5)))),
                Decoded::Bad(bad) => assert_eq!((a, bad.event_time), ("bad", Some(EventTime(5)))),
            }
        }
        assert_eq!(builders.len(), 2);
        let batch = builders.finish();
        assert_eq!(batch.num_columns(), 2);
        assert_eq!(
            batch
                .column(0)
                .as_primitive::<Int64Type>()
                .values()
                .as_ref(),
            &[1, 3]
        );
        assert_eq!(
            batch
                .column(1)
                .as_string_view()
                .iter()
                .flatten()
                .collect::<Vec<_>>(),
            ["one", "three"]
        );
        assert_eq!(builders.finish().num_rows(), 0);
    }

    #[test]
    fn bad_records_alone_do_not_pile_up() {
        let columns = schema(&[("a", DataType::Int64)]);
        let mut builders =
            ColumnBuilders::new(&columns, &[0], None, TimeUnit::Seconds).expect("readable");
        for _ in 0..10_000 {
            builders.put(0, Token::Untyped(b"x"));
            builders.close();
            assert_eq!(builders.columns[0].len, 0);
        }
        builders.put(0, Token::Untyped(b"1"));
        builders.close();
        assert_eq!(builders.finish().num_rows(), 1);
    }

    #[test]
    fn a_discarded_record_takes_its_event_time_with_it() {
        let columns = schema(&[("ts", TIMESTAMP), ("a", DataType::Int64)]);
        let mut builders = ColumnBuilders::new(&columns, &[0, 1], Some(0), TimeUnit::Microseconds)
            .expect("readable");
        builders.discard("empty".to_owned());
        builders.put(0, Token::Number("7"));
        let reason = "broken".to_owned();
        assert_eq!(
            builders.discard(reason.clone()),
            Decoded::Bad(BadRecord {
                reason,
                event_time: None
            })
        );
        builders.put(0, Token::Number("8"));
        assert_eq!(builders.close(), Decoded::Record(Some(EventTime(8))));
        let batch = builders.finish();
        assert_eq!(
            batch
                .column(0)
                .as_primitive::<TimestampMicrosecondType>()
                .values()
                .as_ref(),
            &[8]
        );
        assert!(batch.column(1).is_null(0));
    }

    #[test]
    fn null_is_refused_where_it_may_not_stand() {
        let columns = Arc::new(Schema::new(vec![
            Field::new("a", DataType::Int64, false),
            Field::new("ts", TIMESTAMP, true),
        ]));
        let mut builders =
            ColumnBuilders::new(&columns, &[0], Some(1), TimeUnit::Microseconds).expect("readable");
        builders.put(1, Token::Number("7"));
        let reason = "column a is NULL, but it is NOT NULL by declaration".to_owned();
        assert_eq!(
            builders.close(),
            Decoded::Bad(BadRecord {
                reason,
                event_time: Some(EventTime(7))
            })
        );
        builders.put(0, Token::Number("7"));
        let reason = "column ts is NULL, but it is the event time".to_owned();
        assert_eq!(
            builders.close(),
            Decoded::Bad(BadRecord {
                reason,
                event_time: None
            })
        );
        assert_eq!(builders.finish().num_rows(), 0);
    }

    #[test]
    fn no_column_is_still_a_number_of_records() {
        let columns = schema(&[("a", DataType::Int64)]);
        let mut builders =
            ColumnBuilders::new(&columns, &[], None, TimeUnit::Seconds).expect("readable");
        builders.close();
        builders.close();
        let batch = builders.finish();
        assert_eq!((batch.num_columns(), batch.num_rows()), (0, 2));
    }

    #[test]
    fn a_type_that_text_cannot_hold_is_refused_at_once() {
        let columns = schema(&[("a", DataType::new_list(DataType::Int64, true))]);
        let refused = ColumnBuilders::new(&columns, &[0], None, TimeUnit::Seconds);
        assert!(matches!(refused, Err(Error::Config(_))));
    }
}
