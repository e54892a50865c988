//! Packed keys to dense group ids: the groups of one pane.
//!
//! ```text
//!   words of a key --one word, two------------> Slots --> id          words by id (in the pane's arena): to give keys back
//!                  \-more: two hashes of them--> Slots, then compare with the words of the id
//! ```
//!
//! Law: equal keys have one id, different keys have different ids, and the ids are 0, 1, 2, .. in the order in which the
//! keys were first seen.

use velostream_shards::{MemoryRange, NodeMemory};

use super::arena::{Arena, Segments};
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
    One(Slots<1>),
    /// Keys of two words.
    Two(Slots<2>),
    /// Longer keys, by two hashes; the second under this seed.
    Many(Slots<2>, u64),
}

impl GroupTable {
    /// No groups, of keys of `words` words; a large table is kept on this node.
    pub fn new(words: usize, seed: u64, node: Option<NodeMemory>) -> GroupTable {
        GroupTable {
            index: match words {
                0 => panic!("a key has a word, also one of no columns"),
                1 => Index::One(Slots::new(seed, node)),
                2 => Index::Two(Slots::new(seed, node)),
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
            Index::One(slots) => slots.bytes(),
            Index::Two(slots) | Index::Many(slots, _) => slots.bytes(),
        }
    }

    /// The memory of a large table.
    pub fn ranges(&self) -> impl Iterator<Item = MemoryRange> {
        let (one, two) = match &self.index {
            Index::One(slots) => (Some(slots.ranges()), None),
            Index::Two(slots) | Index::Many(slots, _) => (None, Some(slots.ranges())),
        };
        one.into_iter().flatten().chain(two.into_iter().flatten())
    }

    /// Probes that took long, since this was last asked.
    pub fn take_long_probes(&mut self) -> u64 {
        match &mut self.index {
            Index::One(slots) => slots.take_long_probes(),
            Index::Two(slots) | Index::Many(slots, _) => slots.take_long_probes(),
        }
    }

    /// Makes room for about `groups` groups, while there are none.
    pub fn expect(&mut self, groups: usize) {
        match &mut self.index {
            Index::One(slots) => slots.expect(groups),
            Index::Two(slots) | Index::Many(slots, _) => slots.expect(groups),
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
            Index::One(slots) => assign_fixed(slots, packed, words, missing, out, arena),
            Index::Two(slots) => assign_fixed(slots, packed, words, missing, out, arena),
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
            Index::One(slots) => slots.clear(),
            Index::Two(slots) | Index::Many(slots, _) => slots.clear(),
        }
        for word in &mut self.words {
            word.clear();
        }
    }
}

/// The groups of keys of exactly `W` words.
fn assign_fixed<const W: usize>(
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
    slots.find_first(keys.iter().copied(), out, missing);
    let mut fresh = fresh_id(words);
    for number in missing.drain(..) {
        let key = &keys[number as usize];
        let id = slots.find_or_insert(*key, fresh, |_| true);
        if id == fresh {
            keep(words, key, arena);
            fresh = fresh_id(words);
        }
        out[start + number as usize] = id;
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

    proptest! {
        #[test]
        fn a_table_of_any_width_is_a_map(
            words in 1usize..6,
            seed in any::<u64>(),
            panes in prop::collection::vec(
                prop::collection::vec(prop::collection::vec(0u64..40, 0..400), 0..4), 1..4),
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
