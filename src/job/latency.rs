//! The three histograms of a job.
//!
//! ```text
//!   due ------------> applied to state              ingest       recorded by the shards, which tell
//!                     ready -----> handed to the sink            emit
//!   due ---------------------------> acknowledged by the sink    end_to_end
//! ```
//!
//! `ready` is, for the rows of a window, the moment at which the watermark of the query passed the window's end and grace on
//! the shard that holds the window; for the rows of EMIT CHANGES and of a query without groups, the moment at which their
//! record had been applied. Due times are on the wall clock and may come from another machine; `emit` is measured on the
//! monotonic clock of this one.
//!
//! Law: histograms are added up, percentiles never averaged; a block counts as its rows.

use velostream_shards::{Recorder, SystemClock};

use super::wall_us;
use crate::sink::{Acknowledged, RowBlock};

/// How long things took, microseconds.
#[derive(Clone, Debug, Default)]
pub struct Latency {
    /// From when a record was due until it was applied to state.
    pub ingest: Recorder,
    /// From when there was reason to make a row until it was handed to the sink.
    pub emit: Recorder,
    /// From when the record that caused a row was due until the sink had acknowledged the row.
    pub end_to_end: Recorder,
}

impl Latency {
    /// The rows of `block` are being handed to the sink.
    pub(super) fn handed_over(&mut self, block: &RowBlock) {
        let took_ns = monotonic_ns().saturating_sub(block.ready_ns);
        let rows = block.values.len() as u64;
        self.emit.record_n(took_ns / 1_000, rows);
    }

    /// The sink has acknowledged rows.
    pub(super) fn acknowledged(&mut self, acknowledged: Acknowledged) {
        let took_us = wall_us().saturating_sub(acknowledged.due_us).max(0);
        self.end_to_end.record_n(took_us as u64, acknowledged.rows);
    }
}

/// The monotonic clock, nanoseconds.
pub(super) fn monotonic_ns() -> u64 {
    SystemClock.monotonic_ns()
}
