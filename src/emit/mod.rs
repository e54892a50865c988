//! When results leave, and as which rows.
//!
//! ```text
//!   Groups --changes (after each block)--------------> aggregate columns --RowMaker: HAVING, output columns--> OutputRows
//!          --Closing (a fired pane, slice by slice)-->
//! ```
//!
//! Laws: under EMIT CHANGES every accepted record gives one row before HAVING, in row order within its pane. Under EMIT
//! FINAL every group of a fired pane gives one row before HAVING, and a slice is bounded, so that a close of a million
//! groups does not block a turn. A row whose value is out of range, or for which an expression fails, is withheld and
//! named; the rows around it are untouched.

mod changes;
mod on_close;
mod rows;

pub use changes::changes;
pub use on_close::Closing;
pub use rows::{OutputRows, RowMaker};
