//! Rows as JSON: one flat object a row, keys in column order, NULL always present.

use datafusion_common::arrow::array::RecordBatch;
use datafusion_common::arrow::datatypes::SchemaRef;

use super::cells::{Cells, Column};
use super::{EncodedRows, Encoder, RowBuffer};
use crate::format::columns::SHORT_BYTES_MAX;
use crate::format::number::push_padded;
use crate::format::search::{Portable, string_stop};

/// Encodes rows as JSON objects.
pub(super) struct JsonEncoder {
    keys: Vec<Key>,
    buffer: RowBuffer,
}

/// What stands before a value: the bracket or comma, the key, the colon.
struct Key {
    bytes: Vec<u8>,
    /// Its first bytes, in a piece of fixed size.
    padded: [u8; KEY_BYTES],
}

/// Most keys fit.
const KEY_BYTES: usize = 24;

impl Key {
    fn new(bytes: Vec<u8>) -> Key {
        let mut padded = [0; KEY_BYTES];
        let length = bytes.len().min(KEY_BYTES);
        padded[..length].copy_from_slice(&bytes[..length]);
        Key { bytes, padded }
    }

    #[inline]
    fn write(&self, out: &mut Vec<u8>) {
        if self.bytes.len() <= KEY_BYTES {
            push_padded(out, &self.padded, self.bytes.len());
        } else {
            out.extend_from_slice(&self.bytes);
        }
    }
}

impl JsonEncoder {
    pub(super) fn new(schema: &SchemaRef) -> JsonEncoder {
        let key = |(index, name): (usize, &String)| {
            let mut key = vec![if index == 0 { b'{' } else { b',' }];
            write_text(&mut key, name.as_bytes());
            key.push(b':');
            Key::new(key)
        };
        let names = schema.fields().iter().map(|field| field.name());
        JsonEncoder {
            keys: names.enumerate().map(key).collect(),
            buffer: RowBuffer::new(),
        }
    }
}

impl Encoder for JsonEncoder {
    fn encode(&mut self, rows: &RecordBatch) -> EncodedRows {
        assert_eq!(
            rows.num_columns(),
            self.keys.len(),
            "rows of another schema"
        );
        let mut columns: Vec<Column> = rows.columns().iter().map(Column::new).collect();
        let keys = &self.keys;
        self.buffer.fill(rows.num_rows(), |out, row| {
            if keys.is_empty() {
                out.push(b'{');
            }
            for (key, column) in keys.iter().zip(&mut columns) {
                key.write(out);
                if column.is_null(row) {
                    out.extend_from_slice(b"null");
                } else {
                    write_value(out, &mut column.cells, row);
                }
            }
            out.push(b'}');
        })
    }
}

#[inline]
fn write_value(out: &mut Vec<u8>, cells: &mut Cells, row: usize) {
    let bare = match cells {
        Cells::Text(cells) => return write_text(out, cells.value(row).as_bytes()),
        Cells::TextView(cells) => {
            let view = cells.views()[row];
            if !write_short(out, view) {
                write_text(out, cells.value(row).as_bytes());
            }
            return;
        }
        // NaN and the infinities are no JSON numbers.
        Cells::Single(cells) => cells.value(row).is_finite(),
        Cells::Double(cells) => cells.value(row).is_finite(),
        Cells::Bytes(_) | Cells::Date(_) | Cells::Time(_) | Cells::Timestamp(..) => false,
        _ => true,
    };
    if bare {
        cells.write(row, out);
    } else {
        out.push(b'"');
        cells.write(row, out);
        out.push(b'"');
    }
}

/// Appends the text of a view as a JSON string, if the view holds it whole and nothing in it needs an escape: the bytes
/// move from the view to the row without being looked at one by one. False if nothing was appended.
#[inline]
fn write_short(out: &mut Vec<u8>, view: u128) -> bool {
    let length = view as u32;
    if length > SHORT_BYTES_MAX as u32 {
        return false;
    }
    let text = view >> 32;
    // What is behind the text counts as harmless.
    let counted = text | u128::MAX << (8 * length);
    if needs_escape(counted) {
        return false;
    }
    let quote = u128::from(b'"');
    let quoted = quote | text << 8 | quote << (8 * (length + 1));
    push_padded(out, &quoted.to_le_bytes(), length as usize + 2);
    true
}

/// Whether one of sixteen bytes is a quote, a backslash or a control character.
#[inline]
fn needs_escape(word: u128) -> bool {
    const LOW_BITS: u128 = u128::MAX / 255;
    const HIGH_BITS: u128 = 0x80 * LOW_BITS;
    // A byte is zero if taking one from it borrows, unless it is high already; a borrow never comes from a byte that is not
    // zero, so the lowest find is true, and any is enough here.
    let zero = |word: u128| word.wrapping_sub(LOW_BITS) & !word;
    let control = word.wrapping_sub(0x20 * LOW_BITS) & !word;
    let quote = zero(word ^ (LOW_BITS * u128::from(b'"')));
    let backslash = zero(word ^ (LOW_BITS * u128::from(b'\\')));
    (control | quote | backslash) & HIGH_BITS != 0
}

/// Appends a JSON string. Whatever needs no escape is copied in runs.
#[inline]
fn write_text(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    let mut at = 0;
    loop {
        let stop = string_stop::<Portable>(text, at);
        out.extend_from_slice(&text[at..stop]);
        match text.get(stop) {
            Some(&byte) => write_escape(out, byte),
            None => break,
        }
        at = stop + 1;
    }
    out.push(b'"');
}

#[cold]
fn write_escape(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            out.extend_from_slice(b"\\u00");
            out.push(HEX[usize::from(byte >> 4)]);
            out.push(HEX[usize::from(byte & 15)]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_text_is_copied_whole_or_left_to_the_long_way() {
        for byte in 0..=u8::MAX {
            for length in 1..=SHORT_BYTES_MAX {
                for place in 0..length {
                    let mut text = [b'a'; SHORT_BYTES_MAX];
                    text[place] = byte;
                    let mut bytes = [0; 16];
                    bytes[..length].copy_from_slice(&text[..length]);
                    let view = u128::from_le_bytes(bytes) << 32 | length as u128;
                    let mut out = Vec::new();
                    let special = byte < 0x20 || byte == b'"' || byte == b'\\';
                    assert_eq!(write_short(&mut out, view), !special, "{byte} at {place}");
                    if !special {
                        assert_eq!(out, [b"\"", &text[..length], b"\""].concat());
                    }
                }
            }
        }
        let mut out = Vec::new();
        assert!(write_short(&mut out, 0));
        assert_eq!(out, b"\"\"");
    }
}
