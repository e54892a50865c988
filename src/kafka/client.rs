//! One librdkafka client, of either kind, and what its callbacks heard.
//!
//! Law: a callback never calls back into the engine. It notes what it heard under a lock that is held for a few
//! instructions and never while librdkafka runs; a shard looks at a flag once a batch and takes the lock only if there
//! is something to see.

#![expect(
    clippy::disallowed_types,
    reason = "librdkafka's threads call back, and what they tell belongs to no shard"
)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::io::Write;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka_sys as sys;

use crate::config::secret::Secret;
use crate::error::{Error, Result};

use super::owned::Kind;
use super::produce::Deliveries;
use super::settings::Settings;
use super::{Code, Contact};

/// A client. Its threads are librdkafka's own and inherit the CPU affinity of the thread that creates it.
pub struct Client {
    native: NonNull<sys::rd_kafka_t>,
    heard: Arc<Heard>,
    /// What its fetches tell of the brokers.
    contact: Arc<Contact>,
    bootstrap: String,
}

// SAFETY: librdkafka's client may be used from any thread (its documentation: "the library is completely thread safe");
// what the callbacks share is behind a lock.
unsafe impl Send for Client {}

/// What the callbacks note. librdkafka holds a pointer to it for as long as the client lives.
pub(super) struct Heard {
    /// Whether `notes` holds a fatal error, so that a batch costs one load and no lock.
    fatal: AtomicBool,
    /// Whether all brokers are away, as far as librdkafka has said.
    away: AtomicBool,
    notes: Mutex<Notes>,
    deliveries: Mutex<Deliveries>,
    bootstrap: String,
    /// What must not stand in anything that librdkafka says.
    secrets: Vec<Secret>,
    /// Whether librdkafka was asked, by `debug`, to say what it does.
    talks: bool,
}

#[derive(Default)]
struct Notes {
    /// Why the last connection failed.
    cause: Option<String>,
    /// What to do about that, where it is another thing than to start the broker.
    remedy: Option<&'static str>,
    fatal: Option<String>,
    notices: Vec<String>,
}

impl Client {
    /// A client with these settings. It connects in the background: no broker needs to be there.
    pub fn new(settings: &Settings) -> Result<Client> {
        let heard = Arc::new(Heard {
            fatal: AtomicBool::new(false),
            away: AtomicBool::new(false),
            notes: Mutex::default(),
            deliveries: Mutex::default(),
            bootstrap: settings.bootstrap().to_owned(),
            secrets: settings.secrets(),
            talks: settings
                .property("debug")
                .is_some_and(|debug| !debug.is_empty()),
        });
        let wait_ms = settings.property("fetch.wait.max.ms");
        let wait_ms = wait_ms.and_then(|written| written.parse().ok());
        let contact = Arc::new(Contact::new(wait_ms.unwrap_or_default()));
        let conf = settings.native()?;
        let kind = match settings.kind() {
            Kind::Consumer => sys::rd_kafka_type_t::RD_KAFKA_CONSUMER,
            Kind::Producer => sys::rd_kafka_type_t::RD_KAFKA_PRODUCER,
        };
        let mut reason = [0; 512];
        // SAFETY: the configuration is alive and owned; the callbacks have the signatures asked for and read the opaque
        // pointer as what it is here, a `Heard` that lives until the client has been destroyed (`Drop`).
        let native = unsafe {
            sys::rd_kafka_conf_set_opaque(conf.as_ptr(), Arc::as_ptr(&heard).cast_mut().cast());
            sys::rd_kafka_conf_set_log_cb(conf.as_ptr(), Some(on_log));
            sys::rd_kafka_conf_set_error_cb(conf.as_ptr(), Some(on_error));
            if settings.kind() == Kind::Consumer {
                Contact::listen(&contact, conf.as_ptr());
            }
            if settings.kind() == Kind::Producer {
                sys::rd_kafka_conf_set_dr_msg_cb(conf.as_ptr(), Some(super::produce::on_delivery));
            }
            sys::rd_kafka_new(kind, conf.as_ptr(), reason.as_mut_ptr(), reason.len())
        };
        let Some(native) = NonNull::new(native) else {
            // SAFETY: librdkafka terminates what it writes into `reason`.
            let reason = unsafe { CStr::from_ptr(reason.as_ptr()) }.to_string_lossy();
            return Err(Error::Config(format!(
                "the Kafka client cannot be made: {}; correct that under [kafka], or on the stream",
                heard.scrubbed(&reason)
            )));
        };
        conf.taken();
        Ok(Client {
            native,
            heard,
            contact,
            bootstrap: settings.bootstrap().to_owned(),
        })
    }

    /// The addresses at which the cluster is first asked for.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Takes what the operator should be told: a line when all brokers went away, and one when they were back.
    pub fn take_notices(&self) -> Vec<String> {
        std::mem::take(&mut self.heard.notes().notices)
    }

    /// What its fetches tell of the brokers.
    pub fn contact(&self) -> &Contact {
        &self.contact
    }

    /// An error after which this client is of no use, if there was one.
    pub(super) fn fatal(&self) -> Option<String> {
        if !self.heard.fatal.load(Ordering::Acquire) {
            return None;
        }
        self.heard.notes().fatal.clone()
    }

    /// Whether all brokers are away, as far as librdkafka has said.
    #[inline]
    pub(super) fn is_away(&self) -> bool {
        self.heard.away.load(Ordering::Relaxed)
    }

    /// Something came from a broker: if all were away, they are back.
    pub(super) fn answered(&self) {
        if self.is_away() {
            self.heard.back();
        }
    }

    /// Why the last connection failed, in librdkafka's words, if it said.
    pub(super) fn cause(&self) -> Option<String> {
        self.heard.notes().cause.clone()
    }

    /// Whether a broker has refused this client's name or password, or its certificate is refused here.
    pub(super) fn is_refused(&self) -> bool {
        self.heard.notes().remedy.is_some()
    }

    /// What the delivery callback noted.
    pub(super) fn deliveries(&self) -> MutexGuard<'_, Deliveries> {
        self.heard.deliveries()
    }

    /// Runs the callbacks that are due; waits up to `wait` for one. Not for a consumer with an assignment: its callbacks
    /// come by its queue.
    pub(super) fn serve(&self, wait: Duration) {
        // SAFETY: the client is alive.
        unsafe { sys::rd_kafka_poll(self.as_ptr(), milliseconds(wait)) };
    }

    /// librdkafka's client, alive as long as `self`.
    pub(super) fn as_ptr(&self) -> *mut sys::rd_kafka_t {
        self.native.as_ptr()
    }

    /// The error of a broker that did not answer: names the address, and the reason if librdkafka said one.
    pub(super) fn unreachable(&self) -> Error {
        let cause = self
            .cause()
            .map(|cause| format!(" ({cause})"))
            .unwrap_or_default();
        let remedy = self.heard.notes().remedy;
        Error::Connector(format!(
            "no Kafka broker answers at {}{cause}: {}",
            self.bootstrap,
            remedy.unwrap_or("start it, or correct \"bootstrap.servers\" under [kafka]")
        ))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // SAFETY: the client is alive, and everything taken from it is gone: its owners (`Consumer`, `Producer`) destroy
        // queues, records and topics before they drop it. It has joined no group, so there is none to leave, and leaving
        // could wait for a broker that is away. No callback runs after this returns.
        unsafe {
            sys::rd_kafka_destroy_flags(self.as_ptr(), sys::RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE)
        }
    }
}

impl Heard {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        // A panic cannot happen while it is held; and if it did, what was noted would still be true.
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn deliveries(&self) -> MutexGuard<'_, Deliveries> {
        self.deliveries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn back(&self) {
        self.away.store(false, Ordering::Relaxed);
        self.notes()
            .notices
            .push(format!("the Kafka brokers at {} are back", self.bootstrap));
    }

    /// What librdkafka said, without secrets.
    fn scrubbed(&self, text: &str) -> String {
        let scrub = |text: String, secret: &Secret| secret.scrub(&text);
        self.secrets.iter().fold(text.to_owned(), scrub)
    }

    fn error(&self, code: Code, reason: &str) {
        let reason = self.scrubbed(reason);
        if let Some(remedy) = code.remedy() {
            self.notes().remedy = Some(remedy);
        }
        if code == Code::ALL_BROKERS_DOWN {
            if !self.away.swap(true, Ordering::Relaxed) {
                let mut notes = self.notes();
                let cause = notes
                    .cause
                    .as_ref()
                    .map(|cause| format!(" ({cause})"))
                    .unwrap_or_default();
                notes.notices.push(format!(
                    "all Kafka brokers at {} are away{cause}; waiting for them",
                    self.bootstrap
                ));
            }
        } else if code.is_unknown_topic() {
            // It comes after half a minute in which no broker has known the topic, and by this way only.
            self.fatal(format!(
                "{reason}: it was deleted meanwhile, or its brokers lost it"
            ));
        } else {
            self.notes().cause = Some(reason);
        }
    }

    fn fatal(&self, reason: String) {
        self.notes().fatal.get_or_insert(reason);
        self.fatal.store(true, Ordering::Release);
    }
}

/// The `Heard` behind an opaque pointer.
///
/// # Safety
/// `opaque` must be the one given to librdkafka in `Client::new`, and the client must not have been destroyed.
pub(super) unsafe fn heard<'a>(opaque: *mut c_void) -> &'a Heard {
    // SAFETY: the caller's promise; `Heard` is only used by shared reference.
    unsafe { &*opaque.cast::<Heard>() }
}

/// librdkafka's text, without its line end.
///
/// # Safety
/// `text` must be null or a NUL-terminated text.
pub(super) unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .trim()
        .to_owned()
}

/// A wait as librdkafka takes it; never its "for ever".
pub(super) fn milliseconds(wait: Duration) -> c_int {
    c_int::try_from(wait.as_millis()).unwrap_or(c_int::MAX)
}

/// Runs on any of librdkafka's threads.
unsafe extern "C" fn on_log(
    client: *const sys::rd_kafka_t,
    level: c_int,
    facility: *const c_char,
    line: *const c_char,
) {
    const SYSLOG_ERROR: c_int = 3;
    // SAFETY: librdkafka passes its client, whose opaque pointer is that of `Client::new`.
    let heard = unsafe { heard(sys::rd_kafka_opaque(client)) };
    if level > SYSLOG_ERROR && !heard.talks {
        return;
    }
    // SAFETY: librdkafka passes two NUL-terminated texts.
    let (facility, line) = unsafe { (text(facility), heard.scrubbed(&text(line))) };
    if heard.talks {
        // Standard error may be gone, and there is nowhere left to say so.
        let _ = writeln!(std::io::stderr(), "velo: librdkafka: {facility}: {line}");
    }
    if level <= SYSLOG_ERROR && facility != "ERROR" {
        heard.notes().cause = Some(line);
    }
}

/// Runs on the thread that serves the client's queue.
unsafe extern "C" fn on_error(
    client: *mut sys::rd_kafka_t,
    code: c_int,
    reason: *const c_char,
    opaque: *mut c_void,
) {
    // SAFETY: librdkafka passes a NUL-terminated text and the opaque pointer of `Client::new`.
    let (heard, reason) = unsafe { (heard(opaque), text(reason)) };
    if Code(code) != Code::FATAL {
        heard.error(Code(code), &reason);
        return;
    }
    let mut buffer = [0; 512];
    // SAFETY: the client is alive while it calls back; `buffer` is as long as stated, and librdkafka terminates it.
    let reason = unsafe {
        sys::rd_kafka_fatal_error(client, buffer.as_mut_ptr(), buffer.len());
        text(buffer.as_ptr())
    };
    heard.fatal(heard.scrubbed(&reason));
}
