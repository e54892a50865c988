//! `velo check`: parses, plans and validates, says all that is wrong, and touches no broker.

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
    job::check(&script.job, &config)?;
    eprintln!(
        "velo: {} is right: {}, {}",
        text.name,
        counted(script.streams.len(), "stream", "streams"),
        counted(script.queries().count(), "query", "queries"),
    );
    Ok(())
}

fn counted(count: usize, one: &str, several: &str) -> String {
    match count {
        0 => format!("no {one}"),
        1 => format!("1 {one}"),
        _ => format!("{count} {several}"),
    }
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn things_are_counted_as_people_do() {
        let queries = |count| counted(count, "query", "queries");
        assert_eq!(queries(0), "no query");
        assert_eq!(queries(1), "1 query");
        assert_eq!(queries(2), "2 queries");
    }
}
