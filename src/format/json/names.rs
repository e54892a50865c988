//! From a field's name to the column that it fills.
//!
//! ```text
//!   "order_id": --next--> "trader_id": --next--> "symbol": ..        which name followed which, the last time
//!        a record's names are compared along the chain, sixteen bytes at a time; one that is not there is looked up
//!        among all that were seen, and the chain bends to it
//! ```
//!
//! Law: a guess changes the cost of a field, never where it goes: it holds the very bytes of a name that was looked up, from
//! its quote to its colon. Fields that come and go, or records of several kinds, cost a lookup where the chain bends, and
//! no memory.

use rustc_hash::FxHashMap;

use crate::config::limits::{JSON_GUESS_BYTES_MAX, JSON_GUESSES_MAX};

/// Which names are wanted, and which were seen.
pub(super) struct Names {
    slots: FxHashMap<Vec<u8>, usize>,
    guesses: Vec<Guess>,
    /// Every guess by its bytes.
    places: FxHashMap<Vec<u8>, usize>,
    /// The guess for a record's first name.
    first: usize,
}

/// A name as it stands in records, with its quotes and its colon.
struct Guess {
    /// Its first sixteen bytes, and which of them count.
    word: u128,
    mask: u128,
    bytes: Vec<u8>,
    slot: usize,
    /// The guess for the name behind it.
    next: usize,
}

/// No guess, or no slot.
pub(super) const NONE: usize = usize::MAX;

const WORD: usize = 16;

/// A name that was found.
#[derive(Clone, Copy)]
pub(super) struct Found {
    /// Where its field goes; `NONE` if nobody wants it.
    pub(super) slot: usize,
    /// The byte behind its colon.
    pub(super) behind: usize,
    /// Which guess it is.
    pub(super) guess: usize,
}

impl Names {
    /// The names of the wanted columns, by slot.
    pub(super) fn new(wanted: impl Iterator<Item = String>) -> Names {
        Names {
            slots: wanted.map(String::into_bytes).zip(0..).collect(),
            guesses: Vec::new(),
            places: FxHashMap::default(),
            first: NONE,
        }
    }

    /// The guess for the name behind that of guess `last`; `NONE` for the first of a record.
    #[inline(always)]
    pub(super) fn behind(&self, last: usize) -> usize {
        self.guesses.get(last).map_or(self.first, |last| last.next)
    }

    /// The field whose name stands at `at`, if `guess` is its name.
    #[inline(always)]
    pub(super) fn try_guess(&self, guess: usize, record: &[u8], at: usize) -> Option<Found> {
        let name = self.guesses.get(guess)?;
        let length = name.bytes.len();
        let found = match record.get(at..).and_then(|rest| rest.first_chunk::<WORD>()) {
            Some(word) => {
                let differs = (u128::from_le_bytes(*word) ^ name.word) & name.mask;
                differs == 0
                    && (length <= WORD || record[at + WORD..].starts_with(&name.bytes[WORD..]))
            }
            None => record.get(at..)?.starts_with(&name.bytes),
        };
        found.then_some(Found {
            slot: name.slot,
            behind: at + length,
            guess,
        })
    }

    /// Looks up a name that follows guess `last`. `written` is the name as it stands, from its quote to its colon, which
    /// is the byte before `behind`; `name` is the same decoded.
    #[cold]
    pub(super) fn find(
        &mut self,
        last: usize,
        written: &[u8],
        name: &[u8],
        behind: usize,
    ) -> Found {
        let guess = match self.places.get(written) {
            Some(&guess) => guess,
            None if self.guesses.len() < JSON_GUESSES_MAX
                && written.len() <= JSON_GUESS_BYTES_MAX =>
            {
                let slot = self.slots.get(name).copied().unwrap_or(NONE);
                self.places.insert(written.to_vec(), self.guesses.len());
                self.guesses.push(Guess::new(written, slot));
                self.guesses.len() - 1
            }
            None => {
                let slot = self.slots.get(name).copied().unwrap_or(NONE);
                return Found {
                    slot,
                    behind,
                    guess: NONE,
                };
            }
        };
        match self.guesses.get_mut(last) {
            Some(last) => last.next = guess,
            None => self.first = guess,
        }
        let slot = self.guesses[guess].slot;
        Found {
            slot,
            behind,
            guess,
        }
    }
}

impl Guess {
    fn new(written: &[u8], slot: usize) -> Guess {
        let counted = written.len().min(WORD);
        let mut word = [0; WORD];
        word[..counted].copy_from_slice(&written[..counted]);
        Guess {
            word: u128::from_le_bytes(word),
            mask: u128::MAX >> (8 * (WORD - counted)),
            bytes: written.to_vec(),
            slot,
            next: NONE,
        }
    }
}
