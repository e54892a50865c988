//! Orders into a topic: all at once, or open loop.
//!
//! Law of the open loop: record `i` is due at `t0 + i / rate`, whether or not anybody keeps up, and carries that time, not the
//! one at which it was sent.

use std::time::{Duration, Instant};

use velostream_shards::SystemClock;

use crate::bench::orders::Orders;
use crate::error::Result;
use crate::kafka::{Outgoing, Producer, Sent, Settings};

/// How long to wait for deliveries where there is nothing else to do.
const PAUSE: Duration = Duration::from_millis(1);

/// Writes all of `orders`, each to its partition.
pub(super) fn fill(settings: &Settings, topic: &str, orders: &Orders) -> Result<()> {
    let mut producer = Producer::new(settings, topic)?;
    for (partition, value) in orders.placed() {
        send(&mut producer, &outgoing(partition, value, None))?;
    }
    drain(&mut producer)
}

/// Writes `rate` of `orders` a second, the first due now.
pub(super) fn feed(settings: &Settings, topic: &str, orders: &Orders, rate: u64) -> Result<()> {
    assert!(rate > 0, "a feed without a rate never sends");
    let mut producer = Producer::new(settings, topic)?;
    // The schedule's own clock starts with the wall clock and cannot be moved by the operator.
    let (t0_us, begun) = (SystemClock.wall_us(), Instant::now());
    for (number, (partition, value)) in orders.placed().enumerate() {
        let after = Duration::from_micros(number as u64 * 1_000_000 / rate);
        while begun.elapsed() < after {
            producer.deliveries(PAUSE, &mut |_| ())?;
        }
        let due_us = t0_us + after.as_micros() as i64;
        send(&mut producer, &outgoing(partition, value, Some(due_us)))?;
    }
    drain(&mut producer)
}

fn outgoing(partition: usize, value: &[u8], due_us: Option<i64>) -> Outgoing<'_> {
    Outgoing {
        partition: Some(i32::try_from(partition).expect("few partitions")),
        key: None,
        headers: &[],
        value: Some(value),
        timestamp_ms: None,
        query: 0,
        epoch: 0,
        due_us: due_us.unwrap_or_default(),
        due_header: due_us.is_some(),
    }
}

fn send(producer: &mut Producer, record: &Outgoing<'_>) -> Result<()> {
    while producer.send(record)? == Sent::Full {
        producer.deliveries(PAUSE, &mut |_| ())?;
    }
    Ok(())
}

/// Waits until the broker has acknowledged all.
fn drain(producer: &mut Producer) -> Result<()> {
    while producer.unacknowledged() > 0 {
        producer.deliveries(PAUSE, &mut |_| ())?;
    }
    Ok(())
}
