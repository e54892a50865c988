//! What the Kafka source and sink share: one client type over librdkafka, reading in batches, writing, and what a broker
//! says of a topic.
//!
//! ```text
//!   Settings (properties of the engine, [kafka], [kafka.consumer|producer] and the stream, merged)
//!      |
//!    Client --inspect--> Span (partition, oldest and next offset): once for a job, before its shards start
//!      |
//!      +-- Consumer: one a shard, statically assigned; records, ends, errors and callbacks all come by ONE queue, which is
//!      |   read as its tier says (Fetching)
//!      +-- Producer: one a job; queues records, gives back deliveries
//!      +-- GroupOffsets: one a job and committed stream; what the group has committed, and the next commit
//! ```
//!
//! Laws:
//! 1. librdkafka's own threads touch nothing of a shard. Its callbacks only note what they heard or ring a doorbell, and a
//!    shard looks when it polls.
//! 2. A record's bytes live until its batch is dropped; they are decoded in place and never held.
//! 3. An error names the broker or the topic, and says what to do. A broker that is away in the middle of a run is not an
//!    error: librdkafka connects again, and a notice says so once.
//!
//! This is the engine's only home of librdkafka. Nothing here knows of SQL, columns or watermarks. Nothing is committed that
//! the job has not asked for.

mod batch_consume;
mod client;
mod code;
mod consumer_queue;
mod contact;
mod group;
#[cfg(test)]
pub(crate) mod mock;
mod own_topic;
mod owned;
mod produce;
mod properties;
mod queue_bell;
mod record_limit;
mod security;
mod settings;
mod tiers;
mod topic;
mod watch;

pub use batch_consume::{Consumer, Event, KafkaRecord, Position, Taken};
pub use client::Client;
pub use code::Code;
pub use contact::{Contact, Known, Steady};
pub use group::{CommitOutcome, Committed, GroupOffsets};
pub use own_topic::OwnTopic;
pub use owned::markdown;
pub use produce::{Delivered, Outgoing, Producer, Sent};
pub use record_limit::RecordLimit;
pub use settings::{Layers, Settings};
pub use tiers::Fetching;
pub use topic::{Span, inspect, offsets_at};
pub use watch::Described;

/// The header in which a feed writes when a record was due: wall clock, microseconds since the epoch, ASCII decimal.
pub const DUE_HEADER: &std::ffi::CStr = c"velo.due_us";

/// How long a broker may take to answer before a run gives up on it: 10 s.
pub const BROKER_PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);
