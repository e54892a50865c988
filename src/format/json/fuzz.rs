//! The scanner against its contract, serde_json, sonic-rs and its own twins, on records that a seed makes.
//!
//! ```text
//!   seed --> record: real ones mutated, generated ones, random bytes, each cut off somewhere
//!              |--> strict, wanted  x  every kernel      the same outcome, the same values, the same words
//!              |--> model.rs                             the outcome and the values
//!              '--> serde_json, sonic-rs                 what is valid, and the texts and integers in it
//! ```
//!
//! A short run of fixed seeds is a test. `scripts/fuzz-json --minutes M --seed N` is a long one: it sets the two variables
//! below and runs this very test.

use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion_common::arrow::array::{Array, AsArray};
use datafusion_common::arrow::datatypes::{
    DataType, Field, Float64Type, Int32Type, Int64Type, Schema, TimeUnit as ArrowUnit,
};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};
use serde_json::Value;

use super::*;
use crate::format::BadRecord;
use crate::format::json::model::fields;
#[cfg(target_arch = "x86_64")]
use crate::format::search::Width;
use crate::format::token::{Token, timestamp};
use crate::time::EventTime;

const MINUTES: &str = "VELO_FUZZ_JSON_MINUTES";
const SEED: &str = "VELO_FUZZ_JSON_SEED";

/// Records that one seed makes.
const RECORDS_A_SEED: u64 = 10_000;

/// The wanted columns, in this order; all but `ts` are projected.
const WANTED: [&str; 7] = [
    "order_id", "symbol", "price", "flag", "small", "é\"k\\", "ts",
];

#[test]
fn every_record_is_taken_as_the_contract_says() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().expect(name))
    };
    let first = number(SEED).unwrap_or(1);
    let Some(minutes) = number(MINUTES) else {
        let mut fuzzer = Fuzzer::new();
        (first..first + 6).for_each(|seed| fuzzer.run(seed));
        assert!(
            fuzzer.taken > 1_000 && fuzzer.refused > 1_000,
            "one-sided records"
        );
        return;
    };
    let (start, end) = (Instant::now(), Duration::from_secs(60 * minutes));
    let (mut fuzzer, mut seed, mut told) = (Fuzzer::new(), first, 0);
    while start.elapsed() < end {
        fuzzer.run(seed);
        seed += 1;
        let minute = start.elapsed().as_secs() / 60;
        if minute > told || start.elapsed() >= end {
            told = minute;
            println!(
                "{minute} min: {} records of seeds {first} to {}, {} taken, {} refused, 0 differences",
                fuzzer.taken + fuzzer.refused,
                seed - 1,
                fuzzer.taken,
                fuzzer.refused
            );
        }
    }
}

/// Decoders that stay the same from record to record, so that guesses go wrong as they do in life.
struct Fuzzer {
    strict: Vec<JsonDecoder>,
    wanted: Vec<JsonDecoder>,
    /// Records that 'strict' took, and those that it did not.
    taken: u64,
    refused: u64,
}

impl Fuzzer {
    fn new() -> Fuzzer {
        let timestamp_type = DataType::Timestamp(ArrowUnit::Microsecond, None);
        let types = [
            DataType::Int64,
            DataType::Utf8View,
            DataType::Float64,
            DataType::Boolean,
            DataType::Int32,
            DataType::Utf8View,
            timestamp_type,
        ];
        let columns: Vec<Field> = WANTED
            .iter()
            .zip(types)
            .map(|(name, data_type)| Field::new(*name, data_type, true))
            .collect();
        let columns = Arc::new(Schema::new(columns));
        let decoders = |validate: JsonValidate| {
            kernels()
                .into_iter()
                .map(|kernel| {
                    let projection: Vec<usize> = (0..WANTED.len() - 1).collect();
                    JsonDecoder::new(
                        &columns,
                        &projection,
                        Some(WANTED.len() - 1),
                        TimeUnit::Milliseconds,
                    )
                    .expect("readable types")
                    .validating(validate)
                    .on(kernel)
                })
                .collect()
        };
        Fuzzer {
            strict: decoders(JsonValidate::Strict),
            wanted: decoders(JsonValidate::Wanted),
            taken: 0,
            refused: 0,
        }
    }

    fn run(&mut self, seed: u64) {
        let mut dice = Dice(Xoshiro256PlusPlus::seed_from_u64(seed));
        let mut made = 0;
        while made < RECORDS_A_SEED {
            let record = dice.record();
            self.hold(seed, &record);
            made += 1;
            // Now and then cut off at every byte.
            if dice.below(200) == 0 {
                for length in 0..record.len().min(400) {
                    self.hold(seed, &record[..length]);
                    made += 1;
                }
            }
        }
    }

    fn hold(&mut self, seed: u64, record: &[u8]) {
        let shown = || format!("seed {seed}: {:?}", String::from_utf8_lossy(record));
        let strict = outcome(&mut self.strict, record, &shown);
        let wanted = outcome(&mut self.wanted, record, &shown);
        let is_taken = |outcome: &Outcome| !matches!(outcome, Err(BadRecord { event_time: None, reason }) if !is_of_a_column(reason));

        // The contract.
        for (ours, validate) in [(&strict, true), (&wanted, false)] {
            let model = fields(record, &WANTED, validate).map(|places| expected(record, &places));
            let same = match (&model, ours) {
                (None, Err(bad)) => !is_of_a_column(&bad.reason) && bad.event_time.is_none(),
                (Some(Err(time)), Err(bad)) => {
                    is_of_a_column(&bad.reason) && bad.event_time == *time
                }
                (Some(Ok(row)), Ok(ours)) => same_row(row, ours),
                _ => false,
            };
            assert!(
                same,
                "{}\nstrict {validate}: the model says {model:?}, the scanner {ours:?}",
                shown()
            );
        }
        if is_taken(&strict) {
            assert_eq!(format!("{strict:?}"), format!("{wanted:?}"), "{}", shown());
            self.taken += 1;
        } else {
            self.refused += 1;
        }

        // Other parsers.
        let serde = serde_json::from_slice::<Value>(record);
        match &serde {
            Ok(value) => assert_eq!(value.is_object(), is_taken(&strict), "{}", shown()),
            // Larger than a double, or deeper than serde_json goes: neither makes it invalid.
            Err(error) if error.to_string().starts_with("number out of range") => {}
            Err(error) if error.to_string().starts_with("recursion limit") => return,
            Err(error) => assert!(!is_taken(&strict), "{}\nserde_json: {error}", shown()),
        }
        let sonic = sonic_rs::from_slice::<sonic_rs::Value>(record);
        if serde.is_ok() {
            assert!(sonic.is_ok(), "{}\nsonic-rs: {:?}", shown(), sonic.err());
        }
        if let (Ok(Value::Object(object)), Ok(ours)) = (&serde, &strict) {
            same_values(object, ours, &shown);
        }
    }
}

/// Whether a reason blames one value, not the record.
fn is_of_a_column(reason: &str) -> bool {
    reason.starts_with("column ")
}

/// What is left of the values where no name came twice: serde_json keeps the last, we the first.
fn same_values(object: &serde_json::Map<String, Value>, row: &Row, shown: &dyn Fn() -> String) {
    if object.len() != row.members {
        return;
    }
    let text = |name: &str| object.get(name).and_then(Value::as_str);
    assert_eq!(row.symbol.as_deref(), text("symbol"), "{}", shown());
    assert_eq!(row.key.as_deref(), text("é\"k\\"), "{}", shown());
    if let Some(Value::Number(number)) = object.get("order_id")
        && number.as_f64() != Some(0.0)
    {
        assert_eq!(row.order_id, number.as_i64(), "{}", shown());
    }
    if let Some(Value::Number(number)) = object.get("price") {
        // serde_json rounds its doubles roughly.
        let (ours, theirs) = (
            row.price.expect("a number"),
            number.as_f64().expect("a number"),
        );
        assert!(
            (ours - theirs).abs() <= ours.abs() * 1e-15,
            "{}: {ours} {theirs}",
            shown()
        );
    }
}

/// One row as it came out.
#[derive(Debug, PartialEq)]
struct Row {
    order_id: Option<i64>,
    symbol: Option<String>,
    price: Option<f64>,
    flag: Option<bool>,
    small: Option<i32>,
    key: Option<String>,
    ts: Option<EventTime>,
    /// Members of the record, for who compares with a map.
    members: usize,
}

fn same_row(model: &Row, ours: &Row) -> bool {
    let bits = |row: &Row| row.price.map(f64::to_bits);
    model.order_id == ours.order_id
        && model.symbol == ours.symbol
        && bits(model) == bits(ours)
        && model.flag == ours.flag
        && model.small == ours.small
        && model.key == ours.key
        && model.ts == ours.ts
}

type Outcome = Result<Row, BadRecord>;

/// What every one of `decoders`, which differ in their kernels, makes of the record.
fn outcome(decoders: &mut [JsonDecoder], record: &[u8], shown: &dyn Fn() -> String) -> Outcome {
    let mut first: Option<(Decoded, datafusion_common::arrow::array::RecordBatch)> = None;
    for decoder in decoders {
        let decoded = decoder.decode(record);
        let batch = decoder.finish();
        match &first {
            Some((before, rows)) => {
                assert_eq!(
                    (before, rows),
                    (&decoded, &batch),
                    "kernels differ: {}",
                    shown()
                );
            }
            None => first = Some((decoded, batch)),
        }
    }
    let (decoded, batch) = first.expect("a kernel");
    match decoded {
        Decoded::Bad(bad) => {
            assert_eq!(batch.num_rows(), 0, "{}", shown());
            Err(bad)
        }
        Decoded::Record(ts) => {
            assert_eq!(batch.num_rows(), 1, "{}", shown());
            let text = |column: usize| {
                let texts = batch.column(column).as_string_view();
                texts.is_valid(0).then(|| texts.value(0).to_owned())
            };
            Ok(Row {
                order_id: batch
                    .column(0)
                    .as_primitive::<Int64Type>()
                    .iter()
                    .next()
                    .flatten(),
                symbol: text(1),
                price: batch
                    .column(2)
                    .as_primitive::<Float64Type>()
                    .iter()
                    .next()
                    .flatten(),
                flag: batch.column(3).as_boolean().iter().next().flatten(),
                small: batch
                    .column(4)
                    .as_primitive::<Int32Type>()
                    .iter()
                    .next()
                    .flatten(),
                key: text(5),
                ts,
                members: members(record),
            })
        }
    }
}

/// Members of a record that serde_json reads, each counted however often its name comes; zero for another.
fn members(record: &[u8]) -> usize {
    struct Count(usize);
    impl<'de> serde::Deserialize<'de> for Count {
        fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Count, D::Error> {
            struct Visitor;
            impl<'de> serde::de::Visitor<'de> for Visitor {
                type Value = Count;
                fn expecting(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    to.write_str("an object")
                }
                fn visit_map<A: serde::de::MapAccess<'de>>(
                    self,
                    mut map: A,
                ) -> Result<Count, A::Error> {
                    let mut count = 0;
                    while map.next_entry::<String, serde::de::IgnoredAny>()?.is_some() {
                        count += 1;
                    }
                    Ok(Count(count))
                }
            }
            from.deserialize_map(Visitor)
        }
    }
    serde_json::from_slice::<Count>(record).map_or(0, |count| count.0)
}

/// The row that the model's places hold; the event time alone if a value does not fit its column.
fn expected(
    record: &[u8],
    places: &[Option<std::ops::Range<usize>>],
) -> Result<Row, Option<EventTime>> {
    let raw = |column: usize| {
        let place = places[column].clone()?;
        let text = std::str::from_utf8(&record[place]).expect("a whole value is UTF-8");
        (text != "null").then_some(text)
    };
    fn fit<T>(raw: Option<&str>, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>, ()> {
        raw.map(|raw| read(raw).ok_or(())).transpose()
    }
    let is_number =
        |raw: &str| raw.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    let integer = |raw: &str| is_number(raw).then(|| raw.parse::<i64>().ok()).flatten();
    let text = |raw: &str| serde_json::from_str::<String>(raw).ok();
    let double = |raw: &str| match raw {
        "\"NaN\"" => Some(f64::NAN),
        "\"Infinity\"" => Some(f64::INFINITY),
        "\"-Infinity\"" => Some(f64::NEG_INFINITY),
        raw if is_number(raw) => raw.parse().ok().filter(|double: &f64| double.is_finite()),
        _ => None,
    };
    let flag = |raw: &str| raw.parse::<bool>().ok();
    let time = |raw: &str| match (integer(raw), text(raw)) {
        (Some(milliseconds), _) => milliseconds.checked_mul(1000),
        (None, Some(text)) => timestamp(Token::Text(&text), TimeUnit::Milliseconds).ok(),
        (None, None) if is_number(raw) => {
            timestamp(Token::Number(raw), TimeUnit::Milliseconds).ok()
        }
        (None, None) => None,
    };
    let ts = raw(6).and_then(time).map(EventTime);
    let row = || {
        Ok(Row {
            order_id: fit(raw(0), integer)?,
            symbol: fit(raw(1), text)?,
            price: fit(raw(2), double)?,
            flag: fit(raw(3), flag)?,
            small: fit(raw(4), |raw| {
                integer(raw).and_then(|value| value.try_into().ok())
            })?,
            key: fit(raw(5), text)?,
            ts: Some(ts.ok_or(())?),
            members: 0,
        })
    };
    row().map_err(|()| ts)
}

/// Every kernel of this machine.
fn kernels() -> Vec<Kernel> {
    let mut kernels = vec![Kernel::detect(false)];
    #[cfg(target_arch = "x86_64")]
    kernels.push(Kernel(Width::Sse2));
    if !kernels.contains(&Kernel::detect(true)) {
        kernels.push(Kernel::detect(true));
    }
    kernels
}

/// What a seed rolls.
struct Dice(Xoshiro256PlusPlus);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0.next_u64() % bound
    }

    fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len() as u64) as usize]
    }

    fn record(&mut self) -> Vec<u8> {
        let mut record = match self.below(8) {
            0..=2 => self.order(),
            3..=5 => {
                let mut record = Vec::new();
                self.object(&mut record, 0, true);
                record
            }
            6 => self.deep(),
            _ => {
                let length = self.below(60);
                (0..length).map(|_| self.any_byte()).collect()
            }
        };
        for _ in 0..[0, 0, 0, 1, 1, 2, 5][self.below(7) as usize] {
            self.mutate(&mut record);
        }
        record
    }

    /// A record as the feeds write them.
    fn order(&mut self) -> Vec<u8> {
        let price = (6400 + self.below(12_800)) as f64 / 64.0;
        let (id, trader, symbol, quantity) = (
            self.below(10_000_000),
            self.below(50),
            self.below(100),
            1 + self.below(100),
        );
        let side = self.one(&["BUY", "SELL"]);
        let ts = 1_700_000_000_123 + self.below(1_000_000);
        format!(
            r#"{{"order_id":{id},"trader_id":"T{trader:04}","symbol":"SYM{symbol:04}","price":{price},"quantity":{quantity},"side":"{side}","venue":"XNYS","ts":{ts}}}"#
        )
        .into_bytes()
    }

    fn space(&mut self, out: &mut Vec<u8>) {
        if self.below(4) == 0 {
            let space = self.one(&[" ", "\t", "\n", "\r\n", "                    "]);
            out.extend_from_slice(space.as_bytes());
        }
    }

    fn object(&mut self, out: &mut Vec<u8>, level: u64, wanted: bool) {
        self.space(out);
        out.push(b'{');
        let members = self.below(9);
        for member in 0..members {
            if member > 0 {
                out.push(b',');
            }
            self.space(out);
            if wanted && self.below(3) > 0 {
                let name = self.one(&WANTED);
                self.quoted(out, name);
            } else {
                self.string(out);
            }
            self.space(out);
            out.push(b':');
            self.space(out);
            self.value(out, level);
            self.space(out);
        }
        self.space(out);
        out.push(b'}');
        self.space(out);
    }

    fn value(&mut self, out: &mut Vec<u8>, level: u64) {
        match self.below(if level < 6 { 12 } else { 10 }) {
            0..=2 => self.string(out),
            3..=6 => self.number(out),
            7 => out.extend_from_slice(self.one(&["true", "false"]).as_bytes()),
            8 => out.extend_from_slice(b"null"),
            9 => {
                let time = self.one(&[
                    "\"2024-01-01T00:00:00Z\"",
                    "\"NaN\"",
                    "\"-Infinity\"",
                    "{}",
                    "[]",
                    "1700000000123",
                ]);
                out.extend_from_slice(time.as_bytes());
            }
            10 => self.object(out, level + 1, false),
            _ => {
                out.push(b'[');
                for element in 0..self.below(5) {
                    if element > 0 {
                        out.push(b',');
                    }
                    self.space(out);
                    self.value(out, level + 1);
                    self.space(out);
                }
                out.push(b']');
            }
        }
    }

    /// A name or text as it is, or with some of its characters escaped.
    fn quoted(&mut self, out: &mut Vec<u8>, text: &str) {
        out.push(b'"');
        for character in text.chars() {
            match character {
                '"' | '\\' => out.extend_from_slice(&[b'\\', character as u8]),
                _ if self.below(40) == 0 => {
                    let mut units = [0; 2];
                    for unit in character.encode_utf16(&mut units) {
                        let escape = match self.below(2) {
                            0 => format!("\\u{unit:04x}"),
                            _ => format!("\\u{unit:04X}"),
                        };
                        out.extend_from_slice(escape.as_bytes());
                    }
                }
                _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        out.push(b'"');
    }

    fn string(&mut self, out: &mut Vec<u8>) {
        let mut text = String::new();
        for _ in 0..[0, 1, 3, 7, 11, 12, 13, 16, 31, 33, 70][self.below(11) as usize] {
            text.push_str(self.one(&[
                "a", "b", "Z", "0", " ", "é", "😀", "{", "}", "[", ",", ":", "\u{7f}",
            ]));
        }
        match self.below(12) {
            0 => {
                out.push(b'"');
                for _ in 0..1 + self.below(4) {
                    let escape = self.one(&[
                        "\\n",
                        "\\\"",
                        "\\\\",
                        "\\/",
                        "\\b",
                        "\\f",
                        "\\r",
                        "\\t",
                        "\\u0041",
                        "\\u00e9",
                        "\\ud83d\\ude00",
                        "\\ud800",
                        "\\udc00",
                        "\\ud83dx",
                        "\\ud83d\\u0041",
                        "\\u12",
                        "\\x",
                        "\\uD83D\\uDE00",
                        "\\u0000",
                    ]);
                    out.extend_from_slice(escape.as_bytes());
                    out.extend_from_slice(text.as_bytes());
                }
                out.push(b'"');
            }
            1 => {
                out.push(b'"');
                out.extend_from_slice(text.as_bytes());
                let bytes: &[u8] = self.one(&[
                    &b"\xff"[..],
                    b"\n",
                    b"\xc3",
                    b"\xed\xa0\x80",
                    b"\x00",
                    b"\x1f",
                    b"\xf4\x90\x80\x80",
                ]);
                out.extend_from_slice(bytes);
                out.push(b'"');
            }
            _ => self.quoted(out, &text),
        }
    }

    fn number(&mut self, out: &mut Vec<u8>) {
        let digits = |dice: &mut Dice, most: u64| {
            let count = 1 + dice.below(most);
            (0..count)
                .map(|_| b'0' + dice.below(10) as u8)
                .collect::<Vec<u8>>()
        };
        match self.below(10) {
            0..=3 => out.extend_from_slice(self.below(100_000).to_string().as_bytes()),
            4 => out.extend_from_slice((self.0.next_u64() as i64).to_string().as_bytes()),
            5 => out.extend_from_slice(
                f64::from_bits(self.0.next_u64() >> 2)
                    .to_string()
                    .as_bytes(),
            ),
            6 => {
                let number = self.one(&[
                    "-0",
                    "0",
                    "-0.0",
                    "01",
                    "-",
                    "1.",
                    ".5",
                    "+1",
                    "1e5",
                    "1E+5",
                    "1e-5",
                    "1e",
                    "1e999",
                    "-1e999",
                    "0x1",
                    "1_0",
                    "9007199254740993",
                    "9223372036854775807",
                    "9223372036854775808",
                    "-9223372036854775808",
                    "2147483647",
                    "-2147483649",
                    "1.0",
                    "NaN",
                    "Infinity",
                    "1/2",
                    "0e0",
                    "4.9e-324",
                    "2.2250738585072011e-308",
                ]);
                out.extend_from_slice(number.as_bytes());
            }
            7 => {
                out.extend_from_slice(&digits(self, 3));
                out.push(b'.');
                out.extend_from_slice(&digits(self, 8));
            }
            8 => {
                if self.below(2) == 0 {
                    out.push(b'-');
                }
                out.extend_from_slice(&digits(self, 25));
                if self.below(2) == 0 {
                    out.push(b'.');
                    out.extend_from_slice(&digits(self, 25));
                }
                if self.below(2) == 0 {
                    out.push(b'e');
                    out.extend_from_slice(self.one(&["", "-", "+"]).as_bytes());
                    out.extend_from_slice(&digits(self, 3));
                }
            }
            _ => out.extend_from_slice(&digits(self, 18)),
        }
    }

    /// Brackets around the bound.
    fn deep(&mut self) -> Vec<u8> {
        let levels = 120 + self.below(12) as usize;
        let name = self.one(&["symbol", "x"]);
        let mut record = format!("{{\"ts\":1,\"{name}\":").into_bytes();
        let mut closers = Vec::new();
        for _ in 0..levels {
            if self.below(2) == 0 {
                record.push(b'[');
                closers.push(b']');
            } else {
                record.extend_from_slice(b"{\"a\":");
                closers.push(b'}');
            }
        }
        record.push(b'1');
        closers.reverse();
        record.extend_from_slice(&closers);
        record.push(b'}');
        record
    }

    fn any_byte(&mut self) -> u8 {
        match self.below(4) {
            0 => self.0.next_u64() as u8,
            _ => {
                let bytes = b"{}[]\",:\\ \n\t0123456789-+.eEtruefalsnu\"\"\"{}:,";
                bytes[self.below(bytes.len() as u64) as usize]
            }
        }
    }

    fn mutate(&mut self, record: &mut Vec<u8>) {
        if record.is_empty() {
            return;
        }
        let at = self.below(record.len() as u64) as usize;
        match self.below(7) {
            0 => record[at] = self.any_byte(),
            1 => record.insert(at, self.any_byte()),
            2 => drop(record.remove(at)),
            3 => record.truncate(at),
            4 => record[at] ^= 1 << self.below(8),
            5 => {
                let end = (at + self.below(20) as usize).min(record.len());
                let piece = record[at..end].to_vec();
                let to = self.below(record.len() as u64) as usize;
                record.splice(to..to, piece);
            }
            _ => {
                let end = (at + self.below(10) as usize).min(record.len());
                drop(record.drain(at..end));
            }
        }
    }
}
