//! What a caller inside this process gives a query instead of a topic or a file, and takes from it instead of either.
//!
//! ```text
//!   MemoryInput (partitions of framed records) --SourceConnector::Memory--> query --SinkSpec::Checksum--> Checksum
//! ```
//!
//! Law: records are framed once, by whoever made them, as a client's messages are; a partition's records keep their order.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Partitions of records in memory.
#[derive(Default)]
pub struct MemoryInput {
    /// By partition number.
    pub partitions: Vec<MemoryPartition>,
}

/// The records of one partition, one behind the other.
#[derive(Default)]
pub struct MemoryPartition {
    /// All records' bytes.
    pub bytes: Vec<u8>,
    /// Where each record ends in `bytes`; record `i` starts where record `i - 1` ends.
    pub ends: Vec<usize>,
}

impl MemoryPartition {
    /// Number of records.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Where record `index` starts in `bytes`.
    #[inline]
    pub fn start(&self, index: usize) -> usize {
        match index {
            0 => 0,
            _ => self.ends[index - 1],
        }
    }
}

impl fmt::Debug for MemoryInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let records: usize = self.partitions.iter().map(MemoryPartition::len).sum();
        write!(
            f,
            "{records} records in {} partitions",
            self.partitions.len()
        )
    }
}

/// Rows that were counted and summed up instead of kept. The sum does not depend on their order.
#[derive(Debug, Default)]
pub struct Checksum {
    rows: AtomicU64,
    sum: AtomicU64,
}

impl Checksum {
    /// Adds `rows` rows whose hashes sum up, wrapping, to `sum`.
    pub fn add(&self, rows: u64, sum: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.sum.fetch_add(sum, Ordering::Relaxed);
    }

    /// Rows added so far.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// The wrapping sum of their hashes.
    pub fn sum(&self) -> u64 {
        self.sum.load(Ordering::Relaxed)
    }
}
