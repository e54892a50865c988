//! What a broker says of a topic: its partitions, and for each the oldest offset kept and the next to be written.
//!
//! Law: all of it within one deadline, and the error says which of three things is wrong: no broker answers, the topic is
//! not there, or its leaders do not answer. Read raw: nothing depends on a broker's texts being UTF-8.

use std::ffi::CString;
use std::ptr::{self, NonNull};
use std::time::{Duration, Instant};

use rdkafka_sys as sys;

use crate::error::{Error, Result};

use super::client::milliseconds;
use super::{BROKER_PATIENCE, Client, Code, Settings};

/// The offsets of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Partition.
    pub partition: i32,
    /// The oldest offset that the broker keeps.
    pub oldest: i64,
    /// The offset behind the newest record that may be read.
    pub next: i64,
}

/// How long a topic that the broker does not know is asked for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// A second: a topic made just now may not have reached every broker.
    Reading,
    /// Five seconds: the first question may make the broker create it.
    Writing,
}

/// Asks the cluster for the partitions of `topic` and their offsets, with a client of its own that is gone afterwards:
/// once for a job, so that all its shards agree. `Error::Connector` within 10 s if it does not answer. The spans stand in
/// the order of their partitions, which are `0..n`.
pub fn inspect(settings: &Settings, topic: &str) -> Result<Vec<Span>> {
    inspect_by(settings, topic, Instant::now() + BROKER_PATIENCE)
}

/// For each of `spans` of `topic` the offset of the first record whose timestamp is not before `timestamp_ms`, milliseconds since
/// the epoch; the next to be written where there is none. `Error::Connector` as `inspect`.
pub fn offsets_at(
    settings: &Settings,
    topic: &str,
    spans: &[Span],
    timestamp_ms: i64,
) -> Result<Vec<(i32, i64)>> {
    let deadline = Instant::now() + BROKER_PATIENCE;
    let client = Client::new(&settings.without_group())?;
    partitions_of(&client, topic, Patience::Reading, deadline)?;
    let partitions: Vec<i32> = spans.iter().map(|span| span.partition).collect();
    // Below zero librdkafka means positions, not times; and no record is so old.
    let asked = timestamp_ms.max(0);
    let found = asked_offsets(&client, topic, &partitions, asked, deadline)?;
    let found = spans.iter().zip(found).map(|(span, found)| {
        let offset = found.map_or(span.next, |offset| offset.min(span.next));
        (span.partition, offset)
    });
    Ok(found.collect())
}

fn inspect_by(settings: &Settings, topic: &str, deadline: Instant) -> Result<Vec<Span>> {
    let client = Client::new(&settings.without_group())?;
    let partitions = partitions_of(&client, topic, Patience::Reading, deadline)?;
    let oldest = offsets(
        &client,
        topic,
        &partitions,
        sys::RD_KAFKA_OFFSET_BEGINNING.into(),
        deadline,
    )?;
    let next = offsets(
        &client,
        topic,
        &partitions,
        sys::RD_KAFKA_OFFSET_END.into(),
        deadline,
    )?;
    let spans = partitions.iter().zip(oldest.iter().zip(next));
    Ok(spans
        .map(|(&partition, (&oldest, next))| Span {
            partition,
            oldest,
            next,
        })
        .collect())
}

/// The partitions of `topic`, ascending; at least one.
pub(super) fn partitions_of(
    client: &Client,
    topic: &str,
    patience: Patience,
    deadline: Instant,
) -> Result<Vec<i32>> {
    let unknown_until = Instant::now()
        + match patience {
            Patience::Reading => Duration::from_secs(1),
            Patience::Writing => Duration::from_secs(5),
        };
    let handle = TopicHandle::new(client, topic)?;
    loop {
        let (code, partitions) = metadata(client, &handle, topic, deadline)?;
        if !code.is_error() && !partitions.is_empty() {
            return Ok(partitions);
        }
        let retry_until = if code == Code::LEADER_NOT_AVAILABLE || !code.is_error() {
            deadline
        } else {
            unknown_until
        };
        if Instant::now() >= retry_until || code.is_refusal() {
            return Err(Error::Connector(format!(
                "the broker at {} has no usable topic {topic} ({code}): {}",
                client.bootstrap(),
                if code.is_refusal() {
                    "allow this client to read and write it".to_owned()
                } else {
                    format!(
                        "create it with kafka-topics.sh --bootstrap-server {} --create --topic {topic} --partitions N, or \
                         correct the option topic",
                        client.bootstrap()
                    )
                }
            )));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// How often a question that waits for an answer looks up whether there can be one.
const LOOK_UP: Duration = Duration::from_millis(500);

/// One question for the metadata of one topic.
fn metadata(
    client: &Client,
    handle: &TopicHandle<'_>,
    topic: &str,
    deadline: Instant,
) -> Result<(Code, Vec<i32>)> {
    let mut answer: *const sys::rd_kafka_metadata_t = ptr::null();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // SAFETY: client and topic are alive; `answer` is written if and only if the call succeeds.
        let asked = unsafe {
            let wait = milliseconds(left.min(LOOK_UP));
            sys::rd_kafka_metadata(client.as_ptr(), 0, handle.as_ptr(), &mut answer, wait)
        };
        if !Code::from(asked).is_error() {
            break;
        }
        client.serve(Duration::ZERO);
        // A name, a password or a certificate does not come right by waiting.
        if left <= LOOK_UP || client.is_refused() {
            return Err(client.unreachable());
        }
    }
    // SAFETY: the call succeeded, so `answer` points to `topic_cnt` topics, each with `partition_cnt` partitions, until it
    // is destroyed below; error codes are read as integers (see `Code`).
    let read = unsafe {
        let topics = slice((*answer).topics, (*answer).topic_cnt);
        let read = topics.first().map(|found| {
            let mut partitions: Vec<i32> = slice(found.partitions, found.partition_cnt)
                .iter()
                .map(|p| p.id)
                .collect();
            partitions.sort_unstable();
            (
                Code((&raw const found.err).cast::<i32>().read()),
                partitions,
            )
        });
        sys::rd_kafka_metadata_destroy(answer);
        read
    };
    read.ok_or_else(|| {
        Error::Connector(format!(
            "the broker at {} says nothing of topic {topic}",
            client.bootstrap()
        ))
    })
}

/// For each of `partitions` the offset that `position` (librdkafka's BEGINNING or END) stands for, as long as given.
fn offsets(
    client: &Client,
    topic: &str,
    partitions: &[i32],
    position: i64,
    deadline: Instant,
) -> Result<Vec<i64>> {
    let found = asked_offsets(client, topic, partitions, position, deadline)?;
    let found: Option<Vec<i64>> = found.into_iter().collect();
    found.ok_or_else(|| {
        Error::Connector(format!(
            "the broker at {} does not say where the partitions of topic {topic} begin and end",
            client.bootstrap()
        ))
    })
}

/// For each of `partitions` the first offset at `time` (or at librdkafka's BEGINNING or END), as long as given; `None` where there
/// is none yet.
fn asked_offsets(
    client: &Client,
    topic: &str,
    partitions: &[i32],
    time: i64,
    deadline: Instant,
) -> Result<Vec<Option<i64>>> {
    let mut list = PartitionList::new(topic, partitions.iter().map(|&partition| (partition, time)));
    // The broker takes the two positions in the place of a time, which makes this one request a leader.
    // SAFETY: client and list are alive.
    let asked = unsafe {
        let wait = milliseconds(deadline.saturating_duration_since(Instant::now()));
        sys::rd_kafka_offsets_for_times(client.as_ptr(), list.as_mut_ptr(), wait)
    };
    let unanswered = |code: Code| {
        client.serve(Duration::ZERO);
        let cause = client
            .cause()
            .map(|cause| format!(" ({cause})"))
            .unwrap_or_default();
        Error::Connector(format!(
            "the broker at {} knows topic {topic}, but not all leaders of its partitions answer: {code}{cause}; see that \
             they run, and that advertised.listeners names addresses that can be reached from here",
            client.bootstrap()
        ))
    };
    if Code::from(asked).is_error() {
        return Err(unanswered(asked.into()));
    }
    let mut found = Vec::with_capacity(partitions.len());
    for &partition in partitions {
        let (offset, code) = list.get(partition).expect("the list holds what was put in");
        if code.is_error() {
            return Err(unanswered(code));
        }
        found.push((offset >= 0).then_some(offset));
    }
    Ok(found)
}

/// A C array as a slice.
///
/// # Safety
/// `first` must point to `count` initialised values that live as long as `'a`, or `count` must be zero.
unsafe fn slice<'a, T>(first: *const T, count: std::ffi::c_int) -> &'a [T] {
    if first.is_null() || count <= 0 {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(first, count as usize) }
}

/// A topic's name as C takes it.
pub(super) fn c_name(topic: &str) -> Result<CString> {
    CString::new(topic)
        .map_err(|_| Error::Config(format!("the topic name {topic:?} holds a NUL byte")))
}

/// librdkafka's handle of a topic, given back when dropped.
pub(super) struct TopicHandle<'a> {
    native: NonNull<sys::rd_kafka_topic_t>,
    client: std::marker::PhantomData<&'a Client>,
}

impl<'a> TopicHandle<'a> {
    pub(super) fn new(client: &'a Client, topic: &str) -> Result<TopicHandle<'a>> {
        let name = c_name(topic)?;
        // SAFETY: the client is alive and the name NUL-terminated; a null configuration means the client's own.
        let native =
            unsafe { sys::rd_kafka_topic_new(client.as_ptr(), name.as_ptr(), ptr::null_mut()) };
        let native = NonNull::new(native).ok_or_else(|| {
            Error::Config(format!(
                "{topic:?} cannot be the name of a Kafka topic: correct the option topic"
            ))
        })?;
        Ok(TopicHandle {
            native,
            client: std::marker::PhantomData,
        })
    }

    pub(super) fn as_ptr(&self) -> *mut sys::rd_kafka_topic_t {
        self.native.as_ptr()
    }
}

impl Drop for TopicHandle<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle is alive, and so is its client, which it borrows.
        unsafe { sys::rd_kafka_topic_destroy(self.as_ptr()) }
    }
}

/// librdkafka's list of partitions of one topic, each with an offset.
pub(super) struct PartitionList {
    native: NonNull<sys::rd_kafka_topic_partition_list_t>,
    topic: CString,
}

impl PartitionList {
    /// The partitions of `topic`, whose name a broker has already answered to.
    pub(super) fn new(
        topic: &str,
        offsets: impl ExactSizeIterator<Item = (i32, i64)>,
    ) -> PartitionList {
        let topic = c_name(topic).expect("a topic that a broker knows has no NUL byte in its name");
        let capacity =
            std::ffi::c_int::try_from(offsets.len()).expect("fewer partitions than 2^31");
        // SAFETY: no precondition.
        let native = unsafe { sys::rd_kafka_topic_partition_list_new(capacity) };
        let native = NonNull::new(native).expect("librdkafka allocates or aborts");
        for (partition, offset) in offsets {
            // SAFETY: the list is alive, the name NUL-terminated, and `add` returns the element just made.
            unsafe {
                let element = sys::rd_kafka_topic_partition_list_add(
                    native.as_ptr(),
                    topic.as_ptr(),
                    partition,
                );
                (*element).offset = offset;
            }
        }
        PartitionList { native, topic }
    }

    /// Offset and error of one partition.
    pub(super) fn get(&self, partition: i32) -> Option<(i64, Code)> {
        // SAFETY: the list is alive and the name NUL-terminated; the element lives as long as the list. Its error is read as
        // an integer (see `Code`).
        unsafe {
            let element = sys::rd_kafka_topic_partition_list_find(
                self.native.as_ptr(),
                self.topic.as_ptr(),
                partition,
            );
            let element = NonNull::new(element)?.as_ptr();
            Some((
                (*element).offset,
                Code((&raw const (*element).err).cast::<i32>().read()),
            ))
        }
    }

    /// Puts a text beside the offset of `partition`, which the list holds.
    pub(super) fn set_metadata(&mut self, client: &Client, partition: i32, metadata: &[u8]) {
        if metadata.is_empty() {
            return;
        }
        // SAFETY: list and client are alive, and `find` returns an element of the list. The bytes are copied to memory of
        // librdkafka's allocator, to which the list gives them back; the element has none before.
        unsafe {
            let element = sys::rd_kafka_topic_partition_list_find(
                self.native.as_ptr(),
                self.topic.as_ptr(),
                partition,
            );
            let element = NonNull::new(element).expect("the list holds the partition");
            let copy = sys::rd_kafka_mem_malloc(client.as_ptr(), metadata.len());
            assert!(!copy.is_null(), "librdkafka allocates or aborts");
            ptr::copy_nonoverlapping(metadata.as_ptr(), copy.cast(), metadata.len());
            assert!((*element.as_ptr()).metadata.is_null(), "a text is set once");
            (*element.as_ptr()).metadata = copy;
            (*element.as_ptr()).metadata_size = metadata.len();
        }
    }

    /// Partition, offset, text and error of each element.
    pub(super) fn entries(&self) -> impl Iterator<Item = (i32, i64, &[u8], Code)> {
        // SAFETY: the list is alive and its elements live as long; each has `metadata_size` bytes of metadata, or none. The
        // error is read as an integer (see `Code`).
        let elements = unsafe { slice(self.native.as_ref().elems, self.native.as_ref().cnt) };
        elements.iter().map(|element| {
            // SAFETY: as above.
            unsafe {
                let metadata = match element.metadata.is_null() {
                    true => &[][..],
                    false => {
                        std::slice::from_raw_parts(element.metadata.cast(), element.metadata_size)
                    }
                };
                let code = Code((&raw const element.err).cast::<i32>().read());
                (element.partition, element.offset, metadata, code)
            }
        })
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut sys::rd_kafka_topic_partition_list_t {
        self.native.as_ptr()
    }
}

impl Drop for PartitionList {
    fn drop(&mut self) {
        // SAFETY: the list is alive and owned.
        unsafe { sys::rd_kafka_topic_partition_list_destroy(self.native.as_ptr()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::mock;

    #[test]
    fn a_broker_that_is_not_there_is_an_error_by_the_deadline_and_names_address_and_cause() {
        let begun = Instant::now();
        let nowhere = mock::consumer_settings("127.0.0.1:1", &[]);
        let Err(Error::Connector(message)) =
            inspect_by(&nowhere, "t", begun + Duration::from_secs(1))
        else {
            panic!("answered by nobody")
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
    fn a_topic_is_its_partitions_and_their_offsets() {
        let broker = mock::broker(&[("t", 3)]);
        let settings = broker.consumer(&[]);
        let record = super::super::Outgoing {
            headers: &[],
            query: 0,
            epoch: 0,
            partition: Some(1),
            key: None,
            value: Some(b"v"),
            timestamp_ms: None,
            due_us: 0,
            due_header: false,
        };
        mock::write(&broker, "t", [record; 5]);
        let span = |partition, next| Span {
            partition,
            oldest: 0,
            next,
        };
        assert_eq!(
            inspect(&settings, "t").expect("the mock answers"),
            [span(0, 0), span(1, 5), span(2, 0)]
        );
    }
}
