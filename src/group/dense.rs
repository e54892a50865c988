//! Small keys to ids by their place in an array: what answers before a hash table is asked.
//!
//! ```text
//!   key: | low part | high part |        place = high << low_bits | low        marks: | mark | mark | .. | of no key |
//!        one word: its halves; two: each a part                               mark = generation << 32 | id
//! ```
//!
//! The ids of a dictionary are small, so a group by one text is found here, and one by two texts while the product of their
//! numbers is small; so are a BOOLEAN, a weekday, a small number. What is no place in the array is the hash table's: a
//! negative number, a NULL among large ones.
//!
//! Laws: while the array is in use every group whose key has a place in it stands there, so a key is looked for in one of the
//! two only. It never exceeds `PLACES_MAX`, and beyond `PLACES_ANYWAY` one place in `PLACES_A_GROUP` is taken. Where most rows
//! find no place it is given up, until the groups are forgotten: then it costs a compare a block. Growing and giving up visit at
//! most `PLACES_MAX` groups in one call.

use super::arena::Segments;

/// Places of the largest array: 128 KiB. Giving it up moves so many groups in one turn, a tenth of a microsecond each.
pub const PLACES_MAX: u64 = 1 << 14;

/// Up to so many places it does not matter how many are taken.
const PLACES_ANYWAY: u64 = 1 << 13;

/// A larger array has at most so many places a group.
const PLACES_A_GROUP: u64 = 8;

/// A row without a place costs what so many rows with one save.
const STRAY_COST: i64 = 4;

/// How far rows without a place may outweigh the others before the array is given up, and the others these.
const CREDIT_MAX: i64 = 4_096;

const _: () = {
    assert!(PLACES_ANYWAY <= PLACES_MAX);
    assert!(
        PLACES_MAX < u32::MAX as u64,
        "a place is less than half a word"
    );
};

/// Groups by the place of their key.
#[derive(Debug)]
pub struct Dense {
    /// By place: the generation, then the id. The last one is of no key. Empty before the first.
    marks: Vec<u64>,
    /// Bits of a place that the low part takes.
    low_bits: u32,
    /// High parts that have a place.
    rows: u64,
    generation: u32,
    /// What the rows so far have saved, in rows.
    credit: i64,
    in_use: bool,
}

/// The parts of a key that make its place.
#[inline(always)]
fn parts<const W: usize>(key: &[u64; W]) -> (u64, u64) {
    match key.as_slice() {
        [word] => (word & u64::from(u32::MAX), word >> u32::BITS),
        [low, high] => (*low, *high),
        _ => panic!("keys of one word or two"),
    }
}

impl Dense {
    /// No group.
    pub fn new() -> Dense {
        Dense {
            marks: Vec::new(),
            low_bits: 0,
            rows: 0,
            generation: 1,
            credit: 0,
            in_use: true,
        }
    }

    /// Whether keys are to be looked for here.
    #[inline]
    pub fn is_in_use(&self) -> bool {
        self.in_use
    }

    /// Bytes that the array takes.
    pub fn bytes(&self) -> usize {
        self.marks.capacity() * size_of::<u64>()
    }

    /// Appends the id of each of `keys` to `ids`, and the numbers of those that are not there to `missing`, ascending; their
    /// ids mean nothing yet. `missing` must be empty. No branch of this depends on a key.
    #[inline(always)]
    pub fn find<const W: usize>(
        &self,
        keys: &[[u64; W]],
        ids: &mut Vec<u32>,
        missing: &mut Vec<u32>,
    ) {
        assert!(
            missing.is_empty(),
            "what is missing is looked for before the next search"
        );
        let Some(nowhere) = self.marks.len().checked_sub(1) else {
            ids.resize(ids.len() + keys.len(), 0);
            missing.extend(0..keys.len() as u32);
            return;
        };
        let (low_end, rows) = (1 << self.low_bits, self.rows);
        let generation = u64::from(self.generation);
        missing.resize(keys.len(), 0);
        let mut absent = 0;
        ids.extend(keys.iter().enumerate().map(|(number, key)| {
            let (low, high) = parts(key);
            let inside = (low < low_end) & (high < rows);
            let place = if inside {
                (high << self.low_bits | low) as usize
            } else {
                nowhere
            };
            let mark = self.marks[place];
            missing[absent] = number as u32;
            absent += usize::from(mark >> 32 != generation);
            mark as u32
        }));
        missing.truncate(absent);
    }

    /// The id of `key`, which is `fresh` from here on if it is new; `None` where it has no place. The array grows for it if
    /// it may: `words` has the keys of all groups so far, by word.
    #[inline]
    pub fn find_or_insert<const W: usize>(
        &mut self,
        key: &[u64; W],
        fresh: u32,
        words: &[Segments<u64>],
    ) -> Option<u32> {
        let (low, high) = parts(key);
        if self.place(low, high).is_none() {
            self.reach::<W>(low, high, words)?;
        }
        let place = self.place(low, high).expect("it was reached");
        let mark = &mut self.marks[place];
        if (*mark >> 32) as u32 != self.generation {
            *mark = u64::from(self.generation) << 32 | u64::from(fresh);
        }
        Some(*mark as u32)
    }

    /// Takes note of a block of `rows` rows of which `strays` had no place. False once the array should be given up.
    pub fn is_worth(&mut self, rows: usize, strays: usize) -> bool {
        let saved = rows as i64 - (STRAY_COST + 1) * strays as i64;
        self.credit = (self.credit + saved).min(CREDIT_MAX);
        self.credit >= -CREDIT_MAX
    }

    /// Gives the array up, and returns the ids of its groups, for the hash table to take. It is used again when the groups are
    /// forgotten.
    pub fn give_up(&mut self) -> impl Iterator<Item = u32> + use<> {
        let marks = std::mem::take(&mut self.marks);
        (self.low_bits, self.rows, self.in_use) = (0, 0, false);
        let generation = u64::from(self.generation);
        let taken = marks
            .into_iter()
            .filter(move |mark| mark >> 32 == generation);
        taken.map(|mark| mark as u32)
    }

    /// Forgets all groups and keeps the memory.
    pub fn clear(&mut self) {
        (self.credit, self.in_use) = (0, true);
        self.generation = match self.generation.checked_add(1) {
            Some(next) => next,
            None => {
                self.marks.fill(0);
                1
            }
        };
    }

    fn place(&self, low: u64, high: u64) -> Option<usize> {
        let inside = high < self.rows && low < 1 << self.low_bits;
        inside.then(|| (high << self.low_bits | low) as usize)
    }

    /// Makes the array larger, so that the key of these parts has a place, and puts all groups in theirs. `None` if it would
    /// be too large.
    #[cold]
    #[inline(never)]
    fn reach<const W: usize>(
        &mut self,
        low: u64,
        high: u64,
        words: &[Segments<u64>],
    ) -> Option<()> {
        let groups = words[0].len() as u64;
        if low >= PLACES_MAX || high >= PLACES_MAX || groups > PLACES_MAX {
            return None;
        }
        let low_bits = self.low_bits.max(u64::BITS - low.leading_zeros());
        let rows = self.rows.max((high + 1).next_power_of_two());
        let places = rows << low_bits;
        if places > PLACES_MAX.min(PLACES_ANYWAY.max(groups * PLACES_A_GROUP)) {
            return None;
        }
        (self.low_bits, self.rows) = (low_bits, rows);
        self.marks.clear();
        self.marks.resize(places as usize + 1, 0);
        for id in 0..groups {
            let key: [u64; W] = std::array::from_fn(|word| words[word][id as usize]);
            let (low, high) = parts(&key);
            if let Some(place) = self.place(low, high) {
                self.marks[place] = u64::from(self.generation) << 32 | id;
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::arena::Arena;
    use super::*;

    /// Groups of the keys, as the table keeps them: those without a place are left out. How many those were.
    fn fill<const W: usize>(dense: &mut Dense, keys: impl Iterator<Item = [u64; W]>) -> usize {
        let arena = Arena::new(None);
        let mut words: Vec<Segments<u64>> = (0..W).map(|_| Segments::new()).collect();
        let mut strays = 0;
        for key in keys {
            let fresh = words[0].len() as u32;
            match dense.find_or_insert(&key, fresh, &words) {
                Some(id) if id != fresh => {}
                placed => {
                    strays += usize::from(placed.is_none());
                    for (column, word) in words.iter_mut().zip(key) {
                        column.push(word, &arena);
                    }
                }
            }
        }
        strays
    }

    #[test]
    fn the_ids_of_two_dictionaries_find_places_while_their_product_is_small() {
        let pairs = |a: u64, b: u64| {
            (0..4 * a * b).map(move |n| [(n * 7_919 % a + 1) << 32 | (n * 104_729 % b + 1)])
        };
        let mut dense = Dense::new();
        assert_eq!(fill(&mut dense, pairs(50, 100)), 0);
        assert_eq!(dense.marks.len(), 64 * 128 + 1);
        let mut dense = Dense::new();
        assert!(fill(&mut dense, pairs(1_000, 1_000)) > 0);
        assert!(dense.bytes() <= PLACES_MAX as usize * size_of::<u64>() * 2);
    }

    #[test]
    fn a_number_with_a_bit_for_null_finds_a_place_and_large_ones_none() {
        let mut dense = Dense::new();
        let numbers = [[7, 0], [0, 1], [7, 0], [3, 0], [0, 1]];
        assert_eq!(fill(&mut dense, numbers.into_iter()), 0);
        let mut dense = Dense::new();
        assert_eq!(
            fill(&mut dense, [[u64::MAX], [1 << 52], [5]].into_iter()),
            2
        );
        let mut dense = Dense::new();
        let wide = [[u64::MAX, 0], [0, u64::MAX], [1, PLACES_MAX], [2, 2]];
        assert_eq!(fill(&mut dense, wide.into_iter()), 3);
    }

    #[test]
    fn a_large_array_is_an_eighth_full() {
        let mut dense = Dense::new();
        assert_eq!(fill(&mut dense, (0..PLACES_MAX).map(|id| [id])), 0);
        let mut dense = Dense::new();
        let sparse = (0..1_000).map(|id| [id * (PLACES_MAX / 1_000)]);
        assert!(fill(&mut dense, sparse) > 400);
        assert!(dense.marks.len() as u64 <= PLACES_ANYWAY + 1);
    }

    #[test]
    fn it_is_given_up_when_most_rows_stray_and_not_for_a_few() {
        let mut dense = Dense::new();
        assert!((0..100).all(|_| dense.is_worth(1_024, 100)));
        assert!((0..100).any(|_| !dense.is_worth(1_024, 1_000)));
        dense.clear();
        assert!(dense.is_worth(1, 1), "a single row decides nothing");
    }

    #[test]
    fn given_up_it_gives_back_every_group_of_its_own_and_takes_none() {
        let mut dense = Dense::new();
        fill(&mut dense, (0..5).map(|id| [id]));
        dense.clear();
        fill(&mut dense, [[3], [u64::MAX], [1]].into_iter());
        let mut ids: Vec<u32> = dense.give_up().collect();
        ids.sort_unstable();
        assert_eq!(ids, [0, 2]);
        assert!(!dense.is_in_use());
        dense.clear();
        assert!(dense.is_in_use());
    }
}
