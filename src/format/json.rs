//! JSON to columns: one object a record.
//!
//! Law: the whole record is one valid JSON object, also where nobody looks; wanted fields are found by their exact names
//! in any order, the first of a name counts, a missing one is NULL. A number is a number and a text is a text: neither
//! stands for the other. A record that breaks off or carries anything behind its object is bad as a whole, its event time
//! included. Nesting is bounded, because sonic-rs descends by recursion and a shard's stack is not.

use std::borrow::Cow;

use datafusion_common::arrow::array::RecordBatch;
use datafusion_common::arrow::datatypes::SchemaRef;
use rustc_hash::FxHashMap;
use sonic_rs::{JsonType, JsonValueTrait, LazyValue, to_object_iter};

use super::columns::ColumnBuilders;
use super::token::{Token, shortened};
use super::{Decoded, Decoder};
use crate::config::limits::JSON_GUESSES_MAX;
use crate::config::limits::JSON_NESTING_MAX;
use crate::config::options::TimeUnit;
use crate::error::Result;

/// Decodes JSON records.
pub struct JsonDecoder {
    builders: ColumnBuilders,
    slots: FxHashMap<String, usize>,
    /// The fields of the last record and where they went: nearly always those of the next.
    guesses: Vec<(String, Option<usize>)>,
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
        let wanted = builders
            .wanted()
            .map(|declared| columns.field(declared).name().clone());
        let slots = wanted
            .enumerate()
            .map(|(slot, name)| (name, slot))
            .collect();
        Ok(JsonDecoder {
            builders,
            slots,
            guesses: Vec::new(),
        })
    }

    /// Where the field `name`, the `index`th of its record, goes.
    #[inline]
    fn slot(&mut self, index: usize, name: &str) -> Option<usize> {
        match self.guesses.get_mut(index) {
            Some((guess, slot)) if guess == name => *slot,
            Some((guess, slot)) => {
                guess.clear();
                guess.push_str(name);
                *slot = self.slots.get(name).copied();
                *slot
            }
            None => {
                let slot = self.slots.get(name).copied();
                if index < JSON_GUESSES_MAX {
                    self.guesses.push((name.to_owned(), slot));
                }
                slot
            }
        }
    }

    /// Puts every wanted field of the record; fails with the reason when it is not one JSON object.
    fn put_fields(&mut self, record: &[u8]) -> Result<(), String> {
        if record.trim_ascii().is_empty() {
            return Err("it is empty".to_owned());
        }
        if nests_too_deep(record) {
            return Err(format!("it nests deeper than {JSON_NESTING_MAX} levels"));
        }
        let mut behind_last = None;
        for (index, entry) in to_object_iter(record).enumerate() {
            let (name, value) = entry.map_err(|error| not_an_object(&error))?;
            if let Some(slot) = self.slot(index, &name) {
                put(&mut self.builders, slot, &value)?;
            }
            let raw = value.as_raw_str().as_bytes();
            let start = raw.as_ptr().addr() - record.as_ptr().addr();
            behind_last = Some(start + raw.len());
        }
        // The iterator stops behind the object: what follows is ours to look at.
        let rest = match behind_last {
            Some(behind_last) => record[behind_last..].trim_ascii_start(),
            None => record.trim_ascii_start()[1..].trim_ascii_start(),
        };
        match rest.split_first() {
            Some((b'}', rest)) if rest.trim_ascii().is_empty() => Ok(()),
            Some((b'}', rest)) => {
                let rest = String::from_utf8_lossy(rest.trim_ascii());
                Err(format!("its object is followed by '{}'", shortened(&rest)))
            }
            _ => unreachable!("an object that was read to its end is closed"),
        }
    }
}

impl Decoder for JsonDecoder {
    fn decode(&mut self, record: &[u8]) -> Decoded {
        match self.put_fields(record) {
            Ok(()) => self.builders.close(),
            Err(reason) => self.builders.discard(reason),
        }
    }

    fn len(&self) -> usize {
        self.builders.len()
    }

    fn finish(&mut self) -> RecordBatch {
        self.builders.finish()
    }
}

#[inline]
fn put(builders: &mut ColumnBuilders, slot: usize, value: &LazyValue<'_>) -> Result<(), String> {
    let raw = value.as_raw_str();
    let token = match value.get_type() {
        JsonType::Null => Token::Null,
        JsonType::Boolean => Token::Boolean(raw == "true"),
        JsonType::Number => Token::Number(raw),
        JsonType::String => match value.as_str() {
            Some(text) => Token::Text(text),
            None => {
                return Err(format!(
                    "it is not JSON: {} has a broken escape",
                    shortened(raw)
                ));
            }
        },
        JsonType::Object | JsonType::Array => Token::Nested(raw),
    };
    builders.put(slot, token);
    Ok(())
}

#[cold]
fn not_an_object(error: &sonic_rs::Error) -> String {
    let text = error.to_string();
    let first_line = text.lines().next().map_or(Cow::Borrowed(""), Cow::from);
    format!("it is not a JSON object: {first_line}")
}

/// Whether brackets nest deeper than allowed. Counting all openers, whatever they stand in, settles nearly every record
/// without looking at strings; it is counted in bytes, 255 at a time, because so the compiler makes vectors of it.
fn nests_too_deep(record: &[u8]) -> bool {
    const CASE: u8 = b'{' ^ b'[';
    let opener = |&byte: &u8| u8::from(byte | CASE == b'{');
    let pieces = record.chunks(usize::from(u8::MAX));
    let openers: usize = pieces
        .map(|piece| usize::from(piece.iter().map(opener).sum::<u8>()))
        .sum();
    openers > JSON_NESTING_MAX && depth(record) > JSON_NESTING_MAX
}

/// The deepest nesting of brackets outside of strings.
#[cold]
fn depth(record: &[u8]) -> usize {
    let (mut open, mut deepest) = (0usize, 0);
    let mut bytes = record.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' | b'{' => {
                open += 1;
                deepest = deepest.max(open);
            }
            b']' | b'}' => open = open.saturating_sub(1),
            b'"' => {
                while let Some(byte) = bytes.next() {
                    match byte {
                        b'"' => break,
                        b'\\' => drop(bytes.next()),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    deepest
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
        let mut decoder = decoder();
        for record in [
            &b""[..],
            b"  ",
            b"null",
            b"[1]",
            b"7",
            b"{",
            b"}",
            br#"{"ts":1"#,
            br#"{"ts":1,}"#,
            br#"{"ts":1}}"#,
            br#"{"ts":1} {"ts":2}"#,
            b"{\"ts\":1}\0",
            b"{}x",
            br#"{"ts" 1}"#,
            br#"{ts:1}"#,
            br#"{"ts":01}"#,
            br#"{"ts":1,"x":.5}"#,
            br#"{"ts":1,"x":tru}"#,
            br#"{"ts":1,"x":[1,]}"#,
            br#"{"ts":1,"x":"\q"}"#,
            b"{\"ts\":1,\"x\":\"\n\"}",
            b"{\"ts\":1,\"x\":\"\xff\"}",
            br#"{"ts":1,"symbol":"\ud800"}"#,
        ] {
            let shown = String::from_utf8_lossy(record);
            let bad = decode(&mut decoder, record).expect_err(&shown);
            assert_eq!(bad.event_time, None, "{shown}");
            assert!(!bad.reason.contains('\n'), "{}", bad.reason);
        }
        assert_eq!(rows(&mut decoder), []);
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
            let ours = decoder.decode(record.as_bytes());
            // A number too large for its double is still a number to us.
            if serde.is_err_and(|error| !error.to_string().starts_with("number out of range")) {
                prop_assert!(matches!(ours, Decoded::Bad(_)), "{}", record);
            }
        }
    }
}
