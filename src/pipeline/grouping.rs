//! A grouping stage on one shard: which records are late, who owns their keys, and the state of the keys owned here.
//!
//! ```text
//!   Evaluated --Assigner (lateness)--> KeyedRows --(two-phase: PartialAggregate)--> ExchangeEdge--> peers
//!                                                      \--own share--> WindowAggregate --> OutputRows
//!   peers ----------------------------------------------------------/
//! ```
//!
//! Law: a watermark is applied after the rows or partials that it covers, on every shard alike. What is promised to the
//! readers of the rows (`standing`) is held back while a close is emitted in slices, and never goes back.

use velostream_shards::MemoryRange;
use velostream_shards::allocations::within_update;

use super::exchange_edge::{Arrived, ExchangeEdge};
use super::filter_project::Evaluated;
use super::ingest::Ingest;
use super::letters::LateLetters;
use super::owned::Owned;
use super::partial_aggregate::{Leaves, PartialAggregate};
use super::standing::Held;
use crate::batch::take_columns;
use crate::emit::OutputRows;
use crate::exchange::{KeyForm, KeyedRows, stable_hashes};
use crate::time::{Idle, Standing, Watermark};
use crate::window::Assigner;

/// A grouping stage: exchange, state, emission.
pub struct Grouping {
    /// How many of the computed columns are keys; the rest are arguments.
    pub keys: usize,
    /// The form in which keys travel.
    pub form: KeyForm,
    /// Event times to panes; `None` without a window.
    pub assigner: Option<Assigner>,
    /// What this shard reads, aggregated before it is sent; `None` when rows are sent.
    pub first_phase: Option<PartialAggregate>,
    /// The way to the owners of the keys.
    pub edge: ExchangeEdge,
    /// State and emission of the keys that this shard owns.
    pub owned: Owned,
    /// How long records took until they were applied to the state here.
    pub ingest: Ingest,
    /// Records so far of which it was asked whether they are late.
    pub judged_records: u64,
    /// Late records so far.
    pub late_records: u64,
    /// Late records for the dead letter; `None` where they are only counted.
    pub late_letters: Option<LateLetters>,
    /// How far behind its watermark the query's rows may stand, microseconds; `None` without a window, where they have no
    /// event time.
    pub behind_us: Option<i64>,
    /// The query's watermark on this shard, with the due time of the record that moved it.
    pub reached: (Watermark, i64),
    /// What the readers of its rows were promised last, and when the record that moved it was due.
    pub told: (Watermark, i64),
    /// Groups that are emitted, or sent as partials, at a time.
    pub slice_groups: usize,
    /// Where it stands after a restart, and with epochs.
    pub epochs: Epochs,
}

/// What became of records that came late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LateCounts {
    /// Records of which it was asked.
    pub judged: u64,
    /// Records whose windows were closed by their own partition's watermark.
    pub late: u64,
    /// Records whose window the query had closed though their partition had not.
    pub after_idle: u64,
    /// Records that corrected rows which had left.
    pub corrections: u64,
}

/// Where a stage stands with epochs, and whether what comes was read before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Epochs {
    /// What this shard reads was read before: late records were counted then.
    pub reads_again: bool,
    /// The state here is being rebuilt from such records: changes were emitted then.
    pub rebuilds: bool,
    /// The last epoch of which was told that it has come through.
    pub told: u64,
    /// The last epoch for which was let go what is held back.
    pub let_go: u64,
}

impl Grouping {
    /// Moves held blocks into the lanes; whether any moved.
    pub fn flush(&mut self) -> bool {
        self.edge.flush()
    }

    /// Fires what the watermark has closed, and what the clock lets go, one slice of groups; whether there was anything.
    pub fn fire(&mut self, made: &mut Vec<OutputRows>) -> bool {
        match self.edge.passed() {
            // Nothing follows. When what the end of input closed has left, the rest is that of a stop, where windows stay open.
            u64::MAX if self.owned.is_idle() => self.owned.let_held_go(),
            epoch if epoch != u64::MAX && epoch != self.epochs.let_go => {
                // Once an epoch: what is held back later is of later records.
                self.epochs.let_go = epoch;
                self.owned.let_held_go();
            }
            _ => self.owned.look_at_clock(),
        }
        if self.owned.is_idle() {
            return false;
        }
        self.owned.fire_slice(self.slice_groups, made);
        true
    }

    /// Takes one block of what the peers sent: how many rows or groups it held; `None` if there was none, or a closed pane
    /// waits to leave first.
    pub fn drain(&mut self, made: &mut Vec<OutputRows>) -> Option<usize> {
        if self.owned.is_behind() {
            return None;
        }
        let arrived = self.edge.take()?;
        let rows = arrived.as_ref().map_or(0, Arrived::rows);
        self.apply(arrived, made);
        Some(rows)
    }

    /// Where its rows stand: the watermark minus what a row may be behind it, which is told once a close has been emitted; or idle, when no input
    /// speaks and the clock does not move the watermark.
    pub fn standing(&mut self) -> Standing {
        if self.owned.is_idle() {
            let (reached, due_us) = self.reached;
            self.told = match (self.behind_us, reached) {
                (_, Watermark::END) => (Watermark::END, due_us),
                (Some(behind_us), Watermark(time_us)) => {
                    (Watermark(time_us.saturating_sub(behind_us)), due_us)
                }
                (None, _) => (Watermark::NONE, 0),
            };
            let rests = self.edge.watermarks().rests();
            if let Some(idle) = rests.filter(|_| reached != Watermark::END) {
                return Standing::Idle(idle);
            }
        }
        let (time, due_us) = self.told;
        Standing::Promises(time, due_us)
    }

    /// It is `now_ns` on the monotonic clock, and `wall_us` on the wall clock, microseconds: lets the watermark run on if no
    /// input speaks. Whether that moved it.
    pub fn step(&mut self, now_ns: u64, wall_us: i64, made: &mut Vec<OutputRows>) -> bool {
        let moved = self.edge.step(now_ns, wall_us);
        let moves = moved.is_some();
        self.apply(moved, made);
        moves
    }

    /// When the clock alone closes the next window here, monotonic clock, nanoseconds; far off when it moves the watermark and no
    /// window is open, `None` when it does not move it or there are no windows.
    pub fn fires_ns(&self) -> Option<u64> {
        self.behind_us?;
        let watermarks = self.edge.watermarks();
        // One that has been reached fires already.
        let next = self.owned.closes_next();
        let next = next.filter(|next| *next > watermarks.current());
        watermarks.reaches_ns(next.unwrap_or(Watermark::END))
    }

    /// Starts where an earlier run had come to: windows that close at or below `done` are done. With `rebuilds`, what comes
    /// was read before, up to the first barrier.
    pub fn start_at(&mut self, done: Watermark, rebuilds: bool) {
        self.epochs.reads_again = rebuilds;
        self.epochs.rebuilds = rebuilds;
        self.edge.start_at(done);
        self.reached = (done, 0);
        self.owned.start_at(done);
        self.owned.doubt();
        if let Some(first_phase) = &mut self.first_phase {
            first_phase.start_at(done);
        }
        if let Some(assigner) = &mut self.assigner {
            assigner.start_at(done);
        }
    }

    /// This shard's input has come to the cut of `epoch`. Partials are not hurried: what they cover is read again after a
    /// restart, because their windows have not fired.
    pub fn barrier(&mut self, epoch: u64) {
        self.edge.send_barrier(epoch);
        if std::mem::take(&mut self.epochs.reads_again)
            && let Some(first_phase) = &mut self.first_phase
        {
            first_phase.forget_late();
        }
    }

    /// The epoch whose barriers have come from every shard, if that is news, and the watermark up to which all windows of the
    /// keys owned here have fired and left. Nothing while rows wait to leave.
    pub fn passed(&mut self) -> Option<(u64, Watermark)> {
        let epoch = self.edge.passed();
        let is_let_go = self.epochs.let_go == epoch || !self.owned.holds_back();
        if epoch == self.epochs.told || !self.owned.is_idle() || !is_let_go {
            return None;
        }
        self.epochs.told = epoch;
        if std::mem::take(&mut self.epochs.rebuilds) {
            self.owned.forget_late();
        }
        Some((epoch, self.reached.0))
    }

    /// Whether rows may be sent to their owners, and this shard is not behind with its own.
    pub fn has_room(&self) -> bool {
        self.edge.has_room() && !self.owned.is_behind()
    }

    /// This shard's input promises `time`, moved there by a record due at `due_us` (wall clock, microseconds). Less than before
    /// when a part of the input speaks again that was idle.
    pub fn watermark(&mut self, time: Watermark, due_us: i64, made: &mut Vec<OutputRows>) {
        if let Some(first_phase) = &mut self.first_phase {
            first_phase.watermark(time, due_us);
            self.send_partials(made);
        } else {
            let advanced = self.edge.send_watermark(time, due_us);
            self.apply(advanced, made);
        }
    }

    /// This shard's input holds nobody back. A peer may have been quicker, and this input all that held its promise back.
    pub fn idle(&mut self, idle: Idle, made: &mut Vec<OutputRows>) {
        if let Some(first_phase) = &mut self.first_phase {
            first_phase.idle(idle);
        } else {
            let advanced = self.edge.send_idle(idle);
            self.apply(advanced, made);
        }
    }

    /// Nothing follows from this shard's input.
    pub fn close_input(&mut self) {
        match &mut self.first_phase {
            Some(first_phase) => first_phase.end(),
            None => self.edge.send_end(),
        }
    }

    /// Whether nothing can come any more and nothing waits to be emitted.
    pub fn is_finished(&self) -> bool {
        let first_phase = self.first_phase.as_ref();
        first_phase.is_none_or(PartialAggregate::is_finished)
            && self.edge.is_finished()
            && self.owned.is_idle()
            && !self.owned.holds_back()
    }

    /// Most bytes of state at once, and searches in it that took long.
    pub fn state(&self) -> (u64, u64) {
        let (bytes, probes) = self
            .first_phase
            .as_ref()
            .map_or((0, 0), PartialAggregate::state);
        (
            bytes + self.owned.state_bytes_max(),
            probes + self.owned.long_probes(),
        )
    }

    /// What is held now.
    pub fn held(&self) -> Held {
        let first_phase = self.first_phase.as_ref();
        let before = first_phase.map_or(Held::default(), PartialAggregate::held);
        before.beside(self.owned.held())
    }

    /// The memory that holds its state.
    pub fn ranges(&self) -> Vec<MemoryRange> {
        let first_phase = self.first_phase.as_ref();
        let mut ranges = first_phase.map_or_else(Vec::new, PartialAggregate::ranges);
        ranges.extend(self.owned.ranges());
        ranges
    }

    /// When the clock lets go what is held back, monotonic clock, nanoseconds.
    pub fn lets_go_ns(&self) -> Option<u64> {
        self.owned.lets_go_ns()
    }

    /// What became of records that came late.
    pub fn late(&self) -> LateCounts {
        let before = self.first_phase.as_ref();
        let before = before.map_or(0, PartialAggregate::late_after_idle);
        let told = self.late_letters.as_ref();
        let told = told.map_or(0, LateLetters::told_after_idle);
        let late_after_idle = before + self.owned.late_after_idle() + told;
        LateCounts {
            judged: self.judged_records,
            late: self.late_records,
            after_idle: late_after_idle,
            corrections: self.owned.corrections(),
        }
    }

    /// Late records are counted, told where that is asked, and left out; the others go to the owners of their keys, this shard's
    /// own are applied.
    pub fn take(&mut self, evaluated: Evaluated, made: &mut Vec<OutputRows>) {
        let Evaluated {
            mut records,
            mut columns,
        } = evaluated;
        let mut panes = Vec::new();
        if let Some(assigner) = &mut self.assigner {
            let mut accepted = Vec::new();
            let assigned = assigner.assign(
                &records.event_times,
                &records.watermarks_before,
                &mut panes,
                &mut accepted,
            );
            if !self.epochs.reads_again {
                self.judged_records += records.len() as u64;
            }
            // Of what is read again the late records were counted, and told, when they were read first.
            if assigned.late > 0 && !self.epochs.reads_again {
                self.late_records += assigned.late;
                if let Some(letters) = &mut self.late_letters {
                    letters.late(&records, &accepted, |time| assigner.is_done(time));
                }
            }
            if let Some(letters) = &mut self.late_letters
                && !self.epochs.reads_again
            {
                let reached = self.reached.0;
                let is_closed = |window| assigner.is_closed(window, reached);
                letters.after_idle(&records, &mut accepted, &mut panes, is_closed, reached);
            }
            if !assigned.one_each || accepted.len() < records.len() {
                records = records.take(&accepted);
                columns = take_columns(&columns, &accepted);
            }
        }
        if records.is_empty() {
            return;
        }
        let arguments = columns.split_off(self.keys);
        let keys = self.form.normalise(&columns);
        let rows = KeyedRows {
            rows: records.len(),
            hashes: match self.first_phase.is_none() && self.edge.splits_by_key() {
                true => stable_hashes(&keys, records.len()),
                false => Vec::new(),
            },
            keys,
            panes,
            arguments,
            due_us: records.due_us,
        };
        match &mut self.first_phase {
            Some(first_phase) => {
                let (records, due_us) = (rows.len(), rows.due_us);
                within_update(|| first_phase.rows(&rows));
                if !self.epochs.reads_again {
                    self.ingest.applied(records, due_us);
                }
            }
            None => {
                let own = self.edge.send(rows).map(Arrived::Rows);
                self.apply(own, made);
            }
        }
    }

    /// Sends what may leave of the first phase, one slice of groups, and the promises that it allows; whether there was any.
    pub fn send_partials(&mut self, made: &mut Vec<OutputRows>) -> bool {
        let mut progressed = false;
        let mut groups = self.slice_groups;
        while groups > 0
            && self.edge.has_room()
            && let Some(leaves) = self
                .first_phase
                .as_mut()
                .and_then(|phase| phase.leave(groups))
        {
            progressed = true;
            let here = match leaves {
                Leaves::Partials(partials) => {
                    groups -= partials.len();
                    self.edge.send_partials(partials).map(Arrived::Partials)
                }
                Leaves::Watermark { time, due_us } => self.edge.send_watermark(time, due_us),
                Leaves::Idle(idle) => self.edge.send_idle(idle),
                Leaves::End => {
                    self.edge.send_end();
                    None
                }
            };
            self.apply(here, made);
        }
        progressed
    }

    fn apply(&mut self, arrived: Option<Arrived>, made: &mut Vec<OutputRows>) {
        match arrived {
            None => {}
            Some(Arrived::Rows(rows)) => {
                let (records, due_us) = (rows.len(), rows.due_us);
                match self.epochs.rebuilds {
                    false => {
                        within_update(|| self.owned.rows(rows, made));
                        self.ingest.applied(records, due_us);
                    }
                    true => within_update(|| self.owned.rebuild(&rows)),
                }
            }
            Some(Arrived::Partials(partials)) => within_update(|| self.owned.merge(partials)),
            Some(Arrived::Watermark { time, due_us }) => {
                self.reached = (time, due_us);
                self.owned.watermark(time, due_us);
            }
        }
    }
}

#[cfg(test)]
mod tests;
