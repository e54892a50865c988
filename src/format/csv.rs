//! CSV to columns.
//!
//! A field may stand in quotes; two quotes within them mean one. Fields bind to columns by the header's names, or by
//! position. The text for NULL means NULL only where it is not quoted, so that an empty text (`""`) is not NULL.
//!
//! Law: a record has exactly as many fields as the header (or the declaration) says; with more or fewer nothing in it can
//! be trusted, its event time included. An empty record is one empty field. What stands between delimiters is looked at
//! only if it is wanted.

use datafusion_common::arrow::array::RecordBatch;
use datafusion_common::arrow::datatypes::SchemaRef;

use super::columns::{ColumnBuilders, ShortText, Takes};
use super::plain::Plain;
#[cfg(target_arch = "x86_64")]
use super::search::{Avx2, Sse2};
use super::search::{Kernel, Portable, Vector, Width, each_equal, quote};
use super::token::{Token, shortened};
use super::{Decoded, Decoder};
use crate::config::options::{CsvOptions, TimeUnit};
use crate::error::{Error, Result};
use crate::time::EventTime;

/// Decodes CSV records.
pub struct CsvDecoder {
    builders: ColumnBuilders,
    /// Where each field of a record goes; as long as a record has fields.
    slots: Vec<Option<Slot>>,
    delimiter: u8,
    null: Vec<u8>,
    /// A quoted field without its doubled quotes.
    scratch: Vec<u8>,
    kernel: Kernel,
}

/// Where a field goes, and what is tried first there.
#[derive(Clone, Copy)]
struct Slot {
    slot: usize,
    takes: Takes,
}

impl CsvDecoder {
    /// Decodes columns `projection` of the declared `columns`, and the event time's. `header` is the file's first record,
    /// if it names the fields; without it they are the declared columns in their order.
    ///
    /// Fails with [`Error::Config`] when the header lacks a declared column or names it twice, or for a type that CSV
    /// cannot hold.
    pub fn new(
        columns: &SchemaRef,
        projection: &[usize],
        event_time: Option<usize>,
        unit: TimeUnit,
        options: &CsvOptions,
        header: Option<&[u8]>,
    ) -> Result<CsvDecoder> {
        let builders = ColumnBuilders::new(columns, projection, event_time, unit)?;
        let (fields, positions) = match header {
            Some(header) => {
                let names = header_names(header, options.delimiter)?;
                let positions = bind(columns, &names)?;
                (names.len(), positions)
            }
            None => (
                columns.fields().len(),
                (0..columns.fields().len()).collect(),
            ),
        };
        let mut slots = vec![None; fields];
        for (slot, declared) in builders.wanted().enumerate() {
            let takes = builders.takes(slot);
            slots[positions[declared]] = Some(Slot { slot, takes });
        }
        Ok(CsvDecoder {
            builders,
            slots,
            delimiter: options.delimiter,
            null: options.null.as_bytes().to_vec(),
            scratch: Vec::new(),
            kernel: Kernel::detect(true),
        })
    }

    /// The same decoder on this kernel.
    pub fn on(mut self, kernel: Kernel) -> CsvDecoder {
        self.kernel = kernel;
        self
    }

    /// # Safety
    /// The machine must have AVX2, BMI1, BMI2 and LZCNT.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt")]
    unsafe fn put_avx2(&mut self, record: &[u8]) -> Result<usize, String> {
        self.put_fields::<Avx2>(record)
    }

    /// Puts every wanted field; how many there are, or what is wrong with the quotes.
    #[inline(always)]
    fn put_fields<V: Vector>(&mut self, record: &[u8]) -> Result<usize, String> {
        let CsvDecoder {
            builders,
            slots,
            delimiter,
            null,
            scratch,
            ..
        } = self;
        if quote::<V>(record, 0) < record.len() {
            return quoted_fields(record, *delimiter, scratch, |index, text, quoted| {
                if let Some(&Some(Slot { slot, .. })) = slots.get(index) {
                    let is_null = !quoted && text == null.as_slice();
                    builders.put(slot, untyped(text, is_null));
                }
            });
        }
        let (mut index, mut start) = (0, 0);
        let mut end_field = |end: usize| {
            if let Some(&Some(slot)) = slots.get(index) {
                put_bare(builders, slot, record, start, end, null);
            }
            index += 1;
            start = end + 1;
        };
        each_equal::<V>(record, *delimiter, &mut end_field);
        end_field(record.len());
        Ok(index)
    }
}

fn untyped(text: &[u8], is_null: bool) -> Token<'_> {
    if is_null {
        Token::Null
    } else {
        Token::Untyped(text)
    }
}

/// Puts the field `record[start..end]`, which has no quotes.
#[inline(always)]
fn put_bare(
    builders: &mut ColumnBuilders,
    to: Slot,
    record: &[u8],
    start: usize,
    end: usize,
    null: &[u8],
) {
    let text = &record[start..end];
    let is_null = text == null;
    let put = match to.takes {
        _ if is_null || text.is_empty() => false,
        Takes::Numbers => Plain::read(record, start, end)
            .is_some_and(|number| builders.put_plain(to.slot, number)),
        Takes::Texts => ShortText::read(record, start, end)
            .is_some_and(|text| builders.put_short(to.slot, text)),
        Takes::Others => false,
    };
    if !put {
        builders.put(to.slot, untyped(text, is_null));
    }
}

impl Decoder for CsvDecoder {
    #[inline]
    fn decode(&mut self, record: &[u8]) -> Decoded {
        let count = match self.kernel.0 {
            Width::Portable => self.put_fields::<Portable>(record),
            #[cfg(target_arch = "x86_64")]
            Width::Sse2 => self.put_fields::<Sse2>(record),
            // SAFETY: this kernel is chosen only on a machine that has these features (`Kernel::detect`).
            #[cfg(target_arch = "x86_64")]
            Width::Avx2 => unsafe { self.put_avx2(record) },
        };
        match count {
            Ok(count) if count == self.slots.len() => self.builders.close(),
            Ok(count) => {
                let reason = format!("it has {count} fields, not {}", self.slots.len());
                self.builders.discard(reason)
            }
            Err(reason) => self.builders.discard(reason),
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

/// Gives each field of a record, and whether it was quoted; returns how many there are, or what is wrong with the quotes.
fn quoted_fields(
    record: &[u8],
    delimiter: u8,
    scratch: &mut Vec<u8>,
    mut field: impl FnMut(usize, &[u8], bool),
) -> Result<usize, String> {
    let mut rest = record;
    let mut index = 0;
    loop {
        let after = match rest.split_first() {
            Some((b'"', quoted)) => {
                scratch.clear();
                let mut quoted = quoted;
                loop {
                    let Some(quote) = quoted.iter().position(|&byte| byte == b'"') else {
                        return Err(format!("the quote of field {} is never closed", index + 1));
                    };
                    scratch.extend_from_slice(&quoted[..quote]);
                    quoted = &quoted[quote + 1..];
                    match quoted.split_first() {
                        Some((b'"', after)) => {
                            scratch.push(b'"');
                            quoted = after;
                        }
                        Some((&byte, _)) if byte != delimiter => {
                            let text = shortened(&String::from_utf8_lossy(quoted));
                            return Err(format!(
                                "the closing quote of field {} is followed by '{text}'",
                                index + 1
                            ));
                        }
                        _ => break,
                    }
                }
                field(index, scratch, true);
                quoted
            }
            _ => {
                let end = rest
                    .iter()
                    .position(|&byte| byte == delimiter)
                    .unwrap_or(rest.len());
                field(index, &rest[..end], false);
                &rest[end..]
            }
        };
        index += 1;
        match after.split_first() {
            None => return Ok(index),
            Some((_, next)) => rest = next,
        }
    }
}

fn header_names(header: &[u8], delimiter: u8) -> Result<Vec<String>> {
    let mut names = Vec::new();
    quoted_fields(header, delimiter, &mut Vec::new(), |_, text, _| {
        names.push(String::from_utf8_lossy(text).into_owned());
    })
    .map_err(|reason| Error::Config(format!("the header cannot be read: {reason}")))?;
    Ok(names)
}

/// For each declared column the field that holds it.
fn bind(columns: &SchemaRef, names: &[String]) -> Result<Vec<usize>> {
    columns
        .fields()
        .iter()
        .map(|column| {
            let column = column.name();
            let mut found = names.iter().enumerate().filter(|(_, name)| *name == column);
            match (found.next(), found.next()) {
                (Some((field, _)), None) => Ok(field),
                (Some(_), Some(_)) => Err(Error::Config(format!(
                    "the header names {column} twice; name its fields apart, or set csv.header = 'false'"
                ))),
                (None, _) => {
                    let close = names.iter().find(|name| name.eq_ignore_ascii_case(column));
                    let hint = match close {
                        Some(name) => format!("it names \"{name}\": declare the column so, in double quotes"),
                        None => format!("it names {}", shortened_list(names)),
                    };
                    Err(Error::Config(format!("the header does not name column {column}; {hint}")))
                }
            }
        })
        .collect()
}

/// At most this many names of a header are shown.
const SHOWN_NAMES_MAX: usize = 20;

fn shortened_list(names: &[String]) -> String {
    let shown: Vec<String> = names
        .iter()
        .take(SHOWN_NAMES_MAX)
        .map(|name| shortened(name))
        .collect();
    let more = if names.len() > SHOWN_NAMES_MAX {
        ", …"
    } else {
        ""
    };
    format!("{}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion_common::arrow::array::AsArray;
    use datafusion_common::arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use proptest::prelude::*;

    use super::*;
    use crate::format::BadRecord;
    use crate::time::EventTime;

    fn options() -> CsvOptions {
        CsvOptions {
            header: true,
            delimiter: b',',
            null: String::new(),
        }
    }

    fn columns() -> SchemaRef {
        let timestamp = DataType::Timestamp(
            datafusion_common::arrow::datatypes::TimeUnit::Microsecond,
            None,
        );
        Arc::new(Schema::new(vec![
            Field::new("ts", timestamp, true),
            Field::new("carrier", DataType::Utf8View, true),
            Field::new("delay", DataType::Int64, true),
        ]))
    }

    fn decoder(header: Option<&str>) -> Result<CsvDecoder> {
        let header = header.map(str::as_bytes);
        CsvDecoder::new(
            &columns(),
            &[1, 2],
            Some(0),
            TimeUnit::Seconds,
            &options(),
            header,
        )
    }

    fn decode(decoder: &mut CsvDecoder, record: &str) -> Result<Option<EventTime>, BadRecord> {
        match decoder.decode(record.as_bytes()) {
            Decoded::Record(time) => Ok(time),
            Decoded::Bad(bad) => Err(bad),
        }
    }

    #[test]
    fn fields_bind_by_the_names_of_the_header() {
        let mut decoder = decoder(Some("delay,unwanted,\"ts\",carrier")).expect("all are named");
        assert_eq!(
            decode(&mut decoder, "-3,x,1,AA"),
            Ok(Some(EventTime(1_000_000)))
        );
        assert_eq!(
            decode(&mut decoder, ",\"x,y\",2,\"A\"\"A\""),
            Ok(Some(EventTime(2_000_000)))
        );
        assert_eq!(
            decode(&mut decoder, "7,,1970-01-01 00:00:03,\"\""),
            Ok(Some(EventTime(3_000_000)))
        );
        let batch = decoder.finish();
        assert_eq!(batch.schema().field(0).name(), "carrier");
        let carriers: Vec<_> = batch.column(0).as_string_view().iter().collect();
        assert_eq!(carriers, [Some("AA"), Some("A\"A"), Some("")]);
        let delays: Vec<_> = batch.column(1).as_primitive::<Int64Type>().iter().collect();
        assert_eq!(delays, [Some(-3), None, Some(7)]);
    }

    #[test]
    fn a_header_that_does_not_fit_says_what_is_missing() {
        for (header, message) in [
            (
                "ts,carrier",
                "the header does not name column delay; it names ts, carrier",
            ),
            (
                "ts,Carrier,delay",
                "the header does not name column carrier; it names \"Carrier\": declare the column so, in double quotes",
            ),
            (
                "ts,carrier,delay,ts",
                "the header names ts twice; name its fields apart, or set csv.header = 'false'",
            ),
            (
                "ts,\"carrier",
                "the header cannot be read: the quote of field 2 is never closed",
            ),
        ] {
            match decoder(Some(header)) {
                Err(Error::Config(text)) => assert_eq!(text, message),
                Err(other) => panic!("{other}"),
                Ok(_) => panic!("{header} was accepted"),
            }
        }
    }

    #[test]
    fn a_record_of_another_length_or_with_broken_quotes_is_bad_as_a_whole() {
        let mut decoder = decoder(None).expect("by position");
        for (record, reason) in [
            ("", "it has 1 fields, not 3"),
            ("1,AA", "it has 2 fields, not 3"),
            ("1,AA,5,", "it has 4 fields, not 3"),
            ("1,\"AA,5", "the quote of field 2 is never closed"),
            (
                "1,\"A\"A,5",
                "the closing quote of field 2 is followed by 'A,5'",
            ),
        ] {
            let reason = reason.to_owned();
            assert_eq!(
                decode(&mut decoder, record),
                Err(BadRecord {
                    reason,
                    event_time: None
                }),
                "{record}"
            );
        }
        assert!(decoder.is_empty());
        assert_eq!(
            decode(&mut decoder, "1,5\" pipe,5"),
            Ok(Some(EventTime(1_000_000)))
        );
    }

    #[test]
    fn a_bad_field_leaves_the_event_time() {
        let mut decoder = decoder(Some("carrier,delay,ts")).expect("all are named");
        let reason = "column delay: '5.5' is not a BIGINT".to_owned();
        let bad = BadRecord {
            reason,
            event_time: Some(EventTime(9_000_000)),
        };
        assert_eq!(decode(&mut decoder, "AA,5.5,9"), Err(bad));
        assert_eq!(decoder.finish().num_rows(), 0);
    }

    #[test]
    fn one_empty_field_is_null_and_a_quoted_one_is_empty_text() {
        let columns = Arc::new(Schema::new(vec![Field::new("a", DataType::Utf8View, true)]));
        let mut decoder =
            CsvDecoder::new(&columns, &[0], None, TimeUnit::Seconds, &options(), None)
                .expect("text");
        decode(&mut decoder, "").expect("NULL");
        decode(&mut decoder, "\"\"").expect("empty");
        let batch = decoder.finish();
        assert_eq!(
            batch.column(0).as_string_view().iter().collect::<Vec<_>>(),
            [None, Some("")]
        );
    }

    proptest! {
        #[test]
        fn bare_fields_are_those_of_a_plain_split(record in prop::collection::vec(
            prop::sample::select(vec![b',', b'a', b'-', b'7', b'.', 0x2d, 0x00, 0x7f]), 0..40)) {
            let fields: Vec<&[u8]> = record.split(|&byte| byte == b',').collect();
            let columns: Vec<Field> = (0..fields.len())
                .map(|index| Field::new(format!("c{index}"), DataType::Utf8View, true))
                .collect();
            let columns = Arc::new(Schema::new(columns));
            let all: Vec<usize> = (0..fields.len()).collect();
            for kernel in [Kernel::detect(true), Kernel::detect(false)] {
                let mut decoder = CsvDecoder::new(&columns, &all, None, TimeUnit::Seconds, &options(), None)
                    .expect("text")
                    .on(kernel);
                prop_assert_eq!(decoder.decode(&record), Decoded::Record(None));
                let batch = decoder.finish();
                for (column, field) in batch.columns().iter().zip(&fields) {
                    let expected = (!field.is_empty()).then(|| std::str::from_utf8(field).expect("ASCII"));
                    prop_assert_eq!(column.as_string_view().iter().next(), Some(expected));
                }
            }
        }
    }
}
