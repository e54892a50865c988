//! A file as a sink: a row a line, plain, `.zst` or `.gz`.
//!
//! Law: the file is made anew at the start, or gone on with behind its last whole row (`go_on`), and whole whenever rows have
//! been acknowledged: what is handed on at once makes one zstd frame or one gzip member, and frames or members one behind the
//! other are one file. One without a row is whole too: a compressed file holds an empty frame or member, because no bytes at all
//! are none. A full disk is `Error::Disk`, with the path.
//!
//! A file of dead letters is always gone on with: a run that begins again must not lose what an earlier one could not use.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;
use zstd::bulk::Compressor;
use zstd::zstd_safe::CompressionLevel;

use super::lines::Lines;
use super::{Acknowledged, RowBlock, Sink};
use crate::config::options::{Compression, FileOptions};
use crate::error::{Error, Result};

/// The library's own default: a good ratio at some hundred megabytes a second.
const ZSTD_LEVEL: CompressionLevel = zstd::DEFAULT_COMPRESSION_LEVEL;

/// What gzip itself does unless asked.
const GZIP_LEVEL: u32 = 6;

/// Writes rows to a file.
pub struct FileSink {
    path: PathBuf,
    lines: Lines<Frames>,
}

impl FileSink {
    /// Makes the file, or empties it. `header` stands above the rows, if the format has one.
    ///
    /// Fails with [`Error::Disk`] when it cannot be made.
    pub fn create(options: &FileOptions, header: Option<&[u8]>) -> Result<FileSink> {
        let path = options.path.clone();
        let create = || {
            let file = File::create(&path)?;
            let form = match options.compression {
                Compression::None => Form::Plain,
                Compression::Zstd => Form::Zstd(Compressor::new(ZSTD_LEVEL)?),
                Compression::Gzip => Form::Gzip,
            };
            Ok(Frames::new(file, form))
        };
        match create() {
            Ok(frames) => Ok(FileSink {
                path,
                lines: Lines::new(frames, header),
            }),
            Err(error) => Err(Error::disk("create", &path, &error)),
        }
    }

    /// Opens a plain file of lines, or makes it, to write behind what is there. A line that an earlier run had not written whole
    /// was never acknowledged, and is cut off.
    ///
    /// Fails with [`Error::Disk`] when that cannot be done.
    pub fn go_on(path: &Path) -> Result<FileSink> {
        let open = || {
            let mut options = File::options();
            let mut file = options.read(true).append(true).create(true).open(path)?;
            // What is no regular file keeps nothing.
            if file.metadata()?.is_file() {
                let (whole, all) = whole_lines(&mut file)?;
                // Only a torn line: who else appends to the file may have written since.
                if whole < all {
                    file.set_len(whole)?;
                }
            }
            Ok(Frames::new(file, Form::Plain))
        };
        match open() {
            Ok(frames) => Ok(FileSink {
                path: path.to_owned(),
                lines: Lines::new(frames, None),
            }),
            Err(error) => Err(Error::disk("go on with", path, &error)),
        }
    }
}

/// The length of `file` up to and with its last line break, and all of it.
fn whole_lines(file: &mut File) -> std::io::Result<(u64, u64)> {
    const STEP: u64 = 64 << 10;
    let all = file.seek(SeekFrom::End(0))?;
    let mut end = all;
    let mut bytes = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(STEP);
        bytes.resize((end - start) as usize, 0);
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut bytes)?;
        if let Some(place) = bytes.iter().rposition(|&byte| byte == b'\n') {
            return Ok((start + place as u64 + 1, all));
        }
        end = start;
    }
    Ok((0, all))
}

impl Sink for FileSink {
    fn write(&mut self, block: RowBlock, acknowledged: &mut dyn FnMut(Acknowledged)) -> Result<()> {
        let written = self.lines.write(&block, acknowledged);
        written.map_err(|error| Error::disk("write", &self.path, &error))
    }

    fn poll(&mut self, acknowledged: &mut dyn FnMut(Acknowledged)) -> Result<()> {
        self.lines
            .poll(acknowledged)
            .map_err(|error| Error::disk("write", &self.path, &error))
    }

    fn flush(&mut self, acknowledged: &mut dyn FnMut(Acknowledged)) -> Result<()> {
        self.lines
            .flush(acknowledged)
            .map_err(|error| Error::disk("write", &self.path, &error))
    }
}

/// A file that takes whole pieces, each of which may become a frame or a member.
struct Frames {
    file: File,
    /// Whether no piece has come yet.
    is_empty: bool,
    form: Form,
}

/// What becomes of a piece.
enum Form {
    Plain,
    Zstd(Compressor<'static>),
    Gzip,
}

impl Frames {
    fn new(file: File, form: Form) -> Frames {
        Frames {
            file,
            is_empty: true,
            form,
        }
    }

    /// Writes `piece`, which may be empty, as a frame or a member of its own.
    fn put(&mut self, piece: &[u8]) -> std::io::Result<()> {
        self.is_empty = false;
        match &mut self.form {
            Form::Plain => self.file.write_all(piece),
            Form::Zstd(compressor) => self.file.write_all(&compressor.compress(piece)?),
            Form::Gzip => {
                let level = flate2::Compression::new(GZIP_LEVEL);
                let mut member = GzEncoder::new(Vec::new(), level);
                member.write_all(piece)?;
                self.file.write_all(&member.finish()?)
            }
        }
    }
}

impl Write for Frames {
    /// Takes all of `piece`.
    fn write(&mut self, piece: &[u8]) -> std::io::Result<usize> {
        self.put(piece)?;
        Ok(piece.len())
    }

    /// Leaves a whole file.
    fn flush(&mut self) -> std::io::Result<()> {
        if self.is_empty {
            self.put(&[])?;
        }
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::options::{CsvOptions, Format};
    use crate::error::exit;
    use crate::format::EncodedRows;

    fn options(path: PathBuf, compression: Compression) -> FileOptions {
        let csv = CsvOptions {
            header: true,
            delimiter: b',',
            null: String::new(),
        };
        FileOptions {
            path,
            format: Format::Csv,
            compression,
            json_validate: Default::default(),
            deal: false,
            csv,
        }
    }

    fn block(row: &str) -> RowBlock {
        let values = EncodedRows {
            bytes: row.as_bytes().to_vec(),
            ends: vec![row.len()],
        };
        RowBlock {
            envelopes: Vec::new(),
            query: 0,
            epoch: 0,
            values,
            keys: None,
            event_times_us: Vec::new(),
            due_us: 0,
            ready_ns: 0,
        }
    }

    /// What other programs find in the file.
    fn unpacked(path: &Path, compression: Compression) -> String {
        let bytes = std::fs::read(path).expect("readable");
        let text = match compression {
            Compression::None => bytes,
            Compression::Zstd => zstd::decode_all(bytes.as_slice()).expect("whole frames"),
            Compression::Gzip => {
                let mut text = Vec::new();
                flate2::read::MultiGzDecoder::new(bytes.as_slice())
                    .read_to_end(&mut text)
                    .expect("whole members");
                text
            }
        };
        String::from_utf8(text).expect("text")
    }

    #[test]
    fn the_file_is_whole_after_every_flush() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for compression in [Compression::None, Compression::Zstd, Compression::Gzip] {
            let path = directory.path().join("rows");
            let mut sink = FileSink::create(&options(path.clone(), compression), Some(b"a"))
                .expect("a new file");
            let mut expected = "a\n".to_owned();
            let mut rows = 0;
            for row in ["1", "2", "3"] {
                sink.write(block(row), &mut |ack| rows += ack.rows)
                    .expect("room");
                sink.flush(&mut |ack| rows += ack.rows).expect("room");
                expected.push_str(row);
                expected.push('\n');
                assert_eq!(unpacked(&path, compression), expected);
            }
            assert_eq!(rows, 3);
        }
    }

    /// Regression: such a file had no bytes at all, which neither gzip nor velo reads.
    #[test]
    fn a_file_without_a_row_or_a_header_is_whole() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for compression in [Compression::None, Compression::Zstd, Compression::Gzip] {
            let path = directory.path().join("rows");
            let mut sink =
                FileSink::create(&options(path.clone(), compression), None).expect("a new file");
            let mut nobody = |_| unreachable!("no row");
            sink.flush(&mut nobody).expect("room");
            let bytes = std::fs::read(&path).expect("readable");
            assert_eq!(bytes.is_empty(), compression == Compression::None);
            sink.flush(&mut nobody).expect("room");
            assert_eq!(std::fs::read(&path).expect("readable"), bytes);
            assert_eq!(unpacked(&path, compression), "");
        }
    }

    #[test]
    fn a_file_is_gone_on_with_behind_its_last_whole_row() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("rows");
        let long = "x".repeat(200_000);
        for (before, kept) in [
            (None, ""),
            (Some("1\n2\n".to_owned()), "1\n2\n"),
            (Some("1\n2".to_owned()), "1\n"),
            (Some("12".to_owned()), ""),
            (Some(format!("1\n{long}")), "1\n"),
        ] {
            // The first run finds no file.
            if let Some(before) = before {
                std::fs::write(&path, before).expect("room");
            }
            let mut sink = FileSink::go_on(&path).expect("it can be written");
            sink.write(block("new"), &mut |_| ()).expect("room");
            sink.flush(&mut |_| ()).expect("room");
            let text = std::fs::read_to_string(&path).expect("readable");
            assert_eq!(text, format!("{kept}new\n"));
        }
    }

    #[test]
    fn a_full_disk_and_a_missing_directory_say_so_with_the_path() {
        let full = PathBuf::from("/dev/full");
        for compression in [Compression::None, Compression::Zstd, Compression::Gzip] {
            let mut sink = FileSink::create(&options(full.clone(), compression), None)
                .expect("it can be opened");
            let mut nobody = |_| panic!("a row that did not leave was acknowledged");
            sink.write(block("1"), &mut nobody).expect("it is gathered");
            let error = sink.flush(&mut nobody).expect_err("full");
            assert_eq!(error.exit_code(), exit::DISK);
            assert!(
                error
                    .to_string()
                    .starts_with("cannot write /dev/full: No space left"),
                "{error}"
            );
        }
        let missing = directory_that_is_not_there();
        let error = FileSink::create(&options(missing, Compression::None), None)
            .err()
            .expect("missing");
        assert!(error.to_string().starts_with("cannot create "), "{error}");
    }

    fn directory_that_is_not_there() -> PathBuf {
        std::env::temp_dir()
            .join("velostream-no-such-directory")
            .join("rows.csv")
    }
}
