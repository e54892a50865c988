//! Keys to dense group ids to accumulator columns: the state of one pane, or of a query without a window.
//!
//! ```text
//!   KeyedRows --GroupTable--> group id of each row --Accumulator (one an aggregate)--> columns by group id
//! ```
//!
//! Laws: a key has one id, ids are dense and in the order in which keys were first seen, and every accumulator has a
//! value for each of them. Nothing here depends on hash order. `clear` forgets the groups and keeps the memory.
//!
//! The state of the aggregates lies in the arena of the pane: growing copies nothing, and forgetting the groups frees nothing
//! one by one.

mod aggregate;
mod arena;
mod table;

use std::ops::Range;

pub use aggregate::{Accumulator, Finished, build};
pub use table::GroupTable;

use self::arena::Arena;
use crate::error::Result;
use crate::exchange::KeyedRows;
use crate::plan::AggregateSpec;

/// Groups and the state of their aggregates.
#[derive(Debug)]
pub struct Groups {
    table: GroupTable,
    accumulators: Vec<Box<dyn Accumulator>>,
    /// Where the state of the accumulators lies.
    arena: Arena,
    /// Index into `KeyedRows::arguments` for each accumulator.
    arguments: Vec<Option<usize>>,
    /// The group of each picked row of the last update; kept for its capacity.
    ids: Vec<u32>,
}

impl Groups {
    /// No groups yet.
    ///
    /// # Errors
    /// `Error::Config` names an aggregate that cannot be computed over its argument's type, and what to do instead.
    pub fn new(aggregates: &[AggregateSpec]) -> Result<Groups> {
        Ok(Groups {
            table: GroupTable::new(),
            accumulators: aggregates.iter().map(build).collect::<Result<_>>()?,
            arguments: aggregates
                .iter()
                .map(|aggregate| aggregate.argument)
                .collect(),
            arena: Arena::new(),
            ids: Vec::new(),
        })
    }

    /// Number of groups.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is no group.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Adds the rows at `picked` to their groups.
    pub fn update(&mut self, rows: &KeyedRows, picked: &[u32]) {
        self.find_groups(rows, picked);
        for (accumulator, argument) in self.accumulators.iter_mut().zip(&self.arguments) {
            let argument = argument.map(|index| &rows.arguments[index]);
            accumulator.update(&self.ids, picked, argument, &self.arena);
        }
    }

    /// Adds the rows at `picked` to their groups, and returns for each aggregate the value of the row's group just after
    /// it: one value a picked row, in their order.
    pub fn update_running(&mut self, rows: &KeyedRows, picked: &[u32]) -> Vec<Finished> {
        self.find_groups(rows, picked);
        let (ids, arena) = (&self.ids, &self.arena);
        self.accumulators
            .iter_mut()
            .zip(&self.arguments)
            .map(|(accumulator, argument)| {
                let argument = argument.map(|index| &rows.arguments[index]);
                let running = accumulator.running(ids, picked, argument, arena);
                assert_eq!(
                    running.values.len(),
                    picked.len(),
                    "a value after every row"
                );
                running
            })
            .collect()
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

    /// The keys of `groups`, a range of group ids, in the order of ids.
    pub fn keys(&self, groups: Range<usize>) -> impl Iterator<Item = &[u8]> {
        groups.map(|id| self.table.key(id as u32))
    }

    /// Forgets all groups and keeps the memory.
    pub fn clear(&mut self) {
        self.table.clear();
        for accumulator in &mut self.accumulators {
            accumulator.clear();
        }
        self.arena.reset();
    }

    /// Leaves the group of each picked row in `ids`, and room for all groups in the accumulators.
    fn find_groups(&mut self, rows: &KeyedRows, picked: &[u32]) {
        self.ids.clear();
        self.table.assign(&rows.keys, picked, &mut self.ids);
        assert_eq!(self.ids.len(), picked.len(), "a group for every row");
        for accumulator in &mut self.accumulators {
            accumulator.grow(self.table.len(), &self.arena);
        }
    }
}
