//! What was typed and configured, in the form that the commands need: the SQL text, the configuration, the core map.

use velostream_shards::{CoreMap, Machine};

use super::args::{ConfigArgs, SqlArgs};
use crate::config::{Config, Layers, job_name_is_wrong, limits};
use crate::error::{Error, Result};
use crate::{kafka, sql};

/// The SQL text, and what messages call it.
pub struct SqlText {
    /// The file's name as typed, or `-e`.
    pub name: String,
    /// The text.
    pub text: String,
    /// The file's stem, made fit to be a job's name; `None` for `-e`.
    stem: Option<String>,
}

impl SqlArgs {
    /// Reads the SQL text.
    pub fn read(&self) -> Result<SqlText> {
        if let Some(text) = &self.execute {
            return Ok(SqlText {
                name: "-e".into(),
                text: text.clone(),
                stem: None,
            });
        }
        let path = self
            .file
            .as_ref()
            .expect("the command line has either a file or a text");
        let text =
            std::fs::read_to_string(path).map_err(|cause| Error::disk("read", path, &cause))?;
        // Some editors begin a file with a mark of its encoding.
        let text = text.trim_start_matches('\u{feff}').to_owned();
        let stem = path
            .file_stem()
            .map(|stem| job_name(&stem.to_string_lossy()));
        Ok(SqlText {
            name: path.display().to_string(),
            text,
            stem,
        })
    }
}

impl SqlText {
    /// Plans the text as it would run on `shards` shards.
    pub fn plan(&self, config: &Config, shards: usize) -> Result<sql::Script> {
        let job_name = config.job_name.clone().or_else(|| self.stem.clone());
        sql::plan_script(&self.name, &self.text, &sql::Settings { shards, job_name })
    }
}

impl ConfigArgs {
    /// Reads the configuration.
    pub fn read(&self) -> Result<Config> {
        let environment: Vec<_> = std::env::vars_os().collect();
        let config = Config::read(&Layers {
            file: self.config.as_deref(),
            environment: &environment,
            settings: &self.set,
            shards: self.shards,
        })?;
        // A key that no stream of this job uses is held against librdkafka all the same: a slip in it is never passed over.
        kafka::Settings::check(&config.kafka)?;
        Ok(config)
    }
}

/// The machine as hwloc sees it.
pub fn machine() -> Result<Machine> {
    Machine::read().map_err(|cause| Error::Config(cause.to_string()))
}

/// The core map that the configuration gives on this machine.
pub fn core_map_on(machine: &Machine, config: &Config) -> Result<CoreMap> {
    CoreMap::plan(machine, &config.shards.core_map)
        .map_err(|cause| Error::Config(cause.to_string()))
}

/// The core map that the configuration gives on the machine as hwloc sees it.
pub fn core_map(config: &Config) -> Result<CoreMap> {
    core_map_on(&machine()?, config)
}

/// The same, if shards can be started by it: not on a machine that is only described.
pub fn startable_core_map(config: &Config) -> Result<CoreMap> {
    startable_core_map_on(&machine()?, config)
}

/// The same on `machine`.
pub fn startable_core_map_on(machine: &Machine, config: &Config) -> Result<CoreMap> {
    let map = core_map_on(machine, config)?;
    if map.foreign() {
        return Err(Error::Config(
            "this machine is only described (HWLOC_SYNTHETIC, HWLOC_XMLFILE), and shards cannot start on it; unset that, or \
             see its core map with velo topology"
                .into(),
        ));
    }
    Ok(map)
}

/// A file's stem as a job's name: what may not stand in one becomes `-`.
fn job_name(stem: &str) -> String {
    let letter = |letter: char| {
        if letter.is_ascii_alphanumeric() || "._-".contains(letter) {
            letter
        } else {
            '-'
        }
    };
    let mut name: String = stem.chars().map(letter).collect();
    name.truncate(*limits::JOB_NAME_BYTES.end());
    debug_assert!(job_name_is_wrong(&name).is_none(), "a stem is never empty");
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_stem_becomes_a_name_that_a_job_may_have() {
        assert_eq!(job_name("flights"), "flights");
        assert_eq!(job_name("my flights (1)é"), "my-flights--1--");
        assert_eq!(job_name(&"x".repeat(1000)).len(), 128);
    }
}
