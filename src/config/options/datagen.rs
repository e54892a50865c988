//! `connector = 'datagen'`: what its rows are drawn from, held against the declared columns.
//!
//! Law: row `i` of a stream depends on its seed and on `i` alone, so it is the same in every run, on any shard; only a time
//! that starts `now` differs.
//!
//! What a column may be told depends on its type:
//!
//! ```text
//!   integers        kind = random: min, max            kind = sequence: start, step; never beyond the type's range
//!   FLOAT, DOUBLE   min, max                           DECIMAL: min, max (whole numbers)
//!   VARCHAR         values = 'a,b' | cardinality, prefix | length
//!   BYTES           length                             BOOLEAN, DATE, TIME: nothing
//!   TIMESTAMP       start, step, max_past              all: null_rate
//! ```

use std::str::FromStr;

use datafusion_common::arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use datafusion_common::arrow::datatypes::{DataType, Field, Schema};

use super::{OptionError, WrittenOption};
use crate::config::limits::{
    DATAGEN_CARDINALITY, DATAGEN_LENGTH, DATAGEN_RATE, DATAGEN_ROWS, DATAGEN_STEP_NS,
    WATERMARK_BOUND_US,
};
use crate::config::nearest::nearest;

/// What WITH says of a generated stream, its columns not yet looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatagenOptions {
    /// `rows`.
    pub rows: Option<u64>,
    /// `rate`.
    pub rate: Option<u64>,
    /// `seed`.
    pub seed: u64,
    /// The options `columns.*`, as written.
    pub columns: Vec<WrittenOption>,
}

/// A generated stream.
#[derive(Clone, Debug, PartialEq)]
pub struct DatagenSpec {
    /// How many rows there are; `None` for a stream without end.
    pub rows: Option<u64>,
    /// Rows a second: row `i` is due `i / rate` seconds after the start. `None` for rows that are due when they are taken.
    pub rate: Option<u64>,
    /// What the rows are drawn from.
    pub seed: u64,
    /// How each declared column is drawn.
    pub columns: Vec<ColumnSpec>,
}

/// How the values of one column are drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnSpec {
    /// How one is drawn.
    pub generator: Generator,
    /// The share of NULLs, 0 to 1.
    pub null_rate: f64,
}

/// How a value is drawn. Every value of a range is as likely as another.
#[derive(Clone, Debug, PartialEq)]
pub enum Generator {
    /// `start + step * i`.
    Sequence {
        /// The first row's.
        start: i64,
        /// From each row to the next.
        step: i64,
        /// Rows until it leaves the range of its column.
        rows: u64,
    },
    /// A whole number: an integer, a DECIMAL's units, a DATE's days, a TIME's microseconds.
    Integer {
        /// Least.
        min: i64,
        /// Greatest.
        max: i64,
    },
    /// A double or single.
    Double {
        /// Least.
        min: f64,
        /// Above all.
        max: f64,
    },
    /// True or false.
    Boolean,
    /// One of these texts.
    OneOf(Vec<String>),
    /// `prefix` and a number below `cardinality`.
    Named {
        /// What each begins with.
        prefix: String,
        /// How many different ones.
        cardinality: u64,
    },
    /// So many hexadecimal digits, or bytes.
    Letters {
        /// How many.
        length: usize,
    },
    /// `start + step * i`, or up to `max_past_us` before that.
    Time {
        /// The first row's, microseconds since the epoch; `None` for when the run starts.
        start_us: Option<i64>,
        /// From each row to the next, nanoseconds.
        step_ns: u64,
        /// How far before its turn a row's time may lie, microseconds.
        max_past_us: i64,
    },
}

/// Integers are small unless asked for, so that their sums fit.
const INTEGER_MAX: i64 = 999_999;

/// Letters of a text unless asked for.
const LENGTH: usize = 16;

/// From a row to the next where no rate says it.
const STEP_NS: u64 = 1_000_000;

const MICROSECONDS_A_DAY: i64 = 86_400_000_000;

impl DatagenOptions {
    /// The first options, as the table admitted them.
    pub(super) fn new(
        rows: Option<&WrittenOption>,
        rate: Option<&WrittenOption>,
        seed: Option<&WrittenOption>,
        columns: Vec<WrittenOption>,
    ) -> Result<DatagenOptions, OptionError> {
        let within = |option: Option<&WrittenOption>, least, most| {
            option.map(|option| number(option, least, most)).transpose()
        };
        Ok(DatagenOptions {
            rows: within(rows, *DATAGEN_ROWS.start(), *DATAGEN_ROWS.end())?,
            rate: within(rate, *DATAGEN_RATE.start(), *DATAGEN_RATE.end())?,
            seed: within(seed, 0, u64::MAX)?.unwrap_or(1),
            columns,
        })
    }

    /// How `columns`, the declared ones, are drawn; `event_time` is the one that a watermark goes by.
    pub fn resolve(
        &self,
        columns: &Schema,
        event_time: Option<usize>,
    ) -> Result<DatagenSpec, OptionError> {
        let mut told: Vec<Vec<Told<'_>>> = columns.fields().iter().map(|_| Vec::new()).collect();
        for option in &self.columns {
            let rest = option.key.strip_prefix("columns.").unwrap_or(&option.key);
            let Some((name, property)) = rest.rsplit_once('.') else {
                return Err(refused(
                    option,
                    format!("{} names no property of a column", option.key),
                    "write columns.<name>.<property>, such as columns.price.max",
                ));
            };
            let found = columns.index_of(name);
            let Ok(index) = found.or_else(|_| columns.index_of(&name.to_lowercase())) else {
                let names: Vec<&str> = columns
                    .fields()
                    .iter()
                    .map(|field| field.name().as_str())
                    .collect();
                let hint = match nearest(name, names.iter().copied()) {
                    Some(near) => format!("did you mean columns.{near}.{property}?"),
                    None => format!("the columns are {}", names.join(", ")),
                };
                return Err(refused(
                    option,
                    format!("{} names {name}, and there is no such column", option.key),
                    &hint,
                ));
            };
            told[index].push(Told { property, option });
        }
        let column = |(index, field): (usize, &std::sync::Arc<Field>)| {
            let column = Column {
                field,
                told: &told[index],
                rows: self.rows,
                rate: self.rate,
            };
            column.spec(event_time == Some(index))
        };
        let columns: Result<Vec<ColumnSpec>, OptionError> =
            columns.fields().iter().enumerate().map(column).collect();
        Ok(DatagenSpec {
            rows: self.rows,
            rate: self.rate,
            seed: self.seed,
            columns: columns?,
        })
    }
}

/// One property of a column, as written.
struct Told<'o> {
    property: &'o str,
    option: &'o WrittenOption,
}

/// A declared column and all that was told of it.
struct Column<'c> {
    field: &'c Field,
    told: &'c [Told<'c>],
    rows: Option<u64>,
    rate: Option<u64>,
}

impl Column<'_> {
    fn spec(&self, is_event_time: bool) -> Result<ColumnSpec, OptionError> {
        let generator = self.generator()?;
        let null_rate = match self.get("null_rate") {
            None => 0.0,
            Some(option) => real(option, 0.0, 1.0)?,
        };
        if null_rate > 0.0 && (is_event_time || !self.field.is_nullable()) {
            let option = self
                .get("null_rate")
                .expect("a rate above zero was written");
            return Err(refused(
                option,
                format!("column {} must not be NULL", self.field.name()),
                "leave null_rate out",
            ));
        }
        Ok(ColumnSpec {
            generator,
            null_rate,
        })
    }

    fn generator(&self) -> Result<Generator, OptionError> {
        match self.field.data_type() {
            DataType::Int8 => self.integer(i8::MIN.into(), i8::MAX.into()),
            DataType::Int16 => self.integer(i16::MIN.into(), i16::MAX.into()),
            DataType::Int32 => self.integer(i32::MIN.into(), i32::MAX.into()),
            DataType::Int64 => self.integer(i64::MIN, i64::MAX),
            DataType::Decimal128(precision, scale) => self.decimal(*precision, *scale),
            DataType::Float32 => {
                let (min, max) = self.bounds(f64::from(f32::MAX))?;
                let (least, most) = singles(min, max);
                self.hold(least <= most, "max", "no REAL lies from min to below max")?;
                Ok(Generator::Double { min, max })
            }
            DataType::Float64 => {
                let (min, max) = self.bounds(f64::MAX)?;
                Ok(Generator::Double { min, max })
            }
            DataType::Boolean => {
                self.only(&["random"], &[])?;
                Ok(Generator::Boolean)
            }
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => self.text(),
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
                self.only(&["random"], &["length"])?;
                self.letters()
            }
            DataType::Date32 => {
                self.only(&["random"], &[])?;
                // The years 2000 to 2099.
                Ok(Generator::Integer {
                    min: 10_957,
                    max: 47_481,
                })
            }
            DataType::Time64(_) => {
                self.only(&["random"], &[])?;
                Ok(Generator::Integer {
                    min: 0,
                    max: MICROSECONDS_A_DAY - 1,
                })
            }
            DataType::Timestamp(..) => self.time(),
            other => Err(OptionError {
                option: "connector".into(),
                span: None,
                message: format!(
                    "datagen cannot draw column {}: it is of type {other}",
                    self.field.name()
                ),
                hint: Some("leave the column out".into()),
            }),
        }
    }

    fn integer(&self, least: i64, most: i64) -> Result<Generator, OptionError> {
        self.only(&["random", "sequence"], &["min", "max", "start", "step"])?;
        let get = |name, otherwise| match self.get(name) {
            None => Ok(otherwise),
            Some(option) => number(option, least, most),
        };
        if self.word("kind") == Some("sequence") {
            self.only(&["sequence"], &["start", "step"])?;
            let start = get("start", 1)?;
            let step = get("step", 1)?;
            let rows = sequence_rows(start, step, least, most);
            if let Some(wanted) = self.rows.filter(|wanted| *wanted > rows) {
                let kind = self.get("kind").expect("found just before");
                let name = self.field.name();
                return Err(refused(
                    kind,
                    format!(
                        "the sequence of column {name} leaves its range after {rows} rows, and rows = {wanted}"
                    ),
                    "ask for fewer rows, or declare the column as a wider type",
                ));
            }
            return Ok(Generator::Sequence { start, step, rows });
        }
        self.only(&["random"], &["min", "max"])?;
        let min = get("min", 0)?;
        let max = get("max", INTEGER_MAX.min(most).max(min))?;
        self.hold(min <= max, "max", "max is below min")?;
        Ok(Generator::Integer { min, max })
    }

    /// `min` and `max` of a column that holds numbers up to `most`.
    fn bounds(&self, most: f64) -> Result<(f64, f64), OptionError> {
        self.only(&["random"], &["min", "max"])?;
        let bound = |name, otherwise: f64| match self.get(name) {
            None => Ok(otherwise),
            Some(option) => real(option, -most, most),
        };
        let min = bound("min", 0.0)?;
        let max = bound("max", min + 1.0)?;
        self.hold(min < max, "max", "max is not above min")?;
        Ok((min, max))
    }

    fn decimal(&self, precision: u8, scale: i8) -> Result<Generator, OptionError> {
        self.only(&["random"], &["min", "max"])?;
        let units = 10i64.checked_pow(scale.unsigned_abs().into());
        let most = 10i64.checked_pow(u32::from(precision.min(18)));
        let (Some(units), Some(most)) = (units, most) else {
            return Err(OptionError {
                option: "connector".into(),
                span: None,
                message: format!(
                    "datagen cannot draw column {}: its scale is too large",
                    self.field.name()
                ),
                hint: Some("declare at most 18 digits behind the point".into()),
            });
        };
        let most = (most - 1) / units;
        let get = |name, otherwise| match self.get(name) {
            None => Ok(otherwise),
            Some(option) => number(option, -most, most),
        };
        let min = get("min", 0)?;
        let max = get("max", 1_000.min(most).max(min))?;
        self.hold(min <= max, "max", "max is below min")?;
        Ok(Generator::Integer {
            min: min * units,
            max: max * units,
        })
    }

    fn text(&self) -> Result<Generator, OptionError> {
        self.only(&["random"], &["values", "cardinality", "prefix", "length"])?;
        if let Some(option) = self.get("values") {
            self.only(&["random"], &["values"])?;
            let values = option.value.split(',').map(|value| value.trim().to_owned());
            return Ok(Generator::OneOf(values.collect()));
        }
        if let Some(option) = self.get("cardinality") {
            self.only(&["random"], &["cardinality", "prefix"])?;
            let cardinality = number(
                option,
                *DATAGEN_CARDINALITY.start(),
                *DATAGEN_CARDINALITY.end(),
            )?;
            let prefix = match self.word("prefix") {
                Some(prefix) => prefix.to_owned(),
                None => format!("{}-", self.field.name()),
            };
            return Ok(Generator::Named {
                prefix,
                cardinality,
            });
        }
        self.only(&["random"], &["length"])?;
        self.letters()
    }

    fn letters(&self) -> Result<Generator, OptionError> {
        let length = match self.get("length") {
            None => LENGTH,
            Some(option) => number(option, *DATAGEN_LENGTH.start(), *DATAGEN_LENGTH.end())?,
        };
        Ok(Generator::Letters { length })
    }

    fn time(&self) -> Result<Generator, OptionError> {
        self.only(&["timestamp"], &["start", "step", "max_past"])?;
        let start_us = match self.get("start") {
            Some(option) if option.value != "now" => Some(moment(option)?),
            _ => None,
        };
        let step_ns = match (self.get("step"), self.rate) {
            (Some(option), _) => {
                let step_ns = duration_ns(option)?;
                if !DATAGEN_STEP_NS.contains(&step_ns) {
                    return Err(refused(
                        option,
                        format!("option {} is too long", option.key),
                        "the longest step is a day",
                    ));
                }
                step_ns
            }
            (None, Some(rate)) => 1_000_000_000 / rate,
            (None, None) => STEP_NS,
        };
        let max_past_us = match self.get("max_past") {
            None => 0,
            Some(option) => {
                let past_us = i64::try_from(duration_ns(option)? / 1_000).unwrap_or(i64::MAX);
                if !WATERMARK_BOUND_US.contains(&past_us) {
                    return Err(refused(
                        option,
                        format!("option {} is too long", option.key),
                        "a record stands at most a hundred years behind",
                    ));
                }
                past_us
            }
        };
        Ok(Generator::Time {
            start_us,
            step_ns,
            max_past_us,
        })
    }

    fn get(&self, property: &str) -> Option<&WrittenOption> {
        let found = self.told.iter().find(|told| told.property == property);
        found.map(|told| told.option)
    }

    fn word(&self, property: &str) -> Option<&str> {
        self.get(property).map(|option| option.value.as_str())
    }

    /// Refuses another kind than `kinds`, and every property but `properties`, `kind` and `null_rate`.
    fn only(&self, kinds: &[&str], properties: &[&str]) -> Result<(), OptionError> {
        let known = || properties.iter().chain(&["kind", "null_rate"]).copied();
        for Told { property, option } in self.told {
            if !known().any(|known| known == *property) {
                let hint = match nearest(property, known()) {
                    Some(near) => format!("did you mean {near}?"),
                    None => format!("it takes {}", known().collect::<Vec<_>>().join(", ")),
                };
                let message = format!(
                    "option {} does not apply to column {} as it is drawn",
                    option.key,
                    self.field.name()
                );
                return Err(refused(option, message, &hint));
            }
        }
        match self.get("kind") {
            Some(kind) if !kinds.contains(&kind.value.as_str()) => {
                let message = format!("option {} cannot be '{}'", kind.key, kind.value);
                Err(refused(
                    kind,
                    message,
                    &format!("allowed here: {}", kinds.join(", ")),
                ))
            }
            _ => Ok(()),
        }
    }

    fn hold(&self, holds: bool, property: &str, message: &str) -> Result<(), OptionError> {
        if holds {
            return Ok(());
        }
        let first = self.told.first().expect("the defaults go together").option;
        let option = self.get(property).unwrap_or(first);
        Err(refused(
            option,
            format!("column {}: {message}", self.field.name()),
            "change one of them",
        ))
    }
}

/// How many rows of a sequence lie between `least` and `most`, as its first does.
fn sequence_rows(start: i64, step: i64, least: i64, most: i64) -> u64 {
    let room = match step {
        0 => return u64::MAX,
        1.. => most.abs_diff(start),
        _ => start.abs_diff(least),
    };
    (room / step.unsigned_abs()).saturating_add(1)
}

fn refused(option: &WrittenOption, message: String, hint: &str) -> OptionError {
    OptionError {
        option: option.key.clone(),
        span: Some(option.span),
        message,
        hint: Some(hint.to_owned()),
    }
}

/// The number that is written, from `least` to `most`.
fn number<N: FromStr + PartialOrd + std::fmt::Display + Copy>(
    option: &WrittenOption,
    least: N,
    most: N,
) -> Result<N, OptionError> {
    match option.value.trim().parse::<N>() {
        Ok(number) if number >= least && number <= most => Ok(number),
        _ => Err(refused(
            option,
            format!("option {} cannot be '{}'", option.key, option.value),
            &format!("write a whole number from {least} to {most}"),
        )),
    }
}

fn real(option: &WrittenOption, least: f64, most: f64) -> Result<f64, OptionError> {
    match option.value.trim().parse::<f64>() {
        Ok(number) if number >= least && number <= most => Ok(number),
        _ => Err(refused(
            option,
            format!("option {} cannot be '{}'", option.key, option.value),
            // The type's own bounds are too long to be written out.
            &match most {
                f64::MAX => "write a number".to_owned(),
                most if most == f64::from(f32::MAX) => {
                    "write a number from -3.4e38 to 3.4e38, or declare a DOUBLE".to_owned()
                }
                _ => format!("write a number from {least} to {most}"),
            },
        )),
    }
}

/// The least REAL from `min` on, and the greatest below `max`; in another order where there is none.
pub fn singles(min: f64, max: f64) -> (f32, f32) {
    let (least, most) = (min as f32, max as f32);
    (
        match f64::from(least) < min {
            true => least.next_up(),
            false => least,
        },
        match f64::from(most) < max {
            true => most,
            false => most.next_down(),
        },
    )
}

/// Reads `100us`, `5ms`, `2s`, `1m`, `1h`, as nanoseconds.
fn duration_ns(option: &WrittenOption) -> Result<u64, OptionError> {
    let text = option.value.trim();
    let unit_at = text.find(|letter: char| !letter.is_ascii_digit());
    let (count, unit) = text.split_at(unit_at.unwrap_or(text.len()));
    let unit_ns = match unit {
        "us" => Some(1_000),
        "ms" => Some(1_000_000),
        "s" => Some(1_000_000_000),
        "m" => Some(60 * 1_000_000_000),
        "h" => Some(3_600 * 1_000_000_000),
        _ => None,
    };
    let read = unit_ns.and_then(|unit_ns: u64| count.parse::<u64>().ok()?.checked_mul(unit_ns));
    read.ok_or_else(|| {
        refused(
            option,
            format!("option {} cannot be '{}'", option.key, option.value),
            "write a whole number and a unit: 100us, 5ms, 2s, 1m, 1h",
        )
    })
}

/// Reads a timestamp, as microseconds since the epoch.
fn moment(option: &WrittenOption) -> Result<i64, OptionError> {
    let nanos = string_to_timestamp_nanos(option.value.trim());
    nanos.map(|nanos| nanos.div_euclid(1_000)).map_err(|_| {
        refused(
            option,
            format!("option {} cannot be '{}'", option.key, option.value),
            "write now, or a time such as 2024-01-01T00:00:00Z",
        )
    })
}

#[cfg(test)]
mod tests {
    use datafusion_common::arrow::datatypes::TimeUnit;

    use super::*;
    use crate::config::Origin;
    use crate::config::options::{StreamConnector, stream_options};
    use crate::error::Span;

    fn columns() -> Schema {
        Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("symbol", DataType::Utf8View, true),
            Field::new("price", DataType::Float64, true),
            Field::new("amount", DataType::Decimal128(10, 2), true),
            Field::new("ts", DataType::Timestamp(TimeUnit::Microsecond, None), true),
            Field::new("tiny", DataType::Int8, true),
            Field::new("ratio", DataType::Float32, true),
        ])
    }

    fn resolved(options: &[(&str, &str)]) -> Result<DatagenSpec, OptionError> {
        let written: Vec<WrittenOption> = [("connector", "datagen")]
            .iter()
            .chain(options)
            .map(|(key, value)| WrittenOption {
                key: (*key).to_owned(),
                value: (*value).to_owned(),
                span: Span { start: 0, end: 1 },
                origin: Origin::Default,
            })
            .collect();
        let StreamConnector::Datagen(options) = stream_options(&written)?.connector else {
            panic!("datagen was asked for")
        };
        options.resolve(&columns(), Some(4))
    }

    #[test]
    fn every_type_has_its_defaults() {
        let spec = resolved(&[]).expect("nothing must be told");
        assert_eq!((spec.rows, spec.rate, spec.seed), (None, None, 1));
        let generators: Vec<_> = spec.columns.into_iter().map(|one| one.generator).collect();
        assert_eq!(
            generators,
            [
                Generator::Integer {
                    min: 0,
                    max: INTEGER_MAX
                },
                Generator::Letters { length: LENGTH },
                Generator::Double { min: 0.0, max: 1.0 },
                Generator::Integer {
                    min: 0,
                    max: 100_000
                },
                Generator::Time {
                    start_us: None,
                    step_ns: STEP_NS,
                    max_past_us: 0
                },
                Generator::Integer { min: 0, max: 127 },
                Generator::Double { min: 0.0, max: 1.0 },
            ]
        );
    }

    /// Regression: a sequence went on at the other end of its range.
    #[test]
    fn a_sequence_has_the_rows_that_its_type_has_room_for() {
        for (start, step, rows) in [
            (126, 1, 2),
            (127, 1, 1),
            (127, 5, 1),
            (-128, 127, 3),
            (-128, -1, 1),
            (5, 0, u64::MAX),
            (0, -128, 2),
        ] {
            assert_eq!(
                sequence_rows(start, step, -128, 127),
                rows,
                "{start} {step}"
            );
        }
        let whole = |step| sequence_rows(i64::MIN, step, i64::MIN, i64::MAX);
        assert_eq!((whole(1), whole(2)), (u64::MAX, 1 << 63));
        let sequence = |rows| {
            resolved(&[
                ("rows", rows),
                ("columns.tiny.kind", "sequence"),
                ("columns.tiny.start", "126"),
            ])
        };
        let error = sequence("3").expect_err("the third is 128").to_string();
        assert!(
            error.contains("tiny leaves its range after 2 rows, and rows = 3"),
            "{error}"
        );
        assert!(sequence("2").is_ok());
    }

    #[test]
    fn the_bounds_of_a_real_are_reals() {
        for (min, max) in [
            (0.1, 0.2),
            (-1.0, 0.0),
            (0.0, 1.0),
            (1e9, 1e9 + 1.0),
            (-3e38, 3e38),
        ] {
            let (least, most) = singles(min, max);
            assert!(f64::from(least) >= min && f64::from(least.next_down()) < min);
            assert!(f64::from(most) < max && f64::from(most.next_up()) >= max);
        }
        let between = [
            ("columns.ratio.min", "16777217"),
            ("columns.ratio.max", "16777217.5"),
        ];
        let error = resolved(&between).expect_err("there is none").to_string();
        assert!(
            error.contains("no REAL lies from min to below max"),
            "{error}"
        );
    }

    #[test]
    fn what_is_told_is_used() {
        let spec = resolved(&[
            ("rows", "10"),
            ("rate", "50000"),
            ("seed", "7"),
            ("columns.id.kind", "sequence"),
            ("columns.id.start", "100"),
            ("columns.Symbol.cardinality", "200"),
            ("columns.symbol.null_rate", "0.25"),
            ("columns.price.min", "-1"),
            ("columns.price.max", "2.5"),
            ("columns.ts.start", "2024-01-01T00:00:00Z"),
            ("columns.ts.max_past", "2s"),
        ])
        .expect("all of it applies");
        assert_eq!(
            (spec.rows, spec.rate, spec.seed),
            (Some(10), Some(50_000), 7)
        );
        assert_eq!(spec.columns[1].null_rate, 0.25);
        let generators: Vec<_> = spec.columns.into_iter().map(|one| one.generator).collect();
        assert_eq!(
            generators[0],
            Generator::Sequence {
                start: 100,
                step: 1,
                rows: i64::MAX as u64 - 99
            }
        );
        assert_eq!(
            generators[1],
            Generator::Named {
                prefix: "symbol-".into(),
                cardinality: 200
            }
        );
        assert_eq!(
            generators[2],
            Generator::Double {
                min: -1.0,
                max: 2.5
            }
        );
        assert_eq!(
            generators[4],
            Generator::Time {
                start_us: Some(1_704_067_200_000_000),
                step_ns: 20_000,
                max_past_us: 2_000_000
            }
        );
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_can() {
        for (key, value, says) in [
            ("rows", "0", "write a whole number from 1"),
            ("rate", "fast", "allowed: a whole number"),
            ("columns.prise.max", "1", "did you mean columns.price.max?"),
            ("columns.price", "1", "columns.<name>.<property>"),
            ("columns.price.maxx", "1", "did you mean max?"),
            ("columns.price.max", "-1", "max is not above min"),
            ("columns.price.kind", "sequence", "allowed here: random"),
            ("columns.id.null_rate", "0.5", "must not be NULL"),
            ("columns.ts.null_rate", "0.5", "must not be NULL"),
            ("columns.ts.step", "5", "100us"),
            ("columns.ts.start", "soon", "2024-01-01"),
            ("columns.amount.max", "100000000", "to 99999999"),
            ("columns.ratio.max", "1e39", "or declare a DOUBLE"),
            ("columns.ratio.min", "-3.5e38", "or declare a DOUBLE"),
            ("columns.price.max", "1e309", "write a number"),
            ("topic", "t", "does not apply to a datagen source"),
            (
                "json.validate",
                "strict",
                "does not apply to a datagen source",
            ),
        ] {
            let error = resolved(&[(key, value)]).expect_err("must be refused");
            assert!(error.to_string().contains(says), "{key}: {error}");
        }
    }
}
