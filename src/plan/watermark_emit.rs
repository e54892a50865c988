//! What moves the watermarks of a stream: `watermark.emit`.
//!
//! | kind         | a partition's watermark moves to its highest event time so far minus the bound        |
//! | ------------ | ------------------------------------------------------------------------------------- |
//! | `record`     | at every record                                                                       |
//! | `interval`   | when the clock has passed a multiple of the interval                                  |
//! | `punctuated` | at a record for which an expression over the stream's columns is true                 |
//! | `hybrid`     | at either of these two                                                                |
//!
//! Law: lateness is judged against it all the same, so these kinds change what is late. A record that is bad, and one for which
//! the expression is NULL or fails, moves nothing; its event time counts among the highest.

use super::PlannedExpr;

/// What moves a watermark; every record where both are `None`.
#[derive(Clone, Debug, Default)]
pub struct WatermarkEmit {
    /// The clock, each time it passes a multiple of this, microseconds.
    pub interval_us: Option<i64>,
    /// A record for which this is true.
    pub punctuation: Option<Punctuation>,
}

/// An expression over a record.
#[derive(Clone, Debug)]
pub struct Punctuation {
    /// The expression, boolean, over `columns`.
    pub expr: PlannedExpr,
    /// The columns that it needs, as indexes into `StreamSpec::columns`, ascending.
    pub columns: Vec<usize>,
}

impl WatermarkEmit {
    /// Whether every record moves it.
    pub fn is_by_record(&self) -> bool {
        self.interval_us.is_none() && self.punctuation.is_none()
    }

    /// The columns that have to be decoded for it.
    pub fn columns(&self) -> &[usize] {
        match &self.punctuation {
            Some(punctuation) => &punctuation.columns,
            None => &[],
        }
    }

    /// The kind, as it is written.
    pub fn kind(&self) -> &'static str {
        match (&self.interval_us, &self.punctuation) {
            (None, None) => "record",
            (Some(_), None) => "interval",
            (None, Some(_)) => "punctuated",
            (Some(_), Some(_)) => "hybrid",
        }
    }

    /// Why what it promised at a record cannot be found again by reading the record again; `None` if it can.
    pub fn unrepeatable(&self) -> Option<&'static str> {
        match (self.interval_us, &self.punctuation) {
            (Some(_), _) => Some(
                "its watermark moves with the clock, which was elsewhere when a record was read first",
            ),
            (None, Some(_)) => Some(
                "its watermark moves at punctuations, and a commit does not keep what was reached behind the last of them",
            ),
            (None, None) => None,
        }
    }
}
