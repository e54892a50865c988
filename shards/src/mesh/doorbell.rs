//! The doorbell: how a thread that sleeps is told that there is work for it.
//!
//! ```text
//!   whoever makes work visible                        whoever sleeps
//!   ──────────────────────────                        ──────────────
//!   W  push into a lane, make room, raise a flag      A  armed := what it waits for (swap)
//!   F  fence                                          G  fence
//!   L  armed? then take it (swap 0) and write the     T  look at everything once more: one more turn
//!      eventfd                                        S  nothing: block on the eventfd, or until a time limit
//! ```
//!
//! There is one doorbell for each shard, one for the job's thread, and one for each helper of a shard
//! ([`helper`](mod@crate::helper)). Ringing costs a fence and the
//! read of a line that hardly ever changes, as long as nobody sleeps; only who finds the flag armed
//! pays for a system call, and only one of several.
//!
//! The law: nobody sleeps over work. Why it holds: F and G are sequentially consistent fences, so
//! one of them comes first.
//! - F before G: what W made visible before F is seen by T, which comes after G. Nobody sleeps.
//! - G before F: L, after F, sees what A stored before G, or something later: an armed flag, which it
//!   takes and writes the eventfd; or zero, stored by another who took it and is about to write the
//!   eventfd, or by the sleeper itself, who then is awake and comes to a G that F precedes.
//!
//! Without either fence both may look before the other's store is seen: the store of W waits in a
//! buffer while L reads zero, and A's while T reads nothing. `models.rs` shows that to loom, for the
//! flag alone, for several ringers, for room, and for stop and failure.
//!
//! A ring is owed, not made at once: a lane notes for whom it has work, and after each turn its
//! thread rings all of them with one fence (`owed.rs`). What comes from elsewhere, such as a callback
//! of another library, rings at once by a [`Ringer`].
//!
//! What it does not do: say what the work is, count it, or wake anybody in any order. A wake without
//! work is allowed and costs a turn.

mod eventfd;
mod flag;
#[cfg(all(test, loom))]
mod models;
mod owed;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::core_map::MAX_SHARDS;
use crate::shard::ShardId;
use eventfd::EventFd;
use flag::{Flag, INPUT, ROOM, fence_before_ringing};
use owed::Owed;

/// The doorbells of one runtime: one a shard, one for the thread of the job, and one a helper. Clones are the
/// same doorbells.
#[derive(Clone)]
pub struct Doorbells {
    /// The shards', the job's, the helpers'.
    seats: Arc<[Seat]>,
    shards: usize,
}

/// The place of one helper thread among the doorbells of its shard's runtime. There is one of each, so that one
/// thread sleeps by it.
pub struct HelperSeat {
    pub(crate) doorbells: Doorbells,
    pub(crate) shard: ShardId,
    pub(crate) seat: usize,
}

impl HelperSeat {
    /// By this anybody rings the helper.
    pub fn ringer(&self) -> Ringer {
        self.doorbells.ringer_of(self.seat)
    }

    /// The shard that is helped.
    pub fn shard(&self) -> ShardId {
        self.shard
    }
}

/// One thread's doorbell, and what it owes to the others.
struct Seat {
    flag: Flag,
    eventfd: EventFd,
    owed: Owed,
}

impl Doorbells {
    /// A doorbell for each of `shards` shards, and one for the thread of the job.
    ///
    /// # Errors
    /// When the process has no more descriptors: one is needed for each doorbell.
    ///
    /// # Panics
    /// When there is no shard, or more than [`MAX_SHARDS`].
    pub fn open(shards: usize) -> io::Result<Doorbells> {
        Doorbells::open_beside(shards, 0).map(|(doorbells, _)| doorbells)
    }

    /// The same, and a seat for each of `helpers` helper threads of every shard: by shard.
    ///
    /// # Errors
    /// As `open`.
    ///
    /// # Panics
    /// As `open`.
    pub fn open_beside(
        shards: usize,
        helpers: usize,
    ) -> io::Result<(Doorbells, Vec<Vec<HelperSeat>>)> {
        assert!(
            (1..=MAX_SHARDS).contains(&shards),
            "there are 1 to {MAX_SHARDS} shards, not {shards}"
        );
        let count = shards + 1 + shards * helpers;
        let seats = (0..count)
            .map(|_| {
                Ok(Seat {
                    flag: Flag::new(),
                    eventfd: EventFd::open()?,
                    owed: Owed::new(count),
                })
            })
            .collect::<io::Result<_>>()?;
        let doorbells = Doorbells { seats, shards };
        let of_shard = |shard: usize| {
            let first = shards + 1 + shard * helpers;
            let seat = |seat| HelperSeat {
                doorbells: doorbells.clone(),
                shard: ShardId::from_index(shard),
                seat,
            };
            (first..first + helpers).map(seat).collect()
        };
        let helper_seats = (0..shards).map(of_shard).collect();
        Ok((doorbells, helper_seats))
    }

    /// How many shards they are for.
    pub fn shards(&self) -> usize {
        self.shards
    }

    /// By this anybody rings a shard.
    pub fn ringer(&self, shard: ShardId) -> Ringer {
        assert!(shard.index() < self.shards(), "{shard} has no doorbell");
        self.ringer_of(shard.index())
    }

    /// By this anybody rings the job's thread.
    pub fn ringer_of_job(&self) -> Ringer {
        self.ringer_of(self.shards())
    }

    /// The doorbell of the job's thread. Only one thread may sleep by it.
    pub fn of_job(&self) -> Doorbell {
        self.at(self.shards())
    }

    /// The doorbell of a shard.
    pub(crate) fn of_shard(&self, shard: ShardId) -> Doorbell {
        assert!(shard.index() < self.shards(), "{shard} has no doorbell");
        self.at(shard.index())
    }

    /// Rings everybody.
    pub(crate) fn ring_all(&self) {
        fence_before_ringing();
        for seat in self.seats.iter() {
            seat.call(INPUT | ROOM);
        }
    }

    /// The notes of what a lane's end at `own` owes to its other end at `peer`.
    pub(super) fn lane_rings(&self, own: usize, peer: usize) -> LaneRings {
        assert!(own != peer, "nobody rings himself");
        LaneRings {
            bells: self.clone(),
            own,
            peer,
        }
    }

    /// The seat of the job's thread.
    pub(crate) fn job_seat(&self) -> usize {
        self.shards()
    }

    /// The doorbell of a seat.
    pub(crate) fn of_helper(&self, seat: usize) -> Doorbell {
        assert!(seat > self.job_seat(), "seat {seat} is no helper's");
        self.at(seat)
    }

    fn ringer_of(&self, seat: usize) -> Ringer {
        Ringer {
            bells: self.clone(),
            seat,
        }
    }

    fn at(&self, seat: usize) -> Doorbell {
        Doorbell {
            bells: self.clone(),
            seat,
        }
    }
}

impl Seat {
    /// Wakes its thread if that sleeps and waits for this. The fence is the caller's.
    fn call(&self, reason: u8) {
        if self.flag.take(reason) {
            self.eventfd.write();
        }
    }
}

/// Rings one thread. For whoever has made work visible by other means than a lane; any thread may
/// ring, and ringing never waits. Async-signal-safe: atomics, and at most one `write(2)`.
#[derive(Clone)]
pub struct Ringer {
    bells: Doorbells,
    seat: usize,
}

impl Ringer {
    /// Rings. What was made visible before is seen by the thread before it sleeps again.
    pub fn ring(&self) {
        fence_before_ringing();
        self.bells.seats[self.seat].call(INPUT | ROOM);
    }
}

/// The sleeper's end of one doorbell, and the place where its thread pays what it owes to others.
///
/// # Contract
/// 1. One thread uses it. Checked by the runtime for shards, by nobody for the job's thread.
/// 2. Between `arm` and `sleep` the thread looks once at everything that may ring, and sleeps only if
///    there was nothing. Checked by [`ShardFigures::safety_tick_found_work`](crate::ShardFigures).
/// 3. After each round of work `ring_owed` is called. Checked by the same.
pub struct Doorbell {
    bells: Doorbells,
    seat: usize,
}

impl Doorbell {
    /// Rings everybody for whom the lanes of this thread have got work or room since the last call.
    pub fn ring_owed(&self) {
        let Seat { owed, .. } = self.seat();
        if owed.is_nothing() {
            return;
        }
        fence_before_ringing();
        owed.pay(|seat, reason| self.bells.seats[seat].call(reason));
    }

    /// Says that this thread is about to sleep. It then looks once more at everything.
    pub fn arm(&self) {
        let Seat { flag, owed, .. } = self.seat();
        flag.arm(match owed.held() {
            0 => INPUT,
            _ => INPUT | ROOM,
        });
    }

    /// Says that this thread, which had armed it, goes on. Tells whether somebody has rung meanwhile.
    pub fn disarm(&self) -> bool {
        self.seat().flag.disarm()
    }

    /// Whether it is armed still: nobody has rung.
    pub fn is_armed(&self) -> bool {
        self.seat().flag.is_armed()
    }

    /// Blocks until somebody rings or the time is over; may also return for no reason.
    pub fn sleep(&self, at_most: Duration) {
        self.seat().eventfd.wait(at_most);
    }

    /// Whether another thread has given this one work by a lane and has not come to ring yet. Asked
    /// after that work was found and before [`disarm`](Doorbell::disarm): a ring that was meanwhile
    /// made is then seen there.
    pub(crate) fn is_owed(&self) -> bool {
        self.bells
            .seats
            .iter()
            .any(|seat| seat.owed.is_owed(self.seat))
    }

    fn seat(&self) -> &Seat {
        &self.bells.seats[self.seat]
    }
}

/// What one end of a lane notes for its thread: whom to ring after the turn.
pub(super) struct LaneRings {
    bells: Doorbells,
    own: usize,
    peer: usize,
}

impl LaneRings {
    /// There is, or is about to be, a block for the other end.
    pub(super) fn owe_input(&self) {
        self.owed().owe(self.peer, INPUT);
    }

    /// There is, or is about to be, room for the other end.
    pub(super) fn owe_room(&self) {
        self.owed().owe(self.peer, ROOM);
    }

    /// So many more blocks are held for want of room; fewer, if negative.
    pub(super) fn hold(&self, more: isize) {
        self.owed().hold(more);
    }

    fn owed(&self) -> &Owed {
        &self.bells.seats[self.own].owed
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
