//! EMIT CHANGES: for every accepted record the updated row of its group.
//!
//! Law: N records give N rows before HAVING, in row order, each with the state just after its record and nothing of the
//! records behind it; so the rows do not depend on where a block ends.

use datafusion_common::arrow::array::{ArrayRef, UInt32Array};
use datafusion_common::arrow::compute::take;

use super::{OutputRows, RowMaker};
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
    let keys = picked_of(&rows.keys, rows.len(), picked);
    maker.make(picked.len(), keys, window, running, rows.due_us, ready_ns)
}

/// The rows at `picked` of columns of `rows` rows.
fn picked_of(columns: &[ArrayRef], rows: usize, picked: &[u32]) -> Vec<ArrayRef> {
    if picked.len() == rows {
        return columns.to_vec();
    }
    let indexes = UInt32Array::from(picked.to_vec());
    let pick = |column: &ArrayRef| take(column, &indexes, None).expect("a picked row is a row");
    columns.iter().map(pick).collect()
}
