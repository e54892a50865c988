//! What is withdrawn between the rows: groups that no longer satisfy HAVING, and starts that sessions had before.
//!
//! ```text
//!   rows      row 0      row 1      (refused)      row 2
//!   moved            ^ the session of row 1 began elsewhere      ^ another one, which has no row
//!   tombstones       |   its key and old start        |  group   |
//! ```
//!
//! Laws: a tombstone stands where that which causes it happened, among the rows and the other moves; and of a group that has marks,
//! only what is out is withdrawn. What says which row it withdraws is the group's key and its bounds, so no row need be there.

use std::sync::Arc;

use datafusion_common::arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};
use datafusion_common::arrow::compute::interleave;
use datafusion_physical_expr::expressions::Column;

use super::{Fate, Marked, RowMaker};
use crate::batch::{Isolated, evaluate_isolated, take_columns, under};
use crate::emit::Tombstones;
use crate::group::Standing;
use crate::plan::{AggregatePlan, PlannedExpr, WindowSpec};

/// Sessions that begin elsewhere now, in the order in which that happened.
#[derive(Debug, Default)]
pub struct MovedSessions {
    /// Their key columns.
    pub keys: Vec<ArrayRef>,
    /// What happened to each.
    pub each: Vec<Moved>,
}

/// A session that begins elsewhere now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Before which row it happened; the number of rows, if behind all.
    pub before: u32,
    /// The session's group.
    pub group: u32,
    /// Where the window began that is not any more.
    pub start: i64,
    /// Where its window ends.
    pub end: i64,
    /// The group that it took in, whose identity it has now.
    pub took_in: Option<u32>,
}

/// What is withdrawn: the identity of a row that was made of a group, or of a session that moved.
#[derive(Clone, Copy)]
enum Withdrawn {
    Row(usize),
    Moved(usize),
}

impl RowMaker {
    /// Notes what is out of each group after its row. The message keys of what is withdrawn, and before which of the rows that were
    /// made each stands.
    pub(super) fn withdrawn(
        &self,
        all: &RecordBatch,
        fates: &[Fate],
        mut marked: Option<Marked<'_>>,
        moved: MovedSessions,
    ) -> Option<Tombstones> {
        if let Some(Marked { groups, .. }) = &marked {
            assert_eq!(groups.len(), fates.len(), "a group for every row");
        }
        let (mut made, mut found, mut before) = (0, Vec::new(), Vec::new());
        let mut moves = moved.each.iter().enumerate().peekable();
        for row in 0..=fates.len() {
            while let Some((place, one)) = moves.next_if(|(_, one)| one.before as usize <= row) {
                if self.was_out(&mut marked, one) {
                    found.push(Withdrawn::Moved(place));
                    before.push(made);
                }
            }
            let Some(&fate) = fates.get(row) else {
                break;
            };
            made += u32::from(fate == Fate::Made);
            let Some(Marked { marks, groups }) = &mut marked else {
                continue;
            };
            let group = groups[row];
            match fate {
                Fate::Withheld => {}
                Fate::Made => marks.stands(group, Standing::Out),
                Fate::Refused => {
                    let holds = match marks.standing(group) {
                        Standing::Out => true,
                        Standing::Nothing => self.doubts,
                        Standing::Withdrawn => false,
                    };
                    if holds {
                        marks.stands(group, Standing::Withdrawn);
                        found.push(Withdrawn::Row(row));
                        before.push(made);
                    }
                }
            }
        }
        if found.is_empty() {
            return None;
        }
        let identities = under(
            &self.identity,
            self.identities(all, &found, moved),
            found.len(),
        );
        let event_times_us =
            self.event_times(&identities, &(0..found.len() as u32).collect::<Vec<u32>>());
        let key = &self.expressions[self.output.fields().len()..];
        let Isolated { columns, bad, .. } = evaluate_isolated(key, &identities);
        assert!(
            bad.is_empty(),
            "a key that is columns of the group can be computed"
        );
        let schema = self.key.as_ref().expect("what withdraws has a message key");
        Some(Tombstones {
            key: under(schema, columns, found.len()),
            before,
            event_times_us,
        })
    }

    /// Keys and bounds of what is withdrawn.
    fn identities(
        &self,
        all: &RecordBatch,
        found: &[Withdrawn],
        moved: MovedSessions,
    ) -> Vec<ArrayRef> {
        let of_rows = &all.columns()[..self.identity.fields().len()];
        let MovedSessions { keys, each } = moved;
        if each.is_empty() {
            let row = |one: &Withdrawn| match *one {
                Withdrawn::Row(place) | Withdrawn::Moved(place) => place as u32,
            };
            return take_columns(of_rows, &found.iter().map(row).collect::<Vec<u32>>());
        }
        let bound = |of: fn(&Moved) -> i64| -> ArrayRef {
            Arc::new(TimestampMicrosecondArray::from_iter_values(
                each.iter().map(of),
            ))
        };
        let mut of_moved = self.in_form(keys);
        of_moved.extend([bound(|one| one.start), bound(|one| one.end)]);
        let places: Vec<(usize, usize)> = found
            .iter()
            .map(|one| match *one {
                Withdrawn::Row(row) => (0, row),
                Withdrawn::Moved(place) => (1, place),
            })
            .collect();
        let both = of_rows.iter().zip(&of_moved);
        both.map(|(row, moved)| {
            interleave(&[row.as_ref(), moved.as_ref()], &places)
                .expect("columns of one type, and places in them")
        })
        .collect()
    }

    /// Whether a row is out of the window that has moved. The group has the identity now of what it took in, or a new one.
    fn was_out(&self, marked: &mut Option<Marked<'_>>, moved: &Moved) -> bool {
        let Some(Marked { marks, .. }) = marked else {
            return true;
        };
        let was = marks.standing(moved.group);
        let now = moved.took_in.map_or(Standing::Nothing, |taken| {
            let standing = marks.standing(taken);
            marks.stands(taken, Standing::Nothing);
            standing
        });
        marks.stands(moved.group, now);
        was == Standing::Out || was == Standing::Nothing && self.doubts
    }
}

/// Whether the message key `key` is columns of the group alone, and all that tell one group from another.
pub(super) fn is_identity(plan: &AggregatePlan, key: &[PlannedExpr]) -> bool {
    let columns: Vec<Option<usize>> = key
        .iter()
        .map(|part| part.expr.downcast_ref::<Column>().map(Column::index))
        .collect();
    let has = |place: usize| columns.contains(&Some(place));
    let start = plan.keys.len();
    let bounded = match plan.window {
        None => true,
        // Several of them begin together.
        Some(WindowSpec::Cumulate { .. }) => has(start + 1),
        // The end of a session moves with its records.
        Some(WindowSpec::Session { .. }) => has(start) && !has(start + 1),
        Some(WindowSpec::Tumbling { .. } | WindowSpec::Hopping { .. }) => {
            has(start) || has(start + 1)
        }
    };
    let of_group = |place: &Option<usize>| {
        place.is_some_and(|place| place < start + if plan.window.is_some() { 2 } else { 0 })
    };
    !key.is_empty() && columns.iter().all(of_group) && (0..start).all(has) && bounded
}
