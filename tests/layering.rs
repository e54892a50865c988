//! The order of modules in src/lib.rs is the layering: a module imports only modules declared above it.
//!
//! Read are the paths `crate::x..`, `crate::{x, y::z}` and `super::x..` that climb to the root. Comments do not count.

use std::fs;
use std::path::{Path, PathBuf};

/// One import that goes up, as `file:line: what`.
fn upward_imports(lib: &str, files: &[(PathBuf, String)]) -> Vec<String> {
    let order = modules(lib);
    let place = |name: &str| order.iter().position(|module| module == name);
    let mut found = Vec::new();
    for (path, text) in files {
        let (importer, depth) = module_of(path);
        let Some(own) = place(&importer) else {
            found.push(format!(
                "{}:1: module {importer} is not declared in src/lib.rs",
                path.display()
            ));
            continue;
        };
        let code = without_comments(text);
        for (at, name) in root_paths(&code, depth) {
            let line = 1 + code[..at].matches('\n').count();
            if place(&name).is_some_and(|imported| imported > own) {
                found.push(format!(
                    "{}:{line}: {importer} imports {name}, which is declared below it",
                    path.display()
                ));
            }
        }
    }
    found
}

/// The modules of src/lib.rs, in order.
fn modules(lib: &str) -> Vec<String> {
    let declared = |line: &str| {
        let line = line.trim();
        let name = line
            .strip_prefix("pub mod ")
            .or_else(|| line.strip_prefix("mod "))?;
        Some(name.strip_suffix(';')?.to_owned())
    };
    lib.lines().filter_map(declared).collect()
}

/// The top module that a file (relative to src/) belongs to, and how deep below the root its own module is.
fn module_of(path: &Path) -> (String, usize) {
    let mut parts: Vec<String> = path
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    let file = parts.pop().expect("a path has a file name");
    if file != "mod.rs" {
        parts.push(file.trim_end_matches(".rs").to_owned());
    }
    (parts[0].clone(), parts.len())
}

/// The text with comments blanked, so that places in it stay what they were.
fn without_comments(text: &str) -> String {
    let blanked = |line: &str| match line.find("//") {
        Some(start) => format!("{}{}", &line[..start], " ".repeat(line.len() - start)),
        None => line.to_owned(),
    };
    text.lines().map(blanked).collect::<Vec<_>>().join("\n")
}

/// Where a path starts at the crate's root, and the module that it names there.
fn root_paths(code: &str, depth: usize) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let whole_word = !code[..at]
            .ends_with(|before: char| before.is_alphanumeric() || before == '_' || before == '$');
        if whole_word {
            found.extend(named(code, at + "crate::".len()));
        }
    }
    let climb = "super::".repeat(depth);
    for (at, _) in code.match_indices(&climb) {
        if !code[..at].ends_with("super::") {
            found.extend(named(code, at + climb.len()));
        }
    }
    found
}

/// The names that a path goes on with at `at`: one, or the first of each branch of `{..}`.
fn named(code: &str, at: usize) -> Vec<(usize, String)> {
    let identifier = |at: usize| {
        let length = code[at..]
            .find(|letter: char| !(letter.is_alphanumeric() || letter == '_'))
            .unwrap_or(code.len() - at);
        (at, code[at..at + length].to_owned())
    };
    if !code[at..].starts_with('{') {
        return vec![identifier(at)];
    }
    let (mut names, mut nesting, mut at_branch) = (Vec::new(), 0, false);
    for (offset, letter) in code[at..].char_indices() {
        match letter {
            '{' => nesting += 1,
            '}' => nesting -= 1,
            _ => {}
        }
        match letter {
            _ if nesting == 0 => break,
            '{' | ',' => at_branch = nesting == 1,
            letter if at_branch && (letter.is_alphanumeric() || letter == '_') => {
                names.push(identifier(at + offset));
                at_branch = false;
            }
            _ => {}
        }
    }
    names
}

/// Every file below src/, with its path relative to that, but the roots themselves.
fn sources() -> (String, Vec<(PathBuf, String)>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut files) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("src/ can be listed") {
            let path = entry.expect("src/ can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source file can be read");
                files.push((
                    path.strip_prefix(&root)
                        .expect("it is below src/")
                        .to_owned(),
                    text,
                ));
            }
        }
    }
    files.retain(|(path, _)| path != Path::new("lib.rs") && path != Path::new("main.rs"));
    (
        fs::read_to_string(root.join("lib.rs")).expect("src/lib.rs can be read"),
        files,
    )
}

#[test]
fn no_module_imports_one_declared_below_it() {
    let (lib, files) = sources();
    assert!(files.len() > 10, "the sources were not found");
    let found = upward_imports(&lib, &files);
    assert!(
        found.is_empty(),
        "imports go down the list of src/lib.rs only:\n{}",
        found.join("\n")
    );
}

#[test]
fn a_planted_upward_import_is_found_with_file_and_line() {
    let lib = "pub mod error;\n\n/// Doc.\npub mod time;\npub mod sink;\n";
    let planted =
        |path: &str, text: &str| upward_imports(lib, &[(PathBuf::from(path), text.to_owned())]);
    assert_eq!(
        planted(
            "time/mod.rs",
            "use crate::error::Error;\n\nuse crate::sink::Sink;\n"
        ),
        ["time/mod.rs:3: time imports sink, which is declared below it"]
    );
    let upward = "error imports sink, which is declared below it";
    assert_eq!(
        planted("error.rs", "fn f() { crate::sink::g() }"),
        [format!("error.rs:1: {upward}")]
    );
    assert_eq!(
        planted("error/a.rs", "use super::super::sink;"),
        [format!("error/a.rs:1: {upward}")]
    );
    assert_eq!(
        planted(
            "error.rs",
            "use crate::{\n    error::{a, sink},\n    sink::{self, b},\n};"
        ),
        [format!("error.rs:3: {upward}")]
    );
    assert_eq!(
        planted("other.rs", ""),
        ["other.rs:1: module other is not declared in src/lib.rs"]
    );
    for allowed in [
        "// use crate::sink;",
        "use super::sink::x;",
        "use mycrate::sink;",
        "use crate::time;",
    ] {
        assert_eq!(
            planted("time/a.rs", allowed),
            [] as [String; 0],
            "{allowed}"
        );
    }
}
