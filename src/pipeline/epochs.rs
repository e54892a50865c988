//! The cuts of a shard: where its input stood when the job opened an epoch.
//!
//! ```text
//!   job --EpochHandle--> shard, between two batches:  ToJob::Cut (next offsets)  and  Barrier on every edge of the queries
//!   barriers of all shards have come through a query, and what had fired has left --ToJob::Passed--> job
//! ```
//!
//! Laws:
//! 1. A cut stands between two batches of every source, so all that was taken before has been given to the queries.
//! 2. Nobody waits at a barrier. A cut claims only what has passed: rows of later records may be among those before it, which
//!    makes an acknowledged row repeat after a crash and never lack a record (docs/decisions/0020).
//! 3. After a restart the first barrier, `REBUILT`, follows what is read again, without being asked for, on every shard; normal
//!    work begins when the job opens that epoch, which it does once the barrier has come through everywhere. A shard that was
//!    stopped before never makes that cut, so a job that was knows it.

use super::egress::ToJob;
use super::flow::Flow;
use super::source_port::SourcePort;
use crate::error::Result;
use crate::source::Restart;

use velostream_shards::EpochHandle;

/// The epoch of what is read again after a restart.
pub const REBUILT: u64 = 1;

/// Where one shard stands with cuts.
pub struct Cuts {
    epochs: EpochHandle,
    /// Whether the job reads again, on any shard, and normal work has not begun here.
    rebuilds: bool,
    /// The last epoch that was cut.
    cut: u64,
}

impl Cuts {
    /// None yet, of those that the job opens by `epochs`. With `rebuilds` something is read again first, on this shard or another.
    pub fn new(epochs: EpochHandle, rebuilds: bool) -> Cuts {
        Cuts {
            epochs,
            rebuilds,
            cut: 0,
        }
    }

    /// Cuts if there is one to make; to be called between two batches. Whether anything was done.
    pub fn cross(&mut self, sources: &mut [SourcePort], flow: &mut Flow) -> Result<bool> {
        let opened = self.epochs.current();
        if self.rebuilds {
            return self.cross_rebuilt(opened, sources, flow);
        }
        if opened <= self.cut {
            return Ok(false);
        }
        self.make(opened, sources, flow);
        Ok(true)
    }

    /// The last cut: nothing will be taken, and nothing is left to do. Made once.
    pub fn finish(&mut self, sources: &mut [SourcePort], flow: &mut Flow) {
        if !self.is_finished() {
            self.make(u64::MAX, sources, flow);
        }
    }

    /// Whether the last was made.
    pub fn is_finished(&self) -> bool {
        self.cut == u64::MAX
    }

    /// Marks the end of what is read again, and begins normal work when the job says so.
    fn cross_rebuilt(
        &mut self,
        opened: u64,
        sources: &mut [SourcePort],
        flow: &mut Flow,
    ) -> Result<bool> {
        let is = |source: &SourcePort, restart| source.restart() == Some(restart);
        if sources.iter().any(|source| is(source, Restart::Rebuilding)) {
            return Ok(false);
        }
        if self.cut < REBUILT {
            self.make(REBUILT, sources, flow);
            return Ok(true);
        }
        if opened < REBUILT {
            return Ok(false);
        }
        self.rebuilds = false;
        for source in sources {
            if is(source, Restart::Rebuilt) && !source.is_closed() {
                source.go_on()?;
            }
        }
        Ok(true)
    }

    fn make(&mut self, epoch: u64, sources: &mut [SourcePort], flow: &mut Flow) {
        assert!(epoch > self.cut, "epochs go on");
        self.cut = epoch;
        let sources = sources.iter_mut().map(|source| source.cut(flow, epoch));
        let sources = sources.collect();
        flow.exit().post(ToJob::Cut { epoch, sources });
    }
}
