//! A record, or the keys of a row, that could not be used: where it stands, what was wrong with it, and its bytes.
//!
//! Law: it says everything by itself. Who reads it later has neither the batch nor the shard that it came from.

use super::OwnedOriginal;
use crate::error::Place;

/// Where on its way a record, or a row, came to grief.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LetterStage {
    /// Its bytes could not be decoded: it is bad for all queries.
    Decode,
    /// An expression of one query failed for it.
    Expression,
    /// It is late for one query.
    Late,
    /// A row of one query has a value out of range, or is larger than its sink takes: the letter holds the row's keys.
    Output,
}

impl LetterStage {
    /// As letters and the documentation call it.
    pub fn name(self) -> &'static str {
        match self {
            LetterStage::Decode => "decode",
            LetterStage::Expression => "expression",
            LetterStage::Late => "late",
            LetterStage::Output => "output",
        }
    }
}

/// One letter.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// Where it came to grief.
    pub stage: LetterStage,
    /// Where it stands.
    pub place: Place,
    /// What was wrong with it, one clause.
    pub reason: String,
    /// Its bytes; for a row, its keys as JSON.
    pub original: OwnedOriginal,
}
