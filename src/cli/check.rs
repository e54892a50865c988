//! `velo check`: parses, plans and validates, and touches no broker.

use super::args::CheckArgs;
use super::settings::core_map;
use crate::error::Result;
use crate::job;

/// Runs the command.
pub fn run(args: &CheckArgs) -> Result<()> {
    let config = args.config.read()?;
    let text = args.sql.read()?;
    let shards = core_map(&config)?.shards();
    let script = text.plan(&config, shards)?;
    let query = match &script.query {
        Some(query) => {
            job::check(query.plan(), &config)?;
            "1 query"
        }
        None => "no query",
    };
    eprintln!(
        "velo: {} is right: {} streams, {query}",
        text.name,
        script.streams.len()
    );
    Ok(())
}
