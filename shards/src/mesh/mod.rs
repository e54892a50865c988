//! The mesh: one lane for each (edge, from, to), so that every lane has one writer and one reader.
//!
//! ```text
//!                 edge 0                       edge 1
//!   shard 0  outbox ──lanes──> inbox     outbox ──lanes──> inbox
//!   shard 1  outbox ──lanes──> inbox     outbox ──lanes──> inbox      each outbox to every inbox but its own
//!   shard 2  outbox ──lanes──> inbox     outbox ──lanes──> inbox
//! ```
//!
//! Four laws:
//! - A lane is first in, first out, from post to take, whether blocks were held on the way or not.
//! - Posting neither blocks nor fails. A full lane is normal: the outbox holds the block, and the
//!   operator produces no more while anything is held ([`Outbox::has_room`]).
//! - Whoever sleeps is woken by what comes to it: a block, or room for what it holds
//!   ([`doorbell`](Doorbells)).
//! - An edge is drained only while its operator's output has room. Edges form a DAG and the last
//!   one always drains; therefore nothing deadlocks, not even with lanes of one block.
//!
//! A shard has no lane to itself: what it keeps never crosses. Blocks cross, never records; one is
//! tens of nanoseconds whatever it holds.

mod doorbell;
mod inbox;
mod lane;
mod outbox;

pub use doorbell::{Doorbell, Doorbells, HelperSeat, Ringer};
pub use inbox::Inbox;
pub use outbox::Outbox;

pub(crate) use lane::{LaneReader, LaneWriter, lane};

use crate::shard::ShardId;

/// One shard's ends of all lanes: by edge, an outbox and an inbox.
pub struct Endpoint<B> {
    /// Where blocks leave, by edge.
    pub outboxes: Vec<Outbox<B>>,
    /// Where blocks arrive, by edge.
    pub inboxes: Vec<Inbox<B>>,
}

/// Builds all lanes of a pipeline of `edges` exchange edges over the shards that have these
/// doorbells, each lane for `lane_blocks` blocks. Returns one endpoint for each shard, in their
/// order.
///
/// # Panics
/// When there is no room in a lane.
pub fn mesh<B: Send>(doorbells: &Doorbells, edges: usize, lane_blocks: usize) -> Vec<Endpoint<B>> {
    let shards = doorbells.shards();
    assert!(lane_blocks > 0, "a lane holds at least one block");
    let ids = || (0..shards).map(ShardId::from_index);
    let mut endpoints: Vec<Endpoint<B>> = ids()
        .map(|_| Endpoint {
            outboxes: Vec::with_capacity(edges),
            inboxes: Vec::with_capacity(edges),
        })
        .collect();

    for _ in 0..edges {
        let mut readers: Vec<Vec<(ShardId, LaneReader<B>)>> = ids().map(|_| Vec::new()).collect();
        for from in ids() {
            let writers = ids()
                .map(|to| {
                    (to != from).then(|| {
                        let (writer, reader) =
                            lane(doorbells, from.index(), to.index(), lane_blocks);
                        readers[to.index()].push((from, reader));
                        writer
                    })
                })
                .collect();
            endpoints[from.index()]
                .outboxes
                .push(Outbox::new(from, writers));
        }
        for (endpoint, readers) in endpoints.iter_mut().zip(readers) {
            endpoint.inboxes.push(Inbox::new(readers));
        }
    }
    endpoints
}

#[cfg(all(test, not(loom)))]
mod tests;
