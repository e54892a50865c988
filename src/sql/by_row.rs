//! `to_char` (and `date_format`) of a constant value by a format that differs from row to row.
//!
//! DataFusion takes the format of the first row for all of them there. With the value spread over the rows it looks at each.
//!
//! Law: a row's result depends on no other row of its batch.

use std::sync::Arc;

use datafusion_common::Result;
use datafusion_common::arrow::datatypes::{DataType, FieldRef};
use datafusion_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

/// `function`, computed row by row if it is the one.
pub(super) fn by_row(function: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    match function.name() {
        "to_char" => Arc::new(ScalarUDF::from(ByRow(function))),
        _ => function,
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ByRow(Arc<ScalarUDF>);

impl ScalarUDFImpl for ByRow {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn aliases(&self) -> &[String] {
        self.0.aliases()
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.0.return_type(arguments)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.0.return_field_from_args(arguments)
    }

    fn invoke_with_args(&self, mut arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if let [ColumnarValue::Scalar(value), ColumnarValue::Array(formats)] = &arguments.args[..] {
            arguments.args[0] = ColumnarValue::Array(value.to_array_of_size(formats.len())?);
        }
        self.0.invoke_with_args(arguments)
    }
}
