//! A file's bytes to records: where each one ends, and on which line it starts.
//!
//! Law: the records are the same whatever the boundaries of the buffer. A newline ends a record, except within a quoted
//! CSV field; a carriage return before it belongs to neither. The last record needs no newline. What a record holds is
//! not judged: a quote that is never closed makes one record of the rest, and the decoder refuses it.

use std::ops::Range;

use memchr::memchr;

/// What ends a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Every newline.
    Lines,
    /// Every newline outside of quotes. A quote opens a field only at its start: elsewhere it is a character.
    Csv {
        /// Between fields.
        delimiter: u8,
    },
}

/// A record within a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The record's bytes, without what ends it.
    pub record: Range<usize>,
    /// Bytes of the buffer up to the next record.
    pub consumed: usize,
    /// The line on which the record starts, from 1.
    pub line: u64,
}

/// Finds the records of one file, in order.
#[derive(Clone, Debug)]
pub struct Framer {
    framing: Framing,
    line: u64,
}

impl Framer {
    /// At the first line of a file.
    pub fn new(framing: Framing) -> Framer {
        Framer { framing, line: 1 }
    }

    /// The line on which the next record starts, from 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// The record that starts at the beginning of `buffer`; `None` when its end is not in there and more bytes follow
    /// (`at_end` says that none do), or when nothing is left.
    #[inline]
    pub fn next(&mut self, buffer: &[u8], at_end: bool) -> Option<Frame> {
        let line_end = memchr(b'\n', buffer);
        let first_line = &buffer[..line_end.unwrap_or(buffer.len())];
        let (end, lines) = match self.framing {
            Framing::Csv { delimiter } if memchr(b'"', first_line).is_some() => {
                quoted_end(buffer, delimiter)
            }
            Framing::Csv { .. } | Framing::Lines => (line_end, 1),
        };
        let (end, consumed) = match end {
            Some(end) => (end, end + 1),
            None if at_end && !buffer.is_empty() => (buffer.len(), buffer.len()),
            None => return None,
        };
        let line = self.line;
        self.line += lines;
        let end = if buffer[..end].ends_with(b"\r") {
            end - 1
        } else {
            end
        };
        Some(Frame {
            record: 0..end,
            consumed,
            line,
        })
    }
}

/// Where the first newline outside of quotes stands, and how many lines the record takes.
fn quoted_end(buffer: &[u8], delimiter: u8) -> (Option<usize>, u64) {
    enum At {
        FieldStart,
        Bare,
        Quoted,
        /// Behind a quote within quotes: the end of them, unless another follows.
        Quote,
    }
    let mut lines = 1;
    let mut at = At::FieldStart;
    for (position, &byte) in buffer.iter().enumerate() {
        at = match (at, byte) {
            (At::Quoted, b'"') => At::Quote,
            (At::Quoted, byte) => {
                lines += u64::from(byte == b'\n');
                At::Quoted
            }
            (At::FieldStart | At::Quote, b'"') => At::Quoted,
            (_, b'\n') => return (Some(position), lines),
            (_, byte) if byte == delimiter => At::FieldStart,
            _ => At::Bare,
        };
    }
    (None, lines)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CSV: Framing = Framing::Csv { delimiter: b',' };

    /// The records of `bytes` when a reader brings `step` of them at a time.
    fn records(framing: Framing, bytes: &[u8], step: usize) -> Vec<(u64, Vec<u8>)> {
        let mut framer = Framer::new(framing);
        let mut records = Vec::new();
        let (mut start, mut filled) = (0, 0);
        loop {
            match framer.next(&bytes[start..filled], filled == bytes.len()) {
                Some(frame) => {
                    records.push((frame.line, bytes[start..filled][frame.record].to_vec()));
                    start += frame.consumed;
                }
                None if filled == bytes.len() => return records,
                None => filled = (filled + step).min(bytes.len()),
            }
        }
    }

    fn texts(framing: Framing, text: &str) -> Vec<(u64, String)> {
        let records = records(framing, text.as_bytes(), usize::MAX / 2);
        records
            .into_iter()
            .map(|(line, bytes)| (line, String::from_utf8(bytes).expect("text")))
            .collect()
    }

    #[test]
    fn a_newline_ends_a_record_and_the_last_needs_none() {
        let expected = [(1, "a".to_owned()), (2, String::new()), (3, "b".to_owned())];
        for text in ["a\n\nb", "a\n\nb\n", "a\r\n\r\nb\r\n", "a\r\n\r\nb\r"] {
            assert_eq!(texts(Framing::Lines, text), expected, "{text:?}");
            assert_eq!(texts(CSV, text), expected, "{text:?}");
        }
        assert_eq!(texts(CSV, ""), []);
    }

    #[test]
    fn a_newline_in_quotes_does_not_and_counts_as_a_line() {
        let text = "x,\"a\nb\"\"\nc\"\r\ny,5\" pipe\nz,\"\"\n";
        let expected = [(1, "x,\"a\nb\"\"\nc\""), (4, "y,5\" pipe"), (5, "z,\"\"")];
        assert_eq!(
            texts(CSV, text),
            expected.map(|(line, text)| (line, text.to_owned()))
        );
        assert_eq!(texts(Framing::Lines, text).len(), 5);
    }

    #[test]
    fn a_quote_that_is_never_closed_makes_one_record_of_the_rest() {
        assert_eq!(
            texts(CSV, "a\n\"b\nc\n"),
            [(1, "a".to_owned()), (2, "\"b\nc\n".to_owned())]
        );
    }

    proptest! {
        #[test]
        fn the_buffer_makes_no_difference(text in "[a,\"\r\n]{0,40}", step in 1usize..8) {
            for framing in [CSV, Framing::Lines] {
                let whole = records(framing, text.as_bytes(), usize::MAX / 2);
                prop_assert_eq!(records(framing, text.as_bytes(), step), whole);
            }
        }
    }
}
