//! Ringing a doorbell when something comes by one of librdkafka's queues.
//!
//! ```text
//!   librdkafka's thread: queue was empty, is not --on_queue (under the queue's lock)--> Ringer --> the thread that serves it
//! ```
//!
//! Laws:
//! 1. librdkafka calls when a queue that was empty is so no more, and not again before it was emptied. Whoever serves the
//!    queue therefore takes until there is nothing, and looks once more after it has armed its doorbell.
//! 2. The call comes while the queue is locked, so nobody takes what was not rung for, and it may not come once it was
//!    switched off: `Drop` returns after the last.
//! 3. Ringing does not wait and calls nothing of librdkafka.

use std::ffi::c_void;
use std::ptr::{self, NonNull};

use rdkafka_sys as sys;
use velostream_shards::Ringer;

/// Rings while it lives. Dropped before the client of the queue.
pub(super) struct QueueBell {
    queue: NonNull<sys::rd_kafka_queue_t>,
    /// At an address of its own, which librdkafka keeps.
    _ringer: Box<Ringer>,
}

// SAFETY: a queue may be used from any thread, and a ringer rings from any.
unsafe impl Send for QueueBell {}

impl QueueBell {
    /// Rings by `ringer` from now on.
    ///
    /// # Safety
    /// `queue` is alive and a reference of its own, which is given up here, and its client outlives this.
    pub(super) unsafe fn new(queue: NonNull<sys::rd_kafka_queue_t>, ringer: Ringer) -> QueueBell {
        let ringer = Box::new(ringer);
        let opaque = ptr::from_ref(&*ringer).cast_mut().cast::<c_void>();
        // SAFETY: the queue is alive; the ringer stays where it is until `Drop` has switched the callback off.
        unsafe { sys::rd_kafka_queue_cb_event_enable(queue.as_ptr(), Some(on_queue), opaque) };
        QueueBell {
            queue,
            _ringer: ringer,
        }
    }
}

impl Drop for QueueBell {
    fn drop(&mut self) {
        // SAFETY: the queue is alive, and this reference to it is ours. Switching off takes the queue's lock, under which
        // the callback runs: none runs after it.
        unsafe {
            sys::rd_kafka_queue_cb_event_enable(self.queue.as_ptr(), None, ptr::null_mut());
            sys::rd_kafka_queue_destroy(self.queue.as_ptr());
        }
    }
}

/// Runs on any of librdkafka's threads, under the queue's lock.
unsafe extern "C" fn on_queue(_client: *mut sys::rd_kafka_t, opaque: *mut c_void) {
    // SAFETY: the pointer is that of `QueueBell::new`, whose `Drop` ends the callbacks before it goes.
    let ringer = unsafe { &*opaque.cast::<Ringer>() };
    ringer.ring();
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::{Duration, Instant};

    use velostream_shards::{Doorbell, Doorbells};

    use crate::kafka::mock;
    use crate::kafka::{Consumer, Event, Fetching, Outgoing, Position, Producer, Sent};

    /// Longer than any test may take: whoever sleeps that long was forgotten.
    const LONG: Duration = Duration::from_secs(30);

    fn record(partition: i32) -> Outgoing<'static> {
        Outgoing {
            headers: &[],
            query: 0,
            epoch: 0,
            partition: Some(partition),
            key: None,
            value: Some(b"1"),
            timestamp_ms: Some(5),
            due_us: 0,
            due_header: false,
        }
    }

    /// Calls `step` until it says that all is done; sleeps by `bell` whenever it says that nothing was there.
    fn run(bell: &Doorbell, mut step: impl FnMut() -> Option<bool>) {
        let begun = Instant::now();
        while let Some(progressed) = step() {
            match (progressed, bell.is_armed()) {
                (true, true) => {
                    bell.disarm();
                }
                (true, false) => {}
                (false, false) => bell.arm(),
                (false, true) => bell.sleep(LONG),
            }
        }
        assert!(begun.elapsed() < LONG, "slept over what had come");
    }

    #[test]
    fn a_consumer_and_a_producer_ring_for_all_that_comes() {
        const RECORDS: usize = 300;
        let broker = mock::broker(&[("t", 3)]);
        let consumed = Doorbells::open(1).expect("there are descriptors");
        let acknowledged = Doorbells::open(1).expect("there are descriptors");
        let positions = [0, 1, 2].map(|partition| (partition, Position::Oldest));
        let mut consumer =
            Consumer::new(&broker.consumer(&[]), "t", &positions, Fetching::Buffered)
                .expect("a consumer");
        consumer.ring_by(consumed.ringer_of_job());
        let mut producer = Producer::new(&broker.producer(&[]), "t").expect("a producer");
        producer.ring_by(acknowledged.ringer_of_job());

        let writer = thread::spawn(move || {
            let bell = acknowledged.of_job();
            for number in 0..RECORDS {
                let sent = producer.send(&record(number as i32 % 3)).expect("queued");
                assert_eq!(sent, Sent::Queued);
                if number % 7 == 0 {
                    thread::sleep(Duration::from_millis(number as u64 % 5));
                }
                // Now and then it waits until all is acknowledged.
                if number % 31 == 0 || number + 1 == RECORDS {
                    run(&bell, || {
                        if producer.unacknowledged() == 0 {
                            return None;
                        }
                        let mut progressed = false;
                        producer
                            .deliveries(Duration::ZERO, &mut |_| progressed = true)
                            .expect("delivered");
                        Some(progressed)
                    });
                }
            }
        });
        let mut read = 0;
        run(&consumed.of_job(), || {
            if read == RECORDS {
                return None;
            }
            let taken = consumer.take(16);
            read += taken
                .events()
                .filter(|event| matches!(event, Event::Record(_)))
                .count();
            Some(!taken.is_empty())
        });
        writer.join().expect("the writer does not panic");
    }

    #[test]
    fn a_client_that_goes_while_records_come_rings_nobody_that_is_gone() {
        let broker = mock::broker(&[("t", 1)]);
        let mut producer = Producer::new(&broker.producer(&[]), "t").expect("a producer");
        for _ in 0..10 {
            let doorbells = Doorbells::open(1).expect("there are descriptors");
            let positions = [(0, Position::Oldest)];
            let mut consumer =
                Consumer::new(&broker.consumer(&[]), "t", &positions, Fetching::Buffered)
                    .expect("a consumer");
            consumer.ring_by(doorbells.ringer_of_job());
            drop(doorbells);
            for _ in 0..100 {
                assert_eq!(producer.send(&record(0)).expect("queued"), Sent::Queued);
                producer
                    .deliveries(Duration::ZERO, &mut |_| ())
                    .expect("delivered");
            }
            thread::sleep(Duration::from_millis(2));
            drop(consumer);
        }
    }
}
