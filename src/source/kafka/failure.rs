//! What a failure that librdkafka reports means for a read.
//!
//! Law: what librdkafka mends by itself ends nothing; what cannot come back ends the run, with what to do about it.

use crate::error::{Error, Result};
use crate::kafka::{Code, Event};

/// The partition that an event concerns; -1, which is no place, when it concerns all.
pub(super) fn event_partition(event: &Event<'_>) -> i32 {
    match event {
        Event::Record(record) => record.partition(),
        Event::End { partition, .. } | Event::Failed { partition, .. } => *partition,
    }
}

/// What a failure means: nothing where librdkafka goes on by itself, else the end of the run.
pub(super) fn failed(topic: &str, event: &Event<'_>) -> Result<()> {
    let Event::Failed {
        partition,
        code,
        reason,
    } = event
    else {
        return Ok(());
    };
    if !code.ends_a_read() {
        return Ok(());
    }
    let place = if *partition < 0 {
        String::new()
    } else {
        format!(" partition {partition}")
    };
    Err(Error::Connector(format!(
        "reading topic {topic}{place} failed: {}{}",
        why(*code, reason),
        remedy(*code)
    )))
}

fn why(code: Code, reason: &str) -> String {
    if reason.is_empty() {
        code.to_string()
    } else {
        format!("{code} ({reason})")
    }
}

fn remedy(code: Code) -> &'static str {
    if code.is_offset_lost() {
        "; the broker no longer keeps that offset: give the topic a longer retention, or start at 'earliest'"
    } else if code.is_unknown_topic() {
        "; the topic was deleted while it was read"
    } else if code.is_refusal() {
        "; allow this client to read the topic"
    } else if code.is_damage() {
        "; the bytes are not those that were written: see the broker's log"
    } else {
        ""
    }
}
