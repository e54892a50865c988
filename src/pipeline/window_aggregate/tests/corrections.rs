//! `late = update`: windows fire at their end and are corrected until their grace is over.

use super::*;

fn correcting(policy: EmitPolicy) -> Emission {
    Emission {
        policy,
        corrects: true,
    }
}

fn left(operator: &mut WindowAggregate) -> Vec<String> {
    let mut out = Vec::new();
    while operator.fire_slice(1, &mut out) {}
    sums(&out)
}

/// Key and sum of each row.
fn sums(out: &[OutputRows]) -> Vec<String> {
    let all = out.iter().flat_map(|rows| lines(&rows.batch));
    all.map(|line| {
        let columns: Vec<&str> = line.split('|').collect();
        format!("{}|{}", columns[0], columns[5])
    })
    .collect()
}

#[test]
fn a_window_fires_at_its_end_and_what_comes_behind_corrects_it_until_it_closes() {
    let mut operator = operator(&plan(true), correcting(EmitPolicy::Final));
    let mut out = Vec::new();
    let records = [record("a", 0, 1), record("b", 1, 2), record("a", 12, 4)];
    operator.rows(keyed(&records, true), &mut out);
    assert!(out.is_empty());
    assert_eq!(
        operator.closes_next(),
        Some(Watermark(SIZE)),
        "the next to fire"
    );
    operator.watermark(Watermark(SIZE), 0);
    assert!(!operator.is_idle());
    assert_eq!(left(&mut operator), ["a|1", "b|2"]);
    operator.rows(
        keyed(
            &[record("a", 9, 8), record("c", 9, 16), record("a", 13, 32)],
            true,
        ),
        &mut out,
    );
    assert_eq!(sums(&out), ["a|9", "c|16"]);
    assert_eq!(operator.corrections(), 2);
    operator.watermark(Watermark(SIZE + GRACE), 0);
    assert!(left(&mut operator).is_empty(), "its rows have left");
    out.clear();
    operator.rows(keyed(&[record("a", 9, 64)], true), &mut out);
    assert!(out.is_empty());
    assert_eq!(operator.late_after_idle(), 1);
    operator.watermark(Watermark::END, 0);
    assert_eq!(left(&mut operator), ["a|36"]);
    assert!(operator.is_idle() && operator.held().groups == 0);
}

#[test]
fn a_window_that_was_empty_at_its_end_gives_its_rows_at_once() {
    let mut operator = operator(&plan(true), correcting(EmitPolicy::Final));
    let mut out = Vec::new();
    operator.watermark(Watermark(SIZE + 1), 0);
    assert!(operator.is_idle());
    operator.rows(
        keyed(&[record("a", 9, 1), record("a", 8, 2)], true),
        &mut out,
    );
    assert_eq!(sums(&out), ["a|1", "a|3"]);
    operator.watermark(Watermark::END, 0);
    assert!(left(&mut operator).is_empty());
}

#[test]
fn a_window_that_a_life_before_has_fired_does_not_fire_again() {
    let mut operator = operator(&plan(true), correcting(EmitPolicy::Final));
    operator.watermark(Watermark(SIZE), 0);
    operator.rebuild(&keyed(&[record("a", 1, 1), record("a", 11, 2)], true));
    assert!(left(&mut operator).is_empty());
    let mut out = Vec::new();
    operator.rows(keyed(&[record("a", 2, 4)], true), &mut out);
    assert_eq!(sums(&out), ["a|5"]);
    operator.watermark(Watermark(2 * SIZE), 0);
    assert_eq!(left(&mut operator), ["a|2"]);
}

proptest! {
    #[test]
    fn the_last_row_of_a_corrected_window_is_that_of_all_its_records(steps in any_steps()) {
        let finals = model(&steps, EmitPolicy::Final, true);
        for policy in [EmitPolicy::Final, EmitPolicy::FinalAndChanges { every_us: 10 }] {
            for shards in [1, 3] {
                for steps in [steps.clone(), in_blocks_of_one(&steps)] {
                    let found = run(&steps, correcting(policy), true, shards);
                    prop_assert_eq!(found.late_after_idle, finals.late_after_idle);
                    for (identity, rows) in &finals.rows {
                        prop_assert_eq!(found.rows[identity].last(), rows.last(), "{:?}", policy);
                    }
                }
            }
        }
    }
}
