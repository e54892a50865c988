//! The clocks of the operating system.
//!
//! The law: what decides by time is given it, as a moment or as a function that tells one, so that a
//! test can say what time it is and a failure replays. Here is only where the runtime and the job
//! read it. The monotonic clock is for durations and never goes back; the wall clock is for what is
//! shown and stamped, and may jump.

use std::time::{SystemTime, UNIX_EPOCH};

/// The clocks of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl SystemClock {
    /// Nanoseconds since some fixed moment. Never goes back, and readings of different shards compare.
    pub fn monotonic_ns(&self) -> u64 {
        read_ns(libc::CLOCK_MONOTONIC)
    }

    /// Microseconds since 1970-01-01T00:00:00Z, negative before. It may jump either way.
    pub fn wall_us(&self) -> i64 {
        let now = SystemTime::now();
        match now.duration_since(UNIX_EPOCH) {
            Ok(since) => since.as_micros() as i64,
            Err(before) => -(before.duration().as_micros() as i64),
        }
    }
}

/// CPU time of the calling thread, in nanoseconds.
pub(crate) fn thread_cpu_ns() -> u64 {
    read_ns(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// CPU time of all threads of this process, in nanoseconds, those included that have ended.
pub(crate) fn process_cpu_ns() -> u64 {
    read_ns(libc::CLOCK_PROCESS_CPUTIME_ID)
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
    fn a_thread_that_works_uses_cpu_time() {
        let begun = thread_cpu_ns();
        while thread_cpu_ns() - begun < 100_000 {}
        assert!(SystemClock.monotonic_ns() > 0);
    }
}
