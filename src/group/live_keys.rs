//! Packed keys to numbers, for keys that come and go one by one.
//!
//! ```text
//!   words of a key --one word, two--> Slots --> id        words by id (in an arena): to give keys back
//!                  \-more: two hashes of them--> Slots, then compare with the words of the id
//!   remove(id) --> the first of the free ids, used again before a new one is made
//! ```
//!
//! Laws: equal keys have one id while they are there, different keys different ids. What is held is what the most keys at once
//! needed, however many came and went; when the last has gone the memory goes too (`clear`).
//!
//! A table of the keys of one pane, which go together, is `table.rs`.

use velostream_shards::{MemoryRange, NodeMemory};

use super::arena::{Arena, Segments};
use super::slots::{Slots, hash_words};

/// The end of the list of free ids.
const NONE: u32 = u32::MAX;

/// The keys that are there.
#[derive(Debug)]
pub struct LiveKeys {
    index: Index,
    /// By word of the key: the words of each id. Of a free id the first word is the next free one.
    words: Vec<Segments<u64>>,
    arena: Arena,
    /// The first free id.
    free: u32,
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

impl LiveKeys {
    /// No keys, of `words` words each; they are kept on this node.
    pub fn new(words: usize, seed: u64, node: Option<NodeMemory>) -> LiveKeys {
        LiveKeys {
            index: match words {
                0 => panic!("a key has a word, also one of no columns"),
                1 => Index::One(Slots::new(seed, node.clone())),
                2 => Index::Two(Slots::new(seed, node.clone())),
                _ => Index::Many(
                    Slots::new(seed, node.clone()),
                    hash_words(seed, &[words as u64]),
                ),
            },
            words: (0..words).map(|_| Segments::new()).collect(),
            arena: Arena::new(node),
            free: NONE,
            missing: Vec::new(),
        }
    }

    /// The words of the keys: element `w` has the word `w` of each id.
    pub fn words(&self) -> &[Segments<u64>] {
        &self.words
    }

    /// Bytes taken from the system.
    pub fn bytes(&self) -> usize {
        let slots = match &self.index {
            Index::One(slots) => slots.bytes(),
            Index::Two(slots) | Index::Many(slots, _) => slots.bytes(),
        };
        slots + self.arena.reserved_bytes()
    }

    /// The memory of the keys and of a large table.
    pub fn ranges(&self) -> impl Iterator<Item = MemoryRange> {
        let (one, two) = match &self.index {
            Index::One(slots) => (Some(slots.ranges()), None),
            Index::Two(slots) | Index::Many(slots, _) => (None, Some(slots.ranges())),
        };
        let tables = one.into_iter().flatten().chain(two.into_iter().flatten());
        self.arena.ranges().chain(tables)
    }

    /// Probes that took long, since this was last asked.
    pub fn take_long_probes(&mut self) -> u64 {
        match &mut self.index {
            Index::One(slots) => slots.take_long_probes(),
            Index::Two(slots) | Index::Many(slots, _) => slots.take_long_probes(),
        }
    }

    /// Appends the id of each of the packed keys to `ids`, and to `fresh` those of keys that were not there.
    pub fn assign(&mut self, packed: &[u64], ids: &mut Vec<u32>, fresh: &mut Vec<u32>) {
        let LiveKeys {
            index,
            words,
            arena,
            free,
            missing,
        } = self;
        let mut kept = Kept {
            words,
            arena,
            free,
            fresh,
        };
        match index {
            Index::One(slots) => assign_fixed(slots, packed, missing, ids, &mut kept),
            Index::Two(slots) => assign_fixed(slots, packed, missing, ids, &mut kept),
            Index::Many(slots, seed) => {
                let keys = packed.chunks_exact(kept.words.len());
                slots.advance(keys.len());
                for key in keys {
                    let next = kept.next();
                    let hashes = [hash_words(0, key), hash_words(*seed, key)];
                    let same = |id: u32| {
                        let words = kept.words.iter().map(|word| word[id as usize]);
                        words.eq(key.iter().copied())
                    };
                    let id = slots.find_or_insert(hashes, next, same);
                    if id == next {
                        kept.keep(next, key);
                    }
                    ids.push(id);
                }
            }
        }
    }

    /// Removes the key of that id, which must be there.
    pub fn remove(&mut self, id: u32) {
        let words = &self.words;
        match &mut self.index {
            Index::One(slots) => {
                slots.advance(1);
                slots.remove([words[0][id as usize]], id);
            }
            Index::Two(slots) => {
                slots.advance(1);
                slots.remove([words[0][id as usize], words[1][id as usize]], id);
            }
            Index::Many(slots, seed) => {
                let key: Vec<u64> = words.iter().map(|word| word[id as usize]).collect();
                slots.advance(1);
                slots.remove([hash_words(0, &key), hash_words(*seed, &key)], id);
            }
        }
        self.words[0][id as usize] = u64::from(self.free);
        self.free = id;
    }

    /// Forgets all ids, none of which has a key, and gives memory back.
    pub fn clear(&mut self) {
        let keys = match &self.index {
            Index::One(slots) => slots.len,
            Index::Two(slots) | Index::Many(slots, _) => slots.len,
        };
        assert_eq!(keys, 0, "keys are removed before their ids are forgotten");
        for word in &mut self.words {
            word.clear();
        }
        self.free = NONE;
        self.arena.reset();
    }
}

/// Where the words of keys are kept, and what is new among them.
struct Kept<'k> {
    words: &'k mut [Segments<u64>],
    arena: &'k Arena,
    free: &'k mut u32,
    fresh: &'k mut Vec<u32>,
}

impl Kept<'_> {
    /// The id of the next key that is new.
    #[inline]
    fn next(&self) -> u32 {
        match *self.free {
            NONE => {
                let ids = self.words[0].len();
                assert!(
                    ids < NONE as usize - 1,
                    "less than 2^32 keys are there at once"
                );
                ids as u32
            }
            free => free,
        }
    }

    /// Keeps `key` under `id`, which was the next.
    fn keep(&mut self, id: u32, key: &[u64]) {
        let at = id as usize;
        if id == *self.free {
            *self.free = self.words[0][at] as u32;
            for (column, &word) in self.words.iter_mut().zip(key) {
                column[at] = word;
            }
        } else {
            for (column, &word) in self.words.iter_mut().zip(key) {
                column.push(word, self.arena);
            }
        }
        self.fresh.push(id);
    }
}

/// The ids of keys of exactly `W` words.
fn assign_fixed<const W: usize>(
    slots: &mut Slots<W>,
    packed: &[u64],
    missing: &mut Vec<u32>,
    ids: &mut Vec<u32>,
    kept: &mut Kept<'_>,
) {
    let (keys, rest) = packed.as_chunks::<W>();
    assert!(
        rest.is_empty() && kept.words.len() == W,
        "keys of {W} words"
    );
    slots.advance(keys.len());
    let start = ids.len();
    slots.find_first(keys.iter().copied(), ids, missing);
    for number in missing.drain(..) {
        let key = &keys[number as usize];
        let next = kept.next();
        let id = slots.find_or_insert(*key, next, |_| true);
        if id == next {
            kept.keep(next, key);
        }
        ids[start + number as usize] = id;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_is_used_again_and_nothing_grows() {
        let mut keys = LiveKeys::new(1, 7, None);
        let mut bytes = Vec::new();
        for round in 0..20u64 {
            let (mut ids, mut fresh) = (Vec::new(), Vec::new());
            let packed: Vec<u64> = (0..5_000).map(|key| key * 7 + round * 1_000_003).collect();
            keys.assign(&packed, &mut ids, &mut fresh);
            assert_eq!(ids, fresh);
            assert!(ids.iter().all(|&id| id < 5_000));
            bytes.push(keys.bytes());
            for id in ids {
                keys.remove(id);
            }
        }
        assert!(
            bytes[2..].iter().all(|&bytes_now| bytes_now <= bytes[1]),
            "{bytes:?}"
        );
        keys.clear();
    }

    proptest! {
        #[test]
        fn live_keys_of_any_width_are_a_map(
            words in 1usize..5,
            seed in any::<u64>(),
            steps in prop::collection::vec((prop::collection::vec(0u64..40, 0..60), any::<prop::sample::Index>()), 0..40),
        ) {
            let mut keys = LiveKeys::new(words, seed, None);
            let mut model: BTreeMap<Vec<u64>, u32> = BTreeMap::new();
            for (block, removed) in steps {
                let packed = &block[..block.len() / words * words];
                let (mut ids, mut fresh) = (Vec::new(), Vec::new());
                keys.assign(packed, &mut ids, &mut fresh);
                let mut made = Vec::new();
                for (key, id) in packed.chunks_exact(words).zip(ids) {
                    let known = *model.entry(key.to_vec()).or_insert_with(|| {
                        made.push(id);
                        id
                    });
                    prop_assert_eq!(known, id);
                }
                prop_assert_eq!(made, fresh);
                let mut ids: Vec<u32> = model.values().copied().collect();
                ids.sort_unstable();
                ids.dedup();
                prop_assert_eq!(ids.len(), model.len(), "different keys, different ids");
                for (key, id) in &model {
                    let kept: Vec<u64> = keys.words().iter().map(|word| word[*id as usize]).collect();
                    prop_assert_eq!(&kept, key);
                }
                for _ in 0..model.len() / 2 {
                    let key = model.keys().nth(removed.index(model.len())).cloned();
                    let key = key.expect("there is one");
                    keys.remove(model.remove(&key).expect("it is there"));
                }
            }
            for id in model.into_values() {
                keys.remove(id);
            }
            keys.clear();
        }
    }
}
