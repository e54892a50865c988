//! Which exchange a query gets, what crosses its lanes, and why.
//!
//! | asked for   | grouped by keys                   | one global group | no groups |
//! | ----------- | --------------------------------- | ---------------- | --------- |
//! | auto, smart | sticky if it is right, else hash  | fan_in           | none      |
//! | hash        | hash                              | fan_in           | refused   |
//! | sticky      | sticky if it is right, or refused | refused          | none      |
//! | fan_in      | fan_in                            | fan_in           | refused   |
//! | round_robin | refused                           | refused          | none      |
//!
//! Sticky is right when the stream declares `key.columns` and all of them are columns of GROUP BY: records of one group then
//! have equal key columns, and stand in one partition, which one shard reads.
//!
//! With EMIT FINAL and aggregates that can be merged, partials cross: each shard aggregates what it reads. Else rows do.
//!
//! Law: a strategy that would give wrong groups is refused, at any number of shards.

use datafusion_physical_expr::expressions::Column;

use super::diagnose::{Code, Place};
use super::lower::Lowered;
use crate::config::options::{Late, RequestedExchange};
use crate::error::{Result, Span};
use crate::plan::{
    AggregatePlan, EmitPolicy, ExchangeSend, ExchangeSpec, ExchangeStrategy, Shape,
    SourceConnector, SourceSpec, WindowSpec,
};

/// The exchange of `query` on `shards` shards. `asked` is what was written, `span` where; or the query, if nothing was.
///
/// # Errors
/// `Error::Sql` with V0406 says why what was asked for would give wrong groups.
pub(super) fn exchange(
    query: &Lowered,
    asked: Option<RequestedExchange>,
    late: Late,
    shards: usize,
    place: &Place,
    span: Span,
) -> Result<ExchangeSpec> {
    use ExchangeStrategy::{Auto, FanIn, Hash, None as Nowhere, RoundRobin, Smart, Sticky};
    let refused = |message: String, hint: &str| {
        let hint = Some(hint.to_owned());
        Err(place.error(Code::BadExchange, message, Some(span), hint))
    };
    let requested = strategy(asked);
    let Shape::Aggregate(aggregate) = &query.shape else {
        let reason = match requested {
            Hash | FanIn => {
                return refused(
                    "a query without groups has no key to exchange by".to_owned(),
                    "leave exchange out, or set it to 'auto'",
                );
            }
            RoundRobin => {
                "stateless: partitions are dealt to the shards in turn, and each record is finished on the shard that read it"
            }
            _ => "stateless: each record is finished on the shard that read it",
        };
        return Ok(ExchangeSpec {
            requested,
            strategy: Nowhere,
            send: ExchangeSend::None,
            reason: reason.to_owned(),
        });
    };
    let keys: Vec<&str> = aggregate.keys.iter().map(|key| key.text.as_str()).collect();
    let grouped_by = keys.join(", ");
    let (strategy, reason) = match requested {
        RoundRobin => {
            return refused(
                "round_robin would spread the records of a group over several shards".to_owned(),
                "use exchange = 'hash', or leave it out",
            );
        }
        Sticky if keys.is_empty() => {
            return refused(
                "sticky would leave a part of the one global group on every shard".to_owned(),
                "use exchange = 'fan_in', or leave it out",
            );
        }
        FanIn => (FanIn, "asked for: all records go to one shard".to_owned()),
        _ if keys.is_empty() => (
            FanIn,
            "one global group: all records go to one shard".to_owned(),
        ),
        Hash => (Hash, by_hash(&grouped_by)),
        Auto | Smart | Sticky | Nowhere => match (declared(&query.source, aggregate), requested) {
            (Ok(columns), _) => (
                Sticky,
                format!(
                    "grouped by {grouped_by}: by key.columns = '{columns}' all records of a group are in one partition, and stay \
                     on the shard that reads it; watermarks alone travel"
                ),
            ),
            (Err(why), Sticky) => {
                return refused(
                    format!("sticky needs all records of a group in one partition, and {why}"),
                    "use exchange = 'hash', or leave it out",
                );
            }
            (Err(_), _) => (Hash, by_hash(&grouped_by)),
        },
    };
    let (send, why) = send(strategy, aggregate, query.emit, late, shards);
    Ok(ExchangeSpec {
        requested,
        strategy,
        send,
        reason: format!("{reason}{why}"),
    })
}

fn strategy(asked: Option<RequestedExchange>) -> ExchangeStrategy {
    match asked {
        None | Some(RequestedExchange::Auto) => ExchangeStrategy::Auto,
        Some(RequestedExchange::Hash) => ExchangeStrategy::Hash,
        Some(RequestedExchange::Smart) => ExchangeStrategy::Smart,
        Some(RequestedExchange::Sticky) => ExchangeStrategy::Sticky,
        Some(RequestedExchange::RoundRobin) => ExchangeStrategy::RoundRobin,
        Some(RequestedExchange::FanIn) => ExchangeStrategy::FanIn,
    }
}

fn by_hash(keys: &str) -> String {
    format!("grouped by {keys}: each record goes to the shard that owns its key")
}

/// The columns by which a source keeps all records of a group in one partition, or why it does not.
fn declared(source: &SourceSpec, aggregate: &AggregatePlan) -> std::result::Result<String, String> {
    let stream = &source.stream;
    let columns = match &stream.connector {
        SourceConnector::Kafka(kafka) => kafka.key_columns.as_slice(),
        _ => &[],
    };
    if columns.is_empty() {
        return Err(format!("stream {} declares no key.columns", stream.name));
    }
    let is_grouped_by = |column: &String| {
        aggregate.keys.iter().any(|key| {
            // A key that is computed is another value.
            key.expr
                .downcast_ref::<Column>()
                .is_some_and(|key| source.projected.field(key.index()).name() == column)
        })
    };
    match columns.iter().find(|column| !is_grouped_by(column)) {
        None => Ok(columns.join(", ")),
        Some(column) => Err(format!(
            "the query does not group by {column}, of key.columns of stream {}",
            stream.name
        )),
    }
}

/// What crosses the lanes, and why, as the end of a sentence.
fn send(
    strategy: ExchangeStrategy,
    aggregate: &AggregatePlan,
    emit: EmitPolicy,
    late: Late,
    shards: usize,
) -> (ExchangeSend, &'static str) {
    let mergeable = aggregate
        .aggregates
        .iter()
        .all(|one| one.kind.is_mergeable());
    match (emit, aggregate.window) {
        _ if strategy == ExchangeStrategy::Sticky => (ExchangeSend::None, ""),
        _ if shards == 1 => (ExchangeSend::None, "; with one shard nothing has to move"),
        (EmitPolicy::Changes, _) => (
            ExchangeSend::Rows,
            "; as rows, for EMIT CHANGES emits after each record",
        ),
        _ if emit.updates() => (
            ExchangeSend::Rows,
            "; as rows, for EVERY emits before a window closes",
        ),
        _ if late == Late::Update => (
            ExchangeSend::Rows,
            "; as rows, for late = 'update' emits before a window closes",
        ),
        (EmitPolicy::Final, Some(WindowSpec::Session { .. })) => (
            ExchangeSend::Rows,
            "; as rows, for a session is known where all records of its key are",
        ),
        _ if !mergeable => (
            ExchangeSend::Rows,
            "; as rows, for an aggregate depends on the order of records",
        ),
        (_, Some(_)) => (
            ExchangeSend::Partials,
            "; as partials: each shard aggregates what it reads until a window closes",
        ),
        (_, None) => (
            ExchangeSend::Partials,
            "; as partials: each shard aggregates what it reads until the input ends",
        ),
    }
}

#[cfg(test)]
mod tests {
    use crate::plan::ExchangeSpec;
    use crate::sql::{Settings, plan_script};

    /// The exchange of a query over a Kafka stream with these `key.columns`.
    fn planned(key_columns: &str, exchange: &str, query: &str, shards: usize) -> ExchangeSpec {
        let declared = match key_columns {
            "" => String::new(),
            columns => format!(", key.columns = '{columns}'"),
        };
        let text = format!(
            "CREATE STREAM s (a VARCHAR, b BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts)
             WITH (connector = 'kafka', topic = 't', format = 'json', end = 'latest'{declared});
             SET 'exchange' = '{exchange}';
             {query};"
        );
        let settings = Settings {
            shards,
            job_name: None,
        };
        let script =
            plan_script("test.sql", &text, &settings).expect("a query that can be planned");
        script.job.queries[0].plan.exchange.clone()
    }

    fn named(spec: &ExchangeSpec) -> [&'static str; 3] {
        [
            spec.requested.name(),
            spec.strategy.name(),
            spec.send.name(),
        ]
    }

    const WINDOWED: &str =
        "SELECT a, b, COUNT(*) AS n FROM s GROUP BY a, b WINDOW TUMBLING (SIZE 1 MINUTE)";
    const GLOBAL: &str = "SELECT COUNT(*) AS n FROM s WINDOW TUMBLING (SIZE 1 MINUTE)";
    const STATELESS: &str = "SELECT a FROM s";

    #[test]
    fn a_key_that_is_covered_stays_where_it_is_read() {
        for asked in ["auto", "smart", "sticky"] {
            for columns in ["a", "b", "b, a"] {
                for shards in [1, 3] {
                    let spec = planned(columns, asked, WINDOWED, shards);
                    assert_eq!(named(&spec), [asked, "sticky", "none"], "{columns}");
                    assert_eq!(spec.needs_lanes(shards), shards > 1, "watermarks travel");
                }
            }
        }
        let spec = planned("a", "hash", WINDOWED, 3);
        assert_eq!(named(&spec), ["hash", "hash", "partials"]);
    }

    #[test]
    fn a_key_that_is_computed_or_not_covered_is_exchanged() {
        for (columns, query) in [
            ("", "SELECT a, COUNT(*) AS n FROM s GROUP BY a EMIT FINAL"),
            (
                "a, b",
                "SELECT a, COUNT(*) AS n FROM s GROUP BY a EMIT FINAL",
            ),
            (
                "a",
                "SELECT UPPER(a) AS u, COUNT(*) AS n FROM s GROUP BY UPPER(a) EMIT FINAL",
            ),
        ] {
            for asked in ["auto", "smart"] {
                let spec = planned(columns, asked, query, 3);
                assert_eq!(named(&spec), [asked, "hash", "partials"], "{query}");
                assert!(
                    spec.reason.contains("until the input ends"),
                    "{}",
                    spec.reason
                );
            }
        }
    }

    #[test]
    fn changes_cross_as_rows_and_finals_as_partials() {
        let changes = "SELECT a, COUNT(*) AS n FROM s GROUP BY a";
        let spec = planned("", "auto", changes, 2);
        assert_eq!(named(&spec), ["auto", "hash", "rows"]);
        assert!(spec.reason.contains("EMIT CHANGES"), "{}", spec.reason);
        assert_eq!(
            named(&planned("", "auto", WINDOWED, 2)),
            ["auto", "hash", "partials"]
        );
        assert_eq!(
            named(&planned("", "fan_in", WINDOWED, 2)),
            ["fan_in", "fan_in", "partials"]
        );
        assert_eq!(
            named(&planned("", "auto", WINDOWED, 1)),
            ["auto", "hash", "none"]
        );
    }

    #[test]
    fn a_global_group_lives_on_one_shard_and_no_group_nowhere() {
        for asked in ["auto", "smart", "hash", "fan_in"] {
            assert_eq!(
                named(&planned("a", asked, GLOBAL, 2)),
                [asked, "fan_in", "partials"]
            );
        }
        for asked in ["auto", "smart", "sticky", "round_robin"] {
            let spec = planned("a", asked, STATELESS, 2);
            assert_eq!(named(&spec), [asked, "none", "none"]);
            assert!(!spec.needs_lanes(2));
        }
    }
}
