//! Secrets: values that are used and never shown.
//!
//! ```text
//!   "sasl.password" = "..."              known by its name  --\
//!   .. = { file = "/run/secrets/pw" }    reference.rs ---------> Secret: Debug and Display say (secret)
//!   .. = "${PASSWORD}"                   reference.rs -------/
//! ```
//!
//! Law: only `reveal` gives a secret away, and only what hands it to librdkafka calls that. Secrets in a text of SQL are
//! `blot`'s.

use std::fmt;

/// What is shown in the place of a secret.
pub(super) const SHOWN: &str = "(secret)";

/// A value that must not be seen.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `value` from being shown.
    pub fn new(value: impl Into<String>) -> Secret {
        Secret(value.into())
    }

    /// The value itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// `text` without this value.
    pub fn scrub(&self, text: &str) -> String {
        match self.0.is_empty() {
            true => text.to_owned(),
            false => text.replace(&self.0, SHOWN),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SHOWN)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SHOWN)
    }
}

/// Whether what is called `name` is a secret however it was written: librdkafka's passwords, keys and tokens, and whatever
/// else says that it is one.
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    [
        "password",
        "passwd",
        "passphrase",
        "secret",
        "credential",
        "jaas",
    ]
    .iter()
    .any(|word| name.contains(word))
        || name.ends_with("key.pem")
        || name.ends_with("sasl.oauthbearer.config")
        || name.ends_with("token")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_nothing_of_itself() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "(secret) (secret)");
        assert_eq!(secret.reveal(), "hunter2");
        assert_eq!(
            secret.scrub("user:hunter2@host hunter2"),
            "user:(secret)@host (secret)"
        );
        assert_eq!(Secret::new("").scrub("text"), "text");
    }

    #[test]
    fn the_secrets_of_librdkafka_are_known_by_name() {
        for name in [
            "sasl.password",
            "ssl.key.password",
            "ssl.key.pem",
            "ssl.keystore.password",
            "sasl.oauthbearer.client.secret",
            "sasl.oauthbearer.client.credentials.client.secret",
            "sasl.oauthbearer.config",
            "sasl.oauthbearer.assertion.private.key.passphrase",
            "sasl.oauthbearer.assertion.private.key.pem",
            "sasl.jaas.config",
            "kafka.consumer.sasl.password",
            "metrics.token",
            "SASL.PASSWORD",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in [
            "sasl.username",
            "sasl.mechanisms",
            "ssl.key.location",
            "ssl.ca.pem",
            "key.columns",
            "key.format",
            "bootstrap.servers",
            "sasl.oauthbearer.token.endpoint.url",
        ] {
            assert!(!is_secret_name(name), "{name}");
        }
    }
}
