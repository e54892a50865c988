//! A test in a process of its own, for what belongs to the whole process: its environment, its
//! limits.

use std::env;
use std::process::Command;

/// Runs one test of this binary, by its full path, in a new process.
pub(crate) fn command(test: &str) -> Command {
    let mut command = Command::new(env::current_exe().expect("a test knows its own binary"));
    command.args(["--exact", test, "--nocapture"]);
    command
}
