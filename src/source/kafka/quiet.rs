//! Which partitions are idle: those that nothing has come from for a while although all that there is has been read.
//!
//! ```text
//!   the broker says "end" at the partition's position (still.at_end)          a record: speaks, and holds the others again
//!     .. idle_timeout passes, the broker answers every fetch in time ..
//!     .. one of its answers at or behind that moment has been handed over, and the queue was read up to it --> idle since then
//! ```
//!
//! Laws:
//! 1. A partition falls idle only by what its broker has said since: one that is away, that hangs or that is not asked (a queue
//!    full of other partitions' records) says nothing. When it is back, `idle_timeout` begins again.
//! 2. Nothing of the partition waits in the queue: a look notes what the brokers said and how many events wait, and is judged
//!    once so many were taken. So a partition falls idle also beside others that are far behind, which keep the queue full.
//! 3. The moment is that at which it was due, not that at which somebody looked.
//!
//! A bounded read has none of this: it ends. Moments are on the monotonic clock, nanoseconds.

use crate::config::limits::{IDLE_LOOK_NS, IDLE_LOOK_SOON_NS};
use crate::kafka::{Consumer, Known};
use crate::time::Idle;

/// When partitions of a stream are idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuietRules {
    /// How long nothing comes, nanoseconds (`idle_timeout`).
    pub timeout_ns: u64,
    /// Whether the watermark runs on with the clock when all is idle (`idle_advance`).
    pub advances: bool,
}

/// Whether one partition speaks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Still {
    at_end: Option<AtEnd>,
    idle_since_ns: Option<u64>,
}

/// The reader stands behind the last record.
#[derive(Clone, Copy, Debug)]
struct AtEnd {
    since_ns: u64,
    /// Who said so.
    broker: i32,
}

/// What a look at a partition found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// As before.
    Same,
    /// It has fallen idle.
    FellIdle,
    /// It holds the others again, for its broker is away.
    Woke,
}

impl Still {
    /// The broker `broker` says at `now_ns` that there is no further record.
    pub(super) fn reach_end(&mut self, now_ns: u64, broker: i32) {
        self.at_end = Some(AtEnd {
            since_ns: now_ns,
            broker,
        });
    }

    /// A record has come. Whether the partition was idle.
    #[inline]
    pub(super) fn speak(&mut self) -> bool {
        self.at_end = None;
        self.idle_since_ns.take().is_some()
    }

    /// Whether the reader stands behind the last record.
    pub(super) fn is_at_end(&self) -> bool {
        self.at_end.is_some()
    }

    /// Since when it is idle.
    pub(super) fn idle_since_ns(&self) -> Option<u64> {
        self.idle_since_ns
    }

    /// At `now_ns`, `leader` is said to lead the partition. Where the broker that it was read from does not answer (any more), it
    /// is the other's word that counts from now on.
    pub(super) fn led_by(&mut self, leader: i32, now_ns: u64, known: &Known) {
        if let Some(at_end) = &mut self.at_end
            && at_end.broker != leader
            && known.of(at_end.broker).is_none()
            && known.of(leader).is_some()
        {
            *at_end = AtEnd {
                since_ns: now_ns,
                broker: leader,
            };
        }
    }

    /// Judges by what was `known` of the brokers when what has been read by now was in the queue. Says besides when a look is
    /// worth while again, if it is before the partition speaks.
    fn judge(&mut self, now_ns: u64, rules: QuietRules, known: &Known) -> (Found, Option<u64>) {
        let Some(at_end) = self.at_end else {
            return (Found::Same, None);
        };
        let look_ns = Some(now_ns + IDLE_LOOK_NS);
        let steady = known.of(at_end.broker);
        if let Some(since_ns) = self.idle_since_ns {
            let is_steady = steady.is_some_and(|steady| steady.since_ns <= since_ns);
            if is_steady {
                return (Found::Same, look_ns);
            }
            self.idle_since_ns = None;
            return (Found::Woke, look_ns);
        }
        let Some(steady) = steady else {
            return (Found::Same, look_ns);
        };
        let due_ns = at_end.since_ns.max(steady.since_ns) + rules.timeout_ns;
        if steady.confirmed_ns < due_ns {
            let soon_ns = now_ns + IDLE_LOOK_SOON_NS;
            return (Found::Same, Some(due_ns.max(soon_ns)));
        }
        self.idle_since_ns = Some(due_ns);
        (Found::FellIdle, look_ns)
    }
}

/// When to look at the partitions of a source.
#[derive(Debug)]
pub(super) struct Quiet {
    rules: QuietRules,
    look_ns: u64,
    look: Option<Look>,
}

/// A look that is under way.
#[derive(Debug)]
struct Look {
    known: Known,
    /// Events that were in the queue then, or may have lain on the way from there, and are still to be taken.
    waiting: usize,
    /// Since when; `None` where nothing lies on the way.
    began_ns: Option<u64>,
}

impl Quiet {
    /// Nothing is idle yet.
    pub(super) fn new(rules: QuietRules) -> Quiet {
        Quiet {
            rules,
            look_ns: u64::MAX,
            look: None,
        }
    }

    /// A partition has reached its end at `now_ns`.
    pub(super) fn reached_end(&mut self, now_ns: u64) {
        self.look_ns = self.look_ns.min(now_ns + self.rules.timeout_ns);
    }

    /// Before a take: notes what the brokers said, if it is time.
    pub(super) fn begin(&mut self, now_ns: u64, consumer: &Consumer) {
        if self.look.is_none() && now_ns >= self.look_ns {
            // In this order: what an answer brought is in the queue before it is confirmed.
            let known = consumer.client().contact().known();
            let between = consumer.between_max();
            self.look = Some(Look {
                known,
                waiting: consumer.waiting() + between,
                began_ns: (between > 0).then_some(now_ns),
            });
        }
    }

    /// After a take of `taken` events of at most `max`: what was known of the brokers when what has been read by now was in the
    /// queue, if a look has come to its end. To be held against every partition.
    pub(super) fn end(&mut self, now_ns: u64, taken: usize, max: usize) -> Option<Known> {
        let look = self.look.as_mut()?;
        let empty = match look.began_ns {
            None => taken < max,
            // What a helper holds in its hands it hands on at once; a block of its may be short, and another behind it.
            Some(began_ns) => taken == 0 && now_ns >= began_ns + IDLE_LOOK_SOON_NS,
        };
        look.waiting = match empty {
            true => 0,
            false => look.waiting.saturating_sub(taken),
        };
        let over = look.waiting == 0;
        if over {
            self.look_ns = u64::MAX;
        }
        self.look.take_if(|_| over).map(|look| look.known)
    }

    /// Judges a partition by what was `known` of the brokers, as `end` told.
    pub(super) fn judge(&mut self, still: &mut Still, now_ns: u64, known: &Known) -> Found {
        let (found, again_ns) = still.judge(now_ns, self.rules, known);
        self.look_ns = self.look_ns.min(again_ns.unwrap_or(u64::MAX));
        found
    }

    /// When a look is worth while.
    pub(super) fn looks_ns(&self) -> Option<u64> {
        if let Some(began_ns) = self.look.as_ref().and_then(|look| look.began_ns) {
            return Some(began_ns + IDLE_LOOK_SOON_NS);
        }
        (self.look_ns < u64::MAX).then_some(self.look_ns)
    }

    /// All partitions together, which are idle since `since_ns`.
    pub(super) fn idle_since(&self, since_ns: u64) -> Idle {
        Idle {
            since_ns,
            advances: self.rules.advances,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::Steady;

    const SECOND: u64 = 1_000_000_000;
    const RULES: QuietRules = QuietRules {
        timeout_ns: 10 * SECOND,
        advances: true,
    };

    fn known(since: u64, confirmed: u64) -> Known {
        Known::answering(
            1,
            Steady {
                since_ns: since * SECOND,
                confirmed_ns: confirmed * SECOND,
            },
        )
    }

    fn at_end(second: u64) -> Still {
        let mut still = Still::default();
        still.reach_end(second * SECOND, 1);
        still
    }

    #[test]
    fn a_partition_is_idle_once_its_end_has_stood_for_the_timeout_and_an_answer_said_so() {
        let mut still = at_end(5);
        let now = 15 * SECOND;
        assert_eq!(
            still.judge(now, RULES, &known(0, 14)),
            (Found::Same, Some(now + IDLE_LOOK_SOON_NS)),
            "nobody has said so yet"
        );
        let later = 40 * SECOND;
        let again = Some(later + IDLE_LOOK_NS);
        assert_eq!(
            still.judge(later, RULES, &known(0, 15)),
            (Found::FellIdle, again)
        );
        assert_eq!(
            still.idle_since_ns(),
            Some(15 * SECOND),
            "when it was due, not when somebody looked"
        );
        assert_eq!(
            still.judge(later, RULES, &known(0, 39)),
            (Found::Same, again)
        );
        assert!(still.speak() && !still.speak());
        assert_eq!(
            still.judge(later, RULES, &known(0, 39)),
            (Found::Same, None)
        );
    }

    #[test]
    fn a_partition_whose_broker_is_away_is_not_idle_and_begins_anew_when_it_is_back() {
        let mut still = at_end(5);
        let away = Known::default();
        let now = 60 * SECOND;
        let again = Some(now + IDLE_LOOK_NS);
        assert_eq!(still.judge(now, RULES, &away), (Found::Same, again));
        // Back since 50: due at 60, and confirmed only until 59.
        assert_eq!(
            still.judge(now, RULES, &known(50, 59)),
            (Found::Same, Some(now + IDLE_LOOK_SOON_NS))
        );
        assert_eq!(
            still.judge(now, RULES, &known(50, 60)),
            (Found::FellIdle, again)
        );
        // Idle, and the broker goes, or was away for a moment between two looks.
        for gone in [away, known(61, 69)] {
            let mut idle = still;
            let (found, _) = idle.judge(70 * SECOND, RULES, &gone);
            assert_eq!((found, idle.idle_since_ns()), (Found::Woke, None));
        }
    }

    #[test]
    fn a_partition_that_another_broker_leads_now_goes_by_that_ones_word() {
        let mut still = Still::default();
        still.reach_end(5 * SECOND, 2);
        let (now, only_1) = (40 * SECOND, known(0, 30));
        still.led_by(3, 20 * SECOND, &only_1);
        assert_eq!(still.judge(now, RULES, &only_1).0, Found::Same);
        still.led_by(1, 20 * SECOND, &only_1);
        assert_eq!(still.judge(now, RULES, &only_1).0, Found::FellIdle);
        assert_eq!(still.idle_since_ns(), Some(30 * SECOND));
    }

    #[test]
    fn a_look_ends_when_all_that_waited_is_taken_or_nothing_is_there() {
        let mut quiet = Quiet::new(RULES);
        assert_eq!(quiet.looks_ns(), None);
        quiet.reached_end(SECOND);
        assert_eq!(quiet.looks_ns(), Some(11 * SECOND));
        let look = |waiting| {
            Some(Look {
                known: Known::default(),
                waiting,
                began_ns: None,
            })
        };
        quiet.look = look(15);
        assert!(quiet.end(0, 10, 10).is_none(), "five of them still wait");
        assert!(quiet.end(0, 10, 10).is_some() && quiet.look.is_none());
        assert_eq!(quiet.looks_ns(), None, "until somebody is judged");
        quiet.look = look(15);
        assert!(quiet.end(0, 3, 10).is_some(), "the queue is empty");
    }

    #[test]
    fn behind_a_helper_a_short_block_is_no_end_and_a_pause_is() {
        let mut quiet = Quiet::new(RULES);
        quiet.look = Some(Look {
            known: Known::default(),
            waiting: 15,
            began_ns: Some(SECOND),
        });
        let soon = SECOND + IDLE_LOOK_SOON_NS;
        assert_eq!(quiet.looks_ns(), Some(soon));
        assert!(quiet.end(SECOND, 3, 10).is_none() && quiet.end(SECOND, 0, 10).is_none());
        assert!(quiet.end(soon, 1, 10).is_none(), "eleven may be on the way");
        assert!(quiet.end(soon, 0, 10).is_some());
    }
}
