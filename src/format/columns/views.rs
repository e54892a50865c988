//! Text and bytes as Arrow's views: sixteen bytes a value, which hold it whole if it has at most twelve.
//!
//! ```text
//!   "SYM0007"            | 7 |S Y M 0 0 0 7 - - - - -|                      a short value: length, bytes, zeros
//!   "a longer text .."   |18 |a _ l o|buffer | offset|  ---> long bytes     a long one: length, first four, where it lies
//! ```
//!
//! Law: a view of a text column is that of UTF-8 text. It cannot be made otherwise: [`ShortText`] is checked when it is
//! made, everything else arrives as `&str`. So a batch need not be checked again when Arrow takes it over; this is the one
//! place where that is said (`unsafe`).

use std::sync::Arc;

use datafusion_common::arrow::array::{BinaryViewArray, StringViewArray};
use datafusion_common::arrow::buffer::{Buffer, NullBuffer, ScalarBuffer};

use super::fixed::{Lent, Nulls};

/// Bytes that a view holds itself.
pub(in crate::format) const SHORT_BYTES_MAX: usize = 12;

/// Long bytes that one buffer holds at most: an offset has 31 bits.
const BUFFER_BYTES_MAX: usize = i32::MAX as usize;

/// An ASCII text of at most twelve bytes, as a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::format) struct ShortText(u128);

impl ShortText {
    /// The text `bytes[start..end]`, if it is short and ASCII.
    #[inline]
    pub(in crate::format) fn read(bytes: &[u8], start: usize, end: usize) -> Option<ShortText> {
        const HIGH_BITS: u128 = u128::MAX / 255 * 0x80;
        let length = end - start;
        if length > SHORT_BYTES_MAX {
            return None;
        }
        let word = match bytes.get(start..).and_then(|rest| rest.first_chunk::<16>()) {
            Some(word) => u128::from_le_bytes(*word) & ((1u128 << (8 * length)) - 1),
            None => {
                let mut padded = [0; 16];
                padded[..length].copy_from_slice(&bytes[start..end]);
                u128::from_le_bytes(padded)
            }
        };
        (word & HIGH_BITS == 0).then_some(ShortText(word << 32 | length as u128))
    }
}

/// A column of text or bytes.
pub(super) struct Views {
    views: Lent<u128>,
    nulls: Nulls,
    /// The long values' bytes.
    long: Lent<u8>,
    /// Buffers of long bytes that are full.
    full: Vec<Buffer>,
    /// What a batch without long values says of them.
    none: Arc<[Buffer]>,
}

impl Views {
    fn new() -> Views {
        Views {
            views: Lent::new(),
            nulls: Nulls::default(),
            long: Lent::new(),
            full: Vec::new(),
            none: Arc::new([]),
        }
    }

    #[inline]
    fn push(&mut self, value: &[u8]) {
        let view = if value.len() <= SHORT_BYTES_MAX {
            let mut bytes = [0; 16];
            bytes[..value.len()].copy_from_slice(value);
            u128::from_le_bytes(bytes) << 32 | value.len() as u128
        } else {
            self.keep(value)
        };
        self.views.values.push(view);
    }

    /// Keeps a long value's bytes; its view.
    fn keep(&mut self, value: &[u8]) -> u128 {
        assert!(
            value.len() <= BUFFER_BYTES_MAX,
            "a value is as long as its record at most"
        );
        if self.long.values.len() + value.len() > BUFFER_BYTES_MAX {
            let full = std::mem::take(&mut self.long.values);
            self.full.push(Buffer::from_vec(full));
        }
        let offset = self.long.values.len() as u128;
        self.long.values.extend_from_slice(value);
        let first_four = u32::from_le_bytes(*value.first_chunk().expect("a long value"));
        let buffer = self.full.len() as u128;
        offset << 96 | buffer << 64 | u128::from(first_four) << 32 | value.len() as u128
    }

    #[inline]
    fn push_null(&mut self) {
        self.nulls.push(self.views.values.len());
        self.views.values.push(0);
    }

    /// Takes the last value back.
    fn pop(&mut self) {
        if let Some(view) = self.views.values.pop() {
            if view as u32 as usize > SHORT_BYTES_MAX {
                self.long.values.truncate((view >> 96) as usize);
            }
            self.nulls.pop(self.views.values.len());
        }
    }

    /// Takes all values: views, long bytes, NULLs.
    fn finish(
        &mut self,
        capacity: usize,
    ) -> (ScalarBuffer<u128>, Arc<[Buffer]>, Option<NullBuffer>) {
        let rows = self.views.values.len();
        let nulls = self.nulls.take(rows);
        let views = ScalarBuffer::new(self.views.lend(capacity), 0, rows);
        let buffers = if self.full.is_empty() && self.long.values.is_empty() {
            Arc::clone(&self.none)
        } else {
            let length = self.long.values.len();
            let last = self.long.lend(length);
            self.full.drain(..).chain([last]).collect()
        };
        (views, buffers, nulls)
    }
}

/// A column of text.
pub(super) struct Texts(Views);

impl Texts {
    pub(super) fn new() -> Texts {
        Texts(Views::new())
    }

    #[inline]
    pub(super) fn push(&mut self, text: &str) {
        self.0.push(text.as_bytes());
    }

    #[inline]
    pub(super) fn push_short(&mut self, text: ShortText) {
        self.0.views.values.push(text.0);
    }

    #[inline]
    pub(super) fn push_null(&mut self) {
        self.0.push_null();
    }

    /// Takes the last value back.
    pub(super) fn pop(&mut self) {
        self.0.pop();
    }

    /// Takes all values.
    pub(super) fn finish(&mut self, capacity: usize) -> StringViewArray {
        let (views, buffers, nulls) = self.0.finish(capacity);
        // SAFETY: every view is that of UTF-8 text (`ShortText` is ASCII, the others came as `&str`) and was made by `push`
        // and `keep` as Arrow lays it out: zeros behind a short text, and for a long one the buffer and the offset at which
        // its bytes were put; `pop` takes a view before its bytes. There are as many NULLs' bits as views.
        unsafe { StringViewArray::new_unchecked(views, buffers, nulls) }
    }
}

/// A column of bytes.
pub(super) struct ByteStrings(Views);

impl ByteStrings {
    pub(super) fn new() -> ByteStrings {
        ByteStrings(Views::new())
    }

    #[inline]
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.0.push(bytes);
    }

    #[inline]
    pub(super) fn push_null(&mut self) {
        self.0.push_null();
    }

    /// Takes the last value back.
    pub(super) fn pop(&mut self) {
        self.0.pop();
    }

    /// Takes all values.
    pub(super) fn finish(&mut self, capacity: usize) -> BinaryViewArray {
        let (views, buffers, nulls) = self.0.finish(capacity);
        BinaryViewArray::new(views, buffers, nulls)
    }
}

#[cfg(test)]
mod tests {
    use datafusion_common::arrow::array::Array;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_short_text_is_ascii_and_reads_nothing_behind_it() {
        for length in 0..=SHORT_BYTES_MAX {
            let text = &b"abcdefghijkl"[..length];
            let mut alone = Texts::new();
            alone.push_short(ShortText::read(text, 0, length).expect("short"));
            let mut within = Texts::new();
            let long = [
                b"{",
                text,
                b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            ]
            .concat();
            within.push_short(ShortText::read(&long, 1, 1 + length).expect("short"));
            let expected = StringViewArray::from(vec![std::str::from_utf8(text).expect("ASCII")]);
            let alone = alone.finish(0);
            assert_eq!(alone.views(), expected.views());
            assert_eq!(alone, within.finish(0));
        }
        assert_eq!(ShortText::read(b"abcdefghijklm", 0, 13), None);
        assert_eq!(ShortText::read("é".as_bytes(), 0, 2), None);
        assert_eq!(ShortText::read("0123456789abcdé".as_bytes(), 4, 16), None);
    }

    proptest! {
        #[test]
        fn texts_are_those_that_arrow_builds(batches in prop::collection::vec(
            prop::collection::vec((prop::option::of("[a-cé]{0,20}"), any::<bool>()), 0..20), 0..4)) {
            let mut texts = Texts::new();
            for batch in batches {
                let mut expected = Vec::new();
                for (value, kept) in batch {
                    match &value {
                        Some(text) => texts.push(text),
                        None => texts.push_null(),
                    }
                    if kept {
                        expected.push(value);
                    } else {
                        texts.pop();
                    }
                }
                let built = texts.finish(3);
                built.to_data().validate_full().expect("as Arrow wants it");
                prop_assert_eq!(built, StringViewArray::from(expected));
            }
        }
    }
}
