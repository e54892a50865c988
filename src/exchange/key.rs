//! Group keys as bytes: what is hashed, compared, sent over lanes and stored.
//!
//! Law: two records belong to one group exactly when their keys have equal bytes. NULL equals NULL, -0.0 equals 0.0, and
//! every NaN equals every other. A key of no columns, that of the one global group, is the empty byte string. The hash
//! depends on the bytes alone: it is the same in every process and in every release, for it decides where state lives.
//!
//! The bytes are those of arrow's row format for now. Our own encoding comes with the arenas; nobody but `KeyCodec` may
//! look inside a key.

use std::sync::Arc;

use datafusion_common::arrow::array::{Array, ArrayRef, AsArray};
use datafusion_common::arrow::compute::cast;
use datafusion_common::arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion_common::arrow::row::{RowConverter, Rows, SortField};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Result};

/// The encoded keys of some rows, in row order, each with its hash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// The bytes of all keys, one after the other.
    pub bytes: Vec<u8>,
    /// Where each key ends in `bytes`; it begins where the one before it ends.
    pub ends: Vec<u32>,
    /// The stable hash of each key's bytes.
    pub hashes: Vec<u64>,
}

impl Keys {
    /// Number of keys.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The bytes of key `row`.
    #[inline]
    pub fn key(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.bytes[start as usize..self.ends[row] as usize]
    }

    /// The keys of `rows`, in that order.
    pub fn take(&self, rows: &[u32]) -> Keys {
        let mut taken = Keys {
            bytes: Vec::with_capacity(self.bytes.len() * rows.len() / self.len().max(1)),
            ends: Vec::with_capacity(rows.len()),
            hashes: Vec::with_capacity(rows.len()),
        };
        for &row in rows {
            taken.push(self.key(row as usize), self.hashes[row as usize]);
        }
        taken
    }

    #[inline]
    fn push(&mut self, key: &[u8], hash: u64) {
        self.bytes.extend_from_slice(key);
        let end = u32::try_from(self.bytes.len()).expect("the keys of one batch stay below 4 GiB");
        self.ends.push(end);
        self.hashes.push(hash);
    }
}

/// Key columns to bytes and back.
///
/// Text comes back as `Utf8View`, whatever of `Utf8`, `LargeUtf8` or `Utf8View` went in, so that a key has one form.
#[derive(Debug)]
pub struct KeyCodec {
    /// The types as they are encoded and decoded: text is `Utf8View`.
    types: Vec<DataType>,
    /// `None` for a key of no columns.
    converter: Option<RowConverter>,
    /// Kept for its capacity.
    rows: Option<Rows>,
}

impl KeyCodec {
    /// A codec for key columns of these types.
    ///
    /// # Errors
    /// `Error::Config` names a type that cannot be a group key: a nested one, for example.
    pub fn new(types: &[DataType]) -> Result<KeyCodec> {
        let types: Vec<DataType> = types.iter().map(encoded_type).collect::<Result<_>>()?;
        let converter = if types.is_empty() {
            None
        } else {
            let fields = types.iter().cloned().map(SortField::new).collect();
            let converter = RowConverter::new(fields).map_err(|error| {
                Error::Config(format!("these group keys cannot be kept: {error}"))
            })?;
            Some(converter)
        };
        Ok(KeyCodec {
            types,
            converter,
            rows: None,
        })
    }

    /// The types of the columns that `decode` gives.
    pub fn types(&self) -> &[DataType] {
        &self.types
    }

    /// Encodes `rows` rows of `columns`.
    pub fn encode(&mut self, columns: &[ArrayRef], rows: usize) -> Keys {
        assert_eq!(
            columns.len(),
            self.types.len(),
            "as many key columns as the codec was made for"
        );
        assert!(
            columns.iter().all(|column| column.len() == rows),
            "a value of every key column for every row"
        );
        let Some(converter) = &self.converter else {
            return Keys {
                bytes: Vec::new(),
                ends: vec![0; rows],
                hashes: vec![xxh3_64(b""); rows],
            };
        };
        let columns: Vec<ArrayRef> = columns
            .iter()
            .zip(&self.types)
            .map(|(column, to)| normalised(column, to))
            .collect();
        let encoded = self
            .rows
            .get_or_insert_with(|| converter.empty_rows(rows, rows * 16));
        encoded.clear();
        converter
            .append(encoded, &columns)
            .expect("the key columns have the types that the codec was made for");

        let mut keys = Keys {
            bytes: Vec::with_capacity(encoded.lengths().sum()),
            ends: Vec::with_capacity(rows),
            hashes: Vec::with_capacity(rows),
        };
        for row in encoded.iter() {
            let key = row.data();
            keys.push(key, xxh3_64(key));
        }
        keys
    }

    /// The columns of `keys`, each encoded by a codec of the same types; none when the key has no columns.
    pub fn decode<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) -> Vec<ArrayRef> {
        let Some(converter) = &self.converter else {
            return Vec::new();
        };
        let parser = converter.parser();
        // The parser must outlive the rows it gives, so they are gathered before they are converted.
        let rows: Vec<_> = keys.map(|key| parser.parse(key)).collect();
        converter
            .convert_rows(rows)
            .expect("a key was encoded by a codec of the same types")
    }
}

/// The form in which a key column of type `given` is kept, or why it cannot be one.
fn encoded_type(given: &DataType) -> Result<DataType> {
    match given {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Ok(DataType::Utf8View),
        // Floats inside would need the same normalisation as floats outside.
        nested if nested.is_nested() || matches!(nested, DataType::Dictionary(..)) => {
            Err(Error::Config(format!(
                "a value of type {nested} cannot be a group key; group by its parts instead"
            )))
        }
        DataType::Float16 => Err(Error::Config(String::from(
            "a value of type Float16 cannot be a group key; cast it to REAL or DOUBLE",
        ))),
        plain => Ok(plain.clone()),
    }
}

/// `column` in the form `to`, with one bit pattern for each float that counts as one key.
fn normalised(column: &ArrayRef, to: &DataType) -> ArrayRef {
    match column.data_type() {
        // Adding zero turns -0.0 into 0.0 and leaves every other number as it is.
        DataType::Float32 => {
            let one_form = |value: f32| {
                if value.is_nan() {
                    f32::NAN
                } else {
                    value + 0.0
                }
            };
            Arc::new(
                column
                    .as_primitive::<Float32Type>()
                    .unary::<_, Float32Type>(one_form),
            )
        }
        DataType::Float64 => {
            let one_form = |value: f64| {
                if value.is_nan() {
                    f64::NAN
                } else {
                    value + 0.0
                }
            };
            Arc::new(
                column
                    .as_primitive::<Float64Type>()
                    .unary::<_, Float64Type>(one_form),
            )
        }
        same if same == to => Arc::clone(column),
        _ => cast(column, to).expect("any text is a text view"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion_common::arrow::array::{
        BooleanArray, Float64Array, Int64Array, StringArray, StringViewArray,
        TimestampMicrosecondArray,
    };
    use datafusion_common::arrow::datatypes::{Field, TimeUnit};

    fn all(keys: &Keys) -> Vec<&[u8]> {
        (0..keys.len()).map(|row| keys.key(row)).collect()
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let types = [
            DataType::Utf8View,
            DataType::Int64,
            DataType::Boolean,
            DataType::Timestamp(TimeUnit::Microsecond, None),
        ];
        let long = "longer than the twelve bytes that a view holds inline";
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringViewArray::from(vec![
                Some("EWR"),
                None,
                Some(""),
                Some(long),
            ])),
            Arc::new(Int64Array::from(vec![
                Some(i64::MIN),
                Some(i64::MAX),
                None,
                Some(0),
            ])),
            Arc::new(BooleanArray::from(vec![
                Some(true),
                Some(false),
                None,
                None,
            ])),
            Arc::new(TimestampMicrosecondArray::from(vec![
                Some(-1),
                None,
                Some(0),
                Some(1),
            ])),
        ];
        let mut codec = KeyCodec::new(&types).expect("plain types");
        let keys = codec.encode(&columns, 4);
        assert_eq!(keys.len(), 4);
        assert_eq!(codec.decode(all(&keys).into_iter()), columns);

        let taken = keys.take(&[3, 0, 3]);
        assert_eq!(all(&taken), [keys.key(3), keys.key(0), keys.key(3)]);
        assert_eq!(
            taken.hashes,
            [keys.hashes[3], keys.hashes[0], keys.hashes[3]]
        );
        assert_eq!(
            codec.encode(&columns, 4),
            keys,
            "a codec carries nothing from one batch to the next"
        );
    }

    #[test]
    fn null_is_one_group_and_not_the_empty_text() {
        let mut codec = KeyCodec::new(&[DataType::Utf8View]).expect("a plain type");
        let column: ArrayRef = Arc::new(StringViewArray::from(vec![None, Some(""), None]));
        let keys = codec.encode(&[column], 3);
        assert_eq!(keys.key(0), keys.key(2));
        assert_ne!(keys.key(0), keys.key(1));
    }

    #[test]
    fn both_zeros_are_one_key_and_so_is_every_nan() {
        let mut codec = KeyCodec::new(&[DataType::Float64]).expect("a plain type");
        let other_nan = f64::from_bits(f64::NAN.to_bits() | 1);
        let column: ArrayRef = Arc::new(Float64Array::from(vec![
            0.0,
            -0.0,
            f64::NAN,
            -f64::NAN,
            other_nan,
            1.0,
        ]));
        let keys = codec.encode(&[column], 6);
        assert_eq!(keys.key(0), keys.key(1));
        assert_eq!(keys.key(2), keys.key(3));
        assert_eq!(keys.key(2), keys.key(4));
        assert_ne!(keys.key(0), keys.key(5));
    }

    #[test]
    fn text_has_one_form_whatever_its_arrow_type() {
        let mut plain = KeyCodec::new(&[DataType::Utf8]).expect("a plain type");
        let mut view = KeyCodec::new(&[DataType::Utf8View]).expect("a plain type");
        let from_plain = plain.encode(&[Arc::new(StringArray::from(vec!["JFK"]))], 1);
        let from_view = view.encode(&[Arc::new(StringViewArray::from(vec!["JFK"]))], 1);
        assert_eq!(from_plain, from_view);
        assert_eq!(
            plain.decode(all(&from_plain).into_iter())[0].data_type(),
            &DataType::Utf8View
        );
    }

    #[test]
    fn the_global_group_has_the_empty_key() {
        let mut codec = KeyCodec::new(&[]).expect("no type at all");
        let keys = codec.encode(&[], 3);
        assert_eq!(all(&keys), [b""; 3]);
        assert_eq!(keys.hashes, [xxh3_64(b""); 3]);
        assert!(codec.decode(all(&keys).into_iter()).is_empty());
    }

    #[test]
    fn hashes_are_the_same_in_every_process() {
        let mut codec = KeyCodec::new(&[DataType::Utf8View, DataType::Int64]).expect("plain types");
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringViewArray::from(vec!["EWR", "JFK"])),
            Arc::new(Int64Array::from(vec![1, -1])),
        ];
        assert_eq!(codec.encode(&columns, 2).hashes, GOLDEN);
        assert_eq!(xxh3_64(b""), 0x2d06_8005_38d3_94c2);
    }

    /// A change here moves state between shards: restarting from a snapshot or rescaling would look in the wrong place.
    const GOLDEN: [u64; 2] = [10_566_366_640_832_914_570, 15_373_290_497_373_639_177];

    #[test]
    fn a_nested_key_is_refused_with_what_to_do() {
        let list = DataType::List(Arc::new(Field::new("item", DataType::Int64, true)));
        let error = KeyCodec::new(&[list]).expect_err("a list has parts");
        assert!(error.to_string().contains("group by its parts"), "{error}");
    }
}
