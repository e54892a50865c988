//! From a plan to the operators of one shard.

use std::sync::Arc;

use datafusion_common::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use datafusion_common::arrow::compute::take;
use datafusion_common::arrow::datatypes::{DataType, Schema, SchemaRef};
use velostream_shards::{ExitOutbox, NodeMemory, ShardId};

use super::driver::ShardPipeline;
use super::egress::{Egress, RowEncoder, ToJob};
use super::exchange_edge::{ExchangeEdge, Lanes};
use super::filter_project::{Evaluated, FilterProject};
use super::grouping::Grouping;
use super::ingest::Ingest;
use super::partial_aggregate::PartialAggregate;
use super::query::{QueryPipeline, Stage};
use super::window_aggregate::WindowAggregate;
use crate::config::limits::FIRE_GROUPS_MAX;
use crate::emit::{OutputRows, RowMaker};
use crate::error::Result;
use crate::exchange::KeyForm;
use crate::group::random_seed;
use crate::plan::{AggregatePlan, ExchangeSend, Plan, PlannedExpr, Shape, SinkSpec};
use crate::source::{BadRecords, Source};
use crate::window::TumblingAssigner;

/// What one shard is given to start with.
pub struct ShardParts {
    /// Its number.
    pub shard: ShardId,
    /// How many shards there are.
    pub shards: usize,
    /// Its share of the input; `None` if there is nothing for it to read.
    pub source: Option<Box<dyn Source>>,
    /// Most records of a batch.
    pub batch_max: usize,
    /// The lanes of the exchange edge; `None` for a single shard or a stateless query.
    pub lanes: Option<Lanes>,
    /// How rows are encoded.
    pub encoder: RowEncoder,
    /// The way to the job's sink.
    pub exit: ExitOutbox<ToJob>,
    /// Where its state is kept.
    pub node: NodeMemory,
    /// The wall clock, microseconds since the epoch: what `now()` says, and when something was due that nothing else dates.
    pub wall_us: fn() -> i64,
    /// The monotonic clock, nanoseconds: for the latency figures.
    pub monotonic_ns: fn() -> u64,
}

/// How computed columns become the rows of a stateless query.
pub struct RowShape {
    output: SchemaRef,
    key: Option<SchemaRef>,
    ingest: Ingest,
    monotonic_ns: fn() -> u64,
}

/// Builds the operators of one shard.
pub fn shard_pipeline(plan: &Plan, parts: ShardParts) -> Result<ShardPipeline> {
    let stream = &plan.source.stream;
    let (key, key_columns) = message_key(plan);
    let (columns, stage): (Vec<&PlannedExpr>, Stage) = match &plan.shape {
        Shape::Project(rows) => {
            let shape = RowShape {
                output: Arc::clone(&plan.output),
                key: (!key.is_empty()).then(|| Arc::clone(&key_columns)),
                ingest: Ingest::new(parts.wall_us),
                monotonic_ns: parts.monotonic_ns,
            };
            (rows.iter().chain(key).collect(), Stage::Stateless(shape))
        }
        Shape::Aggregate(aggregate) => {
            let edge = ExchangeEdge::new(
                parts.shard,
                parts.shards,
                plan.exchange.strategy,
                aggregate.window.as_ref(),
                parts.lanes,
            );
            let two_phase = parts.shards > 1 && plan.exchange.send == ExchangeSend::Partials;
            let first_phase = two_phase
                .then(|| {
                    let (seed, node) = (random_seed(), parts.node.clone());
                    PartialAggregate::new(aggregate, seed, parts.monotonic_ns, Some(node))
                })
                .transpose()?;
            let maker = RowMaker::new(aggregate, &plan.output, key, &key_columns);
            let grouping = Grouping {
                keys: aggregate.keys.len(),
                form: KeyForm::new(&key_types(aggregate))?,
                assigner: aggregate.window.as_ref().map(TumblingAssigner::of),
                first_phase,
                edge,
                owned: WindowAggregate::new(
                    aggregate,
                    plan.emit,
                    maker,
                    random_seed(),
                    parts.monotonic_ns,
                    Some(parts.node),
                )?,
                ingest: Ingest::new(parts.wall_us),
                late_records: 0,
                slice_groups: FIRE_GROUPS_MAX,
            };
            (
                aggregate.keys.iter().chain(&aggregate.arguments).collect(),
                Stage::Grouping(Box::new(grouping)),
            )
        }
    };
    let filter_project = FilterProject::new(stream, plan.filter.as_ref(), columns.into_iter());
    let bad_rows = BadRecords::new(&plan.name, stream.on_error);
    let egress = Egress::new(&plan.name, parts.encoder, parts.exit, bad_rows);
    Ok(ShardPipeline::new(
        parts.source,
        parts.batch_max,
        QueryPipeline::new(filter_project, stage, egress),
        parts.wall_us,
        parts.monotonic_ns,
    ))
}

/// Whether `shard_pipeline` can build this plan: whether every key has a type that can be a key, every aggregate one that can
/// be aggregated.
pub fn check_buildable(plan: &Plan) -> Result<()> {
    let Shape::Aggregate(aggregate) = &plan.shape else {
        return Ok(());
    };
    let (key, key_columns) = message_key(plan);
    let maker = RowMaker::new(aggregate, &plan.output, key, &key_columns);
    WindowAggregate::new(aggregate, plan.emit, maker, 0, || 0, None).map(|_| ())
}

/// The rows `rows` of each column.
pub(super) fn take_columns(columns: &[ArrayRef], rows: &[u32]) -> Vec<ArrayRef> {
    let indices = UInt32Array::from(rows.to_vec());
    let pick = |column: &ArrayRef| {
        take(column, &indices, None).expect("the rows are rows of these columns")
    };
    columns.iter().map(pick).collect()
}

fn key_types(aggregate: &AggregatePlan) -> Vec<DataType> {
    let keys = &aggregate.grouped.fields()[..aggregate.keys.len()];
    keys.iter().map(|field| field.data_type().clone()).collect()
}

/// The message key of the plan's sink; empty when rows have none.
fn message_key(plan: &Plan) -> (&[PlannedExpr], SchemaRef) {
    match &plan.sink {
        SinkSpec::Kafka(kafka) => (&kafka.key, Arc::clone(&kafka.key_columns)),
        SinkSpec::Stdout | SinkSpec::File(_) | SinkSpec::Checksum(_) => {
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
            batch: batch(&self.output, columns, rows),
            key: self
                .key
                .as_ref()
                .map(|schema| batch(schema, key_columns, rows)),
            event_times_us: records.event_times.iter().map(|time| time.0).collect(),
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

fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .expect("the plan's schema is the schema of its expressions")
}
