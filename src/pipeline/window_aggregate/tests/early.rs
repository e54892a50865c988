//! What EMIT .. EVERY holds back: by a clock that the test moves, by count, and let go by whoever asks.

use std::cell::Cell;

use super::*;

thread_local! {
    static NOW_NS: Cell<u64> = const { Cell::new(0) };
}

const EVERY_NS: u64 = 10_000;

const BY_TIME: EmitPolicy = EmitPolicy::ChangesEvery { every_us: 10 };

/// `SELECT k, sum(x)`, by the clock of the test.
fn clocked(emit: EmitPolicy, windowed: bool) -> WindowAggregate {
    NOW_NS.set(0);
    let mut plan = plan(windowed);
    plan.rows = vec![column(&plan.grouped, "k"), column(&plan.grouped, "sum(x)")];
    let nothing: SchemaRef = Arc::new(Schema::empty());
    let maker = RowMaker::new(&plan, &output(&plan), &[], &nothing);
    WindowAggregate::new(&plan, emit, maker, 7, || NOW_NS.get(), None)
        .expect("supported aggregates")
}

/// A turn at this time: the rows that leave.
fn turn(operator: &mut WindowAggregate, now_ns: u64) -> Vec<String> {
    NOW_NS.set(now_ns);
    let mut out = Vec::new();
    operator.look_at_clock();
    while operator.fire_slice(2, &mut out) {}
    out.iter().flat_map(|rows| lines(&rows.batch)).collect()
}

fn add(operator: &mut WindowAggregate, records: &[Record], windowed: bool) {
    let mut out = Vec::new();
    operator.rows(keyed(records, windowed), &mut out);
    assert!(out.is_empty(), "rows are held back");
}

#[test]
fn the_latest_row_of_each_changed_group_leaves_when_the_clock_says_so() {
    let mut operator = clocked(BY_TIME, false);
    assert_eq!(operator.lets_go_ns(), None, "nothing is held back");
    let records = [
        record("a", 0, 1),
        record("b", 0, 2),
        record("a", 0, 4),
        record("c", 0, 8),
    ];
    add(&mut operator, &records, false);
    assert_eq!(operator.lets_go_ns(), Some(EVERY_NS));
    assert!(operator.holds_back() && operator.is_idle());
    assert!(turn(&mut operator, EVERY_NS - 1).is_empty());
    assert_eq!(turn(&mut operator, EVERY_NS), ["a|5", "b|2", "c|8"]);
    assert!(!operator.holds_back() && operator.lets_go_ns().is_none());

    // The clock is set anew by the next change, and nothing leaves that has not changed.
    NOW_NS.set(30_000);
    add(&mut operator, &[record("b", 0, 1)], false);
    assert_eq!(operator.lets_go_ns(), Some(40_000));
    assert!(turn(&mut operator, 39_999).is_empty());
    assert_eq!(turn(&mut operator, 41_000), ["b|3"]);
    assert!(turn(&mut operator, 90_000).is_empty());
}

#[test]
fn what_changes_while_others_leave_waits_for_the_next_time() {
    let mut operator = clocked(BY_TIME, false);
    add(
        &mut operator,
        &[record("a", 0, 1), record("b", 0, 2), record("c", 0, 4)],
        false,
    );
    NOW_NS.set(EVERY_NS);
    operator.look_at_clock();
    let mut out = Vec::new();
    assert!(operator.fire_slice(1, &mut out));
    assert_eq!(lines(&out[0].batch), ["a|1"]);
    // a has left and waits again; b has not, and says what it is when it leaves.
    add(
        &mut operator,
        &[record("a", 0, 10), record("b", 0, 20)],
        false,
    );
    assert_eq!(operator.lets_go_ns(), Some(2 * EVERY_NS));
    assert_eq!(turn(&mut operator, EVERY_NS), ["b|22", "c|4"]);
    assert_eq!(turn(&mut operator, 2 * EVERY_NS), ["a|11"]);
}

#[test]
fn a_close_lets_go_what_its_window_holds_back_and_no_other() {
    let mut operator = clocked(BY_TIME, true);
    add(
        &mut operator,
        &[record("a", 0, 1), record("b", 11, 2), record("a", 1, 4)],
        true,
    );
    operator.watermark(Watermark(SIZE + GRACE), 0);
    assert_eq!(turn(&mut operator, 1), ["a|5"]);
    assert!(operator.holds_back());
    assert_eq!(turn(&mut operator, EVERY_NS), ["b|2"]);
    operator.watermark(Watermark::END, 0);
    assert!(
        turn(&mut operator, EVERY_NS).is_empty(),
        "it has left and not changed"
    );
    assert!(!operator.holds_back() && operator.is_idle());
}

#[test]
fn the_clock_rests_when_a_close_has_let_go_all_that_was_held() {
    let mut operator = clocked(BY_TIME, true);
    add(&mut operator, &[record("a", 0, 1)], true);
    operator.watermark(Watermark(SIZE + GRACE), 0);
    assert_eq!(turn(&mut operator, 1), ["a|1"]);
    assert_eq!(operator.lets_go_ns(), None, "nothing is held back");
    NOW_NS.set(5);
    add(&mut operator, &[record("a", 21, 2)], true);
    assert_eq!(operator.lets_go_ns(), Some(EVERY_NS + 5));
}

#[test]
fn whoever_commits_or_stops_lets_go_without_the_clock() {
    for emit in [BY_TIME, EmitPolicy::ChangesEveryRows { rows: 3 }] {
        for windowed in [false, true] {
            let mut operator = clocked(emit, windowed);
            add(
                &mut operator,
                &[record("a", 0, 1), record("b", 0, 2), record("a", 0, 4)],
                windowed,
            );
            assert!(turn(&mut operator, 1).is_empty());
            operator.let_held_go();
            assert!(!operator.is_idle());
            assert_eq!(turn(&mut operator, 1), ["a|5", "b|2"]);
            assert!(!operator.holds_back());
        }
    }
}

#[test]
fn every_nth_record_of_a_group_gives_its_row_also_behind_what_was_let_go() {
    let mut operator = clocked(EmitPolicy::ChangesEveryRows { rows: 2 }, false);
    let mut out = Vec::new();
    let records = [
        record("a", 0, 1),
        record("b", 0, 2),
        record("a", 0, 4),
        record("a", 0, 8),
    ];
    operator.rows(keyed(&records, false), &mut out);
    assert_eq!(lines(&out[0].batch), ["a|5"]);
    operator.let_held_go();
    assert_eq!(turn(&mut operator, 0), ["a|13", "b|2"]);
    out.clear();
    operator.rows(
        keyed(&[record("a", 0, 16), record("b", 0, 32)], false),
        &mut out,
    );
    assert_eq!(
        lines(&out[0].batch),
        ["a|29", "b|34"],
        "the fourth of a, the second of b"
    );
    operator.watermark(Watermark::END, 0);
    assert!(turn(&mut operator, 0).is_empty());
}

#[test]
fn records_that_were_read_before_are_counted_and_give_no_row() {
    let mut operator = clocked(EmitPolicy::ChangesEveryRows { rows: 2 }, true);
    operator.rebuild(&keyed(
        &[record("a", 0, 1), record("b", 0, 2), record("a", 0, 4)],
        true,
    ));
    assert!(!operator.holds_back() && turn(&mut operator, 0).is_empty());
    let mut out = Vec::new();
    operator.rows(
        keyed(&[record("a", 0, 8), record("b", 0, 16)], true),
        &mut out,
    );
    assert_eq!(lines(&out[0].batch), ["b|18"]);
    operator.watermark(Watermark::END, 0);
    assert_eq!(turn(&mut operator, 0), ["a|13"]);
}

proptest! {
    #[test]
    fn the_last_row_that_leaves_early_is_the_final_one(steps in any_steps(), rows in 1u32..4) {
        let early = [BY_TIME, EmitPolicy::ChangesEveryRows { rows }, EmitPolicy::FinalAndChanges { every_us: 10 }];
        for windowed in [true, false] {
            let finals = model(&steps, EmitPolicy::Final, windowed);
            for emit in early {
                for shards in [1, 3] {
                    let found = run(&steps, emit, windowed, shards);
                    prop_assert_eq!(found.late_after_idle, finals.late_after_idle);
                    for (identity, rows) in &finals.rows {
                        prop_assert_eq!(found.rows[identity].last(), rows.last(), "{:?}", emit);
                    }
                }
            }
        }
    }

    #[test]
    fn groups_leave_once_for_each_n_of_their_records_and_for_the_rest(mut steps in any_steps(), every in 1u32..4) {
        for step in &mut steps {
            step.lets_go = false;
        }
        let changes = model(&steps, EmitPolicy::Changes, true);
        let found = run(&steps, EmitPolicy::ChangesEveryRows { rows: every }, true, 2);
        if changes.bad == 0 {
            for (identity, rows) in &changes.rows {
                let times = rows.len().div_ceil(every as usize);
                prop_assert_eq!(found.rows[identity].len(), times);
                for (place, row) in found.rows[identity].iter().enumerate() {
                    let nth = ((place + 1) * every as usize).min(rows.len());
                    prop_assert_eq!(row, &rows[nth - 1]);
                }
            }
        }
    }
}
