//! Dead letters over many records: more than a lane or a sink's buffer holds, so that everything waits for everything.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::process::{Folder, LIMIT};

const RECORDS: u64 = 20_000;

/// Records of a second each; of seven, one cannot be decoded, one divides by zero, and one is late. For each kind its lines.
fn records() -> (Vec<u8>, BTreeMap<&'static str, Vec<u64>>) {
    let mut text = Vec::new();
    let mut told: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for number in 0..RECORDS {
        let mut line = String::new();
        let (ts, n) = match number % 7 {
            // An hour behind, where there is an hour.
            3 if number > 4_000 => (number - 3_600, 1),
            5 => (number, 0),
            _ => (number, 1),
        };
        write!(line, "{{\"ts\":{ts},\"k\":{},\"n\":{n}}}", number % 13).expect("into a text");
        let mut line = line.into_bytes();
        let kind = match number % 7 {
            1 => {
                line.truncate(line.len() - 2);
                line.push(0xff);
                Some("decode")
            }
            3 if number > 4_000 => Some("late"),
            5 => Some("expression"),
            _ => None,
        };
        if let Some(kind) = kind {
            told.entry(kind).or_default().push(number + 1);
        }
        text.extend(line);
        text.push(b'\n');
    }
    (text, told)
}

#[test]
fn every_record_that_is_left_out_is_told_once_at_any_shards_and_batches() {
    let (text, expected) = records();
    let lines: Vec<&[u8]> = text.split(|&byte| byte == b'\n').collect();
    for deal in ["false", "true"] {
        for (shards, batch) in [("1", "1024"), ("3", "1"), ("3", "1024")] {
            let folder = Folder::new();
            folder.write("in.jsonl", &text);
            folder.write(
                "job.sql",
                format!(
                    "SET 'late' = 'dead_letter';
                     CREATE STREAM s (ts TIMESTAMP, k BIGINT, n BIGINT, WATERMARK FOR ts AS ts - INTERVAL '1' MINUTE)
                     WITH (connector = 'file', path = 'in.jsonl', event_time.unit = 's', deal = '{deal}',
                     on_error = 'dead_letter', dead_letter = 'file:dead.jsonl');
                     SELECT k, window_start, SUM(1 / n) AS c FROM s GROUP BY k WINDOW TUMBLING (SIZE 1 MINUTE) EMIT FINAL;"
                ),
            );
            let mut command =
                folder.velo(&["run", "job.sql", "--shards", shards, "--report", "report"]);
            command.args(["--set", "shards.oversubscribe=true"]);
            command.args(["--set", &format!("batch.max={batch}")]);
            let ended = folder.start("velo", command).end_within(LIMIT);
            assert_eq!(ended.code, Some(0), "{}", ended.err);

            let mut told: BTreeMap<String, Vec<u64>> = BTreeMap::new();
            let letters = fs::read_to_string(folder.path("dead.jsonl")).expect("it was written");
            for letter in letters.lines() {
                let letter: Value = serde_json::from_str(letter).expect("a letter is an object");
                let line = letter["line"].as_u64().expect("a line");
                let payload = letter["payload_base64"].as_str().expect("a record");
                let payload = STANDARD.decode(payload).expect("base64");
                assert_eq!(payload, lines[line as usize - 1]);
                let stage = letter["stage"].as_str().expect("a stage").to_owned();
                told.entry(stage).or_default().push(line);
            }
            let mut counts = BTreeMap::new();
            for (stage, mut lines) in told {
                lines.sort_unstable();
                assert_eq!(
                    lines,
                    expected[stage.as_str()],
                    "{stage}, {shards} shards, {batch}"
                );
                counts.insert(stage, lines.len());
            }
            let report = folder.json("report");
            assert_eq!(report["late_records"], counts["late"]);
            assert_eq!(
                report["bad_records"],
                counts["decode"] + counts["expression"]
            );
            assert_eq!(report["dead_letters"], counts.values().sum::<usize>());
            let rows: u64 = ended
                .out
                .lines()
                .map(|row| {
                    let row: Value = serde_json::from_str(row).expect("a row is an object");
                    row["c"].as_u64().expect("a count")
                })
                .sum();
            let left_out: usize = counts.values().sum();
            assert_eq!(rows, RECORDS - left_out as u64);
        }
    }
}
