//! Silence on a real protocol: the mock broker, with timeouts of a fraction of a second.

use super::*;
use crate::kafka::{Producer, Sent};

const TIMEOUT: Duration = Duration::from_millis(300);

/// Records of a partition that is far behind.
const RECORDS: i64 = 20_000;

/// Longer than any test may take.
pub(super) const LONG: Duration = Duration::from_secs(20);

pub(super) const ENDLESS: (QuietRules, Share) = (
    QuietRules {
        timeout_ns: TIMEOUT.as_nanos() as u64,
        advances: true,
    },
    Share {
        shard: 0,
        readers: 1,
        partitions: 2,
    },
);

/// A source of both partitions of topic `t`, without end, by a client with these properties.
pub(super) fn endless(broker: &Broker, properties: &[(&str, &str)]) -> KafkaSource<Numbers> {
    let settings = broker.consumer(properties);
    let ranges = ranges(&options(Start::Earliest, End::Never), &settings).expect("answered");
    let stream = Stream {
        endless: Some(ENDLESS),
        ..stream(&BY_COLUMN, OnError::Fail)
    };
    KafkaSource::new(
        &stream,
        &settings,
        &ranges,
        Numbers::default(),
        fetching(),
        CLOCKS,
    )
    .expect("a source")
}

/// Polls until `is_over`, and says how long that took.
fn poll_until(
    source: &mut KafkaSource<Numbers>,
    mut is_over: impl FnMut(&mut KafkaSource<Numbers>) -> bool,
) -> Duration {
    let begun = Instant::now();
    while !is_over(source) {
        assert!(begun.elapsed() < LONG, "{:?}", source.figures());
        let polled = source.poll(100).expect("read");
        assert!(!matches!(polled, Polled::Ended | Polled::Stopped));
        std::thread::sleep(Duration::from_millis(1));
    }
    begun.elapsed()
}

fn has_read(source: &KafkaSource<Numbers>, partition: usize) -> bool {
    source.partitions[partition].next_offset > 0 && source.partitions[partition].still.is_at_end()
}

pub(super) fn a_silent_partition_holds_nobody_and_one_that_speaks_after_all_fell_idle_takes_its_promise_back()
 {
    let broker = mock::broker(&[("t", 2)]);
    write(&broker, 0, ["100".into()]);
    let mut source = endless(&broker, &[]);
    poll_until(&mut source, |source| has_read(source, 0));
    assert_eq!(source.watermark(), Some(Watermark::NONE));
    // The other has said nothing at all.
    poll_until(&mut source, |source| {
        source.watermark() == Some(Watermark(100))
    });
    let took = poll_until(&mut source, |source| source.idle().is_some());
    assert!(took <= TIMEOUT * 4, "{took:?}");
    let idle = source.idle().expect("just seen");
    let ago = monotonic_ns() - idle.since_ns;
    assert!(idle.advances && ago < LONG.as_nanos() as u64);
    assert_eq!(source.watermark(), Some(Watermark(100)));
    assert_eq!(source.take_wake(), None);
    assert!(source.looks_ns().is_some());

    write(&broker, 1, ["30".into(), "40".into()]);
    let mut woken = None;
    poll_until(&mut source, |source| {
        woken = woken.or(source.take_wake());
        has_read(source, 1)
    });
    assert_eq!(
        woken,
        Some(Watermark::NONE),
        "from before its first record on"
    );
    assert_eq!(source.idle(), None);
    assert_eq!(
        source.watermark(),
        Some(Watermark(40)),
        "the other is idle still"
    );
    write(&broker, 0, ["110".into()]);
    write(&broker, 1, ["120".into()]);
    poll_until(&mut source, |source| {
        source.watermark() == Some(Watermark(110))
    });
}

pub(super) fn nothing_is_idle_while_the_broker_is_away_and_idleness_begins_anew_when_it_is_back() {
    let broker = mock::broker(&[("t", 2)]);
    write(&broker, 0, ["100".into()]);
    write(&broker, 1, ["100".into()]);
    let mut source = endless(&broker, &[]);
    poll_until(&mut source, |source| {
        has_read(source, 0) && has_read(source, 1)
    });
    broker.down();
    let away = Instant::now();
    poll_until(&mut source, |source| {
        assert_eq!(source.idle(), None, "away for {:?}", away.elapsed());
        away.elapsed() > TIMEOUT * 4
    });
    broker.up();
    // It has to be found again, and then be silent for the whole time.
    let took = poll_until(&mut source, |source| source.idle().is_some());
    assert!(took >= TIMEOUT, "{took:?}");
    // Idle, and it goes again: nobody knows what is written meanwhile.
    broker.down();
    let mut woken = None;
    poll_until(&mut source, |source| {
        woken = woken.or(source.take_wake());
        woken.is_some()
    });
    assert_eq!((woken, source.idle()), (Some(Watermark(100)), None));
}

#[test]
fn a_partition_falls_idle_beside_one_that_is_far_behind() {
    let broker = mock::broker(&[("t", 2)]);
    let settings = broker.producer(&[("batch.num.messages", "50")]);
    let mut producer = Producer::new(&settings, "t").expect("a producer");
    for number in 0..RECORDS {
        let text = number.to_string();
        let sent = producer.send(&record(0, Some(text.as_bytes())));
        assert_eq!(sent.expect("sent"), Sent::Queued);
    }
    while producer.unacknowledged() > 0 {
        let wait = Duration::from_millis(20);
        producer.deliveries(wait, &mut |_| ()).expect("delivered");
    }
    // The client keeps few records waiting, so that what it is told of the other partition comes soon.
    let few = [
        ("queued.min.messages", "200"),
        ("fetch.message.max.bytes", "4096"),
    ];
    let mut source = endless(&broker, &few);
    let begun = Instant::now();
    // A record at a time, so that the queue is never empty.
    while source.watermark() == Some(Watermark::NONE) {
        assert!(begun.elapsed() < LONG);
        source.poll(1).expect("read");
        std::thread::sleep(Duration::from_micros(200));
    }
    assert!(begun.elapsed() >= TIMEOUT);
    let read = source.partitions[0].next_offset;
    assert!(
        read < RECORDS,
        "it was idle before the other had caught up, at {read}"
    );
    assert_eq!(source.idle(), None);
}

#[test]
fn an_event_time_far_ahead_makes_a_bad_record_and_moves_no_watermark() {
    let broker = mock::broker(&[("t", 1)]);
    // The clock stands at 1,000,000,000.
    write(
        &broker,
        0,
        ["1000000500", "1000000501", "7"].map(String::from),
    );
    let ahead = Outgoing {
        timestamp_ms: Some(1_000_001),
        ..record(0, Some(b"8"))
    };
    for (event_time, bad, watermark) in [
        (&BY_COLUMN, 1, Watermark(1_000_000_500)),
        (&BY_RECORD, 1, Watermark(5_000)),
    ] {
        let stream = Stream {
            skew_us: Some(500),
            ..stream(event_time, OnError::Skip)
        };
        let mut source = single(&broker, &stream);
        let batches = drain(&mut source, 100).expect("read");
        assert_eq!(source.figures().bad_records, bad);
        let before = batches
            .iter()
            .flat_map(|batch| batch.watermarks_before.last());
        assert_eq!(before.last(), Some(&watermark));
    }
    let broker = mock::broker(&[("t", 1)]);
    mock::write(&broker, "t", [ahead]);
    let stream = Stream {
        skew_us: Some(500),
        ..stream(&BY_RECORD, OnError::Fail)
    };
    let failed = drain(&mut single(&broker, &stream), 100);
    let Err(Error::Data { reason, .. }) = failed else {
        panic!("a record of the future was taken")
    };
    assert!(reason.contains("max_future_skew"), "{reason}");
}
