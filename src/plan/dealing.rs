//! Whether the records of a file are dealt to all shards, and why.
//!
//! | the queries that read it                           | the file is                                               |
//! | -------------------------------------------------- | --------------------------------------------------------- |
//! | all group under EMIT FINAL                         | dealt if it is asked: one shard reads, all shards decode  |
//! | one emits changes, or its rows one for each record | read and decoded by one shard, in line order              |
//!
//! It is asked by the option `deal`, for it does not always pay: the shard that reads scans each record for its event time, which
//! is most of the work of a narrow query (docs/decisions/0019).
//!
//! Law: records are dealt only where the answer does not depend on the order in which different shards take them, which is
//! that of no query whose rows leave while records come.

use super::{Plan, Shape, SourceConnector, StreamSpec};

/// What was decided of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dealing {
    /// Whether its records are dealt, if there is more than one shard.
    pub dealt: bool,
    /// Why, in one clause.
    pub reason: String,
}

impl Dealing {
    /// What is right for a file that `readers` read; `None` for what is no file.
    pub(crate) fn of<'p>(
        stream: &StreamSpec,
        readers: impl Iterator<Item = &'p Plan>,
    ) -> Option<Dealing> {
        let SourceConnector::File(options) = &stream.connector else {
            return None;
        };
        let not_asked = (!options.deal).then(|| "its option deal is not 'true'".to_owned());
        let told = watermark_hindrance(stream).map(str::to_owned);
        let hindrances = not_asked.into_iter().chain(told);
        let mut hindrances = hindrances.chain(readers.filter_map(hindrance));
        Some(match hindrances.next() {
            Some(reason) => Dealing {
                dealt: false,
                reason,
            },
            None => Dealing {
                dealt: true,
                reason: "every query that reads it groups under EMIT FINAL".to_owned(),
            },
        })
    }

    /// Whether its records are dealt to so many shards.
    pub fn deals(&self, shards: usize) -> bool {
        shards > 1 && self.dealt
    }
}

/// What in the watermark of `stream` forbids that its records are dealt: who deals decodes no column but the event time, and has
/// no room to wait in.
fn watermark_hindrance(stream: &StreamSpec) -> Option<&'static str> {
    match (
        stream.watermark_emit.is_by_record(),
        stream.time.max_drift_us,
    ) {
        (false, _) => Some("its watermark.emit is not 'record'"),
        (_, Some(_)) => Some("it has a watermark.max_drift"),
        (true, None) => None,
    }
}

/// What in `plan` forbids that the records which it reads are dealt.
fn hindrance(plan: &Plan) -> Option<String> {
    let Shape::Aggregate(aggregate) = &plan.shape else {
        return Some(format!("query {} has no groups", plan.name));
    };
    let mut aggregates = aggregate.aggregates.iter();
    match plan.updates() {
        true => Some(format!("query {} emits changes", plan.name)),
        false if aggregates.all(|one| one.kind.is_mergeable()) => None,
        false => Some(format!(
            "an aggregate of query {} depends on the order of records",
            plan.name
        )),
    }
}
