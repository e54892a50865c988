//! Velo against the naive model of tests/oracle, as a user runs it: scripts/differential.

use std::path::Path;
use std::process::{Command, Output};

use crate::process::{Folder, VELO};

fn differential(arguments: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/differential");
    let ended = Command::new(script)
        .args(arguments)
        .env("VELO", VELO)
        .env_remove("HWLOC_SYNTHETIC")
        .env_remove("HWLOC_XMLFILE")
        .output();
    ended.expect("scripts/differential can be started")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs it, and holds its last line to this.
fn ends_with(arguments: &[&str], last: &str) {
    let ended = differential(arguments);
    let out = text(&ended.stdout);
    assert!(
        ended.status.success() && out.lines().last() == Some(last),
        "{out}{}",
        text(&ended.stderr)
    );
}

#[test]
fn three_hundred_seeds_give_the_answers_of_the_model() {
    let folder = Folder::new();
    let keep = folder.path("differential").display().to_string();
    ends_with(
        &["--seeds", "1..300", "--jobs", "2", "--keep", &keep],
        "300 seeds, 2 runs each, 0 differences",
    );
}

#[test]
fn a_wrong_answer_is_found() {
    ends_with(&["--planted"], "60 wrong answers, 0 not found");
}

/// The query and the input of `a_query_of_ones_own`.
const SQL: &str = "CREATE STREAM s (ts TIMESTAMP, k VARCHAR, v BIGINT, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH (connector = 'file', path = 'in.csv', event_time.unit = 's', on_error = 'skip');
SELECT k, window_start, window_end, COUNT(*) AS n, SUM(v) AS total, MAX(ts) AS last
FROM s WHERE v > 0 GROUP BY k WINDOW HOPPING (SIZE 25s, ADVANCE BY 10s);
";
const INPUT: &str =
    "ts,k,v\n1,a,1\n12,b,2\n3,a,4\n31,a,8\n14,b,16\n13,a,none\n90,a,32\n2,b,64\n88,a,-1\n";

#[test]
fn a_query_of_ones_own_is_held_against_the_model() {
    let folder = Folder::new();
    folder.write("own.sql", SQL);
    folder.write("other.csv", INPUT);
    let (sql, input) = (folder.path("own.sql"), folder.path("other.csv"));
    let (sql, input) = (sql.display().to_string(), input.display().to_string());
    ends_with(
        &["--against", &sql, "--input", &input],
        "7 runs, 12 rows, 1 late, 1 bad, 0 differences",
    );
}

#[test]
fn a_query_that_the_model_cannot_read_is_refused() {
    let folder = Folder::new();
    folder.write("own.sql", SQL.replace("SUM(v)", "SUM(v + 1)"));
    folder.write("other.csv", INPUT);
    let (sql, input) = (folder.path("own.sql"), folder.path("other.csv"));
    let (sql, input) = (sql.display().to_string(), input.display().to_string());
    let ended = differential(&["--against", &sql, "--input", &input]);
    let said = text(&ended.stderr);
    assert!(
        !ended.status.success() && said.contains("the model cannot read"),
        "{said}"
    );
}
