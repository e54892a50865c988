//! COUNT(*): the records of a group. COUNT(x): those whose argument is not NULL.

use std::ops::Range;
use std::sync::Arc;

use datafusion_common::arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use datafusion_common::arrow::datatypes::{DataType, Int64Type};

use super::scan::{each_row, each_value};
use super::{Accumulator, Arena, Finished, Segments};
use crate::plan::AggregateSpec;

/// COUNT over an argument of any type, or over records.
#[derive(Debug, Default)]
struct Count {
    counts: Segments<i64>,
}

/// A COUNT, if the plan wants it as a BIGINT.
pub fn build(aggregate: &AggregateSpec) -> Option<Box<dyn Accumulator>> {
    (aggregate.result_type == DataType::Int64).then(|| Box::<Count>::default() as _)
}

impl Accumulator for Count {
    fn grow(&mut self, groups: usize, arena: &Arena) {
        self.counts.grow(groups, arena);
    }

    fn update(&mut self, groups: &[u32], rows: &[u32], argument: Option<&ArrayRef>, _: &Arena) {
        let counts = &mut self.counts;
        // Logical, because the values of an untyped NULL column have no bitmap.
        let nulls = argument.and_then(|column| column.logical_nulls());
        each_value(groups, rows, nulls.as_ref(), |group, _| counts[group] += 1);
    }

    fn running(
        &mut self,
        groups: &[u32],
        rows: &[u32],
        argument: Option<&ArrayRef>,
        _: &Arena,
    ) -> Finished {
        let counts = &mut self.counts;
        let nulls = argument.and_then(|column| column.logical_nulls());
        let mut running = Vec::with_capacity(rows.len());
        each_row(groups, rows, nulls.as_ref(), |group, row| {
            counts[group] += i64::from(row.is_some());
            running.push(counts[group]);
        });
        Finished::all(Arc::new(Int64Array::from(running)))
    }

    fn finish(&self, groups: Range<usize>) -> Finished {
        Finished::all(Arc::new(Int64Array::from_iter_values(
            self.counts.values(groups),
        )))
    }

    fn finish_each(&self, groups: &[u32]) -> Finished {
        let counts = groups.iter().map(|&group| self.counts[group as usize]);
        Finished::all(Arc::new(Int64Array::from_iter_values(counts)))
    }

    fn partial_types(&self) -> Vec<DataType> {
        vec![DataType::Int64]
    }

    fn partial(&self, groups: Range<usize>) -> Vec<ArrayRef> {
        vec![self.finish(groups).values]
    }

    fn merge(&mut self, groups: &[u32], rows: &[u32], partial: &[ArrayRef], _: &Arena) {
        let counts = &mut self.counts;
        let others = partial[0].as_primitive::<Int64Type>().values();
        each_value(groups, rows, None, |group, row| {
            counts[group] += others[row]
        });
    }

    fn join(&mut self, into: &[u32], from: &[u32]) {
        let counts = &mut self.counts;
        each_value(into, from, None, |into, from| counts[into] += counts[from]);
    }

    fn reset(&mut self, groups: &[u32]) {
        for &group in groups {
            self.counts[group as usize] = 0;
        }
    }

    fn clear(&mut self) {
        self.counts.clear();
    }
}
