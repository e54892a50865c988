//! The wall clock of a run.
//!
//! Law: whoever decides by it is given it as a function. A source reads `polled_us`, once a batch; all else reads `wall_us`. They
//! are one clock, but for tests: there it stands where `VELO_CLOCK` says (`2013-01-01T00:00:00Z`), and with a number of milliseconds
//! behind that (`2013-01-01T00:00:00Z 100`) it goes on by so many with every batch that a source takes, and by nothing else.

#[cfg(feature = "checks")]
use manual::{read_now as now_us, read_step as step_us};

/// The wall clock, microseconds since the epoch.
pub(super) fn wall_us() -> i64 {
    now_us()
}

/// The same, as a source reads it before a batch.
pub(super) fn polled_us() -> i64 {
    step_us()
}

#[cfg(not(feature = "checks"))]
fn now_us() -> i64 {
    velostream_shards::SystemClock.wall_us()
}

#[cfg(not(feature = "checks"))]
fn step_us() -> i64 {
    now_us()
}

/// The clock that tests set.
#[cfg(feature = "checks")]
mod manual {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicI64, Ordering};

    use datafusion_common::arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
    use velostream_shards::SystemClock;

    /// A clock that goes on when it is told.
    pub(super) struct Manual {
        now_us: AtomicI64,
        step_us: i64,
    }

    impl Manual {
        fn of(text: &str) -> Option<Manual> {
            let (moment, step_ms) = text.split_once(' ').unwrap_or((text, "0"));
            let nanoseconds = string_to_timestamp_nanos(moment).ok()?;
            Some(Manual {
                now_us: AtomicI64::new(nanoseconds.div_euclid(1_000)),
                step_us: step_ms.parse::<i64>().ok()? * 1_000,
            })
        }

        pub(super) fn now_us(&self) -> i64 {
            self.now_us.load(Ordering::Relaxed)
        }

        pub(super) fn step_us(&self) -> i64 {
            self.now_us.fetch_add(self.step_us, Ordering::Relaxed)
        }
    }

    /// What time it is, by the manual clock if there is one, else by that of the machine.
    pub(super) fn read_now() -> i64 {
        clock().map_or_else(|| SystemClock.wall_us(), Manual::now_us)
    }

    /// The same, and the manual clock goes on.
    pub(super) fn read_step() -> i64 {
        clock().map_or_else(|| SystemClock.wall_us(), Manual::step_us)
    }

    fn clock() -> Option<&'static Manual> {
        static CLOCK: OnceLock<Option<Manual>> = OnceLock::new();
        let clock = CLOCK.get_or_init(|| {
            let text = std::env::var("VELO_CLOCK").ok()?;
            Some(Manual::of(&text).expect("VELO_CLOCK is a moment, and milliseconds a batch"))
        });
        clock.as_ref()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn it_stands_and_goes_on_by_what_is_said() {
            let clock = Manual::of("1970-01-01T00:00:01Z 250").expect("a moment and a step");
            assert_eq!(clock.now_us(), 1_000_000);
            assert_eq!((clock.step_us(), clock.step_us()), (1_000_000, 1_250_000));
            assert_eq!(clock.now_us(), 1_500_000);
            let stands = Manual::of("1969-12-31T23:59:59Z").expect("a moment");
            assert_eq!(
                (stands.step_us(), stands.now_us()),
                (-1_000_000, -1_000_000)
            );
            assert!(Manual::of("soon").is_none());
        }
    }
}
