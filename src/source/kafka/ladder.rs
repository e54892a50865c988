//! Where a partition must be read from again: event time -> the first offset that may hold it.
//!
//! ```text
//!   offsets  0 ......... o1 ............ o2 ..... o3 .. next
//!   rungs    (o0, h0)    (o1, h1)        (o2, h2) (o3, h3)        all records before `o` are at or before `h`
//!                         `-- from(t): the last rung with h < t: nothing before it is at or after t
//! ```
//!
//! Law: no record before the offset that `from(t)` gives has an event time of `t` or later. A ladder is bounded: when it is
//! full, every second rung is left out, which makes answers earlier and never later.
//!
//! A source climbs (`Climb`: one compare a record); the job keeps what was climbed until nobody needs it (`Ladder`).

use crate::config::limits::{CLIMB_RUNGS_MAX, LADDER_RUNGS_MAX};
use crate::time::{EventTime, Watermark};

/// An offset, and what is known of the records before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rung {
    /// The offset.
    pub offset: i64,
    /// No record before it has a later event time, microseconds; `i64::MIN` when there is none.
    pub highest_us: i64,
    /// The partition's watermark just before it.
    pub watermark: Watermark,
}

/// The rungs that a source has climbed since it was last asked.
#[derive(Clone, Debug)]
pub struct Climb {
    rungs: Vec<Rung>,
    highest_us: i64,
    /// The event time at which the next rung stands.
    next_us: i64,
    /// How far event time goes from rung to rung, now and at best, microseconds.
    step_us: i64,
    step_us_min: i64,
}

/// The rungs of one partition that may still be needed.
#[derive(Clone, Debug)]
pub struct Ladder {
    /// Ascending by offset and by highest event time; never empty.
    rungs: Vec<Rung>,
}

impl Climb {
    /// From a place before which no record is later than `highest_us`. `step_us` is how far event time goes from rung to rung.
    pub fn new(highest_us: i64, step_us: i64) -> Climb {
        assert!(step_us > 0, "a step leads upwards");
        Climb {
            rungs: Vec::new(),
            highest_us,
            next_us: highest_us.saturating_add(step_us),
            step_us,
            step_us_min: step_us,
        }
    }

    /// Takes note of the record at `offset`, before which the partition's watermark was `before`.
    #[inline]
    pub fn advance(&mut self, time: EventTime, offset: i64, before: Watermark) {
        if time.0 >= self.next_us {
            self.climb(time, offset, before);
        }
        if time.0 > self.highest_us {
            self.highest_us = time.0;
        }
    }

    #[cold]
    fn climb(&mut self, time: EventTime, offset: i64, before: Watermark) {
        self.rungs.push(Rung {
            offset,
            highest_us: self.highest_us,
            watermark: before,
        });
        if self.rungs.len() > CLIMB_RUNGS_MAX {
            thin(&mut self.rungs);
            self.step_us = self.step_us.saturating_mul(2);
        }
        self.next_us = time.0.saturating_add(self.step_us);
    }

    /// No record so far is later than this, microseconds.
    pub fn highest_us(&self) -> i64 {
        self.highest_us
    }

    /// What was climbed since the last time.
    pub fn take(&mut self) -> Vec<Rung> {
        self.step_us = self.step_us_min;
        std::mem::take(&mut self.rungs)
    }
}

impl Ladder {
    /// A ladder that stands on `base`: nothing before it will ever be needed.
    pub fn new(base: Rung) -> Ladder {
        Ladder { rungs: vec![base] }
    }

    /// Puts `rungs` on top.
    pub fn extend(&mut self, rungs: &[Rung]) {
        for rung in rungs {
            let top = self.rungs.last().expect("a ladder is never empty");
            assert!(
                rung.offset >= top.offset && rung.highest_us >= top.highest_us,
                "a ladder leads upwards"
            );
            self.rungs.push(*rung);
            if self.rungs.len() > LADDER_RUNGS_MAX {
                thin(&mut self.rungs);
            }
        }
    }

    /// The last rung before which nothing is at or after `time_us`; the lowest if there is none.
    pub fn from(&self, time_us: i64) -> Rung {
        let above = self.rungs.partition_point(|rung| rung.highest_us < time_us);
        self.rungs[above.saturating_sub(1)]
    }

    /// Lets go of what lies below `from(time_us)`: nothing before that time will be asked for.
    pub fn leave_below(&mut self, time_us: i64) {
        let above = self.rungs.partition_point(|rung| rung.highest_us < time_us);
        self.rungs.drain(..above.saturating_sub(1));
    }
}

/// Leaves out every second rung, but not the lowest.
fn thin(rungs: &mut Vec<Rung>) {
    let mut place = 0;
    rungs.retain(|_| {
        place += 1;
        place % 2 == 1
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time::PartitionClock;

    const BASE: Rung = Rung {
        offset: 0,
        highest_us: i64::MIN,
        watermark: Watermark::NONE,
    };

    /// Climbs over records with these times, asked after every `every` records; the watermark before each record beside it.
    fn climbed(times: &[i64], step_us: i64, every: usize) -> (Ladder, Vec<Watermark>) {
        let mut clock = PartitionClock::new(3);
        let mut climb = Climb::new(i64::MIN, step_us);
        let mut ladder = Ladder::new(BASE);
        let mut before = Vec::new();
        for (offset, &time) in times.iter().enumerate() {
            before.push(clock.advance(EventTime(time)));
            climb.advance(EventTime(time), offset as i64, before[offset]);
            if (offset + 1) % every == 0 {
                ladder.extend(&climb.take());
            }
        }
        ladder.extend(&climb.take());
        (ladder, before)
    }

    #[test]
    fn an_offset_is_found_as_near_as_the_step_allows() {
        let times: Vec<i64> = (0..1_000).collect();
        let (ladder, _) = climbed(&times, 10, 100);
        for time in 20..1_000 {
            let rung = ladder.from(time);
            assert!(
                (time - 20..=time).contains(&rung.offset),
                "{time}: {rung:?}"
            );
        }
    }

    #[test]
    fn a_ladder_is_bounded_and_comes_back_to_its_step() {
        let mut climb = Climb::new(i64::MIN, 1);
        for offset in 0..100_000 {
            climb.advance(EventTime(offset), offset, Watermark::NONE);
            assert!(climb.rungs.len() <= CLIMB_RUNGS_MAX);
        }
        let mut ladder = Ladder::new(BASE);
        let coarse = climb.take();
        assert!(coarse.len() > CLIMB_RUNGS_MAX / 4);
        ladder.extend(&coarse);
        for offset in 100_000..100_000 + 50 * LADDER_RUNGS_MAX as i64 {
            climb.advance(EventTime(offset), offset, Watermark::NONE);
            ladder.extend(&climb.take());
            assert!(ladder.rungs.len() <= LADDER_RUNGS_MAX);
        }
    }

    proptest! {
        /// The law, and that the watermark beside an offset is the partition's just before it; also when the ladder was pruned
        /// by times that only go up.
        #[test]
        fn nothing_before_the_offset_is_needed(
            times in prop::collection::vec(prop_oneof![-50i64..200, any::<i64>()], 1..300),
            step in 1i64..30,
            every in 1usize..50,
            asked in prop::collection::vec(-60i64..220, 1..20),
        ) {
            let (mut ladder, before) = climbed(&times, step, every);
            let mut asked = asked;
            asked.sort_unstable();
            for time in asked {
                let unpruned = ladder.from(time);
                ladder.leave_below(time);
                let rung = ladder.from(time);
                prop_assert_eq!(rung, unpruned);
                let offset = rung.offset as usize;
                prop_assert!(times[..offset].iter().all(|&earlier| earlier < time));
                prop_assert_eq!(rung.watermark, if offset == 0 { Watermark::NONE } else { before[offset] });
            }
        }
    }
}
