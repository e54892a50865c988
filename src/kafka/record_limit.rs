//! How large a record a topic takes: the smaller of what the producer and what the topic allows.
//!
//! Law: a batch that is larger than the topic's `max.message.bytes` is refused by the broker as a whole, with every small record
//! in it, and librdkafka does not divide it. So the producer's `message.max.bytes` is lowered to the topic's limit before it
//! writes, and what is too large is known before it is queued.
//!
//! A broker that does not tell (no permission to describe the topic) leaves the producer's own limit.

use std::ffi::CStr;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use rdkafka_sys as sys;

use super::Client;
use super::client::milliseconds;
use super::topic::c_name;
use crate::error::Result;

/// librdkafka's own `message.max.bytes` unless configured.
pub(super) const MESSAGE_BYTES_MAX_DEFAULT: usize = 1_000_000;

/// The least that librdkafka takes for it.
pub(super) const MESSAGE_BYTES_MAX_LEAST: usize = 1_000;

/// Bytes before the records of a batch.
pub(super) const BATCH_HEADER_BYTES: usize = 61;

/// Bytes of a batch of one record beside its key, value and headers: the batch's header, at most 36 of numbers between the
/// record's parts, and at most 31 of a due header.
pub(super) const RECORD_FRAMING_BYTES: usize = BATCH_HEADER_BYTES + 36 + 31;

/// What a topic takes, and how to make it take more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordLimit {
    /// Bytes of key, value and headers together.
    pub bytes: usize,
    /// The topic.
    pub topic: String,
    /// What to set, in words.
    pub remedy: &'static str,
}

/// The topic's `max.message.bytes`; `None` if no broker tells by `deadline`.
pub(super) fn topic_bytes_max(
    client: &Client,
    topic: &str,
    deadline: Instant,
) -> Result<Option<usize>> {
    let name = c_name(topic)?;
    let wait = deadline
        .saturating_duration_since(Instant::now())
        .max(Duration::from_millis(1));
    // SAFETY: the client is alive and the name NUL-terminated. Every object made here is checked for null and destroyed here; the
    // question copies the resource and the options. The answer belongs to the event, and is read before the event is destroyed.
    let found = unsafe {
        let queue = sys::rd_kafka_queue_new(client.as_ptr());
        let mut resource = sys::rd_kafka_ConfigResource_new(
            sys::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC,
            name.as_ptr(),
        );
        let options = sys::rd_kafka_AdminOptions_new(
            client.as_ptr(),
            sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS,
        );
        assert!(
            !queue.is_null() && !resource.is_null() && !options.is_null(),
            "librdkafka makes what a question needs"
        );
        let milliseconds = milliseconds(wait);
        let mut reason = [0; 256];
        sys::rd_kafka_AdminOptions_set_request_timeout(
            options,
            milliseconds,
            reason.as_mut_ptr(),
            reason.len(),
        );
        sys::rd_kafka_DescribeConfigs(client.as_ptr(), &mut resource, 1, options, queue);
        let event = sys::rd_kafka_queue_poll(queue, milliseconds);
        let found = NonNull::new(event).and_then(|event| read(event.as_ptr()));
        if !event.is_null() {
            sys::rd_kafka_event_destroy(event);
        }
        sys::rd_kafka_AdminOptions_destroy(options);
        sys::rd_kafka_ConfigResource_destroy(resource);
        sys::rd_kafka_queue_destroy(queue);
        found
    };
    Ok(found)
}

/// The limit that an answer tells, if it does.
///
/// # Safety
/// `event` must be alive.
unsafe fn read(event: *mut sys::rd_kafka_event_t) -> Option<usize> {
    // SAFETY: the event is alive, the caller's promise; an answer, its resources, their entries and texts live as long as it,
    // and there are as many as the counts say. An event of another kind gives a null answer.
    unsafe {
        let answer = NonNull::new(sys::rd_kafka_event_DescribeConfigs_result(event).cast_mut())?;
        let mut count = 0;
        let resources = sys::rd_kafka_DescribeConfigs_result_resources(answer.as_ptr(), &mut count);
        if count == 0 {
            return None;
        }
        let entries = sys::rd_kafka_ConfigResource_configs(*resources, &mut count);
        for place in 0..count {
            let entry = *entries.add(place);
            let (name, value) = (
                sys::rd_kafka_ConfigEntry_name(entry),
                sys::rd_kafka_ConfigEntry_value(entry),
            );
            if !value.is_null() && CStr::from_ptr(name) == c"max.message.bytes" {
                return CStr::from_ptr(value).to_str().ok()?.parse().ok();
            }
        }
        None
    }
}
