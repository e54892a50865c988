//! Several queries in a file, over more records than a case file holds: a close of many groups that leaves in slices, lanes
//! that fill, and what is told of each query.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

use crate::process::{Folder, LIMIT};

/// Keys of a minute: more than a slice of a close, so that what chained windows are promised is held back meanwhile.
const KEYS: u64 = 5_000;

/// Records, spread over the first minutes of six hours.
const RECORDS: u64 = 60_000;

/// The sum and the number of records of each key in each hour.
type Hours = BTreeMap<(String, u64), (i64, i64)>;

/// The records, and what the windows of an hour come to.
fn records() -> (String, Hours) {
    let mut text = String::from("ts,k,n\n");
    let mut hours = Hours::new();
    for number in 0..RECORDS {
        // In blocks of ten thousand records a window of an hour, each in two of its minutes.
        let (hour, minute) = (number / 10_000, number / 5_000 % 2);
        let key = format!("k{}", number * 7_919 % KEYS);
        let n = (number % 97) as i64 - 40;
        let second = number % 60;
        writeln!(
            text,
            "2026-01-01T{hour:02}:{minute:02}:{second:02}Z,{key},{n}"
        )
        .expect("writing to a string does not fail");
        let sum = hours.entry((key, hour)).or_default();
        *sum = (sum.0 + n, sum.1 + 1);
    }
    (text, hours)
}

const SQL: &str = "
CREATE STREAM s (ts TIMESTAMP, k VARCHAR, n BIGINT, WATERMARK FOR ts AS ts - INTERVAL '1' MINUTE)
WITH (connector = 'file', path = 'in.csv');
CREATE STREAM direct WITH (connector = 'file', path = 'direct.json') AS
SELECT k, window_start, SUM(n) AS n, COUNT(*) AS records FROM s GROUP BY k WINDOW TUMBLING (SIZE 1 HOUR);
CREATE STREAM minutes AS
SELECT k, n % 2 AS parity, SUM(n) AS n, COUNT(*) AS records FROM s GROUP BY k, n % 2
WINDOW TUMBLING (SIZE 1 MINUTE, GRACE PERIOD 30 SECONDS);
CREATE STREAM kept AS SELECT k, n, records FROM minutes;
SELECT k, window_start, SUM(n) AS n, SUM(records) AS records FROM kept GROUP BY k WINDOW TUMBLING (SIZE 1 HOUR);
";

fn hours_of(lines: &str) -> Hours {
    let mut hours = Hours::new();
    for line in lines.lines() {
        let row: Value = serde_json::from_str(line).expect("a row is a JSON object");
        let start = row["window_start"].as_str().expect("a timestamp");
        let hour = start[11..13].parse().expect("an hour");
        let key = row["k"].as_str().expect("a text").to_owned();
        let number = |name: &str| row[name].as_i64().expect("a number");
        let before = hours.insert((key, hour), (number("n"), number("records")));
        assert_eq!(before, None, "a window leaves once: {line}");
    }
    hours
}

#[test]
fn chained_windows_are_the_longer_windows_with_closes_in_slices_and_lanes_of_one_block() {
    let (text, expected) = records();
    for (shards, batch_max, lane_blocks) in [("1", 1024, 64), ("2", 1024, 64), ("7", 100, 1)] {
        let folder = Folder::new();
        folder.write("in.csv", &text);
        folder.write("case.sql", SQL);
        let mut command = folder.velo(&[
            "run", "case.sql", "--format", "json", "--report", "report", "--shards", shards,
        ]);
        let settings = [
            "shards.oversubscribe=true".to_owned(),
            format!("batch.max={batch_max}"),
            format!("shards.lane_blocks={lane_blocks}"),
        ];
        for setting in &settings {
            command.args(["--set", setting]);
        }
        let ended = folder.start("velo", command).end_within(2 * LIMIT);
        assert_eq!(ended.code, Some(0), "at {shards} shards: {}", ended.err);
        let direct = std::fs::read_to_string(folder.path("direct.json")).expect("it was written");
        assert!(hours_of(&direct) == expected, "direct, at {shards} shards");
        assert!(
            hours_of(&ended.out) == expected,
            "chained, at {shards} shards"
        );

        let report = folder.json("report");
        assert_eq!(
            report["records_in"], RECORDS,
            "a shared source is read once"
        );
        assert_eq!(report["streams"].as_array().map(Vec::len), Some(1));
        assert_eq!(report["late_records"], 0);
        assert_eq!(report["late_after_idle"], 0);
        assert_eq!(report["rows_out"], 2 * expected.len() as u64);
        let figures = |query: usize| {
            let query = &report["queries"][query];
            (
                query["query"].as_str().unwrap_or_default().to_owned(),
                query["sink"].as_str().unwrap_or_default().to_owned(),
                query["rows_out"].as_u64().unwrap_or_default(),
            )
        };
        let named = |query: &str, sink: &str, rows| (query.to_owned(), sink.to_owned(), rows);
        let hours = expected.len() as u64;
        assert_eq!(figures(0), named("direct", "file:direct.json", hours));
        assert_eq!(
            figures(2).2,
            figures(1).2,
            "a filter of nothing keeps all rows"
        );
        assert_eq!(figures(1).1, "stream:minutes");
        assert_eq!(figures(3), named("query", "stdout", hours));
    }
}

#[test]
fn a_stop_ends_chained_queries_and_fires_nothing() {
    let folder = Folder::new();
    folder.write("in.csv", records().0);
    folder.write("case.sql", SQL);
    // Far too short for the run to end by itself in a batch of one record; what has fired until then has left.
    let mut command = folder.velo(&[
        "run",
        "case.sql",
        "--report",
        "report",
        "--shards",
        "3",
        "--duration",
        "300ms",
    ]);
    command.args(["--set", "shards.oversubscribe=true", "--set", "batch.max=1"]);
    let ended = folder.start("velo", command).end_within(LIMIT);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let report = folder.json("report");
    let hours = hours_of(&ended.out);
    let all = records().1;
    assert!(hours.iter().all(|(hour, sum)| all.get(hour) == Some(sum)));
    if report["end"] == "duration" && report["records_in"].as_u64() < Some(RECORDS) {
        assert!(
            hours.len() < all.len(),
            "an input that has not ended fires nothing"
        );
    }
}

#[test]
fn what_a_file_shows_comes_before_its_rows() {
    let folder = Folder::new();
    folder.write("in.csv", "ts,k,n\n2026-01-01T00:00:00Z,a,1\n");
    let shown =
        "CREATE STREAM s (ts TIMESTAMP, k VARCHAR NOT NULL, n BIGINT, WATERMARK FOR ts AS ts)
        WITH (connector = 'file', path = 'in.csv');
        CREATE STREAM sums AS SELECT k, SUM(n) AS n FROM s GROUP BY k WINDOW TUMBLING (SIZE 1 HOUR);
        SHOW STREAMS; DESCRIBE s; EXPLAIN SELECT k FROM sums;
        SELECT n FROM sums";
    folder.write("case.sql", shown);
    let ended = folder.run(&["run", "case.sql", "--shards", "1"]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let mut lines = ended.out.lines();
    let expected = [
        r#"{"schema":1,"stream":"s","connector":"file:in.csv","event_time":"ts"}"#,
        r#"{"schema":1,"stream":"sums","connector":"memory","event_time":"of its rows"}"#,
        r#"{"schema":1,"column":"ts","type":"TIMESTAMP","nullable":"yes"}"#,
        r#"{"schema":1,"column":"k","type":"VARCHAR","nullable":"no"}"#,
        r#"{"schema":1,"column":"n","type":"BIGINT","nullable":"yes"}"#,
    ];
    for line in expected {
        assert_eq!(lines.next(), Some(line));
    }
    let explained: Value =
        serde_json::from_str(lines.next().unwrap_or_default()).expect("a JSON object");
    assert_eq!(explained["sources"][0]["stream"], "sums");
    assert_eq!(lines.next(), Some(r#"{"n":1}"#));
    assert_eq!(lines.next(), None);

    let ended = folder.run(&["explain", "case.sql", "--shards", "1", "--format", "json"]);
    let queries: Vec<Value> = ended
        .out
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line a query"))
        .collect();
    let names: Vec<&str> = queries
        .iter()
        .filter_map(|one| one["query"].as_str())
        .collect();
    assert_eq!(names, ["sums", "query", "query"]);
    let ended = folder.run(&["check", "case.sql"]);
    assert!(
        ended
            .err
            .contains("case.sql is right: 2 streams, 3 queries"),
        "{}",
        ended.err
    );
}

/// Regression: whether there is room behind a query was asked once for every way that leads from it to a sink, and their number
/// doubles with each of these streams.
#[test]
fn streams_that_part_and_meet_again_many_times_take_no_longer_for_it() {
    const STREAMS: usize = 40;
    let mut sql =
        "CREATE STREAM s0 (k VARCHAR, n BIGINT) WITH (connector = 'file', path = 'in.csv');\n"
            .to_owned();
    for stream in 1..=STREAMS {
        let before = stream - 1;
        writeln!(
            sql,
            "CREATE STREAM s{stream} (k VARCHAR, n BIGINT);
             INSERT INTO s{stream} SELECT k, n FROM s{before} WHERE n % 2 = 0;
             INSERT INTO s{stream} SELECT k, n FROM s{before} WHERE n % 2 = 1;"
        )
        .expect("writing to a string does not fail");
    }
    writeln!(sql, "SELECT k, n FROM s{STREAMS};").expect("writing to a string does not fail");
    let folder = Folder::new();
    folder.write("in.csv", "k,n\na,1\nb,2\nc,3\n");
    folder.write("case.sql", sql);
    let ended = folder.run(&["run", "case.sql", "--format", "json", "--shards", "1"]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let mut rows: Vec<&str> = ended.out.lines().collect();
    rows.sort_unstable();
    assert_eq!(
        rows,
        [
            r#"{"k":"a","n":1}"#,
            r#"{"k":"b","n":2}"#,
            r#"{"k":"c","n":3}"#
        ]
    );
}
