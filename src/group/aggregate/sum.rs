//! SUM. A total is checked against the result type when it leaves, so a sum that passes the range on its way and comes back
//! is right. Doubles are plain.

use std::fmt::Debug;
use std::marker::PhantomData;

use datafusion_common::arrow::array::ArrowPrimitiveType;
use datafusion_common::arrow::datatypes::{
    DataType, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type, i256,
};

use super::Accumulator;
use super::added::{Added, Leaves};
use super::decimal::{DecimalResult, Digits};
use super::total::{SUMMED_DIGITS_MAX, Summed};
use crate::plan::AggregateSpec;

/// A SUM: signed integers as BIGINT, unsigned ones as UInt64, floats as DOUBLE, decimals as decimals of the same scale.
pub fn build(aggregate: &AggregateSpec) -> Option<Box<dyn Accumulator>> {
    use DataType::{
        Decimal128, Decimal256, Float32, Float64, Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32,
        UInt64,
    };
    let result = &aggregate.result_type;
    Some(match (&aggregate.argument_type, result) {
        (Int8, Int64) => integer::<Int8Type, Int64Type>(result),
        (Int16, Int64) => integer::<Int16Type, Int64Type>(result),
        (Int32, Int64) => integer::<Int32Type, Int64Type>(result),
        (Int64, Int64) => integer::<Int64Type, Int64Type>(result),
        (UInt8, UInt64) => integer::<UInt8Type, UInt64Type>(result),
        (UInt16, UInt64) => integer::<UInt16Type, UInt64Type>(result),
        (UInt32, UInt64) => integer::<UInt32Type, UInt64Type>(result),
        (UInt64, UInt64) => integer::<UInt64Type, UInt64Type>(result),
        (Float32, Float64) => Added::<Float32Type, _>::boxed(Double, result),
        (Float64, Float64) => Added::<Float64Type, _>::boxed(Double, result),
        (Decimal128(_, scale), Decimal128(digits, same)) if scale == same => {
            let leaves = Decimal::<Decimal128Type>(Digits::new(*digits));
            Added::<Decimal128Type, _>::boxed(leaves, result)
        }
        (Decimal256(of, scale), Decimal256(digits, same))
            if scale == same && *of <= SUMMED_DIGITS_MAX =>
        {
            let leaves = Decimal::<Decimal256Type>(Digits::new(*digits));
            Added::<Decimal256Type, _>::boxed(leaves, result)
        }
        _ => return None,
    })
}

fn integer<T, R>(result: &DataType) -> Box<dyn Accumulator>
where
    T: Summed<Total = i128>,
    R: ArrowPrimitiveType + Debug + Send,
    R::Native: TryFrom<i128>,
{
    Added::<T, _>::boxed(Integer::<R>(PhantomData), result)
}

/// Leaves as an integer of type `R`.
#[derive(Debug)]
struct Integer<R>(PhantomData<R>);

impl<R: ArrowPrimitiveType + Debug + Send> Leaves<i128> for Integer<R>
where
    R::Native: TryFrom<i128>,
{
    type Result = R;

    #[inline]
    fn leave(&self, total: i128, _: i64) -> Option<R::Native> {
        R::Native::try_from(total).ok()
    }
}

/// Leaves as a decimal of type `R` with so many digits.
#[derive(Debug)]
struct Decimal<R>(Digits<R>);

impl<R: DecimalResult> Leaves<i256> for Decimal<R> {
    type Result = R;

    #[inline]
    fn leave(&self, total: i256, _: i64) -> Option<R::Native> {
        self.0.held(total)
    }
}

/// Leaves as it is.
#[derive(Debug)]
struct Double;

impl Leaves<f64> for Double {
    type Result = Float64Type;

    #[inline]
    fn leave(&self, total: f64, _: i64) -> Option<f64> {
        Some(total)
    }
}
