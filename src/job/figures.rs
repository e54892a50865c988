//! From what the shards left to the report.

use std::collections::BTreeMap;

use velostream_shards::peak_rss_bytes;

use super::Outcome;
use super::report::{
    LatencyReport, PartitionReport, QueryReport, Report, ShardReport, StreamReport,
};
use crate::pipeline::AllocationFigures;
use crate::plan::{Plan, SinkSpec};
use crate::time::Watermark;

impl Report {
    /// What the run of `plan` did.
    pub fn of(plan: &Plan, outcome: &Outcome) -> Report {
        let shards = &outcome.shards;
        let left = || shards.iter().map(|shard| &shard.summary);
        let sources = || left().filter_map(|left| left.source.as_ref());
        let records_in: u64 = sources().map(|source| source.records_in).sum();
        let bad_in_source: u64 = sources().map(|source| source.bad_records).sum();
        let late_after_idle: u64 = left().map(|left| left.counts.late_after_idle).sum();
        let late_records =
            left().map(|left| left.counts.late_records).sum::<u64>() + late_after_idle;
        let elapsed_s = outcome.elapsed.as_secs_f64();
        // By number: partitions are dealt to shards in an order of their own.
        let partitions: BTreeMap<i32, PartitionReport> = sources()
            .flat_map(|source| &source.partitions)
            .map(|figures| {
                let partition = figures.partition;
                let report = PartitionReport {
                    partition,
                    next_offset: figures.next_offset,
                    watermark: figures.watermark,
                };
                (partition, report)
            })
            .collect();
        let watermark = partitions
            .values()
            .map(|partition| partition.watermark)
            .min()
            .unwrap_or(Watermark::NONE);
        Report {
            schema: Report::SCHEMA,
            job: plan.job.clone(),
            end: outcome.end,
            exit_code: outcome.exit_code(),
            elapsed_s,
            records_in,
            rows_out: outcome.rows_out,
            bad_records: bad_in_source + left().map(|left| left.counts.bad_records).sum::<u64>(),
            late_records,
            late_after_idle,
            dead_letters: 0,
            replayed_records: 0,
            peak_rss_bytes: peak_rss_bytes(),
            allocations_per_batch: AllocationFigures::per_batch(
                left().map(|left| left.allocations),
            ),
            records_per_s: if elapsed_s > 0.0 {
                records_in as f64 / elapsed_s
            } else {
                0.0
            },
            watermark,
            peak_state_bytes: left().map(|left| left.counts.state_bytes_max).sum(),
            long_probes: left().map(|left| left.counts.long_probes).sum(),
            streams: vec![StreamReport {
                stream: plan.source.stream.name.clone(),
                records_in,
                partitions: partitions.into_values().collect(),
            }],
            queries: vec![QueryReport {
                query: plan.name.clone(),
                sink: sink_text(&plan.sink),
                rows_out: outcome.rows_out,
                late_records,
                exchange: plan.exchange.strategy.name().to_owned(),
            }],
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
                        records_in: shard
                            .summary
                            .source
                            .as_ref()
                            .map_or(0, |source| source.records_in),
                        busy_ratio: figures.busy_ratio,
                        parked_ratio: figures.parked_ratio,
                        stalls: figures.stalls.iter().map(|(_, stalls)| stalls).sum(),
                        stalls_by_stage: figures.stalls.iter().copied().collect(),
                        turn_us_max: figures.turn_cpu_ns_max / 1_000,
                        backpressure: figures.backpressure_worst.name(),
                        cpu_s: figures.cpu_s,
                        numa_pages_local: figures.pages.local,
                        numa_pages_remote: figures.pages.remote,
                    }
                })
                .collect(),
            latency_us: LatencyReport {
                ingest: outcome.latency.ingest.summary().into(),
                emit: outcome.latency.emit.summary().into(),
                end_to_end: outcome.latency.end_to_end.summary().into(),
            },
        }
    }
}

fn sink_text(sink: &SinkSpec) -> String {
    match sink {
        SinkSpec::Stdout => "stdout".to_owned(),
        SinkSpec::File(file) => format!("file:{}", file.path.display()),
        SinkSpec::Kafka(kafka) => format!("kafka:{}", kafka.options.topic),
        SinkSpec::Checksum(_) => "checksum".to_owned(),
    }
}
