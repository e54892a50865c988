//! Rows as JSON: one flat object a row, keys in column order, NULL always present.

use datafusion_common::arrow::array::RecordBatch;
use datafusion_common::arrow::datatypes::SchemaRef;

use super::cells::{Cells, Column};
use super::{EncodedRows, Encoder, RowBuffer};

/// Encodes rows as JSON objects.
pub(super) struct JsonEncoder {
    /// What stands before each value: the bracket or comma, the key, the colon.
    keys: Vec<Vec<u8>>,
    buffer: RowBuffer,
}

impl JsonEncoder {
    pub(super) fn new(schema: &SchemaRef) -> JsonEncoder {
        let key = |(index, name): (usize, &String)| {
            let mut key = vec![if index == 0 { b'{' } else { b',' }];
            write_text(&mut key, name.as_bytes());
            key.push(b':');
            key
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
        let columns: Vec<Column> = rows.columns().iter().map(Column::new).collect();
        let keys = &self.keys;
        self.buffer.fill(rows.num_rows(), |out, row| {
            if columns.is_empty() {
                out.push(b'{');
            }
            for (key, column) in keys.iter().zip(&columns) {
                out.extend_from_slice(key);
                if column.is_null(row) {
                    out.extend_from_slice(b"null");
                } else {
                    write_value(out, &column.cells, row);
                }
            }
            out.push(b'}');
        })
    }
}

#[inline]
fn write_value(out: &mut Vec<u8>, cells: &Cells, row: usize) {
    let bare = match cells {
        Cells::Text(cells) => return write_text(out, cells.value(row).as_bytes()),
        Cells::TextView(cells) => return write_text(out, cells.value(row).as_bytes()),
        // NaN and the infinities are no JSON numbers.
        Cells::Single(cells) => cells.value(row).is_finite(),
        Cells::Double(cells) => cells.value(row).is_finite(),
        Cells::Bytes(_) | Cells::Date(_) | Cells::Time(_) | Cells::Timestamp(_) => false,
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

/// Appends a JSON string. Whatever needs no escape is copied in runs.
#[inline]
fn write_text(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    let mut rest = text;
    while let Some(position) = rest
        .iter()
        .position(|&byte| NEEDS_ESCAPE[usize::from(byte)])
    {
        out.extend_from_slice(&rest[..position]);
        write_escape(out, rest[position]);
        rest = &rest[position + 1..];
    }
    out.extend_from_slice(rest);
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

const NEEDS_ESCAPE: [bool; 256] = {
    let mut table = [false; 256];
    let mut control = 0;
    while control < 0x20 {
        table[control] = true;
        control += 1;
    }
    table[b'"' as usize] = true;
    table[b'\\' as usize] = true;
    table
};
