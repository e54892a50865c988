//! librdkafka's error codes, as the number they are on the wire.
//!
//! Law: a code is read as an integer and never as the binding's Rust enum, because a broker may send one that the enum
//! does not know, and an enum with an unknown value is undefined behaviour.

use std::ffi::CStr;
use std::fmt;

use rdkafka_sys as sys;
use sys::rd_kafka_resp_err_t as native;

/// An error code; negative ones are librdkafka's own, positive ones the broker's, zero is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Code(pub i32);

impl Code {
    /// No error.
    pub const NONE: Code = Code(0);
    pub(super) const PARTITION_END: Code = Code(native::RD_KAFKA_RESP_ERR__PARTITION_EOF as i32);
    pub(super) const ALL_BROKERS_DOWN: Code =
        Code(native::RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN as i32);
    pub(super) const FATAL: Code = Code(native::RD_KAFKA_RESP_ERR__FATAL as i32);
    pub(super) const QUEUE_FULL: Code = Code(native::RD_KAFKA_RESP_ERR__QUEUE_FULL as i32);
    pub(super) const RECORD_TIMED_OUT: Code = Code(native::RD_KAFKA_RESP_ERR__MSG_TIMED_OUT as i32);
    pub(super) const LEADER_NOT_AVAILABLE: Code =
        Code(native::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE as i32);
    const TOO_LARGE: Code = Code(native::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE as i32);
    const UNKNOWN_TOPIC: Code = Code(native::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC as i32);
    const UNKNOWN_PARTITION: Code = Code(native::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION as i32);
    const UNKNOWN_TOPIC_OR_PARTITION: Code =
        Code(native::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART as i32);
    const AUTO_OFFSET_RESET: Code = Code(native::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET as i32);
    const OFFSET_OUT_OF_RANGE: Code = Code(native::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE as i32);
    const BAD_RECORD: Code = Code(native::RD_KAFKA_RESP_ERR__BAD_MSG as i32);
    const BAD_COMPRESSION: Code = Code(native::RD_KAFKA_RESP_ERR__BAD_COMPRESSION as i32);
    const AUTHENTICATION: Code = Code(native::RD_KAFKA_RESP_ERR__AUTHENTICATION as i32);
    const SASL_AUTHENTICATION_FAILED: Code =
        Code(native::RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED as i32);
    const SSL: Code = Code(native::RD_KAFKA_RESP_ERR__SSL as i32);
    const TOPIC_AUTHORIZATION_FAILED: Code =
        Code(native::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED as i32);
    const CLUSTER_AUTHORIZATION_FAILED: Code =
        Code(native::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED as i32);
    const GROUP_AUTHORIZATION_FAILED: Code =
        Code(native::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED as i32);
    const UNKNOWN_MEMBER: Code = Code(native::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID as i32);
    const ILLEGAL_GENERATION: Code = Code(native::RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION as i32);
    const REBALANCE_IN_PROGRESS: Code =
        Code(native::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS as i32);
    const INVALID_GROUP: Code = Code(native::RD_KAFKA_RESP_ERR_INVALID_GROUP_ID as i32);
    pub(super) const METADATA_TOO_LARGE: Code =
        Code(native::RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE as i32);

    /// Whether this is an error at all.
    pub fn is_error(self) -> bool {
        self != Code::NONE
    }

    /// Whether the topic or partition is not there, or no longer.
    pub fn is_unknown_topic(self) -> bool {
        [
            Code::UNKNOWN_TOPIC,
            Code::UNKNOWN_PARTITION,
            Code::UNKNOWN_TOPIC_OR_PARTITION,
        ]
        .contains(&self)
    }

    /// Whether a record, or the batch that it is in, is larger than the topic takes.
    pub fn is_too_large(self) -> bool {
        self == Code::TOO_LARGE
    }

    /// Whether the offset asked for is not among those that the broker keeps.
    pub fn is_offset_lost(self) -> bool {
        [Code::AUTO_OFFSET_RESET, Code::OFFSET_OUT_OF_RANGE].contains(&self)
    }

    /// Whether the broker refuses us.
    pub fn is_refusal(self) -> bool {
        [
            Code::AUTHENTICATION,
            Code::SASL_AUTHENTICATION_FAILED,
            Code::TOPIC_AUTHORIZATION_FAILED,
            Code::CLUSTER_AUTHORIZATION_FAILED,
            Code::GROUP_AUTHORIZATION_FAILED,
        ]
        .contains(&self)
    }

    /// What to do about a connection that failed so, where it is another thing than to start the broker.
    pub(super) fn remedy(self) -> Option<&'static str> {
        match self {
            Code::AUTHENTICATION | Code::SASL_AUTHENTICATION_FAILED => Some(
                "correct \"sasl.username\", \"sasl.password\" or \"sasl.mechanism\" under [kafka], or let the broker know this user",
            ),
            Code::SSL => Some(
                "see that \"security.protocol\" is that of the listener, and that \"ssl.ca.location\" names the certificate that \
                 signed the broker's",
            ),
            _ => None,
        }
    }

    /// Whether a group will never take our commits: we may not, others have joined it, or its brokers keep too little.
    pub fn ends_commits(self) -> bool {
        self.is_refusal()
            || [
                Code::UNKNOWN_MEMBER,
                Code::ILLEGAL_GENERATION,
                Code::REBALANCE_IN_PROGRESS,
                Code::INVALID_GROUP,
                Code::METADATA_TOO_LARGE,
            ]
            .contains(&self)
    }

    /// Whether bytes came that are not what was written.
    pub fn is_damage(self) -> bool {
        [Code::BAD_RECORD, Code::BAD_COMPRESSION].contains(&self)
    }

    /// Whether a read cannot go on after it. Everything else passes: librdkafka connects again.
    pub fn ends_a_read(self) -> bool {
        self == Code::FATAL
            || self.is_unknown_topic()
            || self.is_offset_lost()
            || self.is_refusal()
            || self.is_damage()
    }
}

impl From<native> for Code {
    fn from(code: native) -> Code {
        Code(code as i32)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match native::try_from(self.0) {
            Ok(known) => {
                // SAFETY: `known` is a value of the enum; the text returned is static and NUL-terminated.
                let text = unsafe { CStr::from_ptr(sys::rd_kafka_err2str(known)) };
                f.write_str(&text.to_string_lossy())
            }
            Err(_) => write!(f, "error {} of the broker", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_that_the_binding_does_not_know_is_still_shown() {
        assert_eq!(Code(31_999).to_string(), "error 31999 of the broker");
        assert_eq!(
            Code::UNKNOWN_TOPIC_OR_PARTITION.to_string(),
            "Broker: Unknown topic or partition"
        );
    }

    #[test]
    fn a_broker_that_is_away_does_not_end_a_read() {
        assert!(!Code::ALL_BROKERS_DOWN.ends_a_read());
        assert!(!Code::LEADER_NOT_AVAILABLE.ends_a_read());
        assert!(Code::AUTO_OFFSET_RESET.ends_a_read());
    }
}
