//! Groups to rows: a range of them that fires, or picked ones that were held back.
//!
//! Law: a row says what its group is at the moment at which it leaves, and is then no longer waited for.

use std::ops::Range;

use super::{Cause, GroupValues, Marked, OutputRows, RowMaker};
use crate::group::{Groups, KeySpace};

/// The rows of a range of groups, in the order of ids.
pub fn range_rows(
    groups: &mut Groups,
    space: &KeySpace,
    ids: Range<usize>,
    cause: Cause,
    maker: &RowMaker,
) -> OutputRows {
    let values = GroupValues {
        rows: ids.len(),
        keys: groups.keys(space, ids.clone()),
        aggregates: groups.finish(ids.clone()),
        cause,
    };
    let Some(marks) = groups.marks() else {
        return maker.make(values, None);
    };
    let groups: Vec<u32> = ids.map(|id| id as u32).collect();
    marks.left(&groups);
    maker.make(values, maker.marked(Some(marks), &groups))
}

/// The rows of these groups, in their order; `None` if there is none.
pub fn held_rows(
    groups: &mut Groups,
    space: &KeySpace,
    ids: &[u32],
    cause: Cause,
    maker: &RowMaker,
) -> Option<OutputRows> {
    if ids.is_empty() {
        return None;
    }
    let values = GroupValues {
        rows: ids.len(),
        keys: groups.keys_each(space, ids),
        aggregates: groups.finish_each(ids),
        cause,
    };
    let marked: Option<Marked<'_>> = maker.marked(groups.marks(), ids);
    Some(maker.make(values, marked))
}
