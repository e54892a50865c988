//! NOT NULL of a stream that a query writes: a function that gives back its argument, and fails for a NULL.
//!
//! Law: a row with a NULL where the stream says NOT NULL is bad, like one for which any other expression fails.

use datafusion_common::arrow::array::Array;
use datafusion_common::arrow::datatypes::DataType;
use datafusion_common::{Result, exec_err};
use datafusion_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// `expr`, which the column `column` takes only when it is not NULL.
pub fn required(column: &str, expr: Expr) -> Expr {
    ScalarUDF::from(Required {
        column: column.to_owned(),
        signature: Signature::any(1, Volatility::Immutable),
    })
    .call(vec![expr])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Required {
    column: String,
    signature: Signature,
}

impl ScalarUDFImpl for Required {
    fn name(&self) -> &str {
        "required"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(arguments[0].clone())
    }

    fn invoke_with_args(&self, mut arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let value = arguments.args.remove(0);
        let has_null = match &value {
            ColumnarValue::Scalar(value) => value.is_null(),
            ColumnarValue::Array(values) => values.logical_null_count() > 0,
        };
        match has_null {
            false => Ok(value),
            true => exec_err!("column {} is NOT NULL, and the value is NULL", self.column),
        }
    }
}
