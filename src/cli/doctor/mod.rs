//! `velo doctor`: what a host should be like for the shards that the configuration gives, a line a check, each with the command
//! that mends it. `velo run` looks too, and says what fails.
//!
//! ```text
//!   Host (a root folder: /proc, /sys) --\
//!   Wanted (core map, configuration) ----+--> checks --> Finding: check, state, found, fix
//!   io_uring, asked by its smallest ring --/
//! ```
//!
//! Law: nothing is changed, and nothing is believed that was not read. A check that has nothing to say on this machine (no
//! frequency scaling, one NUMA node) is ok and says why.

mod checks;
mod host;

use std::path::Path;

use comfy_table::{Table, presets};
use serde::Serialize;
use velostream_shards::{CoreMap, Machine, Numa, ReactorChoice, ReactorError, io_uring_refusal};

use super::args::{DoctorArgs, OutputFormat};
use super::output::{csv_line, print};
use super::settings::{machine, startable_core_map_on};
use crate::config::Config;
use crate::error::{Error, Result};
use host::Host;

/// What the shards ask of a host.
struct Wanted {
    shards: usize,
    /// The cpus that carry shards, by the operating system's index.
    cpus: Vec<u32>,
    /// How many cpus the machine has.
    cpus_all: usize,
    /// Whether cores are kept free of shards.
    keeps_cores: bool,
    /// NUMA nodes of the machine.
    nodes: usize,
    reactor: ReactorChoice,
    numa: Numa,
    /// Why the kernel grants no ring, if it does not.
    io_uring: Option<ReactorError>,
}

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// As it should be, or of no matter here.
    Ok,
    /// It could be better: there is something to be gained.
    Advice,
    /// It is not as the shards need it: the run does less than it could, does otherwise than it was told, or cannot be.
    Fails,
}

/// Why a run is impossible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Impossible {
    /// The host withholds it.
    Permission,
    /// It is configured so.
    Config,
}

/// What a check found.
#[derive(Debug)]
struct Finding {
    check: &'static str,
    state: State,
    /// What is there, and what that means.
    found: String,
    /// The command that mends it; `None` when there is nothing to mend.
    fix: Option<String>,
    /// Set where `velo run` would refuse.
    impossible: Option<Impossible>,
}

/// A line of the output.
#[derive(Serialize)]
struct Line<'f> {
    schema: u32,
    check: &'static str,
    state: State,
    found: &'f str,
    fix: Option<&'f str>,
    prevents_run: bool,
}

const COLUMNS: [&str; 4] = ["check", "state", "found", "fix"];

/// Runs the command.
pub fn run(args: &DoctorArgs) -> Result<()> {
    let config = args.config.read()?;
    let machine = machine()?;
    let core_map = startable_core_map_on(&machine, &config)?;
    let wanted = Wanted::by(&config, &machine, &core_map);
    let findings = checks::all(&Host::at(Path::new("/")), &wanted);
    print(&text(&findings, args.output.chosen()))?;
    verdict(&findings)
}

/// Says on standard error what fails of the host on which `velo run` is about to start shards. What the shards themselves tell
/// when they open their reactor is left to them; and where several share a cpu, as in tests, how fast they are does not matter.
pub fn preflight(config: &Config, machine: &Machine, core_map: &CoreMap) {
    let wanted = Wanted::by(config, machine, core_map);
    for line in failing(
        &checks::before_run(&Host::at(Path::new("/")), &wanted),
        core_map,
    ) {
        eprintln!("velo: {line}");
    }
}

fn failing(findings: &[Finding], core_map: &CoreMap) -> Vec<String> {
    let fails = |finding: &&Finding| {
        finding.state == State::Fails
            && (finding.impossible.is_some() || !core_map.oversubscribed())
    };
    let line = |finding: &Finding| {
        let fix = finding.fix.as_ref();
        let fix = fix.map(|fix| format!("; {fix}")).unwrap_or_default();
        format!("host: {}: {}{fix}", finding.check, finding.found)
    };
    findings.iter().filter(fails).map(line).collect()
}

impl Wanted {
    fn by(config: &Config, machine: &Machine, core_map: &CoreMap) -> Wanted {
        let mut cpus: Vec<u32> = core_map.placements().iter().map(|seat| seat.cpu).collect();
        cpus.sort_unstable();
        cpus.dedup();
        Wanted {
            shards: core_map.shards(),
            cpus,
            cpus_all: machine.cpus.len(),
            keeps_cores: !core_map.housekeeping().is_empty(),
            nodes: machine.nodes(),
            reactor: config.shards.reactor,
            numa: config.shards.numa,
            io_uring: match config.shards.reactor {
                ReactorChoice::Poll => None,
                ReactorChoice::Auto | ReactorChoice::Glommio => io_uring_refusal(core_map.shards()),
            },
        }
    }
}

fn text(findings: &[Finding], format: OutputFormat) -> String {
    match format {
        OutputFormat::Table => {
            let mut table = Table::new();
            table.load_preset(presets::NOTHING).set_header(COLUMNS);
            table.add_rows(findings.iter().map(Finding::fields));
            format!("{table}\n")
        }
        OutputFormat::Json => findings
            .iter()
            .map(|finding| {
                let line = serde_json::to_string(&finding.line());
                line.expect("names and texts are always JSON") + "\n"
            })
            .collect(),
        OutputFormat::Csv => {
            let lines = findings.iter().map(|finding| csv_line(&finding.fields()));
            csv_line(&COLUMNS) + &lines.collect::<String>()
        }
    }
}

/// What of these makes a run impossible.
fn verdict(findings: &[Finding]) -> Result<()> {
    let impossible = findings
        .iter()
        .filter_map(|finding| Some((finding.check, finding.impossible?)));
    let (checks, why): (Vec<&str>, Vec<Impossible>) = impossible.unzip();
    let Some(first) = why.first() else {
        return Ok(());
    };
    let text = format!(
        "velo run is impossible on this host as it is configured: see {} above",
        checks.join(" and ")
    );
    Err(match first {
        Impossible::Permission => Error::Permission(text),
        Impossible::Config => Error::Config(text),
    })
}

impl Finding {
    fn line(&self) -> Line<'_> {
        Line {
            schema: 1,
            check: self.check,
            state: self.state,
            found: &self.found,
            fix: self.fix.as_deref(),
            prevents_run: self.impossible.is_some(),
        }
    }

    fn fields(&self) -> [&str; COLUMNS.len()] {
        let state = match self.state {
            State::Ok => "ok",
            State::Advice => "advice",
            State::Fails => "fails",
        };
        let fix = self.fix.as_deref().unwrap_or_default();
        [self.check, state, &self.found, fix]
    }
}

#[cfg(test)]
mod tests;
