//! Which aggregates there are, and of what.

use datafusion_common::DFSchema;
use datafusion_common::arrow::datatypes::DataType;
use datafusion_expr::expr::AggregateFunction;
use datafusion_expr::{Expr, ExprSchemable};

use super::Query;
use super::collapse::strip_qualifiers;
use crate::error::Result;
use crate::plan::{AggregateKind, AggregateSpec};
use crate::sql::diagnose::{AGGREGATES, planner_error};

impl Query<'_> {
    pub(super) fn aggregate_spec(
        &self,
        expr: &Expr,
        schema: &DFSchema,
        over_record: &dyn Fn(&Expr) -> Result<Expr>,
        arguments: &mut Vec<Expr>,
    ) -> Result<AggregateSpec> {
        let text = strip_qualifiers(expr.clone()).schema_name().to_string();
        let result_type = expr
            .get_type(schema)
            .map_err(|error| planner_error(&self.tokens, &error))?;
        let Expr::AggregateFunction(AggregateFunction { func, params }) = expr.clone().unalias()
        else {
            return Err(self.not_available("SELECT", &format!("the aggregate {text}"), AGGREGATES));
        };
        let name = func.name().to_owned();
        let kind = match name.as_str() {
            "count" => AggregateKind::Count,
            "sum" => AggregateKind::Sum,
            "avg" => AggregateKind::Avg,
            "min" => AggregateKind::Min,
            "max" => AggregateKind::Max,
            _ => {
                return Err(self.not_available(
                    &name,
                    &format!("the aggregate {}", name.to_uppercase()),
                    AGGREGATES,
                ));
            }
        };
        if params.distinct {
            return Err(self.not_available(
                "DISTINCT",
                &format!("{}(DISTINCT ..)", name.to_uppercase()),
                "leave DISTINCT out",
            ));
        }
        if params.filter.is_some() {
            return Err(self.not_available(
                "FILTER",
                "FILTER (WHERE ..)",
                "aggregate CASE WHEN condition THEN value END",
            ));
        }
        if !params.order_by.is_empty() {
            return Err(self.not_available("ORDER", "ORDER BY in an aggregate", "leave it out"));
        }
        let [argument] = params.args.as_slice() else {
            return Err(self.not_available(
                &name,
                &format!("{} of several columns", name.to_uppercase()),
                "give it one column",
            ));
        };
        // COUNT(*) arrives as the count of a literal.
        if kind == AggregateKind::Count
            && let Expr::Literal(value, _) = argument
            && !value.is_null()
        {
            return Ok(AggregateSpec::count_of_records());
        }
        let argument = unwidened(kind, argument, schema)
            .map_err(|error| planner_error(&self.tokens, &error))?;
        let argument_type = argument
            .get_type(schema)
            .map_err(|error| planner_error(&self.tokens, &error))?;
        let argument = over_record(argument)?;
        let index = arguments
            .iter()
            .position(|known| *known == argument)
            .unwrap_or_else(|| {
                arguments.push(argument);
                arguments.len() - 1
            });
        Ok(AggregateSpec {
            kind,
            argument: Some(index),
            argument_type,
            result_type,
            text,
        })
    }
}

/// The argument without the cast to a wider number that the planner puts around it: SUM and AVG widen what they add, and are
/// exact on the integers themselves. One column then serves all aggregates of it.
fn unwidened<'e>(
    kind: AggregateKind,
    argument: &'e Expr,
    schema: &DFSchema,
) -> datafusion_common::Result<&'e Expr> {
    let Expr::Cast(cast) = argument else {
        return Ok(argument);
    };
    let from = cast.expr.get_type(schema)?;
    let widens = match (kind, cast.field.data_type()) {
        (AggregateKind::Sum, DataType::Int64) => from.is_signed_integer(),
        (AggregateKind::Sum, DataType::UInt64) => from.is_unsigned_integer(),
        (AggregateKind::Sum, DataType::Float64) => from == DataType::Float32,
        (AggregateKind::Avg, DataType::Float64) => from.is_integer() || from == DataType::Float32,
        _ => false,
    };
    Ok(if widens { &cast.expr } else { argument })
}
