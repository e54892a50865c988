//! Arguments of functions that DataFusion takes on trust.
//!
//! | function | trusted | guarded by |
//! | --- | --- | --- |
//! | `lpad`, `rpad`, `repeat` | that the length can be had: memory for it is asked for at once, and its lack ends the process | `at_most` |
//! | `to_char`, `date_format` | that the format is constant where the value is: else every row gets the format of the first | `spread` |
//!
//! Law: a value in the data never ends the process, and a row's result depends on no other row of its batch.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion_common::arrow::array::{AsArray, RecordBatch};
use datafusion_common::arrow::datatypes::{DataType, FieldRef, Int64Type, Schema};
use datafusion_common::{Result, exec_err};
use datafusion_expr::ColumnarValue;
use datafusion_physical_expr::expressions::Literal;
use datafusion_physical_expr::{PhysicalExpr, ScalarFunctionExpr};

use crate::config::limits::TEXT_REPEATS_MAX;

/// `function`, called `node` in its tree, with what it trusts in guarded. Nothing if it can be trusted.
pub(super) fn guarded(
    function: &ScalarFunctionExpr,
    node: &Arc<dyn PhysicalExpr>,
    schema: &Schema,
) -> Result<Option<Arc<dyn PhysicalExpr>>> {
    let mut arguments = function.args().to_vec();
    match function.fun().name() {
        name @ ("lpad" | "rpad" | "repeat")
            if arguments[1].data_type(schema)? == DataType::Int64 =>
        {
            let function = match name {
                "lpad" => "lpad",
                "rpad" => "rpad",
                _ => "repeat",
            };
            arguments[1] = Arc::new(Guarded {
                inner: Arc::clone(&arguments[1]),
                guard: Guard::AtMost { function },
            });
        }
        "to_char" if arguments[0].is::<Literal>() && !arguments[1].is::<Literal>() => {
            arguments[0] = Arc::new(Guarded {
                inner: Arc::clone(&arguments[0]),
                guard: Guard::Spread,
            });
        }
        _ => return Ok(None),
    }
    Arc::clone(node).with_new_children(arguments).map(Some)
}

/// An argument that is held to what its function can take.
#[derive(Debug, Eq)]
struct Guarded {
    inner: Arc<dyn PhysicalExpr>,
    guard: Guard,
}

#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
enum Guard {
    /// A length that is too large for `function` is an error.
    AtMost { function: &'static str },
    /// A value a row, also of a constant.
    Spread,
}

impl Guarded {
    fn assert_at_most(function: &str, value: &ColumnarValue) -> Result<()> {
        let lengths = value.to_array(1)?;
        let too_large = |length: &i64| *length > TEXT_REPEATS_MAX;
        match lengths.as_primitive::<Int64Type>().iter().flatten().find(too_large) {
            None => Ok(()),
            Some(length) => exec_err!(
                "{function} to a length of {length}: at most {TEXT_REPEATS_MAX} is supported"
            ),
        }
    }
}

impl PhysicalExpr for Guarded {
    fn data_type(&self, schema: &Schema) -> Result<DataType> {
        self.inner.data_type(schema)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.inner.nullable(schema)
    }

    fn return_field(&self, schema: &Schema) -> Result<FieldRef> {
        self.inner.return_field(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let value = self.inner.evaluate(batch)?;
        match self.guard {
            Guard::AtMost { function } => {
                Guarded::assert_at_most(function, &value)?;
                Ok(value)
            }
            Guard::Spread => Ok(ColumnarValue::Array(value.into_array(batch.num_rows())?)),
        }
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Guarded {
            inner: children.pop().expect("it has one child"),
            guard: self.guard,
        }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}

impl PartialEq for Guarded {
    fn eq(&self, other: &Guarded) -> bool {
        self.inner.eq(&other.inner) && self.guard == other.guard
    }
}

impl Hash for Guarded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
        self.guard.hash(state);
    }
}

impl fmt::Display for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
