//! The tier `buffered`: a call of librdkafka for each batch, in the shard's turn. The default.
//!
//! The batch call waits for a full batch until its timeout, so it is given none.

use std::ptr;

use rdkafka_sys as sys;
use velostream_shards::Ringer;

use super::Fetch;
use crate::kafka::batch_consume::Taken;
use crate::kafka::consumer_queue::ConsumerQueue;

/// Takes a batch at a time.
pub(super) struct Buffered {
    queue: ConsumerQueue,
    /// Room for a batch's records; those of the last `take` are destroyed with its `Taken`.
    room: Vec<*mut sys::rd_kafka_message_t>,
}

// SAFETY: between calls of `take` no pointer in `room` is live.
unsafe impl Send for Buffered {}

impl Buffered {
    pub(super) fn new(queue: ConsumerQueue) -> Buffered {
        Buffered {
            queue,
            room: Vec::new(),
        }
    }
}

impl Fetch for Buffered {
    fn take(&mut self, max: usize) -> Taken<'_> {
        if self.room.len() < max {
            self.room.resize(max, ptr::null_mut());
        }
        let count = self.queue.take(&mut self.room[..max]);
        // SAFETY: just taken.
        unsafe { Taken::owning(&mut self.room[..count]) }
    }

    fn ring_by(&mut self, ringer: Ringer) {
        self.queue.ring_by(ringer);
    }

    fn waiting(&self) -> usize {
        self.queue.len()
    }
}
