//! Keys to dense group ids to accumulator columns: the state of one pane, or of a query without a window.
//!
//! ```text
//!   KeySpace (one a query and shard):  key columns --Dictionary, KeyLayout--> packed words
//!   Groups (one a pane):               packed words --GroupTable--> group ids --Accumulator (one an aggregate)--> columns
//!                                                                       \--Marks: changed, counted, out (where emission asks)
//!   SlotGroups (sessions):             packed words --LiveKeys----> key ids, and columns by slots that are used again
//! ```
//!
//! Laws: a key has one id, ids are dense and in the order in which keys were first seen, and every accumulator has a
//! value for each of them. Nothing here depends on hash order. A group holds the dictionary entries of its key from the
//! row that made it until it is released; every group is released exactly once before its pane is cleared.
//!
//! The state of a pane lies in its arena: growing copies nothing, and forgetting the groups frees nothing one by one. State
//! is separable by key group: `keys` gives the key columns of a range of groups, and `exchange::stable_hashes` their
//! key groups.

mod aggregate;
mod arena;
mod byte_slab;
mod dense;
mod dictionary;
mod live_keys;
mod marks;
mod pack;
mod slot_groups;
mod slots;
mod table;

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

use datafusion_common::arrow::array::{Array, ArrayRef};
use datafusion_common::arrow::datatypes::DataType;
use velostream_shards::{MemoryRange, NodeMemory};

pub use aggregate::{Accumulator, Finished, build};
pub use arena::Arena;
pub use marks::{Marks, Standing};
pub use slot_groups::SlotGroups;

use self::dictionary::Dictionary;
use self::pack::KeyLayout;
use self::table::GroupTable;
use crate::error::Result;
use crate::exchange::KeyedRows;
use crate::plan::AggregateSpec;

/// What the panes of a query share on one shard: how keys are packed, and the values that they name.
#[derive(Debug)]
pub struct KeySpace {
    layout: KeyLayout,
    dictionaries: Vec<Dictionary>,
    seed: u64,
    /// Where state is kept: on the node of the shard.
    node: Option<NodeMemory>,
    /// The packed keys of the rows of an update, and their groups; kept for their capacity.
    packed: Vec<u64>,
    ids: Vec<u32>,
    /// All rows of what is merged; kept for its capacity.
    all: Vec<u32>,
}

impl KeySpace {
    /// Keys of these columns, normalised, each with whether it may be NULL. Tables hash under `seed`; state is kept on
    /// `node`, or wherever the system puts it.
    pub fn new(columns: &[(DataType, bool)], seed: u64, node: Option<NodeMemory>) -> KeySpace {
        let layout = KeyLayout::new(columns);
        let dictionaries = (0..layout.dictionaries())
            .map(|_| Dictionary::new(seed, node.clone()))
            .collect();
        KeySpace {
            layout,
            dictionaries,
            seed,
            node,
            packed: Vec::new(),
            ids: Vec::new(),
            all: Vec::new(),
        }
    }

    /// Leaves the packed keys of the rows at `picked` in `packed`.
    fn pack(&mut self, rows: &KeyedRows, picked: &[u32]) {
        let KeySpace {
            layout,
            dictionaries,
            packed,
            ..
        } = self;
        layout.pack(&rows.keys, picked, dictionaries, packed);
    }

    /// Bytes that the dictionaries take.
    pub fn bytes(&self) -> usize {
        self.dictionaries.iter().map(Dictionary::bytes).sum()
    }

    /// The memory of the dictionaries' entries.
    pub fn ranges(&self) -> impl Iterator<Item = MemoryRange> {
        self.dictionaries.iter().flat_map(Dictionary::ranges)
    }

    /// The groups of the rows that were added last, in their order.
    pub fn groups_of_rows(&self) -> &[u32] {
        &self.ids
    }

    /// Searches in dictionaries that took long, since this was last asked.
    pub fn take_long_probes(&mut self) -> u64 {
        let dictionaries = self.dictionaries.iter_mut();
        dictionaries.map(Dictionary::take_long_probes).sum()
    }
}

/// A seed that no other process has.
pub fn random_seed() -> u64 {
    RandomState::new().hash_one(0)
}

/// The column of `rows` that an accumulator takes. Its type is held to the last digit of its scale: the accumulators read the
/// numbers of a DECIMAL without it.
fn argument_of<'r>(
    rows: &'r KeyedRows,
    argument: Option<&(usize, DataType)>,
) -> Option<&'r ArrayRef> {
    let (index, planned) = argument?;
    let column = &rows.arguments[*index];
    assert_eq!(column.data_type(), planned, "an argument of another type");
    Some(column)
}

/// Groups and the state of their aggregates.
#[derive(Debug)]
pub struct Groups {
    table: GroupTable,
    accumulators: Vec<Box<dyn Accumulator>>,
    /// The types of the columns that the state of each of them travels in.
    partial_types: Vec<Vec<DataType>>,
    /// What is remembered of each group for whoever emits; `None` where nothing has to be.
    marks: Option<Marks>,
    /// Where the keys and the state of the accumulators lie.
    arena: Arena,
    /// Index into `KeyedRows::arguments` for each accumulator, and the type that it has there.
    arguments: Vec<Option<(usize, DataType)>>,
    /// Groups that have been released, from the first on.
    released: usize,
    /// What `grown_bytes` has said so far, all told.
    told_bytes: usize,
}

impl Groups {
    /// No groups yet, of keys of `space`; room for about `expected` of them.
    ///
    /// # Errors
    /// `Error::Config` names an aggregate that cannot be computed over its argument's type, and what to do instead.
    pub fn new(aggregates: &[AggregateSpec], space: &KeySpace, expected: usize) -> Result<Groups> {
        let mut table = GroupTable::new(space.layout.words(), space.seed, space.node.clone());
        table.expect(expected);
        let accumulators: Vec<_> = aggregates.iter().map(build).collect::<Result<_>>()?;
        let partial_types = accumulators.iter().map(|one| one.partial_types());
        Ok(Groups {
            table,
            partial_types: partial_types.collect(),
            accumulators,
            marks: None,
            arena: Arena::new(space.node.clone()),
            arguments: aggregates
                .iter()
                .map(|aggregate| Some((aggregate.argument?, aggregate.argument_type.clone())))
                .collect(),
            released: 0,
            told_bytes: 0,
        })
    }

    /// Each group has a mark.
    #[must_use]
    pub fn marked(self) -> Groups {
        assert!(self.is_empty(), "a group has a mark from the first on");
        Groups {
            marks: Some(Marks::default()),
            ..self
        }
    }

    /// The marks of the groups, if they have any.
    pub fn marks(&mut self) -> Option<&mut Marks> {
        self.marks.as_mut()
    }

    /// Whether rows of groups are held back that were not let go.
    pub fn is_holding(&self) -> bool {
        self.marks.as_ref().is_some_and(Marks::is_holding)
    }

    /// Number of groups.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is no group.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes taken from the system since this was last asked, less those given back.
    pub fn grown_bytes(&mut self) -> i64 {
        let lists = self.marks.as_ref().map_or(0, Marks::list_bytes);
        let bytes = self.table.bytes() + self.arena.reserved_bytes() + lists;
        let before = std::mem::replace(&mut self.told_bytes, bytes);
        bytes as i64 - before as i64
    }

    /// What `grown_bytes` has said so far, all told.
    pub fn told_bytes(&self) -> i64 {
        self.told_bytes as i64
    }

    /// The memory of keys and accumulators.
    pub fn ranges(&self) -> impl Iterator<Item = MemoryRange> {
        self.arena.ranges().chain(self.table.ranges())
    }

    /// Searches for groups that took long, since this was last asked.
    pub fn take_long_probes(&mut self) -> u64 {
        self.table.take_long_probes()
    }

    /// Adds the rows at `picked` to their groups.
    pub fn update(&mut self, space: &mut KeySpace, rows: &KeyedRows, picked: &[u32]) {
        self.find_groups(space, rows, picked);
        for (accumulator, argument) in self.accumulators.iter_mut().zip(&self.arguments) {
            let argument = argument_of(rows, argument.as_ref());
            accumulator.update(&space.ids, picked, argument, &self.arena);
        }
    }

    /// Adds the rows at `picked` to their groups, and returns for each aggregate the value of the row's group just after
    /// it: one value a picked row, in their order.
    pub fn update_running(
        &mut self,
        space: &mut KeySpace,
        rows: &KeyedRows,
        picked: &[u32],
    ) -> Vec<Finished> {
        self.find_groups(space, rows, picked);
        let arena = &self.arena;
        self.accumulators
            .iter_mut()
            .zip(&self.arguments)
            .map(|(accumulator, argument)| {
                let argument = argument_of(rows, argument.as_ref());
                let running = accumulator.running(&space.ids, picked, argument, arena);
                assert_eq!(
                    running.values.len(),
                    picked.len(),
                    "a value after every row"
                );
                running
            })
            .collect()
    }

    /// Adds the rows at `picked` to their groups, whose rows are held back.
    pub fn update_holding(&mut self, space: &mut KeySpace, rows: &KeyedRows, picked: &[u32]) {
        self.update(space, rows, picked);
        self.marks_of_all().changed(&space.ids);
    }

    /// As `update_running`; appends to `due` the places in `picked` of the rows that are the `every`-th of their group. The rows of
    /// other groups are held back.
    pub fn update_counting(
        &mut self,
        space: &mut KeySpace,
        rows: &KeyedRows,
        picked: &[u32],
        every: u32,
        due: &mut Vec<u32>,
    ) -> Vec<Finished> {
        let running = self.update_running(space, rows, picked);
        self.marks_of_all().counted(&space.ids, every, due);
        running
    }

    /// Adds the rows at `picked` to their groups and counts them; their rows have left before.
    pub fn update_counted(
        &mut self,
        space: &mut KeySpace,
        rows: &KeyedRows,
        picked: &[u32],
        every: u32,
    ) {
        self.update(space, rows, picked);
        self.marks_of_all().counted_before(&space.ids, every);
    }

    fn marks_of_all(&mut self) -> &mut Marks {
        self.marks.as_mut().expect("the groups are marked")
    }

    /// For each aggregate the values of these groups, in their order.
    pub fn finish_each(&self, groups: &[u32]) -> Vec<Finished> {
        let accumulators = self.accumulators.iter();
        accumulators
            .map(|accumulator| accumulator.finish_each(groups))
            .collect()
    }

    /// The key columns of these groups, in their order.
    pub fn keys_each(&self, space: &KeySpace, groups: &[u32]) -> Vec<ArrayRef> {
        assert_eq!(self.released, 0, "only groups that are held have a key");
        let words = self.table.words();
        space.layout.unpack_each(words, groups, &space.dictionaries)
    }

    /// For each aggregate the values of `groups`, a range of group ids, in the order of ids.
    pub fn finish(&self, groups: Range<usize>) -> Vec<Finished> {
        assert!(
            groups.end <= self.len(),
            "only groups that exist have a value"
        );
        self.accumulators
            .iter()
            .map(|accumulator| {
                let finished = accumulator.finish(groups.clone());
                assert_eq!(
                    finished.values.len(),
                    groups.len(),
                    "a value for every group"
                );
                finished
            })
            .collect()
    }

    /// The state of `groups`, a range of group ids, as plain columns: those of the first aggregate, then of the second, and
    /// so on, in the order of ids.
    pub fn partial(&self, groups: Range<usize>) -> Vec<ArrayRef> {
        assert!(
            groups.end <= self.len(),
            "only groups that exist have a state"
        );
        let mut states = Vec::new();
        for (accumulator, types) in self.accumulators.iter().zip(&self.partial_types) {
            let partial = accumulator.partial(groups.clone());
            assert_partial(types, &partial, groups.len());
            states.extend(partial);
        }
        states
    }

    /// Adds groups that others aggregated: a key a row, and as arguments at least the columns of `partial`.
    pub fn merge(&mut self, space: &mut KeySpace, groups: &KeyedRows) {
        let mut all = std::mem::take(&mut space.all);
        all.clear();
        all.extend(0..groups.len() as u32);
        self.find_groups(space, groups, &all);
        self.merge_states(space, &groups.arguments, &all);
        space.all = all;
    }

    /// Adds `groups`, a range of the group ids of `from`, which has the same aggregates and keys of the same space.
    pub fn merge_groups(&mut self, space: &mut KeySpace, from: &Groups, groups: Range<usize>) {
        assert!(
            from.released <= groups.start && groups.end <= from.len(),
            "only groups that exist can be merged"
        );
        let mut all = std::mem::take(&mut space.all);
        all.clear();
        all.extend(0..groups.len() as u32);
        let words = from.table.words();
        space.packed.clear();
        space.packed.resize(groups.len() * words.len(), 0);
        for (place, word) in words.iter().enumerate() {
            let keys = space.packed.chunks_exact_mut(words.len());
            for (key, value) in keys.zip(word.values(groups.clone())) {
                key[place] = value;
            }
        }
        self.find_packed(space);
        self.merge_states(space, &from.partial(groups), &all);
        space.all = all;
    }

    /// Adds the state of others: row `rows[i]` of `states`, which begin with the columns of `partial`, to the group `space.ids[i]`.
    fn merge_states(&mut self, space: &KeySpace, mut states: &[ArrayRef], rows: &[u32]) {
        for (accumulator, types) in self.accumulators.iter_mut().zip(&self.partial_types) {
            let (partial, others) = states
                .split_at_checked(types.len())
                .expect("the sender has the aggregates of the receiver");
            assert_partial(types, partial, rows.len());
            accumulator.merge(&space.ids, rows, partial, &self.arena);
            states = others;
        }
    }

    /// The key columns of `groups`, a range of group ids, in the order of ids.
    pub fn keys(&self, space: &KeySpace, groups: Range<usize>) -> Vec<ArrayRef> {
        assert!(
            self.released <= groups.start && groups.end <= self.len(),
            "only groups that exist have a key"
        );
        let words = self.table.words();
        space.layout.unpack(words, groups, &space.dictionaries)
    }

    /// Number of groups that have not been released.
    pub fn held(&self) -> usize {
        self.len() - self.released
    }

    /// Lets go of the keys of the next groups, at most `groups` of them. They have no key from here on.
    pub fn release(&mut self, space: &mut KeySpace, groups: usize) {
        let next = self.released..self.released + groups.min(self.held());
        self.released = next.end;
        let words = self.table.words();
        space.layout.release(words, next, &mut space.dictionaries);
    }

    /// Forgets all groups, which have been released, and keeps the memory.
    pub fn clear(&mut self) {
        assert_eq!(
            self.held(),
            0,
            "groups are released before they are forgotten"
        );
        self.released = 0;
        self.table.clear();
        for accumulator in &mut self.accumulators {
            accumulator.clear();
        }
        if let Some(marks) = &mut self.marks {
            marks.clear();
        }
        self.arena.reset();
    }

    /// Leaves the group of each picked row in `space.ids`, and room for all groups in the accumulators.
    fn find_groups(&mut self, space: &mut KeySpace, rows: &KeyedRows, picked: &[u32]) {
        space.pack(rows, picked);
        self.find_packed(space);
        assert_eq!(space.ids.len(), picked.len(), "a group for every row");
    }

    /// The same for the keys in `space.packed`.
    fn find_packed(&mut self, space: &mut KeySpace) {
        assert_eq!(self.released, 0, "a pane that is leaving takes no rows");
        let KeySpace {
            layout,
            dictionaries,
            packed,
            ids,
            ..
        } = space;
        let before = self.len();
        ids.clear();
        self.table.assign(packed, ids, &self.arena);
        let groups = self.len();
        if groups == before {
            return;
        }
        layout.retain(self.table.words(), before..groups, dictionaries);
        for accumulator in &mut self.accumulators {
            accumulator.grow(groups, &self.arena);
        }
        if let Some(marks) = &mut self.marks {
            marks.grow(groups, &self.arena);
        }
    }
}

/// The columns that an aggregate's state travels in have these types, and a row for each group.
fn assert_partial(types: &[DataType], partial: &[ArrayRef], groups: usize) {
    let as_agreed = |(column, agreed)| {
        let column: &ArrayRef = column;
        column.data_type() == agreed && column.len() == groups
    };
    assert!(
        partial.len() == types.len() && partial.iter().zip(types).all(as_agreed),
        "partials of the types and the number of groups that were agreed"
    );
}
