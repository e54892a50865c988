//! The librdkafka properties of one client: the engine's, overlaid by what was configured.
//!
//! ```text
//!   engine's defaults  <  [kafka]  <  [kafka.consumer] or [kafka.producer]  <  kafka.<property> of the stream
//! ```
//!
//! Law: a property on which the engine's correctness rests is the engine's; setting it is refused by name, with what to
//! write instead. All others are the user's, and a later layer wins. A secret is never printed.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::fmt;
use std::ptr::NonNull;

use rdkafka_sys as sys;
use sys::rd_kafka_conf_res_t as outcome;

use crate::config::KafkaConfig;
use crate::error::{Error, Result};

/// What was configured for one client, the weakest layer first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Layers<'a> {
    /// `[kafka]`: every client.
    pub every: &'a [(String, String)],
    /// `[kafka.consumer]` or `[kafka.producer]`: every client of the kind.
    pub kind: &'a [(String, String)],
    /// `kafka.<property>` in the stream's WITH, without the prefix.
    pub stream: &'a [(String, String)],
}

/// Which way a client's records go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It reads.
    Consumer,
    /// It writes.
    Producer,
}

/// The properties of one client, checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    kind: Kind,
    properties: BTreeMap<String, String>,
}

/// Why a property is the engine's, or what to write instead.
type Remedy = &'static str;

/// The engine's own, for both kinds.
const OWNED: &[(&str, Remedy)] = &[
    ("metadata.broker.list", "write bootstrap.servers"),
    ("log.queue", "the engine collects the client's log itself"),
    ("statistics.interval.ms", "nothing reads these statistics"),
    (
        "test.mock.num.brokers",
        "a run reads and writes real brokers",
    ),
];

/// The engine's own, of a consumer.
const OWNED_BY_SOURCE: &[(&str, Remedy)] = &[
    ("group.id", "write the stream's option group"),
    (
        "group.instance.id",
        "the engine assigns partitions to its shards itself",
    ),
    (
        "group.protocol",
        "the engine assigns partitions to its shards itself",
    ),
    (
        "group.remote.assignor",
        "the engine assigns partitions to its shards itself",
    ),
    (
        "partition.assignment.strategy",
        "the engine assigns partitions to its shards itself",
    ),
    (
        "enable.auto.commit",
        "the engine decides when an offset is done",
    ),
    (
        "auto.commit.enable",
        "the engine decides when an offset is done",
    ),
    (
        "auto.commit.interval.ms",
        "the engine decides when an offset is done",
    ),
    (
        "enable.auto.offset.store",
        "the engine decides when an offset is done",
    ),
    ("auto.offset.reset", "write the stream's option start"),
    (
        "enable.partition.eof",
        "the engine needs to see the end of a partition",
    ),
    (
        "allow.auto.create.topics",
        "reading a topic must not create it",
    ),
    (
        "consume.callback.max.messages",
        "the engine reads in batches",
    ),
];

/// The engine's own, of a producer.
const OWNED_BY_SINK: &[(&str, Remedy)] = &[
    (
        "enable.idempotence",
        "without it a retry could double or reorder rows",
    ),
    (
        "partitioner",
        "rows go where the Java clients would put them, so that topics are co-partitioned",
    ),
    ("msg_order_cmp", "rows of equal keys keep their order"),
    ("queuing.strategy", "rows of equal keys keep their order"),
    (
        "transactional.id",
        "the engine names its transactions itself",
    ),
    (
        "delivery.report.only.error",
        "a row counts as out when its delivery is reported",
    ),
];

/// What the engine sets on every client, unless configured.
const DEFAULTS: &[(&str, &str)] = &[
    ("client.id", "velo"),
    // A request waits for nothing, and a broker that returns is found again within a second.
    ("socket.nagle.disable", "true"),
    ("reconnect.backoff.ms", "100"),
    ("reconnect.backoff.max.ms", "1000"),
];

/// What the engine sets on a consumer, unless configured.
const SOURCE_DEFAULTS: &[(&str, &str)] = &[
    // librdkafka's 1000 means a second's stall each time the local queue has been full.
    ("fetch.queue.backoff.ms", "5"),
    // How long a broker may hold back an answer to fill it.
    ("fetch.wait.max.ms", "10"),
    // As the Java clients do: a damaged record is an error, not an answer.
    ("check.crcs", "true"),
];

/// What the engine sets on a producer, unless configured.
const SINK_DEFAULTS: &[(&str, &str)] = &[
    ("linger.ms", "1"),
    // A row that no broker has taken for a minute ends the run.
    ("message.timeout.ms", "60000"),
];

/// What the engine sets on a consumer, whatever was configured.
const SOURCE_FIXED: &[(&str, &str)] = &[
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("enable.partition.eof", "true"),
    ("auto.offset.reset", "error"),
    ("allow.auto.create.topics", "false"),
];

/// What the engine sets on a producer, whatever was configured.
const SINK_FIXED: &[(&str, &str)] = &[
    ("enable.idempotence", "true"),
    ("partitioner", "murmur2_random"),
];

/// Two names of one property: what the first says must count for the second.
const ALIASES: &[(&str, &str)] = &[
    ("queue.buffering.max.ms", "linger.ms"),
    ("delivery.timeout.ms", "message.timeout.ms"),
];

impl Settings {
    /// The properties of a consumer of group `group`. Refuses with `Error::Config` what the engine owns, what librdkafka
    /// does not know or accept, and a missing `bootstrap.servers`. No broker is touched.
    pub fn consumer(layers: &Layers<'_>, group: &str) -> Result<Settings> {
        assert!(
            !group.is_empty(),
            "a consumer without a group cannot be assigned partitions"
        );
        let mut settings = Settings::merge(
            Kind::Consumer,
            layers,
            SOURCE_DEFAULTS,
            OWNED_BY_SOURCE,
            SOURCE_FIXED,
        )?;
        settings.properties.insert("group.id".into(), group.into());
        settings.checked()
    }

    /// The properties of a producer, with the same refusals as `consumer`.
    pub fn producer(layers: &Layers<'_>) -> Result<Settings> {
        Settings::merge(
            Kind::Producer,
            layers,
            SINK_DEFAULTS,
            OWNED_BY_SINK,
            SINK_FIXED,
        )?
        .checked()
    }

    /// Refuses what stands under `[kafka]` and may not, whether or not a client will be made of it. What only a source or only a
    /// sink owns may stand under `[kafka]` itself as long as there is none.
    pub fn check(configured: &KafkaConfig) -> Result<()> {
        let native = NativeSettings::new();
        let sections: [(_, &[(&str, Remedy)]); 3] = [
            (&configured.every, &[]),
            (&configured.consumer, OWNED_BY_SOURCE),
            (&configured.producer, OWNED_BY_SINK),
        ];
        for (properties, owned) in sections {
            for (name, value) in properties {
                refuse_owned(name, owned)?;
                native.set(name, value)?;
            }
        }
        Ok(())
    }

    /// The addresses at which the cluster is first asked for, as configured.
    pub fn bootstrap(&self) -> &str {
        self.property("bootstrap.servers")
            .expect("checked when the settings were made")
    }

    /// The value of a property, if the engine or the user set it.
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties.get(name).map(String::as_str)
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// The same without a group: for a client that only asks about topics and must not look for a group's coordinator.
    pub(super) fn without_group(&self) -> Settings {
        let mut settings = self.clone();
        settings.properties.remove("group.id");
        settings
    }

    fn merge(
        kind: Kind,
        layers: &Layers<'_>,
        defaults: &[(&str, &str)],
        owned: &[(&str, Remedy)],
        fixed: &[(&str, &str)],
    ) -> Result<Settings> {
        let mut properties = BTreeMap::new();
        let mut set = |name: &str, value: &str| {
            let name = ALIASES
                .iter()
                .find(|(alias, _)| *alias == name)
                .map_or(name, |(_, name)| name);
            properties.insert(name.to_owned(), value.to_owned());
        };
        for (name, value) in DEFAULTS.iter().chain(defaults) {
            set(name, value);
        }
        for (name, value) in layers.every.iter().chain(layers.kind).chain(layers.stream) {
            refuse_owned(name, owned)?;
            set(name, value);
        }
        for (name, value) in fixed {
            set(name, value);
        }
        Ok(Settings { kind, properties })
    }

    fn checked(self) -> Result<Settings> {
        if self
            .property("bootstrap.servers")
            .is_none_or(|servers| servers.trim().is_empty())
        {
            return Err(Error::Config(
                "no Kafka broker is configured: set \"bootstrap.servers\" = \"HOST:PORT\" under [kafka], or \
                 kafka.bootstrap.servers on the stream"
                    .into(),
            ));
        }
        self.native().map(|_| self)
    }

    /// librdkafka's form of the properties.
    pub(super) fn native(&self) -> Result<NativeSettings> {
        let native = NativeSettings::new();
        for (name, value) in &self.properties {
            native.set(name, value)?;
        }
        Ok(native)
    }
}

/// Refuses a property that is the engine's own, `owned` besides those of every client.
fn refuse_owned(name: &str, owned: &[(&str, Remedy)]) -> Result<()> {
    match OWNED.iter().chain(owned).find(|(own, _)| *own == name) {
        None => Ok(()),
        Some((_, remedy)) => Err(Error::Config(format!(
            "the Kafka property {name} cannot be set: {remedy}"
        ))),
    }
}

/// The names and values, without those that may be secret.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = |name: &str| {
            ["password", "secret", "key", "pem", "jaas", "token", "oauth"]
                .iter()
                .any(|word| name.contains(word))
        };
        f.debug_map()
            .entries(
                self.properties
                    .iter()
                    .map(|(name, value)| (name, if secret(name) { "(not shown)" } else { value })),
            )
            .finish()
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

    fn set(&self, name: &str, value: &str) -> Result<()> {
        let refused =
            |why: &str| Error::Config(format!("the Kafka property {name} cannot be set: {why}"));
        let name_c = CString::new(name).map_err(|_| refused("its name holds a NUL byte"))?;
        let value_c = CString::new(value).map_err(|_| refused("its value holds a NUL byte"))?;
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
        if set == outcome::RD_KAFKA_CONF_OK {
            return Ok(());
        }
        // SAFETY: as above, `reason` holds a terminated text (empty if librdkafka gave none).
        let reason = unsafe { CStr::from_ptr(reason.as_ptr()) }.to_string_lossy();
        Err(refused(&reason))
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

impl Drop for NativeSettings {
    fn drop(&mut self) {
        // SAFETY: the object is alive, and no client has taken it, else `taken` had forgotten `self`.
        unsafe { sys::rd_kafka_conf_destroy(self.0.as_ptr()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect()
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
        assert_eq!(settings.property("queue.buffering.max.ms"), None);
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

    #[test]
    fn a_secret_is_not_printed() {
        let every = pairs(&[("bootstrap.servers", "a:1"), ("sasl.password", "hunter2")]);
        if let Ok(settings) = Settings::producer(&Layers {
            every: &every,
            ..Layers::default()
        }) {
            assert!(!format!("{settings:?}").contains("hunter2"));
        }
    }
}
