//! `velo run`: runs the query of a file.

use super::args::{OutputFormat, RunArgs};
use super::explain::show;
use super::settings::startable_core_map;
use crate::error::{Error, Result};
use crate::job::{self, RowFormat, RunRequest};
use crate::sql::Query;

/// Runs the command.
pub fn run(args: &RunArgs) -> Result<()> {
    let config = args.config.read()?;
    let core_map = startable_core_map(&config)?;
    let text = args.sql.read()?;
    let script = text.plan(&config, core_map.shards())?;
    let format = args.output.chosen();
    match script.query {
        None => Err(Error::Usage(format!(
            "{} holds no query to run; add a SELECT or a CREATE STREAM .. AS",
            text.name
        ))),
        Some(Query::Explain(plan)) => show(&plan, core_map.shards(), format),
        Some(Query::Run(plan)) => {
            let request = RunRequest {
                rows: match format {
                    OutputFormat::Table => RowFormat::Table,
                    OutputFormat::Json => RowFormat::Json,
                    OutputFormat::Csv => RowFormat::Csv,
                },
                duration: args.duration,
                report: args.report.clone(),
            };
            job::run(&plan, &config, &core_map, &request)
        }
    }
}
