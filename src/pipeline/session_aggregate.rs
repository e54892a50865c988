//! Grouping by sessions: keyed rows in, result rows out.
//!
//! ```text
//!   rows(KeyedRows) --SlotGroups: key ids--> Sessions: slots, what took in what --> SlotGroups: aggregates by slot
//!   watermark(..)   --> Sessions                  fire_slice: at most n sessions --> rows --> out (EMIT FINAL)
//!                                                            \--slot emptied, key removed with its last session
//! ```
//!
//! Laws: a session fires once, when the watermark is beyond its end plus grace. The rows do not depend on the order of the
//! records, on where a block ends or on how firing is sliced. A record that might have belonged to a session which has fired is
//! left out and counted (`late_after_idle`); it cannot happen to one that was accepted by a partition which was never idle.
//!
//! The records of a block are put into their sessions first, in their order; then they are added to the aggregates, and then
//! what was taken in is joined. Aggregates do not care for the order (`group/aggregate`), and a block costs one call of each.
//!
//! A synchronous state machine, as `window_aggregate.rs` is, with the same calls.

use velostream_shards::{MemoryRange, NodeMemory};

use super::standing::Held;
use super::window_aggregate::key_space;
use crate::batch::take_columns;
use crate::emit::{Cause, GroupValues, Maker, Marked, Moved, OutputRows, RowMaker};
use crate::error::Result;
use crate::exchange::KeyedRows;
use crate::group::{KeySpace, SlotGroups};
use crate::plan::{AggregatePlan, EmitPolicy};
use crate::time::{EventTime, Watermark};
use crate::window::{Fired, Sessions};

/// The sessions of one query on one shard.
#[derive(Debug)]
pub struct SessionAggregate {
    emit: EmitPolicy,
    maker: RowMaker,
    space: KeySpace,
    groups: SlotGroups,
    sessions: Sessions,
    /// Of the first watermark by which something fired that has not left: when the record that moved it was due (wall clock,
    /// microseconds), and when it came (monotonic clock, nanoseconds).
    released: Option<(i64, u64)>,
    late_after_idle: u64,
    /// The monotonic clock, nanoseconds.
    monotonic_ns: fn() -> u64,
    state_bytes_max: u64,
    long_probes: u64,
    block: Block,
    fired: Vec<Fired>,
}

/// What is worked out for a block; kept for its capacity.
#[derive(Debug, Default)]
struct Block {
    /// The rows that are accepted.
    picked: Vec<u32>,
    /// By picked row.
    keys: Vec<u32>,
    slots: Vec<u32>,
    /// What took in what, in that order.
    into: Vec<u32>,
    from: Vec<u32>,
}

/// Rows of a block, of which the first alone may take in another session.
#[derive(Debug, Default)]
struct Piece {
    /// The first of them, among the picked ones.
    begin: usize,
    /// The window of each, just after it.
    windows: Vec<(i64, i64)>,
    moved: Vec<Moved>,
    /// Which slot takes in which.
    takes: Option<(u32, u32)>,
}

impl SessionAggregate {
    /// An operator with no sessions; see `WindowAggregate::new`.
    ///
    /// # Errors
    /// As `WindowAggregate::new`.
    pub fn new(
        plan: &AggregatePlan,
        sessions: Sessions,
        emit: EmitPolicy,
        maker: RowMaker,
        seed: u64,
        monotonic_ns: fn() -> u64,
        node: Option<NodeMemory>,
    ) -> Result<SessionAggregate> {
        let space = key_space(plan, seed, node)?;
        Ok(SessionAggregate {
            emit,
            groups: SlotGroups::new(
                &plan.aggregates,
                &space,
                maker.withdraws() && emit != EmitPolicy::Final,
            )?,
            maker,
            space,
            sessions,
            released: None,
            late_after_idle: 0,
            monotonic_ns,
            state_bytes_max: 0,
            long_probes: 0,
            block: Block::default(),
            fired: Vec::new(),
        })
    }

    /// A life before this one may have written rows of sessions of which nothing is known here.
    pub fn doubt(&mut self) {
        self.maker.doubt();
    }

    /// Adds accepted rows to their sessions, and under EMIT CHANGES appends the rows that they cause to `out`.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "rows end here: nobody may use them again"
    )]
    pub fn rows(&mut self, rows: KeyedRows, out: &mut Vec<OutputRows>) {
        match self.emit {
            EmitPolicy::Final => self.update(&rows),
            EmitPolicy::Changes => self.changes(&rows, out),
            EmitPolicy::ChangesEvery { .. }
            | EmitPolicy::ChangesEveryRows { .. }
            | EmitPolicy::FinalAndChanges { .. } => {
                panic!("the planner refuses EVERY with sessions")
            }
        }
    }

    /// Adds accepted rows to their sessions.
    pub fn update(&mut self, rows: &KeyedRows) {
        rows.assert_consistent();
        let mut block = std::mem::take(&mut self.block);
        self.pick(rows, &mut block);
        let Block {
            picked,
            keys,
            slots,
            into,
            from,
        } = &mut block;
        for (&row, &key) in picked.iter().zip(keys.iter()) {
            let joined = self.sessions.join(key, EventTime(rows.panes[row as usize]));
            slots.push(joined.slot);
            if let Some(taken) = joined.took_in {
                into.push(joined.slot);
                from.push(taken);
            }
        }
        self.groups.grow(self.sessions.slots());
        self.groups.update(slots, rows, picked);
        self.groups.join(into, from);
        self.block = block;
        self.state_bytes_max = self.state_bytes_max.max(self.state_bytes());
    }

    /// Adds accepted rows to their sessions, with a row after each.
    fn changes(&mut self, rows: &KeyedRows, out: &mut Vec<OutputRows>) {
        rows.assert_consistent();
        let mut block = std::mem::take(&mut self.block);
        self.pick(rows, &mut block);
        let mut piece = Piece::default();
        for number in 0..block.picked.len() {
            let time = EventTime(rows.panes[block.picked[number] as usize]);
            let joined = self.sessions.join(block.keys[number], time);
            // What was made so far knows nothing of what is taken in now.
            if joined.took_in.is_some() {
                self.piece(rows, &block, &mut piece, out);
            }
            if let Some(start) = joined.withdrawn {
                piece.moved.push(Moved {
                    row: piece.windows.len() as u32,
                    start,
                    took_in: joined.took_in,
                });
            }
            piece.takes = joined
                .took_in
                .map(|taken| (joined.slot, taken))
                .or(piece.takes);
            piece.windows.push(self.sessions.window(joined.slot));
            block.slots.push(joined.slot);
        }
        self.piece(rows, &block, &mut piece, out);
        self.block = block;
        self.state_bytes_max = self.state_bytes_max.max(self.state_bytes());
    }

    /// Adds the rows of a piece of a block, and makes theirs.
    fn piece(
        &mut self,
        rows: &KeyedRows,
        block: &Block,
        piece: &mut Piece,
        out: &mut Vec<OutputRows>,
    ) {
        let Piece {
            begin,
            windows,
            moved,
            takes,
        } = std::mem::take(piece);
        if windows.is_empty() {
            return;
        }
        let end = begin + windows.len();
        piece.begin = end;
        let (picked, slots) = (&block.picked[begin..end], &block.slots[begin..end]);
        self.groups.grow(self.sessions.slots());
        if let Some((slot, taken)) = takes {
            self.groups.join(&[slot], &[taken]);
        }
        let values = GroupValues {
            rows: picked.len(),
            keys: take_columns(&rows.keys, picked),
            aggregates: self.groups.update_running(slots, rows, picked),
            cause: Cause {
                window: None,
                is_final: false,
                due_us: rows.due_us,
                ready_ns: (self.monotonic_ns)(),
            },
        };
        let marks = self.groups.marks();
        let marked = marks.map(|marks| Marked {
            marks,
            groups: slots,
        });
        let made = self.maker.make_of_sessions(windows, values, marked, &moved);
        if !RowMaker::is_nothing(&made) {
            out.push(made);
        }
    }

    /// Leaves in `block` the rows that are accepted, and their keys; nothing else.
    fn pick(&mut self, rows: &KeyedRows, block: &mut Block) {
        assert_eq!(rows.panes.len(), rows.len(), "a row has an event time");
        block.picked.clear();
        block.slots.clear();
        block.into.clear();
        block.from.clear();
        let times = (0..).zip(&rows.panes);
        let sessions = &self.sessions;
        let taken = times.filter(|(_, time)| sessions.takes(EventTime(**time)));
        block.picked.extend(taken.map(|(row, _)| row));
        self.late_after_idle += (rows.len() - block.picked.len()) as u64;
        self.groups
            .find_keys(&mut self.space, rows, &block.picked, &mut block.keys);
    }

    /// The query's watermark on this shard stands at `time`, moved there by a record that was due at `due_us` (wall
    /// clock, microseconds). What fires is emitted by `fire_slice`. `Watermark::END` is the end of input.
    pub fn watermark(&mut self, time: Watermark, due_us: i64) {
        self.sessions.close(time);
        if self.released.is_none() && self.sessions.has_fired() {
            self.released = Some((due_us, (self.monotonic_ns)()));
        }
    }

    /// The watermark at which a session may fire next; `None` where none is open.
    pub fn closes_next(&self) -> Option<Watermark> {
        self.sessions.next_closing()
    }

    /// Lets what has fired leave, and looks at no more than `max_sessions`; whether there is more. Under EMIT CHANGES they leave
    /// without a row.
    pub fn fire_slice(&mut self, max_sessions: usize, out: &mut Vec<OutputRows>) -> bool {
        self.fired.clear();
        self.sessions.fire(max_sessions, &mut self.fired);
        if !self.fired.is_empty() {
            let slots: Vec<u32> = self.fired.iter().map(|one| one.slot).collect();
            if self.emit == EmitPolicy::Final {
                let made = self.final_rows(&slots);
                if !RowMaker::is_nothing(&made) {
                    out.push(made);
                }
            }
            self.groups.reset(&slots);
            for gone in self.fired.iter().filter(|one| one.was_last) {
                self.groups.remove_key(&mut self.space, gone.key);
            }
            self.long_probes += self.groups.take_long_probes() + self.space.take_long_probes();
        }
        if self.sessions.slots() == 0 {
            self.groups.clear();
        }
        let more = self.sessions.has_fired();
        if !more {
            self.released = None;
        }
        more
    }

    /// The rows of what has fired, whose slots these are.
    fn final_rows(&self, slots: &[u32]) -> OutputRows {
        let keys: Vec<u32> = self.fired.iter().map(|one| one.key).collect();
        let windows = self.fired.iter().map(|one| one.window).collect();
        let (due_us, ready_ns) = self
            .released
            .expect("sessions fire when a watermark has passed them");
        let values = GroupValues {
            rows: slots.len(),
            keys: self.groups.keys(&self.space, &keys),
            aggregates: self.groups.finish(slots),
            cause: Cause {
                window: None,
                is_final: true,
                due_us,
                ready_ns,
            },
        };
        self.maker.make_of_sessions(windows, values, None, &[])
    }

    /// Number of records left out because the query had closed their session although their own partition accepted them.
    pub fn late_after_idle(&self) -> u64 {
        self.late_after_idle
    }

    /// Forgets them: what was read again had been counted before.
    pub fn forget_late(&mut self) {
        self.late_after_idle = 0;
    }

    /// The memory that holds its state.
    pub fn ranges(&self) -> Vec<MemoryRange> {
        self.space.ranges().chain(self.groups.ranges()).collect()
    }

    /// Most bytes that sessions and dictionaries have taken at once.
    pub fn state_bytes_max(&self) -> u64 {
        self.state_bytes_max
    }

    /// What it holds now.
    pub fn held(&self) -> Held {
        let sessions = self.sessions.open_sessions() as u64;
        Held {
            groups: sessions,
            open_windows: sessions,
            state_bytes: self.state_bytes(),
        }
    }

    /// Searches for a key or a dictionary entry that went past many others.
    pub fn long_probes(&self) -> u64 {
        self.long_probes
    }

    /// Whether a session waits to be looked at that may have fired. Whoever brings rows holds them back then.
    pub fn is_behind(&self) -> bool {
        self.sessions.has_fired()
    }

    fn state_bytes(&self) -> u64 {
        (self.space.bytes() + self.groups.bytes() + self.sessions.bytes()) as u64
    }
}

#[cfg(test)]
mod tests;
