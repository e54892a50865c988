//! From a field's name to the column that it fills.
//!
//! ```text
//!   record n     {"order_id":..,"symbol":..}      name by name into the table of wanted names
//!   record n+1   {"order_id":..,"symbol":..}      the same bytes at the same turn: one compare each, quotes included
//! ```
//!
//! Law: a guess changes the cost of a field, never where it goes: it holds the very bytes of a name that was looked up.

use rustc_hash::FxHashMap;

use crate::config::limits::JSON_GUESSES_MAX;

/// Which names are wanted, and which came last.
pub(super) struct Names {
    slots: FxHashMap<Vec<u8>, usize>,
    /// By a field's place in its record.
    guesses: Vec<Guess>,
}

/// A name as it stood in the last record, quotes included.
struct Guess {
    /// Its first sixteen bytes, and which of them count.
    word: u128,
    mask: u128,
    bytes: Vec<u8>,
    slot: Option<usize>,
}

const WORD: usize = 16;

impl Names {
    /// The names of the wanted columns, by slot.
    pub(super) fn new(wanted: impl Iterator<Item = String>) -> Names {
        let slots = wanted.map(String::into_bytes).zip(0..).collect();
        Names {
            slots,
            guesses: Vec::new(),
        }
    }

    /// Where the `index`th field goes and the byte behind its name, if its name stands at `at` as it did in the last record.
    #[inline(always)]
    pub(super) fn guess(
        &self,
        index: usize,
        record: &[u8],
        at: usize,
    ) -> Option<(Option<usize>, usize)> {
        let guess = self.guesses.get(index)?;
        let length = guess.bytes.len();
        let found = match record.get(at..).and_then(|rest| rest.first_chunk::<WORD>()) {
            Some(word) => {
                let differs = (u128::from_le_bytes(*word) ^ guess.word) & guess.mask;
                differs == 0
                    && (length <= WORD || record[at + WORD..].starts_with(&guess.bytes[WORD..]))
            }
            None => record.get(at..)?.starts_with(&guess.bytes),
        };
        found.then_some((guess.slot, at + length))
    }

    /// Where the `index`th field goes. `written` is its name as it stands, quotes included, `name` the same decoded.
    #[cold]
    pub(super) fn find(&mut self, index: usize, written: &[u8], name: &[u8]) -> Option<usize> {
        let slot = self.slots.get(name).copied();
        if index < JSON_GUESSES_MAX {
            let guess = Guess::new(written, slot);
            match self.guesses.get_mut(index) {
                Some(before) => *before = guess,
                None => self.guesses.push(guess),
            }
        }
        slot
    }
}

impl Guess {
    fn new(written: &[u8], slot: Option<usize>) -> Guess {
        let counted = written.len().min(WORD);
        let mut word = [0; WORD];
        word[..counted].copy_from_slice(&written[..counted]);
        Guess {
            word: u128::from_le_bytes(word),
            mask: u128::MAX >> (8 * (WORD - counted)),
            bytes: written.to_vec(),
            slot,
        }
    }
}
