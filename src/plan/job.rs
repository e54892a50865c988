//! All queries of a file as one job: what they share, and who feeds whom.
//!
//! ```text
//!   source 0 --+--> query 0 --Target::Sink(0)----> sink 0
//!              +--> query 1 --Target::Link(0)----> link 0 --> query 2 --Target::Sink(1)--> sink 1
//! ```
//!
//! Laws: a stream is read once, however many queries read it, and decoded to the union of the columns that they and its watermark need; a
//! target is opened once, however many queries write it. Whether a file is dealt is decided by all queries that read it. A
//! query stands behind every query that feeds it, so queries in reverse order are edges last to first.

use std::sync::Arc;

use datafusion_common::arrow::datatypes::SchemaRef;

use super::{DeadLetterSpec, Dealing, Plan, SinkSpec, SourceConnector, SourceSpec, StreamSpec};

/// Everything that one job runs.
#[derive(Clone, Debug)]
pub struct JobPlan {
    /// `job.name`, else the SQL file's stem, else `velo`.
    pub name: String,
    /// What it reads from outside, each stream once.
    pub sources: Vec<SourceSpec>,
    /// Its queries; none feeds one that stands before it.
    pub queries: Vec<JobQuery>,
    /// What it writes, each target once.
    pub sinks: Vec<JobSink>,
    /// The in-memory streams between its queries.
    pub links: Vec<Link>,
    /// Where its dead letters go, each target once, whatever streams send to it.
    pub dead_letters: Vec<DeadLetterSpec>,
}

/// A query and its neighbours.
#[derive(Clone, Debug)]
pub struct JobQuery {
    /// The query.
    pub plan: Plan,
    /// Whence its records come.
    pub input: Input,
    /// Whither its rows go.
    pub target: Target,
}

/// Whence a query's records come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// From outside.
    Source {
        /// Index into `JobPlan::sources`.
        source: usize,
        /// The query's columns among those that the source decodes.
        columns: Vec<usize>,
    },
    /// From other queries.
    Link {
        /// Index into `JobPlan::links`.
        link: usize,
        /// The query's columns among those of the stream.
        columns: Vec<usize>,
    },
}

/// Whither a query's rows go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Index into `JobPlan::sinks`.
    Sink(usize),
    /// Index into `JobPlan::links`.
    Link(usize),
}

/// A target outside.
#[derive(Clone, Debug)]
pub struct JobSink {
    /// Where it is; the message key, if there is one, is each query's own.
    pub spec: SinkSpec,
    /// The columns of its rows.
    pub columns: SchemaRef,
}

/// An in-memory stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The stream's name.
    pub stream: String,
    /// The queries that write it, by index.
    pub writers: Vec<usize>,
    /// The queries that read it, by index, all behind the writers.
    pub readers: Vec<usize>,
}

impl JobQuery {
    /// Whether it reads the source of that index.
    pub fn reads(&self, wanted: usize) -> bool {
        matches!(self.input, Input::Source { source, .. } if source == wanted)
    }
}

impl JobPlan {
    /// The job of `plans`, which stand in the order in which they were written.
    pub fn new(name: String, plans: Vec<Plan>) -> JobPlan {
        let mut job = JobPlan {
            name,
            sources: Vec::new(),
            queries: Vec::with_capacity(plans.len()),
            sinks: Vec::new(),
            links: Vec::new(),
            dead_letters: Vec::new(),
        };
        // First what is read in all, so that each query then finds its columns in it.
        for plan in &plans {
            job.read(&plan.source);
        }
        for source in &mut job.sources {
            let readers = plans.iter().filter(|plan| is_same(source, &plan.source));
            source.dealing = Dealing::of(&source.stream, readers);
        }
        for plan in &plans {
            if let Some(spec) = &plan.source.stream.dead_letter
                && !job.dead_letters.contains(spec)
            {
                job.dead_letters.push(spec.clone());
            }
        }
        for (query, mut plan) in plans.into_iter().enumerate() {
            let input = job.input(query, &plan.source);
            if let Input::Source { source, .. } = &input {
                plan.source
                    .dealing
                    .clone_from(&job.sources[*source].dealing);
            }
            let target = job.target(query, &plan);
            job.queries.push(JobQuery {
                plan,
                input,
                target,
            });
        }
        for link in &job.links {
            assert!(
                link.writers.iter().max() < link.readers.iter().min() || link.readers.is_empty(),
                "a query stands behind those that feed it"
            );
        }
        job
    }

    /// Whether a generator feeds the sink of that index: somebody else will read its rows, and ask when they were due.
    pub fn is_feed(&self, sink: usize) -> bool {
        self.queries.iter().any(|query| {
            query.target == Target::Sink(sink)
                && matches!(
                    query.plan.source.stream.connector,
                    SourceConnector::Datagen(_)
                )
        })
    }

    /// The place in `dead_letters` where those of `stream` go; `None` if it has none.
    pub fn dead_letter_of(&self, stream: &StreamSpec) -> Option<usize> {
        let wanted = stream.dead_letter.as_ref()?;
        let place = self.dead_letters.iter().position(|spec| spec == wanted);
        Some(place.expect("the dead letter of every stream that is read"))
    }

    /// Adds the columns of `spec` to those that are decoded of its stream.
    fn read(&mut self, spec: &SourceSpec) {
        if matches!(spec.stream.connector, SourceConnector::Queries(_)) {
            return;
        }
        let known = self.sources.iter().position(|known| is_same(known, spec));
        let known = known.unwrap_or_else(|| {
            self.sources.push(spec.clone());
            self.sources.len() - 1
        });
        let known = &mut self.sources[known];
        let marking = spec.stream.watermark_emit.columns();
        let mut union = [&known.projection, &spec.projection, marking].concat();
        union.sort_unstable();
        union.dedup();
        if union == known.projection {
            return;
        }
        let projected = spec.stream.readable().project(&union);
        known.projected = Arc::new(projected.expect("the indexes come from this schema"));
        known.projection = union;
    }

    fn input(&mut self, query: usize, spec: &SourceSpec) -> Input {
        if matches!(spec.stream.connector, SourceConnector::Queries(_)) {
            let link = self.link(&spec.stream.name);
            self.links[link].readers.push(query);
            return Input::Link {
                link,
                columns: spec.projection.clone(),
            };
        }
        let is_it = |known: &SourceSpec| is_same(known, spec);
        let source = self.sources.iter().position(is_it);
        let source = source.expect("every source was read just before");
        let decoded = &self.sources[source].projection;
        let place = |column: &usize| {
            decoded
                .binary_search(column)
                .expect("the union holds every query's columns")
        };
        Input::Source {
            source,
            columns: spec.projection.iter().map(place).collect(),
        }
    }

    fn target(&mut self, query: usize, plan: &Plan) -> Target {
        if let SinkSpec::Stream(name) = &plan.sink {
            let link = self.link(name);
            self.links[link].writers.push(query);
            return Target::Link(link);
        }
        let is_it = |sink: &JobSink| sink.spec.is_same_target(&plan.sink);
        let known = self.sinks.iter().position(is_it);
        Target::Sink(known.unwrap_or_else(|| {
            self.sinks.push(JobSink {
                spec: plan.sink.clone(),
                columns: Arc::clone(&plan.output),
            });
            self.sinks.len() - 1
        }))
    }

    fn link(&mut self, stream: &str) -> usize {
        let known = self.links.iter().position(|link| link.stream == stream);
        known.unwrap_or_else(|| {
            self.links.push(Link {
                stream: stream.to_owned(),
                writers: Vec::new(),
                readers: Vec::new(),
            });
            self.links.len() - 1
        })
    }
}

fn is_same(one: &SourceSpec, other: &SourceSpec) -> bool {
    one.stream.name == other.stream.name
}
