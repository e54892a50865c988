//! A Kafka topic as a sink: one idempotent producer for the whole job.
//!
//! ```text
//!   RowBlock --write--> producer's queue --> partition of murmur2(key) --> broker --delivery--> Acknowledged
//! ```
//!
//! Laws, beside those of `Sink`:
//! 1. No row is lost because a queue is full: the rest of the block is kept and tried again whenever deliveries were served,
//!    while the job goes on looking at its signals. It ends because brokers take rows, however slowly; when none has taken any
//!    for `SINK_PATIENCE_S` (or a row has waited for `message.timeout.ms`, if that is set), the run ends with an error.
//! 2. A keyed row goes to the partition to which the Java client would send it, so that topics are co-partitioned.
//! 3. A row's timestamp is its event time, but neither before 1970-01-01 00:00:00.001 nor in the future, which brokers
//!    refuse; librdkafka takes 0 for "now", hence the millisecond.

mod envelope;
mod key;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use velostream_shards::Ringer;

use crate::config::limits::SINK_PATIENCE_S;
use crate::error::{Error, Result};
use crate::kafka::{Delivered, Outgoing, Producer, RecordLimit, Sent, Settings};

use super::{Acknowledged, RowBlock, Sink};

pub use envelope::{Envelope, MessageHeader};
pub use key::{KeyEncoder, MessageKeys};

/// Writes rows to a topic.
pub struct KafkaSink {
    producer: Producer,
    /// How long rows may wait while none is acknowledged.
    patience: Duration,
    /// When one was last acknowledged, or none waited.
    moved: Instant,
    wall_clock_us: fn() -> i64,
    /// Whether rows carry their due time as a header.
    due_header: bool,
    /// A block that the producer's queue had no room for, and how many of its rows it has taken.
    kept: Option<(RowBlock, usize)>,
}

/// How long one wait for deliveries lasts while a flush goes on.
const DELIVERY_WAIT: Duration = Duration::from_millis(50);

impl KafkaSink {
    /// A sink that writes to `topic`. Asks for the topic first, which may make the broker create it; `Error::Connector`
    /// within 10 s if no broker answers or the topic is not there. `wall_clock_us` tells microseconds since the epoch.
    pub fn open(settings: &Settings, topic: &str, wall_clock_us: fn() -> i64) -> Result<KafkaSink> {
        let producer = Producer::new(settings, topic)?;
        let timeout_ms = settings
            .property("message.timeout.ms")
            .and_then(|text| text.parse().ok());
        // One that is kept secret is librdkafka's alone.
        let timeout_ms: u64 = timeout_ms.unwrap_or(0);
        Ok(KafkaSink {
            producer,
            // A row that is timed out is told by librdkafka; its report takes a little.
            patience: match timeout_ms {
                0 => Duration::from_secs(SINK_PATIENCE_S),
                set => Duration::from_millis(set + 5_000),
            },
            moved: Instant::now(),
            wall_clock_us,
            due_header: false,
            kept: None,
        })
    }

    /// Lets each row carry the due time of its block as the header `velo.due_us`: for a feed, whose rows somebody else reads.
    #[must_use]
    pub fn with_due_header(self) -> KafkaSink {
        KafkaSink {
            due_header: true,
            ..self
        }
    }

    /// Queues the rows of `block` from `next` on, and keeps the block if there is no room for all.
    fn queue(&mut self, block: RowBlock, mut next: usize) -> Result<()> {
        let now_ms = (self.wall_clock_us)() / 1000;
        while next < block.values.len() {
            let envelope = block.envelopes.get(next);
            let is_tombstone = envelope.is_some_and(|envelope| envelope.is_tombstone);
            let record = Outgoing {
                partition: None,
                key: block.keys.as_ref().and_then(|keys| keys.key(next)),
                value: (!is_tombstone).then(|| block.values.row(next)),
                headers: envelope.map_or(&[], |envelope| &envelope.headers),
                timestamp_ms: block
                    .event_times_us
                    .get(next)
                    .map(|&time_us| timestamp_ms(time_us, now_ms)),
                query: block.query,
                epoch: block.epoch,
                due_us: block.due_us,
                due_header: self.due_header,
            };
            if self.producer.send(&record)? == Sent::Full {
                self.kept = Some((block, next));
                break;
            }
            next += 1;
        }
        Ok(())
    }

    /// Waits up to `wait` for deliveries, then queues what was kept.
    fn serve(&mut self, wait: Duration, acknowledged: &mut dyn FnMut(Acknowledged)) -> Result<()> {
        let waited = self.producer.unacknowledged();
        self.producer.deliveries(wait, &mut |delivered| {
            acknowledged(acknowledgement(delivered))
        })?;
        let waiting = self.producer.unacknowledged();
        if waiting == 0 || waiting < waited {
            self.moved = Instant::now();
        } else if self.moved.elapsed() >= self.patience {
            return Err(Error::Connector(format!(
                "{waiting} rows wait to be written to topic {}, and its brokers at {} have taken none for {} s: see that they run",
                self.producer.topic(),
                self.producer.client().bootstrap(),
                self.patience.as_secs()
            )));
        }
        match self.kept.take() {
            Some((block, next)) => self.queue(block, next),
            None => Ok(()),
        }
    }
}

/// The timestamp of a row's record: its event time in milliseconds, within [1 ms, now].
fn timestamp_ms(event_time_us: i64, now_ms: i64) -> i64 {
    event_time_us.div_euclid(1000).min(now_ms).max(1)
}

fn acknowledgement(delivered: Delivered) -> Acknowledged {
    Acknowledged {
        query: delivered.query,
        epoch: delivered.epoch,
        rows: delivered.records,
        due_us: delivered.due_us,
    }
}

impl Sink for KafkaSink {
    fn has_room(&self) -> bool {
        self.kept.is_none()
    }

    fn write(&mut self, block: RowBlock, acknowledged: &mut dyn FnMut(Acknowledged)) -> Result<()> {
        let rows = block.values.len();
        assert!(
            block.keys.as_ref().is_none_or(|keys| keys.len() == rows),
            "a key was lost or gained"
        );
        assert!(
            block.event_times_us.is_empty() || block.event_times_us.len() == rows,
            "an event time was lost or gained"
        );
        assert!(
            block.envelopes.is_empty() || block.envelopes.len() == rows,
            "an envelope was lost or gained"
        );
        assert!(self.kept.is_none(), "a sink without room is not written to");
        self.queue(block, 0)?;
        self.poll(acknowledged)
    }

    fn poll(&mut self, acknowledged: &mut dyn FnMut(Acknowledged)) -> Result<()> {
        self.serve(Duration::ZERO, acknowledged)
    }

    fn ring_by(&mut self, ringer: Ringer) {
        self.producer.ring_by(ringer);
    }

    fn flush(&mut self, acknowledged: &mut dyn FnMut(Acknowledged)) -> Result<()> {
        while self.kept.is_some() || self.producer.unacknowledged() > 0 {
            self.serve(DELIVERY_WAIT, acknowledged)?;
        }
        Ok(())
    }

    fn row_limit(&self) -> Option<RecordLimit> {
        Some(self.producer.limit().clone())
    }

    fn take_notices(&mut self) -> Vec<String> {
        self.producer.client().take_notices()
    }
}
