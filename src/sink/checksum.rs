//! A checksum as a sink: rows are counted and hashed, and nothing of them is kept.
//!
//! Law: the sum is the wrapping sum of the 64-bit xxh3 of every row's bytes, so it depends neither on the rows' order nor on
//! how they came in blocks.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::{Acknowledged, RowBlock, Sink};
use crate::error::Result;
use crate::plan::in_memory::Checksum;

/// Adds rows to a checksum.
pub struct ChecksumSink {
    checksum: Arc<Checksum>,
}

impl ChecksumSink {
    /// Adds to `checksum`.
    pub fn new(checksum: &Arc<Checksum>) -> ChecksumSink {
        ChecksumSink {
            checksum: Arc::clone(checksum),
        }
    }
}

impl Sink for ChecksumSink {
    fn write(&mut self, block: RowBlock, acknowledged: &mut dyn FnMut(Acknowledged)) -> Result<()> {
        let rows = &block.values;
        let mut sum = 0u64;
        let mut start = 0;
        for &end in &rows.ends {
            sum = sum.wrapping_add(xxh3_64(&rows.bytes[start..end]));
            start = end;
        }
        let count = rows.len() as u64;
        self.checksum.add(count, sum);
        acknowledged(Acknowledged {
            query: block.query,
            epoch: block.epoch,
            rows: count,
            due_us: block.due_us,
        });
        Ok(())
    }

    fn poll(&mut self, _: &mut dyn FnMut(Acknowledged)) -> Result<()> {
        Ok(())
    }

    fn flush(&mut self, _: &mut dyn FnMut(Acknowledged)) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::EncodedRows;

    fn sum(blocks: &[&[&str]]) -> (u64, u64) {
        let checksum = Arc::new(Checksum::default());
        let mut sink = ChecksumSink::new(&checksum);
        let mut acknowledged = 0;
        for rows in blocks {
            let mut values = EncodedRows::default();
            for row in *rows {
                values.bytes.extend_from_slice(row.as_bytes());
                values.ends.push(values.bytes.len());
            }
            let block = RowBlock {
                envelopes: Vec::new(),
                query: 0,
                epoch: 0,
                values,
                keys: None,
                event_times_us: Vec::new(),
                due_us: 0,
                ready_ns: 0,
            };
            sink.write(block, &mut |rows| acknowledged += rows.rows)
                .expect("it refuses nothing");
        }
        assert_eq!(acknowledged, checksum.rows());
        (checksum.rows(), checksum.sum())
    }

    #[test]
    fn the_sum_knows_every_row_and_no_order() {
        assert_eq!(sum(&[&["a", "bc"], &["d"]]), sum(&[&["d"], &["bc", "a"]]));
        assert_ne!(sum(&[&["a", "bc"]]).1, sum(&[&["ab", "c"]]).1);
        assert_eq!(sum(&[&["a", "a"]]), (2, xxh3_64(b"a").wrapping_mul(2)));
    }
}
