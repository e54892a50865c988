//! What names mean: streams, functions and types, as DataFusion's planner asks for them.
//!
//! Law: functions and coercions are DataFusion's; types are ours where the two differ (TIMESTAMP counts microseconds).
//! A windowed query sees its stream with the window's bounds as further columns, one whose rows may be early with `is_final`,
//! in place of declared columns of these names, which such a query may then not name (`lower/bounds`).

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion_common::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use datafusion_common::config::ConfigOptions;
use datafusion_common::{Result, TableReference, plan_err};
use datafusion_expr::planner::{ContextProvider, ExprPlanner, TypePlanner};
use datafusion_expr::{
    AggregateUDF, Expr, HigherOrderUDF, ScalarUDF, TableProviderFilterPushDown, TableSource,
    WindowUDF,
};
use datafusion_sql::sqlparser::ast;

use super::by_row::by_row;
use crate::plan::StreamSpec;
use crate::plan::clock::clock_functions;
use crate::plan::long_text::bounded;

/// Event time, and every TIMESTAMP: microseconds, UTC.
pub(super) const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// The names of a window's start, the first canonical.
pub(super) const WINDOW_START: &[&str] = &["window_start", "windowstart"];

/// The names of a window's end, the first canonical.
pub(super) const WINDOW_END: &[&str] = &["window_end", "windowend"];

/// The name of the column that tells final rows from early ones.
pub(super) const IS_FINAL: &str = "is_final";

/// All functions, made once per script.
pub(super) struct Functions {
    scalar: BTreeMap<String, Arc<ScalarUDF>>,
    aggregate: BTreeMap<String, Arc<AggregateUDF>>,
    window: BTreeMap<String, Arc<WindowUDF>>,
    planners: Vec<Arc<dyn ExprPlanner>>,
    options: ConfigOptions,
}

impl Functions {
    /// DataFusion's functions, with the clock's in place of those that would fold to a constant.
    pub fn new() -> Functions {
        let mut scalar = BTreeMap::new();
        for function in datafusion_functions::all_default_functions() {
            let function = bounded(by_row(function));
            for alias in function.aliases() {
                scalar.insert(alias.clone(), Arc::clone(&function));
            }
            scalar.insert(function.name().to_owned(), function);
        }
        for function in clock_functions() {
            scalar.insert(function.name().to_owned(), Arc::new(function));
        }
        let mut aggregate = BTreeMap::new();
        for function in datafusion_functions_aggregate::all_default_aggregate_functions() {
            for alias in function.aliases() {
                aggregate.insert(alias.clone(), Arc::clone(&function));
            }
            aggregate.insert(function.name().to_owned(), function);
        }
        let window = datafusion_functions_window::all_default_window_functions()
            .into_iter()
            .map(|function| (function.name().to_owned(), function))
            .collect();
        Functions {
            scalar,
            aggregate,
            window,
            planners: vec![
                Arc::new(datafusion_functions::core::planner::CoreFunctionPlanner::default()),
                Arc::new(datafusion_functions::datetime::planner::DatetimeFunctionPlanner),
                Arc::new(datafusion_functions::unicode::planner::UnicodeFunctionPlanner),
                Arc::new(datafusion_functions_aggregate::planner::AggregateFunctionPlanner),
                Arc::new(datafusion_functions_window::planner::WindowFunctionPlanner),
            ],
            options: ConfigOptions::default(),
        }
    }
}

/// The catalog as one query sees it.
pub(super) struct Catalog<'c> {
    /// Streams that may be read, by name.
    pub streams: &'c BTreeMap<String, Arc<StreamSpec>>,
    /// Streams that are only written, because their rows leave the job.
    pub outside: Vec<&'c str>,
    /// All functions.
    pub functions: &'c Functions,
    /// Whether the query has a window, and so its bounds as columns.
    pub windowed: bool,
    /// Whether the query names hidden columns, and so has them.
    pub hidden: bool,
    /// Whether the query asks whether its rows are final.
    pub is_final: bool,
}

/// A stream as a table of the planner's.
pub(super) struct StreamTable {
    /// The stream.
    pub stream: Arc<StreamSpec>,
    schema: SchemaRef,
}

impl StreamTable {
    fn new(stream: &Arc<StreamSpec>, catalog: &Catalog<'_>) -> StreamTable {
        let Catalog {
            windowed,
            hidden,
            is_final,
            ..
        } = *catalog;
        let bounds = WINDOW_START.iter().chain(WINDOW_END);
        let is_bound = |name: &str| {
            windowed && bounds.clone().any(|bound| *bound == name) || is_final && name == IS_FINAL
        };
        let declared = stream.columns.fields().iter();
        let mut fields: Vec<FieldRef> = declared
            .filter(|field| !is_bound(field.name()))
            .cloned()
            .collect();
        if hidden {
            let hidden = stream.hidden().into_iter();
            fields.extend(hidden.map(|hidden| Arc::new(hidden.field())));
        }
        if windowed {
            fields.extend(bounds.map(|name| Arc::new(Field::new(*name, TIMESTAMP, false))));
        }
        if is_final {
            fields.push(Arc::new(Field::new(IS_FINAL, DataType::Boolean, false)));
        }
        StreamTable {
            stream: Arc::clone(stream),
            schema: Arc::new(Schema::new(fields)),
        }
    }
}

impl TableSource for StreamTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Exact; filters.len()])
    }
}

impl ContextProvider for Catalog<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        match self.streams.get(name.table()) {
            Some(stream) => Ok(Arc::new(StreamTable::new(stream, self))),
            None => plan_err!("{UNKNOWN_STREAM}'{}'", name.table()),
        }
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.functions.planners
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(Types))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.functions.scalar.get(name).cloned()
    }

    fn get_higher_order_meta(&self, _name: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.functions.aggregate.get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.functions.window.get(name).cloned()
    }

    fn get_variable_type(&self, _names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.functions.options
    }

    fn udf_names(&self) -> Vec<String> {
        self.functions.scalar.keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.functions.aggregate.keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.functions.window.keys().cloned().collect()
    }
}

/// How an unknown stream is reported through the planner, to be found again in `diagnose`.
pub(super) const UNKNOWN_STREAM: &str = "there is no stream ";

/// How a DECIMAL with a negative scale is reported through the planner, to be found again in `diagnose`.
pub(super) const NEGATIVE_SCALE: &str = "there is no negative scale: ";

/// SQL types where ours differ from the planner's.
#[derive(Debug)]
struct Types;

impl TypePlanner for Types {
    fn plan_type_field(&self, sql_type: &ast::DataType) -> Result<Option<FieldRef>> {
        if let ast::DataType::Decimal(size)
        | ast::DataType::Numeric(size)
        | ast::DataType::Dec(size) = sql_type
            && matches!(size, ast::ExactNumberInfo::PrecisionAndScale(_, scale) if *scale < 0)
        {
            return plan_err!("{NEGATIVE_SCALE}'{sql_type}'");
        }
        Ok(data_type(sql_type).map(|data_type| Arc::new(Field::new("", data_type, true))))
    }
}

/// The type of a declared column or a CAST; `None` for a type that we leave to the planner or do not have.
pub(super) fn data_type(sql_type: &ast::DataType) -> Option<DataType> {
    use ast::DataType as Sql;
    Some(match sql_type {
        Sql::Boolean | Sql::Bool => DataType::Boolean,
        Sql::TinyInt(_) => DataType::Int8,
        Sql::SmallInt(_) | Sql::Int2(_) => DataType::Int16,
        Sql::Int(_) | Sql::Integer(_) | Sql::Int4(_) => DataType::Int32,
        Sql::BigInt(_) | Sql::Int8(_) => DataType::Int64,
        Sql::Float(_) | Sql::Real | Sql::Float4 => DataType::Float32,
        Sql::Double(ast::ExactNumberInfo::None) | Sql::DoublePrecision | Sql::Float8 => {
            DataType::Float64
        }
        Sql::Decimal(size) | Sql::Numeric(size) | Sql::Dec(size) => {
            let (precision, scale) = match *size {
                ast::ExactNumberInfo::None => (38, 10),
                ast::ExactNumberInfo::Precision(precision) => (precision, 0),
                ast::ExactNumberInfo::PrecisionAndScale(precision, scale) => (precision, scale),
            };
            let precision = u8::try_from(precision)
                .ok()
                .filter(|p| (1..=38).contains(p))?;
            let scale = i8::try_from(scale)
                .ok()
                .filter(|scale| (0..=precision as i8).contains(scale))?;
            DataType::Decimal128(precision, scale)
        }
        Sql::Varchar(_) | Sql::Char(_) | Sql::Text | Sql::String(_) | Sql::CharacterVarying(_) => {
            DataType::Utf8View
        }
        Sql::Bytes(_) | Sql::Bytea | Sql::Varbinary(_) => DataType::BinaryView,
        Sql::Date => DataType::Date32,
        Sql::Time(_, ast::TimezoneInfo::None | ast::TimezoneInfo::WithoutTimeZone) => {
            DataType::Time64(TimeUnit::Microsecond)
        }
        Sql::Timestamp(_, ast::TimezoneInfo::None | ast::TimezoneInfo::WithoutTimeZone) => {
            TIMESTAMP
        }
        _ => return None,
    })
}
