//! Functions that make text as long as a number says: `lpad`, `rpad`, `repeat`.
//!
//! Law: what one call makes of one record is bounded (`limits::MADE_TEXT_MAX`). DataFusion bounds it by two billion, which is more
//! than there is memory, and an allocation that fails ends the process. What is beyond the bound makes the record bad.

use std::sync::Arc;

use datafusion_common::arrow::array::{Array, AsArray, Int64Array};
use datafusion_common::arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion_common::{Result, ScalarValue, exec_err};
use datafusion_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use crate::config::limits::MADE_TEXT_MAX;

/// `function`, bounded if it is one of these.
pub fn bounded(function: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    let makes = match function.name() {
        "lpad" | "rpad" => Makes::Length,
        "repeat" => Makes::Copies,
        _ => return function,
    };
    let inner = function;
    Arc::new(ScalarUDF::from(LongText { inner, makes }))
}

/// What the second argument says of the text that is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Makes {
    /// Its letters.
    Length,
    /// How often the first argument stands in it.
    Copies,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct LongText {
    inner: Arc<ScalarUDF>,
    makes: Makes,
}

impl LongText {
    /// Refuses one row: `text` is the length of its first argument, `number` its second.
    fn check(&self, text: usize, number: i64) -> Result<()> {
        let made = match self.makes {
            Makes::Length => number,
            Makes::Copies => number.max(0).saturating_mul(text as i64),
        };
        match made <= MADE_TEXT_MAX {
            true => Ok(()),
            false => exec_err!(
                "{} would make {made} letters of one record, and at most {MADE_TEXT_MAX} are made",
                self.inner.name()
            ),
        }
    }
}

impl ScalarUDFImpl for LongText {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arguments)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.inner.return_field_from_args(arguments)
    }

    fn invoke_with_args(&self, mut arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let texts = lengths(&arguments.args[0]);
        match &arguments.args[1] {
            ColumnarValue::Scalar(ScalarValue::Int64(Some(number))) => {
                self.check(texts.iter().copied().max().unwrap_or(0), *number)?;
            }
            ColumnarValue::Array(numbers) if *numbers.data_type() == DataType::Int64 => {
                let numbers = numbers.as_primitive::<Int64Type>();
                for (row, number) in numbers.iter().enumerate() {
                    let text = texts.get(row).or(texts.first()).copied();
                    self.check(text.unwrap_or(0), number.unwrap_or(0))?;
                }
                // Less than nothing is nothing; DataFusion takes it for a great deal.
                let counts: Int64Array = numbers.unary(|number| number.max(0));
                arguments.args[1] = ColumnarValue::Array(Arc::new(counts));
            }
            _ => {}
        }
        self.inner.invoke_with_args(arguments)
    }
}

/// The bytes of each text; of a constant there is one.
fn lengths(texts: &ColumnarValue) -> Vec<usize> {
    let of = |text: Option<&str>| text.map_or(0, str::len);
    match texts {
        ColumnarValue::Scalar(
            ScalarValue::Utf8(text) | ScalarValue::LargeUtf8(text) | ScalarValue::Utf8View(text),
        ) => vec![of(text.as_deref())],
        ColumnarValue::Scalar(_) => Vec::new(),
        ColumnarValue::Array(array) => match array.data_type() {
            DataType::Utf8 => array.as_string::<i32>().iter().map(of).collect(),
            DataType::LargeUtf8 => array.as_string::<i64>().iter().map(of).collect(),
            DataType::Utf8View => array.as_string_view().iter().map(of).collect(),
            _ => Vec::new(),
        },
    }
}
