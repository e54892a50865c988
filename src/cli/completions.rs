//! `velo completions`: what a shell needs to complete the commands, made from the one definition of them.

use clap::CommandFactory;

use super::args::{Args, CompletionsArgs};
use super::output::print;
use crate::error::Result;

/// Runs the command.
pub fn run(args: &CompletionsArgs) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "velo", &mut script);
    print(&String::from_utf8_lossy(&script))
}
