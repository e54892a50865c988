//! Hidden columns in a query: named they are read, and no part of `*`.
//!
//! Law: the planner knows of them only where the query's text names one, so a query that does not is planned as if there were
//! none. Where it does, each `*` over a stream leaves them out.

use datafusion_common::{DataFusionError, SchemaError};
use datafusion_sql::sqlparser::ast::{
    ExcludeSelectItem, Ident, ObjectName, Query as Tree, Select, SelectItem, SetExpr, TableFactor,
    WildcardAdditionalOptions,
};

use super::Query;
use crate::error::Error;
use crate::plan::{HIDDEN_NAMES, SourceConnector, StreamSpec};
use crate::sql::catalog::Catalog;
use crate::sql::diagnose::{Code, at_word};
use crate::sql::tokens::Tokens;

/// Whether the text names a hidden column.
pub(super) fn names_hidden(tokens: &Tokens<'_>) -> bool {
    let mut names = HIDDEN_NAMES.iter();
    names.any(|name| tokens.find_last_word(name).is_some())
}

/// Leaves the hidden columns out of each `*` in `tree` that stands for the columns of a stream.
pub(super) fn leave_out(tree: &mut Tree, catalog: &Catalog<'_>) {
    let mut named = Vec::new();
    within(tree, catalog, &mut named);
}

/// `named` are the queries that WITH names, which hide streams of the same name.
fn within(tree: &mut Tree, catalog: &Catalog<'_>, named: &mut Vec<String>) {
    if let Some(with) = &mut tree.with {
        for table in &mut with.cte_tables {
            within(&mut table.query, catalog, named);
            named.push(folded(&table.alias.name));
        }
    }
    match tree.body.as_mut() {
        SetExpr::Query(query) => within(query, catalog, named),
        SetExpr::Select(select) => within_select(select, catalog, named),
        _ => {}
    }
}

fn within_select(select: &mut Select, catalog: &Catalog<'_>, named: &mut Vec<String>) {
    for table in &mut select.from {
        match &mut table.relation {
            TableFactor::Derived { subquery, .. } => within(subquery, catalog, named),
            TableFactor::Table { name, .. } => {
                let Some(name) = name.0.last().and_then(|part| part.as_ident()).map(folded) else {
                    continue;
                };
                let stream = catalog
                    .streams
                    .get(&name)
                    .filter(|_| !named.contains(&name));
                let Some(stream) = stream else { continue };
                for item in &mut select.projection {
                    if let SelectItem::Wildcard(options)
                    | SelectItem::QualifiedWildcard(_, options) = item
                    {
                        exclude(options, stream);
                    }
                }
            }
            _ => {}
        }
    }
}

fn exclude(options: &mut WildcardAdditionalOptions, stream: &StreamSpec) {
    let mut excluded = match options.opt_exclude.take() {
        None => Vec::new(),
        Some(ExcludeSelectItem::Single(one)) => vec![one],
        Some(ExcludeSelectItem::Multiple(several)) => several,
    };
    for hidden in stream.hidden() {
        let name = ObjectName::from(vec![Ident::new(hidden.name())]);
        if !excluded.contains(&name) {
            excluded.push(name);
        }
    }
    options.opt_exclude = (!excluded.is_empty()).then_some(ExcludeSelectItem::Multiple(excluded));
}

/// The name that an identifier means.
pub(super) fn folded(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

impl Query<'_> {
    /// Why a hidden column that the planner does not find is not there.
    pub(super) fn hidden_absent(
        &self,
        error: &DataFusionError,
        catalog: &Catalog<'_>,
    ) -> Option<Error> {
        let DataFusionError::SchemaError(problem, _) = error.find_root() else {
            return None;
        };
        let SchemaError::FieldNotFound { field, .. } = problem.as_ref() else {
            return None;
        };
        let name = HIDDEN_NAMES.iter().find(|name| **name == field.name())?;
        let named = |(stream, _): &(&String, _)| self.tokens.find_last_word(stream).is_some();
        let (_, stream) = catalog.streams.iter().find(named)?;
        let (code, says, hint) = match (&stream.connector, *name) {
            (SourceConnector::Kafka(_), "_headers") => (
                Code::NotAvailable,
                "the hidden column _headers is not available yet: it would be a MAP, and there is none".to_owned(),
                "_timestamp, _partition, _offset, _key and _topic are",
            ),
            (SourceConnector::Queries(_), _) => (
                Code::UnknownColumn,
                format!("stream {} is in memory, and its rows have no {name}", stream.name),
                "select it in the query that reads the topic, under a name of its own",
            ),
            _ => (
                Code::UnknownColumn,
                format!("the records of stream {} have no {name}: only those of a Kafka topic do", stream.name),
                "_partition (0 for a file) and _offset (the line) are there",
            ),
        };
        Some(at_word(
            &self.tokens,
            name,
            code,
            says,
            Some(hint.to_owned()),
        ))
    }
}
