//! MIN and MAX over values of a fixed width.
//!
//! Law: the result does not depend on the order of the rows. Floats stand in IEEE 754's total order with one NaN, above
//! infinity: MAX is NaN if a value is, MIN only if all are, and -0.0 is below 0.0. False is below true.

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use datafusion_common::arrow::array::{
    Array, ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, BooleanArray,
    BooleanBufferBuilder, PrimitiveArray,
};
use datafusion_common::arrow::buffer::NullBuffer;
use datafusion_common::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, Time64MicrosecondType, Time64NanosecondType, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};

use super::scan::{each_row, each_value};
use super::{Accumulator, Arena, Finished, Segments};
use crate::plan::{AggregateKind, AggregateSpec};

/// MIN or MAX over the values of `C`.
#[derive(Debug)]
struct Extreme<C: Comparable, const MAX: bool> {
    groups: Segments<Group<C::Value>>,
    /// The column's type, with its precision or time zone.
    result: DataType,
}

/// The value that a group keeps. What is compared together lies together.
#[derive(Clone, Copy, Debug, Default)]
struct Group<V> {
    value: V,
    /// Whether the group has had a value that is not NULL.
    seen: bool,
}

/// A column whose values have an order.
trait Comparable: Debug + 'static {
    /// The arrow array.
    type Column: Array;
    /// A value in the one form in which it is compared and kept.
    type Value: Copy + Default + Debug + Send;

    fn column(array: &ArrayRef) -> &Self::Column;
    fn value(column: &Self::Column, row: usize) -> Self::Value;
    fn below(left: Self::Value, right: Self::Value) -> bool;
    fn array(values: Vec<Self::Value>, nulls: NullBuffer, result: &DataType) -> ArrayRef;
}

/// A MIN or MAX, if the argument is of a fixed width and the result of the same type.
pub fn build(aggregate: &AggregateSpec) -> Option<Box<dyn Accumulator>> {
    if aggregate.result_type != aggregate.argument_type {
        return None;
    }
    let of = aggregate;
    Some(match &aggregate.argument_type {
        DataType::Boolean => boxed::<Booleans>(of),
        DataType::Int8 => boxed::<Int8Type>(of),
        DataType::Int16 => boxed::<Int16Type>(of),
        DataType::Int32 => boxed::<Int32Type>(of),
        DataType::Int64 => boxed::<Int64Type>(of),
        DataType::UInt8 => boxed::<UInt8Type>(of),
        DataType::UInt16 => boxed::<UInt16Type>(of),
        DataType::UInt32 => boxed::<UInt32Type>(of),
        DataType::UInt64 => boxed::<UInt64Type>(of),
        DataType::Float32 => boxed::<Float32Type>(of),
        DataType::Float64 => boxed::<Float64Type>(of),
        DataType::Date32 => boxed::<Date32Type>(of),
        DataType::Time64(TimeUnit::Microsecond) => boxed::<Time64MicrosecondType>(of),
        DataType::Time64(TimeUnit::Nanosecond) => boxed::<Time64NanosecondType>(of),
        DataType::Timestamp(TimeUnit::Second, _) => boxed::<TimestampSecondType>(of),
        DataType::Timestamp(TimeUnit::Millisecond, _) => boxed::<TimestampMillisecondType>(of),
        DataType::Timestamp(TimeUnit::Microsecond, _) => boxed::<TimestampMicrosecondType>(of),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => boxed::<TimestampNanosecondType>(of),
        DataType::Decimal128(..) => boxed::<Decimal128Type>(of),
        DataType::Decimal256(..) => boxed::<Decimal256Type>(of),
        _ => return None,
    })
}

fn boxed<C: Comparable>(aggregate: &AggregateSpec) -> Box<dyn Accumulator> {
    match aggregate.kind {
        AggregateKind::Max => Box::new(Extreme::<C, true>::new(&aggregate.result_type)),
        AggregateKind::Min => Box::new(Extreme::<C, false>::new(&aggregate.result_type)),
        other => panic!("{other:?} is not an extreme"),
    }
}

impl<C: Comparable, const MAX: bool> Extreme<C, MAX> {
    fn new(result: &DataType) -> Extreme<C, MAX> {
        Extreme {
            groups: Segments::new(),
            result: result.clone(),
        }
    }

    #[inline]
    fn add(&mut self, group: usize, value: C::Value) {
        let group = &mut self.groups[group];
        let beyond = if MAX {
            C::below(group.value, value)
        } else {
            C::below(value, group.value)
        };
        if beyond || !group.seen {
            *group = Group { value, seen: true };
        }
    }

    /// The values of `groups`, as a column of `rows` values.
    fn column(&self, groups: impl Iterator<Item = Group<C::Value>>, rows: usize) -> Finished {
        let mut values = Vec::with_capacity(rows);
        let mut seen = BooleanBufferBuilder::new(rows);
        for group in groups {
            values.push(group.value);
            seen.append(group.seen);
        }
        let nulls = NullBuffer::new(seen.finish());
        Finished::all(C::array(values, nulls, &self.result))
    }
}

impl<C: Comparable, const MAX: bool> Accumulator for Extreme<C, MAX> {
    fn grow(&mut self, groups: usize, arena: &Arena) {
        self.groups.grow(groups, arena);
    }

    fn update(&mut self, groups: &[u32], rows: &[u32], argument: Option<&ArrayRef>, _: &Arena) {
        let column = C::column(argument.expect("MIN and MAX have an argument"));
        each_value(groups, rows, column.nulls(), |group, row| {
            self.add(group, C::value(column, row));
        });
    }

    fn running(
        &mut self,
        groups: &[u32],
        rows: &[u32],
        argument: Option<&ArrayRef>,
        _: &Arena,
    ) -> Finished {
        let column = C::column(argument.expect("MIN and MAX have an argument"));
        let mut after = Vec::with_capacity(rows.len());
        each_row(groups, rows, column.nulls(), |group, row| {
            if let Some(row) = row {
                self.add(group, C::value(column, row));
            }
            after.push(self.groups[group]);
        });
        self.column(after.into_iter(), rows.len())
    }

    fn finish(&self, groups: Range<usize>) -> Finished {
        self.column(self.groups.values(groups.clone()), groups.len())
    }

    fn finish_each(&self, groups: &[u32]) -> Finished {
        let kept = groups.iter().map(|&group| self.groups[group as usize]);
        self.column(kept, groups.len())
    }

    fn partial_types(&self) -> Vec<DataType> {
        vec![self.result.clone()]
    }

    fn partial(&self, groups: Range<usize>) -> Vec<ArrayRef> {
        vec![self.finish(groups).values]
    }

    /// The extreme of a part is a value like any other.
    fn merge(&mut self, groups: &[u32], rows: &[u32], partial: &[ArrayRef], arena: &Arena) {
        self.update(groups, rows, partial.first(), arena);
    }

    fn join(&mut self, into: &[u32], from: &[u32]) {
        each_value(into, from, None, |into, from| {
            let Group { value, seen } = self.groups[from];
            if seen {
                self.add(into, value);
            }
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

/// A BOOLEAN column, whose values are bits.
#[derive(Debug)]
struct Booleans;

impl Comparable for Booleans {
    type Column = BooleanArray;
    type Value = bool;

    fn column(array: &ArrayRef) -> &BooleanArray {
        array.as_boolean()
    }

    fn value(column: &BooleanArray, row: usize) -> bool {
        column.value(row)
    }

    fn below(left: bool, right: bool) -> bool {
        !left & right
    }

    fn array(values: Vec<bool>, nulls: NullBuffer, _: &DataType) -> ArrayRef {
        Arc::new(BooleanArray::new(values.into(), Some(nulls)))
    }
}

/// The one form of a value: itself, but for a float that is not a number.
trait OneForm: ArrowPrimitiveType + Debug {
    fn one_form(value: Self::Native) -> Self::Native {
        value
    }
}

impl<T: OneForm> Comparable for T {
    type Column = PrimitiveArray<T>;
    type Value = T::Native;

    fn column(array: &ArrayRef) -> &PrimitiveArray<T> {
        array.as_primitive()
    }

    #[inline]
    fn value(column: &PrimitiveArray<T>, row: usize) -> T::Native {
        T::one_form(column.values()[row])
    }

    #[inline]
    fn below(left: T::Native, right: T::Native) -> bool {
        left.is_lt(right)
    }

    fn array(values: Vec<T::Native>, nulls: NullBuffer, result: &DataType) -> ArrayRef {
        let array = PrimitiveArray::<T>::new(values.into(), Some(nulls));
        Arc::new(array.with_data_type(result.clone()))
    }
}

impl OneForm for Float32Type {
    #[inline]
    fn one_form(value: f32) -> f32 {
        if value.is_nan() { f32::NAN } else { value }
    }
}

impl OneForm for Float64Type {
    #[inline]
    fn one_form(value: f64) -> f64 {
        if value.is_nan() { f64::NAN } else { value }
    }
}

macro_rules! itself {
    ($($arrow:ty),* $(,)?) => {$(impl OneForm for $arrow {})*};
}

itself!(
    Int8Type,
    Int16Type,
    Int32Type,
    Int64Type,
    UInt8Type,
    UInt16Type,
    UInt32Type,
    UInt64Type,
    Date32Type,
    Time64MicrosecondType,
    Time64NanosecondType,
    TimestampSecondType,
    TimestampMillisecondType,
    TimestampMicrosecondType,
    TimestampNanosecondType,
    Decimal128Type,
    Decimal256Type,
);
