//! A helper thread of one shard: an ordinary thread, off the shard's core, that works ahead of it.
//!
//! ```text
//!   helper's thread                                          shard's thread
//!   Help::prepare ──block──> lane (owes a ring) ───────────> Helper::take
//!   Help::take_back <──spent block── ring (owes nothing) <── Helper::give_back
//! ```
//!
//! The laws:
//! 1. The shard never waits for its helper: taking and giving back return at once. A spent block for which there is no
//!    room in the ring is the shard's to drop.
//! 2. Nobody sleeps over work. The helper has a seat among the doorbells of its shard's runtime, so its lane is rung for
//!    as every other is: the shard for a block, the helper for room. A helper
//!    that comes to rest rings the shard once more: what rang the helper from outside ([`HelperSeat::ringer`]) may have
//!    brought no block and be the shard's to hear.
//! 3. Bounded: the helper prepares one block at a time and none while one is held for want of room.
//! 4. It ends with its [`Helper`]: dropping that stops the thread and waits for it. No block is left then.
//! 5. A panic of the helper is the shard's: the shard is rung, and its next `take` panics with the same words.
//!
//! What it does not do: choose its cpus. It runs where the thread may run that starts it ([`pin`](crate::pin)).

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rtrb::{Consumer, Producer, RingBuffer};

use crate::mesh::{Doorbell, HelperSeat, LaneReader, LaneWriter, Ringer, lane};

/// How long a helper sleeps at most: the longest that spent blocks lie, since nobody rings for them.
const TICK: Duration = Duration::from_millis(20);

/// What a helper does.
///
/// # Contract
/// 1. `prepare` never waits. After it has found nothing, whatever makes it find something rings the helper
///    ([`HelperSeat::ringer`]). Checked by nobody; what was forgotten waits for the tick.
/// 2. It is dropped on the helper's thread, before the [`Helper`]'s drop returns (the helper).
pub trait Help: Send + 'static {
    /// What the shard is given.
    type Block: Send + 'static;

    /// The next block, if there is something to put into it.
    fn prepare(&mut self) -> Option<Self::Block>;

    /// Takes a block back with which the shard is done.
    fn take_back(&mut self, spent: Self::Block);
}

/// The shard's end of a helper; the thread lives as long as this.
pub struct Helper<B> {
    lane: LaneReader<B>,
    spent: Producer<B>,
    stop: Arc<AtomicBool>,
    ringer: Ringer,
    /// `None` once its panic has been passed on.
    thread: Option<JoinHandle<()>>,
}

impl<B: Send + 'static> Helper<B> {
    /// Starts a thread called `name`, which helps the shard of `seat` by a lane for `blocks` blocks. It runs where the
    /// calling thread may run.
    ///
    /// # Errors
    /// What the operating system says when it has no more threads.
    ///
    /// # Panics
    /// When there is no room for a block.
    pub fn start<H: Help<Block = B>>(
        seat: HelperSeat,
        name: String,
        blocks: usize,
        help: H,
    ) -> io::Result<Helper<B>> {
        let ringer = seat.ringer();
        let HelperSeat {
            doorbells,
            shard,
            seat,
        } = seat;
        let (writer, reader) = lane(&doorbells, seat, shard.index(), blocks);
        // What lies in the lane, is held, and is at the shard.
        let (spent, taken_back) = RingBuffer::new(blocks + 2);
        let stop = Arc::new(AtomicBool::new(false));
        let helping = Helping {
            help,
            lane: writer,
            spent: taken_back,
            doorbell: doorbells.of_helper(seat),
            shard: doorbells.ringer(shard),
            stop: Arc::clone(&stop),
        };
        let shard = doorbells.ringer(shard);
        let thread = thread::Builder::new().name(name).spawn(move || {
            // All that the helper has is dropped in there, so the shard that is rung finds its lane without a writer.
            let end = catch_unwind(AssertUnwindSafe(move || helping.run()));
            shard.ring();
            end.unwrap_or_else(|panic| resume_unwind(panic));
        })?;
        Ok(Helper {
            lane: reader,
            spent,
            stop,
            ringer,
            thread: Some(thread),
        })
    }

    /// Takes the oldest block.
    ///
    /// # Panics
    /// With the helper's own words, when it has panicked and all that lay in the lane is taken.
    pub fn take(&mut self) -> Option<B> {
        // Asked first: what was posted before the writer went is then seen below.
        let gone = self.lane.is_abandoned();
        let block = self.lane.take();
        if block.is_none() && gone {
            join(&mut self.thread);
            panic!("a helper ends only when it is stopped");
        }
        block
    }

    /// Gives back a block that `take` brought, for `Help::take_back`; drops it if there is no room.
    pub fn give_back(&mut self, spent: B) {
        // A refused block is dropped with the error.
        let _ = self.spent.push(spent);
    }
}

impl<B> Drop for Helper<B> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.ringer.ring();
        join(&mut self.thread);
    }
}

/// Waits for the thread's end, and panics as it did, unless this thread panics already.
fn join(thread: &mut Option<JoinHandle<()>>) {
    if let Some(thread) = thread.take()
        && let Err(panic) = thread.join()
        && !thread::panicking()
    {
        resume_unwind(panic);
    }
}

/// What the helper's thread has.
struct Helping<H: Help> {
    help: H,
    lane: LaneWriter<H::Block>,
    spent: Consumer<H::Block>,
    doorbell: Doorbell,
    shard: Ringer,
    stop: Arc<AtomicBool>,
}

impl<H: Help> Helping<H> {
    fn run(mut self) {
        while !self.stop.load(Ordering::Acquire) {
            let progressed = self.round();
            self.doorbell.ring_owed();
            match (progressed, self.doorbell.is_armed()) {
                (true, true) => {
                    self.doorbell.disarm();
                }
                (true, false) => {}
                (false, true) => self.doorbell.sleep(TICK),
                // It was rung, or has worked: what it heard and was no block, the shard may have to hear.
                (false, false) => {
                    self.shard.ring();
                    self.doorbell.arm();
                }
            }
        }
    }

    /// Whether a block was moved or prepared.
    fn round(&mut self) -> bool {
        while let Ok(spent) = self.spent.pop() {
            self.help.take_back(spent);
        }
        let mut progressed = self.lane.flush() > 0;
        if self.lane.held() == 0
            && let Some(block) = self.help.prepare()
        {
            self.lane.post(block);
            progressed = true;
        }
        progressed
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::time::Instant;

    use super::*;
    use crate::mesh::Doorbells;
    use crate::shard::ShardId;

    /// Longer than any test may take.
    const LONG: Duration = Duration::from_secs(30);

    /// Counts, in blocks, up to what it was told; counts what comes back, and that it was dropped.
    struct Counting {
        next: usize,
        allowed: Arc<AtomicUsize>,
        back: Arc<AtomicUsize>,
        dropped: Arc<AtomicUsize>,
        panics_at: usize,
    }

    impl Help for Counting {
        type Block = usize;

        fn prepare(&mut self) -> Option<usize> {
            assert_ne!(self.next, self.panics_at, "planted");
            (self.next < self.allowed.load(Ordering::Acquire)).then(|| {
                self.next += 1;
                self.next - 1
            })
        }

        fn take_back(&mut self, _: usize) {
            self.back.fetch_add(1, Ordering::AcqRel);
        }
    }

    impl Drop for Counting {
        fn drop(&mut self) {
            self.dropped.fetch_add(1, Ordering::AcqRel);
        }
    }

    struct Bench {
        doorbells: Doorbells,
        helper: Helper<usize>,
        ringer: Ringer,
        allowed: Arc<AtomicUsize>,
        back: Arc<AtomicUsize>,
        dropped: Arc<AtomicUsize>,
    }

    fn bench(blocks: usize, allowed: usize, panics_at: usize) -> Bench {
        let (doorbells, mut seats) = Doorbells::open_beside(1, 1).expect("there are descriptors");
        let seat = seats[0].pop().expect("a seat was asked for");
        assert_eq!(seat.shard(), ShardId(0));
        let ringer = seat.ringer();
        let (allowed, back, dropped) = (
            Arc::new(AtomicUsize::new(allowed)),
            Arc::<AtomicUsize>::default(),
            Arc::<AtomicUsize>::default(),
        );
        let counting = Counting {
            next: 0,
            allowed: Arc::clone(&allowed),
            back: Arc::clone(&back),
            dropped: Arc::clone(&dropped),
            panics_at,
        };
        let helper = Helper::start(seat, "helper".into(), blocks, counting).expect("a thread");
        Bench {
            doorbells,
            helper,
            ringer,
            allowed,
            back,
            dropped,
        }
    }

    /// Takes as a shard does, sleeping by its doorbell, until `done` says so.
    fn shard(bench: &mut Bench, mut done: impl FnMut(Option<usize>) -> bool) {
        let bell = bench.doorbells.of_shard(ShardId(0));
        let begun = Instant::now();
        loop {
            let block = bench.helper.take();
            if let Some(block) = block {
                bench.helper.give_back(block);
            }
            bell.ring_owed();
            if done(block) {
                break;
            }
            match (block.is_some(), bell.is_armed()) {
                (true, true) => {
                    bell.disarm();
                }
                (true, false) => {}
                (false, false) => bell.arm(),
                (false, true) => bell.sleep(LONG),
            }
        }
        bell.disarm();
        assert!(begun.elapsed() < LONG, "slept over what had come");
    }

    #[test]
    fn blocks_come_in_order_by_lanes_of_any_length_and_all_are_woken_for_them() {
        for blocks in [1, 3] {
            let mut bench = bench(blocks, 0, usize::MAX);
            let mut next = 0;
            for allowed in (100..=1_000).step_by(100) {
                bench.allowed.store(allowed, Ordering::Release);
                bench.ringer.ring();
                shard(&mut bench, |block| {
                    if let Some(block) = block {
                        assert_eq!(block, next, "out of turn");
                        next += 1;
                    }
                    next == allowed
                });
            }
            let begun = Instant::now();
            while bench.back.load(Ordering::Acquire) < 1_000 {
                assert!(begun.elapsed() < LONG, "spent blocks lie for ever");
                thread::sleep(Duration::from_millis(1));
            }
        }
    }

    #[test]
    fn a_ring_that_brings_no_block_rings_the_shard() {
        let mut bench = bench(1, 0, usize::MAX);
        // It sleeps by now, or its first look comes after the ring and finds as little.
        thread::sleep(Duration::from_millis(5));
        let bell = bench.doorbells.of_shard(ShardId(0));
        bell.arm();
        assert_eq!(bench.helper.take(), None);
        let begun = Instant::now();
        while bell.is_armed() {
            bench.ringer.ring();
            bell.sleep(Duration::from_millis(100));
            assert!(begun.elapsed() < LONG, "nobody was rung");
        }
    }

    #[test]
    fn dropped_it_ends_with_all_that_it_has_also_while_it_has_no_room() {
        for allowed in [0, 1_000_000] {
            let bench = bench(2, allowed, usize::MAX);
            thread::sleep(Duration::from_millis(5));
            drop(bench.helper);
            assert_eq!(bench.dropped.load(Ordering::Acquire), 1);
        }
    }

    #[test]
    fn its_panic_is_the_shards_and_comes_after_its_blocks() {
        let mut bench = bench(8, 100, 3);
        let mut taken = Vec::new();
        let end = catch_unwind(AssertUnwindSafe(|| {
            shard(&mut bench, |block| {
                taken.extend(block);
                false
            });
        }));
        let panic = end.expect_err("the helper has panicked");
        let words = crate::runtime::panic_message(&*panic);
        assert!(words.contains("planted"), "{words}");
        assert_eq!(taken, [0, 1, 2]);
        assert_eq!(bench.dropped.load(Ordering::Acquire), 1);
    }

    #[test]
    fn a_panic_that_nobody_took_is_the_droppers() {
        let bench = bench(1, 100, 0);
        let begun = Instant::now();
        while bench.dropped.load(Ordering::Acquire) == 0 {
            assert!(begun.elapsed() < LONG, "the planted panic did not come");
            thread::sleep(Duration::from_millis(1));
        }
        let helper = bench.helper;
        let end = catch_unwind(AssertUnwindSafe(move || drop(helper)));
        assert!(end.is_err(), "it was passed over");
    }
}
