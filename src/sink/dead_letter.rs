//! Dead letters as rows of a sink: a JSON object a line for a file; for a topic the record as it came, with headers that say
//! why it is there.
//!
//! ```text
//!   file    {"stream":..,"query":..,"file":..,"line":..,"topic":..,"partition":..,"offset":..,"stage":..,"reason":..,
//!            "key_base64":..,"payload_base64":..,"headers":[{"key":..,"value_base64":..}]}
//!   topic   key, value, headers as they came, then velo.stream, velo.query, velo.topic, velo.partition, velo.offset,
//!           velo.stage, velo.reason; of a line of a file also velo.file and velo.line
//! ```
//!
//! Laws: what came is given back byte for byte, and NULL is not the same as nothing. Outside programs read letters by these
//! names (docs/OPERATIONS.md), so none is renamed.
//!
//! A letter is encoded on its shard and acknowledged like a row; what is particular to it ends here.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::RowBlock;
use super::kafka::{Envelope, MessageHeader, MessageKeys};
use crate::batch::{DeadLetter, OwnedOriginal};
use crate::error::Place;
use crate::format::EncodedRows;

/// How letters are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LetterForm {
    /// As lines of a file.
    Lines,
    /// As records of a topic.
    Messages,
}

/// Whose letters they are.
#[derive(Clone, Copy, Debug)]
pub struct LetterOf<'l> {
    /// The stream.
    pub stream: &'l str,
    /// The query; `None` for records that are bad for all.
    pub query: Option<&'l str>,
}

impl LetterForm {
    /// `letters` as a block whose rows are acknowledged under the number `number`.
    pub fn block(self, number: u16, of: LetterOf<'_>, letters: Vec<DeadLetter>) -> RowBlock {
        let mut values = EncodedRows::default();
        let mut keys = MessageKeys::default();
        let mut envelopes = Vec::new();
        for letter in letters {
            match self {
                LetterForm::Lines => line(&mut values.bytes, of, &letter),
                LetterForm::Messages => {
                    let mut headers = letter.original.headers.clone();
                    headers.extend(reasons(of, &letter));
                    let OwnedOriginal { key, payload, .. } = letter.original;
                    values.bytes.extend(payload.iter().flatten());
                    envelopes.push(Envelope {
                        headers,
                        is_tombstone: payload.is_none(),
                    });
                    keys.null.push(key.is_none());
                    keys.rows.bytes.extend(key.iter().flatten());
                    keys.rows.ends.push(keys.rows.bytes.len());
                }
            }
            values.ends.push(values.bytes.len());
        }
        let is_message = self == LetterForm::Messages;
        RowBlock {
            query: number,
            epoch: 0,
            values,
            keys: is_message.then_some(keys),
            envelopes,
            event_times_us: Vec::new(),
            due_us: 0,
            ready_ns: 0,
        }
    }
}

/// A letter as a line.
#[derive(Serialize)]
struct Line<'l> {
    stream: &'l str,
    query: Option<&'l str>,
    file: Option<&'l str>,
    line: Option<u64>,
    topic: Option<&'l str>,
    partition: Option<i32>,
    offset: Option<i64>,
    stage: &'static str,
    reason: &'l str,
    key_base64: Option<String>,
    payload_base64: Option<String>,
    headers: Option<Vec<LineHeader<'l>>>,
}

#[derive(Serialize)]
struct LineHeader<'l> {
    key: std::borrow::Cow<'l, str>,
    value_base64: Option<String>,
}

fn line(out: &mut Vec<u8>, of: LetterOf<'_>, letter: &DeadLetter) {
    let base64 = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|bytes| STANDARD.encode(bytes));
    let At {
        file,
        line,
        topic,
        partition,
        offset,
    } = At::of(&letter.place);
    let headers = || {
        let header = |(name, value): &'_ MessageHeader| LineHeader {
            key: String::from_utf8_lossy(name).into_owned().into(),
            value_base64: base64(value),
        };
        letter.original.headers.iter().map(header).collect()
    };
    let written = Line {
        stream: of.stream,
        query: of.query,
        file,
        line,
        topic,
        partition,
        offset,
        stage: letter.stage.name(),
        reason: &letter.reason,
        key_base64: base64(&letter.original.key),
        payload_base64: base64(&letter.original.payload),
        headers: topic.is_some().then(headers),
    };
    serde_json::to_writer(out, &written).expect("plain fields, into memory");
}

/// The headers that say why a letter was sent.
fn reasons(of: LetterOf<'_>, letter: &DeadLetter) -> Vec<MessageHeader> {
    let At {
        file,
        line,
        topic,
        partition,
        offset,
    } = At::of(&letter.place);
    let text = |text: &str| text.as_bytes().to_vec();
    let mut headers: Vec<(&str, Option<Vec<u8>>)> = vec![
        ("velo.stream", Some(text(of.stream))),
        ("velo.query", of.query.map(text)),
        ("velo.topic", topic.map(text)),
        ("velo.partition", partition.map(|it| text(&it.to_string()))),
        ("velo.offset", offset.map(|it| text(&it.to_string()))),
        ("velo.stage", Some(text(letter.stage.name()))),
        ("velo.reason", Some(text(&letter.reason))),
    ];
    if file.is_some() {
        headers.push(("velo.file", file.map(text)));
        headers.push(("velo.line", line.map(|it| text(&it.to_string()))));
    }
    let owned = headers.into_iter();
    owned.map(|(name, value)| (text(name), value)).collect()
}

/// The parts of a place.
#[derive(Default)]
struct At<'p> {
    file: Option<&'p str>,
    line: Option<u64>,
    topic: Option<&'p str>,
    partition: Option<i32>,
    offset: Option<i64>,
}

impl At<'_> {
    fn of(place: &Place) -> At<'_> {
        match place {
            Place::Line { file, line } => At {
                file: Some(file),
                line: Some(*line),
                ..At::default()
            },
            Place::Offset {
                topic,
                partition,
                offset,
            } => At {
                topic: Some(topic),
                partition: Some(*partition),
                offset: Some(*offset),
                ..At::default()
            },
            Place::Drawn {
                partition, offset, ..
            } => At {
                partition: Some(*partition),
                offset: Some(*offset),
                ..At::default()
            },
            Place::Output { .. } | Place::Row { .. } => At::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::LetterStage;

    const OF: LetterOf<'static> = LetterOf {
        stream: "orders",
        query: Some("totals"),
    };

    fn from_topic(original: OwnedOriginal) -> DeadLetter {
        DeadLetter {
            stage: LetterStage::Expression,
            place: Place::Offset {
                topic: "in".to_owned(),
                partition: 3,
                offset: 17,
            },
            reason: "Divide by zero error".to_owned(),
            original,
        }
    }

    fn with_all() -> OwnedOriginal {
        OwnedOriginal {
            key: Some(b"k\xff".to_vec()),
            payload: Some(b"{\"a\":\x00}".to_vec()),
            headers: vec![
                (b"trace".to_vec(), Some(b"1".to_vec())),
                (b"trace".to_vec(), None),
            ],
        }
    }

    fn lines(letters: Vec<DeadLetter>) -> Vec<String> {
        let block = LetterForm::Lines.block(9, OF, letters);
        assert!(block.keys.is_none() && block.envelopes.is_empty() && block.query == 9);
        let row = |row| String::from_utf8(block.values.row(row).to_vec()).expect("JSON is text");
        (0..block.values.len()).map(row).collect()
    }

    #[test]
    fn a_line_holds_what_came_and_why() {
        let decoding = DeadLetter {
            stage: LetterStage::Decode,
            place: Place::Line {
                file: "in.csv".to_owned(),
                line: 4,
            },
            reason: "it is \"cut\"".to_owned(),
            original: OwnedOriginal {
                payload: Some(b"a,\xff\r\nb".to_vec()),
                ..OwnedOriginal::default()
            },
        };
        assert_eq!(
            lines(vec![
                from_topic(with_all()),
                from_topic(OwnedOriginal::default()),
                decoding
            ]),
            [
                r#"{"stream":"orders","query":"totals","file":null,"line":null,"topic":"in","partition":3,"offset":17,"stage":"expression","reason":"Divide by zero error","key_base64":"a/8=","payload_base64":"eyJhIjoAfQ==","headers":[{"key":"trace","value_base64":"MQ=="},{"key":"trace","value_base64":null}]}"#,
                r#"{"stream":"orders","query":"totals","file":null,"line":null,"topic":"in","partition":3,"offset":17,"stage":"expression","reason":"Divide by zero error","key_base64":null,"payload_base64":null,"headers":[]}"#,
                r#"{"stream":"orders","query":"totals","file":"in.csv","line":4,"topic":null,"partition":null,"offset":null,"stage":"decode","reason":"it is \"cut\"","key_base64":null,"payload_base64":"YSz/DQpi","headers":null}"#,
            ]
        );
    }

    #[test]
    fn a_message_is_the_record_with_headers_behind_its_own() {
        let letters = vec![from_topic(with_all()), from_topic(OwnedOriginal::default())];
        let block = LetterForm::Messages.block(300, OF, letters);
        let keys = block.keys.expect("records have keys");
        assert_eq!(keys.key(0), Some(b"k\xff".as_slice()));
        assert_eq!(block.values.row(0), b"{\"a\":\x00}");
        assert!(keys.key(1).is_none() && block.values.row(1).is_empty());
        let tombstones: Vec<bool> = block.envelopes.iter().map(|one| one.is_tombstone).collect();
        assert_eq!(tombstones, [false, true]);
        let headers = &block.envelopes[0].headers;
        assert_eq!(headers[..2], with_all().headers);
        let said: Vec<(&str, Option<&str>)> = headers[2..]
            .iter()
            .map(|(name, value)| {
                let text = |bytes| std::str::from_utf8(bytes).expect("text");
                (text(name), value.as_deref().map(text))
            })
            .collect();
        assert_eq!(
            said,
            [
                ("velo.stream", Some("orders")),
                ("velo.query", Some("totals")),
                ("velo.topic", Some("in")),
                ("velo.partition", Some("3")),
                ("velo.offset", Some("17")),
                ("velo.stage", Some("expression")),
                ("velo.reason", Some("Divide by zero error")),
            ]
        );
    }
}
