//! A topic that this process makes for itself and deletes again, for measurements.
//!
//! Law: what is not made by this is not deleted by this. A topic of that name which is there already is an error.

use std::ffi::{CString, c_int};
use std::ptr::{self, NonNull};
use std::time::{Duration, Instant};

use rdkafka_sys as sys;

use super::client::{milliseconds, text};
use super::topic::c_name;
use super::{BROKER_PATIENCE, Client, Settings, inspect};
use crate::error::{Error, Result};

/// How many copies the broker keeps: as many as it does of any topic.
const BROKERS_OWN: c_int = -1;

/// How long to wait before a topic just made is asked for again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A topic that is deleted when this is dropped.
pub struct OwnTopic {
    name: String,
    name_c: CString,
    client: Client,
}

impl OwnTopic {
    /// Makes topic `name`. `Error::Connector` if no broker answers within 10 s, or refuses.
    pub fn create(settings: &Settings, name: &str, partitions: usize) -> Result<OwnTopic> {
        OwnTopic::create_within(BROKER_PATIENCE, settings, name, partitions)
    }

    fn create_within(
        patience: Duration,
        settings: &Settings,
        name: &str,
        partitions: usize,
    ) -> Result<OwnTopic> {
        let client = Client::new(&settings.without_group())?;
        let name_c = c_name(name)?;
        let partitions = c_int::try_from(partitions).expect("fewer partitions than 2^31");
        let mut reason = [0; 512];
        // SAFETY: the name is NUL-terminated; `reason` is as long as stated, and librdkafka terminates what it writes there.
        let new = unsafe {
            sys::rd_kafka_NewTopic_new(
                name_c.as_ptr(),
                partitions,
                BROKERS_OWN,
                reason.as_mut_ptr(),
                reason.len(),
            )
        };
        let Some(new) = NonNull::new(new) else {
            // SAFETY: as above.
            let reason = unsafe { text(reason.as_ptr()) };
            return Err(Error::Config(format!(
                "topic {name} cannot be made: {reason}"
            )));
        };
        let queue = AnswerQueue::new(&client);
        let mut topics = [new.as_ptr()];
        // SAFETY: all are alive; librdkafka copies the topic. Null options are the defaults.
        unsafe {
            sys::rd_kafka_CreateTopics(
                client.as_ptr(),
                topics.as_mut_ptr(),
                topics.len(),
                ptr::null(),
                queue.as_ptr(),
            );
            sys::rd_kafka_NewTopic_destroy(new.as_ptr());
        }
        let refused = queue.answer(&client, patience, |event, count| {
            // SAFETY: the event is alive; the result is null for an event of another kind.
            unsafe {
                let result = sys::rd_kafka_event_CreateTopics_result(event);
                match result.is_null() {
                    true => ptr::null_mut(),
                    false => sys::rd_kafka_CreateTopics_result_topics(result, count),
                }
            }
        })?;
        drop(queue);
        match refused {
            Some(reason) => Err(Error::Connector(format!(
                "the broker at {} refuses to make topic {name}: {reason}",
                client.bootstrap()
            ))),
            None => {
                let topic = OwnTopic {
                    name: name.to_owned(),
                    name_c,
                    client,
                };
                topic.wait_for_leaders(settings, patience)?;
                Ok(topic)
            }
        }
    }

    /// A topic is there a moment before its partitions can be read and written.
    fn wait_for_leaders(&self, settings: &Settings, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            match inspect(settings, &self.name) {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => std::thread::sleep(LOOK_AGAIN),
            }
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for OwnTopic {
    fn drop(&mut self) {
        let queue = AnswerQueue::new(&self.client);
        // SAFETY: the name is NUL-terminated, and copied.
        let delete = unsafe { sys::rd_kafka_DeleteTopic_new(self.name_c.as_ptr()) };
        let mut topics = [delete];
        // SAFETY: all are alive; librdkafka copies the topic. Null options are the defaults.
        unsafe {
            sys::rd_kafka_DeleteTopics(
                self.client.as_ptr(),
                topics.as_mut_ptr(),
                topics.len(),
                ptr::null(),
                queue.as_ptr(),
            );
            sys::rd_kafka_DeleteTopic_destroy(delete);
        }
        let refused = queue.answer(&self.client, BROKER_PATIENCE, |event, count| {
            // SAFETY: the event is alive; the result is null for an event of another kind.
            unsafe {
                let result = sys::rd_kafka_event_DeleteTopics_result(event);
                match result.is_null() {
                    true => ptr::null_mut(),
                    false => sys::rd_kafka_DeleteTopics_result_topics(result, count),
                }
            }
        });
        let reason = match refused {
            Ok(None) => return,
            Ok(Some(reason)) => reason,
            Err(error) => error.to_string(),
        };
        eprintln!("velo: topic {} is left behind: {reason}", self.name);
    }
}

/// Where the broker's answer comes.
struct AnswerQueue(NonNull<sys::rd_kafka_queue_t>);

impl AnswerQueue {
    fn new(client: &Client) -> AnswerQueue {
        // SAFETY: the client is alive.
        let queue = unsafe { sys::rd_kafka_queue_new(client.as_ptr()) };
        AnswerQueue(NonNull::new(queue).expect("librdkafka allocates or aborts"))
    }

    fn as_ptr(&self) -> *mut sys::rd_kafka_queue_t {
        self.0.as_ptr()
    }

    /// Why the broker refused one topic; `None` when it did not. `results` are those of an event, and their number.
    fn answer(
        &self,
        client: &Client,
        patience: Duration,
        results: impl Fn(
            *mut sys::rd_kafka_event_t,
            &mut usize,
        ) -> *mut *const sys::rd_kafka_topic_result_t,
    ) -> Result<Option<String>> {
        // SAFETY: the queue is alive.
        let event = unsafe { sys::rd_kafka_queue_poll(self.as_ptr(), milliseconds(patience)) };
        let Some(event) = NonNull::new(event) else {
            client.serve(Duration::ZERO);
            return Err(client.unreachable());
        };
        let mut count = 0;
        let found = results(event.as_ptr(), &mut count);
        // SAFETY: `found` points to `count` results that live as long as the event; texts are NUL-terminated or null, and
        // the event is used no more once it is destroyed.
        let refused = unsafe {
            let refused = match found.is_null() || count == 0 {
                true => Err(text(sys::rd_kafka_event_error_string(event.as_ptr()))),
                false => Ok(text(sys::rd_kafka_topic_result_error_string(*found))),
            };
            sys::rd_kafka_event_destroy(event.as_ptr());
            refused
        };
        match refused {
            Ok(reason) => Ok((!reason.is_empty()).then_some(reason)),
            Err(reason) => {
                client.serve(Duration::ZERO);
                Err(Error::Connector(format!(
                    "{}: {reason}",
                    client.unreachable()
                )))
            }
        }
    }
}

impl Drop for AnswerQueue {
    fn drop(&mut self) {
        // SAFETY: the queue is alive and ours; its client outlives it.
        unsafe { sys::rd_kafka_queue_destroy(self.as_ptr()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::mock;

    #[test]
    fn without_a_broker_it_is_an_error_that_names_the_address() {
        let nowhere = mock::producer_settings("127.0.0.1:1", &[]);
        let within = Duration::from_millis(300);
        let Err(Error::Connector(message)) = OwnTopic::create_within(within, &nowhere, "t", 1)
        else {
            panic!("made by nobody")
        };
        assert!(message.contains("127.0.0.1:1"), "{message}");
    }
}
