//! A file dealt to all shards gives what it gives to one: many records, bad ones of every kind and late ones among them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::process::{Folder, LIMIT};

const RECORDS: u64 = 30_000;

/// Shards, the largest batch, the blocks of a lane. At one shard nothing is dealt.
const RUNS: [(u32, u32, u32); 6] = [
    (1, 1024, 64),
    (2, 1024, 64),
    (2, 1, 1),
    (3, 100, 2),
    (7, 1024, 64),
    (7, 13, 1),
];

/// A tolerance for doubles, relative.
const NEAR: f64 = 1e-9;

const QUERIES: &str = "
CREATE STREAM global WITH (connector = 'file', path = 'global.json') AS
SELECT COUNT(*) AS c, SUM(n) AS n, MIN(x) AS least, MAX(x) AS most, AVG(x) AS mean FROM s EMIT FINAL;
CREATE STREAM minutes AS
SELECT k, COUNT(*) AS c, SUM(x) AS x FROM s WHERE n <> 5 GROUP BY k WINDOW TUMBLING (SIZE 1 MINUTE);
CREATE STREAM chained WITH (connector = 'file', path = 'chained.json') AS
SELECT k, window_start, SUM(c) AS c, SUM(x) AS x FROM minutes GROUP BY k WINDOW TUMBLING (SIZE 1 HOUR);
SELECT k, window_start, COUNT(*) AS c, SUM(n) AS n, AVG(x) AS x FROM s
GROUP BY k WINDOW TUMBLING (SIZE 30 SECONDS, GRACE PERIOD 5 SECONDS);
";

/// A generator of numbers: a constant seed, so that a failure comes again.
struct Drawn(u64);

impl Drawn {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// The fields of record `number`, as JSON writes them, and what is broken about it, if anything is.
fn record(drawn: &mut Drawn, number: u64) -> (String, String, String, String, u64) {
    // Seconds since 1970, mostly in order; one in fifty far behind.
    let behind = match drawn.below(50) {
        0 => 200,
        _ => drawn.below(20),
    };
    let ts = (1_000 + number / 20).saturating_sub(behind).to_string();
    let key = format!("k{}", drawn.below(97));
    let n = drawn.below(1_000).to_string();
    let x = format!("{}.{}", drawn.below(100_000), drawn.below(1_000));
    (ts, key, n, x, drawn.below(300))
}

fn json() -> String {
    let mut drawn = Drawn(7);
    let mut text = String::new();
    for number in 0..RECORDS {
        let (ts, k, n, x, fault) = record(&mut drawn, number);
        text += &match fault {
            0 => format!("{{\"ts\":9999999,\"k\":\"{k}\",\"n\":{n}"),
            1 => format!("{{\"ts\":9999999,\"k\":\"\\q\",\"n\":{n},\"x\":{x}}}"),
            2 => format!("{{\"ts\":9999999,\"k\":\"{k}\",\"n\":-,\"x\":{x}}}"),
            3 => format!("{{\"ts\":{ts},\"k\":\"{k}\",\"n\":\"{n}\",\"x\":{x}}}"),
            4 => format!("{{\"ts\":\"soon\",\"k\":\"{k}\",\"n\":{n},\"x\":{x}}}"),
            5 => format!("{{\"k\":\"{k}\",\"n\":{n},\"x\":{x}}}"),
            6 => String::new(),
            7 => format!("{{\"x\":{x},\"unread\":{{\"a\":[-]}},\"n\":null,\"ts\":{ts}}}"),
            8 => format!("{{\"ts\":{ts},\"k\":\"a key of many letters\",\"n\":{n},\"x\":{x}}}"),
            _ => format!("{{\"ts\":{ts},\"k\":\"{k}\",\"n\":{n},\"x\":{x}}}"),
        };
        text.push('\n');
    }
    text
}

fn csv() -> String {
    let mut drawn = Drawn(11);
    let mut text = "x,ts,k,n\n".to_owned();
    for number in 0..RECORDS {
        let (ts, k, n, x, fault) = record(&mut drawn, number);
        text += &match fault {
            0 => format!("{x},9999999,{k}"),
            1 => format!("{x},9999999,{k},{n},more"),
            2 => format!("{x},9999999,\"{k}\"{k},{n}"),
            3 => format!("{x},{ts},{k},many"),
            4 => format!("{x},soon,{k},{n}"),
            5 => format!("{x},,{k},{n}"),
            6 => String::new(),
            7 => format!("{x},{ts},,"),
            8 => format!("{x},{ts},\"a key\nof two lines\",{n}"),
            _ => format!("{x},{ts},{k},{n}"),
        };
        text.push('\n');
    }
    text
}

/// Rows by their exact columns, in order; the doubles beside them.
type Rows = BTreeMap<String, Vec<f64>>;

fn rows_of(lines: &str) -> Rows {
    let mut rows = Rows::new();
    for line in lines.lines() {
        let row: Value = serde_json::from_str(line).expect("a row is a JSON object");
        let row = row.as_object().expect("a row is a JSON object");
        let mut exact = String::new();
        let mut doubles = Vec::new();
        for (name, value) in row {
            match value.as_f64().filter(|_| !value.is_i64()) {
                Some(double) => doubles.push(double),
                // A double without a fraction may be written as a whole number.
                None if ["x", "mean", "least", "most"].contains(&name.as_str()) => {
                    doubles.extend(value.as_f64());
                }
                None => exact += &format!("{name}={value} "),
            }
        }
        assert_eq!(rows.insert(exact, doubles), None, "twice: {line}");
    }
    rows
}

fn is_near(one: &[f64], other: &[f64]) -> bool {
    let near = |(one, other): (&f64, &f64)| {
        (one - other).abs() <= NEAR * one.abs().max(other.abs()) || one == other
    };
    one.len() == other.len() && one.iter().zip(other).all(near)
}

#[track_caller]
fn assert_same(actual: &Rows, expected: &Rows, what: &str) {
    assert!(
        actual.keys().eq(expected.keys()),
        "{what}: {} rows, not {}",
        actual.len(),
        expected.len()
    );
    for (exact, doubles) in expected {
        assert!(
            is_near(&actual[exact], doubles),
            "{what}: {exact}: {:?}, not {doubles:?}",
            actual[exact]
        );
    }
}

/// A folder with `in.FORMAT` and queries over it.
fn folder(format: &str, text: &str) -> Folder {
    let folder = Folder::new();
    folder.write(&format!("in.{format}"), text);
    folder.write(
        "case.sql",
        format!(
            "CREATE STREAM s (ts TIMESTAMP, k VARCHAR, n BIGINT, x DOUBLE, WATERMARK FOR ts AS ts - INTERVAL '15' SECOND)
             WITH (connector = 'file', path = 'in.{format}', event_time.unit = 's', on_error = 'skip', deal = 'true');{QUERIES}"
        ),
    );
    folder
}

#[test]
fn a_dealt_file_gives_the_rows_and_the_counts_of_one_shard() {
    for (format, text) in [("json", json()), ("csv", csv())] {
        let mut first: Option<([Rows; 3], [Value; 5])> = None;
        for (shards, batch_max, lane_blocks) in RUNS {
            let folder = folder(format, &text);
            let what = format!("{format} at {shards} shards, batches of {batch_max}");
            let count = shards.to_string();
            let mut command = folder.velo(&[
                "run", "case.sql", "--format", "json", "--report", "report", "--shards", &count,
            ]);
            for setting in [
                "shards.oversubscribe=true".to_owned(),
                format!("batch.max={batch_max}"),
                format!("shards.lane_blocks={lane_blocks}"),
            ] {
                command.args(["--set", &setting]);
            }
            let ended = folder.start("velo", command).end_within(2 * LIMIT);
            assert_eq!(ended.code, Some(0), "{what}: {}", ended.err);
            let written = |name| std::fs::read_to_string(folder.path(name)).expect("written");
            let rows = [
                rows_of(&ended.out),
                rows_of(&written("global.json")),
                rows_of(&written("chained.json")),
            ];
            let report = folder.json("report");
            let counts = [
                "records_in",
                "bad_records",
                "late_records",
                "late_after_idle",
                "streams",
            ]
            .map(|name| report[name].clone());
            assert_eq!(counts[0], RECORDS, "{what}");
            assert!(counts[1].as_u64() > Some(300) && counts[2].as_u64() > Some(300));
            assert_eq!(counts[3], 0, "{what}");
            let mut taking = 0;
            for shard in report["shards"].as_array().expect("shards") {
                assert_eq!(shard["safety_tick_found_work"], 0, "{what}: {shard}");
                taking += usize::from(shard["records_in"] != 0);
            }
            assert_eq!(taking, shards as usize, "{what}: everybody takes records");
            match &first {
                None => first = Some((rows, counts)),
                Some((expected, expected_counts)) => {
                    for (actual, expected) in rows.iter().zip(expected) {
                        assert_same(actual, expected, &what);
                    }
                    assert_eq!(counts, *expected_counts, "{what}");
                }
            }
        }
    }
}

#[test]
fn a_stop_ends_behind_what_was_dealt() {
    let folder = folder("json", &json().repeat(30));
    for shards in ["1", "2", "7"] {
        let mut command = folder.velo(&[
            "run",
            "case.sql",
            "--format",
            "json",
            "--report",
            "report",
            "--shards",
            shards,
            "--duration",
            "100ms",
        ]);
        for setting in [
            "shards.oversubscribe=true",
            "batch.max=1",
            "shards.lane_blocks=1",
        ] {
            command.args(["--set", setting]);
        }
        let ended = folder.start("velo", command).end_within(LIMIT);
        assert_eq!(ended.code, Some(0), "at {shards} shards: {}", ended.err);
        let report = folder.json("report");
        assert_eq!(report["end"], "duration");
        let taken = report["records_in"].as_u64().expect("a number");
        let line = report["streams"][0]["partitions"][0]["next_offset"].as_u64();
        assert!(taken > 0 && taken < 30 * RECORDS, "{report}");
        assert_eq!(line, Some(taken + 1), "{report}");
    }
}

#[test]
fn explain_says_whether_a_file_is_dealt_and_why() {
    let folder = folder("csv", "");
    for (shards, says) in [
        (
            "2",
            "dealt: yes, every query that reads it groups under EMIT FINAL",
        ),
        ("1", "dealt: no, there is one shard"),
    ] {
        let ended = folder.run(&[
            "explain",
            "case.sql",
            "--shards",
            shards,
            "--format",
            "table",
            "--set",
            "shards.oversubscribe=true",
        ]);
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        assert_eq!(ended.out.matches(says).count(), 3, "{}", ended.out);
    }
    folder.write(
        "mixed.sql",
        std::fs::read_to_string(folder.path("case.sql"))
            .expect("it was written")
            .replace("PERIOD 5 SECONDS)", "PERIOD 5 SECONDS) EMIT CHANGES"),
    );
    let ended = folder.run(&[
        "explain",
        "mixed.sql",
        "--shards",
        "2",
        "--format",
        "table",
        "--set",
        "shards.oversubscribe=true",
    ]);
    let says = "dealt: no, query query emits changes";
    assert_eq!(ended.out.matches(says).count(), 3, "{}", ended.out);
}
