//! Heap allocations, counted by thread.
//!
//! ```text
//!   #[global_allocator] Counting<A> --every alloc, realloc--> this thread's count
//!   within_update(..)  ------------ what was added inside --> this thread's count of updates
//! ```
//!
//! Law: a count belongs to its thread alone, so counting takes no lock and no atomic: two adds to thread-local memory, about
//! a nanosecond beside an allocation's twenty. Growing in place counts too; freeing does not.
//!
//! It does not follow memory to where it is freed, and it counts no bytes.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;

/// An allocator that counts what is asked of `A`.
#[derive(Debug)]
pub struct Counting<A>(A);

/// What one thread has allocated since it started, as counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allocations {
    /// All of them.
    pub all: u64,
    /// Those within [`within_update`].
    pub in_updates: u64,
}

// Without a destructor and with a constant start, so that the first use allocates nothing and the last may come at any time.
thread_local! {
    static ALL: Cell<u64> = const { Cell::new(0) };
    static IN_UPDATES: Cell<u64> = const { Cell::new(0) };
}

impl<A> Counting<A> {
    /// Counts before `allocator`.
    pub const fn new(allocator: A) -> Counting<A> {
        Counting(allocator)
    }
}

impl Allocations {
    /// Of this thread, so far. Zero for ever where [`Counting`] is not the global allocator.
    pub fn of_this_thread() -> Allocations {
        Allocations {
            all: ALL.get(),
            in_updates: IN_UPDATES.get(),
        }
    }

    /// What came after `earlier`.
    pub fn since(self, earlier: Allocations) -> Allocations {
        Allocations {
            all: self.all - earlier.all,
            in_updates: self.in_updates - earlier.in_updates,
        }
    }
}

/// Runs `update`, whose allocations are counted apart as well: in steady state it is to make none.
#[inline]
pub fn within_update<R>(update: impl FnOnce() -> R) -> R {
    let before = ALL.get();
    let result = update();
    IN_UPDATES.set(IN_UPDATES.get() + (ALL.get() - before));
    result
}

#[inline]
fn count() {
    ALL.set(ALL.get() + 1);
}

// SAFETY: every call goes to `A` as it came, which upholds the contract of `GlobalAlloc`; counting touches only a thread-local
// number that neither allocates nor unwinds.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counting<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller upholds the contract of `alloc`.
        unsafe { self.0.alloc(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller upholds the contract of `alloc_zeroed`.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller upholds the contract of `realloc`.
        unsafe { self.0.realloc(memory, layout, size) }
    }

    #[inline]
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller upholds the contract of `dealloc`.
        unsafe { self.0.dealloc(memory, layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::alloc::System;

    #[global_allocator]
    static ALLOCATOR: Counting<System> = Counting::new(System);

    #[test]
    fn a_thread_counts_its_own_and_updates_apart() {
        let before = Allocations::of_this_thread();
        let mut kept = vec![1u8; 100];
        within_update(|| kept.reserve_exact(10_000));
        std::thread::spawn(|| drop(vec![1u8; 100]))
            .join()
            .expect("it does not panic");
        let after = Allocations::of_this_thread().since(before);
        drop(kept);
        assert_eq!(after.in_updates, 1);
        // Starting a thread allocates here too; what it does itself is not counted here.
        assert!(after.all >= 2, "{after:?}");
        let quiet = Allocations::of_this_thread();
        assert_eq!(
            Allocations::of_this_thread().since(quiet),
            Allocations::default()
        );
    }
}
