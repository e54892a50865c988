//! The decoding shard's side: blocks to batches.
//!
//! Law: the stamps are the reader's. What is decoded here are the columns, so a record that is bad here has advanced the file's
//! watermark all the same, as it has on a shard that reads alone.

use std::path::PathBuf;
use std::sync::Arc;

use super::block::DealtBlock;
use crate::batch::{Batch, DeadLetter, LetterStage, Original, Originals};
use crate::error::Result;
use crate::format::{Decoded, Kernel};
use crate::plan::SourceSpec;
use crate::source::file_records::{FileDecoder, Wanted, place};
use crate::source::{BadRecords, Polled};
use crate::time::Watermark;

/// Decodes the blocks that are dealt to one shard.
pub(super) struct Share {
    decoder: FileDecoder,
    path: PathBuf,
    bad: BadRecords,
    records_in: u64,
    promised: Watermark,
    /// When the records were taken from the file that moved the promise.
    promised_due_us: Option<i64>,
}

impl Share {
    /// A share of the file at `path`, that of `spec`; `header` is the file's.
    pub(super) fn new(
        spec: &SourceSpec,
        path: PathBuf,
        header: Option<&[u8]>,
        kernel: Kernel,
    ) -> Result<Share> {
        let stream = &spec.stream;
        Ok(Share {
            decoder: FileDecoder::open(spec, Wanted::Columns, header, kernel)?,
            path,
            bad: BadRecords::new(&stream.name, stream.on_error),
            records_in: 0,
            promised: Watermark::NONE,
            promised_due_us: None,
        })
    }

    /// Decodes a block and promises the watermark behind it.
    pub(super) fn take(&mut self, block: DealtBlock) -> Result<Polled> {
        block.assert_follows(self.promised);
        let DealtBlock {
            bytes,
            ends,
            mut origins,
            mut event_times,
            mut watermarks_before,
            watermark,
            due_us,
        } = block;
        self.records_in += ends.len() as u64;
        let timed = !event_times.is_empty();
        let mut originals = self.bad.keeps_originals().then(Originals::default);
        let mut start = 0;
        let mut good = 0;
        for (record, &end) in ends.iter().enumerate() {
            let end = end as usize;
            let line = &bytes[start..end];
            start = end;
            match self.decoder.decode(line) {
                Decoded::Record(_) => {
                    if let Some(originals) = &mut originals {
                        originals.push(origins[record], &Original::line(line));
                    }
                    if good < record {
                        // A bad one stood before it.
                        origins[good] = origins[record];
                        if timed {
                            event_times[good] = event_times[record];
                            watermarks_before[good] = watermarks_before[record];
                        }
                    }
                    good += 1;
                }
                Decoded::Bad(bad) => {
                    let (path, number) = (&self.path, origins[record].offset);
                    let taken = self.bad.take(
                        LetterStage::Decode,
                        || place(path, number),
                        &bad.reason,
                        || Original::line(line).to_owned(),
                    );
                    if let Err(error) = taken {
                        // The blocks behind this one are decoded all the same, into columns of their own.
                        self.decoder.finish();
                        return Err(error);
                    }
                }
            }
        }
        self.promise(watermark, Some(due_us));
        let columns = self.decoder.finish();
        if good == 0 {
            return Ok(Polled::Nothing { progressed: true });
        }
        origins.truncate(good);
        event_times.truncate(good);
        watermarks_before.truncate(good);
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

    /// Promises `time`, moved there by records taken at `due_us`. Whether that is news.
    pub(super) fn promise(&mut self, time: Watermark, due_us: Option<i64>) -> bool {
        assert!(self.promised <= time, "a promise is never taken back");
        let news = self.promised < time;
        if news {
            self.promised = time;
            self.promised_due_us = due_us;
        }
        news
    }

    /// What was promised last.
    pub(super) fn promised(&self) -> Watermark {
        self.promised
    }

    /// When the records were taken from the file that moved the promise, wall clock, microseconds since the epoch.
    pub(super) fn promised_due_us(&self) -> Option<i64> {
        self.promised_due_us
    }

    /// Records taken, bad ones included.
    pub(super) fn records_in(&self) -> u64 {
        self.records_in
    }

    /// Bad records left out here.
    pub(super) fn bad_records(&self) -> u64 {
        self.bad.left_out()
    }

    /// The records that were bad here, for the dead letter.
    pub(super) fn take_letters(&mut self) -> Vec<DeadLetter> {
        self.bad.take_letters()
    }
}
