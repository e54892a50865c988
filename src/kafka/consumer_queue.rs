//! The queue by which all comes that one consumer reads: records, ends of partitions, errors, and the callbacks of its client.
//!
//! Law: whoever takes from the queue serves the client, so one of its holders takes; another may only look at its length. All
//! of them are gone before the client.

use std::ptr::NonNull;

use rdkafka_sys as sys;
use velostream_shards::Ringer;

use super::Client;
use super::queue_bell::QueueBell;

/// A reference to librdkafka's queue of a consumer. Dropped before its client.
pub(super) struct ConsumerQueue {
    bell: Option<QueueBell>,
    queue: NonNull<sys::rd_kafka_queue_t>,
    client: NonNull<sys::rd_kafka_t>,
}

// SAFETY: librdkafka's queues and clients may be used from any thread.
unsafe impl Send for ConsumerQueue {}

impl ConsumerQueue {
    /// A reference to the queue of `client`, which has a group and outlives this.
    pub(super) fn new(client: &Client) -> ConsumerQueue {
        let client = NonNull::new(client.as_ptr()).expect("a client is not null");
        ConsumerQueue {
            bell: None,
            queue: reference(client),
            client,
        }
    }

    /// Rings when something has come, from now on; what is there already is found by whoever takes.
    pub(super) fn ring_by(&mut self, ringer: Ringer) {
        // SAFETY: the reference is the bell's own, and the client outlives `self` and thus the bell.
        self.bell = Some(unsafe { QueueBell::new(reference(self.client), ringer) });
    }

    /// How many events lie in it.
    pub(super) fn len(&self) -> usize {
        // SAFETY: the queue is alive.
        unsafe { sys::rd_kafka_queue_length(self.as_ptr()) }
    }

    /// Takes as many events as are there and fit, without waiting, by one call. Returns how many records were written to the
    /// front of `room`: live, and the caller's.
    pub(super) fn take(&self, room: &mut [*mut sys::rd_kafka_message_t]) -> usize {
        // SAFETY: the queue is alive, and `room` has space for as many pointers. Callbacks that run in passing only note.
        let count = unsafe {
            sys::rd_kafka_consume_batch_queue(self.as_ptr(), 0, room.as_mut_ptr(), room.len())
        };
        usize::try_from(count).expect("the call fails only for a partition that it does not know")
    }

    /// Takes one event, without waiting: live, and the caller's.
    pub(super) fn take_one(&self) -> Option<NonNull<sys::rd_kafka_message_t>> {
        // SAFETY: the queue is alive. Callbacks that run in passing only note.
        NonNull::new(unsafe { sys::rd_kafka_consume_queue(self.as_ptr(), 0) })
    }

    fn as_ptr(&self) -> *mut sys::rd_kafka_queue_t {
        self.queue.as_ptr()
    }
}

impl Drop for ConsumerQueue {
    fn drop(&mut self) {
        // SAFETY: the reference is alive and ours; the bell has one of its own.
        unsafe { sys::rd_kafka_queue_destroy(self.as_ptr()) }
    }
}

/// Another reference to the queue of this client, which is alive.
fn reference(client: NonNull<sys::rd_kafka_t>) -> NonNull<sys::rd_kafka_queue_t> {
    // SAFETY: the client is alive, as every `ConsumerQueue` is dropped before it.
    let queue = unsafe { sys::rd_kafka_queue_get_consumer(client.as_ptr()) };
    NonNull::new(queue).expect("a consumer with a group has a queue")
}
