//! `velo topology`: which shard runs on which core.

use comfy_table::{Table, presets};
use serde::Serialize;
use velostream_shards::{CoreMap, Placement};

use super::args::{OutputFormat, TopologyArgs};
use super::output::{csv_line, print};
use super::settings::core_map;
use crate::error::Result;

/// One placement. `cpu`, `node` and `smt` are OS indexes, the rest hwloc's logical ones.
#[derive(Serialize)]
struct Line<'a> {
    schema: u32,
    role: &'static str,
    shard: Option<u16>,
    cpu: u32,
    core: u32,
    package: u32,
    node: u32,
    l3: u32,
    smt: &'a [u32],
}

const COLUMNS: [&str; 8] = [
    "role", "shard", "cpu", "core", "package", "node", "l3", "smt",
];

/// Runs the command.
pub fn run(args: &TopologyArgs) -> Result<()> {
    let map = core_map(&args.config.read()?)?;
    print(&text(&map, args.output.chosen()))
}

/// The core map, a line per placement.
fn text(map: &CoreMap, format: OutputFormat) -> String {
    let lines = map.placements().iter().map(Line::of);
    match format {
        OutputFormat::Json => lines
            .map(|line| {
                serde_json::to_string(&line).expect("names and numbers are always JSON") + "\n"
            })
            .collect(),
        OutputFormat::Csv => {
            csv_line(&COLUMNS)
                + &lines
                    .map(|line| csv_line(&line.fields().each_ref().map(String::as_str)))
                    .collect::<String>()
        }
        OutputFormat::Table => {
            let mut table = Table::new();
            table
                .load_preset(presets::UTF8_BORDERS_ONLY)
                .set_header(COLUMNS);
            table.add_rows(lines.map(|line| line.fields()));
            format!("{table}\n")
        }
    }
}

impl<'a> Line<'a> {
    fn of(placement: &'a Placement) -> Line<'a> {
        Line {
            schema: 1,
            role: "shard",
            shard: Some(placement.shard.0),
            cpu: placement.cpu,
            core: placement.core,
            package: placement.package,
            node: placement.node,
            l3: placement.l3,
            smt: &placement.smt,
        }
    }

    fn fields(&self) -> [String; COLUMNS.len()] {
        [
            self.role.to_owned(),
            self.shard
                .map(|shard| shard.to_string())
                .unwrap_or_default(),
            self.cpu.to_string(),
            self.core.to_string(),
            self.package.to_string(),
            self.node.to_string(),
            self.l3.to_string(),
            self.smt
                .iter()
                .map(u32::to_string)
                .collect::<Vec<_>>()
                .join(" "),
        ]
    }
}
