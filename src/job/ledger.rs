//! What was handed over and what was acknowledged, by epoch.
//!
//! Law: everything handed to a sink before an epoch was sealed bears the epoch's mark, and nothing handed over after does; the
//! epoch is settled when as much with its mark was acknowledged as was handed over. Acknowledgements come in any order, so a
//! count without the mark would not tell.
//!
//! Rows count, and so does whatever else must be safe before an offset is committed: who hands a dead letter to its sink takes
//! a mark for it here (`handed_over`), and gives it back with the acknowledgement (`acknowledged`).

/// Counts by the mark of an epoch. Two epochs have something under way at a time: the open one and the one sealed last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ledger {
    open: u8,
    under_way: [u64; 2],
}

impl Ledger {
    /// So much is being handed over; the mark that it bears.
    pub(super) fn handed_over(&mut self, count: u64) -> u8 {
        self.under_way[usize::from(self.open)] += count;
        self.open
    }

    /// So much with this mark was acknowledged.
    pub(super) fn acknowledged(&mut self, mark: u8, count: u64) {
        let under_way = &mut self.under_way[usize::from(mark)];
        assert!(
            count <= *under_way,
            "more was acknowledged than handed over"
        );
        *under_way -= count;
    }

    /// Seals the open epoch: what follows bears another mark. Returns the mark of what came before. The one sealed last must be
    /// settled.
    pub(super) fn seal(&mut self) -> u8 {
        let sealed = self.open;
        self.open ^= 1;
        assert!(
            self.is_settled(self.open),
            "an epoch is settled before the next is sealed"
        );
        sealed
    }

    /// Whether everything with this mark was acknowledged.
    pub(super) fn is_settled(&self, mark: u8) -> bool {
        self.under_way[usize::from(mark)] == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_settled_by_its_own_acknowledgements_only() {
        let mut ledger = Ledger::default();
        let before = ledger.handed_over(3);
        let sealed = ledger.seal();
        assert_eq!(before, sealed);
        let after = ledger.handed_over(5);
        assert_ne!(after, sealed);
        ledger.acknowledged(after, 3);
        assert!(!ledger.is_settled(sealed));
        ledger.acknowledged(sealed, 3);
        assert!(ledger.is_settled(sealed) && !ledger.is_settled(after));
        assert_eq!(ledger.seal(), after);
    }
}
