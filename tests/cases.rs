//! The cases of tests/cases: SQL, input, expected rows. Adding a test is adding a file, `tests/cases/<topic>/<what it shows>.case`:
//!
//! ```text
//!   -- Anything about the case. Lines of the form `-- word: value` are directives, all optional:
//!   -- late: 2                 late records (0)
//!   -- bad: 1                  bad records left out (0)
//!   -- changes: 9 by k, w      CHANGES: 9 rows come out, and below stands the last one for each `k, w`
//!   -- changes: 3..9 by k, w   the same where the clock or a correction decides how many, 3 at least and 9 at most
//!   -- exit: 65                the exit code (0); no rows are then compared
//!   -- says: in.csv line 3     words that stand on standard error
//!   -- hides: panicked         words that do not
//!   -- text: exact             rows are compared as text, not by value
//!   -- clock: 2013-01-01T00:00:00Z 100   the wall clock stands there, and goes on by so many milliseconds (0) a batch
//!   -- batches: 1              only with batches of at most so many records (any): where the clock goes on by the batch
//!   CREATE STREAM .. WITH (connector = 'file', path = 'in.csv'); SELECT ..
//!   ---- in.csv
//!   the input, as many files as are needed
//!   ---- rows
//!   the expected rows, a JSON object a line, in any order
//!   ---- rows of out.json
//!   the expected rows of a file that a query writes, likewise
//!   ---- letters of dead.jsonl
//!   for each dead letter a JSON object of what is to be looked at; `payload` is the decoded text of `payload_base64`
//! ```
//!
//! Law: a case gives the same answer at any number of shards, with any batches and lanes (docs/SQL.md, Exactness, says what
//! "the same answer" means). Expected rows are worked out by hand from docs/SQL.md or by another engine, never copied from
//! velo's output.
//!
//! `VELO_CASES=words` runs only the cases whose path holds the words.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, thread};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::process::{Ended, Folder, LIMIT};

/// How each case is run: shards, the largest batch, the blocks of a lane.
const RUNS: [(u32, u32, u32); 8] = [
    (1, 1024, 64),
    (1, 1, 64),
    (2, 1024, 64),
    (3, 1024, 64),
    (7, 1024, 64),
    (7, 1024, 1),
    (7, 7, 1),
    (7, 1, 1),
];

/// Cases that run at a time.
const AT_ONCE: usize = 4;

/// A tolerance for doubles, relative.
const NEAR: f64 = 1e-9;

#[test]
fn every_case_gives_its_rows_at_any_shards_batches_and_lanes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let wanted = env::var("VELO_CASES").unwrap_or_default();
    let mut paths = Vec::new();
    find(&root, &mut paths);
    paths.retain(|path| path.to_string_lossy().contains(&wanted));
    paths.sort();
    assert!(!paths.is_empty(), "no case at all");

    let next = AtomicUsize::new(0);
    let wrong: Vec<String> = thread::scope(|scope| {
        let work = || {
            let mut wrong = Vec::new();
            while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
                let name = path
                    .strip_prefix(&root)
                    .expect("it was found there")
                    .display();
                let failed = Case::read(path)
                    .and_then(|case| RUNS.iter().try_for_each(|run| case.run(*run)));
                wrong.extend(failed.err().map(|reason| format!("---- {name}: {reason}")));
            }
            wrong
        };
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().expect("a worker does not panic"))
            .collect()
    });
    println!("{} cases, each run {} times", paths.len(), RUNS.len());
    assert!(
        wrong.is_empty(),
        "{} of {} cases fail:\n{}",
        wrong.len(),
        paths.len(),
        wrong.join("\n")
    );
}

fn find(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder of cases") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            find(&path, paths);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "case")
        {
            paths.push(path);
        }
    }
}

/// What a case file says.
#[derive(Default)]
struct Case {
    sql: String,
    files: Vec<(String, String)>,
    rows: Vec<String>,
    /// The files that queries write, with their rows.
    written: Vec<(String, Vec<String>)>,
    /// The files of dead letters, with these.
    letters: Vec<(String, Vec<String>)>,
    late: u64,
    bad: u64,
    changes: Option<Changes>,
    exit: i32,
    says: Vec<String>,
    hides: Vec<String>,
    as_text: bool,
    clock: Option<String>,
    batches: Option<u64>,
}

/// What EMIT CHANGES is held to: so many rows, and the last one for each of these columns' values.
struct Changes {
    count: RangeInclusive<usize>,
    identity: Vec<String>,
}

impl Case {
    fn read(path: &Path) -> Result<Case, String> {
        let text = fs::read_to_string(path).map_err(|cause| format!("cannot be read: {cause}"))?;
        let mut sections = text.split("\n---- ");
        let mut case = Case {
            sql: sections.next().unwrap_or_default().to_owned(),
            ..Case::default()
        };
        for line in case.sql.clone().lines() {
            let directive = line
                .strip_prefix("-- ")
                .and_then(|line| line.split_once(": "));
            if let Some((word, value)) =
                directive.filter(|(word, _)| word.chars().all(|letter| letter.is_ascii_lowercase()))
            {
                case.direct(word, value.trim())?;
            }
        }
        for section in sections {
            let (name, content) = section.split_once('\n').unwrap_or((section, ""));
            // The line break before the next section belongs to the content.
            let content = if content.is_empty() || content.ends_with('\n') {
                content.to_owned()
            } else {
                format!("{content}\n")
            };
            let lines = content.lines().filter(|line| !line.is_empty());
            let rows = lines.map(str::to_owned).collect();
            let name = name.trim();
            match (
                name.strip_prefix("rows of "),
                name.strip_prefix("letters of "),
            ) {
                _ if name == "rows" => case.rows = rows,
                (Some(file), _) => case.written.push((file.to_owned(), rows)),
                (_, Some(file)) => case.letters.push((file.to_owned(), rows)),
                (None, None) => case.files.push((name.to_owned(), content)),
            }
        }
        Ok(case)
    }

    fn direct(&mut self, word: &str, value: &str) -> Result<(), String> {
        let number = || {
            value
                .parse::<u64>()
                .map_err(|_| format!("-- {word}: {value} is no number"))
        };
        match word {
            "late" => self.late = number()?,
            "bad" => self.bad = number()?,
            "exit" => {
                self.exit = i32::try_from(number()?).map_err(|_| "no exit code".to_owned())?
            }
            "says" => self.says.push(value.to_owned()),
            "hides" => self.hides.push(value.to_owned()),
            "text" => self.as_text = true,
            "clock" => self.clock = Some(value.to_owned()),
            "batches" => self.batches = Some(number()?),
            "changes" => {
                let (count, identity) = value.split_once("by").unwrap_or((value, ""));
                let count = count.trim();
                let (least, most) = count.split_once("..").unwrap_or((count, count));
                let number = |text: &str| {
                    let number = text.parse::<usize>();
                    number.map_err(|_| format!("-- changes: {value} has no number"))
                };
                let names = identity.split(',').map(|name| name.trim().to_owned());
                self.changes = Some(Changes {
                    count: number(least)?..=number(most)?,
                    identity: names.filter(|name| !name.is_empty()).collect(),
                });
            }
            _ => return Err(format!("there is no directive {word}")),
        }
        Ok(())
    }

    fn run(&self, (shards, batch_max, lane_blocks): (u32, u32, u32)) -> Result<(), String> {
        if self.batches.is_some_and(|most| u64::from(batch_max) > most) {
            return Ok(());
        }
        let folder = Folder::new();
        folder.write("case.sql", &self.sql);
        for (name, content) in &self.files {
            folder.write(name, content);
        }
        let settings = [
            "shards.oversubscribe=true".to_owned(),
            format!("batch.max={batch_max}"),
            format!("shards.lane_blocks={lane_blocks}"),
        ];
        let shards = shards.to_string();
        let mut command = folder.velo(&[
            "run", "case.sql", "--format", "json", "--report", "report", "--shards", &shards,
        ]);
        if let Some(clock) = &self.clock {
            command.env("VELO_CLOCK", clock);
        }
        for setting in settings {
            command.args(["--set", &setting]);
        }
        let ended = folder.start("velo", command).end_within(LIMIT);
        let at = |reason: String| {
            format!("at {shards} shards, batches of {batch_max}, lanes of {lane_blocks}: {reason}")
        };
        self.check(&ended, &folder).map_err(at)
    }

    fn check(&self, ended: &Ended, folder: &Folder) -> Result<(), String> {
        if ended.code != Some(self.exit) {
            return Err(format!(
                "it ended with {:?}, not {}\n{}",
                ended.code, self.exit, ended.err
            ));
        }
        if let Some(words) = self.says.iter().find(|words| !ended.err.contains(*words)) {
            return Err(format!("it does not say {words:?}\n{}", ended.err));
        }
        if let Some(words) = self.hides.iter().find(|words| ended.err.contains(*words)) {
            return Err(format!("it says {words:?}\n{}", ended.err));
        }
        if self.exit != 0 {
            return Ok(());
        }
        let lines: Vec<&str> = ended.out.lines().collect();
        let expected: Vec<&str> = self.rows.iter().map(String::as_str).collect();
        match &self.changes {
            None => same_set(&lines, &expected, self.as_text)?,
            Some(changes) => {
                if !changes.count.contains(&lines.len()) {
                    return Err(format!(
                        "{} rows, not {:?}:\n{}",
                        lines.len(),
                        changes.count,
                        ended.out
                    ));
                }
                same_set(&changes.last(&lines)?, &expected, self.as_text)?;
            }
        }
        let mut rows_out = lines.len();
        for (file, expected) in &self.written {
            let written = fs::read_to_string(folder.path(file))
                .map_err(|cause| format!("{file} was not written: {cause}"))?;
            let written: Vec<&str> = written.lines().collect();
            let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
            same_set(&written, &expected, self.as_text)
                .map_err(|reason| format!("{file}: {reason}"))?;
            rows_out += written.len();
        }
        let mut dead_letters = 0;
        for (file, expected) in &self.letters {
            let written = fs::read_to_string(folder.path(file))
                .map_err(|cause| format!("{file} was not written: {cause}"))?;
            same_letters(&written, expected).map_err(|reason| format!("{file}: {reason}"))?;
            dead_letters += expected.len();
        }
        let report = folder.json("report");
        let counted = [
            ("dead_letters", dead_letters as u64),
            ("late_records", self.late),
            ("bad_records", self.bad),
            ("late_after_idle", 0),
            ("rows_out", rows_out as u64),
        ];
        match counted.iter().find(|(name, must)| report[*name] != *must) {
            Some((name, must)) => Err(format!(
                "the report says {name} = {}, not {must}",
                report[*name]
            )),
            None => Ok(()),
        }
    }
}

impl Changes {
    /// The last line for each identity.
    fn last<'l>(&self, lines: &[&'l str]) -> Result<Vec<&'l str>, String> {
        let mut last = BTreeMap::new();
        for line in lines {
            let row = object(line)?;
            let identity: Vec<String> = self
                .identity
                .iter()
                .map(|name| row[name].to_string())
                .collect();
            last.insert(identity, *line);
        }
        Ok(last.into_values().collect())
    }
}

fn object(line: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(line).map_err(|cause| format!("{line} is no JSON object: {cause}"))
}

/// Each expected row stands once among the actual ones, and nothing else does.
fn same_set(actual: &[&str], expected: &[&str], as_text: bool) -> Result<(), String> {
    let mut extra: Vec<&str> = actual.to_vec();
    let mut missing = Vec::new();
    for line in expected {
        let row = object(line)?;
        let mut found = None;
        for (place, candidate) in extra.iter().enumerate() {
            if candidate == line || (!as_text && same_row(&object(candidate)?, &row)) {
                found = Some(place);
                break;
            }
        }
        match found {
            Some(place) => drop(extra.swap_remove(place)),
            None => missing.push(*line),
        }
    }
    if missing.is_empty() && extra.is_empty() {
        return Ok(());
    }
    Err(format!(
        "missing:\n  {}\nnot expected:\n  {}",
        missing.join("\n  "),
        extra.join("\n  ")
    ))
}

/// Each expected letter stands once among those `written`, as far as it says anything, and nothing else does.
fn same_letters(written: &str, expected: &[String]) -> Result<(), String> {
    let mut extra = written.lines().map(letter).collect::<Result<Vec<_>, _>>()?;
    let mut missing = Vec::new();
    for line in expected {
        let says = object(line)?;
        let is_it = |letter: &Map<String, Value>| {
            says.iter()
                .all(|(name, value)| letter.get(name) == Some(value))
        };
        match extra.iter().position(is_it) {
            Some(place) => drop(extra.swap_remove(place)),
            None => missing.push(line.as_str()),
        }
    }
    if missing.is_empty() && extra.is_empty() {
        return Ok(());
    }
    Err(format!(
        "missing:\n  {}\nnot expected:\n  {extra:?}",
        missing.join("\n  ")
    ))
}

/// A letter with its payload as text.
fn letter(line: &str) -> Result<Map<String, Value>, String> {
    let mut letter = object(line)?;
    if let Some(payload) = letter.get("payload_base64").and_then(Value::as_str) {
        let bytes = STANDARD
            .decode(payload)
            .map_err(|cause| format!("{line}: {cause}"))?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        letter.insert("payload".to_owned(), text.into());
    }
    Ok(letter)
}

/// The same names in the same order, the same values.
fn same_row(one: &Map<String, Value>, other: &Map<String, Value>) -> bool {
    one.len() == other.len()
        && one
            .iter()
            .zip(other)
            .all(|((name, value), (also, must))| name == also && same(value, must))
}

fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) if one.is_f64() || other.is_f64() => {
            let (one, other) = (
                one.as_f64().unwrap_or(f64::NAN),
                other.as_f64().unwrap_or(f64::NAN),
            );
            one == other || (one - other).abs() <= NEAR * one.abs().max(other.abs())
        }
        _ => one == other,
    }
}
