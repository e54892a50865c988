//! That an input has nothing to say, and since when.
//!
//! Law: moments are on the monotonic clock, which all shards of a process read alike, so that each of them finds the same moment
//! at which the last input fell idle.

/// An input that is idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idle {
    /// Since when, monotonic clock, nanoseconds.
    pub since_ns: u64,
    /// Whether the watermark runs on with the clock when every input is idle (`idle_advance`).
    pub advances: bool,
}

impl Idle {
    /// An input from which nothing comes: idle before anything began.
    pub const ALWAYS: Idle = Idle {
        since_ns: 0,
        advances: true,
    };

    /// Both inputs together: idle since the later of them, and running on where both do.
    #[must_use]
    pub fn and(self, other: Idle) -> Idle {
        Idle {
            since_ns: self.since_ns.max(other.since_ns),
            advances: self.advances && other.advances,
        }
    }
}

/// Where an input stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It holds the others to this watermark, moved there by a record due at `due_us` (wall clock, microseconds).
    Promises(super::Watermark, i64),
    /// It holds nobody back.
    Idle(Idle),
}

impl Standing {
    /// Whether `other` tells nothing that this does not.
    pub fn is_like(self, other: Standing) -> bool {
        match (self, other) {
            (Standing::Promises(one, _), Standing::Promises(other, _)) => one == other,
            (Standing::Idle(_), Standing::Idle(_)) => true,
            _ => false,
        }
    }
}
