//! Rows as lines of one byte stream: what standard output and files share.
//!
//! Law: a row is acknowledged once its bytes were handed to the operating system, in the order of writing, and each block's
//! rows exactly once. What waits here is bounded by `SINK_BUFFER_BYTES` and one block. A writer that would block (it says so)
//! leaves the rest here, and there is no room until it has been handed on.

use std::io::{ErrorKind, Result, Write};

use crate::config::limits::SINK_BUFFER_BYTES;

use super::{Acknowledged, RowBlock};

/// Gathers lines for a writer.
pub(super) struct Lines<W> {
    writer: W,
    buffer: Vec<u8>,
    /// Bytes of it that the writer has taken.
    taken: usize,
    /// Whether the writer takes no more at present.
    blocked: bool,
    /// What is acknowledged once the buffer has been handed on.
    pending: Vec<Acknowledged>,
    /// Whether a block came since the last poll.
    busy: bool,
}

impl<W: Write> Lines<W> {
    /// `header` is written before the first row, as a line or several.
    pub(super) fn new(writer: W, header: Option<&[u8]>) -> Lines<W> {
        let mut lines = Lines {
            writer,
            buffer: Vec::new(),
            taken: 0,
            blocked: false,
            pending: Vec::new(),
            busy: false,
        };
        if let Some(header) = header {
            lines.buffer.extend_from_slice(header);
            lines.buffer.push(b'\n');
        }
        lines
    }

    /// Whether a block may be written.
    pub(super) fn has_room(&self) -> bool {
        !self.blocked
    }

    /// Takes a block; hands the buffer on when it is full.
    pub(super) fn write(
        &mut self,
        block: &RowBlock,
        acknowledged: &mut dyn FnMut(Acknowledged),
    ) -> Result<()> {
        let rows = &block.values;
        self.buffer.reserve(rows.bytes.len() + rows.len());
        let mut start = 0;
        for &end in &rows.ends {
            self.buffer.extend_from_slice(&rows.bytes[start..end]);
            self.buffer.push(b'\n');
            start = end;
        }
        if !rows.is_empty() {
            self.pending.push(Acknowledged {
                query: block.query,
                epoch: block.epoch,
                rows: rows.len() as u64,
                due_us: block.due_us,
            });
        }
        self.busy = true;
        if self.buffer.len() >= SINK_BUFFER_BYTES {
            self.hand_on(acknowledged)
        } else {
            Ok(())
        }
    }

    /// Hands the buffer on if nothing has come since the last poll: while rows stream, larger writes are cheaper; when they
    /// pause, nobody should wait.
    pub(super) fn poll(&mut self, acknowledged: &mut dyn FnMut(Acknowledged)) -> Result<()> {
        if std::mem::take(&mut self.busy) {
            Ok(())
        } else {
            self.hand_on(acknowledged)
        }
    }

    /// Hands everything on, and lets the writer finish what it has made: also one to which nothing was ever handed.
    pub(super) fn flush(&mut self, acknowledged: &mut dyn FnMut(Acknowledged)) -> Result<()> {
        loop {
            self.hand_on(&mut *acknowledged)?;
            if !self.blocked {
                return self.writer.flush();
            }
        }
    }

    /// Hands on what there is, as far as the writer takes it.
    fn hand_on(&mut self, acknowledged: &mut dyn FnMut(Acknowledged)) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        while self.taken < self.buffer.len() {
            match self.writer.write(&self.buffer[self.taken..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(taken) => self.taken += taken,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.blocked = true;
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        self.writer.flush()?;
        self.buffer.clear();
        self.taken = 0;
        self.blocked = false;
        self.pending.drain(..).for_each(acknowledged);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::EncodedRows;

    fn block(rows: &[&str], due_us: i64) -> RowBlock {
        let mut values = EncodedRows::default();
        for row in rows {
            values.bytes.extend_from_slice(row.as_bytes());
            values.ends.push(values.bytes.len());
        }
        RowBlock {
            envelopes: Vec::new(),
            query: 0,
            epoch: 0,
            values,
            keys: None,
            event_times_us: Vec::new(),
            due_us,
            ready_ns: 0,
        }
    }

    #[test]
    fn rows_are_acknowledged_once_they_were_handed_on() {
        let mut lines = Lines::new(Vec::new(), Some(b"head"));
        let mut seen = Vec::new();
        lines
            .write(&block(&["a", "", "c"], 7), &mut |ack| seen.push(ack))
            .expect("memory");
        lines
            .write(&block(&[], 8), &mut |ack| seen.push(ack))
            .expect("memory");
        lines.poll(&mut |ack| seen.push(ack)).expect("memory");
        assert_eq!((seen.len(), lines.writer.len()), (0, 0));
        lines.poll(&mut |ack| seen.push(ack)).expect("memory");
        let acknowledged = Acknowledged {
            query: 0,
            epoch: 0,
            rows: 3,
            due_us: 7,
        };
        assert_eq!(seen, [acknowledged]);
        assert_eq!(lines.writer, b"head\na\n\nc\n");
        lines.flush(&mut |ack| seen.push(ack)).expect("memory");
        assert_eq!(seen.len(), 1);
    }

    #[test]
    fn a_full_buffer_is_handed_on_at_once() {
        let mut lines = Lines::new(Vec::new(), None);
        let mut rows = 0;
        let row = "x".repeat(SINK_BUFFER_BYTES);
        lines
            .write(&block(&[&row], 0), &mut |ack| rows += ack.rows)
            .expect("memory");
        assert_eq!((rows, lines.writer.len()), (1, SINK_BUFFER_BYTES + 1));
    }

    /// Takes what it was told, then would block until it is told again.
    struct Shy {
        takes: usize,
        taken: Vec<u8>,
    }

    impl Write for Shy {
        fn write(&mut self, bytes: &[u8]) -> Result<usize> {
            let taken = bytes.len().min(self.takes);
            if taken == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            self.takes -= taken;
            self.taken.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_a_writer_does_not_take_is_kept_and_closes_the_door() {
        let shy = Shy {
            takes: 3,
            taken: Vec::new(),
        };
        let mut lines = Lines::new(shy, None);
        let mut rows = 0;
        let row = "x".repeat(SINK_BUFFER_BYTES);
        let mut add = |acknowledged: Acknowledged| rows += acknowledged.rows;
        lines
            .write(&block(&[&row, "y"], 0), &mut add)
            .expect("kept");
        assert!(!lines.has_room());
        for _ in 0..2 {
            lines.poll(&mut add).expect("kept");
        }
        assert!(!lines.has_room() && lines.writer.taken.len() == 3);
        lines.writer.takes = usize::MAX;
        lines.poll(&mut add).expect("it is taken");
        assert!(lines.has_room());
        assert_eq!(lines.writer.taken, format!("{row}\ny\n").into_bytes());
        assert_eq!(rows, 2);
    }

    #[test]
    fn a_header_is_written_even_when_no_row_follows() {
        let mut lines = Lines::new(Vec::new(), Some(b"a,b"));
        lines
            .flush(&mut |_| unreachable!("no row"))
            .expect("memory");
        assert_eq!(lines.writer, b"a,b\n");
    }
}
