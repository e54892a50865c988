//! A file as a source: CSV or JSON lines, plain, `.zst` or `.gz`.
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
//! It does not deal a file to several shards, and it does not wait for a file to grow.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use datafusion_common::arrow::array::RecordBatch;
use flate2::bufread::GzDecoder;

use super::BadRecords;
use super::{PartitionFigures, Polled, Source, SourceFigures};
use crate::batch::{Batch, Origin};
use crate::config::limits::FILE_READ_BYTES_MIN;
use crate::config::limits::RECORD_BYTES_MAX;
use crate::config::options::{Compression, FileOptions, Format};
use crate::error::{Error, Place, Result};
use crate::format::csv::CsvDecoder;
use crate::format::framing::{Frame, Framer, Framing};
use crate::format::json::JsonDecoder;
use crate::format::{Decoded, Decoder, Kernel};
use crate::plan::{EventTimeColumn, SourceConnector, SourceSpec};
use crate::time::{PartitionClock, Watermark};

const _: () = assert!(
    RECORD_BYTES_MAX > FILE_READ_BYTES_MIN,
    "the longest record is longer than a read"
);

/// Reads one file.
pub struct FileSource {
    records: Records,
    decoder: FileDecoder,
    clock: PartitionClock,
    bad: BadRecords,
    wall_us: fn() -> i64,
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
        let SourceConnector::File(options) = &stream.connector else {
            panic!("stream {} is not a file", stream.name);
        };
        let event_time = stream
            .event_time
            .as_ref()
            .map(|event_time| match event_time.column {
                EventTimeColumn::Declared(column) => column,
                EventTimeColumn::Message | EventTimeColumn::Row => {
                    panic!("a line of a file has no time of its own")
                }
            });
        let bound_us = stream
            .event_time
            .as_ref()
            .map_or(0, |event_time| event_time.bound_us);

        let mut records = Records::open(options)?;
        let unit = stream.event_time_unit;
        let (columns, projection) = (&stream.columns, spec.projection.as_slice());
        let decoder = match options.format {
            Format::Json => {
                let decoder = JsonDecoder::new(columns, projection, event_time, unit)?;
                FileDecoder::Json(decoder.validating(options.json_validate).on(kernel))
            }
            Format::Csv => {
                let csv = &options.csv;
                let header = if csv.header {
                    Some(records.header()?)
                } else {
                    None
                };
                let decoder = CsvDecoder::new(
                    columns,
                    projection,
                    event_time,
                    unit,
                    csv,
                    header.as_deref(),
                );
                let decoder = decoder.map_err(|error| match error {
                    Error::Config(message) => {
                        Error::Config(format!("{}: {message}", options.path.display()))
                    }
                    other => other,
                })?;
                FileDecoder::Csv(decoder.on(kernel))
            }
        };
        Ok(FileSource {
            records,
            decoder,
            clock: PartitionClock::new(bound_us),
            bad: BadRecords::new(&stream.name, stream.on_error),
            wall_us,
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
        let mut taken = 0;
        let mut event_times = Vec::new();
        let mut watermarks_before = Vec::new();
        let mut origins = Vec::with_capacity(max);
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
                    let offset = i64::try_from(line).expect("a file has fewer lines than that");
                    origins.push(Origin {
                        partition: 0,
                        offset,
                    });
                }
                Decoded::Bad(bad) => {
                    if let Some(event_time) = bad.event_time {
                        self.clock.advance(event_time);
                    }
                    let path = &self.records.path;
                    self.bad.take(|| place(path, line), &bad.reason)?;
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
        let batch = Batch {
            columns,
            event_times,
            watermarks_before,
            origins,
            due_us,
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

    fn figures(&self) -> SourceFigures {
        SourceFigures {
            records_in: self.records_in,
            bad_records: self.bad.skipped(),
            partitions: vec![PartitionFigures {
                partition: 0,
                next_offset: i64::try_from(self.records.framer.line())
                    .expect("a file has fewer lines than that"),
                watermark: self.clock.watermark(),
            }],
        }
    }
}

fn place(path: &Path, line: u64) -> Place {
    Place::Line {
        file: path.display().to_string(),
        line,
    }
}

/// The decoder of the file's format; which one is the same for every record.
enum FileDecoder {
    Json(JsonDecoder),
    Csv(CsvDecoder),
}

impl FileDecoder {
    #[inline]
    fn decode(&mut self, record: &[u8]) -> Decoded {
        match self {
            FileDecoder::Json(decoder) => decoder.decode(record),
            FileDecoder::Csv(decoder) => decoder.decode(record),
        }
    }

    fn finish(&mut self) -> RecordBatch {
        match self {
            FileDecoder::Json(decoder) => decoder.finish(),
            FileDecoder::Csv(decoder) => decoder.finish(),
        }
    }
}

/// The records of a file, as bytes.
struct Records {
    path: PathBuf,
    reader: Box<dyn Read + Send>,
    framer: Framer,
    /// Read and not yet taken: `buffer[start..filled]`.
    buffer: Vec<u8>,
    start: usize,
    filled: usize,
    at_end: bool,
}

impl Records {
    fn open(options: &FileOptions) -> Result<Records> {
        let path = options.path.clone();
        let file = File::open(&path).map_err(|error| Error::disk("open", &path, &error))?;
        let reader: Box<dyn Read + Send> = match options.compression {
            Compression::None => Box::new(file),
            Compression::Zstd => Box::new(
                zstd::Decoder::new(file).map_err(|error| Error::disk("read", &path, &error))?,
            ),
            Compression::Gzip => Box::new(Members::new(file)),
        };
        let framing = match options.format {
            Format::Json => Framing::Lines,
            Format::Csv => Framing::Csv {
                delimiter: options.csv.delimiter,
            },
        };
        let mut records = Records {
            path,
            reader,
            framer: Framer::new(framing),
            buffer: Vec::new(),
            start: 0,
            filled: 0,
            at_end: false,
        };
        records.skip_byte_order_mark()?;
        Ok(records)
    }

    /// The next record and the line on which it starts; `None` behind the last.
    #[inline]
    fn next(&mut self) -> Result<Option<(&[u8], u64)>> {
        loop {
            if let Some(frame) = self
                .framer
                .next(&self.buffer[self.start..self.filled], self.at_end)
            {
                let Frame {
                    record,
                    consumed,
                    line,
                } = frame;
                let start = self.start;
                self.start += consumed;
                return Ok(Some((
                    &self.buffer[start + record.start..start + record.end],
                    line,
                )));
            }
            if self.at_end {
                return Ok(None);
            }
            self.fill()?;
        }
    }

    /// The record that names the columns.
    fn header(&mut self) -> Result<Vec<u8>> {
        if let Some((header, _)) = self.next()? {
            return Ok(header.to_vec());
        }
        Err(Error::Config(format!(
            "{} is empty: it has no header; set csv.header = 'false' if it is to have none",
            self.path.display()
        )))
    }

    /// Reads more behind what has not been taken.
    #[cold]
    fn fill(&mut self) -> Result<()> {
        self.buffer.copy_within(self.start..self.filled, 0);
        self.filled -= self.start;
        self.start = 0;
        if self.filled > RECORD_BYTES_MAX {
            return Err(Error::Config(format!(
                "{} line {}: a record is longer than {} MiB; is a quote never closed, or the format another?",
                self.path.display(),
                self.framer.line(),
                RECORD_BYTES_MAX >> 20
            )));
        }
        if self.buffer.len() - self.filled < FILE_READ_BYTES_MIN {
            // At least doubled, so that a long record is searched a bounded number of times over.
            self.buffer
                .resize((self.buffer.len() * 2).max(2 * FILE_READ_BYTES_MIN), 0);
        }
        loop {
            match self.reader.read(&mut self.buffer[self.filled..]) {
                Ok(read) => {
                    self.filled += read;
                    self.at_end = read == 0;
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    return Err(Error::Disk(format!(
                        "cannot read {}: it ends within its compressed data; was it cut off, or is it still being written?",
                        self.path.display()
                    )));
                }
                Err(error) => return Err(Error::disk("read", &self.path, &error)),
            }
        }
    }

    /// Some writers open a UTF-8 text with a mark that belongs to no record.
    fn skip_byte_order_mark(&mut self) -> Result<()> {
        const MARK: &[u8] = b"\xef\xbb\xbf";
        while self.filled < MARK.len() && !self.at_end {
            self.fill()?;
        }
        if self.buffer[..self.filled].starts_with(MARK) {
            self.start = MARK.len();
        }
        Ok(())
    }
}

/// The members of a gzip file, one behind the other.
struct Members<R> {
    /// The one that is read; `None` behind the last.
    member: Option<GzDecoder<BufReader<R>>>,
}

impl<R: Read> Members<R> {
    fn new(file: R) -> Members<R> {
        let file = BufReader::with_capacity(FILE_READ_BYTES_MIN, file);
        Members {
            member: Some(GzDecoder::new(file)),
        }
    }
}

impl<R: Read> Read for Members<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let read = member.read(into)?;
            if read > 0 || into.is_empty() {
                return Ok(read);
            }
            let is_padded = skip_zeros(member.get_mut())?;
            let rest = member.get_mut().fill_buf()?;
            let is_last = rest.is_empty();
            if is_padded && !is_last {
                return Err(io::Error::new(
                    ErrorKind::InvalidData,
                    "something follows the zeros behind its compressed data",
                ));
            }
            let file = self.member.take().map(GzDecoder::into_inner);
            self.member = file.filter(|_| !is_last).map(GzDecoder::new);
        }
        Ok(0)
    }
}

/// Takes the zeros that come next; whether there were any.
fn skip_zeros(file: &mut impl BufRead) -> io::Result<bool> {
    let mut any = false;
    loop {
        let buffer = file.fill_buf()?;
        let zeros = buffer.iter().take_while(|byte| **byte == 0).count();
        let is_through = zeros < buffer.len() || buffer.is_empty();
        file.consume(zeros);
        any |= zeros > 0;
        if is_through {
            return Ok(any);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use datafusion_common::arrow::array::AsArray;
    use datafusion_common::arrow::datatypes::{
        DataType, Field, Int64Type, Schema, TimeUnit as ArrowUnit,
    };
    use flate2::write::GzEncoder;
    use tempfile::TempDir;

    use super::*;
    use crate::config::options::{CsvOptions, OnError, TimeUnit};
    use crate::plan::{EventTimeSpec, StreamSpec};
    use crate::time::EventTime;

    /// A stream `n BIGINT, ts TIMESTAMP` in seconds with a bound of 2 s, read from `path`.
    fn spec(path: &Path, format: Format, on_error: OnError) -> SourceSpec {
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
            event_time_unit: TimeUnit::Seconds,
            connector: SourceConnector::File(options),
        };
        SourceSpec {
            stream: Arc::new(stream),
            projection: vec![0],
            projected,
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
