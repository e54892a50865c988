//! An open-loop feed: record `i` is due at `t0 + i / rate`, whether or not anybody keeps up.
//!
//! ```text
//!   records (partition, value) --due?--> producer --header velo.due_us--> broker
//!                                 ^ held back while 2 MiB are unread
//! ```
//!
//! Laws:
//! 1. A record's due time is its place in the schedule, never the time at which it was sent. A feed that is held back sends
//!    late and does not move the schedule, so the wait shows in the latency.
//! 2. What is sent and not yet consumed stays within `UNREAD_BYTES_MAX`, counting each unread record as the largest.
//! 3. No record is lost or doubled: the producer is idempotent, and the feed ends only when all is acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::kafka::{Outgoing, Producer, Sent, Settings};

use super::broker::UNREAD_BYTES_MAX;
use super::joined;

/// What a record takes in the broker beside its value, at most: header, key, lengths and its share of a batch.
const OVERHEAD_BYTES: u64 = 128;

/// How long the feed sleeps at most before it looks again.
const PAUSE_MAX: Duration = Duration::from_millis(1);

/// A record to be fed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedRecord {
    /// Its partition.
    pub partition: i32,
    /// Its value.
    pub value: Vec<u8>,
}

/// What a feed has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fed {
    /// Records sent and acknowledged.
    pub records: u64,
    /// How far behind its schedule a record was sent, at most, microseconds.
    pub behind_us_max: i64,
}

impl Fed {
    /// Of a feed that was never started.
    pub const NOTHING: Fed = Fed {
        records: 0,
        behind_us_max: 0,
    };
}

/// A feed on a thread of its own.
pub struct Feed {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Fed>>,
}

impl Feed {
    /// Feeds `records` to `topic` at `rate` records a second, the first due now. `consumed` tells how many records of the
    /// topic have been consumed so far, in any order; `wall_clock_us` the microseconds since the epoch. Errors of the
    /// producer's making come at once, later ones by `join`.
    pub fn start(
        settings: &Settings,
        topic: &str,
        records: Vec<FeedRecord>,
        rate: u32,
        mut consumed: impl FnMut() -> u64 + Send + 'static,
        wall_clock_us: fn() -> i64,
    ) -> Result<Feed> {
        assert!(rate > 0, "a feed without a rate never sends");
        let producer = Producer::new(settings, topic)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("velo-feed".into())
            .spawn(move || {
                let schedule = Schedule {
                    t0_us: wall_clock_us(),
                    rate,
                };
                feed(producer, &records, schedule, &mut consumed, &stopped)
            })
            .map_err(|cause| {
                Error::Permission(format!(
                    "the feed's thread cannot start: {cause}; see ulimit -u"
                ))
            })?;
        Ok(Feed { stop, thread })
    }

    /// Asks the feed to send nothing more.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether it has sent all it had to, was stopped, or failed.
    pub fn is_done(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for its end.
    pub fn join(self) -> Result<Fed> {
        joined(self.thread, "feed")
    }
}

/// When each record is due.
#[derive(Clone, Copy)]
struct Schedule {
    t0_us: i64,
    rate: u32,
}

impl Schedule {
    fn due_us(&self, record: u64) -> i64 {
        self.t0_us + (u128::from(record) * 1_000_000 / u128::from(self.rate)) as i64
    }
}

fn feed(
    mut producer: Producer,
    records: &[FeedRecord],
    schedule: Schedule,
    consumed: &mut dyn FnMut() -> u64,
    stop: &AtomicBool,
) -> Result<Fed> {
    let largest = records
        .iter()
        .map(|record| record.value.len() as u64)
        .max()
        .unwrap_or(0)
        + OVERHEAD_BYTES;
    let unread_max = (UNREAD_BYTES_MAX / largest).max(1);
    // The schedule's own clock: it started with `t0_us` and cannot be moved by the operator.
    let begun = Instant::now();
    let mut fed = Fed::NOTHING;
    let mut sent = 0;
    while sent < records.len() as u64 && !stop.load(Ordering::Relaxed) {
        let now_us = schedule.t0_us + begun.elapsed().as_micros() as i64;
        let room = (consumed() + unread_max).saturating_sub(sent);
        let (sent_before, last) = (sent, sent.saturating_add(room).min(records.len() as u64));
        while sent < last && schedule.due_us(sent) <= now_us {
            let record = &records[sent as usize];
            let due_us = schedule.due_us(sent);
            let outgoing = Outgoing {
                headers: &[],
                query: 0,
                epoch: 0,
                partition: Some(record.partition),
                key: None,
                value: Some(&record.value),
                timestamp_ms: None,
                due_us,
                due_header: true,
            };
            match producer.send(&outgoing)? {
                Sent::Queued => {
                    fed.behind_us_max = fed.behind_us_max.max(now_us - due_us);
                    sent += 1;
                }
                Sent::Full => break,
            }
        }
        let wait = if sent > sent_before {
            Duration::ZERO
        } else {
            PAUSE_MAX
        };
        producer.deliveries(wait, &mut |delivered| fed.records += delivered.records)?;
    }
    while producer.unacknowledged() > 0 {
        producer.deliveries(PAUSE_MAX, &mut |delivered| fed.records += delivered.records)?;
    }
    assert_eq!(
        fed.records, sent,
        "a record was neither acknowledged nor failed"
    );
    Ok(fed)
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::atomic::AtomicU64;
    use std::time::SystemTime;

    use super::super::broker::Broker;
    use super::super::read_back::ReadBack;
    use super::*;
    use crate::config::Property;
    use crate::kafka::{KafkaRecord, Layers};

    pub(in super::super) fn wall_clock_us() -> i64 {
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .expect("after 1970")
            .as_micros() as i64
    }

    pub(in super::super) fn settings(broker: &Broker) -> (Settings, Settings) {
        let every = [Property::built_in("bootstrap.servers", &broker.bootstrap())];
        let layers = Layers {
            every: &every,
            ..Layers::default()
        };
        (
            Settings::consumer(&layers, "velo-test").expect("valid"),
            Settings::producer(&layers).expect("valid"),
        )
    }

    pub(in super::super) fn records(count: usize, value: &[u8]) -> Vec<FeedRecord> {
        (0..count)
            .map(|number| FeedRecord {
                partition: number as i32 % 4,
                value: value.to_vec(),
            })
            .collect()
    }

    #[test]
    fn a_feed_keeps_its_schedule_and_all_of_it_is_read_back_in_order() {
        let broker = Broker::start(&["in", "out"], 4).expect("a broker");
        let (reading, writing) = settings(&broker);
        let mut reader = ReadBack::open(&reading, "in").expect("a reader");
        let begun = Instant::now();
        let feed = Feed::start(
            &writing,
            "in",
            records(2_000, b"v"),
            4_000,
            || 0,
            wall_clock_us,
        )
        .expect("a feed");
        let mut due_times = Vec::new();
        while due_times.len() < 2_000 {
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "{} records read",
                due_times.len()
            );
            let due = |record: &KafkaRecord<'_>| record.due_us().expect("a due time");
            let count = reader
                .poll(|record| due_times.push(due(record)))
                .expect("no gap");
            if count == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        assert!(
            begun.elapsed() >= Duration::from_micros(1_999 * 250),
            "sent before it was due"
        );
        assert_eq!(feed.join().expect("fed").records, 2_000);
        assert_eq!(reader.next_offsets(), [500; 4]);
        due_times.sort_unstable();
        let steps: Vec<i64> = due_times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(
            steps.iter().all(|step| *step == 250),
            "record i is due at t0 + i / rate"
        );
    }

    #[test]
    fn a_feed_waits_for_a_consumer_that_is_behind_and_loses_nothing() {
        let broker = Broker::start(&["in"], 4).expect("a broker");
        let (reading, writing) = settings(&broker);
        let consumed = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&consumed);
        // 30 MB in 4 partitions of 5 MiB: without waiting, the broker would drop a third.
        let (count, value) = (300, vec![b'v'; 100_000]);
        let consumed_so_far = move || seen.load(Ordering::Relaxed);
        let feed = Feed::start(
            &writing,
            "in",
            records(count, &value),
            1_000_000,
            consumed_so_far,
            wall_clock_us,
        )
        .expect("a feed");
        std::thread::sleep(Duration::from_millis(300));
        let mut reader = ReadBack::open(&reading, "in").expect("a reader");
        let begun = Instant::now();
        while consumed.load(Ordering::Relaxed) < count as u64 {
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "{consumed:?} records read"
            );
            let read = reader
                .poll(|record| assert_eq!(record.value().map(<[u8]>::len), Some(100_000)))
                .expect("no gap");
            consumed.fetch_add(read as u64, Ordering::Relaxed);
            if read == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        let fed = feed.join().expect("fed");
        assert_eq!(fed.records, count as u64);
        assert!(fed.behind_us_max > 200_000, "the wait shows: {fed:?}");
    }

    #[test]
    fn a_feed_stops_when_asked() {
        let broker = Broker::start(&["in"], 4).expect("a broker");
        let (_, writing) = settings(&broker);
        let feed = Feed::start(
            &writing,
            "in",
            records(1_000_000, b"v"),
            100,
            || 0,
            wall_clock_us,
        )
        .expect("a feed");
        std::thread::sleep(Duration::from_millis(100));
        feed.stop();
        let fed = feed.join().expect("stopped");
        assert!(fed.records > 0 && fed.records < 1_000, "{fed:?}");
    }
}
