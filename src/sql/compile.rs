//! From DataFusion's logical expressions to compiled ones that never wrap.
//!
//! Law: `+ - *` and unary minus on integers are checked, at planning (constants) as at run time (columns). DataFusion wraps
//! by default, so the compiled tree is rebuilt with checked operators, and constant arithmetic is evaluated checked before
//! the simplifier could fold it to a wrapped number.

use std::sync::Arc;

use datafusion_common::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion_common::arrow::datatypes::Schema;
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{DFSchema, DFSchemaRef, DataFusionError, Result, ScalarValue};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::simplify::SimplifyContext;
use datafusion_expr::{BinaryExpr, Expr, ExprSchemable, Operator};
use datafusion_optimizer::simplify_expressions::ExprSimplifier;
use datafusion_physical_expr::expressions::BinaryExpr as PhysicalBinary;
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};

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
    check_constants(&expr)?;
    let context = SimplifyContext::builder().with_schema(Arc::clone(schema)).build();
    let expr = ExprSimplifier::new(context).simplify(expr)?;
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

/// Evaluates every constant piece of arithmetic checked.
fn check_constants(expr: &Expr) -> std::result::Result<(), CompileError> {
    let empty = Arc::new(DFSchema::empty());
    let mut found = None;
    expr.apply(|node| {
        let is_arithmetic = matches!(
            node,
            Expr::BinaryExpr(binary)
                if matches!(binary.op, Operator::Plus | Operator::Minus | Operator::Multiply)
        );
        if !is_arithmetic || node.any_column_refs() || node.is_volatile() {
            return Ok(TreeNodeRecursion::Continue);
        }
        let one_row = RecordBatch::try_new_with_options(
            Arc::new(Schema::empty()),
            Vec::new(),
            &RecordBatchOptions::new().with_row_count(Some(1)),
        )?;
        let evaluated = physical(node, &empty).and_then(checked).and_then(|expr| expr.evaluate(&one_row));
        if let Err(DataFusionError::ArrowError(..)) = evaluated {
            found = Some(node.human_display().to_string());
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Jump)
    })?;
    match found {
        Some(text) => Err(CompileError::OutOfRange(text)),
        None => Ok(()),
    }
}
