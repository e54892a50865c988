//! `now()` and its like: the engine's clock, read once per batch.
//!
//! Law: within one batch every call gives the same instant, and no optimizer folds it to a constant (it is volatile). The
//! driver sets the instant before it evaluates a batch; an expression never reads a clock itself. The instant lives in a
//! cell of the shard's own thread, so nothing is shared.

use std::cell::Cell;

use datafusion_common::arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

const DAY_US: i64 = 86_400_000_000;

thread_local! {
    static BATCH_TIME_US: Cell<i64> = const { Cell::new(0) };
}

/// Sets the instant that this thread's expressions see until the next call, microseconds since the epoch.
pub fn set_batch_time(wall_us: i64) {
    BATCH_TIME_US.set(wall_us);
}

/// What part of the instant a function returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Part {
    Instant,
    Date,
    Time,
}

/// A function without arguments that returns the batch's instant.
#[derive(Debug, PartialEq, Eq, Hash)]
struct BatchClock {
    name: &'static str,
    part: Part,
    signature: Signature,
}

/// The names under which the clock can be read.
pub const CLOCK_FUNCTIONS: &[&str] = &[
    "now",
    "current_timestamp",
    "current_date",
    "today",
    "current_time",
];

/// The clock's functions, one for each of `CLOCK_FUNCTIONS`.
pub fn clock_functions() -> impl Iterator<Item = ScalarUDF> {
    CLOCK_FUNCTIONS.iter().map(|name| {
        let part = match *name {
            "current_date" | "today" => Part::Date,
            "current_time" => Part::Time,
            _ => Part::Instant,
        };
        ScalarUDF::from(BatchClock {
            name,
            part,
            signature: Signature::nullary(Volatility::Volatile),
        })
    })
}

impl ScalarUDFImpl for BatchClock {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(match self.part {
            Part::Instant => DataType::Timestamp(TimeUnit::Microsecond, None),
            Part::Date => DataType::Date32,
            Part::Time => DataType::Time64(TimeUnit::Microsecond),
        })
    }

    fn invoke_with_args(&self, _arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let now = BATCH_TIME_US.get();
        Ok(ColumnarValue::Scalar(match self.part {
            Part::Instant => ScalarValue::TimestampMicrosecond(Some(now), None),
            Part::Date => ScalarValue::Date32(i32::try_from(now.div_euclid(DAY_US)).ok()),
            Part::Time => ScalarValue::Time64Microsecond(Some(now.rem_euclid(DAY_US))),
        }))
    }
}
