//! What a Kafka record has beside a key and bytes: headers, and whether it has a value at all.
//!
//! Rows have none of it; a dead letter is the record as it came, and has all of it.

/// A header: its name, and its value, which may be null.
pub type MessageHeader = (Vec<u8>, Option<Vec<u8>>);

/// Bytes of the two lengths that stand before a header's name and value.
const HEADER_FRAMING_BYTES: usize = 10;

/// One record's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// Its headers, in order.
    pub headers: Vec<MessageHeader>,
    /// Whether it has no value, which is not the same as no bytes.
    pub is_tombstone: bool,
}

impl Envelope {
    /// Bytes that the headers take at most.
    pub fn bytes(&self) -> usize {
        let header = |(name, value): &MessageHeader| {
            name.len() + value.as_ref().map_or(0, Vec::len) + HEADER_FRAMING_BYTES
        };
        self.headers.iter().map(header).sum()
    }
}
