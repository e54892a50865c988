//! What values are added up in: wide enough that no number of records leaves it, so that only what leaves is checked.
//!
//! | values                     | total                                                        |
//! | -------------------------- | ------------------------------------------------------------ |
//! | integers                   | 128 bits: 2^64 records of 64 bits                            |
//! | decimals of 57 digits      | 256 bits: 2^64 records                                       |
//! | floats                     | a double, which rounds and overflows as IEEE 754 says        |
//!
//! A total travels as it is: `Total::Column` is the arrow type whose values are totals.

use std::fmt::Debug;
use std::ops::AddAssign;

use datafusion_common::arrow::array::ArrowPrimitiveType;
use datafusion_common::arrow::datatypes::{
    ArrowNativeType, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type, i256,
};

/// Digits of a decimal of which 2^64 can be added up in 256 bits: 10^57 x 2^64 < 2^255.
pub const SUMMED_DIGITS_MAX: u8 = 57;

/// A type whose values can be added up.
pub trait Summed: ArrowPrimitiveType + Debug {
    /// What their sum is kept in.
    type Total: Total;

    /// One value as a total.
    fn widen(value: Self::Native) -> Self::Total;
}

/// A sum on its way.
pub trait Total: ArrowNativeType + AddAssign {
    /// The arrow type whose values are totals.
    type Column: ArrowPrimitiveType<Native = Self>;
}

impl Total for i128 {
    type Column = Decimal128Type;
}

impl Total for i256 {
    type Column = Decimal256Type;
}

impl Total for f64 {
    type Column = Float64Type;
}

macro_rules! summed {
    ($total:ty: $($arrow:ty),*) => {$(
        impl Summed for $arrow {
            type Total = $total;

            #[inline]
            fn widen(value: Self::Native) -> $total {
                <$total>::from(value)
            }
        }
    )*};
}

summed!(i128: Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type);
summed!(i256: Decimal128Type, Decimal256Type);
summed!(f64: Float32Type, Float64Type);
