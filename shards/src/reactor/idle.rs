//! What to do after an idle turn: look again for a short while, then park.
//!
//! ```text
//!              idle turn                       in vain                     for a second
//!   busy ────────────────> look for 50 us ────────────> park, tick 5 ms ────────────> park, tick 20 ms
//!     <──────────────────────── a ring, or work found ────────────────────────────────────┘
//! ```
//!
//! The law: waiting for work that is about to come costs no wake-up, and waiting for work that does
//! not come costs no core. How much of either is the [`Profile`]'s affair. A parked shard is woken by
//! its doorbell; the tick is there in case that were ever forgotten, and finds nothing.
//!
//! A shard that has its cpu to itself spins. One that shares it parks at once, since whoever would
//! bring the work may be waiting for this very cpu; giving way instead costs it a slice of time in
//! which others run, and on a busy machine there are always others (docs/decisions/0011). Only one
//! that must never park gives way. Time is passed in.

use std::time::Duration;

use super::Next;

/// How long an idle shard looks again before it parks.
const SPIN: Duration = Duration::from_micros(50);

/// How long a shard sleeps at most.
const TICK: Duration = Duration::from_millis(5);

/// The same after [`SILENCE`].
const TICK_SLOW: Duration = Duration::from_millis(20);

/// How long nothing came until the tick is slowed.
const SILENCE: Duration = Duration::from_secs(1);

const _: () = assert!(SPIN.as_nanos() < TICK.as_nanos());
const _: () = assert!(TICK.as_nanos() < TICK_SLOW.as_nanos());
const _: () = assert!(TICK_SLOW.as_nanos() < SILENCE.as_nanos());

/// What an idle shard spends for being quick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Its core: it never parks.
    Latency,
    /// A short while of looking before each park.
    #[default]
    Balanced,
    /// Nothing: it parks at once.
    Eco,
}

impl Profile {
    /// Its name in the configuration and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Profile::Latency => "latency",
            Profile::Balanced => "balanced",
            Profile::Eco => "eco",
        }
    }
}

/// What an idle shard does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Looks again; `Next` says how.
    Look(Next),
    /// Parks, and looks after this time at the latest.
    Park(Duration),
}

/// The idle spell of one shard.
#[derive(Debug)]
pub(crate) struct Idle {
    look: Next,
    /// How long it looks; `None` for ever.
    look_ns: Option<u64>,
    since_ns: Option<u64>,
}

impl Idle {
    /// A shard that is not idle yet. `shared` says that its cpu carries other shards too.
    pub(crate) fn new(profile: Profile, shared: bool) -> Idle {
        Idle {
            look: match shared {
                true => Next::GiveWay,
                false => Next::Turn,
            },
            look_ns: match (profile, shared) {
                (Profile::Latency, _) => None,
                (Profile::Balanced, false) => Some(SPIN.as_nanos() as u64),
                (Profile::Balanced, true) | (Profile::Eco, _) => Some(0),
            },
            since_ns: None,
        }
    }

    /// The shard was busy: the spell is over.
    pub(crate) fn end(&mut self) {
        self.since_ns = None;
    }

    /// A turn was idle at `now_ns`: what comes next.
    pub(crate) fn next(&mut self, now_ns: u64) -> Rest {
        let since_ns = *self.since_ns.get_or_insert(now_ns);
        let spell_ns = now_ns.saturating_sub(since_ns);
        if self.look_ns.is_none_or(|look_ns| spell_ns < look_ns) {
            std::hint::spin_loop();
            return Rest::Look(self.look);
        }
        match u128::from(spell_ns) < SILENCE.as_nanos() {
            true => Rest::Park(TICK),
            false => Rest::Park(TICK_SLOW),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: u64 = 1_000;
    const MS: u64 = 1_000 * US;

    #[test]
    fn a_spell_looks_then_parks_then_slows_its_tick() {
        let mut idle = Idle::new(Profile::Balanced, false);
        assert_eq!(idle.next(MS), Rest::Look(Next::Turn));
        assert_eq!(idle.next(MS + 49 * US), Rest::Look(Next::Turn));
        assert_eq!(idle.next(MS + 50 * US), Rest::Park(TICK));
        assert_eq!(idle.next(1_000 * MS), Rest::Park(TICK));
        assert_eq!(idle.next(1_001 * MS), Rest::Park(TICK_SLOW));
    }

    #[test]
    fn work_begins_another_spell() {
        let mut idle = Idle::new(Profile::Balanced, false);
        idle.next(0);
        assert_eq!(idle.next(2_000 * MS), Rest::Park(TICK_SLOW));
        idle.end();
        assert_eq!(idle.next(2_001 * MS), Rest::Look(Next::Turn));
        assert_eq!(idle.next(2_002 * MS), Rest::Park(TICK));
    }

    #[test]
    fn on_a_shared_cpu_it_parks_at_once_or_gives_way() {
        let mut balanced = Idle::new(Profile::Balanced, true);
        assert_eq!(balanced.next(0), Rest::Park(TICK));
        let mut latency = Idle::new(Profile::Latency, true);
        assert_eq!(latency.next(0), Rest::Look(Next::GiveWay));
    }

    #[test]
    fn for_latency_it_never_parks_and_for_eco_it_parks_at_once() {
        let mut latency = Idle::new(Profile::Latency, false);
        assert_eq!(latency.next(0), Rest::Look(Next::Turn));
        assert_eq!(latency.next(5_000 * MS), Rest::Look(Next::Turn));
        let mut eco = Idle::new(Profile::Eco, false);
        assert_eq!(eco.next(0), Rest::Park(TICK));
    }
}
