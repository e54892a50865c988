//! Reading in batches: a shard's partitions, statically assigned, all by one queue.
//!
//! ```text
//!   partition queues --\
//!   client's own queue --> the consumer's queue --a tier's take(max)--> Taken { Record | End | Failed }   (callbacks run in passing)
//! ```
//!
//! Laws:
//! 1. `take` never waits: it gives what librdkafka has fetched. Nothing else serves this client, so a shard that
//!    polls also hears that a broker is away.
//! 2. Within a partition, records come in the order of their offsets.
//! 3. Who serves the queue may be rung when something comes by it (`ring_by`).
//! 4. A record is borrowed from `Taken`; dropping that gives all its memory back at once.
//!
//! How the queue is read is the tier's affair (`tiers`). Each partition's queue and the client's own are forwarded to the
//! consumer's queue by librdkafka itself.

use std::ffi::CStr;
use std::ptr;
use std::time::Instant;

use rdkafka_sys as sys;
use velostream_shards::Ringer;

use crate::batch::{Header, Original};
use crate::error::{Error, Result};

use super::client::text;
use super::consumer_queue::ConsumerQueue;
use super::produce::read_decimal;
use super::tiers::{self, Fetch, Fetching};
use super::topic::{PartitionList, Patience, partitions_of};
use super::watch::{Described, TopicWatch};
use super::{BROKER_PATIENCE, Client, Code, DUE_HEADER, Settings};

/// Reads some partitions of one topic.
pub struct Consumer {
    /// Dropped before the client, whose records it holds.
    fetch: Box<dyn Fetch>,
    topic: String,
    watch: TopicWatch,
    client: Client,
}

/// Where a partition is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// The oldest record kept when the broker is first asked.
    Oldest,
    /// An offset.
    Offset(i64),
}

/// What a poll brought; the records are given back when it is dropped.
pub struct Taken<'a> {
    records: &'a mut [*mut sys::rd_kafka_message_t],
    /// Whether they are destroyed with this; else by the tier, when it is asked for the next.
    destroys: bool,
}

/// One thing that came by the queue.
#[derive(Debug)]
pub enum Event<'a> {
    /// A record.
    Record(KafkaRecord<'a>),
    /// The reader stands behind the last record there is; it may go on later.
    End {
        /// Partition.
        partition: i32,
        /// The next offset.
        offset: i64,
        /// The broker that says so.
        broker: i32,
    },
    /// Reading a partition failed. `code.ends_a_read()` says whether it passes.
    Failed {
        /// Partition; negative if it concerns all.
        partition: i32,
        /// What.
        code: Code,
        /// In librdkafka's words.
        reason: String,
    },
}

/// A record, in librdkafka's memory.
#[derive(Clone, Copy, Debug)]
pub struct KafkaRecord<'a>(&'a sys::rd_kafka_message_t);

impl Consumer {
    /// A client that reads `partitions` of `topic` as `fetching` says; none until they are assigned, if there are none yet. It asks
    /// for the topic first (`Error::Connector` within 10 s if no broker
    /// answers or the topic is not there), then fetches at once.
    pub fn new(
        settings: &Settings,
        topic: &str,
        partitions: &[(i32, Position)],
        fetching: Fetching,
    ) -> Result<Consumer> {
        let client = Client::new(settings)?;
        // A partition whose leader is not known when it is assigned is looked at again only after half a second.
        partitions_of(
            &client,
            topic,
            Patience::Reading,
            Instant::now() + BROKER_PATIENCE,
        )?;
        // SAFETY: the client is alive; from here on its callbacks come by the consumer's queue, which the tier serves.
        unsafe { sys::rd_kafka_poll_set_consumer(client.as_ptr()) };
        let watch = TopicWatch::new(&client, topic)?;
        let consumer = Consumer {
            fetch: tiers::open(fetching, || ConsumerQueue::new(&client))?,
            topic: topic.to_owned(),
            watch,
            client,
        };
        if !partitions.is_empty() {
            consumer.assign(partitions)?;
        }
        Ok(consumer)
    }

    /// Reads `partitions` from now on, and only those. Of what was read before and not taken nothing comes any more.
    pub fn assign(&self, partitions: &[(i32, Position)]) -> Result<()> {
        let mut list = positions(&self.topic, partitions);
        // SAFETY: client and list are alive; librdkafka copies the list.
        let assigned = unsafe { sys::rd_kafka_assign(self.client.as_ptr(), list.as_mut_ptr()) };
        match Code::from(assigned) {
            Code::NONE => Ok(()),
            code => Err(Error::Connector(format!(
                "cannot read topic {} at {}: {code}",
                self.topic,
                self.client.bootstrap()
            ))),
        }
    }

    /// Rings whoever calls `take` when something has come, from now on; what is there already is found by the next `take`.
    /// He takes until nothing is there before he sleeps.
    pub fn ring_by(&mut self, ringer: Ringer) {
        self.fetch.ring_by(ringer);
    }

    /// Takes up to `max` events that are there, without waiting.
    pub fn take(&mut self, max: usize) -> Taken<'_> {
        let taken = self.fetch.take(max);
        assert!(
            taken.len() <= max,
            "librdkafka gave more than there is room for"
        );
        if self.client.is_away()
            && taken
                .events()
                .any(|event| !matches!(event, Event::Failed { .. }))
        {
            self.client.answered();
        }
        taken
    }

    /// Events that were fetched and wait for `take`.
    pub fn waiting(&self) -> usize {
        self.fetch.waiting()
    }

    /// The most events that may lie between those and what the next `take` brings, by the tier.
    pub fn between_max(&self) -> usize {
        self.fetch.between_max()
    }

    /// Fetches a partition no more until it is resumed; of what was fetched already only a part may come. Waits until librdkafka has
    /// done so.
    pub fn pause(&mut self, partition: i32) {
        self.stop(partition);
    }

    /// Fetches a partition again that was paused, from `offset`; what was taken of it and has not come yet comes before that.
    /// Where it ends is said again.
    ///
    /// It is told from where: of itself librdkafka goes on behind what it believes was taken last, which a batch that
    /// another thread takes meanwhile is not yet, and which the end of a partition, taken in a batch, is counted to.
    pub fn resume(&mut self, partition: i32, offset: i64) {
        let mut list = PartitionList::new(&self.topic, [(partition, offset)].into_iter());
        // SAFETY: client and list are alive, and the error, if there is one, is ours. Neither call can fail but for a partition that
        // is not assigned; the first does not wait.
        unsafe {
            let error = sys::rd_kafka_seek_partitions(self.client.as_ptr(), list.as_mut_ptr(), 0);
            if !error.is_null() {
                sys::rd_kafka_error_destroy(error);
            }
            sys::rd_kafka_resume_partitions(self.client.as_ptr(), list.as_mut_ptr());
        }
    }

    /// Stops fetching a partition for good; what was fetched already may still come.
    pub fn stop(&mut self, partition: i32) {
        let mut list = PartitionList::new(&self.topic, [(partition, 0)].into_iter());
        // SAFETY: client and list are alive. It can fail only for a partition not assigned, which then is not fetched either.
        unsafe { sys::rd_kafka_pause_partitions(self.client.as_ptr(), list.as_mut_ptr()) };
    }

    /// Reads one more partition of the topic, which the client may not know yet: it is fetched when it does.
    pub fn add(&mut self, partition: i32, position: Position) -> Result<()> {
        let mut list = positions(&self.topic, &[(partition, position)]);
        // SAFETY: client and list are alive; librdkafka copies the list, and the error, if there is one, is ours.
        let refused = unsafe {
            let error = sys::rd_kafka_incremental_assign(self.client.as_ptr(), list.as_mut_ptr());
            if error.is_null() {
                return Ok(());
            }
            let reason = text(sys::rd_kafka_error_string(error));
            sys::rd_kafka_error_destroy(error);
            reason
        };
        Err(Error::Connector(format!(
            "cannot read partition {partition} of topic {} at {}, which is there since the start: {refused}",
            self.topic,
            self.client.bootstrap()
        )))
    }

    /// Asks what has become of the topic, unless that is asked already; `described` has the answer, later.
    pub fn ask_topic(&mut self) {
        self.watch.ask(&self.client);
    }

    /// What has become of the topic, if an answer has come; `None` otherwise.
    pub fn described(&mut self) -> Option<Described> {
        match self.watch.is_asked() {
            true => self.watch.answer(),
            false => None,
        }
    }

    /// The client, for its notices, and what it has heard of the brokers.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// An error after which nothing more will come, if there was one.
    pub fn fatal(&self) -> Option<Error> {
        self.client.fatal().map(|reason| {
            Error::Connector(format!(
                "reading topic {} at {} failed: {reason}",
                self.topic,
                self.client.bootstrap()
            ))
        })
    }
}

impl<'a> Taken<'a> {
    /// These records, which are destroyed with it.
    ///
    /// # Safety
    /// They are live and nobody else's.
    pub(super) unsafe fn owning(records: &'a mut [*mut sys::rd_kafka_message_t]) -> Taken<'a> {
        Taken {
            records,
            destroys: true,
        }
    }

    /// These records, which somebody else destroys.
    ///
    /// # Safety
    /// They are live, and stay so as long as they are borrowed here.
    pub(super) unsafe fn lending(records: &'a mut [*mut sys::rd_kafka_message_t]) -> Taken<'a> {
        Taken {
            records,
            destroys: false,
        }
    }

    /// How many events there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether nothing was there.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The events, in the order in which they came.
    pub fn events(&self) -> impl Iterator<Item = Event<'_>> {
        self.records.iter().map(|&record| {
            // SAFETY: the records are live as long as `self` is (`owning`, `lending`), which the reference borrows.
            let record = unsafe { &*record };
            // SAFETY: the field is initialised; it is read as an integer because a broker's code may be none of the enum's.
            let code = Code(unsafe { (&raw const record.err).cast::<i32>().read() });
            match code {
                Code::NONE => Event::Record(KafkaRecord(record)),
                Code::PARTITION_END => Event::End {
                    partition: record.partition,
                    offset: record.offset,
                    // SAFETY: the record is alive, and came from a consumer.
                    broker: unsafe { sys::rd_kafka_message_broker_id(record) },
                },
                code => Event::Failed {
                    partition: record.partition,
                    code,
                    // SAFETY: the record is alive; librdkafka returns a NUL-terminated text or null.
                    reason: unsafe { text(sys::rd_kafka_message_errstr(record)) },
                },
            }
        })
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if self.destroys {
            // SAFETY: the records are live and ours (`owning`), and no reference to one is left: each borrows `self`.
            unsafe { destroy(self.records) };
        }
    }
}

/// Gives the memory of these records back to librdkafka.
///
/// # Safety
/// They are live, nobody else's, and not used afterwards.
pub(super) unsafe fn destroy(records: &mut [*mut sys::rd_kafka_message_t]) {
    for record in records {
        // SAFETY: the caller's promise.
        unsafe { sys::rd_kafka_message_destroy(*record) };
        *record = ptr::null_mut();
    }
}

/// Where to read partitions of `topic` from, as librdkafka takes it.
fn positions(topic: &str, partitions: &[(i32, Position)]) -> PartitionList {
    let offsets = partitions.iter();
    let offsets = offsets.map(|&(partition, position)| match position {
        Position::Oldest => (partition, i64::from(sys::RD_KAFKA_OFFSET_BEGINNING)),
        Position::Offset(offset) => (partition, offset),
    });
    PartitionList::new(topic, offsets)
}

impl<'a> KafkaRecord<'a> {
    /// Partition.
    pub fn partition(&self) -> i32 {
        self.0.partition
    }

    /// Offset.
    pub fn offset(&self) -> i64 {
        self.0.offset
    }

    /// The value; `None` for a tombstone.
    pub fn value(&self) -> Option<&'a [u8]> {
        // SAFETY: a record without error has `len` bytes at `payload`, or null; they live as long as the record.
        unsafe { bytes(self.0.payload, self.0.len) }
    }

    /// The key, if it has one.
    pub fn key(&self) -> Option<&'a [u8]> {
        // SAFETY: as for `value`.
        unsafe { bytes(self.0.key, self.0.key_len) }
    }

    /// The record's own timestamp, milliseconds since the epoch; `None` if the broker keeps none.
    pub fn timestamp_ms(&self) -> Option<i64> {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the record is alive; `kind` is written.
        let timestamp = unsafe { sys::rd_kafka_message_timestamp(self.0, &mut kind) };
        (kind != sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE)
            .then_some(timestamp)
    }

    /// When it was due, if its feed wrote that: wall clock, microseconds since the epoch. A header that holds something else
    /// is none.
    pub fn due_us(&self) -> Option<i64> {
        self.header(DUE_HEADER).and_then(read_decimal)
    }

    /// Key, value and headers as they came.
    pub fn original(&self) -> Original<'a> {
        Original {
            key: self.key(),
            payload: self.value(),
            headers: self.headers(),
        }
    }

    /// All headers, in order.
    fn headers(&self) -> Vec<Header<'a>> {
        let mut all = Vec::new();
        let mut headers = ptr::null_mut();
        // SAFETY: as in `header`; a name that is given is NUL-terminated and lives as long as the record, as does its value.
        unsafe {
            let record = ptr::from_ref(self.0);
            if Code::from(sys::rd_kafka_message_headers(record, &mut headers)).is_error() {
                return all;
            }
            let (mut name, mut value, mut length) = (ptr::null(), ptr::null(), 0);
            while !Code::from(sys::rd_kafka_header_get_all(
                headers,
                all.len(),
                &mut name,
                &mut value,
                &mut length,
            ))
            .is_error()
            {
                all.push(Header {
                    name: CStr::from_ptr(name).to_bytes(),
                    value: bytes(value, length),
                });
            }
        }
        all
    }

    /// The value of the last header of this name, if there is one. librdkafka allocates for the question, also where a record
    /// has no headers at all.
    fn header(&self, name: &CStr) -> Option<&'a [u8]> {
        let mut headers = ptr::null_mut();
        let mut value = ptr::null();
        let mut length = 0;
        // SAFETY: the record is alive; each out pointer is written if and only if its call succeeds. librdkafka parses the
        // headers into memory that belongs to the record, under no lock: a record is used by one thread only, as it
        // borrows the consumer.
        unsafe {
            let record = ptr::from_ref(self.0);
            if Code::from(sys::rd_kafka_message_headers(record, &mut headers)).is_error() {
                return None;
            }
            if Code::from(sys::rd_kafka_header_get_last(
                headers,
                name.as_ptr(),
                &mut value,
                &mut length,
            ))
            .is_error()
            {
                return None;
            }
            bytes(value, length)
        }
    }
}

/// librdkafka's bytes: null is nothing, which is not the same as no bytes.
///
/// # Safety
/// `first` must be null or point to `length` bytes that live as long as `'a`.
unsafe fn bytes<'a>(first: *const std::ffi::c_void, length: usize) -> Option<&'a [u8]> {
    if first.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    Some(unsafe { std::slice::from_raw_parts(first.cast(), length) })
}
