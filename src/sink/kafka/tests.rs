use std::collections::BTreeMap;

use crate::format::EncodedRows;
use crate::kafka::mock::{self, Read};

use super::*;

const NOW_US: i64 = 1_700_000_000_000_000;

fn now_us() -> i64 {
    NOW_US
}

fn rows(texts: impl Iterator<Item = String>) -> EncodedRows {
    let mut rows = EncodedRows::default();
    for text in texts {
        rows.bytes.extend_from_slice(text.as_bytes());
        rows.ends.push(rows.bytes.len());
    }
    rows
}

/// The query of the block that is due at `due_us`, when blocks of several go to one topic.
fn query_of(due_us: i64) -> u16 {
    (due_us % 3) as u16
}

fn block(values: std::ops::Range<usize>, due_us: i64) -> RowBlock {
    let keys = MessageKeys {
        rows: rows(values.clone().map(|row| {
            if row % 5 == 4 {
                String::new()
            } else {
                format!("k{}", row % 5)
            }
        })),
        null: values.clone().map(|row| row % 5 == 4).collect(),
    };
    RowBlock {
        epoch: 0,
        envelopes: Vec::new(),
        query: query_of(due_us),
        values: rows(values.clone().map(|row| format!("v{row}"))),
        keys: Some(keys),
        event_times_us: values.map(|row| row as i64 * 1_000_000).collect(),
        due_us,
        ready_ns: 0,
    }
}

fn values(read: &[Read]) -> Vec<String> {
    let mut values: Vec<_> = read
        .iter()
        .map(|record| String::from_utf8_lossy(&record.value).into_owned())
        .collect();
    values.sort_unstable();
    values
}

#[test]
fn rows_arrive_once_with_key_and_timestamp_and_equal_keys_in_one_partition_in_order() {
    let broker = mock::broker(&[("out", 4)]);
    let mut sink = KafkaSink::open(&broker.producer(&[]), "out", now_us).expect("the mock answers");
    let mut acknowledged = Vec::new();
    for number in 0..10 {
        let block = block(number * 100..(number + 1) * 100, number as i64);
        sink.write(block, &mut |rows| acknowledged.push(rows))
            .expect("taken");
    }
    sink.flush(&mut |rows| acknowledged.push(rows))
        .expect("acknowledged");
    assert_eq!(acknowledged.iter().map(|rows| rows.rows).sum::<u64>(), 1000);
    for due_us in 0..10 {
        let rows = acknowledged
            .iter()
            .filter(|rows| rows.due_us == due_us)
            .map(|rows| rows.rows)
            .sum::<u64>();
        assert_eq!(rows, 100, "rows keep the due time of their block");
    }
    assert!(
        acknowledged
            .iter()
            .all(|rows| rows.query == query_of(rows.due_us)),
        "rows keep the query of their block"
    );
    let read = mock::read_all(&broker, "out");
    let mut expected: Vec<_> = (0..1000).map(|row| format!("v{row}")).collect();
    expected.sort_unstable();
    assert_eq!(values(&read), expected);
    let mut homes: BTreeMap<Vec<u8>, (i32, usize)> = BTreeMap::new();
    for record in &read {
        let row: usize = String::from_utf8_lossy(&record.value[1..])
            .parse()
            .expect("a row number");
        assert_eq!(
            record.key.is_none(),
            row % 5 == 4,
            "a NULL key stays no key"
        );
        assert_eq!(record.timestamp_ms, Some((row as i64 * 1000).max(1)));
        if let Some(key) = &record.key {
            assert_eq!(key, format!("k{}", row % 5).as_bytes());
            let home = homes.entry(key.clone()).or_insert((record.partition, row));
            assert_eq!(home.0, record.partition);
            assert!(home.1 <= row, "rows of equal keys keep their order");
            home.1 = row;
        }
    }
}

#[test]
fn a_keyed_row_goes_where_the_java_client_would_send_it() {
    // murmur2 of the Java client: toPositive(murmur2("21")) = -973932308 & 0x7fffffff, and so on (its own test vectors).
    let hashes = [
        ("21", -973_932_308_i32),
        ("foobar", -790_332_482),
        ("abc", 479_470_107),
    ];
    let texts = || rows(hashes.iter().map(|(key, _)| (*key).to_owned()));
    let broker = mock::broker(&[("out", 7)]);
    let mut sink = KafkaSink::open(&broker.producer(&[]), "out", now_us).expect("the mock answers");
    let keys = MessageKeys {
        rows: texts(),
        null: vec![false; hashes.len()],
    };
    let block = RowBlock {
        envelopes: Vec::new(),
        query: 0,
        epoch: 0,
        values: texts(),
        keys: Some(keys),
        event_times_us: Vec::new(),
        due_us: 0,
        ready_ns: 0,
    };
    sink.write(block, &mut |_| ()).expect("taken");
    sink.flush(&mut |_| ()).expect("acknowledged");
    let read = mock::read_all(&broker, "out");
    for (key, hash) in hashes {
        let record = read
            .iter()
            .find(|record| record.key.as_deref() == Some(key.as_bytes()))
            .expect("written");
        assert_eq!(record.partition, (hash & 0x7fff_ffff) % 7);
    }
}

#[test]
fn timestamps_stand_between_the_epoch_and_now() {
    assert_eq!(timestamp_ms(1_999_999, 5_000), 1_999);
    assert_eq!(timestamp_ms(9_000_000, 5_000), 5_000);
    assert_eq!(timestamp_ms(-1, 5_000), 1);
    assert_eq!(timestamp_ms(i64::MIN, 5_000), 1);
    assert_eq!(timestamp_ms(i64::MAX, 5_000), 5_000);
}

#[test]
fn only_the_rows_of_a_feed_say_when_they_were_due() {
    let broker = mock::broker(&[("out", 1), ("fed", 1)]);
    for (topic, due_us) in [("out", None), ("fed", Some(1_234_567))] {
        let mut sink = KafkaSink::open(&broker.producer(&[]), topic, now_us).expect("the mock");
        if due_us.is_some() {
            sink = sink.with_due_header();
        }
        sink.write(block(0..10, 1_234_567), &mut |_| ())
            .expect("taken");
        sink.flush(&mut |_| ()).expect("acknowledged");
        let read = mock::read_all(&broker, topic);
        assert_eq!(read.len(), 10);
        assert!(read.iter().all(|record| record.due_us == due_us));
    }
}

#[test]
fn a_full_queue_loses_nothing() {
    let broker = mock::broker(&[("out", 2)]);
    let settings = broker.producer(&[("queue.buffering.max.messages", "3")]);
    let mut sink = KafkaSink::open(&settings, "out", now_us).expect("the mock answers");
    let mut rows = 0;
    sink.write(block(0..500, 1), &mut |acknowledged| {
        rows += acknowledged.rows
    })
    .expect("taken");
    assert!(!sink.has_room(), "three rows fill the queue");
    sink.flush(&mut |acknowledged| rows += acknowledged.rows)
        .expect("acknowledged");
    assert!(sink.has_room());
    assert_eq!(rows, 500);
    assert_eq!(mock::read_all(&broker, "out").len(), 500);
}

#[test]
fn a_record_that_no_broker_takes_is_an_error_that_names_the_topic() {
    let broker = mock::broker(&[("out", 1)]);
    let settings = broker.producer(&[("message.timeout.ms", "500")]);
    let mut sink = KafkaSink::open(&settings, "out", now_us).expect("the mock answers");
    broker.down();
    let written = sink.write(block(0..10, 1), &mut |_| ());
    let failed = written.and_then(|()| sink.flush(&mut |_| ()));
    let Err(Error::Connector(message)) = failed else {
        panic!("acknowledged by a broker that is away")
    };
    assert!(
        message.contains("topic out") && message.contains("message.timeout.ms"),
        "{message}"
    );
}

#[test]
fn a_dead_letter_arrives_as_the_record_came_with_headers_behind_its_own() {
    use crate::batch::{DeadLetter, LetterStage, OwnedOriginal};
    use crate::error::Place;
    use crate::sink::dead_letter::{LetterForm, LetterOf};

    let originals = [
        OwnedOriginal {
            key: Some(b"k\xff\x00".to_vec()),
            payload: Some(b"{\"cut\xfe".to_vec()),
            headers: vec![
                (b"trace".to_vec(), Some(b"\x01".to_vec())),
                (b"none".to_vec(), None),
            ],
        },
        OwnedOriginal {
            payload: Some(Vec::new()),
            ..OwnedOriginal::default()
        },
        OwnedOriginal::default(),
    ];
    let letters = originals
        .iter()
        .enumerate()
        .map(|(offset, original)| DeadLetter {
            stage: LetterStage::Decode,
            place: Place::Offset {
                topic: "in".to_owned(),
                partition: 1,
                offset: offset as i64,
            },
            reason: "bad".to_owned(),
            original: original.clone(),
        });
    let of = LetterOf {
        stream: "s",
        query: None,
    };
    let block = LetterForm::Messages.block(300, of, letters.collect());
    let broker = mock::broker(&[("dead", 1)]);
    let mut sink =
        KafkaSink::open(&broker.producer(&[]), "dead", now_us).expect("the mock answers");
    let mut acknowledged = 0;
    let mut add = |rows: Acknowledged| {
        assert_eq!(rows.query, 300);
        acknowledged += rows.rows;
    };
    sink.write(block, &mut add).expect("taken");
    sink.flush(&mut add).expect("acknowledged");
    assert_eq!(acknowledged, 3);
    let read = mock::read_all(&broker, "dead");
    for (offset, (record, original)) in read.iter().zip(&originals).enumerate() {
        let mut expected = original.clone();
        let said = [
            ("velo.stream", Some("s".to_owned())),
            ("velo.query", None),
            ("velo.topic", Some("in".to_owned())),
            ("velo.partition", Some("1".to_owned())),
            ("velo.offset", Some(offset.to_string())),
            ("velo.stage", Some("decode".to_owned())),
            ("velo.reason", Some("bad".to_owned())),
        ];
        expected.headers.extend(
            said.map(|(name, value)| (name.as_bytes().to_vec(), value.map(String::into_bytes))),
        );
        assert_eq!(record.original, expected);
    }
    assert_eq!(read.len(), originals.len());
}
