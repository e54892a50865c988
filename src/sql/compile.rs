//! From DataFusion's logical expressions to compiled ones that never wrap.
//!
//! Law: `+ - *` and unary minus on integers are checked, at planning (constants) as at run time (columns). DataFusion wraps
//! by default, so the compiled tree is rebuilt with checked operators, and constants are folded here, checked.
//!
//! DataFusion's own simplifier is not used. It rewrites an expression as if no part of it could fail or lose anything:
//! `CAST(d AS BIGINT) = 5` becomes `d = 5`, though 5.30 casts to 5, and `x * 0` becomes 0, though x may overflow before. What
//! it does that an expression cannot do without, the functions that exist only as other expressions, is done here.
//!
//! Law: no rewriting changes the type of a part, and what is compiled gives values of the planned type (`plan::typed`).

use std::sync::Arc;

use datafusion_common::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion_common::arrow::datatypes::{DataType, Schema, TimeUnit};
use datafusion_common::arrow::error::ArrowError;
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{DFSchema, DFSchemaRef, DataFusionError, Result, ScalarValue, plan_err};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion_expr::{BinaryExpr, Cast, ColumnarValue, Expr, ExprSchemable, Operator};
use datafusion_physical_expr::expressions::{
    BinaryExpr as PhysicalBinary, CastExpr, Column, TryCastExpr,
};
use datafusion_physical_expr::{PhysicalExpr, ScalarFunctionExpr, create_physical_expr};

use super::catalog::NEGATIVE_SCALE;
use super::lengths::compare_lengths;
use crate::plan::PlannedExpr;
use crate::plan::typed::{has_most_digits, is_time, time_or_null, typed};

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
    let planned = expr.get_type(schema)?;
    let expr = subtract_instead_of_negating(expr, schema)?;
    let context = SimplifyContext::builder()
        .with_schema(Arc::clone(schema))
        .build();
    let expr = spell_out(expr, &context)?;
    let expr = fold_constants(expr, schema)?;
    let expr = compare_lengths(expr, schema)?;
    let expr = checked(physical(&expr, schema)?, schema.as_arrow())?;
    // The columns of a schema have their types already, whoever made them.
    let expr = match expr.is::<Column>() {
        true => expr,
        false => typed(expr, planned),
    };
    Ok(PlannedExpr { expr, text })
}

fn physical(expr: &Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
    create_physical_expr(
        expr,
        schema,
        &ExecutionProps::new(),
        &PhysicalPlanningContext::default(),
    )
}

/// The same tree with every arithmetic operator checked, and every function and cast held to its type: a TIME that is none,
/// cast to a text inside, would be no better than one that leaves.
fn checked(expr: Arc<dyn PhysicalExpr>, schema: &Schema) -> Result<Arc<dyn PhysicalExpr>> {
    expr.transform_up(|node| {
        if let Some(binary) = node.downcast_ref::<PhysicalBinary>() {
            let rebuilt = PhysicalBinary::new(
                Arc::clone(binary.left()),
                *binary.op(),
                Arc::clone(binary.right()),
            )
            .with_fail_on_overflow(true);
            let rebuilt: Arc<dyn PhysicalExpr> = Arc::new(rebuilt);
            let planned = rebuilt.data_type(schema)?;
            // What is planned with fewer digits has one more than its operands need.
            return Ok(Transformed::yes(match has_most_digits(&planned) {
                true => typed(rebuilt, planned),
                false => rebuilt,
            }));
        }
        let cast = node.downcast_ref::<CastExpr>();
        let tries = node.is::<TryCastExpr>();
        if cast.is_none() && !tries && !node.is::<ScalarFunctionExpr>() {
            return Ok(Transformed::no(node));
        }
        let planned = node.data_type(schema)?;
        if let DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale) = planned
            && scale < 0
        {
            return plan_err!("{NEGATIVE_SCALE}'{planned}'");
        }
        if tries {
            return Ok(match is_time(&planned) {
                true => Transformed::yes(time_or_null(node, planned)),
                false => Transformed::no(node),
            });
        }
        let Some(cast) = cast else {
            return Ok(Transformed::yes(typed(node, planned)));
        };
        Ok(match (cast.expr().data_type(schema)?, &planned) {
            // Arrow's own cast rounds towards 1970, and does not say what overflows.
            (DataType::Timestamp(_, from), DataType::Timestamp(TimeUnit::Microsecond, to))
                if from == *to =>
            {
                Transformed::yes(typed(Arc::clone(cast.expr()), planned))
            }
            (_, time) if is_time(time) => Transformed::yes(typed(node, planned)),
            _ => Transformed::no(node),
        })
    })
    .map(|transformed| transformed.data)
}

/// `expr`, which took the place of an expression of the type `planned`. Functions choose their type by the constants among
/// their arguments, so folding these may change it, when everything around has been planned for the first.
fn of_type(expr: Expr, planned: DataType, schema: &DFSchema) -> Result<Expr> {
    Ok(match expr.get_type(schema)? == planned {
        true => expr,
        false => Expr::Cast(Cast::new(Box::new(expr), planned)),
    })
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
    let schema = context.schema();
    expr.transform_up(|node| {
        if !matches!(node, Expr::ScalarFunction(_)) {
            return Ok(Transformed::no(node));
        }
        let planned = node.get_type(schema)?;
        let Expr::ScalarFunction(ScalarFunction { func, args }) = node else {
            unreachable!("it is a function, as was seen just before")
        };
        Ok(match func.simplify(args, context)? {
            ExprSimplifyResult::Simplified(spelled_out) => {
                Transformed::yes(of_type(spelled_out, planned, schema)?)
            }
            ExprSimplifyResult::Original(args) => {
                Transformed::no(Expr::ScalarFunction(ScalarFunction { func, args }))
            }
        })
    })
    .map(|transformed| transformed.data)
}

/// Replaces every constant part by its value. Arithmetic that is out of range is an error, and so is a literal that is no
/// value of its type; any other part that fails is left for the run, where a CASE may never come to it.
fn fold_constants(expr: Expr, schema: &DFSchema) -> std::result::Result<Expr, CompileError> {
    let one_row = RecordBatch::try_new_with_options(
        Arc::new(Schema::empty()),
        Vec::new(),
        &RecordBatchOptions::new().with_row_count(Some(1)),
    )
    .map_err(DataFusionError::from)?;
    let mut folding = Folding {
        schema,
        empty: DFSchema::empty(),
        one_row,
        out_of_range: None,
    };
    let folded = folding.fold(expr)?;
    match folding.out_of_range {
        Some(text) => Err(CompileError::OutOfRange(text)),
        None => Ok(folded),
    }
}

struct Folding<'s> {
    schema: &'s DFSchema,
    empty: DFSchema,
    one_row: RecordBatch,
    /// Constant arithmetic that is out of range.
    out_of_range: Option<String>,
}

impl Folding<'_> {
    fn fold(&mut self, expr: Expr) -> Result<Expr> {
        expr.transform_down(|node| {
            if matches!(node, Expr::Literal(..)) {
                return Ok(Transformed::no(node));
            }
            let is_constant = !node.any_column_refs() && !node.is_volatile();
            if is_constant {
                match self.value(&node) {
                    Ok(value) => {
                        let literal = Expr::Literal(value, None);
                        return Ok(Transformed::new(literal, true, TreeNodeRecursion::Jump));
                    }
                    Err(error) if is_typed_literal(&node) => return Err(error),
                    Err(error) if is_arithmetic(&node) && is_overflow(&error) => {
                        self.out_of_range = Some(node.human_display().to_string());
                    }
                    Err(_) => {}
                }
            }
            if !matches!(node, Expr::ScalarFunction(_)) {
                return Ok(Transformed::no(node));
            }
            let planned = node.get_type(self.schema)?;
            let folded = node.map_children(|argument| self.fold(argument).map(Transformed::yes))?;
            let folded = of_type(folded.data, planned, self.schema)?;
            Ok(Transformed::new(folded, true, TreeNodeRecursion::Jump))
        })
        .map(|folded| folded.data)
    }

    /// The value of an expression without columns.
    fn value(&self, constant: &Expr) -> Result<ScalarValue> {
        let expr = checked(physical(constant, &self.empty)?, self.empty.as_arrow())?;
        match expr.evaluate(&self.one_row)? {
            ColumnarValue::Scalar(value) => Ok(value),
            ColumnarValue::Array(values) => ScalarValue::try_from_array(&values, 0),
        }
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

fn is_overflow(error: &DataFusionError) -> bool {
    matches!(
        error.find_root(),
        DataFusionError::ArrowError(cause, _) if matches!(cause.as_ref(), ArrowError::ArithmeticOverflow(_))
    )
}
