//! Moving records, or what they were aggregated to, to the shard that owns their key.
//!
//! ```text
//!   reading shard: keys, arguments (columns) --KeyForm--> KeyedRows --split--> one KeyedRows an owner --lane--> owner
//!                                                             |         |
//!                                          hash -> KeyGroup -> owner: key_group.rs, the one place
//!                                                                        |
//!   two-phase:     KeyedRows --panes of its own--> Partials (states) --split--> one Partials an owner ---lane--> owner
//! ```
//!
//! Laws: records of equal keys meet on one shard, whatever shard read them; two records of one key that were read by one
//! shard arrive in the order in which they were read; no watermark leaves a shard before the rows it covers (a lane is
//! in order, and a `Block::Watermark` is pushed after them), and with partials none that would let the owner close a pane
//! whose partials are unsent (`pipeline/partial_aggregate.rs`). What crosses a lane is `message.rs`; the lanes themselves
//! belong to the runtime.

mod key;
mod key_group;
mod message;
mod send;

pub use key::{KeyForm, fixed_values, stable_hashes};
pub use key_group::{FAN_IN_OWNER, KEY_GROUPS, KeyGroup, key_group, owner};
pub use message::{Block, KeyedRows, Partials};
pub use send::{split, split_partials};
