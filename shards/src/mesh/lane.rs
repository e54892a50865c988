//! One lane: an SPSC ring of blocks, and what the ring has no room for yet.
//!
//! ```text
//!   post ──> held (a queue, normally empty) ──> ring ──> take
//! ```
//!
//! The law: first in, first out. A block goes straight into the ring only while nothing is held. Both
//! ends note whom their thread must ring after its turn: the reader for a block, the writer for room,
//! but only a writer that holds something waits for that. The note is made before the block or the
//! room can be seen (see `doorbell/owed.rs`).
//! Under the `checks` feature every block is numbered by the writer, and the reader asserts that
//! none is missing, doubled or out of turn.

use std::collections::VecDeque;

use rtrb::{Consumer, Producer, PushError, RingBuffer};

use super::doorbell::{Doorbells, LaneRings};

/// Builds a lane for `blocks` blocks between the threads of two seats.
pub(crate) fn lane<B: Send>(
    doorbells: &Doorbells,
    from: usize,
    to: usize,
    blocks: usize,
) -> (LaneWriter<B>, LaneReader<B>) {
    assert!(blocks > 0, "a lane holds at least one block");
    let (producer, consumer) = RingBuffer::new(blocks);
    let writer = LaneWriter {
        ring: producer,
        held: VecDeque::new(),
        rings: doorbells.lane_rings(from, to),
        #[cfg(feature = "checks")]
        posted: 0,
    };
    let reader = LaneReader {
        ring: consumer,
        rings: doorbells.lane_rings(to, from),
        #[cfg(feature = "checks")]
        taken: 0,
    };
    (writer, reader)
}

/// What lies in a ring.
struct Carried<B> {
    block: B,
    #[cfg(feature = "checks")]
    number: u64,
}

/// The writing end.
pub(crate) struct LaneWriter<B> {
    ring: Producer<Carried<B>>,
    held: VecDeque<Carried<B>>,
    rings: LaneRings,
    #[cfg(feature = "checks")]
    posted: u64,
}

impl<B> LaneWriter<B> {
    /// Puts a block into the lane, or holds it. Says whether it is held.
    pub(crate) fn post(&mut self, block: B) -> bool {
        let carried = Carried {
            block,
            #[cfg(feature = "checks")]
            number: self.posted,
        };
        #[cfg(feature = "checks")]
        {
            self.posted += 1;
        }
        self.rings.owe_input();
        let refused = match self.held.is_empty() {
            true => self.ring.push(carried).err(),
            false => Some(PushError::Full(carried)),
        };
        match refused {
            None => false,
            Some(PushError::Full(_)) if self.ring.is_abandoned() => false,
            Some(PushError::Full(carried)) => {
                self.held.push_back(carried);
                self.rings.hold(1);
                true
            }
        }
    }

    /// Moves held blocks into the ring as far as there is room; lets go of them when the reader is
    /// gone. Returns how many are held no more.
    pub(crate) fn flush(&mut self) -> usize {
        let before = self.held.len();
        if before == 0 {
            return 0;
        }
        if self.ring.is_abandoned() {
            self.held.clear();
        }
        self.rings.owe_input();
        while let Some(carried) = self.held.pop_front() {
            if let Err(PushError::Full(carried)) = self.ring.push(carried) {
                self.held.push_front(carried);
                break;
            }
        }
        let moved = before - self.held.len();
        self.rings.hold(-(moved as isize));
        moved
    }

    /// How many blocks wait for room.
    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }

    /// Whether a block that is posted now is not held.
    pub(crate) fn has_room(&self) -> bool {
        self.held.is_empty() && self.ring.slots() > 0
    }

    /// How many blocks lie in the ring.
    pub(crate) fn depth(&self) -> usize {
        self.ring.buffer().capacity() - self.ring.slots()
    }

    /// How full the ring is, 0 to 1.
    pub(crate) fn fill(&self) -> f64 {
        1.0 - self.ring.slots() as f64 / self.ring.buffer().capacity() as f64
    }
}

/// The reading end.
pub(crate) struct LaneReader<B> {
    ring: Consumer<Carried<B>>,
    rings: LaneRings,
    #[cfg(feature = "checks")]
    taken: u64,
}

impl<B> LaneReader<B> {
    /// How many blocks lie in the ring.
    pub(crate) fn depth(&self) -> usize {
        self.ring.slots()
    }

    /// Whether the writer is gone, so that nothing comes beyond what lies in the ring.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.ring.is_abandoned()
    }

    /// Takes the oldest block.
    pub(crate) fn take(&mut self) -> Option<B> {
        if self.ring.peek().is_err() {
            return None;
        }
        self.rings.owe_room();
        let carried = self.ring.pop();
        let carried = carried.expect("only this end takes what lies in the ring");
        #[cfg(feature = "checks")]
        {
            assert_eq!(
                carried.number, self.taken,
                "a lane is first in, first out, without gaps"
            );
            self.taken += 1;
        }
        Some(carried.block)
    }
}
