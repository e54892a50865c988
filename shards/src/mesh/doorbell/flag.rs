//! The flag of a doorbell: whether its thread sleeps, and for what.
//!
//! The law, with the letters of the picture in `doorbell.rs`: `arm` is A and G, the caller's look is
//! T, [`fence_before_ringing`] is F and `take` is L. Whoever swaps an armed flag to zero wakes the
//! thread; nobody else does.

#[cfg(loom)]
use loom::sync::atomic::{AtomicU8, Ordering, fence};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU8, Ordering, fence};

/// Work may come: a block, a stop, a failure, another library's callback.
pub(super) const INPUT: u8 = 1;

/// Room may come in a lane for which something is held.
pub(super) const ROOM: u8 = 2;

const AWAKE: u8 = 0;

/// Alone on its cache lines, which ringers read and its thread hardly ever writes.
#[repr(align(128))]
pub(super) struct Flag {
    waits_for: AtomicU8,
}

/// Orders what was made visible before all `take`s that follow.
pub(crate) fn fence_before_ringing() {
    fence(Ordering::SeqCst);
}

impl Flag {
    pub(super) fn new() -> Flag {
        Flag {
            waits_for: AtomicU8::new(AWAKE),
        }
    }

    /// Its thread will sleep until it is rung for one of these reasons. A swap, so that it comes after
    /// a `take` that is late from an earlier round: the model checker does not see that order between a
    /// swap and a store.
    pub(super) fn arm(&self, reasons: u8) {
        self.waits_for.swap(reasons, Ordering::AcqRel);
        fence(Ordering::SeqCst);
    }

    /// Its thread, which had armed it, goes on. Whether somebody had taken it meanwhile.
    pub(super) fn disarm(&self) -> bool {
        self.waits_for.swap(AWAKE, Ordering::AcqRel) == AWAKE
    }

    /// Whether nobody has taken it. Asked by its own thread.
    pub(super) fn is_armed(&self) -> bool {
        self.waits_for.load(Ordering::Relaxed) != AWAKE
    }

    /// Takes the flag if its thread sleeps for this reason, after [`fence_before_ringing`]. Whoever
    /// is told `true` must wake the thread.
    pub(super) fn take(&self, reason: u8) -> bool {
        if self.waits_for.load(Ordering::Relaxed) & reason == 0 {
            return false;
        }
        // It may have been armed anew for another reason since; then the wake is one too many.
        self.waits_for.swap(AWAKE, Ordering::AcqRel) != AWAKE
    }
}
