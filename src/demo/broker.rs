//! A broker inside this process: librdkafka's mock cluster, which speaks the real protocol on loopback.
//!
//! It keeps 5 MiB or 100,000 batches of records a partition and drops older ones without a word, so whoever uses it keeps
//! close to the newest record (`feed`) and takes a missing offset for an error (`read_back`, the source's
//! `gaps_are_errors`). It knows no transactions. Nothing is measured on it but the demo's own latency.

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use crate::error::{Error, Result};

/// What a partition may hold unread, bytes: well below the 5 MiB that the mock keeps.
pub const UNREAD_BYTES_MAX: u64 = 2 << 20;

/// A running broker; it ends when dropped, after its clients. It stays on the thread that started it.
pub struct Broker {
    cluster: MockCluster<'static, DefaultProducerContext>,
}

impl Broker {
    /// Starts a broker of one node with these topics, each of `partitions` partitions.
    pub fn start(topics: &[&str], partitions: i32) -> Result<Broker> {
        assert!(partitions > 0, "a topic has partitions");
        let failed = |doing: &str, cause: &dyn std::fmt::Display| {
            Error::Connector(format!(
                "the demo's broker cannot {doing}: {cause}; see that loopback ports can be opened"
            ))
        };
        let cluster = MockCluster::new(1).map_err(|cause| failed("start", &cause))?;
        for topic in topics {
            cluster
                .create_topic(topic, partitions, 1)
                .map_err(|cause| failed("make a topic", &cause))?;
        }
        Ok(Broker { cluster })
    }

    /// Its address, for `bootstrap.servers`.
    pub fn bootstrap(&self) -> String {
        self.cluster.bootstrap_servers()
    }
}
