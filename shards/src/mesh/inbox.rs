//! A shard's receiving end of one edge.
//!
//! The law: fair. After a block from one peer, every other peer is asked before that one is asked
//! again, so a busy peer cannot starve the rest. The caller takes only while its own output has
//! room.

use super::LaneReader;
use crate::shard::ShardId;

/// The lanes of one edge to one shard from each of its peers.
pub struct Inbox<B> {
    lanes: Vec<(ShardId, LaneReader<B>)>,
    /// The lane to ask first.
    next: usize,
}

impl<B> Inbox<B> {
    pub(super) fn new(lanes: Vec<(ShardId, LaneReader<B>)>) -> Inbox<B> {
        Inbox { lanes, next: 0 }
    }

    /// Takes the oldest block of the next peer that has one.
    pub fn take(&mut self) -> Option<(ShardId, B)> {
        let count = self.lanes.len();
        for _ in 0..count {
            let (peer, lane) = &mut self.lanes[self.next];
            self.next = (self.next + 1) % count;
            if let Some(block) = lane.take() {
                return Some((*peer, block));
            }
        }
        None
    }
}
