//! A plan of projections, filters and renamings over one leaf, as expressions over the leaf's columns.
//!
//! Law: the expressions mean what the plan means; predicates keep the order in which they were written. What is neither a
//! projection, a filter nor a renaming is refused by name.

use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, DFSchema, DataFusionError, Spans, TableReference};
use datafusion_expr::logical_plan::{Aggregate, LogicalPlan, TableScan};
use datafusion_expr::{Expr, Volatility, lit};

use super::Query;
use crate::error::Result;
use crate::plan::clock::CLOCK_FUNCTIONS;
use crate::sql::diagnose::{Code, planner_error};

/// What a plan above a leaf comes to: expressions over the leaf's columns.
pub(super) struct Collapsed<'p> {
    /// What it all stands on.
    pub leaf: Leaf<'p>,
    /// Predicates, in the order in which they were written.
    pub filters: Vec<Expr>,
    /// Qualifier, name and expression of each output column.
    pub outputs: Vec<(Option<TableReference>, String, Expr)>,
}

pub(super) enum Leaf<'p> {
    Scan(&'p TableScan),
    Aggregate(&'p Aggregate),
}

impl Query<'_> {
    /// Follows a plan down to its leaf, substituting projections into each other.
    pub(super) fn collapse<'p>(&self, plan: &'p LogicalPlan) -> Result<Collapsed<'p>> {
        match plan {
            LogicalPlan::TableScan(scan) => Ok(Collapsed {
                outputs: leaf_columns(&scan.projected_schema),
                filters: Vec::new(),
                leaf: Leaf::Scan(scan),
            }),
            LogicalPlan::Aggregate(aggregate) => Ok(Collapsed {
                // Left as they are: they are substituted once it is known where each group column stands.
                outputs: aggregate
                    .schema
                    .iter()
                    .map(|(qualifier, field)| {
                        let column = Column::new(qualifier.cloned(), field.name());
                        (
                            qualifier.cloned(),
                            field.name().clone(),
                            Expr::Column(column),
                        )
                    })
                    .collect(),
                filters: Vec::new(),
                leaf: Leaf::Aggregate(aggregate),
            }),
            LogicalPlan::SubqueryAlias(alias) => {
                let mut below = self.collapse(&alias.input)?;
                for (qualifier, _, _) in &mut below.outputs {
                    *qualifier = Some(alias.alias.clone());
                }
                Ok(below)
            }
            LogicalPlan::Filter(filter) => {
                let mut below = self.collapse(&filter.input)?;
                self.refuse_second_draw([&filter.predicate], &filter.input, &below)?;
                let predicate = self.substituted(&filter.predicate, &filter.input, &below)?;
                below.filters.push(predicate);
                Ok(below)
            }
            LogicalPlan::Projection(projection) => {
                let mut below = self.collapse(&projection.input)?;
                self.refuse_second_draw(&projection.expr, &projection.input, &below)?;
                let mut outputs = Vec::new();
                for (expr, (qualifier, field)) in
                    projection.expr.iter().zip(projection.schema.iter())
                {
                    let expr = self.substituted(expr, &projection.input, &below)?;
                    outputs.push((qualifier.cloned(), field.name().clone(), expr));
                }
                below.outputs = outputs;
                Ok(below)
            }
            LogicalPlan::Sort(_) => Err(self.not_available(
                "ORDER",
                "ORDER BY over a stream",
                "leave it out: rows leave as they are made",
            )),
            LogicalPlan::Limit(_) => Err(self.not_available(
                "LIMIT",
                "LIMIT",
                "leave it out, and stop with --duration or `| head`",
            )),
            LogicalPlan::Distinct(_) => Err(self.not_available(
                "DISTINCT",
                "SELECT DISTINCT",
                "GROUP BY the columns, with EMIT FINAL",
            )),
            LogicalPlan::Join(_) => Err(self.not_available(
                if self.tokens.find_word("JOIN").is_some() {
                    "JOIN"
                } else {
                    "FROM"
                },
                "a join of streams",
                "read one stream",
            )),
            LogicalPlan::Union(_) => Err(self.not_available(
                "UNION",
                "UNION",
                "write what each SELECT makes with INSERT INTO the same stream",
            )),
            LogicalPlan::Window(_) => Err(self.not_available(
                "OVER",
                "a window function (OVER)",
                "aggregate in a window: WINDOW TUMBLING (SIZE 1 HOUR)",
            )),
            LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_) => Err(self.error(
                Code::Plan,
                "a query reads a stream",
                self.tokens.whole_span(),
                Some("add FROM with the name of a declared stream"),
            )),
            other => Err(self.not_available(
                "FROM",
                &format!("this form of query ({})", other.display()),
                "write SELECT .. FROM one stream",
            )),
        }
    }

    /// A value drawn at random stands for itself once: substituted in two places it would be drawn twice.
    fn refuse_second_draw<'e>(
        &self,
        exprs: impl IntoIterator<Item = &'e Expr>,
        input: &LogicalPlan,
        below: &Collapsed<'_>,
    ) -> Result<()> {
        let refused = |error: DataFusionError| planner_error(&self.tokens, &error);
        let mut uses = vec![0; below.outputs.len()];
        for expr in exprs {
            // In an expression of its own it may be evaluated for another number of rows, so that counts as a second use.
            let weight = match expr.clone().unalias() {
                Expr::Column(_) => 1,
                _ => 2,
            };
            for column in expr.column_refs() {
                let index = input.schema().index_of_column(column).map_err(refused)?;
                uses[index] += weight;
            }
        }
        for ((_, name, output), uses) in below.outputs.iter().zip(uses) {
            if uses > 1 && draws(output).map_err(refused)? {
                let what = format!("a use of {name}, which is drawn at random in a subquery");
                return Err(self.not_available(name, &what, "draw it where it is used"));
            }
        }
        Ok(())
    }

    fn substituted(&self, expr: &Expr, input: &LogicalPlan, below: &Collapsed<'_>) -> Result<Expr> {
        self.refuse_subquery(expr)?;
        substitute(expr.clone(), input.schema(), &below.outputs)
            .map_err(|error| planner_error(&self.tokens, &error))
    }
}

/// A scan's columns under their bare names.
fn leaf_columns(schema: &DFSchema) -> Vec<(Option<TableReference>, String, Expr)> {
    schema
        .iter()
        .map(|(qualifier, field)| {
            (
                qualifier.cloned(),
                field.name().clone(),
                bare_column(field.name()),
            )
        })
        .collect()
}

pub(super) fn bare_column(name: impl Into<String>) -> Expr {
    Expr::Column(Column {
        relation: None,
        name: name.into(),
        spans: Spans::new(),
    })
}

/// Replaces the columns of `expr`, which stand in `schema`, by the expressions of `outputs` at the same places.
pub(super) fn substitute(
    expr: Expr,
    schema: &DFSchema,
    outputs: &[(Option<TableReference>, String, Expr)],
) -> datafusion_common::Result<Expr> {
    expr.transform_up(|node| match &node {
        Expr::Column(column) => {
            let index = schema.index_of_column(column)?;
            Ok(Transformed::yes(outputs[index].2.clone().unalias()))
        }
        _ => Ok(Transformed::no(node)),
    })
    .map(|transformed| transformed.data)
}

/// The name of an expression without the stream's name before each column.
pub(super) fn plain_name(expr: &Expr) -> String {
    strip_qualifiers(expr.clone()).schema_name().to_string()
}

pub(super) fn strip_qualifiers(expr: Expr) -> Expr {
    expr.transform_up(|node| match node {
        Expr::Column(column) => Ok(Transformed::yes(bare_column(column.name))),
        other => Ok(Transformed::no(other)),
    })
    .map(|transformed| transformed.data)
    .unwrap_or_else(|_: DataFusionError| lit("?"))
}

/// Whether an expression gives another value each time. The clock does not: it stands still within a batch.
fn draws(expr: &Expr) -> datafusion_common::Result<bool> {
    expr.exists(|node| {
        Ok(match node {
            Expr::ScalarFunction(function) => {
                let is_clock = CLOCK_FUNCTIONS.contains(&function.func.name());
                !is_clock && function.func.signature().volatility == Volatility::Volatile
            }
            _ => false,
        })
    })
}
