//! A descriptor by which a thread sleeps and others wake it.
//!
//! The law: a wake is never lost, and never waits. A write while nobody sleeps makes the next wait
//! return at once; `wait` takes all writes there are.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::time::Duration;

/// An eventfd.
pub(super) struct EventFd {
    descriptor: OwnedFd,
}

impl EventFd {
    pub(super) fn open() -> io::Result<EventFd> {
        // SAFETY: the call takes integers only.
        let descriptor = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(EventFd {
            // SAFETY: the call above returned this descriptor, and nobody else owns it.
            descriptor: unsafe { OwnedFd::from_raw_fd(descriptor) },
        })
    }

    /// Wakes whoever waits, or the next who does.
    pub(super) fn write(&self) {
        let one = 1u64;
        // SAFETY: the descriptor is open, and `one` is eight bytes that live across the call.
        let written = unsafe {
            libc::write(
                self.descriptor.as_raw_fd(),
                ptr::from_ref(&one).cast(),
                size_of::<u64>(),
            )
        };
        // Full, it wakes as well; it takes 2^64 writes to come to that.
        debug_assert_eq!(written, 8, "an eventfd takes a write");
    }

    /// Sleeps until somebody writes or the time is over; a signal may end it before.
    pub(super) fn wait(&self, at_most: Duration) {
        let mut poll = libc::pollfd {
            fd: self.descriptor.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let limit = libc::timespec {
            tv_sec: at_most.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_nsec: at_most.subsec_nanos().into(),
        };
        // SAFETY: one pollfd and a timespec that live across the call; no signal mask is passed.
        let ready = unsafe { libc::ppoll(&mut poll, 1, &limit, ptr::null()) };
        if ready <= 0 {
            return;
        }
        let mut writes = 0u64;
        // SAFETY: the descriptor is open, and `writes` is eight bytes that live across the call.
        let read = unsafe {
            libc::read(
                self.descriptor.as_raw_fd(),
                ptr::from_mut(&mut writes).cast(),
                size_of::<u64>(),
            )
        };
        debug_assert!(read == 8 && writes > 0, "what is readable was written");
    }
}
