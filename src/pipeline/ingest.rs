//! How long records took from when they were due until they were applied: the histogram `ingest` of one query on one shard.
//!
//! Law: one writer, the shard. The clock is read once for each batch or block, which counts as its records; a block has the
//! earliest due time of its records, so that none is made to look quicker than it was.

use velostream_shards::Recorder;

/// Records how long records took until they were applied.
pub struct Ingest {
    recorder: Recorder,
    /// The wall clock, microseconds since the epoch: due times are on it.
    wall_us: fn() -> i64,
}

impl Ingest {
    /// With nothing recorded.
    pub fn new(wall_us: fn() -> i64) -> Ingest {
        Ingest {
            recorder: Recorder::new(),
            wall_us,
        }
    }

    /// So many records, due at `due_us` (wall clock, microseconds), are in the state now; or, where there is none, their
    /// rows have been computed.
    pub fn applied(&mut self, records: usize, due_us: i64) {
        if records > 0 {
            let took_us = (self.wall_us)().saturating_sub(due_us).max(0);
            self.recorder.record_n(took_us as u64, records as u64);
        }
    }

    /// Whether nothing was recorded since the last `take`.
    pub fn is_empty(&self) -> bool {
        self.recorder.is_empty()
    }

    /// What was recorded since the last time.
    pub fn take(&mut self) -> Recorder {
        std::mem::take(&mut self.recorder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_counts_as_its_records_and_what_was_taken_is_not_taken_again() {
        let mut ingest = Ingest::new(|| 1_000);
        ingest.applied(0, 0);
        assert!(ingest.is_empty());
        ingest.applied(3, 400);
        // A due time ahead of this machine's clock took no time, rather than a very long one.
        ingest.applied(1, 2_000);
        let taken = ingest.take().summary();
        assert_eq!((taken.count, taken.p50, taken.max), (4, 600, 600));
        assert!(ingest.is_empty());
        assert_eq!(ingest.take().summary().count, 0);
    }
}
