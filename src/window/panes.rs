//! The open panes of a query on one shard, each with its store.
//!
//! ```text
//!   pane number mod capacity -> ring:  | 64 |    | 66 | 67 | .. |     a slot holds one pane; it grows with the panes
//!   the slot holds another pane -----> tree: far-out panes
//! ```
//!
//! Laws: a pane fires exactly once, in the order of pane numbers, when the watermark reaches its closing time. From then
//! on it is closed and refuses records, also one that was never opened. Only a first phase opens panes again (`reopen`): what
//! it sent of them can be added to. Closing costs the panes that are open: a jump
//! over ten empty years costs nothing, and firing a pane looks at the slots that are taken. A store that comes back
//! (`recycle`) is used again before a new one is made.

use std::collections::BTreeMap;

use super::PaneNumbers;
use crate::config::limits::RING_PANES_MAX;
use crate::time::Watermark;

/// How many emptied stores are kept for the next panes: as many as are usually open at once, and no more, for each keeps
/// the memory of its pane.
const SPARE_STORES: usize = 2;

/// Slots of the ring at first.
const RING_PANES_MIN: usize = 16;

const _: () = assert!(
    RING_PANES_MIN.is_power_of_two()
        && RING_PANES_MAX.is_power_of_two()
        && RING_PANES_MIN <= RING_PANES_MAX,
    "the ring doubles up to its bound"
);

/// Open panes by number.
#[derive(Debug)]
pub struct Panes<T> {
    numbers: PaneNumbers,
    /// A pane stands at its number modulo the length, or in `sparse` if that slot was taken when it was opened.
    ring: Vec<Option<(i64, T)>>,
    /// How many slots of the ring are taken.
    ringed: usize,
    sparse: BTreeMap<i64, T>,
    /// The least open pane; `None` while there is none.
    first: Option<i64>,
    spare: Vec<T>,
    /// The highest watermark that was seen, or that to which it was taken back: a pane is closed iff this has reached its
    /// closing time.
    closed: Watermark,
}

impl<T> Panes<T> {
    /// No pane is open, and none is closed.
    pub fn new(numbers: PaneNumbers) -> Panes<T> {
        Panes {
            numbers,
            ring: empty(RING_PANES_MIN),
            ringed: 0,
            sparse: BTreeMap::new(),
            first: None,
            spare: Vec::new(),
            closed: Watermark::NONE,
        }
    }

    /// The store of `pane`: the open one, a spare one, or the one that `make` gives. `None` if the pane is closed.
    pub fn get_or_open(&mut self, pane: i64, make: impl FnOnce() -> T) -> Option<&mut T> {
        if self.numbers.closing(pane) <= self.closed {
            return None;
        }
        if !self.is_open(pane) {
            let store = self.spare.pop().unwrap_or_else(make);
            self.first = Some(self.first.map_or(pane, |first| first.min(pane)));
            self.place(pane, store);
        }
        self.get_mut(pane)
    }

    /// The store of `pane`; `None` if it is not open.
    pub fn get_mut(&mut self, pane: i64) -> Option<&mut T> {
        let slot = slot_of(pane, self.ring.len());
        match &mut self.ring[slot] {
            Some((open, store)) if *open == pane => Some(store),
            _ => self.sparse.get_mut(&pane),
        }
    }

    /// Windows that close at or below `done` were emitted by an earlier run: they close no pane.
    pub fn start_at(&mut self, done: Watermark) {
        self.numbers.start_at(done);
    }

    /// The watermark up to which panes are closed.
    pub fn closed(&self) -> Watermark {
        self.closed
    }

    /// Closes all panes up to `watermark`. They refuse records from now on, and those that are open fire.
    pub fn close(&mut self, watermark: Watermark) {
        self.closed = self.closed.max(watermark);
    }

    /// Takes the watermark back to `watermark`, if it stands higher: panes that close behind it accept records again, and those
    /// that were to fire wait.
    pub fn reopen(&mut self, watermark: Watermark) {
        self.closed = self.closed.min(watermark);
    }

    /// The watermark at which the first open pane closes.
    pub fn next_closing(&self) -> Option<Watermark> {
        self.first.map(|first| self.numbers.closing(first))
    }

    /// Takes out the first of the closed panes that is open, with its store. To be called until it returns `None`.
    pub fn fire(&mut self) -> Option<(i64, T)> {
        if !self.has_fired() {
            return None;
        }
        self.take_first()
    }

    /// Takes out the first open pane, with its store, and does not close it: it may be opened again.
    pub fn take_first(&mut self) -> Option<(i64, T)> {
        let pane = self.first?;
        let slot = slot_of(pane, self.ring.len());
        let ringed = self.ring[slot].take_if(|(open, _)| *open == pane);
        let store = match ringed {
            Some((_, store)) => {
                self.ringed -= 1;
                store
            }
            None => self.sparse.remove(&pane).expect("the first pane is open"),
        };
        self.first = self.least();
        Some((pane, store))
    }

    /// The first open pane.
    pub fn first(&self) -> Option<i64> {
        self.first
    }

    /// The last open pane. Looks at all of them: for whoever asks, not for a turn.
    pub fn last(&self) -> Option<i64> {
        let ringed = self.ring.iter().flatten().map(|&(pane, _)| pane);
        ringed.chain(self.sparse.keys().next_back().copied()).max()
    }

    /// Whether a closed pane waits to be fired.
    pub fn has_fired(&self) -> bool {
        self.first
            .is_some_and(|first| self.numbers.closing(first) <= self.closed)
    }

    /// Gives back an emptied store, to be opened again with its capacity. Returns it if there are enough of them.
    pub fn recycle(&mut self, store: T) -> Option<T> {
        if self.spare.len() == SPARE_STORES {
            return Some(store);
        }
        self.spare.push(store);
        None
    }

    /// How many panes are open.
    pub fn open(&self) -> usize {
        self.ringed + self.sparse.len()
    }

    /// The stores of all open panes, and the spare ones.
    pub fn stores(&self) -> impl Iterator<Item = &T> {
        let ringed = self.ring.iter().flatten().map(|(_, store)| store);
        ringed.chain(self.sparse.values()).chain(&self.spare)
    }

    /// Start and end of the first window of `pane`, microseconds, half-open.
    pub fn bounds(&self, pane: i64) -> (i64, i64) {
        let window = *self.numbers.windows(pane).start();
        self.numbers.spans().bounds(window)
    }

    /// The watermark at which `pane` closes.
    pub fn closing(&self, pane: i64) -> Watermark {
        self.numbers.closing(pane)
    }

    fn is_open(&self, pane: i64) -> bool {
        let slot = slot_of(pane, self.ring.len());
        self.ring[slot]
            .as_ref()
            .is_some_and(|(open, _)| *open == pane)
            || self.sparse.contains_key(&pane)
    }

    /// Puts a store where its pane is looked for.
    fn place(&mut self, pane: i64, store: T) {
        let at = slot_of(pane, self.ring.len());
        let slot = &mut self.ring[at];
        if slot.is_none() {
            *slot = Some((pane, store));
            self.ringed += 1;
            return;
        }
        self.sparse.insert(pane, store);
        if self.sparse.len() * 2 > self.ring.len() && self.ring.len() < RING_PANES_MAX {
            self.grow();
        }
    }

    /// Doubles the ring, and puts every pane anew.
    fn grow(&mut self) {
        let ring = empty(self.ring.len() * 2);
        let ringed = std::mem::replace(&mut self.ring, ring)
            .into_iter()
            .flatten();
        let sparse = std::mem::take(&mut self.sparse);
        self.ringed = 0;
        for (pane, store) in ringed.chain(sparse) {
            self.place(pane, store);
        }
    }

    /// The least open pane.
    fn least(&self) -> Option<i64> {
        let sparse = self.sparse.keys().next().copied();
        if self.ringed == 0 {
            return sparse;
        }
        let ringed = self.ring.iter().flatten().map(|&(pane, _)| pane);
        ringed.chain(sparse).min()
    }
}

fn empty<T>(slots: usize) -> Vec<Option<(i64, T)>> {
    std::iter::repeat_with(|| None).take(slots).collect()
}

#[inline]
fn slot_of(pane: i64, slots: usize) -> usize {
    // The low bits of a negative number are its remainder too.
    pane as usize & (slots - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::{EmitPolicy, WindowSpec};

    fn tumbling(size_us: i64, grace_us: i64) -> PaneNumbers {
        let window = WindowSpec::Tumbling {
            size_us,
            offset_us: 0,
            grace_us,
        };
        PaneNumbers::of(&window, EmitPolicy::Final)
    }

    fn fired(panes: &mut Panes<Vec<i64>>, watermark: i64) -> Vec<i64> {
        panes.close(Watermark(watermark));
        std::iter::from_fn(|| panes.fire())
            .map(|(pane, _)| pane)
            .collect()
    }

    #[test]
    fn panes_fire_once_in_order_when_end_plus_grace_is_reached() {
        let mut panes = Panes::new(tumbling(10, 5));
        for pane in [3, -1, 0, 1_000_000] {
            panes
                .get_or_open(pane, Vec::new)
                .expect("an open pane")
                .push(pane);
        }
        assert_eq!(panes.open(), 4);
        assert_eq!(fired(&mut panes, 4), Vec::<i64>::new());
        assert_eq!(fired(&mut panes, 15), [-1, 0]);
        assert_eq!(fired(&mut panes, 15), Vec::<i64>::new());
        assert_eq!(fired(&mut panes, i64::MAX), [3, 1_000_000]);
        assert!(!panes.has_fired() && panes.first.is_none() && panes.open() == 0);
    }

    #[test]
    fn a_closed_pane_refuses_records_even_if_it_was_never_open() {
        let mut panes: Panes<Vec<i64>> = Panes::new(tumbling(10, 0));
        assert!(
            panes.get_or_open(-5, Vec::new).is_some(),
            "nothing is closed at first"
        );
        panes.close(Watermark(20));
        assert!(
            panes.get_or_open(-5, Vec::new).is_none(),
            "closed, though not yet fired"
        );
        assert!(panes.has_fired());
        assert_eq!(fired(&mut panes, 20), [-5]);
        assert!(panes.get_or_open(1, Vec::new).is_none());
        assert!(panes.get_or_open(2, Vec::new).is_some());
        assert_eq!(fired(&mut panes, 10), Vec::<i64>::new());
        assert!(
            panes.get_or_open(1, Vec::new).is_none(),
            "a lower watermark opens nothing again"
        );
    }

    #[test]
    fn a_pane_that_is_taken_out_early_stays_open() {
        let mut panes: Panes<Vec<i64>> = Panes::new(tumbling(10, 0));
        for pane in [1, -1] {
            let store = panes.get_or_open(pane, Vec::new).expect("an open pane");
            store.push(pane);
        }
        assert_eq!(panes.first(), Some(-1));
        assert_eq!(panes.take_first(), Some((-1, vec![-1])));
        assert_eq!(panes.take_first(), Some((1, vec![1])));
        assert_eq!(panes.take_first(), None);
        assert_eq!(panes.get_or_open(-1, Vec::new), Some(&mut Vec::new()));
    }

    #[test]
    fn a_recycled_store_is_opened_before_a_new_one_is_made() {
        let mut panes = Panes::new(tumbling(10, 0));
        let store = panes
            .get_or_open(0, || Vec::with_capacity(64))
            .expect("an open pane");
        store.push(1);
        let at = store.as_ptr();
        panes.close(Watermark(10));
        let (_, mut store) = panes.fire().expect("the pane fires");
        store.clear();
        assert!(panes.recycle(store).is_none());
        assert_eq!(
            panes
                .get_or_open(1, Vec::new)
                .expect("an open pane")
                .as_ptr(),
            at
        );
    }

    #[test]
    fn the_ring_grows_with_the_panes_and_not_with_their_distance() {
        let mut panes: Panes<Vec<i64>> = Panes::new(tumbling(1, 0));
        for pane in 0..1_000 {
            panes.get_or_open(pane, Vec::new).expect("an open pane");
        }
        assert!(panes.sparse.is_empty() && panes.ring.len() == 1_024);
        let mut far: Panes<Vec<i64>> = Panes::new(tumbling(1, 0));
        for pane in [i64::MIN / 2, 0, i64::MAX / 2] {
            far.get_or_open(pane, Vec::new).expect("an open pane");
        }
        assert_eq!(far.ring.len(), RING_PANES_MIN);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Open(i64),
        Close(i64),
        Fire,
    }

    fn any_step() -> impl Strategy<Value = Step> {
        let pane = prop_oneof![
            6 => -40i64..120,
            1 => (0i64..8).prop_map(|pane| pane << 40),
            1 => (-8i64..0).prop_map(|pane| pane * 16),
        ];
        prop_oneof![
            6 => pane.prop_map(Step::Open),
            1 => (-400i64..1_200).prop_map(Step::Close),
            2 => Just(Step::Fire),
        ]
    }

    proptest! {
        #[test]
        fn panes_are_a_sorted_map(steps in prop::collection::vec(any_step(), 0..300)) {
            let mut panes: Panes<i64> = Panes::new(tumbling(10, 0));
            let mut model: BTreeMap<i64, i64> = BTreeMap::new();
            let mut closed = i64::MIN;
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Open(pane) => {
                        let found = panes.get_or_open(pane, || number as i64).copied();
                        let expected = ((pane + 1) * 10 > closed)
                            .then(|| *model.entry(pane).or_insert(number as i64));
                        prop_assert_eq!(found, expected);
                    }
                    Step::Close(time) => {
                        closed = closed.max(time);
                        panes.close(Watermark(time));
                    }
                    Step::Fire => {
                        let due = model.first_key_value().is_some_and(|(pane, _)| (pane + 1) * 10 <= closed);
                        prop_assert_eq!(panes.has_fired(), due);
                        let expected = if due { model.pop_first() } else { None };
                        prop_assert_eq!(panes.fire(), expected);
                    }
                }
            }
            panes.close(Watermark::END);
            let rest: Vec<(i64, i64)> = std::iter::from_fn(|| panes.fire()).collect();
            prop_assert_eq!(rest, model.into_iter().collect::<Vec<_>>());
        }
    }
}
