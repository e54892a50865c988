//! Groups that no longer satisfy HAVING: a tombstone each, where the row would stand, if one was out.

use super::*;

/// `SELECT k, sum(x) .. HAVING sum(x) > 2`, with these columns of the group as message key.
fn plan_of(windowed: bool) -> AggregatePlan {
    let mut plan = plan(windowed);
    let sum = column(&plan.grouped, "sum(x)").expr;
    let having = BinaryExpr::new(sum, Operator::Gt, lit(2i64));
    plan.having = Some(planned(Arc::new(having)));
    plan.rows = vec![column(&plan.grouped, "k"), column(&plan.grouped, "sum(x)")];
    plan
}

fn operator_of(plan: &AggregatePlan, key: &[&str]) -> WindowAggregate {
    let key: Vec<PlannedExpr> = key.iter().map(|name| column(&plan.grouped, name)).collect();
    let fields: Vec<Field> = key
        .iter()
        .map(|key| {
            let typed = key
                .expr
                .data_type(&plan.grouped)
                .expect("a typed expression");
            Field::new(&key.text, typed, true)
        })
        .collect();
    let maker = RowMaker::new(plan, &output(plan), &key, &Arc::new(Schema::new(fields)));
    WindowAggregate::new(plan, EmitPolicy::Changes, maker, 7, || 7, None)
        .expect("supported aggregates")
}

/// What leaves, in order: a row as its columns, a tombstone as its key behind a minus.
fn leaving(out: &[OutputRows]) -> Vec<String> {
    let mut all = Vec::new();
    for rows in out {
        let made = lines(&rows.batch);
        let (withdrawn, before) = match &rows.tombstones {
            None => (Vec::new(), Vec::new()),
            Some(tombstones) => (lines(&tombstones.key), tombstones.before.clone()),
        };
        for place in 0..=made.len() {
            let here = before.iter().zip(&withdrawn);
            let here = here.filter(|(before, _)| **before as usize == place);
            all.extend(here.map(|(_, key)| format!("-{key}")));
            all.extend(made.get(place).cloned());
        }
    }
    all
}

fn course() -> Vec<Record> {
    [
        ("a", 1),
        ("b", 9),
        ("a", 4),
        ("a", -5),
        ("b", -9),
        ("a", -1),
        ("a", 5),
        ("b", 0),
    ]
    .map(|(key, x)| record(key, 0, x))
    .to_vec()
}

#[test]
fn a_group_is_withdrawn_once_where_its_row_would_stand() {
    let plan = plan_of(false);
    let expected = ["b|9", "a|5", "-a", "-b", "a|4"];
    let mut whole = Vec::new();
    operator_of(&plan, &["k"]).rows(keyed(&course(), false), &mut whole);
    assert_eq!(leaving(&whole), expected);
    let (mut operator, mut single) = (operator_of(&plan, &["k"]), Vec::new());
    for record in course() {
        operator.rows(keyed(&[record], false), &mut single);
    }
    assert_eq!(leaving(&single), expected);
}

#[test]
fn a_window_is_withdrawn_by_its_start_and_its_group() {
    let plan = plan_of(true);
    let mut out = Vec::new();
    let mut operator = operator_of(&plan, &["k", "window_start"]);
    let records = [record("a", 0, 3), record("a", 10, 3), record("a", 1, -3)];
    operator.rows(keyed(&records, true), &mut out);
    assert_eq!(
        leaving(&out),
        ["a|3", "-a|1970-01-01T00:00:00", "a|3"],
        "by window, and in row order within one"
    );
    let withdrawn = out[0].tombstones.as_ref().expect("one is withdrawn");
    assert_eq!(withdrawn.event_times_us, [SIZE - 1]);
}

#[test]
fn a_key_that_does_not_tell_groups_apart_withdraws_none() {
    for key in [
        &[][..],
        &["window_start"],
        &["k"],
        &["k", "sum(x)", "window_start"],
    ] {
        let mut out = Vec::new();
        operator_of(&plan_of(true), key).rows(keyed(&course(), true), &mut out);
        assert!(out.iter().all(|rows| rows.tombstones.is_none()), "{key:?}");
        assert_eq!(leaving(&out), ["b|9", "a|5", "a|4"]);
    }
}

#[test]
fn a_row_that_cannot_be_computed_neither_stands_nor_withdraws() {
    let plan = plan_of(false);
    let mut operator = operator_of(&plan, &["k"]);
    let mut out = Vec::new();
    let records = [
        record("a", 0, i64::MAX),
        record("a", 0, i64::MAX),
        record("a", 0, i64::MIN),
    ];
    operator.rows(keyed(&records, false), &mut out);
    assert_eq!(
        leaving(&out),
        [format!("a|{}", i64::MAX), format!("a|{}", i64::MAX - 1)]
    );
    assert_eq!(out[0].bad.len(), 1);
    operator.rows(keyed(&[record("a", 0, i64::MIN)], false), &mut out);
    assert_eq!(leaving(&out[1..]), ["-a"]);
}

/// A life before this one may have written the group, and read its records in another order.
#[test]
fn what_may_have_been_written_before_is_withdrawn() {
    let plan = plan_of(false);
    let mut operator = operator_of(&plan, &["k"]);
    operator.doubt();
    let mut out = Vec::new();
    operator.rows(keyed(&course(), false), &mut out);
    assert_eq!(leaving(&out), ["-a", "b|9", "a|5", "-a", "-b", "a|4"]);
}
