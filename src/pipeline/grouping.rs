//! A grouping stage on one shard: which records are late, who owns their keys, and the state of the keys owned here.
//!
//! ```text
//!   Evaluated --Assigner (lateness)--> KeyedRows --ExchangeEdge--> peers
//!                                                      \--own share--> WindowAggregate --> OutputRows --> Egress
//!   peers ----------------------------------------------------------/
//! ```
//!
//! Law: a watermark is applied after the rows that it covers, on every shard alike, and nothing is produced unless there is
//! room behind it.

use velostream_shards::MemoryRange;
use velostream_shards::allocations::within_update;

use super::egress::Egress;
use super::exchange_edge::{Arrived, ExchangeEdge};
use super::filter_project::Evaluated;
use super::ingest::Ingest;
use super::window_aggregate::WindowAggregate;
use crate::config::limits::{FIRE_GROUPS_MAX, INBOX_BLOCKS_MAX};
use crate::emit::OutputRows;
use crate::error::Result;
use crate::exchange::{KeyForm, KeyedRows, stable_hashes};
use crate::time::Watermark;
use crate::window::TumblingAssigner;

/// A grouping stage: exchange, state, emission.
pub struct Grouping {
    /// How many of the computed columns are keys; the rest are arguments.
    pub keys: usize,
    /// The form in which keys travel.
    pub form: KeyForm,
    /// Event times to panes; `None` without a window.
    pub assigner: Option<TumblingAssigner>,
    /// The way to the owners of the keys.
    pub edge: ExchangeEdge,
    /// State and emission of the keys that this shard owns.
    pub owned: WindowAggregate,
    /// How long records took until they were applied to the state here.
    pub ingest: Ingest,
    /// Late records so far.
    pub late_records: u64,
}

impl Grouping {
    /// Moves held blocks into the lanes; whether any moved.
    pub fn flush(&mut self) -> bool {
        self.edge.flush()
    }

    /// Fires what is closed, a slice of groups, and takes what the peers sent; whether anything was done.
    pub fn advance(&mut self, egress: &mut Egress, made: &mut Vec<OutputRows>) -> Result<bool> {
        let fired = self.fire(egress, made)?;
        Ok(self.drain(egress, made)? | fired)
    }

    /// Whether rows may be sent to their owners, and this shard is not behind with its own.
    pub fn has_room(&self) -> bool {
        self.edge.has_room() && !self.owned.is_behind()
    }

    /// This shard's input promises `time`, moved there by a record due at `due_us` (wall clock, microseconds).
    pub fn watermark(&mut self, time: Watermark, due_us: i64, made: &mut Vec<OutputRows>) {
        let advanced = self.edge.send_watermark(time, due_us);
        self.apply(advanced, made);
    }

    /// This shard's input holds nobody back. A peer may have been quicker, and this input all that held its promise back.
    pub fn idle(&mut self, made: &mut Vec<OutputRows>) {
        let advanced = self.edge.send_idle();
        self.apply(advanced, made);
    }

    /// Nothing follows from this shard's input.
    pub fn close_input(&mut self) {
        self.edge.send_end();
    }

    /// Whether nothing can come any more and nothing waits to be emitted.
    pub fn is_finished(&self) -> bool {
        self.edge.is_finished() && self.owned.is_idle()
    }

    /// Most bytes of state at once, and searches in it that took long.
    pub fn state(&self) -> (u64, u64) {
        (self.owned.state_bytes_max(), self.owned.long_probes())
    }

    /// The memory that holds its state.
    pub fn ranges(&self) -> Vec<MemoryRange> {
        self.owned.ranges()
    }

    /// Late records, and those whose window the query had closed though their partition had not.
    pub fn late(&self) -> (u64, u64) {
        (self.late_records, self.owned.late_after_idle())
    }

    /// Late records are counted and left out; the others go to the owners of their keys, this shard's own are applied.
    pub fn take(&mut self, evaluated: Evaluated, made: &mut Vec<OutputRows>) {
        let Evaluated {
            mut records,
            mut columns,
        } = evaluated;
        let mut panes = Vec::new();
        if let Some(assigner) = &mut self.assigner {
            let mut accepted = Vec::new();
            let late = assigner.assign(
                &records.event_times,
                &records.watermarks_before,
                &mut panes,
                &mut accepted,
            );
            self.late_records += late;
            if accepted.len() < records.len() {
                records = records.take(&accepted);
                columns = super::build::take_columns(&columns, &accepted);
            }
        }
        if records.is_empty() {
            return;
        }
        let arguments = columns.split_off(self.keys);
        let keys = self.form.normalise(&columns);
        let rows = KeyedRows {
            rows: records.len(),
            hashes: match self.edge.splits_by_key() {
                true => stable_hashes(&keys, records.len()),
                false => Vec::new(),
            },
            keys,
            panes,
            arguments,
            due_us: records.due_us,
        };
        if let Some(own) = self.edge.send(rows) {
            self.apply(Some(Arrived::Rows(own)), made);
        }
    }

    /// Takes what the peers sent, as long as there is room for what comes of it and no closed pane waits to leave.
    fn drain(&mut self, egress: &mut Egress, made: &mut Vec<OutputRows>) -> Result<bool> {
        let mut progressed = false;
        for _ in 0..INBOX_BLOCKS_MAX {
            if !egress.has_room() || self.owned.is_behind() {
                break;
            }
            let Some(arrived) = self.edge.take() else {
                break;
            };
            progressed = true;
            self.apply(arrived, made);
            post_all(egress, made)?;
        }
        Ok(progressed)
    }

    fn apply(&mut self, arrived: Option<Arrived>, made: &mut Vec<OutputRows>) {
        match arrived {
            None => {}
            Some(Arrived::Rows(rows)) => {
                let (records, due_us) = (rows.len(), rows.due_us);
                within_update(|| self.owned.rows(rows, made));
                self.ingest.applied(records, due_us);
            }
            Some(Arrived::Watermark { time, due_us }) => self.owned.watermark(time, due_us),
        }
    }

    /// Fires what the watermark has closed, one slice of groups.
    fn fire(&mut self, egress: &mut Egress, made: &mut Vec<OutputRows>) -> Result<bool> {
        if !egress.has_room() || self.owned.is_idle() {
            return Ok(false);
        }
        self.owned.fire_slice(FIRE_GROUPS_MAX, made);
        post_all(egress, made)?;
        Ok(true)
    }
}

/// Posts the rows that were made.
pub(super) fn post_all(egress: &mut Egress, made: &mut Vec<OutputRows>) -> Result<()> {
    made.drain(..).try_for_each(|rows| egress.post(rows))
}
