//! Standard output as a sink: a row a line.
//!
//! Laws: when the reader goes away (`velo run .. | head`), that is `Error::Closed`, which ends the run quietly. A reader that
//! takes nothing stops nobody but the shards: the job's thread waits for it a few milliseconds at a time, and goes on looking at
//! its signals.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use velostream_shards::wait_writable;

use super::lines::Lines;
use super::{Acknowledged, RowBlock, Sink};
use crate::config::limits::STDOUT_WAIT_MS;
use crate::error::{Error, Result};

/// Writes rows to standard output.
pub struct StdoutSink<W: Write = Patient> {
    lines: Lines<W>,
}

impl StdoutSink {
    /// `header` stands above the rows, if the format has one.
    ///
    /// Fails with [`Error::Disk`] when standard output is closed.
    pub fn new(header: Option<&[u8]>) -> Result<StdoutSink> {
        let patient = Patient::stdout().map_err(|error| failed(&error))?;
        Ok(StdoutSink {
            lines: Lines::new(patient, header),
        })
    }
}

/// What a pipe that says it is writable takes without blocking (PIPE_BUF of Linux).
const PIECE_BYTES: usize = 4096;

/// Standard output, written so that a write never waits for its reader for long.
pub struct Patient {
    /// A descriptor of its own, without the buffer of the library's.
    file: File,
    /// What is no pipe or terminal takes all at once.
    is_file: bool,
}

impl Patient {
    fn stdout() -> std::io::Result<Patient> {
        let file = File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
        let is_file = file.metadata()?.is_file();
        Ok(Patient { file, is_file })
    }
}

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.is_file {
            return self.file.write(bytes);
        }
        match wait_writable(self.file.as_fd(), Duration::from_millis(STDOUT_WAIT_MS)) {
            true => self.file.write(&bytes[..bytes.len().min(PIECE_BYTES)]),
            false => Err(ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<W: Write + Send> Sink for StdoutSink<W> {
    fn has_room(&self) -> bool {
        self.lines.has_room()
    }

    fn write(&mut self, block: RowBlock, acknowledged: &mut dyn FnMut(Acknowledged)) -> Result<()> {
        self.lines
            .write(&block, acknowledged)
            .map_err(|error| failed(&error))
    }

    fn poll(&mut self, acknowledged: &mut dyn FnMut(Acknowledged)) -> Result<()> {
        self.lines
            .poll(acknowledged)
            .map_err(|error| failed(&error))
    }

    fn flush(&mut self, acknowledged: &mut dyn FnMut(Acknowledged)) -> Result<()> {
        self.lines
            .flush(acknowledged)
            .map_err(|error| failed(&error))
    }
}

fn failed(error: &std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::BrokenPipe => Error::Closed("the reader of standard output has gone".to_owned()),
        _ => Error::Disk(format!("cannot write to standard output: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::exit;
    use crate::format::EncodedRows;

    /// Refuses every byte.
    struct Refusing(ErrorKind);

    impl Write for Refusing {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn flush_to(kind: ErrorKind) -> Error {
        let mut sink = StdoutSink {
            lines: Lines::new(Refusing(kind), None),
        };
        let values = EncodedRows {
            bytes: b"a".to_vec(),
            ends: vec![1],
        };
        let block = RowBlock {
            envelopes: Vec::new(),
            query: 0,
            epoch: 0,
            values,
            keys: None,
            event_times_us: Vec::new(),
            due_us: 0,
            ready_ns: 0,
        };
        let mut nobody = |_| panic!("a row that did not leave was acknowledged");
        sink.write(block, &mut nobody).expect("it is gathered");
        sink.flush(&mut nobody).expect_err("refused")
    }

    #[test]
    fn a_reader_that_has_gone_is_no_failure_and_a_full_disk_is() {
        assert_eq!(flush_to(ErrorKind::BrokenPipe).exit_code(), exit::OK);
        assert_eq!(flush_to(ErrorKind::StorageFull).exit_code(), exit::DISK);
    }
}
