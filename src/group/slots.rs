//! Open addressing over packed words: `W` words -> a `u32`, the one place where the engine hashes to find something.
//!
//! ```text
//!   words --hash--> high bits = place -->  | words | mark |  words | mark |  words | mark | ..   linear probing
//!                                            mark = generation << 32 | id; another generation: the slot is free
//!   growing:  half full: the next table is zeroed, a slice a call;  full: it takes what is new, and the table before it is
//!             asked second and moves over, a few slots a call
//! ```
//!
//! Laws: a call zeroes and moves a bounded number of slots, so growing never blocks a turn; forgetting everything is one
//! number (`generation`). The answer never depends on the hash, only the time does: the seed differs between processes, so that
//! nobody can prepare keys that collide, and probes beyond `LONG_PROBE` are counted.
//!
//! The hash is rustc-hash's multiply, folded (high half xor low half), so that the seed decides which keys collide, and one
//! more multiply for its high bits: without that, the ids of a dictionary (1, 2, 3, ..) took 15 probes instead of 1.8
//! (docs/decisions/0013). It is not stored: the words are in the slot, and a multiply a word gives it again.

use std::ptr::NonNull;

use velostream_shards::{HugePageOffer, MemoryRange, NodeMemory};

/// Probes of more slots than this are counted as long.
const LONG_PROBE: usize = 128;

/// Slots of the smallest table.
const SLOTS_MIN: usize = 64;

/// Of so many slots, `FULL` may be taken; of a small table, which the nearest cache holds anyway, `FULL_SMALL`.
const FULL_OF: usize = 8;
const FULL: usize = 5;
const FULL_SMALL: usize = 2;

/// Slots of the largest small table.
const SLOTS_SMALL: usize = 1024;

/// Slots that a call moves while a table grows, for each key that it looks up.
const MOVED_A_KEY: usize = 4;

/// A table of more slots than this is zeroed over calls before it is used: so many words for each key that a call looks up.
/// Zeroing is the first touch of its memory, which costs more than the zeros.
const SLOTS_AT_ONCE: usize = 16_384;
const ZEROED_A_KEY: usize = 40;

/// How full a table is when the next one is begun, of `BEGUN_OF`: with three quarters left it has all moved over itself.
const BEGUN: usize = 3;
const BEGUN_OF: usize = 4;

/// A table is made smaller when fewer than one of so many slots is taken.
const SPARSE: usize = 32;

/// The multiplier of rustc-hash 2.
const MULTIPLIER: u64 = 0xf135_7aea_2e62_a9c5;

/// What brings all bits of a hash into its high ones: the golden ratio.
const SPREADER: u64 = 0x9e37_79b9_7f4a_7c15;

/// The id of a slot of the table before growing that has been removed there.
const REMOVED: u32 = u32::MAX;

/// Words of a slot at most: two of a key, and its mark.
const STRIDE_MAX: usize = 3;

const _: () = {
    assert!(
        SLOTS_MIN.is_power_of_two(),
        "a place is some bits of a hash"
    );
    // Between two doublings as many keys come as there are; by then all slots of the table before must have moved.
    assert!(
        MOVED_A_KEY * FULL_SMALL >= FULL_OF,
        "a grown table has moved over before it is full"
    );
    // From there to full come a part of the keys that fill it; by then a table of twice its slots must be zeroed.
    assert!(
        ZEROED_A_KEY * FULL * (BEGUN_OF - BEGUN) >= 2 * STRIDE_MAX * FULL_OF * BEGUN_OF,
        "the next table is zeroed before this one is full"
    );
    assert!(SLOTS_AT_ONCE >= SLOTS_SMALL);
};

/// Words to ids.
#[derive(Debug)]
pub struct Slots<const W: usize> {
    table: Table<W>,
    /// The table before growing, while it has not all moved over: slots below `moved` have.
    before: Option<Table<W>>,
    moved: usize,
    /// The table that will take over, while it is being zeroed.
    next: Option<Table<W>>,
    /// Number of keys.
    pub(super) len: usize,
    /// Keys at which the table grows.
    full_at: usize,
    generation: u32,
    seed: u64,
    long_probes: u64,
    /// Where large tables are kept: on the node of the shard.
    node: Option<NodeMemory>,
}

/// Slots in a row: `W` words and a mark each.
#[derive(Debug, Default)]
struct Table<const W: usize> {
    /// That the memory may be made of huge pages; it ends before the memory does.
    offer: Option<HugePageOffer>,
    /// As long as it has been zeroed; all of the slots before the table is used.
    words: Vec<u64>,
    /// Number of slots, a power of two; 0 before the first key.
    slots: usize,
    /// A hash shifted right by this is a place.
    shift: u32,
}

/// Where a key was found, or where it may be put.
enum Probe {
    Found(usize),
    Free(usize),
}

impl<const W: usize> Table<W> {
    const STRIDE: usize = W + 1;

    /// Memory for so many slots, none of which has been zeroed.
    fn reserved(slots: usize, node: Option<&NodeMemory>) -> Table<W> {
        debug_assert!(slots.is_power_of_two() && slots >= SLOTS_MIN);
        let words: Vec<u64> = Vec::with_capacity(slots * Self::STRIDE);
        if slots > SLOTS_AT_ONCE
            && let Some(node) = node
            && let Some(start) = NonNull::new(words.as_ptr().cast_mut())
        {
            node.bind(start.cast(), words.capacity() * size_of::<u64>());
        }
        Table {
            offer: None,
            words,
            slots,
            shift: u64::BITS - slots.ilog2(),
        }
    }

    /// Zeroes the next `words`, or those that are left: a slot of zeros is of generation 0, which is never in use.
    fn zero(&mut self, words: usize) {
        let zeroed = self.words.len().saturating_add(words);
        self.words.resize(zeroed.min(self.slots * Self::STRIDE), 0);
    }

    fn is_zeroed(&self) -> bool {
        self.words.len() == self.slots * Self::STRIDE
    }

    fn bytes(&self) -> usize {
        self.words.capacity() * size_of::<u64>()
    }

    #[inline(always)]
    fn slot(&self, place: usize) -> ([u64; W], u64) {
        let slot = &self.words[place * Self::STRIDE..][..Self::STRIDE];
        (std::array::from_fn(|word| slot[word]), slot[W])
    }

    #[inline(always)]
    fn set(&mut self, place: usize, words: [u64; W], mark: u64) {
        let slot = &mut self.words[place * Self::STRIDE..][..Self::STRIDE];
        slot[..W].copy_from_slice(&words);
        slot[W] = mark;
    }

    #[inline(always)]
    fn next(&self, place: usize) -> usize {
        (place + 1) & (self.slots - 1)
    }

    /// The slot of the key for which `matches(place, words, id)`, or the free one that ends the search.
    #[inline(always)]
    fn probe(
        &self,
        hash: u64,
        generation: u32,
        long_probes: &mut u64,
        mut matches: impl FnMut(usize, &[u64; W], u32) -> bool,
    ) -> Probe {
        let mut place = (hash >> self.shift) as usize;
        let mut probes = 0;
        loop {
            let (words, mark) = self.slot(place);
            if (mark >> 32) as u32 != generation {
                return Probe::Free(place);
            }
            if matches(place, &words, mark as u32) {
                return Probe::Found(place);
            }
            place = self.next(place);
            probes += 1;
            if probes == LONG_PROBE {
                *long_probes += 1;
            }
            debug_assert!(probes < self.slots, "a table is never full");
        }
    }
}

/// Half of the product and the other half.
#[inline(always)]
fn folded(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    (product as u64) ^ ((product >> 64) as u64)
}

/// The hash of some words under a seed.
#[inline(always)]
pub fn hash_words(seed: u64, words: &[u64]) -> u64 {
    let folded = words
        .iter()
        .fold(seed, |hash, &word| folded(hash ^ word, MULTIPLIER));
    folded.wrapping_mul(SPREADER)
}

impl<const W: usize> Slots<W> {
    /// No key yet, under this seed; large tables are kept on this node.
    pub fn new(seed: u64, node: Option<NodeMemory>) -> Slots<W> {
        Slots {
            table: Table::default(),
            before: None,
            moved: 0,
            next: None,
            len: 0,
            full_at: 0,
            generation: 1,
            seed,
            long_probes: 0,
            node,
        }
    }

    /// Bytes that the tables take.
    pub fn bytes(&self) -> usize {
        self.tables().map(Table::bytes).sum()
    }

    /// The memory of the large tables.
    pub fn ranges(&self) -> impl Iterator<Item = MemoryRange> {
        let large = self.tables().filter(|table| table.slots > SLOTS_AT_ONCE);
        large.filter_map(|table| {
            let start = NonNull::new(table.words.as_ptr().cast_mut())?;
            Some(MemoryRange {
                start: start.cast(),
                bytes: table.words.len() * size_of::<u64>(),
            })
        })
    }

    /// Probes that went past `LONG_PROBE` slots, since this was last asked.
    pub fn take_long_probes(&mut self) -> u64 {
        std::mem::take(&mut self.long_probes)
    }

    /// Makes room for about `keys` keys, while there are none. Where that is a large table, it is there some calls later.
    pub fn expect(&mut self, keys: usize) {
        assert_eq!(self.len, 0, "a table is sized while it is empty");
        let slots = slots_for(keys);
        if slots <= self.table.slots {
            return;
        }
        if self.table.slots < SLOTS_AT_ONCE {
            self.resize(slots.min(SLOTS_AT_ONCE));
        }
        if slots > self.table.slots {
            self.next = Some(Table::reserved(slots, self.node.as_ref()));
        }
    }

    /// To be called before up to `keys` calls of `find_or_insert`: moves a bounded number of slots if a table has grown, and
    /// makes ready for the next growth.
    pub fn advance(&mut self, keys: usize) {
        if self.before.is_some() {
            self.move_slots(keys * MOVED_A_KEY);
        }
        let doubled = self.table.slots * 2;
        let filling = self.len >= self.full_at / BEGUN_OF * BEGUN && doubled > SLOTS_AT_ONCE;
        if filling || self.next.as_ref().is_some_and(|next| next.slots > doubled) {
            self.prepare(keys * ZEROED_A_KEY);
        }
    }

    /// Looks where each of `keys` is most likely to be, and nowhere else: appends the id of each to `ids`, and the numbers
    /// of those that are not there to `missing`, ascending; their ids mean nothing yet. `missing` must be empty.
    ///
    /// No branch of this depends on a key, so that nothing is predicted wrongly and the loads of many keys overlap.
    #[inline(always)]
    pub fn find_first(
        &self,
        keys: impl ExactSizeIterator<Item = [u64; W]>,
        ids: &mut Vec<u32>,
        missing: &mut Vec<u32>,
    ) {
        assert!(
            missing.is_empty(),
            "what is missing is looked for before the next search"
        );
        let count = keys.len();
        if self.len == 0 {
            ids.resize(ids.len() + count, 0);
            missing.extend(0..count as u32);
            return;
        }
        let generation = u64::from(self.generation);
        missing.resize(count, 0);
        let mut absent = 0;
        ids.extend(keys.enumerate().map(|(number, words)| {
            let place = hash_words(self.seed, &words) >> self.table.shift;
            let (found, mark) = self.table.slot(place as usize);
            let differ = words
                .iter()
                .zip(&found)
                .fold(mark >> 32 ^ generation, |differ, (word, found)| {
                    differ | word ^ found
                });
            missing[absent] = number as u32;
            absent += usize::from(differ != 0);
            mark as u32
        }));
        missing.truncate(absent);
    }

    /// The id of the key with these words, for which `same(id)` must hold as well: words may be less than the key. A key
    /// that is not there yet gets the id `fresh`.
    #[inline(always)]
    pub fn find_or_insert(
        &mut self,
        words: [u64; W],
        fresh: u32,
        mut same: impl FnMut(u32) -> bool,
    ) -> u32 {
        debug_assert!(fresh < REMOVED);
        let hash = hash_words(self.seed, &words);
        if self.len >= self.full_at {
            self.grow();
        }
        let probe = self.table.probe(
            hash,
            self.generation,
            &mut self.long_probes,
            |_, found, id| *found == words && same(id),
        );
        match probe {
            Probe::Found(place) => self.table.slot(place).1 as u32,
            Probe::Free(place) => {
                if self.before.is_some()
                    && let Some(id) = self.find_before(hash, &words, same)
                {
                    return id;
                }
                let mark = self.mark(fresh);
                self.table.set(place, words, mark);
                self.len += 1;
                fresh
            }
        }
    }

    /// Removes the key with these words and this id, which must be there.
    pub fn remove(&mut self, words: [u64; W], id: u32) {
        let hash = hash_words(self.seed, &words);
        let generation = self.generation;
        let probe = self
            .table
            .probe(hash, generation, &mut self.long_probes, |_, _, found| {
                found == id
            });
        self.len -= 1;
        if let Probe::Found(place) = probe {
            self.close_gap(place);
        } else {
            let (mark, moved) = (self.mark(REMOVED), self.moved);
            let before = self.before.as_mut().expect("a key that is there");
            let probe = before.probe(hash, generation, &mut self.long_probes, |at, _, found| {
                at >= moved && found == id
            });
            let Probe::Found(place) = probe else {
                panic!("a key that is there");
            };
            before.set(place, words, mark);
        }
        if self.before.is_none()
            && self.table.slots > SLOTS_MIN
            && self.len * SPARSE < self.table.slots
        {
            self.resize(slots_for(self.len * 2));
        }
    }

    /// Forgets all keys. Keeps the table and what was made ready, unless the table was mostly empty.
    pub fn clear(&mut self) {
        self.before = None;
        let keys = std::mem::take(&mut self.len);
        if keys * SPARSE < self.table.slots && self.table.slots > SLOTS_MIN {
            (self.table, self.next, self.full_at) = (Table::default(), None, 0);
            self.expect(keys);
        }
        self.generation = match self.generation.checked_add(1) {
            Some(next) => next,
            None => {
                self.table.words.fill(0);
                1
            }
        };
    }

    #[inline(always)]
    fn mark(&self, id: u32) -> u64 {
        u64::from(self.generation) << 32 | u64::from(id)
    }

    #[cold]
    #[inline(never)]
    fn find_before(
        &mut self,
        hash: u64,
        words: &[u64; W],
        mut same: impl FnMut(u32) -> bool,
    ) -> Option<u32> {
        let before = self.before.as_ref()?;
        let moved = self.moved;
        let probe = before.probe(
            hash,
            self.generation,
            &mut self.long_probes,
            // What has moved over is in the grown table, or was removed from it.
            |at, found, id| at >= moved && found == words && id != REMOVED && same(id),
        );
        match probe {
            Probe::Found(place) => Some(before.slot(place).1 as u32),
            Probe::Free(_) => None,
        }
    }

    /// Zeroes `words` of the next table, which is begun if it was not. One that was expected takes over once it is ready; one
    /// that is for growing waits until this is full.
    #[cold]
    #[inline(never)]
    fn prepare(&mut self, words: usize) {
        let doubled = self.table.slots * 2;
        let next = self
            .next
            .get_or_insert_with(|| Table::reserved(doubled, self.node.as_ref()));
        if !next.is_zeroed() {
            // What is expected is wanted soon: the table in use is small.
            next.zero(if next.slots > doubled {
                2 * words
            } else {
                words
            });
            if next.is_zeroed()
                && let Some(node) = &self.node
            {
                let (start, bytes) = (NonNull::from(next.words.as_mut_slice()), next.bytes());
                next.offer = Some(node.offer_huge_pages(start.cast(), bytes));
            }
        }
        if next.is_zeroed()
            && next.slots > doubled
            && self.before.is_none()
            && let Some(next) = self.next.take()
        {
            self.replace(next);
        }
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self) {
        // Only if a table was made far smaller than what then came.
        while self.before.is_some() {
            self.move_slots(self.table.slots);
        }
        let doubled = (self.table.slots * 2).max(SLOTS_MIN);
        let ready = |next: &mut Table<W>| next.is_zeroed() || next.slots == doubled;
        match self.next.take_if(ready) {
            Some(next) => self.replace(next),
            None => self.resize(doubled),
        }
    }

    fn resize(&mut self, slots: usize) {
        self.replace(Table::reserved(slots, self.node.as_ref()));
    }

    /// From here on `next` takes what is new.
    fn replace(&mut self, mut next: Table<W>) {
        next.zero(usize::MAX);
        self.full_at = full_at(next.slots);
        let before = std::mem::replace(&mut self.table, next);
        self.moved = 0;
        if self.len > 0 {
            self.before = Some(before);
        }
        // What was being made ready is of no use any more unless it is larger.
        let slots = self.table.slots;
        self.next.take_if(|next| next.slots <= slots);
    }

    fn tables(&self) -> impl Iterator<Item = &Table<W>> {
        let others = self.before.iter().chain(&self.next);
        others.chain(std::iter::once(&self.table))
    }

    /// Moves the next `slots` slots of the table before growing.
    fn move_slots(&mut self, slots: usize) {
        let Some(before) = self.before.take() else {
            return;
        };
        let end = before.slots.min(self.moved + slots);
        for place in self.moved..end {
            let (words, mark) = before.slot(place);
            let id = mark as u32;
            if (mark >> 32) as u32 != self.generation || id == REMOVED {
                continue;
            }
            let hash = hash_words(self.seed, &words);
            let to = self
                .table
                .probe(hash, self.generation, &mut self.long_probes, |_, _, _| {
                    false
                });
            let Probe::Free(free) = to else {
                panic!("a key stands in one table");
            };
            self.table.set(free, words, mark);
        }
        self.moved = end;
        if end < before.slots {
            self.before = Some(before);
        }
    }

    /// Frees the slot at `place`, and moves those behind it that would no longer be found.
    fn close_gap(&mut self, place: usize) {
        let table = &mut self.table;
        let (mut gap, mut next) = (place, table.next(place));
        loop {
            let (words, mark) = table.slot(next);
            if (mark >> 32) as u32 != self.generation {
                break;
            }
            let home = (hash_words(self.seed, &words) >> table.shift) as usize;
            // How far the key is from its home, and how far it would be in the gap.
            let mask = table.slots - 1;
            let there = next.wrapping_sub(home) & mask;
            let back = next.wrapping_sub(gap) & mask;
            if there >= back {
                table.set(gap, words, mark);
                gap = next;
            }
            next = table.next(next);
        }
        table.set(gap, [0; W], 0);
    }
}

/// Keys at which a table of so many slots grows.
fn full_at(slots: usize) -> usize {
    let full = if slots <= SLOTS_SMALL {
        FULL_SMALL
    } else {
        FULL
    };
    slots / FULL_OF * full
}

/// Slots of a table that takes `keys` keys without growing.
fn slots_for(keys: usize) -> usize {
    let slots = (keys * FULL_OF / FULL + 1)
        .next_power_of_two()
        .max(SLOTS_MIN);
    if keys <= full_at(slots) {
        return slots;
    }
    (keys * FULL_OF / FULL_SMALL + 1).next_power_of_two()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_grown_table_moves_over_a_few_slots_a_call() {
        let mut slots: Slots<1> = Slots::new(7, None);
        let mut moving = 0;
        for key in 0..100_000u32 {
            slots.advance(1);
            assert_eq!(slots.find_or_insert([u64::from(key)], key, |_| true), key);
            moving += usize::from(slots.before.is_some());
            let again = key / 2;
            assert_eq!(
                slots.find_or_insert([u64::from(again)], u32::MAX - 1, |_| true),
                again
            );
        }
        assert_eq!(slots.len, 100_000);
        assert!(moving > 16, "large tables moved over in several calls");
        // With five eighths taken, runs of 64 come up by chance, about once in many thousands of searches.
        assert!(slots.take_long_probes() < 20);
    }

    /// Grows to `keys` keys in blocks of a thousand, and returns the most words that a block zeroed.
    fn zeroed_at_once(slots: &mut Slots<1>, keys: u32) -> usize {
        let zeroed =
            |slots: &Slots<1>| slots.tables().map(|table| table.words.len()).sum::<usize>();
        let mut most = 0;
        for block in 0..keys / 1_000 {
            let (tables, before) = (slots.tables().count(), zeroed(slots));
            slots.advance(1_000);
            for key in block * 1_000..(block + 1) * 1_000 {
                slots.find_or_insert([u64::from(key)], key, |_| true);
            }
            // A table that has moved over is gone, and what it had does not count.
            if slots.tables().count() >= tables {
                most = most.max(zeroed(slots).saturating_sub(before));
            }
        }
        most
    }

    #[test]
    fn a_large_table_is_zeroed_over_calls_before_it_is_used() {
        let at_once = SLOTS_AT_ONCE * Table::<1>::STRIDE;
        let most = at_once.max(1_000 * ZEROED_A_KEY);
        let mut grown: Slots<1> = Slots::new(7, None);
        assert!(zeroed_at_once(&mut grown, 1_000_000) <= most);

        let mut expected: Slots<1> = Slots::new(7, None);
        expected.expect(1_000_000);
        assert_eq!(expected.table.slots, SLOTS_AT_ONCE);
        // Until the expected table is ready, the small one doubles.
        let zeroed = zeroed_at_once(&mut expected, 1_000_000);
        assert!(zeroed <= 8 * at_once + 2 * most, "{zeroed}");
        assert_eq!(expected.table.slots, grown.table.slots);
        expected.clear();
        assert_eq!(
            expected.table.slots, grown.table.slots,
            "the next pane has it"
        );
    }

    /// Regression: with one multiply alone, four of five of these were not where they were looked for first.
    #[test]
    fn consecutive_numbers_do_not_crowd() {
        for count in [100, 1_000, 10_000, 40_000] {
            let mut slots: Slots<1> = Slots::new(0x5eed_5eed_5eed_5eed, None);
            for key in 0..count {
                slots.find_or_insert([u64::from(key)], key, |_| true);
            }
            slots.move_slots(usize::MAX / 2);
            let (mut ids, mut missing) = (Vec::new(), Vec::new());
            let keys: Vec<[u64; 1]> = (0..count).map(|key| [u64::from(key)]).collect();
            slots.find_first(keys.into_iter(), &mut ids, &mut missing);
            assert!(
                missing.len() < count as usize * 2 / 5,
                "{} of {count}",
                missing.len()
            );
        }
    }

    #[test]
    fn forgetting_keeps_the_table_and_none_of_its_keys() {
        let mut slots: Slots<2> = Slots::new(7, None);
        slots.expect(1_000);
        let bytes = slots.bytes();
        for round in 0..3 {
            for key in 0..1_000 {
                assert_eq!(
                    slots.find_or_insert([key, 1], key as u32 + round, |_| true),
                    key as u32 + round
                );
            }
            slots.clear();
            assert_eq!((slots.len, slots.bytes()), (0, bytes));
        }
        slots.clear();
        assert!(
            slots.bytes() < bytes,
            "a table that stayed empty is given back"
        );
    }

    #[test]
    fn an_old_generation_is_never_taken_for_a_new_one() {
        let mut slots: Slots<1> = Slots::new(7, None);
        slots.find_or_insert([5], 0, |_| true);
        slots.generation = u32::MAX;
        slots.find_or_insert([6], 1, |_| true);
        slots.clear();
        assert_eq!(slots.generation, 1);
        assert_eq!(slots.find_or_insert([5], 2, |_| true), 2);
        assert_eq!(slots.find_or_insert([6], 3, |_| true), 3);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Find(u64),
        Remove(u64),
        Advance(usize),
        Clear,
    }

    fn any_step() -> impl Strategy<Value = Step> {
        // A few hundred keys, close together and spread.
        let key = prop_oneof![0u64..200, (0u64..200).prop_map(|key| key << 56)];
        prop_oneof![
            20 => key.clone().prop_map(Step::Find),
            8 => key.prop_map(Step::Remove),
            2 => (0usize..3).prop_map(Step::Advance),
            1 => Just(Step::Clear),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn a_table_is_a_map(steps in prop::collection::vec(any_step(), 0..900), seed in any::<u64>()) {
            let mut slots: Slots<1> = Slots::new(seed, None);
            let mut model: BTreeMap<u64, u32> = BTreeMap::new();
            let mut fresh = 0;
            for step in steps {
                match step {
                    Step::Find(key) => {
                        let expected = *model.entry(key).or_insert(fresh);
                        prop_assert_eq!(slots.find_or_insert([key], fresh, |id| id == expected), expected);
                        fresh += 1;
                    }
                    Step::Remove(key) => {
                        if let Some(id) = model.remove(&key) {
                            slots.remove([key], id);
                        }
                    }
                    // Few slots a time, so that much happens while a table has half moved over.
                    Step::Advance(few) => slots.move_slots(few * 8),
                    Step::Clear => {
                        model.clear();
                        slots.clear();
                    }
                }
                prop_assert_eq!(slots.len, model.len());
            }
            for (&key, &id) in &model {
                prop_assert_eq!(slots.find_or_insert([key], u32::MAX - 1, |_| true), id);
            }
        }
    }
}
