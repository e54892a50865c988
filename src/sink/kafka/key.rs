//! Message keys: which bytes decide a row's partition.
//!
//! Law: equal key values give equal bytes, so that they come to one partition, in order. A raw key is the text alone, as
//! other producers of the topic write it; a NULL text is no key, which is not the empty key.

use datafusion_common::arrow::array::{Array, AsArray, RecordBatch};
use datafusion_common::arrow::datatypes::DataType;

use crate::format::{EncodedRows, Encoder};

/// The keys of a block's rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageKeys {
    /// The keys' bytes, one a row; empty where there is no key.
    pub rows: EncodedRows,
    /// Whether a row has no key at all.
    pub null: Vec<bool>,
}

impl MessageKeys {
    /// The key of row `row`; `None` if it has none.
    pub fn key(&self, row: usize) -> Option<&[u8]> {
        (!self.null[row]).then(|| self.rows.row(row))
    }

    /// Appends the key of a row; `None` if it has none.
    pub fn push(&mut self, key: Option<&[u8]>) {
        self.null.push(key.is_none());
        self.rows.push(key.unwrap_or_default());
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.null.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.null.is_empty()
    }
}

/// Encodes the key columns of rows.
pub enum KeyEncoder {
    /// `KeyFormat::Raw`: the text of the one VARCHAR column.
    Raw,
    /// `KeyFormat::Json`: a JSON object of the key columns, by the format's encoder for them.
    Json(Box<dyn Encoder + Send>),
}

impl KeyEncoder {
    /// Encodes the key of every row. `columns` holds the key columns only. Panics if a raw key is not one VARCHAR column,
    /// which planning refuses.
    pub fn encode(&mut self, columns: &RecordBatch) -> MessageKeys {
        match self {
            KeyEncoder::Raw => raw(columns),
            KeyEncoder::Json(encoder) => {
                let rows = encoder.encode(columns);
                assert_eq!(
                    rows.len(),
                    columns.num_rows(),
                    "the encoder lost or gained a key"
                );
                MessageKeys {
                    null: vec![false; rows.len()],
                    rows,
                }
            }
        }
    }
}

fn raw(columns: &RecordBatch) -> MessageKeys {
    assert_eq!(columns.num_columns(), 1, "a raw key is one column");
    let column = columns.column(0);
    match column.data_type() {
        DataType::Utf8View => texts(column.as_string_view().iter()),
        DataType::Utf8 => texts(column.as_string::<i32>().iter()),
        DataType::LargeUtf8 => texts(column.as_string::<i64>().iter()),
        other => panic!("a raw key is a VARCHAR, and planning let a {other} through"),
    }
}

fn texts<'a>(texts: impl ExactSizeIterator<Item = Option<&'a str>>) -> MessageKeys {
    let mut keys = MessageKeys::default();
    keys.null.reserve_exact(texts.len());
    keys.rows.ends.reserve_exact(texts.len());
    for text in texts {
        keys.push(text.map(str::as_bytes));
    }
    keys
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion_common::arrow::array::{ArrayRef, StringArray, StringViewArray};

    use super::*;

    fn batch(column: ArrayRef) -> RecordBatch {
        RecordBatch::try_from_iter([("k", column)]).expect("one column")
    }

    #[test]
    fn a_null_text_is_no_key_and_an_empty_text_is_the_empty_key() {
        let values = [
            Some("LH"),
            None,
            Some(""),
            Some("a longer key than fits a view"),
        ];
        let columns: [ArrayRef; 2] = [
            Arc::new(StringViewArray::from(values.to_vec())),
            Arc::new(StringArray::from(values.to_vec())),
        ];
        for column in columns {
            let keys = KeyEncoder::Raw.encode(&batch(column));
            let read: Vec<_> = (0..keys.len()).map(|row| keys.key(row)).collect();
            assert_eq!(read, values.map(|value| value.map(str::as_bytes)));
        }
    }
}
