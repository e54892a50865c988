//! What `velo bench kafka` prints: one object a tier, its fields a contract.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::bench::line::keep;
use crate::bench::machine::Machine;
use crate::error::Result;
use crate::job::report::LatencyReport;

/// The figures of a tier.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// The contract's version.
    pub schema: u32,
    /// `kafka`.
    pub bench: &'static str,
    /// `standard`, `buffered` or `dedicated`.
    pub tier: &'static str,
    /// The query, by the name of its scenario.
    pub scenario: &'static str,
    /// Partitions of the topic.
    pub partitions: usize,
    /// Number of shards.
    pub shards: usize,
    /// Records in.
    pub records: u64,
    /// From the start of the shards to the last row.
    pub elapsed_s: f64,
    /// Records over `elapsed_s`.
    pub records_per_s: f64,
    /// CPU seconds for a million records.
    pub cpu_s_per_million: CpuPerMillion,
    /// CPU time on the shard's thread to take a record and to give it back, where nothing is done with it: the shard's client
    /// time, nanoseconds.
    pub client_ns_per_record: f64,
    /// CPU seconds for a million records of a process that does only that, with librdkafka's own threads and the helper: all that
    /// the client costs.
    pub client_cpu_s_per_million: f64,
    /// Most memory that the process has held.
    pub peak_rss_bytes: u64,
    /// Records a second of the feed by which `latency_us` was measured, open loop.
    pub latency_rate: Option<u64>,
    /// How long it took at that rate: the histograms of every run.
    pub latency_us: Option<LatencyReport>,
    /// Rows out.
    pub rows_out: u64,
    /// The wrapping sum of the rows' hashes, in hexadecimal: JSON's numbers do not hold it.
    pub checksum: String,
    /// Runs of which the one that took the least CPU is shown.
    pub repeats: usize,
    /// The machine.
    pub machine: Machine,
}

/// CPU seconds for a million records.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CpuPerMillion {
    /// Of the shards' threads.
    pub shard: f64,
    /// Of the client's own threads, the helpers' among them.
    pub client: f64,
    /// Of the process, with the job's thread.
    pub total: f64,
}

impl Line {
    /// The line as JSON, without a newline.
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("names and numbers are always JSON")
    }

    /// Adds the line to `<folder>/<date>-<cores>c/kafka.jsonl`, and returns that path.
    pub fn keep(&self, folder: &Path) -> Result<PathBuf> {
        keep(folder, &self.machine, "kafka", &self.json())
    }
}
