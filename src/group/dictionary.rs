//! One key column's values as small numbers: text or bytes -> a dense id, and back.
//!
//! ```text
//!   arrow view (16 bytes) --at most 12 bytes of value: the view is the key----> Slots --> id --> Entry: view, uses
//!                         \-longer: length, first bytes, hash; then compare -/                     \--> ByteSlab: the bytes
//! ```
//!
//! Laws: equal values have one id while they are in use, different values never the same. Id 0 is NULL. A value is in use
//! from `retain` to the matching `release`: once for each group of each pane whose key it is part of. The last release
//! removes it, and its id and its bytes are used again; so what a dictionary holds is what the open panes hold.
//!
//! An id means something on this shard alone: it never crosses a lane, and never reaches a snapshot.

use datafusion_common::arrow::array::{Array, ArrayRef, BinaryViewArray, GenericByteViewArray};
use datafusion_common::arrow::buffer::{Buffer, NullBuffer, ScalarBuffer};
use datafusion_common::arrow::datatypes::ByteViewType;
use velostream_shards::{MemoryRange, NodeMemory};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::arena::{Arena, Segments};
use super::byte_slab::ByteSlab;
use super::slots::Slots;

/// The id of NULL.
pub const NULL_ID: u32 = 0;

/// Bytes of a value that a view holds itself.
const INLINE_BYTES: u32 = 12;

/// Bytes of a buffer behind the views of one column. Their offsets are 31 bits.
const BUFFER_BYTES_MAX: usize = i32::MAX as usize;

/// The values of one key column that are in use on this shard.
#[derive(Debug)]
pub struct Dictionary {
    slots: Slots<2>,
    /// By id, less one.
    entries: Segments<Entry>,
    /// Where the entries lie. It is never reset: an entry is used again instead.
    arena: Arena,
    /// The first entry that may be used again, as an id; `NULL_ID` if there is none.
    free: u32,
    slab: ByteSlab,
    seed: u64,
    /// The ids of a block, and the values of it that are not where they are looked for first; kept for their capacity.
    ids: Vec<u32>,
    missing: Vec<u32>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    /// What it is found by. Of a value of at most 12 bytes: its view. Else the first word of the view, and a hash.
    words: [u64; 2],
    /// Where the slab keeps the bytes of a longer value. In a free entry the id of the next free one.
    place: u32,
    /// How many groups of panes use it.
    uses: u32,
}

#[inline(always)]
fn length(words: [u64; 2]) -> u32 {
    words[0] as u32
}

#[inline(always)]
fn words_of(view: u128) -> [u64; 2] {
    [view as u64, (view >> 64) as u64]
}

impl Dictionary {
    /// No value, under this seed; the entries are kept on this node.
    pub fn new(seed: u64, node: Option<NodeMemory>) -> Dictionary {
        Dictionary {
            slots: Slots::new(seed, node.clone()),
            entries: Segments::new(),
            arena: Arena::new(node),
            free: NULL_ID,
            slab: ByteSlab::new(),
            seed,
            ids: Vec::new(),
            missing: Vec::new(),
        }
    }

    /// Bytes taken from the system.
    pub fn bytes(&self) -> usize {
        self.slots.bytes() + self.arena.reserved_bytes() + self.slab.bytes()
    }

    /// The memory of the entries and of what finds them.
    pub fn ranges(&self) -> impl Iterator<Item = MemoryRange> {
        self.arena.ranges().chain(self.slots.ranges())
    }

    /// Probes that took long, since this was last asked.
    pub fn take_long_probes(&mut self) -> u64 {
        self.slots.take_long_probes()
    }

    /// Calls `put(n, id)` with the id of row `rows[n]` of `column`, for each of them. A value that is new is not yet in
    /// use: `retain` comes before the next call.
    pub fn intern<T: ByteViewType + ?Sized>(
        &mut self,
        column: &GenericByteViewArray<T>,
        rows: &[u32],
        mut put: impl FnMut(usize, u32),
    ) {
        self.slots.advance(rows.len());
        let views = column.views();
        let nulls = column.nulls().filter(|nulls| nulls.null_count() > 0);
        let longest = rows.iter().map(|&row| views[row as usize] as u32).max();
        if nulls.is_none() && longest.is_none_or(|longest| longest <= INLINE_BYTES) {
            self.intern_short(views, rows, put);
            return;
        }
        for (number, &row) in rows.iter().enumerate() {
            let row = row as usize;
            if nulls.is_some_and(|nulls| nulls.is_null(row)) {
                put(number, NULL_ID);
                continue;
            }
            let view = views[row];
            let id = if view as u32 <= INLINE_BYTES {
                self.find_short(words_of(view))
            } else {
                self.find_long(view as u64, column.value(row).as_ref())
            };
            put(number, id);
        }
    }

    /// One more group uses the value.
    #[inline]
    pub fn retain(&mut self, id: u32) {
        if id != NULL_ID {
            self.entries[id as usize - 1].uses += 1;
        }
    }

    /// One group less uses the value. The last one removes it.
    #[inline]
    pub fn release(&mut self, id: u32) {
        if id == NULL_ID {
            return;
        }
        let entry = &mut self.entries[id as usize - 1];
        assert!(
            entry.uses > 0,
            "a value is released as often as it is retained"
        );
        entry.uses -= 1;
        if entry.uses == 0 {
            self.remove(id);
        }
    }

    /// The values of `ids` as a column of text or bytes views, in memory of its own.
    pub fn column(&self, ids: impl ExactSizeIterator<Item = u32>, text: bool) -> ArrayRef {
        let mut views: Vec<u128> = Vec::with_capacity(ids.len());
        let mut valid = Vec::with_capacity(ids.len());
        let mut buffers = Vec::new();
        let mut bytes: Vec<u8> = Vec::new();
        for id in ids {
            valid.push(id != NULL_ID);
            if id == NULL_ID {
                views.push(0);
                continue;
            }
            let entry = &self.entries[id as usize - 1];
            let len = length(entry.words);
            if len <= INLINE_BYTES {
                views.push(u128::from(entry.words[1]) << 64 | u128::from(entry.words[0]));
                continue;
            }
            let value = self.slab.get(entry.place, len as usize);
            if bytes.len() + value.len() > BUFFER_BYTES_MAX {
                buffers.push(Buffer::from_vec(std::mem::take(&mut bytes)));
            }
            let place = (bytes.len() as u128) << 32 | buffers.len() as u128;
            views.push(place << 64 | u128::from(entry.words[0]));
            bytes.extend_from_slice(value);
        }
        if !bytes.is_empty() {
            buffers.push(Buffer::from_vec(bytes));
        }
        let nulls = NullBuffer::from(valid);
        let nulls = (nulls.null_count() > 0).then_some(nulls);
        let column = BinaryViewArray::try_new(ScalarBuffer::from(views), buffers, nulls)
            .expect("a view is of the length, the first bytes and the place of its value");
        if text {
            // SAFETY: a dictionary is of one column, so in one of text every value was text when it was interned, and its
            // bytes have not been written since.
            std::sync::Arc::new(unsafe { column.to_string_view_unchecked() })
        } else {
            std::sync::Arc::new(column)
        }
    }

    /// The same for a block in which every value is short, and none is NULL.
    fn intern_short(&mut self, views: &[u128], rows: &[u32], mut put: impl FnMut(usize, u32)) {
        let mut ids = std::mem::take(&mut self.ids);
        let mut missing = std::mem::take(&mut self.missing);
        ids.clear();
        let keys = rows.iter().map(|&row| words_of(views[row as usize]));
        self.slots.find_first(keys, &mut ids, &mut missing);
        for number in missing.drain(..) {
            let row = rows[number as usize] as usize;
            ids[number as usize] = self.find_short(words_of(views[row]));
        }
        for (number, &id) in ids.iter().enumerate() {
            put(number, id);
        }
        (self.ids, self.missing) = (ids, missing);
    }

    #[inline(always)]
    fn find_short(&mut self, words: [u64; 2]) -> u32 {
        let fresh = self.fresh();
        let id = self.slots.find_or_insert(words, fresh, |_| true);
        if id == fresh {
            self.add(id, words, 0);
        }
        id
    }

    #[inline(never)]
    fn find_long(&mut self, view: u64, value: &[u8]) -> u32 {
        let fresh = self.fresh();
        let words = [view, xxh3_64_with_seed(value, self.seed)];
        let Dictionary {
            slots,
            entries,
            slab,
            ..
        } = self;
        let same = |id: u32| slab.get(entries[id as usize - 1].place, value.len()) == value;
        let id = slots.find_or_insert(words, fresh, same);
        if id == fresh {
            let place = self.slab.insert(value);
            self.add(id, words, place);
        }
        id
    }

    /// The id that the next new value gets.
    #[inline(always)]
    fn fresh(&self) -> u32 {
        match self.free {
            NULL_ID => self.entries.len() as u32 + 1,
            free => free,
        }
    }

    #[cold]
    #[inline(never)]
    fn add(&mut self, id: u32, words: [u64; 2], place: u32) {
        let at = id as usize - 1;
        if id == self.free {
            self.free = self.entries[at].place;
        } else {
            assert!(id < u32::MAX - 1, "less than 2^32 values of a column");
            self.entries.grow(at + 1, &self.arena);
        }
        self.entries[at] = Entry {
            words,
            place,
            uses: 0,
        };
    }

    #[cold]
    #[inline(never)]
    fn remove(&mut self, id: u32) {
        let Entry { words, place, .. } = self.entries[id as usize - 1];
        self.slots.advance(1);
        self.slots.remove(words, id);
        if length(words) > INLINE_BYTES {
            self.slab.remove(place, length(words) as usize);
        }
        self.entries[id as usize - 1] = Entry {
            place: self.free,
            ..Entry::default()
        };
        self.free = id;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use datafusion_common::arrow::array::{AsArray, StringViewArray};
    use proptest::prelude::*;

    use super::*;

    fn intern(dictionary: &mut Dictionary, values: &[Option<&str>]) -> Vec<u32> {
        let column = StringViewArray::from(values.to_vec());
        let rows: Vec<u32> = (0..values.len() as u32).collect();
        let mut ids = vec![u32::MAX; values.len()];
        dictionary.intern(&column, &rows, |number, id| ids[number] = id);
        ids
    }

    #[test]
    fn short_and_long_values_have_ids_and_null_has_none() {
        let mut dictionary = Dictionary::new(7, None);
        let long = "a value that is longer than twelve bytes";
        let values = [
            Some("twelve bytes"),
            None,
            Some(""),
            Some(long),
            Some("twelve bytes"),
        ];
        let ids = intern(&mut dictionary, &values);
        assert_eq!(ids, [1, NULL_ID, 2, 3, 1]);
        let column = dictionary.column(ids.into_iter(), true);
        assert_eq!(
            column.as_string_view(),
            &StringViewArray::from(values.to_vec())
        );
        assert_eq!(dictionary.slots.len, 3);
    }

    #[test]
    fn the_last_release_gives_the_id_and_the_bytes_to_the_next() {
        let mut dictionary = Dictionary::new(7, None);
        let long = |number: usize| format!("a value that is longer than twelve bytes, {number}");
        let mut bytes = Vec::new();
        for round in 0..5 {
            let values: Vec<String> = (0..1_000)
                .map(|number| long(round * 1_000 + number))
                .collect();
            for block in values.chunks(100) {
                let block: Vec<Option<&str>> =
                    block.iter().map(|value| Some(value.as_str())).collect();
                for id in intern(&mut dictionary, &block) {
                    assert!((1..=1_000).contains(&id));
                    dictionary.retain(id);
                }
            }
            bytes.push(dictionary.bytes());
            for id in 1..=1_000 {
                dictionary.release(id);
            }
            assert_eq!((dictionary.slots.len, dictionary.slab.bytes()), (0, 0));
        }
        assert!(bytes.windows(2).all(|two| two[1] <= two[0]), "{bytes:?}");
    }

    #[test]
    #[should_panic(expected = "released as often as it is retained")]
    fn a_release_too_many_is_a_programmers_error() {
        let mut dictionary = Dictionary::new(7, None);
        let ids = intern(&mut dictionary, &[Some("a")]);
        dictionary.release(ids[0]);
    }

    /// Values that differ late, early and in their length alone, short and long.
    fn any_value() -> impl Strategy<Value = Option<String>> {
        prop_oneof![
            1 => Just(None),
            4 => "[ab]{0,3}".prop_map(Some),
            2 => "[ab]{11,13}".prop_map(Some),
            2 => "abababababab[ab]{0,4}".prop_map(Some),
        ]
    }

    /// Two panes: each interns blocks and is released now and then.
    fn any_steps() -> impl Strategy<Value = Vec<(usize, Vec<Option<String>>)>> {
        prop::collection::vec(
            (0usize..2, prop::collection::vec(any_value(), 0..30)),
            0..40,
        )
    }

    proptest! {
        #[test]
        fn a_dictionary_is_a_counted_map(steps in any_steps(), seed in any::<u64>()) {
            let mut dictionary = Dictionary::new(seed, None);
            let mut panes: [Vec<(u32, Option<String>)>; 2] = Default::default();
            for (pane, values) in steps {
                if values.is_empty() {
                    for (id, _) in panes[pane].drain(..) {
                        dictionary.release(id);
                    }
                }
                let given: Vec<Option<&str>> = values.iter().map(Option::as_deref).collect();
                for (id, value) in intern(&mut dictionary, &given).into_iter().zip(&values) {
                    dictionary.retain(id);
                    panes[pane].push((id, value.clone()));
                }
                // One id a value, one value an id, and each id still names its value.
                let live: Vec<&(u32, Option<String>)> = panes.iter().flatten().collect();
                let by_id: BTreeMap<u32, &Option<String>> = live.iter().map(|(id, value)| (*id, value)).collect();
                let by_value: BTreeMap<&Option<String>, u32> = live.iter().map(|(id, value)| (value, *id)).collect();
                prop_assert!(live.iter().all(|(id, value)| by_id[id] == value && by_value[value] == *id));
                prop_assert_eq!(dictionary.slots.len, by_id.keys().filter(|&&id| id != NULL_ID).count());
                let ids: Vec<u32> = by_id.keys().copied().collect();
                let column = dictionary.column(ids.into_iter(), true);
                let expected: Vec<Option<&str>> = by_id.values().map(|value| value.as_deref()).collect();
                prop_assert_eq!(column.as_string_view(), &StringViewArray::from(expected));
            }
        }
    }
}
