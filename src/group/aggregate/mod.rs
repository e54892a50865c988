//! The state of one aggregate for all groups of a pane, column-wise.
//!
//! ```text
//!   group ids, rows, argument column --update--> state by group id --finish---> values of a range of groups
//!                                    --running-> the same, and the value of its group after each row
//!   group ids, rows, partial columns --merge---> state by group id --partial--> the state itself, as plain columns
//! ```
//!
//! Law: an aggregate over no value but NULLs is NULL, and a COUNT of them 0. A value is exact or it is reported as out of
//! range, never wrapped; doubles round and overflow as IEEE 754 says. Rows may be split in any way, each part aggregated
//! alone, and the partials merged in any order: the values are the same (doubles but for rounding).
//!
//! One aggregate a file. The loops are over slices (`scan.rs`), and a column without NULLs is not asked about them.

mod added;
mod average;
mod count;
mod decimal;
mod extreme;
mod extreme_bytes;
mod scan;
mod sum;
mod total;

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use datafusion_common::arrow::array::{
    ArrayBuilder, ArrayRef, ArrowPrimitiveType, PrimitiveBuilder,
};
use datafusion_common::arrow::datatypes::DataType;

use super::arena::{Arena, ByteSegments, Segments};
use crate::batch::take_columns;
use crate::error::{Error, Result};
use crate::plan::{AggregateKind, AggregateSpec, sql_type};

/// The state of one aggregate for groups 0, 1, 2, ..
///
/// # Contract
/// 1. `grow` is called before a group id at or beyond the last count is used (`Groups`; a state column panics otherwise).
/// 2. `groups` and `rows` of one call are equally long: row `rows[i]` of the argument belongs to group `groups[i]`
///    (`Groups`, asserted by the loops). The rows are added in that order.
/// 3. `argument` is `None` for COUNT(*) alone, and otherwise has the type that `build` was given (the planner; another
///    type panics).
/// 4. `running` adds what `update` adds, and returns one value a row (the implementation; `Groups` asserts the length).
/// 5. `finish` and `finish_each` return one value a group and change nothing (the implementation; `Groups` asserts the length).
/// 6. A value that its type cannot hold is NULL in `values` and named in `out_of_range` (the implementation).
/// 7. `partial` returns one row a group for each of `partial_types`, changes nothing, and shares no memory with the state;
///    `merge` takes such columns, of groups with other ids (the implementation; `Groups` asserts types and lengths).
/// 8. `join` and `reset` name groups that exist; what is left in a group that joined another means nothing until it is reset
///    (the caller). After `reset` a group is as `grow` made it (the implementation).
/// 9. All calls between two of `clear` are given the same arena, that of the pane; state lives there, and whatever is
///    dropped one by one does not (the implementation; a column in an arena takes only `Copy` values).
/// 10. After `clear` all groups are forgotten and nothing points into the arena (the implementation; `Arena::reset` panics
///     otherwise).
pub trait Accumulator: Debug + Send {
    /// Makes room for `groups` groups; those that are new are empty.
    fn grow(&mut self, groups: usize, arena: &Arena);

    /// Adds rows to their groups.
    fn update(&mut self, groups: &[u32], rows: &[u32], argument: Option<&ArrayRef>, arena: &Arena);

    /// Adds rows to their groups and returns the value of its group after each row.
    fn running(
        &mut self,
        groups: &[u32],
        rows: &[u32],
        argument: Option<&ArrayRef>,
        arena: &Arena,
    ) -> Finished;

    /// The values of a range of groups.
    fn finish(&self, groups: Range<usize>) -> Finished;

    /// The values of these groups, in their order.
    fn finish_each(&self, groups: &[u32]) -> Finished;

    /// The types of the columns that the state travels in.
    fn partial_types(&self) -> Vec<DataType>;

    /// The state of a range of groups.
    fn partial(&self, groups: Range<usize>) -> Vec<ArrayRef>;

    /// Adds what others aggregated: row `rows[i]` of `partial` to group `groups[i]`.
    fn merge(&mut self, groups: &[u32], rows: &[u32], partial: &[ArrayRef], arena: &Arena);

    /// Adds group `from[i]` to group `into[i]`, pair after pair.
    fn join(&mut self, into: &[u32], from: &[u32]);

    /// Makes these groups empty again.
    fn reset(&mut self, groups: &[u32]);

    /// Forgets all groups and lets go of the arena.
    fn clear(&mut self);
}

/// Values of one aggregate on their way out.
#[derive(Clone, Debug)]
pub struct Finished {
    /// One value a group (or a row), of the aggregate's result type.
    pub values: ArrayRef,
    /// The positions in `values` whose value the result type cannot hold, ascending; they are NULL there.
    pub out_of_range: Vec<u32>,
}

impl Finished {
    /// The values at `places`, ascending.
    pub fn take(&self, places: &[u32]) -> Finished {
        let values = take_columns(std::slice::from_ref(&self.values), places);
        let lacking = |place: &u32| self.out_of_range.binary_search(place).is_ok();
        let kept = (0..).zip(places);
        Finished {
            values: values
                .into_iter()
                .next()
                .expect("a column in, a column out"),
            out_of_range: match self.out_of_range.is_empty() {
                true => Vec::new(),
                false => kept
                    .filter(|(_, place)| lacking(place))
                    .map(|(row, _)| row)
                    .collect(),
            },
        }
    }

    /// Values that are all within the range of their type.
    fn all(values: ArrayRef) -> Finished {
        Finished {
            values,
            out_of_range: Vec::new(),
        }
    }
}

/// The state for one planned aggregate.
///
/// # Errors
/// `Error::Config` names the aggregate, the type that it cannot be computed over, and what to do instead.
pub fn build(aggregate: &AggregateSpec) -> Result<Box<dyn Accumulator>> {
    let built = match aggregate.kind {
        AggregateKind::Count => count::build(aggregate),
        AggregateKind::Sum => sum::build(aggregate),
        AggregateKind::Avg => average::build(aggregate),
        AggregateKind::Min | AggregateKind::Max => {
            extreme::build(aggregate).or_else(|| extreme_bytes::build(aggregate))
        }
    };
    built.ok_or_else(|| refusal(aggregate))
}

fn refusal(aggregate: &AggregateSpec) -> Error {
    let AggregateSpec {
        kind,
        argument_type,
        result_type,
        text,
        ..
    } = aggregate;
    let hint = match (kind, argument_type) {
        (AggregateKind::Sum | AggregateKind::Avg, DataType::Decimal256(..)) => {
            "; cast its argument to a DECIMAL of at most 57 digits"
        }
        (_, DataType::Null) => "; cast its argument to a type",
        _ => "",
    };
    let (argument_type, result_type) = (sql_type(argument_type), sql_type(result_type));
    Error::Config(format!(
        "{text} cannot be computed from {argument_type} to {result_type}{hint}"
    ))
}

/// Values that are checked as they leave.
struct Leaving<R: ArrowPrimitiveType> {
    values: PrimitiveBuilder<R>,
    out_of_range: Vec<u32>,
}

impl<R: ArrowPrimitiveType> Leaving<R> {
    /// For so many values of the type `result`, which is `R` with its precision and scale.
    fn new(result: &DataType, values: usize) -> Leaving<R> {
        Leaving {
            values: PrimitiveBuilder::with_capacity(values).with_data_type(result.clone()),
            out_of_range: Vec::new(),
        }
    }

    /// Appends `value`, NULL if the group has none. The inner `None` says that it has one which `R` cannot hold.
    #[inline]
    fn push(&mut self, value: Option<Option<R::Native>>) {
        if let Some(None) = value {
            self.out_of_range.push(self.values.len() as u32);
        }
        self.values.append_option(value.flatten());
    }

    fn finish(mut self) -> Finished {
        Finished {
            values: Arc::new(self.values.finish()),
            out_of_range: self.out_of_range,
        }
    }
}

#[cfg(test)]
mod tests;
