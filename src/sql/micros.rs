//! TIMESTAMP is microseconds, whatever a function makes.
//!
//! Law: behind this rule no part of a plan is a timestamp of another unit, so keys, aggregates, output columns and the streams
//! made of them are all of one type. A time that microseconds cannot hold makes its row bad where it is computed
//! (`plan::typed`), and not what encodes it; finer digits are floored.

use datafusion_common::arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{DFSchema, Result};
use datafusion_expr::utils::merge_schema;
use datafusion_expr::{Cast, Expr, ExprSchemable, LogicalPlan, TryCast};
use datafusion_optimizer::analyzer::AnalyzerRule;

/// The rule. It stands before the coercion of types, which then never meets another unit than ours.
#[derive(Debug)]
pub(super) struct Microseconds;

impl AnalyzerRule for Microseconds {
    fn name(&self) -> &str {
        "timestamps_are_microseconds"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        // What stands above a plan that changed has other types below it than it was made with.
        let mut changed = false;
        plan.transform_up_with_subqueries(|plan| {
            let schema = merge_schema(&plan.inputs());
            let plan = plan
                .map_expressions(|expr| expr.transform_up(|node| in_microseconds(node, &schema)))?;
            changed |= plan.transformed;
            match changed {
                true => plan.map_data(LogicalPlan::recompute_schema),
                false => Ok(plan),
            }
        })
        .map(|plan| plan.data)
    }
}

/// A function or cast that makes a timestamp of another unit, as one that makes ours. A cast gives an expression no other name.
fn in_microseconds(node: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    if !matches!(
        node,
        Expr::ScalarFunction(_) | Expr::Cast(_) | Expr::TryCast(_)
    ) {
        return Ok(Transformed::no(node));
    }
    // What has no type is for the coercion to mend or to refuse.
    let Ok(DataType::Timestamp(
        TimeUnit::Second | TimeUnit::Millisecond | TimeUnit::Nanosecond,
        zone,
    )) = node.get_type(schema)
    else {
        return Ok(Transformed::no(node));
    };
    let ours = DataType::Timestamp(TimeUnit::Microsecond, zone);
    Ok(Transformed::yes(match node {
        Expr::Cast(cast) => Expr::Cast(Cast::new(cast.expr, ours)),
        Expr::TryCast(cast) => Expr::TryCast(TryCast::new(cast.expr, ours)),
        function => Expr::Cast(Cast::new(Box::new(function), ours)),
    }))
}
