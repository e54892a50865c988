//! What a user reads when the SQL is wrong. An error is a pair of files in tests/errors: `name.sql` and, in
//! `name.expected`, what `velo check name.sql` writes to standard error. Adding a test is adding a pair.
//!
//! Law: every error has a stable code, one sentence, the line with carets under the right words, and a hint that mends it
//! (unless it already says what it expected); the exit code is 65 and nothing is written to standard output.
//!
//! What a user reads when the configuration, an option of Kafka or the host is wrong is one file, `name.case`: what was wrong in a
//! line, the environment, the arguments, the files, and what velo ends with and writes to standard error.
//!
//! Law: a refusal names where the key was written, the key, and what to do; `hunter2` stands for a password and is never written.
//!
//! `VELO_BLESS=1` writes the expected files anew. Read them as a user would before they are committed.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use crate::process::{Folder, LIMIT};

/// What velo must say begins behind this.
const EXPECTED: &str = "--- expected\n";

/// A text that stands for a password in the cases, and that nobody may read.
const PASSWORD: &str = "hunter2";

#[test]
fn every_error_has_a_code_a_sentence_a_place_and_a_hint() {
    each("sql", &|name, text| {
        let folder = Folder::new();
        let file = format!("{name}.sql");
        folder.write(&file, text);
        let ended = folder.run(&["check", &file]);
        Told {
            flaw: flaw(ended.code, &ended.out, &ended.err),
            kept_in: format!("{name}.expected"),
            keeps: ended.err,
        }
    });
}

#[test]
fn every_refusal_says_what_to_do_and_shows_no_secret() {
    each("case", &|name, text| {
        let (case, _) = text
            .split_once(EXPECTED)
            .unwrap_or_else(|| panic!("{name}.case has no part {EXPECTED:?}"));
        let folder = Folder::new();
        let ended = folder
            .start("velo", command(&folder, case))
            .end_within(LIMIT);
        let code = ended.code.unwrap_or_default();
        // What this very host lacks is not the case's matter.
        let lines = ended.err.split_inclusive('\n');
        let told: String = lines
            .filter(|line| !line.starts_with("velo: host: "))
            .collect();
        let flaw = if !matches!(code, 2 | 65 | 69 | 73 | 77 | 78) {
            Some("the exit code of a refusal")
        } else if !ended.out.is_empty() {
            Some("an empty standard output")
        } else if !ended
            .err
            .lines()
            .all(|line| line.is_empty() || line.starts_with("velo: "))
        {
            Some("velo's name before each error")
        } else if told.contains(PASSWORD) {
            Some("the password left out")
        } else {
            None
        };
        Told {
            flaw: flaw.map(|lacks| format!("it has not {lacks}")),
            kept_in: format!("{name}.case"),
            keeps: format!("{case}{EXPECTED}exit {code}\n{told}"),
        }
    });
}

/// What a case told.
struct Told {
    /// What is wrong with it whatever was expected.
    flaw: Option<String>,
    /// The file in tests/errors that says what is expected.
    kept_in: String,
    /// What that file must hold.
    keeps: String,
}

/// Runs every file of tests/errors with this extension.
fn each(extension: &str, run: &dyn Fn(&str, &str) -> Told) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/errors");
    let bless = env::var_os("VELO_BLESS").is_some();
    let files = fs::read_dir(&root).expect("the folder of errors");
    let mut names: Vec<String> = files
        .filter_map(|entry| {
            let name = entry.expect("an entry").file_name();
            let (stem, end) = name.to_str()?.rsplit_once('.')?;
            (end == extension).then(|| stem.to_owned())
        })
        .collect();
    names.sort();
    assert!(names.len() >= 40, "{} are not 40", names.len());
    let mut wrong = Vec::new();
    for name in &names {
        let file = root.join(format!("{name}.{extension}"));
        let told = run(name, &fs::read_to_string(file).expect("it was listed"));
        if let Some(flaw) = told.flaw {
            wrong.push(format!("---- {name}: {flaw}\n{}", told.keeps));
        }
        let kept = root.join(&told.kept_in);
        if bless {
            fs::write(kept, &told.keeps).expect("a file beside the others");
        } else if fs::read_to_string(kept).ok().as_deref() != Some(&told.keeps) {
            wrong.push(format!("---- {name}: not as expected, but\n{}", told.keeps));
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

/// Writes the files of a case, and gives the command that it asks for.
fn command(folder: &Folder, case: &str) -> Command {
    let (mut part, mut arguments, mut environment) = ("", Vec::new(), Vec::new());
    let mut files: Vec<(&str, String)> = Vec::new();
    for line in case.lines() {
        if let Some(begun) = line.strip_prefix("--- ") {
            part = begun;
            if let Some(name) = begun.strip_prefix("file ") {
                files.push((name, String::new()));
            }
            continue;
        }
        match part {
            "arguments" => arguments.push(line),
            "environment" => environment.push(line.split_once('=').expect("NAME=VALUE")),
            "" => assert!(line.starts_with('#'), "{line:?} stands before every part"),
            _ => {
                let (_, content) = files.last_mut().expect("a part is known, or a file");
                *content += line;
                content.push('\n');
            }
        }
    }
    for (name, content) in files {
        folder.write(name, content);
    }
    let mut command = folder.velo(&arguments);
    command.envs(environment);
    command
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
