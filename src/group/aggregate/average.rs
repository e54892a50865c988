//! AVG: the total over the number of values that are not NULL.
//!
//! Of integers and floats it is a double, of decimals a decimal with four more fraction digits, as far as there are digits.
//! It is rounded when it leaves and not before: a decimal to the nearest, a half away from zero (as Flink, PostgreSQL and
//! Spark do; DataFusion cuts the digits off).

use datafusion_common::arrow::datatypes::{
    DataType, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type, i256,
};

use super::Accumulator;
use super::added::{Added, Leaves};
use super::decimal::{DecimalResult, Digits, mean, power_of_ten};
use super::total::SUMMED_DIGITS_MAX;
use crate::plan::AggregateSpec;

/// An AVG: integers and floats as DOUBLE, decimals as decimals of no smaller scale.
pub fn build(aggregate: &AggregateSpec) -> Option<Box<dyn Accumulator>> {
    use DataType::{
        Decimal128, Decimal256, Float32, Float64, Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32,
        UInt64,
    };
    let result = &aggregate.result_type;
    Some(match (&aggregate.argument_type, result) {
        (Int8, Float64) => Added::<Int8Type, _>::boxed(MeanDouble, result),
        (Int16, Float64) => Added::<Int16Type, _>::boxed(MeanDouble, result),
        (Int32, Float64) => Added::<Int32Type, _>::boxed(MeanDouble, result),
        (Int64, Float64) => Added::<Int64Type, _>::boxed(MeanDouble, result),
        (UInt8, Float64) => Added::<UInt8Type, _>::boxed(MeanDouble, result),
        (UInt16, Float64) => Added::<UInt16Type, _>::boxed(MeanDouble, result),
        (UInt32, Float64) => Added::<UInt32Type, _>::boxed(MeanDouble, result),
        (UInt64, Float64) => Added::<UInt64Type, _>::boxed(MeanDouble, result),
        (Float32, Float64) => Added::<Float32Type, _>::boxed(MeanDouble, result),
        (Float64, Float64) => Added::<Float64Type, _>::boxed(MeanDouble, result),
        (Decimal128(_, from), Decimal128(digits, to)) => {
            let leaves = MeanDecimal::<Decimal128Type>::new(*digits, *from, *to)?;
            Added::<Decimal128Type, _>::boxed(leaves, result)
        }
        (Decimal256(of, from), Decimal256(digits, to)) if *of <= SUMMED_DIGITS_MAX => {
            let leaves = MeanDecimal::<Decimal256Type>::new(*digits, *from, *to)?;
            Added::<Decimal256Type, _>::boxed(leaves, result)
        }
        _ => return None,
    })
}

/// Leaves as a double.
#[derive(Debug)]
struct MeanDouble;

impl Leaves<i128> for MeanDouble {
    type Result = Float64Type;

    #[inline]
    fn leave(&self, total: i128, count: i64) -> Option<f64> {
        Some(total as f64 / count as f64)
    }
}

impl Leaves<f64> for MeanDouble {
    type Result = Float64Type;

    #[inline]
    fn leave(&self, total: f64, count: i64) -> Option<f64> {
        Some(total / count as f64)
    }
}

/// Leaves as a decimal of type `R`.
#[derive(Debug)]
struct MeanDecimal<R> {
    digits: Digits<R>,
    /// From the scale of the total to that of the result.
    scale_up: i256,
}

impl<R: DecimalResult> MeanDecimal<R> {
    /// With so many digits, from the scale `from` to the scale `to`; `None` if that is the smaller one.
    fn new(digits: u8, from: i8, to: i8) -> Option<MeanDecimal<R>> {
        let more = to.checked_sub(from)?;
        Some(MeanDecimal {
            digits: Digits::new(digits),
            scale_up: power_of_ten(u8::try_from(more).ok()?),
        })
    }
}

impl<R: DecimalResult> Leaves<i256> for MeanDecimal<R> {
    type Result = R;

    #[inline]
    fn leave(&self, total: i256, count: i64) -> Option<R::Native> {
        self.digits.held(mean(total, count, self.scale_up)?)
    }
}
