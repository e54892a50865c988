//! `velo bench`: measures, through the shipped pipeline.

use std::ffi::OsString;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::Value;

use super::args::{
    BenchArgs, BenchCommand, ConfigArgs, KafkaArgs, KafkaPartArgs, OutputFormat, RuntimeArgs,
    ScenarioArgs,
};
use super::output::{csv_line, print};
use super::settings::startable_core_map;
use crate::bench::kafka::{self, KafkaRequest, PartRequest};
use crate::bench::{self, ScenarioRequest, runtime};
use crate::error::Result;

/// Runs the command.
pub fn run(args: &BenchArgs) -> Result<()> {
    match &args.bench {
        BenchCommand::Scenario(args) => scenario(args),
        BenchCommand::Runtime(args) => measure_runtime(args),
        BenchCommand::Kafka(args) => measure_tiers(args),
        BenchCommand::KafkaPart(args) => measure_part(args),
    }
}

fn measure_tiers(args: &KafkaArgs) -> Result<()> {
    let config = args.config.read()?;
    let core_map = startable_core_map(&config)?;
    let request = KafkaRequest {
        tiers: args.tier.iter().map(|&tier| tier.into()).collect(),
        scenario: args.scenario.into(),
        records: args.records,
        repeat: args.repeat,
        rate: args.rate,
        seconds: args.seconds,
    };
    let mut tell = |text: &str| eprintln!("velo: {text}");
    let typed = as_typed(&args.config);
    let lines = kafka::run(&config, core_map.shards(), &request, &typed, &mut tell)?;
    if let Some(folder) = &args.out {
        for line in &lines {
            let path = line.keep(folder)?;
            eprintln!("velo: kept in {}", path.display());
        }
    }
    let texts: Vec<String> = lines
        .iter()
        .map(|line| text(&line.json(), args.output.chosen()))
        .collect();
    print(&texts.concat())
}

fn measure_part(args: &KafkaPartArgs) -> Result<()> {
    let config = args.config.read()?;
    let core_map = startable_core_map(&config)?;
    let request = PartRequest {
        part: args.part.into(),
        tier: args.tier.into(),
        scenario: args.scenario.into(),
        topic: args.topic.clone(),
        end: args.end.clone(),
        records: args.records,
    };
    kafka::measure(&config, &core_map, &request)
}

/// The arguments by which another process is configured as this one was.
fn as_typed(config: &ConfigArgs) -> Vec<OsString> {
    let mut typed = Vec::new();
    if let Some(file) = &config.config {
        typed.extend(["--config".into(), file.clone().into_os_string()]);
    }
    for setting in &config.set {
        typed.extend(["--set".into(), setting.into()]);
    }
    if let Some(shards) = config.shards {
        typed.extend(["--shards".into(), shards.to_string().into()]);
    }
    typed
}

fn measure_runtime(args: &RuntimeArgs) -> Result<()> {
    let config = args.config.read()?;
    let core_map = startable_core_map(&config)?;
    let line = runtime::measure(&config, &core_map, args.messages)?;
    let json = serde_json::to_string(&line).expect("figures and names are always JSON");
    print(&text(&json, args.output.chosen()))
}

fn scenario(args: &ScenarioArgs) -> Result<()> {
    let config = args.config.read()?;
    let core_map = startable_core_map(&config)?;
    let request = ScenarioRequest {
        scenario: args.scenario.into(),
        records: args.records,
        groups: args.groups,
        input: args.input.into(),
        repeat: args.repeat,
        dump: args.dump.clone(),
    };
    if args.explain {
        let explained = bench::explain(&request, core_map.shards())?;
        return print(&format!("{}\n{}", explained.sql, explained.plan));
    }
    let mut tell = |text: &str| eprintln!("velo: {text}");
    let line = bench::run(&config, &core_map, &request, &mut tell)?;
    if let Some(folder) = &args.out {
        let path = line.keep(folder)?;
        eprintln!("velo: kept in {}", path.display());
    }
    print(&text(&line.json(), args.output.chosen()))
}

/// One object of figures, in the format that was chosen.
fn text(json: &str, format: OutputFormat) -> String {
    if format == OutputFormat::Json {
        return json.to_owned() + "\n";
    }
    let object = serde_json::from_str(json).expect("just written as JSON");
    let mut fields = Vec::new();
    flatten("", &object, &mut fields);
    match format {
        OutputFormat::Csv => {
            let (names, values): (Vec<&str>, Vec<&str>) = fields
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .unzip();
            csv_line(&names) + &csv_line(&values)
        }
        _ => {
            let mut table = Table::new();
            table.load_preset(presets::UTF8_BORDERS_ONLY);
            table.add_rows(fields.iter().map(|(name, value)| [name, value]));
            if let Some(values) = table.column_mut(1) {
                values.set_cell_alignment(CellAlignment::Right);
            }
            format!("{table}\n")
        }
    }
}

/// The fields of `value`, those of an inner object as `outer.inner`.
fn flatten(name: &str, value: &Value, fields: &mut Vec<(String, String)>) {
    match value {
        Value::Object(object) => {
            for (inner, value) in object {
                let name = match name {
                    "" => inner.clone(),
                    outer => format!("{outer}.{inner}"),
                };
                flatten(&name, value, fields);
            }
        }
        Value::String(text) => fields.push((name.to_owned(), text.clone())),
        other => fields.push((name.to_owned(), other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inner_field_is_named_with_its_outer_one() {
        let object = serde_json::json!({"a": 1, "b": {"c": "x", "d": {"e": null}}});
        let mut fields = Vec::new();
        flatten("", &object, &mut fields);
        let named: Vec<_> = fields
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(named, ["a=1", "b.c=x", "b.d.e=null"]);
    }
}
