//! The reading shard's side: records framed, stamped, packed and dealt.
//!
//! Law: a block is packed only when somebody is there to take it: a peer with room, or this shard with nothing kept; or, when
//! all have enough, the next peer, for which it is held, so that the room it waits for rings. While one is held nothing is read.
//!
//! What ends the reading, be it an error, stands behind the blocks before it: it is told when they are delivered.
//!
//! It knows nothing of the columns: a record is bad here only if its structure or its event time is broken.

use velostream_shards::{Outbox, ShardId};

use super::block::{Dealt, DealtBlock};
use crate::batch::{DeadLetter, LetterStage, Original};
use crate::config::limits::DEALT_BLOCK_BYTES;
use crate::error::{Error, Result};
use crate::format::{Decoded, Kernel};
use crate::plan::SourceSpec;
use crate::source::file_records::{FileDecoder, Records, Wanted, clock, place};
use crate::source::{BadRecords, Extent};
use crate::time::{PartitionClock, Watermark};

/// Reads a file and deals its records.
pub(super) struct Dealer {
    records: Records,
    /// Decodes event times; `None` when the stream has none.
    times: Option<FileDecoder>,
    clock: PartitionClock,
    bad: BadRecords,
    wall_us: fn() -> i64,
    /// How far ahead of the clock an event time may be.
    skew_us: Option<i64>,
    outbox: Outbox<Dealt>,
    peers: Vec<ShardId>,
    /// Place in `peers` of the one whose turn it is.
    turn: usize,
    /// The block that this shard keeps for itself.
    own: Option<DealtBlock>,
    /// The watermark behind the last block, and when its records were taken.
    dealt: (Watermark, Option<i64>),
    /// Bytes of the last block: what the next one is given room for.
    block_bytes: usize,
    /// What stands behind the last block; `None` while the file is read.
    behind: Option<Behind>,
}

/// Why nothing more is read.
#[derive(Debug)]
enum Behind {
    End,
    Stop,
    /// Told when all that was dealt before is delivered.
    Failure(Error),
}

/// Who gets a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    Own,
    Peer(ShardId),
}

impl Dealer {
    /// Deals `records`, the file of `spec`, to the peers of `outbox` and to itself. `header` is the file's.
    pub(super) fn new(
        spec: &SourceSpec,
        records: Records,
        header: Option<&[u8]>,
        kernel: Kernel,
        wall_us: fn() -> i64,
        outbox: Outbox<Dealt>,
    ) -> Result<Dealer> {
        let stream = &spec.stream;
        let times = stream
            .event_time
            .is_some()
            .then(|| FileDecoder::open(spec, Wanted::EventTime, header, kernel))
            .transpose()?;
        let peers: Vec<ShardId> = outbox.peers().collect();
        assert!(!peers.is_empty(), "a file is dealt to several shards");
        Ok(Dealer {
            records,
            times,
            clock: clock(stream),
            bad: BadRecords::new(&stream.name, stream.on_error),
            wall_us,
            skew_us: stream.time.skew_us,
            outbox,
            peers,
            turn: 0,
            own: None,
            dealt: (Watermark::NONE, None),
            block_bytes: 0,
            behind: None,
        })
    }

    /// Moves held blocks on, and deals one of up to `max` records. Whether anything was done.
    pub(super) fn deal(&mut self, max: usize) -> bool {
        let moved = self.outbox.flush() > 0;
        if self.behind.is_some() || !self.outbox.has_room() {
            return moved;
        }
        let to = self.next();
        let (block, read) = self.pack(max);
        if !block.is_empty() {
            block.assert_follows(self.dealt.0);
            self.dealt = (block.watermark, Some(block.due_us));
            self.block_bytes = block.bytes.len();
            match to {
                To::Own => self.own = Some(block),
                To::Peer(peer) => self.outbox.post(peer, Dealt::Block(block)),
            }
        }
        match read {
            Ok(true) => {}
            Ok(false) => self.close(Behind::End),
            Err(error) => self.close(Behind::Failure(self.behind_records(error))),
        }
        true
    }

    /// How far the file is read.
    pub(super) fn extent(&self) -> Option<Extent> {
        self.records.extent()
    }

    /// Reads no more.
    pub(super) fn stop(&mut self) {
        if self.behind.is_none() {
            self.close(Behind::Stop);
        }
    }

    fn close(&mut self, behind: Behind) {
        for &peer in &self.peers {
            let told = match behind {
                Behind::End => Dealt::End,
                Behind::Stop | Behind::Failure(_) => Dealt::Stop,
            };
            self.outbox.post(peer, told);
        }
        self.behind = Some(behind);
    }

    /// What was kept for this shard's own share: a block; or what stands behind the last, once all is delivered.
    ///
    /// Fails with what ended the reading; the records before it were dealt.
    pub(super) fn take_own(&mut self) -> Result<Option<Dealt>> {
        if let Some(block) = self.own.take() {
            return Ok(Some(Dealt::Block(block)));
        }
        if !self.outbox.has_room() {
            return Ok(None);
        }
        match self.behind.replace(Behind::Stop) {
            Some(Behind::End) => {
                self.clock.end();
                Ok(Some(Dealt::End))
            }
            Some(Behind::Stop) => Ok(Some(Dealt::Stop)),
            Some(Behind::Failure(error)) => Err(error),
            None => {
                self.behind = None;
                Ok(None)
            }
        }
    }

    /// The watermark behind all that was dealt, and when the last of it was taken.
    pub(super) fn dealt(&self) -> (Watermark, Option<i64>) {
        self.dealt
    }

    /// Where the file's watermark stands.
    pub(super) fn watermark(&self) -> Watermark {
        self.clock.watermark()
    }

    /// The line on which the next record starts.
    pub(super) fn line(&self) -> i64 {
        self.records.line()
    }

    /// Bad records left out here.
    pub(super) fn bad_records(&self) -> u64 {
        self.bad.left_out()
    }

    /// The records that were bad here, for the dead letter.
    pub(super) fn take_letters(&mut self) -> Vec<DeadLetter> {
        self.bad.take_letters()
    }

    /// Who gets the next block.
    fn next(&mut self) -> To {
        let peers = self.peers.len();
        let turns = (0..peers).map(|step| (self.turn + step) % peers);
        let with_room = turns
            .into_iter()
            .find(|&place| self.outbox.has_room_for(self.peers[place]));
        let place = match with_room {
            Some(place) => place,
            None if self.own.is_none() => return To::Own,
            None => self.turn,
        };
        self.turn = (place + 1) % peers;
        To::Peer(self.peers[place])
    }

    /// The next block, empty when all its records were bad; and whether there may be another, or what ended the reading.
    fn pack(&mut self, max: usize) -> (DealtBlock, Result<bool>) {
        let now_us = (self.wall_us)();
        if let Some(times) = &mut self.times {
            times.limit(self.skew_us, now_us);
        }
        let mut block = DealtBlock::with_room(max, self.block_bytes, now_us);
        let read = self.read(max, &mut block);
        if let Some(times) = &mut self.times {
            times.finish();
        }
        block.watermark = self.clock.watermark();
        (block, read)
    }

    /// `error` with its place in the file, so that it counts as what stands behind the records before it, whoever tells first.
    fn behind_records(&self, error: Error) -> Error {
        match error {
            bad @ Error::Data { .. } => bad,
            cause => Error::Reading {
                file: self.records.path().display().to_string(),
                line: self.line().unsigned_abs(),
                cause: Box::new(cause),
            },
        }
    }

    /// Reads up to `max` records into `block`. Whether there were any.
    fn read(&mut self, max: usize, block: &mut DealtBlock) -> Result<bool> {
        let mut taken = 0;
        while taken < max && block.bytes.len() < DEALT_BLOCK_BYTES {
            let Some((record, line)) = self.records.next()? else {
                break;
            };
            taken += 1;
            let stamp = match &mut self.times {
                None => None,
                Some(times) => match times.decode(record) {
                    Decoded::Record(event_time) => {
                        let event_time = event_time.expect("it is what was asked for");
                        Some((event_time, self.clock.advance(event_time)))
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
                        continue;
                    }
                },
            };
            block.push(record, line, stamp);
        }
        Ok(taken > 0)
    }
}
