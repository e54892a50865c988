//! What a user types and reads, golden: exit code, standard output, standard error.

mod bench;
mod config;
mod topology;
mod usage;

use assert_cmd::Command;

/// `velo` in an empty folder, without what the environment of the test might say.
fn velo(folder: &tempfile::TempDir) -> Command {
    let mut command = Command::cargo_bin("velo").expect("the binary was built with the tests");
    command
        .current_dir(folder.path())
        .env_remove("HWLOC_SYNTHETIC")
        .env_remove("HWLOC_XMLFILE")
        .env("COLUMNS", "100");
    command
}

fn empty_folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// Runs it and writes down what it did.
fn done(command: &mut Command) -> String {
    let output = command.output().expect("it can be started");
    let code = output
        .status
        .code()
        .map_or("none".to_owned(), |code| code.to_string());
    let mut text = format!("exit {code}\n");
    for (name, stream) in [("out", output.stdout), ("err", output.stderr)] {
        for line in String::from_utf8(stream).expect("it writes text").lines() {
            text.push_str(format!("{name}| {line}").trim_end());
            text.push('\n');
        }
    }
    text
}
