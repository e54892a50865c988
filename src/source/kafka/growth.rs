//! A topic that is read without end changes: it gets more partitions, other brokers lead them, or it goes.
//!
//! ```text
//!   every 10 s: ask --> n partitions known, m there now --> partition p in n..m: shard p mod readers reads it from its start
//! ```
//!
//! Law: every partition is in exactly one shard's share. Each shard asks for itself and nobody tells the others, so the rule is one
//! that all compute alike: partition `p` is read by shard `p mod readers`, where the readers are the shards that had a partition
//! when the run began. A shard that had none has no client, and gets none before the next run.

use crate::config::limits::{IDLE_LOOK_NS, KAFKA_WATCH_NS};
use crate::error::{Error, Result};
use crate::kafka::{Consumer, Described};
use crate::time::PartitionClock;

use super::partition::Partition;
use super::{NOT_OURS, Range};

/// Which of a topic's partitions, present and future, a source reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The shard that reads.
    pub shard: usize,
    /// How many shards read this topic.
    pub readers: usize,
    /// Partitions that the topic had when the run began.
    pub partitions: usize,
}

impl Share {
    /// The share of `shard` among `shards`, of a topic of `partitions`: what `deal` deals.
    pub fn of(shard: usize, shards: usize, partitions: usize) -> Share {
        Share {
            shard,
            readers: shards.min(partitions),
            partitions,
        }
    }

    /// Whether this source reads `partition`.
    fn has(&self, partition: usize) -> bool {
        partition % self.readers == self.shard
    }
}

/// What has become of the topic.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// Partitions of this share that were added.
    pub added: Vec<i32>,
    /// Who leads each partition, from 0 on.
    pub leaders: Vec<i32>,
    /// What the operator should know; told by one shard of all.
    pub notice: Option<String>,
}

/// Asks about the topic and remembers what it said.
#[derive(Debug)]
pub(super) struct Growth {
    share: Share,
    known: usize,
    ask_ns: u64,
    look_ns: u64,
    /// Answers in a row that did not know the topic.
    missed: u32,
}

/// Answers in a row, so far apart, after which a topic is taken for deleted: a broker that has just started may not know it yet.
const MISSED_MAX: u32 = 4;

impl Growth {
    /// Knows what `share` says; asks for the first time a while after `now_ns`.
    pub(super) fn new(share: Share, now_ns: u64) -> Growth {
        Growth {
            share,
            known: share.partitions,
            ask_ns: now_ns + KAFKA_WATCH_NS,
            look_ns: now_ns + KAFKA_WATCH_NS,
            missed: 0,
        }
    }

    /// Asks, or takes the answer, when it is time. `Error::Connector` when the topic is gone for good.
    pub(super) fn look(
        &mut self,
        now_ns: u64,
        topic: &str,
        consumer: &mut Consumer,
    ) -> Result<Option<Change>> {
        if now_ns < self.look_ns {
            return Ok(None);
        }
        if now_ns >= self.ask_ns {
            consumer.ask_topic();
            self.ask_ns = now_ns + KAFKA_WATCH_NS;
        }
        let Some(described) = consumer.described() else {
            self.look_ns = self.ask_ns.min(now_ns + IDLE_LOOK_NS);
            return Ok(None);
        };
        self.look_ns = self.ask_ns;
        self.take(described, topic)
    }

    /// When a look is worth while, monotonic clock, nanoseconds.
    pub(super) fn looks_ns(&self) -> u64 {
        self.look_ns
    }

    fn take(&mut self, described: Described, topic: &str) -> Result<Option<Change>> {
        let leaders = match described {
            Described::Leaders(leaders) => leaders,
            Described::Nothing => return Ok(None),
            Described::Unknown => {
                self.missed += 1;
                return match self.missed < MISSED_MAX {
                    true => Ok(None),
                    false => Err(Error::Connector(format!(
                        "reading topic {topic} failed: its brokers do not know it any more; the topic was deleted while it was read"
                    ))),
                };
            }
        };
        self.missed = 0;
        let now = leaders.len().max(self.known);
        let known = std::mem::replace(&mut self.known, now);
        let new = known..self.known;
        let added = new.clone().filter(|&partition| self.share.has(partition));
        let added = added.map(|partition| i32::try_from(partition).expect("Kafka counts so"));
        let notice = (!new.is_empty() && self.share.shard == 0).then(|| {
            format!(
                "topic {topic} has {} partitions now, {} more than before; they are read from their start",
                self.known,
                new.len()
            )
        });
        Ok(Some(Change {
            added: added.collect(),
            leaders,
            notice,
        }))
    }
}

/// Reads the partitions that were added to the share. Whether there were any.
pub(super) fn take_up(
    change: &Change,
    consumer: &mut Consumer,
    partitions: &mut Vec<Partition>,
    places: &mut Vec<u32>,
    (clock, step_us): (&PartitionClock, Option<i64>),
) -> Result<bool> {
    for &partition in &change.added {
        let range = Range {
            partition,
            start: 0,
            end: None,
            oldest: true,
            restored: None,
        };
        consumer.add(partition, range.position())?;
        let number = usize::try_from(partition).expect("a partition is not negative");
        places.resize(places.len().max(number + 1), NOT_OURS);
        assert_eq!(
            places[number], NOT_OURS,
            "partition {partition} was dealt twice"
        );
        places[number] = u32::try_from(partitions.len()).expect("fewer partitions than that");
        partitions.push(Partition::new(&range, clock.clone(), step_us));
    }
    Ok(!change.added.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::kafka::deal;

    #[test]
    fn a_new_partition_is_in_exactly_one_share_and_goes_on_as_the_first_were_dealt() {
        for shards in 1..6 {
            for partitions in 1..8 {
                let numbers: Vec<usize> = (0..partitions).collect();
                let shares = deal(&numbers, shards);
                let mut read = 0;
                for (shard, dealt) in shares
                    .iter()
                    .enumerate()
                    .filter(|(_, dealt)| !dealt.is_empty())
                {
                    let share = Share::of(shard, shards, partitions);
                    let of_share = (0..partitions).filter(|&partition| share.has(partition));
                    assert_eq!(of_share.collect::<Vec<_>>(), *dealt);
                    let mut growth = Growth::new(share, 0);
                    let leaders = Described::Leaders(vec![1; partitions + 5]);
                    let change = growth.take(leaders, "t").expect("the topic is there");
                    let change = change.expect("an answer");
                    assert_eq!(change.notice.is_some(), shard == 0);
                    read += change.added.len();
                    let same = Described::Leaders(vec![1; partitions + 5]);
                    let again = growth.take(same, "t").expect("there").expect("an answer");
                    assert!(again.added.is_empty() && again.notice.is_none());
                }
                assert_eq!(read, 5, "{shards} shards, {partitions} partitions");
            }
        }
    }

    #[test]
    fn a_topic_is_gone_when_its_brokers_say_so_for_a_while() {
        let mut growth = Growth::new(Share::of(0, 1, 1), 0);
        for _ in 1..MISSED_MAX {
            assert_eq!(growth.take(Described::Unknown, "t").expect("not yet"), None);
            assert_eq!(growth.take(Described::Nothing, "t").expect("nothing"), None);
        }
        let error = growth
            .take(Described::Unknown, "t")
            .expect_err("it is gone");
        assert!(error.to_string().contains("topic t") && error.to_string().contains("deleted"));
    }
}
