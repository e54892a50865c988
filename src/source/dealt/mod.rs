//! A file dealt to all shards: one shard reads it, every shard decodes a share.
//!
//! ```text
//!   shard 0   file --Records--> record --event time, PartitionClock--> DealtBlock --+--> Share --> Batch
//!                                                                                   |
//!                                                                                   +~~lane~~> shard 1: Share --> Batch
//!                                                                                   +~~lane~~> shard 2: Share --> Batch
//! ```
//!
//! The reading shard takes from a record no more than its event time: by it the record is stamped with the file's watermark
//! just before it, as the undealt `FileSource` does. The bytes cross in blocks; the columns are decoded by whoever gets the block.
//! A block goes to the next shard, in turn, whose lane has room; when none has, the reading shard keeps it. So a shard gets as
//! much as it has time for, and the one that reads gets least. Strict turns stood here in the first draft: they hold every
//! shard to the pace of the one that reads besides.
//!
//! Laws, beside those of `Source`:
//! 1. Together the shares deliver the records of the undealt file, each once, with the same stamps and origins, and the same
//!    are bad: those of which the structure or the event time is broken are told by the reading shard, the others by the shard
//!    that decodes them.
//! 2. A share promises the watermark behind its last block. The file's watermark never goes back, so the stamps of a later block
//!    are not below it; a record that is accepted by its stamp finds its pane open, for the query's watermark is the minimum over
//!    the shares. Both sides assert it, a block at a time. The reading shard with nothing kept promises the file's watermark as
//!    it stands.
//! 3. Nothing is read while a block is held for want of room, in a lane or for the reading shard's own share: no queue grows, and
//!    nobody waits. The dealing edge stands before all edges of queries, so nothing deadlocks.
//!
//! 4. What was dealt is decoded, also after a stop or a failure: the end, a stop and what ended the reading stand behind the last
//!    block in every lane. So `records_in` and the file's next line agree, and of all bad records under `fail` the first in the
//!    file is among those that are told: the job names that one.
//!
//! A block is taken whole: it is as large as the batch of the shard that dealt it, whatever that of the one that decodes it.
//!
//! It is for queries to which the order of records across shards means nothing: `plan::Dealing` decides.

mod block;
mod dealer;
mod share;
#[cfg(test)]
mod tests;

pub use block::{Dealt, DealtBlock};

use velostream_shards::{Doorbells, Inbox, ShardId, mesh};

use self::dealer::Dealer;
use self::share::Share;
use super::{Extent, PartitionFigures, Polled, Source, SourceFigures};
use crate::batch::DeadLetter;
use crate::config::limits::{BATCH_RECORDS, DEALT_LANE_BLOCKS_MAX};
use crate::error::Result;
use crate::format::Kernel;
use crate::plan::SourceSpec;
use crate::time::Watermark;

/// The shard that reads.
const READER: ShardId = ShardId(0);

/// A shard's share of a dealt file.
pub struct DealtSource {
    share: Share,
    from: From,
    over: Option<Over>,
}

/// How it was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    Ended,
    Stopped,
}

/// Whence a share's blocks come.
enum From {
    /// This shard reads the file.
    Here(Box<Dealer>),
    /// Another does.
    There(Inbox<Dealt>),
}

/// Opens the file of `spec` for the shards of these doorbells, with lanes of at most `lane_blocks` blocks: a share for each.
///
/// Fails as `FileSource::open` does.
pub fn open(
    spec: &SourceSpec,
    kernel: Kernel,
    wall_us: fn() -> i64,
    doorbells: &Doorbells,
    lane_blocks: usize,
) -> Result<Vec<DealtSource>> {
    let (records, header) = super::file_records::Records::open(spec)?;
    let path = records.path().to_path_buf();
    let mut records = Some(records);
    let endpoints = mesh::<Dealt>(doorbells, 1, lane_blocks.min(DEALT_LANE_BLOCKS_MAX));
    let seats = endpoints.into_iter().enumerate();
    seats
        .map(|(index, endpoint)| {
            let mut ends = endpoint.outboxes.into_iter().zip(endpoint.inboxes);
            let (outbox, inbox) = ends.next().expect("one edge");
            let header = header.as_deref();
            let from = match index == READER.index() {
                true => {
                    let records = records.take().expect("one shard reads");
                    let dealer = Dealer::new(spec, records, header, kernel, wall_us, outbox)?;
                    From::Here(Box::new(dealer))
                }
                false => From::There(inbox),
            };
            Ok(DealtSource {
                share: Share::new(spec, path.clone(), header, kernel)?,
                from,
                over: None,
            })
        })
        .collect()
}

impl Source for DealtSource {
    fn deal(&mut self, max: usize) -> bool {
        match &mut self.from {
            From::Here(dealer) => dealer.deal(max),
            From::There(_) => false,
        }
    }

    fn stop(&mut self) -> bool {
        if let From::Here(dealer) = &mut self.from {
            dealer.stop();
        }
        true
    }

    fn poll(&mut self, max: usize) -> Result<Polled> {
        assert!(max > 0, "a poll for nothing");
        match self.over {
            Some(Over::Ended) => return Ok(Polled::Ended),
            Some(Over::Stopped) => return Ok(Polled::Stopped),
            None => {}
        }
        let dealt = match &mut self.from {
            From::Here(dealer) => dealer.take_own()?,
            From::There(inbox) => inbox.take().map(|(from, dealt)| {
                assert_eq!(from, READER, "one shard deals");
                dealt
            }),
        };
        match dealt {
            Some(Dealt::Block(block)) => {
                assert!(
                    block.len() <= *BATCH_RECORDS.end(),
                    "a block is no larger than a batch"
                );
                self.share.take(block)
            }
            Some(Dealt::End) => {
                self.over = Some(Over::Ended);
                self.share.promise(Watermark::END, None);
                Ok(Polled::Ended)
            }
            Some(Dealt::Stop) => {
                self.over = Some(Over::Stopped);
                Ok(Polled::Stopped)
            }
            None => {
                let progressed = match &self.from {
                    From::Here(dealer) => {
                        let (time, due_us) = dealer.dealt();
                        self.share.promise(time, due_us)
                    }
                    From::There(_) => false,
                };
                Ok(Polled::Nothing { progressed })
            }
        }
    }

    fn watermark(&self) -> Option<Watermark> {
        Some(self.share.promised())
    }

    fn watermark_due_us(&self) -> Option<i64> {
        self.share.promised_due_us()
    }

    fn records_in(&self) -> u64 {
        let told_by_reader = match &self.from {
            From::Here(dealer) => dealer.bad_records(),
            From::There(_) => 0,
        };
        self.share.records_in() + told_by_reader
    }

    fn extent(&self) -> Option<Extent> {
        match &self.from {
            From::Here(dealer) => dealer.extent(),
            From::There(_) => Some(Extent::default()),
        }
    }

    fn figures(&self) -> SourceFigures {
        let (told_by_reader, partitions) = match &self.from {
            From::Here(dealer) => {
                let partition = PartitionFigures {
                    partition: 0,
                    next_offset: dealer.line(),
                    watermark: dealer.watermark(),
                };
                (dealer.bad_records(), vec![partition])
            }
            From::There(_) => (0, Vec::new()),
        };
        SourceFigures {
            records_in: self.records_in(),
            bad_records: self.share.bad_records() + told_by_reader,
            replayed_records: 0,
            partitions,
        }
    }

    fn take_letters(&mut self) -> Vec<DeadLetter> {
        let mut letters = self.share.take_letters();
        if let From::Here(dealer) = &mut self.from {
            letters.append(&mut dealer.take_letters());
        }
        letters
    }
}
