//! From DataFusion's logical expressions to compiled ones that never wrap.
//!
//! Law: `+ - *` and unary minus on integers are checked, at planning (constants) as at run time (columns). DataFusion wraps
//! by default, so the compiled tree is rebuilt with checked operators, and constants are folded here, checked.
//!
//! DataFusion's own simplifier is not used. It rewrites an expression as if no part of it could fail or lose anything:
//! `CAST(d AS BIGINT) = 5` becomes `d = 5`, though 5.30 casts to 5, and `x * 0` becomes 0, though x may overflow before. What
//! it does that an expression cannot do without, the functions that exist only as other expressions, is done here.

use std::sync::Arc;

use datafusion_common::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion_common::arrow::datatypes::Schema;
use datafusion_common::arrow::error::ArrowError;
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{DFSchema, DFSchemaRef, DataFusionError, Result, ScalarValue};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion_expr::{BinaryExpr, ColumnarValue, Expr, ExprSchemable, Operator};
use datafusion_physical_expr::expressions::BinaryExpr as PhysicalBinary;
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};

use super::lengths::compare_lengths;
use crate::plan::PlannedExpr;

/// Why an expression could not be compiled.
pub(super) enum CompileError {
    /// Constant arithmetic in it is out of range: the text of that part.
    OutOfRange(String),
    /// DataFusion refused it.
    Planner(DataFusionError),
}

impl From<DataFusionError> for CompileError {
    fn from(error: DataFusionError) -> CompileError {
        CompileError::Planner(error)
    }
}

/// Compiles `expr` over the columns of `schema`.
pub(super) fn compile(
    expr: &Expr,
    schema: &DFSchemaRef,
) -> std::result::Result<PlannedExpr, CompileError> {
    let expr = expr.clone().unalias();
    let text = expr.human_display().to_string();
    let expr = subtract_instead_of_negating(expr, schema)?;
    let context = SimplifyContext::builder()
        .with_schema(Arc::clone(schema))
        .build();
    let expr = spell_out(expr, &context)?;
    let expr = fold_constants(expr)?;
    let expr = compare_lengths(expr, schema)?;
    Ok(PlannedExpr {
        expr: checked(physical(&expr, schema)?)?,
        text,
    })
}

fn physical(expr: &Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
    create_physical_expr(
        expr,
        schema,
        &ExecutionProps::new(),
        &PhysicalPlanningContext::default(),
    )
}

/// The same tree with every arithmetic operator checked.
fn checked(expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
    expr.transform_up(|node| {
        let Some(binary) = node.downcast_ref::<PhysicalBinary>() else {
            return Ok(Transformed::no(node));
        };
        let rebuilt = PhysicalBinary::new(
            Arc::clone(binary.left()),
            *binary.op(),
            Arc::clone(binary.right()),
        )
        .with_fail_on_overflow(true);
        Ok(Transformed::yes(Arc::new(rebuilt) as Arc<dyn PhysicalExpr>))
    })
    .map(|transformed| transformed.data)
}

/// `-x` on integers becomes `0 - x`, which is checked; DataFusion's own negation wraps.
fn subtract_instead_of_negating(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    expr.transform_up(|node| {
        let Expr::Negative(operand) = &node else {
            return Ok(Transformed::no(node));
        };
        let data_type = operand.get_type(schema)?;
        if !data_type.is_signed_integer() {
            return Ok(Transformed::no(node));
        }
        let zero = Expr::Literal(ScalarValue::new_zero(&data_type)?, None);
        Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr::new(
            Box::new(zero),
            Operator::Minus,
            operand.clone(),
        ))))
    })
    .map(|transformed| transformed.data)
}

/// Functions that exist only as other expressions, such as COALESCE, become those.
fn spell_out(expr: Expr, context: &SimplifyContext) -> Result<Expr> {
    expr.transform_up(|node| {
        let Expr::ScalarFunction(ScalarFunction { func, args }) = node else {
            return Ok(Transformed::no(node));
        };
        Ok(match func.simplify(args, context)? {
            ExprSimplifyResult::Simplified(spelled_out) => Transformed::yes(spelled_out),
            ExprSimplifyResult::Original(args) => {
                Transformed::no(Expr::ScalarFunction(ScalarFunction { func, args }))
            }
        })
    })
    .map(|transformed| transformed.data)
}

/// Replaces every constant part by its value. Arithmetic that is out of range is an error, and so is a literal that is no
/// value of its type; any other part that fails is left for the run, where a CASE may never come to it.
fn fold_constants(expr: Expr) -> std::result::Result<Expr, CompileError> {
    let empty = DFSchema::empty();
    let one_row = RecordBatch::try_new_with_options(
        Arc::new(Schema::empty()),
        Vec::new(),
        &RecordBatchOptions::new().with_row_count(Some(1)),
    )
    .map_err(DataFusionError::from)?;
    let mut out_of_range = None;
    let folded = expr.transform_down(|node| {
        let is_constant = !node.any_column_refs() && !node.is_volatile();
        if !is_constant || matches!(node, Expr::Literal(..)) {
            return Ok(Transformed::no(node));
        }
        let evaluated = physical(&node, &empty)
            .and_then(checked)
            .and_then(|expr| expr.evaluate(&one_row))
            .and_then(|value| match value {
                ColumnarValue::Scalar(value) => Ok(value),
                ColumnarValue::Array(values) => ScalarValue::try_from_array(&values, 0),
            });
        match evaluated {
            Ok(value) => {
                let literal = Expr::Literal(value, None);
                Ok(Transformed::new(literal, true, TreeNodeRecursion::Jump))
            }
            Err(error) if is_typed_literal(&node) => Err(error),
            Err(_) => {
                if is_arithmetic(&node) && is_overflow(&evaluated) {
                    out_of_range = Some(node.human_display().to_string());
                }
                Ok(Transformed::no(node))
            }
        }
    })?;
    match out_of_range {
        Some(text) => Err(CompileError::OutOfRange(text)),
        None => Ok(folded.data),
    }
}

/// `TIMESTAMP '2013-13-01'`, `CAST('x' AS BIGINT)`.
fn is_typed_literal(node: &Expr) -> bool {
    matches!(node, Expr::Cast(cast) if matches!(cast.expr.as_ref(), Expr::Literal(..)))
}

fn is_arithmetic(node: &Expr) -> bool {
    matches!(
        node,
        Expr::BinaryExpr(binary)
            if matches!(binary.op, Operator::Plus | Operator::Minus | Operator::Multiply)
    )
}

fn is_overflow(evaluated: &Result<ScalarValue>) -> bool {
    let Err(error) = evaluated else { return false };
    matches!(
        error.find_root(),
        DataFusionError::ArrowError(cause, _) if matches!(cause.as_ref(), ArrowError::ArithmeticOverflow(_))
    )
}
