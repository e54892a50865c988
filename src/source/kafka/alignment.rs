//! Partitions that have run ahead of the slowest input are paused, and go on when it has come nearer (`watermark.max_drift`).
//!
//! ```text
//!   before each take:   watermark beyond `most` --pause--> nothing is fetched, what was is let go      at or below `again` --resume-->
//! ```
//!
//! Laws: a partition that is paused is not idle: nobody asks its broker for an end. One that stands at its end is not paused, for
//! there is nothing to hold; so one that is or falls idle never waits. What is taken after a pause, out of a helper's hands, is
//! read as ever. After a resume the client reads on behind the last record that was read; what was in a helper's hands then comes
//! twice, and is passed over the second time. It says again where the end is.

use crate::kafka::Consumer;
use crate::time::Ahead;

use super::partition::Partition;

/// Pauses and resumes `partitions` so that none takes more beyond `ahead`.
pub(super) fn hold_back(partitions: &mut [Partition], consumer: &mut Consumer, ahead: Ahead) {
    for partition in partitions.iter_mut().filter(|one| !one.ended) {
        let waits = partition.still.is_at_end();
        let admitted = waits || ahead.admits(partition.clock.watermark(), partition.paused);
        match (admitted, partition.paused) {
            (true, true) => {
                partition.repeats_from = Some(partition.next_offset);
                consumer.resume(partition.partition, partition.next_offset);
            }
            (false, false) => consumer.pause(partition.partition),
            (true, false) | (false, true) => {}
        }
        partition.paused = !admitted;
    }
}
