//! What crosses a lane of the dealing edge: records as bytes, with their stamps.
//!
//! ```text
//!   bytes    {"ts":1,..}{"ts":3,..}{"ts":2,..}
//!   ends               ^          ^          ^        and for each record its line, its event time, and the watermark of the
//!                                                     file just before it; behind them the watermark that covers them all
//! ```
//!
//! Law: stamps never go back, and the watermark that covers a block is not below the last of them. All columns have the same
//! length; without an event time there are no stamps, and the watermark is none. A block owns its memory and is owned by
//! one shard at a time.

use crate::batch::Origin;
use crate::time::{EventTime, Watermark};

/// What the shard that reads a file tells one that decodes a share.
#[derive(Debug)]
pub enum Dealt {
    /// Records.
    Block(DealtBlock),
    /// The file has ended: the promise is the end.
    End,
    /// Nothing follows, though the file has not ended.
    Stop,
}

/// Records of a file, not decoded but for their event times.
#[derive(Debug)]
pub struct DealtBlock {
    /// The records, one behind the other.
    pub(super) bytes: Vec<u8>,
    /// Where each ends in `bytes`.
    pub(super) ends: Vec<u32>,
    /// The line on which each starts.
    pub(super) origins: Vec<Origin>,
    /// Empty when the stream has no event time.
    pub(super) event_times: Vec<EventTime>,
    /// The watermark of the file just before each.
    pub(super) watermarks_before: Vec<Watermark>,
    /// The watermark behind the last.
    pub(super) watermark: Watermark,
    /// When they were taken from the file, wall clock, microseconds since the epoch.
    pub(super) due_us: i64,
}

impl DealtBlock {
    /// No records yet, with room for so many and so many bytes.
    pub(super) fn with_room(records: usize, bytes: usize, due_us: i64) -> DealtBlock {
        DealtBlock {
            bytes: Vec::with_capacity(bytes),
            ends: Vec::with_capacity(records),
            origins: Vec::with_capacity(records),
            event_times: Vec::with_capacity(records),
            watermarks_before: Vec::with_capacity(records),
            watermark: Watermark::NONE,
            due_us,
        }
    }

    /// Adds a record that starts on `line`, with its event time and the watermark just before it.
    #[inline]
    pub(super) fn push(&mut self, record: &[u8], line: i64, stamp: Option<(EventTime, Watermark)>) {
        self.bytes.extend_from_slice(record);
        let end = u32::try_from(self.bytes.len()).expect("a block's bytes are bounded");
        self.ends.push(end);
        self.origins.push(Origin {
            partition: 0,
            offset: line,
        });
        if let Some((event_time, before)) = stamp {
            self.event_times.push(event_time);
            self.watermarks_before.push(before);
        }
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Checks the laws of lengths and of stamps, behind a promise of `promised`.
    pub(super) fn assert_follows(&self, promised: Watermark) {
        assert_eq!(
            self.ends.last().map_or(0, |&end| end as usize),
            self.bytes.len(),
            "a byte was lost or gained"
        );
        assert_eq!(self.origins.len(), self.len(), "a line was lost or gained");
        let stamps = &self.watermarks_before;
        assert_eq!(
            self.event_times.len(),
            stamps.len(),
            "event times without watermarks"
        );
        assert!(
            stamps.is_empty() || stamps.len() == self.len(),
            "a stamp was lost or gained"
        );
        let first = stamps.first().unwrap_or(&self.watermark);
        let last = stamps.last().unwrap_or(&self.watermark);
        assert!(
            promised <= *first && first <= last && *last <= self.watermark,
            "a block's watermarks never go below the promise before it"
        );
        debug_assert!(stamps.is_sorted(), "the file's watermark never goes back");
    }
}
