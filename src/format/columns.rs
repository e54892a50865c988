//! Fields to columns: what every decoder appends to.
//!
//! ```text
//!   decoder: put(slot, token) ... put(slot, token), close        slots: the projected columns, then the event time's
//!                                                                       if it is not among them
//! ```
//!
//! Law: a record is appended whole or not at all. Arrow's builders cannot take a value back, so a bad record's row is
//! struck out, and `finish` leaves struck rows out; good records, nearly all there are, pay nothing for it. What a value
//! may be is for `token` to say.

use std::sync::Arc;

use datafusion_common::arrow::array::builder::{
    BinaryViewBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float32Builder,
    Float64Builder, Int8Builder, Int16Builder, Int32Builder, Int64Builder, StringViewBuilder,
    Time64MicrosecondBuilder, TimestampMicrosecondBuilder,
};
use datafusion_common::arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use datafusion_common::arrow::compute::FilterBuilder;
use datafusion_common::arrow::datatypes::{DataType, Field, SchemaRef, TimeUnit as ArrowUnit};

use super::token::{
    Token, Wrong, boolean, bytes, date, decimal, double, integer, narrow, single, text, time,
    timestamp,
};
use super::{BadRecord, Decoded};
use crate::config::limits::STRUCK_ROWS_MAX;
use crate::config::options::TimeUnit;
use crate::error::{Error, Result};
use crate::plan::sql_type;
use crate::time::EventTime;

/// Columns in the making.
pub struct ColumnBuilders {
    /// The projected columns.
    schema: SchemaRef,
    /// By slot.
    columns: Vec<Column>,
    /// Where the event time is found.
    event_time_slot: Option<usize>,
    unit: TimeUnit,
    /// Rows that are closed, struck ones included.
    rows: usize,
    /// The struck rows, ascending.
    struck: Vec<usize>,
    /// Rows to make room for: the most that were ever taken at once.
    capacity: usize,
    /// The record in the making: how many slots it has filled, its event time, the first thing wrong with it.
    filled: usize,
    event_time: Option<EventTime>,
    wrong: Option<String>,
    scratch: Vec<u8>,
}

impl ColumnBuilders {
    /// Columns `projection` of `columns`, and the event time's column, which is read even if it is not projected.
    /// `unit` is what a bare number in a TIMESTAMP counts since the epoch.
    ///
    /// Fails with [`Error::Config`] for a type that cannot be read from text.
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
            slots.push(Column::new(columns.field(index), index)?);
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
                slots.push(Column {
                    cells: Cells::TimeOnly { last: 0 },
                    ..Column::named(field, declared)
                });
                slots.len() - 1
            })
        });
        Ok(ColumnBuilders {
            schema,
            columns: slots,
            event_time_slot,
            unit,
            rows: 0,
            struck: Vec::new(),
            capacity: 0,
            filled: 0,
            event_time: None,
            wrong: None,
            scratch: Vec::new(),
        })
    }

    /// The wanted columns' indexes in the declared schema, by slot.
    pub(super) fn wanted(&self) -> impl Iterator<Item = usize> {
        self.columns.iter().map(|column| column.declared)
    }

    /// Fills a slot of the record in the making. The first value of a slot counts, later ones are ignored.
    #[inline]
    pub(super) fn put(&mut self, slot: usize, token: Token<'_>) {
        let column = &mut self.columns[slot];
        if column.len > self.rows {
            return;
        }
        column.len += 1;
        self.filled += 1;
        let is_event_time = self.event_time_slot == Some(slot);
        let outcome = match token {
            Token::Null if is_event_time => Err(Wrong::NoEventTime),
            Token::Null if column.required => Err(Wrong::Null),
            Token::Null => {
                column.cells.append_null();
                return;
            }
            token => column.cells.append(token, self.unit, &mut self.scratch),
        };
        match outcome {
            Ok(()) if is_event_time => self.event_time = Some(column.cells.last_time()),
            Ok(()) => {}
            Err(wrong) => {
                column.cells.append_null();
                if self.wrong.is_none() {
                    self.wrong = Some(wrong.clause(&column.name, &column.data_type, token));
                }
            }
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
        self.filled = 0;
        self.rows += 1;
        let event_time = self.event_time.take();
        match self.wrong.take() {
            None => Decoded::Record(event_time),
            Some(reason) => {
                self.strike();
                Decoded::Bad(BadRecord { reason, event_time })
            }
        }
    }

    /// Ends the record in the making as a bad one of which nothing can be trusted, its event time included.
    #[cold]
    pub(super) fn discard(&mut self, reason: String) -> Decoded {
        if self.filled > 0 && matches!(self.close(), Decoded::Record(_)) {
            self.strike();
        }
        Decoded::Bad(BadRecord {
            reason,
            event_time: None,
        })
    }

    /// Leaves out the row that was closed last.
    #[cold]
    fn strike(&mut self) {
        self.struck.push(self.rows - 1);
        // A source with nothing to deliver may never take: what is all struck does not pile up.
        if self.is_empty() && self.struck.len() == STRUCK_ROWS_MAX {
            self.finish();
        }
    }

    /// Number of records appended and not yet taken.
    pub fn len(&self) -> usize {
        self.rows - self.struck.len()
    }

    /// Whether nothing is waiting to be taken.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes what was appended: exactly the projected columns, which may be none.
    pub fn finish(&mut self) -> RecordBatch {
        assert_eq!(self.filled, 0, "a record is in the making");
        let records = self.len();
        self.capacity = self.capacity.max(self.rows);
        let mut arrays = Vec::with_capacity(self.columns.len());
        for column in &mut self.columns {
            assert_eq!(column.len, self.rows, "a column lost or gained a record");
            column.len = 0;
            arrays.extend(column.cells.finish(self.capacity));
        }
        if !self.struck.is_empty() {
            let mut kept = vec![true; self.rows];
            self.struck.drain(..).for_each(|row| kept[row] = false);
            let kept = FilterBuilder::new(&BooleanArray::from(kept))
                .optimize()
                .build();
            for array in &mut arrays {
                *array = kept.filter(array).expect("as long as the filter");
            }
        }
        self.rows = 0;
        let options = RecordBatchOptions::new().with_row_count(Some(records));
        RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
            .expect("every column has its declared type and length, and NULL only where it may")
    }
}

const TIMESTAMP: DataType = DataType::Timestamp(ArrowUnit::Microsecond, None);

/// One wanted column.
struct Column {
    name: String,
    /// Index in the declared schema.
    declared: usize,
    data_type: DataType,
    required: bool,
    /// Rows appended, that of the record in the making included.
    len: usize,
    cells: Cells,
}

impl Column {
    fn new(field: &Field, declared: usize) -> Result<Column> {
        let cells = match *field.data_type() {
            DataType::Boolean => Cells::Boolean(BooleanBuilder::new()),
            DataType::Int8 => Cells::Int8(Int8Builder::new()),
            DataType::Int16 => Cells::Int16(Int16Builder::new()),
            DataType::Int32 => Cells::Int32(Int32Builder::new()),
            DataType::Int64 => Cells::Int64(Int64Builder::new()),
            DataType::Float32 => Cells::Float32(Float32Builder::new()),
            DataType::Float64 => Cells::Float64(Float64Builder::new()),
            DataType::Decimal128(precision, scale) => Cells::Decimal {
                builder: decimal_builder(0, precision, scale),
                precision,
                scale,
            },
            DataType::Utf8View => Cells::Text(StringViewBuilder::new()),
            DataType::BinaryView => Cells::Bytes(BinaryViewBuilder::new()),
            DataType::Date32 => Cells::Date(Date32Builder::new()),
            DataType::Time64(ArrowUnit::Microsecond) => {
                Cells::Time(Time64MicrosecondBuilder::new())
            }
            TIMESTAMP => Cells::Timestamp(TimestampMicrosecondBuilder::new()),
            ref other => {
                return Err(Error::Config(format!(
                    "column {}: {} cannot be read from text; declare it as VARCHAR and convert it in the query",
                    field.name(),
                    sql_type(other)
                )));
            }
        };
        Ok(Column {
            cells,
            ..Column::named(field, declared)
        })
    }

    fn named(field: &Field, declared: usize) -> Column {
        Column {
            name: field.name().clone(),
            declared,
            data_type: field.data_type().clone(),
            required: !field.is_nullable(),
            len: 0,
            cells: Cells::TimeOnly { last: 0 },
        }
    }
}

/// The values of a column, by type.
enum Cells {
    Boolean(BooleanBuilder),
    Int8(Int8Builder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Decimal {
        builder: Decimal128Builder,
        precision: u8,
        scale: i8,
    },
    Text(StringViewBuilder),
    Bytes(BinaryViewBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    /// An event time that no query needs as a column: only the last one is known.
    TimeOnly {
        last: i64,
    },
}

impl Cells {
    /// Appends the value of a token that is not NULL, or appends nothing and says why.
    #[inline]
    fn append(
        &mut self,
        token: Token<'_>,
        unit: TimeUnit,
        scratch: &mut Vec<u8>,
    ) -> Result<(), Wrong> {
        match self {
            Cells::Boolean(cells) => cells.append_value(boolean(token)?),
            Cells::Int8(cells) => cells.append_value(narrow(integer(token)?)?),
            Cells::Int16(cells) => cells.append_value(narrow(integer(token)?)?),
            Cells::Int32(cells) => cells.append_value(narrow(integer(token)?)?),
            Cells::Int64(cells) => cells.append_value(integer(token)?),
            Cells::Float32(cells) => cells.append_value(single(token)?),
            Cells::Float64(cells) => cells.append_value(double(token)?),
            Cells::Decimal {
                builder,
                precision,
                scale,
            } => {
                builder.append_value(decimal(token, *precision, *scale)?);
            }
            Cells::Text(cells) => cells.append_value(text(token)?),
            Cells::Bytes(cells) => {
                cells.append_value(bytes(token, scratch)?);
            }
            Cells::Date(cells) => cells.append_value(date(token)?),
            Cells::Time(cells) => cells.append_value(time(token)?),
            Cells::Timestamp(cells) => cells.append_value(timestamp(token, unit)?),
            Cells::TimeOnly { last } => *last = timestamp(token, unit)?,
        }
        Ok(())
    }

    #[inline]
    fn append_null(&mut self) {
        match self {
            Cells::Boolean(cells) => cells.append_null(),
            Cells::Int8(cells) => cells.append_null(),
            Cells::Int16(cells) => cells.append_null(),
            Cells::Int32(cells) => cells.append_null(),
            Cells::Int64(cells) => cells.append_null(),
            Cells::Float32(cells) => cells.append_null(),
            Cells::Float64(cells) => cells.append_null(),
            Cells::Decimal { builder, .. } => builder.append_null(),
            Cells::Text(cells) => cells.append_null(),
            Cells::Bytes(cells) => cells.append_null(),
            Cells::Date(cells) => cells.append_null(),
            Cells::Time(cells) => cells.append_null(),
            Cells::Timestamp(cells) => cells.append_null(),
            Cells::TimeOnly { .. } => {}
        }
    }

    /// The event time that was appended last.
    #[inline]
    fn last_time(&self) -> EventTime {
        match self {
            Cells::Timestamp(cells) => {
                EventTime(*cells.values_slice().last().expect("a time was appended"))
            }
            Cells::TimeOnly { last } => EventTime(*last),
            _ => unreachable!("the event time is a TIMESTAMP"),
        }
    }

    /// Takes the values and makes room for `capacity` more.
    fn finish(&mut self, capacity: usize) -> Option<ArrayRef> {
        macro_rules! take {
            ($cells:expr, $empty:expr) => {
                Arc::new(std::mem::replace($cells, $empty).finish())
            };
        }
        Some(match self {
            Cells::Boolean(cells) => take!(cells, BooleanBuilder::with_capacity(capacity)),
            Cells::Int8(cells) => take!(cells, Int8Builder::with_capacity(capacity)),
            Cells::Int16(cells) => take!(cells, Int16Builder::with_capacity(capacity)),
            Cells::Int32(cells) => take!(cells, Int32Builder::with_capacity(capacity)),
            Cells::Int64(cells) => take!(cells, Int64Builder::with_capacity(capacity)),
            Cells::Float32(cells) => take!(cells, Float32Builder::with_capacity(capacity)),
            Cells::Float64(cells) => take!(cells, Float64Builder::with_capacity(capacity)),
            Cells::Decimal {
                builder,
                precision,
                scale,
            } => {
                take!(builder, decimal_builder(capacity, *precision, *scale))
            }
            Cells::Text(cells) => take!(cells, StringViewBuilder::with_capacity(capacity)),
            Cells::Bytes(cells) => take!(cells, BinaryViewBuilder::with_capacity(capacity)),
            Cells::Date(cells) => take!(cells, Date32Builder::with_capacity(capacity)),
            Cells::Time(cells) => take!(cells, Time64MicrosecondBuilder::with_capacity(capacity)),
            Cells::Timestamp(cells) => {
                take!(cells, TimestampMicrosecondBuilder::with_capacity(capacity))
            }
            Cells::TimeOnly { .. } => return None,
        })
    }
}

fn decimal_builder(capacity: usize, precision: u8, scale: i8) -> Decimal128Builder {
    Decimal128Builder::with_capacity(capacity)
        .with_data_type(DataType::Decimal128(precision, scale))
}

#[cfg(test)]
mod tests {
    use datafusion_common::arrow::array::{Array, AsArray};
    use datafusion_common::arrow::datatypes::{Int64Type, Schema, TimestampMicrosecondType};

    use super::*;

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
        for _ in 0..10 * STRUCK_ROWS_MAX {
            builders.put(0, Token::Untyped(b"x"));
            builders.close();
            assert!(builders.rows < STRUCK_ROWS_MAX);
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
