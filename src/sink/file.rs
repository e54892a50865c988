//! A file as a sink: a row a line, plain or `.zst`.
//!
//! Law: the file is made anew at the start, and whole whenever rows have been acknowledged: what is handed on at once makes
//! one zstd frame, and frames one behind the other are one file. A full disk is `Error::Disk`, with the path.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use zstd::bulk::Compressor;
use zstd::zstd_safe::CompressionLevel;

use super::lines::Lines;
use super::{Acknowledged, RowBlock, Sink};
use crate::config::options::{Compression, FileOptions};
use crate::error::{Error, Result};

/// The library's own default: a good ratio at some hundred megabytes a second.
const LEVEL: CompressionLevel = zstd::DEFAULT_COMPRESSION_LEVEL;

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
            Ok(Frames {
                file: File::create(&path)?,
                compressor: match options.compression {
                    Compression::None => None,
                    Compression::Zstd => Some(Compressor::new(LEVEL)?),
                },
            })
        };
        match create() {
            Ok(frames) => Ok(FileSink {
                path,
                lines: Lines::new(frames, header),
            }),
            Err(error) => Err(Error::disk("create", &path, &error)),
        }
    }
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
            .hand_on(acknowledged)
            .map_err(|error| Error::disk("write", &self.path, &error))
    }
}

/// A file that takes whole pieces, each of which may become a frame.
struct Frames {
    file: File,
    compressor: Option<Compressor<'static>>,
}

impl Write for Frames {
    /// Takes all of `piece`.
    fn write(&mut self, piece: &[u8]) -> std::io::Result<usize> {
        match &mut self.compressor {
            None => self.file.write_all(piece)?,
            Some(compressor) => self.file.write_all(&compressor.compress(piece)?)?,
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
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
            csv,
        }
    }

    fn block(row: &str) -> RowBlock {
        let values = EncodedRows {
            bytes: row.as_bytes().to_vec(),
            ends: vec![row.len()],
        };
        RowBlock {
            values,
            keys: None,
            event_times_us: Vec::new(),
            due_us: 0,
        }
    }

    #[test]
    fn the_file_is_whole_after_every_flush() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for compression in [Compression::None, Compression::Zstd] {
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
                let bytes = std::fs::read(&path).expect("readable");
                let text = match compression {
                    Compression::None => bytes,
                    Compression::Zstd => zstd::decode_all(bytes.as_slice()).expect("whole frames"),
                };
                assert_eq!(String::from_utf8(text).expect("text"), expected);
            }
            assert_eq!(rows, 3);
        }
    }

    #[test]
    fn a_full_disk_and_a_missing_directory_say_so_with_the_path() {
        let full = PathBuf::from("/dev/full");
        for compression in [Compression::None, Compression::Zstd] {
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
