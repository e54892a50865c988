//! The command line: one command a file.
//!
//! ```text
//!   args.rs (what was typed) --> run.rs | check.rs | explain.rs | topology.rs | doctor/ | bench.rs | demo.rs | config.rs
//!                                | completions.rs --> render.rs (how errors look)
//! ```
//!
//! Laws: data goes to standard output and everything else to standard error; the cause of an error alone decides the exit
//! code. A panic, wherever it is, is a programmer's error and ends the process with 70.

mod args;
mod bench;
mod check;
mod completions;
mod config;
mod demo;
mod doctor;
mod explain;
mod output;
mod render;
mod run;
mod settings;
mod show;
mod topology;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::Parser;
use velostream_shards::panic_message;

use crate::error::{Error, Result, exit};
use args::{Args, Command};

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(answer) => {
            // Help and version are data, the rest is not; both are written where they belong, as far as that is possible.
            let _ = answer.print();
            return ExitCode::from(if answer.use_stderr() {
                exit::USAGE
            } else {
                exit::OK
            });
        }
    };
    // Nothing of the command is looked at after a panic.
    let done = catch_unwind(AssertUnwindSafe(|| run_command(&args.command)));
    let done = done.unwrap_or_else(|panic| {
        Err(Error::Runtime(format!(
            "a mistake in velo, not in what it was given: {}; please report it with the command and the SQL",
            panic_message(&*panic)
        )))
    });
    match done {
        Ok(()) => ExitCode::from(exit::OK),
        Err(error) => {
            // Somebody who stops reading has had enough and needs no words about it.
            if !matches!(error, Error::Closed(_)) {
                render::error(&error);
            }
            ExitCode::from(error.exit_code())
        }
    }
}

fn run_command(command: &Command) -> Result<()> {
    match command {
        Command::Run(args) => run::run(args),
        Command::Check(args) => check::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Topology(args) => topology::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Config(args) => config::run(args),
        Command::Completions(args) => completions::run(args),
    }
}
