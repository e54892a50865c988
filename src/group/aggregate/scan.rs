//! The loops that every aggregate runs: over the rows of its argument, with their groups.
//!
//! Law: rows are visited in order. A column without NULLs is not asked about them.

use datafusion_common::arrow::buffer::NullBuffer;

/// Calls `add(group, row)` for each row whose value is not NULL.
#[inline]
pub fn each_value(
    groups: &[u32],
    rows: &[u32],
    nulls: Option<&NullBuffer>,
    mut add: impl FnMut(usize, usize),
) {
    assert_eq!(groups.len(), rows.len(), "a group for every row");
    let pairs = groups
        .iter()
        .zip(rows)
        .map(|(&group, &row)| (group as usize, row as usize));
    match present(nulls) {
        None => pairs.for_each(|(group, row)| add(group, row)),
        Some(nulls) => pairs
            .filter(|&(_, row)| nulls.is_valid(row))
            .for_each(|(group, row)| add(group, row)),
    }
}

/// Calls `step(group, row)` for each row, with `None` instead of a row whose value is NULL.
#[inline]
pub fn each_row(
    groups: &[u32],
    rows: &[u32],
    nulls: Option<&NullBuffer>,
    mut step: impl FnMut(usize, Option<usize>),
) {
    assert_eq!(groups.len(), rows.len(), "a group for every row");
    let pairs = groups
        .iter()
        .zip(rows)
        .map(|(&group, &row)| (group as usize, row as usize));
    match present(nulls) {
        None => pairs.for_each(|(group, row)| step(group, Some(row))),
        Some(nulls) => {
            pairs.for_each(|(group, row)| step(group, nulls.is_valid(row).then_some(row)));
        }
    }
}

fn present(nulls: Option<&NullBuffer>) -> Option<&NullBuffer> {
    nulls.filter(|nulls| nulls.null_count() > 0)
}
