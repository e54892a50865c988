//! The one crossing between shards and ordinary threads.
//!
//! ```text
//!   EpochHandle ──open──> every shard
//!   StopHandle ──request──> every shard          shard ──ExitOutbox──lane──ExitInbox──> an ordinary thread
//!   shard ──failure──> every shard
//! ```
//!
//! The law: no shard ever waits for an ordinary thread. A stop is a flag that shards look at, and all
//! are rung when it is raised; what leaves by an exit lane is held while the lane is full, exactly as
//! in the mesh. The only lock is taken by a shard that has already failed.

mod flags;

use std::fmt;
use std::sync::Arc;

pub(crate) use flags::{EpochCell, FailureCell, StopFlag};

use crate::mesh::{Doorbells, LaneReader, LaneWriter, lane};
use crate::shard::ShardId;

/// Builds the lane by which the blocks of `shard` leave to the thread of the job; it holds
/// `capacity` blocks. Blocks ring the doorbell of the job, and room rings that of the shard.
///
/// # Panics
/// When there is no room for a block.
pub fn exit_lane<B: Send>(
    doorbells: &Doorbells,
    shard: ShardId,
    capacity: usize,
) -> (ExitOutbox<B>, ExitInbox<B>) {
    let (writer, reader) = lane(doorbells, shard.index(), doorbells.job_seat(), capacity);
    (ExitOutbox { lane: writer }, ExitInbox { lane: reader })
}

/// The shard's end of an exit lane: an outbox to one receiver.
pub struct ExitOutbox<B> {
    lane: LaneWriter<B>,
}

impl<B> ExitOutbox<B> {
    /// Sends a block, or holds it in order while the lane is full. Neither blocks nor fails; a
    /// block for a receiver that is gone is let go.
    pub fn post(&mut self, block: B) {
        self.lane.post(block);
    }

    /// Moves held blocks into the lane as far as it has room. Returns how many are held no more.
    pub fn flush(&mut self) -> usize {
        self.lane.flush()
    }

    /// The licence to produce: nothing is held.
    pub fn has_room(&self) -> bool {
        self.lane.held() == 0
    }

    /// How many blocks wait for room.
    pub fn held(&self) -> usize {
        self.lane.held()
    }

    /// How full the lane is, 0 to 1. Looks at a word of the receiver's: not for every turn.
    pub fn fill(&self) -> f64 {
        self.lane.fill()
    }
}

/// The ordinary thread's end of an exit lane.
pub struct ExitInbox<B> {
    lane: LaneReader<B>,
}

impl<B> ExitInbox<B> {
    /// Takes the oldest block.
    pub fn take(&mut self) -> Option<B> {
        self.lane.take()
    }

    /// How many blocks lie in the lane. Looks at a word of the shard's.
    pub fn depth(&self) -> usize {
        self.lane.depth()
    }
}

/// Asks all shards to stop. Clones are the same request, and it cannot be taken back.
#[derive(Clone)]
pub struct StopHandle {
    flag: Arc<StopFlag>,
    doorbells: Doorbells,
}

impl StopHandle {
    /// A request to these shards that nobody has made yet.
    pub fn new(doorbells: &Doorbells) -> StopHandle {
        StopHandle {
            flag: Arc::new(StopFlag::new()),
            doorbells: doorbells.clone(),
        }
    }

    /// Asks: every shard drains what it holds and is done. Safe in a signal handler.
    pub fn request(&self) {
        self.flag.ask();
        self.doorbells.ring_all();
    }

    /// Whether anybody asked.
    pub fn requested(&self) -> bool {
        self.flag.asked()
    }
}

/// Tells all shards which epoch is open. Clones tell the same.
#[derive(Clone)]
pub struct EpochHandle {
    cell: Arc<EpochCell>,
    doorbells: Doorbells,
}

impl EpochHandle {
    /// Epoch 0 of these shards: none was opened yet.
    pub fn new(doorbells: &Doorbells) -> EpochHandle {
        EpochHandle {
            cell: Arc::new(EpochCell::new()),
            doorbells: doorbells.clone(),
        }
    }

    /// Opens `epoch`: every shard sees it in its next turn, and is rung for that.
    ///
    /// # Panics
    /// When a later one, or the same, was opened before: epochs go on.
    pub fn open(&self, epoch: u64) {
        assert!(epoch > self.cell.asked(), "epochs go on");
        self.cell.ask(epoch);
        self.doorbells.ring_all();
    }

    /// The epoch that was opened last; 0 before the first.
    pub fn current(&self) -> u64 {
        self.cell.asked()
    }
}

/// The panic that stopped the shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardFailure {
    /// The shard that panicked first.
    pub shard: ShardId,
    /// What it said.
    pub message: String,
}

impl fmt::Display for ShardFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} panicked: {}", self.shard, self.message)
    }
}

impl std::error::Error for ShardFailure {}

/// The flag that ends every shard at once, and the failure that raised it. Clones are the same
/// flag.
#[derive(Clone)]
pub(crate) struct FailureFlag {
    cell: Arc<FailureCell>,
    doorbells: Doorbells,
}

impl FailureFlag {
    /// A flag for these shards that nobody has raised yet.
    pub(crate) fn new(doorbells: &Doorbells) -> FailureFlag {
        FailureFlag {
            cell: Arc::new(FailureCell::new()),
            doorbells: doorbells.clone(),
        }
    }

    /// Ends every shard; the first failure is the one remembered.
    pub(crate) fn raise(&self, failure: ShardFailure) {
        self.cell.raise(failure);
        self.doorbells.ring_all();
    }

    /// Ends every shard without a failure of any: the runtime is given up.
    pub(crate) fn abandon(&self) {
        self.cell.abandon();
        self.doorbells.ring_all();
    }

    /// Whether the shards must end.
    pub(crate) fn raised(&self) -> bool {
        self.cell.raised()
    }

    /// The failure that was first.
    pub(crate) fn first(&self) -> Option<ShardFailure> {
        self.cell.first()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doorbells() -> Doorbells {
        Doorbells::open(1).expect("there are descriptors")
    }

    #[test]
    fn what_leaves_keeps_its_order_through_a_lane_of_one() {
        let (mut outbox, mut inbox) = exit_lane(&doorbells(), ShardId(0), 1);
        for number in 0..5 {
            outbox.post(number);
        }
        assert!(!outbox.has_room());
        assert_eq!(outbox.held(), 4);
        assert_eq!(inbox.depth(), 1, "what is held is not in the lane");
        let mut taken = Vec::new();
        while !outbox.has_room() {
            taken.extend(inbox.take());
            outbox.flush();
        }
        drop(outbox);
        taken.extend(inbox.take());
        assert_eq!(inbox.take(), None);
        assert_eq!(taken, [0, 1, 2, 3, 4]);
        assert_eq!(inbox.depth(), 0);
    }

    #[test]
    fn a_receiver_that_is_gone_holds_nothing_up() {
        let (mut outbox, inbox) = exit_lane(&doorbells(), ShardId(0), 1);
        outbox.post(0);
        outbox.post(1);
        drop(inbox);
        outbox.post(2);
        outbox.flush();
        assert!(outbox.has_room());
    }

    #[test]
    fn a_stop_reaches_every_clone() {
        let stop = StopHandle::new(&doorbells());
        let other = stop.clone();
        assert!(!other.requested());
        stop.request();
        assert!(other.requested());
    }

    #[test]
    fn an_epoch_reaches_every_clone() {
        let epochs = EpochHandle::new(&doorbells());
        let other = epochs.clone();
        assert_eq!(other.current(), 0);
        epochs.open(3);
        assert_eq!(other.current(), 3);
    }

    #[test]
    fn the_first_failure_is_remembered() {
        let flag = FailureFlag::new(&doorbells());
        assert_eq!(flag.first(), None);
        for number in [1, 2] {
            flag.raise(ShardFailure {
                shard: ShardId(number),
                message: "boom".to_owned(),
            });
        }
        let first = flag.first().expect("two were raised");
        assert!(flag.raised());
        assert_eq!(first.to_string(), "shard 1 panicked: boom");
    }
}
