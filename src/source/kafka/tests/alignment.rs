//! Pausing and resuming on a real protocol: the mock broker, one partition quick, the other slow, then silent.

use super::idle::{LONG, endless};
use super::*;

/// Records of the quick partition: its event times count them.
const QUICK: i64 = 12_000;

/// How far it may be ahead.
const DRIFT: i64 = 4_000;

const BATCH: usize = 100;

/// A poll of a source that meets no other: the slowest of its own partitions that are not idle is what all are held to. The
/// records that came, by partition.
fn poll_held(source: &mut KafkaSource<Numbers>) -> Vec<(i32, i64)> {
    let slowest = source.watermark().expect("it has partitions");
    assert!(source.hold(Ahead::of(slowest, DRIFT), false));
    match source.poll(BATCH).expect("read") {
        Polled::Batch(batch) => {
            let origins = batch.origins.iter().zip(&batch.event_times);
            origins
                .map(|(origin, time)| (origin.partition, time.0))
                .collect()
        }
        Polled::Nothing { .. } => {
            std::thread::sleep(Duration::from_micros(200));
            Vec::new()
        }
        other => panic!("{other:?} of a read without end"),
    }
}

pub(super) fn a_quick_partition_waits_for_the_slow_one_and_for_no_silent_one() {
    let broker = mock::broker(&[("t", 2)]);
    write(&broker, 0, (1..=QUICK).map(|time| time.to_string()));
    write(&broker, 1, ["1".into()]);
    // The client fetches little ahead, so that a helper has little in its hands.
    let mut source = endless(&broker, &[("fetch.message.max.bytes", "4096")]);
    let between = source.consumer.as_ref().expect("open").between_max() as i64;
    let begun = Instant::now();
    let mut read = [Vec::new(), Vec::new()];
    let mut slow = 1;
    let mut written = vec![slow];
    let mut held = 0;
    while slow < QUICK / 2 {
        assert!(begun.elapsed() < LONG, "{:?}", source.figures());
        for (partition, time) in poll_held(&mut source) {
            read[partition as usize].push(time);
        }
        let (quick, behind) = (read[0].last(), read[1].last());
        if let (Some(quick), Some(behind)) = (quick, behind) {
            let lead = quick - behind;
            assert!(lead <= DRIFT + between + BATCH as i64, "{lead} ahead");
            if source.partitions[0].paused {
                assert_eq!(source.idle(), None);
                held += 1;
                slow += DRIFT / 2;
                write(&broker, 1, [slow.to_string()]);
                written.push(slow);
            }
        }
    }
    assert!(held >= 2, "it was held {held} times");
    // Nothing more comes from the slow one: it falls idle and is waited for no more; so does the other, at its end.
    while source.idle().is_none() {
        assert!(begun.elapsed() < LONG, "{:?}", source.figures());
        for (partition, time) in poll_held(&mut source) {
            read[partition as usize].push(time);
        }
    }
    let all: Vec<i64> = (1..=QUICK).collect();
    assert!(read[0] == all, "each record once, in order");
    assert_eq!(read[1], written);
    assert!(!source.partitions[0].paused);
}

#[test]
fn what_comes_again_behind_a_resume_is_passed_over_and_before_it_is_an_error() {
    let range = Range {
        partition: 0,
        start: 0,
        end: None,
        oldest: true,
        restored: None,
    };
    let mut partition = Partition::new(&range, PartitionClock::new(0), None);
    assert_eq!(partition.go_to(7, false, "t").expect("on"), Came::New);
    partition.repeats_from = Some(5);
    let came = [5, 6, 7, 8].map(|offset| partition.go_to(offset, false, "t").expect("known"));
    assert_eq!(came, [Came::Again, Came::Again, Came::New, Came::New]);
    let back = partition
        .go_to(4, false, "t")
        .expect_err("records are gone");
    assert!(back.to_string().contains("went back from offset 8 to 4"));
}
