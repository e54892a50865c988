//! Reads a topic back while it is written: every record once, in the order of its partition's offsets.
//!
//! Law: a missing offset is an error, because the broker of the demo drops what nobody reads in time. Whoever uses this
//! polls often enough to stay within what that broker keeps.

use crate::error::{Error, Result};
use crate::kafka::{Consumer, Event, Fetching, KafkaRecord, Position, Settings, inspect};

/// How many records a poll takes at most.
const TAKE_MAX: usize = 1024;

/// A reader of a whole topic, from its oldest record on.
pub struct ReadBack {
    settings: Settings,
    topic: String,
    consumer: Consumer,
    /// The next offset of each partition, by its number.
    next_offsets: Vec<i64>,
}

impl ReadBack {
    /// A reader of `topic`. `Error::Connector` if it or its broker is not there.
    pub fn open(settings: &Settings, topic: &str) -> Result<ReadBack> {
        let spans = inspect(settings, topic)?;
        let next_offsets = spans.iter().map(|span| span.oldest).collect();
        let positions: Vec<_> = spans
            .iter()
            .map(|span| (span.partition, Position::Offset(span.oldest)))
            .collect();
        Ok(ReadBack {
            settings: settings.clone(),
            topic: topic.to_owned(),
            consumer: Consumer::new(settings, topic, &positions, Fetching::Buffered)?,
            next_offsets,
        })
    }

    /// Gives the records that are there to `record`, without waiting. Returns how many there were; 0 when there is nothing
    /// to do for a while.
    pub fn poll(&mut self, mut record: impl FnMut(&KafkaRecord<'_>)) -> Result<usize> {
        let mut count = 0;
        let taken = self.consumer.take(TAKE_MAX);
        for event in taken.events() {
            let (partition, offset) = match &event {
                Event::Record(read) => (read.partition(), read.offset()),
                Event::End {
                    partition, offset, ..
                } => (*partition, *offset),
                Event::Failed { code, reason, .. } if code.ends_a_read() => {
                    return Err(Error::Connector(format!(
                        "reading back topic {} failed: {code} ({reason})",
                        self.topic
                    )));
                }
                Event::Failed { .. } => continue,
            };
            let next = &mut self.next_offsets[partition as usize];
            if offset != *next {
                return Err(Error::Connector(format!(
                    "topic {} partition {partition}: offset {offset} came where {next} was next; the broker dropped records \
                     before they were read back",
                    self.topic
                )));
            }
            if let Event::Record(read) = &event {
                record(read);
                *next += 1;
                count += 1;
            }
        }
        drop(taken);
        match self.consumer.fatal() {
            Some(error) => Err(error),
            None => Ok(count),
        }
    }

    /// Where each partition ends now, by its number. Asks the broker.
    pub fn ends(&self) -> Result<Vec<i64>> {
        let spans = inspect(&self.settings, &self.topic)?;
        Ok(spans.iter().map(|span| span.next).collect())
    }

    /// The next offset of each partition, by its number.
    pub fn next_offsets(&self) -> &[i64] {
        &self.next_offsets
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::broker::Broker;
    use super::super::feed::Feed;
    use super::super::feed::tests::{records, settings, wall_clock_us};
    use super::*;

    #[test]
    fn records_dropped_before_they_were_read_are_an_error() {
        let broker = Broker::start(&["in"], 4).expect("a broker");
        let (reading, writing) = settings(&broker);
        let mut reader = ReadBack::open(&reading, "in").expect("a reader");
        // Nothing is taken while 200 MB go by: three times what a client fetches ahead, ten times what the broker keeps.
        let value = vec![b'v'; 500_000];
        let all = u64::MAX / 2;
        let feed = Feed::start(
            &writing,
            "in",
            records(400, &value),
            1_000_000,
            move || all,
            wall_clock_us,
        )
        .expect("a feed");
        feed.join().expect("fed");
        let begun = Instant::now();
        let failed = loop {
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "offsets {:?}",
                reader.next_offsets()
            );
            match reader.poll(|_| ()) {
                Ok(0) => std::thread::sleep(Duration::from_millis(1)),
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(failed.exit_code(), crate::error::exit::UNAVAILABLE);
    }
}
