//! Group keys as columns: the one form in which they travel, and the hash that says where they live.
//!
//! ```text
//!   key columns --KeyForm: text as views, bytes as views, one zero, one NaN--> KeyedRows::keys
//!                                        --stable_hashes, if rows may cross--> KeyedRows::hashes --> key group --> owner
//! ```
//!
//! Laws: two records belong to one group exactly when their normalised keys are equal: NULL equals NULL, -0.0 equals 0.0,
//! and every NaN equals every other. The stable hash depends on the values alone, not on how arrow keeps them: it is the
//! same in every process and in every release, for it decides where state lives.
//!
//! What it does not do: find groups. The owner packs the columns (`group/pack.rs`) and hashes under a seed of its own.

use std::sync::Arc;

use datafusion_common::arrow::array::{
    Array, ArrayRef, AsArray, PrimitiveArray, downcast_primitive_array,
};
use datafusion_common::arrow::buffer::{Buffer, NullBuffer};
use datafusion_common::arrow::compute::cast;
use datafusion_common::arrow::datatypes::{ArrowPrimitiveType, DataType, Float32Type, Float64Type};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Result};
use crate::plan::sql_type;

/// The form in which the key columns of a query travel.
#[derive(Clone, Debug)]
pub struct KeyForm {
    types: Vec<DataType>,
}

impl KeyForm {
    /// The form of key columns of these types.
    ///
    /// # Errors
    /// `Error::Config` names a type that cannot be a group key: a nested one, for example.
    pub fn new(types: &[DataType]) -> Result<KeyForm> {
        let types = types.iter().map(form_of).collect::<Result<_>>()?;
        Ok(KeyForm { types })
    }

    /// The types of normalised columns.
    pub fn types(&self) -> &[DataType] {
        &self.types
    }

    /// `columns` in the form in which keys travel.
    pub fn normalise(&self, columns: &[ArrayRef]) -> Vec<ArrayRef> {
        assert_eq!(
            columns.len(),
            self.types.len(),
            "as many key columns as the form was made for"
        );
        let pairs = columns.iter().zip(&self.types);
        pairs.map(|(column, to)| normalised(column, to)).collect()
    }
}

/// The form in which a key column of type `given` travels, or why it cannot be one.
fn form_of(given: &DataType) -> Result<DataType> {
    match given {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Ok(DataType::Utf8View),
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => Ok(DataType::BinaryView),
        // Floats inside would need the same normalisation as floats outside.
        nested if nested.is_nested() || matches!(nested, DataType::Dictionary(..)) => {
            Err(Error::Config(format!(
                "a value of type {} cannot be a group key; group by its parts instead",
                sql_type(nested)
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
        DataType::Float32 => one_form(column.as_primitive::<Float32Type>(), |value| {
            if value.is_nan() {
                f32::NAN
            } else {
                value + 0.0
            }
        }),
        DataType::Float64 => one_form(column.as_primitive::<Float64Type>(), |value| {
            if value.is_nan() {
                f64::NAN
            } else {
                value + 0.0
            }
        }),
        same if same == to => Arc::clone(column),
        _ => cast(column, to).expect("any text is a text view, any bytes are a bytes view"),
    }
}

fn one_form<T: ArrowPrimitiveType>(
    column: &PrimitiveArray<T>,
    form: impl Fn(T::Native) -> T::Native,
) -> ArrayRef {
    Arc::new(column.unary::<_, T>(form))
}

/// What a hash starts from.
const START: u64 = 0x7665_6c6f_7374_726d;

/// What NULL counts as. A value may count as the same: a collision costs balance, not truth.
const NULL: u64 = 0x9e37_79b9_7f4a_7c15;

/// The stable hash of each of `rows` keys, from their normalised columns.
pub fn stable_hashes(columns: &[ArrayRef], rows: usize) -> Vec<u64> {
    let mut hashes = vec![START; rows];
    for column in columns {
        assert_eq!(column.len(), rows, "a value of every key column");
        let nulls = column.nulls().filter(|nulls| nulls.null_count() > 0);
        match column.data_type() {
            DataType::Utf8View => {
                let column = column.as_string_view();
                step(&mut hashes, nulls, |row| {
                    xxh3_64(column.value(row).as_bytes())
                });
            }
            DataType::BinaryView => {
                let column = column.as_binary_view();
                step(&mut hashes, nulls, |row| xxh3_64(column.value(row)));
            }
            DataType::Boolean => {
                let values = column.as_boolean().values();
                step(&mut hashes, nulls, |row| u64::from(values.value(row)));
            }
            DataType::Null => step(&mut hashes, None, |_| NULL),
            fixed => {
                let values = fixed_values(column);
                match fixed.primitive_width() {
                    Some(1) => {
                        let values = values.typed_data::<u8>();
                        step(&mut hashes, nulls, |row| u64::from(values[row]));
                    }
                    Some(2) => {
                        let values = values.typed_data::<u16>();
                        step(&mut hashes, nulls, |row| u64::from(values[row]));
                    }
                    Some(4) => {
                        let values = values.typed_data::<u32>();
                        step(&mut hashes, nulls, |row| u64::from(values[row]));
                    }
                    Some(bytes) => {
                        let values = values.typed_data::<u64>();
                        let parts = bytes / size_of::<u64>();
                        for part in 0..parts {
                            step(&mut hashes, nulls, |row| values[row * parts + part]);
                        }
                    }
                    None => panic!("{fixed} is no form of a key"),
                }
            }
        }
    }
    hashes
}

/// One more word for every hash.
#[inline]
fn step(hashes: &mut [u64], nulls: Option<&NullBuffer>, word: impl Fn(usize) -> u64) {
    match nulls {
        None => {
            for (row, hash) in hashes.iter_mut().enumerate() {
                *hash = mixed(*hash ^ word(row));
            }
        }
        Some(nulls) => {
            for (row, hash) in hashes.iter_mut().enumerate() {
                let word = if nulls.is_valid(row) { word(row) } else { NULL };
                *hash = mixed(*hash ^ word);
            }
        }
    }
}

/// The finalizer of MurmurHash3: every bit of the result depends on every bit given.
#[inline]
fn mixed(mut bits: u64) -> u64 {
    bits ^= bits >> 33;
    bits = bits.wrapping_mul(0xff51_afd7_ed55_8ccd);
    bits ^= bits >> 33;
    bits = bits.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    bits ^ bits >> 33
}

/// The values of a column of fixed width as they lie in memory, little endian.
pub fn fixed_values(column: &ArrayRef) -> &Buffer {
    fn inner<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>) -> &Buffer {
        array.values().inner()
    }
    downcast_primitive_array!(
        column => inner(column),
        other => panic!("{other} has no fixed width")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion_common::arrow::array::{
        BinaryArray, BooleanArray, Decimal256Array, Float64Array, Int64Array, NullArray,
        StringArray, StringViewArray,
    };
    use datafusion_common::arrow::datatypes::{Field, i256};

    fn form(types: &[DataType]) -> KeyForm {
        KeyForm::new(types).expect("plain types")
    }

    #[test]
    fn null_is_not_the_empty_text() {
        let column: ArrayRef = Arc::new(StringViewArray::from(vec![None, Some(""), None]));
        let hashes = stable_hashes(&[column], 3);
        assert_eq!(hashes[0], hashes[2]);
        assert_ne!(hashes[0], hashes[1]);
    }

    #[test]
    fn both_zeros_are_one_key_and_so_is_every_nan() {
        let other_nan = f64::from_bits(f64::NAN.to_bits() | 1);
        let values = vec![0.0, -0.0, f64::NAN, -f64::NAN, other_nan, 1.0];
        let column: ArrayRef = Arc::new(Float64Array::from(values));
        let normal = form(&[DataType::Float64]).normalise(&[column]);
        let bits: Vec<u64> = normal[0]
            .as_primitive::<Float64Type>()
            .values()
            .iter()
            .map(|value| value.to_bits())
            .collect();
        assert_eq!(bits[0], bits[1]);
        assert_eq!([bits[2]; 2], [bits[3], bits[4]]);
        assert_ne!(bits[0], bits[5]);
    }

    #[test]
    fn text_has_one_form_whatever_its_arrow_type_and_so_have_bytes() {
        let words = vec![Some("JFK"), None, Some("longer than a view holds inline")];
        let plain: ArrayRef = Arc::new(StringArray::from(words.clone()));
        let view: ArrayRef = Arc::new(StringViewArray::from(words));
        let from_plain = form(&[DataType::Utf8]).normalise(&[plain]);
        assert_eq!(from_plain, [view]);
        let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![&b"\xff"[..], b""]));
        let normal = form(&[DataType::Binary]).normalise(&[bytes]);
        assert_eq!(normal[0].data_type(), &DataType::BinaryView);
    }

    #[test]
    fn hashes_are_the_same_in_every_process() {
        let decimals = Decimal256Array::from(vec![
            Some(i256::from_i128(-1)),
            Some(i256::from_i128(7)),
            None,
        ]);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringViewArray::from(vec![
                Some("EWR"),
                Some("a text that is longer than a view"),
                None,
            ])),
            Arc::new(Int64Array::from(vec![1, -1, 0])),
            Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])),
            Arc::new(NullArray::new(3)),
            Arc::new(decimals),
        ];
        assert_eq!(stable_hashes(&columns, 3), GOLDEN);
        assert_eq!(
            stable_hashes(&[], 2),
            [START; 2],
            "the one key of no columns"
        );
    }

    /// A change here moves state between shards: restarting from a snapshot or rescaling would look in the wrong place.
    const GOLDEN: [u64; 3] = [
        15_016_076_110_093_990_538,
        11_798_513_194_893_821_114,
        1_519_915_259_668_172_348,
    ];

    #[test]
    fn key_groups_are_equally_full() {
        use crate::exchange::{KEY_GROUPS, key_group};
        let keys = 200 * KEY_GROUPS as i64;
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..keys));
        let mut sizes = vec![0; KEY_GROUPS];
        for hash in stable_hashes(&[column], keys as usize) {
            sizes[key_group(hash).0 as usize] += 1;
        }
        // Five standard deviations around 200.
        assert!(
            sizes.iter().all(|size| (130..270).contains(size)),
            "{sizes:?}"
        );
    }

    #[test]
    fn a_nested_key_is_refused_with_what_to_do() {
        let list = DataType::List(Arc::new(Field::new("item", DataType::Int64, true)));
        let error = KeyForm::new(&[list]).expect_err("a list has parts");
        assert!(error.to_string().contains("group by its parts"), "{error}");
    }
}
