//! The tier `standard`: a call of librdkafka for each record.
//!
//! What a client without a batch call does. Each call reads clocks, takes the queue's lock and the partition's; it costs a
//! busy shard a multiple of `buffered` (docs/PERFORMANCE.md) and a seldom woken one nothing more.

use rdkafka_sys as sys;
use velostream_shards::Ringer;

use super::Fetch;
use crate::kafka::batch_consume::Taken;
use crate::kafka::consumer_queue::ConsumerQueue;

/// Takes record by record.
pub(super) struct Standard {
    queue: ConsumerQueue,
    /// The records of the last `take`; destroyed with its `Taken`.
    taken: Vec<*mut sys::rd_kafka_message_t>,
}

// SAFETY: between calls of `take` no pointer in `taken` is live.
unsafe impl Send for Standard {}

impl Standard {
    pub(super) fn new(queue: ConsumerQueue) -> Standard {
        Standard {
            queue,
            taken: Vec::new(),
        }
    }
}

impl Fetch for Standard {
    fn take(&mut self, max: usize) -> Taken<'_> {
        self.taken.clear();
        while self.taken.len() < max
            && let Some(record) = self.queue.take_one()
        {
            self.taken.push(record.as_ptr());
        }
        // SAFETY: just taken.
        unsafe { Taken::owning(&mut self.taken) }
    }

    fn ring_by(&mut self, ringer: Ringer) {
        self.queue.ring_by(ringer);
    }

    fn waiting(&self) -> usize {
        self.queue.len()
    }
}
