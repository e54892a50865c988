//! Grouping by sessions: keyed rows in, result rows out.
//!
//! ```text
//!   rows(KeyedRows) --SlotGroups: key ids--> Sessions: slots, what took in what --> SlotGroups: aggregates by slot
//!                   \--EMIT CHANGES: a row after each record; EVERY n ROWS: after some; late = update: behind the end --> out
//!   watermark(..)   --> Sessions                  fire_slice: at most n sessions --> rows --> out
//!                                                            \--slot emptied, key removed with its last session
//! ```
//!
//! What leaves when: `changes.rs` with its record, `held.rs` what EVERY holds back, `fired.rs` when the watermark has passed it, or
//! its end (`late = 'update'`).
//!
//! Laws: a session fires once, when the watermark is beyond its end plus grace. The rows do not depend on the order of the
//! records, on where a block ends or on how firing is sliced. A record that might have belonged to a session which has fired is
//! left out and counted (`late_after_idle`); it cannot happen to one that was accepted by a partition which was never idle.
//!
//! The records of a block are put into their sessions first, in their order; then they are added to the aggregates, and then
//! what was taken in is joined. Aggregates do not care for the order (`group/aggregate`), and a block costs one call of each.
//!
//! A synchronous state machine, as `window_aggregate.rs` is, with the same calls.

mod changes;
mod fired;
mod held;

use velostream_shards::{MemoryRange, NodeMemory};

use self::held::Hold;
use super::standing::Held;
use super::window_aggregate::key_space;
use crate::emit::{Maker, Marked, OutputRows, RowMaker};
use crate::error::Result;
use crate::exchange::KeyedRows;
use crate::group::{KeySpace, SlotGroups};
use crate::plan::{AggregatePlan, Emission, EmitPolicy};
use crate::time::{EventTime, Watermark};
use crate::window::{Fired, Sessions};

/// The sessions of one query on one shard.
#[derive(Debug)]
pub struct SessionAggregate {
    emission: Emission,
    maker: RowMaker,
    /// Whether it is remembered of which sessions a row is out.
    knows_standing: bool,
    space: KeySpace,
    groups: SlotGroups,
    sessions: Sessions,
    /// When what is held back leaves.
    hold: Hold,
    /// Rows that left at once behind the end of their session.
    corrections: u64,
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
    /// The slots of a slice; kept for their capacity.
    slots: Vec<u32>,
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

impl SessionAggregate {
    /// An operator with no sessions; see `WindowAggregate::new`.
    ///
    /// # Errors
    /// As `WindowAggregate::new`.
    pub fn new(
        plan: &AggregatePlan,
        sessions: Sessions,
        emission: Emission,
        maker: RowMaker,
        seed: u64,
        monotonic_ns: fn() -> u64,
        node: Option<NodeMemory>,
    ) -> Result<SessionAggregate> {
        let Emission { policy, corrects } = emission;
        let space = key_space(plan, seed, node)?;
        let holds_back = policy.updates() && policy != EmitPolicy::Changes;
        // Where every record has given a row, only HAVING decides of which sessions one is out.
        let knows_standing = match policy {
            EmitPolicy::Changes => maker.withdraws(),
            _ => maker.withdraws_moved() && (holds_back || corrects),
        };
        let marked = holds_back || knows_standing;
        Ok(SessionAggregate {
            emission,
            knows_standing,
            groups: SlotGroups::new(&plan.aggregates, &space, marked)?,
            maker,
            space,
            sessions: match corrects {
                true => sessions.with_ends(),
                false => sessions,
            },
            hold: Hold::new(policy),
            corrections: 0,
            released: None,
            late_after_idle: 0,
            monotonic_ns,
            state_bytes_max: 0,
            long_probes: 0,
            block: Block::default(),
            fired: Vec::new(),
            slots: Vec::new(),
        })
    }

    /// A life before this one may have written rows of sessions of which nothing is known here.
    pub fn doubt(&mut self) {
        self.maker.doubt();
    }

    /// Adds accepted rows to their sessions, and appends the rows that leave with them to `out`.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "rows end here: nobody may use them again"
    )]
    pub fn rows(&mut self, rows: KeyedRows, out: &mut Vec<OutputRows>) {
        if self.emission == Emission::from(EmitPolicy::Final) {
            self.update(&rows);
        } else {
            self.changes(&rows, out);
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
        if self.released.is_none() && self.is_behind() {
            self.released = Some((due_us, (self.monotonic_ns)()));
        }
    }

    /// The watermark at which a session may end or fire next; `None` where none is open.
    pub fn closes_next(&self) -> Option<Watermark> {
        self.sessions.next_closing()
    }

    /// Rows that left at once behind the end of their session, before HAVING.
    pub fn corrections(&self) -> u64 {
        self.corrections
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

    /// Whether a session waits to be looked at that may have ended or fired. Whoever brings rows holds them back then.
    pub fn is_behind(&self) -> bool {
        self.sessions.has_ended() || self.sessions.has_fired()
    }

    /// Whether nothing that has ended, fired or was let go waits to leave.
    pub fn is_idle(&self) -> bool {
        !self.is_behind() && !self.groups.is_leaving()
    }

    fn state_bytes(&self) -> u64 {
        (self.space.bytes() + self.groups.bytes() + self.sessions.bytes()) as u64
    }
}

/// Appends what was made, if it is anything.
fn push(out: &mut Vec<OutputRows>, made: OutputRows) {
    if !RowMaker::is_nothing(&made) {
        out.push(made);
    }
}

/// What is known of the sessions in these slots, where anything has to be.
fn marked<'m>(groups: &'m mut SlotGroups, knows: bool, slots: &'m [u32]) -> Option<Marked<'m>> {
    let marks = groups.marks().filter(|_| knows)?;
    Some(Marked {
        marks,
        groups: slots,
    })
}

#[cfg(test)]
mod tests;
