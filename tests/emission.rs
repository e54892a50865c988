//! When rows leave that EMIT .. EVERY holds back, over an input without end: by the clock, and at a stop.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::process::{Ended, Folder, LIMIT};

const GROUPS: usize = 5;

/// Of each group one session, which is open at the end: a millisecond lies between two records.
const SESSIONS: &str = "WINDOW SESSION (GAP 1 HOUR)";

/// Runs this query over a generator of 2,000 records a second for 2 s, at these shards.
fn run(folder: &Folder, window: &str, emit: &str, shards: &str) -> Ended {
    folder.write(
        "job.sql",
        format!(
            "CREATE STREAM s (k VARCHAR, ts TIMESTAMP, WATERMARK FOR ts AS ts) WITH (connector = 'datagen', rate = '2000',
               'columns.k.cardinality' = '{GROUPS}', 'columns.ts.start' = '2024-01-01T00:00:00Z', 'columns.ts.step' = '1ms');
             SELECT k, COUNT(*) AS n FROM s GROUP BY k {window} EMIT {emit};"
        ),
    );
    let command = folder.velo(&[
        "run",
        "job.sql",
        "--format",
        "json",
        "--report",
        "report",
        "--duration",
        "2s",
        "--shards",
        shards,
        "--set",
        "shards.oversubscribe=true",
    ]);
    let ended = folder.start("velo", command).end_within(LIMIT);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    ended
}

/// The counts that came out of each group, in their order.
fn counts(ended: &Ended) -> BTreeMap<String, Vec<u64>> {
    let mut counts: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for line in ended.out.lines() {
        let row: Value = serde_json::from_str(line).expect("a row");
        let of_key = counts.entry(row["k"].to_string()).or_default();
        of_key.push(row["n"].as_u64().expect("a count"));
    }
    counts
}

/// Every record is in the last row of its group.
fn assert_whole(folder: &Folder, counts: &BTreeMap<String, Vec<u64>>) {
    assert_eq!(counts.len(), GROUPS);
    let last: u64 = counts.values().filter_map(|counts| counts.last()).sum();
    assert_eq!(folder.json("report")["records_in"], last);
    for of_key in counts.values() {
        assert!(of_key.is_sorted(), "{of_key:?}");
    }
}

#[test]
fn a_stop_lets_go_what_is_held_back() {
    for (window, emit) in [
        ("", "CHANGES EVERY 1 HOUR"),
        ("", "CHANGES EVERY 1000000 ROWS"),
        (SESSIONS, "CHANGES EVERY 1 HOUR"),
        (SESSIONS, "CHANGES EVERY 1000000 ROWS"),
    ] {
        for shards in ["1", "3"] {
            let folder = Folder::new();
            let counts = counts(&run(&folder, window, emit, shards));
            assert_whole(&folder, &counts);
            for of_key in counts.values() {
                assert_eq!(of_key.len(), 1, "{window} {emit}: {of_key:?}");
            }
        }
    }
}

#[test]
fn a_group_leaves_at_most_once_in_its_interval_and_does_leave() {
    for (window, shards) in [("", "1"), ("", "3"), (SESSIONS, "1"), (SESSIONS, "3")] {
        let folder = Folder::new();
        let emit = "CHANGES EVERY 300 MILLISECONDS";
        let counts = counts(&run(&folder, window, emit, shards));
        assert_whole(&folder, &counts);
        for of_key in counts.values() {
            // Six intervals in two seconds, a beginning and an end; a machine that is busy takes longer.
            assert!((3..=9).contains(&of_key.len()), "{window}: {of_key:?}");
        }
    }
}
