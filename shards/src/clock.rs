//! Time, as something that is passed in.
//!
//! The law: what decides by time takes a [`Clock`], so that a failure replays. The monotonic clock
//! is for durations and never goes back; the wall clock is for what is shown and stamped, and may
//! jump.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Where time comes from.
///
/// # Contract
/// 1. `monotonic_ns` never goes back, and readings of different shards compare. Checked by nobody;
///    the system's does not, the manual one cannot.
/// 2. `wall_us` may jump either way. Nothing may rely on it for a duration.
pub trait Clock {
    /// Nanoseconds since some fixed moment.
    fn monotonic_ns(&self) -> u64;

    /// Microseconds since 1970-01-01T00:00:00Z, negative before.
    fn wall_us(&self) -> i64;
}

/// The clocks of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn monotonic_ns(&self) -> u64 {
        read_ns(libc::CLOCK_MONOTONIC)
    }

    fn wall_us(&self) -> i64 {
        let now = SystemTime::now();
        match now.duration_since(UNIX_EPOCH) {
            Ok(since) => since.as_micros() as i64,
            Err(before) => -(before.duration().as_micros() as i64),
        }
    }
}

/// A clock that stands still until it is moved. Clones are the same clock.
#[derive(Clone, Debug, Default)]
pub struct ManualClock {
    hands: Arc<Hands>,
}

#[derive(Debug, Default)]
struct Hands {
    monotonic_ns: AtomicU64,
    wall_us: AtomicI64,
}

impl ManualClock {
    /// A clock at this wall time, with its monotonic time at zero.
    pub fn at(wall_us: i64) -> ManualClock {
        let clock = ManualClock::default();
        clock.jump_to(wall_us);
        clock
    }

    /// Lets time pass on both clocks.
    pub fn advance_us(&self, us: u32) {
        let ns = u64::from(us) * 1_000;
        self.hands.monotonic_ns.fetch_add(ns, Ordering::Relaxed);
        self.hands
            .wall_us
            .fetch_add(i64::from(us), Ordering::Relaxed);
    }

    /// Sets the wall clock only, forwards or back.
    pub fn jump_to(&self, wall_us: i64) {
        self.hands.wall_us.store(wall_us, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn monotonic_ns(&self) -> u64 {
        self.hands.monotonic_ns.load(Ordering::Relaxed)
    }

    fn wall_us(&self) -> i64 {
        self.hands.wall_us.load(Ordering::Relaxed)
    }
}

/// CPU time of the calling thread, in nanoseconds.
pub(crate) fn thread_cpu_ns() -> u64 {
    read_ns(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn read_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid timespec that lives across the call.
    let result = unsafe { libc::clock_gettime(clock, &mut time) };
    assert_eq!(
        result, 0,
        "Linux has the monotonic and the thread CPU clock"
    );
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_goes_on() {
        let clock = SystemClock;
        let (first, second) = (clock.monotonic_ns(), clock.monotonic_ns());
        assert!(first <= second);
        // 2020-01-01, long gone whenever this runs.
        assert!(clock.wall_us() > 1_577_836_800_000_000);
    }

    #[test]
    fn a_manual_clock_moves_when_told_and_jumps_on_the_wall_only() {
        let clock = ManualClock::at(-5);
        let same = clock.clone();
        clock.advance_us(3);
        assert_eq!((same.monotonic_ns(), same.wall_us()), (3_000, -2));
        clock.jump_to(-100);
        assert_eq!((same.monotonic_ns(), same.wall_us()), (3_000, -100));
    }

    #[test]
    fn a_thread_that_works_uses_cpu_time() {
        let begun = thread_cpu_ns();
        while thread_cpu_ns() - begun < 100_000 {}
        assert!(SystemClock.monotonic_ns() > 0);
    }
}
