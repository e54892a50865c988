//! Key bytes to dense group ids.
//!
//! Law: equal bytes have one id, different bytes have different ids, and the ids are 0, 1, 2, .. in the order in which the
//! keys were first seen. The hash that came with a key is stored with its slot: no key is hashed twice, and growing the
//! table reads no key.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::exchange::Keys;

/// The groups of one pane.
#[derive(Debug, Default)]
pub struct GroupTable {
    slots: HashTable<Slot>,
    /// The bytes of all keys, by id.
    bytes: Vec<u8>,
    /// Where each key ends in `bytes`.
    ends: Vec<usize>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: u64,
    id: u32,
}

impl GroupTable {
    /// An empty table.
    pub fn new() -> GroupTable {
        GroupTable::default()
    }

    /// Number of groups.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no group.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The key of group `id`.
    #[inline]
    pub fn key(&self, id: u32) -> &[u8] {
        key_of(&self.bytes, &self.ends, id)
    }

    /// Appends the group of each of `rows` to `out`, making those that are new.
    pub fn assign(&mut self, keys: &Keys, rows: &[u32], out: &mut Vec<u32>) {
        out.reserve(rows.len());
        let GroupTable { slots, bytes, ends } = self;
        for &row in rows {
            let hash = keys.hashes[row as usize];
            let key = keys.key(row as usize);
            let same = |slot: &Slot| slot.hash == hash && key_of(bytes, ends, slot.id) == key;
            match slots.entry(hash, same, |slot| slot.hash) {
                Entry::Occupied(found) => out.push(found.get().id),
                Entry::Vacant(free) => {
                    let id = u32::try_from(ends.len()).expect("a pane has less than 2^32 groups");
                    free.insert(Slot { hash, id });
                    bytes.extend_from_slice(key);
                    ends.push(bytes.len());
                    out.push(id);
                }
            }
        }
    }

    /// Forgets all groups and keeps the memory.
    pub fn clear(&mut self) {
        self.slots.clear();
        self.bytes.clear();
        self.ends.clear();
    }
}

#[inline]
fn key_of<'a>(bytes: &'a [u8], ends: &[usize], id: u32) -> &'a [u8] {
    let id = id as usize;
    let start = if id == 0 { 0 } else { ends[id - 1] };
    &bytes[start..ends[id]]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(keys: &[&[u8]], hash: impl Fn(&[u8]) -> u64) -> Keys {
        let mut encoded = Keys::default();
        for key in keys {
            encoded.bytes.extend_from_slice(key);
            encoded.ends.push(encoded.bytes.len() as u32);
            encoded.hashes.push(hash(key));
        }
        encoded
    }

    #[test]
    fn ids_are_dense_in_the_order_of_first_sight() {
        let mut table = GroupTable::new();
        let mut ids = Vec::new();
        let rows = keys(
            &[b"b", b"a", b"b", b"", b"ab", b"a"],
            xxhash_rust::xxh3::xxh3_64,
        );
        table.assign(&rows, &[0, 1, 2, 3, 4, 5], &mut ids);
        assert_eq!(ids, [0, 1, 0, 2, 3, 1]);
        assert_eq!(
            (0..4).map(|id| table.key(id)).collect::<Vec<_>>(),
            [&b"b"[..], b"a", b"", b"ab"]
        );
    }

    #[test]
    fn keys_whose_hashes_collide_stay_apart() {
        let mut table = GroupTable::new();
        let mut ids = Vec::new();
        table.assign(&keys(&[b"x", b"y", b"x"], |_| 7), &[2, 1, 0], &mut ids);
        assert_eq!(ids, [0, 1, 0]);
    }

    #[test]
    fn growing_and_clearing_lose_no_key_and_keep_none() {
        let mut table = GroupTable::new();
        let numbers: Vec<[u8; 4]> = (0..10_000u32).map(u32::to_le_bytes).collect();
        let refs: Vec<&[u8]> = numbers.iter().map(|number| &number[..]).collect();
        let many = keys(&refs, xxhash_rust::xxh3::xxh3_64);
        let rows: Vec<u32> = (0..10_000).collect();
        for _ in 0..2 {
            let (mut first, mut again) = (Vec::new(), Vec::new());
            table.assign(&many, &rows, &mut first);
            table.assign(&many, &rows, &mut again);
            assert_eq!(first, rows);
            assert_eq!(again, rows);
            table.clear();
            assert!(table.is_empty());
        }
    }
}
