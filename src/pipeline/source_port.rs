//! One source on one shard, and the queries that read it.
//!
//! Law: a source is polled only while all its readers have room, so each record is decoded once and seen by all of them, in
//! the same order; the watermark that covers a batch follows it, and one that goes back because a part of the source was idle
//! and speaks again comes before. What it deals to other shards needs no room here.

use velostream_shards::Context;

use super::alignment::Alignment;
use super::allocation_count::AllocationCount;
use super::egress::ToJob;
use super::flow::{Flow, Reader};
use super::letters::LetterBox;
use super::origin_columns::OriginColumns;
use super::stages;
use super::standing::SourceCounts;
use crate::error::Result;
use crate::source::{Extent, PartitionCut, Polled, Restart, Source, SourceFigures};
use crate::time::{Idle, Watermark};

/// A shard's share of one stream from outside.
pub struct SourcePort {
    /// `None` when there is nothing for this shard to read.
    source: Option<Box<dyn Source>>,
    readers: Vec<Reader>,
    /// What is added to its batches; `None` where nobody wants it.
    origins: Option<OriginColumns>,
    /// Where records go that cannot be decoded; `None` where the stream has no dead letter.
    letters: Option<LetterBox>,
    state: State,
    /// Whether the readers take the input for idle.
    idle: bool,
    /// What holds it back; `None` where nothing does.
    alignment: Option<Alignment>,
    /// Whether that keeps it from being polled.
    paused: bool,
    /// Whether nothing was there when it was polled last, and that was after the clock moved last.
    was_empty: bool,
}

/// Where the shard stands with this input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not yet begun.
    Opening,
    /// Records may come.
    Open,
    /// It was stopped; what is under way between shards may come.
    Stopping,
    /// This shard has failed: what may come is let go, and the readers know that nothing follows.
    Failed,
    /// None will; the readers know.
    Closed,
}

impl SourcePort {
    /// An input that has not begun.
    pub fn new(
        source: Option<Box<dyn Source>>,
        readers: Vec<Reader>,
        origins: Option<OriginColumns>,
        letters: Option<LetterBox>,
        alignment: Option<Alignment>,
    ) -> SourcePort {
        assert!(!readers.is_empty(), "a source that nobody reads");
        SourcePort {
            source,
            readers,
            origins,
            letters,
            state: State::Opening,
            idle: false,
            alignment,
            paused: false,
            was_empty: false,
        }
    }

    /// Begins. A shard that reads nothing is idle at once, and its input closed. Whether anything was done.
    pub fn open(&mut self, flow: &mut Flow) -> bool {
        if self.state != State::Opening {
            return false;
        }
        self.state = State::Open;
        if self.source.is_none() {
            for reader in &self.readers {
                flow.idle(reader.query, reader.port, Idle::ALWAYS);
            }
            self.close(flow);
        }
        true
    }

    /// Deals up to `batch_max` records to other shards, if the source deals, and takes as many, if all readers have room;
    /// `wall_us` is the time, microseconds since the epoch. Whether anything was done.
    pub fn poll(
        &mut self,
        cx: &mut Context,
        flow: &mut Flow,
        batch_max: usize,
        wall_us: i64,
        allocations: &mut AllocationCount,
    ) -> Result<bool> {
        match self.state {
            State::Opening | State::Closed => return Ok(false),
            State::Failed => return Ok(self.let_go(batch_max)),
            State::Open | State::Stopping => {}
        }
        let source = self.source.as_mut().expect("an open input has a source");
        cx.enter(stages::READ);
        // What is dealt may be bad, and its letters need room; what the readers need comes after.
        let room_for_letters = self.letters.is_none() || flow.exit().has_room();
        let dealt = room_for_letters && source.deal(batch_max);
        let has_room = |reader: &Reader| flow.has_room(reader.query);
        if let Some(alignment) = self
            .alignment
            .as_ref()
            .filter(|_| self.state == State::Open)
        {
            self.paused = !source.hold(alignment.ahead(flow), self.paused);
        }
        let takes = room_for_letters && !self.paused && self.readers.iter().all(has_room);
        let polled = takes.then(|| source.poll(batch_max));
        // Also of a poll that fails: its records were counted.
        if let Some(letters) = &self.letters {
            letters.post(source.take_letters(), flow.exit())?;
        }
        let Some(polled) = polled.transpose()? else {
            return Ok(dealt);
        };
        self.was_empty = matches!(polled, Polled::Nothing { .. });
        let (wake, watermark) = (source.take_wake(), source.watermark());
        let (idle, moved_us) = (source.idle(), source.watermark_due_us());
        for notice in source.take_notices() {
            flow.exit().post(ToJob::Notice(notice));
        }
        cx.enter(stages::APPLY);
        if let Some(time) = wake {
            self.promise(flow, time, wall_us);
        }
        let (progressed, due_us) = match polled {
            Polled::Batch(batch) => {
                let due_us = batch.due_us;
                allocations.batch();
                let batch = match &self.origins {
                    Some(origins) => origins.behind(batch),
                    None => batch,
                };
                let (last, others) = self.readers.split_last().expect("a source is read");
                for reader in others {
                    flow.take(reader.query, reader.view(&batch))?;
                }
                flow.take(last.query, last.own(batch))?;
                (true, due_us)
            }
            Polled::Nothing { progressed } => (progressed, wall_us),
            Polled::Ended => {
                assert_eq!(
                    watermark,
                    Some(Watermark::END),
                    "an ended source has promised the end"
                );
                self.promise(flow, Watermark::END, wall_us);
                self.close(flow);
                return Ok(true);
            }
            Polled::Stopped => {
                self.close(flow);
                return Ok(true);
            }
        };
        let falls_idle = idle.filter(|_| !self.idle);
        if let Some(time) = watermark
            && (idle.is_none() || falls_idle.is_some())
        {
            self.promise(flow, time, moved_us.unwrap_or(due_us));
        }
        if let Some(idle) = falls_idle {
            self.idle = true;
            for reader in &self.readers {
                flow.idle(reader.query, reader.port, idle);
            }
        }
        Ok(progressed || dealt || wake.is_some() || falls_idle.is_some())
    }

    /// Whether the readers take it for idle.
    pub fn is_idle(&self) -> bool {
        self.idle && !self.is_closed()
    }

    /// Whether nothing was there when it was polled last, since `look_again`.
    pub fn was_empty(&self) -> bool {
        self.was_empty
    }

    /// What was found before says nothing any more.
    pub fn look_again(&mut self) {
        self.was_empty = false;
    }

    /// Where the source stands after a restart, or stood when it was closed; `None` if its offsets are not committed.
    pub fn restart(&self) -> Option<Restart> {
        self.source.as_ref()?.restart()
    }

    /// Begins normal work, behind what every shard has rebuilt.
    pub fn go_on(&mut self) -> Result<()> {
        let source = self.source.as_mut().expect("it has rebuilt something");
        source.go_on()
    }

    /// Cuts between two batches: what was taken before is of `epoch`, what follows is not. Says where the partitions stand,
    /// none of a source whose offsets are not committed.
    pub fn cut(&mut self, flow: &mut Flow, epoch: u64) -> Vec<PartitionCut> {
        let closed = self.is_closed();
        let Some(source) = self
            .source
            .as_mut()
            .filter(|source| source.restart().is_some())
        else {
            return Vec::new();
        };
        // Behind the end there is nothing to mark.
        if !closed {
            for reader in &self.readers {
                flow.barrier(reader.query, epoch);
            }
        }
        source.cut()
    }

    /// Takes no more from outside; the readers are told when nothing is under way either. May be said again. Whether it is news.
    pub fn stop(&mut self, flow: &mut Flow) -> bool {
        match self.state {
            State::Opening | State::Open => {
                match self.source.as_mut().is_some_and(|source| source.stop()) {
                    true => self.state = State::Stopping,
                    false => self.close(flow),
                }
                true
            }
            State::Stopping | State::Failed | State::Closed => false,
        }
    }

    /// This shard has failed: nothing more is taken, and the readers are told. May be said again.
    pub fn fail(&mut self, flow: &mut Flow) {
        match self.state {
            State::Opening | State::Open | State::Stopping => {
                let under_way = self.source.as_mut().is_some_and(|source| source.stop());
                self.close(flow);
                if under_way {
                    self.state = State::Failed;
                }
            }
            State::Failed | State::Closed => {}
        }
    }

    /// Lets go of what is under way: it stands behind what has failed, in the same file. Whether there was anything.
    fn let_go(&mut self, batch_max: usize) -> bool {
        let source = self.source.as_mut().expect("something was under way");
        let dealt = source.deal(batch_max);
        match source.poll(batch_max) {
            Ok(Polled::Ended | Polled::Stopped) => {
                self.state = State::Closed;
                true
            }
            Ok(Polled::Nothing { progressed }) => progressed || dealt,
            Ok(Polled::Batch(_)) | Err(_) => true,
        }
    }

    /// Nothing follows; the readers are told.
    fn close(&mut self, flow: &mut Flow) {
        assert_ne!(self.state, State::Closed, "an input ends once");
        self.state = State::Closed;
        for reader in &self.readers {
            flow.close_input(reader.query);
        }
    }

    /// Whether nothing more will be taken.
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// When time brings the next record, wall clock, microseconds, if there is room for it; `None` where it is not time that
    /// brings records.
    pub fn next_due_us(&self, flow: &Flow) -> Option<i64> {
        let source = self.source.as_ref()?;
        let has_room = |reader: &Reader| flow.has_room(reader.query);
        let takes = self.state == State::Open && !self.paused && self.readers.iter().all(has_room);
        takes.then(|| source.next_due_us()).flatten()
    }

    /// When a poll may find something although nothing rings, on the monotonic clock, if there is room for what it finds.
    pub fn looks_ns(&self, flow: &Flow) -> Option<u64> {
        let source = self.source.as_ref()?;
        let has_room = |reader: &Reader| flow.has_room(reader.query);
        let takes = self.state == State::Open && !self.paused && self.readers.iter().all(has_room);
        takes.then(|| source.looks_ns()).flatten()
    }

    /// Records taken so far, bad ones included.
    pub fn records_in(&self) -> u64 {
        let source = self.source.as_ref();
        source.map_or(0, |source| source.records_in())
    }

    /// Where the input's watermark stands; at the end where there is nothing to read, or where it holds nobody back.
    pub fn watermark(&self) -> Watermark {
        let source = self.source.as_ref().filter(|_| !self.idle);
        let watermark = source.and_then(|source| source.watermark());
        watermark.unwrap_or(Watermark::END)
    }

    /// How full the queue is in which its records wait, 0 to 1.
    pub fn fill(&self) -> f64 {
        let source = self.source.as_ref();
        source.map_or(0.0, |source| source.fill())
    }

    /// The queries that read it.
    pub fn readers(&self) -> impl Iterator<Item = usize> {
        self.readers.iter().map(|reader| reader.query)
    }

    /// What was read so far.
    pub fn counts(&self) -> SourceCounts {
        match &self.source {
            Some(source) => SourceCounts {
                records_in: source.records_in(),
                bad_records: source.figures().bad_records,
                extent: source.extent(),
            },
            // Nothing of nothing is read here.
            None => SourceCounts {
                extent: Some(Extent::default()),
                ..SourceCounts::default()
            },
        }
    }

    /// What the source has counted; `None` if there was nothing to read.
    pub fn figures(&self) -> Option<SourceFigures> {
        self.source.as_ref().map(|source| source.figures())
    }

    fn promise(&mut self, flow: &mut Flow, time: Watermark, due_us: i64) {
        self.idle = false;
        for reader in &self.readers {
            flow.watermark(reader.query, reader.port, time, due_us);
        }
    }
}
