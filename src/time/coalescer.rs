//! The minimum watermark over several inputs, as it stands now.
//!
//! Law: the result never exceeds what an input that may still speak has promised. An input that is idle is left out of the
//! minimum; one that has ended stands at plus infinity, which is the result when all have ended; while others are idle, it stays where it is. What an input promises may go back, when a part of it that was idle
//! speaks again, and the minimum goes back with it: what may never go back is the query's watermark, which `QueryClock` keeps.
//! With the minimum goes the due time of the record that released it.

use super::{Idle, Watermark};

#[derive(Clone, Copy, Debug)]
struct Input {
    watermark: Watermark,
    due_us: i64,
    idle: Option<Idle>,
}

/// The least watermark of a fixed number of inputs.
#[derive(Clone, Debug)]
pub struct Coalescer {
    inputs: Vec<Input>,
    /// What was returned last; `None` while all inputs are idle.
    told: Option<Watermark>,
}

impl Coalescer {
    /// `inputs` inputs, none of which has promised anything yet.
    pub fn new(inputs: usize) -> Coalescer {
        let silent = Input {
            watermark: Watermark::NONE,
            due_us: 0,
            idle: None,
        };
        Coalescer {
            inputs: vec![silent; inputs],
            told: Some(Watermark::NONE),
        }
    }

    /// Input `input` promises `watermark`, moved by a record due at `due_us` (wall clock), and holds the others to it. Returns
    /// the minimum and the due time of what released it, if that is news: it moved, or all inputs were idle.
    pub fn promise(
        &mut self,
        input: usize,
        watermark: Watermark,
        due_us: i64,
    ) -> Option<(Watermark, i64)> {
        self.inputs[input] = Input {
            watermark,
            due_us,
            idle: None,
        };
        self.settle().map(|(least, _)| (least, due_us))
    }

    /// Input `input` has nothing to say and must not hold back the others. Returns as `promise` does. When all inputs are idle now
    /// (`idle_since`), that is what those promised that fell idle last, whose word may come before that of others.
    pub fn idle(&mut self, input: usize, idle: Idle) -> Option<(Watermark, i64)> {
        self.inputs[input].idle = Some(idle);
        self.settle()
    }

    /// What input `input` has promised.
    pub fn promised(&self, input: usize) -> Watermark {
        self.inputs[input].watermark
    }

    /// If all inputs are idle, since when: since the last of them is.
    pub fn idle_since(&self) -> Option<Idle> {
        let mut inputs = self.inputs.iter().map(|input| input.idle);
        inputs.try_fold(Idle::ALWAYS, |all, input| Some(all.and(input?)))
    }

    /// The minimum, if it is not what was returned last, and the due time of the input that stands at it.
    fn settle(&mut self) -> Option<(Watermark, i64)> {
        let all_are_idle = self.idle_since().is_some();
        // One from which nothing ever came has no value to leave behind.
        let has_spoken = |input: &&Input| input.idle.is_some() && input.watermark > Watermark::NONE;
        let spoke = self.inputs.iter().filter(has_spoken);
        let last_ns = spoke.filter_map(|input| Some(input.idle?.since_ns)).max();
        let counts = |input: &&Input| match (all_are_idle, last_ns) {
            (false, _) => input.idle.is_none(),
            (true, None) => input.idle.is_some(),
            (true, last_ns) => has_spoken(input) && input.idle.map(|idle| idle.since_ns) == last_ns,
        };
        let counting = self.inputs.iter().filter(counts);
        let least = counting.min_by_key(|input| input.watermark);
        let least = least.expect("one that speaks, or one that was the last to do so");
        // The end of some is not that of others, which are silent and may speak: it waits for them.
        let may_speak = |input: &Input| input.idle.is_some_and(|idle| idle != Idle::ALWAYS);
        if least.watermark == Watermark::END && self.inputs.iter().any(may_speak) {
            return None;
        }
        let is_news = self.told != Some(least.watermark);
        self.told = (!all_are_idle).then_some(least.watermark);
        is_news.then_some((least.watermark, least.due_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Idle = Idle {
        since_ns: 5,
        advances: true,
    };

    #[test]
    fn the_minimum_waits_for_every_input_that_may_still_speak() {
        let mut coalescer = Coalescer::new(2);
        assert_eq!(coalescer.promise(0, Watermark(10), 1), None);
        assert_eq!(
            coalescer.promise(1, Watermark(5), 2),
            Some((Watermark(5), 2))
        );
        assert_eq!(
            coalescer.promise(1, Watermark(20), 3),
            Some((Watermark(10), 3))
        );
    }

    #[test]
    fn an_idle_input_is_left_out_and_holds_again_when_it_speaks() {
        let mut coalescer = Coalescer::new(2);
        coalescer.promise(0, Watermark(10), 1);
        assert_eq!(coalescer.idle(1, IDLE), Some((Watermark(10), 1)));
        assert_eq!(
            coalescer.promise(1, Watermark(3), 2),
            Some((Watermark(3), 2))
        );
        assert_eq!(coalescer.promised(1), Watermark(3));
        assert_eq!(coalescer.promise(0, Watermark(20), 3), None);
        assert_eq!(coalescer.idle_since(), None);
    }

    #[test]
    fn all_inputs_are_idle_since_the_last_of_them_and_whoever_speaks_then_is_heard() {
        let mut coalescer = Coalescer::new(2);
        coalescer.promise(0, Watermark(10), 1);
        coalescer.promise(1, Watermark(10), 1);
        let before = Idle {
            since_ns: 3,
            advances: false,
        };
        assert_eq!(coalescer.idle(0, IDLE), None);
        assert_eq!(coalescer.idle_since(), None);
        assert_eq!(coalescer.idle(1, before), None);
        let both = Idle {
            since_ns: 5,
            advances: false,
        };
        assert_eq!(coalescer.idle_since(), Some(both));
        // The same promise as before: it is news that somebody holds.
        assert_eq!(
            coalescer.promise(1, Watermark(10), 4),
            Some((Watermark(10), 4))
        );
    }

    #[test]
    fn the_input_that_fell_idle_last_sets_the_value_whoever_is_heard_last() {
        let mut coalescer = Coalescer::new(2);
        coalescer.promise(0, Watermark(10), 1);
        assert_eq!(
            coalescer.idle(0, IDLE),
            None,
            "the other has promised nothing"
        );
        assert_eq!(coalescer.idle(1, Idle::ALWAYS), Some((Watermark(10), 1)));
    }

    #[test]
    fn an_input_of_which_nothing_came_leaves_no_value_behind() {
        let mut coalescer = Coalescer::new(3);
        coalescer.promise(0, Watermark(10), 1);
        coalescer.idle(0, IDLE);
        coalescer.idle(1, Idle::ALWAYS);
        // The last to fall idle, or at the same moment.
        for since_ns in [IDLE.since_ns, IDLE.since_ns + 1] {
            let mut coalescer = coalescer.clone();
            let last = Idle { since_ns, ..IDLE };
            assert_eq!(coalescer.idle(2, last), Some((Watermark(10), 1)));
            assert_eq!(coalescer.idle_since(), Some(last));
        }
    }

    #[test]
    fn the_end_of_one_input_is_not_that_of_another_which_is_idle() {
        let mut coalescer = Coalescer::new(2);
        coalescer.promise(1, Watermark(10), 1);
        coalescer.promise(0, Watermark::END, 2);
        assert_eq!(coalescer.idle(1, IDLE), None);
        assert_eq!(coalescer.idle_since(), None, "one has ended");
        assert_eq!(
            coalescer.promise(1, Watermark(12), 3),
            Some((Watermark(12), 3))
        );
        assert_eq!(
            coalescer.promise(1, Watermark::END, 4),
            Some((Watermark::END, 4))
        );
    }

    #[test]
    fn an_input_from_which_nothing_comes_does_not_outlast_those_that_end() {
        let mut coalescer = Coalescer::new(2);
        coalescer.idle(0, Idle::ALWAYS);
        assert_eq!(
            coalescer.promise(1, Watermark(10), 1),
            Some((Watermark(10), 1))
        );
        assert_eq!(
            coalescer.promise(1, Watermark::END, 2),
            Some((Watermark::END, 2))
        );
        assert_eq!(coalescer.idle_since(), None);
    }

    #[test]
    fn when_all_inputs_end_the_minimum_is_the_end() {
        let mut coalescer = Coalescer::new(2);
        coalescer.promise(0, Watermark::END, 0);
        assert_eq!(
            coalescer.promise(1, Watermark::END, 7),
            Some((Watermark::END, 7))
        );
    }
}
