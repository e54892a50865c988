//! The HTTP that the endpoint speaks: a request's head in, a response out.
//!
//! Law: three pages, GET and HEAD, one request a connection; everything else is refused with the status that says why. Where a
//! token is asked for, nothing is told without it, not even which pages there are, and how much of a wrong one was right is
//! not to be learnt from the time that the answer takes.

use std::hint::black_box;

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    /// `/metrics`.
    Metrics,
    /// `/livez`.
    Alive,
    /// `/readyz`.
    Ready,
}

/// A request that can be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) page: Page,
    /// Whether only the head of the response is wanted.
    pub(super) head_only: bool,
}

/// What is sent back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Response {
    status: u16,
    content_type: &'static str,
    body: String,
}

/// What ends the head of a request.
pub(super) const HEAD_END: &[u8] = b"\r\n\r\n";

const PLAIN: &str = "text/plain; charset=utf-8";

impl Response {
    /// A page of a content type.
    pub(super) fn page(content_type: &'static str, body: String) -> Response {
        Response {
            status: 200,
            content_type,
            body,
        }
    }

    /// One line under a status.
    pub(super) fn plain(status: u16, line: &str) -> Response {
        Response {
            status,
            content_type: PLAIN,
            body: format!("{line}\n"),
        }
    }

    /// The response as it is sent.
    pub(super) fn bytes(&self, head_only: bool) -> Vec<u8> {
        let Response {
            status,
            content_type,
            body,
        } = self;
        let more = match status {
            401 => "WWW-Authenticate: Bearer\r\n",
            405 => "Allow: GET, HEAD\r\n",
            _ => "",
        };
        let head = format!(
            "HTTP/1.1 {status} {}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n{more}Cache-Control: no-store\r\n\
             Connection: close\r\n\r\n",
            reason(*status),
            body.len()
        );
        let body = if head_only { "" } else { body };
        [head.as_bytes(), body.as_bytes()].concat()
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        other => panic!("{other} is a status that nobody sends"),
    }
}

/// Reads the head of a request, its empty line included, and holds it against `token`, if one is asked for.
pub(super) fn request(head: &[u8], token: Option<&str>) -> Result<Request, Response> {
    let broken = || Response::plain(400, "this is no HTTP request");
    let text = std::str::from_utf8(head).map_err(|_| broken())?;
    let mut lines = text.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(broken());
    };
    if !matches!(version, "HTTP/1.1" | "HTTP/1.0") {
        return Err(broken());
    }
    if let Some(token) = token {
        let given = lines
            .filter_map(|line| line.split_once(':'))
            .find_map(
                |(name, value)| match name.eq_ignore_ascii_case("authorization") {
                    true => bearer(value),
                    false => None,
                },
            );
        if !given.is_some_and(|given| is_equal(given.as_bytes(), token.as_bytes())) {
            return Err(Response::plain(
                401,
                "send the token of metrics.token: Authorization: Bearer TOKEN",
            ));
        }
    }
    let head_only = match method {
        "GET" => false,
        "HEAD" => true,
        _ => return Err(Response::plain(405, "only GET and HEAD are answered")),
    };
    let page = match target.split('?').next() {
        Some("/metrics") => Page::Metrics,
        Some("/livez") => Page::Alive,
        Some("/readyz") => Page::Ready,
        _ => {
            return Err(Response::plain(
                404,
                "the pages are /metrics, /livez and /readyz",
            ));
        }
    };
    Ok(Request { page, head_only })
}

/// The token of an `Authorization` header of the scheme `Bearer`.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.trim().split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim_start())
}

/// Whether they are equal, in a time that depends on the length of what was given alone.
fn is_equal(given: &[u8], wanted: &[u8]) -> bool {
    let mut differs = u8::from(given.len() != wanted.len());
    let mut around = wanted.iter().cycle();
    for byte in given {
        let wanted = around.next().copied().unwrap_or(0);
        // Looked at from outside, so that no compiler leaves the loop early.
        differs = black_box(differs | (byte ^ wanted));
    }
    differs == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn asked(head: &str) -> Result<Request, u16> {
        request(head.as_bytes(), None).map_err(|response| response.status)
    }

    #[test]
    fn three_pages_are_known() {
        for (target, page) in [
            ("/metrics", Page::Metrics),
            ("/metrics?name=x", Page::Metrics),
            ("/livez", Page::Alive),
            ("/readyz", Page::Ready),
        ] {
            for (method, head_only) in [("GET", false), ("HEAD", true)] {
                let head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
                assert_eq!(asked(&head), Ok(Request { page, head_only }));
            }
        }
    }

    #[test]
    fn anything_else_is_refused_with_its_status() {
        for (head, status) in [
            ("GET / HTTP/1.1\r\n\r\n", 404),
            ("GET /metrics/ HTTP/1.1\r\n\r\n", 404),
            ("POST /metrics HTTP/1.1\r\n\r\n", 405),
            ("GET /metrics HTTP/2.0\r\n\r\n", 400),
            ("GET /metrics\r\n\r\n", 400),
            ("GET  /metrics HTTP/1.1\r\n\r\n", 400),
            ("\r\n\r\n", 400),
            ("\x16\x03\x01\r\n\r\n", 400),
        ] {
            assert_eq!(asked(head), Err(status), "{head:?}");
        }
        let refused = request(b"GET /\xff HTTP/1.1\r\n\r\n", None).expect_err("no text");
        assert_eq!(refused.status, 400);
    }

    #[test]
    fn with_a_token_nothing_is_told_without_it() {
        let asked = |header: &str, target: &str| {
            let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{header}\r\n\r\n");
            request(head.as_bytes(), Some(TOKEN)).map_err(|response| response.status)
        };
        for right in [
            "Authorization: Bearer 0123456789abcdef",
            "authorization:bearer   0123456789abcdef ",
        ] {
            assert!(asked(right, "/metrics").is_ok(), "{right}");
        }
        for wrong in [
            "X: y",
            "Authorization: Bearer",
            "Authorization: Bearer ",
            "Authorization: Bearer 0123456789abcde",
            "Authorization: Bearer 0123456789abcdef0123456789abcdef",
            "Authorization: Bearer 0123456789abcdeF",
            "Authorization: Basic 0123456789abcdef",
            "Authorization: 0123456789abcdef",
            "X-Authorization: Bearer 0123456789abcdef",
        ] {
            for target in ["/metrics", "/livez", "/nothing"] {
                assert_eq!(asked(wrong, target), Err(401), "{wrong}");
            }
        }
    }

    #[test]
    fn a_response_says_its_length_and_closes() {
        let response = Response::plain(401, "no");
        let text = String::from_utf8(response.bytes(false)).expect("ASCII");
        assert!(text.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{text}");
        for header in [
            "Content-Length: 3",
            "WWW-Authenticate: Bearer",
            "Connection: close",
        ] {
            assert!(text.contains(&format!("{header}\r\n")), "{header}: {text}");
        }
        assert!(text.ends_with("\r\n\r\nno\n"));
        let head = String::from_utf8(response.bytes(true)).expect("ASCII");
        assert!(head.contains("Content-Length: 3\r\n") && head.ends_with("\r\n\r\n"));
    }
}
