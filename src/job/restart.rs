//! Where the streams of a job go on whose offsets are committed: asked of their groups before the shards start.
//!
//! Law: it is decided once for the whole job. If anything is read again, on any stream or shard, normal work of all of them waits
//! until it has come through.

use super::commits::{Group, offsets};
use super::inputs;
use crate::config::Config;
use crate::config::limits::RUNGS_A_WINDOW;
use crate::error::Result;
use crate::kafka::{Committed, GroupOffsets, Span};
use crate::plan::{JobPlan, WindowSpec};
use crate::source::kafka::{
    Fingerprint, PartitionCommit, Range, Replay, Resumed, ranges_of, resume,
};
use crate::time::Watermark;
use crate::window::Spans;

/// One stream whose offsets are committed.
pub(super) struct Restart {
    /// Its index in `JobPlan::sources`.
    pub(super) source: usize,
    /// What commits of it stand for.
    pub(super) fingerprint: u64,
    /// Where it goes on.
    pub(super) resumed: Resumed,
    /// The queries on it, by their index in `JobPlan::queries`, with their windows.
    pub(super) queries: Vec<(usize, Option<Spans>)>,
    /// How far event time goes from rung to rung of its ladders; `None` where nothing is ever read again.
    pub(super) step_us: Option<i64>,
    /// The group's offsets.
    pub(super) group: Box<dyn Group>,
}

/// Asks the groups of all streams of `plan` whose offsets are committed. With `discard`, what they have committed is not looked
/// at: the streams start at their oldest records.
///
/// # Errors
/// `Error::Connector` if a broker does not answer, `Error::Config` if the job cannot go on from what was committed.
pub(super) fn ask(plan: &JobPlan, config: &Config, discard: bool) -> Result<Vec<Restart>> {
    let sources = (0..plan.sources.len()).filter(|&source| plan.committed(source).is_some());
    sources
        .map(|source| of_source(plan, source, config, discard))
        .collect()
}

fn of_source(plan: &JobPlan, source: usize, config: &Config, discard: bool) -> Result<Restart> {
    let options = plan.committed(source).expect("asked before");
    let settings = inputs::settings(&plan.sources[source].stream, options, config, &plan.name)?;
    let (spans, ranges) = ranges_of(options, &settings)?;
    let group = GroupOffsets::new(&settings, &options.topic)?;
    if !discard {
        let committed = group.committed(spans.iter().map(|span| span.partition))?;
        return from_commits(plan, source, &spans, ranges, &committed, Box::new(group));
    }
    let mut restart = from_commits(plan, source, &spans, ranges, &[], Box::new(group))?;
    // Before a file is made anew: a run that dies early would leave the old commits beside a new file, and the next one would
    // take its rows for written.
    restart.group.commit_now(&offsets(&restart.beginning()))?;
    Ok(restart)
}

/// Where the source goes on after `committed`, which `group` keeps; without a commit its partitions of `spans` are read by
/// `ranges`.
pub(super) fn from_commits(
    plan: &JobPlan,
    source: usize,
    spans: &[Span],
    ranges: Vec<Range>,
    committed: &[Committed],
    group: Box<dyn Group>,
) -> Result<Restart> {
    let options = plan.committed(source).expect("its offsets are committed");
    let mut fingerprint = Fingerprint::new();
    for part in plan.meaning_of(source) {
        fingerprint.take(&part);
    }
    let fingerprint = fingerprint.value();
    let resumed = resume(options, group.name(), fingerprint, spans, ranges, committed)?;
    let queries: Vec<_> = plan
        .readers_of(source)
        .map(|(index, query)| (index, query.plan.window().map(Spans::of)))
        .collect();
    let windows = plan
        .readers_of(source)
        .filter_map(|(_, query)| query.plan.window());
    let shortest = windows.map(WindowSpec::size_us).min();
    Ok(Restart {
        source,
        fingerprint,
        resumed,
        queries,
        step_us: shortest.map(|size_us| (size_us / RUNGS_A_WINDOW).max(1)),
        group,
    })
}

impl Restart {
    /// How its sources read again, if anything of the job is (`rebuilds`).
    pub(super) fn replay(&self, rebuilds: bool) -> Replay {
        Replay {
            rebuilds,
            step_us: self.step_us,
        }
    }

    /// What is committed of a stream of which nothing has been read.
    fn beginning(&self) -> Vec<PartitionCommit> {
        let ranges = self.resumed.ranges.iter();
        let nothing = ranges.map(|range| PartitionCommit {
            partition: range.partition,
            seek: range.start,
            fingerprint: self.fingerprint,
            done: Watermark::NONE,
            next: range.start,
            watermark_at_seek: Watermark::NONE,
            watermark_at_next: Watermark::NONE,
        });
        nothing.collect()
    }

    /// What the operator is told at the start, if it goes on from a commit.
    pub(super) fn notice(&self, stream: &str) -> Option<String> {
        let Resumed { found, ranges, .. } = &self.resumed;
        found.then(|| {
            let again = ranges.iter().filter(|range| range.distance() > 0).count();
            format!(
                "stream {stream} goes on where group {} has committed: {} records of {again} of its {} partitions are read again \
                 for what is open",
                self.group.name(),
                self.resumed.distance(),
                ranges.len()
            )
        })
    }
}
