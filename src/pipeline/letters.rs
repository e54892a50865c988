//! Bad and late records on their way out of a shard.
//!
//! ```text
//!   source: decoding -----------------------\
//!   query: expression, late, output value ---+--> LetterBox (encode) --> Exit ~~exit lane~~> the job: dead-letter sink
//! ```
//!
//! Law: a letter is posted in the turn in which its record is left out, before the job is told that the record was taken.

use std::sync::Arc;

use super::egress::{Exit, ToJob};
use crate::batch::{Batch, DeadLetter, LetterStage, Origin, OwnedOriginal};
use crate::config::limits::QUERIES_MAX;
use crate::error::{Error, Place, Result};
use crate::format::{Encoder, RowFormat, encoder, write_timestamp};
use crate::kafka::RecordLimit;
use crate::plan::{SourceConnector, StreamSpec};
use crate::sink::dead_letter::{LetterForm, LetterOf};
use crate::time::{EventTime, Watermark};

/// The number under which the letters for the target of that index in `JobPlan::dead_letters` are acknowledged, where a row
/// has the number of its query.
pub fn letters_number(target: usize) -> u16 {
    assert!(target < QUERIES_MAX, "a stream that is read has a query");
    u16::try_from(QUERIES_MAX + target).expect("limits::QUERIES_MAX fits twice")
}

/// The index of the target whose letters have this number; `None` if it is that of a query.
pub fn target_of(number: u16) -> Option<usize> {
    usize::from(number).checked_sub(QUERIES_MAX)
}

/// How letters are written for one target, and how large one may be.
#[derive(Clone, Debug)]
pub struct LetterTarget {
    /// As lines or as records.
    pub form: LetterForm,
    /// `None` if of any size.
    pub limit: Option<RecordLimit>,
}

/// Encodes the letters of one stream, or of one query over it.
pub struct LetterBox {
    number: u16,
    target: LetterTarget,
    stream: String,
    query: Option<String>,
}

impl LetterBox {
    /// For letters of `stream`, and of `query` where they are not those of all queries, to the target of that index in
    /// `JobPlan::dead_letters`.
    pub fn new(
        number: usize,
        target: LetterTarget,
        stream: &str,
        query: Option<&str>,
    ) -> LetterBox {
        LetterBox {
            number: letters_number(number),
            target,
            stream: stream.to_owned(),
            query: query.map(str::to_owned),
        }
    }

    /// Hands `letters` to the job.
    ///
    /// Fails with [`Error::Config`] where one is larger than its topic takes: it can go nowhere, and is not to be lost.
    pub fn post(&self, letters: Vec<DeadLetter>, exit: &mut Exit) -> Result<()> {
        if letters.is_empty() {
            return Ok(());
        }
        let of = LetterOf {
            stream: &self.stream,
            query: self.query.as_deref(),
        };
        let block = self.target.form.block(self.number, of, letters);
        if let Some(limit) = &self.target.limit
            && let Some(bytes) = block.largest().filter(|&bytes| bytes > limit.bytes)
        {
            return Err(Error::Config(format!(
                "a dead letter of {bytes} bytes, with its headers, does not fit topic {}, which takes {}: {}, or send the dead \
                 letters of stream {} to a file",
                limit.topic, limit.bytes, limit.remedy, self.stream
            )));
        }
        exit.post(ToJob::Rows(block));
        Ok(())
    }
}

/// What a query can tell of the records that it is given.
pub struct Witness {
    stream: Arc<StreamSpec>,
    /// Writes a record that came without its bytes; made when one does.
    encoder: Option<Box<dyn Encoder + Send>>,
}

impl Witness {
    /// For records of `stream`.
    pub fn of(stream: &Arc<StreamSpec>) -> Witness {
        Witness {
            stream: Arc::clone(stream),
            encoder: None,
        }
    }

    /// Where a record stands, for people.
    pub fn place(&self, origin: Origin) -> Place {
        let stream = &self.stream;
        match &stream.connector {
            SourceConnector::File(file) => Place::Line {
                file: file.path.display().to_string(),
                line: origin.offset as u64,
            },
            SourceConnector::Kafka(kafka) => Place::Offset {
                topic: kafka.topic.clone(),
                partition: origin.partition,
                offset: origin.offset,
            },
            SourceConnector::Datagen(_) | SourceConnector::Memory(_) => Place::Drawn {
                stream: stream.name.clone(),
                partition: origin.partition,
                offset: origin.offset,
            },
            SourceConnector::Queries(_) => Place::Row {
                stream: stream.name.clone(),
            },
        }
    }

    /// The record of row `row` as it came; where it came as no bytes, its columns as JSON. `place` stands where the last one was
    /// found, at first 0: rows are asked for in their order.
    pub fn original(&mut self, records: &Batch, place: &mut usize, row: u32) -> OwnedOriginal {
        if let Some(originals) = &records.originals {
            let origin = records.origins[row as usize];
            return originals.find(place, origin).to_owned();
        }
        let one = records.columns.slice(row as usize, 1);
        let schema = records.columns.schema_ref();
        let made = || encoder(&RowFormat::Json, schema);
        let encoded = self.encoder.get_or_insert_with(made).encode(&one);
        OwnedOriginal {
            payload: Some(encoded.bytes),
            ..OwnedOriginal::default()
        }
    }
}

/// The late records of one query, for the dead letter.
///
/// A record that its partition accepts but whose window the query has closed is told too, if that is known on the shard that has
/// its bytes; the owner of its key may have been quicker, and then only counts it.
pub struct LateLetters {
    witness: Witness,
    letters: Vec<DeadLetter>,
    /// Records told that their own partition had accepted.
    told_after_idle: u64,
}

impl LateLetters {
    /// Of records of `stream`.
    pub fn of(stream: &Arc<StreamSpec>) -> LateLetters {
        LateLetters {
            witness: Witness::of(stream),
            letters: Vec::new(),
            told_after_idle: 0,
        }
    }

    /// Records told that their own partition had accepted.
    pub fn told_after_idle(&self) -> u64 {
        self.told_after_idle
    }

    /// Takes those of `records` that are not among the rows `accepted`, which ascend, a row once for each window in which it
    /// counts. One of a time that `is_passed_over` is not late: its windows left before a restart.
    pub fn late(
        &mut self,
        records: &Batch,
        accepted: &[u32],
        is_passed_over: impl Fn(EventTime) -> bool,
    ) {
        let mut accepted = accepted.iter().copied().peekable();
        let mut place = 0;
        for row in 0..records.len() as u32 {
            let at = row as usize;
            let mut counts = false;
            while accepted.next_if_eq(&row).is_some() {
                counts = true;
            }
            if counts || is_passed_over(records.event_times[at]) {
                continue;
            }
            let watermark = records.watermarks_before[at];
            self.tell(records, &mut place, row, "of its partition", watermark);
        }
    }

    /// Takes those of the rows `accepted` of `records` whose windows, `windows` beside them, are all closed at the query's
    /// watermark `reached`, and leaves what is open of the others.
    pub fn after_idle(
        &mut self,
        records: &Batch,
        accepted: &mut Vec<u32>,
        windows: &mut Vec<i64>,
        is_closed: impl Fn(i64) -> bool,
        reached: Watermark,
    ) {
        assert_eq!(accepted.len(), windows.len(), "a window a row");
        if !windows.iter().any(|&window| is_closed(window)) {
            return;
        }
        let (mut place, mut left, mut at) = (0, 0, 0);
        while at < accepted.len() {
            let (row, before) = (accepted[at], left);
            while at < accepted.len() && accepted[at] == row {
                if !is_closed(windows[at]) {
                    (accepted[left], windows[left]) = (row, windows[at]);
                    left += 1;
                }
                at += 1;
            }
            if left == before {
                self.told_after_idle += 1;
                self.tell(records, &mut place, row, "of the query", reached);
            }
        }
        accepted.truncate(left);
        windows.truncate(left);
    }

    fn tell(
        &mut self,
        records: &Batch,
        place: &mut usize,
        row: u32,
        whose: &str,
        watermark: Watermark,
    ) {
        let at = row as usize;
        let mut reason = b"it is late: its event time is ".to_vec();
        write_timestamp(&mut reason, records.event_times[at].0);
        reason.extend_from_slice(b", and the watermark ");
        reason.extend_from_slice(whose.as_bytes());
        reason.extend_from_slice(b" stood at ");
        write_timestamp(&mut reason, watermark.0);
        self.letters.push(DeadLetter {
            stage: LetterStage::Late,
            place: self.witness.place(records.origins[at]),
            reason: String::from_utf8(reason).expect("times are text"),
            original: self.witness.original(records, place, row),
        });
    }

    /// The letters since the last time.
    pub fn take_letters(&mut self) -> Vec<DeadLetter> {
        std::mem::take(&mut self.letters)
    }
}
