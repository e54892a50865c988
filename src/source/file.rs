//! A file as a source of one shard: CSV or JSON lines, plain, `.zst` or `.gz`.
//!
//! ```text
//!   file --(zstd, gzip)--> buffer --Framer--> record --Decoder--> columns, stamped by one PartitionClock
//! ```
//!
//! Law: a file is one partition, number 0, read in line order by one shard; a record's offset is the line it starts on,
//! from 1, a header included. A bounded input: behind the last record it has ended. A compressed file is read through all its
//! frames or members, and one that ends within one is an error that names it, never the end of the input. Zeros behind the
//! last member of a gzip file are padding, as gzip(1) has it.
//!
//! It does not deal a file to several shards: `dealt` does, where the plan says so. It does not wait for a file to grow.

use super::file_records::{FileDecoder, Records, Wanted, clock, place};
use std::sync::Arc;

use super::{BadRecords, Extent, PartitionFigures, Polled, Source, SourceFigures, WatermarkSteps};
use crate::batch::{Batch, DeadLetter, LetterStage, Origin, Original, Originals};
use crate::error::Result;
use crate::format::{Decoded, Kernel};
use crate::plan::SourceSpec;
use crate::time::{PartitionClock, Watermark};

/// Reads one file.
pub struct FileSource {
    records: Records,
    decoder: FileDecoder,
    clock: PartitionClock,
    /// `None` where every record moves the watermark.
    steps: Option<WatermarkSteps>,
    bad: BadRecords,
    wall_us: fn() -> i64,
    skew_us: Option<i64>,
    records_in: u64,
    ended: bool,
}

impl FileSource {
    /// Opens the file of `spec` and, if it has one, reads its header. `wall_us` tells the wall clock's time,
    /// microseconds since the epoch: a batch is due when it was taken. Records are scanned by `kernel`.
    ///
    /// Fails with [`Error::Disk`] when the file cannot be read, and with [`Error::Config`] when its header does not name
    /// the declared columns.
    pub fn open(spec: &SourceSpec, kernel: Kernel, wall_us: fn() -> i64) -> Result<FileSource> {
        let stream = &spec.stream;
        let (records, header) = Records::open(spec)?;
        let decoder = FileDecoder::open(spec, Wanted::All, header.as_deref(), kernel)?;
        let steps = WatermarkSteps::of(spec);
        let moves = steps.as_ref().map(WatermarkSteps::moves);
        Ok(FileSource {
            records,
            decoder,
            clock: clock(stream).moving(moves.unwrap_or_default()),
            steps,
            bad: BadRecords::new(&stream.name, stream.on_error),
            wall_us,
            skew_us: stream.time.skew_us,
            records_in: 0,
            ended: false,
        })
    }
}

impl Source for FileSource {
    fn poll(&mut self, max: usize) -> Result<Polled> {
        assert!(max > 0, "a poll for nothing");
        if self.ended {
            return Ok(Polled::Ended);
        }
        let due_us = (self.wall_us)();
        if let Some(steps) = &mut self.steps
            && steps.tick(due_us)
        {
            self.clock.follow();
        }
        self.decoder.limit(self.skew_us, due_us);
        let mut taken = 0;
        let mut event_times = Vec::new();
        let mut watermarks_before = Vec::new();
        let mut origins = Vec::with_capacity(max);
        let mut originals = self.bad.keeps_originals().then(Originals::default);
        while taken < max {
            let Some((record, line)) = self.records.next()? else {
                break;
            };
            taken += 1;
            match self.decoder.decode(record) {
                Decoded::Record(event_time) => {
                    if let Some(event_time) = event_time {
                        event_times.push(event_time);
                        watermarks_before.push(self.clock.advance(event_time));
                    }
                    let origin = Origin {
                        partition: 0,
                        offset: line,
                    };
                    origins.push(origin);
                    if let Some(originals) = &mut originals {
                        originals.push(origin, &Original::line(record));
                    }
                }
                Decoded::Bad(bad) => {
                    if let Some(event_time) = bad.event_time {
                        self.clock.advance(event_time);
                    }
                    let original = Original::line(record).to_owned();
                    let path = self.records.path();
                    self.bad.take(
                        LetterStage::Decode,
                        || place(path, line),
                        &bad.reason,
                        || original,
                    )?;
                }
            }
        }
        self.records_in += taken as u64;
        if taken == 0 {
            self.ended = true;
            self.clock.end();
            return Ok(Polled::Ended);
        }
        if origins.is_empty() {
            self.decoder.finish();
            return Ok(Polled::Nothing { progressed: true });
        }
        let columns = self.decoder.finish();
        if let Some(steps) = &self.steps {
            let clock = &mut self.clock;
            steps.stamp(&columns, &origins, &mut watermarks_before, clock);
        }
        let batch = Batch {
            columns,
            event_times,
            watermarks_before,
            origins,
            due_us,
            originals: originals.map(Arc::new),
        };
        batch.assert_consistent();
        Ok(Polled::Batch(batch))
    }

    fn watermark(&self) -> Option<Watermark> {
        Some(self.clock.watermark())
    }

    fn records_in(&self) -> u64 {
        self.records_in
    }

    fn extent(&self) -> Option<Extent> {
        self.records.extent()
    }

    fn figures(&self) -> SourceFigures {
        SourceFigures {
            records_in: self.records_in,
            bad_records: self.bad.left_out(),
            replayed_records: 0,
            partitions: vec![PartitionFigures {
                partition: 0,
                next_offset: self.records.line(),
                watermark: self.clock.watermark(),
            }],
        }
    }

    fn take_letters(&mut self) -> Vec<DeadLetter> {
        self.bad.take_letters()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;
    use std::path::Path;
    use std::sync::Arc;

    use datafusion_common::arrow::array::AsArray;
    use datafusion_common::arrow::datatypes::{
        DataType, Field, Int64Type, Schema, TimeUnit as ArrowUnit,
    };
    use flate2::write::GzEncoder;
    use tempfile::TempDir;

    use super::*;
    use crate::config::limits::FILE_READ_BYTES_MIN;
    use crate::config::options::{Compression, CsvOptions, FileOptions, Format, OnError, TimeUnit};
    use crate::error::{Error, Place};
    use crate::plan::{EventTimeColumn, EventTimeSpec, SourceConnector, StreamSpec};
    use crate::time::EventTime;

    /// A stream `n BIGINT, ts TIMESTAMP` in seconds with a bound of 2 s, read from `path`.
    pub(in crate::source) fn spec(path: &Path, format: Format, on_error: OnError) -> SourceSpec {
        let timestamp = DataType::Timestamp(ArrowUnit::Microsecond, None);
        let columns = Arc::new(Schema::new(vec![
            Field::new("n", DataType::Int64, true),
            Field::new("ts", timestamp, true),
        ]));
        let compression = match path.extension() {
            Some(extension) if extension == "zst" => Compression::Zstd,
            Some(extension) if extension == "gz" => Compression::Gzip,
            _ => Compression::None,
        };
        let options = FileOptions {
            path: path.to_path_buf(),
            format,
            compression,
            json_validate: Default::default(),
            deal: false,
            csv: CsvOptions {
                header: true,
                delimiter: b',',
                null: String::new(),
            },
        };
        let projected = Arc::new(columns.project(&[0]).expect("the first column"));
        let stream = StreamSpec {
            name: "numbers".to_owned(),
            columns,
            event_time: Some(EventTimeSpec {
                column: EventTimeColumn::Declared(1),
                bound_us: 2_000_000,
            }),
            on_error,
            dead_letter: None,
            event_time_unit: TimeUnit::Seconds,
            time: Default::default(),
            watermark_emit: Default::default(),
            connector: SourceConnector::File(options),
        };
        SourceSpec {
            stream: Arc::new(stream),
            projection: vec![0],
            projected,
            dealing: None,
        }
    }

    fn open(
        directory: &TempDir,
        name: &str,
        bytes: &[u8],
        on_error: OnError,
    ) -> Result<FileSource> {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).expect("a temporary file");
        let format = if name.contains("csv") {
            Format::Csv
        } else {
            Format::Json
        };
        FileSource::open(&spec(&path, format, on_error), Kernel::detect(true), || 77)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut member = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        member.write_all(bytes).expect("in memory");
        member.finish().expect("in memory")
    }

    /// Number, event time in seconds, watermark before in seconds, line.
    type Row = (i64, i64, Option<i64>, i64);

    fn rows(batch: &Batch) -> Vec<Row> {
        let numbers = batch.columns.column(0).as_primitive::<Int64Type>();
        (0..batch.len())
            .map(|row| {
                let EventTime(time) = batch.event_times[row];
                let before = batch.watermarks_before[row];
                let before = (before != Watermark::NONE).then_some(before.0 / 1_000_000);
                assert_eq!(batch.origins[row].partition, 0);
                (
                    numbers.value(row),
                    time / 1_000_000,
                    before,
                    batch.origins[row].offset,
                )
            })
            .collect()
    }

    fn read_all(source: &mut FileSource, max: usize) -> Vec<Row> {
        let mut all = Vec::new();
        loop {
            match source.poll(max).expect("readable") {
                Polled::Batch(batch) => {
                    assert!(batch.len() <= max);
                    assert_eq!(batch.due_us, 77);
                    all.extend(rows(&batch));
                    assert!(source.watermark() < Some(Watermark::END));
                }
                Polled::Nothing { progressed } => assert!(progressed),
                Polled::Ended => break,
                Polled::Stopped => panic!("nobody stops it"),
            }
        }
        assert_eq!(source.watermark(), Some(Watermark::END));
        assert!(matches!(source.poll(max), Ok(Polled::Ended)));
        all
    }

    const CSV: &str = "ts,n,note\r\n10,1,a\r\n15,2,\"two\nlines\"\r\n9,x,bad\r\n20,4,\r\n5,5,late";
    const CSV_ROWS: [Row; 4] = [
        (1, 10, None, 2),
        (2, 15, Some(8), 3),
        (4, 20, Some(13), 6),
        (5, 5, Some(18), 7),
    ];

    #[test]
    fn records_are_stamped_the_same_whatever_the_batches_and_the_compression() {
        let directory = TempDir::new().expect("a temporary directory");
        let compressed = zstd::encode_all(CSV.as_bytes(), 1).expect("in memory");
        // Two members one behind the other are one file, wherever a record is cut.
        let members = [gzip(&CSV.as_bytes()[..30]), gzip(&CSV.as_bytes()[30..])].concat();
        // Padding, within a read and over several.
        let padded = [members.as_slice(), &[0]].concat();
        let far_padded = [members.as_slice(), &[0; 3 * FILE_READ_BYTES_MIN]].concat();
        let marked = [b"\xef\xbb\xbf", CSV.as_bytes()].concat();
        for (name, bytes) in [
            ("a.csv", CSV.as_bytes()),
            ("a.csv.zst", &compressed),
            ("a.csv.gz", &members),
            ("p.csv.gz", &padded),
            ("q.csv.gz", &far_padded),
            ("m.csv", &marked),
        ] {
            for max in [1, 2, 1024] {
                let mut source = open(&directory, name, bytes, OnError::Skip).expect("it fits");
                assert_eq!(read_all(&mut source, max), CSV_ROWS);
                let figures = source.figures();
                assert_eq!((figures.records_in, figures.bad_records), (5, 1));
                assert_eq!(figures.partitions[0].next_offset, 8);
            }
        }
    }

    #[test]
    fn a_bad_record_still_advances_the_watermark() {
        let directory = TempDir::new().expect("a temporary directory");
        let lines = b"{\"n\":\"x\",\"ts\":100}\n{\"n\":2,\"ts\":50}\n{\"n\":3\n";
        let mut source = open(&directory, "a.json", lines, OnError::Skip).expect("JSON lines");
        assert_eq!(read_all(&mut source, 1), [(2, 50, Some(98), 2)]);
        assert_eq!(source.figures().bad_records, 2);
    }

    #[test]
    fn under_dead_letter_a_batch_keeps_its_records_and_bad_ones_are_letters() {
        let directory = TempDir::new().expect("a temporary directory");
        let bytes = CSV.as_bytes();
        let mut source = open(&directory, "a.csv", bytes, OnError::DeadLetter).expect("it fits");
        let Ok(Polled::Batch(batch)) = source.poll(1024) else {
            panic!("records of a file")
        };
        let originals = batch.originals.as_ref().expect("they are kept");
        let mut place = 0;
        let lines = batch.origins.iter().map(|&origin| {
            let found = originals.find(&mut place, origin).payload.expect("a line");
            String::from_utf8(found.to_vec()).expect("text")
        });
        let expected = ["10,1,a", "15,2,\"two\nlines\"", "20,4,", "5,5,late"];
        assert_eq!(lines.collect::<Vec<_>>(), expected);
        let letters = source.take_letters();
        assert_eq!((letters.len(), source.figures().bad_records), (1, 1));
        assert_eq!(
            letters[0].original.payload.as_deref(),
            Some(b"9,x,bad".as_slice())
        );
        assert!(matches!(letters[0].place, Place::Line { line: 5, .. }));
        assert!(source.take_letters().is_empty());

        let mut skip = open(&directory, "a.csv", bytes, OnError::Skip).expect("it fits");
        let Ok(Polled::Batch(batch)) = skip.poll(1024) else {
            panic!("records of a file")
        };
        assert!(batch.originals.is_none() && skip.take_letters().is_empty());
    }

    #[test]
    fn under_fail_a_bad_record_ends_the_run_and_names_its_line() {
        let directory = TempDir::new().expect("a temporary directory");
        let mut source = open(&directory, "a.csv", CSV.as_bytes(), OnError::Fail).expect("it fits");
        let Error::Data {
            stream,
            place: Place::Line { file, line },
            reason,
        } = source.poll(1024).expect_err("a bad record")
        else {
            panic!("another error");
        };
        assert_eq!((stream.as_str(), line), ("numbers", 5));
        assert!(file.ends_with("a.csv"));
        assert_eq!(reason, "column n: 'x' is not a BIGINT");
    }

    #[test]
    fn a_file_that_cannot_be_read_says_so_with_its_path() {
        let directory = TempDir::new().expect("a temporary directory");
        let missing = directory.path().join("missing.csv");
        let error = FileSource::open(
            &spec(&missing, Format::Csv, OnError::Fail),
            Kernel::detect(true),
            || 0,
        )
        .err();
        let text = error.expect("it is missing").to_string();
        assert!(
            text.starts_with("cannot open ") && text.contains("missing.csv: "),
            "{text}"
        );

        let mut compressed = zstd::encode_all(CSV.as_bytes(), 1).expect("in memory");
        compressed.truncate(compressed.len() / 2);
        let member = gzip(CSV.as_bytes());
        let whole_and_a_cut_one = [member.as_slice(), &member[..5]].concat();
        let padded_within = [member.as_slice(), &[0; 9], &member].concat();
        for (name, bytes) in [
            ("cut.csv.zst", compressed.as_slice()),
            ("not.csv.zst", CSV.as_bytes()),
            ("cut.csv.gz", &member[..member.len() / 2]),
            ("without_its_sum.csv.gz", &member[..member.len() - 4]),
            ("second_cut.csv.gz", &whole_and_a_cut_one),
            ("empty.csv.gz", b""),
            ("not.csv.gz", CSV.as_bytes()),
            ("not_padding.csv.gz", &padded_within),
        ] {
            let read = open(&directory, name, bytes, OnError::Skip);
            let error = read
                .and_then(|mut source| source.poll(1024))
                .expect_err("broken");
            assert!(
                matches!(error, Error::Disk(_)) && error.to_string().contains(name),
                "{error}"
            );
            let cut_off = error
                .to_string()
                .contains("ends within its compressed data");
            assert_eq!(cut_off, !name.starts_with("not"), "{name}: {error}");
        }
    }

    #[test]
    fn a_header_that_does_not_fit_names_the_file() {
        let directory = TempDir::new().expect("a temporary directory");
        for (bytes, message) in [
            (
                "n,time\n1,1\n",
                "a.csv: the header does not name column ts; it names n, time",
            ),
            (
                "",
                "a.csv is empty: it has no header; set csv.header = 'false' if it is to have none",
            ),
        ] {
            match open(&directory, "a.csv", bytes.as_bytes(), OnError::Fail) {
                Err(Error::Config(text)) => assert!(text.ends_with(message), "{text}"),
                _ => panic!("accepted {bytes:?}"),
            }
        }
    }

    #[test]
    fn an_empty_file_of_json_lines_has_ended() {
        let directory = TempDir::new().expect("a temporary directory");
        let mut source = open(&directory, "a.json", b"", OnError::Fail).expect("JSON lines");
        assert_eq!(read_all(&mut source, 10), []);
    }

    #[test]
    fn a_record_longer_than_the_first_buffer_is_whole() {
        let directory = TempDir::new().expect("a temporary directory");
        let long = "x".repeat(3 * FILE_READ_BYTES_MIN);
        let lines = format!("{{\"n\":1,\"ts\":1,\"x\":\"{long}\"}}\n{{\"n\":2,\"ts\":2}}\n");
        let mut source =
            open(&directory, "a.json", lines.as_bytes(), OnError::Fail).expect("JSON lines");
        assert_eq!(
            read_all(&mut source, 10),
            [(1, 1, None, 1), (2, 2, Some(-1), 2)]
        );
    }
}
