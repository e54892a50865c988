//! `velo topology`: which shard runs on which core, and which cores are kept for housekeeping.
//!
//! Law: `--suggest` prints a `[shards]` section that gives the map which the command prints without it.

use comfy_table::{Table, presets};
use serde::Serialize;
use velostream_shards::core_map::written_cpus;
use velostream_shards::{Arrangement, CoreMap, Cpu, Machine, Numa, Placement, Smt};

use super::args::{OutputFormat, TopologyArgs};
use super::output::{csv_line, print};
use super::settings::{core_map_on, machine};
use crate::config::ShardsConfig;
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
    let config = args.config.read()?;
    let machine = machine()?;
    let map = core_map_on(&machine, &config)?;
    print(&match args.suggest {
        true => suggestion(&machine, &map, &config.shards),
        false => text(&map, args.output.chosen()),
    })
}

/// A `[shards]` section that says by name what was decided by rule.
fn suggestion(machine: &Machine, map: &CoreMap, config: &ShardsConfig) -> String {
    let shards: Vec<u32> = map.placements().iter().map(|seat| seat.cpu).collect();
    let kept: Vec<u32> = map.housekeeping().iter().map(|cpu| cpu.cpu).collect();
    let usable = machine.cpus.iter().filter(|cpu| cpu.usable).count();
    // A list names each cpu once, so shards that share cpus are a count.
    let cores = match map.oversubscribed() {
        true => shards.len().to_string(),
        false => format!("\"{}\"", written_cpus(&shards)),
    };
    let housekeeping = match kept.as_slice() {
        [] => "0".to_owned(),
        kept => format!("\"{}\"", written_cpus(kept)),
    };
    let placement = match config.core_map.arrangement {
        Arrangement::Spread => "spread",
        Arrangement::Pack => "pack",
    };
    let smt = match config.core_map.smt {
        Smt::Avoid => "avoid",
        Smt::Use => "use",
    };
    let numa = match config.numa {
        Numa::Strict => "strict",
        Numa::Prefer => "prefer",
        Numa::Off => "off",
    };
    let mut section = format!(
        "# packages {}, NUMA nodes {}, L3 domains {}, cores {}, hardware threads {}, of them usable {usable}\n[shards]\n\
         cores = {cores}\nhousekeeping = {housekeeping}\nplacement = \"{placement}\"\nsmt = \"{smt}\"\nnuma = \"{numa}\"\n",
        machine.packages(),
        machine.nodes(),
        machine.l3_domains(),
        machine.cores(),
        machine.cpus.len(),
    );
    if map.oversubscribed() {
        section += "oversubscribe = true\n";
    }
    section
}

/// The core map, a line per placement.
fn text(map: &CoreMap, format: OutputFormat) -> String {
    let shards = map.placements().iter().map(Line::of_shard);
    let lines = shards.chain(map.housekeeping().iter().map(Line::of_housekeeping));
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
    fn of_housekeeping(cpu: &'a Cpu) -> Line<'a> {
        Line {
            schema: 1,
            role: "housekeeping",
            shard: None,
            cpu: cpu.cpu,
            core: cpu.core,
            package: cpu.package,
            node: cpu.node,
            l3: cpu.l3,
            smt: &cpu.smt,
        }
    }

    fn of_shard(placement: &'a Placement) -> Line<'a> {
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
