//! What a shard tells its job of its counts while it runs: the same that stands in the report at the end.
//!
//! ```text
//!   sources: taken, bad      queries: rows, late, bad; groups, windows, bytes      lanes: blocks to each peer
//!        \------------------------ Counts, twice a second at most, if anything is new --------------> the job
//! ```
//!
//! Law: it is told whole, so what is lost with a shard that fails is the last half second and nothing has to be added up.
//! Nothing here is kept while records pass: it is gathered when it is told.

use velostream_shards::ShardId;

use super::flow::QueryCounts;
use crate::source::Extent;

/// What one shard has counted so far, and what it holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// By source of the job, in the order of `JobPlan::sources`; zero where the shard reads nothing.
    pub sources: Vec<SourceCounts>,
    /// By query, in the order of `JobPlan::queries`: what it has counted.
    pub queries: Vec<QueryCounts>,
    /// By query: what it holds.
    pub held: Vec<Held>,
    /// Blocks in the lanes to each peer, those included that are held for want of room.
    pub lanes: Vec<(ShardId, usize)>,
}

/// What a shard has read of one source.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SourceCounts {
    /// Records taken, bad ones included.
    pub records_in: u64,
    /// Bad records left out.
    pub bad_records: u64,
    /// How far it is, if its end is known.
    pub extent: Option<Extent>,
}

/// The state of a query on one shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Groups, those of a first phase included.
    pub groups: u64,
    /// Windows with a group here that have not left.
    pub open_windows: u64,
    /// Bytes that groups and dictionaries take.
    pub state_bytes: u64,
}

impl Held {
    /// A first phase and the state behind it: the windows are the same.
    #[must_use]
    pub fn beside(self, other: Held) -> Held {
        Held {
            groups: self.groups + other.groups,
            open_windows: self.open_windows.max(other.open_windows),
            state_bytes: self.state_bytes + other.state_bytes,
        }
    }
}
