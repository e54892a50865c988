//! The endpoint: one thread that listens, a short-lived one for each request, and the job's thread that answers.
//!
//! ```text
//!   listener --accept--> request thread (bounded in number, bytes and time) --Question--> job's thread
//!                              <---------------- Answer, or nobody answered --------------/
//! ```
//!
//! Laws: the threads run where the thread stood that opened the endpoint, and none outlives it. Until the job runs, and while it
//! ends, the phase alone is told: the job's thread then opens sources or flushes sinks and answers nobody.
//!
//! Not here: what the pages say (the job), TLS (a proxy's affair), and an asynchronous runtime: docs/decisions/0024 says why.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::Exposition;
use super::http::{HEAD_END, Page, Request, Response, request};
use crate::config::limits::{
    METRICS_ANSWER_MS_MAX, METRICS_CLIENT_MS_MAX, METRICS_REQUEST_BYTES_MAX, METRICS_REQUESTS_MAX,
};
use crate::config::{MetricsConfig, Token};
use crate::error::{Error, Result};

/// What is asked of the job's thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// The text of all metrics.
    Metrics,
    /// Whether it makes rounds: any answer will do.
    Alive,
    /// Whether it is ready for its work.
    Ready,
}

/// What the job's thread says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Yes; with the text that was asked for, if one was.
    Yes(String),
    /// No, and why.
    No(String),
}

/// Where the job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Sources and sinks are being opened.
    Starting,
    /// It makes rounds.
    Running,
    /// It flushes its sinks and ends.
    Ending,
}

impl Phase {
    const ALL: [Phase; 3] = [Phase::Starting, Phase::Running, Phase::Ending];

    fn line(self) -> &'static str {
        match self {
            Phase::Starting => "starting",
            Phase::Running => "running",
            Phase::Ending => "ending",
        }
    }
}

/// An open endpoint; dropped, it is closed and its threads have ended.
pub struct Endpoint {
    address: SocketAddr,
    asked: Receiver<Asked>,
    shared: Arc<Shared>,
    listening: Option<JoinHandle<()>>,
}

/// A question, and where its answer goes.
struct Asked {
    question: Question,
    reply: SyncSender<Answer>,
}

/// What the threads of an endpoint share.
struct Shared {
    phase: AtomicU8,
    closed: AtomicBool,
    /// Requests under way.
    requests: AtomicUsize,
    token: Option<Token>,
    /// How long the job's thread may take to answer.
    patience: Duration,
}

impl Endpoint {
    /// Opens the endpoint that was configured, if one was. Its threads run where the calling one may.
    ///
    /// # Errors
    /// `Error::Config` when nobody can listen on the address, with what to do.
    pub fn open(config: &MetricsConfig) -> Result<Option<Endpoint>> {
        let Some(address) = config.listen else {
            return Ok(None);
        };
        let patience = Duration::from_millis(METRICS_ANSWER_MS_MAX);
        Endpoint::listen(address, config.token.clone(), patience).map(Some)
    }

    fn listen(address: SocketAddr, token: Option<Token>, patience: Duration) -> Result<Endpoint> {
        let refused = |cause: std::io::Error| {
            let remedy = match cause.kind() {
                ErrorKind::AddrInUse => {
                    "something listens there already, such as another velo; give this one another port"
                }
                ErrorKind::AddrNotAvailable => "this machine has no such address",
                ErrorKind::PermissionDenied => "take a port from 1024 on",
                _ => "take another address",
            };
            Error::Config(format!(
                "metrics.listen: cannot listen on {address}: {cause}; {remedy}"
            ))
        };
        let listener = TcpListener::bind(address).map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let shared = Arc::new(Shared {
            phase: AtomicU8::new(Phase::Starting as u8),
            closed: AtomicBool::new(false),
            requests: AtomicUsize::new(0),
            token,
            patience,
        });
        let (ask, asked) = mpsc::channel();
        let theirs = Arc::clone(&shared);
        let listening = thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(move || accept(&listener, &ask, &theirs))
            .map_err(refused)?;
        Ok(Endpoint {
            address,
            asked,
            shared,
            listening: Some(listening),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The job stands there from now on.
    pub fn enter(&self, phase: Phase) {
        self.shared.phase.store(phase as u8, Ordering::Release);
    }

    /// Answers whoever has asked since the last time; costs next to nothing when nobody has.
    pub fn answer(&self, mut answer: impl FnMut(Question) -> Answer) {
        for Asked { question, reply } in self.asked.try_iter() {
            // Whoever asked may have given up.
            let _heard = reply.try_send(answer(question)).is_ok();
        }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        // The listening thread waits for a client: this is one. Where not even that can be had, the thread ends with the
        // process.
        let known = TcpStream::connect_timeout(
            &reachable(self.address),
            Duration::from_millis(METRICS_CLIENT_MS_MAX),
        );
        if let (Ok(_), Some(listening)) = (known, self.listening.take()) {
            listening
                .join()
                .expect("the listening thread does not panic");
        }
    }
}

/// The address at which a listener on `address` is reached from this machine.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    address
}

impl Shared {
    fn phase(&self) -> Phase {
        Phase::ALL[usize::from(self.phase.load(Ordering::Acquire))]
    }
}

/// A place among the requests under way, given back when it is dropped.
struct Place(Arc<Shared>);

impl Place {
    fn take(shared: &Arc<Shared>) -> Option<Place> {
        let before = shared.requests.fetch_add(1, Ordering::AcqRel);
        let place = Place(Arc::clone(shared));
        (before < METRICS_REQUESTS_MAX).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Takes clients until the endpoint is closed, and then waits for the requests under way.
fn accept(listener: &TcpListener, ask: &Sender<Asked>, shared: &Arc<Shared>) {
    let nap = Duration::from_millis(20);
    while !shared.closed.load(Ordering::Acquire) {
        let Ok((client, _)) = listener.accept() else {
            // Out of descriptors, or a client that has gone: neither is mended by asking at once.
            thread::sleep(nap);
            continue;
        };
        let Some(place) = Place::take(shared) else {
            // Too many at once: this one is let go without a word, for words would cost what there is too little of.
            continue;
        };
        let ask = ask.clone();
        // Without a thread for it, the client is let go.
        let _started = thread::Builder::new()
            .name("metrics-request".to_owned())
            .spawn(move || serve(client, &ask, &place.0));
    }
    while shared.requests.load(Ordering::Acquire) > 0 {
        thread::sleep(nap / 20);
    }
}

/// Serves one client. What it does wrong is its own affair.
fn serve(mut client: TcpStream, ask: &Sender<Asked>, shared: &Shared) {
    let until = Instant::now() + Duration::from_millis(METRICS_CLIENT_MS_MAX);
    let token = shared.token.as_ref().map(Token::reveal);
    let (response, head_only) = match head(&mut client, until, shared) {
        Ok(head) => match request(&head, token) {
            Ok(Request { page, head_only }) => (respond(page, ask, shared), head_only),
            Err(refused) => (refused, false),
        },
        Err(Some(refused)) => (refused, false),
        Err(None) => return,
    };
    let sent = client
        .set_write_timeout(Some(Duration::from_millis(METRICS_CLIENT_MS_MAX)))
        .and_then(|()| client.write_all(&response.bytes(head_only)));
    if sent.is_ok() {
        // What the client sent beyond the head is not read; closed at once, it might never see the answer.
        let _closed = client.shutdown(Shutdown::Write);
    }
}

/// The head of a request; nothing for a client that has gone, or when the endpoint closes.
fn head(
    client: &mut TcpStream,
    until: Instant,
    shared: &Shared,
) -> std::result::Result<Vec<u8>, Option<Response>> {
    let mut head = Vec::new();
    let mut bytes = [0; 1024];
    loop {
        if let Some(end) = head
            .windows(HEAD_END.len())
            .position(|window| window == HEAD_END)
        {
            head.truncate(end + HEAD_END.len());
            return Ok(head);
        }
        if head.len() > METRICS_REQUEST_BYTES_MAX {
            return Err(Some(Response::plain(431, "the request is too long")));
        }
        if shared.closed.load(Ordering::Acquire) {
            return Err(None);
        }
        // Looked at between short waits, so that a client which says nothing does not hold up the end.
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Some(Response::plain(408, "the request took too long")));
        }
        let wait = left.min(Duration::from_millis(100));
        if client.set_read_timeout(Some(wait)).is_err() {
            return Err(None);
        }
        match client.read(&mut bytes) {
            Ok(0) => return Err(None),
            Ok(read) => head.extend_from_slice(&bytes[..read]),
            Err(cause)
                if matches!(
                    cause.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) => {}
            Err(_) => return Err(None),
        }
    }
}

/// The page, as the job's thread has it.
fn respond(page: Page, ask: &Sender<Asked>, shared: &Shared) -> Response {
    let phase = shared.phase();
    let question = match (page, phase) {
        (Page::Metrics, Phase::Running) => Question::Metrics,
        (Page::Ready, Phase::Running) => Question::Ready,
        (Page::Alive, Phase::Running) => Question::Alive,
        // Opening and flushing end by themselves: both have time limits of their own.
        (Page::Alive, _) => return Response::plain(200, phase.line()),
        (Page::Metrics | Page::Ready, _) => return Response::plain(503, phase.line()),
    };
    let (reply, replies) = mpsc::sync_channel(1);
    let until = Instant::now() + shared.patience;
    let _waits = ask.send(Asked { question, reply }).is_ok();
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match replies.recv_timeout(left.min(Duration::from_millis(100))) {
            Ok(Answer::Yes(text)) if page == Page::Metrics => {
                return Response::page(Exposition::CONTENT_TYPE, text);
            }
            Ok(Answer::Yes(_)) => return Response::plain(200, "ok"),
            Ok(Answer::No(reason)) => return Response::plain(503, &reason),
            Err(_) => {}
        }
        // It has gone over to its end meanwhile, which is no fault of its.
        let now = shared.phase();
        if now != phase || shared.closed.load(Ordering::Acquire) {
            let status = if page == Page::Alive { 200 } else { 503 };
            return Response::plain(status, Phase::Ending.line());
        }
        if Instant::now() >= until {
            return Response::plain(503, "the job's thread does not answer");
        }
    }
}

#[cfg(test)]
mod tests;
