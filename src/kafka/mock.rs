//! A broker for tests: librdkafka's mock cluster, in this process.

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use crate::batch::OwnedOriginal;
use crate::config::Property;

use super::{
    Consumer, Event, Fetching, Layers, Outgoing, Position, Producer, Sent, Settings, inspect,
};

/// A running mock cluster of one broker.
pub(crate) struct Broker {
    cluster: MockCluster<'static, DefaultProducerContext>,
}

/// A record as read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Read {
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Vec<u8>,
    pub timestamp_ms: Option<i64>,
    pub due_us: Option<i64>,
    pub(crate) original: OwnedOriginal,
}

/// A broker with these topics and numbers of partitions.
pub(crate) fn broker(topics: &[(&str, i32)]) -> Broker {
    let cluster = MockCluster::new(1).expect("a mock cluster starts");
    for (topic, partitions) in topics {
        cluster
            .create_topic(topic, *partitions, 1)
            .expect("a topic is made");
    }
    Broker { cluster }
}

fn layers(bootstrap: &str, properties: &[(&str, &str)]) -> Vec<Property> {
    let all = [("bootstrap.servers", bootstrap)]
        .into_iter()
        .chain(properties.iter().copied());
    all.map(|(name, value)| Property::built_in(name, value))
        .collect()
}

pub(crate) fn consumer_settings(bootstrap: &str, properties: &[(&str, &str)]) -> Settings {
    let every = layers(bootstrap, properties);
    Settings::consumer(
        &Layers {
            every: &every,
            ..Layers::default()
        },
        "velo-test",
    )
    .expect("valid settings")
}

pub(crate) fn producer_settings(bootstrap: &str, properties: &[(&str, &str)]) -> Settings {
    let every = layers(bootstrap, properties);
    Settings::producer(&Layers {
        every: &every,
        ..Layers::default()
    })
    .expect("valid settings")
}

impl Broker {
    pub(crate) fn consumer(&self, properties: &[(&str, &str)]) -> Settings {
        consumer_settings(&self.cluster.bootstrap_servers(), properties)
    }

    pub(crate) fn producer(&self, properties: &[(&str, &str)]) -> Settings {
        producer_settings(&self.cluster.bootstrap_servers(), properties)
    }

    /// Cuts every connection and accepts none.
    pub(crate) fn down(&self) {
        self.cluster.broker_down(-1).expect("the broker goes");
    }

    /// Accepts connections again.
    pub(crate) fn up(&self) {
        self.cluster.broker_up(-1).expect("the broker comes");
    }
}

/// Writes records and waits for the broker to have them.
pub(crate) fn write<'a>(
    broker: &Broker,
    topic: &str,
    records: impl IntoIterator<Item = Outgoing<'a>>,
) {
    let mut producer = Producer::new(&broker.producer(&[]), topic).expect("a producer");
    let wait = std::time::Duration::from_millis(20);
    for record in records {
        while producer.send(&record).expect("sent") == Sent::Full {
            producer.deliveries(wait, &mut |_| ()).expect("delivered");
        }
    }
    while producer.unacknowledged() > 0 {
        producer.deliveries(wait, &mut |_| ()).expect("delivered");
    }
}

/// All that a topic holds.
pub(crate) fn read_all(broker: &Broker, topic: &str) -> Vec<Read> {
    let settings = broker.consumer(&[]);
    let spans = inspect(&settings, topic).expect("the mock answers");
    let positions: Vec<_> = spans
        .iter()
        .map(|span| (span.partition, Position::Oldest))
        .collect();
    let mut consumer =
        Consumer::new(&settings, topic, &positions, Fetching::Buffered).expect("a consumer");
    let mut open = spans.len();
    let mut read = Vec::new();
    while open > 0 {
        let taken = consumer.take(100);
        for event in taken.events() {
            match event {
                Event::Record(record) => read.push(Read {
                    partition: record.partition(),
                    offset: record.offset(),
                    key: record.key().map(<[u8]>::to_vec),
                    value: record.value().unwrap_or_default().to_vec(),
                    timestamp_ms: record.timestamp_ms(),
                    due_us: record.due_us(),
                    original: record.original().to_owned(),
                }),
                Event::End { .. } => open -= 1,
                Event::Failed { code, reason, .. } => panic!("{code} {reason}"),
            }
        }
        if taken.is_empty() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
    read
}
