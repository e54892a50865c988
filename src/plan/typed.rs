//! Values of the type that was planned: what holds DataFusion's expressions to our types.
//!
//! ```text
//!   expression --evaluate--> column --of another type?--> converted --TIME?--> held to a day -------\
//!                                                               \----DECIMAL?--> held to its digits --> column of the planned type
//! ```
//!
//! Law: what leaves a planned expression has its planned type, and a value that this type cannot hold is an error, so that
//! its row is bad like any other for which an expression fails. Whoever takes a column (accumulators, keys, schemas, encoders)
//! may rely on it. A column that has its type already is handed on as it is, but for these two: a TIME may be made of any number,
//! though it is a time of day, and arithmetic on decimals stops at 128 or 256 bits, not at the digits of the type.
//!
//! Without it a type could change behind the planner's back: `round(d, 1)` is a `DECIMAL(11,2)` while its second argument is
//! a cast of a constant and a `DECIMAL(10,1)` once that is folded.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion_common::arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, RecordBatch, TimestampMicrosecondArray,
};
use datafusion_common::arrow::compute::{CastOptions, cast_with_options};
use datafusion_common::arrow::datatypes::{
    DECIMAL32_MAX_PRECISION, DECIMAL64_MAX_PRECISION, DECIMAL128_MAX_PRECISION,
    DECIMAL256_MAX_PRECISION, DataType, Decimal32Type, Decimal64Type, Decimal128Type,
    Decimal256Type, DecimalType, FieldRef, Schema, Time32MillisecondType, Time32SecondType,
    Time64MicrosecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use datafusion_common::{Result, ScalarValue, exec_err};
use datafusion_expr::ColumnarValue;
use datafusion_physical_expr::PhysicalExpr;

use super::sql_type;

/// What is said of a value that its type cannot hold.
pub const OUT_OF_RANGE: &str = "is out of the range of";

/// `inner` as an expression of the type `planned`.
pub fn typed(inner: Arc<dyn PhysicalExpr>, planned: DataType) -> Arc<dyn PhysicalExpr> {
    Arc::new(Typed {
        inner,
        planned,
        or_null: false,
    })
}

/// `inner`, which makes a TIME where it can and NULL where it cannot, held to that.
pub fn time_or_null(inner: Arc<dyn PhysicalExpr>, planned: DataType) -> Arc<dyn PhysicalExpr> {
    Arc::new(Typed {
        inner,
        planned,
        or_null: true,
    })
}

/// Whether values of this type are times of day.
pub fn is_time(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Time32(_) | DataType::Time64(_))
}

/// Whether values of this type are decimals of as many digits as there may be: arithmetic whose result would need one more is
/// planned with these.
pub fn has_most_digits(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Decimal32(DECIMAL32_MAX_PRECISION, _)
            | DataType::Decimal64(DECIMAL64_MAX_PRECISION, _)
            | DataType::Decimal128(DECIMAL128_MAX_PRECISION, _)
            | DataType::Decimal256(DECIMAL256_MAX_PRECISION, _)
    )
}

/// `column` as a column of the type `planned`.
///
/// # Errors
/// A value of `column` is none of `planned`.
pub fn converted(column: &ArrayRef, planned: &DataType) -> Result<ArrayRef> {
    match (column.data_type(), planned) {
        (given, planned) if given == planned => Ok(Arc::clone(column)),
        // A zone is how an instant is shown, and no part of it.
        (DataType::Timestamp(given, _), DataType::Timestamp(TimeUnit::Microsecond, zone)) => {
            let micros = micros(column, *given)?;
            Ok(Arc::new(micros.with_timezone_opt(zone.clone())))
        }
        _ => {
            let or_fail = CastOptions {
                safe: false,
                ..CastOptions::default()
            };
            Ok(cast_with_options(column, planned, &or_fail)?)
        }
    }
}

/// Timestamps as microseconds; finer digits are floored.
fn micros(column: &ArrayRef, unit: TimeUnit) -> Result<TimestampMicrosecondArray> {
    fn scaled<T: ArrowPrimitiveType<Native = i64>>(
        column: &ArrayRef,
        factor: i64,
        unit: &str,
    ) -> Result<TimestampMicrosecondArray> {
        column.as_primitive::<T>().try_unary(|value| {
            value.checked_mul(factor).map_or_else(
                || exec_err!("{value} {unit} since 1970 {OUT_OF_RANGE} TIMESTAMP"),
                Ok,
            )
        })
    }
    match unit {
        TimeUnit::Second => scaled::<TimestampSecondType>(column, 1_000_000, "s"),
        TimeUnit::Millisecond => scaled::<TimestampMillisecondType>(column, 1_000, "ms"),
        TimeUnit::Microsecond => Ok(column.as_primitive::<TimestampMicrosecondType>().clone()),
        TimeUnit::Nanosecond => Ok(column
            .as_primitive::<TimestampNanosecondType>()
            .unary(|value| value.div_euclid(1_000))),
    }
}

/// `column`, if it is of times, without any that is not of one day: such a value is NULL, or else an error.
fn within_a_day(column: ArrayRef, or_null: bool) -> Result<ArrayRef> {
    fn held<T: ArrowPrimitiveType<Native: Into<i64>>>(
        column: ArrayRef,
        or_null: bool,
        units_a_second: i64,
        unit: &str,
    ) -> Result<ArrayRef> {
        const SECONDS_A_DAY: i64 = 86_400;
        let day = 0..SECONDS_A_DAY * units_a_second;
        let beyond = |value: &i64| !day.contains(value);
        let times = column.as_primitive::<T>();
        let found = match times.null_count() {
            0 => times
                .values()
                .iter()
                .map(|&value| value.into())
                .find(beyond),
            // What stands under a NULL is nobody's value.
            _ => times.iter().flatten().map(Into::into).find(beyond),
        };
        match found {
            None => Ok(column),
            Some(_) if or_null => {
                let within = |time: T::Native| (!beyond(&time.into())).then_some(time);
                Ok(Arc::new(times.unary_opt::<_, T>(within)))
            }
            Some(value) => exec_err!(
                "{value} {unit} since midnight {OUT_OF_RANGE} TIME, which is a time of day"
            ),
        }
    }
    match column.data_type() {
        DataType::Time32(TimeUnit::Second) => held::<Time32SecondType>(column, or_null, 1, "s"),
        DataType::Time32(_) => held::<Time32MillisecondType>(column, or_null, 1_000, "ms"),
        DataType::Time64(TimeUnit::Microsecond) => {
            held::<Time64MicrosecondType>(column, or_null, 1_000_000, "us")
        }
        DataType::Time64(_) => held::<Time64NanosecondType>(column, or_null, 1_000_000_000, "ns"),
        _ => Ok(column),
    }
}

/// `column`, if it is of decimals, without any that has more digits than its type: such a value is an error.
fn within_digits(column: ArrayRef) -> Result<ArrayRef> {
    fn held<T: DecimalType>(column: ArrayRef, precision: u8, scale: i8) -> Result<ArrayRef> {
        let decimals = column.as_primitive::<T>();
        let beyond = |value: &T::Native| !T::is_valid_decimal_precision(*value, precision);
        let found = match decimals.null_count() {
            0 => decimals.values().iter().copied().find(beyond),
            // What stands under a NULL is nobody's value.
            _ => decimals.iter().flatten().find(beyond),
        };
        match found {
            None => Ok(column),
            Some(value) => exec_err!(
                "{} {OUT_OF_RANGE} {}",
                T::format_decimal(value, u8::MAX, scale),
                sql_type(column.data_type())
            ),
        }
    }
    match *column.data_type() {
        DataType::Decimal32(precision, scale) => held::<Decimal32Type>(column, precision, scale),
        DataType::Decimal64(precision, scale) => held::<Decimal64Type>(column, precision, scale),
        DataType::Decimal128(precision, scale) => held::<Decimal128Type>(column, precision, scale),
        DataType::Decimal256(precision, scale) => held::<Decimal256Type>(column, precision, scale),
        _ => Ok(column),
    }
}

/// An expression whose values are brought to the planned type.
#[derive(Debug, Eq)]
struct Typed {
    inner: Arc<dyn PhysicalExpr>,
    planned: DataType,
    /// Whether a TIME that is none is NULL, and not an error.
    or_null: bool,
}

impl Typed {
    fn hold(&self, column: &ArrayRef) -> Result<ArrayRef> {
        within_digits(within_a_day(
            converted(column, &self.planned)?,
            self.or_null,
        )?)
    }
}

impl PhysicalExpr for Typed {
    fn data_type(&self, _: &Schema) -> Result<DataType> {
        Ok(self.planned.clone())
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.inner.nullable(schema)
    }

    fn return_field(&self, schema: &Schema) -> Result<FieldRef> {
        let field = self.inner.return_field(schema)?;
        if *field.data_type() == self.planned {
            return Ok(field);
        }
        let field = field.as_ref().clone();
        Ok(Arc::new(field.with_data_type(self.planned.clone())))
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let value = self.inner.evaluate(batch)?;
        let is_held = is_time(&self.planned) || self.planned.is_decimal();
        if value.data_type() == self.planned && !is_held {
            return Ok(value);
        }
        Ok(match value {
            ColumnarValue::Array(column) => ColumnarValue::Array(self.hold(&column)?),
            ColumnarValue::Scalar(value) => {
                let held = self.hold(&value.to_array()?)?;
                ColumnarValue::Scalar(ScalarValue::try_from_array(&held, 0)?)
            }
        })
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Typed {
            inner: children.pop().expect("it has one child"),
            planned: self.planned.clone(),
            or_null: self.or_null,
        }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}

impl fmt::Display for Typed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{}", self.inner, sql_type(&self.planned))
    }
}

impl PartialEq for Typed {
    fn eq(&self, other: &Typed) -> bool {
        self.inner.eq(&other.inner)
            && self.planned == other.planned
            && self.or_null == other.or_null
    }
}

impl Hash for Typed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
        self.planned.hash(state);
        self.or_null.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use datafusion_common::arrow::array::{
        Decimal128Array, StringArray, StringViewArray, Time32SecondArray, Time64MicrosecondArray,
        TimestampNanosecondArray, TimestampSecondArray,
    };
    use datafusion_common::arrow::datatypes::Field;
    use datafusion_physical_expr::expressions::Column;

    use super::*;

    const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

    /// The values of a column, evaluated as values of `planned`.
    fn held(column: impl Array + 'static, planned: &DataType) -> Result<ArrayRef> {
        let schema = Schema::new(vec![Field::new("x", column.data_type().clone(), true)]);
        let rows = column.len();
        let batch = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(column)])?;
        let expr = typed(Arc::new(Column::new("x", 0)), planned.clone());
        assert_eq!(expr.data_type(batch.schema_ref())?, *planned);
        let field = expr.return_field(batch.schema_ref())?;
        assert_eq!(field.data_type(), planned);
        expr.evaluate(&batch)?.into_array(rows)
    }

    fn complaint(result: Result<ArrayRef>) -> String {
        result.expect_err("a value that does not fit").to_string()
    }

    fn tenths(values: Vec<i128>) -> Decimal128Array {
        Decimal128Array::from(values)
            .with_precision_and_scale(10, 1)
            .expect("ten digits hold them")
    }

    #[test]
    fn a_column_of_another_type_keeps_its_values() {
        let hundredths = held(tenths(vec![123_457, 1000]), &DataType::Decimal128(11, 2));
        let hundredths = hundredths.expect("they fit");
        let expected = Decimal128Array::from(vec![1_234_570, 10_000])
            .with_precision_and_scale(11, 2)
            .expect("they fit");
        assert_eq!(hundredths.as_ref(), &expected as &dyn Array);
    }

    #[test]
    fn a_text_takes_the_planned_form() {
        let text: ArrayRef = Arc::new(StringViewArray::from(vec![Some("a"), None]));
        let formed = converted(&text, &DataType::Utf8).expect("text is text");
        let expected = StringArray::from(vec![Some("a"), None]);
        assert_eq!(formed.as_ref(), &expected as &dyn Array);
    }

    #[test]
    fn a_value_that_does_not_fit_is_an_error() {
        let narrow = held(tenths(vec![1000]), &DataType::Decimal128(3, 2));
        assert!(complaint(narrow).contains("too large"));
    }

    #[test]
    fn seconds_become_microseconds_or_an_error() {
        let micros = held(TimestampSecondArray::from(vec![Some(-5), None]), &TIMESTAMP);
        let expected = TimestampMicrosecondArray::from(vec![Some(-5_000_000), None]);
        assert_eq!(micros.expect("they fit").as_ref(), &expected as &dyn Array);
        let beyond = complaint(held(
            TimestampSecondArray::from(vec![1, i64::MAX]),
            &TIMESTAMP,
        ));
        assert!(
            beyond.contains("9223372036854775807 s since 1970 is out of the range of TIMESTAMP"),
            "{beyond}"
        );
    }

    #[test]
    fn digits_finer_than_a_microsecond_are_floored() {
        let micros = held(TimestampNanosecondArray::from(vec![-1, 1999]), &TIMESTAMP);
        let expected = TimestampMicrosecondArray::from(vec![-1, 1]);
        assert_eq!(micros.expect("they fit").as_ref(), &expected as &dyn Array);
    }

    #[test]
    fn a_zone_is_named_and_moves_nothing() {
        let zoned = DataType::Timestamp(TimeUnit::Microsecond, Some("+02:00".into()));
        let given = TimestampMicrosecondArray::from(vec![7]);
        let expected = given.clone().with_timezone("+02:00");
        let named = held(given, &zoned).expect("it fits");
        assert_eq!(named.as_ref(), &expected as &dyn Array);
    }

    #[test]
    fn a_time_is_of_one_day() {
        let time = DataType::Time64(TimeUnit::Microsecond);
        let day = 86_400_000_000;
        held(Time64MicrosecondArray::from(vec![0, day - 1]), &time).expect("of one day");
        for beyond in [-1, day, i64::MIN] {
            let reason = complaint(held(Time64MicrosecondArray::from(vec![0, beyond]), &time));
            let said = format!("{beyond} us since midnight is out of the range of TIME");
            assert!(reason.contains(&said), "{reason}");
        }
        // What stands under a NULL is nobody's value.
        let nothing = Time64MicrosecondArray::new(vec![-1].into(), Some(vec![false].into()));
        held(nothing, &time).expect("NULL");
        let tried: ArrayRef = Arc::new(Time64MicrosecondArray::from(vec![7, -1]));
        let expected = Time64MicrosecondArray::from(vec![Some(7), None]);
        let tried = within_a_day(tried, true).expect("NULL is no error");
        assert_eq!(tried.as_ref(), &expected as &dyn Array);
        complaint(held(Time32SecondArray::from(vec![86_400]), &time));
    }
}
