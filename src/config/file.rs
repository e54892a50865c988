//! What was written: `velostream.toml` and `--set`, as a flat list of keys with their values and where each was written.
//!
//! ```text
//!   [kafka.consumer]  "fetch.min.bytes" = 1     ->  kafka.consumer.fetch.min.bytes = 1   (velostream.toml)
//!   --set shards.lane_blocks=8                  ->  shards.lane_blocks = 8               (--set)
//! ```
//!
//! Law: a later writing of a key replaces an earlier one. What a key means, and whether there is such a key, is not decided
//! here but in `mod.rs`.

use std::fmt;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::error::{Error, Result};

/// The file that is read when none is named, if it is there.
pub const DEFAULT_FILE: &str = "velostream.toml";

/// One key as it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// Its path, such as `shards.lane_blocks`; quoting is undone.
    pub key: String,
    /// Its value; a table only when that is empty.
    pub value: Value,
    /// Where it was written.
    pub origin: Origin,
}

/// Where a key was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In a file.
    File(PathBuf),
    /// On the command line, by this flag.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File(path) => write!(f, "{}", path.display()),
            Origin::Flag(flag) => f.write_str(flag),
        }
    }
}

/// Reads the named file, or `velostream.toml` of the working directory if it is there, and then each `key=value`.
pub fn written(file: Option<&Path>, settings: &[String]) -> Result<Vec<Written>> {
    let mut written = Vec::new();
    let default = Path::new(DEFAULT_FILE);
    if let Some(path) = file.or(default.exists().then_some(default)) {
        let text = std::fs::read_to_string(path).map_err(|cause| {
            Error::Config(format!(
                "cannot read the configuration {}: {cause}",
                path.display()
            ))
        })?;
        flatten(
            "",
            parse(path, &text)?,
            &Origin::File(path.to_owned()),
            &mut written,
        );
    }
    for setting in settings {
        flatten(
            "",
            setting_table(setting)?,
            &Origin::Flag("--set"),
            &mut written,
        );
    }
    Ok(written)
}

fn parse(path: &Path, text: &str) -> Result<Table> {
    text.parse::<Table>().map_err(|cause| {
        let line = cause.span().map_or(1, |span| {
            1 + text[..span.start.min(text.len())].matches('\n').count()
        });
        Error::Config(format!(
            "{} line {line}: {}",
            path.display(),
            cause.message()
        ))
    })
}

/// Reads one `key=value`: the value is TOML if it is that, else a string.
fn setting_table(setting: &str) -> Result<Table> {
    let Some((key, value)) = setting.split_once('=') else {
        return Err(Error::Usage(format!(
            "--set {setting}: write --set section.key=value"
        )));
    };
    if key.contains('\n') {
        return Err(Error::Usage(format!(
            "--set {key:?}: the key holds a line break"
        )));
    }
    if !value.contains('\n')
        && let Ok(table) = format!("{key} = {value}").parse::<Table>()
    {
        return Ok(table);
    }
    let text = Value::String(value.to_owned());
    format!("{key} = {text}").parse::<Table>().map_err(|_| {
        Error::Usage(format!("--set {setting}: '{key}' is not a key; write it as section.key or section.\"dotted.key\""))
    })
}

/// Turns tables into dotted keys, replacing what was written before.
fn flatten(prefix: &str, table: Table, origin: &Origin, written: &mut Vec<Written>) {
    for (name, value) in table {
        let key = if prefix.is_empty() {
            name
        } else {
            format!("{prefix}.{name}")
        };
        match value {
            Value::Table(inner) if !inner.is_empty() => flatten(&key, inner, origin, written),
            value => {
                written.retain(|before| before.key != key);
                written.push(Written {
                    key,
                    value,
                    origin: origin.clone(),
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(settings: &[&str]) -> Vec<(String, Value)> {
        let settings: Vec<String> = settings
            .iter()
            .map(|setting| (*setting).to_owned())
            .collect();
        let mut flat = Vec::new();
        for setting in &settings {
            flatten(
                "",
                setting_table(setting).expect("is a setting"),
                &Origin::Flag("--set"),
                &mut flat,
            );
        }
        flat.into_iter()
            .map(|written| (written.key, written.value))
            .collect()
    }

    fn text(text: &str) -> Value {
        Value::String(text.to_owned())
    }

    #[test]
    fn a_value_is_toml_if_it_is_that_and_else_a_string() {
        assert_eq!(
            settings(&["shards.lane_blocks=8"]),
            [("shards.lane_blocks".to_owned(), Value::Integer(8))]
        );
        assert_eq!(
            settings(&["shards.cores=2-9,12"]),
            [("shards.cores".to_owned(), text("2-9,12"))]
        );
        assert_eq!(
            settings(&["shards.cores=\"auto\""]),
            [("shards.cores".to_owned(), text("auto"))]
        );
        assert_eq!(
            settings(&["job.name=a=b"]),
            [("job.name".to_owned(), text("a=b"))]
        );
        assert_eq!(
            settings(&["job.name="]),
            [("job.name".to_owned(), text(""))]
        );
        assert_eq!(
            settings(&["job.name=1\nshards.cores=2"]),
            [("job.name".to_owned(), text("1\nshards.cores=2"))]
        );
    }

    #[test]
    fn a_dotted_property_may_be_quoted_or_not() {
        let wanted = [("kafka.bootstrap.servers".to_owned(), text("localhost:9092"))];
        assert_eq!(
            settings(&["kafka.\"bootstrap.servers\"=localhost:9092"]),
            wanted
        );
        assert_eq!(
            settings(&["kafka.bootstrap.servers=localhost:9092"]),
            wanted
        );
    }

    #[test]
    fn a_later_writing_replaces_an_earlier_one() {
        assert_eq!(
            settings(&["batch.max=1", "batch.max=7"]),
            [("batch.max".to_owned(), Value::Integer(7))]
        );
    }

    #[test]
    fn what_is_not_a_setting_is_a_usage_error() {
        for wrong in ["shards", "a b=1", "=1", "a.=1"] {
            assert!(
                matches!(setting_table(wrong), Err(Error::Usage(_))),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_syntax_error_names_file_and_line() {
        let error = parse(Path::new("velostream.toml"), "[job]\nname = \n").expect_err("no value");
        assert!(
            error.to_string().starts_with("velostream.toml line 2: "),
            "{error}"
        );
    }
}
