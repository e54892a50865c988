//! What `velo bench scenario` prints: one object a run, its fields a contract.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::machine::Machine;
use crate::error::{Error, Result};
use crate::format::write_timestamp;

/// The figures of one scenario. Times are of the run with the median ratio.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// The contract's version.
    pub schema: u32,
    /// `scenario`.
    pub bench: &'static str,
    /// Which: `0`, `2`, `3a`, `3b`.
    pub scenario: &'static str,
    /// What the engine starts from: `json` or `columns`.
    pub input: &'static str,
    /// Number of shards.
    pub shards: usize,
    /// Records in.
    pub records: u64,
    /// Different keys.
    pub groups: u64,
    /// Seed of the generator.
    pub seed: u64,
    /// From the start of the shards to the last acknowledged row.
    pub elapsed_s: f64,
    /// Records over `elapsed_s`.
    pub records_per_s: f64,
    /// `elapsed_s` over records.
    pub ns_per_record: f64,
    /// Rows out.
    pub rows_out: u64,
    /// The wrapping sum of the rows' hashes, in hexadecimal: JSON's numbers do not hold it.
    pub checksum: String,
    /// The plain loop over the same bytes.
    pub baseline: BaselineFigures,
    /// Engine's time over the baseline's: the median of the pairs.
    pub ratio: f64,
    /// The least of the pairs.
    pub ratio_min: f64,
    /// The greatest of the pairs.
    pub ratio_max: f64,
    /// Pairs that were run.
    pub repeats: usize,
    /// Heap allocations on the shards for each batch, in the steady state; `None` where a run is too short for one.
    pub allocations_per_batch: Option<f64>,
    /// Turns over budget, of all shards.
    pub stalls: u64,
    /// The most CPU time that a turn of a shard took, microseconds: as in the report of a run.
    pub turn_us_max: u64,
    /// Most memory that the process has held, input included.
    pub peak_rss_bytes: u64,
    /// The machine.
    pub machine: Machine,
}

/// Figures of the plain loop.
#[derive(Clone, Debug, Serialize)]
pub struct BaselineFigures {
    /// Records over the loop's time.
    pub records_per_s: f64,
    /// The loop's time over records.
    pub ns_per_record: f64,
    /// Rows out.
    pub rows_out: u64,
    /// As of the engine.
    pub checksum: String,
}

impl Line {
    /// The line as JSON, without a newline.
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("names and numbers are always JSON")
    }

    /// Adds the line to `<folder>/<date>-<cores>c/scenario-<scenario>.jsonl`, and returns that path.
    pub fn keep(&self, folder: &Path) -> Result<PathBuf> {
        let name = format!("scenario-{}", self.scenario);
        keep(folder, &self.machine, &name, &self.json())
    }
}

/// Adds a line to `<folder>/<date>-<cores>c/<name>.jsonl`, and returns that path.
pub(super) fn keep(folder: &Path, machine: &Machine, name: &str, json: &str) -> Result<PathBuf> {
    let folder = folder.join(format!("{}-{}c", today(), machine.cores));
    fs::create_dir_all(&folder).map_err(|cause| Error::disk("create", &folder, &cause))?;
    let path = folder.join(format!("{name}.jsonl"));
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .and_then(|mut file| writeln!(file, "{json}"))
        .map_err(|cause| Error::disk("write", &path, &cause))?;
    Ok(path)
}

/// The date, UTC.
fn today() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_us = now.map_or(0, |elapsed| elapsed.as_micros() as i64);
    let mut text = Vec::new();
    write_timestamp(&mut text, now_us);
    text.truncate("2023-11-14".len());
    String::from_utf8(text).expect("a date is ASCII")
}
