//! Key columns to packed words, and back: the form in which groups are found and kept.
//!
//! ```text
//!   carrier: text  --Dictionary--> id, 32 bits --\
//!   day: SMALLINT  ------------------> 16 bits ---+--> | id ....... | day .. | null bits |    one word or more
//!   NULLs          -------------------> a bit  --/
//! ```
//!
//! Laws: two keys are equal exactly when their words are, while the values that they name are in use. A field never
//! straddles two words unless it is wider than one. NULL has its bit set and no other (a dictionary's has the id 0).
//!
//! Per batch each column is asked once what it is; per record there is a load, a shift and an or.

use std::ops::Range;
use std::sync::Arc;

use datafusion_common::arrow::array::{
    Array, ArrayData, ArrayRef, AsArray, BooleanArray, NullArray, make_array,
};
use datafusion_common::arrow::buffer::{Buffer, MutableBuffer, NullBuffer};
use datafusion_common::arrow::datatypes::DataType;

use super::arena::Segments;
use super::dictionary::Dictionary;
use crate::exchange::fixed_values;

/// How the keys of a query are packed.
#[derive(Debug)]
pub struct KeyLayout {
    /// In the order of the key columns.
    fields: Vec<Field>,
    /// Words of a key, at least one.
    words: usize,
}

/// Where a key column's value stands in the words.
#[derive(Clone, Debug)]
struct Field {
    /// The column's type, in the form in which keys come.
    data_type: DataType,
    kind: Kind,
    at: Bits,
    /// The bit that says NULL. None for an id, and for a column that is always NULL.
    null: Option<Bits>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// An id of this dictionary.
    Id(usize),
    /// A value of so many bytes, a power of two.
    Fixed(usize),
    /// A BOOLEAN.
    Bit,
    /// Always NULL: no bits.
    Nothing,
}

/// A place: the word, and the lowest bit in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Bits {
    word: usize,
    shift: u32,
}

impl Kind {
    fn bits(self) -> u32 {
        match self {
            Kind::Id(_) => u32::BITS,
            Kind::Fixed(bytes) => bytes as u32 * 8,
            Kind::Bit => 1,
            Kind::Nothing => 0,
        }
    }
}

impl KeyLayout {
    /// The layout for key columns of these types, normalised, each with whether it may be NULL.
    pub fn new(columns: &[(DataType, bool)]) -> KeyLayout {
        let mut dictionaries = 0;
        let mut fields: Vec<Field> = columns
            .iter()
            .map(|(data_type, _)| Field {
                data_type: data_type.clone(),
                kind: kind_of(data_type, &mut dictionaries),
                at: Bits::default(),
                null: None,
            })
            .collect();

        // Widths are powers of two: taken from the widest down, each starts at a multiple of its own.
        let mut widest: Vec<usize> = (0..fields.len()).collect();
        widest.sort_by_key(|&field| std::cmp::Reverse(fields[field].kind.bits()));
        let mut end = 0;
        let mut place = |bits: u32| {
            let at = Bits {
                word: (end / u64::BITS) as usize,
                shift: end % u64::BITS,
            };
            end += bits;
            at
        };
        for field in widest {
            fields[field].at = place(fields[field].kind.bits());
        }
        for (field, (_, nullable)) in fields.iter_mut().zip(columns) {
            if *nullable && matches!(field.kind, Kind::Fixed(_) | Kind::Bit) {
                field.null = Some(place(1));
            }
        }
        KeyLayout {
            fields,
            words: (end.div_ceil(u64::BITS) as usize).max(1),
        }
    }

    /// Words of a key.
    pub fn words(&self) -> usize {
        self.words
    }

    /// How many of the columns have a dictionary.
    pub fn dictionaries(&self) -> usize {
        self.ids().count()
    }

    /// Packs the keys at `rows` of `columns` into `packed`, one key after the other.
    pub fn pack(
        &self,
        columns: &[ArrayRef],
        rows: &[u32],
        dictionaries: &mut [Dictionary],
        packed: &mut Vec<u64>,
    ) {
        assert_eq!(
            columns.len(),
            self.fields.len(),
            "a value of every key column"
        );
        packed.clear();
        packed.resize(rows.len() * self.words, 0);
        for (field, column) in self.fields.iter().zip(columns) {
            assert_eq!(
                column.data_type(),
                &field.data_type,
                "key columns come in one form"
            );
            match field.kind {
                Kind::Id(dictionary) => {
                    self.pack_ids(
                        field.at,
                        column,
                        rows,
                        &mut dictionaries[dictionary],
                        packed,
                    );
                }
                Kind::Fixed(bytes) => {
                    let values = fixed_values(column);
                    match bytes {
                        1 => self.pack_fixed(field.at, values.typed_data::<u8>(), rows, packed),
                        2 => self.pack_fixed(field.at, values.typed_data::<u16>(), rows, packed),
                        4 => self.pack_fixed(field.at, values.typed_data::<u32>(), rows, packed),
                        8 => self.pack_fixed(field.at, values.typed_data::<u64>(), rows, packed),
                        _ => self.pack_wide(
                            field.at.word,
                            bytes / 8,
                            values.typed_data(),
                            rows,
                            packed,
                        ),
                    }
                }
                Kind::Bit => {
                    let values = column.as_boolean().values();
                    for (key, &row) in packed.chunks_exact_mut(self.words).zip(rows) {
                        key[field.at.word] |=
                            u64::from(values.value(row as usize)) << field.at.shift;
                    }
                }
                Kind::Nothing => {}
            }
            if !matches!(field.kind, Kind::Id(_) | Kind::Nothing)
                && let Some(nulls) = column.nulls().filter(|nulls| nulls.null_count() > 0)
            {
                self.pack_nulls(field, nulls, rows, packed);
            }
        }
    }

    /// The columns of the keys of `groups`, given by word: `words[w]` has the word `w` of each group.
    pub fn unpack(
        &self,
        words: &[Segments<u64>],
        groups: Range<usize>,
        dictionaries: &[Dictionary],
    ) -> Vec<ArrayRef> {
        let values = |word: usize| words[word].values(groups.clone());
        self.columns(groups.len(), values, dictionaries)
    }

    /// The key columns of these groups, in their order.
    pub fn unpack_each(
        &self,
        words: &[Segments<u64>],
        groups: &[u32],
        dictionaries: &[Dictionary],
    ) -> Vec<ArrayRef> {
        let values = |word: usize| groups.iter().map(move |&group| words[word][group as usize]);
        self.columns(groups.len(), values, dictionaries)
    }

    /// The key columns of `rows` groups, whose packed words of each number `values` gives.
    fn columns<W: Iterator<Item = u64>>(
        &self,
        rows: usize,
        values: impl Fn(usize) -> W,
        dictionaries: &[Dictionary],
    ) -> Vec<ArrayRef> {
        let column = |field: &Field| {
            let words = || values(field.at.word);
            let nulls = field.null.map(|null| {
                NullBuffer::from_iter(values(null.word).map(|word| word >> null.shift & 1 == 0))
            });
            match field.kind {
                Kind::Id(dictionary) => {
                    let ids: Vec<u32> = words()
                        .map(|word| (word >> field.at.shift) as u32)
                        .collect();
                    let text = field.data_type == DataType::Utf8View;
                    dictionaries[dictionary].column(ids.into_iter(), text)
                }
                Kind::Fixed(bytes) => {
                    let mut buffer = MutableBuffer::with_capacity(rows * bytes);
                    if bytes <= 8 {
                        for word in words() {
                            let value = (word >> field.at.shift).to_le_bytes();
                            buffer.extend_from_slice(&value[..bytes]);
                        }
                    } else {
                        let parts = field.at.word..field.at.word + bytes / 8;
                        let mut parts: Vec<W> = parts.map(&values).collect();
                        for _ in 0..rows {
                            for part in &mut parts {
                                buffer.push(part.next().expect("a word of every group"));
                            }
                        }
                    }
                    let column = ArrayData::builder(field.data_type.clone())
                        .len(rows)
                        .nulls(nulls.filter(|nulls| nulls.null_count() > 0))
                        .add_buffer(Buffer::from(buffer))
                        .build()
                        .expect("as many values of the type as there are groups");
                    make_array(column)
                }
                Kind::Bit => {
                    let bits = words()
                        .map(|word| word >> field.at.shift & 1 == 1)
                        .collect();
                    let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
                    Arc::new(BooleanArray::new(bits, nulls))
                }
                Kind::Nothing => Arc::new(NullArray::new(rows)),
            }
        };
        self.fields.iter().map(column).collect()
    }

    /// One more pane uses the values of the keys of `groups`.
    pub fn retain(
        &self,
        words: &[Segments<u64>],
        groups: Range<usize>,
        dictionaries: &mut [Dictionary],
    ) {
        self.each_id(words, groups, |dictionary, id| {
            dictionaries[dictionary].retain(id);
        });
    }

    /// One more user of the values of these keys.
    pub fn retain_each(
        &self,
        words: &[Segments<u64>],
        keys: &[u32],
        dictionaries: &mut [Dictionary],
    ) {
        self.each_id_of(words, keys, |dictionary, id| {
            dictionaries[dictionary].retain(id);
        });
    }

    /// One user less of the values of these keys.
    pub fn release_each(
        &self,
        words: &[Segments<u64>],
        keys: &[u32],
        dictionaries: &mut [Dictionary],
    ) {
        self.each_id_of(words, keys, |dictionary, id| {
            dictionaries[dictionary].release(id);
        });
    }

    /// One pane less uses the values of the keys of `groups`.
    pub fn release(
        &self,
        words: &[Segments<u64>],
        groups: Range<usize>,
        dictionaries: &mut [Dictionary],
    ) {
        self.each_id(words, groups, |dictionary, id| {
            dictionaries[dictionary].release(id);
        });
    }

    /// Calls `take` with the dictionary and the id of every value that the keys of `groups` name.
    #[inline]
    fn each_id(
        &self,
        words: &[Segments<u64>],
        groups: Range<usize>,
        mut take: impl FnMut(usize, u32),
    ) {
        for (dictionary, at) in self.ids() {
            for word in words[at.word].values(groups.clone()) {
                take(dictionary, (word >> at.shift) as u32);
            }
        }
    }

    fn each_id_of(&self, words: &[Segments<u64>], keys: &[u32], mut take: impl FnMut(usize, u32)) {
        for (dictionary, at) in self.ids() {
            for &key in keys {
                take(
                    dictionary,
                    (words[at.word][key as usize] >> at.shift) as u32,
                );
            }
        }
    }

    fn ids(&self) -> impl Iterator<Item = (usize, Bits)> {
        self.fields.iter().filter_map(|field| match field.kind {
            Kind::Id(dictionary) => Some((dictionary, field.at)),
            Kind::Fixed(_) | Kind::Bit | Kind::Nothing => None,
        })
    }

    fn pack_ids(
        &self,
        at: Bits,
        column: &ArrayRef,
        rows: &[u32],
        dictionary: &mut Dictionary,
        packed: &mut [u64],
    ) {
        let words = self.words;
        let put = |number: usize, id: u32| {
            packed[number * words + at.word] |= u64::from(id) << at.shift;
        };
        match column.data_type() {
            DataType::Utf8View => dictionary.intern(column.as_string_view(), rows, put),
            _ => dictionary.intern(column.as_binary_view(), rows, put),
        }
    }

    fn pack_fixed<T: Copy + Into<u64>>(
        &self,
        at: Bits,
        values: &[T],
        rows: &[u32],
        packed: &mut [u64],
    ) {
        for (key, &row) in packed.chunks_exact_mut(self.words).zip(rows) {
            key[at.word] |= values[row as usize].into() << at.shift;
        }
    }

    /// Values of `parts` words, from word `first` on.
    fn pack_wide(
        &self,
        first: usize,
        parts: usize,
        values: &[u64],
        rows: &[u32],
        packed: &mut [u64],
    ) {
        for (key, &row) in packed.chunks_exact_mut(self.words).zip(rows) {
            let value = &values[row as usize * parts..][..parts];
            key[first..first + parts].copy_from_slice(value);
        }
    }

    /// Takes back what was packed for NULLs, whatever lay there, and sets their bits.
    fn pack_nulls(&self, field: &Field, nulls: &NullBuffer, rows: &[u32], packed: &mut [u64]) {
        let null = field
            .null
            .expect("a key column that the plan says is never NULL has none");
        let bits = field.kind.bits();
        for (key, &row) in packed.chunks_exact_mut(self.words).zip(rows) {
            if nulls.is_valid(row as usize) {
                continue;
            }
            if bits < u64::BITS {
                key[field.at.word] &= !(((1 << bits) - 1) << field.at.shift);
            } else {
                key[field.at.word..][..(bits / u64::BITS) as usize].fill(0);
            }
            key[null.word] |= 1 << null.shift;
        }
    }
}

fn kind_of(data_type: &DataType, dictionaries: &mut usize) -> Kind {
    match data_type {
        DataType::Utf8View | DataType::BinaryView => {
            *dictionaries += 1;
            Kind::Id(*dictionaries - 1)
        }
        DataType::Boolean => Kind::Bit,
        DataType::Null => Kind::Nothing,
        fixed => {
            let bytes = fixed
                .primitive_width()
                .expect("what is neither text nor bytes has a fixed width");
            assert!(bytes.is_power_of_two() && bytes <= 32, "{fixed} is a key");
            Kind::Fixed(bytes)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use datafusion_common::arrow::array::{
        BinaryViewArray, Decimal128Array, Decimal256Array, Float64Array, Int8Array, Int32Array,
        Int64Array, IntervalMonthDayNanoArray, StringViewArray, TimestampMicrosecondArray,
        UInt16Array, UInt32Array,
    };
    use datafusion_common::arrow::compute::take;
    use datafusion_common::arrow::datatypes::{IntervalMonthDayNano, i256};
    use datafusion_common::arrow::util::display::array_value_to_string;
    use proptest::prelude::*;

    use super::super::arena::Arena;
    use super::super::table::GroupTable;
    use super::*;

    /// Columns of every kind, each with some NULLs, from one small number a row.
    fn columns(numbers: &[Option<u8>]) -> Vec<ArrayRef> {
        fn of<T>(numbers: &[Option<u8>], value: impl Fn(u8) -> T) -> Vec<Option<T>> {
            numbers.iter().map(|number| number.map(&value)).collect()
        }
        let long = |number: u8| format!("a text of more than twelve bytes: {number}");
        vec![
            Arc::new(StringViewArray::from_iter(of(numbers, |it| it.to_string()))),
            Arc::new(Int8Array::from(of(numbers, |it| it as i8))),
            Arc::new(BooleanArray::from(of(numbers, |it| it % 2 == 0))),
            Arc::new(Int64Array::from(of(numbers, |it| -i64::from(it)))),
            Arc::new(StringViewArray::from_iter(of(numbers, long))),
            Arc::new(Decimal256Array::from(of(numbers, |it| {
                i256::from_i128(-i128::from(it))
            }))),
            Arc::new(UInt16Array::from(of(numbers, |it| u16::from(it) << 8))),
            Arc::new(Decimal128Array::from(of(numbers, |it| {
                i128::from(it) << 90
            }))),
            Arc::new(NullArray::new(numbers.len())),
            Arc::new(Float64Array::from(of(numbers, f64::from))),
            Arc::new(IntervalMonthDayNanoArray::from(of(numbers, |it| {
                IntervalMonthDayNano::new(i32::from(it), -1, 1 << 40)
            }))),
            Arc::new(BinaryViewArray::from_iter(of(numbers, |it| {
                vec![it; it as usize % 20]
            }))),
            Arc::new(TimestampMicrosecondArray::from(of(numbers, |it| {
                i64::from(it) << 32
            }))),
            Arc::new(Int32Array::from(of(numbers, |it| -i32::from(it)))),
        ]
    }

    fn line(columns: &[ArrayRef], row: usize) -> String {
        let value = |column: &ArrayRef| match column.is_null(row) {
            true => String::from("NULL"),
            false => array_value_to_string(column, row).expect("a printable value"),
        };
        columns.iter().map(value).collect::<Vec<_>>().join("|")
    }

    proptest! {
        #[test]
        fn keys_come_back_as_they_were_and_equal_ones_once(
            numbers in prop::collection::vec(prop::collection::vec(prop::option::of(0u8..6), 14), 0..60),
            kept in prop::collection::vec(any::<bool>(), 14),
        ) {
            // A number a row and column, so that keys differ in any part of them.
            let given: Vec<ArrayRef> = (0..14)
                .filter(|&column| kept[column])
                .map(|column| {
                    let of_column: Vec<Option<u8>> = numbers.iter().map(|row| row[column]).collect();
                    Arc::clone(&columns(&of_column)[column])
                })
                .collect();
            let types: Vec<(DataType, bool)> = given.iter().map(|column| (column.data_type().clone(), true)).collect();
            let layout = KeyLayout::new(&types);
            let mut dictionaries: Vec<Dictionary> = (0..layout.dictionaries()).map(|_| Dictionary::new(7, None)).collect();
            // Every other row, in order.
            let rows: Vec<u32> = (0..numbers.len() as u32).step_by(2).collect();
            let mut packed = vec![u64::MAX; 3];
            layout.pack(&given, &rows, &mut dictionaries, &mut packed);
            let arena = Arena::new(None);
            let mut table = GroupTable::new(layout.words(), 7, None);
            let mut ids = Vec::new();
            table.assign(&packed, &mut ids, &arena);

            let mut seen = BTreeMap::new();
            let mut firsts = Vec::new();
            for (&row, &id) in rows.iter().zip(&ids) {
                let next = seen.len() as u32;
                let first = *seen.entry(line(&given, row as usize)).or_insert(next);
                prop_assert_eq!(id, first);
                if first == next {
                    firsts.push(row);
                }
            }
            let back = layout.unpack(table.words(), 0..table.len(), &dictionaries);
            let picked = UInt32Array::from(firsts);
            for (back, given) in back.iter().zip(&given) {
                prop_assert_eq!(back, &take(given, &picked, None).expect("rows of the column"));
            }
        }
    }

    #[test]
    fn what_lies_under_a_null_does_not_matter() {
        let nulls = NullBuffer::from(vec![false, false, true]);
        let column: ArrayRef = Arc::new(Int64Array::new(vec![5, 6, 0].into(), Some(nulls)));
        let layout = KeyLayout::new(&[(DataType::Int64, true)]);
        let mut packed = Vec::new();
        layout.pack(&[column], &[0, 1, 2], &mut [], &mut packed);
        assert_eq!(layout.words(), 2);
        assert_eq!(packed, [0, 1, 0, 1, 0, 0]);
    }

    #[test]
    fn two_texts_and_a_number_that_is_never_null_take_a_word_each() {
        let text = (DataType::Utf8View, true);
        assert_eq!(KeyLayout::new(&[text.clone(), text.clone()]).words(), 1);
        assert_eq!(KeyLayout::new(&[(DataType::Int64, false)]).words(), 1);
        assert_eq!(
            KeyLayout::new(&[text.clone(), text.clone(), text]).words(),
            2
        );
        assert_eq!(KeyLayout::new(&[]).words(), 1);
    }
}
