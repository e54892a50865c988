//! Who watches a running job, and what they see: a person at a terminal, a scraper, a service manager.
//!
//! ```text
//!   the job's thread, each round: Standing --> LiveLine (twice a second)
//!                                         \--> Endpoint (answers who has asked)
//!                                         \--> Service (ready, alive, stopping)
//! ```
//!
//! Law: nobody who watches is waited for, and without watchers a round costs nothing for them.

use std::time::Duration;

use velostream_shards::{Backpressure, CoreMap, ExitInbox, Shown};

use super::exposition::answer;
use super::housekeeping::stand_on;
use super::latency::Latency;
use super::live_line::LiveLine;
use super::service::Service;
use super::{tell, wall_us};
use crate::config::Config;
use crate::error::Result;
use crate::metrics::{Endpoint, Phase};
use crate::pipeline::{Counts, ToJob};
use crate::plan::{JobPlan, JobSink, SinkSpec};
use crate::source::Extent;
use crate::time::Watermark;

/// What a watcher of a running job sees.
#[derive(Clone, Copy)]
pub struct Standing<'s> {
    /// Records taken from the sources so far, as far as the shards have told; bad ones included.
    pub records_in: u64,
    /// Rows acknowledged so far.
    pub rows_out: u64,
    /// Since the shards were started.
    pub elapsed: Duration,
    /// The least watermark of the inputs of the shards, as far as they have told.
    pub watermark: Watermark,
    /// Whether a sink has no room, so that the shards wait for it.
    pub held_back: bool,
    /// How hard the shard is pressed that is pressed the most.
    pub backpressure: Backpressure,
    /// How long it took so far; `ingest` as far as the shards have told.
    pub latency: &'s Latency,
    /// Whether it goes on.
    pub going: Going,
    /// By shard, what it has counted, as far as it has told.
    pub counts: &'s [Counts],
    /// By shard, how it fares.
    pub shown: &'s [Shown],
    /// By shard, the lane to the job.
    pub(super) exits: &'s [ExitInbox<ToJob>],
}

/// Whether a job goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Going {
    /// It does.
    On,
    /// It was asked to stop, or has failed: its shards drain.
    Stopping,
    /// Its shards have ended. What the sinks still hold is flushed; nobody is asked again.
    Ended,
}

impl Standing<'_> {
    /// By shard, how many blocks wait in its lane to the job.
    pub fn exit_depths(&self) -> impl Iterator<Item = usize> {
        self.exits.iter().map(ExitInbox::depth)
    }

    /// How much of the input is read, 0 to 1: of the source of which the least is; `None` where a source has no end that is
    /// known, or nothing was told yet.
    pub fn share_read(&self) -> Option<f64> {
        let sources = self
            .counts
            .iter()
            .map(|counts| counts.sources.len())
            .max()?;
        let share_of = |source: usize| {
            let told = self
                .counts
                .iter()
                .filter(|counts| !counts.sources.is_empty());
            let all = told.map(|counts| counts.sources[source].extent);
            all.sum::<Option<Extent>>()?.share()
        };
        let shares: Option<Vec<f64>> = (0..sources).map(share_of).collect();
        shares?.into_iter().reduce(f64::min)
    }
}

/// Those who watch a run of `velo run`.
pub(super) struct Watchers<'p> {
    plan: &'p JobPlan,
    live_line: Option<LiveLine>,
    endpoint: Option<Endpoint>,
    service: Service,
}

impl Watchers<'_> {
    /// Opens what was configured and what the environment asks for.
    pub(super) fn open<'p>(
        plan: &'p JobPlan,
        config: &Config,
        core_map: &CoreMap,
    ) -> Result<Watchers<'p>> {
        // Its threads stay where this one stands: beside the shards.
        let _aside = stand_on(&core_map.control_cpus())?;
        let endpoint = Endpoint::open(&config.metrics)?;
        if let Some(endpoint) = &endpoint {
            tell(&format!("metrics at http://{}/metrics", endpoint.address()));
        }
        Ok(Watchers {
            plan,
            live_line: LiveLine::on_terminal(plan.sinks.iter().any(is_stdout)),
            endpoint,
            service: Service::from(std::env::var_os, std::process::id()),
        })
    }

    /// The job has made a round.
    pub(super) fn look(&mut self, standing: &Standing<'_>) {
        if let Some(line) = &mut self.live_line {
            line.show(standing);
        }
        if let Some(endpoint) = &self.endpoint {
            endpoint.enter(match standing.going {
                Going::On | Going::Stopping => Phase::Running,
                Going::Ended => Phase::Ending,
            });
            endpoint.answer(|question| answer(question, self.plan, standing, wall_us()));
        }
        self.service.round(standing.elapsed, standing.shown.len());
        if standing.going != Going::On {
            self.service.stopping();
        }
    }
}

fn is_stdout(sink: &JobSink) -> bool {
    matches!(sink.spec, SinkSpec::Stdout)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::SourceCounts;

    /// The share of an input of which the shards have told so much, by source.
    fn share(told: &[&[Option<(u64, u64)>]]) -> Option<f64> {
        let counts: Vec<Counts> = told
            .iter()
            .map(|sources| Counts {
                sources: sources
                    .iter()
                    .map(|extent| SourceCounts {
                        extent: extent.map(|(read, whole)| Extent { read, whole }),
                        ..SourceCounts::default()
                    })
                    .collect(),
                ..Counts::default()
            })
            .collect();
        let standing = Standing {
            records_in: 0,
            rows_out: 0,
            elapsed: Duration::ZERO,
            watermark: Watermark::NONE,
            held_back: false,
            backpressure: Backpressure::Healthy,
            latency: &Latency::default(),
            going: Going::On,
            counts: &counts,
            shown: &[],
            exits: &[],
        };
        standing.share_read()
    }

    #[test]
    fn the_share_is_of_what_all_shards_read_and_of_the_source_that_is_behind() {
        assert_eq!(share(&[&[Some((10, 100))]]), Some(0.1));
        // Nothing is read of a file on the second shard, and the third has told nothing.
        assert_eq!(
            share(&[&[Some((10, 100))], &[Some((0, 0))], &[]]),
            Some(0.1)
        );
        assert_eq!(share(&[&[Some((10, 100))], &[Some((80, 100))]]), Some(0.45));
        let two = [Some((9, 10)), Some((500, 1_000))];
        assert_eq!(share(&[&two]), Some(0.5));
    }

    #[test]
    fn there_is_no_share_of_what_has_no_end_or_was_not_told() {
        assert_eq!(share(&[]), None);
        assert_eq!(share(&[&[]]), None);
        assert_eq!(share(&[&[None]]), None);
        assert_eq!(share(&[&[Some((1, 2)), None]]), None);
        assert_eq!(share(&[&[Some((0, 0))]]), None);
    }
}
