//! A job whose shards are up: what they hand over goes to the sinks, what the sinks acknowledge is counted, and epochs are committed.
//!
//! Law: at most a block of each shard is taken at a time, and none while a sink has no room, so that a slow sink is felt by the
//! shards and keeps nobody from being heard.

use std::time::{Duration, Instant};

use velostream_shards::{Doorbell, ExitInbox, Runtime, StopHandle};

use super::commits::Commits;
use super::late_warnings::LateWatch;
use super::latency::monotonic_ns;
use super::report::End;
use super::totals::Totals;
use super::watch::{Going, Standing};
use super::{Outcome, failure_text, tell};
use crate::config::limits::{JOB_SLEEP_US_MAX, STOP_PATIENCE_S};
use crate::error::{Error, Result};
use crate::pipeline::{Counts, QueryCounts, ShardPipeline, ToJob, target_of};
use crate::sink::Sink;
use crate::time::Watermark;

/// How long a sink that takes nothing is waited for after a stop.
const STOP_PATIENCE: Duration = Duration::from_secs(STOP_PATIENCE_S);

/// A job whose shards are up.
pub struct Running {
    pub runtime: Runtime<ShardPipeline>,
    pub doorbell: Doorbell,
    pub stop: StopHandle,
    pub exits: Vec<ExitInbox<ToJob>>,
    pub sinks: Vec<Box<dyn Sink>>,
    pub commits: Commits,
    /// By query, the sink that its rows go to.
    pub targets: Vec<Option<usize>>,
    /// The first of `sinks` that takes dead letters.
    pub letters_from: usize,
    pub started: Instant,
    pub records_in: u64,
    /// By shard, where its input stood when it last told; at the end for one that has told nothing.
    pub watermarks: Vec<Watermark>,
    /// By shard, what it has counted when it last told.
    pub counts: Vec<Counts>,
    pub totals: Totals,
    /// Which warnings were told.
    pub late_watch: LateWatch,
}

impl Running {
    /// Until it has ended, or `watch`, which is asked all the while how it goes, says why it shall end.
    pub fn watch(mut self, watch: &mut dyn FnMut(Standing<'_>) -> Option<End>) -> Outcome {
        let mut asked: Option<End> = None;
        let mut failed: Option<Error> = None;
        let mut sink_failed = false;
        // Since when a run that was asked to stop has waited for its sinks.
        let mut stuck: Option<(Instant, u64)> = None;
        let mut quiet = false;
        loop {
            // Asked first: what the shards posted before they ended is then seen below.
            let finished = self.runtime.is_finished();
            if self.runtime.failure().is_some() {
                break;
            }
            let progressed = !sink_failed
                && self.drain(&mut failed).unwrap_or_else(|error| {
                    // Rows can go nowhere any more: the lanes are dropped, so that no shard waits for room.
                    let error = self.without_reader(error);
                    failed.get_or_insert(error);
                    self.exits.clear();
                    sink_failed = true;
                    false
                });
            if failed.is_none() {
                let ledger = &mut self.totals.ledger;
                let stepped = self
                    .commits
                    .step(monotonic_ns(), ledger, &mut |notice| tell(&notice));
                failed = stepped.err();
            }
            if failed.is_some() {
                self.stop.request();
            }
            let going = match asked.is_some() || failed.is_some() {
                true => Going::Stopping,
                false => Going::On,
            };
            if let Some(end) = watch(self.standing(going)).filter(|_| asked.is_none()) {
                asked = Some(end);
                self.stop.request();
            }
            // Room was made for shards that hold blocks.
            self.doorbell.ring_owed();
            // A sink without room leaves what the shards posted in their lanes.
            let has_room = have_room(&self.sinks);
            if finished && !progressed && (sink_failed || has_room) {
                // Twice: what a sink gathered it hands on when nothing has come since, and may then have no room.
                if std::mem::replace(&mut quiet, true) {
                    break;
                }
            } else {
                quiet = false;
            }
            if asked.is_none() || progressed || has_room || sink_failed {
                stuck = None;
            } else {
                let held = self.totals.unacknowledged();
                match stuck {
                    Some((since, before)) if before == held => {
                        if since.elapsed() >= STOP_PATIENCE {
                            failed.get_or_insert(stuck_at(held));
                            self.exits.clear();
                            sink_failed = true;
                        }
                    }
                    _ => stuck = Some((Instant::now(), held)),
                }
            }
            self.rest(progressed);
        }
        watch(self.standing(Going::Ended));
        self.end(asked, failed, sink_failed)
    }

    /// A reader of standard output that goes away ends a job quietly, unless rows for other sinks are lost by that.
    fn without_reader(&self, error: Error) -> Error {
        match error {
            Error::Closed(_) if self.sinks.len() > 1 => Error::Failed(
                "the reader of standard output went away, and the job's other outputs are not complete; give it a reader that \
                 stays, or run the query that prints from a file of its own"
                    .to_owned(),
            ),
            error => error,
        }
    }

    /// How the job stands now.
    fn standing(&self, going: Going) -> Standing<'_> {
        Standing {
            records_in: self.records_in,
            rows_out: self.totals.rows_out(),
            elapsed: self.started.elapsed(),
            watermark: self
                .watermarks
                .iter()
                .copied()
                .min()
                .unwrap_or(Watermark::END),
            held_back: !have_room(&self.sinks),
            backpressure: self.runtime.backpressure().max().unwrap_or_default(),
            latency: &self.totals.latency,
            going,
            counts: &self.counts,
            shown: self.runtime.shown(),
            exits: &self.exits,
        }
    }

    /// Sleeps when two rounds in a row found nothing, the second of them after the doorbell was armed.
    fn rest(&mut self, progressed: bool) {
        let Running { doorbell, .. } = self;
        match (progressed, doorbell.is_armed()) {
            (true, false) => {}
            (true, true) => {
                doorbell.disarm();
            }
            (false, false) => doorbell.arm(),
            (false, true) => doorbell.sleep(Duration::from_micros(JOB_SLEEP_US_MAX)),
        }
    }

    /// Writes what the shards handed over: at most a block of each, so that a sink which is slower than the shards keeps
    /// nobody from being heard. Whether there was anything.
    fn drain(&mut self, failed: &mut Option<Error>) -> Result<bool> {
        let Running {
            exits,
            sinks,
            commits,
            targets,
            letters_from,
            records_in,
            watermarks,
            counts,
            totals,
            late_watch,
            ..
        } = self;
        for sink in sinks.iter_mut() {
            sink.poll(&mut |acknowledged| totals.add(acknowledged))?;
            for notice in sink.take_notices() {
                tell(&notice);
            }
        }
        let (mut progressed, mut news) = (false, false);
        let shards = exits
            .iter_mut()
            .zip(watermarks)
            .zip(counts.iter_mut())
            .enumerate();
        for (shard, ((exit, watermark), counts)) in shards {
            // Whose rows come next is not known before they are taken.
            if !have_room(sinks) {
                break;
            }
            let Some(block) = exit.take() else { continue };
            progressed = true;
            match block {
                ToJob::Rows(mut rows) => {
                    totals.hand_over(&mut rows);
                    let target = match target_of(rows.query) {
                        Some(letters) => Some(*letters_from + letters),
                        None => targets[usize::from(rows.query)],
                    };
                    let sink = &mut sinks[target.expect("rows come from queries with a sink")];
                    sink.write(rows, &mut |acknowledged| totals.add(acknowledged))?;
                }
                ToJob::Taken {
                    records,
                    watermark: stands_at,
                } => {
                    *records_in += records;
                    *watermark = stands_at;
                }
                ToJob::Counts(told) => {
                    *counts = *told;
                    news = true;
                }
                ToJob::Cut { epoch, sources } => commits.cut(shard, epoch, sources),
                ToJob::Passed {
                    query,
                    epoch,
                    fired,
                } => commits.passed(shard, query, epoch, fired),
                ToJob::Ingest(recorded) => totals.latency.ingest.merge(&recorded),
                ToJob::Notice(text) => tell(&text),
                // The first is what ended the run; but of bad records of a file that several shards decode, the first of the file.
                ToJob::Failed(error) => match failed {
                    Some(known) if !error.is_before(known) => {}
                    _ => *failed = Some(error),
                },
            }
        }
        if news {
            late_watch.look(counts);
        }
        Ok(progressed)
    }

    fn end(self, asked: Option<End>, failed: Option<Error>, sink_failed: bool) -> Outcome {
        let Running {
            runtime,
            mut sinks,
            mut commits,
            mut totals,
            mut late_watch,
            started,
            ..
        } = self;
        // A panic or a sink that has failed is told at once; what the sinks still hold is not waited for.
        let flushed = match sink_failed || runtime.failure().is_some() {
            true => Ok(()),
            false => sinks
                .iter_mut()
                .try_for_each(|sink| sink.flush(&mut |acknowledged| totals.add(acknowledged))),
        };
        if flushed.is_ok() && !sink_failed && runtime.failure().is_none() {
            assert_eq!(
                totals.unacknowledged(),
                0,
                "flushed sinks have acknowledged every row and every dead letter, once"
            );
        }
        let elapsed = started.elapsed();
        let clean = failed.is_none() && !sink_failed && runtime.failure().is_none();
        let flushed = match clean {
            true => flushed.and_then(|()| commits.finish()),
            false => flushed,
        };
        let (shards, panicked) = match runtime.join() {
            Ok(shards) => (shards, None),
            Err(failure) => (Vec::new(), Some(failure)),
        };
        for shard in &shards {
            totals.latency.ingest.merge(&shard.summary.ingest);
        }
        let counts: Vec<&[QueryCounts]> = shards
            .iter()
            .map(|shard| shard.summary.queries.as_slice())
            .collect();
        late_watch.finish(&counts);
        let result = match (panicked, failed) {
            (Some(failure), _) => Err(Error::Runtime(failure_text(&failure))),
            (None, Some(error)) => Err(error),
            (None, None) => flushed,
        };
        let end = match (&result, asked) {
            // The reader of the rows has gone: as if it had asked to stop.
            (Err(Error::Closed(_)), _) => End::Signal,
            (Err(_), _) => End::Error,
            (Ok(()), Some(end)) => end,
            (Ok(()), None) => End::Input,
        };
        Outcome {
            end,
            result,
            shards,
            rows_out: totals.rows_out(),
            rows_out_by_query: totals.rows_out_by_query().collect(),
            tombstones: totals.tombstones.iter().sum(),
            dead_letters: totals.dead_letters,
            latency: totals.latency,
            elapsed,
        }
    }
}

fn have_room(sinks: &[Box<dyn Sink>]) -> bool {
    sinks.iter().all(|sink| sink.has_room())
}

/// The error of a stop that a sink, which holds so many rows, does not let come to its end.
fn stuck_at(held: u64) -> Error {
    Error::Failed(format!(
        "a sink has taken nothing for {STOP_PATIENCE_S} s since the run was asked to stop: {held} rows that it holds, and those \
         behind them, are not written; is the reader of standard output stopped, or a broker away?"
    ))
}
