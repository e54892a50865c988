//! The offsets that a consumer group keeps of one topic, each with a short text beside it.
//!
//! ```text
//!   committed: asks the group's coordinator, once, before a run starts
//!   commit ---> librdkafka ---> coordinator ---> poll: what became of it
//! ```
//!
//! Laws:
//! 1. A commit is asked for here and nowhere else: librdkafka's own are switched off (`settings.rs`). At most one is under way.
//! 2. `commit` and `poll` never wait, so the thread that writes rows is not held up by a coordinator that is slow or away.
//! 3. Nobody joins the group: partitions are assigned by the engine. A group that somebody else has joined refuses commits, and
//!    the error says so.

use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};
use std::time::{Duration, Instant};

use rdkafka_sys as sys;

use crate::error::{Error, Result};

use super::client::milliseconds;
use super::topic::PartitionList;
use super::{BROKER_PATIENCE, Client, Code, Settings};

/// What a group keeps of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// The text beside it; empty where there is none, and with a mark in the place of what is no UTF-8.
    pub metadata: String,
}

/// The offsets of one group and topic.
pub struct GroupOffsets {
    queue: NonNull<sys::rd_kafka_queue_t>,
    topic: String,
    group: String,
    /// Whether a commit is under way.
    asked: bool,
    client: ManuallyDrop<Client>,
}

// SAFETY: librdkafka's queue may be used from any thread, as may its client.
unsafe impl Send for GroupOffsets {}

/// What became of a commit.
#[derive(Debug)]
#[must_use]
pub enum CommitOutcome {
    /// The coordinator keeps it.
    Kept,
    /// It does not, and may the next time: in librdkafka's words.
    Failed(String),
    /// It never will.
    Refused(Error),
}

impl GroupOffsets {
    /// The offsets that the group of `settings` keeps of `topic`. Connects in the background.
    pub fn new(settings: &Settings, topic: &str) -> Result<GroupOffsets> {
        let client = Client::new(settings)?;
        // SAFETY: the client is alive.
        let queue = unsafe { sys::rd_kafka_queue_new(client.as_ptr()) };
        Ok(GroupOffsets {
            queue: NonNull::new(queue).expect("librdkafka allocates or aborts"),
            topic: topic.to_owned(),
            group: settings
                .property("group.id")
                .expect("a consumer has a group")
                .to_owned(),
            asked: false,
            client: ManuallyDrop::new(client),
        })
    }

    /// The group's name.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The topic's name.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// What the group keeps of `partitions`, as far as it keeps something. `Error::Connector` within 10 s if its coordinator does
    /// not answer.
    pub fn committed(
        &self,
        partitions: impl ExactSizeIterator<Item = i32>,
    ) -> Result<Vec<Committed>> {
        const ROUND: Duration = Duration::from_millis(100);
        let deadline = Instant::now() + BROKER_PATIENCE;
        let places: Vec<_> = partitions.map(|partition| (partition, 0)).collect();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.ask(&places, left) {
                Ok(found) => return Ok(found),
                // A coordinator that is being made, loads, or moves says so at once.
                Err(code) if !code.ends_commits() && left > ROUND => std::thread::sleep(ROUND),
                Err(code) => return Err(self.unanswered(code)),
            }
        }
    }

    /// What the group keeps of the partitions of `places`, asked once.
    fn ask(&self, places: &[(i32, i64)], wait: Duration) -> Result<Vec<Committed>, Code> {
        let mut list = PartitionList::new(&self.topic, places.iter().copied());
        // SAFETY: client and list are alive.
        let asked = unsafe {
            let wait = milliseconds(wait);
            sys::rd_kafka_committed(self.client.as_ptr(), list.as_mut_ptr(), wait)
        };
        self.client.serve(Duration::ZERO);
        if Code::from(asked).is_error() {
            return Err(asked.into());
        }
        let mut found = Vec::new();
        for (partition, offset, metadata, code) in list.entries() {
            if code.is_error() {
                return Err(code);
            }
            if offset >= 0 {
                let metadata = String::from_utf8_lossy(metadata).into_owned();
                found.push(Committed {
                    partition,
                    offset,
                    metadata,
                });
            }
        }
        Ok(found)
    }

    /// Asks for a commit of `offsets`; `poll` says what became of it.
    pub fn commit(&mut self, offsets: &[Committed]) {
        assert!(!self.asked, "one commit is under way at a time");
        assert!(!offsets.is_empty(), "a commit of nothing");
        let places = offsets
            .iter()
            .map(|committed| (committed.partition, committed.offset));
        let mut list = PartitionList::new(&self.topic, places);
        for committed in offsets {
            list.set_metadata(
                &self.client,
                committed.partition,
                committed.metadata.as_bytes(),
            );
        }
        // SAFETY: client, queue and list are alive; librdkafka copies the list. Without a callback the answer is an event of
        // the queue.
        let asked = unsafe {
            sys::rd_kafka_commit_queue(
                self.client.as_ptr(),
                list.as_mut_ptr(),
                self.queue.as_ptr(),
                None,
                ptr::null_mut(),
            )
        };
        assert!(
            !Code::from(asked).is_error(),
            "a consumer with a group takes every commit: {}",
            Code::from(asked)
        );
        self.asked = true;
    }

    /// What became of the commit under way; `None` as long as that is not known, or when there is none. Waits up to `wait`.
    pub fn poll(&mut self, wait: Duration) -> Option<CommitOutcome> {
        self.client.serve(Duration::ZERO);
        if !self.asked {
            return None;
        }
        // SAFETY: the queue is alive; an event is given back below.
        let event = unsafe { sys::rd_kafka_queue_poll(self.queue.as_ptr(), milliseconds(wait)) };
        let event = NonNull::new(event)?;
        // SAFETY: the event is alive; its error is read as an integer by way of `Code`.
        let (is_commit, code) = unsafe {
            let kind = sys::rd_kafka_event_type(event.as_ptr());
            let code = Code::from(sys::rd_kafka_event_error(event.as_ptr()));
            sys::rd_kafka_event_destroy(event.as_ptr());
            (kind == sys::RD_KAFKA_EVENT_OFFSET_COMMIT, code)
        };
        if !is_commit {
            return None;
        }
        self.asked = false;
        Some(match code {
            Code::NONE => CommitOutcome::Kept,
            code if code.ends_commits() => CommitOutcome::Refused(self.refused(code)),
            code => CommitOutcome::Failed(code.to_string()),
        })
    }

    /// Commits `offsets` and waits for it, behind one that is under way. `Error::Connector` within 10 s if it cannot be had.
    pub fn commit_now(&mut self, offsets: &[Committed]) -> Result<()> {
        const ROUND: Duration = Duration::from_millis(100);
        let deadline = Instant::now() + BROKER_PATIENCE;
        let mut asked = false;
        let mut reason = "its coordinator does not answer".to_owned();
        while Instant::now() < deadline {
            if !self.asked {
                self.commit(offsets);
                asked = true;
            }
            match self.poll(ROUND) {
                Some(CommitOutcome::Refused(error)) => return Err(error),
                Some(CommitOutcome::Kept) if asked => return Ok(()),
                Some(CommitOutcome::Failed(why)) => {
                    reason = why;
                    std::thread::sleep(ROUND);
                }
                Some(CommitOutcome::Kept) | None => {}
            }
        }
        Err(Error::Connector(format!(
            "the offsets of group {} could not be committed at {} ({reason}): the next run goes on from the commit before, and \
             repeats rows",
            self.group,
            self.client.bootstrap()
        )))
    }

    fn unanswered(&self, code: Code) -> Error {
        if code.ends_commits() {
            return self.refused(code);
        }
        let cause = self.client.cause();
        let cause = cause.map(|cause| format!(" ({cause})")).unwrap_or_default();
        Error::Connector(format!(
            "the broker at {} does not say what group {} has committed: {code}{cause}; see that the group's coordinator runs",
            self.client.bootstrap(),
            self.group
        ))
    }

    fn refused(&self, code: Code) -> Error {
        let remedy = if code.is_refusal() {
            "allow this client to read the group"
        } else if code == Code::METADATA_TOO_LARGE {
            "raise the brokers' offset.metadata.max.bytes (4096 unless set; 200 are enough)"
        } else {
            "nobody else may use the group: stop the other, or give the stream a group of its own (option group)"
        };
        Error::Connector(format!(
            "the offsets of group {} cannot be committed at {}: {code}; {remedy}",
            self.group,
            self.client.bootstrap()
        ))
    }
}

impl Drop for GroupOffsets {
    fn drop(&mut self) {
        // SAFETY: the queue is alive and owned; the client goes after it.
        unsafe { sys::rd_kafka_queue_destroy(self.queue.as_ptr()) }
        // One that still waits for its coordinator would hold its end up for a minute: it ends with the process.
        if !self.asked {
            // SAFETY: it is not used again.
            unsafe { ManuallyDrop::drop(&mut self.client) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::mock;

    fn entry(partition: i32, offset: i64, metadata: &str) -> Committed {
        Committed {
            partition,
            offset,
            metadata: metadata.to_owned(),
        }
    }

    #[test]
    fn what_was_committed_is_found_again_with_its_text() {
        let broker = mock::broker(&[("t", 3)]);
        let settings = broker.consumer(&[]);
        let mut offsets = GroupOffsets::new(&settings, "t").expect("a client");
        assert_eq!(offsets.committed(0..3).expect("an answer"), []);
        let first = [entry(0, 7, "a;b"), entry(2, 0, "")];
        offsets.commit_now(&first).expect("kept");
        let again = GroupOffsets::new(&settings, "t").expect("a client");
        assert_eq!(again.committed(0..3).expect("an answer"), first);
        offsets.commit(&[entry(0, 9, "c")]);
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match offsets.poll(Duration::ZERO) {
                None => assert!(Instant::now() < deadline, "no answer within 10 s"),
                Some(CommitOutcome::Kept) => break,
                Some(other) => panic!("{other:?}"),
            }
        }
        assert!(offsets.poll(Duration::ZERO).is_none(), "told once");
        let after = [entry(0, 9, "c"), entry(2, 0, "")];
        assert_eq!(again.committed(0..3).expect("an answer"), after);
    }
}
