//! Where reads of Kafka streams start, decided when all queries of a file are known.
//!
//! Law: nothing written means `committed` where every query on the stream can be restarted by replay, the stream has no end
//! and its group has a name of its own; else the oldest record. A written `committed` is that or an error with the reason.

use std::sync::Arc;

use super::diagnose::{Code, Place};
use super::streams::Streams;
use crate::config::Property;
use crate::config::options::{End, Start};
use crate::error::{Error, Result};
use crate::plan::{Plan, SinkSpec, SourceConnector, StreamSpec};

/// Decides it for the streams that `plans` read; `named` is whether the job has a name.
pub(super) fn decide(
    place: &Place,
    streams: &Streams,
    plans: &mut [Plan],
    named: bool,
) -> Vec<Error> {
    let mut errors = Vec::new();
    let mut decided: Vec<Arc<StreamSpec>> = Vec::new();
    for index in 0..plans.len() {
        let stream = &plans[index].source.stream;
        let known = decided.iter().find(|known| known.name == stream.name);
        let stream = match known {
            Some(known) => Arc::clone(known),
            None => {
                let found = of_stream(place, streams, stream, plans, named);
                let found = found.unwrap_or_else(|error| {
                    errors.push(error);
                    Arc::clone(stream)
                });
                decided.push(Arc::clone(&found));
                found
            }
        };
        plans[index].source.stream = stream;
    }
    errors.extend(groups_in_common(place, streams, &decided));
    errors
}

/// A group keeps one offset of a partition, so it serves one stream of a topic.
fn groups_in_common(place: &Place, streams: &Streams, decided: &[Arc<StreamSpec>]) -> Vec<Error> {
    let group_of = |stream: &StreamSpec| match &stream.connector {
        SourceConnector::Kafka(kafka) if kafka.start == Start::Committed => {
            let group = kafka.group.clone()?;
            let is_broker = |property: &&Property| property.name == "bootstrap.servers";
            let brokers = kafka.properties.iter().find(is_broker).cloned();
            Some((group, kafka.topic.clone(), brokers))
        }
        _ => None,
    };
    let mut errors = Vec::new();
    for (index, stream) in decided.iter().enumerate() {
        let Some(group) = group_of(stream) else {
            continue;
        };
        let same = |other: &&Arc<StreamSpec>| group_of(other).as_ref() == Some(&group);
        if let Some(other) = decided[..index].iter().find(same) {
            errors.push(place.error(
                Code::BadOption,
                format!(
                    "streams {} and {} would commit their offsets of topic {} for one group, {}",
                    other.name, stream.name, group.1, group.0
                ),
                streams.span_of(&stream.name),
                Some("give each a group of its own, or leave the option out".to_owned()),
            ));
        }
    }
    errors
}

fn of_stream(
    place: &Place,
    streams: &Streams,
    stream: &Arc<StreamSpec>,
    plans: &[Plan],
    named: bool,
) -> Result<Arc<StreamSpec>> {
    let SourceConnector::Kafka(kafka) = &stream.connector else {
        return Ok(Arc::clone(stream));
    };
    let committed = kafka.start == Start::Committed;
    if kafka.start_written && !committed {
        return Ok(Arc::clone(stream));
    }
    let mut readers = plans
        .iter()
        .filter(|plan| plan.source.stream.name == stream.name);
    let hindrance = readers.find_map(|plan| match plan.replayable() {
        (true, _) => None,
        (false, reason) => {
            let query = match plan.sink {
                SinkSpec::Stdout => "the query that prints".to_owned(),
                _ => format!("query {}", plan.name),
            };
            Some(format!("{query} cannot be restarted: {reason}"))
        }
    });
    let unnamed = !named && kafka.group.is_none();
    if !committed {
        let commits = hindrance.is_none() && kafka.end == End::Never && !unnamed;
        return Ok(match commits {
            true => starting_at(stream, Start::Committed),
            false => Arc::clone(stream),
        });
    }
    let refuse = |message: String, hint: &str| {
        let span = streams.span_of(&stream.name);
        Err(place.error(Code::BadOption, message, span, Some(hint.to_owned())))
    };
    let name = &stream.name;
    if let Some(hindrance) = hindrance {
        return refuse(
            format!("stream {name} cannot have start = 'committed': {hindrance}"),
            "start = 'earliest' reads all again; or run that query from a file of its own",
        );
    }
    if unnamed {
        return refuse(
            format!(
                "stream {name} cannot have start = 'committed': the job has no name, by which its group is found again"
            ),
            "name the job with SET 'job.name' = '..' or --set job.name=.., or give the stream a group",
        );
    }
    Ok(Arc::clone(stream))
}

fn starting_at(stream: &Arc<StreamSpec>, start: Start) -> Arc<StreamSpec> {
    let mut spec = stream.as_ref().clone();
    if let SourceConnector::Kafka(kafka) = &mut spec.connector {
        kafka.start = start;
    }
    Arc::new(spec)
}

#[cfg(test)]
mod tests {
    use crate::config::options::Start;
    use crate::plan::SourceConnector;
    use crate::sql::{Settings, plan_script};

    fn planned(options: &str, queries: &str, job: Option<&str>) -> Result<Start, String> {
        let text = format!(
            "CREATE STREAM s (a VARCHAR, ts TIMESTAMP, WATERMARK FOR ts AS ts)
             WITH (connector = 'kafka', topic = 't'{options}); {queries}"
        );
        let settings = Settings {
            shards: 2,
            job_name: job.map(str::to_owned),
        };
        let script = plan_script("test.sql", &text, &settings);
        let script = script.map_err(|error| {
            assert_eq!(error.exit_code(), crate::error::exit::DATA);
            error.to_string()
        })?;
        let SourceConnector::Kafka(kafka) = &script.job.sources[0].stream.connector else {
            panic!("a topic")
        };
        Ok(kafka.start.clone())
    }

    const WINDOWED: &str = "CREATE STREAM f WITH (connector = 'kafka', topic = 'o') AS
        SELECT a, COUNT(*) AS n FROM s GROUP BY a WINDOW TUMBLING (SIZE 1 MINUTE);";
    const STATELESS: &str =
        "CREATE STREAM g WITH (connector = 'file', path = 'g.json') AS SELECT a FROM s;";
    const CHANGES: &str = "CREATE STREAM h WITH (connector = 'kafka', topic = 'p') AS
        SELECT a, COUNT(*) AS n FROM s GROUP BY a WINDOW TUMBLING (SIZE 1 MINUTE) EMIT CHANGES;";
    const UNWINDOWED: &str = "CREATE STREAM u WITH (connector = 'kafka', topic = 'q') AS
        SELECT a, COUNT(*) AS n FROM s GROUP BY a;";
    const CHAINED: &str = "CREATE STREAM m AS
        SELECT a, COUNT(*) AS n FROM s GROUP BY a WINDOW TUMBLING (SIZE 1 MINUTE);
        CREATE STREAM c WITH (connector = 'kafka', topic = 'r') AS
        SELECT a, SUM(n) AS n FROM m GROUP BY a WINDOW TUMBLING (SIZE 1 HOUR);";
    const BARE: &str = "SELECT a FROM s;";
    const COMPRESSED: &str =
        "CREATE STREAM z WITH (connector = 'file', path = 'z.json.zst') AS SELECT a FROM s;";

    #[test]
    fn what_can_be_rebuilt_goes_on_and_all_else_begins() {
        for queries in [
            WINDOWED,
            STATELESS,
            CHANGES,
            &[WINDOWED, STATELESS].concat(),
        ] {
            assert_eq!(planned("", queries, Some("j")), Ok(Start::Committed));
            assert_eq!(planned("", queries, None), Ok(Start::Earliest));
            assert_eq!(
                planned(", group = 'g'", queries, None),
                Ok(Start::Committed)
            );
            assert_eq!(
                planned(", end = 'latest'", queries, Some("j")),
                Ok(Start::Earliest)
            );
            assert_eq!(
                planned(", start = 'latest'", queries, Some("j")),
                Ok(Start::Latest)
            );
            let written = ", start = 'committed', end = 'latest'";
            assert_eq!(planned(written, queries, Some("j")), Ok(Start::Committed));
        }
        for queries in [
            UNWINDOWED,
            CHAINED,
            BARE,
            COMPRESSED,
            &[WINDOWED, BARE].concat(),
        ] {
            assert_eq!(planned("", queries, Some("j")), Ok(Start::Earliest));
        }
    }

    #[test]
    fn a_written_committed_that_cannot_hold_is_refused_with_the_reason() {
        for (queries, job, reason) in [
            (UNWINDOWED, Some("j"), "every record since the first"),
            (CHAINED, Some("j"), "chained"),
            (BARE, Some("j"), "no sink that acknowledges"),
            (COMPRESSED, Some("j"), "plain JSON lines"),
            (WINDOWED, None, "the job has no name"),
        ] {
            let message = planned(", start = 'committed'", queries, job).expect_err("refused");
            assert!(message.contains(reason), "{message}");
        }
    }

    #[test]
    fn a_group_serves_one_stream_of_a_topic() {
        let two = |topic: &str, first: &str, second: &str| {
            let declare = |name: &str, topic: &str, more: &str| {
                format!("CREATE STREAM {name} (a VARCHAR) WITH (connector = 'kafka', topic = '{topic}', group = 'g'{more});
                    CREATE STREAM {name}o WITH (connector = 'file', path = '{name}.json') AS SELECT a FROM {name};")
            };
            let text = declare("s", "t", first) + &declare("r", topic, second);
            let settings = Settings {
                shards: 1,
                job_name: Some("j".to_owned()),
            };
            plan_script("test.sql", &text, &settings).map(|script| script.job)
        };
        let refused = two("t", "", "")
            .expect_err("one offset for two")
            .to_string();
        assert!(
            refused.contains("streams s and r would commit"),
            "{refused}"
        );
        assert!(two("t", "", ", start = 'earliest'").is_ok());
        assert!(two("t", "", ", kafka.bootstrap.servers = 'elsewhere:9092'").is_ok());
        let job = two("u", "", "").expect("a topic each");
        assert!(job.writes(0, 0) && job.writes(1, 1), "its own query writes");
        assert!(!job.writes(0, 1) && !job.writes(1, 0), "another does not");
    }

    #[test]
    fn a_commit_stands_for_what_is_computed_and_not_for_where_rows_go() {
        let read_as = |options: &str, query: &str| {
            let text = format!(
                "CREATE STREAM s (a VARCHAR, ts TIMESTAMP, WATERMARK FOR ts AS ts)
                 WITH (connector = 'kafka', topic = 't'{options}); {query}"
            );
            let settings = Settings {
                shards: 1,
                job_name: Some("j".to_owned()),
            };
            let script = plan_script("test.sql", &text, &settings).expect("right");
            script.job.meaning_of(0)
        };
        let meaning = |query: &str| read_as("", query);
        let first = meaning(WINDOWED);
        for options in [
            ", json.validate = 'strict'",
            ", kafka.isolation.level = 'read_uncommitted'",
            ", event_time.unit = 's'",
        ] {
            assert_ne!(first, read_as(options, WINDOWED), "{options}");
        }
        let elsewhere = ", kafka.bootstrap.servers = 'elsewhere:9092', on_error = 'skip'";
        assert_eq!(first, read_as(elsewhere, WINDOWED));
        assert_eq!(
            first,
            meaning(
                &WINDOWED
                    .replace("'o'", "'other'")
                    .replace("STREAM f", "STREAM x")
            )
        );
        for (from, to) in [
            ("1 MINUTE", "2 MINUTE"),
            ("COUNT(*)", "COUNT(a)"),
            ("FROM s", "FROM s WHERE a > 'x'"),
            ("AS n", "AS m"),
            ("(SIZE 1 MINUTE)", "(SIZE 1 MINUTE) EMIT CHANGES"),
        ] {
            assert_ne!(first, meaning(&WINDOWED.replace(from, to)), "{to}");
        }
        assert_ne!(first, meaning(&[WINDOWED, STATELESS].concat()));
        assert_eq!(
            meaning(&[WINDOWED, STATELESS].concat()),
            meaning(&[STATELESS, WINDOWED].concat())
        );
    }
}
