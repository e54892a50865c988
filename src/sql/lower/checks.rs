//! What a query may not say, though it reads as SQL: windows without event time, bounds before they are known, the clock
//! where it would decide an answer.

use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_expr::Expr;

use super::Query;
use crate::config::limits::OPERATORS_MAX;
use crate::error::{Result, Span};
use crate::plan::clock::CLOCK_FUNCTIONS;
use crate::plan::{EventTimeColumn, SourceConnector, StreamSpec};
use crate::sql::catalog::{IS_FINAL, WINDOW_END, WINDOW_START};
use crate::sql::clause_place::check_before;
use crate::sql::diagnose::{Code, at_word, planner_error};
use crate::sql::emit_clause::at_emit;
use crate::sql::tokens::Tokens;
use crate::sql::window_clause::{at_function, at_window};

/// Whether a clause begins at these tokens.
type BeginsClause = fn(&Tokens<'_>) -> bool;

/// The clauses that may not stand in a subquery, and how they are known.
const CLAUSES_INSIDE: [(&str, BeginsClause); 3] = [
    ("a WINDOW clause", at_window),
    ("an EMIT clause", at_emit),
    ("a window's table function", at_function),
];

impl Query<'_> {
    /// A chain of operators is as deep as it is long, and is planned and evaluated by recursion.
    pub(super) fn refuse_depth(&self) -> Result<()> {
        if self.tokens.operators() <= OPERATORS_MAX {
            return Ok(());
        }
        Err(self.error(
            Code::NotAvailable,
            format!("more than {OPERATORS_MAX} operators in one query: not available"),
            self.tokens.whole_span(),
            Some("write a list of values as x IN (..)"),
        ))
    }

    /// The clauses that were cut out stood where a clause may stand, and there are none in a subquery.
    pub(super) fn check_clauses(&self) -> Result<()> {
        for (name, is_clause) in CLAUSES_INSIDE {
            if let Some(inside) = self.tokens.find_inside(is_clause) {
                return Err(self.error(
                    Code::NotAvailable,
                    format!("{name} inside a subquery is not available yet"),
                    inside.span(),
                    Some("give the inner query a name, CREATE STREAM name AS SELECT .., and read that"),
                ));
            }
        }
        let clause = self.window.as_ref().filter(|window| !window.is_function);
        let window = clause.map(|window| ("WINDOW", window.span));
        let emit = self.emit.as_ref().map(|emit| ("EMIT", emit.span));
        let mut cut: Vec<(&str, Span)> = window.into_iter().chain(emit).collect();
        cut.sort_by_key(|(_, span)| span.start);
        cut.into_iter()
            .try_for_each(|(name, span)| check_before(&self.tokens, name, span))
    }

    /// A windowed query needs an event time, and a time column written in the window must be it.
    pub(super) fn check_event_time(&self, stream: &StreamSpec) -> Result<()> {
        let Some(window) = &self.window else {
            return Ok(());
        };
        let Some(event_time) = &stream.event_time else {
            let name = &stream.name;
            if matches!(stream.connector, SourceConnector::Queries(_)) {
                return Err(self.error(
                    Code::MissingEventTime,
                    format!("a window needs an event time, and the rows of stream {name} have none"),
                    window.span,
                    Some("give each query that writes it a window, or a source with a WATERMARK and no groups"),
                ));
            }
            return Err(self.error(
                Code::MissingEventTime,
                format!("a window needs an event time, and stream {name} has none"),
                window.span,
                Some("declare it in CREATE STREAM: WATERMARK FOR ts AS ts - INTERVAL '5' SECOND"),
            ));
        };
        if let (Some((column, span)), EventTimeColumn::Row) =
            (&window.time_column, event_time.column)
        {
            return Err(self.error(
                Code::BadWindow,
                format!(
                    "the event time of stream {} comes with its rows, and is no column such as {column}",
                    stream.name
                ),
                *span,
                Some("leave it out: WINDOW TUMBLING (SIZE ..); the row of a window has its end - 1 us"),
            ));
        }
        if let (Some((column, span)), EventTimeColumn::Declared(index)) =
            (&window.time_column, event_time.column)
        {
            let declared = stream.columns.field(index).name();
            if column != declared {
                return Err(self.error(
                    Code::BadWindow,
                    format!(
                        "the event time of stream {} is {declared}, not {column}",
                        stream.name
                    ),
                    *span,
                    Some(format!(
                        "write WINDOW TUMBLING ({declared}, ..) or WINDOW TUMBLING (SIZE ..)"
                    )),
                ));
            }
        }
        Ok(())
    }

    /// A SESSION function's PARTITION BY says what GROUP BY says: sessions are of a group.
    pub(super) fn check_partition(&self, keys: &[Expr]) -> Result<()> {
        let Some(window) = &self.window else {
            return Ok(());
        };
        let Some(partition) = &window.partition else {
            return Ok(());
        };
        let grouped: Option<Vec<&str>> = keys
            .iter()
            .map(|key| match key {
                Expr::Column(column) => Some(column.name.as_str()),
                _ => None,
            })
            .collect();
        let same = grouped.is_some_and(|grouped| {
            partition
                .iter()
                .all(|column| grouped.contains(&column.as_str()))
                && grouped
                    .iter()
                    .all(|column| partition.iter().any(|other| other == column))
        });
        if same {
            return Ok(());
        }
        Err(self.error(
            Code::BadWindow,
            "PARTITION BY of SESSION and GROUP BY must name the same columns, for the sessions are those of a group",
            window.span,
            Some("write SESSION(TABLE s PARTITION BY k, DESCRIPTOR(ts), ..) with GROUP BY window_start, window_end, k"),
        ))
    }

    /// What is read of an in-memory stream was written before.
    pub(super) fn check_written(&self, stream: &StreamSpec) -> Result<()> {
        match &stream.connector {
            SourceConnector::Queries(written) if written.queries == 0 => Err(at_word(
                &self.tokens,
                &stream.name,
                Code::UnknownStream,
                format!(
                    "stream {} is in memory, and no query before this one writes it",
                    stream.name
                ),
                Some(format!(
                    "put INSERT INTO {} .. before this query, or say with WITH (connector = ..) where its records come from",
                    stream.name
                )),
            )),
            _ => Ok(()),
        }
    }

    /// Groups are made of records; an updated row says again what an earlier one said.
    pub(super) fn refuse_updates(&self, stream: &StreamSpec) -> Result<()> {
        let Some(writer) = stream.connector.updates() else {
            return Ok(());
        };
        Err(at_word(
            &self.tokens,
            &stream.name,
            Code::Updates,
            format!(
                "the rows of stream {} cannot be aggregated: query {writer} emits changes, so they are updates, not records",
                stream.name
            ),
            Some(format!(
                "let {writer} emit each row once: EMIT FINAL, and not late = 'update'"
            )),
        ))
    }

    /// Whether an expression is one of the window's bounds, and if so, whether it is the end.
    pub(super) fn window_bound(&self, expr: &Expr) -> Option<bool> {
        self.window.as_ref()?;
        let Expr::Column(column) = expr else {
            return None;
        };
        let name = column.name.as_str();
        if WINDOW_END.contains(&name) {
            Some(true)
        } else {
            WINDOW_START.contains(&name).then_some(false)
        }
    }

    /// Refuses the window's bounds and `is_final` where a record is looked at: in `exprs`, which stand behind the word
    /// `clause`, or within the parentheses of a call.
    pub(super) fn refuse_known_later(&self, exprs: &[Expr], clause: Option<&str>) -> Result<()> {
        for column in exprs.iter().flat_map(Expr::column_refs) {
            let name = column.name.as_str();
            let is_bound = WINDOW_START
                .iter()
                .chain(WINDOW_END)
                .any(|bound| *bound == name);
            let (code, message, hint) = if is_bound && self.window.is_some() {
                (
                    Code::BadWindow,
                    format!("{name} is not known before the record is in its window"),
                    "use it in HAVING or SELECT; as a group key it stands alone",
                )
            } else if name == IS_FINAL && self.is_final {
                (
                    Code::BadEmit,
                    "is_final is known when a row leaves, and not of a record".to_owned(),
                    "use it in HAVING or SELECT",
                )
            } else {
                continue;
            };
            let inside = || self.tokens.find_inside(|tokens| tokens.at_word(name));
            let span = match clause {
                Some(clause) => self.tokens.find_word_after(clause, name),
                None => inside().map(|at| at.span()),
            };
            let span = span
                .or_else(|| self.tokens.find_last_word(name))
                .unwrap_or_else(|| self.tokens.whole_span());
            return Err(self.error(code, message, span, Some(hint)));
        }
        Ok(())
    }

    /// A key is computed from one record.
    pub(super) fn refuse_aggregate(&self, key: &Expr) -> Result<()> {
        let is_aggregate = |node: &Expr| Ok(matches!(node, Expr::AggregateFunction(_)));
        if !key
            .exists(is_aggregate)
            .map_err(|error| planner_error(&self.tokens, &error))?
        {
            return Ok(());
        }
        Err(self.error(
            Code::MissingGroupBy,
            "an aggregate may not stand in GROUP BY, which sees one record at a time",
            self.tokens
                .find_call_after("group")
                .unwrap_or_else(|| self.tokens.whole_span()),
            Some("group by columns and expressions over them"),
        ))
    }

    /// An expression looks at one record, or at one group; it cannot run a query.
    pub(super) fn refuse_subquery(&self, expr: &Expr) -> Result<()> {
        let is_subquery = |node: &Expr| {
            Ok(matches!(
                node,
                Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::Exists(_)
            ))
        };
        if !expr
            .exists(is_subquery)
            .map_err(|error| planner_error(&self.tokens, &error))?
        {
            return Ok(());
        }
        Err(self.not_available(
            "SELECT",
            "a subquery in an expression",
            "write its value, or its list of values",
        ))
    }

    /// The clock may not decide which group a record is in, nor what is aggregated: a replay would differ.
    pub(super) fn refuse_clock(&self, expr: &Expr) -> Result<()> {
        let mut found = None;
        expr.apply(|node| {
            if let Expr::ScalarFunction(function) = node
                && CLOCK_FUNCTIONS.contains(&function.func.name())
            {
                found = Some(function.func.name().to_owned());
            }
            Ok(TreeNodeRecursion::Continue)
        })
        .map_err(|error| planner_error(&self.tokens, &error))?;
        match found {
            None => Ok(()),
            Some(name) => Err(at_word(
                &self.tokens,
                &name,
                Code::Plan,
                format!(
                    "{name} may not stand in a key or in an aggregate: the answer would depend on when it ran"
                ),
                Some("use the record's event time".to_owned()),
            )),
        }
    }
}
