//! Every emission into a topic whose message key is the group and the start: what stands there at any time, and at the end.

use super::*;

const EVERY_US: i64 = 10;

const BY_TIME: EmitPolicy = EmitPolicy::ChangesEvery { every_us: EVERY_US };

const WITH_FINAL: EmitPolicy = EmitPolicy::FinalAndChanges { every_us: EVERY_US };

fn correcting(policy: EmitPolicy) -> Emission {
    Emission {
        policy,
        corrects: true,
    }
}

fn all_emissions(rows: u32) -> [Emission; 6] {
    [
        EmitPolicy::Changes.into(),
        BY_TIME.into(),
        EmitPolicy::ChangesEveryRows { rows }.into(),
        WITH_FINAL.into(),
        correcting(EmitPolicy::Final),
        correcting(WITH_FINAL),
    ]
}

/// An operator into a keyed topic, and what stands in it.
struct Topic {
    operator: SessionAggregate,
    /// By message key.
    standing: BTreeMap<String, String>,
    /// All that has left, tombstones as `-key`.
    left: Vec<String>,
}

impl Topic {
    /// Only sessions with `least` records at least stand.
    fn new(emission: impl Into<Emission>, least: i64, grace_us: i64) -> Topic {
        NOW_NS.set(0);
        let mut plan = plan();
        plan.window = Some(WindowSpec::Session {
            gap_us: GAP,
            grace_us,
        });
        let count = Arc::new(Column::new("count(*)", 3));
        plan.having = (least > 1).then(|| PlannedExpr {
            expr: Arc::new(BinaryExpr::new(count, Operator::GtEq, lit(least))),
            text: String::from("having"),
        });
        let grouped = Arc::clone(&plan.grouped);
        let key: Vec<PlannedExpr> = (0..2)
            .map(|place| PlannedExpr {
                expr: Arc::new(Column::new(grouped.field(place).name(), place)),
                text: grouped.field(place).name().clone(),
            })
            .collect();
        let key_columns: SchemaRef = Arc::new(Schema::new(grouped.fields()[..2].to_vec()));
        let maker = RowMaker::new(&plan, &output(&plan), &key, &key_columns);
        let sessions = plan.window.as_ref().and_then(Sessions::of);
        let sessions = sessions.expect("the plan is one of sessions");
        let now = || NOW_NS.get();
        Topic {
            operator: SessionAggregate::new(&plan, sessions, emission.into(), maker, 7, now, None)
                .expect("supported"),
            standing: BTreeMap::new(),
            left: Vec::new(),
        }
    }

    fn rows(&mut self, records: &[Record]) {
        let mut out = Vec::new();
        self.operator.rows(rows_of(records), &mut out);
        self.take(out);
    }

    fn slice(&mut self, max: usize) -> bool {
        let mut out = Vec::new();
        let more = self.operator.fire_slice(max, &mut out);
        self.take(out);
        more
    }

    fn watermark(&mut self, time: i64) {
        self.operator.watermark(Watermark(time), 0);
        while self.slice(2) {}
    }

    fn let_go(&mut self) {
        self.operator.let_held_go();
        while self.slice(2) {}
    }

    /// What has left since this was last asked: key, start, count of each.
    fn short(&mut self) -> Vec<String> {
        let left = std::mem::take(&mut self.left);
        let short = left.iter().map(|line| {
            let columns: Vec<&str> = line.split('|').collect();
            let start = columns[1].trim_start_matches("1970-01-01T00:00:00");
            let start = match start {
                "" => "0",
                fraction => fraction.trim_start_matches(['.', '0']),
            };
            match columns.get(3) {
                Some(count) => format!("{}@{start} {count}", columns[0]),
                None => format!("{}@{start}", columns[0]),
            }
        });
        short.collect()
    }

    fn take(&mut self, out: Vec<OutputRows>) {
        for made in out {
            let keys = lines(made.key.as_ref().expect("rows have a key"));
            let (withdrawn, before) = match &made.tombstones {
                None => (Vec::new(), &[][..]),
                Some(tombstones) => {
                    assert_eq!(tombstones.event_times_us.len(), tombstones.before.len());
                    (lines(&tombstones.key), tombstones.before.as_slice())
                }
            };
            let mut withdrawn = before.iter().zip(withdrawn).peekable();
            let mut rows = keys.into_iter().zip(lines(&made.batch));
            for row in 0..=made.batch.num_rows() {
                while let Some((_, key)) = withdrawn.next_if(|(before, _)| **before as usize <= row)
                {
                    assert!(self.standing.remove(&key).is_some(), "{key} does not stand");
                    self.left.push(format!("-{key}"));
                }
                if let Some((key, line)) = rows.next() {
                    self.standing.insert(key, line.clone());
                    self.left.push(line);
                }
            }
        }
    }
}

fn count(row: &str) -> i64 {
    let count = row.split('|').nth(3).and_then(|count| count.parse().ok());
    count.expect("a row has a count")
}

fn at(key: &str, time: i64) -> Record {
    Record {
        key: Some(String::from(key)),
        time,
        x: Some(1),
        f: None,
        t: None,
    }
}

#[test]
fn the_latest_row_of_each_session_leaves_by_the_clock_with_the_window_of_then() {
    let mut topic = Topic::new(BY_TIME, 1, GRACE);
    topic.rows(&[at("a", 20), at("b", 5), at("a", 15)]);
    assert_eq!(topic.operator.lets_go_ns(), Some(10_000));
    NOW_NS.set(9_999);
    topic.operator.look_at_clock();
    assert!(topic.operator.is_idle() && topic.operator.holds_back());
    NOW_NS.set(10_000);
    topic.operator.look_at_clock();
    while topic.slice(1) {}
    assert_eq!(topic.short(), ["a@15 2", "b@5 1"]);
    assert!(!topic.operator.holds_back() && topic.operator.lets_go_ns().is_none());
    // What was out under a start that is gone is withdrawn with the record that moved it.
    topic.rows(&[at("a", 5)]);
    assert_eq!(topic.short(), ["-a@15"]);
    topic.let_go();
    assert_eq!(topic.short(), ["a@5 3"]);
    topic.watermark(40);
    assert!(topic.short().is_empty(), "it has left and not changed");
    assert!(topic.operator.is_idle() && topic.operator.held().groups == 0);
}

#[test]
fn what_was_never_out_withdraws_nothing() {
    let mut topic = Topic::new(BY_TIME, 1, GRACE);
    topic.rows(&[at("a", 20), at("a", 0), at("a", 10)]);
    topic.let_go();
    assert_eq!(topic.short(), ["a@0 3"]);
}

#[test]
fn sessions_that_become_one_withdraw_the_later_start_if_it_is_out() {
    let mut topic = Topic::new(BY_TIME, 1, GRACE);
    topic.rows(&[at("a", 20), at("a", 0)]);
    topic.let_go();
    topic.rows(&[at("a", 10)]);
    topic.let_go();
    assert_eq!(topic.short(), ["a@20 1", "a@0 1", "-a@20", "a@0 3"]);
}

#[test]
fn a_session_that_is_taken_in_while_it_leaves_does_not() {
    let mut topic = Topic::new(BY_TIME, 1, GRACE);
    topic.rows(&[at("a", 0), at("a", 20), at("b", 0)]);
    topic.operator.let_held_go();
    topic.rows(&[at("a", 10)]);
    while topic.slice(1) {}
    topic.let_go();
    assert_eq!(topic.short(), ["a@0 3", "b@0 1"]);
}

#[test]
fn a_close_lets_go_what_its_session_holds_back_and_the_clock_rests_when_nothing_is_open() {
    let mut topic = Topic::new(BY_TIME, 1, GRACE);
    topic.rows(&[at("a", 0), at("b", 60)]);
    topic.watermark(14);
    assert_eq!(topic.short(), ["a@0 1"]);
    assert!(topic.operator.holds_back());
    topic.operator.watermark(Watermark::END, 0);
    while topic.slice(1) {}
    assert_eq!(topic.short(), ["b@60 1"]);
    assert!(!topic.operator.holds_back() && topic.operator.lets_go_ns().is_none());
}

#[test]
fn counts_of_sessions_that_become_one_add_up() {
    let mut topic = Topic::new(EmitPolicy::ChangesEveryRows { rows: 3 }, 1, GRACE);
    // Two and two and the one that bridges: a row of five. Then it counts from none.
    let records = [0, 1, 20, 21, 10, 2, 3];
    topic.rows(&records.map(|time| at("a", time)));
    assert_eq!(topic.short(), ["a@0 5"]);
    topic.rows(&[at("a", 4)]);
    assert_eq!(topic.short(), ["a@0 8"]);
    topic.rows(&[at("a", 5)]);
    topic.watermark(90);
    assert_eq!(topic.short(), ["a@0 9"]);
}

#[test]
fn a_final_row_follows_the_early_ones() {
    let mut topic = Topic::new(WITH_FINAL, 1, GRACE);
    topic.rows(&[at("a", 5)]);
    topic.let_go();
    topic.watermark(30);
    assert_eq!(topic.short(), ["a@5 1", "a@5 1"]);
}

#[test]
fn a_session_is_shown_at_its_end_and_corrected_until_its_grace_is_over() {
    let mut topic = Topic::new(correcting(EmitPolicy::Final), 1, GRACE);
    topic.rows(&[at("a", 10), at("b", 12)]);
    assert_eq!(topic.operator.closes_next(), Some(Watermark(1)), "about");
    topic.watermark(20);
    assert!(topic.short().is_empty(), "not at its end, but beyond");
    topic.watermark(21);
    assert_eq!(topic.short(), ["a@10 1"]);
    // It reaches one that has fired, and opens it again: it leaves with its record, and at its new end.
    topic.rows(&[at("a", 18)]);
    assert_eq!(topic.short(), ["a@10 2"]);
    topic.rows(&[at("a", 19), at("b", 19)]);
    assert!(topic.short().is_empty());
    topic.watermark(30);
    assert_eq!(topic.short(), ["b@12 2", "a@10 3"]);
    assert_eq!(topic.operator.corrections(), 1);
    topic.rows(&[at("a", 27)]);
    assert_eq!(topic.short(), ["a@10 4"]);
    topic.operator.watermark(Watermark::END, 0);
    while topic.slice(1) {}
    assert_eq!(topic.short(), ["a@10 4"]);
    assert_eq!(topic.operator.held().groups, 0);
}

/// Only a grace longer than the gap lets a record come before a session that was shown.
#[test]
fn a_correction_that_moves_the_start_withdraws_the_row_that_was_shown() {
    let mut topic = Topic::new(correcting(EmitPolicy::Final), 1, 25);
    topic.rows(&[at("a", 11), at("b", 0), at("b", 20)]);
    topic.watermark(22);
    assert_eq!(topic.short(), ["b@0 1", "a@11 1"]);
    topic.rows(&[at("a", 5)]);
    assert_eq!(topic.short(), ["-a@11", "a@5 2"]);
    // It bridges one that was shown and one that waits for its end, of which no row is out.
    topic.rows(&[at("b", 10)]);
    assert_eq!(topic.short(), ["b@0 3"]);
    topic.watermark(31);
    assert_eq!(topic.short(), ["b@0 3"], "at the end that it has now");
    topic.rows(&[at("c", 20), at("c", 6), at("c", 16)]);
    let expected = ["c@20 1", "c@6 1", "-c@20", "c@6 3"];
    assert_eq!(topic.short(), expected, "shown at once, and made one");
    topic.operator.watermark(Watermark::END, 0);
    while topic.slice(1) {}
    assert!(topic.short().is_empty());
}

/// One step of a run, with the clock's part: nanoseconds that go by, and whether all is asked for.
#[derive(Clone, Debug)]
struct Timed {
    step: Step,
    pass_ns: u64,
    asks: bool,
}

fn any_timed() -> impl Strategy<Value = Vec<Timed>> {
    let timed = (
        any_steps(),
        prop::collection::vec((0u64..12_000, prop::bool::weighted(0.3)), 8),
    );
    timed.prop_map(|(steps, times)| {
        let both = steps.into_iter().zip(times);
        both.map(|(step, (pass_ns, asks))| Timed {
            step,
            pass_ns,
            asks,
        })
        .collect()
    })
}

proptest! {
    #[test]
    fn what_stands_is_of_sessions_that_there_are_and_at_the_end_the_final_rows(
        steps in any_timed(), least in 1i64..4, rows in 1u32..4, grace in prop::sample::select(vec![GRACE, 30]),
    ) {
        for emission in all_emissions(rows) {
            let mut topic = Topic::new(emission, least, grace);
            let (mut kept, mut watermark) = (Vec::new(), i64::MIN);
            for Timed { step, pass_ns, asks } in &steps {
                topic.rows(&step.records);
                kept.extend(step.records.iter().filter(|one| one.time + grace >= watermark).cloned());
                let there_are = naive(&kept);
                let identities: BTreeSet<String> = there_are.iter().map(|row| identity(row)).collect();
                for row in topic.standing.values() {
                    prop_assert!(identities.contains(&identity(row)), "{:?}: {} is no session", emission, row);
                }
                topic.operator.watermark(Watermark(step.watermark), 0);
                watermark = watermark.max(step.watermark);
                for &sessions in &step.slices {
                    topic.slice(sessions);
                }
                NOW_NS.set(NOW_NS.get() + pass_ns);
                topic.operator.look_at_clock();
                if *asks {
                    topic.let_go();
                    let holds = emission.policy == EmitPolicy::Final;
                    let is_shown = |row: &&String| !holds || ends_before(row, watermark);
                    let expected = there_are.iter().filter(|row| count(row) >= least).filter(is_shown);
                    let standing: BTreeMap<&str, &String> = topic.standing.values().map(|row| (row.as_str(), row)).collect();
                    for row in expected {
                        prop_assert!(standing.contains_key(row.as_str()), "{:?}: {} does not stand", emission, row);
                    }
                }
            }
            topic.operator.watermark(Watermark::END, 0);
            while topic.slice(2) {}
            prop_assert!(!topic.operator.holds_back() && topic.operator.lets_go_ns().is_none());
            let expected: Vec<String> = naive(&kept).into_iter().filter(|row| count(row) >= least).collect();
            let standing: Vec<String> = topic.standing.into_values().collect();
            prop_assert_eq!(sorted(standing), sorted(expected), "{:?}", emission);
        }
    }

    #[test]
    fn rows_on_every_nth_record_do_not_depend_on_where_blocks_end(steps in any_steps(), every in 1u32..5, least in 1i64..3) {
        let emission = Emission::from(EmitPolicy::ChangesEveryRows { rows: every });
        let mut left = Vec::new();
        for block in [1, 2, 100] {
            let mut topic = Topic::new(emission, least, GRACE);
            for step in &steps {
                for records in step.records.chunks(block) {
                    topic.rows(records);
                }
                topic.watermark(step.watermark);
            }
            topic.operator.watermark(Watermark::END, 0);
            while topic.slice(2) {}
            left.push(topic.left);
        }
        prop_assert_eq!(sorted(left[0].clone()), sorted(left[1].clone()));
        prop_assert_eq!(sorted(left[0].clone()), sorted(left[2].clone()));
        let (kept, _) = accepted(&steps);
        let rows = left.swap_remove(0).into_iter().filter(|line| !line.starts_with('-'));
        let expected = nth_rows(&kept, every).into_iter().filter(|row| count(row) >= least);
        prop_assert_eq!(sorted(rows.collect()), sorted(expected.collect()));
    }
}

/// Whether the window of a row ends before `watermark`.
fn ends_before(row: &str, watermark: i64) -> bool {
    let end = row.split('|').nth(2).expect("a row has an end");
    let (of_second, negative) = match end.split_once('.') {
        Some((whole, fraction)) => (fraction.to_owned(), !whole.starts_with("1970")),
        None => (String::from("0"), !end.starts_with("1970")),
    };
    let micros: i64 = format!("{of_second:0<6}").parse().expect("a fraction");
    let micros = if negative { micros - 1_000_000 } else { micros };
    micros < watermark
}

/// The rows on every `every`-th record and at last, by the plainest means: what a session has counted stands under its start.
fn nth_rows(records: &[Record], every: u32) -> Vec<String> {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    let mut rows = Vec::new();
    for number in 0..records.len() {
        let before: BTreeMap<String, String> = naive(&records[..number])
            .into_iter()
            .map(|row| (identity(&row), row))
            .collect();
        let after = naive(&records[..=number]);
        let there_are: BTreeSet<String> = after.iter().map(|row| identity(row)).collect();
        let changed = after
            .into_iter()
            .find(|row| before.get(&identity(row)) != Some(row));
        let changed = changed.expect("a record changes its session");
        let mut records = 1 + counts.remove(&identity(&changed)).unwrap_or(0);
        // Starts that are gone: the record's session has what they counted.
        counts.retain(|identity, count| {
            let stays = there_are.contains(identity);
            records += if stays { 0 } else { *count };
            stays
        });
        if records >= every {
            rows.push(changed);
        } else {
            counts.insert(identity(&changed), records);
        }
    }
    let rest = naive(records)
        .into_iter()
        .filter(|row| counts.contains_key(&identity(row)));
    rows.extend(rest);
    rows
}
