//! The open sessions of a query on one shard: which session of its key a record belongs to, and which have ended.
//!
//! ```text
//!   key --heads--> latest session --> the one before --> ..          of most keys there is one
//!                  [first .. last], GAP of silence, [first .. last]
//!   a record no more than GAP from a session joins it; one that is so near to two makes one session of them
//! ```
//!
//! Laws: the sessions of a key lie more than GAP apart, so that they do not depend on the order in which records came; the
//! window of a session is `[first, last + GAP)`. A session fires when the watermark is beyond its window's end plus grace, at
//! that very microsecond, and never before. A record whose time plus grace is below the watermark is refused, whatever sessions
//! there are (`takes`): it might have belonged to one that has fired. A call does a bounded piece of work (`fire`).
//!
//! A session has a slot of its own, under which its aggregates are kept elsewhere. A session that another took in keeps its slot
//! until its timer runs out: nothing is searched for among the timers. Under `late = 'update'` sessions have ends beside
//! (`ends.rs`), at which they are shown before they fire.

use super::ends::Ends;
use super::slab::Slab;
use super::timers::Timers;
use crate::plan::WindowSpec;
use crate::time::{EventTime, Watermark};

/// No session, or the key of a session that another took in.
const NONE: u32 = u32::MAX;

/// Pieces of event time of a gap by which ends are told apart until they are near.
const BUCKETS_A_GAP: i64 = 16;

/// The least such piece, microseconds.
const BUCKET_US_MIN: i64 = 1_000;

/// The open sessions.
#[derive(Debug)]
pub struct Sessions {
    gap_us: i64,
    grace_us: i64,
    /// By slot.
    sessions: Slab<Session>,
    /// By key: the slot of its latest session, or `NONE`.
    heads: Vec<u32>,
    /// Sessions that are open: slots without those that others took in.
    open: usize,
    timers: Timers,
    /// Which sessions have ended, where that is more than firing.
    ends: Option<Ends>,
    /// The highest watermark that was seen.
    closed: Watermark,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    first: i64,
    last: i64,
    /// `NONE` once another took it in.
    key: u32,
    /// The session of the same key before this one, or `NONE`.
    before: u32,
}

/// What a record did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The slot of the record's session.
    pub slot: u32,
    /// The slot that this one takes in, because the record bridges the two.
    pub took_in: Option<u32>,
    /// The start of a window that was there before the record and is not any more.
    pub withdrawn: Option<i64>,
}

/// A session that has fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fired {
    /// Its slot, which is free from now on.
    pub slot: u32,
    /// Its key.
    pub key: u32,
    /// Its window, microseconds, half-open.
    pub window: (i64, i64),
    /// Whether its key has no other session.
    pub was_last: bool,
}

impl Sessions {
    /// No sessions, of a planned window; `None` if that is of another kind.
    pub fn of(window: &WindowSpec) -> Option<Sessions> {
        match *window {
            WindowSpec::Session { gap_us, grace_us } => Some(Sessions::new(gap_us, grace_us)),
            WindowSpec::Tumbling { .. }
            | WindowSpec::Hopping { .. }
            | WindowSpec::Cumulate { .. } => None,
        }
    }

    fn new(gap_us: i64, grace_us: i64) -> Sessions {
        assert!(
            gap_us > 0 && grace_us >= 0,
            "sessions end, and not before their end"
        );
        Sessions {
            gap_us,
            grace_us,
            sessions: Slab::new(),
            heads: Vec::new(),
            open: 0,
            timers: Timers::new(bucket_us(gap_us)),
            ends: None,
            closed: Watermark::NONE,
        }
    }

    /// The same, with ends at which sessions are shown.
    #[must_use]
    pub fn with_ends(self) -> Sessions {
        Sessions {
            ends: Some(Ends::new(bucket_us(self.gap_us))),
            ..self
        }
    }

    /// Whether a record of `time` is accepted: no session that it might belong to has fired.
    #[inline]
    pub fn takes(&self, time: EventTime) -> bool {
        time.0.saturating_add(self.grace_us) >= self.closed.0
    }

    /// Puts a record of `time`, which must be accepted, into a session of `key`.
    #[inline]
    pub fn join(&mut self, key: u32, time: EventTime) -> Joined {
        debug_assert!(self.takes(time), "a record that is accepted");
        let time = time.0;
        let head = self.heads.get(key as usize).copied().unwrap_or(NONE);
        // The latest session that does not begin more than a gap after the record.
        let (mut after, mut at) = (NONE, head);
        while at != NONE && self.sessions[at].first.saturating_sub(time) > self.gap_us {
            after = at;
            at = self.sessions[at].before;
        }
        if at == NONE || time.saturating_sub(self.sessions[at].last) > self.gap_us {
            return self.open(key, time, after, at);
        }
        let session = &mut self.sessions[at];
        let joined = Joined {
            slot: at,
            took_in: None,
            withdrawn: None,
        };
        if time >= session.first {
            session.last = session.last.max(time);
            return joined;
        }
        let moved = std::mem::replace(&mut session.first, time);
        Joined {
            took_in: self.take_in_before(at),
            withdrawn: Some(moved),
            ..joined
        }
    }

    /// The window of the session in `slot`.
    #[inline]
    pub fn window(&self, slot: u32) -> (i64, i64) {
        let session = &self.sessions[slot];
        (session.first, session.last.saturating_add(self.gap_us))
    }

    /// The key of the session in `slot`, which no other took in.
    pub fn key(&self, slot: u32) -> u32 {
        let key = self.sessions[slot].key;
        assert_ne!(key, NONE, "an open session");
        key
    }

    /// A record has come to the session in `slot`, which ended at `end` just after it and took in `took_in`. Whether the record's
    /// row leaves at once, where sessions have ends: one of the two was shown, or ended before the watermark.
    pub fn corrects(&mut self, slot: u32, end: i64, took_in: Option<u32>) -> bool {
        let (slots, closed) = (self.slots(), self.closed);
        let ends = self.ends.as_mut().expect("sessions have ends");
        ends.record(slot, slots, end, took_in, closed)
    }

    /// Whether a session may have ended that was not shown.
    pub fn has_ended(&self) -> bool {
        let ends = self.ends.as_ref();
        ends.is_some_and(|ends| ends.has_ended(self.closed))
    }

    /// Appends the slots of sessions that have ended to `ended`. How many sessions were looked at, at most `max`.
    pub fn end(&mut self, max: usize, ended: &mut Vec<u32>) -> usize {
        for looked in 0..max {
            let closed = self.closed;
            let slot = self.ends.as_mut().and_then(|ends| ends.take(closed));
            let Some(slot) = slot else {
                return looked;
            };
            let (_, end) = self.window(slot);
            if self.sessions[slot].key == NONE {
                continue;
            }
            if closed == Watermark::END || end < closed.0 {
                ended.push(slot);
            } else if let Some(ends) = &mut self.ends {
                ends.put_back(slot, end);
            }
        }
        max
    }

    /// All slots are below this.
    pub fn slots(&self) -> usize {
        self.sessions.begun()
    }

    /// Sessions that are open.
    pub fn open_sessions(&self) -> usize {
        self.open
    }

    /// Bytes taken from the system, about.
    pub fn bytes(&self) -> usize {
        let heads = self.heads.capacity() * size_of::<u32>();
        let ends = self.ends.as_ref().map_or(0, Ends::bytes);
        self.sessions.bytes() + heads + self.timers.bytes() + ends
    }

    /// The watermark stands at `watermark`.
    pub fn close(&mut self, watermark: Watermark) {
        self.closed = self.closed.max(watermark);
    }

    /// Whether a session may have ended that has not fired.
    pub fn has_fired(&self) -> bool {
        self.timers.first().is_some_and(|end| self.is_due(end))
    }

    /// The least watermark at which a session may end or fire; `None` without sessions.
    pub fn next_closing(&self) -> Option<Watermark> {
        let end = self.timers.first()?;
        let fires = Watermark(end.saturating_add(self.grace_us).saturating_add(1));
        let ends = self.ends.as_ref().and_then(Ends::next);
        Some(ends.map_or(fires, |ends| ends.min(fires)))
    }

    /// Appends what has fired to `fired`. Looks at no more than `max` sessions. What has ended is out (`end`).
    pub fn fire(&mut self, max: usize, fired: &mut Vec<Fired>) {
        debug_assert!(!self.has_ended(), "a session ends before it fires");
        for _ in 0..max {
            let (closed, grace_us) = (self.closed, self.grace_us);
            let Some(slot) = self.timers.take(|end| is_due(end, grace_us, closed)) else {
                break;
            };
            let (start, end) = self.window(slot);
            let key = self.sessions[slot].key;
            if key == NONE && (self.ends.is_none() || self.is_due(end)) {
                // Where there are ends, the slot is out of them by now.
                self.free(slot);
            } else if key != NONE && self.is_due(end) {
                let was_last = self.unlink(key, slot);
                self.open -= 1;
                self.free(slot);
                fired.push(Fired {
                    slot,
                    key,
                    window: (start, end),
                    was_last,
                });
            } else {
                self.timers.put(end, slot);
            }
        }
        if self.sessions.is_empty() {
            self.timers.clear();
            self.heads = Vec::new();
            if let Some(ends) = &mut self.ends {
                ends.clear();
            }
        }
    }

    fn free(&mut self, slot: u32) {
        if let Some(ends) = &mut self.ends {
            ends.forget(slot);
        }
        self.sessions.remove(slot);
    }

    fn is_due(&self, end: i64) -> bool {
        is_due(end, self.grace_us, self.closed)
    }

    /// A session of one record, between `after` and `before`.
    fn open(&mut self, key: u32, time: i64, after: u32, before: u32) -> Joined {
        let slot = self.sessions.insert(Session {
            first: time,
            last: time,
            key,
            before,
        });
        self.open += 1;
        self.timers.put(time.saturating_add(self.gap_us), slot);
        if after != NONE {
            self.sessions[after].before = slot;
        } else {
            let at = key as usize;
            if at >= self.heads.len() {
                self.heads.resize(at + 1, NONE);
            }
            self.heads[at] = slot;
        }
        Joined {
            slot,
            took_in: None,
            withdrawn: None,
        }
    }

    /// Lets the session in `slot`, which has become longer, take in the one before it if that is near now.
    fn take_in_before(&mut self, slot: u32) -> Option<u32> {
        let Session { first, before, .. } = self.sessions[slot];
        if before == NONE || first.saturating_sub(self.sessions[before].last) > self.gap_us {
            return None;
        }
        let taken = &mut self.sessions[before];
        taken.key = NONE;
        let Session {
            first,
            before: next,
            ..
        } = *taken;
        let session = &mut self.sessions[slot];
        session.first = first;
        session.before = next;
        self.open -= 1;
        Some(before)
    }

    /// Takes the session in `slot` out of those of its key; whether it was the last of them.
    fn unlink(&mut self, key: u32, slot: u32) -> bool {
        let before = self.sessions[slot].before;
        let head = &mut self.heads[key as usize];
        if *head == slot {
            *head = before;
            return before == NONE;
        }
        let mut after = *head;
        while self.sessions[after].before != slot {
            after = self.sessions[after].before;
        }
        self.sessions[after].before = before;
        false
    }
}

/// The piece of event time by which the ends of sessions are told apart until they are near, microseconds.
fn bucket_us(gap_us: i64) -> i64 {
    (gap_us / BUCKETS_A_GAP).max(BUCKET_US_MIN)
}

/// At the end of input everything is due.
#[inline]
fn is_due(end: i64, grace_us: i64, closed: Watermark) -> bool {
    closed == Watermark::END || end.saturating_add(grace_us) < closed.0
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    /// The windows of all that has fired by now, with their keys.
    fn fire(sessions: &mut Sessions, max: usize) -> Vec<(u32, i64, i64)> {
        let mut fired = Vec::new();
        while sessions.has_fired() {
            sessions.fire(max, &mut fired);
        }
        let window = |one: &Fired| (one.key, one.window.0, one.window.1);
        let mut fired: Vec<_> = fired.iter().map(window).collect();
        fired.sort_unstable();
        fired
    }

    #[test]
    fn exactly_a_gap_joins_and_one_more_does_not() {
        let mut sessions = Sessions::new(10, 0);
        let first = sessions.join(0, EventTime(0));
        assert_eq!(sessions.join(0, EventTime(10)).slot, first.slot);
        assert_ne!(sessions.join(0, EventTime(21)).slot, first.slot);
        sessions.close(Watermark(20));
        assert_eq!(fire(&mut sessions, 1), [], "the end itself is not enough");
        sessions.close(Watermark(21));
        assert_eq!(fire(&mut sessions, 1), [(0, 0, 20)]);
        sessions.close(Watermark::END);
        assert_eq!(fire(&mut sessions, 1), [(0, 21, 31)]);
        assert_eq!(
            sessions.bytes(),
            sessions.timers.bytes(),
            "memory is returned"
        );
    }

    #[test]
    fn a_bridge_takes_in_the_session_before_and_withdraws_one_start() {
        let mut sessions = Sessions::new(10, 0);
        let early = sessions.join(5, EventTime(-30)).slot;
        let late = sessions.join(5, EventTime(-10)).slot;
        let joined = sessions.join(5, EventTime(-20));
        let expected = Joined {
            slot: late,
            took_in: Some(early),
            withdrawn: Some(-10),
        };
        assert_eq!(joined, expected);
        assert_eq!(
            (sessions.window(late), sessions.open_sessions()),
            ((-30, 0), 1)
        );
        let longer = sessions.join(5, EventTime(-40));
        assert_eq!((longer.took_in, longer.withdrawn), (None, Some(-30)));
    }

    #[test]
    fn at_the_edges_of_time_nothing_wraps() {
        let mut sessions = Sessions::new(i64::MAX / 2, i64::MAX / 2);
        for time in [i64::MAX, i64::MIN, 0] {
            sessions.join(0, EventTime(time));
        }
        sessions.close(Watermark(i64::MAX - 1));
        assert_eq!(
            fire(&mut sessions, 9).len(),
            1,
            "the one that ends before 0"
        );
        sessions.close(Watermark::END);
        let ends: Vec<i64> = fire(&mut sessions, 9).iter().map(|one| one.2).collect();
        assert_eq!(ends, [i64::MAX / 2, i64::MAX]);
    }

    /// The sessions of these times, by the plainest means.
    fn naive(times: &BTreeSet<i64>, gap: i64) -> Vec<(i64, i64)> {
        let mut sessions: Vec<(i64, i64)> = Vec::new();
        for &time in times {
            match sessions.last_mut() {
                Some((_, last)) if time - *last <= gap => *last = time,
                _ => sessions.push((time, time)),
            }
        }
        let windows = sessions
            .into_iter()
            .map(|(first, last)| (first, last + gap));
        windows.collect()
    }

    #[derive(Clone, Debug)]
    enum Step {
        Record(u32, i64),
        Watermark(i64),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0u32..3, -200i64..200).prop_map(|(key, time)| Step::Record(key, time)),
            1 => (-200i64..250).prop_map(Step::Watermark),
        ]
    }

    proptest! {
        #[test]
        fn what_fires_are_the_sessions_of_what_was_accepted_at_the_moment_when_they_end(
            gap in 1i64..30,
            grace in 0i64..20,
            max in 1usize..5,
            steps in prop::collection::vec(any_step(), 0..150),
        ) {
            let mut sessions = Sessions::new(gap, grace);
            let mut accepted: BTreeMap<u32, BTreeSet<i64>> = BTreeMap::new();
            let mut closed = i64::MIN;
            let mut all = Vec::new();
            for step in steps {
                match step {
                    Step::Record(key, time) => {
                        prop_assert_eq!(sessions.takes(EventTime(time)), time + grace >= closed);
                        if sessions.takes(EventTime(time)) {
                            let joined = sessions.join(key, EventTime(time));
                            let (start, end) = sessions.window(joined.slot);
                            prop_assert!(start <= time && time < end);
                            accepted.entry(key).or_default().insert(time);
                        }
                    }
                    Step::Watermark(time) => {
                        closed = closed.max(time);
                        sessions.close(Watermark(time));
                        all.extend(fire(&mut sessions, max));
                    }
                }
                let of_key = |(&key, times): (&u32, &BTreeSet<i64>)| {
                    naive(times, gap).into_iter().map(move |(start, end)| (key, start, end)).collect::<Vec<_>>()
                };
                let expected: Vec<(u32, i64, i64)> = accepted.iter().flat_map(of_key).collect();
                let ended = expected.iter().filter(|one| closed != i64::MIN && one.2 + grace < closed);
                all.sort_unstable();
                prop_assert_eq!(&ended.copied().collect::<Vec<_>>(), &all);
                prop_assert_eq!(sessions.open_sessions(), expected.len() - all.len());
            }
            sessions.close(Watermark::END);
            fire(&mut sessions, max);
            prop_assert_eq!((sessions.open_sessions(), sessions.slots()), (0, 0));
        }
    }
}
