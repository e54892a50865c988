//! From a job's plan to the operators of one shard.

use std::sync::Arc;

use datafusion_common::arrow::datatypes::{DataType, Schema, SchemaRef};
use velostream_shards::{EpochHandle, ExitOutbox, NodeMemory, ShardId};

use super::alignment::Alignment;
use super::batch_size::BatchSize;
use super::driver::ShardPipeline;
use super::egress::{Egress, Exit, RowEncoder, ToJob};
use super::epochs::Cuts;
use super::exchange_edge::{ExchangeEdge, Lanes};
use super::filter_project::{Evaluated, FilterProject};
use super::flow::{Flow, Fork, Node, Outlet, Reader};
use super::grouping::{Epochs, Grouping};
use super::ingest::Ingest;
use super::letters::{LateLetters, LetterBox, LetterTarget};
use super::origin_columns::OriginColumns;
use super::owned::Owned;
use super::partial_aggregate::PartialAggregate;
use super::query::{QueryPipeline, Stage, Stateless};
use super::source_port::SourcePort;
use crate::batch::under;
use crate::config::limits::FIRE_GROUPS_MAX;
use crate::config::options::Late;
use crate::emit::{OutputRows, RowMaker};
use crate::error::Result;
use crate::exchange::KeyForm;
use crate::group::random_seed;
use crate::plan::{
    AggregatePlan, ExchangeSend, Input, JobPlan, JobQuery, Plan, PlannedExpr, Shape, SinkSpec,
    StreamSpec, Target,
};
use crate::source::{BadRecords, Source};
use crate::time::Watermark;
use crate::window::{Assigner, PaneNumbers};

/// What one shard is given to start with.
pub struct ShardParts {
    /// Its number.
    pub shard: ShardId,
    /// How many shards there are.
    pub shards: usize,
    /// Its share of each source, in the order of `JobPlan::sources`; `None` if there is nothing for it to read.
    pub sources: Vec<Option<Box<dyn Source>>>,
    /// How many records a turn takes from a source.
    pub batch: BatchSize,
    /// For each query, in the order of `JobPlan::queries`, what it needs of this shard.
    pub queries: Vec<QueryParts>,
    /// How letters are written, for each target of `JobPlan::dead_letters`.
    pub dead_letters: Vec<LetterTarget>,
    /// The way to the job's sinks.
    pub exit: ExitOutbox<ToJob>,
    /// The epoch that the job has opened.
    pub epochs: EpochHandle,
    /// Where its state is kept.
    pub node: NodeMemory,
    /// The wall clock, microseconds since the epoch: what `now()` says, and when something was due that nothing else dates.
    pub wall_us: fn() -> i64,
    /// The monotonic clock, nanoseconds: for the latency figures.
    pub monotonic_ns: fn() -> u64,
}

/// What a query is given on one shard.
pub struct QueryParts {
    /// The lanes of its exchange edge; `None` for a single shard or a stateless query.
    pub lanes: Option<Lanes>,
    /// How its rows are encoded; `None` when other queries read them.
    pub encoder: Option<RowEncoder>,
    /// Where it goes on, if the offsets of what it reads are committed.
    pub restart: Option<RestartAt>,
}

/// Where a query goes on after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartAt {
    /// Windows with end and grace at or below it are done.
    pub done: Watermark,
    /// Whether records come first that were read before, up to the first barrier.
    pub rebuilds: bool,
}

/// How computed columns become the rows of a stateless query.
pub struct RowShape {
    output: SchemaRef,
    key: Option<SchemaRef>,
    ingest: Ingest,
    monotonic_ns: fn() -> u64,
}

/// What all queries of a shard share.
struct Seat {
    shard: ShardId,
    shards: usize,
    node: NodeMemory,
    wall_us: fn() -> i64,
    monotonic_ns: fn() -> u64,
}

/// Builds the operators of one shard.
pub fn shard_pipeline(job: &JobPlan, parts: ShardParts) -> Result<ShardPipeline> {
    let ShardParts {
        shard,
        shards,
        sources,
        batch,
        queries,
        dead_letters,
        exit,
        epochs,
        node,
        wall_us,
        monotonic_ns,
    } = parts;
    let seat = Seat {
        shard,
        shards,
        node,
        wall_us,
        monotonic_ns,
    };
    assert_eq!(sources.len(), job.sources.len(), "a share of each source");
    assert_eq!(queries.len(), job.queries.len(), "parts for each query");
    let mut restarts = queries.iter().filter_map(|parts| parts.restart);
    let rebuilds = restarts.any(|restart| restart.rebuilds);
    let mut nodes = Vec::with_capacity(queries.len());
    for (index, (query, parts)) in job.queries.iter().zip(queries).enumerate() {
        let plan = &query.plan;
        let (mut pipeline, outlet) = (
            query_pipeline(plan, &seat, parts.lanes)?,
            outlet(job, index, parts.encoder),
        );
        if let Some(RestartAt { done, rebuilds }) = parts.restart {
            pipeline.start_at(done, rebuilds);
        }
        let inputs = match query.input {
            Input::Source { .. } => 1,
            Input::Link { link, .. } => job.links[link].writers.len(),
        };
        let stream = &plan.source.stream;
        let bad_rows = BadRecords::new(&plan.name, stream.on_error);
        let letters = letter_box(job, stream, Some(&plan.name), &dead_letters);
        let node = Node::new(&plan.name, pipeline, inputs, outlet, bad_rows, letters);
        nodes.push(match parts.restart {
            Some(_) => node.telling_epochs(),
            None => node,
        });
    }
    let ports = sources.into_iter().zip(&job.sources).enumerate();
    let ports = ports.map(|(index, (source, spec))| {
        let letters = letter_box(job, &spec.stream, None, &dead_letters);
        let origins = OriginColumns::of(spec);
        let alignment = Alignment::of(job, index);
        let readers = readers_of_source(job, index);
        SourcePort::new(source, readers, origins, letters, alignment)
    });
    Ok(ShardPipeline::new(
        ports.collect(),
        Flow::new(nodes, Exit::new(exit)),
        Cuts::new(epochs, rebuilds),
        batch,
        wall_us,
        monotonic_ns,
    ))
}

/// The way to the dead letter of `stream`, if it has one.
fn letter_box(
    job: &JobPlan,
    stream: &StreamSpec,
    query: Option<&str>,
    targets: &[LetterTarget],
) -> Option<LetterBox> {
    let number = job.dead_letter_of(stream)?;
    let target = targets[number].clone();
    Some(LetterBox::new(number, target, &stream.name, query))
}

/// The operators of `plan` on one shard.
fn query_pipeline(plan: &Plan, seat: &Seat, lanes: Option<Lanes>) -> Result<QueryPipeline> {
    let stream = &plan.source.stream;
    let (key, key_columns) = message_key(plan);
    let (columns, stage): (Vec<&PlannedExpr>, Stage) = match &plan.shape {
        Shape::Project(rows) => {
            let shape = RowShape {
                output: Arc::clone(&plan.output),
                key: (!key.is_empty()).then(|| Arc::clone(&key_columns)),
                ingest: Ingest::new(seat.wall_us),
                monotonic_ns: seat.monotonic_ns,
            };
            let columns = rows.iter().chain(key).collect();
            (columns, Stage::Stateless(Stateless::new(shape)))
        }
        Shape::Aggregate(aggregate) => {
            let window = aggregate.window.as_ref();
            let numbers = window.map(|window| PaneNumbers::of(window, plan.emission()));
            let edge = ExchangeEdge::new(
                seat.shard,
                seat.shards,
                plan.exchange.strategy,
                numbers,
                lanes,
            );
            let two_phase = seat.shards > 1 && plan.exchange.send == ExchangeSend::Partials;
            let first_phase = two_phase
                .then(|| {
                    PartialAggregate::new(
                        aggregate,
                        random_seed(),
                        seat.monotonic_ns,
                        Some(seat.node.clone()),
                    )
                })
                .transpose()?;
            let maker = RowMaker::new(aggregate, &plan.output, key, &key_columns);
            let grouping = Grouping {
                keys: aggregate.keys.len(),
                form: KeyForm::new(&key_types(aggregate))?,
                assigner: numbers.map(Assigner::of),
                first_phase,
                edge,
                owned: Owned::new(
                    aggregate,
                    plan.emission(),
                    maker,
                    random_seed(),
                    seat.monotonic_ns,
                    Some(seat.node.clone()),
                )?,
                ingest: Ingest::new(seat.wall_us),
                judged_records: 0,
                late_records: 0,
                late_letters: (plan.late == Late::DeadLetter).then(|| LateLetters::of(stream)),
                behind_us: aggregate.window.map(|window| window.behind_us()),
                reached: (Watermark::NONE, 0),
                told: (Watermark::NONE, 0),
                slice_groups: FIRE_GROUPS_MAX,
                epochs: Epochs::default(),
            };
            (
                aggregate.keys.iter().chain(&aggregate.arguments).collect(),
                Stage::Grouping(Box::new(grouping)),
            )
        }
    };
    let filter_project = FilterProject::new(stream, plan.filter.as_ref(), columns.into_iter());
    Ok(QueryPipeline::new(filter_project, stage))
}

/// Where the rows of query `query` go.
fn outlet(job: &JobPlan, query: usize, encoder: Option<RowEncoder>) -> Outlet {
    let Target::Link(link) = job.queries[query].target else {
        let encoder = encoder.expect("rows for a sink are encoded");
        return Outlet::Sink(Egress::new(query, encoder));
    };
    let link = &job.links[link];
    let is_this = |writer: &usize| *writer == query;
    let port = link.writers.iter().position(is_this);
    let port = port.expect("a query is a writer of what it writes");
    let readers = link.readers.iter();
    Outlet::Stream(Fork::new(
        readers
            .map(|reader| reader_of(job, *reader, port))
            .collect(),
    ))
}

fn readers_of_source(job: &JobPlan, wanted: usize) -> Vec<Reader> {
    let reads =
        |query: &JobQuery| matches!(query.input, Input::Source { source, .. } if source == wanted);
    let readers = (0..job.queries.len()).filter(|&query| reads(&job.queries[query]));
    readers.map(|query| reader_of(job, query, 0)).collect()
}

/// How `query` reads its stream, as its input number `port`.
fn reader_of(job: &JobPlan, query: usize, port: usize) -> Reader {
    let JobQuery { plan, input, .. } = &job.queries[query];
    let (columns, all) = match input {
        Input::Source { source, columns } => (columns, job.sources[*source].projection.len()),
        Input::Link { columns, .. } => (columns, plan.source.stream.columns.fields().len()),
    };
    Reader {
        query,
        port,
        columns: (columns.len() < all).then(|| columns.clone()),
        projected: Arc::clone(&plan.source.projected),
        timed: plan.source.stream.event_time.is_some(),
    }
}

/// Whether `shard_pipeline` can build this plan: whether every key has a type that can be a key, every aggregate one that can
/// be aggregated.
pub fn check_buildable(plan: &Plan) -> Result<()> {
    let Shape::Aggregate(aggregate) = &plan.shape else {
        return Ok(());
    };
    let (key, key_columns) = message_key(plan);
    let maker = RowMaker::new(aggregate, &plan.output, key, &key_columns);
    Owned::new(aggregate, plan.emission(), maker, 0, || 0, None).map(|_| ())
}

fn key_types(aggregate: &AggregatePlan) -> Vec<DataType> {
    let keys = &aggregate.grouped.fields()[..aggregate.keys.len()];
    keys.iter().map(|field| field.data_type().clone()).collect()
}

/// The message key of the plan's sink; empty when rows have none.
fn message_key(plan: &Plan) -> (&[PlannedExpr], SchemaRef) {
    match &plan.sink {
        SinkSpec::Kafka(kafka) => (&kafka.key, Arc::clone(&kafka.key_columns)),
        SinkSpec::Stdout | SinkSpec::File(_) | SinkSpec::Checksum(_) | SinkSpec::Stream(_) => {
            (&[], Arc::new(Schema::empty()))
        }
    }
}

impl RowShape {
    /// The rows of a stateless query: the computed columns are the output columns, then the message key.
    pub(super) fn rows(&mut self, evaluated: Evaluated) -> OutputRows {
        let Evaluated {
            records,
            mut columns,
        } = evaluated;
        let key_columns = columns.split_off(self.output.fields().len());
        let rows = records.len();
        self.ingest.applied(rows, records.due_us);
        OutputRows {
            batch: under(&self.output, columns, rows),
            key: self
                .key
                .as_ref()
                .map(|schema| under(schema, key_columns, rows)),
            event_times_us: records.event_times.iter().map(|time| time.0).collect(),
            watermarks_before: records.watermarks_before,
            tombstones: None,
            bad: Vec::new(),
            due_us: records.due_us,
            ready_ns: (self.monotonic_ns)(),
        }
    }

    /// How long the records took until their rows were computed.
    pub(super) fn ingest(&mut self) -> &mut Ingest {
        &mut self.ingest
    }
}
