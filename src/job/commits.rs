//! Committing offsets: when it may be said that a record will never be needed again.
//!
//! ```text
//!   Resting --interval--> Open: the epoch is told to the shards
//!   Open --every shard's Cut, and Passed of every shard and query--> Sealed: what is to be committed is known
//!   Sealed --all rows handed over before are acknowledged--> Asked --the coordinator keeps it--> Resting
//! ```
//!
//! Laws (docs/decisions/0020 argues them):
//! 1. A commit (next, done) of a partition is asked for only when acknowledged are all rows of windows that close at or below
//!    `done`, and every row and dead letter caused by a record below `next`.
//! 2. `done` is the least over the shards that own keys, and never beyond the own watermark of a bounded partition before its
//!    end. Beyond that of one which may still speak it is where silence, and the clock, closed windows. It never goes back.
//! 3. The committed offset is one before which no record falls into a window that closes after `done`.
//! 4. One epoch is open at a time, so rows of two are under way at most.
//!
//! Nothing here waits, but for the last commit (`finish`).

use std::collections::BTreeMap;
use std::time::Duration;

use velostream_shards::EpochHandle;

use super::ledger::Ledger;
use super::restart::Restart;
use crate::config::limits::COMMIT_REFRESH_S;
use crate::error::Result;
use crate::kafka::{CommitOutcome, Committed, GroupOffsets};
use crate::pipeline::REBUILT;
use crate::source::PartitionCut;
use crate::source::kafka::{Ladder, PartitionCommit, Range, Rung};
use crate::time::Watermark;
use crate::window::Spans;

/// Where commits go.
pub(super) trait Group: Send {
    /// Asks for a commit; one at a time.
    fn commit(&mut self, offsets: &[Committed]);

    /// What became of it, once. Does not wait.
    fn poll(&mut self) -> Option<CommitOutcome>;

    /// Commits and waits for it.
    fn commit_now(&mut self, offsets: &[Committed]) -> Result<()>;

    /// Its name.
    fn name(&self) -> &str;
}

impl Group for GroupOffsets {
    fn commit(&mut self, offsets: &[Committed]) {
        GroupOffsets::commit(self, offsets);
    }

    fn poll(&mut self) -> Option<CommitOutcome> {
        GroupOffsets::poll(self, Duration::ZERO)
    }

    fn commit_now(&mut self, offsets: &[Committed]) -> Result<()> {
        GroupOffsets::commit_now(self, offsets)
    }

    fn name(&self) -> &str {
        self.group()
    }
}

/// The commits of a job.
pub(super) struct Commits {
    epochs: EpochHandle,
    interval_ns: u64,
    streams: Vec<Stream>,
    /// Whether what is read again has not come through everywhere yet.
    rebuilding: bool,
    /// The epoch that was opened last.
    opened: u64,
    /// When, monotonic clock, nanoseconds.
    opened_ns: u64,
    state: State,
    /// By shard.
    cuts: Vec<Told<Vec<Vec<PartitionCut>>>>,
    /// By shard, then by query of the job.
    passed: Vec<Vec<Told<Watermark>>>,
}

/// Where the epoch stands that was opened last.
#[derive(Debug, PartialEq, Eq)]
enum State {
    Resting,
    Open,
    /// What is to be committed, by stream, and the mark of the rows that must be acknowledged before.
    Sealed(Vec<Vec<PartitionCommit>>, u8),
    /// What was asked for, by stream; none of a stream whose coordinator has answered.
    Asked(Vec<Vec<PartitionCommit>>),
}

/// One stream whose offsets are committed.
struct Stream {
    source: usize,
    fingerprint: u64,
    queries: Vec<(usize, Option<Spans>)>,
    done: Watermark,
    partitions: BTreeMap<i32, Ladder>,
    /// What the coordinator keeps, as far as this run has asked for it.
    kept: Vec<PartitionCommit>,
    /// When it was last asked, monotonic clock, nanoseconds.
    asked_ns: u64,
    /// Whether a failure was told that no success has followed.
    failing: bool,
    group: Box<dyn Group>,
}

/// What a shard told last of an epoch, and what it told at its end: an open epoch may still need the former.
#[derive(Clone, Debug)]
struct Told<T> {
    at: Option<(u64, T)>,
    last: Option<T>,
}

impl<T> Told<T> {
    fn nothing() -> Told<T> {
        Told {
            at: None,
            last: None,
        }
    }

    fn tell(&mut self, epoch: u64, value: T) {
        match epoch {
            u64::MAX => self.last = Some(value),
            epoch => self.at = Some((epoch, value)),
        }
    }

    /// What holds of `epoch`: what was told of it, else the end if that came first.
    fn of(&self, epoch: u64) -> Option<&T> {
        let at = self.at.as_ref().filter(|(at, _)| *at >= epoch);
        at.map(|(_, value)| value).or(self.last.as_ref())
    }
}

impl Commits {
    /// For the streams of `restarts`, on so many shards, of a job with so many queries. An epoch is opened by `epochs` every
    /// `interval`. With `rebuilding` nothing is committed before what is read again has come through.
    pub(super) fn new(
        restarts: Vec<Restart>,
        shards: usize,
        queries: usize,
        epochs: EpochHandle,
        interval: Duration,
        rebuilding: bool,
    ) -> Commits {
        let streams = restarts.into_iter().map(|restart| Stream {
            source: restart.source,
            fingerprint: restart.fingerprint,
            queries: restart.queries,
            done: restart.resumed.done,
            partitions: ladders(&restart.resumed.ranges),
            kept: Vec::new(),
            asked_ns: 0,
            failing: false,
            group: restart.group,
        });
        Commits {
            epochs,
            interval_ns: interval.as_nanos() as u64,
            streams: streams.collect(),
            rebuilding,
            opened: 0,
            opened_ns: 0,
            state: State::Resting,
            cuts: (0..shards).map(|_| Told::nothing()).collect(),
            passed: vec![vec![Told::nothing(); queries]; shards],
        }
    }

    /// A shard told where its sources stood at the cut of `epoch`.
    pub(super) fn cut(&mut self, shard: usize, epoch: u64, sources: Vec<Vec<PartitionCut>>) {
        for stream in &mut self.streams {
            for cut in &sources[stream.source] {
                let ladder = stream.partitions.entry(cut.partition);
                // One that was found while the job ran: nothing of it stands before its first rung.
                let ladder = ladder.or_insert_with(|| {
                    Ladder::new(Rung {
                        offset: cut.rungs.first().map_or(cut.next, |rung| rung.offset),
                        highest_us: i64::MIN,
                        watermark: Watermark::NONE,
                    })
                });
                ladder.extend(&cut.rungs);
            }
        }
        self.cuts[shard].tell(epoch, sources);
    }

    /// A shard told that `epoch` has come through a query, whose windows up to `fired` have left it.
    pub(super) fn passed(&mut self, shard: usize, query: usize, epoch: u64, fired: Watermark) {
        self.passed[shard][query].tell(epoch, fired);
    }

    /// Does what can be done now (monotonic clock, nanoseconds) and waits for nothing. Tells by `tell` what the operator should
    /// know. `Error::Connector` when a group refuses commits for good.
    pub(super) fn step(
        &mut self,
        now_ns: u64,
        ledger: &mut Ledger,
        tell: &mut dyn FnMut(String),
    ) -> Result<()> {
        if self.streams.is_empty() {
            return Ok(());
        }
        match std::mem::replace(&mut self.state, State::Resting) {
            State::Resting if self.rebuilding => {
                if self.is_rebuilt() {
                    self.rebuilding = false;
                    self.open(REBUILT, now_ns);
                }
            }
            State::Resting => {
                if now_ns.saturating_sub(self.opened_ns) >= self.interval_ns {
                    self.open(self.opened + 1, now_ns);
                    self.state = State::Open;
                }
            }
            State::Open => {
                self.state = match self.is_complete(self.opened) {
                    true => State::Sealed(self.seal(self.opened), ledger.seal()),
                    false => State::Open,
                };
            }
            State::Sealed(commits, mark) => {
                self.state = match ledger.is_settled(mark) {
                    true => self.ask(commits, now_ns),
                    false => State::Sealed(commits, mark),
                };
            }
            State::Asked(commits) => self.state = self.hear(commits, tell)?,
        }
        Ok(())
    }

    /// Every shard has ended and everything is acknowledged: commits how far they came, and waits for that. Nothing is said of
    /// a run that was stopped before it had rebuilt what was open.
    pub(super) fn finish(&mut self) -> Result<()> {
        if self.streams.is_empty() || self.rebuilding {
            return Ok(());
        }
        assert!(
            self.is_complete(u64::MAX),
            "a shard that has ended has told where it stood"
        );
        let commits = self.seal(u64::MAX);
        for (stream, commits) in self.streams.iter_mut().zip(commits) {
            if commits != stream.kept {
                stream.group.commit_now(&offsets(&commits))?;
                stream.kept = commits;
            }
        }
        Ok(())
    }

    fn open(&mut self, epoch: u64, now_ns: u64) {
        self.opened = epoch;
        self.opened_ns = now_ns;
        self.epochs.open(epoch);
    }

    /// Whether every shard has read again all that it was to read, and that has come through. One that was stopped before has
    /// told its end and no cut.
    fn is_rebuilt(&self) -> bool {
        self.cuts.iter().all(|cut| cut.at.is_some()) && self.has_passed(REBUILT)
    }

    /// Whether `epoch` has come through every query of every shard.
    fn has_passed(&self, epoch: u64) -> bool {
        let mut queries = self.streams.iter().flat_map(|stream| &stream.queries);
        queries.all(|(query, _)| {
            let mut shards = self.passed.iter();
            shards.all(|queries| queries[*query].of(epoch).is_some())
        })
    }

    /// The same, and every shard has told where its sources stood.
    fn is_complete(&self, epoch: u64) -> bool {
        self.cuts.iter().all(|cut| cut.of(epoch).is_some()) && self.has_passed(epoch)
    }

    /// What is to be committed at `epoch`, by stream.
    fn seal(&mut self, epoch: u64) -> Vec<Vec<PartitionCommit>> {
        let Commits {
            streams,
            cuts,
            passed,
            ..
        } = self;
        let cuts: Vec<_> = cuts.iter().map(|cut| cut.of(epoch)).collect();
        let fired = |query: usize| {
            let shards = passed.iter().map(|queries| queries[query].of(epoch));
            shards
                .map(|fired| *fired.expect("the epoch is complete"))
                .min()
        };
        let seal = |stream: &mut Stream| {
            let partitions = cuts.iter().flat_map(|cut| {
                let sources = cut.expect("the epoch is complete");
                &sources[stream.source]
            });
            let partitions: Vec<&PartitionCut> = partitions.collect();
            stream.seal(&partitions, &fired)
        };
        streams.iter_mut().map(seal).collect()
    }

    /// Asks for what is not kept already, and now and then for that too.
    fn ask(&mut self, mut commits: Vec<Vec<PartitionCommit>>, now_ns: u64) -> State {
        let refresh_ns = COMMIT_REFRESH_S * 1_000_000_000;
        for (stream, commits) in self.streams.iter_mut().zip(&mut commits) {
            if *commits == stream.kept && now_ns.saturating_sub(stream.asked_ns) < refresh_ns {
                commits.clear();
            }
            if !commits.is_empty() {
                stream.asked_ns = now_ns;
                plant_torn_commit(self.opened, stream.group.as_mut(), commits);
                stream.group.commit(&offsets(commits));
            }
        }
        match commits.iter().all(Vec::is_empty) {
            true => State::Resting,
            false => State::Asked(commits),
        }
    }

    fn hear(
        &mut self,
        mut asked: Vec<Vec<PartitionCommit>>,
        tell: &mut dyn FnMut(String),
    ) -> Result<State> {
        for (stream, asked) in self.streams.iter_mut().zip(&mut asked) {
            if asked.is_empty() {
                continue;
            }
            let Some(outcome) = stream.group.poll() else {
                continue;
            };
            let asked = std::mem::take(asked);
            let failed = match outcome {
                CommitOutcome::Kept => {
                    stream.kept = asked;
                    None
                }
                CommitOutcome::Failed(reason) => Some(reason),
                CommitOutcome::Refused(error) => return Err(error),
            };
            let failing = failed.is_some();
            match failed {
                Some(reason) if !stream.failing => tell(format!(
                    "the offsets of group {} could not be committed ({reason}); trying again",
                    stream.group.name()
                )),
                None if stream.failing => tell(format!(
                    "the offsets of group {} are committed again",
                    stream.group.name()
                )),
                _ => {}
            }
            stream.failing = failing;
        }
        Ok(match asked.iter().all(Vec::is_empty) {
            true => State::Resting,
            false => State::Asked(asked),
        })
    }
}

impl Stream {
    /// What is to be committed where the partitions stand at `cuts`; `fired` says up to where the windows of a query have left
    /// every shard.
    fn seal(
        &mut self,
        cuts: &[&PartitionCut],
        fired: &dyn Fn(usize) -> Option<Watermark>,
    ) -> Vec<PartitionCommit> {
        let windows = self.queries.iter();
        let windows = windows.filter_map(|(query, spans)| Some((*query, (*spans)?)));
        let windows: Vec<(usize, Spans)> = windows.collect();
        let mut open_from = i64::MAX;
        if !windows.is_empty() {
            let fired = windows.iter().filter_map(|(query, _)| fired(*query));
            let bounded = cuts.iter().filter(|cut| cut.bounded);
            let before_end = bounded.map(|cut| cut.watermark);
            let done = fired.chain(before_end).min().unwrap_or(Watermark::NONE);
            assert!(
                done < Watermark::END,
                "only a read that has an end comes to it"
            );
            self.done = self.done.max(done);
            let starts = windows.iter().map(|(_, spans)| spans.open_from(self.done));
            open_from = starts.min().expect("there is a window");
        }
        let mut commits: Vec<PartitionCommit> = cuts
            .iter()
            .map(|cut| {
                let ladder = self.partitions.get_mut(&cut.partition);
                let ladder = ladder.expect("every cut has come by `Commits::cut`");
                ladder.leave_below(open_from);
                let end = Rung {
                    offset: cut.next,
                    highest_us: cut.highest_us,
                    watermark: cut.watermark,
                };
                let seek = match end.highest_us < open_from {
                    true => end,
                    false => ladder.from(open_from),
                };
                // Rungs may have been climbed behind this cut.
                let seek = if seek.offset < cut.next { seek } else { end };
                PartitionCommit {
                    partition: cut.partition,
                    seek: seek.offset,
                    fingerprint: self.fingerprint,
                    done: self.done,
                    next: cut.next,
                    watermark_at_seek: seek.watermark,
                    watermark_at_next: cut.watermark,
                }
            })
            .collect();
        commits.sort_unstable_by_key(|commit| commit.partition);
        commits
    }
}

/// A ladder for each partition, which stands where it is read from first.
fn ladders(ranges: &[Range]) -> BTreeMap<i32, Ladder> {
    let ladder = |range: &Range| {
        let restored = range.restored;
        let base = Rung {
            offset: range.start,
            highest_us: i64::MIN,
            watermark: restored.map_or(Watermark::NONE, |restored| restored.watermark_at_start),
        };
        (range.partition, Ladder::new(base))
    };
    ranges.iter().map(ladder).collect()
}

/// The commits as a group keeps them.
pub(super) fn offsets(commits: &[PartitionCommit]) -> Vec<Committed> {
    let offset = |commit: &PartitionCommit| Committed {
        partition: commit.partition,
        offset: commit.seek,
        metadata: commit.metadata(),
    };
    commits.iter().map(offset).collect()
}

/// The fault that tests plant: with `VELO_PLANT_TORN_COMMIT=N` the commit of epoch N or the next one reaches every second
/// partition, and the process is gone.
#[cfg(feature = "checks")]
fn plant_torn_commit(epoch: u64, group: &mut dyn Group, commits: &[PartitionCommit]) {
    let planted = std::env::var("VELO_PLANT_TORN_COMMIT").ok();
    let planted: Option<u64> = planted.and_then(|epoch| epoch.parse().ok());
    if planted.is_some_and(|planted| epoch >= planted) {
        let half: Vec<PartitionCommit> = commits.iter().copied().step_by(2).collect();
        group
            .commit_now(&offsets(&half))
            .expect("the test's broker answers");
        eprintln!("velo: planted by VELO_PLANT_TORN_COMMIT");
        std::process::abort();
    }
}

#[cfg(not(feature = "checks"))]
fn plant_torn_commit(_epoch: u64, _group: &mut dyn Group, _commits: &[PartitionCommit]) {}

#[cfg(test)]
mod tests;
