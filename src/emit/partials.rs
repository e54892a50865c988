//! Groups on their way to the shards that own their keys: the rows of a first phase are partials.
//!
//! Law: a partial says how many records it stands for, so that those which come too late are counted as records.

use std::ops::Range;

use super::{Closing, Maker};
use crate::error::Result;
use crate::exchange::{KeyedRows, Partials, stable_hashes};
use crate::group::{KeySpace, build};
use crate::plan::{AggregateKind, AggregateSpec};

/// Makes partials of groups.
#[derive(Debug)]
pub struct PartialMaker {
    /// The column of the state that counts the records of a group.
    records: usize,
}

impl PartialMaker {
    /// A maker for groups with these aggregates, and the aggregates that a first phase has: these, and behind them COUNT(*)
    /// unless it is among them.
    ///
    /// # Errors
    /// `Error::Config` names an aggregate that cannot be computed over its argument's type, and what to do instead.
    pub fn new(aggregates: &[AggregateSpec]) -> Result<(PartialMaker, Vec<AggregateSpec>)> {
        let mut counted = aggregates.to_vec();
        let counts_records =
            |one: &AggregateSpec| one.kind == AggregateKind::Count && one.argument.is_none();
        let place = counted.iter().position(counts_records).unwrap_or_else(|| {
            counted.push(AggregateSpec::count_of_records());
            counted.len() - 1
        });
        let mut records = 0;
        for before in &counted[..place] {
            records += build(before)?.partial_types().len();
        }
        Ok((PartialMaker { records }, counted))
    }
}

impl Maker for PartialMaker {
    type Made = Partials;

    fn fired(&self, closing: &mut Closing, ids: Range<usize>, space: &KeySpace) -> Partials {
        let (pane, due_us) = (closing.pane(), closing.due_us());
        let groups = closing.groups();
        let keys = groups.keys(space, ids.clone());
        let partials = Partials {
            pane,
            groups: KeyedRows {
                rows: ids.len(),
                hashes: stable_hashes(&keys, ids.len()),
                keys,
                panes: Vec::new(),
                arguments: groups.partial(ids),
                due_us,
            },
            records: self.records,
        };
        partials.assert_consistent();
        partials
    }

    fn is_nothing(made: &Partials) -> bool {
        made.is_empty()
    }
}
