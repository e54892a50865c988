//! Warns of queries of which more records are late than `late.warn` allows.
//!
//! Law: while the job runs a query is warned of once, and not before `LATE_WARN_RECORDS_MIN` of its records were judged; the report
//! says how it was in the end.

use super::tell;
use crate::config::limits::LATE_WARN_RECORDS_MIN;
use crate::pipeline::{Counts, QueryCounts};
use crate::plan::JobPlan;

/// The warnings of a run, by what its queries have counted.
pub(super) fn late_warnings(plan: &JobPlan, counts: &[QueryCounts]) -> Vec<String> {
    let queries = plan.queries.iter().zip(counts);
    queries
        .filter_map(|(query, counts)| {
            let warn = query.plan.late_warn?;
            warning(&query.plan.name, warn, counts)
        })
        .collect()
}

/// What to say of a query whose records counted so; `None` if not too many are late.
fn warning(name: &str, warn: u32, counts: &QueryCounts) -> Option<String> {
    let late = counts.late_records + counts.late_after_idle;
    let judged = counts.judged_records.max(1);
    if u128::from(late) * 1_000_000 <= u128::from(judged) * u128::from(warn) {
        return None;
    }
    let percent = late as f64 * 100.0 / judged as f64;
    let allowed = f64::from(warn) / 10_000.0;
    Some(format!(
        "query {name}: {late} of {judged} records are late ({percent:.2} %, and late.warn is at {allowed} %): a larger bound in WATERMARK, \
         or a longer GRACE PERIOD, accepts more of them"
    ))
}

/// The queries that may still be warned of while the job runs.
#[derive(Debug)]
pub(super) struct LateWatch {
    /// Index, name, and the fraction above which is warned, millionths.
    queries: Vec<(usize, String, u32)>,
}

impl LateWatch {
    /// Nothing was said yet.
    pub(super) fn of(plan: &JobPlan) -> LateWatch {
        let queries = plan.queries.iter().enumerate();
        let watched = queries.filter_map(|(index, query)| {
            Some((index, query.plan.name.clone(), query.plan.late_warn?))
        });
        LateWatch {
            queries: watched.collect(),
        }
    }

    /// Looks at what the shards have told, and says what is new of it.
    pub(super) fn look(&mut self, shards: &[Counts]) {
        let of_shards = |query: usize| shards.iter().filter_map(move |one| one.queries.get(query));
        self.look_at(LATE_WARN_RECORDS_MIN, |query| sum(of_shards(query)));
    }

    /// Looks at what they left, and says what was not said.
    pub(super) fn finish(&mut self, shards: &[&[QueryCounts]]) {
        let of_shards = |query: usize| shards.iter().filter_map(move |one| one.get(query));
        self.look_at(1, |query| sum(of_shards(query)));
    }

    fn look_at(&mut self, records_min: u64, counts: impl Fn(usize) -> QueryCounts) {
        self.queries.retain(|(index, name, warn)| {
            let counts = counts(*index);
            let judged = counts.judged_records >= records_min;
            let warning = judged.then(|| warning(name, *warn, &counts)).flatten();
            if let Some(warning) = &warning {
                tell(warning);
            }
            warning.is_none()
        });
    }
}

fn sum<'c>(counts: impl Iterator<Item = &'c QueryCounts>) -> QueryCounts {
    counts
        .copied()
        .fold(QueryCounts::default(), QueryCounts::plus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_warned_of_when_more_than_the_fraction_is_late() {
        let of = |late, judged| {
            let counts = QueryCounts {
                late_records: late,
                judged_records: judged,
                ..QueryCounts::default()
            };
            warning("q", 50_000, &counts)
        };
        assert_eq!(of(5, 100), None, "at the fraction is not above it");
        assert_eq!(of(0, 0), None);
        let said = of(6, 100).expect("a warning");
        assert!(
            said.starts_with(
                "query q: 6 of 100 records are late (6.00 %, and late.warn is at 5 %)"
            ),
            "{said}"
        );
    }
}
