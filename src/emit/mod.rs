//! When results leave, and as which rows.
//!
//! ```text
//!   Groups --changes (after each block)--------------> aggregate columns --RowMaker: HAVING, output columns--> OutputRows
//!          --held_rows (what was held back)---------->
//!          --Closing (a fired pane, slice by slice)-->
//!                                          \--PartialMaker: the state itself, in a first phase--> Partials
//! ```
//!
//! Laws: under EMIT CHANGES every accepted record gives one row before HAVING, in row order within its pane; under EVERY some of
//! them do, and the last always. Under EMIT
//! FINAL every group of a fired pane gives one row before HAVING, and a slice is bounded, so that a close of a million
//! groups does not block a turn. A row whose value is out of range, or for which an expression fails, is withheld and
//! named; the rows around it are untouched.

mod bounds;
mod changes;
mod leaving;
mod on_close;
mod output_rows;
mod partials;
mod rows;

use std::ops::Range;

pub use changes::{changes, nth_changes};
pub use leaving::{held_rows, range_rows};
pub use on_close::Closing;
pub use output_rows::{OutputRows, Tombstones, Withheld};
pub use partials::PartialMaker;
pub use rows::{Cause, GroupValues, Marked, Moved, MovedSessions, RowMaker};

use crate::group::KeySpace;

/// Makes what leaves of groups that have fired.
pub trait Maker {
    /// What is made of a slice of groups.
    type Made;

    /// Makes it of the groups `ids` of a pane, whose keys are in `space`.
    fn fired(&self, closing: &mut Closing, ids: Range<usize>, space: &KeySpace) -> Self::Made;

    /// Whether there is nothing in it.
    fn is_nothing(made: &Self::Made) -> bool;
}
