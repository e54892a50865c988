//! Decimals as they leave: held to the digits of their type, and means rounded.

use std::fmt::Debug;
use std::marker::PhantomData;

use datafusion_common::arrow::array::ArrowPrimitiveType;
use datafusion_common::arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, Decimal128Type, Decimal256Type, i256,
};

/// A decimal type in which values leave.
pub trait DecimalResult: ArrowPrimitiveType + Debug + Send {
    /// Most digits that its bits hold.
    const MAX_DIGITS: u8;

    /// `value` in this type's bits, `None` if it has more.
    fn narrowed(value: i256) -> Option<Self::Native>;
}

impl DecimalResult for Decimal128Type {
    const MAX_DIGITS: u8 = DECIMAL128_MAX_PRECISION;

    #[inline]
    fn narrowed(value: i256) -> Option<i128> {
        value.to_i128()
    }
}

impl DecimalResult for Decimal256Type {
    const MAX_DIGITS: u8 = DECIMAL256_MAX_PRECISION;

    #[inline]
    fn narrowed(value: i256) -> Option<i256> {
        Some(value)
    }
}

/// The digits that a decimal of type `R` may have.
#[derive(Debug)]
pub struct Digits<R> {
    /// Ten to their number: every value stays below it.
    limit: i256,
    of: PhantomData<R>,
}

impl<R: DecimalResult> Digits<R> {
    /// So many digits.
    pub fn new(digits: u8) -> Digits<R> {
        assert!(
            digits <= R::MAX_DIGITS,
            "a type has no more digits than its bits hold"
        );
        Digits {
            limit: power_of_ten(digits),
            of: PhantomData,
        }
    }

    /// `value`, `None` if it has more digits.
    #[inline]
    pub fn held(&self, value: i256) -> Option<R::Native> {
        let within = value < self.limit && value > -self.limit;
        within.then(|| R::narrowed(value)).flatten()
    }
}

/// Ten to the power of `digits`, which is at most 76.
pub fn power_of_ten(digits: u8) -> i256 {
    i256::from_i128(10)
        .checked_pow(u32::from(digits))
        .expect("256 bits hold ten to the power of 76")
}

/// The mean of `count` values that add up to `total`, times `scale_up`: rounded to the nearest, a half away from zero.
/// `None` if 256 bits do not hold it. `scale_up` is a power of ten up to 10^38.
///
/// The whole part and the rest are scaled apart, so that nothing is lost where the total times `scale_up` would leave the
/// range and the mean does not.
#[inline]
pub fn mean(total: i256, count: i64, scale_up: i256) -> Option<i256> {
    assert!(count > 0, "no values have no mean");
    let count = i256::from_i128(i128::from(count));
    let whole = total.wrapping_div(count);
    let rest = total.wrapping_rem(count).wrapping_mul(scale_up);
    let mut part = rest.wrapping_div(count);
    let left = rest.wrapping_rem(count);
    if left.wrapping_abs().wrapping_add(left.wrapping_abs()) >= count {
        part = part.wrapping_add(total.signum());
    }
    whole.checked_mul(scale_up)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(value: i128) -> i256 {
        i256::from_i128(value)
    }

    #[test]
    fn a_mean_is_rounded_to_the_nearest_and_a_half_away_from_zero() {
        let at = |total, count, digits| {
            mean(number(total), count, power_of_ten(digits)).and_then(i256::to_i128)
        };
        assert_eq!(at(1, 3, 4), Some(3333));
        assert_eq!(at(2, 3, 4), Some(6667));
        assert_eq!(at(-2, 3, 4), Some(-6667));
        assert_eq!(at(5, 2, 0), Some(3));
        assert_eq!(at(-5, 2, 0), Some(-3));
        assert_eq!(at(-4, 2, 1), Some(-20));
        assert_eq!(at(0, 7, 4), Some(0));
        assert_eq!(at(-1, 3, 0), Some(0));
    }

    #[test]
    fn a_mean_within_range_is_found_where_its_total_is_at_the_edge() {
        let total = i256::MAX;
        let scaled = mean(total, i64::MAX, power_of_ten(4)).expect("a mean of 60 digits");
        assert!(scaled < power_of_ten(62) && scaled > power_of_ten(61));
        assert_eq!(mean(total, 1, power_of_ten(4)), None);
    }

    #[test]
    fn a_value_is_held_up_to_its_digits_and_no_further() {
        let digits = Digits::<Decimal128Type>::new(38);
        let most = power_of_ten(38).wrapping_sub(i256::ONE);
        assert_eq!(digits.held(most), most.to_i128());
        assert_eq!(digits.held(-most), (-most).to_i128());
        assert_eq!(digits.held(power_of_ten(38)), None);
        assert_eq!(digits.held(-power_of_ten(38)), None);
        assert_eq!(Digits::<Decimal128Type>::new(2).held(number(100)), None);
        let wide = Digits::<Decimal256Type>::new(76);
        assert_eq!(wide.held(power_of_ten(76)), None);
        assert_eq!(wide.held(power_of_ten(75)), Some(power_of_ten(75)));
    }
}
