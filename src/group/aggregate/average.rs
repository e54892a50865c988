//! AVG, as a double: the sum (exact for integers) over the number of values that are not NULL.

use std::ops::Range;

use datafusion_common::arrow::array::{Array, ArrayRef, AsArray};
use datafusion_common::arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};

use super::scan::{each_row, each_value};
use super::{Accumulator, Arena, Finished, Leaving, Segments, Summed, Total};
use crate::plan::AggregateSpec;

/// AVG over values of type `T`.
#[derive(Debug)]
struct Average<T: Summed> {
    groups: Segments<Group<T::Total>>,
}

/// The values of a group that are not NULL. What is added together lies together.
#[derive(Clone, Copy, Debug, Default)]
struct Group<T> {
    total: T,
    count: u64,
}

impl<T: Total> Group<T> {
    #[inline]
    fn value(self) -> Option<Option<f64>> {
        (self.count > 0).then(|| Some(self.total.as_double() / self.count as f64))
    }
}

/// An AVG over any integer or float type.
pub fn build(aggregate: &AggregateSpec) -> Option<Box<dyn Accumulator>> {
    if aggregate.result_type != DataType::Float64 {
        return None;
    }
    Some(match aggregate.argument_type {
        DataType::Int8 => Average::<Int8Type>::boxed(),
        DataType::Int16 => Average::<Int16Type>::boxed(),
        DataType::Int32 => Average::<Int32Type>::boxed(),
        DataType::Int64 => Average::<Int64Type>::boxed(),
        DataType::UInt8 => Average::<UInt8Type>::boxed(),
        DataType::UInt16 => Average::<UInt16Type>::boxed(),
        DataType::UInt32 => Average::<UInt32Type>::boxed(),
        DataType::UInt64 => Average::<UInt64Type>::boxed(),
        DataType::Float32 => Average::<Float32Type>::boxed(),
        DataType::Float64 => Average::<Float64Type>::boxed(),
        _ => return None,
    })
}

impl<T: Summed> Average<T> {
    fn boxed() -> Box<dyn Accumulator> {
        Box::new(Average::<T> {
            groups: Segments::new(),
        })
    }

    #[inline]
    fn add(&mut self, group: usize, value: T::Native) -> Group<T::Total> {
        let group = &mut self.groups[group];
        group.total += T::widen(value);
        group.count += 1;
        *group
    }
}

impl<T: Summed> Accumulator for Average<T> {
    fn grow(&mut self, groups: usize, arena: &Arena) {
        self.groups.grow(groups, arena);
    }

    fn update(&mut self, groups: &[u32], rows: &[u32], argument: Option<&ArrayRef>, _: &Arena) {
        let column = argument.expect("AVG has an argument").as_primitive::<T>();
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
        let column = argument.expect("AVG has an argument").as_primitive::<T>();
        let values = column.values();
        let mut leaving = Leaving::<Float64Type>::with_capacity(rows.len());
        each_row(groups, rows, column.nulls(), |group, row| {
            let after = match row {
                Some(row) => self.add(group, values[row]),
                None => self.groups[group],
            };
            leaving.push(after.value());
        });
        leaving.finish()
    }

    fn finish(&self, groups: Range<usize>) -> Finished {
        let mut leaving = Leaving::<Float64Type>::with_capacity(groups.len());
        for group in self.groups.values(groups) {
            leaving.push(group.value());
        }
        leaving.finish()
    }

    fn clear(&mut self) {
        self.groups.clear();
    }
}
