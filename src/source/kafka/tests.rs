use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion_common::arrow::array::{AsArray, Int64Array, RecordBatch};
use datafusion_common::arrow::datatypes::Int64Type;
use velostream_shards::Doorbells;

use crate::config::options::{CsvOptions, End, Format, KafkaSourceOptions, Start, Tier};
use crate::error::Error;
use crate::format::BadRecord;
use crate::kafka::Outgoing;
use crate::kafka::mock::{self, Broker};

use super::*;

mod alignment;
mod idle;
mod steps;

use alignment::a_quick_partition_waits_for_the_slow_one_and_for_no_silent_one;
use idle::{
    a_silent_partition_holds_nobody_and_one_that_speaks_after_all_fell_idle_takes_its_promise_back,
    nothing_is_idle_while_the_broker_is_away_and_idleness_begins_anew_when_it_is_back,
};

use steps::{
    a_punctuation_moves_the_watermark_of_its_partition_behind_itself,
    the_clock_moves_a_watermark_also_when_nothing_comes,
};

const NOW_US: i64 = 1_000_000_000;

fn now_us() -> i64 {
    NOW_US
}

const CLOCKS: Clocks = Clocks {
    wall_us: now_us,
    monotonic_ns,
};

fn monotonic_ns() -> u64 {
    velostream_shards::SystemClock.monotonic_ns()
}

/// Reads a record that is a whole number: its value and its event time in one. `bad:<time>` is bad but tells its time.
#[derive(Default)]
struct Numbers(Vec<i64>, Option<EventTime>);

impl Decoder for Numbers {
    fn decode(&mut self, record: &[u8]) -> Decoded {
        let text = String::from_utf8_lossy(record);
        if let Some(time) = text.strip_prefix("bad:") {
            return Decoded::Bad(BadRecord {
                reason: "asked for".into(),
                event_time: time.parse().ok().map(EventTime),
            });
        }
        match text.parse() {
            Ok(number) if self.1.is_some_and(|latest| EventTime(number) > latest) => {
                Decoded::Bad(BadRecord {
                    reason: "too far ahead".into(),
                    event_time: None,
                })
            }
            Ok(number) => {
                self.0.push(number);
                Decoded::Record(Some(EventTime(number)))
            }
            Err(_) => Decoded::Bad(BadRecord {
                reason: format!("'{text}' is no number"),
                event_time: None,
            }),
        }
    }

    fn limit_event_time(&mut self, latest: EventTime) {
        self.1 = Some(latest);
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn finish(&mut self) -> RecordBatch {
        let column: Arc<Int64Array> = Arc::new(std::mem::take(&mut self.0).into());
        RecordBatch::try_from_iter([("n", column as _)]).expect("one column")
    }
}

thread_local! {
    /// The tier of the sources that this thread makes.
    static TIER: Cell<Tier> = const { Cell::new(Tier::Buffered) };
}

fn fetching() -> Fetching {
    match TIER.get() {
        Tier::Standard => Fetching::Standard,
        Tier::Buffered => Fetching::Buffered,
        Tier::Dedicated => {
            let (_, mut seats) = Doorbells::open_beside(1, 1).expect("there are descriptors");
            Fetching::Dedicated(seats[0].pop().expect("a seat was asked for"))
        }
    }
}

/// Makes a test of each function, for each tier.
macro_rules! on_each_tier {
    ($($name:ident,)*) => {
        mod standard { $(#[test] fn $name() { super::TIER.set(super::Tier::Standard); super::$name(); })* }
        mod buffered { $(#[test] fn $name() { super::TIER.set(super::Tier::Buffered); super::$name(); })* }
        mod dedicated { $(#[test] fn $name() { super::TIER.set(super::Tier::Dedicated); super::$name(); })* }
    };
}

// The laws of a source hold whatever the tier.
on_each_tier! {
    every_record_comes_once_and_in_order_whatever_the_number_of_sources_and_the_batch,
    an_empty_partition_has_ended_from_the_start_and_a_share_of_none_has_too,
    a_read_is_bounded_by_its_offsets_and_latest_is_what_was_there_at_the_start,
    an_end_that_is_not_there_yet_is_waited_for,
    a_record_is_stamped_with_the_watermark_of_its_own_partition_just_before_it,
    a_bad_record_is_counted_or_ends_the_run_and_its_time_still_counts,
    event_time_may_be_the_timestamp_of_the_record,
    a_batch_is_due_when_the_earliest_of_its_records_was_else_when_it_was_taken,
    a_broker_that_goes_and_comes_back_ends_nothing_and_is_told_once,
    records_that_a_broker_dropped_are_an_error_where_gaps_are,
    a_silent_partition_holds_nobody_and_one_that_speaks_after_all_fell_idle_takes_its_promise_back,
    nothing_is_idle_while_the_broker_is_away_and_idleness_begins_anew_when_it_is_back,
    a_quick_partition_waits_for_the_slow_one_and_for_no_silent_one,
    the_clock_moves_a_watermark_also_when_nothing_comes,
    a_punctuation_moves_the_watermark_of_its_partition_behind_itself,
}

const BY_COLUMN: EventTimeSpec = EventTimeSpec {
    column: EventTimeColumn::Declared(0),
    bound_us: 0,
};
const BY_RECORD: EventTimeSpec = EventTimeSpec {
    column: EventTimeColumn::Message,
    bound_us: 0,
};

fn stream(event_time: &EventTimeSpec, on_error: OnError) -> Stream<'_> {
    Stream {
        name: "s",
        topic: "t",
        event_time: Some(event_time),
        on_error,
        gaps_are_errors: false,
        replay: None,
        skew_us: None,
        endless: None,
        hidden: &[],
        steps: None,
    }
}

fn options(start: Start, end: End) -> KafkaSourceOptions {
    KafkaSourceOptions {
        topic: "t".into(),
        format: Format::Json,
        json_validate: Default::default(),
        csv: CsvOptions {
            header: false,
            delimiter: b',',
            null: String::new(),
        },
        key_columns: Vec::new(),
        group: None,
        start,
        start_written: true,
        end,
        tier: Default::default(),
        properties: Vec::new(),
    }
}

/// One source a shard over topic `t`.
fn sources(
    broker: &Broker,
    options: &KafkaSourceOptions,
    shards: usize,
) -> Vec<KafkaSource<Numbers>> {
    let settings = broker.consumer(&[]);
    let ranges = ranges(options, &settings).expect("the mock answers");
    let stream = stream(&BY_COLUMN, OnError::Fail);
    let source = |share: Vec<Range>| {
        KafkaSource::new(
            &stream,
            &settings,
            &share,
            Numbers::default(),
            fetching(),
            CLOCKS,
        )
    };
    deal(&ranges, shards)
        .into_iter()
        .map(|share| source(share).expect("a source"))
        .collect()
}

/// Writes `texts` to partition `partition` of topic `t`.
fn write(broker: &Broker, partition: i32, texts: impl IntoIterator<Item = String>) {
    let texts: Vec<String> = texts.into_iter().collect();
    mock::write(
        broker,
        "t",
        texts
            .iter()
            .map(|text| record(partition, Some(text.as_bytes()))),
    );
}

fn record(partition: i32, value: Option<&[u8]>) -> Outgoing<'_> {
    Outgoing {
        headers: &[],
        query: 0,
        epoch: 0,
        partition: Some(partition),
        key: None,
        value,
        timestamp_ms: Some(5),
        due_us: 0,
        due_header: false,
    }
}

/// Polls until the source has ended, or 10 s; asserts what every poll promises.
fn drain(source: &mut impl Source, max: usize) -> Result<Vec<Batch>> {
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut batches = Vec::new();
    let mut before = source.watermark();
    loop {
        assert!(
            Instant::now() < deadline,
            "no end within 10 s; {:?}",
            source.figures()
        );
        let polled = source.poll(max)?;
        assert!(source.watermark() >= before, "a watermark went back");
        before = source.watermark();
        match polled {
            Polled::Batch(batch) => {
                assert!(!batch.is_empty() && batch.len() <= max);
                batches.push(batch);
            }
            Polled::Nothing { progressed } => {
                if !progressed {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            Polled::Stopped => panic!("nobody stops it"),
            Polled::Ended => {
                assert_eq!(source.watermark(), Some(Watermark::END));
                assert!(
                    matches!(source.poll(max)?, Polled::Ended),
                    "an end is for ever"
                );
                return Ok(batches);
            }
        }
    }
}

/// Partition to (offset, number), in the order in which they came.
fn by_partition(batches: &[Batch]) -> BTreeMap<i32, Vec<(i64, i64)>> {
    let mut partitions: BTreeMap<i32, Vec<(i64, i64)>> = BTreeMap::new();
    for batch in batches {
        let numbers = batch.columns.column(0).as_primitive::<Int64Type>();
        for (origin, number) in batch.origins.iter().zip(numbers.values()) {
            partitions
                .entry(origin.partition)
                .or_default()
                .push((origin.offset, *number));
        }
    }
    partitions
}

fn eight_partitions() -> Broker {
    let broker = mock::broker(&[("t", 8)]);
    let texts: Vec<String> = (0..4_000).map(|number: i32| number.to_string()).collect();
    let records = texts
        .iter()
        .enumerate()
        .map(|(number, text)| record(number as i32 % 8, Some(text.as_bytes())));
    mock::write(&broker, "t", records);
    broker
}

fn every_record_comes_once_and_in_order_whatever_the_number_of_sources_and_the_batch() {
    let broker = eight_partitions();
    for (shards, max) in [(1, 1024), (3, 7), (3, 1)] {
        let mut all = BTreeMap::new();
        let mut records_in = 0;
        for mut source in sources(&broker, &options(Start::Earliest, End::Latest), shards) {
            all.append(&mut by_partition(&drain(&mut source, max).expect("read")));
            let figures = source.figures();
            records_in += figures.records_in;
            for partition in figures.partitions {
                assert_eq!(
                    (partition.next_offset, partition.watermark),
                    (500, Watermark::END)
                );
            }
        }
        assert_eq!(records_in, 4_000);
        assert_eq!(all.len(), 8);
        for (partition, records) in all {
            let expected: Vec<_> = (0..500)
                .map(|offset| (offset, offset * 8 + i64::from(partition)))
                .collect();
            assert_eq!(records, expected, "partition {partition}");
        }
    }
}

fn an_empty_partition_has_ended_from_the_start_and_a_share_of_none_has_too() {
    let broker = mock::broker(&[("t", 3)]);
    write(&broker, 1, ["7".into(), "9".into()]);
    let mut sources = sources(&broker, &options(Start::Earliest, End::Latest), 4);
    assert_eq!(sources[0].watermark(), Some(Watermark::END));
    assert_eq!(sources[1].watermark(), Some(Watermark::NONE));
    assert_eq!(sources[3].watermark(), None);
    let counts: Vec<usize> = sources
        .iter_mut()
        .map(|source| {
            drain(source, 10)
                .expect("read")
                .iter()
                .map(Batch::len)
                .sum()
        })
        .collect();
    assert_eq!(counts, [0, 2, 0, 0]);
}

fn a_read_is_bounded_by_its_offsets_and_latest_is_what_was_there_at_the_start() {
    let broker = mock::broker(&[("t", 2)]);
    write(&broker, 0, (0..10).map(|n| n.to_string()));
    write(&broker, 1, (10..20).map(|n| n.to_string()));
    let bounded = options(
        Start::Offsets(vec![(0, 3)]),
        End::Offsets(vec![(0, 7), (1, 2)]),
    );
    let latest = options(Start::Earliest, End::Latest);
    let mut bounded = sources(&broker, &bounded, 1);
    let mut latest = sources(&broker, &latest, 1);
    write(&broker, 0, (20..30).map(|n| n.to_string()));
    let read = by_partition(&drain(&mut bounded[0], 100).expect("read"));
    assert_eq!(read[&0], [(3, 3), (4, 4), (5, 5), (6, 6)]);
    assert_eq!(read[&1], [(0, 10), (1, 11)]);
    let offsets: Vec<_> = bounded[0]
        .figures()
        .partitions
        .iter()
        .map(|p| p.next_offset)
        .collect();
    assert_eq!(offsets, [7, 2]);
    assert_eq!(
        drain(&mut latest[0], 100)
            .expect("read")
            .iter()
            .map(Batch::len)
            .sum::<usize>(),
        20
    );
}

fn an_end_that_is_not_there_yet_is_waited_for() {
    let broker = mock::broker(&[("t", 1)]);
    let mut source = sources(
        &broker,
        &options(Start::Earliest, End::Offsets(vec![(0, 2)])),
        1,
    )
    .remove(0);
    for _ in 0..20 {
        assert!(matches!(
            source.poll(10).expect("read"),
            Polled::Nothing { .. }
        ));
        std::thread::sleep(Duration::from_millis(5));
    }
    write(&broker, 0, ["1".into(), "2".into(), "3".into()]);
    assert_eq!(
        by_partition(&drain(&mut source, 10).expect("read"))[&0],
        [(0, 1), (1, 2)]
    );
}

fn a_record_is_stamped_with_the_watermark_of_its_own_partition_just_before_it() {
    let broker = mock::broker(&[("t", 2)]);
    write(&broker, 0, ["100", "50", "200"].map(String::from));
    write(&broker, 1, ["1", "2"].map(String::from));
    for max in [1, 100] {
        let mut source = sources(&broker, &options(Start::Earliest, End::Latest), 1).remove(0);
        let mut stamps: BTreeMap<i32, Vec<Watermark>> = BTreeMap::new();
        for batch in drain(&mut source, max).expect("read") {
            for (origin, before) in batch.origins.iter().zip(&batch.watermarks_before) {
                stamps.entry(origin.partition).or_default().push(*before);
            }
        }
        assert_eq!(
            stamps[&0],
            [Watermark::NONE, Watermark(100), Watermark(100)]
        );
        assert_eq!(stamps[&1], [Watermark::NONE, Watermark(1)]);
    }
}

/// A source of the one partition of topic `t`.
fn single(broker: &Broker, stream: &Stream<'_>) -> KafkaSource<Numbers> {
    let settings = broker.consumer(&[]);
    let ranges =
        ranges(&options(Start::Earliest, End::Latest), &settings).expect("the mock answers");
    KafkaSource::new(
        stream,
        &settings,
        &ranges,
        Numbers::default(),
        fetching(),
        CLOCKS,
    )
    .expect("a source")
}

fn a_bad_record_is_counted_or_ends_the_run_and_its_time_still_counts() {
    let broker = mock::broker(&[("t", 1)]);
    let texts = ["1", "bad:500", "x", "2"];
    let good = texts.map(|text| record(0, Some(text.as_bytes())));
    mock::write(
        &broker,
        "t",
        good.into_iter()
            .chain([record(0, None), record(0, Some(b"3"))]),
    );
    let mut source = single(&broker, &stream(&BY_COLUMN, OnError::Skip));
    let batches = drain(&mut source, 100).expect("bad records are left out");
    assert_eq!(by_partition(&batches)[&0], [(0, 1), (3, 2), (5, 3)]);
    let before: Vec<_> = batches
        .iter()
        .flat_map(|batch| batch.watermarks_before.clone())
        .collect();
    assert_eq!(before, [Watermark::NONE, Watermark(500), Watermark(500)]);
    let figures = source.figures();
    assert_eq!((figures.records_in, figures.bad_records), (6, 3));

    let failed = drain(
        &mut single(&broker, &stream(&BY_COLUMN, OnError::Fail)),
        100,
    );
    let Err(Error::Data { place, .. }) = failed else {
        panic!("a bad record was taken")
    };
    assert_eq!(
        place,
        Place::Offset {
            topic: "t".into(),
            partition: 0,
            offset: 1
        }
    );
}

fn event_time_may_be_the_timestamp_of_the_record() {
    let broker = mock::broker(&[("t", 1)]);
    let at = |timestamp_ms| Outgoing {
        headers: &[],
        query: 0,
        epoch: 0,
        timestamp_ms: Some(timestamp_ms),
        ..record(0, Some(b"1"))
    };
    mock::write(&broker, "t", [at(1_000), at(3_000), at(2_000)]);
    let batches = drain(
        &mut single(&broker, &stream(&BY_RECORD, OnError::Fail)),
        100,
    )
    .expect("read");
    let times: Vec<_> = batches
        .iter()
        .flat_map(|batch| batch.event_times.clone())
        .collect();
    assert_eq!(
        times,
        [
            EventTime(1_000_000),
            EventTime(3_000_000),
            EventTime(2_000_000)
        ]
    );
}

fn a_batch_is_due_when_the_earliest_of_its_records_was_else_when_it_was_taken() {
    let broker = mock::broker(&[("t", 1)]);
    let due = |due_us| Outgoing {
        headers: &[],
        query: 0,
        epoch: 0,
        due_us,
        due_header: true,
        ..record(0, Some(b"1"))
    };
    mock::write(
        &broker,
        "t",
        [due(7_000), due(5_000), due(6_000), record(0, Some(b"1"))],
    );
    let batches = drain(&mut single(&broker, &stream(&BY_COLUMN, OnError::Fail)), 1).expect("read");
    assert_eq!(
        batches.iter().map(|batch| batch.due_us).collect::<Vec<_>>(),
        [7_000, 5_000, 6_000, NOW_US]
    );
    let batches = drain(
        &mut single(&broker, &stream(&BY_COLUMN, OnError::Fail)),
        100,
    )
    .expect("read");
    assert_eq!(batches.iter().map(|batch| batch.due_us).min(), Some(5_000));
}

#[test]
fn the_first_record_of_a_poll_says_for_its_partition_whether_due_times_are_looked_for() {
    let broker = mock::broker(&[("t", 2)]);
    let due = |partition, due_us| Outgoing {
        query: 0,
        due_us,
        due_header: true,
        ..record(partition, Some(b"1"))
    };
    mock::write(
        &broker,
        "t",
        [
            record(0, Some(b"1")),
            due(0, 1_000),
            due(1, 8_000),
            due(1, 7_000),
        ],
    );
    let mut source = sources(&broker, &options(Start::Earliest, End::Latest), 1).remove(0);
    // All of it is there before the first poll, so that one poll takes it.
    let deadline = Instant::now() + Duration::from_secs(10);
    while source.consumer.as_ref().map_or(0, Consumer::waiting) < 6 {
        assert!(Instant::now() < deadline, "four records and two ends");
        std::thread::sleep(Duration::from_millis(1));
    }
    let batches = drain(&mut source, 100).expect("read");
    assert_eq!(
        batches.iter().map(|batch| batch.due_us).collect::<Vec<_>>(),
        [7_000]
    );
}

#[test]
fn a_watermark_is_due_with_the_record_that_released_it() {
    let partition = |partition| {
        let range = Range {
            partition,
            start: 0,
            end: None,
            oldest: true,
            restored: None,
        };
        Partition::new(&range, PartitionClock::new(0), None)
    };
    let mut partitions = [partition(0), partition(1)];
    partitions[1].advance(EventTime(50), 0, Some(1_000));
    let silent = settle(&mut partitions, (Watermark::NONE, 0), NOW_US);
    assert_eq!(silent.0, Watermark::NONE, "one partition has said nothing");
    for (time, due_us) in [(20, 2_000), (30, 3_000), (10, 4_000)] {
        partitions[0].advance(EventTime(time), 0, Some(due_us));
    }
    partitions[1].advance(EventTime(60), 0, Some(9_000));
    let moved = settle(&mut partitions, silent, NOW_US);
    // Neither by the partition that was ahead nor by a record out of order.
    assert_eq!(moved, (Watermark(30), 3_000));
    assert_eq!(settle(&mut partitions, moved, NOW_US), moved);
    // A record that does not say when it was due.
    partitions[0].advance(EventTime(40), 0, None);
    assert_eq!(
        settle(&mut partitions, moved, NOW_US),
        (Watermark(40), NOW_US)
    );
}

fn a_broker_that_goes_and_comes_back_ends_nothing_and_is_told_once() {
    let broker = mock::broker(&[("t", 1)]);
    write(&broker, 0, ["1".into()]);
    let mut source = sources(
        &broker,
        &options(Start::Earliest, End::Offsets(vec![(0, 2)])),
        1,
    )
    .remove(0);
    let mut notices = Vec::new();
    let mut seen = 0;
    let deadline = Instant::now() + Duration::from_secs(15);
    broker_until(&mut source, &mut seen, &mut notices, deadline, |seen, _| {
        seen == 1
    });
    broker.down();
    broker_until(
        &mut source,
        &mut seen,
        &mut notices,
        deadline,
        |_, notices| notices.len() == 1,
    );
    assert!(notices[0].contains("away"), "{notices:?}");
    broker.up();
    write(&broker, 0, ["2".into()]);
    broker_until(
        &mut source,
        &mut seen,
        &mut notices,
        deadline,
        |seen, notices| seen == 2 && notices.len() == 2,
    );
    assert!(notices[1].contains("back"), "{notices:?}");
}

fn broker_until(
    source: &mut KafkaSource<Numbers>,
    seen: &mut usize,
    notices: &mut Vec<String>,
    deadline: Instant,
    done: impl Fn(usize, &[String]) -> bool,
) {
    while !done(*seen, notices) {
        assert!(
            Instant::now() < deadline,
            "{seen} records, notices {notices:?}"
        );
        if let Polled::Batch(batch) = source.poll(10).expect("a broker that is away is no error") {
            *seen += batch.len();
        }
        notices.append(&mut source.take_notices());
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_topic_that_is_not_there_is_an_error_that_says_how_to_make_it() {
    let begun = Instant::now();
    let broker = mock::broker(&[("other", 1)]);
    let Err(Error::Connector(message)) = ranges(
        &options(Start::Earliest, End::Latest),
        &broker.consumer(&[]),
    ) else {
        panic!("a topic that nobody made")
    };
    assert!(
        message.contains("topic t ") && message.contains("--create"),
        "{message}"
    );
    assert!(
        begun.elapsed() < Duration::from_secs(12),
        "took {:?}",
        begun.elapsed()
    );
}

fn records_that_a_broker_dropped_are_an_error_where_gaps_are() {
    let broker = mock::broker(&[("t", 1)]);
    // The mock keeps 5 MiB a partition and drops the oldest without a word.
    let large = vec![b'1'; 100_000];
    mock::write(&broker, "t", (0..80).map(|_| record(0, Some(&large))));
    let settings = broker.consumer(&[]);
    let range = Range {
        partition: 0,
        start: 0,
        end: Some(80),
        oldest: true,
        restored: None,
    };
    let demo = Stream {
        gaps_are_errors: true,
        ..stream(&BY_COLUMN, OnError::Skip)
    };
    let mut source = KafkaSource::new(
        &demo,
        &settings,
        &[range],
        Numbers::default(),
        fetching(),
        CLOCKS,
    )
    .expect("a source");
    let Err(Error::Connector(message)) = drain(&mut source, 100) else {
        panic!("a gap was passed over")
    };
    assert!(message.contains("offsets 0 to"), "{message}");

    let lost = Range {
        oldest: false,
        ..range
    };
    let plain = stream(&BY_COLUMN, OnError::Skip);
    let mut source = KafkaSource::new(
        &plain,
        &settings,
        &[lost],
        Numbers::default(),
        fetching(),
        CLOCKS,
    )
    .expect("a source");
    let Err(Error::Connector(message)) = drain(&mut source, 100) else {
        panic!("a lost offset was passed over")
    };
    assert!(message.contains("retention"), "{message}");
}

// ---- going on after a restart ----------------------------------------------------------------------------------------

/// Polls until nothing has come for a while: the offsets of each partition, and the watermark before the first record.
fn poll_on(source: &mut KafkaSource<Numbers>) -> (Vec<(i32, i64)>, Option<Watermark>) {
    let (mut origins, mut first) = (Vec::new(), None);
    let mut quiet_since = Instant::now();
    while quiet_since.elapsed() < Duration::from_millis(700) {
        if let Polled::Batch(batch) = source.poll(3).expect("no bad record is met again") {
            first = first.or(batch.watermarks_before.first().copied());
            origins.extend(batch.origins.iter().map(|one| (one.partition, one.offset)));
            quiet_since = Instant::now();
        }
    }
    (origins, first)
}

fn restored(partition: i32, start: i64, next: i64, end: Option<i64>) -> Range {
    Range {
        partition,
        start,
        end,
        oldest: false,
        restored: Some(Restored {
            next,
            watermark_at_start: Watermark(40),
            watermark_at_next: Watermark(1_000),
        }),
    }
}

#[test]
fn what_is_open_is_read_again_before_normal_work_and_counts_nowhere() {
    let broker = mock::broker(&[("t", 3)]);
    // Offset 6 of partition 0 is a bad record, which an earlier run had passed over.
    write(
        &broker,
        0,
        (0..20).map(|n| {
            if n == 6 {
                "bad:7".to_owned()
            } else {
                n.to_string()
            }
        }),
    );
    write(&broker, 1, (0..9).map(|n| n.to_string()));
    write(&broker, 2, (0..4).map(|n| n.to_string()));
    let share = [
        restored(0, 5, 12, None),
        restored(1, 7, 7, None),
        restored(2, 1, 4, Some(4)),
    ];
    let stream = Stream {
        replay: Some(Replay {
            rebuilds: true,
            step_us: Some(2),
        }),
        ..stream(&BY_COLUMN, OnError::Fail)
    };
    let settings = broker.consumer(&[]);
    let mut source = KafkaSource::new(
        &stream,
        &settings,
        &share,
        Numbers::default(),
        Fetching::Buffered,
        CLOCKS,
    )
    .expect("a source");
    assert_eq!(source.restart(), Some(Restart::Rebuilding));
    let (mut again, first) = poll_on(&mut source);
    again.sort_unstable();
    let from = |partition, offsets: std::ops::Range<i64>| offsets.map(move |one| (partition, one));
    let expected: Vec<_> = from(0, 5..12)
        .filter(|one| one.1 != 6)
        .chain(from(2, 1..4))
        .collect();
    assert_eq!(again, expected);
    assert_eq!(first, Some(Watermark(40)), "as it was restored");
    assert_eq!(source.restart(), Some(Restart::Rebuilt));
    let figures = source.figures();
    assert_eq!(
        (
            figures.records_in,
            figures.bad_records,
            figures.replayed_records
        ),
        (0, 0, 10)
    );
    assert_eq!(source.watermark(), Some(Watermark(1_000)));

    source.go_on().expect("the broker is there");
    assert_eq!(source.restart(), Some(Restart::Running));
    let (mut normal, first) = poll_on(&mut source);
    normal.sort_unstable();
    let expected: Vec<_> = from(0, 12..20).chain(from(1, 7..9)).collect();
    assert_eq!(normal, expected);
    assert_eq!(first, Some(Watermark(1_000)), "as it was at the commit");
    let figures = source.figures();
    assert_eq!((figures.records_in, figures.replayed_records), (10, 10));
    let cuts = source.cut();
    let stands: Vec<_> = cuts.iter().map(|cut| (cut.partition, cut.next)).collect();
    assert_eq!(stands, [(0, 20), (1, 9), (2, 4)]);
    assert_eq!(cuts[2].watermark, Watermark(1_000), "not that of its end");
}

/// With `max_future_skew` it was bad then, and the clock has gone on since.
#[test]
fn what_lay_too_far_ahead_when_it_was_read_first_is_passed_over_again() {
    let broker = mock::broker(&[("t", 1)]);
    write(
        &broker,
        0,
        ["1", "900", "5000", "1000", "7000"].map(String::from),
    );
    let stream = Stream {
        replay: Some(Replay {
            rebuilds: true,
            step_us: Some(2),
        }),
        skew_us: Some(500),
        ..stream(&BY_COLUMN, OnError::Fail)
    };
    let mut source = KafkaSource::new(
        &stream,
        &broker.consumer(&[]),
        &[restored(0, 1, 4, None)],
        Numbers::default(),
        Fetching::Buffered,
        CLOCKS,
    )
    .expect("a source");
    assert_eq!(poll_on(&mut source).0, [(0, 1), (0, 3)]);
    assert_eq!(source.watermark(), Some(Watermark(1_000)));
    source.go_on().expect("the broker is there");
    assert_eq!(poll_on(&mut source), (vec![(0, 4)], Some(Watermark(1_000))));
}

#[test]
fn a_bounded_read_with_nothing_new_ends_behind_what_is_read_again() {
    let broker = mock::broker(&[("t", 1)]);
    write(&broker, 0, (0..5).map(|n| n.to_string()));
    let stream = Stream {
        replay: Some(Replay {
            rebuilds: true,
            step_us: Some(2),
        }),
        ..stream(&BY_COLUMN, OnError::Fail)
    };
    let settings = broker.consumer(&[]);
    let share = [restored(0, 3, 5, Some(5))];
    let mut source = KafkaSource::new(
        &stream,
        &settings,
        &share,
        Numbers::default(),
        Fetching::Buffered,
        CLOCKS,
    )
    .expect("a source");
    assert_eq!(poll_on(&mut source).0, [(0, 3), (0, 4)]);
    source.go_on().expect("nothing is left to read");
    assert!(matches!(source.poll(9), Ok(Polled::Ended)));
    assert_eq!(source.watermark(), Some(Watermark::END));
    assert_eq!(source.cut()[0].watermark, Watermark(1_000));
}
