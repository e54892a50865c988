//! `[metrics]`: where a running job is watched from, and by whom.
//!
//! Law: what other machines can reach asks for a token, and a token is never shown.

use std::fmt;
use std::net::SocketAddr;

use super::limits::METRICS_TOKEN_BYTES;

/// `[metrics]`: an endpoint for `/metrics`, `/livez` and `/readyz`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetricsConfig {
    /// Where it listens; `None` for no endpoint.
    pub listen: Option<SocketAddr>,
    /// What clients must send; `None` for nothing.
    pub token: Option<Token>,
}

/// What a client of the endpoint must send to be answered.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A token; or what is wrong with it, without saying it.
    pub fn new(token: &str) -> Result<Token, String> {
        if !METRICS_TOKEN_BYTES.contains(&token.len()) {
            let (least, most) = METRICS_TOKEN_BYTES.into_inner();
            return Err(format!("must have {least} to {most} letters"));
        }
        if !token.bytes().all(|letter| letter.is_ascii_graphic()) {
            return Err("may hold visible ASCII letters, and no space".to_owned());
        }
        Ok(Token(token.to_owned()))
    }

    /// The token itself, to be compared.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl MetricsConfig {
    /// What is wrong with the section as a whole, if anything is: the key, and why.
    pub fn wrong(&self) -> Option<(&'static str, String)> {
        match (self.listen, &self.token) {
            (Some(address), None) if !address.ip().is_loopback() => Some((
                "metrics.listen",
                format!(
                    "other machines can reach {address}: set metrics.token too, or listen on 127.0.0.1"
                ),
            )),
            (None, Some(_)) => Some((
                "metrics.token",
                "there is no endpoint that would ask for it: set metrics.listen too".to_owned(),
            )),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn section(listen: &str, token: Option<&str>) -> MetricsConfig {
        MetricsConfig {
            listen: listen.parse().ok(),
            token: token.map(|token| Token::new(token).expect("it is right")),
        }
    }

    #[test]
    fn what_other_machines_can_reach_asks_for_a_token() {
        for local in ["127.0.0.1:9646", "127.9.9.9:1", "[::1]:9646"] {
            assert_eq!(section(local, None).wrong(), None);
            assert_eq!(section(local, Some(TOKEN)).wrong(), None);
        }
        for open in ["0.0.0.0:9646", "192.0.2.1:9646", "[::]:9646"] {
            let (key, wrong) = section(open, None).wrong().expect("it is open");
            assert_eq!(key, "metrics.listen");
            assert!(wrong.contains("metrics.token"), "{wrong}");
            assert_eq!(section(open, Some(TOKEN)).wrong(), None);
        }
        let (key, _) = section("off", Some(TOKEN))
            .wrong()
            .expect("it is for nothing");
        assert_eq!(key, "metrics.token");
    }

    #[test]
    fn a_token_is_long_and_never_shown() {
        let shown = format!("{:?}", section("127.0.0.1:1", Some(TOKEN)));
        assert!(
            shown.contains("(secret)") && !shown.contains(TOKEN),
            "{shown}"
        );
        for wrong in [
            "",
            "short",
            "0123456789abcde\n",
            "0123456789 abcdef",
            "0123456789abcdefé",
        ] {
            let told = Token::new(wrong).expect_err("it is wrong");
            assert!(wrong.is_empty() || !told.contains(wrong), "{told}");
        }
    }
}
