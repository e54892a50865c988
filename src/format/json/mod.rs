//! JSON to columns: one object a record, in one pass that decodes what is wanted and steps over the rest.
//!
//! # Contract
//! JSON is that of RFC 8259; whitespace is space, tab, line feed and carriage return. `json.validate` says how much of a
//! record is held against it: 'wanted' (the default) or 'strict'.
//! 1. Both: a record is whitespace, one object, whitespace. The object is members with single commas between them, a member
//!    is a name, a colon and a value, with whitespace anywhere between.
//! 2. Both: the names of the record's own members are whole JSON strings: closed, without control characters, with escapes
//!    of RFC 8259 only, surrogates in pairs, UTF-8. They are compared after their escapes are decoded, letter for letter.
//! 3. Both: the first member of a wanted name is wanted. Its value is a whole JSON value, however deep, with strings as in 2.
//!    Later members of that name are skipped; a name that does not come is NULL.
//! 4. 'wanted': every other value is skipped by its structure, and this is all that is asked of it:
//!    a string runs from its quote to the next one that no backslash takes along (a backslash takes one byte along);
//!    an object or an array runs from its bracket to the one that closes it, where brackets close in the order in which they
//!    were opened, each by its own kind, strings are as above, and nothing else is looked at;
//!    anything else is one or more of the bytes `A`-`Z` `a`-`z` `0`-`9` `+` `-` `.` `/`.
//! 5. 'strict': every other value is a whole JSON value as in 3, and the whole record is UTF-8.
//! 6. Both: at most 128 levels of brackets, the record's own counted (`JSON_NESTING_MAX`), wherever 3, 4 or 5 counts them.
//!
//! So 'strict' takes what any parser of RFC 8259 takes, but for three things of our own: of two members of a name the first
//! counts, a lone surrogate is no text, and nesting is bounded. 'wanted' takes all that 'strict' takes, with the same values.
//!
//! Law: a number is a number and a text is a text: neither stands for the other. A record that breaks the contract is bad as
//! a whole, its event time included; one whose value does not fit its column keeps its event time.
//!
//! The lazy iterator of sonic-rs stood here before: 550 ns for a record of 142 bytes (docs/decisions/0015).

mod flaw;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod model;
mod names;
mod scan;
mod text;
mod value;

use datafusion_common::arrow::array::RecordBatch;
use datafusion_common::arrow::datatypes::SchemaRef;

use super::columns::ColumnBuilders;
use super::search::Kernel;
use super::{Decoded, Decoder};
use crate::config::options::{JsonValidate, TimeUnit};
use crate::error::Result;
use crate::time::EventTime;
use names::Names;
use scan::Scanner;

/// Decodes JSON records.
pub struct JsonDecoder {
    builders: ColumnBuilders,
    scanner: Scanner,
    kernel: Kernel,
}

impl JsonDecoder {
    /// Decodes columns `projection` of the declared `columns`, and the event time's. `unit` is what a bare number in a
    /// TIMESTAMP counts since the epoch.
    ///
    /// Fails with [`Error::Config`](crate::error::Error::Config) for a type that JSON cannot hold.
    pub fn new(
        columns: &SchemaRef,
        projection: &[usize],
        event_time: Option<usize>,
        unit: TimeUnit,
    ) -> Result<JsonDecoder> {
        let builders = ColumnBuilders::new(columns, projection, event_time, unit)?;
        Ok(JsonDecoder::into(builders, columns))
    }

    /// Decodes the event time alone, from column `event_time`. Under 'wanted' it depends on the wanted columns which records
    /// break the contract: those of `projection` are wanted, but dropped.
    ///
    /// Fails as `new` does.
    pub fn time_only(
        columns: &SchemaRef,
        projection: &[usize],
        event_time: usize,
        unit: TimeUnit,
    ) -> Result<JsonDecoder> {
        let builders = ColumnBuilders::time_only(columns, projection, event_time, unit)?;
        Ok(JsonDecoder::into(builders, columns))
    }

    /// Decodes into `builders`, columns of the declared `columns`.
    fn into(builders: ColumnBuilders, columns: &SchemaRef) -> JsonDecoder {
        let wanted = builders
            .wanted()
            .map(|declared| columns.field(declared).name().clone());
        let scanner = Scanner {
            names: Names::new(wanted),
            validate: JsonValidate::Wanted,
            decoded: Vec::new(),
        };
        JsonDecoder {
            builders,
            scanner,
            kernel: Kernel::detect(true),
        }
    }

    /// The same decoder with this much validation.
    pub fn validating(mut self, validate: JsonValidate) -> JsonDecoder {
        self.scanner.validate = validate;
        self
    }

    /// The same decoder on this kernel.
    pub fn on(mut self, kernel: Kernel) -> JsonDecoder {
        self.kernel = kernel;
        self
    }
}

impl Decoder for JsonDecoder {
    #[inline]
    fn decode(&mut self, record: &[u8]) -> Decoded {
        match self.scanner.scan(self.kernel, record, &mut self.builders) {
            Ok(()) => self.builders.close(),
            Err(flaw) => self.builders.discard(flaw.clause(record)),
        }
    }

    fn limit_event_time(&mut self, latest: EventTime) {
        self.builders.limit_event_time(latest);
    }

    fn len(&self) -> usize {
        self.builders.len()
    }

    fn finish(&mut self) -> RecordBatch {
        self.builders.finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion_common::arrow::array::AsArray;
    use datafusion_common::arrow::datatypes::{
        DataType, Field, Int64Type, Schema, TimeUnit as ArrowUnit,
    };
    use proptest::prelude::*;

    use super::*;
    use crate::config::limits::JSON_NESTING_MAX;
    use crate::format::BadRecord;
    use crate::time::EventTime;

    fn decoder() -> JsonDecoder {
        let timestamp = DataType::Timestamp(ArrowUnit::Microsecond, None);
        let columns = Arc::new(Schema::new(vec![
            Field::new("ts", timestamp, true),
            Field::new("symbol", DataType::Utf8View, true),
            Field::new("quantity", DataType::Int64, true),
        ]));
        JsonDecoder::new(&columns, &[1, 2], Some(0), TimeUnit::Milliseconds)
            .expect("readable types")
    }

    fn decode(decoder: &mut JsonDecoder, record: &[u8]) -> Result<Option<EventTime>, BadRecord> {
        match decoder.decode(record) {
            Decoded::Record(time) => Ok(time),
            Decoded::Bad(bad) => Err(bad),
        }
    }

    type Row = (Option<String>, Option<i64>);

    fn rows(decoder: &mut JsonDecoder) -> Vec<Row> {
        let batch = decoder.finish();
        let symbols = batch.column(0).as_string_view();
        let quantities = batch.column(1).as_primitive::<Int64Type>();
        symbols
            .iter()
            .zip(quantities)
            .map(|(symbol, quantity)| (symbol.map(str::to_owned), quantity))
            .collect()
    }

    #[test]
    fn fields_are_found_by_name_in_any_order_and_the_first_of_a_name_counts() {
        let mut decoder = decoder();
        for record in [
            r#"{"symbol":"AA","quantity":7,"ts":1}"#,
            r#" { "ts" : 1.5 , "Quantity" : 1 , "quantity" : 8 , "x" : {"quantity":9} , "symbol" : "BB" } "#,
            r#"{"quantity":9,"quantity":"bad","ts":2,"ts":3,"symbol":"CC"}"#,
            r#"{"\u0074s":"1970-01-01T00:00:00.004Z","symbol":"a\"\u00e9\ud83d\ude00\n"}"#,
            "{\"ts\":5,\"symbol\":null}\r\n",
        ] {
            decode(&mut decoder, record.as_bytes()).expect(record);
        }
        let row = |symbol: &str, quantity| (Some(symbol.to_owned()), Some(quantity));
        assert_eq!(
            rows(&mut decoder),
            [
                row("AA", 7),
                row("BB", 8),
                row("CC", 9),
                (Some("a\"é😀\n".to_owned()), None),
                (None, None)
            ]
        );
        assert_eq!(
            decode(&mut decoder, br#"{"ts":1.5}"#),
            Ok(Some(EventTime(1500)))
        );
    }

    #[test]
    fn what_is_not_one_object_is_bad_as_a_whole() {
        for validate in [JsonValidate::Wanted, JsonValidate::Strict] {
            let mut decoder = decoder().validating(validate);
            for (record, reason) in [
                (&b""[..], "it is empty"),
                (b" \r\n", "it is empty"),
                (
                    b"null",
                    "it is not a JSON object: an opening brace must stand at byte 0, not 'null'",
                ),
                (
                    b"[1]",
                    "it is not a JSON object: an opening brace must stand at byte 0, not '[1]'",
                ),
                (
                    b"{",
                    "it is not a JSON object: it ends where a name in quotes must stand",
                ),
                (
                    b"}",
                    "it is not a JSON object: an opening brace must stand at byte 0, not '}'",
                ),
                (
                    br#"{"ts":1"#,
                    "it is not a JSON object: it ends where a comma or a closing brace must stand",
                ),
                (
                    br#"{"ts":1,}"#,
                    "it is not a JSON object: a name in quotes must stand at byte 8, not '}'",
                ),
                (br#"{"ts":1}}"#, "its object is followed by '}'"),
                (
                    br#"{"ts":1} {"ts":2}"#,
                    "its object is followed by '{\"ts\":2}'",
                ),
                (b"{\"ts\":1}\0", "its object is followed by '\\u{0}'"),
                (b"{}x", "its object is followed by 'x'"),
                (
                    br#"{"ts" 1}"#,
                    "it is not a JSON object: a colon must stand at byte 6, not '1}'",
                ),
                (
                    br#"{ts:1}"#,
                    "it is not a JSON object: a name in quotes must stand at byte 1, not 'ts:1}'",
                ),
                (
                    br#"{"ts":01}"#,
                    "it is not a JSON object: no value starts at byte 6: '01}'",
                ),
                (
                    br#"{"ts":"#,
                    "it is not a JSON object: it ends where a value must stand",
                ),
                (
                    br#"{"ts":1,"x":}"#,
                    "it is not a JSON object: no value starts at byte 12: '}'",
                ),
                (
                    br#"{"ts":1,"x":"a}"#,
                    "it is not a JSON object: the string at byte 12 is never closed",
                ),
                (br#"{"ts":1,"x":"a\"#, ""),
                (br#"{"ts":1,"x":[1}}"#, ""),
                (br#"{"ts":1,"x":[1"#, ""),
                (
                    br#"{"ts":1,"\q":1}"#,
                    "it is not a JSON object: the escape at byte 9 is broken: '\\q\":1}'",
                ),
                (br#"{"ts":1,"\udc00":1}"#, ""),
                (b"{\"ts\":1,\"\xff\":1}", ""),
                (
                    b"{\"ts\":1,\"a\tb\":1}",
                    "it is not a JSON object: a control character stands in a string, at byte 10",
                ),
                (
                    br#"{"ts":1,"symbol":"\ud800"}"#,
                    "it is not a JSON object: the escape at byte 18 is broken: '\\ud800\"}'",
                ),
                (b"{\"ts\":1,\"symbol\":\"\xff\"}", ""),
                (b"{\"ts\":1,\"symbol\":\"\n\"}", ""),
                (br#"{"ts":1,"symbol":[1,]}"#, ""),
                (br#"{"ts":1,"symbol":nul}"#, ""),
                (br#"{"ts":1,"quantity":-}"#, ""),
                (br#"{"ts":1,"quantity":1.}"#, ""),
                (br#"{"ts":1,"quantity":1x}"#, ""),
            ] {
                let shown = String::from_utf8_lossy(record);
                let bad = decode(&mut decoder, record).expect_err(&shown);
                assert_eq!(bad.event_time, None, "{shown}");
                assert!(!bad.reason.contains('\n'), "{}", bad.reason);
                if !reason.is_empty() {
                    assert_eq!(bad.reason, reason, "{shown}");
                }
            }
            assert_eq!(rows(&mut decoder), []);
        }
    }

    #[test]
    fn what_nobody_looks_at_is_held_to_its_structure_unless_asked_for_more() {
        let mut wanted = decoder();
        let mut strict = decoder().validating(JsonValidate::Strict);
        for record in [
            &br#"{"ts":1,"x":.5}"#[..],
            br#"{"ts":1,"x":tru}"#,
            br#"{"ts":1,"x":[1,]}"#,
            br#"{"ts":1,"x":{"a" 1 ,, }}"#,
            br#"{"ts":1,"x":"\q"}"#,
            b"{\"ts\":1,\"x\":\"\n\"}",
            b"{\"ts\":1,\"x\":\"\xff\"}",
            br#"{"ts":1,"x":"\ud800"}"#,
            br#"{"ts":1,"ts":01}"#,
        ] {
            let shown = String::from_utf8_lossy(record);
            assert_eq!(
                decode(&mut wanted, record),
                Ok(Some(EventTime(1000))),
                "{shown}"
            );
            let bad = decode(&mut strict, record).expect_err(&shown);
            assert_eq!(bad.event_time, None, "{shown}");
        }
    }

    #[test]
    fn a_bad_field_leaves_the_event_time_wherever_it_stands() {
        let mut decoder = decoder();
        for record in [
            r#"{"quantity":"7","ts":1}"#,
            r#"{"ts":1,"quantity":"7","symbol":7}"#,
        ] {
            let reason = "column quantity: \"7\" is not a BIGINT".to_owned();
            let bad = BadRecord {
                reason,
                event_time: Some(EventTime(1000)),
            };
            assert_eq!(decode(&mut decoder, record.as_bytes()), Err(bad));
        }
        let bad = decode(&mut decoder, br#"{"quantity":7}"#).expect_err("no event time");
        assert_eq!(bad.reason, "column ts is NULL, but it is the event time");
        assert!(decoder.is_empty());
    }

    #[test]
    fn deep_nesting_is_bad_data_and_no_crash() {
        let mut decoder = decoder();
        let nested = |levels: usize| {
            format!(
                r#"{{"ts":1,"x":{}{}}}"#,
                "[".repeat(levels),
                "]".repeat(levels)
            )
            .into_bytes()
        };
        assert_eq!(
            decode(&mut decoder, &nested(JSON_NESTING_MAX - 1)),
            Ok(Some(EventTime(1000)))
        );
        let bad = decode(&mut decoder, &nested(JSON_NESTING_MAX)).expect_err("too deep");
        assert_eq!(bad.reason, "it nests deeper than 128 levels");
        decode(&mut decoder, &nested(1_000_000)).expect_err("too deep");
        let text = format!(r#"{{"ts":1,"symbol":"\"{}"}}"#, "[".repeat(1000));
        assert_eq!(
            decode(&mut decoder, text.as_bytes()),
            Ok(Some(EventTime(1000)))
        );
    }

    proptest! {
        #[test]
        fn bad_records_among_good_ones_change_nothing(kinds in prop::collection::vec(0..4, 0..50)) {
            let mut decoder = decoder();
            let mut expected: Vec<Row> = Vec::new();
            for (index, kind) in kinds.into_iter().enumerate() {
                let quantity = index as i64;
                let symbol = format!("a symbol too long for a view {index}");
                let good = format!(r#"{{"ts":{index},"symbol":"{symbol}","quantity":{quantity}}}"#);
                let record = match kind {
                    0 => good.replace('}', ""),
                    1 => good.replace("\"quantity\":", "\"quantity\":0."),
                    2 => good.replace("\"ts\":", "\"ts\":null,\"x\":"),
                    _ => good,
                };
                let decoded = decode(&mut decoder, record.as_bytes());
                prop_assert_eq!(decoded.is_ok(), kind == 3);
                if kind == 3 {
                    expected.push((Some(symbol), Some(quantity)));
                }
                prop_assert_eq!(decoder.len(), expected.len());
            }
            prop_assert_eq!(rows(&mut decoder), expected);
        }

        #[test]
        fn no_bytes_panic(record in "\\{?[-{}\\[\\]\",:a-z0-9\\\\. ]{0,40}\\}?") {
            let mut decoder = decoder();
            let serde: Result<serde_json::Map<String, serde_json::Value>, _> = serde_json::from_str(&record);
            decoder.decode(record.as_bytes());
            let ours = decoder.validating(JsonValidate::Strict).decode(record.as_bytes());
            // A number too large for its double is still a number to us.
            if serde.is_err_and(|error| !error.to_string().starts_with("number out of range")) {
                prop_assert!(matches!(ours, Decoded::Bad(_)), "{}", record);
            }
        }
    }
}
