//! Expressions over a batch, with the rows for which one fails set apart.
//!
//! Law: the result is that of evaluating each row alone. A row for which any of the expressions fails (overflow, division
//! by zero, a cast) is bad, and the rows around it are untouched. A batch that evaluates without an error is taken as it
//! is; one that does not is halved until the failing rows stand alone, so a good batch costs nothing and a bad row costs
//! about log2(rows) evaluations.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Once};
use std::thread;

use datafusion_common::arrow::array::{ArrayRef, RecordBatch, new_empty_array};
use datafusion_common::arrow::compute::concat;
use datafusion_common::{DataFusionError, Result};
use datafusion_physical_expr::PhysicalExpr;

use super::words;

/// Expressions over the rows for which none of them fails.
#[derive(Clone, Debug)]
pub struct Isolated {
    /// The value of each expression, as long as `kept`.
    pub columns: Vec<ArrayRef>,
    /// The rows that `columns` are of, ascending.
    pub kept: Vec<u32>,
    /// The other rows, ascending, each with what failed.
    pub bad: Vec<(u32, String)>,
}

/// Evaluates `expressions` over `batch`.
pub fn evaluate_isolated(expressions: &[Arc<dyn PhysicalExpr>], batch: &RecordBatch) -> Isolated {
    let rows = u32::try_from(batch.num_rows()).expect("a batch has less than 2^32 rows");
    if rows == 0 {
        let nothing = |expression: &Arc<dyn PhysicalExpr>| {
            let typed = expression.data_type(batch.schema_ref());
            new_empty_array(&typed.expect("a planned expression has a type"))
        };
        let columns = expressions.iter().map(nothing).collect();
        return Isolated {
            columns,
            kept: Vec::new(),
            bad: Vec::new(),
        };
    }
    if let Ok(columns) = evaluate(expressions, batch) {
        return Isolated {
            columns,
            kept: (0..rows).collect(),
            bad: Vec::new(),
        };
    }

    let mut search = Search {
        expressions,
        batch,
        pieces: Vec::new(),
        kept: Vec::new(),
        bad: Vec::new(),
    };
    search.halve(0, rows);
    search.finish()
}

fn evaluate(expressions: &[Arc<dyn PhysicalExpr>], batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
    let rows = batch.num_rows();
    // A constant comes as a scalar, however many rows there are. A function of the library may panic over a value, such as a
    // text padded beyond all memory; nothing of ours is under way then, and the value is bad like any other.
    let evaluated = catch_quietly(|| {
        let values =
            |expression: &Arc<dyn PhysicalExpr>| expression.evaluate(batch)?.into_array(rows);
        expressions.iter().map(values).collect()
    });
    evaluated.unwrap_or_else(|panic| {
        let reason = match panic_text(panic.as_ref()) {
            Some(text) => format!("a function cannot compute this value: {text}"),
            None => "a function cannot compute this value".to_owned(),
        };
        Err(DataFusionError::Execution(reason))
    })
}

thread_local! {
    /// Whether a panic of this thread is caught, and told as the reason why a row is bad.
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Calls `guarded` and catches its panic, without the report on standard error that a panic makes: over a batch with a bad
/// row there would be one for every half that it is searched in. What panics elsewhere, on whatever thread, is reported.
fn catch_quietly<T>(guarded: impl FnOnce() -> T) -> thread::Result<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |about| {
            if !CAUGHT.get() {
                report(about);
            }
        }));
    });
    let before = CAUGHT.replace(true);
    let result = catch_unwind(AssertUnwindSafe(guarded));
    CAUGHT.set(before);
    result
}

/// What a panic said.
fn panic_text(panic: &(dyn Any + Send)) -> Option<&str> {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
}

struct Search<'a> {
    expressions: &'a [Arc<dyn PhysicalExpr>],
    batch: &'a RecordBatch,
    /// The columns of each run of good rows.
    pieces: Vec<Vec<ArrayRef>>,
    kept: Vec<u32>,
    bad: Vec<(u32, String)>,
}

impl Search<'_> {
    /// Evaluates both halves of rows that are known to fail together.
    fn halve(&mut self, start: u32, rows: u32) {
        if rows == 1 {
            // Evaluated once more for its reason: halves are not asked for theirs.
            return self.evaluate(start, 1);
        }
        let left = rows / 2;
        self.evaluate(start, left);
        self.evaluate(start + left, rows - left);
    }

    fn evaluate(&mut self, start: u32, rows: u32) {
        let part = self.batch.slice(start as usize, rows as usize);
        match evaluate(self.expressions, &part) {
            Ok(columns) => {
                self.pieces.push(columns);
                self.kept.extend(start..start + rows);
            }
            Err(error) if rows == 1 => self.bad.push((start, reason(&error))),
            Err(_) => self.halve(start, rows),
        }
    }

    fn finish(self) -> Isolated {
        let column = |index: usize| {
            let pieces: Vec<_> = self
                .pieces
                .iter()
                .map(|columns| columns[index].as_ref())
                .collect();
            match pieces.is_empty() {
                true => {
                    let typed = self.expressions[index].data_type(self.batch.schema_ref());
                    new_empty_array(&typed.expect("a planned expression has a type"))
                }
                false => concat(&pieces).expect("one expression gives values of one type"),
            }
        };
        Isolated {
            columns: (0..self.expressions.len()).map(column).collect(),
            kept: self.kept,
            bad: self.bad,
        }
    }
}

/// What failed, without the names of the layers through which the error came.
fn reason(error: &DataFusionError) -> String {
    let root = error.find_root();
    words::reason(&match root {
        DataFusionError::ArrowError(cause, _) => cause.to_string(),
        other => other.strip_backtrace(),
    })
}

#[cfg(test)]
mod tests {
    use datafusion_common::ScalarValue;
    use datafusion_common::arrow::array::{Array, AsArray, Int64Array};
    use datafusion_common::arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use datafusion_expr::{ColumnarValue, Operator, Volatility, create_udf};
    use datafusion_physical_expr::ScalarFunctionExpr;
    use datafusion_physical_expr::expressions::{BinaryExpr, Column, lit};
    use proptest::prelude::*;

    use super::*;

    fn binary(
        left: Arc<dyn PhysicalExpr>,
        op: Operator,
        right: Arc<dyn PhysicalExpr>,
    ) -> Arc<dyn PhysicalExpr> {
        Arc::new(BinaryExpr::new(left, op, right).with_fail_on_overflow(true))
    }

    fn x() -> Arc<dyn PhysicalExpr> {
        Arc::new(Column::new("x", 0))
    }

    /// `100 / x`, which fails for zero, and `x + max`, which fails above zero.
    fn quotient_and_sum() -> [Arc<dyn PhysicalExpr>; 2] {
        [
            binary(lit(100i64), Operator::Divide, x()),
            binary(x(), Operator::Plus, lit(i64::MAX)),
        ]
    }

    fn batch(values: &[Option<i64>]) -> RecordBatch {
        let schema = Schema::new(vec![Field::new("x", DataType::Int64, true)]);
        RecordBatch::try_new(
            Arc::new(schema),
            vec![Arc::new(Int64Array::from(values.to_vec()))],
        )
        .expect("a column of its type")
    }

    #[test]
    fn a_good_batch_is_taken_as_it_is() {
        let result = evaluate_isolated(&quotient_and_sum(), &batch(&[Some(-1), None, Some(-5)]));
        assert_eq!(result.kept, [0, 1, 2]);
        assert!(result.bad.is_empty());
        assert_eq!(
            result.columns[0].as_ref(),
            &Int64Array::from(vec![Some(-100), None, Some(-20)])
        );
    }

    #[test]
    fn a_failing_row_is_named_with_its_reason_and_the_others_are_untouched() {
        let result = evaluate_isolated(
            &quotient_and_sum(),
            &batch(&[Some(-1), Some(0), Some(-2), Some(7), None]),
        );
        assert_eq!(result.kept, [0, 2, 4]);
        assert_eq!(
            result.bad.iter().map(|(row, _)| *row).collect::<Vec<_>>(),
            [1, 3]
        );
        assert!(
            result.bad[0].1.contains("ivide by zero"),
            "{}",
            result.bad[0].1
        );
        assert!(result.bad[1].1.contains("verflow"), "{}", result.bad[1].1);
        assert_eq!(result.columns[1].len(), 3);
    }

    #[test]
    fn a_constant_is_repeated_and_a_failing_one_makes_every_row_bad() {
        let good = evaluate_isolated(&[lit(7i64)], &batch(&[None, Some(1)]));
        assert_eq!(good.columns[0].as_ref(), &Int64Array::from(vec![7, 7]));
        let failing = binary(lit(1i64), Operator::Divide, lit(0i64));
        let bad = evaluate_isolated(&[lit(7i64), failing], &batch(&[None, Some(1), Some(2)]));
        assert_eq!(bad.bad.len(), 3);
        assert!(bad.kept.is_empty());
        assert_eq!(
            bad.columns[0].as_ref(),
            &Int64Array::from(Vec::<i64>::new())
        );
    }

    /// `x`, computed by a function that panics over seven.
    fn fragile() -> Arc<dyn PhysicalExpr> {
        let compute = |arguments: &[ColumnarValue]| {
            let numbers = arguments[0].to_array(1)?;
            for number in numbers.as_primitive::<Int64Type>() {
                assert_ne!(number, Some(7), "seven is too much");
            }
            Ok(arguments[0].clone())
        };
        let int = DataType::Int64;
        let function = create_udf(
            "fragile",
            vec![int.clone()],
            int.clone(),
            Volatility::Immutable,
            Arc::new(compute),
        );
        Arc::new(ScalarFunctionExpr::new(
            "fragile",
            Arc::new(function),
            vec![x()],
            Arc::new(Field::new("fragile", int, true)),
            Arc::default(),
        ))
    }

    #[test]
    fn a_function_that_panics_over_a_value_makes_its_row_bad() {
        let values = [Some(1), Some(7), None, Some(7), Some(3)];
        let result = evaluate_isolated(&[fragile()], &batch(&values));
        assert_eq!(result.kept, [0, 2, 4]);
        let rows: Vec<u32> = result.bad.iter().map(|(row, _)| *row).collect();
        assert_eq!(rows, [1, 3]);
        let reason = &result.bad[0].1;
        assert!(
            reason.contains("a function cannot compute this value")
                && reason.contains("seven is too much"),
            "{reason}"
        );
    }

    #[test]
    fn no_rows_and_no_expressions_are_no_trouble() {
        let nothing = evaluate_isolated(&quotient_and_sum(), &batch(&[]));
        assert_eq!((nothing.columns.len(), nothing.columns[0].len()), (2, 0));
        assert_eq!(evaluate_isolated(&[], &batch(&[None])).kept, [0]);
    }

    #[test]
    fn a_guard_in_the_same_expression_protects_its_row() {
        let guard = binary(x(), Operator::NotEq, lit(0i64));
        let division = binary(lit(100i64), Operator::Divide, x());
        let guarded = binary(
            guard,
            Operator::And,
            binary(division, Operator::Gt, lit(1i64)),
        );
        let values = [Some(0), Some(5), Some(0), Some(200)];
        let result = evaluate_isolated(&[guarded], &batch(&values));
        assert_eq!(result.kept, [0, 1, 2, 3]);
        let passed: Vec<bool> = result.columns[0].as_boolean().iter().flatten().collect();
        assert_eq!(passed, [false, true, false, false]);
    }

    proptest! {
        #[test]
        fn a_batch_gives_what_its_rows_give_alone(
            values in prop::collection::vec(prop::option::of(-2i64..3), 0..40),
        ) {
            let expressions = quotient_and_sum();
            let whole = evaluate_isolated(&expressions, &batch(&values));
            let (mut kept, mut bad, mut quotients) = (Vec::new(), Vec::new(), Vec::new());
            for (row, value) in values.iter().enumerate() {
                let alone = evaluate_isolated(&expressions, &batch(&[*value]));
                if let Some((_, reason)) = alone.bad.first() {
                    bad.push((row as u32, reason.clone()));
                } else {
                    kept.push(row as u32);
                    let column = alone.columns[0].as_primitive::<Int64Type>();
                    quotients.push(column.is_valid(0).then(|| column.value(0)));
                }
            }
            prop_assert_eq!(whole.kept, kept);
            prop_assert_eq!(whole.bad, bad);
            prop_assert_eq!(whole.columns[0].as_ref(), &Int64Array::from(quotients) as &dyn Array);
        }
    }

    #[test]
    fn a_panic_is_caught_quietly_and_only_where_it_is_a_value_s() {
        let caught: thread::Result<()> = catch_quietly(|| {
            assert!(CAUGHT.get());
            panic!("over {}", 7)
        });
        let panic = caught.expect_err("it panics");
        assert_eq!(panic_text(panic.as_ref()), Some("over 7"));
        assert!(!CAUGHT.get(), "what panics from here on is reported");
    }

    #[test]
    fn a_reason_does_not_name_the_layers() {
        let error = ScalarValue::from("x7")
            .cast_to(&DataType::Int64)
            .expect_err("not a number");
        assert!(
            !reason(&error).contains("Arrow error"),
            "{}",
            reason(&error)
        );
        let own = DataFusionError::Execution("too large".to_owned());
        assert_eq!(reason(&own), "too large");
    }
}
