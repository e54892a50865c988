//! The endpoint by real connections on loopback, with a job's thread that the test plays.

use super::*;

const TOKEN: &str = "0123456789abcdef";

fn endpoint(token: Option<&str>) -> Endpoint {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let token = token.map(|token| Token::new(token).expect("it is long enough"));
    let patience = Duration::from_millis(300);
    Endpoint::listen(address, token, patience).expect("a port is free")
}

/// Sends `text` and returns what comes back until the connection is closed.
fn say(address: SocketAddr, text: &str) -> String {
    let mut client = TcpStream::connect(address).expect("it listens");
    client.write_all(text.as_bytes()).expect("it is read");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("text");
    answer
}

fn get(address: SocketAddr, page: &str) -> String {
    say(address, &format!("GET {page} HTTP/1.1\r\nHost: a\r\n\r\n"))
}

/// What `asking` says while the test's thread answers as a job's does.
fn answered(
    endpoint: &Endpoint,
    answer: impl Fn(Question) -> Answer,
    asking: impl FnOnce(SocketAddr) -> String + Send + 'static,
) -> String {
    let address = endpoint.address();
    let asking = thread::spawn(move || asking(address));
    while !asking.is_finished() {
        endpoint.answer(&answer);
        thread::sleep(Duration::from_millis(1));
    }
    asking.join().expect("it only asks")
}

#[test]
fn a_running_job_is_asked_and_its_answer_is_the_page() {
    let endpoint = endpoint(None);
    endpoint.enter(Phase::Running);
    let answer = |question| match question {
        Question::Metrics => Answer::Yes("velo_rows_out_total 7\n".to_owned()),
        Question::Alive => Answer::Yes(String::new()),
        Question::Ready => Answer::No("shard 1 is saturated".to_owned()),
    };
    for (page, status, end) in [
        ("/metrics", "200 OK", "\r\n\r\nvelo_rows_out_total 7\n"),
        ("/livez", "200 OK", "\r\n\r\nok\n"),
        (
            "/readyz",
            "503 Service Unavailable",
            "\r\n\r\nshard 1 is saturated\n",
        ),
        ("/", "404 Not Found", "/readyz\n"),
    ] {
        let said = answered(&endpoint, answer, move |address| get(address, page));
        assert!(
            said.starts_with(&format!("HTTP/1.1 {status}\r\n")),
            "{said}"
        );
        assert!(said.ends_with(end), "{said}");
    }
}

#[test]
fn a_job_that_starts_or_ends_is_alive_and_not_ready_without_being_asked() {
    let endpoint = endpoint(None);
    for (phase, line) in [(Phase::Starting, "starting"), (Phase::Ending, "ending")] {
        endpoint.enter(phase);
        for (page, status) in [("/livez", 200), ("/readyz", 503), ("/metrics", 503)] {
            let said = get(endpoint.address(), page);
            assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{said}");
            assert!(said.ends_with(&format!("\r\n\r\n{line}\n")), "{said}");
        }
    }
}

#[test]
fn a_job_that_makes_no_rounds_is_not_alive() {
    let endpoint = endpoint(None);
    endpoint.enter(Phase::Running);
    let said = get(endpoint.address(), "/livez");
    assert!(said.starts_with("HTTP/1.1 503 "), "{said}");
    assert!(said.contains("does not answer"), "{said}");
    // The question that nobody waits for any more is answered into the void.
    endpoint.answer(|_| Answer::Yes(String::new()));
}

#[test]
fn a_job_that_ends_while_it_is_asked_was_alive() {
    let endpoint = endpoint(None);
    endpoint.enter(Phase::Running);
    let address = endpoint.address();
    let asking = thread::spawn(move || get(address, "/livez"));
    thread::sleep(Duration::from_millis(50));
    endpoint.enter(Phase::Ending);
    let said = asking.join().expect("it only asks");
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
}

#[test]
fn nothing_is_told_without_the_token() {
    let endpoint = endpoint(Some(TOKEN));
    let said = get(endpoint.address(), "/livez");
    assert!(said.starts_with("HTTP/1.1 401 "), "{said}");
    assert!(
        !said.contains(TOKEN) && !said.contains("starting"),
        "{said}"
    );
    let said = say(
        endpoint.address(),
        &format!("GET /livez HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"),
    );
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
}

#[test]
fn clients_that_say_nothing_hold_up_nobody_and_are_let_go() {
    let endpoint = endpoint(None);
    let address = endpoint.address();
    let silent: Vec<TcpStream> = (0..METRICS_REQUESTS_MAX - 1)
        .map(|_| TcpStream::connect(address).expect("it listens"))
        .collect();
    let said = get(address, "/livez");
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    let one = TcpStream::connect(address).expect("it listens");
    // Every place is taken: whoever comes now is let go at once.
    let mut late = TcpStream::connect(address).expect("the system takes it");
    let mut said = Vec::new();
    // The last place may have been given back late by the answer above.
    let _refused = late.read_to_end(&mut said);
    assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 408"));
    drop((silent, one));
}

#[test]
fn too_long_a_request_is_refused() {
    let endpoint = endpoint(None);
    let long = "a".repeat(METRICS_REQUEST_BYTES_MAX);
    let mut client = TcpStream::connect(endpoint.address()).expect("it listens");
    let request = format!("GET /livez HTTP/1.1\r\nX: {long}");
    client.write_all(request.as_bytes()).expect("it is read");
    let mut said = [0; 12];
    client.read_exact(&mut said).expect("an answer");
    assert_eq!(&said, b"HTTP/1.1 431");
}

#[test]
fn an_address_in_use_is_told_with_what_to_do() {
    let first = endpoint(None);
    let patience = Duration::from_millis(1);
    let second = Endpoint::listen(first.address(), None, patience);
    let error = second.err().expect("the port is taken");
    assert_eq!(error.exit_code(), crate::error::exit::CONFIG);
    let text = error.to_string();
    let address = first.address().to_string();
    for words in ["metrics.listen", &address, "give this one another port"] {
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn a_closed_endpoint_leaves_no_thread_and_no_listener() {
    let address = {
        let endpoint = endpoint(None);
        let _silent = TcpStream::connect(endpoint.address()).expect("it listens");
        endpoint.address()
    };
    assert!(TcpStream::connect(address).is_err(), "somebody listens");
    let shared = {
        let endpoint = endpoint(None);
        Arc::downgrade(&endpoint.shared)
    };
    assert!(shared.upgrade().is_none(), "a thread holds what it shared");
}
