//! Every key of the configuration: what it takes, what it defaults to, what it means.
//!
//! The reader, its messages, `velo config show` and the section of docs/OPERATIONS.md are made from this one table; tests hold
//! the defaults to what the code does without a key, and the documentation to the table. The keys of `[kafka]` are librdkafka's
//! and are not here.

use std::fmt::Write;
use std::ops::RangeInclusive;

use toml::{Table, Value};
use velostream_shards::core_map::CoreRequestError;
use velostream_shards::{Arrangement, CoreRequest, Numa, Profile, ReactorChoice, Smt};

use super::nearest::nearest;
use super::origin::Origin;
use super::written::variable_of;
use super::{Config, Token, limits};

/// A key with its value, and where that comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// Its path, such as `shards.lane_blocks`.
    pub key: String,
    /// Its value as it may be shown; `None` where nothing stands for the default.
    pub value: Option<Value>,
    /// Where it was written.
    pub origin: Origin,
}

/// Takes a key's value into the configuration, or says what it must be.
type Take = fn(&Value, &mut Config) -> Result<(), String>;

/// One key of the configuration.
struct Key {
    path: &'static str,
    /// As it would be written; empty where no value stands for it.
    default: &'static str,
    /// What may be written.
    takes: &'static str,
    /// What it is, in one line.
    about: &'static str,
    take: Take,
}

/// Every key, but those of `[kafka]`, which are librdkafka's.
const KEYS: &[Key] = &[
    Key {
        path: "job.name",
        default: "",
        takes: "text",
        about: "the job's name: letters, digits, `.`, `_` and `-`; without it the SQL file's name without `.sql`, else `velo`; SET 'job.name' in the text wins",
        take: |value, config| {
            let name = string(value)?;
            if let Some(wrong) = job_name_is_wrong(name) {
                return Err(wrong);
            }
            config.job_name = Some(name.to_owned());
            Ok(())
        },
    },
    Key {
        path: "job.commit_interval_ms",
        default: "1000",
        takes: "10 to 3,600,000",
        about: "how often offsets are committed, where they are, milliseconds",
        take: |value, config| {
            config.commit_interval_ms = count(value, &limits::COMMIT_INTERVAL_MS)? as u64;
            Ok(())
        },
    },
    Key {
        path: "shards.cores",
        default: "\"auto\"",
        takes: "`\"auto\"`, a count, cpus",
        about: "how many shards, on which cpus: one on each usable core, so many, or these: `\"2-9,12\"` (one alone: `\"3-3\"`)",
        take: |value, config| {
            config.shards.core_map.cores = cores(value, &limits::SHARDS)?;
            Ok(())
        },
    },
    Key {
        path: "shards.placement",
        default: "\"spread\"",
        takes: "spread, pack",
        about: "spread: over NUMA nodes, then L3 domains; pack: one of either is filled before the next",
        take: |value, config| {
            let words = [("spread", Arrangement::Spread), ("pack", Arrangement::Pack)];
            config.shards.core_map.arrangement = word(value, &words)?;
            Ok(())
        },
    },
    Key {
        path: "shards.housekeeping",
        default: "\"auto\"",
        takes: "`\"auto\"`, a count, cpus",
        about: "cores that are kept for client and control threads",
        take: |value, config| {
            config.shards.core_map.housekeeping = cores(value, &limits::HOUSEKEEPING_CORES)?;
            Ok(())
        },
    },
    Key {
        path: "shards.smt",
        default: "\"avoid\"",
        takes: "avoid, use",
        about: "avoid: one shard a core; use: SMT siblings may carry shards",
        take: |value, config| {
            config.shards.core_map.smt = word(value, &[("avoid", Smt::Avoid), ("use", Smt::Use)])?;
            Ok(())
        },
    },
    Key {
        path: "shards.oversubscribe",
        default: "false",
        takes: "true, false",
        about: "true: more shards than cores wrap round the usable cpus (tests)",
        take: |value, config| {
            config.shards.core_map.oversubscribe = value
                .as_bool()
                .ok_or_else(|| format!("must be true or false, not {value}"))?;
            Ok(())
        },
    },
    Key {
        path: "shards.lane_blocks",
        default: "64",
        takes: "1 to 4,096",
        about: "blocks that a lane holds",
        take: |value, config| {
            config.shards.lane_blocks = count(value, &limits::LANE_BLOCKS)?;
            Ok(())
        },
    },
    Key {
        path: "shards.numa",
        default: "\"prefer\"",
        takes: "strict, prefer, off",
        about: "a shard's memory on its node: or not at all, as long as there is room, wherever the kernel puts it",
        take: |value, config| {
            let words = [
                ("strict", Numa::Strict),
                ("prefer", Numa::Prefer),
                ("off", Numa::Off),
            ];
            config.shards.numa = word(value, &words)?;
            Ok(())
        },
    },
    Key {
        path: "shards.profile",
        default: "\"balanced\"",
        takes: "latency, balanced, eco",
        about: "an idle shard never parks and costs its core, looks for 50 us and then parks, or parks at once",
        take: |value, config| {
            let profiles = [
                ("latency", Profile::Latency),
                ("balanced", Profile::Balanced),
                ("eco", Profile::Eco),
            ];
            config.shards.profile = word(value, &profiles)?;
            Ok(())
        },
    },
    Key {
        path: "shards.reactor",
        default: "\"auto\"",
        takes: "auto, glommio, poll",
        about: "what drives a shard: glommio (io_uring), poll (a plain thread), or glommio where the host allows it, else poll, with a line that says why",
        take: |value, config| {
            let reactors = [
                ("auto", ReactorChoice::Auto),
                ("glommio", ReactorChoice::Glommio),
                ("poll", ReactorChoice::Poll),
            ];
            config.shards.reactor = word(value, &reactors)?;
            Ok(())
        },
    },
    Key {
        path: "shards.turn_budget_us",
        default: "100",
        takes: "1 to 1,000,000",
        about: "a turn that takes more CPU time than this is a stall, microseconds",
        take: |value, config| {
            config.shards.turn_budget_us = count(value, &limits::TURN_BUDGET_US)? as u64;
            Ok(())
        },
    },
    Key {
        path: "batch.min",
        default: "16",
        takes: "1 to 65,536",
        about: "records that a turn over its budget may still take from its source",
        take: |value, config| {
            config.batch.min = count(value, &limits::BATCH_RECORDS)?;
            Ok(())
        },
    },
    Key {
        path: "batch.max",
        default: "1024",
        takes: "1 to 65,536",
        about: "records that a turn takes at most from its source",
        take: |value, config| {
            config.batch.max = count(value, &limits::BATCH_RECORDS)?;
            Ok(())
        },
    },
    Key {
        path: "batch.simd",
        default: "\"auto\"",
        takes: "auto, off",
        about: "off: records are scanned by the portable twin of the machine's vector instructions",
        take: |value, config| {
            config.batch.simd = word(value, &[("auto", true), ("off", false)])?;
            Ok(())
        },
    },
    Key {
        path: "metrics.listen",
        default: "\"off\"",
        takes: "`\"off\"`, an address",
        about: "where `/metrics`, `/livez` and `/readyz` are answered, such as `\"127.0.0.1:9646\"`; one that other machines can reach needs `metrics.token`",
        take: |value, config| {
            let text = string(value)?;
            config.metrics.listen = match text {
                "off" => None,
                text => Some(text.parse().map_err(|_| {
                    format!("must be \"off\", or an address and a port such as \"127.0.0.1:9646\", not {text:?}")
                })?),
            };
            Ok(())
        },
    },
    Key {
        path: "metrics.token",
        default: "",
        takes: "16 to 1,024 letters",
        about: "what clients of the endpoint send as `Authorization: Bearer ..`; a secret",
        take: |value, config| {
            config.metrics.token = Some(Token::new(string(value)?)?);
            Ok(())
        },
    },
];

/// Takes one key. `false` for a section that holds none.
pub(super) fn take(
    path: &str,
    value: &Value,
    origin: &Origin,
    config: &mut Config,
) -> Result<bool, String> {
    if let Some(key) = KEYS.iter().find(|key| key.path == path) {
        return (key.take)(value, config).map(|()| true);
    }
    if path != "kafka" && !is_section(path) {
        return Err(unknown(path, origin));
    }
    match value {
        Value::Table(_) => Ok(false),
        _ => {
            let mut keys = KEYS.iter().map(|key| key.path);
            let one = keys.find(|key| key.split('.').next() == Some(path));
            let one = one.unwrap_or("kafka.bootstrap.servers");
            Err(format!(
                "is a section and has no value; set its keys, such as {one}"
            ))
        }
    }
}

/// Whether there is such a key.
pub(super) fn is_known(path: &str) -> bool {
    KEYS.iter().any(|key| key.path == path)
}

fn is_section(path: &str) -> bool {
    let section = |key: &Key| key.path.split('.').next() == Some(path);
    KEYS.iter().any(section)
}

/// What is wrong with a key that is none.
pub(super) fn unknown(path: &str, origin: &Origin) -> String {
    let known = || KEYS.iter().map(|key| key.path);
    let without_section =
        known().find(|known| known.split_once('.').is_some_and(|(_, name)| name == path));
    match (nearest(path, known()).or(without_section), origin) {
        (Some(found), Origin::Environment(_)) => {
            let variable = variable_of(found);
            format!("unknown key; did you mean {found}, which is {variable}?")
        }
        (Some(found), _) => format!("unknown key; did you mean {found}?"),
        (None, _) => format!(
            "unknown key; the keys are {}, and properties of librdkafka in [kafka]",
            known().collect::<Vec<_>>().join(", ")
        ),
    }
}

/// Every key, as it was written or as it is without that.
pub(super) fn with_defaults(written: &[Setting]) -> Vec<Setting> {
    let setting = |key: &Key| {
        let written = written.iter().find(|one| one.key == key.path);
        written.cloned().unwrap_or_else(|| Setting {
            key: key.path.to_owned(),
            value: default_of(key),
            origin: Origin::Default,
        })
    };
    KEYS.iter().map(setting).collect()
}

fn default_of(key: &Key) -> Option<Value> {
    let table = format!("value = {}", key.default).parse::<Table>();
    table.ok()?.remove("value")
}

/// The table as documentation.
pub fn markdown() -> String {
    let mut page = String::from("| key | takes | default | meaning |\n| --- | --- | --- | --- |\n");
    for key in KEYS {
        let Key {
            path,
            default,
            takes,
            about,
            ..
        } = key;
        let default = match default.is_empty() {
            true => "none".to_owned(),
            false => format!("`{default}`"),
        };
        writeln!(page, "| `{path}` | {takes} | {default} | {about} |")
            .expect("writing to a string does not fail");
    }
    page
}

fn string(value: &Value) -> Result<&str, String> {
    value
        .as_str()
        .ok_or_else(|| "must be text in quotes".into())
}

fn count(value: &Value, allowed: &RangeInclusive<usize>) -> Result<usize, String> {
    let count = value
        .as_integer()
        .and_then(|count| usize::try_from(count).ok());
    match count {
        Some(count) if allowed.contains(&count) => Ok(count),
        _ => Err(format!(
            "must be a whole number from {} to {}, not {value}",
            allowed.start(),
            allowed.end()
        )),
    }
}

fn word<T: Copy>(value: &Value, words: &[(&str, T)]) -> Result<T, String> {
    let written = string(value)?;
    if let Some((_, meaning)) = words.iter().find(|(name, _)| *name == written) {
        return Ok(*meaning);
    }
    let allowed = words
        .iter()
        .map(|(name, _)| format!("\"{name}\""))
        .collect::<Vec<_>>()
        .join(" or ");
    Err(format!("must be {allowed}, not \"{written}\""))
}

/// A count, or text that the core map reads: `"auto"`, `"8"`, `"2-9,12"`.
fn cores(value: &Value, allowed: &RangeInclusive<usize>) -> Result<CoreRequest, String> {
    match value {
        Value::Integer(_) => count(value, allowed).map(CoreRequest::Count),
        Value::String(text) => text
            .parse()
            .map_err(|wrong: CoreRequestError| wrong.to_string()),
        _ => Err("must be \"auto\", a count, or a list of cpus such as \"2-9,12\"".into()),
    }
}

/// What is wrong with `name` as the name of a job, if anything: it becomes a part of consumer group names.
pub fn job_name_is_wrong(name: &str) -> Option<String> {
    let letter = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
    if !limits::JOB_NAME_BYTES.contains(&name.len()) {
        let (least, most) = limits::JOB_NAME_BYTES.into_inner();
        return Some(format!(
            "must have {least} to {most} letters, not {}",
            name.len()
        ));
    }
    let odd = name.chars().find(|character| !letter(*character))?;
    Some(format!(
        "may hold letters, digits, '.', '_' and '-', not {odd:?}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_is_what_holds_without_the_key() {
        for key in KEYS {
            let Some(value) = default_of(key) else {
                assert!(
                    key.default.is_empty(),
                    "{} has a default that is none",
                    key.path
                );
                continue;
            };
            let mut config = Config::default();
            (key.take)(&value, &mut config).expect(key.path);
            assert_eq!(config, Config::default(), "{}", key.path);
        }
    }

    #[test]
    fn the_documentation_says_what_the_table_says() {
        let page = include_str!("../../docs/OPERATIONS.md");
        let start = "<!-- keys: made from the code -->\n";
        let (from, to) = (page.find(start), page.find("<!-- end of keys -->"));
        let from = from.expect("docs/OPERATIONS.md marks where the keys start") + start.len();
        let to = to.expect("docs/OPERATIONS.md marks where the keys end");
        assert!(
            page[from..to].trim() == markdown().trim(),
            "docs/OPERATIONS.md must hold, between its markers:\n{}",
            markdown()
        );
    }
}
