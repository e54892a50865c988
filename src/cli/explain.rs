//! `velo explain`: the plan, the exchange and why, and what is pushed into the source.

use super::args::{ExplainArgs, OutputFormat};
use super::output::{csv_line, print};
use super::settings::core_map;
use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::plan::explain::Explanation;
use crate::sql::Query;

/// Runs the command.
pub fn run(args: &ExplainArgs) -> Result<()> {
    let config = args.config.read()?;
    let text = args.sql.read()?;
    let shards = core_map(&config)?.shards();
    match text.plan(&config, shards)?.query {
        None => Err(Error::Usage(format!(
            "{} holds no query to explain; add a SELECT or a CREATE STREAM .. AS",
            text.name
        ))),
        Some(Query::Run(plan) | Query::Explain(plan)) => show(&plan, shards, args.output.chosen()),
    }
}

/// Writes the explanation of `plan`: as a page, as one JSON object, or its stages as CSV.
pub fn show(plan: &Plan, shards: usize, format: OutputFormat) -> Result<()> {
    let explanation = Explanation::of(plan, shards);
    print(&match format {
        OutputFormat::Table => explanation.text(),
        OutputFormat::Json => {
            let object =
                serde_json::to_string(&explanation).expect("names and numbers are always JSON");
            format!("{object}\n")
        }
        OutputFormat::Csv => {
            let header = csv_line(&["query", "stage", "operator", "detail"]);
            let query = explanation.query.as_str();
            let stages = explanation.stages.iter();
            header
                + &stages
                    .map(|one| csv_line(&[query, one.stage, one.operator, &one.detail]))
                    .collect::<String>()
        }
    })
}
