//! EMIT CHANGES: for every accepted record the updated row of its group; and on every n-th record of a group.
//!
//! Law: N records give N rows before HAVING, in row order, each with the state just after its record and nothing of the
//! records behind it; so the rows do not depend on where a block ends. Of those, the n-th of each group are the rows of EVERY n ROWS.

use super::{Cause, GroupValues, OutputRows, RowMaker};
use crate::batch::take_columns;
use crate::exchange::KeyedRows;
use crate::group::{Finished, Groups, KeySpace};

/// Adds the rows at `picked` (ascending), which all belong to the window of `cause`, to `groups`, and makes a row after each;
/// `monotonic_ns` tells when they had been added.
pub fn changes(
    groups: &mut Groups,
    space: &mut KeySpace,
    rows: &KeyedRows,
    picked: &[u32],
    cause: Cause,
    maker: &RowMaker,
    monotonic_ns: fn() -> u64,
) -> OutputRows {
    let aggregates = groups.update_running(space, rows, picked);
    let keys = match picked.len() == rows.len() {
        true => rows.keys.clone(),
        false => take_columns(&rows.keys, picked),
    };
    let values = GroupValues {
        rows: picked.len(),
        keys,
        aggregates,
        cause: Cause {
            ready_ns: monotonic_ns(),
            ..cause
        },
    };
    maker.make(values, maker.marked(groups.marks(), space.groups_of_rows()))
}

/// As `changes`, but a row only after the records that are the `every`-th of their group; `None` if there is none. The rows of the
/// other groups are held back.
#[expect(clippy::too_many_arguments, reason = "one more than `changes` has")]
pub fn nth_changes(
    groups: &mut Groups,
    space: &mut KeySpace,
    rows: &KeyedRows,
    picked: &[u32],
    every: u32,
    cause: Cause,
    maker: &RowMaker,
    monotonic_ns: fn() -> u64,
) -> Option<OutputRows> {
    let mut due = Vec::new();
    let running = groups.update_counting(space, rows, picked, every, &mut due);
    if due.is_empty() {
        return None;
    }
    let at = |values: &[u32]| -> Vec<u32> { due.iter().map(|&row| values[row as usize]).collect() };
    let values = GroupValues {
        rows: due.len(),
        keys: take_columns(&rows.keys, &at(picked)),
        aggregates: running
            .iter()
            .map(|one: &Finished| one.take(&due))
            .collect(),
        cause: Cause {
            ready_ns: monotonic_ns(),
            ..cause
        },
    };
    let of_rows = at(space.groups_of_rows());
    Some(maker.make(values, maker.marked(groups.marks(), &of_rows)))
}
