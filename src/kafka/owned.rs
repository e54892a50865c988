//! What is the engine's among librdkafka's properties: those on which its correctness rests, and its own defaults.
//!
//! Law: a property on which the engine's correctness rests cannot be set. Whoever tries is told why, and what to do instead.
//! docs/OPERATIONS.md holds these tables; a test holds it to them.

use std::fmt::Write;

/// Which way a client's records go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It reads.
    Consumer,
    /// It writes.
    Producer,
}

/// A property of the engine's own, and why: what to do instead is said last.
type Owned = (&'static str, &'static str);

/// The engine's own, for both kinds.
const OWNED: &[Owned] = &[
    (
        "metadata.broker.list",
        "it is another name of bootstrap.servers; write that",
    ),
    (
        "log.queue",
        "the engine reads the client's log itself; leave it out, and set debug to see more of it",
    ),
    (
        "statistics.interval.ms",
        "nothing reads these statistics; leave it out, and see the report of the run",
    ),
    (
        "test.mock.num.brokers",
        "a run reads and writes real brokers; leave it out, or see velo demo",
    ),
];

const GROUP: &str = "the engine deals partitions to its shards itself; leave it out";
const DONE: &str = "the engine says when a record is done; leave it out";
const ORDER: &str = "rows of equal keys keep their order; leave it out";

/// The engine's own, of a consumer.
const OWNED_BY_SOURCE: &[Owned] = &[
    (
        "group.id",
        "a group belongs to one stream of one job; write the stream's option group",
    ),
    ("group.instance.id", GROUP),
    ("group.protocol", GROUP),
    ("group.remote.assignor", GROUP),
    ("partition.assignment.strategy", GROUP),
    ("enable.auto.commit", DONE),
    ("auto.commit.enable", DONE),
    ("auto.commit.interval.ms", DONE),
    ("enable.auto.offset.store", DONE),
    (
        "auto.offset.reset",
        "where a read starts is said by its stream; write the stream's option start",
    ),
    (
        "enable.partition.eof",
        "the engine needs to see the end of a partition; leave it out",
    ),
    (
        "allow.auto.create.topics",
        "reading a topic must not create it; leave it out, and create the topic before",
    ),
    (
        "consume.callback.max.messages",
        "the engine reads in batches; set batch.max",
    ),
];

/// The engine's own, of a producer.
const OWNED_BY_SINK: &[Owned] = &[
    (
        "enable.idempotence",
        "without it a retry could double or reorder rows; leave it out",
    ),
    (
        "partitioner",
        "rows go where the Java clients would put them, so that topics are co-partitioned; leave it out, and see the option \
         key.columns",
    ),
    ("msg_order_cmp", ORDER),
    ("queuing.strategy", ORDER),
    (
        "transactional.id",
        "the engine names its transactions itself; leave it out",
    ),
    (
        "delivery.report.only.error",
        "a row counts as out when its delivery is reported; leave it out",
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
    // A partition that was added is fetched as soon as the engine has found it, not after librdkafka's five minutes.
    ("topic.metadata.refresh.interval.ms", "10000"),
    // As the Java clients do: a damaged record is an error, not an answer.
    ("check.crcs", "true"),
];

/// What the engine sets on a producer, unless configured.
const SINK_DEFAULTS: &[(&str, &str)] = &[
    ("linger.ms", "1"),
    // A row waits as long as its brokers take others, however slowly (`sink::kafka` says when none does for too long).
    ("message.timeout.ms", "0"),
    // Rows that wait for a slow broker are held back in the shards, not piled up here; librdkafka's own bound is 1 GiB.
    ("queue.buffering.max.kbytes", "65536"),
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

/// Other names of properties: what the first says must count for the second.
const ALIASES: &[(&str, &str)] = &[
    ("queue.buffering.max.ms", "linger.ms"),
    ("delivery.timeout.ms", "message.timeout.ms"),
    ("max.in.flight", "max.in.flight.requests.per.connection"),
    ("sasl.mechanism", "sasl.mechanisms"),
    (
        "sasl.oauthbearer.client.credentials.client.id",
        "sasl.oauthbearer.client.id",
    ),
    (
        "sasl.oauthbearer.client.credentials.client.secret",
        "sasl.oauthbearer.client.secret",
    ),
    ("max.partition.fetch.bytes", "fetch.message.max.bytes"),
    ("retries", "message.send.max.retries"),
    ("compression.type", "compression.codec"),
    ("acks", "request.required.acks"),
];

impl Kind {
    fn owned(self) -> &'static [Owned] {
        match self {
            Kind::Consumer => OWNED_BY_SOURCE,
            Kind::Producer => OWNED_BY_SINK,
        }
    }

    /// What the engine sets unless configured, of this kind alone.
    pub(super) fn defaults(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Kind::Consumer => SOURCE_DEFAULTS,
            Kind::Producer => SINK_DEFAULTS,
        }
    }

    /// What the engine sets whatever was configured.
    pub(super) fn fixed(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Kind::Consumer => SOURCE_FIXED,
            Kind::Producer => SINK_FIXED,
        }
    }
}

/// What the engine sets on every client unless configured.
pub(super) fn defaults() -> &'static [(&'static str, &'static str)] {
    DEFAULTS
}

/// Why a property cannot be set on a client of this kind, or on any; `None` if it can.
pub(super) fn why_owned(name: &str, kind: Option<Kind>) -> Option<&'static str> {
    let of_kind = kind.map_or(&[][..], Kind::owned);
    let owned = OWNED.iter().chain(of_kind);
    owned
        .clone()
        .find(|(own, _)| *own == name)
        .map(|(_, why)| *why)
}

/// The one name under which a property is kept.
pub(super) fn one_name(name: &str) -> &str {
    let alias = ALIASES.iter().find(|(alias, _)| *alias == name);
    alias.map_or(name, |(_, of)| of)
}

/// The tables as documentation.
pub fn markdown() -> String {
    let mut page =
        String::from("| property | of | why not, and what instead |\n| --- | --- | --- |\n");
    for (of, properties) in [
        ("every client", OWNED),
        ("a source", OWNED_BY_SOURCE),
        ("a sink", OWNED_BY_SINK),
    ] {
        for (name, why) in properties {
            writeln!(page, "| `{name}` | {of} | {why} |")
                .expect("writing to a string does not fail");
        }
    }
    page += "\n| default of the engine's own, which may be changed | of | value |\n| --- | --- | --- |\n";
    for (of, properties) in [
        ("every client", DEFAULTS),
        ("a source", SOURCE_DEFAULTS),
        ("a sink", SINK_DEFAULTS),
    ] {
        for (name, value) in properties {
            writeln!(page, "| `{name}` | {of} | {value} |")
                .expect("writing to a string does not fail");
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::super::properties::known;
    use super::*;

    #[test]
    fn every_name_of_a_property_is_one() {
        for property in known() {
            let Some(of) = &property.alias_of else {
                continue;
            };
            let same = one_name(&property.name) == one_name(of);
            assert!(
                same || why_owned(of, None).is_some(),
                "{} and {of} are kept as two",
                property.name
            );
        }
    }

    #[test]
    fn what_is_owned_is_librdkafkas_and_says_what_to_do() {
        let known = known();
        for (name, why) in OWNED.iter().chain(OWNED_BY_SOURCE).chain(OWNED_BY_SINK) {
            let hidden = ["log.queue", "msg_order_cmp", "test.mock.num.brokers"];
            let is_known = known.iter().any(|known| known.name == *name);
            assert!(is_known || hidden.contains(name), "{name} is no property");
            assert!(why.contains("; "), "{name}: {why}");
        }
        for (name, _) in SOURCE_FIXED {
            assert!(why_owned(name, Some(Kind::Consumer)).is_some(), "{name}");
        }
        for (name, _) in SINK_FIXED {
            assert!(why_owned(name, Some(Kind::Producer)).is_some(), "{name}");
        }
    }

    #[test]
    fn the_documentation_says_what_the_tables_say() {
        let page = include_str!("../../docs/OPERATIONS.md");
        let start = "<!-- properties: made from the code -->\n";
        let (from, to) = (page.find(start), page.find("<!-- end of properties -->"));
        let from = from.expect("docs/OPERATIONS.md marks where the properties start") + start.len();
        let to = to.expect("docs/OPERATIONS.md marks where the properties end");
        assert!(
            page[from..to].trim() == markdown().trim(),
            "docs/OPERATIONS.md must hold, between its markers:\n{}",
            markdown()
        );
    }
}
