//! What a stream does with its bad records.
//!
//! Law: a bad record is either the error that ends the run or one more in the count, never both, never neither; and under
//! `dead_letter` each one that is counted is a letter too.

use crate::batch::{DeadLetter, LetterStage, OwnedOriginal};
use crate::config::options::OnError;
use crate::error::{Error, Place, Result};

/// The policy of one stream on one shard, and how many bad records it has left out.
#[derive(Clone, Debug)]
pub struct BadRecords {
    stream: String,
    on_error: OnError,
    left_out: u64,
    /// Not yet taken.
    letters: Vec<DeadLetter>,
}

impl BadRecords {
    /// For the stream of that name.
    pub fn new(stream: &str, on_error: OnError) -> BadRecords {
        BadRecords {
            stream: stream.to_owned(),
            on_error,
            left_out: 0,
            letters: Vec::new(),
        }
    }

    /// Whether whoever finds a bad record will be asked for its bytes.
    pub fn keeps_originals(&self) -> bool {
        self.on_error == OnError::DeadLetter
    }

    /// Takes a bad record, found at `stage`. `place` says where it stands and `original` what it was, if anybody has to know.
    ///
    /// Fails with [`Error::Data`] under `fail`.
    #[cold]
    pub fn take(
        &mut self,
        stage: LetterStage,
        place: impl FnOnce() -> Place,
        reason: &str,
        original: impl FnOnce() -> OwnedOriginal,
    ) -> Result<()> {
        match self.on_error {
            OnError::Skip => self.left_out += 1,
            OnError::DeadLetter => {
                self.left_out += 1;
                self.letters.push(DeadLetter {
                    stage,
                    place: place(),
                    reason: reason.to_owned(),
                    original: original(),
                });
            }
            OnError::Fail => {
                return Err(Error::Data {
                    stream: self.stream.clone(),
                    place: place(),
                    reason: reason.to_owned(),
                });
            }
        }
        Ok(())
    }

    /// Bad records left out so far.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// The letters since the last time.
    pub fn take_letters(&mut self) -> Vec<DeadLetter> {
        std::mem::take(&mut self.letters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECODE: LetterStage = LetterStage::Decode;

    #[test]
    fn a_bad_record_ends_the_run_or_is_counted_or_is_a_letter_too() {
        let place = || Place::Line {
            file: "f.csv".to_owned(),
            line: 7,
        };
        let nobody = || unreachable!("nobody asks what it was");
        let mut skip = BadRecords::new("flights", OnError::Skip);
        let nowhere = || unreachable!("nobody asks where");
        skip.take(DECODE, nowhere, "bad", nobody).expect("skipped");
        assert_eq!((skip.left_out(), skip.take_letters().len()), (1, 0));

        let mut fail = BadRecords::new("flights", OnError::Fail);
        let error = fail
            .take(DECODE, place, "it is empty", nobody)
            .expect_err("fails");
        assert_eq!(error.exit_code(), crate::error::exit::DATA);
        assert_eq!(
            error.to_string(),
            "bad record of flights at f.csv line 7: it is empty; mend it, or set on_error = 'skip' on the stream"
        );
        assert_eq!(fail.left_out(), 0);

        let mut dead = BadRecords::new("flights", OnError::DeadLetter);
        let original = OwnedOriginal {
            payload: Some(b"\xff".to_vec()),
            ..OwnedOriginal::default()
        };
        dead.take(DECODE, place, "it is empty", || original.clone())
            .expect("a letter");
        let letter = DeadLetter {
            stage: DECODE,
            place: place(),
            reason: "it is empty".to_owned(),
            original,
        };
        assert_eq!(dead.take_letters(), [letter]);
        assert_eq!((dead.left_out(), dead.take_letters().len()), (1, 0));
    }
}
