//! Dealt against undealt: whatever the shards, the batches, the lanes and who has room when.

use std::path::PathBuf;
use std::sync::Arc;

use datafusion_common::arrow::array::AsArray;
use datafusion_common::arrow::datatypes::Int64Type;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::batch::Batch;
use crate::config::limits::{DEALT_BLOCK_BYTES, FILE_READ_BYTES_MIN};
use crate::config::options::{Format, OnError};
use crate::error::{Error, Place};
use crate::source::file::FileSource;
use crate::source::file::tests::spec;

/// Number, event time, watermark before (microseconds both), line.
type Row = (Option<i64>, Option<i64>, Option<i64>, i64);

/// What a file came to: its rows by line, records taken, bad ones, and where its one partition stands.
#[derive(Debug, PartialEq)]
struct Read {
    rows: Vec<Row>,
    records_in: u64,
    bad_records: u64,
    partition: PartitionFigures,
}

/// How it is dealt.
#[derive(Clone, Copy, Debug)]
struct Deal {
    shards: usize,
    max: usize,
    lane_blocks: usize,
    /// From this it is drawn which shard has room when.
    seed: u64,
}

const DEALS: [Deal; 5] = [
    deal(2, 1024, 64),
    deal(2, 1, 1),
    deal(3, 2, 1),
    deal(7, 3, 2),
    deal(7, 1, 1),
];

const fn deal(shards: usize, max: usize, lane_blocks: usize) -> Deal {
    Deal {
        shards,
        max,
        lane_blocks,
        seed: 5,
    }
}

fn rows(batch: &Batch) -> impl Iterator<Item = Row> {
    let numbers = batch.columns.column(0).as_primitive::<Int64Type>();
    (0..batch.len()).map(move |row| {
        assert_eq!(batch.origins[row].partition, 0);
        assert_eq!(batch.due_us, 77);
        (
            numbers.iter().nth(row).flatten(),
            batch.event_times.get(row).map(|time| time.0),
            batch.watermarks_before.get(row).map(|before| before.0),
            batch.origins[row].offset,
        )
    })
}

fn kernel() -> Kernel {
    Kernel::detect(true)
}

fn undealt(spec: &SourceSpec) -> Result<Read> {
    let mut source = FileSource::open(spec, kernel(), || 77)?;
    let mut read = Vec::new();
    loop {
        match source.poll(1024)? {
            Polled::Batch(batch) => read.extend(rows(&batch)),
            Polled::Nothing { .. } => {}
            Polled::Ended => break,
            Polled::Stopped => unreachable!("nobody stops it"),
        }
    }
    let figures = source.figures();
    Ok(Read {
        rows: read,
        records_in: figures.records_in,
        bad_records: figures.bad_records,
        partition: figures.partitions[0],
    })
}

/// The same by all shards, which take turns and now and then have no room. Holds them to the laws of promises.
fn dealt_read(spec: &SourceSpec, how: Deal) -> Result<Read> {
    let doorbells = Doorbells::open(how.shards).expect("there are descriptors");
    let mut sources = open(spec, kernel(), || 77, &doorbells, how.lane_blocks)?;
    let mut promised = vec![Watermark::NONE; how.shards];
    let mut read = Vec::new();
    let mut drawn = how.seed;
    let mut open = how.shards;
    // As the driver and the job have it: who fails lets go of what comes, all are stopped, and the first error counts.
    let mut failed = vec![false; how.shards];
    let mut first: Option<Error> = None;
    for _ in 0..1_000_000 {
        if open == 0 {
            break;
        }
        open = how.shards;
        let stopping = first.is_some();
        for (shard, source) in sources.iter_mut().enumerate() {
            let promised = &mut promised[shard];
            drawn = drawn
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let has_room = drawn >> 33 & 3 != 0;
            if stopping {
                assert!(source.stop());
            }
            source.deal(how.max);
            if !has_room {
                continue;
            }
            let polled = source.poll(how.max);
            let watermark = source.watermark().expect("a share promises");
            match polled {
                Ok(Polled::Ended | Polled::Stopped) => open -= 1,
                _ if failed[shard] => continue,
                Err(error) => {
                    failed[shard] = true;
                    if first.as_ref().is_none_or(|known| error.is_before(known)) {
                        first = Some(error);
                    }
                    continue;
                }
                Ok(Polled::Batch(batch)) => {
                    assert!(!batch.is_empty() && batch.len() <= how.max);
                    let least = batch.watermarks_before.iter().min();
                    assert!(least.is_none_or(|least| *promised <= *least));
                    assert!(watermark < Watermark::END);
                    read.extend(rows(&batch));
                }
                Ok(Polled::Nothing { .. }) => assert!(watermark < Watermark::END),
            }
            assert!(*promised <= watermark, "a promise went back");
            *promised = watermark;
        }
    }
    assert_eq!(open, 0, "it comes to an end: {how:?}");
    if let Some(error) = first {
        return Err(error);
    }
    assert!(promised.iter().all(|promised| *promised == Watermark::END));
    read.sort_unstable_by_key(|row| row.3);
    let figures: Vec<SourceFigures> = sources.iter().map(Source::figures).collect();
    let records_in = sources.iter().map(Source::records_in).sum();
    let of_figures: u64 = figures.iter().map(|figures| figures.records_in).sum();
    assert_eq!(records_in, of_figures);
    let partitions: Vec<&PartitionFigures> =
        figures.iter().flat_map(|one| &one.partitions).collect();
    assert_eq!(partitions.len(), 1, "one shard stands for the file");
    Ok(Read {
        rows: read,
        records_in,
        bad_records: figures.iter().map(|figures| figures.bad_records).sum(),
        partition: *partitions[0],
    })
}

fn written(directory: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = directory.path().join(name);
    std::fs::write(&path, bytes).expect("a temporary file");
    path
}

fn format_of(name: &str) -> Format {
    match name.contains("csv") {
        true => Format::Csv,
        false => Format::Json,
    }
}

/// Reads it undealt and dealt in every way; the same must come out. Returns it.
fn same(name: &str, bytes: &[u8]) -> Read {
    let directory = TempDir::new().expect("a temporary directory");
    let path = written(&directory, name, bytes);
    let spec = spec(&path, format_of(name), OnError::Skip);
    let expected = undealt(&spec).expect("readable");
    for how in DEALS {
        let read = dealt_read(&spec, how).expect("readable");
        assert_eq!(read, expected, "{name} {how:?}");
    }
    expected
}

/// A record of each kind. Those that are broken have an event time that, if it counted, would make others late.
const JSON: [&str; 20] = [
    r#"{"n":1,"ts":10}"#,
    r#"{"n":"x","ts":15}"#,
    r#"{"n":-,"ts":9000}"#,
    r#"{"n":2,"z":-,"ts":18}"#,
    r#"{"ts":9000,"n":"\q"}"#,
    r#"{"n":3,"z":"\q","ts":17}"#,
    r#"{"n":[1,],"ts":9000}"#,
    r#"{"n":[1],"ts":19}"#,
    r#"{"n":01,"ts":9000}"#,
    r#"{"n":4,"n":-,"ts":20}"#,
    r#"{"n":5}"#,
    r#"{"n":6,"ts":null}"#,
    r#"{"n":7,"ts":"x"}"#,
    r#"{"n":8,"ts":9000"#,
    "",
    r#"{"n":9,"ts":3}"#,
    r#"{"n":9223372036854775808,"ts":21}"#,
    r#"{"n":null,"ts":22}"#,
    r#"{"ts":23}"#,
    r#"{"n":"a text of more than twelve letters","ts":24}"#,
];

const CSV: [&str; 12] = [
    "10,1,a",
    "15,x,b",
    "16,2,\"two\nlines\"",
    "9000,3",
    "9000,3,c,d",
    "9000,3,\"c\"d",
    "x,4,e",
    ",5,f",
    "",
    "20,,g",
    "3,6,late",
    "\"21\",\"7\",\"\"\"\"",
];

fn json(kinds: impl IntoIterator<Item = usize>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for kind in kinds {
        // Text that is no UTF-8 cannot stand in a constant.
        match JSON.get(kind) {
            Some(record) => bytes.extend_from_slice(record.as_bytes()),
            None => bytes.extend_from_slice(b"{\"n\":\"\xff\",\"ts\":9000}"),
        }
        bytes.push(b'\n');
    }
    bytes
}

fn csv(kinds: impl IntoIterator<Item = usize>) -> Vec<u8> {
    let mut text = "ts,n,note\n".to_owned();
    for kind in kinds {
        text += CSV[kind];
        text.push('\n');
    }
    text.into_bytes()
}

#[test]
fn every_kind_of_record_is_what_it_is_to_one_shard() {
    let read = same("a.json", &json(0..=JSON.len()));
    assert_eq!((read.records_in, read.bad_records), (21, 14));
    assert_eq!(read.partition.next_offset, 22);
    let read = same("a.csv", &csv(0..CSV.len()));
    assert_eq!((read.records_in, read.bad_records), (12, 7));
}

#[test]
fn compressed_files_and_those_without_records_are_dealt_too() {
    let packed = zstd::encode_all(csv(0..CSV.len()).as_slice(), 1).expect("in memory");
    assert_eq!(same("a.csv.zst", &packed).rows.len(), 5);
    for (name, bytes) in [
        ("a.json", &b""[..]),
        ("a.csv", b"ts,n,note\n"),
        ("a.csv", b"ts,n,note"),
    ] {
        let read = same(name, bytes);
        assert_eq!((read.rows.len(), read.records_in), (0, 0));
        assert_eq!(read.partition.watermark, Watermark::END);
    }
}

#[test]
fn what_cannot_be_opened_says_so_once_and_names_the_file() {
    let directory = TempDir::new().expect("a temporary directory");
    let path = written(&directory, "a.csv", b"");
    let spec = spec(&path, Format::Csv, OnError::Fail);
    let error = dealt_read(&spec, DEALS[0]).expect_err("it has no header");
    assert_eq!(
        error.to_string(),
        undealt(&spec).expect_err("the same").to_string()
    );
}

#[test]
fn under_fail_the_one_bad_record_is_told_wherever_it_is_found() {
    let directory = TempDir::new().expect("a temporary directory");
    let mut bad = 0;
    for (name, kinds) in [("a.json", JSON.len() + 1), ("a.csv", CSV.len())] {
        for kind in 0..kinds {
            for before in [0, 1, 5] {
                let records = [vec![0; before], vec![kind], vec![0; 5]].concat();
                let bytes = match format_of(name) {
                    Format::Json => json(records),
                    Format::Csv => csv(records),
                };
                let spec = spec(
                    &written(&directory, name, &bytes),
                    format_of(name),
                    OnError::Fail,
                );
                let expected = undealt(&spec).map_err(|error| error.to_string());
                bad += usize::from(expected.is_err());
                for how in DEALS {
                    let read = dealt_read(&spec, how).map_err(|error| error.to_string());
                    assert_eq!(read, expected, "{name} {kind} {how:?}");
                }
            }
        }
    }
    assert_eq!(bad, 3 * (14 + 7));
}

#[test]
fn of_several_bad_records_the_first_of_the_file_is_told() {
    let directory = TempDir::new().expect("a temporary directory");
    // Found by a share, then by the reader; and the other way about.
    for kinds in [[0, 1, 0, 0, 13, 0, 1, 1], [0, 13, 0, 0, 1, 0, 12, 1]] {
        let path = written(&directory, "a.json", &json(kinds));
        let spec = spec(&path, Format::Json, OnError::Fail);
        for how in DEALS {
            let Err(Error::Data {
                place: Place::Line { line, .. },
                ..
            }) = dealt_read(&spec, how)
            else {
                panic!("accepted")
            };
            assert_eq!(line, 2, "{how:?}");
        }
    }
}

/// Regression: the good records before the bad one stayed in the decoder, and the next block was longer than its stamps.
#[test]
fn a_share_that_has_failed_decodes_what_follows_afresh() {
    let directory = TempDir::new().expect("a temporary directory");
    let path = written(&directory, "a.json", &json([0, 1, 0, 0, 0, 0]));
    let spec = spec(&path, Format::Json, OnError::Fail);
    let doorbells = Doorbells::open(2).expect("there are descriptors");
    let mut sources = open(&spec, kernel(), || 77, &doorbells, 4).expect("readable");
    for _ in 0..3 {
        assert!(sources[0].deal(2));
    }
    assert!(sources[1].poll(2).is_err());
    for _ in 0..2 {
        match sources[1].poll(2).expect("good records") {
            Polled::Batch(batch) => assert_eq!(batch.len(), 2),
            other => panic!("{other:?}"),
        }
    }
}

/// Regression: what ended the reading was told when it was dealt, before the records in front of it were decoded.
#[test]
fn a_bad_record_counts_before_what_ended_the_reading_behind_it() {
    let directory = TempDir::new().expect("a temporary directory");
    let bytes = json([0, 0, 0, 1, 0, 0]);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, &bytes).expect("memory takes it");
    let mut packed = packed.finish().expect("memory takes it");
    packed.truncate(packed.len() - 4);
    let path = written(&directory, "a.json.gz", &packed);
    let spec = spec(&path, Format::Json, OnError::Fail);
    for seed in 0..200 {
        for how in DEALS {
            let error = dealt_read(&spec, Deal { seed, ..how }).expect_err("bad and cut off");
            assert_eq!(
                error.exit_code(),
                crate::error::exit::DATA,
                "{error} {how:?}"
            );
        }
    }
}

#[test]
fn a_stop_ends_behind_what_was_dealt() {
    let directory = TempDir::new().expect("a temporary directory");
    let path = written(&directory, "a.json", &json([0; 50]));
    let spec = spec(&path, Format::Json, OnError::Fail);
    let doorbells = Doorbells::open(3).expect("there are descriptors");
    let mut sources = open(&spec, kernel(), || 77, &doorbells, 1).expect("readable");
    for _ in 0..4 {
        assert!(sources[0].deal(2));
    }
    let mut over = [false; 3];
    let mut taken = 0;
    while over != [true; 3] {
        for (source, over) in sources.iter_mut().zip(&mut over) {
            assert!(source.stop());
            source.deal(2);
            match source.poll(2).expect("readable") {
                Polled::Batch(batch) => taken += batch.len() as i64,
                Polled::Stopped => *over = true,
                Polled::Nothing { .. } => {}
                Polled::Ended => panic!("the file goes on"),
            }
            assert!(source.watermark() < Some(Watermark::END));
        }
    }
    assert_eq!(taken, 8);
    assert_eq!(sources[0].figures().partitions[0].next_offset, 9);
}

#[test]
fn a_stream_without_event_time_is_dealt_without_stamps() {
    let directory = TempDir::new().expect("a temporary directory");
    let path = written(&directory, "a.json", &json(0..=JSON.len()));
    let mut spec = spec(&path, Format::Json, OnError::Skip);
    let mut stream = spec.stream.as_ref().clone();
    stream.event_time = None;
    spec.stream = Arc::new(stream);
    let expected = undealt(&spec).expect("readable");
    assert!(expected.rows.iter().all(|row| row.1.is_none()) && expected.rows.len() > 8);
    for how in DEALS {
        assert_eq!(dealt_read(&spec, how).expect("readable"), expected);
    }
}

#[test]
fn long_records_are_whole_and_a_block_ends_behind_its_bytes() {
    let long = "x".repeat(2 * FILE_READ_BYTES_MIN);
    let lines: Vec<String> = (0..9)
        .map(|n| format!("{{\"n\":{n},\"ts\":{n},\"x\":\"{long}\"}}\n"))
        .collect();
    let read = same("a.json", lines.concat().as_bytes());
    assert_eq!(read.rows.len(), 9);

    let directory = TempDir::new().expect("a temporary directory");
    let path = written(&directory, "a.json", lines.concat().as_bytes());
    let spec = spec(&path, Format::Json, OnError::Fail);
    let doorbells = Doorbells::open(2).expect("there are descriptors");
    let mut sources = open(&spec, kernel(), || 77, &doorbells, 1).expect("readable");
    assert!(sources[0].deal(1024));
    let Polled::Batch(batch) = sources[1].poll(1024).expect("readable") else {
        panic!("nothing was dealt")
    };
    assert_eq!(batch.len(), DEALT_BLOCK_BYTES.div_ceil(lines[0].len()));
}

#[test]
fn blocks_go_to_whoever_has_room_the_reader_last_and_nothing_is_read_ahead_of_that() {
    let directory = TempDir::new().expect("a temporary directory");
    let path = written(&directory, "a.json", &json([0; 20]));
    let spec = spec(&path, Format::Json, OnError::Fail);
    let doorbells = Doorbells::open(3).expect("there are descriptors");
    let mut sources = open(&spec, kernel(), || 77, &doorbells, 1).expect("readable");
    // One in each lane, one kept, one held.
    for _ in 0..4 {
        assert!(sources[0].deal(1));
    }
    assert!(!sources[0].deal(1), "all have enough");
    assert_eq!(sources[0].figures().partitions[0].next_offset, 5);
    let mut line = |shard: usize| match sources[shard].poll(1).expect("readable") {
        Polled::Batch(batch) => batch.origins[0].offset,
        other => panic!("{other:?}"),
    };
    assert_eq!((line(1), line(2), line(0)), (1, 2, 3));
    assert!(matches!(
        sources[1].poll(1),
        Ok(Polled::Nothing { progressed: false })
    ));
    // The reader promises for nobody else: what is held for shard 1 is behind it.
    assert_eq!(sources[1].watermark(), sources[0].watermark());
    assert!(sources[0].deal(1));
    assert!(matches!(sources[1].poll(1), Ok(Polled::Batch(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_file_is_dealt_as_it_is_read(
        kinds in prop::collection::vec((0..=JSON.len(), 0..CSV.len()), 0..60),
        shards in prop::sample::select(vec![2usize, 3, 7]),
        max in 1..9usize,
        lane_blocks in 1..3usize,
        seed in any::<u64>(),
    ) {
        let directory = TempDir::new().expect("a temporary directory");
        let how = Deal { shards, max, lane_blocks, seed };
        for (name, bytes) in [
            ("a.json", json(kinds.iter().map(|kind| kind.0))),
            ("a.csv", csv(kinds.iter().map(|kind| kind.1))),
        ] {
            let path = written(&directory, name, &bytes);
            for on_error in [OnError::Skip, OnError::Fail] {
                let spec = spec(&path, format_of(name), on_error);
                let line = |error: Error| match error {
                    Error::Data { place: Place::Line { line, .. }, .. } => line,
                    other => panic!("{other}"),
                };
                let expected = undealt(&spec).map_err(line);
                prop_assert_eq!(dealt_read(&spec, how).map_err(line), expected);
            }
        }
    }
}
