//! What a stream does with its bad records.
//!
//! Law: a bad record is either the error that ends the run or one more in the count, never both, never neither.

use crate::config::options::OnError;
use crate::error::{Error, Place, Result};

/// The policy of one stream on one shard, and how many bad records it has left out.
#[derive(Clone, Debug)]
pub struct BadRecords {
    stream: String,
    on_error: OnError,
    skipped: u64,
}

impl BadRecords {
    /// For the stream of that name.
    pub fn new(stream: &str, on_error: OnError) -> BadRecords {
        BadRecords {
            stream: stream.to_owned(),
            on_error,
            skipped: 0,
        }
    }

    /// Takes a bad record. `place` says where it stands, if anybody has to know.
    ///
    /// Fails with [`Error::Data`] under `fail`.
    #[cold]
    pub fn take(&mut self, place: impl FnOnce() -> Place, reason: &str) -> Result<()> {
        match self.on_error {
            OnError::Skip => {
                self.skipped += 1;
                Ok(())
            }
            OnError::Fail => Err(Error::Data {
                stream: self.stream.clone(),
                place: place(),
                reason: reason.to_owned(),
            }),
        }
    }

    /// Bad records left out so far.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_record_ends_the_run_or_is_counted() {
        let place = || Place::Line {
            file: "f.csv".to_owned(),
            line: 7,
        };
        let mut skip = BadRecords::new("flights", OnError::Skip);
        skip.take(|| unreachable!("nobody asks where"), "bad")
            .expect("skipped");
        assert_eq!(skip.skipped(), 1);
        let mut fail = BadRecords::new("flights", OnError::Fail);
        let error = fail.take(place, "it is empty").expect_err("fails");
        assert_eq!(error.exit_code(), crate::error::exit::DATA);
        assert_eq!(
            error.to_string(),
            "bad record of flights at f.csv line 7: it is empty; mend it, or set on_error = 'skip' on the stream"
        );
        assert_eq!(fail.skipped(), 0);
    }
}
