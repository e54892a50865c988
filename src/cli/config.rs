//! `velo config show`: every key of the configuration with its value, and where that was written. Secrets are not shown: of one
//! that is kept elsewhere the reference is, such as `${PASSWORD}`.

use comfy_table::{Table, presets};
use serde_json::{Map, Value as Json, json};
use toml::Value;

use super::args::{ConfigCommand, ConfigCommandArgs, ConfigShowArgs, OutputFormat};
use super::output::{csv_line, print};
use crate::config::{Config, Setting};
use crate::error::Result;
use crate::kafka;

/// Runs the command.
pub fn run(args: &ConfigCommandArgs) -> Result<()> {
    let ConfigCommand::Show(args) = &args.command;
    let config = args.config.read()?;
    print(&page(&settings(&config), args))
}

/// The keys, those of `[kafka]` last.
fn settings(config: &Config) -> Vec<Setting> {
    let mut settings = config.settings();
    for property in kafka::Settings::shown(&config.kafka) {
        settings.push(Setting {
            value: Some(Value::String(property.value.to_string())),
            key: property.key,
            origin: property.origin,
        });
    }
    settings
}

fn page(settings: &[Setting], args: &ConfigShowArgs) -> String {
    let names = match args.origin {
        true => &["key", "value", "origin"][..],
        false => &["key", "value"],
    };
    let row = |setting: &Setting| {
        let value = setting.value.as_ref().map(text).unwrap_or_default();
        let mut row = vec![setting.key.clone(), value, setting.origin.to_string()];
        row.truncate(names.len());
        row
    };
    match args.output.chosen() {
        OutputFormat::Table => {
            let mut table = Table::new();
            table.load_preset(presets::NOTHING);
            table.set_header(names);
            table.add_rows(settings.iter().map(row));
            format!("{table}\n")
        }
        OutputFormat::Json => {
            let lines = settings.iter().map(|setting| {
                let mut object = Map::new();
                object.insert("schema".to_owned(), json!(1));
                object.insert("key".to_owned(), json!(setting.key));
                let value = setting.value.as_ref().map_or(Json::Null, json_of);
                object.insert("value".to_owned(), value);
                if args.origin {
                    object.insert("origin".to_owned(), json!(setting.origin.to_string()));
                }
                format!("{}\n", Json::Object(object))
            });
            lines.collect()
        }
        OutputFormat::Csv => {
            let mut lines = csv_line(names);
            for setting in settings {
                let row = row(setting);
                let fields: Vec<&str> = row.iter().map(String::as_str).collect();
                lines += &csv_line(&fields);
            }
            lines
        }
    }
}

/// A value as a person reads it: text without quotes.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn json_of(value: &Value) -> Json {
    match value {
        Value::Integer(number) => json!(number),
        Value::Boolean(is_so) => json!(is_so),
        other => json!(text(other)),
    }
}
