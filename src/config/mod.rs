//! What was configured, in the form the rest of the crate asks for.
//!
//! ```text
//!   built-in defaults  <  velostream.toml  <  VELO__SECTION__KEY  <  --set, --shards       (written.rs: what was written)
//!                 \------- keys.rs: what each key means -------> Config
//! ```
//!
//! Law: every key that was written is used or refused, with the place it was written at and the nearest known key.
//! A secret is used and never shown (`secret`). Options of streams and queries
//! are not here but in `options`; every bound is in `limits`.

pub mod blot;
mod keys;
pub mod limits;
mod metrics;
pub mod nearest;
pub mod options;
mod origin;
mod property;
pub mod reference;
pub mod secret;
mod written;

use std::path::Path;

use toml::Value;
use velostream_shards::{CoreMapRequest, Numa, Profile, ReactorChoice};

use crate::error::{Error, Result};
use secret::{Secret, is_secret_name};

pub use keys::{Setting, job_name_is_wrong, markdown};
pub use metrics::{MetricsConfig, Token};
pub use origin::Origin;
pub use property::{Property, PropertyValue};
pub use written::{Layers, variable_of};

/// What was configured.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `job.name`; `None` for the SQL file's stem.
    pub job_name: Option<String>,
    /// `job.commit_interval_ms`: how often offsets are committed.
    pub commit_interval_ms: u64,
    /// `[shards]`.
    pub shards: ShardsConfig,
    /// `[batch]`.
    pub batch: BatchConfig,
    /// `[kafka]`.
    pub kafka: KafkaConfig,
    /// The keys that were written, but for those of `[kafka]`, as they may be shown.
    pub written: Vec<Setting>,
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
    /// Records that a turn which exceeds its budget may still take; no more than `max`.
    pub min: usize,
    /// Records at most.
    pub max: usize,
    /// Whether records are scanned by the machine's vector instructions; by their portable twin otherwise.
    pub simd: bool,
}

/// `[kafka]`: librdkafka properties, their references read. Which may be set, and which layer wins, `kafka` decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KafkaConfig {
    /// For every client.
    pub every: Vec<Property>,
    /// `[kafka.consumer]`.
    pub consumer: Vec<Property>,
    /// `[kafka.producer]`.
    pub producer: Vec<Property>,
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
            min: limits::BATCH_RECORDS_MIN_DEFAULT,
            max: limits::BATCH_RECORDS_DEFAULT,
            simd: true,
        }
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            job_name: None,
            commit_interval_ms: limits::COMMIT_INTERVAL_MS_DEFAULT,
            shards: ShardsConfig::default(),
            batch: BatchConfig::default(),
            kafka: KafkaConfig::default(),
            metrics: MetricsConfig::default(),
            written: Vec::new(),
        }
    }
}

impl Config {
    /// Reads all layers.
    ///
    /// # Errors
    /// `Error::Config` names for each wrong key where it was written, the key, and what to write instead; a setting that is no
    /// `key=value` is `Error::Usage`.
    pub fn read(layers: &Layers<'_>) -> Result<Config> {
        let mut config = Config::default();
        let variable = |name: &str| {
            let mut variables = layers.environment.iter();
            let found = variables.find(|(known, _)| known.to_str() == Some(name))?;
            Some(found.1.clone())
        };
        let written = written::written(layers)?;
        let wrong = written.iter().filter_map(|one| {
            let wrong = config.take(one, &variable).err()?;
            Some(Error::Config(format!(
                "{}: {}: {wrong}",
                one.origin, one.key
            )))
        });
        Error::all(wrong)?;
        if let Some((key, wrong)) = config.metrics.wrong() {
            let written = written.iter().find(|one| one.key == key);
            let origin = &written.expect("what is wrong was written").origin;
            return Err(Error::Config(format!("{origin}: {key}: {wrong}")));
        }
        let BatchConfig { min, max, .. } = config.batch;
        if min > max {
            if let Some(one) = written.iter().rev().find(|one| one.key == "batch.min") {
                return Err(Error::Config(format!(
                    "{}: batch.min: {min} records are more than batch.max, {max}",
                    one.origin
                )));
            }
            config.batch.min = max;
        }
        Ok(config)
    }

    /// The same without an environment, whose variables may then not be referred to either: `file` (else `./velostream.toml`
    /// if it is there), each `settings` (`section.key=value`) over it, and `shards` (`--shards N`) over that.
    pub fn load(file: Option<&Path>, settings: &[String], shards: Option<usize>) -> Result<Config> {
        Config::read(&Layers {
            file,
            environment: &[],
            settings,
            shards,
        })
    }

    /// Every key there is, but those of `[kafka]`, with its value and where that comes from.
    pub fn settings(&self) -> Vec<Setting> {
        keys::with_defaults(&self.written)
    }

    fn take(
        &mut self,
        written: &written::Written,
        variables: reference::Variables<'_>,
    ) -> Result<(), String> {
        let key = written.key.as_str();
        if let Some(property) = key.strip_prefix("kafka.") {
            let is_section = matches!(&written.value, written::WrittenValue::Here(Value::Table(_)));
            return match is_section {
                true => Ok(()),
                false => self.take_property(property, written, variables),
            };
        }
        let read;
        let (value, shown) = match (written.value.reference()?, &written.value) {
            (None, written::WrittenValue::Here(value)) => (value, None),
            (Some(reference), _) if keys::is_known(key) && is_secret_name(key) => {
                read = Value::String(reference.resolve(variables)?.reveal().to_owned());
                (&read, Some(reference.to_string()))
            }
            _ if !keys::is_known(key) => return Err(keys::unknown(key, &written.origin)),
            _ => {
                return Err(format!(
                    "takes its value as it stands, and no {{ file = \"..\" }} or ${{..}}; write the value, or set the \
                     environment variable {}",
                    variable_of(key)
                ));
            }
        };
        if keys::take(key, value, &written.origin, self)? {
            let shown = shown.or_else(|| is_secret_name(key).then(|| Secret::new("").to_string()));
            self.written.push(Setting {
                key: key.to_owned(),
                value: Some(shown.map_or_else(|| value.clone(), Value::String)),
                origin: written.origin.clone(),
            });
        }
        Ok(())
    }

    fn take_property(
        &mut self,
        property: &str,
        written: &written::Written,
        variables: reference::Variables<'_>,
    ) -> Result<(), String> {
        let (properties, name) = match property.split_once('.') {
            Some(("consumer", name)) => (&mut self.kafka.consumer, name),
            Some(("producer", name)) => (&mut self.kafka.producer, name),
            _ => (&mut self.kafka.every, property),
        };
        if matches!(property, "consumer" | "producer") {
            return Err(format!(
                "is a section and has no value; set librdkafka's properties in it, such as kafka.{property}.client.id"
            ));
        }
        let (key, origin) = (written.key.as_str(), written.origin.clone());
        let property = match &written.value {
            written::WrittenValue::File(path) => Property::kept_in(name, path, key, origin),
            written::WrittenValue::Here(value) => {
                let text = match value {
                    Value::String(text) => text.clone(),
                    // 1.10 is a number that is written 1.1.
                    _ if is_secret_name(name) => return Err("must be text in quotes".into()),
                    Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => value.to_string(),
                    _ => return Err("must be text, a number, true or false".into()),
                };
                Property::new(name, text, key, origin)?
            }
        };
        properties.push(property.resolved(variables)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use velostream_shards::{Arrangement, CoreRequest, Smt};

    use super::*;

    fn mean(text: &str) -> Result<Config> {
        let path = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(path.path(), text).expect("it can be written");
        Config::load(Some(path.path()), &[], None)
    }

    fn set(setting: &str, environment: &[(OsString, OsString)]) -> Result<Config> {
        Config::read(&Layers {
            file: Some(Path::new("/dev/null")),
            environment,
            settings: &[setting.to_owned()],
            shards: None,
        })
    }

    fn refused(setting: &str) -> String {
        set(setting, &[]).expect_err("must be refused").to_string()
    }

    fn pairs(properties: &[Property]) -> Vec<(&str, String)> {
        let properties = properties.iter();
        properties
            .map(|one| (one.name.as_str(), one.value.to_string()))
            .collect()
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
    fn a_ceiling_below_the_default_floor_is_the_floor_too() {
        let config = mean("[batch]\nmax = 7\n").expect("a batch may be small");
        assert_eq!((config.batch.min, config.batch.max), (7, 7));
    }

    #[test]
    fn every_key_is_used() {
        let config = mean(
            "[job]\nname = 'flights'\n[shards]\ncores = '2-4,12'\nplacement = 'pack'\nhousekeeping = '0,1'\nturn_budget_us = 250\nsmt = 'use'\noversubscribe = true\n\
             numa = 'strict'\nlane_blocks = 1\nprofile = 'eco'\nreactor = 'poll'\n[batch]\nmin = 3\nmax = 7\n[kafka]\n'bootstrap.servers' = 'a:1'\n'fetch.wait.max.ms' = 5\n\
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
        assert_eq!((config.batch.min, config.batch.max), (3, 7));
        let pair = |name, value: &str| (name, value.to_owned());
        let kafka = &config.kafka;
        assert_eq!(
            pairs(&kafka.every),
            [
                pair("bootstrap.servers", "a:1"),
                pair("fetch.wait.max.ms", "5")
            ]
        );
        assert_eq!(pairs(&kafka.consumer), [pair("fetch.wait.max.ms", "9")]);
        assert_eq!(pairs(&kafka.producer), [pair("linger.ms", "1.5")]);
        let property = &kafka.consumer[0];
        assert_eq!(property.key, "kafka.consumer.fetch.wait.max.ms");
        assert!(property.origin.to_string().ends_with(":21"), "{property:?}");
    }

    #[test]
    fn the_command_line_goes_before_the_environment_and_that_before_the_file() {
        let path = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(
            path.path(),
            "[shards]\ncores = 2\nlane_blocks = 2\n[batch]\nmax = 2\n",
        )
        .expect("it can be written");
        let environment = ["VELO__BATCH__MAX", "VELO__SHARDS__LANE_BLOCKS"]
            .map(|name| (OsString::from(name), OsString::from("9")));
        let config = Config::read(&Layers {
            file: Some(path.path()),
            environment: &environment,
            settings: &["batch.max=3".to_owned(), "shards.cores=4".to_owned()],
            shards: Some(5),
        })
        .expect("all are known");
        assert_eq!(
            (
                config.batch.max,
                config.shards.lane_blocks,
                config.shards.core_map.cores.clone()
            ),
            (3, 9, CoreRequest::Count(5))
        );
        let origins = config.settings().into_iter();
        let origin = |setting: Setting| (setting.key, setting.origin.to_string());
        let origins: Vec<_> = origins.map(origin).collect();
        for (key, wanted) in [
            ("batch.max", "--set"),
            ("shards.lane_blocks", "VELO__SHARDS__LANE_BLOCKS"),
            ("shards.cores", "--shards"),
            ("shards.numa", "default"),
        ] {
            let found = origins.iter().find(|(known, _)| known == key);
            assert_eq!(
                found.map(|(_, origin)| origin.as_str()),
                Some(wanted),
                "{key}"
            );
        }
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
        let environment = [("VELO__SHRDS__CORES".into(), "1".into())];
        let error = set("batch.max=1", &environment).expect_err("no such key");
        assert_eq!(
            error.to_string(),
            "VELO__SHRDS__CORES: shrds.cores: unknown key; did you mean shards.cores, which is VELO__SHARDS__CORES?"
        );
        assert!(refused("weather.wind=2").contains("unknown key; the keys are job.name, "));
        assert!(refused("shards=2").contains("is a section"));
        assert!(refused("kafka=2").contains("is a section"));
        assert!(refused("kafka.consumer=2").contains("is a section"));
        let message = mean("[shrads]\n").expect_err("no such section").to_string();
        assert!(message.contains(":1: shrads: unknown key"), "{message}");
    }

    #[test]
    fn all_that_is_wrong_is_told() {
        let error = mean("[shards]\ncoers = 1\n[batch]\nmax = 0\n").expect_err("two wrong keys");
        let Error::Several(errors) = &error else {
            panic!("{error}")
        };
        assert_eq!(errors.len(), 2, "{error}");
        assert_eq!(error.exit_code(), crate::error::exit::CONFIG);
    }

    #[test]
    fn a_secret_is_read_from_where_it_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("password");
        std::fs::write(&path, "hunter2\n").expect("a file");
        let environment = [("PASSWORD".into(), "hunter2".into())];
        let shown = path.display();
        for setting in [
            "kafka.sasl.password=${PASSWORD}".to_owned(),
            "kafka.sasl.password=hunter2".to_owned(),
            format!("kafka.sasl.password={{ file = '{shown}' }}"),
            format!("kafka.sasl.password.file={shown}"),
        ] {
            let config = set(&setting, &environment).expect("it can be read");
            let PropertyValue::Hidden { secret, .. } = &config.kafka.every[0].value else {
                panic!("{setting} is not hidden")
            };
            assert_eq!(secret.reveal(), "hunter2", "{setting}");
            assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
        }
        assert_eq!(
            refused("kafka.sasl.password=${ABSENT}"),
            "--set: kafka.sasl.password: needs the environment variable ABSENT, which is not set; export it, or write \
             { file = \"PATH\" }"
        );
        assert!(
            refused("kafka.sasl.password.file=absent")
                .contains("the file absent, which cannot be read")
        );
        let error = mean("[kafka]\n'sasl.password' = 1.10\n").expect_err("a number");
        assert!(
            error
                .to_string()
                .ends_with("kafka.sasl.password: must be text in quotes")
        );
        assert!(refused("batch.max=${MAX}").contains("the environment variable VELO__BATCH__MAX"));
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
        assert_eq!(
            refused("batch.min=2000"),
            "--set: batch.min: 2000 records are more than batch.max, 1024"
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
