//! Which sessions may have ended: their slots by an end that was theirs once.
//!
//! ```text
//!   later:  | bucket: slots .. | bucket: slots .. |        by the piece of event time that the end lies in, unsorted
//!              \--the first one that is reached--> taken out one by one; what is not due yet --> near: a heap by end
//! ```
//!
//! Laws: a slot stands here once. What comes out stood at an end that is due, or in a bucket whose first end would be; the slot's
//! own end may be later by now, and the caller puts it back then (`put`). So a record that makes a session longer costs nothing
//! here, and no call looks at a slot that cannot be due.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Slots by end.
#[derive(Debug)]
pub struct Timers {
    /// Event time that a bucket spans, microseconds.
    width_us: i64,
    /// By number of the bucket; none is empty.
    later: BTreeMap<i64, Vec<u32>>,
    /// Ends in buckets up to `reached`.
    near: BinaryHeap<Reverse<(i64, u32)>>,
    /// The last bucket that slots were taken out of; `None` before the first.
    reached: Option<i64>,
    /// Emptied buckets; kept for their capacity.
    spare: Vec<Vec<u32>>,
    slots: usize,
}

/// Emptied buckets that are kept.
const SPARE_BUCKETS: usize = 16;

impl Timers {
    /// No slots; a bucket spans `width_us`.
    pub fn new(width_us: i64) -> Timers {
        assert!(width_us > 0, "a bucket spans some time");
        Timers {
            width_us,
            later: BTreeMap::new(),
            near: BinaryHeap::new(),
            reached: None,
            spare: Vec::new(),
            slots: 0,
        }
    }

    /// Bytes taken from the system, about.
    pub fn bytes(&self) -> usize {
        let later = self.later.values().chain(&self.spare).map(Vec::capacity);
        later.sum::<usize>() * size_of::<u32>() + self.near.capacity() * size_of::<(i64, u32)>()
    }

    /// Puts a slot where `end` is looked for.
    pub fn put(&mut self, end: i64, slot: u32) {
        self.slots += 1;
        let bucket = end.div_euclid(self.width_us);
        if self.reached.is_some_and(|reached| bucket <= reached) {
            self.near.push(Reverse((end, slot)));
            return;
        }
        let spare = &mut self.spare;
        let fresh = || spare.pop().unwrap_or_default();
        self.later.entry(bucket).or_insert_with(fresh).push(slot);
    }

    /// No slot stands at an end before this; `None` without slots.
    pub fn first(&self) -> Option<i64> {
        let near = self.near.peek().map(|Reverse((end, _))| *end);
        let later = self.later.keys().next();
        let later = later.map(|bucket| bucket.saturating_mul(self.width_us));
        near.into_iter().chain(later).min()
    }

    /// Takes out a slot whose end `is_due`, as far as is known here. Whatever is due stays due at an earlier end.
    pub fn take(&mut self, is_due: impl Fn(i64) -> bool) -> Option<u32> {
        if self
            .near
            .peek()
            .is_some_and(|Reverse((end, _))| is_due(*end))
        {
            self.slots -= 1;
            return self.near.pop().map(|Reverse((_, slot))| slot);
        }
        let mut first = self.later.first_entry()?;
        let bucket = *first.key();
        if !is_due(bucket.saturating_mul(self.width_us)) {
            return None;
        }
        self.slots -= 1;
        self.reached = self.reached.max(Some(bucket));
        let slot = first.get_mut().pop().expect("no bucket is empty");
        if first.get().is_empty() {
            let emptied = first.remove();
            if self.spare.len() < SPARE_BUCKETS {
                self.spare.push(emptied);
            }
        }
        Some(slot)
    }

    /// Gives the memory back, when no slot stands here.
    pub fn clear(&mut self) {
        assert_eq!(self.slots, 0, "no slot is forgotten");
        *self = Timers {
            reached: self.reached,
            ..Timers::new(self.width_us)
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_due_comes_out_and_nothing_is_lost(
            width in 1i64..40,
            steps in prop::collection::vec((prop::collection::vec(-300i64..300, 0..20), -300i64..300), 0..20),
        ) {
            let mut timers = Timers::new(width);
            let mut ends: Vec<i64> = Vec::new();
            let mut standing: Vec<bool> = Vec::new();
            for (fresh, limit) in steps {
                for end in fresh {
                    timers.put(end, ends.len() as u32);
                    ends.push(end);
                    standing.push(true);
                }
                while let Some(slot) = timers.take(|end| end < limit) {
                    let slot = slot as usize;
                    prop_assert!(standing[slot]);
                    if ends[slot] < limit {
                        standing[slot] = false;
                    } else {
                        timers.put(ends[slot], slot as u32);
                    }
                }
                for (slot, &stands) in standing.iter().enumerate() {
                    prop_assert_eq!(stands, stands && ends[slot] >= limit);
                }
                let left = standing.iter().filter(|&&stands| stands).count();
                prop_assert_eq!(timers.slots, left);
                prop_assert!(timers.first().is_none_or(|first| first >= limit - width));
                prop_assert_eq!(timers.first().is_none(), left == 0);
            }
        }
    }
}
