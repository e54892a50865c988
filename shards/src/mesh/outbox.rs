//! A shard's sending end of one edge.
//!
//! The law: [`post`](Outbox::post) neither blocks nor fails, and keeps each lane first in, first
//! out. In return the caller produces only while [`has_room`](Outbox::has_room), and a bounded
//! amount each time; that bounds what is held.

use super::LaneWriter;
use crate::shard::ShardId;

/// The lanes of one edge from one shard to each of its peers.
pub struct Outbox<B> {
    from: ShardId,
    /// By receiving shard; none to oneself.
    lanes: Vec<Option<LaneWriter<B>>>,
    held: usize,
}

impl<B> Outbox<B> {
    pub(super) fn new(from: ShardId, lanes: Vec<Option<LaneWriter<B>>>) -> Outbox<B> {
        assert!(
            lanes[from.index()].is_none(),
            "a shard has no lane to itself"
        );
        Outbox {
            from,
            lanes,
            held: 0,
        }
    }

    /// Sends a block: into the lane if it has room and nothing is held for it, else it is held, in
    /// order. A block for a shard that has ended is let go.
    ///
    /// # Panics
    /// When `to` is this shard or does not exist.
    pub fn post(&mut self, to: ShardId, block: B) {
        let lane = self.lanes[to.index()]
            .as_mut()
            .expect("what a shard sends to itself never crosses a lane");
        self.held += usize::from(lane.post(block));
    }

    /// Moves held blocks into the lanes that have room again. Returns how many are held no more.
    pub fn flush(&mut self) -> usize {
        if self.held == 0 {
            return 0;
        }
        let moved: usize = self.lanes.iter_mut().flatten().map(LaneWriter::flush).sum();
        self.held -= moved;
        debug_assert_eq!(
            self.held,
            self.lanes
                .iter()
                .flatten()
                .map(LaneWriter::held)
                .sum::<usize>(),
            "the outbox counts what its lanes hold"
        );
        moved
    }

    /// The licence to produce: nothing is held for any lane.
    pub fn has_room(&self) -> bool {
        self.held == 0
    }

    /// Whether a block that is posted to this shard now is not held. For whoever may choose to whom it sends; looks at a
    /// word of the receiver's. That there is room again nobody rings, unless a block is held.
    ///
    /// # Panics
    /// When `to` is this shard or does not exist.
    pub fn has_room_for(&self, to: ShardId) -> bool {
        let lane = self.lanes[to.index()].as_ref();
        lane.expect("what a shard sends to itself never crosses a lane")
            .has_room()
    }

    /// How many blocks wait for room.
    pub fn held(&self) -> usize {
        self.held
    }

    /// How full the fullest lane is, 0 to 1. Looks at a word of each receiver's: not for every turn.
    pub fn fill(&self) -> f64 {
        let lanes = self.lanes.iter().flatten();
        lanes.map(LaneWriter::fill).fold(0.0, f64::max)
    }

    /// How many blocks lie in each lane, and the shard at its other end; what is held for want of room is counted too. Looks at a
    /// word of each receiver's: not for every turn.
    pub fn depths(&self) -> impl Iterator<Item = (ShardId, usize)> {
        let lanes = self.lanes.iter().enumerate();
        lanes.filter_map(|(to, lane)| {
            let lane = lane.as_ref()?;
            Some((ShardId::from_index(to), lane.depth() + lane.held()))
        })
    }

    /// The shards at the other ends, ascending: all but this one.
    pub fn peers(&self) -> impl Iterator<Item = ShardId> + use<B> {
        let from = self.from;
        (0..self.lanes.len())
            .map(ShardId::from_index)
            .filter(move |peer| *peer != from)
    }
}
