//! What was configured, in the form the rest of the crate asks for.
//!
//! ```text
//!   built-in defaults <- velostream.toml <- --set, --shards        (file.rs: what was written)
//!                 \------- KEYS: what each key means -------> Config
//! ```
//!
//! Law: every key that was written is used or refused, with the place it was written at and the nearest known key; one of
//! later work is refused as not available yet. Options of streams and queries are not here but in `options`; every bound is
//! in `limits`.

pub mod file;
pub mod limits;
mod metrics;
pub mod nearest;
pub mod options;

use std::ops::RangeInclusive;
use std::path::Path;

use toml::Value;
use velostream_shards::core_map::CoreRequestError;
use velostream_shards::{
    Arrangement, CoreMapRequest, CoreRequest, Numa, Profile, ReactorChoice, Smt,
};

use crate::error::{Error, Result};
use file::{Origin, Written};
pub use metrics::{MetricsConfig, Token};
use nearest::nearest;

/// What was configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// `job.name`; `None` for the SQL file's stem.
    pub job_name: Option<String>,
    /// `[shards]`.
    pub shards: ShardsConfig,
    /// `[batch]`.
    pub batch: BatchConfig,
    /// `[kafka]`.
    pub kafka: KafkaConfig,
    /// `[metrics]`.
    pub metrics: MetricsConfig,
}

/// `[shards]`: how many, on which cores, what drives them, and the lanes between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardsConfig {
    /// What is asked of the core map.
    pub core_map: CoreMapRequest,
    /// How firmly a shard's memory is kept on its NUMA node.
    pub numa: Numa,
    /// What drives them.
    pub reactor: ReactorChoice,
    /// When an idle one parks.
    pub profile: Profile,
    /// Blocks that a lane holds.
    pub lane_blocks: usize,
    /// A turn that takes longer is a stall, microseconds.
    pub turn_budget_us: u64,
}

/// `[batch]`: how much a turn takes from its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchConfig {
    /// Records at most.
    pub max: usize,
    /// Whether records are scanned by the machine's vector instructions; by their portable twin otherwise.
    pub simd: bool,
}

/// `[kafka]`: librdkafka properties and their values. Which may be set, and which layer wins, `kafka` decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KafkaConfig {
    /// For every client.
    pub every: Vec<(String, String)>,
    /// `[kafka.consumer]`.
    pub consumer: Vec<(String, String)>,
    /// `[kafka.producer]`.
    pub producer: Vec<(String, String)>,
}

impl Default for ShardsConfig {
    fn default() -> ShardsConfig {
        ShardsConfig {
            core_map: CoreMapRequest::default(),
            numa: Numa::Prefer,
            reactor: ReactorChoice::default(),
            profile: Profile::default(),
            lane_blocks: limits::LANE_BLOCKS_DEFAULT,
            turn_budget_us: limits::TURN_BUDGET_US_DEFAULT,
        }
    }
}

impl Default for BatchConfig {
    fn default() -> BatchConfig {
        BatchConfig {
            max: limits::BATCH_RECORDS_DEFAULT,
            simd: true,
        }
    }
}

impl Config {
    /// Reads `file` (else `./velostream.toml` if it is there), each `settings` (`section.key=value`) over it, and `shards`
    /// (`--shards N`) over that.
    ///
    /// # Errors
    /// `Error::Config` names where a key was written, the key, and what to write instead; a setting that is no
    /// `key=value` is `Error::Usage`.
    pub fn load(file: Option<&Path>, settings: &[String], shards: Option<usize>) -> Result<Config> {
        let mut written = file::written(file, settings)?;
        if let Some(count) = shards {
            let value = Value::Integer(i64::try_from(count).unwrap_or(i64::MAX));
            written.retain(|before| before.key != "shards.cores");
            written.push(Written {
                key: "shards.cores".into(),
                value,
                origin: Origin::Flag("--shards"),
            });
        }
        Config::mean(&written)
    }

    /// What was written means this.
    fn mean(written: &[Written]) -> Result<Config> {
        let mut config = Config::default();
        for one in written {
            config
                .take(one)
                .map_err(|wrong| Error::Config(format!("{}: {}: {wrong}", one.origin, one.key)))?;
        }
        if let Some((key, wrong)) = config.metrics.wrong() {
            let written = written.iter().find(|one| one.key == key);
            let origin = &written.expect("what is wrong was written").origin;
            return Err(Error::Config(format!("{origin}: {key}: {wrong}")));
        }
        Ok(config)
    }

    fn take(&mut self, written: &Written) -> Result<(), String> {
        let key = written.key.as_str();
        let is_section = |name: &str| {
            KEYS.iter()
                .any(|known| known.path.split('.').next() == Some(name))
        };
        if let Some(known) = KEYS.iter().find(|known| known.path == key) {
            return match known.take {
                Some(take) => take(&written.value, self),
                None => Err("not available yet; leave it out".into()),
            };
        }
        if let Some(property) = key.strip_prefix("kafka.") {
            if matches!(written.value, Value::Table(_)) {
                return Ok(());
            }
            let (properties, property) = match property.split_once('.') {
                Some(("consumer", property)) => (&mut self.kafka.consumer, property),
                Some(("producer", property)) => (&mut self.kafka.producer, property),
                _ => (&mut self.kafka.every, property),
            };
            return take_property(properties, property, &written.value);
        }
        if is_section(key) || key == "kafka" {
            return match written.value {
                Value::Table(_) => Ok(()),
                _ => Err(format!("is a section; write [{key}] and its keys below it")),
            };
        }
        Err(unknown(key))
    }
}

/// Takes a key's value into the configuration, or says what it must be.
type Take = fn(&Value, &mut Config) -> Result<(), String>;

/// One key of the configuration.
struct Key {
    path: &'static str,
    /// `None` for a key of later work.
    take: Option<Take>,
}

impl Key {
    const fn later(path: &'static str) -> Key {
        Key { path, take: None }
    }
}

/// Every key, but those of `[kafka]`, which are librdkafka's.
const KEYS: &[Key] = &[
    Key {
        path: "job.name",
        take: Some(|value, config| {
            let name = string(value)?;
            if let Some(wrong) = job_name_is_wrong(name) {
                return Err(wrong);
            }
            config.job_name = Some(name.to_owned());
            Ok(())
        }),
    },
    Key {
        path: "shards.cores",
        take: Some(|value, config| {
            config.shards.core_map.cores = cores(value, &limits::SHARDS)?;
            Ok(())
        }),
    },
    Key {
        path: "shards.placement",
        take: Some(|value, config| {
            let words = [("spread", Arrangement::Spread), ("pack", Arrangement::Pack)];
            config.shards.core_map.arrangement = word(value, &words)?;
            Ok(())
        }),
    },
    Key {
        path: "shards.housekeeping",
        take: Some(|value, config| {
            config.shards.core_map.housekeeping = cores(value, &limits::HOUSEKEEPING_CORES)?;
            Ok(())
        }),
    },
    Key {
        path: "shards.smt",
        take: Some(|value, config| {
            config.shards.core_map.smt = word(value, &[("avoid", Smt::Avoid), ("use", Smt::Use)])?;
            Ok(())
        }),
    },
    Key {
        path: "shards.oversubscribe",
        take: Some(|value, config| {
            config.shards.core_map.oversubscribe =
                value.as_bool().ok_or("must be true or false")?;
            Ok(())
        }),
    },
    Key {
        path: "shards.lane_blocks",
        take: Some(|value, config| {
            config.shards.lane_blocks = count(value, &limits::LANE_BLOCKS)?;
            Ok(())
        }),
    },
    Key {
        path: "shards.numa",
        take: Some(|value, config| {
            let words = [
                ("strict", Numa::Strict),
                ("prefer", Numa::Prefer),
                ("off", Numa::Off),
            ];
            config.shards.numa = word(value, &words)?;
            Ok(())
        }),
    },
    Key {
        path: "shards.profile",
        take: Some(|value, config| {
            let profiles = [
                ("latency", Profile::Latency),
                ("balanced", Profile::Balanced),
                ("eco", Profile::Eco),
            ];
            config.shards.profile = word(value, &profiles)?;
            Ok(())
        }),
    },
    Key {
        path: "shards.reactor",
        take: Some(|value, config| {
            let reactors = [
                ("auto", ReactorChoice::Auto),
                ("glommio", ReactorChoice::Glommio),
                ("poll", ReactorChoice::Poll),
            ];
            config.shards.reactor = word(value, &reactors)?;
            Ok(())
        }),
    },
    Key {
        path: "shards.turn_budget_us",
        take: Some(|value, config| {
            config.shards.turn_budget_us = count(value, &limits::TURN_BUDGET_US)? as u64;
            Ok(())
        }),
    },
    Key {
        path: "batch.max",
        take: Some(|value, config| {
            config.batch.max = count(value, &limits::BATCH_RECORDS)?;
            Ok(())
        }),
    },
    Key {
        path: "batch.simd",
        take: Some(|value, config| {
            config.batch.simd = word(value, &[("auto", true), ("off", false)])?;
            Ok(())
        }),
    },
    Key::later("batch.min"),
    Key {
        path: "metrics.listen",
        take: Some(|value, config| {
            let text = string(value)?;
            config.metrics.listen = match text {
                "off" => None,
                text => Some(text.parse().map_err(|_| {
                    format!("must be \"off\", or an address and a port such as \"127.0.0.1:9646\", not {text:?}")
                })?),
            };
            Ok(())
        }),
    },
    Key {
        path: "metrics.token",
        take: Some(|value, config| {
            config.metrics.token = Some(Token::new(string(value)?)?);
            Ok(())
        }),
    },
];

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

fn take_property(
    properties: &mut Vec<(String, String)>,
    property: &str,
    value: &Value,
) -> Result<(), String> {
    if property.ends_with(".file") {
        return Err("a value from a file is not available yet; write the value".into());
    }
    let text = match value {
        Value::String(text) if text.contains("${") => {
            return Err(
                "a value from the environment is not available yet; write the value".into(),
            );
        }
        Value::String(text) => text.clone(),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => value.to_string(),
        _ => return Err("must be text, a number, true or false".into()),
    };
    properties.push((property.to_owned(), text));
    Ok(())
}

fn unknown(key: &str) -> String {
    let known = || {
        KEYS.iter()
            .filter(|known| known.take.is_some())
            .map(|known| known.path)
    };
    let without_section =
        known().find(|path| path.split_once('.').is_some_and(|(_, name)| name == key));
    match nearest(key, known()).or(without_section) {
        Some(path) => format!("unknown key; did you mean {path}?"),
        None => format!(
            "unknown key; the keys are {}, and properties of librdkafka in [kafka]",
            known().collect::<Vec<_>>().join(", ")
        ),
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
    use std::path::PathBuf;

    fn mean(text: &str) -> Result<Config> {
        let path = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(path.path(), text).expect("it can be written");
        Config::load(Some(path.path()), &[], None)
    }

    fn refused(setting: &str) -> String {
        let written = file::written(Some(&PathBuf::from("/dev/null")), &[setting.to_owned()])
            .expect("is a setting");
        Config::mean(&written)
            .expect_err("must be refused")
            .to_string()
    }

    #[test]
    fn an_empty_file_means_the_defaults() {
        assert_eq!(mean("").expect("empty is right"), Config::default());
        assert_eq!(
            mean("[shards]\n[kafka.consumer]\n").expect("empty sections are right"),
            Config::default()
        );
        assert_eq!(
            (
                Config::default().batch.max,
                Config::default().shards.lane_blocks
            ),
            (1024, 64)
        );
    }

    #[test]
    fn every_key_is_used() {
        let config = mean(
            "[job]\nname = 'flights'\n[shards]\ncores = '2-4,12'\nplacement = 'pack'\nhousekeeping = '0,1'\nturn_budget_us = 250\nsmt = 'use'\noversubscribe = true\n\
             numa = 'strict'\nlane_blocks = 1\nprofile = 'eco'\nreactor = 'poll'\n[batch]\nmax = 7\n[kafka]\n'bootstrap.servers' = 'a:1'\n'fetch.wait.max.ms' = 5\n\
             [kafka.consumer]\n'fetch.wait.max.ms' = 9\n[kafka.producer]\n'linger.ms' = 1.5\n\
             [metrics]\nlisten = '0.0.0.0:9646'\ntoken = '0123456789abcdef'\n",
        )
        .expect("all are known");
        assert_eq!(config.job_name.as_deref(), Some("flights"));
        let core_map = CoreMapRequest {
            cores: CoreRequest::List(vec![2, 3, 4, 12]),
            arrangement: Arrangement::Pack,
            smt: Smt::Use,
            housekeeping: CoreRequest::List(vec![0, 1]),
            oversubscribe: true,
        };
        assert_eq!(
            config.shards,
            ShardsConfig {
                core_map,
                numa: Numa::Strict,
                reactor: ReactorChoice::Poll,
                profile: Profile::Eco,
                lane_blocks: 1,
                turn_budget_us: 250,
            }
        );
        assert_eq!(config.batch.max, 7);
        let metrics = MetricsConfig {
            listen: Some(([0, 0, 0, 0], 9646).into()),
            token: Some(Token::new("0123456789abcdef").expect("it is right")),
        };
        assert_eq!(config.metrics, metrics);
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let every = vec![
            pair("bootstrap.servers", "a:1"),
            pair("fetch.wait.max.ms", "5"),
        ];
        let consumer = vec![pair("fetch.wait.max.ms", "9")];
        let producer = vec![pair("linger.ms", "1.5")];
        assert_eq!(
            config.kafka,
            KafkaConfig {
                every,
                consumer,
                producer
            }
        );
    }

    #[test]
    fn the_command_line_goes_before_the_file() {
        let path = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(path.path(), "[shards]\ncores = 2\n[batch]\nmax = 2\n")
            .expect("it can be written");
        let settings = ["batch.max=3".to_owned(), "shards.cores=4".to_owned()];
        let config = Config::load(Some(path.path()), &settings, Some(5)).expect("all are known");
        assert_eq!(
            (config.batch.max, config.shards.core_map.cores),
            (3, CoreRequest::Count(5))
        );
    }

    #[test]
    fn an_unknown_key_is_refused_with_where_it_stands_and_the_nearest_known_one() {
        assert_eq!(
            refused("shards.coers=2"),
            "--set: shards.coers: unknown key; did you mean shards.cores?"
        );
        assert_eq!(
            refused("lane_blocks=2"),
            "--set: lane_blocks: unknown key; did you mean shards.lane_blocks?"
        );
        assert!(refused("weather.wind=2").contains("unknown key; the keys are job.name, "));
        assert!(refused("shards=2").contains("is a section"));
        let message = mean("[shrads]\n").expect_err("no such section").to_string();
        assert!(message.contains(": shrads: unknown key"), "{message}");
    }

    #[test]
    fn a_key_of_later_work_is_refused_and_not_ignored() {
        for key in KEYS.iter().filter(|key| key.take.is_none()) {
            assert!(
                refused(&format!("{}=1", key.path)).contains("not available yet"),
                "{}",
                key.path
            );
        }
        assert!(refused("kafka.\"ssl.key.password\"={ file = 'p' }").contains("not available yet"));
        assert!(refused("kafka.\"sasl.password\"=${PASSWORD}").contains("not available yet"));
    }

    #[test]
    fn a_wrong_value_is_refused_with_what_is_allowed() {
        assert_eq!(
            refused("shards.lane_blocks=0"),
            "--set: shards.lane_blocks: must be a whole number from 1 to 4096, not 0"
        );
        assert_eq!(
            refused("batch.max='x'"),
            "--set: batch.max: must be a whole number from 1 to 65536, not \"x\""
        );
        let most = limits::SHARDS.end();
        assert!(refused("shards.cores=0").contains(&format!("from 1 to {most}")));
        assert!(refused("shards.cores=9-2").contains("runs backwards"));
        assert!(refused("shards.cores=many").contains("no choice of cores"));
        assert_eq!(
            refused("shards.numa=never"),
            "--set: shards.numa: must be \"strict\" or \"prefer\" or \"off\", not \"never\""
        );
        assert_eq!(
            refused("shards.placement=dense"),
            "--set: shards.placement: must be \"spread\" or \"pack\", not \"dense\""
        );
        assert!(refused("shards.turn_budget_us=0").contains("from 1 to 1000000, not 0"));
        assert!(refused("shards.housekeeping=-1").contains("from 0 to"));
        assert!(refused("shards.cores=true").contains("must be \"auto\""));
        assert!(refused("job.name=a b").contains("not ' '"));
        assert!(refused("metrics.listen='9646'").contains("such as \"127.0.0.1:9646\""));
        assert_eq!(
            refused("metrics.listen='0.0.0.0:9646'"),
            "--set: metrics.listen: other machines can reach 0.0.0.0:9646: set metrics.token too, or listen on 127.0.0.1"
        );
        assert_eq!(
            refused("metrics.token=hush"),
            "--set: metrics.token: must have 16 to 1024 letters"
        );
    }
}
