//! The reactor of plain system calls: a pinned thread that sleeps in `poll(2)` on its doorbell.
//!
//! For hosts that forbid io_uring or let too little memory be locked, and for valgrind, which does
//! not know io_uring. It opens nothing, so it cannot be refused.

use super::{Next, Reactor, Turns};

/// The calling thread itself.
pub(crate) struct PollReactor;

impl Reactor for PollReactor {
    fn run<T: Turns + 'static>(self, mut turns: T) -> T {
        loop {
            match turns.next() {
                Next::Turn => {}
                Next::GiveWay => std::thread::yield_now(),
                Next::Park(at_most) => turns.doorbell().sleep(at_most),
                Next::End => return turns,
            }
        }
    }
}
