//! What a user reads when the SQL is wrong. An error is a pair of files in tests/errors: `name.sql` and, in
//! `name.expected`, what `velo check name.sql` writes to standard error. Adding a test is adding a pair.
//!
//! Law: every error has a stable code, one sentence, the line with carets under the right words, and a hint that mends it
//! (unless it already says what it expected); the exit code is 65 and nothing is written to standard output.
//!
//! `VELO_BLESS=1` writes the expected files anew. Read them as a user would before they are committed.

use std::path::Path;
use std::{env, fs};

use crate::process::Folder;

#[test]
fn every_error_has_a_code_a_sentence_a_place_and_a_hint() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/errors");
    let bless = env::var_os("VELO_BLESS").is_some();
    let mut names: Vec<String> = fs::read_dir(&root)
        .expect("the folder of errors")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .filter_map(|name| name.strip_suffix(".sql").map(str::to_owned))
        .collect();
    names.sort();
    assert!(!names.is_empty(), "no error at all");

    let mut wrong = Vec::new();
    for name in &names {
        let read = |extension| fs::read_to_string(root.join(format!("{name}.{extension}")));
        let folder = Folder::new();
        let file = format!("{name}.sql");
        folder.write(&file, read("sql").expect("it was listed"));
        let ended = folder.run(&["check", &file]);
        if let Some(reason) = flaw(ended.code, &ended.out, &ended.err) {
            wrong.push(format!("---- {name}: {reason}\n{}{}", ended.out, ended.err));
        }
        if bless {
            fs::write(root.join(format!("{name}.expected")), &ended.err)
                .expect("a file beside the others");
        } else if read("expected").ok().as_deref() != Some(&ended.err) {
            wrong.push(format!("---- {name}: not as expected, but\n{}", ended.err));
        }
    }
    println!("{} errors", names.len());
    assert!(
        wrong.is_empty(),
        "{} are wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// What an error lacks.
fn flaw(code: Option<i32>, out: &str, err: &str) -> Option<String> {
    if code != Some(65) {
        return Some(format!("it ended with {code:?}, not 65"));
    }
    if !out.is_empty() {
        return Some("something is on standard output".to_owned());
    }
    let lines: Vec<&str> = err.lines().collect();
    let first = lines.first().copied().unwrap_or_default();
    let parts = [
        (
            "a code",
            first.starts_with("error[V")
                && first
                    .get(7..11)
                    .is_some_and(|code| code.bytes().all(|b| b.is_ascii_digit())),
        ),
        (
            "a place",
            lines.iter().any(|line| line.starts_with(" --> ")),
        ),
        (
            "a caret",
            lines
                .iter()
                .any(|line| line.trim_start().starts_with("| ") && line.contains('^')),
        ),
        (
            "a hint",
            first.contains(": expected ")
                || lines
                    .last()
                    .is_some_and(|line| line.trim_start().starts_with("= ")),
        ),
    ];
    parts
        .iter()
        .find(|(_, there)| !there)
        .map(|(part, _)| format!("it has not {part}"))
}
