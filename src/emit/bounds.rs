//! The windows of rows on their way out.

use std::sync::Arc;

use datafusion_common::arrow::array::{ArrayRef, TimestampMicrosecondArray};
use datafusion_common::arrow::buffer::ScalarBuffer;

/// The windows of rows: start and end, microseconds, half-open.
#[derive(Clone, Debug)]
pub(super) enum Bounds {
    /// The query has no window.
    None,
    /// All rows are of one window.
    One((i64, i64)),
    /// Each row has its own.
    Each(Vec<(i64, i64)>),
}

impl Bounds {
    /// One window or none.
    pub(super) fn of(window: Option<(i64, i64)>) -> Bounds {
        window.map_or(Bounds::None, Bounds::One)
    }

    /// The starts and the ends of `rows` rows, if there are any.
    pub(super) fn columns(self, rows: usize) -> Vec<ArrayRef> {
        match self {
            Bounds::None => Vec::new(),
            Bounds::One((start, end)) => {
                let same = |bound| TimestampMicrosecondArray::from_value(bound, rows);
                vec![Arc::new(same(start)), Arc::new(same(end))]
            }
            Bounds::Each(windows) => {
                assert_eq!(windows.len(), rows, "a window for every row");
                let (starts, ends): (Vec<i64>, Vec<i64>) = windows.into_iter().unzip();
                let column =
                    |bounds| TimestampMicrosecondArray::new(ScalarBuffer::from(bounds), None);
                vec![Arc::new(column(starts)), Arc::new(column(ends))]
            }
        }
    }
}
