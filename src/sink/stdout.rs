//! Standard output as a sink: a row a line.
//!
//! Law: when the reader goes away (`velo run .. | head`), that is `Error::Closed`, which ends the run quietly.

use std::io::{ErrorKind, Stdout, Write};

use super::lines::Lines;
use super::{Acknowledged, RowBlock, Sink};
use crate::error::{Error, Result};

/// Writes rows to standard output.
pub struct StdoutSink<W: Write = Stdout> {
    lines: Lines<W>,
}

impl StdoutSink {
    /// `header` stands above the rows, if the format has one.
    pub fn new(header: Option<&[u8]>) -> StdoutSink {
        StdoutSink {
            lines: Lines::new(std::io::stdout(), header),
        }
    }
}

impl<W: Write + Send> Sink for StdoutSink<W> {
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
