//! Rows and partials to their owners.
//!
//! Law: every row (or group) goes to exactly one shard, the owner of its key, and rows of one owner keep their order. When all rows
//! have one owner they are moved, not copied.

use super::{FAN_IN_OWNER, KeyedRows, Partials, key_group, owner};
use crate::plan::ExchangeStrategy;

/// Splits `rows` by owner: element `s` of the result goes to shard `s`, `None` when nothing does.
///
/// `strategy` is what the plan chose: `Hash` or `FanIn`. The others have no owner to send to, and panic.
pub fn split(rows: KeyedRows, shards: usize, strategy: ExchangeStrategy) -> Vec<Option<KeyedRows>> {
    assert!(shards >= 1, "rows need a shard to go to");
    let mut split: Vec<Option<KeyedRows>> = (0..shards).map(|_| None).collect();
    if rows.is_empty() {
        return split;
    }
    match strategy {
        ExchangeStrategy::FanIn => split[FAN_IN_OWNER] = Some(rows),
        ExchangeStrategy::Hash => by_owner(rows, &mut split),
        ExchangeStrategy::Auto | ExchangeStrategy::Smart | ExchangeStrategy::RoundRobin => {
            panic!("a plan has chosen its exchange")
        }
        ExchangeStrategy::Sticky | ExchangeStrategy::None => {
            panic!("what stays on its shard is sent to nobody")
        }
    }
    split
}

/// Splits `partials` by owner, as `split` does rows.
pub fn split_partials(
    partials: Partials,
    shards: usize,
    strategy: ExchangeStrategy,
) -> Vec<Option<Partials>> {
    let Partials {
        pane,
        groups,
        records,
    } = partials;
    let of_pane = |groups| Partials {
        pane,
        groups,
        records,
    };
    split(groups, shards, strategy)
        .into_iter()
        .map(|share| share.map(of_pane))
        .collect()
}

/// A counting sort of the row indexes by owner, then one `take` an owner.
fn by_owner(mut rows: KeyedRows, split: &mut [Option<KeyedRows>]) {
    let shards = split.len();
    assert_eq!(
        rows.hashes.len(),
        rows.len(),
        "rows that may cross have a hash"
    );
    let owners: Vec<u16> = rows
        .hashes
        .iter()
        .map(|&hash| owner(key_group(hash), shards) as u16)
        .collect();

    let mut starts = vec![0u32; shards + 1];
    for &owner in &owners {
        starts[owner as usize + 1] += 1;
    }
    let first = owners[0] as usize;
    if starts[first + 1] as usize == owners.len() {
        rows.hashes.clear();
        split[first] = Some(rows);
        return;
    }
    for shard in 0..shards {
        starts[shard + 1] += starts[shard];
    }

    let mut order = vec![0u32; owners.len()];
    let mut next = starts.clone();
    for (row, &owner) in owners.iter().enumerate() {
        order[next[owner as usize] as usize] = row as u32;
        next[owner as usize] += 1;
    }
    for (shard, part) in split.iter_mut().enumerate() {
        let picked = &order[starts[shard] as usize..starts[shard + 1] as usize];
        if !picked.is_empty() {
            *part = Some(rows.take(picked));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion_common::arrow::array::{ArrayRef, AsArray, Int64Array};
    use datafusion_common::arrow::datatypes::Int64Type;

    use super::*;
    use crate::exchange::stable_hashes;

    /// Rows whose argument is their number, with key `key(row)`.
    fn numbered(count: i64, key: impl Fn(i64) -> i64) -> KeyedRows {
        let keys: Vec<ArrayRef> = vec![Arc::new(Int64Array::from_iter_values((0..count).map(key)))];
        KeyedRows {
            rows: count as usize,
            hashes: stable_hashes(&keys, count as usize),
            keys,
            panes: (0..count).collect(),
            arguments: vec![Arc::new(Int64Array::from_iter_values(0..count))],
            due_us: 1,
        }
    }

    fn numbers(rows: &KeyedRows) -> Vec<i64> {
        rows.arguments[0]
            .as_primitive::<Int64Type>()
            .values()
            .to_vec()
    }

    #[test]
    fn every_row_goes_to_the_owner_of_its_key_in_its_order() {
        for shards in [1, 2, 3, 7] {
            let parts = split(
                numbered(1000, |row| row % 37),
                shards,
                ExchangeStrategy::Hash,
            );
            assert_eq!(parts.len(), shards);
            let mut seen = Vec::new();
            for (shard, part) in parts.iter().enumerate() {
                let Some(part) = part else { continue };
                part.assert_consistent();
                assert!(
                    stable_hashes(&part.keys, part.len())
                        .into_iter()
                        .all(|hash| owner(key_group(hash), shards) == shard)
                );
                assert!(numbers(part).is_sorted());
                assert_eq!(numbers(part), part.panes);
                seen.extend(numbers(part));
            }
            seen.sort_unstable();
            assert_eq!(seen, (0..1000).collect::<Vec<i64>>());
        }
    }

    #[test]
    fn rows_of_one_owner_are_moved() {
        let rows = numbered(10, |_| 4);
        let before = rows.arguments[0]
            .as_primitive::<Int64Type>()
            .values()
            .as_ptr();
        let parts = split(rows, 7, ExchangeStrategy::Hash);
        let part = parts
            .into_iter()
            .flatten()
            .next()
            .expect("somebody owns the key");
        assert_eq!(
            part.arguments[0]
                .as_primitive::<Int64Type>()
                .values()
                .as_ptr(),
            before
        );
    }

    #[test]
    fn a_fan_in_sends_everything_to_one_shard() {
        let parts = split(numbered(100, |row| row), 3, ExchangeStrategy::FanIn);
        assert_eq!(parts[FAN_IN_OWNER].as_ref().map(KeyedRows::len), Some(100));
        assert_eq!(parts.iter().flatten().count(), 1);
    }

    #[test]
    fn no_rows_go_nowhere() {
        assert!(
            split(numbered(0, |row| row), 3, ExchangeStrategy::Hash)
                .iter()
                .all(Option::is_none)
        );
    }
}
