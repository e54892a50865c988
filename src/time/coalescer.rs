//! The minimum watermark over several inputs.
//!
//! Law: the result never goes back, and it never exceeds the watermark of an input that may still speak. An input that
//! is idle or has no records to give is left out of the minimum; one that has ended stands at plus infinity. With the new
//! minimum goes the due time of the record that released it.

use super::Watermark;

#[derive(Clone, Copy, Debug)]
struct Input {
    watermark: Watermark,
    due_us: i64,
    idle: bool,
}

/// The least watermark of a fixed number of inputs.
#[derive(Clone, Debug)]
pub struct Coalescer {
    inputs: Vec<Input>,
    current: Watermark,
}

impl Coalescer {
    /// `inputs` inputs, none of which has promised anything yet.
    pub fn new(inputs: usize) -> Coalescer {
        let silent = Input {
            watermark: Watermark::NONE,
            due_us: 0,
            idle: false,
        };
        Coalescer {
            inputs: vec![silent; inputs],
            current: Watermark::NONE,
        }
    }

    /// Input `input` promises `watermark`, moved by a record due at `due_us` (wall clock). Returns the new minimum and
    /// the due time of what released it, if the minimum advanced.
    pub fn advance(
        &mut self,
        input: usize,
        watermark: Watermark,
        due_us: i64,
    ) -> Option<(Watermark, i64)> {
        let state = &mut self.inputs[input];
        state.idle = false;
        if watermark > state.watermark {
            state.watermark = watermark;
            state.due_us = due_us;
        }
        self.settle().map(|_| (self.current, due_us))
    }

    /// Input `input` has nothing to say and must not hold back the others.
    pub fn idle(&mut self, input: usize) -> Option<(Watermark, i64)> {
        self.inputs[input].idle = true;
        self.settle().map(|due_us| (self.current, due_us))
    }

    /// The minimum starts at `watermark`, and says nothing new before it is beyond that.
    pub fn start_at(&mut self, watermark: Watermark) {
        self.current = self.current.max(watermark);
    }

    /// What input `input` has promised.
    pub fn promised(&self, input: usize) -> Watermark {
        self.inputs[input].watermark
    }

    /// Whether every input is idle.
    pub fn is_idle(&self) -> bool {
        self.inputs.iter().all(|input| input.idle)
    }

    /// Moves the minimum on, if it advanced, and returns the due time of the input that stands at it.
    fn settle(&mut self) -> Option<i64> {
        let least = self
            .inputs
            .iter()
            .filter(|input| !input.idle)
            .min_by_key(|input| input.watermark)?;
        if least.watermark <= self.current {
            return None;
        }
        self.current = least.watermark;
        Some(least.due_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minimum_waits_for_every_input_that_may_still_speak() {
        let mut coalescer = Coalescer::new(2);
        assert_eq!(coalescer.advance(0, Watermark(10), 1), None);
        assert_eq!(
            coalescer.advance(1, Watermark(5), 2),
            Some((Watermark(5), 2))
        );
        assert_eq!(
            coalescer.advance(1, Watermark(20), 3),
            Some((Watermark(10), 3))
        );
    }

    #[test]
    fn an_idle_input_is_left_out_and_its_return_takes_nothing_back() {
        let mut coalescer = Coalescer::new(2);
        coalescer.advance(0, Watermark(10), 1);
        assert_eq!(coalescer.idle(1), Some((Watermark(10), 1)));
        assert_eq!(coalescer.advance(1, Watermark(3), 2), None);
        assert_eq!(coalescer.promised(1), Watermark(3));
        coalescer.idle(0);
        assert!(!coalescer.is_idle());
        coalescer.idle(1);
        assert!(coalescer.is_idle());
    }

    #[test]
    fn a_minimum_that_starts_somewhere_says_nothing_until_it_is_beyond() {
        let mut coalescer = Coalescer::new(1);
        coalescer.start_at(Watermark(10));
        assert_eq!(coalescer.advance(0, Watermark(10), 1), None);
        assert_eq!(
            coalescer.advance(0, Watermark(11), 2),
            Some((Watermark(11), 2))
        );
    }

    #[test]
    fn when_all_inputs_end_the_minimum_is_the_end() {
        let mut coalescer = Coalescer::new(2);
        coalescer.advance(0, Watermark::END, 0);
        assert_eq!(
            coalescer.advance(1, Watermark::END, 7),
            Some((Watermark::END, 7))
        );
    }
}
