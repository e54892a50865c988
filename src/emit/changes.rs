//! EMIT CHANGES: for every accepted record the updated row of its group.
//!
//! Law: N records give N rows before HAVING, in row order, each with the state just after its record and nothing of the
//! records behind it; so the rows do not depend on where a block ends.

use super::{OutputRows, RowMaker};
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
    let running = groups.update_running(space, rows, picked);
    let ready_ns = monotonic_ns();
    let keys = match picked.len() == rows.len() {
        true => rows.keys.clone(),
        false => take_columns(&rows.keys, picked),
    };
    maker.make(picked.len(), keys, window, running, rows.due_us, ready_ns)
}
