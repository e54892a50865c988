//! EMIT CHANGES: for every accepted record the updated row of its group.
//!
//! Law: N records give N rows before HAVING, in row order, each with the state just after its record and nothing of the
//! records behind it; so the rows do not depend on where a block ends.

use super::{GroupValues, Marked, OutputRows, RowMaker};
use crate::batch::take_columns;
use crate::exchange::KeyedRows;
use crate::group::{Groups, KeySpace};

/// Adds the rows at `picked` (ascending), which all belong to the window with these bounds (microseconds, half-open; `None`
/// without a window), to `groups`, and makes a row after each; `monotonic_ns` tells when they had been added.
pub fn changes(
    groups: &mut Groups,
    space: &mut KeySpace,
    rows: &KeyedRows,
    picked: &[u32],
    window: Option<(i64, i64)>,
    maker: &RowMaker,
    monotonic_ns: fn() -> u64,
) -> OutputRows {
    let aggregates = groups.update_running(space, rows, picked);
    let ready_ns = monotonic_ns();
    let keys = match picked.len() == rows.len() {
        true => rows.keys.clone(),
        false => take_columns(&rows.keys, picked),
    };
    let values = GroupValues {
        rows: picked.len(),
        keys,
        window,
        aggregates,
        due_us: rows.due_us,
        ready_ns,
    };
    let marked = groups
        .marks()
        .filter(|_| maker.withdraws())
        .map(|marks| Marked {
            marks,
            groups: space.groups_of_rows(),
        });
    maker.make(values, marked)
}
