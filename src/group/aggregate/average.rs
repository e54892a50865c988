//! AVG, as a double: the sum (exact for integers) over the number of values that are not NULL.

use std::ops::Range;

use datafusion_common::arrow::array::{Array, ArrayRef, AsArray};
use datafusion_common::arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};

use super::scan::{each_row, each_value};
use super::{Accumulator, Finished, Leaving, Summed, Total};
use crate::plan::AggregateSpec;

/// AVG over values of type `T`.
#[derive(Debug)]
struct Average<T: Summed> {
    totals: Vec<T::Total>,
    counts: Vec<u64>,
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
            totals: Vec::new(),
            counts: Vec::new(),
        })
    }

    #[inline]
    fn value(&self, group: usize) -> Option<Option<f64>> {
        let count = self.counts[group];
        (count > 0).then(|| Some(self.totals[group].as_double() / count as f64))
    }

    #[inline]
    fn add(&mut self, group: usize, value: T::Native) {
        self.totals[group] += T::widen(value);
        self.counts[group] += 1;
    }
}

impl<T: Summed> Accumulator for Average<T> {
    fn grow(&mut self, groups: usize) {
        self.totals.resize(groups, T::Total::default());
        self.counts.resize(groups, 0);
    }

    fn update(&mut self, groups: &[u32], rows: &[u32], argument: Option<&ArrayRef>) {
        let column = argument.expect("AVG has an argument").as_primitive::<T>();
        let values = column.values();
        each_value(groups, rows, column.nulls(), |group, row| {
            self.add(group, values[row])
        });
    }

    fn running(&mut self, groups: &[u32], rows: &[u32], argument: Option<&ArrayRef>) -> Finished {
        let column = argument.expect("AVG has an argument").as_primitive::<T>();
        let values = column.values();
        let mut leaving = Leaving::<Float64Type>::with_capacity(rows.len());
        each_row(groups, rows, column.nulls(), |group, row| {
            if let Some(row) = row {
                self.add(group, values[row]);
            }
            leaving.push(self.value(group));
        });
        leaving.finish()
    }

    fn finish(&self, groups: Range<usize>) -> Finished {
        let mut leaving = Leaving::<Float64Type>::with_capacity(groups.len());
        for group in groups {
            leaving.push(self.value(group));
        }
        leaving.finish()
    }

    fn clear(&mut self) {
        self.totals.clear();
        self.counts.clear();
    }
}
