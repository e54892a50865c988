//! The examples of docs/SQL.md, run as a reader would run them. What a fence is for stands behind its language:
//!
//! ```text
//!   sql                 example.sql; the declaration of `orders` comes before it where it reads that stream
//!   text                what `velo run example.sql --shards 1` writes: rows, or on standard error why not
//!   text explain        what `velo explain example.sql --shards 1 --format table` writes
//!   text holds=NAME     what the file NAME holds behind the run
//!   text file=NAME      the file NAME, which examples read
//!   text shown          no output of an example
//! ```
//!
//! Law: no fence is overlooked. Each is of one of these kinds, and an example without an output is at least planned. `VELO_BLESS=1`
//! writes what was found into the page: read it before it is committed.

use std::fs;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use crate::process::{Ended, Folder};

/// The page.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/SQL.md");

/// What tells that an example reads the stream that the page declares.
const READS_ORDERS: [&str; 2] = ["FROM orders", "TABLE orders"];

#[test]
fn every_example_of_the_page_gives_what_stands_below_it() {
    let page = fs::read_to_string(PAGE).expect("the page is there");
    let fences = fences(&page);
    let files = files(&page, &fences);
    let (declared, examples) = examples(&page, &fences);
    assert!(examples.len() > 20, "{} examples", examples.len());
    let mut wrong = Vec::new();
    let mut mended = page.clone();
    // From the last to the first: what is written does not move what stands before it.
    for example in examples.iter().rev() {
        let (folder, file) = put(&page, declared.clone(), example, &files);
        for (kind, span) in found(&folder, &file, example).into_iter().rev() {
            let (range, text) = span;
            if page[range.clone()] != text {
                wrong.push(format!(
                    "---- line {}, {kind}: found\n{text}",
                    line(&page, range.start)
                ));
                mended.replace_range(range, &text);
            }
        }
    }
    if std::env::var_os("VELO_BLESS").is_some() {
        fs::write(PAGE, mended).expect("the page can be written");
        return;
    }
    wrong.reverse();
    assert!(
        wrong.is_empty(),
        "{} of docs/SQL.md:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// A fence: what stands behind its ticks, and where its text is.
struct Fence<'a> {
    kind: &'a str,
    text: Range<usize>,
    /// Whether it opens right below the one before.
    follows: bool,
}

/// An example and what is said of it.
struct Example<'a> {
    sql: Range<usize>,
    outputs: Vec<(&'a str, Range<usize>)>,
}

fn fences(page: &str) -> Vec<Fence<'_>> {
    let mut fences: Vec<Fence<'_>> = Vec::new();
    let mut open: Option<(&str, usize)> = None;
    let (mut at, mut closed_at) = (0, usize::MAX);
    for text in page.split_inclusive('\n') {
        let end = at + text.len();
        if let Some(kind) = text.strip_prefix("```") {
            match open.take() {
                None => open = Some((kind.trim(), end)),
                Some((kind, start)) => {
                    let opened_at = start - "```\n".len() - kind.len();
                    fences.push(Fence {
                        kind,
                        text: start..at,
                        follows: opened_at == closed_at,
                    });
                    closed_at = end;
                }
            }
        }
        at = end;
    }
    assert!(open.is_none(), "a fence is not closed");
    fences
}

/// The files that examples read, by name.
fn files<'a>(page: &'a str, fences: &[Fence<'a>]) -> Vec<(&'a str, &'a str)> {
    let named = fences.iter().filter_map(|fence| {
        let name = fence.kind.strip_prefix("text file=")?;
        Some((name, &page[fence.text.clone()]))
    });
    named.collect()
}

/// The declaration that examples start with, which is the page's first, and all examples.
fn examples<'a>(page: &str, fences: &[Fence<'a>]) -> (Range<usize>, Vec<Example<'a>>) {
    let mut examples: Vec<Example<'a>> = Vec::new();
    for fence in fences {
        let here = || format!("docs/SQL.md:{}", line(page, fence.text.start));
        match fence.kind {
            "sql" => examples.push(Example {
                sql: fence.text.clone(),
                outputs: Vec::new(),
            }),
            "text shown" => {}
            kind if kind.starts_with("text file=") => {}
            kind => {
                let output =
                    kind == "text" || kind == "text explain" || kind.starts_with("text holds=");
                assert!(output, "{}: a fence of no known kind, {kind:?}", here());
                assert!(
                    fence.follows || kind != "text",
                    "{}: an output stands right below its example",
                    here()
                );
                let example = examples.last_mut().expect("an output has an example");
                example.outputs.push((kind, fence.text.clone()));
            }
        }
    }
    let declared = examples.remove(0);
    (declared.sql, examples)
}

/// A folder with what the example needs, and its text.
fn put(
    page: &str,
    declared: Range<usize>,
    example: &Example<'_>,
    files: &[(&str, &str)],
) -> (Folder, String) {
    let folder = Folder::new();
    for (name, text) in files {
        folder.write(name, text);
    }
    let sql = &page[example.sql.clone()];
    let reads_orders = READS_ORDERS.iter().any(|reads| sql.contains(reads));
    let text = match reads_orders {
        true => format!("{}{sql}", &page[declared]),
        false => sql.to_owned(),
    };
    folder.write("example.sql", &text);
    (folder, text)
}

/// What the example gives, output by output, in the page's order.
fn found<'a>(
    folder: &Folder,
    sql: &str,
    example: &Example<'a>,
) -> Vec<(&'a str, (Range<usize>, String))> {
    if example.outputs.is_empty() {
        let ended = folder.run(&["check", "example.sql"]);
        assert_eq!(ended.code, Some(0), "{sql}\n{}", ended.err);
    }
    let explained = example
        .outputs
        .iter()
        .all(|(kind, _)| *kind == "text explain");
    let run = (!explained).then(|| folder.run(&["run", "example.sql", "--shards", "1"]));
    let outputs = example.outputs.iter().map(|(kind, range)| {
        let text = match (*kind, &run) {
            ("text explain", _) => explanation(folder),
            ("text", Some(run)) => written(run),
            (kind, Some(run)) => {
                assert_eq!(run.code, Some(0), "{sql}\n{}", run.err);
                let name = kind
                    .strip_prefix("text holds=")
                    .expect("it is of this kind");
                held(&folder.path(name))
            }
            (_, None) => unreachable!("only an explanation needs no run"),
        };
        (*kind, (range.clone(), text))
    });
    outputs.collect()
}

fn explanation(folder: &Folder) -> String {
    let args = [
        "explain",
        "example.sql",
        "--shards",
        "1",
        "--format",
        "table",
    ];
    let ended = folder.run(&args);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    ended.out
}

/// Rows, or why there are none. What this very host lacks is not the page's matter.
fn written(ended: &Ended) -> String {
    if ended.code == Some(0) {
        return ended.out.clone();
    }
    let lines = ended.err.split_inclusive('\n');
    let told: String = lines
        .filter(|line| !line.starts_with("velo: host: "))
        .collect();
    format!("{}{told}", ended.out)
}

/// What a file holds, unpacked.
fn held(path: &Path) -> String {
    let bytes = fs::read(path).expect("the example writes it");
    if path.extension().is_none_or(|extension| extension != "zst") {
        return String::from_utf8(bytes).expect("text");
    }
    let mut text = String::new();
    zstd::Decoder::new(&bytes[..])
        .and_then(|mut decoder| decoder.read_to_string(&mut text))
        .expect("a file that was packed");
    text
}

/// The line of the page in which byte `at` is, from one.
fn line(page: &str, at: usize) -> usize {
    page[..at].matches('\n').count() + 1
}
