//! Partials: rows split in any way, each part aggregated alone, the partials merged in any order, give what one accumulator
//! gives.

use datafusion_common::arrow::array::{Decimal256Array, PrimitiveArray, UInt32Array};
use datafusion_common::arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, Float32Type, Float64Type, Int8Type, Int64Type,
    UInt64Type, i256,
};
use proptest::prelude::*;

use super::*;

/// Groups that the rows belong to.
const GROUP_COUNT: usize = 5;

/// One row: its group, the part that it goes to, and a number of which its value is made, `None` for NULL.
type Row = (u32, usize, Option<i128>);

/// How the parts are merged: the order of their partials, and the groups of a slice.
#[derive(Clone, Debug)]
struct Merging {
    order: Vec<usize>,
    slice: usize,
}

fn any_rows() -> impl Strategy<Value = (Vec<Row>, Merging)> {
    let number = prop_oneof![
        1 => Just(None),
        4 => (-4i128..5).prop_map(Some),
        1 => Just(Some(i128::from(i64::MAX))),
        1 => Just(Some(i128::from(i64::MIN))),
        1 => Just(Some(10i128.pow(37))),
        1 => Just(Some(-(10i128.pow(37)))),
    ];
    (1usize..5).prop_flat_map(move |parts| {
        let row = (0..GROUP_COUNT as u32, 0..parts, number.clone());
        let order = Just((0..parts).collect::<Vec<_>>()).prop_shuffle();
        let merging =
            (order, 1..GROUP_COUNT + 1).prop_map(|(order, slice)| Merging { order, slice });
        (prop::collection::vec(row, 0..40), merging)
    })
}

/// The aggregate over all rows at once, and over the merged partials of the parts.
fn both_ways(
    spec: &AggregateSpec,
    column: &ArrayRef,
    rows: &[Row],
    merging: &Merging,
) -> (Finished, Finished) {
    let arena = Arena::new(None);
    let all: Vec<u32> = (0..rows.len() as u32).collect();
    let groups: Vec<u32> = rows.iter().map(|row| row.0).collect();
    let mut whole = build(spec).expect("a supported aggregate");
    whole.grow(GROUP_COUNT, &arena);
    whole.update(&groups, &all, Some(column), &arena);

    let mut merged = build(spec).expect("a supported aggregate");
    merged.grow(GROUP_COUNT, &arena);
    for &part in &merging.order {
        // A part numbers its groups in the order in which it meets them.
        let mut met: Vec<u32> = Vec::new();
        let mut picked = Vec::new();
        let mut ids = Vec::new();
        for (row, &(group, of, _)) in rows.iter().enumerate() {
            if of != part {
                continue;
            }
            let id = met.iter().position(|&known| known == group);
            ids.push(id.unwrap_or(met.len()) as u32);
            if id.is_none() {
                met.push(group);
            }
            picked.push(row as u32);
        }
        let mut state = build(spec).expect("a supported aggregate");
        state.grow(met.len(), &arena);
        state.update(&ids, &picked, Some(column), &arena);
        for start in (0..met.len()).step_by(merging.slice) {
            let slice = start..met.len().min(start + merging.slice);
            let partial = state.partial(slice.clone());
            let types: Vec<_> = partial
                .iter()
                .map(|column| column.data_type().clone())
                .collect();
            assert_eq!(types, merged.partial_types());
            // The last first, so that a row is not where its group is.
            let rows: Vec<u32> = (0..slice.len() as u32).rev().collect();
            let to: Vec<u32> = slice.clone().rev().map(|id| met[id]).collect();
            merged.merge(&to, &rows, &partial, &arena);
        }
    }
    (whole.finish(0..GROUP_COUNT), merged.finish(0..GROUP_COUNT))
}

fn assert_exact(
    kind: AggregateKind,
    column: impl Array + 'static,
    result: &DataType,
    (rows, merging): &(Vec<Row>, Merging),
) -> std::result::Result<(), TestCaseError> {
    let column: ArrayRef = Arc::new(column);
    let spec = aggregate(kind, column.data_type(), result);
    let (whole, merged) = both_ways(&spec, &column, rows, merging);
    prop_assert_eq!(&whole.values, &merged.values);
    prop_assert_eq!(whole.out_of_range, merged.out_of_range);
    Ok(())
}

fn assert_near(
    kind: AggregateKind,
    column: impl Array + 'static,
    (rows, merging): &(Vec<Row>, Merging),
) -> std::result::Result<(), TestCaseError> {
    let column: ArrayRef = Arc::new(column);
    let spec = aggregate(kind, column.data_type(), &DataType::Float64);
    let (whole, merged) = both_ways(&spec, &column, rows, merging);
    let (whole, merged) = (
        whole.values.as_primitive::<Float64Type>(),
        merged.values.as_primitive::<Float64Type>(),
    );
    // Relative to the largest of what was added: near zero, what rounding leaves is all there is.
    let largest = column_of::<Float64Type>(rows, |number| number as f64)
        .iter()
        .flatten()
        .fold(1.0, |most: f64, value| most.max(value.abs()));
    for (left, right) in whole.iter().zip(merged) {
        prop_assert_eq!(left.is_some(), right.is_some());
        let apart = left.unwrap_or(0.0) - right.unwrap_or(0.0);
        prop_assert!(apart.abs() <= 1e-9 * largest, "{:?} and {:?}", left, right);
    }
    Ok(())
}

/// A column with a value of each row's number.
fn column_of<T: ArrowPrimitiveType>(
    rows: &[Row],
    value: impl Fn(i128) -> T::Native,
) -> PrimitiveArray<T> {
    rows.iter()
        .map(|&(_, _, number)| number.map(&value))
        .collect()
}

proptest! {
    #[test]
    fn any_split_merged_in_any_order_gives_what_one_accumulator_gives(input in any_rows()) {
        use AggregateKind::{Avg, Count, Max, Min, Sum};
        let rows = &input.0;
        let integers = column_of::<Int64Type>(rows, |number| number as i64);
        let small = column_of::<Int8Type>(rows, |number| number as i8);
        let unsigned = column_of::<UInt64Type>(rows, |number| number as u64);
        let narrow = UInt32Array::from_iter(unsigned.iter().map(|value| value.map(|value| value as u32)));
        let money = column_of::<Decimal128Type>(rows, |number| number)
            .with_precision_and_scale(38, 2)
            .expect("38 digits");
        let wide = Decimal256Array::from_iter(
            rows.iter().map(|row| row.2.map(|number| i256::from_i128(number).wrapping_mul(i256::from_i128(10i128.pow(19))))),
        )
        .with_precision_and_scale(57, 3)
        .expect("57 digits");
        let texts = StringViewArray::from_iter(
            rows.iter().map(|row| row.2.map(|number| format!("{number} and more than a view holds"))),
        );
        let bytes = BinaryArray::from_iter(rows.iter().map(|row| row.2.map(i128::to_le_bytes)));
        let flags = BooleanArray::from_iter(rows.iter().map(|row| row.2.map(|number| number > 0)));

        for kind in [Min, Max] {
            assert_exact(kind, integers.clone(), &DataType::Int64, &input)?;
            assert_exact(kind, small.clone(), &DataType::Int8, &input)?;
            assert_exact(kind, money.clone(), &DataType::Decimal128(38, 2), &input)?;
            assert_exact(kind, wide.clone(), &DataType::Decimal256(57, 3), &input)?;
            assert_exact(kind, texts.clone(), &DataType::Utf8View, &input)?;
            assert_exact(kind, bytes.clone(), &DataType::Binary, &input)?;
            assert_exact(kind, flags.clone(), &DataType::Boolean, &input)?;
            let doubles = column_of::<Float64Type>(rows, |number| match number {
                0 => -0.0,
                4 => f64::NAN,
                other => other as f64,
            });
            assert_exact(kind, doubles, &DataType::Float64, &input)?;
        }
        assert_exact(Count, texts, &DataType::Int64, &input)?;
        assert_exact(Sum, integers.clone(), &DataType::Int64, &input)?;
        assert_exact(Sum, small.clone(), &DataType::Int64, &input)?;
        assert_exact(Sum, unsigned, &DataType::UInt64, &input)?;
        assert_exact(Sum, narrow, &DataType::UInt64, &input)?;
        assert_exact(Sum, money.clone(), &DataType::Decimal128(38, 2), &input)?;
        assert_exact(Sum, wide.clone(), &DataType::Decimal256(67, 3), &input)?;
        assert_exact(Avg, integers, &DataType::Float64, &input)?;
        assert_exact(Avg, small, &DataType::Float64, &input)?;
        assert_exact(Avg, money, &DataType::Decimal128(38, 6), &input)?;
        assert_exact(Avg, wide, &DataType::Decimal256(61, 7), &input)?;
        for kind in [Sum, Avg] {
            assert_near(kind, column_of::<Float64Type>(rows, |number| number as f64), &input)?;
            assert_near(kind, column_of::<Float32Type>(rows, |number| number as f32), &input)?;
        }
    }
}
