//! How far an input may run ahead of the slowest of the inputs with which it meets in a query (`watermark.max_drift`).
//!
//! ```text
//!   input A --\                                   A is held at   least over its queries of (watermark + forgiven) + drift
//!   input B ---+--> query --> stream --> query    each query's watermark, which its shards exchange anyway, is the least of
//!   input C --/      10:00     grace 5 s   9:59:55    its inputs', less what the windows before it have as grace: `forgiven`
//! ```
//!
//! Laws:
//! 1. The slowest of all inputs that are not idle is never held: a query's watermark plus what is forgiven it is not below that
//!    of its slowest input, whatever way that took. So no input waits for ever: not for another that waits, not for one that is
//!    idle or has ended, for these do not hold the query's watermark.
//! 2. Which answer comes of it is not touched: lateness is decided by a record's own partition. What is held is memory.
//! 3. What is forgiven is the same for all inputs of a query; otherwise two inputs could each wait for the other, by two queries.
//!
//! An input that no grouping query reads is held by nothing: nothing waits in such queries.

use super::flow::Flow;
use crate::plan::{Input, JobPlan, Shape, Target};
use crate::time::Ahead;

/// What holds one input back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alignment {
    drift_us: i64,
    /// The queries that group what comes of it, with the graces that their watermark may lack, microseconds.
    meets: Vec<(usize, i64)>,
}

impl Alignment {
    /// What holds the inputs of the source of that index; `None` where nothing does.
    pub fn of(job: &JobPlan, source: usize) -> Option<Alignment> {
        let drift_us = job.sources[source].stream.time.max_drift_us?;
        let reached = reached_by(job, source);
        let forgiven = forgiven(job);
        let groups = |query: &usize| matches!(job.queries[*query].plan.shape, Shape::Aggregate(_));
        let meets = (0..job.queries.len()).filter(|&query| reached[query]);
        let meets = meets.filter(groups).map(|query| (query, forgiven[query]));
        let meets: Vec<_> = meets.collect();
        (!meets.is_empty()).then_some(Alignment { drift_us, meets })
    }

    /// How far the inputs may go now, as far as is known on this shard.
    pub fn ahead(&self, flow: &Flow) -> Ahead {
        let meets = self.meets.iter();
        let slowest = meets.map(|&(query, forgiven_us)| flow.reached(query).plus_us(forgiven_us));
        Ahead::of(slowest.min().expect("there is one"), self.drift_us)
    }
}

/// For each query, whether event times of the source of that index come to it.
fn reached_by(job: &JobPlan, source: usize) -> Vec<bool> {
    let mut reached = vec![false; job.queries.len()];
    for (place, query) in job.queries.iter().enumerate() {
        reached[place] = match query.input {
            Input::Source { source: read, .. } => read == source,
            Input::Link { link, .. } => {
                let mut writers = job.links[link].writers.iter();
                writers.any(|&writer| reached[writer] && passes_time(job, writer))
            }
        };
    }
    reached
}

/// For each query, by how much its watermark may lack that of its slowest input: the graces on the longest way to it,
/// microseconds.
fn forgiven(job: &JobPlan) -> Vec<i64> {
    let mut forgiven = vec![0_i64; job.queries.len()];
    for (place, query) in job.queries.iter().enumerate() {
        let Target::Link(link) = query.target else {
            continue;
        };
        let grace_us = query.plan.window().map_or(0, |window| window.grace_us());
        let lacks_us = forgiven[place].saturating_add(grace_us);
        for &reader in &job.links[link].readers {
            forgiven[reader] = forgiven[reader].max(lacks_us);
        }
    }
    forgiven
}

/// Whether the rows of `query` have event times: groups without a window have none.
fn passes_time(job: &JobPlan, query: usize) -> bool {
    let plan = &job.queries[query].plan;
    matches!(plan.shape, Shape::Project(_)) || plan.window().is_some()
}

#[cfg(test)]
mod tests;
