//! Which queries can be restarted by replay, and what a commit of theirs stands for.
//!
//! Replay rebuilds what was open from the topic itself, so it holds where a committed offset says all there is to know: for a
//! stateless query and for one event-time window, directly over Kafka, into a sink that acknowledges rows and keeps them
//! through a restart.
//!
//! What is held back by EMIT .. EVERY leaves before a commit, so a window that is rebuilt holds nothing back; its records are
//! counted again for EVERY n ROWS. A window whose end the committed watermark has reached has fired (`late = 'update'`), and what
//! comes behind corrects it. Which of its rows a life had written when it died is not known to the next, which therefore withdraws
//! a group that fails HAVING first, whether or not a row of it is out.
//!
//! Law: nothing else is restarted that way. The reason is one clause, for EXPLAIN and for the refusal of `start = 'committed'`.

use super::{
    AggregatePlan, Emission, JobPlan, JobQuery, Plan, PlannedExpr, Shape, SinkSpec,
    SourceConnector, Target, WindowSpec,
};
use crate::config::Property;
use crate::config::options::{KafkaSourceOptions, Start};

impl Plan {
    /// Whether the query can be restarted by replay, and why, or why not.
    pub fn replayable(&self) -> (bool, &'static str) {
        match &self.source.stream.connector {
            SourceConnector::File(_) => return (false, "a file keeps no committed offsets"),
            SourceConnector::Memory(_) => return (false, "memory keeps no committed offsets"),
            SourceConnector::Datagen(_) => {
                return (false, "a generated stream keeps no committed offsets");
            }
            SourceConnector::Queries(_) => {
                return (
                    false,
                    "it reads the rows of other queries, whose windows cannot be rebuilt for it",
                );
            }
            SourceConnector::Kafka(_) => {}
        }
        match &self.sink {
            SinkSpec::Stdout => {
                return (false, "a bare query has no sink that acknowledges its rows");
            }
            SinkSpec::Stream(_) => {
                return (
                    false,
                    "other queries read its rows, and chained stages cannot be rebuilt",
                );
            }
            SinkSpec::File(file) if !file.can_be_continued() => {
                return (
                    false,
                    "of files, only plain JSON lines can be continued by a later run",
                );
            }
            SinkSpec::File(_) | SinkSpec::Kafka(_) | SinkSpec::Checksum(_) => {}
        }
        if self.window().is_some()
            && let Some(reason) = self.source.stream.watermark_emit.unrepeatable()
        {
            return (false, reason);
        }
        match &self.shape {
            Shape::Project(_) => (true, "a stateless query directly over Kafka"),
            Shape::Aggregate(AggregatePlan {
                window: Some(WindowSpec::Session { .. }),
                ..
            }) => (
                false,
                "a session that is open may have begun at any time, so no committed offset says from where to rebuild it",
            ),
            Shape::Aggregate(AggregatePlan {
                window: Some(_), ..
            }) => (true, "one event-time window directly over Kafka"),
            Shape::Aggregate(_) => (
                false,
                "groups without a window depend on every record since the first",
            ),
        }
    }

    /// The query's window, if it has one.
    pub fn window(&self) -> Option<&WindowSpec> {
        match &self.shape {
            Shape::Project(_) => None,
            Shape::Aggregate(aggregate) => aggregate.window.as_ref(),
        }
    }

    /// What the state and the rows of the query depend on, part by part; not where the rows go, and not the query's name.
    fn meaning(&self) -> Vec<String> {
        let texts = |kind: &str, exprs: &[PlannedExpr]| {
            let texts: Vec<&str> = exprs.iter().map(|expr| expr.text.as_str()).collect();
            format!("{kind}: {texts:?}")
        };
        let mut parts = vec![
            texts("where", self.filter.as_slice()),
            self.emit_meaning(),
            format!("rows: {:?}", columns(&self.output)),
        ];
        match &self.shape {
            Shape::Project(columns) => parts.push(texts("select", columns)),
            Shape::Aggregate(aggregate) => {
                let aggregates = aggregate.aggregates.iter();
                let aggregates: Vec<&str> = aggregates.map(|one| one.text.as_str()).collect();
                parts.extend([
                    texts("group by", &aggregate.keys),
                    texts("arguments", &aggregate.arguments),
                    format!("aggregates: {aggregates:?}"),
                    texts("having", aggregate.having.as_slice()),
                    texts("select", &aggregate.rows),
                ]);
                parts.extend(aggregate.window.map(|window| match window {
                    WindowSpec::Tumbling {
                        size_us,
                        offset_us,
                        grace_us,
                    } => format!("tumbling: {size_us} {offset_us} {grace_us}"),
                    WindowSpec::Hopping {
                        size_us,
                        advance_us,
                        offset_us,
                        grace_us,
                    } => format!("hopping: {size_us} {advance_us} {offset_us} {grace_us}"),
                    WindowSpec::Session { gap_us, grace_us } => {
                        format!("session: {gap_us} {grace_us}")
                    }
                    WindowSpec::Cumulate {
                        size_us,
                        step_us,
                        grace_us,
                    } => format!("cumulate: {size_us} {step_us} {grace_us}"),
                }));
            }
        }
        parts
    }
}

impl Plan {
    /// When its rows leave, as a part of what they mean.
    fn emit_meaning(&self) -> String {
        let Emission { policy, corrects } = self.emission();
        let mut meaning = format!("emit: {}", policy.word());
        for every in policy
            .every_us()
            .into_iter()
            .chain(policy.every_rows().map(i64::from))
        {
            meaning.push_str(&format!(" every {every}"));
        }
        if policy.every_rows().is_some() {
            meaning.push_str(" rows");
        }
        if corrects {
            meaning.push_str(", corrected");
        }
        meaning
    }
}

impl JobPlan {
    /// The options of the source of that index, if its offsets are committed.
    pub fn committed(&self, source: usize) -> Option<&KafkaSourceOptions> {
        match &self.sources[source].stream.connector {
            SourceConnector::Kafka(options) if options.start == Start::Committed => Some(options),
            _ => None,
        }
    }

    /// Whether a query that reads the source of the one index writes the sink of the other.
    pub fn writes(&self, source: usize, sink: usize) -> bool {
        self.readers_of(source)
            .any(|(_, query)| matches!(query.target, Target::Sink(target) if target == sink))
    }

    /// The queries that read the source of that index, with their own.
    pub fn readers_of(&self, source: usize) -> impl Iterator<Item = (usize, &JobQuery)> {
        let reads = move |query: &JobQuery| query.reads(source);
        let queries = self.queries.iter().enumerate();
        queries.filter(move |(_, query)| reads(query))
    }

    /// What a commit of the source of that index stands for, part by part: the stream as it is decoded and dated, and all
    /// queries on it, in an order of their own.
    pub fn meaning_of(&self, source: usize) -> Vec<String> {
        let stream = &self.sources[source].stream;
        let SourceConnector::Kafka(options) = &stream.connector else {
            panic!("only offsets of a topic are committed");
        };
        let isolation = |property: &&Property| property.name == "isolation.level";
        let mut parts = vec![
            format!("topic: {}", options.topic),
            format!("format: {:?} {:?}", options.format, options.csv),
            format!("validate: {:?}", options.json_validate),
            format!("isolation: {:?}", options.properties.iter().find(isolation)),
            format!("columns: {:?}", columns(&stream.columns)),
            format!("time: {:?} {:?}", stream.event_time, stream.event_time_unit),
        ];
        let mut queries: Vec<String> = self
            .readers_of(source)
            .map(|(_, query)| query.plan.meaning().join("\n"))
            .collect();
        queries.sort_unstable();
        parts.extend(queries);
        parts
    }
}

/// Names and types, as text.
fn columns(schema: &datafusion_common::arrow::datatypes::Schema) -> Vec<String> {
    let fields = schema.fields().iter();
    fields
        .map(|field| {
            let null = if field.is_nullable() { "" } else { " not null" };
            format!("{} {}{null}", field.name(), field.data_type())
        })
        .collect()
}
