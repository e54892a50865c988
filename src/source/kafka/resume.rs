//! Where a run with `start = committed` goes on: from what its group has committed to the offsets that it reads.
//!
//! ```text
//!   oldest .... seek ............. next ............ newest
//!                |--read again,----|--normal work---->
//!                   silently
//! ```
//!
//! Laws:
//! 1. The query watermark starts at the highest that any partition's commit says; what is below it was acknowledged before that
//!    commit was asked for, whichever partitions it reached.
//! 2. A partition without a commit, where others have one, is new and read from its start. Without any commit all are.
//! 3. What does not fit is an error that names the flag to start over, and never a start elsewhere.

use crate::config::options::KafkaSourceOptions;
use crate::error::{Error, Result};
use crate::kafka::{Committed, Span};
use crate::time::Watermark;

use super::commit::PartitionCommit;
use super::range::Range;

/// The flag of `velo run` that lets a job start over.
pub const START_OVER_FLAG: &str = "--discard-commits";

/// Where one partition goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Where normal work begins; what the range has before is read again.
    pub next: i64,
    /// The partition's own watermark just before the range's start.
    pub watermark_at_start: Watermark,
    /// And just before `next`.
    pub watermark_at_next: Watermark,
}

/// Where a stream goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// What is read of each partition.
    pub ranges: Vec<Range>,
    /// Windows with end and grace at or below it are done.
    pub done: Watermark,
    /// Whether there was a commit to go on from.
    pub found: bool,
}

impl Resumed {
    /// Offsets that are read again.
    pub fn distance(&self) -> i64 {
        self.ranges.iter().map(Range::distance).sum()
    }
}

/// Where the partitions of `spans`, whose ranges without a commit are `ranges`, go on after `committed` of `group`.
///
/// # Errors
/// `Error::Config`, naming `--discard-commits`: commits of other queries than those of `fingerprint`, of another program, or
/// for offsets that the topic does not hold.
pub fn resume(
    options: &KafkaSourceOptions,
    group: &str,
    fingerprint: u64,
    spans: &[Span],
    ranges: Vec<Range>,
    committed: &[Committed],
) -> Result<Resumed> {
    let topic = &options.topic;
    let refuse = |what: String, remedy: &str| {
        Err(Error::Config(format!(
            "group {group} has committed offsets of topic {topic} from which this job cannot go on: {what}; {remedy}, or start over \
             at the oldest records with {START_OVER_FLAG}"
        )))
    };
    let mut resumed = Resumed {
        ranges,
        done: Watermark::NONE,
        found: !committed.is_empty(),
    };
    for committed in committed {
        let Committed {
            partition, offset, ..
        } = *committed;
        let read = PartitionCommit::read(partition, offset, &committed.metadata);
        let commit = match read {
            Ok(commit) => commit,
            Err(reason) => {
                return refuse(
                    format!("partition {partition} stands at {offset}, and {reason}"),
                    "give the stream a group of its own (option group)",
                );
            }
        };
        if commit.fingerprint != fingerprint {
            return refuse(
                "it was written by other queries than these: the stream or a query on it has changed since".to_owned(),
                "take the change back",
            );
        }
        let place = |range: &Range| range.partition == partition;
        let Some((range, span)) = resumed
            .ranges
            .iter_mut()
            .find(|range| place(range))
            .zip(spans.iter().find(|span| span.partition == partition))
        else {
            return refuse(
                format!("the topic has no partition {partition} any more"),
                "see whether it was made anew",
            );
        };
        if commit.seek < span.oldest {
            return refuse(
                format!(
                    "partition {partition} is to be read from offset {offset}, and the broker keeps none before {}",
                    span.oldest
                ),
                "the records between are lost: give the topic a longer retention",
            );
        }
        if commit.next > span.next {
            return refuse(
                format!(
                    "partition {partition} was read up to offset {}, and the topic ends at {}",
                    commit.next, span.next
                ),
                "see whether the topic was made anew",
            );
        }
        resumed.done = resumed.done.max(commit.done);
        *range = Range {
            start: commit.seek,
            oldest: false,
            restored: Some(Restored {
                next: commit.next,
                watermark_at_start: commit.watermark_at_seek,
                watermark_at_next: commit.watermark_at_next,
            }),
            ..*range
        };
    }
    Ok(resumed)
}

#[cfg(test)]
mod tests {
    use super::super::range::tests::options;
    use super::*;
    use crate::config::options::{End, Start};

    const FINGERPRINT: u64 = 7;

    fn commit(seek: i64, next: i64, done: i64) -> PartitionCommit {
        PartitionCommit {
            partition: 0,
            seek,
            fingerprint: FINGERPRINT,
            done: Watermark(done),
            next,
            watermark_at_seek: Watermark(done - 5),
            watermark_at_next: Watermark(done + 5),
        }
    }

    fn committed(partition: i32, commit: &PartitionCommit) -> Committed {
        Committed {
            partition,
            offset: commit.seek,
            metadata: commit.metadata(),
        }
    }

    const SPANS: [Span; 3] = [
        Span {
            partition: 0,
            oldest: 10,
            next: 200,
        },
        Span {
            partition: 1,
            oldest: 0,
            next: 90,
        },
        Span {
            partition: 2,
            oldest: 3,
            next: 4,
        },
    ];

    fn resumed(end: End, commits: &[Committed]) -> Result<Resumed> {
        let options = options(Start::Committed, end);
        let ranges = super::super::range::resolve(&options, &SPANS).expect("valid");
        resume(&options, "g", FINGERPRINT, &SPANS, ranges, commits)
    }

    #[test]
    fn a_partition_goes_on_where_its_commit_says_and_a_new_one_begins() {
        let commits = [
            committed(0, &commit(20, 100, 1_000)),
            committed(1, &commit(30, 30, 900)),
        ];
        let resumed = resumed(End::Never, &commits).expect("it fits");
        assert_eq!(resumed.done, Watermark(1_000), "the highest of all");
        assert_eq!((resumed.distance(), resumed.found), (80, true));
        let starts: Vec<_> = resumed.ranges.iter().map(|range| range.start).collect();
        assert_eq!(starts, [20, 30, 3]);
        assert_eq!(
            resumed.ranges[0].restored,
            Some(Restored {
                next: 100,
                watermark_at_start: Watermark(995),
                watermark_at_next: Watermark(1_005),
            })
        );
        assert!(resumed.ranges[2].oldest && resumed.ranges[2].restored.is_none());
    }

    #[test]
    fn without_a_commit_all_partitions_begin() {
        let resumed = resumed(End::Never, &[]).expect("nothing to fit");
        assert_eq!((resumed.done, resumed.found), (Watermark::NONE, false));
        assert!(resumed.ranges.iter().all(|range| range.oldest));
    }

    #[test]
    fn a_bounded_read_of_what_was_read_is_read_again_as_far_as_windows_are_open() {
        let commits = [
            committed(0, &commit(20, 200, 1_000)),
            committed(1, &commit(90, 90, 1_000)),
        ];
        let resumed = resumed(End::Latest, &commits).expect("it fits");
        assert!(!resumed.ranges[0].is_empty() && resumed.ranges[1].is_empty());
        assert_eq!(resumed.distance(), 180);
    }

    #[test]
    fn what_does_not_fit_is_refused_with_the_flag() {
        let other = PartitionCommit {
            fingerprint: 8,
            ..commit(20, 100, 1)
        };
        let foreign = Committed {
            partition: 0,
            offset: 20,
            metadata: "consumed by hand".to_owned(),
        };
        for (commit, word) in [
            (committed(0, &other), "has changed since"),
            (foreign, "another program"),
            (committed(0, &commit(9, 100, 1)), "keeps none before 10"),
            (committed(1, &commit(9, 91, 1)), "ends at 90"),
            (committed(3, &commit(0, 0, 1)), "no partition 3"),
        ] {
            let error = resumed(End::Never, &[commit]).expect_err("refused");
            assert_eq!(error.exit_code(), crate::error::exit::CONFIG, "{error}");
            let message = error.to_string();
            assert!(
                message.contains(word) && message.contains(START_OVER_FLAG),
                "{message}"
            );
        }
    }
}
