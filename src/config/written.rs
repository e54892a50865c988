//! What was written: a file, variables of the environment and the command line, as a flat list of keys with their values and
//! where each was written.
//!
//! ```text
//!   [kafka.consumer]  "fetch.min.bytes" = 1     ->  kafka.consumer.fetch.min.bytes = 1   (velostream.toml:2)
//!   VELO__SHARDS__LANE_BLOCKS=8                 ->  shards.lane_blocks = 8               (VELO__SHARDS__LANE_BLOCKS)
//!   --set shards.lane_blocks=8                  ->  shards.lane_blocks = 8               (--set)
//!   --set kafka.sasl.password.file=pw           ->  kafka.sasl.password = { file = "pw" }
//! ```
//!
//! Laws: a later layer replaces what an earlier one wrote; within the file, and within the environment, a key stands once.
//! What a key means, and whether there is such a key, is not decided here but in `keys`. No error holds a value.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::origin::Origin;
use super::reference::Reference;
use super::secret::is_secret_name;
use crate::error::{Error, Result};

/// The file that is read when none is named, if it is there.
pub const DEFAULT_FILE: &str = "velostream.toml";

/// What the name of a variable begins with that configures.
pub const VARIABLE_PREFIX: &str = "VELO__";

/// Values of this section are text for librdkafka, and never numbers.
const KAFKA: &str = "kafka.";

/// Where configuration is looked for, the weakest layer first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Layers<'l> {
    /// The named file; else `velostream.toml` of the working directory, if it is there.
    pub file: Option<&'l Path>,
    /// The environment; only variables that begin with `VELO__` are configuration.
    pub environment: &'l [(OsString, OsString)],
    /// Each `section.key=value` of `--set`.
    pub settings: &'l [String],
    /// `--shards`.
    pub shards: Option<usize>,
}

/// One key as it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// Its path, such as `shards.lane_blocks`; quoting is undone.
    pub key: String,
    /// Its value.
    pub value: WrittenValue,
    /// Where it was written.
    pub origin: Origin,
}

/// A value as it was written.
#[derive(Clone, PartialEq)]
pub enum WrittenValue {
    /// As it stands; a table only when that is empty.
    Here(Value),
    /// `{ file = ".." }`.
    File(String),
}

/// What was written may be a secret.
impl std::fmt::Debug for WrittenValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            WrittenValue::Here(_) => "Here(..)",
            WrittenValue::File(_) => "File(..)",
        })
    }
}

/// All that was written, a key once.
pub fn written(layers: &Layers<'_>) -> Result<Vec<Written>> {
    let mut written = Vec::new();
    let default = Path::new(DEFAULT_FILE);
    let is_there = default.exists().then_some(default);
    if let Some(path) = layers.file.or(is_there) {
        replace(&mut written, of_file(path)?);
    }
    replace(&mut written, of_environment(layers.environment)?);
    for setting in layers.settings {
        replace(&mut written, of_setting(setting)?);
    }
    if let Some(count) = layers.shards {
        let value = Value::Integer(i64::try_from(count).unwrap_or(i64::MAX));
        let flag = Written {
            key: "shards.cores".into(),
            value: WrittenValue::Here(value),
            origin: Origin::Flag("--shards"),
        };
        replace(&mut written, vec![flag]);
    }
    Ok(written)
}

fn replace(written: &mut Vec<Written>, later: Vec<Written>) {
    for one in later {
        written.retain(|before| before.key != one.key);
        written.push(one);
    }
}

// ---- the file --------------------------------------------------------------------------------------------------------

fn of_file(path: &Path) -> Result<Vec<Written>> {
    let text = std::fs::read_to_string(path).map_err(|cause| {
        Error::Config(format!(
            "cannot read the configuration {}: {cause}; correct --config, or allow this user to read it",
            path.display()
        ))
    })?;
    let table = parse(path, &text)?;
    let mut lines = BTreeMap::new();
    if let Ok(spanned) = DeTable::parse(&text) {
        place("", spanned.get_ref(), &text, &mut lines);
    }
    let mut found = Vec::new();
    flatten("", table, &mut |key, value| {
        // A key in two spellings has two lines.
        let line = lines.get_mut(&key).and_then(Vec::pop).unwrap_or(1);
        found.push((line, key, value));
    });
    found.sort_by_key(|(line, ..)| *line);
    let at = |line| Origin::File {
        path: path.to_owned(),
        line,
    };
    let written = found.into_iter();
    let written: Vec<Written> = written
        .map(|(line, key, value)| one(key, value, at(line)))
        .collect();
    once(&written)?;
    Ok(written)
}

fn parse(path: &Path, text: &str) -> Result<Table> {
    text.parse::<Table>().map_err(|cause| {
        let line = cause.span().map_or(1, |span| line_at(text, span.start));
        Error::Config(format!(
            "{}:{line}: {}; mend the line, or see docs/OPERATIONS.md for a whole file",
            path.display(),
            cause.message()
        ))
    })
}

/// The lines of each key of a table, under the name that `flatten` gives it.
fn place(prefix: &str, table: &DeTable<'_>, text: &str, lines: &mut BTreeMap<String, Vec<usize>>) {
    for (name, value) in table {
        let key = joined(prefix, name.get_ref());
        if let DeValue::Table(inner) = value.get_ref() {
            place(&key, inner, text, lines);
        }
        let line = line_at(text, name.span().start);
        lines.entry(key).or_default().push(line);
    }
}

fn line_at(text: &str, byte: usize) -> usize {
    let before = &text.as_bytes()[..byte.min(text.len())];
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

/// Refuses a key that stands twice under two spellings.
fn once(written: &[Written]) -> Result<()> {
    for (place, one) in written.iter().enumerate() {
        if let Some(before) = written[..place].iter().find(|before| before.key == one.key) {
            return Err(Error::Config(format!(
                "{}: {}: stands at {} too; leave one of them out",
                one.origin, one.key, before.origin
            )));
        }
    }
    Ok(())
}

// ---- the environment -------------------------------------------------------------------------------------------------

/// `VELO__SECTION__KEY`: two underscores stand for a dot, and letters are small.
fn of_environment(environment: &[(OsString, OsString)]) -> Result<Vec<Written>> {
    let mut variables: Vec<(String, String)> = Vec::new();
    for (name, value) in environment {
        let shown = name.to_string_lossy();
        if !shown.starts_with(VARIABLE_PREFIX) {
            continue;
        }
        let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else {
            return Err(Error::Config(format!(
                "{shown}: its name or its value is not UTF-8; mend it, or unset it"
            )));
        };
        variables.push((name.to_owned(), value.to_owned()));
    }
    // The order of an environment means nothing; that of messages should not change.
    variables.sort();
    let mut written = Vec::new();
    for (name, value) in variables {
        let path = name[VARIABLE_PREFIX.len()..].to_lowercase();
        let parts: Vec<&str> = path.split("__").collect();
        if parts.iter().any(|part| part.is_empty()) {
            return Err(Error::Config(format!(
                "{name}: is no key; write VELO__SECTION__KEY, such as VELO__SHARDS__CORES or VELO__KAFKA__BOOTSTRAP__SERVERS"
            )));
        }
        let key = parts.join(".");
        let value = text_value(&key, &value);
        flatten("", Table::from_iter([(key, value)]), &mut |key, value| {
            written.push(one(key, value, Origin::Environment(name.clone())));
        });
    }
    once(&written)?;
    Ok(written)
}

/// `key` of the configuration as a variable of the environment.
pub fn variable_of(key: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", key.replace('.', "__").to_uppercase())
}

// ---- the command line ------------------------------------------------------------------------------------------------

/// Reads one `key=value`.
fn of_setting(setting: &str) -> Result<Vec<Written>> {
    let Some((key, value)) = setting.split_once('=') else {
        // What follows the key may be a secret that was joined to it in another way.
        let key = setting.split(|letter: char| !is_key_letter(letter)).next();
        return Err(Error::Usage(format!(
            "--set {}: has no value; write --set section.key=value",
            key.unwrap_or_default()
        )));
    };
    let wrong = || {
        Error::Usage(format!(
            "--set {key:?}: is no key; write section.key=value, or section.\"dotted.key\"=value"
        ))
    };
    if key.contains('\n') {
        return Err(wrong());
    }
    // TOML undoes the quotes of a key.
    let table = format!("{key} = 0").parse::<Table>().map_err(|_| wrong())?;
    let mut keys = Vec::new();
    flatten("", table, &mut |key, _| keys.push(key));
    let key = keys.pop().ok_or_else(wrong)?;
    let value = text_value(&key, value);
    let mut written = Vec::new();
    flatten("", Table::from_iter([(key, value)]), &mut |key, value| {
        written.push(one(key, value, Origin::Flag("--set")));
    });
    Ok(written)
}

fn is_key_letter(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-' | '"' | '\'')
}

/// A value that stands outside a file: TOML if it is that, else a string. For librdkafka, and where it is a secret, it is the
/// text as it stands, unless that is quoted: `1e5` may be a password.
fn text_value(key: &str, text: &str) -> Value {
    let is_quoted = text.starts_with(['"', '\'']);
    let is_text = key.starts_with(KAFKA) || is_secret_name(key);
    let may_be_toml = !text.contains('\n') && (is_quoted || !is_text);
    let toml = may_be_toml
        .then(|| format!("value = {text}").parse::<Table>().ok())
        .flatten();
    toml.and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

// ---- what all layers share -------------------------------------------------------------------------------------------

/// Gives each value of a table under its dotted key.
fn flatten(prefix: &str, table: Table, give: &mut dyn FnMut(String, Value)) {
    for (name, value) in table {
        let key = joined(prefix, &name);
        match value {
            Value::Table(inner) if !inner.is_empty() => flatten(&key, inner, give),
            value => give(key, value),
        }
    }
}

fn joined(prefix: &str, name: &str) -> String {
    match prefix.is_empty() {
        true => name.to_owned(),
        false => format!("{prefix}.{name}"),
    }
}

/// One key; `x.file` is the same as `x = { file = ".." }`, below a section.
fn one(key: String, value: Value, origin: Origin) -> Written {
    let referring = key
        .strip_suffix(".file")
        .filter(|of| of.contains('.') && !matches!(*of, "kafka.consumer" | "kafka.producer"));
    match (referring, &value) {
        (Some(of), Value::String(path)) => Written {
            key: of.to_owned(),
            value: WrittenValue::File(path.clone()),
            origin,
        },
        _ => Written {
            key,
            value: WrittenValue::Here(value),
            origin,
        },
    }
}

impl WrittenValue {
    /// The reference that it is, `None` for a value.
    pub fn reference(&self) -> Result<Option<Reference>, String> {
        match self {
            WrittenValue::File(path) => Ok(Some(Reference::File(PathBuf::from(path)))),
            WrittenValue::Here(Value::String(text)) => Reference::of(text),
            WrittenValue::Here(_) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(written: Vec<Written>) -> Vec<(String, Value)> {
        let plain = |value| match value {
            WrittenValue::Here(value) => value,
            WrittenValue::File(path) => Value::String(format!("file {path}")),
        };
        written
            .into_iter()
            .map(|one| (one.key, plain(one.value)))
            .collect()
    }

    fn settings(settings: &[&str]) -> Vec<(String, Value)> {
        let settings: Vec<String> = settings.iter().map(|one| (*one).to_owned()).collect();
        let layers = Layers {
            file: Some(Path::new("/dev/null")),
            settings: &settings,
            ..Layers::default()
        };
        flat(written(&layers).expect("settings"))
    }

    fn environment(variables: &[(&str, &str)]) -> Result<Vec<Written>> {
        let variables: Vec<(OsString, OsString)> = variables
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        of_environment(&variables)
    }

    fn file(text: &str) -> Result<Vec<Written>> {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), text).expect("it can be written");
        of_file(file.path())
    }

    fn text(text: &str) -> Value {
        Value::String(text.to_owned())
    }

    fn pair(key: &str, value: Value) -> (String, Value) {
        (key.to_owned(), value)
    }

    #[test]
    fn a_value_is_toml_if_it_is_that_and_else_a_string() {
        for (setting, key, value) in [
            (
                "shards.lane_blocks=8",
                "shards.lane_blocks",
                Value::Integer(8),
            ),
            ("shards.cores=2-9,12", "shards.cores", text("2-9,12")),
            ("shards.cores=\"auto\"", "shards.cores", text("auto")),
            ("job.name=a=b", "job.name", text("a=b")),
            ("job.name=", "job.name", text("")),
            (
                "job.name=1\nshards.cores=2",
                "job.name",
                text("1\nshards.cores=2"),
            ),
        ] {
            assert_eq!(settings(&[setting]), [pair(key, value)], "{setting}");
        }
    }

    #[test]
    fn a_property_is_text_unless_it_is_quoted() {
        for (value, wanted) in [
            ("1e5", "1e5"),
            ("0x10", "0x10"),
            ("true", "true"),
            ("\"a b\"", "a b"),
            ("'a", "'a"),
            ("{ file = 'pw' }", "{ file = 'pw' }"),
        ] {
            let setting = format!("kafka.sasl.password={value}");
            assert_eq!(
                settings(&[&setting]),
                [pair("kafka.sasl.password", text(wanted))]
            );
            let variables = [("VELO__KAFKA__SASL__PASSWORD", value)];
            let written = environment(&variables).expect("a property");
            assert_eq!(flat(written), [pair("kafka.sasl.password", text(wanted))]);
        }
    }

    #[test]
    fn a_dotted_property_may_be_quoted_or_not() {
        let wanted = [pair("kafka.bootstrap.servers", text("localhost:9092"))];
        for setting in [
            "kafka.\"bootstrap.servers\"=localhost:9092",
            "kafka.bootstrap.servers=localhost:9092",
        ] {
            assert_eq!(settings(&[setting]), wanted);
        }
    }

    #[test]
    fn a_file_is_referred_to_in_every_layer() {
        let wanted = [pair("kafka.sasl.password", text("file pw"))];
        assert_eq!(settings(&["kafka.sasl.password.file=pw"]), wanted);
        let variable = environment(&[("VELO__KAFKA__SASL__PASSWORD__FILE", "pw")]);
        assert_eq!(flat(variable.expect("a reference")), wanted);
        let table = file("[kafka]\n\"sasl.password\" = { file = 'pw' }\n");
        assert_eq!(flat(table.expect("a reference")), wanted);
    }

    #[test]
    fn a_variable_is_a_key_in_capitals_with_two_underscores_for_a_dot() {
        let written = environment(&[
            ("PATH", "/bin"),
            ("VELO_BLESS", "1"),
            ("VELO__SHARDS__LANE_BLOCKS", "8"),
            ("VELO__KAFKA__CONSUMER__FETCH__MIN__BYTES", "1"),
        ]);
        let wanted = [
            pair("kafka.consumer.fetch.min.bytes", text("1")),
            pair("shards.lane_blocks", Value::Integer(8)),
        ];
        assert_eq!(flat(written.expect("two keys")), wanted);
        for key in ["shards.lane_blocks", "kafka.bootstrap.servers"] {
            let written = environment(&[(&variable_of(key), "8")]).expect("a key");
            assert_eq!(written[0].key, key);
        }
        for wrong in ["VELO__", "VELO__SHARDS____CORES", "VELO__SHARDS__"] {
            assert!(environment(&[(wrong, "hunter2")]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_later_layer_replaces_an_earlier_one() {
        let wanted = [pair("batch.max", Value::Integer(7))];
        assert_eq!(settings(&["batch.max=1", "batch.max=7"]), wanted);
        let config = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(
            config.path(),
            "[batch]\nmax = 1\n[shards]\ncores = 1\nsmt = 'use'\n",
        )
        .expect("it can be written");
        let environment = [
            ("VELO__BATCH__MAX".into(), "2".into()),
            ("VELO__SHARDS__CORES".into(), "2".into()),
        ];
        let settings = ["shards.cores=3".to_owned()];
        let mut layers = Layers {
            file: Some(config.path()),
            environment: &environment,
            settings: &settings,
            shards: None,
        };
        let origins = |layers: &Layers<'_>| -> Vec<String> {
            let written = written(layers).expect("right");
            let written = written.iter();
            let file = config.path().display().to_string();
            written
                .map(|one| {
                    format!(
                        "{} {}",
                        one.key,
                        one.origin.to_string().replace(&file, "file")
                    )
                })
                .collect()
        };
        let wanted = [
            "shards.smt file:5",
            "batch.max VELO__BATCH__MAX",
            "shards.cores --set",
        ];
        assert_eq!(origins(&layers), wanted);
        layers.shards = Some(4);
        assert_eq!(origins(&layers)[2], "shards.cores --shards");
    }

    #[test]
    fn a_key_stands_once_in_a_layer() {
        let twice = "[kafka]\nbootstrap.servers = 'a'\n\"bootstrap.servers\" = 'hunter2'\n";
        let error = file(twice).expect_err("it stands twice").to_string();
        assert!(
            error.contains(":3: kafka.bootstrap.servers: stands at "),
            "{error}"
        );
        assert!(!error.contains("hunter2"), "{error}");
        let twice = [
            ("VELO__KAFKA__SASL__PASSWORD", "hunter2"),
            ("VELO__KAFKA__SASL__PASSWORD__FILE", "pw"),
        ];
        let error = environment(&twice)
            .expect_err("it stands twice")
            .to_string();
        assert!(
            error.contains("VELO__KAFKA__SASL__PASSWORD__FILE: kafka.sasl.password: stands at ")
        );
    }

    #[test]
    fn what_is_not_a_setting_is_a_usage_error_without_its_value() {
        for wrong in [
            "shards",
            "a b=hunter2",
            "=hunter2",
            "a.=hunter2",
            "a:hunter2",
            "a hunter2",
        ] {
            let error = of_setting(wrong).expect_err(wrong);
            assert!(matches!(error, Error::Usage(_)), "{wrong}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_syntax_error_names_file_and_line_and_no_value() {
        for (text, line) in [
            ("[job]\nname = \n", 2),
            ("[kafka]\n\n\"sasl.password\" = hunter2\n", 3),
            ("[kafka]\n\"sasl.password\" = \"hunter2\n", 2),
            ("[kafka]\n\"sasl.password\" \"hunter2\"\n", 2),
            ("[kafka]\n\"sasl.password\" = \"hun\\qter2\"\n", 2),
            ("[kafka]\n\"sasl.password\" = \"hunter2\" x\n", 2),
            (
                "[kafka]\n\"sasl.password\" = \"hunter2\"\n\"sasl.password\" = \"hunter2\"\n",
                3,
            ),
        ] {
            let error = file(text).expect_err("no TOML").to_string();
            assert!(error.contains(&format!(":{line}: ")), "{text:?}: {error}");
            for part in ["hunter2", "ter2"] {
                assert!(!error.contains(part), "{text:?}: {error}");
            }
        }
    }
}
