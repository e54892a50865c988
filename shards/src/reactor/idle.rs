//! What to do after an idle turn: look again for a short while, then park.
//!
//! ```text
//!   busy ──> idle: look again for 50 us ──> park 1 ms ──> idle: park 2 ms ──> .. 5 ms, 5 ms ──> busy
//! ```
//!
//! The law: waiting for work that is about to come costs no wake-up, and waiting for work that does
//! not come costs no core. A shard that has its cpu to itself spins. One that shares it gives way
//! instead, since whoever would bring the work may be waiting for this very cpu, and does so for
//! longer: seven shards on two cpus that pass blocks through lanes of one block took 3.0 s when
//! they gave way for 50 us, 4.2 s when they parked at once, and 0.25 s when they gave way for a
//! millisecond. Time is passed in.

use std::time::Duration;

use super::Next;

/// How long an idle shard looks again before it parks.
const SPIN: Duration = Duration::from_micros(50);

/// The same for a shard that shares its cpu.
const GIVE_WAY: Duration = Duration::from_millis(1);

/// The first park, and how much longer each next one is.
const PARK_STEP: Duration = Duration::from_millis(1);

/// The longest park, and so the longest that anything waits to be seen.
const PARK_MAX: Duration = Duration::from_millis(5);

const _: () = assert!(SPIN.as_nanos() < GIVE_WAY.as_nanos());
const _: () = assert!(PARK_STEP.as_nanos() <= PARK_MAX.as_nanos());

/// The idle spell of one shard.
#[derive(Debug)]
pub(crate) struct Idle {
    look: Next,
    look_ns: u64,
    since_ns: Option<u64>,
    park: Duration,
}

impl Idle {
    /// A shard that is not idle yet. `shared` says that its cpu carries other shards too.
    pub(crate) fn new(shared: bool) -> Idle {
        let (look, time) = match shared {
            true => (Next::GiveWay, GIVE_WAY),
            false => (Next::Turn, SPIN),
        };
        Idle {
            look,
            look_ns: time.as_nanos() as u64,
            since_ns: None,
            park: Duration::ZERO,
        }
    }

    /// The shard was busy: the spell is over.
    pub(crate) fn end(&mut self) {
        self.since_ns = None;
        self.park = Duration::ZERO;
    }

    /// A turn was idle at `now_ns`: what comes next.
    pub(crate) fn next(&mut self, now_ns: u64) -> Next {
        let since_ns = *self.since_ns.get_or_insert(now_ns);
        if now_ns.saturating_sub(since_ns) < self.look_ns {
            std::hint::spin_loop();
            return self.look;
        }
        self.park = PARK_MAX.min(self.park + PARK_STEP);
        Next::Park(self.park)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: u64 = 1_000;

    fn parks(idle: &mut Idle, now_ns: u64, count: usize) -> Vec<u128> {
        (0..count)
            .map(|_| match idle.next(now_ns) {
                Next::Park(time) => time.as_millis(),
                other => panic!("parked once, a shard looks no more: {other:?}"),
            })
            .collect()
    }

    #[test]
    fn a_spell_looks_then_parks_longer_and_longer() {
        let mut idle = Idle::new(false);
        assert_eq!(idle.next(1_000 * US), Next::Turn);
        assert_eq!(idle.next(1_049 * US), Next::Turn);
        assert_eq!(parks(&mut idle, 1_050 * US, 7), [1, 2, 3, 4, 5, 5, 5]);
    }

    #[test]
    fn work_begins_a_new_spell() {
        let mut idle = Idle::new(false);
        idle.next(0);
        parks(&mut idle, 60 * US, 3);
        idle.end();
        assert_eq!(idle.next(90 * US), Next::Turn);
        assert_eq!(parks(&mut idle, 140 * US, 1), [1]);
    }

    #[test]
    fn on_a_shared_cpu_it_gives_way() {
        let mut idle = Idle::new(true);
        assert_eq!(idle.next(0), Next::GiveWay);
        assert_eq!(idle.next(999 * US), Next::GiveWay);
        assert_eq!(parks(&mut idle, 1_000 * US, 2), [1, 2]);
    }
}
