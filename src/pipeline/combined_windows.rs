//! Windows that overlap, each combined from the slices that it covers: a record is added once, not once a window.
//!
//! ```text
//!   records --by slice--> panes ----> | front ............... | back ............. |    slices, oldest first
//!                                     | suffixes: each holds  | as they are, and   |
//!                                     | all up to the middle  | `sum`: all of them |
//!   window = the suffix that begins with it + sum + single panes ----> fires
//! ```
//!
//! When a window fires, the slices that end with it join the back; what its successor does not cover leaves the front; when the
//! front is used up the back becomes the front, from the newest slice to the oldest, each merged with all that follow. So a group of a
//! slice is merged a fixed number of times, whatever SIZE / ADVANCE is.
//!
//! Of keys that live shorter than a window little is merged, and suffixes and sum would be far larger than the slices. So suffixes
//! have no more groups than the slices that they are made of, and the sum is given up when it saves less than a quarter of those of its slices:
//! what is not merged beforehand, windows take slice by slice, which then costs little more than their rows.
//!
//! Laws: a slice takes no more records once the first of its windows has closed, so what was combined never changes. Windows
//! fire in order, once, and only those in which something counts. Work is done by the group: a call does a bounded piece.

use std::collections::VecDeque;

use velostream_shards::MemoryRange;

use crate::group::{Groups, KeySpace};
use crate::time::Watermark;
use crate::window::{PaneNumbers, Panes};

/// The state of overlapping windows on one shard.
#[derive(Debug)]
pub struct CombinedWindows {
    numbers: PaneNumbers,
    /// Slices and single panes that no window has taken yet.
    panes: Panes<Box<Groups>>,
    /// What windows have taken, by handle.
    stores: Vec<Option<Box<Groups>>>,
    /// The older slices, oldest first.
    front: VecDeque<Slice>,
    /// The newer ones; of windows that begin together only the last window is kept of each.
    back: VecDeque<Slice>,
    /// All of `back` in one.
    sum: Option<usize>,
    /// The slices of `back` are not summed.
    gives_up: bool,
    /// The window that fired last, or is about to.
    fired: i64,
    /// What is to be done until the next window has fired and its leavings are gone.
    steps: VecDeque<Step>,
    /// Groups of the slice that was taken last: so many are expected in the next, where a window has several times as many.
    expected: usize,
    /// An emptied store for the next slice, and one for the next window. They are not exchanged: in the end every slice would lie in
    /// the memory of a window.
    spare_slice: Option<Box<Groups>>,
    spare_window: Option<Box<Groups>>,
    /// Bytes that stores have taken since this was last asked, less those given back.
    grown_bytes: i64,
}

/// A slice that windows have taken.
#[derive(Clone, Copy, Debug)]
struct Slice {
    /// The last window that covers it.
    last: i64,
    store: usize,
    /// Whether everything up to the newest slice of the front is merged into it.
    is_suffix: bool,
}

#[derive(Debug)]
enum Step {
    /// The groups of the one store, from `done` on, are merged into the other.
    Merge {
        from: usize,
        into: usize,
        done: usize,
    },
    /// The keys of a store are released, and its memory used again for what it was.
    Free(usize, Was),
    /// The window fires with these groups.
    Fire(i64, usize),
    /// What only the window needed that has fired leaves.
    Leave,
    /// The slice of the front at this place becomes a suffix, if it and those that follow may have so many groups.
    Suffix { place: usize, groups_max: usize },
    /// The sum is given up if it saves too little.
    Weigh,
}

/// What a store was that is let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Was {
    Slice,
    Window,
}

/// What `combine` has come to.
#[derive(Debug)]
pub enum Combined {
    /// No window has closed in which something counts.
    Nothing,
    /// There is more to do: so many groups were merged or released.
    Worked(usize),
    /// A window fires.
    Window(i64, Box<Groups>),
}

impl CombinedWindows {
    /// No windows, whose panes have these numbers. `groups` is an empty store.
    pub fn new(numbers: PaneNumbers, groups: Box<Groups>) -> CombinedWindows {
        assert!(numbers.is_sliced(), "windows that overlap");
        CombinedWindows {
            numbers,
            panes: Panes::new(numbers),
            stores: Vec::new(),
            front: VecDeque::new(),
            back: VecDeque::new(),
            sum: None,
            gives_up: false,
            fired: i64::MIN,
            steps: VecDeque::new(),
            expected: 0,
            spare_slice: Some(groups),
            spare_window: None,
            grown_bytes: 0,
        }
    }

    /// Windows that close at or below `done` were emitted by an earlier run.
    pub fn start_at(&mut self, done: Watermark) {
        self.numbers.start_at(done);
        self.panes.start_at(done);
        self.fired = self.numbers.first_open().saturating_sub(1);
    }

    /// The groups of `pane`; `None` if its first window has closed. `make` is asked where no store is spare, for one of about so
    /// many groups.
    pub fn get_or_open(
        &mut self,
        pane: i64,
        make: impl FnOnce(usize) -> Box<Groups>,
    ) -> Option<&mut Groups> {
        let (spare, expected) = (&mut self.spare_slice, self.expected);
        let store = self
            .panes
            .get_or_open(pane, || spare.take().unwrap_or_else(|| make(expected)));
        store.map(Box::as_mut)
    }

    /// Closes all windows up to `watermark`.
    pub fn close(&mut self, watermark: Watermark) {
        self.panes.close(watermark);
    }

    /// Whether a window waits to fire, or has left something to do.
    pub fn has_fired(&self) -> bool {
        !self.steps.is_empty()
            || self
                .next_closing()
                .is_some_and(|closing| closing <= self.panes.closed())
    }

    /// The watermark at which the next window fires in which something counts.
    pub fn next_closing(&self) -> Option<Watermark> {
        let next = self.next_window()?;
        Some(self.numbers.spans().closing(next))
    }

    /// Works towards the next window that fires: merges or releases about `max_groups` groups. `make` makes a store for about so
    /// many groups.
    pub fn combine(
        &mut self,
        max_groups: usize,
        space: &mut KeySpace,
        make: &impl Fn(&KeySpace, usize) -> Box<Groups>,
    ) -> Combined {
        let mut worked = 0;
        while worked < max_groups {
            let Some(step) = self.steps.pop_front() else {
                match self.next_window() {
                    Some(window) if self.numbers.spans().closing(window) <= self.panes.closed() => {
                        self.plan(window, space, make);
                        continue;
                    }
                    _ if worked == 0 => return Combined::Nothing,
                    _ => break,
                }
            };
            match step {
                Step::Merge { from, into, done } => {
                    let (groups, rest) = self.merge(from, into, done, max_groups - worked, space);
                    worked += groups;
                    if let Some(rest) = rest {
                        self.steps.push_front(rest);
                    }
                }
                Step::Free(store, was) => {
                    worked += self.free(store, was, max_groups - worked, space);
                }
                Step::Fire(window, store) => return Combined::Window(window, self.take(store)),
                Step::Leave => self.leave(),
                Step::Suffix { place, groups_max } => self.suffix(place, groups_max),
                Step::Weigh => self.weigh(),
            }
        }
        Combined::Worked(worked)
    }

    /// Takes back the store of a window that has left; it is given back if there is a spare one.
    pub fn recycle(&mut self, groups: Box<Groups>) -> Option<Box<Groups>> {
        keep_spare(&mut self.spare_window, groups)
    }

    /// Bytes taken from the system since this was last asked, less those given back.
    pub fn take_grown_bytes(&mut self) -> i64 {
        std::mem::take(&mut self.grown_bytes)
    }

    /// The stores of all panes, and the spare ones.
    pub fn stores(&self) -> impl Iterator<Item = &Groups> {
        let taken = self.stores.iter().flatten();
        let spare = self.spare_slice.iter().chain(&self.spare_window);
        let stores = self.panes.stores().chain(taken).chain(spare);
        stores.map(Box::as_ref)
    }

    /// How many windows are open in which something counts.
    pub fn open(&self) -> usize {
        let slices = self.front.iter().chain(&self.back);
        let last = slices.map(|slice| slice.last).max();
        let last = last.max(
            self.panes
                .last()
                .map(|pane| *self.numbers.windows(pane).end()),
        );
        match (self.next_window(), last) {
            (Some(first), Some(last)) => (last - first + 1) as usize,
            _ => 0,
        }
    }

    /// The memory of all groups.
    pub fn ranges(&self) -> impl Iterator<Item = MemoryRange> {
        self.stores().flat_map(Groups::ranges)
    }

    /// The next window in which something counts.
    fn next_window(&self) -> Option<i64> {
        // What is in a slice that was taken counts in the next window, else it had left.
        if !self.front.is_empty() || !self.back.is_empty() {
            return Some(self.fired + 1);
        }
        let first = self.panes.first()?;
        Some(*self.numbers.windows(first).start())
    }

    /// The steps that make `window` of its slices and single panes.
    fn plan(
        &mut self,
        window: i64,
        space: &KeySpace,
        make: &impl Fn(&KeySpace, usize) -> Box<Groups>,
    ) {
        self.fired = window;
        if self.gives_up {
            self.steps
                .extend(self.sum.take().map(|sum| Step::Free(sum, Was::Window)));
        }
        let mut singles = Vec::new();
        while let Some(pane) = self.panes.first()
            && *self.numbers.windows(pane).start() <= window
        {
            let (_, groups) = self.panes.take_first().expect("there is a first one");
            let expected = groups.len();
            let store = self.keep(groups);
            if self.numbers.is_single(pane) {
                singles.push(store);
                continue;
            }
            self.expected = expected;
            let slides = self.numbers.spans().slide();
            match self.sum {
                Some(sum) => {
                    self.merges(store, sum);
                    self.steps.push_back(match slides {
                        true => Step::Weigh,
                        false => Step::Free(store, Was::Slice),
                    });
                }
                None if !slides => self.sum = Some(store),
                // One slice is its own sum.
                None if !self.gives_up && !self.back.is_empty() => {
                    let sum = self.keep_new(|| make(space, expected));
                    for place in 0..self.back.len() {
                        self.merges(self.back[place].store, sum);
                    }
                    self.merges(store, sum);
                    self.steps.push_back(Step::Weigh);
                    self.sum = Some(sum);
                }
                None => {}
            }
            self.back.push_back(Slice {
                last: *self.numbers.windows(pane).end(),
                store,
                is_suffix: false,
            });
        }
        let result = self.plan_result(window, singles, space, make);
        self.steps.extend([Step::Fire(window, result), Step::Leave]);
    }

    /// The steps that put together what counts in `window`; where it will stand.
    fn plan_result(
        &mut self,
        window: i64,
        singles: Vec<usize>,
        space: &KeySpace,
        make: &impl Fn(&KeySpace, usize) -> Box<Groups>,
    ) -> usize {
        // What no later window needs becomes the window; all else is merged into it.
        let (mut result, mut parts) = (None, Vec::new());
        match self.front.iter().position(|slice| slice.is_suffix) {
            Some(0) if self.front[0].last <= window => {
                let oldest = self.front.pop_front().expect("there is a first one");
                result = Some(oldest.store);
            }
            Some(suffix) => {
                let slices = self.front.range(..=suffix);
                parts.extend(slices.map(|slice| slice.store));
            }
            None => assert!(self.front.is_empty(), "the newest is a suffix"),
        }
        let back_leaves = self.back.back().is_none_or(|newest| newest.last <= window);
        match self.sum {
            Some(_) if result.is_none() && parts.is_empty() && back_leaves => {
                result = self.sum.take();
            }
            Some(sum) => parts.push(sum),
            None => parts.extend(self.back.iter().map(|slice| slice.store)),
        }
        let result = match (result, singles.first()) {
            (Some(result), _) => result,
            (None, Some(&single)) if parts.is_empty() => single,
            (None, _) => {
                let most = parts.iter().map(|&part| self.groups(part).len()).max();
                self.keep_new(|| make(space, most.unwrap_or(0)))
            }
        };
        for part in parts {
            self.merges(part, result);
        }
        for single in singles.into_iter().filter(|&single| single != result) {
            self.merges(single, result);
            self.steps.push_back(Step::Free(single, Was::Slice));
        }
        result
    }

    /// Gives the sum up if it saves less than a quarter of the groups of its slices.
    fn weigh(&mut self) {
        if let Some(sum) = self.sum {
            let slices = groups_of(&self.stores, &self.back);
            self.gives_up = 4 * self.groups(sum).len() > 3 * slices;
        }
    }

    /// What the windows behind the one that has fired do not cover leaves; if that was all of the front, the back becomes the front.
    fn leave(&mut self) {
        let fired = self.fired;
        let slides = self.numbers.spans().slide();
        while let Some(oldest) = self.front.pop_front_if(|slice| slice.last <= fired) {
            let was = if oldest.is_suffix {
                Was::Window
            } else {
                Was::Slice
            };
            self.steps.push_back(Step::Free(oldest.store, was));
        }
        if !self.front.is_empty() || self.back.front().is_none_or(|oldest| oldest.last > fired) {
            return;
        }
        self.gives_up = false;
        self.steps
            .extend(self.sum.take().map(|sum| Step::Free(sum, Was::Window)));
        while let Some(oldest) = self.back.pop_front_if(|slice| slice.last <= fired) {
            if slides {
                self.steps.push_back(Step::Free(oldest.store, Was::Slice));
            }
        }
        assert!(
            slides || self.back.is_empty(),
            "windows that begin together end together"
        );
        self.front = std::mem::take(&mut self.back);
        if let Some(place) = self.front.len().checked_sub(1) {
            let groups_max = groups_of(&self.stores, &self.front);
            self.steps.push_back(Step::Suffix { place, groups_max });
        }
    }

    /// Everything of the front behind the slice at `place` is merged into it, if it and what follows stays within so many groups.
    fn suffix(&mut self, place: usize, groups_max: usize) {
        let store = self.front[place].store;
        let mut groups_left = groups_max;
        if let Some(behind) = self.front.get(place + 1).copied() {
            let groups = self.groups(behind.store).len();
            groups_left = groups_max.saturating_sub(groups);
            if groups + self.groups(store).len() > groups_left {
                return;
            }
            self.merges(behind.store, store);
        }
        self.front[place].is_suffix = true;
        if let Some(place) = place.checked_sub(1) {
            let groups_max = groups_left;
            self.steps.push_back(Step::Suffix { place, groups_max });
        }
    }

    fn merges(&mut self, from: usize, into: usize) {
        let done = 0;
        self.steps.push_back(Step::Merge { from, into, done });
    }

    /// Merges at most `max_groups` groups, from `done` on; how many, and what is left to do.
    fn merge(
        &mut self,
        from: usize,
        into: usize,
        done: usize,
        max_groups: usize,
        space: &mut KeySpace,
    ) -> (usize, Option<Step>) {
        let mut target = self.take(into);
        let source = self.groups(from);
        let end = source.len().min(done.saturating_add(max_groups));
        target.merge_groups(space, source, done..end);
        let rest = (end < source.len()).then_some(Step::Merge {
            from,
            into,
            done: end,
        });
        self.grown_bytes += target.grown_bytes();
        self.stores[into] = Some(target);
        (end - done, rest)
    }

    /// Releases at most `max_groups` keys of `store`, and lets go of it when all are; how many.
    fn free(&mut self, store: usize, was: Was, max_groups: usize, space: &mut KeySpace) -> usize {
        let mut groups = self.take(store);
        let before = groups.held();
        groups.release(space, max_groups);
        let released = before - groups.held();
        if groups.held() > 0 {
            self.stores[store] = Some(groups);
            self.steps.push_front(Step::Free(store, was));
            return released;
        }
        groups.clear();
        self.grown_bytes += groups.grown_bytes();
        let spare = match was {
            Was::Slice => &mut self.spare_slice,
            Was::Window => &mut self.spare_window,
        };
        if let Some(groups) = keep_spare(spare, groups) {
            self.grown_bytes -= groups.told_bytes();
        }
        released
    }

    fn groups(&self, store: usize) -> &Groups {
        self.stores[store].as_deref().expect("a store that is kept")
    }

    fn take(&mut self, store: usize) -> Box<Groups> {
        self.stores[store].take().expect("a store that is kept")
    }

    /// Keeps a store; its handle.
    fn keep(&mut self, groups: Box<Groups>) -> usize {
        let free = self.stores.iter().position(Option::is_none);
        let store = free.unwrap_or(self.stores.len());
        match free {
            Some(_) => self.stores[store] = Some(groups),
            None => self.stores.push(Some(groups)),
        }
        store
    }

    /// Keeps a spare store, or else one that is made.
    fn keep_new(&mut self, make: impl FnOnce() -> Box<Groups>) -> usize {
        let groups = self.spare_window.take().unwrap_or_else(make);
        self.keep(groups)
    }
}

/// Keeps an emptied store as the spare one; gives it back if there is one.
fn keep_spare(spare: &mut Option<Box<Groups>>, groups: Box<Groups>) -> Option<Box<Groups>> {
    match spare {
        Some(_) => Some(groups),
        None => {
            *spare = Some(groups);
            None
        }
    }
}

/// How many groups `slices` have, all told.
fn groups_of(stores: &[Option<Box<Groups>>], slices: &VecDeque<Slice>) -> usize {
    let stores = slices.iter().map(|slice| stores[slice.store].as_deref());
    stores
        .map(|groups| groups.expect("a store that is kept").len())
        .sum()
}

#[cfg(test)]
mod tests;
