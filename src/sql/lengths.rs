//! Spans of time compared by their length.
//!
//! Law: a difference of two timestamps is compared with an INTERVAL as PostgreSQL compares intervals: by length, a day
//! being 24 hours and a month 30 days; a constant is rounded down to the microsecond, which is what a TIMESTAMP counts.
//! DataFusion turns the difference into months, days and nanoseconds and compares those one after the other, so that 36
//! hours, being no day at all, came before INTERVAL '1' DAY.

use datafusion_common::arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{DFSchema, Result, ScalarValue};
use datafusion_expr::{Between, BinaryExpr, Cast, Expr, ExprSchemable, Operator};

const DAYS_A_MONTH: i128 = 30;
const MICROS_A_DAY: i128 = 24 * 60 * 60 * 1_000_000;
const NANOS_A_MICRO: i128 = 1_000;

/// Rewrites every comparison of a difference of timestamps with constant intervals into one of microseconds. Constants
/// have been folded.
pub(super) fn compare_lengths(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    expr.transform_up(|node| match node {
        Expr::BinaryExpr(binary) if is_comparison(binary.op) => {
            let sides = (
                length(&binary.left, schema)?,
                length(&binary.right, schema)?,
            );
            Ok(match sides {
                (Some(left), Some(right)) => Transformed::yes(Expr::BinaryExpr(BinaryExpr::new(
                    Box::new(left),
                    binary.op,
                    Box::new(right),
                ))),
                _ => Transformed::no(Expr::BinaryExpr(binary)),
            })
        }
        Expr::Between(between) => {
            let sides = (
                length(&between.expr, schema)?,
                length(&between.low, schema)?,
                length(&between.high, schema)?,
            );
            Ok(match sides {
                (Some(expr), Some(low), Some(high)) => {
                    Transformed::yes(Expr::Between(Between::new(
                        Box::new(expr),
                        between.negated,
                        Box::new(low),
                        Box::new(high),
                    )))
                }
                _ => Transformed::no(Expr::Between(between)),
            })
        }
        other => Ok(Transformed::no(other)),
    })
    .map(|transformed| transformed.data)
}

fn is_comparison(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(
        op,
        Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom
    )
}

/// `expr` as a length in microseconds: the difference that was made an interval, or a constant interval. `None` if it is
/// neither.
fn length(expr: &Expr, schema: &DFSchema) -> Result<Option<Expr>> {
    let micros = DataType::Duration(TimeUnit::Microsecond);
    match expr {
        Expr::Cast(cast) if matches!(expr.get_type(schema)?, DataType::Interval(_)) => {
            let from = cast.expr.get_type(schema)?;
            Ok(match from {
                _ if from == micros => Some(cast.expr.as_ref().clone()),
                DataType::Duration(_) => Some(Expr::Cast(Cast::new(cast.expr.clone(), micros))),
                _ => None,
            })
        }
        Expr::Literal(ScalarValue::IntervalMonthDayNano(value), _) => {
            let length = value.map(|value| {
                let days = i128::from(value.months) * DAYS_A_MONTH + i128::from(value.days);
                let nanos = i128::from(value.nanoseconds);
                days * MICROS_A_DAY + nanos.div_euclid(NANOS_A_MICRO)
            });
            let length = length.map(|length| length.clamp(i64::MIN.into(), i64::MAX.into()) as i64);
            Ok(Some(Expr::Literal(
                ScalarValue::DurationMicrosecond(length),
                None,
            )))
        }
        Expr::Literal(literal, _)
            if matches!(
                literal.data_type(),
                DataType::Interval(IntervalUnit::DayTime | IntervalUnit::YearMonth)
            ) =>
        {
            let full = literal.cast_to(&DataType::Interval(IntervalUnit::MonthDayNano))?;
            length(&Expr::Literal(full, None), schema)
        }
        _ => Ok(None),
    }
}
