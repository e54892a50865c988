//! The open panes of a query on one shard, each with its store.
//!
//! Laws: a pane fires exactly once, in the order of pane numbers, when the watermark reaches its closing time. From then
//! on it is closed and refuses records, also one that was never opened. Closing costs the panes that are open: a jump
//! over ten empty years costs nothing. A store that comes back (`recycle`) is used again before a new one is made.
//!
//! The panes are kept in a tree for now. A ring indexed by pane number comes behind the same methods.

use std::collections::BTreeMap;

use super::Spans;
use crate::time::Watermark;

/// How many emptied stores are kept for the next panes: as many as are usually open at once, and no more, for each keeps
/// the memory of its pane.
const SPARE_STORES: usize = 2;

/// Open panes by number.
#[derive(Debug)]
pub struct Panes<T> {
    spans: Spans,
    open: BTreeMap<i64, T>,
    spare: Vec<T>,
    /// The highest watermark that `fire` has seen: a pane is closed iff this has reached its closing time.
    closed: Watermark,
}

impl<T> Panes<T> {
    /// No pane is open, and none is closed.
    pub fn new(spans: Spans) -> Panes<T> {
        Panes {
            spans,
            open: BTreeMap::new(),
            spare: Vec::new(),
            closed: Watermark::NONE,
        }
    }

    /// The store of `pane`: the open one, a spare one, or the one that `make` gives. `None` if the pane is closed.
    pub fn get_or_open(&mut self, pane: i64, make: impl FnOnce() -> T) -> Option<&mut T> {
        if self.spans.closing(pane) <= self.closed {
            return None;
        }
        let spare = &mut self.spare;
        Some(
            self.open
                .entry(pane)
                .or_insert_with(|| spare.pop().unwrap_or_else(make)),
        )
    }

    /// Closes all panes up to `watermark` and takes out the first of them that is open, with its store. To be called
    /// until it returns `None`.
    pub fn fire(&mut self, watermark: Watermark) -> Option<(i64, T)> {
        self.closed = self.closed.max(watermark);
        let first = self.open.first_entry()?;
        if self.spans.closing(*first.key()) > self.closed {
            return None;
        }
        Some(first.remove_entry())
    }

    /// Gives back an emptied store, to be opened again with its capacity.
    pub fn recycle(&mut self, store: T) {
        if self.spare.len() < SPARE_STORES {
            self.spare.push(store);
        }
    }

    /// Start and end of `pane`, microseconds, half-open.
    pub fn bounds(&self, pane: i64) -> (i64, i64) {
        self.spans.bounds(pane)
    }

    /// Number of open panes.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether no pane is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fired(panes: &mut Panes<Vec<i64>>, watermark: i64) -> Vec<i64> {
        std::iter::from_fn(|| panes.fire(Watermark(watermark)))
            .map(|(pane, _)| pane)
            .collect()
    }

    #[test]
    fn panes_fire_once_in_order_when_end_plus_grace_is_reached() {
        let mut panes = Panes::new(Spans::new(10, 0, 5));
        for pane in [3, -1, 0, 1_000_000] {
            panes
                .get_or_open(pane, Vec::new)
                .expect("an open pane")
                .push(pane);
        }
        assert_eq!(fired(&mut panes, 4), Vec::<i64>::new());
        assert_eq!(fired(&mut panes, 15), [-1, 0]);
        assert_eq!(fired(&mut panes, 15), Vec::<i64>::new());
        assert_eq!(fired(&mut panes, i64::MAX), [3, 1_000_000]);
        assert!(panes.is_empty());
    }

    #[test]
    fn a_closed_pane_refuses_records_even_if_it_was_never_open() {
        let mut panes: Panes<Vec<i64>> = Panes::new(Spans::new(10, 0, 0));
        assert!(
            panes.get_or_open(-5, Vec::new).is_some(),
            "nothing is closed at first"
        );
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
    fn a_recycled_store_is_opened_before_a_new_one_is_made() {
        let mut panes = Panes::new(Spans::new(10, 0, 0));
        let store = panes
            .get_or_open(0, || Vec::with_capacity(64))
            .expect("an open pane");
        store.push(1);
        let at = store.as_ptr();
        let (_, mut store) = panes.fire(Watermark(10)).expect("the pane fires");
        store.clear();
        panes.recycle(store);
        assert_eq!(
            panes
                .get_or_open(1, Vec::new)
                .expect("an open pane")
                .as_ptr(),
            at
        );
    }
}
