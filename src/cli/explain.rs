//! `velo explain`: for each query of a file the plan, the exchange and why, and what is pushed into the source.

use super::args::ExplainArgs;
use super::output::print;
use super::settings::core_map;
use super::show::explanations;
use crate::error::{Error, Result};
use crate::plan::Plan;

/// Runs the command.
pub fn run(args: &ExplainArgs) -> Result<()> {
    let config = args.config.read()?;
    let text = args.sql.read()?;
    let shards = core_map(&config)?.shards();
    let script = text.plan(&config, shards)?;
    let plans: Vec<&Plan> = script.queries().collect();
    if plans.is_empty() {
        return Err(Error::Usage(format!(
            "{} holds no query to explain; add a SELECT, an INSERT INTO or a CREATE STREAM .. AS",
            text.name
        )));
    }
    print(&explanations(&plans, shards, args.output.chosen()))
}
