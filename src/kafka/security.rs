//! TLS and SASL: what this build can do, and what belongs together. Everything else about them passes through to librdkafka.
//!
//! Law: what a connection needs and does not have is said before one is tried.

/// Whether this build has TLS, and with it SCRAM and OAUTHBEARER.
pub(super) const HAS_TLS: bool = cfg!(feature = "tls");

/// Why a property cannot be had in a build without TLS, `None` if it can.
pub(super) fn why_not_built(name: &str, value: &str) -> Option<&'static str> {
    let value = value.trim().to_ascii_lowercase();
    let asks = match name {
        "security.protocol" => matches!(value.as_str(), "ssl" | "sasl_ssl"),
        "sasl.mechanism" | "sasl.mechanisms" => {
            value.starts_with("scram-") || value == "oauthbearer"
        }
        _ => name.starts_with("ssl.") || name.starts_with("enable.ssl."),
    };
    asks.then_some(
        "this velo was built without the cargo feature tls; build it with that (cargo build --release; libssl-dev is needed), \
         or leave it out",
    )
}

/// Why the file that a property names cannot be used, `None` if it can or if it names none. librdkafka does not say which it is.
pub(super) fn why_unreadable(name: &str, value: &str) -> Option<String> {
    let names_one = name.starts_with("ssl.") && name.ends_with(".location") && value != "probe";
    let cause = std::fs::metadata(value).err().filter(|_| names_one)?;
    Some(format!(
        "cannot be read: {cause}; correct the path, or allow this user to read it"
    ))
}

/// What is configured of SASL.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sasl<'s> {
    /// `security.protocol`.
    pub protocol: Option<&'s str>,
    /// `sasl.mechanisms`.
    pub mechanism: Option<&'s str>,
    /// Whether `sasl.username` and `sasl.password` are there.
    pub has_credentials: bool,
}

impl Sasl<'_> {
    /// What is missing for it, and what to write.
    pub(super) fn missing(&self) -> Option<String> {
        let protocol = self
            .protocol
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        if !protocol.starts_with("sasl_") {
            return None;
        }
        let mechanism = self.mechanism.unwrap_or("GSSAPI").trim();
        let is_by_password = mechanism == "PLAIN" || mechanism.starts_with("SCRAM-");
        match mechanism {
            "GSSAPI" => Some(format!(
                "{protocol} needs a mechanism: set sasl.mechanism to PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512 (GSSAPI, librdkafka's \
                 default, is not built in)"
            )),
            _ if is_by_password && !self.has_credentials => Some(format!(
                "{protocol} with {mechanism} needs a name and a password: set sasl.username, and sasl.password = {{ file = \"..\" }}"
            )),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_tls_is_known() {
        for (name, value) in [
            ("security.protocol", "ssl"),
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanism", "SCRAM-SHA-256"),
            ("sasl.mechanisms", "OAUTHBEARER"),
            ("ssl.ca.location", "ca.pem"),
            ("enable.ssl.certificate.verification", "false"),
        ] {
            let why = why_not_built(name, value).expect(name);
            assert!(why.contains("the cargo feature tls"), "{why}");
        }
        for (name, value) in [
            ("security.protocol", "plaintext"),
            ("security.protocol", "sasl_plaintext"),
            ("sasl.mechanism", "PLAIN"),
            ("client.id", "ssl"),
        ] {
            assert_eq!(why_not_built(name, value), None, "{name} = {value}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_found_out() {
        assert!(why_unreadable("ssl.ca.location", "absent.pem").is_some());
        assert_eq!(why_unreadable("ssl.ca.location", "/dev/null"), None);
        assert_eq!(why_unreadable("ssl.ca.location", "probe"), None);
        assert_eq!(why_unreadable("client.id", "absent.pem"), None);
    }

    #[test]
    fn sasl_needs_a_mechanism_and_credentials() {
        let missing = |protocol, mechanism, has_credentials| {
            let sasl = Sasl {
                protocol,
                mechanism,
                has_credentials,
            };
            sasl.missing()
        };
        let protocol = Some("sasl_plaintext");
        let wrong = missing(protocol, None, true).expect("no mechanism");
        assert!(wrong.contains("set sasl.mechanism to PLAIN"), "{wrong}");
        let wrong = missing(protocol, Some("PLAIN"), false).expect("no password");
        assert!(wrong.contains("set sasl.username"), "{wrong}");
        assert_eq!(missing(protocol, Some("SCRAM-SHA-512"), true), None);
        assert_eq!(missing(protocol, Some("OAUTHBEARER"), false), None);
        assert_eq!(missing(Some("plaintext"), None, false), None);
        assert_eq!(missing(None, None, false), None);
    }
}
