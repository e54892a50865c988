//! SUM. Integers accumulate in 128 bits, which no number of records can overflow, and are checked against the result
//! type when a value leaves; so a sum that passes the range on its way and comes back is right. Doubles are plain.

use std::fmt::Debug;
use std::marker::PhantomData;
use std::ops::Range;

use datafusion_common::arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray};
use datafusion_common::arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};

use super::scan::{each_row, each_value};
use super::{Accumulator, Arena, Finished, Leaving, Segments, Summed};
use crate::plan::AggregateSpec;

/// SUM over values of type `T`, leaving as type `R`.
#[derive(Debug)]
struct Sum<T: Summed, R> {
    groups: Segments<Group<T::Total>>,
    result: PhantomData<R>,
}

/// The sum of a group. What is added together lies together.
#[derive(Clone, Copy, Debug, Default)]
struct Group<T> {
    total: T,
    /// Whether the group has had a value that is not NULL.
    seen: bool,
}

/// A total as a value of the result type, `None` if that cannot hold it.
trait Leaves<T>: ArrowPrimitiveType + Debug + Send {
    fn leave(total: T) -> Option<Self::Native>;
}

impl Leaves<i128> for Int64Type {
    fn leave(total: i128) -> Option<i64> {
        i64::try_from(total).ok()
    }
}

impl Leaves<i128> for UInt64Type {
    fn leave(total: i128) -> Option<u64> {
        u64::try_from(total).ok()
    }
}

impl Leaves<f64> for Float64Type {
    fn leave(total: f64) -> Option<f64> {
        Some(total)
    }
}

/// A SUM: signed integers as BIGINT, unsigned ones as UInt64, floats as DOUBLE.
pub fn build(aggregate: &AggregateSpec) -> Option<Box<dyn Accumulator>> {
    use DataType::{Float32, Float64, Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64};
    Some(match (&aggregate.argument_type, &aggregate.result_type) {
        (Int8, Int64) => Sum::<Int8Type, Int64Type>::boxed(),
        (Int16, Int64) => Sum::<Int16Type, Int64Type>::boxed(),
        (Int32, Int64) => Sum::<Int32Type, Int64Type>::boxed(),
        (Int64, Int64) => Sum::<Int64Type, Int64Type>::boxed(),
        (UInt8, UInt64) => Sum::<UInt8Type, UInt64Type>::boxed(),
        (UInt16, UInt64) => Sum::<UInt16Type, UInt64Type>::boxed(),
        (UInt32, UInt64) => Sum::<UInt32Type, UInt64Type>::boxed(),
        (UInt64, UInt64) => Sum::<UInt64Type, UInt64Type>::boxed(),
        (Float32, Float64) => Sum::<Float32Type, Float64Type>::boxed(),
        (Float64, Float64) => Sum::<Float64Type, Float64Type>::boxed(),
        _ => return None,
    })
}

impl<T: Summed, R: Leaves<T::Total>> Sum<T, R> {
    fn boxed() -> Box<dyn Accumulator> {
        Box::new(Sum::<T, R> {
            groups: Segments::new(),
            result: PhantomData,
        })
    }

    #[inline]
    fn value(group: Group<T::Total>) -> Option<Option<R::Native>> {
        group.seen.then(|| R::leave(group.total))
    }

    #[inline]
    fn add(&mut self, group: usize, value: T::Native) -> Group<T::Total> {
        let group = &mut self.groups[group];
        group.total += T::widen(value);
        group.seen = true;
        *group
    }
}

impl<T: Summed, R: Leaves<T::Total>> Accumulator for Sum<T, R> {
    fn grow(&mut self, groups: usize, arena: &Arena) {
        self.groups.grow(groups, arena);
    }

    fn update(&mut self, groups: &[u32], rows: &[u32], argument: Option<&ArrayRef>, _: &Arena) {
        let column = argument.expect("SUM has an argument").as_primitive::<T>();
        let values = column.values();
        each_value(groups, rows, column.nulls(), |group, row| {
            self.add(group, values[row]);
        });
    }

    fn running(
        &mut self,
        groups: &[u32],
        rows: &[u32],
        argument: Option<&ArrayRef>,
        _: &Arena,
    ) -> Finished {
        let column = argument.expect("SUM has an argument").as_primitive::<T>();
        let values = column.values();
        let mut leaving = Leaving::<R>::with_capacity(rows.len());
        each_row(groups, rows, column.nulls(), |group, row| {
            let after = match row {
                Some(row) => self.add(group, values[row]),
                None => self.groups[group],
            };
            leaving.push(Self::value(after));
        });
        leaving.finish()
    }

    fn finish(&self, groups: Range<usize>) -> Finished {
        let mut leaving = Leaving::<R>::with_capacity(groups.len());
        for group in self.groups.values(groups) {
            leaving.push(Self::value(group));
        }
        leaving.finish()
    }

    fn clear(&mut self) {
        self.groups.clear();
    }
}
