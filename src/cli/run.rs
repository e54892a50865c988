//! `velo run`: shows what a file asks to be shown, then runs its queries as one job.

use super::args::{OutputFormat, RunArgs};
use super::doctor;
use super::settings::{machine, startable_core_map_on};
use super::show::show;
use crate::error::{Error, Result};
use crate::job::{self, RowFormat, RunRequest};

/// Runs the command.
pub fn run(args: &RunArgs) -> Result<()> {
    let config = args.config.read()?;
    let machine = machine()?;
    let core_map = startable_core_map_on(&machine, &config)?;
    let text = args.sql.read()?;
    let script = text.plan(&config, core_map.shards())?;
    let format = args.output.chosen();
    if script.job.queries.is_empty() && script.shown.is_empty() {
        return Err(Error::Usage(format!(
            "{} holds no query to run; add a SELECT, an INSERT INTO or a CREATE STREAM .. AS",
            text.name
        )));
    }
    for shown in &script.shown {
        show(shown, core_map.shards(), format)?;
    }
    if script.job.queries.is_empty() {
        return Ok(());
    }
    let request = RunRequest {
        rows: match format {
            OutputFormat::Table => RowFormat::Table,
            OutputFormat::Json => RowFormat::Json,
            OutputFormat::Csv => RowFormat::Csv,
        },
        duration: args.duration,
        report: args.report.clone(),
        script: args.sql.file.clone(),
        discard_commits: args.discard_commits,
    };
    doctor::preflight(&config, &machine, &core_map);
    job::run(&script.job, &config, &core_map, &request)
}
