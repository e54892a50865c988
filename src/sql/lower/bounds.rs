//! The columns that a query has besides those of its stream, in its syntax tree: the window's bounds, and `is_final`.
//!
//! ```text
//!   SELECT c, COUNT(*) FROM (SELECT customer AS c          FROM s) GROUP BY c              WINDOW ..
//!   SELECT c, COUNT(*) FROM (SELECT customer AS c, <added> FROM s) GROUP BY c, <added>
//! ```
//!
//! Law: they are added where they are not yet, so that each reaches the groups from below. A name that could as well be a
//! declared column is refused, wherever it is written.

use std::ops::ControlFlow;

use datafusion_expr::planner::ContextProvider;
use datafusion_sql::sqlparser::ast::{
    self, Ident, SelectItem, SetExpr, TableAlias, TableAliasColumnDef, TableFactor,
    visit_expressions, visit_relations,
};

use super::Query;
use super::hidden::folded;
use crate::error::{Error, Result, Span};
use crate::sql::catalog::{Catalog, IS_FINAL, WINDOW_END, WINDOW_START};
use crate::sql::diagnose::Code;

/// Adds the window's bounds, and whether a row is final, to GROUP BY and to the subqueries of `tree`.
pub(super) fn add(tree: &mut ast::Query, text: &Query<'_>, catalog: &Catalog<'_>) -> Result<()> {
    let bounds = WINDOW_START.iter().chain(WINDOW_END).copied();
    let bounds = bounds.filter(|_| text.window.is_some());
    let names: Vec<&'static str> = bounds.chain(text.is_final.then_some(IS_FINAL)).collect();
    text.refuse_ambiguous(tree, catalog, &names)?;
    let adding = Adding {
        text,
        catalog,
        names,
    };
    adding.to_groups(tree)?;
    adding.below(tree)
}

struct Adding<'q, 't, 'c> {
    text: &'q Query<'t>,
    catalog: &'q Catalog<'c>,
    names: Vec<&'static str>,
}

impl Adding<'_, '_, '_> {
    fn to_groups(&self, tree: &mut ast::Query) -> Result<()> {
        let SetExpr::Select(select) = tree.body.as_mut() else {
            return Err(self.text.not_available(
                "UNION",
                "UNION, INTERSECT and EXCEPT",
                "write what each SELECT makes with INSERT INTO the same stream",
            ));
        };
        let ast::GroupByExpr::Expressions(expressions, _) = &mut select.group_by else {
            return Err(self.text.not_available(
                "GROUP",
                "GROUP BY ALL with a window",
                "name the columns",
            ));
        };
        self.refuse_is_final_as_key(expressions)?;
        for name in &self.names {
            let ident = ast::Expr::Identifier(Ident::new(*name));
            if !expressions.contains(&ident) {
                expressions.push(ident);
            }
        }
        Ok(())
    }

    fn refuse_is_final_as_key(&self, keys: &[ast::Expr]) -> Result<()> {
        if !self.text.is_final {
            return Ok(());
        }
        for key in keys {
            let found = visit_expressions(key, |expr| match named(expr) {
                Some(ident) if folded(ident) == IS_FINAL => ControlFlow::Break(ident.clone()),
                _ => ControlFlow::Continue(()),
            });
            if let ControlFlow::Break(ident) = found {
                return Err(self.text.error(
                    Code::BadEmit,
                    "is_final is known when a row leaves, and makes no group",
                    self.text.span_of(&ident),
                    Some("leave it out of GROUP BY; it may stand in SELECT and HAVING"),
                ));
            }
        }
        Ok(())
    }

    /// To what `tree` reads.
    fn below(&self, tree: &mut ast::Query) -> Result<()> {
        for table in tree.with.iter_mut().flat_map(|with| &mut with.cte_tables) {
            self.to_subquery(&mut table.query)?;
            self.to_alias(&mut table.alias);
        }
        match tree.body.as_mut() {
            SetExpr::Query(query) => self.below(query),
            SetExpr::Select(select) => {
                for table in &mut select.from {
                    if let TableFactor::Derived {
                        subquery, alias, ..
                    } = &mut table.relation
                    {
                        self.to_subquery(subquery)?;
                        alias.iter_mut().for_each(|alias| self.to_alias(alias));
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn to_subquery(&self, tree: &mut ast::Query) -> Result<()> {
        self.below(tree)?;
        self.to_select(&mut tree.body)
    }

    fn to_select(&self, body: &mut SetExpr) -> Result<()> {
        let select = match body {
            SetExpr::Query(query) => return self.to_select(&mut query.body),
            SetExpr::Select(select) => select,
            // The planner's plan of it is refused.
            _ => return Ok(()),
        };
        if self.aggregates(select) {
            return Err(self.text.not_available(
                "FROM",
                "an aggregation of an aggregation",
                "make the inner query a stream, CREATE STREAM name AS SELECT .., and aggregate that",
            ));
        }
        let is_wildcard = |item: &SelectItem| {
            matches!(
                item,
                SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)
            )
        };
        if !select.projection.iter().any(is_wildcard) {
            let names = self.names.iter().copied();
            let items = names.map(|name| ast::Expr::Identifier(Ident::new(name)));
            select.projection.extend(items.map(SelectItem::UnnamedExpr));
        }
        Ok(())
    }

    /// A list of column names behind an alias names all columns.
    fn to_alias(&self, alias: &mut TableAlias) {
        if alias.columns.is_empty() {
            return;
        }
        let names = self.names.iter();
        alias.columns.extend(names.map(|name| TableAliasColumnDef {
            name: Ident::new(*name),
            data_type: None,
        }));
    }

    fn aggregates(&self, select: &ast::Select) -> bool {
        let groups = match &select.group_by {
            ast::GroupByExpr::Expressions(expressions, _) => !expressions.is_empty(),
            ast::GroupByExpr::All(_) => true,
        };
        let called = visit_expressions(&select.projection, |expr| match expr {
            ast::Expr::Function(function) if self.is_aggregate(function) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        });
        groups || called.is_break()
    }

    fn is_aggregate(&self, function: &ast::Function) -> bool {
        let name = function.name.0.last().and_then(|part| part.as_ident());
        name.is_some_and(|name| self.catalog.get_aggregate_meta(&folded(name)).is_some())
    }
}

impl Query<'_> {
    /// Refuses each of `names` that is written where it is a declared column too.
    fn refuse_ambiguous(
        &self,
        tree: &ast::Query,
        catalog: &Catalog<'_>,
        names: &[&'static str],
    ) -> Result<()> {
        let mut clashes: Vec<(&'static str, &str)> = Vec::new();
        let _ = visit_relations(tree, |relation| {
            let name = relation.0.last().and_then(|part| part.as_ident());
            if let Some(stream) = name.and_then(|name| catalog.streams.get(&folded(name))) {
                let declared = |name: &&&'static str| stream.columns.index_of(name).is_ok();
                let declared = names.iter().filter(declared);
                clashes.extend(declared.map(|name| (*name, stream.name.as_str())));
            }
            ControlFlow::<()>::Continue(())
        });
        if clashes.is_empty() {
            return Ok(());
        }
        let found = visit_expressions(tree, |expr| {
            let clash = named(expr).and_then(|ident| {
                let name = folded(ident);
                let clash = clashes.iter().find(|(clash, _)| *clash == name)?;
                Some((self.span_of(ident), *clash))
            });
            match clash {
                Some(clash) => ControlFlow::Break(clash),
                None => ControlFlow::Continue(()),
            }
        });
        match found {
            ControlFlow::Break((span, (name, stream))) => {
                Err(self.ambiguous(span, name, stream, &clashes))
            }
            ControlFlow::Continue(()) => Ok(()),
        }
    }

    fn ambiguous(&self, span: Span, name: &str, stream: &str, clashes: &[(&str, &str)]) -> Error {
        let meant = match name {
            IS_FINAL => "whether the row is final",
            _ if WINDOW_END.contains(&name) => "the window's end",
            _ => "the window's start",
        };
        let spellings = [WINDOW_START, WINDOW_END].into_iter();
        let mut others = spellings.filter(|names| names.contains(&name)).flatten();
        let free = others.find(|other| !clashes.iter().any(|(clash, _)| clash == *other));
        let or = free.map_or_else(String::new, |other| {
            format!(", or write {other} for {meant}")
        });
        let hint = format!(
            "give the column another name where it is made, or by CREATE STREAM name AS SELECT {name} AS .. FROM {stream}{or}"
        );
        let message =
            format!("{name} is ambiguous: it is a column of stream {stream}, and {meant}");
        self.error(Code::UnknownColumn, message, span, Some(hint))
    }

    fn span_of(&self, ident: &Ident) -> Span {
        let place = self.tokens.place();
        place.span(ident.span.start, ident.span.end)
    }
}

/// The column that an expression is, without what stands before it.
fn named(expr: &ast::Expr) -> Option<&Ident> {
    match expr {
        ast::Expr::Identifier(ident) => Some(ident),
        ast::Expr::CompoundIdentifier(idents) => idents.last(),
        _ => None,
    }
}
