//! Operators and the shard's turn: the file to read first after `lib.rs` is `driver`, then `query`, then `grouping`.
//!
//! ```text
//!   one shard                                                        its peers
//!   SourcePort --Batch--> each query that reads it:
//!     FilterProject (WHERE, keys, arguments)
//!       |-- stateless -----------------------------------------> OutputRows
//!       \-- Assigner (lateness) -- split by owner --> outbox ~~lanes~~> inbox --> WindowAggregate --> OutputRows
//!                                     \-- own share --------------------------------/
//!   OutputRows --Flow--> Egress (encode) ~~exit lane~~> the job's sinks
//!                  \---> Batch --> the queries that read the in-memory stream, on the same shard
//! ```
//!
//! Law: operators are plain synchronous state machines without I/O. Lanes are known to `exchange_edge` and `egress` alone (and,
//! where a file is dealt, to its source);
//! nothing is decided by the clocks that operators are given, which serve the latency figures. Only `flow` moves what they
//! make.

mod alignment;
mod allocation_count;
mod batch_size;
mod build;
mod combined_windows;
mod driver;
mod egress;
mod epochs;
mod exchange_edge;
mod filter_project;
mod flow;
mod grouping;
#[cfg(test)]
mod harness;
mod ingest;
mod letters;
mod origin_columns;
mod owned;
mod partial_aggregate;
mod query;
mod session_aggregate;
mod source_port;
pub mod stages;
mod standing;
mod window_aggregate;

pub use allocation_count::AllocationFigures;
pub use batch_size::BatchSize;
pub use build::{QueryParts, RestartAt, ShardParts, check_buildable, shard_pipeline};
pub use driver::{ShardOutcome, ShardPipeline};
pub use egress::{RowEncoder, ToJob};
pub use epochs::REBUILT;
pub use exchange_edge::Lanes;
pub use flow::QueryCounts;
pub use letters::{LetterTarget, target_of};
pub use standing::{Counts, Held, SourceCounts};
