//! From what the shards left to the report.

use std::collections::BTreeMap;

use velostream_shards::peak_rss_bytes;

use super::Outcome;
use super::late_warnings::late_warnings;
use super::report::{
    End, LatencyReport, PartitionReport, QueryReport, Report, ShardReport, StreamReport,
};
use crate::pipeline::{AllocationFigures, QueryCounts};
use crate::plan::{JobPlan, Target};
use crate::source::SourceFigures;
use crate::time::Watermark;

impl Report {
    /// What the run of `plan` did.
    pub fn of(plan: &JobPlan, outcome: &Outcome) -> Report {
        let shards = &outcome.shards;
        let streams: Vec<StreamReport> = plan
            .sources
            .iter()
            .enumerate()
            .map(|(index, source)| {
                let figures = shards.iter();
                let figures = figures.filter_map(|shard| shard.summary.sources[index].as_ref());
                stream(&source.stream.name, figures)
            })
            .collect();
        let counts: Vec<QueryCounts> = (0..plan.queries.len())
            .map(|index| {
                let of_shards = shards.iter().map(|shard| shard.summary.queries[index]);
                of_shards.fold(QueryCounts::default(), QueryCounts::plus)
            })
            .collect();
        let all = counts.iter().copied();
        let all = all.fold(QueryCounts::default(), QueryCounts::plus);
        let sources = || {
            let shards = shards.iter();
            shards.flat_map(|shard| shard.summary.sources.iter().flatten())
        };
        let records_in: u64 = sources().map(|source| source.records_in).sum();
        let bad_in_source: u64 = sources().map(|source| source.bad_records).sum();
        let elapsed_s = outcome.elapsed.as_secs_f64();
        // Without the partitions that are idle; where all are, the latest of them: from there the clock ran on.
        let watermarks = shards.iter().map(|shard| shard.summary.watermark);
        let watermark = match watermarks.min().unwrap_or(Watermark::NONE) {
            Watermark::END if outcome.end != End::Input => {
                let partitions = sources().flat_map(|source| &source.partitions);
                let watermarks = partitions.map(|partition| partition.watermark);
                let idle = watermarks.filter(|watermark| *watermark != Watermark::END);
                idle.max().unwrap_or(Watermark::END)
            }
            least => least,
        };
        let queries = plan.queries.iter().zip(&counts).enumerate();
        let queries = queries
            .map(|(index, (query, counts))| QueryReport {
                query: query.plan.name.clone(),
                sink: query.plan.sink.name(),
                rows_out: match query.target {
                    Target::Sink(_) => outcome.rows_out_by_query[index],
                    Target::Link(_) => counts.rows,
                },
                late_records: counts.late_records + counts.late_after_idle,
                exchange: query.plan.exchange.strategy.name().to_owned(),
            })
            .collect();
        Report {
            schema: Report::SCHEMA,
            job: plan.name.clone(),
            end: outcome.end,
            exit_code: outcome.exit_code(),
            elapsed_s,
            records_in,
            rows_out: outcome.rows_out,
            tombstones: outcome.tombstones,
            bad_records: bad_in_source + all.bad_records + all.bad_rows,
            late_records: all.late_records + all.late_after_idle,
            late_after_idle: all.late_after_idle,
            corrections: all.corrections,
            warnings: late_warnings(plan, &counts),
            dead_letters: outcome.dead_letters,
            replayed_records: sources().map(|source| source.replayed_records).sum(),
            peak_rss_bytes: peak_rss_bytes(),
            peak_state_bytes: all.state_bytes_max,
            long_probes: all.long_probes,
            allocations_per_batch: AllocationFigures::per_batch(
                shards.iter().map(|shard| shard.summary.allocations),
            ),
            records_per_s: if elapsed_s > 0.0 {
                records_in as f64 / elapsed_s
            } else {
                0.0
            },
            watermark,
            streams,
            queries,
            shards: shards
                .iter()
                .map(|shard| {
                    let figures = &shard.figures;
                    ShardReport {
                        shard: figures.shard.index(),
                        cpu: figures.placement.cpu,
                        core: figures.placement.core,
                        node: figures.placement.node,
                        l3: figures.placement.l3,
                        records_in: shard.summary.records_in(),
                        busy_ratio: figures.busy_ratio,
                        parked_ratio: figures.parked_ratio,
                        stalls: figures.stalls.iter().map(|(_, stalls)| stalls).sum(),
                        stalls_by_stage: figures.stalls.iter().copied().collect(),
                        turn_us_max: figures.turn_cpu_ns_max / 1_000,
                        safety_tick_found_work: figures.safety_tick_found_work,
                        backpressure: figures.backpressure_worst.name(),
                        cpu_s: figures.cpu_s,
                        numa_pages_local: figures.pages.local,
                        numa_pages_remote: figures.pages.remote,
                    }
                })
                .collect(),
            latency_us: LatencyReport::of(&outcome.latency),
        }
    }
}

/// What all shards read of the stream `name`.
fn stream<'f>(name: &str, figures: impl Iterator<Item = &'f SourceFigures>) -> StreamReport {
    let mut records_in = 0;
    // By number: partitions are dealt to shards in an order of their own.
    let mut partitions = BTreeMap::new();
    for source in figures {
        records_in += source.records_in;
        for figures in &source.partitions {
            let report = PartitionReport {
                partition: figures.partition,
                next_offset: figures.next_offset,
                watermark: figures.watermark,
            };
            partitions.insert(figures.partition, report);
        }
    }
    StreamReport {
        stream: name.to_owned(),
        records_in,
        partitions: partitions.into_values().collect(),
    }
}
