//! Asking now and then what has become of a topic, while it is read: its partitions and who leads them.
//!
//! ```text
//!   ask() --metadata request, by librdkafka's threads--> a queue of its own --answer()--> Described
//! ```
//!
//! Law: neither call waits. One question is under way at a time; one that no broker answers is given up after a while, and the
//! next is as good.

use std::ffi::{CStr, CString};
use std::ptr::NonNull;

use rdkafka_sys as sys;

use crate::error::Result;

use super::topic::c_name;
use super::{Client, Code};

/// How long a question may take, milliseconds.
const ANSWER_MS: i32 = 5_000;

/// What the broker says of the topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Described {
    /// The broker that leads each partition, from partition 0 on; negative where none does.
    Leaders(Vec<i32>),
    /// It does not know the topic.
    Unknown,
    /// Nothing that helps: no broker answered, or it refused.
    Nothing,
}

/// Asks about one topic. Dropped before its client.
pub(super) struct TopicWatch {
    queue: NonNull<sys::rd_kafka_queue_t>,
    topic: CString,
    asked: bool,
}

// SAFETY: a queue may be used from any thread.
unsafe impl Send for TopicWatch {}

impl TopicWatch {
    /// A watch of `topic` by `client`.
    pub(super) fn new(client: &Client, topic: &str) -> Result<TopicWatch> {
        let topic = c_name(topic)?;
        // SAFETY: the client is alive.
        let queue = unsafe { sys::rd_kafka_queue_new(client.as_ptr()) };
        Ok(TopicWatch {
            queue: NonNull::new(queue).expect("librdkafka allocates or aborts"),
            topic,
            asked: false,
        })
    }

    /// Asks by `client`, unless a question is under way.
    pub(super) fn ask(&mut self, client: &Client) {
        if std::mem::replace(&mut self.asked, true) {
            return;
        }
        let mut names = [self.topic.as_ptr()];
        let mut reason = [0; 128];
        // SAFETY: client, queue and name are alive; librdkafka copies the names and the options.
        unsafe {
            let options = sys::rd_kafka_AdminOptions_new(
                client.as_ptr(),
                sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
            );
            sys::rd_kafka_AdminOptions_set_request_timeout(
                options,
                ANSWER_MS,
                reason.as_mut_ptr(),
                reason.len(),
            );
            let topics = sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), 1);
            sys::rd_kafka_DescribeTopics(client.as_ptr(), topics, options, self.queue.as_ptr());
            sys::rd_kafka_TopicCollection_destroy(topics);
            sys::rd_kafka_AdminOptions_destroy(options);
        }
    }

    /// Whether a question is under way.
    pub(super) fn is_asked(&self) -> bool {
        self.asked
    }

    /// The answer, if it has come.
    pub(super) fn answer(&mut self) -> Option<Described> {
        // SAFETY: the queue is alive.
        let event = unsafe { sys::rd_kafka_queue_poll(self.queue.as_ptr(), 0) };
        let event = NonNull::new(event)?;
        // SAFETY: the event is alive until it is destroyed below, and what is read of it is copied before.
        let described = unsafe { described(event) };
        // SAFETY: it is ours, and nothing of it is left.
        unsafe { sys::rd_kafka_event_destroy(event.as_ptr()) };
        self.asked = false;
        Some(described)
    }
}

impl Drop for TopicWatch {
    fn drop(&mut self) {
        // SAFETY: the queue is alive and owned, and its client, which outlives this, lets go of a question under way.
        unsafe { sys::rd_kafka_queue_destroy(self.queue.as_ptr()) }
    }
}

/// What `event` says of the first topic in it.
///
/// # Safety
/// `event` must be alive.
unsafe fn described(event: NonNull<sys::rd_kafka_event_t>) -> Described {
    let mut count = 0;
    // SAFETY: the event is alive and of the kind asked for, or null is returned; arrays hold as many pointers as `count` says,
    // and all live as long as the event. Names are NUL-terminated.
    unsafe {
        let result = sys::rd_kafka_event_DescribeTopics_result(event.as_ptr());
        if result.is_null() || Code::from(sys::rd_kafka_event_error(event.as_ptr())).is_error() {
            return Described::Nothing;
        }
        let topics = sys::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        if topics.is_null() || count == 0 {
            return Described::Nothing;
        }
        let topic = *topics;
        let error = sys::rd_kafka_TopicDescription_error(topic);
        if !error.is_null() {
            // By name: a code that the binding does not know would be no value of its enum.
            let name = sys::rd_kafka_error_name(error);
            match CStr::from_ptr(name).to_bytes() {
                b"NO_ERROR" => {}
                b"UNKNOWN_TOPIC_OR_PART" => return Described::Unknown,
                _ => return Described::Nothing,
            }
        }
        let partitions = sys::rd_kafka_TopicDescription_partitions(topic, &mut count);
        let mut leaders = vec![-1; count];
        for place in 0..count {
            let partition = *partitions.add(place);
            let number = sys::rd_kafka_TopicPartitionInfo_partition(partition);
            let leader = sys::rd_kafka_TopicPartitionInfo_leader(partition);
            let number = usize::try_from(number).ok();
            if let Some(entry) = number.and_then(|number| leaders.get_mut(number)) {
                *entry = if leader.is_null() {
                    -1
                } else {
                    sys::rd_kafka_Node_id(leader)
                };
            }
        }
        Described::Leaders(leaders)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::kafka::mock;

    /// What a broker says is held against a real one by `scripts/accept 450`.
    #[test]
    fn a_question_is_answered_while_nobody_waits_and_is_asked_once() {
        let broker = mock::broker(&[("t", 3)]);
        let client = Client::new(&broker.consumer(&[])).expect("a client");
        let mut watch = TopicWatch::new(&client, "t").expect("a name");
        assert!(!watch.is_asked() && watch.answer().is_none());
        let begun = Instant::now();
        watch.ask(&client);
        watch.ask(&client);
        while watch.answer().is_none() {
            assert!(watch.is_asked() && begun.elapsed() < Duration::from_secs(10));
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(50));
        assert!(!watch.is_asked() && watch.answer().is_none());
    }
}
