//! Open addressing over packed words: `W` words -> a `u32`, the one place where the engine hashes to find something.
//!
//! ```text
//!   words --hash--> high bits = place -->  | words | mark |  words | mark |  words | mark | ..   linear probing
//!                                            mark = generation << 32 | id; another generation: the slot is free
//!   growing:  the grown table takes what is new;  the table before it is asked second, and moves over a few slots a call
//! ```
//!
//! Laws: a call moves a bounded number of slots, so growing never blocks a turn; forgetting everything is one number
//! (`generation`). The answer never depends on the hash, only the time does: the seed differs between processes, so that
//! nobody can prepare keys that collide, and probes beyond `LONG_PROBE` are counted.
//!
//! The hash is rustc-hash's multiply, folded (high half xor low half), so that the seed decides which keys collide, and one
//! more multiply for its high bits: without that, the ids of a dictionary (1, 2, 3, ..) took 15 probes instead of 1.8
//! (docs/decisions/0013). It is not stored: the words are in the slot, and a multiply a word gives it again.

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

/// Slots that a call moves at least while a table grows, and for each key that it looks up.
const MOVED_MIN: usize = 4096;
const MOVED_A_KEY: usize = 4;

/// A table is made smaller when fewer than one of so many slots is taken.
const SPARSE: usize = 32;

/// The multiplier of rustc-hash 2.
const MULTIPLIER: u64 = 0xf135_7aea_2e62_a9c5;

/// What brings all bits of a hash into its high ones: the golden ratio.
const SPREADER: u64 = 0x9e37_79b9_7f4a_7c15;

/// The id of a slot of the table before growing that has been removed there.
const REMOVED: u32 = u32::MAX;

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
};

/// Words to ids.
#[derive(Clone, Debug)]
pub struct Slots<const W: usize> {
    table: Table<W>,
    /// The table before growing, while it has not all moved over: slots below `moved` have.
    before: Option<Table<W>>,
    moved: usize,
    /// Number of keys.
    pub(super) len: usize,
    /// Keys at which the table grows.
    full_at: usize,
    generation: u32,
    seed: u64,
    long_probes: u64,
}

/// Slots in a row: `W` words and a mark each.
#[derive(Clone, Debug, Default)]
struct Table<const W: usize> {
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

    /// All slots are of generation 0, which is never in use. The memory comes zeroed from the system, page by page as it is
    /// touched: a large table costs nothing to make.
    fn with_slots(slots: usize) -> Table<W> {
        debug_assert!(slots.is_power_of_two() && slots >= SLOTS_MIN);
        Table {
            words: vec![0; slots * Self::STRIDE],
            slots,
            shift: u64::BITS - slots.ilog2(),
        }
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
    /// No key yet, under this seed.
    pub fn new(seed: u64) -> Slots<W> {
        Slots {
            table: Table::default(),
            before: None,
            moved: 0,
            len: 0,
            full_at: 0,
            generation: 1,
            seed,
            long_probes: 0,
        }
    }

    /// Bytes that the tables take.
    pub fn bytes(&self) -> usize {
        let words = self.table.words.len() + self.before.as_ref().map_or(0, |it| it.words.len());
        words * size_of::<u64>()
    }

    /// Probes that went past `LONG_PROBE` slots, since this was last asked.
    pub fn take_long_probes(&mut self) -> u64 {
        std::mem::take(&mut self.long_probes)
    }

    /// Makes room for about `keys` keys, while there are none.
    pub fn expect(&mut self, keys: usize) {
        assert_eq!(self.len, 0, "a table is sized while it is empty");
        let slots = slots_for(keys);
        if slots > self.table.slots {
            self.resize(slots);
        }
    }

    /// To be called before up to `keys` calls of `find_or_insert`: moves a bounded number of slots if a table has grown.
    pub fn advance(&mut self, keys: usize) {
        if self.before.is_some() {
            self.move_slots(MOVED_MIN.max(keys * MOVED_A_KEY));
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

    /// Forgets all keys. Keeps the table, unless it was mostly empty.
    pub fn clear(&mut self) {
        self.before = None;
        if self.len * SPARSE < self.table.slots && self.table.slots > SLOTS_MIN {
            let slots = slots_for(self.len);
            self.len = 0;
            self.resize(slots);
        }
        self.len = 0;
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

    #[cold]
    #[inline(never)]
    fn grow(&mut self) {
        // Only if a table was made far smaller than what then came.
        while self.before.is_some() {
            self.move_slots(self.table.slots);
        }
        self.resize((self.table.slots * 2).max(SLOTS_MIN));
    }

    fn resize(&mut self, slots: usize) {
        let before = std::mem::replace(&mut self.table, Table::with_slots(slots));
        self.full_at = full_at(slots);
        self.moved = 0;
        if self.len > 0 {
            self.before = Some(before);
        }
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
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_grown_table_moves_over_a_few_slots_a_call() {
        let mut slots: Slots<1> = Slots::new(7);
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

    /// Regression: with one multiply alone, four of five of these were not where they were looked for first.
    #[test]
    fn consecutive_numbers_do_not_crowd() {
        for count in [100, 1_000, 10_000, 40_000] {
            let mut slots: Slots<1> = Slots::new(0x5eed_5eed_5eed_5eed);
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
        let mut slots: Slots<2> = Slots::new(7);
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
        let mut slots: Slots<1> = Slots::new(7);
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
        fn a_table_is_a_hash_map(steps in prop::collection::vec(any_step(), 0..900), seed in any::<u64>()) {
            let mut slots: Slots<1> = Slots::new(seed);
            let mut model: HashMap<u64, u32> = HashMap::new();
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
