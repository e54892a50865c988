//! The tier `dedicated`: a helper's thread takes batches ahead of the shard and hands them over by a lane.
//!
//! ```text
//!   queue --rings--> helper: one call a batch --Batch of pointers--> lane --> shard: lends them to be decoded in place
//!                    helper: destroys them    <----spent Batch------ ring <-- shard
//! ```
//!
//! Laws:
//! 1. Pointers cross, never bytes. A batch has one owner at any time, and whoever drops it destroys its records.
//! 2. Spent batches go back to be destroyed by the helper, so that the shard spends next to nothing on librdkafka's memory;
//!    it destroys one itself only when there is no room on the way back.
//! 3. What waits between the two is bounded by the lane, `FETCH_LANE_BLOCKS` of at most `FETCH_BLOCK_RECORDS`.
//!
//! The thread stands where the thread stood that opened the consumer: on the cores that are kept for clients, if there are any.

use std::ptr;

use rdkafka_sys as sys;
use velostream_shards::{Help, Helper, HelperSeat, Ringer};

use super::Fetch;
use crate::config::limits::{FETCH_BLOCK_RECORDS, FETCH_LANE_BLOCKS};
use crate::error::{Error, Result};
use crate::kafka::batch_consume::{Taken, destroy};
use crate::kafka::consumer_queue::ConsumerQueue;

/// The shard's end.
pub(super) struct Dedicated {
    helper: Helper<Batch>,
    /// The batch that is read, and how many of its records the shard has had.
    batch: Batch,
    had: usize,
    /// To look at its length.
    queue: ConsumerQueue,
}

impl Dedicated {
    /// Starts the helper, which takes from `queue`; `another` reference to it stays here.
    pub(super) fn start(
        seat: HelperSeat,
        mut queue: ConsumerQueue,
        another: ConsumerQueue,
    ) -> Result<Dedicated> {
        queue.ring_by(seat.ringer());
        let name = format!("fetch-{}", seat.shard().0);
        let fetcher = Fetcher {
            queue,
            spare: Vec::new(),
        };
        let helper = Helper::start(seat, name, FETCH_LANE_BLOCKS, fetcher).map_err(|cause| {
            Error::Permission(format!(
                "the thread of the tier dedicated cannot start: {cause}; see ulimit -u, or choose tier = 'buffered'"
            ))
        })?;
        Ok(Dedicated {
            helper,
            batch: Batch::default(),
            had: 0,
            queue: another,
        })
    }
}

impl Fetch for Dedicated {
    fn take(&mut self, max: usize) -> Taken<'_> {
        if self.had == self.batch.records.len() {
            let next = self.helper.take().unwrap_or_default();
            let spent = std::mem::replace(&mut self.batch, next);
            self.had = 0;
            if !spent.records.is_empty() {
                self.helper.give_back(spent);
            }
        }
        let records = &mut self.batch.records[self.had..];
        let count = records.len().min(max);
        self.had += count;
        // SAFETY: the batch's records are live until it is dropped or given back, at the next call.
        unsafe { Taken::lending(&mut records[..count]) }
    }

    /// Its lane rings, by the shard's own doorbell.
    fn ring_by(&mut self, _ringer: Ringer) {}

    fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// A full lane, one block that the shard reads, and one in the helper's hands.
    fn between_max(&self) -> usize {
        (FETCH_LANE_BLOCKS + 2) * FETCH_BLOCK_RECORDS
    }
}

/// The helper's end.
struct Fetcher {
    queue: ConsumerQueue,
    /// Batches that hold nothing, to be filled again.
    spare: Vec<Batch>,
}

impl Help for Fetcher {
    type Block = Batch;

    fn prepare(&mut self) -> Option<Batch> {
        let mut batch = self.spare.pop().unwrap_or_default();
        batch.records.resize(FETCH_BLOCK_RECORDS, ptr::null_mut());
        let count = self.queue.take(&mut batch.records);
        batch.records.truncate(count);
        if count == 0 {
            self.spare.push(batch);
            return None;
        }
        Some(batch)
    }

    fn take_back(&mut self, mut spent: Batch) {
        spent.clear();
        self.spare.push(spent);
    }
}

/// Records taken from a queue: all of them live, and this one's own.
#[derive(Default)]
struct Batch {
    records: Vec<*mut sys::rd_kafka_message_t>,
}

// SAFETY: a record may be used from any thread, by one at a time: the batch is its only owner.
unsafe impl Send for Batch {}

impl Batch {
    fn clear(&mut self) {
        // SAFETY: the records are live and this batch's own, and are forgotten here.
        unsafe { destroy(&mut self.records) };
        self.records.clear();
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.clear();
    }
}
