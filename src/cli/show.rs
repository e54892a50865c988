//! What statements show instead of running: EXPLAIN, SHOW STREAMS, DESCRIBE.

use serde_json::json;

use super::args::OutputFormat;
use super::output::{csv_line, print};
use crate::error::Result;
use crate::plan::explain::Explanation;
use crate::plan::{EventTimeColumn, Plan, SourceConnector, StreamSpec, sql_type};
use crate::sql::Shown;

/// Writes what a statement asks for to standard output.
pub fn show(shown: &Shown, shards: usize, format: OutputFormat) -> Result<()> {
    print(&match shown {
        Shown::Explain(plan) => explanations(&[plan.as_ref()], shards, format),
        Shown::Streams(streams) => {
            let rows = streams.iter().map(|stream| {
                let time = event_time(stream);
                [
                    stream.name.clone(),
                    connector(stream),
                    time.unwrap_or_default(),
                ]
            });
            table(&["stream", "connector", "event_time"], rows, format)
        }
        Shown::Columns(stream) => {
            let rows = stream.columns.fields().iter().map(|field| {
                let nullable = if field.is_nullable() { "yes" } else { "no" };
                let data_type = sql_type(field.data_type());
                [field.name().clone(), data_type, nullable.to_owned()]
            });
            table(&["column", "type", "nullable"], rows, format)
        }
    })
}

/// The plans, each as a page, as one JSON object a line, or their stages as CSV.
pub fn explanations(plans: &[&Plan], shards: usize, format: OutputFormat) -> String {
    let explained = plans.iter().map(|plan| Explanation::of(plan, shards));
    match format {
        OutputFormat::Table => {
            let pages: Vec<String> = explained.map(|one| one.text()).collect();
            pages.join("\n")
        }
        OutputFormat::Json => explained
            .map(|one| {
                let object =
                    serde_json::to_string(&one).expect("names and numbers are always JSON");
                format!("{object}\n")
            })
            .collect(),
        OutputFormat::Csv => {
            let mut lines = csv_line(&["query", "stage", "operator", "detail"]);
            for one in explained {
                for stage in &one.stages {
                    lines += &csv_line(&[&one.query, stage.stage, stage.operator, &stage.detail]);
                }
            }
            lines
        }
    }
}

/// Rows of text under `names`, in the asked form. An empty text is null in JSON.
fn table<const N: usize>(
    names: &[&str; N],
    rows: impl Iterator<Item = [String; N]>,
    format: OutputFormat,
) -> String {
    match format {
        OutputFormat::Table => {
            let mut table = comfy_table::Table::new();
            table.load_preset(comfy_table::presets::NOTHING);
            table.set_header(names);
            for row in rows {
                table.add_row(row);
            }
            format!("{table}\n")
        }
        OutputFormat::Json => rows
            .map(|row| {
                let values = row.into_iter().map(|text| match text.is_empty() {
                    true => json!(null),
                    false => json!(text),
                });
                let named = names.iter().map(|name| (*name).to_owned()).zip(values);
                let mut object = serde_json::Map::new();
                object.insert("schema".to_owned(), json!(1));
                object.extend(named);
                format!("{}\n", serde_json::Value::Object(object))
            })
            .collect(),
        OutputFormat::Csv => {
            let mut lines = csv_line(names);
            for row in rows {
                lines += &csv_line(&row.each_ref().map(String::as_str));
            }
            lines
        }
    }
}

fn connector(stream: &StreamSpec) -> String {
    match &stream.connector {
        SourceConnector::File(file) => format!("file:{}", file.path.display()),
        SourceConnector::Kafka(kafka) => format!("kafka:{}", kafka.topic),
        SourceConnector::Datagen(_) => "datagen".to_owned(),
        SourceConnector::Memory(_) | SourceConnector::Queries(_) => "memory".to_owned(),
    }
}

fn event_time(stream: &StreamSpec) -> Option<String> {
    let time = stream.event_time.as_ref()?;
    Some(match time.column {
        EventTimeColumn::Declared(index) => stream.columns.field(index).name().clone(),
        EventTimeColumn::Message => "_timestamp".to_owned(),
        EventTimeColumn::Row => "of its rows".to_owned(),
    })
}
