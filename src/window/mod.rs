//! Event time to panes, and which panes fire and close.
//!
//! ```text
//!   reading shard:  event time --Assigner--> pane number, or late         (against the record's own partition)
//!   owning shard:   pane number --Panes--> its store ... watermark --Panes::close, fire--> the store again, once, in order
//! ```
//!
//! Laws: a pane is a window, which is a half-open span `[start, end)`, or where windows overlap a slice of them (`numbers.rs`). A
//! window closes when the query's watermark reaches its end plus grace, and for no other reason. The query's watermark never exceeds a
//! partition's own, so a record that its partition accepted finds its pane open; the exceptions (an input that wakes
//! after having been idle) are refused by `Panes` and counted by its caller.

mod assigner;
mod ends;
mod numbers;
mod panes;
mod sessions;
mod slab;
mod spans;
mod timers;

pub use assigner::Assigner;
pub use numbers::PaneNumbers;
pub use panes::Panes;
pub use sessions::{Fired, Sessions};
pub use spans::Spans;
