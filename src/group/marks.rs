//! What is remembered of a group beside its aggregates: whether it has changed since its row left, how many records it has had
//! since, and whether a row of it is out.
//!
//! ```text
//!   records --changed / counted--> held: ids, each once --let_go--> leaving --take_leaving, slice by slice--> a row each
//!                 \--the n-th record of its group: its row leaves at once
//! ```
//!
//! Law: a group waits once, however often it changes, and its row is that of the moment at which it leaves. What changes while
//! others are leaving waits for the next time, unless it is still among them.
//!
//! Per group a mark of eight bytes, in the arena of its pane; the ids that wait are a list, so that letting go costs the groups
//! that have changed and not all that there are.

use super::arena::{Arena, Segments};

/// The marks of the groups of one pane.
#[derive(Debug, Default)]
pub struct Marks {
    groups: Segments<Mark>,
    /// Groups that are held back, in the order in which they changed first.
    held: Vec<u32>,
    /// Groups that were let go, and how many of them have left.
    leaving: Vec<u32>,
    left: usize,
}

/// What is remembered of one group.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    /// Records since its row left on an n-th of them.
    records: u32,
    /// Whether it has changed since its row left.
    changed: bool,
    /// Whether it stands in one of the lists.
    listed: bool,
    standing: Standing,
}

/// Whether the last that left of a group is a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// Nothing has left yet.
    #[default]
    Nothing,
    /// A row has left, and holds.
    Out,
    /// It was withdrawn.
    Withdrawn,
}

impl Marks {
    /// Makes it `groups` groups, at least those that there are; nothing is known of the others.
    pub(super) fn grow(&mut self, groups: usize, arena: &Arena) {
        self.groups.grow(groups, arena);
    }

    /// Forgets all groups and lets go of the arena.
    pub(super) fn clear(&mut self) {
        self.groups.clear();
        self.held.clear();
        self.leaving.clear();
        self.left = 0;
    }

    /// Bytes of the lists.
    pub(super) fn list_bytes(&self) -> usize {
        (self.held.capacity() + self.leaving.capacity()) * size_of::<u32>()
    }

    /// These groups, one a record, have changed.
    pub fn changed(&mut self, groups: &[u32]) {
        for &group in groups {
            self.hold(group);
        }
    }

    /// These groups, one a record, have changed. Appends to `due` the places of the records that are the `every`-th of their group.
    pub fn counted(&mut self, groups: &[u32], every: u32, due: &mut Vec<u32>) {
        for (place, &group) in groups.iter().enumerate() {
            let mark = &mut self.groups[group as usize];
            mark.records += 1;
            if mark.records >= every {
                mark.records = 0;
                mark.changed = false;
                due.push(place as u32);
            } else {
                self.hold(group);
            }
        }
    }

    /// Counts these records, one a group, whose rows have left before.
    pub(super) fn counted_before(&mut self, groups: &[u32], every: u32) {
        for &group in groups {
            let mark = &mut self.groups[group as usize];
            mark.records = (mark.records + 1) % every;
        }
    }

    #[inline]
    fn hold(&mut self, group: u32) {
        let mark = &mut self.groups[group as usize];
        mark.changed = true;
        if !mark.listed {
            mark.listed = true;
            self.held.push(group);
        }
    }

    /// Whether a group waits, held back or leaving.
    pub fn holds(&self) -> bool {
        !self.held.is_empty() || self.is_leaving()
    }

    /// Whether groups were let go that have not left.
    pub fn is_leaving(&self) -> bool {
        self.left < self.leaving.len()
    }

    /// Whether groups are held back that were not let go.
    pub fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    /// Lets all go that are held back.
    pub fn let_go(&mut self) {
        self.leaving.append(&mut self.held);
    }

    /// The rows of these groups leave now: nobody waits for them.
    pub fn left(&mut self, groups: &[u32]) {
        for &group in groups {
            self.groups[group as usize].changed = false;
        }
    }

    /// Whether it has changed since its row left, which is forgotten: it leaves now in another way.
    pub fn take_changed(&mut self, group: u32) -> bool {
        std::mem::take(&mut self.groups[group as usize].changed)
    }

    /// Group `into` takes in group `from`, of which no more is waited for: their records add up. What has left of `from` is known
    /// on.
    pub(super) fn take_in(&mut self, into: u32, from: u32) {
        let taken = &mut self.groups[from as usize];
        taken.changed = false;
        let records = std::mem::take(&mut taken.records);
        self.groups[into as usize].records += records;
    }

    /// Nothing is known of this group: it is another from now on. One that stands in a list stands there once, as before.
    pub(super) fn forget(&mut self, group: u32) {
        let mark = &mut self.groups[group as usize];
        *mark = Mark {
            listed: mark.listed,
            ..Mark::default()
        };
    }

    /// Looks at the next groups that were let go, at most `max`, and appends those to `ids` whose row is to leave. How many were
    /// looked at.
    pub fn take_leaving(&mut self, max: usize, ids: &mut Vec<u32>) -> usize {
        let end = self.leaving.len().min(self.left.saturating_add(max));
        let looked = end - self.left;
        for &group in &self.leaving[self.left..end] {
            let mark = &mut self.groups[group as usize];
            mark.listed = false;
            // It may have left meanwhile, on its n-th record.
            if std::mem::take(&mut mark.changed) {
                ids.push(group);
            }
        }
        self.left = end;
        if !self.is_leaving() {
            self.leaving.clear();
            self.left = 0;
        }
        looked
    }

    /// What has left of `group`.
    pub fn standing(&self, group: u32) -> Standing {
        self.groups[group as usize].standing
    }

    /// Says what has left of `group`.
    pub fn stands(&mut self, group: u32, standing: Standing) {
        self.groups[group as usize].standing = standing;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(groups: usize, arena: &Arena) -> Marks {
        let mut marks = Marks::default();
        marks.grow(groups, arena);
        marks
    }

    fn taken(marks: &mut Marks, max: usize) -> Vec<u32> {
        let mut ids = Vec::new();
        marks.take_leaving(max, &mut ids);
        ids
    }

    #[test]
    fn a_group_waits_once_and_what_changes_behind_it_waits_for_the_next_time() {
        let arena = Arena::new(None);
        let mut marks = marks(3, &arena);
        marks.changed(&[2, 0, 2, 2]);
        assert_eq!((marks.held.len(), marks.is_leaving()), (2, false));
        marks.let_go();
        assert_eq!(taken(&mut marks, 1), [2]);
        // 0 is still among those that leave, 2 is not.
        marks.changed(&[2, 0, 1]);
        assert_eq!(taken(&mut marks, 5), [0]);
        assert!(marks.holds() && !marks.is_leaving());
        marks.let_go();
        assert_eq!(taken(&mut marks, 5), [2, 1]);
        assert!(!marks.holds());
    }

    #[test]
    fn the_nth_record_of_a_group_is_due_and_the_others_wait() {
        let arena = Arena::new(None);
        let mut marks = marks(2, &arena);
        let mut due = Vec::new();
        marks.counted(&[0, 1, 0, 0, 0], 2, &mut due);
        assert_eq!(due, [2, 4]);
        marks.let_go();
        assert_eq!(taken(&mut marks, 5), [1], "0 left on its fourth record");
        marks.counted_before(&[0, 1], 2);
        due.clear();
        marks.counted(&[0, 1], 2, &mut due);
        assert_eq!(due, [0], "what was counted before counts");
        marks.let_go();
        assert_eq!(taken(&mut marks, 5), [1]);
        marks.changed(&[0, 1]);
        marks.left(&[1]);
        marks.let_go();
        assert_eq!(taken(&mut marks, 5), [0], "1 has left in another way");
    }

    #[test]
    fn records_of_a_group_that_is_taken_in_count_on_and_it_is_not_waited_for() {
        let arena = Arena::new(None);
        let mut marks = marks(3, &arena);
        let mut due = Vec::new();
        marks.counted(&[0, 0, 1, 1], 3, &mut due);
        marks.take_in(1, 0);
        marks.counted(&[1, 1, 1], 3, &mut due);
        assert_eq!(due, [0], "two and two and one are more than three");
        marks.let_go();
        assert_eq!(taken(&mut marks, 5), [1]);
    }

    #[test]
    fn a_group_that_is_forgotten_in_a_list_is_another_when_it_changes() {
        let arena = Arena::new(None);
        let mut marks = marks(2, &arena);
        marks.changed(&[0, 1]);
        marks.stands(0, Standing::Out);
        marks.forget(0);
        marks.forget(1);
        assert_eq!(marks.standing(0), Standing::Nothing);
        marks.changed(&[1]);
        marks.let_go();
        assert_eq!(taken(&mut marks, 5), [1], "and stands there once");
        assert!(!marks.holds());
    }

    #[test]
    fn a_group_that_leaves_on_its_nth_record_again_and_again_stands_in_the_list_once() {
        let arena = Arena::new(None);
        let mut marks = marks(1, &arena);
        let mut due = Vec::new();
        for _ in 0..100 {
            marks.counted(&[0, 0], 2, &mut due);
        }
        assert_eq!((due.len(), marks.held.len()), (100, 1));
    }
}
