//! What leaves a first phase, and in which order.

use super::*;
use crate::pipeline::window_aggregate::tests::{GRACE, Record, SIZE, keyed, plan};

/// What left, for comparison: partials as their pane, their groups and the records in them.
#[derive(Debug, PartialEq)]
enum Left {
    Partials(Option<i64>, usize, u64),
    Watermark(i64, i64),
    Idle,
    End,
}

fn left(phase: &mut PartialAggregate, slice: usize) -> Vec<Left> {
    std::iter::from_fn(|| phase.leave(slice))
        .map(|leaves| match leaves {
            Leaves::Partials(partials) => {
                Left::Partials(partials.pane, partials.len(), partials.records())
            }
            Leaves::Watermark { time, due_us } => Left::Watermark(time.0, due_us),
            Leaves::Idle(_) => Left::Idle,
            Leaves::End => Left::End,
        })
        .collect()
}

fn record(key: &str, time: i64) -> Record {
    Record {
        key: Some(key.to_owned()),
        time,
        x: Some(1),
        f: None,
        t: None,
    }
}

fn phase(windowed: bool) -> PartialAggregate {
    PartialAggregate::new(&plan(windowed), 7, || 0, None).expect("aggregates that can be computed")
}

#[test]
fn a_promise_is_held_below_the_close_of_what_is_unsent_and_no_lower() {
    let mut phase = phase(true);
    let records = [
        record("a", 1),
        record("b", 2),
        record("a", 3),
        record("c", 11),
        record("d", 21),
    ];
    phase.rows(&keyed(&records, true));
    phase.watermark(Watermark(5), 1);
    assert_eq!(
        left(&mut phase, 1),
        [Left::Watermark(5, 1)],
        "open panes hold no promise back"
    );
    // Closes the panes 0 and 1; 2 stays open.
    let promise = 2 * SIZE + GRACE;
    phase.watermark(Watermark(promise), 2);
    assert_eq!(
        left(&mut phase, 1),
        [
            Left::Partials(Some(0), 1, 2),
            Left::Partials(Some(0), 1, 1),
            Left::Watermark(promise - 1, 2),
            Left::Partials(Some(1), 1, 1),
            Left::Watermark(promise, 2),
        ]
    );
    assert!(!phase.is_finished());
    phase.end();
    assert_eq!(left(&mut phase, 1), [Left::End], "a stop fires nothing");
    assert!(phase.is_finished());
}

#[test]
fn the_end_of_input_lets_everything_leave_before_it_is_promised() {
    for windowed in [true, false] {
        let mut phase = phase(windowed);
        phase.rows(&keyed(&[record("a", 1), record("b", 2)], windowed));
        phase.watermark(Watermark::END, 3);
        phase.end();
        assert_eq!(
            left(&mut phase, 10),
            [
                Left::Partials(windowed.then_some(0), 2, 2),
                Left::Watermark(Watermark::END.0, 3),
                Left::End
            ]
        );
    }
}

#[test]
fn an_idle_shard_lets_open_panes_go_first_and_may_send_them_again() {
    let mut phase = phase(true);
    phase.rows(&keyed(&[record("a", 1), record("b", 12)], true));
    phase.watermark(Watermark(2), 1);
    phase.idle(Idle::ALWAYS);
    assert_eq!(
        left(&mut phase, 10),
        [
            Left::Partials(Some(0), 1, 1),
            Left::Partials(Some(1), 1, 1),
            Left::Watermark(2, 1),
            Left::Idle
        ]
    );
    phase.watermark(Watermark(2), 2);
    phase.rows(&keyed(&[record("a", 1)], true));
    phase.watermark(Watermark(SIZE + GRACE), 2);
    assert_eq!(
        left(&mut phase, 10),
        [
            // Whoever was idle says first that he holds the others.
            Left::Watermark(2, 2),
            Left::Partials(Some(0), 1, 1),
            Left::Watermark(SIZE + GRACE, 2)
        ]
    );
}

#[test]
fn an_input_that_wakes_behind_the_promise_takes_it_back_before_its_records_leave() {
    let mut phase = phase(true);
    phase.rows(&keyed(&[record("a", 1), record("b", 12)], true));
    let promise = SIZE + GRACE;
    phase.watermark(Watermark(promise), 1);
    assert_eq!(
        left(&mut phase, 10),
        [Left::Partials(Some(0), 1, 1), Left::Watermark(promise, 1)]
    );
    // The pane that has left takes records again, and the promise that follows at once does not hide the lower one.
    phase.watermark(Watermark(3), 2);
    phase.rows(&keyed(&[record("c", 4), record("a", 5)], true));
    phase.watermark(Watermark(promise + 1), 3);
    assert_eq!(phase.late_after_idle(), 0);
    assert_eq!(
        left(&mut phase, 10),
        [
            Left::Watermark(3, 3),
            Left::Partials(Some(0), 2, 2),
            Left::Watermark(promise + 1, 3)
        ]
    );
}

#[test]
fn a_shard_that_speaks_again_before_it_was_idle_is_not_idle() {
    let mut phase = phase(true);
    phase.idle(Idle::ALWAYS);
    phase.watermark(Watermark(1), 1);
    phase.rows(&keyed(&[record("a", 1)], true));
    phase.watermark(Watermark(2), 1);
    // What was let go still leaves early, which no owner minds.
    assert_eq!(
        left(&mut phase, 2),
        [Left::Partials(Some(0), 1, 1), Left::Watermark(2, 1)]
    );
}

#[test]
fn a_pane_that_went_early_and_comes_again_holds_the_promise_back() {
    let mut phase = phase(true);
    phase.rows(&keyed(
        &[record("a", 1), record("b", 12), record("c", 13)],
        true,
    ));
    phase.idle(Idle::ALWAYS);
    // Pane 0 leaves; of pane 1 one group is still here when pane 0 comes again.
    assert!(matches!(phase.leave(1), Some(Leaves::Partials(of)) if of.pane == Some(0)));
    assert!(matches!(phase.leave(1), Some(Leaves::Partials(of)) if of.pane == Some(1)));
    phase.watermark(Watermark(1), 1);
    phase.rows(&keyed(&[record("a", 1)], true));
    phase.watermark(Watermark(SIZE + GRACE), 1);
    assert_eq!(
        left(&mut phase, 1),
        [
            Left::Partials(Some(1), 1, 1),
            Left::Partials(Some(0), 1, 1),
            Left::Watermark(SIZE + GRACE, 1),
        ]
    );
}

#[test]
fn the_end_of_input_loses_nothing_of_what_is_being_let_go() {
    let mut phase = phase(false);
    phase.rows(&keyed(&[record("a", 1), record("b", 2)], false));
    phase.idle(Idle::ALWAYS);
    assert!(matches!(phase.leave(1), Some(Leaves::Partials(of)) if of.len() == 1));
    phase.watermark(Watermark::NONE, 4);
    phase.rows(&keyed(&[record("c", 1), record("c", 1)], false));
    phase.watermark(Watermark::END, 4);
    phase.end();
    assert_eq!(
        left(&mut phase, 1),
        [
            Left::Partials(None, 1, 1),
            Left::Partials(None, 1, 2),
            Left::Watermark(Watermark::END.0, 4),
            Left::End
        ]
    );
}
