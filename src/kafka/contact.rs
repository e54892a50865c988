//! Whether the brokers answer, as far as fetching goes: what a quiet topic is told apart by from one that cannot be heard.
//!
//! ```text
//!   librdkafka's broker thread: fetch sent --on_request--> asked      answer comes --on_response--> answered, or failed
//!                                                   \------ Answers, one for each broker -----/
//!                                                                    ^ a shard looks now and then
//! ```
//!
//! librdkafka tells neither that a broker is connected nor that a fetch brought nothing. Its interceptors see every request,
//! answer and change of a connection, so they are noted here: two writes for each fetch, of which there are a hundred a second
//! from a quiet broker.
//!
//! Laws:
//! 1. An answer counts for `confirmed_ns` only when the next has come: by then what it brought is in the consumer's queue, as one
//!    thread of librdkafka's handles both, one after the other.
//! 2. A broker is away from when its connection went, or a fetch failed or waited too long, until the next answer. The
//!    connection counts by itself: a broker that is shut down may answer the last fetch first, and then nothing is asked of it.
//!
//! The callbacks run on librdkafka's threads, so they read the monotonic clock of the system themselves.

#![expect(
    clippy::disallowed_types,
    reason = "librdkafka's threads call back, and what they tell belongs to no shard"
)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka_sys as sys;
use sys::rd_kafka_resp_err_t as native;
use velostream_shards::SystemClock;

use crate::config::limits::KAFKA_ANSWER_NS_MAX;

/// The number of the fetch request in Kafka's protocol.
const FETCH: i16 = 1;

/// What has been heard of the brokers of one client.
pub struct Contact {
    brokers: Mutex<Vec<(i32, Answers)>>,
    /// How long an answer may take, nanoseconds.
    patience_ns: u64,
}

/// How one broker has answered fetches. Moments are on the monotonic clock, nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// Since when all was answered in time; `None` while the broker is away.
    since_ns: Option<u64>,
    last_ns: u64,
    confirmed_ns: u64,
    /// When the fetch was sent that is not answered yet.
    asked_ns: Option<u64>,
}

impl Answers {
    /// A fetch was sent at `now_ns`. One that was under way got no answer.
    fn asked(&mut self, now_ns: u64) {
        if self.asked_ns.replace(now_ns).is_some() {
            self.since_ns = None;
        }
    }

    /// The fetch was answered at `now_ns`.
    fn answered(&mut self, now_ns: u64, patience_ns: u64) {
        let asked_ns = self.asked_ns.take();
        let slow = asked_ns.is_some_and(|asked_ns| now_ns.saturating_sub(asked_ns) > patience_ns);
        if slow || self.since_ns.is_none() {
            self.since_ns = Some(now_ns);
        }
        self.confirmed_ns = self.last_ns;
        self.last_ns = now_ns;
    }

    /// The fetch has failed, or the connection is gone.
    fn failed(&mut self) {
        self.asked_ns = None;
        self.since_ns = None;
    }

    /// Since when the broker has answered everything in time; `None` while it is away or an answer takes longer than
    /// `patience_ns`.
    fn steady_since(&self, now_ns: u64, patience_ns: u64) -> Option<u64> {
        let waits = |asked_ns| now_ns.saturating_sub(asked_ns) > patience_ns;
        match self.asked_ns {
            Some(asked_ns) if waits(asked_ns) => None,
            _ => self.since_ns,
        }
    }
}

/// What was known of the brokers at one moment.
#[derive(Clone, Debug, Default)]
pub struct Known {
    brokers: Vec<(i32, Steady)>,
}

/// That a broker answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steady {
    /// Since when it has answered every fetch in time.
    pub since_ns: u64,
    /// What it had by then, the consumer has been given.
    pub confirmed_ns: u64,
}

impl Known {
    /// What is known of `broker`; `None` while it is away.
    pub fn of(&self, broker: i32) -> Option<Steady> {
        let mut brokers = self.brokers.iter();
        let found = brokers.find(|(number, _)| *number == broker);
        found.map(|(_, steady)| *steady)
    }

    /// That `broker` answers, for tests of what is made of it.
    #[cfg(test)]
    pub fn answering(broker: i32, steady: Steady) -> Known {
        Known {
            brokers: vec![(broker, steady)],
        }
    }
}

impl Contact {
    /// For a client whose brokers may hold back an answer for `wait_ms`, to fill it.
    pub(super) fn new(wait_ms: u64) -> Contact {
        Contact {
            brokers: Mutex::default(),
            patience_ns: KAFKA_ANSWER_NS_MAX.saturating_add(wait_ms.saturating_mul(1_000_000)),
        }
    }

    /// What is known of the brokers that answer.
    pub fn known(&self) -> Known {
        let now_ns = SystemClock.monotonic_ns();
        let brokers = self.brokers();
        let steady = brokers.iter().filter_map(|(broker, answers)| {
            let since_ns = answers.steady_since(now_ns, self.patience_ns)?;
            let confirmed_ns = answers.confirmed_ns;
            Some((
                *broker,
                Steady {
                    since_ns,
                    confirmed_ns,
                },
            ))
        });
        Known {
            brokers: steady.collect(),
        }
    }

    /// Lets a client that is made of `conf` tell of its fetches. `contact` must live as long as the client.
    ///
    /// # Safety
    /// `conf` must be alive and not yet taken by a client.
    pub(super) unsafe fn listen(contact: &Arc<Contact>, conf: *mut sys::rd_kafka_conf_t) {
        let opaque = Arc::as_ptr(contact).cast_mut().cast();
        // SAFETY: the caller's promise; the name is NUL-terminated, and librdkafka copies it.
        let added = unsafe {
            sys::rd_kafka_conf_interceptor_add_on_new(conf, NAME.as_ptr(), Some(on_new), opaque)
        };
        assert_eq!(added, native::RD_KAFKA_RESP_ERR_NO_ERROR, "added once");
    }

    fn note(&self, broker: i32, note: impl FnOnce(&mut Answers)) {
        let mut brokers = self.brokers();
        let place = brokers.iter().position(|(number, _)| *number == broker);
        let place = place.unwrap_or_else(|| {
            brokers.push((broker, Answers::default()));
            brokers.len() - 1
        });
        note(&mut brokers[place].1);
    }

    fn brokers(&self) -> MutexGuard<'_, Vec<(i32, Answers)>> {
        // A panic cannot happen while it is held; and if it did, what was noted would still be true.
        self.brokers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const NAME: &CStr = c"velo.contact";

/// Runs in the thread that makes the client.
unsafe extern "C" fn on_new(
    client: *mut sys::rd_kafka_t,
    _conf: *const sys::rd_kafka_conf_t,
    opaque: *mut c_void,
    _reason: *mut c_char,
    _reason_bytes: usize,
) -> native {
    // SAFETY: librdkafka calls this from within `rd_kafka_new`, with the client and the pointer of `listen`; the name is
    // NUL-terminated.
    unsafe {
        let name = NAME.as_ptr();
        match sys::rd_kafka_interceptor_add_on_request_sent(client, name, Some(on_request), opaque)
        {
            native::RD_KAFKA_RESP_ERR_NO_ERROR => {}
            refused => return refused,
        }
        match sys::rd_kafka_interceptor_add_on_broker_state_change(
            client,
            name,
            Some(on_state),
            opaque,
        ) {
            native::RD_KAFKA_RESP_ERR_NO_ERROR => {}
            refused => return refused,
        }
        sys::rd_kafka_interceptor_add_on_response_received(client, name, Some(on_response), opaque)
    }
}

/// Runs on librdkafka's thread for the broker.
unsafe extern "C" fn on_request(
    _client: *mut sys::rd_kafka_t,
    _socket: c_int,
    _name: *const c_char,
    broker: i32,
    request: i16,
    _version: i16,
    _number: i32,
    _bytes: usize,
    opaque: *mut c_void,
) -> native {
    if request == FETCH {
        // SAFETY: the pointer of `listen`, which outlives the client.
        let contact = unsafe { &*opaque.cast::<Contact>() };
        contact.note(broker, |answers| answers.asked(SystemClock.monotonic_ns()));
    }
    native::RD_KAFKA_RESP_ERR_NO_ERROR
}

/// Runs on librdkafka's thread for the broker, or on the one that made it.
unsafe extern "C" fn on_state(
    _client: *mut sys::rd_kafka_t,
    broker: i32,
    _protocol: *const c_char,
    _name: *const c_char,
    _port: c_int,
    state: *const c_char,
    opaque: *mut c_void,
) -> native {
    // SAFETY: librdkafka passes the NUL-terminated name of a state.
    let state = unsafe { CStr::from_ptr(state) };
    if state != c"UP" && state != c"REAUTH" {
        // SAFETY: the pointer of `listen`, which outlives the client.
        let contact = unsafe { &*opaque.cast::<Contact>() };
        contact.note(broker, Answers::failed);
    }
    native::RD_KAFKA_RESP_ERR_NO_ERROR
}

/// Runs on librdkafka's thread for the broker. `error` is librdkafka's own, never one that a broker sent.
unsafe extern "C" fn on_response(
    _client: *mut sys::rd_kafka_t,
    _socket: c_int,
    _name: *const c_char,
    broker: i32,
    request: i16,
    _version: i16,
    _number: i32,
    _bytes: usize,
    _round_trip_us: i64,
    error: native,
    opaque: *mut c_void,
) -> native {
    if request == FETCH {
        // SAFETY: the pointer of `listen`, which outlives the client.
        let contact = unsafe { &*opaque.cast::<Contact>() };
        contact.note(broker, |answers| match error {
            native::RD_KAFKA_RESP_ERR_NO_ERROR => {
                answers.answered(SystemClock.monotonic_ns(), contact.patience_ns);
            }
            _ => answers.failed(),
        });
    }
    native::RD_KAFKA_RESP_ERR_NO_ERROR
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: u64 = 100;

    #[test]
    fn a_broker_that_answers_is_steady_and_an_answer_is_confirmed_by_the_next() {
        let mut answers = Answers::default();
        assert_eq!(answers.steady_since(5, PATIENCE), None, "never heard");
        answers.asked(10);
        answers.answered(20, PATIENCE);
        assert_eq!(
            (answers.steady_since(25, PATIENCE), answers.confirmed_ns),
            (Some(20), 0)
        );
        answers.asked(30);
        answers.answered(40, PATIENCE);
        assert_eq!(
            (answers.steady_since(45, PATIENCE), answers.confirmed_ns),
            (Some(20), 20)
        );
        // Nobody asked for a while: that is our doing, not the broker's.
        assert_eq!(answers.steady_since(10_000, PATIENCE), Some(20));
    }

    #[test]
    fn a_broker_is_away_from_a_fetch_that_failed_until_the_next_answer() {
        let mut answers = Answers::default();
        answers.asked(10);
        answers.answered(20, PATIENCE);
        answers.asked(30);
        answers.failed();
        assert_eq!(answers.steady_since(40, PATIENCE), None);
        answers.asked(1_000);
        assert_eq!(answers.steady_since(1_010, PATIENCE), None);
        answers.answered(1_020, PATIENCE);
        assert_eq!(answers.steady_since(1_030, PATIENCE), Some(1_020));
    }

    #[test]
    fn a_broker_that_hangs_is_away_once_patience_is_over_and_its_answer_begins_anew() {
        let mut answers = Answers::default();
        answers.asked(10);
        answers.answered(20, PATIENCE);
        answers.asked(30);
        assert_eq!(answers.steady_since(130, PATIENCE), Some(20));
        assert_eq!(answers.steady_since(131, PATIENCE), None);
        answers.answered(200, PATIENCE);
        assert_eq!(answers.steady_since(201, PATIENCE), Some(200));
    }
}
