//! The librdkafka properties of one client: the engine's, overlaid by what was configured.
//!
//! ```text
//!   engine's defaults  <  [kafka]  <  [kafka.consumer] or [kafka.producer]  <  kafka.<property> of the stream
//!                                                 (owned.rs: what cannot be set; security.rs: what belongs together)
//! ```
//!
//! Law: a property is refused with where it was written and what to do: one that is the engine's, one that librdkafka does not
//! know or take, one that this build does not have. All others are the user's, and a later layer wins. A secret is given to
//! librdkafka and never shown.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::ptr::NonNull;

use rdkafka_sys as sys;
use sys::rd_kafka_conf_res_t as outcome;

use crate::config::nearest::nearest;
use crate::config::reference::process_variable;
use crate::config::secret::Secret;
use crate::config::{KafkaConfig, Origin, Property, PropertyValue, variable_of};
use crate::error::{Error, Result};

use super::owned::{self, Kind, one_name, why_owned};
use super::properties::{Known, known};
use super::record_limit::MESSAGE_BYTES_MAX_DEFAULT;
use super::security::{HAS_TLS, Sasl, why_not_built, why_unreadable};

/// What was configured for one client, the weakest layer first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Layers<'a> {
    /// `[kafka]`: every client.
    pub every: &'a [Property],
    /// `[kafka.consumer]` or `[kafka.producer]`: every client of the kind.
    pub kind: &'a [Property],
    /// `kafka.<property>` in the stream's WITH.
    pub stream: &'a [Property],
}

/// The properties of one client, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    kind: Kind,
    /// By the one name of each.
    properties: BTreeMap<String, Property>,
}

impl Settings {
    /// The properties of a consumer of group `group`. Refuses with `Error::Config` what the engine owns, what librdkafka
    /// does not know or accept, and a missing `bootstrap.servers`. Reads the files and variables that the stream's properties
    /// refer to. No broker is touched.
    pub fn consumer(layers: &Layers<'_>, group: &str) -> Result<Settings> {
        assert!(
            !group.is_empty(),
            "a consumer without a group cannot be assigned partitions"
        );
        let mut settings = Settings::merge(Kind::Consumer, layers)?;
        settings.put(Property::built_in("group.id", group));
        settings.checked()
    }

    /// The properties of a producer, with the same refusals as `consumer`.
    pub fn producer(layers: &Layers<'_>) -> Result<Settings> {
        Settings::merge(Kind::Producer, layers)?.checked()
    }

    /// Refuses what stands under `[kafka]` and may not, whether or not a client will be made of it: all that is wrong is
    /// returned. What only a source or only a sink owns may stand under `[kafka]` itself as long as there is none.
    pub fn check(configured: &KafkaConfig) -> Result<()> {
        let native = NativeSettings::new();
        let sections = [
            (&configured.every, None),
            (&configured.consumer, Some(Kind::Consumer)),
            (&configured.producer, Some(Kind::Producer)),
        ];
        let all = sections
            .into_iter()
            .flat_map(|(properties, kind)| properties.iter().map(move |property| (property, kind)));
        Error::all(all.filter_map(|(property, kind)| {
            let checked = refuse_owned(property, kind).and_then(|()| native.set(property));
            let sided =
                checked.and_then(|()| kind.map_or(Ok(()), |kind| refuse_other(property, kind)));
            sided.err()
        }))
    }

    /// What a client is made of unless its stream says otherwise, by key: the engine's defaults and what was configured.
    pub fn shown(configured: &KafkaConfig) -> Vec<Property> {
        let sections = [
            ("consumer", Kind::Consumer, &configured.consumer),
            ("producer", Kind::Producer, &configured.producer),
        ];
        let is_set = |properties: &[Property], name: &str| {
            let same = |property: &Property| one_name(&property.name) == name;
            properties.iter().any(same)
        };
        let mut shown = configured.every.clone();
        for (name, value) in owned::defaults() {
            if !is_set(&configured.every, name) {
                shown.push(Property::built_in(name, value));
            }
        }
        for (section, kind, properties) in sections {
            shown.extend_from_slice(properties);
            for (name, value) in kind.defaults() {
                if !is_set(&configured.every, name) && !is_set(properties, name) {
                    shown.push(Property {
                        key: format!("kafka.{section}.{name}"),
                        ..Property::built_in(name, value)
                    });
                }
            }
        }
        shown.sort_by(|one, other| one.key.cmp(&other.key));
        shown
    }

    /// The addresses at which the cluster is first asked for, as configured.
    pub fn bootstrap(&self) -> &str {
        self.property("bootstrap.servers")
            .expect("checked when the settings were made")
    }

    /// The value of a property, if the engine or the user set it and it may be seen.
    pub fn property(&self, name: &str) -> Option<&str> {
        match &self.properties.get(one_name(name))?.value {
            PropertyValue::Open(value) => Some(value),
            PropertyValue::Hidden { .. } | PropertyValue::Reference(_) => None,
        }
    }

    /// The same with another `message.max.bytes`.
    pub(super) fn with_message_bytes_max(&self, bytes: usize) -> Settings {
        let mut settings = self.clone();
        settings.put(Property::built_in("message.max.bytes", &bytes.to_string()));
        settings
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// What librdkafka must not be heard to say.
    pub(super) fn secrets(&self) -> Vec<Secret> {
        let secret = |property: &Property| match &property.value {
            PropertyValue::Hidden { secret, .. } => Some(secret.clone()),
            PropertyValue::Open(_) | PropertyValue::Reference(_) => None,
        };
        self.properties.values().filter_map(secret).collect()
    }

    /// The same without a group: for a client that only asks about topics and must not look for a group's coordinator.
    pub(super) fn without_group(&self) -> Settings {
        let mut settings = self.clone();
        settings.properties.remove("group.id");
        settings
    }

    fn merge(kind: Kind, layers: &Layers<'_>) -> Result<Settings> {
        let mut settings = Settings {
            kind,
            properties: BTreeMap::new(),
        };
        for (name, value) in owned::defaults().iter().chain(kind.defaults()) {
            settings.put(Property::built_in(name, value));
        }
        for property in layers.every.iter().chain(layers.kind).chain(layers.stream) {
            refuse_owned(property, Some(kind))?;
            let resolved = property.clone().resolved(&process_variable);
            settings.put(resolved.map_err(|wrong| refused(property, &format!(": {wrong}")))?);
        }
        for (name, value) in kind.fixed() {
            settings.put(Property::built_in(name, value));
        }
        Ok(settings)
    }

    fn put(&mut self, property: Property) {
        let name = one_name(&property.name).to_owned();
        self.properties.insert(name, property);
    }

    /// The numbers that the engine reads too, which librdkafka takes in other spellings than this; and that its queue holds a record.
    fn check_sizes(&self) -> Result<()> {
        let number = |name: &str| -> Result<Option<u64>> {
            let (Some(property), Some(text)) = (self.properties.get(name), self.property(name))
            else {
                return Ok(None);
            };
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            match text.parse() {
                Ok(number) if digits => Ok(Some(number)),
                _ => Err(refused(
                    property,
                    &format!(": {text} is not a whole number in decimal digits"),
                )),
            }
        };
        number("message.timeout.ms")?;
        let record = number("message.max.bytes")?.unwrap_or(MESSAGE_BYTES_MAX_DEFAULT as u64);
        let queue = number("queue.buffering.max.kbytes")?;
        if let (Kind::Producer, Some(kilobytes)) = (self.kind, queue)
            && kilobytes.saturating_mul(1_024) < record
        {
            let property = &self.properties["queue.buffering.max.kbytes"];
            return Err(refused(
                property,
                &format!(
                    ": a record of {record} bytes (message.max.bytes) would never fit {kilobytes} KiB"
                ),
            ));
        }
        Ok(())
    }

    fn checked(self) -> Result<Settings> {
        let servers = self.property("bootstrap.servers").map(str::trim);
        if servers.is_none_or(str::is_empty) {
            return Err(Error::Config(
                "no Kafka broker is configured: set \"bootstrap.servers\" = \"HOST:PORT\" under [kafka], or \
                 kafka.bootstrap.servers on the stream"
                    .into(),
            ));
        }
        let is_set = |name| self.properties.contains_key(name);
        let sasl = Sasl {
            protocol: self.revealed("security.protocol"),
            mechanism: self.revealed("sasl.mechanisms"),
            has_credentials: is_set("sasl.username") && is_set("sasl.password"),
        };
        if let (Some(missing), Some(protocol)) =
            (sasl.missing(), self.properties.get("security.protocol"))
        {
            return Err(refused(protocol, &format!(": {missing}")));
        }
        self.native()?;
        self.check_sizes()?;
        for property in self.properties.values() {
            let value = property.value.revealed().unwrap_or_default();
            if let Some(why) = why_unreadable(&property.name, value) {
                return Err(refused(property, &format!(": {} {why}", property.value)));
            }
        }
        Ok(self)
    }

    fn revealed(&self, name: &str) -> Option<&str> {
        self.properties.get(name)?.value.revealed()
    }

    /// librdkafka's form of the properties.
    pub(super) fn native(&self) -> Result<NativeSettings> {
        let native = NativeSettings::new();
        for property in self.properties.values() {
            native.set(property)?;
        }
        Ok(native)
    }
}

/// What is wrong with a property, behind where and under which key it was written.
fn refused(property: &Property, wrong: &str) -> Error {
    let Property { key, origin, .. } = property;
    Error::Config(format!("{origin}: {key}{wrong}"))
}

/// Refuses a property that is the engine's own, on every client or on one of this kind.
fn refuse_owned(property: &Property, kind: Option<Kind>) -> Result<()> {
    match why_owned(&property.name, kind) {
        None => Ok(()),
        Some(why) => Err(refused(property, &format!(" cannot be set: {why}"))),
    }
}

/// Refuses a property that no client of this kind looks at.
fn refuse_other(property: &Property, kind: Kind) -> Result<()> {
    let all = known();
    let Some(found) = all.iter().find(|known| known.name == property.name) else {
        return Ok(());
    };
    let (is_used, of, there) = match kind {
        Kind::Consumer => (found.reads, "a producer's", "[kafka.producer]"),
        Kind::Producer => (found.writes, "a consumer's", "[kafka.consumer]"),
    };
    match is_used {
        true => Ok(()),
        false => Err(refused(
            property,
            &format!(" would not be looked at: it is {of}; write it under {there}"),
        )),
    }
}

/// Owns a librdkafka configuration object until a client takes it.
pub(super) struct NativeSettings(NonNull<sys::rd_kafka_conf_t>);

impl NativeSettings {
    fn new() -> NativeSettings {
        // SAFETY: no precondition.
        let conf = unsafe { sys::rd_kafka_conf_new() };
        NativeSettings(NonNull::new(conf).expect("librdkafka allocates or aborts"))
    }

    fn set(&self, property: &Property) -> Result<()> {
        let name = property.name.as_str();
        let value = property.value.revealed();
        let value = value.expect("references are read before a client is made");
        if let Some(why) = why_not_built(name, value).filter(|_| !HAS_TLS) {
            return Err(refused(property, &format!(" cannot be set: {why}")));
        }
        let nul = |what| {
            refused(
                property,
                &format!(": its {what} holds a NUL byte; leave that out"),
            )
        };
        let name_c = CString::new(name).map_err(|_| nul("name"))?;
        let value_c = CString::new(value).map_err(|_| nul("value"))?;
        let mut reason = [0; 512];
        // SAFETY: the object is alive and not yet taken; both texts are NUL-terminated; `reason` is as long as stated, and
        // librdkafka terminates what it writes there.
        let set = unsafe {
            sys::rd_kafka_conf_set(
                self.0.as_ptr(),
                name_c.as_ptr(),
                value_c.as_ptr(),
                reason.as_mut_ptr(),
                reason.len(),
            )
        };
        // SAFETY: as above, `reason` holds a terminated text (empty if librdkafka gave none).
        let reason = unsafe { CStr::from_ptr(reason.as_ptr()) }.to_string_lossy();
        match set {
            outcome::RD_KAFKA_CONF_OK => Ok(()),
            outcome::RD_KAFKA_CONF_UNKNOWN => Err(unknown(property)),
            outcome::RD_KAFKA_CONF_INVALID => Err(wrong_value(property, &reason)),
        }
    }

    /// The object, still owned.
    pub(super) fn as_ptr(&self) -> *mut sys::rd_kafka_conf_t {
        self.0.as_ptr()
    }

    /// Gives the object up: a client has taken it.
    pub(super) fn taken(self) {
        std::mem::forget(self);
    }
}

/// A property that librdkafka does not know.
fn unknown(property: &Property) -> Error {
    let all = known();
    let names = all.iter().map(|known| known.name.as_str());
    let section = property.key.strip_suffix(&property.name);
    let wrong = match nearest(&property.name, names) {
        Some(name) => {
            let key = format!("{}{name}", section.unwrap_or("kafka."));
            let here = match &property.origin {
                Origin::Environment(_) => format!(", which is {}", variable_of(&key)),
                _ => String::new(),
            };
            format!(": unknown property of librdkafka; did you mean {key}{here}?")
        }
        None => ": unknown property of librdkafka; its CONFIGURATION.md lists them all".to_owned(),
    };
    refused(property, &wrong)
}

/// A value that librdkafka does not take, for the reason that it gives.
fn wrong_value(property: &Property, reason: &str) -> Error {
    let all = known();
    let takes = |known: &&Known| known.name == property.name && !known.takes.is_empty();
    match all.iter().find(takes) {
        Some(known) if !reason.contains("build") => refused(
            property,
            &format!(" cannot be {}; allowed: {}", property.value, known.takes),
        ),
        _ => {
            let value = property.value.revealed().unwrap_or_default();
            let reason = match &property.value {
                PropertyValue::Hidden { .. } => Secret::new(value).scrub(reason),
                PropertyValue::Open(_) | PropertyValue::Reference(_) => reason.to_owned(),
            };
            refused(property, &format!(" cannot be set: {reason}"))
        }
    }
}

impl Drop for NativeSettings {
    fn drop(&mut self) {
        // SAFETY: the object is alive, and no client has taken it, else `taken` had forgotten `self`.
        unsafe { sys::rd_kafka_conf_destroy(self.0.as_ptr()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<Property> {
        let property = |(name, value): &(&str, &str)| {
            let key = format!("kafka.{name}");
            Property::new(*name, *value, key, Origin::Flag("--set")).expect("right")
        };
        pairs.iter().map(property).collect()
    }

    #[test]
    fn a_later_layer_wins_over_an_earlier_one_and_over_the_engine() {
        let every = pairs(&[("bootstrap.servers", "a:1"), ("fetch.wait.max.ms", "7")]);
        let kind = pairs(&[("fetch.wait.max.ms", "8"), ("client.id", "mine")]);
        let stream = pairs(&[("bootstrap.servers", "b:2")]);
        let layers = Layers {
            every: &every,
            kind: &kind,
            stream: &stream,
        };
        let settings = Settings::consumer(&layers, "group").expect("valid");
        assert_eq!(settings.bootstrap(), "b:2");
        assert_eq!(settings.property("fetch.wait.max.ms"), Some("8"));
        assert_eq!(settings.property("client.id"), Some("mine"));
        assert_eq!(settings.property("fetch.queue.backoff.ms"), Some("5"));
    }

    #[test]
    fn another_name_of_a_property_counts_as_the_property() {
        let every = pairs(&[
            ("bootstrap.servers", "a:1"),
            ("queue.buffering.max.ms", "9"),
        ]);
        let settings = Settings::producer(&Layers {
            every: &every,
            ..Layers::default()
        })
        .expect("valid");
        assert_eq!(settings.property("linger.ms"), Some("9"));
        assert_eq!(settings.property("queue.buffering.max.ms"), Some("9"));
        assert_eq!(settings.properties.get("queue.buffering.max.ms"), None);
    }

    #[test]
    fn what_the_engine_owns_is_refused_by_name() {
        for (name, consumer) in [
            ("group.id", true),
            ("enable.auto.commit", true),
            ("enable.idempotence", false),
            ("log.queue", false),
        ] {
            let every = pairs(&[("bootstrap.servers", "a:1"), (name, "x")]);
            let layers = Layers {
                every: &every,
                ..Layers::default()
            };
            let refused = if consumer {
                Settings::consumer(&layers, "group")
            } else {
                Settings::producer(&layers)
            };
            let Err(Error::Config(message)) = refused else {
                panic!("{name} was accepted")
            };
            assert!(message.contains(name), "{message}");
        }
    }

    #[test]
    fn an_unknown_property_a_bad_value_and_a_missing_broker_are_refused() {
        for (name, value) in [("fetch.wait.maximum", "1"), ("fetch.wait.max.ms", "soon")] {
            let every = pairs(&[("bootstrap.servers", "a:1"), (name, value)]);
            let Err(Error::Config(message)) = Settings::consumer(
                &Layers {
                    every: &every,
                    ..Layers::default()
                },
                "group",
            ) else {
                panic!("{name} = {value} was accepted")
            };
            assert!(message.contains(name), "{message}");
        }
        let Err(Error::Config(message)) = Settings::producer(&Layers::default()) else {
            panic!("no broker was accepted")
        };
        assert!(message.contains("bootstrap.servers"), "{message}");
    }

    fn checked(every: &[(&str, &str)], consumer: &[(&str, &str)]) -> String {
        let configured = KafkaConfig {
            every: pairs(every),
            consumer: pairs(consumer),
            ..KafkaConfig::default()
        };
        Settings::check(&configured).map_or_else(|wrong| wrong.to_string(), |()| "right".into())
    }

    #[test]
    fn what_is_wrong_is_told_with_where_it_stands_and_what_to_write() {
        assert_eq!(
            checked(&[("bootstrap_servers", "a:1")], &[]),
            "--set: kafka.bootstrap_servers: unknown property of librdkafka; did you mean kafka.bootstrap.servers?"
        );
        assert_eq!(
            checked(&[("acks", "most")], &[]),
            "--set: kafka.acks cannot be most; allowed: -1 .. 1000"
        );
        assert_eq!(
            checked(&[], &[("linger.ms", "1")]),
            "--set: kafka.linger.ms would not be looked at: it is a producer's; write it under [kafka.producer]"
        );
        assert_eq!(
            checked(&[("linger.ms", "1"), ("fetch.min.bytes", "1")], &[]),
            "right"
        );
    }

    #[test]
    fn sizes_are_decimal_and_the_queue_holds_a_record() {
        for (name, value, words) in [
            ("message.timeout.ms", "0x7530", "decimal digits"),
            ("message.max.bytes", " 5000", "decimal digits"),
            (
                "queue.buffering.max.kbytes",
                "900",
                "would never fit 900 KiB",
            ),
        ] {
            let layers = Layers {
                every: &pairs(&[("bootstrap.servers", "b:1"), (name, value)]),
                ..Layers::default()
            };
            let Err(Error::Config(message)) = Settings::producer(&layers) else {
                panic!("{name} = {value} is refused");
            };
            assert!(
                message.contains(words) && message.contains(name),
                "{message}"
            );
        }
    }

    #[test]
    fn a_secret_goes_to_librdkafka_and_nowhere_else() {
        let every = pairs(&[
            ("bootstrap.servers", "a:1"),
            ("security.protocol", "sasl_plaintext"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.username", "velo"),
            ("sasl.password", "hunter2"),
        ]);
        let layers = Layers {
            every: &every,
            ..Layers::default()
        };
        let settings = Settings::producer(&layers).expect("valid");
        assert!(!format!("{settings:?}").contains("hunter2"));
        assert_eq!(settings.property("sasl.password"), None);
        assert_eq!(settings.revealed("sasl.password"), Some("hunter2"));
        let secrets: Vec<_> = settings.secrets();
        assert_eq!(secrets, [Secret::new("hunter2")]);
        assert!(!checked(&[("ssl.endpoint.identification.algorithm", "hunter2")], &[]).is_empty());
    }

    #[test]
    fn sasl_that_is_not_whole_is_refused_where_it_is_asked_for() {
        let every = pairs(&[
            ("bootstrap.servers", "a:1"),
            ("security.protocol", "sasl_plaintext"),
        ]);
        let layers = Layers {
            every: &every,
            ..Layers::default()
        };
        let wrong = Settings::producer(&layers)
            .expect_err("no mechanism")
            .to_string();
        assert!(
            wrong.starts_with("--set: kafka.security.protocol: sasl_plaintext needs a mechanism"),
            "{wrong}"
        );
    }

    #[test]
    fn the_engines_defaults_are_shown_until_they_are_set() {
        let configured = KafkaConfig {
            every: pairs(&[("check.crcs", "false")]),
            producer: pairs(&[("queue.buffering.max.ms", "9")]),
            ..KafkaConfig::default()
        };
        let shown = Settings::shown(&configured);
        let keys: Vec<&str> = shown.iter().map(|one| one.key.as_str()).collect();
        assert!(keys.is_sorted(), "{keys:?}");
        assert!(
            keys.contains(&"kafka.consumer.fetch.wait.max.ms"),
            "{keys:?}"
        );
        for hidden in ["kafka.consumer.check.crcs", "kafka.producer.linger.ms"] {
            assert!(!keys.contains(&hidden), "{keys:?}");
        }
    }
}
