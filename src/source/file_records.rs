//! A file as records: opened, unpacked, framed, and the decoder of its format.
//!
//! ```text
//!   file --(zstd, gzip)--> buffer --Framer--> record, and the line on which it starts
//! ```
//!
//! Law: the same bytes give the same records, whoever reads them and however few are read at a time. Whether a record is
//! broken does not depend on what of it is decoded (`Wanted`).

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek};
use std::path::{Path, PathBuf};

use datafusion_common::arrow::array::RecordBatch;
use flate2::bufread::GzDecoder;

use crate::config::limits::FILE_READ_BYTES_MIN;
use crate::config::limits::RECORD_BYTES_MAX;
use crate::config::options::{Compression, FileOptions, Format};
use crate::error::{Error, Place, Result};
use crate::format::csv::CsvDecoder;
use crate::format::framing::{Frame, Framer, Framing};
use crate::format::json::JsonDecoder;
use crate::format::{Decoded, Decoder, Kernel};
use crate::plan::{EventTimeColumn, SourceConnector, SourceSpec, StreamSpec};
use crate::source::Extent;
use crate::time::{EventTime, PartitionClock};

const _: () = assert!(
    RECORD_BYTES_MAX > FILE_READ_BYTES_MIN,
    "the longest record is longer than a read"
);

/// What a decoder decodes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The columns of the projection and the event time, if the stream has one.
    All,
    /// The columns alone.
    Columns,
    /// The event time alone.
    EventTime,
}

/// The records of a file, as bytes.
pub(super) struct Records {
    path: PathBuf,
    /// The file under `reader`, to be asked how far it is read; nothing is read from here.
    file: File,
    reader: Box<dyn Read + Send>,
    framer: Framer,
    /// Read and not yet taken: `buffer[start..filled]`.
    buffer: Vec<u8>,
    start: usize,
    filled: usize,
    at_end: bool,
}

impl Records {
    /// Opens the file of `spec` and takes its header, if it is to have one.
    ///
    /// Fails with [`Error::Disk`] when the file cannot be read, and with [`Error::Config`] when there is no header.
    pub(super) fn open(spec: &SourceSpec) -> Result<(Records, Option<Vec<u8>>)> {
        let options = options(spec);
        let mut records = Records::open_file(options)?;
        let header = match options.format {
            Format::Csv if options.csv.header => Some(records.header()?),
            Format::Csv | Format::Json => None,
        };
        Ok((records, header))
    }

    fn open_file(options: &FileOptions) -> Result<Records> {
        let path = options.path.clone();
        let file = File::open(&path).map_err(|error| Error::disk("open", &path, &error))?;
        let under = file
            .try_clone()
            .map_err(|error| Error::disk("open", &path, &error))?;
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
            file: under,
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
    pub(super) fn next(&mut self) -> Result<Option<(&[u8], i64)>> {
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
                    offset(line),
                )));
            }
            if self.at_end {
                return Ok(None);
            }
            self.fill()?;
        }
    }

    /// The line on which the next record starts, from 1.
    pub(super) fn line(&self) -> i64 {
        offset(self.framer.line())
    }

    /// How far the file is read, in its own bytes, packed or not; `None` for what is no regular file.
    pub(super) fn extent(&self) -> Option<Extent> {
        let found = self.file.metadata().ok()?;
        let mut file = &self.file;
        let read = found.is_file().then(|| file.stream_position())?.ok()?;
        // It may grow while it is read.
        Some(Extent {
            read,
            whole: found.len().max(read),
        })
    }

    /// Where the file is.
    pub(super) fn path(&self) -> &Path {
        &self.path
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

/// The decoder of the file's format; which one is the same for every record.
pub(super) enum FileDecoder {
    Json(JsonDecoder),
    Csv(CsvDecoder),
}

impl FileDecoder {
    /// For the file of `spec`; `header` is what `Records::open` found.
    ///
    /// Fails with [`Error::Config`] when the header does not name the declared columns.
    pub(super) fn open(
        spec: &SourceSpec,
        wanted: Wanted,
        header: Option<&[u8]>,
        kernel: Kernel,
    ) -> Result<FileDecoder> {
        let (stream, options) = (&spec.stream, options(spec));
        let (columns, unit) = (&stream.columns, stream.event_time_unit);
        let projection = spec.decoded();
        let event_time = match wanted {
            Wanted::All => event_time_column(stream),
            Wanted::Columns => None,
            Wanted::EventTime => {
                let column = event_time_column(stream);
                Some(column.expect("the stream has an event time"))
            }
        };
        Ok(match options.format {
            Format::Json => {
                let decoder = match event_time.filter(|_| wanted == Wanted::EventTime) {
                    Some(column) => JsonDecoder::time_only(columns, projection, column, unit)?,
                    None => JsonDecoder::new(columns, projection, event_time, unit)?,
                };
                FileDecoder::Json(decoder.validating(options.json_validate).on(kernel))
            }
            Format::Csv => {
                // Which records of CSV are broken is decided by their quotes and the number of their fields.
                let projection = match wanted {
                    Wanted::All | Wanted::Columns => projection,
                    Wanted::EventTime => &[],
                };
                let csv = &options.csv;
                let decoder = CsvDecoder::new(columns, projection, event_time, unit, csv, header);
                let decoder = decoder.map_err(|error| match error {
                    Error::Config(message) => {
                        Error::Config(format!("{}: {message}", options.path.display()))
                    }
                    other => other,
                })?;
                FileDecoder::Csv(decoder.on(kernel))
            }
        })
    }

    #[inline]
    pub(super) fn decode(&mut self, record: &[u8]) -> Decoded {
        match self {
            FileDecoder::Json(decoder) => decoder.decode(record),
            FileDecoder::Csv(decoder) => decoder.decode(record),
        }
    }

    /// From now on, an event time that lies further ahead of `now_us` than `stream` allows makes a bad record.
    pub(super) fn limit(&mut self, stream_skew_us: Option<i64>, now_us: i64) {
        let latest = stream_skew_us.map_or(i64::MAX, |skew_us| now_us.saturating_add(skew_us));
        match self {
            FileDecoder::Json(decoder) => decoder.limit_event_time(EventTime(latest)),
            FileDecoder::Csv(decoder) => decoder.limit_event_time(EventTime(latest)),
        }
    }

    pub(super) fn finish(&mut self) -> RecordBatch {
        match self {
            FileDecoder::Json(decoder) => decoder.finish(),
            FileDecoder::Csv(decoder) => decoder.finish(),
        }
    }
}

/// The clock of the one partition of a file of `stream`, whose watermark every record moves.
pub(super) fn clock(stream: &StreamSpec) -> PartitionClock {
    let event_time = stream.event_time.as_ref();
    PartitionClock::new(event_time.map_or(0, |event_time| event_time.bound_us))
}

/// How messages name a line.
pub(super) fn place(path: &Path, line: i64) -> Place {
    Place::Line {
        file: path.display().to_string(),
        line: line.unsigned_abs(),
    }
}

fn offset(line: u64) -> i64 {
    i64::try_from(line).expect("a file has fewer lines than that")
}

fn options(spec: &SourceSpec) -> &FileOptions {
    match &spec.stream.connector {
        SourceConnector::File(options) => options,
        _ => panic!("stream {} is not a file", spec.stream.name),
    }
}

fn event_time_column(stream: &StreamSpec) -> Option<usize> {
    let event_time = stream.event_time.as_ref()?;
    match event_time.column {
        EventTimeColumn::Declared(column) => Some(column),
        EventTimeColumn::Message | EventTimeColumn::Row => {
            panic!("a line of a file has no time of its own")
        }
    }
}
