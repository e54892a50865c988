//! Packed keys to dense group ids: the groups of one pane.
//!
//! ```text
//!   words of a key --one word, two--small-----> Dense --> id          words by id (in the pane's arena): to give keys back
//!                  |              \-else------> Slots --> id
//!                  \-more: two hashes of them--> Slots, then compare with the words of the id
//! ```
//!
//! Law: equal keys have one id, different keys have different ids, and the ids are 0, 1, 2, .. in the order in which the
//! keys were first seen.

use velostream_shards::{MemoryRange, NodeMemory};

use super::arena::{Arena, Segments};
use super::dense::{Dense, PLACES_MAX};
use super::slots::{Slots, hash_words};

/// The groups of one pane.
#[derive(Debug)]
pub struct GroupTable {
    index: Index,
    /// By word of the key: the words of each group.
    words: Vec<Segments<u64>>,
    /// The keys of a block that are not where they are looked for first; kept for its capacity.
    missing: Vec<u32>,
}

/// What the ids are found by.
#[derive(Debug)]
enum Index {
    /// Keys of one word.
    One(Dense, Slots<1>),
    /// Keys of two words.
    Two(Dense, Slots<2>),
    /// Longer keys, by two hashes; the second under this seed.
    Many(Slots<2>, u64),
}

impl GroupTable {
    /// No groups, of keys of `words` words; a large table is kept on this node.
    pub fn new(words: usize, seed: u64, node: Option<NodeMemory>) -> GroupTable {
        GroupTable {
            index: match words {
                0 => panic!("a key has a word, also one of no columns"),
                1 => Index::One(Dense::new(), Slots::new(seed, node)),
                2 => Index::Two(Dense::new(), Slots::new(seed, node)),
                _ => Index::Many(Slots::new(seed, node), hash_words(seed, &[1])),
            },
            words: (0..words).map(|_| Segments::new()).collect(),
            missing: Vec::new(),
        }
    }

    /// Number of groups.
    pub fn len(&self) -> usize {
        self.words[0].len()
    }

    /// The words of the keys: element `w` has the word `w` of each group.
    pub fn words(&self) -> &[Segments<u64>] {
        &self.words
    }

    /// Bytes taken from the system, without the arena.
    pub fn bytes(&self) -> usize {
        match &self.index {
            Index::One(dense, slots) => dense.bytes() + slots.bytes(),
            Index::Two(dense, slots) => dense.bytes() + slots.bytes(),
            Index::Many(slots, _) => slots.bytes(),
        }
    }

    /// The memory of a large table.
    pub fn ranges(&self) -> impl Iterator<Item = MemoryRange> {
        let (one, two) = match &self.index {
            Index::One(_, slots) => (Some(slots.ranges()), None),
            Index::Two(_, slots) | Index::Many(slots, _) => (None, Some(slots.ranges())),
        };
        one.into_iter().flatten().chain(two.into_iter().flatten())
    }

    /// Probes that took long, since this was last asked.
    pub fn take_long_probes(&mut self) -> u64 {
        match &mut self.index {
            Index::One(_, slots) => slots.take_long_probes(),
            Index::Two(_, slots) | Index::Many(slots, _) => slots.take_long_probes(),
        }
    }

    /// Makes room for about `groups` groups, while there are none. So few that they may all find a place by their keys need
    /// none.
    pub fn expect(&mut self, groups: usize) {
        match &mut self.index {
            Index::One(..) | Index::Two(..) if groups as u64 <= PLACES_MAX => {}
            Index::One(_, slots) => slots.expect(groups),
            Index::Two(_, slots) | Index::Many(slots, _) => slots.expect(groups),
        }
    }

    /// Appends the group of each of the packed keys to `out`, making those that are new.
    pub fn assign(&mut self, packed: &[u64], out: &mut Vec<u32>, arena: &Arena) {
        let GroupTable {
            index,
            words,
            missing,
        } = self;
        match index {
            Index::One(dense, slots) => {
                assign_fixed(dense, slots, packed, words, missing, out, arena);
            }
            Index::Two(dense, slots) => {
                assign_fixed(dense, slots, packed, words, missing, out, arena);
            }
            Index::Many(slots, seed) => {
                let keys = packed.chunks_exact(words.len());
                slots.advance(keys.len());
                out.extend(keys.map(|key| {
                    let fresh = fresh_id(words);
                    let hashes = [hash_words(0, key), hash_words(*seed, key)];
                    let same = |id: u32| {
                        let kept = words.iter().map(|word| word[id as usize]);
                        kept.eq(key.iter().copied())
                    };
                    let id = slots.find_or_insert(hashes, fresh, same);
                    if id == fresh {
                        keep(words, key, arena);
                    }
                    id
                }));
            }
        }
    }

    /// Forgets all groups, keeps the memory and lets go of the arena.
    pub fn clear(&mut self) {
        match &mut self.index {
            Index::One(dense, slots) => {
                dense.clear();
                slots.clear();
            }
            Index::Two(dense, slots) => {
                dense.clear();
                slots.clear();
            }
            Index::Many(slots, _) => slots.clear(),
        }
        for word in &mut self.words {
            word.clear();
        }
    }
}

/// The groups of keys of exactly `W` words.
fn assign_fixed<const W: usize>(
    dense: &mut Dense,
    slots: &mut Slots<W>,
    packed: &[u64],
    words: &mut [Segments<u64>],
    missing: &mut Vec<u32>,
    out: &mut Vec<u32>,
    arena: &Arena,
) {
    let (keys, rest) = packed.as_chunks::<W>();
    assert!(rest.is_empty() && words.len() == W, "keys of {W} words");
    slots.advance(keys.len());
    let start = out.len();
    match dense.is_in_use() {
        true => dense.find(keys, out, missing),
        false => slots.find_first(keys.iter().copied(), out, missing),
    }
    let mut fresh = fresh_id(words);
    let mut strays = 0;
    for number in missing.drain(..) {
        let key = &keys[number as usize];
        let placed = match dense.is_in_use() {
            true => dense.find_or_insert(key, fresh, words),
            false => None,
        };
        let id = placed.unwrap_or_else(|| {
            strays += 1;
            slots.find_or_insert(*key, fresh, |_| true)
        });
        if id == fresh {
            keep(words, key, arena);
            fresh = fresh_id(words);
        }
        out[start + number as usize] = id;
    }
    if dense.is_in_use() && !dense.is_worth(keys.len(), strays) {
        take(slots, dense.give_up(), words);
    }
}

/// Lets `slots` take the groups `ids`, which had a place by their keys.
#[cold]
#[inline(never)]
fn take<const W: usize>(
    slots: &mut Slots<W>,
    ids: impl Iterator<Item = u32>,
    words: &[Segments<u64>],
) {
    for id in ids {
        slots.advance(1);
        let key = std::array::from_fn(|word| words[word][id as usize]);
        let taken = slots.find_or_insert(key, id, |_| true);
        assert_eq!(taken, id, "a key has one id");
    }
}

/// The id of the next group.
fn fresh_id(words: &[Segments<u64>]) -> u32 {
    let groups = words[0].len();
    assert!(
        groups < u32::MAX as usize,
        "a pane has less than 2^32 groups"
    );
    groups as u32
}

fn keep(words: &mut [Segments<u64>], key: &[u64], arena: &Arena) {
    for (column, &word) in words.iter_mut().zip(key) {
        column.push(word, arena);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_are_dense_in_the_order_of_first_sight() {
        let arena = Arena::new(None);
        let mut table = GroupTable::new(1, 7, None);
        let mut ids = Vec::new();
        table.assign(&[5, 3, 5, 0, u64::MAX, 3], &mut ids, &arena);
        assert_eq!(ids, [0, 1, 0, 2, 3, 1]);
        assert_eq!(
            table.words()[0].values(0..4).collect::<Vec<_>>(),
            [5, 3, 0, u64::MAX]
        );
    }

    /// The same through a naive model: ids in the order of first sight.
    fn model(keys: &[&[u64]], seen: &mut BTreeMap<Vec<u64>, u32>) -> Vec<u32> {
        let id = |key: &&[u64]| {
            let next = seen.len() as u32;
            *seen.entry(key.to_vec()).or_insert(next)
        };
        keys.iter().map(id).collect()
    }

    /// Small words, the ids of two dictionaries, and some that no array has a place for.
    fn word() -> impl Strategy<Value = u64> {
        prop_oneof![
            12 => 0u64..40,
            4 => (0u64..60, 0u64..130).prop_map(|(high, low)| high << 32 | low),
            2 => 0u64..100_000,
            1 => any::<u64>(),
        ]
    }

    #[test]
    fn groups_outlive_the_array_that_found_them() {
        let arena = Arena::new(None);
        let mut table = GroupTable::new(1, 7, None);
        let mut seen = BTreeMap::new();
        let small = (0..20_000u64).map(|n| n % 5_000);
        let large = (0..60_000u64).map(|n| ((n % 30_000) << 20) | 1 << 60);
        let keys: Vec<u64> = small.clone().chain(large).chain(small).collect();
        let mut used = Vec::new();
        for block in keys.chunks(1_000) {
            let mut ids = Vec::new();
            table.assign(block, &mut ids, &arena);
            let each: Vec<&[u64]> = block.chunks(1).collect();
            assert_eq!(ids, model(&each, &mut seen));
            let Index::One(dense, _) = &table.index else {
                panic!("keys of one word");
            };
            used.push(dense.is_in_use());
        }
        assert!(used[0] && !used[used.len() - 1], "given up on the way");
    }

    proptest! {
        #[test]
        fn a_table_of_any_width_is_a_map(
            words in 1usize..6,
            seed in any::<u64>(),
            panes in prop::collection::vec(
                prop::collection::vec(prop::collection::vec(word(), 0..400), 0..4), 1..4),
        ) {
            let mut arena = Arena::new(None);
            let mut table = GroupTable::new(words, seed, None);
            for blocks in panes {
                let mut seen = BTreeMap::new();
                for block in &blocks {
                    let packed = &block[..block.len() / words * words];
                    let keys: Vec<&[u64]> = packed.chunks_exact(words).collect();
                    let mut ids = Vec::new();
                    table.assign(packed, &mut ids, &arena);
                    prop_assert_eq!(ids, model(&keys, &mut seen));
                }
                prop_assert_eq!(table.len(), seen.len());
                for (key, id) in &seen {
                    let kept: Vec<u64> = table.words().iter().map(|word| word[*id as usize]).collect();
                    prop_assert_eq!(&kept, key);
                }
                table.clear();
                arena.reset();
            }
        }
    }
}
