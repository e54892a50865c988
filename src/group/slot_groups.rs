//! Keys and the state of their aggregates where both come and go one by one: sessions.
//!
//! ```text
//!   rows --KeyLayout, LiveKeys--> key ids --(the caller: which session of the key)--> slots --Accumulator--> columns by slot
//! ```
//!
//! Laws: a key holds the dictionary entries that it names from the row that brought it until `remove_key`. Whoever gives a slot
//! back resets it first, so a slot that is taken is empty. The memory is that of the most slots and keys at once.
//!
//! What it does not do: say which slot a row belongs to, or which slot is free (`window/sessions.rs`).

use datafusion_common::arrow::array::ArrayRef;
use datafusion_common::arrow::datatypes::DataType;
use velostream_shards::MemoryRange;

use super::live_keys::LiveKeys;
use super::{Accumulator, Arena, Finished, KeySpace, Marks, argument_of, build};
use crate::error::Result;
use crate::exchange::KeyedRows;
use crate::plan::AggregateSpec;

/// Keys, and aggregates by slot.
#[derive(Debug)]
pub struct SlotGroups {
    keys: LiveKeys,
    accumulators: Vec<Box<dyn Accumulator>>,
    /// Index into `KeyedRows::arguments` for each accumulator, and the type that it has there.
    arguments: Vec<Option<(usize, DataType)>>,
    /// Where the state of the accumulators lies.
    arena: Arena,
    /// What has left of each slot, and what waits to; `None` where it need not be known.
    marks: Option<Marks>,
    /// Slots that there is room for.
    slots: usize,
    /// The keys of a block that are new; kept for its capacity.
    fresh: Vec<u32>,
}

impl SlotGroups {
    /// No keys of `space`, and no slots; with `marked` each has a mark.
    ///
    /// # Errors
    /// `Error::Config` names an aggregate that cannot be computed over its argument's type, and what to do instead.
    pub fn new(aggregates: &[AggregateSpec], space: &KeySpace, marked: bool) -> Result<SlotGroups> {
        Ok(SlotGroups {
            keys: LiveKeys::new(space.layout.words(), space.seed, space.node.clone()),
            accumulators: aggregates.iter().map(build).collect::<Result<_>>()?,
            arguments: aggregates
                .iter()
                .map(|aggregate| Some((aggregate.argument?, aggregate.argument_type.clone())))
                .collect(),
            marks: marked.then(Marks::default),
            arena: Arena::new(space.node.clone()),
            slots: 0,
            fresh: Vec::new(),
        })
    }

    /// Bytes taken from the system.
    pub fn bytes(&self) -> usize {
        let lists = self.marks.as_ref().map_or(0, Marks::list_bytes);
        self.keys.bytes() + self.arena.reserved_bytes() + lists
    }

    /// The memory of keys and accumulators.
    pub fn ranges(&self) -> impl Iterator<Item = MemoryRange> {
        self.keys.ranges().chain(self.arena.ranges())
    }

    /// Searches for keys that took long, since this was last asked.
    pub fn take_long_probes(&mut self) -> u64 {
        self.keys.take_long_probes()
    }

    /// Leaves the id of the key of each picked row in `ids`.
    pub fn find_keys(
        &mut self,
        space: &mut KeySpace,
        rows: &KeyedRows,
        picked: &[u32],
        ids: &mut Vec<u32>,
    ) {
        space.pack(rows, picked);
        ids.clear();
        self.fresh.clear();
        self.keys.assign(&space.packed, ids, &mut self.fresh);
        assert_eq!(ids.len(), picked.len(), "a key for every row");
        let (layout, dictionaries) = (&space.layout, &mut space.dictionaries);
        layout.retain_each(self.keys.words(), &self.fresh, dictionaries);
    }

    /// Makes room for slots 0 to `slots`, less one.
    pub fn grow(&mut self, slots: usize) {
        if slots > self.slots {
            self.slots = slots;
            for accumulator in &mut self.accumulators {
                accumulator.grow(slots, &self.arena);
            }
            if let Some(marks) = &mut self.marks {
                marks.grow(slots, &self.arena);
            }
        }
    }

    /// Adds the rows at `picked` to these slots, one each.
    pub fn update(&mut self, slots: &[u32], rows: &KeyedRows, picked: &[u32]) {
        for (accumulator, argument) in self.accumulators.iter_mut().zip(&self.arguments) {
            let argument = argument_of(rows, argument.as_ref());
            accumulator.update(slots, picked, argument, &self.arena);
        }
    }

    /// The same; returns for each aggregate the value of the row's slot just after it.
    pub fn update_running(
        &mut self,
        slots: &[u32],
        rows: &KeyedRows,
        picked: &[u32],
    ) -> Vec<Finished> {
        let arena = &self.arena;
        let both = self.accumulators.iter_mut().zip(&self.arguments);
        both.map(|(accumulator, argument)| {
            let argument = argument_of(rows, argument.as_ref());
            accumulator.running(slots, picked, argument, arena)
        })
        .collect()
    }

    /// Adds slot `from[i]` to slot `into[i]`, pair after pair, and empties `from`.
    pub fn join(&mut self, into: &[u32], from: &[u32]) {
        if from.is_empty() {
            return;
        }
        for accumulator in &mut self.accumulators {
            accumulator.join(into, from);
            accumulator.reset(from);
        }
        if let Some(marks) = &mut self.marks {
            for (&into, &from) in into.iter().zip(from) {
                marks.take_in(into, from);
            }
        }
    }

    /// Empties these slots.
    pub fn reset(&mut self, slots: &[u32]) {
        for accumulator in &mut self.accumulators {
            accumulator.reset(slots);
        }
        if let Some(marks) = &mut self.marks {
            for &slot in slots {
                marks.forget(slot);
            }
        }
    }

    /// The marks of the slots, if they have any.
    pub fn marks(&mut self) -> Option<&mut Marks> {
        self.marks.as_mut()
    }

    /// Whether a slot waits to leave, held back or let go.
    pub fn holds(&self) -> bool {
        self.marks.as_ref().is_some_and(Marks::holds)
    }

    /// Whether a slot is held back that was not let go.
    pub fn is_holding(&self) -> bool {
        self.marks.as_ref().is_some_and(Marks::is_holding)
    }

    /// Whether slots were let go that have not left.
    pub fn is_leaving(&self) -> bool {
        self.marks.as_ref().is_some_and(Marks::is_leaving)
    }

    /// For each aggregate the values of these slots.
    pub fn finish(&self, slots: &[u32]) -> Vec<Finished> {
        let finished = self.accumulators.iter().map(|one| one.finish_each(slots));
        finished.collect()
    }

    /// The key columns of these keys.
    pub fn keys(&self, space: &KeySpace, ids: &[u32]) -> Vec<ArrayRef> {
        let layout = &space.layout;
        layout.unpack_each(self.keys.words(), ids, &space.dictionaries)
    }

    /// Lets go of a key.
    pub fn remove_key(&mut self, space: &mut KeySpace, id: u32) {
        let words = self.keys.words();
        space
            .layout
            .release_each(words, &[id], &mut space.dictionaries);
        self.keys.remove(id);
    }

    /// Forgets all slots, none of which is in use, when no key is left either, and gives memory back.
    pub fn clear(&mut self) {
        self.keys.clear();
        for accumulator in &mut self.accumulators {
            accumulator.clear();
        }
        if let Some(marks) = &mut self.marks {
            marks.clear();
        }
        self.slots = 0;
        self.arena.reset();
    }
}
