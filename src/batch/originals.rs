//! Records as they came: key, payload and headers, byte for byte.
//!
//! ```text
//!   source memory --Original (borrowed)--+--decoding failed-----------------> DeadLetter
//!                                        \--Originals, with the batch--find--> DeadLetter, if a query has to tell it later
//! ```
//!
//! Law: what is told of a record are the bytes that the source was given, whatever has been made of them since. They are kept
//! only for a stream whose bad records go to a dead letter; any other batch has none, and pays nothing.

use super::Origin;

/// A header of a Kafka record. Its value may be null, which is not the same as no bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Its value.
    pub value: Option<&'a [u8]>,
}

/// A record, in memory that belongs to somebody else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Original<'a> {
    /// Its key; `None` if it has none.
    pub key: Option<&'a [u8]>,
    /// Its value, or its line without the line's end; `None` for a tombstone.
    pub payload: Option<&'a [u8]>,
    /// Its headers, in order.
    pub headers: Vec<Header<'a>>,
}

impl<'a> Original<'a> {
    /// A record of a file, which has neither a key nor headers.
    pub fn line(payload: &'a [u8]) -> Original<'a> {
        Original {
            key: None,
            payload: Some(payload),
            headers: Vec::new(),
        }
    }

    /// The same in memory of its own.
    pub fn to_owned(&self) -> OwnedOriginal {
        let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        let headers = self.headers.iter();
        OwnedOriginal {
            key: owned(self.key),
            payload: owned(self.payload),
            headers: headers
                .map(|header| (header.name.to_vec(), owned(header.value)))
                .collect(),
        }
    }
}

/// A record, in memory of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnedOriginal {
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its payload.
    pub payload: Option<Vec<u8>>,
    /// Names and values of its headers, in order.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// The records of one batch.
#[derive(Debug, Default)]
pub struct Originals {
    bytes: Vec<u8>,
    records: Vec<Kept>,
    headers: Vec<KeptHeader>,
}

/// Where a record's parts stand in `bytes`, and its headers in `headers`.
#[derive(Debug)]
struct Kept {
    origin: Origin,
    key: Option<Span>,
    payload: Option<Span>,
    headers: Span,
}

#[derive(Debug)]
struct KeptHeader {
    name: Span,
    value: Option<Span>,
}

type Span = std::ops::Range<usize>;

impl Originals {
    /// Keeps a copy of the record that came from `origin`.
    pub fn push(&mut self, origin: Origin, original: &Original<'_>) {
        let key = original.key.map(|key| self.put(key));
        let payload = original.payload.map(|payload| self.put(payload));
        let first = self.headers.len();
        for header in &original.headers {
            let name = self.put(header.name);
            let value = header.value.map(|value| self.put(value));
            self.headers.push(KeptHeader { name, value });
        }
        self.records.push(Kept {
            origin,
            key,
            payload,
            headers: first..self.headers.len(),
        });
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The record that came from `origin`, looked for from `place` on, which then stands at it: whoever asks for several asks
    /// in the order of the batch, so that all are found in one passage.
    ///
    /// # Panics
    /// When it is not among them.
    pub fn find(&self, place: &mut usize, origin: Origin) -> Original<'_> {
        let rest = &self.records[*place..];
        let further = rest.iter().position(|kept| kept.origin == origin);
        *place += further.expect("every record of a batch is kept, in its order");
        let kept = &self.records[*place];
        let at = |span: &Span| &self.bytes[span.clone()];
        let headers = self.headers[kept.headers.clone()].iter();
        Original {
            key: kept.key.as_ref().map(at),
            payload: kept.payload.as_ref().map(at),
            headers: headers
                .map(|header| Header {
                    name: at(&header.name),
                    value: header.value.as_ref().map(at),
                })
                .collect(),
        }
    }

    fn put(&mut self, bytes: &[u8]) -> Span {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(offset: i64) -> Origin {
        Origin {
            partition: (offset % 2) as i32,
            offset,
        }
    }

    #[test]
    fn a_record_is_found_with_all_that_it_had() {
        let header = |name, value| Header { name, value };
        let records = [
            Original::line(b"one"),
            Original::default(),
            Original {
                key: Some(b""),
                payload: Some(b"\xff\x00"),
                headers: vec![
                    header(b"a", None),
                    header(b"a", Some(b"")),
                    header(b"b", Some(b"x")),
                ],
            },
            Original::line(b""),
        ];
        let mut originals = Originals::default();
        for (offset, record) in records.iter().enumerate() {
            originals.push(origin(offset as i64), record);
        }
        assert_eq!(originals.len(), records.len());
        let mut place = 0;
        for offset in [0, 2, 2, 3] {
            let found = originals.find(&mut place, origin(offset));
            assert_eq!(found, records[offset as usize]);
            let owned = found.to_owned();
            assert_eq!(owned.payload.as_deref(), found.payload);
            assert_eq!(owned.headers.len(), found.headers.len());
        }
        assert_eq!(originals.find(&mut 0, origin(1)), records[1]);
    }
}
