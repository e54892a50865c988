//! Each aggregate against what SQL says of it, on a few groups.

use std::sync::Arc;

use datafusion_common::arrow::array::{
    Array, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array,
    Float64Array, Int8Array, Int64Array, NullArray, StringArray, StringViewArray,
    TimestampMicrosecondArray, UInt64Array,
};

use datafusion_common::arrow::datatypes::Float64Type;

use super::*;

mod partials;

fn aggregate(
    kind: AggregateKind,
    argument_type: &DataType,
    result_type: &DataType,
) -> AggregateSpec {
    AggregateSpec {
        kind,
        argument: Some(0),
        argument_type: argument_type.clone(),
        result_type: result_type.clone(),
        text: String::from("f(x)"),
    }
}

/// What `kind` makes of `column` for three groups: row `i` is of group `groups[i]`. Also checks that `running` ends
/// where `finish` does, and that a cleared accumulator starts again.
fn over(
    kind: AggregateKind,
    column: impl Array + 'static,
    groups: &[u32],
    result: &DataType,
) -> Finished {
    let column: ArrayRef = Arc::new(column);
    let rows: Vec<u32> = (0..column.len() as u32).collect();
    let mut arena = Arena::new(None);
    let mut state =
        build(&aggregate(kind, column.data_type(), result)).expect("a supported aggregate");
    state.grow(3, &arena);
    state.update(groups, &rows, Some(&column), &arena);
    let finished = state.finish(0..3);
    assert_eq!(finished.values.data_type(), result);

    state.clear();
    arena.reset();
    state.grow(3, &arena);
    let running = state.running(groups, &rows, Some(&column), &arena);
    assert_eq!(running.values.data_type(), result);
    let again = state.finish(0..3);
    assert_eq!(again.values.as_ref(), finished.values.as_ref());
    assert_eq!(again.out_of_range, finished.out_of_range);
    for (row, &group) in groups.iter().enumerate() {
        if groups[row + 1..].contains(&group) {
            continue;
        }
        let last = running.values.slice(row, 1);
        assert_eq!(
            last.as_ref(),
            finished.values.slice(group as usize, 1).as_ref()
        );
        assert_eq!(
            running.out_of_range.contains(&(row as u32)),
            finished.out_of_range.contains(&group)
        );
    }
    finished
}

/// Group 0 has three rows, group 1 one, group 2 one.
const GROUPS: [u32; 5] = [0, 1, 0, 2, 0];

#[test]
fn count_leaves_nulls_out_and_count_star_does_not() {
    let column = Int64Array::from(vec![Some(1), None, None, Some(4), Some(5)]);
    let counted = over(AggregateKind::Count, column, &GROUPS, &DataType::Int64);
    assert_eq!(counted.values.as_ref(), &Int64Array::from(vec![2, 0, 1]));

    let counted = over(
        AggregateKind::Count,
        NullArray::new(5),
        &GROUPS,
        &DataType::Int64,
    );
    assert_eq!(counted.values.as_ref(), &Int64Array::from(vec![0, 0, 0]));

    let arena = Arena::new(None);
    let mut star = build(&aggregate(
        AggregateKind::Count,
        &DataType::Null,
        &DataType::Int64,
    ))
    .expect("COUNT(*)");
    star.grow(3, &arena);
    star.update(&GROUPS, &[0, 1, 2, 3, 4], None, &arena);
    assert_eq!(
        star.finish(1..3).values.as_ref(),
        &Int64Array::from(vec![1, 1])
    );
    assert_eq!(
        star.running(&[1, 1], &[0, 1], None, &arena).values.as_ref(),
        &Int64Array::from(vec![2, 3])
    );
}

#[test]
fn sum_of_nulls_alone_is_null() {
    let column = Int64Array::from(vec![Some(1), None, None, Some(-4), Some(5)]);
    let summed = over(AggregateKind::Sum, column, &GROUPS, &DataType::Int64);
    assert_eq!(
        summed.values.as_ref(),
        &Int64Array::from(vec![Some(6), None, Some(-4)])
    );
}

#[test]
fn a_sum_may_leave_the_range_and_come_back_but_not_stay_away() {
    let column = Int64Array::from(vec![i64::MAX, i64::MAX, i64::MAX, i64::MIN, -i64::MAX]);
    let arena = Arena::new(None);
    let mut state = build(&aggregate(
        AggregateKind::Sum,
        &DataType::Int64,
        &DataType::Int64,
    ))
    .expect("a sum");
    state.grow(3, &arena);
    let column: ArrayRef = Arc::new(column);
    let running = state.running(&GROUPS, &[0, 1, 2, 3, 4], Some(&column), &arena);
    assert_eq!(running.out_of_range, [2]);
    assert!(running.values.is_null(2));
    let summed = state.finish(0..3);
    assert!(summed.out_of_range.is_empty());
    assert_eq!(
        summed.values.as_ref(),
        &Int64Array::from(vec![i64::MAX, i64::MAX, i64::MIN])
    );
    state.update(&[1, 2], &[0, 3], Some(&column), &arena);
    assert_eq!(state.finish(0..3).out_of_range, [1, 2]);
    assert_eq!(
        state.finish(1..3).out_of_range,
        [0, 1],
        "positions in the values, not group ids"
    );
}

#[test]
fn sums_are_kept_in_the_width_of_their_kind() {
    let small = over(
        AggregateKind::Sum,
        Int8Array::from(vec![127; 5]),
        &GROUPS,
        &DataType::Int64,
    );
    assert_eq!(
        small.values.as_ref(),
        &Int64Array::from(vec![381, 127, 127])
    );
    let large = over(
        AggregateKind::Sum,
        UInt64Array::from(vec![1 << 63, u64::MAX, 0, 1, 1]),
        &GROUPS,
        &DataType::UInt64,
    );
    assert_eq!(
        large.values.as_ref(),
        &UInt64Array::from(vec![(1 << 63) + 1, u64::MAX, 1])
    );
    let over_all = over(
        AggregateKind::Sum,
        UInt64Array::from(vec![u64::MAX; 5]),
        &GROUPS,
        &DataType::UInt64,
    );
    assert_eq!(over_all.out_of_range, [0]);
    let floats = over(
        AggregateKind::Sum,
        Float32Array::from(vec![0.5; 5]),
        &GROUPS,
        &DataType::Float64,
    );
    assert_eq!(
        floats.values.as_ref(),
        &Float64Array::from(vec![1.5, 0.5, 0.5])
    );
}

#[test]
fn an_average_is_over_values_and_null_without_any() {
    let column = Float64Array::from(vec![Some(1.0), None, None, Some(-4.0), Some(2.0)]);
    let mean = over(AggregateKind::Avg, column, &GROUPS, &DataType::Float64);
    assert_eq!(
        mean.values.as_ref(),
        &Float64Array::from(vec![Some(1.5), None, Some(-4.0)])
    );

    let column = Int64Array::from(vec![i64::MAX, 3, i64::MAX, 4, i64::MAX]);
    let mean = over(AggregateKind::Avg, column, &GROUPS, &DataType::Float64);
    assert_eq!(
        mean.values.as_ref(),
        &Float64Array::from(vec![i64::MAX as f64, 3.0, 4.0])
    );
}

#[test]
fn extremes_of_numbers_leave_nulls_out() {
    let column = Int64Array::from(vec![Some(-1), None, None, Some(4), Some(5)]);
    let least = over(
        AggregateKind::Min,
        column.clone(),
        &GROUPS,
        &DataType::Int64,
    );
    assert_eq!(
        least.values.as_ref(),
        &Int64Array::from(vec![Some(-1), None, Some(4)])
    );
    let most = over(AggregateKind::Max, column, &GROUPS, &DataType::Int64);
    assert_eq!(
        most.values.as_ref(),
        &Int64Array::from(vec![Some(5), None, Some(4)])
    );
}

#[test]
fn the_maximum_of_negative_numbers_is_not_the_empty_states_zero() {
    let most = over(
        AggregateKind::Max,
        Int64Array::from(vec![-5, -4, -3, -2, -9]),
        &GROUPS,
        &DataType::Int64,
    );
    assert_eq!(most.values.as_ref(), &Int64Array::from(vec![-3, -4, -2]));
}

#[test]
fn nan_is_above_every_number_whatever_its_bits() {
    let column = Float64Array::from(vec![1.0, -f64::NAN, -f64::NAN, f64::INFINITY, 2.0]);
    let least = over(
        AggregateKind::Min,
        column.clone(),
        &GROUPS,
        &DataType::Float64,
    );
    let least = least.values.as_primitive::<Float64Type>().values();
    assert_eq!((least[0], least[2]), (1.0, f64::INFINITY));
    assert!(least[1].is_nan());
    let most = over(AggregateKind::Max, column, &GROUPS, &DataType::Float64);
    let most = most.values.as_primitive::<Float64Type>().values();
    assert!(most[0].is_nan() && most[1].is_nan());
    assert_eq!(most[2], f64::INFINITY);
}

#[test]
fn extremes_of_text_and_bytes_are_by_their_bytes() {
    let long = "the same beginning, longer than a view holds inline: b";
    let words = vec![Some(long), None, None, Some(""), Some("the same")];
    for column in [
        Arc::new(StringViewArray::from(words.clone())) as ArrayRef,
        Arc::new(StringArray::from(words.clone())),
    ] {
        let result = column.data_type().clone();
        let expected = |words: [Option<&str>; 3]| match result {
            DataType::Utf8 => Arc::new(StringArray::from(words.to_vec())) as ArrayRef,
            _ => Arc::new(StringViewArray::from(words.to_vec())),
        };
        let least = over(AggregateKind::Min, Arc::clone(&column), &GROUPS, &result);
        assert_eq!(&least.values, &expected([Some("the same"), None, Some("")]));
        let most = over(AggregateKind::Max, column, &GROUPS, &result);
        assert_eq!(&most.values, &expected([Some(long), None, Some("")]));
    }
    let bytes = BinaryArray::from(vec![&b"\xff"[..], b"", b"\x00", b"z", b"z\x00"]);
    let most = over(AggregateKind::Max, bytes, &GROUPS, &DataType::Binary);
    assert_eq!(
        most.values.as_ref(),
        &BinaryArray::from(vec![&b"\xff"[..], b"", b"z"])
    );
}

#[test]
fn extremes_keep_the_type_of_their_argument() {
    let column = BooleanArray::from(vec![Some(true), None, Some(false), Some(true), None]);
    let least = over(AggregateKind::Min, column, &GROUPS, &DataType::Boolean);
    assert_eq!(
        least.values.as_ref(),
        &BooleanArray::from(vec![Some(false), None, Some(true)])
    );

    let zoned = TimestampMicrosecondArray::from(vec![5, 4, 3, 2, 1]).with_timezone("UTC");
    let result = zoned.data_type().clone();
    over(AggregateKind::Min, zoned, &GROUPS, &result);

    let decimal = Decimal128Array::from(vec![5, 4, 3, 2, 1])
        .with_precision_and_scale(10, 2)
        .expect("a decimal");
    let result = decimal.data_type().clone();
    let most = over(AggregateKind::Max, decimal, &GROUPS, &result);
    assert_eq!(
        most.values
            .as_primitive::<datafusion_common::arrow::datatypes::Decimal128Type>()
            .value(0),
        5
    );

    over(
        AggregateKind::Max,
        Date32Array::from(vec![5, 4, 3, 2, 1]),
        &GROUPS,
        &DataType::Date32,
    );
}

fn decimals(values: &[i128], digits: u8, scale: i8) -> Decimal128Array {
    Decimal128Array::from(values.to_vec())
        .with_precision_and_scale(digits, scale)
        .expect("decimals of that type")
}

#[test]
fn decimals_add_up_exactly_and_keep_their_scale() {
    let column = decimals(&[10, 20, 30, -5, 1], 10, 2);
    let summed = over(
        AggregateKind::Sum,
        column,
        &GROUPS,
        &DataType::Decimal128(20, 2),
    );
    assert_eq!(summed.values.as_ref(), &decimals(&[41, 20, -5], 20, 2));

    let most = 10i128.pow(38) - 1;
    let column = decimals(&[most, most, most, -most, -most], 38, 0);
    let summed = over(
        AggregateKind::Sum,
        column,
        &GROUPS,
        &DataType::Decimal128(38, 0),
    );
    assert!(
        summed.out_of_range.is_empty(),
        "it passed the range and came back"
    );
    assert_eq!(
        summed.values.as_ref(),
        &decimals(&[most, most, -most], 38, 0)
    );

    let column = decimals(&[most, 0, 1, 0, 0], 38, 0);
    let summed = over(
        AggregateKind::Sum,
        column,
        &GROUPS,
        &DataType::Decimal128(38, 0),
    );
    assert_eq!(summed.out_of_range, [0]);
    assert!(summed.values.is_null(0));
}

#[test]
fn the_mean_of_decimals_has_more_digits_and_is_rounded() {
    let column = decimals(&[1, 7, 1, -2, 0], 10, 2);
    let mean = over(
        AggregateKind::Avg,
        column,
        &[0, 1, 0, 2, 0],
        &DataType::Decimal128(14, 6),
    );
    assert_eq!(
        mean.values.as_ref(),
        &decimals(&[6667, 70_000, -20_000], 14, 6)
    );
    let most = 10i128.pow(38) - 1;
    let mean = over(
        AggregateKind::Avg,
        decimals(&[most, 1, most, 1, most], 38, 0),
        &GROUPS,
        &DataType::Decimal128(38, 4),
    );
    assert_eq!(
        mean.out_of_range,
        [0],
        "38 digits leave no room for four more"
    );
}

#[test]
fn only_the_picked_rows_count() {
    let arena = Arena::new(None);
    let mut state = build(&aggregate(
        AggregateKind::Sum,
        &DataType::Int64,
        &DataType::Int64,
    ))
    .expect("a sum");
    state.grow(1, &arena);
    let column: ArrayRef = Arc::new(Int64Array::from(vec![1, 10, 100]));
    state.update(&[0, 0], &[2, 0], Some(&column), &arena);
    assert_eq!(
        state.finish(0..1).values.as_ref(),
        &Int64Array::from(vec![101])
    );
}

#[test]
fn what_cannot_be_computed_is_refused_with_what_to_do() {
    let wide = DataType::Decimal256(58, 2);
    for kind in [AggregateKind::Sum, AggregateKind::Avg] {
        let error = build(&aggregate(kind, &wide, &wide)).expect_err("too wide");
        assert!(error.to_string().contains("at most 57 digits"), "{error}");
    }
    let error = build(&aggregate(
        AggregateKind::Sum,
        &DataType::Utf8View,
        &DataType::Float64,
    ))
    .expect_err("text");
    assert!(
        error
            .to_string()
            .contains("f(x) cannot be computed from VARCHAR"),
        "{error}"
    );
    let error = build(&aggregate(
        AggregateKind::Min,
        &DataType::Null,
        &DataType::Null,
    ))
    .expect_err("no type");
    assert!(error.to_string().contains("cast its argument"), "{error}");
}
