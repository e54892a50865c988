//! The values of a running job's metrics, and whether it is ready: what the endpoint is answered.
//!
//! Law: every value is the one that stands in the report when the run ends (`figures.rs`), as far as the shards have told; the
//! list of metrics is `metrics::names`.

use std::fmt::Display;

use velostream_shards::Backpressure;

use super::live_line::behind_us;
use super::watch::{Going, Standing};
use crate::metrics::names::{self, code};
use crate::metrics::{Answer, Exposition, Question};
use crate::pipeline::{QueryCounts, stages};
use crate::plan::JobPlan;

/// Answers `question` about the run of `plan`; `wall_us` is the time, microseconds since the epoch.
pub(super) fn answer(
    question: Question,
    plan: &JobPlan,
    standing: &Standing<'_>,
    wall_us: i64,
) -> Answer {
    match question {
        Question::Alive => Answer::Yes(String::new()),
        Question::Ready => not_ready(standing).map_or(Answer::Yes(String::new()), Answer::No),
        Question::Metrics => Answer::Yes(text(plan, standing, wall_us)),
    }
}

/// Why no more work should be sent here, if it should not.
fn not_ready(standing: &Standing<'_>) -> Option<String> {
    if standing.going != Going::On {
        return Some("stopping".to_owned());
    }
    let pressed = standing.shown.iter().position(is_saturated);
    pressed.map(|shard| format!("shard {shard} is saturated"))
}

fn is_saturated(shown: &velostream_shards::Shown) -> bool {
    shown.backpressure() == Backpressure::Saturated
}

/// All metrics.
fn text(plan: &JobPlan, standing: &Standing<'_>, wall_us: i64) -> String {
    let Standing { shown, counts, .. } = *standing;
    let job: &dyn Display = &plan.name;
    let mut all = Exposition::default();

    let mut records_in = all.family(&names::RECORDS_IN);
    for (index, source) in plan.sources.iter().enumerate() {
        let of_shards = counts.iter().filter_map(|counts| counts.sources.get(index));
        let records: u64 = of_shards.map(|source| source.records_in).sum();
        records_in.sample(&[job, &source.stream.name], records);
    }
    all.family(&names::ROWS_OUT).sample(&[], standing.rows_out);

    let queries = counts.iter().flat_map(|counts| &counts.queries);
    let queries = queries
        .copied()
        .fold(QueryCounts::default(), QueryCounts::plus);
    let sources = counts.iter().flat_map(|counts| &counts.sources);
    let undecoded: u64 = sources.map(|source| source.bad_records).sum();
    let mut bad = all.family(&names::BAD_RECORDS);
    for (code, count) in [
        (code::DECODE, undecoded),
        (code::EVALUATE, queries.bad_records),
        (code::OUTPUT, queries.bad_rows),
    ] {
        bad.sample(&[&code], count);
    }
    all.family(&names::LATE_RECORDS)
        .sample(&[], queries.late_records + queries.late_after_idle);
    all.family(&names::CORRECTIONS)
        .sample(&[], queries.corrections);

    let mut latency = all.family(&names::LATENCY);
    for (stage, recorded) in [
        ("ingest", &standing.latency.ingest),
        ("emit", &standing.latency.emit),
        ("end_to_end", &standing.latency.end_to_end),
    ] {
        latency.histogram(&[&stage], recorded);
    }
    let mut lag = all.family(&names::WATERMARK_LAG);
    if let Some(behind_us) = behind_us(standing.watermark, wall_us) {
        lag.sample(&[], behind_us as f64 / 1e6);
    }

    let mut depth = all.family(&names::LANE_DEPTH);
    for (from, (counts, to_job)) in counts.iter().zip(standing.exit_depths()).enumerate() {
        for (to, blocks) in &counts.lanes {
            depth.sample(&[&from, &to.index()], blocks);
        }
        depth.sample(&[&from, &"job"], to_job);
    }
    let mut pressed = all.family(&names::BACKPRESSURE);
    for (shard, shown) in shown.iter().enumerate() {
        pressed.sample(&[&shard], shown.backpressure() as u8);
    }
    let mut busy = all.family(&names::BUSY_RATIO);
    for (shard, shown) in shown.iter().enumerate() {
        busy.sample(&[&shard], shown.busy_ratio());
    }
    let mut stalls = all.family(&names::STALLS);
    for (shard, shown) in shown.iter().enumerate() {
        let by_stage = shown.stalls();
        for stage in stages::ALL {
            stalls.sample(&[&shard, &stage.name()], by_stage[stage.index()]);
        }
    }
    let mut forgotten = all.family(&names::SAFETY_TICK_FOUND_WORK);
    for (shard, shown) in shown.iter().enumerate() {
        forgotten.sample(&[&shard], shown.safety_tick_found_work());
    }

    let held = || counts.iter().flat_map(|counts| &counts.held);
    let groups: u64 = held().map(|held| held.groups).sum();
    all.family(&names::GROUPS).sample(&[job], groups);
    let mut bytes = all.family(&names::STATE_BYTES);
    for (shard, counts) in counts.iter().enumerate() {
        let of_queries = counts.held.iter().map(|held| held.state_bytes);
        bytes.sample(&[&shard], of_queries.sum::<u64>());
    }
    let open = (0..plan.queries.len()).map(|query| {
        let of_shards = counts.iter().filter_map(|counts| counts.held.get(query));
        of_shards.map(|held| held.open_windows).max().unwrap_or(0)
    });
    all.family(&names::OPEN_WINDOWS)
        .sample(&[job], open.sum::<u64>());
    all.finish()
}
