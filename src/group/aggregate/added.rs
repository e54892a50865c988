//! What is added up: the state of SUM and AVG, which differ in how a total leaves.
//!
//! Law: the total and the number of values are exact (floats but for rounding), so the result depends neither on the order
//! of the rows nor on how they were split into partials.

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use datafusion_common::arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, Int64Array, PrimitiveArray,
};
use datafusion_common::arrow::datatypes::{DataType, Int64Type};

use super::scan::{each_row, each_value};
use super::total::{Summed, Total};
use super::{Accumulator, Arena, Finished, Leaving, Segments};

/// How a total leaves as the value of an aggregate.
pub trait Leaves<T>: Debug + Send {
    /// The arrow type of the value.
    type Result: ArrowPrimitiveType;

    /// The value of a group whose `count` values add up to `total`; `None` if its type cannot hold it. There is a value, so
    /// `count` is above zero.
    fn leave(&self, total: T, count: i64) -> Option<<Self::Result as ArrowPrimitiveType>::Native>;
}

/// An aggregate over values of type `T` whose totals leave by `L`.
#[derive(Debug)]
pub struct Added<T: Summed, L> {
    groups: Segments<Group<T::Total>>,
    leaves: L,
    /// The result's type, with its precision and scale.
    result: DataType,
}

/// The values of a group that are not NULL. What is added together lies together.
#[derive(Clone, Copy, Debug, Default)]
struct Group<T> {
    total: T,
    count: i64,
}

impl<T: Summed, L: Leaves<T::Total> + 'static> Added<T, L> {
    /// An accumulator whose values are of type `result`.
    pub fn boxed(leaves: L, result: &DataType) -> Box<dyn Accumulator> {
        Box::new(Added::<T, L> {
            groups: Segments::new(),
            leaves,
            result: result.clone(),
        })
    }
}

impl<T: Summed, L: Leaves<T::Total>> Added<T, L> {
    #[inline]
    fn add(&mut self, group: usize, value: T::Native) -> Group<T::Total> {
        let group = &mut self.groups[group];
        group.total += T::widen(value);
        group.count += 1;
        *group
    }

    fn leaving(&self, values: usize) -> Leaving<L::Result> {
        Leaving::new(&self.result, values)
    }

    #[inline]
    fn push(&self, group: Group<T::Total>, leaving: &mut Leaving<L::Result>) {
        leaving.push((group.count > 0).then(|| self.leaves.leave(group.total, group.count)));
    }
}

impl<T: Summed, L: Leaves<T::Total>> Accumulator for Added<T, L> {
    fn grow(&mut self, groups: usize, arena: &Arena) {
        self.groups.grow(groups, arena);
    }

    fn update(&mut self, groups: &[u32], rows: &[u32], argument: Option<&ArrayRef>, _: &Arena) {
        let column = argument
            .expect("SUM and AVG have an argument")
            .as_primitive::<T>();
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
        let column = argument
            .expect("SUM and AVG have an argument")
            .as_primitive::<T>();
        let values = column.values();
        let mut leaving = self.leaving(rows.len());
        each_row(groups, rows, column.nulls(), |group, row| {
            let after = match row {
                Some(row) => self.add(group, values[row]),
                None => self.groups[group],
            };
            self.push(after, &mut leaving);
        });
        leaving.finish()
    }

    fn finish(&self, groups: Range<usize>) -> Finished {
        let mut leaving = self.leaving(groups.len());
        for group in self.groups.values(groups) {
            self.push(group, &mut leaving);
        }
        leaving.finish()
    }

    fn finish_each(&self, groups: &[u32]) -> Finished {
        let mut leaving = self.leaving(groups.len());
        for &group in groups {
            self.push(self.groups[group as usize], &mut leaving);
        }
        leaving.finish()
    }

    fn partial_types(&self) -> Vec<DataType> {
        vec![<T::Total as Total>::Column::DATA_TYPE, Int64Type::DATA_TYPE]
    }

    fn partial(&self, groups: Range<usize>) -> Vec<ArrayRef> {
        let totals = self.groups.values(groups.clone()).map(|group| group.total);
        let counts = self.groups.values(groups).map(|group| group.count);
        vec![
            Arc::new(PrimitiveArray::<<T::Total as Total>::Column>::from_iter_values(totals)),
            Arc::new(Int64Array::from_iter_values(counts)),
        ]
    }

    fn merge(&mut self, groups: &[u32], rows: &[u32], partial: &[ArrayRef], _: &Arena) {
        let totals = partial[0]
            .as_primitive::<<T::Total as Total>::Column>()
            .values();
        let counts = partial[1].as_primitive::<Int64Type>().values();
        each_value(groups, rows, None, |group, row| {
            let group = &mut self.groups[group];
            group.total += totals[row];
            group.count += counts[row];
        });
    }

    fn join(&mut self, into: &[u32], from: &[u32]) {
        each_value(into, from, None, |into, from| {
            let Group { total, count } = self.groups[from];
            let into = &mut self.groups[into];
            into.total += total;
            into.count += count;
        });
    }

    fn reset(&mut self, groups: &[u32]) {
        for &group in groups {
            self.groups[group as usize] = Group::default();
        }
    }

    fn clear(&mut self) {
        self.groups.clear();
    }
}
