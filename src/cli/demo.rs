//! `velo demo`: real flights through an in-process broker and a windowed query.

use super::args::DemoArgs;
use super::output::print;
use super::settings::startable_core_map;
use crate::demo::{self, DemoRequest};
use crate::error::Result;

/// Runs the command.
pub fn run(args: &DemoArgs) -> Result<()> {
    let config = args.config.read()?;
    let core_map = startable_core_map(&config)?;
    let request = DemoRequest { rate: args.rate };
    demo::run(&config, &core_map, &request, &mut print)
}
