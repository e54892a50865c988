//! Velostream: streaming SQL for Kafka on a thread-per-core runtime.
//!
//! The modules stand in the order of a record's journey, and that order is the layering: a module imports only modules
//! declared above it (a test reads this file and fails on an upward import).

/// Errors by cause and remedy.
pub mod error;

/// Event time, watermarks, and what is promised about them.
pub mod time;

/// What was configured: the file, the options of streams and queries.
pub mod config;

/// What a running job tells whoever watches it from outside.
pub mod metrics;

/// What travels inside a shard.
pub mod batch;

/// The contract between the SQL front end and the pipeline.
pub mod plan;

/// Text to plan.
pub mod sql;

/// Bytes to columns and columns to bytes.
pub mod format;

/// What the Kafka source and sink share.
pub mod kafka;

/// Where records enter.
pub mod source;

/// Moving records to the shard that owns their key.
pub mod exchange;

/// Event time to panes; which windows fire and close.
pub mod window;

/// Keys to dense group ids to accumulator columns.
pub mod group;

/// When results leave, and as which rows.
pub mod emit;

/// Where rows leave.
pub mod sink;

/// Operators and the shard's turn.
pub mod pipeline;

/// The lifecycle of one running job.
pub mod job;

/// Benchmarks: scenarios through the pipeline, each beside a plain loop.
pub mod bench;

/// The demo: real flights through an in-process broker.
pub mod demo;

/// One command a file.
pub mod cli;

/// As in the binary, so that tests can count.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: velostream_shards::allocations::Counting<mimalloc::MiMalloc> =
    velostream_shards::allocations::Counting::new(mimalloc::MiMalloc);
