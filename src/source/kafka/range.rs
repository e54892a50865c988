//! Which offsets a run reads, and which shard reads them: decided once for a job, before its shards start.
//!
//! Law: every partition of the topic is in exactly one shard's share, and `end = latest` means the same offsets to all.

use crate::config::options::{End, KafkaSourceOptions, Start};
use crate::error::{Error, Result};
use crate::kafka::{Position, Settings, Span, inspect, offsets_at};

use super::resume::Restored;

/// What a run reads of one partition: offsets from `start` on, and before `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Partition.
    pub partition: i32,
    /// First offset.
    pub start: i64,
    /// One past the last offset; `None` for an unbounded read.
    pub end: Option<i64>,
    /// Whether `start` stands for the oldest record there is, wherever that has moved to by the time it is read.
    pub oldest: bool,
    /// Where normal work goes on, if an earlier run has been here.
    pub restored: Option<Restored>,
}

impl Range {
    /// Whether there is nothing to read, now or later.
    pub fn is_empty(&self) -> bool {
        self.end.is_some_and(|end| end <= self.start) && self.distance() == 0
    }

    /// Where normal work begins.
    pub fn next(&self) -> i64 {
        self.restored.map_or(self.start, |restored| restored.next)
    }

    /// Offsets that are read again before.
    pub fn distance(&self) -> i64 {
        self.next() - self.start
    }

    /// Where the read starts, as the consumer takes it.
    pub fn position(&self) -> Position {
        if self.oldest {
            Position::Oldest
        } else {
            Position::Offset(self.start)
        }
    }
}

/// Asks the broker for the topic's partitions and offsets, and says what a run with these options reads, in the order of
/// the partitions. `Error::Connector` if the broker or the topic is not there, `Error::Config` if the options name what
/// the topic does not have.
pub fn ranges(options: &KafkaSourceOptions, settings: &Settings) -> Result<Vec<Range>> {
    ranges_of(options, settings).map(|(_, ranges)| ranges)
}

/// The same, with what the broker said.
pub fn ranges_of(
    options: &KafkaSourceOptions,
    settings: &Settings,
) -> Result<(Vec<Span>, Vec<Range>)> {
    let spans = inspect(settings, &options.topic)?;
    let offsets_at = |moment_ms| offsets_at(settings, &options.topic, &spans, moment_ms);
    let mut options = options.clone();
    // Moments are offsets from here on.
    if let Start::Timestamp(moment_ms) = options.start {
        options.start = Start::Offsets(offsets_at(moment_ms)?);
    }
    if let End::Timestamp(moment_ms) = options.end {
        options.end = End::Offsets(offsets_at(moment_ms)?);
    }
    let ranges = resolve(&options, &spans)?;
    Ok((spans, ranges))
}

/// Deals partitions out to shards like cards: share `i` of the result is shard `i`'s.
pub fn deal<T: Copy>(partitions: &[T], shards: usize) -> Vec<Vec<T>> {
    assert!(shards > 0, "no shard to deal to");
    let mut shares = vec![Vec::with_capacity(partitions.len().div_ceil(shards)); shards];
    for (place, &partition) in partitions.iter().enumerate() {
        shares[place % shards].push(partition);
    }
    shares
}

pub(super) fn resolve(options: &KafkaSourceOptions, spans: &[Span]) -> Result<Vec<Range>> {
    let topic = &options.topic;
    let named: &[(&str, &[(i32, i64)])] = &[
        (
            "start",
            if let Start::Offsets(offsets) = &options.start {
                offsets
            } else {
                &[]
            },
        ),
        (
            "end",
            if let End::Offsets(offsets) = &options.end {
                offsets
            } else {
                &[]
            },
        ),
    ];
    for (option, offsets) in named {
        for (place, (partition, offset)) in offsets.iter().enumerate() {
            if *offset < 0 {
                return Err(Error::Config(format!(
                    "{option} = 'offsets:..': offset {offset} of partition {partition} is below zero"
                )));
            }
            if offsets[..place]
                .iter()
                .any(|(earlier, _)| earlier == partition)
            {
                return Err(Error::Config(format!(
                    "{option} = 'offsets:..' names partition {partition} twice"
                )));
            }
            if !spans.iter().any(|span| span.partition == *partition) {
                return Err(Error::Config(format!(
                    "{option} = 'offsets:..' names partition {partition}, but topic {topic} has partitions 0 to {}",
                    spans.len() - 1
                )));
            }
        }
    }
    spans.iter().map(|span| range(options, span)).collect()
}

fn range(options: &KafkaSourceOptions, span: &Span) -> Result<Range> {
    let (topic, partition) = (&options.topic, span.partition);
    let of = |offsets: &[(i32, i64)]| {
        offsets
            .iter()
            .find(|(named, _)| *named == partition)
            .map(|(_, offset)| *offset)
    };
    let (start, oldest) = match &options.start {
        Start::Earliest | Start::Committed => (span.oldest, true),
        Start::Latest => (span.next, false),
        Start::Timestamp(_) => unreachable!("moments were looked up"),
        Start::Offsets(offsets) => {
            of(offsets).map_or((span.oldest, true), |offset| (offset, false))
        }
    };
    let end = match &options.end {
        End::Never => None,
        End::Timestamp(_) => unreachable!("moments were looked up"),
        End::Latest => Some(span.next),
        End::Offsets(offsets) => Some(of(offsets).ok_or_else(|| {
            Error::Config(format!("end = 'offsets:..' does not name partition {partition} of topic {topic}: name every partition"))
        })?),
    };
    let range = Range {
        partition,
        start,
        end,
        oldest,
        restored: None,
    };
    if !range.is_empty() && !(span.oldest..=span.next).contains(&start) {
        return Err(Error::Config(format!(
            "topic {topic} partition {partition} holds offsets {} to {}, and start asks for {start}: correct it, or start at \
             'earliest'",
            span.oldest, span.next
        )));
    }
    Ok(range)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::options::{CsvOptions, Format};

    pub(in crate::source::kafka) fn options(start: Start, end: End) -> KafkaSourceOptions {
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

    const SPANS: [Span; 2] = [
        Span {
            partition: 0,
            oldest: 10,
            next: 20,
        },
        Span {
            partition: 1,
            oldest: 0,
            next: 0,
        },
    ];

    #[test]
    fn every_partition_is_dealt_once_whatever_the_number_of_shards() {
        let partitions: Vec<i32> = (0..8).collect();
        assert_eq!(
            deal(&partitions, 3),
            [vec![0, 3, 6], vec![1, 4, 7], vec![2, 5]]
        );
        for shards in 1..12 {
            let mut dealt = deal(&partitions, shards).concat();
            dealt.sort_unstable();
            assert_eq!(dealt, partitions);
        }
        assert_eq!(deal(&[0], 2), [vec![0], vec![]]);
    }

    #[test]
    fn earliest_to_latest_is_what_was_there_and_an_empty_partition_has_nothing() {
        let ranges = resolve(&options(Start::Earliest, End::Latest), &SPANS).expect("valid");
        assert_eq!(
            ranges[0],
            Range {
                partition: 0,
                start: 10,
                end: Some(20),
                oldest: true,
                restored: None
            }
        );
        assert!(!ranges[0].is_empty() && ranges[1].is_empty());
        let ranges = resolve(&options(Start::Latest, End::Latest), &SPANS).expect("valid");
        assert!(ranges.iter().all(Range::is_empty));
    }

    #[test]
    fn an_unbounded_read_is_never_empty() {
        let ranges = resolve(&options(Start::Latest, End::Never), &SPANS).expect("valid");
        assert!(ranges.iter().all(|range| !range.is_empty()));
        assert_eq!(ranges[0].position(), Position::Offset(20));
    }

    #[test]
    fn offsets_bind_to_their_partitions_and_others_start_at_the_oldest() {
        let start = Start::Offsets(vec![(0, 15)]);
        let end = End::Offsets(vec![(1, 5), (0, 30)]);
        let ranges = resolve(&options(start, end), &SPANS).expect("valid");
        assert_eq!(
            ranges[0],
            Range {
                partition: 0,
                start: 15,
                end: Some(30),
                oldest: false,
                restored: None
            }
        );
        assert_eq!(
            ranges[1],
            Range {
                partition: 1,
                start: 0,
                end: Some(5),
                oldest: true,
                restored: None
            }
        );
    }

    #[test]
    fn offsets_that_the_topic_does_not_have_are_refused_by_name() {
        for (start, end, word) in [
            (Start::Offsets(vec![(0, 9)]), End::Never, "start asks for 9"),
            (Start::Offsets(vec![(0, 21)]), End::Never, "10 to 20"),
            (Start::Offsets(vec![(2, 0)]), End::Never, "partition 2"),
            (Start::Offsets(vec![(0, 11), (0, 12)]), End::Never, "twice"),
            (
                Start::Earliest,
                End::Offsets(vec![(0, 20)]),
                "name every partition",
            ),
            (
                Start::Earliest,
                End::Offsets(vec![(0, -1), (1, 0)]),
                "below zero",
            ),
        ] {
            let Err(Error::Config(message)) = resolve(&options(start, end), &SPANS) else {
                panic!("accepted: {word}")
            };
            assert!(message.contains(word), "{message}");
        }
    }
}
