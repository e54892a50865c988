//! Encoders over every type; encode, then decode, gives the same rows.

use std::sync::Arc;

use datafusion_common::arrow::array::{
    ArrayRef, BinaryArray, BinaryViewArray, BooleanArray, Date32Array, Date64Array,
    Decimal128Array, Decimal256Array, DictionaryArray, Float32Array, Float64Array, Int8Array,
    Int32Array, Int64Array, IntervalDayTimeArray, LargeStringArray, ListArray, NullArray,
    RecordBatch, RecordBatchOptions, StringArray, StringViewArray, Time64MicrosecondArray,
    TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
    TimestampSecondArray, UInt64Array,
};
use datafusion_common::arrow::datatypes::{
    Field, Int32Type, Int64Type, IntervalDayTime, Schema, i256,
};
use proptest::prelude::*;

use super::*;
use crate::config::options::TimeUnit;
use crate::format::csv::CsvDecoder;
use crate::format::framing::{Framer, Framing};
use crate::format::json::JsonDecoder;
use crate::format::{Decoded, Decoder};

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields = columns
        .iter()
        .map(|(name, array)| Field::new(*name, array.data_type().clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    RecordBatch::try_new(
        schema,
        columns.into_iter().map(|(_, array)| array).collect(),
    )
    .expect("equal lengths")
}

fn rows(format: &RowFormat, batch: &RecordBatch) -> Vec<String> {
    let encoded = encoder(format, &batch.schema()).encode(batch);
    assert_eq!(encoded.len(), batch.num_rows());
    (0..encoded.len())
        .map(|row| String::from_utf8(encoded.row(row).to_vec()).expect("text"))
        .collect()
}

fn csv(null: &str) -> CsvOptions {
    CsvOptions {
        header: true,
        delimiter: b',',
        null: null.to_owned(),
    }
}

/// What JSON makes of one value.
fn json_value(array: impl datafusion_common::arrow::array::Array + 'static) -> String {
    let row = rows(&RowFormat::Json, &batch(vec![("x", Arc::new(array))])).remove(0);
    row.strip_prefix("{\"x\":")
        .and_then(|row| row.strip_suffix('}'))
        .expect("one field")
        .to_owned()
}

#[test]
fn every_type_has_its_json() {
    assert_eq!(json_value(NullArray::new(1)), "null");
    assert_eq!(json_value(Int64Array::from(vec![None])), "null");
    assert_eq!(json_value(BooleanArray::from(vec![true])), "true");
    assert_eq!(json_value(Int8Array::from(vec![-128])), "-128");
    assert_eq!(json_value(Int32Array::from(vec![7])), "7");
    assert_eq!(
        json_value(Int64Array::from(vec![i64::MIN])),
        "-9223372036854775808"
    );
    assert_eq!(
        json_value(UInt64Array::from(vec![u64::MAX])),
        "18446744073709551615"
    );
    assert_eq!(json_value(Float32Array::from(vec![0.1])), "0.1");
    assert_eq!(
        json_value(Float64Array::from(vec![0.1 + 0.2])),
        "0.30000000000000004"
    );
    assert_eq!(json_value(Float64Array::from(vec![1.0])), "1.0");
    assert_eq!(json_value(Float64Array::from(vec![f64::NAN])), "\"NaN\"");
    assert_eq!(
        json_value(Float64Array::from(vec![f64::NEG_INFINITY])),
        "\"-Infinity\""
    );
    let decimal = Decimal128Array::from(vec![-5])
        .with_precision_and_scale(10, 2)
        .expect("fits");
    assert_eq!(json_value(decimal), "-0.05");
    let wide = Decimal256Array::from(vec![i256::from_i128(123_456)])
        .with_precision_and_scale(76, 3)
        .expect("fits");
    assert_eq!(json_value(wide), "123.456");
    assert_eq!(
        json_value(StringArray::from(vec!["a\"b\\\n\u{1}é"])),
        r#""a\"b\\\n\u0001é""#
    );
    assert_eq!(json_value(LargeStringArray::from(vec!["a"])), "\"a\"");
    assert_eq!(
        json_value(StringViewArray::from(vec![
            "a text longer than a view holds"
        ])),
        "\"a text longer than a view holds\""
    );
    assert_eq!(
        json_value(
            vec!["a"]
                .into_iter()
                .collect::<DictionaryArray<Int32Type>>()
        ),
        "\"a\""
    );
    assert_eq!(
        json_value(BinaryArray::from(vec![&b"\x00\xff"[..]])),
        "\"AP8=\""
    );
    assert_eq!(
        json_value(Date32Array::from(vec![15_706])),
        "\"2013-01-01\""
    );
    assert_eq!(
        json_value(Date64Array::from(vec![1_356_998_400_000])),
        "\"2013-01-01\""
    );
    assert_eq!(
        json_value(Time64MicrosecondArray::from(vec![1])),
        "\"00:00:00.000001\""
    );
    assert_eq!(
        json_value(TimestampMicrosecondArray::from(vec![0])),
        "\"1970-01-01T00:00:00Z\""
    );
    assert_eq!(
        json_value(TimestampMicrosecondArray::from(vec![-1])),
        "\"1969-12-31T23:59:59.999999Z\""
    );
    assert_eq!(
        json_value(TimestampSecondArray::from(vec![1])),
        "\"1970-01-01T00:00:01Z\""
    );
    assert_eq!(
        json_value(TimestampMillisecondArray::from(vec![1]).with_timezone("+02:00")),
        "\"1970-01-01T00:00:00.001000Z\""
    );
    assert_eq!(
        json_value(TimestampNanosecondArray::from(vec![-1])),
        "\"1969-12-31T23:59:59.999999Z\""
    );
    assert_eq!(
        json_value(IntervalDayTimeArray::from(vec![IntervalDayTime::new(1, 0)])),
        "\"1 days\""
    );
    let list = ListArray::from_iter_primitive::<Int64Type, _, _>(vec![Some(vec![Some(1), None])]);
    assert_eq!(json_value(list), "\"[1, ]\"");
}

fn rows_of_three() -> RecordBatch {
    batch(vec![
        (
            "carrier",
            Arc::new(StringViewArray::from(vec![
                Some("AA"),
                Some("a,\"b\"\n"),
                None,
                Some(""),
            ])),
        ),
        (
            "n",
            Arc::new(Int64Array::from(vec![
                Some(7),
                None,
                Some(-1),
                Some(12_345_678_901),
            ])),
        ),
        (
            "mean",
            Arc::new(Float64Array::from(vec![
                0.5,
                12.639_235_412_345,
                f64::NAN,
                1e300,
            ])),
        ),
    ])
}

#[test]
fn json_rows_are_flat_objects_with_every_key() {
    assert_eq!(
        rows(&RowFormat::Json, &rows_of_three()),
        [
            r#"{"carrier":"AA","n":7,"mean":0.5}"#,
            r#"{"carrier":"a,\"b\"\n","n":null,"mean":12.639235412345}"#,
            r#"{"carrier":null,"n":-1,"mean":"NaN"}"#,
            r#"{"carrier":"","n":12345678901,"mean":1e+300}"#,
        ]
    );
    assert_eq!(header(&RowFormat::Json, &rows_of_three().schema()), None);
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let none = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options)
        .expect("no column");
    assert_eq!(rows(&RowFormat::Json, &none), ["{}"]);
}

#[test]
fn csv_rows_quote_what_would_be_read_otherwise() {
    let batch = rows_of_three();
    assert_eq!(
        rows(&RowFormat::Csv(csv("")), &batch),
        [
            "AA,7,0.5",
            "\"a,\"\"b\"\"\n\",,12.639235412345",
            ",-1,NaN",
            "\"\",12345678901,1e+300"
        ]
    );
    let options = CsvOptions {
        header: true,
        delimiter: b'.',
        null: "-1".to_owned(),
    };
    assert_eq!(rows(&RowFormat::Csv(options), &batch)[2], "-1.\"-1\".NaN");
    assert_eq!(
        header(&RowFormat::Csv(csv("")), &batch.schema()),
        Some(b"carrier,n,mean".to_vec())
    );
    let no_header = CsvOptions {
        header: false,
        ..csv("")
    };
    assert_eq!(header(&RowFormat::Csv(no_header), &batch.schema()), None);
}

#[test]
fn table_rows_stand_in_columns_and_on_one_line() {
    let batch = rows_of_three();
    let mut lines = vec![
        String::from_utf8(header(&RowFormat::Table, &batch.schema()).expect("a header"))
            .expect("text"),
    ];
    lines.extend(rows(&RowFormat::Table, &batch));
    assert_eq!(
        lines.join("\n"),
        "carrier                n          mean\n\
         ------------  ----------  ------------\n\
         AA                     7           0.5\n\
         a,\"b\"\\n             NULL     12.639235\n\
         NULL                  -1           NaN\n\
         \u{20}             12345678901        1e+300"
    );
}

/// A column of every type that a decoder makes.
#[derive(Clone, Debug)]
struct Values {
    boolean: Option<bool>,
    int: Option<i64>,
    double: Option<f64>,
    single: Option<f32>,
    decimal: Option<i128>,
    text: Option<String>,
    bytes: Option<Vec<u8>>,
    date: Option<i32>,
    time: Option<i64>,
    timestamp: Option<i64>,
}

fn values() -> impl Strategy<Value = Values> {
    let numbers = (
        any::<Option<bool>>(),
        any::<Option<i64>>(),
        prop::option::of(any::<f64>().prop_filter("equal to itself", |value| !value.is_nan())),
        prop::option::of(any::<f32>().prop_filter("equal to itself", |value| !value.is_nan())),
        prop::option::of(-(10i128.pow(20) - 1)..10i128.pow(20)),
    );
    let texts = (
        prop::option::of("[a-c,;\"\\\\\r\n\u{1}é😀 ]{0,20}"),
        any::<Option<Vec<u8>>>(),
        any::<Option<i32>>(),
        prop::option::of(0i64..86_400_000_000),
        any::<Option<i64>>(),
    );
    (numbers, texts).prop_map(
        |((boolean, int, double, single, decimal), (text, bytes, date, time, timestamp))| Values {
            boolean,
            int,
            double,
            single,
            decimal,
            text,
            bytes,
            date,
            time,
            timestamp,
        },
    )
}

fn batch_of(values: &[Values]) -> RecordBatch {
    let decimals = values
        .iter()
        .map(|row| row.decimal)
        .collect::<Decimal128Array>();
    batch(vec![
        (
            "boolean",
            Arc::new(
                values
                    .iter()
                    .map(|row| row.boolean)
                    .collect::<BooleanArray>(),
            ),
        ),
        (
            "int",
            Arc::new(values.iter().map(|row| row.int).collect::<Int64Array>()),
        ),
        (
            "double",
            Arc::new(
                values
                    .iter()
                    .map(|row| row.double)
                    .collect::<Float64Array>(),
            ),
        ),
        (
            "single",
            Arc::new(
                values
                    .iter()
                    .map(|row| row.single)
                    .collect::<Float32Array>(),
            ),
        ),
        (
            "decimal",
            Arc::new(decimals.with_precision_and_scale(20, 4).expect("fits")),
        ),
        (
            "text",
            Arc::new(
                values
                    .iter()
                    .map(|row| row.text.clone())
                    .collect::<StringViewArray>(),
            ),
        ),
        (
            "bytes",
            Arc::new(
                values
                    .iter()
                    .map(|row| row.bytes.clone())
                    .collect::<BinaryViewArray>(),
            ),
        ),
        (
            "date",
            Arc::new(values.iter().map(|row| row.date).collect::<Date32Array>()),
        ),
        (
            "time",
            Arc::new(
                values
                    .iter()
                    .map(|row| row.time)
                    .collect::<Time64MicrosecondArray>(),
            ),
        ),
        (
            "time stamp",
            Arc::new(
                values
                    .iter()
                    .map(|row| row.timestamp)
                    .collect::<TimestampMicrosecondArray>(),
            ),
        ),
    ])
}

fn decode_all(decoder: &mut dyn Decoder, records: &[&[u8]]) -> RecordBatch {
    for record in records {
        if let Decoded::Bad(bad) = decoder.decode(record) {
            panic!("{}: {}", String::from_utf8_lossy(record), bad.reason);
        }
    }
    decoder.finish()
}

proptest! {
    #[test]
    fn json_reads_back(values in prop::collection::vec(values(), 0..8)) {
        let rows = batch_of(&values);
        let encoded = encoder(&RowFormat::Json, &rows.schema()).encode(&rows);
        let all: Vec<usize> = (0..rows.num_columns()).collect();
        let mut decoder = JsonDecoder::new(&rows.schema(), &all, None, TimeUnit::Seconds).expect("readable types");
        let records: Vec<&[u8]> = (0..encoded.len()).map(|row| encoded.row(row)).collect();
        prop_assert_eq!(decode_all(&mut decoder, &records), rows);
    }

    #[test]
    fn csv_reads_back_through_a_file(
        values in prop::collection::vec(values(), 0..8),
        null in prop::sample::select(vec!["", "NULL", "0", "a", "a\"b", "\\N"]),
        delimiter in prop::sample::select(vec![b',', b';', b'-', b'\t']),
    ) {
        let rows = batch_of(&values);
        let options = CsvOptions { delimiter, ..csv(null) };
        let format = RowFormat::Csv(options.clone());
        let mut file = header(&format, &rows.schema()).expect("a header");
        let encoded = encoder(&format, &rows.schema()).encode(&rows);
        for row in 0..encoded.len() {
            file.push(b'\n');
            file.extend_from_slice(encoded.row(row));
        }
        let mut framer = Framer::new(Framing::Csv { delimiter });
        let mut records = Vec::new();
        let mut rest = file.as_slice();
        while let Some(frame) = framer.next(rest, true) {
            records.push(&rest[frame.record]);
            rest = &rest[frame.consumed..];
        }
        let all: Vec<usize> = (0..rows.num_columns()).collect();
        let mut decoder = CsvDecoder::new(&rows.schema(), &all, None, TimeUnit::Seconds, &options, Some(records[0]))
            .expect("its own header");
        prop_assert_eq!(decode_all(&mut decoder, &records[1..]), rows);
    }
}
