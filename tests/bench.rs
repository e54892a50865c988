//! The benchmarks, small: what they measure gives the right rows, and the plain loop beside them stays a plain loop.

use std::fs;
use std::path::Path;

use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

use crate::process::{Ended, Folder};

const SCENARIOS: [&str; 5] = ["0", "count", "2", "3a", "3b"];

/// `velo bench scenario` over few records.
fn scenario(folder: &Folder, args: &[&str]) -> Ended {
    let fixed = [
        "bench",
        "scenario",
        "--records",
        "10000",
        "--repeat",
        "1",
        "--format",
        "json",
        "--set",
        "shards.oversubscribe=true",
    ];
    folder.run(&[&fixed, args].concat())
}

fn line(ended: &Ended) -> Value {
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    serde_json::from_str(&ended.out).expect("one JSON object")
}

/// A run whose rows differ from the baseline's ends with 1, so that what is left to hold here is that every run says the same.
#[test]
fn every_scenario_has_the_baselines_rows_at_any_shards_batches_and_inputs() {
    let folder = Folder::new();
    for name in SCENARIOS {
        let first = line(&scenario(&folder, &[name, "--shards", "1"]));
        assert_eq!(first["scenario"], name);
        assert_eq!(first["checksum"], first["baseline"]["checksum"]);
        let expected_rows = match name {
            "0" => 5_010,
            "count" => 2,
            "2" => 200,
            "3a" => 6_341,
            _ => 10_000,
        };
        assert_eq!(first["rows_out"], expected_rows, "scenario {name}");
        for args in [
            &["--shards", "2"][..],
            &["--shards", "3"],
            &["--shards", "3", "--set", "batch.max=7"],
            &["--shards", "1", "--input", "columns"],
            &["--shards", "2", "--input", "columns"],
        ] {
            let other = line(&scenario(&folder, &[&[name], args].concat()));
            assert_eq!(other["checksum"], first["checksum"], "{name} {args:?}");
            assert_eq!(other["rows_out"], first["rows_out"], "{name} {args:?}");
        }
    }
}

#[test]
fn velo_run_of_the_sql_over_the_dumped_bytes_gives_the_same_checksum() {
    let folder = Folder::new();
    for name in SCENARIOS {
        let measured = line(&scenario(
            &folder,
            &[name, "--shards", "1", "--dump", "o.jsonl"],
        ));
        let ran = folder.run(&["run", "o.sql", "--format", "json", "--shards", "1"]);
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        let hashes = ran.out.lines().map(|row| xxh3_64(row.as_bytes()));
        let sum = hashes.fold(0u64, u64::wrapping_add);
        assert_eq!(
            measured["checksum"],
            format!("{sum:016x}"),
            "scenario {name}"
        );
    }
}

#[test]
fn a_kept_line_is_found_by_date_and_cores() {
    let folder = Folder::new();
    let measured = line(&scenario(
        &folder,
        &["2", "--shards", "1", "--out", "results"],
    ));
    let dated: Vec<_> = fs::read_dir(folder.path("results"))
        .expect("it was made")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    let [dated] = &dated[..] else {
        panic!("one folder, not {dated:?}")
    };
    let cores = format!("-{}c", measured["machine"]["cores"]);
    assert!(dated.to_string_lossy().ends_with(&cores), "{dated:?}");
    let kept = fs::read_to_string(dated.join("scenario-2.jsonl")).expect("the line");
    let kept: Value = serde_json::from_str(&kept).expect("one JSON object");
    assert_eq!(kept, measured);
}

#[test]
fn explain_shows_the_sql_and_the_plan_and_measures_nothing() {
    let folder = Folder::new();
    let ended = scenario(&folder, &["3a", "--shards", "2", "--explain"]);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    for words in [
        "WINDOW TUMBLING (SIZE 1 MINUTE)",
        "window_aggregate",
        "2 shards",
    ] {
        assert!(ended.out.contains(words), "no {words:?} in\n{}", ended.out);
    }
}

/// It would be no yardstick if it moved with what it measures.
#[test]
fn the_baseline_imports_nothing_of_the_engine() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bench/baseline.rs");
    let text = fs::read_to_string(path).expect("the baseline");
    let code: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    for engine in [
        "crate",
        "super",
        "velostream",
        "arrow",
        "datafusion",
        "unsafe",
    ] {
        let found = code.iter().find(|line| {
            line.split(|letter: char| !(letter.is_alphanumeric() || letter == '_'))
                .any(|word| word.starts_with(engine))
        });
        assert_eq!(found, None, "the baseline names {engine}");
    }
}
