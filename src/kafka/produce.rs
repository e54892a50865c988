//! Writing: records into librdkafka's queue, deliveries out of it.
//!
//! Law: every record that `send` queued comes back exactly once, as delivered or as the error that ends the run; none is
//! lost because a queue was full. Idempotent: records of one partition keep their order and none is doubled by a retry.
//!
//! A delivery carries the `due_us` given with the record. Deliveries in a row with the same one are counted together, so
//! a block of rows costs the receiver a few items and not one a row.

use std::ffi::{c_int, c_void};
use std::ptr::{self, NonNull};
use std::time::{Duration, Instant};

use rdkafka_sys as sys;
use sys::rd_kafka_vtype_t as field;
use velostream_shards::Ringer;

use crate::config::limits::{DELIVERY_EPOCH_BITS, DELIVERY_QUERY_BITS};
use crate::error::{Error, Result};

use super::client::{heard, text};
use super::queue_bell::QueueBell;
use super::record_limit::{
    BATCH_HEADER_BYTES, MESSAGE_BYTES_MAX_DEFAULT, MESSAGE_BYTES_MAX_LEAST, RECORD_FRAMING_BYTES,
    RecordLimit, topic_bytes_max,
};
use super::topic::{Patience, TopicHandle, partitions_of};
use super::{BROKER_PATIENCE, Client, Code, DUE_HEADER, Settings};

// A due time travels through librdkafka in the record's opaque pointer, with the number of its query and the mark of its
// epoch.
const _: () = assert!(
    size_of::<*mut c_void>() >= size_of::<i64>(),
    "a due time fits a pointer"
);

/// How long a broker is waited for to tell what it takes; it need not.
const TELLING_PATIENCE: Duration = Duration::from_secs(2);

/// librdkafka's RD_KAFKA_PARTITION_UA, a macro of its header: the partitioner chooses.
const ANY_PARTITION: i32 = -1;

/// Writes to one topic.
pub struct Producer {
    topic: NonNull<sys::rd_kafka_topic_t>,
    name: String,
    limit: RecordLimit,
    /// Queued and not yet given back.
    unacknowledged: u64,
    bell: Option<QueueBell>,
    client: Client,
}

// SAFETY: librdkafka's topic handle may be used from any thread, as may its client.
unsafe impl Send for Producer {}

/// A record to write.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Partition; `None` lets the key choose (murmur2), or chance where there is no key.
    pub partition: Option<i32>,
    /// Key.
    pub key: Option<&'a [u8]>,
    /// Value; `None` for a tombstone.
    pub value: Option<&'a [u8]>,
    /// Names and values of headers, in order; not beside a due header.
    pub headers: &'a [(Vec<u8>, Option<Vec<u8>>)],
    /// The record's own timestamp, milliseconds since the epoch, above zero; `None` for now.
    pub timestamp_ms: Option<i64>,
    /// The query whose row it is, or a number behind all queries, below 2^`DELIVERY_QUERY_BITS`; given back with the delivery.
    pub query: u16,
    /// The mark of its epoch, 0 or 1; given back with the delivery.
    pub epoch: u8,
    /// Due time, wall clock, microseconds; given back with the delivery.
    pub due_us: i64,
    /// Whether the due time is also written as a header, for whoever reads the record.
    pub due_header: bool,
}

/// What became of a `send`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Sent {
    /// It is in the queue.
    Queued,
    /// The queue is full: serve deliveries and send it again.
    Full,
}

/// Records that a broker has acknowledged, all of one query and epoch and with the same due time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// How many.
    pub records: u64,
    /// The query whose rows they are.
    pub query: u16,
    /// The mark of their epoch.
    pub epoch: u8,
    /// Their due time.
    pub due_us: i64,
}

/// What the delivery callback notes.
#[derive(Default)]
pub(super) struct Deliveries {
    good: Vec<Delivered>,
    failed: Option<(i32, Code, String)>,
}

impl Producer {
    /// A producer to `topic`. Asks for the topic first, which may make the broker create it; `Error::Connector` within 10 s
    /// if no broker answers or the topic is not there.
    pub fn new(settings: &Settings, topic: &str) -> Result<Producer> {
        Producer::new_by(settings, topic, Instant::now() + BROKER_PATIENCE)
    }

    fn new_by(settings: &Settings, topic: &str, deadline: Instant) -> Result<Producer> {
        let mut client = Client::new(settings)?;
        partitions_of(&client, topic, Patience::Writing, deadline)?;
        let (limit, lowered) = record_limit(settings, &client, topic, deadline)?;
        if let Some(lowered) = lowered {
            client = Client::new(&lowered)?;
            partitions_of(&client, topic, Patience::Writing, deadline)?;
        }
        // An idempotent producer needs a number from a broker, and looks for it at start, when no broker is connected, then
        // after half a second, or with an answer about a topic: this second one is the first behind a connection.
        partitions_of(&client, topic, Patience::Writing, deadline)?;
        let handle = TopicHandle::new(&client, topic)?;
        let native = NonNull::new(handle.as_ptr()).expect("a handle is not null");
        // Kept beside its client instead of borrowing it, and given back in `Drop`.
        std::mem::forget(handle);
        Ok(Producer {
            topic: native,
            name: topic.to_owned(),
            limit,
            unacknowledged: 0,
            bell: None,
            client,
        })
    }

    /// The client, for its notices and for questions about the topic.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The topic's name.
    pub fn topic(&self) -> &str {
        &self.name
    }

    /// How large a record it takes.
    pub fn limit(&self) -> &RecordLimit {
        &self.limit
    }

    /// Records queued and not yet given back by `deliveries`.
    pub fn unacknowledged(&self) -> u64 {
        self.unacknowledged
    }

    /// Queues a copy of a record. Never waits.
    pub fn send(&mut self, record: &Outgoing<'_>) -> Result<Sent> {
        let partition = record.partition.unwrap_or(ANY_PARTITION);
        let (value, value_length) = c_bytes(record.value);
        let (key, key_length) = c_bytes(record.key);
        let timestamp_ms = record.timestamp_ms.unwrap_or(0);
        let opaque =
            ptr::without_provenance_mut::<c_void>(tag(record.query, record.epoch, record.due_us));
        let headers = Headers::of(record.headers);
        assert!(
            headers.is_none() || !record.due_header,
            "headers of its own, or that of its due time"
        );
        let mut digits = [0; 20];
        let header = if record.due_header {
            decimal(record.due_us, &mut digits)
        } else {
            &[]
        };
        // No list is a null one.
        let native_headers = headers.as_ref().map_or(ptr::null_mut(), Headers::as_ptr);
        // SAFETY: client and topic are alive. The arguments are pairs of a tag and what librdkafka documents for it, of the
        // types that C expects (int, size_t, int64_t, pointers), ended by END; value, key and header are copied before the
        // call returns, and a list of headers is taken over if it succeeds. END in the place of the header's tag ends the list
        // there.
        let sent = unsafe {
            sys::rd_kafka_producev(
                self.client.as_ptr(),
                field::RD_KAFKA_VTYPE_RKT,
                self.topic.as_ptr(),
                field::RD_KAFKA_VTYPE_PARTITION,
                partition as c_int,
                field::RD_KAFKA_VTYPE_MSGFLAGS,
                sys::RD_KAFKA_MSG_F_COPY as c_int,
                field::RD_KAFKA_VTYPE_VALUE,
                value,
                value_length,
                field::RD_KAFKA_VTYPE_KEY,
                key,
                key_length,
                field::RD_KAFKA_VTYPE_TIMESTAMP,
                timestamp_ms,
                field::RD_KAFKA_VTYPE_OPAQUE,
                opaque,
                field::RD_KAFKA_VTYPE_HEADERS,
                native_headers,
                if record.due_header {
                    field::RD_KAFKA_VTYPE_HEADER
                } else {
                    field::RD_KAFKA_VTYPE_END
                },
                DUE_HEADER.as_ptr(),
                header.as_ptr().cast::<c_void>(),
                header.len() as isize,
                field::RD_KAFKA_VTYPE_END,
            )
        };
        match Code::from(sent) {
            Code::NONE => {
                headers.into_iter().for_each(Headers::taken);
                self.unacknowledged += 1;
                Ok(Sent::Queued)
            }
            Code::QUEUE_FULL => Ok(Sent::Full),
            code => Err(self.failure(record.partition.unwrap_or(-1), code, "")),
        }
    }

    /// Rings whoever calls `deliveries` when something has been acknowledged, from now on.
    pub fn ring_by(&mut self, ringer: Ringer) {
        // SAFETY: the client is alive; the call makes a reference of its own.
        let queue = unsafe { sys::rd_kafka_queue_get_main(self.client.as_ptr()) };
        let queue = NonNull::new(queue).expect("a client has a main queue");
        // SAFETY: the reference was made above, and the client, a later field, is dropped after the bell.
        self.bell = Some(unsafe { QueueBell::new(queue, ringer) });
    }

    /// Gives what has been acknowledged to `delivered`, waiting up to `wait` for the first. `Error::Connector` when a record
    /// could not be written; it names the topic, and the record is not given back again.
    pub fn deliveries(
        &mut self,
        wait: Duration,
        delivered: &mut dyn FnMut(Delivered),
    ) -> Result<()> {
        self.client.serve(wait);
        let noted = std::mem::take(&mut *self.client.deliveries());
        if !noted.good.is_empty() {
            self.client.answered();
        }
        for good in noted.good {
            assert!(
                good.records <= self.unacknowledged,
                "more records were acknowledged than sent"
            );
            self.unacknowledged -= good.records;
            delivered(good);
        }
        if let Some((partition, code, reason)) = noted.failed {
            return Err(self.failure(partition, code, &reason));
        }
        match self.client.fatal() {
            Some(reason) => Err(self.failure(-1, Code::FATAL, &reason)),
            None => Ok(()),
        }
    }

    fn failure(&self, partition: i32, code: Code, reason: &str) -> Error {
        let place = if partition < 0 {
            String::new()
        } else {
            format!(" partition {partition}")
        };
        let reason = match (self.client.fatal(), reason) {
            (Some(fatal), _) => format!(" ({fatal})"),
            (None, "") => String::new(),
            (None, reason) => format!(" ({reason})"),
        };
        let remedy = if code.is_too_large() {
            "; raise max.message.bytes of the topic, or lower kafka.message.max.bytes of the sink to it"
        } else if code == Code::RECORD_TIMED_OUT {
            "; no broker took it within message.timeout.ms: see that the partition's leader runs"
        } else if code.is_unknown_topic() {
            "; create the topic, or correct the option topic"
        } else if code.is_refusal() {
            "; allow this client to write it"
        } else {
            ""
        };
        let bootstrap = self.client.bootstrap();
        Error::Connector(format!(
            "a record could not be written to topic {}{place} at {bootstrap}: {code}{reason}{remedy}",
            self.name
        ))
    }
}

/// How large a record `topic` takes, and the settings to write it with if they are others.
fn record_limit(
    settings: &Settings,
    client: &Client,
    topic: &str,
    deadline: Instant,
) -> Result<(RecordLimit, Option<Settings>)> {
    let configured = settings
        .property("message.max.bytes")
        .and_then(|text| text.parse().ok())
        .unwrap_or(MESSAGE_BYTES_MAX_DEFAULT);
    let told = topic_bytes_max(
        client,
        topic,
        deadline.min(Instant::now() + TELLING_PATIENCE),
    )?;
    let limit = |bytes: usize, remedy| RecordLimit {
        bytes: bytes.saturating_sub(RECORD_FRAMING_BYTES),
        topic: topic.to_owned(),
        remedy,
    };
    Ok(match told {
        Some(topic_takes) if topic_takes < configured => {
            let batch = topic_takes.saturating_sub(BATCH_HEADER_BYTES);
            let lowered = settings.with_message_bytes_max(batch.max(MESSAGE_BYTES_MAX_LEAST));
            let limit = limit(topic_takes, "raise max.message.bytes of the topic");
            (limit, Some(lowered))
        }
        _ => {
            let remedy =
                "set kafka.message.max.bytes of the sink, up to max.message.bytes of the topic";
            (limit(configured, remedy), None)
        }
    })
}

/// A list of headers in librdkafka's form, given back when dropped.
struct Headers(NonNull<sys::rd_kafka_headers_t>);

impl Headers {
    /// `None` if there is none.
    fn of(headers: &[(Vec<u8>, Option<Vec<u8>>)]) -> Option<Headers> {
        if headers.is_empty() {
            return None;
        }
        // SAFETY: the call only allocates.
        let list = unsafe { sys::rd_kafka_headers_new(headers.len()) };
        let list =
            Headers(NonNull::new(list).expect("librdkafka ends the process rather than give none"));
        for (name, value) in headers {
            let (value, length) = c_bytes(value.as_deref());
            // SAFETY: the list is alive; name and value are as long as stated, and are copied. It refuses only a list that is
            // being read.
            let added = unsafe {
                sys::rd_kafka_header_add(
                    list.as_ptr(),
                    name.as_ptr().cast(),
                    name.len() as isize,
                    value,
                    length as isize,
                )
            };
            assert!(!Code::from(added).is_error(), "a new list takes headers");
        }
        Some(list)
    }

    fn as_ptr(&self) -> *mut sys::rd_kafka_headers_t {
        self.0.as_ptr()
    }

    /// A record has taken the list over.
    fn taken(self) {
        std::mem::forget(self);
    }
}

impl Drop for Headers {
    fn drop(&mut self) {
        // SAFETY: the list is alive and owned.
        unsafe { sys::rd_kafka_headers_destroy(self.as_ptr()) }
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        // SAFETY: the topic handle is alive and owned; its client goes after this.
        unsafe { sys::rd_kafka_topic_destroy(self.topic.as_ptr()) }
    }
}

impl Deliveries {
    fn good(&mut self, tag: usize) {
        let delivered = untagged(tag);
        match self.good.last_mut() {
            Some(last)
                if (last.due_us, last.query, last.epoch)
                    == (delivered.due_us, delivered.query, delivered.epoch) =>
            {
                last.records += 1;
            }
            _ => self.good.push(delivered),
        }
    }
}

/// Bits of a tag below its due time.
const DUE_SHIFT: u32 = DELIVERY_QUERY_BITS + DELIVERY_EPOCH_BITS;

/// What a record carries through librdkafka: its due time and, in the low bits, its epoch and whose row it is. A time outside
/// of [1970, 2112), which only a header can claim, is held to its edge.
fn tag(query: u16, epoch: u8, due_us: i64) -> usize {
    assert!(
        usize::from(query) < 1 << DELIVERY_QUERY_BITS,
        "there are no more queries and dead letters"
    );
    assert!(
        epoch >> DELIVERY_EPOCH_BITS == 0,
        "the mark of an epoch fits"
    );
    let due_us = due_us.clamp(0, (1 << (63 - DUE_SHIFT)) - 1);
    (due_us as usize) << DUE_SHIFT | usize::from(epoch) << DELIVERY_QUERY_BITS | usize::from(query)
}

/// One record with that tag.
fn untagged(tag: usize) -> Delivered {
    let low = |bits: u32, shift: u32| (tag >> shift) & ((1 << bits) - 1);
    Delivered {
        records: 1,
        query: low(DELIVERY_QUERY_BITS, 0) as u16,
        epoch: low(DELIVERY_EPOCH_BITS, DELIVERY_QUERY_BITS) as u8,
        due_us: (tag >> DUE_SHIFT) as i64,
    }
}

/// Runs on the thread that serves the producer, within `Client::serve`.
pub(super) unsafe extern "C" fn on_delivery(
    _client: *mut sys::rd_kafka_t,
    record: *const sys::rd_kafka_message_t,
    opaque: *mut c_void,
) {
    // SAFETY: librdkafka passes a live record and the opaque pointer of `Client::new`; the error is read as an integer
    // because a broker's code may be none of the enum's.
    let (heard, tag, partition, code) = unsafe {
        let code = Code((&raw const (*record).err).cast::<i32>().read());
        (
            heard(opaque),
            (*record)._private.addr(),
            (*record).partition,
            code,
        )
    };
    let mut deliveries = heard.deliveries();
    if !code.is_error() {
        deliveries.good(tag);
    } else if deliveries.failed.is_none() {
        // SAFETY: as above; librdkafka returns a NUL-terminated text or null. (`rd_kafka_message_errstr` is for records that were read: of
        // one that was to be written it gives the value.)
        let reason = unsafe { text(sys::rd_kafka_message_produce_errstr(record)) };
        let reason = if reason == code.to_string() {
            String::new()
        } else {
            reason
        };
        deliveries.failed = Some((partition, code, reason));
    }
}

/// Bytes as C takes them: nothing is null, which is not the same as no bytes.
fn c_bytes(bytes: Option<&[u8]>) -> (*const c_void, usize) {
    bytes.map_or((ptr::null(), 0), |bytes| {
        (bytes.as_ptr().cast(), bytes.len())
    })
}

/// `value` in ASCII decimal, in the tail of `digits`.
fn decimal(value: i64, digits: &mut [u8; 20]) -> &[u8] {
    let mut rest = value.unsigned_abs();
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        first -= 1;
        digits[first] = b'-';
    }
    &digits[first..]
}

/// The number that `header` holds in ASCII decimal; `None` if it holds something else.
pub(super) fn read_decimal(header: &[u8]) -> Option<i64> {
    std::str::from_utf8(header).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::mock;

    #[test]
    fn a_broker_that_is_not_there_is_an_error_by_the_deadline() {
        let begun = Instant::now();
        let settings = mock::producer_settings("127.0.0.1:1", &[]);
        let Err(Error::Connector(message)) =
            Producer::new_by(&settings, "out", begun + Duration::from_secs(1))
        else {
            panic!("a producer to nobody")
        };
        assert!(
            message.contains("127.0.0.1:1") && message.contains("refused"),
            "{message}"
        );
        assert!(
            begun.elapsed() < Duration::from_secs(2),
            "took {:?}",
            begun.elapsed()
        );
    }

    #[test]
    fn a_tag_gives_back_what_was_put_in() {
        for (query, epoch, due_us) in [(0, 0, 0), (255, 1, 1_700_000_000_123_456), (7, 0, 1)] {
            let delivered = Delivered {
                records: 1,
                query,
                epoch,
                due_us,
            };
            assert_eq!(untagged(tag(query, epoch, due_us)), delivered);
        }
    }

    #[test]
    fn a_due_time_is_written_and_read_as_decimal() {
        for value in [0, 7, -1, 1_700_000_000_123_456, i64::MAX, i64::MIN] {
            let mut digits = [0; 20];
            let written = decimal(value, &mut digits);
            assert_eq!(written, value.to_string().as_bytes());
            assert_eq!(read_decimal(written), Some(value));
        }
        assert_eq!(read_decimal(b"soon"), None);
    }
}
