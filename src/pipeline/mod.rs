//! Operators and the shard's turn: the file to read first after `lib.rs` is `driver`, then `query`, then `grouping`.
//!
//! ```text
//!   one shard                                                        its peers
//!   Source --Batch--> FilterProject (WHERE, keys, arguments)
//!                       |-- stateless ------------------------------> Egress
//!                       \-- Assigner (lateness) -- split by owner --> outbox ~~lanes~~> inbox --> WindowAggregate --> Egress
//!                                                     \-- own share ---------------------------------/     |
//!   Egress (encode) ~~exit lane~~> the job's sink  <------------------------------------------------------/
//! ```
//!
//! Law: operators are plain synchronous state machines; they know no lane, no clock and no I/O. Only the driver moves what
//! they make.

mod allocation_count;
mod build;
mod driver;
mod egress;
mod exchange_edge;
mod filter_project;
mod grouping;
mod ingest;
mod partial_aggregate;
mod query;
mod window_aggregate;

pub use allocation_count::AllocationFigures;
pub use build::{ShardParts, check_buildable, shard_pipeline};
pub use driver::{ShardOutcome, ShardPipeline};
pub use egress::{RowEncoder, ToJob};
pub use exchange_edge::Lanes;
pub use query::QueryCounts;
